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
from ..errors import DimError, DTypeError, ShapeError, TraceError, message
from ..op import NONDIFF, Op, wrap
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .creation import arange, full, ones, zeros
from .family import operand
from .index import _gather_dim, _refuse, _scatter, nonzero
from .join import cat
from .reduce import _any, _argmax, _extreme_jvp, _extreme_vjp, _picked, _two, _up, pair
from .ternary import where

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
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
    lambda x, *, dim, descending: _two(lambda out: lib.cb_sort(x._v, dim, descending, 1, out)),
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
    lambda x, *, k, dim, largest: _two(lambda out: lib.cb_topk(x._v, k, dim, largest, 1, out)),
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
    lambda x, *, k, dim, keepdim: _two(lambda out: lib.cb_kthvalue(x._v, k, dim, keepdim, out)),
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
    return pair(*_topk(x, k=int(k), dim=d, largest=bool(largest)))


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dim (k counts from 1), and its index.

    Raises:
      ValueError: k is not in the dimension.
    """
    return pair(*_kthvalue(x, k=int(k), dim=wrap_dim("kthvalue", dim, x.ndim), keepdim=keepdim))


# ---- median, mode, quantiles ----


def _rows(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The reduced dims as one, last."""
    kept = [d for d in range(x.ndim) if d not in dims]
    n = 1
    for d in dims:
        n *= x._shape[d]
    return x.permute((*kept, *dims)).reshape((*[x._shape[d] for d in kept], n))


