"""The entry behind grid_sample(): sampling images at the places of a grid, with its gradients.

Along each dimension a point has taps, elements with weights that depend on its place: one for
"nearest", two for "linear", four for "cubic". Derivatives beyond the first go through public
functions that say the same as the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from cbackend import ffi, lib

from ..dtypes import int64
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import arange, zeros
from .family import fronted
from .join import cat, stack
from .ternary import where

__all__ = ["MODES", "PADDINGS", "sample"]

_FAMILY = "resample"
MODES = ("bilinear", "nearest", "bicubic")  # by their numbers in the core (src/grid.h)
PADDINGS = ("zeros", "border", "reflection")
_LINEAR, _NEAREST, _CUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)

# weights of Keys' cubic kernel with a = -0.75, as polynomials of the way from the second tap on
_CUBICS = (
    (-0.75, 1.5, -0.75, 0.0),
    (1.25, -2.25, 0.0, 1.0),
    (-1.25, 1.5, 0.75, 0.0),
    (0.75, -0.75, 0.0, 0.0),
)


class _Line(NamedTuple):
    """The taps of all points [N, P] along one dimension."""

    places: list[Tensor]
    weights: list[Any]
    slopes: list[Any]  # derivatives of the weights by the place
    factor: Any  # and of the place by the coordinate


def _clipped(at: Tensor, n: int) -> Tensor:
    """Limited to 0..n-1, with gradient 0 at the limits."""
    return where(at > 0, where(at < n - 1, at, float(n - 1)), 0.0)


def _reflected(at: Tensor, n: int, align: bool) -> tuple[Tensor, Tensor]:
    """Reflected at the centres or edges of the last elements; and the derivative."""
    low, span = (0.0, float(n - 1)) if align else (-0.5, float(n))
    if span == 0:
        return at * 0.0, at.detach() * 0.0
    away = (at - low).abs()
    turns = (away.detach() / span).floor()
    extra = away - turns * span
    odd = turns - 2 * (turns / 2).floor() != 0
    sign = where(odd ^ (at < low), -1.0, 1.0)
    return where(odd, span - extra + low, extra + low), sign.to(at.dtype)


def _line(at: Tensor, n: int, mode: int, padding: int, align: bool) -> _Line:
    """For coordinates [N, P] of -1..1."""
    half = (n - 1) / 2 if align else n / 2
    at = (where(at.isnan(), -1.0, at) + 1) * half
    at = at if align else at - 0.5
    factor: Any = half
    if mode != _CUBIC and padding != _ZEROS:
        if padding == _REFLECTION:
            at, sign = _reflected(at, n, align)
            factor = sign * half
        factor = where((at > 0) & (at < n - 1), factor, 0.0).detach().to(at.dtype)
        at = _clipped(at, n)
    if mode == _NEAREST:
        return _Line([at.detach().round()], [1.0], [0.0], 0.0)
    low = at.detach().floor()
    rest = at - low
    if mode == _LINEAR:
        return _Line([low, low + 1], [1 - rest, rest], [-1.0, 1.0], factor)
    places = [low + j for j in range(-1, 3)]
    if padding == _REFLECTION:
        places = [_reflected(p, n, align)[0] for p in places]
    if padding != _ZEROS:
        places = [p.clamp(0, n - 1) for p in places]
    weights = [((a * rest + b) * rest + c) * rest + d for a, b, c, d in _CUBICS]
    slopes = [(3 * a * rest + 2 * b) * rest + c for a, b, c, _ in _CUBICS]
    return _Line(places, weights, slopes, factor)


def _lines(x: Tensor, grid: Tensor, **params: Any) -> list[_Line]:
    """For each dimension of x in order; the grid's coordinates are in the opposite one."""
    grid = grid.reshape((grid._shape[0], -1, grid._shape[-1]))
    return [_line(grid[..., -1 - d], n, **params) for d, n in enumerate(x._shape[2:])]


def _taps(lines: Sequence[_Line]) -> Any:
    """The number of the tap along each dimension, for all of a point's."""
    return product(*[range(len(line.places)) for line in lines])


