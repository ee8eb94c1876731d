"""out=: where torch takes it, by the rules of in-place operations, with signatures that say so."""

from __future__ import annotations

import inspect

import pytest

import functorch_like as ft
from functorch_like import out as out_module
from functorch_like.testing import assert_close

X = ft.tensor([[1.0, 4.0], [9.0, 0.5]])


@pytest.mark.parametrize(
    "call",
    [
        lambda **o: ft.add(X, 1.5, **o),
        lambda **o: ft.add(X, X, alpha=3, **o),
        lambda **o: ft.sub(X, X.t(), **o),
        lambda **o: ft.div(X, 2.0, rounding_mode="floor", **o),
        lambda **o: ft.mul(X, X[0], **o),
        lambda **o: ft.sqrt(X, **o),
        lambda **o: ft.matmul(X, X, **o),
        lambda **o: ft.cat([X, X], 1, **o),
        lambda **o: ft.sum(X, 0, **o),
        lambda **o: ft.sum(X, axis=0, keepdims=True, **o),
        lambda **o: ft.clamp(X, 1, 2, **o),
        lambda **o: ft.where(X > 1, X, 0.0, **o),
        lambda **o: ft.cumsum(X, 1, **o),
        lambda **o: ft.eq(X, X.t(), **o),
        lambda **o: ft.isnan(X, **o),
        lambda **o: ft.full((2, 2), 3.0, **o),
    ],
)
def test_the_result_is_written_into_out(call):
    expected = call()
    for out in (ft.zeros(expected.shape, dtype=expected.dtype), ft.empty(0, dtype=expected.dtype)):
        assert call(out=out) is out
        assert_close(out, expected, 0, 0)
    with pytest.raises(ft.ShapeError, match="expected"):
        call(out=ft.zeros(7, 3, dtype=expected.dtype))


def test_several_results():
    values, indices = ft.zeros(2), ft.zeros(2, dtype=ft.int64)
    found = ft.max(X, 1, out=(values, indices))
    assert found.values is values and indices.tolist() == [1, 0]
    with pytest.raises(TypeError, match=r"^sort: expected out to be 2 tensors"):
        ft.sort(X, out=X)


def test_dtypes():
    wide = ft.zeros(2, 2, dtype=ft.float64)
    ft.add(X, X, out=wide)
    assert_close(wide, (X + X).double())
    with pytest.raises(ft.DTypeError, match="expected"):
        ft.matmul(X, X, out=ft.zeros(2, 2, dtype=ft.int64))
    with pytest.raises(TypeError, match=r"^matmul: expected out to be a tensor"):
        ft.matmul(X, X, out=[1])


def test_memory_is_reused():
    out = ft.zeros(2, 2)
    address = out.data_ptr()
    for call in (ft.exp, lambda x, out: ft.matmul(x, x, out=out)):
        call(X, out=out)
        assert out.data_ptr() == address


def test_gradients_and_transforms_go_through():
    def loss(x):
        out = ft.zeros(2, 2)
        ft.mul(x, x, out=out)
        ft.matmul(out, x, out=out)
        return out.sum()

    def plain(x):
        return ((x * x) @ x).sum()

    assert_close(ft.grad(loss)(X), ft.grad(plain)(X))
    lanes = ft.stack([X, 2 * X])
    assert_close(ft.vmap(ft.grad(loss))(lanes), ft.vmap(ft.grad(plain))(lanes))


def test_signatures_tell():
    for name in out_module.NAMES:
        function = getattr(ft, name, None)
        if function is not None:
            assert "out" in inspect.signature(function).parameters, name
            assert function.__doc__
    assert "out" in inspect.signature(ft.exp).parameters
    assert "out" in inspect.signature(ft.add).parameters
    assert list(inspect.signature(ft.sum).parameters)[:3] == ["input", "dim", "keepdim"]
