"""Collectives of CUDA tensors on emulated devices, with the stand-in for NCCL and without.

`make cuda-test` builds both libraries and runs these tests. The real NCCL takes no part in them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from functorch_like.distributed import nccl

PROGRAMS = Path(__file__).parent / "programs"
LIBRARY = Path(os.environ.get("FL_CUDA_LIBRARY", ""))
STAND_IN = LIBRARY.parent / "libnccl_stand_in.so"
TEXT = (PROGRAMS / "on_cuda.py").read_text()
CHECKS = [line[4:].split("(")[0] for line in TEXT.splitlines() if line.startswith("def check_")]

emulated = pytest.mark.skipif(
    "emulated" not in LIBRARY.name or not STAND_IN.exists(),
    reason="no emulated device with a stand-in for NCCL; `make cuda-test` runs these",
)


def variables(library):
    return (("FL_EMULATED_DEVICES", "2"), ("FL_NCCL_LIBRARY", str(library)))


@emulated
@pytest.mark.parametrize("name", CHECKS)
def test_with_nccl(name, passes):
    passes("on_cuda.py", 2, name, "nccl", variables=variables(STAND_IN))


@emulated
@pytest.mark.parametrize("name", CHECKS)
def test_without_nccl(name, passes):
    passes("on_cuda.py", 2, name, "host", variables=variables(LIBRARY.parent / "none.so"))


@emulated
def test_one_gpu_for_two_ranks_is_told(launch):
    given = (("FL_EMULATED_DEVICES", "1"), ("FL_NCCL_LIBRARY", str(STAND_IN)))
    done = launch("cuda_dies.py", 2, "never", variables=given)
    assert done.returncode == 0, done.stderr
    assert "ranks 0 and 1 use one GPU" in done.stderr


@emulated
def test_a_rank_that_dies_in_a_collective(launch):
    done = launch("cuda_dies.py", 2, "die", variables=variables(STAND_IN))
    assert done.returncode != 0
    assert "rank 1 was ended by signal 9 (SIGKILL)" in done.stderr


def test_where_nccl_is_searched_without_mpi(monkeypatch, tmp_path):
    monkeypatch.setenv("FL_NCCL_LIBRARY", "given.so")
    assert nccl._paths() == ["given.so"]
    monkeypatch.delenv("FL_NCCL_LIBRARY")
    assert nccl._paths()[-1] == "libnccl.so.2"
    folder = tmp_path / "nvidia" / "nccl" / "lib"
    folder.mkdir(parents=True)
    (folder / "libnccl.so.2").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert nccl._paths()[0] == str(folder / "libnccl.so.2")


def test_no_library_is_told_without_mpi(monkeypatch, tmp_path):
    monkeypatch.setenv("FL_NCCL_LIBRARY", str(tmp_path / "none.so"))
    nccl._opened.cache_clear()
    assert nccl.library() is None and "none.so" in nccl.why_unavailable()
    nccl._opened.cache_clear()
