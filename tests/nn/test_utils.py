"""nn.utils: parametrizations, pruning, fusion, clipping, vectors; and Module.summary."""

import copy
import pickle

import pytest

import functorch_like as ft
import nn
from nn.utils import parametrizations, parametrize, prune


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Double(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def test_register_and_remove_parametrization():
    layer = nn.Linear(3, 3)
    cls = type(layer)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert layer.weight.tolist() == layer.weight.mT.tolist()
    assert [n for n, _ in layer.named_parameters()] == [
        "bias",
        "parametrizations.weight.original",
    ]
    parametrize.register_parametrization(layer, "weight", Double())
    value = ft.ones(3, 3) * 4
    layer.weight = value
    assert layer.weight.tolist() == value.tolist()
    assert layer.parametrizations.weight.original.tolist() == (value / 2).triu().tolist()
    layer(ft.ones(1, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(
        layer, "bias"
    )
    assert parametrize.type_before_parametrizations(layer) is cls
    twin = copy.deepcopy(layer)
    assert twin.weight.tolist() == layer.weight.tolist()
    params = {n: p * 0 for n, p in layer.named_parameters()}
    assert nn.functional_call(layer, params, ft.ones(1, 3)).abs().sum().item() == 0
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is cls and layer.weight.tolist() == value.tolist()
    assert isinstance(layer.weight, nn.Parameter)
    assert not parametrize.is_parametrized(layer)
    with pytest.raises(ValueError, match="expected a parametrized tensor"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ValueError, match="expected a parameter or buffer of Linear, got 'w'"):
        parametrize.register_parametrization(layer, "w", Double())
    with pytest.raises(ValueError, match=r"gives \[3, 3\] float32, got \[9\]"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))


def test_cached():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 1

    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counted())
    calls.clear()
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert len(calls) == 1
    assert layer.weight is not layer.weight


@pytest.mark.torch
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_as_torch(bridge, dim):
    theirs = bridge.torch.nn.Conv1d(3, 4, 2)
    ours = nn.Conv1d(3, 4, 2)
    ours.load_state_dict(bridge.state(theirs))
    bridge.torch.nn.utils.parametrizations.weight_norm(theirs, dim=dim)
    parametrizations.weight_norm(ours, dim=dim)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        bridge.close(a, b)
    x = ft.randn(2, 3, 6)
    a, b = ours(x), theirs(bridge.theirs(x))
    bridge.close(a, b)
    (a * a).sum().backward(), (b * b).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        bridge.close(p.grad, q.grad, 1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Linear", "ConvTranspose2d"])
def test_spectral_norm_as_torch(bridge, name):
    args = (5, 4) if name == "Linear" else (5, 4, 2)
    theirs = bridge.torch.nn.utils.parametrizations.spectral_norm(
        getattr(bridge.torch.nn, name)(*args)
    )
    ours = parametrizations.spectral_norm(getattr(nn, name)(*args))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(bridge.state(theirs))
    x = ft.randn(2, 5) if name == "Linear" else ft.randn(2, 5, 3, 3)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        ours.zero_grad(), theirs.zero_grad()
        a, b = ours(x), theirs(bridge.theirs(x))
        bridge.close(a, b, 1e-4)
        (a * a).sum().backward(), (b * b).sum().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            bridge.close(p.grad, q.grad, 1e-3)
    for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
        bridge.close(p, q, 1e-4)


def test_spectral_norm_limits_the_largest_singular_value():
    import numpy as np

    layer = parametrizations.spectral_norm(nn.Linear(6, 4), n_power_iterations=20)
    value = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
    assert value[0] == pytest.approx(1.0, abs=1e-3)
    vector = nn.Module()
    vector.register_parameter("v", nn.Parameter(ft.tensor([3.0, 4.0])))
    parametrizations.spectral_norm(vector, "v")
    assert vector.v.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivialization", [True, False])
def test_orthogonal(shape, kind, trivialization):
    if not hasattr(ft, "linalg"):
        pytest.skip("needs functorch_like.linalg")
    layer = nn.Linear(shape[1], shape[0]).double()
    parametrizations.orthogonal(layer, "weight", kind, use_trivialization=trivialization)
    optimizer = nn.optim.SGD(layer.parameters(), lr=0.1)
    x = ft.randn(5, shape[1], dtype=ft.float64)
    for _ in range(3):
        w = layer.weight if shape[0] <= shape[1] else layer.weight.mT
        one = ft.eye(min(shape), dtype=ft.float64)
        assert ft.allclose(w @ w.mT, one, atol=1e-8)
        optimizer.zero_grad()
        layer(x)[:, 0].sum().backward()
        optimizer.step()


def test_prune():
    layer = nn.Linear(4, 2)
    before = layer.weight.clone()
    prune.l1_unstructured(layer, "weight", amount=3)
    assert sorted(layer.state_dict()) == ["bias", "weight_mask", "weight_orig"]
    assert (layer.weight == 0).sum().item() == 3 and prune.is_pruned(layer)
    smallest = before.abs().flatten().sort()[0][2]
    assert bool(((before.abs() > smallest) == (layer.weight != 0)).all())
    prune.random_unstructured(layer, "weight", 0.4)  # of the five that are left
    assert (layer.weight_mask == 0).sum().item() == 5
    layer(ft.ones(1, 4)).sum().backward()
    assert bool((layer.weight_orig.grad[layer.weight_mask == 0] == 0).all())
    with ft.no_grad():
        layer.weight_orig.add_(1.0)
    out = layer(ft.ones(1, 4))
    kept = layer.weight_orig * layer.weight_mask
    assert ft.allclose(out, ft.ones(1, 4) @ kept.T + layer.bias)
    prune.remove(layer, "weight")
    assert list(dict(layer.named_parameters())) == ["bias", "weight"]
    assert layer.weight.tolist() == kept.tolist() and not prune.is_pruned(layer)
    prune.ln_structured(layer, "weight", 1, n=2, dim=0)
    assert (layer.weight.abs().sum(1) == 0).sum().item() == 1
    prune.random_structured(layer, "weight", 0.5, dim=1)
    assert (layer.weight_mask.sum(0) == 0).sum().item() == 2
    prune.custom_from_mask(layer, "bias", ft.tensor([1, 0]))
    assert layer.bias[1].item() == 0.0
    with pytest.raises(ValueError, match="expected a mask"):
        prune.custom_from_mask(layer, "bias", ft.ones(3))
    with pytest.raises(ValueError, match=r"amount within 0\.\."):
        prune.l1_unstructured(layer, "weight", 100)
    with pytest.raises(ValueError, match="expected a pruned tensor"):
        prune.remove(nn.Linear(1, 1), "weight")


def test_global_pruning():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with ft.no_grad():
        net[0].weight.mul_(100.0)
    prune.global_unstructured([(net[0], "weight"), (net[1], "weight")], amount=0.5)
    assert (net[0].weight == 0).sum().item() < (net[1].weight == 0).sum().item()
    assert sum((layer.weight == 0).sum().item() for layer in net) == 16
    assert prune.identity(nn.Linear(2, 2), "weight").weight_mask.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_fuse(transpose, bias):
    conv = (nn.ConvTranspose2d if transpose else nn.Conv2d)(3, 4, 3, bias=bias)
    bn = nn.BatchNorm2d(4)
    bn.load_state_dict(
        {name: ft.rand(4) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")},
        strict=False,
    )
    x = ft.randn(2, 3, 6, 6)
    with pytest.raises(ValueError, match="fuse_conv_bn_eval: expected both modules in evaluation"):
        nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    wanted = bn.eval()(conv.eval()(x))
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    assert ft.allclose(fused(x), wanted, atol=1e-5)
    linear, bn = nn.Linear(3, 4, bias=bias).eval(), nn.BatchNorm1d(4).eval()
    y = ft.randn(5, 3)
    assert ft.allclose(nn.utils.fuse_linear_bn_eval(linear, bn)(y), bn(linear(y)), atol=1e-6)


def test_clipping_in_parts():
    p = nn.Parameter(ft.zeros(2))
    p.grad = ft.tensor([3.0, 4.0])
    total = nn.utils.get_total_norm([p.grad])
    assert total.item() == 5.0 and nn.utils.get_total_norm([]).item() == 0.0
    nn.utils.clip_grads_with_norm_(p, 1.0, total)
    assert p.grad.tolist() == pytest.approx([0.6, 0.8])
    with pytest.raises(RuntimeError, match="get_total_norm: expected a finite norm, got nan"):
        nn.utils.get_total_norm(ft.tensor([float("nan")]), error_if_nonfinite=True)


def test_summary():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )
    net[0].bias.requires_grad_(False)
    text = net.summary((2, 1, 8, 8))
    lines = text.split("\n")
    assert lines[0].split() == ["Layer", "Output", "Parameters", "FLOPs", "Memory"]
    conv, linear = 2 * 36 * 36 * 2, 2 * 2 * 144 * 10
    assert "0: Conv2d" in lines[3] and "[2, 4, 6, 6]" in lines[3] and f"{conv}" in lines[3]
    assert lines[-1].startswith("1,498 parameters (5992 B), 1,494 trainable")
    assert f"{conv + linear}"[:2] in lines[-1]
    assert net.training and net[1].num_batches_tracked.item() == 0 and net._hooks is None
    assert len(net.summary(depth=0).split("\n")) == 5 and "FLOPs" not in net.summary()
    with pytest.raises(ValueError, match="Conv2d: expected input"):
        net.summary((2, 3, 8, 8))
    assert not any(module._hooks for module in net.modules() if module._hooks) and net.training
    text = nn.LSTM(3, 4).summary((5, 2, 3))
    assert "[5, 2, 4], [1, 2, 4], [1, 2, 4]" in text and f"{2 * 10 * 16 * 7}" in text
    layer = nn.MultiheadAttention(4, 2)
    x = ft.zeros(5, 2, 4)
    flops = 4 * 2 * 10 * 16 + 2 * 2 * 2 * 5 * 5 * 4
    assert f" {flops} " in layer.summary(x, x, x).split("\n")[2] + " "


def test_sync_batch_norm():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm1d(3)))
    net[1].eval()
    weight = net[1].weight
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(converted[1], nn.SyncBatchNorm) and converted[1].weight is weight
    assert isinstance(converted[2][0], nn.SyncBatchNorm) and not converted[1].training
    x = ft.randn(2, 2, 3)
    assert nn.SyncBatchNorm(2)(x).tolist() == nn.BatchNorm1d(2)(x).tolist()
    with pytest.raises(ValueError, match=r"SyncBatchNorm: expected input \[n, 2, \.\.\.\]"):
        nn.SyncBatchNorm(2)(ft.zeros(2))


