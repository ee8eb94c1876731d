"""checkpoint: the same gradients, random numbers and side effects as without, in less memory."""

import itertools

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state
from functorch_like.transforms.checkpointing import (
    checkpoint,
    checkpoint_name,
    checkpoint_sequential,
)

D = ft.float64


def close(a, b, tol=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def body(x):
    return (x.sin() * x).exp().tanh() + x.softmax(-1)


def by_tape(f):
    def derivative(x):
        p = (x * 1).requires_grad_()
        return ft.autograd.grad(f(p).sum(), p, create_graph=True)[0]

    return derivative


TRANSFORMS = {
    "grad": lambda f: ft.grad(lambda x: f(x).sum()),
    "vmap": lambda f: ft.vmap(f),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x,))[1],
    "tape": by_tape,
    "jacrev": lambda f: lambda x: ft.jacrev(f)(x).sum(-1),
    "vjp": lambda f: lambda x: (lambda y, back: back(y)[0])(*ft.vjp(f, x)),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](x),
    "checkpoint": lambda f: checkpoint(f),
}


@pytest.mark.parametrize("first", TRANSFORMS)
def test_nestings_of_depth_3(first):
    x = ft.randn(2, 3, dtype=D)
    for chain in itertools.product(TRANSFORMS, repeat=2):
        names = (first, *chain)
        if names.count("vmap") > 2:
            continue
        plain, checkpointed = body, checkpoint(body)
        for name in names:
            plain, checkpointed = TRANSFORMS[name](plain), TRANSFORMS[name](checkpointed)
        if names[0] == "vmap" and "jacrev" in names[1:] and names.count("vmap") > 1:
            continue
        close(checkpointed(x), plain(x))
    assert state.trace is None and not active


@pytest.mark.parametrize("policy", ["nothing", "everything", "matmuls", ["h"], lambda op, _: True])
def test_policies(policy):
    w = ft.randn(3, 3, dtype=D)

    def f(w, x):
        h = checkpoint_name((x @ w).tanh(), "h")
        return (h @ w).exp().sum()

    x = ft.randn(2, 3, dtype=D)
    g = checkpoint(f, policy=policy)
    for a, b in zip(ft.grad(g, (0, 1))(w, x), ft.grad(f, (0, 1))(w, x), strict=True):
        close(a, b)
    close(ft.hessian(g)(w, x), ft.hessian(f)(w, x))
    close(ft.vmap(ft.grad(g), (None, 0))(w, x), ft.vmap(ft.grad(f), (None, 0))(w, x))


def test_a_policy_keeps_what_it_names():
    """The results of matrix products are not computed again."""
    w, x = ft.randn(3, 3), ft.randn(2, 3)
    from functorch_like.op import TABLE

    counts = {}
    impl = TABLE["matmul"].impl

    def counted(a, b):
        counts[name] = counts.get(name, 0) + 1
        return impl(a, b)

    TABLE["matmul"].impl = counted
    try:
        for name in ("nothing", "matmuls"):
            ft.grad(checkpoint(lambda x: (x @ w).sin().sum(), policy=name))(x)
    finally:
        TABLE["matmul"].impl = impl
    assert counts == {"nothing": 3, "matmuls": 2}


def test_bad_policy():
    with pytest.raises(ValueError, match='checkpoint: expected policy "nothing"'):
        checkpoint(body, policy="some")


def test_random_numbers_are_replayed():
    x = ft.randn(50)

    def f(x):
        return (ft.dropout(x, 0.5) * x + ft.rand(50) * x).sum()

    for transform in (
        lambda f: ft.grad(f)(x),
        lambda f: ft.vmap(ft.grad(f))(ft.stack([x, x])),
        lambda f: ft.jacrev(lambda x: ft.vmap(f)(ft.stack([x, x])))(x),
        lambda f: by_tape(f)(x),
    ):
        ft.manual_seed(3)
        want, after = transform(f), ft.rand(3)
        ft.manual_seed(3)
        close(transform(checkpoint(f)), want)
        close(ft.rand(3), after)  # and the stream goes on from the same place


def test_closures_and_parameters_have_gradients():
    w = ft.randn(3, 3, dtype=D, requires_grad=True)
    x = ft.randn(3, dtype=D)
    checkpoint(lambda x: (w @ x).sin().sum(), x).backward()
    got, w.grad = w.grad, None
    (w @ x).sin().sum().backward()
    close(got, w.grad)
    w = w.detach()
    close(
        ft.grad(lambda w: checkpoint(lambda x: (w @ x).sin().sum())(x))(w),
        ft.grad(lambda w: (w @ x).sin().sum())(w),
    )


def test_side_effects_happen_once():
    seen, mean = [], ft.zeros(3)

    def f(x):
        seen.append(1)
        mean.mul_(0.5).add_(x.detach().mean(0))
        return (x.sin() * x).sum()

    x = ft.randn(4, 3, requires_grad=True)
    checkpoint(f, x).backward()
    assert len(seen) == 1
    close(mean, x.mean(0), 1e-6)


