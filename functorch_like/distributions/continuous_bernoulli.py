"""The continuous Bernoulli distribution, on [0, 1]."""

from __future__ import annotations

import math
from typing import Any

from .. import random
from ..ops.special import softplus
from ..ops.ternary import where
from ..tensor import Tensor
from . import constraints
from .discrete import _Trials

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(_Trials):
    """A density on [0, 1] proportional to probs ** x * (1 - probs) ** (1 - x): a likelihood of
    pixels between black and white.

    Args:
      probs or logits: not the mean, which lies nearer to 1/2.
      lims: where probs counts as 1/2 and series are used, as the formulas divide by 0 there.
    Reference: Loaiza-Ganem & Cunningham 2019.
    Example:
      >>> distributions.ContinuousBernoulli(tensor(0.5)).log_prob(tensor(0.3))
      tensor(0.)
    """

    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: Any = None,
    ):
        self._take(probs, logits)
        self._lims = lims
        super().__init__(self._given._shape, (), validate_args)

    def _apart(self) -> tuple[Tensor, Tensor]:
        """Whether probs is far from 1/2, and probs there, the lower limit elsewhere."""
        eps = 1.2e-7 if self._given.dtype.itemsize < 8 else 2.2e-16
        p = self.probs.clamp(eps, 1 - eps)
        far = (p <= self._lims[0]) | (p > self._lims[1])
        return far, where(far, p, self._lims[0])

    def _log_norm(self) -> Tensor:
        """The logarithm of what the density is proportional by: 2 atanh(1 - 2p) / (1 - 2p)."""
        far, p = self._apart()
        exact = ((-p).log1p() - p.log()).abs().log() - (1 - 2 * p).abs().log()
        x = (self.probs - 0.5) ** 2
        return where(far, exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        far, p = self._apart()
        exact = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())
        x = self.probs - 0.5
        return where(far, exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x**2) * x)

    @property
    def variance(self) -> Tensor:
        far, p = self._apart()
        exact = p * (p - 1) / (1 - 2 * p) ** 2 + 1 / ((-p).log1p() - p.log()) ** 2
        x = (self.probs - 0.5) ** 2
        return where(far, exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.icdf(random.uniform(key, shape, self._given.dtype))

    def log_prob(self, value: Any) -> Tensor:
        logits = self.logits
        return self._value(value) * logits - softplus(logits) + self._log_norm()

    def cdf(self, value: Any) -> Tensor:
        far, p = self._apart()
        value = self._value(value)
        x = value.clamp(0, 1)
        powers = p**x * (1 - p) ** (1 - x)
        return where(far, (powers + p - 1) / (2 * p - 1), x)

    def icdf(self, value: Any) -> Tensor:
        far, p = self._apart()
        odds = p.log() - (-p).log1p()
        return where(far, ((-p + value * (2 * p - 1)).log1p() - (-p).log1p()) / odds, value)

    def entropy(self) -> Tensor:
        logits = self.logits
        return softplus(logits) - self._log_norm() - self.mean * logits
