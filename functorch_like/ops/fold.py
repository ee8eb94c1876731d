"""Windows of a tensor: sliding windows as a view or as columns, their sums, and strided views.

im2col and col2im are transposes of each other, over the last dimensions of a tensor of any rank;
unfold is the same over one dimension, as a view.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from cbackend import ffi, lib

from ..errors import ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .conv import spread
from .creation import _ZERO, arange, zeros
from .creation import sizes as sizes_of
from .index_entries import _put
from .join import pad

__all__ = ["as_strided", "as_strided_scatter", "col2im", "im2col", "unfold"]

_FAMILY = "fold"
_ANY = "int float complex"
_ADD = lib.cb_op_code(b"binary", b"add")
_END = 1 << 62  # past the end of any dimension

Ints = tuple[int, ...]


def _counts(size: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Ints:
    """The number of windows along each dimension."""
    return tuple(
        [
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
        ]
    )


def _window_starts(place: Ints, counts: Ints, stride: Ints, dilation: Ints) -> list[int]:
    """The spec of cb_index_basic for one place of all windows, behind an ellipsis."""
    spec = [3, 0, 0, 0]
    for at, n, s, d in zip(place, counts, stride, dilation, strict=True):
        spec += [1, at * d, at * d + (n - 1) * s + 1, s]
    return spec


def _columns_impl(x: Tensor, *, kernel: Ints, stride: Ints, dilation: Ints) -> Any:
    if not x._v:
        return ffi.NULL
    nd = len(kernel)
    lead = x.ndim - nd
    views = [x._v]
    for i, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        if views[-1]:
            views.append(lib.cb_unfold(views[-1], lead + i, d * (k - 1) + 1, s))
    if views[-1]:  # [*lead, *windows, *reaches]
        spec = [3, 0, 0, 0]
        for d in dilation:
            spec += [1, 0, _END, d]
        views.append(lib.cb_index_basic(views[-1], nd + 1, spec))
    if views[-1]:
        windows, places = range(lead, lead + nd), range(lead + nd, lead + 2 * nd)
        views.append(lib.cb_permute(views[-1], lead + 2 * nd, (*range(lead), *places, *windows)))
    out = lib.cb_clone(views[-1]) if views[-1] else views[-1]
    for view in views[1:]:
        lib.cb_release(view)
    return out


def _sums_impl(x: Tensor, *, size: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Any:
    """Zeros of `size` with the elements of all windows added."""
    if not x._v:
        return ffi.NULL
    nd = len(kernel)
    lead = x._shape[: x.ndim - 2 * nd]
    counts = x._shape[x.ndim - nd :]
    shape = (*lead, *size)
    out = lib.cb_full(x._v.dtype, x._v.device, len(shape), shape, _ZERO)
    for place in product(*[range(k) for k in kernel]):
        spec = _window_starts(place, counts, stride, dilation)
        target = lib.cb_index_basic(out, nd + 1, spec)
        pick = [3, 0, 0, 0]
        for at in place:
            pick += [0, at, 0, 0]
        for _ in range(nd):
            pick += [1, 0, _END, 1]
        source = lib.cb_index_basic(x._v, 2 * nd + 1, pick) if target else target
        status = lib.cb_binary_into(_ADD, target, source, target, 0) if source else 1
        lib.cb_release(target)
        lib.cb_release(source)
        if status:
            lib.cb_release(out)
            return ffi.NULL
    return out


_columns = Op(
    "im2col",
    _columns_impl,
    vjp=lambda ct, _out, x_spec, *, kernel, stride, dilation: (
        _sums(
            ct,
            size=x_spec.shape[x_spec.ndim - len(kernel) :],
            kernel=kernel,
            stride=stride,
            dilation=dilation,
        ),
    ),
    jvp=lambda tangents, _out, _x, **p: _columns(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _columns(x, **p),
    family=_FAMILY,
)
_sums = Op(
    "col2im",
    _sums_impl,
    vjp=lambda ct, _out, _x, *, size, **p: (_columns(ct, **p),),
    jvp=lambda tangents, _out, _x, **p: _sums(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _sums(x, **p),
    family=_FAMILY,
)

_WINDOWS: list[tuple[Ints, dict[str, Ints]]] = [
    ((2, 3, 4, 5), {"kernel": (2, 3), "stride": (1, 2), "dilation": (1, 1)}),
    ((2, 7), {"kernel": (3,), "stride": (2,), "dilation": (2,)}),
    ((4,), {"kernel": (2,), "stride": (2,), "dilation": (1,)}),
    ((0, 3, 3), {"kernel": (2, 2), "stride": (1, 1), "dilation": (1, 1)}),
    ((1, 3, 4, 3), {"kernel": (2, 2, 2), "stride": (1, 2, 1), "dilation": (1, 1, 2)}),
]


def _columns_oracle(np: Any, x: Any, *, kernel: Ints, stride: Ints, dilation: Ints) -> Any:
    nd = len(kernel)
    reach = tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)])
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(-nd, 0)))
    steps = [slice(None, None, s) for s in (*stride, *dilation)]
    windows = windows[(Ellipsis, *steps)]
    return np.moveaxis(windows, tuple(range(-nd, 0)), tuple(range(-2 * nd, -nd)))


sampled(
    _columns,
    lambda make: [call(make(*shape), **p) for shape, p in _WINDOWS],
    kinds=_ANY,
    oracle=_columns_oracle,
)


def _column_shape(shape: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Ints:
    lead = len(shape) - len(kernel)
    return (*shape[:lead], *kernel, *_counts(shape[lead:], kernel, stride, dilation))


sampled(
    _sums,
    lambda make: [
        call(make(*_column_shape(shape, **p)), size=shape[len(shape) - len(p["kernel"]) :], **p)
        for shape, p in _WINDOWS
    ],
    kinds=_ANY,
)


def im2col(
    input: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """The sliding windows of an image as columns; torch.nn.functional.unfold.

    Args:
      input [N, C, H, W], or without N. kernel_size, dilation, padding, stride: an int or two.
    Returns:
      [N, C * kernel elements, windows], windows in row-major order.
    Raises:
      ShapeError: no window fits.
    Example:
      >>> im2col(arange(6.0).reshape(1, 2, 3), 2)
      tensor([[0., 1.],
              [1., 2.],
              [3., 4.],
              [4., 5.]])
    """
    if input.ndim not in (3, 4):
        raise ShapeError(message("im2col", "input [N, C, H, W] or [C, H, W]", list(input._shape)))
    kernel, dilations = spread("im2col", kernel_size, 2), spread("im2col", dilation, 2)
    pads, strides = spread("im2col", padding, 2), spread("im2col", stride, 2)
    if any(pads):
        input = pad(input, (pads[1], pads[1], pads[0], pads[0]))
    counts = _counts(input._shape[-2:], kernel, strides, dilations)
    if min(counts) < 1:
        wanted = f"an image that holds a window of {list(kernel)} with dilation {list(dilations)}"
        raise ShapeError(message("im2col", wanted, f"{list(input._shape[-2:])} with padding"))
    columns = _columns(input, kernel=kernel, stride=strides, dilation=dilations)
    channels = input._shape[-3] * kernel[0] * kernel[1]
    return columns.reshape((*input._shape[:-3], channels, counts[0] * counts[1]))


def col2im(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """The image whose elements are sums over all windows they stand in; torch.nn.functional.fold.

    Args:
      input [N, C * kernel elements, windows], or without N: as im2col gives it.
      output_size: height and width of the image. The others as for im2col.
    Returns:
      [N, C, *output_size]
    Raises:
      ShapeError: input is not what im2col gives for such an image.
    Example:
      >>> col2im(im2col(ones(1, 1, 3), (1, 2)), (1, 3), (1, 2))
      tensor([[[1., 2., 1.]]])
    """
    size, kernel = spread("col2im", output_size, 2), spread("col2im", kernel_size, 2)
    dilations, pads = spread("col2im", dilation, 2), spread("col2im", padding, 2)
    strides = spread("col2im", stride, 2)
    padded = tuple([n + 2 * p for n, p in zip(size, pads, strict=True)])
    counts = _counts(padded, kernel, strides, dilations)
    area = kernel[0] * kernel[1]
    shape = input._shape
    if (
        len(shape) not in (2, 3)
        or min(counts) < 1
        or shape[-2] % area
        or shape[-1] != counts[0] * counts[1]
    ):
        wanted = f"input [N, C * {area}, {max(counts[0], 0) * max(counts[1], 0)}], N may be missing"
        raise ShapeError(message("col2im", wanted, list(shape)))
    windows = input.reshape((*shape[:-2], shape[-2] // area, *kernel, *counts))
    image = _sums(windows, size=padded, kernel=kernel, stride=strides, dilation=dilations)
    if any(pads):
        image = pad(image, (-pads[1], -pads[1], -pads[0], -pads[0]))
    return image


# ---- windows along one dim, as a view ----


def _unfold_grad(ct: Tensor, length: int, dim: int, size: int, step: int) -> Tensor:
    windows = ct.movedim(dim, -1)  # [..., size, windows]
    summed = _sums(windows, size=(length,), kernel=(size,), stride=(step,), dilation=(1,))
    return summed.movedim(-1, dim)


_unfold = Op(
    "unfold",
    lambda x, *, dim, size, step: lib.cb_unfold(x._v, dim, size, step),
    vjp=lambda ct, _out, x_spec, *, dim, size, step: (
        _unfold_grad(ct, x_spec.shape[dim], dim, size, step),
    ),
    jvp=lambda tangents, _out, _x, **p: _unfold(tangents[0], **p),
    batch=lambda _size, _batched, x, *, dim, size, step: _unfold(
        x, dim=dim + 1, size=size, step=step
    ),
    view=True,
    family="view",
)


def _unfold_oracle(np: Any, x: Any, *, dim: int, size: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    return windows[(*[slice(None)] * dim, slice(None, None, step))]


sampled(
    _unfold,
    lambda make: [
        call(make(7), dim=0, size=3, step=2),
        call(make(2, 5, 3), dim=1, size=2, step=1),
        call(make(3, 4), dim=1, size=4, step=3),
        call(make(0, 4), dim=1, size=2, step=2),
    ],
    kinds="bool int float complex",
    oracle=_unfold_oracle,
)


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` along a dim, one every `step` places, with a new last dim; a view.

    torch.nn.functional.unfold is im2col.

    Raises:
      ShapeError: size is larger than the dimension. ValueError: step is not above 0.
    Example:
      >>> unfold(arange(5), 0, 3, 2)
      tensor([[0, 1, 2],
              [2, 3, 4]])
    """
    if step <= 0:
        raise ValueError(message("unfold", "a step above 0", step))
    if not x.ndim:
        x = x.reshape((1,))
        if size == 1:
            return x
    d = wrap_dim("unfold", dimension, x.ndim)
    if not 0 <= size <= x._shape[d]:
        raise ShapeError(message("unfold", f"a size of at most {x._shape[d]}", size))
    return _unfold(x, dim=d, size=size, step=step)


