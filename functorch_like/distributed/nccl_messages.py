"""Messages of CUDA tensors from one rank to another, over NCCL.

NCCL's messages have no tags and hold up the stream until the other side comes. So isend and irecv
only note what is to be done: wait() of any of them queues this rank's sends so far, and the
receives from that rank up to its own, as one group of NCCL's, in which all make progress at once. A
line by MPI goes ahead of each message, with its tag, its number and its size: messages that are
received in another order than they were sent in are an error, and so is one that does not come.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from cbackend import lib

from .. import cuda
from ..errors import ShapeError, message
from ..op import wrap
from ..ops.creation import empty_like
from ..tensor import Tensor
from .meeting import FIRST_USER_TAG, CollectiveError, wait_for
from .transport import described
from .work import Work

_LINE = 64


class Note(Work):
    """A message that is to be sent or received, and its mark once it is queued."""

    def __init__(self, what: str, book: Messages, place: int, tensor: Tensor):
        super().__init__(what)
        self.book, self.place, self.tensor = book, place, tensor
        self.number = 0
        self.request: Any = None
        self.line = bytearray(_LINE)
        self.ready = cuda.current_stream(book.device).record_event()
        self.mark: cuda.Event | None = None
        self.into: Tensor | None = None  # of a receive

    def is_completed(self) -> bool:
        """Was it queued, and has the device done it?"""
        return self.mark is not None and self.mark.query()

    def wait(self, timeout: float | None = None) -> Any:
        """The tensor; the current stream waits for the message.

        Raises:
          CollectiveError: no sign of it within timeout (by default the group's) seconds.
        """
        if self.mark is None:
            self.book.queue(self, self.book.group.timeout if timeout is None else timeout)
        assert self.mark is not None
        self.mark.wait(cuda.current_stream(self.book.device))
        if self.into is not None:
            self.into.copy_(self.tensor)
            self.tensor, self.into = self.into, None
        return self.tensor

    result = wait


class Messages:
    """The messages of one group and device that are not queued yet."""

    def __init__(self, transport: Any):
        self.transport, self.group, self.device = transport, transport.group, transport.device
        self._sends: list[Note] = []
        self._receives: dict[int, list[Note]] = {}
        self._counts: dict[tuple[str, int], int] = {}

    def _number(self, kind: str, place: int) -> int:
        number = self._counts[kind, place] = self._counts.get((kind, place), 0) + 1
        return number

    def isend(self, x: Tensor, dst: int, place: int, tag: int) -> Work:
        """The note of a message to a rank of the world, which has that place in the group."""
        source = wrap(lib.cb_contiguous(x._v))
        note = Note(f"send {described(source)} to rank {dst}", self, place, source)
        text = f"{self._number('send', place)} {source.numel() * source.dtype.itemsize}"
        note.line[: len(text)] = text.encode()
        comm: Any = self.group.comm()
        note.request = comm.Isend(note.line, dest=place, tag=tag + FIRST_USER_TAG)
        self._sends.append(note)
        return note

    def irecv(self, x: Tensor, src: int, place: int, tag: int) -> Work:
        """The note of a message from a rank of the world."""
        room = empty_like(x).contiguous()
        note = Note(f"recv {described(room)} from rank {src}", self, place, room)
        note.into, note.number = x, self._number("recv", place)
        comm: Any = self.group.comm()
        note.request = comm.Irecv(note.line, source=place, tag=tag + FIRST_USER_TAG)
        self._receives.setdefault(place, []).append(note)
        return note

    def queue(self, note: Note, seconds: float) -> None:
        """Has NCCL carry out what note waits for, and the sends so far."""
        if self.group.broken:
            raise CollectiveError(self.group.broken)
        receives: list[Note] = []
        if note.into is not None:
            waiting = self._receives[note.place]
            receives = waiting[: waiting.index(note) + 1]
            for one in receives:
                _check_line(one, seconds)
            del waiting[: len(receives)]
        sends, self._sends = self._sends, []
        now = cuda.current_stream(self.device)
        for one in (*sends, *receives):
            one.ready.wait(now)
        calls = [("ncclSend", one.tensor, one.place) for one in sends]
        calls += [("ncclRecv", one.tensor, one.place) for one in receives]
        self.transport.move(note.what, lambda way, *_: way.together(calls), calls, note.tensor)
        mark = now.record_event()
        for one in (*sends, *receives):
            one.mark = mark


def _check_line(note: Note, seconds: float) -> None:
    """Raises unless the message that comes next is the one that is received."""
    if wait_for([note.request], seconds):
        raise CollectiveError(
            message(
                "recv",
                f"{note.what} within {seconds:g} s",
                "nothing",
                "Does the other rank call the counterpart, with the same tag?",
            )
        )
    number, size = (int(part) for part in bytes(note.line).rstrip(b"\0").split())
    if number != note.number:
        wanted = "messages of CUDA tensors to be received in the order they were sent in"
        raise CollectiveError(message("recv", wanted, f"number {number} as {note.number}"))
    room = note.tensor.numel() * note.tensor.dtype.itemsize
    if size != room:
        raise ShapeError(message("recv", f"a message of {room} bytes", f"one of {size}"))


__all__ = ["Messages"]
