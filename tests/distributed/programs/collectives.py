"""Checks of the collectives against what one process computes from all ranks' tensors."""

import math
import time

from checks import D, run, same

import functorch_like as ft

FLOATS = (ft.float16, ft.bfloat16, ft.float32, ft.float64)
DTYPES = [
    ft.uint8, ft.int8, ft.uint16, ft.int16, ft.uint32, ft.int32, ft.uint64, ft.int64, *FLOATS,
    ft.complex64, ft.complex128,
]  # fmt: skip


def of(rank, *shape, dtype=ft.float64):
    """The tensor of a rank: any process can compute any rank's."""
    return ft.random.normal(ft.random.key(rank), shape, ft.float64).to(dtype)


def everyone(size, *shape, dtype=ft.float64):
    return ft.stack([of(r, *shape, dtype=dtype) for r in range(size)])


def check_reductions(rank, size):
    x, every = of(rank, 3, 5), everyone(size, 3, 5)
    same(D.all_reduce(x), every.sum(0), 1e-12)
    same(D.all_reduce(x, "mean"), every.mean(0), 1e-12)
    same(D.all_reduce(x, "prod"), every.prod(0), 1e-12)
    same(D.all_reduce(x, "max"), every.amax(0))
    same(D.all_reduce(x, "min"), every.amin(0))


def check_dtypes(rank, size):
    for d in DTYPES:
        x = (ft.arange(7) + rank).to(d)
        want = sum((ft.arange(7) + r) for r in range(size)).to(d)
        same(D.all_reduce(x), want)
        same(D.all_gather(x), ft.cat([(ft.arange(7) + r).to(d) for r in range(size)]))
    flags = ft.tensor([True, rank == 0, False])
    assert D.all_reduce(flags).tolist() == [True, True, False]
    assert D.all_reduce(flags, "min").tolist() == [True, size == 1, False]


def check_sixteen_bits_round_once_a_sum(rank, size):
    for d in (ft.float16, ft.bfloat16):
        x = of(rank, 4097, dtype=d)
        every = everyone(size, 4097, dtype=d).float()
        unit = 2.0**-11 if d is ft.float16 else 2.0**-8
        error = (D.all_reduce(x).float() - every.sum(0)).abs()
        assert (error <= (size - 1) * unit * every.abs().sum(0)).all().item()


def check_layouts_and_sizes(rank, size):
    x = of(rank, 4, 6)
    every = everyone(size, 4, 6)
    same(D.all_reduce(x.t()), every.sum(0).t(), 1e-12)
    same(D.all_reduce(x[::2, 1:4]), every.sum(0)[::2, 1:4], 1e-12)
    same(D.all_reduce(x[0, 0]), every.sum(0)[0, 0], 1e-12)
    assert D.all_reduce(ft.zeros(0, 3)).shape == (0, 3)
    assert D.all_gather(ft.tensor(float(rank))).tolist() == [float(r) for r in range(size)]


def check_all_ranks_get_the_same_bits(rank, size):
    for n in (3, 1000, 100_003):
        first = D.all_reduce(of(rank, n, dtype=ft.float32))
        assert ft.equal(first, D.all_reduce(of(rank, n, dtype=ft.float32)))
        assert ft.equal(first, D.broadcast(first, 0))


def check_gathers_and_scatters(rank, size):
    x, every = of(rank, 2, 3), everyone(size, 2, 3)
    same(D.all_gather(x), every.flatten(0, 1))
    same(D.all_gather(x, dim=-1), ft.cat(list(every.unbind()), -1))
    long = of(rank, size * 2, 3)
    total = everyone(size, size * 2, 3).sum(0)
    same(D.reduce_scatter(long), total[2 * rank : 2 * rank + 2], 1e-12)
    wide = of(rank, 3, size * 2)
    total = everyone(size, 3, size * 2).sum(0)
    same(D.reduce_scatter(wide, dim=1), total[:, 2 * rank : 2 * rank + 2], 1e-12)
    last = size - 1
    same(D.broadcast(x, last), every[last])
    zero = ft.zeros_like(x)
    same(D.reduce(x, last), every.sum(0) if rank == last else zero, 1e-12)
    got = D.gather(x, last)
    same(got, every.flatten(0, 1) if rank == last else ft.zeros_like(got))
    same(D.scatter(long, last), of(last, size * 2, 3)[2 * rank : 2 * rank + 2])


