"""Batch, group and instance norm: over channels, or groups of channels, with fused kernels.

In the entries x is [n, c, ...], weight and bias are [c]; statistics are [c], over all n, where
groups is 0, and [n, groups] otherwise. As with layer norm, they are results and operands of the
gradient, which so can be differentiated again. 16-bit floats compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from cbackend import lib

from ..dtypes import float32
from ..errors import ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import untaped
from .creation import ones, zeros
from .norm import _FAMILY, _floating, _handles, _wide, layer_norm

__all__ = ["batch_norm", "group_norm", "instance_norm"]


def _grouped(x: Tensor, groups: int) -> Tensor:
    """x as [n, groups, channels of a group, items]."""
    n, c = x._shape[:2]
    g = groups or c
    return _wide(x).reshape((n, g, c // max(g, 1), prod(x._shape[2:])))


def _over(groups: int) -> tuple[int, ...]:
    return (2, 3) if groups else (0, 2, 3)


def _spread(p: Tensor, x: Tensor, groups: int) -> Tensor:
    """Statistics, to broadcast against _grouped(x)."""
    return p.reshape((x._shape[0] if groups else 1, groups or x._shape[1], 1, 1))


def _by_channel(p: Tensor, x: Tensor, groups: int) -> Tensor:
    """A parameter, to broadcast against _grouped(x)."""
    g = groups or x._shape[1]
    return p.reshape((1, g, x._shape[1] // max(g, 1), 1))


def _channel_meaning(
    x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float
) -> tuple[Tensor, ...]:
    wide, dims = _grouped(x, groups), _over(groups)
    mean = wide.mean(dims, keepdim=True)
    centred = wide - mean
    var = (centred * centred).mean(dims, keepdim=True)
    y = centred * ((var + eps).rsqrt() * _by_channel(weight, x, groups))
    y = (y + _by_channel(bias, x, groups)).reshape(x._shape).to(x.dtype)
    shape = (x._shape[0], groups) if groups else (x._shape[1],)
    return y, mean.reshape(shape), var.reshape(shape)


def _channel_grad_meaning(
    ct: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    *,
    groups: int,
    eps: float,
    fixed: bool,
) -> tuple[Tensor, ...]:
    dims, wide = _over(groups), _grouped(ct, groups)
    rstd = (_spread(var, x, groups) + eps).rsqrt()
    scaled = (_grouped(x, groups) - _spread(mean, x, groups)) * rstd
    dx = g = wide * _by_channel(weight, x, groups)
    if not fixed:
        inner = (g * scaled).mean(dims, keepdim=True)
        dx = g - g.mean(dims, keepdim=True) - scaled * inner
    return (
        (dx * rstd).reshape(x._shape).to(x.dtype),
        (wide * scaled).sum((0, 3)).reshape(weight._shape).to(weight.dtype),
        wide.sum((0, 3)).reshape(weight._shape).to(weight.dtype),
    )


def _channel_vjp(
    ct: Any, out: Any, x: Tensor, weight: Tensor, bias_spec: Any, *, groups: int, eps: float
) -> tuple[Any, ...]:
    extra = None
    if ct[1] is not None or ct[2] is not None:
        centred = _grouped(x, groups) - _spread(out[1], x, groups)
        size = x.numel() // max(out[1].numel(), 1)
        for slope, factor in zip(ct[1:], (1.0, 2 * centred), strict=True):
            if slope is not None:
                more = _spread(slope / size, x, groups) * factor
                extra = more if extra is None else extra + more
        extra = extra.expand(centred._shape).reshape(x._shape).to(x.dtype)  # type: ignore[union-attr]
    if ct[0] is None:
        return extra, None, None
    dx, dweight, dbias = _channel_norm_grad(
        ct[0], x, *out[1:], weight, groups=groups, eps=eps, fixed=False
    )
    return dx if extra is None else dx + extra, dweight, dbias.to(bias_spec.dtype)


def _channel_jvp(
    tangents: Any, out: Any, x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float
) -> tuple[Any, ...]:
    dx, dweight, dbias = tangents
    _, mean, var = out
    rstd = (_spread(var, x, groups) + eps).rsqrt()
    scaled = (_grouped(x, groups) - _spread(mean, x, groups)) * rstd
    dy = dmean = dvar = None
    if dx is not None:
        dims, wide = _over(groups), _grouped(dx, groups)
        dmean = wide.mean(dims, keepdim=True)
        slope = (wide * scaled).mean(dims, keepdim=True)
        dy = (wide - dmean - scaled * slope) * (rstd * _by_channel(weight, x, groups))
        dmean, dvar = dmean.reshape(mean._shape), (2 * slope / rstd).reshape(var._shape)
    if dweight is not None:
        more = scaled * _by_channel(dweight, x, groups)
        dy = more if dy is None else dy + more
    if dbias is not None:
        more = _by_channel(dbias, x, groups)
        dy = more.expand(scaled._shape) if dy is None else dy + more
    return dy.reshape(x._shape).to(x.dtype), dmean, dvar  # type: ignore[union-attr]


def _into_channels(size: int, batched: bool, x: Tensor) -> Tensor:
    """Lanes as more channels or groups: [n, size * c, ...], or [size * c] of [c]."""
    if not batched:
        x = x.expand((size, *x._shape))
    if x.ndim == 2:
        return x.reshape((x.numel(),))
    n, c = x._shape[1:3]
    return x.movedim(0, 1).reshape((n, size * c, *x._shape[3:]))


def _out_of_channels(size: int, x: Tensor) -> Tensor:
    if x.ndim == 1:
        return x.reshape((size, x._shape[0] // size))
    n, c = x._shape[:2]
    return x.reshape((n, size, c // size, *x._shape[2:])).movedim(1, 0)


def _by_lanes_of_n(op: Op, size: int, x: Tensor, args: Sequence[Tensor], **params: Any) -> Any:
    """Where parameters are the same for all lanes, these may go along n."""
    outs = op(x.flatten(0, 1), *args, **params)
    outs = tuple(
        y.reshape((size, y._shape[0] // size, *y._shape[1:]))
        for y in (outs if op.nouts > 1 else (outs,))
    )
    return outs if op.nouts > 1 else outs[0]


def _by_lanes_of_channels(
    op: Op, size: int, batched: Sequence[bool], args: Sequence[Tensor], **params: Any
) -> Any:
    outs = op(*(_into_channels(size, b, x) for b, x in zip(batched, args, strict=True)), **params)
    if op.nouts == 1:
        return _out_of_channels(size, outs)
    return tuple(_out_of_channels(size, y) for y in outs)


def _channel_batch(
    size: int, batched: Sequence[bool], x: Tensor, *args: Tensor, groups: int, eps: float
) -> Any:
    if groups and not any(batched[1:]):
        return _by_lanes_of_n(_channel_norm, size, x, args, groups=groups, eps=eps)
    return _by_lanes_of_channels(
        _channel_norm, size, batched, (x, *args), groups=groups * size, eps=eps
    )


def _channel_grad_batch(
    size: int, batched: Sequence[bool], *args: Tensor, groups: int, **params: Any
) -> Any:
    return _by_lanes_of_channels(
        _channel_norm_grad, size, batched, args, groups=groups * size, **params
    )


_channel_norm = Op(
    "channel_norm",
    lambda x, weight, bias, *, groups, eps: _handles(
        3, lambda out: lib.cb_channel_norm(x._v, groups, weight._v, bias._v, eps, out)
    ),
    vjp=_channel_vjp,
    jvp=_channel_jvp,
    batch=_channel_batch,
    decompose=_channel_meaning,
    nouts=3,
    family=_FAMILY,
)
_channel_norm_grad = Op(
    "channel_norm_grad",
    lambda ct, x, mean, var, weight, *, groups, eps, fixed: _handles(
        3,
        lambda out: lib.cb_channel_norm_grad(
            ct._v, x._v, mean._v, var._v, weight._v, groups, eps, fixed, out
        ),
    ),
    batch=_channel_grad_batch,
    decompose=_channel_grad_meaning,
    nouts=3,
    family=_FAMILY,
)


def _scale_meaning(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, *, eps: float
) -> Tensor:
    mean, slope, bias = (
        p.reshape((-1, *[1] * (x.ndim - 2))) for p in (mean, (var + eps).rsqrt() * weight, bias)
    )
    return ((_wide(x) - mean) * slope + bias).to(x.dtype)


def _scale_vjp(
    ct: Tensor,
    _out: Any,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias_spec: Any,
    *,
    eps: float,
    needs: Sequence[bool],
) -> tuple[Any, ...]:
    if not any(needs[1:]):
        none = zeros(weight._shape, dtype=weight.dtype, device=x.device)
        return _channel_scale(ct, none, var, weight, none, eps=eps), None, None, None, None
    dx, dweight, dbias = _channel_norm_grad(ct, x, mean, var, weight, groups=0, eps=eps, fixed=True)
    dmean = dvar = None
    if needs[1] or needs[2]:
        rstd = (var + eps).rsqrt()
        dmean = (-dbias * weight * rstd).to(mean.dtype)
        dvar = (-0.5 * dweight * weight * rstd * rstd).to(var.dtype)
    return dx, dmean, dvar, dweight, dbias.to(bias_spec.dtype)


def _scale_batch(
    size: int, batched: Sequence[bool], x: Tensor, *args: Tensor, eps: float
) -> Tensor:
    if not any(batched[1:]):
        return _by_lanes_of_n(_channel_scale, size, x, args, eps=eps)
    return _by_lanes_of_channels(_channel_scale, size, batched, (x, *args), eps=eps)


_channel_scale = Op(
    "channel_scale",
    lambda x, mean, var, weight, bias, *, eps: lib.cb_channel_scale(
        x._v, mean._v, var._v, weight._v, bias._v, eps
    ),
    vjp=_scale_vjp,
    batch=_scale_batch,
    decompose=_scale_meaning,
    family=_FAMILY,
)

# shapes of x, groups; rows of 64 items and more take other ways through the kernel
_IMAGES: list[tuple[tuple[int, ...], int]] = [
    ((3, 4), 0),
    ((2, 4, 3), 2),
    ((2, 2, 3, 3), 0),
    ((1, 2, 8, 8), 0),
    ((2, 3, 2), 3),
    ((0, 4, 2), 2),
]


def _statistics_of(make: Any, shape: tuple[int, ...], groups: int) -> tuple[Tensor, Tensor]:
    part = (shape[0], groups) if groups else shape[1:2]
    return make(*part), make(*part, low=0.5, high=1.5)


sampled(
    _channel_norm,
    lambda make: [
        call(make(*shape), make(shape[1]), make(shape[1]), groups=groups, eps=1e-3)
        for shape, groups in _IMAGES
    ],
)
sampled(
    _channel_norm_grad,
    lambda make: [
        call(
            make(*shape),
            make(*shape),
            *_statistics_of(make, shape, groups),
            make(shape[1]),
            groups=groups,
            eps=1e-3,
            fixed=fixed,
        )
        for shape, groups in _IMAGES
        for fixed in ([False] if groups else [False, True])
    ],
)
sampled(
    _channel_scale,
    lambda make: [
        call(
            make(*shape),
            *_statistics_of(make, shape, 0),
            make(shape[1]),
            make(shape[1]),
            eps=1e-3,
        )
        for shape, groups in _IMAGES
        if not groups
    ],
)


# ---- public functions ----


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The parameters of channels, or what does nothing."""
    plain, dtype = x._shape[1:2], float32 if x.dtype.itemsize == 2 else x.dtype
    if weight is None:
        weight = ones(plain, dtype=dtype, device=x.device)
    if bias is None:
        bias = zeros(plain, dtype=dtype, device=x.device)
    return weight, bias


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """input with mean 0 and variance 1 per channel, times weight plus bias.

    Args:
      input [n, c, ...] floating.
      running_mean, running_var [c]: used unless training; when training, moved in place towards the
        batch's mean and unbiased variance by the share momentum.
      weight, bias [c].
      training: take the statistics from the batch.
      eps: added to the variance.
    Raises:
      ShapeError: training with one value per channel. ValueError: no running statistics and not
        training.
    Reference: Ioffe & Szegedy 2015.
    """
    _floating("batch_norm", input)
    if input.ndim < 2:
        raise ShapeError(message("batch_norm", "input [n, c, ...]", list(input._shape)))
    weight, bias, eps = *_affine(input, weight, bias), float(eps)
    if training and not input.numel():  # no statistics: nothing to normalise, nothing to remember
        running_mean, running_var, training = bias.detach(), weight.detach(), False
    if not training:
        if running_mean is None or running_var is None:
            wanted = "running_mean and running_var unless training"
            raise ValueError(message("batch_norm", wanted, "None"))
        return _channel_scale(input, running_mean, running_var, weight, bias, eps=eps)
    count = input.numel() // max(input._shape[1], 1)
    if not count:  # no statistics
        none = zeros(weight._shape, dtype=weight.dtype, device=input.device)
        return _channel_scale(input, none, none, weight, bias, eps=eps)
    if count == 1:
        wanted = "more than one value per channel when training"
        got = f"input {list(input._shape)}"
        hint = "Take a larger batch, or call eval()."
        raise ShapeError(message("batch_norm", wanted, got, hint))
    out, mean, var = _channel_norm(input, weight, bias, groups=0, eps=eps)
    if running_mean is not None and running_var is not None:
        with untaped():
            _move(running_mean, mean, momentum, 1.0)
            _move(running_var, var, momentum, count / (count - 1))
    return out


