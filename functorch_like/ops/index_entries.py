"""Table entries of indexing: views and gathers, their transposes, and what writing becomes.

params hold the spec of cb_index_basic, or the dims that index tensors apply to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cbackend import ffi, lib

from .. import mutation
from ..dtypes import int32, int64
from ..op import Op, Spec
from ..parts import Parts
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import active, state
from .creation import arange, empty, zeros
from .family import align, fronted, operand, sum_to
from .ternary import where
from .views import broadcast_shapes

_FAMILY = "index"
_ANY = "bool int float complex"
_new = object.__new__
_MISSING = -(1 << 63)
_FULL = (1, _MISSING, _MISSING, 1)

# ---- basic indexing: params hold the spec of cb_index_basic ----


def _lifted(spec: tuple[int, ...]) -> tuple[int, ...]:
    return (*_FULL, *spec)


_LARGEST = (1 << 62) - 1


def _bounds(s: slice) -> tuple[int, int, int]:
    """start, stop and step; numbers that no dimension reaches are brought into 64 bits."""
    start = _MISSING if s.start is None else _clipped(s.start)
    stop = _MISSING if s.stop is None else _clipped(s.stop)
    return start, stop, 1 if s.step is None else _clipped(s.step)


def _clipped(i: Any) -> int:
    i = i if type(i) is int else i.__index__()
    return i if -_LARGEST <= i <= _LARGEST else _LARGEST if i > 0 else -_LARGEST


def basic_spec(index: Any) -> tuple[int, ...] | None:
    """The spec of an index without tensors, the most frequent one; None for others."""
    spec: list[int] = []
    for item in index if type(index) is tuple else (index,):
        kind = type(item)
        if kind is int:
            spec += (0, item, 0, 0)
        elif kind is slice:
            spec += (1, *_bounds(item))
        elif item is None:
            spec += (2, 0, 0, 0)
        elif item is Ellipsis:
            spec += (3, 0, 0, 0)
        else:
            return None
    return tuple(spec)


_basic = Op(
    "getitem",
    lambda x, *, spec: lib.cb_index_basic(x._v, len(spec) >> 2, spec),
    vjp=lambda ct, _out, x_spec, *, spec: (_embed(ct, shape=x_spec.shape, spec=spec),),
    jvp=lambda tangents, _out, _x, *, spec: _basic(tangents[0], spec=spec),
    batch=lambda _size, _batched, x, *, spec: _basic(x, spec=_lifted(spec)),
    unpack=lambda index: {"spec": basic_spec(index)},
    view=True,
    family=_FAMILY,
)
_embed = Op(
    "index_embed",
    lambda x, *, shape, spec: lib.cb_index_embed(x._v, len(shape), shape, len(spec) >> 2, spec),
    vjp=lambda ct, _out, _x, *, shape, spec: (_basic(ct, spec=spec),),
    jvp=lambda tangents, _out, _x, *, shape, spec: _embed(tangents[0], shape=shape, spec=spec),
    batch=lambda size, _batched, x, *, shape, spec: _embed(
        x, shape=(size, *shape), spec=_lifted(spec)
    ),
    family=_FAMILY,
)


_COLLECTED = 1 << 14  # items of a tensor from which on gradients of its slices are collected


def _pull_slice(node: Any, ct: Tensor) -> Any:
    params = node.params  # or the index, as a view's link has it
    spec: Any = params["spec"] if params.__class__ is dict else basic_spec(params)
    shape = node.args[0].shape
    if (
        ct._v
        and ct._m is None
        and not state.grad
        and (not active or state.trace is None)
        and math.prod(shape) >= _COLLECTED
    ):
        return (Parts(ct, shape, spec),)
    return (_embed(ct, shape=shape, spec=spec),)


_basic.pull = _pull_slice


# shape and index of the samples of basic indexing
_BASIC: list[tuple[tuple[int, ...], Any]] = [
    ((3, 4), (1,)),
    ((3, 4), (slice(None), slice(1, None, 2))),
    ((2, 3, 4), (..., -1, None)),
    ((5,), (slice(-3, -1),)),
    ((), (None,)),
    ((3, 4), (slice(3, 3), 2)),
    ((0, 3), (slice(None), 1)),
]


def _spec_of(shape: tuple[int, ...], index: Any) -> tuple[int, ...]:
    from .index import _parse

    return tuple(_parse(empty(shape), index)[0])


def _indexed_shape(shape: tuple[int, ...], index: Any) -> tuple[int, ...]:
    return empty(shape)[index]._shape


sampled(
    _basic,
    lambda make: [call(make(*shape), spec=_spec_of(shape, i)) for shape, i in _BASIC],
    kinds=_ANY,
)
sampled(
    _embed,
    lambda make: [
        call(make(*_indexed_shape(shape, i)), shape=shape, spec=_spec_of(shape, i))
        for shape, i in _BASIC
    ],
    kinds=_ANY,
)


def _slice_write(x: Tensor, value: Tensor, *, spec: tuple[int, ...]) -> Any:
    """A clone of x with value (broadcast and cast) in place of the view."""
    if not x._v or not value._v:
        return ffi.NULL
    base = lib.cb_clone(x._v)
    view = lib.cb_index_basic(base, len(spec) >> 2, spec) if base else base
    status = lib.cb_copy_into(view, value._v, 0) if view else 1
    lib.cb_release(view)
    if status:
        lib.cb_release(base)
        return ffi.NULL
    return base


def _write_grad(ct: Tensor, spec: tuple[int, ...], value_spec: Spec) -> Tensor:
    return sum_to(_basic(ct, spec=spec), value_spec)


def _write_batch(
    size: int, batched: Sequence[bool], x: Tensor, value: Tensor, *, spec: tuple[int, ...]
) -> Tensor:
    (x,) = fronted(size, batched[:1], (x,))
    if batched[1]:  # the value broadcasts against the view: align its lanes in front
        kinds = spec[::4]
        missing = x.ndim - kinds.count(0) + kinds.count(2) - value.ndim
        if missing > 0:
            value = value.reshape((size, *[1] * missing, *value._shape[1:]))
    return _write(x, value, spec=_lifted(spec))


_write = Op(
    "index_write",
    _slice_write,
    vjp=lambda ct, _out, _x, value_spec, *, spec: (
        _write(ct, operand("index_write", 0), spec=spec),
        _write_grad(ct, spec, value_spec),
    ),
    jvp=lambda tangents, out, x, value, *, spec: _write(
        _or_zeros(tangents[0], x), _or_zeros(tangents[1], value), spec=spec
    ),
    batch=_write_batch,
    family=_FAMILY,
)
sampled(
    _write,
    lambda make: [
        *[
            call(make(*shape), make(*_indexed_shape(shape, i)), spec=_spec_of(shape, i))
            for shape, i in _BASIC
        ],
        call(make(3, 4), make(), spec=_spec_of((3, 4), (1,))),
        call(make(2, 3, 4), make(4), spec=_spec_of((2, 3, 4), (slice(None), slice(1, 3)))),
        call(make(2, 3, 4), make(2, 1), spec=_spec_of((2, 3, 4), (1, slice(1, 3)))),
    ],
    kinds=_ANY,
)
mutation.VIEW_WRITES["getitem"] = _write


def _or_zeros(t: Tensor | None, like: Tensor) -> Tensor:
    return zeros(like._shape, dtype=like.dtype, device=like.device) if t is None else t


# ---- advanced indexing: tensors for the dims in `dims` (adjacent or not), after the basic part
# ----


def _present(
    ndim: int, dims: tuple[int, ...], indices: Sequence[Tensor]
) -> tuple[list[Any], list[int]]:
    handles: list[Any] = [ffi.NULL] * ndim
    present = [0] * ndim
    for d, i in zip(dims, indices, strict=True):
        handles[d], present[d] = i._v, 1
    return handles, present


def _gather_impl(x: Tensor, *indices: Tensor, dims: tuple[int, ...]) -> Any:
    if not x._v:
        return ffi.NULL
    handles, present = _present(x._v.ndim, dims, indices)
    return lib.cb_index(x._v, len(handles), handles, present)


def _put_impl(
    x: Tensor, value: Tensor, *indices: Tensor, dims: tuple[int, ...], accumulate: bool
) -> Any:
    if not x._v:
        return ffi.NULL
    handles, present = _present(x._v.ndim, dims, indices)
    return lib.cb_index_put_copy(x._v, len(handles), handles, present, value._v, accumulate)


def _lanes(
    size: int, batched: Sequence[bool], x: Tensor, indices: Sequence[Tensor], dims: tuple[int, ...]
) -> tuple[list[Tensor], tuple[int, ...]]:
    """Indices and dims for a mapped x: a mapped index needs the lane number beside it."""
    if not any(batched):
        return list(indices), tuple([d + 1 for d in dims])
    aligned = align(batched, indices)
    rank = max(i.ndim for i in aligned)
    lane = arange(size, device=x.device).reshape((size, *[1] * (rank - 1)))
    return [lane, *aligned], (0, *[d + 1 for d in dims])


def _adjacent(dims: tuple[int, ...]) -> bool:
    return all(b == a + 1 for a, b in pairwise(dims))


def _gather_batch(
    size: int, batched: Sequence[bool], x: Tensor, *indices: Tensor, dims: tuple[int, ...]
) -> Tensor:
    if not batched[0]:
        if not any(batched[1:]):
            raise AssertionError("nothing is mapped")
        aligned = align(batched[1:], indices)
        out = _gather(x, *aligned, dims=dims)
        rank = max(i.ndim for i in aligned)
        at = dims[0] if _adjacent(dims) else 0
        return out.movedim(at, 0) if at and rank else out
    lifted, lifted_dims = _lanes(size, batched[1:], x, indices, dims)
    out = _gather(x, *lifted, dims=lifted_dims)
    # index dims of non-adjacent indices come first: the lane goes back in front
    if not any(batched[1:]):
        rank = max(i.ndim for i in indices)
        return out if _adjacent(dims) else out.movedim(rank, 0)
    # the lane index made the indices' dims come first; they belong where the first index stood,
    # behind the lane
    rank = max(i.ndim for i in lifted) - 1
    if _adjacent(dims) and dims[0] > 0 and rank >= 0:
        out = out.movedim(tuple(range(1, 1 + rank)), tuple(range(1 + dims[0], 1 + dims[0] + rank)))
    return out


_gather = Op(
    "index",
    _gather_impl,
    vjp=lambda ct, _out, x_spec, *indices, dims: (
        _zeros_put(ct, x_spec, indices, dims),
        *[None] * len(indices),
    ),
    jvp=lambda tangents, _out, _x, *indices, dims: _gather(tangents[0], *indices, dims=dims),
    batch=_gather_batch,
    family=_FAMILY,
)
sampled(
    _gather,
    lambda make: [
        call(make(4, 3), make.index(4, 5), dims=(0,)),
        call(make(3, 4), make.index(4, 2, 2), dims=(1,)),
        call(make(3, 4), make.index(3, 5), make.index(4, 5), dims=(0, 1)),
        call(make(2, 3, 4), make.index(3, 2, 1), make.index(4, 3), dims=(1, 2)),
        call(make(2, 3, 4), make.index(2, 3), make.index(4), dims=(0, 2)),
        call(make(2, 3, 4, 2), make.index(3, 2, 2), make.index(2, 2), dims=(1, 3)),
        call(make(4, 3), make.index(4), dims=(0,)),
        call(make(4, 3), make.index(4, 0), dims=(0,)),
        call(make(4, 3), make.index(4, 3) - 4, dims=(0,)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *indices, dims: x[
        tuple([indices[dims.index(d)] if d in dims else slice(None) for d in range(x.ndim)])
    ],
)


def _zeros(spec: Spec, like: Tensor) -> Tensor:
    """Zeros to be cloned and written to: one number expanded, so that they are written once."""
    return zeros((), dtype=like.dtype, device=like.device).expand(spec.shape)


def _zeros_put(ct: Tensor, spec: Spec, indices: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    return _put(
        _zeros(spec, ct),
        ct,
        *indices,
        dims=dims,
        accumulate=True,
    )


def _put_vjp(
    ct: Tensor,
    _out: Tensor,
    _x: Tensor,
    value_spec: Spec,
    *indices: Tensor,
    dims: tuple[int, ...],
    accumulate: bool,
    needs: Sequence[bool],
) -> tuple[Any, ...]:
    gx = gv = None
    if needs[0]:
        zero = operand("index_put", 0.0)
        gx = ct if accumulate else _put(ct, zero, *indices, dims=dims, accumulate=False)
    if needs[1]:
        gv = _gather(ct, *indices, dims=dims)
        gv = sum_to(gv if accumulate else where(_lasting(ct, indices, dims), gv, 0.0), value_spec)
    return gx, gv, *[None] * len(indices)


def _lasting(x: Tensor, indices: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    """Which writes to these places lasted, that is no later one replaced: true or false for each,
    with a dim of size 1 for every dim that follows theirs in x[indices].
    """
    shape = broadcast_shapes(*[i._shape for i in indices])
    sizes = [x._shape[d] for d in dims]
    n = math.prod(shape)
    order = arange(n, dtype=int32 if n < 1 << 31 else int64, device=x.device).reshape(shape)
    every = tuple(range(len(dims)))
    slots = zeros((), dtype=order.dtype, device=x.device).expand(sizes)
    last = _put(slots, order, *indices, dims=every, accumulate=False)
    lasting = _gather(last, *indices, dims=every) == order
    rest = x.ndim - (dims[-1] + 1 if _adjacent(dims) else len(dims))
    return lasting.reshape((*shape, *[1] * rest))


def _put_jvp(
    tangents: Sequence[Any],
    _out: Tensor,
    x: Tensor,
    value: Tensor,
    *indices: Tensor,
    dims: tuple[int, ...],
    accumulate: bool,
) -> Tensor:
    return _put(
        _or_zeros(tangents[0], x),
        _or_zeros(tangents[1], value),
        *indices,
        dims=dims,
        accumulate=accumulate,
    )


def _put_batch(
    size: int,
    batched: Sequence[bool],
    x: Tensor,
    value: Tensor,
    *indices: Tensor,
    dims: tuple[int, ...],
    accumulate: bool,
) -> Tensor:
    (x,) = fronted(size, batched[:1], (x,))
    # every index gets a lane, so that the written dims are lane, index dims, rest: known to the
    # value too
    firsts = fronted(size, batched[2:], indices)
    lifted, lifted_dims = _lanes(size, [True] * len(firsts), x, firsts, dims)
    rank = max(i.ndim for i in firsts) - 1
    rest = x.ndim - 1 - len(dims)
    if batched[1]:
        missing = rank + rest - (value.ndim - 1)
        if missing > 0:
            value = value.reshape((size, *[1] * missing, *value._shape[1:]))
    # the value has its index dims in place, not in front
    if _adjacent(dims) and dims[0] > 0 and rest and rank:
        lead = 1 if batched[1] else 0
        full_rank = rank + rest
        if value.ndim - lead < full_rank:
            value = value.reshape(
                (*value._shape[:lead], *[1] * (full_rank - value.ndim + lead), *value._shape[lead:])
            )
        value = value.movedim(
            tuple(range(lead + dims[0], lead + dims[0] + rank)), tuple(range(lead, lead + rank))
        )
    return _put(x, value, *lifted, dims=lifted_dims, accumulate=accumulate)


_put = Op("index_put", _put_impl, vjp=_put_vjp, jvp=_put_jvp, batch=_put_batch, family=_FAMILY)
sampled(
    _put,
    lambda make: [
        call(
            make(*shape),
            make(*value),
            *[make.index(shape[d], *i) for d, i in zip(dims, indices, strict=True)],
            dims=dims,
            accumulate=accumulate,
        )
        for accumulate in (False, True)
        for shape, value, indices, dims in (
            ((4, 3), (5, 3), [(5,)], (0,)),
            ((4, 3), (), [(2,)], (0,)),
            ((3, 4), (3, 2, 2), [(2, 2)], (1,)),
            ((3, 4), (2,), [(2,)], (1,)),
            ((3, 4), (5,), [(5,), (5,)], (0, 1)),
            ((2, 3, 4), (2, 2, 3), [(2, 1), (3,)], (1, 2)),
            ((2, 3, 4), (3, 3), [(3,), ()], (0, 2)),
            ((4, 3), (3,), [()], (0,)),
            ((4, 3), (0, 3), [(0,)], (0,)),
        )
    ],
    kinds="int float complex",
)
