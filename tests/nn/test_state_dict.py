"""state_dict and load_state_dict: round trips, sharing, hooks; errors that change nothing."""

import pytest

import functorch_like as ft
import nn


def make():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def values(module):
    return {name: value.tolist() for name, value in module.state_dict().items()}


def test_round_trip_and_sharing():
    a, b = make(), make()
    state = a.state_dict()
    assert list(state) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]
    assert not any(value.requires_grad for value in state.values())
    result = b.load_state_dict(state)
    assert result == ([], []) and result.missing_keys == [] and values(a) == values(b)
    with ft.no_grad():
        a[0].bias.add_(1.0)
    assert state["0.bias"].tolist() == a[0].bias.tolist() != b[0].bias.tolist()
    assert a.state_dict(keep_vars=True)["0.bias"] is a[0].bias
    assert list(a[0].state_dict(prefix="x.")) == ["x.weight", "x.bias"]


def test_errors_list_everything_and_change_nothing():
    net = make()
    before = values(net)
    state = net.state_dict()
    del state["0.bias"], state["1.running_var"]
    state.update(
        {
            "0.weight": ft.zeros(2, 9),
            "extra": ft.zeros(1),
            "1.bias": "text",
            "1.weight": ft.full((2,), 7.0),
        }
    )
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "missing: 0.bias, 1.running_var" in message and "unexpected: extra" in message
    assert (
        "0.weight: expected [2, 3], got [2, 9]" in message
        and "1.bias: expected a tensor, got str" in message
    )
    assert values(net) == before
    with pytest.raises(RuntimeError, match="expected"):
        net.load_state_dict(state, strict=False)  # shapes still count
    assert values(net) == before
    with pytest.raises(TypeError, match="expected a dict of tensors, got list"):
        net.load_state_dict([1])


def test_not_strict():
    net = make()
    result = net.load_state_dict(
        {"0.bias": ft.tensor([1.0, 2.0]), "extra": ft.zeros(1)}, strict=False
    )
    assert result.unexpected_keys == ["extra"] and "0.weight" in result.missing_keys
    assert net[0].bias.tolist() == [1.0, 2.0] and net[0].bias.requires_grad


def test_casts_and_arrays():
    np = pytest.importorskip("numpy")
    net = nn.Linear(2, 1)
    net.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": ft.tensor([3], dtype=ft.int32)})
    assert (
        net.weight.dtype == ft.float32
        and net.weight.tolist() == [[1.0, 2.0]]
        and net.bias.tolist() == [3.0]
    )


def test_assign():
    net = nn.Linear(2, 1).requires_grad_(False)
    weight = ft.ones(1, 2, dtype=ft.float64)
    net.load_state_dict({"weight": weight, "bias": ft.zeros(1, dtype=ft.float64)}, assign=True)
    assert (
        isinstance(net.weight, nn.Parameter)
        and net.weight.dtype == ft.float64
        and not net.weight.requires_grad
    )


def test_hooks():
    net = make()
    net[0].register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update({prefix + "version": ft.tensor(2)})
    )
    assert net.state_dict()["0.version"].item() == 2
    seen = []
    net[0].register_load_state_dict_pre_hook(
        lambda module, state, prefix, *rest: state.pop(prefix + "version")
    )
    net.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys))
    net.load_state_dict(net.state_dict())
    assert seen == [([], [])]


@pytest.mark.torch
def test_torch_weights_move_both_ways(bridge):
    theirs = bridge.torch.nn.Sequential(
        bridge.torch.nn.Conv2d(2, 4, 3, bias=False),
        bridge.torch.nn.BatchNorm2d(4),
        bridge.torch.nn.Flatten(),
        bridge.torch.nn.LayerNorm(16),
        bridge.torch.nn.Linear(16, 3),
    )
    ours = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 3),
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = ft.rand(5, 2, 4, 4)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        bridge.close(ours(x), theirs(bridge.theirs(x)))
    theirs.load_state_dict(
        {name: bridge.theirs(value) for name, value in ours.state_dict().items()}
    )
    bridge.close(ours(x), theirs(bridge.theirs(x)))


class Counted(nn.Linear):
    seen = 0

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def test_extra_state(tmp_path):
    model, other = (nn.Sequential(Counted(2, 2), nn.ReLU()) for _ in range(2))
    model[0].seen = 7
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0._extra_state"]
    ft.save(state, tmp_path / "model.safetensors")
    other.load_state_dict(ft.load(tmp_path / "model.safetensors"))
    assert other[0].seen == 7
    with pytest.raises(RuntimeError, match=r"missing: 0\._extra_state"):
        other.load_state_dict({k: v for k, v in state.items() if "extra" not in k})
    with pytest.raises(RuntimeError, match=r"unexpected: 0\._extra_state"):
        nn.Sequential(nn.Linear(2, 2)).load_state_dict(state)
    with pytest.raises(NotImplementedError, match="set_extra_state"):
        nn.Linear(1, 1).set_extra_state({})
