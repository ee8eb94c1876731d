"""Functions of matrices: determinants, exponential, powers, products, tensor equations."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from cbackend import lib

from ...amp import entered, lowered, wide
from ...errors import DimError, ShapeError, message
from ...op import Op
from ...samples import call, sampled
from ...tensor import Size, Tensor, wrap_dim
from ..creation import ones
from ..join import cat, stack
from ..products import cross as along
from .common import (
    FAMILY,
    batch_of,
    column,
    good,
    handles,
    identity,
    square,
    to_bits,
    trace,
)
from .solve import _solve, inv, solve

__all__ = [
    "chain_matmul", "cross", "det", "diagonal", "logdet", "matrix_exp", "matrix_power", "multi_dot",
    "slogdet", "tensorinv", "tensorsolve", "vander", "vecdot",
]  # fmt: skip


# ---- determinants ----


def _kept(made: Any, wanted: Sequence[int]) -> Any:
    """Some of cb_det's results; the factorization (4) as bits."""
    for i, handle in enumerate(made):
        if i not in wanted:
            lib.cb_release(handle)
    return tuple(to_bits(made[i]) if i == 4 else made[i] for i in wanted)


def _det_impl(a: Tensor) -> Any:
    made = handles(6, lambda out: lib.cb_det(a._v, out))
    return _kept(made, (0, 3, 4, 5)) if made else ()


def _scaled_inverse(a: Tensor, factor: Tensor, bits: Tensor, pivots: Tensor) -> Tensor:
    """factor A^-H, from A's factorization."""
    right = column(column(factor)) * identity(a, a._shape[-1])
    return _solve(a, right, bits, pivots, adjoint=True, check=None)[0]


def _det_vjp(ct: Any, out: Any, a: Tensor) -> Any:
    """The adjugate, which singular matrices have too: see cb_det for what stands in for it."""
    value, gap, bits, pivots = out
    if ct[0] is None:
        return (None,)
    return (_scaled_inverse(a, ct[0] * (value + gap).conj(), bits, pivots),)


def _det_jvp(tangents: Any, out: Any, a: Tensor) -> Any:
    value, gap, bits, pivots = out
    moved = _solve(a, tangents[0], bits, pivots, adjoint=False, check=None)[0]
    return (value + gap) * trace(moved), None, None, None


_det = Op(
    "linalg_det",
    _det_impl,
    vjp=_det_vjp,
    jvp=_det_jvp,
    batch=batch_of(lambda: _det, 2),
    nouts=4,
    family=FAMILY,
)
_SQUARES = ((3, 3), (2, 2, 2), (1, 1), (0, 0))
sampled(_det, lambda make: [call(good(make, *shape)) for shape in _SQUARES], kinds="float complex")


def _slogdet_impl(a: Tensor) -> Any:
    made = handles(6, lambda out: lib.cb_det(a._v, out))
    return _kept(made, (1, 2, 4, 5)) if made else ()


def _slogdet_vjp(ct: Any, out: Any, a: Tensor) -> Any:
    (g_sign, g_log), (sign, _, bits, pivots) = ct[:2], out
    factor = None if g_log is None else g_log.to(a.dtype)
    if g_sign is not None and a.dtype.is_complex:
        turn = -1j * (g_sign.conj() * sign).imag
        factor = turn if factor is None else factor + turn
    return (None if factor is None else _scaled_inverse(a, factor, bits, pivots),)


def _slogdet_jvp(tangents: Any, out: Any, a: Tensor) -> Any:
    sign, _, bits, pivots = out
    moved = trace(_solve(a, tangents[0], bits, pivots, adjoint=False, check=None)[0])
    if not a.dtype.is_complex:
        return None, moved, None, None
    return 1j * moved.imag * sign, moved.real, None, None


