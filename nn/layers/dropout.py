"""Dropout."""

from __future__ import annotations

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
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

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: expected p within 0..1, got {p}.")
        self.p = p
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        if not self.training:
            return input
        return F.dropout(input, self.p, True, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"p={self.p}, inplace={self.inplace}"
