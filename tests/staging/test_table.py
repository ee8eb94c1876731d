"""Every op of the table, compiled: values and gradients are those of eager mode, bit for bit."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.op import TABLE
from functorch_like.testing import assert_close, kinds_of, samples_of

KINDS = {"bool": ft.bool_, "int": ft.int64, "float": ft.float32, "complex": ft.complex64}
FIXED = [
    name
    for name, op in sorted(TABLE.items())
    if not op.random and not getattr(op.samples, "data_dependent", False)
]
DIFFERENTIABLE = [name for name in FIXED if TABLE[name].differentiable]


def outputs(value):
    return list(value) if isinstance(value, tuple) else [value]


def same(actual, expected):
    for a, e in zip(outputs(actual), outputs(expected), strict=True):
        assert a.dtype == e.dtype
        assert a.shape == e.shape
        assert numpy.array_equal(a.numpy(), e.numpy(), equal_nan=a.dtype.is_inexact)


@pytest.mark.parametrize("name", FIXED)
def test_compiled_is_eager(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for args, params in samples_of(op, KINDS[kind], 0):
            same(ft.compile(lambda *a, p=params: op(*a, **p))(*args), op(*args, **params))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_compiled_gradient_is_eager(name):
    op = TABLE[name]
    kinds = [k for k in kinds_of(op) if k in ("float", "complex")]
    for kind in kinds[:1]:
        for args, params in samples_of(op, KINDS[kind], 0):
            chosen = tuple(i for i, a in enumerate(args) if a.dtype.is_inexact)
            if not chosen or not any(y.dtype.is_inexact for y in outputs(op(*args, **params))):
                continue

            def loss(*a, p=params):
                made = [y for y in outputs(op(*a, **p)) if y.dtype.is_inexact]
                return sum((y * y.detach()).sum().real for y in made)

            gradient = ft.grad(loss, argnums=chosen)
            for a, e in zip(ft.compile(gradient)(*args), gradient(*args), strict=True):
                assert_close(a, e, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", FIXED)
def test_exported_is_eager(name, tmp_path):
    op = TABLE[name]
    path = tmp_path / "op.safetensors"
    for kind in kinds_of(op)[-1:]:
        for args, params in samples_of(op, KINDS[kind], 0)[:2]:
            args = tuple(a.contiguous() for a in args)
            ft.export(lambda *a, p=params: op(*a, **p), args, path)
            same(ft.load_program(path)(*args), op(*args, **params))
