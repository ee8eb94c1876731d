"""Products, Fourier transforms, linear algebra on CUDA: by NVIDIA's libraries or own kernels.

`make cuda-test` runs this file without the libraries, and again with stand-ins for them
(FL_CUDA_LIBRARIES), which check what they are called with and count the calls.
"""

import ctypes

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import cuda
from functorch_like.errors import LinAlgError
from functorch_like.testing import assert_close

FLOATS = [ft.float32, ft.float64, ft.bfloat16, ft.float16, ft.complex64, ft.complex128]
EXACTNESS = {"bfloat16": 2e-2, "float16": 3e-3, "float64": 1e-11, "complex128": 1e-11}


def random(*shape, dtype=ft.float32, seed=0):
    made = ft.randn(*shape, dtype=ft.float64, generator=ft.Generator().manual_seed(seed))
    if dtype.is_complex:
        made = ft.complex(made, random(*shape, dtype=ft.float64, seed=seed + 1))
    return made.to(dtype)


def close(got, expected, factor=1.0):
    assert got.is_cuda
    tolerance = EXACTNESS.get(str(expected.dtype).rsplit(".", 1)[-1], 2e-5) * factor
    assert_close(got.cpu(), expected, rtol=tolerance, atol=tolerance)


class used:
    """How often a stand-in computed in a `with` block; the block must use it where it is there."""

    def __init__(self, name):
        library = cuda.libraries().get(name)
        self.path = library.where if library and library.version else None

    def count(self):
        if self.path is None or "standin" not in self.path:
            return None
        return ctypes.c_int64.in_dll(ctypes.CDLL(self.path), "standin_calls").value

    def __enter__(self):
        self.before = self.count()
        return self

    def __exit__(self, kind, *_):
        if self.before is not None and kind is None:
            assert self.count() > self.before


def test_libraries_say_what_they_are():
    found = cuda.libraries()
    assert {"cublasLt", "cusolver", "cufft"} <= set(found)
    for library in found.values():
        assert library.version or library.where


# ---- products ----

LAYOUTS = {
    "plain": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "gaps": lambda x: ft.stack([x, x], -1).flatten(-2)[..., ::2],
    "rows apart": lambda x: ft.cat([x, x], -1)[..., : x.shape[-1]],
    "unaligned": lambda x: ft.cat([x.flatten()[:1], x.flatten()])[1:].reshape(x.shape),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (5, 3, 4), (1, 7, 5), (6, 4, 1), (66, 17, 3), (3, 5, 13)]
)
def test_products(dtype, m, k, n):
    a, b = random(m, k, dtype=dtype), random(k, n, dtype=dtype, seed=5)
    for left in LAYOUTS.values():
        for right in LAYOUTS.values():
            close(left(a.cuda()) @ right(b.cuda()), a @ b)


def test_products_use_the_library():
    for dtype in FLOATS:
        x = random(4, 6, dtype=dtype).cuda()
        with used("cublasLt"):
            x @ x.mT


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_products_in_batches(dtype):
    for one, other in [
        ((3, 4, 5), (3, 5, 2)),
        ((3, 4, 5), (5, 2)),
        ((2, 3, 4, 5), (5, 2)),
        ((4, 5), (3, 5, 2)),
        ((2, 1, 4, 5), (1, 3, 5, 2)),
        ((2, 3, 1, 5), (3, 5, 2)),
        ((5,), (3, 5, 2)),
        ((3, 4, 5), (5,)),
    ]:
        a, b = random(*one, dtype=dtype), random(*other, dtype=dtype, seed=5)
        for change in (LAYOUTS["plain"], LAYOUTS["gaps"]):
            close(change(a.cuda()) @ b.cuda(), a @ b)
    # heads of attention: neither dimension of the batch can be merged with the other
    q = random(2, 5, 3, 4, dtype=dtype)
    c = q.cuda()
    close(c.transpose(1, 2) @ c.permute(0, 2, 3, 1), q.transpose(1, 2) @ q.permute(0, 2, 3, 1))


