"""Incomplete gamma and beta functions, and what belongs to them.

P(a, x) has derivatives of all orders by both arguments: by x it is the gamma density; by a they are
moments of log t under that density, up to x, for which there is a kernel. betainc has them too,
with a sum in place of the kernel.
"""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import float64
from ..op import Op
from ..samples import call
from ..tensor import Tensor
from .binary import xlogy
from .creation import arange
from .family import operand, result_type
from .fill import in_place
from .special import digamma, floating, lgamma, polygamma
from .special_family import ordered, scipy_special
from .ternary import where
from .unary import exp, expm1, log, log1p

__all__ = [
    "betainc", "betaln", "gammainc", "gammaincc", "igamma", "igammac", "softplus_inverse",
]  # fmt: skip


# ---- incomplete gamma ----
def _density(a: Tensor, x: Tensor) -> Tensor:
    """x^(a-1) exp(-x) / Gamma(a)."""
    return exp(xlogy(a - 1, x) - x - lgamma(a))


def _moment_by_a(a: Tensor, x: Tensor, order: int) -> Tensor:
    above = _moment(a, x, order=order + 1)
    return above - order * polygamma(1, a) * _moment(a, x, order=order - 1) if order else above


def _moment_by_x(a: Tensor, x: Tensor, order: int) -> Tensor:
    return _density(a, x) * (log(x) - digamma(a)) ** order


def _moment_oracle(np: Any, a: Any, x: Any, order: int) -> Any:
    """The integral over v = log(x / t), by the trapezoidal rule in a variable that decays fast."""
    a, x = np.broadcast_arrays(a, x)
    u = np.linspace(-4.5, 4.5, 4001)
    v = np.exp(u - np.exp(-u))
    weights = v * (1 + np.exp(-u)) * (u[1] - u[0])
    a, x = a[..., None], x[..., None]
    density = np.exp(-a * v + a * np.log(x) - x * np.exp(-v) - scipy_special("gammaln")(a))
    return (density * (np.log(x) - v - scipy_special("psi")(a)) ** order * weights).sum(-1)


_moment = ordered(
    "gamma_moment",
    [_moment_by_a, _moment_by_x],
    lambda make: [
        call(make(3, 4, low=1.0, high=5.0), make(3, 4, low=0.5, high=5.0), order=1),
        call(make(4, low=1.0, high=5.0), make(3, 1, low=0.5, high=5.0), order=2),
        call(make(low=2.0, high=5.0), make(2, low=0.5, high=5.0), order=0),
        call(make(0), make(1), order=1),
    ],
    oracle=_moment_oracle,
)


def _gamma_samples(make: Any) -> list[Any]:
    return [
        call(make(3, 4, low=0.5, high=5.0), make(3, 4, low=0.2, high=6.0)),
        call(make(4, low=18.0, high=30.0), make(3, 1, low=15.0, high=33.0)),
        call(make(low=0.5, high=5.0), make(2, low=0.2, high=6.0)),
        call(make(0), make(1)),
    ]


_igamma = ordered(
    "igamma",
    [lambda a, x: _moment(a, x, order=1), _density],
    _gamma_samples,
    oracle=lambda _np, a, x: scipy_special("gammainc")(a, x),
    orders=0,
)
_igammac = ordered(
    "igammac",
    [lambda a, x: -_moment(a, x, order=1), lambda a, x: -_density(a, x)],
    _gamma_samples,
    oracle=lambda _np, a, x: scipy_special("gammaincc")(a, x),
    orders=0,
)


def igamma(input: Any, other: Any) -> Tensor:
    """The regularised lower incomplete gamma function P(a, x), a = input and x = other.

    The integral of t^(a-1) exp(-t) over (0, x), divided by Gamma(a). nan for negative arguments.

    Notes: differentiable any number of times, by a too.
    Reference: DLMF 8.2.4.
    Example:
      >>> igamma(tensor([1.0, 2.0]), tensor([1.0, 1.0]))
      tensor([0.6321, 0.2642])
    """
    return _igamma(operand("igamma", input), operand("igamma", other))


def igammac(input: Any, other: Any) -> Tensor:
    """The regularised upper incomplete gamma function Q(a, x), a = input and x = other.

    It is 1 - P(a, x) without cancellation.

    Notes: differentiable any number of times, by a too.
    Reference: DLMF 8.2.4.
    Example:
      >>> igammac(tensor([1.0, 2.0]), tensor([1.0, 1.0]))
      tensor([0.3679, 0.7358])
    """
    return _igammac(operand("igammac", input), operand("igammac", other))


gammainc, gammaincc = igamma, igammac


