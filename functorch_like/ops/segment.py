"""Reductions over segments: rows of one number go together; and embedding_bag, sums of rows picked.

The segment numbers need not be sorted; a negative one leaves its row out. The number of segments
fixes the shape of the result, so all of it works under vmap and other transforms when it is given.
"""

from __future__ import annotations

import math

from ..errors import DTypeError, ShapeError, TraceError, message
from ..tensor import Tensor, wrap_dim
from ..trace import untaped
from .creation import arange, full, ones, ones_like, zeros
from .gather import embedding, index_add
from .reduce import norm
from .scatter import _start, scatter_reduce
from .sort import searchsorted
from .ternary import where

__all__ = [
    "embedding_bag", "segment_max", "segment_mean", "segment_min", "segment_softmax", "segment_sum",
]  # fmt: skip


def _segments(
    op: str, data: Tensor, segment_ids: Tensor, num_segments: int | None, dim: int
) -> tuple[Tensor, int, int]:
    """The numbers with those to be left out pointing behind the last segment, count and dim."""
    d = wrap_dim(op, dim, data.ndim)
    if segment_ids.dtype.is_inexact or segment_ids.dtype.name == "bool":
        raise DTypeError(
            message(op, "integer segment_ids", segment_ids.dtype, "Cast with .long().")
        )
    if segment_ids.ndim != 1 or not data.ndim or segment_ids._shape[0] != data._shape[d]:
        wanted = f"one segment number for each of {data._shape[d] if data.ndim else 0} rows"
        raise ShapeError(message(op, wanted, f"segment_ids {list(segment_ids._shape)}"))
    if num_segments is None:
        if not segment_ids._shape[0]:
            return segment_ids, 0, d
        try:
            num_segments = int(segment_ids.amax()) + 1
        except TraceError as e:
            hint = "The shape of the result may not depend on values here: pass it."
            raise TraceError(message(op, "num_segments", "none", hint)) from e
    outside = (segment_ids < 0) | (segment_ids >= num_segments)
    return where(outside, num_segments, segment_ids).to("int64"), max(num_segments, 0), d


def _summed(data: Tensor, ids: Tensor, count: int, dim: int) -> Tensor:
    shape = list(data._shape)
    shape[dim] = count + 1  # the last one takes what is left out
    total = index_add(zeros(shape, dtype=data.dtype, device=data.device), dim, ids, data)
    return total.narrow(dim, 0, count)


def _counts(data: Tensor, ids: Tensor, count: int, dim: int) -> Tensor:
    """The number of rows of each segment, shaped to broadcast along dim."""
    rows = ones(ids._shape, dtype=data.dtype, device=data.device)
    total = _summed(rows, ids, count, 0)
    return total.reshape((count, *[1] * (data.ndim - 1 - dim)))


def segment_sum(
    data: Tensor, segment_ids: Tensor, num_segments: int | None = None, dim: int = 0
) -> Tensor:
    """The sums of the rows of each segment.

    Args:
      data [..., n, ...]: rows along dim.
      segment_ids [n] integer: the segment of each row; rows outside 0..num_segments - 1 are left
        out.
      num_segments: one more than the largest number by default; needed under vmap.
    Returns:
      [..., num_segments, ...]; 0 for an empty segment.
    Raises:
      ShapeError: segment_ids does not fit data. TraceError: num_segments is needed.
    Example:
      >>> segment_sum(tensor([1, 2, 3]), tensor([0, 2, 0]))
      tensor([4, 0, 2])
    """
    ids, count, d = _segments("segment_sum", data, segment_ids, num_segments, dim)
    return _summed(data, ids, count, d)


def segment_mean(
    data: Tensor, segment_ids: Tensor, num_segments: int | None = None, dim: int = 0
) -> Tensor:
    """The means of the rows of each segment, 0 for an empty one. Arguments as segment_sum.

    Example:
      >>> segment_mean(tensor([1.0, 2.0, 3.0]), tensor([0, 2, 0]))
      tensor([2., 0., 2.])
    """
    ids, count, d = _segments("segment_mean", data, segment_ids, num_segments, dim)
    if not data.dtype.is_inexact:
        raise DTypeError(
            message("segment_mean", "floating data", data.dtype, "Cast with .float().")
        )
    rows = _counts(data.detach().real if data.dtype.is_complex else data, ids, count, d)
    return _summed(data, ids, count, d) / rows.clamp(min=1)


