"""Train the character GPT with all its parameters, gradients and states dealt out over the ranks.

    python -m nn.distributed.run --nproc 2 examples/distributed_gpt.py

Also runs in a process by itself. Each block's parameters are gathered while it computes, the next
block's beside it.
"""

import time

from char_gpt import GPT, Block
from datasets import Text, arguments

import functorch_like as ft
import nn
import nn.functional as F
from nn import distributed

ranks = ft.distributed


def main():
    args = arguments(__doc__)
    group = ranks.init(timeout=60.0)
    ft.manual_seed(args.seed)
    text = Text(args.data)
    size, length = (8, 32) if args.quick else (16, 64)
    steps, goal = (40, 3.0) if args.quick else (250, 2.2)
    model = GPT(len(text.alphabet), length, 128, 4, 4)
    whole = sum(p.numel() for p in model.parameters())
    units = distributed.fully_shard(model, (Block,))
    held = sum(p.numel() for p in model.parameters())
    optimizer = nn.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    distributed.print_once(f"{whole} weights, {held} of them on each of {group.size} ranks")

    generator = ft.Generator().manual_seed(args.seed)  # one stream: every rank knows the batch
    losses, start = [], time.perf_counter()
    for step in range(steps):
        starts = ft.randint(0, len(text.train) - length, (size, 1), generator=generator)
        mine = starts[group.rank :: group.size]
        passages = text.train[mine + ft.arange(length + 1)]
        optimizer.zero_grad()
        logits = model(passages[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), passages[:, 1:].flatten())
        loss.backward()
        distributed.clip_sharded_grad_norm_(units, 1.0)
        optimizer.step()
        losses.append(ranks.all_reduce(loss.detach(), "mean").item())
        if (step + 1) % 50 == 0:
            distributed.print_once(f"step {step + 1:4d}   loss {sum(losses[-20:]) / 20:.3f}")
    seconds = time.perf_counter() - start

    final = sum(losses[-10:]) / 10
    distributed.print_once(f"{1e3 * seconds / steps:.0f} ms a step; loss {final:.3f}")
    assert held <= whole / group.size + len(units) * group.size
    assert final < goal, f"expected a loss under {goal}, got {final:.3f}"


if __name__ == "__main__":
    main()
