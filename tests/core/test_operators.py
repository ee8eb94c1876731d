"""Python operators: reflected and in-place forms, with numbers, tensors and NumPy; result
dtypes."""

import operator as op

import numpy as np
import pytest

import functorch_like as ft

BINARY = [op.add, op.sub, op.mul, op.truediv, op.floordiv, op.mod, op.pow]
COMPARE = [op.lt, op.le, op.gt, op.ge, op.eq, op.ne]
BITWISE = [op.and_, op.or_, op.xor, op.lshift, op.rshift]
IN_PLACE = [op.iadd, op.isub, op.imul, op.itruediv, op.ifloordiv, op.imod, op.ipow]


def same(result, expected):
    assert isinstance(result, ft.Tensor)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("f", BINARY + COMPARE)
def test_float_operators(f):
    a, b = np.array([1.5, -2.0, 3.0], np.float32), np.array([2.0, 3.0, 0.5], np.float32)
    if f is op.pow:
        a = np.abs(a)
    x, y = ft.tensor(a), ft.tensor(b)
    same(f(x, y), f(a, b))
    same(f(x, 2), f(a, np.float32(2)))
    same(f(2, x), f(np.float32(2), a))
    same(f(x, 1.5), f(a, np.float32(1.5)))
    same(f(1.5, x), f(np.float32(1.5), a))
    same(f(x, b), f(a, b))  # NumPy on either side: a tensor comes out
    same(f(a, y), f(a, b))
    same(f(np.float32(2), y), f(np.float32(2), b))
    same(f(x, np.float32(2)), f(a, np.float32(2)))
    same(f(x[:, None], y), f(a[:, None], b))
    assert f(x, ft.tensor(2.0)).shape == (3,) and f(ft.tensor(2.0), x).shape == (3,)


@pytest.mark.parametrize("f", [*BITWISE, op.floordiv, op.mod])
def test_integer_operators(f):
    a, b = np.array([5, 12, 7]), np.array([1, 2, 3])
    x, y = ft.tensor(a), ft.tensor(b)
    same(f(x, y), f(a, b))
    same(f(x, 2), f(a, 2))
    same(f(20, y), f(20, b))
    same(f(x, b), f(a, b))


