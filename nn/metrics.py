"""Measures of predictions: functions of a batch or of everything, and Mean and Collect, which add
batches up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "Collect", "Mean", "Metric", "accuracy", "auroc", "confusion_matrix", "f1_score",
    "mean_absolute_error", "mean_squared_error", "precision", "r2_score", "recall",
    "top_k_accuracy",
]  # fmt: skip


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of samples whose class is right.

    Args:
      outputs [n, classes, ...]: scores, whose largest names the class; or classes, shaped as
        targets.
      targets [n, ...] integer: classes.
    Example:
      >>> import functorch_like as ft
      >>> accuracy(ft.tensor([[0.1, 0.9], [0.8, 0.2]]), ft.tensor([1, 1]))
      tensor(0.5000)
    """
    return (_classes("accuracy", outputs, targets) == targets).float().mean()


def top_k_accuracy(outputs: Tensor, targets: Tensor, k: int = 5) -> Tensor:
    """The share of samples whose class is among the k with the largest scores.

    Args:
      outputs [n, classes]: scores.
      targets [n] integer: classes.
    Raises:
      ValueError: k outside 1..classes.
    """
    if outputs.ndim != targets.ndim + 1 or not 1 <= k <= outputs.shape[-1]:
        raise ValueError(
            f"top_k_accuracy: expected scores [n, classes] and k within 1..classes, got "
            f"{list(outputs.shape)} and {k}."
        )
    best = ft.topk(outputs, k, dim=-1)[1]
    return (best == targets.unsqueeze(-1)).any(-1).float().mean()


def confusion_matrix(outputs: Tensor, targets: Tensor, num_classes: int | None = None) -> Tensor:
    """How often each class was taken for each.

    Args:
      outputs, targets: as accuracy's.
      num_classes: number of classes; from the scores, or the largest class, by default.
    Returns:
      [classes, classes] int64: rows are targets, columns what was predicted.
    Example:
      >>> import functorch_like as ft
      >>> confusion_matrix(ft.tensor([0, 1, 1]), ft.tensor([0, 1, 0]))
      tensor([[1, 1],
              [0, 1]])
    """
    predicted = _classes("confusion_matrix", outputs, targets)
    if num_classes is not None:
        size = num_classes
    elif outputs.ndim > targets.ndim:
        size = outputs.shape[1]
    else:
        size = int(ft.maximum(predicted.max(), targets.max())) + 1 if targets.numel() else 0
    cells = targets.reshape(-1).long() * size + predicted.reshape(-1).long()
    return ft.bincount(cells, minlength=size * size).reshape(size, size)


def precision(
    outputs: Tensor, targets: Tensor, average: str | None = "macro", num_classes: int | None = None
) -> Tensor:
    """The share of right ones among the samples taken for a class.

    Args:
      outputs, targets, num_classes: as confusion_matrix's.
      average: "macro" (mean over classes), "weighted" (by their samples), "micro" (all samples
        alike), "binary" (class 1 alone) or None (a tensor over classes).
    Notes: A class that never occurs counts as 0.
    """
    matrix = confusion_matrix(outputs, targets, num_classes)
    return _averaged("precision", matrix, average, lambda tp, fp, fn: _ratio(tp, tp + fp))


def recall(
    outputs: Tensor, targets: Tensor, average: str | None = "macro", num_classes: int | None = None
) -> Tensor:
    """The share of a class's samples that were found; arguments as precision's."""
    matrix = confusion_matrix(outputs, targets, num_classes)
    return _averaged("recall", matrix, average, lambda tp, fp, fn: _ratio(tp, tp + fn))


def f1_score(
    outputs: Tensor, targets: Tensor, average: str | None = "macro", num_classes: int | None = None
) -> Tensor:
    """The harmonic mean of precision and recall; arguments as precision's."""
    matrix = confusion_matrix(outputs, targets, num_classes)
    return _averaged(
        "f1_score", matrix, average, lambda tp, fp, fn: _ratio(2 * tp, 2 * tp + fp + fn)
    )


