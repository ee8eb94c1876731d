"""Pure functions of tensors: what the layers and losses compute, without their parameters.

Fused operations come from functorch_like under their own names; the others are compositions, so
that all of them work under every transform. Activations stand in activations.py, dropout in
dropouts.py, losses in losses/; all are names of this module too.
"""

from __future__ import annotations

import functorch_like as ft
from functorch_like import (
    Tensor,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    affine_grid,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    batch_norm,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    embedding_bag,
    fractional_max_pool2d,
    fractional_max_pool3d,
    grid_sample,
    group_norm,
    instance_norm,
    interpolate,
    layer_norm,
    linear,
    local_response_norm,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    multi_head_attention_forward,
    normalize,
    one_hot,
    pad,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    rms_norm,
    scaled_dot_product_attention,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from functorch_like import col2im as fold
from functorch_like import im2col as unfold
from nn import activations, dropouts, losses
from nn.activations import *
from nn.dropouts import *
from nn.losses import *

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "affine_grid", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "batch_norm", "bilinear", "channel_shuffle", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_similarity", "embedding",
    "embedding_bag", "flatten", "fold", "fractional_max_pool2d", "fractional_max_pool3d",
    "grid_sample", "group_norm", "instance_norm", "interpolate", "layer_norm", "linear",
    "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d",
    "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "multi_head_attention_forward",
    "normalize", "one_hot", "pad", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle",
    "rms_norm", "scaled_dot_product_attention", "unfold", "upsample", "upsample_bilinear",
    "upsample_nearest",
]  # fmt: skip
__all__ += activations.__all__
__all__ += dropouts.__all__
__all__ += losses.__all__


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[..., k] = sum_ij input1[..., i] weight[k, i, j] input2[..., j] + bias[k]."""
    out, n1, n2 = weight.shape
    left = input1.reshape(-1, n1) @ weight.permute(1, 0, 2).reshape(n1, out * n2)
    result = (
        (left.reshape(-1, out, n2) * input2.reshape(-1, 1, n2))
        .sum(-1)
        .reshape([*input1.shape[:-1], out])
    )
    return result if bias is None else result + bias


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """input with the dimensions start_dim..end_dim made one."""
    return input.flatten(start_dim, end_dim)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table.

    Args:
      input [...] integer: row numbers.
      weight [rows, features]: the table.
      padding_idx: this row gets no gradient.
      max_norm, norm_type: rows of a larger norm are scaled down first, in the table itself.
      scale_grad_by_freq: divide each row's gradient by how often it was picked.
      sparse: of no effect; gradients are dense.
    Returns:
      [..., features], weight's dtype.
    """
    if max_norm is not None:
        _limit_norms(input, weight, max_norm, norm_type)
    rows = ft.embedding(input, weight)
    if scale_grad_by_freq:
        ones = ft.ones(input.numel(), dtype=rows.dtype, device=rows.device)
        none = ft.zeros(weight.shape[0], dtype=rows.dtype, device=rows.device)
        counts = none.index_add(0, input.reshape(-1), ones)
        shared = rows / ft.embedding(input, counts.unsqueeze(-1))
        rows = shared + (rows - shared).detach()
    if padding_idx is None:
        return rows
    if padding_idx < 0:
        padding_idx += weight.shape[0]
    is_padding = ft.eq(input, padding_idx).unsqueeze(-1)
    return ft.where(is_padding, rows.detach(), rows)


def _limit_norms(input: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    with ft.no_grad():
        chosen = ft.unique(input)
        rows = weight.detach()[chosen]
        norms = ft.norm(rows, norm_type, dim=1, keepdim=True)
        scale = ft.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
        weight[chosen] = rows * scale
