"""Compiled programs on CUDA: replayed as graphs, fused by generated kernels, loaded from files."""

import gc
import os

import numpy as np
import pytest

import functorch_like as ft
import nn
from functorch_like import cuda, testing
from functorch_like.errors import DeviceError


@pytest.fixture(autouse=True)
def graphs():
    before = cuda.use_graphs(True)
    yield
    cuda.use_graphs(before)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(27, 4),
    )  # fmt: skip


def training(model, shape, make_optimizer, compiled, steps=5):
    """The losses and parameters of a few steps on new batches each."""
    ft.manual_seed(0)
    model = model().cuda()
    optimizer = make_optimizer(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = ft.compile(step) if compiled else step
    losses = []
    for i in range(steps):
        x = ft.randn(*shape, generator=ft.Generator().manual_seed(i)).cuda()
        losses.append(run(x, ft.arange(shape[0]).cuda() % 4))
    values = [t.tolist() for t in losses] + [p.tolist() for p in model.parameters()]
    return values, run.explain() if compiled else "", ft.rand(2).tolist()


@pytest.mark.parametrize(
    ("model", "shape"), [(mlp, (5, 6)), (lenet, (5, 1, 8, 8))], ids=["mlp", "lenet"]
)
@pytest.mark.parametrize(
    "make_optimizer",
    [lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: nn.optim.AdamW(p, lr=0.01)],
    ids=["sgd", "adamw"],
)
def test_a_replayed_training_step_is_the_launched_one(model, shape, make_optimizer):
    replayed, how, random = training(model, shape, make_optimizer, True)
    assert how.endswith("replayed as a CUDA graph"), how
    cuda.use_graphs(False)
    launched, how, random_launched = training(model, shape, make_optimizer, True)
    assert "graph" not in how
    assert replayed == launched  # bit for bit
    assert random == random_launched  # the generator went on as far
    eager, _, random_eager = training(model, shape, make_optimizer, False)
    assert random_eager == random
    for a, b in zip(replayed, eager, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_dropout_goes_on_as_in_eager_mode():
    def f(x):
        return nn.functional.dropout(x, 0.5), ft.randn(3, device=x.device), ft.rand(2).cuda()

    def g(x):
        return nn.functional.dropout(x, 0.5), ft.randn_like(x)

    for function, replayed in ((f, False), (g, True)):
        runs = []
        for run in (ft.compile(function), function):
            ft.manual_seed(3)
            x = ft.ones(40, device="cuda")
            runs.append([[t.tolist() for t in run(x)] for _ in range(5)])
            if run is not function:
                assert ("replayed" in run.explain()) == replayed, run.explain()
        assert runs[0] == runs[1]
        assert runs[0][3] != runs[0][4]
    # another seed is another program's state, not another program
    run = ft.compile(g)
    for seed in (1, 2, 3, 1):
        ft.manual_seed(seed)
        last = [t.tolist() for t in run(x)]
    ft.manual_seed(1)
    assert last == [t.tolist() for t in g(x)]


def test_results_are_the_callers():
    @ft.compile
    def f(x):
        y = x * 2
        return y, y.reshape((2, 2)), (x + 1).sum(), y[1:3]

    made = [f(ft.full((4,), float(i), device="cuda")) for i in range(6)]
    for i, (y, square, total, part) in enumerate(made):
        assert y.tolist() == [2.0 * i] * 4
        assert square.tolist() == [[2.0 * i] * 2] * 2
        assert total.item() == 4 * (i + 1)
        assert part.tolist() == [2.0 * i] * 2
    y, square, *_ = made[-1]
    y.add_(1)
    assert square.tolist() == [[11.0] * 2] * 2  # they share memory as without graphs
    assert "replayed" in f.explain()


def test_inputs_that_move_and_inputs_that_stay():
    w = ft.ones(3, device="cuda")
    f = ft.compile(lambda x: x * w)
    for i in range(6):
        assert f(ft.full((3,), float(i), device="cuda")).tolist() == [float(i)] * 3
        w.add_(0)  # in place: where it was
    w = ft.full((3,), 5.0, device="cuda")  # elsewhere
    for i in range(3):
        assert f(ft.full((3,), float(i), device="cuda")).tolist() == [5.0 * i] * 3
    x = ft.arange(6.0, device="cuda").reshape((2, 3)).t()
    g = ft.compile(lambda x: x + 1)
    for _ in range(4):
        assert g(x).tolist() == (x + 1).tolist()
        assert g(ft.arange(6.0, device="cuda").reshape((2, 3)).t() + 0).shape == (3, 2)


def test_numbers_change_between_replays():
    f = ft.compile(lambda x, a: x * a + (1 - a))
    x = ft.ones(3, device="cuda")
    for a in (0.5, 2.0, -1.0, 3.0, 4.0):
        assert f(x * 2, a).tolist() == [a * 2 + (1 - a)] * 3
    assert "replayed" in f.explain()
    g = ft.compile(lambda x, n: x * n)  # a 0-d tensor on the host
    for n in range(5):
        assert g(x, ft.tensor(float(n))).tolist() == [float(n)] * 3


def test_a_schedule_is_followed():
    def run(compiled):
        w = nn.Parameter(ft.ones(3, device="cuda"))
        optimizer = nn.optim.SGD([w], lr=0.25)
        schedule = nn.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

        def step():
            optimizer.zero_grad()
            (w**2).sum().backward()
            optimizer.step()
            return w.sum()

        step, seen = ft.compile(step) if compiled else step, []
        for _ in range(6):
            seen.append(step().item())
            schedule.step()
        return seen

    assert run(True) == run(False)


def test_what_cannot_be_replayed_says_why(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("FL_COMPILE_LOG", str(log))
    x = ft.rand(4, 4, device="cuda") + 4 * ft.eye(4, device="cuda")
    f = ft.compile(lambda x: ft.linalg.matrix_exp(x / 8).sum() + x.sum())
    expected = f(x).item()
    for _ in range(3):
        assert f(x).item() == pytest.approx(expected)
    assert "launched kernel by kernel: " in f.explain()
    assert "launched kernel by kernel" in log.read_text()
    g = ft.compile(lambda x: ft.callback(lambda a: a * 2, x, x) + 1)
    for _ in range(3):
        testing.assert_close(g(x).cpu(), (x * 2 + 1).cpu())
    assert "calls back into Python" in g.explain()
    h = ft.compile(lambda x: (x.cuda() + 1).cpu())
    for _ in range(3):
        assert h(ft.ones(2)).tolist() == [2.0, 2.0]


def test_indices_out_of_range_are_found_later():
    table = ft.arange(12.0, device="cuda").reshape((4, 3))
    f = ft.compile(lambda i: table[i] * 1)
    for _ in range(4):
        assert f(ft.tensor([1, -1]).cuda()).tolist() == [[3.0, 4.0, 5.0], [9.0, 10.0, 11.0]]
    assert "replayed" in f.explain()
    wrong = ft.tensor([2, 7]).cuda()
    y = f(wrong)  # reads nothing outside of the table
    with pytest.raises(IndexError, match=r"in \[-4, 3\].* place 1, in an earlier run"):
        y.tolist()
    assert y[0].tolist() == [6.0, 7.0, 8.0]
    f(wrong)
    with pytest.raises(IndexError, match="use_graphs"):
        cuda.synchronize()
    f(wrong)
    with pytest.raises(IndexError):
        f(ft.tensor([1, 1]).cuda())
    assert f(ft.tensor([1, 1]).cuda())[0].tolist() == [3.0, 4.0, 5.0]
    cuda.use_graphs(False)
    with pytest.raises(IndexError, match="got 7"):
        f(wrong)


def test_donated_inputs():
    f = ft.compile(lambda x, y: x * 2 + y, donate=0)
    y = ft.ones(3, device="cuda")
    for i in range(5):
        x = ft.full((3,), float(i), device="cuda")
        assert f(x, y).tolist() == [2.0 * i + 1] * 3
        with pytest.raises(Exception, match=r"donated|used up"):
            x.tolist()


def test_gradients_of_compiled_functions():
    w = ft.ones(3, 3, device="cuda", requires_grad=True)
    f = ft.compile(lambda x: (x @ w).tanh())
    for i in range(5):
        x = ft.full((2, 3), i / 10, device="cuda")
        f(x).sum().backward()
        expected = ft.grad(lambda w, x=x: (x @ w).tanh().sum())(w.detach())
        testing.assert_close(w.grad, expected)
        w.grad = None
    assert "replayed" in f.explain()


def test_memory_goes_with_the_program():
    gc.collect()
    before = cuda.memory_allocated()
    f = ft.compile(lambda x: (x @ x).exp() + x)
    x = ft.ones(8, 8, device="cuda")
    for _ in range(4):
        y = f(x)
    assert cuda.memory_allocated() > before + x.nbytes + y.nbytes
    del f, x, y
    gc.collect()
    assert cuda.memory_allocated() == before


def test_other_streams_launch_and_then_replay_again():
    f = ft.compile(lambda x: x * 2 + 1)
    x = ft.ones(3, device="cuda")
    for _ in range(3):
        f(x)
    with cuda.stream(cuda.Stream()):
        assert f(x).tolist() == [3.0] * 3
    assert f(x).tolist() == [3.0] * 3


def test_exported_programs_run_on_the_device(tmp_path):
    path = tmp_path / "p.safetensors"
    ft.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()
    x = ft.randn(2, 1, 4, 4)
    ft.export(lambda x: {"y": model(x).softmax(-1), "z": ft.zeros(2) + 1}, (x,), path)
    program = ft.load_program(path, device="cuda")
    for _ in range(4):
        out = program(x.cuda())
        assert out["y"].is_cuda
        testing.assert_close(out["y"].cpu(), model(x).softmax(-1))
        assert out["z"].tolist() == [1.0, 1.0]
    with pytest.raises(DeviceError, match=r"arguments on cuda:0"):
        program(x)
    with pytest.raises(DeviceError, match=r"arguments on cpu"):
        ft.load_program(path)(x.cuda())
    ft.export(lambda x: ft.rand_like(x) * x, (x,), path)
    drawing, near = ft.load_program(path, device="cuda"), ft.load_program(path)
    for _ in range(4):
        ft.manual_seed(5)
        a = drawing(x.cuda()).cpu()
        ft.manual_seed(5)
        testing.assert_close(a, near(x))


def test_damaged_programs_are_refused_on_the_device_too(tmp_path):
    path = tmp_path / "p.safetensors"
    table = ft.arange(12.0).reshape((4, 3))
    ft.export(lambda i: table[i] * 2, (ft.tensor([1, 2]),), path)
    program = ft.load_program(path, device="cuda")
    for _ in range(3):
        assert program(ft.tensor([1, 3]).cuda()).tolist() == (table[[1, 3]] * 2).tolist()
    program(ft.tensor([1, 400]).cuda())
    with pytest.raises(IndexError):
        cuda.synchronize()
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    wrong = tmp_path / "wrong.safetensors"
    for _ in range(150):
        changed = bytearray(data)
        for place in rng.integers(8, len(data), 3):
            changed[place] = rng.integers(256)
        wrong.write_bytes(bytes(changed))
        try:
            loaded = ft.load_program(wrong, device="cuda")
            for _ in range(3):
                loaded(ft.tensor([1, 3]).cuda())
            cuda.synchronize()
        except Exception as error:
            assert not isinstance(error, (SystemError, MemoryError)), error


def test_record_stream():
    side = cuda.Stream()
    x = ft.ones(3, device="cuda")
    x.record_stream(side)
    x.record_stream(cuda.current_stream())
    with cuda.stream(side):
        y = x + 1
    del x
    cuda.synchronize()
    assert y.tolist() == [2.0] * 3
    with pytest.raises(DeviceError, match="CUDA tensor"):
        ft.ones(2).record_stream(side)


def test_graphs_can_be_turned_off():
    assert cuda.use_graphs() is True
    assert cuda.use_graphs(False) is True
    f = ft.compile(lambda x: x + 1)
    for _ in range(4):
        f(ft.ones(2, device="cuda"))
    assert "graph" not in f.explain()
    assert cuda.use_graphs(True) is False
    assert os.environ.get("FL_CUDA_GRAPHS", "") != "0"
