"""Warping images and moving channels: affine_grid, grid_sample, pixel shuffles."""

from __future__ import annotations

from collections.abc import Sequence

from ..amp import wide
from ..dtypes import float32
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .creation import linspace, ones, zeros
from .grid import MODES, PADDINGS, sample
from .join import stack
from .matmul import matmul

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


@wide
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
    if mode not in MODES or (mode == "bicubic" and nd == 3):
        wanted = 'mode "bilinear", "nearest" or (4-d input) "bicubic"'
        raise ValueError(message(op, wanted, repr(mode)))
    if padding_mode not in PADDINGS:
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
    dtype = input.dtype
    if dtype is not grid.dtype or not dtype.is_floating_point:
        raise DTypeError(
            message(op, "input and grid of one floating dtype", f"{dtype} and {grid.dtype}")
        )
    if dtype.itemsize == 2:
        input, grid = input.to(float32), grid.to(float32)
    out = sample(
        input,
        grid,
        mode=MODES.index(mode),
        padding=PADDINGS.index(padding_mode),
        align=bool(align_corners),
    )
    return out.to(dtype) if dtype.itemsize == 2 else out


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
