"""Layers: shapes, initial values, containers, words for wrong input; and torch's results."""

import math
from collections import OrderedDict

import pytest

import functorch_like as ft
import nn


def near(a, b, atol=1e-5):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


def test_linear_initial_values():
    layer = nn.Linear(100, 50)
    bound = 1 / math.sqrt(100)
    for p in (layer.weight, layer.bias):
        assert -bound <= p.min().item() and p.max().item() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert nn.Linear(2, 2, dtype=ft.float64).weight.dtype == ft.float64
    assert nn.Linear(2, 3, bias=False).bias is None
    first = [p.tolist() for p in (ft.manual_seed(3), nn.Linear(4, 4))[1].parameters()]
    assert first == [p.tolist() for p in (ft.manual_seed(3), nn.Linear(4, 4))[1].parameters()]


def test_conv2d_shapes_and_settings():
    x = ft.rand(2, 4, 9, 8)
    for kwargs, shape in [
        ({}, [2, 6, 7, 6]),
        ({"padding": 1, "stride": 2}, [2, 6, 5, 4]),
        ({"padding": "same", "dilation": 2}, [2, 6, 9, 8]),
        ({"padding": "valid", "groups": 2}, [2, 6, 7, 6]),
        ({"padding": (2, 0)}, [2, 6, 11, 6]),
        ({"padding": 1, "padding_mode": "circular"}, [2, 6, 9, 8]),
    ]:
        assert list(nn.Conv2d(4, 6, 3, **kwargs)(x).shape) == shape
    assert list(nn.Conv2d(4, 6, (2, 4), padding="same")(x).shape) == [2, 6, 9, 8]
    assert list(nn.Conv2d(4, 6, 3)(x[0]).shape) == [6, 7, 6]
    assert repr(nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)) == (
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2, bias=False)"
    )
    for kwargs in (
        {"groups": 3},
        {"padding": "full"},
        {"padding_mode": "mirror"},
        {"padding": "same", "stride": 2},
    ):
        with pytest.raises(ValueError, match="Conv2d: expected"):
            nn.Conv2d(4, 6, 3, **kwargs)


@pytest.mark.parametrize(
    ("layer", "args", "match"),
    [
        (nn.Linear(3, 2), (ft.zeros(2, 4),), r"Linear: expected input \[\.\.\., 3\], got \[2, 4\]"),
        (nn.Linear(3, 2), (ft.zeros(()),), r"Linear: expected input"),
        (
            nn.Bilinear(2, 3, 1),
            (ft.zeros(4, 2), ft.zeros(4, 4)),
            r"Bilinear: expected inputs \[\.\.\., 2\]",
        ),
        (
            nn.Conv2d(3, 2, 3),
            (ft.zeros(1, 1, 8, 8),),
            r"Conv2d: expected input \[n, 3, h, w\].*in_channels=3",
        ),
        (nn.Conv2d(1, 2, 3), (ft.zeros(5, 8, 8),), r"got \[5, 8, 8\]. Add the channel dimension"),
        (
            nn.Conv2d(1, 2, 5),
            (ft.zeros(1, 1, 4, 4),),
            r"at least as large as the kernel \[5, 5\], got \[4, 4\]",
        ),
        (
            nn.MaxPool2d(4),
            (ft.zeros(1, 1, 2, 2),),
            r"MaxPool2d: expected images at least as large as the window",
        ),
        (nn.MaxPool2d(2), (ft.zeros(4),), r"MaxPool2d: expected input \[n, c, h, w\]"),
        (
            nn.AvgPool2d(4),
            (ft.zeros(1, 1, 2, 2),),
            r"AvgPool2d: expected images at least as large as the window",
        ),
        (nn.Flatten(2), (ft.zeros(4),), r"Flatten: expected start_dim within"),
        (nn.Unflatten(1, (2, 3)), (ft.zeros(4, 5),), r"Unflatten: expected a size along dim 1"),
        (
            nn.LayerNorm(3),
            (ft.zeros(4, 5),),
            r"layer_norm: expected input \[\.\.\., 3\], got \[4, 5\]",
        ),
        (
            nn.BatchNorm1d(3),
            (ft.zeros(4, 5),),
            r"BatchNorm1d: expected input \[n, 3\] or \[n, 3, length\], got \[4, 5\]",
        ),
        (
            nn.BatchNorm2d(3),
            (ft.zeros(4, 3),),
            r"BatchNorm2d: expected input \[n, 3, h, w\], got \[4, 3\]",
        ),
        (nn.BatchNorm1d(3), (ft.zeros(1, 3),), r"more than one value per channel"),
        (
            nn.CrossEntropyLoss(),
            (ft.zeros(4, 3), ft.tensor([0, 1])),
            r"expected classes \[4\] for logits \[4, 3\], got \[2\]",
        ),
        (
            nn.CrossEntropyLoss(),
            (ft.zeros(2, 3), ft.tensor([0, 3])),
            r"expected classes 0\.\.2, got 0\.\.3",
        ),
        (
            nn.CrossEntropyLoss(),
            (ft.zeros(2, 3), ft.zeros(2)),
            r"expected probabilities \[2, 3\], got \[2\]",
        ),
        (nn.BCELoss(), (ft.zeros(2), ft.zeros(3)), r"expected equal shapes"),
        (nn.GLU(), (ft.zeros(2, 3),), r"glu: expected an even size"),
    ],
)
def test_wrong_input(layer, args, match):
    with pytest.raises((ValueError, RuntimeError, IndexError, TypeError), match=match):
        layer(*args)


