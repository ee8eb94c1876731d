"""Fourier transforms: one long signal, many short ones, columns, a large prime; stft and back.

The rate counts 5 n log2(n) operations for n complex points, half of it for real ones, as is usual.
"""

import math

import functorch_like as ft

from . import common

SHAPES = {
    "2^10": ((1 << 10,), 0),
    "2^16": ((1 << 16,), 0),
    "2^20": ((1 << 20,), 0),
    "1000": ((1000,), 0),
    "1009": ((1009,), 0),
    "64 x 1024": ((64, 1024), 1),
    "1024 x 64": ((1024, 64), 0),
}
OPS = {
    "fft_c2c": lambda z, _x, _n, dim: ft.fft.fft(z, dim=dim),
    "fft_r2c": lambda _z, x, _n, dim: ft.fft.rfft(x, dim=dim),
    "fft_c2r": lambda z, _x, n, dim: ft.fft.irfft(z, n, dim),
}


class Transform(common.Kept):
    """Each op along one dim; of a half spectrum the first half of the signal is taken."""

    params = [list(OPS), list(SHAPES), ["float32", "float64"]]
    param_names = ["op", "shape", "dtype"]

    def make(self, op, shape, dtype):
        size, self.dim = SHAPES[shape]
        self.n = size[self.dim]
        self.x = common.normal(*size).to(getattr(ft, dtype))
        z = ft.complex(self.x, self.x.flip(self.dim))
        self.z = z.narrow(self.dim, 0, self.n // 2 + 1).contiguous() if op == "fft_c2r" else z
        self.op = OPS[op]

    def call(self):
        return self.op(self.z, self.x, self.n, self.dim)

    def time_op(self, op, shape, dtype):
        return self.call()

    def track_rate(self, op, shape, dtype):
        points = 5 * self.x.numel() * math.log2(self.n) / (1 if op == "fft_c2c" else 2)
        return points / common.seconds(self.call) / 1e9

    track_rate.unit = "GFLOP/s"


class Image(common.Kept):
    """Two dims, 256 x 256, complex and real."""

    params = ["fft2", "rfft2"]
    param_names = ["call"]

    def make(self, call):
        x = common.normal(256, 256)
        self.x = ft.complex(x, x) if call == "fft2" else x

    def time_call(self, call):
        return getattr(ft.fft, call)(self.x)


class Frames(common.Kept):
    """Four seconds of sound at 16 kHz: short-time transform, back, and the gradient of both."""

    n = 16000
    small = {"n": 2000}

    def make(self):
        self.x = common.normal(4, self.n).requires_grad_()
        self.window = ft.hann_window(400)
        self.z = self.there(self.x.detach())

    def there(self, x):
        return ft.stft(x, 400, 160, window=self.window, return_complex=True)

    def time_stft(self):
        return self.there(self.x)

    def time_istft(self):
        return ft.istft(self.z, 400, 160, window=self.window)

    def time_both_backward(self):
        ft.istft(self.there(self.x), 400, 160, window=self.window).sum().backward()
