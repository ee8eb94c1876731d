"""Factorizations: LU, Cholesky, QR, and products of Householder reflections.

Derivative rules: Giles 2008 and, for LU of rectangles and QR of wide matrices, the formulas of
torch's FunctionsManual. Of a Hermitian matrix one triangle is read; the gradient is Hermitian.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from cbackend import lib

from ...amp import wide
from ...errors import ShapeError, message
from ...op import Op
from ...samples import call, sampled
from ...tensor import Tensor
from ..creation import arange, zeros, zeros_like
from ..join import cat
from ..ternary import where
from .common import (
    FAMILY,
    batch_of,
    column,
    floating,
    good,
    handles,
    hermitian_part,
    identity,
    matrix,
    named,
    positive,
    square,
)
from .solve import _permutation, _triangular, rows

LOWER = {"upper": False, "unit": False}
UNIT_LOWER = {"upper": False, "unit": True}
UPPER = {"upper": True, "unit": False}


def _left(a: Tensor, b: Tensor, form: dict[str, bool], adjoint: bool = False) -> Tensor:
    return _triangular(a, b, left=True, adjoint=adjoint, **form)


def _right(a: Tensor, b: Tensor, form: dict[str, bool], adjoint: bool = False) -> Tensor:
    return _triangular(a, b, left=False, adjoint=adjoint, **form)


# ---- LU ----


def _unpacked(lu: Tensor) -> tuple[Tensor, Tensor]:
    """L [..., m, k] and U [..., k, n]."""
    m, n = lu._shape[-2:]
    k = min(m, n)
    return lu[..., :, :k].tril(-1) + identity(lu, m, k), lu[..., :k, :].triu()


def _lu_vjp(ct: Any, out: Any, a_spec: Any, *, check: Any) -> Any:
    g, lu, pivots = ct[0], out[0], out[1]
    if g is None:
        return (None,)
    m, n = a_spec.shape[-2:]
    k = min(m, n)
    lower, upper = _unpacked(lu)
    square_lower, square_upper = lower[..., :k, :], upper[..., :, :k]
    gl, gu = g[..., :, :k].tril(-1), g[..., :k, :].triu()
    low = square_lower.mH @ gl[..., :k, :]
    up = gu[..., :, :k] @ square_upper.mH
    if m > n:
        up = up - lower[..., k:, :].mH @ gl[..., k:, :]
    elif n > m:
        low = low - gu[..., :, k:] @ upper[..., :, k:].mH
    middle = low.tril(-1) + up.triu()
    ga = _left(
        square_lower,
        _right(square_upper, middle, UPPER, adjoint=True),
        UNIT_LOWER,
        adjoint=True,
    )
    if m > n:
        ga = cat([ga, _right(square_upper, gl[..., k:, :], UPPER, adjoint=True)], -2)
    elif n > m:
        ga = cat([ga, _left(square_lower, gu[..., :, k:], UNIT_LOWER, adjoint=True)], -1)
    return (rows(ga, _permutation(pivots, m=m).argsort(-1)),)


def _lu_jvp(tangents: Any, out: Any, a: Tensor, *, check: Any) -> Any:
    lu, pivots, _ = out
    m, n = a._shape[-2:]
    k = min(m, n)
    da = rows(tangents[0], _permutation(pivots, m=m))
    lower, upper = _unpacked(lu)
    square_lower, square_upper = lower[..., :k, :], upper[..., :, :k]
    inner = _left(square_lower, _right(square_upper, da[..., :k, :k], UPPER), UNIT_LOWER)
    dl, du = square_lower @ inner.tril(-1), inner.triu() @ square_upper
    out_t = dl + du
    if m > n:
        below = _right(square_upper, da[..., k:, :] - lower[..., k:, :] @ du, UPPER)
        out_t = cat([out_t, below], -2)
    elif n > m:
        beside = _left(square_lower, da[..., :, k:] - dl @ upper[..., :, k:], UNIT_LOWER)
        out_t = cat([out_t, beside], -1)
    return out_t, None, None


_lu_factor = Op(
    "lu_factor",
    lambda a, *, check: handles(3, lambda out: lib.cb_lu_factor(a._v, named(check), out)),
    vjp=_lu_vjp,
    jvp=_lu_jvp,
    batch=batch_of(lambda: _lu_factor, 2),
    nouts=3,
    family=FAMILY,
)
sampled(
    _lu_factor,
    lambda make: [
        call(good(make, *shape), check=None)
        for shape in ((3, 3), (2, 4, 3), (3, 5), (1, 1), (0, 0))
    ],
    kinds="float complex",
)
lu_factor_result = namedtuple("lu_factor", "LU pivots")
lu_factor_ex_result = namedtuple("lu_factor_ex", "LU pivots info")
lu_result = namedtuple("lu", "P L U")


def _pivoted(op: str, A: Tensor, pivot: bool) -> None:
    matrix(op, A)
    if not pivot:
        raise NotImplementedError(message(op, "pivot=True", "pivot=False", "LAPACK always pivots."))


@wide
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L below the diagonal of LU, U on and above it; see linalg.lu.

    Args:
      A [..., m, n] floating or complex.
    Returns:
      LU [..., m, n], pivots [..., min(m, n)] int32: row k was swapped with row pivots[k] - 1.
    Raises:
      LinAlgError: U has a zero on its diagonal.
    """
    _pivoted("linalg.lu_factor", A, pivot)
    return lu_factor_result(*_lu_factor(A, check="linalg.lu_factor")[:2])


