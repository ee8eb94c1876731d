"""Sharing memory with NumPy and, through it, DLPack; copies and pickles of tensors.

NumPy is imported on first use.
"""

from __future__ import annotations

from typing import Any

from cbackend import borrow, ffi, lend, lib

from .dtypes import as_dtype, get_default_dtype, uint8
from .errors import DeviceError, DTypeError, GradError, message
from .op import wrap
from .tensor import Tensor, recast


def to_numpy(x: Tensor) -> Any:
    """A NumPy array over the tensor's memory."""
    import numpy

    x._memory("numpy")
    lent = lend(x)
    if lent is not None:
        return numpy.asarray(lent)
    if x.is_meta or x.is_cuda:
        raise DeviceError(
            message("numpy", "a tensor in main memory", f"one on {x.device}", "Call .cpu() first.")
        )
    if x.dtype.name == "bfloat16":
        raise DTypeError(
            message("numpy", "a dtype NumPy has", "bfloat16", "Cast with .float() first.")
        )
    return numpy.empty(x._shape, dtype=x.dtype.name)


def from_array(source: Any, copy: bool = False) -> Tensor:
    """A tensor over (or with a copy of) a NumPy array or a DLPack exporter in main memory."""
    import numpy

    array = (
        source
        if isinstance(source, numpy.ndarray)
        else numpy.from_dlpack(source)
        if hasattr(source, "__dlpack__") and not hasattr(source, "__array_interface__")
        else numpy.asarray(source)
    )
    code = _known.get(array.dtype)
    if code is None:
        native = array.dtype.newbyteorder("=")
        code = _CODES.get(native.str)
        if code is None:
            raise DTypeError(
                message(
                    "from_numpy", "numbers", f"dtype {array.dtype}", "Convert it with astype()."
                )
            )
        if array.dtype.str not in _CODES:
            return from_array(array.astype(native), copy)
        _known[array.dtype] = code
    if copy or array.size == 0:
        array = numpy.ascontiguousarray(array).reshape(array.shape)
        return wrap(
            lib.cb_from_bytes(
                ffi.from_buffer(array) if array.size else ffi.NULL, code, array.ndim, array.shape
            )
        )
    x = borrow(array, code)
    return borrow(array.copy(), code) if x is None else x  # strides of parts of elements


# NumPy's names of dtypes, with their byte order
_CODES = {
    "|b1": lib.CB_BOOL, "|u1": lib.CB_U8, "|i1": lib.CB_I8, "<u2": lib.CB_U16, "<i2": lib.CB_I16,
    "<u4": lib.CB_U32, "<i4": lib.CB_I32, "<u8": lib.CB_U64, "<i8": lib.CB_I64,
    "<f2": lib.CB_F16, "<f4": lib.CB_F32, "<f8": lib.CB_F64, "<c8": lib.CB_C64,
    "<c16": lib.CB_C128,
}  # fmt: skip
_known: dict[Any, int] = {}  # the same by dtypes that came: their hash takes less than their name


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over a NumPy array's memory: both see later writes.

    Raises:
      TypeError: not a NumPy array. DTypeError: it does not hold numbers.
    """
    import numpy

    if not isinstance(ndarray, numpy.ndarray):
        raise TypeError(
            message("from_numpy", "a NumPy array", type(ndarray).__name__, "Use tensor().")
        )
    return from_array(ndarray)


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor over the memory of an object with the buffer protocol.

    Args:
      count: elements to take; all by default.
      offset: bytes to skip; elements must be aligned.
    Raises:
      ValueError: count and offset do not fit the buffer.
    Example:
      >>> frombuffer(bytearray([1, 0, 2, 0]), dtype=int16)
      tensor([1, 2], dtype=int16)
    """
    import numpy

    d = as_dtype(dtype)
    size = memoryview(buffer).nbytes
    wanted = (size - offset) // d.itemsize if count < 0 else count
    if not 0 <= offset < size or not 0 < wanted * d.itemsize <= size - offset:
        rule = f"at least one element of {d} within {size} bytes"
        raise ValueError(message("frombuffer", rule, f"count {count}, offset {offset}"))
    source = numpy.frombuffer(buffer, "uint8", wanted * d.itemsize, offset)
    if source.ctypes.data % d.itemsize:
        rule = f"an offset at which {d} is aligned"
        raise ValueError(message("frombuffer", rule, offset, "Copy the buffer."))
    t = from_array(source).view(d)
    return t.requires_grad_() if requires_grad else t


