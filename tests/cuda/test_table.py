"""Every op of the table on CUDA: values, layouts, dtypes, derivatives and vmap are the CPU's.

The table's own test (tests/ops/test_table.py) says that the CPU's are right.
"""

from __future__ import annotations

import pytest

import functorch_like as ft
from functorch_like.errors import TraceError
from functorch_like.op import TABLE
from functorch_like.testing import assert_close, kinds_of, samples_of, tolerance_of

KINDS = {"bool": ft.bool_, "int": ft.int64, "float": ft.float64, "complex": ft.complex128}
NARROW = {
    "int": (ft.int32, ft.uint8),
    "float": (ft.float32, ft.bfloat16),
    "complex": (ft.complex64,),
}
NAMES = sorted(TABLE)
FIXED = [n for n in NAMES if not TABLE[n].random]
# what these are asked to make is on the CPU, or their results are memory
ELSEWHERE = {"to_device"}
# vectors up to a phase, another one by cuSOLVER: test_libraries.py looks at what they make up
if ft.cuda.is_available() and ft.cuda.libraries()["cusolver"].version:
    ELSEWHERE |= {"linalg_eigh", "linalg_svd"}


def outputs(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def on_cuda(args):
    return [a.cuda() for a in args]


def same(op, got, expected, dtype, factor=10):
    for g, e in zip(outputs(got), outputs(expected), strict=True):
        assert g.is_cuda, f"{op.name}: a result on {g.device}"
        # what draws floats of integer keys is as exact as floats are
        exact = dtype.is_inexact or not e.dtype.is_inexact
        rtol, atol = tolerance_of(op, dtype if exact else e.dtype, factor)
        assert_close(g.cpu(), e, rtol, atol, equal_nan=True)


def check(op, args, params, dtype, factor=10, change=lambda x: x):
    """The same values on both devices, or the same kind of error."""
    try:
        expected = op(*map(change, args), **params)
    except Exception as e:
        with pytest.raises(type(e)):
            op(*map(change, on_cuda(args)), **params)
        return
    same(op, op(*map(change, on_cuda(args)), **params), expected, dtype, factor)


def cases(op, dtype):
    try:
        return samples_of(op, dtype, 0)
    except TypeError:  # samples made by an op that does not take the dtype
        return []


def strided(x):
    """Equal to x, with gaps."""
    if not x.ndim:
        return ft.stack([x, x])[1]
    return ft.stack([x, x], x.ndim).flatten(-2)[..., ::2]


def transposed(x):
    """Equal to x, in column-major order."""
    dims = list(reversed(range(x.ndim)))
    return x.permute(*dims).contiguous().permute(*dims) if x.ndim else x


@pytest.mark.parametrize("name", [n for n in FIXED if n not in ELSEWHERE])
def test_values(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for args, params in cases(op, KINDS[kind]):
            check(op, args, params, KINDS[kind])


@pytest.mark.parametrize("name", [n for n in FIXED if n not in ELSEWHERE])
def test_layouts(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for args, params in cases(op, KINDS[kind]):
            for layout in (strided, transposed):
                check(op, args, params, KINDS[kind], change=layout)


@pytest.mark.parametrize("name", [n for n in FIXED if n not in ELSEWHERE])
def test_narrow_dtypes(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for dtype in NARROW.get(kind, ()):
            for args, params in cases(op, dtype):
                check(op, args, params, dtype, 30)


def restricted(op, args, params):
    """The op as a function of its floating operands, and those operands."""
    at = [i for i, a in enumerate(args) if a.dtype.is_inexact]

    def function(*values):
        call = list(args)
        for i, value in zip(at, values, strict=True):
            call[i] = value
        return tuple(y for y in outputs(op(*call, **params)) if y.dtype.is_inexact)

    return function, [args[i] for i in at]


@pytest.mark.parametrize(
    "name", [n for n in FIXED if TABLE[n].differentiable and n not in ELSEWHERE]
)
def test_derivatives(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        if kind not in ("float", "complex"):
            continue
        for args, params in cases(op, KINDS[kind]):
            results = []
            for move in (list, on_cuda):
                function, values = restricted(op, move(args), params)
                if not values:
                    continue
                out, pull = ft.vjp(function, *values)
                pulled = pull(tuple(y.detach() * 0 + 1 for y in out))
                tangents = tuple(v * 0 + 1 for v in values)
                _, pushed = ft.jvp(function, tuple(values), tangents)
                results.append([*outputs(pulled), *outputs(pushed)])
            if results:
                same(op, results[1], results[0], KINDS[kind], 100)


@pytest.mark.parametrize("name", [n for n in FIXED if n not in ELSEWHERE])
def test_vmap(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for args, params in cases(op, KINDS[kind]):
            if not args:
                continue

            def one(*xs, params=params):
                return op(*xs, **params)

            lanes = [ft.stack([a, a]) for a in args]
            try:
                expected = ft.vmap(one)(*lanes)
            except TraceError:  # its shape depends on values
                continue
            same(op, ft.vmap(one)(*on_cuda(lanes)), expected, KINDS[kind])


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n].random])
def test_random_numbers_are_the_cpus(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for args, params in cases(op, KINDS[kind]):
            if args:
                check(op, args, params, KINDS[kind])
