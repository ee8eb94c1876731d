"""Discrete Fourier transforms under the names of torch.fft.

All are composites of three linear ops (ops/fft.py). `norm` says where the factor of a pair goes:
"backward" (the default) divides in the inverse by the number of points, "forward" in the forward
transform, "ortho" divides both by its square root. `axis` and `axes` are accepted for `dim`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .amp import entered, widened
from .dtypes import float64, get_default_dtype
from .errors import DimError, DTypeError, ShapeError, message
from .ops.complex import conj
from .ops.creation import arange
from .ops.family import operand
from .ops.fft import c2c, c2r, r2c
from .ops.join import narrow, roll
from .ops.join import pad as pad_with
from .tensor import Tensor, wrap_dim

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2",
    "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft",
    "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

_LAST_TWO = (-2, -1)


# ---- arguments ----


def _factor(op: str, norm: str | None, n: int, forward: bool) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(message(op, 'norm "backward", "ortho" or "forward"', repr(norm)))
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") == forward else 1.0


def _complex(op: str, x: Any) -> Tensor:
    x = operand(op, x)
    return x if x.dtype.is_complex else _as_complex(op, _floating(op, x))


def _signal(op: str, x: Any) -> Tensor:
    """A complex or real tensor in a dtype that has a transform."""
    x = operand(op, x)
    return x if x.dtype.is_complex else _floating(op, x)


def _floating(op: str, x: Tensor) -> Tensor:
    """A real tensor in a dtype that has a transform."""
    if x.dtype.is_complex:
        raise DTypeError(message(op, "a real tensor", x.dtype, "Take its real part, or fft()."))
    if not x.dtype.is_floating_point:
        x = x.to(get_default_dtype())
    if entered:
        (x,) = widened(x)
    if x.dtype.itemsize < 4:
        raise DTypeError(
            message(op, "float32, float64, complex64 or complex128", x.dtype, "Cast with .float().")
        )
    return x


def _as_complex(op: str, x: Tensor) -> Tensor:
    return x.to("complex128" if x.dtype is float64 else "complex64")


def _points(op: str, n: int | None, default: int) -> int:
    n = default if n is None else n
    if n < 1:
        raise ShapeError(message(op, "at least one point to transform", n))
    return n


def _resized(x: Tensor, dim: int, n: int) -> Tensor:
    """n places of a dim: the first ones, or zeros behind."""
    size = x._shape[dim]
    if size > n:
        return narrow(x, dim, 0, n)
    return x if size == n else pad_with(x, (0, 0) * (x.ndim - 1 - dim) + (0, n - size))


def _dim(op: str, dim: Any, options: dict[str, Any]) -> Any:
    """dim, or what came as `axis` or `axes`."""
    for name in options:
        if name not in ("axis", "axes"):
            raise TypeError(message(op, "dim, axis or axes", f"a keyword {name}"))
        dim = options[name]
    return dim


def _one(op: str, x: Tensor, dim: int, options: dict[str, Any]) -> int:
    dim = _dim(op, dim, options)
    if not x.ndim:
        raise DimError(message(op, "at least one dimension", "a 0-d tensor", "Reshape it to [1]."))
    return wrap_dim(op, dim, x.ndim)


def _several(
    op: str, x: Tensor, s: Sequence[int] | None, dim: Any, options: dict[str, Any]
) -> tuple[list[int], list[int | None]]:
    """The dims to transform and the numbers of points, None where they stay."""
    dim = _dim(op, dim, options)
    dim = (dim,) if isinstance(dim, int) else dim
    s = (s,) if isinstance(s, int) else s
    if dim is None:
        count = x.ndim if s is None else len(s)
        if count > x.ndim:
            raise ShapeError(
                message(op, f"at most {x.ndim} sizes in s", list(s or ()), "Name the dims.")
            )
        dims = list(range(x.ndim - count, x.ndim))
    else:
        dims = [_one(op, x, d, {}) for d in dim]
    if len(set(dims)) != len(dims):
        raise DimError(message(op, "dims that differ", dims))
    if s is not None and len(s) != len(dims):
        raise ShapeError(message(op, f"s for {len(dims)} dims", list(s)))
    return dims, [None if n == -1 else n for n in s] if s is not None else [None] * len(dims)


# ---- one dim ----


def _transform(
    op: str, x: Tensor, n: int | None, d: int, norm: str | None, forward: bool
) -> Tensor:
    n = _points(op, n, x._shape[d])
    scale = _factor(op, norm, n, forward)
    return c2c(_resized(x, d, n), dim=d, forward=forward, scale=scale)


def _from_real(
    op: str, x: Tensor, n: int | None, d: int, norm: str | None, forward: bool
) -> Tensor:
    """The half spectrum of a real signal; of the inverse transform when not forward."""
    n = _points(op, n, x._shape[d])
    scale = _factor(op, norm, n, forward)
    y = r2c(_resized(x, d, n), dim=d, ends=scale, inside=scale)
    return y if forward else conj(y)


def _to_real(op: str, x: Tensor, n: int | None, d: int, norm: str | None, forward: bool) -> Tensor:
    """A real signal from half its spectrum, by the inverse transform or by the forward one."""
    n = _points(op, n, 2 * (x._shape[d] - 1))
    scale = _factor(op, norm, n, forward)
    x = _resized(x, d, n // 2 + 1)
    return c2r(conj(x) if forward else x, dim=d, n=n, ends=scale, inside=scale)


def fft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The discrete Fourier transform: sum over j of x[j] exp(-2 pi i j k / n), for k = 0 ... n - 1.

    Args:
      input [..., m, ...] complex or real; integers become the default floating dtype.
      n: points to transform: the signal is cut, or continued with zeros.
      norm: see the top of the module.
    Returns:
      [..., n, ...] complex.
    Raises:
      DimError: dim out of range. ShapeError: n < 1. DTypeError: a 16-bit float.
    Notes: any length takes O(n log n) steps.
    Reference: Cooley & Tukey 1965; for large primes Bluestein 1970.
    Example:
      >>> fft(tensor([1.0, 0.0, 0.0, 0.0])).real
      tensor([1., 1., 1., 1.])
    """
    x = _signal("fft", input)
    return _transform("fft", x, n, _one("fft", x, dim, options), norm, True)


