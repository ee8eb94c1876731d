"""Measures what docs/scaling.md reports: several ranks against one process on the same machine.

    python -m nn.distributed.run --nproc 2 benchmarks/scaling.py messages
    python -m nn.distributed.run --nproc 2 benchmarks/scaling.py training
    python -m nn.distributed.run --nproc 4 benchmarks/scaling.py memory

What is compared takes turns in one job, and medians of the ratios are shown: on a busy machine both
sides see the same.
"""

import gc
import os
import statistics
import sys
import time
from pathlib import Path

import functorch_like as ft
import nn
import nn.functional as F
from nn import distributed as nd

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
D = ft.distributed


def timed(function, times=1):
    D.barrier()
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def messages(group):
    """all_reduce against MPI's own call on NumPy arrays; time by size, for the cost model."""
    import numpy as np
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    for size in (1 << 10, 1 << 16, 1 << 20, 1 << 22, 1 << 24, 1 << 26):
        n = size // 4
        a, b = np.ones(n, np.float32), np.empty(n, np.float32)
        x, y = ft.ones(n), ft.ones(n)
        rounds = max(5, min(100, (1 << 27) // size // group.size))
        ratios, times, in_place = [], [], []
        for _ in range(rounds):
            raw = timed(lambda a=a, b=b: comm.Allreduce(a, b))
            ours = timed(lambda x=x: D.all_reduce(x))
            in_place.append(timed(lambda y=y: D.all_reduce_(y, "mean")) / raw)
            ratios.append(ours / raw)
            times.append((raw, ours))
        raw, ours = (statistics.median(t[i] for t in times) for i in (0, 1))
        least = min(t[1] for t in times)
        nd.print_once(
            f"all_reduce {size >> 10:6d} KiB: mpi4py {1e3 * raw:.3f} ms, ours {1e3 * ours:.3f} ms "
            f"(at least {1e3 * least:.3f}), ratio {statistics.median(ratios):.2f}, "
            f"in place {statistics.median(in_place):.2f}"
        )
    nd.print_once(f"barrier {1e6 * timed(D.barrier, 200):.0f} us")


def cnn():
    from mnist import LeNet

    x, y = ft.rand(256, 1, 28, 28), ft.randint(0, 10, (256,))
    return LeNet(28), x, y, lambda m, x, y: F.cross_entropy(m(x), y)


def gpt():
    from char_gpt import GPT

    tokens = ft.randint(0, 64, (16, 65))
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    model = GPT(64, 64, 128, 4, 4)
    return model, x, y, lambda m, x, y: F.cross_entropy(m(x).flatten(0, 1), y.flatten())


def training(group):
    """One process with a thread a rank against as many ranks with one thread each."""
    threads = min(group.size, os.cpu_count() or 1)
    for make, rounds in ((cnn, 12), (gpt, 12)):
        for compiled in (False, True):
            ft.manual_seed(0)
            model, x, y, loss_of = make()
            alone = nn.optim.AdamW(model.parameters(), lr=1e-3)
            ft.manual_seed(0)
            other = make()[0]
            ddp = nd.DistributedDataParallel(other)
            together = nn.optim.AdamW(other.parameters(), lr=1e-3)
            part = [t[group.rank :: group.size].contiguous() for t in (x, y)]

            def one(model=model, loss_of=loss_of, optimizer=alone, x=x, y=y):
                optimizer.zero_grad()
                loss_of(model, x, y).backward()
                optimizer.step()

            def local(ddp=ddp, loss_of=loss_of, optimizer=together, part=part):
                optimizer.zero_grad()
                with ddp.no_sync():
                    loss_of(ddp, *part).backward()

            def many(ddp=ddp, loss_of=loss_of, optimizer=together, part=part):
                optimizer.zero_grad()
                loss_of(ddp, *part).backward()
                optimizer.step()

            if compiled:
                one, local = ft.compile(one), ft.compile(local)

                def many(ddp=ddp, optimizer=together, local=local):
                    local()
                    ddp.reduce_gradients()
                    optimizer.step()

            ratios, singles, lots = [], [], []
            for i in range(rounds + 2):
                ft.set_num_threads(1)
                many_time = timed(many, 3)
                D.barrier()
                if group.rank == 0:
                    ft.set_num_threads(threads)
                    start = time.perf_counter()
                    for _ in range(3):
                        one()
                    one_time = (time.perf_counter() - start) / 3
                    if i >= 2:
                        ratios.append(one_time / many_time)
                        singles.append(one_time)
                        lots.append(many_time)
                D.barrier()
            if group.rank == 0:
                print(
                    f"{make.__name__} {'compiled' if compiled else 'eager':8s}: one process with "
                    f"{threads} threads {1e3 * statistics.median(singles):.1f} ms, {group.size} "
                    f"ranks {1e3 * statistics.median(lots):.1f} ms, throughput ratio "
                    f"{statistics.median(ratios):.2f}",
                    flush=True,
                )


def memory(group):
    """The most memory a rank needs: 4 layers of width 1024 with Adam, batch 32 a rank."""

    def make():
        parts = [p for _ in range(4) for p in (nn.Linear(1024, 1024), nn.ReLU())]
        return nn.Sequential(*parts)

    def peak(build):
        gc.collect()
        ft.empty_cache()
        base = ft.memory_allocated()
        model, optimizer, loss_of = build()
        x = ft.randn(32, 1024)
        for i in range(4):
            if i == 2:
                ft.reset_peak_memory()
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.step()
        return (ft.max_memory_allocated() - base) / 2**20

    def ddp():
        model = nd.DistributedDataParallel(make())
        return model, nn.optim.Adam(model.parameters()), lambda m, x: (m(x) ** 2).mean()

    def zero():
        model = nd.DistributedDataParallel(make(), gradient_as_bucket_view=True)
        optimizer = nd.ZeroRedundancyOptimizer(model.parameters(), nn.optim.Adam)
        return model, optimizer, lambda m, x: (m(x) ** 2).mean()

    def sharded():
        model = make()
        nd.fully_shard(model, (nn.Linear,))
        return model, nn.optim.Adam(model.parameters()), lambda m, x: (m(x) ** 2).mean()

    found = {build.__name__: peak(build) for build in (ddp, zero, sharded)}
    for name, size in found.items():
        nd.print_once(f"{name:8s} {size:7.1f} MiB a rank, {size / found['ddp']:.2f} of ddp")


if __name__ == "__main__":
    globals()[sys.argv[1]](D.init(threads=1))
