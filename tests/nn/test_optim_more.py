"""The other optimizers: torch's numbers over 100 steps, NumPy references, pure forms, LBFGS."""

import copy
import itertools
import subprocess
import sys

import pytest

import functorch_like as ft
from nn import optim

CASES = [
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "eps": 1e-6,
                 "initial_accumulator_value": 0.2, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-5, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.9, "centered": True, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.5, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02}),
    ("RAdam", {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"lr": 0.01, "etas": (0.6, 1.1), "step_sizes": (1e-3, 0.1), "maximize": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.05, "lambd": 0.01, "alpha": 0.5, "t0": 10, "weight_decay": 0.1,
              "maximize": True}),
    ("Adafactor", {"lr": 0.05}),
    ("Adafactor", {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-6, 1e-2), "d": 2.0,
                   "weight_decay": 0.1, "maximize": True}),
]  # fmt: skip
OWN = [
    ("Lion", {"lr": 0.01}),
    ("Lion", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True}),
    ("LAMB", {"lr": 0.01}),
    ("LAMB", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True}),
]


def start(dtype):
    a = ft.linspace(-1.0, 1.0, 6).to(dtype).reshape(2, 3)
    return [a, ft.tensor([0.5, -2.0], dtype=dtype)]


def loss_of(lib, params, step, options=None):
    a, b = params
    loss = lib.sin(a * (1.0 + 0.01 * step)).sum() + (a.sum(1) * b).sum() ** 2 * 0.1 + (b**2).sum()
    return -loss if options and options.get("maximize") else loss


def train(lib, optimizer, params, steps, options=None):
    for step in steps:
        optimizer.zero_grad()
        loss_of(lib, params, step, options).backward()
        optimizer.step()


def near(a, b, atol=1e-10):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-6), ("float32", 5e-4)])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_torch_over_100_steps(bridge, name, options, dtype, tol):
    # float64 to 1e-9 but for NAdam and ASGD, which keep float32 scalars, as torch does
    tol = 1e-9 if dtype == "float64" and name not in ("NAdam", "ASGD") else tol
    params = [p.requires_grad_() for p in start(getattr(ft, dtype))]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours = getattr(optim, name)(params, **options)
    theirs = getattr(bridge.torch.optim, name)(others, **options)
    train(ft, ours, params, range(100), options)
    train(bridge.torch, theirs, others, range(100), options)
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, tol)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine["param_groups"][0].keys() == other["param_groups"][0].keys()
    for key, values in other["state"].items():
        assert mine["state"][key].keys() == values.keys()
        for what, value in values.items():
            bridge.close(mine["state"][key][what], value, 10 * tol)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES} - {"Adafactor"}))
def test_complex_parameters_as_torch(bridge, name):
    p = ft.tensor([1 + 2j, 3 - 1j], dtype=ft.complex128).requires_grad_()
    q = bridge.theirs(p).requires_grad_()
    ours, theirs = getattr(optim, name)([p]), getattr(bridge.torch.optim, name)([q])
    for _ in range(5):
        p.grad, q.grad = (p.detach() * 0.5).sin(), (q.detach() * 0.5).sin()
        ours.step(), theirs.step()
    bridge.close(p, q, 1e-7)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_state_dicts_move_both_ways(bridge, name):
    params = [p.requires_grad_() for p in start(ft.float64)]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours = getattr(optim, name)(params, lr=0.02)
    theirs = getattr(bridge.torch.optim, name)(others, lr=0.02)
    train(bridge.torch, theirs, others, range(3))
    ours.load_state_dict(theirs.state_dict())
    with ft.no_grad():
        for p, q in zip(params, others, strict=True):
            p.copy_(bridge.ours(q))
    train(ft, ours, params, range(3, 6))
    train(bridge.torch, theirs, others, range(3, 6))
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, 1e-6)


