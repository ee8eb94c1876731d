"""Rewrites of a graph that leave its meaning alone: each a function from equations to equations.

All keep the order of equations valid: what an equation reads is made before it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from math import isfinite
from typing import Any

from ..dtypes import DTYPES
from ..op import TABLE
from .constants import drop_unit_products, fold_constants, share_numbers
from .graph import Equation, Graph, Var, is_number
from .joins import join_slices
from .log import passed
from .rewriting import apart_from, moved, rewritten
from .slopes import share_slopes
from .sums import join_products

# ops whose result is their operand when shape and dtype are the same; `clone` and `contiguous` make
# other memory, which only the outside could notice
_IDENTITIES = {
    "to_dtype", "to_integer", "reshape", "view", "expand", "permute", "transpose", "squeeze",
    "alias", "detach", "contiguous", "clone", "to_device",
}  # fmt: skip
_COMMUTATIVE = {"add", "mul"}  # bitwise so
_MOVES = {"permute", "transpose"}  # the same shape does not make these an identity


def optimize(graph: Graph) -> Graph:
    """All passes, in the order in which they help each other."""
    for rewrite in PASSES:
        graph = passed(rewrite, graph)
    return graph


def plain_products(graph: Graph) -> Graph:
    """Products of derivatives by a number are plain ones for real numbers.

    Others are not: `mul_conj` is 0 where its first operand is, whatever the second one is.
    """
    mul = TABLE["mul"]
    kept = []
    for e in graph.equations:
        if (
            e.op.name == "mul_conj"
            and not DTYPES[e.outputs[0].code].is_complex
            and any(map(_is_factor, e.inputs))
        ):
            e = Equation(mul, e.inputs, e.params, e.outputs, e.site)
        kept.append(e)
    return rewritten(graph, {}, kept)


def _is_factor(v: Var) -> bool:
    """Is it a finite number other than 0?"""
    if v.value is None or v.value._v.numel != 1:
        return False
    number = v.value.item()
    return number != 0 and isfinite(number)


def simplify(graph: Graph) -> Graph:
    """Removes operations that change nothing: x * 1, --x, casts and reshapes to what x is."""
    place: dict[Var, Var] = {}
    kept = []
    # memory that the caller gets, or that an output is a view of, stays apart from its source
    apart = apart_from(graph)
    for e in graph.equations:
        e = moved(e, place)
        same = _unchanged(e)
        if same is not None and (e.outputs[0] not in apart or _is_fresh(same, apart)):
            place[e.outputs[0]] = same
            if e.outputs[0] in apart:
                apart.add(same)
            continue
        kept.append(e)
    return rewritten(graph, place, kept)


def _is_fresh(var: Var, apart: set[Var]) -> bool:
    """Is it memory of its own, made by the program and not yet given out?"""
    e = var.equation
    return var not in apart and e is not None and not e.op.view and e.op.name not in _IDENTITIES


def _unchanged(e: Equation) -> Var | None:
    """The operand that the result equals, if there is one."""
    name = e.op.name
    if name in ("mul", "div") and _like(e.inputs[0], e) and _is_number(e.inputs[1], 1):
        return e.inputs[0]
    if name == "mul" and _like(e.inputs[1], e) and _is_number(e.inputs[0], 1):
        return e.inputs[1]
    if name == "neg":
        inner = e.inputs[0].equation
        return inner.inputs[0] if inner is not None and inner.op is e.op else None
    if name in _IDENTITIES and _like(e.inputs[0], e):
        if name in _MOVES:
            dims = e.params.get("dims")
            return e.inputs[0] if dims is not None and list(dims) == sorted(dims) else None
        return e.inputs[0]
    return None


def _like(x: Var, e: Equation) -> bool:
    y = e.outputs[0]
    same = x.shape == y.shape and x.code == y.code and x.meta._v.device == y.meta._v.device
    return same and not x.meta._v.flags & 1


def _is_number(v: Var, wanted: float) -> bool:
    return v.value is not None and v.value._v.numel == 1 and v.value.item() == wanted


def merge_equal(graph: Graph) -> Graph:
    """Computes equal expressions once."""
    place: dict[Var, Var] = {}
    seen: dict[Any, Equation] = {}
    kept = []
    outputs = set(graph.outputs)
    for e in graph.equations:
        e = moved(e, place)
        key = None if e.op.random else _key(e)
        earlier = seen.get(key) if key is not None else None
        # results given to the outside must not share memory with each other
        if earlier is not None and not any(y in outputs for y in e.outputs):
            place.update(zip(e.outputs, earlier.outputs, strict=True))
            continue
        if key is not None:
            seen.setdefault(key, e)
        kept.append(e)
    return rewritten(graph, place, kept)


def _key(e: Equation) -> Any:
    inputs = tuple([_number_key(x) for x in e.inputs])
    if e.op.name in _COMMUTATIVE and len(inputs) == 2:
        inputs = tuple(sorted(inputs, key=hash))
    params = tuple([(k, type(v), v) for k, v in e.params.items()])
    key = (e.op, inputs, params)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _number_key(x: Var) -> Any:
    if is_number(x):
        number = x.value.item()  # type: ignore[union-attr]
        return (x.code, x.meta._v.flags & 1, repr(number))
    return x


def drop_unused(graph: Graph) -> Graph:
    """Removes what no output needs."""
    needed = set(graph.outputs)
    kept = []
    for e in reversed(graph.equations):
        if any(y in needed for y in e.outputs):
            needed.update(e.inputs)
            kept.append(e)
    return rewritten(graph, {}, kept[::-1])


PASSES = (
    fold_constants, share_slopes, plain_products, simplify, share_numbers, merge_equal,
    join_slices, drop_unit_products, join_products, drop_unused,
)  # fmt: skip
