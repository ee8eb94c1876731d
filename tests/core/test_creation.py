"""Making tensors: values, shapes, dtypes, and what is refused."""

import math

import numpy as np
import pytest

import functorch_like as ft


def check(t, values, dtype=None):
    assert t.tolist() == values
    if dtype is not None:
        assert t.dtype is ft.dtypes.as_dtype(dtype)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (3, "int64"),
        (3.5, "float32"),
        (True, "bool"),
        (1 + 2j, "complex64"),
        ([], "float32"),
        ([1, 2], "int64"),
        ([1, 2.5], "float32"),
        ([True, False], "bool"),
        ([True, 2], "int64"),
        ([1, 2j], "complex64"),
        ([[1, 2], [3, 4]], "int64"),
        ([[[1.0]], [[2.0]]], "float32"),
        ((1.0, 2.0), "float32"),
        ([(1, 2), (3, 4)], "int64"),
        (range(3), "int64"),
        ([[], []], "float32"),
        (1 << 62, "int64"),
    ],
)
def test_natural_dtype(data, dtype):
    t = ft.tensor(data)
    assert str(t.dtype) == dtype
    expected = np.array(list(data) if isinstance(data, range) else data)
    assert t.shape == expected.shape
    np.testing.assert_array_equal(t.numpy(), expected.astype(dtype))


@pytest.mark.parametrize("dtype", [d.name for d in ft.dtypes.DTYPES])
def test_given_dtype(dtype):
    t = ft.tensor([[0, 1], [2, 3]], dtype=getattr(ft, dtype, None) or ft.bool_)
    assert str(t.dtype) == dtype
    assert t.tolist() == ([[False, True], [True, True]] if dtype == "bool" else [[0, 1], [2, 3]])
    assert t.itemsize == t.dtype.itemsize and t.nbytes == 4 * t.itemsize


def test_floats_truncate_to_integers_and_bools():
    check(ft.tensor([1.7, -1.7], dtype=ft.int64), [1, -1])
    check(ft.tensor([0.5, 0.0], dtype=ft.bool_), [True, False])
    check(ft.tensor([1.9], dtype=ft.int8), [1], "int8")


def test_extreme_integers_keep_every_bit():
    check(ft.tensor([-(1 << 63), (1 << 63) - 1]), [-(1 << 63), (1 << 63) - 1])
    check(ft.tensor([(1 << 64) - 1], dtype=ft.uint64), [(1 << 64) - 1])
    assert ft.tensor((1 << 53) + 1).item() == (1 << 53) + 1


def test_special_floats():
    t = ft.tensor([math.inf, -math.inf, math.nan, -0.0])
    values = t.tolist()
    assert (
        values[:2] == [math.inf, -math.inf]
        and math.isnan(values[2])
        and math.copysign(1, values[3]) == -1
    )


def test_double_precision_is_kept():
    assert ft.tensor(0.1, dtype=ft.float64).item() == 0.1
    assert ft.tensor([0.1], dtype="float64").tolist() == [0.1]
    assert ft.tensor(0.1 + 0.2j, dtype=ft.complex128).item() == 0.1 + 0.2j


def test_numpy_scalars_and_arrays():
    assert ft.tensor(np.float64(0.1)).dtype is ft.float64
    assert ft.tensor(np.int32(3)).dtype is ft.int32
    assert ft.tensor(np.bool_(True)).item() is True
    a = np.arange(6, dtype=np.int16).reshape(2, 3)
    t = ft.tensor(a)
    assert t.dtype is ft.int16 and t.shape == (2, 3)
    a[0, 0] = 9
    assert t[0, 0].item() == 0  # a copy
    check(ft.tensor(a[:, ::-1]), a[:, ::-1].tolist())
    check(ft.tensor(a.T), a.T.tolist())
    check(ft.tensor(a, dtype=ft.float32), a.astype(float).tolist(), "float32")
    assert ft.tensor(np.zeros((0, 3))).shape == (0, 3)
    check(ft.tensor(np.array([1, 2], dtype=">i4")), [1, 2], "int32")
    assert ft.tensor([np.float32(1.5), np.float32(2.5)]).dtype is ft.float32
    check(ft.tensor([np.array([1, 2]), np.array([3, 4])]), [[1, 2], [3, 4]])


