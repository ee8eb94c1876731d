"""Fails on one rank in the way and in the restart that the arguments say: kill, raise or memory."""

import os
import sys
import time

import functorch_like as ft

D = ft.distributed
group = D.init(timeout=20.0)
restart = int(os.environ["FL_RESTART_COUNT"])
D.barrier()
for how, when in [argument.split("@") for argument in sys.argv[1:]]:
    if int(when) == restart and group.rank == group.size - 1:
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "raise":
            raise ValueError("a bad batch")
        if how == "memory":
            ft.zeros(1 << 50)
        if how == "sleep":
            time.sleep(60)
D.all_reduce(ft.ones(2))
if group.rank == 0:
    print(f"finished on {group.size} after {restart}")
