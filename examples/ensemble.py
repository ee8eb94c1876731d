"""Train sixteen networks at once: their weights stacked, one program for all of them, by vmap.

Each has an initialisation and a learning rate of its own. Together they must do what a loop over
them would do; averaged, they guess better than one of them does on average.
"""

import time
from statistics import median

from datasets import arguments, batches, images

import functorch_like as ft
import nn
import nn.functional as F


def network(size):
    """A perceptron with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, 64), nn.Tanh(), nn.Linear(64, 10))


def main():
    args = arguments(__doc__)
    (train_x, train_y), (test_x, test_y) = images(args.data)
    models = [network(train_x.shape[-1]) for _ in range(16)]
    params, _ = nn.stack_module_state(models)
    params = {name: p.detach() for name, p in params.items()}
    single = {name: p[3].clone() for name, p in params.items()}
    rates = ft.linspace(0.02, 0.3, 16)

    def loss(params, x, y):
        return F.cross_entropy(nn.functional_call(models[0], params, x), y)

    def descend(params, rate, x, y):
        """One step of gradient descent of one network."""
        grads, value = ft.grad_and_value(loss)(params, x, y)
        return {name: p - rate * grads[name] for name, p in params.items()}, value

    together = ft.compile(ft.vmap(descend, in_dims=(0, 0, None, None)))
    alone = ft.compile(descend)

    order = [
        batch for _ in range(3 if args.quick else 20) for batch in batches(64, train_x, train_y)
    ]
    times = {"together": [], "alone": []}
    for x, y in order:
        start = time.perf_counter()
        params, losses = together(params, rates, x, y)
        middle = time.perf_counter()
        single, _ = alone(single, rates[3], x, y)
        times["together"].append(middle - start)
        times["alone"].append(time.perf_counter() - middle)
    all_16, one = (1e6 * median(times[name]) for name in ("together", "alone"))
    print(f"{all_16:.0f} us a step of sixteen networks, {one:.0f} us of one; losses")
    print("  " + " ".join(f"{value:.3f}" for value in losses.tolist()))
    for name in params:  # the fourth lane is the fourth network trained alone
        assert ft.allclose(params[name][3], single[name], rtol=1e-2, atol=1e-3), name

    call = ft.vmap(lambda p, x: nn.functional_call(models[0], p, x), in_dims=(0, None))
    logits = call(params, test_x)  # [16, n, 10]
    each = (logits.argmax(-1) == test_y).float().mean(1)
    guesses = F.softmax(logits, -1).mean(0).argmax(-1)
    joint = (guesses == test_y).float().mean().item()
    spread = f"{each.min().item():.2%} to {each.max().item():.2%}"
    print(f"test accuracy: each {spread}, averaged {joint:.2%}")
    assert joint > each.mean().item(), "an ensemble must be better than its average member"
    assert joint > (0.6 if args.quick else 0.9)


if __name__ == "__main__":
    main()
