"""The vectorising interpreter.

A mapped value is one physical tensor with the mapped dimension in front.

Keeping it in front (a view: no data move) makes every batching rule a shift of dims by one. Values
that do not depend on a mapped input stay as they are and are computed once.
"""

from __future__ import annotations

from typing import Any

from .errors import TraceError, message
from .op import Op, dispatch
from .tensor import Tensor, traced
from .trace import Trace, TracerValue, next_sequence, state


class BatchedValue(TracerValue):
    """A physical tensor of the parent context whose dimension 0 is mapped."""

    def __init__(self, trace: VmapTrace, physical: Tensor):
        self.trace, self.physical = trace, physical
        self.seq = next_sequence()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.physical._shape[1:]

    def inner(self) -> Tensor:
        return self.physical


class VmapTrace(Trace):
    """Maps operations over dimension 0 of its values."""

    name = "vmap"

    def __init__(self, size: int, randomness: str, axis_name: Any = None):
        super().__init__()
        self.size, self.randomness, self.axis_name = size, randomness, axis_name

    def leaf(self, physical: Tensor) -> Tensor:
        """A tracer for an input with the mapped dimension in front."""
        return traced(BatchedValue(self, physical))

    def unpack(self, x: Tensor) -> tuple[Tensor, bool]:
        """The physical tensor behind x, and whether its dimension 0 is mapped."""
        m = x._m
        if m is not None and m.trace is self:
            return (m.tracer or m).physical, True
        return x, False

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        physical: list[Tensor] = []
        batched: list[bool] = []
        mapped = False
        for a in args:
            m = a._m
            if m is not None and m.trace is self:
                physical.append((m.tracer or m).physical)
                batched.append(True)
                mapped = True
            else:
                physical.append(a)
                batched.append(False)
        if op.random:
            return self._random(op, args, params)
        if mapped and op.batch is None:
            return op.decompose(*args, **params)  # type: ignore[misc]
        state.trace = self.parent
        try:
            if not mapped:
                return dispatch(op, tuple(physical), params)
            out = op.batch(self.size, batched, *physical, **params)  # type: ignore[misc]
        finally:
            state.trace = self
        if type(out) is tuple:
            return tuple([traced(BatchedValue(self, y)) for y in out])
        return traced(BatchedValue(self, out))

    def _random(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        """A draw: one for each lane, or one for all, as vmap's `randomness` says."""
        if self.randomness == "error":
            raise TraceError(
                message(
                    "vmap",
                    'randomness="different" or "same" around random operations',
                    f'randomness="error" around {op.name}',
                    "Pass it to vmap.",
                )
            )
        state.trace = self.parent
        try:
            if self.randomness == "same":
                return dispatch(op, args, params)
            out = dispatch(op, args, {**params, "shape": (self.size, *params["shape"])})
        finally:
            state.trace = self
        return traced(BatchedValue(self, out))