def test_many_unmergeable_batches():
    a, b = random(70, 66, 2, 3), random(70, 66, 3, 2, seed=5)
    assert_close(
        (a.cuda().transpose(0, 1) @ b.cuda().transpose(0, 1)).cpu(),
        a.transpose(0, 1) @ b.transpose(0, 1), 1e-5, 1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_linear(dtype):
    w, b = random(4, 5, dtype=dtype), random(4, dtype=dtype, seed=3)
    for shape in [(5,), (3, 5), (2, 3, 5)]:
        x = random(*shape, dtype=dtype, seed=7)
        close(ft.linear(x.cuda(), w.cuda(), b.cuda()), ft.linear(x, w, b), 2)
        close(ft.linear(x.cuda(), w.cuda()), ft.linear(x, w))
    x = random(2, 5, dtype=dtype)
    wide = random(13, 5, dtype=dtype)  # of this size the stand-in has no algorithm
    bias = random(13, dtype=dtype)
    close(ft.linear(x.cuda(), wide.cuda(), bias.cuda()), ft.linear(x, wide, bias), 2)


def test_empty_and_integer_products():
    a = ft.zeros(3, 0, device="cuda")
    assert (a @ a.mT).tolist() == [[0.0] * 3] * 3
    assert (a.mT @ a).shape == (0, 0)
    i = ft.arange(6, device="cuda").reshape(2, 3)
    assert (i @ i.mT).tolist() == [[5, 14], [14, 50]]


def test_precision_of_float32_products():
    assert ft.get_float32_matmul_precision() == "highest"
    a = random(8, 8)
    ft.set_float32_matmul_precision("high")
    try:
        assert ft.get_float32_matmul_precision() == "high"
        assert_close((a.cuda() @ a.cuda()).cpu(), a @ a, 2e-3, 2e-2)
    finally:
        ft.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="'highest', 'high', 'medium'"):
        ft.set_float32_matmul_precision("low")


def test_gradients_of_products():
    x, w = random(3, 4, dtype=ft.float64), random(4, 2, dtype=ft.float64)
    f = ft.grad(lambda x, w: (x @ w).sin().sum(), argnums=(0, 1))
    for got, expected in zip(f(x.cuda(), w.cuda()), f(x, w), strict=True):
        close(got, expected)


# ---- Fourier transforms ----

LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 30, 49, 60, 64, 67, 100, 128, 243, 250, 1009, 1024]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", [ft.complex64, ft.complex128], ids=str)
def test_transforms_of_lengths(n, dtype):
    z, wide = random(2, n, dtype=dtype), dtype == ft.complex128
    c = z.cuda()
    with used("cufft"):
        got = ft.fft.fft(c)
    close(got, ft.fft.fft(z), n**0.5)
    close(ft.fft.ifft(c, norm="ortho"), ft.fft.ifft(z, norm="ortho"))
    np.testing.assert_allclose(
        ft.fft.fft(c).cpu().numpy(), np.fft.fft(z.numpy()), atol=(1e-12 if wide else 1e-5) * n
    )
    x = z.real.contiguous()
    half = ft.fft.rfft(x)
    close(ft.fft.rfft(x.cuda()), half, n**0.5)
    close(ft.fft.irfft(half.cuda(), n=n), ft.fft.irfft(half, n=n))
    close(ft.fft.fft(x.cuda()), ft.fft.fft(x), n**0.5)


@pytest.mark.parametrize("shape", [(3, 8, 2), (1, 5, 4), (4, 7, 1), (2, 3, 30, 2)])
def test_transforms_along_every_dim(shape):
    z = random(*shape, dtype=ft.complex128)
    for dim in range(len(shape)):
        close(ft.fft.fft(z.cuda(), dim=dim), ft.fft.fft(z, dim=dim), 10)
        close(ft.fft.ifft(z.cuda(), dim=dim), ft.fft.ifft(z, dim=dim))
        x, n = z.real.contiguous(), shape[dim]
        half = ft.fft.rfft(x, dim=dim)
        close(ft.fft.rfft(x.cuda(), dim=dim), half, 10)
        close(
            ft.fft.irfft(half.cuda(), n=n, dim=dim, norm="forward"),
            ft.fft.irfft(half, n=n, dim=dim, norm="forward"),
            10,
        )
    close(ft.fft.fftn(z.cuda()), ft.fft.fftn(z), 100)


@pytest.mark.parametrize("n", [2**14, 7201, 15000])
def test_long_transforms(n):
    """Too long for shared memory, or with a convolution that is."""
    if cuda.libraries()["cufft"].version:
        pytest.skip("of own kernels")
    z = random(n, dtype=ft.complex128)
    close(ft.fft.fft(z.cuda()), ft.fft.fft(z), n**0.5)


def test_imaginary_parts_of_the_ends_do_not_count():
    half = random(5, dtype=ft.complex128)
    close(ft.fft.irfft(half.cuda(), n=8), ft.fft.irfft(half, n=8))
    close(ft.fft.irfft(half.cuda(), n=9), ft.fft.irfft(half, n=9))


# ---- linear algebra ----

NUMBERS = [ft.float32, ft.float64, ft.complex64, ft.complex128]


def regular(*shape, dtype, seed=0):
    n = shape[-1]
    return random(*shape, dtype=dtype, seed=seed) + n**0.5 * ft.eye(n, dtype=dtype)


def hermitian(*shape, dtype):
    a = random(*shape, dtype=dtype)
    return a @ a.mH + shape[-1] * ft.eye(shape[-1], dtype=dtype)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5, 5), (2, 1, 9, 9), (40, 40)])
