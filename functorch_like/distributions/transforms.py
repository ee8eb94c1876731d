"""Invertible functions of random values, and the distributions they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ops.creation import arange, as_tensor, zeros_like
from ..ops.join import pad
from ..ops.special import softplus
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, Independent, sum_last

__all__ = [
    "AbsTransform", "AffineTransform", "ComposeTransform", "ExpTransform", "IndependentTransform",
    "PowerTransform", "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform",
    "StickBreakingTransform", "TanhTransform", "Transform", "TransformedDistribution",
    "identity_transform",
]  # fmt: skip


class Transform:
    """y = t(x), x = t.inv(y), and the logarithm of |dy/dx|.

    `domain` and `codomain` say between what; event_dim how many trailing dims one value has.
    """

    bijective = True
    domain: Any = constraints.real
    codomain: Any = constraints.real

    @property
    def event_dim(self) -> int:
        """The number of trailing dims of one value."""
        return max(self.domain.event_dim, self.codomain.event_dim)

    @property
    def inv(self) -> Transform:
        """The inverse transform."""
        return _Inverse(self)

    def __call__(self, x: Any) -> Tensor:
        return self._call(as_tensor(x))

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |dy/dx|, a number for each value."""
        raise NotImplementedError

    def forward_shape(self, shape: Any) -> tuple[int, ...]:
        """The shape of y for that of x."""
        return tuple(shape)

    def inverse_shape(self, shape: Any) -> tuple[int, ...]:
        """The shape of x for that of y."""
        return tuple(shape)

    @property
    def sign(self) -> Any:
        """1 where it increases, -1 where it decreases."""
        return 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    def __init__(self, forward: Transform):
        self._forward = forward
        self.domain, self.codomain = forward.codomain, forward.domain
        self.bijective = forward.bijective

    @property
    def inv(self) -> Transform:
        return self._forward

    @property
    def sign(self) -> Any:
        return self._forward.sign

    def _call(self, x: Tensor) -> Tensor:
        return self._forward._inverse(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._forward._call(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._forward.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> tuple[int, ...]:
        return self._forward.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> tuple[int, ...]:
        return self._forward.forward_shape(shape)


class ComposeTransform(Transform):
    """One transform after the other."""

    def __init__(self, parts: Sequence[Transform]):
        self.parts = list(parts)
        self.bijective = all(p.bijective for p in self.parts)
        if self.parts:
            widest = max(p.event_dim for p in self.parts)
            self.domain = _widened(self.parts[0].domain, widest)
            self.codomain = _widened(self.parts[-1].codomain, widest)

    @property
    def sign(self) -> Any:
        sign: Any = 1
        for p in self.parts:
            sign = sign * p.sign
        return sign

    def _call(self, x: Tensor) -> Tensor:
        for p in self.parts:
            x = p._call(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for p in reversed(self.parts):
            y = p._inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.parts:
            return zeros_like(x)
        total: Any = 0
        for i, p in enumerate(self.parts):
            out = y if i == len(self.parts) - 1 else p._call(x)
            total = total + sum_last(p.log_abs_det_jacobian(x, out), self.event_dim - p.event_dim)
            x = out
        return total

    def forward_shape(self, shape: Any) -> tuple[int, ...]:
        for p in self.parts:
            shape = p.forward_shape(shape)
        return tuple(shape)

    def inverse_shape(self, shape: Any) -> tuple[int, ...]:
        for p in reversed(self.parts):
            shape = p.inverse_shape(shape)
        return tuple(shape)


def _widened(constraint: Any, event_dim: int) -> Any:
    """The constraint on values of more dims."""
    extra = event_dim - constraint.event_dim
    if not extra:
        return constraint
    return constraints.Constraint(
        f"independent({constraint})",
        lambda x: constraint.check(x).all(tuple(range(-extra, 0))),
        event_dim,
        constraint.is_discrete,
    )


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """A transform whose last batch dims count as dims of one value."""

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int):
        self.base_transform, self.n = base_transform, reinterpreted_batch_ndims
        dims = base_transform.event_dim + self.n
        self.domain = _widened(base_transform.domain, dims)
        self.codomain = _widened(base_transform.codomain, dims)
        self.bijective = base_transform.bijective

    def _call(self, x: Tensor) -> Tensor:
        return self.base_transform._call(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base_transform._inverse(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return sum_last(self.base_transform.log_abs_det_jacobian(x, y), self.n)


class AffineTransform(Transform):
    """loc + scale * x."""

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0):
        self.loc, self.scale = loc, scale
        self.domain = self.codomain = _widened(constraints.real, event_dim)

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return self.scale.sign()
        return 1 if self.scale > 0 else -1

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale
        size = scale.abs().log() if isinstance(scale, Tensor) else math.log(abs(scale))
        return sum_last(zeros_like(x) + size, self.event_dim)


class ExpTransform(Transform):
    """exp(x)."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(Transform):
    """x ** exponent, of positive numbers."""

    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: Any):
        self.exponent = as_tensor(exponent)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def _call(self, x: Tensor) -> Tensor:
        return x**self.exponent

    def _inverse(self, y: Tensor) -> Tensor:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()


class SigmoidTransform(Transform):
    """1 / (1 + exp(-x))."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class SoftplusTransform(Transform):
    """log(1 + exp(x))."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-(-y).expm1()).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x)


class TanhTransform(Transform):
    """tanh(x)."""

    codomain = constraints.interval(-1, 1)

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * (math.log(2) - x - softplus(-2 * x))


class AbsTransform(Transform):
    """|x|; not invertible, the inverse is the positive one."""

    bijective = False
    codomain = constraints.nonnegative

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class SoftmaxTransform(Transform):
    """softmax along the last dim; not invertible, the inverse is the logarithm."""

    bijective = False
    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()


class StickBreakingTransform(Transform):
    """k numbers to a point of the simplex with k + 1 coordinates, by breaking a stick."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _offset(self, n: int, like: Tensor) -> Tensor:
        return arange(n, 0, -1, dtype=like.dtype, device=like.device).log()

    def _call(self, x: Tensor) -> Tensor:
        z = (x - self._offset(x._shape[-1], x)).sigmoid()
        left = (1 - z).cumprod(-1)
        return pad(z, (0, 1), value=1.0) * pad(left, (1, 0), value=1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        head = y[..., :-1]
        rest = 1 - head.cumsum(-1)
        return head.log() - rest.log() + self._offset(head._shape[-1], y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._offset(x._shape[-1], x)
        return (-x - softplus(-x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Any) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] - 1)


class TransformedDistribution(Distribution):
    """The distribution of t(x), x from a base distribution.

    Example:
      >>> d = distributions
      >>> log_normal = d.TransformedDistribution(d.Normal(0.0, 1.0), d.ExpTransform())
      >>> log_normal.log_prob(tensor(1.0))
      tensor(-0.9189)
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: Any = None,
    ):
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        whole = ComposeTransform(self.transforms)
        dims = len(base_distribution.event_shape)
        if whole.event_dim > dims:
            n = min(whole.event_dim - dims, len(base_distribution.batch_shape))
            base_distribution = Independent(base_distribution, n)
            dims = len(base_distribution.event_shape)
        self.base_dist, self._transform = base_distribution, whole
        shape = whole.forward_shape(
            (*base_distribution.batch_shape, *base_distribution.event_shape)
        )
        split = len(shape) - max(dims, whole.event_dim)
        super().__init__(shape[:split], shape[split:], validate_args)
        self.has_rsample = base_distribution.has_rsample

    @property
    def support(self) -> Any:  # type: ignore[override]
        if not self.transforms:
            return self.base_dist.support
        return _widened(self._transform.codomain, len(self.event_shape))

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._transform._call(
            self.base_dist._draw(key, self._transform.inverse_shape(shape))
        )

    def log_prob(self, value: Any) -> Tensor:
        y = self._value(value)
        x = self._transform._inverse(y)
        change = self._transform.log_abs_det_jacobian(x, y)
        extra = len(self.event_shape) - self._transform.event_dim
        return self.base_dist.log_prob(x) - sum_last(change, extra if self.transforms else 0)

    def cdf(self, value: Any) -> Tensor:
        p = self.base_dist.cdf(self._transform._inverse(self._value(value)))
        sign = self._transform.sign
        return sign * (p - 0.5) + 0.5

    def icdf(self, value: Any) -> Tensor:
        sign = self._transform.sign
        return self._transform._call(self.base_dist.icdf(sign * (value - 0.5) + 0.5))

    def expand(self, batch_shape: Any) -> TransformedDistribution:
        return TransformedDistribution(self.base_dist.expand(batch_shape), self.transforms)
