"""dynamic: one program for all sizes of some dimensions, with the results of eager code."""

from __future__ import annotations

import math

import numpy
import pytest

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like.staging.formulas import Grid
from functorch_like.testing import assert_close


def equal(actual, expected):
    assert actual.dtype is expected.dtype
    assert numpy.array_equal(actual.numpy(), expected.numpy(), equal_nan=True)


def programs(f):
    """How many programs were staged for calls, and how many hold for all sizes."""
    lines = f.explain().splitlines()
    generic = [line for line in lines if "one program for dimension" in line]
    return len(lines) - len(generic), len([line for line in generic if "not one" not in line])


FUNCTIONS = {
    "elementwise": lambda x: (x * 2 + 1).tanh() * x,
    "mean": lambda x: (x - x.mean(0)) / x.std(0),
    "sizes in numbers": lambda x: x.sum(0) / x.shape[0] + x * len(x) - math.sqrt(x.shape[0]),
    "created": lambda x: (
        x + ft.arange(x.shape[0])[:, None] + ft.zeros(x.shape[0], 1) + ft.full(x.shape, 0.5)
    ),
    "reshaped": lambda x: x.reshape(-1, 2).sum(1).reshape(x.shape[0], -1).transpose(0, 1),
    "products": lambda x: (x @ x.t()).softmax(-1) @ x,
    "joined": lambda x: ft.cat([x, x[1:], x[:-1].flip(0)], 0) * 2,
    "padded": lambda x: F.pad(x, (1, 1, 0, 2))[: x.shape[0] + 1],
    "sorted": lambda x: x.sort(0)[0].cumsum(0),
    "gradient": ft.grad(lambda x: (x.softmax(0) * x).mean().log1p()),
    "per lane": ft.vmap(ft.grad(lambda x: (x**3).sum() / x.norm())),
    "norm": lambda x: F.layer_norm(x, (4,)) + F.normalize(x, dim=0),
    "indexed": lambda x: x[ft.tensor([0, -1])] + x[-1] + x.index_select(0, ft.tensor([1, 0])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_batch_sizes(name):
    f = FUNCTIONS[name]
    compiled = ft.compile(f, dynamic=True)
    for n in [8, 5, *range(2, 65), 100, 1000]:
        x = ft.randn(n, 4)
        equal(compiled(x), f(x))
    assert programs(compiled) == (2, 1), compiled.explain()


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("indexed", "mean")])
def test_sizes_zero_and_one(name):
    f = FUNCTIONS[name]
    compiled = ft.compile(f, dynamic=True)
    for n in (6, 1, 9, 0, 1, 7):
        x = ft.randn(n, 4)
        try:
            expected = f(x)
        except Exception as error:
            with pytest.raises(type(error)):
                compiled(x)
        else:
            equal(compiled(x), expected)
    assert programs(compiled)[1] == 1


def mlp_step(seed=0):
    ft.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, 3),
    )
    optimizer = nn.optim.AdamW(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


@pytest.mark.parametrize("dynamic", [True, {0: 0, "y": 0}])
def test_mlp_training_step(dynamic):
    """Batches of every size, dropout's random numbers and batch norm's statistics among it."""
    eager_model, eager = mlp_step()
    model, step = mlp_step()
    step = ft.compile(step, dynamic=dynamic)
    sizes = [16, 12, 64, *range(2, 65, 3), 63, 2, 200]
    data = [(ft.randn(n, 6), ft.randint(0, 3, (n,))) for n in sizes]
    for mode in (eager, step):
        ft.manual_seed(5)
        losses = [mode(x, y) for x, y in data]
        if mode is eager:
            expected, after = losses, ft.get_rng_state()
    assert_close(ft.stack(losses), ft.stack(expected), rtol=2e-3, atol=2e-3)
    assert bytes(ft.get_rng_state().numpy()) == bytes(after.numpy())
    for p, q in zip(model.parameters(), eager_model.parameters(), strict=True):
        assert_close(p.detach(), q.detach(), rtol=2e-2, atol=2e-2)
    assert programs(step)[1] == 1, step.explain()
    assert programs(step)[0] <= 3, step.explain()


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).flatten(-2))


def test_gpt_forward_over_batch_and_length():
    ft.manual_seed(0)
    token, place = nn.Embedding(11, 16), nn.Embedding(80, 16)
    blocks, head = nn.Sequential(Attention(16, 2), Attention(16, 2)), nn.Linear(16, 11)

    def forward(tokens):
        return head(blocks(token(tokens) + place(ft.arange(tokens.shape[1]))))

    with ft.no_grad():
        compiled = ft.compile(forward, dynamic=True)
        for n in [4, 3, *range(1, 20), 64]:
            tokens = ft.randint(0, 11, (n, 12))
            assert_close(compiled(tokens), forward(tokens), rtol=1e-5, atol=1e-6)
        assert programs(compiled) == (3, 1), compiled.explain()
        compiled = ft.compile(forward, dynamic=True)
        for n, length in [(4, 12), (3, 9), (5, 5), (2, 64), (7, 7), (1, 3), (16, 16)]:
            tokens = ft.randint(0, 11, (n, length))
            assert_close(compiled(tokens), forward(tokens), rtol=1e-5, atol=1e-6)
        text = compiled.explain()
        assert "one program" in text