def auroc(outputs: Tensor, targets: Tensor) -> Tensor:
    """The probability that a positive sample scores higher than a negative one.

    Args:
      outputs [n]: scores of class 1; or [n, classes], for the mean over classes of each against
        the rest.
      targets [n]: classes.
    Returns:
      0-d float64; ties count half; nan where a class has no sample or all.
    Reference: Hanley & McNeil 1982: the rank-sum statistic.
    """
    if outputs.ndim == targets.ndim + 1:
        values = [auroc(outputs[:, c], targets == c) for c in range(outputs.shape[1])]
        return ft.stack(values).mean()
    _same("auroc", outputs, targets)
    scores, positive = outputs.detach().reshape(-1), (targets.reshape(-1) == 1).double()
    ordered = ft.sort(scores)[0]
    low = ft.searchsorted(ordered, scores).double()
    high = ft.searchsorted(ordered, scores, right=True).double()
    ranks = (low + high + 1) / 2  # of ties the mean
    n = positive.sum()
    pairs = n * (positive.numel() - n)
    return ((ranks * positive).sum() - n * (n + 1) / 2) / pairs


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of squared differences."""
    _same("mean_squared_error", outputs, targets)
    return ((outputs - targets) ** 2).mean()


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of absolute differences."""
    _same("mean_absolute_error", outputs, targets)
    return (outputs - targets).abs().mean()


def r2_score(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 minus the share of the targets' variance that is left.

    Example:
      >>> import functorch_like as ft
      >>> r2_score(ft.tensor([1.0, 2.0, 3.0]), ft.tensor([1.0, 2.0, 3.0]))
      tensor(1.)
    """
    _same("r2_score", outputs, targets)
    left = ((targets - outputs) ** 2).sum()
    return 1.0 - left / ((targets - targets.mean()) ** 2).sum()


class Metric:
    """Base of measures over several batches: reset, update with each batch, then compute."""

    def reset(self) -> None:
        """Start anew."""
        raise NotImplementedError

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The value over all batches so far."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What update has gathered."""
        return dict(self.__dict__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave."""
        self.__dict__.update(state_dict)


class Mean(Metric):
    """The mean over samples of a function that is itself one: accuracy, mean_squared_error.

    Example:
      >>> import functorch_like as ft
      >>> metric = Mean(accuracy)
      >>> metric.update(ft.tensor([1, 1, 1]), ft.tensor([1, 1, 1]))
      >>> metric.update(ft.tensor([0]), ft.tensor([1]))
      >>> metric.compute()
      0.75
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self._function = function
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.total, self.count = 0.0, 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch."""
        size = len(targets)
        self.total += float(self._function(outputs, targets)) * size
        self.count += size

    def compute(self) -> float:
        """The mean; nan without a batch."""
        return self.total / self.count if self.count else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """The sum and the number of samples."""
        return {"total": self.total, "count": self.count}


class Collect(Metric):
    """A function of all outputs and targets together: auroc, f1_score, r2_score; keeps them all."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self._function = function
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch."""
        self.outputs.append(outputs.detach())
        self.targets.append(targets.detach())

    def compute(self) -> Any:
        """The function's value, a number where it has one element; nan without a batch."""
        if not self.outputs:
            return float("nan")
        value = self._function(ft.cat(self.outputs), ft.cat(self.targets))
        return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value

    def state_dict(self) -> dict[str, Any]:
        """The batches so far."""
        return {"outputs": list(self.outputs), "targets": list(self.targets)}


def _classes(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.ndim == targets.ndim + 1:
        outputs = outputs.argmax(1)
    _same(name, outputs, targets)
    return outputs


def _same(name: str, outputs: Tensor, targets: Tensor) -> None:
    if tuple(outputs.shape) != tuple(targets.shape):
        raise ShapeError(
            f"{name}: expected outputs that fit the targets, got {list(outputs.shape)} and "
            f"{list(targets.shape)}."
        )


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    some = whole > 0
    return ft.where(some, part, ft.zeros_like(part)) / ft.where(some, whole, ft.ones_like(whole))


def _averaged(
    name: str,
    matrix: Tensor,
    average: str | None,
    score: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    counts = matrix.to(ft.get_default_dtype())
    found = counts.diagonal()
    wrong, missed = counts.sum(0) - found, counts.sum(1) - found
    if average == "micro":
        return score(found.sum(), wrong.sum(), missed.sum())
    scores = score(found, wrong, missed)
    if average is None:
        return scores
    if average == "macro":
        return scores.mean()
    if average == "weighted":
        return (scores * counts.sum(1)).sum() / counts.sum()
    if average == "binary" and len(scores) <= 2:
        return scores[-1]
    raise ValueError(
        f"{name}: expected average 'macro', 'weighted', 'micro', None, or 'binary' with two "
        f"classes, got {average!r} with {len(scores)}."
    )
