"""Warping images and moving channels: affine_grid, grid_sample, pixel shuffles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..dtypes import int64
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .creation import arange, linspace, ones, tensor, zeros
from .grid import grid_linear
from .join import pad, stack
from .matmul import matmul
from .resample import cubic_kernel
from .ternary import addcmul, where

__all__ = ["affine_grid", "channel_shuffle", "grid_sample", "pixel_shuffle", "pixel_unshuffle"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Where each place of an image of `size` comes from under affine maps; for grid_sample.

    Args:
      theta [N, 2, 3] or [N, 3, 4] floating: a matrix of the map for each image.
      size: N, C, H, W or N, C, D, H, W.
      align_corners: do -1 and 1 stand for the centres of the corner elements?
    Returns:
      [N, H, W, 2] or [N, D, H, W, 3]: coordinates x, y (, z) in -1..1.
    Raises:
      ShapeError: theta does not fit size.
    Example:
      >>> affine_grid(tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2))
      tensor([[[[-0.5000,  0.0000],
                [ 0.5000,  0.0000]]]])
    """
    size = tuple(size)
    nd = len(size) - 2
    if not theta.dtype.is_floating_point:
        raise DTypeError(message("affine_grid", "a floating theta", theta.dtype, "Cast it."))
    if nd not in (2, 3) or theta._shape != (size[0], nd, nd + 1) or min(size) < 1:
        wanted = "theta [N, 2, 3] and size N, C, H, W, or theta [N, 3, 4] and N, C, D, H, W"
        raise ShapeError(message("affine_grid", wanted, f"{list(theta._shape)} and {list(size)}"))
    spatial = size[2:]
    options = {"dtype": theta.dtype, "device": theta.device}
    columns = []
    for i in range(nd - 1, -1, -1):  # x belongs to the last dimension
        n = spatial[i]
        at = linspace(-1, 1, n, **options) if n > 1 else zeros((1,), **options)
        if not align_corners and n > 1:
            at = at * ((n - 1) / n)
        shape = [1] * nd
        shape[i] = n
        columns.append(at.reshape(shape).expand(spatial))
    columns.append(ones(spatial, **options))
    base = stack(columns, -1).reshape((-1, nd + 1))
    return matmul(base, theta.mT).reshape((size[0], *spatial, nd))


