"""Optimizers: torch's numbers over 100 steps, the pure form, groups, state dicts, bad options."""

import copy

import pytest

import functorch_like as ft
import nn
from nn import optim


def near(a, b, atol=1e-5):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


CASES = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "maximize": True, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2, "amsgrad": True, "betas": (0.0, 0.9)}),
]


def start(dtype):
    a = ft.linspace(-1.0, 1.0, 6).to(dtype).reshape(2, 3)
    b = ft.tensor([0.5, -2.0], dtype=dtype)
    return [a, b]


def loss_of(lib, params, step, options=None):
    a, b = params
    loss = lib.sin(a * (1.0 + 0.01 * step)).sum() + (a.sum(1) * b).sum() ** 2 * 0.1 + (b**2).sum()
    return -loss if options and options.get("maximize") else loss


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-9), ("float32", 2e-4)])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_torch_over_100_steps(bridge, name, options, dtype, tol):
    params = [p.requires_grad_() for p in start(getattr(ft, dtype))]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours, theirs = (
        getattr(optim, name)(params, **options),
        getattr(bridge.torch.optim, name)(others, **options),
    )
    for step in range(100):
        for optimizer, lib, ps in ((ours, ft, params), (theirs, bridge.torch, others)):
            optimizer.zero_grad()
            loss_of(lib, ps, step, options).backward()
            optimizer.step()
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, tol)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine["param_groups"][0].keys() == other["param_groups"][0].keys()
    names = {
        what
        for values in other["state"].values()
        for what, value in values.items()
        if value is not None
    }
    assert {what for values in mine["state"].values() for what in values} == names


@pytest.mark.parametrize(("name", "options"), CASES)
def test_pure_form_equals_class(name, options):
    params = [p.requires_grad_() for p in start(ft.float64)]
    optimizer = getattr(optim, name)(params, **options)
    pure = getattr(optim, name).pure(**options)
    tree = {"a": params[0].detach().clone(), "b": params[1].detach().clone()}
    state = pure.init(tree)
    for step in range(20):
        optimizer.zero_grad()
        loss_of(ft, params, step, options).backward()
        optimizer.step()
        grads = ft.grad(lambda t, step=step: loss_of(ft, (t["a"], t["b"]), step, options))(tree)
        before = tree["a"].tolist()
        updates, state = pure.update(grads, state, tree)
        assert tree["a"].tolist() == before  # nothing is changed in place
        tree = optim.apply_updates(tree, updates)
    assert near(tree["a"], params[0], atol=1e-10) and near(tree["b"], params[1], atol=1e-10)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_rule_based_step_equals_in_place_step(name):
    options = {"lr": ft.tensor(0.1, dtype=ft.float64)}
    a, b = ([p.requires_grad_() for p in start(ft.float64)] for _ in range(2))
    one, two = getattr(optim, name)(a, **options), getattr(optim, name)(b, lr=0.1)
    for step in range(5):
        for optimizer, params in ((one, a), (two, b)):
            optimizer.zero_grad()
            loss_of(ft, params, step).backward()
            optimizer.step()
    assert all(near(p, q, atol=1e-10) for p, q in zip(a, b, strict=True))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_late_strided_and_complex_parameters_as_torch(bridge, name):
    """Parameters of one group: one transposed, one complex, one that has gradients later on."""
    options = {"lr": 0.05, "weight_decay": 0.1, **({"momentum": 0.9} if name == "SGD" else {})}
    torch = bridge.torch
    params = [
        ft.linspace(-1.0, 1.0, 6, dtype=ft.float64).reshape(2, 3).T.requires_grad_(),
        ft.tensor([1 + 2j, 3 - 1j], dtype=ft.complex128).requires_grad_(),
        ft.ones(2, dtype=ft.float64).requires_grad_(),
    ]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours, theirs = (
        getattr(optim, name)(params, **options),
        getattr(torch.optim, name)(others, **options),
    )
    for step in range(6):
        for p, q in list(zip(params, others, strict=True))[: 2 if step < 3 else 3]:
            q.grad = (q.detach() * 0.5).sin()
            p.grad = (p.detach() * 0.5).sin()
        ours.step(), theirs.step()
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, 1e-12)
    assert not params[0].is_contiguous()


