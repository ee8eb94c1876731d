"""Losses over classes and probabilities."""

from __future__ import annotations

import math

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.amp import wide
from functorch_like.errors import ShapeError
from nn.losses.reduction import reduction_name, swept

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "linear_cross_entropy",
    "nll_loss",
]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
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
        reduction=reduction_name(size_average, reduce, reduction),
        label_smoothing=label_smoothing,
    )


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """cross_entropy of linear(input, linear_weight, linear_bias).

    Args:
      input [n, features] or [features]. linear_weight [c, features], linear_bias [c]; or
        [c, d1, ..., features] and [c, d1, ...] for a target [n, d1, ...].
      The others as cross_entropy's; ignore_index None stands for -100.
    Example:
      >>> linear_cross_entropy(ft.ones(2, 3), ft.zeros(4, 3), ft.tensor([0, 3]))
      tensor(1.3863)
    """
    classes, *sizes, features = linear_weight.shape
    logits = ft.linear(
        input,
        linear_weight.reshape(-1, features),
        None if linear_bias is None else linear_bias.reshape(-1),
    )
    if sizes:
        logits = logits.reshape(*input.shape[:-1], classes, *sizes)
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


@wide
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input at the classes; input [n, c, ...] holds log-probabilities, target [n, ...] int64.

    Example:
      >>> nll_loss(ft.tensor([[-0.5, -1.0]]), ft.tensor([1]))
      tensor(1.)
    """
    reduction = reduction_name(size_average, reduce, reduction)
    return ft.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


@wide
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)); logarithms are cut at -100.

    Args:
      input [...] floating: probabilities, 0..1.
      target [same]: 0..1.
      weight: a factor for each element.
    Notes: At exactly 0 or 1 the gradient is that of the cut value; binary_cross_entropy_with_logits
      has no cut.
    Example:
      >>> binary_cross_entropy(ft.tensor([0.5]), ft.tensor([1.0]))
      tensor(0.6931)
    """
    if tuple(input.shape) != tuple(target.shape):
        raise ShapeError(
            f"binary_cross_entropy: expected equal shapes, got {list(input.shape)} and "
            f"{list(target.shape)}."
        )
    tiny = math.exp(-100.0) if input.dtype == ft.float64 else 1e-38
    return swept(
        "binary_cross_entropy",
        _binary_cross_entropy,
        (input, target),
        reduction,
        size_average,
        reduce,
        weight,
        tiny=tiny,
        floor=-100.0,
    )


@ft.pointwise
def _binary_cross_entropy(input: Tensor, target: Tensor, *, tiny: float, floor: float) -> Tensor:
    # log of a value that is never 0, so that neither branch of `where` has an infinite slope
    yes = ft.where(input > tiny, ft.log(input.clamp(min=tiny)), floor)
    no = ft.where(input < 1, ft.log1p(-ft.where(input < 1, input, 0.0)), floor)
    return -(target * yes + (1 - target) * no)


@wide
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
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
    op, tensors = "binary_cross_entropy_with_logits", (input, target)
    if pos_weight is None:
        return swept(op, _logit_loss, tensors, reduction, size_average, reduce, weight)
    tensors += (pos_weight,)
    return swept(op, _weighted_logit_loss, tensors, reduction, size_average, reduce, weight)


@ft.pointwise
def _logit_loss(input: Tensor, target: Tensor) -> Tensor:
    return (1 - target) * input - ft.logsigmoid(input)


@ft.pointwise
def _weighted_logit_loss(input: Tensor, target: Tensor, pos_weight: Tensor) -> Tensor:
    return (1 - target) * input - ft.logsigmoid(input) * (1 + (pos_weight - 1) * target)


@wide
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log(target) - input), input being log-probabilities; reduction also "batchmean".

    Example:
      >>> p = ft.tensor([0.5, 0.5])
      >>> kl_div(p.log(), p)
      tensor(0.)
    """
    if reduction == "batchmean":
        loss = _kl_div.sum(input, target, log_target=log_target)
        return loss / (input.shape[0] if input.ndim else 1)
    return swept(
        "kl_div", _kl_div, (input, target), reduction, size_average, reduce, log_target=log_target
    )


@ft.pointwise
def _kl_div(input: Tensor, target: Tensor, *, log_target: bool) -> Tensor:
    if log_target:
        return ft.exp(target) * (target - input)
    positive = target > 0
    entropy = ft.where(positive, target * ft.log(ft.where(positive, target, 1.0)), 0.0)
    return entropy - target * input
