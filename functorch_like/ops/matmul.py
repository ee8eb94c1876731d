"""Matrix products: matmul and what reduces to it."""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..amp import entered, lowered
from ..errors import ShapeError, message
from ..op import Op, Spec, wrap
from ..samples import call, sampled
from ..tensor import Size, Tensor
from ..trace import active, state
from .family import mul_conj, operand, sum_to
from .views import _reshape, _transpose

__all__ = [
    "addmm",
    "addmv",
    "baddbmm",
    "bmm",
    "dot",
    "ger",
    "linear",
    "matmul",
    "mm",
    "mv",
    "outer",
    "vdot",
]

_FAMILY = "matmul"


def _mT(x: Tensor) -> Tensor:
    n = x.ndim
    return _conjugate(_transpose(x, a=n - 2, b=n - 1))


def _matmul_vjp(
    ct: Tensor, _out: Tensor, x: Tensor, y: Tensor, *, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    gx = gy = None
    if x.ndim == 1 or y.ndim == 1:
        return _vector_vjp(ct, x, y, needs)
    if needs[0]:
        gx = _matmul(ct, _mT(y))
        gx = gx if gx.ndim == x.ndim and gx._shape == x._shape else sum_to(gx, _spec(x))
    if needs[1]:
        if y.ndim == 2 and x.ndim > 2:  # one weight for the whole batch: one product over all rows
            gy = _matmul(_mT(_rows(x)), _rows(ct))
        else:
            gy = _matmul(_mT(x), ct)
            gy = gy if gy._shape == y._shape else sum_to(gy, _spec(y))
    return gx, gy


def _rows(x: Tensor) -> Tensor:
    """All leading dimensions merged into one."""
    shape = x._shape
    return x if len(shape) == 2 else _reshape(x, shape=(Size(shape[:-1]).numel(), shape[-1]))


def _spec(x: Tensor) -> Any:
    return x if type(x) is Spec else Spec(x)


def _vector_vjp(
    ct: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """A 1-d operand: as a row or a column."""
    gx = gy = None
    if x.ndim == y.ndim:
        return mul_conj(ct, y) if needs[0] else None, mul_conj(ct, x) if needs[1] else None
    if x.ndim == 1:  # [k] @ [..., k, m] -> [..., m]
        if needs[0]:
            gx = _matmul(_conjugate(y), ct if ct.ndim == 1 else _column(ct))
            gx = gx if gx.ndim == 1 else sum_to(gx.squeeze(-1), _spec(x))
        if needs[1]:
            gy = mul_conj(ct.unsqueeze(-2), _column(x))
        return gx, gy
    if needs[0]:  # [..., n, k] @ [k] -> [..., n]
        gx = mul_conj(_column(ct), y)
    if needs[1]:
        gy = _matmul(_vector_rows(ct), _rows(_conjugate(x)))
    return gx, gy


def _column(x: Tensor) -> Tensor:
    return x.unsqueeze(-1)


def _vector_rows(x: Tensor) -> Tensor:
    return x if x.ndim == 1 else _reshape(x, shape=(Size(x._shape).numel(),))


def _conjugate(x: Tensor) -> Tensor:
    return x.conj() if x.dtype.is_complex else x


def _matmul_batch(_size: int, batched: Any, x: Tensor, y: Tensor) -> Tensor:
    bx, by = batched
    rx, ry = x.ndim - bx, y.ndim - by
    if not by and ry <= 2 and rx >= 1:  # rows of x against one matrix, or one vector
        if rx == 1 and ry == 1:
            return _matmul(x, y)
        return _matmul(x, y)
    if rx == 1:  # a vector a lane: a row matrix
        x = x.unsqueeze(-2)
    if ry == 1:
        y = y.unsqueeze(-1)
    inner_x, inner_y = x.ndim - bx, y.ndim - by
    rank = max(inner_x, inner_y)
    if bx and inner_x < rank:
        x = x.reshape((x._shape[0], *[1] * (rank - inner_x), *x._shape[1:]))
    if by and inner_y < rank:
        y = y.reshape((y._shape[0], *[1] * (rank - inner_y), *y._shape[1:]))
    out = _matmul(x, y)
    if rx == 1:
        out = out.squeeze(-2)
    if ry == 1:
        out = out.squeeze(-1)
    return out


_matmul = Op(
    "matmul",
    lambda x, y: lib.cb_matmul(x._v, y._v),
    vjp=_matmul_vjp,
    jvp=lambda tangents, _out, x, y: _sum_of(
        None if tangents[0] is None else _matmul(tangents[0], y),
        None if tangents[1] is None else _matmul(x, tangents[1]),
    ),
    batch=_matmul_batch,
    product=True,
    family=_FAMILY,
)
sampled(
    _matmul,
    lambda make: [
        call(make(3, 4), make(4, 2)),
        call(make(4), make(4)),
        call(make(3, 4), make(4)),
        call(make(4), make(4, 3)),
        call(make(2, 3, 4), make(4, 2)),
        call(make(2, 3, 4), make(4)),
        call(make(4), make(2, 4, 3)),
        call(make(2, 1, 3, 4), make(3, 4, 2)),
        call(make(0, 3), make(3, 2)),
        call(make(3, 0), make(0, 2)),
        call(make(4, 3).transpose(0, 1), make(2, 4).transpose(0, 1)),
    ],
    kinds="int float complex",
    oracle=lambda np, x, y: np.matmul(x, y),
)


def _sum_of(*terms: Tensor | None) -> Tensor:
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    assert total is not None
    return total


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The matrix product, with broadcasting over leading dimensions.

    1-d operands are a row or a column.

    Args:
      x [..., n, k], y [..., k, m]: one dtype.
    Returns:
      [..., n, m]
    Raises:
      ShapeError: inner sizes differ. DTypeError: dtypes differ.
    Example:
      >>> matmul(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]]))
      tensor([[11.]])
    """
    if entered:
        x, y = lowered(x, y)
    if (
        (not active or state.trace is None)
        and type(x) is Tensor
        and type(y) is Tensor
        and x._m is None
        and y._m is None
    ):
        return wrap(_call(x._v, y._v))
    return _matmul(x, y)


_call = lib.cb_matmul


def _unfit(op: str, wanted: str, x: Tensor, y: Tensor, hint: str = "Use matmul.") -> ShapeError:
    return ShapeError(message(op, wanted, f"shapes {list(x._shape)} and {list(y._shape)}", hint))


def mm(x: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    if x.ndim != 2 or mat2.ndim != 2:
        raise _unfit("mm", "two matrices", x, mat2)
    if entered:
        x, mat2 = lowered(x, mat2)
    return _matmul(x, mat2)


def bmm(x: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    if x.ndim != 3 or mat2.ndim != 3 or x._shape[0] != mat2._shape[0]:
        raise _unfit("bmm", "two batches of as many matrices", x, mat2)
    if entered:
        x, mat2 = lowered(x, mat2)
    return _matmul(x, mat2)


def mv(x: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    if x.ndim != 2 or vec.ndim != 1:
        raise _unfit("mv", "a matrix and a vector", x, vec)
    if entered:
        x, vec = lowered(x, vec)
    return _matmul(x, vec)


def dot(x: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements.

    Example:
      >>> dot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
      tensor(11.)
    """
    if x.ndim != 1 or tensor.ndim != 1:
        raise _unfit("dot", "two vectors", x, tensor, "Use matmul, or (x * y).sum().")
    return _matmul(x, tensor)


