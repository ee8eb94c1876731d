"""Checks of sharded training: states, parameters, layers and tables in parts."""

import tempfile

from checks import D, run, same
from models import adam, close, cnn, curve, gpt, mlp, sgd

import functorch_like as ft
import nn
from nn import distributed as nd


def sharded_units(make):
    if make is gpt:
        from char_gpt import Block

        return (Block,)
    return (nn.Linear,)


def check_zero_equals_one_process(rank, size):
    for make in (cnn, gpt):
        model, data, loss = make()
        optimizer = adam(model.parameters())
        alone = curve(model, data, loss, optimizer)
        other, data, loss = make()
        zero = nd.ZeroRedundancyOptimizer(other.parameters(), nn.optim.AdamW, lr=3e-3)
        close(alone, curve(nd.DistributedDataParallel(other), data, loss, zero, rank, size))
        assert len(zero.state) < len(optimizer.state) or size == 1
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            same(p.detach(), q.detach(), 5e-5)
        whole = zero.state_dict()
        theirs = optimizer.state_dict()["state"]
        assert sorted(whole["state"]) == sorted(theirs)
        same(whole["state"][0]["exp_avg"], theirs[0]["exp_avg"], 1e-6)
        zero.load_state_dict(whole)


def check_zero_follows_schedules(rank, size):
    model, data, loss = mlp()
    optimizer = sgd(model.parameters())
    schedule = nn.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    alone = curve(model, data, loss, optimizer, step=schedule.step)
    model, data, loss = mlp()
    zero = nd.ZeroRedundancyOptimizer(model.parameters(), nn.optim.SGD, lr=0.05, momentum=0.9)
    schedule = nn.optim.lr_scheduler.StepLR(zero, 1, 0.5)
    ddp = nd.DistributedDataParallel(model)
    close(alone, curve(ddp, data, loss, zero, rank, size, step=schedule.step))


def check_full_sharding_equals_one_process(rank, size):
    ways = ({}, {"recompute": True}, {"prefetch": False})
    for make, some in ((cnn, ways[:1]), (gpt, ways[:2]), (mlp, ways[1:])):
        for options in some:
            model, data, loss = make()
            alone = curve(model, data, loss, adam(model.parameters()))
            expected = {k: v.clone() for k, v in model.state_dict().items()}
            model, data, loss = make()
            units = nd.fully_shard(model, sharded_units(make), **options)
            count = sum(p.numel() for p in model.parameters())
            whole = sum(v.numel() for v in expected.values())
            assert count <= whole / size + len(units) * size
            close(alone, curve(model, data, loss, adam(model.parameters()), rank, size))
            got = nd.whole_state_dict(model)
            assert sorted(got) == sorted(expected)
            for name, value in expected.items():
                same(got[name], value, 5e-5)


def check_full_sharding_lets_go_of_parameters(rank, size):
    model, data, loss = mlp()
    units = nd.fully_shard(model, (nn.Linear,))
    value = loss(model, *data[0])
    assert all(model[i].weight is None for i in range(0, 8, 2))
    value.backward()
    assert len(units) == 4 and len(units[0].order) == 4
    norm = nd.clip_sharded_grad_norm_(units, 1e-3)
    other, data, loss = mlp()
    loss(other, *data[0]).backward()
    want = nn.utils.clip_grad_norm_(other.parameters(), 1e-3)
    same(norm, want, 1e-6)
    model.eval()
    with ft.no_grad():
        same(model(data[0][0]), other(data[0][0]), 1e-6)


def check_sharded_checkpoint(rank, size):
    folder = D.broadcast_object(tempfile.mkdtemp())
    model, data, loss = mlp()
    nd.fully_shard(model, (nn.Linear,))
    optimizer = adam(model.parameters())
    first = curve(model, data[:3], loss, optimizer, rank, size)
    saver = nd.Checkpointer(folder)
    saver.save(3, {"losses": first}, nd.own_state(model, optimizer))
    rest = curve(model, data[3:], loss, optimizer, rank, size)
    model, data, loss = mlp()
    nd.fully_shard(model, (nn.Linear,))
    optimizer = adam(model.parameters())
    step, state, parts = saver.load()
    assert step == 3 and state["losses"] == first
    nd.load_sharded(model, parts, optimizer)
    assert curve(model, data[3:], loss, optimizer, rank, size) == rest


