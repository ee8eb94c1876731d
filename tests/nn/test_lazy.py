"""Lazy layers: they become the layer proper at the first call or load, and equal it."""

import copy

import pytest

import functorch_like as ft
import nn

LAZY = [
    ("LazyLinear", "Linear", (3,), (2, 5), 5),
    ("LazyConv1d", "Conv1d", (4, 3), (2, 6, 9), 6),
    ("LazyConv2d", "Conv2d", (4, 3), (2, 6, 9, 8), 6),
    ("LazyConv3d", "Conv3d", (4, 2), (6, 3, 4, 5), 6),
    ("LazyConvTranspose1d", "ConvTranspose1d", (4, 3), (2, 6, 9), 6),
    ("LazyConvTranspose2d", "ConvTranspose2d", (4, 3), (6, 9, 8), 6),
    ("LazyConvTranspose3d", "ConvTranspose3d", (4, 2), (2, 6, 3, 4, 5), 6),
    ("LazyBatchNorm1d", "BatchNorm1d", (), (4, 6), 6),
    ("LazyBatchNorm2d", "BatchNorm2d", (), (4, 6, 3, 3), 6),
    ("LazyBatchNorm3d", "BatchNorm3d", (), (4, 6, 2, 2, 2), 6),
    ("LazyInstanceNorm1d", "InstanceNorm1d", (), (4, 6, 5), 6),
    ("LazyInstanceNorm2d", "InstanceNorm2d", (), (6, 5, 4), 6),
    ("LazyInstanceNorm3d", "InstanceNorm3d", (), (4, 6, 2, 3, 2), 6),
]
IDS = [entry[0] for entry in LAZY]


@pytest.mark.parametrize(("lazy", "proper", "args", "shape", "size"), LAZY, ids=IDS)
def test_first_call(lazy, proper, args, shape, size):
    layer = getattr(nn, lazy)(*args)
    assert repr(layer).startswith(f"{lazy}(") and layer.has_uninitialized_params()
    before = list(layer.parameters())
    assert all(isinstance(p, nn.UninitializedParameter) for p in before)
    x = ft.randn(*shape)
    ft.manual_seed(3)
    out = layer(x)
    ft.manual_seed(3)
    other = getattr(nn, proper)(size, *args)
    assert type(layer) is getattr(nn, proper) and repr(layer) == repr(other)
    assert out.tolist() == other(x).tolist()
    assert all(a is b for a, b in zip(before, layer.parameters(), strict=True))
    assert all(type(p) is nn.Parameter for p in before)
    assert layer._hooks is None and list(layer.state_dict()) == list(other.state_dict())
    out.sum().backward() if before else None


@pytest.mark.parametrize(("lazy", "proper", "args", "shape", "size"), LAZY, ids=IDS)
def test_loading(lazy, proper, args, shape, size):
    other = getattr(nn, proper)(size, *args)
    if not other.state_dict():
        return
    outer = nn.Sequential(getattr(nn, lazy)(*args))
    outer.load_state_dict(nn.Sequential(other).state_dict())
    x = ft.randn(*shape)
    assert type(outer[0]) is getattr(nn, proper)
    assert outer(x).tolist() == other(x).tolist()


def test_settings_and_modes_stay():
    layer = nn.LazyConv2d(4, 3, stride=2, groups=2, bias=False).double().eval()
    out = layer(ft.randn(1, 6, 8, 8, dtype=ft.float64))
    assert out.dtype == ft.float64 and not layer.training and layer.bias is None
    assert layer.stride == (2, 2) and list(layer.weight.shape) == [4, 3, 3, 3]
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    optimizer = nn.optim.SGD(net.parameters(), lr=0.1)
    net(ft.randn(3, 5)).sum().backward()
    weight = net[2].weight.clone()
    optimizer.step()
    assert not ft.allclose(net[2].weight, weight)
    twin = copy.deepcopy(nn.LazyLinear(4))
    assert list(twin(ft.zeros(2, 3)).shape) == [2, 4]
    seen = []
    hooked = nn.LazyLinear(2)
    hooked.register_forward_hook(lambda module, args, out: seen.append(type(module).__name__))
    hooked(ft.zeros(1, 3))
    assert seen == ["Linear"]


def test_wrong_first_input():
    with pytest.raises(ValueError, match="LazyConv2d: expected an input with in_channels"):
        nn.LazyConv2d(2, 3)(ft.zeros(3, 3))
    with pytest.raises(ValueError, match="Conv2d: expected in_channels and out_channels divisible"):
        nn.LazyConv2d(2, 3, groups=2)(ft.zeros(1, 3, 4, 4))


def test_materialize():
    parameter = nn.UninitializedParameter(dtype=ft.float64)
    assert repr(parameter) == "<UninitializedParameter>"
    parameter.materialize((2, 3))
    assert type(parameter) is nn.Parameter and list(parameter.shape) == [2, 3]
    assert parameter.dtype == ft.float64 and parameter.requires_grad
    buffer = nn.UninitializedBuffer()
    buffer.materialize((4,), dtype=ft.int64)
    assert type(buffer) is nn.Buffer and buffer.dtype == ft.int64