def _extreme(
    op: str, reduce: str, data: Tensor, segment_ids: Tensor, num_segments: int | None, dim: int
) -> Tensor:
    ids, count, d = _segments(op, data, segment_ids, num_segments, dim)
    if data.dtype.is_complex:
        raise DTypeError(message(op, "real data", data.dtype))
    shape = list(data._shape)
    shape[d] = count + 1
    empty = full(shape, _start(reduce, data.dtype), dtype=data.dtype, device=data.device)
    index = ids.reshape((-1, *[1] * (data.ndim - 1 - d))).expand(data._shape)
    return scatter_reduce(empty, d, index, data, reduce).narrow(d, 0, count)


def segment_max(
    data: Tensor, segment_ids: Tensor, num_segments: int | None = None, dim: int = 0
) -> Tensor:
    """The largest elements of each segment; -inf, or the least integer, for an empty one.

    Arguments as segment_sum. Equal maxima share the gradient evenly.

    Example:
      >>> segment_max(tensor([1, 2, 3]), tensor([0, 1, 0]))
      tensor([3, 2])
    """
    return _extreme("segment_max", "amax", data, segment_ids, num_segments, dim)


def segment_min(
    data: Tensor, segment_ids: Tensor, num_segments: int | None = None, dim: int = 0
) -> Tensor:
    """The smallest elements of each segment; inf, or the largest integer, for an empty one.

    Arguments as segment_sum. Equal minima share the gradient evenly.

    Example:
      >>> segment_min(tensor([1, 2, 3]), tensor([0, 1, 0]))
      tensor([1, 2])
    """
    return _extreme("segment_min", "amin", data, segment_ids, num_segments, dim)


def segment_softmax(
    data: Tensor, segment_ids: Tensor, num_segments: int | None = None, dim: int = 0
) -> Tensor:
    """The softmax within each segment: as attention over the edges of a graph needs it.

    Arguments as segment_sum.

    Returns:
      [same as data]; sums to 1 over each segment, 0 for rows that are left out.
    Example:
      >>> segment_softmax(tensor([0.0, 5.0, 0.0]), tensor([0, 1, 0]))
      tensor([0.5000, 1.0000, 0.5000])
    """
    op = "segment_softmax"
    ids, count, d = _segments(op, data, segment_ids, num_segments, dim)
    if not data.dtype.is_floating_point:
        raise DTypeError(message(op, "floating data", data.dtype, "Cast with .float()."))
    if not count:
        return data * 0.0
    kept = (ids < count).reshape((-1, *[1] * (data.ndim - 1 - d)))
    places = ids.clamp(max=count - 1)
    peak = _extreme(op, "amax", data.detach(), ids, count, d)
    power = where(kept, data - peak.index_select(d, places), -math.inf).exp()
    total = _summed(power, ids, count, d)
    total = where(total == 0, 1.0, total).index_select(d, places)
    return (power / total).to(data.dtype)


# ---- bags of rows of a table ----