def check_whole_states_come_and_go(rank, size):
    model, _, _ = mlp()
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    nd.fully_shard(model, (nn.Linear,))
    for name, value in nd.whole_state_dict(model).items():
        same(value, expected[name], 0.0)
    doubled = {k: 2 * v for k, v in expected.items()}
    nd.load_whole(model, doubled)
    for name, value in nd.whole_state_dict(model).items():
        same(value, doubled[name], 0.0)


def check_zero_checkpoint(rank, size):
    folder = D.broadcast_object(tempfile.mkdtemp())
    model, data, loss = mlp()

    def wrapped(model):
        return nd.DistributedDataParallel(model), nd.ZeroRedundancyOptimizer(
            model.parameters(), nn.optim.AdamW, lr=3e-3
        )

    ddp, zero = wrapped(model)
    curve(ddp, data[:3], loss, zero, rank, size)
    saver = nd.Checkpointer(folder)
    saver.save(3, {"model": model.state_dict()}, zero.own_state())
    rest = curve(ddp, data[3:], loss, zero, rank, size)
    model, data, loss = mlp()
    ddp, zero = wrapped(model)
    _, state, parts = saver.load()
    model.load_state_dict(state["model"])
    zero.load_own_state(parts)
    assert curve(ddp, data[3:], loss, zero, rank, size) == rest


class Parallel(nn.Module):
    """A block whose parts lie on all ranks, beside the same one in one piece."""

    def __init__(self, width, group=None):
        super().__init__()
        ft.manual_seed(6)
        self.attention = nd.ParallelAttention(width, 6, is_causal=True)
        ft.manual_seed(7)
        up, down = nn.Linear(width, 24), nn.Linear(24, width)
        self.up = nd.ColumnParallelLinear(width, 24, gather_output=False, linear=up)
        self.down = nd.RowParallelLinear(24, width, input_is_parallel=True, linear=down)
        self.last = nd.ColumnParallelLinear(width, 12, linear=nn.Linear(width, 12))
        self.first = nd.RowParallelLinear(12, 4, linear=nn.Linear(12, 4))

    def forward(self, x):
        x = x + self.attention(x)
        return self.first(self.last(x + self.down(self.up(x).tanh())))


