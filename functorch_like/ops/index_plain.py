"""Indexing outside of traces, most of it of plain tensors: one or two C calls.

Everything here says whether it did its work: what it does not know, and what C refuses, is left to
index.py and gather.py, which know all cases and every error.
"""

from __future__ import annotations

from typing import Any

from cbackend import ffi, fill, lib, plain, wrap

from ..dtypes import DTYPES, bool_, int8, int16, int32, int64
from ..tensor import Tensor
from ..trace import active, clock, state
from .creation import _scalar
from .family import number
from .index_entries import _basic, _gather

_INTEGERS = (int8, int16, int32, int64)
_NUMBERS = (int, float, bool)
_WHOLE = slice(None)
_WHERE = lib.cb_op_code(b"ternary", b"where")


def are_plain(x: Tensor, index: Tensor, src: Any) -> bool:
    """May C be called at once for three tensors, of which x and src have one dtype?"""
    return (
        x._m is None
        and index._m is None
        and src.__class__ is Tensor
        and src._m is None
        and (not active or state.trace is None)
        and x._v.dtype == src._v.dtype
    )


def _handles(index: Any) -> tuple[list[Any], list[int]] | None:
    """Integer tensors and whole dims as cb_index takes them; None where there is anything else."""
    handles: list[Any] = []
    present: list[int] = []
    for item in index if index.__class__ is tuple else (index,):
        if item.__class__ is Tensor:
            if item._m is not None or DTYPES[item._v.dtype] not in _INTEGERS:
                return None
            handles.append(item._v)
            present.append(1)
        elif item.__class__ is slice and item == _WHOLE:
            handles.append(ffi.NULL)
            present.append(0)
        else:
            return None
    return handles, present


def _is_mask(x: Tensor, index: Any, ndim: int) -> bool:
    """Is this a mask over the first `ndim` dims of x?"""
    return (
        index.__class__ is Tensor
        and index._m is None
        and DTYPES[index._v.dtype] is bool_
        and index._v.ndim == ndim > 0
        and index._shape == x._shape[:ndim]
    )


def _places(mask: Tensor) -> Any:
    """Where a vector of flags is true, as a handle of a vector."""
    places = lib.cb_nonzero(mask._v)
    flat = lib.cb_reshape(places, 1, (-1,)) if places else ffi.NULL
    lib.cb_release(places)
    return flat


def _rows(x: Tensor, mask: Tensor) -> Any:
    """The slices along the first dim that a vector of flags chooses, as a handle."""
    flat = _places(mask)
    h = lib.cb_index(x._v, 1, (flat,), (1,)) if flat else ffi.NULL
    lib.cb_release(flat)
    return h


def _store_rows(x: Tensor, mask: Tensor, value: Tensor) -> bool:
    """x[mask] = value for a vector of flags."""
    flat = _places(mask)
    clock[0] += 1
    failed = not flat or lib.cb_index_put(x._v, 1, (flat,), (1,), value._v, False, clock[0])
    lib.cb_release(flat)
    return not failed


def taken(x: Tensor, index: Any) -> Tensor | None:
    """x[index] for integer tensors or one mask, of all dims or the first; None for others."""
    if active and state.trace is not None:
        return None
    found = _handles(index)
    if x._m is not None:
        return _recorded(x, index, found and found[1])
    if found is not None:
        h = lib.cb_index(x._v, len(found[0]), *found)
    elif _is_mask(x, index, x._v.ndim):
        h = lib.cb_masked_select(x._v, index._v)
    elif _is_mask(x, index, 1):
        h = _rows(x, index)
    else:
        return None
    return plain(h) if h else None


def _recorded(x: Tensor, index: Any, present: list[int] | None) -> Tensor | None:
    """taken() of a tensor with a place on the tape; `present`: where its tensors stand."""
    dims = tuple([d for d, there in enumerate(present or ()) if there])
    if dims and len(present or ()) <= x.ndim:
        items = index if index.__class__ is tuple else (index,)
        return _gather(x, *[items[d] for d in dims], dims=dims)
    if _is_mask(x, index, 1):
        return _gather(x, wrap(lib.cb_nonzero(index._v)).reshape((-1,)), dims=(0,))
    return None


def stored(x: Tensor, index: Any, value: Any) -> bool:
    """x[index] = value for a number or a plain tensor; False where nothing was written."""
    if x._m is not None or (active and state.trace is not None):
        return False
    tensor = value.__class__ is Tensor
    if not (value._m is None if tensor else value.__class__ in _NUMBERS):
        return False
    view = x._try_index(_basic, index)
    if view is not None:
        clock[0] += 1
        if tensor:
            return not lib.cb_copy_into(view._v, value._v, clock[0])
        return fill(view, value, clock[0]) or not lib.cb_fill(view._v, _scalar(value), clock[0])
    source = value if tensor else number(value)
    found = _handles(index)
    if found is not None:
        clock[0] += 1
        return not lib.cb_index_put(x._v, len(found[0]), *found, source._v, False, clock[0])
    if tensor and value._v.ndim and _is_mask(x, index, 1):
        return _store_rows(x, index, value)
    if tensor or not _is_mask(x, index, x._v.ndim):
        return False
    clock[0] += 1
    return not lib.cb_ternary_into(_WHERE, index._v, source._v, x._v, x._v, clock[0])


def put_copy(x: Tensor, indices: Any, values: Any, accumulate: bool) -> Tensor | None:
    """index_put() of plain tensors; None for others."""
    found = _handles(tuple(indices)) if are_plain(x, x, values) else None
    if found is None:
        return None
    h = lib.cb_index_put_copy(x._v, len(found[0]), *found, values._v, accumulate)
    return plain(h) if h else None


def added(x: Tensor, indices: Any, values: Any) -> bool:
    """index_put_(accumulate=True) of plain tensors; False where nothing was written."""
    found = _handles(tuple(indices)) if are_plain(x, x, values) else None
    if found is None:
        return False
    clock[0] += 1
    return not lib.cb_index_put(x._v, len(found[0]), *found, values._v, True, clock[0])
