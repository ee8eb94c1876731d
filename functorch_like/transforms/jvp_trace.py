"""The forward-mode interpreter: carries a tangent beside each value.

A missing tangent stands for zero.
"""

from __future__ import annotations

from typing import Any

from cbackend import ffi, plain

from ..op import Op, dispatch
from ..tensor import Tensor, known_regular, traced
from ..trace import Outside, PrimalValue, Trace, next_sequence, state

_NULL = ffi.NULL


class JvpValue(PrimalValue):
    """A primal and its tangent, both of the parent context."""

    def __init__(self, trace: JvpTrace, primal: Tensor, tangent: Tensor):
        self.trace, self.primal, self.tangent = trace, primal, tangent
        self.requires_grad, self.is_view, self.tracer = False, False, None
        self.seq = next_sequence()


class JvpTrace(Trace):
    """Pushes tangents forward."""

    name = "jvp"

    def leaf(self, x: Tensor, tangent: Tensor) -> Tensor:
        """A tracer for an input."""
        return traced(JvpValue(self, x, tangent))

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Primal and tangent of any tensor; the tangent of a constant is None."""
        m = x._m
        if m is not None and m.trace is self:
            value = m.tracer or m
            return value.primal, value.tangent
        return x, None

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            primal = self.unpack(t)[0]
            return bool(primal) if how == "bool" else primal.item()

    def one(self, op: Op, function: Any, x: Tensor) -> Tensor | None:
        m: Any = x._m
        if m.__class__ is JvpValue and m.trace is self and not m.is_view:
            x, t = m.primal, m.tangent
        elif m is None or not (m.trace is self or m.is_view or m.requires_grad):
            t = None
        else:
            return None
        state.trace = self.parent
        try:
            out = function(x)
            if not op.differentiable or t is None:
                return out
            return self._pushed(out, op.jvp((t,), out, x))  # type: ignore[misc]
        finally:
            state.trace = self

    def two(self, op: Op, function: Any, x: Any, y: Any) -> Tensor | None:
        t = s = None
        if x.__class__ is Tensor:
            m: Any = x._m
            if m is not None:
                if m.__class__ is JvpValue and m.trace is self and not m.is_view:
                    x, t = m.primal, m.tangent
                elif m.trace is self or m.is_view or m.requires_grad:
                    return None
        elif x.__class__ is not float and x.__class__ is not int:
            return None
        if y.__class__ is Tensor:
            m = y._m
            if m is not None:
                if m.__class__ is JvpValue and m.trace is self and not m.is_view:
                    y, s = m.primal, m.tangent
                elif m.trace is self or m.is_view or m.requires_grad:
                    return None
        elif y.__class__ is not float and y.__class__ is not int:
            return None
        state.trace = self.parent
        try:
            out = function(x, y)
            if not op.differentiable or (t is None and s is None):
                return out
            return self._pushed(out, op.jvp((t, s), out, x, y))  # type: ignore[misc]
        finally:
            state.trace = self

    def _pushed(self, out: Tensor, tangent: Tensor) -> Tensor:
        """The tracer of an elementwise result."""
        value = JvpValue(self, out, tangent)
        value.regular = known_regular(out)
        t = plain(_NULL)
        t._m = value
        return t

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        primals: list[Tensor] = []
        tangents: list[Tensor | None] = []
        moving = False
        for a in args:
            m = a._m
            t = None
            if m is not None and m.trace is self:
                value = m.tracer or m
                a, t = value.primal, value.tangent
                moving = True
            primals.append(a)
            tangents.append(t)
        moving = moving and op.differentiable
        if moving and op.jvp is None:
            return op.decompose(*args, **params)  # type: ignore[misc]
        state.trace = self.parent
        try:
            out = dispatch(op, tuple(primals), params)
            if not moving:
                return out
            pushed = op.jvp(tangents, out, *primals, **params)  # type: ignore[misc]
        finally:
            state.trace = self
        if type(out) is not tuple:
            return traced(JvpValue(self, out, pushed))
        return tuple(
            [
                y if t is None else traced(JvpValue(self, y, t))
                for y, t in zip(out, pushed, strict=True)
            ]
        )