@wide
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """lu_factor() that gives (LU, pivots, info) instead of raising."""
    _pivoted("linalg.lu_factor_ex", A, pivot)
    return lu_factor_ex_result(
        *_lu_factor(A, check="linalg.lu_factor_ex" if check_errors else None)
    )


@wide
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U: a permutation, unit lower and upper triangular matrices.

    Example:
      >>> P, L, U = linalg.lu(tensor([[1.0, 2.0], [3.0, 4.0]]))
      >>> U
      tensor([[3.0000, 4.0000],
              [0.0000, 0.6667]])
    """
    _pivoted("linalg.lu", A, pivot)
    packed, pivots, _ = _lu_factor(A, check=None)
    return lu_unpack(packed, pivots)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """(P, L, U) from (LU, pivots); those not asked for are empty."""
    matrix("lu_unpack", LU_data)
    m = LU_data._shape[-2]
    empty = zeros(0, dtype=LU_data.dtype, device=LU_data.device)
    p = lower = upper = empty
    if unpack_data:
        lower, upper = _unpacked(LU_data)
    if unpack_pivots:
        order = _permutation(LU_pivots, m=m).unsqueeze(-2)
        places = arange(m, device=LU_data.device).unsqueeze(-1)
        p = (places == order).to(LU_data.dtype)
    return lu_result(p, lower, upper)


# ---- Cholesky ----


def _half_lower(x: Tensor) -> Tensor:
    """The lower triangle with half the diagonal."""
    return x.tril(-1) + identity(x, x._shape[-1]) * x / 2


def _cholesky_vjp(ct: Any, out: Any, _a: Tensor, *, part: int, check: Any) -> Any:
    if ct[0] is None:
        return (None,)
    factor = out[0]
    middle = hermitian_part(_half_lower(factor.mH @ ct[0]))
    return (_left(factor, _right(factor, middle, LOWER), LOWER, adjoint=True),)


def _cholesky_jvp(tangents: Any, out: Any, _a: Tensor, *, part: int, check: Any) -> Any:
    factor = out[0]
    inner = _left(factor, _right(factor, hermitian_part(tangents[0]), LOWER, adjoint=True), LOWER)
    return factor @ _half_lower(inner), None


_cholesky = Op(
    "linalg_cholesky",
    lambda a, *, part, check: handles(
        2, lambda out: lib.cb_cholesky(a._v, part, named(check), out)
    ),
    vjp=_cholesky_vjp,
    jvp=_cholesky_jvp,
    batch=batch_of(lambda: _cholesky, 2),
    nouts=2,
    family=FAMILY,
)
BOTH = 2  # part: the mean of both triangles is read, so that all elements have derivatives
sampled(
    _cholesky,
    lambda make: [
        call(positive(make, *shape), part=BOTH, check=None) for shape in ((3, 3), (2, 2, 2), (0, 0))
    ],
    kinds="float complex",
    oracle=lambda np, a, *, part, check: (np.linalg.cholesky(a), np.zeros(a.shape[:-2])),
)
cholesky_ex_result = namedtuple("cholesky_ex", "L info")


def _lower_factor(op: str, A: Tensor, upper: bool, check: str | None) -> Any:
    square(op, A)
    factor, info = _cholesky(A, part=int(upper), check=check)
    return (factor.mH if upper else factor), info


@wide
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L L^H (U with A = U^H U if upper).

    Args:
      A [..., n, n] Hermitian positive-definite; its lower (upper) triangle is read.
    Raises:
      LinAlgError: a matrix is not positive-definite.
    Example:
      >>> linalg.cholesky(tensor([[4.0, 2.0], [2.0, 5.0]]))
      tensor([[2., 0.],
              [1., 2.]])
    """
    return _lower_factor("linalg.cholesky", A, upper, "linalg.cholesky")[0]


