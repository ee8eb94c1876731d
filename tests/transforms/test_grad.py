"""grad, value_and_grad, vjp, jvp: arguments, results, pytrees, errors."""

from collections import namedtuple

import numpy as np
import pytest

import functorch_like as ft

Pair = namedtuple("Pair", "a b")


def t(*values):
    return ft.tensor(list(values), dtype=ft.float64)


def close(x, expected):
    np.testing.assert_allclose(x.numpy(), np.asarray(expected), rtol=1e-7, atol=1e-9)


# ---- grad ----


def test_argnums():
    def f(x, y, z):
        return (x * y**2 * z**3).sum()

    args = t(2.0), t(3.0), t(5.0)
    partials = [9 * 125, 2 * 2 * 3 * 125, 2 * 9 * 3 * 25]
    for i in range(3):
        close(ft.grad(f, i)(*args), [partials[i]])
        close(ft.grad(f, i - 3)(*args), [partials[i]])
        close(ft.grad(f, argnums=i)(*args), [partials[i]])
    g = ft.grad(f, (2, 0))(*args)
    assert isinstance(g, tuple) and len(g) == 2
    close(g[0], [partials[2]])
    close(g[1], [partials[0]])
    (g,) = ft.grad(f, (-1,))(*args)
    close(g, [partials[2]])
    for bad in (3, -4, (0, 5)):
        with pytest.raises(ValueError, match="argnums"):
            ft.grad(f, bad)(*args)


def test_the_same_argument_twice():
    x = t(2.0)
    close(ft.grad(lambda a, b: (a * b).sum())(x, x), [2])


def test_keyword_arguments_are_passed_on():
    close(ft.grad(lambda x, *, power=1: (x**power).sum())(t(2.0), power=3), [12])


def test_other_arguments_may_be_anything():
    def f(x, n, name, flags):
        return (x**n).sum() if name == "sum" and flags["on"] else None

    close(ft.grad(f)(t(2.0), 3, "sum", {"on": True}), [12])


def test_has_aux():
    def f(x):
        y = x * x
        return y.sum(), {"y": y, "n": 3, "s": "text", "none": None}

    g, aux = ft.grad(f, has_aux=True)(t(2.0, 3.0))
    close(g, [4, 6])
    close(aux["y"], [4, 9])
    assert aux["n"] == 3 and aux["s"] == "text" and aux["none"] is None
    assert (aux["y"] + 1).tolist() == [5, 10]  # not a tracer
    (value, aux), g = ft.value_and_grad(f, has_aux=True)(t(2.0, 3.0))
    close(value, 13)
    g, (value, aux) = ft.grad_and_value(f, has_aux=True)(t(2.0, 3.0))
    close(value, 13)
    with pytest.raises(TypeError, match="has_aux"):
        ft.grad(lambda x: x.sum(), has_aux=True)(t(1.0))


def test_value_and_grad():
    value, g = ft.value_and_grad(lambda x: (x**2).sum())(t(1.0, 2.0))
    close(value, 5)
    close(g, [2, 4])
    g, value = ft.grad_and_value(lambda x: (x**2).sum())(t(1.0, 2.0))
    close(value, 5)
    close(g, [2, 4])


def test_pytrees():
    def f(p):
        return (p["w"] * p["layers"][0][1] + p["pair"].a * p["pair"].b).sum()

    p = {"w": t(2.0), "layers": [(t(0.0), t(3.0))], "pair": Pair(t(4.0), t(5.0)), "none": None}
    g = ft.grad(f)(p)
    assert (
        set(g) == set(p)
        and g["none"] is None
        and isinstance(g["pair"], Pair)
        and isinstance(g["layers"], list)
    )
    close(g["w"], [3])
    close(g["layers"][0][0], [0])
    close(g["layers"][0][1], [2])
    close(g["pair"].a, [5])
    assert ft.grad(lambda p, x: x.sum())({}, t(1.0)) == {}
    g = ft.grad(f, (0,))(p)
    close(g[0]["w"], [3])


