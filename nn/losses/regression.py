"""Losses between numbers: distances, and negative log-likelihoods of continuous and count data."""

from __future__ import annotations

import math

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.amp import wide
from functorch_like.errors import ShapeError
from nn.losses.reduction import reduced, swept

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def _weighted(op: str, loss: Tensor, weight: Tensor) -> Tensor:
    if tuple(weight.shape) != tuple(loss.shape):
        raise ShapeError(f"{op}: expected weight {list(loss.shape)}, got {list(weight.shape)}.")
    return loss * weight


@wide
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target) ** 2, averaged, summed, or elementwise ("none").

    Args:
      weight [same as input]: a factor for each element; "mean" divides by the sum of them.
      size_average, reduce: torch's older form of reduction, here and in all losses.
    Example:
      >>> mse_loss(ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0]))
      tensor(2.)
    """
    if weight is None:
        return swept("mse_loss", _square, (input, target), reduction, size_average, reduce)
    loss = _weighted("mse_loss", _square(input, target), weight)
    return reduced("mse_loss", loss, reduction, size_average, reduce, weight)


@ft.pointwise
def _square(input: Tensor, target: Tensor) -> Tensor:
    difference = input - target
    return difference * difference


@wide
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, averaged, summed, or elementwise ("none"); weight as mse_loss's.

    Example:
      >>> l1_loss(ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0]))
      tensor(1.)
    """
    if weight is None:
        return swept("l1_loss", _distance, (input, target), reduction, size_average, reduce)
    loss = _weighted("l1_loss", _distance(input, target), weight)
    return reduced("l1_loss", loss, reduction, size_average, reduce, weight)


@wide
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Square / (2 beta) for differences below beta, linear above. Reference: Girshick 2015.

    Example:
      >>> smooth_l1_loss(ft.tensor([0.5, 3.0]), ft.zeros(2), reduction="none")
      tensor([0.1250, 2.5000])
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: expected beta >= 0, got {beta}.")
    tensors = (input, target)
    if beta == 0:
        return swept("smooth_l1_loss", _distance, tensors, reduction, size_average, reduce)
    return swept("smooth_l1_loss", _smooth_l1, tensors, reduction, size_average, reduce, beta=beta)


@ft.pointwise
def _distance(input: Tensor, target: Tensor) -> Tensor:
    return (input - target).abs()


@ft.pointwise
def _smooth_l1(input: Tensor, target: Tensor, *, beta: float) -> Tensor:
    return ft.huber(input - target, beta) * (1 / beta)


@wide
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Square / 2 for differences up to delta, linear above. Reference: Huber 1964.

    Args:
      weight [same as input]: a factor for each element; "mean" divides by their number, as torch.
    Example:
      >>> huber_loss(ft.tensor([0.5, 3.0]), ft.zeros(2), reduction="none", delta=2.0)
      tensor([0.1250, 4.0000])
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: expected delta > 0, got {delta}.")
    if weight is None:
        return swept("huber_loss", _huber, (input, target), reduction, delta=delta)
    loss = _weighted("huber_loss", _huber(input, target, delta=delta), weight)
    return reduced("huber_loss", loss, reduction)


@ft.pointwise
def _huber(input: Tensor, target: Tensor, *, delta: float) -> Tensor:
    return ft.huber(input - target, delta)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of target under normal distributions: (log(var) + (input - target)^2
    / var) / 2.

    Args:
      input [...]: means. target [...]: as input.
      var: variances: as input, without its last dimension, with one dimension of size 1, or a
        number; taken to be at least eps (the gradient passes through unchanged).
      full: add the constant log(2 pi) / 2.
    Raises:
      ShapeError: var's shape fits none of these.
    Reference: Nix & Weigend 1994.
    Example:
      >>> gaussian_nll_loss(ft.tensor([1.0]), ft.tensor([3.0]), ft.tensor([1.0]))
      tensor(2.)
    """
    if isinstance(var, Tensor):
        variance = var
    elif var < 0:
        raise ValueError(f"gaussian_nll_loss: expected var >= 0, got {var}.")
    else:
        variance = ft.full_like(input, var)
    shape, given = list(input.shape), list(variance.shape)
    if given == shape[:-1]:
        variance = variance.unsqueeze(-1)
    elif given != shape:
        different = [b for a, b in zip(shape, given, strict=False) if a != b]
        if len(given) != len(shape) or different != [1]:
            raise ShapeError(
                f"gaussian_nll_loss: expected var {shape}, {shape[:-1]} or with one size of 1, got "
                f"{given}."
            )
    tensors = (input, target, variance)
    return swept("gaussian_nll_loss", _gaussian_nll, tensors, reduction, full=full, eps=eps)


@ft.pointwise
def _gaussian_nll(
    input: Tensor, target: Tensor, variance: Tensor, *, full: bool, eps: float
) -> Tensor:
    variance = variance + (variance.clamp(min=eps) - variance).detach()
    difference = input - target
    loss = (ft.log(variance) + difference * difference / variance) * 0.5
    return loss + 0.5 * math.log(2 * math.pi) if full else loss


@wide
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of counts: exp(input) - target * input.

    Args:
      log_input: input is the logarithm of the expected count; else the count itself, and the loss
        input - target log(input + eps).
      full: add Stirling's approximation of log(target!), for targets above 1.
    Example:
      >>> poisson_nll_loss(ft.tensor([0.0]), ft.tensor([2.0]))
      tensor(1.)
    """
    return swept(
        "poisson_nll_loss",
        _poisson_nll,
        (input, target),
        reduction,
        size_average,
        reduce,
        log_input=log_input,
        full=full,
        eps=eps,
    )


@ft.pointwise
def _poisson_nll(
    input: Tensor, target: Tensor, *, log_input: bool, full: bool, eps: float
) -> Tensor:
    if log_input:
        loss = ft.exp(input) - target * input
    else:
        loss = input - target * ft.log(input + eps)
    if not full:
        return loss
    large = target > 1
    count = ft.where(large, target, 1.0)
    stirling = count * ft.log(count) - count + 0.5 * ft.log(2 * math.pi * count)
    return loss + ft.where(large, stirling, 0.0)
