"""Convolution and its two transposes.

Three bilinear ops, each the derivative of the others, so all orders close.

Batching folds the mapped dimension away: into the images when the weights are shared, into the
groups when they are not, which makes per-sample weight gradients one grouped convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..amp import entered, lowered
from ..errors import ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import zeros
from .family import fronted
from .join import pad
from .matmul import _sum_of
from .views import _reshape

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
]  # fmt: skip

_FAMILY = "conv"
Ints = tuple[int, ...]


def _fold(x: Tensor, dim: int) -> Tensor:
    """The mapped dimension 0 merged into (in front of) logical dimension `dim`."""
    shape = x._shape
    x = x.movedim(0, dim) if dim else x
    return _reshape(x, shape=(*shape[1 : dim + 1], shape[0] * shape[dim + 1], *shape[dim + 2 :]))


def _unfold(y: Tensor, dim: int, size: int) -> Tensor:
    """Splits the mapped dimension out of dimension `dim` again, to the front."""
    shape = y._shape
    y = _reshape(y, shape=(*shape[:dim], size, shape[dim] // size, *shape[dim + 1 :]))
    return y.movedim(dim, 0) if dim else y


def _conv_vjp(
    ct: Tensor,
    _out: Tensor,
    x: Tensor,
    w: Tensor,
    *,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None]:
    p = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    gx = _input_grad(ct, _conj(w), input_size=x._shape[2:], **p) if needs[0] else None
    gw = _weight_grad(ct, _conj(x), kernel_size=w._shape[2:], **p) if needs[1] else None
    return gx, gw


def _conj(x: Tensor) -> Tensor:
    return x.conj() if x.dtype.is_complex else x


def _with_any_lanes(batch: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The batching rule, also for no lanes: these rules put lanes into channels and groups."""

    def rule(size: int, batched: Sequence[bool], *args: Tensor, **params: Any) -> Tensor:
        if size:
            return batch(size, batched, *args, **params)
        lane = [
            zeros((1, *a._shape[1:]), dtype=a.dtype, device=a.device) if b else a
            for a, b in zip(args, batched, strict=True)
        ]
        return batch(1, batched, *lane, **params)[:0]

    return rule


def _conv_batch(
    size: int, batched: Sequence[bool], x: Tensor, w: Tensor, *, groups: int, **p: Any
) -> Tensor:
    bx, bw = batched
    if not bw:
        return _unfold(_conv(_fold(x, 0), w, groups=groups, **p), 0, size)
    if not bx and groups == 1:
        return _unfold(_conv(x, _fold(w, 0), groups=1, **p), 1, size)
    x, w = fronted(size, batched, (x, w))
    return _unfold(_conv(_fold(x, 1), _fold(w, 0), groups=groups * size, **p), 1, size)


_conv = Op(
    "convolution",
    lambda x, w, *, stride, padding, dilation, groups: lib.cb_conv(
        x._v, w._v, len(stride), stride, padding, dilation, groups
    ),
    vjp=_conv_vjp,
    jvp=lambda tangents, _out, x, w, **p: _sum_of(
        None if tangents[0] is None else _conv(tangents[0], w, **p),
        None if tangents[1] is None else _conv(x, tangents[1], **p),
    ),
    batch=_with_any_lanes(_conv_batch),
    product=True,
    family=_FAMILY,
)
# the last row of 6 is not used
_GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
_PLAIN: dict[str, Any] = {"stride": (1,), "padding": (0,), "dilation": (1,), "groups": 1}
_CUBE: dict[str, Any] = {
    "stride": (1, 2, 1),
    "padding": (0, 1, 0),
    "dilation": (1, 1, 1),
    "groups": 1,
}
sampled(
    _conv,
    lambda make: [
        call(make(2, 4, 6, 5), make(2, 2, 3, 2), **_GEOMETRY),
        call(make(1, 2, 5), make(3, 2, 2), **_PLAIN),
        call(make(1, 2, 3, 3, 3), make(2, 2, 2, 2, 2), **_CUBE),
        call(make(0, 2, 5), make(3, 2, 2), **_PLAIN),
        call(
            make(2, 3, 4, 4),
            make(3, 1, 3, 3),
            stride=(1, 1),
            padding=(1, 1),
            dilation=(1, 1),
            groups=3,
        ),
        call(
            make(2, 3, 4, 4),
            make(2, 3, 1, 1),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
        ),
    ],
    kinds="float complex",
)


def _input_grad_batch(
    size: int, batched: Sequence[bool], ct: Tensor, w: Tensor, *, groups: int, **p: Any
) -> Tensor:
    if not batched[1]:
        return _unfold(_input_grad(_fold(ct, 0), w, groups=groups, **p), 0, size)
    ct, w = fronted(size, batched, (ct, w))
    return _unfold(_input_grad(_fold(ct, 1), _fold(w, 0), groups=groups * size, **p), 1, size)


