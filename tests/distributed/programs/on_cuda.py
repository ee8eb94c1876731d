"""Checks of collectives on CUDA tensors, each rank with a device of its own: with NCCL or without.

Which of the two, the argument says. The device is the emulated one, NCCL the stand-in.
"""

import os
import sys
import time
import warnings

from checks import D, run, same
from collectives import DTYPES, everyone, of, raised
from models import adam, close, cnn, curve, gpt, mlp

import functorch_like as ft
import nn
from nn.distributed import (
    ColumnParallelLinear,
    ZeroRedundancyOptimizer,
    clip_sharded_grad_norm_,
    fully_shard,
)
from nn.distributed import DistributedDataParallel as DDP

WITH_NCCL = sys.argv[1] == "nccl"


def here(t):
    return t.to(ft.device("cuda", D.rank()))


def check_which_way(rank, size):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            same(D.all_reduce(here(ft.ones(3))).cpu(), ft.full((3,), float(size)))
    way = D.world().transport(here(ft.ones(1)))
    assert (type(way).__name__ == "NcclTransport") is WITH_NCCL, way
    texts = [str(w.message) for w in said if "through host memory" in str(w.message)]
    assert len(texts) == (0 if WITH_NCCL or rank else 1), texts
    assert WITH_NCCL or rank or "rank 0 has no NCCL" in texts[0]


def check_reductions(rank, size):
    x, every = of(rank, 3, 5), everyone(size, 3, 5)
    for op, want in (
        ("sum", every.sum(0)),
        ("mean", every.mean(0)),
        ("prod", every.prod(0)),
        ("max", every.amax(0)),
        ("min", every.amin(0)),
    ):
        out = D.all_reduce(here(x), op)
        assert str(out.device) == f"cuda:{rank}"
        same(out.cpu(), want, 1e-12)
        same(D.all_reduce(here(x), op, async_op=True).wait().cpu(), want, 1e-12)
        same(D.all_reduce_(here(x), op).cpu(), want, 1e-12)
        same(D.all_reduce_(here(x), op, async_op=True).wait().cpu(), want, 1e-12)


def check_dtypes(rank, size):
    for d in DTYPES:
        x = here((ft.arange(7) + rank).to(d))
        same(D.all_reduce(x).cpu(), sum((ft.arange(7) + r) for r in range(size)).to(d))
        same(D.all_gather(x).cpu(), ft.cat([(ft.arange(7) + r).to(d) for r in range(size)]))
        same(D.all_reduce(x, async_op=True).wait().cpu(), D.all_reduce(x).cpu())
    flags = here(ft.tensor([True, rank == 0, False]))
    assert D.all_reduce(flags).tolist() == [True, True, False]
    assert D.all_reduce(flags, "min").tolist() == [True, size == 1, False]


def check_bfloat16_goes_as_it_is(rank, size):
    x = of(rank, 4097, dtype=ft.bfloat16)
    every = everyone(size, 4097, dtype=ft.bfloat16).float()
    error = (D.all_reduce(here(x)).cpu().float() - every.sum(0)).abs()
    assert (error <= (size - 1) * 2.0**-8 * every.abs().sum(0)).all().item()


def check_in_place(rank, size):
    x = here(of(rank, 5))
    address = x.data_ptr()
    D.all_reduce_(x)
    assert x.data_ptr() == address
    same(x.cpu(), everyone(size, 5).sum(0), 1e-12)
    column = here(of(rank, 3, 4))
    D.all_reduce_(column[:, 1])
    same(column[:, 1].cpu(), everyone(size, 3, 4).sum(0)[:, 1], 1e-12)


def check_the_others(rank, size):
    """Every collective, its derivative and its batching rule give what they give on the CPU."""
    last = size - 1
    for op in (
        D.all_gather,
        D.reduce_scatter,
        lambda x: D.broadcast(x, last),
        lambda x: D.reduce(x, last),
        lambda x: D.gather(x, last),
        lambda x: D.scatter(x, last),
        D.all_to_all,
        lambda x: D.all_gather(x.t()),
    ):
        x = of(rank, 2 * size, 3)
        same(op(here(x)).cpu(), op(x), 1e-12)
        squares = lambda x, op=op: (op(x) ** 2).sum()  # noqa: E731
        same(ft.grad(squares)(here(x)).cpu(), ft.grad(squares)(x), 1e-12)
        same(ft.vmap(op)(here(ft.stack([x, 2 * x]))).cpu(), ft.vmap(op)(ft.stack([x, 2 * x])))
    splits = [rank + i for i in range(size)]
    x = of(rank, sum(splits), 2)
    same(D.all_to_all(here(x), splits).cpu(), D.all_to_all(x, splits))
    assert D.all_reduce(here(ft.zeros(0, 3))).shape == (0, 3)


def check_streams(rank, size):
    """On a stream of the caller's, and beside it."""
    side = ft.cuda.Stream(rank)
    with ft.cuda.stream(side):
        x = here(of(rank, 1000))
        works = [D.all_reduce(x * i, async_op=True) for i in range(4)]
        direct = D.all_reduce(x)
        for i, work in enumerate(works):
            same(work.wait().cpu(), i * everyone(size, 1000).sum(0), 1e-11)
            assert work.is_completed()
    ft.cuda.current_stream(rank).wait_stream(side)
    same(direct.cpu(), everyone(size, 1000).sum(0), 1e-11)


