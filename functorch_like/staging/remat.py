"""Rematerialisation: cheap values that are kept for long are computed again where they are wanted.

At the turn from the forward to the backward pass of a training step nearly all memory holds what
the backward pass will read. Where that follows by one cheap operation from something that is kept
anyway (the result of gelu from its operand, of a layer norm from its own), it is dropped after its
last early use. Where that does not win enough, products follow, those with least work a byte first.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from .graph import Equation, Graph, Var
from .passes import drop_unused

GOAL = 0.6  # of the peak of intermediate results
PRODUCT = 80  # multiplications and additions for a byte that computing a product again may cost
LEAST = 1 << 23  # bytes: a smaller peak stays as it is
SMALL = 1 << 16  # bytes of a value that is not worth it
_CHEAP = {"unary", "binary", "ternary", "cast"}
_CHEAP_OPS = {"layer_norm", "rms_norm"}
_PRODUCTS = {"linear", "matmul"}


class _Stay(NamedTuple):
    """A value that nobody looks at up to a place, and what computes it again there."""

    nbytes: int
    cost: float
    equations: list[Equation]  # the last one makes the value
    then: int


def rematerialize(graph: Graph) -> Graph:
    """Computes values again until the peak is GOAL of what it was."""
    first = 0
    for allowed in (_is_cheap, _is_cheap, _is_cheap, _is_affordable, _is_affordable):
        life = _Life(graph)
        place, peak = life.peak()
        first = first or peak
        if peak < LEAST or peak <= GOAL * first:
            break
        chosen, won = [], 0
        computed: set[Equation] = set()
        for stay in sorted(life.stays(place, allowed), key=lambda s: (s.cost, -s.nbytes)):
            e = stay.equations[-1]
            if any(x.equation in computed for x in e.inputs):
                continue  # what it would read is dropped as well: perhaps the next time
            chosen.append(stay)
            computed.add(e)
            won += stay.nbytes
            if peak - won <= GOAL * first:
                break
        if chosen:
            graph = drop_unused(_computed_again(graph, chosen))
    return graph


class _Life:
    """From where to where memory is in use; views count as uses of what they are views of."""

    def __init__(self, graph: Graph):
        self.equations = graph.equations
        self.root: dict[Var, Var] = {}
        self.uses: dict[Var, list[int]] = {}
        self.made: dict[Var, int] = {}
        for i, e in enumerate(graph.equations):
            for x in e.inputs:
                self.uses.setdefault(self.root.get(x, x), []).append(i)
            for y in e.outputs:
                if e.op.view:
                    self.root[y] = self.root.get(e.inputs[0], e.inputs[0])
                else:
                    self.made[y] = i
        for v in graph.outputs:
            self.uses.setdefault(self.root.get(v, v), []).append(len(graph.equations))

    def last(self, v: Var) -> int:
        uses = self.uses.get(v)
        return uses[-1] if uses else self.made.get(v, -1)

    def peak(self) -> tuple[int, int]:
        """Where most bytes are in use, and how many."""
        change = [0] * (len(self.equations) + 2)
        for v, i in self.made.items():
            change[i] += _nbytes(v)
            change[self.last(v) + 1] -= _nbytes(v)
        now = most = place = 0
        for i, c in enumerate(change):
            now += c
            if now > most:
                most, place = now, i
        return place, most

    def stays(self, place: int, allowed: Callable[[Equation], bool]) -> list[_Stay]:
        """Values that are kept over a place only for later."""
        found = []
        for v, i in self.made.items():
            e = self.equations[i]
            if (
                v is not e.outputs[0]
                or not _nbytes(v)
                or _nbytes(v) < SMALL
                or i >= place
                or not allowed(e)
            ):
                continue
            uses = self.uses.get(v, [])
            then = next((u for u in uses if u > place), len(self.equations))
            if place in uses or then == len(self.equations):
                continue
            steps = self._steps(e, then, 1)
            if steps:
                found.append(_Stay(_nbytes(v), _operations(e) / _nbytes(v), steps, then))
        return found

    def _steps(self, e: Equation, place: int, more: int) -> list[Equation]:
        """The equations that compute it at a place; none if what they read is not there."""
        steps = []
        for x in e.inputs:
            if self._lives(x, place):
                continue
            source = self.root.get(x, x).equation
            if not more or source is None or not _is_cheap(source):
                return []
            before = self._steps(source, place, more - 1)
            if not before:
                return []
            steps += before
        return [*steps, e]

    def _lives(self, x: Var, place: int) -> bool:
        root = self.root.get(x, x)
        if _nbytes(x) < SMALL or root not in self.made:  # small, or from outside
            return True
        return self.last(root) >= place


def _is_cheap(e: Equation) -> bool:
    if e.op.random or e.op.view or any("generator" in p for p in e.params):
        return False
    return e.op.family in _CHEAP or e.op.name in _CHEAP_OPS


def _is_affordable(e: Equation) -> bool:
    return e.op.name in _PRODUCTS and _operations(e) <= PRODUCT * _nbytes(e.outputs[0])


def _operations(e: Equation) -> float:
    """Of a product, its multiplications and additions; others cost next to nothing."""
    if e.op.name not in _PRODUCTS:
        return 0.0
    return 2.0 * prod(e.outputs[0].shape) * e.inputs[0].shape[-1]


def _nbytes(v: Var) -> int:
    return v.meta._v.numel * v.meta._v.itemsize


def _computed_again(graph: Graph, chosen: list[_Stay]) -> Graph:
    """The graph with each equation once more before the first of its later uses."""
    starts: dict[int, dict[Equation, None]] = {}
    for stay in chosen:
        starts.setdefault(stay.then, {}).update(dict.fromkeys(stay.equations))
    again: dict[Var, Var] = {}  # values to read from now on
    late: set[Var] = set()  # values whose views are to be taken again
    equations: list[Equation] = []

    def renewed(x: Var) -> Var:
        if x in again:
            return again[x]
        e = x.equation
        if e is None or not e.op.view or not _derives(x, late):
            return x
        copy = Equation(e.op, [renewed(e.inputs[0])], e.params, [Var(x.meta)], e.site)
        equations.append(copy)
        again[x] = copy.outputs[0]
        return again[x]

    for i, e in enumerate(graph.equations):
        for source in starts.get(i, ()):
            inputs = [renewed(x) for x in source.inputs]
            copy = Equation(
                source.op, inputs, source.params, [Var(y.meta) for y in source.outputs], source.site
            )
            copy.pinned = True
            equations.append(copy)
            again[source.outputs[0]] = copy.outputs[0]
            late.add(source.outputs[0])
        inputs = [renewed(x) for x in e.inputs]
        if inputs != list(e.inputs):
            pinned = e.pinned
            e = Equation(e.op, inputs, e.params, e.outputs, e.site)
            e.pinned = pinned
        equations.append(e)
    return Graph(graph.inputs, equations, graph.outputs)


def _derives(x: Var, sources: set[Var]) -> bool:
    """Is it a view of one of them?"""
    while x not in sources:
        e = x.equation
        if e is None or not e.op.view:
            return False
        x = e.inputs[0]
    return True
