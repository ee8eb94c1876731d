"""Writes docs/coverage.md: every op of the table under every transform, from running its samples.

    python docs/coverage.py            writes the page
    python docs/coverage.py exp sum    prints the rows of some ops, with what failed

A mark stands for a comparison, not for a call that came back: values against the entry's oracle,
reverse against forward mode, the two second orders against each other, vmap against a loop, the
compiled op against the op as it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

import functorch_like as ft
from functorch_like.dtypes import DTYPES
from functorch_like.op import TABLE, Op
from functorch_like.testing import assert_close, kinds_of, make_tensor, samples_of, tolerance_of

PAGE = Path(__file__).with_name("coverage.md")
KINDS = {"bool": "bool", "int": "int64", "float": "float64", "complex": "complex128"}
LANES = 2
YES, NO, NONE = "✓", "✗", "-"


def outputs(value: Any) -> list[Any]:
    """One output or several, as a list."""
    return list(value) if isinstance(value, tuple) else [value]


class Case:
    """An op on its samples, as a function of its floating operands."""

    def __init__(self, op: Op):
        self.op = op
        kinds = kinds_of(op)
        self.dtype = KINDS["float" if "float" in kinds else kinds[-1]]
        self.lanes = list(
            zip(*[samples_of(op, self.dtype, seed) for seed in range(LANES)], strict=True)
        )
        self.unmapped = getattr(op.samples, "unmapped", None)
        self.by_values = getattr(op.samples, "data_dependent", False)

    def split(self, args: Any) -> list[int]:
        return [i for i, a in enumerate(args) if a.dtype.is_inexact]

    def function(self, args: Any, params: Any) -> Callable[..., Any]:
        at = self.split(args)

        def smooth(*values: Any) -> Any:
            call = list(args)
            for i, value in zip(at, values, strict=True):
                call[i] = value
            return tuple(y for y in outputs(self.op(*call, **params)) if y.dtype.is_inexact)

        return smooth

    def loss(self, args: Any, params: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        function, values = self.function(args, params), tuple(args[i] for i in self.split(args))
        generator = ft.Generator().manual_seed(5)
        weights = [like(y, generator) for y in function(*values)]

        def scalar(*inputs: Any) -> Any:
            total: Any = 0.0
            for y, w in zip(function(*inputs), weights, strict=True):
                total = total + (w * y * (1 + y * 0.1)).sum().real
            return total

        return scalar, values


def like(x: Any, generator: Any) -> Any:
    """Random numbers of x's shape and dtype."""
    return make_tensor(x.shape, x.dtype, -1.0, 1.0, generator)


def close(case: Case, a: Any, b: Any, scale: float = 100.0) -> None:
    """Equal up to the op's tolerance, widened where derivatives are compared."""
    assert_close(list(a), list(b), *tolerance_of(case.op, case.dtype, scale), equal_nan=True)


# ---- the columns ----


def forward(case: Case) -> None:
    """The values are the oracle's, where there is one."""
    oracle = getattr(case.op, "oracle", None)
    for args, params in [lanes[0] for lanes in case.lanes]:
        got = outputs(case.op(*args, **params))
        if oracle is None:
            continue
        with numpy.errstate(all="ignore"):
            arrays = [a.numpy() for a in args]
            if isinstance(oracle, str):
                module, _, name = oracle.rpartition(".")
                expected = getattr(importlib.import_module(module), name)(*arrays, **params)
            else:
                expected = oracle(numpy, *arrays, **params)
        assert_close(
            got,
            [numpy.asarray(e) for e in outputs(expected)],
            *tolerance_of(case.op, case.dtype, 10),
            equal_nan=True,
            check_dtype=False,
        )


def both_modes(case: Case) -> None:
    """<ct, J t> = <J^T ct, t>."""
    for args, params in [lanes[0] for lanes in case.lanes]:
        loss, values = case.loss(args, params)
        generator = ft.Generator().manual_seed(6)
        tangents = tuple(like(v, generator) for v in values)
        _, pushed = ft.jvp(loss, values, tangents)
        gradients = ft.grad(loss, tuple(range(len(values))))(*values)
        pulled = sum((g.conj() * t).sum().real for g, t in zip(gradients, tangents, strict=True))
        close(case, [ft.as_tensor(pulled)], [pushed])


def second_orders(case: Case) -> None:
    """Reverse over reverse and forward over reverse give one Hessian-vector product."""
    for args, params in [lanes[0] for lanes in case.lanes]:
        loss, values = case.loss(args, params)
        every = tuple(range(len(values)))
        generator = ft.Generator().manual_seed(6)
        tangents = tuple(like(v, generator) for v in values)
        forward_product = ft.jvp(ft.grad(loss, every), values, tangents)[1]

        def along(*inputs: Any, loss=loss, every=every, tangents=tangents) -> Any:
            gradients = ft.grad(loss, every)(*inputs)
            return sum((g * t.conj()).sum().real for g, t in zip(gradients, tangents, strict=True))

        close(case, ft.grad(along, every)(*values), forward_product, 1e4)


def vmap(case: Case) -> None:
    """Mapped over all operands it is a loop."""
    for lanes in case.lanes:
        params = lanes[0][1]
        if not lanes[0][0]:
            continue
        stacked = [ft.stack([args[k] for args, _ in lanes]) for k in range(len(lanes[0][0]))]
        got = outputs(ft.vmap(lambda *a, p=params: case.op(*a, **p))(*stacked))
        loop = [outputs(case.op(*args, **params)) for args, _ in lanes]
        close(case, got, [ft.stack(list(y)) for y in zip(*loop, strict=True)], 10)


