"""linearize, linear_transpose, jacobian, hvp, vhp, ggnvp, divergence, laplacian and jet: against
Jacobians and nested derivatives, and in nestings."""

import itertools

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.transforms import derivatives as d
from functorch_like.transforms.collapsed import second_derivatives
from functorch_like.transforms.jet import jet

D = ft.float64


@pytest.fixture
def w():
    return ft.randn(4, 4, dtype=D) * 0.4


@pytest.fixture
def x():
    return ft.randn(4, dtype=D)


@pytest.fixture
def v():
    return ft.randn(4, dtype=D)


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def test_linearize_repeats_only_what_depends_on_the_tangent(w, x, v):
    calls = []

    def f(x):
        calls.append(1)
        return (w @ x).tanh() * x.exp().sum()

    y, push = d.linearize(f, x)
    assert len(calls) == 1
    close(y, f(x))
    for t in (x, v, v * 0):
        close(push(t), ft.jvp(f, (x,), (t,))[1])
    assert len(calls) == 5
    close(ft.vmap(push, out_dims=-1)(ft.eye(4, dtype=D)), ft.jacrev(f)(x))
    close(ft.jacrev(push)(v), ft.jacrev(f)(x))
    close(ft.linearize(push, x)[1](v), push(v))


def test_linearize_under_other_transforms(w, x, v):
    def f(x):
        return (w @ x).sin() / (1 + x * x)

    def of_linearized(x):
        return d.linearize(f, x)[1](v).sum()

    def of_jvp(x):
        return ft.jvp(f, (x,), (v,))[1].sum()

    for outer in (ft.grad, ft.hessian, lambda g: ft.vmap(ft.grad(g)), ft.jacfwd):
        at = ft.stack([x, v]) if "lambda" in getattr(outer, "__name__", "") else x
        close(outer(of_linearized)(at), outer(of_jvp)(at))


def test_linearize_trees_and_constants(x):
    y, push = d.linearize(lambda a, b: {"s": a["u"] + b, "c": ft.ones(2)}, {"u": x}, x * 2)
    close(y["s"], x * 3)
    out = push({"u": x}, x)
    close(out["s"], 2 * x)
    assert not out["c"].any()
    with pytest.raises(ft.ShapeError, match=r"linearize: expected a tangent of shape \[4\]"):
        push({"u": x}, x[:2])
    with pytest.raises(ValueError, match="linearize: expected tangents"):
        push(x)


def test_linear_transpose(w, x):
    transposed = d.linear_transpose(lambda a, b: w @ a + 2 * b, x, x)
    a, b = transposed(x)
    close(a, w.T @ x)
    close(b, 2 * x)
    close(ft.jacrev(lambda ct: transposed(ct)[0])(x), w.T)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
def test_jacobian_picks_the_mode(rows, x):
    m = ft.randn(rows, 4, dtype=D)
    seen = []

    def f(x):
        seen.append(type(x._m).__name__ if x._m is not None else "plain")
        return (m @ x).tanh()

    close(d.jacobian(f)(x), ft.jacrev(f)(x))
    assert seen[1] == ("VjpValue" if rows <= 4 else "JvpValue")


def test_products_with_the_hessian(w, x, v):
    def f(a, b):
        return ((w @ a).tanh() * b).sum() ** 2

    h = ft.hessian(f, (0, 1))(x, v)
    t = (v, x * 2)
    want = [sum(h[i][j] @ t[j] for j in range(2)) for i in range(2)]
    for product in (d.hvp, d.vhp):
        for got, expected in zip(product(f, (x, v), t), want, strict=True):
            close(got, expected)
        close(product(f, (x, v), t[0], argnums=0), h[0][0] @ t[0])
        close(product(f, (x, v), (t[1],), argnums=(1,))[0], h[1][1] @ t[1])
    many = ft.vmap(lambda t: d.hvp(f, (x, v), t, argnums=0))(ft.eye(4, dtype=D))
    close(many, h[0][0])
    close(
        ft.grad(lambda x: d.hvp(f, (x, v), v, argnums=0).sum())(x),
        ft.grad(lambda x: (ft.hessian(f)(x, v) @ v).sum())(x),
    )


