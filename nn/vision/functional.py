"""Transforms of images [..., channels, height, width] as pure functions of image and parameters.

They work on one image and on batches, under vmap and (but for `to_tensor`) under grad. Floating
images have values in 0..1. Parameters that are drawn at random may be 0-d tensors, so that vmap can
draw one for each image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import DTypeError, ShapeError

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "affine", "center_crop", "crop", "hflip", "hsv_to_rgb", "normalize", "pad", "resize",
    "rgb_to_grayscale", "rgb_to_hsv", "rotate", "to_tensor", "vflip",
]  # fmt: skip

_Number = float | Tensor


def _image(op: str, x: Tensor, channels: Sequence[int] | None = None) -> Tensor:
    if x.ndim < 2 or (channels and (x.ndim < 3 or x.shape[-3] not in channels)):
        wanted = "[..., height, width]"
        if channels:
            wanted = f"[..., {' or '.join(map(str, channels))} channels, height, width]"
        raise ShapeError(f"{op}: expected {wanted}, got {list(x.shape)}.")
    return x


def _floating(op: str, x: Tensor, channels: Sequence[int] | None = None) -> Tensor:
    if not x.dtype.is_floating_point:
        raise DTypeError(f"{op}: expected a floating image, got {x.dtype}. Use to_tensor() first.")
    return _image(op, x, channels)


def to_tensor(image: Any) -> Tensor:
    """A floating image: uint8 0..255 become float32 0..1; other dtypes are kept.

    Args:
      image: a tensor [..., C, H, W]; a NumPy array [H, W] or [H, W, C]; or a Pillow image.
    Returns:
      [..., C, H, W].
    Example:
      >>> import functorch_like as ft
      >>> to_tensor(ft.tensor([[[0, 51, 255]]], dtype=ft.uint8))
      tensor([[[0.0000, 0.2000, 1.0000]]])
    """
    if not isinstance(image, Tensor):
        import numpy as np

        array = np.asarray(image)
        if array.ndim not in (2, 3):
            raise ShapeError(f"to_tensor: expected [H, W] or [H, W, C], got {list(array.shape)}.")
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        image = ft.tensor(np.ascontiguousarray(array))
    return image.to(ft.float32) / 255 if image.dtype is ft.uint8 else image


def normalize(x: Tensor, mean: Any, std: Any) -> Tensor:
    """(x - mean) / std, a mean and a std for each channel.

    Args:
      x [..., C, H, W] floating.
      mean, std: a number, or C of them.
    Raises:
      ShapeError: other numbers of channels. ValueError: a std of 0.
    Example:
      >>> import functorch_like as ft
      >>> normalize(ft.ones(1, 1, 2), 0.5, 0.25)
      tensor([[[2., 2.]]])
    """
    _floating("normalize", x)
    parts = []
    for name, value in (("mean", mean), ("std", std)):
        one = ft.as_tensor(value, dtype=x.dtype)
        if one.ndim == 1 and (x.ndim < 3 or len(one) not in (1, x.shape[-3])):
            raise ShapeError(
                f"normalize: expected a {name} for each channel of {list(x.shape)}, got {len(one)}."
            )
        if name == "std" and not isinstance(value, Tensor):
            values = [value] if isinstance(value, (int, float)) else list(value)
            if 0 in values:
                raise ValueError(f"normalize: expected a std other than 0, got {values}.")
        parts.append(one.reshape((-1, 1, 1)) if one.ndim else one)
    return (x - parts[0]) / parts[1]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))


def resize(
    x: Tensor, size: int | Sequence[int], mode: str = "bilinear", antialias: bool = True
) -> Tensor:
    """The image at another size.

    Args:
      x [..., C, H, W]; uint8 is computed in float32 and rounded.
      size: [height, width], or the length of the shorter side.
      mode: "nearest", "nearest-exact", "bilinear" or "bicubic".
      antialias: average over more pixels when shrinking (linear and cubic modes).
    Example:
      >>> import functorch_like as ft
      >>> resize(ft.zeros(3, 8, 16), 4).shape
      Size([3, 4, 8])
    """
    _image("resize", x)
    h, w = x.shape[-2:]
    if isinstance(size, int):
        short = min(h, w)
        size = (size * h // short, size * w // short)
    smooth = mode not in ("nearest", "nearest-exact")
    batch = x.reshape((-1, *((1,) if x.ndim == 2 else x.shape[-3:-2]), h, w))
    work = batch if batch.dtype.is_floating_point or not smooth else batch.to(ft.float32)
    out = ft.interpolate(work, size, mode=mode, antialias=antialias and smooth)
    if work is not batch:
        out = out.round().clamp(0, 255).to(x.dtype)
    return out.reshape((*x.shape[:-2], *out.shape[-2:]))


def pad(
    x: Tensor, padding: int | Sequence[int], value: float = 0, mode: str = "constant"
) -> Tensor:
    """Rows and columns added around the image.

    Args:
      padding: one number for all sides; two: left and right, top and bottom; four: left, top,
        right, bottom.
      value: of the new pixels in mode "constant".
      mode: "constant", "reflect", "replicate" ("edge") or "circular".
    Example:
      >>> import functorch_like as ft
      >>> pad(ft.ones(1, 1, 1), 1)[0]
      tensor([[0., 0., 0.],
              [0., 1., 0.],
              [0., 0., 0.]])
    """
    _image("pad", x)
    sides = [padding] if isinstance(padding, int) else list(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"pad: expected one, two or four numbers, got {sides}.")
    left, top, right, bottom = sides if len(sides) == 4 else (sides * 4)[:4]
    mode = "replicate" if mode == "edge" else mode
    around = (left, right, top, bottom)
    if mode == "constant":
        return ft.pad(x, around, value=value)
    lead = x.reshape((1, -1, *x.shape[-2:]))
    return ft.pad(lead, around, mode=mode).reshape(
        (*x.shape[:-2], x.shape[-2] + top + bottom, x.shape[-1] + left + right)
    )


def crop(x: Tensor, top: Any, left: Any, height: int, width: int) -> Tensor:
    """The part [top : top + height, left : left + width]; top and left may be 0-d tensors.

    Raises:
      ShapeError: the part is larger than the image.
    Example:
      >>> import functorch_like as ft
      >>> crop(ft.arange(9).reshape(1, 3, 3), 1, 0, 2, 2)[0]
      tensor([[3, 4],
              [6, 7]])
    """
    h, w = _image("crop", x).shape[-2:]
    if height > h or width > w:
        raise ShapeError(
            f"crop: expected an image of at least {height}x{width}, got {h}x{w}. Pad it first."
        )
    if isinstance(top, int) and isinstance(left, int):
        if not (0 <= top <= h - height and 0 <= left <= w - width):
            raise ValueError(
                f"crop: expected a part inside {h}x{w}, got {height}x{width} at {top}, {left}."
            )
        return x[..., top : top + height, left : left + width]
    rows = ft.arange(height, device=x.device) + top
    columns = ft.arange(width, device=x.device) + left
    return x.index_select(-2, rows).index_select(-1, columns)


def center_crop(x: Tensor, size: int | Sequence[int]) -> Tensor:
    """The middle part of the image, which is padded with 0 where it is smaller.

    Example:
      >>> import functorch_like as ft
      >>> center_crop(ft.arange(9).reshape(1, 3, 3), 1)
      tensor([[[4]]])
    """
    height, width = _pair(size)
    h, w = _image("center_crop", x).shape[-2:]
    more_h, more_w = max(height - h, 0), max(width - w, 0)
    if more_h or more_w:
        x = pad(x, (more_w // 2, more_h // 2, (more_w + 1) // 2, (more_h + 1) // 2))
        h, w = x.shape[-2:]
    return crop(x, round((h - height) / 2), round((w - width) / 2), height, width)


def hflip(x: Tensor) -> Tensor:
    """Left and right exchanged."""
    return _image("hflip", x).flip(-1)


def vflip(x: Tensor) -> Tensor:
    """Top and bottom exchanged."""
    return _image("vflip", x).flip(-2)


def affine(
    x: Tensor,
    angle: _Number = 0.0,
    translate: Sequence[_Number] = (0.0, 0.0),
    scale: _Number = 1.0,
    shear: Sequence[_Number] = (0.0, 0.0),
    mode: str = "nearest",
    fill: float = 0.0,
) -> Tensor:
    """The image rotated, sheared, scaled and moved about its centre.

    Args:
      x [..., C, H, W] floating.
      angle: degrees, clockwise. translate: pixels to the right and down. scale: a factor.
      shear: degrees along x and y.
      mode: "nearest" or "bilinear".
      fill: the value of pixels from outside.
    Example:
      >>> import functorch_like as ft
      >>> affine(ft.arange(9.0).reshape(1, 3, 3), translate=(1, 0))[0]
      tensor([[0., 0., 1.],
              [0., 3., 4.],
              [0., 6., 7.]])
    """
    _floating("affine", x)
    if x.ndim < 3:
        raise ShapeError(f"affine: expected [..., C, H, W], got {list(x.shape)}.")
    h, w = x.shape[-2:]
    turn, sx, sy, zoom, right, down = (
        ft.as_tensor(v, dtype=x.dtype) for v in (angle, *shear, scale, *translate)
    )
    turn, sx, sy = (v * (math.pi / 180) for v in (turn, sx, sy))
    # the map of the picture is rotation by angle after shear; grid_sample wants its inverse
    a = ft.cos(turn - sy) / ft.cos(sy)
    b = -ft.cos(turn - sy) * ft.tan(sx) / ft.cos(sy) - ft.sin(turn)
    d = ft.sin(turn - sy) / ft.cos(sy)
    e = -ft.sin(turn - sy) * ft.tan(sx) / ft.cos(sy) + ft.cos(turn)
    inverse = [[e / zoom, -b / zoom], [-d / zoom, a / zoom]]
    move = [-(p * right + q * down) for p, q in inverse]
    # from pixels about the centre to -1..1
    rows = [
        ft.stack([inverse[0][0], inverse[0][1] * (h / w), move[0] * (2 / w)]),
        ft.stack([inverse[1][0] * (w / h), inverse[1][1], move[1] * (2 / h)]),
    ]
    theta = ft.stack(rows).unsqueeze(0)
    lead = x.reshape((1, -1, h, w))
    grid = ft.affine_grid(theta, (1, 1, h, w))
    out = ft.grid_sample(lead if fill == 0 else lead - fill, grid, mode)
    out = out if fill == 0 else out + fill
    return out.reshape(x.shape)


def rotate(x: Tensor, angle: _Number, mode: str = "nearest", fill: float = 0.0) -> Tensor:
    """The image turned about its centre by `angle` degrees, counter-clockwise.

    Example:
      >>> import functorch_like as ft
      >>> rotate(ft.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 90).round()[0]
      tensor([[2., 4.],
              [1., 3.]])
    """
    return affine(x, -angle, mode=mode, fill=fill)


# ---- colours ----


def rgb_to_grayscale(x: Tensor, num_output_channels: int = 1) -> Tensor:
    """The luma 0.2989 R + 0.587 G + 0.114 B, in one or three channels.

    Reference: ITU-R BT.601.
    """
    r, g, b = _floating("rgb_to_grayscale", x, (3,)).unbind(-3)
    gray = (0.2989 * r + 0.587 * g + 0.114 * b).unsqueeze(-3)
    return gray if num_output_channels == 1 else gray.expand(x.shape)


def _blend(x: Tensor, other: Any, share: _Number) -> Tensor:
    return (x * share + other * (1 - share)).clamp(0, 1)


def adjust_brightness(x: Tensor, factor: _Number) -> Tensor:
    """The image `factor` times as bright: 0 is black, 1 the image itself.

    Example:
      >>> import functorch_like as ft
      >>> adjust_brightness(ft.full((1, 1, 1), 0.25), 2.0)
      tensor([[[0.5000]]])
    """
    return (_floating("adjust_brightness", x) * factor).clamp(0, 1)


def adjust_contrast(x: Tensor, factor: _Number) -> Tensor:
    """Distances from the mean grey times `factor`: 0 is grey, 1 the image itself."""
    _floating("adjust_contrast", x, (1, 3))
    gray = rgb_to_grayscale(x) if x.shape[-3] == 3 else x
    return _blend(x, gray.mean((-3, -2, -1), keepdim=True), factor)


def adjust_saturation(x: Tensor, factor: _Number) -> Tensor:
    """Distances from grey times `factor`: 0 is without colour, 1 the image itself."""
    _floating("adjust_saturation", x, (1, 3))
    return x if x.shape[-3] == 1 else _blend(x, rgb_to_grayscale(x), factor)


def adjust_gamma(x: Tensor, gamma: _Number, gain: float = 1.0) -> Tensor:
    """gain * x ** gamma, clamped to 0..1."""
    return (gain * _floating("adjust_gamma", x) ** gamma).clamp(0, 1)


def rgb_to_hsv(x: Tensor) -> Tensor:
    """Hue, saturation and value, each in 0..1.

    Reference: A. R. Smith 1978, "Color gamut transform pairs".
    Example:
      >>> import functorch_like as ft
      >>> rgb_to_hsv(ft.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1)).flatten()
      tensor([0.3333, 1.0000, 1.0000])
    """
    r, g, b = _floating("rgb_to_hsv", x, (3,)).unbind(-3)
    high, low = ft.maximum(ft.maximum(r, g), b), ft.minimum(ft.minimum(r, g), b)
    span = high - low
    gray = span == 0
    unit = ft.where(gray, 1.0, span)
    from_red = (g - b) / unit
    from_green = (b - r) / unit + 2
    from_blue = (r - g) / unit + 4
    hue = ft.where(high == r, from_red, ft.where(high == g, from_green, from_blue))
    saturation = span / ft.where(high == 0, 1.0, high)
    return ft.stack([(ft.where(gray, 0.0, hue) / 6) % 1.0, saturation, high], -3)


def hsv_to_rgb(x: Tensor) -> Tensor:
    """The inverse of rgb_to_hsv.

    Example:
      >>> import functorch_like as ft
      >>> hsv_to_rgb(ft.tensor([1 / 3, 1.0, 1.0]).reshape(3, 1, 1)).flatten()
      tensor([0., 1., 0.])
    """
    hue, saturation, value = _floating("hsv_to_rgb", x, (3,)).unbind(-3)
    channels = []
    for shift in (5.0, 3.0, 1.0):
        k = (shift + hue * 6) % 6.0
        fall = ft.minimum(k, 4 - k).clamp(0, 1)
        channels.append(value - value * saturation * fall)
    return ft.stack(channels, -3)


def adjust_hue(x: Tensor, factor: _Number) -> Tensor:
    """The colours moved around the circle by `factor` of a turn, in -0.5..0.5."""
    if _floating("adjust_hue", x, (1, 3)).shape[-3] == 1:
        return x
    hue, saturation, value = rgb_to_hsv(x).unbind(-3)
    return hsv_to_rgb(ft.stack([(hue + factor) % 1.0, saturation, value], -3))