def test_unused_and_constant():
    g = ft.grad(lambda x, y: (y * 2).sum(), (0, 1))(t(1.0, 2.0), t(3.0))
    close(g[0], [0, 0])
    close(g[1], [2])
    close(ft.grad(lambda x: ft.tensor(3.0))(t(1.0)), [0])
    close(ft.grad(lambda x: x.detach().sum() * 2)(t(1.0)), [0])
    close(ft.grad(lambda x: (x > 0).double().sum())(t(1.0)), [0])


def test_identity_and_floats():
    assert ft.grad(lambda x: x)(ft.tensor(3.0)).item() == 1
    assert ft.grad(lambda x: x**2)(3.0).item() == 6
    g = ft.grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": ft.tensor(3.0)})
    assert g["a"].item() == 3


def test_dtype_of_gradients():
    for dtype in (ft.float16, ft.bfloat16, ft.float32, ft.float64):
        x = ft.ones(2, dtype=dtype)
        assert ft.grad(lambda x: (x * ft.ones(2, dtype=ft.float64)).sum())(x).dtype is dtype


def test_complex_inputs():
    z = ft.tensor([1 + 2j])
    assert ft.grad(lambda z: (z * z.conj()).real.sum())(z).tolist() == [2 + 4j]
    with pytest.raises(ft.DTypeError, match="real"):
        ft.grad(lambda z: z.sum())(z)


@pytest.mark.parametrize(
    ("f", "x", "error", "text"),
    [
        (lambda x: x * 2, t(1.0, 2.0), ft.ShapeError, "scalar"),
        (lambda x: x.reshape(1), ft.tensor(1.0), ft.ShapeError, r"\[1\]"),
        (lambda x: 3.0, t(1.0), ft.GradError, "float"),
        (lambda x: None, t(1.0), ft.GradError, "NoneType"),
        (lambda x: (x.sum(), x), t(1.0), ft.GradError, "has_aux"),
        (lambda x: x.sum().long(), t(1.0), ft.DTypeError, "floating"),
        (lambda x: x.sum(), ft.tensor([1]), ft.DTypeError, "floating"),
        (lambda x: x.sum(), ft.tensor([True]), ft.DTypeError, "floating"),
        (lambda x: x, "text", TypeError, "tensors"),
        (lambda x: x, 3, TypeError, "tensors"),
    ],
)
def test_errors(f, x, error, text):
    with pytest.raises(error, match=text):
        ft.grad(f)(x)
    assert ft.grad(lambda x: (x * x).sum())(t(3.0)).item() == 6  # and all goes on


def test_metadata_of_the_function_is_kept():
    def loss(x):
        """Mine."""

    for transform in (ft.grad, ft.value_and_grad, ft.vmap, ft.jacrev, ft.jacfwd, ft.hessian):
        assert transform(loss).__name__ == "loss" and transform(loss).__doc__ == "Mine."
    assert (
        ft.grad(type("Callable", (), {"__call__": lambda self, x: x.sum()})())(t(1.0)).item() == 1
    )


# ---- vjp ----


def test_vjp():
    y, back = ft.vjp(lambda x: x * x, t(1.0, 3.0))
    close(y, [1, 9])
    close(*back(t(1.0, 1.0)), [2, 6])
    close(*back(t(0.0, 2.0)), [0, 12])  # again and again
    y, back = ft.vjp(lambda x, y: x * y, t(2.0), t(3.0))
    gx, gy = back(t(1.0))
    close(gx, [3])
    close(gy, [2])


def test_vjp_of_pytrees():
    _, back = ft.vjp(
        lambda p: {"s": p["a"] + p["b"][0], "m": [p["a"] * 2]}, {"a": t(1.0), "b": (t(2.0),)}
    )
    (g,) = back({"s": t(1.0), "m": [t(10.0)]})
    close(g["a"], [21])
    close(g["b"][0], [1])
    with pytest.raises(ValueError, match="structure"):
        back({"s": t(1.0)})
    with pytest.raises(ft.ShapeError, match=r"\[1\]"):
        back({"s": t(1.0, 2.0), "m": [t(1.0)]})
    _, back, aux = ft.vjp(lambda x: (x * 2, x), t(1.0), has_aux=True)
    close(aux, [1])


