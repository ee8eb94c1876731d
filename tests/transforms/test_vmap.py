"""vmap: where the mapped dimension is and goes, nesting, chunks, randomness, errors."""

from collections import namedtuple

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close

Pair = namedtuple("Pair", "a b")


def close(x, expected):
    np.testing.assert_allclose(x.numpy(), np.asarray(expected), rtol=1e-6, atol=1e-9)


def rand(*shape):
    return ft.rand(*shape, dtype=ft.float64)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_in_dims(dim):
    x = rand(2, 3, 4)
    y = ft.vmap(lambda r: r.sum(0) * 2, dim)(x)
    a = x.numpy()
    close(y, [np.take(a, i, dim).sum(0) * 2 for i in range(a.shape[dim])])


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_out_dims(dim):
    x = rand(5, 2, 3)
    y = ft.vmap(lambda r: r * 2, out_dims=dim)(x)
    close(y, np.moveaxis(x.numpy() * 2, 0, dim))


def test_several_arguments():
    x, y = rand(3, 2), rand(2, 3)
    close(ft.vmap(lambda a, b: a @ b, (0, 1))(x, y), (x.numpy() * y.numpy().T).sum(1))
    close(ft.vmap(lambda a, b: a @ b, (0, None))(x, y), x.numpy() @ y.numpy())
    close(ft.vmap(lambda a, b: a * b, (None, 0))(x[0], y.t()), x.numpy()[0] * y.numpy().T)
    close(ft.vmap(lambda a, b: a * b, [0, 1])(x, y), x.numpy() * y.numpy().T)
    close(
        ft.vmap(lambda a, b: a * b, in_dims=(0, 1), out_dims=1)(x, y), (x.numpy() * y.numpy().T).T
    )


def test_pytrees():
    p = {"w": rand(3, 2), "b": [rand(2, 3), rand(4)], "n": None}
    f = lambda p: {"o": (p["w"] + p["b"][0], p["b"][1].sum())}  # noqa: E731
    for in_dims in (({"w": 0, "b": [1, None], "n": None},),):
        out = ft.vmap(f, in_dims)(p)
        close(out["o"][0], p["w"].numpy() + p["b"][0].numpy().T)
        close(out["o"][1], np.full(3, p["b"][1].sum().item()))
    out = ft.vmap(f, in_dims=({"w": 0, "b": [1, None], "n": None},), out_dims={"o": (1, 0)})(p)
    close(out["o"][0], (p["w"].numpy() + p["b"][0].numpy().T).T)
    q = Pair(rand(3), rand(3, 2))
    out = ft.vmap(lambda q, x: Pair(q.a + x, q.b * x))(q, rand(3))
    assert isinstance(out, Pair) and out.b.shape == (3, 2)
    out = ft.vmap(lambda d, x: d["a"] * x, (None, 0))(
        {"a": rand(2)}, rand(3)
    )  # a prefix stands for a subtree
    assert out.shape == (3, 2)
    out = ft.vmap(lambda d, x: d["a"] + d["b"] + x, (0, None))(
        {"a": rand(3), "b": rand(3)}, rand(2)
    )
    assert out.shape == (3, 2)


def test_results_of_every_kind():
    x = rand(3)
    out = ft.vmap(lambda x: (x, [x * 2], {"a": x}))(x)
    assert isinstance(out, tuple) and isinstance(out[1], list) and set(out[2]) == {"a"}
    out = ft.vmap(lambda x: (x, ft.ones(2)))(x)  # an unmapped result is repeated
    assert out[1].shape == (3, 2)
    out = ft.vmap(lambda x: (x, ft.ones(2)), out_dims=(0, None))(x)
    assert out[1].shape == (2,)
    with pytest.raises(ValueError, match="out_dims"):
        ft.vmap(lambda x: x, out_dims=None)(x)
    with pytest.raises(ValueError, match="out_dims"):
        ft.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(x)
    with pytest.raises(ValueError, match="out_dims"):
        ft.vmap(lambda x: x, out_dims=1)(x)
    for bad in (3, "text", None):
        if bad is None:
            continue
        with pytest.raises(TypeError, match="tensors"):
            ft.vmap(lambda x, bad=bad: bad)(x)


