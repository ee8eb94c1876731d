"""Elementwise ops of two operands: arithmetic, powers, comparison, logic, bits."""

from __future__ import annotations

import math
from typing import Any

from cbackend import lib

from ..errors import DTypeError, message
from ..mutation import require_cast
from ..op import NONDIFF, Op
from ..tensor import Tensor
from .creation import zeros_like
from .family import binary, chain, mul_conj, operand, result_type, ternary, times_slope
from .slopes import div_grad, square_grad
from .unary import exp, log, sign

__all__ = [
    "add",
    "arctan2",
    "atan2",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "copysign",
    "div",
    "divide",
    "eq",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "hypot",
    "lcm",
    "le",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "nextafter",
    "not_equal",
    "pow",
    "remainder",
    "rsub",
    "sub",
    "subtract",
    "true_divide",
    "xlogy",
]

_ANY = {"kinds": "int float complex"}
_REAL = {"kinds": "float"}
_NUMBERS = {"kinds": "int float"}
_BOOLEAN = NONDIFF("boolean result")
_INTEGER = NONDIFF("integer result")
# piecewise constant: the derivative is 0 wherever there is one, and the graph stays connected
_STEP = (chain(lambda t, _x, _y, _out: zeros_like(t)),) * 2

# ---- arithmetic ----
_add = binary("add", (1, 1), "The sum: x + y.", dunder="add", oracle="numpy.add", samples=_ANY)
_sub = binary(
    "sub", (1, -1), "The difference: x - y.", dunder="sub", oracle="numpy.subtract", samples=_ANY
)
mul = binary(
    "mul",
    (lambda _x, y, _out: y, lambda x, _y, _out: x),
    "The product: x * y.",
    dunder="mul",
    oracle="numpy.multiply",
    samples=_ANY,
)
_div = binary(
    "div",
    (
        chain(lambda t, _x, y, _out: t / _conjugate(y), lambda t, _x, y, _out: t / y),
        chain(
            lambda t, _x, y, out: _div_rule(t, y, out, True),
            lambda t, _x, y, out: _div_rule(t, y, out, False),
        ),
    ),
    "The quotient: x / y; integers give the default floating dtype.",
    dunder="truediv",
    oracle="numpy.divide",
    samples={"low": 0.2, "high": 4.0, "kinds": "float complex"},
)
multiply = mul


def _pull_mul(node: Any, ct: Tensor) -> Any:
    edge, other = node.edges
    x, y = node.args
    if edge is other and x is y and (ct._v or ct._concrete).dtype < lib.CB_C64:
        return square_grad(ct, x), None
    return _pull_factors(node, ct)


_pull_factors = mul.op.pull  # type: ignore[attr-defined]
mul.op.pull = _pull_mul  # type: ignore[attr-defined]


def _scaled(op: str, input: Any, other: Any, alpha: Any) -> Tensor:
    """alpha * other, for a result whose dtype alpha has no part in."""
    other = operand(op, other)
    if isinstance(alpha, Tensor):
        return other * alpha
    dtype = result_type(input, other)
    if not dtype.is_complex and (
        isinstance(alpha, complex) or (isinstance(alpha, float) and not dtype.is_floating_point)
    ):
        raise DTypeError(
            message(op, f"alpha that {dtype} holds", alpha, "Cast a tensor with .to(dtype).")
        )
    return (other.to(dtype) * alpha).to(dtype)  # bools and an integer make integers


