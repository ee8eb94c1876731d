"""Sums of products as one product.

What a weight that is used in every step of a loop gets back is a sum over the steps, of products
g_i^T x_i. With the g_i and the x_i side by side it is one product, and no step's own is written to
memory and read again. Sums over the same g_i, which biases get, become one as well.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from ..dtypes import DTYPES
from ..op import TABLE
from .graph import Equation, Graph, Var
from .rewriting import applied, rewritten

FEWEST = 4  # terms
_Sides = dict[tuple[tuple[Var, ...], int], Var]  # values side by side along a dimension


def join_products(graph: Graph) -> Graph:
    """Sums of at least FEWEST products of matrices as one, where that copies less than it saves."""
    users: dict[Var, int] = dict.fromkeys(graph.outputs, 2)
    for e in graph.equations:
        for x in e.inputs:
            users[x] = users.get(x, 0) + 1
    inner: set[Equation] = set()  # sums that are part of a longer one
    for e in graph.equations:
        if _is_sum(e):
            inner.update(t for t in _parts(e, users) if t is not None)
    sides: _Sides = {}
    kept: list[Equation] = []
    for e in graph.equations:
        terms = _terms(e, users) if _is_sum(e) and e not in inner else []
        alone = len(terms) >= FEWEST and all(users[t] == 1 for t in terms)
        kept += (alone and _joined(terms, sides, e)) or [e]
    return rewritten(graph, {}, kept)


def _is_sum(e: Equation) -> bool:
    y = e.outputs[0]
    return (
        e.op.name == "add"
        and DTYPES[y.code].is_floating_point
        and all(x.shape == y.shape and x.code == y.code for x in e.inputs)
    )


def _parts(e: Equation, users: dict[Var, int]) -> list[Equation | None]:
    """For both operands the sum that they are, if nothing else reads it."""
    return [
        x.equation if x.equation is not None and users[x] == 1 and _is_sum(x.equation) else None
        for x in e.inputs
    ]


def _terms(e: Equation, users: dict[Var, int]) -> list[Var]:
    found: list[Var] = []
    stack: list[Any] = [e]
    while stack:
        top = stack.pop()
        if isinstance(top, Var):
            found.append(top)
            continue
        pairs = zip(top.inputs, _parts(top, users), strict=True)
        stack += [x if part is None else part for x, part in pairs][::-1]
    return found


def _joined(terms: list[Var], sides: _Sides, e: Equation) -> list[Equation]:
    """What gives the sum of the terms; nothing to leave it as it is."""
    products, turned = [t.equation for t in terms], False
    if all(map(_is_turn, products)):  # x @ w.T sends back a transposed product
        products, turned = [t.inputs[0].equation for t in products], True  # type: ignore[union-attr]
    if all(t is not None and t.op.name == "matmul" for t in products):
        return _product(products, turned, sides, e)
    return _reduced([t.equation for t in terms], sides, e)


def _reduced(sums: Any, sides: _Sides, e: Equation) -> list[Equation]:
    """One sum for many over what lies side by side already."""
    last = sums[0]
    if _alike("reshape", sums):
        sums = [t.inputs[0].equation for t in sums]
    first = sums[0]
    if not _alike("sum", sums):
        return []
    values = tuple([t.inputs[0] for t in sums])
    whole = next((sides[values, d] for d in first.params["dims"] if (values, d) in sides), None)
    if whole is None:
        return []
    if last is first:
        return [Equation(first.op, [whole], first.params, e.outputs, e.site)]
    made = applied(first.op, whole, first.params, e.site)
    return [made, Equation(last.op, made.outputs, last.params, e.outputs, e.site)]


def _alike(name: str, equations: Any) -> bool:
    """Are all of this op, with equal parameters?"""
    first = equations[0]
    return all(t is not None and t.op.name == name and t.params == first.params for t in equations)


def _product(products: Any, turned: bool, sides: _Sides, e: Equation) -> list[Equation]:
    """One product for many; turned: for their transposes."""
    first = products[0]
    x, y = (v.shape for v in first.inputs)
    if len(x) < 2 or len(x) != len(y) or x[:-2] != y[:-2]:
        return []
    if any(
        (v.shape, v.code) != (s, first.inputs[0].code)
        for t in products
        for v, s in zip(t.inputs, (x, y), strict=True)
    ):
        return []
    m, k, n = x[-2], x[-1], y[-1]
    if k * (m + n) > 4 * m * n:  # what is copied, and the products that are written and read
        return []
    made: list[Equation] = []
    operands = [
        _beside([t.inputs[i] for t in products], len(x) - 1 - i, turned, sides, made, e)
        for i in (0, 1)
    ]
    if turned:
        operands.reverse()
    return [*made, Equation(first.op, operands, first.params, e.outputs, e.site)]


def _is_turn(e: Equation | None) -> bool:
    """Does it exchange the last two dimensions?"""
    if e is None or e.op.name not in ("transpose", "permute"):
        return False
    dims = list(range(len(e.outputs[0].shape)))
    a, b = dims[-2:] if len(dims) > 1 else (0, 0)
    if e.op.name == "transpose":
        return e.params == {"a": a, "b": b} and a < b
    return a < b and list(e.params["dims"]) == [*dims[:-2], b, a]


def _beside(
    values: list[Var], dim: int, turned: bool, sides: _Sides, made: list[Equation], e: Equation
) -> Var:
    """The values side by side along one of the last two dims, which are then exchanged or not."""
    rank = len(values[0].shape)
    if all(_is_turn(v.equation) for v in values):  # as they lay before that
        values, turned = [v.equation.inputs[0] for v in values], not turned  # type: ignore[union-attr]
        dim = 2 * rank - 3 - dim
    key = (tuple(values), dim)
    if key not in sides:
        made.append(applied(TABLE["cat"], values, {"dim": dim}, e.site))
        sides[key] = made[-1].outputs[0]
    if not turned:
        return sides[key]
    made.append(applied(TABLE["transpose"], sides[key], {"a": rank - 2, "b": rank - 1}, e.site))
    return made[-1].outputs[0]
