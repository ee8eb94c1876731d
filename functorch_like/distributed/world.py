"""The processes that run together: init(), ranks and groups.

A process that was not started by mpiexec (or by `python -m nn.distributed.run`) is a world of one:
every collective works there without MPI, so programs need no second version.
"""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..errors import message
from ..memory import set_num_threads
from ..tensor import Tensor
from . import ending
from .meeting import CollectiveError, meet, mpi
from .transport import HostTransport
from .work import Courier, Work

# how the launchers of MPI libraries tell a process how many there are
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "PMIX_SIZE", "FL_WORLD_SIZE")
_world: Group | None = None


class Group:
    """Some of the processes, among which collectives run.

    Attributes:
      ranks: their numbers in the world; a rank within the group is a place in it.
      rank: this process's place; -1 if it is not in the group.
      size: how many they are.
      timeout: seconds after which a rank that does not come to a collective is an error.
    """

    def __init__(self, ranks: tuple[int, ...], rank: int, comm: Any, timeout: float):
        self.ranks, self.rank, self.size, self.timeout = ranks, rank, len(ranks), timeout
        self.broken: str | None = None
        # one communicator for calls that block and one for the courier's: each has its own order
        self._comms = (comm, comm.Dup()) if comm is not None else (None, None)
        self._hosts = [HostTransport(c) for c in self._comms]
        self._nccl: dict[int, Any] = {}  # by device: its transport; None: not all ranks have NCCL
        self._courier = Courier(f"collectives-{id(self):x}")

    def __repr__(self) -> str:
        return f"Group(ranks={list(self.ranks)}, rank={self.rank})"

    def comm(self, courier: bool = False) -> Any:
        """The mpi4py communicator of calls that block, or of the courier's."""
        return self._comms[courier]

    def check_member(self, op: str) -> None:
        """Raises ValueError if this process is not in the group."""
        if self.rank < 0:
            raise ValueError(
                message(op, f"a rank of the group {list(self.ranks)}", f"rank {world().rank}")
            )

    def place_of(self, op: str, world_rank: int) -> int:
        """The place in the group of a rank of the world."""
        if world_rank not in self.ranks:
            raise ValueError(
                message(op, f"one of the group's ranks {list(self.ranks)}", world_rank)
            )
        return self.ranks.index(world_rank)

    def meet(self, what: str, courier: bool = False) -> None:
        """Returns when all ranks of the group are here and about to do the same.

        Raises:
          CollectiveError: they are not.
        """
        if self.size == 1:
            return
        if self.broken:
            raise CollectiveError(
                message(
                    what.partition(" ")[0],
                    "a group in which all ranks keep step",
                    f"one in which they did not: {self.broken}",
                )
            )
        try:
            meet(self.comm(courier), self.ranks, what, self.timeout)
        except CollectiveError as error:
            if "no sign of" in str(error):
                self.broken = str(error)
            raise

    def transport(self, x: Tensor, reduction: str = "", courier: bool = False) -> Any:
        """What moves x: NCCL, where x lies on CUDA and all ranks have it; else MPI.

        Args:
          reduction: what happens to the values; "" if they just move.
        """
        if x._v.device & 255 == lib.CB_CUDA:
            device = x._v.device >> 8
            if device not in self._nccl:
                from .nccl_transport import agree

                self._nccl[device] = agree(self, device)
            found = self._nccl[device]
            if found is not None and found.reduces(x.dtype, reduction):
                return found
        return self._hosts[courier]

    def ready_nccl(self, x: Tensor) -> Any:
        """The NCCL transport of x's device if there is one already; making one takes all ranks."""
        on_cuda = x._v.device & 255 == lib.CB_CUDA
        return self._nccl.get(x._v.device >> 8) if on_cuda else None

    def later(self, what: str, x: Tensor, function: Callable[[Tensor, bool], Tensor]) -> Work:
        """The Work of a collective: has function(x, by courier?) run, beside what the caller does.

        x is plain; of CPU tensors it may be read until the Work is done.
        """
        if self.size == 1:
            return Work(what).run(lambda: function(x, False))
        return self.transport(x).later(self._run_later, what, x, function)

    def _run_later(self, what: str, function: Any) -> Work:
        """Has the group's courier run function(); at once where MPI takes no second thread."""
        if not _threaded():
            return Work(what).run(function)
        return self._courier.send(what, function)

    def stop(self) -> None:
        """Ends the courier."""
        self._courier.stop()


def _threaded() -> bool:
    return mpi().Query_thread() == mpi().THREAD_MULTIPLE


def _started_by_mpi() -> bool:
    return any(int(os.environ.get(name, "1") or 1) > 1 for name in _SIZES)