def _numbers(x: Tensor, lines: Sequence[_Line], tap: Sequence[int]) -> Tensor:
    """Numbers [N * P] of the tap's places in a table of all images' places; behind is outside."""
    size = x._shape[2:]
    number = arange(x._shape[0], device=x.device).unsqueeze(1)
    inside: Any = None
    for line, j, n in zip(lines, tap, size, strict=True):
        p = line.places[j]
        here = (p >= 0) & (p <= n - 1)
        number = number * n + p.clamp(0, n - 1).to(int64)
        inside = here if inside is None else inside & here
    return where(inside, number, x._shape[0] * math.prod(size)).reshape((-1,))


def _weight(lines: Sequence[_Line], tap: Sequence[int], slope: int | None = None) -> Any:
    """The product of the weights, or its derivative by the coordinate along a dimension."""
    weight: Any = 1.0
    for d, (line, j) in enumerate(zip(lines, tap, strict=True)):
        weight = weight * (line.slopes[j] * line.factor if d == slope else line.weights[j])
    return weight


def _table(x: Tensor) -> Tensor:
    """[N * places + 1, C]: all channels of a place in a row, and a row of zeros."""
    rows = x.movedim(1, -1).reshape((-1, x._shape[1]))

    return cat([rows, zeros((1, x._shape[1]), dtype=x.dtype, device=x.device)])


def _moved(x: Tensor, grid: Tensor, tangent: Tensor, **params: Any) -> Tensor:
    """How the samples [N, C, *out] change as the grid does."""
    lines = _lines(x, grid, **params)
    tangents = tangent.reshape((tangent._shape[0], -1, len(lines)))
    table, total = _table(x), None
    for tap in _taps(lines):
        picked = table.index_select(0, _numbers(x, lines, tap)).reshape((*tangents._shape[:2], -1))
        weight: Any = 0.0
        for d in range(len(lines)):
            weight = weight + _weight(lines, tap, d) * tangents[..., -1 - d]
        part = picked * weight.unsqueeze(-1)
        total = part if total is None else total + part
    moved = total.transpose(1, 2)  # type: ignore[union-attr]
    return moved.reshape((*x._shape[:2], *grid._shape[1:-1]))


def _gradients(ct: Tensor, x: Tensor, grid: Tensor, **params: Any) -> tuple[Tensor, Tensor]:
    n, c = x._shape[:2]
    size = x._shape[2:]
    lines = _lines(x, grid, **params)
    nearest = params["mode"] == _NEAREST
    rows = ct.reshape((n, c, -1)).transpose(1, 2)  # [N, P, C]
    table = _table(x)
    gx = zeros(table._shape, dtype=x.dtype, device=x.device)
    slopes: list[Any] = [0.0] * len(lines)
    for tap in _taps(lines):
        number = _numbers(x, lines, tap)
        weighted = rows if nearest else rows * _weight(lines, tap).unsqueeze(-1)
        gx = gx.index_add(0, number, weighted.reshape((-1, c)))
        if not nearest:
            product_ = (table.index_select(0, number).reshape(rows._shape) * rows).sum(-1)
            for d in range(len(lines)):
                slopes[d] = slopes[d] + _weight(lines, tap, d) * product_

    gx = gx[:-1].reshape((n, *size, c)).movedim(-1, 1)
    if nearest:
        return gx, zeros(grid._shape, dtype=grid.dtype, device=grid.device)
    return gx, stack(slopes[::-1], -1).reshape(grid._shape)


