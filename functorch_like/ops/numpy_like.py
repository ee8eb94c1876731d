"""Functions that NumPy users look for and torch does not have. All are composites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import get_default_dtype, promote_types
from ..errors import ShapeError, message
from ..tensor import Tensor, wrap_dim
from ..transforms.vmap import vmap
from .complex import complex as join_parts
from .complex import conj
from .conv import conv1d
from .creation import arange, zeros_like
from .family import operand, result_type
from .join import cat, flip, narrow, pad
from .sort import searchsorted
from .ternary import where

__all__ = [
    "apply_along_axis", "convolve", "correlate", "digitize", "ediff1d", "interp", "piecewise",
    "polyval",
]  # fmt: skip


def _line(op: str, x: Any, what: str) -> Tensor:
    x = operand(op, x)
    if x.ndim != 1 or not x._shape[0]:
        raise ShapeError(message(op, f"{what} of shape [n], n >= 1", list(x._shape)))
    return x


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_inexact else x.to(get_default_dtype())


# ---- convolution ----


def _sliding_products(x: Tensor, w: Tensor, before: int, after: int) -> Tensor:
    """The sums of x[k + j] w[j] for all k, with zeros around x."""
    x = pad(x, (before, after))
    if x.dtype.is_complex:
        a, b, c, d = x.real, x.imag, w.real, w.imag
        n = w._shape[0]
        ac = _sliding_real(a, c, n)
        bd = _sliding_real(b, d, n)
        return join_parts(ac - bd, _sliding_real(a, d, n) + _sliding_real(b, c, n))
    return _sliding_real(x, w, w._shape[0])


def _sliding_real(x: Tensor, w: Tensor, n: int) -> Tensor:
    if x.dtype.is_floating_point:
        return conv1d(x.reshape((1, 1, -1)), w.reshape((1, 1, -1))).reshape((-1,))
    count = x._shape[0] - n + 1
    places = arange(count, device=x.device).unsqueeze(1) + arange(n, device=x.device)
    taken = x.index_select(0, places.reshape((-1,))).reshape((count, n))
    return (taken * w).sum(1).to(x.dtype)


def _by_mode(op: str, x: Tensor, w: Tensor, mode: str) -> Tensor:
    """Sliding products of the longer x with the shorter w."""
    m = w._shape[0]
    skipped = (m - 1) // 2  # NumPy's choice of the middle when m is even
    margins = {"full": (m - 1, m - 1), "same": (m - 1 - skipped, skipped), "valid": (0, 0)}
    if mode not in margins:
        raise ValueError(message(op, 'mode "full", "same" or "valid"', repr(mode)))
    return _sliding_products(x, w, *margins[mode])


def _pair(op: str, a: Any, v: Any) -> tuple[Tensor, Tensor]:
    a, v = _line(op, a, "a signal"), _line(op, v, "a signal")
    dtype = promote_types(a.dtype, v.dtype)
    return a.to(dtype), v.to(dtype)


def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The discrete convolution of two signals: sum over j of a[j] v[k - j].

    Args:
      a [n], v [m]: of any dtype.
      mode: "full" gives all n + m - 1 overlaps, "same" the max(n, m) middle ones, "valid" the
        max(n, m) - min(n, m) + 1 complete ones.
    Raises:
      ShapeError: an operand is not [n] with n >= 1.
    Example:
      >>> convolve(tensor([1.0, 2.0, 3.0]), tensor([0.0, 1.0, 0.5]))
      tensor([0.0000, 1.0000, 2.5000, 4.0000, 1.5000])
    """
    a, v = _pair("convolve", a, v)
    if a._shape[0] < v._shape[0]:
        a, v = v, a
    return _by_mode("convolve", a, flip(v, 0), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The cross-correlation of two signals: sum over j of a[j + k] conj(v[j]).

    Example:
      >>> correlate(tensor([1.0, 2.0, 3.0]), tensor([0.0, 1.0, 0.5]), "same")
      tensor([2.0000, 3.5000, 3.0000])
    """
    a, v = _pair("correlate", a, v)
    v = conj(v)
    if a._shape[0] < v._shape[0]:
        return flip(_by_mode("correlate", v, a, mode), 0)
    return _by_mode("correlate", a, v, mode)


# ---- interpolation and places ----


def interp(
    x: Any,
    xp: Any,
    fp: Any,
    left: Any = None,
    right: Any = None,
    period: float | None = None,
) -> Tensor:
    """The values at x of the line through the points (xp, fp).

    Args:
      x: places to evaluate at.
      xp [n]: ascending, unless a period is given.
      fp [n]: real or complex values.
      left, right: the values beyond the ends; default fp[0] and fp[-1].
      period: the points are repeated with it; left and right do not count then.
    Raises:
      ShapeError: xp and fp are not both [n], n >= 1.
    Notes: differentiable in x, xp, fp, left and right.
    Example:
      >>> interp(tensor([0.5, 2.0, 9.0]), tensor([0.0, 1.0, 3.0]), tensor([0.0, 10.0, 30.0]))
      tensor([ 5., 20., 30.])
    """
    x = _floating(operand("interp", x))
    xp, fp = _floating(_line("interp", xp, "xp")), _floating(_line("interp", fp, "fp"))
    if xp._shape != fp._shape:
        raise ShapeError(message("interp", f"fp of xp's shape {list(xp._shape)}", list(fp._shape)))
    if period is not None:
        if period == 0:
            raise ValueError(message("interp", "a period other than 0", period))
        period = abs(period)
        x, xp = x % period, xp % period
        order = xp.detach().argsort()
        xp, fp = xp.index_select(0, order), fp.index_select(0, order)
        xp = cat([xp[-1:] - period, xp, xp[:1] + period])
        fp = cat([fp[-1:], fp, fp[:1]])
        left = right = None
    n = xp._shape[0]
    inside = fp[0] + (x * 0).to(promote_types(x.dtype, fp.dtype))
    if n > 1:
        flat = x.detach().reshape((-1,))
        after = searchsorted(xp.detach(), flat, right=True).clamp(1, n - 1)

        def at(points: Tensor, places: Tensor) -> Tensor:
            return points.index_select(0, places).reshape(x._shape)

        x0, x1, f0, f1 = at(xp, after - 1), at(xp, after), at(fp, after - 1), at(fp, after)
        width = x1 - x0
        share = (x - x0) / where(width == 0, 1, width)
        inside = f0 + share * (f1 - f0)
    # where the line is continued, its slope does not count either
    below = where(x < xp[0], fp[0] if left is None else left, inside)
    return where(x > xp[-1], fp[-1] if right is None else right, below)


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin that each element falls into.

    Bin i holds bins[i-1] <= x < bins[i] for ascending bins, bins[i-1] > x >= bins[i] for descending
    ones; with right the other ends belong to a bin.

    Args:
      x: any shape. bins [n]: ascending or descending.
    Returns:
      [same as x] int64, from 0 to n.
    Example:
      >>> digitize(tensor([0.2, 6.4, 3.0]), tensor([0.0, 1.0, 2.5, 4.0]))
      tensor([1, 4, 3])
    """
    x, bins = operand("digitize", x), _line("digitize", bins, "bins")
    flat = x.reshape((-1,))
    up = searchsorted(bins, flat, right=not right)
    down = bins._shape[0] - searchsorted(flip(bins, 0), flat, right=not right)
    return where(bins[0] <= bins[-1], up, down).reshape(x._shape)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences between neighbours of the flattened tensor, with other values around them.

    Example:
      >>> ediff1d(tensor([1, 2, 4, 7]), to_begin=-9)
      tensor([-9,  1,  2,  3])
    """
    flat = operand("ediff1d", ary).reshape((-1,))
    n = flat._shape[0]
    inner = narrow(flat, 0, 1, n - 1) - narrow(flat, 0, 0, n - 1) if n else flat
    parts = [
        part if part is inner else operand("ediff1d", part).to(flat.dtype).reshape((-1,))
        for part in (to_begin, inner, to_end)
        if part is not None
    ]
    return cat(parts) if len(parts) > 1 else inner


# ---- functions of functions ----


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """Each element by the function of the last condition that holds for it.

    Args:
      condlist: one condition of x's shape or a list of them.
      funclist: for each condition a number or a function of x (and of args and kw); one more is
        for elements without a condition, which are 0 otherwise.
    Returns:
      [same as x], in x's dtype.
    Raises:
      ValueError: the numbers of conditions and functions do not fit.
    Notes: every function sees all of x, and the results are chosen between, so that conditions may
      be traced.
    Example:
      >>> x = tensor([-2.0, 0.5, 3.0])
      >>> piecewise(x, [x < 0, x > 1], [lambda x: -x, 1.0, 0.0])
      tensor([2., 0., 1.])
    """
    x = operand("piecewise", x)
    conditions = [condlist] if isinstance(condlist, Tensor) else list(condlist)
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ValueError(
            message(
                "piecewise",
                f"{len(conditions)} or {len(conditions) + 1} functions",
                len(funclist),
            )
        )

    def value(function: Any) -> Any:
        return function(x, *args, **kw) if callable(function) else function

    out = zeros_like(x)
    if len(funclist) > len(conditions):
        out = (out + value(funclist[-1])).to(x.dtype)
    for condition, function in zip(conditions, funclist, strict=False):
        out = where(operand("piecewise", condition), value(function), out).to(x.dtype)
    return out


def polyval(p: Any, x: Any) -> Tensor:
    """The polynomial p[0] x^(n-1) + ... + p[n-1], by Horner's rule.

    Args:
      p [n]: the coefficients, the highest power first. x: any shape.
    Example:
      >>> polyval(tensor([3.0, 0.0, 1.0]), tensor([1.0, 2.0]))
      tensor([ 4., 13.])
    """
    p, x = operand("polyval", p), operand("polyval", x)
    if p.ndim != 1:
        raise ShapeError(message("polyval", "coefficients of shape [n]", list(p._shape)))
    out = (x * 0).to(result_type(p, x))
    for k in range(p._shape[0]):
        out = out * x + p[k]
    return out


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Tensor:
    """func1d of every 1-d slice along an axis, all at once (by vmap).

    Args:
      func1d: [n] -> a tensor of any shape.
    Returns:
      arr's shape with the axis replaced by the shape of func1d's results.
    Example:
      >>> apply_along_axis(lambda row: row.max() - row.min(), 1, tensor([[1, 5], [2, 3]]))
      tensor([4, 1])
    """
    arr = operand("apply_along_axis", arr)
    d = wrap_dim("apply_along_axis", axis, arr.ndim)
    if not arr.ndim:
        raise ShapeError(message("apply_along_axis", "at least one dimension", "a 0-d tensor"))
    lines = arr.movedim(d, -1)
    lead = lines._shape[:-1]
    flat = lines.reshape((-1, lines._shape[-1]))
    out = vmap(lambda line: func1d(line, *args, **kwargs))(flat)
    out = out.reshape((*lead, *out._shape[1:]))
    inner = out.ndim - len(lead)
    # the new dimensions stand behind the others: move them to where the axis was
    return out.movedim(tuple(range(len(lead), len(lead) + inner)), tuple(range(d, d + inner)))
