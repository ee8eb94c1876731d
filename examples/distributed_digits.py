"""Train the digits CNN on several ranks, and go on after one of them fails.

    python -m nn.distributed.run --nproc 2 --max-restarts 2 examples/distributed_digits.py

Also runs in a process by itself. The batches are those of the whole job, so any number of ranks
takes the same steps; checkpoints are written beside training.
"""

import os
import tempfile

from datasets import arguments, images
from mnist import LeNet, accuracy

import functorch_like as ft
import nn
import nn.functional as F
from nn import distributed

ranks = ft.distributed


def main():
    args = arguments(__doc__)
    group = ranks.init(timeout=60.0)
    ft.manual_seed(args.seed)
    (x, y), test_set = images(args.data)
    epochs, goal = (4, 0.85) if args.quick else (20, 0.93)

    network = LeNet(x.shape[-1])
    model = distributed.DistributedDataParallel(network)
    optimizer = distributed.ZeroRedundancyOptimizer(network.parameters(), nn.optim.Adam, lr=3e-3)
    batches = distributed.GlobalBatches(x, 48, seed=args.seed)
    # the launcher's folder lasts until the job is finished, through all restarts
    folder = os.environ.get("FL_RUN_FOLDER") or tempfile.mkdtemp(prefix="digits-")
    saver = distributed.Checkpointer(folder)
    start = 0
    found = saver.load()
    if found is not None:
        start, state, parts = found
        network.load_state_dict(state["network"])
        optimizer.load_own_state(parts)

    distributed.print_once(f"{len(x)} images, {group.size} ranks, {len(batches)} steps an epoch")
    total = 0.0
    for step, mine in batches.steps(start, epochs * len(batches)):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[mine]), y[mine])
        loss.backward()
        optimizer.step()
        total += loss.item()
        if (step + 1) % len(batches) == 0:
            saver.save(step + 1, {"network": network.state_dict()}, optimizer.own_state())
            mean = ranks.all_reduce(ft.tensor(total / len(batches)), "mean").item()
            distributed.print_once(f"epoch {(step + 1) // len(batches):2d}   loss {mean:.4f}")
            total = 0.0
    saver.wait()

    share = accuracy(network, *test_set)
    everywhere = ranks.all_gather(ft.tensor(share)).tolist()
    distributed.print_once(f"test accuracy {share:.2%}, checkpoints of steps {saver.steps()}")
    assert len(set(everywhere)) == 1, f"expected the same model on all ranks, got {everywhere}"
    assert share > goal, f"expected more than {goal:.0%}, got {share:.2%}"


if __name__ == "__main__":
    main()