def vdot(x: Tensor, y: Tensor) -> Tensor:
    """dot() with the first vector conjugated."""
    return dot(x.conj(), y)


def outer(x: Tensor, vec2: Tensor) -> Tensor:
    """The products of all pairs: [n], [m] -> [n, m]."""
    if x.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(
            message("outer", "two vectors", f"shapes {list(x._shape)} and {list(vec2._shape)}")
        )
    return x.unsqueeze(1) * vec2


ger = outer


def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    if entered:
        (x,) = lowered(x)
    product = mm(mat1, mat2)
    return (x if beta == 1 else x * beta) + (product if alpha == 1 else product * alpha)


def addmv(x: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    if entered:
        (x,) = lowered(x)
    product = mv(mat, vec)
    return (x if beta == 1 else x * beta) + (product if alpha == 1 else product * alpha)


def baddbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), for batches of matrices."""
    if entered:
        (x,) = lowered(x)
    product = bmm(batch1, batch2)
    return (x if beta == 1 else x * beta) + (product if alpha == 1 else product * alpha)


# ---- linear ----


def _linear_meaning(x: Tensor, w: Tensor, *bias: Tensor) -> Tensor:
    y = _matmul(x, _transpose(w, a=0, b=1))
    return y + bias[0] if bias else y


def _linear_vjp(
    ct: Tensor, _out: Tensor, x: Tensor, w: Tensor, *_bias: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    gx = _matmul(ct, _conjugate(w)) if needs[0] else None
    rows = _rows(ct)
    gw = _matmul(_transpose(rows, a=0, b=1), _rows(_conjugate(x))) if needs[1] else None
    if len(needs) == 2:
        return gx, gw
    return gx, gw, rows.sum(0) if needs[2] else None


def _linear_batch(size: int, batched: Any, x: Tensor, w: Tensor, *bias: Tensor) -> Tensor:
    if not batched[1] and not (bias and batched[2]):
        return _linear(x, w, *bias)
    y = _matmul_batch(size, (batched[0], batched[1]), x, _transpose(w, a=w.ndim - 2, b=w.ndim - 1))
    if not bias:
        return y
    b = bias[0]
    if batched[2]:
        ones = y.ndim - 1 - (batched[0] or batched[1])
        b = b.reshape((size, *[1] * ones, b._shape[-1]))
    return y + b


_linear = Op(
    "linear",
    lambda x, w, b=None: lib.cb_linear(x._v, w._v, w._v if b is None else b._v, b is not None),
    vjp=_linear_vjp,
    batch=_linear_batch,
    decompose=_linear_meaning,
    product=True,
    family=_FAMILY,
)
sampled(
    _linear,
    lambda make: [
        call(make(3, 4), make(2, 4)),
        call(make(3, 4), make(2, 4), make(2)),
        call(make(4), make(2, 4), make(2)),
        call(make(2, 3, 4), make(2, 4), make(2)),
        call(make(0, 4), make(2, 4), make(2)),
    ],
    kinds="float complex",
    oracle=lambda np, x, w, b=0: x @ w.T + b,
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
      input [..., in], weight [out, in], bias [out]: one dtype.
    Returns:
      [..., out]
    Raises:
      ShapeError: sizes do not fit.
    """
    if entered:
        input, weight, bias = lowered(input, weight, bias)
    return _linear(input, weight) if bias is None else _linear(input, weight, bias)


def _matmul_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) or hasattr(other, "__array__"):
        return matmul(self, operand("matmul", other))
    return NotImplemented


def _matmul_reflected(self: Tensor, other: Any) -> Any:
    return matmul(operand("matmul", other), self) if hasattr(other, "__array__") else NotImplemented


Tensor.__matmul__, Tensor.__rmatmul__ = _matmul_operator, _matmul_reflected
for _f in (matmul, mm, bmm, mv, dot, vdot, outer, addmm, addmv, baddbmm):
    setattr(Tensor, _f.__name__, _f)
Tensor.ger = outer  # type: ignore[attr-defined]
