"""Random functions of a few tensors: compiled, under transforms, they are what they are eagerly."""

from __future__ import annotations

import random

import numpy
import pytest

import functorch_like as ft
from functorch_like.staging import remat

_UNARY = [
    lambda x: x.sin(), lambda x: x.tanh(), lambda x: x * 2, lambda x: 1 - x, lambda x: x.square(),
    lambda x: x.relu(), lambda x: -x, lambda x: x / 3.0, lambda x: x.sigmoid(), lambda x: x.cos(),
]  # fmt: skip
_BINARY = [
    lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y, lambda x, y: ft.maximum(x, y),
    lambda x, y: ft.where(x > y, x, y * 0.5), lambda x, y: x * 0.3 + y * 0.3,
]  # fmt: skip
_N = 6  # every value is [N, N], [N], or a number


def _made(seed):
    """A function of three tensors."""
    draws = random.Random(seed)
    steps = []
    for _ in range(draws.randint(5, 40)):
        kind = draws.choice(["unary", "binary", "binary", "shape", "shape", "matrix"])
        steps.append((kind, draws.randrange(1000), draws.randrange(1000), draws.randrange(1000)))
    results = [draws.randrange(1000) for _ in range(draws.randint(1, 4))]

    def f(x, y, z):
        values = [x, y, z]
        for kind, which, first, second in steps:
            a, b = values[first % len(values)], values[second % len(values)]
            if kind == "unary":
                values.append(_UNARY[which % len(_UNARY)](a))
            elif kind == "binary":
                values.append(_BINARY[which % len(_BINARY)](a, b))
            elif kind == "shape":
                values.append(_reshaped(which, a))
            elif a.ndim == 2 and b.ndim == 2:
                values.append(_matrix(which, a, b))
        return [values[r % len(values)] * 1 for r in results]

    return f


def _reshaped(which, a):
    if a.ndim == 0:
        return a.expand(_N)
    moves = [
        lambda: a.T if a.ndim == 2 else a.flip(0),
        lambda: a.sum(),
        lambda: a.mean(0),
        lambda: ft.cat([p.sin() if i else p for i, p in enumerate(a.split(2))]),
        lambda: a.reshape(-1)[:_N],
        lambda: a.softmax(-1),
        lambda: a[1:4].sum(0, keepdim=True) * a,
    ]
    return moves[which % len(moves)]()


def _matrix(which, a, b):
    moves = [
        lambda: a @ b * 0.2,
        lambda: ft.eye(_N) @ a,
        lambda: a @ (ft.eye(_N) * 2),
        lambda: (a @ b.unsqueeze(-1)).squeeze(-1) * 0.2,
        lambda: a * ft.ones(_N, _N).tril(),
    ]
    return moves[which % len(moves)]()


def _arguments(seed):
    ft.manual_seed(seed)
    return [ft.rand(_N, _N), ft.rand(_N), ft.rand(_N, _N)]


def _scalar(f):
    return lambda *xs: sum(y.sin().sum() for y in f(*xs))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("again", [False, True], ids=["", "remat"])
def test_compiled_is_eager(seed, again, monkeypatch):
    if again:
        monkeypatch.setattr(remat, "LEAST", 0)
        monkeypatch.setattr(remat, "SMALL", 0)
    f, xs = _made(seed), _arguments(seed)
    wrap = [
        lambda f: f,
        lambda f: ft.grad(_scalar(f), argnums=(0, 1, 2)),
        lambda f: ft.vmap(f, in_dims=(None, None, 0)),
        lambda f: lambda *xs: ft.jvp(_scalar(f), xs, xs),
    ][seed % 4]
    if seed % 4 == 2:
        xs[2] = ft.stack([xs[2], xs[0], xs[2].T])
    g = wrap(f)
    compiled = ft.compile(g)
    for _ in range(2):
        for a, b in zip(ft.tree.leaves(compiled(*xs)), ft.tree.leaves(g(*xs)), strict=True):
            assert a.shape == b.shape and a.dtype is b.dtype
            assert numpy.allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=2e-4, equal_nan=True)
