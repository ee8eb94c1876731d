"""Writing by index out of place: scatter_reduce, and composites of index_put and index_write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import iinfo
from ..errors import DTypeError, ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import state
from .creation import ones_like, zeros, zeros_like
from .diagonals import _diagonal_write
from .family import operand
from .fill import in_place
from .gather import _ALONG, _along_batch, _gather_dim, _scatter, _scatter_add, _scatter_impl
from .index import _parse, index_put, nonzero
from .index_entries import _basic, _put, _write
from .ternary import where
from .views import broadcast_tensors

__all__ = [
    "diagonal_scatter", "index_copy", "index_fill", "masked_scatter", "put", "scatter_reduce",
    "select_scatter", "slice_scatter",
]  # fmt: skip

# ---- scatter_reduce: index and src have the same shape here ----


def _others(index: Tensor, src: Tensor, like: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """For each place the product of what goes there, and for each element that of all others."""
    zero = src == 0
    nonzero_product = _scatter_prod(ones_like(like), index, where(zero, 1, src), dim=dim)
    count = _scatter_add(zeros_like(like), index, zero.to(like.dtype), dim=dim)
    picked, zeros_there = (_gather_dim(a, index, dim=dim) for a in (nonzero_product, count))
    rest = where(zeros_there == 0, picked / where(zero, 1, src), picked)
    rest = where((zeros_there == 0) | ((zeros_there == 1) & zero), rest, 0)
    return where(count == 0, nonzero_product, 0), rest


def _prod_vjp(
    ct: Tensor, _out: Tensor, x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> tuple[Any, ...]:
    product, rest = _others(index, src, x, dim)
    return ct * product, None, _gather_dim(ct * x, index, dim=dim) * rest


def _prod_jvp(
    tangents: Sequence[Any], _out: Tensor, x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> Tensor:
    product, rest = _others(index, src, x, dim)
    total = zeros_like(x) if tangents[0] is None else tangents[0] * product
    if tangents[2] is not None:
        total = total + x * _scatter_add(zeros_like(x), index, tangents[2] * rest, dim=dim)
    return total


_scatter_prod = Op(
    "scatter_prod",
    _scatter_impl(2),
    vjp=_prod_vjp,
    jvp=_prod_jvp,
    batch=_along_batch(lambda: _scatter_prod),
    family="index",
)


def _shares(out: Tensor, x: Tensor, index: Tensor, src: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The share of the result that x has, and that each element of src has: even on ties."""
    kept = (x == out).to(out.dtype)
    won = (src == _gather_dim(out, index, dim=dim)).to(out.dtype)
    count = _scatter_add(kept, index, won, dim=dim)
    return kept / count, won / _gather_dim(count, index, dim=dim)


