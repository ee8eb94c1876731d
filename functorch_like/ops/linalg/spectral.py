"""Singular values, eigenvalues and eigenvectors.

Vectors are defined up to a phase (a sign); a derivative of them has a meaning for functions that do
not depend on it, and needs distinct values. Rules: torch's FunctionsManual; Wan & Zhang 2019 for
the complex singular value decomposition.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from cbackend import lib

from ...amp import wide
from ...errors import message
from ...op import Op
from ...samples import call, sampled
from ...tensor import Tensor
from ..join import cat
from .common import (
    FAMILY,
    batch_of,
    column,
    handles,
    hermitian_part,
    identity,
    matrix,
    named,
    real_if,
    spread,
    square,
    total,
)
from .solve import _solve

__all__ = [
    "eig", "eigh", "eigvals", "eigvalsh", "svd", "svdvals",
]  # fmt: skip


def _row(x: Tensor) -> Tensor:
    return x.unsqueeze(-2)


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(0, -2, -1)


def _differences(values: Tensor, off: float = 1.0) -> Tensor:
    """values[j] - values[i] at [i, j]; `off` on the diagonal, where it is divided by."""
    return _row(values) - column(values) + off * identity(values, values._shape[-1])


def _hollow(x: Tensor) -> Tensor:
    """Without the diagonal."""
    return x - identity(x, x._shape[-1]) * x


# ---- singular values ----


def _gaps(s: Tensor) -> Tensor:
    """s[j]^2 - s[i]^2, and 1 on the diagonal."""
    n = s._shape[-1]
    eye = identity(s, n)
    return (_row(s) - column(s)) * (_row(s) + column(s)) + eye


def _svd_vjp(ct: Any, out: Any, a: Tensor, *, full: bool, check: Any) -> Any:
    gu, gs, gvh = ct
    u, s, vh = out
    m, n = a._shape[-2:]
    k = min(m, n)
    u1, vh1 = u[..., :, :k], vh[..., :k, :]
    inner = None if gs is None else gs.to(a.dtype).diag_embed()
    sides: list[Tensor] = []
    gaps = _gaps(s)
    phase = None
    if gu is not None:
        g = gu[..., :, :k]
        if u._shape[-1] > k:  # the columns beyond turn with the others
            rest = u[..., :, k:]
            g = g - rest @ (gu[..., :, k:].mH @ u1)
        w = u1.mH @ g
        inner = total(inner, (w - w.mH) / gaps * _row(s))
        phase = _diagonal(w)
        if m > k:
            sides.append(((g - u1 @ w) / _row(s)) @ vh1)
    if gvh is not None:
        g = gvh[..., :k, :].mH
        v1 = vh1.mH
        if vh._shape[-2] > k:
            rest = vh[..., k:, :].mH
            g = g - rest @ (gvh[..., k:, :] @ v1)
        w = v1.mH @ g
        inner = total(inner, column(s) * ((w - w.mH) / gaps))
        phase = -_diagonal(w) if phase is None else phase - _diagonal(w)
        if n > k:
            sides.append(u1 @ ((g - v1 @ w) / _row(s)).mH)
    if inner is None:
        return (None,)
    if phase is not None and a.dtype.is_complex:
        inner = _hollow(inner) + _diagonal(inner).diag_embed().real
        inner = inner + (1j * phase.imag / (2 * s)).diag_embed()
    return (total(u1 @ inner @ vh1, *sides),)


def _svd_jvp(tangents: Any, out: Any, a: Tensor, *, full: bool, check: Any) -> Any:
    da = tangents[0]
    u, s, vh = out
    m, n = a._shape[-2:]
    k = min(m, n)
    u1, vh1 = u[..., :, :k], vh[..., :k, :]
    dp = u1.mH @ da @ vh1.mH
    ds = real_if(_diagonal(dp), True)
    gaps = _gaps(s)
    turn_u = _hollow((dp * _row(s) + column(s) * dp.mH) / gaps)
    turn_v = _hollow((column(s) * dp + dp.mH * _row(s)) / gaps)
    if a.dtype.is_complex:
        phase = (1j * _diagonal(dp).imag / (2 * s)).diag_embed()
        turn_u, turn_v = turn_u + phase, turn_v - phase
    du, dv = u1 @ turn_u, vh1.mH @ turn_v
    if m > k:
        moved = da @ vh1.mH
        du = du + (moved - u1 @ (u1.mH @ moved)) / _row(s)
    if n > k:
        moved = da.mH @ u1
        dv = dv + (moved - vh1.mH @ (vh1 @ moved)) / _row(s)
    if u._shape[-1] > k:
        du = cat([du, -u1 @ (du.mH @ u[..., :, k:])], -1)
    if vh._shape[-2] > k:
        dv = cat([dv, -vh1.mH @ (dv.mH @ vh[..., k:, :].mH)], -1)
    return du, ds, dv.mH


_svd = Op(
    "linalg_svd",
    lambda a, *, full, check: handles(3, lambda out: lib.cb_svd(a._v, full, 1, named(check), out)),
    vjp=_svd_vjp,
    jvp=_svd_jvp,
    batch=batch_of(lambda: _svd, 2),
    nouts=3,
    family=FAMILY,
)
sampled(  # complex vectors have a phase that differences do not follow
    _svd,
    lambda make: [
        call(spread(make, *shape), full=full, check=None)
        for shape, full in (
            ((3, 3), False),
            ((2, 4, 2), False),
            ((2, 4), False),
            ((3, 2), True),
            ((2, 3), True),
        )
    ],
)
_svdvals = Op(
    "linalg_svdvals",
    lambda a, *, check: lib_values(lambda out: lib.cb_svd(a._v, 0, 0, named(check), out)),
    batch=batch_of(lambda: _svdvals, 2),
    decompose=lambda a, *, check: _svd(a, full=False, check=check)[1],
    family=FAMILY,
)
sampled(
    _svdvals,
    lambda make: [call(spread(make, *s), check=None) for s in ((3, 3), (2, 2, 4), (4, 2), (0, 3))],
    kinds="float complex",
    oracle=lambda np, a, *, check: np.linalg.svd(a, compute_uv=False),
)


def lib_values(function: Any) -> Any:
    """The one output of a C function that fills an array."""
    out = handles(1, function)
    return out[0] if out else None


svd_result = namedtuple("svd", "U S Vh")


@wide
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh: singular values, descending, and singular vectors.

    Args:
      A [..., m, n] floating or complex.
      full_matrices: U and Vh are square; else [..., m, k] and [..., k, n] with k = min(m, n).
      driver: accepted for torch's sake.
    Raises:
      LinAlgError: the iteration does not converge, for example on nan.
    Notes: U and Vh have derivatives where singular values are distinct and not 0; functions of them
      must not depend on their phases (signs).
    """
    matrix("linalg.svd", A)
    wide = full_matrices and A._shape[-1] != A._shape[-2]
    return svd_result(*_svd(A, full=wide, check="linalg.svd"))


