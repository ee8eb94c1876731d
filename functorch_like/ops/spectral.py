"""The short-time Fourier transform, its inverse, and the windows that torch has at top level.

Composites: frames are gathered by index, windowed and transformed; the inverse adds them up again.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, ShapeError, message
from ..signal import windows
from ..tensor import Tensor
from .creation import arange, ones, zeros
from .gather import index_add
from .join import narrow, pad
from .views import view_as_real

__all__ = [
    "bartlett_window", "blackman_window", "hamming_window", "hann_window", "istft", "kaiser_window",
    "stft",
]  # fmt: skip


# ---- frames ----


def _places(count: int, size: int, hop: int, device: Any) -> Tensor:
    """The places that frames take, [count * size]."""
    starts = arange(count, device=device).unsqueeze(1) * hop
    return (starts + arange(size, device=device)).reshape((-1,))


def _frames(x: Tensor, size: int, hop: int) -> Tensor:
    """[..., n] -> [..., count, size]: windows of x, `hop` apart."""
    count = 1 + (x._shape[-1] - size) // hop
    taken = x.index_select(-1, _places(count, size, hop, x.device))
    return taken.reshape((*x._shape[:-1], count, size))


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """[..., count, size] -> [..., n]: the transpose of _frames()."""
    *lead, count, size = frames._shape
    out = zeros(*lead, size + hop * (count - 1), dtype=frames.dtype, device=frames.device)
    places = _places(count, size, hop, frames.device)
    return index_add(out, -1, places, frames.reshape((*lead, count * size)))


def _prepared(
    op: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None
) -> tuple[int, Tensor | None]:
    """The hop, and the window on n_fft points."""
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop < 1:
        raise ValueError(message(op, "hop_length of at least 1", hop))
    if not 0 < length <= n_fft:
        raise ValueError(message(op, f"win_length in [1, {n_fft}], n_fft", length))
    if window is not None and window._shape != (length,):
        raise ShapeError(
            message(op, f"a window of shape [{length}], win_length", list(window._shape))
        )
    if length < n_fft:
        left = (n_fft - length) // 2
        window = ones(length) if window is None else window
        window = pad(window, (left, n_fft - length - left))
    return hop, window


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The short-time Fourier transform: the spectra of windows that move over a signal.

    Args:
      input [..., L] real or complex: at most one dimension before the last.
      n_fft: points of a frame.
      hop_length: from one frame to the next; default n_fft // 4.
      window [win_length]: default ones; a shorter one than n_fft lies in the middle of a frame.
      center: frame t is centred at t * hop_length: the signal is padded by n_fft // 2 at both ends.
      normalized: divides by sqrt(n_fft).
      onesided: n_fft // 2 + 1 frequencies, the default for real signals and windows; else n_fft.
      return_complex: must be given for real signals; False puts the parts into a last dimension.
      align_to_window: without center, frames end where their window does.
    Returns:
      [..., frequencies, frames] complex.
    Raises:
      ShapeError: the signal is shorter than a frame, or the window has another length.
      ValueError: return_complex is missing; onesided for complex values.
    Reference: Griffin & Lim 1984.
    Example:
      >>> stft(ones(8), 4, window=hann_window(4), return_complex=True).abs()[0]
      tensor([2., 2., 2., 2., 2., 2., 2., 2., 2.])
    """
    from .. import fft

    if input.ndim not in (1, 2):
        raise ShapeError(message("stft", "a signal [L] or [B, L]", list(input._shape)))
    if not input.dtype.is_inexact:
        raise DTypeError(message("stft", "a floating or complex signal", input.dtype, "Cast it."))
    is_complex = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not is_complex:
            raise ValueError(
                message("stft", "return_complex for a real signal", "none", "Pass True.")
            )
        return_complex = True
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise ValueError(message("stft", "onesided=False for complex values", "onesided=True"))
    if center and align_to_window is not None:
        raise ValueError(message("stft", "align_to_window without center", "center=True"))
    length = n_fft if win_length is None else win_length
    hop, window = _prepared("stft", n_fft, hop_length, win_length, window)
    x = input
    if center:
        x = pad(x, (n_fft // 2, n_fft // 2), pad_mode)
    elif align_to_window:
        left = (n_fft - length) // 2
        x = pad(x, (left, left))
    if x._shape[-1] < n_fft:
        raise ShapeError(message("stft", f"at least n_fft = {n_fft} points", x._shape[-1]))
    frames = _frames(x, n_fft, hop)
    frames = frames if window is None else frames * window
    transform = fft.rfft if onesided else fft.fft
    out = transform(frames, norm="ortho" if normalized else None).transpose(-1, -2)
    return out if return_complex else view_as_real(out)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose short-time Fourier transform comes nearest to the input: stft()'s inverse.

    Args:
      input [..., frequencies, frames] complex.
      length: points of the result; default what the frames cover, without the padding of center.
      return_complex: the signal was complex.
    Returns:
      [..., length].
    Raises:
      ValueError: somewhere all windows are zero.
      ShapeError: the number of frequencies does not fit n_fft.
    Reference: Griffin & Lim 1984.
    Example:
      >>> w = hann_window(4)
      >>> istft(stft(tensor([1.0, 2.0, 3.0, 4.0]), 4, window=w, return_complex=True), 4, window=w)
      tensor([1., 2., 3., 4.])
    """
    from .. import fft

    if not input.dtype.is_complex:
        raise DTypeError(message("istft", "a complex tensor", input.dtype, "Use view_as_complex."))
    if input.ndim not in (2, 3) or not input.numel():
        raise ShapeError(
            message(
                "istft", "[frequencies, frames] or [B, frequencies, frames]", list(input._shape)
            )
        )
    frequencies, count = input._shape[-2:]
    onesided = frequencies != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if frequencies != wanted:
        raise ShapeError(message("istft", f"{wanted} frequencies", frequencies))
    if onesided and return_complex:
        raise ValueError(message("istft", "onesided=False for a complex signal", "onesided=True"))
    hop, window = _prepared("istft", n_fft, hop_length, win_length, window)
    spectra, norm = input.transpose(-1, -2), "ortho" if normalized else None
    frames = fft.irfft(spectra, n_fft, norm=norm) if onesided else fft.ifft(spectra, norm=norm)
    if not onesided and not return_complex:
        frames = frames.real
    if window is None:
        window = ones(n_fft, dtype=frames.dtype, device=frames.device)
    y = _overlap_add(frames * window, hop)
    envelope = _overlap_add((window * window).expand((count, n_fft)), hop)
    start = n_fft // 2 if center else 0
    covered = y._shape[-1]
    end = start + length if length is not None else covered - start
    kept = max(min(end, covered) - start, 0)
    y, envelope = narrow(y, -1, start, kept), narrow(envelope, -1, start, kept)
    # a traced window's values are not known here
    if envelope._v and bool((envelope.detach().abs() < 1e-11).any()):
        raise ValueError(
            message("istft", "windows that are not zero all at once", "a gap", "Use a smaller hop.")
        )
    y = y / envelope
    return pad(y, (0, end - covered)) if end > covered else y


# ---- windows under their older names ----


def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """signal.windows.hann(), periodic by default.

    Example:
      >>> hann_window(4)
      tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return windows.hann(
        window_length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad
    )


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """alpha - beta cos(t), t from 0 to 2 pi, periodic by default."""
    return windows.general_cosine(
        window_length,
        a=(alpha, beta),
        sym=not periodic,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
    )


def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """signal.windows.bartlett(), periodic by default."""
    return windows.bartlett(
        window_length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad
    )


def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """signal.windows.blackman(), periodic by default."""
    return windows.blackman(
        window_length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad
    )


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """signal.windows.kaiser(), periodic by default."""
    return windows.kaiser(
        window_length,
        beta=beta,
        sym=not periodic,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
    )


Tensor.stft = stft  # type: ignore[attr-defined]
Tensor.istft = istft  # type: ignore[attr-defined]
