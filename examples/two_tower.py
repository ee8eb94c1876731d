"""A recommender of two towers whose tables of users and items lie on all ranks.

    python -m nn.distributed.run --nproc 4 examples/two_tower.py

Also runs in a process by itself. Users and items have hidden tastes; a click is more likely where
they agree. Each tower looks a row up, wherever it lies, and passes it through a small network; the
score is the product of both. Only rows that a batch asks for travel and change.
"""

from datasets import arguments

import functorch_like as ft
import nn
import nn.functional as F
from nn import distributed

ranks = ft.distributed


class Tower(nn.Module):
    """Numbers [n] -> vectors [n, width]."""

    def __init__(self, count, width, seed):
        super().__init__()
        self.table = distributed.ShardedEmbedding(count, width, lr=0.2, std=0.3, seed=seed)
        self.layers = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width))

    def forward(self, numbers):
        rows = self.table(numbers)
        return rows + self.layers(rows)


class TwoTowers(nn.Module):
    """Scores of pairs: logits [n] of a click."""

    def __init__(self, users, items, width):
        super().__init__()
        self.users, self.items = Tower(users, width, seed=1), Tower(items, width, seed=2)

    def forward(self, pairs):
        return (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)


def clicks(key, count, users, items):
    """Pairs [count, 2] and whether they were clicked, from tastes that no one sees."""
    a, b, c = ft.random.split(key, 3).unbind()
    tastes = ft.random.normal(ft.random.key(99), (users + items, 3))
    pairs = ft.stack(
        [ft.random.randint(a, (count,), 0, users), ft.random.randint(b, (count,), 0, items)], 1
    )
    agreement = (tastes[pairs[:, 0]] * tastes[users + pairs[:, 1]]).sum(1)
    return pairs, (ft.random.uniform(c, (count,)) < (2 * agreement).sigmoid()).float()


def auc(scores, labels):
    """How often a clicked pair scores above one that was not."""
    rank = scores.argsort().argsort().float() + 1
    hits = labels.sum()
    misses = len(labels) - hits
    return (((rank * labels).sum() - hits * (hits + 1) / 2) / (hits * misses)).item()


def main():
    args = arguments(__doc__, data=False)
    group = ranks.init(timeout=60.0)
    users, items, steps, goal = (300, 200, 200, 0.75) if args.quick else (3000, 2000, 1500, 0.8)
    ft.manual_seed(args.seed)
    model = TwoTowers(users, items, 8)
    tables = [model.users.table, model.items.table]
    network = distributed.DistributedDataParallel(model, broadcast_buffers=False, init_sync=False)
    optimizer = nn.optim.Adam(model.parameters(), lr=3e-3)
    held = sum(len(table.rows) for table in tables)
    distributed.print_once(
        f"{users} users, {items} items: {held} rows on each of {group.size} ranks"
    )

    batch = 1024 // group.size
    for step in range(steps):
        key = ft.random.fold_in(distributed.rank_key(args.seed), step)
        pairs, labels = clicks(key, batch, users, items)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(pairs), labels)
        loss.backward()
        optimizer.step()
        for table in tables:
            table.step()
        if (step + 1) % (steps // 4) == 0:
            mean = ranks.all_reduce(loss.detach(), "mean").item()
            distributed.print_once(f"step {step + 1:4d}   loss {mean:.3f}")

    model.eval()
    pairs, labels = clicks(ft.random.key(12345), 4000, users, items)
    with ft.no_grad():
        result = auc(model(pairs), labels)
    distributed.print_once(f"area under the curve on new clicks {result:.3f}")
    assert held <= (users + items) / group.size + 2
    assert result > goal, f"expected more than {goal}, got {result:.3f}"


if __name__ == "__main__":
    main()