def test_lists_of_tensors():
    check(ft.tensor([ft.tensor(1.0), ft.tensor(2.0)]), [1.0, 2.0], "float32")
    check(ft.tensor([[ft.tensor(1), 2], [3, 4]]), [[1, 2], [3, 4]], "int64")


def test_tensor_of_tensor_copies():
    x = ft.ones(2)
    y = ft.tensor(x)
    y[0] = 5
    assert x.tolist() == [1, 1]


def test_as_tensor_shares():
    x = ft.ones(2)
    assert ft.as_tensor(x) is x
    a = np.zeros(2)
    ft.as_tensor(a)[0] = 1
    assert a[0] == 1
    assert ft.as_tensor([1, 2]).dtype is ft.int64
    assert ft.as_tensor(a, dtype=ft.float32).dtype is ft.float32


def test_requires_grad_at_creation():
    assert ft.tensor([1.0], requires_grad=True).requires_grad
    for make in (ft.zeros, ft.ones, ft.empty, ft.rand, ft.randn):
        x = make(2, requires_grad=True)
        assert x.requires_grad and x.is_leaf
    with pytest.raises(ft.DTypeError, match="floating"):
        ft.tensor([1], requires_grad=True)


@pytest.mark.parametrize("make", [ft.zeros, ft.ones, ft.empty, ft.rand, ft.randn])
def test_sizes_in_every_form(make):
    for args in [(2, 3), ((2, 3),), ([2, 3],), (ft.Size([2, 3]),), (np.int64(2), np.int64(3))]:
        assert make(*args).shape == (2, 3)
    assert make(()).shape == () and make(0).shape == (0,) and make(2, 0).shape == (2, 0)
    assert make(2, dtype=ft.float64).dtype is ft.float64
    with pytest.raises(TypeError, match="integers"):
        make(1.5)
    with pytest.raises((ValueError, RuntimeError)):
        make(-1)


def test_filled():
    check(ft.zeros(2), [0.0, 0.0], "float32")
    check(ft.ones(2, dtype=ft.int32), [1, 1], "int32")
    check(ft.full((2,), 7), [7, 7], "int64")
    check(ft.full((2,), 1.5), [1.5, 1.5], "float32")
    check(ft.full((), True), True, "bool")
    check(ft.full((1,), 1j), [1j], "complex64")
    check(ft.full((2,), 3, dtype=ft.float64), [3.0, 3.0], "float64")
    check(ft.full((2,), ft.tensor(4.0)), [4.0, 4.0])
    check(ft.full((1,), (1 << 64) - 1, dtype=ft.uint64), [(1 << 64) - 1])


def test_like_and_new():
    x = ft.zeros(2, 3, dtype=ft.float64)
    for make in (ft.zeros_like, ft.ones_like, ft.empty_like, ft.rand_like, ft.randn_like):
        y = make(x)
        assert y.shape == (2, 3) and y.dtype is ft.float64
        assert make(x, dtype=ft.float32).dtype is ft.float32
    check(ft.full_like(x, 2), [[2.0] * 3] * 2, "float64")
    check(x.new_zeros(2), [0.0, 0.0], "float64")
    check(x.new_ones((1, 2)), [[1.0, 1.0]], "float64")
    check(x.new_full((2,), 3), [3.0, 3.0], "float64")
    check(x.new_tensor([1, 2]), [1.0, 2.0], "float64")
    assert x.new_empty(3, dtype=ft.int8).dtype is ft.int8


