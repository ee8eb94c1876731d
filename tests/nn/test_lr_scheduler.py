"""Schedulers: torch's rates and momenta over 60 steps, closed forms, resuming, bad options."""

import copy
import math
import warnings

import pytest

import functorch_like as ft
from nn import optim
from nn.optim import lr_scheduler
from nn.optim.lr_scheduler import functional


def half(epoch):
    return 0.5 ** (epoch / 7)


def less(epoch):
    return 0.97


CASES = [
    ("LambdaLR", {"lr_lambda": half}),
    ("LambdaLR", {"lr_lambda": [half, less]}),
    ("MultiplicativeLR", {"lr_lambda": less}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [5, 20, 20, 31], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 9}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 13}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 17, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 11, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.1, 0.3], "step_size_up": 5, "step_size_down": 8}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range",
                  "gamma": 0.97, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "scale_fn": half}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 61}),
    ("OneCycleLR", {"max_lr": [0.5, 1.0], "epochs": 10, "steps_per_epoch": 7, "three_phase": True,
                    "anneal_strategy": "linear", "pct_start": 0.4}),
]  # fmt: skip


def both(bridge, optimizer="SGD"):
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    made = []
    for lib, package in ((ft, optim), (bridge.torch, bridge.torch.optim)):
        groups = [{"params": [lib.ones(1).requires_grad_()]} for _ in range(2)]
        groups[1]["lr"] = 0.4
        made.append(getattr(package, optimizer)(groups, lr=0.1, **options))
    return made


def record(optimizer, scheduler, steps, *metrics):
    rows = []
    for step in range(steps):
        groups = optimizer.param_groups
        momenta = [g.get("momentum", g.get("betas", (0,))) for g in groups]
        momenta = [m[0] if isinstance(m, tuple) else m for m in momenta]
        rows.append([float(g["lr"]) for g in groups] + momenta)
        optimizer.step()
        scheduler.step(*(m(step) for m in metrics))
    return rows


def same(a, b, tol=1e-12):
    for step, (x, y) in enumerate(zip(a, b, strict=True)):
        assert x == pytest.approx(y, rel=tol, abs=1e-14), step


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_torch(bridge, name, options, optimizer):
    ours, theirs = both(bridge, optimizer)
    mine = getattr(lr_scheduler, name)(ours, **options)
    other = getattr(bridge.torch.optim.lr_scheduler, name)(theirs, **options)
    same(record(ours, mine, 60), record(theirs, other, 60))
    assert mine.get_last_lr() == pytest.approx(other.get_last_lr(), abs=1e-14)
    assert mine.last_epoch == other.last_epoch


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), CASES)
def test_given_epochs_as_torch(bridge, name, options):
    ours, theirs = both(bridge)
    mine = getattr(lr_scheduler, name)(ours, **options)
    other = getattr(bridge.torch.optim.lr_scheduler, name)(theirs, **options)
    for epoch in (3, 20, 8, 0, 35):
        mine.step(epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other.step(epoch)
        assert mine.get_last_lr() == pytest.approx(other.get_last_lr(), rel=1e-12)


def combine(package, optimizer, kind):
    one = package.LinearLR(optimizer, start_factor=0.1, total_iters=6)
    two = package.CosineAnnealingLR(optimizer, T_max=20)
    three = package.ExponentialLR(optimizer, gamma=0.9)
    if kind == "chained":
        return package.ChainedScheduler([one, three])
    if kind == "sequential":
        return package.SequentialLR(optimizer, [one, two, three], milestones=[6, 25])
    inner = package.SequentialLR(optimizer, [one, two], milestones=[6])
    return package.SequentialLR(optimizer, [inner, three], milestones=[30])


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["chained", "sequential"])
def test_combined_as_torch(bridge, kind):
    ours, theirs = both(bridge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = combine(lr_scheduler, ours, kind)
        other = combine(bridge.torch.optim.lr_scheduler, theirs, kind)
        same(record(ours, mine, 50), record(theirs, other, 50))


def test_nested_sequence_is_the_flat_one():
    """torch's inner sequence runs one epoch ahead of its milestones."""
    flat, nested = one_group(), one_group()
    a, b = (combine(lr_scheduler, o, k) for o, k in ((flat, "sequential"), (nested, "nested")))
    assert record(flat, a, 25) == record(nested, b, 25)


@pytest.mark.torch
@pytest.mark.parametrize(
    "options",
    [
        {"patience": 3},
        {"mode": "max", "factor": 0.5, "patience": 2, "cooldown": 4, "min_lr": [0.01, 0.2]},
        {"threshold_mode": "abs", "threshold": 0.3, "patience": 1, "eps": 1e-3},
    ],
)
def test_plateau_as_torch(bridge, options):
    ours, theirs = both(bridge)
    mine = lr_scheduler.ReduceLROnPlateau(ours, **options)
    other = bridge.torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)

    def metric(step):
        return math.cos(step * 0.7) + 2.0 / (1 + step)

    same(record(ours, mine, 60, metric), record(theirs, other, 60, metric))
    assert mine.num_bad_epochs == other.num_bad_epochs and mine.best == other.best


