"""What all losses end with: mean, sum or nothing over the elements."""

from __future__ import annotations

from typing import Any

from functorch_like import Tensor
from functorch_like.pointwise import Swept

__all__ = ["reduced", "reduction_name", "swept"]


def reduction_name(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """reduction, unless one of torch's older arguments for it is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def reduced(
    op: str,
    loss: Tensor,
    reduction: str,
    size_average: bool | None = None,
    reduce: bool | None = None,
    mean_of: Tensor | None = None,
) -> Tensor:
    """loss averaged ("mean"), summed ("sum") or as it is ("none").

    Args:
      mean_of: weights; "mean" then divides by their sum.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if reduction == "mean":
        return loss.mean() if mean_of is None else loss.sum() / mean_of.sum()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{op}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}.")


def swept(
    op: str,
    loss: Swept,
    tensors: tuple[Tensor, ...],
    reduction: str,
    size_average: bool | None = None,
    reduce: bool | None = None,
    weight: Tensor | None = None,
    **numbers: Any,
) -> Tensor:
    """reduced() of a pointwise loss: one sweep, without memory for losses that are only summed.

    Args:
      weight: a factor for each loss.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if weight is None and reduction == "mean":
        return loss.mean(*tensors, **numbers)
    if weight is None and reduction == "sum":
        return loss.sum(*tensors, **numbers)
    losses = loss(*tensors, **numbers)
    return reduced(op, losses if weight is None else losses * weight, reduction)