def test_wrong_rows():
    layer = nn.Embedding(3, 2)
    with pytest.raises(
        (ValueError, IndexError, RuntimeError),
        match=r"Embedding: expected row numbers 0\.\.2, got 1\.\.3",
    ):
        layer(ft.tensor([1, 3]))
    with pytest.raises((TypeError, RuntimeError), match="Embedding: expected integer row numbers"):
        layer(ft.zeros(2))


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and layer.weight[4].tolist() == [0.0, 0.0, 0.0]
    layer(ft.tensor([[1, 4], [1, 0]])).sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [3.0, 6.0, 0.0, 0.0, 0.0]
    table = ft.arange(6.0).reshape(3, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert frozen(ft.tensor([2])).tolist() == [[4.0, 5.0]] and not frozen.weight.requires_grad
    with pytest.raises(ValueError, match="padding_idx within 3 rows"):
        nn.Embedding(3, 2, padding_idx=3)


def test_dropout():
    layer = nn.Dropout(0.25)
    x = ft.ones(10000)
    y = layer(x)
    assert y.max().item() == pytest.approx(4 / 3) and bool(((y == 0) | (y == y.max())).all())
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert layer.eval()(x) is x and nn.Dropout(0.0)(x) is x
    state = ft.get_rng_state()
    assert nn.Dropout(1.0)(x).abs().sum().item() == 0.0
    assert bool((ft.get_rng_state() == state).all())  # nothing is drawn
    with pytest.raises(ValueError, match=r"within 0\.\.1, got 1.5"):
        nn.Dropout(1.5)


def test_batch_norm_statistics():
    layer = nn.BatchNorm2d(2, momentum=None)
    x, y = ft.randn(8, 2, 3, 3), ft.randn(8, 2, 3, 3) + 2.0
    out = layer(x)
    assert near(out.mean((0, 2, 3)), ft.zeros(2), atol=1e-5)
    layer(y)
    assert layer.num_batches_tracked.item() == 2
    assert near(layer.running_mean, (x.mean((0, 2, 3)) + y.mean((0, 2, 3))) / 2, atol=1e-5)
    before = layer.running_mean.tolist()
    layer.eval()(x)
    assert layer.running_mean.tolist() == before
    plain = nn.BatchNorm1d(3, affine=False, track_running_stats=False).eval()
    assert list(plain.state_dict()) == [] and plain(ft.randn(4, 3)).mean().item() == pytest.approx(
        0.0, abs=1e-5
    )


def test_sequential():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    net = nn.Sequential(OrderedDict([("first", a), ("act", b)]))
    assert net.first is a and list(net.state_dict()) == ["first.weight", "first.bias"]
    net = nn.Sequential(a, b).append(c)
    assert (
        len(net) == 3
        and net[-1] is c
        and list(net) == [a, b, c]
        and isinstance(net[:2], nn.Sequential)
    )
    assert net(ft.zeros(4, 2)).tolist() == c(ft.relu(a(ft.zeros(4, 2)))).tolist()
    net[1] = nn.Tanh()
    assert isinstance(net[1], nn.Tanh)
    net.insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "Linear", "Tanh", "Linear"]
    del net[0]
    assert net[0] is a and list(net._modules) == ["0", "1", "2"] and net.pop(1).__class__ is nn.Tanh
    assert len(nn.Sequential(a) + nn.Sequential(b)) == 2 and len(net.extend([b])) == 3
    with pytest.raises(IndexError, match="within 3 modules, got 3"):
        net[3]
    assert nn.Sequential()(5) == 5


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.ReLU()]
    layers.insert(1, nn.Tanh())
    assert [type(m).__name__ for m in layers] == ["Linear", "Tanh", "ReLU"] and len(layers[1:]) == 2
    assert len(layers + layers[:1]) == 4
    with pytest.raises(TypeError, match="expected a Module or None"):
        layers.append(3)
    with pytest.raises(NotImplementedError):
        layers(1)
    table = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    table["c"] = nn.Tanh()
    assert list(table) == list(table.keys()) == ["a", "b", "c"] and "b" in table and len(table) == 3
    assert isinstance(table.pop("b"), nn.ReLU) and "b" not in table
    del table["c"]
    assert [name for name, _ in table.named_parameters()] == ["a.weight", "a.bias"]
    table.clear()
    assert len(table) == 0
    with pytest.raises(KeyError, match="taken"):
        table["forward"] = nn.ReLU()


