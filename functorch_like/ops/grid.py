"""Linear sampling of images at given places, with its gradients: what grid_sample() is made of.

Places count elements, [N, P, nd] with one coordinate for each spatial dimension in order; outside
an image are zeros. Derivatives beyond the first go through `_gradients`, public functions that say
the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from cbackend import ffi, lib

from ..dtypes import int64
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import arange, zeros
from .family import fronted
from .ternary import where

__all__ = ["grid_linear"]

_FAMILY = "resample"


def _corners(x: Tensor, at: Tensor) -> tuple[list[tuple[int, ...]], list[Tensor], list[Tensor]]:
    """The corners as bits, and of each dimension two places and two weights, [N, P]."""
    nd = x.ndim - 2
    lows = [at[..., i].detach().floor() for i in range(nd)]
    rests = [at[..., i] - low for i, low in enumerate(lows)]
    return list(product((0, 1), repeat=nd)), lows, rests


def _numbers(x: Tensor, lows: Sequence[Tensor], corner: Sequence[int]) -> Tensor:
    """Numbers of the corner's places in a table of all images' places; behind it is outside."""
    size = x._shape[2:]
    number = arange(x._shape[0], device=x.device).unsqueeze(1)
    inside: Any = None
    for low, up, n in zip(lows, corner, size, strict=True):
        p = low + up
        here = (p >= 0) & (p <= n - 1)
        number = number * n + p.clamp(0, n - 1).to(int64)
        inside = here if inside is None else inside & here
    return where(inside, number, x._shape[0] * math.prod(size))


def _weight(rests: Sequence[Tensor], corner: Sequence[int], slope: int | None = None) -> Any:
    """The product of the weights, or its derivative along a dimension."""
    weight: Any = 1.0
    for d, (rest, up) in enumerate(zip(rests, corner, strict=True)):
        if d == slope:
            weight = weight * (1.0 if up else -1.0)
        else:
            weight = weight * (rest if up else 1 - rest)
    return weight


def _table(x: Tensor) -> Tensor:
    """[N * places + 1, C]: all channels of a place in a row, and a row of zeros."""
    rows = x.movedim(1, -1).reshape((-1, x._shape[1]))
    from .join import cat

    return cat([rows, zeros((1, x._shape[1]), dtype=x.dtype, device=x.device)])


def _moved(x: Tensor, at: Tensor, tangent: Tensor) -> Tensor:
    """How the samples [N, C, P] change as the places do."""
    corners, lows, rests = _corners(x, at)
    table, total = _table(x), None
    for corner in corners:
        number = _numbers(x, lows, corner)
        weight: Any = 0.0
        for d in range(len(lows)):
            weight = weight + _weight(rests, corner, d) * tangent[..., d]
        picked = table.index_select(0, number.reshape((-1,))).reshape((*number._shape, -1))
        part = picked * weight.unsqueeze(-1)
        total = part if total is None else total + part
    return total.transpose(1, 2)  # type: ignore[union-attr]


def _gradients(ct: Tensor, x: Tensor, at: Tensor, *, nearest: bool) -> tuple[Tensor, Tensor]:
    n, c = x._shape[:2]
    size = x._shape[2:]
    corners, lows, rests = _corners(x, at)
    rows = ct.transpose(1, 2)  # [N, P, C]
    table = _table(x)
    gx = zeros(table._shape, dtype=x.dtype, device=x.device)
    slopes: list[Any] = [0.0] * len(lows)
    for corner in corners[:1] if nearest else corners:
        number = _numbers(x, lows, corner).reshape((-1,))
        weight = 1.0 if nearest else _weight(rests, corner).unsqueeze(-1)
        gx = gx.index_add(0, number, (rows * weight).reshape((-1, c)))
        product_ = (table.index_select(0, number).reshape(rows._shape) * rows).sum(-1)
        for d in range(len(lows)):
            slopes[d] = slopes[d] + _weight(rests, corner, d) * product_
    from .join import stack

    gat = zeros(at._shape, dtype=at.dtype, device=at.device) if nearest else stack(slopes, -1)
    return gx[:-1].reshape((n, *size, c)).movedim(-1, 1), gat


def _lanes_first(size: int, batched: Sequence[bool], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Mapped tensors with the lanes merged into their first dimension."""
    return [t.reshape((size * t._shape[1], *t._shape[2:])) for t in fronted(size, batched, tensors)]


def _split(size: int, t: Tensor) -> Tensor:
    return t.reshape((size, t._shape[0] // size, *t._shape[1:]))


def _grad_impl(ct: Tensor, x: Tensor, at: Tensor, *, nearest: bool) -> Any:
    out = ffi.new("cb_tensor *[2]")
    if lib.cb_grid_linear_grad(ct._v, x._v, at._v, nearest, out):
        return ()
    return out[0], out[1]


_grad = Op(
    "grid_linear_grad",
    _grad_impl,
    decompose=_gradients,
    batch=lambda size, batched, *tensors, nearest: tuple(
        [_split(size, t) for t in _grad(*_lanes_first(size, batched, tensors), nearest=nearest)]
    ),
    nouts=2,
    family=_FAMILY,
)


def _linear_jvp(
    tangents: Any, _out: Tensor, x: Tensor, at: Tensor, *, nearest: bool
) -> Tensor | None:
    dx, dat = tangents
    out = None if dx is None else grid_linear(dx, at, nearest=nearest)
    if dat is None or nearest:
        return out
    moved = _moved(x, at, dat)
    return moved if out is None else out + moved


grid_linear = Op(
    "grid_linear",
    lambda x, at, *, nearest: lib.cb_grid_linear(x._v, at._v, nearest),
    vjp=lambda ct, _out, x, at, *, nearest: _grad(ct, x, at, nearest=nearest),
    jvp=_linear_jvp,
    batch=lambda size, batched, x, at, *, nearest: _split(
        size, grid_linear(*_lanes_first(size, batched, (x, at)), nearest=nearest)
    ),
    family=_FAMILY,
)


def _places(make: Any, n: int, points: int, size: Sequence[int]) -> Tensor:
    """Places inside and outside of an image, none of them integers."""
    base = make.index(2 * max(size), n, points, len(size)).to(make(1).dtype)
    return (base - max(size) / 2).detach() + 0.3


_SIZES = ((2, 2, 3, 4, 5), (1, 3, 130, 5), (2, 1, 4, 2, 3, 2))


def _samples(make: Any, grad: bool) -> list[Any]:
    found = []
    for n, c, points, *size in _SIZES:
        at = _places(make, n, points, size)
        leading = (make(n, c, points),) if grad else ()
        found.append(call(*leading, make(n, c, *size), at, nearest=False))
    return found


def _oracle(np: Any, x: Any, at: Any, *, nearest: bool) -> Any:
    n, c, *size = x.shape
    out = np.zeros((n, c, at.shape[1]), x.dtype)
    low = np.floor(at)
    for corner in product((0, 1), repeat=len(size)):
        p = (low + np.array(corner)).astype(int)
        weight = np.prod(np.where(corner, at - low, 1 - (at - low)), -1)
        inside = np.all((p >= 0) & (p < size), -1)
        p = np.clip(p, 0, np.array(size) - 1)
        for i in range(n):
            picked = x[i][(slice(None), *p[i].T)]
            out[i] += picked * (weight * inside)[i]
    return out


sampled(grid_linear, lambda make: _samples(make, False), oracle=_oracle)
sampled(_grad, lambda make: _samples(make, True))
