"""The reverse-mode interpreter: records what a function does to its tracers, in the parent's terms.

The graph is tape.py's: a tracer's value is the node that made it, saved tensors are values of the
parent context, and rules run there. So the backward pass of an inner grad is ordinary code of the
outer one, which can differentiate it again, and the perturbations of the two cannot be confused.
"""

# a meta whose class was compared is a tracer's value
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi

from .op import Op, Spec, dispatch, fail
from .tape import Node, fill_node, irregular, run_backward
from .tensor import Tensor, sync, traced, wrap
from .trace import Outside, Trace, TracerValue, clock, next_sequence, state

_new = object.__new__
_NULL = ffi.NULL


class VjpValue(Node, TracerValue):
    """A value of a VjpTrace: its primal in the parent context, and the operation that made it."""

    requires_grad = False  # to the imperative tape
    op = None  # type: ignore[assignment]
    primal: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.primal._shape

    def inner(self) -> Tensor:
        return self.primal

    def saved_out(self) -> Any:
        return self.out


class VjpOutput(VjpValue):
    """One output of an operation with several."""

    watched = True

    def __init__(self, trace: VjpTrace, node: VjpValue, index: int, primal: Tensor):
        self.trace, self.node, self.index, self.primal = trace, node, index, primal
        self.op, self.seq = node.op, node.seq


class VjpTrace(Trace):
    """Records operations on tracers for a pass back."""

    name = "grad"

    def leaf(self, x: Tensor) -> Tensor:
        """A tracer for an input."""
        value = _new(VjpValue)
        value.trace, value.primal, value.seq = self, x, next_sequence()
        return traced(value)

    def value_of(self, x: Any) -> VjpValue | None:
        """This trace's value behind a tensor, if there is one."""
        m = x._m
        return (m.tracer or m) if m is not None and m.trace is self else None

    def lower(self, x: Tensor) -> Tensor:
        """A tensor of the parent context for a tracer; other tensors are that already."""
        value = self.value_of(x)
        return x if value is None else value.primal

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            primal = self.lower(t)
            return bool(primal) if how == "bool" else primal.item()

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        primals: list[Tensor] = []
        edges: list[VjpValue | None] = []
        traced_any = False
        parent = self.parent
        plain = parent is None  # may the kernel be called without asking anyone?
        for a in args:
            m = a._m
            if m is not None:
                if m.trace is self:
                    value = m.tracer or m
                    a = value.primal
                    edges.append(value)
                    traced_any = True
                    plain = plain and a._m is None
                else:
                    edges.append(None)
                    plain = False
            else:
                edges.append(None)
            primals.append(a)
        if traced_any and op.pull is None and op.differentiable:
            return op.decompose(*args, **params)  # type: ignore[misc]
        state.trace = parent
        try:
            if plain and op.impl is not None:
                handles = op.impl(*primals, **params)
                if not handles:
                    fail(op, args)
                out = wrap(handles)
            else:
                out = dispatch(op, tuple(primals), params)
            if not traced_any or not op.differentiable:
                return out
            node = _new(VjpValue)
            fill_node(node, op, primals, params, out, tuple(edges))
        finally:
            state.trace = self
        node.trace = self
        if type(out) is not tuple:
            node.primal = out
            return traced(node)
        return tuple(
            [
                traced(VjpOutput(self, node, i, t)) if t.dtype.is_inexact else t
                for i, t in enumerate(out)
            ]
        )

    def one(self, op: Op, function: Any, x: Tensor) -> Tensor | None:
        m: Any = x._m
        if m is not None and m.is_view:
            sync(x)
            m = x._m
        if m.__class__ is not VjpValue or m.trace is not self:
            return None
        x = m.primal
        state.trace = self.parent
        try:
            out = function(x)
        finally:
            state.trace = self
        if not op.differentiable:
            return out
        return self._recorded(op, x, None, m, None, 1, out)

    def two(self, op: Op, function: Any, x: Tensor, y: Any) -> Tensor | None:
        m: Any = x._m
        n: Any = None
        if m is not None and m.is_view:
            sync(x)
            m = x._m
        if m.__class__ is VjpValue and m.trace is self:
            x = m.primal
        elif m is not None:
            return None
        if y.__class__ is Tensor:
            n = y._m
            if n is not None and n.is_view:
                sync(y)
                n = y._m
            if n.__class__ is VjpValue and n.trace is self:
                y = n.primal
            elif n is not None:
                return None
        elif y.__class__ is not float and y.__class__ is not int:
            return None
        if m is None and n is None:
            return None
        state.trace = self.parent
        try:
            out = function(x, y)
        finally:
            state.trace = self
        if not op.differentiable:
            return out
        return self._recorded(op, x, y, m, n, 2, out)

    def _recorded(
        self, op: Op, x: Tensor, y: Any, m: Any, n: Any, arity: int, out: Tensor
    ) -> Tensor:
        """The tracer of an elementwise result, as process() makes it with more questions."""
        node = _new(VjpValue)
        node.trace, node.primal, node.op = self, out, op
        node.seq = next_sequence()
        which = (m is not None) + 2 * (n is not None)
        saves, keep_x, keep_y, keep_out = op.keeps[which] or op.kept(arity, which)
        if saves:
            node.clock = clock[0]
        if keep_out:
            node.out = out
        if arity == 1:
            node.edges = (m,)
            node.args = (x if keep_x else None,)
            if op.changes_dtype and irregular((x,), out):
                node.specs = (Spec(x),)
        else:
            node.edges = (m, n)
            node.args = (x if keep_x else None, y if keep_y else None)
            tensors = (x, y) if y.__class__ is Tensor else (x,)
            if irregular(tensors, out):
                node.specs = (None if m is None else Spec(x), None if n is None else Spec(y))
        t = _new(Tensor)
        t._v = _NULL
        t._m = node
        return t

    def pull_back(
        self,
        outputs: Sequence[Tensor],
        cts: Sequence[Tensor | None],
        leaves: Sequence[VjpValue],
        retain_graph: bool,
    ) -> list[Tensor | None]:
        """Gradients for the leaves, from cotangents of the outputs.

        Called after the trace has been left.
        """
        roots = []
        for out, ct in zip(outputs, cts, strict=True):
            value = self.value_of(out)
            if value is not None and ct is not None:
                roots.append((value, ct))
        found = run_backward(roots, wanted=set(leaves), retain_graph=retain_graph)
        return [found.get(leaf) for leaf in leaves]
