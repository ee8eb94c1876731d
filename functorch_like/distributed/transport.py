"""Memory to MPI: buffers over a tensor's own memory, MPI's types, and sums of 16-bit floats.

Nothing is copied on the way: MPI reads and writes the memory of contiguous CPU tensors. MPI has no
16-bit floats, so reductions of them are operations of our own: each sum of two is computed in
float32 and rounded once.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from cbackend import check, ffi, lib

from ..dtypes import DTYPES
from ..errors import DTypeError, message
from ..op import wrap
from ..tensor import Tensor
from .meeting import mpi

REDUCTIONS = ("sum", "prod", "max", "min")
_KERNELS = {"sum": b"add", "prod": b"mul", "max": b"maximum", "min": b"minimum"}
_TYPES = {
    "bool": "C_BOOL", "uint8": "UINT8_T", "int8": "INT8_T", "uint16": "UINT16_T",
    "int16": "INT16_T", "uint32": "UINT32_T", "int32": "INT32_T", "uint64": "UINT64_T",
    "int64": "INT64_T", "float16": "UINT16_T", "bfloat16": "UINT16_T", "float32": "FLOAT",
    "float64": "DOUBLE", "complex64": "C_FLOAT_COMPLEX", "complex128": "C_DOUBLE_COMPLEX",
}  # fmt: skip
_MOST = 1 << 30  # elements in one call: MPI counts in ints
_own: dict[tuple[int, str], Any] = {}


def buffer(t: Tensor, start: int = 0, count: int | None = None) -> list[Any]:
    """[memory, count, MPI type] of a contiguous CPU tensor, or of some of its elements."""
    MPI = mpi()
    d = t.dtype
    count = t.numel() - start if count is None else count
    kind = getattr(MPI, _TYPES[d.name])
    if not count:
        return [None, 0, kind]
    memory = MPI.memory.fromaddress(t.data_ptr() + start * d.itemsize, count * d.itemsize)
    return [memory, count, kind]


def rows(t: Tensor, counts: list[int]) -> list[Any]:
    """The same for counts[i] leading rows to or from rank i."""
    width = 1
    for size in t._shape[1:]:
        width *= size
    memory, _, kind = buffer(t)
    elements = [c * width for c in counts]
    starts = [sum(elements[:i]) for i in range(len(elements))]
    return [memory, elements, starts, kind]


def reduction(op: str, dtype: Any) -> Any:
    """MPI's operation for a reduction of a dtype.

    Raises:
      DTypeError: complex numbers have no order.
    """
    MPI = mpi()
    if dtype.is_complex and op in ("max", "min"):
        raise DTypeError(message("all_reduce", f"real numbers for {op}", dtype))
    if dtype.name == "bool":
        return MPI.LOR if op in ("sum", "max") else MPI.LAND
    if dtype.itemsize > 2 or not dtype.is_floating_point:
        return getattr(MPI, op.upper())
    key = (dtype.code, op)
    if key not in _own:
        _own[key] = MPI.Op.Create(_pairwise(dtype.code, op), commute=True)
    return _own[key]


def _pairwise(code: int, op: str) -> Any:
    """MPI's callback: into[i] = source[i] op into[i]."""
    kernel = lib.cb_op_code(b"binary", _KERNELS[op])

    def combine(source: Any, into: Any, _kind: Any) -> None:
        count = source.nbytes // 2
        x, y = (_over(m, code, count) for m in (source, into))
        try:
            check(lib.cb_binary_into(kernel, x, y, y, 0))
        finally:
            lib.cb_release(x)
            lib.cb_release(y)

    return combine


def _over(memory: Any, code: int, count: int) -> Any:
    address = ffi.cast("void *", memory.address)
    return lib.cb_from_memory(address, code, 1, [count], [1], 0, ffi.NULL, ffi.NULL)


def reduce_into(comm: Any, source: Tensor | None, target: Tensor, op: str) -> None:
    """target = the reduction over all ranks of source, or of target itself."""
    MPI = mpi()
    how = reduction(op, target.dtype)
    for start in range(0, target.numel(), _MOST):
        count = min(_MOST, target.numel() - start)
        given = MPI.IN_PLACE if source is None else buffer(source, start, count)
        comm.Allreduce(given, buffer(target, start, count), op=how)


def empty(like: Tensor, shape: Any) -> Tensor:
    """New memory on the CPU, of another shape."""
    shape = tuple(shape)
    return wrap(lib.cb_empty(like._v.dtype, lib.CB_CPU, len(shape), shape))


def on_host(x: Tensor) -> Tensor:
    """The tensor in contiguous CPU memory; itself if it is there."""
    v = x._v
    if v.device != lib.CB_CPU:
        x = x.detach().cpu()
        v = x._v
    return wrap(lib.cb_contiguous(v))


def described(t: Tensor) -> str:
    """`float32[2, 3]`"""
    return f"{DTYPES[t._v.dtype]}{list(t._shape)}"
