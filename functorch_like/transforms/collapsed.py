"""Collapsed Taylor mode: derivatives along many directions, and the sum of the second ones.

A value carries its primal, the derivatives along all R directions as one tensor [R, *shape], and
the sum over the directions of its second derivatives. Only what is nonlinear mixes them, so the
R second derivatives are never formed: that is what makes a Laplacian cheap.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..op import Op, dispatch
from ..ops.creation import zeros_like
from ..tensor import Tensor, ones_of, traced
from ..trace import Outside, PrimalValue, Trace, next_sequence
from .arguments import results_of, settled, tensors_of
from .jet import plus
from .products import jvp
from .vmap import vmap

# linear in all operands that can have a derivative
_LINEAR = {
    "to_dtype", "clone", "contiguous", "to_device", "add", "sub", "neg", "permute", "transpose",
    "reshape", "view", "expand", "unsqueeze", "squeeze", "alias", "diagonal", "diagonal_embed",
    "view_as_real", "view_as_complex", "conj_physical", "getitem", "index_embed", "index_write",
    "index", "index_put", "gather", "scatter_add", "scatter", "index_select", "index_add", "cat",
    "stack", "flip", "roll", "repeat", "tri", "constant_pad", "edge_pad", "edge_pad_grad", "sum",
    "mean", "cumsum", "where", "resample",
    "amax", "amin", "max_dim", "min_dim", "max_pool", "avg_pool", "sort", "sort_values", "topk",
    "relu", "maximum", "minimum", "clamp", "hardtanh", "abs",
}  # fmt: skip
_BILINEAR = {"mul", "matmul", "convolution", "div"}  # div by a constant


class CollapsedValue(PrimalValue):
    """Primal, first derivatives [R, *shape] and the sum of second ones (None: zero)."""

    def __init__(self, trace: CollapsedTrace, primal: Tensor, first: Tensor, second: Any):
        self.trace, self.primal, self.first, self.second = trace, primal, first, second
        self.seq = next_sequence()


class CollapsedTrace(Trace):
    """Carries first derivatives along R directions and the sum of the second ones."""

    name = "laplacian"
    knows_primals = True
    basis: Tensor | None = None  # the directions, where they are the unit vectors of a vector

    def leaf(self, primal: Tensor, first: Tensor, second: Any) -> Tensor:
        """A tracer."""
        return traced(CollapsedValue(self, primal, first, second))

    def unpack(self, x: Tensor) -> CollapsedValue | None:
        """This trace's value behind a tensor; None for a constant."""
        m = x._current()
        if m is None or m.trace is not self:
            return None
        value: Any = m.tracer or m
        return value

    def read(self, t: Tensor, how: str) -> Any:
        value = self.unpack(t)
        with Outside(self):
            primal = t if value is None else value.primal
            return bool(primal) if how == "bool" else primal.item()

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        values = [self.unpack(a) for a in args]
        primals = tuple([a if v is None else v.primal for a, v in zip(args, values, strict=True)])
        if not op.differentiable or all(v is None for v in values):
            with Outside(self):
                return dispatch(op, primals, params)
        if op.jvp is None:
            return op.decompose(*args, **params)  # type: ignore[misc]
        if op.name == "div" and values[1] is not None:
            return args[0] * args[1].reciprocal()
        with Outside(self):
            out = dispatch(op, primals, params)
            if len(op.partials) == 1 and op.name not in _LINEAR and not out.dtype.is_complex:
                value = values[0]
                assert value is not None
                return self.leaf(out, *_elementwise(op, value))
            outs = out if type(out) is tuple else (out,)
            firsts = self._first(op, outs, primals, values, params)
            seconds = self._second(op, outs, primals, values, params)
        results = tuple(
            [
                y if f is None else self.leaf(y, f, s)
                for y, f, s in zip(outs, firsts, seconds, strict=True)
            ]
        )
        return results if type(out) is tuple else results[0]

    def _first(
        self, op: Op, outs: Any, primals: Any, values: list[CollapsedValue | None], params: Any
    ) -> list[Tensor | None]:
        moving = [i for i, v in enumerate(values) if v is not None]
        if (
            op.name == "matmul"
            and moving == [0]
            and values[0].first is self.basis  # type: ignore[union-attr]
            and primals[1].ndim <= 2
        ):
            return [primals[1]]  # the unit vectors times a matrix

        def along(*tangents: Tensor) -> Any:
            given: list[Any] = [None] * len(primals)
            for i, t in zip(moving, tangents, strict=True):
                given[i] = t
            pushed = op.jvp(given, _single(outs), *primals, **params)  # type: ignore[misc]
            many = pushed if type(pushed) is tuple else (pushed,)
            return tuple([zeros_like(y) if t is None else t for y, t in zip(outs, many)])  # noqa: B905

        pushed = vmap(along)(*[values[i].first for i in moving])  # type: ignore[union-attr]
        return [t if y.dtype.is_inexact else None for y, t in zip(outs, pushed, strict=True)]

    def _second(
        self, op: Op, outs: Any, primals: Any, values: list[CollapsedValue | None], params: Any
    ) -> list[Any]:
        """The forward rule on the sums, plus what the op's own second derivatives contribute."""
        sums = [None if v is None else v.second for v in values]
        totals: list[Any] = [None] * len(outs)
        if any(s is not None for s in sums):
            pushed = op.jvp(sums, _single(outs), *primals, **params)  # type: ignore[misc]
            totals = list(pushed if type(pushed) is tuple else (pushed,))
        moving = [(i, v) for i, v in enumerate(values) if v is not None]
        if op.name in _LINEAR or (op.name in _BILINEAR and len(moving) == 1):
            return totals
        if op.name in _BILINEAR:
            a, b = (v.first for _, v in moving)
            products = a * b if op.name == "mul" and a.ndim == b.ndim else None
            if products is None:
                products = vmap(lambda a, b: dispatch(op, (a, b), params))(a, b)
            return [plus(totals[0], 2 * products.sum(0))]
        chosen = tuple([primals[i] for i, _ in moving])

        def of_moving(*xs: Tensor) -> Any:
            full = list(primals)
            for (i, _), x in zip(moving, xs, strict=True):
                full[i] = x
            out = dispatch(op, tuple(full), params)
            many = out if type(out) is tuple else (out,)
            return tuple([y for y in many if y.dtype.is_inexact])

        def curvature(*ts: Tensor) -> Any:
            return jvp(lambda *xs: jvp(of_moving, xs, ts)[1], chosen, ts)[1]

        curved = iter(vmap(curvature)(*[v.first for _, v in moving]))
        return [
            plus(total, next(curved).sum(0)) if y.dtype.is_inexact else None
            for y, total in zip(outs, totals, strict=True)
        ]