@pytest.mark.parametrize("dtype", [ft.float16, ft.bfloat16])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_16_bit_parameters(name, options, dtype):
    """One step: computed in float32, rounded once."""
    narrow = ft.linspace(-1.0, 1.0, 40).to(dtype).requires_grad_()
    wide = narrow.detach().float().requires_grad_()
    narrow.grad = ft.linspace(1.0, -0.5, 40).to(dtype)
    wide.grad = narrow.grad.float()
    getattr(optim, name)([narrow], **options).step()
    getattr(optim, name)([wide], **options).step()
    assert narrow.dtype == dtype and narrow.detach().tolist() == wide.detach().to(dtype).tolist()


def test_many_tensors_in_one_step():
    """More items than a thread takes at once, empty and 0-d tensors between: as each by itself."""
    shapes = [(), (0, 3), (300, 301), (7,), (1,), (2, 0), (64, 1000)]
    start_values = [ft.randn(*shape) for shape in shapes]
    grads = [ft.randn(*shape) for shape in shapes]
    for name in ("SGD", "Adam"):
        together = [x.clone().requires_grad_() for x in start_values]
        alone = [x.clone().requires_grad_() for x in start_values]
        one = getattr(optim, name)(together, lr=0.1)
        several = [getattr(optim, name)([p], lr=0.1) for p in alone]
        for params in (together, alone):
            for p, g in zip(params, grads, strict=True):
                p.grad = g.clone()
        one.step()
        for optimizer in several:
            optimizer.step()
        assert all((p == q).all().item() for p, q in zip(together, alone, strict=True))


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_state_that_does_not_fit_changes_nothing(name):
    params = [ft.ones(2).requires_grad_(), ft.ones(3).requires_grad_()]
    optimizer = getattr(optim, name)(params, lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
    for p in params:
        p.grad = ft.ones(p.shape)
    optimizer.step()
    before = [p.tolist() for p in params]
    state = optimizer.state[params[1]]
    state["momentum_buffer" if name == "SGD" else "exp_avg"] = ft.zeros(4)
    with pytest.raises(ft.ShapeError, match=r"\[1\] of its parameter's shape \[3\], got \[4\]"):
        optimizer.step()
    assert [p.tolist() for p in params] == before
    if name == "Adam":
        assert state["step"].item() == 1.0


def test_a_step_shows_in_views_and_is_noticed_by_the_tape():
    w = ft.ones(3).requires_grad_()
    view = w.detach()[1:]
    w.grad = ft.ones(3)
    loss = (w * w).sum()
    optim.SGD([w], lr=0.5).step()
    assert view.tolist() == [0.5, 0.5]
    with pytest.raises(ft.GradError, match="in-place"):
        loss.backward()


def test_gradient_through_a_step():
    def after(lr):
        sgd = optim.SGD.pure(lr=lr)
        w = {"w": ft.tensor(1.0)}
        updates, _ = sgd.update(ft.grad(lambda w: w["w"] ** 2)(w), sgd.init(w), w)
        return optim.apply_updates(w, updates)["w"] ** 2  # (1 - 2 lr) ** 2

    assert ft.grad(after)(ft.tensor(0.1)).item() == pytest.approx(-4 * (1 - 0.2))


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_ensemble_with_one_learning_rate_each(name):
    rates = ft.tensor([0.01, 0.1, 0.3])

    def fit(lr):
        rule = getattr(optim, name).pure(lr=lr, **({"momentum": 0.5} if name == "SGD" else {}))
        params = {"w": ft.ones(2)}
        state = rule.init(params)
        for _ in range(3):
            updates, state = rule.update({"w": 2.0 * params["w"]}, state, params)
            params = optim.apply_updates(params, updates)
        return params["w"]

    together = ft.vmap(fit)(rates)
    for i, rate in enumerate(rates.tolist()):
        assert near(together[i], fit(rate), atol=1e-5)


def test_groups_and_their_options():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(
        [{"params": net[0].parameters()}, {"params": [net[1].weight], "lr": 0.0}], lr=1.0
    )
    optimizer.add_param_group({"params": net[1].bias, "momentum": 0.9})
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.0, 1.0]
    before = [p.tolist() for p in net.parameters()]
    net(ft.ones(3, 2)).sum().backward()
    optimizer.step()
    changed = [p.tolist() != old for p, old in zip(net.parameters(), before, strict=True)]
    assert changed == [True, True, False, True]
    named = optim.Adam(net.named_parameters())
    assert named.param_groups[0]["param_names"][0] == "0.weight"