_slogdet = Op(
    "linalg_slogdet",
    _slogdet_impl,
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    batch=batch_of(lambda: _slogdet, 2),
    nouts=4,
    family=FAMILY,
)
sampled(
    _slogdet, lambda make: [call(good(make, *shape)) for shape in _SQUARES], kinds="float complex"
)
slogdet_result = namedtuple("slogdet", "sign logabsdet")


@wide
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices.

    Args:
      A [..., n, n] floating or complex.
    Notes: its first derivatives are right at singular matrices, too.
    Example:
      >>> linalg.det(tensor([[2.0, 1.0], [0.0, 3.0]]))
      tensor(6.)
    """
    square("linalg.det", A)
    return _det(A)[0]


@wide
def slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): det is sign * exp(logabsdet), where det itself may overflow.

    A singular matrix has sign 0 and logabsdet -inf.

    Example:
      >>> linalg.slogdet(tensor([[0.0, 1.0], [1.0, 0.0]])).sign
      tensor(-1.)
    """
    square("linalg.slogdet", A)
    return slogdet_result(*_slogdet(A)[:2])


@wide
def logdet(input: Tensor) -> Tensor:
    """log(det(input)): nan where the determinant is negative, -inf where it is 0."""
    square("logdet", input)
    sign, logabs = slogdet(input)
    return logabs + sign.log()


# ---- exponential, powers ----


def _blocks(a: Tensor, e: Tensor) -> Tensor:
    """[[a, e], [0, a]]."""
    return cat([cat([a, e], -1), cat([a * 0, a], -1)], -2)


def _moved_exp(a: Tensor, e: Tensor) -> Tensor:
    """The derivative of the exponential at a in direction e (Mathias 1996)."""
    n = a._shape[-1]
    return _matrix_exp(_blocks(a, e))[..., :n, n:]


_matrix_exp = Op(
    "matrix_exp",
    lambda a: lib.cb_matrix_exp(a._v),
    vjp=lambda ct, _out, a: (_moved_exp(a.mH, ct),),
    jvp=lambda tangents, _out, a: _moved_exp(a, tangents[0]),
    batch=batch_of(lambda: _matrix_exp, 2),
    family=FAMILY,
)
sampled(
    _matrix_exp,
    lambda make: [call(make(*s)) for s in ((3, 3), (2, 2, 2), (1, 1), (0, 0))],
    kinds="float complex",
)


@wide
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices: the sum of A^k / k!.

    Args:
      A [..., n, n] floating or complex.
    Reference: Higham 2005, scaling and squaring with Padé approximants.
    Example:
      >>> matrix_exp(tensor([[0.0, 1.0], [0.0, 0.0]]))
      tensor([[1., 1.],
              [0., 1.]])
    """
    square("matrix_exp", A)
    return _matrix_exp(A)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself n times; for negative n the inverse of A.

    Raises:
      LinAlgError: n is negative and a matrix singular.
    Example:
      >>> linalg.matrix_power(tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
      tensor([[1., 5.],
              [0., 1.]])
    """
    if A.ndim < 2 or A._shape[-1] != A._shape[-2]:
        got = f"shape {list(A._shape)}"
        raise ShapeError(message("linalg.matrix_power", "square matrices [..., n, n]", got))
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return identity(A, A._shape[-1]).expand(A._shape).clone()
    result: Any = None
    while n:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        A = A @ A if n else A
    return result


# ---- products of several matrices ----


