"""Constructors of elementwise ops.

One call makes the C binding, the fast path, all rules, the Tensor methods and the entry.

A derivative is given once an input, as `partials`: functions of the inputs and the output
(`lambda x, y, out: y`), the numbers 1 and -1, or `chain(...)` around a function that takes the
tangent first and applies the derivative to it itself, where one kernel does that. Both modes and
all orders follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from cbackend import ffi, lib, plain, prepare_calls, recorded
from cbackend import number as number_in_c

from .. import op as op_module
from ..dtypes import DTYPES, bool_
from ..errors import DTypeError, message
from ..op import NotDifferentiable, Op, Spec, dispatch
from ..tensor import Tensor, known_regular, wrap
from ..trace import active, clock, state
from .recording import assign, given

_INT64 = range(-(1 << 63), 1 << 63)


class chain:  # reads as a word in the tables
    """Marks a partial that applies the derivative itself.

    As in `chain(lambda t, x, out: tanh_grad(t, out))`.

    Args:
      forward: how to apply it to a tangent, where that differs: for complex operands by a
        conjugate.
    """

    chained = True

    def __init__(self, function: Callable[..., Any], forward: Callable[..., Any] | None = None):
        self.function, self.forward = function, forward or function
        self.__code__ = function.__code__

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def number(value: Any) -> Tensor:
    """A 0-d tensor for a Python number: it is promoted by category only, as in torch."""
    t = number_in_c(value)
    if t is not None:
        return t
    s = ffi.new("cb_scalar *")
    if isinstance(value, int):
        if value in _INT64:
            s.kind, s.i = ord("i"), int(value)
        elif 0 <= value < 1 << 64:
            s.kind, s.u = ord("u"), value
        else:
            raise OverflowError(
                message("tensor", "an integer of at most 64 bits", value, "Use a float.")
            )
    elif isinstance(value, float):
        if type(value) is not float and hasattr(type(value), "tensor"):  # an argument being staged
            staged = value.tensor()  # type: ignore[attr-defined]
            if staged is not None:
                return staged
        s.kind, s.re = ord("f"), value
    elif isinstance(value, complex):
        s.kind, s.re, s.im = ord("c"), value.real, value.imag
    else:
        raise DTypeError(message("tensor", "a number", type(value).__name__))
    return op_module.wrap(lib.cb_scalar_tensor(s, -1))


def operand(op: str, value: Any) -> Tensor:
    """A tensor from whatever may stand beside one in an expression.

    Raises:
      DTypeError: it is neither a tensor, a number nor an array.
    """
    if isinstance(value, Tensor):
        return value
    t = number_in_c(value)
    if t is not None:
        return t
    if isinstance(value, (int, float, complex)):
        return number(value)
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        from .creation import as_tensor

        return (
            as_tensor(value)
            if getattr(value, "ndim", 1) or not hasattr(value, "item")
            else number(value.item())
        )
    raise DTypeError(
        message(op, "a tensor or a number", type(value).__name__, "Convert it with tensor().")
    )


prepare_calls(dispatch, operand)


# ---- rules shared by all elementwise ops ----


def _pushed(t: Tensor, partial: Any, args: Sequence[Any], out: Any) -> Tensor:
    """A tangent times one partial derivative."""
    if type(partial) is int:
        return t if partial == 1 else -t
    if partial.__class__ is chain:
        return partial.forward(t, *args, out)
    return times_slope(t, partial(*args, out))


def times_slope(t: Tensor, slope: Any) -> Tensor:
    """A tangent times a derivative; where the tangent is 0, also through an infinite derivative."""
    if slope.__class__ is not Tensor:
        return t * slope
    if slope.dtype.is_complex:
        from .unary import conj_physical

        slope = conj_physical(slope)
    return mul_conj(t, slope)


def sum_to(ct: Tensor, spec: Spec) -> Tensor:
    """A cotangent brought to the shape and dtype of the input it belongs to."""
    shape = ct._shape
    if shape != spec.shape:
        lead = len(shape) - len(spec.shape)
        dims = tuple(
            d
            for d in range(len(shape))
            if d < lead or (spec.shape[d - lead] == 1 and shape[d] != 1)
        )
        ct = ct.sum(dims, keepdim=True) if dims else ct
        if lead:
            ct = ct.reshape(spec.shape)
    dtype = ct.dtype
    if dtype is not spec.dtype:
        if dtype.is_complex and not spec.dtype.is_complex:
            ct = ct.real
        ct = ct.to(spec.dtype)
    return ct


def _puller(partial: Any) -> Callable[..., Tensor | None] | None:
    """`pull(ct, *inputs, out)` for one input: ct times the conjugate of the partial derivative.

    None stands for the cotangent itself.
    """
    if type(partial) is int:
        return {1: None, -1: lambda ct, *_: -ct, 0: lambda *_: None}[partial]
    if partial.__class__ is chain:
        return partial.function

    def pull(ct: Tensor, *saved: Any) -> Tensor:
        slope = partial(*saved)
        return mul_conj(ct, slope) if slope.__class__ is Tensor else ct * slope

    return pull


def _pull_all(partials: Sequence[Any]) -> Callable[[Any, Tensor], Sequence[Tensor | None]]:
    """The reverse rule of an elementwise op, from its partial derivatives."""
    pullers = [_puller(partial) for partial in partials]

    def pull_one(node: Any, ct: Tensor) -> Sequence[Tensor | None]:
        if pull is not None:
            out = node.out
            if out is not None and state.grad:
                out = node.saved_out()
            ct = pull(ct, node.args[0], out)  # type: ignore[assignment]
        return (ct if node.specs is None else sum_to(ct, node.specs[0]),)

    def pull_two(node: Any, ct: Tensor) -> Sequence[Tensor | None]:
        x, y = node.edges
        out = node.out
        if out is not None and state.grad:
            out = node.saved_out()
        gx = gy = None
        if x is not None:
            gx = ct if pull is None else pull(ct, *node.args, out)
        if y is not None:
            gy = ct if second is None else second(ct, *node.args, out)
        specs = node.specs
        if specs is not None:
            gx = None if gx is None else sum_to(gx, specs[0])
            gy = None if gy is None else sum_to(gy, specs[1])
        return gx, gy

    def pull_many(node: Any, ct: Tensor) -> Sequence[Tensor | None]:
        out = node.saved_out()
        found: list[Tensor | None] = []
        for i, (edge, pull) in enumerate(zip(node.edges, pullers, strict=True)):
            g = None
            if edge is not None:
                g = ct if pull is None else pull(ct, *node.args, out)
            found.append(g if g is None or node.specs is None else sum_to(g, node.specs[i]))
        return found

    pull, second = pullers[0], pullers[-1]
    return [pull_one, pull_two, pull_many][min(len(pullers), 3) - 1]


def _jvp(op: Op) -> Callable[..., Any]:
    def jvp(tangents: Sequence[Tensor | None], out: Tensor, *args: Any) -> Tensor:
        total = None
        for t, partial in zip(tangents, op.partials):  # noqa: B905 - hot
            if t is not None and not (type(partial) is int and partial == 0):
                term = _pushed(t, partial, args, out)
                total = term if total is None else total + term
        if total is None:
            from .creation import zeros_like

            return zeros_like(out)
        if known_regular(out):  # then tangents have its shape and dtype too
            return total
        if total._shape != out._shape:
            total = total.expand(out._shape)
        return total if total.dtype is out.dtype else total.to(out.dtype)

    return jvp


def _batch(op: Op, arity: int) -> Callable[..., Any]:
    def batch(_size: int, batched: Sequence[bool], *args: Tensor) -> Any:
        return op(*align(batched, as_in_lanes(batched, args)))

    def batch_one(_size: int, _batched: Sequence[bool], x: Tensor) -> Any:
        return op(x)

    return batch_one if arity == 1 else batch


def as_in_lanes(batched: Sequence[bool], args: Sequence[Tensor]) -> Sequence[Tensor]:
    """Operands whose dtypes promote as they do in a lane, where a mapped one may have no dims.

    One without dims does not widen those of its kind that have some: a mapped dim must not count.
    """
    dtype = args[0].dtype
    if all([a.dtype is dtype for a in args]):
        return args
    bare = [b and a.ndim == 1 for a, b in zip(args, batched, strict=True)]
    if not any(bare):
        return args
    dtype = result_type(*[_bare(a) if z else a for a, z in zip(args, bare, strict=True)])
    return [
        a.to(dtype) if z and a.dtype is not bool_ else a for a, z in zip(args, bare, strict=True)
    ]


def _bare(x: Tensor) -> Tensor:
    """A tensor without dims, and without memory, of the dtype of x."""
    return wrap(lib.cb_empty(x._concrete.dtype, lib.CB_META, 0, ffi.NULL))


def align(batched: Sequence[bool], args: Sequence[Tensor]) -> list[Tensor]:
    """Mapped operands whose logical ranks differ, made to broadcast: the mapped dim in front."""
    ranks = [a.ndim - b for a, b in zip(args, batched)]  # noqa: B905 - hot
    rank = max(ranks)
    if min(ranks) == rank:
        return list(args)
    aligned = []
    for a, b, r in zip(args, batched, ranks, strict=True):
        if b and r < rank:
            shape = a._shape
            a = a.reshape((shape[0],) + (1,) * (rank - r) + shape[1:])
        aligned.append(a)
    return aligned


def fronted(size: int, batched: Sequence[bool], args: Sequence[Tensor]) -> list[Tensor]:
    """The operands, all mapped: those that are not are expanded, without a copy."""
    return [
        a if b else a.unsqueeze(0).expand((size, *a._shape))
        for a, b in zip(args, batched, strict=True)
    ]


def _elementwise_op(name: str, impl: Callable[..., Any], partials: Any, family: str) -> Op:
    if isinstance(partials, NotDifferentiable):
        op = Op(name, impl, vjp=partials, batch=lambda *_: None, family=family)
    else:
        op = Op(
            name,
            impl,
            pull=_pull_all(partials),
            jvp=lambda *_: None,
            batch=lambda *_: None,
            partials=partials,
            family=family,
        )
        op.jvp = _jvp(op)
    op.batch = _batch(op, {"unary": 1, "binary": 2, "ternary": 3}[family])
    return op


# ---- public constructors ----


def _finish(fn: Any, op: Op, doc: str, method: bool) -> None:
    fn.__name__ = fn.__qualname__ = op.name
    fn.__doc__ = doc
    fn.__module__ = "functorch_like"
    fn.op = op
    op.doc = doc
    if method:
        setattr(Tensor, op.name, fn)


def unary(
    name: str,
    deriv: Any,
    doc: str,
    *,
    method: bool = True,
    inplace: bool = True,
    changes_dtype: bool = False,
    samples: dict[str, Any] | None = None,
    oracle: str | Callable[..., Any] | None = None,
) -> Callable[[Any], Tensor]:
    """An op of one operand, with the C kernel of the same name.

    Args:
      deriv: dy/dx as a function of x and y, a `chain`, or NONDIFF(reason).
      changes_dtype: can a result that has a gradient differ in dtype from x?
      samples: where to test: low, high (default -4 and 4) and dtypes ("float", "int", "bool",
        "complex" kinds). ulp: at most so many units in the last place off, for float32 and float64
        over their whole range.
      oracle: dotted name of the reference, imported by tests only.
    """
    code = lib.cb_op_code(b"unary", name.encode())
    if code < 0:
        raise ImportError(f"op {name}: expected a unary kernel of that name in ops.def, got none.")
    call, into = lib.cb_unary, lib.cb_unary_into

    def impl(x: Tensor) -> Any:
        return call(code, x._v)

    op = _elementwise_op(
        name, impl, deriv if isinstance(deriv, NotDifferentiable) else (deriv,), "unary"
    )
    op.changes_dtype = changes_dtype
    op.samples, op.oracle = samples or {}, oracle

    def function(input: Any, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return given(out, op, (operand(name, input),), into, code)
        trace = state.trace if active else None
        if trace is None:
            try:
                m = input._m
            except AttributeError:
                return dispatch(op, (operand(name, input),), {})
            if m is None:
                h = call(code, input._v)
                if h:
                    return plain(h)
            elif m.trace is None and not m.is_view:
                h = call(code, input._v)
                if h:
                    return recorded(op, h, input)
        elif trace.one is not None and input.__class__ is Tensor:
            t = trace.one(op, function, input)
            if t is not None:
                return t
        return dispatch(op, (operand(name, input),), {})

    _finish(function, op, doc, method)
    if method and inplace:

        def in_place(x: Tensor) -> Tensor:
            return assign(x, op, (x,), into, code)

        in_place.__name__ = name + "_"
        in_place.__doc__ = f"In-place {name}()."
        setattr(Tensor, name + "_", in_place)
    return function


def binary(
    name: str,
    partials: Any,
    doc: str,
    *,
    method: bool = True,
    inplace: bool = True,
    dunder: str | None = None,
    second: str = "other",
    samples: dict[str, Any] | None = None,
    oracle: str | None = None,
) -> Callable[..., Tensor]:
    """An op of two operands that broadcast, with the C kernel of the same name.

    Numbers may stand for either.

    Args:
      partials: the derivatives by x and by y (see the top of this file), or NONDIFF(reason).
      second: torch's name for the second operand.
      dunder: the operator's method name without underscores: "add" gives __add__, __radd__ and
        __iadd__.
    """
    code = lib.cb_op_code(b"binary", name.encode())
    if code < 0:
        raise ImportError(f"op {name}: expected a binary kernel of that name in ops.def, got none.")
    call, call_float, call_int, into = (
        lib.cb_binary,
        lib.cb_binary_float,
        lib.cb_binary_int,
        lib.cb_binary_into,
    )

    def impl(x: Tensor, y: Tensor) -> Any:
        return call(code, x._v, y._v)

    op = _elementwise_op(name, impl, partials, "binary")
    op.samples, op.oracle = samples or {}, oracle

    def function(input: Any, other: Any, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return given(out, op, (operand(name, input), operand(name, other)), into, code)
        trace = state.trace if active else None
        if trace is None:
            try:
                m = input._m
            except AttributeError:
                return dispatch(op, (operand(name, input), operand(name, other)), {})
            if m is None or (m.trace is None and not m.is_view):
                kind = other.__class__
                n = None
                if kind is Tensor:
                    n = other._m
                    h = (
                        call(code, input._v, other._v)
                        if n is None or (n.trace is None and not n.is_view)
                        else None
                    )
                elif kind is float:
                    h = call_float(code, input._v, other, 0)
                elif kind is int and -9223372036854775808 <= other <= 9223372036854775807:
                    h = call_int(code, input._v, other, 0)
                elif isinstance(other, Tensor) and (
                    (n := other._m) is None or (n.trace is None and not n.is_view)
                ):
                    h = call(code, input._v, other._v)
                else:
                    h = None
                if h:
                    if m is not None or n is not None:
                        return recorded(op, h, input, other)
                    return plain(h)
        elif trace.two is not None and input.__class__ is Tensor:
            t = trace.two(op, function, input, other)
            if t is not None:
                return t
        if (
            dunder
            and not hasattr(other, "__array__")
            and hasattr(type(other), f"__r{dunder}__")
            and not isinstance(other, (bool, int, float, complex))
        ):
            answer = getattr(other, f"__r{dunder}__")(input)  # it may know what we do not
            if answer is not NotImplemented:
                return answer
        return dispatch(op, (operand(name, input), operand(name, other)), {})

    def reflected(x: Tensor, y: Any) -> Any:
        if not isinstance(y, (bool, int, float, complex)) and not hasattr(y, "__array__"):
            return NotImplemented
        m = x._m
        trace = state.trace if active else None
        if trace is None:
            if m is None or (m.trace is None and not m.is_view):
                kind = type(y)
                h = call_float(code, x._v, y, 1) if kind is float else None
                if kind is int and -9223372036854775808 <= y <= 9223372036854775807:  # type: ignore[operator]
                    h = call_int(code, x._v, y, 1)
                if h:
                    if m is not None:
                        return recorded(op, h, y, x)
                    return plain(h)
        elif trace.two is not None:
            t = trace.two(op, number_first, y, x)
            if t is not None:
                return t
        return dispatch(op, (operand(name, y), x), {})

    def number_first(y: Any, x: Tensor) -> Any:
        return reflected(x, y)

    if second != "other":
        body, defaults = function.__code__, function.__defaults__
        names = tuple([second if v == "other" else v for v in body.co_varnames])
        body = body.replace(co_varnames=names)
        named: Any = FunctionType(body, globals(), name, defaults, function.__closure__)
        function = named
    _finish(function, op, doc, method)
    if method and inplace:

        def in_place(x: Tensor, other: Any) -> Tensor:
            y = operand(name, other)
            if x._m is None and y._m is None and (not active or state.trace is None):
                clock[0] += 1
                if not into(code, x._v, y._v, x._v, clock[0]):
                    return x
            return assign(x, op, (x, y), into, code)

        in_place.__name__ = name + "_"
        in_place.__doc__ = f"In-place {name}()."
        setattr(Tensor, name + "_", in_place)
        if dunder:
            setattr(Tensor, f"__i{dunder}__", in_place)
    if dunder:
        setattr(Tensor, f"__{dunder}__", function)
        setattr(Tensor, f"__r{dunder}__", reflected)
    return function


def ternary(name: str, partials: Any, *, samples: dict[str, Any] | None = None) -> Op:
    """An op of three operands that broadcast, with the C kernel of the same name.

    The public function is written beside it.
    """
    code = lib.cb_op_code(b"ternary", name.encode())
    if code < 0:
        raise ImportError(
            f"op {name}: expected a ternary kernel of that name in ops.def, got none."
        )
    call = lib.cb_ternary

    def impl(x: Tensor, y: Tensor, z: Tensor) -> Any:
        return call(code, x._v, y._v, z._v)

    op = _elementwise_op(name, impl, partials, "ternary")
    op.samples, op.oracle = samples or {}, None
    return op


mul_conj = binary(
    "mul_conj",
    (
        chain(lambda t, _x, y, _out: times_slope(t, y), lambda t, _x, y, _out: mul_conj(t, y)),
        # antilinear: a cotangent comes back conjugated, a tangent goes on conjugated
        chain(lambda t, x, _y, _out: mul_conj(x, t)),
    ),
    """x * conj(y): a cotangent x through a factor y; 0 where x is 0, even if y is infinite.

    So `where(x > 0, sqrt(x), 0)` has gradient 0 at 0: the branch not taken sends back nothing.
    """,
    method=False,
    samples={"kinds": "int float complex"},
)


def result_type(*operands: Any) -> Any:
    """The dtype an expression of these tensors and numbers has.

    Example:
      >>> result_type(tensor([1]), 1.5)
      float32
    """
    tensors = [operand("result_type", x) for x in operands]
    # the value of a tracer may have a mapped dim that the tracer has not
    tensors = [t if t._v or t._shape else _bare(t) for t in tensors]
    code = lib.cb_result_type(len(tensors), [t._concrete for t in tensors])
    if code < 0:
        op_module.raise_error()
    return DTYPES[code]


__all__ = [
    "align",
    "as_in_lanes",
    "binary",
    "chain",
    "fronted",
    "number",
    "operand",
    "result_type",
    "sum_to",
    "ternary",
    "times_slope",
    "unary",
]
