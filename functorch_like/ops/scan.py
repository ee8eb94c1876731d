"""Scans: what a reduction has come to at each place along a dim.

Also differences, and integrals by trapezoids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cbackend import lib

from ..dtypes import as_dtype, finfo
from ..errors import DTypeError, ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .creation import zeros, zeros_like
from .extremes import _two, pair
from .family import fronted
from .join import _pad, cat
from .reduce import _code, _holed
from .ternary import where

__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "logcumsumexp",
    "trapezoid", "trapz",
]  # fmt: skip


def _scan(name: str, *, vjp: Any, jvp: Any) -> Op:
    code = _code(name, b"scan")
    op = Op(
        name,
        lambda x, *, dim: lib.cb_scan(code, x._v, dim, -1),
        vjp=vjp,
        jvp=jvp,
        batch=lambda _size, _batched, x, *, dim: x if x.ndim == 1 else op(x, dim=dim + 1),
        family="scan",
    )
    return op


def _lines(make: Any) -> list[Any]:
    """What scans are tested on."""
    return [
        call(make(3, 4), dim=1),
        call(_holed(make, 4, 2, 3), dim=0),
        call(make(), dim=0),
        call(make(0, 3), dim=0),
        call(make(5), dim=0),
    ]


def _reversed_sum(x: Tensor, dim: int) -> Tensor:
    return _cumsum(x.flip(dim), dim=dim).flip(dim) if x.ndim else x


_cumsum = _scan(
    "cumsum",
    vjp=lambda ct, _out, _x, *, dim: (_reversed_sum(ct, dim),),
    jvp=lambda tangents, _out, _x, *, dim: _cumsum(tangents[0], dim=dim),
)
sampled(
    _cumsum,
    _lines,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dim: np.cumsum(x, axis=dim) if x.ndim else x,
)


# ---- linear recurrences, of which derivatives of other scans are made ----


def _shifted(x: Tensor, dim: int, by: int, beyond: float = 0) -> Tensor:
    """The element `by` places further along dim, `beyond` past the end; `by` may be negative."""
    amounts = [0] * (2 * (x.ndim - dim))
    amounts[-2:] = [-by, by]
    return _pad(x, pad=tuple(amounts), value=beyond)


def _recurrence_vjp(
    ct: Tensor, out: Tensor, a: Tensor, _b: Tensor, *, dim: int, transposed: bool, needs: Any
) -> tuple[Tensor | None, Tensor]:
    gb = _recurrence(a.conj(), ct, dim=dim, transposed=not transposed)
    if not needs[0]:
        return None, gb
    if not out.ndim:
        return gb * 0, gb
    g, y = (_shifted(gb, dim, -1), out) if transposed else (gb, _shifted(out, dim, -1))
    return g * y.conj(), gb


def _recurrence_jvp(
    tangents: Any, out: Tensor, a: Tensor, _b: Tensor, *, dim: int, transposed: bool
) -> Tensor:
    ta, tb = tangents
    if ta is not None and out.ndim:
        moved = _shifted(ta * out, dim, 1) if transposed else ta * _shifted(out, dim, -1)
        tb = moved if tb is None else tb + moved
    return zeros_like(out) if tb is None else _recurrence(a, tb, dim=dim, transposed=transposed)


def _recurrence_batch(
    size: int, batched: Any, a: Tensor, b: Tensor, *, dim: int, transposed: bool
) -> Tensor:
    a, b = fronted(size, batched, (a, b))
    return b if b.ndim == 1 else _recurrence(a, b, dim=dim + 1, transposed=transposed)


# y[i] = a[i] y[i - 1] + b[i] along dim, y[0] = b[0]; transposed: y[i] = a[i + 1] y[i + 1] + b[i]
_recurrence = Op(
    "recurrence",
    lambda a, b, *, dim, transposed: lib.cb_recurrence(a._v, b._v, dim, transposed),
    vjp=_recurrence_vjp,
    jvp=_recurrence_jvp,
    batch=_recurrence_batch,
    family="scan",
)


def _recurrence_oracle(np: Any, a: Any, b: Any, *, dim: int, transposed: bool) -> Any:
    if not b.ndim:
        return b
    a, b = np.moveaxis(a, dim, 0), np.moveaxis(b, dim, 0)
    y = b.copy()
    for i in range(len(b) - 2, -1, -1) if transposed else range(1, len(b)):
        y[i] += a[i + 1] * y[i + 1] if transposed else a[i] * y[i - 1]
    return np.moveaxis(y, 0, dim)


sampled(
    _recurrence,
    lambda make: [
        call(make(*shape), make(*shape), dim=dim, transposed=transposed)
        for shape, dim in (((3, 4), 1), ((4, 2, 3), 0), ((11, 5), 1), ((), 0), ((0, 3), 0))
        for transposed in (False, True)
    ],
    kinds="float complex",
    oracle=_recurrence_oracle,
)


def _cumprod_jvp(tangents: Any, out: Tensor, x: Tensor, *, dim: int) -> Tensor:
    if not x.ndim:
        return tangents[0]
    before = _shifted(out, dim, -1, 1)
    return _recurrence(x, tangents[0] * before, dim=dim, transposed=False)


def _cumprod_vjp(ct: Tensor, out: Tensor, x: Tensor, *, dim: int) -> tuple[Tensor]:
    """The product before x[j] times the sum of ct[i] x[j + 1] ... x[i]: no division."""
    if not x.ndim:
        return (ct,)
    after = _recurrence(x.conj(), ct, dim=dim, transposed=True)
    return (after * _shifted(out, dim, -1, 1).conj(),)


_cumprod = _scan("cumprod", vjp=_cumprod_vjp, jvp=_cumprod_jvp)
sampled(
    _cumprod,
    _lines,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dim: np.cumprod(x, axis=dim) if x.ndim else x,
)


def cumsum(x: Tensor, dim: int | None = None, *, dtype: Any = None, **options: Any) -> Tensor:
    """The sums of the elements up to each place along dim.

    Example:
      >>> cumsum(tensor([1, 2, 3]), dim=0)
      tensor([1, 3, 6])
    """
    dim = options.get("axis", dim)
    x = x if dtype is None else x.to(as_dtype(dtype))
    return _cumsum(x, dim=wrap_dim("cumsum", 0 if dim is None else dim, x.ndim))


def cumprod(x: Tensor, dim: int | None = None, *, dtype: Any = None, **options: Any) -> Tensor:
    """The products of the elements up to each place along dim."""
    dim = options.get("axis", dim)
    x = x if dtype is None else x.to(as_dtype(dtype))
    return _cumprod(x, dim=wrap_dim("cumprod", 0 if dim is None else dim, x.ndim))


# ---- logcumsumexp ----


def _decay(x: Tensor, out: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """exp(x - out), and from the second place on how the shares of earlier items shrink."""
    level = where(out == -float("inf"), finfo(out.dtype).min, out)
    n = level._shape[dim]
    steps = level.narrow(dim, 0, max(n - 1, 0)) - level.narrow(dim, min(n, 1), max(n - 1, 0))
    edge = zeros_like(level.narrow(dim, 0, min(n, 1)))
    return (x - level).exp(), cat([edge, steps.exp()], dim)


def _logcumsumexp_vjp(ct: Tensor, out: Tensor, x: Tensor, *, dim: int) -> tuple[Tensor]:
    if not x.ndim:
        return (ct,)
    share, decay = _decay(x, out, dim)
    return (share * _recurrence(decay, ct, dim=dim, transposed=True),)


def _logcumsumexp_jvp(tangents: Any, out: Tensor, x: Tensor, *, dim: int) -> Tensor:
    if not x.ndim:
        return tangents[0]
    share, decay = _decay(x, out, dim)
    return _recurrence(decay, tangents[0] * share, dim=dim, transposed=False)


_logcumsumexp = _scan("logcumsumexp", vjp=_logcumsumexp_vjp, jvp=_logcumsumexp_jvp)
sampled(
    _logcumsumexp,
    _lines,
    oracle=lambda np, x, *, dim: np.logaddexp.accumulate(x, dim) if x.ndim else x,
)


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))) along dim, without overflow.

    Example:
      >>> logcumsumexp(tensor([0.0, 0.0]), dim=0)
      tensor([0.0000, 0.6931])
    """
    if not x.dtype.is_inexact:
        raise DTypeError(
            message("logcumsumexp", "a floating tensor", x.dtype, "Cast with .float().")
        )
    return _logcumsumexp(x, dim=wrap_dim("logcumsumexp", dim, x.ndim))


