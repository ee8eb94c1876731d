"""DataParallel: with several emulated devices what one device gives; without any, the module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

import functorch_like as ft
import nn
import nn.functional as F
from nn.distributed import DataParallel
from nn.distributed.replicas import gather, scatter

CUDA = ft.cuda.device_count()
several = pytest.mark.skipif(CUDA < 3, reason="fewer than 3 devices; see FL_EMULATED_DEVICES")


@pytest.mark.skipif(not CUDA or CUDA >= 3, reason="no device, or several: the others run here")
def test_with_three_emulated_devices_without_mpi():
    """Runs this file again where the emulator offers three devices."""
    if ft.cuda.get_device_name() != "emulated device":
        pytest.skip("a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "FL_EMULATED_DEVICES": "3"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "failed" not in done.stdout


def test_without_devices_without_mpi():
    model = nn.Linear(3, 2)
    x = ft.ones(4, 3)
    parallel = DataParallel(model, device_ids=[])
    assert ft.equal(parallel(x), model(x))
    assert list(parallel.state_dict()) == ["module.weight", "module.bias"]
    parallel = DataParallel(model, device_ids=["cpu"])
    parallel(x).sum().backward()
    assert ft.equal(model.bias.grad, ft.full((2,), 4.0))
    twice = DataParallel(model, device_ids=["cpu", "cpu"])
    assert ft.allclose(twice(x), model(x))


def test_scatter_and_gather_without_mpi():
    pair = namedtuple("pair", "x y")
    value = {"a": [ft.arange(5), "text"], "b": pair(ft.ones(5, 2), None), "c": ()}
    parts = scatter(value, ["cpu"] * 3)
    assert [p["a"][0].tolist() for p in parts] == [[0, 1], [2, 3], [4]]
    assert parts[2]["b"].x.shape == (1, 2) and parts[2]["b"].y is None and parts[0]["c"] == ()
    whole = gather([{"a": [p["a"][0]], "b": p["b"]} for p in parts], "cpu")
    assert ft.equal(whole["a"][0], ft.arange(5)) and whole["b"].x.shape == (5, 2)
    assert gather([ft.tensor(1.0), ft.tensor(2.0)], "cpu").tolist() == [1.0, 2.0]
    assert scatter((1, "a"), ["cpu"] * 3) == [(1, "a")]
    assert len(scatter(ft.ones(2), ["cpu"] * 3)) == 2
    with pytest.raises(RuntimeError, match="one size"):
        scatter((ft.ones(6), ft.ones(2)), ["cpu"] * 3)
    with pytest.raises(TypeError, match="got int"):
        gather([1, 2], "cpu")


def network():
    ft.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5), nn.Tanh()
    )


@several
def test_values_and_gradients_of_one_device_without_mpi():
    x, y = ft.randn(7, 1, 8, 8), ft.randint(0, 5, (7,))
    alone = network()
    F.cross_entropy(alone(x), y).backward()
    model = network().to("cuda:0")
    parallel = DataParallel(model)
    assert [str(d) for d in parallel.device_ids] == ["cuda:0", "cuda:1", "cuda:2"]
    out = parallel(x.to("cuda:0"))
    assert str(out.device) == "cuda:0"
    assert ft.allclose(out.cpu(), alone(x), atol=1e-5)
    F.cross_entropy(out, y.to("cuda:0")).backward()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        assert str(p.grad.device) == "cuda:0"
        assert ft.allclose(p.grad.cpu(), q.grad, atol=1e-5)


@several
def test_training_goes_as_on_one_device_without_mpi():
    def losses(make):
        model = network()
        forward = make(model)
        optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        place = next(model.parameters()).device
        found = []
        for i in range(4):
            x = ft.random.normal(ft.random.key(i), (6, 1, 8, 8)).to(place)
            optimizer.zero_grad()
            loss = (forward(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    alone = losses(lambda m: m)
    parallel = losses(lambda m: DataParallel(m.to("cuda:1"), [1, 2, 0], output_device=1))
    assert max(abs(a - b) for a, b in zip(alone, parallel, strict=True)) < 1e-5


class Probe(nn.Module):
    """Says where and how it was called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(ft.ones(2, device="cuda:0"))
        self.inner = nn.Linear(2, 2).to("cuda:0")
        self.again = self.inner

    def forward(self, x, *, scale=1.0, fail=False):
        assert self.weight.device == x.device and self.again is self.inner
        if fail and x.device.index == 1:
            raise ValueError("a bad part")
        grad = ft.is_grad_enabled()
        y = x @ ft.ones(2, 2, device=x.device)
        return {"x": self.inner(x) * self.weight * scale, "sum": x.sum(), "y": y}, [
            ft.tensor([float(grad)], device=x.device)
        ]


@several
def test_what_modules_see_and_give_without_mpi():
    model = Probe()
    parallel = DataParallel(model, output_device="cuda:2")
    x = ft.arange(10.0).reshape(5, 2)
    found, grads = parallel(x, scale=2.0)
    assert str(found["x"].device) == "cuda:2" and found["x"].shape == (5, 2)
    assert found["sum"].tolist() == [6.0, 22.0, 17.0]
    assert grads[0].tolist() == [1.0] * 3
    with ft.no_grad(), ft.amp.autocast(dtype=ft.bfloat16):
        found, grads = parallel(x)
        assert grads[0].tolist() == [0.0] * 3
        assert found["y"].dtype == ft.bfloat16
    with pytest.raises(ValueError, match="a bad part") as error:
        parallel(x, fail=True)
    if sys.version_info >= (3, 11):
        assert "replica 1 on cuda:1" in "".join(error.value.__notes__)
    assert parallel(ft.ones(1, 2))[0]["x"].shape == (1, 2)  # one part only
    with pytest.raises(RuntimeError, match="expected parameters and buffers on cuda:1"):
        DataParallel(model, [1, 2])(x)


@several
def test_buffers_of_the_first_device_stay_without_mpi():
    model = nn.BatchNorm1d(2).to("cuda:0")
    parallel = DataParallel(model)
    parallel(ft.ones(6, 2))
    assert int(model.num_batches_tracked.item()) == 1
    assert ft.allclose(model.running_mean.cpu(), ft.full((2,), 0.1))


@several
def test_under_transforms_without_mpi():
    model = nn.Linear(2, 1).to("cuda:0")
    parallel = DataParallel(model)
    x = ft.arange(12.0).reshape(6, 2).to("cuda:0")
    got = ft.grad(lambda x: (parallel(x) ** 2).sum())(x)
    want = ft.grad(lambda x: (model(x) ** 2).sum())(x)
    assert ft.allclose(got.cpu(), want.cpu(), atol=1e-5)
