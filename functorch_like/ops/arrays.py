"""Beside torch's names, from NumPy, SciPy and JAX: interpolation, polynomials, segments.

All are functions of other public functions, so they work under every transform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError, message
from ..tensor import Tensor, wrap_dim
from .creation import as_tensor, full, ones_like, zeros
from .family import operand
from .join import cat, stack
from .scatter import scatter_reduce
from .sort import argsort, searchsorted
from .ternary import where

__all__ = [
    "apply_along_axis",
    "convolve",
    "correlate",
    "digitize",
    "ediff1d",
    "interp",
    "piecewise",
    "polyfit",
    "polyval",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_sum",
]


def interp(
    x: Tensor, xp: Tensor, fp: Tensor, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """Linear interpolation at x between the points (xp, fp), xp increasing.

    Args:
      left, right: values beyond the ends, by default those at the ends.
      period: xp repeats after it, and need not be sorted.
    Example:
      >>> interp(tensor([0.5, 3.0]), tensor([0.0, 1.0, 2.0]), tensor([0.0, 10.0, 20.0]))
      tensor([ 5., 20.])
    """
    if xp.ndim != 1 or xp._shape != fp._shape or not xp.numel():
        raise ShapeError(
            message("interp", "xp and fp of one shape [n], n > 0", f"{xp.shape} and {fp.shape}")
        )
    if period is not None:
        x, xp = x % period, xp % period
        order = argsort(xp.detach())
        xp, fp = xp[order], fp[order]
        xp = cat([xp[-1:] - period, xp, xp[:1] + period])
        fp = cat([fp[-1:], fp, fp[:1]])
    n = xp._shape[0]
    if n == 1:
        y = fp[0] + 0 * x
    else:
        at = searchsorted(xp.detach(), x.detach(), right=True).clamp(1, n - 1)
        x0, x1, f0, f1 = xp[at - 1], xp[at], fp[at - 1], fp[at]
        gap = x1 - x0
        empty = gap == 0
        y = f0 + where(empty, 0.0, (x - x0) / where(empty, 1.0, gap)) * (f1 - f0)
    y = where(x < xp[0], fp[0] if left is None else left, y)
    return where(x > xp[-1], fp[-1] if right is None else right, y)


def polyval(p: Tensor, x: Any) -> Tensor:
    """The polynomial with coefficients p [n], highest power first, at x; Horner's scheme.

    Example:
      >>> polyval(tensor([1.0, 0.0, 2.0]), tensor([3.0]))
      tensor([11.])
    """
    x = operand("polyval", x)
    y = x * 0
    for c in p.unbind():
        y = y * x + c
    return y


def polyfit(x: Tensor, y: Tensor, deg: int, *, w: Tensor | None = None) -> Tensor:
    """The coefficients, highest power first, of the least-squares polynomial through points.

    Args:
      x [n], y [n] or [n, k]; w [n]: weights of the residuals, not squared.
    """
    from ..linalg import lstsq  # type: ignore[import-not-found]

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


def correlate(a: Tensor, v: Tensor, mode: str = "valid") -> Tensor:
    """The correlation of two vectors: c[k] = sum over n of a[n + k] * conj(v[n]).

    Args:
      mode: "valid", "same" or "full": which shifts.
    Example:
      >>> correlate(tensor([1.0, 2.0, 3.0]), tensor([0.0, 1.0]))
      tensor([2., 3.])
    """
    return _slid("correlate", a, v.conj() if v.dtype.is_complex else v, mode)


def convolve(a: Tensor, v: Tensor, mode: str = "full") -> Tensor:
    """The convolution of two vectors: c[k] = sum over n of a[n] * v[k - n].

    Args:
      mode: "full", "same" or "valid": which shifts.
    Example:
      >>> convolve(tensor([1.0, 2.0]), tensor([1.0, 1.0]))
      tensor([1., 3., 2.])
    """
    if v._shape[0] > a._shape[0]:
        a, v = v, a
    return _slid("convolve", a, v.flip(0), mode)


def _slid(op: str, a: Tensor, v: Tensor, mode: str) -> Tensor:
    """Products of v with all windows of a."""
    if a.ndim != 1 or v.ndim != 1 or not a.numel() or not v.numel():
        raise ShapeError(message(op, "two vectors with elements", f"{a.shape} and {v.shape}"))
    if mode not in ("full", "same", "valid"):
        raise ValueError(message(op, 'mode "full", "same" or "valid"', repr(mode)))
    swapped = v._shape[0] > a._shape[0]
    if swapped:  # v slides over a either way; shifts come out in the opposite order
        a, v = v, a
    m = v._shape[0]
    before = {"full": m - 1, "same": m // 2, "valid": 0}[mode]
    after = {"full": m - 1, "same": m - 1 - m // 2, "valid": 0}[mode]
    padded = cat([zeros(before, dtype=a.dtype), a, zeros(after, dtype=a.dtype)])
    out = (padded.unfold(0, m, 1) * v).sum(-1)
    return out.flip(0) if swapped else out


def digitize(x: Tensor, bins: Tensor, right: bool = False) -> Tensor:
    """The index of the bin that each element falls into: bins[i-1] <= x < bins[i].

    Args:
      bins [n]: increasing or decreasing edges. right: bins[i-1] < x <= bins[i] instead.
    Example:
      >>> digitize(tensor([0.5, 2.5]), tensor([0.0, 1.0, 2.0]))
      tensor([1, 3])
    """
    rising = searchsorted(bins, x, right=not right)
    if bins._shape[0] < 2:
        return rising
    falling = bins._shape[0] - searchsorted(bins.flip(0), x, right=right)
    return where(bins[0] <= bins[-1], rising, falling)


def ediff1d(x: Tensor, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences of neighbours of the flattened tensor, with more put at the ends.

    Example:
      >>> ediff1d(tensor([1, 4, 9]), to_end=0)
      tensor([3, 5, 0])
    """
    flat = x.reshape((-1,))
    parts = [flat[1:] - flat[:-1]]
    if to_begin is not None:
        parts.insert(0, as_tensor(to_begin, dtype=x.dtype).reshape((-1,)))
    if to_end is not None:
        parts.append(as_tensor(to_end, dtype=x.dtype).reshape((-1,)))
    return cat(parts)


