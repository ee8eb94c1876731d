"""Trainer: the training loop, with validation, callbacks, and states to go on from.

A state holds everything that the next batch depends on: model, optimizer, scheduler, the position
in the data and the order drawn for it, random generators, running means, callbacks. Training that
goes on from one gives the same bits as training that was never stopped.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, tree
from nn import metrics as measures
from nn.metrics import Collect, Mean, Metric
from nn.module import Module
from nn.optim.grad_scaler import GradScaler
from nn.training.callbacks import Callback
from nn.training.nonfinite import NonFiniteLossError, explain
from nn.utils import clip_grad_norm_

__all__ = ["Trainer"]

_MEANS = {measures.accuracy, measures.mean_squared_error, measures.mean_absolute_error}
_MEANS |= {measures.top_k_accuracy}


class Trainer:
    """Trains a model on batches (inputs, targets).

    Args:
      model: called with the inputs.
      optimizer: of the model's parameters; not needed for validate and predict.
      loss: function of outputs and targets.
      scheduler: of the learning rate; a ReduceLROnPlateau gets the validation loss, or the loss.
      scheduler_every: "epoch" or "batch": when the scheduler steps.
      metrics: names and functions of outputs and targets, or Metrics; taken in training and
        validation. Functions that are no mean over samples get all outputs of an epoch at once.
      callbacks: called at the events they define, in order.
      accumulate: batches whose gradients are averaged for one step.
      clip_norm: largest norm of all gradients; None for no limit.
      precision: None, or "bf16" or "fp16" for autocast; "fp16" with a GradScaler.
      step: function (model, batch) that gives the loss, for batches of other forms: a tensor, or
        (loss, outputs, targets) where metrics are wanted. Replaces loss.
      stop_at_nan: raise NonFiniteLossError at a loss that is not finite, before any step.
    Attributes:
      history: a dict of numbers for each finished epoch.
      epoch, batch, steps: finished epochs, batches of the present one, optimizer steps in all.
      interrupted: whether Ctrl-C ended the last fit.
      should_stop: callbacks set it to end after the present batch.
    Example:
      >>> import functorch_like as ft, nn
      >>> from nn.data import DataLoader, TensorDataset
      >>> x = ft.linspace(-1, 1, 64).reshape(64, 1)
      >>> data = DataLoader(TensorDataset(x, 3 * x), batch_size=16)
      >>> model = nn.Linear(1, 1)
      >>> trainer = Trainer(model, nn.optim.SGD(model.parameters(), lr=0.3), nn.MSELoss())
      >>> history = trainer.fit(data, epochs=30)
      >>> history[-1]["loss"] < 1e-3
      True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Any = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        *,
        scheduler: Any = None,
        scheduler_every: str = "epoch",
        metrics: Mapping[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: str | None = None,
        step: Callable[[Module, Any], Any] | None = None,
        stop_at_nan: bool = True,
    ) -> None:
        if scheduler_every not in ("epoch", "batch"):
            raise ValueError(
                f"Trainer: expected scheduler_every 'epoch' or 'batch', got {scheduler_every!r}."
            )
        if precision not in (None, "bf16", "fp16"):
            raise ValueError(
                f"Trainer: expected precision 'bf16', 'fp16' or None, got {precision!r}."
            )
        if accumulate < 1:
            raise ValueError(f"Trainer: expected accumulate of at least 1, got {accumulate}.")
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.scheduler = scheduler
        self.scheduler_every = scheduler_every
        self.metrics = {name: _metric(value) for name, value in (metrics or {}).items()}
        self.callbacks = list(callbacks)
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.precision = precision
        self.scaler = GradScaler(enabled=precision == "fp16")
        self.step = step
        self.stop_at_nan = stop_at_nan
        self.history: list[dict[str, Any]] = []
        self.epoch = self.batch = self.steps = 0
        self.epochs = 0
        self.should_stop = self.interrupted = False
        self.last_loss = float("nan")
        self._loss_sum, self._samples = 0.0, 0
        self._loader: Any = None

    # ---- fit ----

    def fit(
        self,
        train: Iterable[Any],
        epochs: int = 1,
        validation: Iterable[Any] | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Train until `epochs` epochs are finished, counted from the first fit; gives history.

        Args:
          train: a DataLoader, or anything that gives batches in each pass.
          epochs: how many in all.
          validation: batches that are looked at after each epoch.
          resume: file to go on from, as save() or ModelCheckpoint wrote it.
        Raises:
          NonFiniteLossError: a loss that is nan or infinite.
          TypeError: no optimizer, or neither loss nor step.
        Notes: Ctrl-C ends training after the present batch; callbacks then save. A second one
          interrupts at once.
        """
        if self.optimizer is None or (self.loss is None and self.step is None):
            raise TypeError(
                "Trainer.fit: expected an optimizer, and a loss or a step, got none of one."
            )
        self._loader, self.epochs = train, epochs
        self.should_stop = self.interrupted = False
        rng = None
        if resume is not None:
            rng = self.load(resume)
        self._call("on_fit_start")
        try:
            with self._ctrl_c():
                while self.epoch < epochs and not self.should_stop:
                    self._run_epoch(train, validation, rng)
                    rng = None
        except BaseException as error:
            self._call("on_exception", error)
            raise
        finally:
            self._loader = None
        self._call("on_fit_end")
        return self.history

    def _run_epoch(self, train: Iterable[Any], validation: Any, rng: Any) -> None:
        self.model.train()
        if self.batch == 0:
            self._loss_sum, self._samples = 0.0, 0
            for metric in self.metrics.values():
                metric.reset()
            self._call("on_epoch_start")
        iterator = iter(train)
        if self.batch and not hasattr(train, "load_state_dict"):
            for _ in range(self.batch):
                next(iterator)
        if rng is not None:
            _set_rng(rng)
        for batch in iterator:
            self._train_batch(batch)
            self._call("on_batch_end")
            if self.should_stop:
                if hasattr(train, "load_state_dict"):  # another fit goes on from here
                    train.load_state_dict(train.state_dict())  # type: ignore[attr-defined]
                _close(iterator)
                if self.interrupted:
                    self._call("on_interrupt")
                return
        if self.batch % self.accumulate:
            self._update()
        row: dict[str, Any] = {"epoch": self.epoch + 1, "loss": self.mean_loss}
        row |= {name: _number(metric.compute()) for name, metric in self.metrics.items()}
        if validation is not None:
            row |= {f"val_{name}": value for name, value in self.validate(validation).items()}
        row["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and self.scheduler_every == "epoch":
            self._step_scheduler(row.get("val_loss", row["loss"]))
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        self._call("on_epoch_end")

    def _train_batch(self, batch: Any) -> None:
        if self.batch % self.accumulate == 0:
            self.optimizer.zero_grad()
        loss, outputs, targets = self._loss_of(batch)
        self.last_loss = value = float(loss)
        if self.stop_at_nan and not abs(value) < float("inf"):
            inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
            raise NonFiniteLossError(
                f"Trainer.fit: expected a finite loss, got {value} in epoch {self.epoch + 1}, "
                f"batch {self.batch + 1}, at learning rate "
                f"{float(self.optimizer.param_groups[0]['lr']):g}. "
                f"{explain(self.model, inputs, targets)} No step was made."
            )
        loss = loss / self.accumulate if self.accumulate > 1 else loss
        self.scaler.scale(loss).backward()
        size = _size(targets if targets is not None else batch)
        self._loss_sum += value * size
        self._samples += size
        if self.metrics and outputs is not None and targets is not None:
            with ft.no_grad():
                for metric in self.metrics.values():
                    metric.update(outputs.detach(), targets)
        self.batch += 1
        if self.batch % self.accumulate == 0:
            self._update()

    def _update(self) -> None:
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        if self.scheduler is not None and self.scheduler_every == "batch":
            self._step_scheduler(self.mean_loss)

    def _step_scheduler(self, value: float) -> None:
        from nn.optim.lr_scheduler import ReduceLROnPlateau

        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value)
        else:
            self.scheduler.step()

    def _loss_of(self, batch: Any) -> tuple[Tensor, Any, Any]:
        """(loss, outputs, targets) of a batch."""
        if self.precision is None:
            return self._plain_loss_of(batch)
        with ft.autocast(dtype=ft.bfloat16 if self.precision == "bf16" else ft.float16):
            return self._plain_loss_of(batch)

    def _plain_loss_of(self, batch: Any) -> tuple[Tensor, Any, Any]:
        if self.step is not None:
            result = self.step(self.model, batch)
            return result if isinstance(result, tuple) else (result, None, None)
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise TypeError(
                "Trainer: expected batches (inputs, targets), got "
                f"{type(batch).__name__}. Pass step=, which takes any batch."
            )
        inputs, targets = batch
        outputs = self.model(inputs)
        assert self.loss is not None
        return self.loss(outputs, targets), outputs, targets

    @property
    def mean_loss(self) -> float:
        """The mean loss of the present epoch so far; nan before its first batch."""
        return self._loss_sum / self._samples if self._samples else float("nan")

    def _call(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """The first Ctrl-C asks to stop; the second is as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(_number: int, _frame: Any) -> None:
            self.interrupted = self.should_stop = True
            signal.signal(signal.SIGINT, before)
            print("stopping after this batch; Ctrl-C again stops at once", file=sys.stderr)

        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # ---- without training ----

    def validate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Mean loss and metrics over batches, in evaluation mode; changes nothing."""
        saved = {name: metric.state_dict() for name, metric in self.metrics.items()}
        training = self.model.training
        total, samples = 0.0, 0
        self.model.eval()
        try:
            for metric in self.metrics.values():
                metric.reset()
            with ft.no_grad():
                for batch in batches:
                    loss, outputs, targets = self._loss_of(batch)
                    size = _size(targets if targets is not None else batch)
                    total, samples = total + float(loss) * size, samples + size
                    if outputs is not None and targets is not None:
                        for metric in self.metrics.values():
                            metric.update(outputs, targets)
            values = {name: _number(metric.compute()) for name, metric in self.metrics.items()}
        finally:
            self.model.train(training)
            for name, metric in self.metrics.items():
                metric.load_state_dict(saved[name])
        return {"loss": total / samples if samples else float("nan"), **values}

    def predict(self, batches: Iterable[Any]) -> Any:
        """The model's outputs for all batches together, in evaluation mode.

        Args:
          batches: inputs, or (inputs, targets), whose targets are not looked at.
        """
        training = self.model.training
        self.model.eval()
        try:
            with ft.no_grad():
                found = [
                    self.model(batch[0] if isinstance(batch, (tuple, list)) else batch)
                    for batch in batches
                ]
        finally:
            self.model.train(training)
        if not found:
            raise ValueError("Trainer.predict: expected at least one batch, got none.")
        return tree.map(lambda *parts: ft.cat(list(parts)), *found)

    # ---- states ----

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on, for nn.save()."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "history": list(self.history),
            "loss_sum": self._loss_sum,
            "samples": self._samples,
            "model": dict(self.model.state_dict()),
            "rng": _rng(),
            "metrics": {name: m.state_dict() for name, m in self.metrics.items()},
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }
        if self.optimizer is not None:
            state["optimizer"] = self.optimizer.state_dict()
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        if self.scheduler is not None:
            state["scheduler"] = self.scheduler.state_dict()
        if hasattr(self._loader, "state_dict"):
            state["loader"] = self._loader.state_dict()
        if self.batch % self.accumulate:  # gradients that no step has used yet
            state["grads"] = {
                name: p.grad for name, p in self.model.named_parameters() if p.grad is not None
            }
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from state_dict(): the same model, optimizer, scheduler and callbacks are needed.

        Raises:
          ValueError, RuntimeError: the state belongs to others.
        """
        for name in ("optimizer", "scheduler"):
            if (name in state) != (getattr(self, name) is not None):
                how = ("one", "none") if name in state else ("none", "one")
                raise ValueError(
                    f"Trainer.load_state_dict: expected the trainer's {name} to fit the state's, "
                    f"got {how[0]} in the state and {how[1]} in the trainer."
                )
        if len(state["callbacks"]) != len(self.callbacks):
            raise ValueError(
                f"Trainer.load_state_dict: expected {len(self.callbacks)} callbacks, got a state "
                f"of {len(state['callbacks'])}."
            )
        self.model.load_state_dict(state["model"])
        for name in ("optimizer", "scheduler"):
            if name in state:
                getattr(self, name).load_state_dict(state[name])
        if "loader" in state and hasattr(self._loader, "load_state_dict"):
            self._loader.load_state_dict(state["loader"])
        if "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.steps = state["steps"]
        self.history = [dict(row) for row in state["history"]]
        self._loss_sum, self._samples = state["loss_sum"], state["samples"]
        for name, metric in self.metrics.items():
            if name in state["metrics"]:
                metric.load_state_dict(state["metrics"][name])
        for callback, its in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(its)
        if "grads" in state:
            for name, parameter in self.model.named_parameters():
                parameter.grad = state["grads"].get(name)
        _set_rng(state["rng"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, which replaces an old one only once it is complete."""
        from functorch_like.serialization import save

        save(self.state_dict(), path)

    def load(self, path: str | os.PathLike[str]) -> Any:
        """Go on from a file of save(); gives the state of the random generators in it."""
        from functorch_like.serialization import load

        state = load(path)
        if not isinstance(state.get("callbacks"), list) or "model" not in state:
            raise ValueError(
                f"Trainer.load: expected the state of a Trainer in {os.fspath(path)}, got other "
                "contents."
            )
        self.load_state_dict(state)
        return state["rng"]


def _metric(value: Any) -> Metric:
    if isinstance(value, Metric):
        return value
    if not callable(value):
        raise TypeError(
            f"Trainer: expected functions or Metrics as metrics, got {type(value).__name__}."
        )
    return Mean(value) if value in _MEANS else Collect(value)


def _number(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def _size(batch: Any) -> int:
    """The number of samples in a batch."""
    for leaf in tree.leaves(batch):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _rng() -> dict[str, Any]:
    """The states of all generators that training may draw from."""
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "ours": ft.get_rng_state().tolist(),
        "python": [version, list(words), gauss],
    }
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        state["numpy"] = [name, [int(key) for key in keys], *rest]
    return state


def _set_rng(state: Mapping[str, Any]) -> None:
    ft.set_rng_state(ft.tensor(state["ours"], dtype=ft.int64))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    if "numpy" in state:
        import numpy as np

        name, keys, *rest = state["numpy"]
        np.random.set_state((name, np.array(keys, np.uint32), *rest))
