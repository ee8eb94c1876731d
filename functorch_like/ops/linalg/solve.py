"""Linear systems: solve, inverse, triangular systems, solutions with given factors.

The derivative of X = A^-1 B is A^-1 (dB - dA X), so every rule here is again a solution, with the
factorization the forward pass made (Giles 2008).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from cbackend import lib

from ...amp import wide
from ...errors import ShapeError, message
from ...op import NONDIFF, Op, Spec, wrap
from ...samples import call, sampled
from ...tensor import Tensor
from ..creation import arange
from ..family import sum_to
from ..views import broadcast_shapes
from .common import (
    FAMILY,
    batch_of,
    floating,
    from_bits,
    good,
    handles,
    identity,
    leading,
    named,
    square,
    to_bits,
    total,
)

_TRANS = {False: 0, True: 2}  # of the C interface: as it is, conjugated and transposed


# ---- solve ----


def _solve_impl(a: Tensor, b: Tensor, *factors: Tensor, adjoint: bool, check: str | None) -> Any:
    if factors:
        bits, pivots = (lib.cb_retain(f._v) for f in factors)
        info = lib.cb_retain(pivots)
        lu = from_bits(factors[0], a.dtype)
    else:
        made = handles(3, lambda out: lib.cb_lu_factor(a._v, named(check), out))
        if not made:
            return ()
        lu, pivots, info = wrap(made[0]), made[1], made[2]
        bits = to_bits(lu._v, keep=True)
    x = lib.cb_lu_solve(lu._v, pivots, b._v, _TRANS[adjoint])
    if not x:
        for h in (bits, pivots, info):
            lib.cb_release(h)
        return ()
    return x, bits, pivots, info


def _solve_vjp(
    ct: Any,
    out: Any,
    a: Tensor,
    b_spec: Spec,
    *_factors: Tensor,
    adjoint: bool,
    check: str | None,
    needs: Sequence[bool],
) -> Any:
    none = [None] * len(_factors)
    if ct[0] is None:
        return None, None, *none
    x, bits, pivots, _ = out
    gb = _solve(a, ct[0], bits, pivots, adjoint=not adjoint, check=None)[0]
    ga = None
    if needs[0]:
        ga = -(x @ gb.mH) if adjoint else -(gb @ x.mH)
        ga = sum_to(ga, Spec(a))
    return ga, sum_to(gb, b_spec) if needs[1] else None, *none


def _solve_jvp(
    tangents: Any, out: Any, a: Tensor, _b: Tensor, *_factors: Tensor, adjoint: bool, check: Any
) -> Any:
    x, bits, pivots, _ = out
    da, db = tangents[:2]
    moved = None if da is None else -((da.mH if adjoint else da) @ x)
    right = total(db, moved)
    dx = None
    if right is not None:
        dx = _solve(a, right, bits, pivots, adjoint=adjoint, check=None)[0]
    return dx, None, None, None


def _as_columns(b: Tensor) -> Tensor:
    """[..., n, k] as one matrix of n rows: right sides of one system, solved together."""
    n = b._shape[-2]
    return b.movedim(-2, 0).reshape((n, b.numel() // n if n else 0))


def _from_columns(x: Tensor, b: Tensor) -> Tensor:
    """Undoes _as_columns."""
    n, lead, k = b._shape[-2], b._shape[:-2], b._shape[-1]
    return x.reshape((n, *lead, k)).movedim(0, -2)


def _solve_batch(
    size: int, batched: Sequence[bool], a: Tensor, b: Tensor, *factors: Tensor, **params: Any
) -> Any:
    one = not any((batched[0], *batched[2:]))
    if one and a.ndim == 2 and a._shape[0]:
        x, *rest = _solve(a, _as_columns(b), *factors, **params)
        x = _from_columns(x, b)
    else:
        args = leading(size, batched, (a, b, *factors), (2, 2, 2, 1)[: 2 + len(factors)])
        x, *rest = _solve(*args, **params)
    info = rest[-1]
    if one:
        rest = [y.unsqueeze(0).expand((size, *y._shape)) for y in rest]
    elif not factors:  # without the ones that stood in for dims of b
        lead = a._shape[:-2]
        rest = [y.reshape((*lead, *y._shape[-c:])) for y, c in zip(rest, (2, 1), strict=False)]
        rest.append(info.reshape(lead))
    return x, *rest


_solve = Op(
    "linalg_solve",
    _solve_impl,
    vjp=_solve_vjp,
    jvp=_solve_jvp,
    batch=_solve_batch,
    nouts=4,
    family=FAMILY,
)
sampled(
    _solve,
    lambda make: [
        call(good(make, 3, 3), make(3, 2), adjoint=False, check=None),
        call(good(make, 3, 3), make(3, 2), adjoint=True, check=None),
        call(good(make, 2, 3, 3), make(3, 1), adjoint=False, check=None),
        call(good(make, 3, 3), make(2, 3, 2), adjoint=True, check=None),
        call(good(make, 1, 1), make(1, 0), adjoint=False, check=None),
    ],
    kinds="float complex",
)


def _columns(A: Tensor, B: Tensor) -> tuple[Tensor, bool]:
    """B as matrices, and whether it held vectors: torch's rule."""
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and B._shape == A._shape[:-1])
    return (B.unsqueeze(-1) if vector else B), vector


