"""Divergences between distributions of two families: minus the entropy of p, minus the mean of q's
log-density under p, which takes a mean, a variance or the mean of a function under p.

Where p gives values that q does not have, the divergence is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..ops.binary import xlogy
from ..ops.creation import full_like
from ..ops.special import digamma, lgamma
from ..ops.ternary import where
from ..tensor import Tensor
from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Binomial, Poisson
from .gamma import Beta, Exponential, Gamma, Pareto
from .kl import register_kl
from .location_scale import Gumbel, Laplace, Normal, Uniform

_LINE = (Gumbel, Laplace, Normal)  # any number
_HALF = (Exponential, Gamma)  # numbers above 0
_UNIT = (Beta, ContinuousBernoulli)  # numbers from 0 to 1


def _mean_log(p: Any) -> Tensor:
    """The mean of log x under p."""
    if isinstance(p, Beta):
        return digamma(p.concentration1) - digamma(p.concentration1 + p.concentration0)
    if isinstance(p, Pareto):
        return p.scale.log() + 1 / p.alpha
    return _uniform_mean_log(p.low, p.high)


def _uniform_mean_log(low: Tensor, high: Tensor) -> Tensor:
    return (xlogy(high, high) - xlogy(low, low)) / (high - low) - 1


def _mean_power(p: Any, rate: Tensor) -> Tensor:
    """The mean of exp(-rate * x) under p."""
    if isinstance(p, Exponential):
        return p.rate / (p.rate + rate)
    if isinstance(p, Gamma):
        return (p.rate / (p.rate + rate)) ** p.concentration
    if isinstance(p, Normal):
        return (0.5 * (p.scale * rate) ** 2 - p.loc * rate).exp()
    return ((-p.low * rate).exp() - (-p.high * rate).exp()) / (rate * (p.high - p.low))


def _to_normal(p: Any, q: Normal) -> Tensor:
    spread = (p.variance + (p.mean - q.loc) ** 2) / (2 * q.scale**2)
    return spread - p.entropy() + (q.scale * math.sqrt(2 * math.pi)).log()


def _to_exponential(p: Any, q: Exponential) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


def _to_gamma(p: Any, q: Gamma) -> Tensor:
    a = q.concentration
    return lgamma(a) - a * q.rate.log() - (a - 1) * _mean_log(p) + q.rate * p.mean - p.entropy()


def _to_gumbel(p: Any, q: Gumbel) -> Tensor:
    power = (q.loc / q.scale).exp() * _mean_power(p, 1 / q.scale)
    return q.scale.log() + (p.mean - q.loc) / q.scale + power - p.entropy()


def _to_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    return -p.entropy() - p.mean * q.logits - (1 - q.probs).log() - q._log_norm()


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    shift = p.loc - q.loc
    share = shift / p.scale
    distance = p.scale * math.sqrt(2 / math.pi) * (-0.5 * share**2).exp()
    distance = distance + shift * (share / math.sqrt(2)).erf()
    return (2 * q.scale).log() + distance / q.scale - p.entropy()


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return q.rate - p.probs * q.rate.log() - p.entropy()


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    inside = (p.low >= 0) & (p.high <= 1)
    low, high = where(inside, p.low, 0.0), where(inside, p.high, 1.0)
    log_x, log_rest = _uniform_mean_log(low, high), _uniform_mean_log(1 - high, 1 - low)
    norm = lgamma(a) + lgamma(b) - lgamma(a + b)
    value = norm - (a - 1) * log_x - (b - 1) * log_rest - p.entropy()
    return where(inside, value, math.inf)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    inside = p.low >= q.scale
    low, high = where(inside, p.low, 0.0), where(inside, p.high, 1.0)
    alpha = q.alpha
    value = (alpha + 1) * _uniform_mean_log(low, high) - alpha.log() - alpha * q.scale.log()
    return where(inside, value - p.entropy(), math.inf)


@register_kl(Beta, Uniform)
@register_kl(ContinuousBernoulli, Uniform)
def _unit_uniform(p: Any, q: Uniform) -> Tensor:
    return where((q.low <= 0) & (q.high >= 1), (q.high - q.low).log() - p.entropy(), math.inf)


def _from_above_zero(formula: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The formula for uniform p, infinite where it reaches below 0."""

    def value(p: Uniform, q: Any) -> Tensor:
        inside = p.low >= 0
        low = where(inside, p.low, 0.0)
        return where(inside, formula(Uniform(low, where(inside, p.high, 1.0), False), q), math.inf)

    return value


def _within_unit(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    inside = (p.low >= 0) & (p.high <= 1)
    return where(inside, _to_continuous_bernoulli(p, q), math.inf)


def _infinite(p: Any, q: Any) -> Tensor:
    return full_like(p.mean + q.mean, math.inf)


for _p in (*_UNIT, *_HALF, Gumbel, Laplace, Pareto):
    register_kl(_p, Normal)(_to_normal)
for _p in (*_UNIT, Pareto):
    register_kl(_p, Exponential)(_to_exponential)
for _p in (Beta, Pareto):
    register_kl(_p, Gamma)(_to_gamma)
for _p in (*_HALF, Normal, Uniform):
    register_kl(_p, Gumbel)(_to_gumbel)
for _p in _UNIT:
    register_kl(_p, ContinuousBernoulli)(_to_continuous_bernoulli)
register_kl(Uniform, Exponential)(_from_above_zero(_to_exponential))
register_kl(Uniform, Gamma)(_from_above_zero(_to_gamma))
register_kl(Uniform, ContinuousBernoulli)(_within_unit)
for _p in _LINE:
    for _q in _HALF:
        register_kl(_p, _q)(_infinite)
for _p in (*_LINE, *_HALF):
    for _q in (*_UNIT, Pareto, Uniform):
        register_kl(_p, _q)(_infinite)
for _p, _q in [
    *[(p, Pareto) for p in _UNIT], *[(Pareto, q) for q in (*_UNIT, Uniform)],
    (Poisson, Bernoulli), (Poisson, Binomial),
]:  # fmt: skip
    register_kl(_p, _q)(_infinite)
