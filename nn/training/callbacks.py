"""Callbacks of a Trainer: stopping early, checkpoints, the learning curve as a picture."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.training.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "LearningCurve", "ModelCheckpoint"]


class Callback:
    """Base of callbacks: each method is called at its event and does nothing here."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first batch of a fit; after a state was loaded."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each batch of training."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch and its validation; its numbers are trainer.history[-1]."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """After the last batch when Ctrl-C was pressed."""

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """When fit ends with an exception."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """When fit ends without one."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback needs to go on."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave."""


def _better(mode: str, value: float, best: float, least: float = 0.0) -> bool:
    if math.isnan(value):
        return False
    return value < best - least if mode == "min" else value > best + least


def _check_mode(owner: Any, mode: str) -> float:
    if mode not in ("min", "max"):
        raise ValueError(f"{type(owner).__name__}: expected mode 'min' or 'max', got {mode!r}.")
    return math.inf if mode == "min" else -math.inf


def _monitored(owner: Any, trainer: Trainer, name: str) -> float:
    row = trainer.history[-1]
    if name not in row:
        raise KeyError(
            f"{type(owner).__name__}: expected {name} among {', '.join(row)}, got none. Pass "
            "validation= to fit, or monitor another."
        )
    return float(row[name])


class EarlyStopping(Callback):
    """Ends training when a number has not improved for more than patience epochs.

    Args:
      monitor: its name in trainer.history.
      mode: "min" or "max": which numbers are better.
      patience: epochs without improvement that are borne.
      min_delta: least improvement that counts.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "min",
        patience: int = 5,
        min_delta: float = 0.0,
    ) -> None:
        self.best = _check_mode(self, mode)
        self.monitor, self.mode = monitor, mode
        self.patience, self.min_delta = patience, min_delta
        self.waited = 0

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Look at the epoch's number."""
        value = _monitored(self, trainer, self.monitor)
        if _better(self.mode, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The best number, and the epochs since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave."""
        self.best, self.waited = state_dict["best"], state_dict["waited"]


class ModelCheckpoint(Callback):
    """Writes the trainer's state: the best ones by a number, and always the last.

    Args:
      directory: for the files; made if needed. `last.safetensors` is the newest state; fit goes on
        from it with resume=.
      monitor: name in trainer.history of the number that decides; None keeps the newest.
      mode: "min" or "max": which numbers are better.
      keep: how many of the best to keep.
      every_batches: also write `last` after so many batches; None for after each epoch only.
    Notes: Files are replaced whole or not at all. With Ctrl-C `last` is written before fit returns.
    """

    LAST = "last.safetensors"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str | None = "val_loss",
        mode: str = "min",
        keep: int = 1,
        every_batches: int | None = None,
    ) -> None:
        _check_mode(self, mode)
        if keep < 0 or (every_batches is not None and every_batches < 1):
            raise ValueError(
                "ModelCheckpoint: expected keep >= 0 and every_batches >= 1, got "
                f"{keep} and {every_batches}."
            )
        self.directory = os.fspath(directory)
        self.monitor, self.mode = monitor, mode
        self.keep, self.every_batches = keep, every_batches
        self.kept: list[tuple[float, str]] = []  # best first

    @property
    def best_path(self) -> str | None:
        """The file of the best state; None before the first."""
        return os.path.join(self.directory, self.kept[0][1]) if self.kept else None

    @property
    def last_path(self) -> str:
        """The file of the newest state."""
        return os.path.join(self.directory, self.LAST)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Make the directory, so that a bad one is noticed before training."""
        os.makedirs(self.directory, exist_ok=True)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Write the last state where it is time."""
        if self.every_batches and trainer.batch % self.every_batches == 0:
            trainer.save(self.last_path)

    def on_interrupt(self, trainer: Trainer) -> None:
        """Write the last state."""
        trainer.save(self.last_path)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the state if it is among the best, and the last; remove what is not kept."""
        if self.monitor is None:
            score = -float(trainer.epoch) if self.mode == "min" else float(trainer.epoch)
        else:
            score = _monitored(self, trainer, self.monitor)
        full = len(self.kept) >= self.keep
        dropped: list[str] = []
        name = None
        if self.keep and not (full and not _better(self.mode, score, self.kept[-1][0])):
            name = f"epoch-{trainer.epoch:04d}.safetensors"
            self.kept = [pair for pair in self.kept if pair[1] != name] + [(score, name)]
            self.kept.sort(key=lambda pair: self._rank(pair[0]))
            dropped = [path for _, path in self.kept[self.keep :]]
            self.kept = self.kept[: self.keep]
        if name is not None:
            trainer.save(os.path.join(self.directory, name))
        trainer.save(self.last_path)
        for path in dropped:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, path))

    def _rank(self, score: float) -> float:
        if math.isnan(score):
            return math.inf
        return score if self.mode == "min" else -score

    def state_dict(self) -> dict[str, Any]:
        """The numbers and names of the files that are kept."""
        return {"kept": [list(pair) for pair in self.kept]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave; files that are gone are forgotten."""
        pairs = [(float(score), str(name)) for score, name in state_dict["kept"]]
        self.kept = [
            (score, name)
            for score, name in pairs
            if os.path.exists(os.path.join(self.directory, name))
        ]


class LearningCurve(Callback):
    """Draws the numbers of all epochs into a picture, anew after each; needs matplotlib.

    Args:
      path: the picture's file; its ending names the format.
      log_scale: a logarithmic axis for losses.
    """

    def __init__(self, path: str | os.PathLike[str], log_scale: bool = False) -> None:
        self.path = os.fspath(path)
        self.log_scale = log_scale

    def on_fit_start(self, trainer: Trainer) -> None:
        """Look whether matplotlib is there, before training."""
        _pyplot()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Draw."""
        figure_class, canvas_class = _pyplot()
        rows = trainer.history
        names = [
            name
            for name in rows[-1]
            if name not in ("epoch", "lr") and isinstance(rows[-1][name], (int, float))
        ]
        kinds = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        figure = figure_class(figsize=(5 * len(kinds), 3.6), layout="constrained")
        canvas_class(figure)
        for i, kind in enumerate(kinds):
            axes = figure.add_subplot(1, len(kinds), i + 1)
            for name, label in ((kind, "training"), (f"val_{kind}", "validation")):
                points = [(row["epoch"], row[name]) for row in rows if name in row]
                if points:
                    axes.plot(*zip(*points, strict=True), label=label, marker=".")
            axes.set(xlabel="epoch", title=kind)
            if kind == "loss" and self.log_scale:
                axes.set_yscale("log")
            axes.legend()
        figure.savefig(self.path)


def _pyplot() -> Any:
    try:
        from matplotlib.backends.backend_agg import (  # pyright: ignore[reportMissingImports]
            FigureCanvasAgg,
        )
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "LearningCurve: expected matplotlib, got none. Install functorch-like[train]."
        ) from error
    return Figure, FigureCanvasAgg