def init(timeout: float = 300.0, *, threads: int | None = None) -> Group:
    """Joins the other processes that mpiexec started; in a process by itself a world of one.

    A process that ends with an exception from then on ends the whole job, instead of leaving the
    others waiting. The environment gets RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, as torch
    programs expect them.

    Args:
      timeout: seconds after which a rank that does not come to a collective is an error.
      threads: kernel threads of each rank; by default the processors shared among the ranks of a
        machine, unless OMP_NUM_THREADS says how many.
    Returns:
      The group of all processes.
    Raises:
      ImportError: started by mpiexec, but mpi4py is not installed.
    Example:
      >>> from functorch_like import distributed
      >>> group = distributed.init()
      >>> group.rank, group.size
      (0, 1)
    """
    global _world
    if _world is not None:
        _world.timeout = timeout
        return _world
    if not _started_by_mpi():
        _world = Group((0,), 0, None, timeout)
        local = (0, 1)
    else:
        try:
            MPI = mpi()
        except ImportError as error:
            raise ImportError(
                message(
                    "distributed.init",
                    "mpi4py in a process that mpiexec started",
                    str(error),
                    'pip install "functorch-like[mpi]"',
                )
            ) from error
        comm = MPI.COMM_WORLD.Dup()
        near = comm.Split_type(MPI.COMM_TYPE_SHARED)
        local = (near.rank, near.size)
        near.Free()
        _world = Group(tuple(range(comm.size)), comm.rank, comm, timeout)
        ending.prepare(_world.rank)
        atexit.register(_leave)
    if threads is not None:
        set_num_threads(threads)
    elif local[1] > 1 and "OMP_NUM_THREADS" not in os.environ:
        set_num_threads(max(1, (os.cpu_count() or 1) // local[1]))
    os.environ.update(
        RANK=str(_world.rank),
        WORLD_SIZE=str(_world.size),
        LOCAL_RANK=str(local[0]),
        LOCAL_WORLD_SIZE=str(local[1]),
    )
    return _world


def _leave() -> None:
    if _world is not None:
        _world.stop()


def is_initialized() -> bool:
    """Was init() called?"""
    return _world is not None


def world(group: Group | None = None) -> Group:
    """The group itself, or the group of all processes.

    Raises:
      RuntimeError: init() was not called and mpiexec started this process.
    """
    if group is not None:
        return group
    if _world is None:
        if _started_by_mpi():
            raise RuntimeError(
                message(
                    "distributed",
                    "a call of distributed.init() first",
                    "none",
                    "Call it at the start of the program.",
                )
            )
        return init()
    return _world


def rank(group: Group | None = None) -> int:
    """This process's number in the group (by default all), from 0; -1 if it is not in it."""
    return world(group).rank


def world_size(group: Group | None = None) -> int:
    """How many processes the group has, by default all."""
    return world(group).size


def local_rank() -> int:
    """This process's number among those on its machine."""
    world()
    return int(os.environ["LOCAL_RANK"])


def new_group(ranks: Sequence[int], timeout: float | None = None) -> Group:
    """A group of some processes; all processes of the world must call it, with the same ranks.

    Args:
      ranks: numbers in the world.
      timeout: as of init(), by default the world's.
    Raises:
      ValueError: ranks that do not exist, or one twice. CollectiveError: other ranks elsewhere.
    """
    everyone = world()
    chosen = tuple(int(r) for r in ranks)
    if len(set(chosen)) < len(chosen) or any(not 0 <= r < everyone.size for r in chosen):
        raise ValueError(
            message("new_group", f"different ranks within 0..{everyone.size - 1}", list(chosen))
        )
    seconds = everyone.timeout if timeout is None else timeout
    place = chosen.index(everyone.rank) if everyone.rank in chosen else -1
    if everyone.size == 1:
        return Group(chosen, place, None, seconds)
    everyone.meet(f"new_group {list(chosen)}")
    comm: Any = everyone.comm()
    mine = comm.Split(0 if place >= 0 else 1, place if place >= 0 else everyone.rank)
    if place >= 0:
        return Group(chosen, place, mine, seconds)
    mine.Free()
    return Group(chosen, -1, None, seconds)


def barrier(group: Group | None = None) -> None:
    """Returns when all ranks of the group have called it.

    Raises:
      CollectiveError: some did not within the group's timeout; the message names them.
    """
    group = world(group)
    group.check_member("barrier")
    group.meet("barrier")


__all__ = [
    "CollectiveError", "Group", "barrier", "init", "is_initialized", "local_rank", "new_group",
    "rank", "world", "world_size",
]  # fmt: skip
