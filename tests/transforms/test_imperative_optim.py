"""Imperative training loops inside transforms: a leaf written under no_grad stays one."""

import pytest

import functorch_like as ft
from nn import optim


def loss_of(w, x):
    return (ft.sin(w) * x).sum() + (w * w).sum() * 0.5


def lanes(f, *xs):
    return ft.stack([f(*(x[i] for x in xs)) for i in range(len(xs[0]))])


def close(a, b):
    assert a.shape == b.shape and (a - b).abs().max().item() < 1e-12


def hand_written(x, start):
    w = start.clone().requires_grad_()
    for _ in range(5):
        loss_of(w, x).backward()
        with ft.no_grad():
            w.add_(w.grad, alpha=-0.1)
            w.grad = None
        assert w.requires_grad and w.is_leaf and w.grad_fn is None
    return w.detach()


@pytest.fixture
def data():
    x = ft.linspace(-1.0, 2.0, 12, dtype=ft.float64).reshape(4, 3)
    return x, (x * x).flip(0)


def test_five_steps_by_hand_in_each_lane(data):
    close(ft.vmap(hand_written)(*data), lanes(hand_written, *data))
    x, start = data
    one = start[0]
    close(ft.vmap(lambda x: hand_written(x, one))(x), lanes(lambda x: hand_written(x, one), x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
        ("Adam", {"lr": 0.1, "amsgrad": True}),
        ("AdamW", {"lr": 0.1}),
    ],
)
def test_five_steps_of_an_optimizer_in_each_lane(data, name, options):
    def fit(x, start):
        w = start.clone().requires_grad_()
        optimizer = getattr(optim, name)([w], **options)
        for _ in range(5):
            optimizer.zero_grad()
            loss_of(w, x).backward()
            optimizer.step()
        return w.detach()

    close(ft.vmap(fit)(*data), lanes(fit, *data))


def test_gradient_past_an_unrecorded_write(data):
    """As in torch, what is written under no_grad keeps its place in the graph."""
    x, start = data[0][1], data[1][1]

    def after(start):
        w = start.clone().requires_grad_()
        with ft.no_grad():
            w.mul_(3.0)
        assert w.requires_grad and w.is_leaf
        return (w * x).sum()

    close(ft.grad(after)(start), x)


def test_grad_and_hooks_are_kept():
    def f(x):
        w = x.clone().requires_grad_()
        seen, after = [], []
        handle = w.register_hook(lambda g: seen.append(1))
        w.register_post_accumulate_grad_hook(lambda t: after.append(t is w))
        early = (w * 2.0).sum()
        early.backward(retain_graph=True)
        with ft.no_grad():
            w.mul_(3.0)
        assert w.grad is not None
        early.backward()  # a graph of the value before leads to the same leaf
        w.sum().backward()
        assert len(seen) == 3 and after == [True] * 3
        handle.remove()
        w.sum().backward()
        assert len(seen) == 3
        (g,) = ft.autograd.grad((w * w).sum(), w)
        return w.grad, g

    x = ft.tensor([[1.0, 2.0], [3.0, 4.0]])
    total, g = ft.vmap(f)(x)
    assert total.tolist() == [[6.0, 6.0]] * 2 and g.tolist() == (6.0 * x).tolist()


def test_asking_for_a_leaf_whose_graph_is_older_than_a_write():
    def f(x):
        w = x.clone().requires_grad_()
        loss = (w * x).sum()
        with ft.no_grad():
            w.zero_()
        return ft.autograd.grad(loss, w)[0]

    x = ft.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert ft.vmap(f)(x).tolist() == x.tolist()


def test_views_of_a_written_leaf_follow():
    def f(x):
        w = x.clone().requires_grad_()
        with ft.no_grad():
            part = w[:1]
            w.mul_(2.0)
            assert not part.requires_grad
        return part + 0.0

    assert ft.vmap(f)(ft.ones(2, 3)).tolist() == [[2.0], [2.0]]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_gradient_through_training_steps(name):
    """By a hyperparameter of the loss; steps are recorded by the transform around them."""

    def trained(share):
        w = ft.ones(3, dtype=ft.float64).requires_grad_()
        optimizer = getattr(optim, name)([w], lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            ((w * w).sum() * share + (w**3).sum() * share * share).backward()
            optimizer.step()
        return (w * w).sum()

    share, e = ft.tensor(0.5, dtype=ft.float64), 1e-6
    difference = (trained(share + e) - trained(share - e)) / (2 * e)
    expected = pytest.approx(difference.item(), rel=1e-5, abs=1e-8)
    assert ft.grad(trained)(share).item() == expected
    assert ft.compile(ft.grad(trained))(share).item() == expected
    lanes = ft.compile(ft.vmap(ft.grad(trained)))(ft.stack([share, share + e]))
    assert lanes[0].item() == expected
