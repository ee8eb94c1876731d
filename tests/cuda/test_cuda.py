"""What a GPU user does in the first hour: moving tensors, streams, events, memory, errors."""

import copy
import pickle
import threading

import numpy as np
import pytest

import functorch_like as ft
import nn
from functorch_like import cuda, memory, testing
from functorch_like.errors import DeviceError, LinAlgError, OutOfMemoryError


@pytest.fixture
def emulated():
    if cuda.get_device_name() != "emulated device":
        pytest.skip("of the emulated device")


def test_devices():
    assert cuda.device_count() >= 1
    assert cuda.current_device() == 0
    assert cuda.why_unavailable() == ""
    p = cuda.get_device_properties()
    assert p.multi_processor_count > 0
    assert p.total_memory > 0
    assert cuda.get_device_capability() == (p.major, p.minor)
    with cuda.device(0):
        assert cuda.current_device() == 0
    with pytest.raises(DeviceError, match="expected a CUDA device from 0 to"):
        cuda.set_device(63)
    with pytest.raises(DeviceError, match="a CUDA device"):
        cuda.synchronize("cpu")


def test_moving():
    x = ft.arange(6.0).reshape((2, 3))
    y = x.cuda()
    assert y.is_cuda
    assert str(y.device) == "cuda:0"
    assert y.device == ft.device("cuda") == ft.device("cuda:0")
    assert y.to("cuda") is y
    assert y.cpu().tolist() == x.tolist() == y.tolist()
    assert x.t().to("cuda").stride() == (1, 3)
    assert y[:, ::2].cpu().tolist() == x[:, ::2].tolist()
    assert y.t()[1].tolist() == [1.0, 4.0]
    assert y.to("cuda", ft.float64).dtype == ft.float64
    assert ft.empty((0, 3), device="cuda").cpu().shape == (0, 3)
    assert y[0, 1].item() == 1.0
    assert "device='cuda:0'" in repr(y)
    assert y.to("meta").is_meta
    z = ft.zeros(2, 3)
    z.copy_(y)
    assert z.tolist() == x.tolist()
    y.copy_(x + 1)
    assert y.tolist() == (x + 1).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda **d: ft.zeros(2, 3, **d),
        lambda **d: ft.ones(3, dtype="bfloat16", **d),
        lambda **d: ft.full((2,), 7, **d),
        lambda **d: ft.arange(5, **d),
        lambda **d: ft.arange(0.0, 1.0, 0.1, **d),
        lambda **d: ft.linspace(0, 1, 7, **d),
        lambda **d: ft.eye(3, **d),
        lambda **d: ft.tensor([[1, 2], [3, 4]], **d),
        lambda **d: ft.randn(5, generator=ft.Generator().manual_seed(3), **d),
        lambda **d: ft.randint(0, 100, (5,), generator=ft.Generator().manual_seed(3), **d),
        lambda **d: ft.randperm(9, generator=ft.Generator().manual_seed(3), **d),
    ],
)
def test_factories_make_what_the_cpu_makes(make):
    x = make(device="cuda")
    assert x.is_cuda
    testing.assert_close(x.cpu(), make())


def test_generators_count_alike():
    g, h = ft.Generator(device="cuda").manual_seed(5), ft.Generator().manual_seed(5)
    for _ in range(2):
        a, b = ft.rand(7, generator=g, device="cuda"), ft.rand(7, generator=h)
        testing.assert_close(a.cpu(), b)
    cuda.manual_seed_all(11)
    a = ft.randn(4, device="cuda")
    ft.manual_seed(11)
    testing.assert_close(a.cpu(), ft.randn(4))


def test_devices_do_not_mix():
    x, y = ft.ones(3), ft.ones(3, device="cuda")
    with pytest.raises(DeviceError, match="one device, got cpu and cuda"):
        x + y
    with pytest.raises(DeviceError):
        ft.matmul(ft.ones(2, 3, device="cuda"), ft.ones(3, 2))
    with pytest.raises(DeviceError, match=r"Call \.cpu\(\) first"):
        y.numpy()
    # numbers of no dimensions may stay on the CPU
    assert (y * ft.tensor(2.0)).tolist() == [2.0, 2.0, 2.0]
    assert ft.where(y > 0, ft.tensor(1.5), y).tolist() == [1.5] * 3


