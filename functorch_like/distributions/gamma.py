"""Distributions around the exponential and the gamma distribution, on (0, inf) or the simplex."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import random
from ..ops.binary import xlogy
from ..ops.special import digamma, lgamma
from ..ops.ternary import where
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, parameters

__all__ = [
    "Beta", "Chi2", "Dirichlet", "Exponential", "FisherSnedecor", "Gamma", "InverseGamma",
    "Kumaraswamy", "Pareto", "StudentT", "Weibull",
]  # fmt: skip


def _gammainc(a: Tensor, x: Tensor) -> Tensor:
    from .. import special

    function = getattr(special, "gammainc", None)
    if function is None:
        raise NotImplementedError("Gamma.cdf: expected special.gammainc, got none in this build.")
    return function(a, x)


class Exponential(Distribution):
    """Exponential, of a rate."""

    arg_constraints: ClassVar[Any] = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: Any = None):
        (self.rate,) = parameters(rate)
        super().__init__(self.rate._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate * 0

    @property
    def stddev(self) -> Tensor:
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        return self.rate**-2

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return random.exponential(key, shape, self.rate.dtype) / self.rate

    def log_prob(self, value: Any) -> Tensor:
        return self.rate.log() - self.rate * self._value(value)

    def cdf(self, value: Any) -> Tensor:
        return -(-self.rate * self._value(value)).expm1()

    def icdf(self, value: Any) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


class Gamma(Distribution):
    """Gamma, of a shape (concentration) and a rate.

    Example:
      >>> distributions.Gamma(2.0, 1.0).mean
      tensor(2.)
    """

    arg_constraints: ClassVar[Any] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: Any = None):
        self.concentration, self.rate = parameters(concentration, rate)
        super().__init__(self.rate._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / (self.rate * self.rate)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        tiny = 1e-300 if self.rate.dtype.itemsize == 8 else 1e-38
        drawn = random.gamma(key, self.concentration, shape, self.rate.dtype) / self.rate
        return drawn if self.rate.dtype.itemsize < 4 else drawn.clamp(min=tiny)

    def log_prob(self, value: Any) -> Tensor:
        value, a = self._value(value), self.concentration
        return xlogy(a, self.rate) + xlogy(a - 1, value) - self.rate * value - lgamma(a)

    def cdf(self, value: Any) -> Tensor:
        return _gammainc(self.concentration, self.rate * self._value(value))

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + lgamma(a) + (1 - a) * digamma(a)


class Chi2(Gamma):
    """Chi-square with df degrees of freedom."""

    arg_constraints: ClassVar[Any] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: Any = None):
        (self.df,) = parameters(df)
        super().__init__(0.5 * self.df, 0.5, validate_args)


class InverseGamma(Distribution):
    """1 / a gamma value of this concentration and rate."""

    arg_constraints: ClassVar[Any] = Gamma.arg_constraints
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: Any = None):
        self.concentration, self.rate = parameters(concentration, rate)
        super().__init__(self.rate._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return where(a > 1, self.rate / where(a > 1, a - 1, 1.0), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        safe = where(a > 2, a, 3.0)
        return where(a > 2, self.rate**2 / ((safe - 1) ** 2 * (safe - 2)), math.inf)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.rate / random.gamma(key, self.concentration, shape, self.rate.dtype)

    def log_prob(self, value: Any) -> Tensor:
        value, a = self._value(value), self.concentration
        return a * self.rate.log() - lgamma(a) - (a + 1) * value.log() - self.rate / value

    def cdf(self, value: Any) -> Tensor:
        return 1 - _gammainc(self.concentration, self.rate / self._value(value))

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + lgamma(a) - (1 + a) * digamma(a)


class Dirichlet(Distribution):
    """Points of the simplex, with concentration [..., k]."""

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: Any = None):
        if concentration.ndim < 1:
            raise ValueError("Dirichlet: expected concentration [..., k], got a 0-d tensor.")
        self.concentration = concentration
        shape = concentration._shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        a = (self.concentration - 1).clamp(min=0)
        total = a.sum(-1, keepdim=True)
        first = (self.concentration == self.concentration.amax(-1, keepdim=True)).to(a.dtype)
        return where(total > 0, a / where(total > 0, total, 1.0), first)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        share = self.concentration / total
        return share * (1 - share) / (total + 1)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        dtype = self.concentration.dtype
        return random.loggamma(key, self.concentration, shape, dtype).softmax(-1)

    def log_prob(self, value: Any) -> Tensor:
        a = self.concentration
        return xlogy(a - 1, self._value(value)).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a, k = self.concentration, self.event_shape[0]
        total = a.sum(-1)
        return (
            lgamma(a).sum(-1)
            - lgamma(total)
            - (k - total) * digamma(total)
            - ((a - 1) * digamma(a)).sum(-1)
        )


class Beta(Distribution):
    """Beta, on [0, 1]."""

    arg_constraints: ClassVar[Any] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: Any = None):
        self.concentration1, self.concentration0 = parameters(concentration1, concentration0)
        super().__init__(self.concentration1._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        inside = (a > 1) & (b > 1)
        return where(inside, (a - 1) / where(inside, a + b - 2, 1.0), (a > b).to(a.dtype))

    @property
    def variance(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return a * b / ((a + b) ** 2 * (a + b + 1))

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return random.beta(key, a, b, shape, a.dtype)

    def log_prob(self, value: Any) -> Tensor:
        a, b, value = self.concentration1, self.concentration0, self._value(value)
        norm = lgamma(a) + lgamma(b) - lgamma(a + b)
        return xlogy(a - 1, value) + xlogy(b - 1, 1 - value) - norm

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        norm = lgamma(a) + lgamma(b) - lgamma(a + b)
        return norm - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b)


class StudentT(Distribution):
    """Student's t with df degrees of freedom, moved and scaled."""

    arg_constraints: ClassVar[Any] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: Any = None):
        self.df, self.loc, self.scale = parameters(df, loc, scale)
        super().__init__(self.df._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        n = self.df
        finite = self.scale**2 * n / where(n > 2, n - 2, 1.0)
        return where(n > 2, finite, where(n > 1, math.inf, math.nan))

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.t(key, self.df, shape, self.df.dtype)

    def log_prob(self, value: Any) -> Tensor:
        n = self.df
        y = (self._value(value) - self.loc) / self.scale
        norm = (
            self.scale.log()
            + 0.5 * n.log()
            + 0.5 * math.log(math.pi)
            + lgamma(0.5 * n)
            - lgamma(0.5 * (n + 1))
        )
        return -0.5 * (n + 1) * (y * y / n).log1p() - norm

    def entropy(self) -> Tensor:
        n = self.df
        log_beta = lgamma(0.5 * n) + math.lgamma(0.5) - lgamma(0.5 * (n + 1))
        slope = digamma(0.5 * (n + 1)) - digamma(0.5 * n)
        return self.scale.log() + 0.5 * (n + 1) * slope + 0.5 * n.log() + log_beta


class FisherSnedecor(Distribution):
    """F with df1 and df2 degrees of freedom: a ratio of two chi-square values over theirs."""

    arg_constraints: ClassVar[Any] = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: Any = None):
        self.df1, self.df2 = parameters(df1, df2)
        super().__init__(self.df1._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        d = self.df2
        return where(d > 2, d / where(d > 2, d - 2, 1.0), math.nan)

    @property
    def mode(self) -> Tensor:
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return where(self.df1 > 2, mode, math.nan)

    @property
    def variance(self) -> Tensor:
        a, b = self.df1, where(self.df2 > 4, self.df2, 5.0)
        finite = 2 * b**2 * (a + b - 2) / (a * (b - 2) ** 2 * (b - 4))
        return where(self.df2 > 4, finite, math.nan)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        one, two = random.split(key).unbind()
        dtype = self.df1.dtype
        top = random.chisquare(one, self.df1, shape, dtype) / self.df1
        return top / (random.chisquare(two, self.df2, shape, dtype) / self.df2)

    def log_prob(self, value: Any) -> Tensor:
        value, a, b = self._value(value), 0.5 * self.df1, 0.5 * self.df2
        ratio = self.df1 / self.df2
        norm = lgamma(a) + lgamma(b) - lgamma(a + b)
        return a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p() - norm


class Pareto(Distribution):
    """Pareto, from scale on, with exponent alpha."""

    arg_constraints: ClassVar[Any] = {
        "scale": constraints.positive,
        "alpha": constraints.positive,
    }
    has_rsample = True

    def __init__(self, scale: Any, alpha: Any, validate_args: Any = None):
        self.scale, self.alpha = parameters(scale, alpha)
        super().__init__(self.scale._shape, (), validate_args)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = self.alpha
        return where(a > 1, a * self.scale / where(a > 1, a - 1, 1.0), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = where(self.alpha > 2, self.alpha, 3.0)
        finite = self.scale**2 * a / ((a - 1) ** 2 * (a - 2))
        return where(self.alpha > 2, finite, math.inf)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.scale * random.pareto(key, self.alpha, shape, self.alpha.dtype)

    def log_prob(self, value: Any) -> Tensor:
        value, a = self._value(value), self.alpha
        return a.log() + a * self.scale.log() - (a + 1) * value.log()

    def cdf(self, value: Any) -> Tensor:
        return 1 - (self.scale / self._value(value)) ** self.alpha

    def icdf(self, value: Any) -> Tensor:
        return self.scale * (1 - value) ** (-1 / self.alpha)

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + 1 + 1 / self.alpha


class Weibull(Distribution):
    """Weibull, of a scale and a shape (concentration)."""

    arg_constraints: ClassVar[Any] = {
        "scale": constraints.positive,
        "concentration": constraints.positive,
    }
    support = constraints.positive
    has_rsample = True

    def __init__(self, scale: Any, concentration: Any, validate_args: Any = None):
        self.scale, self.concentration = parameters(scale, concentration)
        super().__init__(self.scale._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * lgamma(1 + 1 / self.concentration).exp()

    @property
    def mode(self) -> Tensor:
        c = self.concentration
        above = c > 1
        return where(above, self.scale * (where(above, (c - 1) / c, 1.0)) ** (1 / c), 0.0)

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return self.scale**2 * (lgamma(1 + 2 / c).exp() - (2 * lgamma(1 + 1 / c)).exp())

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        c = self.concentration
        return random.weibull(key, self.scale, c, shape, c.dtype)

    def log_prob(self, value: Any) -> Tensor:
        c = self.concentration
        z = self._value(value) / self.scale
        return (c / self.scale).log() + (c - 1) * z.log() - z**c

    def cdf(self, value: Any) -> Tensor:
        return -(-((self._value(value) / self.scale) ** self.concentration)).expm1()

    def icdf(self, value: Any) -> Tensor:
        return self.scale * (-(-value).log1p()) ** (1 / self.concentration)

    def entropy(self) -> Tensor:
        c = self.concentration
        return 0.5772156649015329 * (1 - 1 / c) + (self.scale / c).log() + 1


class Kumaraswamy(Distribution):
    """Kumaraswamy, on [0, 1], like a beta distribution with a closed distribution function."""

    arg_constraints: ClassVar[Any] = Beta.arg_constraints
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: Any = None):
        self.concentration1, self.concentration0 = parameters(concentration1, concentration0)
        super().__init__(self.concentration1._shape, (), validate_args)

    def _moment(self, n: int) -> Tensor:
        a, b = 1 + n / self.concentration1, self.concentration0
        return b * (lgamma(a) + lgamma(b) - lgamma(a + b)).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self._moment(1) ** 2

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.icdf(random.uniform(key, shape, self.concentration1.dtype))

    def log_prob(self, value: Any) -> Tensor:
        a, b, value = self.concentration1, self.concentration0, self._value(value)
        return a.log() + b.log() + xlogy(a - 1, value) + xlogy(b - 1, 1 - value**a)

    def cdf(self, value: Any) -> Tensor:
        return 1 - (1 - self._value(value) ** self.concentration1) ** self.concentration0

    def icdf(self, value: Any) -> Tensor:
        return (1 - (1 - value) ** (1 / self.concentration0)) ** (1 / self.concentration1)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = digamma(b + 1) + 0.5772156649015329
        return (1 - 1 / b) + (1 - 1 / a) * harmonic - a.log() - b.log()