def ifft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The inverse of fft()."""
    x = _signal("ifft", input)
    return _transform("ifft", x, n, _one("ifft", x, dim, options), norm, False)


def rfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The first n // 2 + 1 frequencies of a real signal; the others are their conjugates.

    Args:
      input [..., m, ...] real.
    Returns:
      [..., n // 2 + 1, ...] complex.
    Raises:
      DTypeError: a complex tensor.
    Example:
      >>> rfft(tensor([1.0, 2.0, 3.0, 4.0]))
      tensor([10.+0.j, -2.+2.j, -2.+0.j])
    """
    x = _floating("rfft", operand("rfft", input))
    return _from_real("rfft", x, n, _one("rfft", x, dim, options), norm, True)


def irfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The real signal of n points (default 2 (m - 1)) with these frequencies: rfft()'s inverse.

    Args:
      input [..., m, ...]: half a spectrum; the imaginary part of the ends is not looked at.
    Example:
      >>> irfft(tensor([10.0, -2 + 2j, -2.0]))
      tensor([1., 2., 3., 4.])
    """
    x = _complex("irfft", input)
    return _to_real("irfft", x, n, _one("irfft", x, dim, options), norm, False)


def hfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The real spectrum of a signal with Hermitian symmetry, given by its first half.

    Args:
      n: points of the result (default 2 (m - 1)).
    """
    x = _complex("hfft", input)
    return _to_real("hfft", x, n, _one("hfft", x, dim, options), norm, True)


def ihfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, **options: Any
) -> Tensor:
    """The inverse of hfft(): the first half of the signal that a real spectrum has."""
    x = _floating("ihfft", operand("ihfft", input))
    return _from_real("ihfft", x, n, _one("ihfft", x, dim, options), norm, False)


# ---- several dims ----


def _transform_all(
    op: str, x: Tensor, dims: Sequence[int], s: Sequence[int | None], norm: Any, forward: bool
) -> Tensor:
    # the last dim first: its signals lie together, and cutting it makes less of the rest
    for d, n in zip(reversed(dims), reversed(s), strict=True):
        x = _transform(op, x, n, d, norm, forward)
    return x if x.dtype.is_complex else _as_complex(op, x)  # no dims


def _needs_dims(op: str, dims: Sequence[int]) -> None:
    if not dims:
        raise DimError(message(op, "at least one dim", "none"))


def fftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """fft() along several dims.

    Args:
      s: the numbers of points (-1 keeps one); without dim those of the last len(s) dims.
      dim: default all.
    Raises:
      DimError: a dim out of range or twice. ShapeError: s and dim of different lengths.
    Example:
      >>> fftn(ones(2, 2))
      tensor([[4.+0.j, 0.+0.j],
              [0.+0.j, 0.+0.j]])
    """
    x = _signal("fftn", input)
    return _transform_all("fftn", x, *_several("fftn", x, s, dim, options), norm, True)


def ifftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """The inverse of fftn()."""
    x = _signal("ifftn", input)
    return _transform_all("ifftn", x, *_several("ifftn", x, s, dim, options), norm, False)


def rfftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """rfft() along the last of the dims, fft() along the others."""
    return _from_real_all("rfftn", input, s, dim, norm, True, options)


def irfftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """The inverse of rfftn(); s[-1] tells an odd length of the last dim from an even one."""
    return _to_real_all("irfftn", input, s, dim, norm, False, options)


def hfftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """hfft() along the last of the dims, fft() along the others."""
    return _to_real_all("hfftn", input, s, dim, norm, True, options)


def ihfftn(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = None,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """The inverse of hfftn()."""
    return _from_real_all("ihfftn", input, s, dim, norm, False, options)


def _from_real_all(
    op: str, input: Any, s: Any, dim: Any, norm: Any, forward: bool, options: dict[str, Any]
) -> Tensor:
    x = _floating(op, operand(op, input))
    dims, sizes = _several(op, x, s, dim, options)
    _needs_dims(op, dims)
    y = _from_real(op, x, sizes[-1], dims[-1], norm, forward)
    return _transform_all(op, y, dims[:-1], sizes[:-1], norm, forward)


def _to_real_all(
    op: str, input: Any, s: Any, dim: Any, norm: Any, forward: bool, options: dict[str, Any]
) -> Tensor:
    x = _complex(op, input)
    dims, sizes = _several(op, x, s, dim, options)
    _needs_dims(op, dims)
    last = _points(op, sizes[-1], 2 * (x._shape[dims[-1]] - 1))
    x = _resized(x, dims[-1], last // 2 + 1)  # first: the others need not see what is cut off
    x = _transform_all(op, x, dims[:-1], sizes[:-1], norm, forward)
    return _to_real(op, x, last, dims[-1], norm, forward)


def fft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """fftn() along two dims."""
    return fftn(input, s, dim, norm, **options)


def ifft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """ifftn() along two dims."""
    return ifftn(input, s, dim, norm, **options)


def rfft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """rfftn() along two dims."""
    return rfftn(input, s, dim, norm, **options)


def irfft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """irfftn() along two dims."""
    return irfftn(input, s, dim, norm, **options)


def hfft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """hfftn() along two dims."""
    return hfftn(input, s, dim, norm, **options)


def ihfft2(
    input: Any,
    s: Sequence[int] | None = None,
    dim: Any = _LAST_TWO,
    norm: str | None = None,
    **options: Any,
) -> Tensor:
    """ihfftn() along two dims."""
    return ihfftn(input, s, dim, norm, **options)


# ---- frequencies ----


def _shifted(op: str, x: Tensor, dim: Any, back: bool) -> Tensor:
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple([wrap_dim(op, d, x.ndim) for d in dims])
    if not dims:
        return x
    return roll(x, tuple([(x._shape[d] + back) // 2 for d in dims]), dims)


def fftshift(input: Tensor, dim: Any = None, **options: Any) -> Tensor:
    """A spectrum with frequency 0 moved from the front to the middle, along all dims or some.

    Example:
      >>> fftshift(tensor([0, 1, 2, -2, -1]))
      tensor([-2, -1,  0,  1,  2])
    """
    return _shifted("fftshift", input, _dim("fftshift", dim, options), False)


def ifftshift(input: Tensor, dim: Any = None, **options: Any) -> Tensor:
    """The inverse of fftshift()."""
    return _shifted("ifftshift", input, _dim("ifftshift", dim, options), True)


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of fft()'s result, in cycles per unit of the distance d between points.

    Example:
      >>> fftfreq(4, 0.5)
      tensor([ 0.0000,  0.5000, -1.0000, -0.5000])
    """
    places = (arange(n, device=device) + n // 2) % max(n, 1) - n // 2
    return _frequencies(places, n, d, dtype, requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of rfft()'s result.

    Example:
      >>> rfftfreq(4)
      tensor([0.0000, 0.2500, 0.5000])
    """
    return _frequencies(arange(n // 2 + 1, device=device), n, d, dtype, requires_grad)


def _frequencies(places: Tensor, n: int, d: float, dtype: Any, requires_grad: bool) -> Tensor:
    dtype = get_default_dtype() if dtype is None else dtype
    out = places.to(dtype) * (1 / (n * d) if n else 0.0)
    return out.requires_grad_() if requires_grad else out
