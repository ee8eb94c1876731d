"""Learn with differential privacy: every sample's gradient is clipped, and noise covers the sum.

Per-sample gradients three ways: a loop, vmap(grad), and `clipped_grad_sum`, which clips without
ever holding them. What the noise promises is computed too, by accounting of Renyi divergences.
"""

import math

from datasets import arguments, images

import functorch_like as ft
import nn
import nn.functional as F


def epsilon(noise, rate, steps, delta):
    """The privacy spent: (epsilon, delta) of `steps` noisy sums over random shares `rate` of data.

    Renyi divergences of whole orders of the sampled Gaussian mechanism (Mironov et al. 2019),
    converted at the best order (Canonne et al. 2020).
    """
    best = math.inf
    for order in range(2, 256):
        terms = [
            math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
            + k * math.log(rate) + (order - k) * math.log1p(-rate)
            + (k * k - k) / (2 * noise**2)
            for k in range(order + 1)
        ]  # fmt: skip
        top = max(terms)
        renyi = (top + math.log(sum(math.exp(t - top) for t in terms))) / (order - 1)
        rest = math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, steps * renyi + rest)
    return best


def main():
    args = arguments(__doc__)
    (train_x, train_y), (test_x, test_y) = images(args.data)
    size = train_x.shape[-1]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16 * (size // 2) ** 2, 10),
    )
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params, image, label):
        logits = nn.functional_call(model, params, image.unsqueeze(0))
        return F.cross_entropy(logits, label.unsqueeze(0))

    # three ways to the same gradients
    clip, some = 1.0, (train_x[:16], train_y[:16])
    looped = [ft.grad(loss)(params, x, y) for x, y in zip(*some, strict=True)]
    mapped = ft.vmap(ft.grad(loss), in_dims=(None, 0, 0))(params, *some)
    total, norms = ft.clipped_grad_sum(loss, clip)(params, *some)
    squares = sum((g.flatten(1) ** 2).sum(1) for g in mapped.values())
    assert ft.allclose(norms, squares.sqrt(), rtol=1e-4)
    factors = (clip / norms).clamp(max=1.0)
    for name, grads in mapped.items():
        assert ft.allclose(grads, ft.stack([g[name] for g in looped]), atol=1e-5), name
        assert ft.allclose(ft.tensordot(factors, grads, 1), total[name], atol=1e-4), name
    print(f"per-sample gradients agree; norms {norms.min().item():.2f} to {norms.max().item():.2f}")

    # training: every sample is in a step's batch with the same probability, whatever the others do
    count, lot, noise = len(train_x), 256, 1.5
    steps, rate = (15, 1.0) if args.quick else (120, 1.0)
    delta = 1 / (2 * count)

    @ft.compile
    def step(params, x, y, present):
        def counted(params, image, label, weight):
            return weight * loss(params, image, label)

        total, _ = ft.clipped_grad_sum(counted, clip)(params, x, y, present)
        noisy = {k: g + noise * clip * ft.randn_like(g) for k, g in total.items()}
        return {k: p - rate * noisy[k] / lot for k, p in params.items()}

    room = 2 * lot  # a fixed shape for the program; places left over weigh nothing
    for _ in range(steps):
        chosen = (ft.rand(count) < lot / count).nonzero().flatten()[:room]
        empty = room - len(chosen)
        present = ft.cat([ft.ones(len(chosen)), ft.zeros(empty)])
        chosen = ft.cat([chosen, ft.zeros(empty, dtype=ft.int64)])
        params = step(params, train_x[chosen], train_y[chosen], present)

    guesses = nn.functional_call(model, params, test_x).argmax(1)
    accuracy = (guesses == test_y).float().mean().item()
    spent = epsilon(noise, lot / count, steps, delta)
    print(f"{steps} steps, noise {noise}: test accuracy {accuracy:.2%}")
    print(f"private to epsilon {spent:.2f} at delta {delta:.1e}")
    assert abs(epsilon(4.0, 0.01, 10000, 1e-5) - 1.0) < 0.1, "a known value of the accountant"
    goal = 0.4 if args.quick else 0.75
    assert accuracy > goal, f"expected {goal:.0%}, got {accuracy:.2%}"


if __name__ == "__main__":
    main()
