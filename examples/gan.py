"""A generative adversarial network that learns eight islands of points in the plane.

Two optimizers, one compiled step: the discriminator learns to tell, then the generator to fool it,
with gradients through a discriminator that stays as it is.
"""

import math

from datasets import arguments

import functorch_like as ft
import nn
import nn.functional as F

RADIUS, SPREAD, CODE = 2.0, 0.1, 8


def islands():
    """The eight centres [8, 2] on a circle."""
    angle = ft.arange(8) * (math.pi / 4)
    return RADIUS * ft.stack([angle.cos(), angle.sin()], -1)


def real(count):
    """Points [count, 2] of the distribution to learn."""
    return islands()[ft.randint(0, 8, (count,))] + SPREAD * ft.randn(count, 2)


def network(inputs, outputs, width):
    """Three layers."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def draw(points):
    """A picture of the points in characters."""
    rows = [[" "] * 48 for _ in range(20)]
    for x, y in points.tolist():
        column, row = int(24 + 9 * x), int(10 - 3.8 * y)
        if 0 <= column < 48 and 0 <= row < 20:
            rows[row][column] = "." if rows[row][column] == " " else "#"
    return "\n".join("".join(row).rstrip() for row in rows)


def main():
    args = arguments(__doc__, data=False)
    size, width = (64, 32) if args.quick else (256, 96)
    generator, discriminator = network(CODE, 2, width), network(2, 1, width)
    options = {"lr": 1e-3, "betas": (0.5, 0.99)}
    make = nn.optim.Adam(generator.parameters(), **options)
    tell = nn.optim.Adam(discriminator.parameters(), **options)
    average = nn.optim.swa_utils.AveragedModel(
        generator, multi_avg_fn=nn.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )

    def slopes(points):
        """Squared gradient of the discriminator at real points: keeps the game from circling."""
        return ft.grad(lambda p: discriminator(p).sum())(points).pow(2).sum(-1).mean()

    @ft.compile
    def step(points, codes, more_codes):
        tell.zero_grad()
        fake = generator(codes).detach()
        telling = F.softplus(-discriminator(points)).mean() + F.softplus(discriminator(fake)).mean()
        (telling + 0.5 * slopes(points)).backward()
        tell.step()

        make.zero_grad()
        fooling = F.softplus(-discriminator(generator(more_codes))).mean()
        fooling.backward()
        make.step()
        return telling.detach(), fooling.detach()

    steps = 300 if args.quick else 5000
    for i in range(steps):
        telling, fooling = step(real(size), ft.randn(size, CODE), ft.randn(size, CODE))
        average.update_parameters(generator)
        if (i + 1) % (steps // 5) == 0:
            a, b = telling.item(), fooling.item()
            print(f"step {i + 1:4d}   losses: to tell {a:.3f}, to fool {b:.3f}", flush=True)

    with ft.no_grad():
        points = average(ft.randn(2000, CODE))
    distance, nearest = ft.cdist(points, islands()).min(1)
    share = (distance < 4 * SPREAD).float().mean().item()
    counts = ft.bincount(nearest, minlength=8).tolist()
    print(draw(points[:400]))
    print(f"{share:.0%} of the points lie on islands; points nearest to each: {counts}")
    assert math.isfinite(telling.item()) and math.isfinite(fooling.item())
    if args.quick:
        assert points.norm(dim=1).mean() > 0.5, "the points must have moved outwards"
    else:
        assert share > 0.75 and min(counts) > 60, "the points must cover the islands"


if __name__ == "__main__":
    main()