# ---- strided views ----
# Places count in row-major order of x from its first element on: for a contiguous tensor that is
# its memory. So the view has a meaning under transforms, whatever the layout of the lanes is.


def _places(size: Ints, stride: Ints, offset: int, device: Any) -> Tensor:
    at = zeros((1,) * len(size), dtype="int64", device=device) + offset
    for d, (n, s) in enumerate(zip(size, stride, strict=True)):
        steps = arange(n, device=device) * s
        at = at + steps.reshape((n, *[1] * (len(size) - d - 1)))
    return at


def _strided_grad(ct: Tensor, shape: Ints, size: Ints, stride: Ints, offset: int) -> Tensor:
    count = 1
    for n in shape:
        count *= n
    flat = zeros((count,), dtype=ct.dtype, device=ct.device)
    places = _places(size, stride, offset, ct.device)
    return _put(flat, ct, places, dims=(0,), accumulate=True).reshape(shape)


def _strided_batch(
    size_: int, _batched: Any, x: Tensor, *, size: Ints, stride: Ints, offset: int
) -> Tensor:
    lanes = x.reshape((size_, -1))
    lane = lanes._shape[1]
    return _strided(lanes.contiguous(), size=(size_, *size), stride=(lane, *stride), offset=offset)


_strided = Op(
    "as_strided",
    lambda x, *, size, stride, offset: lib.cb_as_strided(
        x._v, len(size), size, stride, offset + x.storage_offset()
    ),
    vjp=lambda ct, _out, x_spec, *, size, stride, offset: (
        _strided_grad(ct, x_spec.shape, size, stride, offset),
    ),
    jvp=lambda tangents, _out, _x, **p: _strided(tangents[0].contiguous(), **p),
    batch=_strided_batch,
    view=True,
    family="view",
)
sampled(
    _strided,
    lambda make: [
        call(make(12), size=(3, 2), stride=(2, 5), offset=1),
        call(make(3, 4), size=(2, 3), stride=(1, 2), offset=0),
        call(make(5), size=(3, 3), stride=(1, 1), offset=0),
        call(make(2, 2), size=(), stride=(), offset=3),
    ],
    kinds="bool int float complex",
    layout="places count in contiguous memory",
)


