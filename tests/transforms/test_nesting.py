"""Transforms of transforms: closed forms, finite differences, perturbation confusion, control
flow, leaks, exceptions."""

import itertools
import signal
import threading

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state


def t(*values):
    return ft.tensor(list(values), dtype=ft.float64)


def scalar(x):
    return ft.tensor(x, dtype=ft.float64)


def close(x, expected, tol=1e-7):
    np.testing.assert_allclose(x.detach().numpy(), np.asarray(expected), rtol=tol, atol=1e-9)


def by_tape(f, x):
    p = (x * 1).requires_grad_()
    y = f(p)
    return (
        ft.autograd.grad(y, p, create_graph=True, materialize_grads=True)[0]
        if y.requires_grad
        else ft.zeros_like(x)
    )


# Each transform D below takes a function of a scalar to its derivative, also of a scalar; so any chain of n of them gives  # noqa: E501
# the n-th derivative, and vmap in between changes nothing.
DERIVATIVES = {
    "grad": lambda f: ft.grad(f),
    "value_and_grad": lambda f: lambda x: ft.value_and_grad(f)(x)[1],
    "vjp": lambda f: lambda x: (lambda y, back: back(ft.ones_like(y))[0])(*ft.vjp(f, x)),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (ft.ones_like(x),))[1],
    "jacrev": lambda f: ft.jacrev(f),
    "jacfwd": lambda f: ft.jacfwd(f),
    "autograd.grad": lambda f: lambda x: by_tape(f, x),
}
NEUTRAL = {
    "vmap": lambda f: lambda x: ft.vmap(f)(x.unsqueeze(0)).squeeze(0),
    "vmap of many": lambda f: lambda x: ft.vmap(f, out_dims=-1)(ft.stack([x, x + 1, x * 2]))[0],
    "vmap unmapped": lambda f: lambda x: ft.vmap(lambda x, _: f(x), (None, 0))(x, ft.zeros(2))[1],
}
TRANSFORMS = {**DERIVATIVES, **NEUTRAL, "hessian": lambda f: ft.hessian(f)}


def order(name):
    return 2 if name == "hessian" else 1 if name in DERIVATIVES else 0


def f(x):
    """Its n-th derivative at x is sin(x + n pi / 2) 2^n-ish: see nth."""
    return (2 * x).sin() + x**3


def nth(n, x):
    cubic = [x**3, 3 * x**2, 6 * x, 6.0]
    return 2**n * np.sin(2 * x + n * np.pi / 2) + (cubic[n] if n < 4 else 0.0)


@pytest.mark.parametrize("chain", list(itertools.product(TRANSFORMS, repeat=2)), ids="-".join)
def test_depth_2(chain):
    g = f
    for name in chain:
        g = TRANSFORMS[name](g)
    close(g(scalar(0.7)), nth(sum(map(order, chain)), 0.7))


@pytest.mark.parametrize("first", TRANSFORMS)
def test_depth_3(first):
    for rest in itertools.product(TRANSFORMS, repeat=2):
        g = f
        for name in (first, *rest):
            g = TRANSFORMS[name](g)
        close(g(scalar(0.7)), nth(sum(map(order, (first, *rest))), 0.7))


@pytest.mark.parametrize(
    "chain",
    [
        ("grad",) * 5,
        ("jvp",) * 5,
        ("jvp", "grad", "vmap", "jacrev", "jacfwd"),
        ("vmap", "grad") * 3,
        ("hessian", "hessian"),
        ("autograd.grad", "grad") * 2,
        ("autograd.grad",) * 4,
    ],
)
def test_deep(chain):
    g = f
    for name in chain:
        g = TRANSFORMS[name](g)
    close(g(scalar(0.7)), nth(sum(map(order, chain)), 0.7))


