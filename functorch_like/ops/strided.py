"""Memory of a given layout, and methods that change how a tensor sees its own memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib, plain

from .. import mutation
from ..dtypes import as_device, get_default_dtype
from ..errors import ShapeError, TraceError, message
from ..op import wrap
from ..tensor import Tensor, replace
from ..trace import active, clock, state
from .creation import as_dtype, empty, sizes
from .views import squeeze, t, transpose, unsqueeze

__all__ = [
    "empty_permuted",
    "empty_strided",
]


def _extent(shape: Sequence[int], strides: Sequence[int], offset: int) -> int:
    if 0 in shape:
        return 0
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1


# ---- memory of a given layout ----


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uninitialised memory with these strides (in elements)."""
    shape, strides = sizes("empty_strided", (size,)), sizes("empty_strided", (stride,))
    flat = empty(
        _extent(shape, strides, 0),
        dtype=get_default_dtype() if dtype is None else as_dtype(dtype),
        device=as_device(device),
    )
    x = wrap(lib.cb_as_strided(flat._v, len(shape), shape, strides, 0))
    return x.requires_grad_() if requires_grad else x


def empty_permuted(size: Any, physical_layout: Any, **options: Any) -> Tensor:
    """Uninitialised memory, dense, with the dims in memory in this order (outermost first)."""
    shape = sizes("empty_permuted", (size,))
    strides, step = [0] * len(shape), 1
    for d in reversed(physical_layout):
        strides[d], step = step, step * shape[d]
    return empty_strided(shape, strides, **options)


def _new_empty_strided(self: Tensor, size: Any, stride: Any, **options: Any) -> Tensor:
    """empty_strided() with this tensor's dtype and device as defaults."""
    options = {"dtype": self.dtype, "device": self.device, **options}
    return empty_strided(size, stride, **options)


# ---- methods that change how a tensor sees its memory ----


def _become(name: str, x: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
    """Makes x a view of what it was; other views of it keep seeing that."""
    mutation.writes_memory(name, x)  # refuses leaves and captured tensors
    was = plain(lib.cb_retain(x._v))  # NULL for tracers
    was._m, was._b = x._m, getattr(x, "_b", None)
    if x._v and lib.cb_storage_users(x._v) > 2:
        for other in mutation._views_of(mutation.root_of(x), lib.cb_storage_users(x._v)):
            link = getattr(other, "_b", None)
            if link is not None and link[0] is x:
                other._b = (was, *link[1:])
    new = view(was)
    link, is_view = getattr(new, "_b", None), new._m is not None and new._m.is_view
    replace(x, new)
    x._m.is_view = is_view
    if link is not None:
        x._b = link
    return x


def t_(x: Tensor) -> Tensor:
    """In-place t()."""
    return _become("t_", x, t)


def transpose_(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """In-place transpose()."""
    return _become("transpose_", x, lambda y: transpose(y, dim0, dim1))


def squeeze_(x: Tensor, dim: Any = None) -> Tensor:
    """In-place squeeze()."""
    return _become("squeeze_", x, lambda y: squeeze(y) if dim is None else squeeze(y, dim))


def unsqueeze_(x: Tensor, dim: int) -> Tensor:
    """In-place unsqueeze()."""
    return _become("unsqueeze_", x, lambda y: unsqueeze(y, dim))


def as_strided_(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """In-place as_strided()."""
    return _become("as_strided_", x, lambda y: y.as_strided(size, stride, storage_offset))


def resize_(x: Tensor, *size: Any) -> Tensor:
    """Gives a plain tensor another shape; elements beyond its memory are not initialised.

    Raises:
      TraceError: the tensor requires grad or is traced.
    """
    shape = sizes("resize_", size)
    if x.requires_grad or not x._v or (active and state.trace is not None):
        raise TraceError(
            message("resize_", "a plain tensor", "a traced or recorded one", "Use reshape().")
        )
    room = lib.cb_storage_nbytes(x._v) // x.dtype.itemsize - x._v.offset
    n = 1
    for s in shape:
        n *= s
    strides = empty(shape, dtype=x.dtype, device="meta").stride()
    if n <= room:
        handle = lib.cb_as_strided(x._v, len(shape), shape, strides, x._v.offset)
        fresh = wrap(handle)
    else:
        fresh = empty(shape, dtype=x.dtype, device=x.device)
        kept = min(room, n)
        whole = wrap(lib.cb_as_strided(x._v, 1, (kept,), (1,), x._v.offset))
        fresh.reshape((-1,))[:kept].copy_(whole)
    clock[0] += 1
    x._v, fresh._v = fresh._v, x._v
    x._b = None
    return x


def resize_as_(x: Tensor, other: Tensor) -> Tensor:
    """resize_() to the other's shape."""
    return resize_(x, other._shape)


def set_(x: Tensor, source: Tensor) -> Tensor:
    """Makes x see the memory of another tensor of its dtype."""
    x.data = source
    x._b = None
    return x


def sum_to_size(x: Tensor, *size: Any) -> Tensor:
    """x summed down to a shape that broadcasts to its own.

    Raises:
      ShapeError: it does not.
    Example:
      >>> ones(2, 3).sum_to_size(1, 3)
      tensor([[2., 2., 2.]])
    """
    shape, own = sizes("sum_to_size", size), x._shape
    lead = len(own) - len(shape)
    if lead < 0 or any(s not in (1, o) for s, o in zip(shape, own[lead:], strict=True)):
        raise ShapeError(
            message("sum_to_size", f"a shape that broadcasts to {list(own)}", list(shape))
        )
    dims = tuple(d for d in range(len(own)) if d < lead or (shape[d - lead] == 1 and own[d] != 1))
    return (x.sum(dims, keepdim=True) if dims else x).reshape(shape)


for _f in (
    t_, transpose_, squeeze_, unsqueeze_, as_strided_,
    resize_, resize_as_, set_, sum_to_size,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
Tensor.swapaxes_ = Tensor.swapdims_ = transpose_  # type: ignore[attr-defined]
Tensor.new_empty_strided = _new_empty_strided  # type: ignore[attr-defined]
