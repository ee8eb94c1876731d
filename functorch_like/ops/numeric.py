"""Numerical composites: histograms, gradients on a grid, distances, renorm, parts of floats.

All are functions of other public functions, so they work under every transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..amp import entered, lowered
from ..dtypes import int32, int64
from ..errors import DTypeError, ShapeError, message
from ..linalg import lstsq
from ..tensor import Tensor, wrap_dim
from .creation import full_like, linspace, ones_like, zeros
from .diagonals import diag_embed
from .family import operand
from .join import cat, stack
from .matmul import bmm, outer
from .reduce import norm
from .scatter import scatter_reduce
from .sort import searchsorted
from .ternary import where

__all__ = [
    "addbmm",
    "addr",
    "diagflat",
    "fill",
    "frexp",
    "gradient",
    "histogram",
    "histogramdd",
    "index_reduce",
    "isneginf",
    "isposinf",
    "polyfit",
    "positive",
    "renorm",
]

# ---- small ones ----


def positive(input: Tensor) -> Tensor:
    """The tensor itself.

    Raises:
      DTypeError: bools have no sign.
    """
    if input.dtype.name == "bool":
        raise DTypeError(message("positive", "numbers", "bool", "Cast with .int()."))
    return input


def isposinf(x: Tensor) -> Tensor:
    """Which elements are +inf.

    Raises:
      DTypeError: x is complex.
    """
    return _infinite("isposinf", x, math.inf)


def isneginf(x: Tensor) -> Tensor:
    """Which elements are -inf.

    Raises:
      DTypeError: x is complex.
    """
    return _infinite("isneginf", x, -math.inf)


def _infinite(op: str, x: Any, value: float) -> Tensor:
    x = operand(op, x)
    if x.dtype.is_complex:
        raise DTypeError(message(op, "a real tensor", x.dtype, "Ask its real and imag."))
    if not x.dtype.is_inexact:
        return x != x
    return x == value


def fill(x: Tensor, value: Any) -> Tensor:
    """A tensor of x's shape and dtype with every element the value, which may be a 0-d tensor."""
    if isinstance(value, Tensor):
        return value.to(x.dtype).expand(x._shape).clone()
    return full_like(x, value)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of input on a diagonal.

    Example:
      >>> diagflat(tensor([1, 2]))
      tensor([[1, 0],
              [0, 2]])
    """
    return diag_embed(input.reshape((-1,)), offset)


def addbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (the sum over the batch of batch1 @ batch2)."""
    if entered:
        (x,) = lowered(x)
    product = bmm(batch1, batch2).sum(0)
    return (x if beta == 1 else x * beta) + (product if alpha == 1 else product * alpha)


def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    product = outer(vec1, vec2)
    return (x if beta == 1 else x * beta) + (product if alpha == 1 else product * alpha)


class Frexp(NamedTuple):
    """What frexp() returns."""

    mantissa: Tensor
    exponent: Tensor


def frexp(x: Tensor) -> Frexp:
    """Mantissa in [0.5, 1) and exponent (int32): x = mantissa * 2**exponent.

    Both are x and 0 for 0, inf and nan.

    Raises:
      DTypeError: x is not floating.
    Example:
      >>> frexp(tensor([8.0, -0.75]))
      Frexp(mantissa=tensor([ 0.5000, -0.7500]), exponent=tensor([4, 0], dtype=int32))
    """
    if not x.dtype.is_floating_point:
        raise DTypeError(message("frexp", "a floating tensor", x.dtype, "Cast with .float()."))
    wide = x.detach() if x.dtype.itemsize == 8 else x.detach().double()
    ordinary = (wide != 0) & wide.isfinite()
    size = where(ordinary, wide.abs(), 1.0)
    tiny = size < 2.0**-1000
    size = where(tiny, size * 2.0**100, size)
    power = size.log2().floor() + 1
    half = (power / 2).floor()
    scaled = size * (-half).exp2() * (half - power).exp2()
    power = power + (scaled >= 1).double() - (scaled < 0.5).double()  # log2 is off by one ulp
    power = where(ordinary, power - where(tiny, 100.0, 0.0), 0.0)
    half = (power / 2).floor()
    y = x if x.dtype.itemsize == 8 else x.double()
    mantissa = y * (-half).exp2() * (half - power).exp2()
    return Frexp(mantissa.to(x.dtype), power.to(int32))


