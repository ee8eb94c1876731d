"""Meta-learning: find weights from which a few gradient steps fit any sine wave (MAML).

The outer gradient goes through the inner steps, for many tasks at once: vmap over tasks of a
function that itself calls grad, and grad around all that, compiled as one program.
"""

import math

from datasets import arguments

import functorch_like as ft
import nn
import nn.functional as F

POINTS = 10  # that a task shows
INNER_RATE = 0.02


def tasks(count):
    """(amplitudes, phases) [count, 1, 1]: sine waves to learn."""
    return 0.1 + 4.9 * ft.rand(count, 1, 1), math.pi * ft.rand(count, 1, 1)


def samples(task, points):
    """(x, y) [count, points, 1] of each wave."""
    amplitude, phase = task
    x = 10 * ft.rand(len(amplitude), points, 1) - 5
    return x, amplitude * (x - phase).sin()


def main():
    args = arguments(__doc__, data=False)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    params = {name: p.detach() for name, p in net.named_parameters()}
    start = dict(params)

    def loss(params, x, y):
        return F.mse_loss(nn.functional_call(net, params, x), y)

    def adapted(params, x, y, steps):
        """The weights after a few steps on one task."""
        for _ in range(steps):
            grads = ft.grad(loss)(params, x, y)
            params = {k: p - INNER_RATE * grads[k] for k, p in params.items()}
        return params

    def after(params, x, y, new_x, new_y, steps):
        """One task's loss on new points, after steps on those shown."""
        return loss(adapted(params, x, y, steps), new_x, new_y)

    def outer(params, *points):
        each = ft.vmap(lambda *p: after(params, *p, steps=1))(*points)
        return each.mean()

    init, update = nn.optim.Adam.pure(lr=2e-3)
    state = init(params)

    @ft.compile
    def step(params, state, *points):
        grads, value = ft.grad_and_value(outer)(params, *points)
        updates, state = update(grads, state, params)
        return nn.optim.apply_updates(params, updates), state, value

    # the gradient of one outer loss, against a difference along a random direction, in float64
    task = tasks(3)
    points = [t.double() for t in (*samples(task, POINTS), *samples(task, POINTS))]
    precise = {k: p.double() for k, p in params.items()}
    way = {k: ft.randn_like(p) for k, p in precise.items()}
    slope = sum((g * way[k]).sum() for k, g in ft.grad(outer)(precise, *points).items())
    ahead, behind = (
        outer({k: p + s * 1e-5 * way[k] for k, p in precise.items()}, *points) for s in (1, -1)
    )
    assert abs(slope - (ahead - behind) / 2e-5) < 1e-5 * abs(slope), "the outer gradient"

    steps = 300 if args.quick else 6000
    total = 0.0
    for i in range(steps):
        task = tasks(25)
        params, state, value = step(params, state, *samples(task, POINTS), *samples(task, POINTS))
        total += value.item()
        if (i + 1) % (steps // 6) == 0:
            print(f"step {i + 1:5d}   loss after adapting {6 * total / steps:.3f}", flush=True)
            total = 0.0

    task = tasks(200)
    shown, new = samples(task, POINTS), samples(task, 50)

    def mean(params, steps):
        f = ft.compile(ft.vmap(lambda *p: after(params, *p, steps=steps)))
        return f(*shown, *new).mean().item()

    rows = {"random weights": start, "learned weights": params}
    losses = {name: [mean(p, steps) for steps in (0, 1, 10)] for name, p in rows.items()}
    for name, (none, one, ten) in losses.items():
        print(f"{name}: loss {none:.2f}, after 1 step {one:.2f}, after 10 {ten:.2f}")
    goal = losses["random weights"][2] * (0.95 if args.quick else 0.4)
    assert losses["learned weights"][2] < goal, "learned weights must adapt better"


if __name__ == "__main__":
    main()
