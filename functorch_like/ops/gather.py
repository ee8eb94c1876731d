"""Gather and scatter along one dim, and whole slices along one: index_select, index_add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import check, lib, plain

from .. import mutation
from ..dtypes import int64
from ..errors import DTypeError, ShapeError, message
from ..op import Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import active, clock, state
from .creation import arange, full, zeros
from .family import align, fronted
from .index_entries import _ANY, _FAMILY, _embed, _gather, _or_zeros, _put, _zeros
from .index_plain import are_plain
from .ternary import where
from .views import _reshape, broadcast_shapes

__all__ = [
    "embedding", "gather", "index_add", "index_select", "scatter", "scatter_add", "take_along_dim",
]  # fmt: skip


def _along_batch(op: Any) -> Any:
    """The mapped dimension in front of every operand: dims shift by one."""

    def batch(size: int, batched: Sequence[bool], *args: Tensor, dim: int, **params: Any) -> Tensor:
        lanes = fronted(size, batched, args)
        if lanes[0].ndim == 1:  # 0-d lanes
            lanes = [a.unsqueeze(1) for a in lanes]
            return op()(*lanes, dim=1, **params).squeeze(1)
        return op()(*lanes, dim=dim + 1, **params)

    return batch


_gather_dim = Op(
    "gather",
    lambda x, index, *, dim: lib.cb_gather(x._v, dim, index._v),
    vjp=lambda ct, _out, x_spec, index, *, dim: (_zeros_scatter(ct, x_spec, index, dim), None),
    jvp=lambda tangents, _out, _x, index, *, dim: _gather_dim(tangents[0], index, dim=dim),
    batch=_along_batch(lambda: _gather_dim),
    family=_FAMILY,
)
_ALONG: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = [
    ((3, 4), 0, (2, 4)),
    ((3, 4), 1, (2, 6)),
    ((2, 3, 4), 1, (2, 2, 3)),
    ((5,), 0, (7,)),
    ((), 0, ()),
    ((3, 4), 1, (3, 0)),
]
sampled(
    _gather_dim,
    lambda make: [
        call(make(*shape), make.index(shape[dim] if shape else 1, *index), dim=dim)
        for shape, dim, index in _ALONG
    ],
    kinds=_ANY,
    oracle=lambda np, x, index, *, dim: (
        np.take_along_axis(
            x[tuple([slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape)])],
            index,
            dim,
        )
        if x.ndim
        else x
    ),
)


def _zeros_scatter(ct: Tensor, spec: Spec, index: Tensor, dim: int) -> Tensor:
    return _scatter_add(_zeros(spec, ct), index, ct, dim=dim)


def _scatter_impl(mode: int) -> Any:
    def impl(x: Tensor, index: Tensor, src: Tensor, *, dim: int) -> Any:
        return lib.cb_scatter_copy(x._v, dim, index._v, src._v, mode)

    return impl


def _unnarrowed(g: Tensor, spec: Spec) -> Tensor:
    if g._shape == spec.shape:
        return g
    shape: list[int] = []
    for n in g._shape:
        shape += (1, 0, n, 1)
    return _embed(g, shape=spec.shape, spec=tuple(shape))


_scatter_add = Op(
    "scatter_add",
    _scatter_impl(1),
    vjp=lambda ct, _out, _x, index, src_spec, *, dim: (
        ct,
        None,
        _unnarrowed(_gather_dim(ct, index, dim=dim), src_spec),
    ),
    jvp=lambda tangents, _out, x, index, src, *, dim: _scatter_add(
        _or_zeros(tangents[0], x), index, _or_zeros(tangents[2], src), dim=dim
    ),
    batch=_along_batch(lambda: _scatter_add),
    family=_FAMILY,
)
sampled(
    _scatter_add,
    lambda make: [
        *[
            call(
                make(*shape), make.index(shape[dim] if shape else 1, *index), make(*index), dim=dim
            )
            for shape, dim, index in _ALONG
        ],
        call(make(3, 4), make.index(3, 2, 3), make(3, 5), dim=0),
    ],
    kinds="int float complex",
)


def _scatter_vjp(
    ct: Tensor, _out: Tensor, _x: Tensor, index: Tensor, src_spec: Spec, *, dim: int
) -> tuple[Any, ...]:
    gx = _scatter(ct, index, zeros(index._shape, dtype=ct.dtype, device=ct.device), dim=dim)
    order = arange(index.numel(), device=ct.device).reshape(index._shape)
    slots = _scatter(full(ct._shape, -1, dtype=int64, device=ct.device), index, order, dim=dim)
    lasted = (_gather_dim(slots, index, dim=dim) == order).to(ct.dtype)
    return gx, None, _unnarrowed(_gather_dim(ct, index, dim=dim) * lasted, src_spec)


_scatter = Op(
    "scatter",
    _scatter_impl(0),
    vjp=_scatter_vjp,
    jvp=lambda tangents, _out, x, index, src, *, dim: _scatter(
        _or_zeros(tangents[0], x), index, _or_zeros(tangents[2], src), dim=dim
    ),
    batch=_along_batch(lambda: _scatter),
    family=_FAMILY,
)
sampled(
    _scatter,
    lambda make: [
        *[
            call(
                make(*shape), make.index(shape[dim] if shape else 1, *index), make(*index), dim=dim
            )
            for shape, dim, index in _ALONG
        ],
        call(make(3, 4), make.index(3, 2, 3), make(3, 5), dim=0),
    ],
    kinds=_ANY,
)


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim 0, and so on: elements picked along a dim.

    Args:
      index [same rank as x]: int64 places along dim.
    Raises:
      DimError: a place out of range.
    Example:
      >>> gather(tensor([[1, 2], [3, 4]]), 1, tensor([[1], [0]]))
      tensor([[2],
              [3]])
    """
    if x._m is None and index._m is None and (not active or state.trace is None):
        h = lib.cb_gather(x._v, dim, index._v)
        if h:
            return plain(h)
    return _gather_dim(x, index, dim=wrap_dim("gather", dim, x.ndim))


