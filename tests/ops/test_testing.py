"""The public test helpers: they pass what is right, fail what is wrong, and say where."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.dtypes import DTYPES
from functorch_like.op import NONDIFF, TABLE, Op
from functorch_like.testing import (
    Make,
    assert_close,
    check_grads,
    gradcheck,
    gradgradcheck,
    make_tensor,
    samples_of,
)


def failure(actual, expected, **options):
    with pytest.raises(AssertionError) as caught:
        assert_close(actual, expected, **options)
    return str(caught.value)


def test_assert_close_passes_within_torchs_tolerances():
    x = ft.tensor([1.0, -2.0, float("inf")])
    assert_close(x, x + 1e-6)
    assert_close(x.double(), x.double() + 1e-8)
    assert_close(x.half(), x.half() * 1.0009)
    assert_close([x, {"a": 1}], [x.clone(), {"a": 1}])
    assert_close(x, numpy.array([1.0, -2.0, numpy.inf], dtype="float32"))
    assert_close(2.0, 2.0 + 1e-9)
    assert_close(ft.tensor([float("nan")]), ft.tensor([float("nan")]), equal_nan=True)
    assert_close(ft.tensor([2**62 + 1]), ft.tensor([2**62 + 1]))


def test_assert_close_says_what_differs():
    x = ft.zeros(2, 3)
    y = x.clone()
    y[1, 2] = 4.0
    text = failure(x, y)
    assert (
        "1 of 6 elements differ (16.7 %)" in text
        and "4 at [1, 2]" in text
        and "actual 0.0, expected 4.0" in text
    )
    assert "shapes differ: actual [2, 3], expected [3]" in failure(x, x[0])
    assert "dtypes differ: actual float32, expected float64" in failure(x, x.double())
    assert "[1]['b']" in failure([x, {"b": x}], [x, {"b": y}])
    assert "lengths differ" in failure([x], [x, x])
    assert "keys differ" in failure({"a": x}, {"b": x})
    assert "elements differ" in failure(ft.tensor([float("nan")]), ft.tensor([float("nan")]))
    assert "elements differ" in failure(ft.tensor([2**62 + 1]), ft.tensor([2**62]))
    assert "elements differ" in failure(ft.tensor([float("inf")]), ft.tensor([1.0]))
    assert failure(x, y, msg="mine") == "mine"
    with pytest.raises(ValueError, match="expected both"):
        assert_close(x, x, rtol=1.0)


def wrong_sine(factor=1.01, seen=lambda x: x):
    """An op whose derivative is 1 % off."""
    name = "test_wrong_sine"
    op = Op(
        name,
        TABLE["sin"].impl,
        vjp=lambda ct, _out, x: (ct * seen(x).cos() * factor,),
        jvp=lambda tangents, _out, x: tangents[0] * seen(x).cos() * factor,
        batch=lambda _size, _batched, x: op(x),
    )
    del TABLE[name]
    return op


def test_check_grads_finds_wrong_rules():
    x = make_tensor((5,), ft.float64)
    check_grads(ft.sin, (x,), order=3)
    check_grads(lambda x, n, k: (x * n, k), (x, x * 2, ft.tensor(1)))
    for modes in (("fwd",), ("rev",)):
        with pytest.raises(AssertionError, match="derivative"):
            check_grads(wrong_sine(), (x,), modes=modes)
    cut = wrong_sine(1.0, lambda x: x.detach())  # the first order is right, the second is not
    check_grads(cut, (x,), order=1)
    with pytest.raises(AssertionError, match="of the"):
        check_grads(cut, (x,), order=2)


def test_check_grads_refuses_what_it_cannot_check():
    with pytest.raises(ft.DTypeError, match=r"^check_grads: expected float64"):
        check_grads(ft.sin, (ft.ones(2),))
    with pytest.raises(ValueError, match="at least one"):
        check_grads(ft.sin, (ft.tensor(1),))
    with pytest.raises(ValueError, match="modes"):
        check_grads(ft.sin, (ft.ones(2, dtype="float64"),), modes=("back",))


def test_gradcheck_and_gradgradcheck():
    x = make_tensor((3,), ft.float64, requires_grad=True)
    assert gradcheck(ft.sin, x, check_forward_ad=True) and gradgradcheck(
        ft.sin, (x,), check_fwd_over_rev=True
    )
    assert not gradcheck(wrong_sine(), (x,), raise_exception=False)
    with pytest.raises(AssertionError):
        gradcheck(wrong_sine(), (x,))
    constant = make_tensor((3,), ft.float64)
    assert gradcheck(lambda a, b: a * b.detach(), (x, constant)), (
        "only inputs that require grad are checked"
    )
    z = make_tensor((3,), ft.complex128, requires_grad=True)
    assert gradcheck(lambda z: (z * z.conj()).real, (z,)) and gradgradcheck(
        lambda z: (z * z.conj()).real, (z,)
    )


@pytest.mark.parametrize(
    "name",
    [d.name for d in DTYPES],
)
def test_make_tensor(name):
    generator = ft.Generator().manual_seed(1)
    x = make_tensor((50, 4), name, low=1, high=3, generator=generator)
    assert x.dtype.name == name and tuple(x.shape) == (50, 4)
    if name != "bool":
        low = x.real.double().amin() if x.is_complex() else x.double().amin()
        assert low >= 1
    again = make_tensor((50, 4), name, low=1, high=3, generator=ft.Generator().manual_seed(1))
    assert_close(x, again, 0, 0)
    gaps = make_tensor((3, 4), name, noncontiguous=True)
    assert not gaps.is_contiguous() and tuple(gaps.shape) == (3, 4)


def test_samples_are_repeatable_and_required():
    make, again = Make(seed=2), Make(seed=2)
    assert_close(
        [make(3), make.index(4, 3), make.mask(2), make.places(5, 3)],
        [again(3), again.index(4, 3), again.mask(2), again.places(5, 3)],
    )
    bare = Op(
        "test_without_samples", TABLE["sin"].impl, vjp=NONDIFF("a test"), batch=lambda *_: None
    )
    del TABLE["test_without_samples"]
    with pytest.raises(ValueError, match="samples"):
        samples_of(bare)