def piecewise(x: Tensor, condlist: Sequence[Tensor], funclist: Sequence[Any]) -> Tensor:
    """The function (or number) of the last condition that holds, elementwise.

    Args:
      funclist: one more than conditions: the last is for the rest, which is 0 otherwise.
    Example:
      >>> piecewise(tensor([-1.0, 2.0]), [tensor([True, False])], [lambda v: -v, 0.0])
      tensor([1., 0.])
    """
    n = len(condlist)
    if len(funclist) not in (n, n + 1):
        raise ValueError(message("piecewise", f"{n} or {n + 1} functions", len(funclist)))

    def value(f: Any, y: Tensor) -> Any:
        return f(y) if callable(f) else ones_like(y) * f

    y = value(funclist[n], x) if len(funclist) > n else x * 0
    for condition, f in zip(condlist, funclist, strict=False):
        y = where(condition, value(f, where(condition, x, x.detach())), y)
    return y


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """A function of vectors applied along an axis; its result's dims stand in the axis' place.

    The function is mapped with vmap, so it sees one vector and runs once.
    """
    from ..transforms import vmap

    d = wrap_dim("apply_along_axis", axis, arr.ndim)
    rows = arr.movedim(d, -1)
    lead = rows._shape[:-1]
    out = vmap(lambda row: func1d(row, *args, **kwargs), randomness="different")(
        rows.reshape((-1, rows._shape[-1]))
    )
    out = out.reshape((*lead, *out._shape[1:]))
    inner = out.ndim - len(lead)
    return (
        out.movedim(tuple(range(len(lead), out.ndim)), tuple(range(d, d + inner))) if inner else out
    )


# ---- segments ----


def _segments(op: str, data: Tensor, segment_ids: Tensor, num_segments: int | None) -> int:
    if segment_ids.ndim != 1 or segment_ids._shape != data._shape[:1]:
        raise ShapeError(
            message(op, f"segment_ids of shape {list(data._shape[:1])}", list(segment_ids._shape))
        )
    if num_segments is not None:
        return num_segments
    return int(segment_ids.amax().item()) + 1 if segment_ids.numel() else 0


def segment_sum(data: Tensor, segment_ids: Tensor, num_segments: int | None = None) -> Tensor:
    """The sums of the slices (along dim 0) with equal ids.

    Args:
      data [N, ...]; segment_ids [N] integers from 0 on.
      num_segments: by default the largest id and 1; inside a transform it must be given.
    Returns:
      [num_segments, ...]
    Example:
      >>> segment_sum(tensor([1, 2, 3]), tensor([0, 0, 1]))
      tensor([3, 3])
    """
    n = _segments("segment_sum", data, segment_ids, num_segments)
    start = zeros((n, *data._shape[1:]), dtype=data.dtype, device=data.device)
    return start.index_add(0, segment_ids, data)


def segment_mean(data: Tensor, segment_ids: Tensor, num_segments: int | None = None) -> Tensor:
    """The means of the slices with equal ids, as segment_sum(); 0 for none."""
    n = _segments("segment_mean", data, segment_ids, num_segments)
    counts = segment_sum(ones_like(segment_ids), segment_ids, n).clamp(min=1)
    total = segment_sum(data, segment_ids, n)
    return total / counts.reshape((n,) + (1,) * (data.ndim - 1))


def _segment_extreme(
    op: str, reduce: str, data: Tensor, segment_ids: Tensor, num_segments: int | None
) -> Tensor:
    from ..dtypes import iinfo

    n = _segments(op, data, segment_ids, num_segments)
    if data.dtype.is_floating_point:
        start: Any = float("inf") if reduce == "amin" else -float("inf")
    else:
        limits = iinfo(data.dtype)
        start = limits.max if reduce == "amin" else limits.min
    out = full((n, *data._shape[1:]), start, dtype=data.dtype, device=data.device)
    places = segment_ids.reshape((-1,) + (1,) * (data.ndim - 1)).expand(data._shape)
    return scatter_reduce(out, 0, places.to("int64"), data, reduce)


def segment_max(data: Tensor, segment_ids: Tensor, num_segments: int | None = None) -> Tensor:
    """The maxima of the slices with equal ids, as segment_sum(); the lowest value for none."""
    return _segment_extreme("segment_max", "amax", data, segment_ids, num_segments)


def segment_min(data: Tensor, segment_ids: Tensor, num_segments: int | None = None) -> Tensor:
    """The minima of the slices with equal ids, as segment_sum(); the highest value for none."""
    return _segment_extreme("segment_min", "amin", data, segment_ids, num_segments)


def segment_softmax(data: Tensor, segment_ids: Tensor, num_segments: int | None = None) -> Tensor:
    """The softmax within the slices with equal ids: [N, ...], as data."""
    n = _segments("segment_softmax", data, segment_ids, num_segments)
    top = segment_max(data.detach(), segment_ids, n)[segment_ids]
    e = (data - top).exp()
    return e / segment_sum(e, segment_ids, n)[segment_ids]