def add(input: Any, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """The sum: input + alpha * other, elementwise with broadcasting.

    Example:
      >>> add(tensor([1.0, 2.0]), 10)
      tensor([11., 12.])
    """
    if alpha != 1:
        other = _scaled("add", input, other, alpha)
    return _add(input, other, out)


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """The difference: input - alpha * other, elementwise with broadcasting."""
    if alpha != 1:
        other = _scaled("sub", input, other, alpha)
    return _sub(input, other, out)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """The difference the other way round: other - alpha * input."""
    return sub(operand("rsub", other), input, alpha=alpha)


def div(
    input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """The quotient: input / other, rounded towards zero ("trunc"), down ("floor") or not at all.

    Example:
      >>> div(tensor([7, -7]), 2, rounding_mode="floor")
      tensor([ 3, -4])
    """
    if rounding_mode is None:
        return _div(input, other, out)
    return (
        floor_divide(input, other, out)
        if rounding_mode == "floor"
        else trunc_divide(input, other, out)
    )


def _div_in_place(x: Tensor, y: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place div()."""
    if rounding_mode is None:
        return _plain_div_in_place(x, y)
    result = div(x, y, rounding_mode=rounding_mode)
    require_cast("div_", result.dtype, x.dtype)
    return x.copy_(result)


_plain_div_in_place = Tensor.div_  # type: ignore[attr-defined]
Tensor.div_ = _div_in_place  # type: ignore[method-assign]
for _function in (add, sub, div):
    setattr(Tensor, _function.__name__, _function)
true_divide = divide = div
subtract = sub
floor_divide = binary(
    "floor_divide",
    _STEP,
    "The largest integer not above x / y.",
    dunder="floordiv",
    oracle="numpy.floor_divide",
    samples={"low": 1, "high": 9, **_NUMBERS},
)
trunc_divide = binary(
    "trunc_divide",
    _STEP,
    "x / y without its fractional part.",
    method=False,
    samples={"low": 1, "high": 9, **_NUMBERS},
)
remainder = binary(
    "remainder",
    (1, chain(lambda t, x, y, _out: -t * floor_divide(x, y))),
    "What floor division leaves; it has the sign of y, as in Python.",
    dunder="mod",
    oracle="numpy.remainder",
    samples={
        "low": 1,
        "high": 9,
        **_NUMBERS,
        "special": "a zero result has the sign of x as in torch; NumPy gives it the sign of y",
    },
)
fmod = binary(
    "fmod",
    (1, chain(lambda t, x, y, _out: -t * trunc_divide(x, y))),
    "What truncated division leaves; it has the sign of x, as in C.",
    oracle="numpy.fmod",
    samples={"low": 1, "high": 9, **_NUMBERS},
)
pow = binary(  # torch's name
    "pow",
    (
        chain(
            lambda t, x, y, _out: _pow_rule(t, x, y, mul_conj),
            lambda t, x, y, _out: _pow_rule(t, x, y, times_slope),
        ),
        lambda x, y, out: _pow_by_exponent(x, y, out),
    ),
    "x to the power y.",
    dunder="pow",
    second="exponent",
    oracle="numpy.power",
    samples={"low": 0.2, "high": 3.0, "kinds": "float complex"},
)


def _pow_rule(t: Tensor, x: Tensor, y: Any, times: Any) -> Tensor:
    """A (co)tangent times y x^(y-1), or times 0 where y is 0, also at x = 0."""
    if not isinstance(y, Tensor) or (y._v and y.ndim == 0 and not y.requires_grad):
        exponent = y.item() if isinstance(y, Tensor) else y
        if exponent == 2 and not x.dtype.is_complex:
            return square_grad(t, x)
        if exponent == 1:
            return t
        return times(t, x * 0 if exponent == 0 else exponent * pow(x, exponent - 1))
    from .ternary import where

    return times(t, where(y == 0, 0, y * pow(x, y - 1)))


def _conjugate(x: Any) -> Any:
    if x.__class__ is Tensor and (x._v or x._concrete).dtype < lib.CB_C64:
        return x
    return x.conj() if isinstance(x, Tensor) and x.dtype.is_complex else x


def _positive_number(x: Any) -> float | None:
    """The value of a Python number that stands for an operand, if it is real and positive.

    What is computed from such numbers alone has the default dtype; as a Python number it is exact.
    """
    if isinstance(x, Tensor):
        if not x._v or not x._v.flags & 1:
            return None
        x = x.item()
    return float(x) if not isinstance(x, complex) and x > 0 else None


def _pow_by_exponent(x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """x^y log x, and 0 where x is 0 and y is not negative."""
    number = _positive_number(x)
    if number is not None:
        return out * math.log(number)
    from .ternary import where

    at_zero = x == 0 if y.dtype.is_complex else (x == 0) & (y >= 0)
    return where(at_zero, 0, out * log(where(at_zero, 1, x)))


def _div_rule(t: Tensor, y: Tensor, out: Tensor, reverse: bool) -> Tensor:
    """A (co)tangent through the divisor y."""
    if (out._v or out._concrete).dtype < lib.CB_C64:
        return div_grad(t, out, y)
    slope = -out / y
    return mul_conj(t, slope) if reverse else times_slope(t, slope)


# t where x wins against y, or is nan; on ties each side gets half, as in torch
_max_share = ternary(
    "max_share",
    (chain(lambda t, _t, x, y, _out: _max_share(t, x, y)), 0, 0),
    samples={"kinds": "float"},
)
_min_share = ternary(
    "min_share",
    (chain(lambda t, _t, x, y, _out: _min_share(t, x, y)), 0, 0),
    samples={"kinds": "float"},
)


def _share(op: Op, t: Tensor, x: Any, y: Any) -> Tensor:
    x = x if x.__class__ is Tensor else operand("maximum", x)
    return op(t, x, y if y.__class__ is Tensor else operand("maximum", y))


maximum = binary(
    "maximum",
    (
        chain(lambda t, x, y, _out: _share(_max_share, t, x, y)),
        chain(lambda t, x, y, _out: _share(_max_share, t, y, x)),
    ),
    "The larger of x and y; nan where either is. On ties the gradient is split evenly.",
    inplace=False,
    oracle="numpy.maximum",
    samples=_NUMBERS,
)
minimum = binary(
    "minimum",
    (
        chain(lambda t, x, y, _out: _share(_min_share, t, x, y)),
        chain(lambda t, x, y, _out: _share(_min_share, t, y, x)),
    ),
    "The smaller of x and y; nan where either is. On ties the gradient is split evenly.",
    inplace=False,
    oracle="numpy.minimum",
    samples=_NUMBERS,
)
fmax = binary(
    "fmax",
    (
        chain(lambda t, x, y, _out: _wins(t, (x >= y) | (y != y))),
        chain(lambda t, x, y, _out: _wins(t, ~((x >= y) | (y != y)))),
    ),
    "The larger of x and y; the other one where one is nan.",
    inplace=False,
    oracle="numpy.fmax",
    samples=_NUMBERS,
)
fmin = binary(
    "fmin",
    (
        chain(lambda t, x, y, _out: _wins(t, (x <= y) | (y != y))),
        chain(lambda t, x, y, _out: _wins(t, ~((x <= y) | (y != y)))),
    ),
    "The smaller of x and y; the other one where one is nan.",
    inplace=False,
    oracle="numpy.fmin",
    samples=_NUMBERS,
)


def _wins(t: Tensor, mask: Tensor) -> Tensor:
    from .ternary import where

    return where(mask, t, 0)


atan2 = binary(
    "atan2",
    (lambda x, y, _out: y / (x * x + y * y), lambda x, y, _out: -x / (x * x + y * y)),
    "The angle of the point (y, x), in radians: the arc tangent of x / y in the right quadrant.",
    oracle="numpy.arctan2",
    samples=_REAL,
)
arctan2 = atan2
hypot = binary(
    "hypot",
    (lambda x, _y, out: x / out, lambda _x, y, out: y / out),
    "sqrt(x^2 + y^2), without overflow.",
    oracle="numpy.hypot",
    samples=_REAL,
)
copysign = binary(
    "copysign",
    (chain(lambda t, x, y, _out: _copysign_rule(t, x, y)), chain(lambda t, _x, _y, _out: t * 0)),
    "The size of x with the sign of y.",
    oracle="numpy.copysign",
    samples=_REAL,
)
nextafter = binary(
    "nextafter",
    (1, chain(lambda t, _x, _y, _out: zeros_like(t))),
    "The next number after x towards y.",
    oracle="numpy.nextafter",
    samples=_REAL,
)
logaddexp = binary(
    "logaddexp",
    (lambda x, _y, out: _exp(x - out), lambda _x, y, out: _exp(y - out)),
    "log(exp(x) + exp(y)), without overflow.",
    inplace=False,
    oracle="numpy.logaddexp",
    samples={**_REAL, "missing": {"complex": "no complex kernel"}},
)
xlogy = binary(
    "xlogy",
    (lambda x, y, _out: _xlogy_by_x(x, y), lambda x, y, _out: x / y),
    "x * log(y), and 0 where x is 0.",
    oracle="scipy.special.xlogy",
    samples={"low": 0.2, "high": 3.0, **_REAL},
)


def _copysign_rule(t: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return t * (sign(x) * copysign(1.0, y))


def _exp(x: Tensor) -> Tensor:
    return exp(x)


def _xlogy_by_x(x: Tensor, y: Tensor) -> Any:
    number = _positive_number(y)
    if number is not None:
        return math.log(number)
    from .ternary import where

    return where((x == 0) & (y <= 0), 0, log(y))


# ---- comparison, logic, bits ----
eq = binary("eq", _BOOLEAN, "Is x equal to y?", inplace=False, oracle="numpy.equal", samples=_ANY)
ne = binary(
    "ne", _BOOLEAN, "Is x different from y?", inplace=False, oracle="numpy.not_equal", samples=_ANY
)
lt = binary(
    "lt", _BOOLEAN, "Is x less than y?", inplace=False, oracle="numpy.less", samples=_NUMBERS
)
le = binary(
    "le", _BOOLEAN, "Is x at most y?", inplace=False, oracle="numpy.less_equal", samples=_NUMBERS
)
gt = binary(
    "gt", _BOOLEAN, "Is x greater than y?", inplace=False, oracle="numpy.greater", samples=_NUMBERS
)
ge = binary(
    "ge",
    _BOOLEAN,
    "Is x at least y?",
    inplace=False,
    oracle="numpy.greater_equal",
    samples=_NUMBERS,
)
for _name, _op in (("lt", lt), ("le", le), ("gt", gt), ("ge", ge)):
    setattr(Tensor, f"__{_name}__", _op)


def _equality(op: Any) -> Any:
    def compare(x: Tensor, y: Any) -> Any:
        """Elementwise; NotImplemented for what cannot be compared, so that `x == None` is False."""
        return (
            op(x, y)
            if isinstance(y, (Tensor, bool, int, float, complex)) or hasattr(y, "__array__")
            else NotImplemented
        )

    return compare


Tensor.__eq__ = _equality(eq)
Tensor.__ne__ = _equality(ne)
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
_LOGIC = {"kinds": "bool int"}
logical_and = binary(
    "logical_and", _BOOLEAN, "Are both nonzero?", oracle="numpy.logical_and", samples=_LOGIC
)
logical_or = binary(
    "logical_or", _BOOLEAN, "Is either nonzero?", oracle="numpy.logical_or", samples=_LOGIC
)
logical_xor = binary(
    "logical_xor", _BOOLEAN, "Is exactly one nonzero?", oracle="numpy.logical_xor", samples=_LOGIC
)
bitwise_and = binary(
    "bitwise_and",
    _INTEGER,
    "The bits set in both.",
    dunder="and",
    oracle="numpy.bitwise_and",
    samples=_LOGIC,
)
bitwise_or = binary(
    "bitwise_or",
    _INTEGER,
    "The bits set in either.",
    dunder="or",
    oracle="numpy.bitwise_or",
    samples=_LOGIC,
)
bitwise_xor = binary(
    "bitwise_xor",
    _INTEGER,
    "The bits set in exactly one.",
    dunder="xor",
    oracle="numpy.bitwise_xor",
    samples=_LOGIC,
)
bitwise_left_shift = binary(
    "bitwise_left_shift",
    _INTEGER,
    "x shifted left by y bits.",
    dunder="lshift",
    oracle="numpy.left_shift",
    samples={"kinds": "int", "low": 0, "high": 5},
)
bitwise_right_shift = binary(
    "bitwise_right_shift",
    _INTEGER,
    "x shifted right by y bits, keeping the sign.",
    dunder="rshift",
    oracle="numpy.right_shift",
    samples={"kinds": "int", "low": 0, "high": 5},
)
gcd = binary(
    "gcd",
    _INTEGER,
    "The greatest common divisor.",
    oracle="numpy.gcd",
    samples={"kinds": "int", "low": 1, "high": 30},
)
lcm = binary(
    "lcm",
    _INTEGER,
    "The least common multiple.",
    oracle="numpy.lcm",
    samples={"kinds": "int", "low": 1, "high": 30},
)
