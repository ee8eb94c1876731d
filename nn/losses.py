"""Losses as pure functions of tensors; nn.functional re-exports them.

They broadcast input against target without a warning: give equal shapes. All are compositions or
fused operations of functorch_like, so that all work under every transform.
"""

from __future__ import annotations

import math

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


def _reduce(op: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{op}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}.")


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of the target classes under softmax(input).

    Args:
      input [n, c, ...] or [c] floating: logits.
      target [n, ...] or [] int64: classes; or floating, as input: a probability for each class.
      weight [c]: a factor for each class.
      ignore_index: targets with this value count for nothing.
      reduction: "mean" (weighted), "sum" or "none".
      label_smoothing: share of the target spread evenly over all classes.
    Returns:
      [], or [n, ...] for "none".
    Example:
      >>> cross_entropy(ft.tensor([[0.0, 0.0]]), ft.tensor([1]))
      tensor(0.6931)
    """
    return ft.cross_entropy(
        input,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input at the classes; input [n, c, ...] holds log-probabilities, target [n, ...] int64."""
    return ft.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """(input - target) ** 2, averaged, summed, or elementwise ("none").

    Example:
      >>> mse_loss(ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0]))
      tensor(2.)
    """
    difference = input - target
    loss = difference * difference
    return _reduce("mse_loss", loss if weight is None else loss * weight, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|, averaged, summed, or elementwise ("none")."""
    return _reduce("l1_loss", (input - target).abs(), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Square / (2 beta) for differences below beta, linear above. Reference: Girshick 2015."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: expected beta >= 0, got {beta}.")
    difference = input - target
    distance = difference.abs()
    if beta > 0:
        distance = ft.where(
            distance < beta, difference * difference * (0.5 / beta), distance - 0.5 * beta
        )
    return _reduce("smooth_l1_loss", distance, reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Square / 2 for differences up to delta, linear above. Reference: Huber 1964."""
    if delta <= 0:
        raise ValueError(f"huber_loss: expected delta > 0, got {delta}.")
    difference = input - target
    distance = difference.abs()
    loss = ft.where(
        distance <= delta, difference * difference * 0.5, (distance - 0.5 * delta) * delta
    )
    return _reduce("huber_loss", loss, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)); logarithms are cut at -100.

    Args:
      input [...] floating: probabilities, 0..1.
      target [same]: 0..1.
      weight: a factor for each element.
    Notes: At exactly 0 or 1 the gradient is that of the cut value; binary_cross_entropy_with_logits
      has no cut.
    """
    if tuple(input.shape) != tuple(target.shape):
        raise ShapeError(
            f"binary_cross_entropy: expected equal shapes, got {list(input.shape)} and "
            f"{list(target.shape)}."
        )
    tiny = math.exp(-100.0) if input.dtype == ft.float64 else 1e-38
    floor = -100.0
    # log of a value that is never 0, so that neither branch of `where` has an infinite slope
    yes = ft.where(input > tiny, ft.log(input.clamp(min=tiny)), floor)
    no = ft.where(input < 1, ft.log1p(-ft.where(input < 1, input, 0.0)), floor)
    loss = -(target * yes + (1 - target) * no)
    return _reduce("binary_cross_entropy", loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight multiplies the terms of
    target 1.

    Example:
      >>> binary_cross_entropy_with_logits(ft.tensor([0.0]), ft.tensor([1.0]))
      tensor(0.6931)
    """
    if tuple(input.shape) != tuple(target.shape):
        raise ShapeError(
            f"binary_cross_entropy_with_logits: expected equal shapes, got {list(input.shape)} "
            f"and {list(target.shape)}."
        )
    log_yes = ft.logsigmoid(input)
    if pos_weight is None:
        loss = (1 - target) * input - log_yes
    else:
        loss = (1 - target) * input - log_yes * (1 + (pos_weight - 1) * target)
    return _reduce(
        "binary_cross_entropy_with_logits", loss if weight is None else loss * weight, reduction
    )


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target (log(target) - input), input being log-probabilities; reduction also "batchmean"."""
    if log_target:
        loss = ft.exp(target) * (target - input)
    else:
        positive = target > 0
        loss = (
            ft.where(positive, target * ft.log(ft.where(positive, target, 1.0)), 0.0)
            - target * input
        )
    if reduction == "batchmean":
        return loss.sum() / input.shape[0]
    return _reduce("kl_div", loss, reduction)
