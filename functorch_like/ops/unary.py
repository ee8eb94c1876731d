"""Elementwise ops of one operand: arithmetic, exponentials, trigonometric, rounding, tests."""

from __future__ import annotations

import math
from typing import Any

from cbackend import lib

from ..op import NONDIFF
from ..tensor import Tensor
from .creation import zeros_like
from .family import chain, mul_conj, times_slope, unary
from .slopes import (
    cos_grad,
    gelu_grad,
    gelu_tanh_grad,
    log_grad,
    relu_grad,
    sigmoid_grad,
    silu_grad,
    sin_grad,
    sqrt_grad,
    square_grad,
    tanh_grad,
)

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_not",
    "ceil",
    "conj_physical",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "erfcinv",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "gelu",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "logsigmoid",
    "neg",
    "negative",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
]

_POSITIVE: dict[str, Any] = {"low": 0.1, "high": 4.0}
_UNIT: dict[str, Any] = {"low": -0.9, "high": 0.9}
_REAL = {"kinds": "float"}
# piecewise constant: the derivative is 0 wherever there is one, and the graph stays connected
_FLAT = chain(lambda t, _x, _out: zeros_like(t))
_BOOLEAN = NONDIFF("boolean result")

# ---- arithmetic ----
neg = unary(
    "neg", -1, "The negative: -x.", oracle="numpy.negative", samples={"kinds": "int float complex"}
)
negative = neg
abs = unary(  # torch's name
    "abs",
    chain(lambda t, x, _out: _abs_rule(t, x)),
    "The absolute value; of complex numbers the modulus, real. Its derivative at 0 is 0.",
    changes_dtype=True,
    oracle="numpy.abs",
    samples={"kinds": "int float complex"},
)
sign = unary(
    "sign",
    _FLAT,
    "The sign: -1, 0 or 1; 0 for nan.",
    oracle="numpy.sign",
    samples={**_REAL, "special": "0 at nan as in torch; NumPy gives nan"},
)
sgn = unary(
    "sgn",
    chain(lambda t, x, out: _sgn_rule(t, x, out)),
    "The sign of real numbers; of complex ones x / |x|, and 0 at 0.",
    samples=_REAL,
)
square = unary(
    "square",
    chain(
        lambda t, x, _out: _square_rule(t, x, mul_conj),
        lambda t, x, _out: _square_rule(t, x, times_slope),
    ),
    "The square: x * x.",
    oracle="numpy.square",
    samples={"kinds": "int float complex", "missing": {"bool": "torch gives int64; cast first"}},
)
reciprocal = unary(
    "reciprocal",
    lambda _x, out: -out * out,
    "The reciprocal: 1 / x.",
    oracle="numpy.reciprocal",
    samples={"ulp": (0.51, 0.51), **_POSITIVE, "kinds": "float complex"},
)
_conj_physical: Any = unary(
    "conj_physical",
    chain(lambda t, _x, _out: conj_physical(t)),
    "The complex conjugate, computed.",
    oracle="numpy.conj",
    samples={"kinds": "float complex"},
)


def conj_physical(input: Any, out: Tensor | None = None) -> Tensor:
    """The complex conjugate, computed; a real tensor itself."""
    if out is None and isinstance(input, Tensor) and not input.dtype.is_complex:
        return input
    return _conj_physical(input, out=out)  # type: ignore[call-arg]


Tensor.conj_physical = conj_physical  # type: ignore[attr-defined]
angle = unary(
    "angle",
    chain(lambda t, x, _out: _angle_rule(t, x)),
    "The argument of a complex number, in radians; 0 or pi for real ones.",
    changes_dtype=True,
    samples=_REAL,
)
relu = unary(
    "relu",
    chain(lambda t, _x, out: relu_grad(t, out)),
    "max(x, 0). Its derivative at 0 is 0.",
    samples=_REAL,
)


def _abs_rule(t: Tensor, x: Tensor) -> Tensor:
    """Both modes read as t . sgn(x).

    Forward t is x's tangent (maybe complex, the result real); in reverse t is the real cotangent.
    """
    if not x.dtype.is_complex:
        return t * sign(x)
    return (conj_physical(sgn(x)) * t).real if t.dtype.is_complex else t * sgn(x)


def _sgn_rule(t: Tensor, x: Tensor, out: Tensor) -> Tensor:
    if not x.dtype.is_complex:
        return zeros_like(t)
    from .ternary import where

    size = abs(x)
    rule = (t - (t * conj_physical(out)).real * out) / size
    return where(size == 0, 0, rule)


