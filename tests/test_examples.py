"""Every program in examples/ runs and its assertions hold, with --quick where it knows that."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples"
HELPERS = {"datasets", "serve"}  # imported by the others; a server, which has tests of its own
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in HELPERS)


SLOW = {"train_digits"}


@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PROGRAMS]
)
def test_program(name, tmp_path):
    options = ["--quick"]
    if name == "train_digits":
        pytest.importorskip("matplotlib")
        options = ["--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / f"{name}.py", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_says_what_it_does_and_asserts_it(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_readme_lists_all_programs():
    listed = re.findall(r"`examples/(\w+)\.py` \|", (ROOT / "README.md").read_text())
    assert sorted(listed) == PROGRAMS
