"""Fusion: elementwise equations of one shape that feed each other become one sweep (cb_fused).

A group grows in the order of the graph: an equation joins the group of a value it reads, unless
something outside the group lies between them. Groups that meet in an equation become one. Groups of
the same steps whose results only the outside gets (the updates of all parameters) become one
sweep over sets of operands.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from math import prod
from typing import Any

from cbackend import ffi, lib

from ..dtypes import DTYPES, float32
from .graph import Equation, Graph, Var
from .reach import Groups

_FAMILIES = {"unary": 0, "binary": 1, "ternary": 2}
_CAST = 3
_MAX_TENSORS, _MAX_STEPS, _MAX_REGISTERS = 16, 192, 64
# equations of a group: more registers than caches hold cost more than a second sweep
_FEW, _MANY, _SMALL = 40, 176, 64  # many for results of a few elements
_LARGE = 1 << 16  # elements: a sweep of one step may write over its operand
_DIVISIONS = {"floor_divide", "trunc_divide", "remainder", "fmod"}  # integers: zero is an error
_codes: dict[Any, int] = {}
Users = dict[Var, list[Equation | None]]  # None: the outside


class Group:
    """Equations that run as one sweep.

    Attributes:
      inputs, outputs: what it reads from and gives to the rest.
      steps: its code; None where it runs as single operations.
    """

    __slots__ = ("equations", "first", "inputs", "last", "outputs", "shape", "steps")

    def __init__(self, e: Equation, place: int):
        self.equations = [e]
        self.first = self.last = place  # in the order of the graph
        self.shape = e.outputs[0].shape
        self.inputs: list[Var] = []
        self.outputs: list[Var] = []
        self.steps: Steps | None = None


class Sets:
    """Groups of the same steps that run as one sweep.

    Attributes:
      operands: of cb_fused_sets, set after set.
      code: the steps of each.
    """

    __slots__ = ("code", "groups", "inputs", "operands", "outputs")

    def __init__(self, groups: list[Group]):
        steps = [group.steps for group in groups if group.steps is not None]
        self.groups, self.code = groups, steps[0].code
        self.operands = [v for each in steps for v in each.operands]
        self.inputs = list(dict.fromkeys(x for group in groups for x in group.inputs))
        self.outputs = [y for group in groups for y in group.outputs]


Item = Equation | Group | Sets


def fuse(graph: Graph) -> list[Item]:
    """What to run, in order."""
    group_of: dict[Equation, Group] = Groups(graph)
    place = {e: i for i, e in enumerate(graph.equations)}
    users = _users(graph)
    _take_whole(graph, group_of, place, users)
    for e in graph.equations:
        if e.pinned or e in group_of or not _can_fuse(e):
            continue
        mine = Group(e, place[e])
        group_of[e] = mine
        for x in e.inputs:
            other = group_of.get(x.equation) if x.equation is not None else None
            if other is None or other is mine or other.shape != mine.shape:
                continue
            if _may_merge(other, mine, group_of, place, users):
                _merge(other, mine, group_of)
                mine = other
    item_of: dict[Equation, Item] = {}
    for group in dict.fromkeys(group_of.values()):
        group.equations.sort(key=place.__getitem__)
        for part in _fitting(group, users):
            item_of.update(dict.fromkeys(part.equations, part))
    _gather(item_of, users)
    return _ordered(graph, item_of)


def steps_of(graph: Graph) -> Steps | None:
    """The whole graph as the steps of one sweep, its outputs in order; None where it is not one."""
    equations = graph.equations
    if not equations or any(e.pinned or not _can_fuse(e) for e in equations):
        return None
    shape = equations[0].outputs[0].shape
    group = Group(equations[0], 0)
    group.equations = equations
    _close(group, _users(graph))
    if any(e.outputs[0].shape != shape for e in equations) or group.outputs != graph.outputs:
        return None
    steps = Steps(group)
    return steps if steps.fits(len(group.outputs)) else None


def _take_whole(
    graph: Graph, group_of: dict[Equation, Group], place: dict[Equation, int], users: Users
) -> None:
    """Makes groups of whole connected parts that compute a few elements, where they fit.

    Growing step by step, such a group would meet the limit of results that others read while
    these others are still to join.
    """
    part_of: dict[Equation, list[Equation]] = {}
    for e in graph.equations:
        shape = e.outputs[0].shape
        if prod(shape) > _SMALL or e.pinned or not _can_fuse(e):
            continue
        part = part_of[e] = [e]
        for x in e.inputs:
            other = part_of.get(x.equation) if x.equation is not None else None
            if other is None or other is part or other[0].outputs[0].shape != shape:
                continue
            if len(other) < len(part):
                other, part = part, other
            other += part
            part_of.update(dict.fromkeys(part, other))
            part = other
    for part in {id(part): part for part in part_of.values()}.values():
        if not 1 < len(part) <= _MANY:
            continue
        part.sort(key=place.__getitem__)
        group = Group(part[0], place[part[0]])
        group.equations, group.last = part, place[part[-1]]
        _close(group, users)
        alone = dict.fromkeys(part, group)
        together = {**group_of, **alone}  # what lies between may go through another group
        if len(group.inputs) + len(group.outputs) <= _MAX_TENSORS and not any(
            _reaches(x.equation, {group}, together, place)
            for x in group.inputs
            if x.equation is not None
        ):
            group_of.update(alone)


def _fitting(group: Group, users: Users) -> list[Group]:
    """The group, in as many parts as the limits of cb_fused ask for."""
    _close(group, users)
    n, group.steps = len(group.equations), None
    if n == 1 and prod(group.shape) < _LARGE:
        return [group]
    group.steps = Steps(group)
    if n == 1 or group.steps.fits(len(group.outputs)):
        return [group]
    parts = []
    for equations in (group.equations[: n // 2], group.equations[n // 2 :]):
        part = Group(equations[0], group.first)
        part.equations = equations
        parts += _fitting(part, users)
    return parts


def _gather(item_of: dict[Equation, Item], users: Users) -> None:
    """Joins groups that nothing else in the graph reads, by their steps."""
    alike: dict[tuple[int, ...], list[Group]] = {}
    for group in dict.fromkeys(item_of.values()):
        assert isinstance(group, Group)
        if group.steps is None or len(group.equations) == 1:
            continue
        inside = set(group.equations)
        used = [user for y in group.outputs for user in users[y]]
        if all(user is None or user in inside for user in used):
            alike.setdefault(tuple(group.steps.code), []).append(group)
    for groups in alike.values():
        if len(groups) > 1:
            together = Sets(groups)
            item_of.update((e, together) for group in groups for e in group.equations)


def _can_fuse(e: Equation) -> bool:
    family = e.op.family
    if family == "cast":
        return not (
            DTYPES[e.inputs[0].code].is_complex and not DTYPES[e.outputs[0].code].is_complex
        )
    if family not in _FAMILIES or _code(e) < 0:
        return False
    if e.op.name == "where" and DTYPES[e.inputs[0].code].name != "bool":
        return False
    return not (e.op.name in _DIVISIONS and not DTYPES[e.outputs[0].code].is_inexact)


def _code(e: Equation) -> int:
    code = _codes.get(e.op)
    if code is None:
        code = lib.cb_op_code(e.op.family.encode(), e.op.name.encode())
        _codes[e.op] = code
    return code


def _may_merge(
    a: Group, b: Group, group_of: dict[Equation, Group], place: dict[Equation, int], users: Users
) -> bool:
    """Small enough together, and no path from one to the other that leaves both?"""
    together = a.equations + b.equations
    if len(together) > (_MANY if prod(a.shape) <= _SMALL else _FEW):
        return False
    inputs, made = set(), set()
    for e in together:
        inputs.update(e.inputs)
        made.update(e.outputs)
    members = set(together)
    given = sum(any(user not in members for user in users.get(y, ())) for y in made)
    if len(inputs - made) + given > _MAX_TENSORS:
        return False
    for x in inputs - made:
        if x.equation is not None and _reaches(x.equation, {a, b}, group_of, place):
            return False
    return True


def _reaches(
    start: Equation,
    targets: set[Group],
    group_of: dict[Equation, Group],
    place: dict[Equation, int],
) -> bool:
    """Does the equation (or the group it is in) depend on one of the groups?"""
    if isinstance(group_of, Groups):
        return group_of.reaches(start, targets)
    stack, seen = [start], set()
    earliest = min(group.first for group in targets)
    # what lies wholly before the targets depends on them only by a group that goes beyond
    alive = set(group_of.values()) - targets
    ordered = not any(group.first < earliest <= group.last for group in alive)
    while stack:
        e = stack.pop()
        group = group_of.get(e)
        if group in targets:
            return True
        key: Any = group or e
        if ordered and (group.last if group else place[e]) < earliest:
            continue
        if key in seen:
            continue
        seen.add(key)
        for member in group.equations if group else (e,):
            stack += [x.equation for x in member.inputs if x.equation is not None]
    return False


def _merge(into: Group, group: Group, group_of: dict[Equation, Group]) -> None:
    into.equations += group.equations
    into.first, into.last = min(into.first, group.first), max(into.last, group.last)
    for e in group.equations:
        group_of[e] = into


def _users(graph: Graph) -> Users:
    users: Users = {}
    for e in graph.equations:
        for x in e.inputs:
            users.setdefault(x, []).append(e)
    for v in graph.outputs:
        users.setdefault(v, []).append(None)
    return users


def _close(group: Group, users: Users) -> None:
    """Settles what the group reads and gives."""
    members = set(group.equations)
    made = {y for e in group.equations for y in e.outputs}
    group.inputs = list(
        dict.fromkeys(x for e in group.equations for x in e.inputs if x not in made)
    )
    group.outputs = [
        y
        for e in group.equations
        for y in e.outputs
        if any(user not in members for user in users.get(y, ()))
    ]


def _ordered(graph: Graph, item_of: dict[Equation, Item]) -> list[Item]:
    """Sweeps and single equations, each after what it reads."""
    order: dict[Item, None] = {}
    for wanted in graph.equations:
        stack: list[tuple[Item, bool]] = [(item_of.get(wanted, wanted), False)]
        while stack:
            item, ready = stack.pop()
            if item in order:
                continue
            if ready:
                order[item] = None
                continue
            stack.append((item, True))
            for x in item.inputs:
                if x.equation is not None:
                    stack.append((item_of.get(x.equation, x.equation), False))
    return list(order)


class Steps:
    """The code of a group for cb_fused.

    Attributes:
      operands: what it reads; one may stand twice, read in two dtypes.
      code: see cb_fused in cbackend.h.
    """

    def __init__(self, group: Group):
        self.operands: list[Var] = []
        self._dtypes: list[int] = []
        self._steps: list[list[int]] = []
        self._at: dict[tuple[Var, int], int] = {}  # (value, dtype) -> operand or step
        self._dtype_of: dict[Var, int] = {}  # of values made here
        for e in group.equations:
            self._add(e)
        results = [-1 - self._read(y, y.code) for y in group.outputs]
        self.code = [
            *self._dtypes,
            len(self._steps),
            *[w for step in self._steps for w in step],
            *results,
        ]

    def packed(self) -> bytes:
        """The code as run_sweep and step_sets of the core take it."""
        return bytes(ffi.buffer(ffi.new("int64_t[]", self.code)))

    def fits(self, results: int) -> bool:
        """Is it within the limits of cb_fused?"""
        return (
            len(self._steps) <= _MAX_STEPS
            and len(self.operands) + results <= _MAX_TENSORS
            and self._registers() <= _MAX_REGISTERS
        )

    def _registers(self) -> int:
        """How many results of steps are wanted at one time; cb_fused counts the same."""
        last = list(range(len(self._steps)))
        for j, step in enumerate(self._steps):
            for at in step[4 : 5 + min(step[0], 2) if step[0] != _CAST else 5]:
                if at < 0:
                    last[-1 - at] = j
        busy: list[int] = []  # by register, when its holder is read last
        for j, end in enumerate(last):
            free = next((i for i, until in enumerate(busy) if until < j), None)
            if free is None:
                busy.append(end)
            else:
                busy[free] = end
        return len(busy)

    def _step(self, family: int, op: int, compute: int, result: int, operands: list[int]) -> int:
        padded = [*operands, 0, 0][:3]
        self._steps.append([family, op, compute, result, *padded])
        return -len(self._steps)

    def _read(self, x: Var, dtype: int) -> int:
        """The operand or step that holds x in a dtype."""
        at = self._at.get((x, dtype))
        if at is not None:
            return at
        own = self._dtype_of.get(x)
        if own is None:
            at = len(self.operands)
            self.operands.append(x)
            self._dtypes.append(dtype)
        else:
            at = self._step(_CAST, 0, own, dtype, [self._at[x, own]])
        self._at[x, dtype] = at
        return at

    def _add(self, e: Equation) -> None:
        y = e.outputs[0]
        if e.op.family == "cast":
            x = e.inputs[0]
            source = x.code
            if source == y.code:
                at = self._read(x, source)
                if at >= 0:
                    at = self._step(_CAST, 0, source, source, [at])
                self._at[y, y.code] = at
                self._dtype_of[y] = y.code
                return
            at = self._step(_CAST, 0, source, y.code, [self._read(x, source)])
        else:
            family, op = _FAMILIES[e.op.family], _code(e)
            where = e.op.name == "where"
            compute = lib.cb_compute_dtype_of(
                family, op, len(e.inputs), [x.meta._v for x in e.inputs]
            )
            half = DTYPES[y.code].name in ("float16", "bfloat16")
            if where:
                compute = float32.code if half else y.code
            dtypes = [compute] * len(e.inputs)
            if where:
                dtypes[0] = e.inputs[0].code
            operands = [self._read(x, d) for x, d in zip(e.inputs, dtypes, strict=True)]
            made = compute if half else y.code
            at = self._step(family, op, compute, made, operands)
            if half:  # rounded as the single operation rounds
                at = self._step(_CAST, 0, compute, y.code, [at])
        self._at[y, y.code] = at
        self._dtype_of[y] = y.code
