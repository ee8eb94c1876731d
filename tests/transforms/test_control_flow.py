"""cond, switch, loops and scans: the same eagerly, mapped and differentiated, and in nestings."""

import itertools

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state

D = ft.float64


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def branching(x):
    """log has no finite derivative at 0, where it is not taken."""
    return ft.cond(x > 0, lambda x: x.log() * x, lambda x: x * x, x)


def looping(x):
    """Another number of rounds for each lane; the body divides by zero for lanes that are done."""

    def body(carry):
        y, total = carry
        return y / 2, total + (y.abs() - 0.1).log() * y

    return ft.while_loop(lambda c: c[0].abs() > 0.2, body, (x, x * 0))[1] + x.sin()


def counting(x):
    return ft.fori_loop(0, (x.detach() * 2).abs().to(ft.int64), lambda i, y: y * x + i, x)


def switching(x):
    kind = x.detach().abs().to(ft.int64)
    return ft.switch(kind, [lambda x: x.sin(), lambda x: x**3, lambda x: (x * x + 1).log()], x)


def scanning(x):
    rows = ft.stack([x, x.sin(), x * x])
    carry, ys = ft.scan(lambda c, r: ((c * r).tanh(), c + r), x, rows)
    return carry + ys.sum() + (ys * ys)[1]


def associating(x):
    rows = ft.stack([x, x.sin(), x * x, x + 1, x])
    return ft.associative_scan(lambda a, b: a * b + 0, rows)[1:4].sum()


def mapping(x):
    return ft.map(lambda r: (r * r).sin(), ft.stack([x, x * 2])).sum()


PROGRAMS = [branching, looping, counting, switching, scanning, associating, mapping]
POINTS = ft.tensor([2.3, -1.7, 0.5, 0.0, -0.15], dtype=D)
TRANSFORMS = {
    "grad": lambda f: ft.grad(f),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x * 0 + 1,))[1],
    "jacrev": lambda f: ft.jacrev(f),
    "jacfwd": lambda f: ft.jacfwd(f),
    "checkpoint": lambda f: ft.checkpoint(f),
    "vmap": lambda f: lambda x: ft.vmap(f)(ft.stack([x, x + 0.3])).sum(),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_lanes_equal_the_loop(program):
    for names in itertools.chain(
        [()], itertools.product(TRANSFORMS, repeat=1), itertools.product(TRANSFORMS, repeat=2)
    ):
        f = program
        for name in names:
            f = TRANSFORMS[name](f)
        want = ft.stack([f(x) for x in POINTS])
        got = ft.vmap(f)(POINTS)
        finite = want.isfinite()
        close(got[finite], want[finite])
        if not names:
            close(ft.vmap(ft.vmap(f))(POINTS[:4].reshape(2, 2)).reshape(4), want[:4])
            close(
                ft.grad(lambda xs: ft.vmap(program)(xs).sum())(POINTS),
                ft.stack([ft.grad(program)(x) for x in POINTS]),
            )


def test_cond_runs_what_is_taken():
    ran = []

    def branch(name, x):
        ran.append(name)
        return x

    def f(x):
        return ft.cond(x > 0, lambda x: branch("true", x), lambda x: branch("false", x), x)

    ft.vmap(f)(ft.ones(3))
    ft.grad(f)(ft.tensor(-1.0))
    f(ft.tensor(1.0))
    assert ran == ["true", "false", "true"]
    ft.vmap(f)(ft.tensor([1.0, -1.0]))
    assert ran[3:] == ["true", "false"]


def test_cond_takes_torchs_tuple_of_operands_and_closures():
    x, y = ft.tensor(2.0), ft.tensor(3.0)
    assert float(ft.cond(True, lambda a, b: a * b, lambda a, b: a, (x, y))) == 6
    assert float(ft.cond(False, lambda: x, lambda: y)) == 3
    got = ft.vmap(lambda p: ft.cond(p, lambda: {"a": x}, lambda: {"a": y}))(
        ft.tensor([True, False])
    )
    assert got["a"].tolist() == [2, 3]


def test_captured_lanes():
    xs, ps = ft.tensor([1.0, 2.0]), ft.tensor([True, False])
    f = lambda p, x: ft.cond(p, lambda: x * 2, lambda: x * 3)  # noqa: E731
    assert ft.vmap(f)(ps, xs).tolist() == [2, 6]
    assert ft.vmap(ft.grad(f, 1))(ps, xs).tolist() == [2, 3]


def test_bounds_that_differ():
    got = ft.vmap(lambda n, x: ft.fori_loop(0, n, lambda i, x: x * 2 + i, x))(
        ft.tensor([0, 1, 3]), ft.ones(3)
    )
    assert got.tolist() == [1, 2, 12]
    got = ft.vmap(lambda i, x: ft.switch(i, [ft.sin, ft.cos, ft.log], x))(
        ft.tensor([-3, 1, 2, 7]), ft.ones(4)
    )
    close(got, ft.tensor([np.sin(1), np.cos(1), 0.0, 0.0]), 1e-6)


