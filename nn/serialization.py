"""Saving and loading tensors as safetensors files: a JSON header and raw bytes, nothing that could
run code.

The format is small enough that it is read and written here: that way an error names the file, the
tensor and the offset, bytes are read straight into place, and a hostile header is refused before
memory is taken for it. The safetensors library reads these files and writes ones that load here;
tests hold the two together.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import functorch_like as ft
from functorch_like import Tensor
from nn.module import Module

__all__ = ["FileFormatError", "load", "load_metadata", "save"]

_MAX_HEADER = 100_000_000  # bytes; the safetensors library's own limit
_MAX_SIZE = 2**63 - 1
_METADATA = "__metadata__"
_COMPLEX128 = (
    "complex128"  # the format has no such type: stored as pairs of F64, their names in the metadata
)

# code in the file -> (our dtype's name, NumPy's name for the bytes, bytes of one element)
_CODES = {
    "BOOL": ("bool", "uint8", 1),
    "U8": ("uint8", "uint8", 1),
    "I8": ("int8", "int8", 1),
    "U16": ("uint16", "uint16", 2),
    "I16": ("int16", "int16", 2),
    "U32": ("uint32", "uint32", 4),
    "I32": ("int32", "int32", 4),
    "U64": ("uint64", "uint64", 8),
    "I64": ("int64", "int64", 8),
    "F16": ("float16", "float16", 2),
    "BF16": ("bfloat16", "uint16", 2),
    "F32": ("float32", "float32", 4),
    "F64": ("float64", "float64", 8),
    "C64": ("complex64", "complex64", 8),
}


class FileFormatError(ValueError):
    """A file that is no whole, valid safetensors file; the message says which and why."""


class _Entry(NamedTuple):
    code: str
    shape: list[int]
    begin: int  # bytes from the end of the header
    end: int


def save(
    obj: Module | Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors to a safetensors file.

    Args:
      obj: a dict of names and tensors, such as model.state_dict(); or a Module, whose state_dict is
        taken.
      path: the file; an existing one is replaced only once the new one is complete.
      metadata: strings to keep with the tensors; load_metadata gives them back.
    Raises:
      TypeError: a value that is no tensor, or metadata that is no string.
      OSError: the file cannot be written; an existing file is unchanged.
    Example:
      >>> import functorch_like as ft, nn, os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
      >>> nn.save({"w": ft.tensor([1.0, 2.0])}, path)
      >>> nn.load(path)
      {'w': tensor([1., 2.])}
    """
    tensors = obj.state_dict() if isinstance(obj, Module) else obj
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f"save: expected a Module or a dict of tensors, got {type(obj).__name__}. Pass "
            "model.state_dict()."
        )
    notes = dict(metadata or {})
    for key, value in notes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"save: expected strings as metadata, got {key!r}: {value!r}. Use str() or "
                "json.dumps()."
            )
    arrays: dict[str, tuple[str, Any]] = {}
    pairs = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == _METADATA:
            raise TypeError(
                f"save: expected strings other than {_METADATA} as names, got {name!r}."
            )
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"save: expected tensors, got {type(tensor).__name__} for {name!r}. Put settings "
                "in metadata=."
            )
        arrays[name] = _to_array(tensor)
        if tensor.dtype == ft.complex128:
            pairs.append(name)
    if pairs:
        notes[_COMPLEX128] = json.dumps(pairs)

    header: dict[str, Any] = {_METADATA: notes} if notes else {}
    entries: dict[str, Any] = {}
    order = sorted(
        arrays, key=lambda name: -_CODES[arrays[name][0]][2]
    )  # wide elements first keeps all aligned
    offset = 0
    for name in order:
        code, array = arrays[name]
        entries[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    header.update({name: entries[name] for name in arrays})
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with _replacing(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(
                memoryview(arrays[name][1].reshape(-1)).cast("B") if arrays[name][1].size else b""
            )


@contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A new file that takes path's place when the block ends well, and is removed if not."""
    target = os.path.realpath(os.fspath(path))
    draft = f"{target}.{os.getpid()}.tmp"
    try:
        with open(draft, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException as error:
        try:
            os.unlink(draft)
        except OSError:
            pass
        if isinstance(error, OSError):
            raise type(error)(
                error.errno,
                f"save: cannot write {os.fspath(path)} ({error.strerror}). An existing file is "
                "unchanged",
            ) from error
        raise


def _to_array(tensor: Tensor) -> tuple[str, Any]:
    """(code, NumPy array of the bytes to write)."""
    import numpy as np

    tensor = tensor.detach().cpu()
    if (
        tensor.dtype == ft.bfloat16
    ):  # NumPy has no such type; a bfloat16 is the upper half of a float32
        bits = np.ascontiguousarray(tensor.to(ft.float32).numpy()).view(np.uint32) >> 16
        return "BF16", bits.astype(np.uint16).reshape(tuple(tensor.shape))
    array = tensor.numpy()
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype == np.complex128:
        return "F64", np.stack([array.real, array.imag], -1)
    if array.dtype == np.bool_:
        return "BOOL", array.view(np.uint8)
    for code, (name, stored, _) in _CODES.items():
        if name == stored == array.dtype.name:
            return code, array
    raise TypeError(f"save: expected a dtype of the format, got {tensor.dtype}.")


def load(path: str | os.PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; for model.load_state_dict.

    Args:
      path: the file.
      device: where to put the tensors; the CPU by default.
    Raises:
      FileFormatError (a ValueError): the file is truncated, damaged or of another format.
      OSError: it cannot be read.
    """
    import numpy as np

    with open(path, "rb") as file:
        entries, metadata, start = _read_header(file, os.fspath(path))
        pairs = _complex_names(metadata)
        tensors = {}
        for name, entry in entries.items():
            kind, stored, _ = _CODES[entry.code]
            try:
                array = np.empty(entry.shape, stored)
                file.seek(start + entry.begin)
                space = memoryview(array.reshape(-1).view(np.uint8)) if array.size else b""  # type: ignore[arg-type]
                if array.size and file.readinto(space) != array.nbytes:  # type: ignore[arg-type]
                    raise ValueError("the file ended early; was it changed meanwhile?")
                tensor = _from_array(array, kind, name in pairs)
            except (ValueError, TypeError, RuntimeError, OverflowError) as error:
                raise _broken(
                    os.fspath(path), f"tensor {name!r} of shape {entry.shape}: {error}"
                ) from error
            tensors[name] = tensor if device is None else tensor.to(device)
    return tensors


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings that were saved with the tensors; reads no tensor."""
    with open(path, "rb") as file:
        metadata = _read_header(file, os.fspath(path))[1]
    return {key: value for key, value in metadata.items() if key != _COMPLEX128}


def _from_array(array: Any, kind: str, as_complex: bool) -> Tensor:
    import numpy as np

    if kind == "bool":  # any other byte than 0 and 1 would be no boolean
        return ft.from_numpy(array != 0)
    if kind == "bfloat16":
        wide = (array.astype(np.uint32) << 16).view(np.float32).reshape(array.shape)
        return ft.from_numpy(wide).to(ft.bfloat16)
    if as_complex and kind == "float64" and array.ndim and array.shape[-1] == 2:
        array = array.view(np.complex128).reshape(array.shape[:-1])
    return ft.from_numpy(array)


def _complex_names(metadata: Mapping[str, str]) -> set[str]:
    try:
        names = json.loads(metadata.get(_COMPLEX128, "[]"))
    except (ValueError, RecursionError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _broken(path: str, what: str) -> FileFormatError:
    return FileFormatError(
        f"load: expected a whole safetensors file, got {path}: {what}. Copy or save it again."
    )


def _read_header(file: IO[bytes], path: str) -> tuple[dict[str, _Entry], dict[str, str], int]:
    """(entries, metadata, offset of the data), checked so that every byte is accounted for once."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _broken(path, f"{size} bytes are too few for a header")
    length = int.from_bytes(prefix, "little")
    if length > min(size - 8, _MAX_HEADER):
        hint = (
            " (it looks like a zip file or pickle, as torch.save writes)"
            if prefix[:2] in (b"PK", b"\x80\x02")
            else ""
        )
        raise _broken(path, f"its header should have {length} bytes, the file has {size}{hint}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header at offset 8 is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header at offset 8 is no JSON object")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise _broken(path, "its metadata are not strings")

    available = size - 8 - length
    entries = {name: _entry(path, name, value, available) for name, value in header.items()}
    offset = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != offset:
            raise _broken(
                path, f"tensor {name!r} begins at offset {entry.begin} of the data, not at {offset}"
            )
        offset = entry.end
    if offset != available:
        raise _broken(
            path, f"its tensors end at offset {offset} of the data, the file at {available}"
        )
    return entries, metadata, 8 + length


def _entry(path: str, name: str, value: Any, available: int) -> _Entry:
    where = f"tensor {name!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"{where} lacks dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in _CODES:
        raise _broken(path, f"{where} has the unknown dtype {code!r}")
    if not _sizes(shape):
        raise _broken(path, f"{where} has the impossible shape {str(shape)[:80]}")
    if not _sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1]:
        raise _broken(path, f"{where} has the impossible offsets {str(offsets)[:80]}")
    if offsets[1] > available:
        raise _broken(
            path,
            f"{where} ends at offset {offsets[1]} of the data, the file at {available}: it is "
            "truncated",
        )
    needed = math.prod(shape) * _CODES[code][2]
    if needed != offsets[1] - offsets[0]:
        raise _broken(
            path, f"{where} {shape} {code} needs {needed} bytes, and has {offsets[1] - offsets[0]}"
        )
    return _Entry(code, shape, offsets[0], offsets[1])


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(size) is int and 0 <= size <= _MAX_SIZE for size in values
    )


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name stands twice")
    return result
