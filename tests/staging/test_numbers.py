"""Python floats as arguments of compiled functions: inputs, with the meaning of numbers."""

from __future__ import annotations

import copy
import math
import pickle

import numpy
import pytest

import functorch_like as ft
import nn
from functorch_like.staging.numbers import same

VALUES = [0.1, -2.5, 3.0, 0.0, -0.0, 1e-300, 1e300, math.inf, math.nan]


def equal(actual, expected):
    assert actual.dtype is expected.dtype
    assert numpy.array_equal(actual.numpy(), expected.numpy(), equal_nan=actual.dtype.is_inexact)


def programs(f):
    return len(f.explain().splitlines())


@pytest.mark.parametrize("dtype", [ft.float16, ft.float32, ft.float64, ft.int32, ft.complex64])
def test_one_program_for_all_values(dtype):
    def f(x, s):
        return x * s + (1 - s), s / x.abs(), x + s

    x = ft.tensor([1.0, 2.0, 3.0]).to(dtype)
    compiled = ft.compile(f)
    for s in VALUES:
        for actual, expected in zip(compiled(x, s), f(x, s), strict=True):
            equal(actual, expected)
    assert programs(compiled) == 1


def test_arithmetic_is_pythons():
    def f(x, a, b):
        return x * ((a * 3 + b) / 7 - abs(-a) ** 2 // 0.3 % b + 1 / (b + 1))

    x = ft.ones(2, dtype=ft.float64)
    compiled = ft.compile(f)
    for a, b in [(0.1, 0.7), (1.3, 2.0), (-3.1, 0.9)]:
        equal(compiled(x, a, b), f(x, a, b))
    assert programs(compiled) == 1
    with pytest.raises(ZeroDivisionError):
        compiled(x, 0.1, -1.0)


def test_zero_dimensional_tensors_are_promoted_as_by_numbers():
    def f(x, s):
        return x * s, ft.where(x > 0, x, s), x.clamp(s), x**s, ft.maximum(x, x * s)

    for dtype in (ft.float32, ft.float64):
        x = ft.tensor(2.0).to(dtype)
        compiled = ft.compile(f)
        for s in (0.5, 3.0):
            for actual, expected in zip(compiled(x, s), f(x, s), strict=True):
                equal(actual, expected)


def test_what_python_reads_is_guarded():
    def f(x, s):
        if s > 1:
            return x * s
        return x - s

    compiled = ft.compile(f)
    x = ft.ones(2)
    for s in (0.5, 2.0, 0.25, 3.0, 1.0, 17.0):
        equal(compiled(x, s), f(x, s))
    assert programs(compiled) == 2

    def g(x, s):
        return x * math.sqrt(s) + int(s) + round(s, 1) + s.is_integer() + hash(s) % 7

    compiled = ft.compile(g)
    for s in (4.0, 2.25, 4.0):
        equal(compiled(x, s), g(x, s))
    assert programs(compiled) == 2


def test_more_ways_to_read():
    readers = [
        bool, float, int, str, repr, lambda s: f"{s:.2f}", numpy.float64, numpy.asarray,
        copy.copy, lambda s: pickle.loads(pickle.dumps(s)), lambda s: {s: 1}[s], math.floor,
        lambda s: [1.0, 2.0].index(s), lambda s: ft.tensor([s, s]), lambda s: s.as_integer_ratio(),
    ]  # fmt: skip
    for read in readers:
        seen = []

        def f(x, s, read=read, seen=seen):
            seen.append(read(s))
            return x

        compiled = ft.compile(f)
        for s in (1.0, 2.0, 1.0):
            compiled(ft.ones(2), s)
        assert len(seen) == (1 if read is bool else 2), read
        assert str(seen[0]) == str(read(1.0)) and str(seen[-1]) == str(read(2.0))


def test_it_passes_for_a_float():
    def f(x, s):
        assert isinstance(s, float) and isinstance(s, (int, float)) and not isinstance(s, int)
        return x * s

    compiled = ft.compile(f)
    equal(compiled(ft.ones(2), 2.0), ft.full((2,), 2.0))
    equal(compiled(ft.ones(2), 3.0), ft.full((2,), 3.0))
    assert programs(compiled) == 1


def test_functions_that_want_real_floats_get_them():
    def f(x, s):
        if type(s) is not float:
            raise TypeError("a float")
        return x * s

    compiled = ft.compile(f)
    for s in (2.0, 3.0):
        equal(compiled(ft.ones(2), s), ft.full((2,), s))
    assert programs(compiled) == 2


def test_parameters_of_operations():
    def f(x, p):
        return nn.functional.leaky_relu(x, p), nn.functional.dropout(x, p), ft.full((2,), p)

    compiled = ft.compile(f)
    x = ft.randn(50)
    for p in (0.1, 0.9):
        ft.manual_seed(0)
        out = compiled(x, p)
        ft.manual_seed(0)
        for actual, expected in zip(out, f(x, p), strict=True):
            equal(actual, expected)


def test_gradients_with_floats():
    def f(x, s):
        return (x * s).sin().sum() * s

    compiled = ft.compile(f)
    for s in (0.5, 2.0):
        x = ft.randn(3, requires_grad=True)
        compiled(x, s).backward()
        got, x.grad = x.grad, None
        f(x, s).backward()
        assert numpy.allclose(got.numpy(), x.grad.numpy(), rtol=1e-5)
        (g,) = ft.autograd.grad(compiled(x, s), [x], create_graph=True)
        (e,) = ft.autograd.grad(f(x, s), [x], create_graph=True)
        (g2,) = ft.autograd.grad(g.sum(), [x])
        (e2,) = ft.autograd.grad(e.sum(), [x])
        assert numpy.allclose(g2.numpy(), e2.numpy(), rtol=1e-5)
    assert programs(compiled) == 1


def test_keywords_trees_and_transforms_inside():
    def f(x, options, *, scale):
        return ft.vmap(ft.grad(lambda x: (x * options["a"]).sin() * scale))(x)

    compiled = ft.compile(f)
    x = ft.randn(4)
    for a, scale in [(1.0, 2.0), (3.0, 0.5)]:
        equal(compiled(x, {"a": a}, scale=scale), f(x, {"a": a}, scale=scale))
    assert programs(compiled) == 1


def test_ints_and_static_floats_are_part_of_the_program():
    compiled = ft.compile(lambda x, n: x * n)
    for n in (1, 2, 2.0, 3.0, True):
        equal(compiled(ft.ones(2), n), ft.ones(2) * n)
    assert programs(compiled) == 4
    compiled = ft.compile(lambda x, n: x * n, static_argnums=1)
    for n in (1.5, 2.5):
        compiled(ft.ones(2), n)
    assert programs(compiled) == 2


def test_they_outlive_staging():
    kept = []

    def f(x, s):
        kept.append(s * 2)
        return x * s

    ft.compile(f)(ft.ones(2), 1.5)
    assert kept[0] + 1 == 4.0 and float(kept[0]) == 3.0
    equal(ft.ones(2) * kept[0], ft.full((2,), 3.0))


def test_same():
    assert same(1.0, 1.0) and same(math.nan, math.nan) and not same(0.0, -0.0)
    assert not same(1.0, 2.0) and same("a", "a")
