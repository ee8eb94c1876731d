"""Pooling over the last one to three dimensions."""

from __future__ import annotations

from typing import Any

from cbackend import ffi, lib

from ..errors import ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap
from ..trace import active, state
from .conv import spread
from .family import fronted

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
]  # fmt: skip

_FAMILY = "pool"


def _pool_impl(
    x: Tensor, *, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Any:
    out = ffi.new("cb_tensor *[2]")
    if lib.cb_max_pool(x._v, len(kernel), kernel, stride, padding, dilation, ceil_mode, out):
        return ()
    return out[0], out[1]


# C pools the last dimensions of a tensor of any rank: a mapped dimension in front needs nothing.
_max_pool = Op(
    "max_pool",
    _pool_impl,
    vjp=lambda ct, out, x_spec, **_p: (
        _max_pool_grad(ct[0], out[1], input_size=x_spec.shape[-len(_p["kernel"]) :]),
    ),
    jvp=lambda tangents, out, _x, **p: (
        _pool_gather(tangents[0], out[1], nd=len(p["kernel"])),
        None,
    ),
    batch=lambda _size, _batched, x, **p: _max_pool(x, **p),
    nouts=2,
    family=_FAMILY,
)
_WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    (
        (2, 3, 4, 4),
        {
            "kernel": (2, 2),
            "stride": (2, 2),
            "padding": (0, 0),
            "dilation": (1, 1),
            "ceil_mode": False,
        },
    ),
    (
        (2, 5, 6),
        {
            "kernel": (3, 2),
            "stride": (2, 1),
            "padding": (1, 0),
            "dilation": (1, 2),
            "ceil_mode": False,
        },
    ),
    (
        (1, 2, 6),
        {"kernel": (3,), "stride": (2,), "padding": (1,), "dilation": (1,), "ceil_mode": True},
    ),
    (
        (1, 3, 3, 4),
        {
            "kernel": (2, 2, 2),
            "stride": (1, 1, 2),
            "padding": (0, 1, 0),
            "dilation": (1, 1, 1),
            "ceil_mode": False,
        },
    ),
]
sampled(_max_pool, lambda make: [call(make(*shape), **p) for shape, p in _WINDOWS])


_max_pool_grad = Op(
    "max_pool_grad",
    lambda ct, indices, *, input_size: lib.cb_max_pool_grad(
        ct._v, indices._v, len(input_size), input_size
    ),
    vjp=lambda g, _out, _ct, indices, *, input_size: (
        _pool_gather(g, indices, nd=len(input_size)),
        None,
    ),
    jvp=lambda tangents, _out, _ct, indices, *, input_size: _max_pool_grad(
        tangents[0], indices, input_size=input_size
    ),
    batch=lambda size, batched, ct, indices, **p: _max_pool_grad(
        *fronted(size, batched, (ct, indices)), **p
    ),
    family=_FAMILY,
)


def _pooled(make: Any) -> list[Any]:
    """Cotangent, indices and input size of the samples of max_pool."""
    found = [(shape, _max_pool(make(*shape), **p)[1]) for shape, p in _WINDOWS]
    return [
        (make(*indices.shape), make(*shape), indices, shape[-len(p["kernel"]) :])
        for (shape, indices), (_, p) in zip(found, _WINDOWS, strict=True)
    ]


sampled(
    _max_pool_grad,
    lambda make: [call(ct, indices, input_size=size) for ct, _, indices, size in _pooled(make)],
)
_pool_gather = Op(
    "pool_gather",
    lambda x, indices, *, nd: lib.cb_pool_gather(x._v, indices._v, nd),
    vjp=lambda ct, _out, x_spec, indices, *, nd: (
        _max_pool_grad(ct, indices, input_size=x_spec.shape[-nd:]),
        None,
    ),
    jvp=lambda tangents, _out, _x, indices, *, nd: _pool_gather(tangents[0], indices, nd=nd),
    batch=lambda size, batched, x, indices, **p: _pool_gather(
        *fronted(size, batched, (x, indices)), **p
    ),
    family=_FAMILY,
)
sampled(
    _pool_gather,
    lambda make: [call(x, indices, nd=len(size)) for _, x, indices, size in _pooled(make)],
)


def _avg_impl(
    x: Tensor,
    *,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    include_pad: bool,
    divisor: int,
) -> Any:
    return lib.cb_avg_pool(
        x._v, len(kernel), kernel, stride, padding, ceil_mode, include_pad, divisor
    )


