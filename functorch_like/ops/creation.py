"""Making tensors: from data, filled, ranges."""

from __future__ import annotations

from typing import Any

from cbackend import ffi, filled, lib

from ..dtypes import as_device, as_dtype, bool_, complex64, get_default_dtype, iinfo, int64
from ..errors import DTypeError, ShapeError, message
from ..interop import from_array
from ..memory_format import laid_out
from ..op import wrap
from ..out import store
from ..tensor import Tensor
from .family import number

__all__ = [
    "arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace",
    "logspace", "ones", "ones_like", "tensor", "zeros", "zeros_like",
]  # fmt: skip

_C_ARRAYS = {"bool": "unsigned char", "int64": "int64_t", "float32": "float", "float64": "double"}


def sizes(op: str, args: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """A shape from `f(2, 3)`, `f((2, 3))`, `f([2, 3])`, `f(size)` or `f(size=size)`."""
    if size is not None:
        args = (size,)
    if len(args) == 1 and not isinstance(args[0], int):
        args = tuple(args[0]) if isinstance(args[0], (tuple, list)) else args
    for a in args:
        if type(a) is not int:
            break
    else:
        return args
    try:
        return tuple([a if type(a) is int else a.__index__() for a in args])
    except (AttributeError, TypeError):
        raise TypeError(message(op, "sizes that are integers", repr(args))) from None


def _data_shape(data: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(data, (list, tuple)):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _flatten(data: Any, shape: tuple[int, ...], out: list[Any]) -> None:
    if not shape:
        if isinstance(data, (list, tuple)):
            raise ShapeError(
                message("tensor", "nested lists of equal lengths", f"{data!r} among numbers")
            )
        out.append(data)
        return
    if not isinstance(data, (list, tuple)) or len(data) != shape[0]:
        got = f"length {len(data)}" if isinstance(data, (list, tuple)) else repr(data)
        raise ShapeError(message("tensor", f"nested lists of equal lengths ({shape[0]} here)", got))
    if len(shape) == 1:
        out.extend(data)
        return
    for item in data:
        _flatten(item, shape[1:], out)


def _natural_dtype(items: list[Any]) -> Any:
    kinds = set(map(type, items))
    if complex in kinds:
        return complex64 if get_default_dtype().itemsize <= 4 else as_dtype("complex128")
    if float in kinds or not kinds:
        return get_default_dtype()
    if kinds == {bool}:
        return bool_
    if kinds <= {int, bool}:
        return int64
    return None


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data.

    Args:
      data: a number, nested lists of numbers, a NumPy array, or a tensor.
      dtype: default: int64 for ints, bool for bools, the default floating dtype for floats, an
        array's own.
    Raises:
      ShapeError: lists of unequal lengths.
      DTypeError: something that is not a number.
    Example:
      >>> tensor([[1, 2], [3, 4]], dtype=float32)
      tensor([[1., 2.],
              [3., 4.]])
    """
    target = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        t = data.detach().clone()
    elif hasattr(data, "__array_interface__") or hasattr(data, "__dlpack__"):
        t = from_array(data, copy=True)
    else:
        t = _from_lists(data, target)
    if target is not None and t.dtype is not target:
        t = t.to(target)
    if device is not None:
        t = t.to(as_device(device))
    return t.requires_grad_() if requires_grad else t


def _from_lists(data: Any, target: Any) -> Tensor:
    shape = _data_shape(data)
    items: list[Any] = []
    if isinstance(data, range):
        data, shape = list(data), (len(data),)
    _flatten(data, shape, items)
    natural = _natural_dtype(items)
    if natural is None:
        return _from_mixed(items, shape)
    if target is not None and target.name != "bool":
        _check_fits(items, natural, target)
    if natural.is_complex:
        flat = [part for item in items for part in (complex(item).real, complex(item).imag)]
        pairs = _filled(flat, "float64", (*shape, 2))
        return wrap(lib.cb_view_as_complex(pairs._v)).to(target or natural)
    store = natural if natural.name in _C_ARRAYS else as_dtype("float64")
    if (
        target is not None
        and target.name in _C_ARRAYS
        and not (target.name == "bool" or (target.name == "int64" and store.is_floating_point))
    ):
        store = target
    t = _filled(items, store.name, shape)
    return t if store is natural or store is target else t.to(natural)


def _check_fits(items: list[Any], natural: Any, target: Any) -> None:
    """Raises for numbers that the dtype asked for cannot hold; negative ones wrap around."""
    if natural.is_complex and not target.is_complex:
        raise DTypeError(message("tensor", f"real numbers for {target}", "complex ones"))
    if natural.name == "int64" and not target.is_inexact and items:
        limits = iinfo(target)
        low, high = min(items), max(items)
        if high > limits.max or low < (limits.min or -limits.max):
            rule = f"integers in [{limits.min}, {limits.max}] for {target}"
            raise ValueError(message("tensor", rule, high if high > limits.max else low))


def _filled(items: list[Any], name: str, shape: tuple[int, ...]) -> Tensor:
    try:
        array = ffi.new(_C_ARRAYS[name] + "[]", items)
    except OverflowError:
        if name != "int64":
            raise
        array, name = ffi.new("uint64_t[]", items), "uint64"
    return wrap(lib.cb_from_bytes(array, as_dtype(name).code, len(shape), shape))


def _from_mixed(items: list[Any], shape: tuple[int, ...]) -> Tensor:
    """Items that are 0-d tensors, NumPy numbers or arrays among plain numbers."""
    from .join import stack

    parts = []
    for item in items:
        if isinstance(item, Tensor):
            parts.append(item.detach())
        elif hasattr(item, "__array__") or hasattr(item, "dtype"):
            parts.append(
                tensor(item)
                if getattr(item, "shape", ())
                else tensor(item.item(), dtype=item.dtype)
            )
        elif isinstance(item, (bool, int, float, complex)):
            parts.append(tensor(item))
        elif isinstance(item, (list, tuple)):
            raise ShapeError(
                message("tensor", "nested lists of equal lengths", f"{item!r} among numbers")
            )
        else:
            raise DTypeError(message("tensor", "numbers", f"{type(item).__name__} ({item!r})"))
    joined = stack(parts)
    return joined.reshape(shape + joined._shape[1:])


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a tensor: itself, or sharing a NumPy array's memory, if nothing has to change."""
    if not isinstance(data, Tensor) and hasattr(data, "__array_interface__") and dtype is None:
        data = from_array(data, copy=False)
    if isinstance(data, Tensor):
        return (
            data.to(device=device, dtype=dtype) if dtype is not None or device is not None else data
        )
    return tensor(data, dtype=dtype, device=device)


# ---- filled ----


def _scalar(value: Any) -> Any:
    s = ffi.new("cb_scalar *")
    if isinstance(value, bool):
        s.kind, s.i = 98, value
    elif isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            s.kind, s.i = 105, value
        else:
            s.kind, s.u = 117, value
    elif isinstance(value, complex):
        s.kind, s.re, s.im = 99, value.real, value.imag
    else:
        s.kind, s.re = 102, float(value)
    return s


def _made(handle: Any, requires_grad: bool) -> Tensor:
    t = wrap(handle)
    return t.requires_grad_() if requires_grad else t


def _kind(dtype: Any) -> int:
    return (get_default_dtype() if dtype is None else as_dtype(dtype)).code


_ZERO, _ONE = _scalar(0), _scalar(1)


def _filled_with(
    value: Any,
    op: str,
    size: Any,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    out: Tensor | None,
) -> Tensor:
    """A tensor of one number, or of whatever was in memory for None."""
    code = (get_default_dtype() if dtype is None else as_dtype(dtype)).code
    place = 0 if device is None else as_device(device).code
    t = filled(size, code, place, value)
    if t is None:
        shape = sizes(op, size)
        t = wrap(
            lib.cb_empty(code, place, len(shape), shape)
            if value is None
            else lib.cb_full(code, place, len(shape), shape, _scalar(value))
        )
    if out is not None:
        t = store(op, out, t)
    return t.requires_grad_() if requires_grad else t


def empty(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    memory_format: Any = None,
) -> Tensor:
    """A tensor with whatever was in memory.

    Raises:
      OutOfMemoryError: there is not that much memory.
    """
    given = shape if size is None else (size,)
    if memory_format is not None:
        t = _filled_with(None, "empty", given, dtype, device, False, out)
        return finished("empty", t, requires_grad, memory_format)
    return _filled_with(None, "empty", given, dtype, device, requires_grad, out)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with one value everywhere; the dtype follows the value unless given.

    Example:
      >>> full((2,), 7)
      tensor([7, 7])
    """
    if isinstance(fill_value, Tensor):
        t = fill_value.expand(sizes("full", (size,))).clone()
        return t if dtype is None else t.to(as_dtype(dtype))
    if dtype is None:
        dtype = _natural_dtype([fill_value])
    return _filled_with(fill_value, "full", (size,), dtype, device, requires_grad, None)


def zeros(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor of zeros.

    Example:
      >>> zeros(2, 2)
      tensor([[0., 0.],
              [0., 0.]])
    """
    return _filled_with(
        0, "zeros", shape if size is None else (size,), dtype, device, requires_grad, out
    )


def ones(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor of ones."""
    return _filled_with(
        1, "ones", shape if size is None else (size,), dtype, device, requires_grad, out
    )


def empty_like(
    x: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of the same shape, with whatever was in memory."""
    dtype, device = dtype or x.dtype, device or x.device
    t = empty(x._shape, dtype=dtype, device=device)
    return finished("empty_like", t, requires_grad, memory_format)


def finished(op: str, t: Tensor, requires_grad: bool, memory_format: Any) -> Tensor:
    """A new tensor laid out and, where it shall require grad, made a leaf."""
    if memory_format is not None:
        t = laid_out(op, t, memory_format)
    return t.requires_grad_() if requires_grad else t


def _like(
    op: str,
    x: Tensor,
    value: int,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    memory_format: Any,
) -> Tensor:
    code = -1 if dtype is None else as_dtype(dtype).code
    place = -1 if device is None else as_device(device).code
    t = filled(x, code, place, value)
    if t is None:
        code = x._concrete.dtype if code < 0 else code
        place = x._place if place < 0 else place
        shape = x._shape
        t = wrap(lib.cb_full(code, place, len(shape), shape, _ONE if value else _ZERO))
    if requires_grad or memory_format is not None:
        return finished(op, t, requires_grad, memory_format)
    return t


def zeros_like(
    x: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of zeros of the same shape, dtype and device."""
    return _like("zeros_like", x, 0, dtype, device, requires_grad, memory_format)


def ones_like(
    x: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of ones of the same shape, dtype and device."""
    return _like("ones_like", x, 1, dtype, device, requires_grad, memory_format)


def full_like(
    x: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of one value, of the same shape, dtype and device."""
    t = full(x._shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)
    return finished("full_like", t, requires_grad, memory_format)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers start, start + step, ... below end. `arange(n)` counts from 0.

    Raises:
      ValueError: step is 0, or has the wrong sign for the bounds.
    Example:
      >>> arange(1, 2, 0.5)
      tensor([1.0000, 1.5000])
    """
    if end is None:
        start, end = 0, start
    whole = type(start) is int and type(end) is int and type(step) is int
    if not whole:
        start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
        whole = all(isinstance(v, int) for v in (start, end, step))
    if step == 0 or (end - start) * step < 0:
        raise ValueError(
            message(
                "arange", "a nonzero step towards end", f"start {start}, end {end}, step {step}"
            )
        )
    d = (int64 if whole else get_default_dtype()) if dtype is None else as_dtype(dtype)
    place = as_device(device).code
    if whole:
        n = -((start - end) // step)
        return _made(lib.cb_arange_int(d.code, place, start, step, n), requires_grad)
    import math

    n = math.ceil((end - start) / step)
    return _made(lib.cb_arange(d.code, place, float(start), float(step), n), requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included.

    Example:
      >>> linspace(0, 1, 3)
      tensor([0.0000, 0.5000, 1.0000])
    """
    if steps < 0:
        raise ValueError(message("linspace", "steps of at least 0", steps))
    return _made(
        lib.cb_linspace(_kind(dtype), as_device(device).code, float(start), float(end), steps),
        requires_grad,
    )


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """`steps` numbers from base**start to base**end, evenly spaced on a logarithmic scale."""
    return (number(base) ** linspace(start, end, steps, dtype="float64", device=device)).to(
        as_dtype(dtype) if dtype else get_default_dtype()
    )


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A matrix with ones on the diagonal and zeros elsewhere."""
    return _made(
        lib.cb_eye(_kind(dtype), as_device(device).code, n, n if m is None else m), requires_grad
    )


def _new_method(function: Any) -> Any:
    def method(
        self: Tensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any
    ) -> Tensor:
        return function(*args, dtype=dtype or self.dtype, device=device or self.device, **options)

    method.__name__ = "new_" + function.__name__
    method.__doc__ = f"{function.__name__}() with this tensor's dtype and device as defaults."
    return method


for _f in (empty, full, zeros, ones, tensor):
    setattr(Tensor, "new_" + _f.__name__, _new_method(_f))
