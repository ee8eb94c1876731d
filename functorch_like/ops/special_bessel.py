"""Bessel functions of integer order, the Airy function, and the scaled erfc.

The public ones are of order 0 and 1. Kernels of higher order stand behind them, since
J' = (J[n-1] - J[n+1]) / 2 and its like hold at every order and at 0, where J1(x) / x does not.
"""

from __future__ import annotations

import math
from typing import Any

from ..samples import call
from ..tensor import Tensor
from .family import operand, unary
from .special import sinc_of_angle
from .special_family import ordered, scipy_special
from .ternary import where
from .unary import abs, exp, sign

__all__ = ["i0"]

_REAL: dict[str, Any] = {"kinds": "float"}
_POSITIVE: dict[str, Any] = {"kinds": "float", "low": 0.2, "high": 9.0}
_BETWEEN_ZEROS: dict[str, Any] = {"kinds": "float", "low": 1.0, "high": 2.0}
_WIDE: dict[str, Any] = {"kinds": "float", "low": -9.0, "high": 9.0}
_SIGNED_ZERO = "odd: the sign of zero is kept; SciPy loses it"


def _samples(low: float, high: float) -> Any:
    return lambda make: [
        call(make(3, 4, low=low, high=high), order=2),
        call(make(5, low=low, high=high), order=3),
        call(make(low=low, high=high), order=0),
        call(make(0, low=low, high=high), order=1),
    ]


# ---- J and Y ----
bessel_j0 = unary(
    "bessel_j0",
    lambda x, _out: -bessel_j1(x),
    "The Bessel function of the first kind of order 0. Reference: DLMF 10.2.",
    method=False,
    oracle="scipy.special.j0",
    samples=_WIDE,
)
bessel_j1 = unary(
    "bessel_j1",
    lambda x, _out: 0.5 * (bessel_j0(x) - _bessel_jn(x, order=2)),
    "The Bessel function of the first kind of order 1. Reference: DLMF 10.2.",
    method=False,
    oracle="scipy.special.j1",
    samples=_WIDE,
)
bessel_y0 = unary(
    "bessel_y0",
    lambda x, _out: -bessel_y1(x),
    "The Bessel function of the second kind of order 0: -inf at 0, nan below.",
    method=False,
    oracle="scipy.special.y0",
    samples=_BETWEEN_ZEROS,
)
bessel_y1 = unary(
    "bessel_y1",
    lambda x, _out: 0.5 * (bessel_y0(x) - _bessel_yn(x, order=2)),
    "The Bessel function of the second kind of order 1: -inf at 0, nan below.",
    method=False,
    oracle="scipy.special.y1",
    samples=_BETWEEN_ZEROS,
)
_bessel_jn = ordered(
    "bessel_jn",
    [lambda x, order: 0.5 * (_bessel_jn(x, order=order - 1) - _bessel_jn(x, order=order + 1))],
    _samples(-9.0, 9.0),
    oracle=lambda _np, x, order: scipy_special("jn")(order, x),
)
_bessel_yn = ordered(
    "bessel_yn",
    [lambda x, order: 0.5 * (_bessel_yn(x, order=order - 1) - _bessel_yn(x, order=order + 1))],
    _samples(0.5, 9.0),
    oracle=lambda _np, x, order: scipy_special("yn")(order, x),
)


def spherical_bessel_j0(x: Any) -> Tensor:
    """The spherical Bessel function of the first kind of order 0: sin(x) / x, and 1 at 0.

    Example:
      >>> special.spherical_bessel_j0(tensor([0.0, 1.0]))
      tensor([1.0000, 0.8415])
    """
    x = operand("spherical_bessel_j0", x)
    endless = abs(x) == math.inf
    return where(endless, 0.0, sinc_of_angle(where(endless, 0.0, x)))


# ---- I ----
i0 = unary(
    "i0",
    lambda x, _out: i1(x),
    "The modified Bessel function of the first kind of order 0. Reference: DLMF 10.25.",
    oracle="scipy.special.i0",
    samples=_REAL,
)
i0e = unary(
    "i0e",
    lambda x, out: i1e(x) - sign(x) * out,
    "The exponentially scaled modified Bessel function of order 0: exp(-|x|) I0(x).",
    method=False,
    oracle="scipy.special.i0e",
    samples=_REAL,
)
i1 = unary(
    "i1",
    lambda x, _out: 0.5 * (i0(x) + exp(abs(x)) * _scaled_in(x, order=2)),
    "The modified Bessel function of the first kind of order 1. Reference: DLMF 10.25.",
    method=False,
    oracle="scipy.special.i1",
    samples={**_REAL, "special": _SIGNED_ZERO},
)
i1e = unary(
    "i1e",
    lambda x, out: 0.5 * (i0e(x) + _scaled_in(x, order=2)) - sign(x) * out,
    "The exponentially scaled modified Bessel function of order 1: exp(-|x|) I1(x).",
    method=False,
    oracle="scipy.special.i1e",
    samples={**_REAL, "special": _SIGNED_ZERO},
)


