"""Saving and loading tensors and training states as safetensors files: a JSON header and raw
bytes, nothing that could run code.

The safetensors library reads and writes the format and checks a file's header against its size.
Around it stand here: our tensors, one dtype the format lacks, errors that name the file, and writes
that replace a file whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError, TensorSpec, deserialize, safe_open, serialize_file

import functorch_like as ft

from ..tensor import Tensor
from .atomic import FileFormatError, replacing

__all__ = ["FileFormatError", "load", "load_metadata", "save"]

_METADATA = "__metadata__"
# The format has no complex128: pairs of F64 are stored, and this with their names in the metadata.
_PAIRS = "__complex128__:"
# A tree of tensors and plain values is stored as JSON text under this name in the metadata.
_TREE = "__tree__"
# code in the file -> name of the dtype, in NumPy too but for bfloat16
_CODES: dict[str, str] = dict(
    zip(
        "BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 BF16 F32 F64 C64".split(),
        "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 "
        "complex64".split(),
        strict=True,
    )
)


def save(
    obj: Any,
    path: Any,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors, or a whole training state, to a safetensors file.

    Args:
      obj: a dict of names and tensors, such as model.state_dict(); or an object with a
        state_dict(), which is taken; or nested dicts, lists and tuples with tensors, numbers and
        strings, such as {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "epoch": 3}; or a tensor.
      path: the file; an existing one is replaced only once the new one is complete. Or an object to
        write bytes to: a file open in binary mode, io.BytesIO.
      metadata: strings to keep with the tensors; load_metadata gives them back.
    Raises:
      TypeError: a value of another type, or metadata that is no string.
      OSError: the file cannot be written; an existing file is unchanged.
    Example:
      >>> import functorch_like as ft, os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
      >>> ft.save({"w": ft.tensor([1.0, 2.0])}, path)
      >>> ft.load(path)
      {'w': tensor([1., 2.])}
      >>> ft.save({"step": 3, "betas": (0.9, 0.99), "w": ft.ones(2)}, path)
      >>> ft.load(path)
      {'step': 3, 'betas': (0.9, 0.99), 'w': tensor([1., 1.])}
    """
    if hasattr(path, "write"):
        with _for_a_while() as name:
            save(obj, name, metadata)
            with open(name, "rb") as file:
                path.write(file.read())
        return
    tensors: Any = obj.state_dict() if hasattr(obj, "state_dict") else obj
    notes = dict(metadata or {})
    for key, value in notes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"save: expected strings as metadata, got {key!r}: {value!r}. Use str() or "
                "json.dumps()."
            )
    if not isinstance(tensors, Mapping) or not all(
        isinstance(key, str) and isinstance(t, Tensor) for key, t in tensors.items()
    ):
        from .tree import encode

        notes[_TREE], tensors = encode(tensors)
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == _METADATA:
            raise TypeError(f"save: expected names other than {_METADATA}, got it.")
        tensor = tensor.detach().cpu().contiguous()
        if tensor.dtype == ft.complex128:
            notes[_PAIRS + name] = ""
            tensor = ft.view_as_real(tensor)
        kept[name] = tensor
    write_tensors("save", os.fspath(path), kept, notes)


def write_tensors(op: str, path: str, tensors: Mapping[str, Tensor], notes: dict[str, str]) -> None:
    """A new file of contiguous tensors on the CPU, which takes path's place once it is complete."""
    specs = {
        name: TensorSpec(
            dtype=t.dtype.name, shape=list(t.shape), data_ptr=t.data_ptr(), data_len=t.nbytes
        )
        for name, t in tensors.items()
    }
    with replacing(path, op) as draft:
        with open(draft, "wb") as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            serialize_file(specs, draft, notes or None)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        os.chmod(draft, mode & 0o7777)  # the library makes files that only their owner may read


