"""What the modules of linear algebra share: calls of C, batching, samples of good matrices.

All ops take batches of matrices [..., m, n]; operands broadcast over the leading dimensions, so
vmap is one more of those. LAPACK runs in float32, float64 and their complex forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import ffi, lib

from ...dtypes import int32, int64
from ...errors import DTypeError, ShapeError, message
from ...op import NONDIFF, Op, wrap
from ...samples import call, sampled
from ...tensor import Tensor
from ..creation import arange, eye

FAMILY = "linalg"


def handles(count: int, function: Callable[[Any], int]) -> Any:
    """The outputs of a C function with several; () after an error."""
    out = ffi.new("cb_tensor *[6]")  # the most that any of them gives
    return () if function(out) else tuple(out[i] for i in range(count))


def named(check: str | None) -> Any:
    """The `check` of the C interface: who complains about a matrix that fails, or NULL."""
    return ffi.NULL if check is None else check.encode()


# ---- checks ----


def floating(op: str, *matrices: Tensor) -> None:
    """Raises unless LAPACK has all these dtypes."""
    for x in matrices:
        if not x.dtype.is_inexact or x.dtype.itemsize == 2:
            rule = "float32, float64 or complex tensors"
            raise DTypeError(message(op, rule, x.dtype, "Cast with .float()."))


def matrix(op: str, x: Tensor) -> None:
    floating(op, x)
    if x.ndim < 2:
        raise ShapeError(message(op, "matrices [..., m, n]", f"shape {list(x._shape)}"))


def square(op: str, x: Tensor) -> None:
    matrix(op, x)
    if x._shape[-1] != x._shape[-2]:
        raise ShapeError(message(op, "square matrices [..., n, n]", f"shape {list(x._shape)}"))


# ---- pieces of rules ----


def identity(like: Any, n: int, m: int | None = None) -> Tensor:
    """eye(n, m) of a tensor's dtype and device."""
    return eye(n, n if m is None else m, dtype=like.dtype, device=like.device)


def column(x: Tensor) -> Tensor:
    """A number, or a row of numbers, a matrix: to be multiplied with it."""
    return x.unsqueeze(-1)


def trace(x: Tensor) -> Tensor:
    return x.diagonal(0, -2, -1).sum(-1)


def hermitian_part(x: Tensor) -> Tensor:
    return (x + x.mH) / 2


def real_if(x: Tensor, real: bool) -> Tensor:
    return x.real if real and x.dtype.is_complex else x


def total(*terms: Tensor | None) -> Tensor | None:
    result = None
    for term in terms:
        if term is not None:
            result = term if result is None else result + term
    return result


# ---- batching ----


def leading(
    size: int, batched: Sequence[bool], args: Sequence[Tensor], cores: Sequence[int]
) -> list[Tensor]:
    """Operands whose mapped dimension broadcasts as the first of the batch.

    Args:
      cores: how many trailing dims of each are not batch.
    """
    rank = max(x.ndim - b - c for x, b, c in zip(args, batched, cores, strict=True))
    out = []
    for x, b, c in zip(args, batched, cores, strict=True):
        ones = rank - (x.ndim - b - c)
        if b and ones:
            x = x.reshape((size, *[1] * ones, *x._shape[1:]))
        out.append(x)
    return out


def batch_of(get: Callable[[], Op], *cores: int) -> Callable[..., Any]:
    """The batching rule of an op whose outputs depend on all operands."""

    def batch(size: int, batched: Sequence[bool], *args: Tensor, **params: Any) -> Any:
        return get()(*leading(size, batched, args, cores), **params)

    return batch


# ---- factorizations for reuse ----
# A derivative rule solves with the factorization its forward pass made. Kept as a float tensor it
# would be one more thing to differentiate; its derivative is that of the matrix, which the rule
# accounts for. So it travels as integers of the same bits.


def to_bits(handle: Any, keep: bool = False) -> Any:
    """The handle of a float tensor reinterpreted as integers; releases the former unless `keep`."""
    bits = lib.cb_view_dtype(handle, _bits_dtype(handle.itemsize).code)
    if not keep:
        lib.cb_release(handle)
    return bits


def from_bits(bits: Tensor, dtype: Any) -> Tensor:
    """The float tensor behind to_bits."""
    handle = bits._v
    if dtype.itemsize <= 8:
        return wrap(lib.cb_view_dtype(handle, dtype.code))
    if not handle.numel:
        shape = (*bits._shape[:-1], bits._shape[-1] // 2)
        return wrap(lib.cb_empty(dtype.code, handle.device, bits.ndim, shape))
    dense = wrap(lib.cb_contiguous(handle))  # two integers a number
    return wrap(lib.cb_view_dtype(dense._v, dtype.code))


def _bits_dtype(itemsize: int) -> Any:
    return int32 if itemsize == 4 else int64


_bits = Op(
    "linalg_bits",
    lambda x: _bits_of(x),
    vjp=NONDIFF("bits"),
    batch=lambda _size, _batched, x: _bits(x),
    family=FAMILY,
)
sampled(_bits, lambda make: [call(make(2, 3))], kinds="float complex")


def _bits_of(x: Tensor) -> Any:
    dense = wrap(lib.cb_contiguous(x._v))
    return to_bits(dense._v, keep=True)


# ---- samples ----


def good(make: Any, *shape: int) -> Tensor:
    """Well-conditioned matrices: random ones with a heavy diagonal."""
    return make(*shape, low=-1.0, high=1.0) + 3 * eye(*shape[-2:], dtype=make.dtype)


def positive(make: Any, *shape: int) -> Tensor:
    """Hermitian positive-definite matrices."""
    x = make(*shape, low=-1.0, high=1.0)
    return x @ x.mH + identity(x, shape[-1])


def spread(make: Any, *shape: int) -> Tensor:
    """Matrices with well separated eigenvalues and singular values."""
    diagonal = eye(*shape[-2:], dtype=make.dtype)
    steps = arange(1, shape[-2] + 1, dtype=make.dtype).unsqueeze(1)
    return make(*shape, low=-0.3, high=0.3) + 1.5 * diagonal * steps


__all__ = [
    "FAMILY", "batch_of", "column", "floating", "from_bits", "good", "handles", "hermitian_part",
    "identity", "leading", "matrix", "named", "positive", "real_if", "spread", "square",
    "to_bits", "total", "trace",
]  # fmt: skip
