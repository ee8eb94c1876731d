"""The launcher: ranks that die are noticed and named, and the program is started again."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from nn.distributed import run


def test_a_killed_rank_ends_all_and_is_named(launch):
    start = time.monotonic()
    done = launch("failing.py", 3, "kill@0")
    assert time.monotonic() - start < 60  # most of it is the start, on a busy machine
    assert done.returncode != 0
    assert "nn.distributed.run: rank 2 was ended by signal 9 (SIGKILL)" in done.stderr
    # mpiexec may drop what the others say in their last moment, on a busy machine
    assert any(f"rank {rank} stops: rank 2 (process" in done.stderr for rank in (0, 1))


def test_restarts_on_the_ranks_left_with_the_traceback(launch):
    done = launch("failing.py", 3, "raise@0", options=("--max-restarts", "2"))
    assert done.returncode == 0, done.stderr
    assert "finished on 2 after 1" in done.stdout
    assert "rank 2 failed with ValueError: a bad batch" in done.stderr
    assert 'raise ValueError("a bad batch")' in done.stderr
    assert "restart 1 of 2 on 2 ranks" in done.stderr


def test_gives_up_when_too_few_are_left(launch):
    done = launch("failing.py", 2, "memory@0", options=("--max-restarts", "2", "--min-nproc", "2"))
    assert done.returncode != 0
    assert "OutOfMemoryError" in done.stderr and "too few" in done.stderr


def test_what_is_known_of_ended_ranks_without_mpi(tmp_path):
    text = "rank 0 ended with status 14\nrank 3 ended with status 139\n"
    assert run.died(tmp_path, text) == "rank 3 was ended by signal 11 (SIGSEGV)"
    assert run.died(tmp_path, text[:28]) == "rank 0 ended with exit code 14"
    assert run.died(tmp_path, "") is None
    daemon = "HNP daemon   : [x@0,0] on node a\n  Remote daemon: [x@0,1] on node b\n"
    assert run.died(tmp_path, text[:28] + daemon) == "host b was lost"
    (tmp_path / "ended").write_text("rank 2 ended with status 137\n")
    assert run.died(tmp_path, text) == "rank 2 was ended by signal 9 (SIGKILL)"
    assert run.without("a:2,b:3,c", "b") == ("a:2,c", 3)
    assert run.without("b", "b") == ("", 0)


def test_the_shell_around_a_rank_without_mpi(tmp_path):
    environment = {"FL_JOB_FOLDER": str(tmp_path), "PATH": os.environ["PATH"]}

    def ended(rank, program):
        words = ["/bin/sh", "-c", run._SHELL, "sh", "/bin/sh", "-c", program]
        variables = {**environment, "PMI_RANK": str(rank)}
        done = subprocess.run(words, env=variables, capture_output=True, text=True)
        return done.returncode, done.stderr.replace("Killed\n", "")

    assert ended(0, "exit 0") == (0, "")
    assert ended(1, "kill -9 $$") == (137, "")
    assert ended(2, "exit 3") == (3, "")
    text = "rank 1 ended with status 137\nrank 2 ended with status 3\n"
    assert (tmp_path / "ended").read_text() == text
    environment["FL_JOB_FOLDER"] = str(tmp_path / "on another machine")
    assert ended(2, "exit 3") == (3, "rank 2 ended with status 3\n")


def test_command_line_without_mpi(monkeypatch, capsys):
    monkeypatch.setattr(run, "find_mpiexec", lambda: None)
    assert run.main(["--nproc", "2", "x.py"]) == 2
    assert "functorch-like[mpi]" in capsys.readouterr().err
    assert run.main(["--nproc", "0", "x.py"]) == 2
    with pytest.raises(SystemExit):
        run.main(["--nproc", "two", "x.py"])
