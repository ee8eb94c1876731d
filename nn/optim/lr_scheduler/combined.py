"""Schedulers made of others, and the one that watches a metric."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from nn.optim.base import Optimizer
from nn.optim.lr_scheduler.base import (
    LRScheduler,
    check_optimizer,
    per_group,
    rates_of,
    set_option,
)

__all__ = ["ChainedScheduler", "ReduceLROnPlateau", "SequentialLR"]


class _Combined(LRScheduler):
    unsaved = (*LRScheduler.unsaved, "_schedulers")
    _schedulers: list[LRScheduler]

    def _adopt(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name}: expected schedulers whose step() takes no metric, got "
                    f"{type(scheduler).__name__} at {i}."
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"{name}: expected schedulers of one optimizer, got another's at {i}."
                )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        """As any scheduler's, with those of the parts."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave."""
        super().load_state_dict(state_dict)
        for part, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            part.load_state_dict(state)


class ChainedScheduler(_Combined):
    """Several schedulers at once, each changing what the one before left."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: expected at least one scheduler, got none.")
        self._adopt(optimizer or schedulers[0].optimizer, schedulers)
        self._last_lr = rates_of(self.optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Step every scheduler."""
        for scheduler in self._schedulers:
            scheduler.step() if epoch is None else scheduler.step(epoch)
        self._last_lr = rates_of(self.optimizer)


class SequentialLR(_Combined):
    """Several schedulers one after the other.

    Args:
      optimizer: whose groups are changed.
      schedulers: of this optimizer; each starts at its epoch 0.
      milestones: the epochs at which the second and later ones take over.
      last_epoch: the last epoch done; -1 starts anew.
    Raises:
      ValueError: numbers that do not fit; another optimizer's scheduler.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR: expected one milestone less than schedulers, got "
                f"{len(milestones)} and {len(schedulers)}."
            )
        self._adopt(optimizer, schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            set_option(group, "lr", group["initial_lr"])
        _undo(self)  # each scheduler has made its first step when it was built
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first.first_step()
        self._last_lr = first.get_last_lr()

    def first_step(self) -> None:
        """The first step of the part that runs first, again."""
        self._schedulers[bisect_right(self._milestones, 0)].first_step()

    def step(self, epoch: int | None = None) -> None:
        """Step the scheduler whose turn it is."""
        self.refuse_in_program()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler.jump(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo(scheduler: LRScheduler) -> None:
    parts = scheduler._schedulers if isinstance(scheduler, _Combined) else None
    if parts is None:
        scheduler.last_epoch -= 1
        return
    for part in parts:
        _undo(part)


class ReduceLROnPlateau(LRScheduler):
    """The rate times factor when a metric has not improved for more than patience epochs.

    Args:
      optimizer: whose groups are changed.
      mode: "min" or "max": which metrics are better.
      factor: of the rate, below 1.
      patience: epochs without improvement that are borne.
      threshold: least improvement that counts, as a share ("rel") or a difference ("abs").
      threshold_mode: "rel" or "abs".
      cooldown: epochs after a reduction that do not count.
      min_lr: lowest rate, or one for each group.
      eps: smaller changes are not made.
    Raises:
      ValueError: an option out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer(self, optimizer)
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: expected factor below 1, got {factor}.")
        for name, value, known in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in known:
                raise ValueError(
                    f"ReduceLROnPlateau: expected {name} {known[0]!r} or {known[1]!r}, got "
                    f"{value!r}."
                )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = per_group(self, "min_lr", optimizer, min_lr)
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = rates_of(optimizer)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take in the metric of an epoch."""
        self.refuse_in_program()
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            pairs = zip(self.optimizer.param_groups, self.min_lrs, strict=True)
            for group, lowest in pairs:
                old = float(group["lr"])
                new = max(old * self.factor, lowest)
                if old - new > self.eps:
                    set_option(group, "lr", new)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = rates_of(self.optimizer)

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs do not count at present."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            limit = self.best * (1.0 + sign * self.threshold)
        else:
            limit = self.best + sign * self.threshold
        return value < limit if self.mode == "min" else value > limit
