"""Pooling over windows that adapt to the output, power means, random windows, and unpooling.

Maxima find the place of each window's largest element without recording, and pick it there: so the
gradient is one scatter, whatever the windows are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .conv import spread
from .creation import arange, zeros
from .extremes import max as maximum_of
from .join import cat
from .pool import _max_pool, _pool_gather, avg_pool1d, avg_pool2d, avg_pool3d
from .random import rand
from .resample import window_means
from .ternary import where

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _checked(op: str, nd: int, x: Tensor) -> None:
    if x.ndim not in (nd + 1, nd + 2):
        wanted = f"input [N, C, *{nd} sizes] (N may be missing)"
        raise ShapeError(message(op, wanted, list(x._shape)))
    if not x.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", x.dtype, "Cast with .float()."))


def _output_size(op: str, nd: int, x: Tensor, output_size: Any) -> tuple[int, ...]:
    """One size for each dimension; None keeps the input's."""
    _checked(op, nd, x)
    given = (output_size,) * nd if isinstance(output_size, (int, type(None))) else output_size
    given = tuple(given) * (nd if len(given) == 1 else 1)
    if len(given) != nd or any(n is not None and n < 0 for n in given):
        raise ValueError(message(op, f"an output size or {nd} of them", output_size))
    own = x._shape[x.ndim - nd :]
    if not all(own):
        raise ShapeError(message(op, "spatial sizes of at least 1", list(x._shape)))
    return tuple([n if wanted is None else wanted for n, wanted in zip(own, given, strict=True)])


# ---- means ----


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that divide the last dimension. Arguments as adaptive_avg_pool2d."""
    return window_means(input, _output_size("adaptive_avg_pool1d", 1, input, output_size))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that divide the last two dimensions into output_size parts.

    Args:
      input [N, C, H, W] or [C, H, W] floating.
      output_size: an int, or two; None keeps a size. Window i of m covers floor(i n / m) to
        ceil((i + 1) n / m).
    Example:
      >>> adaptive_avg_pool2d(arange(6.0).reshape(1, 2, 3), (1, 2))
      tensor([[[2., 3.]]])
    """
    return window_means(input, _output_size("adaptive_avg_pool2d", 2, input, output_size))


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows that divide the last three dimensions. As adaptive_avg_pool2d."""
    return window_means(input, _output_size("adaptive_avg_pool3d", 3, input, output_size))


# ---- maxima over windows of any kind ----


def _largest(x: Tensor, places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Maxima and their places in the plane.

    Args:
      places: for each of the last dimensions the window's places, int64 and broadcastable to
        [..., *windows, *kernel] with the leading dimensions of x; the first of equal maxima wins.
    """
    nd = len(places)
    own = x._shape[x.ndim - nd :]
    flat = places[0]
    for at, n in zip(places[1:], own[1:], strict=True):
        flat = flat * n + at
    lead = x._shape[: x.ndim - nd]
    windows, kernel = (
        flat._shape[flat.ndim - 2 * nd : flat.ndim - nd],
        flat._shape[flat.ndim - nd :],
    )
    flat = flat.expand((*lead, *windows, *kernel)).reshape((*lead, *windows, math.prod(kernel)))
    plane = x.detach().reshape((*lead, math.prod(own)))
    if not lead:
        picked = plane.index_select(0, flat.reshape((-1,)))
    else:
        picked = plane.gather(-1, flat.reshape((*lead, -1)))
    best = picked.reshape(flat._shape).argmax(-1, keepdim=True)
    indices = flat.gather(-1, best).squeeze(-1)
    return _pool_gather(x, indices, nd=nd), indices