def _renormed(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales rows of the table that are used and longer than max_norm, in place."""
    with untaped():
        size = norm(weight, norm_type, 1, True)
        used = zeros(weight._shape[0], dtype="bool", device=weight.device)
        flat = input.reshape((-1,))
        used = used.scatter(0, flat, ones(flat._shape, dtype="bool", device=weight.device))
        scale = where(used.unsqueeze(1) & (size > max_norm), max_norm / (size + 1e-7), 1.0)
        weight.copy_(weight * scale)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of a table.

    Args:
      input [B, N] integer: N row numbers in each of B bags; or [total] with offsets.
      weight [rows, width] floating.
      offsets [B] integer: where each bag starts, with input [total]; rising from 0.
      max_norm, norm_type: rows picked that are longer are shortened, in place.
      scale_grad_by_freq: divide gradients by how often a row is picked.
      mode: "sum", "mean" or "max"; equal maxima share the gradient evenly.
      sparse: accepted; gradients are dense.
      per_sample_weights [same as input]: factors, with mode "sum".
      include_last_offset: is offsets' last number the end of the last bag?
      padding_idx: a row that does not count.
    Returns:
      [B, width]; 0 for an empty bag.
    Raises:
      DimError: a row number out of range. ShapeError: shapes do not fit.
    Example:
      >>> embedding_bag(tensor([0, 1, 1]), eye(2), tensor([0, 2]), mode="sum")
      tensor([[1., 1.],
              [0., 1.]])
    """
    op = "embedding_bag"
    if mode not in ("sum", "mean", "max"):
        raise ValueError(message(op, 'mode "sum", "mean" or "max"', repr(mode)))
    if input.ndim not in (1, 2) or weight.ndim != 2:
        wanted = "input [B, N] or [total], and weight [rows, width]"
        raise ShapeError(message(op, wanted, f"{list(input._shape)} and {list(weight._shape)}"))
    if (input.ndim == 1) != (offsets is not None):
        got = f"input {list(input._shape)} {'without' if offsets is None else 'with'} offsets"
        raise ValueError(message(op, "offsets with a 1-d input, and only then", got))
    if per_sample_weights is not None and mode != "sum":
        raise ValueError(message(op, 'per_sample_weights with mode "sum" only', repr(mode)))
    if per_sample_weights is not None and per_sample_weights._shape != input._shape:
        wanted = f"per_sample_weights of shape {list(input._shape)}"
        raise ShapeError(message(op, wanted, list(per_sample_weights._shape)))
    if max_norm is not None:
        _renormed(weight, input, max_norm, norm_type)
    rows = weight._shape[0]
    kept = None if padding_idx is None else input != padding_idx % rows
    if scale_grad_by_freq:
        flat = input.reshape((-1,))
        times = index_add(
            zeros(rows, dtype=weight.dtype, device=weight.device),
            0,
            flat,
            ones_like(flat).to(weight.dtype),
        )
        slow = weight / times.clamp(min=1).unsqueeze(1)
        weight = slow + (weight - slow).detach()
    picked = embedding(input, weight)
    if per_sample_weights is not None:
        picked = picked * per_sample_weights.unsqueeze(-1)
    if offsets is None:
        return _bags_of_rows(picked, kept, mode)
    return _bags_by_offset(op, picked, kept, offsets, include_last_offset, mode)


def _bags_of_rows(picked: Tensor, kept: Tensor | None, mode: str) -> Tensor:
    """Bags of one size: picked [B, N, width]."""
    if not picked._shape[1]:
        return picked.sum(1)
    if kept is None:
        return (
            picked.amax(1) if mode == "max" else picked.sum(1) if mode == "sum" else picked.mean(1)
        )
    there = kept.unsqueeze(-1)
    if mode == "max":
        best = where(there, picked, -math.inf).amax(1)
        return where(kept.any(1, keepdim=True), best, 0.0).to(picked.dtype)
    total = where(there, picked, 0.0).sum(1)
    if mode == "sum":
        return total
    return total / kept.sum(1, keepdim=True).clamp(min=1).to(picked.dtype)


def _bags_by_offset(
    op: str, picked: Tensor, kept: Tensor | None, offsets: Tensor, include_last: bool, mode: str
) -> Tensor:
    if offsets.ndim != 1 or (include_last and not offsets._shape[0]):
        raise ShapeError(message(op, "offsets [B]", list(offsets._shape)))
    count = offsets._shape[0] - include_last
    at = arange(picked._shape[0], dtype=offsets.dtype, device=picked.device)
    bag = searchsorted(offsets[:count].contiguous(), at, right=True) - 1
    if include_last:
        bag = where(at < offsets[count], bag, -1)
    if kept is not None:
        bag = where(kept, bag, -1)
    if mode == "sum":
        return segment_sum(picked, bag, count)
    if mode == "mean":
        return segment_mean(picked, bag, count)
    ids, _, _ = _segments(op, picked, bag, count, 0)
    filled = _counts(picked.detach(), ids, count, 0) > 0
    return where(filled, segment_max(picked, bag, count), 0.0).to(picked.dtype)