def test_solutions(dtype, shape):
    a = regular(*shape, dtype=dtype)
    b = random(*shape[:-1], 3, dtype=dtype, seed=9)
    c = a.cuda()
    close(ft.linalg.inv(c), ft.linalg.inv(a), 10)
    close(ft.linalg.solve(c, b.cuda()), ft.linalg.solve(a, b), 10)
    close(ft.linalg.solve(c, b.cuda().mT, left=False), ft.linalg.solve(a, b.mT, left=False), 10)
    close(ft.linalg.det(c) / ft.linalg.det(a).cuda(), ft.ones(*shape[:-2], dtype=dtype), 50)
    for got, expected in zip(ft.linalg.slogdet(c), ft.linalg.slogdet(a), strict=True):
        close(got, expected, 50)
    close(c.mT.inverse(), a.mT.inverse(), 10)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (2, 7, 3), (2, 3, 7), (131, 131), (133, 20)])
def test_lu(dtype, shape):
    a = random(*shape, dtype=dtype)
    large = max(shape) > 128
    with used("cusolver") if large else used("none"):
        lu, pivots = ft.linalg.lu_factor(a.cuda())
    expected, expected_pivots = ft.linalg.lu_factor(a)
    close(lu, expected, 1000 if large else 20)
    assert pivots.cpu().tolist() == expected_pivots.tolist()
    if shape[-1] != shape[-2]:
        return
    b = random(*shape[:-1], 2, dtype=dtype, seed=4)
    for adjoint in (False, True):
        got = ft.linalg.lu_solve(lu, pivots, b.cuda(), adjoint=adjoint)
        expected = ft.linalg.lu_solve(lu.cpu(), pivots.cpu(), b, adjoint=adjoint)
        close(got, expected, 1000 if large else 50)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("n", [1, 4, 9, 130])
def test_cholesky(dtype, n):
    a = hermitian(2, n, n, dtype=dtype)
    close(ft.linalg.cholesky(a.cuda()), ft.linalg.cholesky(a), 10)
    upper = ft.linalg.cholesky(a.cuda(), upper=True)
    close(upper, ft.linalg.cholesky(a, upper=True), 10)
    factor, info = ft.linalg.cholesky_ex(-a.cuda())
    assert info.tolist() == [1, 1]
    assert factor.is_cuda
    with pytest.raises(LinAlgError, match="positive-definite"):
        ft.linalg.cholesky(-a.cuda())


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_triangular_systems(dtype, upper, left):
    a = regular(2, 1, 6, 6, dtype=dtype)
    b = random(3, *((6, 35) if left else (35, 6)), dtype=dtype, seed=4)
    for unit in (False, True):
        # a unit triangle of large numbers would be badly conditioned
        m = a.triu() if upper else a.tril()
        m = m / 4 if unit else m
        for change in (lambda x: x, lambda x: x.mT.contiguous().mT):
            got = ft.linalg.solve_triangular(
                change(m.cuda()), change(b.cuda()), upper=upper, left=left, unitriangular=unit
            )
            expected = ft.linalg.solve_triangular(m, b, upper=upper, left=left, unitriangular=unit)
            close(got, expected, 50)
    turned = ft.linalg.solve_triangular(a.cuda().mH.triu(), b.cuda(), upper=True, left=left)
    close(turned, ft.linalg.solve_triangular(a.mH.triu(), b, upper=True, left=left), 50)