def test_zero_grad_and_missing_gradients():
    a, b = ft.ones(1, requires_grad=True), ft.ones(1, requires_grad=True)
    optimizer = optim.Adam([a, b], lr=0.1)
    (a * 2.0).sum().backward()
    optimizer.step()
    assert (
        b.item() == 1.0
        and a.item() == pytest.approx(0.9)
        and list(optimizer.state_dict()["state"]) == [0]
    )
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.item() == 0.0 and b.grad is None
    optimizer.zero_grad()
    assert a.grad is None
    (a + b).sum().backward()
    optimizer.step()
    steps = [state["step"].item() for state in optimizer.state_dict()["state"].values()]
    assert steps == [2.0, 1.0]


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("name", ["Adam", "SparseAdam", "NAdam", "RAdam"])
def test_only_parameters_with_a_gradient_count_a_step(name, staged):
    def train(pattern, staged):
        a, b = ft.ones(2, requires_grad=True), ft.ones(2, requires_grad=True)
        optimizer = getattr(optim, name)([a, b], lr=0.1)

        def step(both):
            optimizer.zero_grad()
            ((a**3).sum() + (b**3).sum() if both else (a**3).sum()).backward()
            optimizer.step()

        step = ft.compile(step) if staged else step
        for both in pattern:
            step(both)
        return b, [state["step"].item() for state in optimizer.state_dict()["state"].values()]

    b, steps = train([True, False, True, False, False, True], staged)
    assert steps == [6.0, 3.0]
    assert near(b, train([True] * 3, False)[0], 1e-6)


def test_a_counter_parted_within_a_program():
    a, b = ft.ones(2, requires_grad=True), ft.ones(2, requires_grad=True)
    optimizer = optim.Adam([a, b], lr=0.1)

    @ft.compile
    def step():
        for loss in (lambda: (a * b).sum(), lambda: (a * a).sum()):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    for _ in range(3):
        step()
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [6.0, 3.0]


def test_closure_and_hooks():
    w = ft.tensor([1.0], requires_grad=True)
    optimizer, seen = optim.SGD([w], lr=0.1), []
    with optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")):
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))

        def closure():
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == 1.0
    assert w.item() == pytest.approx(0.8) and seen == ["before", "after"]
    optimizer.step(closure)
    assert seen == ["before", "after", "after"]
    assert w.grad_fn is None and w.requires_grad


def test_state_dict_round_trip():
    def run(optimizer, params, steps):
        for step in steps:
            optimizer.zero_grad()
            loss_of(ft, params, step).backward()
            optimizer.step()

    for name, options in (("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True})):
        a = [p.requires_grad_() for p in start(ft.float64)]
        first = getattr(optim, name)(a, lr=0.05, **options)
        run(first, a, range(5))
        b = [p.detach().clone().requires_grad_() for p in a]
        second = getattr(optim, name)(b, lr=9.0)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        assert second.param_groups[0]["lr"] == 0.05
        run(first, a, range(5, 10)), run(second, b, range(5, 10))
        assert [p.tolist() for p in a] == [p.tolist() for p in b]


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), [CASES[1], CASES[6]])
def test_state_dicts_move_both_ways(bridge, name, options):
    params = [p.requires_grad_() for p in start(ft.float32)]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours, theirs = (
        getattr(optim, name)(params, **options),
        getattr(bridge.torch.optim, name)(others, **options),
    )

    def advance(lib, optimizer, ps, n):
        for step in range(n):
            optimizer.zero_grad()
            loss_of(lib, ps, step).backward()
            optimizer.step()

    advance(bridge.torch, theirs, others, 3)
    ours.load_state_dict(theirs.state_dict())
    with ft.no_grad():
        for p, q in zip(params, others, strict=True):
            p.copy_(bridge.ours(q))
    advance(ft, ours, params, 3), advance(bridge.torch, theirs, others, 3)
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, 1e-5)
    fresh = getattr(bridge.torch.optim, name)(others, lr=1.0)
    state = ours.state_dict()
    state["state"] = {
        i: {what: bridge.theirs(value) for what, value in values.items()}
        for i, values in state["state"].items()
    }
    fresh.load_state_dict(state)
    advance(ft, ours, params, 3), advance(bridge.torch, fresh, others, 3)
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, 1e-5)


