"""The array API namespace: its names, where its rules differ from torch's, other libraries' use.

The standard's own suite (`make array-api-test`) checks the rest.
"""

from __future__ import annotations

import copy
import importlib.util
import operator
import os
import pickle
import subprocess
import sys

import pytest

import functorch_like as ft
from functorch_like import array_api as xp
from functorch_like.array_api import Array

NAMES = """
__array_api_version__ __array_namespace_info__ e inf nan newaxis pi abs acos acosh add all any
arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh bitwise_and
bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bool
broadcast_arrays broadcast_shapes broadcast_to can_cast ceil clip complex128 complex64 concat
conj copysign cos cosh count_nonzero cumulative_prod cumulative_sum diff divide empty empty_like
equal exp expand_dims expm1 eye finfo flip float32 float64 floor floor_divide from_dlpack full
full_like greater greater_equal hypot iinfo imag int16 int32 int64 int8 isdtype isfinite isin
isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and logical_not
logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis
multiply negative nextafter nonzero not_equal ones ones_like permute_dims positive pow prod real
reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit sin sinh
sort sqrt square squeeze stack std subtract sum take take_along_axis tan tanh tensordot tile
tril triu trunc uint16 uint32 uint64 uint8 unique_all unique_counts unique_inverse unique_values
unstack var vecdot where zeros zeros_like
""".split()


def test_the_namespace_is_complete():
    x = ft.ones(2)
    assert x.__array_namespace__() is xp
    assert x.__array_namespace__(api_version="2023.12") is xp
    assert not [n for n in NAMES if not hasattr(xp, n)]
    with pytest.raises(ValueError, match=r"^__array_namespace__: expected"):
        x.__array_namespace__(api_version="1999.01")


@pytest.mark.parametrize("name", ["linalg", "fft"])
def test_extensions_come_with_the_package(name):
    here = importlib.util.find_spec(f"functorch_like.{name}") is not None
    assert hasattr(xp, name) is here


def test_tensors_without_dims_promote_in_full():
    x, y = xp.asarray(1, dtype=xp.uint16), xp.asarray([1], dtype=xp.uint8)
    assert xp.add(x, y).dtype is xp.uint16
    assert xp.where(y > 0, x, y).dtype is xp.uint16
    assert xp.result_type(x, y) is xp.uint16


def test_tangents_at_infinity_are_zeros_of_the_other_parts_sign():
    x = xp.asarray([complex(xp.inf, 2.0), complex(-xp.inf, 2.0), complex(xp.inf, -2.0)])
    assert xp.signbit(xp.imag(xp.tanh(x))).tolist() == [False, False, True]
    turned = xp.asarray([complex(2.0, xp.inf), complex(-2.0, xp.inf), 0.5 + 0.25j])
    assert xp.signbit(xp.real(xp.tan(turned))).tolist() == [False, True, False]
    assert ft.allclose(xp.tan(turned)[2], ft.tan(turned[2]))


def test_expm1_of_a_negative_0_is_0():
    y = xp.expm1(xp.asarray([complex(-0.0, 0.0), complex(-0.0, -0.0)]))
    assert xp.signbit(xp.real(y)).tolist() == [False, False]
    assert xp.signbit(xp.imag(y)).tolist() == [False, True]
    assert xp.signbit(xp.expm1(xp.asarray(-0.0)))


def test_a_number_takes_the_dtype_of_what_is_searched():
    x = xp.asarray([1, 5], dtype=xp.uint64)
    assert xp.searchsorted(x, 4).tolist() == 1


def test_sums_of_small_integers_are_wide():
    assert xp.sum(xp.asarray([255, 1], dtype=xp.uint8)).dtype is xp.uint64
    assert xp.cumulative_prod(xp.asarray([3, 3], dtype=xp.int8)).dtype is xp.int64
    assert xp.sum(xp.ones((2, 3)), axis=()).shape == (2, 3)


def test_division_of_infinities_is_the_standards():
    inf = ft.tensor([xp.inf, -xp.inf])
    assert xp.floor_divide(inf, 2.0).tolist() == [xp.inf, -xp.inf]
    assert xp.signbit(xp.remainder(ft.tensor([-0.0, 0.0]), ft.tensor([2.0, -2.0]))).tolist() == [
        False,
        True,
    ]


def test_what_the_namespace_gives_is_an_array():
    made = [xp.ones(2), xp.add(ft.ones(2), 1), *xp.broadcast_arrays(ft.ones(1), ft.ones(2))]
    made += [*xp.unique_all(ft.ones(2)), *xp.linalg.qr(ft.ones(2, 2)), xp.fft.fft(ft.ones(2))]
    assert all(type(x) is Array for x in made)
    assert xp.broadcast_shapes((2, 1), (3,)) == (2, 3)


def test_tensors_given_to_the_namespace_stay_tensors():
    x, y = ft.ones(2), ft.ones(2)
    assert xp.asarray(x).data_ptr() == x.data_ptr()
    xp.broadcast_arrays(x, y), xp.positive(x), xp.floor(x.long())
    assert type(x) is type(y) is ft.Tensor


OPERATORS = "add sub mul truediv floordiv mod pow".split()


