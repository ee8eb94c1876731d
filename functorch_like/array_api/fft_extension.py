"""The Fourier transform extension of the array API standard."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..ops.creation import arange
from ..tensor import Tensor
from .array import standardize

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfftn", "rfft", "rfftfreq", "rfftn",
]  # fmt: skip


def _of(name: str) -> Any:
    return getattr(import_module("functorch_like.fft"), name)


def _along(name: str) -> Any:
    """A transform along one axis; looked up at the call, as the package's own module is lazy."""

    def transform(
        x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        return _of(name)(x, n, axis, norm)

    transform.__name__, transform.__doc__ = name, f"{name}() as in the package's fft."
    return transform


def _over(name: str) -> Any:
    """A transform over several axes."""

    def transform(
        x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward"
    ) -> Tensor:
        return _of(name)(x, s, axes, norm)

    transform.__name__, transform.__doc__ = name, f"{name}() as in the package's fft."
    return transform


fft, ifft, rfft, irfft, hfft, ihfft = (
    _along(n) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
)
fftn, ifftn, rfftn, irfftn = (_over(n) for n in ("fftn", "ifftn", "rfftn", "irfftn"))


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """Frequency 0 moved to the middle."""
    return _of("fftshift")(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The inverse of fftshift()."""
    return _of("ifftshift")(x, axes)


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


standardize(globals(), __all__)
