"""Where parameters and values of distributions lie: `constraint.check(x)` says it elementwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

__all__ = [
    "Constraint", "boolean", "greater_than", "greater_than_eq", "half_open_interval",
    "integer_interval", "interval", "lower_cholesky", "nonnegative", "nonnegative_integer",
    "one_hot", "positive", "positive_definite", "real", "real_vector", "simplex", "unit_interval",
]  # fmt: skip


class Constraint:
    """A set: its name, `check`, and how many trailing dims one value has."""

    def __init__(
        self,
        name: str,
        check: Callable[[Tensor], Tensor],
        event_dim: int = 0,
        is_discrete: bool = False,
    ):
        self.name, self._check = name, check
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def check(self, value: Tensor) -> Tensor:
        """Which values lie inside."""
        return self._check(value)

    def __repr__(self) -> str:
        return self.name


def _whole(x: Tensor) -> Tensor:
    return x == x.floor() if x.dtype.is_floating_point else x == x


def greater_than(lower: Any) -> Constraint:
    """Above a bound."""
    return Constraint(f"greater_than({lower})", lambda x: x > lower)


def greater_than_eq(lower: Any) -> Constraint:
    """At least a bound."""
    return Constraint(f"greater_than_eq({lower})", lambda x: x >= lower)


def interval(low: Any, high: Any) -> Constraint:
    """Within bounds that belong to it."""
    return Constraint(f"interval({low}, {high})", lambda x: (x >= low) & (x <= high))


def half_open_interval(low: Any, high: Any) -> Constraint:
    """Within bounds, of which the lower one belongs to it."""
    return Constraint(f"half_open_interval({low}, {high})", lambda x: (x >= low) & (x < high))


def integer_interval(low: Any, high: Any) -> Constraint:
    """The integers within bounds."""
    return Constraint(
        f"integer_interval({low}, {high})",
        lambda x: _whole(x) & (x >= low) & (x <= high),
        is_discrete=True,
    )


real = Constraint("real", lambda x: x == x)
real_vector = Constraint("real_vector", lambda x: (x == x).all(-1), 1)
positive = greater_than(0)
nonnegative = greater_than_eq(0)
unit_interval = interval(0, 1)
boolean = Constraint("boolean", lambda x: (x == 0) | (x == 1), is_discrete=True)
nonnegative_integer = Constraint(
    "nonnegative_integer", lambda x: _whole(x) & (x >= 0), is_discrete=True
)
simplex = Constraint(
    "simplex", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6 * x.shape[-1]), 1
)
one_hot = Constraint(
    "one_hot", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), 1, is_discrete=True
)
lower_cholesky = Constraint(
    "lower_cholesky",
    lambda x: (x == x.tril()).all(-1).all(-1) & (x.diagonal(0, -2, -1) > 0).all(-1),
    2,
)
positive_definite = Constraint(
    "positive_definite",
    lambda x: ((x - x.mT).abs() < 1e-5).all(-1).all(-1) & (x.diagonal(0, -2, -1) > 0).all(-1),
    2,
)