def _strided_write(base: Tensor, value: Tensor, *, size: Ints, stride: Ints, offset: int) -> Tensor:
    flat = base.reshape((base.numel(),))
    places = _places(size, stride, offset, base.device)
    return _put(flat, value, places, dims=(0,), accumulate=False).reshape(base._shape)


def _geometry(
    op: str, x: Tensor, size: Any, stride: Any, storage_offset: int | None
) -> tuple[Ints, Ints, int]:
    """Size, stride, and the offset from x's first element."""
    shape, steps = sizes_of(op, (size,)), sizes_of(op, (stride,))
    if len(shape) != len(steps):
        wanted = f"as many strides as sizes ({len(shape)})"
        raise ShapeError(message(op, wanted, len(steps)))
    start = x.storage_offset() if x._v else 0
    return shape, steps, 0 if storage_offset is None else storage_offset - start


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """input's memory seen with other sizes and strides; a view.

    Args:
      size, stride: one number a dimension, strides in elements.
      storage_offset: the place of the first element in the storage; that of input by default.
    Notes: under grad and vmap input is taken to be contiguous with a storage of its own.
    Raises:
      ShapeError: a place outside the storage.
    Example:
      >>> as_strided(arange(4), (2, 3), (1, 1))
      tensor([[0, 1, 2],
              [1, 2, 3]])
    """
    shape, steps, offset = _geometry("as_strided", input, size, stride, storage_offset)
    return _strided(input, size=shape, stride=steps, offset=offset)


def as_strided_scatter(
    x: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of x with src in place of as_strided(size, stride, storage_offset).

    Example:
      >>> as_strided_scatter(zeros(4), ones(2), (2,), (2,), 1)
      tensor([0., 1., 0., 1.])
    """
    op = "as_strided_scatter"
    shape, steps, offset = _geometry(op, x, size, stride, storage_offset)
    if src._shape != shape:
        raise ShapeError(message(op, f"a source of shape {list(shape)}", list(src._shape)))
    return _strided_write(x, src.to(x.dtype), size=shape, stride=steps, offset=offset)


for _f in (as_strided, as_strided_scatter, unfold):
    setattr(Tensor, _f.__name__, _f)
