"""Windows and the short-time Fourier transform, against torch and against their definitions."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close, check_grads

W = ft.signal.windows
WINDOWS = [
    ("bartlett", {}),
    ("blackman", {}),
    ("cosine", {}),
    ("exponential", {"tau": 3.0}),
    ("gaussian", {"std": 2.5}),
    ("general_cosine", {"a": [0.46, 0.23, 0.31]}),
    ("general_hamming", {"alpha": 0.6}),
    ("hamming", {}),
    ("hann", {}),
    ("kaiser", {"beta": 8.0}),
    ("kaiser", {"beta": 0.0}),
    ("nuttall", {}),
]


@pytest.mark.parametrize(("name", "options"), WINDOWS)
@pytest.mark.parametrize("sym", [True, False])
def test_windows_are_torchs(name, options, sym):
    torch = pytest.importorskip("torch")
    for m in (0, 1, 2, 7, 12):
        got = getattr(W, name)(m, sym=sym, dtype=ft.float64, **options)
        expected = getattr(torch.signal.windows, name)(m, sym=sym, dtype=torch.float64, **options)
        assert_close(got, ft.tensor(expected.numpy()), 1e-12, 1e-14)
    assert getattr(W, name)(5, sym=sym, **options).dtype is ft.float32


@pytest.mark.parametrize(("name", "options"), WINDOWS)
def test_windows_are_scipys(name, options):
    windows = pytest.importorskip("scipy.signal.windows")
    if name in ("general_cosine", "general_hamming", "gaussian", "kaiser"):
        arguments, options = list(options.values()), dict(options)
        expected = getattr(windows, name)(9, *arguments)
    else:
        expected = getattr(windows, name)(9, **options)
    got = getattr(W, name)(9, dtype=ft.float64, **options)
    numpy.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("periodic", [True, False])
def test_older_names(periodic):
    for name in ("hann", "hamming", "bartlett", "blackman", "kaiser"):
        expected = getattr(W, name)(10, sym=not periodic)
        assert_close(getattr(ft, f"{name}_window")(10, periodic), expected, 1e-6, 1e-7)
    got = ft.hamming_window(6, True, 0.7, 0.2, dtype=ft.float64)
    assert_close(
        got, 0.7 - 0.2 * (2 * numpy.pi / 6 * ft.arange(6, dtype=ft.float64)).cos(), 0, 1e-15
    )


def test_wide_kaiser_windows_do_not_overflow():
    window = W.kaiser(65, beta=2000.0, dtype=ft.float64)
    assert bool(window.isfinite().all())
    assert float(window[32]) == pytest.approx(1)


STFT = [
    {},
    {"hop_length": 3},
    {"win_length": 6},
    {"center": False},
    {"center": False, "win_length": 4, "align_to_window": True},
    {"normalized": True},
    {"onesided": False},
    {"pad_mode": "constant"},
]


def signal(shape, dtype="float64", seed=0):
    generator = numpy.random.default_rng(seed)
    x = generator.standard_normal(shape)
    return (x + 1j * generator.standard_normal(shape) if "complex" in dtype else x).astype(dtype)


@pytest.mark.parametrize("options", STFT, ids=str)
@pytest.mark.parametrize("shape", [(20,), (2, 21)])
def test_stft_is_torchs(shape, options):
    torch = pytest.importorskip("torch")
    for dtype in ("float64", "complex128"):
        x = signal(shape, dtype)
        window = signal((options.get("win_length", 8),), seed=1)
        call = {**options, "return_complex": True}
        expected = torch.stft(torch.from_numpy(x), 8, window=torch.from_numpy(window), **call)
        got = ft.stft(ft.tensor(x), 8, window=ft.tensor(window), **call)
        assert_close(got, ft.tensor(expected.resolve_conj().numpy()), 1e-10, 1e-12)
    parts = ft.stft(ft.tensor(signal(shape)), 8, return_complex=False, **options)
    assert parts.shape[-1] == 2 and parts.dtype is ft.float64


@pytest.mark.parametrize(
    "options",
    [{}, {"hop_length": 3}, {"win_length": 6}, {"center": False}, {"normalized": True}],
    ids=str,
)
@pytest.mark.parametrize("length", [None, 11, 18])
@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
def test_istft_is_torchs(options, length):
    torch = pytest.importorskip("torch")
    if length == 18 and "win_length" in options:
        pytest.skip("the window's margin leaves a gap at the end, which is an error")
    for onesided in (True, False):
        z = signal((2, 5 if onesided else 8, 7), "complex128")
        window = signal((options.get("win_length", 8),), seed=1) + 4
        call = {**options, "length": length}
        if not onesided:
            call["return_complex"] = True
        expected = torch.istft(torch.from_numpy(z), 8, window=torch.from_numpy(window), **call)
        got = ft.istft(ft.tensor(z), 8, window=ft.tensor(window), **call)
        assert_close(got, ft.tensor(expected.numpy()), 1e-10, 1e-12)


def test_istft_undoes_stft():
    x = ft.tensor(signal((2, 64)))
    window = ft.hann_window(16, dtype=ft.float64)
    z = ft.stft(x, 16, window=window, return_complex=True)
    assert_close(ft.istft(z, 16, window=window, length=64), x, 1e-12, 1e-12)


def test_derivatives_and_vmap():
    window = ft.hann_window(8, dtype=ft.float64) + 0.1

    def there(x, window):
        return ft.stft(x, 8, window=window, return_complex=True)

    def back(z, window):
        return ft.istft(z, 8, window=window)

    x, z = ft.tensor(signal(20)), ft.tensor(signal((5, 6), "complex128"))
    check_grads(there, (x, window), order=2)
    check_grads(back, (z, window), order=2)
    xs, zs = ft.tensor(signal((3, 20))), ft.tensor(signal((3, 5, 6), "complex128"))
    for function, values in ((there, xs), (back, zs)):
        loop = ft.stack([function(v, window) for v in values])
        assert_close(ft.vmap(function, (0, None))(values, window), loop, 1e-12, 1e-12)
        windows = ft.stack([window, window + 1, window * 2])
        loop = ft.stack([function(v, w) for v, w in zip(values, windows, strict=True)])
        assert_close(ft.vmap(function)(values, windows), loop, 1e-12, 1e-12)

        def loss(v, function=function):
            return (function(v, window).abs() ** 2).sum()

        got = ft.vmap(ft.grad(loss))(values)
        assert_close(got, ft.stack([ft.grad(loss)(v) for v in values]), 1e-12, 1e-12)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: W.hann(-1), ValueError, "a length of at least 0"),
        (lambda: W.gaussian(5, std=0), ValueError, "gaussian: expected std above 0"),
        (lambda: W.exponential(5, center=1.0), ValueError, "no center"),
        (lambda: W.general_cosine(5, a=[]), ValueError, "at least one factor"),
        (lambda: W.hann(5, dtype=ft.int64), ft.DTypeError, "a floating dtype"),
        (lambda: ft.stft(ft.ones(9), 4), ValueError, "stft: expected return_complex"),
        (lambda: ft.stft(ft.ones(1), 4, center=False, return_complex=True), ft.ShapeError, "n_fft"),
        (lambda: ft.stft(ft.ones(9), 4, 0, return_complex=True), ValueError, "hop_length"),
        (
            lambda: ft.stft(ft.ones(9), 4, window=ft.ones(3), return_complex=True),
            ft.ShapeError,
            "a window of shape",
        ),
        (lambda: ft.istft(ft.ones(3, 4), 4), ft.DTypeError, "istft: expected a complex tensor"),
        (
            lambda: ft.istft(ft.ones(4, 4, dtype=ft.complex64), 4, onesided=True),
            ft.ShapeError,
            "3 frequencies",
        ),
        (
            lambda: ft.istft(ft.ones(3, 4, dtype=ft.complex64), 4, window=ft.zeros(4)),
            ValueError,
            "not zero all at once",
        ),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
