"""The linear algebra extension of the array API standard."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from ..errors import ShapeError, message
from ..ops import diagonals, products, reduce, views
from ..ops import matmul as _products
from ..tensor import Tensor
from .array import standardize
from .dtype_rules import result_type
from .products import matmul, matrix_transpose, tensordot, vecdot
from .statistics import sum as _sum

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip


class EigResult(NamedTuple):
    """What eig() and eigh() return."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What qr() returns."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """What slogdet() returns."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """What svd() returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _of(name: str) -> Any:
    return getattr(import_module("functorch_like.linalg"), name)


def _together(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    dtype = result_type(x1, x2)
    return x1.to(dtype), x2.to(dtype)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factor, lower or upper."""
    return _of("cholesky")(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross products of 3-vectors along an axis."""
    a, b = _together(x1, x2)
    if a._shape[axis] != 3 or b._shape[axis] != 3:
        raise ShapeError(
            message("cross", "vectors of 3 elements", f"{list(a._shape)} and {list(b._shape)}")
        )
    return products.cross(*views.broadcast_tensors(a, b), dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinants."""
    return _of("det")(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of the last two dims."""
    return diagonals.diagonal(x, offset, -2, -1)


def eig(x: Tensor, /) -> EigResult:
    """Eigenvalues and eigenvectors."""
    return EigResult(*_of("eig")(x))


def eigh(x: Tensor, /) -> EigResult:
    """Eigenvalues and eigenvectors of Hermitian matrices."""
    return EigResult(*_of("eigh")(x))


def eigvals(x: Tensor, /) -> Tensor:
    """The eigenvalues."""
    return _of("eigvals")(x)


def eigvalsh(x: Tensor, /) -> Tensor:
    """The eigenvalues of Hermitian matrices."""
    return _of("eigvalsh")(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverses."""
    return _of("inv")(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norms of matrices."""
    return _of("matrix_norm")(x, ord, (-2, -1), keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """The n-th powers."""
    return _of("matrix_power")(x, n)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The numbers of singular values above rtol times the largest."""
    return _of("matrix_rank")(x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The products of all pairs of two vectors' elements."""
    return _products.outer(*_together(x1, x2))


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The pseudo-inverses."""
    return _of("pinv")(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """The QR factors."""
    return QRResult(*_of("qr")(x, mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """Signs and logarithms of the absolute values of determinants."""
    return SlogdetResult(*_of("slogdet")(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The solutions of x1 @ y = x2; x2 is a vector only where it has one dim."""
    a, b = _together(x1, x2)
    if b.ndim == 1:
        return _of("solve")(a, b.unsqueeze(-1)).squeeze(-1)
    lead = views.broadcast_shapes(a._shape[:-2], b._shape[:-2])
    b = b.expand((*lead, *b._shape[-2:]))
    return _of("solve")(a.expand((*lead, *a._shape[-2:])), b)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """The singular value decompositions."""
    return SVDResult(*_of("svd")(x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values."""
    return _of("svdvals")(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of the last two dims."""
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The norms of vectors along axes."""
    if axis == ():
        size = x.abs()
        return (size != 0).to(size.dtype) if ord == 0 else size
    return reduce.norm(x, ord, axis, keepdims)


standardize(globals(), __all__)