def from_file(
    filename: Any, shared: bool | None = None, size: int = 0, *, dtype: Any = None
) -> Tensor:
    """A 1-d tensor over a file's content, read as its elements are.

    Args:
      shared: writes go to the file, which is made or made longer where needed; otherwise they stay
        in this process.
      size: elements.
    """
    import os

    import numpy

    d = get_default_dtype() if dtype is None else as_dtype(dtype)
    if not size:
        return from_array(numpy.empty(0, "uint8")).view(d)
    mode = "c" if not shared else "r+" if os.path.exists(filename) else "w+"
    return from_array(numpy.memmap(filename, "uint8", mode, shape=(size * d.itemsize,))).view(d)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array, through the DLPack protocol.

    Raises:
      TypeError: the object does not speak DLPack.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(
            message("from_dlpack", "an object with __dlpack__", type(ext_tensor).__name__)
        )
    if isinstance(ext_tensor, Tensor):
        return ext_tensor._alias()
    import numpy

    return from_array(numpy.from_dlpack(ext_tensor))


def to_bytes(x: Tensor) -> bytes:
    """The elements in row-major order."""
    c = x.detach().cpu().contiguous()
    v = c._memory("pickle")
    return bytes(ffi.buffer(v.data, v.numel * v.itemsize)) if v.numel else b""


def from_bytes(data: bytes, dtype: Any, shape: tuple[int, ...]) -> Tensor:
    """A tensor with a copy of the bytes."""
    return wrap(
        lib.cb_from_bytes(
            ffi.from_buffer(data) if data else ffi.NULL, as_dtype(dtype).code, len(shape), shape
        )
    )


def rebuild(
    cls: type,
    data: bytes,
    dtype: str,
    shape: tuple[int, ...],
    requires_grad: bool,
    device: str = "cpu",
) -> Tensor:
    """Unpickles a tensor, on the device it was on."""
    t = from_bytes(data, dtype, shape).to(device)
    if cls is not Tensor:
        return Tensor._make_subclass(cls, t, requires_grad)
    return t.requires_grad_(requires_grad)


# ---- methods ----


def _numpy(self: Tensor, *, force: bool = False) -> Any:
    """The same memory as a NumPy array; both see later writes.

    Raises:
      GradError: the tensor requires grad: call detach() first, or pass force=True.
      DTypeError: NumPy has no bfloat16.
    """
    if force:
        return self.detach().cpu().numpy()
    if self.requires_grad:
        raise GradError(
            message(
                "numpy",
                "a tensor that does not require grad",
                "one that does",
                "Use tensor.detach().numpy().",
            )
        )
    return to_numpy(self)


def __array__(self: Tensor, dtype: Any = None, copy: Any = None) -> Any:
    array = self.numpy()
    if copy:
        return array.astype(array.dtype if dtype is None else dtype, copy=True)
    if dtype is None or array.dtype == dtype:
        return array
    if copy is False:
        raise ValueError(
            message(
                "__array__",
                f"dtype {array.dtype} where no copy may be made",
                dtype,
                "Pass copy=None.",
            )
        )
    return array.astype(dtype)


def __dlpack__(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: Any = None,
) -> Any:
    asked = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    # NumPy before 2.1 knows the first only
    return self.numpy().__dlpack__(**{k: v for k, v in asked.items() if v is not None})


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0) if self.is_cpu else (2, self.device.index or 0)


def __reduce_ex__(self: Tensor, protocol: Any) -> Any:
    return rebuild, (
        type(self),
        to_bytes(self),
        self.dtype.name,
        self._shape,
        self.requires_grad,
        str(self.device),
    )


def __copy__(self: Tensor) -> Tensor:
    t = self.detach() if self._v else self._alias()
    if self.requires_grad and self.is_leaf:
        t.requires_grad_()
    return t if type(self) is Tensor else recast(type(self), t)


def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise GradError(
            message("deepcopy", "a leaf", "a result of recorded operations", "Copy x.detach().")
        )
    t = _copied(self, memo)
    if type(self) is not Tensor:
        t = recast(type(self), t)
    t.requires_grad_(self.requires_grad)
    if self.grad is not None:
        t.grad = _copied(self.grad, memo)
    memo[id(self)] = t
    return t


def _copied(x: Tensor, memo: dict[Any, Any]) -> Tensor:
    """A copy; of tensors that share a storage, over one copy of it within a deepcopy."""
    if not x._v or lib.cb_storage_users(x._v) == 1:
        return x.detach().clone()
    source = x.detach()
    key = "storage", lib.cb_storage_born(x._v)
    if key not in memo:
        count = lib.cb_storage_nbytes(x._v) // x.element_size()
        memo[key] = source.as_strided((count,), (1,), 0).clone()
    whole = memo[key]
    if whole.dtype is not x.dtype:
        count = whole.nbytes // x.element_size() * x.element_size()
        whole = whole.view(uint8)[:count].view(x.dtype)
    view = whole.as_strided(x._shape, x.stride(), x.storage_offset())
    return view.detach() if x.requires_grad else view


_numpy.__name__ = "numpy"
for _f in (
    _numpy, __array__, __dlpack__, __dlpack_device__, __reduce_ex__, __copy__, __deepcopy__,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
