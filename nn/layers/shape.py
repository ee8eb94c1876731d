"""Layers that change the shape only: flattening, windows, rearranged channels, resized images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = [
    "ChannelShuffle", "Flatten", "Fold", "PixelShuffle", "PixelUnshuffle", "Unflatten", "Unfold",
    "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d",
]  # fmt: skip


class Flatten(Module):
    """Makes the dimensions start_dim..end_dim one; by default all but the batch.

    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.Flatten()(ft.zeros(2, 3, 4)).shape)
      [2, 12]
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, a, b, ...] -> [n, a * b * ...]."""
        return input.flatten(self.start_dim, self.end_dim)

    def _input_error(self, input: ft.Tensor) -> str | None:
        n = input.ndim
        for name, dim in (("start_dim", self.start_dim), ("end_dim", self.end_dim)):
            if not -n <= dim < n:
                shape = list(input.shape)
                return f"Flatten: expected {name} within {n} dimensions, got {dim} for {shape}."
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension dim into the sizes of unflattened_size; -1 infers one of them."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., size, ...] -> [..., *unflattened_size, ...]."""
        dim = self.dim + input.ndim if self.dim < 0 else self.dim
        return input.reshape([*input.shape[:dim], *self.unflattened_size, *input.shape[dim + 1 :]])

    def _input_error(self, input: ft.Tensor) -> str | None:
        return (
            f"Unflatten: expected a size along dim {self.dim} that splits into "
            f"{list(self.unflattened_size)}, got input {list(input.shape)}."
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Unfold(Module):
    """Windows of images as columns, as a convolution takes them.

    Args:
      kernel_size, dilation, padding, stride: of the windows; one number or (rows, columns).
    Shapes: input [n, c, h, w], output [n, c * rows * columns, windows].
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        dilation: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        stride: int | tuple[int, ...] = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] -> [n, c * rows * columns, windows]."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """The transpose of Unfold: sums windows into images of output_size.

    Shapes: input [n, c * rows * columns, windows], output [n, c, *output_size].
    """

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        kernel_size: int | tuple[int, ...],
        dilation: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        stride: int | tuple[int, ...] = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c * rows * columns, windows] -> [n, c, *output_size]."""
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class PixelShuffle(Module):
    """Channels to pixels: [..., c * r^2, h, w] -> [..., c, h * r, w * r], r = upscale_factor.

    Reference: Shi et al. 2016.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., c * r^2, h, w] -> [..., c, h * r, w * r]."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels to channels, the inverse of PixelShuffle."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., c, h * r, w * r] -> [..., c * r^2, h, w]."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Mixes channels: each block gets one of every group. Reference: Zhang et al. 2018."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [same]."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"groups={self.groups}"


class Upsample(Module):
    """Resizes sequences, images or volumes by interpolation.

    Args:
      size, scale_factor: sizes of the output behind the channels, or their ratio to the input's;
        one of them.
      mode: "nearest", "linear", "bilinear", "bicubic", "trilinear", ...: as interpolate's.
      align_corners: the corner points of input and output coincide (linear and cubic modes).
      recompute_scale_factor: take the ratio of the rounded sizes instead of scale_factor.
    Shapes: input [n, c, length], [n, c, h, w] or [n, c, d, h, w].
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, ...']."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        by_factor = self.scale_factor is not None
        sizes = f"scale_factor={self.scale_factor!r}" if by_factor else f"size={self.size!r}"
        return f"{sizes}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample of images by repeating the nearest pixel."""

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample of images, linear in both directions, with aligned corners."""

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)
