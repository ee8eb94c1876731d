"""Convolution over images."""

from __future__ import annotations

import math
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["Conv2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2d(Module):
    """Cross-correlation of images with learned filters.

    Args:
      in_channels, out_channels: channels before and after.
      kernel_size, stride, dilation: one number or (rows, columns).
      padding: a number or (rows, columns) for each side, "valid" for none, "same" for an output as
        large as the input (stride 1 only).
      groups: channels are split into so many independent parts.
      bias: add one per output channel.
      padding_mode: "zeros", "reflect", "replicate" or "circular".
      device, dtype: of the parameters.
    Shapes: input [n, in, h, w] or [in, h, w], output [n, out, h', w'] or [out, h', w']; weight
      [out, in / groups, *kernel_size], bias [out].
    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.Conv2d(1, 4, 3, padding=1)(ft.zeros(2, 1, 8, 8)).shape)
      [2, 4, 8, 8]
    """

    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ValueError(
                "Conv2d: expected in_channels and out_channels divisible by groups, got "
                f"{in_channels} and "
                f"{out_channels} with groups={groups}."
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"Conv2d: expected padding_mode {', '.join(_PADDING_MODES)}, got {padding_mode!r}."
            )
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(
                f"Conv2d: expected padding as numbers, 'same' or 'valid', got {padding!r}."
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F._pair("Conv2d", "kernel_size", kernel_size)
        self.stride = F._pair("Conv2d", "stride", stride)
        self.padding = (
            padding if isinstance(padding, str) else F._pair("Conv2d", "padding", padding)
        )
        self.dilation = F._pair("Conv2d", "dilation", dilation)
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(
                f"Conv2d: expected stride 1 with padding='same', got {stride}. Give padding in "
                "numbers."
            )
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(ft.empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(ft.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self._direct = padding_mode == "zeros" and not isinstance(self.padding, str)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again: evenly, up to 1 / sqrt(in / groups * kernel area)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, in, h, w] -> [n, out, h', w']."""
        if self._direct:
            return ft.conv2d(
                input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
        if self.padding_mode == "zeros":
            padding: Any = self.padding
        else:
            input, padding = F.pad(input, self._sides(), mode=self.padding_mode), 0
        return F.conv2d(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _sides(self) -> list[int]:
        """padding as F.pad takes it: (before, after) of columns, then of rows."""
        sides: list[int] = []
        for dim in (1, 0):
            if isinstance(self.padding, str):
                total = (
                    self.dilation[dim] * (self.kernel_size[dim] - 1)
                    if self.padding == "same"
                    else 0
                )
                sides += [total // 2, total - total // 2]
            else:
                sides += [self.padding[dim], self.padding[dim]]
        return sides

    def _input_error(self, input: ft.Tensor) -> str | None:
        if input.ndim not in (3, 4) or input.shape[-3] != self.in_channels:
            lacks_channels = input.ndim == 2 or (input.ndim == 3 and self.in_channels == 1)
            hint = (
                "Add the channel dimension with x.unsqueeze(1)."
                if lacks_channels
                else f"in_channels={self.in_channels} must equal the input's channels."
            )
            return (
                f"Conv2d: expected input [n, {self.in_channels}, h, w] or [{self.in_channels}, h, "
                "w], "
                f"got {list(input.shape)}. {hint}"
            )
        sides = self._sides()
        for size, pads, kernel, step in zip(
            input.shape[-2:], (sides[2:], sides[:2]), self.kernel_size, self.dilation, strict=True
        ):
            if size + sum(pads) < step * (kernel - 1) + 1:
                return (
                    "Conv2d: expected images at least as large as the kernel "
                    f"{list(self.kernel_size)}, "
                    f"got {list(input.shape[-2:])}. Add padding, or take fewer pooling steps "
                    "before."
                )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text