def test_vjp_of_unused_and_constant():
    _, back = ft.vjp(lambda x, y: (y, ft.ones(2)), t(1.0), t(2.0))
    gx, gy = back((t(5.0), ft.ones(2)))
    close(gx, [0])
    close(gy, [5])


def test_tangents_and_cotangents_are_cast():
    _, back = ft.vjp(lambda x: x, t(1.0))
    assert back(ft.ones(1))[0].dtype is ft.float64
    _, d = ft.jvp(lambda x: x, (ft.ones(1),), (t(1.0),))
    assert d.dtype is ft.float32
    assert ft.jvp(lambda x: x**2, (ft.tensor(3.0),), (1.0,))[1].item() == 6


def test_vjp_errors():
    with pytest.raises(TypeError, match="tensors"):
        ft.vjp(lambda x: "text", t(1.0))
    with pytest.raises(ft.DTypeError):
        ft.vjp(lambda x: x, ft.tensor([1]))
    _, back = ft.vjp(lambda x: x, t(1.0))
    with pytest.raises(TypeError):
        back(3)


def test_vjp_function_inside_other_transforms():
    _, back = ft.vjp(lambda x: x**3, t(2.0, 3.0))
    close(*ft.vmap(back)(ft.eye(2, dtype=ft.float64)), [[12, 0], [0, 27]])
    close(ft.grad(lambda ct: (back(ct)[0] ** 2).sum())(t(1.0, 1.0)), [2 * 12 * 12, 2 * 27 * 27])


# ---- jvp ----


def test_jvp():
    y, d = ft.jvp(lambda x: x**3, (t(2.0),), (t(1.0),))
    close(y, [8])
    close(d, [12])
    y, d = ft.jvp(lambda x, y: (x * y, x + y), (t(2.0), t(3.0)), (t(1.0), t(10.0)))
    close(d[0], [23])
    close(d[1], [11])
    y, d, aux = ft.jvp(lambda x: (x * 2, x * 3), (t(1.0),), (t(1.0),), has_aux=True)
    close(d, [2])
    close(aux, [3])


def test_jvp_of_pytrees():
    _, d = ft.jvp(
        lambda p: {"r": p["a"] * p["b"]},
        ({"a": t(2.0), "b": t(3.0)},),
        ({"a": t(1.0), "b": t(0.0)},),
    )
    close(d["r"], [3])


def test_jvp_of_constants():
    y, d = ft.jvp(lambda x: (x * 2, ft.ones(3)), (t(1.0),), (t(1.0),))
    close(d[1], [0, 0, 0])
    y, d = ft.jvp(lambda x: x > 0, (t(1.0),), (t(1.0),))
    assert y.tolist() == [True]


def test_jvp_errors():
    f = lambda x: x  # noqa: E731
    for primals, tangents, error in (
        ((t(1.0),), (t(1.0, 2.0),), ft.ShapeError),
        ((t(1.0),), (), ValueError),
        ((t(1.0),), (t(1.0), t(1.0)), ValueError),
        (t(1.0), t(1.0), TypeError),
        ((ft.tensor([1]),), (ft.tensor([1]),), ft.DTypeError),
        ((t(1.0),), (ft.tensor([1j]),), ft.DTypeError),
        ((t(1.0),), (3,), TypeError),
    ):
        with pytest.raises(error):
            ft.jvp(f, primals, tangents)


# ---- Jacobians ----


def test_jacobians_of_one_argument():
    def f(x):
        return ft.stack([x[0] * x[1], x[0] ** 2, x[1]])

    for jac in (ft.jacrev, ft.jacfwd):
        close(jac(f)(t(2.0, 3.0)), [[3, 2], [4, 0], [0, 1]])
        assert jac(lambda x: x.sum())(ft.ones(2, 3)).shape == (2, 3)
        assert jac(lambda x: x.expand(4, 2, 3))(ft.ones(2, 3)).shape == (4, 2, 3, 2, 3)
        assert jac(lambda x: x)(ft.tensor(1.0)).shape == ()
        assert jac(lambda x: x.reshape(0))(ft.ones(0)).shape == (0, 0)


