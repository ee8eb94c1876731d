"""Resizing and warping images: interpolate, grid_sample, affine_grid, pixel shuffles.

Resizing is one dimension after the other, each by a table of places and weights for every element
of the result; its transpose has such a table too. Coordinates are computed in float64, those of
nearest in float32, where torch's rounding decides which element is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cbackend import ffi, lib

from ..dtypes import float32, float64, int64
from ..errors import DTypeError, ShapeError, message
from ..op import Op, concretely
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import arange, linspace, ones, tensor, zeros
from .gather import take_along_dim
from .grid import grid_linear
from .join import pad, stack
from .matmul import matmul
from .sort import argsort
from .statistics import bincount
from .ternary import addcmul, where

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]

_MODES = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}


# ---- one dimension ----


def _step(n: int, m: int, factor: float | None, align_corners: bool) -> float:
    """Input elements an output element."""
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0
    return 1.0 / factor if factor else n / m


def _nearest_places(n: int, m: int, step: float, exact: bool) -> Tensor:
    at = arange(m, dtype=float32) + (0.5 if exact else 0.0)
    return (at * step).floor().to(int64).clamp(0, n - 1)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' kernel at distances of at least 0."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * (a * distance) - 4 * a
    return where(distance < 1, near, where(distance < 2, far, 0.0))


def _taps(n: int, m: int, step: float, align_corners: bool, kind: str) -> tuple[Tensor, Tensor]:
    """Places [m, taps] int64 and their weights [m, taps] float64."""
    if kind == "area":
        return _window_taps(n, m)
    if kind in ("nearest", "nearest-exact"):
        places = _nearest_places(n, m, step, kind == "nearest-exact").unsqueeze(1)
        return places, ones((m, 1), dtype=float64)
    if kind in ("smooth", "smooth cubic"):
        return _smooth_taps(n, m, step, kind == "smooth cubic")
    at = arange(m, dtype=float64)
    at = at * step if align_corners else (at + 0.5) * step - 0.5
    cubic = kind == "cubic"
    low = at.floor() if cubic else at.clamp(min=0.0).floor().clamp(max=n - 1)
    rest = ((at if cubic else at.clamp(min=0.0)) - low).unsqueeze(1)
    offsets = arange(-1, 3) if cubic else arange(2)
    weights = _cubic((rest - offsets).abs(), -0.75) if cubic else 1 - (rest - offsets).abs()
    return (low.to(int64).unsqueeze(1) + offsets).clamp(0, n - 1), weights


def _smooth_taps(n: int, m: int, step: float, cubic: bool) -> tuple[Tensor, Tensor]:
    """The kernel widened to the step: antialiasing."""
    radius = (2.0 if cubic else 1.0) * max(step, 1.0)
    centre = (step * (arange(m, dtype=float64) + 0.5)).unsqueeze(1)
    first = (centre - radius + 0.5).floor().clamp(min=0.0)
    last = (centre + radius + 0.5).floor().clamp(max=n)
    places = first + arange(math.ceil(2 * radius) + 1)
    distance = (places + 0.5 - centre).abs() / max(step, 1.0)
    weights = _cubic(distance, -0.5) if cubic else (1 - distance).clamp(min=0.0)
    weights = where(places < last, weights, 0.0)
    return places.to(int64).clamp(max=n - 1), weights / weights.sum(1, keepdim=True)


def _window_taps(n: int, m: int) -> tuple[Tensor, Tensor]:
    """Means of windows that divide n places into m parts."""
    at = (arange(m) * n).unsqueeze(1)
    first, last = at // m, (at + n + m - 1) // m
    places = first + arange(-(-n // m) + 1)
    weights = (places < last).to(float64) / (last - first)
    return places.clamp(max=n - 1), weights


def _turned(n: int, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The tables of the transpose: where an element went, and how much of it."""
    taps = places._shape[1]
    flat, shares = places.reshape((-1,)), weights.reshape((-1,))
    used = (shares != 0).nonzero().reshape((-1,))
    order = used[argsort(flat[used], stable=True)]
    target, counts = flat[order], bincount(flat[used], minlength=n)
    rank = arange(order.numel()) - (counts.cumsum(0) - counts)[target]
    shape = n, max(int(counts.max().item()), 1)
    back = zeros(shape, dtype=int64).index_put((target, rank), order // taps)
    # what pads the rows is a place of the same row, so that its weight of 0 spoils nothing
    back = where(arange(shape[1]) < counts.unsqueeze(1), back, back[:, :1])
    return back, zeros(shape, dtype=float64).index_put((target, rank), shares[order])


@lru_cache(maxsize=64)
def _tables(
    n: int, m: int, step: float, align_corners: bool, kind: str, transposed: bool, place: Any
) -> tuple[Tensor, Tensor]:
    """Places and weights on a device, in a dtype, of the m x n matrix or of its transpose."""
    places, weights = _taps(n, m, step, align_corners, kind)
    if transposed:
        places, weights = _turned(n, places, weights)
    dtype, device = place
    return places.to(device), weights.to(dtype).to(device)


def _resample_impl(
    x: Tensor,
    *,
    dim: int,
    n: int,
    m: int,
    step: float,
    align_corners: bool,
    kind: str,
    transposed: bool,
) -> Any:
    if not x._v:
        return ffi.NULL
    with concretely() as staged:
        place = (
            float64 if x.dtype is float64 else float32,
            "cpu" if staged else str(x.device),
        )
        places, weights = _tables(n, m, step, align_corners, kind, transposed, place)
    return lib.cb_resample(x._v, dim, places._v, weights._v)


_resample = Op(
    "resample",
    _resample_impl,
    vjp=lambda ct, _out, _x, *, transposed, **p: (_resample(ct, transposed=not transposed, **p),),
    jvp=lambda tangents, _out, _x, **p: _resample(tangents[0], **p),
    batch=lambda _size, _batched, x, *, dim, **p: _resample(x, dim=dim + 1, **p),
    family="resample",
)


def _samples(make: Any) -> list[Any]:
    found = []
    for kind, shape, dim, n, m, step in (
        ("linear", (2, 3, 4), 2, 4, 7, 4 / 7),
        ("cubic", (2, 5, 3), 1, 5, 3, 5 / 3),
        ("smooth", (7, 2), 0, 7, 3, 7 / 3),
        ("smooth cubic", (2, 4), 1, 4, 6, 4 / 6),
        ("area", (2, 5), 1, 5, 3, 0.0),
        ("nearest", (5, 3, 2), 1, 3, 7, 3 / 7),
        ("nearest-exact", (2, 5), 1, 5, 2, 2.5),
        ("linear", (40, 300), 1, 300, 270, 300 / 270),
        ("linear", (150,), 0, 150, 130, 150 / 130),
    ):
        params = {"dim": dim, "n": n, "m": m, "step": step, "align_corners": False, "kind": kind}
        found.append(call(make(*shape), transposed=False, **params))
        out = (*shape[:dim], m, *shape[dim + 1 :])
        found.append(call(make(*out), transposed=True, **params))
    return found


sampled(_resample, _samples)


def _dense_oracle(np: Any, x: Any, *, dim: int, transposed: bool, n: int, m: int, **p: Any) -> Any:
    places, weights = (t.numpy() for t in _taps(n, m, p["step"], p["align_corners"], p["kind"]))
    matrix = np.zeros((m, n))
    np.add.at(matrix, (np.arange(m)[:, None], places), weights)
    out = np.moveaxis(x, dim, -1) @ (matrix if transposed else matrix.T).astype(x.dtype)
    return np.moveaxis(out, -1, dim)


_resample.oracle = _dense_oracle


def _resized(
    x: Tensor, dim: int, m: int, factor: float | None, align_corners: bool, kind: str
) -> Tensor:
    n = x._shape[dim]
    step = 0.0 if kind == "area" else _step(n, m, factor, align_corners)
    return _resample(
        x, dim=dim, n=n, m=m, step=step, align_corners=align_corners, kind=kind, transposed=False
    )


def window_means(x: Tensor, size: Sequence[int]) -> Tensor:
    """Means over windows that divide the last dimensions into `size` parts: adaptive pooling."""
    first = x.ndim - len(size)
    if all(m and x._shape[first + i] % m == 0 for i, m in enumerate(size)):
        shape = list(x._shape[:first])
        for i, m in enumerate(size):
            shape += [m, x._shape[first + i] // m]
        return x.reshape(shape).mean(tuple(range(first + 1, first + 2 * len(size), 2)))
    out = x.to(float32) if x.dtype.itemsize == 2 else x
    for i, m in enumerate(size):
        if out._shape[first + i] != m:
            out = _resized(out, first + i, m, None, False, "area")
    return out.to(x.dtype)


def _nearest(x: Tensor, size: Sequence[int], factors: Sequence[float | None], mode: str) -> Tensor:
    """For dtypes that are not floating."""
    nd = len(size)
    first = x.ndim - nd
    own = x._shape[first:]
    whole = all(
        n and m % n == 0 and (f is None or f == m / n)
        for n, m, f in zip(own, size, factors, strict=True)
    )
    if whole:  # each element repeated: one copy, and a sum back
        inner, outer = list(x._shape[:first]), list(x._shape[:first])
        for n, m in zip(own, size, strict=True):
            inner += [n, 1]
            outer += [n, m // n]
        return x.reshape(inner).expand(outer).reshape((*x._shape[:first], *size))
    for i in range(nd):
        if own[i] != size[i] or factors[i]:
            step = _step(own[i], size[i], factors[i], False)
            places = _nearest_places(own[i], size[i], step, mode == "nearest-exact").to(x.device)
            if i == nd - 1:  # several times faster than index_select here
                x = take_along_dim(x, places.reshape((1,) * (x.ndim - 1) + (-1,)), -1)
            else:
                x = x.index_select(first + i, places)
    return x


# ---- public ----


def _target(
    size: Any, scale_factor: Any, recompute: bool | None, shape: Sequence[int]
) -> tuple[list[int], list[float | None]]:
    """The output size, and the factors that coordinates are computed with (None: size ratios)."""
    nd = len(shape)

    def spread(name: str, value: Any) -> list[Any]:
        values = [value] * nd if isinstance(value, (int, float)) else list(value)
        if len(values) != nd:
            wanted = f"{name} as one number or one for each of {nd} spatial dimensions"
            raise ValueError(message("interpolate", wanted, values))
        return values

    if (size is None) == (scale_factor is None):
        got = "neither" if size is None else "both"
        raise ValueError(message("interpolate", "size or scale_factor", got))
    if size is not None:
        if recompute:
            wanted = "recompute_scale_factor with scale_factor only"
            raise ValueError(message("interpolate", wanted, "size"))
        return [int(n) for n in spread("size", size)], [None] * nd
    factors = [float(f) for f in spread("scale_factor", scale_factor)]
    sizes = [math.floor(n * f) for n, f in zip(shape, factors, strict=True)]
    return sizes, [None] * nd if recompute else list(factors)


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input resized along its one to three last dimensions.

    Args:
      input [N, C, *sizes]: floating; "nearest" takes every dtype.
      size: the sizes to reach, or scale_factor: what to multiply them by; one number or one each.
      mode: "nearest" (the element at floor(i * step)), "nearest-exact" (the nearest one), "linear"
        (3-d input), "bilinear", "bicubic" (4-d), "trilinear" (5-d), "area" (means of windows).
      align_corners: do the centres of the corner elements stay where they are (else the corners
        themselves)? For the linear and cubic modes.
      recompute_scale_factor: take the step from the sizes instead of scale_factor.
      antialias: widen the kernel when shrinking; for "bilinear" and "bicubic".
    Raises:
      ShapeError, ValueError: mode, sizes and options do not fit.
    Notes: elements with weight 0 take part in the linear and cubic modes, so an infinite or nan one
      spoils results about 64 places around it (torch: those that depend on it).
    Reference: cubic kernel of Keys 1981 with a = -0.75 (-0.5 with antialias).
    Example:
      >>> interpolate(tensor([[[0.0, 2.0]]]), 3, mode="linear", align_corners=True)
      tensor([[[0., 1., 2.]]])
    """
    nd = input.ndim - 2
    if mode not in _MODES:
        wanted = "mode " + ", ".join(f'"{m}"' for m in _MODES)
        raise ValueError(message("interpolate", wanted, repr(mode)))
    if nd not in _MODES[mode]:
        wanted = f"input with {' or '.join(str(d + 2) for d in _MODES[mode])} dimensions for {mode}"
        raise ShapeError(message("interpolate", wanted, list(input._shape)))
    smooth = mode in ("linear", "bilinear", "bicubic", "trilinear")
    if align_corners is not None and not smooth:
        wanted = "align_corners with linear and cubic modes only"
        raise ValueError(message("interpolate", wanted, f"mode {mode!r}"))
    if antialias and mode not in ("bilinear", "bicubic"):
        wanted = 'antialias with "bilinear" or "bicubic" only'
        raise ValueError(message("interpolate", wanted, f"mode {mode!r}"))
    own = input._shape[2:]
    sizes, factors = _target(size, scale_factor, recompute_scale_factor, own)
    if min(sizes) < 1 or min(own) < 1:
        wanted = "input and output sizes of at least 1"
        raise ShapeError(message("interpolate", wanted, f"{list(own)} to {sizes}"))
    nearest = mode in ("nearest", "nearest-exact")
    if nearest and not input.dtype.is_floating_point:
        return _nearest(input, sizes, factors, mode)
    if not input.dtype.is_floating_point:
        raise DTypeError(
            message("interpolate", f"floating input for mode {mode!r}", input.dtype, "Cast it.")
        )
    if mode == "area":
        return window_means(input, sizes)
    x = input.to(float32) if input.dtype.itemsize == 2 else input
    corners = bool(align_corners)
    kind = mode if nearest else "cubic" if mode == "bicubic" else "linear"
    if antialias:
        kind = "smooth cubic" if mode == "bicubic" else "smooth"
    # shrink first; the last dimension is the dearest, so with the fewest rows
    order = sorted(reversed(range(nd)), key=lambda i: sizes[i] / own[i])
    for i in order:
        if own[i] != sizes[i] or (factors[i] not in (None, 1.0) and not corners):
            x = _resized(x, 2 + i, sizes[i], factors[i], corners, kind)
    return x.to(input.dtype) if x is not input else input.clone()


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """interpolate() under its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """interpolate() with mode "nearest"."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """interpolate() with mode "bilinear" and align_corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)


# ---- warping ----


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
            weights.append([_cubic((rest - k).abs(), -0.75) for k in range(-1, 3)])
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
