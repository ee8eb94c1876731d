"""What all distributions have: shapes, sampling by generator or key, checks of arguments.

Checks look at values, so they are made of plain tensors outside transforms only, where a wrong
parameter would otherwise give nan without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import ShapeError, message
from ..ops.creation import as_tensor
from ..ops.family import result_type
from ..ops.keys import fresh
from ..ops.views import broadcast_shapes
from ..tensor import Size, Tensor
from ..trace import active, state
from .constraints import Constraint

__all__ = ["Distribution", "Independent"]


class Distribution:
    """The base class.

    Args:
      batch_shape: the shape of the parameters: so many distributions side by side.
      event_shape: the shape of one value.
      validate_args: check parameters and values? By default yes, outside transforms.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    has_rsample = False
    has_enumerate_support = False
    support: Any = None
    _batch_shape: Size
    _event_shape: Size

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: Any = None):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        self._validates = validate_args is not False
        if self._validates:
            for name, constraint in self.arg_constraints.items():
                self._require(f"{name} to be", constraint, getattr(self, name, None))

    def _require(self, what: str, constraint: Constraint, value: Any) -> None:
        if not isinstance(value, Tensor) or not value._v or (active and state.trace is not None):
            return
        if not bool(constraint.check(value.detach()).all()):
            raise ValueError(
                message(type(self).__name__, f"{what} {constraint}", f"{value.detach()}")
            )

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one value."""
        return self._event_shape

    def _extended(self, sample_shape: Any) -> tuple[int, ...]:
        shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return (*shape, *self._batch_shape, *self._event_shape)

    def sample(
        self, sample_shape: Any = (), *, key: Tensor | None = None, generator: Any = None
    ) -> Tensor:
        """Values without gradient, [*sample_shape, *batch_shape, *event_shape].

        Args:
          key: draws are a function of it; without one the generator's next numbers are used.
        """
        key = fresh(generator) if key is None else key
        return self._draw(key, self._extended(sample_shape)).detach()

    def rsample(
        self, sample_shape: Any = (), *, key: Tensor | None = None, generator: Any = None
    ) -> Tensor:
        """Values, differentiable by the parameters.

        Raises:
          NotImplementedError: the distribution is discrete or has no reparameterisation.
        """
        if not self.has_rsample:
            raise NotImplementedError(
                message(
                    f"{type(self).__name__}.rsample",
                    "a reparameterised distribution",
                    "one that is not",
                    "Use sample() and log_prob().",
                )
            )
        key = fresh(generator) if key is None else key
        return self._draw(key, self._extended(sample_shape))

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Values of the whole shape from a key."""
        raise self._missing("sample")

    def _missing(self, what: str) -> Exception:
        return NotImplementedError(
            message(f"{type(self).__name__}.{what}", "a known formula", "none in closed form")
        )

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability."""
        raise self._missing("log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The probability of a value at most this."""
        raise self._missing("cdf")

    def icdf(self, value: Any) -> Tensor:
        """The quantile."""
        raise self._missing("icdf")

    def entropy(self) -> Tensor:
        """The entropy in nats, a number for each distribution of the batch."""
        raise self._missing("entropy")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first dim."""
        raise self._missing("enumerate_support")

    def expand(self, batch_shape: Any) -> Distribution:
        """The same distribution with its parameters expanded to a batch shape."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        shape = tuple(batch_shape)
        for name in self._tensors():
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                extra = value._shape[len(self._batch_shape) :]
                new.__dict__[name] = value.expand((*shape, *extra))
        new._batch_shape = Size(shape)
        return new

    def _tensors(self) -> list[str]:
        """The attributes that begin with the batch dims."""
        return [n for n, v in self.__dict__.items() if isinstance(v, Tensor)]

    def _value(self, value: Any) -> Tensor:
        """A value as a tensor, checked against the support."""
        value = as_tensor(value)
        if self._validates:
            try:
                broadcast_shapes(value._shape, (*self._batch_shape, *self._event_shape))
            except ShapeError:
                wanted = f"a value that broadcasts with {[*self._batch_shape, *self._event_shape]}"
                raise ShapeError(message(type(self).__name__, wanted, list(value._shape))) from None
            if self.support is not None:
                self._require("a value in", self.support, value)
        return value

    def __repr__(self) -> str:
        names = ", ".join(
            f"{n}: {list(getattr(self, n)._shape) or getattr(self, n)}"
            for n in self.arg_constraints
            if isinstance(self.__dict__.get(n), Tensor)
        )
        return f"{type(self).__name__}({names})"


def parameters(*values: Any) -> list[Tensor]:
    """Numbers and tensors as floating tensors of one shape and dtype."""
    common = result_type(*values)
    dtype = common if common.is_floating_point else None
    tensors = []
    for v in values:
        t = v if isinstance(v, Tensor) else as_tensor(float(v))
        tensors.append(t.to(dtype) if dtype is not None else t.float())
    shape = broadcast_shapes(*[t._shape for t in tensors])
    return [t.expand(shape) for t in tensors]


def sum_last(x: Tensor, n: int) -> Tensor:
    """Summed over the last n dims."""
    return x.sum(tuple(range(-n, 0))) if n else x


class Independent(Distribution):
    """A distribution whose last batch dims count as dims of one value.

    Example:
      >>> d = distributions
      >>> d.Independent(d.Normal(zeros(3), ones(3)), 1).log_prob(zeros(3)).shape
      Size([])
    """

    def __init__(self, base_distribution: Distribution, n: int, validate_args: Any = None):
        shape = base_distribution.batch_shape
        if n > len(shape):
            raise ValueError(message("Independent", f"at most {len(shape)} dims to reinterpret", n))
        split = len(shape) - n
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, n
        super().__init__(
            shape[:split], (*shape[split:], *base_distribution.event_shape), validate_args
        )
        self.has_rsample = base_distribution.has_rsample

    @property
    def support(self) -> Any:  # type: ignore[override]
        base, n = self.base_dist.support, self.reinterpreted_batch_ndims
        if base is None or not n:
            return base
        return Constraint(
            f"independent({base})",
            lambda x: base.check(x).all(tuple(range(-n, 0))),
            base.event_dim + n,
            base.is_discrete,
        )

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.base_dist._draw(key, shape)

    def log_prob(self, value: Any) -> Tensor:
        return sum_last(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return sum_last(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def expand(self, batch_shape: Any) -> Distribution:
        inner = (*batch_shape, *self.event_shape[: self.reinterpreted_batch_ndims])
        return Independent(self.base_dist.expand(inner), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
