"""Pooling over images."""

from __future__ import annotations

from collections.abc import Sequence

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    """Largest value of each window.

    Args:
      kernel_size: the window, one number or (rows, columns).
      stride: step between windows; kernel_size by default.
      padding: minus infinity on each side.
      dilation: distance between the window's elements.
      return_indices: not supported yet.
      ceil_mode: a last window that only partly fits counts.
    Shapes: input [n, c, h, w] or [c, h, w], output the same with smaller h and w.
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.MaxPool2d(2)(ft.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
      tensor([[[4.]]])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        if return_indices:
            raise NotImplementedError(
                "MaxPool2d: expected return_indices=False, got True. It is not supported yet."
            )
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] -> [n, c, h', w']."""
        return ft.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def _input_error(self, input: ft.Tensor) -> str | None:
        if input.ndim not in (3, 4):
            return f"MaxPool2d: expected input [n, c, h, w] or [c, h, w], got {list(input.shape)}."
        kernel = F._pair("MaxPool2d", "kernel_size", self.kernel_size)
        padding = F._pair("MaxPool2d", "padding", self.padding)
        dilation = F._pair("MaxPool2d", "dilation", self.dilation)
        for size, k, p, d in zip(input.shape[-2:], kernel, padding, dilation, strict=True):
            if size + 2 * p < d * (k - 1) + 1:
                return (
                    f"MaxPool2d: expected images at least as large as the window {list(kernel)}, "
                    f"got {list(input.shape[-2:])}. Take fewer pooling steps or a smaller kernel."
                )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """Mean of each window; arguments as functional.avg_pool2d's."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] -> [n, c, h', w']."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Mean over windows chosen so that the images become output_size; None keeps a size."""

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] -> [n, c, *output_size]."""
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"output_size={self.output_size}"
