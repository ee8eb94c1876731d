"""Checks of DistributedDataParallel: N ranks with a part of the batch each are one process."""

from checks import D, run, same
from models import adam, close, cnn, curve, gpt, mlp, sgd

import functorch_like as ft
import nn
from nn.distributed import DistributedDataParallel as DDP


def compared(make, optimizer_of, rank, size, **options):
    model, data, loss = make()
    alone = curve(model, data, loss, optimizer_of(model.parameters()))
    model, data, loss = make()
    if rank:  # rank 0's start counts
        for p in model.parameters():
            p.detach().zero_()
    model = DDP(model, **options)
    together = curve(model, data, loss, optimizer_of(model.parameters()), rank, size)
    return alone, together, model


def check_cnn_and_gpt_equal_one_process(rank, size):
    for make in (cnn, gpt):
        for optimizer_of in (adam, sgd):
            alone, together, _ = compared(make, optimizer_of, rank, size)
            close(alone, together)
            assert max(alone) - min(alone) > 1e-3


def check_ways_of_bucketing(rank, size):
    for options in (
        {"gradient_as_bucket_view": True},
        {"bucket_cap_mb": 0.005},
        {"bucket_cap_mb": 0.005, "gradient_as_bucket_view": True},
        {"find_unused_parameters": True},
    ):
        alone, together, model = compared(mlp, adam, rank, size, **options)
        close(alone, together)
        if "bucket_cap_mb" in options:
            assert len(model._reducer.buckets) > 3
    alone, together, _ = compared(mlp, sgd, rank, size, gradient_dtype=ft.bfloat16)
    close(alone, together, 1e-2)


def check_runs_are_bitwise_equal(rank, size):
    ends = []
    for _ in range(2):
        _, losses, model = compared(cnn, adam, rank, size)
        ends.append((losses, [p.detach().clone() for p in model.parameters()]))
    assert ends[0][0] == ends[1][0]
    assert all(ft.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))
    for p in ends[0][1]:
        assert ft.equal(p, D.broadcast(p, 0))


def check_no_sync_accumulates(rank, size):
    model, data, loss = mlp()
    x, y = data[0]
    ddp = DDP(model)
    with ddp.no_sync():
        loss(ddp, x[rank::size], y[rank::size]).backward()
    alone = model[0].weight.grad.clone()
    assert size == 1 or not ft.equal(alone, D.broadcast(alone, 0)) or rank == 0
    x2, y2 = data[1]
    loss(ddp, x2[rank::size], y2[rank::size]).backward()
    got = [p.grad.clone() for p in model.parameters()]
    plain, _, _ = mlp()
    (loss(plain, x, y) + loss(plain, x2, y2)).backward()
    for g, p in zip(got, plain.parameters(), strict=True):
        same(g, p.grad, 1e-6)


class Branches(nn.Module):
    """Two branches of which an input takes one, and one that is never taken."""

    def __init__(self):
        super().__init__()
        ft.manual_seed(9)
        self.one, self.two, self.never = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x, first):
        return self.one(x) if first else self.two(x)


def check_unused_parameters(rank, size):
    x = ft.ones(4, 3)
    model = DDP(Branches(), find_unused_parameters=True)
    for _ in range(2):
        model.zero_grad()
        model(x, rank == 0).sum().backward()
        share = {"one": 1 / size, "two": (size - 1) / size}
        for name, part in share.items():
            same(getattr(model.module, name).bias.grad, ft.full((2,), 4 * part), 1e-6)
        assert model.module.never.weight.grad is None
    strict = DDP(Branches())
    try:
        strict(x, True).sum().backward()
        raise AssertionError("unused parameters")
    except RuntimeError as error:
        assert "two.weight" in str(error) and "find_unused_parameters=True" in str(error)
    for bucket in strict._reducer.buckets:
        if bucket.work is not None:
            bucket.work.wait()


