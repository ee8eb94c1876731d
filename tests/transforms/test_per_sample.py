"""Norms and clipped sums of per-sample gradients, against gradients formed one by one; memory."""

import numpy as np
import pytest

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like.trace import active, state

D = ft.float64


def p(*shape):
    return ft.randn(*shape, dtype=D) * 0.5


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def mlp(w, x, y):
    return (ft.linear(ft.linear(x, w["a"], w["b"]).tanh(), w["c"]).sum() - y) ** 2


PROGRAMS = {
    "mlp": (mlp, lambda: {"a": p(6, 4), "b": p(6), "c": p(2, 6)}, lambda: (p(5, 4), p(5))),
    "x @ w": (
        lambda w, x: ((x @ w[0]).tanh() @ w[1]).sum() ** 2,
        lambda: [p(4, 6), p(6, 3)],
        lambda: (p(5, 4),),
    ),
    "w @ x": (
        lambda w, x: (w[1] @ (w[0] @ x).tanh()).sum() ** 2,
        lambda: [p(6, 4), p(3, 6)],
        lambda: (p(5, 4),),
    ),
    "w.T": (
        lambda w, x: (w[1].T @ (x @ w[0].T).tanh()).sum() ** 2,
        lambda: [p(6, 4), p(6, 3)],
        lambda: (p(5, 4),),
    ),
    "sequence": (
        lambda w, x: (ft.linear(x, w[0], w[1]).sin() @ w[2]).exp().sum(),
        lambda: [p(6, 4), p(6), p(6, 3)],
        lambda: (p(5, 7, 4),),
    ),
    "long sequence": (
        lambda w, x: (x @ w[0]).sin().sum(),
        lambda: [p(2, 2)],
        lambda: (p(3, 40, 2),),
    ),
    "tied": (
        lambda w, x: (ft.linear(x, w[0]).sin() @ w[0]).exp().sum(),
        lambda: [p(6, 4)],
        lambda: (p(5, 7, 4),),
    ),
    "embedding": (
        lambda w, i: (w[0][i] @ w[1]).tanh().sum() * F.embedding(i[:3], w[0]).sum(),
        lambda: [p(10, 4), p(4, 3)],
        lambda: (ft.randint(-10, 10, (5, 7)) % 10,),
    ),
    "layer norm": (
        lambda w, x: ft.layer_norm(x @ w[0], (6,), w[1], w[2]).tanh().sum(),
        lambda: [p(4, 6), p(6), p(6)],
        lambda: (p(5, 7, 4),),
    ),
    "scale": (
        lambda w, x: (x * w[0] + w[1]).tanh().sum(),
        lambda: [p(4), p(4)],
        lambda: (p(5, 7, 4),),
    ),
    "convolution": (
        lambda w, x: F.conv2d(x.unsqueeze(0), w[0], w[1]).tanh().sum(),
        lambda: [p(3, 2, 3, 3), p(3)],
        lambda: (p(5, 2, 6, 6),),
    ),
    "parameters among themselves": (
        lambda w, x: ((w[0] * w[1]) @ x).sum() + w[2],
        lambda: [p(3, 4), p(3, 4), p()],
        lambda: (p(5, 4),),
    ),
    "attention": (
        lambda w, x: (((x @ w[0]) @ (x @ w[1]).T).softmax(-1) @ (x @ w[2])).sum() ** 2,
        lambda: [p(4, 4) for _ in range(3)],
        lambda: (p(5, 7, 4),),
    ),
    "unused": (lambda w, x: (w[0] @ x).sum(), lambda: [p(3, 4), p(3, 4)], lambda: (p(5, 4),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_against_gradients_one_by_one(name):
    loss, params, batch = PROGRAMS[name]
    params, batch = params(), batch()
    each = ft.per_sample_grad(loss)(params, *batch)
    flat = [g.reshape(g.shape[0], -1) for g in ft.tree.leaves(each)]
    for i in range(flat[0].shape[0]):
        one = ft.grad(loss)(params, *[b[i] for b in batch])
        for g, h in zip(ft.tree.leaves(each), ft.tree.leaves(one), strict=True):
            close(g[i], h)
    norms = sum((g * g).sum(1) for g in flat).sqrt()
    close(ft.per_sample_norms(loss)(params, *batch), norms)
    leaves = ft.tree.leaves(ft.per_sample_norms(loss, per_leaf=True)(params, *batch))
    for got, g in zip(leaves, flat, strict=True):
        close(got, (g * g).sum(1).sqrt(), 1e-7)
    bound = float(norms.mean())
    total, found = ft.clipped_grad_sum(loss, bound)(params, *batch)
    close(found, norms)
    weights = (bound / norms).clamp(max=1)
    for got, g in zip(ft.tree.leaves(total), flat, strict=True):
        close(got.reshape(-1), weights @ g)


def test_other_batch_dimensions():
    loss = lambda w, x, s: (w @ x).tanh().sum() * s  # noqa: E731
    w, x, s = p(3, 4), p(4, 5), p(())
    close(
        ft.per_sample_norms(loss, in_dims=(1, None))(w, x, s),
        ft.per_sample_grad(loss, in_dims=(1, None))(w, x, s).reshape(5, -1).norm(dim=1),
    )


def test_under_transforms():
    def norms(scale, x):
        return ft.per_sample_norms(lambda w, x: ((w * scale) @ x).tanh().sum())(
            ft.ones(3, 4, dtype=D), x
        ).sum()

    def by_hand(scale, x):
        g = ft.vmap(
            lambda x: ft.grad(lambda w: ((w * scale) @ x).tanh().sum())(ft.ones(3, 4, dtype=D))
        )
        return g(x).reshape(5, -1).norm(dim=1).sum()

    scale, x = ft.tensor(0.7, dtype=D), p(5, 4)
    close(ft.grad(norms)(scale, x), ft.grad(by_hand)(scale, x))
    scales = ft.tensor([0.7, 1.2], dtype=D)
    close(ft.vmap(ft.grad(norms), (0, None))(scales, x)[1], ft.grad(by_hand)(scales[1], x))


def test_memory_and_errors():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    params = {k: v.detach() for k, v in model.named_parameters()}
    x, y = ft.randn(256, 784), ft.randint(0, 10, (256,))

    def loss(params, x, y):
        return F.cross_entropy(nn.functional_call(model, params, (x,)), y)

    def peak(run):
        before = ft.memory_allocated()
        ft.reset_peak_memory()
        run()
        return ft.max_memory_allocated() - before

    plain = peak(lambda: ft.grad(loss)(params, x, y))
    assert peak(lambda: ft.per_sample_norms(loss)(params, x, y)) < plain + 20 * 2**20
    assert peak(lambda: ft.clipped_grad_sum(loss, 1.0)(params, x, y)) < plain + 20 * 2**20
    with pytest.raises(ft.ShapeError, match="per_sample: expected a scalar loss of each sample"):
        ft.per_sample_norms(lambda w, x: w * x)(p(3), p(5, 3))
    with pytest.raises(ValueError, match="a positive max_norm"):
        ft.clipped_grad_sum(loss, 0.0)
    with pytest.raises(KeyError):
        ft.per_sample_norms(lambda w, x: {}[w])(p(3), p(5, 3))
    assert state.trace is None and not active
