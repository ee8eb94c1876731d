"""Captured tensors that are replaced by others: a compiled function sees the new ones."""

from __future__ import annotations

import functools
import types

import numpy
import pytest

import functorch_like as ft
import nn

TOP = ft.ones(2)
BOX = {"w": [ft.ones(2)]}
MODULE = types.ModuleType("settings")
MODULE.w = ft.ones(2)


def equal(actual, expected):
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def programs(f):
    return len(f.explain().splitlines())


def full(k):
    return ft.full((2,), float(k))


def uses_top(x):
    return x * TOP


def closure():
    w = full(1)

    def put(new):
        nonlocal w
        w = new

    return (lambda x: x * w), put


def nested():
    w = full(1)

    def put(new):
        nonlocal w
        w = new

    return (lambda x: (lambda x: (lambda: x * w)())(x)), put


def module_global():
    return uses_top, lambda new: globals().update(TOP=new)


def through_a_function():
    return (lambda x: uses_top(x) + 0), lambda new: globals().update(TOP=new)


def container():
    return (lambda x: x * BOX["w"][0]), lambda new: BOX["w"].__setitem__(0, new)


def module_attribute():
    return (lambda x: x * MODULE.w), lambda new: setattr(MODULE, "w", new)


def attribute():
    class Holder:
        pass

    holder = Holder()
    holder.inner = Holder()
    holder.inner.w = full(1)
    return (lambda x: x * holder.inner.w), lambda new: setattr(holder.inner, "w", new)


def method():
    class Holder:
        def __init__(self):
            self.w = full(1)

        def scaled(self, x):
            return self.other(x)

        def other(self, x):
            return x * self.w

    holder = Holder()
    return holder.scaled, lambda new: setattr(holder, "w", new)


def callable_object():
    class Holder:
        def __init__(self):
            self.w = full(1)

        def __call__(self, x):
            return x * self.w

    holder = Holder()
    return holder, lambda new: setattr(holder, "w", new)


def partial():
    box = [full(1)]
    return functools.partial(lambda box, x: x * box[0], box), lambda new: box.__setitem__(0, new)


def transform():
    f, put = closure()
    return ft.vmap(ft.grad(lambda x: f(x)[0] + f(x)[1])), lambda new: put(new)


def buffer():
    model = nn.Module()
    model.w = full(1)
    model.forward = lambda x: x * model.w
    return model, lambda new: setattr(model, "w", new)


@pytest.mark.parametrize(
    "case",
    [closure, nested, module_global, through_a_function, container, module_attribute, attribute,
     method, callable_object, partial, transform, buffer],
)  # fmt: skip
def test_is_noticed_and_fed_to_the_same_program(case):
    f, put = case()
    put(full(1))
    compiled = ft.compile(f)
    x = ft.ones(2)
    for k in range(1, 5):
        put(full(k))
        for _ in range(2):
            equal(compiled(x), f(x))
    assert programs(compiled) == 1
    put(ft.full((2,), 2.0, dtype=ft.float64))
    equal(compiled(x), f(x))
    put(full(7))
    equal(compiled(x), f(x))
    assert programs(compiled) == 2


def test_parameters_that_are_replaced():
    model = nn.Linear(2, 2)
    compiled = ft.compile(model)
    x = ft.ones(3, 2)
    compiled(x)
    for _ in range(2):
        model.weight = nn.Parameter(ft.randn(2, 2))
        out = compiled(x)
        equal(out.detach(), model(x).detach())
        out.sum().backward()
        assert model.weight.grad is not None
        equal(model.weight.grad, ft.full((2, 2), 3.0))


def test_written_tensors_that_are_replaced():
    class Counter:
        def __init__(self):
            self.n = ft.zeros(2)

        def __call__(self, x):
            self.n.add_(x)
            return self.n * 1

    counter = Counter()
    compiled = ft.compile(counter)
    first = counter.n
    for k in (1, 2):
        equal(compiled(ft.ones(2)), full(k))
    counter.n = full(10)
    equal(compiled(ft.ones(2)), full(11))
    equal(counter.n, full(11))
    equal(first, full(2))
    counter.n = first
    equal(compiled(ft.ones(2)), full(3))
    assert programs(compiled) == 2


def test_one_of_two_names_is_rebound():
    a = full(1)
    b = a

    def put(new):
        nonlocal a
        a = new

    compiled = ft.compile(lambda x: x * a + b)
    equal(compiled(ft.ones(2)), full(2))
    put(full(5))
    equal(compiled(ft.ones(2)), full(6))


def test_what_is_removed():
    box = {"w": full(2)}

    def f(x):
        return x * box["w"] if "w" in box else x

    compiled = ft.compile(f)
    equal(compiled(ft.ones(2)), full(2))
    del box["w"]
    equal(compiled(ft.ones(2)), full(1))


def test_state_carried_by_hand():
    state = {"h": ft.zeros(2)}
    step = ft.compile(lambda x: (state["h"] + x).tanh())
    expected = ft.zeros(2)
    for k in range(100):
        x = full(k % 3)
        state["h"] = step(x)
        expected = (expected + x).tanh()
    equal(state["h"], expected)
    assert programs(step) == 1


def test_optimizers_steps_still_see_their_state():
    ft.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = nn.optim.AdamW(model.parameters(), lr=0.1)

    @ft.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    x = ft.randn(8, 3)
    losses = [step(x).item() for _ in range(5)]
    assert losses[4] < losses[0]
    optimizer.load_state_dict(optimizer.state_dict())
    model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()})
    assert step(x).item() < losses[4]
    with ft.no_grad():
        model.weight.copy_(ft.zeros(1, 3))
        model.bias.copy_(ft.zeros(1))
    assert step(x).item() == 0.0