def _source(op: str, x: Tensor, index: Tensor, src: Any) -> Tensor:
    if isinstance(src, Tensor):
        if src.dtype is not x.dtype:
            raise DTypeError(
                message(op, f"a source of the tensor's dtype {x.dtype}", src.dtype, "Cast it.")
            )
        return src

    return full(index._shape, src, dtype=x.dtype, device=x.device)


def scatter(x: Tensor, dim: int, index: Tensor, src: Any, *, reduce: str | None = None) -> Tensor:
    """A copy of x with out[index[i][j]][j] = src[i][j] for dim 0, and so on.

    This is gather() the other way round.

    Args:
      src: a tensor at least as large as index in every dim, or a number.
      reduce: None, "add" or "multiply".
    Raises:
      DimError: a place out of range.
    """
    if reduce is None and are_plain(x, index, src):
        h = lib.cb_scatter_copy(x._v, dim, index._v, src._v, 0)
        if h:
            return plain(h)
    source = _source("scatter", x, index, src)
    d = wrap_dim("scatter", dim, x.ndim)
    if reduce == "add":
        return _scatter_add(x, index, source, dim=d)
    if reduce is not None:
        raise ValueError(message("scatter", 'reduce None or "add"', repr(reduce)))
    return _scatter(x, index, source, dim=d)


