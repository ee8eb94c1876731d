"""Layers around one matrix product: Linear, Bilinear, and Identity."""

from __future__ import annotations

import math
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """Its input, unchanged; constructor arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """input itself."""
        return input


class Linear(Module):
    """x @ weight.T + bias.

    Args:
      in_features, out_features: sizes of the last dimension before and after.
      bias: add one.
      device, dtype: of the parameters.
    Shapes: input [..., in_features], output [..., out_features]; weight [out_features,
      in_features], bias [out_features], both drawn evenly from
      -1/sqrt(in_features)..1/sqrt(in_features).
    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.Linear(3, 2)(ft.zeros(5, 3)).shape)
      [5, 2]
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(ft.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(ft.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., in_features] -> [..., out_features]."""
        return ft.linear(input, self.weight, self.bias)

    def _input_error(self, input: ft.Tensor) -> str | None:
        if input.ndim < 1 or input.shape[-1] != self.in_features:
            return (
                f"Linear: expected input [..., {self.in_features}], got {list(input.shape)}. "
                f"in_features={self.in_features} must equal the input's last size; flatten or "
                "transpose the input?"
            )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Bilinear(Module):
    """y[..., k] = sum_ij x1[..., i] weight[k, i, j] x2[..., j] + bias[k].

    Args:
      in1_features, in2_features, out_features: last sizes of the two inputs and the output.
      bias: add one.
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(
            ft.empty(out_features, in1_features, in2_features, device=device, dtype=dtype)
        )
        self.register_parameter(
            "bias", Parameter(ft.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: ft.Tensor, input2: ft.Tensor) -> ft.Tensor:
        """[..., in1_features], [..., in2_features] -> [..., out_features]."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def _input_error(self, input1: ft.Tensor, input2: ft.Tensor) -> str | None:
        sizes = [self.in1_features, self.in2_features]
        if [input1.shape[-1], input2.shape[-1]] != sizes or input1.shape[:-1] != input2.shape[:-1]:
            return (
                f"Bilinear: expected inputs [..., {sizes[0]}] and [..., {sizes[1]}] with equal "
                f"leading sizes, got {list(input1.shape)} and {list(input2.shape)}."
            )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