def test_jacobians_of_several_arguments_and_results():
    def f(x, y):
        return {"p": x * y, "s": (x.sum(), y)}

    x, y = t(2.0, 3.0), t(5.0, 7.0)
    for jac in (ft.jacrev, ft.jacfwd):
        j = jac(f, (0, 1))(x, y)
        close(j["p"][0], np.diag([5, 7]))
        close(j["p"][1], np.diag([2, 3]))
        close(j["s"][0][0], [1, 1])
        close(j["s"][0][1], [0, 0])
        close(j["s"][1][1], np.eye(2))
        j = jac(f, 1)(x, y)
        close(j["p"], np.diag([2, 3]))
        j = jac(f, (1,))(x, y)
        assert isinstance(j["p"], tuple)
        close(j["p"][0], np.diag([2, 3]))
        j = jac(lambda p: p["a"] * p["b"])({"a": x, "b": y})
        close(j["a"], np.diag([5, 7]))
        close(j["b"], np.diag([2, 3]))


def test_jacobians_with_aux_and_chunks():
    def f(x):
        return x**2, x + 1

    for jac in (ft.jacrev, ft.jacfwd):
        j, aux = jac(f, has_aux=True)(t(1.0, 2.0, 3.0))
        close(j, np.diag([2, 4, 6]))
        close(aux, [2, 3, 4])
        for chunk in (1, 2, 3, 10):
            close(jac(lambda x: x**2, chunk_size=chunk)(t(1.0, 2.0, 3.0)), np.diag([2, 4, 6]))


def test_hessian():
    close(ft.hessian(lambda x: x[0] ** 2 * x[1])(t(2.0, 3.0)), [[6, 4], [4, 0]])
    h = ft.hessian(lambda x, y: (x * y**2).sum(), (0, 1))(t(2.0), t(3.0))
    close(h[0][0], [[0]])
    close(h[0][1], [[6]])
    close(h[1][0], [[6]])
    close(h[1][1], [[4]])
    h = ft.hessian(lambda p: (p["a"] * p["b"]).sum())({"a": t(2.0), "b": t(3.0)})
    close(h["a"]["b"], [[1]])
    assert ft.hessian(lambda x: x.sum())(ft.ones(2, 3)).shape == (2, 3, 2, 3)


def test_jacobian_errors():
    for jac in (ft.jacrev, ft.jacfwd, ft.hessian):
        with pytest.raises(ft.DTypeError):
            jac(lambda x: x)(ft.tensor([1]))
        with pytest.raises(ValueError, match="argnums"):
            jac(lambda x: x, 1)(t(1.0))
        with pytest.raises(TypeError):
            jac(lambda x: "text")(t(1.0))


# ---- against torch.func ----


@pytest.mark.slow  # importing torch.func takes seconds
@pytest.mark.torch
def test_as_torch_func():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 4)), rng.standard_normal((4, 4)), rng.standard_normal(4)

    def model(lib):
        def f(x, w, v):
            h = lib.tanh(x @ w)
            h = lib.softmax(h, -1) if lib is torch else h.softmax(-1)
            return (h * v).exp().mean() + (x.cumsum(0) @ v).pow(2).sum() * 0.1

        return f

    ours, theirs = model(ft), model(torch)
    x, w, v = map(ft.tensor, (a, b, c))
    u, z, y = map(torch.tensor, (a, b, c))
    for i in range(3):
        close(ft.grad(ours, i)(x, w, v), torch.func.grad(theirs, i)(u, z, y))
        close(
            ft.jacrev(ft.grad(ours, i), i)(x, w, v),
            torch.func.jacrev(torch.func.grad(theirs, i), i)(u, z, y),
        )
        close(
            ft.jacfwd(ft.grad(ours, i), 2)(x, w, v),
            torch.func.jacrev(torch.func.grad(theirs, i), 2)(u, z, y),
        )
    close(
        ft.vmap(ft.grad(ours, 1), (0, None, None))(x[:, None], w, v),
        torch.func.vmap(torch.func.grad(theirs, 1), (0, None, None))(u[:, None], z, y),
    )
    # forward mode is compared in other ways: importing torch's rules for it takes 15 s