def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of x with src added at the places of scatter()."""
    if are_plain(x, index, src):
        h = lib.cb_scatter_copy(x._v, dim, index._v, src._v, 1)
        if h:
            return plain(h)
    return _scatter_add(
        x, index, _source("scatter_add", x, index, src), dim=wrap_dim("scatter_add", dim, x.ndim)
    )


def _writes_here(name: str, x: Tensor, index: Tensor, src: Any) -> bool:
    """May x be written in memory, by tensors that have memory?"""
    tensors = [t for t in (index, src) if isinstance(t, Tensor)]
    return all(bool(t._v) for t in tensors) and mutation.writes_memory(name, x, tensors)


def scatter_(x: Tensor, dim: int, index: Tensor, src: Any, *, reduce: str | None = None) -> Tensor:
    """In-place scatter()."""
    if reduce in (None, "add") and are_plain(x, index, src):
        clock[0] += 1
        if not lib.cb_scatter(x._v, dim, index._v, src._v, reduce == "add", clock[0]):
            return x
    if reduce not in (None, "add") or not _writes_here("scatter_", x, index, src):
        return x.copy_(scatter(x, dim, index, src, reduce=reduce))
    source, d = _source("scatter_", x, index, src), wrap_dim("scatter_", dim, x.ndim)
    clock[0] += 1
    check(lib.cb_scatter(x._v, d, index._v, source._v, reduce == "add", clock[0]))
    return x


def scatter_add_(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place scatter_add()."""
    return scatter_(x, dim, index, src, reduce="add")


# ---- whole slices along one dim ----


def _select_batch(
    size: int, batched: Sequence[bool], x: Tensor, index: Tensor, *, dim: int
) -> Tensor:
    bx, bi = batched
    if not bi:
        return _index_select(x, index, dim=dim + 1)
    if not bx:  # the places of all lanes at once
        out = _index_select(x, index, dim=dim)
        return out.movedim(dim, 0) if dim else out
    lane_x = x.movedim(dim + 1, 1)
    lanes = align([True, True], [index, index])[0]

    lane = arange(size, device=x.device).reshape((size, *[1] * (lanes.ndim - 1)))
    out = _gather(lane_x, lane, lanes, dims=(0, 1))
    k = index.ndim - 1
    return (
        out.movedim(tuple(range(1, 1 + k)), tuple(range(1 + dim, 1 + dim + k)))
        if dim and k
        else out
    )


_index_select = Op(
    "index_select",
    lambda x, index, *, dim: lib.cb_index_select(x._v, dim, index._v),
    vjp=lambda ct, _out, x_spec, index, *, dim: (_zeros_index_add(ct, x_spec, index, dim), None),
    jvp=lambda tangents, _out, _x, index, *, dim: _index_select(tangents[0], index, dim=dim),
    batch=_select_batch,
    family=_FAMILY,
)
sampled(
    _index_select,
    lambda make: [
        call(make(4, 3), make.index(4, 5), dim=0),
        call(make(3, 4), make.index(4, 2), dim=1),
        call(make(4, 3), make.index(4, 2, 2), dim=0),
        call(make(2, 4, 3), make.index(4, 2, 2), dim=1),
        call(make(4, 3), make.index(4, 0), dim=0),
    ],
    kinds=_ANY,
    oracle=lambda np, x, index, *, dim: np.take(x, index, dim),
)


def _zeros_index_add(ct: Tensor, spec: Spec, index: Tensor, dim: int) -> Tensor:
    if index.ndim != 1:  # the index dims stand in place of dim: merge them
        shape = ct._shape
        ct = _reshape(ct, shape=(*shape[:dim], index.numel(), *shape[dim + index.ndim :]))
        index = _reshape(index, shape=(index.numel(),))
    return _index_add(_zeros(spec, ct), index, ct, dim=dim)


