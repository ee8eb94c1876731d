"""Sweeps that the reduction or softmax behind them reads tile by tile: which; and bits stay."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy
import pytest

import functorch_like as ft
from functorch_like.profiler import profile
from functorch_like.staging.fuse import Group, fuse
from functorch_like.staging.graph import Equation
from functorch_like.staging.pairs import pair, takes_tiles
from functorch_like.staging.passes import optimize
from functorch_like.staging.stage import stage


def compiled_to(function, *args):
    """Its program and results."""
    compiled = ft.compile(function)
    results = compiled(*args)
    (entries,) = compiled._programs.values()
    return entries[0].program, results


def equal(actual, expected):
    assert actual.shape == expected.shape and actual.dtype is expected.dtype
    assert numpy.array_equal(actual.double().numpy(), expected.double().numpy(), equal_nan=True)


def items_of(function, *args):
    graph = optimize(stage(lambda xs: [function(*xs)], list(args)).graph)
    items = fuse(graph)
    ordered = pair(items)
    assert set(ordered) == set(items)
    return graph, ordered


def check_order(graph, items):
    """Each item stands behind those that make what it reads."""
    known = {*graph.inputs, *graph.outside()}
    for item in items:
        assert all(x in known for x in item.inputs)
        known.update(item.outputs)


def test_readers_move_behind_what_they_read():
    def f(x, y):
        z = (x * y).tanh() + 1
        w = (x - y).sin() * 2
        return (w @ w.T).sum() + z.sum(0) @ w.softmax(-1).sum(0) + z.exp().amax()

    graph, items = items_of(f, ft.ones(8, 8), ft.ones(8, 8))
    check_order(graph, items)
    behind = [
        b
        for a, b in pairwise(items)
        if isinstance(a, Group) and isinstance(b, Equation) and b.inputs[0] in a.outputs
    ]
    assert [takes_tiles(e) for e in behind].count(True) >= 2


SHAPES = [(300_000,), (300, 1000), (5, 7, 9), (4, 20_000), (40_000, 10), (64, 4100), (3, 270_010)]


@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.bfloat16, ft.int32], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_keep_every_bit(shape, dtype):
    make = (lambda *s: ft.randint(-9, 9, s)) if dtype is ft.int32 else ft.randn
    x, y, row = make(*shape).to(dtype), make(*shape).to(dtype), make(shape[-1]).to(dtype)
    for name in ("sum", "amax") if dtype is ft.int32 else ("sum", "mean", "amax"):
        for dim in (None, -1, 0, tuple(range(1, len(shape)))):

            def chain(x, y, row, name=name, dim=dim):
                z = (x * y + row).abs()
                return getattr(z, name)(dim) if dim is not None else getattr(z, name)()

            program, result = compiled_to(chain, x, y, row)
            assert program.pairs() == 1
            equal(result, chain(x, y, row))


@pytest.mark.parametrize("shape", [(64, 64), (300, 1000), (7, 40_000), (2000, 5), (3, 4, 70_000)])
@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.float16], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_keeps_every_bit(name, dtype, shape):
    x = ft.randn(*shape).to(dtype)
    mask = ft.randn(*shape[-2:]) > 0.5

    def f(x, dim=-1):
        return getattr((x * 0.125).masked_fill(mask, -ft.inf), name)(dim)

    program, result = compiled_to(f, x)
    assert program.pairs() == 1
    equal(result, f(x))
    columns: Any = ft.compile(lambda x: f(x, 0))
    equal(columns(x), f(x, 0))  # columns are not read as they are made


def test_what_others_read_is_kept():
    x = ft.randn(500, 700)

    def f(x):
        z = (x * 2).sin()
        return z, z.sum(), z.softmax(-1), z.amax(0)

    program, results = compiled_to(f, x)
    assert program.pairs() == 1
    for actual, expected in zip(results, f(x), strict=True):
        equal(actual, expected)


def test_numbers_of_operands_that_broadcast():
    column, row = ft.randn(600, 1), ft.randn(800)
    f = lambda a, b: (a * b + 1).tanh().sum(-1)  # noqa: E731
    equal(ft.compile(f)(column, row), f(column, row))
    turned = ft.randn(800, 600).T
    g = lambda a: (a * a + 1).tanh().sum()  # noqa: E731
    equal(ft.compile(g)(turned), g(turned))
    empty = ft.zeros(0, 4)
    equal(ft.compile(g)(empty), g(empty))


def test_nothing_of_the_size_of_the_operands_is_made():
    x, y = ft.randn(1 << 20), ft.randn(1 << 20)
    f = ft.compile(lambda x, y: ((x - y) * (x - y)).mean())
    f(x, y)
    before = ft.memory_allocated()
    ft.reset_peak_memory()
    f(x, y)
    assert ft.max_memory_allocated() - before < 1 << 20


def test_gradients_and_the_same_result_for_any_number_of_threads():
    x = ft.randn(700, 900)

    def loss(x):
        return ((x * 3).sin().softmax(-1) * x).square().mean()

    gradient: Any = ft.grad(loss)
    f: Any = ft.compile(gradient)
    threads, results = ft.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            ft.set_num_threads(n)
            results.append(f(x))
    finally:
        ft.set_num_threads(threads)
    for r in results:
        equal(r, gradient(x))


def test_profiles_of_pairs():
    x = ft.randn(1000, 400)
    f = ft.compile(lambda x: (x * 2 + 1).tanh().sum())
    f(x)
    with profile() as prof:
        f(x)
    assert [e.name for e in prof.events() if e.kind == "instruction"] == ["fused", "sum"]


def test_pairs_of_exported_programs(tmp_path):
    x = ft.randn(300, 400)
    f: Any = lambda x: ((x * 2 + 1).tanh().mean(-1), (x - 1).exp().softmax(-1))  # noqa: E731
    ft.export(f, (x,), tmp_path / "program.flp")
    loaded: Any = ft.load_program(tmp_path / "program.flp")
    for actual, expected in zip(loaded(x), f(x), strict=True):
        equal(actual, expected)


def test_log(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_COMPILE_LOG", str(tmp_path / "log"))
    ft.compile(lambda x: (x * 2 + 1).sum())(ft.ones(3))
    assert "pair: 1 reductions and softmaxes" in (tmp_path / "log").read_text()