def reference_lion(w, g, state, t, lr, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    import numpy as np

    g = -g if maximize else g
    m = state.setdefault("m", 0 * w)
    step = lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * w)
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    return w - step


def reference_lamb(w, g, state, t, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0,
                   maximize=False):  # fmt: skip
    import numpy as np

    g = -g if maximize else g
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
    r = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * w
    return w - lr * np.linalg.norm(w) / np.linalg.norm(r) * r


@pytest.mark.parametrize(("name", "options"), OWN)
def test_as_the_papers_formula_in_numpy(name, options):
    params = [p.requires_grad_() for p in start(ft.float64)]
    optimizer = getattr(optim, name)(params, **options)
    formula = {"Lion": reference_lion, "LAMB": reference_lamb}[name]
    arrays, states = [p.detach().numpy().copy() for p in params], [{}, {}]
    for step in range(100):
        optimizer.zero_grad()
        loss_of(ft, params, step, options).backward()
        grads = [p.grad.numpy().copy() for p in params]
        optimizer.step()
        arrays = [
            formula(w, g, state, step + 1, **options)
            for w, g, state in zip(arrays, grads, states, strict=True)
        ]
        for p, w in zip(params, arrays, strict=True):
            assert near(p.detach(), ft.tensor(w), 1e-9)


def test_lamb_at_zero_takes_the_plain_step():
    w = ft.zeros(3).requires_grad_()
    w.grad = ft.ones(3)
    optim.LAMB([w], lr=0.1).step()
    assert near(w.detach(), ft.full((3,), -0.1), 1e-5)
    w.grad = ft.zeros(3)
    v = ft.ones(3).requires_grad_()
    v.grad = ft.zeros(3)
    optim.LAMB([v], lr=0.1).step()
    assert v.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("name", "options"), CASES + OWN)
def test_pure_form_equals_class(name, options):
    params = [p.requires_grad_() for p in start(ft.float64)]
    optimizer = getattr(optim, name)(params, **options)
    pure = getattr(optim, name).pure(**options)
    tree = {"a": params[0].detach().clone(), "b": params[1].detach().clone()}
    state = pure.init(tree)
    for step in range(12):
        train(ft, optimizer, params, [step], options)
        grads = ft.grad(lambda t, step=step: loss_of(ft, (t["a"], t["b"]), step, options))(tree)
        updates, state = pure.update(grads, state, tree)
        tree = optim.apply_updates(tree, updates)
    assert near(tree["a"], params[0].detach()) and near(tree["b"], params[1].detach())


ALL = sorted({name for name, _ in CASES + OWN})


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [ft.float32, ft.float64])
def test_ensemble_with_one_learning_rate_each(name, dtype):
    rates = ft.tensor([0.01, 0.1, 0.3], dtype=dtype)

    def fit(lr):
        rule = getattr(optim, name).pure(lr=lr)
        params = {"w": ft.ones(2), "m": ft.linspace(-1.0, 2.0, 6).reshape(2, 3)}
        state = rule.init(params)
        for _ in range(4):
            grads = {"w": 2.0 * params["w"], "m": ft.sin(params["m"])}
            updates, state = rule.update(grads, state, params)
            params = optim.apply_updates(params, updates)
        return params

    together = ft.vmap(fit)(rates)
    assert together["w"].dtype == ft.float32
    for i in range(3):
        alone = fit(rates[i])
        assert near(together["w"][i], alone["w"], 1e-5)
        assert near(together["m"][i], alone["m"], 1e-5)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("Lion", "Rprop")])
