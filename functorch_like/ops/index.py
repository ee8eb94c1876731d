"""Indexing: basic (views), advanced (integer and boolean tensors), assignment, gather and scatter.

`x[...]` splits an index into a basic part, which is one view, and tensors, which are one gather.
Writing is the same split the other way round. The transposes are cb_index_embed and accumulating
index_put.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cbackend import ffi, lib, raise_error

from .. import mutation
from ..dtypes import bool_, int64, uint8
from ..errors import DimError, DTypeError, ShapeError, message
from ..op import NONDIFF, Op, Spec, dispatch, fail, wrap
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import active, clock, state
from .family import align, operand
from .views import _reshape

__all__ = [
    "argwhere",
    "embedding",
    "gather",
    "index_add",
    "index_put",
    "index_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "take_along_dim",
]

_FAMILY = "index"
_ANY = "bool int float complex"
_new = object.__new__
_MISSING = -(1 << 63)
_FULL = (1, _MISSING, _MISSING, 1)

# ---- basic indexing: params hold the spec of cb_index_basic ----


def _lifted(spec: tuple[int, ...]) -> tuple[int, ...]:
    return (*_FULL, *spec)


_basic = Op(
    "getitem",
    lambda x, *, spec: lib.cb_index_basic(x._v, len(spec) >> 2, spec),
    vjp=lambda ct, _out, x_spec, *, spec: (_embed(ct, shape=x_spec.shape, spec=spec),),
    jvp=lambda tangents, _out, _x, *, spec: _basic(tangents[0], spec=spec),
    batch=lambda _size, _batched, x, *, spec: _basic(x, spec=_lifted(spec)),
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
    from .creation import empty

    return tuple(_parse(empty(shape), index)[0])


def _indexed_shape(shape: tuple[int, ...], index: Any) -> tuple[int, ...]:
    from .creation import empty

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
    from .family import sum_to

    return sum_to(_basic(ct, spec=spec), value_spec)


def _write_batch(
    size: int, batched: Sequence[bool], x: Tensor, value: Tensor, *, spec: tuple[int, ...]
) -> Tensor:
    if not batched[0]:
        x = x.unsqueeze(0).expand((size, *x._shape))
    if batched[1]:  # the value broadcasts against the view: align its lanes in front
        rank = _basic_rank(x.ndim - 1, spec)
        value = align([True, False], [value, _Rank(rank)])[0] if value.ndim - 1 < rank else value  # type: ignore[list-item]
    return _write(x, value, spec=_lifted(spec))


class _Rank:
    """Stands for an unmapped operand of some rank."""

    def __init__(self, ndim: int):
        self.ndim = ndim


def _basic_rank(ndim: int, spec: tuple[int, ...]) -> int:
    kinds = spec[::4]
    return ndim - kinds.count(0) + kinds.count(2)


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
    from .creation import zeros

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
    if not x._v or not value._v:
        return ffi.NULL
    out = lib.cb_clone(x._v)
    if out:
        handles, present = _present(x._v.ndim, dims, indices)
        if lib.cb_index_put(out, len(handles), handles, present, value._v, accumulate, 0):
            lib.cb_release(out)
            return ffi.NULL
    return out


def _lanes(
    size: int, batched: Sequence[bool], x: Tensor, indices: Sequence[Tensor], dims: tuple[int, ...]
) -> tuple[list[Tensor], tuple[int, ...]]:
    """Indices and dims for a mapped x: a mapped index needs the lane number beside it."""
    from .creation import arange

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


def _zeros_put(ct: Tensor, spec: Spec, indices: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    from .creation import zeros

    return _put(
        zeros(spec.shape, dtype=ct.dtype, device=ct.device),
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
) -> tuple[Any, ...]:
    from .family import sum_to

    if accumulate:
        gx, gv = ct, _gather(ct, *indices, dims=dims)
    else:
        gx = _put(ct, operand("index_put", 0.0), *indices, dims=dims, accumulate=False)
        gv = _gather(ct, *indices, dims=dims) * _last_writer(ct, value_spec, indices, dims)
    return gx, sum_to(gv, value_spec), *[None] * len(indices)


def _last_writer(
    ct: Tensor, value_spec: Spec, indices: Sequence[Tensor], dims: tuple[int, ...]
) -> Any:
    """1 for the writes that lasted, 0 for those that a later write to the same place replaced."""
    from .creation import arange, full

    picked = _gather(ct, *indices, dims=dims)
    order = arange(picked.numel(), device=ct.device).reshape(picked._shape)
    slots = _put(
        full(ct._shape, -1, dtype=int64, device=ct.device),
        order,
        *indices,
        dims=dims,
        accumulate=False,
    )
    return (_gather(slots, *indices, dims=dims) == order).to(ct.dtype)


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
    if not batched[0]:
        x = x.unsqueeze(0).expand((size, *x._shape))
    # every index gets a lane, so that the written dims are lane, index dims, rest: known to the
    # value too
    firsts = [
        i if b else i.unsqueeze(0).expand((size, *i._shape))
        for i, b in zip(indices, batched[2:], strict=True)
    ]
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

# ---- x[index] ----


def _parse(x: Tensor, index: Any) -> tuple[list[int], list[Tensor], list[int]]:
    """The basic spec, the index tensors, and the dims (after basic indexing) that they apply to."""
    items = index if type(index) is tuple else (index,)
    spec: list[int] = []
    tensors: list[Tensor] = []
    dims: list[int] = []
    used = 0
    for item in items:
        if item is not None and item is not Ellipsis:
            used += _mask_rank(item)
    at = 0  # the dim of the basic result that comes next
    for i, item in enumerate(items):
        kind = type(item)
        if kind is int:
            spec += (0, item, 0, 0)
        elif kind is slice:
            spec.append(1)
            spec += _bounds(item)
            at += 1
        elif item is None:
            spec += (2, 0, 0, 0)
            at += 1
        elif item is Ellipsis:
            spec += (3, 0, 0, 0)
            at += x.ndim - used
        elif kind is bool:
            spec += (2, 0, 0, 0)
            tensors.append(_to_index(x, [0] if item else []))
            dims.append(at)
            at += 1
        elif (
            hasattr(item, "__index__")
            and not isinstance(item, Tensor)
            and not getattr(item, "ndim", 0)
        ):
            spec += (0, item.__index__(), 0, 0)
        else:
            t = _to_index(x, item)
            if t.dtype is bool_ or t.dtype is uint8:
                if not t.ndim:  # a new dim of size 1 or 0
                    spec += (2, 0, 0, 0)
                    tensors.append(_nonzero_columns(t.reshape((1,)))[0])
                    dims.append(at)
                    at += 1
                    continue
                _check_mask(x, t, items[:i], used)
                for column in _nonzero_columns(t):
                    spec += _FULL
                    tensors.append(column)
                    dims.append(at)
                    at += 1
            else:
                spec += _FULL
                tensors.append(t)
                dims.append(at)
                at += 1
    return spec, tensors, dims


def _mask_rank(item: Any) -> int:
    """How many dims of x an item uses."""
    dtype = getattr(item, "dtype", None)
    if isinstance(item, bool):
        return 0
    if dtype is not None and str(dtype) in ("bool", "uint8") and hasattr(item, "ndim"):
        return item.ndim
    return 1


_LARGEST = (1 << 62) - 1


def _bounds(s: slice) -> tuple[int, int, int]:
    """start, stop and step; numbers that no dimension reaches are brought into 64 bits."""
    start = _MISSING if s.start is None else _clipped(s.start)
    stop = _MISSING if s.stop is None else _clipped(s.stop)
    return start, stop, 1 if s.step is None else _clipped(s.step)


def _clipped(i: Any) -> int:
    i = i if type(i) is int else i.__index__()
    return i if -_LARGEST <= i <= _LARGEST else _LARGEST if i > 0 else -_LARGEST


def _to_index(x: Tensor, item: Any) -> Tensor:
    from .creation import as_tensor

    t = item if isinstance(item, Tensor) else as_tensor(item)
    if t.numel() == 0 and t.dtype.is_floating_point:
        t = t.long()
    if t.dtype.is_inexact:
        raise DTypeError(message("index", "integer or bool tensors", t.dtype, "Cast with .long()."))
    return t


def _check_mask(x: Tensor, mask: Tensor, before: tuple[Any, ...], used: int) -> None:
    """Raises where the mask's sizes are not those of x's dims behind the items `before`."""
    at = 0
    for item in before:
        if item is not None:
            at += x.ndim - used if item is Ellipsis else _mask_rank(item)
    expected = x._shape[at : at + mask.ndim]
    for size, own in zip(mask._shape, expected):  # noqa: B905 - too many dims fail when x is indexed
        if size not in (0, own):  # a mask dim of size 0 chooses nothing from any size, as in NumPy
            raise DimError(message("index", f"a mask of shape {list(expected)}", list(mask._shape)))


def _nonzero_columns(mask: Tensor) -> list[Tensor]:
    places = nonzero(mask)
    return [places.select(1, d) for d in range(mask.ndim)]


_call_basic = lib.cb_index_basic


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], as in NumPy and torch.

    Ints, slices, None, ... give views; integer and bool tensors gather.

    Raises:
      DimError: an index out of range, or too many.
    Example:
      >>> tensor([[1, 2], [3, 4]])[:, 1]
      tensor([2, 4])
    """
    kind = type(index)
    if kind is int:
        spec: Any = (0, index, 0, 0)
    elif kind is slice:
        start, stop, step = index.start, index.stop, index.step
        if type(start) is type(stop) is int and step is None and 0 <= start <= stop <= _LARGEST:
            spec = (1, start, stop, 1)
        else:
            spec = (1, *_bounds(index))
    else:
        spec, tensors, dims = _parse(x, index)
        if tensors:
            return _advanced(x, spec, tensors, dims)
    if x._m is None and (not active or state.trace is None):
        try:
            h = _call_basic(x._v, len(spec) >> 2, spec)
        except OverflowError:
            raise DimError(message("index", "indices of at most 64 bits", index)) from None
        if not h:
            raise_error()
        t = _new(Tensor)
        t._v = h
        t._m = None
        t._b = (x, _basic, {"spec": spec}, None)
        return t
    return dispatch(_basic, (x,), {"spec": tuple(spec)})