def check_all_to_all(rank, size):
    x = of(rank, size * 2, 3)
    same(
        D.all_to_all(x), ft.cat([of(r, size * 2, 3)[2 * rank : 2 * rank + 2] for r in range(size)])
    )
    # rank r sends r + i rows to rank i
    splits = [rank + i for i in range(size)]
    x = ft.full((sum(splits), 2), float(rank))
    got = D.all_to_all(x, splits)
    want = [float(r) for r in range(size) for _ in range(r + rank)]
    assert got[:, 0].tolist() == want
    got = D.all_to_all(x, splits, [r + rank for r in range(size)])
    assert got[:, 1].tolist() == want


def check_futures(rank, size):
    works = [D.all_reduce(of(rank, n), async_op=True) for n in (3, 1000, 7)]
    mean = D.all_reduce(of(rank, 4), "mean", async_op=True)
    gathered = D.all_gather(of(rank, 2), async_op=True)
    direct = D.all_reduce(of(rank, 5))  # a blocking one in between
    for n, work in zip((3, 1000, 7), works, strict=True):
        same(work.wait(), everyone(size, n).sum(0), 1e-12)
        assert work.is_completed() and work.exception() is None
    same(mean.wait(), everyone(size, 4).mean(0), 1e-12)
    same(gathered.wait(5.0), everyone(size, 2).flatten())
    same(direct, everyone(size, 5).sum(0), 1e-12)


def check_in_place(rank, size):
    x = of(rank, 6, dtype=ft.float32)
    address = x.data_ptr()
    assert D.all_reduce_(x) is x and x.data_ptr() == address
    same(x, everyone(size, 6, dtype=ft.float32).sum(0), 1e-5)
    y = of(rank, 6, dtype=ft.float32)
    D.all_reduce_(y, "mean", async_op=True).wait()
    same(y, everyone(size, 6, dtype=ft.float32).mean(0), 1e-5)
    part = ft.zeros(2, 3)
    D.all_reduce_(part[:, 1].add_(1.0))
    w = ft.ones(3, requires_grad=True)
    saved = ft.ones(3)
    out = (w * saved).sum()
    D.all_reduce_(saved)
    try:
        out.backward()
        raise AssertionError("a saved tensor was overwritten")
    except RuntimeError as error:
        assert "in-place" in str(error)


def check_reverse_mode(rank, size):
    """Gradients of the sum over ranks of rank-dependent functions, against one process."""
    weights = [of(100 + r, size * 4) for r in range(size)]

    def apart(op, x, w):
        y = op(x.sin())
        flat = y.flatten()
        return (flat * w[: flat.numel()]).sum()

    def together(op):
        xs = everyone(size, size * 2).requires_grad_()
        outs = op([x.sin() for x in xs])
        sum(
            (o.flatten() * w[: o.numel()]).sum() for o, w in zip(outs, weights, strict=True)
        ).backward()
        return xs.grad[rank]

    def parts(t):
        return [t[2 * r : 2 * r + 2] for r in range(size)]

    def zeros_but(value, at):
        return [value if r == at else ft.zeros_like(value) for r in range(size)]

    cases = {
        "sum": (D.all_reduce, lambda xs: [sum(xs)] * size),
        "mean": (lambda x: D.all_reduce(x, "mean"), lambda xs: [sum(xs) / size] * size),
        "prod": (lambda x: D.all_reduce(x, "prod"), lambda xs: [math.prod(xs)] * size),
        "max": (lambda x: D.all_reduce(x, "max"), lambda xs: [ft.stack(xs).amax(0)] * size),
        "min": (lambda x: D.all_reduce(x, "min"), lambda xs: [ft.stack(xs).amin(0)] * size),
        "reduce_scatter": (D.reduce_scatter, lambda xs: parts(sum(xs))),
        "broadcast": (lambda x: D.broadcast(x, size - 1), lambda xs: [xs[-1]] * size),
        "reduce": (lambda x: D.reduce(x, size - 1), lambda xs: zeros_but(sum(xs), size - 1)),
        "scatter": (D.scatter, lambda xs: parts(xs[0])),
        "all_to_all": (
            D.all_to_all,
            lambda xs: [ft.cat([x[2 * r : 2 * r + 2] for x in xs]) for r in range(size)],
        ),
    }
    for name, (op, model) in cases.items():
        x = of(rank, size * 2)
        got = ft.grad(lambda x, op=op: apart(op, x, weights[rank]))(x)
        assert (got - together(model)).abs().max().item() < 1e-10, name
        leaf = x.clone().requires_grad_()
        apart(op, leaf, weights[rank]).backward()
        assert (leaf.grad - got).abs().max().item() < 1e-12, name


