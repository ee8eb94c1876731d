"""What all collectives have in common: the meeting, the transport, the rules of linear ones."""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from cbackend import lib

from ..errors import TraceError, message
from ..op import Op, concretely, dispatch, wrap
from ..tensor import Tensor
from .programs import enter
from .transport import described
from .world import Group, world


def timed(what: str) -> Any:
    """A range in profiles, where one is being taken."""
    recording = sys.modules.get("functorch_like.profiler.recording")
    return recording.record_function(what) if recording is not None else nullcontext()


def moved(
    op: str,
    x: Tensor,
    shape: Sequence[int],
    group: Group,
    run: Callable[[Any, Tensor, Tensor], None],
    courier: bool = False,
    detail: str = "",
    any_rows: bool = False,
    reduction: str = "",
) -> Any:
    """The handle of a result that run(transport, source, target) fills.

    Args:
      courier: on which of the group's communicators.
      any_rows: dimension 0 may differ between the ranks.
      reduction: what happens to the values; "" if they just move.
    Raises:
      CollectiveError: the ranks do not agree. TraceError: while staging.
    """
    with concretely() as staged:
        if staged:
            raise TraceError(
                message(
                    op,
                    "to run outside of compiled functions",
                    "a call while one is staged",
                    "Compile what computes the gradients, and reduce what it returns.",
                )
            )
        if x._v.device & 255 == lib.CB_META:
            return lib.cb_empty(x._v.dtype, x._v.device, len(shape), list(shape))
        of = f"{x.dtype}[*, {str(list(x._shape[1:]))[1:]}" if any_rows else described(x)
        what = f"{op} {detail}{of}"
        if group.size == 1 and tuple(shape) == x._shape:
            return lib.cb_clone(x._v)
        with timed(what):
            group.meet(what, courier)
            way = group.transport(x, reduction, courier)
            source, target = way.source(x), way.target(x, shape)
            if target.numel() or source.numel():
                way.move(what, run, source, target)
            target = way.finished(target, x)  # a name: the handle is the tensor's
            return lib.cb_retain(target._v)


def start(
    op: str,
    kernel: Callable[..., Any],
    x: Tensor,
    params: dict[str, Any],
    async_op: bool,
    finish: Callable[[Tensor], Any] | None = None,
) -> Any:
    """The result of an op, or the Work that will have it; finish is for Works."""
    if not async_op:
        return dispatch(OPS[op], (x,), params)
    x._memory(op)
    plain = x.detach()
    work = params["group"].later(
        op, plain, lambda x, courier: wrap(kernel(x, **params, courier=courier))
    )
    return work if finish is None else work.then(finish)


def checked(op: str, x: Any, group: Group | None) -> tuple[Tensor, Group]:
    if not isinstance(x, Tensor):
        raise TypeError(message(op, "a tensor", type(x).__name__, "Use tensor()."))
    group = world(group)
    group.check_member(op)
    return x, group


OPS: dict[str, Op] = {}  # by name; the derivatives' rules look them up


def linear(
    name: str,
    kernel: Callable[..., Any],
    transpose: Callable[..., Tensor],
    batched: Callable[..., Tensor],
) -> None:
    """Enters a linear collective: its kernel, its transpose and how it treats a mapped tensor."""
    op = Op(
        f"distributed_{name}",
        kernel,
        vjp=lambda ct, _out, x_spec, **params: (transpose(ct, **params),),
        jvp=lambda tangents, _out, x_spec, **params: dispatch(OPS[name], (tangents[0],), params),
        batch=lambda _size, _batched, x, **params: batched(x, **params),
        registered=False,
    )
    OPS[name] = enter(op, kernel)


def rows_first(name: str) -> Callable[..., Tensor]:
    """The batching rule of collectives that deal out dimension 0: lanes go behind it."""

    def batched(x: Tensor, **params: Any) -> Tensor:
        return dispatch(OPS[name], (x.movedim(0, 1),), params).movedim(1, 0)

    return batched


__all__ = ["OPS", "checked", "linear", "moved", "rows_first", "start", "timed"]
