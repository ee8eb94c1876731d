"""The collectives on 3 ranks, and in a process by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import functorch_like as ft

PROGRAMS = Path(__file__).parent / "programs"


def names_of(program):
    text = (PROGRAMS / program).read_text()
    return [line[4:].split("(")[0] for line in text.splitlines() if line.startswith("def check_")]


@pytest.mark.parametrize("name", names_of("collectives.py"))
def test_collectives(name, passes):
    passes("collectives.py", 3, name)


def test_a_world_of_one_without_mpi():
    distributed = ft.distributed
    x = ft.tensor([1.0, 2.0])
    assert distributed.init().size == 1
    for op in ("sum", "mean", "prod", "max", "min"):
        assert ft.equal(distributed.all_reduce(x, op), x)
    for function in (
        distributed.all_gather,
        distributed.reduce_scatter,
        distributed.broadcast,
        distributed.reduce,
        distributed.gather,
        distributed.scatter,
        distributed.all_to_all,
    ):
        y = function(x)
        assert ft.equal(y, x) and y.data_ptr() != x.data_ptr()
        assert ft.equal(ft.grad(lambda x, f=function: (f(x) ** 2).sum())(x), 2 * x)
        assert ft.equal(function(x, async_op=True).wait(), x)
    distributed.barrier()
    assert distributed.all_gather_object(3) == [3]
    with pytest.raises(ValueError, match="one of the group's ranks"):
        distributed.send(x, 1)


def test_imports_load_no_mpi_without_mpi():
    code = (
        "import sys, functorch_like as ft, nn;assert 'functorch_like.distributed' not in "
        "sys.modules;ft.distributed.init(); nn.distributed; assert 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