def test_keyword_arguments():
    x = rand(3)
    close(ft.vmap(lambda x, *, scale: x * scale)(x, scale=3), x.numpy() * 3)


def test_other_arguments_may_be_anything():
    x = rand(3)
    close(ft.vmap(lambda x, n, s: x**n, (0, None, None))(x, 2, "text"), x.numpy() ** 2)


def test_nested():
    x, y = rand(3), rand(4)
    outer = ft.vmap(ft.vmap(lambda a, b: a * b, (None, 0)), (0, None))(x, y)
    close(outer, np.outer(x.numpy(), y.numpy()))
    z = rand(2, 3, 4)
    close(ft.vmap(ft.vmap(ft.vmap(lambda v: v.exp())))(z), np.exp(z.numpy()))
    close(ft.vmap(ft.vmap(lambda v: v.sum(), 1), 2)(z), z.numpy().sum(0).T)
    close(
        ft.vmap(lambda r: ft.vmap(lambda s: s * r.sum())(r))(z[0]),
        z[0].numpy() * z[0].numpy().sum(1, keepdims=True),
    )


def test_closures():
    w = rand(2, 2)
    x = rand(3, 2)
    close(ft.vmap(lambda r: r @ w)(x), x.numpy() @ w.numpy())
    close(ft.vmap(lambda r: ft.vmap(lambda s: (r * s).sum())(x))(x), x.numpy() @ x.numpy().T)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_chunks(chunk):
    x, y = rand(7, 2), rand(2, 7)
    close(ft.vmap(lambda a, b: a * b, (0, 1), chunk_size=chunk)(x, y), x.numpy() * y.numpy().T)
    close(
        ft.vmap(lambda a, b: a * b, (0, 1), 1, chunk_size=chunk)(x, y), (x.numpy() * y.numpy().T).T
    )
    out = ft.vmap(
        lambda a: {"s": a.sum(), "a": (a, a * 2)}, out_dims={"s": 0, "a": (0, -1)}, chunk_size=chunk
    )(x)
    close(out["s"], x.numpy().sum(1))
    close(out["a"][1], 2 * x.numpy().T)
    out = ft.vmap(lambda a: (a, ft.ones(2)), out_dims=(0, None), chunk_size=chunk)(x)
    assert out[1].shape == (2,)


def test_size_one_and_zero():
    assert ft.vmap(lambda x: x * 2)(rand(1, 3)).shape == (1, 3)
    assert ft.vmap(lambda x: (x * 2).sum())(rand(0, 3)).shape == (0,)
    assert ft.vmap(lambda x: x @ x)(rand(0, 3)).shape == (0,)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ft.vmap(lambda x, y: x)(rand(3), rand(4)), ValueError, r"sizes \[3, 4\]"),
        (lambda: ft.vmap(lambda x: x, 1)(rand(3)), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x, -2)(rand(3)), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x)(rand()), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x, (0, 0))(rand(3)), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x, ({"a": 0},))(rand(3)), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x["a"], ({"b": 0},))({"a": rand(3)}), ValueError, "in_dims"),
        (lambda: ft.vmap(lambda x: x, None)(rand(3)), ValueError, "at least one"),
        (lambda: ft.vmap(lambda x: x, (None,))(rand(3)), ValueError, "at least one"),
        (lambda: ft.vmap(lambda x: x)(3), ValueError, "tensor"),
        (lambda: ft.vmap(lambda: 1)(), ValueError, "tensor"),
        (lambda: ft.vmap(lambda x, n: x, (0, 0))(rand(3), 2), ValueError, "not a tensor"),
        (lambda: ft.vmap(lambda x: x, "text")(rand(3)), (ValueError, TypeError), "in_dims"),
        (lambda: ft.vmap(lambda x: x, 0.5)(rand(3)), (ValueError, TypeError), "in_dims"),
        (lambda: ft.vmap(lambda x: x, chunk_size=0)(rand(3)), ValueError, "chunk_size"),
        (lambda: ft.vmap(lambda x: x, randomness="often")(rand(3)), ValueError, "randomness"),
        (lambda: ft.vmap(lambda x: x @ x)(rand(3, 4, 5)), ft.ShapeError, "matmul"),
        (lambda: ft.vmap(lambda x: x.numpy())(rand(3)), ft.TraceError, "vmap"),
        (lambda: ft.vmap(lambda x: x.tolist())(rand(3, 2)), ft.TraceError, "vmap"),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()
    close(ft.vmap(lambda x: x * 2)(ft.ones(2)), [2, 2])


