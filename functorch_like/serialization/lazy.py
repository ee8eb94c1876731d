"""Tensors of safetensors files that stay in the file until they are asked for, and sharded models.

The file is mapped into memory: a tensor is a view of it, and the system reads the pages that are
touched. Writing to such a tensor changes the copy in memory only. The file must not be cut short
while it is mapped.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..tensor import Tensor
from .atomic import FileFormatError, replacing

__all__ = ["LazyTensors", "open_sharded", "save_sharded"]

_MAX_INDEX = 1 << 28  # bytes of an index file


class LazyTensors(Mapping[str, Tensor]):
    """The tensors of one safetensors file, or of the shards of a model, as a mapping.

    Args:
      path: a safetensors file.
    Raises:
      FileFormatError: the file is damaged; found in the header before any tensor is read.
    Example:
      >>> import functorch_like as ft, os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
      >>> ft.save({"w": ft.ones(2, 3), "b": ft.zeros(3)}, path)
      >>> with ft.load(path, lazy=True) as tensors:
      ...     print(sorted(tensors), tensors.shape("w"), tensors["b"])
      ['b', 'w'] (2, 3) tensor([0., 0., 0.])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from .state import check_header

        self.path = os.fspath(path)
        self.metadata = check_header(self.path)
        with open(self.path, "rb") as file:
            self._memory: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        size = int.from_bytes(self._memory[:8], "little")
        self._start = 8 + size
        self._items: dict[str, Any] = json.loads(self._memory[8 : self._start])
        self._items.pop("__metadata__", None)

    def __getitem__(self, name: str) -> Tensor:
        from .state import to_tensor

        item = self._items[name]
        if self._memory is None:
            raise ValueError(f"load: expected {self.path} to be open, got a closed one.")
        first, last = (self._start + offset for offset in item["data_offsets"])
        view: Any = memoryview(self._memory)[first:last]
        if first % 8:  # such a file is valid, but processors want whole words
            view = bytearray(view)
        pairs = f"__complex128__:{name}" in self.metadata
        try:
            return to_tensor(item["dtype"], item["shape"], view, pairs)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise FileFormatError(
                f"load: expected a whole safetensors file, got {self.path}: tensor {name!r} at "
                f"byte {first}: {error}. Copy or save it again."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return tuple(self._items[name]["shape"])

    def dtype(self, name: str) -> str:
        """The code of a tensor's dtype in the file, without reading it: "F32", "BF16", ..."""
        return self._items[name]["dtype"]

    def close(self) -> None:
        """Let go of the file; tensors that are still used keep it."""
        self._memory = None  # closing it would take it from arrays that lie in it

    def __enter__(self) -> LazyTensors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Shards(LazyTensors):
    """The same over several files."""

    def __init__(self, path: str, places: Mapping[str, LazyTensors]) -> None:
        self.path = path
        self.metadata = {}
        self._places = places
        self._items = {name: part._items[name] for name, part in places.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._places[name][name]

    def close(self) -> None:
        """Let go of the files; tensors that are still used keep them."""
        for part in self._places.values():
            part.close()


def open_sharded(path: str | os.PathLike[str]) -> LazyTensors:
    """The tensors of a model in several files, as Hugging Face's libraries write it.

    Args:
      path: the index file, `model.safetensors.index.json`; or a directory with one, or with
        `model.safetensors` alone.
    Raises:
      FileFormatError: a bad index; a shard that is missing, damaged, outside the directory, or
        lacks a tensor.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".safetensors.index.json"))
        single = os.path.join(path, "model.safetensors")
        if not names and os.path.exists(single):
            return LazyTensors(single)
        if len(names) != 1:
            raise FileFormatError(
                f"load: expected one *.safetensors.index.json in {path}, got {len(names)}. Pass "
                "the file itself."
            )
        path = os.path.join(path, names[0])
    weight_map = _index(path)
    directory = os.path.dirname(path)
    parts: dict[str, LazyTensors] = {}
    for shard in dict.fromkeys(weight_map.values()):
        if shard in (".", "..") or os.path.basename(shard) != shard or "\\" in shard:
            raise FileFormatError(
                f"load: expected names of files beside {path} in it, got {shard!r}."
            )
        place = os.path.join(directory, shard)
        if not os.path.exists(place):
            raise FileFormatError(
                f"load: expected the shard {shard} beside {path}, got none. Copy all shards."
            )
        parts[shard] = LazyTensors(place)
    for name, shard in weight_map.items():
        if name not in parts[shard]:
            raise FileFormatError(
                f"load: expected tensor {name!r} in {shard}, as {path} says, got none. The shards "
                "belong to another index."
            )
    return _Shards(path, {name: parts[shard] for name, shard in weight_map.items()})


def _index(path: str) -> dict[str, str]:
    if os.path.getsize(path) > _MAX_INDEX:
        raise FileFormatError(f"load: expected an index of at most {_MAX_INDEX} bytes, got {path}.")
    with open(path, "rb") as file:
        text = file.read()
    try:
        weight_map = json.loads(text)["weight_map"]
        if not all(isinstance(shard, str) for shard in weight_map.values()):
            raise TypeError("a shard's name is no string")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            f"load: expected an index with a weight_map of names and files, got {path}: "
            f"{type(error).__name__}: {error}."
        ) from error
    return weight_map


def save_sharded(
    tensors: Mapping[str, Tensor], directory: str | os.PathLike[str], max_bytes: int = 5 * 10**9
) -> list[str]:
    """Write tensors to files of at most max_bytes and an index, as Hugging Face's libraries do.

    Args:
      tensors: such as model.state_dict().
      directory: made if needed.
      max_bytes: of one file; a larger tensor gets one of its own.
    Returns:
      The names of the files; the index is written last.
    """
    from .state import save

    directory = os.fspath(directory)
    os.makedirs(directory, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size, total = size + tensor.nbytes, total + tensor.nbytes
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        save(shard, os.path.join(directory, name))
    weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    with replacing(os.path.join(directory, "model.safetensors.index.json"), "save") as draft:
        with open(draft, "w") as file:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=1)
    return names
