"""What the passes over a graph share."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from cbackend import lib, raise_error

from ..op import Op, wrap
from ..trace import Untraced
from .graph import Equation, Graph, Var


def rewritten(graph: Graph, place: dict[Var, Var], equations: list[Equation]) -> Graph:
    """The graph with other equations, and other values for its outputs."""
    return Graph(graph.inputs, equations, [place.get(v, v) for v in graph.outputs])


def moved(e: Equation, place: dict[Var, Var]) -> Equation:
    """The equation with its inputs replaced."""
    if not any(x in place for x in e.inputs):
        return e
    return Equation(e.op, [place.get(x, x) for x in e.inputs], e.params, e.outputs, e.site)


def apart_from(graph: Graph) -> set[Var]:
    """The values that the outside gets, or whose memory it sees through a view."""
    apart = set(graph.outputs)
    for e in reversed(graph.equations):
        if e.op.view and any(y in apart for y in e.outputs):
            apart.add(e.inputs[0])
    return apart


def applied(op: Op, inputs: Any, params: dict[str, Any], site: Any) -> Equation:
    """A new equation; inputs: one value or several."""
    inputs = [inputs] if isinstance(inputs, Var) else list(inputs)
    with Untraced():
        try:
            lib.cb_staging_begin()
            made = op.impl(*[x.meta for x in inputs], **params)  # type: ignore[misc]
        finally:
            lib.cb_staging_end()
    if not made:
        raise_error()
    results = wrap(made)
    outputs = [Var(y) for y in (results if type(results) is tuple else (results,))]
    return Equation(op, inputs, params, outputs, site)