def _scaled_in_slope(x: Tensor, order: int) -> Tensor:
    below, above = _scaled_in(x, order=order - 1), _scaled_in(x, order=order + 1)
    return 0.5 * (below + above) - sign(x) * _scaled_in(x, order=order)


_scaled_in = ordered(
    "scaled_bessel_in",
    [_scaled_in_slope],
    _samples(0.1, 9.0),
    oracle=lambda _np, x, order: scipy_special("ive")(order, x),
)
modified_bessel_i0, modified_bessel_i1 = i0, i1

# ---- K ----
modified_bessel_k0 = unary(
    "modified_bessel_k0",
    lambda x, _out: -modified_bessel_k1(x),
    "The modified Bessel function of the second kind of order 0: inf at 0, nan below.",
    method=False,
    oracle="scipy.special.k0",
    samples=_POSITIVE,
)
modified_bessel_k1 = unary(
    "modified_bessel_k1",
    lambda x, _out: -0.5 * (modified_bessel_k0(x) + exp(-x) * _scaled_kn(x, order=2)),
    "The modified Bessel function of the second kind of order 1: inf at 0, nan below.",
    method=False,
    oracle="scipy.special.k1",
    samples=_POSITIVE,
)
scaled_modified_bessel_k0 = unary(
    "scaled_modified_bessel_k0",
    lambda x, out: out - scaled_modified_bessel_k1(x),
    "The exponentially scaled modified Bessel function of order 0: exp(x) K0(x).",
    method=False,
    oracle="scipy.special.k0e",
    samples=_POSITIVE,
)
scaled_modified_bessel_k1 = unary(
    "scaled_modified_bessel_k1",
    lambda x, out: out - 0.5 * (scaled_modified_bessel_k0(x) + _scaled_kn(x, order=2)),
    "The exponentially scaled modified Bessel function of order 1: exp(x) K1(x).",
    method=False,
    oracle="scipy.special.k1e",
    samples=_POSITIVE,
)


def _scaled_kn_slope(x: Tensor, order: int) -> Tensor:
    below, above = _scaled_kn(x, order=order - 1), _scaled_kn(x, order=order + 1)
    return _scaled_kn(x, order=order) - 0.5 * (below + above)


_scaled_kn = ordered(
    "scaled_bessel_kn",
    [_scaled_kn_slope],
    _samples(0.5, 9.0),
    oracle=lambda _np, x, order: scipy_special("kve")(order, x),
)

# ---- Airy ----
airy_ai = unary(
    "airy_ai",
    lambda x, _out: _airy_ai_prime(x),
    "The Airy function Ai, which solves y'' = x y. Reference: DLMF 9.2.",
    method=False,
    oracle=lambda _np, x: scipy_special("airy")(x)[0],
    samples={**_WIDE, "special": "0 at 1e30 as in torch; SciPy gives nan"},
)
_airy_ai_prime = unary(
    "airy_ai_prime",
    lambda x, _out: x * airy_ai(x),
    "The derivative of the Airy function Ai.",
    method=False,
    oracle=lambda _np, x: scipy_special("airy")(x)[1],
    samples={**_WIDE, "special": "0 at 1e30; SciPy gives nan"},
)

# ---- error functions ----
erfcx = unary(
    "erfcx",
    lambda x, _out: _erfcx_derivative(x, order=1),
    "The scaled complementary error function: exp(x^2) erfc(x), without overflow for large x.",
    method=False,
    oracle="scipy.special.erfcx",
    samples=_REAL,
)


def _erfcx_oracle(np: Any, x: Any, order: int) -> Any:
    below, value = 0 * x - 2 / math.sqrt(math.pi), scipy_special("erfcx")(x)
    for k in range(order):
        below, value = 2 * (k + 1) * value, 2 * x * value + below
    return np.asarray(value)


_erfcx_derivative = ordered(
    "erfcx_derivative",
    [lambda x, order: _erfcx_derivative(x, order=order + 1)],
    _samples(-1.0, 1.0),
    oracle=_erfcx_oracle,
)
