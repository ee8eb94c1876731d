"""Discrete distributions; those of probabilities take `probs` or `logits`."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import random
from ..errors import message
from ..ops.binary import xlogy
from ..ops.creation import arange, eye
from ..ops.reduce import logsumexp
from ..ops.shape import one_hot
from ..ops.special import lgamma, softplus
from ..ops.ternary import where
from ..tensor import Size, Tensor
from . import constraints
from .distribution import Distribution, parameters

__all__ = [
    "Bernoulli", "Binomial", "Categorical", "Geometric", "Multinomial", "NegativeBinomial",
    "OneHotCategorical", "OneHotCategoricalStraightThrough", "Poisson",
]  # fmt: skip


def _one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(message(name, "one of probs and logits", "both or neither"))


class _Trials(Distribution):
    """probs and logits of two outcomes, each made from the other."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval}
    _given: Tensor
    _is_logits: bool

    def _take(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        _one_of(type(self).__name__, probs, logits)
        self._is_logits = probs is None
        self._given, *rest = parameters(logits if self._is_logits else probs, *others)
        return rest

    @property
    def probs(self) -> Tensor:
        """The probability of a success."""
        return self._given.sigmoid() if self._is_logits else self._given

    @property
    def logits(self) -> Tensor:
        """The log-odds of a success."""
        if self._is_logits:
            return self._given
        eps = 1.2e-7 if self._given.dtype.itemsize < 8 else 2.2e-16
        p = self._given.clamp(eps, 1 - eps)
        return p.log() - (-p).log1p()


class Bernoulli(_Trials):
    """1 with probability probs, else 0.

    Example:
      >>> distributions.Bernoulli(tensor(0.25)).log_prob(tensor(1.0)).exp()
      tensor(0.2500)
    """

    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        self._take(probs, logits)
        super().__init__(self._given._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        """The likelier outcome; nan where both are as likely."""
        p = self.probs
        return where(p == 0.5, float("nan"), (p > 0.5).to(self._given.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return random.bernoulli(key, self.probs, shape).to(self._given.dtype)

    def log_prob(self, value: Any) -> Tensor:
        logits = self.logits
        return self._value(value) * logits - softplus(logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.probs * self.logits

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(2, dtype=self._given.dtype, device=self._given.device).reshape(
            (2,) + (1,) * len(self.batch_shape)
        )
        return values.expand((2, *self.batch_shape)) if expand else values


class Geometric(_Trials):
    """The number of failures before the first success."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        self._take(probs, logits)
        super().__init__(self._given._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return self.probs * 0

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return random.geometric(key, self.probs, shape, self._given.dtype) - 1

    def log_prob(self, value: Any) -> Tensor:
        p = self.probs
        return xlogy(self._value(value), 1 - p) + p.log()

    def entropy(self) -> Tensor:
        p, logits = self.probs, self.logits
        return (softplus(logits) - p * logits) / p


class Binomial(_Trials):
    """The number of successes of total_count trials."""

    arg_constraints: ClassVar[Any] = {
        **_Trials.arg_constraints,
        "total_count": constraints.nonnegative_integer,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: Any = None,
    ):
        (self.total_count,) = self._take(probs, logits, total_count)
        super().__init__(self._given._shape, (), validate_args)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return random.binomial(key, self.total_count, self.probs, shape, self._given.dtype)

    def log_prob(self, value: Any) -> Tensor:
        value, n, logits = self._value(value), self.total_count, self.logits
        ways = lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)
        return ways + value * logits - n * softplus(logits)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values; total_count must be one number, known outside transforms."""
        n = int(self.total_count.max().item())
        values = arange(n + 1, dtype=self._given.dtype, device=self._given.device)
        values = values.reshape((-1,) + (1,) * len(self.batch_shape))
        return values.expand((n + 1, *self.batch_shape)) if expand else values

    def entropy(self) -> Tensor:
        log_prob = self.log_prob(self.enumerate_support())
        return -(log_prob.exp() * log_prob).sum(0)


class NegativeBinomial(_Trials):
    """The number of successes before total_count failures."""

    arg_constraints: ClassVar[Any] = {
        **_Trials.arg_constraints,
        "total_count": constraints.nonnegative,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: Any = None
    ):
        (self.total_count,) = self._take(probs, logits, total_count)
        super().__init__(self._given._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (1 - self.probs)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        one, two = random.split(key).unbind()
        rate = random.gamma(one, self.total_count, shape, self._given.dtype) * self.logits.exp()
        return random.poisson(two, rate, shape)

    def log_prob(self, value: Any) -> Tensor:
        value, n, logits = self._value(value), self.total_count, self.logits
        ways = lgamma(n + value) - lgamma(value + 1) - lgamma(n)
        return ways - n * softplus(logits) - value * softplus(-logits)


class Poisson(Distribution):
    """Counts, of a rate."""

    arg_constraints: ClassVar[Any] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: Any = None):
        (self.rate,) = parameters(rate)
        super().__init__(self.rate._shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return random.poisson(key, self.rate, shape, self.rate.dtype)

    def log_prob(self, value: Any) -> Tensor:
        value = self._value(value)
        return xlogy(value, self.rate) - self.rate - lgamma(value + 1)


# ---- several outcomes ----


class Categorical(Distribution):
    """The indices 0 to k - 1, with probabilities probs [..., k], which need not add up to 1.

    Example:
      >>> distributions.Categorical(tensor([1.0, 3.0])).probs
      tensor([0.2500, 0.7500])
    """

    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        _one_of(type(self).__name__, probs, logits)
        if probs is not None:
            scaled = probs / probs.sum(-1, keepdim=True)
            eps = 1.2e-7 if probs.dtype.itemsize < 8 else 2.2e-16
            self._probs: Tensor | None = scaled
            self.logits = scaled.clamp(eps, 1 - eps).log()
        else:
            self._probs = None
            self.logits = logits - logsumexp(logits, -1, keepdim=True)
        self._k = self.logits._shape[-1]
        super().__init__(self.logits._shape[:-1], (), validate_args)
        if self._validates and self._probs is not None:
            self._require("probs to be", constraints.simplex, self._probs)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.integer_interval(0, self._k - 1)

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        return self.logits.softmax(-1) if self._probs is None else self._probs

    @property
    def param_shape(self) -> Size:
        """The shape of probs."""
        return self.logits.shape

    @property
    def mean(self) -> Tensor:
        return self.probs[..., 0] * float("nan")

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.probs[..., 0] * float("nan")

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        logits = self.logits if self._probs is None else self._probs.log()
        return random.categorical(key, logits.detach(), shape=shape)

    def log_prob(self, value: Any) -> Tensor:
        value = self._value(value).to("int64").unsqueeze(-1)
        from ..ops.views import broadcast_shapes

        lead = broadcast_shapes(value._shape[:-1], self.logits._shape[:-1])
        logits = self.logits.expand((*lead, self._k))
        return logits.gather(-1, value.expand((*lead, 1))).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.logits).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(self._k).reshape((-1,) + (1,) * len(self.batch_shape))
        return values.expand((self._k, *self.batch_shape)) if expand else values

    def expand(self, batch_shape: Any) -> Categorical:
        logits = self.logits.expand((*batch_shape, self._k))
        new = type(self)(logits=logits, validate_args=False)
        if self._probs is not None:
            new._probs = self._probs.expand((*batch_shape, self._k))
        return new


class _OfOutcomes(Distribution):
    """A distribution of vectors [..., k] made of the outcomes of a Categorical."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.logits._shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return self._categorical.logits


class OneHotCategorical(_OfOutcomes):
    """One-hot vectors, with probabilities probs [..., k]."""

    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return one_hot(self._categorical.mode, self.event_shape[0]).to(self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        indices = self._categorical._draw(key, shape[:-1])
        return one_hot(indices, self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        return (self._value(value) * self.logits).sum(-1)

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self.event_shape[0]
        values = eye(n, dtype=self.probs.dtype, device=self.probs.device).reshape(
            (n,) + (1,) * len(self.batch_shape) + (n,)
        )
        return values.expand((n, *self.batch_shape, n)) if expand else values

    def expand(self, batch_shape: Any) -> OneHotCategorical:
        new = type(self)(logits=self.logits, validate_args=False)
        new._categorical = self._categorical.expand(batch_shape)
        new._batch_shape = Size(batch_shape)
        return new


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """One-hot vectors whose gradient is that of the probabilities.

    Reference: Bengio, Leonard & Courville 2013.
    """

    has_rsample = True

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return super()._draw(key, shape) + (self.probs - self.probs.detach())


class Multinomial(_OfOutcomes):
    """Counts of the outcomes of total_count trials (an int), with probabilities probs [..., k]."""

    def __init__(
        self,
        total_count: int = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: Any = None,
    ):
        self.total_count = int(total_count)
        super().__init__(probs, logits, validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def _draw(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        drawn = self._categorical._draw(key, (self.total_count, *shape[:-1]))
        return one_hot(drawn, self.event_shape[0]).sum(0).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        value = self._value(value)
        ways = lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1)
        return ways + xlogy(value, self.logits.exp()).sum(-1)
