"""Reductions and normalisations of the elements where a mask holds, under torch.masked's names.

Masked-out elements are replaced by what changes nothing (0 for a sum, 1 for a product, -inf for a
maximum), so they have gradient 0 whatever they are. Masks broadcast; without a mask all elements
count. Nothing branches on values: the functions work under all transforms, masks mapped or not.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

from .dtypes import as_dtype, get_default_dtype, iinfo
from .errors import DTypeError, ShapeError, message
from .ops import binary, extremes, reduce, scan, sort, statistics
from .ops import softmax as softmax_family
from .ops.creation import ones
from .ops.ternary import where
from .tensor import Tensor, wrap_dim

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]  # fmt: skip

Dims = int | tuple[int, ...] | list[int] | None


def _mask(op: str, x: Tensor, mask: Tensor | None) -> Tensor:
    """The mask in the shape of x."""
    if mask is None:
        return ones(x._shape, dtype="bool", device=x.device)
    if mask.dtype.name != "bool":
        raise DTypeError(message(op, "a bool mask", mask.dtype, "Compare first."))
    lead = x.ndim - mask.ndim
    if lead < 0 or builtins.any(
        m not in (1, n) for m, n in zip(mask._shape, x._shape[lead:], strict=True)
    ):
        wanted = f"a mask that broadcasts to the input's shape {list(x._shape)}"
        raise ShapeError(message(op, wanted, list(mask._shape)))
    return mask.expand(x._shape)


def _prepared(op: str, x: Tensor, mask: Tensor | None, dtype: Any) -> tuple[Tensor, Tensor]:
    x = x if dtype is None else x.to(as_dtype(dtype))
    return x, _mask(op, x, mask)


def _floating(op: str, x: Tensor, mask: Tensor | None, dtype: Any) -> tuple[Tensor, Tensor]:
    """Prepared, with integers made floating."""
    if dtype is None and not x.dtype.is_inexact:
        dtype = get_default_dtype()
    return _prepared(op, x, mask, dtype)


def _dims(op: str, x: Tensor, dim: Dims) -> tuple[int, ...]:
    """Non-negative dims; all for None."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(x.ndim))
    return tuple([wrap_dim(op, d, x.ndim) for d in ((dim,) if isinstance(dim, int) else dim)])


