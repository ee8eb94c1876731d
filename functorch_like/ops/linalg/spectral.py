"""Singular values, eigenvalues and eigenvectors, and what is computed from them.

Vectors are defined up to a phase (a sign); a derivative of them has a meaning for functions that do
not depend on it, and needs distinct values. Rules: torch's FunctionsManual; Wan & Zhang 2019 for
the complex singular value decomposition.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from cbackend import lib

from ...dtypes import finfo
from ...errors import message
from ...op import Op, Spec, wrap
from ...samples import call, sampled
from ...tensor import Tensor
from ...trace import no_grad
from ..creation import full, zeros
from ..family import sum_to
from ..ternary import where
from .common import (
    FAMILY,
    batch_of,
    column,
    good,
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

__all__ = [
    "cond", "eig", "eigh", "eigvals", "eigvalsh", "lstsq", "matrix_rank", "pinv", "svd", "svdvals",
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
        from ..join import cat

        du = cat([du, -u1 @ (du.mH @ u[..., :, k:])], -1)
    if vh._shape[-2] > k:
        from ..join import cat

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


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of Hermitian matrices, ascending: see eigh."""
    square("linalg.eigvalsh", A)
    return _eigvalsh(A, part=_part("linalg.eigvalsh", UPLO), check="linalg.eigvalsh")


# ---- general eigenvalues ----


