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
from .creation import zeros
from .extremes import _two, pair
from .join import _pad, cat
from .reduce import _code, _holed, _sum
from .ternary import where

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "diff",
    "logcumsumexp",
    "trapezoid",
    "trapz",
]


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


def _cumprod_jvp(tangents: Any, _out: Tensor, x: Tensor, *, dim: int) -> Tensor:
    return (
        _sum(
            _cumprod_jacobian(x, dim) * tangents[0].movedim(dim, -1).unsqueeze(-2),
            dims=(x.ndim,),
            keepdim=False,
        ).movedim(-1, dim)
        if x.ndim
        else tangents[0]
    )


def _cumprod_vjp(ct: Tensor, _out: Tensor, x: Tensor, *, dim: int) -> tuple[Tensor]:
    if not x.ndim:
        return (ct,)
    weights = _cumprod_jacobian(x, dim).conj()
    return (
        _sum(
            weights * ct.movedim(dim, -1).unsqueeze(-1), dims=(x.ndim - 1,), keepdim=False
        ).movedim(-1, dim),
    )


def _cumprod_jacobian(x: Tensor, dim: int) -> Tensor:
    """d out[i] / d x[j] as [..., i, j]: the product of x[k], k <= i, k != j.

    Quadratic in the length, exact at zeros.
    """
    from .creation import eye, ones

    rows = x.movedim(dim, -1)
    n = rows.shape[-1]
    identity = eye(n, dtype="bool", device=x.device)
    others = where(identity, 1, rows.unsqueeze(-2))  # [..., j, k]: row j has a 1 in place of x[j]
    products = _cumprod(others, dim=others.ndim - 1).transpose(-1, -2)  # [..., i, j]
    lower = ones(n, n, dtype="bool", device=x.device).tril()
    return where(lower, products, 0)


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


def _shifted(x: Tensor, dim: int, by: int) -> Tensor:
    """The element `by` places further along dim, 0 beyond the end; `by` may be negative."""
    amounts = [0] * (2 * (x.ndim - dim))
    amounts[-2:] = [-by, by]
    return _pad(x, pad=tuple(amounts), value=0)


def _decayed_sums(x: Tensor, level: Tensor, dim: int, direction: int) -> Tensor:
    """sum of x[i] exp(-|level[i] - level[j]|) over i from j on in a direction.

    For a level that rises along dim.

    By doubling: log2(n) passes; every factor is at most 1, and the result is linear in x.
    """
    n, by = x._shape[dim], 1
    while by < n:
        step = by * direction
        gap = (level - _shifted(level, dim, step)) * direction
        inside = _shifted(x * 0 + 1, dim, step)
        x = x + where(inside != 0, gap, 0).exp() * _shifted(x, dim, step)
        by *= 2
    return x


def _levels(x: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """out without -inf, and exp(x - out)."""
    level = where(out == -float("inf"), finfo(out.dtype).min, out)
    return level, (x - level).exp()


def _logcumsumexp_vjp(ct: Tensor, out: Tensor, x: Tensor, *, dim: int) -> tuple[Tensor]:
    if not x.ndim:
        return (ct,)
    level, share = _levels(x, out)
    return (share * _decayed_sums(ct, level, dim, 1),)


def _logcumsumexp_jvp(tangents: Any, out: Tensor, x: Tensor, *, dim: int) -> Tensor:
    if not x.ndim:
        return tangents[0]
    level, share = _levels(x, out)
    return _decayed_sums(tangents[0] * share, level, dim, -1)


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