# ---- beta ----
def _stirling(x: Tensor) -> Tensor:
    """lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2 for x >= 10, DLMF 5.11.1."""
    u = 1 / (x * x)
    total = u * (-691 / 360360) + 1 / 1188
    for c in (-1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        total = total * u + c
    return total / x


@floating
def betaln(a: Any, b: Any) -> Tensor:
    """The logarithm of the beta function, Gamma(a) Gamma(b) / Gamma(a + b), for positive a and b.

    Example:
      >>> betaln(tensor([1.0, 2.0]), 3.0)
      tensor([-1.0986, -2.4849])
    """
    low, high = where(a < b, a, b), where(a < b, b, a)
    plain = lgamma(low) + (lgamma(high) - lgamma(low + high))
    # with a large argument the differences of lgamma are taken in closed form
    large, both = high >= 10, low >= 10
    y = where(large, high, 10)
    x = where(large & ~both, low, 1)
    one = lgamma(x) + _stirling(y) - _stirling(x + y) - (y - 0.5) * log1p(x / y)
    one = one - x * log(x + y) + x
    x = where(both, low, 10)
    two = _stirling(x) + _stirling(y) - _stirling(x + y) + 0.5 * math.log(2 * math.pi)
    two = two - x * log1p(y / x) - y * log1p(x / y) + 0.5 * log((1 / x) + 1 / y)
    return where(both, two, where(large, one, plain))


def _beta_density(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    return exp(xlogy(a - 1, x) + (b - 1) * log1p(-x) - betaln(a, b))


def _beta_moment(a: Tensor, b: Tensor, x: Tensor, by_a: bool) -> Tensor:
    """The derivative of betainc by a or b: a moment of log t or log(1 - t) under the beta density.

    The integral over (0, x), or over (x, 1) where that is the tail, with t = x exp(-v): by the
    trapezoidal rule in u, where v = scale exp(u - exp(-u)), which decays doubly exponentially.
    Composed of public functions, so that it has derivatives of its own.
    Reference: Takahasi & Mori 1974.
    """
    dtype = result_type(a, b, x)
    a, b, x = (t.to(float64).unsqueeze(-1) for t in (a, b, x))
    swapped = x * (a + b) > a
    edge = (x <= 0) | (x >= 1)
    low, high = where(swapped, b, a), where(swapped, a, b)
    end = where(edge, 0.5, where(swapped, 1 - x, x))
    slope = (low - (high - 1) * end / (1 - end)).abs()
    scale = (1 / (slope + ((high - 1).abs() * end).sqrt() / (1 - end))).detach()
    u = arange(176, dtype=float64, device=x.device) * 0.125 - 4.25
    v = scale * exp(u - exp(-u))
    rest = log1p(-end * exp(-v))  # log(1 - t)
    density = exp(low * (log(end) - v) + (high - 1) * rest - betaln(low, high))
    logs = where(swapped, rest, log(end) - v) if by_a else where(swapped, log(end) - v, rest)
    mean = digamma(a if by_a else b) - digamma(a + b)
    integral = ((logs - mean) * density * v * (0.125 * (1 + exp(-u)))).sum(-1)
    sign = where(edge, 0.0, where(swapped, -1.0, 1.0)).squeeze(-1)
    return (integral * sign).to(dtype)


_betainc: Op = ordered(
    "betainc",
    [
        lambda a, b, x: _beta_moment(a, b, x, True),
        lambda a, b, x: _beta_moment(a, b, x, False),
        _beta_density,
    ],
    lambda make: [
        call(*(make(3, 4, low=0.5, high=5.0) for _ in "ab"), make(3, 4, low=0.1, high=0.9)),
        call(
            make(4, low=5.0, high=30.0), make(3, 1, low=5.0, high=30.0), make(4, low=0.2, high=0.8)
        ),
        call(make(low=0.5, high=5.0), make(low=0.5, high=5.0), make(2, low=0.1, high=0.9)),
        call(make(low=0.5, high=5.0), make(low=0.5, high=5.0), make(0)),
    ],
    oracle=lambda _np, a, b, x: scipy_special("betainc")(a, b, x),
    orders=0,
)


def betainc(a: Any, b: Any, x: Any) -> Tensor:
    """The regularised incomplete beta function: the distribution function of Beta(a, b) at x.

    nan outside of a >= 0, b >= 0 and 0 <= x <= 1.

    Notes: differentiable any number of times; by a and b through a sum over 176 nodes an element.
    Reference: DLMF 8.17.2.
    Example:
      >>> betainc(2.0, 3.0, tensor([0.0, 0.5, 1.0]))
      tensor([0.0000, 0.6875, 1.0000])
    """
    return _betainc(operand("betainc", a), operand("betainc", b), operand("betainc", x))


@floating
def softplus_inverse(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """What softplus() maps to x: log(exp(beta x) - 1) / beta, for positive x.

    Example:
      >>> softplus_inverse(tensor([0.6931, 100.0])).round(decimals=2)
      tensor([ -0., 100.])
    """
    linear = x * beta > threshold
    return where(linear, x, x + log(-expm1(-beta * where(linear, 1, x))) / beta)


for _f in (igamma, igammac):
    setattr(Tensor, _f.__name__, _f)
    setattr(Tensor, _f.__name__ + "_", in_place(_f))