def test_properties_of_mapped_values():
    seen = {}

    def f(x):
        seen.update(
            shape=x.shape,
            ndim=x.ndim,
            numel=x.numel(),
            dtype=x.dtype,
            size=x.size(-1),
            len=len(x),
            device=str(x.device),
        )
        return x.sum()

    ft.vmap(f, 1)(rand(4, 3, 5))
    assert seen == {
        "shape": (4, 5),
        "ndim": 2,
        "numel": 20,
        "dtype": ft.float64,
        "size": 5,
        "len": 4,
        "device": "cpu",
    }


def test_iteration_and_unpacking_of_mapped_values():
    def f(x):
        a, b = x
        return sum(row.sum() for row in x) + a[0] - b[-1]

    x = rand(3, 2, 2)
    a = x.numpy()
    close(ft.vmap(f)(x), a.sum((1, 2)) + a[:, 0, 0] - a[:, 1, -1])


# ---- randomness ----


def test_randomness():
    x = ft.zeros(100)
    y = ft.vmap(lambda x: x + ft.rand(()), randomness="different")(x)
    assert len(set(y.tolist())) > 90
    y = ft.vmap(lambda x: x + ft.rand(()), randomness="same")(x)
    assert len(set(y.tolist())) == 1
    with pytest.raises(ft.TraceError, match="randomness"):
        ft.vmap(lambda x: x + ft.rand(()), randomness="error")(x)


def test_every_random_function_in_both_modes():
    x = ft.zeros(50, 3)
    draws = [
        lambda x: ft.rand(3),
        lambda x: ft.randn(3),
        lambda x: ft.rand_like(x),
        lambda x: ft.randn_like(x),
        lambda x: ft.randint(0, 1 << 40, (3,)).double(),
        lambda x: ft.dropout(x + 1, 0.5),
        lambda x: ft.bernoulli(x + 0.5),
        lambda x: x.clone().normal_(),
        lambda x: x.clone().uniform_(),
    ]
    for draw in draws:
        y = ft.vmap(draw, randomness="different")(x)
        assert y.shape == (50, 3) and len({tuple(r) for r in y.tolist()}) > 3
        y = ft.vmap(draw, randomness="same")(x)
        assert y.shape == (50, 3) and len({tuple(r) for r in y.tolist()}) == 1


def test_nested_randomness():
    x = ft.zeros(4, 5)
    inner_same = ft.vmap(
        ft.vmap(lambda x: x + ft.rand(()), randomness="same"), randomness="different"
    )(x).numpy()
    assert (inner_same == inner_same[:, :1]).all() and len(set(inner_same[:, 0])) == 4
    outer_same = ft.vmap(
        ft.vmap(lambda x: x + ft.rand(()), randomness="different"), randomness="same"
    )(x).numpy()
    assert (outer_same == outer_same[:1]).all() and len(set(outer_same[0])) == 5


def test_dropout_under_vmap_of_grad():
    g = ft.vmap(ft.grad(lambda x: ft.dropout(x, 0.5).sum()), randomness="different")(
        ft.ones(20, 10)
    )
    assert set(np.unique(g.numpy())) == {0.0, 2.0} and len({tuple(r) for r in g.tolist()}) > 10


# ---- mutation ----