def check_frozen_and_tied_parameters(rank, size):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            ft.manual_seed(2)
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.c = nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.c.weight.requires_grad_(False)

        def forward(self, x):
            return self.c(self.b(self.a(x).tanh()))

    data = ft.random.normal(ft.random.key(1), (size * 3, 4))
    alone = Tied()
    (alone(data) ** 2).mean().backward()
    model = DDP(Tied())
    (model(data[rank::size]) ** 2).mean().backward()
    for p, q in zip(alone.parameters(), model.module.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            same(p.grad, q.grad, 1e-6)


def check_buffers_are_those_of_rank_0(rank, size):
    ft.manual_seed(0)
    model = DDP(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    for i in range(3):
        x = ft.random.normal(ft.random.key(10 * i + rank), (8, 3))
        model(x).sum().backward()
    mean = model.module[1].running_mean
    before = D.all_gather(mean.unsqueeze(0))
    assert size == 1 or not ft.equal(before[0], before[1])
    model(ft.ones(8, 3))  # brings rank 0's before it starts
    model.eval()
    counts = D.all_gather(model.module[1].num_batches_tracked.reshape(1))
    assert counts.tolist() == [4] * size
    after = D.all_gather(model.module[1].running_mean.unsqueeze(0))
    same(after[0], after[-1], 1e-6)


def check_compiled_step(rank, size):
    model, data, loss = mlp()
    alone = curve(model, data, loss, adam(model.parameters()))
    model, data, loss = mlp()
    ddp = DDP(model)
    optimizer = adam(model.parameters())

    @ft.compile
    def gradients(x, y):
        optimizer.zero_grad()
        with ddp.no_sync():
            value = loss(ddp, x, y)
            value.backward()
        return value

    together = []
    for x, y in data:
        value = gradients(x[rank::size].contiguous(), y[rank::size].contiguous())
        ddp.reduce_gradients()
        optimizer.step()
        together.append(D.all_reduce(value, "mean").item())
    close(alone, together)
    model, data, loss = mlp()
    ddp = DDP(model)
    optimizer = adam(model.parameters())

    @ft.compile
    def step(x, y):
        optimizer.zero_grad()
        value = loss(ddp, x, y)
        value.backward()
        optimizer.step()
        return value

    together = []
    for x, y in data:
        value = step(x[rank::size].contiguous(), y[rank::size].contiguous())
        together.append(D.all_reduce(value, "mean").item())
    close(alone, together)


def check_mixed_precision(rank, size):
    model, data, loss = mlp()
    ddp = DDP(model, gradient_dtype=ft.bfloat16)
    optimizer = sgd(model.parameters())
    losses = []
    for x, y in data[:1] * 6:
        optimizer.zero_grad()
        with ft.amp.autocast(dtype=ft.bfloat16):
            value = loss(ddp, x[rank::size], y[rank::size])
        value.backward()
        assert model[0].weight.grad.dtype == ft.float32
        optimizer.step()
        losses.append(D.all_reduce(value.detach(), "mean").item())
    assert losses[-1] < losses[0]
    same(model[0].weight.detach(), D.broadcast(model[0].weight.detach(), 0), 0.0)


def check_reduction_starts_during_backward(rank, size):
    model, data, loss = mlp(64, 6)
    ddp = DDP(model, bucket_cap_mb=0.01)
    sent = []
    send = ddp._reducer._send
    ddp._reducer._send = lambda bucket: (sent.append("bucket"), send(bucket))[1]
    x, y = data[0]
    x = x.clone().requires_grad_()
    x.register_hook(lambda g: sent.append("end of backward"))
    loss(ddp, x, y).backward()
    assert sent.index("end of backward") >= len(ddp._reducer.buckets) - 2, sent


def check_other_modules_are_an_error(rank, size):
    try:
        DDP(nn.Linear(3, 2 + (rank == size - 1)))
        raise AssertionError("different modules")
    except D.CollectiveError as error:
        assert f"rank {size - 1}" in str(error)
    try:
        DDP(nn.ReLU())
        raise AssertionError("no parameters")
    except RuntimeError as error:
        assert "parameters" in str(error)


if __name__ == "__main__":
    run(globals())
