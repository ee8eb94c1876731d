"""functional_call and stack_module_state: swapping, restoring, ties, buffers, transforms."""

import copy

import pytest

import functorch_like as ft
import nn
import nn.functional as F


def near(a, b, atol=1e-5):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x, fail=False):
        y = self.b(self.a(x))
        if fail:
            raise KeyError("inside")
        return y


def test_swaps_and_restores():
    net = nn.Linear(2, 1)
    weight, bias = net.weight, net.bias
    out = nn.functional_call(net, {"weight": ft.ones(1, 2)}, ft.tensor([1.0, 2.0]))
    assert out.item() == pytest.approx(3.0 + bias.item(), abs=1e-6)
    assert net.weight is weight and net.bias is bias
    out = nn.functional_call(
        net, ({"weight": ft.ones(1, 2)}, {"bias": ft.zeros(1)}), (ft.tensor([1.0, 2.0]),)
    )
    assert out.tolist() == [3.0]
    assert nn.functional_call(net, {}, (), {"input": ft.zeros(2)}).tolist() == bias.tolist()


def test_ties_and_exceptions():
    net = Tied()
    weight = net.a.weight
    x = ft.tensor([1.0, 1.0])
    eye2 = 2.0 * ft.eye(2)
    assert nn.functional_call(net, {"a.weight": eye2}, x).tolist() == [4.0, 4.0]
    assert nn.functional_call(net, {"b.weight": eye2}, x).tolist() == [4.0, 4.0]
    nn.functional_call(net, {"a.weight": eye2}, x, strict=True)
    own = nn.functional_call(net, {"a.weight": eye2}, x, tie_weights=False)
    assert own.tolist() == pytest.approx((2.0 * weight.sum(1)).tolist())
    with pytest.raises(KeyError, match="inside"):
        nn.functional_call(net, {"a.weight": eye2}, (x, True))
    assert net.a.weight is weight and net.b.weight is weight


def test_errors():
    net = nn.Linear(2, 1)
    weight = net.weight
    with pytest.raises(RuntimeError, match="unknown: wieght"):
        nn.functional_call(net, {"wieght": ft.ones(1, 2)}, ft.zeros(2))
    with pytest.raises(RuntimeError, match="not given: bias"):
        nn.functional_call(net, {"weight": ft.ones(1, 2)}, ft.zeros(2), strict=True)
    with pytest.raises(ValueError, match="'weight' in two dicts"):
        nn.functional_call(net, ({"weight": weight}, {"weight": weight}), ft.zeros(2))
    assert net.weight is weight


def test_buffers():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", ft.tensor(0.0))
            self.register_buffer("seen", ft.zeros(2))

        def forward(self, x):
            self.n = self.n + 1.0
            self.seen.add_(x)
            return x * self.n

    net = Counter()
    buffers = {"n": ft.tensor(4.0)}
    assert nn.functional_call(net, buffers, ft.ones(2)).tolist() == [5.0, 5.0]
    assert buffers["n"].item() == 5.0 and net.n.item() == 0.0
    net.seen.fill_(0.0)
    given = dict(net.named_buffers())
    out, after = nn.functional_call(net, given, ft.ones(2), return_buffers=True)
    assert (
        out.tolist() == [1.0, 1.0]
        and after["n"].item() == 1.0
        and after["seen"].tolist() == [1.0, 1.0]
    )
    assert given["n"].item() == 0.0 and net.seen.tolist() == [0.0, 0.0]


def test_grad_and_per_sample_grad():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    params = {name: p.detach() for name, p in net.named_parameters()}
    x, y = ft.randn(5, 3), ft.tensor([0, 1, 0, 1, 1])

    def loss(params, x, y):
        return F.cross_entropy(nn.functional_call(net, params, x), y)

    grads = ft.grad(loss)(params, x, y)
    F.cross_entropy(net(x), y).backward()
    for name, p in net.named_parameters():
        assert near(grads[name], p.grad, atol=1e-6)

    def one(params, x, y):
        return loss(params, x.unsqueeze(0), y.unsqueeze(0))

    each = ft.vmap(ft.grad(one), in_dims=(None, 0, 0))(params, x, y)
    for name, p in net.named_parameters():
        assert list(each[name].shape) == [5, *p.shape]
        assert near(each[name].mean(0), p.grad, atol=1e-6)


