"""Reading: an ONNX model as a function of tensors.

The graph is run node by node with public functions, so it can be differentiated, mapped and
compiled like any other function. Integer values that only shapes depend on stay NumPy arrays, and
are computed with NumPy: what reshapes and slices need is then known while staging, too.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import dtype
from ..errors import message
from ..tensor import Tensor
from .common import BY_NUMBER, missing, package

Value = Any  # Tensor, or NumPy array of integers
Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def load(path: str | os.PathLike[str]) -> Loaded:
    """The model of an ONNX file as a function of its inputs, in order or by name.

    It returns the output, or a tuple of them. Gradients flow through it; compile() makes it one
    program.

    Raises:
      ImportError: the onnx package is missing.
      ValueError: the file is no valid model.
      KernelError: it uses an operation outside the inference set.
    """
    onnx = package("onnx.load")
    name = os.fspath(path)
    try:
        model = onnx.load(name)
        onnx.checker.check_model(model)
    except OSError:
        raise
    except Exception as error:  # protobuf and the checker have no common class
        raise ValueError(message("onnx.load", "a valid ONNX model", f"{name} ({error})")) from error
    return Loaded(onnx, model)


class Loaded:
    """An ONNX model as a callable.

    Attributes:
      inputs, outputs: names, in order.
      parameters: the stored tensors by name.
    """

    def __init__(self, onnx: Any, model: Any):
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        if not versions or versions[0] < 13:
            raise ValueError(
                message(
                    "onnx.load",
                    "opset 13 or later",
                    versions,
                    "Convert it with onnx.version_converter.",
                )
            )
        self._known: dict[str, Value] = {}
        for item in model.graph.initializer:
            self._known[item.name] = _stored(onnx.numpy_helper.to_array(item))
        self.parameters = {k: v for k, v in self._known.items() if isinstance(v, Tensor)}
        self.inputs = [i.name for i in model.graph.input if i.name not in self._known]
        self.outputs = [o.name for o in model.graph.output]
        self._nodes = []
        for node in model.graph.node:
            rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if rule is None:
                raise missing("onnx.load", node.op_type, RULES, "Simplify the model first.")
            attributes = {a.name: _attribute(onnx, a) for a in node.attribute}
            if node.op_type == "Split":
                attributes["n_outputs"] = len(node.output)
            self._nodes.append(
                (rule, list(node.input), list(node.output), attributes, node.op_type)
            )

    def __repr__(self) -> str:
        return f"Loaded({', '.join(self.inputs)} -> {', '.join(self.outputs)})"

    def __call__(self, *args: Tensor, **named: Tensor) -> Any:
        given = dict(zip(self.inputs, args, strict=False)) | named
        if len(args) > len(self.inputs) or sorted(given) != sorted(self.inputs):
            raise TypeError(
                message(
                    "onnx model",
                    f"inputs {', '.join(self.inputs)}",
                    f"{len(args)} and {sorted(named)}",
                )
            )
        values: dict[str, Value] = {**self._known, **given, "": None}
        for rule, inputs, outputs, attributes, kind in self._nodes:
            operands = [values[name] for name in inputs]
            static = any(isinstance(x, np.ndarray) for x in operands) and all(
                x is None or isinstance(x, np.ndarray) for x in operands
            )
            if static and kind in _STATIC:
                made = _STATIC[kind](*operands, **attributes)
            else:
                made = rule(*[x if kind in _MIXED else _tensor(x) for x in operands], **attributes)
            for name, value in zip(
                outputs, made if isinstance(made, tuple) else (made,), strict=False
            ):
                values[name] = value
        results = tuple(_tensor(values[name]) for name in self.outputs)
        return results[0] if len(results) == 1 else results


def _stored(array: np.ndarray[Any, Any]) -> Value:
    """Integers stay arrays: shapes may depend on them."""
    if array.dtype == np.int64 and array.ndim < 2:
        return array
    from ..ops.creation import tensor

    if array.dtype.name == "bfloat16":
        from ..dtypes import bfloat16

        return tensor(array.astype(np.float32), dtype=bfloat16)
    return tensor(array)


def _tensor(value: Value) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        from ..ops.creation import tensor

        return tensor(np.asarray(value))
    return value


def _attribute(onnx: Any, a: Any) -> Any:
    value = onnx.helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return _stored(onnx.numpy_helper.to_array(value))
    return list(value) if a.type in (6, 7) else value


def ints(value: Value) -> list[int] | None:
    """An operand that must be known: a list of numbers."""
    return (
        None
        if value is None
        else [
            int(x) for x in np.atleast_1d(value if isinstance(value, np.ndarray) else value.numpy())
        ]
    )


def rule(*names: str) -> Callable[[Rule], Rule]:
    def enter(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, f))
        return f

    return enter


def dtype_of(number: int) -> dtype:
    if number not in BY_NUMBER:
        raise ValueError(message("onnx.load", "a dtype of tensors", f"number {number}"))
    return BY_NUMBER[number]


# ---- what shapes are computed with, in NumPy ----


def _np_slice(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    index = [slice(None)] * x.ndim
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        index[axis] = slice(starts[i], ends[i], None if steps is None else steps[i])
    return x[tuple(index)]


def _np_cast(x: Any, to: int, **_: Any) -> Any:
    kind = dtype_of(to)
    return (
        x.astype(np.int64) if kind.name in ("int64", "int32") else RULES["Cast"](_tensor(x), to=to)
    )


def _np_div(x: Any, y: Any) -> Any:
    return np.asarray(np.trunc(x / y), np.int64)


_STATIC: dict[str, Rule] = {
    "Identity": lambda x: x,
    "Gather": lambda x, i, axis=0: np.take(x, i, axis),
    "Concat": lambda *xs, axis: np.concatenate(xs, axis),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(axes)),
    "Slice": _np_slice,
    "Cast": _np_cast,
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _np_div, "Mod": lambda x, y,
    fmod=0: np.mod(x, y),
    "Neg": np.negative, "Max": lambda *xs: np.maximum.reduce(xs),
    "Min": lambda *xs: np.minimum.reduce(xs),
    "Reshape": lambda x, s, allowzero=0: np.reshape(x, s),
    "ReduceProd": lambda x, axes=None, keepdims=1, **_: np.prod(x, keepdims=bool(keepdims)),
    "Range": lambda a, b, step: np.arange(a, b, step),
    "Equal": np.equal,
    "Where": np.where,
    "ConstantOfShape": lambda s, value=None: np.full(s, 0 if value is None else value.item())
    if isinstance(value, np.ndarray) else RULES["ConstantOfShape"](s, value),
    "Expand": lambda x, s: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(s))),
}  # fmt: skip
# their rules take some operands as arrays
_MIXED = {
    "Reshape", "Unsqueeze", "Squeeze", "Slice", "Expand", "Tile", "Pad", "TopK", "CumSum",
    "Trilu", "Split",
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceL1",
    "ReduceSumSquare",
    "ReduceLogSumExp", "Resize", "ConstantOfShape", "OneHot", "Range", "Gather", "Where", "Concat",
}  # fmt: skip

from . import reading_rules  # noqa: E402, F401

__all__ = ["Loaded", "load"]
