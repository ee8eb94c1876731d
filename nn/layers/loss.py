"""Losses between numbers and over classes, as modules; losses/ has the formulas."""

from __future__ import annotations

import math
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn.layers.linear import Linear
from nn.losses.reduction import reduction_name
from nn.module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss",
    "LinearCrossEntropyLoss", "MSELoss", "NLLLoss", "NLLLoss2d", "SmoothL1Loss",
]  # fmt: skip


class _Loss(Module):
    """Base of the losses: keeps reduction ("mean", "sum" or "none").

    size_average and reduce are torch's older form of it; they stand where torch has them.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = reduction_name(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    """A loss with an optional weight, kept as a buffer so that it moves with the module."""

    weight: ft.Tensor | None

    def __init__(
        self,
        weight: ft.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
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
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] and [n, ...] -> [] or [n, ...]."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def _input_error(self, input: ft.Tensor, target: ft.Tensor) -> str | None:
        if target.is_floating_point():
            if list(target.shape) != list(input.shape):
                return (
                    f"CrossEntropyLoss: expected probabilities {list(input.shape)}, got "
                    f"{list(target.shape)}. Classes must be int64: cast with .long()."
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


class LinearCrossEntropyLoss(_WeightedLoss):
    """A Linear without its own place in the model, and cross-entropy of what it gives.

    Args:
      in_features, num_classes: of the Linear. bias: whether it has one.
      out_features: sizes behind the classes, for targets [n, *out_features].
      reduction, weight, ignore_index, label_smoothing: as functional.cross_entropy's.
    Shapes: linear.weight [num_classes * product of out_features, in_features].
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: ft.Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        outputs = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, outputs, bias=bias, device=device, dtype=dtype)

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, in_features] and [n, *out_features] -> [] or [n, *out_features]."""
        sizes = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*sizes, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(sizes),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}"
        )


class NLLLoss(_WeightedLoss):
    """functional.nll_loss: the negative log-probability of the target classes."""

    def __init__(
        self,
        weight: ft.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] and [n, ...] -> [] or [n, ...]."""
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class NLLLoss2d(NLLLoss):
    """NLLLoss, under an older name for images."""


class MSELoss(_Loss):
    """functional.mse_loss: mean of the squared differences.

    Example:
      >>> import functorch_like as ft, nn
      >>> nn.MSELoss()(ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0]))
      tensor(2.)
    """

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """functional.l1_loss: mean of the absolute differences."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """functional.smooth_l1_loss: square below beta, linear above."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """functional.huber_loss: square up to delta, linear above."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_WeightedLoss):
    """functional.binary_cross_entropy of probabilities."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """functional.binary_cross_entropy_with_logits; pos_weight multiplies the terms of target 1."""

    pos_weight: ft.Tensor | None

    def __init__(
        self,
        weight: ft.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: ft.Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """functional.kl_div of log-probabilities and target probabilities."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
