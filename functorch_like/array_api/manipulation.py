"""Functions of the array API standard that change shapes or join, and sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..dtypes import int64
from ..errors import ShapeError, message
from ..ops import join, views
from ..ops import shape as _shape
from ..ops import sort as _sort
from ..ops.creation import arange
from ..tensor import Tensor, wrap_dim
from .dtype_rules import result_type

__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "concat", "expand_dims", "flip",
    "moveaxis", "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "tile",
    "unique_all", "unique_counts", "unique_inverse", "unique_values", "unstack",
]  # fmt: skip


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape."""
    return views.broadcast_tensors(*arrays)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that these broadcast to."""
    return tuple(views.broadcast_shapes(*shapes))


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """Expanded to a shape."""
    return views.expand(x, tuple(shape))


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """The tensors one after the other along an axis; flattened first with axis=None."""
    dtype = result_type(*arrays)
    parts = [a.to(dtype) for a in arrays]
    if axis is None:
        return join.cat([p.reshape((-1,)) for p in parts])
    return join.cat(parts, axis)


def expand_dims(x: Tensor, /, axis: Any = 0) -> Tensor:
    """New dims of size 1 at the positions that they have in the result."""
    if isinstance(axis, int):
        return views.unsqueeze(x, axis)
    n = x.ndim + len(axis)
    dims = sorted(wrap_dim("expand_dims", a, n) for a in axis)
    if len(set(dims)) < len(dims):
        raise ValueError(message("expand_dims", "each axis once", axis))
    for d in dims:
        x = views.unsqueeze(x, d)
    return x


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """The order of the elements reversed along axes, by default all."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return join.flip(x, tuple(axes))


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    """Dims moved to other positions."""
    return views.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: Sequence[int]) -> Tensor:
    """The dims in another order."""
    return views.permute(x, tuple(axes))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element repeated, along an axis or of the flattened tensor."""
    if axis is None:
        x, axis = x.reshape((-1,)), 0
    if isinstance(repeats, Tensor):
        repeats = repeats.to(int64)
        if not repeats.ndim or repeats.numel() == 1:
            repeats = repeats.reshape(()).expand((x._shape[axis],))
    return _shape.repeat_interleave(x, repeats, axis)


def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape.

    Raises:
      ValueError: copy=False where no view exists.
    """
    shape = tuple(shape)
    if copy is False:
        try:
            return views.view(x, shape)
        except ShapeError as e:
            raise ValueError(str(e)) from e
    y = views.reshape(x, shape)
    return y.clone() if copy else y


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Elements moved along axes, those that fall off coming in at the other end."""
    if axis is None:
        return join.roll(x, shift if isinstance(shift, int) else sum(shift))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    return join.roll(x, shifts, axes)


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """Dims of size 1 taken out.

    Raises:
      ValueError: one has another size.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    dims = [wrap_dim("squeeze", a, x.ndim) for a in axes]
    for d in dims:
        if x._shape[d] != 1:
            raise ValueError(message("squeeze", "dims of size 1", f"size {x._shape[d]}"))
    return views.squeeze(x, tuple(dims)) if dims else x


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """The tensors along a new axis."""
    dtype = result_type(*arrays)
    return join.stack([a.to(dtype) for a in arrays], axis)


def tile(x: Tensor, repetitions: Sequence[int], /) -> Tensor:
    """The tensor repeated as a whole along each dim."""
    return join.tile(x, tuple(repetitions))


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis."""
    return join.unbind(x, axis)


# ---- sets ----


class UniqueAll(NamedTuple):
    """What unique_all() returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What unique_counts() returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What unique_inverse() returns."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The different elements, where each occurs first, which is which, and how often each occurs.

    Every nan is an element of its own.
    """
    flat = x.reshape((-1,))
    n = flat._shape[0]
    if flat.dtype.is_complex:
        by_imag = _sort.argsort(flat.imag.contiguous(), stable=True)
        order = by_imag[_sort.argsort(flat.real.contiguous()[by_imag], stable=True)]
    else:
        order = _sort.argsort(flat, stable=True)
    ordered = flat[order]
    if not n:
        none = arange(0)
        return UniqueAll(flat, none, none.reshape(x._shape), none)
    starts = join.cat([arange(1) == 0, ordered[1:] != ordered[:-1]])
    at = starts.nonzero().reshape((-1,))
    group = starts.to(int64).cumsum(0) - 1
    inverse = (arange(n) * 0).index_put((order,), group)
    ends = join.cat([at[1:], arange(n, n + 1)])
    return UniqueAll(ordered[at], order[at], inverse.reshape(x._shape), ends - at)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The different elements, and how often each occurs."""
    all_of = unique_all(x)
    return UniqueCounts(all_of.values, all_of.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The different elements, and which of them each element is."""
    all_of = unique_all(x)
    return UniqueInverse(all_of.values, all_of.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """The different elements."""
    return unique_all(x).values
