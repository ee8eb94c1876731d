"""Training on several ranks: data-parallel, sharded, with checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

import functorch_like as ft
import nn

PROGRAMS = Path(__file__).parent / "programs"


def names_of(program):
    text = (PROGRAMS / program).read_text()
    return [line[4:].split("(")[0] for line in text.splitlines() if line.startswith("def check_")]


@pytest.mark.parametrize("name", names_of("training.py"))
def test_data_parallel(name, passes):
    passes("training.py", 2, name)


@pytest.mark.parametrize("name", names_of("sharding.py"))
def test_sharded(name, passes):
    passes("sharding.py", 3, name)


def test_data_parallel_alone_without_mpi():
    ft.manual_seed(0)
    model = nn.Linear(3, 2)
    ddp = nn.distributed.DistributedDataParallel(model)
    x = ft.randn(4, 3)
    (ddp(x) ** 2).sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    (model(x) ** 2).sum().backward(inputs=list(model.parameters()))
    for g, p in zip(grads, model.parameters(), strict=True):
        assert ft.equal(g, p.grad)
    assert list(ddp.state_dict()) == ["module.weight", "module.bias"]
