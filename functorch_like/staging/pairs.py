"""Pairs: a reduction or softmax stands right behind the sweep whose result it reads.

The core then runs the two as one (src/program/pairs.h): the reduction takes the sweep's tiles as
they are made, and what nobody else reads never goes to memory.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from .fuse import Group, Item
from .graph import Equation, Var
from .log import write

_SOFTMAX = {"softmax", "log_softmax"}


def takes_tiles(e: Equation) -> bool:
    """Can it read its operand tile by tile, as far as the op goes?"""
    return e.op.family == "reduce" or e.op.name in _SOFTMAX


def pair(items: list[Item]) -> list[Item]:
    """The same items, readers that take tiles right behind what they read.

    Of several readers the first does: the others find the result in memory.
    """
    reader: dict[Var, Equation] = {}
    for item in items:
        if isinstance(item, Equation) and takes_tiles(item):
            reader.setdefault(item.inputs[0], item)
    order: dict[Item, None] = {}
    pairs = 0
    for item in items:
        order.setdefault(item)
        if not isinstance(item, Group) or item.steps is None:
            continue
        found = next((reader[y] for y in item.outputs if y in reader), None)
        if found is not None and len(found.inputs) == 1:
            order.setdefault(found)
            pairs += 1
    write(f"pair: {pairs} reductions and softmaxes behind the sweeps they read")
    return list(order)
