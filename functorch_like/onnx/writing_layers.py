"""Rules for products, convolutions, pools and norms: see writing.py."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import numpy as np

from ..dtypes import DTYPES
from ..staging.graph import Equation
from .common import missing
from .writing import RULES, Writer, _array, rule


@rule("matmul")
def _matmul(w: Writer, e: Equation) -> str:
    return w.add("MatMul", *[w.value(x) for x in e.inputs])


@rule("linear")
def _linear(w: Writer, e: Equation) -> str:
    x, weight, *bias = e.inputs
    if len(x.shape) == 2:
        return w.add("Gemm", *[w.value(v) for v in e.inputs], transB=1)
    if weight.equation is None and weight not in w.names:
        value = weight.value if weight.value is not None else weight.source()  # type: ignore[misc]
        turned = w.store(_array(value).T)
    else:
        turned = w.add("Transpose", w.value(weight), perm=[1, 0])
    y = w.add("MatMul", w.value(x), turned)
    return w.add("Add", y, w.value(bias[0])) if bias else y


@rule("cross")
def _cross(w: Writer, e: Equation) -> str:
    """With places counted modulo 3, place i + 2 is that of x[i] y[i + 1] - x[i + 1] y[i]."""
    x, y = (w.operand(v, e.outputs[0].code) for v in e.inputs)
    dim = e.params["dim"]
    turned = lambda name: w.add("Gather", name, w.ints([1, 2, 0]), axis=dim)  # noqa: E731
    return turned(w.add("Sub", w.add("Mul", x, turned(y)), w.add("Mul", turned(x), y)))


@rule("softmax")
def _softmax(w: Writer, e: Equation) -> str:
    return w.add("Softmax", w.operand(e.inputs[0], e.outputs[0].code), axis=e.params["dim"])


@rule("log_softmax")
def _log_softmax(w: Writer, e: Equation) -> str:
    return w.add("LogSoftmax", w.operand(e.inputs[0], e.outputs[0].code), axis=e.params["dim"])


@rule("convolution")
def _convolution(w: Writer, e: Equation) -> str:
    p = e.params
    return w.add(
        "Conv", *[w.value(x) for x in e.inputs], strides=list(p["stride"]),
        dilations=list(p["dilation"]),
        pads=[*p["padding"], *p["padding"]], group=p["groups"],
        kernel_shape=list(e.inputs[1].shape[2:]),
    )  # fmt: skip


@rule("convolution_input_grad")
def _transposed(w: Writer, e: Equation) -> str:
    p, (x, weight) = e.params, e.inputs
    n = len(p["stride"])
    extra = [
        p["input_size"][i]
        - (
            (x.shape[2 + i] - 1) * p["stride"][i]
            - 2 * p["padding"][i]
            + p["dilation"][i] * (weight.shape[2 + i] - 1)
            + 1
        )
        for i in range(n)
    ]
    return w.add(
        "ConvTranspose", w.value(x), w.value(weight), strides=list(p["stride"]),
        dilations=list(p["dilation"]),
        pads=[*p["padding"], *p["padding"]], group=p["groups"], output_padding=extra,
        kernel_shape=list(weight.shape[2:]),
    )  # fmt: skip


@rule("max_pool")
def _max_pool(w: Writer, e: Equation) -> tuple[str, ...]:
    p = e.params
    x = e.inputs[0]
    name, lead = _planes(w, e, len(p["kernel"]))
    y = w.add(
        "MaxPool", name, kernel_shape=list(p["kernel"]), strides=list(p["stride"]),
        dilations=list(p["dilation"]),
        pads=[*p["padding"], *p["padding"]], ceil_mode=int(p["ceil_mode"]),
    )  # fmt: skip
    return (_back(w, e, y, lead),) if len(x.shape) else (y,)


@rule("avg_pool")
def _avg_pool(w: Writer, e: Equation) -> str:
    p = e.params
    if p["divisor"]:
        raise missing("onnx.export", "avg_pool with divisor_override", RULES, "Scale its result.")
    name, lead = _planes(w, e, len(p["kernel"]))
    y = w.add(
        "AveragePool", name, kernel_shape=list(p["kernel"]), strides=list(p["stride"]),
        pads=[*p["padding"], *p["padding"]], ceil_mode=int(p["ceil_mode"]),
        count_include_pad=int(p["include_pad"]),
    )  # fmt: skip
    return _back(w, e, y, lead)


def _planes(w: Writer, e: Equation, n: int) -> tuple[str, bool]:
    """The pool's operand as [n, c, *plane], and whether it had other leading dimensions."""
    x = e.inputs[0]
    if len(x.shape) == n + 2:
        return w.value(x), False
    lead = int(np.prod(x.shape[: len(x.shape) - n]))
    return w.add("Reshape", w.value(x), w.ints([1, lead, *x.shape[len(x.shape) - n :]])), True


def _back(w: Writer, e: Equation, y: str, lead: bool) -> str:
    return w.add("Reshape", y, w.ints(e.outputs[0].shape)) if lead else y


@rule("layer_norm")
def _layer_norm(w: Writer, e: Equation) -> str:
    return w.add(
        "LayerNormalization",
        *[w.value(x) for x in e.inputs],
        axis=-e.params["n"],
        epsilon=e.params["eps"],
    )


@rule("channel_scale")
def _channel_scale(w: Writer, e: Equation) -> str:
    x, mean, var, weight, bias = (w.operand(v, e.outputs[0].code) for v in e.inputs)
    return w.add("BatchNormalization", x, weight, bias, mean, var, epsilon=e.params["eps"])


@rule("channel_norm")
def _channel_norm(w: Writer, e: Equation) -> str:
    x, weight, bias = (w.operand(v, e.outputs[0].code) for v in e.inputs)
    n, c, *rest = e.inputs[0].shape
    groups = e.params["groups"]
    axes = w.ints((2,) if groups else (0, 2))
    x = w.add("Reshape", x, w.ints([n, groups or c, int(np.prod(rest)) * c // (groups or c)]))
    centred = w.add("Sub", x, w.add("ReduceMean", x, axes, keepdims=1))
    var = w.add("ReduceMean", w.add("Mul", centred, centred), axes, keepdims=1)
    root = w.add("Sqrt", w.add("Add", var, w.number(e.params["eps"], e.outputs[0].code)))
    y = w.add("Reshape", w.add("Div", centred, root), w.ints([n, c, *rest]))
    by_channel = w.ints([c, *[1] * len(rest)])
    weight, bias = (w.add("Reshape", p, by_channel) for p in (weight, bias))
    return w.add("Add", w.add("Mul", y, weight), bias)


@rule("rms_norm")
def _rms_norm(w: Writer, e: Equation) -> str:
    x, weight = (w.operand(v, e.outputs[0].code) for v in e.inputs)
    if DTYPES[e.outputs[0].code].name not in ("float32", "float64"):
        raise missing("onnx.export", "rms_norm of 16-bit floats", RULES, "Use float32.")
    mean = w.add("ReduceMean", w.add("Mul", x, x), w.ints(range(-e.params["n"], 0)), keepdims=1)
    root = w.add("Sqrt", w.add("Add", mean, w.number(e.params["eps"], e.outputs[0].code)))
    return w.add("Mul", w.add("Div", x, root), weight)
