"""Constructors of elementwise ops.

One call makes the C binding, the fast path, all rules, the Tensor methods and the entry.

A derivative is given once an input, as `partials`: functions of the inputs and the output
(`lambda x, y, out: y`), the numbers 1 and -1, or `chain(...)` around a function that takes the
tangent first and applies the derivative to it itself, where one kernel does that. Both modes and
all orders follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import ffi, lib

from .. import op as op_module
from ..dtypes import DTYPES
from ..errors import DTypeError, message
from ..op import NotDifferentiable, Op, Spec, dispatch
from ..tape import Node
from ..tensor import Tensor
from ..trace import active, clock, next_sequence, state

_new = object.__new__
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
    s = ffi.new("cb_scalar *")
    if isinstance(value, bool):
        s.kind, s.i = ord("b"), value
    elif isinstance(value, int):
        if value in _INT64:
            s.kind, s.i = ord("i"), value
        elif 0 <= value < 1 << 64:
            s.kind, s.u = ord("u"), value
        else:
            raise OverflowError(
                message("tensor", "an integer of at most 64 bits", value, "Use a float.")
            )
    elif isinstance(value, float):
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
    if isinstance(value, (bool, int, float, complex)):
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


def _puller(partial: Any, i: int) -> Callable[[Any, Tensor], Tensor | None]:
    """`pull(node, ct)` for input i: the cotangent times the conjugate of its partial derivative."""
    if type(partial) is int:

        def pull(node: Any, ct: Tensor) -> Tensor | None:
            g = ct if partial == 1 else -ct
            return g if node.specs is None else sum_to(g, node.specs[i])

        return pull if partial else lambda _node, _ct: None
    apply, factor = (partial.function, None) if partial.__class__ is chain else (None, partial)

    def pull(node: Any, ct: Tensor) -> Tensor | None:
        out = node.out
        if out is not None and state.grad:
            out = node.saved_out()
        if apply is not None:
            g = apply(ct, *node.args, out)
        else:
            slope = factor(*node.args, out)  # type: ignore[misc]
            g = mul_conj(ct, slope) if slope.__class__ is Tensor else ct * slope
        return g if node.specs is None else sum_to(g, node.specs[i])

    return pull


def _pull_all(partials: Sequence[Any]) -> Callable[[Any, Tensor], Sequence[Tensor | None]]:
    """The reverse rule of an elementwise op, from its partial derivatives."""
    pullers = [_puller(partial, i) for i, partial in enumerate(partials)]
    if len(pullers) == 1:
        (only,) = pullers
        return lambda node, ct: (only(node, ct),)
    if len(pullers) == 2:
        first, second = pullers

        def pull_two(node: Any, ct: Tensor) -> Sequence[Tensor | None]:
            x, y = node.edges
            return None if x is None else first(node, ct), None if y is None else second(node, ct)

        return pull_two
    return lambda node, ct: [
        None if e is None else pull(node, ct) for e, pull in zip(node.edges, pullers, strict=True)
    ]


def _jvp(op: Op) -> Callable[..., Any]:
    def jvp(tangents: Sequence[Tensor | None], out: Tensor, *args: Tensor) -> Tensor:
        total = None
        for t, partial in zip(tangents, op.partials, strict=True):
            if t is not None and not (type(partial) is int and partial == 0):
                term = _pushed(t, partial, args, out)
                total = term if total is None else total + term
        if total is None:
            from .creation import zeros_like

            return zeros_like(out)
        if total._shape != out._shape:
            total = total.expand(out._shape)
        return total if total.dtype is out.dtype else total.to(out.dtype)

    return jvp


def _batch(op: Op, arity: int) -> Callable[..., Any]:
    def batch(_size: int, batched: Sequence[bool], *args: Tensor) -> Any:
        return op(*align(batched, args))

    def batch_one(_size: int, _batched: Sequence[bool], x: Tensor) -> Any:
        return op(x)

    return batch_one if arity == 1 else batch


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


# ---- recording on the imperative tape, without the detour over dispatch ----
_NOTHING = ((), (None,), (None, None))


def _recorded(op: Op, h: Any, x: Any, y: Any, mx: Any, my: Any, arity: int) -> Tensor:
    """The result of a kernel call on operands with memory, recorded if one of them requires grad.

    The same node as tape.record makes, with less said: what is not saved keeps the class's default,
    and a number stays a Python number.
    """
    t = _new(Tensor)
    t._v = h
    t._m = None
    if not (state.grad and op.differentiable):
        return t
    edge_x = mx if mx is not None and mx.requires_grad else None
    edge_y = my if my is not None and my.requires_grad else None
    which = (edge_x is not None) + 2 * (edge_y is not None)
    if not which:
        return t
    node = _new(Node)
    node.op = op
    node.seq = next_sequence()
    keep = op.keeps[which]
    if keep is None:
        keep = op.kept(arity, which)
    saves, keep_x, keep_y, keep_out = keep
    if arity == 1:
        node.edges = (edge_x,)
        if saves:
            node.clock = clock[0]
            node.args = (x if keep_x else None,)
        else:
            node.args = _NOTHING[1]
        if op.changes_dtype and h.flags & 8:
            node.specs = (Spec(x),)
    else:
        node.edges = (edge_x, edge_y)
        if saves:
            node.clock = clock[0]
            node.args = (x if keep_x else None, y if keep_y else None)
        else:
            node.args = _NOTHING[2]
        if h.flags & 8:
            node.specs = (None if edge_x is None else Spec(x), None if edge_y is None else Spec(y))
    if keep_out:
        node.out = t._alias()
    t._m = node
    return t


# ---- in-place forms ----


def assign(
    target: Tensor, op: Op, args: tuple[Tensor, ...], in_memory: Callable[[Any, int], int]
) -> Tensor:
    """target = op(*args), in place.

    In memory where nobody can notice, by rebinding where something records.
    """
    from ..mutation import rebind, writes_memory

    if writes_memory(op.name + "_", target, args):
        clock[0] += 1
        if in_memory(target._v, clock[0]):
            op_module.fail(op, args)
        return target
    rebind(op.name + "_", target, op(*args))
    return target


def given(out: Any, op: Op, args: tuple[Tensor, ...], into: Any, code: int) -> Tensor:
    """out = op(*args), for a caller's `out=`; without a copy where the kernel can write there.

    Apart from the functions that call it: a closure over their operands would slow every call.
    """
    from ..out import fit, store

    dtype = out.dtype if isinstance(out, Tensor) else None
    if dtype is None or not (
        op.differentiable and dtype.is_floating_point and all(a.dtype is dtype for a in args)
    ):
        return store(op.name, out, op(*args))
    from .views import broadcast_shapes

    fit(op.name, out, broadcast_shapes(*[a._shape for a in args]))
    return assign(out, op, args, lambda to, now: into(code, *[a._v for a in args], to, now))


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

    def function(x: Any, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return given(out, op, (operand(name, x),), into, code)
        if not active or state.trace is None:
            try:
                m = x._m
            except AttributeError:
                return dispatch(op, (operand(name, x),), {})
            if m is None:
                h = call(code, x._v)
                if h:
                    t = _new(Tensor)
                    t._v = h
                    t._m = None
                    return t
            elif m.trace is None and not m.is_view:
                h = call(code, x._v)
                if h:
                    return _recorded(op, h, x, None, m, None, 1)
        elif state.trace.one is not None and x.__class__ is Tensor:
            t = state.trace.one(op, function, x)
            if t is not None:
                return t
        return dispatch(op, (operand(name, x),), {})

    _finish(function, op, doc, method)
    if method and inplace:

        def in_place(x: Tensor) -> Tensor:
            return assign(x, op, (x,), lambda out, now: into(code, x._v, out, now))

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
    samples: dict[str, Any] | None = None,
    oracle: str | None = None,
) -> Callable[..., Tensor]:
    """An op of two operands that broadcast, with the C kernel of the same name.

    Numbers may stand for either.

    Args:
      partials: the derivatives by x and by y (see the top of this file), or NONDIFF(reason).
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

    def function(x: Any, y: Any, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return given(out, op, (operand(name, x), operand(name, y)), into, code)
        if not active or state.trace is None:
            try:
                m = x._m
            except AttributeError:
                return dispatch(op, (operand(name, x), operand(name, y)), {})
            if m is None or (m.trace is None and not m.is_view):
                kind = type(y)
                n = None
                if kind is Tensor:
                    n = y._m
                    h = (
                        call(code, x._v, y._v)
                        if n is None or (n.trace is None and not n.is_view)
                        else None
                    )
                elif kind is float:
                    h = call_float(code, x._v, y, 0)
                elif kind is int and -9223372036854775808 <= y <= 9223372036854775807:
                    h = call_int(code, x._v, y, 0)
                elif isinstance(y, Tensor) and (
                    (n := y._m) is None or (n.trace is None and not n.is_view)
                ):
                    h = call(code, x._v, y._v)
                else:
                    h = None
                if h:
                    if m is not None or n is not None:
                        return _recorded(op, h, x, y, m, n, 2)
                    t = _new(Tensor)
                    t._v = h
                    t._m = None
                    return t
        elif state.trace.two is not None and x.__class__ is Tensor:
            t = state.trace.two(op, function, x, y)
            if t is not None:
                return t
        if (
            dunder
            and not hasattr(y, "__array__")
            and hasattr(type(y), f"__r{dunder}__")
            and not isinstance(y, (bool, int, float, complex))
        ):
            other = getattr(y, f"__r{dunder}__")(x)  # it may know what we do not
            if other is not NotImplemented:
                return other
        return dispatch(op, (operand(name, x), operand(name, y)), {})

    def reflected(x: Tensor, y: Any) -> Any:
        if not isinstance(y, (bool, int, float, complex)) and not hasattr(y, "__array__"):
            return NotImplemented
        m = x._m
        if (not active or state.trace is None) and (
            m is None or (m.trace is None and not m.is_view)
        ):
            kind = type(y)
            h = call_float(code, x._v, y, 1) if kind is float else None
            if kind is int and -9223372036854775808 <= y <= 9223372036854775807:  # type: ignore[operator]
                h = call_int(code, x._v, y, 1)
            if h:
                if m is not None:
                    return _recorded(op, h, y, x, None, m, 2)
                t = _new(Tensor)
                t._v = h
                t._m = None
                return t
        return dispatch(op, (operand(name, y), x), {})

    _finish(function, op, doc, method)
    if method and inplace:

        def in_place(x: Tensor, y: Any) -> Tensor:
            other = operand(name, y)
            return assign(x, op, (x, other), lambda out, now: into(code, x._v, other._v, out, now))

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


def _mul_conj_vjp(ct: Tensor, _out: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return sum_to(times_slope(ct, y), Spec(x)), sum_to(mul_conj(x, ct), Spec(y))


_code_mul_conj = lib.cb_op_code(b"binary", b"mul_conj")
_mul_conj = Op(
    "mul_conj",
    lambda x, y: lib.cb_binary(_code_mul_conj, x._v, y._v),
    vjp=_mul_conj_vjp,
    jvp=lambda tangents, _out, x, y: _terms(
        None if tangents[0] is None else mul_conj(tangents[0], y),
        None if tangents[1] is None else mul_conj(x, tangents[1]),
    ),
    batch=lambda _size, batched, x, y: mul_conj(*align(batched, (x, y))),
    family="binary",
)
_mul_conj.samples, _mul_conj.oracle = {"kinds": "int float complex"}, None


def _terms(a: Tensor | None, b: Tensor | None) -> Any:
    return b if a is None else a if b is None else a + b


def mul_conj(x: Tensor, y: Tensor) -> Tensor:
    """x * conj(y): a cotangent x through a factor y; 0 where x is 0, even if y is infinite.

    So `where(x > 0, sqrt(x), 0)` has gradient 0 at 0: the branch not taken sends back nothing.
    """
    if (not active or state.trace is None) and x._m is None and y._m is None:
        h = lib.cb_binary(_code_mul_conj, x._v, y._v)
        if h:
            t = _new(Tensor)
            t._v = h
            t._m = None
            return t
    return dispatch(_mul_conj, (x, y), {})


def result_type(*operands: Any) -> Any:
    """The dtype an expression of these tensors and numbers has.

    Example:
      >>> result_type(tensor([1]), 1.5)
      float32
    """
    tensors = [operand("result_type", x) for x in operands]
    code = lib.cb_result_type(len(tensors), [t._concrete for t in tensors])
    if code < 0:
        op_module.raise_error()
    return DTYPES[code]


__all__ = [
    "align",
    "binary",
    "chain",
    "number",
    "operand",
    "result_type",
    "sum_to",
    "ternary",
    "times_slope",
    "unary",
]
