"""Sound: WAV files, spectrograms on the mel scale, MFCC. Waveforms are [..., samples]."""

from __future__ import annotations

import math
import os
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.module import Module

__all__ = [
    "MFCC", "AmplitudeToDB", "MelSpectrogram", "Spectrogram", "amplitude_to_db", "hz_to_mel",
    "mel_filters", "mel_to_hz", "read_wav", "write_wav",
]  # fmt: skip


# ---- files ----


def read_wav(path: str | os.PathLike[str]) -> tuple[Tensor, int]:
    """The sound in a file.

    PCM WAV of 8, 16, 24 and 32 bits is read by Python itself, other formats through the package
    soundfile where it is installed.

    Returns:
      waveform [channels, samples] float32 in -1..1, and samples a second.
    Raises:
      ValueError: not a sound file that can be read here.
    Example:
      >>> import functorch_like as ft, os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "a.wav")
      >>> write_wav(path, ft.tensor([[0.0, 0.5, -0.5]]), 8000)
      >>> read_wav(path)
      (tensor([[ 0.0000,  0.5000, -0.5000]]), 8000)
    """
    import wave

    import numpy as np

    path = os.fspath(path)
    try:
        with wave.open(path, "rb") as file:
            channels, width, rate, count = file.getparams()[:4]
            data = file.readframes(count)
    except (wave.Error, EOFError) as error:
        return _soundfile(path, str(error) or "a file that ends early")
    if width == 3:  # as the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        values = wide.view("<i4").reshape(-1) / 2.0**31
    elif width == 1:
        values = np.frombuffer(data, np.uint8) / 128.0 - 1.0
    else:
        values = np.frombuffer(data[: len(data) // width * width], f"<i{width}")
        values = values / 2.0 ** (8 * width - 1)
    values = values[: len(values) // channels * channels].reshape(-1, channels).T
    return ft.tensor(np.ascontiguousarray(values, np.float32)), rate


def _soundfile(path: str, problem: str) -> tuple[Tensor, int]:
    try:
        import soundfile  # type: ignore[import-not-found]
    except ImportError:
        raise ValueError(
            f"read_wav: expected a PCM WAV file, got {path}: {problem}. "
            'For other formats: pip install "functorch-like[audio]"'
        ) from None
    import numpy as np

    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"read_wav: expected a sound file, got {path}: {error}") from error
    return ft.tensor(np.ascontiguousarray(values.T)), int(rate)


def write_wav(path: str | os.PathLike[str], waveform: Tensor, sample_rate: int) -> None:
    """Write a waveform as 16-bit PCM WAV; values outside of -1..1 are clipped.

    Args:
      waveform [channels, samples] or [samples] floating.
      sample_rate: samples a second.
    Raises:
      ShapeError: another shape.
    """
    import wave

    if waveform.ndim not in (1, 2):
        raise ft.errors.ShapeError(
            f"write_wav: expected [channels, samples] or [samples], got {list(waveform.shape)}."
        )
    x = waveform.detach().reshape((1, -1)) if waveform.ndim == 1 else waveform.detach()
    data = (x.to(ft.float64) * 32768).round().clamp(-32768, 32767).to(ft.int16)
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(x.shape[0])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(data.T.contiguous().numpy().astype("<i2").tobytes())


# ---- the mel scale ----


def hz_to_mel(hz: float, scale: str = "htk") -> float:
    """A frequency in mel.

    Args:
      scale: "htk", 2595 log10(1 + f / 700); "slaney", linear below 1000 Hz, logarithmic above.
    Example:
      >>> round(hz_to_mel(1000.0), 2), round(hz_to_mel(1000.0, "slaney"), 2)
      (999.99, 15.0)
    """
    if _checked(scale) == "htk":
        return 2595.0 * math.log10(1.0 + hz / 700.0)
    return hz * 3 / 200 if hz < 1000 else 15.0 + 27.0 * math.log(hz / 1000.0) / math.log(6.4)


def mel_to_hz(mel: float, scale: str = "htk") -> float:
    """The inverse of hz_to_mel."""
    if _checked(scale) == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return mel * 200 / 3 if mel < 15 else 1000.0 * math.exp((mel - 15.0) * math.log(6.4) / 27.0)


def _checked(scale: str) -> str:
    if scale not in ("htk", "slaney"):
        raise ValueError(f'mel scale: expected "htk" or "slaney", got {scale!r}.')
    return scale


def mel_filters(
    n_freqs: int,
    f_min: float,
    f_max: float,
    n_mels: int,
    sample_rate: int,
    norm: str | None = None,
    mel_scale: str = "htk",
) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale.

    Args:
      n_freqs: frequencies of the spectrum, from 0 to sample_rate / 2.
      f_min, f_max: where the first filter begins and the last one ends, in Hz.
      norm: "slaney" gives every filter the area 1.
    Returns:
      [n_freqs, n_mels] float32.
    Reference: Stevens, Volkmann, Newman 1937 (the scale); Slaney 1998, Auditory Toolbox.
    """
    if norm not in (None, "slaney"):
        raise ValueError(f'mel_filters: expected norm None or "slaney", got {norm!r}.')
    low, high = hz_to_mel(f_min, mel_scale), hz_to_mel(f_max, mel_scale)
    step = (high - low) / (n_mels + 1)
    points = [mel_to_hz(low + k * step, mel_scale) for k in range(n_mels + 2)]
    edges = ft.tensor(points, dtype=ft.float64)
    hz = ft.linspace(0, sample_rate // 2, n_freqs, dtype=ft.float64).unsqueeze(1)
    width = edges[1:] - edges[:-1]
    rise = (hz - edges[:-2]) / width[:-1]
    fall = (edges[2:] - hz) / width[1:]
    filters = ft.minimum(rise, fall).clamp(min=0.0)
    if norm == "slaney":
        filters = filters * (2.0 / (edges[2:] - edges[:-2]))
    return filters.to(ft.float32)


# ---- layers ----


class Spectrogram(Module):
    """|STFT| ** power.

    Args:
      n_fft: points of a transform; win_length: of the window (n_fft); hop_length: between
        transforms (win_length // 2).
      window: [win_length]; a periodic Hann window if None.
      power: 1 for the magnitude, 2 for the power, None for the complex spectrum.
    Shape:
      [..., samples] -> [..., n_fft // 2 + 1, frames].
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        window: Tensor | None = None,
        power: float | None = 2.0,
        center: bool = True,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.n_fft, self.win_length = n_fft, win_length or n_fft
        self.hop_length = hop_length or self.win_length // 2
        self.power, self.center, self.normalized = power, center, normalized
        window = ft.hann_window(self.win_length) if window is None else window
        self.register_buffer("window", window)

    def forward(self, waveform: Tensor) -> Tensor:
        """The spectrogram of a waveform."""
        flat = waveform.reshape((-1, waveform.shape[-1]))
        out = ft.stft(
            flat,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=self.center,
            return_complex=True,
        )
        if self.normalized:
            out = out / (self.window**2).sum().sqrt()
        if self.power is not None:
            # the square without a root, which has no derivative at 0
            square = out.real**2 + out.imag**2
            out = square if self.power == 2 else square ** (self.power / 2)
        return out.reshape((*waveform.shape[:-1], *out.shape[-2:]))


class MelSpectrogram(Module):
    """A power spectrogram through mel filters.

    Args:
      sample_rate: samples a second.
      n_fft, win_length, hop_length, window, power, center, normalized: as in Spectrogram.
      f_min, f_max, n_mels, norm, mel_scale: as in mel_filters; f_max is sample_rate / 2 if None.
    Shape:
      [..., samples] -> [..., n_mels, frames].
    Example:
      >>> import functorch_like as ft
      >>> MelSpectrogram(n_mels=40)(ft.zeros(2, 1600)).shape
      Size([2, 40, 9])
    """

    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_mels: int = 128,
        norm: str | None = None,
        mel_scale: str = "htk",
        **options: Any,
    ) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(n_fft, win_length, hop_length, **options)
        top = sample_rate / 2 if f_max is None else f_max
        filters = mel_filters(n_fft // 2 + 1, f_min, top, n_mels, sample_rate, norm, mel_scale)
        self.register_buffer("filters", filters)

    def forward(self, waveform: Tensor) -> Tensor:
        """The mel spectrogram of a waveform."""
        return self.filters.T @ self.spectrogram(waveform)


def amplitude_to_db(
    x: Tensor,
    multiplier: float = 10.0,
    amin: float = 1e-10,
    ref: float = 1.0,
    top_db: float | None = None,
) -> Tensor:
    """multiplier * log10(max(x, amin) / ref), in decibel.

    Args:
      multiplier: 10 for power, 20 for amplitude.
      top_db: values further below the largest one of x [..., freqs, frames] are raised to it, each
        leading index by itself.
    Example:
      >>> import functorch_like as ft
      >>> amplitude_to_db(ft.tensor([1.0, 0.1, 0.0]))
      tensor([   0.,  -10., -100.])
    """
    out = multiplier * x.clamp(min=amin).log10() - multiplier * math.log10(max(amin, ref))
    if top_db is None:
        return out
    dims = tuple(range(max(out.ndim - 3, 0), out.ndim))
    return ft.maximum(out, out.amax(dims, keepdim=True) - top_db)


class AmplitudeToDB(Module):
    """amplitude_to_db as a layer: stype "power" or "magnitude"."""

    def __init__(self, stype: str = "power", top_db: float | None = None) -> None:
        super().__init__()
        if stype not in ("power", "magnitude"):
            raise ValueError(f'AmplitudeToDB: expected "power" or "magnitude", got {stype!r}.')
        self.multiplier, self.top_db = 10.0 if stype == "power" else 20.0, top_db

    def forward(self, x: Tensor) -> Tensor:
        """x in decibel."""
        return amplitude_to_db(x, self.multiplier, top_db=self.top_db)


class MFCC(Module):
    """Cepstral coefficients: the cosine transform of a mel spectrogram in decibel.

    Args:
      n_mfcc: coefficients.
      log_mels: take log(x + 1e-6) in place of decibel with top_db=80.
      **mel: arguments of MelSpectrogram.
    Shape:
      [..., samples] -> [..., n_mfcc, frames].
    Reference: Davis & Mermelstein 1980.
    """

    transform: Tensor

    def __init__(
        self, sample_rate: int = 16000, n_mfcc: int = 40, log_mels: bool = False, **mel: Any
    ) -> None:
        super().__init__()
        self.mel = MelSpectrogram(sample_rate, **mel)
        n_mels = self.mel.filters.shape[1]
        if n_mfcc > n_mels:
            raise ValueError(f"MFCC: expected n_mfcc of at most n_mels={n_mels}, got {n_mfcc}.")
        self.log_mels = log_mels
        # the orthonormal DCT-II
        k = ft.arange(n_mfcc, dtype=ft.float64).unsqueeze(1)
        n = ft.arange(n_mels, dtype=ft.float64)
        transform = (math.pi / n_mels * (n + 0.5) * k).cos() * math.sqrt(2 / n_mels)
        transform = ft.where(k == 0, transform * math.sqrt(0.5), transform)
        self.register_buffer("transform", transform.to(ft.float32))

    def forward(self, waveform: Tensor) -> Tensor:
        """The coefficients of a waveform."""
        mel = self.mel(waveform)
        level = (mel + 1e-6).log() if self.log_mels else amplitude_to_db(mel, top_db=80.0)
        return self.transform @ level
