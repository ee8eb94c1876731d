"""Special functions: the gamma family, normal distribution, stable logarithms; tests of closeness.

Composites compute 16-bit floats in float32 and take integers as the default float, as the kernels
do. Each is written so that derivatives of every order stay finite where the function is smooth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from cbackend import lib

from ..dtypes import bool_, finfo, float32, float64, get_default_dtype
from ..errors import DTypeError, GradError, message
from ..op import Op, Spec
from ..pointwise import pointwise
from ..samples import call, sampled
from ..tensor import Tensor
from .binary import logaddexp, xlogy
from .complex import complex as make_complex
from .creation import arange, ones_like, zeros_like
from .family import (
    align,
    as_in_lanes,
    binary,
    chain,
    operand,
    result_type,
    sum_to,
    ternary,
    times_slope,
    unary,
)
from .sort import _searchsorted, _sort_values
from .ternary import where
from .unary import erfc, erfcinv, log, log1p, logsigmoid, sigmoid, sin

__all__ = [
    "allclose",
    "deg2rad",
    "digamma",
    "equal",
    "float_power",
    "heaviside",
    "isclose",
    "isin",
    "isreal",
    "ldexp",
    "lgamma",
    "logaddexp2",
    "logit",
    "mvlgamma",
    "nan_to_num",
    "polygamma",
    "rad2deg",
    "sinc",
    "softplus",
]

_FAMILY = "special"
_INF = float("inf")
_FEW = 8  # test elements that are compared one by one

# ---- gamma functions, zeta ----

lgamma = unary(
    "lgamma",
    lambda x, _out: digamma(x),
    "The logarithm of the absolute value of the gamma function.",
    oracle="scipy.special.gammaln",
    samples={"low": 0.2, "high": 6.0},
)
digamma = unary(
    "digamma",
    lambda x, _out: polygamma(1, x),
    "The derivative of lgamma; nan at negative integers, -inf at 0 and inf at -0.",
    oracle="scipy.special.psi",
    samples={"low": 0.2, "high": 6.0, "special": "the poles are torch's"},
)
_zeta_code = lib.cb_op_code(b"binary", b"zeta")


def _no_gradient_by_x() -> Any:
    raise GradError(
        message("zeta", "a gradient by q only", "one by x", "Detach x: it has no formula here.")
    )


def _zeta_vjp(
    ct: Tensor, _out: Tensor, x: Tensor, q: Tensor, *, needs: tuple[bool, ...]
) -> tuple[None, Tensor | None]:
    if needs[0]:
        _no_gradient_by_x()
    return None, sum_to(times_slope(ct, -x * zeta(x + 1, q)), Spec(q)) if needs[1] else None


def _zeta_jvp(tangents: Sequence[Tensor | None], out: Tensor, x: Tensor, q: Tensor) -> Tensor:
    if tangents[0] is not None:
        _no_gradient_by_x()
    assert tangents[1] is not None
    t = times_slope(tangents[1], -x * zeta(x + 1, q))
    return t.expand(out._shape).to(out.dtype)


_zeta = Op(
    "zeta",
    lambda x, q: lib.cb_binary(_zeta_code, x._v, q._v),
    vjp=_zeta_vjp,
    jvp=_zeta_jvp,
    batch=lambda _size, batched, x, q: _zeta(*align(batched, as_in_lanes(batched, (x, q)))),
    family=_FAMILY,
)


def _zeta_oracle(_np: Any, x: Any, q: Any) -> Any:
    from importlib import import_module

    return import_module("scipy.special").zeta(x, q)


sampled(
    _zeta,
    lambda make: [
        call(make.index(6, 3, 4) + 2, make(3, 4, low=0.2, high=5.0)),
        call(make.index(6, 3, 1) + 2, make(4, low=0.2, high=30.0)),
        call(make.index(6) + 2, make(2, low=0.2, high=1.0)),
        call(make.index(6, 2, 0) + 2, make(1, low=0.2, high=1.0)),
    ],
    oracle=_zeta_oracle,
)


def zeta(x: Any, q: Any) -> Tensor:
    """The Hurwitz zeta function: the sum of (q + k) ** -x over k from 0 on.

    inf at x = 1 and where q is 0 or a negative integer; nan for x < 1.

    Raises:
      GradError: asked for a gradient by x: there is one by q only.
    Reference: DLMF 25.11.
    Example:
      >>> zeta(2.0, tensor([1.0]))
      tensor([1.6449])
    """
    return _zeta(operand("zeta", x), operand("zeta", q))


def polygamma(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of digamma, by x.

    Example:
      >>> polygamma(1, tensor([1.0]))
      tensor([1.6449])
    """
    if not isinstance(n, int) or n < 0:
        raise ValueError(message("polygamma", "an order n of at least 0", n))
    if n == 0:
        return digamma(x)
    size = math.factorial(n) if n < 171 else _INF
    return float(size if n % 2 else -size) * zeta(n + 1, x)


