"""Writing: a function's graph as an ONNX model of opset 18.

Each rule writes the nodes for one primitive. What ONNX lacks is written in terms of what it has.
Operands are cast first where our primitives mix dtypes and ONNX's do not.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cbackend import ffi, lib

from ..dtypes import DTYPES
from ..errors import message
from ..staging.export import stage_pure
from ..staging.graph import Equation, Graph, Var
from ..staging.passes import optimize
from ..tensor import Tensor
from .common import NUMBERS, OPSET, missing, package

Rule = Callable[["Writer", Equation], Any]
RULES: dict[str, Rule] = {}
_NONE = -(2**63)  # a missing bound of a slice
_END = 2**63 - 1


def export(
    function: Callable[..., Any],
    args: Sequence[Any],
    path: str | os.PathLike[str],
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Writes a function or module, for arguments like these, as an ONNX model of opset 18.

    Shapes are fixed. Captured tensors (a module's parameters) are stored in the model as they are
    now.

    Args:
      args: a tuple of arguments, trees of tensors.
      path: the file to write.
      input_names, output_names: one a tensor, in the order of the trees; by default input0, ...
    Raises:
      ImportError: the onnx package is missing.
      KernelError: the function uses an operation outside the inference set.
      TraceError: it reads values in Python or changes a captured tensor (call eval() on modules).
    """
    onnx = package("onnx.export")
    staged, _, _ = stage_pure("onnx.export", function, args)
    graph = optimize(staged.graph)
    writer = Writer(onnx, graph, input_names, output_names)
    model = onnx.helper.make_model(
        writer.finish(),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="functorch-like",
        ir_version=9,
    )
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))


def _array(t: Tensor) -> np.ndarray[Any, Any]:
    return t.detach().contiguous().numpy()


class Writer:
    """The model of a graph, as it is being written."""

    def __init__(
        self,
        onnx: Any,
        graph: Graph,
        input_names: Sequence[str] | None,
        output_names: Sequence[str] | None,
    ):
        self.onnx, self.graph = onnx, graph
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[Var, str] = {}
        self.known: dict[Any, str] = {}  # constants made here, by value
        self.inputs = _named("input_names", input_names, "input", len(graph.inputs))
        self.outputs = _named("output_names", output_names, "output", len(graph.outputs))
        self.names.update(zip(graph.inputs, self.inputs, strict=True))
        self.used = {x for e in graph.equations for x in e.inputs} | set(graph.outputs)

    def finish(self) -> Any:
        helper = self.onnx.helper
        for e in self.graph.equations:
            rule = RULES.get(e.op.name)
            if rule is None:
                raise missing("onnx.export", e.op.name, RULES, "Write it with other operations.")
            made = rule(self, e)
            for var, name in zip(
                e.outputs, made if isinstance(made, tuple) else (made,), strict=False
            ):
                self.names[var] = name
            unwritten = [y for y in e.outputs if y in self.used and y not in self.names]
            if unwritten:
                raise missing(
                    "onnx.export", f"{e.op.name} with all its results", RULES, "Use the first."
                )
        for var, name in zip(self.graph.outputs, self.outputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [self.value(var)], [name]))

        def info(name: str, var: Var) -> Any:
            return helper.make_tensor_value_info(name, NUMBERS[DTYPES[var.code].name], var.shape)

        return helper.make_graph(
            self.nodes,
            "functorch_like",
            [info(n, v) for n, v in zip(self.inputs, self.graph.inputs, strict=True)],
            [info(n, v) for n, v in zip(self.outputs, self.graph.outputs, strict=True)],
            list(self.initializers.values()),
        )

    def value(self, var: Var) -> str:
        """The name of a value; captured ones and constants are stored."""
        if var not in self.names:
            value = var.value if var.value is not None else var.source()  # type: ignore[misc]
            self.names[var] = self.store(_array(value))
        return self.names[var]

    def store(self, array: np.ndarray[Any, Any]) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers[name] = self.onnx.numpy_helper.from_array(
            np.ascontiguousarray(array).reshape(array.shape), name
        )
        return name

    def ints(self, values: Sequence[int]) -> str:
        """An int64 list as an initializer."""
        key = ("ints", *values)
        if key not in self.known:
            self.known[key] = self.store(np.array(list(values), np.int64))
        return self.known[key]

    def number(self, value: float, code: int) -> str:
        """A 0-d initializer of a dtype."""
        key = ("number", repr(value), code)
        if key not in self.known:
            self.known[key] = self.store(np.array(value, DTYPES[code].name))
        return self.known[key]

    def add(self, kind: str, *inputs: str, n: int = 1, **attributes: Any) -> Any:
        """Writes a node; the name of its result, or the names."""
        made = [f"value{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), made, **attributes))
        return made[0] if n == 1 else tuple(made)

    def cast(self, name: str, code: int, wanted: int) -> str:
        return name if code == wanted else self.add("Cast", name, to=NUMBERS[DTYPES[wanted].name])

    def operand(self, var: Var, wanted: int) -> str:
        """A value in a dtype; numbers are stored in it."""
        if var.value is not None and var.value._v.ndim == 0 and var.code != wanted:
            return self.number(var.value.item(), wanted)  # type: ignore[arg-type]
        return self.cast(self.value(var), var.code, wanted)


def _named(what: str, names: Sequence[str] | None, prefix: str, n: int) -> list[str]:
    if names is None:
        return [f"{prefix}{i}" for i in range(n)]
    if len(names) != n or len(set(names)) != n:
        raise ValueError(message("onnx.export", f"{n} different {what}", repr(list(names))))
    return list(names)


def rule(*names: str) -> Callable[[Rule], Rule]:
    def enter(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, f))
        return f

    return enter