@wide
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """cholesky() that gives (L, info) instead of raising."""
    name = "linalg.cholesky_ex"
    return cholesky_ex_result(*_lower_factor(name, A, upper, name if check_errors else None))


# ---- QR ----


def _upper_with_half(x: Tensor) -> Tensor:
    """T of x = S + T, S skew-Hermitian, T upper triangular with a real diagonal."""
    both = x + x.mH
    return both.triu(1) + identity(x, x._shape[-1]) * both / 2


def _from_upper(x: Tensor) -> Tensor:
    """The transpose of _upper_with_half."""
    upper = x.triu(1)
    return upper + upper.mH + identity(x, x._shape[-1]) * hermitian_part(x)


def _qr_vjp(ct: Any, out: Any, a_spec: Any) -> Any:
    (gq, gr), (q, r) = ct, out
    m, n = a_spec.shape[-2:]
    gq = zeros_like(q) if gq is None else gq
    gr = zeros_like(r) if gr is None else gr
    wide = n > m
    if wide:
        gq = gq + q @ (r[..., :, m:] @ gr[..., :, m:].mH)
    square_r, square_gr = r[..., :, :m] if wide else r, gr[..., :, :m] if wide else gr
    middle = _from_upper(square_gr @ square_r.mH - q.mH @ gq)
    ga = _right(square_r, gq + q @ middle, UPPER, adjoint=True)
    return (cat([ga, q @ gr[..., :, m:]], -1) if wide else ga,)


def _qr_jvp(tangents: Any, out: Any, a: Tensor) -> Any:
    (q, r), da = out, tangents[0]
    m, n = a._shape[-2:]
    if n > m:
        inner = q.mH @ _right(r[..., :, :m], da[..., :, :m], UPPER)
        skew = inner - _upper_with_half(inner)
        return q @ skew, q.mH @ da - skew @ r
    moved = _right(r, da, UPPER)
    upper = _upper_with_half(q.mH @ moved)
    return moved - q @ upper, upper @ r


_qr = Op(
    "linalg_qr",
    lambda a: handles(2, lambda out: lib.cb_qr(a._v, 0, out)),
    vjp=_qr_vjp,
    jvp=_qr_jvp,
    batch=batch_of(lambda: _qr, 2),
    nouts=2,
    family=FAMILY,
)
sampled(
    _qr,
    lambda make: [call(good(make, *shape)) for shape in ((3, 3), (2, 4, 2), (2, 4), (1, 1))],
    kinds="float complex",
    oracle=lambda np, a: tuple(np.linalg.qr(a)),
)


