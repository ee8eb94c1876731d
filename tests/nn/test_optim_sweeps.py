"""Eager steps in one sweep over all parameters: the bits of the rule, tensor by tensor."""

import pytest

import functorch_like as ft
import nn
import nn.optim
import nn.optim.swa_utils
from functorch_like.updates import Update
from nn.optim.base import Optimizer

CASES = [
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "maximize": True}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("ASGD", {"t0": 2, "lambd": 0.1}),
    ("Rprop", {}),
    ("Lion", {"weight_decay": 0.1}),
]
FLOATS = [ft.float32, ft.float64, ft.bfloat16, ft.float16]
HALF = FLOATS[2:]  # staged for a learning rate, when it comes again


def by_rule(optimizer):
    """A step as the rule says, one tensor after the other."""
    with ft.autograd.untaped():
        for group in optimizer.param_groups:
            params = group["params"]
            states = [optimizer.state[p] for p in params]
            optimizer._start(params, states, group)
            Optimizer._step_group(optimizer, params, [p.grad for p in params], states, group)


def made(dtypes, shapes=((3, 4), (), (70, 33), (0, 2))):
    ft.manual_seed(1)
    return [ft.randn(*shape, dtype=d).requires_grad_() for d in dtypes for shape in shapes]


def given_gradients(params):
    for p in params:
        p.grad = ft.randn(*p.shape, dtype=p.dtype)


def values(optimizer, params):
    state = [x for p in params for x in optimizer.state[p].values()]
    return [x.detach().to(ft.float64).numpy().tobytes() for x in (*params, *state)]


def ran(name, options, dtypes, step, change=lambda optimizer, k: None):
    params = made(dtypes)
    optimizer = getattr(nn.optim, name)(params, lr=0.01, **options)
    for k in range(5):
        given_gradients(params)
        change(optimizer, k)
        step(optimizer)
    return values(optimizer, params)


@pytest.fixture
def sweeps(monkeypatch):
    """How many sweeps steps were made in."""
    nn.optim.elementwise._updates.clear()
    done = []
    step = Update.step
    monkeypatch.setattr(Update, "step", lambda self, *a: done.append(step(self, *a)) or done[-1])
    return done


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_bits_of_the_rule(sweeps, name, options, dtype):
    swept = ran(name, options, [dtype], lambda optimizer: optimizer.step())
    assert sweeps == [True] * (4 if dtype in HALF else 5)
    assert swept == ran(name, options, [dtype], by_rule)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_several_dtypes_in_one_group(sweeps, name, options):
    swept = ran(name, options, FLOATS, lambda optimizer: optimizer.step())
    assert sum(sweeps) == 5 * len(FLOATS) - len(HALF)
    assert swept == ran(name, options, FLOATS, by_rule)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_other_learning_rates_need_no_other_staging(sweeps, monkeypatch, name, options):
    staged = []
    whole = nn.optim.elementwise.staged_update
    monkeypatch.setattr(
        nn.optim.elementwise, "staged_update", lambda *a: staged.append(1) or whole(*a)
    )

    def fall(optimizer, k):
        optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)

    swept = ran(name, options, [ft.float32], lambda optimizer: optimizer.step(), fall)
    assert len(staged) == 1 and sum(sweeps) == 5
    assert swept == ran(name, options, [ft.float32], by_rule, fall)


@pytest.mark.parametrize("name", ["NAdam", "ASGD", "RAdam"])
def test_parameters_that_made_different_numbers_of_steps(sweeps, name):
    def run(step):
        params = made([ft.float32])
        optimizer = getattr(nn.optim, name)(params[:2], lr=0.01)
        given_gradients(params)
        step(optimizer)
        optimizer.param_groups[0]["params"] += params[2:]
        step(optimizer)
        step(optimizer)
        other = getattr(nn.optim, name)(params, lr=0.01)
        other.load_state_dict(optimizer.state_dict())
        step(other)
        return values(other, params)

    swept = run(lambda optimizer: optimizer.step())
    assert sweeps == [True] * 4
    assert swept == run(by_rule)


def test_learning_rates_that_are_tensors():
    def run(step, lr):
        params = made([ft.float32, ft.bfloat16], [(3, 4), (5,)])
        optimizer = nn.optim.RMSprop(params, lr=lr)
        given_gradients(params)
        step(optimizer)
        return values(optimizer, params)

    for lr in (ft.tensor(0.01), ft.tensor([0.01])):
        assert run(lambda optimizer: optimizer.step(), lr) == run(by_rule, lr)


def test_strided_parameters_views_and_the_tape():
    base = ft.ones(3, 2)
    w, view = base.mT.requires_grad_(), base[0]
    optimizer = nn.optim.RMSprop([w], lr=0.5)
    kept = (w * w).sum()
    w.grad = ft.ones(2, 3)
    optimizer.step()
    assert (view < 0).all() and (base == w.mT).all()  # written where it lay
    with pytest.raises(RuntimeError):
        kept.backward()


def test_a_sweep_of_many_threads_has_the_bits_of_one():
    results = []
    threads = ft.get_num_threads()
    for count in (1, 2):
        ft.set_num_threads(count)
        params = made([ft.float32], [(300, 400), (7,), (128, 128)])
        optimizer = nn.optim.NAdam(params)
        given_gradients(params)
        optimizer.step()
        results.append(values(optimizer, params))
    ft.set_num_threads(threads)
    assert results[0] == results[1]


def test_clipped_values_and_exponential_means_have_the_bits_of_one_by_one():
    model = nn.Linear(3, 4)
    mean = nn.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=nn.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    mean.update_parameters(model)
    nn.init.normal_(model.weight)
    (weight, _), (averaged, _) = model.parameters(), mean.parameters()
    old = averaged.detach().clone()
    mean.update_parameters(model)
    assert (averaged == old * 0.9 + weight.detach() * (1 - 0.9)).all()

    grads = [ft.tensor([-3.0, float("nan"), 0.5]), ft.tensor(2.0), ft.ones(2, dtype=ft.float64)]
    for dtypes in (2, 3):  # alike, and not
        params = [ft.zeros_like(g).requires_grad_() for g in grads[:dtypes]]
        for p, g in zip(params, grads, strict=False):
            p.grad = g.clone()
        nn.utils.clip_grad_value_(params, 0.75)
        for p, g in zip(params, grads, strict=False):
            assert p.grad is not None
            assert p.grad.numpy().tobytes() == g.clamp(-0.75, 0.75).numpy().tobytes()
