"""Reading tensors from Python: numbers, lists, truth, text."""

from __future__ import annotations

from typing import Any

from cbackend import ffi, lib, raise_error, wrap

from .errors import DTypeError, message
from .tensor import Tensor

_SCALAR = {
    ord("b"): lambda s: bool(s.i),
    ord("i"): lambda s: s.i,
    ord("u"): lambda s: s.u,
    ord("f"): lambda s: s.re,
    ord("c"): lambda s: complex(s.re, s.im),
}


def _nothing(shape: tuple[int, ...]) -> list[Any]:
    """Nested lists of a shape without elements."""
    return [_nothing(shape[1:]) for _ in range(shape[0])]


def _read_item(self: Tensor) -> Any:
    """item() of tensors that are not plain, and its errors."""
    self._current()
    number = self._number()
    if number is not None:
        return number
    v = self._v
    if not v:
        return self._value.trace.read(self, "item")
    out = ffi.new("cb_scalar *")
    if lib.cb_item(v, out):
        raise_error()
    return _SCALAR[out.kind](out)


def _read_list(self: Tensor) -> Any:
    """tolist() of tensors that are not plain, of none but one element and of 16-bit floats."""
    v = self._memory("tolist")
    if v.ndim == 0:
        return self.item()
    flat = self._flat_list()
    for size in reversed(self._shape[1:]):
        if size:
            flat = [flat[i : i + size] for i in range(0, len(flat), size)]
        else:
            return _nothing(self._shape)
    return flat


def _flat_list(self: Tensor) -> list[Any]:
    """All elements in row-major order."""
    v = self._memory("tolist")
    flat = self._numbers()
    if flat is not None:
        return flat
    near = wrap(lib.cb_to_device(v, lib.CB_CPU))
    x = wrap(lib.cb_contiguous(near._v))
    flat = x._numbers()
    return wrap(lib.cb_cast(x._v, lib.CB_F32))._numbers() if flat is None else flat  # 16-bit floats


def _truth(self: Tensor) -> bool:
    """bool() of tensors that are not plain, and its errors."""
    self._current()
    number = self._number()
    if number is not None:
        return bool(number)
    v = self._v
    if not v:
        return self._value.trace.read(self, "bool")
    if v.numel != 1:
        raise ValueError(
            message(
                "bool",
                "a tensor with one element",
                f"shape {list(self._shape)}",
                "Use .any() or .all().",
            )
        )
    return bool(self.item())


def __int__(self: Tensor) -> int:
    return int(self.item())


def __complex__(self: Tensor) -> complex:
    return complex(self.item())


def __index__(self: Tensor) -> int:
    if self.dtype.is_inexact:
        raise DTypeError(message("index", "an integer tensor", self.dtype, "Cast with .long()."))
    return int(self.item())


def __iter__(self: Tensor) -> Any:
    if not self._shape:
        raise TypeError(message("iter", "at least one dimension", "a 0-d tensor", "Use .item()."))
    return iter([self[i] for i in range(len(self))])


def __contains__(self: Tensor, item: Any) -> bool:
    return bool((self == item).any())


def __repr__(self: Tensor) -> str:
    from .printing import tensor_text

    return tensor_text(self)


def __str__(self: Tensor) -> str:
    if not self._v:
        self._shown()
    return repr(self)


def _shown(self: Tensor) -> None:
    """Somebody wants to read a tracer: transforms show it, compile would do so only once."""
    self._current()
    if self._v:
        return
    trace = self._value.trace
    if not trace.finished and trace.is_staging():
        raise trace.refused("print")


def __format__(self: Tensor, spec: str) -> str:
    if not self._v:
        self._shown()
    return (
        format(self.item(), spec)
        if self.ndim == 0 and self._v
        else object.__format__(self, spec)
        if spec
        else repr(self)
    )


for _f in (
    _read_item, _read_list, _flat_list, _truth, __int__, __complex__, __index__, __iter__,
    __contains__, __repr__, __str__, _shown, __format__,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