def test_arange():
    check(ft.arange(3), [0, 1, 2], "int64")
    check(ft.arange(1, 4), [1, 2, 3])
    check(ft.arange(5, 0, -2), [5, 3, 1])
    check(ft.arange(0), [])
    check(ft.arange(1, 2, 0.5), [1.0, 1.5], "float32")
    check(ft.arange(3.0), [0.0, 1.0, 2.0], "float32")
    check(ft.arange(3, dtype=ft.float64), [0.0, 1.0, 2.0], "float64")
    check(ft.arange(ft.tensor(3)), [0, 1, 2])
    assert ft.arange(0, 1, 0.1).shape == (10,)
    check(ft.arange(1 << 53, (1 << 53) + 2), [1 << 53, (1 << 53) + 1])
    for bad in [(0, 3, 0), (0, 3, -1), (3, 0, 1)]:
        with pytest.raises(ValueError, match="arange"):
            ft.arange(*bad)


def test_linspace_logspace_eye():
    check(ft.linspace(0, 1, 5), [0.0, 0.25, 0.5, 0.75, 1.0])
    check(ft.linspace(3, 4, 1), [3.0])
    check(ft.linspace(0, 1, 0), [])
    assert ft.linspace(0, 1, 7, dtype=ft.float64)[-1].item() == 1.0
    np.testing.assert_allclose(ft.logspace(0, 2, 3).tolist(), [1, 10, 100], rtol=1e-6)
    np.testing.assert_allclose(ft.logspace(0, 3, 4, base=2).tolist(), [1, 2, 4, 8], rtol=1e-6)
    with pytest.raises(ValueError, match="steps"):
        ft.linspace(0, 1, -1)
    check(ft.eye(2), [[1.0, 0.0], [0.0, 1.0]])
    check(ft.eye(2, 3, dtype=ft.int64), [[1, 0, 0], [0, 1, 0]], "int64")
    assert ft.eye(0).shape == (0, 0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([[1, 2], [3]], ft.ShapeError),
        ([1, [2]], ft.ShapeError),
        ([[1], 2], ft.ShapeError),
        ([[1, 2], [3, 4, 5]], ft.ShapeError),
        ("abc", ft.DTypeError),
        (["a"], ft.DTypeError),
        ([None], ft.DTypeError),
        (None, ft.DTypeError),
        ({"a": 1}, ft.DTypeError),
        ([object()], ft.DTypeError),
        (1 << 64, OverflowError),
    ],
)
def test_bad_data(data, error):
    with pytest.raises(error):
        ft.tensor(data)


def test_bad_dtype_and_device():
    with pytest.raises(ft.DTypeError, match="expected one of"):
        ft.zeros(2, dtype="float99")
    with pytest.raises(ft.DTypeError):
        ft.zeros(2, dtype=object)
    with pytest.raises(ft.DeviceError, match="cpu, cuda"):
        ft.zeros(2, device="tpu")
    with pytest.raises(ft.DTypeError, match="numbers"):
        ft.tensor(np.array(["a", "b"]))


def test_default_dtype():
    ft.set_default_dtype(ft.float64)
    assert ft.tensor(1.0).dtype is ft.float64 and ft.zeros(1).dtype is ft.float64
    assert ft.tensor(1j).dtype is ft.complex128 and (ft.tensor([1]) / 2).dtype is ft.float64
    with pytest.raises(ft.DTypeError):
        ft.set_default_dtype(ft.int64)


def test_constructor_of_the_class():
    assert ft.Tensor(2, 3).shape == (2, 3)
    check(ft.Tensor([1.0, 2.0]), [1.0, 2.0])