def renorm(x: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """x with every slice along dim whose p-norm is above maxnorm scaled down to it.

    Example:
      >>> renorm(tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
      tensor([[0.6000, 0.8000],
              [0.3000, 0.4000]])
    """
    if p <= 0:
        raise ValueError(message("renorm", "a positive p", p))
    if maxnorm < 0:
        raise ValueError(message("renorm", "maxnorm of at least 0", maxnorm))
    d = wrap_dim("renorm", dim, x.ndim)
    if x.ndim < 2:
        raise ShapeError(message("renorm", "at least 2 dimensions", f"{x.ndim}"))
    others = tuple(k for k in range(x.ndim) if k != d)
    size = norm(x, p, others, True)
    above = size > maxnorm
    # torch's guard against 0 / 0, kept so that results agree
    return x * where(above, maxnorm / (where(above, size, 1.0) + 1e-7), 1.0)


def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x with source's slices reduced into those a 1-d index names, along dim.

    Args:
      reduce: "prod", "mean", "amax" or "amin".
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        wanted = 'reduce "prod", "mean", "amax" or "amin"'
        raise ValueError(message("index_reduce", wanted, repr(reduce)))
    d = wrap_dim("index_reduce", dim, x.ndim)
    shape = [-1 if k == d else 1 for k in range(source.ndim)]
    places = index.to(int64).reshape(shape).expand(source._shape)
    return scatter_reduce(x, d, places, source, reduce, include_self=include_self)


# ---- differences on a grid ----


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivative along each dim by central differences, second order inside.

    Args:
      spacing: the distance of neighbours, one for all dims or one each; or coordinates [n] for
        each dim.
      edge_order: 1 or 2, the order at the two ends.
    Returns:
      One tensor a dim.
    Reference: Fornberg 1988, for unequal distances.
    Example:
      >>> gradient(tensor([1.0, 4.0, 9.0, 16.0]))
      (tensor([3., 4., 6., 7.]),)
    """
    if edge_order not in (1, 2):
        raise ValueError(message("gradient", "edge_order 1 or 2", edge_order))
    dims = (
        list(range(input.ndim))
        if dim is None
        else [
            wrap_dim("gradient", d, input.ndim) for d in ((dim,) if isinstance(dim, int) else dim)
        ]
    )
    one = isinstance(spacing, (int, float, complex)) or (
        isinstance(spacing, Tensor) and not spacing.ndim
    )
    steps: list[Any] = [spacing] * len(dims) if one else [*spacing]  # type: ignore[misc]
    if len(steps) != len(dims):
        raise ValueError(message("gradient", f"{len(dims)} spacings", len(steps)))
    y = input if input.dtype.is_inexact else input.float()
    return tuple(_slope(y, d, h, edge_order) for d, h in zip(dims, steps, strict=True))


def _slope(x: Tensor, d: int, h: Any, edge_order: int) -> Tensor:
    n = x._shape[d]
    if n < edge_order + 1:
        raise ShapeError(message("gradient", f"at least {edge_order + 1} elements in dim {d}", n))

    def part(y: Tensor, start: int, length: int) -> Tensor:
        return y.narrow(d, start, length)

    if isinstance(h, Tensor) and h.ndim:
        if h._shape != (n,):
            raise ShapeError(message("gradient", f"coordinates of shape [{n}]", list(h._shape)))
        h = h.to(x.dtype)
        gaps = (h[1:] - h[:-1]).reshape([-1 if k == d else 1 for k in range(x.ndim)])
        gap = lambda start, length=1: part(gaps, start, length)  # noqa: E731
    else:
        gaps = None
        h = h.reshape([1] * x.ndim).to(x.dtype) if isinstance(h, Tensor) else h
        gap = lambda *_: h  # noqa: E731
    if n == 2:
        slope = (part(x, 1, 1) - part(x, 0, 1)) / gap(0)
        return cat([slope, slope], d)
    left, right = part(x, 0, n - 2), part(x, 2, n - 2)
    if gaps is None:
        inside = (right - left) / (2 * h)
    else:
        a, b = gap(0, n - 2), gap(1, n - 2)
        middle = part(x, 1, n - 2)
        inside = (a * a * right + (b * b - a * a) * middle - b * b * left) / (a * b * (a + b))
    if edge_order == 1:
        first = (part(x, 1, 1) - part(x, 0, 1)) / gap(0)
        last = (part(x, n - 1, 1) - part(x, n - 2, 1)) / gap(n - 2)
    else:
        first = _one_sided([part(x, k, 1) for k in (0, 1, 2)], gap(0), gap(1))
        last = -_one_sided([part(x, n - 1 - k, 1) for k in (0, 1, 2)], gap(n - 2), gap(n - 3))
    return cat([first, inside, last], d)


def _one_sided(values: Sequence[Tensor], a: Any, b: Any) -> Tensor:
    """The slope at the first of three points at distances a and b, of second order."""
    u, v, w = values
    return -(2 * a + b) / (a * (a + b)) * u + (a + b) / (a * b) * v - a / (b * (a + b)) * w


# ---- polynomials ----


def polyfit(x: Tensor, y: Tensor, deg: int, *, w: Tensor | None = None) -> Tensor:
    """The coefficients, highest power first, of the least-squares polynomial through points.

    Args:
      x [n], y [n] or [n, k]; w [n]: weights of the residuals, not squared.
    """
    if x.ndim != 1 or y.ndim not in (1, 2) or y._shape[0] != x._shape[0]:
        raise ShapeError(
            message("polyfit", "x [n] and y [n] or [n, k]", f"{list(x._shape)}, {list(y._shape)}")
        )
    rows = stack([x**k for k in range(deg, -1, -1)], 1)
    right = y.unsqueeze(1) if y.ndim == 1 else y
    if w is not None:
        rows, right = rows * w.unsqueeze(1), right * w.unsqueeze(1)
    scale = rows.detach().norm(2, 0)  # columns of one length, as numpy.polyfit
    found = lstsq(rows / scale, right)[0] / scale.unsqueeze(1)
    return found.squeeze(1) if y.ndim == 1 else found


# ---- histograms ----


class Histogram(NamedTuple):
    """What histogram() returns."""

    hist: Tensor
    bin_edges: Tensor


class HistogramDD(NamedTuple):
    """What histogramdd() returns."""

    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def histogram(
    x: Tensor,
    bins: Any,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Histogram:
    """Counts (or sums of weights) in intervals; all but the last are open on the right.

    Args:
      bins: their number, or their edges [bins + 1].
      range: the outer edges, by default the smallest and the largest element.
      density: divide by the total and the widths.
    Example:
      >>> histogram(tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
      tensor([0., 2., 1., 0.])
    """
    flat = x.reshape((-1, 1))
    weights = None if weight is None else weight.reshape((-1,))
    hist, edges = _histogram("histogram", flat, [bins], range, weights, density)
    return Histogram(hist, edges[0])


def histogramdd(
    x: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> HistogramDD:
    """histogram() of points [..., D] in D dimensions.

    Args:
      bins: the number of bins, for all or each dimension, or a sequence of D tensors of edges.
      range: D pairs of outer edges in one list.
    """
    if x.ndim < 2:
        raise ShapeError(message("histogramdd", "points in the last of 2 dims", list(x._shape)))
    points = x.reshape((-1, x._shape[-1]))
    n = points._shape[1]
    each = [bins] * n if isinstance(bins, int) else list(bins)
    if len(each) != n:
        raise ValueError(message("histogramdd", f"bins for {n} dimensions", len(each)))
    weights = None if weight is None else weight.reshape((-1,))
    return HistogramDD(*_histogram("histogramdd", points, each, range, weights, density))


def _histogram(
    op: str, points: Tensor, bins: list[Any], span: Any, weights: Tensor | None, density: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    if not points.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", points.dtype, "Cast with .float()."))
    edges = []
    for d, b in enumerate(bins):
        if isinstance(b, Tensor):
            edges.append(b)
        elif span is not None:
            low, high = span[2 * d], span[2 * d + 1]
            edges.append(linspace(low, high, b + 1, dtype=points.dtype, device=points.device))
        else:
            edges.append(_spaced(points.detach()[:, d], b))
    inside = ones_like(points[:, 0], dtype="bool")
    place = zeros(points._shape[:1], dtype=int64, device=points.device)
    for d, edge in enumerate(edges):
        column, last = points.detach()[:, d].contiguous(), edge._shape[0] - 2
        inside = inside & (column >= edge[0]) & (column <= edge[-1])
        at = searchsorted(edge, column, right=True) - 1
        place = place * (last + 1) + at.clamp(0, last)
    shape = [edge._shape[0] - 1 for edge in edges]
    counted = inside.to(points.dtype) if weights is None else where(inside, weights, 0)
    hist = zeros(math.prod(shape), dtype=points.dtype, device=points.device)
    hist = hist.index_add(0, place, counted).reshape(shape)
    if density:
        hist = hist / hist.sum()
        for d, edge in enumerate(edges):
            hist = hist / (edge[1:] - edge[:-1]).reshape([-1] + [1] * (len(edges) - 1 - d))
    return hist, tuple(edges)


def _spaced(column: Tensor, bins: int) -> Tensor:
    """Equal bins over the elements; around them where all are equal."""
    if not column.numel():
        return linspace(0, 1, bins + 1, dtype=column.dtype, device=column.device)
    low, high = column.amin(), column.amax()
    single = low == high
    low, high = where(single, low - 0.5, low), where(single, high + 0.5, high)
    steps = linspace(0, 1, bins + 1, dtype=column.dtype, device=column.device)
    return cat([(low + (high - low) * steps)[:-1], high.reshape((1,))])


for _f in (positive, isposinf, isneginf, diagflat, addbmm, addr, frexp, renorm, index_reduce):
    setattr(Tensor, _f.__name__, _f)
Tensor.histogram = histogram  # type: ignore[attr-defined]
