"""Reading tensors from Python: numbers, lists, truth, text."""

from __future__ import annotations

from typing import Any

from cbackend import ffi, lib, raise_error

from .dtypes import DTYPES
from .errors import DTypeError, message
from .tensor import Tensor

_release = lib.cb_release
_C_TYPES = [
    "unsigned char", "uint8_t", "int8_t", "uint16_t", "int16_t", "uint32_t", "int32_t", "uint64_t",
    "int64_t", "uint16_t", "uint16_t", "float", "double",
]  # fmt: skip
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


def _checked(handle: Any) -> Any:
    if not handle:
        raise_error()
    return handle


def item(self: Tensor) -> Any:
    """The only element as a Python number.

    Raises:
      ShapeError: there is not exactly one element.
    """
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


def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers."""
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
    d = self.dtype
    wide = d if d.name not in ("float16", "bfloat16") else DTYPES[lib.CB_F32]
    if d.is_complex:
        wide = DTYPES[lib.CB_C128]
    near = _checked(lib.cb_to_device(self._memory("tolist"), lib.CB_CPU))
    h = _checked(lib.cb_cast(near, wide.code))
    c = _checked(lib.cb_contiguous(h))
    n = c.numel
    if d.is_complex:
        pairs = ffi.unpack(ffi.cast("double *", c.data), 2 * n) if n else []
        flat: list[Any] = [complex(pairs[i], pairs[i + 1]) for i in range(0, 2 * n, 2)]
    else:
        flat = list(ffi.unpack(ffi.cast(_C_TYPES[wide.code] + " *", c.data), n)) if n else []
    if d.name == "bool":
        flat = [bool(i) for i in flat]
    elif d.itemsize == 1 and flat and isinstance(flat[0], bytes):
        flat = [i[0] if d.name == "uint8" else i[0] - 256 * (i[0] > 127) for i in flat]
    _release(near)
    _release(h)
    _release(c)
    return flat


def __bool__(self: Tensor) -> bool:
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


def __float__(self: Tensor) -> float:
    return float(self.item())


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
    item, tolist, _flat_list, __bool__, __int__, __float__, __complex__, __index__, __iter__,
    __contains__, __repr__, __str__, _shown, __format__,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