def test_gradient_with_respect_to_the_learning_rate(name):
    def after(lr):
        rule = getattr(optim, name).pure(lr=lr)
        w = ft.linspace(0.5, 2.0, 6, dtype=ft.float64).reshape(2, 3)
        state = rule.init(w)
        for _ in range(3):
            updates, state = rule.update(ft.grad(lambda w: ft.cos(w).sum())(w), state, w)
            w = w + updates
        return (w * w).sum()

    lr, h = ft.tensor(0.05, dtype=ft.float64), 1e-6
    slope = ((after(lr + h) - after(lr - h)) / (2 * h)).item()
    # ASGD keeps its rate in float32
    assert ft.grad(after)(lr).item() == pytest.approx(slope, rel=1 if name == "ASGD" else 1e-4)
    assert ft.grad(after)(lr).item() != 0


@pytest.mark.parametrize(("name", "options"), CASES + OWN)
def test_state_dict_round_trip(name, options):
    a = [p.requires_grad_() for p in start(ft.float64)]
    first = getattr(optim, name)(a, **options)
    train(ft, first, a, range(5))
    b = [p.detach().clone().requires_grad_() for p in a]
    second = getattr(optim, name)(b, lr=9.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(ft, first, a, range(5, 10)), train(ft, second, b, range(5, 10))
    assert [p.tolist() for p in a] == [p.tolist() for p in b]


@pytest.mark.parametrize("name", ALL)
def test_learns(name):
    lr = {"Adadelta": 30.0, "ASGD": 0.1, "Adagrad": 0.5, "Adafactor": 0.5, "Lion": 0.1}.get(
        name, 0.05
    )
    w = ft.tensor([2.0, -3.0], requires_grad=True)
    optimizer = getattr(optim, name)([w], lr=lr)
    for _ in range(100):
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < 2.0


# ---- Muon ----

MUON = [
    {"lr": 0.02},
    {"lr": 0.02, "nesterov": False, "weight_decay": 0.0, "momentum": 0.8},
    {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
]


@pytest.mark.torch
@pytest.mark.parametrize("options", MUON)
def test_muon_as_torch(bridge, options):
    """Its iteration runs in bfloat16: equal to that dtype's rounding, per step and in sum."""
    params = [ft.randn(6, 4).requires_grad_(), ft.randn(3, 5).requires_grad_()]
    others = [bridge.theirs(p).requires_grad_() for p in params]
    ours, theirs = optim.Muon(params, **options), bridge.torch.optim.Muon(others, **options)
    for _ in range(100):
        for p, q in zip(params, others, strict=True):
            p.grad, q.grad = ft.sin(p.detach()), bridge.torch.sin(q.detach())
        ours.step(), theirs.step()
    for p, q in zip(params, others, strict=True):
        bridge.close(p, q, 2e-2)
    assert (
        ours.state_dict()["param_groups"][0].keys() == theirs.state_dict()["param_groups"][0].keys()
    )


def test_muon_steps_are_nearly_orthogonal():
    for shape in ((4, 8), (8, 4)):
        u = optim.muon.orthogonalized(ft.randn(*shape), steps=5).float()
        gram = u @ u.mT if shape[0] < shape[1] else u.mT @ u
        assert (gram.diagonal() - 1.0).abs().max().item() < 0.6
        assert (gram - ft.diag(gram.diagonal())).abs().max().item() < 0.4


def test_muon_pure_and_errors():
    w = ft.randn(4, 3).requires_grad_()
    tree = {"w": w.detach().clone()}
    optimizer, pure = optim.Muon([w], lr=0.1), optim.Muon.pure(lr=0.1)
    state = pure.init(tree)
    for _ in range(3):
        w.grad = w.detach() * 2.0
        optimizer.step()
        updates, state = pure.update({"w": tree["w"] * 2.0}, state, tree)
        tree = optim.apply_updates(tree, updates)
    assert near(tree["w"], w.detach(), 1e-6)
    with pytest.raises(ValueError, match=r"expected real matrices, got a parameter of shape \[3\]"):
        optim.Muon([ft.ones(3).requires_grad_()])
    with pytest.raises(ValueError, match="adjust_lr_fn 'original'"):
        optim.Muon([w], adjust_lr_fn="other")


# ---- LBFGS ----


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def closure_for(optimizer, loss):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


@pytest.mark.torch
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1.0, "line_search_fn": "strong_wolfe"},
        {"lr": 0.3, "line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 5},
        {"lr": 0.001, "history_size": 4, "max_iter": 7},
    ],
)
def test_lbfgs_as_torch(bridge, options):
    torch = bridge.torch
    p = ft.linspace(-1.0, 1.5, 5, dtype=ft.float64).requires_grad_()
    q = bridge.theirs(p).requires_grad_()
    ours, theirs = optim.LBFGS([p], **options), torch.optim.LBFGS([q], **options)
    for _ in range(4):
        a = ours.step(closure_for(ours, lambda: rosenbrock(p)))
        b = theirs.step(closure_for(theirs, lambda: rosenbrock(q)))
        assert a.item() == pytest.approx(b.item(), rel=1e-6, abs=1e-12)
    bridge.close(p, q, 1e-6)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine["param_groups"][0].keys() == other["param_groups"][0].keys()
    assert mine["state"][0]["func_evals"] == other["state"][0]["func_evals"]
    assert mine["state"][0]["n_iter"] == other["state"][0]["n_iter"]
    again = optim.LBFGS([p.detach().clone().requires_grad_()], **options)
    again.load_state_dict(other)
    assert len(again.state_dict()["state"][0]["old_dirs"]) == len(mine["state"][0]["old_dirs"])