def multigammaln(x: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p.

    Example:
      >>> multigammaln(tensor([2.0]), 2)
      tensor([0.4516])
    """
    if p < 1:
        raise ValueError(message("multigammaln", "a dimension p of at least 1", p))
    steps = arange(p, device=x.device, dtype=x.dtype if x.dtype.is_floating_point else None)
    constant = p * (p - 1) / 4 * math.log(math.pi)
    return lgamma(x.unsqueeze(-1) - steps / 2).sum(-1) + constant


mvlgamma = multigammaln


# ---- composites ----


_WITH_COMPLEX = ("sinc",)


def floating(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Takes numbers and integers, computes 16-bit floats in float32, and all in one sweep."""
    swept = pointwise(function)

    @wraps(function)
    def computed(*args: Any, **options: Any) -> Tensor:
        first = args[0]
        dtype = first.dtype if isinstance(first, Tensor) else None
        if (dtype is float32 or dtype is float64) and all(
            [isinstance(a, Tensor) and a.dtype is dtype for a in args]
        ):
            return swept(*args, **options)
        name = function.__name__
        tensors = [operand(name, a) for a in args]
        dtype = result_type(*tensors)
        if dtype.is_complex and name not in _WITH_COMPLEX:
            raise DTypeError(message(name, "real numbers", dtype, "It has no complex form."))
        if not dtype.is_inexact:
            dtype = get_default_dtype()
        wide = float32 if dtype.itemsize == 2 else dtype
        out = swept(*[t if t.dtype is wide else t.to(wide) for t in tensors], **options)
        return out if wide is dtype else out.to(dtype)

    return computed


def expit(x: Any) -> Tensor:
    """1 / (1 + exp(-x)): sigmoid()."""
    return sigmoid(x)


def logit(x: Any, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; x is clamped to [eps, 1 - eps] if eps is given.

    Example:
      >>> logit(tensor([0.5, 0.9]))
      tensor([0.0000, 2.1972])
    """
    return _logit(x, eps=eps)


@floating
def _logit(x: Tensor, eps: float | None) -> Tensor:
    if eps is not None:
        x = x.clamp(eps, 1 - eps)
    return log(x / (1 - x))


_logit.__name__ = "logit"


@floating
def sinc(x: Any) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0.

    Example:
      >>> sinc(tensor([0.0, 0.5]))
      tensor([1.0000, 0.6366])
    """
    return _sinc_of_angle(math.pi * x)


def _sinc_of_angle(p: Tensor) -> Tensor:
    near = p.abs() < 1
    square = where(near, p * p, 0)  # the series, so that derivatives of all orders hold at 0
    series: Any = 1 / math.factorial(21)
    for k in range(9, -1, -1):
        series = series * square + (-1) ** k / math.factorial(2 * k + 1)
    far = where(near, 1, p)
    return where(near, series, sin(far) / far)


sinc_of_angle = floating(_sinc_of_angle)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x where beta x is above the threshold.

    Example:
      >>> softplus(tensor([0.0, 100.0]))
      tensor([  0.6931, 100.0000])
    """
    return _softplus(x, beta=beta, threshold=threshold)


@floating
def _softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    scaled = x * beta
    return where(scaled > threshold, x, -logsigmoid(-scaled) / beta)


_softplus.__name__ = "softplus"


@floating
def xlog1py(x: Any, y: Any) -> Tensor:
    """x * log(1 + y), and 0 where x is 0 (nan where y is nan)."""
    zero = (x == 0) & (y == y)
    return where(zero & (y <= -1), x * 0, x * log1p(where(zero & (y <= -1), 0, y)))


@floating
def entr(x: Any) -> Tensor:
    """The entropy term -x log(x): 0 at 0, -inf below.

    Example:
      >>> entr(tensor([0.0, 0.5]))
      tensor([0.0000, 0.3466])
    """
    return where(x < 0, -_INF, xlogy(-x, where(x < 0, 1, x)))


@floating
def ndtr(x: Any) -> Tensor:
    """The distribution function of the standard normal distribution.

    Example:
      >>> ndtr(tensor([0.0, 1.0]))
      tensor([0.5000, 0.8413])
    """
    return 0.5 * erfc(x * -math.sqrt(0.5))


@floating
def log_ndtr(x: Any) -> Tensor:
    """log(ndtr(x)), without underflow.

    Notes: below -1 by erfcx, which keeps all digits where ndtr has none.
    """
    from .special_bessel import erfcx

    high = x > -1
    upper = log1p(-0.5 * erfc(where(high, x, 0) * math.sqrt(0.5)))
    below = where(high, -1, x)
    lower = log(0.5 * erfcx(below * -math.sqrt(0.5))) - 0.5 * below * below
    return where(high, upper, lower)


@floating
def ndtri(p: Any) -> Tensor:
    """The inverse of ndtr: the quantiles of the standard normal distribution.

    Example:
      >>> ndtri(tensor([0.5, 0.975]))
      tensor([0.0000, 1.9600])
    """
    return 0 - math.sqrt(2) * erfcinv(2 * p)


def rad2deg(x: Any) -> Tensor:
    """Degrees from radians."""
    return operand("rad2deg", x) * (180 / math.pi)


def deg2rad(x: Any) -> Tensor:
    """Radians from degrees."""
    return operand("deg2rad", x) * (math.pi / 180)


@floating
def logaddexp2(x: Any, y: Any) -> Tensor:
    """log2(2**x + 2**y), without overflow."""
    return logaddexp(x * math.log(2), y * math.log(2)) * (1 / math.log(2))


def nan_to_num(
    x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """nan and infinities replaced: by nan, posinf and neginf, or 0 and the largest finite numbers.

    Example:
      >>> nan_to_num(tensor([1.0, math.nan]), nan=9.0)
      tensor([1., 9.])
    """
    if x.dtype.is_complex:
        parts = [nan_to_num(part, nan, posinf, neginf) for part in (x.real, x.imag)]
        return make_complex(*parts)
    if not x.dtype.is_floating_point:
        return x.clone()
    limits = finfo(x.dtype)
    high = float(limits.max if posinf is None else posinf)
    low = float(limits.min if neginf is None else neginf)
    return _nan_to_num(x, high, low) if nan == 0 else _numbers(x, nan=nan, high=high, low=low)


_nan_to_num = ternary(
    "nan_to_num",
    (
        chain(lambda t, x, _y, _z, _out: _finite_grad(t, x)),
        chain(lambda t, x, _y, _z, _out: where(x == _INF, t, 0)),
        chain(lambda t, x, _y, _z, _out: where(x == -_INF, t, 0)),
    ),
    samples={"kinds": "float"},
)
# x where y is a finite number, else 0: a (co)tangent x through nan_to_num
_finite_grad = binary(
    "finite_grad",
    (
        chain(lambda t, _x, y, _out: _finite_grad(t, y)),
        chain(lambda t, _x, _y, _out: t * 0),
    ),
    "x where y is a finite number, else 0.",
    method=False,
    samples={"kinds": "float"},
)


@pointwise
def _numbers(x: Tensor, *, nan: float, high: float, low: float) -> Tensor:
    return where(x != x, nan, _nan_to_num(x, high, low))


def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, and `values` at 0.

    Raises:
      DTypeError: the dtypes differ.
    """
    if x.dtype is not values.dtype:
        raise DTypeError(message("heaviside", f"values of dtype {x.dtype}", values.dtype, "Cast."))
    x, values = x.detach(), values.detach()
    return where(x == 0, values, (x > 0).to(x.dtype))


def float_power(x: Any, exponent: Any) -> Tensor:
    """x to a power, in float64 (complex128 for complex operands)."""
    x, exponent = operand("float_power", x), operand("float_power", exponent)
    complex_ = x.dtype.is_complex or exponent.dtype.is_complex
    dtype = "complex128" if complex_ else float64
    return x.to(dtype) ** exponent.to(dtype)


def ldexp(x: Tensor, other: Tensor) -> Tensor:
    """x * 2**other.

    Example:
      >>> ldexp(tensor([1.5]), tensor([3]))
      tensor([12.])
    """
    power = operand("ldexp", other)
    if x.dtype.is_floating_point and not power.dtype.is_inexact:
        power = power.to(x.dtype)
    return x * 2.0**power


# ---- comparisons ----


def isreal(input: Tensor) -> Tensor:
    """Is the imaginary part 0?"""
    return input.imag == 0 if input.dtype.is_complex else ones_like(input, dtype=bool_)


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Is |input - other| at most atol + rtol * |other|, or are both equal?

    Example:
      >>> isclose(tensor([1.0, 2.0]), tensor([1.0, 2.1]))
      tensor([ True, False])
    """
    if input.dtype is not other.dtype:
        raise DTypeError(
            message("isclose", f"operands of dtype {input.dtype}", other.dtype, "Cast one.")
        )
    if rtol < 0 or atol < 0:
        raise ValueError(message("isclose", "tolerances of at least 0", f"{rtol} and {atol}"))
    input, other = input.detach(), other.detach()
    close = input == other
    if equal_nan and input.dtype.is_inexact:
        close = close | ((input != input) & (other != other))
    if not input.dtype.is_inexact and rtol == 0 and atol == 0:
        return close
    if not input.dtype.is_inexact:
        input, other = input.to(float64), other.to(float64)
    gap = (input - other).abs()
    return close | ((gap <= atol + (rtol * other).abs()) & gap.isfinite())


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Are all elements close? A Python bool; see isclose()."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Have both the same shape and elements? A Python bool."""
    return input._shape == other._shape and bool((input.detach() == other.detach()).all())


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Which elements occur among the test elements.

    Example:
      >>> isin(tensor([1, 2, 3]), tensor([2, 3]))
      tensor([False,  True,  True])
    """
    x, y = operand("isin", elements).detach(), operand("isin", test_elements).detach()
    if y.numel() <= _FEW:
        first, *others = y.reshape((-1,)).unbind() or (None,)
        found = zeros_like(x, dtype=bool_) if first is None else x == first
        for value in others:
            found = found | (x == value)
        return ~found if invert else found
    y = _sort_values(y.reshape((-1,)), dim=0, descending=False)
    ends = [_searchsorted(y, x, right=right) for right in (True, False)]
    found = (ends[0] > ends[1]) & (x == x)
    return ~found if invert else found


for _f in (
    logit, sinc, rad2deg, deg2rad, logaddexp2, nan_to_num, heaviside,
    float_power, ldexp, isreal, isclose, allclose, equal,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)


def _polygamma_method(x: Tensor, n: int) -> Tensor:
    """The n-th derivative of digamma."""
    return polygamma(n, x)


Tensor.mvlgamma = mvlgamma  # type: ignore[attr-defined]
Tensor.polygamma = _polygamma_method  # type: ignore[attr-defined]
