"""Continuous relatives of discrete distributions: samples with gradients, near one-hot ones at low
temperatures; and normal vectors on the simplex.

Reference: Maddison, Mnih & Teh 2017; Jang, Gu & Poole 2017.
"""

from __future__ import annotations

import math
from typing import Any

from .. import random
from ..ops.creation import as_tensor
from ..ops.reduce import logsumexp
from ..ops.special import softplus
from ..tensor import Tensor
from . import constraints
from .discrete import Categorical, _Trials
from .distribution import Distribution
from .location_scale import Normal
from .transforms import (
    ExpTransform,
    SigmoidTransform,
    StickBreakingTransform,
    TransformedDistribution,
)

__all__ = [
    "ExpRelaxedCategorical", "LogisticNormal", "LogitRelaxedBernoulli", "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
]  # fmt: skip


class LogitRelaxedBernoulli(_Trials):
    """The log-odds of a RelaxedBernoulli value."""

    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: Any = None
    ):
        (self.temperature,) = self._take(probs, logits, temperature)
        super().__init__(self._given._shape, (), validate_args)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        noise = random.logistic(key, shape, self._given.dtype)
        return (self.logits + noise) / self.temperature

    def log_prob(self, value: Any) -> Tensor:
        apart = self.logits - self._value(value) * self.temperature
        return self.temperature.log() + apart - 2 * softplus(apart)


class RelaxedBernoulli(TransformedDistribution):
    """Between 0 and 1: a Bernoulli value, softened.

    Args:
      temperature: near 0, values are near 0 or 1.
    Example:
      >>> d = distributions.RelaxedBernoulli(0.5, probs=tensor([0.2, 0.9]))
      >>> d.log_prob(tensor([0.3, 0.3])).exp()
      tensor([0.4761, 0.1505])
    """

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: Any = None
    ):
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args)

    temperature = property(lambda self: self.base_dist.temperature, doc="The temperature.")
    probs = property(lambda self: self.base_dist.probs, doc="The probability of 1.")
    logits = property(lambda self: self.base_dist.logits, doc="The log-odds of 1.")


class ExpRelaxedCategorical(Distribution):
    """The logarithms of a RelaxedOneHotCategorical value."""

    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: Any = None
    ):
        self._categorical = Categorical(probs, logits, validate_args)
        self.temperature = as_tensor(temperature).to(self.logits.dtype)
        shape = self.logits._shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    probs = property(lambda self: self._categorical.probs, doc="The probabilities.")
    logits = property(lambda self: self._categorical.logits, doc="Their logarithms.")

    def expand(self, batch_shape: Any) -> ExpRelaxedCategorical:
        logits = self.logits.expand((*batch_shape, *self.event_shape))
        return ExpRelaxedCategorical(self.temperature, logits=logits)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        scores = (self.logits + random.gumbel(key, shape, self.logits.dtype)) / self.temperature
        return scores - logsumexp(scores, -1, keepdim=True)

    def log_prob(self, value: Any) -> Tensor:
        n = self.event_shape[0]
        score = self.logits - self._value(value) * self.temperature
        score = (score - logsumexp(score, -1, keepdim=True)).sum(-1)
        return score + (n - 1) * self.temperature.log() + math.lgamma(n)


class RelaxedOneHotCategorical(TransformedDistribution):
    """A point of the simplex: a one-hot vector, softened.

    Args:
      temperature []: near 0, values are near one-hot vectors.
      probs or logits [..., k].
    """

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: Any = None
    ):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)

    support = constraints.simplex  # type: ignore[assignment]
    temperature = property(lambda self: self.base_dist.temperature, doc="The temperature.")
    probs = property(lambda self: self.base_dist.probs, doc="The probabilities.")
    logits = property(lambda self: self.base_dist.logits, doc="Their logarithms.")


class LogisticNormal(TransformedDistribution):
    """A point of the simplex with k + 1 coordinates, from a normal vector of k by breaking a stick.

    Args:
      loc, scale [..., k].
    """

    def __init__(self, loc: Any, scale: Any, validate_args: Any = None):
        base = Normal(loc, scale, validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args)
