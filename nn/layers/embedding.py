"""Tables of learned rows: picked, or picked and pooled in bags."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


def _settings(table: Any) -> str:
    """What both layers print behind their sizes, in torch's order."""
    bag = isinstance(table, EmbeddingBag)
    padding = "" if table.padding_idx is None else f", padding_idx={table.padding_idx}"
    text = "" if bag else padding
    text += "" if table.max_norm is None else f", max_norm={table.max_norm}"
    text += "" if table.norm_type == 2 else f", norm_type={table.norm_type}"
    text += ", scale_grad_by_freq=True" if table.scale_grad_by_freq else ""
    if bag:
        return f"{text}, mode={table.mode!r}{padding}"
    return text + (", sparse=True" if table.sparse else "")


def _row(table: Any, index: int | None, rows: int) -> int | None:
    """The row of padding, counted from the front."""
    if index is None or -rows <= index < rows:
        return index if index is None else index % rows
    name = type(table).__name__
    raise ValueError(f"{name}: expected padding_idx within {rows} rows, got {index}.")


class Embedding(Module):
    """Rows of a learned table, picked by integers.

    Args:
      num_embeddings, embedding_dim: the table's rows and columns.
      padding_idx: this row starts at zero and is not trained.
      max_norm, norm_type: rows of a larger norm are scaled down in the table when they are picked.
      scale_grad_by_freq: divide each row's gradient by how often it was picked.
      sparse: of no effect; gradients are dense.
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
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = _row(self, padding_idx, num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
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
        cls,
        embeddings: ft.Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer over a given table [rows, columns], not trained unless freeze=False."""
        if embeddings.ndim != 2:
            raise ValueError(
                f"from_pretrained: expected a table [rows, columns], got {list(embeddings.shape)}."
            )
        rows, columns = embeddings.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with ft.no_grad():
                self.weight[self.padding_idx].fill_(0.0)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [..., embedding_dim]."""
        if self.padding_idx is None and self.max_norm is None and not self.scale_grad_by_freq:
            return ft.embedding(input, self.weight)
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )

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
        return f"{self.num_embeddings}, {self.embedding_dim}{_settings(self)}"


class EmbeddingBag(Module):
    """Sum, mean or maximum of rows of a learned table, for bags of row numbers.

    Args:
      num_embeddings, embedding_dim: the table's rows and columns.
      mode: "sum", "mean" or "max".
      include_last_offset: offsets ends with the number of all row numbers.
      padding_idx: this row starts at zero, is not trained and does not count.
    Shapes: input [n, size] integer, or [total] with offsets [n], where each bag starts; output
      [n, embedding_dim]; weight [num_embeddings, embedding_dim], drawn normally.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: ft.Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag: expected mode 'sum', 'mean' or 'max', got {mode!r}.")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self.padding_idx = _row(self, padding_idx, num_embeddings)
        if _weight is None:
            table = ft.empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter(table)
            self.reset_parameters()
        else:
            if list(_weight.shape) != [num_embeddings, embedding_dim]:
                raise ValueError(
                    f"EmbeddingBag: expected a table {[num_embeddings, embedding_dim]}, got "
                    f"{list(_weight.shape)}."
                )
            self.weight = Parameter(_weight)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ft.Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer over a given table [rows, columns], not trained unless freeze=False."""
        if embeddings.ndim != 2:
            raise ValueError(
                f"from_pretrained: expected a table [rows, columns], got {list(embeddings.shape)}."
            )
        rows, columns = embeddings.shape
        layer = cls(
            rows,
            columns,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            embeddings,
            include_last_offset,
            padding_idx,
        )
        layer.weight.requires_grad_(not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with ft.no_grad():
                self.weight[self.padding_idx].fill_(0.0)

    def forward(
        self,
        input: ft.Tensor,
        offsets: ft.Tensor | None = None,
        per_sample_weights: ft.Tensor | None = None,
    ) -> ft.Tensor:
        """[n, size], or [total] and offsets [n] -> [n, embedding_dim].

        Args:
          per_sample_weights [same as input]: a factor for each row, with mode "sum".
        """
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            max_norm=self.max_norm,
            norm_type=self.norm_type,
            scale_grad_by_freq=self.scale_grad_by_freq,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def _input_error(self, input: ft.Tensor, *_others: Any) -> str | None:
        if input.is_floating_point():
            return (
                f"EmbeddingBag: expected integer row numbers, got {input.dtype}. Cast with .long()."
            )
        low, high = int(input.min()), int(input.max())
        if low < 0 or high >= self.num_embeddings:
            return (
                f"EmbeddingBag: expected row numbers 0..{self.num_embeddings - 1}, got "
                f"{low}..{high}. num_embeddings must exceed the largest."
            )
        return None

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"{self.num_embeddings}, {self.embedding_dim}{_settings(self)}"
