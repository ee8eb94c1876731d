"""Losses that ask for a margin: between classes, labels, rankings or embeddings."""

from __future__ import annotations

from collections.abc import Callable

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.amp import wide
from functorch_like.errors import ShapeError
from nn.losses.reduction import reduced, swept

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@wide
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1; input holds distances.

    Example:
      >>> hinge_embedding_loss(ft.tensor([0.5, 0.25]), ft.tensor([1, -1]), reduction="none")
      tensor([0.5000, 0.7500])
    """
    tensors = (input, target)
    return swept(
        "hinge_embedding_loss", _hinge, tensors, reduction, size_average, reduce, margin=margin
    )


@ft.pointwise
def _hinge(input: Tensor, target: Tensor, *, margin: float) -> Tensor:
    far = ft.where(target != 1, (margin - input).clamp(min=0), 0.0)
    return far + ft.where(target != -1, input, 0.0)


@wide
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos of the two vectors where target is 1, max(0, cos - margin) where it is -1.

    Args:
      input1, input2 [n, d] or [d]. target [n] or []: 1 or -1.
    Example:
      >>> x = ft.tensor([1.0, 0.0])
      >>> cosine_embedding_loss(x, ft.tensor([0.0, 1.0]), ft.tensor(1))
      tensor(1.)
    """
    if input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1 or target.ndim > 1:
        raise ShapeError(
            "cosine_embedding_loss: expected inputs [n, d] and target [n], or [d] and [], got "
            f"{list(input1.shape)}, {list(input2.shape)} and {list(target.shape)}."
        )
    eps = 1e-12  # as torch: two vectors of zeros have cosine 0
    n1 = (input1 * input1).sum(-1) + eps
    n2 = (input2 * input2).sum(-1) + eps
    cosine = (input1 * input2).sum(-1) / (n1 * n2).sqrt()
    loss = ft.where(target == 1, 1.0 - cosine, 0.0)
    loss = loss + ft.where(target == -1, (cosine - margin).clamp(min=0), 0.0)
    return reduced("cosine_embedding_loss", loss, reduction, size_average, reduce)


@wide
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target (input1 - input2)): target 1 wants input1 above input2, -1 below.

    Example:
      >>> margin_ranking_loss(ft.tensor([1.0]), ft.tensor([3.0]), ft.tensor([1]), margin=0.5)
      tensor(2.5000)
    """
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            "margin_ranking_loss: expected three tensors of one rank, got shapes "
            f"{list(input1.shape)}, {list(input2.shape)} and {list(target.shape)}."
        )
    tensors = (input1, input2, target)
    return swept(
        "margin_ranking_loss", _ranking, tensors, reduction, size_average, reduce, margin=margin
    )


@ft.pointwise
def _ranking(input1: Tensor, input2: Tensor, target: Tensor, *, margin: float) -> Tensor:
    return (margin - target * (input1 - input2)).clamp(min=0)


@wide
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)), target 1 or -1; without overflow.

    Example:
      >>> soft_margin_loss(ft.tensor([0.0]), ft.tensor([1]))
      tensor(0.6931)
    """
    tensors = (input, target)
    return swept("soft_margin_loss", _soft_margin, tensors, reduction, size_average, reduce)


@ft.pointwise
def _soft_margin(input: Tensor, target: Tensor) -> Tensor:
    return -ft.logsigmoid(target * input)


@wide
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over other classes j of max(0, margin - input[target] + input[j])^p, divided by c.

    Args:
      input [n, c] or [c]: scores. target [n] or []: classes.
      p: 1 or 2. weight [c]: a factor for each target class.
    Raises:
      ValueError: another p.
    Reference: Crammer & Singer 2001.
    Example:
      >>> multi_margin_loss(ft.tensor([0.5, 2.0]), ft.tensor(0))
      tensor(1.2500)
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: expected p 1 or 2, got {p}.")
    if input.ndim not in (1, 2) or list(target.shape) != list(input.shape[:-1]):
        raise ShapeError(
            "multi_margin_loss: expected input [n, c] and target [n], or [c] and [], got "
            f"{list(input.shape)} and {list(target.shape)}."
        )
    classes = input.shape[-1]
    right = target.unsqueeze(-1)
    slack = (margin - input.gather(-1, right) + input).clamp(min=0)
    if p == 2:
        slack = slack * slack
    other = ft.arange(classes, device=input.device) != right
    loss = ft.where(other, slack, 0.0).sum(-1) / classes
    if weight is not None:
        loss = loss * weight[target]
    return reduced("multi_margin_loss", loss, reduction, size_average, reduce)