def test_parameter_containers():
    values = nn.ParameterList([ft.ones(2), nn.Parameter(ft.zeros(1))])
    values.append(ft.zeros(3))
    assert [name for name, _ in values.named_parameters()] == ["0", "1", "2"] and len(values) == 3
    values[0] = ft.zeros(4)
    assert (
        isinstance(values[0], nn.Parameter)
        and list(values[-1].shape) == [3]
        and len(values[:2]) == 2
    )
    with pytest.raises(IndexError):
        values[3]
    table = nn.ParameterDict({"w": ft.ones(2)})
    table["v"] = ft.zeros(1)
    assert list(table.state_dict()) == ["w", "v"] and "w" in table and table.get("x") is None
    assert "(w): Parameter containing:" in repr(table)
    del table["w"]
    assert table.keys() == {"v": None}.keys()
    with pytest.raises(KeyError):
        table["w"]


ACTIVATIONS = [
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Mish",
    "Hardsigmoid",
    "Hardswish",
    "Sigmoid",
    "Tanh",
    "LogSigmoid",
    "Softsign",
    "GELU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "CELU",
    "Hardtanh",
    "Softplus",
]


@pytest.mark.torch
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_as_torch(bridge, name):
    x = ft.tensor(
        [-30.0, -5.0, -3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0, 4.0, 6.0, 7.0, 30.0],
        requires_grad=True,
    )
    other = bridge.theirs(x).requires_grad_()
    ours, theirs = getattr(nn, name)(), getattr(bridge.torch.nn, name)()
    a, b = ours(x), theirs(other)
    bridge.close(a, b)
    a.sum().backward(), b.sum().backward()
    bridge.close(x.grad, other.grad)
    if hasattr(ours, "inplace"):
        y = x.detach().clone()
        assert getattr(nn, name)(inplace=True)(y) is y
        bridge.close(y, b)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "Softmin", "GLU"])
