"""Distributions made of others, and those of vectors and angles."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import linalg, random
from ..errors import ShapeError, message
from ..ops.family import operand
from ..ops.gather import take_along_dim
from ..ops.reduce import logsumexp
from ..ops.special_bessel import i0e, i1e
from ..ops.views import broadcast_shapes
from ..tensor import Tensor
from . import constraints
from .discrete import Categorical
from .distribution import Distribution, parameters

__all__ = ["MixtureSameFamily", "MultivariateNormal", "VonMises"]


class MixtureSameFamily(Distribution):
    """A component chosen by a Categorical, from the last batch dim of a distribution."""

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: Any = None,
    ):
        shape = component_distribution.batch_shape
        if not shape or shape[-1] != mixture_distribution._k:
            raise ShapeError(
                message(
                    "MixtureSameFamily",
                    f"components in a last batch dim of size {mixture_distribution._k}",
                    list(shape),
                )
            )
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
        super().__init__(shape[:-1], component_distribution.event_shape, validate_args)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return None  # the components' own checks see their values

    def _weights(self) -> Tensor:
        probs = self.mixture_distribution.probs
        return probs.reshape((*probs._shape, *[1] * len(self.event_shape)))

    @property
    def _component_dim(self) -> int:
        return -1 - len(self.event_shape)

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self.component_distribution.mean).sum(self._component_dim)

    @property
    def variance(self) -> Tensor:
        parts, weights, d = self.component_distribution, self._weights(), self._component_dim
        within = (weights * parts.variance).sum(d)
        apart = parts.mean - self.mean.unsqueeze(d)
        return within + (weights * apart * apart).sum(d)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        one, two = random.split(key).unbind()
        n, k = len(self.event_shape), self.mixture_distribution._k
        lead = shape[: len(shape) - n]
        chosen = self.mixture_distribution._draw(one, lead)
        values = self.component_distribution._draw(two, (*lead, k, *self.event_shape))
        chosen = chosen.reshape((*lead, 1, *[1] * n)).expand((*lead, 1, *self.event_shape))
        return take_along_dim(values, chosen, self._component_dim).squeeze(self._component_dim)

    def log_prob(self, value: Any) -> Tensor:
        value = operand("log_prob", value).unsqueeze(self._component_dim)
        each = self.component_distribution.log_prob(value)
        return logsumexp(each + self.mixture_distribution.logits, -1)

    def cdf(self, value: Any) -> Tensor:
        each = self.component_distribution.cdf(operand("cdf", value).unsqueeze(-1))
        return (each * self.mixture_distribution.probs).sum(-1)

    def expand(self, batch_shape: Any) -> MixtureSameFamily:
        k = self.mixture_distribution._k
        return MixtureSameFamily(
            self.mixture_distribution.expand(batch_shape),
            self.component_distribution.expand((*batch_shape, k)),
        )


class MultivariateNormal(Distribution):
    """Normal vectors, with one of a covariance, a precision, or a lower Cholesky factor.

    Args:
      loc [..., n]; the matrix [..., n, n].
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: Any = None,
    ):
        given = [covariance_matrix, precision_matrix, scale_tril]
        if sum(m is not None for m in given) != 1:
            raise ValueError(
                message(
                    "MultivariateNormal",
                    "one of covariance_matrix, precision_matrix and scale_tril",
                    f"{sum(m is not None for m in given)}",
                )
            )
        if scale_tril is None and covariance_matrix is not None:
            scale_tril = linalg.cholesky(covariance_matrix)
        elif scale_tril is None:
            # the inverse of a matrix from the Cholesky factor of its mirror image
            factor = linalg.cholesky(precision_matrix.flip(-2, -1))  # type: ignore[union-attr]
            upper = factor.flip(-2, -1).mT
            eye = (upper * 0 + 1).tril().triu()
            scale_tril = linalg.solve_triangular(upper, eye, upper=False)
        assert scale_tril is not None
        n = loc._shape[-1]
        lead = broadcast_shapes(loc._shape[:-1], scale_tril._shape[:-2])
        self.loc = loc.expand((*lead, n))
        self.scale_tril = scale_tril.expand((*lead, n, n))
        super().__init__(lead, (n,), validate_args)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance [..., n, n]."""
        return self.scale_tril @ self.scale_tril.mT

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return linalg.inv(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self.scale_tril * self.scale_tril).sum(-1)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        noise = random.normal(key, shape, self.loc.dtype)
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def _log_scale(self) -> Tensor:
        return self.scale_tril.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        apart = (self._value(value) - self.loc).unsqueeze(-1)
        lead = broadcast_shapes(apart._shape[:-2], self.scale_tril._shape[:-2])
        n = self.event_shape[0]
        z = linalg.solve_triangular(
            self.scale_tril.expand((*lead, n, n)), apart.expand((*lead, n, 1)), upper=False
        ).squeeze(-1)
        return -0.5 * ((z * z).sum(-1) + n * math.log(2 * math.pi)) - self._log_scale()

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi)) + self._log_scale()


class VonMises(Distribution):
    """Angles around loc, in radians; concentration is like 1 / variance."""

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real,
        "concentration": constraints.positive,
    }
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: Any = None):
        self.loc, self.concentration = parameters(loc, concentration)
        super().__init__(self.loc._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 - I1 / I0."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        k = self.concentration
        turned = self.loc + random.von_mises(key, k.detach(), shape, k.dtype)
        return (turned + math.pi) % (2 * math.pi) - math.pi

    def log_prob(self, value: Any) -> Tensor:
        k, apart = self.concentration, self._value(value) - self.loc
        return k * (apart.cos() - 1) - math.log(2 * math.pi) - i0e(k).log()
