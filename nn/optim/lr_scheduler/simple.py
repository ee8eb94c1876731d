"""Schedulers that multiply the rate by a function of the epoch."""

from __future__ import annotations

import math
import types
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nn.optim.base import Optimizer
from nn.optim.lr_scheduler import functional
from nn.optim.lr_scheduler.base import LRScheduler, per_group, rates_of

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "PolynomialLR", "StepLR",
]  # fmt: skip


class LambdaLR(LRScheduler):
    """The initial rate times a function of the epoch.

    Args:
      optimizer: whose groups are changed.
      lr_lambda: the function, or a list with one for each group; of callable objects the attributes
        are saved, of functions nothing.
      last_epoch: the last epoch done; -1 starts anew.
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import SGD
      >>> optimizer = SGD([ft.ones(1).requires_grad_()], lr=1.0)
      >>> schedule = LambdaLR(optimizer, lambda epoch: 0.5**epoch)
      >>> schedule.step(); schedule.get_last_lr()
      [0.5]
    """

    unsaved = (*LRScheduler.unsaved, "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = per_group(self, "lr_lambda", optimizer, lr_lambda)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(
                    f"{type(self).__name__}: expected a function of the epoch, got "
                    f"{type(function).__name__}."
                )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        return [
            base * function(self.last_epoch)
            for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """As any scheduler's; of the functions, the attributes of callable objects."""
        attributes = [
            None if isinstance(f, types.FunctionType) else vars(f).copy() for f in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": attributes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave."""
        super().load_state_dict(state_dict)
        pairs = zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True)
        for function, attributes in pairs:
            if attributes is not None:
                vars(function).update(attributes)


class MultiplicativeLR(LambdaLR):
    """The present rate times a function of the epoch; arguments as LambdaLR's."""

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        if self._initial:
            return rates_of(self.optimizer)
        groups = self.optimizer.param_groups
        return [
            group["lr"] * function(self.last_epoch)
            for function, group in zip(self.lr_lambdas, groups, strict=True)
        ]


class StepLR(LRScheduler):
    """The rate times gamma after every step_size epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        due = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return self.scaled(self.gamma) if due else rates_of(self.optimizer)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.step_decay(self.last_epoch, base_lr, self.step_size, self.gamma)


class MultiStepLR(LRScheduler):
    """The rate times gamma at each milestone, an epoch."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        times = self.milestones.get(self.last_epoch, 0)
        return self.scaled(self.gamma**times) if times else rates_of(self.optimizer)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        marks = sorted(Counter(self.milestones).elements())
        return functional.multi_step(self.last_epoch, base_lr, marks, self.gamma)


class ConstantLR(LRScheduler):
    """The rate times factor until epoch total_iters, then the whole rate."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: expected factor within 0..1, got {factor}.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        if self.last_epoch == 0:
            return self.scaled(self.factor)
        if self.last_epoch != self.total_iters:
            return rates_of(self.optimizer)
        return self.scaled(1.0 / self.factor)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.constant(self.last_epoch, base_lr, self.factor, self.total_iters)


class LinearLR(LRScheduler):
    """The rate times a factor from start_factor to end_factor, until epoch total_iters."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(
                f"LinearLR: expected start_factor above 0, at most 1, got {start_factor}."
            )
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: expected end_factor within 0..1, got {end_factor}.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        if self.last_epoch == 0:
            return self.scaled(self.start_factor)
        if self._initial or self.last_epoch > self.total_iters:
            return rates_of(self.optimizer)
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return self.scaled(1.0 + rise / before)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.linear(
            self.last_epoch, base_lr, self.start_factor, self.end_factor, self.total_iters
        )


class ExponentialLR(LRScheduler):
    """The rate times gamma after every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        return rates_of(self.optimizer) if self._initial else self.scaled(self.gamma)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.exponential(self.last_epoch, base_lr, self.gamma)


class PolynomialLR(LRScheduler):
    """The rate falls to zero at epoch total_iters, as a power of the share that is left."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        if self._initial or self.last_epoch > self.total_iters:
            return rates_of(self.optimizer)
        left = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return self.scaled((left / before) ** self.power)

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.polynomial(self.last_epoch, base_lr, self.total_iters, self.power)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max epochs, and back in as many.

    Reference: Loshchilov & Hutter 2017, without restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        epoch, groups = self.last_epoch, self.optimizer.param_groups
        if self._initial:
            return rates_of(self.optimizer)
        if self._step_count == 1 and epoch > 0:
            return [self.closed_form(base) for base in self.base_lrs]
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            pairs = zip(self.base_lrs, groups, strict=True)
            return [group["lr"] + (base - self.eta_min) * rise for base, group in pairs]
        ratio = (1 + math.cos(math.pi * epoch / self.T_max)) / (
            1 + math.cos(math.pi * (epoch - 1) / self.T_max)
        )
        return [ratio * (group["lr"] - self.eta_min) + self.eta_min for group in groups]

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.cosine_annealing(self.last_epoch, base_lr, self.T_max, self.eta_min)
