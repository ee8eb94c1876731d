"""Files of images: IDX (MNIST's format) and whatever Pillow reads."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Any

import functorch_like as ft
from functorch_like import Tensor

__all__ = ["read_idx", "read_image", "write_image"]

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The tensor in an IDX file, the format of MNIST; also compressed by gzip.

    Args:
      path: the file; gzip is told by its first bytes.
    Returns:
      A tensor of the shape and dtype that the file's head gives.
    Raises:
      ValueError: not an IDX file, or one that was cut off or has bytes too many.
    Reference: Y. LeCun, C. Cortes, C. Burges, the MNIST database, section "file formats".
    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
      >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
      >>> read_idx(path)
      tensor([7, 2, 1], dtype=uint8)
    """
    import numpy as np

    path = os.fspath(path)
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
                raise ValueError(
                    f"read_idx: expected an IDX file, got {path} that starts with {head!r}."
                )
            sizes = file.read(4 * head[3])
            shape = tuple(int(n) for n in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
            dtype = np.dtype(_IDX_TYPES[head[2]])
            count = 1
            for size in shape:
                count *= size
            wanted = count * dtype.itemsize
            limit = wanted + 1 if packed else os.path.getsize(path)
            data = file.read(min(wanted + 1, limit))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"read_idx: expected a whole gzip file, got a damaged {path}. Fetch it again."
        ) from error
    if len(shape) != head[3] or len(data) != wanted:
        raise ValueError(
            f"read_idx: expected {wanted} bytes for shape {list(shape)} in {path}, "
            f"got {'more' if len(data) > wanted else len(data)}. Fetch it again."
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return ft.tensor(array.astype(dtype.newbyteorder("=")))


def _pillow(op: str) -> Any:
    try:
        from PIL import Image  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"{op}: expected Pillow, which reads and writes image files. "
            'Install it: pip install "functorch-like[vision]"'
        ) from error
    return Image


def read_image(path: str | os.PathLike[str], mode: str = "RGB") -> Tensor:
    """An image file as a tensor.

    Args:
      path: a file in any format that Pillow reads.
      mode: "RGB", "L" (grey) or "RGBA", to which the image is converted.
    Returns:
      uint8 [channels, height, width].
    Raises:
      ValueError: the file is not an image, or a damaged one.
      ImportError: Pillow is not installed.
    """
    import numpy as np

    image = _pillow("read_image")
    if mode not in ("RGB", "L", "RGBA"):
        raise ValueError(f"read_image: expected mode 'RGB', 'L' or 'RGBA', got {mode!r}.")
    try:
        with image.open(path) as picture:
            array = np.array(picture.convert(mode))
    except (image.UnidentifiedImageError, SyntaxError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"read_image: expected an image, got {os.fspath(path)}: {error}."
        ) from error
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return ft.tensor(np.ascontiguousarray(array))


def write_image(image: Tensor, path: str | os.PathLike[str]) -> None:
    """Write an image; the ending of the path names the format.

    Args:
      image [channels, height, width] of 1, 3 or 4 channels: uint8, or floats in [0, 1].
      path: such as "a.png".
    Raises:
      ShapeError: another shape. ImportError: Pillow is not installed.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        raise ft.errors.ShapeError(
            f"write_image: expected [1, 3 or 4, height, width], got {list(image.shape)}."
        )
    x = image.detach()
    if x.dtype.is_floating_point:
        x = (x.clamp(0, 1) * 255).round().to(ft.uint8)
    array = x.permute(1, 2, 0).contiguous().numpy()
    _pillow("write_image").fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path)