_input_grad = Op(
    "convolution_input_grad",
    lambda ct, w, *, input_size, stride, padding, dilation, groups: lib.cb_conv_input_grad(
        ct._v, w._v, len(stride), input_size, stride, padding, dilation, groups
    ),
    vjp=lambda g, _out, ct, w, *, input_size, needs, **p: (
        _conv(g, _conj(w), **p) if needs[0] else None,
        _weight_grad(_conj(ct), g, kernel_size=w._shape[2:], **p) if needs[1] else None,
    ),
    jvp=lambda tangents, _out, ct, w, **p: _sum_of(
        None if tangents[0] is None else _input_grad(tangents[0], w, **p),
        None if tangents[1] is None else _input_grad(ct, tangents[1], **p),
    ),
    batch=_with_any_lanes(_input_grad_batch),
    product=True,
    family=_FAMILY,
)
sampled(
    _input_grad,
    lambda make: [
        call(make(2, 2, 3, 3), make(2, 2, 3, 2), input_size=(6, 5), **_GEOMETRY),
        call(make(1, 3, 4), make(3, 2, 2), input_size=(5,), **_PLAIN),
        call(make(1, 2, 2, 2, 2), make(2, 2, 2, 2, 2), input_size=(3, 3, 3), **_CUBE),
        call(make(0, 3, 4), make(3, 2, 2), input_size=(5,), **_PLAIN),
    ],
    kinds="float complex",
)


def _weight_grad_batch(
    size: int, batched: Sequence[bool], ct: Tensor, x: Tensor, *, groups: int, **p: Any
) -> Tensor:
    bc, bx = batched
    if bc and not bx and groups == 1:
        return _unfold(_weight_grad(_fold(ct, 1), x, groups=1, **p), 0, size)
    ct, x = fronted(size, batched, (ct, x))
    return _unfold(_weight_grad(_fold(ct, 1), _fold(x, 1), groups=groups * size, **p), 0, size)


_weight_grad = Op(
    "convolution_weight_grad",
    lambda ct, x, *, kernel_size, stride, padding, dilation, groups: lib.cb_conv_weight_grad(
        ct._v, x._v, len(stride), kernel_size, stride, padding, dilation, groups
    ),
    vjp=lambda g, _out, ct, x, *, kernel_size, needs, **p: (
        _conv(_conj(x), g, **p)[(slice(None), slice(None), *[slice(0, n) for n in ct._shape[2:]])]
        if needs[0]
        else None,
        _input_grad(_conj(ct), g, input_size=x._shape[2:], **p) if needs[1] else None,
    ),
    jvp=lambda tangents, _out, ct, x, **p: _sum_of(
        None if tangents[0] is None else _weight_grad(tangents[0], x, **p),
        None if tangents[1] is None else _weight_grad(ct, tangents[1], **p),
    ),
    batch=_with_any_lanes(_weight_grad_batch),
    product=True,
    family=_FAMILY,
)
sampled(
    _weight_grad,
    lambda make: [
        call(make(2, 2, 3, 3), make(2, 4, 6, 5), kernel_size=(3, 2), **_GEOMETRY),
        call(make(1, 3, 4), make(1, 2, 5), kernel_size=(2,), **_PLAIN),
        call(make(1, 2, 2, 2, 2), make(1, 2, 3, 3, 3), kernel_size=(2, 2, 2), **_CUBE),
        call(make(0, 3, 4), make(0, 2, 5), kernel_size=(2,), **_PLAIN),
    ],
    kinds="float complex",
)


def spread(op: str, value: Any, nd: int) -> Ints:
    """An int or a sequence as one number a spatial dimension."""
    if isinstance(value, int):
        return (value,) * nd
    value = tuple(value)
    if len(value) == 1:
        return value * nd
    if len(value) != nd:
        raise ValueError(message(op, f"an int or {nd} of them", value))
    return value


