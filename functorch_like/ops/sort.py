"""Sorting, selection, searching, unique values and counts.

The order is torch's: nan is greater than every number, equal elements keep their order, and
descending reverses the comparison. Values are x at the indices found, which is all that their
derivatives need. Complex numbers have no order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import ffi, lib

from ..dtypes import int32, int64
from ..errors import ShapeError, message
from ..op import NONDIFF, Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import state
from .creation import arange, full, ones, zeros
from .extremes import _picked, _two, pair
from .extremes import max as maximum_of
from .family import fronted, operand
from .gather import _gather_dim, _scatter
from .index import nonzero
from .join import cat

__all__ = [
    "argsort",
    "bucketize",
    "kthvalue",
    "msort",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]

_FAMILY = "sort"
_ORDERED = "bool int float"


def _spread_at(ct: Tensor, x_spec: Any, indices: Tensor, dim: int) -> Tensor:
    """Zeros with the cotangents at different places along dim."""
    if not x_spec.shape:
        return ct
    return _scatter(zeros(x_spec.shape, dtype=ct.dtype, device=ct.device), indices, ct, dim=dim)


def _at(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    return _gather_dim(x, indices, dim=dim) if x.ndim else x


def _along(get: Callable[[], Op]) -> Callable[..., Any]:
    """The batching rule of an op along one dim; a 0-d lane becomes a row of one."""

    def batch(_size: int, _batched: Sequence[bool], x: Tensor, *, dim: int, **params: Any) -> Any:
        if x.ndim > 1:
            return get()(x, dim=dim + 1, **params)
        out = get()(x.unsqueeze(1), dim=1, **params)
        if params.get("keepdim") is False:
            return out
        return tuple(y.squeeze(1) for y in out) if type(out) is tuple else out.squeeze(1)

    return batch


# ---- sort, argsort, topk, kthvalue ----

_sort = Op(
    "sort",
    lambda x, *, dim, descending: _two(lib.cb_sort, x._v, dim, descending, 1),
    vjp=lambda ct, out, x_spec, *, dim, descending: (_spread_at(ct[0], x_spec, out[1], dim),),
    jvp=lambda tangents, out, _x, *, dim, descending: (_at(tangents[0], out[1], dim), None),
    batch=_along(lambda: _sort),
    nouts=2,
    family=_FAMILY,
)
_sort_values = Op(
    "sort_values",
    lambda x, *, dim, descending: lib.cb_sort_values(x._v, dim, descending),
    vjp=lambda ct, _out, x, *, dim, descending: (
        _spread_at(ct, x, _argsort(x, dim=dim, descending=descending), dim),
    ),
    jvp=lambda tangents, _out, x, *, dim, descending: _at(
        tangents[0], _argsort(x, dim=dim, descending=descending), dim
    ),
    batch=_along(lambda: _sort_values),
    family=_FAMILY,
)
_argsort = Op(
    "argsort",
    lambda x, *, dim, descending: lib.cb_argsort(x._v, dim, descending, 1),
    vjp=NONDIFF("integer result"),
    batch=_along(lambda: _argsort),
    family=_FAMILY,
)
_topk = Op(
    "topk",
    lambda x, *, k, dim, largest: _two(lib.cb_topk, x._v, k, dim, largest, 1),
    vjp=lambda ct, out, x_spec, *, k, dim, largest: (_spread_at(ct[0], x_spec, out[1], dim),),
    jvp=lambda tangents, out, _x, *, k, dim, largest: (_at(tangents[0], out[1], dim), None),
    batch=_along(lambda: _topk),
    nouts=2,
    family=_FAMILY,
)


def _kth_vjp(ct: Any, out: Any, x_spec: Any, *, k: int, dim: int, keepdim: bool) -> tuple[Tensor]:
    g, indices = ct[0], out[1]
    if x_spec.shape and not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return (_spread_at(g, x_spec, indices, dim),)


_kthvalue = Op(
    "kthvalue",
    lambda x, *, k, dim, keepdim: _two(lib.cb_kthvalue, x._v, k, dim, keepdim),
    vjp=_kth_vjp,
    jvp=lambda tangents, out, _x, *, k, dim, keepdim: (
        _picked(tangents[0], out[1], dim, keepdim),
        None,
    ),
    batch=_along(lambda: _kthvalue),
    nouts=2,
    family=_FAMILY,
)


def _lines(make: Any) -> list[Any]:
    return [
        call(make(*shape), dim=dim, descending=descending)
        for shape, dim in (((3, 4), 1), ((4, 2, 3), 0), ((), 0), ((0, 3), 1), ((2, 0), 1))
        for descending in (False, True)
    ]


def _order(np: Any, x: Any, *, dim: int, descending: bool) -> Any:
    """The stable order of equal elements, in both directions."""
    if not x.ndim:
        return np.zeros((), "int64")
    if not descending:
        return np.argsort(x, dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - np.argsort(np.flip(x, dim), dim, kind="stable"), dim)


def _sorted(np: Any, x: Any, **params: Any) -> Any:
    order = _order(np, x, **params)
    return np.take_along_axis(x, order, params["dim"]) if x.ndim else x


sampled(
    _sort,
    _lines,
    kinds=_ORDERED,
    oracle=lambda np, x, **p: (_sorted(np, x, **p), _order(np, x, **p)),
)
sampled(_sort_values, _lines, kinds=_ORDERED, oracle=_sorted)
sampled(_argsort, _lines, kinds=_ORDERED, oracle=_order)
sampled(
    _topk,
    lambda make: [
        call(make(3, 4), k=2, dim=1, largest=True),
        call(make(4, 2, 3), k=3, dim=0, largest=False),
        call(make(), k=1, dim=0, largest=True),
        call(make(0, 3), k=2, dim=1, largest=True),
        call(make(3, 2), k=0, dim=1, largest=True),
    ],
    kinds=_ORDERED,
    oracle=lambda np, x, *, k, dim, largest: tuple(
        [
            np.take(y, np.arange(k), dim) if x.ndim else y
            for y in (
                _sorted(np, x, dim=dim, descending=largest),
                _order(np, x, dim=dim, descending=largest),
            )
        ]
    ),
)
sampled(
    _kthvalue,
    lambda make: [
        call(make(3, 4), k=2, dim=1, keepdim=False),
        call(make(4, 2, 3), k=4, dim=0, keepdim=True),
        call(make(), k=1, dim=0, keepdim=False),
        call(make(), k=1, dim=0, keepdim=True),
        call(make(0, 3), k=1, dim=1, keepdim=False),
    ],
    kinds="float",
    oracle=lambda np, x, *, k, dim, keepdim: tuple(
        [
            np.take(y, [k - 1] if keepdim else k - 1, dim) if x.ndim else y
            for y in (
                _sorted(np, x, dim=dim, descending=False),
                _order(np, x, dim=dim, descending=False),
            )
        ]
    ),
)


def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements in order along a dim, and where they were: (values, indices).

    Args:
      descending: the largest first.
      stable: equal elements keep their order; they always do here.
    Notes: nan counts as the largest.
    Raises:
      DTypeError: complex numbers have no order.
    Example:
      >>> sort(tensor([3, 1, 2])).indices
      tensor([1, 2, 0])
    """
    return pair(*_sort(x, dim=wrap_dim("sort", dim, x.ndim), descending=bool(descending)))