# ---- cummax, cummin ----


def _added_at(ct: Tensor, spec: Any, indices: Tensor, dim: int) -> Tensor:
    if not spec.shape:
        return ct
    return zeros(spec.shape, dtype=ct.dtype, device=ct.device).scatter_add(dim, indices, ct)


def _indexed_scan(name: str) -> Op:
    code = _code(name, b"scan")

    def batch(_size: int, _batched: Any, x: Tensor, *, dim: int) -> Any:
        if x.ndim == 1:  # 0-d lanes
            return x, zeros(x._shape, dtype="int64", device=x.device)
        return op(x, dim=dim + 1)

    op = Op(
        name,
        lambda x, *, dim: _two(lib.cb_scan_with_index, code, x._v, dim),
        vjp=lambda ct, out, x_spec, *, dim: (_added_at(ct[0], x_spec, out[1], dim),),
        jvp=lambda tangents, out, x, *, dim: (
            tangents[0].gather(dim, out[1]) if x.ndim else tangents[0],
            None,
        ),
        batch=batch,
        nouts=2,
        family="scan",
    )
    return op


def _untied(make: Any) -> list[Any]:
    return [case if case[0][0].ndim < 3 else call(make(4, 2, 3), dim=0) for case in _lines(make)]


_cummax, _cummin = _indexed_scan("cummax"), _indexed_scan("cummin")