def _move(running: Tensor, new: Tensor, share: float, factor: float) -> None:
    running.mul_(1 - share).add_((new.detach() * (share * factor)).to(running.dtype))


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """input with mean 0 and variance 1 over each group of channels, times weight plus bias.

    Args:
      input [n, c, ...] floating. num_groups: divides c. weight, bias [c].
    Raises:
      ShapeError: num_groups does not divide the number of channels.
    Reference: Wu & He 2018.
    """
    _floating("group_norm", input)
    shape = input._shape
    if len(shape) < 2 or num_groups <= 0 or shape[1] % num_groups:
        wanted = f"input [n, c, ...] with c a multiple of {num_groups}"
        raise ShapeError(message("group_norm", wanted, list(shape)))
    if input.numel() and len(shape) == 2 and _own_dtype(input, weight, bias):
        return _row_norm(input, num_groups, weight, bias, float(eps))
    affine = _affine(input, weight, bias)
    return _channel_norm(input, *affine, groups=num_groups, eps=float(eps))[0]


def _own_dtype(x: Tensor, *params: Tensor | None) -> bool:
    return all(p is None or p.dtype is x.dtype for p in params)


def _row_norm(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """group_norm of [n, c]: the items of a group are a row, as those of a layer norm."""
    n, c = x._shape
    size = c // groups
    if groups == 1:
        return layer_norm(x, (c,), weight, bias, eps)
    out = layer_norm(x.reshape((n, groups, size)), (size,), None, None, eps).reshape((n, c))
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """input with mean 0 and variance 1 over each channel of each instance, times weight plus bias.

    Args:
      input [n, c, ...] floating.
      running_mean, running_var [c]: moved in place towards the average over instances; used in
        place of the input's statistics if use_input_stats is False.
    Reference: Ulyanov, Vedaldi & Lempitsky 2016.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    _floating("instance_norm", input)
    if input.ndim < 3 or input._shape[2:].count(1) == input.ndim - 2:
        wanted = "input [n, c, ...] with more than one value a channel"
        raise ShapeError(message("instance_norm", wanted, list(input._shape)))
    affine, n = _affine(input, weight, bias), prod(input._shape[2:])
    out, mean, var = _channel_norm(input, *affine, groups=input._shape[1], eps=float(eps))
    if input.numel() and running_mean is not None and running_var is not None:
        with untaped():
            _move(running_mean, mean.mean(0), momentum, 1.0)
            _move(running_var, var.mean(0), momentum, n / (n - 1))
    return out
