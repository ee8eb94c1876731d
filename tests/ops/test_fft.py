"""Fourier transforms: against NumPy and torch, under transforms, at awkward lengths, bad input."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close, check_grads

ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
MANY = ["fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn"]
TWO = ["fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2"]
REAL_INPUT = {"rfft", "ihfft", "rfftn", "ihfftn", "rfft2", "ihfft2"}
# radices, primes, squares of primes, powers, and on both sides of Bluestein's method and blocks
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    11,
    12,
    16,
    30,
    49,
    61,
    64,
    67,
    97,
    121,
    134,
    360,
    1009,
    1024,
    5000,
]


def random(shape, kind="complex128", seed=0):
    generator = numpy.random.default_rng(seed)
    x = generator.standard_normal(shape)
    if "complex" in kind:
        x = x + 1j * generator.standard_normal(shape)
    return (x * 3).astype(kind)


def kind_for(name, kind="complex128"):
    return (
        kind.replace("complex128", "float64").replace("complex64", "float32")
        if (name in REAL_INPUT)
        else kind
    )


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("n", LENGTHS)
def test_one_dim_is_numpys(name, n, kind):
    for shape, dim in ((((n,)), 0), ((3, n), 1), ((n, 3), 0), ((40, n), 1), ((n, 40), 0)):
        if n > 1000 and 40 in shape:
            continue
        half = name in ("irfft", "hfft")
        given = tuple(s // 2 + 1 if half and d == dim else s for d, s in enumerate(shape))
        x = random(given, kind_for(name, kind))
        wide = x.astype(numpy.complex128) if numpy.iscomplexobj(x) else x.astype(numpy.float64)
        expected = getattr(numpy.fft, name)(wide, n, axis=dim)
        got = getattr(ft.fft, name)(ft.tensor(x), n, dim).numpy()
        assert got.dtype.itemsize == (8 if kind == "complex64" else 16) // (1 + half)
        error = numpy.linalg.norm(got - expected) / max(numpy.linalg.norm(expected), 1e-300)
        assert error < (1e-6 if kind == "complex64" else 2e-15), (shape, error)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ONE + MANY + TWO)
def test_sizes_and_norms_are_torchs(name, norm):
    torch = pytest.importorskip("torch")
    calls = [((4, 6), {"norm": norm}), ((3, 5), {"norm": norm}), ((2, 3, 4), {"norm": norm})]
    if norm:
        calls = calls[:2]
    elif name in ONE:
        calls += [((5,), {"n": n}) for n in (1, 3, 8)]
        calls += [((2, 3, 4), {"dim": d}) for d in (0, 1, -1)]
    else:
        for options in (
            {"s": (4, 3)},
            {"s": (2, -1)},
            {"dim": (0, -1)},
            {"dim": (-1, 0)},
            {"s": (3, 5), "dim": (1, 0)},
            {"dim": (1,)},
        ):
            calls.append(((3, 2, 5), options))
    for shape, options in calls:
        for kind in ("complex128", "float32") if norm else ("complex128", "float32", "int64"):
            if "complex" in kind and name in REAL_INPUT:
                continue
            x = random(shape, kind)
            expected = getattr(torch.fft, name)(torch.from_numpy(x), **options)
            got = getattr(ft.fft, name)(ft.tensor(x), **options)
            expected = expected.resolve_conj().numpy()
            assert got.numpy().dtype == expected.dtype
            numpy.testing.assert_allclose(
                got.numpy(), expected, rtol=1e-5, atol=1e-4, err_msg=f"{shape} {options} {kind}"
            )


@pytest.mark.parametrize("name", ONE + MANY + TWO)
def test_derivatives(name):
    for shape in ((3, 4), (2, 5)):
        x = ft.tensor(random(shape, kind_for(name)))
        check_grads(lambda x: getattr(ft.fft, name)(x, norm="ortho"), (x,), order=2)
    real = ft.tensor(random((2, 6), "float64"))
    options = {"n": 5} if name in ONE else {"s": (3, 5)}
    check_grads(lambda x: getattr(ft.fft, name)(x, **options), (real,), order=1)


@pytest.mark.parametrize("name", ONE)
def test_gradients_are_torchs(name):
    torch = pytest.importorskip("torch")
    x = random((3, 5), kind_for(name))
    theirs = torch.from_numpy(x).requires_grad_()
    out = getattr(torch.fft, name)(theirs, 7)
    weights = random(tuple(out.shape), "complex128" if out.is_complex() else "float64", 1)
    (out * torch.from_numpy(weights)).sum().abs().backward()
    ours = ft.tensor(x, requires_grad=True)
    (getattr(ft.fft, name)(ours, 7) * ft.tensor(weights)).sum().abs().backward()
    numpy.testing.assert_allclose(ours.grad.numpy(), theirs.grad.resolve_conj().numpy(), rtol=1e-10)


@pytest.mark.parametrize("name", ONE)
def test_vmap_is_a_loop(name):
    function = getattr(ft.fft, name)
    x = ft.tensor(random((4, 3, 6), kind_for(name)))
    for in_dim in (0, 1, 2):
        got = ft.vmap(lambda x: function(x, dim=0), in_dims=in_dim)(x)
        loop = ft.stack([function(x.select(in_dim, i), dim=0) for i in range(x.shape[in_dim])])
        assert_close(got, loop, 1e-12, 1e-12)

    def loss(x):
        return (function(x).abs() ** 2).sum()

    got = ft.vmap(ft.grad(loss))(x)
    assert_close(got, ft.stack([ft.grad(loss)(x[i]) for i in range(4)]), 1e-12, 1e-12)


def test_roundtrips_and_energy():
    for n in (1, 2, 7, 12, 67, 1000):
        x = ft.tensor(random((3, n), "float64"))
        assert_close(ft.fft.irfft(ft.fft.rfft(x), n), x, 1e-12, 1e-12)
        assert_close(ft.fft.hfft(ft.fft.ihfft(x), n), x, 1e-12, 1e-12)
        energy = (ft.fft.fft(x, norm="ortho").abs() ** 2).sum()
        assert_close(energy, (x * x).sum(), 1e-12, 0)
    z = ft.tensor(random((4, 3, 5)))
    assert_close(ft.fft.ifftn(ft.fft.fftn(z)), z, 1e-12, 1e-12)


def test_layouts_and_empty_batches():
    z = ft.tensor(random((6, 4)))
    assert_close(ft.fft.fft(z.t(), dim=0), ft.fft.fft(z, dim=1).t(), 0, 0)
    assert_close(ft.fft.fft(z[::2, 1:]), ft.fft.fft(z[::2, 1:].contiguous()), 0, 0)
    assert ft.fft.rfft(ft.zeros(0, 6)).shape == (0, 4)
    assert ft.fft.irfft(ft.zeros(3, 0, 5, dtype=ft.complex64)).shape == (3, 0, 8)


def test_axis_is_dim():
    x = ft.tensor(random((3, 4), "float64"))
    assert_close(ft.fft.rfft(x, axis=0), ft.fft.rfft(x, dim=0), 0, 0)
    assert_close(ft.fft.rfft2(x, axes=(1, 0)), ft.fft.rfftn(x, dim=(1, 0)), 0, 0)
    assert_close(ft.fft.fftshift(x, axes=0), ft.fft.fftshift(x, 0), 0, 0)
    with pytest.raises(TypeError, match="a keyword dims"):
        ft.fft.fft(x, dims=0)


def test_one_bad_signal_spoils_no_other():
    x = random((33, 24), "float64")
    x[5, 3] = numpy.nan
    for got in (ft.fft.rfft(ft.tensor(x)), ft.fft.rfft(ft.tensor(x.T.copy()), dim=0).t()):
        bad = numpy.isnan(got.numpy()).any(1)
        assert bad.tolist() == [i == 5 for i in range(33)]


def test_shifts_and_frequencies():
    for shape in ((5,), (4,), (3, 4), (2, 3, 5)):
        x = random(shape, "float64")
        for dim in (None, 0, (0, -1) if len(shape) > 1 else (0,)):
            for name in ("fftshift", "ifftshift"):
                expected = getattr(numpy.fft, name)(x, dim)
                assert_close(getattr(ft.fft, name)(ft.tensor(x), dim), ft.tensor(expected), 0, 0)
    for n in (1, 2, 5, 8):
        for name in ("fftfreq", "rfftfreq"):
            got = getattr(ft.fft, name)(n, 0.5, dtype=ft.float64)
            numpy.testing.assert_allclose(got.numpy(), getattr(numpy.fft, name)(n, 0.5), rtol=1e-15)
    assert ft.fft.fftfreq(4, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ft.fft.fft(ft.ones(3), dim=1), ft.DimError, r"fft: expected a dim in \[-1, 0\]"),
        (lambda: ft.fft.fft(ft.ones(3), n=0), ft.ShapeError, "fft: expected at least one point"),
        (lambda: ft.fft.irfft(ft.ones(1)), ft.ShapeError, "irfft: expected at least one point"),
        (lambda: ft.fft.fft(ft.tensor(1.0)), ft.DimError, "at least one dimension"),
        (lambda: ft.fft.fft(ft.ones(3), norm="x"), ValueError, "fft: expected norm"),
        (lambda: ft.fft.rfft(ft.ones(3, dtype=ft.complex64)), ft.DTypeError, "a real tensor"),
        (lambda: ft.fft.fft(ft.ones(3, dtype=ft.float16)), ft.DTypeError, "got float16"),
        (lambda: ft.fft.fftn(ft.ones(3, 3), dim=(0, -2)), ft.DimError, "dims that differ"),
        (lambda: ft.fft.fftn(ft.ones(3, 3), s=(2,), dim=(0, 1)), ft.ShapeError, "s for 2 dims"),
        (lambda: ft.fft.fftn(ft.ones(3), s=(2, 2)), ft.ShapeError, "at most 1 sizes"),
        (lambda: ft.fft.rfftn(ft.ones(3), dim=()), ft.DimError, "at least one dim"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
