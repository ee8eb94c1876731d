"""Types of tensors by name, as torch has them: LongTensor([1, 2]), x.type(), typename()."""

from __future__ import annotations

from typing import Any

from ..dtypes import as_dtype
from ..errors import DTypeError, message
from ..tensor import Tensor

_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip


class _Typed(type):
    """What LongTensor and the like are: a tensor is an instance of the one that names its dtype."""

    dtype: Any

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        return Tensor(*args, dtype=cls.dtype, device=device)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype is cls.dtype and not x.is_cuda


_TYPES = {
    f"{name}Tensor": _Typed(
        f"{name}Tensor",
        (),
        {"dtype": as_dtype(dtype), "__doc__": f"Tensor() with dtype {dtype}, in main memory."},
    )
    for dtype, name in _NAMES.items()
}
globals().update(_TYPES)
__all__ = [*_TYPES, "typename"]  # pyright: ignore[reportUnsupportedDunderAll]


def typename(obj: Any) -> str:
    """The name of an object's type, or of a class; a tensor's as in torch.

    Example:
      >>> typename(tensor([1.0]))
      'functorch_like.FloatTensor'
    """
    if isinstance(obj, Tensor):
        return _type(obj)
    kind = obj if hasattr(obj, "__qualname__") and hasattr(obj, "__module__") else type(obj)
    if kind.__module__ in ("builtins", None):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _type(x: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name as in torch, or the tensor cast to a dtype, also by the name of a type."""
    if dtype is None:
        place = "cuda." if x.is_cuda else ""
        return f"functorch_like.{place}{_NAMES[x.dtype.name]}Tensor"
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        name = dtype.rpartition(".")[2]
        if name not in _TYPES:
            raise DTypeError(message("type", "a tensor type's name", repr(dtype)))
        dtype = _TYPES[name]
    return x.to(dtype.dtype if isinstance(dtype, _Typed) else as_dtype(dtype))


Tensor.type = _type  # type: ignore[attr-defined]
