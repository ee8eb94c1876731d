"""Hooks on tensors, retained gradients and callbacks at the end of a backward pass."""

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import autograd


def leaf(*values, dtype=ft.float64):
    return ft.tensor(list(values), dtype=dtype, requires_grad=True)


def test_hooks_on_leaves_and_results():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1, 1]] and x.grad.tolist() == [21, 21]


def test_hooks_see_the_complete_gradient_once():
    x = leaf(1.0)
    y = x * 1
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y + y * y + y * 3).sum().backward()
    assert seen == [6]


def test_removed_hooks():
    x = leaf(1.0)
    first = x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g * 3)
    first.remove()
    first.remove()
    (x * 1).sum().backward()
    assert x.grad.item() == 3


def test_hook_on_one_of_several_outputs():
    x = ft.tensor([[1.0, 5.0], [7.0, 2.0]], requires_grad=True)
    values, _ = x.max(1)
    values.register_hook(lambda g: g * 2)
    values.sum().backward()
    assert x.grad.tolist() == [[0, 2], [2, 0]]


def test_hooks_work_with_autograd_grad():
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    assert autograd.grad(y.sum(), x)[0].item() == 10


def test_failing_hook():
    x = leaf(1.0)
    y = x * 2

    def fail(g):
        raise KeyError("mine")

    y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    assert ft.is_grad_enabled() and x.grad is None


def test_post_accumulate_hooks_receive_the_tensor():
    x = leaf(1.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    assert seen == [(True, 2), (True, 4)] and x.grad.item() == 6
    with pytest.raises(ft.GradError, match="leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_optimizer_in_the_hook():
    x = leaf(1.0)

    def step(t):
        with ft.no_grad():
            t -= 0.1 * t.grad
        t.grad = None

    x.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.item() == pytest.approx(0.8**3) and x.grad is None


def test_hook_on_a_tensor_without_grad():
    with pytest.raises(ft.GradError, match="requires_grad_"):
        ft.ones(1).register_hook(print)


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * x
    y.retain_grad()
    z = y * 3
    z.sum().backward()
    assert y.grad.tolist() == [3, 3] and z.grad is None
    x.retain_grad()  # nothing to do for a leaf
    with pytest.raises(ft.GradError):
        ft.ones(1).retain_grad()


def test_retained_grad_of_a_tensor_written_later():
    w = leaf(1.0, 1.0)
    x = w * 1
    x.retain_grad()
    x.mul_(3)
    x.sum().backward()
    assert x.grad.tolist() == [1, 1] and w.grad.tolist() == [3, 3]


def test_hooks_that_return_nonsense():
    for bad, error in ((ft.ones(3), ft.ShapeError), (3, TypeError)):
        x = ft.ones(2, requires_grad=True)
        x.register_hook(lambda g, bad=bad: bad)
        with pytest.raises(error, match="hook"):
            (x * 1).sum().backward()
        assert x.grad is None


def test_post_accumulate_hooks_run_while_backward_does():
    seen = []
    first, second, shared = leaf(2.0), leaf(3.0), leaf(5.0)
    for name, x in (("first", first), ("second", second), ("shared", shared)):
        x.register_post_accumulate_grad_hook(lambda t, n=name: seen.append((n, t.grad.item())))
    hidden = (first * shared).exp()
    hidden.register_hook(lambda g: seen.append("hidden"))
    (hidden * second * shared).sum().backward()
    e = float(np.exp(10.0))
    assert [s if isinstance(s, str) else s[0] for s in seen] == [
        "second",
        "hidden",
        "first",
        "shared",
    ]
    assert seen[0][1] == pytest.approx(5 * e) and seen[2][1] == pytest.approx(75 * e)
    assert seen[3][1] == pytest.approx(3 * e + 15 * 2 * e)


def test_early_hooks_see_all_that_a_leaf_gets():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(lambda g: g * 10)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    a, b = (x * 3).split(1)
    (a * b + x.sum() + x[:1]).sum().backward()
    assert seen == [[200.0, 100.0]] and x.grad.tolist() == [200.0, 100.0]
    (x * x.detach()).sum().backward()
    assert seen[1] == [210.0, 120.0]
    x.backward(ft.ones(2, dtype=ft.float64))
    assert seen[2] == [220.0, 130.0]


def test_callbacks_at_the_end_of_backward():
    seen = []
    x, y = leaf(1.0), leaf(1.0)

    def hook(t):
        autograd.queue_callback(lambda: seen.append("end"))
        seen.append("hook")

    x.register_post_accumulate_grad_hook(hook)
    (x * y).sum().backward()
    assert seen == ["hook", "end"] and y.grad.item() == 1.0
    with pytest.raises(autograd.GradError, match="running backward"):
        autograd.queue_callback(print)
    ft.compile(lambda: (x * y).sum().backward())()
    assert seen == ["hook", "end"] * 2
