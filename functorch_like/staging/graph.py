"""The typed graph of a staged function: what ran, on which shapes and dtypes, written where.

A graph is functional: a Var has one value, made by one Equation or from outside. In-place code has
been turned into new values by the time it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import DTYPES
from ..op import Op
from ..tensor import Tensor


class Var:
    """A value: a meta tensor that says its shape and dtype, and where it comes from.

    Args:
      meta: shape, strides and dtype.
      source: for values from outside, `source() -> handle` at each run; None for the others.
      value: for constants, the tensor.
    """

    __slots__ = ("equation", "meta", "source", "value")

    def __init__(
        self,
        meta: Tensor,
        source: Callable[[], Any] | None = None,
        value: Tensor | None = None,
    ):
        self.meta, self.source, self.value = meta, source, value
        self.equation: Equation | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.meta._shape

    @property
    def code(self) -> int:
        """The dtype's code."""
        return self.meta._v.dtype


class Equation:
    """One application of an op.

    Args:
      site: (code object, instruction) of the user's line, or None.

    Attributes:
      pinned: it stays where it is, and out of the sweeps of what it reads.
    """

    __slots__ = ("inputs", "op", "outputs", "params", "pinned", "site")

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Var],
        params: dict[str, Any],
        outputs: Sequence[Var],
        site: Any,
    ):
        self.op, self.inputs, self.params = op, tuple(inputs), params
        self.outputs, self.site, self.pinned = tuple(outputs), site, False
        for y in outputs:
            y.equation = self


class Graph:
    """Inputs, equations in the order they ran, outputs.

    Printing it gives a listing, a line an equation.
    """

    def __init__(self, inputs: list[Var], equations: list[Equation], outputs: list[Var]):
        self.inputs, self.equations, self.outputs = inputs, equations, outputs

    def outside(self) -> list[Var]:
        """The captured values and constants that the equations and outputs use, each once."""
        seen = dict.fromkeys(self.inputs)
        found = {}
        for var in [x for e in self.equations for x in e.inputs] + self.outputs:
            if var.equation is None and var not in seen:
                found[var] = None
        return list(found)

    def names(self) -> dict[Var, str]:
        """A short name for every value: a, b, ... in the order they appear."""
        captured = [v for v in self.outside() if not is_number(v)]
        made = [y for e in self.equations for y in e.outputs]
        return {v: _name(i) for i, v in enumerate([*self.inputs, *captured, *made])}

    def __str__(self) -> str:
        return self.listing()

    def listing(self, sites: bool = True) -> str:
        """The graph as text; with the user's lines where `sites`."""
        names = self.names()

        def typed(v: Var) -> str:
            return f"{names[v]}: {_type(v)}"

        def used(v: Var) -> str:
            return str(v.value.item()) if is_number(v) else names[v]  # type: ignore[union-attr]

        captured = [v for v in self.outside() if not is_number(v)]
        head = ", ".join(map(typed, self.inputs))
        if captured:
            head += "; " + ", ".join(map(typed, captured))
        lines = [f"graph({head}):"]
        for e in self.equations:
            made = ", ".join(map(typed, e.outputs))
            params = [f"{k}={v}" for k, v in e.params.items()]
            call = ", ".join([used(x) for x in e.inputs] + params)
            lines.append(f"  {made} = {e.op.name}({call}){_line(e.site) if sites else ''}")
        lines.append("  return " + ", ".join(map(used, self.outputs)))
        return "\n".join(lines)

    __repr__ = __str__

    def to_dot(self) -> str:
        """The graph in Graphviz' language."""
        names = self.names()
        lines = ["digraph {", "  node [shape=box, fontname=monospace];"]
        made = {v: f"e{i}" for i, e in enumerate(self.equations) for v in e.outputs}
        for v, name in names.items():
            if v not in made:
                made[v] = name
                lines.append(f'  {name} [label="{name}: {_type(v)}", shape=ellipse];')
        for i, e in enumerate(self.equations):
            label = "\\n".join([e.op.name, *[_type(y) for y in e.outputs]])
            lines.append(f'  e{i} [label="{label}"];')
            lines += [f"  {made[x]} -> e{i};" for x in e.inputs if x in made]
        for i, v in enumerate(self.outputs):
            lines.append(f'  out{i} [label="output {i}", shape=ellipse];')
            if v in made:
                lines.append(f"  {made[v]} -> out{i};")
        return "\n".join([*lines, "}"])


def is_number(v: Var) -> bool:
    """Is it a constant of one element and no dimensions?"""
    return v.value is not None and v.value._v.numel == 1 and v.value._v.ndim == 0


def _type(v: Var) -> str:
    return f"{DTYPES[v.code].name}[{','.join(map(str, v.shape))}]"


def _line(site: Any) -> str:
    if site is None:
        return ""
    code, instruction = site
    line = next((n for start, end, n in code.co_lines() if start <= instruction < end), None)
    return f"  # {code.co_filename.rpartition('/')[2]}:{line}"


def _name(i: int) -> str:
    text = ""
    while i >= 0:
        text = chr(ord("a") + i % 26) + text
        i = i // 26 - 1
    return text