def _qr_complete_meaning(a: Tensor) -> Any:
    m, n = a._shape[-2:]
    packed, tau = _geqrf(a)
    more = zeros((*a._shape[:-1], m - n), dtype=a.dtype, device=a.device)
    return _householder(cat([packed, more], -1), tau), packed.triu()


_qr_complete = Op(
    "qr_complete",
    lambda a: handles(2, lambda out: lib.cb_qr(a._v, 1, out)),
    batch=batch_of(lambda: _qr_complete, 2),
    decompose=_qr_complete_meaning,
    nouts=2,
    family=FAMILY,
)
sampled(
    _qr_complete,
    lambda make: [call(good(make, 4, 2)), call(good(make, 2, 3, 2))],
    kinds="float complex",
    oracle=lambda np, a: tuple(np.linalg.qr(a, "complete")),
)
qr_result = namedtuple("qr", "Q R")


@wide
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R: orthonormal columns, and an upper triangular matrix.

    Args:
      A [..., m, n] floating or complex.
      mode: "reduced": Q [..., m, k], R [..., k, n] with k = min(m, n); "complete": Q is square;
        "r": Q is empty.
    Raises:
      ValueError: another mode.
    Example:
      >>> Q, R = linalg.qr(tensor([[3.0, 1.0], [4.0, 2.0]]))
      >>> R
      tensor([[-5.0000, -2.2000],
              [ 0.0000,  0.4000]])
    """
    matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(message("linalg.qr", 'mode "reduced", "complete" or "r"', repr(mode)))
    if mode == "complete" and A._shape[-2] > A._shape[-1]:
        return qr_result(*_qr_complete(A))
    q, r = _qr(A)
    return qr_result(zeros(0, dtype=A.dtype, device=A.device) if mode == "r" else q, r)


# ---- Householder reflections ----


def _first(x: Tensor) -> Tensor:
    return x[..., :1, :1]


def _geqrf_meaning(a: Tensor) -> Any:
    """LAPACK's xGEQR2, a column a step; xLARFG makes the reflections."""
    m, n = a._shape[-2:]
    steps = []
    rest = a
    for _ in range(min(m, n)):
        first, below = _first(rest), rest[..., 1:, :1]
        weight = below.abs().square().sum((-2, -1), keepdim=True)
        imaginary = first.imag if a.dtype.is_complex else first * 0
        flat = (weight == 0) & (imaginary == 0)
        real = first.real if a.dtype.is_complex else first
        length = where(flat, 1, weight + first.abs().square()).sqrt()
        beta = where(real >= 0, -length, length).to(a.dtype)
        tau = where(flat, 0, (beta - first) / beta)
        v = where(flat, 0, below / where(flat, 1, first - beta))
        top = rest[..., :1, 1:]
        inner = tau.conj() * (top + v.mH @ rest[..., 1:, 1:])
        steps.append((where(flat, first, beta), top - inner, v, tau))
        rest = rest[..., 1:, 1:] - v @ inner
    packed = rest
    for diagonal, right, v, _ in reversed(steps):
        packed = cat([cat([diagonal, right], -1), cat([v, packed], -1)], -2)
    lead = a._shape[:-2]
    taus = [tau.squeeze(-1) for *_, tau in steps]
    tau = cat(taus, -1) if taus else zeros((*lead, 0), dtype=a.dtype, device=a.device)
    return packed, tau


_geqrf = Op(
    "geqrf",
    lambda a: handles(2, lambda out: lib.cb_geqrf(a._v, out)),
    batch=batch_of(lambda: _geqrf, 2),
    decompose=_geqrf_meaning,
    nouts=2,
    family=FAMILY,
)
sampled(
    _geqrf,
    lambda make: [call(good(make, *shape)) for shape in ((3, 3), (2, 4, 2), (2, 3))],
    kinds="float complex",
)
geqrf_result = namedtuple("geqrf", "a tau")


