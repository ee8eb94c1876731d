"""The entries' claims of accuracy: `ulp` of every op that states one, over the whole range.

float32 is measured against float64 at about a million of its bit patterns and at numbers of
everyday size; float64 against mpmath, where it is installed, at some hundreds. The C tests do the
same for every formula of vmath.h; these go through the kernels that a user gets.
"""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from cbackend import ffi, lib
from functorch_like.op import TABLE

special = pytest.importorskip("scipy.special")

CLAIMS = {
    op.name: op.samples["ulp"]
    for op in TABLE.values()
    if isinstance(op.samples, dict) and "ulp" in op.samples
}
# float64 references of the ops whose entry has no NumPy or SciPy oracle of one operand
NAMED = {
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sigmoid": special.expit,
    "logsigmoid": special.log_expit,
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "gelu": lambda x: 0.5 * x * special.erfc(-x / np.sqrt(2)),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


# the claims hold where products and sums are fused, which the oldest level cannot
SLACK = 1.3 if ffi.string(lib.cb_cpu_level()) == b"v2" else 1.0


def ulps(got: np.ndarray, want: np.ndarray, dtype: type) -> np.ndarray:
    """Distance of results from exact ones in units in the last place of the exact ones."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(want)
    exponent = np.maximum(exponent, info.minexp + 1)
    return np.abs(got.astype(np.float64) - want) / np.ldexp(1.0, exponent - info.nmant - 1)


def patterns() -> np.ndarray:
    """Finite float32 numbers: bit patterns in steps, and an even spread over two ranges."""
    bits = np.arange(0, 2**32, 4663, dtype=np.uint64).astype(np.uint32)
    spread = np.linspace(-1, 1, 200_001)
    numbers = np.concatenate(
        [bits.view(np.float32), (spread * 12).astype(np.float32), (spread * 110).astype(np.float32)]
    )
    return numbers[np.isfinite(numbers)]


@pytest.mark.parametrize("name", CLAIMS)
def test_float32(name):
    x = patterns()
    reference = NAMED.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
        exact = np.isfinite(want) & (np.abs(want) <= np.finfo(np.float32).max)
    got = getattr(ft, name)(ft.from_numpy(x)).numpy()
    assert np.array_equal(np.isnan(got), np.isnan(want))
    distance = ulps(got[exact], want[exact], np.float32)
    worst = distance.argmax()
    assert distance[worst] <= CLAIMS[name][0] * SLACK, (x[exact][worst], got[exact][worst])


@pytest.mark.parametrize("name", CLAIMS)
def test_float64(name):
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 50
    references = {
        "exp2": lambda x: mp.power(2, x),
        "log2": lambda x: mp.log(x, 2),
        "log10": mp.log10,
        "rsqrt": lambda x: 1 / mp.sqrt(x),
        "reciprocal": lambda x: 1 / x,
        "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
        "logsigmoid": lambda x: -mp.log1p(mp.exp(-x)),
        "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    }
    reference = references.get(name) or getattr(mp, name)
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-1, 1, 100), random.uniform(-20, 20, 100), [0.0, 1.0, -1.0]])
    got = getattr(ft, name)(ft.from_numpy(x)).numpy()
    for at, result in zip(x, got, strict=True):
        if not np.isfinite(result):
            continue
        want = reference(mp.mpf(float(at)))
        exponent = max(mp.frexp(want)[1], -1021)
        distance = abs(mp.mpf(float(result)) - want) / mp.ldexp(1, exponent - 53)
        assert distance <= CLAIMS[name][1] * SLACK, (at, result)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_far_arguments_leave_their_neighbours_alone(name):
    near = np.linspace(-100, 100, 700, dtype=np.float32)
    mixed = near.copy()
    mixed[::50] = [3e7, np.nan, -1e30, np.inf, 16777216.0, 16777218.0, 1e38] * 2
    f = getattr(ft, name)
    others = np.arange(700) % 50 != 0
    assert (
        f(ft.from_numpy(near)).numpy()[others].tobytes()
        == f(ft.from_numpy(mixed)).numpy()[others].tobytes()
    )


@pytest.mark.parametrize("name", ["tanh", "log"])
def test_items_do_not_depend_on_their_place(name):
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.0, -1.0, 0.75, 9.0, 8.99, 3e38], "f4"
    )
    f = getattr(ft, name)
    alone = [f(ft.from_numpy(x[i : i + 1])).numpy()[0] for i in range(x.size)]
    for shift in range(x.size):
        rolled = np.roll(np.tile(x, 3), shift)
        np.testing.assert_array_equal(
            f(ft.from_numpy(rolled)).numpy(), np.roll(np.tile(alone, 3), shift)
        )
    with np.errstate(all="ignore"):
        np.testing.assert_array_almost_equal_nulp(
            np.nan_to_num(np.array(alone)),
            np.nan_to_num(getattr(np, name)(x.astype("f8")).astype("f4")),
            2,
        )
