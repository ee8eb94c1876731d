"""Every program in examples/ runs and its assertions hold, with --quick where it knows that."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples"
HELPERS = {"datasets", "serve"}  # imported by the others; a server, which has tests of its own
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in HELPERS)


def source_of(name):
    return (FOLDER / f"{name}.py").read_text()


SLOW = {"train_digits"}


@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PROGRAMS]
)
def test_program(name, tmp_path):
    options = ["--quick"]
    if name == "train_digits":
        pytest.importorskip("matplotlib")
        options = ["--epochs", "1"]
    printed(name, options, tmp_path)


def printed(name, options, folder, **variables):
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / f"{name}.py", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [p for p in PROGRAMS if "ft.compile" in source_of(p)])
def test_program_gives_the_same_compiled_and_not(name, tmp_path):
    runs = [printed(name, ["--quick"], tmp_path, FL_COMPILE=on) for on in ("0", "1")]
    plain, compiled = [re.sub(r"[\d.]+ (s|ms|us|\w+ a second)\b", "some time", run) for run in runs]
    assert compiled == plain


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_says_what_it_does_and_asserts_it(name):
    tree = ast.parse(source_of(name))
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_readme_lists_all_programs():
    listed = re.findall(r"`examples/(\w+)\.py` \|", (ROOT / "README.md").read_text())
    assert sorted(listed) == PROGRAMS