def test_writes_into_mapped_unmapped_and_fresh_tensors():
    def f(x, i):
        buffer = ft.zeros(4, dtype=ft.float64)
        buffer[0] = x[0]  # a mapped value into a fresh tensor
        buffer[1] = 5.0
        x[1] = 7.0  # into the mapped input: a name of the lane only
        x.mul_(2)
        buffer[2:] = x[:2]
        return buffer, x

    x = rand(3, 2)
    a = x.numpy().copy()
    buffer, y = ft.vmap(f, (0, None))(x, 0)
    expected = np.stack([a[:, 0], np.full(3, 5.0), 2 * a[:, 0], np.full(3, 14.0)], 1)
    close(buffer, expected)
    close(y, np.stack([2 * a[:, 0], np.full(3, 14.0)], 1))
    close(x, a)  # the caller's tensor is as it was


def test_writes_at_mapped_places():
    def f(x, i, mask):
        x = x.clone()
        x[i] = 0.0
        x[mask] = -1.0
        y = ft.zeros(3)
        y[i] = 1.0
        return x, y

    x, i = ft.ones(4, 3), ft.tensor([0, 1, 2, 2])
    mask = ft.tensor([[False, True, False], [False] * 3, [True] * 3, [False, False, True]])
    got, hot = ft.vmap(f)(x, i, mask)
    expected = np.ones((4, 3))
    expected[np.arange(4), i.numpy()] = 0
    expected[mask.numpy()] = -1
    close(got, expected)
    close(hot, np.eye(3)[i.numpy()])


def test_captured_tensors_cannot_be_written():
    c = ft.zeros(3)
    row = ft.zeros(2, 3)[0]
    for transform in (
        ft.vmap,
        ft.grad,
        lambda f: lambda x: ft.jvp(f, (x,), (x,)),
        ft.jacrev,
        ft.hessian,
    ):
        for write in (
            lambda x: c.add_(x.sum()),
            lambda x: c.__setitem__(0, 1.0),
            lambda x: c.zero_(),
            lambda x: c[1:].mul_(2),
            lambda x: row.copy_(x),
        ):

            def f(x, write=write):
                write(x)
                return x.sum()

            with pytest.raises(ft.TraceError, match="captured from outside"):
                transform(f)(ft.ones(3, 3) if transform is ft.vmap else ft.ones(3))
    assert c.tolist() == [0, 0, 0] and row.tolist() == [0, 0, 0]


def test_an_outer_tracer_cannot_be_written_by_an_inner_transform():
    def outer(x):
        def inner(y):
            x[0].mul_(y[0])
            return y.sum()

        return ft.grad(inner)(x * 1).sum()

    with pytest.raises(ft.TraceError, match="captured"):
        ft.grad(outer)(ft.ones(2))


# ---- against torch ----


@pytest.mark.slow  # importing torch.func takes seconds
@pytest.mark.torch
def test_as_torch_func():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4, 5)), rng.standard_normal((5, 3))
    x, y, u, v = ft.tensor(a), ft.tensor(b), torch.tensor(a), torch.tensor(b)
    for in_dims, out_dims in (
        ((0, 1), 0),
        ((0, 1), 1),
        ((0, -1), -1),
        ((0, None), 0),
        ((None, 1), 1),
        ((-3, 1), -2),
    ):
        f = lambda p, q: (p @ q.reshape(5, -1)).squeeze(-1)  # noqa: E731
        close(ft.vmap(f, in_dims, out_dims)(x, y), torch.func.vmap(f, in_dims, out_dims)(u, v))
    ops = [
        lambda t: t.sum(0),
        lambda t: t.cumsum(1),
        lambda t: t.max(1)[0],
        lambda t: t.t(),
        lambda t: t[1:, ::2],
        lambda t: t[[0, 2]],
        lambda t: t.softmax(0),
        lambda t: t.reshape(-1)[:7],
        lambda t: t.var(),
        lambda t: t.flip(0),
        lambda t: t.unsqueeze(1).expand(4, 2, 5),
        lambda t: t.argmax(1),
        lambda t: t @ t.t(),
    ]
    for f in ops:
        close(ft.vmap(f)(x), torch.func.vmap(f)(u))
        close(
            ft.vmap(ft.vmap(lambda t, f=f: f(t).double() * 1), 0)(x[None]),
            torch.func.vmap(torch.func.vmap(lambda t, f=f: f(t).double() * 1))(u[None]),
        )


