"""LRScheduler: what all schedulers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functorch_like import Tensor, TraceError, staging
from nn.optim.base import Optimizer

__all__ = ["LRScheduler", "per_group", "rates_of", "set_option"]


class LRScheduler:
    """Base of schedulers: step() after each epoch (or batch) sets the optimizer's learning rates.

    A subclass gives get_lr(): the rates at self.last_epoch, from the present ones, so that several
    schedulers can act on one optimizer; and closed_form(base_lr) where there is one.

    Args:
      optimizer: whose groups are changed.
      last_epoch: the last epoch done; -1 starts anew.
    Raises:
      TypeError: no optimizer.   KeyError: resuming without "initial_lr" in the groups.
    """

    #: entries of __dict__ that state_dict leaves out
    unsaved: tuple[str, ...] = ("optimizer", "_initial")

    def __new__(cls, *_args: Any, **_options: Any) -> Any:
        self = object.__new__(cls)
        staging.note_made(self)
        return self

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(self, optimizer)
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", _copy(group["lr"]))
        for i, group in enumerate(optimizer.param_groups):
            if "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: expected 'initial_lr' in parameter group {i} with "
                    f"last_epoch={last_epoch}, got none. Load the optimizer's state first."
                )
        self.base_lrs = [_copy(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.first_step()

    def first_step(self) -> None:
        """Set the rates of the first epoch."""
        self._step_count = 0
        self._initial = True
        try:
            self.step()
        finally:
            self._initial = False

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch, one for each group."""
        raise NotImplementedError

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch of a group that started with base_lr."""
        raise NotImplementedError

    def get_last_lr(self) -> list[Any]:
        """The rates that were set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch, or to a given one.

        Args:
          epoch: where to go; by the closed form where there is one.
        Raises:
          TraceError: in a compiled function, where it would happen only while staging.
        """
        self.refuse_in_program()
        self._step_count += 1
        if epoch is None:
            self.advance()
        else:
            self.jump(epoch)

    def refuse_in_program(self) -> None:
        """Raise TraceError where a step would be taken once, not at each run of a program."""
        if staging.current_stage() is not None and not staging.was_made(self):
            raise TraceError(
                f"{type(self).__name__}.step: expected a call outside of the compiled function, "
                "got one inside, which would happen only while staging. Call it after the compiled "
                "step, which reads the learning rate at each run."
            )

    def advance(self) -> None:
        """Go on by one epoch."""
        self.last_epoch += 1
        self.set_rates(self.get_lr())

    def jump(self, epoch: int) -> None:
        """Go to an epoch."""
        self.last_epoch = epoch
        if type(self).closed_form is LRScheduler.closed_form:
            self.set_rates(self.get_lr())
        else:
            self.set_rates([self.closed_form(base) for base in self.base_lrs])

    def set_rates(self, rates: list[Any]) -> None:
        """Give each group its rate."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_option(group, "lr", rate)
        self._last_lr = rates_of(self.optimizer)

    def scaled(self, factor: Any) -> list[Any]:
        """The present rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; plain numbers and lists, with torch's names."""
        return {name: v for name, v in self.__dict__.items() if name not in self.unsaved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave; the optimizer's own rates are in its state."""
        known = self.__dict__.keys() - set(self.unsaved)
        self.__dict__.update({k: v for k, v in state_dict.items() if k in known})


def check_optimizer(scheduler: Any, optimizer: Any) -> None:
    """Raise TypeError for anything else."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{type(scheduler).__name__}: expected an Optimizer, got {type(optimizer).__name__}."
        )


def rates_of(optimizer: Optimizer) -> list[Any]:
    """The present learning rates."""
    return [_copy(group["lr"]) for group in optimizer.param_groups]


def set_option(group: dict[str, Any], name: str, value: Any) -> None:
    """Set a group's option; one that is a tensor is written in place."""
    if isinstance(group[name], Tensor):
        group[name].fill_(float(value))
    else:
        group[name] = value


def per_group(owner: Any, name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group, from a list of them or from one for all."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{type(owner).__name__}: expected {name} for {count} groups, got {len(value)}."
        )
    return list(value)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
