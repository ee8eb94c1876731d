"""Training that goes on after a rank is killed, on those left, as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import functorch_like as ft
from nn.distributed import Checkpointer, Part

PROGRAMS = Path(__file__).parent / "programs"


def losses(folder):
    """The last loss of each step, in order; and the steps as they were made."""
    lines = [line.split() for line in (folder / "losses.txt").read_text().splitlines()]
    found = {int(step): float(value) for step, value in lines}
    return [found[step] for step in sorted(found)], [int(step) for step, _ in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The losses of one process by itself."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run(
        [sys.executable, str(PROGRAMS / "elastic.py"), "none", "0", str(folder)],
        env={"PYTHONPATH": f"{PROGRAMS.parents[2]}:{PROGRAMS}", "PATH": ""},
        check=True,
        timeout=300,
    )
    return losses(folder)[0]


@pytest.mark.parametrize(
    ("how", "when", "resumed"),
    [("kill", 9, 8), ("write", 12, 8)],
    ids=["in the middle of an epoch", "in the middle of a checkpoint"],
)
def test_killed_rank(how, when, resumed, launch, tmp_path, undisturbed):
    done = launch("elastic.py", 4, how, when, tmp_path, options=("--max-restarts", "1"))
    assert done.returncode == 0, done.stderr
    assert "rank 3 was ended by signal 9" in done.stderr
    assert "starts at 0 on 4" in done.stdout
    assert f"starts at {resumed} on 3" in done.stdout
    assert "finished on 3 with [12, 16]" in done.stdout
    values, made = losses(tmp_path)
    assert made.count(resumed) == 2  # done again
    assert len(values) == 18
    assert max(abs(a - b) for a, b in zip(values, undisturbed, strict=True)) < 1e-5


def test_checkpoints_are_whole_or_not_there_without_mpi(tmp_path):
    saver = Checkpointer(tmp_path, keep=2)
    assert saver.load() is None
    for step in (1, 2, 3):
        own = {"a": Part(ft.arange(6.0) * step, 0, 6), "n": step, "t": ft.ones(2) * step}
        saver.save(step, {"w": ft.full((3,), step), "list": [1, (2.5, None)]}, own)
    saver.wait()
    assert saver.steps() == [2, 3]
    (tmp_path / "step-00000009.partial").mkdir()
    (tmp_path / "step-00000008").mkdir()  # no index: not one of ours
    saver = Checkpointer(tmp_path)
    assert not (tmp_path / "step-00000009.partial").exists()
    step, state, parts = saver.load()
    assert step == 3 and state["list"] == [1, (2.5, None)]
    assert state["w"].tolist() == [3.0, 3.0, 3.0]
    assert parts["n"] == 3 and parts["t"].tolist() == [3.0, 3.0]
    assert parts.slice("a", 2, 4).tolist() == [6.0, 9.0]
    assert saver.load(2)[1]["w"].tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ValueError, match="one of steps"):
        saver.load(7)
    (tmp_path / "step-00000003").rename(tmp_path / "step-00000003.replaced")
    assert Checkpointer(tmp_path).steps() == [2, 3]


def test_values_may_change_after_save_without_mpi(tmp_path):
    saver = Checkpointer(tmp_path)
    w = ft.zeros(1000)
    saver.save(1, {"w": w})
    w.add_(1.0)
    saver.wait()
    assert saver.load()[1]["w"].sum().item() == 0.0


def test_parts_of_other_numbers_of_ranks_without_mpi(tmp_path):
    saver = Checkpointer(tmp_path)
    saver.save(1, {}, {"a": Part(ft.arange(3.0), 0, 5)}, background=False)
    parts = saver.load()[2]
    assert parts.slice("a", 1, 3).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="without some ranks"):
        parts.slice("a", 1, 5)
    with pytest.raises(ValueError, match="flat tensor"):
        Part(ft.ones(3), 3, 5)


def test_errors_of_the_thread_are_raised_without_mpi(tmp_path):
    saver = Checkpointer(tmp_path / "folder")
    (tmp_path / "folder" / "step-00000001.partial").write_text("in the way")
    saver.save(1, {"w": ft.ones(2)})
    with pytest.raises(OSError):
        saver.wait()