# ---- Python control flow on mapped values ----


def lanes(f, *args):
    """The loop that vmap stands for."""
    n = args[0].shape[0]
    return ft.stack([f(*[a[i] for a in args]) for i in range(n)])


def collatz(n):
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return n * 0 + steps


def branch(x):
    if x.sum() > 0:
        return x.sin()
    return x * x if x[0] > -2 else -x


MIXED = [[1.0, 2.0], [-1.0, -2.0], [3.0, -1.0], [-3.0, 0.5]]


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (collatz, [ft.arange(1, 20)]),
        (branch, [ft.tensor(MIXED)]),
        (ft.grad(lambda x: branch(x).sum()), [ft.tensor(MIXED)]),
        (ft.hessian(lambda x: branch(x).sum()), [ft.tensor(MIXED)]),
        (lambda x, n: x[: int(n)].sum(), [ft.ones(3, 4), ft.tensor([1, 4, 2])]),
        (lambda x: x[x > 0].sum(), [ft.tensor(MIXED)]),
        (ft.grad(lambda x: (x[x > 0] ** 2).sum()), [ft.tensor(MIXED)]),
        (lambda x: x.nonzero().sum(), [ft.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])]),
        (lambda x: ft.where(x > x.mean().item(), x, 0), [ft.tensor(MIXED)]),
    ],
)
def test_python_control_flow(f, args):
    assert_close(ft.vmap(f)(*args), lanes(f, *args))
    assert_close(ft.vmap(f, chunk_size=2)(*args), lanes(f, *args))
    nested = [ft.stack([a, a.flip(0)]) for a in args]
    assert_close(ft.vmap(ft.vmap(f))(*nested), lanes(lambda *a: lanes(f, *a), *nested))


def test_control_flow_under_grad():
    x = ft.tensor(MIXED)
    assert_close(
        ft.grad(lambda x: ft.vmap(branch)(x).sum())(x), ft.grad(lambda x: lanes(branch, x).sum())(x)
    )


def test_control_flow_is_bounded():
    with pytest.raises(ft.TraceError, match="at most max_paths=3"):
        ft.vmap(lambda n: n * int(n), max_paths=3)(ft.arange(5))
    with pytest.raises(ft.TraceError, match="one shape from all lanes"):
        ft.vmap(lambda n: ft.zeros(int(n)))(ft.arange(3))
    with pytest.raises(ft.ShapeError, match="one element a lane"):
        ft.vmap(lambda x: x if x > 0 else -x)(ft.tensor(MIXED))


def test_an_exception_names_its_lanes():
    def f(x):
        if x > 3:
            if x > 5:
                raise ValueError("too large")
            return x
        return -x

    def notes(call):
        with pytest.raises(ValueError, match="too large") as caught:
            call()
        return getattr(caught.value, "__notes__", [str(caught.value)])

    xs = ft.arange(8.0)
    assert notes(lambda: ft.vmap(f)(xs)) == ["in lanes 6, 7 of vmap"]
    assert notes(lambda: ft.vmap(f, chunk_size=3)(xs)) == ["in lanes 6, 7 of vmap"]
    assert notes(lambda: ft.vmap(ft.grad(f))(xs)) == ["in lanes 6, 7 of vmap"]
    assert notes(lambda: ft.vmap(ft.vmap(f))(xs.reshape(2, 4))) == [
        "in lanes 2, 3 of vmap",
        "in lane 1 of vmap",
    ]
    many = notes(lambda: ft.vmap(f)(ft.arange(20.0)))
    assert many == ["in lanes 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ..., 19 of vmap"]


# ---- random numbers ----


