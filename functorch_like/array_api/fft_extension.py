"""The Fourier transform extension of the array API standard."""

from __future__ import annotations

from typing import Any

from .. import fft as _fft  # type: ignore[attr-defined]
from ..ops.creation import arange
from ..tensor import Tensor

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfftn", "rfft", "rfftfreq", "rfftn",
]  # fmt: skip


def _along(name: str) -> Any:
    function = getattr(_fft, name)

    def transform(
        x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        return function(x, n, axis, norm)

    transform.__name__, transform.__doc__ = name, function.__doc__
    return transform


def _over(name: str) -> Any:
    function = getattr(_fft, name)

    def transform(
        x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward"
    ) -> Tensor:
        return function(x, s, axes, norm)

    transform.__name__, transform.__doc__ = name, function.__doc__
    return transform


fft, ifft, rfft, irfft, hfft, ihfft = (
    _along(n) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
)
fftn, ifftn, rfftn, irfftn = (_over(n) for n in ("fftn", "ifftn", "rfftn", "irfftn"))


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """Frequency 0 moved to the middle."""
    return _fft.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The inverse of fftshift()."""
    return _fft.ifftshift(x, axes)


def _scaled(numbers: Tensor, n: int, d: float, dtype: Any) -> Tensor:
    from ..ops.creation import empty

    return numbers.to(empty(0, dtype=dtype).dtype) / (n * d)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of fft() of n samples d apart."""
    k = arange(n, device=device)
    return _scaled((k + n // 2) % n - n // 2, n, d, dtype)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of rfft() of n samples d apart."""
    return _scaled(arange(n // 2 + 1, device=device), n, d, dtype)
