"""Kullback-Leibler divergences: a registry of formulas by pairs of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import linalg
from ..errors import message
from ..ops.binary import xlogy
from ..ops.special import digamma, lgamma, softplus
from ..ops.ternary import where
from ..tensor import Tensor
from .compound import MultivariateNormal
from .discrete import Bernoulli, Binomial, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, Independent, sum_last
from .gamma import Beta, Dirichlet, Exponential, Gamma, Pareto
from .location_scale import Cauchy, Gumbel, HalfNormal, Laplace, Normal, Uniform
from .transforms import TransformedDistribution

__all__ = ["kl_divergence", "register_kl"]

_FORMULAS: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Any], Any]:
    """Registers a function of (p, q) for instances of two classes; used as a decorator."""

    def register(function: Any) -> Any:
        _FORMULAS[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), the mean under p of log p - log q, a number for each of the batch.

    Raises:
      NotImplementedError: no formula is registered for the two.
    Example:
      >>> d = distributions
      >>> d.kl_divergence(d.Normal(0.0, 1.0), d.Normal(1.0, 1.0))
      tensor(0.5000)
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            formula = _FORMULAS.get((a, b))
            if formula is not None:
                return formula(p, q)
    raise NotImplementedError(
        message(
            "kl_divergence",
            "two distributions with a registered formula",
            f"{type(p).__name__} and {type(q).__name__}",
            "Register one with register_kl.",
        )
    )


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    shift = ((p.loc - q.loc) / q.scale) ** 2
    return 0.5 * (ratio + shift - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio - 1 - ratio.log())


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    mixed = linalg.solve_triangular(q.scale_tril, p.scale_tril, upper=False)
    apart = linalg.solve_triangular(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False)
    squares = (mixed * mixed).sum((-2, -1)) + (apart * apart).sum((-2, -1))
    return q._log_scale() - p._log_scale() + 0.5 * (squares - p.event_shape[0])


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    a = p.probs
    return a * (p.logits - q.logits) - softplus(p.logits) + softplus(q.logits)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    each = p.probs * (p.logits - q.logits) - softplus(p.logits) + softplus(q.logits)
    return where(p.total_count > q.total_count, float("inf"), p.total_count * each)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = where((q.probs == 0) & (p.probs > 0), float("inf"), terms)
    return where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return xlogy(p.rate, p.rate) - xlogy(p.rate, q.rate) - (p.rate - q.rate)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * (p.rate / q.rate).log()
        + lgamma(b)
        - lgamma(a)
        + (a - b) * digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    t1 = lgamma(c) + lgamma(d) + lgamma(a + b)
    t2 = lgamma(a) + lgamma(b) + lgamma(c + d)
    mixed = (c + d - a - b) * digamma(a + b)
    return t1 - t2 + (a - c) * digamma(a) + (b - d) * digamma(b) + mixed


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norms = lgamma(total) - lgamma(b.sum(-1)) - (lgamma(a) - lgamma(b)).sum(-1)
    return norms + ((a - b) * (digamma(a) - digamma(total).unsqueeze(-1))).sum(-1)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * (-apart / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    top = (p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2
    return (top / (4 * p.scale * q.scale)).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    shift = (p.loc - q.loc) / q.scale
    euler = 0.5772156649015329
    tail = (-shift + lgamma(1 + ratio)).exp()
    return -ratio.log() + euler * (ratio - 1) + shift + tail - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    inside = (q.low <= p.low) & (q.high >= p.high)
    return where(inside, ((q.high - q.low) / (p.high - p.low)).log(), float("inf"))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    spread = (width**2 / 12 + (0.5 * (p.high + p.low) - q.loc) ** 2) / (2 * q.scale**2)
    return q.scale.log() + 0.9189385332046727 - width.log() + spread


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    ratio, b = q.rate / p.rate, q.concentration
    return -b * ratio.log() + ratio + lgamma(b) + b * 0.5772156649015329 - (1 + 0.5772156649015329)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = p.scale / q.scale
    alpha = q.alpha / p.alpha
    value = q.alpha * ratio.log() - alpha.log() + alpha - 1
    return where(p.scale < q.scale, float("inf"), value)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            message(
                "kl_divergence",
                "as many reinterpreted dims",
                f"{p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims}",
            )
        )
    return sum_last(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if [type(t) for t in p.transforms] != [type(t) for t in q.transforms]:
        raise NotImplementedError(
            message("kl_divergence", "equal transforms", f"{p.transforms} and {q.transforms}")
        )
    return kl_divergence(p.base_dist, q.base_dist)
