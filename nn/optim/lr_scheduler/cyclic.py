"""Schedulers that rise and fall: CyclicLR, OneCycleLR, warm restarts, warm-up and cosine."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from typing import Any

from nn.optim.base import Optimizer
from nn.optim.lr_scheduler import functional
from nn.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group, set_option

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "WarmupCosineLR"]


class _WithMomentum(LRScheduler):
    """What both have that also move the momentum, against the rate."""

    use_beta1 = False

    def _start_momentum(self, base: Any, largest: Any, first: bool) -> None:
        optimizer = self.optimizer
        if not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{type(self).__name__}: expected an optimizer with momentum or betas, got "
                f"{type(optimizer).__name__}. Pass cycle_momentum=False."
            )
        self.use_beta1 = "betas" in optimizer.defaults
        self.base_momentums = per_group(self, "base_momentum", optimizer, base)
        self.max_momentums = per_group(self, "max_momentum", optimizer, largest)
        if first:
            pairs = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(optimizer.param_groups, pairs, strict=True):
                self._set_momentum(group, high)
                group["max_momentum"], group["base_momentum"] = high, low

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """Up from base_lr to max_lr and down again, batch by batch.

    Args:
      optimizer: whose groups are changed.
      base_lr, max_lr: lowest and highest rate, or one for each group.
      step_size_up, step_size_down: batches on the way up and down; down as up by default.
      mode: "triangular"; "triangular2", half as high each time; "exp_range", by gamma ** batch.
      gamma: of "exp_range".
      scale_fn: the height of a peak instead, as a function of the cycle (from 1) or the batch.
      scale_mode: what scale_fn gets, "cycle" or "iterations".
      cycle_momentum: move the momentum (or the first beta) the other way, between base_momentum and
        max_momentum.
      last_epoch: the last batch done; -1 starts anew.
    Raises:
      ValueError: another mode; no momentum to cycle.
    Reference: Smith 2017.
    """

    unsaved = (*LRScheduler.unsaved, "_scale_fn_custom")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(self, optimizer)
        self.optimizer = optimizer
        base_lrs = per_group(self, "base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for rate, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_option(group, "lr", rate)
        self.max_lrs = per_group(self, "max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                "CyclicLR: expected mode 'triangular', 'triangular2' or 'exp_range', or a "
                f"scale_fn, got {mode!r}."
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        if scale_fn is None:
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of a peak, in a cycle or at a batch."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (x - 1)
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch; sets the momenta."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        rising = x <= self.step_ratio
        height = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            pairs = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, pairs, strict=True):
                self._set_momentum(group, high - (high - low) * height)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """As any scheduler's; of a scale_fn, the attributes of a callable object."""
        fn = self._scale_fn_custom
        saved = None if fn is None or isinstance(fn, types.FunctionType) else vars(fn).copy()
        return {**super().state_dict(), "_scale_fn_custom": saved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave."""
        super().load_state_dict(state_dict)
        attributes = state_dict.get("_scale_fn_custom")
        if attributes is not None:
            vars(self._scale_fn_custom).update(attributes)


# what the momentum is at the ends of OneCycleLR's phases
_MOMENTA = ("max_momentum", "base_momentum", "max_momentum", "max_momentum")


class OneCycleLR(_WithMomentum):
    """One rise to max_lr and a fall far below the start, batch by batch.

    Args:
      optimizer: whose groups are changed.
      max_lr: highest rate, or one for each group.
      total_steps: batches in all; or epochs and steps_per_epoch.
      pct_start: share of the steps that rise.
      anneal_strategy: "cos" or "linear".
      cycle_momentum: move the momentum (or the first beta) the other way, between base_momentum and
        max_momentum.
      div_factor: the first rate is max_lr / div_factor.
      final_div_factor: the last rate is the first / final_div_factor.
      three_phase: fall as long as it rose, then to the last rate.
      last_epoch: the last batch done; -1 starts anew.
    Raises:
      ValueError: an option out of range; more steps than total_steps.
    Reference: Smith & Topin 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(self, optimizer)
        self.optimizer = optimizer
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(
                "OneCycleLR: expected total_steps, or epochs and steps_per_epoch, as integers "
                f"above 0, got {total_steps}, {epochs} and {steps_per_epoch}."
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: expected pct_start within 0..1, got {pct_start}.")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}."
            )
        self.total_steps = total_steps
        self.three_phase = three_phase
        self._ends = functional.one_cycle_ends(total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        if last_epoch == -1:
            rates = per_group(self, "max_lr", optimizer, max_lr)
            for rate, group in zip(rates, optimizer.param_groups, strict=True):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch; sets the momenta."""
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: expected at most total_steps={self.total_steps} steps, got "
                f"{self.last_epoch}."
            )
        step, ends, i = self.last_epoch, self._ends, 0
        while i + 1 < len(ends) and step > ends[i]:
            i += 1
        start, end = ends[i - 1] if i else 0.0, ends[i]
        share = (step - start) / (end - start) if end != start else 0.0
        if self._anneal_func_type == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        back = "initial_lr" if self.three_phase else "min_lr"
        names = ("initial_lr", "max_lr", back, "min_lr")
        rates = []
        for group in self.optimizer.param_groups:
            rate = group[names[i]]
            rates.append(rate + (group[names[i + 1]] - rate) * share)
            if self.cycle_momentum:
                momentum = group[_MOMENTA[i]]
                change = (group[_MOMENTA[i + 1]] - momentum) * share
                self._set_momentum(group, momentum + change)
        return rates


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to eta_min, again and again.

    Args:
      optimizer: whose groups are changed.
      T_0: epochs until the first restart.
      T_mult: how much longer each cycle is than the one before.
      eta_min: the lowest rate.
      last_epoch: the last epoch done; -1 starts anew.
    Raises:
      ValueError: T_0 or T_mult below 1.
    Notes: step(epoch) takes fractions: step(epoch + batch / batches).
    Reference: Loshchilov & Hutter 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    "CosineAnnealingWarmRestarts: expected "
                    f"{name} as an integer of at least 1, got {value}."
                )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at T_cur of T_i epochs of this cycle."""
        share = self.T_cur / self.T_i
        return [
            self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * share)) / 2
            for base in self.base_lrs
        ]

    def advance(self) -> None:
        """Go on by one epoch."""
        if self.last_epoch < 0:
            self.jump(0)
            return
        self.T_cur += 1
        if self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        super().advance()

    def jump(self, epoch: float) -> None:
        """Go to an epoch, which may be a fraction."""
        if epoch < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: expected an epoch of at least 0, got {epoch}."
            )
        if self.T_mult == 1:
            self.T_cur, self.T_i = epoch % self.T_0, self.T_0
        else:
            before, length = 0, self.T_0
            while epoch >= before + length:
                before, length = before + length, length * self.T_mult
            self.T_cur, self.T_i = epoch - before, length
        self.last_epoch = math.floor(epoch)
        self.set_rates(self.get_lr())


class WarmupCosineLR(LRScheduler):
    """Linearly up to the initial rate in warmup_steps, then half a cosine down to eta_min.

    Args:
      optimizer: whose groups are changed.
      warmup_steps: steps of the rise; the first has 1 / warmup_steps of the rate.
      total_steps: where the fall ends.
      eta_min: the lowest rate, which stays.
      last_epoch: the last step done; -1 starts anew.
    Raises:
      ValueError: not 0 <= warmup_steps < total_steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "WarmupCosineLR: expected 0 <= warmup_steps < total_steps, got "
                f"{warmup_steps} and {total_steps}."
            )
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at last_epoch."""
        return [self.closed_form(base) for base in self.base_lrs]

    def closed_form(self, base_lr: Any) -> Any:
        """The rate at last_epoch."""
        return functional.warmup_cosine(
            self.last_epoch, base_lr, self.warmup_steps, self.total_steps, self.eta_min
        )
