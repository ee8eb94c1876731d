"""Taylor mode: higher derivatives along a curve in one pass.

A value is the truncated Taylor series of t -> x(t). Any operation with a forward rule works: the
rule gives the series of y'(t) from those of x'(t) and x(t), one order shorter, and y follows by
integration. Where a recurrence is cheaper than that recursion, it stands in RECURRENCES.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import factorial, isfinite
from typing import Any

from cbackend import lib

from .. import tree
from ..errors import message
from ..op import Op, dispatch
from ..ops.creation import zeros_like
from ..tensor import Tensor, ones_of, traced, wrap
from ..trace import Outside, Trace, TracerValue, Untraced, next_sequence, state
from .arguments import matching, results_of, settled, tensors_of
from .jvp_trace import JvpTrace
from .vjp_trace import VjpTrace
from .vmap_trace import VmapTrace

Series = list[Any]  # Taylor coefficients from order 0 on; None for zero, except at order 0


class JetValue(TracerValue):
    """A truncated series; its tensors belong to the parent context."""

    def __init__(self, trace: JetTrace, series: Series):
        self.trace, self.series = trace, series
        self.seq = next_sequence()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.series[0]._shape

    def inner(self) -> Tensor:
        return self.series[0]


class NeedsNesting(BaseException):
    """A derivative by Taylor mode met what only nested transforms know the meaning of."""


class JetTrace(Trace):
    """Carries Taylor series through operations."""

    name = "jet"
    knows_primals = True

    def leaf(self, series: Series) -> Tensor:
        """A tracer for a series."""
        return traced(JetValue(self, series))

    def unpack(self, x: Tensor) -> Series | None:
        """The series behind x; None for a constant."""
        m = x._current()
        if m is None or m.trace is not self:
            return None
        value: Any = m.tracer or m
        return value.series

    def read(self, t: Tensor, how: str) -> Any:
        series = self.unpack(t)
        with Outside(self):
            primal = t if series is None else series[0]
            return bool(primal) if how == "bool" else primal.item()

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        rows = [self.unpack(a) for a in args]
        primals = tuple([a if r is None else r[0] for a, r in zip(args, rows, strict=True)])
        moving = [r for r in rows if r is not None and any(c is not None for c in r[1:])]
        if not op.differentiable or not moving:
            with Outside(self):
                return dispatch(op, primals, params)
        order = min([len(r) for r in rows if r is not None]) - 1
        recurrence = RECURRENCES.get(op.name)
        if recurrence is not None:
            given = [
                [a, *[None] * order] if r is None else r[: order + 1]
                for a, r in zip(args, rows, strict=True)
            ]
            with Outside(self):
                return self.leaf(recurrence(op, params, order, *given))
        if op.jvp is None:
            return op.decompose(*args, **params)  # type: ignore[misc]
        outs = self._by_forward_rule(op, args, rows, primals, params, order)
        return outs if op.nouts > 1 else outs[0]

    def _by_forward_rule(
        self,
        op: Op,
        args: tuple[Tensor, ...],
        rows: list[Series | None],
        primals: tuple[Tensor, ...],
        params: dict[str, Any],
        order: int,
    ) -> tuple[Tensor, ...]:
        """y = y(0) + the integral of y', which the rule gives from series one order shorter."""
        shorter = tuple(
            [a if r is None else self._short(r[:order]) for a, r in zip(args, rows, strict=True)]
        )
        with Outside(self):
            slopes = [None if r is None else _slope(r[: order + 1]) for r in rows]
            first: Any = dispatch(op, primals, params) if order == 1 or not _uses_out(op) else None
        tangents = [None if s is None else self._short(s) for s in slopes]
        if first is None:
            out: Any = dispatch(op, shorter, params)
            flat: Any = out if type(out) is tuple else (out,)
            first = tuple([y if (r := self.unpack(y)) is None else r[0] for y in flat])
        else:
            out = first
        pushed = op.jvp(tangents, out, *shorter, **params)  # type: ignore[misc]
        firsts = first if type(first) is tuple else (first,)
        many = pushed if type(pushed) is tuple else (pushed,)
        results = []
        for y, t in zip(firsts, many, strict=True):
            if t is None or not y.dtype.is_inexact:
                results.append(y)
                continue
            row = self.unpack(t)
            row = [t, *[None] * (order - 1)] if row is None else row
            row += [None] * (order - len(row))
            with Outside(self):
                series = [y, *[_scaled(c, 1 / (k + 1)) for k, c in enumerate(row[:order])]]
            results.append(self.leaf(series))
        return tuple(results)

    def _short(self, series: Series) -> Tensor:
        """A tracer, or the tensor itself where nothing of the series is left."""
        if all(c is None for c in series[1:]) and len(series) > 1:
            return series[0]
        return series[0] if len(series) == 1 else self.leaf(series)


