"""Each pass: what it leaves of a graph, and that the values stay."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
import nn
from functorch_like import tree
from functorch_like.staging import fuse as fusion
from functorch_like.staging import remat
from functorch_like.staging.budget import peak_bytes
from functorch_like.staging.graph import Graph
from functorch_like.staging.passes import PASSES
from functorch_like.staging.stage import stage
from functorch_like.testing import assert_close


def equal(actual, expected):
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def check(graph: Graph) -> None:
    """What an equation reads is made before it, and each value once, by the equation it names."""
    known = {*graph.inputs, *graph.outside()}
    for v in known:
        assert v.equation is None
    for e in graph.equations:
        assert all(x in known for x in e.inputs)
        for y in e.outputs:
            assert y not in known and y.equation is e
            known.add(y)
    assert all(v in known for v in graph.outputs)


def passed(function, *args):
    """The graph after all passes, checked between them."""
    graph = stage(lambda xs: [y for y in tree.leaves(function(*xs))], list(args)).graph
    check(graph)
    for rewrite in PASSES:
        kinds = [(v.shape, v.code) for v in graph.outputs]
        graph = rewrite(graph)
        check(graph)
        assert [(v.shape, v.code) for v in graph.outputs] == kinds
    return graph


def names(graph):
    return [e.op.name for e in graph.equations]


def instructions(function, *args):
    compiled = ft.compile(function)
    result = compiled(*args)
    (entries,) = compiled._programs.values()
    return entries[0].program.instructions(), result


def mlp(x):
    return nn.functional.gelu(x @ x.T).softmax(-1).sum()


def _step(optimizer=nn.optim.AdamW, **options):
    ft.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.LayerNorm(3), nn.Linear(3, 2))
    opt = optimizer(model.parameters(), lr=0.1, **options)

    def step(x):
        opt.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        opt.step()
        return loss.detach()

    return step


@pytest.mark.parametrize(
    "function",
    [mlp, ft.grad(mlp), ft.jacfwd(ft.grad(mlp)), ft.vmap(ft.grad(lambda r: (r * r.sin()).sum()))],
)
def test_graphs_are_sound_between_passes(function):
    passed(function, ft.randn(3, 4))


def test_graph_of_a_training_step_is_sound():
    passed(_step(), ft.randn(5, 4))


# ---- constants ----


def test_what_follows_from_constants_is_computed_once():
    mask = ft.ones(3, 3).tril() == 0

    def f(x):
        return x.masked_fill(ft.ones(3, 3).tril() == 0, -1.0)

    graph = passed(f, ft.randn(3, 3))
    assert names(graph) == ["where"]
    x = ft.randn(3, 3)
    equal(ft.compile(f)(x), x.masked_fill(mask, -1.0))


def test_constant_results_are_not_shared_between_calls():
    compiled = ft.compile(lambda x: (x + 1, ft.ones(2) * 3))
    first = compiled(ft.ones(2))[1]
    first += 1
    equal(compiled(ft.ones(2))[1], ft.full((2,), 3.0))


def test_equal_numbers_are_one_operand():
    graph = passed(lambda x: (x * 0.5 + 2) * 0.5 + 2.0, ft.randn(3))
    assert len([v for v in graph.outside() if v.value is not None]) == 2
    graph = passed(lambda x: (x * 2 + 2.0) * 2, ft.tensor([1, 2]))
    assert len([v for v in graph.outside() if v.value is not None]) == 2  # 2 is not 2.0 here


def test_numbers_of_other_dtypes_stay_apart():
    def f(x):
        return x + ft.tensor(2, dtype=ft.int32), x * ft.tensor(2.0, dtype=ft.float64)

    x = ft.tensor([1, 2])
    for a, b in zip(ft.compile(f)(x), f(x), strict=True):
        assert a.dtype is b.dtype
        equal(a, b)


@pytest.mark.parametrize("jacobian", [ft.jacrev, ft.jacfwd])
def test_products_with_the_basis_of_a_jacobian_vanish(jacobian):
    w1, w2 = ft.randn(5, 4), ft.randn(3, 5)

    def f(x):
        return w2 @ (w1 @ x).tanh()

    x = ft.randn(4)
    graph = passed(jacobian(f), x)
    assert names(graph).count("matmul") == 2
    assert_close(ft.compile(jacobian(f))(x), jacobian(f)(x))


def test_products_with_unit_matrices():
    for f in (
        lambda x: (ft.eye(3) @ x).exp(),
        lambda x: (x @ ft.eye(4)).exp(),
        lambda x: nn.functional.linear(ft.eye(4), x).exp(),
        lambda x: (x @ ft.eye(4).unsqueeze(2)).exp(),
        lambda x: ft.eye(3) @ x,  # a result is memory of its own
    ):
        x = ft.randn(3, 4)
        equal(ft.compile(f)(x), f(x))
    graph = passed(lambda x: (x @ ft.eye(4).unsqueeze(2)).exp(), ft.randn(3, 4))
    assert "matmul" not in names(graph)
    graph = passed(lambda x: (x @ (ft.eye(4) * 2)).exp(), ft.randn(3, 4))
    assert "matmul" in names(graph)


def test_products_of_derivatives_by_numbers_are_plain_ones():
    f = ft.grad(ft.grad(ft.grad(lambda x: x.tanh() * x.sin())))
    graph = passed(f, ft.tensor(0.7))
    assert names(graph).count("mul_conj") < 8 and len(names(graph)) < 35
    assert_close(ft.compile(f)(ft.tensor(0.7)), f(ft.tensor(0.7)))
    z = ft.tensor([1 + 2j, 3 - 1j])
    g = ft.grad(lambda z: (z * z.conj() * (2 + 1j)).sum().real)
    assert_close(ft.compile(g)(z), g(z))


@pytest.mark.parametrize("name", ["reciprocal", "rsqrt", "log2", "digamma", "lgamma", "asin"])
def test_zero_cotangents_stay_zero_through_infinite_slopes(name):
    """The branch of where() that is not taken sends back nothing, compiled or not."""
    x = ft.tensor([0.0, 0.5, 4.0, -1.0, ft.inf])
    for transform in (ft.grad, ft.jacfwd):
        f = transform(lambda x: ft.where((x > 0) & (x < 1), getattr(x, name)(), 0.0).sum())
        assert f(x).isfinite().all()
        assert ft.compile(f)(x).tolist() == f(x).tolist()


def test_double_negation_and_order_of_operands():
    graph = passed(lambda x, y: x.neg().neg().exp() + (x * y - y * x), ft.randn(3), ft.randn(3))
    assert names(graph).count("neg") == 0 and names(graph).count("mul") == 1


# ---- joins ----


def test_gradient_of_a_split_is_a_cat():
    def f(x):
        a, b, c = x.split(2, dim=1)
        return (a * b.sin() + c.exp()).sum()

    x = ft.randn(3, 6)
    graph = passed(ft.grad(f), x)
    assert "cat" in names(graph) and "index_embed" not in names(graph)
    equal(ft.compile(ft.grad(f))(x), ft.grad(f)(x))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x[:2] * x[2:] + x[1:3]).sum(),  # they overlap
        lambda x: (x[:1] * x[1:2]).sum(),  # they leave something out
        lambda x: (x[::2] * x[1::2]).sum(),
        lambda x: (
            (x[:, :1] * x[:2, :3].sin()).sum() if x.shape[0] == 2 else x[:2].sum() * x[2:].sum()
        ),
        lambda x: (x[:2] * x[2:].exp()).sum() * x.sin().sum(),  # and something more
        lambda x: (x[-2:] * x[:-2]).sum(),
    ],
)
def test_sums_of_slices(f):
    x = ft.randn(4, 3)
    assert_close(ft.compile(ft.grad(f))(x), ft.grad(f)(x), rtol=1e-6, atol=1e-6)


# ---- fusion ----


def test_updates_of_all_parameters_are_one_sweep():
    def step(ps, gs, ms):
        ms = [0.9 * m + g for m, g in zip(ms, gs, strict=True)]
        return [p - 0.1 * m for p, m in zip(ps, ms, strict=True)], ms

    lists = [[ft.randn(*s) for s in ((3, 4), (7,), (2, 2, 2), (1,))] for _ in range(3)]
    calls, result = instructions(step, *lists)
    assert calls == ["cb_fused_sets"]
    for made, expected in zip(result, step(*lists), strict=True):
        for a, b in zip(made, expected, strict=True):
            equal(a, b)


@pytest.mark.parametrize(
    ("call", "optimizer", "options"),
    [
        ("cb_fused_sets", nn.optim.SGD, {"momentum": 0.9}),
        ("cb_adam_sets", nn.optim.AdamW, {}),
        ("cb_adam_sets", nn.optim.Adam, {"weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ],
)
def test_parameters_are_updated_in_place_by_one_sweep(call, optimizer, options):
    eager = _step(optimizer, **options)
    step = ft.compile(_step(optimizer, **options))
    x = ft.randn(5, 4)
    for _ in range(4):
        assert_close(step(x), eager(x), rtol=1e-5, atol=1e-5)
    (entries,) = step._programs.values()
    assert entries[0].program.instructions().count(call) == 1


def test_sets_whose_operands_another_set_overwrites():
    a, b = ft.randn(1000), ft.randn(1000)
    x, y = a.clone(), b.clone()

    def swap(p, q):
        with ft.no_grad():
            new_p, new_q = p * 0.5 + q, q * 0.5 + p
            p.copy_(new_p)
            q.copy_(new_q)

    for _ in range(3):
        swap(a, b)
    compiled = ft.compile(lambda: (swap(x, y), x.sum())[1])
    for _ in range(3):
        compiled()
    equal(x, a)
    equal(y, b)


def test_operands_that_sets_share_and_that_die_there():
    def f(x, y):
        t = (x @ y).contiguous()  # read by both sets, by nobody later
        return t * 2 + x, t * 2 + y

    x, y = ft.randn(64, 64), ft.randn(64, 64)
    for a, b in zip(ft.compile(f)(x, y), f(x, y), strict=True):
        equal(a, b)


def test_groups_beyond_the_limits_are_cut():
    def f(*xs):
        y = xs[0]
        made = []
        for x in xs:
            y = (y + x).sin()
            made.append(y)
        return made

    xs = [ft.randn(9) for _ in range(40)]
    calls, result = instructions(f, *xs)
    assert len(calls) < 12 and set(calls) == {"cb_fused"}
    for a, b in zip(result, f(*xs), strict=True):
        equal(a, b)


def test_scalars_are_one_sweep():
    f = lambda x: x.tanh() * x.sin()  # noqa: E731
    for _ in range(5):
        f = ft.grad(f)
    calls, result = instructions(f, ft.tensor(0.7))
    assert calls == ["cb_fused"]
    assert_close(result, f(ft.tensor(0.7)))


def test_groups_do_not_wait_for_each_other():
    def f(x, y):  # rows and numbers: each way there is something between
        a, b = x.exp(), y.sin()
        c, d = a.sum(), b * 2
        e = (c + 1) * 2
        g = a * d.sum()
        return (g + e).cos() * a, d * g.sum() + e, (c * d.sum()).exp()

    x, y = ft.randn(3) * 0.1, ft.randn(5) * 0.1
    for a, b in zip(ft.compile(f)(x, y), f(x, y), strict=True):
        equal(a, b)


def test_every_sweep_fits():
    def f(*xs):
        total = sum(x * i for i, x in enumerate(xs, 2))
        return [total * x for x in xs]

    graph = passed(f, *[ft.randn(3) for _ in range(30)])
    for item in fusion.fuse(graph):
        if isinstance(item, fusion.Group) and item.steps is not None:
            assert item.steps.fits(len(item.outputs))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_slopes(approximate):
    torch = pytest.importorskip("torch")
    x = ft.linspace(-12, 12, 2001)
    made = ft.grad(lambda x: nn.functional.gelu(x, approximate=approximate).sum())(x)
    t = torch.linspace(-12, 12, 2001, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.gelu(t, approximate=approximate).sum().backward()
    assert numpy.abs(made.numpy() - t.grad.numpy()).max() < 2e-6
    wild = ft.tensor([float("inf"), float("-inf"), float("nan"), 1e30, -1e30])
    slopes = ft.grad(lambda x: nn.functional.gelu(x, approximate=approximate).sum())(wild)
    assert_close(slopes, ft.tensor([1.0, 0.0, float("nan"), 1.0, 0.0]), equal_nan=True)


# ---- rematerialisation ----


def _deep(layers):
    def loss(ws, x):
        for w in ws:
            h = nn.functional.layer_norm(x, x.shape[-1:])
            x = x + nn.functional.gelu(h @ w) @ w.T
        return x.square().mean()

    ft.manual_seed(0)
    return ft.grad(loss), [ft.randn(8, 32) * 0.1 for _ in range(layers)], ft.randn(64, 8)


@pytest.fixture
def eager_remat(monkeypatch):
    monkeypatch.setattr(remat, "LEAST", 0)
    monkeypatch.setattr(remat, "SMALL", 0)


@pytest.mark.usefixtures("eager_remat")
def test_values_computed_again_are_the_same():
    f, ws, x = _deep(6)
    leaves = [*ws, x]
    graph = stage(lambda xs: f(xs[:-1], xs[-1]), leaves).graph
    for rewrite in PASSES:
        graph = rewrite(graph)
    again = remat.rematerialize(graph)
    check(again)
    assert names(again).count("gelu") > names(graph).count("gelu")
    assert peak_bytes(again) < 0.75 * peak_bytes(graph)
    for a, b in zip(ft.compile(f)(ws, x), f(ws, x), strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("eager_remat")
def test_draws_and_results_are_not_computed_again():
    def f(x):
        y = x.sin()
        z = nn.functional.dropout(y, 0.5)
        for _ in range(3):
            z = (z @ x).tanh()
        return y, z * y, z

    x = ft.randn(16, 16)
    ft.manual_seed(1)
    made = ft.compile(f)(x)
    ft.manual_seed(1)
    for a, b in zip(made, f(x), strict=True):
        equal(a, b)


@pytest.mark.usefixtures("eager_remat")
def test_training_with_values_computed_again():
    losses = []
    for wrap in (lambda f: f, ft.compile):
        ft.manual_seed(3)
        step = wrap(_step())
        x = ft.randn(64, 4)
        losses.append([step(x).item() for _ in range(4)])
    assert numpy.allclose(losses[0], losses[1], rtol=1e-4)


def test_gradients_of_the_step_before_make_room():
    model = nn.Linear(64, 64)

    @ft.compile
    def step(x):
        model.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss.detach()

    x = ft.randn(2, 64)
    step(x)
    kept = model.weight.grad
    assert kept is not None
    values = kept.clone()
    step(x)
    assert model.weight.grad is not kept  # who holds it keeps it
    equal(kept, values)


@pytest.mark.parametrize("name", ["sin", "cos", "gelu", "silu"])
@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.bfloat16])
def test_slopes_are_computed_once(name, dtype):
    g = {"gelu": nn.functional.gelu, "silu": nn.functional.silu}.get(name) or getattr(ft, name)

    def second(x):
        return ft.grad(lambda x: ft.grad(lambda x: g(g(x)).sum())(x).square().sum())(x)

    x = ft.randn(9).to(dtype)
    if dtype != ft.bfloat16:
        found = names(passed(second, x))
        if name in ("sin", "cos"):
            assert len([n for n in found if "sin" in n or "cos" in n]) == 4
        else:
            assert found.count(f"{name}_grad") == 2
    for f in (second, ft.hessian(lambda x: g(x * x.flip(0)).sum()), ft.jacfwd(lambda x: g(x) * x)):
        equal(ft.compile(f)(x).float(), f(x).float())


def _recurrent(p, x):
    def step(h, x):
        h = (h @ p["w"].T + x @ p["u"].T + p["b"]).tanh()
        return h, h

    h, _ = ft.scan(step, ft.zeros(x.shape[1], 6) + x[0, 0, 0], x)
    return h.square().sum()


@pytest.mark.parametrize("steps", [3, 5, 300])
def test_sums_of_products_are_one(steps):
    p = {"w": ft.randn(6, 6) * 0.3, "u": ft.randn(6, 4), "b": ft.randn(6)}
    x = ft.randn(steps, 5, 4)
    gradient = ft.grad(_recurrent)
    assert_close(ft.compile(gradient)(p, x), gradient(p, x), rtol=1e-4, atol=1e-4)
    lanes = ft.vmap(gradient, (None, 0))
    both = ft.stack([x, x + 1])
    assert_close(ft.compile(lanes)(p, both), lanes(p, both), rtol=1e-4, atol=1e-4)
    for f, xs in ((gradient, x), (lanes, both)):
        graph = passed(lambda w, u, b, x: f({"w": w, "u": u, "b": b}, x), *p.values(), xs)  # noqa: B023
        assert names(graph).count("cat") == (0 if steps < 4 else 3)  # of cotangents, h and x


def test_sums_that_stay():
    x, y = ft.randn(6, 5, 4), ft.randn(6, 4, 5)

    def wide(x, y):  # operands larger than results
        return sum(a.T @ b.T for a, b in zip(x, y, strict=True))

    assert names(passed(wide, x.reshape(6, 20, 1), y.reshape(6, 1, 20))).count("matmul") == 6

    def read(x, y):  # a partial sum is wanted too
        terms = [a @ b for a, b in zip(x, y, strict=True)]
        part = terms[0] + terms[1] + terms[2]
        return part, part + terms[3] + terms[4]

    def of_other_shapes(x, y):
        return sum(a @ b for a, b in zip(x, y, strict=True)) + x[0, :, :2] @ y[0, :2]

    def expanded(x, y):
        return sum(a @ y[:1].expand(6, 4, 5) for a in (x, x + 1, x + 2, x + 3))

    def of_vectors(x, y):
        return sum(a[0] @ b[:, 0] for a, b in zip(x, y, strict=True)), sum(
            a @ y[0, :, 0] for a in x
        )

    def of_everything(x, y):
        return sum(a.sum() for a in x), sum(a.sum(0) for a in y), sum(a.mT @ a for a in x)

    for f in (wide, read, of_other_shapes, expanded, of_vectors, of_everything):
        assert_close(ft.compile(f)(x, y), f(x, y))
