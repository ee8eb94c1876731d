"""Pooling over sequences, images and volumes: largest values, means, norms, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from nn import functional as F
from nn.layers.sizes import FORMS, spread
from nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip

Sizes = int | tuple[int, ...]


class _Pool(Module):
    """What all pools share: the number of pooled dimensions, and the words for wrong input."""

    spatial: int
    kernel_size: Any
    padding: Any = 0
    dilation: Any = 1

    def _input_error(self, input: ft.Tensor, *_others: Any) -> str | None:
        name, form = type(self).__name__, FORMS[self.spatial]
        if input.ndim not in (self.spatial + 1, self.spatial + 2):
            return f"{name}: expected input [n, c, {form}] or [c, {form}], got {list(input.shape)}."
        if not hasattr(self, "kernel_size"):
            return None
        kernel, padding, dilation = (
            spread(name, key, getattr(self, key), self.spatial)
            for key in ("kernel_size", "padding", "dilation")
        )
        sizes = list(input.shape[-self.spatial :])
        for size, k, p, d in zip(sizes, kernel, padding, dilation, strict=True):
            if size + 2 * p < d * (k - 1) + 1:
                return (
                    f"{name}: expected {'images' if self.spatial == 2 else 'inputs'} at least as "
                    f"large as the window {list(kernel)}, got {sizes}. Take fewer pooling steps or "
                    "a smaller kernel."
                )
        return None


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        self._function = getattr(ft, f"max_pool{self.spatial}d")

    def forward(self, input: ft.Tensor) -> Any:
        """[n, c, ...] -> [n, c, ...'], and the indices if return_indices."""
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest value of each window of sequences [n, c, length]; arguments as MaxPool2d's."""

    spatial = 1


class MaxPool2d(_MaxPool):
    """Largest value of each window.

    Args:
      kernel_size: the window, one number or (rows, columns).
      stride: step between windows; kernel_size by default.
      padding: minus infinity on each side.
      dilation: distance between the window's elements.
      return_indices: give (values, indices); MaxUnpool2d takes both.
      ceil_mode: a last window that only partly fits counts.
    Shapes: input [n, c, h, w] or [c, h, w], output the same with smaller h and w.
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.MaxPool2d(2)(ft.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
      tensor([[[4.]]])
    """

    spatial = 2


class MaxPool3d(_MaxPool):
    """Largest value of each window of volumes [n, c, d, h, w]; arguments as MaxPool2d's."""

    spatial = 3


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
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

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """Mean of each window of sequences [n, c, length].

    Args:
      kernel_size, stride, padding, ceil_mode: as MaxPool2d's; padding with zeros.
      count_include_pad: padding counts in the mean.
    """

    spatial = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        step = kernel_size if stride is None else stride
        super().__init__(
            spread("AvgPool1d", "kernel_size", kernel_size, 1),
            spread("AvgPool1d", "stride", step, 1),
            spread("AvgPool1d", "padding", padding, 1),
            ceil_mode,
            count_include_pad,
        )

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, length] -> [n, c, length']."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class AvgPool2d(_AvgPool):
    """Mean of each window of images [n, c, h, w].

    Args:
      kernel_size, stride, padding, ceil_mode: as MaxPool2d's; padding with zeros.
      count_include_pad: padding counts in the mean.
      divisor_override: divide the sums by this instead.
    """

    spatial = 2

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


class AvgPool3d(_AvgPool):
    """Mean of each window of volumes [n, c, d, h, w]; arguments as AvgPool2d's."""

    spatial = 3

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, d, h, w] -> [n, c, d', h', w']."""
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class _LPPool(_Pool):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, ...']."""
        function = getattr(F, f"lp_pool{self.spatial}d")
        return function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """(sum x^norm_type)^(1 / norm_type) of each window of sequences [n, c, length]."""

    spatial = 1


class LPPool2d(_LPPool):
    """(sum x^norm_type)^(1 / norm_type) of each window of images [n, c, h, w]."""

    spatial = 2


class LPPool3d(_LPPool):
    """(sum x^norm_type)^(1 / norm_type) of each window of volumes [n, c, d, h, w]."""

    spatial = 3


class _AdaptiveAvgPool(_Pool):
    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, *output_size]."""
        return getattr(F, f"adaptive_avg_pool{self.spatial}d")(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean over windows chosen so that the length becomes output_size."""

    spatial = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean over windows chosen so that the images become output_size; None keeps a size."""

    spatial = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean over windows chosen so that the volumes become output_size; None keeps a size."""

    spatial = 3


class _AdaptiveMaxPool(_Pool):
    def __init__(
        self, output_size: int | Sequence[int | None] | None, return_indices: bool = False
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: ft.Tensor) -> Any:
        """[n, c, ...] -> [n, c, *output_size], and the indices if return_indices."""
        function = getattr(F, f"adaptive_max_pool{self.spatial}d")
        return function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest value of windows chosen so that the length becomes output_size."""

    spatial = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest value of windows chosen so that the images become output_size; None keeps a size."""

    spatial = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest value of windows chosen so that the volumes become output_size; None keeps a size."""

    spatial = 3


class _MaxUnpool(_Pool):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = spread(name, "kernel_size", kernel_size, self.spatial)
        step = self.kernel_size if stride is None else stride
        self.stride = spread(name, "stride", step, self.spatial)
        self.padding = spread(name, "padding", padding, self.spatial)

    def forward(
        self, input: ft.Tensor, indices: ft.Tensor, output_size: Sequence[int] | None = None
    ) -> ft.Tensor:
        """[n, c, ...] and the pool's indices -> [n, c, ...'], zeros elsewhere."""
        function = getattr(F, f"max_unpool{self.spatial}d")
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def _input_error(self, input: ft.Tensor, *_others: Any) -> str | None:
        return None  # a small input is no mistake here; the function has the words for others

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts the values of MaxPool1d back where they came from, with zeros elsewhere."""

    spatial = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts the values of MaxPool2d back where they came from, with zeros elsewhere."""

    spatial = 2


class MaxUnpool3d(_MaxUnpool):
    """Puts the values of MaxPool3d back where they came from, with zeros elsewhere."""

    spatial = 3


class _FractionalMaxPool(_Pool):
    _random_samples: ft.Tensor | None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: float | tuple[float, ...] | None = None,
        return_indices: bool = False,
        _random_samples: ft.Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{name}: expected either output_size or output_ratio, got {output_size} and "
                f"{output_ratio}."
            )
        self.kernel_size = spread(name, "kernel_size", kernel_size, self.spatial)
        self.output_size = (
            None if output_size is None else spread(name, "output_size", output_size, self.spatial)
        )
        if isinstance(output_ratio, (int, float)):
            output_ratio = (output_ratio,) * self.spatial
        if output_ratio is not None and not all(0 < ratio < 1 for ratio in output_ratio):
            raise ValueError(f"{name}: expected output_ratio within 0..1, got {output_ratio}.")
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: ft.Tensor) -> Any:
        """[n, c, ...] -> [n, c, ...'], and the indices if return_indices."""
        function = getattr(F, f"fractional_max_pool{self.spatial}d")
        return function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """Largest values of windows whose places are drawn at random, so that sizes may shrink by any
    factor.

    Args:
      kernel_size: the window.
      output_size, output_ratio: sizes of the output, or their ratio to the input's; one of them.
      return_indices: give (values, indices).
    Reference: Graham 2014.
    """

    spatial = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """FractionalMaxPool2d of volumes [n, c, d, h, w]."""

    spatial = 3
