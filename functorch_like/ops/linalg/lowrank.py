"""A few singular values or eigenvalues: randomised decompositions of low rank, lobpcg."""

from __future__ import annotations

from typing import Any

from ...amp import wide
from ...errors import ShapeError, message
from ...tensor import Tensor
from ..random import randn
from .common import matrix, square
from .factor import cholesky, qr
from .older import svd_result
from .solve import solve_triangular
from .spectral import eigh, svd

__all__ = ["lobpcg", "pca_lowrank", "svd_lowrank"]


def _range(op: str, A: Tensor, q: int, rounds: int) -> Tensor:
    """Orthonormal columns that nearly span A's leading left singular vectors.

    Algorithm 4.4 of Halko, Martinsson & Tropp 2009.
    """
    m, n = A._shape[-2:]
    if not 0 <= q <= min(m, n):
        raise ValueError(message(op, f"q from 0 to {min(m, n)}", q))
    start = randn(n, q, dtype=A.dtype, device=A.device)
    found = qr(A @ start).Q
    for _ in range(rounds):
        found = qr(A @ qr(A.mH @ found).Q).Q
    return found


@wide
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> Any:
    """(U, S, V) with A nearly U diag(S) V^H, of rank q; of A - M if M is given. Randomised.

    Args:
      A [..., m, n] floating or complex.
      q: a little more than the rank wanted. niter: rounds of subspace iteration.
    Returns:
      U [..., m, q], S [..., q], V [..., n, q]
    Reference: Halko, Martinsson & Tropp 2009.
    """
    matrix("svd_lowrank", A)
    A = A if M is None else A - M
    q = 6 if q is None else q
    rounds = 2 if niter is None else niter
    if A._shape[-2] < A._shape[-1]:
        v, s, u = _lowrank(A.mH, q, rounds)
        return svd_result(u, s, v)
    return svd_result(*_lowrank(A, q, rounds))


def _lowrank(A: Tensor, q: int, rounds: int) -> tuple[Tensor, Tensor, Tensor]:
    basis = _range("svd_lowrank", A, q, rounds)
    u, s, vh = svd(basis.mH @ A, full_matrices=False)
    return basis @ u, s, vh.mH


@wide
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V): svd_lowrank of A's rows less their mean: V's columns are principal directions.

    Args:
      A [..., m, n] floating or complex. q: min(6, m, n) by default. center: subtract the mean.
    """
    matrix("pca_lowrank", A)
    q = min(6, *A._shape[-2:]) if q is None else q
    if not 0 <= q <= min(A._shape[-2:]) or niter < 0:
        wanted = f"q from 0 to {min(A._shape[-2:])} and niter not negative"
        raise ValueError(message("pca_lowrank", wanted, f"{q} and {niter}"))
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


@wide
def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """The k largest, or smallest, eigenvalues of A x = w B x, and their vectors.

    A dense matrix is decomposed as a whole, which is exact and has derivatives of all orders: the
    arguments of the iteration (X but for its number of columns, n, iK, niter, tol, method, tracker,
    ortho_*) are accepted for torch's sake.

    Args:
      A [..., m, m] Hermitian. B [..., m, m] Hermitian positive-definite, the identity by default.
      k: how many; X's number of columns, or 1, by default.
      largest: True by default.
    Returns:
      values [..., k], the wanted end first; vectors [..., m, k] with X^H B X = 1.
    """
    square("lobpcg", A)
    count = k if k is not None else X._shape[-1] if X is not None else 1
    if not 0 < count <= A._shape[-1]:
        raise ShapeError(message("lobpcg", f"k from 1 to {A._shape[-1]}", count))
    factor = None
    if B is not None:
        factor = cholesky(B)
        half = solve_triangular(factor, A, upper=False)
        A = solve_triangular(factor.mH, half, upper=True, left=False)
    values, vectors = eigh(A)
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    vectors = vectors[..., :count]
    if factor is not None:
        vectors = solve_triangular(factor.mH, vectors, upper=True)
    return values[..., :count], vectors