def _lanes_first(size: int, batched: Sequence[bool], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Mapped tensors with the lanes merged into their first dimension."""
    return [t.reshape((size * t._shape[1], *t._shape[2:])) for t in fronted(size, batched, tensors)]


def _split(size: int, t: Tensor) -> Tensor:
    return t.reshape((size, t._shape[0] // size, *t._shape[1:]))


def _grad_impl(ct: Tensor, x: Tensor, grid: Tensor, *, mode: int, padding: int, align: bool) -> Any:
    out = ffi.new("cb_tensor *[2]")
    if lib.cb_grid_sample_grad(ct._v, x._v, grid._v, mode, padding, align, out):
        return ()
    return out[0], out[1]


_grad = Op(
    "grid_sample_grad",
    _grad_impl,
    decompose=_gradients,
    batch=lambda size, batched, *tensors, **params: tuple(
        [_split(size, t) for t in _grad(*_lanes_first(size, batched, tensors), **params)]
    ),
    nouts=2,
    family=_FAMILY,
)


def _sample_jvp(tangents: Any, _out: Tensor, x: Tensor, grid: Tensor, **params: Any) -> Any:
    dx, dgrid = tangents
    out = None if dx is None else sample(dx, grid, **params)
    if dgrid is None or params["mode"] == _NEAREST:
        return out
    moved = _moved(x, grid, dgrid, **params)
    return moved if out is None else out + moved


sample = Op(
    "grid_sample",
    lambda x, grid, *, mode, padding, align: lib.cb_grid_sample(
        x._v, grid._v, mode, padding, align
    ),
    vjp=lambda ct, _out, x, grid, **params: _grad(ct, x, grid, **params),
    jvp=_sample_jvp,
    batch=lambda size, batched, x, grid, **params: _split(
        size, sample(*_lanes_first(size, batched, (x, grid)), **params)
    ),
    family=_FAMILY,
)


# ---- samples ----

_CASES = (
    ((2, 2, 4, 5), (3,), (_LINEAR, _ZEROS, False)),
    ((1, 130, 5), (3,), (_LINEAR, _BORDER, True)),
    ((2, 1, 2, 3, 2), (2, 1, 2), (_LINEAR, _REFLECTION, False)),
    ((2, 3, 4, 3), (2, 2), (_CUBIC, _ZEROS, True)),
    ((1, 2, 3, 4), (3, 1), (_CUBIC, _REFLECTION, False)),
)


def _samples(make: Any, grad: bool) -> list[Any]:
    found = []
    for shape, out, (mode, padding, align) in _CASES:
        n, c, *size = shape
        out = out if len(out) == len(size) else (*out, *[1] * (len(size) - len(out)))
        base = make.index(7, n, *out, len(size)).to(make(1).dtype)
        grid = (base - 3).detach() * 0.43 + 0.093  # inside and outside, no tap at an edge
        leading = (make(n, c, *out),) if grad else ()
        x = make(n, c, *size)
        found.append(call(*leading, x, grid, mode=mode, padding=padding, align=align))
    return found


def _oracle(np: Any, x: Any, grid: Any, *, mode: int, padding: int, align: bool) -> Any:
    n, c, *size = x.shape
    lengths = np.array(size)
    at = (grid.reshape(n, -1, len(size))[..., ::-1] + 1) * (lengths - align) / 2
    at = at if align else at - 0.5

    def padded(p: Any) -> Any:
        if padding == _REFLECTION:
            low, span = (0, lengths - 1) if align else (-0.5, lengths)
            around = np.mod(p - low, 2 * span)
            p = np.minimum(around, 2 * span - around) + low
        return p if padding == _ZEROS else np.clip(p, 0, lengths - 1)

    at = at if mode == _CUBIC else padded(at)
    low = np.floor(at)
    rest = at - low
    out = np.zeros((n, c, at.shape[1]), x.dtype)
    taps = range(-1, 3) if mode == _CUBIC else range(2)
    for tap in product(taps, repeat=len(size)):
        if mode == _CUBIC:
            far = np.abs(rest - tap)
            near = (1.25 * far - 2.25) * far * far + 1
            weight = np.where(far < 1, near, -0.75 * (((far - 5) * far + 8) * far - 4))
        else:
            weight = 1 - np.abs(rest - tap)
        p = low + np.array(tap)
        p = padded(p) if mode == _CUBIC else p
        inside = np.all((p >= 0) & (p < lengths), -1)
        p = np.clip(p, 0, lengths - 1).astype(int)
        for i in range(n):
            out[i] += x[i][(slice(None), *p[i].T)] * (weight[i].prod(-1) * inside[i])
    return out.reshape(n, c, *grid.shape[1:-1])


sampled(sample, lambda make: _samples(make, False), oracle=_oracle)
sampled(_grad, lambda make: _samples(make, True))
