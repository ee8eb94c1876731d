"""What a backward pass leaves out that is asked for the gradients of some tensors only.

`autograd.grad(loss, inputs)` visits the operations that lead from the inputs to the loss; others
neither run nor lose their saved tensors, and of an operation with several inputs only those
gradients are computed that somebody waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .op import Op
from .tape import Node, below

if TYPE_CHECKING:
    from .tensor import Tensor
    from .trace import Meta

_age = attrgetter("seq")


class Narrowing:
    """The part of a graph between its roots and the tensors whose gradients are wanted."""

    __slots__ = ("idle",)

    def __init__(self, idle: set[Meta]):
        self.idle = idle  # the metas that nothing wanted contributed to

    def leaves_out(self, node: Any) -> bool:
        """Does no input of the operation lead to what is wanted?"""
        return self.idle.issuperset([edge for edge in node.edges if edge is not None])

    def part_of(self, node: Any) -> tuple[Any, tuple[Any, ...]]:
        """The node as its rule shall see it, and the edges that gradients follow."""
        idle, edges = self.idle, node.edges
        if idle.isdisjoint(edges):
            return node, edges
        edges = tuple([None if edge in idle else edge for edge in edges])
        if not isinstance(node.op, Op):  # a rule outside of the table looks at the node as it is
            return node, edges
        part = _NarrowedNode()
        part.whole, part.edges = node, edges
        for member in ("op", "seq", "args", "params", "out", "specs", "clock"):
            setattr(part, member, getattr(node, member))
        if node.op.takes_needs:
            part.needs = tuple([edge is not None for edge in edges])
        return part, edges


class _NarrowedNode(Node):
    """A node with some of its edges left out, for one pass."""

    whole: Node

    def saved_out(self) -> Any:
        return self.whole.saved_out()


def narrowing(roots: Sequence[tuple[Meta, Tensor]], wanted: set[Meta]) -> Narrowing | None:
    """What a pass for the wanted gradients has to visit; None where that is all below the roots."""
    recorded, leaves = below([meta for meta, _ in roots])
    if leaves == wanted:
        return None
    needed: set[Any] = {*wanted, *(leaf for leaf in leaves if leaf.last() in wanted)}
    recorded.sort(key=_age)  # inputs were recorded before what was made of them
    for meta in recorded:
        edges = meta.edges if meta.index is None else meta.node.edges
        if any([edge in needed for edge in edges if edge is not None]):
            needed.add(meta)
    idle = leaves.union(recorded) - needed
    return Narrowing(idle) if idle else None