def _median_places(rows: Tensor, skip_nan: bool) -> Tensor:
    """The place of the lower median in the last dim, kept.

    With nan the first nan, or the median of the rest.
    """
    last = rows.ndim - 1
    n = rows._shape[last]
    floating = rows.dtype.is_floating_point
    if floating and skip_nan:
        count = (rows == rows).sum(last, keepdim=True)
        middle = ((count - 1).clamp(min=0)).div(2, rounding_mode="floor")
        return _gather_dim(_argsort(rows, dim=last, descending=False), middle, dim=last)
    places = _kthvalue(rows, k=(n + 1) // 2, dim=last, keepdim=True)[1]
    if not floating:
        return places
    nan = rows != rows
    first = _argmax(nan.to(int64), dim=last, keepdim=True)
    return where(_any(nan, dims=(last,), keepdim=True), first, places)


def _median_impl(x: Tensor, *, dims: tuple[int, ...], keepdim: bool, skip_nan: bool) -> Any:
    plain = wrap(lib.cb_retain(x._v))
    rows = _rows(plain, dims)
    out = _gather_dim(rows, _median_places(rows, skip_nan), dim=rows.ndim - 1).squeeze(-1)
    if keepdim:
        out = out.reshape([1 if d in dims else s for d, s in enumerate(plain._shape)])
    return lib.cb_retain(out._v)


_median = Op(
    "median",
    _median_impl,
    vjp=lambda ct, out, x, *, dims, keepdim, skip_nan: _extreme_vjp(
        ct, out, x, dims=dims, keepdim=keepdim
    ),
    jvp=lambda tangents, out, x, *, dims, keepdim, skip_nan: _extreme_jvp(
        tangents, out, x, dims=dims, keepdim=keepdim
    ),
    batch=lambda _size, _batched, x, *, dims, **params: _median(x, dims=_up(dims), **params),
    family=_FAMILY,
)
sampled(
    _median,
    lambda make: [
        call(make(3, 5), dims=(0, 1), keepdim=False, skip_nan=False),
        call(make(3, 5), dims=(1,), keepdim=True, skip_nan=True),
        call(make(2, 3, 3), dims=(0, 2), keepdim=False, skip_nan=False),
        call(make(), dims=(), keepdim=False, skip_nan=False),
    ],
    kinds="int float",
    oracle=lambda np, x, *, dims, keepdim, skip_nan: np.quantile(
        x, 0.5, axis=dims or None, keepdims=keepdim, method="lower"
    ),
)


def _median_of(op: str, x: Tensor, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    if dim is None:
        if not x.numel() and x.dtype.is_floating_point:
            return full((), float("nan"), dtype=x.dtype, device=x.device)
        _not_empty(op, x, x.numel())
        return _median(x, dims=tuple(range(x.ndim)), keepdim=False, skip_nan=skip_nan)
    d = wrap_dim(op, dim, x.ndim)
    if not x.ndim:
        return pair(x, zeros((), dtype=int64, device=x.device))
    _not_empty(op, x, x._shape[d])
    places = _median_places(x.movedim(d, -1).detach(), skip_nan).movedim(-1, d)
    values = _gather_dim(x, places, dim=d)
    return pair(values, places) if keepdim else pair(values.squeeze(d), places.squeeze(d))


def _not_empty(op: str, x: Tensor, n: int) -> None:
    if not n:
        raise DimError(message(op, "at least one element", f"shape {list(x._shape)}"))


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median: the lower one of two; nan if there is one. With dim (values, indices) along it.

    Without dim the gradient is split evenly on ties.

    Example:
      >>> median(tensor([4.0, 1.0, 3.0, 2.0]))
      tensor(2.)
    """
    return _median_of("median", x, dim, keepdim, False)


def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of what is not nan. With dim (values, indices) along it."""
    return _median_of("nanmedian", x, dim, keepdim, True)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along a dim, and the index of its last occurrence.

    Of several the smallest.

    Example:
      >>> mode(tensor([3, 1, 3, 1, 2])).values
      tensor(1)
    """
    d = wrap_dim("mode", dim, x.ndim)
    if not x.ndim:
        return pair(x, zeros((), dtype=int64, device=x.device))
    _not_empty("mode", x, x._shape[d])
    values, order = _sort(x.detach().movedim(d, -1), dim=x.ndim - 1, descending=False)
    ends = _searchsorted(values, values, right=True)
    counts = ends - _searchsorted(values, values, right=False)
    best = _argmax(counts, dim=x.ndim - 1, keepdim=True)
    last = _gather_dim(ends, best, dim=x.ndim - 1) - 1
    places = _gather_dim(order, last, dim=x.ndim - 1).movedim(-1, d)
    out = _gather_dim(x, places, dim=d)
    return pair(out, places) if keepdim else pair(out.squeeze(d), places.squeeze(d))


def _quantile(
    op: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool
) -> Tensor:
    if not x.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", x.dtype, "Cast with .float()."))
    if isinstance(q, Tensor):
        if q.dtype is not x.dtype:
            raise DTypeError(message(op, f"q of the tensor's dtype {x.dtype}", q.dtype, "Cast it."))
    else:
        if not 0 <= q <= 1:
            raise ValueError(message(op, "q in [0, 1]", q))
        q = full((), q, dtype=x.dtype, device=x.device)
    if q.ndim > 1:
        raise ShapeError(message(op, "q with at most one dimension", list(q._shape)))
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise ValueError(
            message(
                op,
                'interpolation "linear", "lower", "higher", "nearest" or "midpoint"',
                repr(interpolation),
            )
        )
    d = None if dim is None else wrap_dim(op, dim, x.ndim)
    rows = x.reshape((-1,)) if d is None or not x.ndim else x.movedim(d, -1)
    last = rows.ndim - 1
    n = rows._shape[last]
    _not_empty(op, x, n)
    rows = _sort_values(rows, dim=last, descending=False)
    if skip_nan:
        top = ((rows == rows).sum(last, keepdim=True) - 1).clamp(min=0).to(x.dtype)
        ranks = q.reshape((-1,)) * top
    else:
        tail = rows.narrow(last, n - 1, 1)
        ranks = where(tail != tail, float(n - 1), q.reshape((-1,)) * float(n - 1))
    fixed = ranks.detach()
    if interpolation in ("lower", "higher", "nearest"):
        at = {"lower": fixed.floor, "higher": fixed.ceil, "nearest": fixed.round}[interpolation]()
        out = _gather_dim(rows, at.to(int64), dim=last)
    else:
        below = _gather_dim(rows, fixed.floor().to(int64), dim=last)
        above = _gather_dim(rows, fixed.ceil().to(int64), dim=last)
        weight = ranks - fixed.floor() if interpolation == "linear" else 0.5
        out = below.lerp(above, weight)
    out = out.movedim(-1, 0)  # [quantiles, kept dims]
    if keepdim:
        if d is None:
            out = out.reshape((out._shape[0], *[1] * x.ndim))
        elif x.ndim:
            out = out.unsqueeze(d + 1)
    return out if q.ndim else out.squeeze(0)


def quantile(
    x: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The quantiles along a dim, or of all elements; nan where there is one.

    Args:
      x floating. q: a number in [0, 1], or a tensor [] or [Q] of them.
      interpolation: between neighbours: "linear", "lower", "higher", "nearest" or "midpoint".
    Returns:
      [Q, *rest] (without Q for a single q).
    Example:
      >>> quantile(tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
      tensor(2.5000)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


def nanquantile(
    x: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """quantile() of what is not nan."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)


# ---- searching ----


def _search_batch(
    size: int, batched: Sequence[bool], bounds: Tensor, values: Tensor, *, right: bool
) -> Tensor:
    rank = bounds.ndim - batched[0]
    if not batched[0] and rank == 1:
        return _searchsorted(bounds, values, right=right)
    bounds, values = (
        x if b else x.unsqueeze(0).expand((size, *x._shape))
        for x, b in zip((bounds, values), batched, strict=True)
    )
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
    batch=lambda *_: _refuse("unique"),
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


def _chosen(out: Sequence[Tensor], inverse: bool, counts: bool) -> Any:
    picked = tuple(y for y, wanted in zip(out, (True, inverse, counts), strict=True) if wanted)
    return picked if len(picked) > 1 else picked[0]  # type: ignore[misc]


def unique(
    x: Tensor,
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
      TraceError: under vmap, since the number of values differs from lane to lane.
    Example:
      >>> unique(tensor([3, 1, 3]), return_counts=True)
      (tensor([1, 3]), tensor([1, 2]))
    """
    if dim is None:
        return _chosen(_unique(x), return_inverse, return_counts)
    d = wrap_dim("unique", dim, x.ndim)
    slices = x.movedim(d, 0)
    rows = slices.reshape((slices._shape[0], -1)) if x.numel() else slices
    order = arange(rows._shape[0], device=x.device)
    for column in reversed(rows.unbind(1) if rows.ndim > 1 and rows._shape[1] else ()):
        order = order[_argsort(column[order], dim=0, descending=False)]
    values, inverse, counts = _runs("unique", slices.index_select(0, order))
    back = zeros(order._shape, dtype=int64, device=x.device).scatter(0, order, inverse)
    return _chosen((values.movedim(0, d), back, counts), return_inverse, return_counts)


def _runs(op: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first of equal neighbours along dim 0, the number of the run of each, and the lengths."""
    n = x._shape[0]
    if n:
        changes = x.narrow(0, 1, n - 1) != x.narrow(0, 0, n - 1)
        changes = (
            changes.reshape((n - 1, -1)).any(1)
            if n > 1
            else zeros(0, dtype="bool", device=x.device)
        )
        starts = cat([ones(1, dtype="bool", device=x.device), changes])
    else:
        starts = zeros(0, dtype="bool", device=x.device)
    try:
        first = nonzero(starts).reshape((-1,))
    except TraceError:
        _refuse(op)
        raise
    inverse = starts.cumsum(0) - 1
    ends = cat([first[1:], full((1,), n, dtype=int64, device=x.device)]) if n else first
    return x.index_select(0, first), inverse, ends - first


def unique_consecutive(
    x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements without those equal to the one before, or the slices along a dim.

    Example:
      >>> unique_consecutive(tensor([1, 1, 2, 1]))
      tensor([1, 2, 1])
    """
    if dim is None:
        values, inverse, counts = _runs("unique_consecutive", x.reshape((-1,)))
        return _chosen((values, inverse.reshape(x._shape), counts), return_inverse, return_counts)
    d = wrap_dim("unique_consecutive", dim, x.ndim)
    values, inverse, counts = _runs("unique_consecutive", x.movedim(d, 0))
    return _chosen((values.movedim(0, d), inverse, counts), return_inverse, return_counts)


# ---- counts ----

_bincount = Op(
    "bincount",
    lambda x, *, minlength: lib.cb_bincount(x._v, ffi.NULL, 0, minlength),
    vjp=NONDIFF("integer result"),
    batch=lambda *_, **__: _refuse("bincount"),
    family=_FAMILY,
)
sampled(
    _bincount,
    lambda make: [
        call(make.index(4, 9), minlength=0),
        call(make.index(4, 3), minlength=6),
        call(make.index(4, 0), minlength=0),
    ],
    kinds="int",
    oracle=lambda np, x, *, minlength: np.bincount(x, minlength=minlength),
    unmapped="the number of bins depends on the values",
    data_dependent=True,
)


def _weighted_batch(
    size: int, batched: Sequence[bool], x: Tensor, weights: Tensor, *, minlength: int
) -> Tensor:
    if batched[0]:
        _refuse("bincount_weighted")
    length = _bincount(x, minlength=minlength)._shape[0]
    dtype = weights.dtype if weights.dtype.name == "float32" else "float64"
    empty = zeros(size, length, dtype=dtype, device=x.device)
    return empty.index_add(1, x.to(int64), weights.to(dtype))


_bincount_weighted = Op(
    "bincount_weighted",
    lambda x, weights, *, minlength: lib.cb_bincount(x._v, weights._v, 1, minlength),
    vjp=lambda ct, _out, x, weights_spec, *, minlength: (
        None,
        ct.index_select(0, x).to(weights_spec.dtype),
    ),
    jvp=lambda tangents, out, x, _weights, *, minlength: _bincount_weighted(
        x, tangents[1], minlength=out._shape[0]
    ),
    batch=_weighted_batch,
    family=_FAMILY,
)
sampled(
    _bincount_weighted,
    lambda make: [
        call(make.index(4, 9), make(9), minlength=0),
        call(make.index(4, 3), make(3), minlength=6),
        call(make.index(4, 0), make(0), minlength=2),
    ],
    oracle=lambda np, x, weights, *, minlength: np.bincount(x, weights, minlength),
    unmapped="the number of bins depends on the values",
    data_dependent=True,
)


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each value of a vector of integers from 0 on occurs, or the sum of its weights.

    Raises:
      TraceError: x is mapped by vmap: the number of bins differs from lane to lane.
    Example:
      >>> bincount(tensor([0, 2, 2]), minlength=4)
      tensor([1, 0, 2, 0])
    """
    if weights is None:
        return _bincount(x, minlength=minlength)
    return _bincount_weighted(x, weights, minlength=minlength)


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """The number of elements in `bins` equal intervals from min to max.

    Elements outside do not count.

    With min and max equal the range is that of the elements.

    Example:
      >>> histc(tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
      tensor([0., 2., 1., 0.])
    """
    if not x.dtype.is_floating_point:
        raise DTypeError(message("histc", "a floating tensor", x.dtype, "Cast with .float()."))
    if bins <= 0:
        raise ValueError(message("histc", "at least one bin", bins))
    if min > max:
        raise ValueError(message("histc", "max of at least min", f"{min} and {max}"))
    flat = x.detach().reshape((-1,))
    low, high = (full((), v, dtype=x.dtype, device=x.device) for v in (min, max))
    if min == max and flat.numel():
        low, high = flat.amin(), flat.amax()
    single = low == high
    low, high = where(single, low - 1, low), where(single, high + 1, high)
    inside = (flat >= low) & (flat <= high)
    place = ((where(inside, flat, low) - low) * bins / (high - low)).to(int64).clamp(max=bins - 1)
    empty = zeros(bins, dtype=x.dtype, device=x.device)
    return empty.index_add(0, place, inside.to(x.dtype))


for _f in (
    sort, argsort, msort, topk, kthvalue, median, nanmedian, mode, quantile, nanquantile, unique,
    unique_consecutive, bincount, histc,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
