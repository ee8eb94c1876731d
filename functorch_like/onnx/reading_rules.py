"""What each ONNX operation is in our functions: see reading.py."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from typing import Any

import numpy as np

import functorch_like as ft

from ..errors import message
from ..tensor import Tensor
from .reading import RULES, _tensor, dtype_of, ints, rule

RULES.update(
    {
        "Identity": lambda x: x,
        "Dropout": lambda x, *_, seed=0: x,
        "Abs": ft.abs, "Neg": ft.neg, "Exp": ft.exp, "Log": ft.log, "Sqrt": ft.sqrt,
        "Sin": ft.sin, "Cos": ft.cos,
        "Tan": ft.tan, "Asin": ft.asin, "Acos": ft.acos, "Atan": ft.atan, "Sinh": ft.sinh,
        "Cosh": ft.cosh,
        "Asinh": ft.asinh, "Acosh": ft.acosh, "Atanh": ft.atanh, "Tanh": ft.tanh,
        "Sigmoid": ft.sigmoid,
        "Erf": ft.erf, "Floor": ft.floor, "Ceil": ft.ceil, "Round": ft.round, "Sign": ft.sign,
        "Relu": ft.relu,
        "Reciprocal": ft.reciprocal, "IsNaN": ft.isnan, "Not": ft.logical_not,
        "BitwiseNot": ft.bitwise_not,
        "Add": ft.add, "Sub": ft.sub, "Mul": ft.mul, "MatMul": ft.matmul,
        "Pow": lambda x, y: ft.pow(x, y).to(x.dtype),
        "Equal": ft.eq, "Less": ft.lt, "LessOrEqual": ft.le, "Greater": ft.gt,
        "GreaterOrEqual": ft.ge,
        "And": ft.logical_and, "Or": ft.logical_or, "Xor": ft.logical_xor,
        "BitwiseAnd": ft.bitwise_and, "BitwiseOr": ft.bitwise_or, "BitwiseXor": ft.bitwise_xor,
        "Where": lambda c, x, y: ft.where(_tensor(c), _tensor(x), _tensor(y)),
        "Softplus": lambda x: ft.logaddexp(x, ft.zeros_like(x)),
        "Softsign": lambda x: x / (1 + x.abs()),
        "Mish": lambda x: x * ft.tanh(ft.logaddexp(x, ft.zeros_like(x))),
        "HardSwish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
        "PRelu": lambda x, slope: ft.where(x < 0, x * slope, x),
        "LogSoftmax": lambda x, axis=-1: ft.log_softmax(x, axis),
        "Shape": lambda x, start=0, end=None: np.array(x.shape[start:end], np.int64),
        "Size": lambda x: np.array(math.prod(x.shape), np.int64),
        "Constant": lambda **value: _constant(**value),
        "Transpose": lambda x, perm=None: x.permute(perm or list(range(x.ndim))[::-1]),
        "Concat": lambda *xs, axis: ft.cat([_tensor(x) for x in xs], axis),
        "Gather": lambda x, i, axis=0: _tensor(x).index_select(axis, _wrapped(i,
        _tensor(x).shape[axis]))
        if np.ndim(i) == 1 else _gathered(_tensor(x), i, axis),
        "GatherElements": lambda x, i, axis=0: ft.gather(_cropped(x, i, axis), axis,
        ft.where(i < 0, i + x.shape[axis], i)),
        "CumSum": lambda x, axis, exclusive=0, reverse=0: _cumsum(x, ints(axis), exclusive,
        reverse),
        "Tile": lambda x, reps: x.repeat(ints(reps)),
        "Trilu": lambda x, k=None, upper=1: (ft.triu if upper else ft.tril)(x, (ints(k) or [0])[0]),
        "Flatten": lambda x,
        axis=1: x.reshape(math.prod(x.shape[: axis % (x.ndim + 1) if axis < 0 else axis]), -1),
        "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
        "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.ndim)), keepdim=True),
        "ConstantOfShape": lambda s, value=None: _filled(ints(s) or [], value),
        "Range": lambda a, b, step: ft.arange(*[_tensor(v).item() for v in (a, b, step)]),
    }
)  # fmt: skip


def _constant(**value: Any) -> Any:
    (kind, x), *_ = value.items()
    if kind == "value":
        return x
    if kind in ("value_float", "value_floats"):
        return ft.tensor(x)
    if kind in ("value_int", "value_ints"):
        return np.array(x, np.int64)
    raise ValueError(message("onnx.load", "a constant of numbers", kind))


def _filled(shape: list[int], value: Any) -> Tensor:
    if value is None:
        return ft.zeros(shape)
    return _tensor(value).reshape(()).expand(shape)


def _wrapped(index: Any, size: int) -> Any:
    if isinstance(index, np.ndarray):
        return ft.tensor(np.where(index < 0, index + size, index))
    return ft.where(index < 0, index + size, index)


def _gathered(x: Tensor, index: Any, axis: int) -> Tensor:
    axis %= x.ndim
    wrapped = _wrapped(index, x.shape[axis])
    flat = x.index_select(axis, wrapped.reshape(-1))
    return flat.reshape(*x.shape[:axis], *wrapped.shape, *x.shape[axis + 1 :])


def _cropped(x: Tensor, index: Tensor, axis: int) -> Tensor:
    for d in range(x.ndim):
        if d != axis % x.ndim:
            x = x.narrow(d, 0, index.shape[d])
    return x


def _cumsum(x: Tensor, axis: Any, exclusive: int, reverse: int) -> Tensor:
    (dim,) = axis
    y = x.flip([dim]) if reverse else x
    total = y.cumsum(dim)
    total = total - y if exclusive else total
    return total.flip([dim]) if reverse else total


@rule("Cast")
def _cast(x: Tensor, to: int, saturate: int = 1) -> Tensor:
    return x.to(dtype_of(to))


@rule("Div")
def _div(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.dtype.is_floating_point else ft.div(x, y, rounding_mode="trunc")


@rule("Mod")
def _mod(x: Tensor, y: Tensor, fmod: int = 0) -> Tensor:
    return ft.fmod(x, y) if fmod else ft.remainder(x, y)


RULES["Max"] = lambda *xs: _folded(ft.maximum, xs)
RULES["Min"] = lambda *xs: _folded(ft.minimum, xs)
RULES["Sum"] = lambda *xs: _folded(ft.add, xs)
RULES["Mean"] = lambda *xs: _folded(ft.add, xs) / len(xs)


def _folded(f: Any, xs: Any) -> Tensor:
    total = xs[0]
    for x in xs[1:]:
        total = f(total, x)
    return total


@rule("IsInf")
def _isinf(x: Tensor, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    return ft.isinf(x) & (
        (x > 0) if not detect_negative else (x < 0) if not detect_positive else (x == x)
    )


@rule("Clip")
def _clip(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    x = x if low is None else ft.maximum(x, low)
    return x if high is None else ft.minimum(x, high)


@rule("LeakyRelu")
def _leaky(x: Tensor, alpha: float = 0.01) -> Tensor:
    return ft.where(x > 0, x, x * alpha)


@rule("Elu")
def _elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return ft.where(x > 0, x, alpha * ft.expm1(ft.minimum(x, ft.zeros_like(x))))


@rule("Selu")
def _selu(x: Tensor, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Tensor:
    return gamma * _elu(x, alpha)


@rule("HardSigmoid")
def _hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


@rule("Gelu")
def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + ft.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + ft.erf(x * math.sqrt(0.5)))


@rule("Softmax")
def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return ft.softmax(x, axis)


# ---- products, convolutions, pools, norms ----


@rule("Gemm")
def _gemm(
    a: Tensor,
    b: Tensor,
    c: Any = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    y = ft.matmul(a.T if transA else a, b.T if transB else b)
    y = y if alpha == 1 else y * alpha
    return y if c is None else y + (c if beta == 1 else c * beta)


@rule("Einsum")
def _einsum(*xs: Tensor, equation: str) -> Tensor:
    return ft.einsum(equation, *xs)


def _padded(
    x: Tensor,
    n: int,
    pads: Any,
    auto_pad: str,
    kernel: Any,
    strides: Any,
    dilations: Any,
    value: float,
) -> tuple[Tensor, tuple[int, ...]]:
    """The operand, and padding that is the same on both sides of each dimension."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for i in range(n):
            size = x.shape[2 + i]
            need = max(
                (-(-size // strides[i]) - 1) * strides[i]
                + dilations[i] * (kernel[i] - 1)
                + 1
                - size,
                0,
            )
            small, large = need // 2, need - need // 2
            before.append(small if auto_pad == "SAME_UPPER" else large)
            after.append(large if auto_pad == "SAME_UPPER" else small)
    else:
        pads = pads if pads and auto_pad != "VALID" else [0] * 2 * n
        before, after = pads[:n], pads[n:]
    if list(before) == list(after):
        return x, tuple(before)
    spec = [p for i in reversed(range(n)) for p in (before[i], after[i])]
    return ft.pad(x, spec, value=value), (0,) * n


@rule("Conv")
def _conv(x: Tensor, w: Tensor, b: Any = None, *, strides: Any = None, pads: Any = None,
dilations: Any = None,
          group: int = 1, kernel_shape: Any = None,
          auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    n = x.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    x, padding = _padded(x, n, pads, auto_pad, w.shape[2:], strides, dilations, 0.0)
    return (ft.conv1d, ft.conv2d, ft.conv3d)[n - 1](
        x, w, b, tuple(strides), padding, tuple(dilations), group
    )


@rule("ConvTranspose")
def _conv_transpose(x: Tensor, w: Tensor, b: Any = None, *, strides: Any = None, pads: Any = None,
dilations: Any = None,
                    group: int = 1, kernel_shape: Any = None, output_padding: Any = None,
                    auto_pad: str = "NOTSET") -> Tensor:  # fmt: skip
    n = x.ndim - 2
    pads = pads or [0] * 2 * n
    if pads[:n] != pads[n:] or auto_pad != "NOTSET":
        raise ValueError(
            message(
                "onnx.load",
                "ConvTranspose with the same padding on both sides",
                f"{pads} {auto_pad}",
            )
        )
    f = (ft.conv_transpose1d, ft.conv_transpose2d, ft.conv_transpose3d)[n - 1]
    return f(
        x,
        w,
        b,
        tuple(strides or [1] * n),
        tuple(pads[:n]),
        tuple(output_padding or [0] * n),
        group,
        tuple(dilations or [1] * n),
    )


@rule("MaxPool")
def _max_pool(x: Tensor, *, kernel_shape: Any, strides: Any = None, pads: Any = None,
dilations: Any = None,
              ceil_mode: int = 0, auto_pad: str = "NOTSET",
              storage_order: int = 0) -> Tensor:  # fmt: skip
    n = len(kernel_shape)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    x, padding = _padded(x, n, pads, auto_pad, kernel_shape, strides, dilations, -math.inf)
    f = (ft.max_pool1d, ft.max_pool2d, ft.max_pool3d)[n - 1]
    return f(
        x, tuple(kernel_shape), tuple(strides), padding, tuple(dilations), ceil_mode=bool(ceil_mode)
    )


@rule("AveragePool")
def _average_pool(x: Tensor, *, kernel_shape: Any, strides: Any = None, pads: Any = None,
dilations: Any = None,
                  ceil_mode: int = 0, auto_pad: str = "NOTSET",
                  count_include_pad: int = 0) -> Tensor:  # fmt: skip
    n = len(kernel_shape)
    strides = strides or [1] * n
    if dilations and set(dilations) != {1}:
        raise ValueError(message("onnx.load", "AveragePool without dilation", dilations))
    unpadded = x
    x, padding = _padded(x, n, pads, auto_pad, kernel_shape, strides, [1] * n, 0.0)
    if x is not unpadded and not count_include_pad:
        raise ValueError(
            message(
                "onnx.load", "AveragePool with the same padding on both sides", pads or auto_pad
            )
        )
    f = (ft.avg_pool1d, ft.avg_pool2d, ft.avg_pool3d)[n - 1]
    return f(
        x, tuple(kernel_shape), tuple(strides), padding, bool(ceil_mode), bool(count_include_pad)
    )


@rule("BatchNormalization")
def _batch_norm(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    mean: Tensor,
    var: Tensor,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    if training_mode:
        raise ValueError(
            message("onnx.load", "a model for inference", "BatchNormalization in training")
        )
    return ft.batch_norm(x, mean, var, scale, b, eps=epsilon)


@rule("LayerNormalization")
def _layer_norm(
    x: Tensor,
    scale: Tensor,
    b: Any = None,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    dims = x.shape[axis % x.ndim :]
    return ft.layer_norm(
        x, tuple(dims), scale.expand(dims), None if b is None else b.expand(dims), epsilon
    )


@rule("InstanceNormalization")
def _instance_norm(x: Tensor, scale: Tensor, b: Tensor, epsilon: float = 1e-5) -> Tensor:
    return ft.group_norm(x, x.shape[1], scale, b, epsilon)


# ---- reductions ----


def _reduce(f: Any) -> Any:
    def reduced(
        x: Tensor,
        given: Any = None,
        *,
        axes: Any = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        dims = ints(given) if given is not None else axes
        if not dims:
            if noop_with_empty_axes:
                return _tensor(x)
            dims = list(range(_tensor(x).ndim))
        return f(_tensor(x), tuple(dims), bool(keepdims))

    return reduced


def _product(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
    for d in sorted((d % x.ndim for d in dims), reverse=True):
        x = x.prod(d, keepdim=keep)
    return x


RULES.update(
    ReduceSum=_reduce(lambda x, dims, keep: x.sum(dims, keep).to(x.dtype)),
    ReduceProd=_reduce(_product),
    ReduceMean=_reduce(lambda x, dims, keep: x.mean(dims, keep)),
    ReduceMax=_reduce(lambda x, dims, keep: x.amax(dims, keep)),
    ReduceMin=_reduce(lambda x, dims, keep: x.amin(dims, keep)),
    ReduceL1=_reduce(lambda x, dims, keep: x.abs().sum(dims, keep)),
    ReduceL2=_reduce(lambda x, dims, keep: (x * x).sum(dims, keep).sqrt()),
    ReduceSumSquare=_reduce(lambda x, dims, keep: (x * x).sum(dims, keep)),
    ReduceLogSumExp=_reduce(lambda x, dims, keep: x.logsumexp(dims, keep)),
)


RULES["ArgMax"] = lambda x, axis=0, keepdims=1, select_last_index=0: x.argmax(
    axis, keepdim=bool(keepdims)
)
RULES["ArgMin"] = lambda x, axis=0, keepdims=1, select_last_index=0: x.argmin(
    axis, keepdim=bool(keepdims)
)


@rule("TopK")
def _topk(x: Tensor, k: Any, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return tuple(ft.topk(x, ints(k)[0], axis, bool(largest)))  # type: ignore[index]


# ---- shapes ----


@rule("Reshape")
def _reshape(x: Any, shape: Any, allowzero: int = 0) -> Tensor:
    x, sizes = _tensor(x), ints(shape) or []
    return x.reshape([x.shape[i] if s == 0 and not allowzero else s for i, s in enumerate(sizes)])


@rule("Unsqueeze")
def _unsqueeze(x: Any, axes: Any) -> Tensor:
    x, dims = _tensor(x), ints(axes) or []
    rank = x.ndim + len(dims)
    for d in sorted(d % rank for d in dims):
        x = x.unsqueeze(d)
    return x


@rule("Squeeze")
def _squeeze(x: Any, axes: Any = None) -> Tensor:
    x = _tensor(x)
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes) or ()))


@rule("Expand")
def _expand(x: Any, shape: Any) -> Tensor:
    x = _tensor(x)
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(ints(shape) or ())))


@rule("Slice")
def _slice(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    x = _tensor(x)
    first, last = ints(starts) or [], ints(ends) or []
    dims, pace = ints(axes) or list(range(len(first))), ints(steps) or [1] * len(first)
    for a, b, d, step in zip(first, last, dims, pace, strict=True):
        a, b, step = slice(a, b, step).indices(x.shape[d])
        if step > 0:
            x = x[(slice(None),) * (d % x.ndim) + (slice(a, max(b, a), step),)]
        else:
            x = x.index_select(d, ft.tensor(list(range(a, b, step)), dtype=ft.int64))
    return x


@rule("Split")
def _split(
    x: Tensor, split: Any = None, axis: int = 0, num_outputs: int | None = None, n_outputs: int = 1
) -> Any:
    sizes = ints(split)
    if sizes is None:
        each = -(-x.shape[axis] // n_outputs)
        sizes = [min(each, x.shape[axis] - i * each) for i in range(n_outputs)]
    return tuple(ft.split(x, sizes, axis))


@rule("Pad")
def _pad(
    x: Tensor, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant"
) -> Tensor:
    given, dims = ints(pads) or [], ints(axes) if axes is not None else list(range(x.ndim))
    spec = [0] * 2 * x.ndim
    for i, d in enumerate(dims or []):
        at = 2 * (x.ndim - 1 - d % x.ndim)
        spec[at], spec[at + 1] = given[i], given[len(given) // 2 + i]
    if mode == "constant":
        return ft.pad(x, spec, value=0.0 if value is None else _tensor(value).item())
    while len(spec) > 2 and spec[-2:] == [0, 0]:
        spec = spec[:-2]
    return ft.pad(x, spec, {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode])


@rule("ScatterElements")
def _scatter(
    x: Tensor, index: Tensor, src: Tensor, axis: int = 0, reduction: str = "none"
) -> Tensor:
    index = ft.where(index < 0, index + x.shape[axis], index)
    if reduction == "none":
        return x.scatter(axis, index, src)
    return x.scatter_reduce(
        axis, index, src, {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[reduction]
    )


@rule("OneHot")
def _one_hot(indices: Any, depth: Any, values: Any, axis: int = -1) -> Tensor:
    (n,), i, off_on = ints(depth), _tensor(indices), _tensor(values)  # type: ignore[misc]
    hot = ft.where(i < 0, i + n, i).unsqueeze(-1) == ft.arange(n)
    return ft.where(hot, off_on[1], off_on[0]).movedim(-1, axis)