def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that sort x along a dim.

    Example:
      >>> argsort(tensor([3, 1, 2]), descending=True)
      tensor([0, 2, 1])
    """
    return _argsort(x, dim=wrap_dim("argsort", dim, x.ndim), descending=bool(descending))


def msort(x: Tensor) -> Tensor:
    """The elements in ascending order along the first dimension."""
    return _sort_values(x, dim=0, descending=False)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) elements along a dim, in order, and their indices.

    Raises:
      ValueError: k is larger than the dimension.
    Example:
      >>> topk(tensor([3.0, 1.0, 2.0]), 2).values
      tensor([3., 2.])
    """
    d = wrap_dim("topk", dim, x.ndim)
    if k == 1 and largest and x.ndim and x._shape[d]:
        return maximum_of(x, d, keepdim=True)
    return pair(*_topk(x, k=int(k), dim=d, largest=bool(largest)))


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dim (k counts from 1), and its index.

    Raises:
      ValueError: k is not in the dimension.
    """
    return pair(*_kthvalue(x, k=int(k), dim=wrap_dim("kthvalue", dim, x.ndim), keepdim=keepdim))


# ---- searching ----


def _search_batch(
    size: int, batched: Sequence[bool], bounds: Tensor, values: Tensor, *, right: bool
) -> Tensor:
    rank = bounds.ndim - batched[0]
    if not batched[0] and rank == 1:
        return _searchsorted(bounds, values, right=right)
    bounds, values = fronted(size, batched, (bounds, values))
    if rank > 1:
        return _searchsorted(bounds, values, right=right)
    flat = values.reshape((size, -1)) if values.numel() else values.reshape((size, 0))
    return _searchsorted(bounds, flat, right=right).reshape(values._shape)


_searchsorted = Op(
    "searchsorted",
    lambda bounds, values, *, right: lib.cb_searchsorted(bounds._v, values._v, right),
    vjp=NONDIFF("integer result"),
    batch=_search_batch,
    family=_FAMILY,
)


def _search_oracle(np: Any, bounds: Any, values: Any, *, right: bool) -> Any:
    side = "right" if right else "left"
    if bounds.ndim == 1:
        return np.searchsorted(bounds, values, side)
    return np.stack([np.searchsorted(b, v, side) for b, v in zip(bounds, values, strict=True)])


sampled(
    _searchsorted,
    lambda make: [
        call(_sort_values(make(5), dim=0, descending=False), make(2, 3), right=False),
        call(_sort_values(make(5), dim=0, descending=False), make(), right=True),
        call(_sort_values(make(2, 4), dim=1, descending=False), make(2, 3), right=True),
        call(_sort_values(make(4), dim=0, descending=False), make(0, 2), right=False),
    ],
    kinds="int float",
    oracle=_search_oracle,
)


def searchsorted(
    sorted_sequence: Tensor,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values would have to be inserted to keep the last dimension sorted.

    Args:
      sorted_sequence [n] for all values, or [..., n] with the leading sizes of values.
      right: behind equal elements rather than before them; side="right" says the same.
      sorter: the indices that sort an unsorted sequence.
    Example:
      >>> searchsorted(tensor([1, 3, 5]), tensor([3, 6]))
      tensor([1, 3])
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ValueError(
            message("searchsorted", 'side "left" or "right" that agrees with right', repr(side))
        )
    if sorter is not None:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    values = operand("searchsorted", values)
    out = _searchsorted(sorted_sequence, values, right=right or side == "right")
    return out.to(int32) if out_int32 else out


def bucketize(
    x: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The number of the bucket that each element falls into, between 1-d sorted boundaries.

    Bucket i holds boundaries[i-1] < x <= boundaries[i];
    with right boundaries[i-1] <= x < boundaries[i].
    """
    if boundaries.ndim != 1:
        raise ShapeError(
            message("bucketize", "boundaries in one dimension", list(boundaries._shape))
        )
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


