"""float32 special functions, whose kernels are fits in double, against float64: to 0.52 ulp."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft

special = pytest.importorskip("scipy.special")

ULP = 0.52
FUNCTIONS = {  # name: SciPy's, the limit of the range
    "i0": (special.i0, 85),
    "i0e": (special.i0e, 1e6),
    "i1": (special.i1, 85),
    "i1e": (special.i1e, 1e6),
    "modified_bessel_k0": (special.k0, 80),
    "modified_bessel_k1": (special.k1, 80),
    "scaled_modified_bessel_k0": (special.k0e, 1e6),
    "scaled_modified_bessel_k1": (special.k1e, 1e6),
    "bessel_j0": (special.j0, 20),
    "bessel_j1": (special.j1, 20),
    "bessel_y0": (special.y0, 20),
    "bessel_y1": (special.y1, 20),
    "gammaln": (special.gammaln, 1e30),
    "erfcx": (special.erfcx, 9),
}
POSITIVE = ("modified", "scaled", "bessel_y", "gammaln")


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    exponent = np.maximum(np.frexp(want)[1], -125)
    return np.abs(got.astype(np.float64) - want) / np.ldexp(1.0, exponent - 24)


def numbers(limit: float) -> np.ndarray:
    """Positive, over all magnitudes and evenly near 0, in the order of neither."""
    x = np.concatenate([np.geomspace(1e-30, limit, 9001), np.linspace(1e-3, min(limit, 12), 9001)])
    return np.random.default_rng(0).permutation(x).astype("f4")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_half_an_ulp(name):
    reference, limit = FUNCTIONS[name]
    x = numbers(limit)
    if not name.startswith(POSITIVE):
        x[::2] *= -1
    got = getattr(ft.special, name)(ft.from_numpy(x)).numpy()
    assert ulps(got, reference(x.astype("f8"))).max() <= ULP


@pytest.mark.parametrize("name", FUNCTIONS)
def test_items_do_not_depend_on_their_neighbours(name):
    f = getattr(ft.special, name)
    x = numbers(7)[:200]
    mixed = x.copy()
    mixed[::9] = np.resize(
        np.array([0, -0.0, np.nan, np.inf, -np.inf, 1e30, -3.5, 1e-45], "f4"), 23
    )
    kept = np.arange(200) % 9 != 0
    whole = f(ft.from_numpy(x)).numpy()
    np.testing.assert_array_equal(f(ft.from_numpy(mixed)).numpy()[kept], whole[kept])
    alone = [f(ft.from_numpy(x[i : i + 1])).numpy()[0] for i in range(0, 200, 17)]
    np.testing.assert_array_equal(whole[::17], alone)


def test_trigamma():
    x = numbers(1e15)
    x = x[x > 1e-18]
    assert (
        ulps(ft.polygamma(1, ft.from_numpy(x)).numpy(), special.zeta(2, x.astype("f8"))).max()
        <= ULP
    )


def test_derivative_of_erfcx():
    x = np.linspace(-4, 40, 3001).astype("f4")
    slope = ft.vmap(ft.grad(ft.special.erfcx))
    want = slope(ft.from_numpy(x.astype("f8"))).numpy()
    assert ulps(slope(ft.from_numpy(x)).numpy(), want).max() <= ULP


POLYNOMIALS = (
    *(f"chebyshev_polynomial_{kind}" for kind in "tuvw"),
    *("hermite_polynomial_h", "hermite_polynomial_he"),
    *("laguerre_polynomial_l", "legendre_polynomial_p"),
)


@pytest.mark.parametrize("kind", POLYNOMIALS)
def test_polynomials_of_one_degree_and_of_several(kind):
    f = getattr(ft.special, kind)
    x = np.append(np.linspace(-2, 2, 300), [np.nan, np.inf]).astype("f4")
    for degree in (-1, 0, 1, 2, 6, 7, 20):
        many = np.full(x.size, degree, "f4")
        many[::5] += 1
        one = f(ft.from_numpy(x), degree).numpy()
        want = f(ft.from_numpy(x.astype("f8")), degree).numpy()
        np.testing.assert_allclose(one, want, rtol=2e-7, atol=1e-7)
        several = f(ft.from_numpy(x), ft.from_numpy(many)).numpy()
        kept = many == degree
        np.testing.assert_allclose(several[kept], one[kept], rtol=1e-7, atol=1e-9)
