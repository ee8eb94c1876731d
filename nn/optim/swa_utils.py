"""Averages of weights over training: AveragedModel, its averaging rules, SWALR, update_bn."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.updates import put_all
from nn.layers.batch_norm import _BatchNorm
from nn.module import Module
from nn.optim.base import Optimizer
from nn.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

Rule = Callable[[Tensor, Tensor, Any], Tensor]
ManyRule = Callable[[list[Tensor], list[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Rule:
    """The rule of an exponential mean: decay of the average is kept.

    Raises:
      ValueError: decay outside 0..1.
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"get_ema_avg_fn: expected decay within 0..1, got {decay}.")

    def rule(averaged: Tensor, current: Tensor, _count: Any) -> Tensor:
        return _exponential(averaged, current, decay)

    return rule


def _exponential(averaged: Tensor, current: Tensor, decay: float) -> Tensor:
    return averaged * decay + current * (1 - decay)


def get_swa_avg_fn() -> Rule:
    """The rule of the plain mean over all updates."""

    def rule(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        return averaged + (current - averaged) / (float(count) + 1.0)

    return rule


def _many(rule: Rule) -> ManyRule:
    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with ft.autograd.untaped():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(rule(old, new, count).to(old.dtype))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> ManyRule:
    """get_ema_avg_fn for lists of tensors, in place."""
    each = _many(get_ema_avg_fn(decay))

    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with ft.autograd.untaped():
            swept = put_all(_exponential, [averaged, current], decay)
        if not swept:
            each(averaged, current, count)

    return update


def get_swa_multi_avg_fn() -> ManyRule:
    """get_swa_avg_fn for lists of tensors, in place."""
    return _many(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's over training.

    Args:
      model: copied; its state is not taken until the first update.
      device: where to put the copy.
      avg_fn: rule (average, current, number of updates) -> average; the plain mean by default.
      multi_avg_fn: the same for lists of tensors, in place, instead of avg_fn.
      use_buffers: average buffers too; else they are copied at each update.
    Raises:
      ValueError: both avg_fn and multi_avg_fn.
    Reference: Izmailov et al. 2018; exponential means: Polyak & Juditsky 1992.
    Example:
      >>> import functorch_like as ft, nn
      >>> model = nn.Linear(1, 1)
      >>> mean = AveragedModel(model)
      >>> for value in (1.0, 3.0):
      ...     with ft.no_grad():
      ...         _ = model.weight.fill_(value)
      ...     mean.update_parameters(model)
      >>> mean.module.weight.tolist()
      [[2.0]]
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Rule | None = None,
        multi_avg_fn: ManyRule | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: expected avg_fn or multi_avg_fn, got both.")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ft.tensor(0, dtype=ft.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take in the model's present parameters."""
        averaged, current = list(self.module.parameters()), list(model.parameters())
        old, new = list(self.module.buffers()), list(model.buffers())
        if self.use_buffers:
            averaged, current, old, new = [*averaged, *old], [*current, *new], [], []
        if len(averaged) != len(current):
            raise ValueError(
                f"AveragedModel: expected a model with {len(averaged)} tensors, got {len(current)}."
            )
        count = self.n_averaged
        update = self.multi_avg_fn or _many(self.avg_fn or get_swa_avg_fn())
        with ft.autograd.untaped():
            if int(count) == 0:
                for a, b in zip(averaged, current, strict=True):
                    a.copy_(b.detach())
            else:
                update([a.detach() for a in averaged], [b.detach() for b in current], count)
            for a, b in zip(old, new, strict=True):
                a.copy_(b.detach())
            count.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew, in one pass over inputs.

    Args:
      loader: batches of inputs, or (inputs, ...).
      model: changed; needed after its parameters were averaged.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], model.training
    model.train()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        with ft.autograd.untaped():
            for batch in loader:
                inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(inputs if device is None else inputs.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs steps, and constant from there.

    Args:
      optimizer: whose groups are changed.
      swa_lr: the last rate, or one for each group.
      anneal_epochs: steps on the way.
      anneal_strategy: "cos" or "linear".
      last_epoch: the last epoch done; -1 starts anew.
    Raises:
      ValueError: another strategy; anneal_epochs below 0.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(self, optimizer)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"SWALR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}."
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(
                f"SWALR: expected anneal_epochs as an integer >= 0, got {anneal_epochs}."
            )
        rates = per_group(self, "swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs = anneal_epochs
        self._anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        """The rates at this step; the rate at the start is worked out from the present one."""
        step = max(1, self._step_count - 1) if self.anneal_epochs == 0 else self._step_count - 1
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            first = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * now + first * (1 - now))
        return rates
