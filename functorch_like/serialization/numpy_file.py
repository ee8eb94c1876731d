"""NumPy's .npz files: named arrays in a zip file, without pickles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import functorch_like as ft

from ..tensor import Tensor
from .atomic import explained, replacing

__all__ = ["load_npz", "save_npz"]

_MAX_BYTES = 1 << 36  # of all arrays together: compressed files may claim to hold any amount


def save_npz(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], compress: bool = False
) -> None:
    """Write tensors to a .npz file, which replaces an old one only once it is complete.

    Args:
      tensors: names and tensors; bfloat16 is written as float32, which NumPy knows.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"save_npz: expected tensors, got {type(tensor).__name__} for {name!r}."
            )
        tensor = tensor.detach().cpu()
        arrays[name] = (tensor.float() if tensor.dtype == ft.bfloat16 else tensor).numpy()
    write = np.savez_compressed if compress else np.savez
    with replacing(os.fspath(path), "save_npz") as draft, open(draft, "wb") as file:
        write(file, **arrays)


def load_npz(path: str | os.PathLike[str], max_bytes: int = _MAX_BYTES) -> dict[str, Tensor]:
    """The arrays of a .npz file as tensors.

    Args:
      max_bytes: of all arrays together.
    Raises:
      FileFormatError: a damaged file, arrays of Python objects, or more than max_bytes.
    """
    import numpy as np

    name = os.fspath(path)
    tensors: dict[str, Tensor] = {}
    entry = ""

    def message(why: str) -> str:
        return (
            f"load: expected a whole .npz file of numbers, got {name}: {entry}{why}. Copy or save "
            "it again."
        )

    import zipfile

    with explained(message), zipfile.ZipFile(name) as archive:
        infos = archive.infolist()
        total = sum(info.file_size for info in infos)
        if total > max_bytes:
            raise ValueError(f"its arrays take {total} bytes, more than max_bytes={max_bytes}")
        for info in infos:
            entry = f"{info.filename!r} at byte {info.header_offset}: "
            with archive.open(info) as file:
                array = _array(file, info.file_size)
            key = info.filename.removesuffix(".npy")
            tensors[key] = ft.from_numpy(np.require(array, requirements=["A", "W"]))
    return tensors


def _array(file: Any, size: int) -> Any:
    """One array; what its header claims is compared with the entry's size before memory is made."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version in ((2, 0), (3, 0)):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the .npy format is unknown")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    count = 1
    for extent in shape:
        count *= extent
    if count * dtype.itemsize > size:
        raise ValueError(f"its header claims {count * dtype.itemsize} of {size} bytes")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"expected {count * dtype.itemsize} bytes, got {len(data)}")
    flat = np.frombuffer(bytearray(data), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
