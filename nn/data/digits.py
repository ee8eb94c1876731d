"""1797 real handwritten digits, 8x8 pixels; README.md beside this file names their source."""

from __future__ import annotations

import functorch_like as ft
from functorch_like import Tensor

__all__ = ["load_digits"]

_COUNT, _PIXELS = 1797, 64


def load_digits() -> tuple[Tensor, Tensor]:
    """(images, labels) of the UCI optical recognition test set, in the original order.

    Returns:
      images [1797, 8, 8] float32: 0 (paper) to 1 (ink).
      labels [1797] int64: 0..9.
    Raises:
      ValueError: the file in the package is damaged.
    Reference: Alpaydin & Kaynak 1998, CC BY 4.0.
    Example:
      >>> images, labels = load_digits()
      >>> list(images.shape), labels[:4].tolist()
      ([1797, 8, 8], [0, 1, 2, 3])
    """
    import gzip
    import os
    import zlib

    import numpy as np

    path = os.path.join(os.path.dirname(__file__), "digits8x8.bin.gz")
    try:
        with gzip.open(path) as file:
            data = file.read(_COUNT * (_PIXELS + 1) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"load_digits: expected a whole gzip file, got a damaged {path}. Install again."
        ) from error
    if len(data) != _COUNT * (_PIXELS + 1):
        raise ValueError(
            f"load_digits: expected {_COUNT * (_PIXELS + 1)} bytes in {path}, got {len(data)}. "
            "Install again."
        )
    numbers = np.frombuffer(data, np.uint8)
    pixels = numbers[: _COUNT * _PIXELS].reshape(_COUNT, 8, 8)
    images = ft.tensor((pixels / 16).astype(np.float32))
    return images, ft.tensor(numbers[_COUNT * _PIXELS :].astype(np.int64))
