"""A search for a learning rate: batches at rates that grow, until the loss does."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from nn.training.trainer import Trainer

__all__ = ["RateSearch", "find_lr"]


class RateSearch(NamedTuple):
    """Rates that were tried, the smoothed losses at them, and the rate to use."""

    rates: list[float]
    losses: list[float]
    suggestion: float | None

    def plot(self, path: str) -> None:
        """Draw losses over rates into a picture; needs matplotlib."""
        from nn.training.callbacks import _pyplot

        figure_class, canvas_class = _pyplot()
        figure = figure_class(layout="constrained")
        canvas_class(figure)
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="grey", linestyle="--")
        figure.savefig(path)


def find_lr(
    trainer: Trainer,
    batches: Iterable[Any],
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.95,
    diverge: float = 4.0,
) -> RateSearch:
    """Train at rates from start to end, a factor apart; everything is put back afterwards.

    Args:
      trainer: with model, optimizer and loss.
      batches: of training; gone through again where there are fewer than steps.
      start, end: first and last rate.
      steps: how many rates.
      smoothing: share of the running mean of losses that is kept.
      diverge: stop at a loss so many times the lowest.
    Returns:
      The suggestion is where the loss falls fastest, over the logarithm of the rate; None where it
      never falls.
    Raises:
      ValueError: not 0 < start < end; no batch.
    Reference: Smith 2017, section 3.3; Howard & Gugger 2020.
    """
    if not 0 < start < end or steps < 3:
        raise ValueError(
            f"find_lr: expected 0 < start < end and 3 steps or more, got {start}, {end}, {steps}."
        )
    saved = copy.deepcopy(trainer.state_dict())
    groups = trainer.optimizer.param_groups
    callbacks, trainer.callbacks = trainer.callbacks, []
    stop_at_nan, trainer.stop_at_nan = trainer.stop_at_nan, False
    scheduler, trainer.scheduler = trainer.scheduler, None
    training = trainer.model.training
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    try:
        trainer.model.train()
        iterator = iter(batches)
        for i in range(steps):
            rate = start * (end / start) ** (i / (steps - 1))
            for group in groups:
                group["lr"] = rate
            batch = next(iterator, None)
            if batch is None:
                iterator = iter(batches)
                batch = next(iterator, None)
            if batch is None:
                raise ValueError("find_lr: expected at least one batch, got none.")
            trainer._train_batch(batch)
            mean = smoothing * mean + (1 - smoothing) * trainer.last_loss
            smooth = mean / (1 - smoothing ** (i + 1))
            if not math.isfinite(smooth) or (losses and smooth > diverge * min(losses)):
                break
            rates.append(rate)
            losses.append(smooth)
    finally:
        trainer.callbacks, trainer.scheduler = callbacks, scheduler
        trainer.stop_at_nan = stop_at_nan
        trainer.optimizer.zero_grad()
        trainer.load_state_dict(saved)
        trainer.model.train(training)
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, len(losses) - 1)]
    if not slopes or min(slopes) >= 0:
        return RateSearch(rates, losses, None)
    return RateSearch(rates, losses, rates[slopes.index(min(slopes)) + 1])
