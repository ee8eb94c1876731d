"""donate: arguments whose memory results may take."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close


def equal(actual, expected):
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def update(state, x):
    return {"m": state["m"] * 0.9 + x, "v": (state["v"] + x * x).sqrt()}


def test_values_and_what_is_left():
    f = ft.compile(update, donate=0)
    state, expected = ({"m": ft.ones(5), "v": ft.zeros(5)} for _ in range(2))
    x = ft.randn(5)
    kept = x.clone()
    for _ in range(3):
        expected = update(expected, x)
        before, state = state, f(state, x)
        for name in state:
            equal(state[name], expected[name])
            with pytest.raises(ft.TraceError, match="donated to a compiled function"):
                before[name].numpy()
    equal(x, kept)  # not donated


@pytest.mark.parametrize(
    "read",
    [lambda t: t.numpy(), lambda t: t + 1, lambda t: ft.ones(2) * t, lambda t: t.shape,
     lambda t: t.item(), lambda t: t.dtype, lambda t: t.sum(), lambda t: t[0], lambda t: len(t),
     lambda t: t.add_(1), lambda t: t.tolist(), lambda t: t.clone(), lambda t: t.data_ptr(),
     lambda t: bool(t), lambda t: t @ t, lambda t: ft.compile(lambda x: x)(t), lambda t: t.device,
     lambda t: ft.compile(lambda x: x + t)(ft.ones(2)), lambda t: ft.vmap(lambda x: x)(t),
     lambda t: ft.grad(lambda x: (x * t).sum())(ft.ones(2)), lambda t: t.reshape(-1)],
)  # fmt: skip
def test_every_use_afterwards_is_an_error(read):
    x = ft.ones(2)
    ft.compile(lambda x: x * 2, donate=0)(x)
    with pytest.raises(ft.TraceError, match=r"donated to a compiled function \(at .*test_donate"):
        read(x)
    assert repr(x) == "tensor(donated)"


def test_peak_memory_is_less():
    n = 1 << 20

    def f(x):
        return (x * 2 + 1).tanh()

    def peak(function):
        x = ft.ones(n)
        function(x)  # stage
        x = ft.ones(n)
        ft.reset_peak_memory()
        start = ft.memory_allocated()
        out = function(x)
        assert out.shape == (n,)
        return (ft.max_memory_allocated() - start) / (4 * n)

    assert peak(ft.compile(f)) > 0.9
    assert peak(ft.compile(f, donate=0)) < 0.1


def test_memory_is_free_after_the_last_reader():
    n = 256
    w = ft.randn(n, n)

    def f(x):
        for _ in range(4):
            x = x @ w
        return x

    def peak(function):
        function(ft.ones(n, n))
        x = ft.ones(n, n)
        ft.reset_peak_memory()
        start = ft.memory_allocated()
        function(x)
        return (ft.max_memory_allocated() - start) / (4 * n * n)

    assert peak(ft.compile(f, donate=0)) <= peak(ft.compile(f)) - 0.9


def test_memory_that_others_see_stays_theirs():
    x = ft.ones(4)
    view, array = x[1:], x.numpy()
    out = ft.compile(lambda x: x * 2 + 1, donate=0)(x)
    equal(view, ft.ones(3))
    assert (array == 1).all()
    equal(out, ft.full((4,), 3.0))


def test_given_back_as_it_is():
    x = ft.ones(4)
    same, more = ft.compile(lambda x: (x, x + 1), donate=0)(x)
    equal(same, ft.ones(4))
    equal(more, ft.full((4,), 2.0))


def test_guards_leave_it_alone_until_they_hold():
    def f(x):
        if x.sum() > 0:
            return x * 2
        return x - 1

    compiled = ft.compile(f, donate=0)
    for k in (1.0, -1.0, 2.0, -3.0):
        x = ft.full((3,), k)
        equal(compiled(x), f(ft.full((3,), k)))
    assert len(compiled.explain().splitlines()) == 2


def test_writes_to_a_donated_argument():
    def f(x):
        x.add_(1)
        return x * 2

    equal(ft.compile(f, donate=0)(ft.ones(3)), ft.full((3,), 4.0))


def test_shapes_that_differ_and_several_arguments():
    f = ft.compile(lambda x, y, z: (x + y) * z, donate=(0, -1))
    for n in (2, 3, 2):
        x, y, z = ft.ones(n), ft.ones(n), ft.full((n,), 3.0)
        equal(f(x, y, z), ft.full((n,), 6.0))
        equal(y, ft.ones(n))
        for t in (x, z):
            with pytest.raises(ft.TraceError):
                t.sum()


def test_errors():
    f = ft.compile(lambda x, y: x + y, donate=0)
    x = ft.ones(2)
    with pytest.raises(ValueError, match="a donated tensor that the function gets once"):
        f(x, x)
    equal(x, ft.ones(2))
    w = ft.ones(2)
    with pytest.raises(ValueError, match="also captured"):
        ft.compile(lambda x: x + w, donate=0)(w)
    with pytest.raises(ft.GradError, match="results without gradients"):
        f(ft.ones(2, requires_grad=True), x)
    with ft.no_grad():
        equal(f(ft.ones(2, requires_grad=True), x), ft.full((2,), 2.0))


def test_an_error_in_the_middle_has_used_it_up():
    def stop():
        raise KeyError("stop")

    def f(x):
        y = x * 2
        ft.callback(stop, None)
        return y

    x = ft.ones(3)
    with pytest.raises(KeyError):
        ft.compile(f, donate=0)(x)
    with pytest.raises(ft.TraceError, match="donated"):
        x.sum()


def test_an_imperative_training_step_with_donated_data():
    w = ft.ones(3, requires_grad=True)

    @ft.compile(donate=0)
    def step(x):
        w.grad = None
        loss = (w * x).square().sum()
        loss.backward()
        with ft.no_grad():
            w.sub_(0.1 * w.grad)
        return loss.detach()

    first = step(ft.ones(3)).item()
    assert step(ft.ones(3)).item() < first
    assert_close(w.detach(), ft.full((3,), 0.8 * 0.8))


def test_inside_transforms_nothing_is_given_away():
    f = ft.compile(lambda x: (x * 2).sum(), donate=0)
    x = ft.ones(3)
    equal(ft.grad(f)(x), ft.full((3,), 2.0))
    equal(ft.compile(lambda x: f(x) + x)(x), ft.full((3,), 7.0))
    equal(x, ft.ones(3))
