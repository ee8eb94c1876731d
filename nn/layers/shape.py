"""Layers that change the shape only."""

from __future__ import annotations

from collections.abc import Sequence

import functorch_like as ft
from nn.module import Module

__all__ = ["Flatten", "Unflatten"]


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
            f"{list(self.unflattened_size)}, "
            f"got input {list(input.shape)}."
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
