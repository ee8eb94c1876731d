"""Programs of function transforms as users of torch.func and JAX write them, once for us and torch.

Each is a function of a Framework and a size that gives (function, arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import workloads
from .workloads import Framework

PROGRAMS: dict[str, tuple[Callable[[Framework, int], tuple[Any, tuple[Any, ...]]], int]] = {}


def _program(size: int) -> Callable[[Any], Any]:
    """Adds a program with its usual size."""

    def added(function: Any) -> Any:
        PROGRAMS[function.__name__] = function, size
        return function

    return added


def _net(f: Framework, p: dict[str, Any], x: Any) -> Any:
    """A perceptron with tanh between its layers."""
    count = len(p) // 2
    for i in range(1, count + 1):
        x = f.F.linear(x, p[f"w{i}"], p[f"b{i}"])
        x = x.tanh() if i < count else x
    return x


def _labels(f: Framework, *shape: int) -> Any:
    return f.array(np.random.default_rng(1).integers(0, 10, shape))


def _like(f: Framework, p: dict[str, Any]) -> dict[str, Any]:
    """A direction for parameters."""
    return {k: f.normal(*a.shape, seed=i, scale=0.1) for i, (k, a) in enumerate(p.items())}


def _steps(f: Framework, step: Callable[[Any, Any], Any], start: Any, xs: Any) -> Any:
    """What a loop carries to its end: by scan, where there is one."""
    if f.name == "ours":
        return f.m.scan(lambda c, x: (step(c, x), None), start, xs)[0]
    for x in xs:
        start = step(start, x)
    return start


@_program(64)
def per_sample_lstm(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """Gradients a sample of an LSTM cell of 16 to 32 over 16 steps."""
    F, h = f.F, 32
    names = {"w": (4 * h, 16), "u": (4 * h, h), "b": (4 * h,), "o": (10, h)}
    p = {k: f.normal(*s, seed=i, scale=0.2) for i, (k, s) in enumerate(names.items())}

    def loss(p: Any, x: Any, y: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            gates = F.linear(x, p["w"], p["b"]) + F.linear(carry[0], p["u"])
            i, g, o, c = gates.chunk(4, -1)
            cell = g.sigmoid() * carry[1] + i.sigmoid() * c.tanh()
            return o.sigmoid() * cell.tanh(), cell

        zero = f.m.zeros(1, h) + x[0, 0] * 0.0
        out, _ = _steps(f, step, (zero, zero), x[:, None])
        return F.cross_entropy(F.linear(out, p["o"]), y[None])

    gradients = f.func.vmap(f.func.grad(loss), (None, 0, 0))
    return gradients, (p, f.normal(n, 16, 16), _labels(f, n))


@_program(50)
def ensemble(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """Gradients of n perceptrons 32-64-64-10 on one batch of 32."""
    sizes = {"w1": (64, 32), "b1": (64,), "w2": (64, 64), "b2": (64,), "w3": (10, 64), "b3": (10,)}
    p = {k: f.normal(n, *s, seed=i, scale=0.1) for i, (k, s) in enumerate(sizes.items())}
    gradient = f.func.grad(lambda p, x, y: f.F.cross_entropy(_net(f, p, x), y))
    return f.func.vmap(gradient, (0, None, None)), (p, f.normal(32, 32), _labels(f, 32))


@_program(64)
def gauss_newton(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """J^T H J v of a perceptron 32-128-128-10."""
    func, p = f.func, workloads.mlp_params(f, (32, 128, 128, 10))

    def product(p: Any, v: Any, x: Any, y: Any) -> Any:
        out, back = func.vjp(lambda p: _net(f, p, x), p)
        moved = func.jvp(lambda p: _net(f, p, x), (p,), (v,))[1]
        loss = func.grad(lambda out: f.F.cross_entropy(out, y))
        return back(func.jvp(loss, (out,), (moved,))[1])[0]

    return product, (p, _like(f, p), f.normal(n, 32), _labels(f, n))


@_program(16)
def tangent_kernel(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The neural tangent kernel of n inputs by Jacobians."""
    p = workloads.mlp_params(f, (32, 64, 64, 10))

    def kernel(p: Any, x: Any) -> Any:
        rows = f.func.vmap(f.func.jacrev(lambda p, x: _net(f, p, x)), (None, 0))(p, x)
        flat = f.m.cat([rows[k].flatten(2) for k in sorted(rows)], 2)
        return f.m.einsum("naf,mbf->nmab", flat, flat)

    return kernel, (p, f.normal(n, 32))


