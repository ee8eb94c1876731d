"""Module: registration, walking, modes, casts, repr, copying, hooks, words for mistakes."""

import copy
import pickle

import pytest

import functorch_like as ft
import nn
import nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.scale = nn.Parameter(ft.ones(3))
        self.register_buffer("count", ft.tensor(0))
        self.register_buffer("mask", ft.ones(3), persistent=False)
        self.fc2 = nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)) * self.scale * self.mask)


def names(pairs):
    return [name for name, _ in pairs]


def test_parameters_buffers_children_in_order():
    net = Net()
    assert names(net.named_parameters()) == ["scale", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert names(net.named_parameters(recurse=False)) == ["scale"]
    assert names(net.named_buffers()) == ["count", "mask"]
    assert names(net.named_children()) == ["fc1", "fc2"]
    assert names(net.named_modules()) == ["", "fc1", "fc2"]
    assert names(net.named_parameters(prefix="net")) == [
        "net.scale",
        "net.fc1.weight",
        "net.fc1.bias",
        "net.fc2.weight",
    ]
    assert list(net.state_dict()) == ["scale", "count", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert (
        len(list(net.parameters())) == 4
        and len(list(net.buffers())) == 2
        and len(list(net.modules())) == 3
    )
    assert net._parameters["scale"] is net.scale and list(net._modules) == ["fc1", "fc2"]
    assert (
        "fc1" in net._modules
        and "scale" not in net._modules
        and set(net._buffers) == {"count", "mask"}
    )


def test_tied_parameters_come_once():
    net = Net()
    net.tied = net.fc1
    net.again = net.scale
    assert names(net.named_parameters()) == ["scale", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 7
    assert names(net.named_modules()) == ["", "fc1", "fc2"]
    assert names(net.named_modules(remove_duplicate=False)) == ["", "fc1", "fc2", "tied"]
    assert "tied.weight" in net.state_dict() and "again" in net.state_dict()


def test_get_by_path():
    net = nn.Sequential(Net(), nn.ReLU())
    assert net.get_submodule("0.fc1") is net[0].fc1 and net.get_submodule("") is net
    assert net.get_parameter("0.fc1.weight") is net[0].fc1.weight
    assert net.get_buffer("0.count") is net[0].count
    with pytest.raises(AttributeError, match=r"got no 'fc9' in Sequential\.0\. It has fc1, fc2"):
        net.get_submodule("0.fc9.x")
    with pytest.raises(AttributeError, match=r"got no 'wieght' in 0.fc1. It has weight, bias"):
        net.get_parameter("0.fc1.wieght")
    with pytest.raises(AttributeError, match=r"expected a buffer at '0.scale'"):
        net.get_buffer("0.scale")


def test_assignment_rules():
    net = Net()
    with pytest.raises(
        TypeError,
        match=r"Net.scale: expected a Parameter or None, got Tensor. Wrap it in nn.Parameter",
    ):
        net.scale = ft.ones(3)
    with pytest.raises(TypeError, match=r"Net.fc1: expected a Module or None, got int"):
        net.fc1 = 3
    with pytest.raises(TypeError, match=r"Net.count: expected a Tensor or None, got str"):
        net.count = "x"
    net.count = ft.tensor(5)
    assert net.state_dict()["count"].item() == 5
    net.scale = None
    assert "scale" not in names(net.named_parameters()) and "scale" in net._parameters
    net.scale = nn.Parameter(ft.zeros(3))
    assert names(net.named_parameters())[0] == "scale"
    del net.scale
    assert not hasattr(net, "scale") and "scale" not in net._parameters
    net.plain = [1]
    net.plain = nn.Parameter(ft.zeros(1))  # a plain attribute may become a parameter
    assert "plain" in net._parameters
    del net.fc1
    assert names(net.named_children()) == ["fc2"]
    with pytest.raises(AttributeError):
        net.fc1  # noqa: B018
    with pytest.raises(AttributeError):
        del net.fc1


def test_assignment_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.flag = True  # plain attributes may come first
            self.fc = nn.Linear(1, 1)

    with pytest.raises(
        AttributeError, match=r"Early: expected super\(\).__init__\(\) before the module 'fc'"
    ):
        Early()


@pytest.mark.parametrize(
    ("register", "value"),
    [
        ("register_parameter", nn.Parameter(ft.zeros(1))),
        ("register_buffer", ft.zeros(1)),
        ("add_module", nn.ReLU()),
    ],
)
def test_register_errors(register, value):
    net = Net()
    with pytest.raises(KeyError, match="without dots"):
        getattr(net, register)("a.b", value)
    with pytest.raises(KeyError, match="not empty"):
        getattr(net, register)("", value)
    with pytest.raises(KeyError, match="taken"):
        getattr(net, register)("forward", value)
    with pytest.raises(TypeError, match="got int"):
        getattr(net, register)("fine", 3)
    getattr(net, register)("fine", None)
    assert net.fine is None


def test_names_of_module_are_protected():
    net = Net()
    with pytest.raises(KeyError, match="which Module uses"):
        net.train = nn.Parameter(ft.zeros(1))


def test_buffer_class():
    net = nn.Module()
    net.a = nn.Buffer(ft.ones(2))
    net.b = nn.Buffer(ft.ones(2), persistent=False)
    assert list(net.state_dict()) == ["a"] and names(net.named_buffers()) == ["a", "b"]
    assert not net.a.requires_grad


def test_parameter():
    data = ft.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert isinstance(p, ft.Tensor) and p.requires_grad and p.is_leaf
    data.add_(1.0)
    assert p.tolist() == [2.0, 3.0]  # shared memory
    assert not isinstance(p * 2, nn.Parameter)
    assert repr(p).startswith("Parameter containing:\n")
    assert not nn.Parameter(ft.tensor([1, 2]), requires_grad=False).requires_grad
    p.tag = "kept"
    q = copy.deepcopy(p)
    assert isinstance(q, nn.Parameter) and q.tag == "kept" and q.requires_grad and q is not p
    r = pickle.loads(pickle.dumps(p))
    assert isinstance(r, nn.Parameter) and r.tolist() == [2.0, 3.0] and r.requires_grad
    with pytest.raises(TypeError, match="expected a Tensor, got list"):
        nn.Parameter([1.0])


def test_modes_and_freezing():
    net = nn.Sequential(Net(), nn.Dropout(0.5))
    assert net.training and net.eval() is net
    assert not net.training and not net[0].fc1.training and not net[1].training
    net.train()
    assert net[1].training
    with pytest.raises(ValueError, match="expected True or False"):
        net.train("yes")
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad():
    net = Net()
    net(ft.ones(2, 4)).sum().backward()
    assert net.fc1.weight.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.fc1.weight.grad.abs().sum().item() == 0.0
    net.zero_grad()
    assert net.fc1.weight.grad is None


def test_casts_keep_parameters():
    net = Net()
    weight = net.fc1.weight
    net.tied = net.fc1
    net(ft.ones(2, 4)).sum().backward()
    net.double()
    assert (
        net.fc1.weight is weight and weight.dtype == ft.float64 and weight.grad.dtype == ft.float64
    )
    assert net.count.dtype == ft.int64 and net.mask.dtype == ft.float64
    assert net(ft.ones(2, 4, dtype=ft.float64)).dtype == ft.float64
    assert net.to(ft.float32).scale.dtype == ft.float32
    assert net.to("cpu", ft.float64).scale.dtype == ft.float64
    assert net.to(dtype=ft.float32).to(device="cpu").scale.dtype == ft.float32
    assert net.to(ft.zeros(1, dtype=ft.float64)).scale.dtype == ft.float64
    assert net.half().scale.dtype == ft.float16 and net.bfloat16().scale.dtype == ft.bfloat16
    assert net.float().cpu().scale.dtype == ft.float32
    with pytest.raises(TypeError, match="expected a floating or complex dtype"):
        net.to(ft.int64)


def test_apply_goes_children_first():
    seen = []
    Net().apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Linear", "Net"]


def test_repr():
    net = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=2, bias=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Module()) == "Module()"


def test_dir_lists_names():
    listed = dir(nn.Sequential(nn.Linear(1, 1)))
    assert "forward" in listed and "0" not in listed
    assert {"fc1", "scale", "count"} <= set(dir(Net()))


def test_deepcopy_and_pickle():
    net = Net()
    net.tied = net.fc1
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.fc1.weight is not net.fc1.weight and other.tied is other.fc1
        assert isinstance(other.fc1.weight, nn.Parameter) and other.fc1.weight.requires_grad
        assert other(ft.ones(1, 4)).tolist() == net(ft.ones(1, 4)).tolist()
        with ft.no_grad():
            other.scale.mul_(2.0)
        assert net.scale.tolist() == [1.0, 1.0, 1.0]


def test_forward_missing():
    with pytest.raises(NotImplementedError, match="Module: expected a method forward"):
        nn.Module()(1)


def test_forward_hooks():
    net = nn.Linear(2, 2)
    x = ft.ones(1, 2)
    plain = net(x)
    calls = []
    pre = net.register_forward_pre_hook(lambda module, args: (args[0] * 0.0,))
    post = net.register_forward_hook(lambda module, args, out: calls.append(tuple(out.shape)))
    assert net(x).tolist() == net.bias.detach().reshape(1, 2).tolist() and calls == [(1, 2)]
    pre.remove()
    with net.register_forward_hook(lambda module, args, out: out + 1.0, prepend=True):
        assert (net(x) - plain).mean().item() == pytest.approx(1.0)
    post.remove()
    assert net(x).tolist() == plain.tolist() and len(calls) == 2


def test_hooks_with_kwargs_and_errors():
    class Scale(nn.Module):
        def forward(self, x, by=1.0):
            if by < 0:
                raise ValueError("negative")
            return x * by

    net, seen = Scale(), []
    net.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True
    )
    net.register_forward_hook(
        lambda m, args, kwargs, out: seen.append((kwargs, out)), with_kwargs=True, always_call=True
    )
    assert net(2.0, by=1.0) == 4.0 and seen == [({"by": 2.0}, 4.0)]
    with pytest.raises(ValueError, match="negative"):
        net(2.0, by=-9.0)
    assert seen[1][1] is None
    with pytest.raises(TypeError, match="expected a callable hook"):
        net.register_forward_hook(3)


def test_full_backward_hooks():
    net = nn.Linear(2, 1, bias=False)
    seen = []
    net.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 3.0,))
    net.register_full_backward_hook(
        lambda module, gi, go: seen.append((gi[0].tolist(), go[0].tolist()))
    )
    x = ft.tensor([[1.0, 2.0]], requires_grad=True)
    (net(x) * 2.0 + x.sum() * 0.0).sum().backward()
    weight = net.weight.detach().reshape(-1).tolist()
    assert seen == [([[pytest.approx(6.0 * w) for w in weight]], [[6.0]])]
    net.register_full_backward_hook(lambda module, gi, go: (gi[0] * 0.0,))
    x.grad = None
    for _ in range(2):
        net(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]] and len(seen) == 3