def test_lbfgs_finds_the_minimum_and_resumes():
    p = ft.tensor([-1.2, 1.0], dtype=ft.float64).requires_grad_()
    first = optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=8)
    first.step(closure_for(first, lambda: rosenbrock(p)))
    q = p.detach().clone().requires_grad_()
    second = optim.LBFGS([q])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for optimizer, x in ((first, p), (second, q)):
        for _ in range(6):
            optimizer.step(closure_for(optimizer, lambda x=x: rosenbrock(x)))
    assert p.tolist() == q.tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_lbfgs_pure_equals_class_and_maps():
    options = {"lr": 0.5, "history_size": 3}
    scales = ft.tensor([1.0, 3.0, 10.0], dtype=ft.float64)

    def loss(x):
        return (ft.cosh(x) * scales).sum()

    start = ft.tensor([1.0, -0.5, 0.7], dtype=ft.float64)
    p = start.clone().requires_grad_()
    optimizer = optim.LBFGS([p], max_iter=1, **options)
    pure = optim.LBFGS.pure(**options)
    x, state = start, pure.init(start)
    for _ in range(8):
        optimizer.step(closure_for(optimizer, lambda: loss(p)))
        updates, state = pure.update(ft.grad(loss)(x), state, x)
        x = x + updates
    assert near(x, p.detach(), 1e-10)

    def run(lr):
        rule = optim.LBFGS.pure(lr=lr, history_size=2)
        w, s = {"w": start}, rule.init({"w": start})
        for _ in range(4):
            updates, s = rule.update(ft.grad(lambda t: loss(t["w"]))(w), s, w)
            w = optim.apply_updates(w, updates)
        return w["w"]

    rates = ft.tensor([0.1, 0.5, 1.0], dtype=ft.float64)
    together = ft.vmap(run)(rates)
    assert all(near(together[i], run(rates[i]), 1e-10) for i in range(3))
    assert ft.isfinite(ft.grad(lambda lr: run(lr).sum())(rates[1])).item()


def test_lbfgs_errors():
    w = ft.ones(2).requires_grad_()
    with pytest.raises(TypeError, match="expected a closure"):
        optim.LBFGS([w]).step()
    with pytest.raises(ValueError, match="one group of parameters"):
        optim.LBFGS([{"params": [w]}, {"params": [ft.ones(1).requires_grad_()]}])
    with pytest.raises(ValueError, match="line_search_fn 'strong_wolfe' or None"):
        optim.LBFGS([w], line_search_fn="armijo")
    with pytest.raises(TypeError, match="need the class"):
        optim.LBFGS.pure(max_iter=3)
    optimizer = optim.LBFGS([w], max_iter=2)
    optimizer.step(closure_for(optimizer, lambda: (w**2).sum()))
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["d"] = ft.zeros(5)
    with pytest.raises(ValueError, match="expected d of 2 elements, got"):
        optimizer.load_state_dict(state)