def _extreme_vjp(
    ct: Tensor, out: Tensor, x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> tuple[Any, ...]:
    kept, won = _shares(out, x, index, src, dim)
    return ct * kept, None, _gather_dim(ct, index, dim=dim) * won


def _extreme_jvp(
    tangents: Sequence[Any], out: Tensor, x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> Tensor:
    kept, won = _shares(out, x, index, src, dim)
    total = zeros_like(x) if tangents[0] is None else tangents[0] * kept
    if tangents[2] is not None:
        total = _scatter_add(total, index, tangents[2] * won, dim=dim)
    return total


def _extreme(name: str, mode: int) -> Op:
    op = Op(
        name,
        _scatter_impl(mode),
        vjp=_extreme_vjp,
        jvp=_extreme_jvp,
        batch=_along_batch(lambda: op),
        family="index",
    )
    return op


_scatter_amax, _scatter_amin = _extreme("scatter_amax", 3), _extreme("scatter_amin", 4)


def _samples(make: Any) -> list[Any]:
    return [
        call(make(*shape), make.index(shape[dim] if shape else 1, *index), make(*index), dim=dim)
        for shape, dim, index in _ALONG
    ]


for _op in (_scatter_prod, _scatter_amax, _scatter_amin):
    sampled(_op, _samples, kinds="int float")


def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x with src reduced into the places of scatter().

    Args:
      reduce: "sum", "prod", "mean", "amax" or "amin".
      include_self: do the elements of x take part?
    Raises:
      DimError: a place out of range.
    Example:
      >>> scatter_reduce(tensor([1, 2]), 0, tensor([0, 0, 1]), tensor([3, 4, 5]), "amax")
      tensor([4, 5])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        wanted = 'reduce "sum", "prod", "mean", "amax" or "amin"'
        raise ValueError(message("scatter_reduce", wanted, repr(reduce)))
    if src.dtype is not x.dtype:
        wanted = f"a source of the tensor's dtype {x.dtype}"
        raise DTypeError(message("scatter_reduce", wanted, src.dtype, "Cast it."))
    d = wrap_dim("scatter_reduce", dim, x.ndim)
    if src._shape != index._shape:
        src = src[tuple([slice(n) for n in index._shape])]
    if not include_self:
        start = _start(reduce, x.dtype)
        fill = zeros(index._shape, dtype=x.dtype, device=x.device) + start
        x = _scatter(x, index, fill.to(x.dtype), dim=d)
    if reduce == "sum":
        return _scatter_add(x, index, src, dim=d)
    if reduce == "mean":
        total = _scatter_add(x, index, src, dim=d)
        count = ones_like(x)
        if not include_self:
            nothing = zeros(index._shape, dtype=x.dtype, device=x.device)
            count = _scatter(count, index, nothing, dim=d)
        count = _scatter_add(count, index, ones_like(src), dim=d)
        count = where(count == 0, 1, count)
        return total / count if x.dtype.is_inexact else total // count
    op = {"prod": _scatter_prod, "amax": _scatter_amax, "amin": _scatter_amin}[reduce]
    return op(x, index, src, dim=d)


def _start(reduce: str, dtype: Any) -> Any:
    """What a reduction begins with."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.name == "bool":
        return reduce == "amin"
    if dtype.is_floating_point:
        return -float("inf") if reduce == "amax" else float("inf")
    limits = iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


# ---- composites of index_put ----


def _along(op: str, x: Tensor, dim: int, index: Tensor, value: Tensor) -> Tensor:
    """A copy of x with values [places, ...] at a vector of places along a dim."""
    d = wrap_dim(op, dim, x.ndim)
    if index.ndim > 1:
        raise ShapeError(message(op, "places in one dimension", list(index._shape)))
    index = index.reshape((-1,))
    rows = x if x.ndim else x.reshape((1,))
    out = _put(rows, value, index, dims=(d,), accumulate=False)
    return out if x.ndim else out.reshape(())


def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of x with a value in the slices at the places in a 1-d index, along dim.

    Example:
      >>> index_fill(tensor([1, 2, 3]), 0, tensor([0, 2]), 9)
      tensor([9, 2, 9])
    """
    value = operand("index_fill", value)
    if value.ndim:
        raise ShapeError(message("index_fill", "a number or a 0-d tensor", list(value._shape)))
    return _along("index_fill", x, dim, index, value.to(x.dtype))


def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of x with source's slices at the places in a 1-d index, along dim."""
    if source.dtype is not x.dtype:
        wanted = f"a source of the tensor's dtype {x.dtype}"
        raise DTypeError(message("index_copy", wanted, source.dtype, "Cast it."))
    d = wrap_dim("index_copy", dim, x.ndim)
    wanted_shape = list(x._shape)
    if x.ndim:
        wanted_shape[d] = index.numel()
    if source.ndim and list(source._shape) != wanted_shape:
        wanted = f"a source of shape {wanted_shape}"
        raise ShapeError(message("index_copy", wanted, list(source._shape)))
    return _along("index_copy", x, dim, index, source)


def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with source's elements at places of the flattened tensor; added with accumulate.

    Example:
      >>> put(tensor([[1, 2], [3, 4]]), tensor([3]), tensor([9]))
      tensor([[1, 2],
              [3, 9]])
    """
    if source.dtype is not x.dtype:
        wanted = f"a source of the tensor's dtype {x.dtype}"
        raise DTypeError(message("put", wanted, source.dtype, "Cast it."))
    values, places = source.reshape((source.numel(),)), index.reshape((index.numel(),))
    flat = x.reshape((x.numel(),))
    return _put(flat, values, places, dims=(0,), accumulate=accumulate).reshape(x._shape)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of x with source's elements, in order, where the mask holds.

    Raises:
      ShapeError: the source has too few elements.
    Example:
      >>> masked_scatter(tensor([1, 2, 3]), tensor([True, False, True]), tensor([8, 9]))
      tensor([8, 2, 9])
    """
    if mask.dtype.name != "bool":
        raise DTypeError(message("masked_scatter", "a bool mask", mask.dtype, "Compare first."))
    if source.dtype is not x.dtype:
        wanted = f"a source of the tensor's dtype {x.dtype}"
        raise DTypeError(message("masked_scatter", wanted, source.dtype, "Cast it."))
    if x._shape != mask._shape:
        x, mask = broadcast_tensors(x, mask)
    flat = mask.reshape((mask.numel(),))
    n = source.numel()
    if mask._v and not mask.is_meta and state.trace is None:
        places = nonzero(flat).select(1, 0)
        count = places._shape[0]
        if count > n:
            wanted = f"a source of at least {count} elements"
            raise ShapeError(message("masked_scatter", wanted, n))
        values = source.reshape((n,)).narrow(0, 0, count)
        return index_put(x.reshape(flat._shape), (places,), values).reshape(x._shape)
    if not n:
        return x.clone()
    order = (flat.cumsum(0) - 1).clamp(0, n - 1)
    picked = source.reshape((n,)).index_select(0, order)
    return where(mask, picked.reshape(x._shape), x)


# ---- composites of index_write: the views' other way round ----


def _written(op: str, x: Tensor, src: Tensor, index: tuple[Any, ...]) -> Tensor:
    spec = tuple(_parse(x, index)[0])
    shape = _basic(x.detach(), spec=spec)._shape
    if src._shape != shape:
        raise ShapeError(message(op, f"a source of shape {list(shape)}", list(src._shape)))
    return _write(x, src, spec=spec)


def select_scatter(x: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of x with src in place of select(dim, index)."""
    d = wrap_dim("select_scatter", dim, x.ndim)
    return _written("select_scatter", x, src, ((slice(None),) * d + (index,)))


def slice_scatter(
    x: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of x with src in place of x[start:end:step] along dim."""
    d = wrap_dim("slice_scatter", dim, x.ndim)
    return _written("slice_scatter", x, src, ((slice(None),) * d + (slice(start, end, step),)))


def diagonal_scatter(
    x: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of x with src in place of diagonal(offset, dim1, dim2)."""
    a, b = (wrap_dim("diagonal_scatter", d, x.ndim) for d in (dim1, dim2))
    shape = x.detach().diagonal(offset, a, b)._shape
    if src._shape != shape:
        wanted = f"a source of shape {list(shape)}"
        raise ShapeError(message("diagonal_scatter", wanted, list(src._shape)))
    return _diagonal_write(x, src.to(x.dtype), offset=offset, a=a, b=b)


for _f in (
    scatter_reduce, index_fill, index_copy, put, masked_scatter, select_scatter, slice_scatter,
    diagonal_scatter,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
for _f in (scatter_reduce, index_fill, index_copy, put, masked_scatter):
    setattr(Tensor, _f.__name__ + "_", in_place(_f))