@wide
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of matrices, descending.

    Example:
      >>> linalg.svdvals(tensor([[3.0, 0.0], [0.0, -4.0]]))
      tensor([4., 3.])
    """
    matrix("linalg.svdvals", A)
    return _svdvals(A, check="linalg.svdvals")


# ---- Hermitian eigenvalues ----


def _eigh_vjp(ct: Any, out: Any, a: Tensor, *, part: int, check: Any) -> Any:
    (gw, gv), (w, v) = ct, out
    inner = None if gw is None else gw.to(a.dtype).diag_embed()
    if gv is not None:
        inner = total(inner, _hollow((v.mH @ gv) / _differences(w)))
    if inner is None:
        return (None,)
    return (v @ hermitian_part(inner) @ v.mH,)


def _eigh_jvp(tangents: Any, out: Any, _a: Tensor, *, part: int, check: Any) -> Any:
    w, v = out
    inner = v.mH @ hermitian_part(tangents[0]) @ v
    return real_if(_diagonal(inner), True), v @ _hollow(inner / _differences(w))


_eigh = Op(
    "linalg_eigh",
    lambda a, *, part, check: handles(2, lambda out: lib.cb_eigh(a._v, part, 1, named(check), out)),
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
    batch=batch_of(lambda: _eigh, 2),
    nouts=2,
    family=FAMILY,
)
BOTH = 2  # part: the mean of both triangles is read, so that all elements have derivatives
sampled(
    _eigh,
    lambda make: [call(spread(make, *s), part=BOTH, check=None) for s in ((3, 3), (2, 2, 2))],
)
_eigvalsh = Op(
    "linalg_eigvalsh",
    lambda a, *, part, check: lib_values(lambda out: lib.cb_eigh(a._v, part, 0, named(check), out)),
    batch=batch_of(lambda: _eigvalsh, 2),
    decompose=lambda a, *, part, check: _eigh(a, part=part, check=check)[0],
    family=FAMILY,
)
sampled(
    _eigvalsh,
    lambda make: [
        call(spread(make, *s), part=BOTH, check=None) for s in ((3, 3), (2, 2, 2), (0, 0))
    ],
    kinds="float complex",
    oracle=lambda np, a, *, part, check: np.linalg.eigvalsh(
        (a + np.conj(np.swapaxes(a, -1, -2))) / 2
    ),
)
eigh_result = namedtuple("eigh", "eigenvalues eigenvectors")


def _part(op: str, UPLO: str) -> int:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(message(op, 'UPLO "L" or "U"', repr(UPLO)))
    return int(UPLO.upper() == "U")


@wide
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of Hermitian matrices: real ones, ascending; columns.

    Args:
      A [..., n, n] floating or complex: its lower triangle is read, or the upper with UPLO="U".
    Raises:
      LinAlgError: the iteration does not converge, for example on nan.
    Notes: the gradient is Hermitian. Eigenvectors have derivatives where eigenvalues are distinct;
      functions of them must not depend on their phases (signs).
    Example:
      >>> linalg.eigh(tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
      tensor([1., 3.])
    """
    square("linalg.eigh", A)
    return eigh_result(*_eigh(A, part=_part("linalg.eigh", UPLO), check="linalg.eigh"))