def test_vector_nestings():
    """The same with vectors: hessians of vmapped losses, vmapped hessians, per-sample gradients."""
    w, xs = t(0.3, -0.5), ft.tensor(np.random.default_rng(0).standard_normal((4, 2)))
    a, b = w.numpy(), xs.numpy()

    def loss(w, x):
        return (w * x).sum().tanh()

    s = np.tanh(b @ a)
    first = (1 - s**2)[:, None] * b
    second = (-2 * s * (1 - s**2))[:, None, None] * b[:, :, None] * b[:, None, :]
    close(ft.vmap(ft.grad(loss), (None, 0))(w, xs), first)
    close(ft.jacrev(ft.vmap(loss, (None, 0)))(w, xs), first)
    close(ft.jacfwd(ft.vmap(loss, (None, 0)))(w, xs), first)
    close(ft.grad(lambda w: ft.vmap(loss, (None, 0))(w, xs).sum())(w), first.sum(0))
    close(ft.vmap(ft.hessian(loss), (None, 0))(w, xs), second)
    for outer, inner in itertools.product((ft.jacrev, ft.jacfwd), repeat=2):
        close(outer(inner(loss))(w, xs[0]), second[0])
        close(ft.vmap(outer(inner(loss)), (None, 0))(w, xs), second)
        close(outer(ft.vmap(inner(loss), (None, 0)))(w, xs), second)
        close(outer(inner(ft.vmap(loss, (None, 0))))(w, xs), second)
    close(
        ft.jvp(ft.vmap(ft.grad(loss), (None, 0)), (w, xs), (t(1.0, 2.0), ft.zeros_like(xs)))[1],
        second @ [1, 2],
    )
    _, back = ft.vjp(ft.vmap(ft.grad(loss), (None, 0)), w, xs)
    close(back(ft.ones_like(xs))[0], second.sum((0, 1)))
    hvp = lambda v: ft.grad(lambda w: (ft.grad(loss)(w, xs[0]) * v).sum())(w)  # noqa: E731
    close(ft.vmap(hvp)(ft.eye(2, dtype=ft.float64)), second[0])


# ---- perturbation confusion ----


@pytest.mark.parametrize("outer", DERIVATIVES)
@pytest.mark.parametrize("inner", DERIVATIVES)
def test_perturbation_confusion(outer, inner):
    d, e = DERIVATIVES[outer], DERIVATIVES[inner]
    # d/dx (x * d/dy (x + y)) = 1, not 2
    assert d(lambda x: x * e(lambda y: x + y)(scalar(1.0)))(scalar(1.0)).item() == 1
    # d/dx (x * d/dy (x * y)) = d/dx x^2
    assert d(lambda x: x * e(lambda y: x * y)(x))(scalar(3.0)).item() == 6
    # the inner function ignores its argument
    assert d(lambda x: x * e(lambda y: x * x)(x))(scalar(3.0)).item() == 0
    # the inner derivative at a value that depends on x
    assert d(lambda x: e(lambda y: x * y**2)(x * 2))(scalar(3.0)).item() == 2 * 2 * 2 * 3


def test_closures_over_three_levels():
    def outer(x):
        def middle(y):
            def inner(z):
                return x**2 * y**3 * z**4

            return ft.grad(inner)(y * x)  # 4 x^2 y^3 (xy)^3 = 4 x^5 y^6

        return ft.jvp(middle, (x,), (ft.ones_like(x),))[1]  # at y = x: 24 x^5 x^5

    assert ft.grad(outer)(scalar(1.5)).item() == pytest.approx(240 * 1.5**9)


def test_closures_over_mapped_values():
    x = t(1.0, 2.0, 3.0)
    close(ft.vmap(lambda a: ft.grad(lambda b: a * b**2)(a))(x), 2 * x.numpy() ** 2)
    close(ft.vmap(lambda a: ft.vmap(lambda b: a - b)(x).sum())(x), 3 * x.numpy() - 6)
    close(ft.grad(lambda a: ft.vmap(lambda b: a * b)(x).sum())(scalar(1.0)), 6)
    close(
        ft.grad(lambda x: ft.vmap(lambda a: ft.vmap(lambda b: a * b)(x).sum())(x).sum())(x),
        2 * 6 * np.ones(3),
    )


# ---- Python control flow ----


def branch(x):
    if x > 0:
        return x**2
    return -(x**3)


@pytest.mark.parametrize("name", [n for n in DERIVATIVES if n not in ("jacrev", "jacfwd")])
def test_branches(name):
    d = DERIVATIVES[name]
    assert d(branch)(scalar(3.0)).item() == 6 and d(branch)(scalar(-2.0)).item() == -12
    assert d(d(branch))(scalar(3.0)).item() == 2


def test_loops_and_items():
    def g(x):
        while x < 100:
            x = x * 2
        for _ in range(int(x) % 3):
            x = x * 3
        return x * float(x.detach() > 0) + 0 * x.item()

    # 7 -> 112; 112 % 3 = 1
    for d in (ft.grad, DERIVATIVES["jvp"], DERIVATIVES["vjp"]):
        assert d(g)(scalar(7.0)).item() == 48


