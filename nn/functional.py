"""Pure functions of tensors: what the layers and losses compute, without their parameters.

Fused operations come from functorch_like under their own names; the others are compositions, so
that all of them work under every transform. The losses stand in losses.py.
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
    avg_pool2d,
    batch_norm,
    channel_shuffle,
    conv2d,
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
    log_softmax,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool2d,
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
    sigmoid,
    softmax,
    tanh,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from functorch_like import col2im as fold
from functorch_like import im2col as unfold
from functorch_like.errors import ShapeError
from nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)

Size2 = int | tuple[int, int]

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv2d",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "embedding_bag",
    "flatten",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool2d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanh",
    "threshold",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]


def _pair(op: str, name: str, value: Size2) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return int(value[0]), int(value[1])
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return int(value[0]), int(value[0])
    raise ValueError(f"{op}: expected {name} as one or two integers, got {value!r}.")


# ---- activations ----


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise.

    Example:
      >>> relu(ft.tensor([-1.0, 2.0]))
      tensor([0., 2.])
    """
    return input.copy_(ft.relu(input)) if inplace else ft.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6), elementwise."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input limited to min_val..max_val; at the limits the slope is 0, as relu's at 0."""
    result = ft.where(input <= min_val, min_val, ft.where(input >= max_val, max_val, input))
    return input.copy_(result) if inplace else result


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, negative_slope * input elsewhere.

    Example:
      >>> leaky_relu(ft.tensor([-1.0, 2.0]), 0.1)
      tensor([-0.1000,  2.0000])
    """
    result = ft.where(input > 0, input, input * negative_slope)
    return input.copy_(result) if inplace else result


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight * input elsewhere; weight [1] or [c] for input [n, c, ...]."""
    if weight.numel() > 1:
        weight = weight.reshape([-1] + [1] * (input.ndim - 2)) if input.ndim > 1 else weight
    return ft.where(input > 0, input, input * weight)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input) - 1) elsewhere. Reference: Clevert et al. 2015."""
    positive = input > 0
    result = ft.where(positive, input, ft.expm1(ft.where(positive, 0.0, input)) * alpha)
    return input.copy_(result) if inplace else result


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere. Reference: Barron 2017."""
    positive = input > 0
    result = ft.where(positive, input, ft.expm1(ft.where(positive, 0.0, input) / alpha) * alpha)
    return input.copy_(result) if inplace else result


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Self-normalising elu: scale * elu(input, alpha). Reference: Klambauer et al. 2017."""
    result = elu(input, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946
    return input.copy_(result) if inplace else result


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), Phi the normal distribution function; "tanh" for its tanh form."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}.")
    return ft.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input), elementwise."""
    return input.copy_(ft.silu(input)) if inplace else ft.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input)). Reference: Misra 2019."""
    result = input * ft.tanh(softplus(input))
    return input.copy_(result) if inplace else result


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6, elementwise."""
    result = hardtanh(input + 3.0, 0.0, 6.0) / 6.0
    return input.copy_(result) if inplace else result


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input), elementwise."""
    result = input * hardsigmoid(input)
    return input.copy_(result) if inplace else result


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow."""
    return ft.logsigmoid(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input exceeds threshold.

    Example:
      >>> softplus(ft.tensor([0.0, 30.0]))
      tensor([ 0.6931, 30.0000])
    """
    scaled = input * beta
    return ft.where(scaled > threshold, input, -ft.logsigmoid(-scaled) / beta)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|), elementwise."""
    return input / (1.0 + input.abs())


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it exceeds threshold, value elsewhere."""
    result = ft.where(input > threshold, input, value)
    return input.copy_(result) if inplace else result


def softmin(input: Tensor, dim: int) -> Tensor:
    """softmax(-input) along dim."""
    return ft.softmax(-input, dim)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half of dim times sigmoid of the second half."""
    size = input.shape[dim]
    if size % 2:
        raise ShapeError(
            f"glu: expected an even size along dim {dim}, got {size} of shape {list(input.shape)}."
        )
    return input.narrow(dim, 0, size // 2) * ft.sigmoid(input.narrow(dim, size // 2, size // 2))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """input, elements zeroed with probability p, others divided by 1 - p; as is unless training."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: expected p within 0..1, got {p}.")
    if not training or p == 0.0:
        return input
    result = ft.dropout(input, p, True)
    return input.copy_(result) if inplace else result


# ---- linear, convolution, pooling ----


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


# ---- shapes, tables, similarity ----


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """input with the dimensions start_dim..end_dim made one."""
    return input.flatten(start_dim, end_dim)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of a table.

    Args:
      input [...] integer: row numbers.
      weight [rows, features]: the table.
      padding_idx: this row gets no gradient.
    Returns:
      [..., features], weight's dtype.
    """
    rows = ft.embedding(input, weight)
    if padding_idx is None:
        return rows
    if padding_idx < 0:
        padding_idx += weight.shape[0]
    is_padding = ft.eq(input, padding_idx).unsqueeze(-1)
    return ft.where(is_padding, rows.detach(), rows)
