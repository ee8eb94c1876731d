"""Attention of several heads as a layer."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import functional as F
from nn import init
from nn.layers.linear import Linear
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of several heads, with projections in front and behind.

    Args:
      embed_dim: width of the queries and of the output; a multiple of num_heads.
      dropout: probability of dropping an attention weight, in training.
      bias: add biases to the projections.
      add_bias_kv: append a learned key and value. add_zero_attn: append ones of zeros.
      kdim, vdim: widths of keys and values; embed_dim by default.
      batch_first: tensors are [n, length, width] instead of [length, n, width].
    Shapes: in_proj_weight [3 * embed_dim, embed_dim] (or q_, k_ and v_proj_weight),
      in_proj_bias [3 * embed_dim], out_proj a Linear.
    Reference: Vaswani et al. 2017.
    Example:
      >>> import functorch_like as ft, nn
      >>> layer = nn.MultiheadAttention(8, 2, batch_first=True)
      >>> x = ft.randn(3, 5, 8)
      >>> [list(t.shape) for t in layer(x, x, x)]
      [[3, 5, 8], [3, 5, 5]]
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: expected embed_dim a multiple of num_heads, got "
                f"{embed_dim} and {num_heads}."
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        options = {"device": device, "dtype": dtype}
        self._one_width = self.kdim == embed_dim == self.vdim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        if self._one_width:
            self.in_proj_weight = Parameter(ft.empty(3 * embed_dim, embed_dim, **options))
        for name, width in widths.items():
            weight = None
            if not self._one_width:
                weight = Parameter(ft.empty(embed_dim, width, **options))
            self.register_parameter(f"{name}_proj_weight", weight)
        if not self._one_width:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter(
            "in_proj_bias", Parameter(ft.empty(3 * embed_dim, **options)) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, **options)
        for name in ("bias_k", "bias_v"):
            value = Parameter(ft.empty(1, 1, embed_dim, **options)) if add_bias_kv else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        self.out_proj.reset_parameters()
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for value in (self.bias_k, self.bias_v):
            if value is not None:
                init.xavier_normal_(value)

    def forward(
        self,
        query: ft.Tensor,
        key: ft.Tensor,
        value: ft.Tensor,
        key_padding_mask: ft.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: ft.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[ft.Tensor, ft.Tensor | None]:
        """Attend with query [l, n, embed_dim] to key [s, n, kdim] and value [s, n, vdim].

        Args:
          query, key, value: without n for one sequence; [n, l, ...] with batch_first.
          key_padding_mask [n, s]: True for keys to be left out, or added to the scores.
          need_weights: give the attention weights too.
          attn_mask [l, s] or [n * num_heads, l, s]: True where a query may not attend, or added.
          average_attn_weights: their mean over the heads.
          is_causal: a hint that attn_mask is the causal one.
        Returns:
          (output [l, n, embed_dim], weights [n, l, s] or [n, num_heads, l, s] or None).
        """
        self._check(query, key, value)
        swap = self.batch_first and query.ndim == 3
        if swap:
            same_key, same_value = key is query, value is key
            query_ = query.transpose(0, 1)
            key_ = query_ if same_key else key.transpose(0, 1)
            value = key_ if same_value else value.transpose(0, 1)
            query, key = query_, key_
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._one_width,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal and attn_mask is not None,
        )
        return (output.transpose(0, 1) if swap else output), weights

    def _check(self, query: ft.Tensor, key: ft.Tensor, value: ft.Tensor) -> None:
        widths = (self.embed_dim, self.kdim, self.vdim)
        for name, x, width in zip(
            ("query", "key", "value"), (query, key, value), widths, strict=True
        ):
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != width:
                form = "n, length" if self.batch_first else "length, n"
                raise ShapeError(
                    f"MultiheadAttention: expected {name} [{form}, {width}] or [length, {width}], "
                    f"got {list(x.shape)}."
                )
