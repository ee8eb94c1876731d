"""Sums of pieces that each fill a slice of zeros: where the slices make up the whole, a cat.

This is what the gradients of x.split() and x[:, :n], x[:, n:] are.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import NamedTuple

from ..op import TABLE
from .graph import Equation, Graph, Var
from .rewriting import applied, moved, rewritten

_MISSING = -(1 << 63)  # a bound that a slice leaves out


class _Piece(NamedTuple):
    dim: int
    start: int
    stop: int
    value: Var


def join_slices(graph: Graph) -> Graph:
    """Replaces sums of index_embed results that do not overlap and leave nothing out."""
    uses: dict[Var, int] = dict.fromkeys(graph.outputs, 2)
    for e in graph.equations:
        for x in e.inputs:
            uses[x] = uses.get(x, 0) + 1
    inner = set()  # additions that are part of a larger sum
    for e in graph.equations:
        if _is_addition(e):
            inner.update(x for x in e.inputs if uses[x] == 1)
    place: dict[Var, Var] = {}
    kept = []
    for e in graph.equations:
        e = moved(e, place)
        if _is_addition(e) and e.outputs[0] not in inner:
            joined = _joined(e, uses)
            if joined is not None:
                kept += joined
                place[e.outputs[0]] = joined[-1].outputs[0]
                continue
        kept.append(e)
    return rewritten(graph, place, kept)


def _is_addition(e: Equation) -> bool:
    y = e.outputs[0]
    return e.op.name == "add" and all(x.shape == y.shape and x.code == y.code for x in e.inputs)


def _joined(e: Equation, uses: dict[Var, int]) -> list[Equation] | None:
    """The equations to have instead of a sum, the last one giving its value."""
    pieces, rest = [], []
    stack = list(e.inputs)
    while stack:
        x = stack.pop()
        source = x.equation
        if source is not None and uses.get(x) == 1 and _is_addition(source):
            stack += source.inputs
            continue
        piece = _piece(source) if source is not None else None
        if piece is None:
            rest.append(x)
        else:
            pieces.append(piece)
    if len(pieces) < 2 or len(rest) > 1:
        return None
    dim = pieces[0].dim
    pieces.sort(key=lambda p: p.start)
    bounds = [0, *[p.stop for p in pieces]]
    if any(p.dim != dim for p in pieces) or [p.start for p in pieces] != bounds[:-1]:
        return None
    if bounds[-1] != e.outputs[0].shape[dim]:
        return None
    made = [applied(TABLE["cat"], [p.value for p in pieces], {"dim": dim}, e.site)]
    if rest:
        made.append(applied(e.op, [made[0].outputs[0], rest[0]], e.params, e.site))
    return made


def _piece(e: Equation) -> _Piece | None:
    """What an index_embed puts where, if it is a slice of one dimension."""
    if e.op.name != "index_embed":
        return None
    shape, spec, x = e.params["shape"], e.params["spec"], e.inputs[0]
    found = None
    for dim in range(len(spec) // 4):
        kind, start, stop, step = spec[4 * dim : 4 * dim + 4]
        if kind != 1 or step != 1 or len(x.shape) != len(shape):
            return None
        start, stop = 0 if start == _MISSING else start, shape[dim] if stop == _MISSING else stop
        if (start, stop) == (0, shape[dim]):
            continue
        if found is not None or not 0 <= start < stop <= shape[dim]:
            return None
        found = _Piece(dim, start, stop, x)
    return found
