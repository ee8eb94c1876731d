"""Messages from one rank to another, and Python objects to all of them. No derivatives here.

CUDA tensors go by NCCL once a collective of the group has gone by it: only then do all ranks know
that all have it. nccl_messages.py has those.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from ..errors import message
from ..ops.creation import empty_like
from ..tensor import Tensor
from .meeting import FIRST_USER_TAG, CollectiveError, wait_for
from .transport import buffer, described, on_host
from .work import Work
from .world import Group, world


class Message(Work):
    """A send or receive under way: a Work whose wait() looks at MPI itself."""

    def __init__(self, what: str, request: Any, finish: Any, group: Group):
        super().__init__(what)
        self._request, self._group = request, group
        self.then(lambda _: finish())

    def is_completed(self) -> bool:
        """Has the message arrived, or been taken?"""
        return self._done.is_set() or not wait_for([self._request], 0.0)

    def wait(self, timeout: float | None = None) -> Any:
        """The tensor, once the message is through.

        Raises:
          CollectiveError: not within timeout (by default the group's) seconds.
        """
        if not self._done.is_set():
            seconds = self._group.timeout if timeout is None else timeout
            if wait_for([self._request], seconds):
                raise CollectiveError(
                    message(
                        self.what.partition(" ")[0],
                        f"{self.what} within {seconds:g} s",
                        "nothing",
                        "Does the other rank call the counterpart, with the same tag?",
                    )
                )
            self._done.set()
        return super().wait()

    result = wait


def _peer(op: str, other: int, group: Group | None) -> tuple[Group, int]:
    group = world(group)
    group.check_member(op)
    place = group.place_of(op, other)
    if place == group.rank:
        raise ValueError(message(op, "another rank", "this one"))
    return group, place


def isend(x: Tensor, dst: int, tag: int = 0, group: Group | None = None) -> Work:
    """Starts to send a tensor to a rank of the world; do not write to it before wait().

    CUDA tensors go over NCCL, and then with the next wait() of a message.

    Raises:
      ValueError: dst is this rank or not in the group.
    """
    group, place = _peer("isend", dst, group)
    x._memory("isend")
    if nccl := group.ready_nccl(x):
        return nccl.isend(x.detach(), dst, place, tag)
    source = on_host(x.detach())
    request = group.comm().Isend(buffer(source), dest=place, tag=tag + FIRST_USER_TAG)
    return Message(f"send {described(source)} to rank {dst}", request, lambda: source, group)


def irecv(x: Tensor, src: int, tag: int = 0, group: Group | None = None) -> Work:
    """Starts to receive into a tensor; wait() gives it once it is filled.

    Raises:
      ValueError: src is this rank or not in the group. From wait(), ShapeError: what came has
        another size.
    """
    group, place = _peer("irecv", src, group)
    x._memory("irecv")
    if nccl := group.ready_nccl(x):
        return nccl.irecv(x.detach(), src, place, tag)
    with_room = empty_like(x.detach(), device="cpu").contiguous()
    memory, count, kind = buffer(with_room)
    request = group.comm().Irecv([memory, count, kind], source=place, tag=tag + FIRST_USER_TAG)

    def fill() -> Tensor:
        return x.detach().copy_(with_room)

    return Message(f"recv {described(with_room)} from rank {src}", request, fill, group)


def send(x: Tensor, dst: int, tag: int = 0, group: Group | None = None) -> None:
    """Sends a tensor to a rank of the world; returns when x may be written again."""
    isend(x, dst, tag, group).wait()


def recv(x: Tensor, src: int, tag: int = 0, group: Group | None = None) -> Tensor:
    """Receives into a tensor; returns it.

    Raises:
      CollectiveError: nothing came within the group's timeout.
    """
    return irecv(x, src, tag, group).wait()


def broadcast_object(value: Any, src: int = 0, group: Group | None = None) -> Any:
    """A Python object of one rank, on all of them. It is pickled: for ranks of one job only."""
    group = world(group)
    group.check_member("broadcast_object")
    if group.size == 1:
        return value
    place = group.place_of("broadcast_object", src)
    group.meet(f"broadcast_object from {src}")
    return group.comm().bcast(value, root=place)


def all_gather_object(value: Any, group: Group | None = None) -> list[Any]:
    """The Python objects of all ranks, in their order. Pickled: for ranks of one job only."""
    group = world(group)
    group.check_member("all_gather_object")
    if group.size == 1:
        return [value]
    group.meet("all_gather_object")
    return group.comm().allgather(value)


__all__ = [
    "all_gather_object", "broadcast_object", "irecv", "isend", "recv", "send",
]  # fmt: skip
