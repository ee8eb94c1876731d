"""compile(): what a function means does not change, whatever it does."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
import nn
from functorch_like.testing import assert_close


def equal(actual, expected):
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def test_fused_chain_is_one_sweep():
    def f(x, y):
        return (x * y + 1).tanh().exp() * 0.5

    x, y = ft.randn(33, 7), ft.randn(7)
    compiled = ft.compile(f)
    equal(compiled(x, y), f(x, y))
    (entries,) = compiled._programs.values()
    assert entries[0].program.instructions() == ["cb_fused"]


@pytest.mark.parametrize("dtype", [ft.float16, ft.bfloat16, ft.float64, ft.complex64, ft.int32])
def test_sweep_rounds_as_single_operations(dtype):
    x = (ft.randn(5, 3) * 3).to(dtype)
    y = x.t().contiguous().t()  # another memory order

    def f(x, y):
        return (x * 3 + y) * x - y

    equal(ft.compile(f)(x, y).to(ft.complex128), f(x, y).to(ft.complex128))


def test_broadcast_expanded_reversed_and_empty_operands():
    def f(x, y):
        return (x + y) * x.flip(0) + y.exp()

    for x, y in [
        (ft.randn(3, 1), ft.randn(1, 4)),
        (ft.randn(2, 1).expand(2, 5), ft.randn(5)),
        (ft.randn(4, 6)[::2, ::3], ft.randn(2)),
        (ft.randn(0, 3), ft.randn(3)),
        (ft.randn(()), ft.randn(())),
    ]:
        equal(ft.compile(f)(x, y), f(x, y))


@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.float16, ft.int32])
@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        ((40, 40, 1, 5), (40, 40, 5, 1), (0, 1, 2, 3)),  # short rows
        ((1, 1, 5, 5), (70, 40, 1, 1), (0, 1, 2, 3)),  # one block, again and again
        ((13, 1, 7, 3), (13, 50, 1, 3), (0, 2, 1, 3)),
        ((1, 30, 33), (90, 1, 33), (0, 2, 1)),
        ((17, 1, 1, 2, 3), (1, 11, 13, 1, 3), (4, 3, 2, 1, 0)),
        ((3, 1), (1, 4000), (1, 0)),
    ],
)
def test_operands_that_repeat(a, b, order, dtype):
    def made(shape):
        turned = (ft.randn(*[shape[d] for d in order]) * 8).to(dtype)
        return turned.permute(*[order.index(d) for d in range(len(shape))])

    x, y = made(a), made(b)
    for f in (lambda x, y: (x * y + x) * y, lambda x, y: (x.flip(0) - y) * (y + 1.5)):
        for threads in (1, 2):
            before = ft.get_num_threads()
            ft.set_num_threads(threads)
            try:
                equal(ft.compile(f)(x, y), f(x, y))
            finally:
                ft.set_num_threads(before)


def test_transforms_inside():
    def f(x):
        return (x**3).sum() * x.sin().sum()

    x = ft.randn(3, 4)
    for g in (ft.vmap(ft.hessian(f)), ft.vmap(ft.grad(f)), ft.jacfwd(ft.grad(f))):
        assert_close(ft.compile(g)(x), g(x), rtol=1e-6, atol=1e-6)


def test_transforms_outside():
    f = ft.compile(lambda x: (x.sin() * x).sum())
    x = ft.randn(3)
    equal(ft.grad(f)(x), ft.grad(lambda x: (x.sin() * x).sum())(x))
    equal(ft.vmap(f)(ft.stack([x, x])), ft.stack([f(x), f(x)]))


def test_nested_compile():
    inner = ft.compile(lambda x: x * 2)
    equal(ft.compile(lambda x: inner(x) + 1)(ft.ones(2)), ft.tensor([3.0, 3.0]))


def test_pytrees_keywords_and_static_arguments():
    @ft.compile
    def f(tree, *, scale=1.0, name="plus"):
        y = tree["a"] * scale
        return {"y": y + tree["b"] if name == "plus" else y - tree["b"], "b": (tree["b"],)}

    tree = {"a": ft.ones(2), "b": ft.ones(2)}
    equal(f(tree, scale=3.0)["y"], ft.tensor([4.0, 4.0]))
    equal(f(tree, scale=3.0, name="minus")["y"], ft.tensor([2.0, 2.0]))
    equal(f(tree, scale=2.0)["y"], ft.tensor([3.0, 3.0]))
    assert len(f.explain().splitlines()) == 2
    g = ft.compile(lambda n, x: x * n, static_argnums=0)
    equal(g(2, ft.ones(2)), ft.tensor([2.0, 2.0]))
    equal(g(5, ft.ones(2)), ft.tensor([5.0, 5.0]))


def test_calls_with_trees_like_the_last_one():
    f = ft.compile(lambda p, x, c=1.0: {k: v * x + c for k, v in p.items()})
    p, x = {"a": ft.ones(2), "b": ft.tensor([2.0, 3.0])}, ft.tensor([1.0, 2.0])

    def check(p, x, *rest):
        for _ in range(2):
            got = f(p, x, *rest)
            assert list(got) == sorted(p)
            for k, v in p.items():
                equal(got[k].detach(), (v * x + (rest[0] if rest else 1.0)).detach())
        return got

    check(p, x)
    check({"b": p["a"], "a": p["b"]}, x)  # keys in another order
    check({"a": p["a"], "c": p["b"]}, x)  # other keys
    check({"a": p["a"]}, x)
    check({"a": ft.ones(3, 2), "b": ft.ones(2, dtype=ft.float64)}, x)  # shapes and dtypes
    check(p, x, 3.0)
    check(p, x, 4.0)
    check(p, 2.0)
    with ft.no_grad():
        check(p, x)
    w = ft.ones(2, requires_grad=True)
    check({"a": w, "b": w}, x)["a"].sum().backward()
    equal(w.grad, x)
    equal(ft.vmap(lambda x: f(p, x)["a"])(ft.stack([x, x])), ft.stack([x + 1, x + 1]))
    base = ft.ones(4)
    view = base[:2]
    base.mul_(3)
    check({"a": view, "b": view}, x)


def test_python_branches_on_values():
    @ft.compile
    def f(x):
        if x.sum() > 0:
            return x * 2
        return x - int(x.min().item())

    for value in ([1.0, 2.0], [-1.0, -3.0], [4.0, 4.0], [-2.0, -3.0], [-2.0, -5.0]):
        x = ft.tensor(value)
        equal(f(x), x * 2 if x.sum() > 0 else x - int(x.min().item()))
    assert len(f.explain().splitlines()) == 3


def test_writes_to_captured_tensors():
    total, rows = ft.zeros(3), ft.zeros(2, 3)

    @ft.compile
    def f(x):
        total.add_(x)
        rows[0] = x
        return total * 2

    for k in range(3):
        equal(f(ft.full((3,), float(k))), ft.full((3,), 2.0 * sum(range(k + 1))))
    equal(total, ft.full((3,), 3.0))
    equal(rows, ft.tensor([[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]))


def test_a_value_read_before_it_is_overwritten_is_the_old_one():
    w = ft.ones(4)

    @ft.compile
    def f(x):
        old = w * 1.5
        view = w.reshape(2, 2)
        w.mul_(x)
        return old + w, view

    before = w.clone()
    out, view = f(ft.full((4,), 3.0))
    equal(out, before * 1.5 + 3)
    equal(view, ft.full((2, 2), 3.0))
    equal(w, ft.full((4,), 3.0))


def test_a_failed_guard_changes_nothing():
    w = ft.zeros(2)

    @ft.compile
    def f(x):
        w.add_(x)
        if x.sum() > 0:
            w.add_(x)
        return w.sum()

    for x in (ft.ones(2), -ft.ones(2), ft.ones(2)):
        f(x)
    equal(w, ft.full((2,), 2.0 - 1.0 + 2.0))


def test_random_numbers_are_eager_ones():
    def f(x):
        return x + ft.randn(3) * ft.rand(3) + nn.functional.dropout(x, 0.5)

    ft.manual_seed(4)
    expected = [f(ft.ones(3)) for _ in range(3)]
    ft.manual_seed(4)
    compiled = ft.compile(f)
    for e in expected:
        equal(compiled(ft.ones(3)), e)
    equal(ft.rand(2), ft.rand(2, generator=_after(expected)))


def _after(draws):
    generator = ft.Generator()
    generator.set_state(ft.get_rng_state())
    generator._offset -= ft.op.lib.cb_random_counters(0, ft.float32.code, 2)
    return generator


def test_gradients_through_a_compiled_function():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    compiled = ft.compile(lambda x: model(x))
    x = ft.randn(5, 4, requires_grad=True)

    def gradients(f):
        for t in (*model.parameters(), x):
            t.grad = None
        f(x).square().sum().backward()
        return [t.grad.clone() for t in (*model.parameters(), x)]

    for actual, expected in zip(gradients(compiled), gradients(model), strict=True):
        assert_close(actual, expected)
    (g,) = ft.autograd.grad(compiled(x).sum(), [x], create_graph=True)
    (e,) = ft.autograd.grad(model(x).sum(), [x], create_graph=True)
    assert_close(
        ft.autograd.grad(g.square().sum(), [x])[0], ft.autograd.grad(e.square().sum(), [x])[0]
    )


def _training(optimizer):
    ft.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)
    )
    model.append(nn.Linear(8, 3))
    opt = optimizer(model.parameters())

    def step(x, y):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss.detach()

    return model, opt, step


def test_gradients_of_some_of_the_results():
    f = ft.compile(lambda a, b: (a * b, a.sin(), b + 1))
    a, b = (ft.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    f(a, b)[0].sum().backward()
    equal(a.grad, b.detach())
    f(a, b)[1].sum().backward()
    equal(a.grad, b.detach() + a.detach().cos())
    equal(b.grad, a.detach())


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: nn.optim.SGD(p, lr=0.1),
        lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: nn.optim.AdamW(p, lr=0.01),
    ],
)
def test_training_step(optimizer):
    ft.manual_seed(1)
    batches = [(ft.randn(16, 6), ft.randint(0, 3, (16,))) for _ in range(6)]
    losses = []
    for wrap in (lambda f: f, ft.compile):
        model, opt, step = _training(optimizer)
        step = wrap(step)
        ft.manual_seed(2)
        for i, (x, y) in enumerate(batches):
            if i == 3:
                opt.param_groups[0]["lr"] *= 0.5
            losses.append(step(x, y))
        losses.append(step(*batches[0]))
        model.eval()
        losses.append(model(batches[0][0]).sum())
    n = len(losses) // 2
    for eager, compiled in zip(losses[:n], losses[n:], strict=True):
        assert_close(compiled, eager, rtol=1e-3, atol=1e-3)


def test_gradients_accumulate_over_calls():
    w = ft.ones(2, requires_grad=True)

    @ft.compile
    def f(x):
        (w * x).sum().backward()
        return x

    for k in range(1, 4):
        f(ft.ones(2))
        equal(w.grad, ft.full((2,), float(k)))


def test_bad_input():
    with pytest.raises(TypeError, match="compile: expected a function"):
        ft.compile(3)
    with pytest.raises(TypeError, match="tensors in the function's result"):
        ft.compile(lambda x: "text")(ft.ones(2))
    with pytest.raises(ft.ShapeError):
        ft.compile(lambda x, y: x + y)(ft.ones(2), ft.ones(3))
    with pytest.raises(ft.TraceError, match="nonzero, whose result's shape depends on values"):
        ft.compile(lambda x: x[x > 0])(ft.ones(2))
    assert ft.staging.current_stage() is None


def test_errors_leave_captured_tensors_as_they_were():
    w = ft.ones(2)

    @ft.compile
    def f(x):
        w.add_(x)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        f(ft.ones(2))
    equal(w, ft.ones(2))


def test_graph_is_readable():
    graph = ft.make_graph(ft.grad(lambda x: (x * x).sum()))(ft.ones(3))
    assert "float32[3]" in str(graph)
    assert "test_compile.py" in str(graph)
    assert graph.to_dot().startswith("digraph")


def test_modes_are_part_of_the_program():
    w = ft.ones(2, 2, requires_grad=True)
    f = ft.compile(lambda x: x @ w)
    x = ft.ones(2, 2)
    with ft.no_grad():
        assert not f(x).requires_grad
    assert f(x).requires_grad
    with ft.no_grad():
        assert not f(x).requires_grad
        with ft.autocast():
            assert f(x).dtype is ft.bfloat16
        assert f(x).dtype is ft.float32


def test_learning_rate_keeps_its_digits():
    w = ft.ones(1, dtype=ft.float64, requires_grad=True)
    opt = nn.optim.SGD([w], lr=0.01)

    @ft.compile
    def step():
        opt.zero_grad()
        w.sum().backward()
        opt.step()
        return w.detach()

    assert step().item() == 1 - 0.01


def test_long_functions_compile():
    w = ft.randn(4, 4)

    def f(x):
        out = []
        for _ in range(60):
            x = (x @ w).tanh() * 0.9 + 0.1
            out.append(x.sin())
        return ft.stack(out).sum()

    assert_close(ft.compile(ft.grad(f))(ft.ones(4)), ft.grad(f)(ft.ones(4)))


def test_writes_to_arguments():
    @ft.compile
    def f(x, y):
        x[0] = y[1]
        x.mul_(2)
        return x.sum() + y.sum()

    for k in range(3):
        x, y = ft.ones(3), ft.full((2,), float(k))
        equal(f(x, y), ft.tensor(4.0 + 4 * k))
        equal(x, ft.tensor([2.0 * k, 2.0, 2.0]))
        equal(y, ft.full((2,), float(k)))


def test_an_argument_that_shares_memory_with_what_is_written():
    w = ft.ones(4)

    @ft.compile
    def f(x):
        w.mul_(3.0)
        return x * 1.0 + 1.0, w + 0.0

    out, _ = f(ft.ones(4))
    equal(out, ft.full((4,), 2.0))
    out, new = f(w)
    equal(out, ft.full((4,), 4.0))  # the argument as it was
    equal(new, ft.full((4,), 9.0))
    equal(w, ft.full((4,), 9.0))


def test_writes_through_a_reshape_of_a_captured_tensor():
    for whole, part in ((ft.ones(2, 3), lambda x: x), (ft.ones(4, 3), lambda x: x[1:3])):
        rows = part(whole)
        compiled = ft.compile(lambda rows=rows: rows.reshape(-1).mul_(2).sum())
        assert [compiled().item() for _ in range(2)] == [12.0, 24.0]
        equal(rows, ft.full((2, 3), 4.0))
        equal(part(whole), rows)
    columns = ft.ones(2, 3).t()
    ft.compile(lambda: columns.reshape(-1).mul_(2).sum())()
    equal(columns, ft.ones(3, 2))  # that was a copy


@pytest.mark.parametrize("dtype", [ft.float16, ft.bfloat16])
def test_choices_between_16_bit_floats_fuse(dtype):
    x = ft.tensor([-1.0, 0.3, 2.0]).to(dtype)

    def f(x):
        return ft.where(x > 0, x, 0.5) * 2

    assert (ft.compile(f)(x) == f(x)).all()


def test_tensors_made_inside_are_read_as_they_were():
    def f(x):
        count = ft.zeros(())
        y = x * (count + 1)
        count.add_(1)
        return (y + count * x).sum()

    x = ft.tensor([1.0, 2.0])
    for function in (f, ft.grad(f), ft.vmap(f), ft.jacfwd(f)):
        equal(ft.compile(function)(x), function(x))


@pytest.mark.parametrize(
    "f", [ft.unique, ft.bincount, ft.unique_consecutive, lambda x: ft.unique(x, dim=0)]
)
def test_numbers_of_values(f):
    with pytest.raises(ft.TraceError, match="whose result's shape depends on values"):
        ft.compile(f)(ft.tensor([1, 2]))
    x = ft.tensor([[1, 2, 1], [2, 1, 2]])
    assert ft.equal(ft.vmap(f)(x), ft.stack([f(x[0]), f(x[1])]))
    with pytest.raises(ft.TraceError, match="one shape from all lanes"):
        ft.vmap(f)(ft.tensor([[1, 2, 1], [1, 1, 1]]))


def test_joined_labels():
    loss = ft.compile(nn.functional.ctc_loss)
    x, one, two = ft.randn(5, 1, 4).log_softmax(-1), ft.tensor([5]), ft.tensor([2])
    assert loss(x, ft.tensor([[1, 2]]), one, two).shape == ()
    with pytest.raises(ft.TraceError, match=r"ctc_loss: expected targets \[n, s\]"):
        loss(x, ft.tensor([1, 2]), one, two)
