"""Fourier transforms along one dim: three linear ops with a C kernel. c2c takes real operands too.

The factors of the real ones are one for the ends of the half spectrum (frequency 0 and, for an even
length, the highest) and one for what lies inside. An inside frequency stands for two, so the
transpose of r2c with factors (a, b) is c2r with (a, b / 2), and of c2r with (a, b) r2c with
(a, 2 b): no rule needs another op. The public functions are in functorch_like/fft.py.
"""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..op import Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor

__all__ = ["c2c", "c2r", "r2c"]

_FAMILY = "fft"

c2c = Op(
    "fft_c2c",
    lambda x, *, dim, forward, scale: lib.cb_fft_c2c(x._v, dim, forward, scale),
    vjp=lambda ct, _out, x_spec, *, dim, forward, scale: (
        _like(x_spec, c2c(ct, dim=dim, forward=not forward, scale=scale)),
    ),
    jvp=lambda tangents, _out, _x, *, dim, forward, scale: c2c(
        tangents[0], dim=dim, forward=forward, scale=scale
    ),
    batch=lambda _size, _batched, x, *, dim, forward, scale: c2c(
        x, dim=dim + 1, forward=forward, scale=scale
    ),
    family=_FAMILY,
)
r2c = Op(
    "fft_r2c",
    lambda x, *, dim, ends, inside: lib.cb_fft_r2c(x._v, dim, ends, inside),
    vjp=lambda ct, _out, x_spec, *, dim, ends, inside: (
        _r2c_transpose(ct, x_spec, dim, ends, inside),
    ),
    jvp=lambda tangents, _out, _x, *, dim, ends, inside: r2c(
        tangents[0], dim=dim, ends=ends, inside=inside
    ),
    batch=lambda _size, _batched, x, *, dim, ends, inside: r2c(
        x, dim=dim + 1, ends=ends, inside=inside
    ),
    family=_FAMILY,
)
c2r = Op(
    "fft_c2r",
    lambda x, *, dim, n, ends, inside: lib.cb_fft_c2r(x._v, dim, n, ends, inside),
    vjp=lambda ct, _out, _x, *, dim, n, ends, inside: (
        r2c(ct, dim=dim, ends=ends, inside=2 * inside),
    ),
    jvp=lambda tangents, _out, _x, *, dim, n, ends, inside: c2r(
        tangents[0], dim=dim, n=n, ends=ends, inside=inside
    ),
    batch=lambda _size, _batched, x, *, dim, n, ends, inside: c2r(
        x, dim=dim + 1, n=n, ends=ends, inside=inside
    ),
    family=_FAMILY,
)


def _like(x_spec: Spec, ct: Tensor) -> Tensor:
    """The part of a cotangent that a real operand has."""
    return ct if x_spec.dtype.is_complex else ct.real


def _r2c_transpose(ct: Tensor, x_spec: Spec, dim: int, ends: float, inside: float) -> Tensor:
    return c2r(ct, dim=dim, n=x_spec.shape[dim], ends=ends, inside=inside / 2)


# ---- samples: lengths of every kind of algorithm, few and many signals ----


def _signals(make: Any, length: Any = lambda n: n) -> list[tuple[Tensor, int, int]]:
    """Tensors, the dim to transform, and its number of points."""
    shapes = [
        ((6,), 0),
        ((3, 5), 1),
        ((4, 2, 3), 0),
        ((2, 67), 1),
        ((1,), 0),
        ((0, 4), 1),
        ((20, 2), 0),
    ]
    found = []
    for shape, dim in shapes:
        n = shape[dim]
        found.append((make(*shape[:dim], length(n), *shape[dim + 1 :]), dim, n))
    return found


def _half_weights(np: Any, n: int, ends: float, inside: float) -> Any:
    weights = np.full(n // 2 + 1, inside)
    weights[0] = ends
    if n % 2 == 0:
        weights[-1] = ends
    return weights


def _along(np: Any, weights: Any, ndim: int, dim: int) -> Any:
    return weights.reshape([-1 if d == dim else 1 for d in range(ndim)])


def _r2c_oracle(np: Any, x: Any, *, dim: int, ends: float, inside: float) -> Any:
    weights = _half_weights(np, x.shape[dim], ends, inside)
    return np.fft.rfft(x, axis=dim) * _along(np, weights, x.ndim, dim)


def _c2r_oracle(np: Any, x: Any, *, dim: int, n: int, ends: float, inside: float) -> Any:
    weights = _half_weights(np, n, ends, inside)
    return np.fft.irfft(x * _along(np, weights, x.ndim, dim), n, dim, "forward")


def _c2c_oracle(np: Any, x: Any, *, dim: int, forward: bool, scale: float) -> Any:
    return scale * (
        np.fft.fft(x, axis=dim) if forward else np.fft.ifft(x, axis=dim, norm="forward")
    )


sampled(
    c2c,
    lambda make: [
        call(x, dim=dim, forward=i % 2 == 0, scale=1.0 if i else 0.5)
        for i, (x, dim, _) in enumerate(_signals(make))
    ],
    kinds="float complex",
    oracle=_c2c_oracle,
)
sampled(
    r2c,
    lambda make: [
        call(x, dim=dim, ends=1.0, inside=1.0 if i % 2 else 0.75)
        for i, (x, dim, _) in enumerate(_signals(make))
    ],
    oracle=_r2c_oracle,
)
sampled(
    c2r,
    lambda make: [
        call(x, dim=dim, n=n, ends=1.0, inside=1.0 if i % 2 else 0.75)
        for i, (x, dim, n) in enumerate(_signals(make, lambda n: n // 2 + 1))
    ],
    kinds="complex",
    oracle=_c2r_oracle,
)