def _elementwise(op: Op, value: CollapsedValue) -> tuple[Tensor, Any]:
    """f' T, and f' s + f'' sum of T^2."""
    (partial,) = op.partials
    x = value.primal

    def slope_at(x: Tensor) -> Tensor:
        out = dispatch(op, (x,), {})
        if getattr(partial, "chained", False):
            return partial.forward(ones_of(x), x, out)
        slope = partial if isinstance(partial, int) else partial(x, out)
        return slope if isinstance(slope, Tensor) else ones_of(x) * slope

    slope, curvature = jvp(slope_at, (x,), (ones_of(x),))
    first = value.first
    second = curvature * (first * first).sum(0)
    return slope * first, plus(None if value.second is None else slope * value.second, second)


def _single(outs: tuple[Any, ...]) -> Any:
    return outs[0] if len(outs) == 1 else outs


def second_derivatives(
    function: Callable[[Tensor], Any], x: Tensor, directions: Tensor, units: bool = False
) -> tuple[Any, Any, Any]:
    """Value, first derivatives along the directions [R, ...], and the sum of the second ones.

    Args:
      directions [R, *x.shape]
      units: are they the unit vectors, in order?
    Raises:
      TypeError: the function returns something else than tensors.
    """
    tensors_of("laplacian", [x])
    with CollapsedTrace() as trace:
        if units and x.ndim == 1:
            trace.basis = directions
        out = function(trace.leaf(x, directions, None))
        settled(out)
        leaves, definition = results_of("laplacian", out)
        values = [trace.unpack(y) for y in leaves]
    count = directions._shape[0]

    def rebuilt(parts: Sequence[Any]) -> Any:
        return tree.unflatten(definition, list(parts))

    primals = [y if v is None else v.primal for y, v in zip(leaves, values, strict=True)]
    firsts = [
        zeros_like(p).unsqueeze(0).expand((count, *p._shape)) if v is None else v.first
        for p, v in zip(primals, values, strict=True)
    ]
    seconds = [
        zeros_like(p) if v is None or v.second is None else v.second
        for p, v in zip(primals, values, strict=True)
    ]
    return rebuilt(primals), rebuilt(firsts), rebuilt(seconds)


__all__ = ["second_derivatives"]
