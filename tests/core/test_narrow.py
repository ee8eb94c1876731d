"""Backward passes for some tensors only: what they visit, compute and keep."""

import itertools
import random

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import autograd
from functorch_like.errors import GradError
from functorch_like.profiler import profile


def leaf(*shape):
    return ft.randn(*shape, dtype=ft.float64, requires_grad=True)


def calls(function):
    """How often each op ran."""
    with profile() as seen:
        function()
    return {row.key: row.count for row in seen.key_averages()}


def test_only_wanted_gradients_are_computed():
    x, w, v = leaf(8, 4), leaf(4, 5), leaf(5, 3)
    loss = ((x @ w) @ v).sum()
    assert calls(lambda: autograd.grad(loss, v, retain_graph=True))["matmul"] == 1
    assert calls(lambda: autograd.grad(loss, w, retain_graph=True))["matmul"] == 2
    assert calls(lambda: autograd.grad(loss, (x, w, v), retain_graph=True))["matmul"] == 4
    assert calls(lambda: loss.backward(inputs=[v]))["matmul"] == 1


def test_the_rest_of_the_graph_keeps_its_saved_tensors():
    x, w = leaf(3), leaf(3)
    shared = x * x  # leads to x only
    for _ in range(2):
        (g,) = autograd.grad((shared * w).sum(), w)
        np.testing.assert_array_equal(g.numpy(), shared.detach().numpy())
    (g,) = autograd.grad((shared * w).sum(), x)
    np.testing.assert_allclose(g.numpy(), (2 * x * w).detach().numpy())
    with pytest.raises(GradError, match="freed"):
        autograd.grad((shared * w).sum(), x)


def test_nothing_below_an_inner_tensor_runs():
    ran = []

    class Noted(ft.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            ran.append(True)
            return g * 2

    x = leaf(3)
    inner = Noted.apply(x)
    (g,) = autograd.grad((inner * 3).sum(), inner, retain_graph=True)
    assert g.tolist() == [3.0] * 3 and not ran
    gi, gx = autograd.grad((inner * 3).sum(), (inner, x))
    assert gi.tolist() == [3.0] * 3 and gx.tolist() == [6.0] * 3 and len(ran) == 1


def test_hooks_beside_the_way_are_not_called():
    x, w = leaf(3), leaf(3)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append("y"))
    w.register_hook(lambda g: seen.append("w"))
    autograd.grad((y * w).sum(), w)
    assert seen == ["w"]


def _parts(t):
    a, b = t.chunk(2)
    return a.exp() * b + b.tanh()


def _rank(t):
    values, _ = t.reshape(2, -1).sort(1)
    return values.reshape(-1)[: t.shape[0]]


class _Twice(ft.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, g * a


def _written(a, b):
    c = a.clone()
    c[1:3] = b[:2]
    return c


STEPS = [
    lambda a, b: a * b,
    lambda a, b: a + b.sum(),
    lambda a, b: a / (b * b + 1),
    lambda a, b: ft.where(a > b, a, b * 2),
    lambda a, b: ft.cat([_parts(a), b[::2]])[: a.shape[0]],
    lambda a, b: (a.unsqueeze(1) @ b.unsqueeze(0)).sum(1),
    lambda a, b: ft.addcmul(a, a, b),
    lambda a, b: a.softmax(0) * _rank(b),
    lambda a, b: ft.checkpoint(lambda p, q: (p * q).tanh() + q, a, b),
    lambda a, b: _Twice.apply(a, b),
    _written,
    lambda a, b: (a.reshape(2, 2) @ b.reshape(2, 2)).reshape(4),
]


@pytest.mark.parametrize("seed", range(25))
def test_any_part_of_the_gradients_is_what_all_of_them_are(seed):
    draw = random.Random(seed)
    ft.manual_seed(seed)
    leaves = [leaf(4) for _ in range(3)]

    def program():
        values = list(leaves)
        for _ in range(draw_count):
            step, i, j = script[len(values) - 3]
            values.append(STEPS[step](values[i], values[j]))
        return values

    draw_count = draw.randint(3, 7)
    script = [
        (draw.randrange(len(STEPS)), draw.randrange(n + 3), draw.randrange(n + 3))
        for n in range(draw_count)
    ]
    values = program()
    inner = values[3]
    candidates = [*leaves, inner]
    loss = sum(v.sin().sum() for v in values[4:])
    whole = autograd.grad(loss, candidates, retain_graph=True, materialize_grads=True)
    for count in (1, 2, 3):
        for some in itertools.combinations(range(4), count):
            chosen = [candidates[i] for i in some]
            found = autograd.grad(loss, chosen, retain_graph=True, materialize_grads=True)
            for i, g in zip(some, found, strict=True):
                np.testing.assert_array_equal(g.numpy(), whole[i].numpy())
            # and once more, through the gradients
            first = autograd.grad(loss, chosen, create_graph=True, materialize_grads=True)
            norm = sum((g * g).sum() for g in first)
            if norm.requires_grad:
                again = autograd.grad(norm, leaves, retain_graph=True, materialize_grads=True)
                expected = _second(loss, candidates, some, leaves)
                for g, e in zip(again, expected, strict=True):
                    np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-10, atol=1e-12)


def _second(loss, candidates, some, leaves):
    """The same by a first pass for all tensors."""
    first = autograd.grad(loss, candidates, create_graph=True, materialize_grads=True)
    norm = sum((first[i] * first[i]).sum() for i in some)
    return autograd.grad(norm, leaves, retain_graph=True, materialize_grads=True)
