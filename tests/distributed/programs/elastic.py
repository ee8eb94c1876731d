"""Trains with checkpoints; fails in the first run as the arguments say: how step folder.

how: "kill" a rank in the middle of an epoch, "write" one in the middle of a checkpoint, "none".
Rank 0 appends each step's loss to losses.txt in the folder.
"""

import os
import sys

from checks import D
from models import mlp

import functorch_like as ft
import nn
from nn import distributed as nd

how, when, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
group = D.init(timeout=20.0)
first_run = os.environ.get("FL_RESTART_COUNT", "0") == "0"
doomed = first_run and group.rank == group.size - 1

model, _, _ = mlp(16, 2)
x = ft.random.normal(ft.random.key(1), (60, 16))
y = ft.random.normal(ft.random.key(2), (60, 16))
ddp = nd.DistributedDataParallel(model)
optimizer = nd.ZeroRedundancyOptimizer(model.parameters(), nn.optim.Adam, lr=1e-2)
batches = nd.GlobalBatches(x, 12, seed=5)
saver = nd.Checkpointer(os.path.join(folder, "checkpoints"))
found = saver.load()
start = 0
if found is not None:
    start, state, parts = found
    model.load_state_dict(state["model"])
    optimizer.load_own_state(parts)
if group.rank == 0:
    print(f"starts at {start} on {group.size}", flush=True)

if how == "write":  # the file is there, the note that it is complete is not
    import nn.distributed.checkpoint as module

    write = module._write_json

    def dies(path, content):
        if doomed and f"step-{when:08d}" in path:
            os.kill(os.getpid(), 9)
        write(path, content)

    module._write_json = dies

for step, mine in batches.steps(start, 18):
    optimizer.zero_grad()
    loss = ((ddp(x[mine]) - y[mine]) ** 2).mean()
    loss.backward()
    if how == "kill" and doomed and step == when:
        saver.wait()
        os.kill(os.getpid(), 9)
    optimizer.step()
    value = D.all_reduce(loss.detach(), "mean").item()
    if group.rank == 0:
        with open(os.path.join(folder, "losses.txt"), "a") as file:
            file.write(f"{step} {value!r}\n")
    if (step + 1) % 4 == 0:
        state = {"model": model.state_dict()}
        saver.save(step + 1, state, optimizer.own_state())
        if how == "write" and step + 1 == when:
            saver.wait()
saver.wait()
if group.rank == 0:
    print(f"finished on {group.size} with {saver.steps()}", flush=True)
