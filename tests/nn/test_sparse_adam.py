"""SparseAdam: torch's numbers on sparse gradients, untouched rows, pure and compiled form."""

import pytest

import functorch_like as ft
import nn
from nn.optim import SparseAdam, apply_updates

OPTIONS = [{}, {"betas": (0.8, 0.95), "eps": 1e-4, "maximize": True}]


def picks(steps):
    generator = ft.Generator().manual_seed(0)
    return [ft.randint(0, 12, (4,), generator=generator) for _ in range(steps)]


def table():
    return ft.linspace(-1.0, 1.0, 36, dtype=ft.float64).reshape(12, 3)


@pytest.mark.torch
@pytest.mark.parametrize("options", OPTIONS)
def test_as_torch_over_100_steps(bridge, options):
    torch = bridge.torch
    ours = nn.Embedding(12, 3, dtype=ft.float64)
    ours.weight.data = table()
    theirs = torch.nn.Embedding(12, 3, sparse=True, dtype=torch.float64)
    theirs.weight.data = bridge.theirs(table())
    a = SparseAdam(ours.parameters(), lr=0.05, **options)
    b = torch.optim.SparseAdam(list(theirs.parameters()), lr=0.05, **options)
    for rows in picks(100):
        a.zero_grad(), b.zero_grad()
        (ours(rows) ** 3).sum().backward()
        (theirs(bridge.theirs(rows)) ** 3).sum().backward()
        a.step(), b.step()
    bridge.close(ours.weight, theirs.weight, 1e-9)


def step_of(optimizer, weight, rows):
    optimizer.zero_grad()
    (weight[rows] ** 3).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("options", OPTIONS)
def test_pure_and_compiled_forms_equal_the_class(options):
    weights = [table().requires_grad_() for _ in range(2)]
    classes = [SparseAdam([w], lr=0.05, **options) for w in weights]
    compiled = ft.compile(lambda rows: step_of(classes[1], weights[1], rows))
    pure = SparseAdam.pure(lr=0.05, **options)
    params = table()
    state = pure.init(params)
    for rows in picks(20):
        step_of(classes[0], weights[0], rows)
        compiled(rows)
        grads = ft.grad(lambda w, rows=rows: (w[rows] ** 3).sum())(params)
        updates, state = pure.update(grads, state, params)
        params = apply_updates(params, updates)
    ft.testing.assert_close(params, weights[0].detach(), rtol=1e-12, atol=1e-12)
    ft.testing.assert_close(weights[1].detach(), weights[0].detach(), rtol=1e-12, atol=1e-12)


def test_rows_without_gradient_stay():
    weight = table().requires_grad_()
    optimizer = SparseAdam([weight], lr=0.1)
    step_of(optimizer, weight, ft.tensor([3]))
    before = weight.detach().clone()
    mean = optimizer.state[weight]["exp_avg"].clone()
    step_of(optimizer, weight, ft.tensor([7, 7]))
    moved = (weight.detach() != before).any(1)
    assert moved.nonzero().flatten().tolist() == [7]
    assert (optimizer.state[weight]["exp_avg"][3] == mean[3]).all()


def test_bad_options():
    with pytest.raises(ValueError, match="SparseAdam: expected lr >= 0"):
        SparseAdam([table().requires_grad_()], lr=-1.0)
