"""Dropout of elements and of whole channels, as pure functions; nn.functional re-exports them."""

from __future__ import annotations

import math

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip

# -scale * alpha of selu: what an element far below zero becomes
_SELU_FLOOR = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def _check(op: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{op}: expected p within 0..1, got {p}.")


def _channel_mask(input: Tensor, p: float) -> Tensor:
    """[n, c, 1, ...] of zeros (with probability p) and ones."""
    shape = (*input.shape[:2], *[1] * (input.ndim - 2))
    return ft.bernoulli(ft.full(shape, 1.0 - p, dtype=input.dtype, device=input.device))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """input, elements zeroed with probability p, others divided by 1 - p; as is unless training."""
    _check("dropout", p)
    if not training or p == 0.0:
        return input
    result = ft.dropout(input, p, True)
    return input.copy_(result) if inplace else result


def _dropout_channels(
    op: str, form: str, ranks: tuple[int, int], batched: int, x: Tensor, p: float, inplace: bool
) -> Tensor:
    """dropout of channels; an input of fewer than `batched` dimensions has no batch."""
    _check(op, p)
    if x.ndim not in ranks:
        raise ShapeError(f"{op}: expected input {form}, got {list(x.shape)}.")
    if p == 0.0:
        return x
    mask = _channel_mask(x if x.ndim >= batched else x.unsqueeze(0), p)
    if x.ndim < batched:
        mask = mask.squeeze(0)
    result = x * (mask * (1.0 / (1.0 - p) if p < 1 else 0.0))
    return x.copy_(result) if inplace else result


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """input, whole channels zeroed with probability p, others divided by 1 - p.

    Args:
      input [n, c, length] or [c, length].
    Reference: Tompson et al. 2015.
    """
    form = "[n, c, length] or [c, length]"
    return _dropout_channels("dropout1d", form, (2, 3), 3, input, p if training else 0.0, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """input, whole channels zeroed with probability p, others divided by 1 - p.

    Args:
      input [n, c, h, w], or [n, c, length], as torch reads three dimensions.
    """
    form = "[n, c, h, w] or [n, c, length]"
    return _dropout_channels("dropout2d", form, (3, 4), 3, input, p if training else 0.0, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """input, whole channels zeroed with probability p, others divided by 1 - p.

    Args:
      input [n, c, d, h, w] or [c, d, h, w].
    """
    form = "[n, c, d, h, w] or [c, d, h, w]"
    return _dropout_channels("dropout3d", form, (4, 5), 5, input, p if training else 0.0, inplace)


def _alpha(input: Tensor, keep: Tensor, p: float, inplace: bool) -> Tensor:
    """Kept elements, and selu's floor for the others, scaled so that mean 0 and variance 1 stay."""
    scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * _SELU_FLOOR**2))
    result = ft.where(keep > 0, input, _SELU_FLOOR) * scale - scale * _SELU_FLOOR * p
    return input.copy_(result) if inplace else result


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout after selu: mean and variance stay, dropped elements get selu's lowest value.

    Reference: Klambauer et al. 2017.
    """
    _check("alpha_dropout", p)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return input.copy_(input * 0.0) if inplace else input * 0.0
    keep = ft.bernoulli(ft.full_like(input, 1.0 - p))
    return _alpha(input, keep, p, inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels of input [n, c, ...]."""
    _check("feature_alpha_dropout", p)
    if input.ndim < 2:
        raise ShapeError(
            f"feature_alpha_dropout: expected input [n, c, ...], got {list(input.shape)}."
        )
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return input.copy_(input * 0.0) if inplace else input * 0.0
    return _alpha(input, _channel_mask(input, p), p, inplace)