def check_gather_gradients(rank, size):
    x = of(rank, 2)
    w = of(50 + rank, 2 * size)
    total = sum(of(50 + r, 2 * size) for r in range(size))
    got = ft.grad(lambda x: (D.all_gather(x) * w).sum())(x)
    same(got, total[2 * rank : 2 * rank + 2], 1e-12)
    got = ft.grad(lambda x: (D.gather(x) * w).sum())(x)
    same(got, of(50, 2 * size)[2 * rank : 2 * rank + 2], 1e-12)


def check_forward_mode(rank, size):
    x, t = of(rank, 4), of(10 + rank, 4)
    for op, want in (
        ("sum", sum(of(10 + r, 4) * of(r, 4).cos() for r in range(size))),
        ("mean", sum(of(10 + r, 4) * of(r, 4).cos() for r in range(size)) / size),
    ):
        same(ft.jvp(lambda x, op=op: D.all_reduce(x.sin(), op), (x,), (t,))[1], want, 1e-12)
    model = ft.jvp(
        lambda xs: xs.prod(0),
        (everyone(size, 4),),
        (ft.stack([of(10 + r, 4) for r in range(size)]),),
    )[1]
    same(ft.jvp(lambda x: D.all_reduce(x, "prod"), (x,), (t,))[1], model, 1e-10)
    biggest = ft.jvp(
        lambda xs: xs.amax(0),
        (everyone(size, 4),),
        (ft.stack([of(10 + r, 4) for r in range(size)]),),
    )[1]
    same(ft.jvp(lambda x: D.all_reduce(x, "max"), (x,), (t,))[1], biggest, 1e-12)
    gathered = ft.cat([of(10 + r, 4) for r in range(size)])
    same(ft.jvp(D.all_gather, (x,), (t,))[1], gathered)


def check_second_order(rank, size):
    def f(x):
        return (D.all_reduce(x.sin()) ** 2).sum()

    x = of(rank, 3)
    hessian = ft.hessian(f)(x)
    # d2/dx_i dx_i of size * (sum_r sin x_r)^2, seen from this rank's x only
    s = everyone(size, 3).sin().sum(0)
    own = size * 2 * (x.cos() ** 2 - s * x.sin())
    row = ft.grad(lambda x: ft.grad(f)(x).sum())(x)
    cross = size * 2 * x.cos() * sum(of(r, 3).cos() for r in range(size) if r != rank)
    same(row, own + cross, 1e-9)
    assert hessian.shape == (3, 3)


def check_vmap(rank, size):
    xs = ft.stack([of(rank + 10 * i, 2 * size) for i in range(3)])
    for op in (
        D.all_reduce,
        lambda x: D.all_reduce(x, "max"),
        D.all_gather,
        D.reduce_scatter,
        D.broadcast,
        D.scatter,
        D.gather,
        D.all_to_all,
    ):
        want = ft.stack([op(x) for x in xs])
        same(ft.vmap(op)(xs), want, 1e-12)
        g = lambda x, op=op: (op(x) ** 2).sum()  # noqa: E731
        same(ft.vmap(ft.grad(g))(xs), ft.stack([ft.grad(g)(x) for x in xs]), 1e-10)
    same(ft.vmap(D.all_gather)(xs[:, 0]), ft.stack([D.all_gather(x) for x in xs[:, 0]]))


def check_pmean_of_trees(rank, size):
    tree = {"a": of(rank, 2, 2), "b": [of(rank, 3, dtype=ft.float32), of(rank)]}
    got = D.pmean(tree)
    same(got["a"], everyone(size, 2, 2).mean(0), 1e-12)
    same(got["b"][0], everyone(size, 3, dtype=ft.float32).mean(0), 1e-6)
    same(got["b"][1], everyone(size).mean(0), 1e-12)
    same(D.psum(tree)["a"], everyone(size, 2, 2).sum(0), 1e-12)

    def loss(w, x):
        return ((x @ w) ** 2).mean()

    w, data = of(7, 3), of(8, size * 4, 3)
    mine = D.pmean(ft.grad(loss)(w, data[rank::size]))
    same(mine, ft.grad(loss)(w, data), 1e-12)


def check_messages(rank, size):
    after, before = (rank + 1) % size, (rank - 1) % size
    x = of(rank, 3)
    sending = D.isend(x, after, tag=5)
    got = D.recv(ft.zeros(3, dtype=ft.float64), before, tag=5)
    sending.wait()
    same(got, of(before, 3))
    first = D.irecv(ft.zeros(2, dtype=ft.float64)[:1], before)
    D.send(x[:1], after)
    same(first.wait(), of(before, 3)[:1])
    assert D.all_gather_object({"rank": rank}) == [{"rank": r} for r in range(size)]
    assert D.broadcast_object([rank], size - 1) == [size - 1]


