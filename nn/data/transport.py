"""Batches from a worker process to the loader through shared memory without a name.

The elements of tensors and arrays are written once, into memory that has no name in the file
system; its descriptor travels over the connection. When both sides have closed it, the system frees
it: nothing can be left behind, however a process ends. The receiver's tensors lie in that memory,
without a copy.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.memory import unnamed_memory

__all__ = ["pack", "receive", "send"]

_ALIGN = 64
_INLINE = 4096  # bytes below which a message is sent as it is


def send(connection: Any, head: tuple[Any, ...], value: Any) -> None:
    """Send a small head and any value; raises what pickling it raises, before anything is sent."""
    data, buffers = pack(value)
    sizes = [len(data), *(buffer.nbytes for buffer in buffers)]
    if sum(sizes) < _INLINE:
        connection.send((*head, [data, *(bytes(buffer) for buffer in buffers)], None))
        return
    from multiprocessing import reduction

    starts, total = _layout(sizes)
    descriptor = unnamed_memory("batch")
    try:
        os.ftruncate(descriptor, max(total, 1))
        for start, buffer in zip(starts, [memoryview(data), *buffers], strict=True):
            _write(descriptor, buffer.cast("B"), start)
        connection.send((*head, None, sizes))
        reduction.send_handle(connection, descriptor, None)
    finally:
        os.close(descriptor)


def receive(connection: Any) -> tuple[tuple[Any, ...], Any]:
    """(head, value) that the other side has sent."""
    *head, inline, sizes = connection.recv()
    if inline is not None:
        data, *buffers = inline
        return tuple(head), pickle.loads(data, buffers=[bytearray(buffer) for buffer in buffers])
    from multiprocessing import reduction

    descriptor = reduction.recv_handle(connection)
    starts, total = _layout(sizes)
    try:
        view = memoryview(mmap.mmap(descriptor, max(total, 1)))
    finally:
        os.close(descriptor)
    data, *buffers = (view[s : s + size] for s, size in zip(starts, sizes, strict=True))
    return tuple(head), pickle.loads(data, buffers=buffers)


def pack(value: Any) -> tuple[bytes, list[memoryview]]:
    """A pickle of the value, and the memory of its tensors and arrays beside it."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, 5, buffer_callback=buffers.append).dump(value)
    return file.getvalue(), [buffer.raw() for buffer in buffers]


class _Pickler(pickle.Pickler):
    """Tensors as buffers; the rest as usual."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Tensor or obj.numel() == 0:
            return NotImplemented
        kind = obj.dtype.name
        flat = obj.detach().cpu().contiguous().reshape(-1)
        flat = flat.view(ft.uint16) if kind == "bfloat16" else flat
        buffer = pickle.PickleBuffer(flat.numpy().view("uint8"))
        return _tensor, (buffer, kind, tuple(obj.shape), obj.requires_grad)


def _tensor(buffer: Any, kind: str, shape: tuple[int, ...], requires_grad: bool) -> Tensor:
    import numpy as np

    flat = np.frombuffer(buffer, "uint16" if kind == "bfloat16" else kind)
    tensor = ft.from_numpy(flat)
    tensor = (tensor.view(ft.bfloat16) if kind == "bfloat16" else tensor).reshape(shape)
    return tensor.requires_grad_() if requires_grad else tensor


def _layout(sizes: list[int]) -> tuple[list[int], int]:
    """Where parts of these sizes start, aligned, and the end."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // _ALIGN) * _ALIGN
    return starts, end


def _write(descriptor: int, data: memoryview, start: int) -> None:
    while data.nbytes:
        written = os.pwrite(descriptor, data, start)
        data, start = data[written:], start + written
