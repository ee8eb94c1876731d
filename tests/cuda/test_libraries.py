"""Products, Fourier transforms and linear algebra on CUDA, by NVIDIA's libraries or own kernels.

Both ways are tested: `make cuda-test` runs this file without the libraries, and again with stand-ins
for them (FL_CUDA_LIBRARIES), which check what they are called with and count the calls.
"""

import ctypes

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import cuda
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
        self.path = cuda.libraries()[name].where if cuda.libraries()[name].version else None

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
