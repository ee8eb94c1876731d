"""A collective of CUDA tensors in which the last rank dies, if the argument is "die"."""

import os
import sys

import functorch_like as ft

D = ft.distributed
group = D.init(timeout=20.0)
x = ft.ones(2, device=ft.device("cuda", group.rank % ft.cuda.device_count()))
D.all_reduce(x)
if group.rank == group.size - 1:
    os.environ["FL_STAND_IN"] = sys.argv[1]
for _ in range(3):
    D.all_reduce(x)
