"""LDL factorizations of symmetric and Hermitian matrices, and solutions with them.

The order of the pivots, and where blocks of 2 stand, jump: the factorization has no derivatives;
the solution is differentiable in the right sides.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from cbackend import lib

from ...amp import wide
from ...errors import DTypeError, message
from ...op import NONDIFF, Op
from ...samples import call, sampled
from ...tensor import Tensor
from ..family import sum_to
from .common import (
    FAMILY,
    _bits,
    batch_of,
    floating,
    from_bits,
    good,
    handles,
    named,
    positive,
    square,
)

__all__ = ["ldl_factor", "ldl_factor_ex", "ldl_solve"]

_ldl_factor = Op(
    "ldl_factor",
    lambda a, *, hermitian, check: handles(
        3, lambda out: lib.cb_ldl_factor(a._v, hermitian, named(check), out)
    ),
    vjp=NONDIFF("the order of LDL's pivots; solve and eigh are differentiable"),
    batch=lambda _size, _batched, a, **params: _ldl_factor(a, **params),
    nouts=3,
    family=FAMILY,
)
sampled(
    _ldl_factor,
    lambda make: [
        call(positive(make, 3, 3), hermitian=True, check=None),
        call(good(make, 2, 3, 3), hermitian=False, check=None),
    ],
    kinds="float complex",
)


def _ldl_solve_impl(bits: Tensor, pivots: Tensor, b: Tensor, *, hermitian: bool) -> Any:
    ld = from_bits(bits, b.dtype)
    return lib.cb_ldl_solve(ld._v, pivots._v, b._v, hermitian)


def _ldl_transposed(bits: Tensor, pivots: Tensor, ct: Tensor, hermitian: bool) -> Tensor:
    """A^-H ct, where A is Hermitian, or symmetric."""
    if hermitian:
        return _ldl_solve(bits, pivots, ct, hermitian=True)
    return _ldl_solve(bits, pivots, ct.conj(), hermitian=False).conj()


_ldl_solve = Op(
    "ldl_solve",
    _ldl_solve_impl,
    vjp=lambda ct, _out, bits, pivots, b_spec, *, hermitian: (
        None,
        None,
        sum_to(_ldl_transposed(bits, pivots, ct, hermitian), b_spec),
    ),
    jvp=lambda tangents, _out, bits, pivots, _b, *, hermitian: _ldl_solve(
        bits, pivots, tangents[2], hermitian=hermitian
    ),
    batch=batch_of(lambda: _ldl_solve, 2, 1, 2),
    family=FAMILY,
)


def _ldl_sample(make: Any, hermitian: bool) -> Any:
    a = good(make, 3, 3)
    a = a + a.mH if hermitian else a + a.mT
    ld, pivots, _ = _ldl_factor(a, hermitian=hermitian, check=None)
    return call(_bits(ld), pivots, make(3, 2), hermitian=hermitian)


sampled(
    _ldl_solve,
    lambda make: [_ldl_sample(make, True), _ldl_sample(make, False)],
    kinds="float complex",
)
ldl_factor_result = namedtuple("ldl_factor", "LD pivots")
ldl_factor_ex_result = namedtuple("ldl_factor_ex", "LD pivots info")


@wide
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) of symmetric, or Hermitian, matrices: A = L D L^T with D in blocks of 1 and 2.

    Its lower triangle is read. Not differentiable. See ldl_solve.

    Raises:
      LinAlgError: D is singular.
    """
    square("linalg.ldl_factor", A)
    return ldl_factor_result(*_ldl_factor(A, hermitian=hermitian, check="linalg.ldl_factor")[:2])


@wide
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """ldl_factor() that gives (LD, pivots, info) instead of raising."""
    square("linalg.ldl_factor_ex", A)
    check = "linalg.ldl_factor_ex" if check_errors else None
    return ldl_factor_ex_result(*_ldl_factor(A, hermitian=hermitian, check=check))


@wide
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X with A X = B, from ldl_factor(A). Differentiable in B."""
    square("linalg.ldl_solve", LD)
    floating("linalg.ldl_solve", B)
    if LD.dtype is not B.dtype:
        wanted, got = "LD and B of one dtype", f"{LD.dtype} and {B.dtype}"
        raise DTypeError(message("linalg.ldl_solve", wanted, got))
    return _ldl_solve(_bits(LD), pivots, B, hermitian=hermitian)