def _uses_out(op: Op) -> bool:
    """Does the forward rule look at the result?"""
    if op.partials:
        rules = [p for p in op.partials if callable(p)]
        return any(not p.__code__.co_varnames[_out_index(p, op)].startswith("_") for p in rules)
    code = op.jvp.__code__  # type: ignore[union-attr]
    return not code.co_varnames[1].startswith("_")


def _out_index(partial: Any, op: Op) -> int:
    return len(op.partials) + (1 if getattr(partial, "chained", False) else 0)


def _slope(series: Series) -> Series | None:
    """The series of the derivative."""
    row = [_scaled(c, k) for k, c in enumerate(series)][1:]
    if all(c is None for c in row):
        return None
    if row[0] is None:
        row[0] = zeros_like(series[0])
    return row


def _scaled(c: Any, factor: float) -> Any:
    return c if c is None or factor == 1 else c * factor


def plus(a: Any, b: Any) -> Any:
    """a + b, where None is zero."""
    return b if a is None else a if b is None else a + b


# ---- recurrences for Taylor coefficients ----


def _product(times: Callable[[Any, Any], Any], a: Series, b: Series, k: int) -> Any:
    """Order k of the Cauchy product."""
    total = None
    for j in range(k + 1):
        if a[j] is not None and b[k - j] is not None:
            total = plus(total, times(a[j], b[k - j]))
    return total


def _weighted(a: Series, b: Series, k: int, first: int = 1) -> Any:
    """sum over j from `first` to k of j a_j b_{k-j}, divided by k."""
    total = None
    for j in range(first, k + 1):
        if a[j] is not None and b[k - j] is not None:
            total = plus(total, _scaled(a[j], j) * b[k - j])
    return _scaled(total, 1 / k)


def _bilinear(op: Op, params: dict[str, Any], order: int, a: Series, b: Series) -> Series:
    def times(x: Any, y: Any) -> Any:
        return dispatch(op, (x, y), params)

    row = [_product(times, a, b, k) for k in range(order + 1)]
    return _of_one_shape(row)


def _mul(_op: Op, _params: dict[str, Any], order: int, a: Series, b: Series) -> Series:
    return _of_one_shape([_product(operator.mul, a, b, k) for k in range(order + 1)])


def _linear(op: Op, params: dict[str, Any], order: int, a: Series, b: Series) -> Series:
    """add and sub."""
    sign = 1 if op.name == "add" else -1
    row = [dispatch(op, (a[0], b[0]), params)]
    for k in range(1, order + 1):
        row.append(plus(a[k], _scaled(b[k], sign)))
    return _of_one_shape(row)


def _of_one_shape(row: Series) -> Series:
    """Coefficients that did not meet the other operand, broadcast; and of the result's dtype."""
    y = row[0]
    fitted = [y]
    for c in row[1:]:
        if c is not None:
            c = c if c._shape == y._shape else c.expand(y._shape)
            c = c if c.dtype is y.dtype else c.to(y.dtype)
        fitted.append(c)
    return fitted


