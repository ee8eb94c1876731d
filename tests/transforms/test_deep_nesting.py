"""All transforms in random orders to depth 4, over programs that use checkpoint, custom rules and
control flow; each equals the same nesting over the plain program."""

import random

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state

D = ft.float64

sine = ft.custom_jvp(lambda x: x.sin())
sine.defjvp(lambda p, t: (sine(p[0]), t[0] * p[0].cos()))
product = ft.custom_vjp(lambda x, y: x * y)
product.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, ct: (ct * saved[1], ct * saved[0]))


def branching(x):
    def f(x):
        return ft.cond(x > 0, lambda x: product(sine(x), x), lambda x: x**3, x)

    return ft.checkpoint(f)(x) * x.exp()


def branching_plainly(x):
    return ft.where(x > 0, x.sin() * x, x**3) * x.exp()


def looping(x):
    def step(c, a):
        return product(sine(c), a) + x, c * a

    c, ys = ft.scan(step, x, ft.stack([x, x * x, x + 1]), checkpoint=2)
    return c + ft.fori_loop(0, 2, lambda i, y: y * x, ys.sum())


def looping_plainly(x):
    c, total = x, 0.0
    for a in (x, x * x, x + 1):
        c, total = c.sin() * a + x, total + c * a
    return c + total * x * x


def one(x):
    return x * 0 + 1


def by_tape(f):
    def derivative(x):
        p = (x * 1).requires_grad_()
        return ft.autograd.grad(f(p), p, create_graph=True, materialize_grads=True)[0]

    return derivative


TRANSFORMS = {
    "grad": ft.grad,
    "vjp": lambda f: lambda x: (lambda y, back: back(one(y))[0])(*ft.vjp(f, x)),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (one(x),))[1],
    "jet": lambda f: lambda x: ft.jet(f, (x,), ([one(x)],))[1][0],
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](one(x)),
    "jacrev": ft.jacrev,
    "jacfwd": ft.jacfwd,
    "jacobian": ft.jacobian,
    "hessian": ft.hessian,
    "hvp": lambda f: lambda x: ft.hvp(f, (x,), (one(x),))[0],
    "laplacian": ft.laplacian,
    "divergence": ft.divergence,
    "vmap": lambda f: lambda x: ft.vmap(f)(ft.stack([x, x - 2, x * 2])).sum(),
    "checkpoint": ft.checkpoint,
    "tape": by_tape,
}
CHAINS = [random.Random(i).choices(list(TRANSFORMS), k=4) for i in range(30)]


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_depth_4(chain):
    x = ft.tensor(0.8, dtype=D)
    for f, g in ((branching, branching_plainly), (looping, looping_plainly)):
        for name in chain:
            f, g = TRANSFORMS[name](f), TRANSFORMS[name](g)
        np.testing.assert_allclose(float(f(x)), float(g(x)), rtol=1e-8, atol=1e-8)
        assert state.trace is None and not active and state.grad
