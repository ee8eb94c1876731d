"""The collectives: functions of tensors with derivatives and batching rules.

All ranks of a group call the same function at the same point of the program. Derivatives are those
of the sum of all ranks' results: the transpose of a sum over ranks is a sum over ranks, of a gather
a reduce-scatter, of a broadcast a reduction. Rules are written with public functions, so that
forward mode, reverse mode, vmap and their nestings call the collectives again, in one order on all
ranks.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import check, lib

from .. import tree
from ..errors import DTypeError, ShapeError, TraceError, message
from ..op import Op, dispatch
from ..ops.family import number
from ..ops.join import cat
from ..staging.stage import current_stage
from ..tensor import Tensor, wrap_dim
from . import transport
from .frame import OPS, checked, linear, moved, rows_first, start, timed
from .meeting import CollectiveError
from .programs import enter
from .transport import described
from .world import Group

_CONTIGUOUS = 2  # a flag of handles

# ---- all_reduce ----


def _reduce_kernel(x: Tensor, *, group: Group, op: str, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.all_reduce(source, target, op)

    return moved("all_reduce", x, x._shape, group, run, courier, f"{op} ", reduction=op)


linear(
    "all_reduce",
    _reduce_kernel,
    lambda ct, *, group, op: all_reduce(ct, op, group),
    lambda x, *, group, op: all_reduce(x, op, group),
)


def _shares(out: Tensor, x: Tensor, group: Group) -> Tensor:
    """Each element's part in a maximum or minimum; equal ones share evenly."""
    is_it = (x == out).to(x.dtype)
    return is_it / all_reduce(is_it, "sum", group)


def _others(x: Tensor, group: Group) -> Tensor:
    """The product of the other ranks' elements."""
    every = all_gather(x.unsqueeze(0), group=group)
    here = group.rank
    before, after = every.narrow(0, 0, here), every.narrow(0, here + 1, group.size - here - 1)
    return before.prod(0) * after.prod(0)


def _nonlinear(name: str, weight: Callable[[Tensor, Tensor, Group], Tensor]) -> None:
    """Enters a reduction whose derivative by this rank's tensor is an elementwise weight."""
    entry = Op(
        f"distributed_{name}",
        _reduce_kernel,
        vjp=lambda ct, out, x, *, group, op: (
            all_reduce(ct, "sum", group) * weight(out, x, group),
        ),
        jvp=lambda tangents, out, x, *, group, op: all_reduce(
            tangents[0] * weight(out, x, group), "sum", group
        ),
        batch=lambda _size, _batched, x, *, group, op: all_reduce(x, op, group),
        registered=False,
    )
    OPS[name] = enter(entry, _reduce_kernel)


_nonlinear("max", _shares)
_nonlinear("min", _shares)
_nonlinear("prod", lambda _out, x, group: _others(x, group))


def all_reduce(
    x: Tensor, op: str = "sum", group: Group | None = None, async_op: bool = False
) -> Any:
    """The sum, mean, product, maximum or minimum over all ranks of a group, on each of them.

    Args:
      x: of one shape and dtype on all ranks. 16-bit floats are added in float32, rank by rank.
      op: "sum", "mean", "prod", "max" or "min". Booleans: any for sum and max, all for the others.
      group: by default all ranks.
      async_op: return a Work at once; its wait() gives the tensor, without a gradient.
    Returns:
      [same as x], the same bits on all ranks and in every run.
    Raises:
      CollectiveError: other ranks called another collective, with another shape or dtype, or did
        not come in time; all ranks raise it. So in all functions here.
      ValueError: another op. DTypeError: mean of integers; max or min of complex numbers.
    Notes: Equal maxima share the gradient evenly.
    Example:
      >>> from functorch_like import distributed
      >>> distributed.all_reduce(tensor([1.0, 2.0]), "mean")
      tensor([1., 2.])
    """
    x, group = checked("all_reduce", x, group)
    if op == "mean":
        if not x.dtype.is_inexact:
            raise DTypeError(message("all_reduce", "floating numbers for mean", x.dtype))
        if not async_op:
            return all_reduce(x, "sum", group) / group.size
        params = {"group": group, "op": "sum"}
        return start("all_reduce", _reduce_kernel, x, params, True, lambda t: t / group.size)
    if op not in transport.REDUCTIONS:
        wanted = f"op {', '.join((*transport.REDUCTIONS, 'mean'))}"
        raise ValueError(message("all_reduce", wanted, repr(op)))
    if x.dtype.is_complex and op in ("max", "min"):
        raise DTypeError(message("all_reduce", f"real numbers for {op}", x.dtype))
    name = "all_reduce" if op == "sum" else op
    return start(name, _reduce_kernel, x, {"group": group, "op": op}, async_op)


