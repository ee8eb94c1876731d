"""The layers: imports go one way, C kernels and op entries match, every op has all its rules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import functorch_like  # noqa: F401 - fills the table
from cbackend import ffi, lib
from functorch_like.op import TABLE

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {"cbackend": {"functorch_like", "nn"}, "functorch_like": {"nn"}, "nn": {"cbackend"}}

# kernels that no entry names, and why
WITHOUT_ENTRY = {
    "sum_squares": "inside norm2 and var in C",
}


def imported(path: Path):
    """The packages that a file imports, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], node.lineno


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_imports_go_to_the_left(layer):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {package}"
        for path in sorted((ROOT / layer).rglob("*.py"))
        for package, line in imported(path)
        if package in FORBIDDEN[layer]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_tests_are_not_imported(layer):
    heavy = {"pytest", "torch", "scipy", "hypothesis"}
    wrong = [
        f"{p.relative_to(ROOT)}:{line} imports {name}"
        for p in sorted((ROOT / layer).rglob("*.py"))
        for name, line in imported(p)
        if name in heavy
    ]
    assert not wrong, "\n".join(wrong)


def kernels():
    """The names of all kernels that the C core lists, by family."""
    found = []
    for family in ("unary", "binary", "ternary", "reduce", "argreduce", "scan"):
        code = 0
        while (name := lib.cb_op_name(family.encode(), code)) != ffi.NULL:
            found.append((family, ffi.string(name).decode()))
            code += 1
    return found


def test_every_kernel_has_an_entry():
    missing = [
        f"{family} {name}"
        for family, name in kernels()
        if name not in TABLE and name not in WITHOUT_ENTRY
    ]
    assert not missing, f"kernels without an entry in functorch_like/ops: {missing}"


def test_excuses_are_not_stale():
    names = {name for _, name in kernels()}
    assert not [name for name in WITHOUT_ENTRY if name in TABLE or name not in names]


def test_every_elementwise_entry_has_its_kernel():
    for op in TABLE.values():
        if op.family in ("unary", "binary", "ternary"):
            assert lib.cb_op_code(op.family.encode(), op.name.encode()) >= 0, op.name


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_op_has_all_rules(name):
    op = TABLE[name]
    assert callable(op.batch) or callable(op.decompose) or callable(op.decides)
    if op.differentiable:
        assert op.pull is not None or callable(op.decompose)
        assert callable(op.jvp) or callable(op.decompose)
    else:
        assert op.vjp.reason
