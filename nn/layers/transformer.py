"""Transformer encoder, decoder and both together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import functional as F
from nn import init
from nn.layers.attention import MultiheadAttention
from nn.layers.container import ModuleList
from nn.layers.dropout import Dropout
from nn.layers.linear import Linear
from nn.layers.norm import LayerNorm
from nn.module import Module

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer",
]  # fmt: skip

Activation = str | Callable[[ft.Tensor], ft.Tensor]


def _activation(op: str, activation: Activation) -> Callable[[ft.Tensor], ft.Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise ValueError(
            f"{op}: expected activation 'relu', 'gelu' or a function, got {activation!r}."
        )
    return getattr(F, activation)


class _Layer(Module):
    """What both layers are: parts, of which the last is a feed-forward network and the others are
    attention, each with a residual connection, a norm and a dropout.
    """

    _attentions: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        attention = {"dropout": dropout, "bias": bias, "batch_first": batch_first, **made}
        parts = range(1, len(self._attentions) + 2)
        for name in self._attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, **attention))
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        for i in parts:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, **made))
        for i in parts:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _activation(type(self).__name__, activation)

    def _apply_parts(self, x: ft.Tensor, *arguments: tuple[Any, ...]) -> ft.Tensor:
        """x through all parts.

        For each attention: what it attends to (None: its own input), and three masks: of keys, of
        pairs, causal.
        """
        for i, part in enumerate((*arguments, None), 1):
            norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            y = norm(x) if self.norm_first else x
            if part is None:
                y = self.linear2(self.dropout(self.activation(self.linear1(y))))
            else:
                memory, keys, pairs, causal = part
                memory = y if memory is None else memory
                y, _ = getattr(self, self._attentions[i - 1])(
                    y,
                    memory,
                    memory,
                    key_padding_mask=keys,
                    need_weights=False,
                    attn_mask=pairs,
                    is_causal=causal,
                )
            x = x + dropout(y)
            x = x if self.norm_first else norm(x)
        return x


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with a residual connection and LayerNorm.

    Args:
      d_model, nhead: width and attention heads.
      dim_feedforward: width inside the feed-forward network.
      dropout: probability, in training.
      activation: "relu", "gelu" or a function.
      layer_norm_eps: added to variances.
      batch_first: tensors are [n, length, d_model] instead of [length, n, d_model].
      norm_first: normalise before each part instead of after it.
      bias: Linear and LayerNorm have biases.
    Reference: Vaswani et al. 2017; norm_first: Xiong et al. 2020.
    """

    _attentions = ("self_attn",)

    def forward(
        self,
        src: ft.Tensor,
        src_mask: ft.Tensor | None = None,
        src_key_padding_mask: ft.Tensor | None = None,
        is_causal: bool = False,
    ) -> ft.Tensor:
        """[length, n, d_model] -> [same]; masks as MultiheadAttention's."""
        return self._apply_parts(src, (None, src_key_padding_mask, src_mask, is_causal))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, and a feed-forward network; arguments as
    TransformerEncoderLayer's.
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: ft.Tensor,
        memory: ft.Tensor,
        tgt_mask: ft.Tensor | None = None,
        memory_mask: ft.Tensor | None = None,
        tgt_key_padding_mask: ft.Tensor | None = None,
        memory_key_padding_mask: ft.Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> ft.Tensor:
        """[length, n, d_model] and the encoder's [source, n, d_model] -> [length, n, d_model]."""
        return self._apply_parts(
            tgt,
            (None, tgt_key_padding_mask, tgt_mask, tgt_is_causal),
            (memory, memory_key_padding_mask, memory_mask, memory_is_causal),
        )


def _copies(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """num_layers copies of an encoder layer, one after the other.

    Args:
      encoder_layer: the layer; copied with its values.
      norm: applied to the result.
      enable_nested_tensor, mask_check: of no effect; torch's fast path has them.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: ft.Tensor,
        mask: ft.Tensor | None = None,
        src_key_padding_mask: ft.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> ft.Tensor:
        """[length, n, d_model] -> [same]; masks as MultiheadAttention's."""
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """num_layers copies of a decoder layer, one after the other; norm is applied to the result."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: ft.Tensor,
        memory: ft.Tensor,
        tgt_mask: ft.Tensor | None = None,
        memory_mask: ft.Tensor | None = None,
        tgt_key_padding_mask: ft.Tensor | None = None,
        memory_key_padding_mask: ft.Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> ft.Tensor:
        """[length, n, d_model] and the encoder's [source, n, d_model] -> [length, n, d_model]."""
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder.

    Args:
      d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
        bias: of all layers, as TransformerEncoderLayer's.
      num_encoder_layers, num_decoder_layers: how many.
      custom_encoder, custom_decoder: modules in place of them.
    Shapes: src [source, n, d_model], tgt and output [length, n, d_model]; n first with batch_first.
    Reference: Vaswani et al. 2017.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer: tuple[Any, ...] = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

        def last_norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            encoder_layer = TransformerEncoderLayer(*layer)
            custom_encoder = TransformerEncoder(encoder_layer, num_encoder_layers, last_norm())
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*layer)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, last_norm())
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values of all matrices again."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: ft.Tensor,
        tgt: ft.Tensor,
        src_mask: ft.Tensor | None = None,
        tgt_mask: ft.Tensor | None = None,
        memory_mask: ft.Tensor | None = None,
        src_key_padding_mask: ft.Tensor | None = None,
        tgt_key_padding_mask: ft.Tensor | None = None,
        memory_key_padding_mask: ft.Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> ft.Tensor:
        """[source, n, d_model] and [length, n, d_model] -> [length, n, d_model]."""
        batch_dim = 0 if self.batch_first else 1
        fits = src.ndim == tgt.ndim and src.ndim in (2, 3)
        fits = fits and src.shape[-1] == tgt.shape[-1] == self.d_model
        if not fits or (src.ndim == 3 and src.shape[batch_dim] != tgt.shape[batch_dim]):
            raise ShapeError(
                f"Transformer: expected src and tgt [length, n, {self.d_model}] of one n, got "
                f"{list(src.shape)} and {list(tgt.shape)}."
            )
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: Any = None, dtype: Any = None
    ) -> ft.Tensor:
        """[sz, sz]: 0 up to each query's own place, minus infinity behind it."""
        ones = ft.full((sz, sz), float("-inf"), device=device, dtype=dtype)
        return ft.triu(ones, 1)