def all_reduce_(
    x: Tensor, op: str = "sum", group: Group | None = None, async_op: bool = False
) -> Any:
    """all_reduce into the tensor itself, as torch's does; returns it.

    Plain contiguous tensors on the CPU, and on CUDA with NCCL, are reduced where they lie.

    Args:
      async_op: return a Work at once; leave the tensor alone until its wait().
    """
    x, group = checked("all_reduce_", x, group)
    kind = "sum" if op == "mean" else op
    if not _in_place(x, op, kind, group):
        if async_op:
            x._memory("all_reduce_")
            return all_reduce(x, op, group, True).then(x.copy_)
        return x.copy_(all_reduce(x, op, group))
    if kind not in transport.REDUCTIONS:
        return all_reduce(x, op, group)  # which raises
    scale = 1.0 / group.size if op == "mean" and group.size > 1 else 1.0

    def run(x: Tensor, courier: bool) -> Tensor:
        if group.size > 1:
            what = f"all_reduce {kind} {described(x)}"
            with timed(what):
                group.meet(what, courier)
                way = group.transport(x, kind, courier)
                way.move(what, lambda way, _, x: way.all_reduce(None, x, kind), None, x)
            if scale != 1.0:
                x.mul_(scale)
            else:
                first = x.reshape((-1,)).narrow(0, 0, 1)
                first.copy_(first.clone())  # the tape learns that the memory was written
        return x

    return group.later("all_reduce_", x, run) if async_op else run(x, False)


def _in_place(x: Tensor, op: str, kind: str, group: Group) -> bool:
    """Is x reduced where it lies? A plain contiguous tensor that the transport reads and writes."""
    if x._m is not None or not x._v or x._v.device & 255 == lib.CB_META:
        return False
    if not x._v.flags & _CONTIGUOUS or not x.numel() or (op == "mean" and not x.dtype.is_inexact):
        return False
    return group.size == 1 or group.transport(x, kind).takes(x)


# ---- all_gather and reduce_scatter ----