def test_signs_of_integer_division():
    a, b = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    same(ft.tensor(a) // ft.tensor(b), a // b)
    same(ft.tensor(a) % ft.tensor(b), a % b)
    same(
        divmod(ft.tensor(a), 2)[1] if hasattr(ft.Tensor, "__divmod__") else ft.tensor(a) % 2, a % 2
    )


def test_unary_operators():
    x = ft.tensor([1.5, -2.0])
    same(-x, [-1.5, 2.0])
    same(+x, [1.5, -2.0])
    same(abs(x), [1.5, 2.0])
    same(~ft.tensor([True, False]), [False, True])
    same(~ft.tensor([0, 5]), [-1, -6])
    same(round(ft.tensor([1.4, 1.6])), [1.0, 2.0])


def test_matmul_operator():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    same(ft.tensor(a) @ ft.tensor(b), a @ b)
    same(ft.tensor(a) @ b, a @ b)
    same(a @ ft.tensor(b), a @ b)
    x = ft.tensor(a)
    x @= ft.eye(3, dtype=ft.float64)
    same(x, a)


@pytest.mark.parametrize("f", IN_PLACE)
def test_in_place(f):
    a = np.array([4.0, 9.0, 2.0])
    for other in (
        2,
        1.5,
        np.array([1.0, 2.0, 3.0]),
        ft.tensor([1.0, 2.0, 3.0], dtype=ft.float64),
        ft.tensor(2),
    ):
        x = ft.tensor(a)
        y, view = x, x[1:]
        where = x.data_ptr()
        x = f(x, other)
        expected = f(a.copy(), other.numpy() if isinstance(other, ft.Tensor) else other)
        assert x is y and x.data_ptr() == where
        same(x, expected)
        same(view, expected[1:])


@pytest.mark.parametrize("f", [op.iand, op.ior, op.ixor, op.ilshift, op.irshift])
def test_in_place_bitwise(f):
    a = np.array([4, 9, 2])
    x = y = ft.tensor(a)
    x = f(x, 1)
    assert x is y
    same(x, f(a.copy(), 1))


def test_in_place_keeps_dtype_and_refuses_to_lose_category():
    x = ft.tensor([1, 2])
    x += 1
    assert x.dtype is ft.int64
    for bad in (1.5, ft.tensor([1.5]), 1j):
        with pytest.raises(ft.DTypeError, match="int64"):
            x += bad
    with pytest.raises(ft.DTypeError):
        x /= 2
    assert x.tolist() == [2, 3]
    y = ft.tensor([1.0], dtype=ft.float16)
    y += ft.tensor([1.0], dtype=ft.float64)
    assert y.dtype is ft.float16 and y.item() == 2
    with pytest.raises(ft.DTypeError):
        y *= 1j


def test_in_place_does_not_broadcast_the_target():
    x = ft.ones(3)
    with pytest.raises(ft.ShapeError):
        x += ft.ones(2, 3)
    with pytest.raises(ft.ShapeError):
        x += ft.ones(4)
    x += ft.ones(1)
    assert x.tolist() == [2, 2, 2]


def test_overlapping_in_place():
    x = ft.arange(6.0)
    x[1:] += x[:-1]  # the right side is read before anything is written
    assert x.tolist() == [0, 1, 3, 5, 7, 9]
    x = ft.arange(4.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2]
    m = ft.arange(4.0).reshape(2, 2)
    m.copy_(m.t())
    assert m.tolist() == [[0, 2], [1, 3]]
    m += m.t()
    assert m.tolist() == [[0, 3], [3, 6]]


def test_big_and_bool_numbers():
    x = ft.tensor([1, 2])
    assert (x + True).tolist() == [2, 3] and (x + True).dtype is ft.int64
    assert (ft.tensor([True]) + True).tolist() == [True]
    assert (ft.tensor([1.0]) * (1 << 62)).item() == float(1 << 62)
    assert (ft.tensor([1], dtype=ft.uint8) + 255).tolist() == [0]  # wraps, as in torch
    with pytest.raises(OverflowError):
        x + (1 << 70)


def test_unknown_operands():
    x = ft.ones(2)
    for bad in ("a", None, object(), {}):
        with pytest.raises(TypeError):
            x + bad
        with pytest.raises(TypeError):
            bad + x
        with pytest.raises(TypeError):
            assert x < bad
    with pytest.raises(ft.ShapeError, match=r"\[2\]"):
        x + ft.ones(3)
    assert (x == "a") is False or not (x == None).any()  # noqa: E711


def test_operands_that_know_better():
    class Other:
        def __radd__(self, x):
            return "mine"

    assert ft.ones(2) + Other() == "mine"


def test_chained_comparison_and_truth():
    x = ft.tensor(2.0)
    assert 1 < x < 3
    with pytest.raises(ValueError, match="one element"):
        bool(ft.ones(2) > 0)


DTYPES = [d.name for d in ft.dtypes.DTYPES]


@pytest.mark.torch
@pytest.mark.parametrize("a", DTYPES)
def test_promotion_table(bridge, a):
    torch = bridge.torch
    for b in DTYPES:
        try:
            expected = str(torch.promote_types(getattr(torch, a), getattr(torch, b)))
        except RuntimeError:
            # torch has no answer for some unsigned pairs; ours is the smallest dtype that fits
            continue
        assert "torch." + str(ft.promote_types(a, b)) == expected, b
        for make_a, make_b in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            x, y = ft.ones(make_a, dtype=a), ft.ones(make_b, dtype=b)
            u, v = (
                torch.ones(make_a, dtype=getattr(torch, a)),
                torch.ones(make_b, dtype=getattr(torch, b)),
            )
            try:
                want = (
                    str(torch.result_type(u, v))
                    .removeprefix("torch.")
                    .replace("complex32", "complex64")
                )
            except RuntimeError:
                continue
            assert str(ft.result_type(x, y)) == want, (b, make_a, make_b)
            assert str((x * y).dtype) == want, (b, make_a, make_b)


@pytest.mark.torch
@pytest.mark.parametrize("a", DTYPES)
def test_python_scalars_are_weak(bridge, a):
    torch = bridge.torch
    for number in (True, 2, 1.5, 1 + 1j):
        for shape in ((2,), ()):
            want = (
                str(torch.result_type(torch.ones(shape, dtype=getattr(torch, a)), number))
                .removeprefix("torch.")
                .replace("complex32", "complex64")
            )
            x = ft.ones(shape, dtype=a)
            assert str((x * number).dtype) == want and str((number * x).dtype) == want, (
                number,
                shape,
            )


@pytest.mark.torch
@pytest.mark.parametrize("a", DTYPES)
def test_division_and_reductions_dtypes(bridge, a):
    torch = bridge.torch
    u, x = torch.ones(2, dtype=getattr(torch, a)), ft.ones(2, dtype=a)

    def same(ours, theirs):
        try:
            want = str(theirs().dtype).removeprefix("torch.").replace("complex32", "complex64")
        except (RuntimeError, TypeError):
            return
        assert str(ours().dtype) == want

    same(lambda: x / x, lambda: u / u)
    same(lambda: x / 2, lambda: u / 2)
    same(lambda: x.sum(), lambda: u.sum())
    same(lambda: x.prod(), lambda: u.prod())
    same(lambda: x.mean(), lambda: u.mean())
    same(lambda: x.cumsum(0), lambda: u.cumsum(0))
    same(lambda: x > 1, lambda: u > 1)
    same(lambda: ft.sqrt(x), lambda: torch.sqrt(u))
    same(lambda: x**2, lambda: u**2)
    same(lambda: ft.where(x > 0, x, 1.5), lambda: torch.where(u > 0, u, 1.5))


def test_promotion_without_torch():
    assert ft.promote_types("int32", "float16") is ft.float16
    assert ft.promote_types(ft.uint8, ft.int8) is ft.int16
    assert ft.promote_types(ft.float16, ft.bfloat16) is ft.float32
    assert ft.result_type(ft.tensor([1]), 1.5) is ft.float32
    assert (
        ft.result_type(ft.tensor([1.0], dtype=ft.float16), ft.tensor(1.0, dtype=ft.float64))
        is ft.float16
    )
    assert ft.can_cast(ft.int64, ft.float16) and not ft.can_cast(ft.float32, ft.int64)


def test_numpy_leaves_to_us():
    out = np.array([1.0, 2.0]) + ft.tensor([1.0, 2.0])
    assert isinstance(out, ft.Tensor)
    out = np.float64(2) * ft.tensor([1.0, 2.0], requires_grad=True)
    assert isinstance(out, ft.Tensor) and out.requires_grad