def test_errors_name_the_place_and_the_rule():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(5, 2))
    with pytest.raises(
        RuntimeError, match=r"Linear: expected input \[\.\.\., 5\], got \[2, 3\]"
    ) as caught:
        net(ft.zeros(2, 4))
    assert caught.value.__notes__ == [
        "in Sequential.2: Linear(in_features=5, out_features=2, bias=True)"
    ]
    with pytest.raises(RuntimeError) as caught:
        net(ft.zeros(2, 9))
    assert caught.value.__notes__ == [
        "in Sequential.1.0: Linear(in_features=4, out_features=3, bias=True)"
    ]


def test_errors_of_user_code_keep_their_class():
    class Odd(Exception):
        def __init__(self, code, why):
            super().__init__(code, why)

    class Inner(nn.Module):
        def forward(self, x):
            raise Odd(3, "mine")

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([Inner()])

        def forward(self, x):
            return self.parts[0](x)

    with pytest.raises(Odd) as caught:
        Outer()(1)
    assert caught.value.args == (3, "mine") and caught.value.__notes__ == [
        "in Outer.parts.0: Inner()"
    ]


def test_summary_as_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    text = model.summary((5, 3), picture=str(tmp_path / "model.png"))
    assert text == model.summary((5, 3))
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_set_submodule():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3)))
    new = nn.Linear(2, 5)
    model.set_submodule("0.0", new)
    assert model[0][0] is new and list(model(ft.ones(1, 2)).shape) == [1, 5]
    model.set_submodule("0.head", nn.ReLU())
    assert [name for name, _ in model.named_modules()] == ["", "0", "0.0", "0.head"]
    with pytest.raises(AttributeError, match="no 'tail'"):
        model.set_submodule("0.tail", nn.ReLU(), strict=True)
    with pytest.raises(TypeError, match="expected a Module"):
        model.set_submodule("0.0", ft.ones(1))