def _order(sizes: Sequence[int]) -> list[list[int]]:
    """Where to split the product of matrices i to j for the fewest multiplications."""
    count = len(sizes) - 1
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    Args:
      tensors: matrices whose sizes fit; the first and the last may be vectors.
    Raises:
      ShapeError: sizes do not fit.
    Example:
      >>> linalg.multi_dot([tensor([1.0, 2.0]), eye(2), tensor([3.0, 4.0])])
      tensor(11.)
    """
    op = "linalg.multi_dot"
    xs = list(tensors)
    shapes = [list(x._shape) for x in xs]
    if len(xs) < 2:
        raise ShapeError(message(op, "at least 2 tensors", len(xs)))
    if any(x.ndim != 2 for x in xs[1:-1]) or any(x.ndim not in (1, 2) for x in (xs[0], xs[-1])):
        raise ShapeError(message(op, "matrices, the first and the last may be vectors", shapes))
    row, end = xs[0].ndim == 1, xs[-1].ndim == 1
    if row:
        xs[0] = xs[0].unsqueeze(0)
    if end:
        xs[-1] = xs[-1].unsqueeze(1)
    sizes = [xs[0]._shape[0], *[x._shape[1] for x in xs]]
    if any(x._shape[0] != n for x, n in zip(xs, sizes, strict=False)):
        raise ShapeError(message(op, "equal inner sizes", shapes))
    split = _order(sizes)

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return xs[i]
        return product(i, split[i][j]) @ product(split[i][j] + 1, j)

    out = product(0, len(xs) - 1)
    if row:
        out = out.squeeze(0)
    return out.squeeze(-1) if end else out


def chain_matmul(*tensors: Tensor) -> Tensor:
    """The product of matrices: linalg.multi_dot([...])."""
    return tensors[0] if len(tensors) == 1 else multi_dot(tensors)


# ---- tensor equations ----


@wide
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of tensordot with A: tensordot(tensorinv(A, ind), A, ind) is the identity.

    Args:
      A: the product of its first `ind` sizes is that of the others.
    Returns:
      A's last sizes, then its first `ind`.
    """
    head, tail = A._shape[:ind], A._shape[ind:]
    if ind <= 0:
        raise ValueError(message("linalg.tensorinv", "a positive ind", ind))
    n = Size(head).numel()
    if n != Size(tail).numel():
        wanted = f"equal products of the first {ind} sizes and of the others"
        raise ShapeError(message("linalg.tensorinv", wanted, f"shape {list(A._shape)}"))
    return inv(A.reshape((n, n))).reshape((*tail, *head))


@wide
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X with tensordot(A, X, X.ndim) = B.

    Args:
      A: its first sizes are B's; the product of the others is B's number of elements.
      dims: dims of A that are moved to its end first.
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    rest = A._shape[B.ndim :]
    n = B.numel()
    if Size(rest).numel() != n or A.numel() != n * n:
        got = f"{list(A._shape)} and {list(B._shape)}"
        raise ShapeError(message("linalg.tensorsolve", "A of n x n elements for n in B", got))
    return solve(A.reshape((n, n)), B.reshape((n,))).reshape(rest)


# ---- vectors ----


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers of each element along a new last dimension: x^0, ..., x^(N - 1).

    Args:
      x [..., n]. N: n by default.
    Example:
      >>> linalg.vander(tensor([2, 3]), N=3)
      tensor([[1, 2, 4],
              [1, 3, 9]])
    """
    if x.ndim < 1:
        raise ShapeError(message("linalg.vander", "x [..., n]", "a 0-d tensor"))
    count = x._shape[-1] if N is None else N
    if N is not None and N <= 1:
        raise ValueError(message("linalg.vander", "N greater than 1", N))
    powers = [ones(x._shape, dtype=x.dtype, device=x.device)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    return stack(powers[:count], -1) if count else powers[0].unsqueeze(-1)[..., :0]


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of conj(x) * y along a dim, broadcast over the others.

    Example:
      >>> linalg.vecdot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
      tensor(11.)
    """
    if entered:
        x, y = lowered(x, y)
    return ((x.conj() if x.dtype.is_complex else x) * y).sum(dim)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of size 3 along a dim, broadcast over the others.

    Raises:
      ShapeError: another size.
    """
    rank = max(input.ndim, other.ndim)
    if input.ndim != other.ndim:
        got = f"{input.ndim} and {other.ndim} dimensions"
        raise DimError(message("linalg.cross", "operands of one rank", got))
    return along(input, other, wrap_dim("linalg.cross", dim, rank))


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices."""
    return A.diagonal(offset, dim1, dim2)