solve_ex_result = namedtuple("solve_ex", "result info")


def _solved(op: str, A: Tensor, B: Tensor, left: bool, check: str | None) -> Any:
    square(op, A)
    floating(op, B)
    B, vector = _columns(A, B)
    if not left:
        if vector:
            got = f"left=False and vectors of shape {list(B._shape[:-1])}"
            raise ShapeError(message(op, "matrices B with left=False", got))
        A, B = A.mT, B.mT
    rows, n = B._shape[-2], A._shape[-1]
    if rows != n:
        wanted = f"B with {n} {'rows' if left else 'columns'}"
        raise ShapeError(message(op, wanted, f"shapes {list(A._shape)} and {list(B._shape)}"))
    if A.ndim == 2 and B.ndim > 2 and n:
        x, _, _, info = _solve(A, _as_columns(B), adjoint=False, check=check)
        x = _from_columns(x, B)
    else:
        x, _, _, info = _solve(A, B, adjoint=False, check=check)
    x = x if left else x.mT
    return (x.squeeze(-1) if vector else x), info


@wide
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A X = B, or X A = B if not left.

    Args:
      A [..., n, n] floating or complex.
      B [..., n, k] or vectors [..., n] (k x n if not left); leading dims broadcast with A's.
    Raises:
      LinAlgError: a matrix is singular. ShapeError: sizes do not fit.
    Example:
      >>> linalg.solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([2.0, 2.0]))
      tensor([1.0000, 0.5000])
    """
    return _solved("linalg.solve", A, B, left, "linalg.solve")[0]


@wide
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """solve() that gives (result, info) instead of raising: info is not 0 where A is singular."""
    name = "linalg.solve_ex"
    return solve_ex_result(*_solved(name, A, B, left, name if check_errors else None))


# ---- inverse ----

_inv = Op(
    "linalg_inv",
    lambda a, *, check: handles(2, lambda out: lib.cb_inv(a._v, named(check), out)),
    vjp=lambda ct, out, _a, *, check: (
        None if ct[0] is None else -(out[0].mH @ ct[0] @ out[0].mH),
    ),
    jvp=lambda tangents, out, _a, *, check: (-(out[0] @ tangents[0] @ out[0]), None),
    batch=batch_of(lambda: _inv, 2),
    nouts=2,
    family=FAMILY,
)
sampled(
    _inv,
    lambda make: [
        call(good(make, 3, 3), check=None),
        call(good(make, 2, 2, 2), check=None),
        call(make(0, 0), check=None),
    ],
    kinds="float complex",
    oracle=lambda np, a, *, check: (np.linalg.inv(a), np.zeros(a.shape[:-2])),
)
inv_ex_result = namedtuple("inv_ex", "inverse info")


@wide
def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices.

    Prefer solve(A, B) to inv(A) @ B: it is faster and more accurate.

    Args:
      A [..., n, n] floating or complex.
    Raises:
      LinAlgError: a matrix is singular.
    Example:
      >>> linalg.inv(tensor([[1.0, 1.0], [1.0, 2.0]]))
      tensor([[ 2., -1.],
              [-1.,  1.]])
    """
    square("linalg.inv", A)
    return _inv(A, check="linalg.inv")[0]


@wide
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """inv() that gives (inverse, info) instead of raising: info is not 0 where A is singular."""
    square("linalg.inv_ex", A)
    return inv_ex_result(*_inv(A, check="linalg.inv_ex" if check_errors else None))


