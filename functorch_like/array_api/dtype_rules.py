"""dtype functions of the array API standard."""

from __future__ import annotations

from typing import Any

from .. import dtypes as _dtypes
from ..dtypes import as_dtype, promote_types
from ..errors import DTypeError, message
from ..ops.family import result_type as _result_type
from ..tensor import Tensor

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x in a dtype: a copy, or with copy=False x itself where nothing changes.

    Raises:
      DTypeError: complex numbers cannot become real ones.
    """
    d = as_dtype(dtype)
    if x.dtype.is_complex and not d.is_complex:
        raise DTypeError(message("astype", "a complex dtype", d, "Take real() or imag()."))
    if device is not None:
        x = x.to(device)
    if d is x.dtype:
        return x.clone() if copy else x
    return x.to(d)


def _kind(d: Any) -> str:
    return "b" if d.name == "bool" else "u" if d.name.startswith("u") else d.name[0]


def can_cast(from_: Any, to: Any, /) -> bool:
    """Can a dtype (or that of a tensor) be promoted to another one without loss?"""
    source = from_.dtype if isinstance(from_, Tensor) else as_dtype(from_)
    target = as_dtype(to)
    if source is target:
        return True
    pair = _kind(source) + _kind(target)
    if pair == "ui":
        return target.itemsize > source.itemsize
    return pair in ("ii", "uu", "ff", "cc", "fc") and promote_types(source, target) is target


def finfo(type: Any, /) -> _dtypes.finfo:
    """Limits of a floating dtype, or of a tensor's."""
    return _dtypes.finfo(type.dtype if isinstance(type, Tensor) else type)


def iinfo(type: Any, /) -> _dtypes.iinfo:
    """Limits of an integer dtype, or of a tensor's."""
    return _dtypes.iinfo(type.dtype if isinstance(type, Tensor) else type)


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Is a dtype of a kind: another dtype, a name of the standard such as "integral", or a tuple?

    Example:
      >>> isdtype(float32, ("integral", "real floating"))
      True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(message("isdtype", f"one of {', '.join(_KINDS)}", repr(kind)))
        d = as_dtype(dtype)
        return ("i" if d.name[0] == "i" else _kind(d)) in _KINDS[kind]
    return as_dtype(dtype) is as_dtype(kind)


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype of an expression of tensors, dtypes and numbers.

    Example:
      >>> result_type(int8, float32)
      float32
    """
    dtypes, numbers = [], []
    for a in arrays_and_dtypes:
        if isinstance(a, (int, float, complex)):
            numbers.append(a)
        else:
            dtypes.append(a.dtype if isinstance(a, Tensor) else as_dtype(a))
    if not dtypes:
        raise ValueError(message("result_type", "at least one tensor or dtype", "none"))
    found = dtypes[0]
    for d in dtypes[1:]:
        found = promote_types(found, d)
    if not numbers:
        return found
    from ..ops.creation import empty

    return _result_type(empty(1, dtype=found), *numbers)
