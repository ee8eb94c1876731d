"""Normal vectors whose covariance is a diagonal plus a product of few columns."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import linalg, random
from ..errors import ShapeError, message
from ..ops.creation import eye
from ..ops.views import broadcast_shapes
from ..tensor import Tensor
from . import constraints
from .compound import MultivariateNormal
from .distribution import Distribution

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(MultivariateNormal):
    """Normal vectors with covariance W W^T + diag(d), without a matrix of n by n.

    Args:
      loc [..., n]; cov_factor W [..., n, k]; cov_diag d [..., n], above 0.
    Notes: Densities need a decomposition of k by k, by Woodbury's identity.
    Example:
      >>> d = distributions
      >>> d.LowRankMultivariateNormal(zeros(2), tensor([[1.0], [0.0]]), ones(2)).variance
      tensor([2., 1.])
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector,
        "cov_diag": constraints.positive,
    }

    def __init__(
        self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: Any = None
    ):
        n = loc._shape[-1]
        if cov_factor.ndim < 2 or cov_factor._shape[-2] != n or cov_diag._shape[-1:] != (n,):
            got = f"{list(cov_factor._shape)} and {list(cov_diag._shape)}"
            wanted = f"cov_factor [..., {n}, k] and cov_diag [..., {n}]"
            raise ShapeError(message("LowRankMultivariateNormal", wanted, got))
        lead = broadcast_shapes(loc._shape[:-1], cov_factor._shape[:-2], cov_diag._shape[:-1])
        self.loc = loc.expand((*lead, n))
        self.cov_factor = cov_factor.expand((*lead, n, cov_factor._shape[-1]))
        self.cov_diag = cov_diag.expand((*lead, n))
        Distribution.__init__(self, lead, (n,), validate_args)

    @property
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @property
    def scale_tril(self) -> Tensor:  # type: ignore[override]
        """The lower Cholesky factor of the covariance."""
        return linalg.cholesky(self.covariance_matrix)

    @property
    def variance(self) -> Tensor:
        return (self.cov_factor * self.cov_factor).sum(-1) + self.cov_diag

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        one, two = random.split(key).unbind()
        few = random.normal(one, (*shape[:-1], self.cov_factor._shape[-1]), self.loc.dtype)
        noise = random.normal(two, shape, self.loc.dtype)
        spread = (self.cov_factor @ few.unsqueeze(-1)).squeeze(-1)
        return self.loc + spread + self.cov_diag.sqrt() * noise

    def _inner(self) -> Tensor:
        """The Cholesky factor of 1 + W^T diag(d)^-1 W."""
        w = self.cov_factor
        scaled = w.mT @ (w / self.cov_diag.unsqueeze(-1))
        unit = eye(w._shape[-1], dtype=w.dtype, device=w.device)
        return linalg.cholesky(unit + scaled)

    def _log_scale(self, inner: Tensor | None = None) -> Tensor:
        inner = self._inner() if inner is None else inner
        return inner.diagonal(0, -2, -1).log().sum(-1) + 0.5 * self.cov_diag.log().sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        apart = self._value(value) - self.loc
        scaled = apart / self.cov_diag
        few = (self.cov_factor.mT @ scaled.unsqueeze(-1)).squeeze(-1)
        inner = self._inner()
        lead = broadcast_shapes(few._shape[:-1], inner._shape[:-2])
        k = inner._shape[-1]
        z = linalg.solve_triangular(
            inner.expand((*lead, k, k)), few.expand((*lead, k)).unsqueeze(-1), upper=False
        )
        square = (apart * scaled).sum(-1) - (z * z).sum((-2, -1))
        norm = self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (square + norm) - self._log_scale(inner)