_avg_pool = Op(
    "avg_pool",
    _avg_impl,
    vjp=lambda ct, _out, x_spec, **p: (
        _avg_pool_grad(ct, input_size=x_spec.shape[-len(p["kernel"]) :], **p),
    ),
    jvp=lambda tangents, _out, _x, **p: _avg_pool(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _avg_pool(x, **p),
    family=_FAMILY,
)
_MEANS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    (
        (2, 3, 4, 4),
        {
            "kernel": (2, 2),
            "stride": (2, 2),
            "padding": (0, 0),
            "ceil_mode": False,
            "include_pad": True,
            "divisor": 0,
        },
    ),
    (
        (2, 5, 6),
        {
            "kernel": (3, 2),
            "stride": (2, 1),
            "padding": (1, 0),
            "ceil_mode": False,
            "include_pad": False,
            "divisor": 0,
        },
    ),
    (
        (1, 2, 6),
        {
            "kernel": (3,),
            "stride": (2,),
            "padding": (1,),
            "ceil_mode": True,
            "include_pad": True,
            "divisor": 0,
        },
    ),
    (
        (1, 3, 3, 4),
        {
            "kernel": (2, 2, 2),
            "stride": (1, 1, 2),
            "padding": (0, 1, 0),
            "ceil_mode": False,
            "include_pad": True,
            "divisor": 3,
        },
    ),
]
sampled(_avg_pool, lambda make: [call(make(*shape), **p) for shape, p in _MEANS])
_avg_pool_grad = Op(
    "avg_pool_grad",
    lambda ct, *, input_size, kernel, stride, padding, ceil_mode, include_pad, divisor: (
        lib.cb_avg_pool_grad(
            ct._v, len(kernel), input_size, kernel, stride, padding, ceil_mode, include_pad, divisor
        )
    ),
    vjp=lambda g, _out, _ct, *, input_size, **p: (_avg_pool(g, **p),),
    jvp=lambda tangents, _out, _ct, **p: _avg_pool_grad(tangents[0], **p),
    batch=lambda _size, _batched, ct, **p: _avg_pool_grad(ct, **p),
    family=_FAMILY,
)
sampled(
    _avg_pool_grad,
    lambda make: [
        call(make(*_avg_pool(make(*shape), **p).shape), input_size=shape[-len(p["kernel"]) :], **p)
        for shape, p in _MEANS
    ],
)


def _max(
    op: str,
    nd: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    if x.ndim not in (nd + 1, nd + 2):
        raise ShapeError(
            message(op, f"input [N, C, *{nd} sizes] (N may be missing)", list(x._shape))
        )
    kernel = spread(op, kernel_size, nd)
    strides = spread(op, stride, nd) if stride not in (None, ()) else kernel
    pads, dilations = spread(op, padding, nd), spread(op, dilation, nd)
    if not return_indices and x._m is None and (not active or state.trace is None):
        # nobody asks for the places: a faster kernel
        values = lib.cb_max_pool_values(x._v, nd, kernel, strides, pads, dilations, bool(ceil_mode))
        return wrap(values)
    values, indices = _max_pool(
        x, kernel=kernel, stride=strides, padding=pads, dilation=dilations,
        ceil_mode=bool(ceil_mode),
    )  # fmt: skip
    return (values, indices) if return_indices else values


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last dimension. Arguments as max_pool2d."""
    return _max(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last two dimensions.

    Args:
      input [N, C, H, W] or [C, H, W]. kernel_size, stride (default kernel_size), padding (at most
        half the kernel), dilation: an int or two, in elements.
      ceil_mode: also windows that reach over the edge. return_indices: also their places in the
        plane.
    Example:
      >>> max_pool2d(arange(16.0).reshape(1, 1, 4, 4), 2)
      tensor([[[[ 5.,  7.],
                [13., 15.]]]])
    """
    return _max(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last three dimensions.

    Arguments as max_pool2d.
    """
    return _max(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _avg(
    op: str,
    nd: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    if x.ndim not in (nd + 1, nd + 2):
        raise ShapeError(
            message(op, f"input [N, C, *{nd} sizes] (N may be missing)", list(x._shape))
        )
    if divisor == 0:
        raise ValueError(message(op, "divisor_override other than 0", divisor))
    kernel = spread(op, kernel_size, nd)
    return _avg_pool(
        x,
        kernel=kernel,
        stride=spread(op, stride, nd) if stride not in (None, ()) else kernel,
        padding=spread(op, padding, nd),
        ceil_mode=bool(ceil_mode),
        include_pad=bool(count_include_pad),
        divisor=divisor or 0,
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window over the last dimension. Arguments as avg_pool2d."""
    return _avg(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last two dimensions.

    Args:
      count_include_pad: does padding count as elements? divisor_override: divide by this instead.
    """
    return _avg(
        "avg_pool2d",
        2,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last three dimensions. Arguments as avg_pool2d."""
    return _avg(
        "avg_pool3d",
        3,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
