"""What moves the memory of collectives, and the one that MPI does: tensors on the CPU.

A transport takes contiguous tensors where it wants them (source, target) and has a method for each
collective. Nothing is copied on the way: MPI reads and writes the memory of contiguous CPU tensors.
Those of other devices go through pinned host memory. MPI has no 16-bit floats, so reductions of
them are operations of our own: each sum of two is computed in float32 and rounded once.
nccl_transport.py has the transport of CUDA tensors.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import check, ffi, lib

from .. import cuda
from ..dtypes import DTYPES
from ..errors import DTypeError, message
from ..op import wrap
from ..tensor import Tensor
from .meeting import mpi
from .work import Work

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
    """`float32[2, 3]`, and where that is not on the CPU."""
    where = "" if t._v.device == lib.CB_CPU else f" on {t.device.type}"
    return f"{DTYPES[t._v.dtype]}{list(t._shape)}{where}"


class HostTransport:
    """MPI on one of a group's communicators."""

    def __init__(self, comm: Any):
        self.comm = comm
        self._pinned: dict[tuple[str, int], Tensor] = {}

    def takes(self, x: Tensor) -> bool:
        """Is the memory of contiguous x itself read and written?"""
        return x._v.device == lib.CB_CPU

    def source(self, x: Tensor) -> Tensor:
        """x in memory that the transport reads."""
        if x._v.device == lib.CB_CPU:
            return on_host(x)
        return self._staged("source", x, x._shape).copy_(x.detach())

    def target(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Memory that the transport writes, for a result on x's device."""
        return empty(x, shape) if x._v.device == lib.CB_CPU else self._staged("target", x, shape)

    def finished(self, target: Tensor, x: Tensor) -> Tensor:
        """The result, on x's device."""
        if x._v.device == lib.CB_CPU:
            return target
        out = target.to(x.device)
        cuda.current_stream(x.device).synchronize()  # the pinned memory is used again
        return out

    def move(self, what: str, run: Callable[..., None], source: Any, target: Tensor) -> None:
        """run(self, source, target)."""
        run(self, source, target)

    def later(self, courier: Any, what: str, x: Tensor, function: Any) -> Work:
        """Has courier(what, ...) run function(x, True) on the CPU."""
        host = on_host(x)
        work = courier(what, lambda: function(host, True))
        return work if host._v.device == x._v.device else work.then(lambda t: t.to(x.device))

    def _staged(self, use: str, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Pinned memory that is kept for the next time."""
        count = math.prod(shape)
        kept = self._pinned.get((use, x._v.dtype))
        if kept is None or kept.numel() < count:
            room = empty(x, (2 * count,))
            kept = self._pinned[use, x._v.dtype] = wrap(lib.cb_pin_memory(room._v))
        return kept.narrow(0, 0, count).reshape(tuple(shape))

    def all_reduce(self, source: Tensor | None, target: Tensor, op: str) -> None:
        """target = the reduction over all ranks of source, or of target itself."""
        how = reduction(op, target.dtype)
        for start in range(0, target.numel(), _MOST):
            count = min(_MOST, target.numel() - start)
            given = mpi().IN_PLACE if source is None else buffer(source, start, count)
            self.comm.Allreduce(given, buffer(target, start, count), op=how)

    def all_gather(self, source: Tensor, target: Tensor) -> None:
        """target = the sources of all ranks."""
        count, kind = source.numel(), buffer(source)[2]
        self.comm.Allgather(buffer(source), [buffer(target)[0], count, kind])

    def reduce_scatter(self, source: Tensor, target: Tensor) -> None:
        """target = this rank's part of the sum."""
        memory, _, kind = buffer(source)
        how = reduction("sum", source.dtype)
        self.comm.Reduce_scatter_block([memory, target.numel(), kind], buffer(target), op=how)

    def broadcast(self, source: Tensor, target: Tensor, src: int) -> None:
        """target = the source of rank src."""
        if self.comm.rank == src:
            check(lib.cb_copy_into(target._v, source._v, 0))
        self.comm.Bcast(buffer(target), root=src)

    def reduce(self, source: Tensor, target: Tensor, dst: int) -> None:
        """On rank dst target = the sum."""
        into = buffer(target) if self.comm.rank == dst else None
        self.comm.Reduce(buffer(source), into, op=reduction("sum", source.dtype), root=dst)

    def gather(self, source: Tensor, target: Tensor, dst: int) -> None:
        """On rank dst target = the sources of all ranks."""
        kind = buffer(source)[2]
        here = self.comm.rank == dst
        into = [buffer(target)[0], source.numel(), kind] if here else None
        self.comm.Gather(buffer(source), into, root=dst)

    def scatter(self, source: Tensor, target: Tensor, src: int) -> None:
        """target = this rank's part of the source of rank src."""
        memory, _, kind = buffer(source)
        given = [memory, target.numel(), kind] if self.comm.rank == src else None
        self.comm.Scatter(given, buffer(target), root=src)

    def all_to_all(
        self, source: Tensor, target: Tensor, sent: Sequence[int], received: Sequence[int]
    ) -> None:
        """Rows: sent[i] go to rank i, received[i] come from it."""
        self.comm.Alltoallv(rows(source, list(sent)), rows(target, list(received)))
