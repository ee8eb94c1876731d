"""Padding: rims of zeros, of a constant, of the mirrored, repeated or wrapped input."""

from __future__ import annotations

from collections.abc import Sequence

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn.layers.sizes import FORMS
from nn.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """Base of the padding layers: one number for all sides, or (before, after) of the last
    dimension, then of the one before it, and so on.
    """

    spatial: int
    mode = "constant"
    value = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sides = (padding,) * (2 * self.spatial) if isinstance(padding, int) else tuple(padding)
        if len(sides) != 2 * self.spatial:
            raise ValueError(
                f"{type(self).__name__}: expected padding as one or {2 * self.spatial} integers, "
                f"got {padding!r}."
            )
        self.padding = sides

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., sizes] -> [..., padded sizes]."""
        if self.mode == "constant":
            return ft.pad(input, self.padding, "constant", self.value)
        if input.ndim not in (self.spatial + 1, self.spatial + 2):
            form = FORMS[self.spatial]
            raise ShapeError(
                f"{type(self).__name__}: expected input [n, c, {form}] or [c, {form}], got "
                f"{list(input.shape)}."
            )
        return ft.pad(input, self.padding, self.mode)

    def _input_error(self, input: ft.Tensor) -> str | None:
        sizes = list(input.shape[-self.spatial :])
        limits = {"reflect": (1, "smaller than"), "circular": (0, "at most")}
        if self.mode in limits and input.ndim > self.spatial:
            less, words = limits[self.mode]
            for size, sides in zip(reversed(sizes), self._pairs(), strict=True):
                if max(sides) > size - less:
                    return (
                        f"{type(self).__name__}: expected padding {words} the input's sizes "
                        f"{sizes}, got {self.padding}."
                    )
        return None

    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.padding[::2], self.padding[1::2], strict=True))

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads the last dimension with value; padding: one number or (left, right)."""

    spatial = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dimensions with value; padding: one number or (left, right, top, bottom).

    Example:
      >>> import functorch_like as ft, nn
      >>> nn.ConstantPad2d((1, 0, 0, 1), 7.0)(ft.zeros(1, 1, 2))
      tensor([[[7., 0., 0.],
               [7., 7., 7.]]])
    """

    spatial = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dimensions with value; padding: one number or (left, right, top, bottom,
    front, back).
    """

    spatial = 3


class ZeroPad1d(_Pad):
    """ConstantPad1d with 0."""

    spatial = 1


class ZeroPad2d(_Pad):
    """ConstantPad2d with 0."""

    spatial = 2


class ZeroPad3d(_Pad):
    """ConstantPad3d with 0."""

    spatial = 3


class ReflectionPad1d(_Pad):
    """Pads the last dimension by mirroring at the edges, which are not repeated.

    Example:
      >>> import functorch_like as ft, nn
      >>> nn.ReflectionPad1d(2)(ft.tensor([[1.0, 2.0, 3.0]]))
      tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    spatial, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Pads the last two dimensions by mirroring at the edges, which are not repeated."""

    spatial, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Pads the last three dimensions by mirroring at the edges, which are not repeated."""

    spatial, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Pads the last dimension by repeating its edges."""

    spatial, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Pads the last two dimensions by repeating their edges."""

    spatial, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Pads the last three dimensions by repeating their edges."""

    spatial, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Pads the last dimension as if it went round in a circle."""

    spatial, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Pads the last two dimensions as if each went round in a circle."""

    spatial, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Pads the last three dimensions as if each went round in a circle."""

    spatial, mode = 3, "circular"