def _common(e: Equation) -> int:
    """The dtype that operands meet in."""
    metas = [x.meta._v for x in e.inputs]
    return lib.cb_result_type(len(metas), ffi.new("cb_tensor *[]", metas))


# ---- elementwise ----

_UNARY = {
    "abs": "Abs", "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin",
    "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "tanh": "Tanh",
    "sigmoid": "Sigmoid", "erf": "Erf", "floor": "Floor", "ceil": "Ceil", "round": "Round",
    "sign": "Sign", "relu": "Relu", "reciprocal": "Reciprocal",
}  # fmt: skip
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "mul_conj": "Mul", "div": "Div", "pow": "Pow",
           "maximum": "Max", "minimum": "Min"}  # fmt: skip
_COMPARE = {
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
}
_LOGICAL = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
_BITS = {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor"}


@rule(*_UNARY)
def _unary(w: Writer, e: Equation) -> str:
    return w.add(_UNARY[e.op.name], w.operand(e.inputs[0], e.outputs[0].code))


@rule(*_BINARY)
def _binary(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    return w.add(_BINARY[e.op.name], *[w.operand(x, code) for x in e.inputs])


@rule(*_COMPARE, "ne")
def _compare(w: Writer, e: Equation) -> str:
    operands = [w.operand(x, _common(e)) for x in e.inputs]
    if e.op.name == "ne":
        return w.add("Not", w.add("Equal", *operands))
    return w.add(_COMPARE[e.op.name], *operands)


@rule(*_LOGICAL)
def _logical(w: Writer, e: Equation) -> str:
    return w.add(_LOGICAL[e.op.name], *[w.operand(x, lib.CB_BOOL) for x in e.inputs])


@rule(*_BITS, "bitwise_not")
def _bits(w: Writer, e: Equation) -> str:
    code, name = e.outputs[0].code, e.op.name
    prefix = "" if code == lib.CB_BOOL else "Bitwise"
    kind = "Not" if name == "bitwise_not" else _BITS[name]
    return w.add(prefix + kind, *[w.operand(x, code) for x in e.inputs])


@rule("logical_not")
def _not(w: Writer, e: Equation) -> str:
    return w.add("Not", w.operand(e.inputs[0], lib.CB_BOOL))


@rule("isnan", "isinf", "isfinite")
def _is(w: Writer, e: Equation) -> str:
    x = w.value(e.inputs[0])
    if e.op.name == "isfinite":
        return w.add("Not", w.add("Or", w.add("IsNaN", x), w.add("IsInf", x)))
    return w.add("IsNaN" if e.op.name == "isnan" else "IsInf", x)


@rule("floor_divide", "remainder", "fmod")
def _divide(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    x, y = (w.operand(v, code) for v in e.inputs)
    floating = DTYPES[code].is_floating_point
    if e.op.name == "fmod":
        return w.add("Mod", x, y, fmod=1)
    if not floating:
        rest = w.add("Mod", x, y)
        return rest if e.op.name == "remainder" else w.add("Div", w.add("Sub", x, rest), y)
    whole = w.add("Floor", w.add("Div", x, y))
    return whole if e.op.name == "floor_divide" else w.add("Sub", x, w.add("Mul", whole, y))


@rule("rsqrt", "square", "expm1", "log1p", "log2", "log10", "exp2", "silu", "logsigmoid", "trunc",
"erfc", "gelu",
      "gelu_tanh")  # fmt: skip
def _composed(w: Writer, e: Equation) -> str:
    code, name = e.outputs[0].code, e.op.name
    x = w.operand(e.inputs[0], code)
    number = lambda value: w.number(value, code)  # noqa: E731
    if name == "rsqrt":
        return w.add("Reciprocal", w.add("Sqrt", x))
    if name == "square":
        return w.add("Mul", x, x)
    if name == "expm1":
        return w.add("Sub", w.add("Exp", x), number(1))
    if name == "log1p":
        return w.add("Log", w.add("Add", x, number(1)))
    if name in ("log2", "log10"):
        return w.add("Mul", w.add("Log", x), number(1 / float(np.log(int(name[3:])))))
    if name == "exp2":
        return w.add("Pow", number(2), x)
    if name == "silu":
        return w.add("Mul", x, w.add("Sigmoid", x))
    if name == "logsigmoid":
        return w.add("Neg", w.add("Softplus", w.add("Neg", x)))
    if name == "trunc":
        return w.add("Mul", w.add("Sign", x), w.add("Floor", w.add("Abs", x)))
    if name == "erfc":
        return w.add("Sub", number(1), w.add("Erf", x))
    if name == "gelu":
        inside = w.add("Erf", w.add("Mul", x, number(0.5**0.5)))
    else:
        cube = w.add("Mul", w.add("Mul", x, x), x)
        sum_ = w.add("Add", x, w.add("Mul", cube, number(0.044715)))
        inside = w.add("Tanh", w.add("Mul", sum_, number((2 / np.pi) ** 0.5)))
    return w.add("Mul", w.add("Mul", x, number(0.5)), w.add("Add", inside, number(1)))


@rule("relu6", "hardsigmoid", "hardswish", "leaky_relu", "elu")
def _activation(w: Writer, e: Equation) -> str:
    code, name = e.outputs[0].code, e.op.name
    x, *numbers = (w.operand(v, code) for v in e.inputs)
    number = lambda value: w.number(value, code)  # noqa: E731
    if name == "relu6":
        return w.add("Clip", x, number(0), number(6))
    if name in ("hardsigmoid", "hardswish"):
        slope = w.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        return slope if name == "hardsigmoid" else w.add("Mul", x, slope)
    below = x if name == "leaky_relu" else w.add("Sub", w.add("Exp", x), number(1))
    return w.add("Where", w.add("Greater", x, number(0)), x, w.add("Mul", below, numbers[0]))


@rule("hardshrink", "softshrink", "huber")
def _around_zero(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    x, y = (w.operand(v, code) for v in e.inputs)
    half, size = w.number(0.5, code), w.add("Abs", x)
    inner, outer = w.number(0, code), x
    if e.op.name == "huber":
        inner = w.add("Mul", w.add("Mul", x, x), half)
        outer = w.add("Mul", w.add("Sub", size, w.add("Mul", y, half)), y)
    elif e.op.name == "softshrink":
        outer = w.add("Sub", x, w.add("Mul", w.add("Sign", x), y))
    return w.add("Where", w.add("LessOrEqual", size, y), inner, outer)


@rule("nan_to_num")
def _nan_to_num(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    x, high, low = (w.operand(v, code) for v in e.inputs)
    above, below = (w.add("Equal", x, w.number(v, code)) for v in (float("inf"), -float("inf")))
    finite = w.add("Where", above, high, w.add("Where", below, low, x))
    return w.add("Where", w.add("IsNaN", x), w.number(0, code), finite)


@rule("where")
def _where(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    condition, x, y = e.inputs
    return w.add("Where", w.value(condition), w.operand(x, code), w.operand(y, code))


@rule("clamp", "hardtanh")
def _clamp(w: Writer, e: Equation) -> str:
    x, low, high = (w.operand(v, e.outputs[0].code) for v in e.inputs)
    return w.add("Min", w.add("Max", x, low), high)


@rule("to_dtype", "to_integer")
def _to_dtype(w: Writer, e: Equation) -> str:
    return w.cast(w.value(e.inputs[0]), e.inputs[0].code, e.outputs[0].code)


@rule("alias", "clone", "contiguous", "detach", "to_device")
def _same(w: Writer, e: Equation) -> str:
    return w.value(e.inputs[0])


# ---- reductions and scans ----

_REDUCE = {"sum": "ReduceSum", "mean": "ReduceMean", "prod": "ReduceProd", "amax": "ReduceMax",
           "amin": "ReduceMin", "logsumexp": "ReduceLogSumExp", "norm2": "ReduceL2"}  # fmt: skip


def _reduced(w: Writer, kind: str, x: str, e: Equation) -> str:
    dims = e.params["dims"]
    if not dims:  # to ONNX an empty list means all
        return x
    return w.add(kind, x, w.ints(dims), keepdims=int(e.params["keepdim"]))


@rule(*_REDUCE)
def _reduce(w: Writer, e: Equation) -> str:
    return _reduced(w, _REDUCE[e.op.name], w.operand(e.inputs[0], e.outputs[0].code), e)


@rule("nansum")
def _nansum(w: Writer, e: Equation) -> str:
    code = e.outputs[0].code
    x = w.operand(e.inputs[0], code)
    return _reduced(w, "ReduceSum", w.add("Where", w.add("IsNaN", x), w.number(0, code), x), e)


@rule("any", "all")
def _any(w: Writer, e: Equation) -> str:
    numbers = w.cast(w.operand(e.inputs[0], lib.CB_BOOL), lib.CB_BOOL, lib.CB_I32)
    made = _reduced(w, "ReduceMax" if e.op.name == "any" else "ReduceMin", numbers, e)
    return w.cast(made, lib.CB_I32, lib.CB_BOOL)


@rule("var")
def _var(w: Writer, e: Equation) -> str:
    code, dims = e.outputs[0].code, e.params["dims"]
    x = w.operand(e.inputs[0], code)
    apart = w.add("Sub", x, w.add("ReduceMean", x, w.ints(dims), keepdims=1))
    total = _reduced(w, "ReduceSumSquare", apart, e)
    count = float(np.prod([e.inputs[0].shape[d] for d in dims])) - e.params["correction"]
    return w.add("Div", total, w.number(count, code))


@rule("argmax", "argmin")
def _argmax(w: Writer, e: Equation) -> str:
    x, dim = w.value(e.inputs[0]), e.params["dim"]
    if dim is None or dim == _NONE:
        x, dim = w.add("Reshape", x, w.ints([-1])), 0
    return w.add(
        "ArgMax" if e.op.name == "argmax" else "ArgMin",
        x,
        axis=dim,
        keepdims=int(e.params["keepdim"]),
    )


@rule("max_dim", "min_dim")
def _max_dim(w: Writer, e: Equation) -> tuple[str, str]:
    x, dim, keep = w.value(e.inputs[0]), e.params["dim"], int(e.params["keepdim"])
    reduce, arg = ("ReduceMax", "ArgMax") if e.op.name == "max_dim" else ("ReduceMin", "ArgMin")
    return w.add(reduce, x, w.ints([dim]), keepdims=keep), w.add(arg, x, axis=dim, keepdims=keep)


@rule("cumsum")
def _cumsum(w: Writer, e: Equation) -> str:
    return w.add(
        "CumSum", w.operand(e.inputs[0], e.outputs[0].code), w.number(e.params["dim"], lib.CB_I64)
    )


@rule("topk", "sort", "sort_values", "argsort")
def _sorted(w: Writer, e: Equation) -> Any:
    x, dim = e.inputs[0], e.params["dim"]
    k = e.params.get("k", x.shape[dim])
    largest = e.params["largest"] if e.op.name == "topk" else e.params["descending"]
    both = w.add("TopK", w.value(x), w.ints([k]), n=2, axis=dim, largest=int(largest), sorted=1)
    return {"sort_values": both[0], "argsort": both[1]}.get(e.op.name, both)


from . import writing_layers, writing_shapes  # noqa: E402, F401