def _to_places(grid: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Coordinates in -1..1, the last dimension's first, as places in 0..n-1 of each dimension."""
    grid = where(grid.isnan(), -1.0, grid).flip(-1) + 1
    halves = [(n - 1) / 2 if align_corners else n / 2 for n in size]
    at = grid * tensor(halves, dtype=grid.dtype, device=grid.device)
    return at if align_corners else at - 0.5


def _clipped(at: Tensor, n: int) -> Tensor:
    """Limited to 0..n-1, with gradient 0 at the limits."""
    return where(at > 0, where(at < n - 1, at, float(n - 1)), 0.0)


def _reflected(at: Tensor, low: float, span: float) -> Tensor:
    """Reflected at low and low + span until inside."""
    if span == 0:
        return at * 0.0
    distance = (at - low).abs()
    turns = (distance / span).floor()
    extra = distance - turns * span
    odd = turns - 2 * (turns / 2).floor()
    return where(odd == 0, extra + low, span - extra + low)


def _padded(at: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "border":
        return _clipped(at, n)
    if padding_mode == "reflection":
        low, span = (0.0, float(n - 1)) if align_corners else (-0.5, float(n))
        return _clipped(_reflected(at, low, span), n)
    return at


_FEW_CHANNELS = 8  # up to here elements are picked channel by channel, above as whole rows


class _Image:
    """Elements of an image, all channels of a place at once, with zeros for places outside."""

    def __init__(self, x: Tensor, zeros_outside: bool):
        self.batch, self.channels = x._shape[:2]
        self.size = x._shape[2:]
        self.outside = self.batch * math.prod(self.size)  # the number of the place of zeros
        self.zeros_outside = zeros_outside
        self.in_rows = self.channels > _FEW_CHANNELS
        order = (0, *range(2, x.ndim), 1) if self.in_rows else (1, 0, *range(2, x.ndim))
        shape = (self.outside, self.channels) if self.in_rows else (self.channels, self.outside)
        self.table = x.permute(order).reshape(shape)
        if zeros_outside:
            self.table = pad(self.table, (0, 0, 0, 1) if self.in_rows else (0, 1))
        self.strides = [math.prod(self.size[i + 1 :]) for i in range(len(self.size))]
        self.lane = arange(self.batch, device=x.device).unsqueeze(1) * math.prod(self.size)

    def numbers(self, at: Tensor, dim: int) -> Tensor:
        """What integral floating places [N, P] along a dim add to the number of a place."""
        n = self.size[dim]
        number = at.detach().clamp(0, n - 1).to(int64) * self.strides[dim]
        if not self.zeros_outside:
            return number
        return where((at >= 0) & (at <= n - 1), number, self.outside)

    def pick(self, number: Tensor) -> Tensor:
        """Rows [N * P, C], or [C, N * P] where channels are few."""
        flat = number.reshape((-1,))
        if self.zeros_outside:
            flat = flat.clamp(max=self.outside)
        return self.table.index_select(0 if self.in_rows else 1, flat)

    def weighted(self, total: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
        """total + x times a weight [N, P] for each place."""
        weight = weight.reshape((-1, 1) if self.in_rows else (-1,))
        return x * weight if total is None else addcmul(total, x, weight)

    def sample(self, at: Sequence[Tensor], weights: Sequence[Sequence[Tensor]]) -> Tensor:
        """The sum over all combinations of taps: at [taps, N, P] and weights, for each dim."""
        numbers = [self.numbers(a, i) for i, a in enumerate(at)]
        return self._sum(numbers, weights, self.lane)

    def _sum(self, numbers: Sequence[Tensor], weights: Sequence[Any], start: Tensor) -> Tensor:
        total = None
        for tap, weight in enumerate(weights[0]):
            number = start + numbers[0].select(0, tap)
            if len(numbers) == 1:
                total = self.weighted(total, self.pick(number), weight)
            else:
                part = self._sum(numbers[1:], weights[1:], number)
                total = self.weighted(total, part, weight)
        return total  # type: ignore[return-value]


def _grid_taps(
    image: _Image, at: Sequence[Tensor], mode: str, padding_mode: str, corners: bool
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """For each dim the integral places [taps, N, P] and their weights; "bicubic" is padded here."""
    places, weights = [], []
    for a, n in zip(at, image.size, strict=True):
        low = a.floor()
        rest = a - low
        if mode == "bicubic":
            taps = [_padded(low + k, n, padding_mode, corners) for k in range(-1, 3)]
            weights.append([cubic_kernel((rest - k).abs(), -0.75) for k in range(-1, 3)])
        else:
            taps = [low, low + 1]
            weights.append([1 - rest, rest])
        places.append(stack(taps))
    return places, weights


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """input sampled at the places in grid.

    Args:
      input [N, C, H, W] or [N, C, D, H, W] floating.
      grid [N, Ho, Wo, 2] or [N, Do, Ho, Wo, 3]: coordinates x, y (, z), -1..1 across the image;
        nan counts as -1.
      mode: "bilinear" (trilinear for 5-d input), "nearest" or "bicubic" (4-d input).
      padding_mode: what is outside: "zeros", "border" (the nearest edge) or "reflection".
      align_corners: do -1 and 1 stand for the centres of the corner elements (else their edges)?
    Returns:
      [N, C, Ho, Wo] or [N, C, Do, Ho, Wo]
    Raises:
      ShapeError: shapes do not fit. ValueError: an unknown mode.
    Reference: Jaderberg et al. 2015.
    Example:
      >>> grid_sample(tensor([[[[1.0, 3.0]]]]), tensor([[[[0.0, 0.0]]]]))
      tensor([[[[2.]]]])
    """
    op, nd = "grid_sample", input.ndim - 2
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and nd == 3):
        wanted = 'mode "bilinear", "nearest" or (4-d input) "bicubic"'
        raise ValueError(message(op, wanted, repr(mode)))
    if padding_mode not in ("zeros", "border", "reflection"):
        wanted = 'padding_mode "zeros", "border" or "reflection"'
        raise ValueError(message(op, wanted, repr(padding_mode)))
    if (
        nd not in (2, 3)
        or grid.ndim != input.ndim
        or grid._shape[0] != input._shape[0]
        or grid._shape[-1] != nd
        or min(input._shape[2:]) < 1
    ):
        wanted = "input [N, C, H, W] and grid [N, Ho, Wo, 2], or input [N, C, D, H, W] and grid "
        wanted += "[N, Do, Ho, Wo, 3]"
        raise ShapeError(message(op, wanted, f"{list(input._shape)} and {list(grid._shape)}"))
    if input.dtype is not grid.dtype or not input.dtype.is_floating_point:
        raise DTypeError(
            message(op, "input and grid of one floating dtype", f"{input.dtype} and {grid.dtype}")
        )
    corners = bool(align_corners)
    size = input._shape[2:]
    places = _to_places(grid.reshape((grid._shape[0], -1, nd)), size, corners)
    n, c = input._shape[:2]
    sizes = grid._shape[1:-1]
    direct = mode != "bicubic" and input.dtype.itemsize >= 4
    if padding_mode != "zeros" or not direct:
        at = list(places.unbind(-1))
        if mode != "bicubic":
            at = [_padded(a, m, padding_mode, corners) for a, m in zip(at, size, strict=True)]
        places = stack(at, -1) if direct else places
    if direct:
        nearest = mode == "nearest"
        places = places.round() if nearest else places
        return grid_linear(input, places, nearest=nearest).reshape((n, c, *sizes))
    image = _Image(input, padding_mode == "zeros")
    if mode == "nearest":
        out = image.pick(sum((image.numbers(a.round(), i) for i, a in enumerate(at)), image.lane))
    else:
        out = image.sample(*_grid_taps(image, at, mode, padding_mode, corners))
    if image.in_rows:
        return out.reshape((n, -1, c)).transpose(1, 2).reshape((n, c, *sizes))
    return out.reshape((c, n, *sizes)).transpose(0, 1)


# ---- channels to pixels ----


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels moved into squares of r * r pixels: [..., C * r * r, H, W] to [..., C, H r, W r].

    Reference: Shi et al. 2016.
    Example:
      >>> pixel_shuffle(arange(4).reshape(4, 1, 1), 2)
      tensor([[[0, 1],
               [2, 3]]])
    """
    r, shape = upscale_factor, input._shape
    if r < 1 or len(shape) < 3 or shape[-3] % (r * r):
        wanted = f"input [..., C, H, W] with C a multiple of {r * r}"
        raise ShapeError(message("pixel_shuffle", wanted, list(shape)))
    lead, (c, h, w) = shape[:-3], shape[-3:]
    n = len(lead)
    x = input.reshape((*lead, c // (r * r), r, r, h, w))
    x = x.permute((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return x.reshape((*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Squares of r * r pixels moved into channels: the inverse of pixel_shuffle."""
    r, shape = downscale_factor, input._shape
    if r < 1 or len(shape) < 3 or shape[-1] % r or shape[-2] % r:
        wanted = f"input [..., C, H, W] with H and W multiples of {r}"
        raise ShapeError(message("pixel_unshuffle", wanted, list(shape)))
    lead, (c, h, w) = shape[:-3], shape[-3:]
    n = len(lead)
    x = input.reshape((*lead, c, h // r, r, w // r, r))
    x = x.permute((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return x.reshape((*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of [N, C, ...] dealt out in turn: channel i of group g goes to i * groups + g.

    Reference: Zhang et al. 2018 (ShuffleNet).
    """
    shape = input._shape
    if groups < 1 or len(shape) < 3 or shape[1] % groups:
        wanted = f"input [N, C, ...] with C a multiple of {groups}"
        raise ShapeError(message("channel_shuffle", wanted, list(shape)))
    x = input.reshape((shape[0], groups, shape[1] // groups, *shape[2:]))
    return x.transpose(1, 2).reshape(shape)