def _convolve(
    op: str,
    nd: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    if weight.ndim != nd + 2 or x.ndim not in (nd + 1, nd + 2):
        raise ShapeError(
            message(
                op,
                f"input [N, C, *{nd} sizes] (N may be missing) "
                f"and weight [O, C/groups, *{nd} sizes]",
                f"shapes {list(x._shape)} and {list(weight._shape)}",
            )
        )
    if entered:
        x, weight, bias = lowered(x, weight, bias)
    single = x.ndim == nd + 1
    if single:
        x = x.unsqueeze(0)
    stride, dilation = spread(op, stride, nd), spread(op, dilation, nd)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(message(op, "stride 1 with padding='same'", f"stride {stride}"))
        total = [d * (k - 1) for d, k in zip(dilation, weight._shape[2:], strict=True)]
        if any(t % 2 for t in total):
            x = pad(x, [n for t in reversed(total) for n in (0, t % 2)])
        padding = [t // 2 for t in total]
    y = _conv(
        x, weight, stride=stride, padding=spread(op, padding, nd), dilation=dilation, groups=groups
    )
    if bias is not None:
        y = y + bias.reshape((-1, *[1] * nd))
    return y.squeeze(0) if single else y


def _conv_of(nd: int, doc: str) -> Callable[..., Tensor]:
    name = f"conv{nd}d"

    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        return _convolve(name, nd, input, weight, bias, stride, padding, dilation, groups)

    conv.__name__ = conv.__qualname__ = name
    conv.__doc__ = doc
    return conv


conv1d = _conv_of(1, "Cross-correlation over the last dimension. Arguments as conv2d.")
conv2d = _conv_of(
    2,
    """Cross-correlation over the last two dimensions.

    Args:
      input [N, C, H, W] or [C, H, W]. weight [O, C / groups, h, w]. bias [O].
      stride, dilation: an int or two, in elements. padding: likewise, or "same" or "valid".
    Returns:
      [N, O, H', W'], H' = (H + 2 padding - dilation (h - 1) - 1) // stride + 1
    Raises:
      ShapeError: channels, groups or sizes do not fit.
    Example:
      >>> conv2d(ones(1, 1, 3, 3), ones(1, 1, 2, 2)).shape
      Size([1, 1, 2, 2])
    """,
)
conv3d = _conv_of(3, "Cross-correlation over the last three dimensions. Arguments as conv2d.")


def _transposed(
    op: str,
    nd: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    if entered:
        x, weight, bias = lowered(x, weight, bias)
    single = x.ndim == nd + 1
    if single:
        x = x.unsqueeze(0)
    if x.ndim != nd + 2 or weight.ndim != nd + 2 or x._shape[1] != weight._shape[0]:
        raise ShapeError(
            message(
                op,
                f"input [N, C, *{nd} sizes] and weight [C, O/groups, *{nd} sizes]",
                f"shapes {list(x._shape)} and {list(weight._shape)}",
            )
        )
    s, p, e, d = (spread(op, v, nd) for v in (stride, padding, output_padding, dilation))
    if any(not 0 <= e[i] < max(s[i], d[i]) for i in range(nd)):
        rule = "output_padding smaller than stride or dilation"
        raise ValueError(message(op, rule, f"{list(e)} with stride {list(s)}, dilation {list(d)}"))
    # of a dim with more of it, the whole result is made and cut: a convolution has no such input
    crop = [(p[i], e[i] - p[i]) if e[i] >= s[i] else (0, 0) for i in range(nd)]
    if any(e[i] >= s[i] for i in range(nd)):
        p = tuple(0 if e[i] >= s[i] else p[i] for i in range(nd))
        e = tuple(0 if e[i] >= s[i] else e[i] for i in range(nd))
    size = tuple(
        (n - 1) * s[i] - 2 * p[i] + d[i] * (weight._shape[2 + i] - 1) + e[i] + 1
        for i, n in enumerate(x._shape[2:])
    )
    y = _input_grad(x, weight, input_size=size, stride=s, padding=p, dilation=d, groups=groups)
    if any(crop):
        y = pad(y, [n for before, after in reversed(crop) for n in (-before, after)])
    if bias is not None:
        y = y + bias.reshape((-1, *[1] * nd))
    return y.squeeze(0) if single else y


def _conv_transpose_of(nd: int, doc: str) -> Callable[..., Tensor]:
    name = f"conv_transpose{nd}d"

    def conv_transpose(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        return _transposed(
            name, nd, input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    conv_transpose.__name__ = conv_transpose.__qualname__ = name
    conv_transpose.__doc__ = doc
    return conv_transpose


conv_transpose1d = _conv_transpose_of(
    1, "The transpose of conv1d as an operator. Arguments as conv_transpose2d."
)
conv_transpose2d = _conv_transpose_of(
    2,
    """The transpose of conv2d as an operator.

    Args:
      input [N, C, H, W] or [C, H, W]. weight [C, O / groups, h, w]. bias [O].
    Returns:
      [N, O, H', W'], H' = (H - 1) stride - 2 padding + dilation (h - 1) + output_padding + 1
    """,
)
conv_transpose3d = _conv_transpose_of(
    3, "The transpose of conv3d as an operator. Arguments as conv_transpose2d."
)
