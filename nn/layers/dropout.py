"""Dropout of elements and of channels; dropouts.py has the formulas."""

from __future__ import annotations

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
]  # fmt: skip


class _Dropout(Module):
    """What all dropouts share: the settings, and that they act in training mode only."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: expected p within 0..1, got {p}.")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training mode, zeroes each element with probability p and divides the others by 1 - p;
    else its input.

    Args:
      p: probability, 0..1.
      inplace: write the result into the input.
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.Dropout(0.5).eval()(ft.ones(2))
      tensor([1., 1.])
    """

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        if not self.training:
            return input
        return F.dropout(input, self.p, True, self.inplace)


class Dropout1d(_Dropout):
    """Dropout of whole channels of sequences [n, c, length] or [c, length]."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, length] -> [same]."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Dropout of whole channels of images [n, c, h, w], or [n, c, length]."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] -> [same]."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Dropout of whole channels of volumes [n, c, d, h, w] or [c, d, h, w]."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, d, h, w] -> [same]."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks: keeps mean 0 and variance 1."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [same]."""
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