def check_messages(rank, size):
    after, before = (rank + 1) % size, (rank - 1) % size
    works = [D.isend(here(of(rank, 3 + i)), after, tag=i) for i in range(3)]
    got = [D.irecv(here(ft.zeros(3 + i, dtype=ft.float64)), before, tag=i) for i in range(3)]
    same(got[2].wait().cpu(), of(before, 5))
    same(got[0].wait().cpu(), of(before, 3))
    same(got[1].wait().cpu(), of(before, 4))
    for work in works:
        work.wait()
    if rank == 0:
        D.send(here(ft.ones(2)), 1)
    elif rank == 1:
        same(D.recv(here(ft.zeros(2)), 0).cpu(), ft.ones(2))
    if not WITH_NCCL:
        return
    group = D.new_group(range(size))
    D.all_reduce(here(ft.ones(1)), group=group)
    group.timeout = 2.0
    text = raised(D.CollectiveError, lambda: D.recv(here(ft.ones(1)), before, 9, group))
    assert "within 2 s" in text, text


def check_devices_differ(rank, size):
    x = here(ft.ones(2)) if rank else ft.ones(2)
    text = raised(D.CollectiveError, lambda: D.all_reduce(x))
    assert "float32[2] on cuda on rank" in text, text


def check_compiled(rank, size):
    def f(x):
        return D.all_gather(D.all_reduce(x * 2).sin() + x).sum() + x

    g = ft.compile(f)
    for i in range(6):
        x = of(rank, 5) + i
        out = g(here(x))
        assert str(out.device) == f"cuda:{rank}"
        same(out.cpu(), f(x), 1e-12)
    same(g(x), f(x), 1e-12)  # on the CPU, after CUDA


def check_ddp_equals_one_process(rank, size):
    for make, steps in ((cnn, 3), (gpt, 2)):
        model, data, loss = make()
        data = data[:steps]
        alone = curve(model, data, loss, adam(model.parameters()))
        model, _, _ = make()
        model = DDP(model.to(ft.device("cuda", rank)))
        moved = [(here(x), here(y)) for x, y in data]
        together = curve(model, moved, loss, adam(model.parameters()), rank, size)
        close(alone, together)
        assert max(alone) - min(alone) > 1e-3


def check_sharding(rank, size):
    """Optimizer states in parts; parameters, gradients and states in parts."""
    model, data, loss = mlp(12, 2)
    alone = curve(model, data, loss, adam(model.parameters()))
    moved = [(here(x), here(y)) for x, y in data]

    model, _, _ = mlp(12, 2)
    ddp = DDP(model.to(ft.device("cuda", rank)))
    optimizer = ZeroRedundancyOptimizer(model.parameters(), nn.optim.AdamW, lr=3e-3)
    close(alone, curve(ddp, moved, loss, optimizer, rank, size))

    model, _, _ = mlp(12, 2)
    model = model.to(ft.device("cuda", rank))
    units = fully_shard(model)
    together = curve(model, moved, loss, adam(model.parameters()), rank, size)
    close(alone, together)
    norm = clip_sharded_grad_norm_(units, 1.0)
    assert str(norm.device) == f"cuda:{rank}" and norm.item() > 0


def check_parallel_layers(rank, size):
    x = ft.random.normal(ft.random.key(1), (3, 4))
    ft.manual_seed(1)
    plain = nn.Linear(4, 2 * size)
    column = ColumnParallelLinear(4, 2 * size, linear=plain).to(ft.device("cuda", rank))
    same(column(here(x)).detach().cpu(), plain(x).detach(), 1e-5)


def check_asynchronous_errors(rank, size):
    """What NCCL finds later is raised by the next collective, and the communicator is aborted."""
    if not WITH_NCCL:
        return
    group = D.new_group(range(size))
    x = here(ft.ones(2))
    D.all_reduce(x, group=group)
    os.environ["FL_STAND_IN"] = "error"
    D.all_reduce(x, group=group)
    del os.environ["FL_STAND_IN"]
    end = time.monotonic() + 5.0
    while not group.broken and time.monotonic() < end:
        time.sleep(0.01)
    text = raised(D.CollectiveError, lambda: D.all_reduce(x, group=group))
    assert "aborted during all_reduce sum float32[2]" in text, text
    assert "remote process exited" in text, text


def check_hanging_devices(rank, size):
    """A collective that does not end is aborted after the group's timeout, also while it blocks."""
    if not WITH_NCCL:
        return
    group = D.new_group(range(size))
    x = here(ft.ones(2))
    D.all_reduce(x, group=group)
    D.barrier()
    group.timeout = 3.0  # for the meeting, too
    os.environ["FL_STAND_IN"] = "hang"
    text = raised(D.CollectiveError, lambda: D.all_reduce(x, group=group))
    del os.environ["FL_STAND_IN"]
    assert "during all_reduce sum float32[2] on cuda: no end within 3 s" in text, text


def check_starts_that_fail(rank, size):
    """Where NCCL cannot start on one rank, all go through the host, and rank 0 says why."""
    if not WITH_NCCL:
        return
    group = D.new_group(range(size), timeout=4.0)
    if rank == size - 1:
        os.environ["FL_STAND_IN"] = "refuse"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        same(D.all_reduce(here(ft.ones(2)), group=group).cpu(), ft.full((2,), float(size)))
    os.environ.pop("FL_STAND_IN", None)
    if rank == 0:
        assert "NCCL: expected a result within 4.0 s" in str(said[0].message), said[0]


def check_errors_are_named(rank, size):
    if not WITH_NCCL:
        return
    way = D.world().transport(here(ft.ones(1)))
    text = raised(D.CollectiveError, lambda: way.broadcast(ft.ones(2), here(ft.ones(2)), rank))
    assert "NCCL to carry it out, got invalid argument" in text and "device memory" in text, text


if __name__ == "__main__":
    run(globals())
