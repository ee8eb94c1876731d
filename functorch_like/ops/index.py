"""Indexing: basic (views), advanced (integer and boolean tensors), assignment, gather and scatter.

`x[...]` splits an index into a basic part, which is one view, and tensors, which are one gather.
Writing is the same split the other way round. The transposes are cb_index_embed and accumulating
index_put.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import lib

from .. import mutation
from ..dtypes import bool_, int64, uint8
from ..errors import DimError, DTypeError, TraceError, message
from ..op import NONDIFF, Op, dispatch, fail, wrap
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import clock
from .creation import arange, as_tensor, empty, full
from .family import operand
from .index_entries import (
    _ANY,
    _FAMILY,
    _FULL,
    _basic,
    _bounds,
    _gather,
    _present,
    _put,
    _write,
    basic_spec,
)  # fmt: skip
from .index_plain import added, put_copy, stored, taken
from .ternary import where

__all__ = [
    "argwhere",
    "index_put",
    "nonzero",
    "nonzero_static",
]

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


def _to_index(x: Tensor, item: Any) -> Tensor:
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


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], as in NumPy and torch.

    Ints, slices, None, ... give views; integer and bool tensors gather.

    Raises:
      DimError: an index out of range, or too many.
    Example:
      >>> tensor([[1, 2], [3, 4]])[:, 1]
      tensor([2, 4])
    """
    view = x._try_index(_basic, index)
    if view is not None:
        return view
    if index.__class__ is list:  # as a tensor it may be one C call
        index = _to_index(x, index)
    plain = taken(x, index)
    if plain is not None:
        return plain
    spec = basic_spec(index)
    if spec is None:
        spec, tensors, dims = _parse(x, index)
        if tensors:
            return _advanced(x, spec, tensors, dims)
    try:
        return dispatch(_basic, (x,), {"spec": tuple(spec)})
    except OverflowError:
        raise DimError(message("index", "indices of at most 64 bits", index)) from None


_ALL = (slice(None),)


def sliced(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Places [start, stop) of a dim; a view."""
    return getitem(x, (*_ALL * dim, slice(start, stop)))


def selected(x: Tensor, dim: int, index: int) -> Tensor:
    """A place of a dim, without it; a view."""
    return getitem(x, (*_ALL * dim, index))


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
    if stored(x, index, value):
        return
    value = operand("setitem", value)
    if isinstance(index, Tensor) and index.dtype is bool_ and value.ndim == 0:
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
    done = put_copy(x, indices, values, accumulate)
    if done is not None:
        return done
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
    if added(x, indices, values):
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
    if not as_tuple:
        return _nonzero(x)
    places = _nonzero(x if x.ndim else x.reshape((1,)))
    return tuple([places.select(1, d) for d in range(places._shape[1])])


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The places of the first `size` nonzero elements, [size, ndim]; fill_value where there are
    fewer. The shape does not depend on values, so vmap and compile take it.

    Example:
      >>> nonzero_static(tensor([0, 3, 0, 5]), size=3)
      tensor([[ 1],
              [ 3],
              [-1]])
    """
    from .join import stack

    if not input.ndim:
        return empty(size, 0, dtype=int64, device=input.device)
    flat = (input != 0).reshape((-1,))
    n = flat._shape[0]
    before = flat.to(int64).cumsum(0) - 1
    at = where(flat & (before < size), before, size)  # one place behind the end for all others
    numbers = full((size + 1,), n, dtype=int64, device=input.device)
    numbers = numbers.scatter(0, at, arange(n, device=input.device))[:size]
    columns, stride = [], 1
    for length in reversed(input._shape):
        column = (numbers // stride) % max(length, 1)
        columns.append(where(numbers < n, column, fill_value))
        stride *= max(length, 1)
    return stack(columns[::-1], 1)


def argwhere(input: Tensor) -> Tensor:
    """nonzero() as one tensor."""
    return nonzero(input)


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
Tensor.__setitem__ = setitem  # type: ignore[attr-defined]

for _f in (index_put, nonzero, nonzero_static, argwhere):
    setattr(Tensor, _f.__name__, _f)
Tensor.index_put_ = index_put_  # type: ignore[attr-defined]