def _angle_rule(t: Tensor, x: Tensor) -> Tensor:
    if not x.dtype.is_complex:
        return zeros_like(t)
    squared = x.real * x.real + x.imag * x.imag
    if t.dtype.is_complex:
        return (t.imag * x.real - t.real * x.imag) / squared
    from .complex import complex as make_complex

    return make_complex(-t * x.imag / squared, t * x.real / squared)


# ---- rounding ----
floor = unary(
    "floor", _FLAT, "The largest integer not above x.", oracle="numpy.floor", samples=_REAL
)
ceil = unary("ceil", _FLAT, "The smallest integer not below x.", oracle="numpy.ceil", samples=_REAL)
trunc = unary(
    "trunc", _FLAT, "The integer part, towards zero.", oracle="numpy.trunc", samples=_REAL
)
fix = trunc
frac = unary("frac", 1, "The fractional part: x - trunc(x).", samples=_REAL)
_round = unary(
    "round", _FLAT, "The nearest integer, halves to even.", oracle="numpy.round", samples=_REAL
)


def round(x: Any, *, decimals: int = 0) -> Tensor:
    """The nearest number with that many decimals, halves to even.

    Example:
      >>> round(tensor([0.5, 1.5, 2.5]))
      tensor([0., 2., 2.])
    """
    if decimals == 0:
        return _round(x)
    scale = 10.0**decimals
    return _round(x * scale) / scale


Tensor.round = round  # type: ignore[attr-defined]

# ---- tests and logic ----
isnan = unary(
    "isnan",
    _BOOLEAN,
    "Is the element not a number?",
    inplace=False,
    oracle="numpy.isnan",
    samples=_REAL,
)
isinf = unary(
    "isinf",
    _BOOLEAN,
    "Is the element infinite?",
    inplace=False,
    oracle="numpy.isinf",
    samples=_REAL,
)
isfinite = unary(
    "isfinite",
    _BOOLEAN,
    "Is the element neither infinite nor nan?",
    inplace=False,
    oracle="numpy.isfinite",
    samples=_REAL,
)
signbit = unary(
    "signbit",
    _BOOLEAN,
    "Is the sign bit set? True for -0.0.",
    inplace=False,
    oracle="numpy.signbit",
    samples=_REAL,
)
logical_not = unary(
    "logical_not",
    _BOOLEAN,
    "Is the element zero?",
    oracle="numpy.logical_not",
    samples={"kinds": "bool int float"},
)
bitwise_not = unary(
    "bitwise_not",
    NONDIFF("integer result"),
    "All bits flipped.",
    oracle="numpy.bitwise_not",
    samples={"kinds": "bool int"},
)
Tensor.__invert__ = bitwise_not  # type: ignore[attr-defined]
Tensor.__neg__ = neg  # type: ignore[attr-defined]
Tensor.__abs__ = abs  # type: ignore[attr-defined]
Tensor.__pos__ = lambda x: x  # type: ignore[attr-defined]
Tensor.__round__ = lambda x, decimals=0: x.round(decimals=decimals) if decimals else x.round()  # type: ignore[attr-defined]

# ---- exponentials, logarithms, roots ----
_FC = {"kinds": "float complex"}
sqrt = unary(
    "sqrt",
    chain(
        lambda t, _x, out: _sqrt_rule(t, out, mul_conj),
        lambda t, _x, out: _sqrt_rule(t, out, times_slope),
    ),
    "The square root; nan below 0.",
    oracle="numpy.sqrt",
    samples={"ulp": (0.51, 0.51), **_POSITIVE, **_FC},
)
rsqrt = unary(
    "rsqrt",
    lambda _x, out: -0.5 * out * out * out,
    "The reciprocal square root.",
    samples={"ulp": (1.5, 1.5), **_POSITIVE, **_FC},
)
exp = unary(
    "exp",
    lambda _x, out: out,
    "e to the power x.",
    oracle="numpy.exp",
    samples={**_FC, "ulp": (1, 1)},
)
exp2 = unary(
    "exp2",
    lambda _x, out: math.log(2) * out,
    "2 to the power x.",
    oracle="numpy.exp2",
    samples={**_FC, "ulp": (1, 1)},
)
expm1 = unary(
    "expm1",
    lambda _x, out: out + 1,
    "exp(x) - 1, exact near 0.",
    oracle="numpy.expm1",
    samples={**_FC, "ulp": (2, 2)},
)
log = unary(
    "log",
    chain(
        lambda t, x, _out: _log_rule(t, x, mul_conj),
        lambda t, x, _out: _log_rule(t, x, times_slope),
    ),
    "The natural logarithm.",
    oracle="numpy.log",
    samples={"ulp": (1, 1), **_POSITIVE, **_FC},
)
log2 = unary(
    "log2",
    lambda x, _out: (1 / math.log(2)) / x,
    "The logarithm to base 2.",
    oracle="numpy.log2",
    samples={"ulp": (1, 1), **_POSITIVE, **_FC},
)
log10 = unary(
    "log10",
    lambda x, _out: (1 / math.log(10)) / x,
    "The logarithm to base 10.",
    oracle="numpy.log10",
    samples={"ulp": (1, 1), **_POSITIVE, **_FC},
)
log1p = unary(
    "log1p",
    lambda x, _out: reciprocal(x + 1),
    "log(1 + x), exact near 0.",
    oracle="numpy.log1p",
    samples={"ulp": (1.5, 1.5), **_POSITIVE, **_FC},
)
sigmoid = unary(
    "sigmoid",
    chain(
        lambda t, _x, out: _sigmoid_rule(t, out, True),
        lambda t, _x, out: _sigmoid_rule(t, out, False),
    ),
    "1 / (1 + exp(-x)).",
    oracle=lambda np, x: 1 / (1 + np.exp(-x)),
    samples={**_FC, "ulp": (2.4, 2)},
)


