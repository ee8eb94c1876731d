"""Indexing: basic (views), advanced (integer and boolean tensors), assignment, gather and scatter.

`x[...]` splits an index into a basic part, which is one view, and tensors, which are one gather.
Writing is the same split the other way round. The transposes are cb_index_embed and accumulating
index_put.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cbackend import ffi, lib

from .. import mutation
from ..dtypes import bool_, int64, uint8
from ..errors import DimError, DTypeError, message
from ..op import NONDIFF, Op, Spec, dispatch, fail, wrap
from ..samples import call, sampled
from ..tensor import Tensor, viewed
from ..trace import active, clock, state
from .family import align, operand

__all__ = [
    "argwhere",
    "index_put",
    "nonzero",
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


def _zeros(spec: Spec, like: Tensor) -> Tensor:
    """Zeros to be cloned and written to: one number expanded, so that they are written once."""
    from .creation import zeros

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
    start, stop, step = s.start, s.stop, s.step
    if start is None:
        start = _MISSING
    elif type(start) is not int or not -_LARGEST <= start <= _LARGEST:
        start = _clipped(start)
    if stop is None:
        stop = _MISSING
    elif type(stop) is not int or not -_LARGEST <= stop <= _LARGEST:
        stop = _clipped(stop)
    return start, stop, 1 if step is None else _clipped(step)


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


def _basic_spec(items: tuple[Any, ...]) -> list[int] | None:
    """The spec of an index without tensors, the most frequent one; None for others."""
    spec: list[int] = []
    for item in items:
        kind = type(item)
        if kind is int:
            spec += (0, item, 0, 0)
        elif kind is slice:
            if item.start is item.stop is item.step is None:
                spec += _FULL
            else:
                spec += (1, *_bounds(item))
        elif item is None:
            spec += (2, 0, 0, 0)
        elif item is Ellipsis:
            spec += (3, 0, 0, 0)
        else:
            return None
    return spec


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
    plain = x._m is None and (not active or state.trace is None)
    try:
        if kind is int:
            spec: Any = (0, index, 0, 0)
            if plain:
                return viewed(x, _basic, {"spec": spec}, lib.cb_select(x._v, 0, index))
        elif kind is slice:
            start, stop, step = index.start, index.stop, index.step
            if step is None and type(start) is type(stop) is int and 0 <= start <= stop <= _LARGEST:
                step = 1
            else:
                start, stop, step = _bounds(index)
            spec = (1, start, stop, step)
            if plain and (h := lib.cb_slice(x._v, 0, start, stop, step)):
                t = _new(Tensor)  # viewed(), without the call
                t._v, t._m, t._b = h, None, (x, _basic, {"spec": spec}, None)
                return t
        else:
            spec = _basic_spec(index if kind is tuple else (index,))
            if spec is None:
                spec, tensors, dims = _parse(x, index)
                if tensors:
                    return _advanced(x, spec, tensors, dims)
            if plain:
                h = lib.cb_index_basic(x._v, len(spec) >> 2, spec)
                return viewed(x, _basic, {"spec": spec}, h)
    except OverflowError:
        raise DimError(message("index", "indices of at most 64 bits", index)) from None
    return dispatch(_basic, (x,), {"spec": tuple(spec)})


def sliced(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Places [start, stop) of a dim; a view."""
    spec = (*_FULL * dim, 1, start, stop, 1)
    if x._m is None and (not active or state.trace is None):
        return viewed(x, _basic, {"spec": spec}, lib.cb_slice(x._v, dim, start, stop, 1))
    return dispatch(_basic, (x,), {"spec": spec})


def selected(x: Tensor, dim: int, index: int) -> Tensor:
    """A place of a dim, without it; a view."""
    spec = (*_FULL * dim, 0, index, 0, 0)
    if x._m is None and (not active or state.trace is None):
        return viewed(x, _basic, {"spec": spec}, lib.cb_select(x._v, dim, index))
    return dispatch(_basic, (x,), {"spec": spec})


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


for _f in (index_put, nonzero, argwhere):
    setattr(Tensor, _f.__name__, _f)
Tensor.index_put_ = index_put_  # type: ignore[attr-defined]
