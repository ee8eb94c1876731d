"""Distributions of a location and a scale: all are reparameterised by a fixed noise."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import random
from ..ops.ternary import where
from ..special import log_ndtr, ndtr, ndtri
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, parameters

__all__ = [
    "Cauchy", "Gumbel", "HalfCauchy", "HalfNormal", "Laplace", "LogNormal", "Logistic", "Normal",
    "Uniform",
]  # fmt: skip

_EULER = 0.5772156649015329
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class _LocationScale(Distribution):
    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: Any = None):
        self.loc, self.scale = parameters(loc, scale)
        super().__init__(self.loc._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _standard(self, value: Any) -> Tensor:
        return (self._value(value) - self.loc) / self.scale


class Normal(_LocationScale):
    """Normal, with mean loc and standard deviation scale.

    Example:
      >>> distributions.Normal(0.0, 1.0).log_prob(tensor(0.0))
      tensor(-0.9189)
    """

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.normal(key, shape, self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -0.5 * z * z - self.scale.log() - _HALF_LOG_2PI

    def cdf(self, value: Any) -> Tensor:
        return ndtr(self._standard(value))

    def log_cdf(self, value: Any) -> Tensor:
        """The logarithm of cdf(), exact in the lower tail."""
        return log_ndtr(self._standard(value))

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * ndtri(value)

    def entropy(self) -> Tensor:
        return 0.5 + _HALF_LOG_2PI + self.scale.log()


class LogNormal(Normal):
    """exp of a normal value."""

    support = constraints.positive

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return super()._draw(key, shape).exp()

    def _standard(self, value: Any) -> Tensor:
        return (self._value(value).log() - self.loc) / self.scale

    def log_prob(self, value: Any) -> Tensor:
        return super().log_prob(value) - self._value(value).log()

    def icdf(self, value: Any) -> Tensor:
        return super().icdf(value).exp()

    def entropy(self) -> Tensor:
        return super().entropy() + self.loc

    @property
    def mean(self) -> Tensor:
        return (self.loc + 0.5 * self.scale * self.scale).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale * self.scale).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale * self.scale
        return square.expm1() * (2 * self.loc + square).exp()

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()


class Laplace(_LocationScale):
    """Laplace: density exp(-|x - loc| / scale) / (2 scale)."""

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale * self.scale

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.laplace(key, shape, self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        return -(2 * self.scale).log() - self._standard(value).abs()

    def cdf(self, value: Any) -> Tensor:
        z = self._standard(value)
        return 0.5 - 0.5 * z.sign() * (-z.abs()).expm1()

    def icdf(self, value: Any) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Cauchy(_LocationScale):
    """Cauchy, with median loc and half width at half maximum scale; it has no mean."""

    @property
    def mean(self) -> Tensor:
        return self.loc * math.nan

    @property
    def variance(self) -> Tensor:
        return self.scale * math.inf

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.cauchy(key, shape, self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -math.log(math.pi) - self.scale.log() - (z * z).log1p()

    def cdf(self, value: Any) -> Tensor:
        return self._standard(value).atan() / math.pi + 0.5

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * (math.pi * (value - 0.5)).tan()

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class Logistic(_LocationScale):
    """Logistic: its distribution function is a sigmoid."""

    @property
    def variance(self) -> Tensor:
        return (math.pi**2 / 3) * self.scale * self.scale

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.logistic(key, shape, self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value).abs()
        return -z - self.scale.log() - 2 * (-z).exp().log1p()

    def cdf(self, value: Any) -> Tensor:
        return self._standard(value).sigmoid()

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * value.logit()

    def entropy(self) -> Tensor:
        return self.scale.log() + 2


class Gumbel(_LocationScale):
    """Gumbel, of the largest of many values."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * _EULER

    @property
    def variance(self) -> Tensor:
        return (math.pi**2 / 6) * self.scale * self.scale

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.loc + self.scale * random.gumbel(key, shape, self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -z - (-z).exp() - self.scale.log()

    def cdf(self, value: Any) -> Tensor:
        return (-(-self._standard(value)).exp()).exp()

    def icdf(self, value: Any) -> Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + 1 + _EULER


class _Half(Distribution):
    """The absolute value of a distribution around 0."""

    arg_constraints: ClassVar[Any] = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _base: type[_LocationScale]

    def __init__(self, scale: Any, validate_args: Any = None):
        (self.scale,) = parameters(scale)
        super().__init__(self.scale._shape, (), validate_args)

    @property
    def _whole(self) -> _LocationScale:
        return self._base(0.0, self.scale, validate_args=False)

    @property
    def mode(self) -> Tensor:
        return self.scale * 0

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._whole._draw(key, shape).abs()

    def log_prob(self, value: Any) -> Tensor:
        value = self._value(value)
        inside = self._whole.log_prob(value) + math.log(2)
        return where(value >= 0, inside, -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return 2 * self._whole.cdf(self._value(value)) - 1

    def icdf(self, value: Any) -> Tensor:
        return self._whole.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self._whole.entropy() - math.log(2)


class HalfNormal(_Half):
    """The absolute value of a normal value around 0."""

    _base = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """The absolute value of a Cauchy value around 0; its mean is infinite."""

    _base = Cauchy

    @property
    def mean(self) -> Tensor:
        return self.scale * math.inf

    @property
    def variance(self) -> Tensor:
        return self.scale * math.inf


class Uniform(Distribution):
    """Uniform on [low, high)."""

    arg_constraints: ClassVar[Any] = {"low": constraints.real, "high": constraints.real}
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: Any = None):
        self.low, self.high = parameters(low, high)
        super().__init__(self.low._shape, (), validate_args)
        if self._validates:
            above = constraints.Constraint("above low", lambda x: x > self.low.detach())
            self._require("high to be", above, self.high)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def mode(self) -> Tensor:
        return self.low * math.nan

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        u = random.uniform(key, shape, self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Any) -> Tensor:
        value = self._value(value)
        inside = (value >= self.low) & (value < self.high)
        return where(inside, -(self.high - self.low).log(), -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return ((self._value(value) - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Any) -> Tensor:
        return self.low + value * (self.high - self.low)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()
