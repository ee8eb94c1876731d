"""Recording what a stretch of code computes, to compute some of it again later.

A Recorder lies under the code that runs and notes every operation that reaches it: the op, its
params, and for each operand the earlier step that made it or the tensor itself. It changes nothing
else, so it can be slipped between a transform and its parent. checkpoint() replays a recording to
get back values it has dropped; linearize() replays the part that depends on the tangents.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import ref

from cbackend import lib

from ..errors import GradError, message
from ..op import Op, dispatch, fail
from ..tape import Node
from ..tensor import Tensor, wrap
from ..trace import Outside, Trace, active, clock, next_sequence, state
from .jvp_trace import JvpTrace
from .vjp_trace import VjpTrace
from .vmap_trace import VmapTrace

Place = tuple[int, int]  # which step, which of its outputs


class Step:
    """One recorded operation.

    `sources` has for each operand a Place, or the tensor itself with the clock at its recording.
    """

    __slots__ = ("clock", "draw", "kept", "op", "params", "sources")

    def __init__(self, op: Op, params: dict[str, Any], sources: list[Any]):
        self.op, self.params, self.sources = op, params, sources
        self.clock = clock[0]
        self.draw = params["generator"]._offset if op.random else 0
        self.kept: tuple[Tensor, ...] | None = None  # results that need no second computation

    def run(self, args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The results, in the current context; random numbers are the same again."""
        if not self.op.random:
            out = dispatch(self.op, tuple(args), self.params)
            return out if type(out) is tuple else (out,)
        generator = self.params["generator"]
        now, generator._offset = generator._offset, self.draw
        try:
            return (dispatch(self.op, tuple(args), self.params),)
        finally:
            generator._offset = now


class External:
    """A tensor that a recording uses but did not make."""

    __slots__ = ("clock", "tensor")

    def __init__(self, tensor: Tensor):
        self.tensor, self.clock = tensor, clock[0]

    def checked(self) -> Tensor:
        """The tensor, if it has not been overwritten in memory since."""
        t = self.tensor
        if t._v and lib.cb_last_write(t._v) > self.clock:
            raise GradError(
                message(
                    "checkpoint",
                    f"an input of shape {list(t._shape)} as it was in the forward pass",
                    "one that an in-place operation has changed since",
                    "Write to a clone(), or use the out-of-place form.",
                )
            )
        return t


def another_shell(t: Tensor) -> Tensor:
    """The tensor under a name of its own, which in-place code does not know."""
    m = t._current()
    shell = t._alias()
    shell._m = m
    return shell