def test_state_dict_errors_change_nothing():
    params = [p.requires_grad_() for p in start(ft.float32)]
    optimizer = optim.Adam(params, lr=0.1)
    loss_of(ft, params, 0).backward()
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"expected groups of \[2\] parameters, got \[1\]"):
        optimizer.load_state_dict(optim.Adam(params[:1]).state_dict())
    wrong = copy.deepcopy(before)
    wrong["state"][0]["exp_avg"] = ft.zeros(7)
    wrong["param_groups"][0]["lr"] = 5.0
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 to be \[2, 3\], got \[7\]"):
        optimizer.load_state_dict(wrong)
    with pytest.raises(ValueError, match="expected a dict with 'state' and 'param_groups'"):
        optimizer.load_state_dict({})
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert (
        optimizer.state_dict()["state"][0]["exp_avg"].tolist()
        == before["state"][0]["exp_avg"].tolist()
    )


def test_bad_options():
    w = ft.ones(1, requires_grad=True)
    for make, match in [
        (lambda: optim.SGD([w], lr=-1.0), "SGD: expected lr >= 0, got -1"),
        (lambda: optim.SGD([w], nesterov=True), "momentum > 0 and dampening = 0 with nesterov"),
        (
            lambda: optim.Adam([w], betas=(0.9, 1.0)),
            r"Adam: expected betas\[1\] within 0..1, below 1, got 1.0",
        ),
        (lambda: optim.AdamW([w], eps=float("nan")), "AdamW: expected eps >= 0, got nan"),
        (lambda: optim.SGD([]), "at least one parameter, got none"),
        (lambda: optim.SGD([w * 2]), "expected leaf tensors"),
        (lambda: optim.SGD([w, w]), "every parameter once"),
        (lambda: optim.SGD([{"params": [w]}, {"params": [w]}]), "every parameter once"),
        (lambda: optim.SGD.pure(lr=-1.0), "lr >= 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    for make, match in [
        (lambda: optim.SGD(w), "got one Tensor. Pass"),
        (lambda: optim.SGD([1.0]), "expected Tensors as parameters, got float"),
        (lambda: optim.SGD([{"lr": 1.0}]), "a dict with 'params'"),
        (lambda: optim.SGD([{"params": {w}}]), "fixed order, got a set"),
        (lambda: optim.Adam.pure(rate=1.0), "expected options lr, betas"),
    ]:
        with pytest.raises(TypeError, match=match):
            make()


def test_training_loop_learns():
    x = ft.randn(64, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()
    for optimizer_class, lr in ((optim.SGD, 0.5), (optim.Adam, 0.02)):
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer, loss_fn = optimizer_class(net.parameters(), lr=lr), nn.CrossEntropyLoss()
        first = loss_fn(net(x), y).item()
        for _ in range(150):
            optimizer.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.5 * first


def test_zeros_are_written_where_gradients_lie():
    w = ft.ones(3, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    grad = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is grad and grad.tolist() == [0, 0, 0]
    (w**3).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert not w.grad.requires_grad and w.grad.tolist() == [0, 0, 0]


def test_loaded_counters_are_shared_as_they_were():
    params = [ft.ones(2, requires_grad=True) for _ in range(3)]
    optimizer = optim.Adam(params)
    for param in params:
        param.grad = ft.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    separate = {**state["state"][2], "step": ft.tensor(1.0)}
    optimizer.load_state_dict({**state, "state": {**state["state"], 2: separate}})
    steps = [optimizer.state[param]["step"] for param in params]
    assert steps[0] is steps[1] and steps[0] is not steps[2]
    assert steps[0] is not state["state"][0]["step"]
    optimizer.step()
    assert [step.item() for step in steps] == [2, 2, 2]


def test_hooks_of_state_dicts():
    w = ft.ones(2, requires_grad=True)
    optimizer, seen = optim.SGD([w], lr=0.1), []
    handles = [
        optimizer.register_state_dict_pre_hook(lambda o: seen.append("save")),
        optimizer.register_state_dict_post_hook(lambda o, state: {**state, "epoch": 3}),
        optimizer.register_state_dict_post_hook(lambda o, state: seen.append(len(state)), True),
        optimizer.register_load_state_dict_pre_hook(lambda o, state: state["wrapped"]),
        optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded")),
    ]
    state = optimizer.state_dict()
    assert state["epoch"] == 3 and seen == ["save", 2]
    state["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict({"wrapped": state})
    assert optimizer.param_groups[0]["lr"] == 0.5 and seen[-1] == "loaded"
    for handle in handles:
        handle.remove()
    optimizer.load_state_dict(optimizer.state_dict())
    assert len(seen) == 3
