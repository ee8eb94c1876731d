"""Order statistics and counts: median, mode, quantiles, bincount, histc; sums that skip nan.

Without a dim the median's gradient is split evenly on ties, as torch's; with one it goes to the
element that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi, lib

from ..amp import wide
from ..dtypes import int64
from ..errors import DimError, DTypeError, ShapeError, message
from ..op import NONDIFF, Op, wrap
from ..pointwise import pointwise
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import state
from .creation import full, zeros
from .extremes import _argmax, pair
from .gather import _gather_dim
from .index import _refuse
from .reduce import (
    _amax,
    _any,
    _extreme_jvp,
    _extreme_vjp,
    _public,
    _reduced,
    _reduction,
    _samples,
    _spread,
    _sum,
    _up,
)
from .sort import _argsort, _kthvalue, _searchsorted, _sort, _sort_values
from .ternary import where

__all__ = [
    "bincount",
    "histc",
    "median",
    "mode",
    "nanmean",
    "nanmedian",
    "nanquantile",
    "nansum",
    "quantile",
]

_FAMILY = "sort"

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
    rows = plain if dims == (0,) == tuple(range(plain.ndim)) else _rows(plain, dims)
    last = rows.ndim - 1
    if skip_nan:
        out = _gather_dim(rows, _median_places(rows, skip_nan), dim=last).squeeze(-1)
    else:
        k = (rows._shape[last] + 1) // 2
        out = _kthvalue(rows, k=k, dim=last, keepdim=False)[0]
        if x.dtype.is_floating_point:
            largest = _amax(rows, dims=(last,), keepdim=False)
            out = where(largest == largest, out, largest)  # nan if there is one
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
    if x._m is None and state.trace is None and not skip_nan and _is_whole(x):
        return pair(*_kthvalue(x, k=(x._shape[d] + 1) // 2, dim=d, keepdim=keepdim))
    places = _median_places(x.movedim(d, -1).detach(), skip_nan).movedim(-1, d)
    values = _gather_dim(x, places, dim=d)
    return pair(values, places) if keepdim else pair(values.squeeze(d), places.squeeze(d))


def _is_whole(x: Tensor) -> bool:
    """Is it known that there is no nan? On the CPU one pass tells; elsewhere it would wait."""
    if not x.dtype.is_floating_point:
        return True
    if x._v.device != lib.CB_CPU or not x.numel():
        return False
    largest = x.amax().item()
    return largest == largest


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


@wide
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


@wide
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


# ---- counts ----

_bincount = Op(
    "bincount",
    lambda x, *, minlength: lib.cb_bincount(x._v, ffi.NULL, 0, minlength),
    vjp=NONDIFF("integer result"),
    decides=lambda x: x,
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
      TraceError: in a compiled function, or under vmap where lanes have different numbers of bins.
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


# ---- without nan ----


def nansum(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any
) -> Tensor:
    """The sum over dims with nan counted as 0."""
    return _reduced(_nansum, x, dim, keepdim, dtype, options)


_nansum = _reduction(
    "nansum",
    vjp=lambda ct, _out, x, *, dims, keepdim: (
        where(x == x, _spread(ct, x._shape, dims, keepdim), 0),
    ),
    jvp=lambda tangents, _out, x, *, dims, keepdim: _sum(
        where(x == x, tangents[0], 0), dims=dims, keepdim=keepdim
    ),
)
sampled(
    _nansum,
    _samples,
    kinds="float",
    oracle=lambda np, x, *, dims, keepdim: np.nansum(x, axis=dims, keepdims=keepdim),
)


def nanmean(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any
) -> Tensor:
    """The mean over dims of what is not nan."""
    x, dims, keepdim = _public("nanmean", x, dim, keepdim, dtype, options)
    count = _is_number.sum(x.detach(), dim=dims, keepdim=keepdim)
    return _nansum(x, dims=dims, keepdim=keepdim) / count


@pointwise
def _is_number(x: Tensor) -> Tensor:
    return x == x


for _f in (median, nanmedian, mode, quantile, nanquantile, bincount, histc, nansum, nanmean):
    setattr(Tensor, _f.__name__, _f)
