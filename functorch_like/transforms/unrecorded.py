"""no_grad inside transforms: what reverse mode is not to see.

As under torch.func, a result computed under no_grad inside grad is a constant to that grad, and a
tensor written there keeps the place in the graph that it had. Forward mode goes on, as in torch.
A trace without values of its own lies over the others while no_grad holds; it puts behind every
operation an op that says so. So checkpoints, compiled functions and vmap need no care of their own.
"""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..op import Op
from ..ops.creation import zeros_like
from ..ops.family import fronted
from ..tensor import Tensor
from ..trace import Trace, next_sequence
from .replay import Transparent, another_shell

_stopped = Op(
    "stopped",
    lambda x: lib.cb_alias(x._v),
    vjp=lambda _ct, _out, _x: (None,),
    jvp=lambda tangents, _out, _x: tangents[0],
    batch=lambda _size, _batched, x: _stopped(x),
    registered=False,
)
carried = Op(
    "carried",
    lambda _old, new: lib.cb_alias(new._v),
    vjp=lambda ct, _out, _old, _new: (ct, None),
    jvp=lambda tangents, out, _old, _new: zeros_like(out) if tangents[1] is None else tangents[1],
    batch=lambda size, batched, *args: carried(*fronted(size, batched, args)),
    registered=False,
)


class Unrecorded(Transparent):
    """Lies over the current trace while no_grad holds."""

    def __init__(self, parent: Trace):
        self.parent = parent
        self.site = parent.site
        self.first, self.first_storage = next_sequence(), lib.cb_storage_serial()

    def recorded(self) -> Trace:
        return self.parent.recorded()  # type: ignore[union-attr]

    def settle(self) -> None:
        self.parent.settle()  # type: ignore[union-attr]

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        out = self.below(op, args, params)
        return tuple([self._stop(t) for t in out]) if type(out) is tuple else self._stop(out)

    def _stop(self, t: Tensor) -> Tensor:
        if t._m is None or not t.dtype.is_inexact:
            return t
        return self.below(_stopped, (t,), {})

    def carry(self, old: Tensor, new: Tensor) -> Tensor:
        """The new value of a tensor that is written: to reverse mode what it was."""
        if (old._m is None and new._m is None) or not new.dtype.is_inexact:
            return new
        return self.below(carried, (another_shell(old), new), {})  # `old` is about to change


def switched(trace: Trace, recording: bool) -> Trace:
    """The trace to go on with when no_grad (or enable_grad) begins under `trace`."""
    if recording:
        return trace.recorded()
    below: Trace | None = trace
    while below is not None:
        if type(below) is Unrecorded:
            return trace
        if below.heeds_no_grad():
            return Unrecorded(trace)
        below = below.parent
    return trace