# ---- unique values ----


def _unique_impl(x: Tensor) -> Any:
    out = ffi.new("cb_tensor *[3]")
    if lib.cb_unique(x._v, 1, 1, out):
        return ()
    return out[0], out[1], out[2]


_unique = Op(
    "unique",
    _unique_impl,
    vjp=NONDIFF("as torch: which elements are equal does not change smoothly"),
    decides=lambda x: x,
    nouts=3,
    family=_FAMILY,
)
sampled(
    _unique,
    lambda make: [call(make(3, 4)), call(make(5)), call(make(0, 2)), call(make())],
    kinds=_ORDERED,
    oracle=lambda np, x: tuple(
        y.reshape(x.shape) if i == 1 else y
        for i, y in enumerate(np.unique(x, return_inverse=True, return_counts=True))
    ),
    unmapped="the number of values depends on the values",
    data_dependent=True,
)


def _unique_values_impl(x: Tensor) -> Any:
    out = ffi.new("cb_tensor *[3]")
    return ffi.NULL if lib.cb_unique(x._v, 0, 0, out) else out[0]


_unique_values = Op(
    "unique_values",
    _unique_values_impl,
    vjp=NONDIFF("as torch: which elements are equal does not change smoothly"),
    decides=lambda x: x,
    family=_FAMILY,
)
sampled(
    _unique_values,
    lambda make: [call(make(3, 4)), call(make(5)), call(make(0, 2)), call(make())],
    kinds=_ORDERED,
    oracle=lambda np, x: np.unique(x),
    unmapped="the number of values depends on the values",
    data_dependent=True,
)