def _eig_vjp(ct: Any, out: Any, a: Tensor, *, check: Any) -> Any:
    from .solve import _solve

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
    from .solve import _solve

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


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no order."""
    square("linalg.eigvals", A)
    return _eigvals(A, check="linalg.eigvals")


# ---- pseudoinverse and rank ----


def _pinv_value(a: Tensor, atol: Tensor, rtol: Tensor, hermitian: bool) -> Tensor:
    if hermitian:
        s, u = _eigh(a, part=0, check="linalg.pinv")
        vh = u.mH
    else:
        u, s, vh = _svd(a, full=False, check="linalg.pinv")
    keep = s.abs() > _threshold(s.abs(), atol, rtol)
    inverse = where(keep, 1 / where(keep, s, 1), 0)
    return (vh.mH * _row(inverse)) @ u.mH


def _threshold(s: Tensor, atol: Tensor, rtol: Tensor) -> Tensor:
    largest = s.amax(-1) if s._shape[-1] else zeros(s._shape[:-1], dtype=s.dtype, device=s.device)
    return column(atol.maximum(rtol * largest))


def _pinv_impl(a: Tensor, atol: Tensor, rtol: Tensor, *, hermitian: bool) -> Any:
    with no_grad():
        x, lowest, share = (wrap(lib.cb_retain(t._v)) for t in (a, atol, rtol))
        result = _pinv_value(x, lowest, share, hermitian)
        return lib.cb_retain(result._v)


def _pinv_vjp(
    g: Tensor, p: Tensor, a: Tensor, _atol: Tensor, _rtol: Tensor, *, hermitian: bool
) -> Any:
    """Golub & Pereyra 1973, transposed."""
    ph, gh = p.mH, g.mH
    left = gh @ p @ ph
    right = ph @ p @ gh
    ga = -(ph @ g @ ph) + (left - (a @ p) @ left) + (right - right @ (p @ a))
    return sum_to(hermitian_part(ga) if hermitian else ga, Spec(a)), None, None


def _pinv_jvp(
    tangents: Any, p: Tensor, a: Tensor, _atol: Tensor, _rtol: Tensor, *, hermitian: bool
) -> Tensor:
    da = tangents[0]
    if da is None:
        return p * 0
    da = hermitian_part(da) if hermitian else da
    left, right = p @ (p.mH @ da.mH), (da.mH @ p.mH) @ p
    return -(p @ da @ p) + (left - left @ (a @ p)) + (right - (p @ a) @ right)


_pinv = Op(
    "linalg_pinv",
    _pinv_impl,
    vjp=_pinv_vjp,
    jvp=_pinv_jvp,
    batch=batch_of(lambda: _pinv, 2, 0, 0),
    family=FAMILY,
)


def _tolerances(make: Any, rtol: float = 1e-8) -> tuple[Tensor, Tensor]:
    real = finfo(make.dtype).dtype if make.dtype.is_complex else make.dtype
    return full((), 0.0, dtype=real), full((), rtol, dtype=real)


sampled(
    _pinv,
    lambda make: [
        *[
            call(good(make, *shape), *_tolerances(make), hermitian=False)
            for shape in ((3, 3), (2, 4, 2), (2, 4))
        ],
        call(make(3, 0), *_tolerances(make), hermitian=False),
    ],
    kinds="float complex",
    oracle=lambda np, a, atol, rtol, *, hermitian: np.linalg.pinv(a),
)


def _cutoffs(op: str, A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """The tolerances as tensors of A's real dtype; torch's defaults."""
    real = A.dtype if not A.dtype.is_complex else (A.detach().real.dtype)

    def tensor(value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value.to(real)
        return full((), float(value), dtype=real, device=A.device)

    if rtol is None:
        rtol = 0.0
        if atol is None or not isinstance(atol, Tensor):
            default = finfo(real).eps * max(A._shape[-2:])
            rtol = default if atol is None or atol <= 0 else 0.0
        else:
            default = full((), finfo(real).eps * max(A._shape[-2:]), dtype=real, device=A.device)
            rtol = where(atol > 0, 0, default)
    return tensor(0.0 if atol is None else atol), tensor(rtol)


def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """The Moore-Penrose inverses of matrices.

    Args:
      A [..., m, n] floating or complex.
      rcond: older name of rtol.
      hermitian: A is Hermitian: faster.
      atol, rtol: numbers or tensors [...]: singular values up to max(atol, rtol * largest) count as
        zero. By default rtol is max(m, n) * eps, or 0 if atol is positive.
    Returns:
      [..., n, m]
    Notes: differentiable where the rank does not change.
    Reference: Golub & Pereyra 1973.
    Example:
      >>> linalg.pinv(tensor([[2.0, 0.0], [0.0, 0.0]]))
      tensor([[0.5000, 0.0000],
              [0.0000, 0.0000]])
    """
    matrix("linalg.pinv", A)
    if hermitian:
        square("linalg.pinv", A)
    lowest, share = _cutoffs("linalg.pinv", A, atol, rcond if rtol is None else rtol)
    return _pinv(A, lowest, share, hermitian=hermitian)


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values of each matrix are above max(atol, rtol * largest): int64 [...].

    Args:
      tol: older name of atol, with rtol 0.
      hermitian, atol, rtol: see pinv.
    Example:
      >>> linalg.matrix_rank(tensor([[1.0, 2.0], [2.0, 4.0]]))
      tensor(1)
    """
    matrix("linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    s = eigvalsh(A).abs() if hermitian else svdvals(A)
    lowest, share = _cutoffs("linalg.matrix_rank", A, atol, rtol)
    return (s > _threshold(s, lowest, share)).sum(-1)


# ---- least squares ----


def _lstsq_meaning(a: Tensor, b: Tensor, *, rcond: float) -> Any:
    lowest, share = _cutoffs("linalg.lstsq", a, None, rcond)
    s = _svdvals(a, check="linalg.lstsq")
    rank = (s > _threshold(s, lowest, share)).sum(-1)
    x = _pinv(a, lowest, share, hermitian=False) @ b
    return x, rank.expand(x._shape[:-2])


_lstsq = Op(
    "linalg_lstsq",
    lambda a, b, *, rcond: handles(2, lambda out: lib.cb_lstsq(a._v, b._v, rcond, out)),
    batch=batch_of(lambda: _lstsq, 2, 2),
    decompose=_lstsq_meaning,
    nouts=2,
    family=FAMILY,
)
sampled(
    _lstsq,
    lambda make: [
        call(good(make, 4, 2), make(4, 2), rcond=1e-10),
        call(good(make, 2, 2, 3), make(2, 1), rcond=1e-10),
        call(good(make, 2, 2), make(2, 2, 1), rcond=1e-10),
    ],
    kinds="float complex",
)
lstsq_result = namedtuple("lstsq", "solution residuals rank singular_values")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values): the X of least norm that minimises |A X - B|.

    Args:
      A [..., m, n] floating or complex. B [..., m, k] or vectors [..., m].
      rcond: singular values up to rcond times the largest count as zero; eps * max(m, n) by
        default.
      driver: "gelsy" (default), "gelsd" or "gelss", or "gels", which says that A has full rank.
    Returns:
      solution [..., n, k]; residuals [..., k], the squares of |A X - B|, if m > n, A has full rank
      and the driver is another than "gelsy", else empty; rank int64 [...], empty for "gels";
      singular_values [..., min(m, n)] for "gelsd" and "gelss", else empty.
    Raises:
      ValueError: another driver. ShapeError: sizes do not fit.
    Example:
      >>> A = tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
      >>> linalg.lstsq(A, tensor([[1.0], [3.0], [5.0]])).rank
      tensor(2)
    """
    from .solve import _columns

    matrix("linalg.lstsq", A)
    matrix("linalg.lstsq", B if B.ndim > 1 else B.unsqueeze(-1))
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ValueError(
            message("linalg.lstsq", 'driver "gels", "gelsy", "gelsd" or "gelss"', repr(driver))
        )
    right, vector = _columns(A, B)
    m, n = A._shape[-2:]
    share = finfo(A.dtype).eps * max(m, n) if rcond is None else float(rcond)
    x, rank = _lstsq(A, right, rcond=share)
    real = A.dtype if not A.dtype.is_complex else A.detach().real.dtype
    empty = zeros(0, dtype=real, device=A.device)
    residuals, values = empty, empty
    if driver in ("gelsd", "gelss"):
        values = svdvals(A)
    if m > n and (driver == "gels" or (values is not empty and bool((rank == n).all()))):
        residuals = (A @ x - right).abs().square().sum(-2)
    if driver == "gels":
        rank = zeros(0, dtype="int64", device=A.device)
    return lstsq_result(x.squeeze(-1) if vector else x, residuals, rank, values)


# ---- condition ----


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A| |A^-1| of matrices in a norm; inf for singular ones.

    Args:
      A [..., m, n]; square unless p is None, 2 or -2.
      p: as in matrix_norm; None is 2, from the singular values.
    Example:
      >>> linalg.cond(tensor([[2.0, 0.0], [0.0, 8.0]]))
      tensor(4.)
    """
    from .norms import matrix_norm
    from .solve import inv_ex

    matrix("linalg.cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    square("linalg.cond", A)
    if not A.numel():
        real = A.dtype if not A.dtype.is_complex else A.detach().real.dtype
        return zeros(A._shape[:-2], dtype=real, device=A.device)
    inverse, info = inv_ex(A)
    singular = info != 0
    safe = where(column(column(singular)), 1, inverse)
    return where(singular, float("inf"), matrix_norm(A, p) * matrix_norm(safe, p))
