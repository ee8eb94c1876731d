"""Convolution and transposed convolution over sequences, images and volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import functional as F
from nn import init
from nn.layers.sizes import FORMS, spread
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
]  # fmt: skip

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
Sizes = int | tuple[int, ...]


class _Convolution(Module):
    """Settings, parameters and words that plain and transposed convolutions share."""

    spatial: int  # dimensions behind the channels
    transposed = False
    bias: Parameter | None

    def _set_up(
        self,
        channels: tuple[int, int],
        sizes: dict[str, Any],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        self.in_channels, self.out_channels = channels
        if groups <= 0 or self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f"{name}: expected in_channels and out_channels divisible by groups, got "
                f"{self.in_channels} and {self.out_channels} with groups={groups}."
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{name}: expected padding_mode {', '.join(_PADDING_MODES)}, got {padding_mode!r}."
            )
        for key, value in sizes.items():
            if not isinstance(value, str):
                value = spread(name, key, value, self.spatial)
            setattr(self, key, value)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = reversed(channels) if not self.transposed else channels
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(ft.empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias",
            Parameter(ft.empty(self.out_channels, device=device, dtype=dtype)) if bias else None,
        )
        self.reset_parameters()

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]

    def reset_parameters(self) -> None:
        """Draw the initial values again: evenly, up to 1 / sqrt(fan_in) of the weight's layout."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _channel_error(self, input: ft.Tensor) -> str | None:
        rank = self.spatial + 2
        if input.ndim in (rank - 1, rank) and input.shape[1 - rank] == self.in_channels:
            return None
        lacks_channels = input.ndim == rank - 2 or (
            input.ndim == rank - 1 and self.in_channels == 1
        )
        hint = (
            "Add the channel dimension with x.unsqueeze(1)."
            if lacks_channels
            else f"in_channels={self.in_channels} must equal the input's channels."
        )
        form = f"{self.in_channels}, {FORMS[self.spatial]}"
        return (
            f"{type(self).__name__}: expected input [n, {form}] or [{form}], "
            f"got {list(input.shape)}. {hint}"
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        zeros, ones = (0,) * self.spatial, (1,) * self.spatial
        if self.padding != zeros:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != zeros:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_Convolution):
    """Cross-correlation; the rank is the subclass's."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(
                f"{name}: expected padding as numbers, 'same' or 'valid', got {padding!r}."
            )
        sizes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "output_padding": 0,
        }
        channels = (in_channels, out_channels)
        self._set_up(channels, sizes, groups, bias, padding_mode, device, dtype)
        if padding == "same" and any(step != 1 for step in self.stride):
            raise ValueError(
                f"{name}: expected stride 1 with padding='same', got {stride}. Give padding in "
                "numbers."
            )
        self._direct = padding_mode == "zeros" and not isinstance(self.padding, str)
        self._function = getattr(ft, f"conv{self.spatial}d")

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, in, ...] -> [n, out, ...]."""
        if self._direct:
            return self._function(
                input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
        if self.padding_mode == "zeros":
            padding: Any = self.padding
        else:
            input, padding = F.pad(input, self._sides(), mode=self.padding_mode), 0
        return self._function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _sides(self) -> list[int]:
        """padding as F.pad takes it: (before, after) of the last dimension, then of the others."""
        sides: list[int] = []
        for dim in reversed(range(self.spatial)):
            if isinstance(self.padding, str):
                same = self.padding == "same"
                total = self.dilation[dim] * (self.kernel_size[dim] - 1) if same else 0
                sides += [total // 2, total - total // 2]
            else:
                sides += [self.padding[dim], self.padding[dim]]
        return sides

    def _input_error(self, input: ft.Tensor) -> str | None:
        error = self._channel_error(input)
        if error is not None:
            return error
        sides = self._sides()
        for dim in range(self.spatial):
            before, after = sides[2 * (self.spatial - 1 - dim) :][:2]
            size = input.shape[dim - self.spatial] + before + after
            if size < self.dilation[dim] * (self.kernel_size[dim] - 1) + 1:
                return (
                    f"{type(self).__name__}: expected inputs at least as large as the kernel "
                    f"{list(self.kernel_size)}, got {list(input.shape[-self.spatial :])}. Add "
                    "padding, or take fewer pooling steps before."
                )
        return None


class Conv1d(_Conv):
    """Cross-correlation of sequences with learned filters; arguments as Conv2d's.

    Shapes: input [n, in, length] or [in, length]; weight [out, in / groups, kernel_size].
    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.Conv1d(2, 4, 3, padding="same")(ft.zeros(1, 2, 8)).shape)
      [1, 4, 8]
    """

    spatial = 1


class Conv2d(_Conv):
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

    spatial = 2


class Conv3d(_Conv):
    """Cross-correlation of volumes with learned filters; arguments as Conv2d's.

    Shapes: input [n, in, d, h, w] or [in, d, h, w]; weight [out, in / groups, *kernel_size].
    """

    spatial = 3


class _ConvTranspose(_Convolution):
    """The transpose of a convolution as an operator; the rank is the subclass's."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(
                f"{type(self).__name__}: expected padding_mode 'zeros', got {padding_mode!r}."
            )
        sizes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "output_padding": output_padding,
        }
        channels = (in_channels, out_channels)
        self._set_up(channels, sizes, groups, bias, padding_mode, device, dtype)
        self._function = getattr(ft, f"conv_transpose{self.spatial}d")

    def forward(self, input: ft.Tensor, output_size: Sequence[int] | None = None) -> ft.Tensor:
        """[n, in, ...] -> [n, out, ...].

        Args:
          output_size: sizes of the output behind its channels, where stride leaves a choice.
        """
        extra = self.output_padding if output_size is None else self._fit(input, output_size)
        return self._function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _fit(self, input: ft.Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives output_size."""
        wanted = list(output_size)[-self.spatial :]
        smallest = [
            (size - 1) * step - 2 * int(pad) + hop * (kernel - 1) + 1
            for size, step, pad, hop, kernel in zip(
                input.shape[-self.spatial :],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        ]
        largest = [low + step - 1 for low, step in zip(smallest, self.stride, strict=True)]
        if len(wanted) != self.spatial or any(
            not low <= size <= high
            for low, size, high in zip(smallest, wanted, largest, strict=True)
        ):
            raise ShapeError(
                f"{type(self).__name__}: expected output_size from {smallest} to {largest} for "
                f"input {list(input.shape)}, got {list(output_size)}."
            )
        return tuple(size - low for size, low in zip(wanted, smallest, strict=True))

    def _input_error(self, input: ft.Tensor, output_size: Any = None) -> str | None:
        return self._channel_error(input)


class ConvTranspose1d(_ConvTranspose):
    """The transpose of Conv1d as an operator; arguments as ConvTranspose2d's."""

    spatial = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of Conv2d as an operator: spreads each pixel over a window.

    Args:
      in_channels, out_channels, kernel_size, stride, padding, groups, bias, dilation: those of the
        convolution that goes the other way.
      output_padding: rows and columns added behind the output.
    Shapes: input [n, in, h, w] or [in, h, w]; weight [in, out / groups, *kernel_size], bias [out].
    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.ConvTranspose2d(4, 1, 2, stride=2)(ft.zeros(2, 4, 3, 3)).shape)
      [2, 1, 6, 6]
    """

    spatial = 2


class ConvTranspose3d(_ConvTranspose):
    """The transpose of Conv3d as an operator; arguments as ConvTranspose2d's."""

    spatial = 3
