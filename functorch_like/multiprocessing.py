"""multiprocessing with tensors: those sent to another process share their memory with it.

Everything of the standard library's module is here under its name. Importing this module teaches
its queues, pipes and process arguments to pass tensors on as shared memory: the first send moves a
tensor's elements into memory that has no name in the file system, its descriptor is what travels.
Whoever writes in place is seen by all. When the last process has let go, the system frees it.

The start method "spawn" or "forkserver" is the safe one with threads (`get_context("spawn")`).
"""

from __future__ import annotations

import mmap
import multiprocessing as _standard
import os
from multiprocessing import *  # noqa: F403 # pyright: ignore
from multiprocessing import reduction
from typing import Any
from weakref import WeakValueDictionary

from .dtypes import as_dtype
from .errors import DeviceError, TraceError, message
from .interop import from_array
from .memory import unnamed_memory
from .tensor import Tensor

__all__ = [*_standard.__all__, "is_shared", "share_memory"]  # pyright: ignore


class _Block:
    """Shared memory: a descriptor and where it is mapped here."""

    def __init__(self, descriptor: int, size: int) -> None:
        import numpy

        self.descriptor, self.size = descriptor, size
        self.memory = mmap.mmap(descriptor, size)
        self.bytes = numpy.frombuffer(self.memory, "uint8")
        self.address: int = self.bytes.__array_interface__["data"][0]

    def __del__(self) -> None:
        os.close(self.descriptor)

    def tensor(
        self, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> Tensor:
        """The tensor at `offset` elements into the block; it keeps the block alive."""
        import numpy

        kind = "uint16" if dtype == "bfloat16" else dtype
        items = numpy.frombuffer(self.memory, kind, self.size // as_dtype(dtype).itemsize)
        x = from_array(_Kept(items, self))
        x = x.view(as_dtype(dtype)) if dtype == "bfloat16" else x
        return x.as_strided(shape, strides, offset)


class _Kept:
    """An array for from_array() that holds on to its block."""

    def __init__(self, items: Any, block: _Block) -> None:
        self.__array_interface__, self.items, self.block = items.__array_interface__, items, block


# by the address of their first byte
_blocks: WeakValueDictionary[int, _Block] = WeakValueDictionary()


def _start(x: Tensor) -> int:
    """The address of the first element of the tensor's memory."""
    return x.data_ptr() - x.storage_offset() * x.element_size()


def is_shared(x: Tensor) -> bool:
    """Does the tensor lie in memory that other processes can have too?

    Example:
      >>> from functorch_like.multiprocessing import is_shared, share_memory
      >>> x = ones(3)
      >>> is_shared(x), is_shared(share_memory(x))
      (False, True)
    """
    return x.numel() == 0 or _start(x) in _blocks


def share_memory(x: Tensor) -> Tensor:
    """Move the tensor's elements into shared memory, in place; the tensor itself is returned.

    Views made earlier keep the old memory. Also as `x.share_memory_()`.

    Raises:
      DeviceError: the tensor is not in main memory.
      TraceError: inside a transform, where a tensor has no memory of its own.
    """
    if x.is_meta or x.is_cuda:
        raise DeviceError(
            message("share_memory_", "a tensor in main memory", f"one on {x.device}", "Use .cpu().")
        )
    if not x._v:
        raise TraceError(
            message("share_memory_", "a tensor with memory", "a traced one", "Share it outside.")
        )
    if not is_shared(x):
        size = x.numel() * x.element_size()
        descriptor = unnamed_memory("tensor")
        os.ftruncate(descriptor, size)
        block = _Block(descriptor, size)
        strides = []
        step = 1
        for n in reversed(x.shape):
            strides.append(step)
            step *= n
        shared = block.tensor(x.dtype.name, tuple(x.shape), tuple(reversed(strides)), 0)
        shared.copy_(x.detach())
        _blocks[_start(shared)] = block
        x.data = shared
    return x


def _rebuilt(
    handle: Any,
    size: int,
    dtype: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    requires_grad: bool,
) -> Tensor:
    block = _Block(handle.detach(), size)
    x = block.tensor(dtype, shape, strides, offset)
    _blocks[_start(x)] = block
    return x.requires_grad_() if requires_grad else x


def _reduced(x: Tensor) -> Any:
    """How queues and process arguments pass a tensor on."""
    if x.is_meta or not x._v or x.numel() == 0:
        return x.__reduce_ex__(2)
    if x.requires_grad and not x.is_leaf:
        raise TraceError(
            message(
                "multiprocessing", "a leaf or a tensor without history", "one with it", "Detach it."
            )
        )
    share_memory(x)
    block = _blocks[_start(x)]
    place = (x.dtype.name, tuple(x.shape), tuple(x.stride()), x.storage_offset())
    handle = reduction.DupFd(block.descriptor)
    return _rebuilt, (handle, block.size, *place, x.requires_grad)


reduction.register(Tensor, _reduced)