def test_meta():
    x = ft.empty(3, 4, device="meta")
    assert x.is_meta and x.shape == (3, 4) and str(x.device) == "meta"
    y = (x @ ft.ones(4, 5, device="meta")).sum(0)
    assert y.shape == (5,) and y.is_meta
    assert (x + 1).dtype is ft.float32 and (x > 0).dtype is ft.bool_
    big = ft.empty(1 << 40, 1 << 10, device="meta")  # no memory
    assert big.t().shape == (1 << 10, 1 << 40)
    with pytest.raises((RuntimeError, ValueError)):
        x.sum().item()
    with pytest.raises(ft.DeviceError):
        x.numpy()
    with pytest.raises(ft.DeviceError):
        x + ft.ones(3, 4)


def test_finfo_iinfo():
    for name in ("float16", "float32", "float64"):
        ours, theirs = ft.finfo(name), np.finfo(name)
        assert (ours.eps, ours.max, ours.tiny, ours.bits) == (
            theirs.eps,
            theirs.max,
            theirs.tiny,
            theirs.bits,
        )
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        assert (ft.iinfo(name).min, ft.iinfo(name).max) == (np.iinfo(name).min, np.iinfo(name).max)
    with pytest.raises(ft.DTypeError):
        ft.iinfo(ft.float32)
    with pytest.raises(ft.DTypeError):
        ft.finfo(ft.int32)


def test_small_draws_take_as_many_counters_as_large_ones():
    for n in (5, 2048, 2049):
        a, b = ft.Generator().manual_seed(3), ft.Generator().manual_seed(3)
        ft.randn(n, generator=a)
        b.take(1, ft.float32.code, n)
        assert a.get_state().tolist() == b.get_state().tolist()


def test_small_and_large_tensors_of_a_shape_agree():
    for shape in ((3,), (2, 0), (), (60, 50)):
        for make, like, value in ((ft.zeros, ft.zeros_like, 0), (ft.ones, ft.ones_like, 1)):
            x = make(shape, dtype=ft.int32)
            y = like(x, dtype=ft.float64)
            assert x.shape == y.shape == ft.empty(shape).shape == shape
            assert x.dtype is like(x).dtype is ft.int32 and y.dtype is ft.float64
            assert (x == value).all() and (y == value).all()
    with pytest.raises(ft.ShapeError, match="at least 0"):
        ft.zeros(-1)


def test_numbers_that_a_dtype_cannot_hold():
    for numbers, dtype in (([300], ft.uint8), ([-129], ft.int8), (2**31, ft.int32)):
        with pytest.raises(ValueError, match=f"tensor: expected integers .* {dtype}"):
            ft.tensor(numbers, dtype=dtype)
    with pytest.raises(ft.DTypeError, match="real numbers"):
        ft.tensor([1 + 1j], dtype=ft.float32)
    assert ft.tensor([-1], dtype=ft.uint8).item() == 255  # negative ones wrap around, as in torch
    assert ft.tensor([1 + 1j], dtype=ft.bool).item()


def test_generators_are_cloned_and_moved():
    a = ft.Generator().manual_seed(3)
    ft.rand(5, generator=a)
    b, at = a.clone_state(), a.get_offset()
    first = ft.rand(4, generator=a).tolist()
    assert ft.rand(4, generator=b).tolist() == first and b.get_offset() == a.get_offset() > at
    a.set_offset(at)
    assert ft.rand(4, generator=a).tolist() == first


def test_sizes_by_keyword():
    for make in (ft.zeros, ft.ones, ft.empty, ft.rand, ft.randn):
        assert make(size=(2, 3)).shape == (2, 3)
    for drawn in (ft.randint(3, size=(9,)), ft.randint(high=3, size=(9,)), ft.randint(0, 3, (9,))):
        assert drawn.shape == (9,) and drawn.max() < 3
    assert ft.pow(ft.tensor(3.0), exponent=2) == ft.tensor(3.0).pow(exponent=2) == 9
    assert ft.bernoulli(ft.zeros(4), p=1.0).tolist() == [1] * 4
    with pytest.raises(TypeError, match="randint: expected a size, got none"):
        ft.randint(3)
