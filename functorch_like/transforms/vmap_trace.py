"""The vectorising interpreter.

A mapped value is one physical tensor with the mapped dimension in front.

Keeping it in front (a view: no data move) makes every batching rule a shift of dims by one. Values
that do not depend on a mapped input stay as they are and are computed once.
"""

# a meta whose class was compared is a tracer's value
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

from cbackend import ffi, plain

from ..errors import ShapeError, TraceError, message
from ..op import Op, dispatch
from ..tensor import Tensor, known_regular, traced
from ..trace import Outside, Trace, TracerValue, next_sequence, state

_NULL = ffi.NULL


class BatchedValue(TracerValue):
    """A physical tensor of the parent context whose dimension 0 is mapped."""

    def __init__(self, trace: VmapTrace, physical: Tensor):
        self.trace, self.physical = trace, physical
        self.requires_grad, self.is_view, self.tracer = False, False, None
        self.seq = next_sequence()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.physical._shape[1:]

    @property
    def ndim(self) -> int:
        return self.physical.ndim - 1

    def inner(self) -> Tensor:
        return self.physical


class LanesDiffer(BaseException):
    """Python looked at a value on which the lanes of `trace` differ; unwinds to its vmap.

    Args:
      groups: lanes that agree, in the order of their first.
    """

    def __init__(self, trace: VmapTrace, groups: list[list[int]]):
        super().__init__()
        self.trace, self.groups = trace, groups


class VmapTrace(Trace):
    """Maps operations over dimension 0 of its values."""

    name = "vmap"

    def __init__(self, size: int, randomness: str, axis_name: Any = None):
        super().__init__()
        self.size, self.randomness, self.axis_name = size, randomness, axis_name
        # set by vmap: the function on lane 0, in the parent's context
        self.run_one_lane: Any = None
        self.streams: dict[Any, tuple[int, int]] = {}  # generator -> (start, what a lane uses)

    def leaf(self, physical: Tensor) -> Tensor:
        """A tracer for an input with the mapped dimension in front."""
        return traced(BatchedValue(self, physical))

    def unpack(self, x: Tensor) -> tuple[Tensor, bool]:
        """The physical tensor behind x, and whether its dimension 0 is mapped."""
        m = x._m
        if m is not None and m.trace is self:
            return (m.tracer or m).physical, True
        return x, False

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            physical = self.unpack(t)[0]
            if physical.numel() != self.size or not self.size:
                raise ShapeError(
                    message(
                        how,
                        "a tensor with one element a lane",
                        f"shape {list(physical._shape[1:])} in {self.size} lanes",
                        "Use .any() or .all().",
                    )
                )
            values = _items(physical)
        return self._agreed([bool(v) for v in values] if how == "bool" else values)

    def _agreed(self, values: list[Any]) -> Any:
        """What all lanes have; those that differ are run apart."""
        groups: dict[Any, list[int]] = {}
        for lane, value in enumerate(values):
            groups.setdefault(value if value == value else "nan", []).append(lane)
        if len(groups) > 1:
            raise LanesDiffer(self, list(groups.values()))
        return values[0]

    def _by_agreement(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        """An op whose result has a shape that depends on values, for lanes that agree on them."""
        decided, mapped = self.unpack(op.decides(*args))  # type: ignore[misc]
        with Outside(self):
            if mapped and self.size:
                items = _items(decided)
                row = len(items) // self.size
                self._agreed([tuple(items[i * row : (i + 1) * row]) for i in range(self.size)])
            pairs = map(self.unpack, args)
            return dispatch(op, tuple(x[0] if b else x for x, b in pairs), params)

    def one(self, op: Op, function: Any, x: Tensor) -> Tensor | None:
        m: Any = x._m
        mapped = m is not None and m.trace is self
        if mapped:
            if m.__class__ is not BatchedValue or m.is_view:
                return None
            x = m.physical
        elif m is not None and (m.is_view or m.requires_grad):
            return None
        state.trace = self.parent
        try:
            out = function(x)
        finally:
            state.trace = self
        return self._elementwise(out) if mapped else out

    def two(self, op: Op, function: Any, x: Any, y: Any) -> Tensor | None:
        # of what is mapped and of what is not, which must not meet that dimension; and lanes
        # without dims must not promote as if they had one
        rank = other = 0
        if x.__class__ is Tensor:
            m: Any = x._m
            if m is not None and m.trace is self:
                if m.__class__ is not BatchedValue or m.is_view:
                    return None
                x = m.physical
                rank = x.ndim
            elif m is not None and (m.is_view or m.requires_grad):
                return None
            else:
                other = -1
        elif x.__class__ is not float and x.__class__ is not int:
            return None
        if y.__class__ is Tensor:
            m = y._m
            if m is not None and m.trace is self:
                if m.__class__ is not BatchedValue or m.is_view:
                    return None
                y = m.physical
                if other:
                    rank = y.ndim
                    if x.ndim >= rank or (rank == 1 and x.dtype is not y.dtype):
                        return None
                elif rank and y.ndim != rank:
                    return None
                else:
                    rank = y.ndim
            elif m is not None and (m.is_view or m.requires_grad):
                return None
            elif rank and (y.ndim >= rank or (rank == 1 and x.dtype is not y.dtype)):
                return None
        elif y.__class__ is not float and y.__class__ is not int:
            return None
        state.trace = self.parent
        try:
            out = function(x, y)
        finally:
            state.trace = self
        return self._elementwise(out) if rank else out

    def _elementwise(self, out: Tensor) -> Tensor:
        value = BatchedValue(self, out)
        value.regular = known_regular(out)
        t = plain(_NULL)
        t._m = value
        return t

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
        if mapped and op.decides is not None:
            return self._by_agreement(op, args, params)
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

    # ---- random numbers: those that a loop over the lanes would draw ----

    def _consumption(self, generator: Any) -> int:
        """How much of a generator one lane uses, found by running one; in the parent's context."""
        used = self.streams.get(generator)
        if used is None:
            start = _position(generator)
            self.streams[generator] = (start, 0)
            if not self.size:
                return 0
            self.run_one_lane()
            used = self.streams[generator] = (start, _position(generator) - start)
            _seek(generator, start)
        return used[1]

    def finish_streams(self, completed: bool) -> None:
        """Puts the generators behind the draws of all lanes, or back to where they were."""
        for generator, (start, used) in self.streams.items():
            _seek(generator, start + self.size * used if completed else start)

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
            stride = self._consumption(params["generator"])
            lanes = ((self.size, stride), *params.get("lanes", ()))
            out = dispatch(op, args, {**params, "lanes": lanes})
        finally:
            state.trace = self
        return traced(BatchedValue(self, out))


def _items(x: Tensor) -> list[Any]:
    """All elements as Python values, whatever x is: a tracer's own trace reads them."""
    flat = x.reshape((x.numel(),))
    return flat.tolist() if flat._v else [flat[i].item() for i in range(flat._shape[0])]


def _stage() -> Any:
    """The staging trace around the calling thread's context, which counts draws on its own."""
    trace = state.trace
    while trace is not None and not trace.functional:
        trace = trace.parent
    return trace


def _position(generator: Any) -> int:
    stage = _stage()
    return generator._offset if stage is None else stage.drawn


def _seek(generator: Any, position: int) -> None:
    stage = _stage()
    if stage is None:
        generator._offset = position
    else:
        stage.drawn = position