def test_hooks_run_around_every_optimizer():
    for name, seen in zip([*ALL, "Muon"], itertools.repeat(None)):
        seen = []
        w = ft.ones(2, 2).requires_grad_()
        w.grad = ft.ones(2, 2)
        optimizer = getattr(optim, name)([w])
        optimizer.register_step_pre_hook(lambda *_, seen=seen: seen.append("before"))
        optimizer.register_step_post_hook(lambda *_, seen=seen: seen.append("after"))
        optimizer.step()
        assert seen == ["before", "after"], name


def test_bad_options():
    w = ft.ones(1, requires_grad=True)
    for make, match in [
        (lambda: optim.Adagrad([w], lr_decay=-1.0), "Adagrad: expected lr_decay >= 0"),
        (lambda: optim.Adadelta([w], rho=1.5), "rho within 0..1"),
        (lambda: optim.NAdam([w], betas=(1.0, 0.9)), r"NAdam: expected betas\[0\]"),
        (lambda: optim.Rprop([w], etas=(0.5, 0.9)), "0 < less < 1 < more"),
        (lambda: optim.Adafactor([w], beta2_decay=0.5), "beta2_decay <= 0"),
        (lambda: optim.Adafactor([w], d=0.5), "d >= 1"),
        (lambda: optim.Adafactor([w], eps=(-1.0, 0.1)), r"eps\[0\] >= 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    z = ft.ones(1, dtype=ft.complex64, requires_grad=True)
    z.grad = ft.ones(1, dtype=ft.complex64)
    with pytest.raises(TypeError, match="Adafactor: expected real parameters"):
        optim.Adafactor([z]).step()


@pytest.mark.parametrize(("name", "options"), CASES + OWN)
def test_imperative_loop_in_each_lane(name, options):
    x = ft.linspace(-1.0, 2.0, 12, dtype=ft.float64).reshape(4, 3)

    def fit(x):
        w = (x * x + 0.1).clone().requires_grad_()
        optimizer = getattr(optim, name)([w], **options)
        for _ in range(4):
            optimizer.zero_grad()
            ((ft.sin(w) * x).sum() + (w * w).sum() * 0.5).backward()
            optimizer.step()
        return w.detach()

    together = ft.vmap(fit)(x)
    assert all(near(together[i], fit(x[i])) for i in range(4))


@pytest.mark.parametrize("dtype", [ft.float16, ft.bfloat16])
@pytest.mark.parametrize("name", [*ALL, "Muon"])
def test_16_bit_parameters_keep_their_dtype(name, dtype):
    p = ft.linspace(-1.0, 1.0, 12).reshape(3, 4).to(dtype).requires_grad_()
    optimizer = getattr(optim, name)([p], lr=0.01)
    for _ in range(3):
        p.grad = ft.sin(p.detach())
        optimizer.step()
    assert p.dtype == dtype and ft.isfinite(p.detach()).all().item()
    state = optimizer.state_dict()["state"][0]
    assert all(value.dtype == dtype for value in state.values() if value.ndim)


def test_optimizers_and_their_modules_are_found_at_first_use():
    code = """
import nn
assert {"Adam", "muon", "swa_utils"} <= set(dir(nn.optim)) and "prune" in dir(nn.utils)
for name in ("muon", "adam_variants", "lr_scheduler", "SparseAdam"):
    assert getattr(nn.optim, name).__name__.endswith(name), name
assert nn.utils.prune.__name__ == "nn.utils.prune"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