def one_group(lr=0.1):
    return optim.SGD([ft.ones(1).requires_grad_()], lr=lr, momentum=0.9)


PURE = [
    ("StepLR", functional.step_decay, {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", functional.multi_step, {"milestones": [5, 20, 20, 31], "gamma": 0.5}),
    ("ConstantLR", functional.constant, {"factor": 0.25, "total_iters": 9}),
    ("LinearLR", functional.linear, {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 13}),
    ("ExponentialLR", functional.exponential, {"gamma": 0.9}),
    ("PolynomialLR", functional.polynomial, {"total_iters": 17, "power": 2.0}),
    ("CosineAnnealingLR", functional.cosine_annealing, {"T_max": 11, "eta_min": 0.01}),
    ("WarmupCosineLR", functional.warmup_cosine, {"warmup_steps": 5, "total_steps": 30}),
    ("CosineAnnealingWarmRestarts", functional.cosine_warm_restarts, {"T_0": 5, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", functional.cosine_warm_restarts, {"T_0": 3, "eta_min": 0.01}),
    ("CyclicLR", functional.cyclic, {"max_lr": 0.3, "step_size_up": 4, "mode": "triangular2"}),
    ("CyclicLR", functional.cyclic, {"max_lr": 0.3, "step_size_up": 4, "mode": "exp_range",
                                     "gamma": 0.9}),
    ("OneCycleLR", functional.one_cycle, {"total_steps": 50}),
    ("OneCycleLR", functional.one_cycle, {"total_steps": 50, "three_phase": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "options"), PURE)
def test_pure_functions_equal_classes(name, function, options):
    optimizer = one_group()
    first = {"CyclicLR": "base_lr", "OneCycleLR": "max_lr"}.get(name)
    given = {**options, **({first: 0.1} if first else {})}
    scheduler = getattr(lr_scheduler, name)(optimizer, **given)
    rates = [row[0] for row in record(optimizer, scheduler, 50)]
    assert [function(step, 0.1, **options) for step in range(50)] == pytest.approx(rates, abs=1e-12)
    steps = ft.arange(50)
    mapped = ft.vmap(lambda step: function(step, 0.1, **options))(steps)
    assert mapped.tolist() == pytest.approx(rates, rel=1e-4, abs=1e-6)
    slope = ft.grad(lambda lr: function(7, lr, **options))(ft.tensor(0.1))
    assert ft.isfinite(slope).item()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_resume(name, options):
    def make():
        groups = [{"params": [ft.ones(1).requires_grad_()]} for _ in range(2)]
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **options)

    optimizer, scheduler = make()
    record(optimizer, scheduler, 13)
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    expected = record(optimizer, scheduler, 20)
    again, resumed = make()
    again.load_state_dict(states[0]), resumed.load_state_dict(states[1])
    assert record(again, resumed, 20) == expected


def test_resume_combined_and_callable_objects():
    class Half:
        def __init__(self):
            self.rate = 0.5

        def __call__(self, epoch):
            return self.rate**epoch

    def make(kind):
        optimizer = one_group()
        return optimizer, combine(lr_scheduler, optimizer, kind)

    for kind in ("chained", "sequential", "nested"):
        optimizer, scheduler = make(kind)
        record(optimizer, scheduler, 10)
        states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
        expected = record(optimizer, scheduler, 30)
        again, resumed = make(kind)
        again.load_state_dict(states[0]), resumed.load_state_dict(states[1])
        assert record(again, resumed, 30) == expected
    function = Half()
    scheduler = lr_scheduler.LambdaLR(one_group(), function)
    function.rate = 0.25
    other = lr_scheduler.LambdaLR(one_group(), Half())
    other.load_state_dict(scheduler.state_dict())
    assert other.lr_lambdas[0].rate == 0.25


def test_rate_in_a_tensor_is_written_in_place():
    lr = ft.tensor(1.0)
    optimizer = one_group(lr)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    assert lr.item() == 0.5 and optimizer.param_groups[0]["lr"] is lr


@pytest.mark.parametrize(
    "kind", ["ExponentialLR", "ReduceLROnPlateau", "CosineAnnealingWarmRestarts", "SequentialLR"]
)
def test_steps_of_compiled_functions(kind):
    """They would be taken while staging only; the step reads the rate at each run."""
    optimizer = one_group()
    part = lr_scheduler.ConstantLR(optimizer)
    scheduler = {
        "ExponentialLR": lambda: lr_scheduler.ExponentialLR(optimizer, 0.5),
        "ReduceLROnPlateau": lambda: lr_scheduler.ReduceLROnPlateau(optimizer),
        "CosineAnnealingWarmRestarts": lambda: lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, 5
        ),
        "SequentialLR": lambda: lr_scheduler.SequentialLR(optimizer, [part], []),
    }[kind]()
    before = copy.deepcopy(scheduler.state_dict())
    arguments = [ft.tensor(1.0)] if kind == "ReduceLROnPlateau" else []

    @ft.compile
    def step(x):
        scheduler.step(*arguments)
        return x * 2

    with pytest.raises(ft.TraceError, match=f"{kind}.step: expected a call outside"):
        step(ft.ones(2))
    assert scheduler.state_dict() == before

    @ft.compile
    def whole(w):
        w = w.clone().requires_grad_()
        inner = optim.SGD([w], lr=1.0)
        schedule = lr_scheduler.ExponentialLR(inner, 0.5)
        for _ in range(3):
            inner.zero_grad()
            w.sum().backward()
            inner.step()
            schedule.step()
        return w.detach()

    assert whole(ft.zeros(())).item() == -1.75


def test_bad_options():
    optimizer, other = one_group(), one_group()
    make = lr_scheduler
    linear = make.LinearLR(optimizer)
    for call, match in [
        (lambda: make.ConstantLR(optimizer, factor=2.0), "factor within 0..1, got 2.0"),
        (lambda: make.LinearLR(optimizer, start_factor=0.0), "start_factor above 0"),
        (lambda: make.LambdaLR(optimizer, [half, half]), "lr_lambda for 1 groups, got 2"),
        (lambda: make.CyclicLR(optimizer, 0.1, 0.2, mode="x"), "expected mode 'triangular'"),
        (lambda: make.CyclicLR(optim.Adagrad([ft.ones(1).requires_grad_()]), 0.1, 0.2),
         "Adagrad. Pass cycle_momentum=False"),
        (lambda: make.OneCycleLR(optimizer, 0.1), "expected total_steps"),
        (lambda: make.OneCycleLR(optimizer, 0.1, 10, pct_start=1.5), "pct_start within"),
        (lambda: make.CosineAnnealingWarmRestarts(optimizer, 0), "T_0 as an integer"),
        (lambda: make.WarmupCosineLR(optimizer, 5, 5), "warmup_steps < total_steps"),
        (lambda: make.ReduceLROnPlateau(optimizer, factor=1.0), "factor below 1"),
        (lambda: make.ReduceLROnPlateau(optimizer, mode="low"), "mode 'min' or 'max'"),
        (lambda: make.SequentialLR(optimizer, [linear], [3]), "one milestone less"),
        (lambda: make.ChainedScheduler([linear, make.LinearLR(other)]), "of one optimizer"),
        (lambda: make.ChainedScheduler([]), "at least one scheduler"),
        (lambda: functional.cyclic(1, 0.1, 0.2, mode="x"), "expected mode"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match="expected an Optimizer, got int"):
        make.StepLR(3, 1)
    with pytest.raises(KeyError, match="initial_lr"):
        make.StepLR(one_group(), 3, last_epoch=4)
    short = make.OneCycleLR(one_group(), 0.1, 3)
    for _ in range(3):
        short.step()
    with pytest.raises(ValueError, match="at most total_steps=3"):
        short.step()
