"""Which equations depend on which, while groups of them grow.

Sets of equations are the bits of integers, so that a question takes one operation. Whatever depends
on a member of a group depends on all that the group depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .graph import Equation, Graph

if TYPE_CHECKING:
    from .fuse import Group


class Groups(dict[Equation, "Group"]):
    """The group that each equation of a graph is in."""

    def __init__(self, graph: Graph):
        super().__init__()
        # of groups, and of equations that are in none: who belongs to it, and what it depends on
        self._members: dict[Equation | Group, int] = {}
        self._before: dict[Equation | Group, int] = {}
        bit = 1
        for e in graph.equations:
            before = 0
            for x in e.inputs:
                if x.equation is not None:
                    before |= self._members[x.equation] | self._before[x.equation]
            self._members[e], self._before[e] = bit, before
            bit <<= 1

    def __setitem__(self, e: Equation, group: Group) -> None:
        item = self.get(e) or e
        super().__setitem__(e, group)
        if item is not group and item in self._members:
            self._join(group, item)

    def update(self, groups: Mapping[Equation, Group]) -> None:  # type: ignore[override]
        for e, group in groups.items():
            self[e] = group

    def _join(self, group: Group, item: Equation | Group) -> None:
        """Everything in an item becomes part of a group."""
        added, behind = self._members.pop(item), self._before.pop(item)
        if group not in self._members:
            self._members[group], self._before[group] = added, behind
            return
        known = self._before[group]
        members = self._members[group] = self._members[group] | added
        before = self._before[group] = (known | behind) & ~members
        if before & ~known or before & ~behind:
            for other, reached in self._before.items():
                if reached & members and other is not group:
                    self._before[other] = reached | members | before

    def reaches(self, e: Equation, targets: Iterable[Group]) -> bool:
        """Does the equation (or the group it is in) depend on one of the groups?"""
        item = self.get(e) or e
        before = self._before[item]
        return any(item is group or bool(before & self._members[group]) for group in targets)