inverse = inv


# ---- triangular ----


def _triangle(x: Tensor, upper: bool, unit: bool) -> Tensor:
    return x.triu(int(unit)) if upper else x.tril(-int(unit))


def _triangular_vjp(
    ct: Tensor,
    out: Tensor,
    a: Tensor,
    b_spec: Spec,
    *,
    upper: bool,
    left: bool,
    unit: bool,
    adjoint: bool,
    needs: Sequence[bool],
) -> Any:
    shape = {"upper": upper, "left": left, "unit": unit}
    gb = _triangular(a, ct, adjoint=not adjoint, **shape)
    ga = None
    if needs[0]:
        if left:
            ga = out @ gb.mH if adjoint else gb @ out.mH
        else:
            ga = gb.mH @ out if adjoint else out.mH @ gb
        ga = sum_to(_triangle(-ga, upper, unit), Spec(a))
    return ga, sum_to(gb, b_spec) if needs[1] else None


def _triangular_jvp(
    tangents: Any,
    out: Tensor,
    a: Tensor,
    _b: Tensor,
    *,
    upper: bool,
    left: bool,
    unit: bool,
    adjoint: bool,
) -> Tensor:
    da, db = tangents
    moved = None
    if da is not None:
        da = _triangle(da, upper, unit)
        da = da.mH if adjoint else da
        moved = -(da @ out) if left else -(out @ da)
    right: Any = total(db, moved)
    return _triangular(a, right, upper=upper, left=left, unit=unit, adjoint=adjoint)


def _triangular_batch(
    size: int, batched: Sequence[bool], a: Tensor, b: Tensor, *, left: bool, **params: Any
) -> Tensor:
    if not batched[0] and a.ndim == 2 and a._shape[0] and left:
        return _from_columns(_triangular(a, _as_columns(b), left=True, **params), b)
    return _triangular(*leading(size, batched, (a, b), (2, 2)), left=left, **params)


_triangular = Op(
    "linalg_solve_triangular",
    lambda a, b, *, upper, left, unit, adjoint: lib.cb_solve_triangular(
        a._v, b._v, upper, left, unit, _TRANS[adjoint]
    ),
    vjp=_triangular_vjp,
    jvp=_triangular_jvp,
    batch=_triangular_batch,
    family=FAMILY,
)


def _triangular_oracle(
    np: Any, a: Any, b: Any, *, upper: bool, left: bool, unit: bool, adjoint: bool
) -> Any:
    a = np.triu(a) if upper else np.tril(a)
    n = a.shape[-1]
    if unit:
        a = a * (1 - np.eye(n)) + np.eye(n)
    if adjoint:
        a = np.conj(np.swapaxes(a, -1, -2))
    inverse = np.linalg.inv(a)
    return inverse @ b if left else b @ inverse


sampled(
    _triangular,
    lambda make: [
        call(good(make, 3, 3), make(3, 2), upper=False, left=True, unit=False, adjoint=False),
        call(good(make, 3, 3), make(3, 2), upper=True, left=True, unit=False, adjoint=True),
        call(good(make, 3, 3), make(2, 3), upper=True, left=False, unit=True, adjoint=False),
        call(good(make, 3, 3), make(2, 3), upper=False, left=False, unit=False, adjoint=True),
        call(good(make, 2, 1, 2, 2), make(2, 2, 2), upper=True, left=True, unit=True, adjoint=True),
    ],
    kinds="float complex",
    oracle=_triangular_oracle,
)


def _check_triangular(op: str, A: Tensor, B: Tensor) -> None:
    square(op, A)
    floating(op, B)
    if B.ndim < 2:
        raise ShapeError(message(op, "B [..., n, k]", f"shape {list(B._shape)}", "Unsqueeze it."))