def test_indexing_with_lists_and_cpu_indices():
    x = ft.arange(12.0, device="cuda").reshape((3, 4))
    assert x[[0, 2]].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert x[ft.tensor([1]), 2].tolist() == [6.0]
    assert x[x > 9].tolist() == [10.0, 11.0]
    x[[0, 1], [1, 2]] = -1.0
    assert x[0, 1].item() == -1.0
    with pytest.raises(IndexError):
        x[[5]]


def test_integer_division_by_zero_is_found():
    x = ft.tensor([4, 6], device="cuda")
    assert (x // 2).tolist() == [2, 3]
    with pytest.raises(ValueError, match="divisors other than 0"):
        x // ft.tensor([1, 0], device="cuda")
    with pytest.raises(ValueError, match="divisors other than 0"):
        x // 0


def test_tape_and_transforms():
    x = ft.arange(4.0).cuda().requires_grad_()
    (x.sin() * x).sum().backward()
    assert x.grad.is_cuda
    expected = np.cos(np.arange(4)) * np.arange(4) + np.sin(np.arange(4))
    np.testing.assert_allclose(x.grad.cpu().numpy(), expected, rtol=1e-5, atol=1e-6)
    h = ft.hessian(lambda v: (v**3).sum())(x.detach())
    testing.assert_close(h.cpu(), ft.diag(6 * ft.arange(4.0)))


def test_training_gives_the_cpus_losses():
    def losses(device):
        ft.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
        ).to(device)
        x = ft.randn(5, 1, 8, 8, generator=ft.Generator().manual_seed(1)).to(device)
        y = ft.tensor([0, 1, 2, 3, 0]).to(device)
        optimizer = nn.optim.Adam(model.parameters(), lr=1e-2)
        seen = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen

    np.testing.assert_allclose(losses("cuda"), losses("cpu"), rtol=1e-4)


def test_linalg_on_the_host():
    a = ft.randn(2, 4, 4, dtype="float64", generator=ft.Generator().manual_seed(2))
    a = a @ a.mT + 4 * ft.eye(4, dtype="float64")
    c = a.cuda()
    for f in (ft.linalg.inv, ft.linalg.cholesky, ft.linalg.det, ft.linalg.eigvalsh):
        y = f(c)
        assert y.is_cuda
        testing.assert_close(y.cpu(), f(a))
    testing.assert_close(ft.linalg.solve(c, c[..., :1]).cpu(), ft.linalg.solve(a, a[..., :1]))
    with pytest.raises(LinAlgError):
        ft.linalg.cholesky(-c)


def test_copies_and_pickles_stay_on_the_device(tmp_path):
    x = ft.ones(3, device="cuda")
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert y.is_cuda
        assert y.tolist() == [1.0] * 3
    nn.save({"x": x}, tmp_path / "x.safetensors")
    assert nn.load(tmp_path / "x.safetensors")["x"].is_cpu
    assert nn.load(tmp_path / "x.safetensors", device="cuda")["x"].is_cuda


def test_streams_and_events():
    side = cuda.Stream()
    x = ft.ones(4, device="cuda")
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        assert cuda.current_stream() == side
        y = x + 1
        done = side.record_event()
    assert cuda.current_stream() == cuda.default_stream() != side
    done.synchronize()
    assert done.query()
    assert side.query()
    assert y.tolist() == [2.0] * 4
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    (x * 2).sum()
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) >= 0
    with pytest.raises(ValueError, match="enable_timing"):
        done.elapsed_time(end)
    cuda.synchronize()


def test_a_stream_is_the_threads_own():
    seen = []
    with cuda.stream(cuda.Stream()):
        thread = threading.Thread(target=lambda: seen.append(cuda.current_stream()))
        thread.start()
        thread.join()
    assert seen == [cuda.default_stream()]


def test_memory_statistics():
    before = cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    x = ft.zeros(1 << 12, device="cuda")
    assert cuda.memory_allocated() >= before + x.nbytes
    del x
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated() >= before + (4 << 12)
    assert cuda.memory_reserved() >= before
    cuda.empty_cache()
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    assert cuda.memory_stats()["allocated_bytes.all.current"] == before
    assert memory.memory_allocated("cuda") == before


