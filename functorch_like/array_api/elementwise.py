"""Elementwise functions of the array API standard: the package's own, with its signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import promote_types
from ..errors import DTypeError, message
from ..ops import binary, complex, numeric, ternary, unary
from ..ops.family import operand
from ..tensor import Tensor

_UNARY = {
    "abs": unary.abs, "acos": unary.acos, "acosh": unary.acosh, "asin": unary.asin,
    "asinh": unary.asinh, "atan": unary.atan, "atanh": unary.atanh,
    "bitwise_invert": unary.bitwise_not, "conj": complex.conj, "cos": unary.cos,
    "cosh": unary.cosh, "exp": unary.exp, "isfinite": unary.isfinite,
    "isinf": unary.isinf, "isnan": unary.isnan, "log": unary.log, "log1p": unary.log1p,
    "log2": unary.log2, "log10": unary.log10, "logical_not": unary.logical_not,
    "negative": unary.neg, "positive": numeric.positive, "reciprocal": unary.reciprocal,
    "signbit": unary.signbit, "sin": unary.sin, "sinh": unary.sinh, "sqrt": unary.sqrt,
    "square": unary.square,
}  # fmt: skip
_BINARY = {
    "add": binary.add, "atan2": binary.atan2, "bitwise_and": binary.bitwise_and,
    "bitwise_left_shift": binary.bitwise_left_shift, "bitwise_or": binary.bitwise_or,
    "bitwise_right_shift": binary.bitwise_right_shift, "bitwise_xor": binary.bitwise_xor,
    "copysign": binary.copysign, "divide": binary.div, "equal": binary.eq,
    "greater": binary.gt, "greater_equal": binary.ge,
    "hypot": binary.hypot, "less": binary.lt, "less_equal": binary.le,
    "logaddexp": binary.logaddexp, "logical_and": binary.logical_and,
    "logical_or": binary.logical_or, "logical_xor": binary.logical_xor,
    "maximum": binary.maximum, "minimum": binary.minimum, "multiply": binary.mul,
    "nextafter": binary.nextafter, "not_equal": binary.ne, "pow": binary.pow,
    "subtract": binary.sub,
}  # fmt: skip
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    *_UNARY, *_BINARY, "ceil", "clip", "expm1", "floor", "floor_divide", "imag", "real",
    "remainder", "round", "sign", "tan", "tanh", "trunc",
]  # fmt: skip


def promoted(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two operands in their common dtype; that of a 0-d tensor counts in full, unlike torch's."""
    if isinstance(x1, Tensor) and isinstance(x2, Tensor) and x1.dtype is not x2.dtype:
        dtype = promote_types(x1.dtype, x2.dtype)
        return x1.to(dtype), x2.to(dtype)
    return x1, x2


def _of_one(name: str, function: Callable[[Any], Tensor]) -> Any:
    def elementwise(x: Tensor, /) -> Tensor:
        return function(x)

    elementwise.__name__, elementwise.__doc__ = name, function.__doc__
    return elementwise


def _of_two(name: str, function: Callable[[Any, Any], Tensor]) -> Any:
    def elementwise(x1: Any, x2: Any, /) -> Tensor:
        return function(*promoted(x1, x2))

    elementwise.__name__, elementwise.__doc__ = name, function.__doc__
    return elementwise


globals().update({name: _of_one(name, f) for name, f in _UNARY.items()})
globals().update({name: _of_two(name, f) for name, f in _BINARY.items()})


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """The floor of the quotient; the quotient itself where an operand is infinite, unlike torch."""
    a, b = promoted(x1, x2)
    y = binary.floor_divide(a, b)
    if not y.dtype.is_floating_point:
        return y
    a, b = operand("floor_divide", a), operand("floor_divide", b)
    return ternary.where(unary.isinf(a) | unary.isinf(b), binary.div(a, b), y)


def remainder(x1: Any, x2: Any, /) -> Tensor:
    """What floor_divide() leaves; a 0 has the divisor's sign, unlike torch's."""
    a, b = promoted(x1, x2)
    y = binary.remainder(a, b)
    if not y.dtype.is_floating_point:
        return y
    return ternary.where(y == 0, binary.copysign(y, operand("remainder", b)), y)


def _rounding(name: str, function: Callable[[Any], Tensor]) -> Any:
    def elementwise(x: Tensor, /) -> Tensor:
        if x.dtype.is_inexact:
            return function(x)
        return x

    elementwise.__name__, elementwise.__doc__ = name, function.__doc__
    return elementwise


ceil, floor, trunc = (_rounding(f.__name__, f) for f in (unary.ceil, unary.floor, unary.trunc))


def round(x: Tensor, /) -> Tensor:
    """The nearest integers, halves to even; of complex numbers both parts."""
    if x.dtype.is_complex:
        return complex.complex(unary.round(x.real), unary.round(x.imag))
    return unary.round(x) if x.dtype.is_inexact else x


def sign(x: Tensor, /) -> Tensor:
    """The sign; of complex numbers x / abs(x); nan of nan."""
    if x.dtype.is_complex:
        return unary.sgn(x)
    y = unary.sign(x)
    return ternary.where(unary.isnan(x), x, y) if x.dtype.is_floating_point else y


def expm1(x: Tensor, /) -> Tensor:
    """exp(x) - 1; a real part of 0 is +0 for complex numbers, unlike torch's."""
    y = unary.expm1(x)
    return complex.complex(y.real + 0.0, y.imag) if x.dtype.is_complex else y


def _zero_of(far: Tensor, near: Tensor, part: Tensor) -> Tensor:
    """`part`, or where `far` is infinite and `near` is not a 0 of near's sign."""
    edge = unary.isinf(far) & unary.isfinite(near)
    return ternary.where(edge, binary.copysign(near * 0, near), part)


def tan(x: Tensor, /) -> Tensor:
    """The tangent; of complex numbers as tanh() by tan(x) = -i tanh(i x)."""
    y = unary.tan(x)
    if not x.dtype.is_complex:
        return y
    return complex.complex(_zero_of(x.imag, x.real, y.real), y.imag)


def tanh(x: Tensor, /) -> Tensor:
    """The hyperbolic tangent; at infinity 1 + 0i above the real axis, unlike torch's (and C's)."""
    y = unary.tanh(x)
    if not x.dtype.is_complex:
        return y
    return complex.complex(y.real, _zero_of(x.real, x.imag, y.imag))


def real(x: Tensor, /) -> Tensor:
    """The real part."""
    return complex.real(x)


def imag(x: Tensor, /) -> Tensor:
    """The imaginary part."""
    return complex.imag(x)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], numbers or tensors; the dtype stays x's."""
    if x.dtype.is_complex or x.dtype.name == "bool":
        raise DTypeError(message("clip", "a real tensor", x.dtype))
    if min is None and max is None:
        return x.clone()
    y = ternary.clamp(x, min, max)
    if x.dtype.is_floating_point:
        y = ternary.where(unary.isnan(x), x, y)
    return y
