"""Norms of vectors and matrices. Where a norm is 0, its gradient is 0."""

from __future__ import annotations

from typing import Any

from ...dtypes import as_dtype
from ...errors import DTypeError, ShapeError, message
from ...tensor import Tensor, wrap_dim
from ..reduce import _norm2
from ..ternary import where
from .spectral import svdvals

__all__ = ["matrix_norm", "norm", "vector_norm"]

_INF = float("inf")


def _prepared(op: str, x: Tensor, dtype: Any) -> Tensor:
    if not x.dtype.is_inexact:
        rule = "a floating or complex tensor"
        raise DTypeError(message(op, rule, x.dtype, "Cast with .float()."))
    return x if dtype is None else x.to(as_dtype(dtype))


def power_sum(size: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """sum(size^p)^(1/p), with derivatives 0 at elements and sums that are 0."""
    if p > 0:
        zero = size == 0
        size = where(zero, 0, where(zero, 1, size) ** p)
    else:
        size = size**p
    sums = size.sum(dims, keepdim=keepdim)
    zero = (sums == 0) | (sums == _INF) if p < 0 else sums == 0
    return where(zero, sums if p > 0 else 1 / sums, where(zero, 1, sums) ** (1.0 / p))


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of the elements along dims, as vectors: sum(|x|^ord)^(1 / ord).

    Args:
      x floating or complex; the result is real.
      ord: a number, or inf or -inf: the largest or smallest |x|; 0 counts elements that are not 0.
      dim: a dim or several; all by default.
      dtype: cast x to it first.
    Raises:
      DTypeError: integers.
    Example:
      >>> linalg.vector_norm(tensor([3.0, -4.0]))
      tensor(5.)
    """
    x = _prepared("linalg.vector_norm", x, dtype)
    if dim is None:
        dims = tuple(range(x.ndim))
    else:
        given = (dim,) if isinstance(dim, int) else tuple(dim)
        dims = tuple(wrap_dim("linalg.vector_norm", d, x.ndim) for d in given)
        dims = dims or tuple(range(x.ndim))
    if isinstance(ord, (str, bool)):
        raise ValueError(message("linalg.vector_norm", "a number as ord", repr(ord)))
    if ord == 2:
        return _norm2(x, dims=dims if x.ndim else (), keepdim=keepdim)
    size = x.abs()
    if not x.ndim:
        return (size != 0).to(size.dtype) if ord == 0 else size
    if ord == _INF:
        return size.amax(dims, keepdim=keepdim)
    if ord == -_INF:
        return size.amin(dims, keepdim=keepdim)
    if ord == 0:
        return (size != 0).to(size.dtype).sum(dims, keepdim=keepdim)
    if ord == 1:
        return size.sum(dims, keepdim=keepdim)
    return power_sum(size, float(ord), dims, keepdim)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of matrices.

    Args:
      A [..., m, n] floating or complex; the result is real.
      ord: "fro", the root of the sum of squares; "nuc", the sum of the singular values; 2 and -2,
        the largest and smallest of them; 1 and -1, the largest and smallest sum of a column's
        absolute values; inf and -inf, of a row's.
      dim: the two dims of the matrices.
    Raises:
      ValueError: another ord. ShapeError: not two dims.
    Example:
      >>> linalg.matrix_norm(tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
      tensor(6.)
    """
    op = "linalg.matrix_norm"
    A = _prepared(op, A, dtype)
    if isinstance(dim, int) or len(tuple(dim)) != 2:
        raise ShapeError(message(op, "two dims", dim))
    if A.ndim < 2:
        raise ShapeError(message(op, "matrices [..., m, n]", f"shape {list(A._shape)}"))
    row, col = (wrap_dim(op, d, A.ndim) for d in dim)
    if row == col:
        raise ShapeError(message(op, "two different dims", dim))
    if ord == "fro":
        return _norm2(A, dims=tuple(sorted((row, col))), keepdim=keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((row, col), (-2, -1)))
        y = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    elif ord in (1, -1, _INF, -_INF):
        inner, outer = (row, col) if abs(ord) == 1 else (col, row)
        sums = A.abs().sum(inner, keepdim=True)
        y = sums.amax(outer, keepdim=True) if ord > 0 else sums.amin(outer, keepdim=True)
        y = y.squeeze((row, col))
    else:
        wanted = 'ord "fro", "nuc", 1, -1, 2, -2, inf or -inf'
        raise ValueError(message(op, wanted, repr(ord)))
    if keepdim:
        low, high = sorted((row, col))
        y = y.unsqueeze(low).unsqueeze(high)
    return y


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """vector_norm along one dim, matrix_norm along two; the 2-norm of all elements by default.

    Args:
      ord: None is the 2-norm of the elements along dim. Otherwise, without dim, A is a vector or a
        matrix.
    Raises:
      ShapeError: ord without dim, and A has more than two dimensions.
    Example:
      >>> linalg.norm(tensor([[3.0, 0.0], [0.0, 4.0]]))
      tensor(5.)
    """
    options = {"keepdim": keepdim, "dtype": dtype}
    if dim is not None:
        dims = (dim,) if isinstance(dim, int) else tuple(dim)
        if len(dims) not in (1, 2):
            raise ShapeError(message("linalg.norm", "one or two dims", dim))
        if ord is None or len(dims) == 1:
            return vector_norm(A, 2 if ord is None else ord, dims, **options)
        return matrix_norm(A, ord, dims, **options)
    if ord is None:
        return vector_norm(A, 2, None, **options)
    if A.ndim not in (1, 2):
        got = f"shape {list(A._shape)}"
        raise ShapeError(message("linalg.norm", "a vector or a matrix", got, "Give dim."))
    if A.ndim == 1:
        return vector_norm(A, ord, None, **options)
    return matrix_norm(A, ord, (0, 1), **options)
