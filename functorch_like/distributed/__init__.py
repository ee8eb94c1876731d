"""Processes that run together, over MPI: collectives that are differentiable and can be mapped.

Start a program with `python -m nn.distributed.run --nproc 4 program.py`, or with mpiexec. Imported
at first use; MPI itself is loaded by init() in processes that mpiexec started, and in no other.
`pip install "functorch-like[mpi]"` brings mpi4py, an MPI library and mpiexec.
"""

from .collectives import (
    all_gather,
    all_reduce,
    all_reduce_,
    all_to_all,
    broadcast,
    gather,
    pmean,
    psum,
    reduce,
    reduce_scatter,
    scatter,
)
from .messages import all_gather_object, broadcast_object, irecv, isend, recv, send
from .work import Work
from .world import (
    CollectiveError,
    Group,
    barrier,
    init,
    is_initialized,
    local_rank,
    new_group,
    rank,
    world,
    world_size,
)

__all__ = [
    "CollectiveError", "Group", "Work", "all_gather", "all_gather_object", "all_reduce",
    "all_reduce_", "all_to_all", "barrier", "broadcast", "broadcast_object", "gather", "init",
    "irecv", "is_initialized", "isend", "local_rank", "new_group", "pmean", "psum", "rank", "recv",
    "reduce", "reduce_scatter", "scatter", "send", "world", "world_size",
]  # fmt: skip