@contextmanager
def _for_a_while() -> Iterator[str]:
    """A name for a file that is gone afterwards."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        yield os.path.join(folder, "tensors")


def load(path: Any, device: Any = None, lazy: bool = False) -> Any:
    """The tensors of a file by name, for model.load_state_dict; or the training state in it.

    Args:
      path: a safetensors file; a sharded model's index (`*.index.json`) or its directory; a NumPy
        .npz file; or a file of torch.save, whose tensors and plain values are read without torch
        and without running anything. Or an object to read such a file's bytes from, as one open in
        binary mode.
      device: where to put the tensors; the CPU by default.
      lazy: give a LazyTensors, which reads a tensor when it is asked for; of safetensors only.
    Raises:
      FileFormatError (a ValueError): the file is truncated, damaged or of another format.
      OSError: it cannot be read.
    """
    from . import numpy_file, torch_file
    from .lazy import LazyTensors, open_sharded

    if hasattr(path, "read"):
        if lazy:
            raise TypeError("load: expected a path with lazy, got an open file. Pass its name.")
        with _for_a_while() as name:
            with open(name, "wb") as file:
                file.write(path.read())
            return load(name, device)
    name = os.fspath(path)
    if os.path.isdir(name) or name.endswith(".json"):
        tensors: Any = open_sharded(name)
        if lazy:
            return tensors
        result = {key: tensors[key].clone() for key in sorted(tensors)}
        tensors.close()
    elif torch_file.is_zip(name) and not lazy:
        torchs = torch_file.is_torch(name)
        result = torch_file.load_torch(name) if torchs else numpy_file.load_npz(name)
    elif lazy:
        return LazyTensors(name)
    else:
        return _load_safetensors(name, device)
    return result if device is None else _moved(result, device)


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value


def _load_safetensors(name: str, device: Any) -> Any:
    metadata = check_header(name)  # checks the header before the file is read
    with open(name, "rb") as file:
        content = file.read()
    try:
        items = deserialize(content)
    except SafetensorError as error:
        raise _broken(name, error) from error
    del content
    tensors = {}
    for key, item in sorted(items, key=lambda pair: pair[0]):
        try:
            tensor = to_tensor(item["dtype"], item["shape"], item["data"], _PAIRS + key in metadata)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            what = f"tensor {key!r} of shape {str(item['shape'])[:80]}: {error}"
            raise _broken(name, what) from error
        tensors[key] = tensor if device is None else tensor.to(device)
    if _TREE not in metadata:
        return tensors
    from .tree import decode

    try:
        return decode(metadata[_TREE], tensors)
    except ValueError as error:
        raise _broken(name, error) from error


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings that were saved with the tensors; reads no tensor."""
    metadata = check_header(os.fspath(path))
    return {k: v for k, v in metadata.items() if k != _TREE and not k.startswith(_PAIRS)}


def check_header(path: str) -> dict[str, str]:
    """The metadata of a file whose header is valid and fits its size."""
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise _broken(path, error) from error


def to_tensor(code: str, shape: list[int], data: Any, as_complex: bool) -> Tensor:
    """A tensor over the bytes, without a copy."""
    import numpy as np

    kind = _CODES.get(code)
    if kind is None:
        raise TypeError(f"its dtype {code} is none of ours")
    if kind == "bool":  # any other byte than 0 and 1 would be no boolean
        return ft.from_numpy(np.ndarray(shape, "uint8", data) != 0)
    if kind == "bfloat16":  # NumPy has no such type
        return ft.from_numpy(np.ndarray(shape, "uint16", data)).view(ft.bfloat16)
    tensor = ft.from_numpy(np.ndarray(shape, kind, data))
    if as_complex and kind == "float64" and shape and shape[-1] == 2:
        tensor = ft.view_as_complex(tensor)
    return tensor


def _broken(path: str, why: object) -> FileFormatError:
    with open(path, "rb") as file:
        other = file.read(2) == b"\x80\x02"
    hint = " (it looks like a pickle, as torch.save wrote before 1.6)" if other else ""
    return FileFormatError(
        f"load: expected a whole safetensors file, got {path}: {why}{hint}. Copy or save it again."
    )