def _advanced(x: Tensor, spec: Sequence[int], tensors: list[Tensor], dims: list[int]) -> Tensor:
    if any(spec[k] != 1 or tuple(spec[k : k + 4]) != _FULL for k in range(0, len(spec), 4)):
        x = _basic(x, spec=tuple(spec))
    if len(dims) > x.ndim or (dims and dims[-1] >= x.ndim):
        raise DimError(
            message(
                "index",
                f"at most {x.ndim} indices for shape {list(x._shape)}",
                len(dims),
                "Remove an index.",
            )
        )
    return _gather(x, *tensors, dims=tuple(dims))


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value: broadcast and cast to the tensor's dtype.

    Raises:
      DimError, ShapeError: the index or the value does not fit.
    """
    value = operand("setitem", value)
    if isinstance(index, Tensor) and index.dtype is bool_ and value.ndim == 0:
        from .ternary import where

        mask = index
        if mask.ndim < x.ndim:
            mask = mask.reshape(mask._shape + (1,) * (x.ndim - mask.ndim))
        if not mutation.writes_memory("setitem", x, (value, mask)):
            mutation.rebind("setitem", x, where(mask, value, x).to(x.dtype))
            return
    spec, tensors, dims = _parse(x, index)
    memory = mutation.writes_memory("setitem", x, (value, *tensors))
    if not tensors:
        if not memory:
            mutation.rebind("setitem", x, _write(x, value, spec=tuple(spec)))
            return
        view = wrap(lib.cb_index_basic(x._v, len(spec) >> 2, spec))
        clock[0] += 1
        if lib.cb_copy_into(view._v, value._v, clock[0]):
            fail(_write, (x, value))
        return
    plain = all(tuple(spec[k : k + 4]) == _FULL for k in range(0, len(spec), 4))
    if not memory:
        target = x if plain else _basic(x, spec=tuple(spec))
        put = _put(
            target,
            value if value.dtype is x.dtype else value.to(x.dtype),
            *tensors,
            dims=tuple(dims),
            accumulate=False,
        )
        mutation.rebind("setitem", x, put if plain else _write(x, put, spec=tuple(spec)))
        return
    view = x if plain else wrap(lib.cb_index_basic(x._v, len(spec) >> 2, spec))
    handles, present = _present(view.ndim, tuple(dims), tensors)
    clock[0] += 1
    if lib.cb_index_put(view._v, len(handles), handles, present, value._v, False, clock[0]):
        fail(_put, (x, value, *tensors))


def index_put(
    x: Tensor, indices: Sequence[Tensor], values: Any, accumulate: bool = False
) -> Tensor:
    """A copy of x with values at the places the index tensors name; added with accumulate."""
    _, tensors, dims = _parse(x, tuple(indices))
    values = operand("index_put", values)
    return _put(
        x,
        values if values.dtype is x.dtype else values.to(x.dtype),
        *tensors,
        dims=tuple(dims),
        accumulate=accumulate,
    )


def index_put_(
    x: Tensor, indices: Sequence[Tensor], values: Any, accumulate: bool = False
) -> Tensor:
    """In-place index_put()."""
    if not accumulate:
        setitem(x, tuple(indices), values)
        return x
    new = index_put(x, indices, values, True)
    return x.copy_(new)


# ---- gather and scatter along one dim ----


def _along_batch(op: Any) -> Any:
    """The mapped dimension in front of every operand: dims shift by one."""

    def batch(size: int, batched: Sequence[bool], *args: Tensor, dim: int, **params: Any) -> Tensor:
        fronted = [
            a if b else a.unsqueeze(0).expand((size, *a._shape))
            for a, b in zip(args, batched, strict=True)
        ]
        if fronted[0].ndim == 1:  # 0-d lanes
            fronted = [a.unsqueeze(1) for a in fronted]
            return op()(*fronted, dim=1, **params).squeeze(1)
        return op()(*fronted, dim=dim + 1, **params)

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
    from .creation import zeros

    return _scatter_add(zeros(spec.shape, dtype=ct.dtype, device=ct.device), index, ct, dim=dim)


def _scatter_impl(mode: int) -> Any:
    def impl(x: Tensor, index: Tensor, src: Tensor, *, dim: int) -> Any:
        if not x._v or not index._v or not src._v:
            return ffi.NULL
        out = lib.cb_clone(x._v)
        if out and lib.cb_scatter(out, dim, index._v, src._v, mode, 0):
            lib.cb_release(out)
            return ffi.NULL
        return out

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
    from .creation import arange, full, zeros

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
    return _gather_dim(x, index, dim=wrap_dim("gather", dim, x.ndim))


def _source(op: str, x: Tensor, index: Tensor, src: Any) -> Tensor:
    if isinstance(src, Tensor):
        if src.dtype is not x.dtype:
            raise DTypeError(
                message(op, f"a source of the tensor's dtype {x.dtype}", src.dtype, "Cast it.")
            )
        return src
    from .creation import full

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
    source = _source("scatter", x, index, src)
    d = wrap_dim("scatter", dim, x.ndim)
    if reduce == "add":
        return _scatter_add(x, index, source, dim=d)
    if reduce is not None:
        raise ValueError(message("scatter", 'reduce None or "add"', repr(reduce)))
    return _scatter(x, index, source, dim=d)


def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of x with src added at the places of scatter()."""
    return _scatter_add(
        x, index, _source("scatter_add", x, index, src), dim=wrap_dim("scatter_add", dim, x.ndim)
    )


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
    from .creation import arange

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
    from .creation import zeros

    if index.ndim != 1:  # the index dims stand in place of dim: merge them
        shape = ct._shape
        ct = _reshape(ct, shape=(*shape[:dim], index.numel(), *shape[dim + index.ndim :]))
        index = _reshape(index, shape=(index.numel(),))
    return _index_add(zeros(spec.shape, dtype=ct.dtype, device=ct.device), index, ct, dim=dim)