def _extreme_oracle(name: str) -> Callable[..., Any]:
    def oracle(np: Any, x: Any, *, dim: int) -> Any:
        if not x.ndim:
            return x, np.zeros((), "int64")
        values = getattr(np, name).accumulate(x, dim)
        places = np.arange(x.shape[dim]).reshape([-1 if d == dim else 1 for d in range(x.ndim)])
        return values, np.maximum.accumulate(np.where(x == values, places, 0), dim)

    return oracle


sampled(_cummax, _untied, kinds="bool int float", oracle=_extreme_oracle("maximum"))
sampled(_cummin, _untied, kinds="bool int float", oracle=_extreme_oracle("minimum"))


def cummax(x: Tensor, dim: int) -> Any:
    """The largest element up to each place along dim, and its index: (values, indices).

    On ties the last one.

    Example:
      >>> cummax(tensor([1, 3, 2]), dim=0).values
      tensor([1, 3, 3])
    """
    return pair(*_cummax(x, dim=wrap_dim("cummax", dim, x.ndim)))


def cummin(x: Tensor, dim: int) -> Any:
    """The smallest element up to each place along dim, and its index: (values, indices).

    On ties the last one.
    """
    return pair(*_cummin(x, dim=wrap_dim("cummin", dim, x.ndim)))


# ---- differences and integrals ----


def diff(
    x: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The n-th differences of neighbours along a dim; of bools whether they differ.

    Args:
      prepend, append: tensors to join to the ends first.
    Example:
      >>> diff(tensor([1, 4, 9]))
      tensor([3, 5])
    """
    if not x.ndim:
        raise ShapeError(message("diff", "at least one dimension", "a 0-d tensor"))
    if n < 0:
        raise ValueError(message("diff", "n of at least 0", n))
    d = wrap_dim("diff", dim, x.ndim)
    if n and (prepend is not None or append is not None):
        x = cat([p for p in (prepend, x, append) if p is not None], d)
    for _ in range(n):
        size = max(x._shape[d] - 1, 0)
        later, earlier = x.narrow(d, min(1, x._shape[d]), size), x.narrow(d, 0, size)
        x = later ^ earlier if x.dtype.name == "bool" else later - earlier
    return x


def _panels(op: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    """The areas of the trapezoids, and the dim."""
    d = wrap_dim(op, dim, y.ndim)
    if x is not None:
        if x.ndim == 1 and y.ndim > 1:
            x = x.reshape([-1 if k == d else 1 for k in range(y.ndim)])
        dx = diff(x, dim=d - y.ndim)  # type: ignore[arg-type]
    size = max(y._shape[d] - 1, 0)
    return (y.narrow(d, min(1, y._shape[d]), size) + y.narrow(d, 0, size)) * dx / 2, d


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral of y along a dim by the trapezoidal rule, at places x or with a distance dx.

    Example:
      >>> trapezoid(tensor([1.0, 2.0, 3.0]))
      tensor(4.)
    """
    if x is None and y.ndim and y._shape[dim]:
        ends = y.select(dim, 0) + y.select(dim, -1)
        return (y.sum(dim) - ends * 0.5) * dx
    panels, d = _panels("trapezoid", y, x, dx, dim)
    return panels.sum(d)


trapz = trapezoid


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1
) -> Tensor:
    """trapezoid() up to each place, from the second one on."""
    panels, d = _panels("cumulative_trapezoid", y, x, dx, dim)
    return _cumsum(panels, dim=d)


for _f in (cumsum, cumprod, logcumsumexp, cummax, cummin, diff):
    setattr(Tensor, _f.__name__, _f)
