"""Constants: equal numbers become one value, and what follows from constants is computed once.

Products with a unit matrix, which the basis of a Jacobian is, leave only the other operand: what
0 * inf would have made nan stays what it is.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..dtypes import DTYPES
from ..op import TABLE, concretely, wrap
from ..ops.creation import eye
from ..ops.family import number
from ..tensor import Tensor
from ..trace import Untraced
from .graph import Equation, Graph, Var, is_number
from .rewriting import apart_from, applied, moved, rewritten

EXACT = 1 << 24  # integers up to here are float32 numbers; 16-bit floats are computed in float32
# families of ops without effects, whose results follow from their operands
_PURE = {"unary", "binary", "ternary", "cast", "reduce", "matmul", "index", "join", "scan"}
MAX_ELEMENTS = 1 << 16  # of a folded result: programs keep it as long as they live


def share_numbers(graph: Graph) -> Graph:
    """Equal numbers are one value, which takes one operand of a sweep; 2 beside floats is 2.0."""
    graph = _with_floats(graph)
    place: dict[Var, Var] = {}
    seen: dict[Any, Var] = {}
    for v in graph.outside():
        if is_number(v):
            number = v.value.item()  # type: ignore[union-attr]
            place[v] = seen.setdefault((v.code, v.meta._v.flags & 1, repr(number)), v)
    place = {v: w for v, w in place.items() if v is not w}
    return rewritten(graph, place, [moved(e, place) for e in graph.equations])


def _with_floats(graph: Graph) -> Graph:
    """Python integers that are operands beside floating-point tensors as floats."""
    floats: dict[Var, Var] = {}
    kept = []
    for e in graph.equations:
        y = e.outputs[0]
        if (
            e.op.family in ("binary", "ternary")
            and DTYPES[y.code].is_floating_point
            and any(x.code == y.code and not x.meta._v.flags & 1 for x in e.inputs)
        ):
            e = moved(e, {x: floats.setdefault(x, _float(x)) for x in e.inputs if _is_integer(x)})
        kept.append(e)
    return rewritten(graph, {}, kept)


def _is_integer(x: Var) -> bool:
    if not is_number(x) or not x.meta._v.flags & 1:
        return False
    value = x.value.item()  # type: ignore[union-attr]
    return type(value) is int and abs(value) <= EXACT


def _float(x: Var) -> Var:
    value = number(float(x.value.item()))  # type: ignore[union-attr]
    return Var(wrap(lib.cb_as_meta(value._v)), value=value)


def fold_constants(graph: Graph) -> Graph:
    """Computes what depends on constants only, unless it is large or given to the outside."""
    outputs = set(graph.outputs)
    place: dict[Var, Var] = {}
    kept = []
    for e in graph.equations:
        e = moved(e, place)
        if not _is_constant(e) or any(y in outputs for y in e.outputs):
            kept.append(e)
            continue
        for y, value in zip(e.outputs, _evaluated(e), strict=True):
            place[y] = Var(y.meta, value=value)
    return rewritten(graph, place, kept)


def _is_constant(e: Equation) -> bool:
    # a view costs nothing, and a program for other sizes knows the constant it is a view of
    if not e.inputs or e.op.random or e.op.view or e.op.family not in _PURE:
        return False
    small = all(y.meta._v.numel <= MAX_ELEMENTS for y in e.outputs)
    return small and all(x.value is not None for x in e.inputs)


def _evaluated(e: Equation) -> tuple[Tensor, ...]:
    with Untraced(), concretely():  # kernels written in Python call public functions
        made = wrap(e.op.impl(*[x.value for x in e.inputs], **e.params))  # type: ignore[misc]
    return made if type(made) is tuple else (made,)


def drop_unit_products(graph: Graph) -> Graph:
    """A product with a unit matrix is the other operand, for columns of a batch its transpose."""
    apart = apart_from(graph)
    place: dict[Var, Var] = {}
    kept = []
    for e in graph.equations:
        e = moved(e, place)
        found = None if e.outputs and e.outputs[0] in apart else _other_factor(e)
        if found is None:
            kept.append(e)
            continue
        for op, params in found[1]:
            kept.append(applied(TABLE[op], found[0], params, e.site))
            found = (kept[-1].outputs[0], found[1])
        place[e.outputs[0]] = found[0]
    return rewritten(graph, place, kept)


def _other_factor(e: Equation) -> tuple[Var, list[tuple[str, dict[str, Any]]]] | None:
    """The operand that a product equals, and the views to take of it."""
    if e.op.name == "linear" and len(e.inputs) == 2 and _is_unit(e.inputs[0], 0):
        return e.inputs[1], [("transpose", {"a": 0, "b": 1})]
    if e.op.name != "matmul":
        return None
    x, y = e.inputs
    if _is_unit(x, 0) and len(y.shape) >= 2:
        return y, []
    if _is_unit(y, 0) and len(x.shape) >= 1:
        return x, []
    if len(x.shape) == 2 and _is_unit(y, 1):  # x times each column of the unit matrix
        return x, [("transpose", {"a": 0, "b": 1}), ("unsqueeze", {"dim": 2})]
    return None


def _is_unit(v: Var, ones: int) -> bool:
    """Is it a constant unit matrix, with so many dimensions of size 1 behind?"""
    if len(v.shape) != 2 + ones or v.shape[2:] != (1,) * ones:
        return False
    n = v.shape[0]
    if n != v.shape[1] or n == 0 or n * n > MAX_ELEMENTS:
        return False
    value = _seen_through_views(v)
    if value is None:
        return False
    matrix = value.reshape((n, n))
    return bool((matrix == eye(n, dtype=matrix.dtype)).all())


def _seen_through_views(v: Var) -> Tensor | None:
    """The value of a constant or of a view of one."""
    if v.value is not None or v.equation is None or not v.equation.op.view:
        return v.value
    source = _seen_through_views(v.equation.inputs[0])
    if source is None:
        return None
    e = v.equation
    return _evaluated(Equation(e.op, [Var(source, value=source)], e.params, (), e.site))[0]
