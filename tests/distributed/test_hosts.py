"""The launcher with two hosts: network namespaces of this machine, joined by virtual cards."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nn.distributed.run import find_mpiexec

PROGRAMS = Path(__file__).parent / "programs"
SPACES = ["unshare", "--user", "--map-root-user", "--net", "--uts", "--mount"]


@functools.cache
def why_not():
    """Why there can be no two hosts here; "" if there can."""
    for tool in ("unshare", "nsenter", "ip", "mount", "hostname"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    mpiexec = find_mpiexec()
    version = subprocess.run([str(mpiexec), "--version"], capture_output=True, text=True).stdout
    if "HYDRA" in version:
        return "mpiexec is not Open MPI's"
    tried = subprocess.run(
        [*SPACES, "sh", "-c", "ip link add veth-a type veth peer name veth-b && hostname a"],
        capture_output=True,
        text=True,
    )
    return f"not permitted here: {tried.stderr.strip()}" if tried.returncode else ""


def on_hosts(folder, how, *options):
    if find_mpiexec() is not None and why_not():
        pytest.skip(why_not())
    command = [sys.executable, "-m", "nn.distributed.run", "--nproc", "4", "--hosts", "a:2,b:2"]
    program = [PROGRAMS / "on_hosts.py", how]
    return subprocess.run(
        [*SPACES, "sh", PROGRAMS / "hosts.sh", folder, *command, *options, *program],
        env={**os.environ, "PYTHONPATH": str(PROGRAMS.parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_collectives_between_hosts(tmp_path):
    done = on_hosts(tmp_path, "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ranks on a/0 a/1 b/0 b/1" in done.stdout


def test_a_rank_killed_on_another_host_is_named(tmp_path):
    start = time.monotonic()
    done = on_hosts(tmp_path, "rank")
    assert done.returncode != 0
    assert time.monotonic() - start < 60
    assert "nn.distributed.run: rank 3 was ended by signal 9 (SIGKILL)" in done.stderr, done.stderr


def test_a_host_that_is_lost_is_named_and_left_out(tmp_path):
    done = on_hosts(tmp_path, "host", "--max-restarts", "1")
    assert "nn.distributed.run: host b was lost" in done.stderr, done.stderr
    assert "restart 1 of 1 on 2 ranks" in done.stderr
    assert done.returncode == 0, done.stderr
    assert "ranks on a/0 a/1\n" in done.stdout
