"""Selection, joining, rolling and sums of 16-bit floats at sizes that take ways of their own."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft

RNG = np.random.default_rng(0)


def _row(dtype: str, n: int, few: bool) -> np.ndarray:
    row = RNG.standard_normal((2, n)) * (3 if few else 100)
    return (np.round(row) + 0.0 if few else row).astype(dtype)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64"]
)
@pytest.mark.parametrize("n", [1, 17, 257, 5000, 70000])
def test_kthvalue_is_that_of_a_stable_sort(dtype: str, n: int, few: bool) -> None:
    x = _row(dtype, n, few)
    if dtype.startswith("float") and n > 16:
        x[0, ::4], x[1, 0], x[1, 1] = np.nan, -np.inf, np.inf
    order = np.argsort(x, axis=1, kind="stable")
    for k in {1, n // 3 + 1, (n + 1) // 2, n}:
        values, indices = ft.kthvalue(ft.tensor(x), k, 1)
        np.testing.assert_array_equal(indices.numpy(), order[:, k - 1])
        np.testing.assert_array_equal(
            values.numpy(), np.take_along_axis(x, order[:, k - 1 : k], 1)[:, 0]
        )
        strided = ft.kthvalue(ft.tensor(np.ascontiguousarray(x.T)), k, 0)[1]
        np.testing.assert_array_equal(strided.numpy(), order[:, k - 1])


@pytest.mark.parametrize("columns", [(9, 40), (1000, 7), (300, 300), (1700, 1801)])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "complex128"])
def test_joined_and_rolled_rows(dtype: str, columns: tuple[int, int]) -> None:
    x, y = (RNG.standard_normal((500, n)).astype(dtype) for n in columns)
    joined = ft.cat([ft.tensor(x), ft.tensor(y)], 1).numpy()
    np.testing.assert_array_equal(joined, np.concatenate([x, y], 1))
    for dim in (0, 1, 2):
        stacked = ft.stack([ft.tensor(x), ft.tensor(x)], dim).numpy()
        np.testing.assert_array_equal(stacked, np.stack([x, x], dim))
    rolled = ft.roll(ft.tensor(joined), (-3, 5), (0, 1)).numpy()
    np.testing.assert_array_equal(rolled, np.roll(joined, (-3, 5), (0, 1)))


def test_results_past_the_caches() -> None:
    x = RNG.standard_normal((3000, 2000), np.float32)
    np.testing.assert_array_equal(ft.roll(ft.tensor(x), 7, 1).numpy(), np.roll(x, 7, 1))
    joined = ft.cat([ft.tensor(x), ft.tensor(x[:, :999])], 1).numpy()
    np.testing.assert_array_equal(joined, np.concatenate([x, x[:, :999]], 1))


@pytest.mark.parametrize("dtype", [ft.bfloat16, ft.float16])
@pytest.mark.parametrize(("size", "dim", "n"), [(4000, 0, 1000), (4000, 1, 1000), (4000, 0, 1001)])
def test_sums_of_16_bit_floats_run_in_float32(dtype: ft.dtype, size: int, dim: int, n: int) -> None:
    shape, part = ([size, 16], [n, 16]) if dim == 0 else ([16, size], [16, n])
    x, values = ft.randn(shape).to(dtype), ft.randn(part).to(dtype)
    places = RNG.integers(-size, size, n)
    places[: n // 2] = places[0]  # many small terms
    index = ft.tensor(places)
    wide = ft.index_add(x.to(ft.float32), dim, index, values.to(ft.float32)).to(dtype)
    assert ft.equal(ft.index_add(x, dim, index, values), wide)
    assert ft.equal(x.clone().index_add_(dim, index, values), wide)
    with pytest.raises(ft.DimError, match=r"index_add_?: expected an index in"):
        ft.index_add(x, dim, index * 0 + size, values)
    with pytest.raises(ft.ShapeError, match="index_add"):
        ft.index_add(x, dim, index[1:], values)


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "float32", "complex128"])
def test_sums_of_no_items(dtype: str) -> None:
    x = ft.zeros(300, 0, 70).to(dtype)
    out = x.sum(1)
    assert out.shape == (300, 70) and out.dtype == x[:1].sum().dtype and not bool(out.any())
    assert x.sum((0, 1), keepdim=True).tolist() == ft.zeros(1, 1, 70).to(out.dtype).tolist()
    assert not x.sum().item()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8"])
@pytest.mark.parametrize("shape", [(40, 24), (5000, 8), (3, 4096), (7, 5, 16), (1, 8)])
def test_any_of_rows_of_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    x = (RNG.integers(0, 100, shape) * (RNG.random(shape) < 0.05)).astype(dtype)
    flags = ft.tensor(x)
    for dims in (None, -1, 0, (0, -1)):
        np.testing.assert_array_equal(ft.any(flags, dims).numpy(), x.any(dims))
    for part in (np.s_[..., 8:], np.s_[..., 3:11], np.s_[::2, ..., :8], np.s_[..., ::2]):
        np.testing.assert_array_equal(flags[part].any(-1).numpy(), x[part].any(-1))


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "int64", "float16"])
@pytest.mark.parametrize("n", [5000, 40000, 90000])
@pytest.mark.parametrize("threads", [1, 2])
def test_sorts_of_small_integers(dtype: str, n: int, threads: int) -> None:
    x = RNG.integers(0, 256, (2, n))
    x[1] *= 250 if dtype in ("int32", "int64") else 1
    x[1, -1] = 255  # a row whose keys differ in few bits, and one whose bits differ more
    x = x.astype(dtype)
    x[1, 0] = -3 if dtype != "uint8" else 3
    before = ft.get_num_threads()
    ft.set_num_threads(threads)
    try:
        for rows in (x, x[:1], x[1]):
            values, indices = ft.sort(ft.tensor(rows), stable=True)
            np.testing.assert_array_equal(values.numpy(), np.sort(rows))
            np.testing.assert_array_equal(indices.numpy(), np.argsort(rows, kind="stable"))
            wide = -rows.astype("float64")
            down = ft.argsort(ft.tensor(rows), descending=True, stable=True)
            np.testing.assert_array_equal(down.numpy(), np.argsort(wide, kind="stable"))
            np.testing.assert_array_equal(ft.unique(ft.tensor(rows)).numpy(), np.unique(rows))
        across = ft.sort(ft.tensor(np.ascontiguousarray(x.T)), dim=0)
        np.testing.assert_array_equal(across[1].numpy(), np.argsort(x.T, axis=0, kind="stable"))
    finally:
        ft.set_num_threads(before)