def test_singular_matrices():
    a = ft.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]], device="cuda")
    assert ft.linalg.det(a).tolist() == [0.0, 1.0]
    assert ft.linalg.slogdet(a)[1].tolist() == [-np.inf, 0.0]
    adjugates = ft.tensor([[[4.0, -2.0], [-2.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    close(ft.grad(lambda x: ft.linalg.det(x).sum())(a), adjugates)
    for f in (ft.linalg.inv, ft.linalg.lu_factor):
        with pytest.raises(LinAlgError, match="invertible"):
            f(a)
    with pytest.raises(LinAlgError):
        ft.linalg.solve(a, a)
    assert ft.linalg.inv_ex(a)[1].tolist() == [2, 0]


def test_empty_matrices():
    a = ft.zeros(2, 0, 0, device="cuda")
    assert ft.linalg.det(a).tolist() == [1.0, 1.0]
    assert ft.linalg.inv(a).shape == (2, 0, 0)
    assert ft.linalg.cholesky(ft.zeros(0, 3, 3, device="cuda")).shape == (0, 3, 3)
    q, r = ft.linalg.qr(ft.zeros(3, 0, device="cuda"), mode="complete")
    assert q.shape == (3, 3)
    assert r.shape == (3, 0)
    assert ft.linalg.svdvals(ft.zeros(3, 0, device="cuda")).shape == (0,)


SHAPES = [(1, 1), (5, 3), (3, 5), (2, 4, 4), (2, 7, 2), (3, 2, 6)]


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(dtype, shape):
    a = random(*shape, dtype=dtype)
    for mode in ("reduced", "complete"):
        with used("cusolver"):
            q, r = ft.linalg.qr(a.cuda(), mode=mode)
        close(q @ r, a, 10)
        close(q.mH @ q, ft.eye(q.shape[-1], dtype=dtype).expand(q.mH.shape[:-1] + q.shape[-1:]), 10)
        close(r, ft.linalg.qr(a, mode=mode)[1], 10)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_eigh(dtype, n):
    a = random(2, n, n, dtype=dtype)
    for lower in ("L", "U"):
        with used("cusolver"):
            w, v = ft.linalg.eigh(a.cuda(), UPLO=lower)
        close(w, ft.linalg.eigh(a, UPLO=lower)[0], 10)
        triangle = a.tril(-1) if lower == "L" else a.triu(1)
        diagonal = ft.diag_embed(a.diagonal(dim1=-2, dim2=-1).real).to(dtype)
        close((v * w.unsqueeze(-2)) @ v.mH, triangle + triangle.mH + diagonal, 20)
        close(ft.linalg.eigvalsh(a.cuda(), UPLO=lower), ft.linalg.eigvalsh(a, UPLO=lower), 10)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_svd(dtype, shape):
    a = random(*shape, dtype=dtype)
    k = min(shape[-2:])
    for full in (False, True):
        with used("cusolver"):
            u, s, vh = ft.linalg.svd(a.cuda(), full_matrices=full)
        close(s, ft.linalg.svdvals(a), 10)
        close((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a, 20)
        for unitary in (u.mH @ u, vh @ vh.mH):
            close(unitary, ft.eye(unitary.shape[-1], dtype=dtype).expand(unitary.shape), 20)
    close(ft.linalg.svdvals(a.cuda()), ft.linalg.svdvals(a), 10)
    thin = ft.cat([a[..., :1]] * 3, -1)  # of rank 1
    u, s, vh = ft.linalg.svd(thin.cuda())
    close((u[..., :1] * s[..., None, :1]) @ vh[..., :1, :], thin, 20)


def test_inf_and_nan_are_refused_one_by_one():
    a = random(3, 4, 4, dtype=ft.float64)
    a[1, 2, 2] = float("nan")
    for f in (ft.linalg.eigh, ft.linalg.svd):
        with pytest.raises(LinAlgError, match="batch element 1"):
            f(a.cuda())


def test_derivatives_of_linear_algebra():
    a = hermitian(2, 3, 3, dtype=ft.float64)
    for f in (
        lambda x: ft.linalg.inv(x).sum(),
        lambda x: ft.linalg.cholesky(x).sin().sum(),
        lambda x: ft.linalg.slogdet(x)[1].sum(),
        lambda x: ft.linalg.eigvalsh(x).sin().sum(),
        lambda x: ft.linalg.svdvals(x).sin().sum(),
        lambda x: ft.linalg.solve(x, x[..., :1].sin()).sum(),
    ):
        close(ft.grad(f)(a.cuda()), ft.grad(f)(a), 100)


# ---- unique values, counts ----


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "bfloat16", "float64"])
@pytest.mark.parametrize("n", [0, 1, 2, 1000, 1024, 1025, 2500])
def test_unique(dtype, n):
    x = ft.randint(0, 60, (n,), generator=ft.Generator().manual_seed(1)).to(
        getattr(ft, dtype, ft.bool_)
    )
    for got, expected in zip(
        ft.unique(x.cuda(), return_inverse=True, return_counts=True),
        ft.unique(x, return_inverse=True, return_counts=True),
        strict=True,
    ):
        assert got.is_cuda
        assert got.cpu().tolist() == expected.tolist()
    assert ft.unique(x.cuda()).cpu().tolist() == ft.unique(x).tolist()


def test_unique_keeps_nans_apart():
    x = ft.tensor([np.nan, 1.0, np.nan, -0.0, 0.0, 1.0], device="cuda")
    values, counts = ft.unique(x, return_counts=True)
    assert counts.tolist() == [2, 2, 1, 1]
    assert values[:2].tolist() == [0.0, 1.0]


def test_counts():
    x = ft.randint(0, 9, (3000,), generator=ft.Generator().manual_seed(1))
    w = random(3000)
    close(ft.bincount(x.cuda(), w.cuda()), ft.bincount(x, w))
    assert ft.bincount(x.cuda(), minlength=12).tolist() == ft.bincount(x, minlength=12).tolist()
    assert ft.bincount(x.cuda()[:0]).tolist() == []
    with pytest.raises(ValueError, match="at least 0"):
        ft.bincount(x.cuda() - 1)