def _index_add_batch(
    size: int, batched: Sequence[bool], x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> Tensor:
    x, src = fronted(size, batched[::2], (x, src))
    if not batched[1]:
        return _index_add(x, index, src, dim=dim + 1)
    x, src = x.movedim(dim + 1, 1), src.movedim(dim + 1, 1)
    lane = arange(size, device=x.device).unsqueeze(1)
    out = _put(x, src, lane, index, dims=(0, 1), accumulate=True)
    return out.movedim(1, dim + 1)


_index_add = Op(
    "index_add",
    lambda x, index, src, *, dim: lib.cb_index_add_copy(x._v, dim, index._v, src._v),
    vjp=lambda ct, _out, _x, index, _src, *, dim: (ct, None, _index_select(ct, index, dim=dim)),
    jvp=lambda tangents, _out, x, index, src, *, dim: _index_add(
        _or_zeros(tangents[0], x), index, _or_zeros(tangents[2], src), dim=dim
    ),
    batch=_index_add_batch,
    family=_FAMILY,
)
sampled(
    _index_add,
    lambda make: [
        call(make(4, 3), make.index(4, 5), make(5, 3), dim=0),
        call(make(3, 4), make.index(4, 2), make(3, 2), dim=1),
        call(make(2, 3, 4), make.index(3, 4), make(2, 4, 4), dim=1),
        call(make(4, 3), make.index(4, 0), make(0, 3), dim=0),
    ],
    kinds="int float complex",
)


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of x at the places in a 1-d index, along dim.

    Raises:
      DimError: a place out of range.
    """
    if x._m is None and index._m is None and (not active or state.trace is None):
        h = lib.cb_index_select(x._v, dim, index._v)
        if h:
            return plain(h)
    index = index if index.ndim else index.reshape((1,))
    return _index_select(x, index, dim=wrap_dim("index_select", dim, x.ndim))


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of x with alpha * source's slices added at the places in a 1-d index, along dim."""
    src = source if alpha == 1 else source * alpha
    if are_plain(x, index, src):
        h = lib.cb_index_add_copy(x._v, dim, index._v, src._v)
        if h:
            return plain(h)
    return _index_add(x, index, src, dim=wrap_dim("index_add", dim, x.ndim))


def index_add_(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """In-place index_add()."""
    src = source if alpha == 1 else source * alpha
    if are_plain(x, index, src):
        clock[0] += 1
        if not lib.cb_index_add(x._v, dim, index._v, src._v, clock[0]):
            return x
    if src.dtype is not x.dtype or not _writes_here("index_add_", x, index, src):
        return x.copy_(index_add(x, dim, index, src))
    clock[0] += 1
    d = wrap_dim("index_add_", dim, x.ndim)
    check(lib.cb_index_add(x._v, d, index._v, src._v, clock[0]))
    return x


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None
) -> Tensor:  # torch's name
    """The rows of weight at the places in input.

    Args:
      input [...]: integer row numbers. weight [rows, width].
      padding_idx: a row that receives no gradient.
    Returns:
      [..., width]
    Raises:
      DimError: a row number out of range.
    """
    if weight.ndim != 2:
        raise ShapeError(message("embedding", "a weight of 2 dimensions", list(weight._shape)))
    if padding_idx is not None:
        rows = weight._shape[0]
        padding = arange(rows, device=weight.device).unsqueeze(1) == padding_idx % rows
        weight = where(padding, weight.detach(), weight)
    if not input.ndim:
        return _index_select(weight, input.reshape((1,)), dim=0).squeeze(0)
    return index_select(weight, 0, input)


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() with broadcasting; without dim, places in the flattened tensor."""
    if dim is None:
        return _gather_dim(x.reshape((-1,)), indices.reshape((-1,)), dim=0)

    d = wrap_dim("take_along_dim", dim, x.ndim)
    xs, ix = list(x._shape), list(indices._shape)
    xs[d] = ix[d] = 1
    if xs == ix:
        return gather(x, d, indices)
    common = list(broadcast_shapes(xs, ix))
    x_shape, i_shape = list(common), list(common)
    x_shape[d], i_shape[d] = x._shape[d], indices._shape[d]
    return _gather_dim(x.expand(x_shape), indices.expand(i_shape), dim=d)


for _f in (
    gather, scatter, scatter_, scatter_add, scatter_add_, index_select, index_add, index_add_,
    take_along_dim,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