def check_groups(rank, size):
    group = D.new_group([size - 1, 0])
    assert D.world_size(group) == 2
    if rank in (0, size - 1):
        assert D.rank(group) == (1 if rank == 0 else 0)
        same(D.all_reduce(of(rank, 2), group=group), of(0, 2) + of(size - 1, 2), 1e-12)
        same(D.broadcast(of(rank, 2), 0, group), of(0, 2))
    else:
        try:
            D.all_reduce(of(rank, 2), group=group)
            raise AssertionError("not in the group")
        except ValueError as error:
            assert "rank of the group" in str(error)
    D.barrier()


def check_environment(rank, size):
    import os

    assert os.environ["RANK"] == str(rank) and os.environ["WORLD_SIZE"] == str(size)
    assert D.local_rank() == rank and D.is_initialized()
    assert D.rank() == rank and D.world_size() == size


def raised(kind, function):
    try:
        function()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def check_mismatches_are_errors_on_all_ranks(rank, size):
    last = size - 1
    text = raised(D.CollectiveError, lambda: D.all_reduce(ft.ones(2 + (rank == last))))
    assert f"float32[3] on rank {last}" in text and "float32[2]" in text
    kind = ft.float64 if rank == last else ft.float32
    text = raised(D.CollectiveError, lambda: D.all_reduce(ft.ones(2, dtype=kind)))
    assert f"float64[2] on rank {last}" in text
    other = D.all_gather if rank == last else D.all_reduce
    text = raised(D.CollectiveError, lambda: other(ft.ones(2)))
    assert f"all_gather float32[2] on rank {last}" in text
    text = raised(D.CollectiveError, lambda: D.all_reduce(ft.ones(2), "max" if rank else "sum"))
    assert "sum float32[2] on rank 0" in text
    work = D.all_reduce(ft.ones(2 + (rank == last)), async_op=True)
    assert "float32[3]" in raised(D.CollectiveError, work.wait)
    splits = [1] * size
    wrong = [2 if rank == last else 1] * size
    text = raised(D.CollectiveError, lambda: D.all_to_all(ft.ones(size), splits, wrong))
    assert "output_splits" in text
    same(D.all_reduce(ft.ones(2)), ft.full((2,), float(size)))  # all are in step again


def check_bad_arguments(rank, size):
    assert "op sum" in raised(ValueError, lambda: D.all_reduce(ft.ones(2), "median"))
    assert "floating" in raised(TypeError, lambda: D.all_reduce(ft.ones(2, dtype=ft.int32), "mean"))
    assert "a tensor" in raised(TypeError, lambda: D.all_reduce([1.0]))
    assert "multiple" in raised(ValueError, lambda: D.reduce_scatter(ft.ones(size + 1)))
    assert "ranks" in raised(ValueError, lambda: D.broadcast(ft.ones(2), size))
    assert "another rank" in raised(ValueError, lambda: D.send(ft.ones(2), rank))
    assert D.all_reduce(ft.empty(2, 3, device="meta")).shape == (2, 3)


def check_compiled(rank, size):
    def f(x):
        return D.all_reduce(x * 2).sin() + D.all_gather(x)[:3].sum() * D.reduce_scatter(x).sum()

    x = of(rank, 2 * size)
    g = ft.compile(f)
    for i in range(3):
        same(g(x + i), f(x + i), 1e-12)

    def loss(x):
        return (D.all_reduce(x.sin(), "max") ** 2 + D.all_to_all(x)).sum()

    same(ft.compile(ft.grad(loss))(x), ft.grad(loss)(x), 1e-12)
    same(ft.grad(ft.compile(loss))(x), ft.grad(loss)(x), 1e-12)
    xs = ft.stack([x, 2 * x])
    same(ft.compile(ft.vmap(ft.grad(loss)))(xs), ft.vmap(ft.grad(loss))(xs), 1e-12)
    splits = [1] * (size - 1) + [size + 1]
    text = raised(RuntimeError, lambda: ft.compile(lambda x: D.all_to_all(x, splits))(x))
    assert "equal parts" in text


def check_missing_ranks_are_named(rank, size):
    group = D.new_group(range(size), timeout=1.0)
    last = size - 1
    if rank == last:
        time.sleep(2.0)
    start = time.monotonic()
    text = raised(D.CollectiveError, lambda: D.all_reduce(ft.ones(2), group=group))
    assert f"rank {last}" in text and "within 1 s" in text, text
    assert time.monotonic() - start < 5.0
    text = raised(D.CollectiveError, lambda: D.barrier(group))
    assert "keep step" in text


if __name__ == "__main__":
    run(globals())