class Whole(nn.Module):
    def __init__(self, width):
        super().__init__()
        ft.manual_seed(6)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        ft.manual_seed(7)
        self.up, self.down = nn.Linear(width, 24), nn.Linear(24, width)
        self.last, self.first = nn.Linear(width, 12), nn.Linear(12, 4)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (6, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        return self.first(self.last(x + self.down(self.up(x).tanh())))


def check_tensor_parallel_layers(rank, size):
    x = ft.random.normal(ft.random.key(0), (2, 5, 12)).requires_grad_()
    z = x.detach().clone().requires_grad_()
    parallel, whole = Parallel(12), Whole(12)
    y, w = parallel(x), whole(z)
    same(y.detach(), w.detach(), 1e-5)
    (y**2).sum().backward()
    (w**2).sum().backward()
    same(x.grad, z.grad, 1e-4)
    pairs = [
        (parallel.attention.query, whole.q, 0), (parallel.attention.out, whole.out, 1),
        (parallel.up, whole.up, 0), (parallel.down, whole.down, 1), (parallel.last, whole.last, 0),
        (parallel.first, whole.first, 1),
    ]  # fmt: skip
    for part, full, dim in pairs:
        same(D.all_gather(part.weight.grad, dim), full.weight.grad, 2e-4)
        bias = part.bias.grad if dim else D.all_gather(part.bias.grad)
        same(bias, full.bias.grad, 2e-4)
    try:
        nd.ColumnParallelLinear(4, 5 * size + 1)
        raise AssertionError("cannot be divided") if size > 1 else ValueError("multiple")
    except ValueError as error:
        assert "multiple" in str(error)


def check_sharded_embedding(rank, size):
    for optimizer in ("sgd", "adagrad"):
        table = nd.ShardedEmbedding(23, 4, lr=0.1, optimizer=optimizer)
        whole = D.all_gather_object(table.rows.tolist())
        whole = ft.tensor([row for part in whole for row in part])
        sums = ft.zeros(23)
        for step in range(3):
            ids = ft.random.randint(ft.random.key(10 * step + rank), (5, 2), 0, 23)
            weights = ft.random.normal(ft.random.key(rank), (5, 2, 4))
            out = table(ids)
            same(out.detach(), whole[ids], 1e-6)
            (out * weights).sum().backward()
            table.step()
            every = [
                ft.random.randint(ft.random.key(10 * step + r), (5, 2), 0, 23) for r in range(size)
            ]
            grad = ft.zeros(23, 4)
            for r, one in enumerate(every):
                w = ft.random.normal(ft.random.key(r), (5, 2, 4))
                grad = ft.index_add(grad, 0, one.reshape(-1), w.reshape(-1, 4))
            grad = grad / size
            if optimizer == "adagrad":
                sums = sums + (grad * grad).mean(1)
                grad = grad / (sums.sqrt().unsqueeze(1) + 1e-8)
            whole = whole - 0.1 * grad
            got = D.all_gather_object(table.rows.tolist())
            same(ft.tensor([row for part in got for row in part]), whole, 1e-5)
    try:
        table(ft.tensor([23]))
        raise AssertionError("outside")
    except IndexError as error:
        assert "0..22" in str(error)


def check_seeds_and_batches(rank, size):
    nd.manual_seed(3)
    drawn = D.all_gather(ft.rand(1)).tolist()
    assert len(set(drawn)) == size
    batches = nd.GlobalBatches(range(50), 12, seed=1)
    taken = D.all_gather_object([i for _, i in batches.steps(2, 6)])
    for step in range(4):
        together = {i for part in taken for i in part[step]}
        assert len(together) == 12
    sampler = nd.DistributedSampler(range(7))
    assert len(sampler) == -(-7 // size)
    assert {i for part in D.all_gather_object(list(sampler)) for i in part} == set(range(7))


def check_one_trace_of_all_ranks(rank, size):
    import json
    import os

    path = os.path.join(D.broadcast_object(tempfile.mkdtemp()), "trace.json")
    model, data, loss = mlp(768, 8)
    ddp = nd.DistributedDataParallel(model, bucket_cap_mb=1.0)
    for _ in range(25):  # a busy machine may run the threads one after the other for a while
        with nd.profile_ranks(path):
            loss(ddp, *data[0]).backward()
        with open(D.broadcast_object(path)) as file:
            events = json.load(file)["traceEvents"]
        assert {e["pid"] for e in events} == set(range(size))
        together = False
        for r in range(size):
            reduced = [
                e for e in events if e["pid"] == r and e["name"].startswith("all_reduce sum")
            ]
            computed = [e for e in events if e["pid"] == r and e["name"] == "matmul"]
            assert len(reduced) == len(ddp._reducer.buckets)
            assert {e["tid"] for e in reduced}.isdisjoint({e["tid"] for e in computed})
            together |= min(e["ts"] for e in reduced) < max(e["ts"] for e in computed)
        if D.broadcast_object(together):
            return
    raise AssertionError("no bucket was reduced while backward was running")


def check_one_log(rank, size):
    import io

    logger = nd.get_logger("test.ranks")
    text = io.StringIO()
    logger.handlers[0].stream = text
    logger.info("once")
    logger.warning("all")
    assert text.getvalue().count("once") == (rank == 0)
    assert f"[rank {rank}] WARNING all" in text.getvalue()
    assert list(nd.progress(range(3), disable=True)) == [0, 1, 2]


if __name__ == "__main__":
    run(globals())
