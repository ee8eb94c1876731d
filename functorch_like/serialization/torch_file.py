"""Reading what torch.save writes, without torch and without running anything from the file.

Such a file is a zip archive: `data.pkl`, a pickle of the structure, and one entry for the memory of
each tensor. The pickle is not given to pickle.load. A small machine here knows the few opcodes that
torch uses; of classes it knows tensors, parameters and ordered dicts, by name, and builds them
itself. Everything else is an error that says at which byte it stands.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import functorch_like as ft

from ..tensor import Tensor
from .atomic import explained

__all__ = ["is_torch", "is_zip", "load_torch"]

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}
_DTYPES = {
    "float": "float32", "float32": "float32", "double": "float64", "float64": "float64",
    "half": "float16", "float16": "float16", "bfloat16": "bfloat16", "int64": "int64",
    "int32": "int32", "int16": "int16", "int8": "int8", "uint8": "uint8", "uint16": "uint16",
    "uint32": "uint32", "uint64": "uint64", "bool": "bool", "complex64": "complex64",
    "complex128": "complex128",
}  # fmt: skip
_MAX_EXPANDED = 1 << 26  # elements of tensors that repeat their memory, in one file


class _Global(NamedTuple):
    """A name that the pickle refers to; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Storage(NamedTuple):
    """The memory of tensors: the key of its entry, its dtype and number of elements."""

    key: str
    kind: str
    count: int


_MODULES = ("torch", "torch.storage")
_MARK = object()


