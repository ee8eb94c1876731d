"""Variances and standard deviations over dims. `axis` and `keepdims` are taken as in reduce.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cbackend import lib

from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .reduce import _kept, _mean, _public, _real, _size, _sum, _up, mean

__all__ = ["std", "std_mean", "var", "var_mean"]


def _var_vjp(
    ct: Tensor, _out: Tensor, x: Tensor, *, dims: tuple[int, ...], keepdim: bool, correction: float
) -> tuple[Tensor]:
    n = _size(x._shape, dims)
    scale = 2.0 / (n - correction) if n > correction else float("nan")
    return (_kept(ct, x, dims, keepdim) * scale * (x - _mean(x, dims=dims, keepdim=True)),)


def _var_jvp(
    tangents: Any,
    _out: Tensor,
    x: Tensor,
    *,
    dims: tuple[int, ...],
    keepdim: bool,
    correction: float,
) -> Tensor:
    n = _size(x._shape, dims)
    scale = 2.0 / (n - correction) if n > correction else float("nan")
    return (
        _sum(
            _real((x - _mean(x, dims=dims, keepdim=True)).conj() * tangents[0]),
            dims=dims,
            keepdim=keepdim,
        )
        * scale
    )


_var = Op(
    "var",
    lambda x, *, dims, keepdim, correction: lib.cb_var(x._v, len(dims), dims, keepdim, correction),
    vjp=_var_vjp,
    jvp=_var_jvp,
    batch=lambda _size, _batched, x, *, dims, keepdim, correction: _var(
        x, dims=_up(dims), keepdim=keepdim, correction=correction
    ),
    family="reduce",
)
sampled(
    _var,
    lambda make: [
        call(make(3, 4), dims=(0,), keepdim=False, correction=1.0),
        call(make(2, 3, 4), dims=(0, 2), keepdim=True, correction=0.0),
        call(make(5), dims=(0,), keepdim=False, correction=2.5),
        call(make(0, 3), dims=(1,), keepdim=False, correction=1.0),
    ],
    kinds="float complex",
    oracle=lambda np, x, *, dims, keepdim, correction: np.var(
        x, axis=dims, keepdims=keepdim, ddof=correction
    ),
)


def var(
    x: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    **options: Any,
) -> Tensor:
    """The variance over dims, divided by n - correction (1 by default: unbiased).

    Example:
      >>> var(tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
      tensor(2.5000)
    """
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    x, dims, keepdim = _public("var", x, dim, keepdim, None, options)
    return _var(
        x,
        dims=dims,
        keepdim=keepdim,
        correction=float(int(unbiased) if correction is None else correction),
    )


def std(
    x: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    **options: Any,
) -> Tensor:
    """The standard deviation over dims: the root of var()."""
    return var(x, dim, unbiased, keepdim, correction=correction, **options).sqrt()


def var_mean(
    x: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over dims."""
    return _beside_mean(var, x, dim, unbiased, keepdim, correction)


def std_mean(
    x: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over dims."""
    return _beside_mean(std, x, dim, unbiased, keepdim, correction)


def _beside_mean(
    spread: Callable[..., Tensor],
    x: Tensor,
    dim: Any,
    unbiased: bool,
    keepdim: bool,
    correction: float | None,
) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return spread(x, dim, unbiased, keepdim, correction=correction), mean(x, dim, keepdim)


for _f in (var, std):
    setattr(Tensor, _f.__name__, _f)