def vmap_of_grad(case: Case) -> None:
    """Per-lane gradients are a loop's."""
    for lanes in case.lanes:
        loss, values = case.loss(*lanes[0])
        every, at = tuple(range(len(values))), case.split(lanes[0][0])
        stacked = [ft.stack([args[k] for args, _ in lanes]) for k in at]
        got = ft.vmap(ft.grad(loss, every))(*stacked)
        loop = [ft.grad(loss, every)(*[x[b] for x in stacked]) for b in range(LANES)]
        close(case, got, [ft.stack(list(g)) for g in zip(*loop, strict=True)])


def compiled(case: Case) -> None:
    """The compiled op's values are eager's, bit for bit, draws from a generator too."""
    for args, params in [lanes[0] for lanes in case.lanes]:
        generator = params.get("generator")
        state = generator.get_state() if generator else None
        expected = outputs(case.op(*args, **params))
        if generator:
            generator.set_state(state)
        got = outputs(ft.compile(lambda *a, p=params: case.op(*a, **p))(*args))
        for y, e in zip(got, expected, strict=True):
            assert (y.dtype, y.shape) == (e.dtype, e.shape), f"{y.dtype} {y.shape}"
            assert numpy.array_equal(y.numpy(), e.numpy(), equal_nan=y.dtype.is_inexact)


# columns that one check decides together share it
COLUMNS = [
    ("forward", forward), ("reverse", both_modes), ("forward mode", both_modes),
    ("reverse over reverse", second_orders), ("forward over reverse", second_orders),
    ("vmap", vmap), ("vmap of grad", vmap_of_grad), ("compile", compiled),
]  # fmt: skip
DERIVATIVES = {both_modes, second_orders, vmap_of_grad}


def row(op: Op) -> tuple[list[str], dict[str, str]]:
    """The marks of an op, and what failed."""
    case = Case(op)
    differentiable = op.differentiable and any(
        case.split(args) for args, _ in [lanes[0] for lanes in case.lanes]
    )
    known: dict[Any, str] = {}
    failures: dict[str, str] = {}
    marks = []
    for name, check in COLUMNS:
        if check not in known:
            if check in DERIVATIVES and not differentiable:
                known[check] = NONE
            elif check in (vmap, vmap_of_grad) and (case.unmapped or op.random):
                known[check] = NONE if case.unmapped else YES if _draws(op, case) else NO
            elif check is compiled and case.by_values:
                known[check] = NONE
            else:
                try:
                    check(case)
                    known[check] = YES
                except Exception as e:
                    known[check], failures[name] = NO, f"{type(e).__name__}: {e}"
        marks.append(known[check])
    return marks, failures


def _draws(op: Op, case: Case) -> bool:
    """Does vmap give each lane of a random op its own numbers?"""
    params = case.lanes[0][0][1]
    out = ft.vmap(lambda _: op(**params), randomness="different")(ft.zeros(3))
    return out.shape[0] == 3


def dtypes(op: Op) -> str:
    """The dtypes that the op takes."""
    if op.random:
        return "all"
    taken = []
    for d in DTYPES:
        kind = "bool" if d.name == "bool" else d.name.strip("0123456789").removeprefix("u")
        if {"bfloat": "float"}.get(kind, kind) not in kinds_of(op):
            continue
        try:
            op(*samples_of(op, d.name)[0][0], **samples_of(op, d.name)[0][1])
            taken.append(d.name)
        except (ft.DTypeError, ft.ShapeError, ft.KernelError, OverflowError):
            continue
    return " ".join(taken)


HEAD = """# Coverage

Every op of the table under every transform, written by `python docs/coverage.py` from the ops'
samples. {yes} means that the results were compared: values with the oracle of the entry, reverse
with forward mode, the two second orders with each other, vmap with a loop, the compiled op bit for
bit with the op as it is called. {none} means that there is nothing to ask for: no derivative (an
integer result, say), or, under vmap and compile, a shape that depends on values. Public functions
that are not listed are composites of these and inherit all of it.

{count} ops, {marks} marks, {failed} failures.

"""


def page() -> str:
    """The whole page."""
    lines, marks, failed = [], 0, 0
    families: dict[str, list[str]] = {}
    for name in sorted(TABLE):
        families.setdefault(TABLE[name].family or "other", []).append(name)
    for family in sorted(families):
        lines += [
            f"## {family}", "", "| op | " + " | ".join(n for n, _ in COLUMNS) + " | dtypes |",
            "|---|" + ":-:|" * len(COLUMNS) + "---|",
        ]  # fmt: skip
        for name in families[family]:
            found, failures = row(TABLE[name])
            marks += len(found)
            failed += found.count(NO)
            for what, why in failures.items():
                print(f"{name}, {what}: {why}", file=sys.stderr)
            lines.append(f"| `{name}` | {' | '.join(found)} | {dtypes(TABLE[name])} |")
        lines.append("")
    head = HEAD.format(yes=YES, none=NONE, count=len(TABLE), marks=marks, failed=failed)
    return head + "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:]:
        for chosen in sys.argv[1:]:
            print(chosen, *row(TABLE[chosen]), dtypes(TABLE[chosen]))
    else:
        PAGE.write_text(page(), encoding="utf-8")