def test_gauss_newton(w, x, v):
    def model(x):
        return (w @ x).tanh()

    def loss(y):
        return (y**4).sum()

    j = ft.jacrev(model)(x)
    h = ft.hessian(loss)(model(x))
    close(d.ggnvp(model, loss, (x,), (v,))[0], j.T @ h @ j @ v)


def test_bad_arguments(x):
    with pytest.raises(TypeError, match="hvp: expected a tuple of primals, got Tensor"):
        d.hvp(lambda x: x.sum(), x, x)
    with pytest.raises(TypeError, match="ggnvp: expected tuples"):
        d.ggnvp(lambda x: x, lambda y: y.sum(), x, x)
    with pytest.raises(ft.ShapeError, match="divergence: expected a field"):
        d.divergence(lambda x: x.sum())(x)
    with pytest.raises(ValueError, match="laplacian: expected method"):
        d.laplacian(lambda x: x.sum(), method="guess")
    with pytest.raises(ValueError, match="jet: expected series of one length"):
        jet(lambda x, y: x * y, (x, x), ([x], [x, x]))
    with pytest.raises(ValueError, match="an order of at least 0"):
        d.directional_derivative(lambda x: x, x, x, order=-1)


FUNCTIONS = {
    "cube": lambda x: x**3 * 2,
    "tanh of a product": lambda x: (x.outer(x) @ x).tanh(),
    "roots": lambda x: (((x * x + 1).sqrt()) * x.cos()).sigmoid(),
    "softmax": lambda x: x.softmax(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "layer norm": lambda x: ft.layer_norm(x, (4,)),
    "gelu": lambda x: ft.gelu(x),
    "log": lambda x: (x * x + 0.5).log(),
    "div": lambda x: 1 / (x * x + 1) + x / (3 + x) + x / 3,
    "cat": lambda x: ft.cat([x, x * x]).cumsum(0)[1:5],
    "prod": lambda x: x.prod(),
    "atan2": lambda x: ft.atan2(x, x * x + 1),
    "norm": lambda x: x.norm(),
    "max": lambda x: x.max(0).values * x,
    "where": lambda x: ft.where(x > 0, x * x, x.sin()),
    "in place": lambda x: (x * 2).mul_(x),
    "linear": lambda x: ft.linear(x, ft.ones(3, 4, dtype=D), x[:3]),
    "constant": lambda x: ft.ones(2, dtype=D),
    "exp": lambda x: x.exp() * x.sin(),
    "branch": lambda x: x * x if x.sum() > 0 else x**3,
}


def along(f, v):
    return lambda x: ft.jvp(f, (x,), (v,))[1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_taylor_series(name, x, v):
    f = FUNCTIONS[name]
    value, series = jet(f, (x,), ([v, v * 0, v * 0, v * 0],))
    close(value, f(x))
    g = f
    for order, term in enumerate(series, 1):
        g = along(g, v)
        close(term, g(x), 1e-8)
        close(d.directional_derivative(f, x, v, order), term)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_taylor_series_of_a_bent_curve(name, x, v):
    f, bend = FUNCTIONS[name], v.flip(0)

    def curve(t):
        return f(x + v * t + bend * t * t / 2)

    one, zero = ft.tensor(1.0, dtype=D), ft.tensor(0.0, dtype=D)
    _, series = jet(f, (x,), ([v, bend, v * 0],))
    g = curve
    for term in series:
        g = along(g, one)
        close(term, g(zero), 1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_laplacian_is_the_trace_of_the_hessian(name, x):
    f = FUNCTIONS[name]
    h = ft.jacfwd(ft.jacfwd(f))(x)
    close(d.laplacian(f)(x), h.diagonal(dim1=-2, dim2=-1).sum(-1), 1e-8)
    value, first, _ = second_derivatives(f, x, ft.eye(4, dtype=D))
    close(value, f(x))
    close(first.movedim(0, -1), ft.jacfwd(f)(x), 1e-8)


@pytest.mark.parametrize(
    "chain", list(itertools.product(["grad", "vmap", "jvp", "jet", "laplacian"], repeat=2))
)
def test_nestings_of_taylor_modes(chain, x, v):
    """Each derivative is written twice; both go through the same nesting."""

    def pair(name, f, g):
        if name == "grad":
            return tuple([lambda x, f=f: ft.grad(lambda x: f(x).sum())(x) for f in (f, g)])
        if name == "vmap":
            return tuple([lambda x, f=f: ft.vmap(f)(ft.stack([x, x * 2])).sum(0) for f in (f, g)])
        if name == "jvp":
            return along(f, v), along(g, v)
        if name == "jet":
            return (lambda x: jet(f, (x,), ([v, v * 0],))[1][1]), along(along(g, v), v)
        return d.laplacian(
            f
        ), lambda x: ft.jacfwd(ft.jacfwd(g))(x).diagonal(dim1=-2, dim2=-1).sum(-1)

    f = g = FUNCTIONS["roots"]
    for name in chain:
        f, g = pair(name, f, g)
    close(f(x), g(x), 1e-8)


def test_jet_of_trees(x):
    value, (first,) = jet(
        lambda a, b: {"p": a["u"] * b, "q": b}, ({"u": x}, x), ([{"u": x}], [x * 0])
    )
    close(value["p"], x * x)
    close(first["p"], x * x)
    assert not first["q"].any()


def test_estimates_have_the_right_mean():
    f = lambda x: (x**3).sum()  # noqa: E731
    x = ft.rand(5, dtype=D)
    exact = d.laplacian(f)(x)
    # the Hessian is diagonal: signs give its trace without variance
    close(d.laplacian(f, method="hutchinson", samples=3)(x), exact)
    close(d.divergence(lambda x: x**2, method="hutchinson")(x), 2 * x.sum())


def test_numbers_do_not_cost_precision(x):
    """A number beside a float64 tensor counts as float64 in the derivatives too."""
    one = ft.tensor(1.0, dtype=D)
    for f, slope in [
        (lambda x: x / 3, 1 / 3),
        (lambda x: 2**x, 2 * np.log(2)),
        (lambda x: ft.xlogy(x, 3), np.log(3)),
    ]:
        assert abs(float(ft.grad(f)(one)) - slope) < 1e-15
        assert abs(float(ft.jvp(f, (one,), (one,))[1]) - slope) < 1e-15


def test_an_exception_leaves_nothing_behind(x):
    from functorch_like.trace import active, state

    def fails(x):
        raise KeyError("inside")

    for run in (
        lambda: d.linearize(fails, x),
        lambda: jet(fails, (x,), ([x],)),
        lambda: d.laplacian(fails)(x),
        lambda: d.hvp(fails, (x,), (x,)),
    ):
        with pytest.raises(KeyError):
            run()
        assert state.trace is None and not active


def test_argnums_name_each_argument_once():
    f = lambda a, b: (a * b).sum()  # noqa: E731
    x = ft.ones(2)
    for transform in (ft.grad, ft.jacrev, ft.jacfwd, ft.hessian):
        for argnums, kind in (((0, 0), ValueError), ((0, -2), ValueError), ((), ValueError),
                              ("a", TypeError), (None, TypeError)):  # fmt: skip
            with pytest.raises(kind, match="argnums"):
                transform(f, argnums)(x, x)


@pytest.mark.parametrize(
    ("primals", "tangents"),
    [
        (((1.0, 2.0), 3.0), ((1.0, 2.0, 3.0),)),
        (((1.0, 2.0), 3.0), (1.0, (2.0, 3.0))),
        (({"a": 1.0},), ({"b": 1.0},)),
    ],
)
def test_structures_have_to_match(primals, tangents):
    primals, tangents = (ft.tree.map(ft.tensor, t) for t in (primals, tangents))

    def first(*args):
        return ft.tree.leaves(args)[0]

    with pytest.raises(ValueError, match="jvp: expected tangents of the primals' structure"):
        ft.jvp(first, primals, tangents)
    with pytest.raises(ValueError, match="linearize: expected tangents of the primals' struct"):
        ft.linearize(first, *primals)[1](*tangents)
    with pytest.raises(ValueError, match="vjp: expected a cotangent of the value's structure"):
        ft.vjp(lambda: primals)[1](tangents)