def test_branches_on_unmapped_values_under_vmap():
    def g(x, n):
        return x * 2 if n > 0 else x

    close(ft.vmap(g, (0, None))(t(1.0, 2.0), ft.tensor(1)), [2, 4])
    close(
        ft.vmap(ft.grad(lambda x, n: g(x, n).sum()), (0, None))(t(1.0, 2.0), ft.tensor(1)), [2, 2]
    )


# ---- leaks and state ----


def test_leaked_tracers():
    for transform in (
        ft.grad,
        lambda f: lambda x: ft.vmap(f)(x),
        lambda f: lambda x: ft.jvp(f, (x,), (x,)),
    ):
        kept = []

        def g(x, kept=kept):
            kept.append(x * 2)
            return x.sum()

        transform(g)(ft.ones(2, 2) if "vmap" in transform.__code__.co_names else ft.ones(2))
        for use in (
            lambda y: y + 1,
            lambda y: 1 + y,
            lambda y: y.sum(),
            lambda y: y[0],
            lambda y: y @ y.t(),
            lambda y: ft.stack([y, y]),
            lambda y: y.exp(),
        ):
            with pytest.raises(ft.TraceError, match=r"finished .*test_nesting\.py:\d+"):
                use(kept[0])
        for use in (lambda y: y.numpy(), lambda y: y.tolist(), lambda y: y.add_(1)):
            with pytest.raises(ft.TraceError):
                use(kept[0])
        repr(kept[0])  # printing never fails
        assert kept[0].shape is not None and kept[0].dtype is ft.float32


def test_a_tracer_of_an_inner_trace_used_outside_it():
    def outer(x):
        kept = []

        def inner(y):
            kept.append(y * x)
            return y * x

        ft.grad(inner)(x)
        return kept[0] + x

    with pytest.raises(ft.TraceError, match="finished"):
        ft.grad(outer)(ft.tensor(1.0))


class Stop(Exception):
    pass


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_exceptions_leave_no_state(depth):
    """Thrown at the n-th operation of a nested program, for every n."""
    from functorch_like.trace import active, state

    count = [0]

    def tick(x, at):
        count[0] += 1
        if count[0] == at:
            raise Stop
        return x

    def program(at):
        def g(x):
            y = tick(x * 2, at)
            y = tick(y.sin(), at)
            with ft.no_grad():
                tick(y, at)
            y[0] = tick(y[1], at)
            return tick((y * y).sum(), at)

        h = g
        for d in range(depth):
            k = h
            h = [
                lambda x, k=k: ft.grad(k)(x).sum(),
                lambda x, k=k: ft.vmap(k)(x.unsqueeze(0)).sum(),
                lambda x, k=k: ft.jvp(k, (x,), (x,))[1],
            ][d]
        return h(t(0.3, 0.5))

    expected = program(-1).item()
    total = count[0]
    for at in range(1, total + 1):
        count[0] = 0
        with pytest.raises(Stop):
            program(at)
        assert not active and state.trace is None and state.grad
    count[0] = 0
    assert program(-1).item() == expected
    assert (ft.ones(2) + 1).tolist() == [2, 2]


def test_exceptions_caught_inside_a_transform():
    def g(x):
        try:
            ft.grad(lambda y: y * ft.ones(3))(x)
        except ft.ShapeError:
            pass
        try:
            ft.vmap(lambda y: 1 / 0)(ft.ones(2))
        except ZeroDivisionError:
            pass
        return x**2

    assert ft.grad(g)(ft.tensor(3.0)).item() == 6


def test_generators_and_lazy_use():
    """A generator that runs on after the transform ends meets a clear error."""

    def numbers(x):
        yield x * 2
        yield x * 3

    kept = []

    def g(x):
        kept.append(numbers(x))
        return next(kept[0])

    assert ft.grad(g)(ft.tensor(1.0)).item() == 2
    with pytest.raises(ft.TraceError, match="finished"):
        next(kept[0])


def test_threads():
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        a = rng.standard_normal(5)
        try:
            for _ in range(30):
                h = ft.hessian(lambda x: ft.vmap(lambda r: r**4)(x).sum())(ft.tensor(a))
                close(h, np.diag(12 * a**2))
                g = ft.grad(lambda x: (x**2).sum())(ft.tensor(a))
                close(g, 2 * a)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_thread_inside_a_transform_is_outside_of_it():
    """Another thread started inside a transformed function computes plainly; a tracer handed to it
    is refused."""
    results = []

    def other(x):
        results.append((ft.ones(2) * 3).sum().item())
        try:
            x * 2
        except ft.TraceError as error:
            results.append(type(error))

    def g(x):
        thread = threading.Thread(target=other, args=(x,))
        thread.start()
        thread.join()
        return x**2

    assert ft.grad(g)(ft.tensor(3.0)).item() == 6
    assert results == [6, ft.TraceError]


