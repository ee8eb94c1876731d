"""Attention and what goes with it: multi-head projection, rotary embeddings, ALiBi.

Attention is one op (fused_attention.py) unless it drops weights or they are wanted; then it is
composed of matmul, softmax and elementwise ops. Masks become an additive bias of their own (small)
shape; a row with nothing to attend to gives 0, with gradient 0.
"""

from __future__ import annotations

import math
from typing import Any

from ..amp import entered, lowered
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .creation import arange, tensor, zeros
from .fused_attention import attention, causal_bias
from .join import cat, pad, stack
from .matmul import linear, matmul
from .random import dropout
from .softmax import softmax
from .ternary import where

__all__ = [
    "alibi_bias", "alibi_slopes", "multi_head_attention_forward", "rope",
    "scaled_dot_product_attention",
]  # fmt: skip

_INFINITE = float("inf")


def _additive(op: str, mask: Tensor, dtype: Any) -> Tensor:
    """A mask as what to add to scores."""
    if mask.dtype.name == "bool":
        return where(mask, 0.0, -_INFINITE).to(dtype)
    if mask.dtype.is_floating_point:
        return mask.to(dtype)
    raise DTypeError(message(op, "a bool or floating mask", mask.dtype, "Compare first."))


def _bias(op: str, mask: Tensor, dtype: Any) -> tuple[Tensor, Tensor]:
    """A mask as what to add to scores, and which rows (size 1 at the end) may attend at all."""
    bias = _additive(op, mask, dtype)
    some = (mask if mask.dtype.name == "bool" else mask != -_INFINITE).any(-1, keepdim=True)
    return where(some, bias, 0.0).to(dtype), some


def _of_rank(x: Tensor, rank: int) -> Tensor:
    return x if x.ndim == rank else x.reshape((*[1] * (rank - x.ndim), *x._shape))


def _fused(
    op: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float,
    groups: int,
) -> Tensor:
    operands = [query, key, value]
    if attn_mask is not None:
        operands.append(_additive(op, attn_mask, query.dtype))
    lead: tuple[int, ...] = ()
    if groups > 1:  # [..., heads, groups, L, E] against keys and values shared by a group
        lead = (key._shape[-3], groups)
        shared = [x.unsqueeze(-3) for x in operands[1:3]]
        operands = [
            x if x.ndim < 3 else x.unsqueeze(-3) if x._shape[-3] == 1 else x.unflatten(-3, lead)
            for x in (query, *operands[3:])
        ]
        operands[1:1] = shared
    rank = max(x.ndim for x in operands)
    out, _ = attention(*[_of_rank(x, rank) for x in operands], causal=is_causal, scale=scale)
    return out.flatten(-4, -3) if lead else out