def _gather_all_kernel(x: Tensor, *, group: Group, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.all_gather(source, target)

    shape = (group.size * x._shape[0], *x._shape[1:])
    return moved("all_gather", x, shape, group, run, courier)


def _reduce_scatter_kernel(x: Tensor, *, group: Group, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.reduce_scatter(source, target)

    shape = (x._shape[0] // group.size, *x._shape[1:])
    return moved("reduce_scatter", x, shape, group, run, courier, reduction="sum")


linear(
    "all_gather",
    _gather_all_kernel,
    lambda ct, *, group: reduce_scatter(ct, group=group),
    rows_first("all_gather"),
)
linear(
    "reduce_scatter",
    _reduce_scatter_kernel,
    lambda ct, *, group: all_gather(ct, group=group),
    rows_first("reduce_scatter"),
)


def all_gather(x: Tensor, dim: int = 0, group: Group | None = None, async_op: bool = False) -> Any:
    """The tensors of all ranks, one after the other along dim, on each of them.

    Args:
      x [..., n, ...]: of one shape and dtype on all ranks; a scalar counts as [1].
      dim: the dimension to join; for a new one pass x.unsqueeze(dim).
      async_op: as in all_reduce; with dim 0.
    Returns:
      [..., size * n, ...].
    Example:
      >>> from functorch_like import distributed
      >>> distributed.all_gather(tensor([1.0, 2.0]))
      tensor([1., 2.])
    """
    x, group = checked("all_gather", x, group)
    x = x if x.ndim else x.reshape((1,))
    return _along(x, dim, "all_gather", _gather_all_kernel, group, async_op)


def reduce_scatter(
    x: Tensor, dim: int = 0, group: Group | None = None, async_op: bool = False
) -> Any:
    """The sum over all ranks, of which each rank gets one of `size` equal parts along dim.

    Args:
      x [..., size * n, ...]: of one shape and dtype on all ranks.
      async_op: as in all_reduce; with dim 0.
    Returns:
      [..., n, ...]: the part of this rank.
    Raises:
      ShapeError: the dimension cannot be divided.
    Example:
      >>> from functorch_like import distributed
      >>> distributed.reduce_scatter(tensor([1.0, 2.0]))
      tensor([1., 2.])
    """
    x, group = checked("reduce_scatter", x, group)
    _check_parts("reduce_scatter", x, dim, group)
    return _along(x, dim, "reduce_scatter", _reduce_scatter_kernel, group, async_op)


def _along(
    x: Tensor, dim: int, op: str, kernel: Callable[..., Any], group: Group, async_op: bool
) -> Any:
    """The op with dimension dim in front."""
    d = wrap_dim(op, dim, x.ndim)
    if d and async_op:
        raise ValueError(message(op, "dim=0 with async_op", dim))
    params = {"group": group}
    if not d:
        return start(op, kernel, x, params, async_op)
    return dispatch(OPS[op], (x.movedim(d, 0),), params).movedim(0, d)


def _check_parts(op: str, x: Tensor, dim: int, group: Group) -> None:
    size = x._shape[wrap_dim(op, dim, x.ndim)] if x.ndim else 0
    if not x.ndim or size % group.size:
        wanted = f"a dimension of a multiple of {group.size}, the number of ranks"
        raise ShapeError(message(op, wanted, f"shape {list(x._shape)} and dim {dim}"))


# ---- from and to one rank ----


def _broadcast_kernel(x: Tensor, *, group: Group, src: int, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.broadcast(source, target, src)

    return moved("broadcast", x, x._shape, group, run, courier, f"from {src} ")


def _reduce_to_kernel(x: Tensor, *, group: Group, dst: int, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.reduce(source, target, dst)
        if group.rank != dst:
            _zero(target)

    return moved("reduce", x, x._shape, group, run, courier, f"to {dst} ", reduction="sum")


def _gather_kernel(x: Tensor, *, group: Group, dst: int, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.gather(source, target, dst)
        if group.rank != dst:
            _zero(target)

    shape = (group.size * x._shape[0], *x._shape[1:])
    return moved("gather", x, shape, group, run, courier, f"to {dst} ")


def _scatter_kernel(x: Tensor, *, group: Group, src: int, courier: bool = False) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.scatter(source, target, src)

    shape = (x._shape[0] // group.size, *x._shape[1:])
    return moved("scatter", x, shape, group, run, courier, f"from {src} ")


def _zero(t: Tensor) -> None:
    zero = number(0)  # a name keeps it alive during the call
    check(lib.cb_copy_into(t._v, zero._v, 0))


def _params_of(end: str, group: Group, place: int) -> dict[str, Any]:
    return {"group": group, end: place}


linear(
    "broadcast",
    _broadcast_kernel,
    lambda ct, *, group, src: dispatch(OPS["reduce"], (ct,), _params_of("dst", group, src)),
    lambda x, **params: dispatch(OPS["broadcast"], (x,), params),
)
linear(
    "reduce",
    _reduce_to_kernel,
    lambda ct, *, group, dst: dispatch(OPS["broadcast"], (ct,), _params_of("src", group, dst)),
    lambda x, **params: dispatch(OPS["reduce"], (x,), params),
)
linear(
    "gather",
    _gather_kernel,
    lambda ct, *, group, dst: dispatch(OPS["scatter"], (ct,), _params_of("src", group, dst)),
    rows_first("gather"),
)
linear(
    "scatter",
    _scatter_kernel,
    lambda ct, *, group, src: dispatch(OPS["gather"], (ct,), _params_of("dst", group, src)),
    rows_first("scatter"),
)


def broadcast(x: Tensor, src: int = 0, group: Group | None = None, async_op: bool = False) -> Any:
    """The tensor of one rank, on each of them.

    Args:
      x: of one shape and dtype on all ranks; values count on src only.
      src: a rank of the world.
    Example:
      >>> from functorch_like import distributed
      >>> distributed.broadcast(tensor([1.0, 2.0]))
      tensor([1., 2.])
    """
    x, group = checked("broadcast", x, group)
    params = {"group": group, "src": group.place_of("broadcast", src)}
    return start("broadcast", _broadcast_kernel, x, params, async_op)


def reduce(x: Tensor, dst: int = 0, group: Group | None = None, async_op: bool = False) -> Any:
    """The sum over all ranks on rank dst; zeros on the others."""
    x, group = checked("reduce", x, group)
    params = {"group": group, "dst": group.place_of("reduce", dst)}
    return start("reduce", _reduce_to_kernel, x, params, async_op)


def gather(x: Tensor, dst: int = 0, group: Group | None = None, async_op: bool = False) -> Any:
    """The tensors of all ranks, one after the other along dimension 0, on rank dst.

    Args:
      x [n, ...]: of one shape and dtype on all ranks; a scalar counts as [1].
    Returns:
      [size * n, ...]; zeros on the other ranks.
    """
    x, group = checked("gather", x, group)
    x = x if x.ndim else x.reshape((1,))
    params = {"group": group, "dst": group.place_of("gather", dst)}
    return start("gather", _gather_kernel, x, params, async_op)


def scatter(x: Tensor, src: int = 0, group: Group | None = None, async_op: bool = False) -> Any:
    """One of `size` equal parts, along dimension 0, of the tensor of rank src.

    Args:
      x [size * n, ...]: of one shape and dtype on all ranks; values count on src only.
    Returns:
      [n, ...]: the part of this rank.
    Raises:
      ShapeError: the dimension cannot be divided.
    """
    x, group = checked("scatter", x, group)
    _check_parts("scatter", x, 0, group)
    params = {"group": group, "src": group.place_of("scatter", src)}
    return start("scatter", _scatter_kernel, x, params, async_op)


# ---- all_to_all ----


def _exchange_kernel(
    x: Tensor,
    *,
    group: Group,
    sent: tuple[int, ...],
    received: tuple[int, ...],
    equal: bool,
    courier: bool = False,
) -> Any:
    def run(way: Any, source: Tensor, target: Tensor) -> None:
        way.all_to_all(source, target, sent, received)

    shape = (sum(received), *x._shape[1:])
    return moved("all_to_all", x, shape, group, run, courier, any_rows=not equal)


linear(
    "all_to_all",
    _exchange_kernel,
    lambda ct, *, group, sent, received, equal: dispatch(
        OPS["all_to_all"],
        (ct,),
        {"group": group, "sent": received, "received": sent, "equal": equal},
    ),
    rows_first("all_to_all"),
)


def all_to_all(
    x: Tensor,
    input_splits: Sequence[int] | None = None,
    output_splits: Sequence[int] | None = None,
    group: Group | None = None,
    async_op: bool = False,
) -> Any:
    """Rows dealt out to all ranks, and the rows that they dealt to this one, in the ranks' order.

    Args:
      x [n, ...]: the rows for rank 0, then those for rank 1, and so on.
      input_splits: how many rows each rank gets; by default equal parts.
      output_splits: how many come from each rank, if that is known; else the ranks tell each other
        first.
    Returns:
      [m, ...]: the rows for this rank.
    Raises:
      ShapeError: the splits do not add up to n; by default, n cannot be divided.
      CollectiveError: output_splits are not what the others send.
    Example:
      >>> from functorch_like import distributed
      >>> distributed.all_to_all(tensor([1.0, 2.0]))
      tensor([1., 2.])
    """
    x, group = checked("all_to_all", x, group)
    by_default = input_splits is None
    if input_splits is None:
        _check_parts("all_to_all", x, 0, group)
        input_splits = [x._shape[0] // group.size] * group.size
    sent = tuple(int(n) for n in input_splits)
    if len(sent) != group.size or min(sent) < 0 or not x.ndim or sum(sent) != x._shape[0]:
        wanted = f"{group.size} input_splits with the sum of the rows"
        raise ShapeError(message("all_to_all", wanted, f"{list(sent)} and {list(x._shape)}"))
    equal = by_default and output_splits is None
    coming = sent if equal else _exchanged(x, sent, output_splits, group)
    params = {"group": group, "sent": sent, "received": coming, "equal": equal}
    return start("all_to_all", _exchange_kernel, x, params, async_op)


def _exchanged(
    x: Tensor, sent: tuple[int, ...], output_splits: Sequence[int] | None, group: Group
) -> tuple[int, ...]:
    """How many rows come from each rank, as the ranks tell each other."""
    if current_stage() is not None:
        raise TraceError(
            message(
                "all_to_all",
                "equal parts in a compiled function",
                "input_splits",
                "What ranks send each other there must not depend on values.",
            )
        )
    coming = exchange_counts(sent, group)
    wrong = ""
    if output_splits is not None and tuple(output_splits) != coming:
        wrong = f"{list(output_splits)} where {list(coming)} come"
    _agree(wrong, group)
    return coming


def exchange_counts(sent: Sequence[int], group: Group) -> tuple[int, ...]:
    """How many each rank sends to this one, when this one sends sent[i] to rank i."""
    if group.size == 1:
        return tuple(sent)
    import array

    group.meet("all_to_all counts")
    given, taken = array.array("q", sent), array.array("q", [0] * group.size)
    group.comm().Alltoall(given, taken)
    return tuple(taken)


def _agree(wrong: str, group: Group) -> None:
    """Raises on all ranks if something is wrong on one."""
    if group.size == 1:
        return
    found = [text for text in group.comm().allgather(wrong) if text]
    if found:
        wanted = "output_splits that are what the other ranks send"
        raise CollectiveError(message("all_to_all", wanted, "; ".join(found)))


# ---- trees ----


def pmean(values: Any, group: Group | None = None) -> Any:
    """The mean over all ranks of each tensor of a pytree: of gradients, to train data-parallel.

    All tensors of a dtype travel in one message.

    Example:
      >>> from functorch_like import distributed
      >>> distributed.pmean({"w": tensor([1.0, 2.0])})
      {'w': tensor([1., 2.])}
    """
    return _together(values, "mean", group)


def psum(values: Any, group: Group | None = None) -> Any:
    """The sum over all ranks of each tensor of a pytree."""
    return _together(values, "sum", group)


def _together(values: Any, op: str, group: Group | None) -> Any:
    leaves, definition = tree.flatten(values)
    kinds: dict[Any, list[int]] = {}
    for i, leaf in enumerate(leaves):
        kinds.setdefault((leaf.dtype, leaf.device), []).append(i)
    out: list[Any] = [None] * len(leaves)
    for places in kinds.values():
        whole = all_reduce(cat([leaves[i].reshape((-1,)) for i in places]), op, group)
        start = 0
        for i in places:
            count = math.prod(leaves[i]._shape)
            out[i] = whole.narrow(0, start, count).reshape(leaves[i]._shape)
            start += count
    return tree.unflatten(definition, out)


__all__ = [
    "all_gather", "all_reduce", "all_reduce_", "all_to_all", "broadcast", "gather", "pmean",
    "psum", "reduce", "reduce_scatter", "scatter",
]  # fmt: skip