# ---- imperative code inside ----


def test_inputs_are_not_changed():
    x = ft.tensor([1.0, 2.0])

    def g(x):
        x += 1
        x[0] = 5.0 * x[1]
        x.view(2).mul_(2)
        return (x * x).sum()

    def h(x):
        y = x + 1
        y = ft.stack([5.0 * y[1], y[1]]) * 2
        return (y * y).sum()

    close(ft.grad(g)(x), ft.grad(h)(x).numpy())
    close(ft.vmap(g)(ft.stack([x, x])), [h(x).item()] * 2)
    close(ft.jvp(g, (x,), (x,))[1], ft.jvp(h, (x,), (x,))[1].item())
    close(ft.hessian(g)(x), ft.hessian(h)(x).numpy())
    close(ft.vmap(ft.hessian(g))(ft.stack([x, -x]))[1], ft.hessian(h)(-x).numpy())
    assert x.tolist() == [1, 2]


def test_training_step_inside_grad():
    """Differentiation through an inner loop of gradient steps written with the tape."""

    def meta(lr):
        w = ft.tensor([1.0, -2.0], dtype=ft.float64).requires_grad_()
        for _ in range(3):
            (g,) = ft.autograd.grad((w**4).sum(), w, create_graph=True)
            w = w - lr * g
        return (w**2).sum()

    lr, step = 0.01, 1e-6
    slope = (meta(scalar(lr + step)) - meta(scalar(lr - step))).item() / (2 * step)
    assert ft.grad(meta)(scalar(lr)).item() == pytest.approx(slope, rel=1e-6)
    assert ft.jvp(meta, (scalar(lr),), (scalar(1.0),))[1].item() == pytest.approx(slope, rel=1e-6)
    many = ft.vmap(ft.grad(meta))(t(0.01, 0.02))
    assert many[0].item() == pytest.approx(slope, rel=1e-6)


def test_hooks_inside_transforms():
    def g(x):
        p = (x * 1).requires_grad_()
        q = p * 3
        q.register_hook(lambda g: g * 10)
        (d,) = ft.autograd.grad((q * q).sum(), p, create_graph=True)
        return d.sum()

    # d = 10 * 2q * 3 = 180 x; its derivative passes the hook again
    assert g(t(2.0)).item() == 360
    assert ft.vmap(g)(ft.ones(3, 1, dtype=ft.float64)).tolist() == [180] * 3
    assert ft.grad(g)(t(2.0)).item() == 180


def test_no_grad_inside_transforms():
    """As in torch: no_grad concerns the tape; the innermost transform goes on where it is used
    outside of it."""

    def g(x):
        with ft.no_grad():
            shift = x.detach() * 2
        return (x * shift).sum()

    close(ft.grad(g)(t(3.0)), [6])


def test_saved_value_of_a_transform_written_later():
    """The value that vjp returned may be changed by recorded code; the pull back uses the one it
    saw."""

    def outer(x):
        y, back = ft.vjp(lambda x: x.exp(), x)
        y.mul_(2)
        return (back(ft.ones_like(y))[0] + y).sum()  # 3 exp(x)

    x = t(0.5)
    with pytest.raises(ft.GradError, match="exp"):  # plain code writes the memory itself
        outer(x)
    assert ft.grad(outer)(x).item() == pytest.approx(3 * np.exp(0.5))
    assert ft.jvp(outer, (x,), (t(1.0),))[1].item() == pytest.approx(3 * np.exp(0.5))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of this system do not signal")
def test_interrupts_leave_no_trace_entered():
    """Ctrl-C at any time: what comes after it runs outside of the transform."""
    x, armed, interrupts = ft.ones(()), False, 0

    def interrupt(_number, _frame):
        if armed:
            raise KeyboardInterrupt

    def work():
        nonlocal armed
        armed = True
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + interrupts * 3e-6)
        while True:
            ft.vjp(lambda x: x, x)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while interrupts < 200:
            try:
                work()
            except KeyboardInterrupt:
                armed, interrupts = False, interrupts + 1
            assert state.trace is None and not active
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
