"""Reductions and scans of the array API standard."""

from __future__ import annotations

from typing import Any

from ..dtypes import as_dtype, uint64
from ..ops import moments, reduce, scan
from ..ops.creation import ones, zeros
from ..ops.join import cat
from ..tensor import Tensor, wrap_dim

__all__ = [
    "all", "any", "cumulative_prod", "cumulative_sum", "diff", "max", "mean", "min", "prod",
    "std", "sum", "var",
]  # fmt: skip


def _summing(x: Tensor, dtype: Any) -> Tensor:
    """x in the dtype that sums and products of it have: small integers are widened."""
    if dtype is not None:
        return x.to(as_dtype(dtype))
    unsigned = x.dtype.is_integer and not x.dtype.is_signed
    return x.to(uint64) if unsigned else x


def _over(x: Tensor, axis: Any, keepdims: bool) -> tuple[Tensor, Any, bool]:
    """The arguments of a reduction; over no axes it is one over a new dim of size 1."""
    return (x.unsqueeze(-1), -1, False) if axis == () else (x, axis, keepdims)


def sum(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum over axes."""
    wide = _summing(x, dtype)
    y = reduce.sum(*_over(wide, axis, keepdims))
    return y.to(wide.dtype) if dtype is not None or wide.dtype is uint64 else y


def prod(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product over axes."""
    wide = _summing(x, dtype)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    y = wide
    for d in sorted((wrap_dim("prod", a, x.ndim) for a in axes), reverse=True):
        y = reduce.prod(y, d, keepdims)
    if not x.ndim:
        y = reduce.prod(wide)
    return y.to(wide.dtype) if dtype is not None or wide.dtype is uint64 else y


def mean(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean over axes."""
    return reduce.mean(*_over(x, axis, keepdims))


def max(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes."""
    return reduce.amax(*_over(x, axis, keepdims))


def min(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes."""
    return reduce.amin(*_over(x, axis, keepdims))


def var(
    x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The variance over axes; the divisor is the number of elements less the correction."""
    x, axis, keepdims = _over(x, axis, keepdims)
    return moments.var(x, axis, correction=correction, keepdim=keepdims)


def std(
    x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The standard deviation over axes."""
    x, axis, keepdims = _over(x, axis, keepdims)
    return moments.std(x, axis, correction=correction, keepdim=keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Do all elements over axes differ from 0?"""
    return reduce.all(*_over(x != 0, axis, keepdims))


def any(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Does any element over axes differ from 0?"""
    return reduce.any(*_over(x != 0, axis, keepdims))


def _cumulative(
    function: Any, start: Any, x: Tensor, axis: int | None, dtype: Any, include_initial: bool
) -> Tensor:
    if axis is None:
        if x.ndim > 1:
            raise ValueError("cumulative: expected an axis for more than one dim, got none.")
        axis = 0
    wide = _summing(x, dtype)
    y = function(wide, axis)
    y = y.to(wide.dtype) if dtype is not None or wide.dtype is uint64 else y
    if not include_initial:
        return y
    d = wrap_dim("cumulative", axis, x.ndim)
    shape = [1 if k == d else n for k, n in enumerate(x._shape)]
    return cat([start(shape, dtype=y.dtype, device=y.device), y], d)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """The sums up to each place along an axis, with a 0 in front if asked for."""
    return _cumulative(scan.cumsum, zeros, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """The products up to each place along an axis, with a 1 in front if asked for."""
    return _cumulative(scan.cumprod, ones, x, axis, dtype, include_initial)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The n-th differences of neighbours along an axis."""
    return scan.diff(x, n, axis, prepend, append)