def test_gradients_of_results():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    compiled = ft.compile(model, dynamic={0: 0})
    for n in (5, 3, 8, 1, 30):
        x = ft.randn(n, 4, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        grads = []
        for f, leaf in ((compiled, x), (model, y)):
            model.zero_grad()
            f(leaf).square().mean().backward()
            grads.append([leaf.grad, *[p.grad for p in model.parameters()]])
        for a, b in zip(*grads, strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert programs(compiled) == (2, 1), compiled.explain()


def test_two_sizes_and_their_products():
    def f(x, y):
        z = (x @ y).reshape(-1) / (x.shape[0] * y.shape[1])
        return z.mean() + z, x.sum(0) / len(x)

    compiled = ft.compile(f, dynamic=True)
    for n, m in [(4, 6), (5, 8), (10, 3), (6, 6), (40, 50), (2, 2), (3, 3)]:
        x, y = ft.randn(n, 3), ft.randn(3, m)
        for actual, expected in zip(compiled(x, y), f(x, y), strict=True):
            equal(actual, expected)
    assert programs(compiled) == (2, 1), compiled.explain()


def test_a_size_that_equals_another():
    w = ft.randn(8, 8)

    def f(x):
        return x @ w + (x * 2).sum() * ft.ones(x.shape[0], 8)

    compiled = ft.compile(f, dynamic=True)
    for n in (8, 4, 8, 16, 5, 8):
        x = ft.randn(n, 8)
        assert_close(compiled(x), f(x), rtol=1e-6, atol=1e-5)
    assert programs(compiled)[1] == 1


def test_arguments_that_vary_together():
    compiled = ft.compile(lambda x, y: x + y, dynamic={"x": 0, "y": 0})
    for n in (4, 6, 9):
        equal(compiled(ft.ones(n, 2), ft.ones(n, 2)), ft.full((n, 2), 2.0))
    assert programs(compiled) == (1, 1)
    equal(compiled(ft.ones(5, 2), ft.ones(1, 2)), ft.full((5, 2), 2.0))
    with pytest.raises(ft.ShapeError):
        compiled(ft.ones(5, 2), ft.ones(4, 2))


def test_several_dimensions_keywords_and_trees():
    compiled = ft.compile(
        lambda t, *, scale: t["a"].sum((0, 1)) * scale + t["b"], dynamic={0: (0, 1)}
    )
    for n, m in [(3, 4), (5, 7), (6, 2)]:
        t = {"a": ft.ones(n, m, 2), "b": ft.ones(2, 2)}
        equal(compiled(t, scale=2.0), ft.full((2, 2), 2.0 * n * m + 1))


def test_python_branches_on_sizes_in_range():
    def f(x):
        if x.shape[0] > 500:
            return x * 3
        return x * 2 if x.shape[0] % 2 else x + 1

    compiled = ft.compile(f, dynamic=True)
    for n in (4, 6, 7, 9, 100, 300, 600, 5, 8):
        x = ft.randn(n)
        equal(compiled(x), f(x))
    assert programs(compiled)[1] == 0
    assert "not one program" in compiled.explain()
    # a threshold beyond what was compared is found when sizes go there
    compiled = ft.compile(lambda x: x * 3 if x.shape[0] > 500 else x * 2, dynamic=True)
    for n in (4, 6, 20, 100, 300, 501, 600, 100, 2000):
        equal(compiled(ft.ones(n)), ft.full((n,), 3.0 if n > 500 else 2.0))


def test_loops_over_a_size():
    def f(x):
        total = x[0]
        for i in range(1, x.shape[0]):
            total = total * 0.5 + x[i]
        return total

    compiled = ft.compile(f, dynamic=True)
    for n in (3, 5, 4, 3):
        x = ft.randn(n, 2)
        equal(compiled(x), f(x))
    assert programs(compiled)[1] == 0
    assert "the instructions differ" in compiled.explain()


def test_constants_that_follow_no_formula():
    compiled = ft.compile(lambda x: x + ft.tensor([1.0, 2.0] * len(x))[: len(x)], dynamic=True)
    for n in (3, 5, 4):
        x = ft.ones(n)
        equal(compiled(x), x + ft.tensor([1.0, 2.0] * n)[:n])
    assert "a constant of shape [6] follows no formula" in compiled.explain()


def test_values_that_python_reads():
    compiled = ft.compile(lambda x: x * 2 if x.sum() > 0 else -x, dynamic=True)
    for n in (3, 5, 4):
        equal(compiled(ft.ones(n)), ft.full((n,), 2.0))
        equal(compiled(-ft.ones(n)), ft.ones(n))
    assert "cannot be staged for sizes" in compiled.explain()


def test_writes_callbacks_and_shared_memory():
    total = ft.zeros(3)
    seen = []

    def f(x):
        ft.callback(lambda x: seen.append(tuple(x.shape)), None, x)
        total.add_(x.sum(0))
        x.mul_(2)
        return x + total

    compiled = ft.compile(f, dynamic=True)
    sizes = (4, 6, 9, 3, 20)
    expected = 0
    for n in sizes:
        x = ft.ones(n, 3)
        expected += n
        equal(compiled(x), ft.full((n, 3), 2.0 + expected))
        equal(x, ft.full((n, 3), 2.0))
    assert seen == [(n, 3) for n in sizes]
    assert programs(compiled) == (2, 1)

    w = ft.ones(4, 2)

    def g(x):
        w.mul_(3.0)
        return x * 1.0 + 1.0, w + 0.0

    compiled = ft.compile(g, dynamic=True)
    for n in (3, 5):
        compiled(ft.ones(n, 2))
    out, _ = compiled(w)
    equal(out, ft.full((4, 2), 10.0))


def test_callbacks_that_hold_a_size():
    def f(x):
        n = x.shape[0]
        return ft.callback(lambda x: x * n, x, x) + ft.callback(lambda x, n: x * n, x, x, n)

    compiled = ft.compile(f, dynamic=True)
    for n in (3, 5, 4, 6):
        equal(compiled(ft.ones(n)), ft.full((n,), 2.0 * n))
    assert "other Python functions" in compiled.explain()
    compiled = ft.compile(ft.vmap(lambda x: ft.callback(lambda x: x * 2, x, x)), dynamic=True)
    for n in (3, 5, 4, 6):
        equal(compiled(ft.ones(n, 2)), ft.full((n, 2), 2.0))
    assert programs(compiled) == (2, 1)


def test_captured_tensors_that_are_replaced():
    box = {"w": ft.ones(3)}
    compiled = ft.compile(lambda x: x * box["w"], dynamic=True)
    for k, n in enumerate((4, 6, 9, 12)):
        box["w"] = ft.full((3,), float(k))
        equal(compiled(ft.ones(n, 3)), ft.full((n, 3), float(k)))
        box["w"] = ft.full((3,), float(k + 10))
        equal(compiled(ft.ones(n, 3)), ft.full((n, 3), float(k + 10)))


def test_donated_arguments():
    compiled = ft.compile(lambda x: (x * 2 + 1).tanh(), dynamic=True, donate=0)
    for n in (4, 6, 9, 200):
        x = ft.ones(n)
        equal(compiled(x), (ft.ones(n) * 2 + 1).tanh())
        with pytest.raises(ft.TraceError, match="donated"):
            x.sum()
    assert programs(compiled) == (2, 1)


def test_floats_and_transposed_arguments():
    compiled = ft.compile(lambda x, s: x * s, dynamic=True)
    for n, s in [(3, 1.0), (4, 2.0), (5, 3.0)]:
        equal(compiled(ft.ones(n, 2), s), ft.full((n, 2), s))
        x = ft.randn(2, n)
        equal(compiled(x.t(), s), x.t() * s)


def test_many_sizes_are_bounded():
    compiled = ft.compile(lambda x: x + 1, dynamic=True)
    for n in range(2, 300):
        equal(compiled(ft.ones(n)), ft.full((n,), 2.0))
    assert len(compiled._programs) < 80


def test_formulas():
    grid = Grid((3, 5), (7, 11), (13, 17))
    for f in (
        lambda n, m: 4,
        lambda n, m: 3 * n + 2,
        lambda n, m: n * m,
        lambda n, m: 2 * n * m - n + 5 * m - 7,
    ):
        found = grid.integer([f(*p) for p in grid.points])
        assert all(found((n, m)) == f(n, m) for n in range(2, 9) for m in range(2, 9))
    assert grid.integer([n * n for n, _ in grid.points]) is None
    assert grid.integer([n // 2 for n, _ in grid.points]) is None
    for f in (
        lambda n, m: 1 / (n * m),
        lambda n, m: float(n + m),
        lambda n, m: math.sqrt(m),
        lambda n, m: 1 / math.sqrt(n * m),
        lambda n, m: 0.3 / n,
    ):
        found = grid.real([f(*p) for p in grid.points])
        assert all(
            math.isclose(found((n, m)), f(n, m), rel_tol=1e-15)
            for n in range(2, 9)
            for m in range(2, 9)
        )
    assert grid.real([math.exp(-n) for n, _ in grid.points]) is None


def test_errors_name_what_dynamic_takes():
    with pytest.raises(TypeError, match="dynamic"):
        ft.compile(lambda x: x, dynamic=3)