def test_out_of_memory_is_an_error(emulated):
    with pytest.raises(OutOfMemoryError, match="bytes are in use"):
        ft.empty(1 << 31, device="cuda")


def test_pinned_memory():
    x = ft.arange(5.0).pin_memory()
    assert x.is_pinned()
    assert x.tolist() == [0, 1, 2, 3, 4]
    assert not ft.ones(2).is_pinned()
    assert x.to("cuda", non_blocking=True).tolist() == x.tolist()


def test_module_moves():
    m = nn.Linear(2, 2).cuda()
    assert m.weight.is_cuda
    assert m(ft.ones(1, 2, device="cuda")).is_cuda
    assert m.cpu().weight.is_cpu


def test_compiled_functions_run_where_their_arguments_lie():
    @ft.compile
    def f(x, y):
        z = ft.tanh(x * y + 1).exp()
        return (z * 2).sum(0), z.softmax(-1) + ft.ones(4, device=x.device)

    x, y = ft.randn(3, 4), ft.randn(4)
    expected = f(x, y)
    for _ in range(2):
        got = f(x.cuda(), y.cuda())
        for g, e in zip(got, expected, strict=True):
            assert g.is_cuda
            testing.assert_close(g.cpu(), e)
    assert f(x, y)[0].is_cpu


def test_a_compiled_training_step_is_the_eager_one():
    def losses(compiled):
        ft.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 1)).cuda()
        optimizer = nn.optim.Adam(model.parameters(), lr=1e-2)

        def step(x, y):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = ft.compile(step) if compiled else step
        x, y = ft.randn(16, 4, device="cuda"), ft.randn(16, 1, device="cuda")
        return [run(x, y).item() for _ in range(3)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-5)


def test_moving_inside_of_a_compiled_function():
    f = ft.compile(lambda x: (x.cuda() + 1).cpu() * 2)
    assert f(ft.ones(3)).tolist() == [4.0] * 3


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: ft.tanh(x * y + 1).exp() * 2 - x,
        lambda x, y: (ft.where(x > 0, x * y, y - x), (x * 2).sigmoid()),
        lambda x, y: (x.t() * y.unsqueeze(1)).exp() + 1,
        lambda x, y: (x.double() * y + 1).tanh() * 2,
        lambda x, y: ((x * 10).long() * 3 + 2) * 2,
        lambda x, y: ft.lgamma(x.abs() + 1) * 2 + y,
        lambda x, y: ((x > 0) & (y > 0)).float() * x + 1,
        lambda x, y: (x + 1j * y) * 2 + 1,
        lambda x, y: x.clamp(min=-0.5, max=0.5) * y.pow(2) + x / y,
    ],
)
def test_fused_chains(f):
    x, y = ft.randn(33, 65), ft.randn(65)
    got, expected = ft.compile(f)(x.cuda(), y.cuda()), f(x, y)
    if not isinstance(got, tuple):
        got, expected = (got,), (expected,)
    for g, e in zip(got, expected, strict=True):
        assert g.is_cuda
        testing.assert_close(g.cpu(), e, rtol=2e-5, atol=2e-5, equal_nan=True)


def test_export_is_of_cpu_tensors(tmp_path):
    with pytest.raises(DeviceError, match="expected tensors on the cpu"):
        ft.export(lambda x: x * 2, (ft.ones(2, device="cuda"),), tmp_path / "p.safetensors")


def test_batches_in_pinned_memory():
    data = nn.data.TensorDataset(ft.arange(6.0), ft.arange(6))
    for batch in nn.data.DataLoader(data, batch_size=4, pin_memory=True):
        assert all(x.is_pinned() for x in batch)
        assert batch[0].cuda().tolist() == batch[0].tolist()


def train(device):
    ft.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 10),
    ).to(device)  # fmt: skip
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-2)
    x, y = ft.rand(6, 1, 8, 8).to(device), ft.arange(6).to(device)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_is_the_cpus():
    assert train("cuda") == pytest.approx(train("cpu"), rel=1e-4)