def _adaptive_places(n: int, m: int, device: Any) -> Tensor:
    """[m, longest window] places; shorter windows repeat their last one."""
    longest = max(-(-(i + 1) * n // m) - i * n // m for i in range(m))
    at = arange(m, device=device) * n
    first, last = at // m, (at + n + m - 1) // m - 1
    places = first.unsqueeze(1) + arange(longest, device=device)
    return where(places < last.unsqueeze(1), places, last.unsqueeze(1))


def _along(i: int, nd: int, places: Tensor) -> Tensor:
    """Places [..., m, k] of dimension i as [..., *windows, *kernel]."""
    lead = places._shape[:-2]
    shape = [1] * (2 * nd)
    shape[i], shape[nd + i] = places._shape[-2:]
    return places.reshape((*lead, *shape))


_LONG = 32  # items of a window that are folded as a row


def _adaptive_max(op: str, nd: int, x: Tensor, output_size: Any, return_indices: bool) -> Any:
    size = _output_size(op, nd, x, output_size)
    own = x._shape[x.ndim - nd :]
    if all(n and m == 1 for n, m in zip(own, size, strict=True)):
        lead = x._shape[: x.ndim - nd]
        found = maximum_of(x.reshape((*lead, math.prod(own))), dim=-1)
        values, indices = (y.reshape((*lead, *size)) for y in found)
    elif nd == 1 and size[0] and own[0] % size[0] == 0 and own[0] // size[0] >= _LONG:
        width = own[0] // size[0]
        values, indices = maximum_of(x.reshape((*x._shape[:-1], size[0], width)), dim=-1)
        indices = indices + arange(0, own[0], width, device=x.device)
    elif all(m and n % m == 0 for n, m in zip(own, size, strict=True)):
        kernel = tuple([n // m for n, m in zip(own, size, strict=True)])
        values, indices = _max_pool(
            x,
            kernel=kernel,
            stride=kernel,
            padding=(0,) * nd,
            dilation=(1,) * nd,
            ceil_mode=False,
        )
    elif not all(size):
        shape = (*x._shape[: x.ndim - nd], *size)
        values = zeros(shape, dtype=x.dtype, device=x.device)
        indices = zeros(shape, dtype="int64", device=x.device)
    else:
        values, indices = _largest(
            x,
            [
                _along(i, nd, _adaptive_places(n, m, x.device))
                for i, (n, m) in enumerate(zip(own, size, strict=True))
            ],
        )
    return (values, indices) if return_indices else values


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows that divide the last dimension. Arguments as adaptive_max_pool2d."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows that divide the last two dimensions into output_size parts.

    Args:
      input [N, C, H, W] or [C, H, W] floating.
      output_size: an int, or two; None keeps a size.
      return_indices: also the places of the maxima in the plane.
    Example:
      >>> adaptive_max_pool2d(arange(6.0).reshape(1, 2, 3), (1, 2))
      tensor([[[4., 5.]]])
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows that divide the last three dimensions. As adaptive_max_pool2d."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


# ---- random windows ----


def _random_starts(n: int, m: int, k: int, sample: Tensor) -> Tensor:
    """Starts [..., m] of m windows of k elements, by samples [...] in 0..1."""
    last = zeros((*sample._shape, 1), dtype="int64", device=sample.device) + (n - k)
    if m == 1:
        return last
    step = (n - k) / (m - 1)
    sample = sample.unsqueeze(-1)
    at = arange(m - 1, dtype=sample.dtype, device=sample.device)
    inner = ((at + sample) * step).floor() - (sample * step).floor()
    return cat([inner.to("int64"), last], -1)


def _fractional(
    op: str,
    nd: int,
    x: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    _checked(op, nd, x)
    own = x._shape[x.ndim - nd :]
    kernel = spread(op, kernel_size, nd)
    if (output_size is None) == (output_ratio is None):
        got = "neither" if output_size is None else "both"
        raise ValueError(message(op, "output_size or output_ratio", got))
    if output_size is None:
        ratios = (output_ratio,) * nd if isinstance(output_ratio, float) else tuple(output_ratio)
        if len(ratios) != nd or not all(0 < r < 1 for r in ratios):
            raise ValueError(message(op, f"one or {nd} ratios between 0 and 1", output_ratio))
        size = tuple([int(n * r) for n, r in zip(own, ratios, strict=True)])
    else:
        size = spread(op, output_size, nd)
    if any(m < 1 or m + k - 1 > n for n, m, k in zip(own, size, kernel, strict=True)):
        wanted = f"windows {list(kernel)} and output size {list(size)} that fit the input"
        raise ShapeError(message(op, wanted, list(x._shape)))
    batched = x if x.ndim == nd + 2 else x.unsqueeze(0)
    lead = batched._shape[:2]
    if samples is None:
        samples = rand((*lead, nd), dtype=x.dtype, device=x.device)
    if samples._shape != (*lead, nd):
        wanted = f"random samples of shape {[*lead, nd]}"
        raise ShapeError(message(op, wanted, list(samples._shape)))
    places = []
    for i, (n, m, k) in enumerate(zip(own, size, kernel, strict=True)):
        # torch's samples are in the order x, y (, z) in 2-d, and t, h, w in 3-d
        sample = samples.detach()[..., nd - 1 - i if nd == 2 else i]
        starts = _random_starts(n, m, k, sample)
        places.append(_along(i, nd, starts.unsqueeze(-1) + arange(k, device=x.device)))
    values, indices = _largest(batched, places)
    if batched is not x:
        values, indices = values.squeeze(0), indices.squeeze(0)
    return (values, indices) if return_indices else values


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima over windows at pseudo-random steps that give output_size of them.

    Args:
      input [N, C, H, W] or [C, H, W] floating. kernel_size: an int or two.
      output_size, or output_ratio: a number or two; a ratio is between 0 and 1.
      return_indices: also the places of the maxima in the plane.
      _random_samples [N, C, 2]: where the windows start, in 0..1; drawn by default.
    Reference: Graham 2014.
    """
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima over three-dimensional windows at pseudo-random steps. As fractional_max_pool2d."""
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


# ---- power means ----


def _power_mean(
    op: str, nd: int, x: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    pool = (avg_pool1d, avg_pool2d, avg_pool3d)[nd - 1]
    size = math.prod(spread(op, kernel_size, nd))
    total = pool(x**norm_type, kernel_size, stride, 0, ceil_mode) * size
    positive = total > 0  # an even root of what is 0 or less is 0, with gradient 0
    return where(positive, where(positive, total, 1.0) ** (1.0 / norm_type), 0.0).to(x.dtype)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window over the last dimension. Arguments as lp_pool2d."""
    return _power_mean("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x ** norm_type) ** (1 / norm_type) over each window of the last two dimensions.

    Args:
      input [N, C, H, W] or [C, H, W] floating. norm_type: the exponent.
      kernel_size, stride (default kernel_size): an int or two. ceil_mode: also windows that reach
        over the edge.
    Notes: 0, with gradient 0, where the sum is 0 or less (torch: minus the root, and nan).
    Example:
      >>> lp_pool2d(tensor([[[3.0, 4.0]]]), 2, (1, 2))
      tensor([[[5.]]])
    """
    return _power_mean("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window over the last three dimensions. Arguments as lp_pool2d."""
    return _power_mean("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


# ---- unpooling ----


def _unpool(
    op: str,
    nd: int,
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    _checked(op, nd, x)
    if indices._shape != x._shape:
        raise ShapeError(message(op, f"indices of shape {list(x._shape)}", list(indices._shape)))
    kernel = spread(op, kernel_size, nd)
    strides = spread(op, stride, nd) if stride not in (None, ()) else kernel
    pads = spread(op, padding, nd)
    lead, own = x._shape[: x.ndim - nd], x._shape[x.ndim - nd :]
    size = tuple(
        [(n - 1) * s + k - 2 * p for n, s, k, p in zip(own, strides, kernel, pads, strict=True)]
    )
    if output_size is not None:
        wanted = tuple(output_size)[-nd:]
        if len(wanted) != nd or any(
            not n - s < m < n + s for n, m, s in zip(size, wanted, strides, strict=True)
        ):
            rule = f"an output size less than a stride away from {list(size)}"
            raise ShapeError(message(op, rule, list(output_size)))
        size = wanted
    plane = zeros((*lead, math.prod(size)), dtype=x.dtype, device=x.device)
    flat = plane.scatter(-1, indices.reshape((*lead, -1)), x.reshape((*lead, -1)))
    return flat.reshape((*lead, *size))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back at their places, 0 elsewhere. Arguments as max_unpool2d."""
    op = "max_unpool1d"
    return _unpool(op, 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back at their places, 0 elsewhere: a partial inverse of max_pool2d.

    Args:
      input [N, C, H, W] or [C, H, W] floating. indices: as max_pool2d gives them.
      kernel_size, stride, padding: those of the pooling.
      output_size: the size of the pooled image, where several are possible.
    Raises:
      DimError: an index outside the plane. ShapeError: sizes do not fit.
    Example:
      >>> x = tensor([[[1.0, 5.0], [3.0, 2.0]]])
      >>> max_unpool2d(*max_pool2d(x, 2, return_indices=True), 2)
      tensor([[[0., 5.],
               [0., 0.]]])
    """
    op = "max_unpool2d"
    return _unpool(op, 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back at their places, 0 elsewhere. Arguments as max_unpool2d."""
    op = "max_unpool3d"
    return _unpool(op, 3, input, indices, kernel_size, stride, padding, output_size)
