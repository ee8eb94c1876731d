"""Embedding: a table of learned rows."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """Rows of a learned table, picked by integers.

    Args:
      num_embeddings, embedding_dim: the table's rows and columns.
      padding_idx: this row starts at zero and is not trained.
      device, dtype: of the table.
    Shapes: input [...] integer, output [..., embedding_dim]; weight [num_embeddings,
      embedding_dim], drawn normally.
    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.Embedding(10, 3)(ft.tensor([[1, 2], [4, 5]])).shape)
      [2, 2, 3]
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: ft.Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if max_norm is not None or scale_grad_by_freq or sparse:
            raise NotImplementedError(
                "Embedding: expected max_norm=None, scale_grad_by_freq=False and sparse=False. "
                "Others are not supported yet."
            )
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding: expected padding_idx within {num_embeddings} rows, got "
                    f"{padding_idx}."
                )
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        if _weight is None:
            self.weight = Parameter(
                ft.empty(num_embeddings, embedding_dim, device=device, dtype=dtype), not _freeze
            )
            self.reset_parameters()
        else:
            if list(_weight.shape) != [num_embeddings, embedding_dim]:
                raise ValueError(
                    f"Embedding: expected a table {[num_embeddings, embedding_dim]}, got "
                    f"{list(_weight.shape)}."
                )
            self.weight = Parameter(_weight, not _freeze)

    @classmethod
    def from_pretrained(
        cls, embeddings: ft.Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """A layer over a given table [rows, columns], not trained unless freeze=False."""
        if embeddings.ndim != 2:
            raise ValueError(
                f"from_pretrained: expected a table [rows, columns], got {list(embeddings.shape)}."
            )
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, _weight=embeddings, _freeze=freeze)

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with ft.no_grad():
                self.weight[self.padding_idx].fill_(0.0)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [..., embedding_dim]."""
        if self.padding_idx is None:
            return ft.embedding(input, self.weight)
        return F.embedding(input, self.weight, self.padding_idx)

    def _input_error(self, input: ft.Tensor) -> str | None:
        if input.is_floating_point():
            return f"Embedding: expected integer row numbers, got {input.dtype}. Cast with .long()."
        low, high = int(input.min()), int(input.max())
        if low < 0 or high >= self.num_embeddings:
            return (
                f"Embedding: expected row numbers 0..{self.num_embeddings - 1}, got {low}..{high}. "
                "num_embeddings must exceed the largest."
            )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