class Transparent(Trace):
    """A trace without values of its own, which passes operations on to its parent."""

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """To messages it is not there."""
        return self.parent.name if self.parent is not None else "the function"

    def within(self) -> str:
        return self.parent.within() if self.parent is not None else self.name

    def owns(self, t: Tensor) -> bool:
        return self.parent is None or self.parent.owns(t)

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            return bool(t) if how == "bool" else t.item()

    def below(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        """Evaluates the operation in the parent's context."""
        parent = self.parent
        state.trace = parent
        try:
            if parent is not None:
                return parent.process(op, args, params)
            handles = op.impl(*args, **params)  # type: ignore[misc]
            if not handles:
                fail(op, args)
            return wrap(handles)
        finally:
            state.trace = self


class Recorder(Transparent):
    """Notes the operations that reach it and passes them on to its parent unchanged.

    Args:
      on_step: called with (index, results) once the results are complete.
      shell: how to hold a tensor that comes from outside; by default without its place on the tape.
    """

    def __init__(
        self,
        on_step: Callable[[int, tuple[Tensor, ...]], None] | None = None,
        shell: Callable[[Tensor], Tensor] = Tensor._alias,
    ):
        super().__init__()
        self.steps: list[Step] = []
        self._known: dict[int, tuple[Any, Place]] = {}
        self._pending: tuple[int, tuple[Tensor, ...]] | None = None
        self._on_step, self._shell = on_step, shell

    def slip_over(self, parent: Trace | None) -> None:
        """Makes the recorder ready to lie above `parent`; leave with lift()."""
        self.parent = parent
        self.first = next_sequence()
        self.first_storage = lib.cb_storage_serial()
        active.append(self)

    def lift(self) -> None:
        """The recording is over."""
        active.remove(self)
        self.finished = True
        self.settle()

    def place_of(self, t: Tensor) -> Place | None:
        """Which recorded result the tensor is, if it is one and has not been written to."""
        key: Any = t if (m := t._current()) is None else m
        found = self._known.get(id(key))
        if found is None and m is not None and m.tracer is not None:
            key = m.tracer
            found = self._known.get(id(key))
        if found is None or found[0]() is not key:
            return None
        place = found[1]
        if t._v and lib.cb_last_write(t._v) > self.steps[place[0]].clock:
            return None
        return place

    def know(self, t: Tensor, place: Place) -> None:
        """From now on the tensor is the result at that place."""
        m = t._m
        for key in (t,) if m is None else (m,) if m.tracer is None else (m, m.tracer):
            self._known[id(key)] = (ref(key), place)

    def settle(self) -> None:
        """Takes note of the last operation's results, which by now stand on the tape too."""
        if self._pending is None:
            return
        (index, outs), self._pending = self._pending, None
        for i, t in enumerate(outs):
            self.know(t, (index, i))
        self.steps[index].clock = clock[0]
        if self._on_step is not None:
            self._on_step(index, outs)

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        self.settle()
        if op.decompose is not None and decomposes(self.parent, op, args):
            return op.decompose(*args, **params)
        places = [self.place_of(a) for a in args]
        step = Step(
            op,
            params,
            [
                External(self._shell(a)) if p is None else p
                for a, p in zip(args, places, strict=True)
            ],
        )
        out = self.below(op, args, params)
        self.steps.append(step)
        self._pending = len(self.steps) - 1, out if type(out) is tuple else (out,)
        return out


def decomposes(parent: Trace | None, op: Op, args: Sequence[Tensor]) -> bool:
    """Would the context below use the op's meaning instead of a rule?"""
    if op.impl is None:
        return True
    if not op.differentiable:
        return op.batch is None and isinstance(parent, VmapTrace)
    if op.pull is None and state.grad and any(a.requires_grad for a in args):
        return True
    rule = (
        op.pull
        if isinstance(parent, VjpTrace)
        else op.jvp
        if isinstance(parent, JvpTrace)
        else op.batch
    )
    return (
        rule is None
        and parent is not None
        and any(a._m is not None and a._m.trace is parent for a in args)
    )


def replay(
    steps: Sequence[Step],
    wanted: Iterable[Place],
    *,
    given: dict[Place, Tensor] | None = None,
    lower: Callable[[Tensor], Tensor] = lambda t: t,
) -> dict[Place, Tensor]:
    """Computes recorded results again, in the current context.

    Args:
      wanted: which ones; only what they need is computed, and freed after its last use.
      given: results that stand in for recorded ones.
      lower: brings the tensors of the recording to the current context.
    """
    values: dict[Place, Tensor] = dict(given or {})
    wanted = set(wanted)
    uses: dict[int, int] = {}  # how many later steps need one of the results of a step
    stack = [p for p in wanted if p not in values]
    needed: set[int] = set()
    while stack:
        index = stack.pop()[0]
        if index in needed:
            continue
        needed.add(index)
        step = steps[index]
        if step.kept is not None:
            continue
        for s in step.sources:
            if type(s) is tuple and s not in values:
                uses[s[0]] = uses.get(s[0], 0) + 1
                stack.append(s)
    fixed = set(given or ())
    for index in sorted(needed):
        step = steps[index]
        if step.kept is not None:
            outs = tuple([lower(t) for t in step.kept])
        else:
            args = [values[s] if type(s) is tuple else lower(s.checked()) for s in step.sources]
            outs = step.run(args)
            del args
        for i, t in enumerate(outs):
            values[index, i] = t
        for s in step.sources if step.kept is None else ():
            if type(s) is tuple and s not in fixed:
                uses[s[0]] -= 1
                if not uses[s[0]]:
                    for i in range(steps[s[0]].op.nouts):
                        if (s[0], i) not in wanted:
                            values.pop((s[0], i), None)
    return {p: values[p] for p in wanted}


class Recorded:
    """An op in a node whose saved tensors are gone until its region has been replayed."""

    __slots__ = ("name", "nouts", "op", "restore")
    view = False

    def __init__(self, op: Op, restore: Callable[[], None]):
        self.op, self.restore = op, restore
        self.name, self.nouts = op.name, op.nouts

    def pull(self, node: Node, ct: Any) -> Any:
        """The op's rule, after the node has got its saved tensors back."""
        self.restore()
        return self.op.pull(node, ct)


__all__ = [
    "External", "Place", "Recorded", "Recorder", "Step", "Transparent", "another_shell",
    "decomposes", "replay",
]  # fmt: skip
