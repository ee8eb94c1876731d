"""Runs the programs of tests/distributed/programs on several ranks and hands out their results.

A program's functions `check_*` run on every rank; one launch serves all tests of a program.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nn.distributed.run import find_mpiexec

PROGRAMS = Path(__file__).parent / "programs"
ROOT = PROGRAMS.parent.parent.parent


def pytest_collection_modifyitems(items):
    here = [item for item in items if Path(item.fspath).parent == PROGRAMS.parent]
    why = None
    if importlib.util.find_spec("mpi4py") is None:
        why = "mpi4py is not installed: pip install 'functorch-like[mpi]'"
    elif find_mpiexec() is None:
        why = "there is no mpiexec"
    for item in here:
        if why and "without_mpi" not in item.name:
            item.add_marker(pytest.mark.skip(reason=why))


def launch(program, nproc, *args, options=(), timeout=300, variables=()):
    """The finished process of a program of this folder on nproc ranks.

    variables: of the environment, as pairs.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PROGRAMS}", **dict(variables)}
    environment.pop("PYTEST_CURRENT_TEST", None)
    command = [sys.executable, "-m", "nn.distributed.run", "--nproc", str(nproc), *options]
    return subprocess.run(
        [*command, str(PROGRAMS / program), *map(str, args)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(name="launch")
def _launch():
    return launch


@functools.cache
def results(program, nproc, *args, variables=()):
    """({check: error text or ""}, output): the ranks' errors together; one launch for all tests."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return _results(program, nproc, *args, variables=variables)
    name = "-".join(map(str, ("fl", run, program, nproc, *args)))
    path = Path(tempfile.gettempdir(), f"{name}.json")
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            found = _results(program, nproc, *args, variables=variables)
            path.write_text(json.dumps(found))
        return tuple(json.loads(path.read_text()))


def _results(program, nproc, *args, variables=()):
    done = launch(program, nproc, *args, variables=variables)
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            text = f"rank {entry['rank']}: {entry['error']}\n" if entry["error"] else ""
            found[entry["check"]] = found.get(entry["check"], "") + text
    if done.returncode:
        found["end"] = f"exit status {done.returncode}"
    return found, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture
def passes():
    def check(program, nproc, name, *args, variables=()):
        found, output = results(program, nproc, *args, variables=variables)
        assert name in found, f"{name} did not run:\n{output}"
        assert not found[name], found[name]
        assert "end" not in found, f"{found['end']}:\n{output}"

    return check
