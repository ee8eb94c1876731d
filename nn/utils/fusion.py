"""Folding batch normalisation, in evaluation mode, into the layer before it."""

from __future__ import annotations

import copy
from typing import TypeVar

import functorch_like as ft
from functorch_like import Tensor
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]

_Layer = TypeVar("_Layer", bound=Module)


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of one convolution that does what convolution and normalisation do.

    Args:
      conv_w, conv_b: the convolution's. bn_rm, bn_rv, bn_w, bn_b [channels]: running mean and
        variance, weight and bias of the normalisation.
      transpose: the convolution is a transposed one, whose channels lie along dim 1.
    """
    with ft.no_grad():
        bias = ft.zeros_like(bn_rm) if conv_b is None else conv_b
        factor = ft.rsqrt(bn_rv + bn_eps)
        factor = factor if bn_w is None else factor * bn_w
        shape = [1] * conv_w.ndim
        shape[1 if transpose else 0] = -1
        weight = conv_w * factor.reshape(shape)
        bias = (bias - bn_rm) * factor
        bias = bias if bn_b is None else bias + bn_b
        return (
            Parameter(weight.to(conv_w.dtype).detach(), conv_w.requires_grad),
            Parameter(bias.to(conv_w.dtype).detach(), conv_w.requires_grad),
        )


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """fuse_conv_bn_weights for a Linear's weight and bias."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _fuse(op: str, layer: _Layer, bn: Module, transpose: bool) -> _Layer:
    if layer.training or bn.training:
        raise ValueError(f"{op}: expected both modules in evaluation mode. Call eval() on each.")
    if getattr(bn, "running_mean", None) is None:
        raise ValueError(
            f"{op}: expected running statistics, got a {type(bn).__name__} without them."
        )
    fused = copy.deepcopy(layer)
    weight, bias = fuse_conv_bn_weights(
        layer.weight,  # type: ignore[attr-defined]
        layer.bias,  # type: ignore[attr-defined]
        bn.running_mean,  # type: ignore[attr-defined]
        bn.running_var,  # type: ignore[attr-defined]
        bn.eps,  # type: ignore[attr-defined]
        bn.weight,  # type: ignore[attr-defined]
        bn.bias,  # type: ignore[attr-defined]
        transpose,
    )
    fused.weight, fused.bias = weight, bias  # type: ignore[attr-defined]
    return fused


def fuse_conv_bn_eval(conv: _Layer, bn: Module, transpose: bool = False) -> _Layer:
    """One convolution in place of a convolution and a batch normalisation, both in eval mode.

    Args:
      transpose: conv is a transposed convolution (of one group).
    Raises:
      ValueError: one of them is in training mode, or there are no running statistics.
    """
    return _fuse("fuse_conv_bn_eval", conv, bn, transpose)


def fuse_linear_bn_eval(linear: _Layer, bn: Module) -> _Layer:
    """One Linear in place of a Linear and a batch normalisation, both in eval mode."""
    return _fuse("fuse_linear_bn_eval", linear, bn, False)
