"""Indexing, searching, sorting functions of the array API standard."""

from __future__ import annotations

from typing import Any

from ..dtypes import int64
from ..errors import ShapeError, message
from ..ops import extremes, gather, reduce, special, ternary
from ..ops import index as _index
from ..ops import sort as _sort
from ..ops.family import operand
from ..tensor import Tensor
from .dtype_rules import result_type
from .elementwise import promoted

__all__ = [
    "argmax", "argmin", "argsort", "count_nonzero", "isin", "nonzero", "searchsorted", "sort",
    "take", "take_along_axis", "where",
]  # fmt: skip


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the largest element along an axis, or of the flattened tensor."""
    return _at_extreme(extremes.argmax, x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the smallest element along an axis, or of the flattened tensor."""
    return _at_extreme(extremes.argmin, x, axis, keepdims)


def _at_extreme(function: Any, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    if axis is not None or not keepdims:
        return function(x, axis, keepdims)
    return function(x).reshape((1,) * x.ndim)


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The indices that sort along an axis."""
    return _sort.argsort(x, axis, descending, stable=stable)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis."""
    return _sort.sort(x, axis, descending, stable)[0]


def count_nonzero(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The number of elements that are not 0, over axes."""
    marks = (x != 0).to(int64)
    return marks if axis == () else reduce.sum(marks, axis, keepdims)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of what is not 0, a vector a dim."""
    if not x.ndim:
        raise ShapeError(message("nonzero", "at least one dimension", "a 0-d tensor"))
    return _index.nonzero(x, as_tuple=True)


def searchsorted(
    x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where the elements of x2 would have to be inserted into the sorted x1."""
    dtype = result_type(x1, x2)  # a number takes the tensor's dtype
    x2 = operand("searchsorted", x2)
    if sorter is not None:
        sorter = sorter.to(int64)
    return _sort.searchsorted(x1.to(dtype), x2.to(dtype), side=side, sorter=sorter)


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    """x1 where the condition holds, x2 elsewhere."""
    return ternary.where(condition, *promoted(x1, x2))


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Which elements of x1 are among those of x2."""
    dtype = result_type(x1, x2)  # a number takes the tensor's dtype
    a, b = (operand("isin", x).to(dtype) for x in (x1, x2))
    return special.isin(a, b, invert=invert)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices at the indices, along an axis."""
    if axis is None:
        if x.ndim > 1:
            raise ValueError(message("take", "an axis for more than one dim", "none"))
        axis = 0
    return x.movedim(axis, 0)[indices.to(int64)].movedim(
        tuple(range(indices.ndim)), tuple(range(axis % x.ndim, axis % x.ndim + indices.ndim))
    )


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The elements at the indices along an axis, the other dims broadcast."""
    return gather.take_along_dim(x, indices.to(int64), axis)