def _squared(x: Series, k: int) -> Any:
    """Order k of the square."""
    total = None
    for j in range((k + 1) // 2):
        if x[j] is not None and x[k - j] is not None:
            total = plus(total, x[j] * x[k - j])
    total = _scaled(total, 2)
    middle = x[k // 2] if k % 2 == 0 else None
    return total if middle is None else plus(total, middle * middle)


def _square(_op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
    return [_squared(x, k) for k in range(order + 1)]


def _div(_op: Op, _params: dict[str, Any], order: int, a: Series, b: Series) -> Series:
    row: Series = [a[0] / b[0]]
    for k in range(1, order + 1):
        total = a[k]
        for j in range(1, k + 1):
            if b[j] is not None and row[k - j] is not None:
                term = b[j] * row[k - j]
                total = -term if total is None else total - term
        row.append(None if total is None else total / b[0])
    return _of_one_shape(row)


def _exp(op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
    row: Series = [dispatch(op, (x[0],), {})]
    for k in range(1, order + 1):
        row.append(_weighted(x, row, k))
    return row


def _log(op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
    row: Series = [dispatch(op, (x[0],), {})]
    for k in range(1, order + 1):
        total = x[k]
        lower = _weighted([*row, None], x, k)
        if lower is not None:
            total = -lower if total is None else total - lower
        row.append(None if total is None else total / x[0])
    return row


def _sine(op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
    sine: Series = [x[0].sin()]
    cosine: Series = [x[0].cos()]
    for k in range(1, order + 1):
        up, down = _weighted(x, cosine, k), _weighted(x, sine, k)
        sine.append(up)
        cosine.append(None if down is None else -down)
    return sine if op.name == "sin" else cosine


def _self_slope(slope: Callable[[Series, int], Any]) -> Callable[..., Series]:
    """The recurrence of y' = s(y) x', from the coefficients of s(y)."""

    def recurrence(op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
        row: Series = [dispatch(op, (x[0],), {})]
        slopes: Series = []
        for k in range(1, order + 1):
            slopes.append(slope(row, k - 1))
            row.append(_weighted(x, slopes, k))
        return row

    return recurrence


def _tanh_slope(y: Series, k: int) -> Any:
    square = _squared(y, k)
    if k == 0:
        return 1 - square
    return None if square is None else -square


def _sigmoid_slope(y: Series, k: int) -> Any:
    square = _squared(y, k)
    return plus(y[k], None if square is None else -square)


def _sqrt(op: Op, _params: dict[str, Any], order: int, x: Series) -> Series:
    row: Series = [dispatch(op, (x[0],), {})]
    for k in range(1, order + 1):
        total = x[k]
        for j in range(1, k):
            if row[j] is not None and row[k - j] is not None:
                term = row[j] * row[k - j]
                total = -term if total is None else total - term
        row.append(None if total is None else total / (2 * row[0]))
    return row


RECURRENCES: dict[str, Callable[..., Series]] = {
    "mul": _mul,
    "matmul": _bilinear,
    "convolution": _bilinear,
    "add": _linear,
    "sub": _linear,
    "square": _square,
    "div": _div,
    "exp": _exp,
    "log": _log,
    "sin": _sine,
    "cos": _sine,
    "tanh": _self_slope(_tanh_slope),
    "sigmoid": _self_slope(_sigmoid_slope),
    "sqrt": _sqrt,
}


# ---- nested derivatives in one pass ----

_WIDE = (lib.CB_F32, lib.CB_F64)  # where 1 / n! does not get lost

# linear, and with one meaning in forward and reverse mode
_PLAIN = {
    "sum", "mean", "matmul", "convolution", "linear", "reshape", "view", "expand", "unsqueeze",
    "squeeze", "permute", "transpose", "clone", "contiguous", "alias", "getitem", "cat", "stack",
    "flip", "roll", "repeat", "diagonal", "index_select", "gather", "cumsum", "index_write",
}  # fmt: skip


class DerivativeTrace(JetTrace):
    """Taylor mode in the place of nested grads: whatever might differ from them is refused."""

    name = "grad"

    def meet_custom(self) -> None:
        raise NeedsNesting

    def heeds_no_grad(self) -> bool:
        raise NeedsNesting

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        if op.random or not (
            op.partials
            or not op.differentiable
            or op.name in _PLAIN
            or all(self.unpack(a) is None for a in args)
        ):
            raise NeedsNesting
        out = super().process(op, args, params)
        for y in out if type(out) is tuple else (out,):
            if y._concrete.dtype >= lib.CB_C64:
                raise NeedsNesting
        return out


def nth_derivative(
    function: Callable[..., Any], order: int, at: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor | None:
    """What `order` nested grads of a function by its 0-d argument number `at` give, in one pass.

    None where that is not sure to be the same: outside of what DerivativeTrace knows, and where
    the result is not finite, since 0 times infinity is 0 in a backward pass.

    Raises:
      NeedsNesting: the function does something that this cannot follow.
    """
    x = args[at]
    trace = state.trace
    while trace is not None:  # recorders would see both attempts
        if not isinstance(trace, (VjpTrace, JvpTrace, VmapTrace, JetTrace)):
            return None
        trace = trace.parent
    if x._concrete.dtype not in _WIDE or x._place & 255 == lib.CB_META:
        return None
    with DerivativeTrace() as trace:
        tracer = trace.leaf([x, ones_of(x), *[None] * (order - 1)])
        out = function(*args[:at], tracer, *args[at + 1 :], **kwargs)
        if not isinstance(out, Tensor) or out._shape or not out.dtype.is_floating_point:
            raise NeedsNesting  # which explains what is wrong
        row = trace.unpack(out)
    term = None if row is None or len(row) <= order else row[order]
    if term is None:
        return zeros_like(x)
    if not _all_finite(term):
        return None
    term = _scaled(term, factorial(order))
    return term if term.dtype is x.dtype else term.to(x.dtype)


def _all_finite(x: Tensor) -> bool:
    """Are all numbers behind a tensor finite, those of all lanes?"""
    with Untraced():
        plain = wrap(lib.cb_retain(x._concrete))
        return isfinite(plain.item() if plain.numel() == 1 else (plain * 0).sum().item())


def jet(
    function: Callable[..., Any], primals: Sequence[Any], series: Sequence[Sequence[Any]]
) -> tuple[Any, list[Any]]:
    """The function's value along a curve, and the value's derivatives of higher order.

    Args:
      primals: the arguments, a tuple of pytrees.
      series: for each primal the derivatives of its curve, [first, second, ...], each of the
        primal's structure; all of one length.
    Returns:
      (output, [first, second, ...] derivatives of the output), each of the output's structure.
    Raises:
      ValueError: series of different lengths, or not one for each primal.
    Reference: Bettencourt et al. 2019, Taylor-Mode Automatic Differentiation in JAX.
    Example:
      >>> jet(lambda x: x**3, (tensor(2.0),), ([tensor(1.0), tensor(0.0), tensor(0.0)],))
      (tensor(8.), [tensor(12.), tensor(12.), tensor(6.)])
    """
    if len(primals) != len(series):
        raise ValueError(message("jet", f"one series a primal ({len(primals)})", len(series)))
    lengths = {len(s) for s in series}
    if len(lengths) != 1:
        raise ValueError(message("jet", "series of one length", sorted(lengths)))
    order = lengths.pop()
    flat, definition = tree.flatten(tuple(primals))
    xs = tensors_of("jet", flat)
    columns = []
    for k in range(order):
        terms = tuple([s[k] for s in series])
        given = tree.leaves_as(definition, terms, "jet", "terms of the primals' structure")
        columns.append(
            [
                _scaled(matching("jet", "term", t, x), 1 / factorial(k + 1))
                for t, x in zip(given, xs, strict=True)
            ]
        )
    with JetTrace() as trace:
        inputs = [trace.leaf([x, *[column[i] for column in columns]]) for i, x in enumerate(xs)]
        out = function(*tree.unflatten(definition, inputs))
        settled(out)
        leaves, out_definition = results_of("jet", out)
        rows = [trace.unpack(y) or [y] for y in leaves]
    rows = [row + [None] * (order + 1 - len(row)) for row in rows]
    terms = [
        tree.unflatten(
            out_definition,
            [
                zeros_like(row[0]) if row[k] is None else _scaled(row[k], factorial(k))
                for row in rows
            ],
        )
        for k in range(1, order + 1)
    ]
    return tree.unflatten(out_definition, [row[0] for row in rows]), terms


__all__ = ["jet"]