@_program(8)
def maml(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The gradient through five inner steps for n tasks of ten points."""
    p = workloads.mlp_params(f, (1, 40, 40, 1))

    def loss(p: Any, x: Any, y: Any) -> Any:
        return (_net(f, p, x) - y).square().mean()

    def adapted(p: Any, x: Any, y: Any) -> Any:
        for _ in range(5):
            g = f.func.grad(loss)(p, x, y)
            p = {k: p[k] - 0.1 * g[k] for k in p}
        return loss(p, x + 0.1, y)

    def whole(p: Any, x: Any, y: Any) -> Any:
        return f.func.vmap(adapted, (None, 0, 0))(p, x, y).mean()

    return f.func.grad(whole), (p, f.normal(n, 10, 1), f.normal(n, 10, 1, seed=1))


@_program(100)
def recurrent(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The gradient through n steps of a plain recurrent layer, batch 16."""
    p = {"w": f.normal(32, 32, scale=0.17), "u": f.normal(32, 8, seed=1, scale=0.3)}

    def loss(p: Any, x: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            return (f.F.linear(h, p["w"]) + f.F.linear(x, p["u"])).tanh()

        return _steps(f, step, f.m.zeros(16, 32), x).square().mean()

    return f.func.grad(loss), (p, f.normal(n, 16, 8))


@_program(256)
def heat_equation(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The gradient of the residual of u_t = 0.1 u_xx at n points."""
    grad, jvp, vmap = f.func.grad, f.func.jvp, f.func.vmap

    def residual(p: Any, z: Any, e: Any) -> Any:
        slope = lambda z: grad(lambda z: _net(f, p, z)[0])(z)  # noqa: E731
        first, second = jvp(slope, (z,), (e,))
        return first[1] - 0.1 * second[0]

    whole = lambda p, z, e: vmap(residual, (None, 0, None))(p, z, e).square().mean()  # noqa: E731
    p = workloads.mlp_params(f, (2, 32, 32, 1))
    return grad(whole), (p, f.normal(n, 2), f.array(np.array([1, 0], np.float32)))


@_program(16384)
def sines(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The gradient of a squared gradient through twenty sines of n numbers."""

    def deep(x: Any) -> Any:
        for _ in range(20):
            x = x.sin() * 1.1 + 0.1
        return x.sum()

    return f.func.grad(lambda x: f.func.grad(deep)(x).square().sum()), (f.normal(n),)


@_program(100)
def leapfrog(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """Ten leapfrog steps of n chains for a logistic regression."""

    def energy(w: Any, x: Any, y: Any) -> Any:
        return -f.F.softplus(-(y * (x @ w))).sum() - 0.5 * (w * w).sum()

    def run(w: Any, r: Any, x: Any, y: Any) -> Any:
        gradient = f.func.vmap(f.func.grad(energy), (0, None, None))
        for _ in range(10):
            r = r + 0.005 * gradient(w, x, y)
            w = w + 0.01 * r
            r = r + 0.005 * gradient(w, x, y)
        return w, r

    data = f.normal(100, 10, seed=2), f.array(np.array([1, -1] * 50, np.float32))
    return run, (f.normal(n, 10), f.normal(n, 10, seed=1), *data)


@_program(32)
def kernel_derivatives(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The mixed second derivatives of a Gaussian kernel between n points and n others."""
    kernel = lambda x, y: (-0.5 * (x - y).square().sum()).exp()  # noqa: E731
    mixed = f.func.jacfwd(f.func.grad(kernel), 1)
    whole = f.func.vmap(f.func.vmap(mixed, (None, 0)), (0, None))
    return whole, (f.normal(n, 5), f.normal(n, 5, seed=1))


@_program(64)
def local_energy(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """The kinetic energy of a wave function of ten coordinates at n points, by Hessians."""

    def log_psi(x: Any, p: Any) -> Any:
        return _net(f, p, x)[0] - 0.5 * (x * x).sum()

    def energy(x: Any, p: Any) -> Any:
        g = f.func.grad(log_psi)(x, p)
        return -0.5 * (f.func.hessian(log_psi)(x, p).diagonal().sum() + (g * g).sum())

    p = workloads.mlp_params(f, (10, 32, 32, 1))
    return f.func.vmap(energy, (0, None)), (f.normal(n, 10), p)


@_program(64)
def batch_jacobians(f: Framework, n: int) -> tuple[Any, tuple[Any, ...]]:
    """Jacobians of a perceptron 16-64-64-16 at n points, forward mode."""
    p = workloads.mlp_params(f, (16, 64, 64, 16))
    jacobian = f.func.jacfwd(lambda x, p: _net(f, p, x))
    return f.func.vmap(jacobian, (0, None)), (f.normal(n, 16), p)


def calls(f: Framework, name: str, size: int | None = None) -> dict[str, Callable[[], Any]]:
    """mode -> call: the program, and the same compiled."""
    made, usual = PROGRAMS[name]
    function, args = made(f, usual if size is None else size)
    compiled = f.m.compile(function)
    return {"eager": lambda: function(*args), "compiled": lambda: compiled(*args)}
