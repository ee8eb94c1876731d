"""Powers by one number, which have kernels of their own: values, special values, gradients."""

import numpy as np
import pytest

import functorch_like as ft

EXPONENTS = [2, 2.0, 3, 4, 0.5, -0.5, -1, -1.5, -2, 1, 0, 1.5]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -3.0, 1e30, -1e30, 1e-30, 1e-45]


def points(dtype):
    x = np.random.default_rng(0).standard_normal(3000) * 5
    return np.concatenate([np.abs(x), x, SPECIAL]).astype(dtype)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_special_values(dtype, exponent):
    x = points(dtype)
    wide = np.longdouble if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(wide), wide(exponent)).astype(dtype)
    if exponent == 0.5:  # IEEE 754: NumPy takes the square root
        expected[x == 0], expected[x == -np.inf] = 0, np.inf
    t = ft.tensor(x)
    for result in (t**exponent, ft.compile(lambda t: (t * 1) ** exponent * 1)(t)):
        result = result.numpy()
        np.testing.assert_array_max_ulp(result, expected, 1)
        zeros = expected == 0
        np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(expected[zeros]))


def test_a_number_and_a_tensor_of_it_agree_within_rounding():
    x = ft.randn(1000).abs()
    for exponent in EXPONENTS:
        np.testing.assert_array_max_ulp(
            (x**exponent).numpy(), (x ** ft.full((1000,), float(exponent))).numpy(), 1
        )


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "complex64", "bfloat16"])
def test_squares_of_other_dtypes(dtype):
    x = ft.arange(12).to(dtype).reshape(3, 4).T
    assert ft.equal(x**2, x * x)
    assert (x**2).dtype is x.dtype


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_derivatives_of_two_orders(exponent):
    x = np.array([0.5, 1.0, 2.0, 3.0])
    t, e = ft.tensor(x), exponent
    first, second = e * x ** (e - 1.0), e * (e - 1) * x ** (e - 2.0)
    f = lambda t: (t**exponent).sum()  # noqa: E731
    for result in (
        ft.grad(f)(t),
        ft.vmap(ft.grad(lambda t: t**exponent))(t),
        ft.jvp(lambda t: t**exponent, (t,), (ft.ones_like(t),))[1],
        ft.compile(ft.grad(f))(t),
    ):
        np.testing.assert_allclose(result.numpy(), first, rtol=1e-12)
    np.testing.assert_allclose(ft.hessian(f)(t).numpy(), np.diag(second), rtol=1e-12)


def test_the_gradient_of_a_square_at_zero_and_infinity():
    x = ft.tensor([0.0, float("inf")], requires_grad=True)
    (x**2).backward(ft.tensor([1.0, 0.0]))
    assert x.grad.tolist() == [0.0, 0.0]


def test_integers_have_no_negative_powers_by_a_number():
    x = ft.tensor([1, 2, -1])
    for power in (lambda: x**-1, lambda: ft.pow(x, -2), lambda: x.pow(-1), lambda: x.pow_(-1)):
        with pytest.raises(ValueError, match="pow: expected powers of at least 0"):
            power()
    assert ft.pow(x, ft.tensor([-1, -2, -3])).tolist() == [1, 0, -1]  # as torch
    assert (2 ** ft.tensor([-1])).tolist() == [0]
    assert (x**-1.0).tolist() == [1.0, 0.5, -1.0]
