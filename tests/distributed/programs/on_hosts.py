"""Sums over ranks on two hosts; then the last rank, or its host, ends as the argument says."""

import os
import socket
import sys

import functorch_like as ft


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


D = ft.distributed
group = D.init(timeout=20.0)
total = D.all_reduce(ft.arange(300_000.0) + group.rank)
assert total[1].item() == sum(1 + r for r in range(group.size))
places = D.all_gather_object((socket.gethostname(), D.local_rank()))
if group.rank == 0:
    print("ranks on", *(f"{host}/{local}" for host, local in places), flush=True)
D.barrier()
if group.rank == group.size - 1 and os.environ["FL_RESTART_COUNT"] == "0":
    if sys.argv[1] == "host":  # mpiexec's daemon there, the shell that it started, and the rank
        shell = os.getppid()
        for process in (parent(shell), shell):
            os.kill(process, 9)
    if sys.argv[1] != "none":
        os.kill(os.getpid(), 9)
D.all_reduce(ft.ones(2))