@pytest.mark.parametrize("kept", [False, True, 2, 10])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_a_recurrent_net(kept, reverse):
    w = ft.randn(3, 3, dtype=D) * 0.4
    xs = ft.randn(6, 3, dtype=D)

    def by_scan(w, xs):
        h, ys = ft.scan(
            lambda h, x: ((w @ h + x).tanh(), {"y": h.sum()}),
            ft.zeros(3, dtype=D),
            xs,
            reverse=reverse,
            checkpoint=kept,
        )
        return h.sum() + (ys["y"] * ft.arange(6, dtype=D)).sum()

    def by_loop(w, xs):
        h, total = ft.zeros(3, dtype=D), 0
        for i in reversed(range(6)) if reverse else range(6):
            total = total + h.sum() * i
            h = (w @ h + xs[i]).tanh()
        return h.sum() + total

    close(by_scan(w, xs), by_loop(w, xs))
    for a, b in zip(ft.grad(by_scan, (0, 1))(w, xs), ft.grad(by_loop, (0, 1))(w, xs), strict=True):
        close(a, b)
    close(ft.hessian(by_scan)(w, xs), ft.hessian(by_loop)(w, xs))
    close(ft.jvp(by_scan, (w, xs), (w, xs))[1], ft.jvp(by_loop, (w, xs), (w, xs))[1])
    many = ft.stack([xs, xs * 2])
    close(ft.vmap(ft.grad(by_scan), (None, 0))(w, many)[1], ft.grad(by_loop)(w, xs * 2))
    p = w.clone().requires_grad_()
    by_scan(p, xs).backward()
    close(p.grad, ft.grad(by_loop)(w, xs))


def test_scan_without_inputs_or_steps():
    total, ys = ft.scan(lambda c, _: (c + 1, c), 0, length=3)
    assert int(total) == 3 and ys.tolist() == [0, 1, 2]
    total, ys = ft.scan(lambda c, x: (c + x, x), ft.tensor(1.0), ft.zeros(0))
    assert float(total) == 1 and ys is None


def test_scan_does_not_write_into_its_input():
    xs = ft.ones(3, 2)

    def step(c, x):
        x.mul_(2)
        return c + x, x

    ft.scan(step, ft.zeros(2), xs)
    assert xs.tolist() == [[1, 1]] * 3


def test_scan_with_checkpoints_needs_less_memory():
    xs = ft.randn(64, 2000)

    def step(h, x):
        y = h
        for _ in range(6):
            y = (y * x).sin().exp()
        return y.tanh(), y.sum()

    def peak(kept):
        before = ft.memory_allocated()
        ft.reset_peak_memory()
        ft.grad(lambda xs: ft.scan(step, ft.zeros(2000), xs, checkpoint=kept)[0].sum())(xs)
        return ft.max_memory_allocated() - before

    assert peak(True) < 0.4 * peak(False)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_associative_scan(n):
    x = ft.rand(n, 2, dtype=D)
    close(ft.associative_scan(lambda a, b: a * b, x), x.cumprod(0))
    close(ft.associative_scan(lambda a, b: a + b, x, reverse=True), x.flip(0).cumsum(0).flip(0))
    close(ft.associative_scan(lambda a, b: a + b, x, dim=1), x.cumsum(1))
    # a first-order recurrence, h = a h + b, as pairs that compose
    _, b = ft.associative_scan(lambda f, g: (f[0] * g[0], f[1] * g[0] + g[1]), (x[:, 0], x[:, 1]))
    h = ft.tensor(0.0, dtype=D)
    for i in range(n):
        h = h * x[i, 0] + x[i, 1]
        close(b[i], h)


def test_map_in_batches():
    xs = ft.randn(5, 3, dtype=D)
    for size in (None, 1, 2, 5, 9):
        close(ft.map(lambda x: x.sin().sum(), xs, batch_size=size), xs.sin().sum(1))


def test_errors_teach():
    x = ft.randn(4)
    with pytest.raises(ft.ShapeError, match="cond: expected a predicate of one element"):
        ft.cond(x > 0, ft.sin, ft.cos, x)
    with pytest.raises(ValueError, match="cond: expected results of one structure from true_fn"):
        ft.vmap(lambda x: ft.cond(x > 0, lambda x: x, lambda x: (x,), x))(ft.tensor([1.0, -1.0]))
    with pytest.raises(ft.DTypeError, match=r"while_loop: .*got float32 and int64. Cast"):
        ft.while_loop(lambda c: c < 3, lambda c: c + 1.5, 0)
    with pytest.raises(ft.ShapeError, match="scan: expected one shape from the function's carry"):
        ft.scan(lambda c, x: (c.sum(), x), ft.zeros(2), ft.zeros(3, 2))
    with pytest.raises(TypeError, match=r"scan: expected a function that returns \(carry, y\)"):
        ft.scan(lambda c, x: c, ft.zeros(2), ft.zeros(3, 2))
    with pytest.raises(ValueError, match="scan: expected one length"):
        ft.scan(lambda c, x: (c, x), 0.0, (ft.zeros(2), ft.zeros(3)))
    with pytest.raises(ValueError, match="switch: expected at least one branch"):
        ft.switch(0, [])
    with pytest.raises(ft.DTypeError, match="switch: expected an integer index"):
        ft.switch(ft.tensor(0.5), [ft.sin], x)


def test_exceptions_leave_nothing_behind():
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    for run in (
        lambda x: ft.cond(x > 0, stop, stop, x),
        lambda x: ft.while_loop(lambda c: c > -9, stop, x),
        lambda x: ft.scan(stop, x, ft.zeros(3), checkpoint=True)[0],
    ):
        for transform in (ft.grad, lambda f: ft.vmap(ft.grad(f))):
            with pytest.raises(Stop):
                transform(run)(ft.tensor(1.0) if transform is ft.grad else ft.tensor([1.0, -1.0]))
            assert state.trace is None and not active and state.grad
