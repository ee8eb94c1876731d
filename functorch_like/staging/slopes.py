"""Slopes that cost much more than the product with them are computed once.

`sin_grad(t, x)` is t times the cosine of x. Derivatives of higher order multiply by the same cosine
several times, Jacobians multiply it by a whole basis, and the function itself has the sine that
`cos_grad` needs.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections import Counter

from cbackend import lib

from ..dtypes import DTYPES, float32, float64
from ..op import TABLE, Op, wrap
from ..ops.family import number
from .graph import Equation, Graph, Var, is_number
from .rewriting import applied, rewritten

# the function whose values are slopes; None: the op itself, at a tangent of 1
_SLOPES = {"sin_grad": "cos", "cos_grad": "sin", "gelu_grad": None, "gelu_tanh_grad": None,
           "silu_grad": None}  # fmt: skip
_DTYPES = (float32, float64)  # others would be rounded twice
_Slope = tuple[Op, Var]


def share_slopes(graph: Graph) -> Graph:
    """Products with one slope share it, if there are several or one that repeats it."""
    uses = Counter([s for s in map(_slope, graph.equations) if s is not None])
    made: dict[_Slope, Var] = {}
    kept: list[Equation] = []
    for e in graph.equations:
        slope = _slope(e)
        if slope is None:
            kept.append(e)
        elif len(e.inputs) == 1:
            made.setdefault(slope, e.outputs[0])
            kept.append(e)
        elif uses[slope] > 1 or e.outputs[0].meta._v.numel > slope[1].meta._v.numel:
            if slope not in made:
                kept.append(_computed(slope, e))
                made[slope] = kept[-1].outputs[0]
            kept += _product(e, made[slope])
        else:
            kept.append(e)
    return rewritten(graph, {}, kept)


def _slope(e: Equation) -> _Slope | None:
    """The slope that an equation multiplies by, or computes."""
    name = e.op.name
    if name in ("sin", "cos"):
        return e.op, e.inputs[0]
    if name not in _SLOPES:
        return None
    x = e.inputs[1]
    if is_number(x) or x.code != e.outputs[0].code or DTYPES[x.code] not in _DTYPES:
        return None
    return TABLE[_SLOPES[name] or name], x


def _computed(slope: _Slope, e: Equation) -> Equation:
    op, x = slope
    if op is not e.op:
        return applied(op, x, {}, e.site)
    one = number(1.0)
    return applied(op, [Var(wrap(lib.cb_as_meta(one._v)), value=one), x], {}, e.site)


def _product(e: Equation, slope: Var) -> list[Equation]:
    """The equations that take the place of e."""
    t = e.inputs[0]
    if _SLOPES[e.op.name] is None:
        return [Equation(TABLE["mul"], [t, slope], e.params, e.outputs, e.site)]
    before = []
    if e.op.name == "cos_grad":
        before = [applied(TABLE["neg"], t, {}, e.site)]
        t = before[0].outputs[0]
    # which is 0 where t is
    return [*before, Equation(TABLE["mul_conj"], [t, slope], e.params, e.outputs, e.site)]