def test_skip_init():
    layer = nn.utils.skip_init(nn.Transformer, 4, 2, 1, 1, 8)
    other = nn.Transformer(4, 2, 1, 1, 8).eval()
    layer.load_state_dict(other.state_dict())
    x = ft.randn(3, 2, 4)
    assert layer.eval()(x, x).tolist() == other(x, x).tolist()
    with pytest.raises(TypeError, match="device"):
        nn.utils.skip_init(nn.ReLU)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_parametrized_modules_are_copied_and_pickled(copied):
    make = parametrizations.weight_norm
    model = nn.Sequential(make(nn.Linear(3, 2)), make(nn.Linear(2, 2), "bias", dim=None))
    x = ft.randn(4, 3)
    twin = copied(model)
    assert ft.equal(twin(x), model(x)) and twin.state_dict().keys() == model.state_dict().keys()
    twin[0].weight = ft.zeros(2, 3) + 1
    parametrize.remove_parametrizations(twin[1], "bias")
    assert type(twin[1]) is nn.Linear and parametrize.is_parametrized(model[1])
    assert not ft.equal(twin(x), model(x))


def test_older_names_of_norms():
    layer = nn.Linear(3, 2)
    weight = layer.weight.detach().clone()
    nn.utils.weight_norm(layer)
    assert ft.allclose(layer.weight, weight) and len(list(layer.parameters())) == 3
    nn.utils.remove_weight_norm(layer)
    assert type(layer) is nn.Linear and ft.allclose(layer.weight, weight)
    nn.utils.spectral_norm(layer, n_power_iterations=20)
    assert ft.linalg.svdvals(layer.eval().weight)[0].item() == pytest.approx(1.0, abs=0.05)
    nn.utils.remove_spectral_norm(layer)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
