"""Creation functions of the array API standard."""

from __future__ import annotations

from typing import Any

from .. import interop
from ..dtypes import as_device, as_dtype
from ..errors import message
from ..ops import aliases, creation, join, shape
from ..tensor import Tensor

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like",
    "linspace", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """A tensor of the data; copy=None copies only where needed."""
    if isinstance(obj, Tensor) and copy is False and dtype is not None:
        if as_dtype(dtype) is not obj.dtype:
            raise ValueError(message("asarray", f"dtype {obj.dtype} without a copy", dtype))
    if copy is False and isinstance(obj, (bool, int, float, complex, list, tuple)):
        raise ValueError(message("asarray", "an array to share memory with", type(obj).__name__))
    x = aliases.asarray(obj, dtype=dtype, device=device, copy=copy or None)
    return x


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an object with __dlpack__, or a copy of it."""
    y = interop.from_dlpack(x)
    if device is not None and as_device(device) != y.device:
        if copy is False:
            raise ValueError(message("from_dlpack", f"device {y.device} without a copy", device))
        return y.to(device)
    return y.clone() if copy else y


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """The numbers from start below stop, step apart."""
    if stop is None:
        start, stop = 0, start
    n = max(0, -int((start - stop) // step))
    integral = dtype is None and all(isinstance(v, int) for v in (start, stop, step))
    if integral or (dtype is not None and as_dtype(dtype).is_integer):
        y = creation.arange(n, dtype="int64", device=device) * int(step) + int(start)
        return y if dtype is None else y.to(dtype)
    if not n:
        return creation.empty(0, dtype=dtype, device=device)
    return creation.arange(start, start + (n - 0.5) * step, step, dtype=dtype, device=device)


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """num numbers from start to stop, which is left out with endpoint=False."""
    d = None if dtype is None else as_dtype(dtype)
    if isinstance(start, complex) or isinstance(stop, complex) or (d and d.is_complex):
        start, stop = complex(start), complex(stop)
        parts = [
            linspace(a, b, num, dtype=d.to_real() if d else None, endpoint=endpoint)
            for a, b in ((start.real, stop.real), (start.imag, stop.imag))
        ]
        from ..ops.complex import complex as joined

        return joined(*parts)
    if d is not None and d.is_integer:
        return linspace(start, stop, num, dtype="float64", endpoint=endpoint).to(d)
    steps = num if endpoint else num + 1
    y = creation.linspace(start, stop, steps, dtype=dtype, device=device)
    return y if endpoint else y[:num]


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor with every element the value."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return creation.full(shape, fill_value, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of x's shape with every element the value."""
    return creation.full_like(x, fill_value, dtype=dtype, device=device)


def eye(
    n_rows: int, n_cols: Any = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """Ones on diagonal k, zeros elsewhere."""
    m = n_rows if n_cols is None else n_cols
    if not k:
        return creation.eye(n_rows, m, dtype=dtype, device=device)
    k = max(-n_rows, min(k, m))  # beyond the corners there is nothing, however large k is
    rows = creation.arange(n_rows, device=device).unsqueeze(1)
    on = creation.arange(m, device=device) - rows == k
    return on.to(creation.empty(0, dtype=dtype).dtype)


def _shaped(name: str) -> Any:
    function = getattr(creation, name)

    def make(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return function(shape, dtype=dtype, device=device)

    make.__name__, make.__doc__ = name, (function.__doc__ or "").partition("\n")[0]
    return make


def _like(name: str) -> Any:
    function = getattr(creation, name)

    def make(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
        return function(x, dtype=dtype, device=device)

    make.__name__, make.__doc__ = name, function.__doc__
    return make


empty, ones, zeros = (_shaped(n) for n in ("empty", "ones", "zeros"))
empty_like, ones_like, zeros_like = (_like(n) for n in ("empty_like", "ones_like", "zeros_like"))


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid from those along each axis."""
    return tuple(shape.meshgrid(*arrays, indexing=indexing))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangle, up to diagonal k."""
    return join.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangle, from diagonal k on."""
    return join.triu(x, k)
