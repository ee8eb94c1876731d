"""Normalisation without running statistics: over features, groups of channels or neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last dimensions, times weight plus bias.

    Args:
      normalized_shape: size of the last dimension, or sizes of the last ones.
      eps: added to the variance.
      elementwise_affine: have weight and bias; bias=False drops the bias only.
      device, dtype: of the parameters.
    Shapes: input and output [..., *normalized_shape]; weight (1) and bias (0) [*normalized_shape].
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.LayerNorm(2, eps=0.0)(ft.tensor([1.0, 3.0])).tolist()
      [-1.0, 1.0]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            value = (
                Parameter(ft.empty(self.normalized_shape, device=device, dtype=dtype))
                if wanted
                else None
            )
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial values again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., *normalized_shape] -> [same]."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """input divided by the root of its mean square over the last dimensions, times weight.

    Args:
      normalized_shape: size of the last dimension, or sizes of the last ones.
      eps: added to the mean square; None takes the dtype's smallest step.
      elementwise_affine: have a weight.
    Shapes: input and output [..., *normalized_shape]; weight (1) [*normalized_shape].
    Reference: Zhang & Sennrich 2019.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = ft.empty(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(weight) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial values again."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., *normalized_shape] -> [same]."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Mean 0 and variance 1 over each group of channels of each instance, times weight plus bias.

    Args:
      num_groups, num_channels: the first divides the second.
      eps: added to the variance.
      affine: have weight (1) and bias (0) [num_channels]; bias=False drops the bias only.
    Shapes: input and output [n, num_channels, ...].
    Reference: Wu & He 2018.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: expected num_channels divisible by num_groups, got {num_channels} and "
                f"{num_groups}."
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = ft.empty(num_channels, device=device, dtype=dtype)
            self.register_parameter(name, Parameter(value) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial values again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [same]."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def _input_error(self, input: ft.Tensor) -> str | None:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            return (
                f"GroupNorm: expected input [n, {self.num_channels}, ...], got "
                f"{list(input.shape)}. num_channels={self.num_channels} must equal the input's "
                "size along dim 1."
            )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """input divided by (k + alpha * mean of squares over size neighbouring channels) ^ beta.

    Shapes: input and output [n, c, ...].
    Reference: Krizhevsky, Sutskever & Hinton 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [same]."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