def is_zip(path: str) -> bool:
    """Whether a file starts as zip archives do."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def is_torch(path: str) -> bool:
    """Whether a zip archive has a data.pkl, as those of torch.save."""

    def message(why: str) -> str:
        return f"load: expected a whole zip archive, got {path}: {why}. Copy or save it again."

    import zipfile

    with explained(message), zipfile.ZipFile(path) as archive:
        return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())


def load_torch(path: str | os.PathLike[str]) -> Any:
    """What torch.save wrote: dicts, lists, tuples, numbers and strings with tensors of ours.

    Args:
      path: a file of torch.save since 1.6.
    Returns:
      The same structure; parameters become tensors that require gradients, ordered dicts dicts.
      Tensors that shared memory there share it here.
    Raises:
      FileFormatError: a damaged file; one with other classes than tensors, which is not read.
    """
    name = os.fspath(path)

    def message(why: str) -> str:
        return (
            f"load: expected a file of torch.save with tensors and plain values, got {name}: "
            f"{why}. Save model.state_dict() alone with torch.save, or use safetensors."
        )

    import zipfile

    with explained(message), zipfile.ZipFile(name) as archive:
        return _Reader(archive).read()


class _Reader:
    """One archive."""

    def __init__(self, archive: Any) -> None:
        self.archive = archive
        pickles = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"expected one data.pkl in it, got {len(pickles)}")
        self.prefix = pickles[0].removesuffix("data.pkl")
        file: Any = archive.fp
        self.budget = os.fstat(file.fileno()).st_size
        self.expanded = 0  # elements of tensors that repeat their memory
        self.memory: dict[str, Any] = {}
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        order = self.prefix + "byteorder"
        if order in self.archive.namelist() and self._entry(order) != b"little":
            raise ValueError("it was written on a big-endian machine, which is not read")
        text = self._entry(self.prefix + "data.pkl")
        import pickletools

        for opcode, argument, position in pickletools.genops(text):
            try:
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._run(opcode.name, argument)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                what = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
                raise ValueError(
                    f"{self.prefix}data.pkl, byte {position} ({opcode.name}): {what}"
                ) from error
        raise ValueError(f"{self.prefix}data.pkl ends early")

    def _entry(self, name: str) -> bytes:
        info = self.archive.getinfo(name)
        if info.compress_type:  # torch never does; it could be a zip bomb
            raise ValueError(f"entry {name} is compressed")
        self.budget -= info.file_size
        if self.budget < 0:  # entries that lie on each other could fill any memory
            raise ValueError("its entries are larger than the file")
        return self.archive.read(info)  # compares the checksum

    # ---- the machine ----

    def _run(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "POP":
            stack.pop()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(_Global(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Global(str(module), str(attribute)))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            if len(stack) < count:
                raise ValueError("the stack is empty")
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name == "LIST":
            stack.append(self._above_mark())
        elif name == "DICT":
            items = self._above_mark()
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name == "APPEND":
            value = stack.pop()
            self._top(list).append(value)
        elif name == "APPENDS":
            values = self._above_mark()
            self._top(list).extend(values)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._top(dict)[key] = value
        elif name == "SETITEMS":
            items = self._above_mark()
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of an ordered dict: versions of modules
            self._top(dict)
        else:
            raise ValueError("this opcode is not read")

    def _above_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("there is no mark on the stack")

    def _top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"expected a {kind.__name__} on the stack")
        return self.stack[-1]

    # ---- the classes that are known ----

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no known class")
        name = str(function)
        if name == "collections.OrderedDict":
            return {key: value for key, value in (arguments[0] if arguments else [])}
        if name == "torch.Size":
            return tuple(arguments[0])
        if name == "torch.device":
            return ":".join(str(part) for part in arguments)
        if name == "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides, requires_grad, *_ = arguments
            return self._tensor(storage, storage.kind, offset, shape, strides, requires_grad)
        if name == "torch._utils._rebuild_tensor_v3":
            storage, offset, shape, strides, requires_grad, _, dtype, *_ = arguments
            kind = _DTYPES.get(dtype.name) if isinstance(dtype, _Global) else None
            if kind is None:
                raise ValueError(f"a tensor of {dtype}, which is none of our dtypes")
            return self._tensor(storage, kind, offset, shape, strides, requires_grad)
        if name in (
            "torch._utils._rebuild_parameter",
            "torch._utils._rebuild_parameter_with_state",
        ):
            if not isinstance(arguments[0], Tensor):
                raise ValueError("a parameter that is no tensor")
            tensor = arguments[0].detach()
            return tensor.requires_grad_() if arguments[1] else tensor
        raise ValueError(f"it needs {name}, which is not read")

    def _storage(self, identity: Any) -> _Storage:
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise ValueError("an unknown persistent id")
        _, kind, key, _, count = identity
        name = kind.name if isinstance(kind, _Global) and kind.module in _MODULES else None
        if name not in _STORAGES:
            raise ValueError(f"a storage of type {kind}, which is not read")
        if not isinstance(key, str) or not key.isalnum() or not isinstance(count, int):
            raise ValueError(f"a storage with the bad key {key!r}")
        return _Storage(key, _STORAGES[name], count)

    def _tensor(
        self,
        storage: Any,
        kind: str,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any,
    ) -> Tensor:
        import numpy as np

        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        numbers = (offset, *shape, *strides)
        if (
            len(shape) != len(strides)
            or len(shape) > 32
            or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)
        ):
            raise ValueError(
                f"tensor of storage {storage.key} has shape {shape!r:.80}, strides {strides!r:.80}"
            )
        data = self.memory.get(storage.key)
        if data is None:
            data = self.memory[storage.key] = bytearray(
                self._entry(f"{self.prefix}data/{storage.key}")
            )
        narrow = "uint16" if kind == "bfloat16" else kind
        size = np.dtype(narrow).itemsize
        count = 1
        for extent in shape:
            count *= extent
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        whole = len(data) // size
        if count and last >= whole:
            raise ValueError(
                f"tensor of storage {storage.key} reaches to element {last} of {whole}"
            )
        repeats = count > whole or any(
            n > 1 and not step for n, step in zip(shape, strides, strict=True)
        )
        self.expanded += count if repeats else 0
        if self.expanded > _MAX_EXPANDED:
            raise ValueError(f"tensor of storage {storage.key} claims {count} elements of {whole}")
        if not count:
            tensor = ft.zeros(tuple(shape), dtype=getattr(ft, kind))
            return tensor.requires_grad_() if requires_grad else tensor
        flat = np.frombuffer(data, narrow, whole)
        if kind == "bool" and (flat.view("uint8") > 1).any():
            raise ValueError(f"storage {storage.key} holds other bytes than 0 and 1 for booleans")
        steps = [step * size for step in strides]
        array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
        if repeats:
            array = array.copy()  # elements that lie on one place must not be written through it
        tensor = ft.from_numpy(array)
        tensor = tensor.view(ft.bfloat16) if kind == "bfloat16" else tensor
        return tensor.requires_grad_() if requires_grad else tensor


_CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES",
}  # fmt: skip