def test_ensemble():
    models = [nn.Linear(3, 2) for _ in range(4)]
    params, buffers = nn.stack_module_state(models)
    assert (
        list(params["weight"].shape) == [4, 2, 3]
        and params["weight"].requires_grad
        and buffers == {}
    )
    x = ft.randn(5, 3)
    out = ft.vmap(lambda p, x: nn.functional_call(models[0], p, x), in_dims=(0, None))(params, x)
    for i, model in enumerate(models):
        assert near(out[i], model(x), atol=1e-6)
    with pytest.raises(RuntimeError, match="at least one model"):
        nn.stack_module_state([])
    with pytest.raises(RuntimeError, match="one class, got Linear, ReLU"):
        nn.stack_module_state([nn.Linear(1, 1), nn.ReLU()])
    with pytest.raises(RuntimeError, match="same mode"):
        nn.stack_module_state([nn.Linear(1, 1), nn.Linear(1, 1).eval()])


def test_restored_after_error_under_transform():
    net = Tied()
    weight = net.a.weight

    def loss(w):
        return nn.functional_call(net, {"a.weight": w}, (ft.ones(2), True)).sum()

    with pytest.raises(KeyError):
        ft.grad(loss)(ft.eye(2))
    assert net.a.weight is weight and net.b.weight is weight


def test_running_statistics_under_transforms():
    models = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)) for _ in range(3)]
    x, y = ft.randn(8, 3), ft.randint(0, 2, (8,))
    expected = []
    for model in models:
        fresh = copy.deepcopy(model)
        fresh(x)
        expected.append(fresh[1].running_mean)

    def loss(params, buffers, x, y):
        out, after = nn.functional_call(models[0], (params, buffers), x, return_buffers=True)
        return F.cross_entropy(out, y), after

    params = {name: p.detach() for name, p in models[0].named_parameters()}
    _, after = ft.grad(loss, has_aux=True)(params, dict(models[0].named_buffers()), x, y)
    assert near(after["1.running_mean"], expected[0]) and after["1.num_batches_tracked"].item() == 1
    assert models[0][1].running_mean.tolist() == [0.0] * 4

    params, buffers = nn.stack_module_state(models)
    params = {name: p.detach() for name, p in params.items()}
    in_dims = (0, 0, None, None)
    _, after = ft.vmap(ft.grad(loss, has_aux=True), in_dims=in_dims)(params, buffers, x, y)
    assert near(after["1.running_mean"], ft.stack(expected))
    assert after["1.num_batches_tracked"].tolist() == [1, 1, 1]


def test_given_values_are_tensors_and_agree():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    net, x, w = Tied(), ft.ones(2), ft.eye(2)
    with pytest.raises(TypeError, match=r"'a\.weight', got int"):
        nn.functional_call(net, {"a.weight": 3}, x)
    with pytest.raises(ValueError, match=r"tied.*'b\.weight'"):
        nn.functional_call(net, {"a.weight": w, "b.weight": w * 2}, x)
    both = {"a.weight": w, "b.weight": w}
    assert nn.functional_call(net, both, x).tolist() == [1, 1]
    both["b.weight"] = w * 2
    assert nn.functional_call(net, both, x, tie_weights=False).tolist() == [2, 2]


def test_running_statistics_of_lanes():
    model, x = nn.Sequential(nn.BatchNorm1d(3)), ft.rand(5, 4, 3)
    with pytest.raises(
        ft.TraceError, match=r"running statistics made inside vmap.*stack_module_state"
    ):
        ft.vmap(model)(x)
    with pytest.raises(ft.ShapeError, match="num_features=3"):
        ft.vmap(model)(x[..., :2])
    assert model[0].num_batches_tracked.item() == 0
    params, buffers = nn.stack_module_state([nn.Sequential(nn.BatchNorm1d(3)) for _ in range(5)])

    def lane(params, buffers, x):
        return nn.functional_call(model, (params, buffers), x)

    expected = ft.stack([nn.functional.batch_norm(lane, None, None, training=True) for lane in x])
    assert ft.allclose(ft.vmap(lane)(params, buffers, x), expected, atol=1e-5)
    assert list(ft.vmap(model.eval())(x).shape) == [5, 4, 3]
