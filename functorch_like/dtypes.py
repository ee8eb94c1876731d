"""Dtype and device objects, and the questions one asks of them.

Promotion itself is decided in C.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cbackend import lib, raise_error

from .errors import DeviceError, DTypeError, message

_NAMES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 "
    "float16 bfloat16 float32 float64 complex64 complex128"
).split()
_SIZES = (1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 8, 16)


class dtype:
    """The type of a tensor's elements. There is one object a dtype: compare with `is` or `==`."""

    __slots__ = ("code", "is_complex", "is_floating_point", "is_signed", "itemsize", "name")

    def __init__(self, code: int):
        self.code = code
        self.name = _NAMES[code]
        self.itemsize = _SIZES[code]
        self.is_floating_point = "float" in self.name
        self.is_complex = self.name.startswith("complex")
        self.is_signed = not (self.name.startswith("u") or self.name == "bool")

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self):
        return (as_dtype, (self.name,))

    @property
    def is_integer(self) -> bool:
        """True for integers, not for bool."""
        return "int" in self.name

    @property
    def is_inexact(self) -> bool:
        """True for floating and complex dtypes: those with gradients."""
        return self.is_floating_point or self.is_complex

    def to_real(self) -> dtype:
        """The dtype of the real part."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> dtype:
        """The complex dtype of the same precision."""
        return complex128 if self.name in ("float64", "complex128") else complex64


DTYPES: tuple[dtype, ...] = tuple(dtype(code) for code in range(len(_NAMES)))
(
    bool_,
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    uint64,
    int64,
    float16,
    bfloat16,
    float32,
    float64,
    complex64,
    complex128,
) = DTYPES
half, float_, double, cfloat, cdouble = float16, float32, float64, complex64, complex128
short, int_, long = int16, int32, int64

_BY_NAME = {d.name: d for d in DTYPES}
_BY_PYTHON_TYPE: dict[type, dtype] = {bool: bool_, int: int64, float: float64, complex: complex128}


def as_dtype(spec: Any) -> dtype:
    """The dtype for a dtype, a name, a Python number type or a NumPy dtype.

    Raises:
      DTypeError: there is no such dtype.
    """
    if isinstance(spec, dtype):
        return spec
    if isinstance(spec, str) and spec in _BY_NAME:
        return _BY_NAME[spec]
    if isinstance(spec, type) and spec in _BY_PYTHON_TYPE:
        return get_default_dtype() if spec is float else _BY_PYTHON_TYPE[spec]
    name = getattr(spec, "name", None) or getattr(spec, "__name__", None)
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise DTypeError(message("dtype", "one of " + ", ".join(_NAMES), repr(spec)))


_default = float32


def get_default_dtype() -> dtype:
    """The dtype of floating results made from Python numbers and integers."""
    return _default


def set_default_dtype(d: Any) -> None:
    """Sets the default floating dtype: float16, bfloat16, float32 or float64.

    Raises:
      DTypeError: d is not floating.
    """
    global _default
    d = as_dtype(d)
    if not d.is_floating_point:
        raise DTypeError(message("set_default_dtype", "a floating dtype", d))
    _default = d
    lib.cb_set_default_dtype(d.code)


def promote_types(type1: Any, type2: Any) -> dtype:
    """The smallest dtype that holds both.

    Example:
      >>> promote_types(int32, float16)
      float16
    """
    code = lib.cb_promote_types(as_dtype(type1).code, as_dtype(type2).code)
    if code < 0:
        raise_error()
    return DTYPES[code]


def can_cast(from_: Any, to: Any) -> bool:
    """May a result of dtype `from_` be stored as `to`?

    Not from a higher category to a lower one.
    """
    rank = [
        0 if d is bool_ else 1 if d.is_integer else 2 if d.is_floating_point else 3 for d in DTYPES
    ]
    return rank[as_dtype(from_).code] <= rank[as_dtype(to).code]


class finfo:
    """Limits of a floating dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    # bits, eps, max, smallest normal, resolution
    _TABLE: ClassVar[dict[str, tuple[int, float, float, float, float]]] = {
        "float16": (16, 2.0**-10, 65504.0, 2.0**-14, 1e-3),
        "bfloat16": (16, 2.0**-7, 3.3895313892515355e38, 2.0**-126, 1e-2),
        "float32": (32, 2.0**-23, 3.4028234663852886e38, 2.0**-126, 1e-6),
        "float64": (64, 2.0**-52, 1.7976931348623157e308, 2.0**-1022, 1e-15),
    }

    def __init__(self, dtype: Any = None):
        d = (get_default_dtype() if dtype is None else as_dtype(dtype)).to_real()
        if d.name not in self._TABLE:
            raise DTypeError(message("finfo", "a floating dtype", d, "Use iinfo for integers."))
        self.dtype = d
        self.bits, self.eps, self.max, self.tiny, self.resolution = self._TABLE[d.name]
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, "
            f"eps={self.eps}, tiny={self.tiny}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: bits, min, max."""

    def __init__(self, dtype: Any):
        d = as_dtype(dtype)
        if not d.is_integer:
            raise DTypeError(message("iinfo", "an integer dtype", d, "Use finfo for floats."))
        self.dtype, self.bits = d, 8 * d.itemsize
        self.min = -(1 << (self.bits - 1)) if d.is_signed else 0
        self.max = (1 << (self.bits - d.is_signed)) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class device:
    """Where a tensor lives.

    `device("cpu")`, `device("cuda", 1)`, `device("cuda:1")` or `device("meta")`; "cuda" without a
    number is the calling thread's current one (cuda.set_device).

    Raises:
      DeviceError: there is no such kind of device.
    """

    __slots__ = ("code", "index", "type")
    _KINDS: ClassVar[dict[str, int]] = {"cpu": lib.CB_CPU, "cuda": lib.CB_CUDA, "meta": lib.CB_META}

    def __init__(self, type: Any = "cpu", index: int | None = None):
        if isinstance(type, device):
            self.type, self.index, self.code = type.type, type.index, type.code
            return
        kind, _, number = str(type).partition(":")
        if kind not in self._KINDS or (number and not number.isdigit()):
            raise DeviceError(message("device", "cpu, cuda, cuda:N or meta", repr(type)))
        if number:
            index = int(number)
        self.type, self.index = kind, index
        if index is None and kind == "cuda":
            self.code = lib.CB_CUDA | lib.cb_cuda_current_device() << 8
        else:
            self.code = self._KINDS[kind] | (index or 0) << 8

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')"
            if self.index is None
            else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = device(other)
        return isinstance(other, device) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)

    def __reduce__(self):
        return (device, (str(self),))


_CPU = device("cpu")


def device_from_code(code: int) -> device:
    """The device object for the core's device number."""
    if code == 0:
        return _CPU
    kind = {v: k for k, v in device._KINDS.items()}[code & 255]
    return device(kind, code >> 8 if kind == "cuda" else None)


def as_device(spec: Any) -> device:
    """A device from a device, a string or None (the CPU)."""
    if spec is None or (spec.__class__ is str and spec == "cpu"):
        return _CPU
    return spec if isinstance(spec, device) else device(spec)