@pytest.mark.parametrize("name", OPERATORS)
def test_arrays_decide_what_an_operator_means(name):
    forward, backward = f"__{name}__", f"__r{name}__"
    python, plain = getattr(operator, name), ft.tensor([4, 9], dtype=ft.uint8)
    for x, y in ((Array(3), plain), (plain, Array(3)), (Array(plain), ft.tensor(3)), (Array(2), 3)):
        got = python(x, y)
        assert type(got) is Array
        if name != "truediv":
            assert got.dtype is ft.int64
    assert getattr(Array(2.0), forward)(None) is getattr(Array(2.0), backward)("") is NotImplemented
    wanted = python(5.0, 2.0)
    assert python(Array(5.0), 2.0).item() == python(5.0, Array(2.0)).item() == wanted
    assert type(python(plain, 3)) is ft.Tensor


def test_operators_of_arrays_at_infinity():
    x = Array([xp.inf, -xp.inf, 4.0])
    assert (x // 2.0).tolist() == [xp.inf, -xp.inf, 2.0]
    assert (5.0 // -x).tolist()[:2] == [-1.0 * 0, 0.0]
    memory = x.data_ptr()
    x //= 2.0
    assert type(x) is Array and x.data_ptr() == memory and x[0].item() == xp.inf
    zero = Array([-0.0])
    zero %= 2.0
    assert not xp.signbit(zero)
    with pytest.raises(ft.DTypeError, match=r"^__ifloordiv__: expected"):
        y = Array([1, 2])
        y //= 0.5


def test_an_array_is_a_tensor():
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert isinstance(x, ft.Tensor) and x.__array_namespace__() is xp
    parts = [x[0], x[:, 1], x[x > 1], x.T, x.mT, -x, +x, abs(x), ~(x > 1), x @ x, *x]
    parts += [x.to_device("cpu"), copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))]
    assert all(type(p) is Array for p in parts)
    assert type(x.sum()) is type(ft.sin(x)) is ft.Tensor
    assert x.size == 4 and x.size(0) == 2 and x.size() == (2, 2)
    assert (x == None) is False and (x != "") is True and len({x, x}) == 1  # noqa: E711


def test_conversion_shares_memory_and_the_graph():
    w = ft.tensor([1.0, 2.0], requires_grad=True)
    x = Array(w)
    (x * x).as_subclass(ft.Tensor).sum().backward()
    assert type(w) is ft.Tensor and w.grad.tolist() == [2.0, 4.0]
    base = ft.zeros(2)
    view = base.as_subclass(Array)
    view[0] = 1.0
    base[1] = 2.0
    assert view.tolist() == base.tolist() == [1.0, 2.0]
    assert view.as_subclass(ft.Tensor).data_ptr() == base.data_ptr()


def test_transforms_take_arrays():
    x, t = xp.asarray([1.0, 2.0]), ft.tensor([1.0, 2.0])

    def f(v):
        return xp.sum(xp.sin(v) * xp.asarray(2.0) ** v)

    want = ft.grad(f)(t)
    for got in (
        ft.grad(f)(x),
        ft.vmap(ft.grad(f))(x),
        ft.compile(ft.grad(f))(x),
        ft.grad(lambda v: f(Array(v)))(x),
        ft.jacfwd(f)(x),
    ):
        assert ft.allclose(got, want)
    assert ft.allclose(ft.jvp(f, (x,), (t,))[1], (want * t).sum())
    assert ft.hessian(f)(x).shape == (2, 2)


def test_unique_keeps_every_nan():
    found = xp.unique_all(xp.asarray([2.0, xp.nan, 1.0, 2.0, xp.nan]))
    assert found.values[:2].tolist() == [1.0, 2.0] and found.values.shape == (4,)
    assert found.indices.tolist()[:2] == [2, 0]
    assert found.counts.tolist() == [1, 2, 1, 1]
    assert found.inverse_indices.tolist()[:1] == [1]


def test_dtypes():
    assert xp.isdtype(xp.uint8, "unsigned integer") and not xp.isdtype(xp.bool, "integral")
    assert xp.can_cast(xp.int8, xp.int16) and not xp.can_cast(xp.float64, xp.float32)
    info = xp.__array_namespace_info__()
    assert set(info.dtypes(kind="integral")) == {f"{u}int{b}" for u in ("", "u")
                                                 for b in (8, 16, 32, 64)}  # fmt: skip
    assert info.default_dtypes()["integral"] is xp.int64
    with pytest.raises(ft.DTypeError, match=r"^astype: expected"):
        xp.astype(xp.asarray([1j]), xp.float32)


def test_functions_work_under_transforms():
    x = ft.tensor([[1.0, 2.0], [3.0, 5.0]])
    got = ft.vmap(ft.grad(lambda r: xp.sum(xp.multiply(r, xp.take(r, xp.asarray([1, 0]))))))(x)
    assert got.tolist() == [[4.0, 2.0], [10.0, 6.0]]


def test_scipy_takes_our_tensors():
    program = (
        "import functorch_like as ft, scipy.special, scipy.stats\n"
        "x = ft.tensor([1.0, 2.0, 4.0])\n"
        "y = [scipy.special.logsumexp(x), scipy.stats.zscore(x), scipy.special.softmax(x)]\n"
        "assert all(isinstance(v, ft.Tensor) for v in y), y\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
