"""Positions in attention, and the keys and values of tokens that went before."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn.module import Module

__all__ = ["ALiBi", "KVCache", "RotaryEmbedding"]


class RotaryEmbedding(Module):
    """Turns pairs of features of queries and keys by angles that grow with the position.

    Args:
      dim: how many features to turn (even); the others stay.
      base: pair i turns by position * base^(-2 i / dim), in radians.
      scale: a factor on positions.
      interleaved: pairs are neighbours instead of features dim / 2 apart.
    Shapes: input and output [..., length, width], width at least dim.
    Reference: Su et al. 2021.
    """

    def __init__(
        self, dim: int, base: float = 10000.0, scale: float = 1.0, interleaved: bool = False
    ) -> None:
        super().__init__()
        if dim <= 0 or dim % 2:
            raise ValueError(f"RotaryEmbedding: expected an even dim above 0, got {dim}.")
        self.dim = dim
        self.base = base
        self.scale = scale
        self.interleaved = interleaved

    def forward(self, input: ft.Tensor, offset: int | ft.Tensor = 0) -> ft.Tensor:
        """[..., length, width] -> [same]; the first row stands at position offset."""
        return ft.rope(
            input,
            self.dim,
            base=self.base,
            scale=self.scale,
            offset=offset,
            interleaved=self.interleaved,
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"{self.dim}, base={self.base}, scale={self.scale}, interleaved={self.interleaved}"


class ALiBi(Module):
    """Linear biases for attention scores: minus the distance times a slope of each head.

    Args:
      num_heads: the slopes are a geometric sequence over them.
      causal: keys behind the query get minus infinity.
    Reference: Press, Smith & Lewis 2022.
    Example:
      >>> import functorch_like as ft, nn
      >>> (nn.ALiBi(8)(1, 3)[0] * 2).tolist()
      [[-2.0, -1.0, 0.0]]
    """

    def __init__(self, num_heads: int, causal: bool = True) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"ALiBi: expected at least 1 head, got {num_heads}.")
        self.num_heads = num_heads
        self.causal = causal

    def forward(self, rows: int, columns: int | None = None, dtype: Any = None) -> ft.Tensor:
        """[num_heads, rows, columns] to add to scores; the last query stands at the last key."""
        columns = rows if columns is None else columns
        bias = ft.alibi_bias(self.num_heads, rows, columns, dtype)
        if not self.causal:
            return bias
        last = ft.arange(rows).unsqueeze(1) + (columns - rows)
        return bias.masked_fill(ft.arange(columns) > last, float("-inf")) + 0.0

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"{self.num_heads}, causal={self.causal}"


class KVCache(Module):
    """Keys and values of the tokens so far, so that decoding computes each of them once.

    The memory for all tokens is there from the start; update writes the new ones behind the old and
    gives the part that is filled. The buffers are not saved with the module.

    Args:
      batch, heads, length, width: sizes of the cached tensors [batch, heads, length, width].
      value_width: width of the values; width by default.
    Example:
      >>> import functorch_like as ft, nn
      >>> cache = nn.KVCache(1, 2, 8, 4)
      >>> x = ft.ones(1, 2, 3, 4)
      >>> [list(t.shape) for t in cache.update(x, x)], len(cache)
      ([[1, 2, 3, 4], [1, 2, 3, 4]], 3)
    """

    keys: ft.Tensor
    values: ft.Tensor

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        width: int,
        value_width: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = {"device": device, "dtype": dtype}
        value_width = width if value_width is None else value_width
        keys = ft.zeros(batch, heads, length, width, **options)
        values = ft.zeros(batch, heads, length, value_width, **options)
        self.register_buffer("keys", keys, persistent=False)
        self.register_buffer("values", values, persistent=False)
        self.filled = 0

    def __len__(self) -> int:
        return self.filled

    def reset(self) -> None:
        """Forget all tokens."""
        self.filled = 0

    def update(self, key: ft.Tensor, value: ft.Tensor) -> tuple[ft.Tensor, ft.Tensor]:
        """Append the keys and values [batch, heads, new, width] and give all so far.

        Raises:
          ShapeError: the sizes do not fit, or there is no room left.
        """
        new, room = key.shape[-2], self.keys.shape[2]
        for name, x, kept in (("key", key, self.keys), ("value", value, self.values)):
            wanted = [*kept.shape[:2], new, kept.shape[3]]
            if list(x.shape) != wanted:
                raise ShapeError(f"KVCache: expected {name} {wanted}, got {list(x.shape)}.")
        end = self.filled + new
        if end > room:
            raise ShapeError(
                f"KVCache: expected at most {room - self.filled} more tokens, got {new}. Make the "
                "cache longer, or reset it."
            )
        for kept, x in ((self.keys, key), (self.values, value)):
            kept[:, :, self.filled : end] = x
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def forward(self, key: ft.Tensor, value: ft.Tensor) -> tuple[ft.Tensor, ft.Tensor]:
        """update."""
        return self.update(key, value)

    def extra_repr(self) -> str:
        """Settings for repr."""
        batch, heads, length, width = self.keys.shape
        return f"batch={batch}, heads={heads}, length={length}, width={width}"