def test_along_dim_as_torch(bridge, name):
    x = ft.randn(4, 6)
    bridge.close(
        getattr(nn, name)(dim=1)(x), getattr(bridge.torch.nn, name)(dim=1)(bridge.theirs(x))
    )
    if name != "GLU":
        with pytest.raises(ValueError, match="expected dim, got None"):
            getattr(nn, name)()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "args", "kwargs", "shapes"),
    [
        ("Linear", (5, 3), {}, [(4, 2, 5)]),
        ("Bilinear", (3, 4, 2), {}, [(2, 5, 3), (2, 5, 4)]),
        ("Conv2d", (4, 6, 3), {"padding": 1, "stride": 2, "groups": 2}, [(2, 4, 7, 8)]),
        ("Conv2d", (4, 6, (5, 3)), {"padding": "same"}, [(2, 4, 7, 8)]),
        (
            "Conv2d",
            (4, 6, 3),
            {"padding": 2, "padding_mode": "reflect", "dilation": 2},
            [(2, 4, 7, 8)],
        ),
        ("Conv2d", (4, 6, 3), {"padding": (1, 2), "padding_mode": "replicate"}, [(2, 4, 7, 8)]),
        ("Conv2d", (4, 6, 3), {"padding": "same", "padding_mode": "circular"}, [(2, 4, 7, 8)]),
        ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, [(2, 4, 7, 8)]),
        ("AvgPool2d", (2,), {}, [(2, 4, 7, 8)]),
        ("AvgPool2d", (3, 2, 1), {"ceil_mode": True}, [(2, 4, 8, 8)]),
        ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, [(2, 4, 7, 8)]),
        ("AvgPool2d", ((2, 3),), {"divisor_override": 5}, [(4, 7, 8)]),
        ("AdaptiveAvgPool2d", (1,), {}, [(2, 4, 7, 8)]),
        ("AdaptiveAvgPool2d", ((3, None),), {}, [(2, 4, 7, 8)]),
        ("LayerNorm", ([2, 5],), {}, [(4, 2, 5)]),
        ("LayerNorm", (5,), {"bias": False, "eps": 0.1}, [(4, 2, 5)]),
        ("BatchNorm1d", (3,), {}, [(4, 3)]),
        ("BatchNorm1d", (3,), {"momentum": 0.4}, [(4, 3, 5)]),
        ("BatchNorm2d", (3,), {"affine": False}, [(4, 3, 5, 2)]),
        ("Flatten", (1, 2), {}, [(4, 3, 5, 2)]),
        ("Unflatten", (1, (3, -1)), {}, [(4, 6, 5)]),
    ],
)
def test_layers_as_torch(bridge, name, args, kwargs, shapes):
    ours, theirs = (
        getattr(nn, name)(*args, **kwargs),
        getattr(bridge.torch.nn, name)(*args, **kwargs),
    )
    assert {n: list(v.shape) for n, v in ours.state_dict().items()} == {
        n: list(v.shape) for n, v in theirs.state_dict().items()
    }
    ours.load_state_dict(bridge.state(theirs))
    inputs = [ft.randn(*shape, requires_grad=True) for shape in shapes]
    others = [bridge.theirs(x).requires_grad_() for x in inputs]
    a, b = ours(*inputs), theirs(*others)
    bridge.close(a, b)
    (a * a).sum().backward(), (b * b).sum().backward()
    for x, other in zip(inputs, others, strict=True):
        bridge.close(x.grad, other.grad, 1e-4)
    for (_, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        bridge.close(p.grad, q.grad, 1e-4)
    for (_, p), (_, q) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        bridge.close(p, q)
    if name not in ("MaxPool2d", "AvgPool2d"):
        assert repr(ours) == repr(theirs)


@pytest.mark.torch
def test_embedding_as_torch(bridge):
    theirs = bridge.torch.nn.Embedding(7, 3, padding_idx=2)
    ours = nn.Embedding(7, 3, padding_idx=2)
    ours.load_state_dict(bridge.state(theirs))
    rows = ft.tensor([[1, 2], [2, 6]])
    a, b = ours(rows), theirs(bridge.theirs(rows))
    bridge.close(a, b)
    (a * a).sum().backward(), (b * b).sum().backward()
    bridge.close(ours.weight.grad, theirs.weight.grad)
    assert repr(ours) == repr(theirs)