def test_an_overwritten_input_is_an_error():
    w = ft.randn(3)
    x = ft.randn(3, requires_grad=True)
    y = checkpoint(lambda x: (x.sin() * w).exp().sum(), x)
    w.add_(1.0)
    with pytest.raises(ft.GradError, match="checkpoint: expected an input of shape"):
        y.backward()


def test_in_place_code_inside():
    def f(x):
        y = x * 2
        y[0] = x[1].sin()
        y.mul_(x)
        return y.exp().sum()

    x = ft.randn(3, dtype=D)
    close(ft.grad(checkpoint(f))(x), ft.grad(f)(x))
    close(by_tape(checkpoint(f))(x), by_tape(f)(x))
    close(ft.vmap(ft.grad(checkpoint(f)))(x.reshape(1, 3)), ft.grad(f)(x).reshape(1, 3))


def test_backward_inside():
    def f(x):
        p = x.clone().detach().clone().requires_grad_()
        (p.sin() * p).sum().backward()
        return (p.grad * x).sum()

    x = ft.randn(3, dtype=D)
    close(ft.grad(checkpoint(f))(x), ft.grad(f)(x))


def test_retained_graphs():
    x = ft.randn(3, dtype=D, requires_grad=True)
    y = checkpoint(body, x).sum()
    (first,) = ft.autograd.grad(y, x, retain_graph=True)
    (again,) = ft.autograd.grad(y, x)
    close(first, again)
    _, back = ft.vjp(checkpoint(body), x.detach())
    one = ft.ones(3, dtype=D)
    close(*back(one), *back(one))


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_sequential(segments):
    parts = [ft.sin, ft.exp, ft.tanh]
    x = ft.randn(3, dtype=D, requires_grad=True)
    checkpoint_sequential(parts, segments, x).sum().backward()
    got, x.grad = x.grad, None
    x.sin().exp().tanh().sum().backward()
    close(got, x.grad)
    with pytest.raises(ValueError, match="segments in"):
        checkpoint_sequential(parts, 4, x)


def test_exceptions_leave_nothing_behind():
    class Stop(Exception):
        pass

    for after in range(4):

        def f(x, after=after):
            for i in range(4):
                if i == after:
                    raise Stop
                x = x.sin()
            return x.sum()

        for transform in (ft.grad, ft.hessian, lambda f: ft.vmap(ft.grad(f))):
            with pytest.raises(Stop):
                transform(checkpoint(f))(ft.randn(2, 2))
            assert state.trace is None and not active
    close(ft.grad(checkpoint(lambda x: x.sin().sum()))(ft.zeros(2)), ft.ones(2))


def peak(function):
    before = ft.memory_allocated()
    ft.reset_peak_memory()
    result = function()
    used = ft.max_memory_allocated() - before
    del result
    return used


@pytest.mark.parametrize("way", ["grad", "tape"])
def test_checkpoints_within_checkpoints(way):
    layers = [ft.randn(8, 8, dtype=D) * 0.3 for _ in range(6)]
    x = ft.randn(4, 8, dtype=D)

    def layer(x, w):
        return (x @ w).tanh()

    def half(x, some):
        for w in some:
            x = ft.checkpoint(layer, x, w)
        return x

    def plain(x):
        for w in layers:
            x = layer(x, w)
        return (x**2).sum()

    def nested(x):
        for at in (0, 3):
            x = checkpoint(half, x, layers[at : at + 3])
        return (x**2).sum()

    derivative = ft.grad if way == "grad" else by_tape
    close(derivative(nested)(x), derivative(plain)(x))
    close(
        ft.grad(lambda x: derivative(nested)(x).sin().sum())(x),
        ft.grad(lambda x: derivative(plain)(x).sin().sum())(x),
    )
    xs = ft.stack([x, x * 2])
    close(ft.vmap(derivative(nested))(xs)[1], derivative(plain)(x * 2))


@pytest.mark.parametrize("way", ["grad", "tape"])
def test_peak_memory(way):
    """Of a deep MLP, in segments of about the square root of its depth."""
    layers = [ft.randn(64, 64) * 0.1 for _ in range(24)]
    x = ft.randn(512, 64)

    def part(x, some):
        for w in some:
            x = (x @ w).tanh()
        return x

    def plain(x):
        return (part(x, layers) ** 2).mean()

    def segmented(x):
        at = 0
        for size in (7, 6, 5, 4, 2):
            x = checkpoint(part, x, layers[at : at + size])
            at += size
        return (x**2).mean()

    def run(f):
        if way == "grad":
            return lambda: ft.grad(f)(x)
        leaf = x.clone().requires_grad_()
        return lambda: f(leaf).backward()

    plain_peak, segmented_peak = peak(run(plain)), peak(run(segmented))
    assert plain_peak < 27 * x.nbytes  # results of tanh alone: what no rule needs is freed
    assert segmented_peak < 0.4 * plain_peak
