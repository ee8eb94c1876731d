"""torch's random functions and in-place methods beyond those of one kernel (ops/random.py).

Each takes a key from the generator and draws from that, so the numbers follow the generator's seed
and, under vmap, its `randomness`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import mutation, random
from ..dtypes import iinfo
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .family import operand
from .keys import fresh
from .random import Generator, randint
from .sampling import binomial_op, poisson_op, standard_gamma_op
from .views import broadcast_tensors

__all__ = [
    "binomial",
    "multinomial",
    "poisson",
    "standard_gamma",
]


def _floating(op: str, x: Any) -> Tensor:
    x = operand(op, x)
    if not x.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", x.dtype, "Cast with .float()."))
    return x


def poisson(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts whose means are the elements; no gradient."""
    return poisson_op(fresh(generator), _floating("poisson", x))


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """The numbers of successes of `count` trials of probability `prob`; no gradient."""
    pair = broadcast_tensors(_floating("binomial", count), _floating("binomial", prob))
    return binomial_op(fresh(generator), *pair)


def standard_gamma(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of rate 1 whose shapes are the elements, differentiable by these."""
    return standard_gamma_op(fresh(generator), _floating("standard_gamma", x))


def multinomial(
    x: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities in proportion to the rows of x: [n] or [m, n].

    Returns:
      [num_samples] or [m, num_samples] int64.
    Raises:
      ValueError: more samples than elements, without replacement.
    Example:
      >>> multinomial(tensor([0.0, 1.0]), 2, replacement=True)
      tensor([1, 1])
    """
    if x.ndim not in (1, 2):
        raise ShapeError(message("multinomial", "one or two dimensions", list(x._shape)))
    weights, n = _floating("multinomial", x), x._shape[-1]
    if num_samples < 1 or (not replacement and num_samples > n):
        raise ValueError(
            message("multinomial", f"1 to {n} samples without replacement", num_samples)
        )
    key = fresh(generator)
    logits = weights.detach().log()
    if not replacement:
        noise = random.gumbel(key, x._shape, weights.dtype)
        return (logits + noise).topk(num_samples, -1)[1]
    return random.categorical(key, logits.unsqueeze(-2), shape=(*x._shape[:-1], num_samples))


# ---- in place ----


def _fills(name: str, doc: str, draw: Callable[..., Tensor], *defaults: float) -> None:
    def method(x: Tensor, *values: float, generator: Generator | None = None, **named: Any) -> Any:
        given = [*values, *named.values()]
        whole = [*given, *defaults[len(given) :]]
        mutation.writes_memory(name, x)
        dtype = x.dtype if x.dtype.is_floating_point else None
        return x.copy_(draw(fresh(generator), x._shape, dtype, *whole))

    method.__name__, method.__doc__ = name, doc
    setattr(Tensor, name, method)


_fills(
    "cauchy_",
    "Fills with Cauchy numbers of a median and a scale sigma.",
    lambda key, shape, dtype, median, sigma: random.cauchy(key, shape, dtype) * sigma + median,
    0.0,
    1.0,
)
_fills(
    "log_normal_",
    "Fills with exp of normal numbers of a mean and std.",
    lambda key, shape, dtype, mean, std: (random.normal(key, shape, dtype) * std + mean).exp(),
    1.0,
    2.0,
)
_fills(
    "geometric_",
    "Fills with the number of the first success of trials of probability p, from 1 on.",
    lambda key, shape, dtype, p: (
        (
            random.exponential(key, shape, dtype) / -math.log1p(-p)
            if p < 1
            else random.exponential(key, shape, dtype) * 0
        )
        .ceil()
        .clamp(min=1)
    ),
)


def random_(
    x: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fills with integers in [low, high); with one number in [0, low).

    Without any they go up to the largest number that the dtype holds exactly.
    """
    if high is None and low:
        low, high = 0, low
    if high is None:
        digits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "bool": 1}
        exact = digits.get(x.dtype.name)
        high = (1 << exact) + (x.dtype.name != "bool") if exact else iinfo(x.dtype).max
        high = 2 if x.dtype.name == "bool" else high
    return x.copy_(randint(low, high, x._shape, generator=generator))


Tensor.random_ = random_  # type: ignore[attr-defined]
Tensor.multinomial = multinomial  # type: ignore[attr-defined]
