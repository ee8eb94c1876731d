"""Pieces of sharded models: values alike on all ranks, and values of which each rank has a part.

The collectives' own derivatives are those of the sum of all ranks' results. Here all ranks compute
one and the same loss, each a part of it: so what is copied to the ranks has its gradients added up,
and what is added up over them passes its gradient on as it is.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import lib

from ..op import Op, dispatch
from ..ops.creation import zeros
from ..ops.join import cat
from ..tensor import Tensor
from .collectives import _gather_all_kernel, _reduce_kernel, all_gather, reduce_scatter
from .programs import enter
from .world import Group, world

_copy = Op(
    "copy_to_ranks",
    lambda x, group: lib.cb_retain(x._v),
    vjp=lambda ct, _out, _x, group: (reduce_from_ranks(ct, group),),
    jvp=lambda tangents, _out, _x, group: copy_to_ranks(tangents[0], group),
    batch=lambda _size, _batched, x, group: copy_to_ranks(x, group),
    registered=False,
)


def _sum_kernel(x: Tensor, *, group: Group) -> Any:
    return _reduce_kernel(x, group=group, op="sum")


_add = Op(
    "reduce_from_ranks",
    _sum_kernel,
    vjp=lambda ct, _out, _x, group: (copy_to_ranks(ct, group),),
    jvp=lambda tangents, _out, _x, group: reduce_from_ranks(tangents[0], group),
    batch=lambda _size, _batched, x, group: reduce_from_ranks(x, group),
    registered=False,
)
enter(_add, _sum_kernel)


def copy_to_ranks(x: Tensor, group: Group | None = None) -> Tensor:
    """x, which is alike on all ranks and of which each computes a part: its gradients are added."""
    return dispatch(_copy, (x,), {"group": world(group)})


def reduce_from_ranks(x: Tensor, group: Group | None = None) -> Tensor:
    """The sum of all ranks' parts, alike on all; each part gets the gradient of the sum."""
    return dispatch(_add, (x,), {"group": world(group)})


def _own_part(x: Tensor, dim: int, group: Group) -> Tensor:
    size = x._shape[dim] // group.size
    return x.narrow(dim, group.rank * size, size)


_join = Op(
    "gather_from_ranks",
    None,
    vjp=lambda ct, _out, _x, dim, group: (slice_to_ranks(ct, dim, group),),
    jvp=lambda tangents, _out, _x, dim, group: gather_from_ranks(tangents[0], dim, group),
    batch=lambda _size, _batched, x, dim, group: gather_from_ranks(x, dim + 1, group),
    decompose=lambda x, dim, group: all_gather(x, dim, group),
    registered=False,
)
_part = Op(
    "slice_to_ranks",
    None,
    vjp=lambda ct, _out, _x, dim, group: (gather_from_ranks(ct, dim, group),),
    jvp=lambda tangents, _out, _x, dim, group: slice_to_ranks(tangents[0], dim, group),
    batch=lambda _size, _batched, x, dim, group: slice_to_ranks(x, dim + 1, group),
    decompose=_own_part,
    registered=False,
)


def gather_from_ranks(x: Tensor, dim: int = -1, group: Group | None = None) -> Tensor:
    """The ranks' parts joined along dim, alike on all; each part gets its part of the gradient."""
    d = dim % x.ndim
    return dispatch(_join, (x,), {"dim": d, "group": world(group)})


def slice_to_ranks(x: Tensor, dim: int = -1, group: Group | None = None) -> Tensor:
    """This rank's part along dim of what is alike on all ranks; gradients are joined again."""
    d = dim % x.ndim
    return dispatch(_part, (x,), {"dim": d, "group": world(group)})


# ---- parameters that lie in parts and are gathered for use ----


def _fetch(x: Tensor, *, group: Group, ahead: Any) -> Any:
    found = ahead.take(x) if ahead is not None else None
    return lib.cb_retain(found._v) if found is not None else _gather_all_kernel(x, group=group)


gather_parameters_op = Op(
    "gather_parameters",
    _fetch,
    vjp=lambda ct, _out, _x, group, ahead: (reduce_scatter(ct, 0, group) / group.size,),
    jvp=lambda tangents, _out, _x, group, ahead: all_gather(tangents[0], 0, group),
    batch=lambda _size, _batched, x, group, ahead: all_gather(x, 1, group),
    registered=False,
)
enter(gather_parameters_op, _fetch)


def gather_parameters(shard: Tensor, group: Group, ahead: Any = None) -> Tensor:
    """The flat parameters of which each rank has a part; gradients are averaged over the ranks.

    Args:
      ahead: has a method take(shard) that gives the result if it was asked for before, else None.
    """
    return dispatch(gather_parameters_op, (shard,), {"group": group, "ahead": ahead})


def splitter(shapes: Sequence[tuple[int, ...]]) -> Op:
    """An op that cuts a flat tensor into views of these shapes; what is behind them is padding."""
    counts = []
    for shape in shapes:
        n = 1
        for size in shape:
            n *= size
        counts.append(n)

    def views(x: Tensor) -> tuple[Any, ...]:
        start, found = 0, []
        for shape, n in zip(shapes, counts, strict=True):
            view = x.narrow(0, start, n).reshape(shape)  # a name: the handle is the tensor's
            found.append(lib.cb_retain(view._v))
            start += n
        return tuple(found)

    def joined(cts: Any, _out: Any, x_spec: Any) -> tuple[Tensor]:
        pieces = [
            zeros(n, dtype=x_spec.dtype, device=x_spec.device) if ct is None else ct.reshape((-1,))
            for ct, n in zip(cts, counts, strict=True)
        ]
        rest = x_spec.shape[0] - sum(counts)
        if rest:
            pieces.append(zeros(rest, dtype=x_spec.dtype, device=x_spec.device))
        return (cat(pieces),)

    op: Any = Op(
        "split_parameters",
        views,
        vjp=joined,
        jvp=lambda tangents, _out, _x: dispatch(op, (tangents[0],), {}),
        batch=lambda _size, _batched, x: tuple(
            x.narrow(1, sum(counts[:i]), n).reshape((x._shape[0], *shapes[i]))
            for i, n in enumerate(counts)
        ),
        nouts=len(shapes),
        registered=False,
    )
    return op


__all__ = [
    "copy_to_ranks", "gather_from_ranks", "gather_parameters", "gather_parameters_op",
    "reduce_from_ranks", "slice_to_ranks", "splitter",
]  # fmt: skip