def _index_add_impl(x: Tensor, index: Tensor, src: Tensor, *, dim: int) -> Any:
    if not x._v or not index._v or not src._v:
        return ffi.NULL
    out = lib.cb_clone(x._v)
    if out and lib.cb_index_add(out, dim, index._v, src._v, 0):
        lib.cb_release(out)
        return ffi.NULL
    return out


def _index_add_batch(
    size: int, batched: Sequence[bool], x: Tensor, index: Tensor, src: Tensor, *, dim: int
) -> Tensor:
    from .creation import arange

    x, src = (
        a if b else a.unsqueeze(0).expand((size, *a._shape))
        for a, b in ((x, batched[0]), (src, batched[2]))
    )
    if not batched[1]:
        return _index_add(x, index, src, dim=dim + 1)
    x, src = x.movedim(dim + 1, 1), src.movedim(dim + 1, 1)
    lane = arange(size, device=x.device).unsqueeze(1)
    out = _put(x, src, lane, index, dims=(0, 1), accumulate=True)
    return out.movedim(1, dim + 1)


_index_add = Op(
    "index_add",
    _index_add_impl,
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
    index = index if index.ndim else index.reshape((1,))
    return _index_select(x, index, dim=wrap_dim("index_select", dim, x.ndim))


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of x with alpha * source's slices added at the places in a 1-d index, along dim."""
    src = source if alpha == 1 else source * alpha
    return _index_add(x, index, src, dim=wrap_dim("index_add", dim, x.ndim))


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
        from .creation import arange
        from .ternary import where

        rows = weight._shape[0]
        padding = arange(rows, device=weight.device).unsqueeze(1) == padding_idx % rows
        weight = where(padding, weight.detach(), weight)
    if not input.ndim:
        return _index_select(weight, input.reshape((1,)), dim=0).squeeze(0)
    return _index_select(weight, input, dim=0)


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() with broadcasting; without dim, places in the flattened tensor."""
    if dim is None:
        return _gather_dim(x.reshape((-1,)), indices.reshape((-1,)), dim=0)
    from .views import broadcast_shapes

    d = wrap_dim("take_along_dim", dim, x.ndim)
    xs, ix = list(x._shape), list(indices._shape)
    xs[d] = ix[d] = 1
    common = list(broadcast_shapes(xs, ix))
    x_shape, i_shape = list(common), list(common)
    x_shape[d], i_shape[d] = x._shape[d], indices._shape[d]
    return _gather_dim(x.expand(x_shape), indices.expand(i_shape), dim=d)


# ---- data-dependent shapes ----
_nonzero = Op(
    "nonzero",
    lambda x: lib.cb_nonzero(x._v),
    vjp=NONDIFF("integer result"),
    decides=lambda x: x != 0,
    family=_FAMILY,
)
sampled(
    _nonzero,
    lambda make: [
        call(make(3, 4).masked_fill(make.mask(3, 4), 0)),
        call(make(5)),
        call(make(0, 2)),
    ],
    kinds=_ANY,
    oracle=lambda np, x: np.argwhere(x),
    unmapped="the number of rows depends on the values",
    data_dependent=True,
)


def _refuse(name: str) -> Any:
    from ..errors import TraceError

    raise TraceError(
        message(
            name,
            "a result of one shape for all lanes",
            "a mapped tensor under vmap",
            "Use where() with a mask, which keeps the shape.",
        )
    )


def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """The places of nonzero elements, in row-major order.

    One tensor [count, ndim], or a tuple of one [count] a dim.

    Example:
      >>> nonzero(tensor([0, 3, 0, 5]))
      tensor([[1],
              [3]])
    """
    places = _nonzero(x)
    if not as_tuple:
        return places
    return (
        tuple([places.select(1, d) for d in range(x.ndim)])
        if x.ndim
        else (places.select(1, 0) if places._shape[1] else places.reshape((-1,)),)
    )


def argwhere(x: Tensor) -> Tensor:
    """nonzero() as one tensor."""
    return nonzero(x)


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
Tensor.__setitem__ = setitem  # type: ignore[attr-defined]


def _inplace(function: Any) -> Any:
    def in_place(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return x.copy_(function(x, *args, **options))

    in_place.__name__ = function.__name__ + "_"
    in_place.__doc__ = f"In-place {function.__name__}()."
    return in_place


for _f in (
    index_put,
    gather,
    scatter,
    scatter_add,
    index_select,
    index_add,
    take_along_dim,
    nonzero,
    argwhere,
):
    setattr(Tensor, _f.__name__, _f)
for _f in (scatter, scatter_add, index_add):
    setattr(Tensor, _f.__name__ + "_", _inplace(_f))
Tensor.index_put_ = index_put_  # type: ignore[attr-defined]