def _chosen(out: Sequence[Tensor], inverse: bool, counts: bool) -> Any:
    picked = tuple(y for y, wanted in zip(out, (True, inverse, counts), strict=True) if wanted)
    return picked if len(picked) > 1 else picked[0]  # type: ignore[misc]


def unique(
    input: Tensor,
    sorted: bool = True,  # torch's name
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in order, or the different slices along a dim.

    Args:
      return_inverse: also where each element of x is among them.
      return_counts: also how often each occurs.
    Raises:
      TraceError: in a compiled function, or under vmap where lanes differ in their number.
    Example:
      >>> unique(tensor([3, 1, 3]), return_counts=True)
      (tensor([1, 3]), tensor([1, 2]))
    """
    if dim is None and not (return_inverse or return_counts):
        return _unique_values(input)
    if dim is None:
        return _chosen(_unique(input), return_inverse, return_counts)
    d = wrap_dim("unique", dim, input.ndim)
    slices = input.movedim(d, 0)
    rows = slices.reshape((slices._shape[0], -1)) if input.numel() else slices
    order = _order_of_rows(rows)
    values, starts, counts = _runs(slices.index_select(0, order), return_counts)
    if return_inverse:
        inverse = starts.cumsum(0) - 1
        starts = zeros(order._shape, dtype=int64, device=input.device).scatter(0, order, inverse)
    return _chosen((values.movedim(0, d), starts, counts), return_inverse, return_counts)


def _order_of_rows(rows: Tensor) -> Tensor:
    """The places of rows [n, ...] in their order. A few columns decide, or all have to."""
    columns = rows.unbind(1) if rows.ndim > 1 and rows._shape[1] else ()
    looks = bool(rows._v) and state.trace is None
    few = 4 if looks else len(columns)
    while True:
        order = arange(rows._shape[0], device=rows.device)
        for column in reversed(columns[:few]):
            order = order[_argsort(column[order], dim=0, descending=False)]
        if few >= len(columns):
            return order
        inorder = rows.index_select(0, order)
        a, b = inorder[1:], inorder[:-1]
        equal = (a == b).all(1)
        a, b = a[:, :few], b[:, :few]
        decided = ((a != b) & ((a == a) | (b == b))).any(1)  # nan is like nan in this order
        if bool((equal | decided).all()):
            return order
        few *= 8


def _runs(x: Tensor, counts: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The first of equal neighbours along dim 0, which those are, and if wanted the lengths."""
    n = x._shape[0]
    if n:
        changes = x.narrow(0, 1, n - 1) != x.narrow(0, 0, n - 1)
        if x.ndim > 1:
            changes = (
                changes.reshape((n - 1, -1)).any(1)
                if n > 1
                else zeros(0, dtype="bool", device=x.device)
            )
        starts = cat([ones(1, dtype="bool", device=x.device), changes])
    else:
        starts = zeros(0, dtype="bool", device=x.device)
    first = nonzero(starts).reshape((-1,))
    values = x.index_select(0, first)
    if not counts or not n:
        return values, starts, first
    ends = cat([first[1:], full((1,), n, dtype=int64, device=x.device)])
    return values, starts, ends - first


def unique_consecutive(
    x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements without those equal to the one before, or the slices along a dim.

    Example:
      >>> unique_consecutive(tensor([1, 1, 2, 1]))
      tensor([1, 2, 1])
    """
    d = 0 if dim is None else wrap_dim("unique_consecutive", dim, x.ndim)
    slices = x.reshape((-1,)) if dim is None else x.movedim(d, 0)
    values, places, counts = _runs(slices, return_counts)
    if return_inverse:
        places = places.cumsum(0) - 1
        places = places.reshape(x._shape) if dim is None else places
    return _chosen((values.movedim(0, d), places, counts), return_inverse, return_counts)


for _f in (sort, argsort, msort, topk, kthvalue, unique, unique_consecutive):
    setattr(Tensor, _f.__name__, _f)
