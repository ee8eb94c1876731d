"""Losses as modules; functional.py has the formulas."""

from __future__ import annotations

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """Base of the losses: keeps reduction ("mean", "sum" or "none")."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with an optional weight, kept as a buffer so that it moves with the module."""

    weight: ft.Tensor | None

    def __init__(self, weight: ft.Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """functional.cross_entropy: softmax and negative log-likelihood in one.

    Args:
      weight [classes]: a factor for each class.
      ignore_index: targets with this value count for nothing.
      reduction: "mean", "sum" or "none".
      label_smoothing: share of the target spread evenly over all classes.
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.CrossEntropyLoss()(ft.tensor([[0.0, 0.0]]), ft.tensor([1]))
      tensor(0.6931)
    """

    def __init__(
        self,
        weight: ft.Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] and [n, ...] -> [] or [n, ...]."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )

    def _input_error(self, input: ft.Tensor, target: ft.Tensor) -> str | None:
        if target.is_floating_point():
            if list(target.shape) != list(input.shape):
                return (
                    f"CrossEntropyLoss: expected probabilities {list(input.shape)}, got "
                    f"{list(target.shape)}. "
                    "Classes must be int64: cast with .long()."
                )
            return None
        expected = [*input.shape[:1], *input.shape[2:]] if input.ndim > 1 else []
        if list(target.shape) != expected:
            return (
                f"CrossEntropyLoss: expected classes {expected} for logits {list(input.shape)}, "
                f"got {list(target.shape)}. Logits have the classes along dim 1."
            )
        classes = input.shape[1] if input.ndim > 1 else input.shape[0]
        counted = target[target != self.ignore_index]
        if counted.numel() and (int(counted.min()) < 0 or int(counted.max()) >= classes):
            return (
                f"CrossEntropyLoss: expected classes 0..{classes - 1}, got "
                f"{int(counted.min())}..{int(counted.max())}. "
                "The last layer needs one output per class."
            )
        return None


class NLLLoss(_WeightedLoss):
    """functional.nll_loss: the negative log-probability of the target classes."""

    def __init__(
        self, weight: ft.Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] and [n, ...] -> [] or [n, ...]."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """functional.mse_loss: mean of the squared differences.

    Example:
      >>> import functorch_like as ft, nn
      >>> nn.MSELoss()(ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0]))
      tensor(2.)
    """

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """functional.l1_loss: mean of the absolute differences."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """functional.smooth_l1_loss: square below beta, linear above."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """functional.huber_loss: square up to delta, linear above."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_WeightedLoss):
    """functional.binary_cross_entropy of probabilities."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """functional.binary_cross_entropy_with_logits; pos_weight multiplies the terms of target 1."""

    pos_weight: ft.Tensor | None

    def __init__(
        self,
        weight: ft.Tensor | None = None,
        reduction: str = "mean",
        pos_weight: ft.Tensor | None = None,
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class KLDivLoss(_Loss):
    """functional.kl_div of log-probabilities and target probabilities."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.kl_div(input, target, self.reduction, self.log_target)