@wide
def geqrf(input: Tensor) -> Any:
    """(a, tau): R on and above the diagonal of a, Householder reflectors below it.

    householder_product(a, tau) is Q; ormqr multiplies with it.

    Args:
      input [..., m, n] floating or complex.
    """
    matrix("geqrf", input)
    return geqrf_result(*_geqrf(input))


def _reflectors(a: Tensor, k: int) -> list[Tensor]:
    """The vectors of the first k reflections, as columns."""
    v = a[..., :, :k].tril(-1) + identity(a, a._shape[-2], k)
    return [v[..., :, i : i + 1] for i in range(k)]


def _factor(tau: Tensor, i: int) -> Tensor:
    return column(tau[..., i : i + 1])


def _householder_meaning(a: Tensor, tau: Tensor) -> Tensor:
    m, n = a._shape[-2:]
    k = tau._shape[-1]
    q: Tensor = identity(a, m, n)
    for i, v in reversed(list(enumerate(_reflectors(a, k)))):
        q = q - (_factor(tau, i) * v) @ (v.mH @ q)
    return q if k else q + a * 0


_householder = Op(
    "householder_product",
    lambda a, tau: lib.cb_householder_product(a._v, tau._v),
    batch=batch_of(lambda: _householder, 2, 1),
    decompose=_householder_meaning,
    family=FAMILY,
)
sampled(
    _householder,
    lambda make: [
        call(make(4, 3), make(3)),
        call(make(2, 3, 3), make(2, 2)),
        call(make(3, 2), make(1)),
    ],
    kinds="float complex",
)


@wide
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of H_1 ... H_k, H_i = 1 - tau_i v_i v_i^H.

    Args:
      A [..., m, n], m >= n: v_i below the diagonal of column i, 1 on it, 0 above.
      tau [..., k], k <= n.
    Returns:
      [..., m, n]
    Raises:
      ShapeError: sizes do not fit.
    """
    matrix("linalg.householder_product", A)
    return _householder(A, tau)


orgqr = householder_product


def _ormqr_meaning(a: Tensor, tau: Tensor, c: Tensor, *, left: bool, transpose: bool) -> Tensor:
    order = list(enumerate(_reflectors(a, tau._shape[-1])))
    for i, v in order if left == transpose else reversed(order):
        t = _factor(tau, i)
        v_t = v * (t.conj() if transpose else t)
        c = c - v_t @ (v.mH @ c) if left else c - (c @ v_t) @ v.mH
    return c


_ormqr = Op(
    "ormqr",
    lambda a, tau, c, *, left, transpose: lib.cb_ormqr(a._v, tau._v, c._v, left, transpose),
    batch=batch_of(lambda: _ormqr, 2, 1, 2),
    decompose=_ormqr_meaning,
    family=FAMILY,
)


def _ormqr_sample(make: Any, shape: tuple[int, ...], left: bool, transpose: bool) -> Any:
    packed, tau = _geqrf(good(make, 3, 2))
    return call(packed, tau, make(*shape), left=left, transpose=transpose)


sampled(
    _ormqr,
    lambda make: [
        _ormqr_sample(make, (3, 2), True, False),
        _ormqr_sample(make, (2, 3, 1), True, True),
        _ormqr_sample(make, (2, 3), False, False),
        _ormqr_sample(make, (1, 3), False, True),
    ],
    kinds="float complex",
)


@wide
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q @ other, or other @ Q if not left, with the square Q of geqrf's reflections.

    Args:
      input [..., m, k], tau [..., k]: what geqrf gives.
      transpose: Q^H in place of Q.
    Raises:
      ShapeError: sizes do not fit.
    """
    matrix("ormqr", input)
    floating("ormqr", other)
    if other.ndim < 2:
        raise ShapeError(message("ormqr", "other [..., m, n]", f"shape {list(other._shape)}"))
    return _ormqr(input, tau, other, left=left, transpose=transpose)


__all__ = [
    "cholesky", "cholesky_ex", "geqrf", "householder_product", "lu", "lu_factor",
    "lu_factor_ex", "lu_unpack", "orgqr", "ormqr", "qr",
]  # fmt: skip
