"""Views by strides: as_strided, unfold along a dim, methods that change a tensor's own view.

as_strided speaks of memory. Where there is none to speak of (tape, transforms) it means: lay x's
elements out in a vector where its own strides put them, and pick from that; what lies between them
reads as 0, and the result is a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from .. import mutation
from ..dtypes import as_device, get_default_dtype, int64
from ..errors import ShapeError, TraceError, message
from ..op import Op, wrap
from ..samples import call, sampled
from ..tensor import Tensor, replace, wrap_dim
from ..trace import active, clock, state
from .creation import arange, as_dtype, empty, sizes, zeros
from .family import sum_to
from .views import squeeze, t, transpose, unsqueeze

__all__ = [
    "as_strided",
    "as_strided_scatter",
    "empty_permuted",
    "empty_strided",
]

_FAMILY = "view"


def _positions(shape: Sequence[int], strides: Sequence[int], offset: int, device: Any) -> Tensor:
    """The place in memory of every element, in row-major order."""
    places = zeros((), dtype=int64, device=device) + offset
    for size, step in zip(shape, strides, strict=True):
        places = places.unsqueeze(-1) + arange(size, dtype=int64, device=device) * step
    return places.reshape((-1,))


def _extent(shape: Sequence[int], strides: Sequence[int], offset: int) -> int:
    if 0 in shape:
        return 0
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1


def _as_strided_meaning(
    x: Tensor,
    *,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    own: tuple[tuple[int, ...], int],
) -> Tensor:
    length = max(_extent(shape, strides, offset), _extent(x._shape, *own), 1)
    memory = zeros(length, dtype=x.dtype, device=x.device)
    memory = memory.index_put((_positions(x._shape, *own, x.device),), x.reshape((-1,)))
    return memory[_positions(shape, strides, offset, x.device)].reshape(shape)


_as_strided = Op(
    "as_strided",
    lambda x, *, shape, strides, offset, own: lib.cb_as_strided(
        x._v, len(shape), shape, strides, offset
    ),
    decompose=_as_strided_meaning,
    view=True,
    family=_FAMILY,
)
sampled(
    _as_strided,
    lambda make: [
        call(make(3, 4), shape=(2, 3), strides=(4, 1), offset=1, own=((4, 1), 0)),
        call(make(6), shape=(4, 3), strides=(1, 1), offset=0, own=((1,), 0)),
        call(make(), shape=(1,), strides=(1,), offset=0, own=((), 0)),
    ],
    kinds="bool int float complex",
    oracle=lambda np, x, *, shape, strides, offset, own: np.lib.stride_tricks.as_strided(
        x.reshape(-1)[offset:], shape, [s * x.itemsize for s in strides]
    ),
    layout="it reads memory as it lies",
)


def as_strided(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """x's memory seen with another shape, strides (in elements) and offset.

    A view of a plain tensor; with gradients or inside a transform a copy (see the top of the file).

    Raises:
      ShapeError: it would reach outside the memory.
    Example:
      >>> as_strided(arange(4), (3, 2), (1, 1))
      tensor([[0, 1],
              [1, 2],
              [2, 3]])
    """
    shape, strides = sizes("as_strided", (size,)), sizes("as_strided", (stride,))
    if len(shape) != len(strides):
        raise ShapeError(
            message("as_strided", "as many strides as sizes", f"{list(shape)} and {list(strides)}")
        )
    own_offset = x._v.offset if x._v else 0
    offset = own_offset if storage_offset is None else storage_offset
    return _as_strided(
        x, shape=shape, strides=strides, offset=offset, own=(tuple(x._strides()), own_offset)
    )


def as_strided_scatter(
    x: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of x with src in place of as_strided(size, stride, storage_offset)."""
    shape, strides = sizes("as_strided_scatter", (size,)), sizes("as_strided_scatter", (stride,))
    if src._shape != shape:
        raise ShapeError(
            message("as_strided_scatter", f"a source of shape {list(shape)}", list(src._shape))
        )
    places = _positions(shape, strides, storage_offset or 0, x.device)
    flat = x.reshape((-1,)).index_put((places,), src.to(x.dtype).reshape((-1,)))
    return flat.reshape(x._shape)


# ---- unfold ----


def _fold(ct: Tensor, spec: Any, dim: int, size: int, step: int) -> Tensor:
    """The transpose of unfold: every window added back at its place."""
    if not spec.shape:
        return sum_to(ct, spec)
    places = _windows(spec.shape[dim], size, step, ct.device)
    rows = ct.movedim(-1, dim + 1).flatten(dim, dim + 1)
    empty = zeros(spec.shape, dtype=ct.dtype, device=ct.device)
    return empty.index_add(dim, places.reshape((-1,)), rows)


def _windows(n: int, size: int, step: int, device: Any) -> Tensor:
    starts = arange(0, n - size + 1, step, dtype=int64, device=device)
    return starts.unsqueeze(1) + arange(size, dtype=int64, device=device)


_unfold = Op(
    "unfold_dim",
    lambda x, *, dim, size, step: lib.cb_unfold(x._v, dim, size, step),
    vjp=lambda ct, _out, x_spec, *, dim, size, step: (_fold(ct, x_spec, dim, size, step),),
    jvp=lambda tangents, _out, _x, **params: _unfold(tangents[0], **params),
    batch=lambda _size, _batched, x, *, dim, size, step: (
        x.unsqueeze(-1) if x.ndim == 1 else _unfold(x, dim=dim + 1, size=size, step=step)
    ),
    view=True,
    family=_FAMILY,
)
sampled(
    _unfold,
    lambda make: [
        call(make(7), dim=0, size=3, step=2),
        call(make(2, 5), dim=1, size=2, step=1),
        call(make(4, 2), dim=0, size=4, step=1),
        call(make(3, 0), dim=0, size=2, step=1),
    ],
    kinds="bool int float complex",
    oracle=lambda np, x, *, dim, size, step: np.moveaxis(
        np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, size, dim), dim, 0)[::step], 0, dim
    ),
)


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of a size along a dim, `step` apart, in a new last dim; a view.

    Raises:
      ShapeError: the window is larger than the dim.
    Example:
      >>> arange(5).unfold(0, 3, 2)
      tensor([[0, 1, 2],
              [2, 3, 4]])
    """
    d = wrap_dim("unfold", dimension, x.ndim)
    if not x.ndim:
        if size > 1:
            raise ShapeError(message("unfold", "a size of at most 1 for a 0-d tensor", size))
        return x.reshape((1,))[:size]
    if size > x._shape[d] or size < 0 or step < 1:
        raise ShapeError(
            message(
                "unfold",
                f"a size of at most {x._shape[d]} and a step of at least 1",
                f"size {size}, step {step}",
            )
        )
    return _unfold(x, dim=d, size=size, step=step)


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
    was = object.__new__(Tensor)
    was._v, was._m, was._b = lib.cb_retain(x._v), x._m, getattr(x, "_b", None)
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
    return _become("as_strided_", x, lambda y: as_strided(y, size, stride, storage_offset))


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
    as_strided, as_strided_scatter, unfold, t_, transpose_, squeeze_, unsqueeze_, as_strided_,
    resize_, resize_as_, set_, sum_to_size,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
Tensor.swapaxes_ = Tensor.swapdims_ = transpose_  # type: ignore[attr-defined]
Tensor.new_empty_strided = _new_empty_strided  # type: ignore[attr-defined]