def _is_complex(x: Tensor) -> bool:
    return (x._v or x._concrete).dtype >= lib.CB_C64


# real numbers by one kernel, complex ones by `times`, the product with the slope or its conjugate


def _sqrt_rule(t: Tensor, out: Tensor, times: Any) -> Tensor:
    return times(t, 0.5 / out) if _is_complex(out) else sqrt_grad(t, out)


def _square_rule(t: Tensor, x: Tensor, times: Any) -> Tensor:
    return times(t, 2 * x) if _is_complex(x) else square_grad(t, x)


def _log_rule(t: Tensor, x: Tensor, times: Any) -> Tensor:
    return times(t, reciprocal(x)) if _is_complex(x) else log_grad(t, x)


def _sin_rule(t: Tensor, x: Tensor, times: Any) -> Tensor:
    return times(t, cos(x)) if _is_complex(x) else sin_grad(t, x)


def _cos_rule(t: Tensor, x: Tensor, times: Any) -> Tensor:
    return times(t, -sin(x)) if _is_complex(x) else cos_grad(t, x)


def _sigmoid_rule(t: Tensor, out: Tensor, reverse: bool) -> Tensor:
    if not _is_complex(out):
        return sigmoid_grad(t, out)
    slope = out * (1 - out)
    return t * (conj_physical(slope) if reverse else slope)


# ---- trigonometric and hyperbolic ----
sin = unary(
    "sin",
    chain(
        lambda t, x, _out: _sin_rule(t, x, mul_conj),
        lambda t, x, _out: _sin_rule(t, x, times_slope),
    ),
    "The sine; x in radians.",
    oracle="numpy.sin",
    samples={**_FC, "ulp": (1, 2)},
)
cos = unary(
    "cos",
    chain(
        lambda t, x, _out: _cos_rule(t, x, mul_conj),
        lambda t, x, _out: _cos_rule(t, x, times_slope),
    ),
    "The cosine; x in radians.",
    oracle="numpy.cos",
    samples={**_FC, "ulp": (1, 2)},
)
tan = unary(
    "tan",
    lambda _x, out: out * out + 1,
    "The tangent; x in radians.",
    oracle="numpy.tan",
    samples={"ulp": (1, 3), "low": -1.2, "high": 1.2, **_FC},
)
asin = unary(
    "asin",
    lambda x, _out: rsqrt(1 - x * x),
    "The arc sine, in radians; nan outside [-1, 1].",
    oracle="numpy.arcsin",
    samples={"ulp": (2.5, 2.5), **_UNIT, **_FC},
)
acos = unary(
    "acos",
    lambda x, _out: -rsqrt(1 - x * x),
    "The arc cosine, in radians; nan outside [-1, 1].",
    oracle="numpy.arccos",
    samples={"ulp": (2, 2), **_UNIT, **_FC},
)
atan = unary(
    "atan",
    lambda x, _out: reciprocal(x * x + 1),
    "The arc tangent, in radians.",
    oracle="numpy.arctan",
    samples={"ulp": (2, 2), **_UNIT, **_FC},
)
sinh = unary(
    "sinh",
    lambda x, _out: cosh(x),
    "The hyperbolic sine.",
    oracle="numpy.sinh",
    samples={**_FC, "ulp": (2, 2)},
)
cosh = unary(
    "cosh",
    lambda x, _out: sinh(x),
    "The hyperbolic cosine.",
    oracle="numpy.cosh",
    samples={**_FC, "ulp": (2, 2)},
)
tanh = unary(
    "tanh",
    chain(
        lambda t, _x, out: _tanh_rule(t, out, True), lambda t, _x, out: _tanh_rule(t, out, False)
    ),
    "The hyperbolic tangent.",
    oracle="numpy.tanh",
    samples={**_FC, "ulp": (2, 2.2)},
)
asinh = unary(
    "asinh",
    lambda x, _out: rsqrt(x * x + 1),
    "The inverse hyperbolic sine.",
    oracle="numpy.arcsinh",
    samples={"ulp": (1, 3), **_UNIT, **_FC},
)
acosh = unary(
    "acosh",
    lambda x, _out: rsqrt(x - 1) * rsqrt(x + 1),
    "The inverse hyperbolic cosine; nan below 1.",
    oracle="numpy.arccosh",
    samples={"ulp": (1, 3), "low": 1.1, "high": 4.0, **_FC},
)
atanh = unary(
    "atanh",
    lambda x, _out: reciprocal(1 - x * x),
    "The inverse hyperbolic tangent; nan outside [-1, 1].",
    oracle="numpy.arctanh",
    samples={"ulp": (1, 3), **_UNIT, **_FC},
)
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh
absolute = abs


