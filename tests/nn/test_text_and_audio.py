"""Tokenizers, WAV files, mel spectrograms."""

from __future__ import annotations

import wave

import numpy as np
import pytest

import functorch_like as ft
from nn import audio, text

RNG = np.random.default_rng(0)


def test_characters(tmp_path):
    tokenizer = text.CharTokenizer.train("to be or not to be", unknown="?")
    assert tokenizer.decode(tokenizer.encode("not to be")) == "not to be"
    assert tokenizer.decode(tokenizer.encode("not me")) == "not ?e"
    tokenizer.save(tmp_path / "a.json")
    again = text.CharTokenizer.load(tmp_path / "a.json")
    assert again.characters == tokenizer.characters and again.unknown == "?"
    with pytest.raises(ValueError, match=r"got 'z' at 1"):
        text.CharTokenizer("ab").encode("azb")
    with pytest.raises(ValueError, match=r"0\.\.1, got 2"):
        text.CharTokenizer("ab").decode(ft.tensor([0, 2]))
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(ValueError, match="alphabet written by save"):
        text.CharTokenizer.load(tmp_path / "b.json")


def test_bytes():
    tokenizer = text.ByteTokenizer()
    words = "naïve 日本語 \0"
    assert tokenizer.decode(tokenizer.encode(words)) == words
    assert tokenizer.decode([0xFF]) == "\ufffd"
    with pytest.raises(ValueError, match="got 256"):
        tokenizer.decode([256])


def test_tokenizers_of_hugging_face(tmp_path):
    with pytest.raises(FileNotFoundError, match="load_tokenizer"):
        text.load_tokenizer(tmp_path)
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    loaded = text.load_tokenizer(tmp_path)
    assert loaded.encode("b a c").tolist() == [1, 0, 2] and len(loaded) == 3


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_of_every_width(tmp_path, width, channels):
    x = RNG.uniform(-0.9, 0.9, (50, channels))
    if width == 1:
        data = np.round(x * 128 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(x * 2.0 ** (8 * width - 1)).astype("<i4")
        data = whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((channels, width, 22050, 50, "NONE", ""))
        file.writeframes(data)
    waveform, rate = audio.read_wav(tmp_path / "a.wav")
    assert rate == 22050 and waveform.shape == (channels, 50)
    np.testing.assert_allclose(waveform.numpy(), x.T, atol=2.0 ** (1 - 8 * width) + 1e-7)


def test_bad_wav(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0")
    with pytest.raises(ValueError, match=r"read_wav: expected"):
        audio.read_wav(tmp_path / "a.wav")
    with pytest.raises(ft.errors.ShapeError):
        audio.write_wav(tmp_path / "b.wav", ft.zeros(1, 2, 3), 8000)


def test_mel_filters():
    filters = audio.mel_filters(201, 0.0, 8000.0, 20, 16000)
    hz = np.linspace(0, 8000, 201)
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 22)
    edges = 700 * (10 ** (mels / 2595) - 1)
    for m in range(20):
        want = np.interp(hz, edges[m : m + 3], [0, 1, 0], left=0, right=0)
        np.testing.assert_allclose(filters[:, m].numpy(), want, atol=1e-5)
    area = audio.mel_filters(4001, 0.0, 8000.0, 5, 16000, "slaney", "slaney").sum(0) * 2.0
    np.testing.assert_allclose(area.numpy(), 1.0, atol=1e-3)
    for hertz in (100.0, 999.0, 4000.0):
        for scale in ("htk", "slaney"):
            assert audio.mel_to_hz(audio.hz_to_mel(hertz, scale), scale) == pytest.approx(hertz)


def test_a_tone_is_where_it_belongs():
    t = ft.arange(16000) / 16000.0
    tone = (2 * np.pi * 1000.0 * t).sin()
    power = audio.Spectrogram(n_fft=400)(tone)
    assert power.mean(-1).argmax().item() == 25  # 1000 Hz of 40 Hz a bin
    batch = audio.Spectrogram(n_fft=400)(tone.reshape(1, 1, -1))
    ft.testing.assert_close(batch[0, 0], power)


def test_mfcc_equals_scipy():
    fft = pytest.importorskip("scipy.fft")
    x = ft.tensor(RNG.normal(size=3200).astype(np.float32))
    made = audio.MFCC(n_mfcc=13, n_mels=40)
    level = audio.amplitude_to_db(made.mel(x), top_db=80.0).numpy()
    want = fft.dct(level, axis=0, norm="ortho")[:13]
    np.testing.assert_allclose(made(x).numpy(), want, rtol=1e-3, atol=1e-2)
    assert level.max() - level.min() <= 80.0 + 1e-3
    with pytest.raises(ValueError, match="at most n_mels"):
        audio.MFCC(n_mfcc=50, n_mels=40)


def test_gradient_of_silence_is_finite():
    gradient = ft.grad(lambda x: audio.MelSpectrogram(n_mels=8, n_fft=64)(x).sum())(ft.zeros(256))
    assert gradient.isfinite().all()
