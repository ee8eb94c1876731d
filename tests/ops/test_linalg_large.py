"""Matrices large enough to be cut into pieces: values, the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import functorch_like as ft
from functorch_like import linalg

DTYPES = ("float32", "float64", "complex64", "complex128")


def random(dtype: str, *shape: int) -> Any:
    draw = numpy.random.default_rng(0)
    x = draw.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * draw.standard_normal(shape)
    return x.astype(dtype)


def with_threads(run: Callable[[], Any]) -> list[Any]:
    """The results, as arrays, which one thread and two agree on."""
    made = []
    for threads in (1, 2):
        ft.set_num_threads(threads)
        made.append([y.numpy() for y in run()])
    for one, two in zip(*made, strict=True):
        numpy.testing.assert_array_equal(one, two)
    return made[0]


def close(got: Any, wanted: Any, scale: float = 1.0) -> None:
    error = numpy.abs(got - wanted).max() / max(numpy.abs(wanted).max(), scale)
    assert error < 300 * numpy.finfo(got.dtype).eps, error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["rows", "columns", "steps"])
def test_systems(dtype, layout):
    n, k = 260, 130
    a, b = random(dtype, n, n) + 20 * numpy.eye(n, dtype=dtype), random(dtype, n, k)

    def given(x: Any) -> Any:
        if layout == "rows":
            return ft.asarray(x)
        if layout == "columns":
            return ft.asarray(numpy.ascontiguousarray(x.T)).mT
        return ft.asarray(x.repeat(2, axis=0).repeat(3, axis=1))[::2, ::3]

    A, B, C = given(a), given(b), given(b.T)
    lower, upper, factors = numpy.tril(a), numpy.triu(a), linalg.lu_factor(A)
    x, one, inverse, adjoint, low, right, vector = with_threads(
        lambda: (
            linalg.solve(A, B),
            linalg.solve(A, B[:, :1]),
            linalg.inv(A),
            linalg.lu_solve(factors.LU, factors.pivots, B, adjoint=True),
            linalg.solve_triangular(A, B, upper=False),
            linalg.solve_triangular(A, C, upper=True, left=False),
            linalg.solve_triangular(A, B[:, 1:2], upper=True),
        )
    )
    close(a @ x, b)
    close(a @ one, b[:, :1])
    close(a @ inverse, numpy.eye(n))
    close(a.conj().T @ adjoint, b)
    close(lower @ low, b)
    close(right @ upper, b.T)
    close(upper @ vector, b[:, 1:2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [128, 203])
@pytest.mark.parametrize("kind", ["any", "clusters", "rank 3", "one", "blocks"])
def test_eigenvectors(dtype, n, kind):
    x = random(dtype, n, n)
    q = numpy.linalg.qr(x)[0]
    a = {
        "any": x + x.conj().T,
        "clusters": (q * numpy.repeat([1, 2, 1e-3], n)[:n]) @ q.conj().T,
        "rank 3": x[:, :3] @ x[:, :3].conj().T,
        "one": numpy.eye(n),
        "blocks": numpy.kron(numpy.eye(n), [[1, 2], [2, 5]])[:n, :n],
    }[kind]
    a = ((a + a.conj().T) / 2).astype(dtype)
    for part in "LU":
        w, v = with_threads(lambda part=part: linalg.eigh(ft.asarray(a), UPLO=part))
        assert (numpy.diff(w) >= 0).all()
        close(v.conj().T @ v, numpy.eye(n))
        close((v * w) @ v.conj().T, a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(90, 90), (120, 70), (70, 120)])
@pytest.mark.parametrize("rank", [70, 20])
def test_least_squares(dtype, shape, rank):
    m, n = shape
    a = random(dtype, m, n)
    if rank < 70:
        a = a[:, :rank] @ random(dtype, rank, n)
    b = random(dtype, m, 3)
    x, found = with_threads(lambda: linalg.lstsq(ft.asarray(a), ft.asarray(b))[:3:2])
    assert found == numpy.linalg.matrix_rank(a)
    wide = "complex128" if dtype.startswith("complex") else "float64"
    if rank < 70 or m != n:
        close(x, numpy.linalg.pinv(a.astype(wide), rcond=1e-5) @ b)
    else:
        close(a @ x, b, numpy.abs(x).max())