@wide
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of Hermitian matrices, ascending: see eigh."""
    square("linalg.eigvalsh", A)
    return _eigvalsh(A, part=_part("linalg.eigvalsh", UPLO), check="linalg.eigvalsh")


# ---- general eigenvalues ----


def _eig_vjp(ct: Any, out: Any, a: Tensor, *, check: Any) -> Any:
    (gw, gv), (w, v) = ct, out
    inner = None if gw is None else gw.diag_embed()
    if gv is not None:
        g = v.mH @ gv
        g = g - (v.mH @ v) * _row(_diagonal(g).real)
        inner = total(inner, _hollow(g / _differences(w).conj()))
    if inner is None:
        return (None,)
    ga = _solve(v, inner @ v.mH, adjoint=True, check=None)[0]
    return (real_if(ga, not a.dtype.is_complex),)


def _eig_jvp(tangents: Any, out: Any, _a: Tensor, *, check: Any) -> Any:
    w, v = out
    inner = _solve(v, tangents[0].to(v.dtype) @ v, adjoint=False, check=None)[0]
    turned = v @ _hollow(inner / _differences(w))
    dv = turned - v * _row(_diagonal(v.mH @ turned).real)
    return _diagonal(inner), dv


_eig = Op(
    "linalg_eig",
    lambda a, *, check: handles(2, lambda out: lib.cb_eig(a._v, 1, named(check), out)),
    vjp=_eig_vjp,
    jvp=_eig_jvp,
    batch=batch_of(lambda: _eig, 2),
    nouts=2,
    family=FAMILY,
)
sampled(  # real eigenvalues and so real vectors: a phase is nothing that differences follow
    _eig,
    lambda make: [call(spread(make, *s), check=None) for s in ((3, 3), (2, 2, 2))],
)
_eigvals = Op(
    "linalg_eigvals",
    lambda a, *, check: lib_values(lambda out: lib.cb_eig(a._v, 0, named(check), out)),
    batch=batch_of(lambda: _eigvals, 2),
    decompose=lambda a, *, check: _eig(a, check=check)[0],
    family=FAMILY,
)
sampled(
    _eigvals,
    lambda make: [call(spread(make, *s), check=None) for s in ((3, 3), (2, 2, 2), (0, 0))],
    kinds="float complex",
)
eig_result = namedtuple("eig", "eigenvalues eigenvectors")


@wide
def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of square matrices: complex, in no order; columns of norm 1.

    Raises:
      LinAlgError: the iteration does not converge, for example on nan.
    Notes: eigenvectors have derivatives where eigenvalues are distinct; functions of them must not
      depend on their phases.
    Example:
      >>> linalg.eig(tensor([[0.0, 1.0], [-1.0, 0.0]])).eigenvalues
      tensor([0.+1.j, 0.-1.j])
    """
    square("linalg.eig", A)
    return eig_result(*_eig(A, check="linalg.eig"))


@wide
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no order."""
    square("linalg.eigvals", A)
    return _eigvals(A, check="linalg.eigvals")