def _filled(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    return where(mask, x, value).to(x.dtype)


def _limit(dtype: Any, largest: bool) -> Any:
    """The largest, or least, value of a dtype."""
    if dtype.name == "bool":
        return largest
    if dtype.is_floating_point:
        return math.inf if largest else -math.inf
    limits = iinfo(dtype)
    return limits.max if largest else limits.min


# ---- reductions ----


def sum(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The sum of the elements where the mask holds, 0 if there are none.

    Args:
      input [...] : any dtype; integers sum up in int64.
      dim: one or several dimensions; all by default. keepdim: keep them with size 1.
      dtype: what to cast the input to.
      mask: bool, broadcasts to the input's shape; all True by default.
    Raises:
      DTypeError: mask is not bool. ShapeError: it does not broadcast.
    Example:
      >>> masked.sum(tensor([1.0, 2.0, 4.0]), mask=tensor([True, False, True]))
      tensor(5.)
    """
    x, mask = _prepared("masked.sum", input, mask, dtype)
    return reduce.sum(_filled(x, mask, 0), _dims("masked.sum", x, dim), keepdim)


def prod(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The product of the elements where the mask holds, 1 if there are none. As sum()."""
    x, mask = _prepared("masked.prod", input, mask, dtype)
    out = _filled(x, mask, 1)
    for d in sorted(_dims("masked.prod", x, dim), reverse=True):
        out = reduce.prod(out, d, keepdim)
    return out


def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of the elements where the mask holds, nan if there are none. As sum().

    Raises:
      DTypeError: the input is not floating or complex.
    Example:
      >>> masked.mean(tensor([1.0, 2.0, 4.0]), mask=tensor([True, False, True]))
      tensor(2.5000)
    """
    x, mask = _prepared("masked.mean", input, mask, dtype)
    if not x.dtype.is_inexact:
        wanted = "a floating or complex tensor"
        raise DTypeError(message("masked.mean", wanted, x.dtype, "Cast with .float()."))
    dims = _dims("masked.mean", x, dim)
    return reduce.sum(_filled(x, mask, 0), dims, keepdim) / _count(x, mask, dims, keepdim)


def _count(x: Tensor, mask: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    real = as_dtype("float64" if x.dtype.name in ("float64", "complex128") else "float32")
    count = reduce.sum(mask, dims, keepdim).to(real)
    return count if x.dtype.is_complex else count.to(x.dtype)


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The variance of the elements where the mask holds. As sum().

    Args:
      correction: what is taken from the number of elements; 1 by default, 0 if unbiased is False.
    Raises:
      ValueError: both unbiased and correction.
    """
    return _variance("masked.var", input, dim, unbiased, correction, keepdim, dtype, mask)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The standard deviation of the elements where the mask holds. Arguments as var()."""
    return _variance("masked.std", input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


def _variance(
    op: str,
    x: Tensor,
    dim: Dims,
    unbiased: bool | None,
    correction: float | None,
    keepdim: bool,
    dtype: Any,
    mask: Tensor | None,
) -> Tensor:
    if unbiased is not None and correction is not None:
        raise ValueError(message(op, "unbiased or correction", "both"))
    if correction is None:
        correction = 0 if unbiased is False else 1
    x, mask = _floating(op, x, mask, dtype)
    dims = _dims(op, x, dim)
    centre = reduce.sum(_filled(x, mask, 0), dims, True) / _count(x, mask, dims, True)
    distance = _filled(x - centre, mask, 0)
    squares = (distance * distance.conj()).real if x.dtype.is_complex else distance * distance
    count = _count(x, mask, dims, keepdim)
    return reduce.sum(squares, dims, keepdim) / (count - correction).clamp(min=0)


def _extreme(
    op: str, x: Tensor, dim: Dims, keepdim: bool, dtype: Any, mask: Tensor | None, largest: bool
) -> Tensor:
    x, mask = _prepared(op, x, mask, dtype)
    filled = _filled(x, mask, _limit(x.dtype, not largest))
    return (reduce.amax if largest else reduce.amin)(filled, _dims(op, x, dim), keepdim)


def amax(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The largest element where the mask holds; -inf, or the least integer, if there is none."""
    return _extreme("masked.amax", input, dim, keepdim, dtype, mask, True)


def amin(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The smallest element where the mask holds; inf, or the largest integer, if there is none."""
    return _extreme("masked.amin", input, dim, keepdim, dtype, mask, False)


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The place of the largest element where the mask holds, int64; 0 if there is none.

    Example:
      >>> masked.argmax(tensor([1.0, 5.0, 4.0]), mask=tensor([True, False, True]))
      tensor(2)
    """
    x, mask = _prepared("masked.argmax", input, mask, dtype)
    return extremes.argmax(_filled(x, mask, _limit(x.dtype, False)), dim, keepdim)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The place of the smallest element where the mask holds, int64; 0 if there is none."""
    x, mask = _prepared("masked.argmin", input, mask, dtype)
    return extremes.argmin(_filled(x, mask, _limit(x.dtype, True)), dim, keepdim)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The lower median along dim of the elements where the mask holds.

    Notes: nan for a floating row without any, the largest integer for an integer one.
    """
    x, mask = _prepared("masked.median", input, mask, dtype)
    d = wrap_dim("masked.median", dim, x.ndim)
    if x.dtype.is_floating_point:
        return statistics.nanmedian(_filled(x, mask, math.nan), d, keepdim)[0]
    ordered = sort.sort(_filled(x, mask, _limit(x.dtype, True)), d)[0]
    middle = ((reduce.sum(mask, d, True) - 1) // 2).clamp(min=0)
    out = ordered.gather(d, middle)
    return out if keepdim else out.squeeze(d)


def norm(
    input: Tensor,
    ord: float = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The p-norm, p = ord, of the elements where the mask holds as one vector. As sum().

    If there are none, 0, or inf where ord is negative.

    Raises:
      DTypeError: the input is not floating or complex.
    """
    x, mask = _prepared("masked.norm", input, mask, dtype)
    fill = math.inf if ord < 0 else 0
    return reduce.norm(_filled(x, mask, fill), ord, _dims("masked.norm", x, dim), keepdim)


def logsumexp(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """log(sum(exp(x))) over the elements where the mask holds, -inf if there are none. As sum()."""
    op = "masked.logsumexp"
    x, mask = _floating(op, input, mask, dtype)
    dims = _dims(op, x, dim)
    some = reduce.sum(mask, dims, True) > 0
    rows = where(some, _filled(x, mask, -math.inf), 0.0).to(x.dtype)  # no inf - inf going back
    out = reduce.logsumexp(rows, dims, True)
    out = where(some, out, -math.inf).to(x.dtype)
    return out if keepdim else out.squeeze(dims)


# ---- along a dim, with the shape kept ----


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Sums of the elements up to each place where the mask holds."""
    x, mask = _prepared("masked.cumsum", input, mask, dtype)
    return scan.cumsum(_filled(x, mask, 0), dim)


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Products of the elements up to each place where the mask holds."""
    x, mask = _prepared("masked.cumprod", input, mask, dtype)
    return scan.cumprod(_filled(x, mask, 1), dim)


def _logits(op: str, x: Tensor, dim: int, dtype: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Masked-out places at -inf, but for rows without any element, which are 0."""
    x, mask = _floating(op, x, mask, dtype)
    some = mask.any(wrap_dim(op, dim, x.ndim), keepdim=True)
    return where(some, _filled(x, mask, -math.inf), 0.0).to(x.dtype), mask


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The softmax along dim of the elements where the mask holds, 0 elsewhere.

    Example:
      >>> masked.softmax(tensor([0.0, 9.0, 0.0]), 0, mask=tensor([True, False, True]))
      tensor([0.5000, 0.0000, 0.5000])
    """
    x, mask = _logits("masked.softmax", input, dim, dtype, mask)
    return _filled(softmax_family.softmax(x, dim), mask, 0)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """softmax(-input) along dim of the elements where the mask holds, 0 elsewhere."""
    x, mask = _floating("masked.softmin", input, mask, dtype)
    return softmax(-x, dim, mask=mask)


def log_softmax(
    input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """log(softmax(input)) along dim of the elements where the mask holds, -inf elsewhere."""
    x, mask = _logits("masked.log_softmax", input, dim, dtype, mask)
    return _filled(softmax_family.log_softmax(where(mask, x, _low(x)), dim), mask, -math.inf)


def _low(x: Tensor) -> float:
    """So low that its exponential is 0, and finite: -inf has no gradient in a log."""
    return -1e30 if x.dtype.itemsize > 2 else -3e4


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The elements where the mask holds divided by their norm along dim; 0 elsewhere.

    The norm is taken to be at least eps.
    """
    x, mask = _prepared("masked.normalize", input, mask, dtype)
    size = norm(x, ord, dim, keepdim=True, mask=mask)
    return _filled(x, mask, 0) / where(size > eps, size, eps).to(size.dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: Any = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """log(exp(input) + exp(other)), elementwise; a masked-out operand does not count.

    -inf where both are masked out.
    """
    x, x_mask = _floating("masked.logaddexp", input, input_mask, dtype)
    y, y_mask = _floating("masked.logaddexp", other, other_mask, dtype)
    low, some = -math.inf, x_mask | y_mask
    x, y = where(some, where(x_mask, x, low), 0.0), where(some, where(y_mask, y, low), 0.0)
    out = binary.logaddexp(x, y)
    return where(some, out, low).to(out.dtype)