@wide
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X with A X = B (X A = B if not left) for triangular A.

    Args:
      A [..., n, n]: its upper or lower triangle is read; a zero on its diagonal gives inf or nan.
      B [..., n, k] (k x n if not left); leading dims broadcast with A's.
      unitriangular: take the diagonal as ones.
    Raises:
      ShapeError: sizes do not fit.
    Example:
      >>> A = tensor([[1.0, 0.0], [1.0, 2.0]])
      >>> linalg.solve_triangular(A, tensor([[1.0], [5.0]]), upper=False)
      tensor([[1.],
              [2.]])
    """
    _check_triangular("linalg.solve_triangular", A, B)
    return _triangular(A, B, upper=upper, left=left, unit=unitriangular, adjoint=False)


triangular_solve_result = namedtuple("triangular_solve", "solution cloned_coefficient")


@wide
def triangular_solve(
    b: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """(solution of A X = b for triangular A, A): linalg.solve_triangular is the newer form."""
    _check_triangular("triangular_solve", A, b)
    coefficient = A.mT if transpose else A
    x = _triangular(
        coefficient, b, upper=upper != transpose, left=True, unit=unitriangular, adjoint=False
    )
    return triangular_solve_result(x, A.clone())


# ---- with given factors ----


def _lu_solve_meaning(lu: Tensor, pivots: Tensor, b: Tensor, *, adjoint: bool) -> Tensor:
    p = _permutation(pivots, m=lu._shape[-1])
    lower = {"upper": False, "left": True, "unit": True}
    upper = {"upper": True, "left": True, "unit": False}
    if adjoint:
        y = _triangular(lu, b, adjoint=True, **upper)
        return rows(_triangular(lu, y, adjoint=True, **lower), p.argsort(-1))
    y = _triangular(lu, rows(b, p), adjoint=False, **lower)
    return _triangular(lu, y, adjoint=False, **upper)


def rows(x: Tensor, p: Tensor) -> Tensor:
    """The rows of matrices in the order p [..., m]; leading dims broadcast."""
    lead = broadcast_shapes(x._shape[:-2], p._shape[:-1])
    n = x._shape[-1]
    at = p.unsqueeze(-1).expand((*lead, p._shape[-1], n))
    return x.expand((*lead, x._shape[-2], n)).gather(-2, at)


_permutation = Op(
    "lu_permutation",
    lambda pivots, *, m: lib.cb_lu_permutation(pivots._v, m),
    vjp=NONDIFF("integer result"),
    batch=lambda _size, _batched, pivots, *, m: _permutation(pivots, m=m),
    family=FAMILY,
)


def _pivots(make: Any, *shape: int) -> Tensor:
    """Pivots from 1 to n: row k is swapped with one not above it."""
    n = shape[-1]
    steps = arange(n)
    return (steps + make.index(n, *shape) % (n - steps) + 1).int()


sampled(
    _permutation,
    lambda make: [call(_pivots(make, 4), m=4), call(_pivots(make, 2, 3), m=5)],
    kinds="int",
)
_lu_solve = Op(
    "lu_solve",
    lambda lu, pivots, b, *, adjoint: lib.cb_lu_solve(lu._v, pivots._v, b._v, _TRANS[adjoint]),
    batch=batch_of(lambda: _lu_solve, 2, 1, 2),
    decompose=_lu_solve_meaning,
    family=FAMILY,
)
sampled(
    _lu_solve,
    lambda make: [
        call(good(make, 3, 3), _pivots(make, 3), make(3, 2), adjoint=False),
        call(good(make, 3, 3), _pivots(make, 3), make(2, 3, 1), adjoint=True),
    ],
    kinds="float complex",
)


@wide
def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """The X with A X = B (X A = B if not left; A^H for A if adjoint), from lu_factor(A).

    Args:
      LU [..., n, n], pivots [..., n] int32: what lu_factor gives. B [..., n, k].
    """
    square("linalg.lu_solve", LU)
    floating("linalg.lu_solve", B)
    if left:
        return _lu_solve(LU, pivots, B, adjoint=adjoint)
    return _lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH


@wide
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with A X = B, where A = L L^H (U^H U if upper).

    Example:
      >>> cholesky_solve(tensor([[8.0]]), tensor([[2.0]]))
      tensor([[2.]])
    """
    _check_triangular("cholesky_solve", L, B)
    form = {"upper": upper, "left": True, "unit": False}
    y = _triangular(L, B, adjoint=upper, **form)
    return _triangular(L, y, adjoint=not upper, **form)


@wide
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L L^H (U^H U if upper)."""
    square("cholesky_inverse", L)
    return cholesky_solve(identity(L, L._shape[-1]), L, upper)


__all__ = [
    "cholesky_inverse", "cholesky_solve", "inv", "inv_ex", "inverse", "lu_solve", "rows", "solve",
    "solve_ex", "solve_triangular", "triangular_solve",
]  # fmt: skip
