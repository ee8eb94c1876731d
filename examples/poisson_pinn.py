"""Solve a differential equation with a network: -laplacian(u) = f inside a square, u = 0 around it.

The Laplacian comes from collapsed Taylor mode in one forward pass, and the training gradient goes
back through it. The true solution is known, so the error is too.
"""

import math
import time

from datasets import arguments

import functorch_like as ft
import nn


def true_solution(points):
    """sin(pi x) sin(2 pi y) / 5 at points [n, 2]."""
    x, y = points.unbind(-1)
    return ft.sin(math.pi * x) * ft.sin(2 * math.pi * y) / 5


def source(points):
    """-laplacian of the true solution."""
    return 5 * math.pi**2 * true_solution(points)


def main():
    args = arguments(__doc__, data=False)
    width = 24 if args.quick else 48
    net = nn.Sequential(
        nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    )
    params = {name: p.detach() for name, p in net.named_parameters()}

    def u(params, point):
        """The solution at one point [2]; zero on the border by construction."""
        inside = 4 * (point * (1 - point)).prod()
        return inside * nn.functional_call(net, params, 2 * point - 1)[0]

    def laplacian(params, point):
        return ft.laplacian(lambda p: u(params, p))(point)

    # Taylor mode, the Hessian's trace and finite differences agree
    point = ft.tensor([0.3, 0.6], dtype=ft.float64)
    precise = {k: p.double() for k, p in params.items()}
    exact = laplacian(precise, point)
    trace = ft.hessian(u, argnums=1)(precise, point).trace()
    h = 1e-4 * ft.eye(2, dtype=ft.float64)
    around = sum(u(precise, point + d) + u(precise, point - d) for d in h)
    assert abs(exact - trace) < 1e-10 * abs(exact)
    assert abs(exact - (around - 4 * u(precise, point)) / 1e-8) < 1e-4 * abs(exact)

    def loss(params, points):
        found = ft.vmap(laplacian, in_dims=(None, 0))(params, points)
        return ((found + source(points)) ** 2).mean()

    init, update = nn.optim.Adam.pure(lr=3e-3)
    state = init(params)

    @ft.compile
    def step(params, state, points, scale):
        grads, value = ft.grad_and_value(loss)(params, points)
        updates, state = update(grads, state, params)
        updates = {k: scale * change for k, change in updates.items()}
        return nn.optim.apply_updates(params, updates), state, value

    steps = 250 if args.quick else 3000
    start = time.perf_counter()
    for i in range(steps):
        scale = ft.tensor(0.5 + 0.5 * math.cos(math.pi * i / steps))
        params, state, value = step(params, state, ft.rand(256, 2), scale)
        if (i + 1) % (steps // 5) == 0:
            print(f"step {i + 1:4d}   mean squared residual {value.item():.2e}", flush=True)
    seconds = time.perf_counter() - start

    line = (ft.arange(50) + 0.5) / 50
    grid = ft.stack(ft.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    found, true = ft.vmap(u, in_dims=(None, 0))(params, grid), true_solution(grid)
    error = ((found - true).norm() / true.norm()).item()
    print(f"{1e3 * seconds / steps:.1f} ms a step; relative error of the solution {error:.2%}")
    goal = 0.5 if args.quick else 0.01
    assert error < goal, f"expected an error under {goal:.0%}, got {error:.2%}"


if __name__ == "__main__":
    main()
