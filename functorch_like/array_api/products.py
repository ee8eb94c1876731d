"""Products of the array API standard's main namespace."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError, message
from ..ops import matmul as _matmul
from ..ops import products as _products
from ..ops import views
from ..tensor import Tensor
from .dtype_rules import result_type

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


def _together(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    dtype = result_type(x1, x2)
    return x1.to(dtype), x2.to(dtype)


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product."""
    return _matmul.matmul(*_together(x1, x2))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two dims swapped."""
    if x.ndim < 2:
        raise ShapeError(message("matrix_transpose", "at least 2 dimensions", f"{x.ndim}"))
    return views.transpose(x, -2, -1)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Summed products over axes: the last of x1 with the first of x2, or two lists of them."""
    return _products.tensordot(*_together(x1, x2), axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The dot products of vectors along an axis, x1 conjugated."""
    a, b = _together(x1, x2)
    if not a.ndim or not b.ndim or a._shape[axis] != b._shape[axis]:
        raise ShapeError(
            message("vecdot", "vectors of one length", f"{list(a._shape)} and {list(b._shape)}")
        )
    y = _products.vecdot(a, b, dim=axis)
    return y.to(a.dtype)  # sums of small integers are wider
