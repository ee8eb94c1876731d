"""torch's older forms of what linalg has under the same name with other arguments or results."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ...tensor import Tensor
from ..creation import zeros
from . import factor, pseudo, solve, spectral
from .common import matrix

__all__ = ["cholesky", "lu", "lu_solve", "pinverse", "qr", "svd"]

svd_result = namedtuple("svd", "U S V")


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The lower triangular L with input = L L^H (U^H U if upper): linalg.cholesky."""
    return factor.cholesky(input, upper=upper)


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), with get_infos also info: see linalg.lu_factor_ex."""
    packed = factor.lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    return tuple(packed if get_infos else packed[:2])


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """linalg.lu_solve(LU_data, LU_pivots, b)."""
    return solve.lu_solve(LU_data, LU_pivots, b)


def qr(input: Tensor, some: bool = True) -> Any:
    """(Q, R) with input = Q R, reduced or, if not some, complete: see linalg.qr."""
    return factor.qr(input, "reduced" if some else "complete")


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with input = U diag(S) V^H, reduced or, if not some, complete: see linalg.svd.

    Without compute_uv, U and V are zeros.
    """
    matrix("svd", input)
    if not compute_uv:
        lead, (m, n) = input._shape[:-2], input._shape[-2:]
        u, v = (zeros((*lead, k, k), dtype=input.dtype, device=input.device) for k in (m, n))
        return svd_result(u, spectral.svdvals(input), v)
    u, s, vh = spectral.svd(input, not some)
    return svd_result(u, s, vh.mH)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverses of matrices: linalg.pinv with another default."""
    return pseudo.pinv(input, rcond)
