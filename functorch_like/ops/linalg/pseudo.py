"""The pseudoinverse, rank, least squares, condition: what depends on small singular values."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from cbackend import lib

from ...amp import wide
from ...dtypes import finfo
from ...errors import message
from ...op import Op, Spec, wrap
from ...samples import call, sampled
from ...tensor import Size, Tensor
from ...trace import untaped
from ..creation import full, zeros
from ..family import sum_to
from ..join import cat
from ..ternary import where
from .common import FAMILY, batch_of, column, good, handles, hermitian_part, leading, matrix, square
from .norms import matrix_norm
from .solve import _columns, inv_ex
from .spectral import _eigh, _svd, _svdvals, eigvalsh, svdvals

__all__ = ["cond", "lstsq", "matrix_rank", "pinv"]


# ---- pseudoinverse and rank ----


def _pinv_value(a: Tensor, atol: Tensor, rtol: Tensor, hermitian: bool) -> Tensor:
    if hermitian:
        s, u = _eigh(a, part=0, check="linalg.pinv")
        vh = u.mH
    else:
        u, s, vh = _svd(a, full=False, check="linalg.pinv")
    keep = s.abs() > _threshold(s.abs(), atol, rtol)
    inverse = where(keep, 1 / where(keep, s, 1), 0)
    return (vh.mH * inverse.unsqueeze(-2)) @ u.mH


def _threshold(s: Tensor, atol: Tensor, rtol: Tensor) -> Tensor:
    largest = s.amax(-1) if s._shape[-1] else zeros(s._shape[:-1], dtype=s.dtype, device=s.device)
    return column(atol.maximum(rtol * largest))


def _pinv_impl(a: Tensor, atol: Tensor, rtol: Tensor, *, hermitian: bool) -> Any:
    with untaped():
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
    real = make.dtype.to_real()
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


def _cutoffs(A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """The tolerances as tensors of A's real dtype; torch's defaults."""
    real = A.dtype.to_real()

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


@wide
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
    lowest, share = _cutoffs(A, atol, rcond if rtol is None else rtol)
    return _pinv(A, lowest, share, hermitian=hermitian)


@wide
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
    lowest, share = _cutoffs(A, atol, rtol)
    return (s > _threshold(s, lowest, share)).sum(-1)


# ---- least squares ----


def _least_squares(a: Tensor, b: Tensor, *, rcond: float) -> Any:
    """(solution, rank): many small matrices by singular values, which are found side by side."""
    m, n = a._shape[-2:]
    lead = a._shape[:-2]
    if not lead or Size(lead).numel() < 4 or max(m, n) > 32 or not m * n or a.dtype.is_complex:
        return _lstsq(a, b, rcond=rcond)
    lowest, share = _cutoffs(a, None, rcond)
    s = _svdvals(a, check="linalg.lstsq")
    rank = (s > _threshold(s, lowest, share)).sum(-1)
    x = _pinv(a, lowest, share, hermitian=False) @ b
    return x, rank.expand(x._shape[:-2])


def _lstsq_vjp(
    ct: Any, out: Any, a: Tensor, b: Tensor, *, rcond: float, needs: Sequence[bool]
) -> Any:
    """_pinv_vjp with P's products as solutions: P g, P^H g by those with A and A^H."""
    g, x = ct[0], out[0]
    if g is None:
        return None, None
    k = x._shape[-1]
    both = _least_squares(a.mH, cat([g, x], -1), rcond=rcond)[0]
    gb, y = both[..., :k], both[..., k:]
    ga = None
    if needs[0]:
        z = _least_squares(a, gb, rcond=rcond)[0]
        ga = (b - a @ x) @ z.mH - gb @ x.mH + y @ (g - a.mH @ gb).mH
        ga = sum_to(ga, Spec(a))
    return ga, sum_to(gb, Spec(b)) if needs[1] else None


def _lstsq_jvp(tangents: Any, out: Any, a: Tensor, b: Tensor, *, rcond: float) -> Any:
    (da, db), x = tangents, out[0]
    if da is None:
        return _least_squares(a, db, rcond=rcond)[0], None
    k = x._shape[-1]
    inner = _least_squares(a.mH, cat([da.mH @ (b - a @ x), x], -1), rcond=rcond)[0]
    moved = da.mH @ inner[..., k:]
    right = inner[..., :k] - da @ x - a @ moved
    right = right if db is None else right + db
    return _least_squares(a, right, rcond=rcond)[0] + moved, None


_lstsq = Op(
    "linalg_lstsq",
    lambda a, b, *, rcond: handles(2, lambda out: lib.cb_lstsq(a._v, b._v, rcond, out)),
    vjp=_lstsq_vjp,
    jvp=_lstsq_jvp,
    batch=lambda size, batched, a, b, *, rcond: _least_squares(
        *leading(size, batched, (a, b), (2, 2)), rcond=rcond
    ),
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


@wide
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
    matrix("linalg.lstsq", A)
    matrix("linalg.lstsq", B if B.ndim > 1 else B.unsqueeze(-1))
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ValueError(
            message("linalg.lstsq", 'driver "gels", "gelsy", "gelsd" or "gelss"', repr(driver))
        )
    right, vector = _columns(A, B)
    m, n = A._shape[-2:]
    share = finfo(A.dtype).eps * max(m, n) if rcond is None else float(rcond)
    x, rank = _least_squares(A, right, rcond=share)
    empty = zeros(0, dtype=A.dtype.to_real(), device=A.device)
    residuals, values = empty, empty
    if driver in ("gelsd", "gelss"):
        values = svdvals(A)
    if m > n and (driver == "gels" or (values is not empty and bool((rank == n).all()))):
        residuals = (A @ x - right).abs().square().sum(-2)
    if driver == "gels":
        rank = zeros(0, dtype="int64", device=A.device)
    return lstsq_result(x.squeeze(-1) if vector else x, residuals, rank, values)


# ---- condition ----


@wide
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A| |A^-1| of matrices in a norm; inf for singular ones.

    Args:
      A [..., m, n]; square unless p is None, 2 or -2.
      p: as in matrix_norm; None is 2, from the singular values.
    Example:
      >>> linalg.cond(tensor([[2.0, 0.0], [0.0, 8.0]]))
      tensor(4.)
    """
    matrix("linalg.cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    square("linalg.cond", A)
    if not A.numel():
        return zeros(A._shape[:-2], dtype=A.dtype.to_real(), device=A.device)
    inverse, info = inv_ex(A)
    singular = info != 0
    safe = where(column(column(singular)), 1, inverse)
    return where(singular, float("inf"), matrix_norm(A, p) * matrix_norm(safe, p))
