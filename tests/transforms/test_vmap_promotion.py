"""dtypes in lanes: what has no dims in a lane promotes as a tensor without dims."""

import itertools

import numpy as np
import pytest

import functorch_like as ft

DTYPES = [ft.bool, ft.int32, ft.int64, ft.float32, ft.float64, ft.complex64]
FUNCTIONS = {
    "mul": ft.mul,
    "div": ft.div,
    "pow": ft.pow,
    "maximum": ft.maximum,
    "lt": ft.lt,
    "where": lambda a, b: ft.where(a == b, a, b),
    "addcmul": lambda a, b: ft.addcmul(a, a, b),
    "xlog1py": ft.special.xlog1py,
    "zeta": ft.special.zeta,
    "result_type": lambda a, b: ft.zeros((), dtype=ft.result_type(a, b)),
}


def outcome(function, *args, **options):
    try:
        return function(*args, **options)
    except Exception as error:
        return type(error)


def loop(function, args, mapped):
    lanes = [[a[i] if m else a for a, m in zip(args, mapped, strict=True)] for i in range(3)]
    return ft.stack([function(*lane) for lane in lanes])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lanes_promote_as_a_loop_does(name):
    function = FUNCTIONS[name]
    shapes = list(itertools.product([(), (2,)], repeat=2))
    for (p, q), (s, t) in itertools.product(itertools.product(DTYPES, DTYPES), shapes):
        for mapped in [(True, True), (True, False), (False, True)]:
            a, b = (
                (ft.rand((3, *shape) if m else shape) * 3 + 1).to(dtype)
                for shape, m, dtype in zip((s, t), mapped, (p, q), strict=True)
            )
            expected = outcome(loop, function, (a, b), mapped)
            in_dims = tuple(0 if m else None for m in mapped)
            found = outcome(ft.vmap(function, in_dims), a, b)
            if isinstance(expected, type):
                assert found is expected
            else:
                assert found.dtype is expected.dtype, (p, q, s, t, mapped)
                np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5)


def test_nested_lanes_promote_as_the_innermost():
    x, y = ft.ones(2, 3, 4), ft.ones(2, 3, dtype=ft.float64)
    assert ft.vmap(ft.vmap(ft.mul))(x, y).dtype is ft.float32
    assert ft.vmap(ft.mul)(x, y[:, 0]).dtype is ft.float32
    assert ft.vmap(lambda a: ft.vmap(ft.mul, (None, 0))(a, y[0]))(x[:, 0]).dtype is ft.float32
    assert ft.vmap(lambda a: a * ft.tensor(1.0, dtype=ft.float64))(ft.ones(3)).dtype is ft.float64
