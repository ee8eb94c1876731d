"""Callbacks that report: progress on the terminal, a CSV file, TensorBoard."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from functorch_like import Tensor
from nn.training.callbacks import Callback

if TYPE_CHECKING:
    from nn.training.trainer import Trainer

__all__ = ["CSVLogger", "Progress", "TensorBoardLogger"]


class Progress(Callback):
    """Shows progress: a tqdm bar for each epoch where tqdm is installed, else a line for each.

    Args:
      bar: whether to use tqdm; None for where it is installed and a terminal shows it.
      file: where to write; standard error by default.
    """

    def __init__(self, bar: bool | None = None, file: Any = None) -> None:
        self.bar, self.file = bar, file
        self._bar: Any = None
        self._began = 0.0

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Start the epoch's bar."""
        self._open(trainer)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Move the bar."""
        if self._bar is None and not self._began:  # training went on within an epoch
            self._open(trainer)
        if self._bar is not None:
            self._bar.update(trainer.batch - self._bar.n)
            self._bar.set_postfix(loss=f"{trainer.mean_loss:.4g}", refresh=False)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the epoch's numbers."""
        self._close()
        row = trainer.history[-1]
        numbers = ", ".join(
            f"{name} {value:.4g}"
            for name, value in row.items()
            if name != "epoch" and isinstance(value, (int, float))
        )
        seconds = time.monotonic() - self._began
        self._began = 0.0
        text = f"epoch {row['epoch']}/{trainer.epochs}: {numbers} ({seconds:.1f} s)"
        print(text, file=self.file or sys.stderr, flush=True)

    def on_interrupt(self, trainer: Trainer) -> None:
        """Leave the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Leave the bar."""
        self._close()

    def _open(self, trainer: Trainer) -> None:
        self._began = time.monotonic()
        file = self.file or sys.stderr
        if self.bar is False or (self.bar is None and not file.isatty()):
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        loader = trainer._loader
        total = len(loader) if hasattr(loader, "__len__") else None
        self._bar = tqdm(
            total=total, desc=f"epoch {trainer.epoch + 1}/{trainer.epochs}", leave=False, file=file
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class CSVLogger(Callback):
    """Writes the numbers of each epoch to a CSV file, which is rewritten whole each time.

    Training that goes on from a state goes on in the same file: its rows are those of
    trainer.history.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write all rows."""
        import csv

        from functorch_like.serialization.atomic import replacing

        names = list(dict.fromkeys(name for row in trainer.history for name in row))
        with replacing(self.path, "CSVLogger") as draft, open(draft, "w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(trainer.history)


class TensorBoardLogger(Callback):
    """Writes the numbers of each epoch, and losses of batches, for TensorBoard; needs tensorboardX.

    Args:
      directory: for the event files.
      every_batches: how often the loss of a batch is written; 0 for never.
      histograms: write the distribution of each parameter after each epoch.
      images: a function of the trainer that returns pictures by name after each epoch: floats in
        0..1 or uint8, [C, H, W] or [N, C, H, W].
      graph: an input of the model (a tuple for several), for which its graph is written at the
        start; needs the package onnx.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every_batches: int = 50,
        histograms: bool = False,
        images: Callable[[Trainer], Mapping[str, Tensor]] | None = None,
        graph: Any = None,
    ) -> None:
        self.directory = os.fspath(directory)
        self.every_batches, self.histograms = every_batches, histograms
        self.images, self.graph = images, graph
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the event file."""
        try:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "TensorBoardLogger: expected tensorboardX, got none. Install "
                "functorch-like[tensorboard]."
            ) from error
        self._writer = SummaryWriter(self.directory)
        if self.graph is not None:
            self._write_graph(trainer.model)

    def _write_graph(self, model: Any) -> None:
        import tempfile

        from functorch_like import onnx

        inputs = self.graph if isinstance(self.graph, tuple) else (self.graph,)
        training = model.training
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            try:
                onnx.export(model.eval(), inputs, path)
            finally:
                model.train(training)
            self._writer.add_onnx_graph(path)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Write the batch's loss where it is time."""
        if self.every_batches and trainer.batch % self.every_batches == 0:
            self._writer.add_scalar("batch/loss", trainer.last_loss, trainer.steps)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the epoch's numbers."""
        row = trainer.history[-1]
        for name, value in row.items():
            if name != "epoch" and isinstance(value, (int, float)):
                self._writer.add_scalar(f"epoch/{name}", value, row["epoch"])
        if self.histograms:
            for name, parameter in trainer.model.named_parameters():
                values = parameter.detach().float().numpy()
                self._writer.add_histogram(name, values, row["epoch"])
        if self.images is not None:
            for name, image in self.images(trainer).items():
                write = self._writer.add_images if image.ndim == 4 else self._writer.add_image
                write(name, image.detach().numpy(), row["epoch"])
        self._writer.flush()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Close the event file."""
        self.on_fit_end(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