@pytest.mark.parametrize("options", [{}, {"chunk_size": 2}])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + ft.rand(3) + ft.randn(2).sum(),
        ft.grad(lambda x: (x * ft.bernoulli(ft.full((3,), 0.5))).square().sum()),
        lambda x: ft.vmap(lambda y: y + ft.rand(1) * ft.randint(0, 9, (1,)))(x.reshape(3, 1)),
        lambda x: x[ft.randperm(3)],
        lambda x: ft.vmap(lambda y: y[ft.randperm(3)])(x.expand(4, 3)) * ft.rand(1),
    ],
)
def test_lanes_draw_as_a_loop_does(f, options):
    x = ft.randn(5, 3)
    ft.manual_seed(7)
    loop, after = lanes(f, x), ft.rand(2)
    for mapped in (ft.vmap(f, **options), ft.compile(ft.vmap(f, **options))):
        ft.manual_seed(7)
        assert_close(mapped(x), loop)
        assert_close(ft.rand(2), after)


# ---- memory ----


def test_automatic_chunks_keep_to_a_budget(monkeypatch):
    from functorch_like.staging import budget

    x, w = ft.randn(64, 50), ft.randn(50, 200)
    f = ft.grad(lambda row: ((row @ w).tanh() @ w.T).sum())
    expected, peaks = ft.vmap(f)(x), []
    for free in (1 << 40, 400_000, 100_000):
        monkeypatch.setattr(budget, "free_bytes", lambda free=free: free)
        base = ft.memory_allocated()
        ft.reset_peak_memory()
        result = ft.vmap(f, chunk_size="auto")(x)
        peaks.append(ft.max_memory_allocated() - base)
        assert_close(result, expected, 1e-3, 1e-3)
    assert peaks[0] > peaks[1] > peaks[2]
    assert peaks[2] < 50_000
    g = ft.hessian(lambda x: (x**3).sum(), chunk_size="auto")
    assert_close(g(x[0]), (6 * x[0]).diag())
    with pytest.raises(ValueError, match='at least 1, or "auto"'):
        ft.vmap(f, chunk_size="all")(x)


def test_a_leaf_of_its_own_inside_grad():
    def f(x):
        y = x.detach().requires_grad_()
        (y * y).sum().backward()
        return (y.grad * x).sum()

    assert_close(ft.grad(f)(ft.ones(3)), ft.full((3,), 2.0))
    assert_close(ft.vmap(ft.grad(f))(ft.ones(2, 3)), ft.full((2, 3), 2.0))


def test_convolutions_of_no_lanes():
    x, w = ft.zeros(0, 2, 3, 8, 8), ft.zeros(0, 4, 3, 3, 3)
    images, kernel = ft.ones(2, 3, 8, 8), ft.ones(4, 3, 3, 3)

    def energy(x, w):
        return (ft.conv2d(x, w) ** 2).sum()

    assert ft.vmap(ft.conv2d, (0, None))(x, kernel).shape == (0, 2, 4, 6, 6)
    assert ft.vmap(ft.conv2d, (None, 0))(images, w).shape == (0, 2, 4, 6, 6)
    assert ft.vmap(ft.conv2d)(x, w).shape == (0, 2, 4, 6, 6)
    for gx, gw in (
        ft.vmap(ft.grad(energy, (0, 1)), (0, None))(x, kernel),
        ft.vmap(ft.grad(energy, (0, 1)), (None, 0))(images, w),
        ft.vmap(ft.grad(energy, (0, 1)))(x, w),
    ):
        assert gx.shape == x.shape and gw.shape == w.shape
    assert ft.vmap(lambda x: x + ft.rand(3))(ft.zeros(0, 3)).shape == (0, 3)


def test_out_dims_of_one_tensor_may_be_a_tuple_of_one():
    x = ft.arange(6.0).reshape(2, 3)
    assert ft.vmap(lambda x: x * 2, out_dims=(1,))(x).shape == (3, 2)
    assert ft.vmap(lambda x: x * 2, out_dims=(1,), chunk_size=1)(x).shape == (3, 2)
    for out_dims, kind in (((0, 0), ValueError), ("a", TypeError), (5, ValueError)):
        with pytest.raises(kind, match="out_dims"):
            ft.vmap(lambda x: x * 2, out_dims=out_dims)(x)
    with pytest.raises(ValueError, match="None in in_dims"):
        ft.vmap(lambda x: x)(ft.ones(()))