@wide
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over labels y and other classes i of max(0, 1 - input[y] + input[i]), divided by c.

    Args:
      input [n, c] or [c]: scores.
      target [same] int64: the labels, ended by the first -1.
    Example:
      >>> multilabel_margin_loss(ft.tensor([0.5, 2.0]), ft.tensor([0, -1]))
      tensor(1.2500)
    """
    if input.ndim not in (1, 2) or list(target.shape) != list(input.shape):
        raise ShapeError(
            "multilabel_margin_loss: expected input and target [n, c] or [c], got "
            f"{list(input.shape)} and {list(target.shape)}."
        )
    classes = input.shape[-1]
    counts = (target < 0).to(ft.int64).cumsum(-1) == 0
    labels = ft.where(counts, target, 0)
    is_class = labels.unsqueeze(-1) == ft.arange(classes, device=input.device)
    is_label = (is_class & counts.unsqueeze(-1)).any(-2)
    slack = (1.0 - input.gather(-1, labels).unsqueeze(-1) + input.unsqueeze(-2)).clamp(min=0)
    pairs = counts.unsqueeze(-1) & ~is_label.unsqueeze(-2)
    loss = ft.where(pairs, slack, 0.0).sum((-2, -1)) / classes
    return reduced("multilabel_margin_loss", loss, reduction, size_average, reduce)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), averaged over the classes (the last dimension).

    Args:
      input, target [n, c]: logits, and 0 or 1. weight [c].
    Example:
      >>> multilabel_soft_margin_loss(ft.zeros(1, 3), ft.tensor([[1, 0, 1]]))
      tensor(0.6931)
    """
    loss = -(target * ft.logsigmoid(input) + (1 - target) * ft.logsigmoid(-input))
    loss = (loss if weight is None else loss * weight).mean(-1)
    return reduced("multilabel_soft_margin_loss", loss, reduction, size_average, reduce)


@wide
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + distance(anchor, positive) - distance(anchor, negative)).

    Args:
      anchor, positive, negative [..., d].
      p, eps: of the distance, as pairwise_distance's.
      swap: use distance(positive, negative) where that is the smaller one.
    Reference: Balntas et al. 2016.
    Example:
      >>> x = ft.tensor([[0.0, 0.0]])
      >>> triplet_margin_loss(x, x + 1, x + 3, p=1, eps=0.0, margin=5.0)
      tensor(1.)
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: expected margin > 0, got {margin}.")
    loss = _triplet(
        "triplet_margin_loss",
        lambda x, y: ft.pairwise_distance(x, y, p, eps),
        (anchor, positive, negative),
        margin,
        swap,
    )
    return reduced("triplet_margin_loss", loss, reduction, size_average, reduce)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with a distance of one's own; pairwise_distance by default."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: expected margin > 0, got {margin}.")
    op = "triplet_margin_with_distance_loss"
    distance = distance_function or ft.pairwise_distance
    loss = _triplet(op, distance, (anchor, positive, negative), margin, swap)
    return reduced(op, loss, reduction)


def _triplet(
    op: str,
    distance: Callable[[Tensor, Tensor], Tensor],
    triplet: tuple[Tensor, Tensor, Tensor],
    margin: float,
    swap: bool,
) -> Tensor:
    anchor, positive, negative = triplet
    if not anchor.ndim == positive.ndim == negative.ndim:
        shapes = ", ".join(str(list(x.shape)) for x in triplet)
        raise ShapeError(f"{op}: expected three tensors of one rank, got shapes {shapes}.")
    far = distance(anchor, negative)
    if swap:
        far = ft.minimum(far, distance(positive, negative))
    return (margin + distance(anchor, positive) - far).clamp(min=0)