def _tanh_rule(t: Tensor, out: Tensor, reverse: bool) -> Tensor:
    if not _is_complex(out):
        return tanh_grad(t, out)
    slope = 1 - out * out
    return t * (conj_physical(slope) if reverse else slope)


# ---- special functions and activations ----
erf = unary(
    "erf",
    lambda x, _out: (2 / math.sqrt(math.pi)) * exp(-x * x),
    "The error function.",
    oracle="scipy.special.erf",
    samples={**_REAL, "ulp": (1.5, 1.5)},
)
erfc = unary(
    "erfc",
    lambda x, _out: (-2 / math.sqrt(math.pi)) * exp(-x * x),
    "1 - erf(x), exact for large x.",
    oracle="scipy.special.erfc",
    samples={**_REAL, "ulp": (4, 4)},
)
erfinv = unary(
    "erfinv",
    lambda _x, out: (math.sqrt(math.pi) / 2) * exp(out * out),
    "The inverse error function.",
    oracle="scipy.special.erfinv",
    samples={"ulp": (1, 10), **_UNIT, **_REAL, "special": "SciPy loses the sign of zero"},
)
erfcinv = unary(
    "erfcinv",
    lambda _x, out: (-math.sqrt(math.pi) / 2) * exp(out * out),
    "The inverse of erfc, exact for small x; nan outside [0, 2].",
    method=False,
    oracle="scipy.special.erfcinv",
    samples={"kinds": "float", "low": 0.1, "high": 1.9, "special": "0 at 1; SciPy gives -0"},
)
gelu_exact = unary(
    "gelu",
    chain(lambda t, x, _out: gelu_grad(t, x)),
    "x * Phi(x), with Phi the normal distribution function.",
    method=False,
    samples={**_REAL, "ulp": (4.5, 4.5)},
)
gelu_tanh = unary(
    "gelu_tanh",
    chain(lambda t, x, _out: gelu_tanh_grad(t, x)),
    "gelu by its tanh approximation.",
    method=False,
    samples=_REAL,
)
silu = unary(
    "silu",
    chain(
        lambda t, x, _out: _silu_rule(t, x, mul_conj),
        lambda t, x, _out: _silu_rule(t, x, times_slope),
    ),
    "x * sigmoid(x).",
    method=False,
    samples=_FC,
)
logsigmoid = unary(
    "logsigmoid",
    lambda x, _out: sigmoid(-x),
    "log(sigmoid(x)), exact for large |x|.",
    method=False,
    samples={**_REAL, "ulp": (2, 2)},
)


def _silu_rule(t: Tensor, x: Tensor, times: Any) -> Tensor:
    if not _is_complex(x):
        return silu_grad(t, x)
    s = sigmoid(x)
    return times(t, s * (1 + x * (1 - s)))


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit: x * Phi(x), elementwise.

    Args:
      approximate: "none", or "tanh" for the approximation of the paper.
    Reference: Hendrycks & Gimpel 2016.
    """
    return gelu_tanh(x) if approximate == "tanh" else gelu_exact(x)