def _fusible(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Has the kernel all it needs? A row or two are faster as products."""
    same = query.dtype is key.dtype and query.dtype is value.dtype
    return same and query._shape[-2] > 2 and key._shape[-2] > 0


def _attend(
    op: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float,
    groups: int,
) -> tuple[Tensor, Tensor]:
    """The result [..., L, Ev] and the weights [..., L, S] after dropout."""
    rows, columns = query._shape[-2], key._shape[-2]
    query = query * scale
    if groups > 1:  # the queries that share a key make one taller matrix
        lead = query._shape[:-3]
        heads, width = key._shape[-3], query._shape[-1]
        query = query.reshape((*lead, heads, groups * rows, width))
    scores = matmul(query, key.transpose(-2, -1))
    if groups > 1:
        scores = scores.reshape((*scores._shape[:-3], heads * groups, rows, columns))
    some = None
    if is_causal:
        scores = scores + causal_bias(rows, columns, scores)
    if attn_mask is not None:
        bias, some = _bias(op, attn_mask, scores.dtype)
        scores = scores + bias
    weights = softmax(scores, -1)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    if some is not None:
        weights = where(some, weights, 0.0).to(weights.dtype)
    if groups == 1:
        return matmul(weights, value), weights
    tall = weights.reshape((*weights._shape[:-3], heads, groups * rows, columns))
    out = matmul(tall, value)
    return out.reshape((*out._shape[:-3], heads * groups, rows, value._shape[-1])), weights


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key^T * scale + mask) @ value.

    Args:
      query [..., Hq, L, E], key [..., H, S, E], value [..., H, S, Ev] floating; leading dimensions
        broadcast.
      attn_mask, broadcast against [..., L, S]: bool, True where a query may attend, or floating,
        added to the scores.
      dropout_p: the probability of dropping a weight; always applied if above 0.
      is_causal: query i attends to keys 0..i. Not together with attn_mask.
      scale: 1 / sqrt(E) by default.
      enable_gqa: may Hq be a multiple of H? Then Hq / H neighbouring queries share a key.
    Returns:
      [..., Hq, L, Ev]; 0 for a query that may attend to nothing.
    Raises:
      ShapeError: sizes do not fit. ValueError: a mask and is_causal.
    Reference: Vaswani et al. 2017; grouped queries: Ainslie et al. 2023.
    Example:
      >>> x = tensor([[1.0, 0.0], [0.0, 1.0]])
      >>> scaled_dot_product_attention(x, x, x, is_causal=True)
      tensor([[1.0000, 0.0000],
              [0.3302, 0.6698]])
    """
    op = "scaled_dot_product_attention"
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not x.dtype.is_floating_point:
            raise DTypeError(message(op, f"a floating {name}", x.dtype, "Cast with .float()."))
        if x.ndim < 2:
            raise ShapeError(message(op, f"{name} of 2 dimensions or more", list(x._shape)))
    if query._shape[-1] != key._shape[-1] or key._shape[-2] != value._shape[-2]:
        wanted = "query [..., L, E], key [..., S, E] and value [..., S, Ev]"
        got = f"{list(query._shape)}, {list(key._shape)} and {list(value._shape)}"
        raise ShapeError(message(op, wanted, got))
    if is_causal and attn_mask is not None:
        raise ValueError(
            message(op, "attn_mask or is_causal", "both", "Put the causal rule into the mask.")
        )
    groups = 1
    if enable_gqa:
        ranks = min(query.ndim, key.ndim, value.ndim)
        if ranks < 3 or key._shape[-3] != value._shape[-3] or query._shape[-3] % key._shape[-3]:
            wanted = (
                "heads in dimension -3, those of the query a multiple of those of key and value"
            )
            got = f"{list(query._shape)}, {list(key._shape)} and {list(value._shape)}"
            raise ShapeError(message(op, wanted, got))
        groups = query._shape[-3] // key._shape[-3]
    if scale is None:
        scale = 1.0 / math.sqrt(query._shape[-1]) if query._shape[-1] else 1.0
    if entered:
        query, key, value = lowered(query, key, value)
    if not dropout_p and _fusible(query, key, value):
        return _fused(op, query, key, value, attn_mask, is_causal, scale, groups)
    return _attend(op, query, key, value, attn_mask, dropout_p, is_causal, scale, groups)[0]


# ---- multi-head attention ----


def _projected(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The input projections: one weight [3 E, E], or three of their own widths."""
    width = query._shape[-1]
    if separate is None and query is key and key is value:
        q, k, v = linear(query, weight, bias).chunk(3, -1)  # type: ignore[arg-type]
        return q, k, v
    biases = (None, None, None) if bias is None else bias.chunk(3)
    if separate is None:
        weights = weight.split(width)  # type: ignore[union-attr]
    else:
        weights = separate
    q, k, v = (
        linear(x, w, b)  # type: ignore[arg-type]
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    return q, k, v


def _merged_masks(
    op: str, attn_mask: Tensor | None, padding: Tensor | None, heads: int, dtype: Any
) -> Tensor | None:
    """attn_mask [L, S] or [N * H, L, S] and padding [N, S] (True: to be left out) as one bias."""
    masks = []
    for mask in (attn_mask, padding):
        if mask is not None and mask.dtype.name == "bool":
            mask = where(mask, -_INFINITE, 0.0).to(dtype)
        masks.append(mask)
    attn, pads = masks
    if attn is not None and attn.ndim == 3:
        attn = attn.reshape((-1, heads, *attn._shape[1:]))
    if pads is None:
        return attn
    pads = pads.reshape((pads._shape[0], 1, 1, pads._shape[1]))
    return pads if attn is None else attn + pads


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads, with projections in front and behind; sequence first.

    Args:
      query [L, N, E], key [S, N, Ek], value [S, N, Ev], or all without N.
      in_proj_weight [3 E, E], in_proj_bias [3 E]: or, with use_separate_proj_weight,
        q_proj_weight [E, E], k_proj_weight [E, Ek], v_proj_weight [E, Ev].
      bias_k, bias_v [1, 1, E]: appended to the projected keys and values.
      add_zero_attn: append a key and a value of zeros.
      dropout_p: drops weights while training.
      out_proj_weight [E, E], out_proj_bias [E].
      key_padding_mask [N, S] or [S]: keys to be left out (True), or added to the scores.
      attn_mask [L, S] or [N * heads, L, S]: True where a query may NOT attend, or added.
      static_k, static_v [N * heads, S, E / heads]: used instead of the projected ones.
      average_attn_weights: the mean of the weights over heads.
      is_causal: a hint that attn_mask is the causal one, which must be given.
    Returns:
      the result [L, N, E] and the weights [N, L, S] ([N, heads, L, S] if not averaged; None unless
      need_weights).
    Raises:
      ShapeError: sizes do not fit. ValueError: is_causal without attn_mask.
    Reference: Vaswani et al. 2017.
    """
    op = "multi_head_attention_forward"
    if is_causal and attn_mask is None:
        raise ValueError(message(op, "attn_mask with is_causal", "none"))
    batched = query.ndim == 3
    if not batched:
        one = query.unsqueeze(1)
        same = (key is query, value is query, value is key)
        key_ = one if same[0] else key.unsqueeze(1)
        value = one if same[1] else key_ if same[2] else value.unsqueeze(1)
        query, key = one, key_
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    rows, batch, width = query._shape
    if width != embed_dim_to_check or width % num_heads:
        wanted = f"query [L, N, {embed_dim_to_check}], a multiple of {num_heads} heads"
        raise ShapeError(message(op, wanted, list(query._shape)))
    if key._shape[:2] != value._shape[:2] or key._shape[1] != batch:
        wanted = f"key [S, {batch}, Ek] and value [S, {batch}, Ev]"
        raise ShapeError(message(op, wanted, f"{list(key._shape)} and {list(value._shape)}"))
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, separate)
    masks = [attn_mask, key_padding_mask]
    if bias_k is not None and bias_v is not None:
        k = cat([k, bias_k.expand((1, batch, width))])
        v = cat([v, bias_v.expand((1, batch, width))])
        masks = [None if m is None else pad(m, (0, 1)) for m in masks]

    def heads(x: Tensor) -> Tensor:
        return x.reshape((x._shape[0], batch, num_heads, -1)).permute((1, 2, 0, 3))

    q = heads(q)
    k = heads(k) if static_k is None else static_k.unflatten(0, (batch, num_heads))
    v = heads(v) if static_v is None else static_v.unflatten(0, (batch, num_heads))
    if add_zero_attn:
        k, v = (
            cat([x, zeros((*x._shape[:2], 1, x._shape[3]), dtype=x.dtype, device=x.device)], 2)
            for x in (k, v)
        )
        masks = [None if m is None else pad(m, (0, 1)) for m in masks]
    merged = _merged_masks(op, masks[0], masks[1], num_heads, q.dtype)
    scale = 1.0 / math.sqrt(width // num_heads)
    drop = dropout_p if training else 0.0
    weights = None
    if not need_weights and not drop and _fusible(q, k, v):
        out = _fused(op, q, k, v, merged, False, scale, 1)
    else:
        out, weights = _attend(op, q, k, v, merged, drop, False, scale, 1)
    out = out.permute((2, 0, 1, 3)).reshape((rows, batch, width))
    out = linear(out, out_proj_weight, out_proj_bias)
    if not batched:
        out = out.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    if not need_weights or weights is None:
        return out, None
    return out, weights.mean(-3) if average_attn_weights else weights


# ---- positions ----


def rope(
    x: Tensor,
    dims: int | None = None,
    *,
    base: float = 10000.0,
    scale: float = 1.0,
    offset: int | Tensor = 0,
    positions: Tensor | None = None,
    interleaved: bool = False,
    freqs: Tensor | None = None,
) -> Tensor:
    """x with pairs of features turned by angles that grow with the position in the sequence.

    Args:
      x [..., length, width] floating.
      dims: how many features to turn (even), the first ones; all by default.
      base: pair i turns by position * base ** (-2 i / dims), in radians.
      scale: a factor on positions.
      offset: the position of the first row; an int or a tensor.
      positions [..., length]: instead of offset, offset + 1, ...
      interleaved: pairs are features (2 i, 2 i + 1) instead of (i, i + dims / 2).
      freqs [dims / 2]: radians a position, instead of base.
    Raises:
      ShapeError: dims is odd or more than the width.
    Reference: Su et al. 2021 (RoFormer).
    Example:
      >>> rope(tensor([[1.0, 0.0], [1.0, 0.0]]))
      tensor([[1.0000, 0.0000],
              [0.5403, 0.8415]])
    """
    if not x.dtype.is_floating_point:
        raise DTypeError(message("rope", "a floating tensor", x.dtype, "Cast with .float()."))
    width = x._shape[-1] if x.ndim else 0
    dims = width if dims is None else dims
    if x.ndim < 2 or dims % 2 or not 0 <= dims <= width:
        wanted = f"input [..., length, width] and an even dims of at most {width}"
        raise ShapeError(message("rope", wanted, f"{list(x._shape)} and {dims}"))
    wide = "float64" if x.dtype.name == "float64" else "float32"
    if freqs is None:
        half = [base ** (-2.0 * i / dims) for i in range(dims // 2)]
        freqs = tensor(half, dtype=wide, device=x.device)
    if positions is None:
        positions = arange(x._shape[-2], device=x.device) + offset
    angles = (positions.to(wide) * scale).unsqueeze(-1) * freqs
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    turned, rest = (x, None) if dims == width else (x[..., :dims], x[..., dims:])
    if interleaved:
        pairs = turned.unflatten(-1, (dims // 2, 2))
        a, b = pairs[..., 0], pairs[..., 1]
        out = stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
    else:
        a, b = turned[..., : dims // 2], turned[..., dims // 2 :]
        out = cat([a * cos - b * sin, a * sin + b * cos], -1)
    return out if rest is None else cat([out, rest], -1)


def alibi_slopes(num_heads: int, dtype: Any = None, device: Any = None) -> Tensor:
    """The slopes [num_heads] of attention with linear biases: a geometric sequence.

    Reference: Press, Smith & Lewis 2022, with their rule for other numbers than powers of two.
    Example:
      >>> alibi_slopes(4)
      tensor([0.2500, 0.0625, 0.0156, 0.0039])
    """
    if num_heads < 1:
        raise ValueError(message("alibi_slopes", "at least 1 head", num_heads))
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / power) for i in range(num_heads - power)]
    return tensor(slopes, dtype=dtype, device=device)


def alibi_bias(num_heads: int, rows: int, columns: int, dtype: Any = None) -> Tensor:
    """What ALiBi adds to scores: minus slope times distance, [num_heads, rows, columns].

    The last row stands at the last column. Combine it with a causal mask.

    Example:
      >>> alibi_bias(1, 1, 3, "float64") * 256
      tensor([[[-2., -1., -0.]]], dtype=float64)
    """
    slopes = alibi_slopes(num_heads, dtype)
    places = arange(columns) - (arange(rows).unsqueeze(1) + (columns - rows))
    return -places.abs().to(slopes.dtype) * slopes.reshape((num_heads, 1, 1))
