"""The transport of CUDA tensors where all ranks of a group have NCCL: no copies through the host.

A collective is queued on the calling thread's current stream and the call returns, after the
ranks' meeting. One with async_op runs on a stream of the group's own, beside what is queued
elsewhere; wait() lets the current stream wait, not the process. All of a group's collectives go
through one communicator in the order of the program, which is that of all ranks.

What goes wrong later, on the devices, is found by a thread that looks at what is under way: an
error that NCCL reports, a rank that died, or an end that does not come within the group's timeout.
It aborts the communicator, so that no stream waits for ever; the group's next collective raises
what it found.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from .. import cuda
from ..op import wrap
from ..tensor import Tensor
from . import nccl
from .ending import fate, job_folder
from .meeting import CollectiveError
from .nccl_messages import Messages
from .work import Work

_OPERATIONS = {"sum": 0, "prod": 1, "max": 2, "min": 3}
_said: set[str] = set()  # reasons that were told


def agree(group: Any, device: int) -> NcclTransport | None:
    """The transport of the group's CUDA tensors; None if it must be the host's. All ranks call it.

    Raises:
      CollectiveError: some ranks do not call it.
    """
    group.meet("distributed on cuda")
    comm = group.comm()
    about = cuda.get_device_properties(device)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    place = (os.uname().nodename, about.pci_bus_id, about.pci_device_id, device, visible)
    every = comm.allgather((nccl.why_unavailable(), place))
    reason = _reason(group.ranks, every)
    made = None
    if not reason:
        id, reason = comm.bcast(_tried(nccl.new_id, group) if group.rank == 0 else None)
    if not reason:
        made, reason = _tried(lambda: NcclTransport(group, device, id), group)
        reason = next((text for text in comm.allgather(reason) if text), "")
    if not reason:
        return made
    if group.rank == 0 and reason not in _said:
        _said.add(reason)
        warnings.warn(
            f"distributed: CUDA tensors go through host memory and MPI: {reason}", stacklevel=2
        )
    return None


def _reason(ranks: Sequence[int], every: list[tuple[str, Any]]) -> str:
    """Why not all ranks can use NCCL; "" if they can."""
    seen: dict[Any, int] = {}
    for rank, (why, place) in zip(ranks, every, strict=True):
        if why:
            return f"rank {rank} has no NCCL ({why})"
        if place in seen:
            return f"ranks {seen[place]} and {rank} use one GPU, and NCCL takes one rank on each"
        seen[place] = rank
    return ""


def _tried(start: Callable[[], Any], group: Any) -> tuple[Any, str]:
    """What start() gives, or why it does not: NCCL waits without end for ranks that failed."""
    work = Work("NCCL")
    threading.Thread(target=work.run, args=(start,), daemon=True).start()
    try:
        return work.wait(group.timeout), ""
    except (CollectiveError, TimeoutError) as error:
        return None, str(error)


class _Item:
    """A call under way; keeps the tensors that it reads until the device is done."""

    def __init__(self, what: str, keep: Any):
        self.what, self.keep, self.begun = what, keep, time.monotonic()
        self.done: cuda.Event | None = None  # until it is queued


class _Watch:
    """The thread that looks at what is under way on one communicator."""

    def __init__(self, group: Any, comm: nccl.Communicator):
        self._group, self._comm = group, comm
        self._items: list[_Item] = []
        self._some = threading.Condition()
        name = f"watch-{id(group):x}"
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def begin(self, what: str, keep: Any) -> _Item:
        """Before a call of NCCL, which may already wait for other ranks."""
        item = _Item(what, keep)
        with self._some:
            self._items.append(item)
            self._some.notify()
        return item

    def drop(self, item: _Item) -> None:
        """The call failed."""
        with self._some:
            if item in self._items:
                self._items.remove(item)

    def _loop(self) -> None:
        looked = 0.0
        while True:
            with self._some:
                while not self._items:
                    self._some.wait()
                items = list(self._items)
            reason = self._comm.error()
            if not reason:
                for item in list(items):
                    if item.done is not None and item.done.query():
                        self.drop(item)
                        items.remove(item)
            now, folder = time.monotonic(), job_folder()
            if not reason and items:
                if folder and now - max(looked, items[0].begun) > 1.0:
                    looked = now
                    reason = "; ".join(fate(folder))
                if not reason and now - items[0].begun > self._group.timeout:
                    reason = f"no end within {self._group.timeout:g} s"
            if reason:
                break
            time.sleep(0.002)
        self._group.broken = f"NCCL was aborted during {items[0].what}: {reason}"
        sys.stderr.write(f"rank {self._group.ranks[self._group.rank]}: {self._group.broken}\n")
        self._comm.abort()


class NcclTransport:
    """NCCL on one of a group's communicators, for tensors of one device."""

    def __init__(self, group: Any, device: int, id: bytes):
        self.group, self.device = group, device
        cuda.current_stream(device)  # makes the device the calling thread's
        self.comm = nccl.Communicator(id, group.size, group.rank)
        self._side = cuda.Stream(device)
        self._watch = _Watch(group, self.comm)
        self._messages = Messages(self)
        self.isend, self.irecv = self._messages.isend, self._messages.irecv

    def _stream_now(self) -> Any:
        """NCCL's handle of the current stream; asking makes the device the calling thread's."""
        return nccl.ffi().cast("void *", cuda.current_stream(self.device).cuda_stream)

    def reduces(self, dtype: Any, op: str) -> bool:
        """Can NCCL carry values of a dtype and do this to them? Other ranks answer the same."""
        if not op or dtype.name == "bool" or dtype.name in nccl.TYPES:
            return True
        return dtype.is_complex and op == "sum"

    def takes(self, x: Tensor) -> bool:
        """Is the memory of contiguous x itself read and written?"""
        return True

    def source(self, x: Tensor) -> Tensor:
        """x in contiguous memory."""
        return wrap(lib.cb_contiguous(x._v))

    def target(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """New memory on the device."""
        shape = tuple(shape)
        return wrap(lib.cb_empty(x._v.dtype, x._v.device, len(shape), shape))

    def finished(self, target: Tensor, x: Tensor) -> Tensor:
        """The result."""
        return target

    def move(self, what: str, run: Callable[..., None], source: Any, target: Tensor) -> None:
        """run(self, source, target), watched until the device is done."""
        item = self._watch.begin(what, (source, target))
        try:
            run(self, source, target)
            item.done = cuda.current_stream(self.device).record_event()
        except BaseException as error:
            self._watch.drop(item)
            if self.group.broken and isinstance(error, CollectiveError):
                raise CollectiveError(self.group.broken) from error
            raise

    def later(self, _courier: Any, what: str, x: Tensor, function: Any) -> Work:
        """Has function(x, False) queue its work on the group's own stream."""
        self._side.wait_stream(cuda.current_stream(self.device))
        with cuda.stream(self._side):
            work = Queued(what, self.group)
            work.run(lambda: function(x, False))
            work.mark = self._side.record_event()
        return work

    # ---- the collectives ----

    def _call(self, function: str, source: Tensor, target: Tensor, count: int, *rest: Any) -> None:
        self.comm.call(
            function, function, _address(source), _address(target), count, *rest, self._stream_now()
        )

    def all_reduce(self, source: Tensor | None, target: Tensor, op: str) -> None:
        """target = the reduction over all ranks of source, or of target itself."""
        kind, width, how = _reduction(target, op)
        given = target if source is None else source
        self._call("ncclAllReduce", given, target, target.numel() * width, kind, how)

    def all_gather(self, source: Tensor, target: Tensor) -> None:
        """target = the sources of all ranks."""
        self._call("ncclAllGather", source, target, *_as_moved(source, source.numel()))

    def reduce_scatter(self, source: Tensor, target: Tensor) -> None:
        """target = this rank's part of the sum."""
        kind, width, how = _reduction(source, "sum")
        self._call("ncclReduceScatter", source, target, target.numel() * width, kind, how)

    def broadcast(self, source: Tensor, target: Tensor, src: int) -> None:
        """target = the source of rank src."""
        self._call("ncclBroadcast", source, target, *_as_moved(source, source.numel()), src)

    def reduce(self, source: Tensor, target: Tensor, dst: int) -> None:
        """On rank dst target = the sum."""
        kind, width, how = _reduction(source, "sum")
        self._call("ncclReduce", source, target, source.numel() * width, kind, how, dst)

    def gather(self, source: Tensor, target: Tensor, dst: int) -> None:
        """On rank dst target = the sources of all ranks."""
        n, count = self.group.size, source.numel()
        taken = [count if self.group.rank == dst else 0] * n
        self._exchange(source, target, [count if i == dst else 0 for i in range(n)], taken)

    def scatter(self, source: Tensor, target: Tensor, src: int) -> None:
        """target = this rank's part of the source of rank src."""
        n, count = self.group.size, target.numel()
        sent = [count if self.group.rank == src else 0] * n
        self._exchange(source, target, sent, [count if i == src else 0 for i in range(n)])

    def all_to_all(
        self, source: Tensor, target: Tensor, sent: Sequence[int], received: Sequence[int]
    ) -> None:
        """Rows: sent[i] go to rank i, received[i] come from it."""
        width = 1
        for size in source._shape[1:]:
            width *= size
        self._exchange(source, target, [n * width for n in sent], [n * width for n in received])

    def _exchange(
        self, source: Tensor, target: Tensor, sent: Sequence[int], received: Sequence[int]
    ) -> None:
        """Elements: sent[i] in a row go to rank i, received[i] come from it, all at once."""
        stream, calls = self._stream_now(), []
        for function, t, counts in (("ncclSend", source, sent), ("ncclRecv", target, received)):
            start = 0
            for peer, n in enumerate(counts):
                if n:
                    calls.append((function, _address(t, start), *_as_moved(t, n), peer, stream))
                start += n
        self.comm.group("all_to_all", calls)

    def together(self, calls: list[tuple[str, Tensor, int]]) -> None:
        """Messages at once: (ncclSend or ncclRecv, tensor, place of the other rank)."""
        stream = self._stream_now()
        self.comm.group(
            "messages",
            [(f, _address(t), *_as_moved(t, t.numel()), peer, stream) for f, t, peer in calls],
        )


class Queued(Work):
    """Work whose result is there for streams that wait for its mark."""

    mark: cuda.Event

    def __init__(self, what: str, group: Any):
        super().__init__(what)
        self._group = group
        self.then(self._arrive)

    def is_completed(self) -> bool:
        """Has the device done it, or is there an error?"""
        return self._error is not None or self.mark.query()

    def _arrive(self, value: Any) -> Any:
        if self._group.broken:
            raise CollectiveError(self._group.broken)
        self.mark.wait(cuda.current_stream(self.mark._index))
        return value


def _address(t: Tensor, start: int = 0) -> Any:
    return nccl.ffi().cast("void *", t.data_ptr() + start * t.dtype.itemsize)


def _as_moved(t: Tensor, count: int) -> tuple[int, int]:
    """Count and type of elements that just move: those NCCL lacks go as bytes."""
    kind = nccl.TYPES.get(t.dtype.name)
    return (count, kind) if kind is not None else (count * t.dtype.itemsize, nccl.TYPES["uint8"])


def _reduction(t: Tensor, op: str) -> tuple[int, int, int]:
    """NCCL's type, how many of it an element is, and its operation."""
    if t.dtype.name == "bool":  # any and all, as bytes of 0 and 1
        return nccl.TYPES["uint8"], 1, _OPERATIONS["max" if op in ("sum", "max") else "min"]
    if t.dtype.is_complex:
        return nccl.TYPES["float32" if t.dtype.itemsize == 8 else "float64"], 2, _OPERATIONS[op]
    return nccl.TYPES[t.dtype.name], 1, _OPERATIONS[op]


__all__ = ["NcclTransport", "Queued", "agree"]
