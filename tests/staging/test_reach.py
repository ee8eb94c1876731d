"""Dependences between equations and groups: as a search through the graph finds them."""

from __future__ import annotations

import random

import functorch_like as ft
from functorch_like.staging.fuse import Group
from functorch_like.staging.graph import Equation, Graph, Var
from functorch_like.staging.reach import Groups


def searched(start, targets, groups):
    """The same by walking from equation to equation."""
    stack, seen = [start], set()
    while stack:
        e = stack.pop()
        group = groups.get(e)
        if group in targets:
            return True
        if e in seen:
            continue
        seen.add(e)
        for member in group.equations if group else (e,):
            seen.add(member)
            stack += [x.equation for x in member.inputs if x.equation is not None]
    return False


def test_random_graphs():
    meta = ft.ones(1)
    for seed in range(30):
        chance = random.Random(seed)
        variables, equations = [Var(meta)], []
        for _ in range(40):
            inputs = chance.sample(variables[-12:], min(len(variables), chance.choice([1, 1, 2])))
            out = Var(meta)
            equations.append(Equation(None, inputs, {}, [out], None))  # type: ignore[arg-type]
            variables.append(out)
        graph = Graph(variables[:1], equations, variables[-1:])
        groups = Groups(graph)
        for i, e in enumerate(equations):
            if chance.random() < 0.7:
                groups[e] = Group(e, i)
        for _ in range(60):
            a, b = chance.choice(equations), chance.choice(equations)
            one, other = groups.get(a), groups.get(b)
            if one is None or other is None or one is other:
                continue
            together = set(one.equations + other.equations)
            outside = {
                x.equation for e in together for x in e.inputs if x.equation is not None
            } - together
            answers = [groups.reaches(e, (one, other)) for e in outside]
            assert answers == [searched(e, (one, other), groups) for e in outside]
            if not any(answers):
                one.equations += other.equations
                groups.update(dict.fromkeys(other.equations, one))
