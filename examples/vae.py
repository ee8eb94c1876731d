"""A variational autoencoder of handwritten digits: eight numbers an image, learned without labels.

The bound it maximises is checked against a better estimate of the likelihood from many samples
(importance weighting, one vmap with different random numbers in each lane).
"""

import math

from datasets import arguments, batches, images

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like.distributions import Normal, kl_divergence

LATENT = 8


class VAE(nn.Module):
    """Images [n, pixels] in 0..1 <-> codes [n, 8]."""

    def __init__(self, pixels, width):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, 2 * LATENT)
        )
        self.decoder = nn.Sequential(nn.Linear(LATENT, width), nn.ReLU(), nn.Linear(width, pixels))

    def codes(self, x):
        """Which codes an image may have: a normal distribution [n, 8]."""
        mean, log_scale = self.encoder(x).chunk(2, -1)
        return Normal(mean, log_scale.exp())

    def draw(self, x):
        """(codes [n, 8] of the images, drawn anew; the distributions that they come from)."""
        codes = self.codes(x)
        return codes.mean + codes.stddev * ft.randn_like(codes.mean), codes

    def log_likelihood(self, x, code):
        """Of the images, pixel by pixel ink or paper, given their codes: [n]."""
        logits = self.decoder(code)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def main():
    args = arguments(__doc__)
    (train_x, _), (test_x, _) = images(args.data)
    train_x, test_x = train_x.flatten(1), test_x.flatten(1)
    pixels = train_x.shape[1]
    model = VAE(pixels, 64 if args.quick else 256)
    optimizer = nn.optim.Adam(model.parameters(), lr=2e-3)
    prior = Normal(ft.zeros(LATENT), ft.ones(LATENT))

    def bound(x):
        """Below the log likelihood, [n]: what the decoder reaches less what the codes tell."""
        code, codes = model.draw(x)
        return model.log_likelihood(x, code) - kl_divergence(codes, prior).sum(-1)

    def weighted(x, samples):
        """A closer bound [n], from many codes an image (Burda et al. 2016)."""

        def one(_):
            code, codes = model.draw(x)
            likelihood = model.log_likelihood(x, code) + prior.log_prob(code).sum(-1)
            return likelihood - codes.log_prob(code).sum(-1)

        weights = ft.vmap(one, randomness="different")(ft.arange(samples))
        return ft.logsumexp(weights, 0) - math.log(samples)

    @ft.compile
    def step(x):
        optimizer.zero_grad()
        loss = -bound(x).mean()
        loss.backward()
        optimizer.step()
        return loss

    epochs = 12 if args.quick else 60
    for epoch in range(epochs):
        losses = [step(x).item() for (x,) in batches(64, train_x)]
        if (epoch + 1) % (epochs // 4) == 0:
            print(f"epoch {epoch + 1:3d}   bound {-sum(losses) / len(losses):.2f}", flush=True)

    with ft.no_grad():
        # without codes: each pixel by its mean over the training images
        mean = train_x.mean(0).clamp(1e-3, 1 - 1e-3)
        blind = (test_x * mean.log() + (1 - test_x) * (1 - mean).log()).sum(-1).mean().item()
        reached = bound(test_x).mean().item()
        closer = weighted(test_x, 50).mean().item()
        restored = model.decoder(model.codes(test_x).mean).sigmoid()
        error = ((restored - test_x) ** 2).mean().sqrt().item()
        drawn = model.decoder(ft.randn(4, LATENT)).sigmoid()
    print(f"test: means alone {blind:.2f}, bound {reached:.2f}, of 50 samples {closer:.2f}")
    print(f"images come back within {error:.3f} (root mean square); drawn from nothing:")
    side = math.isqrt(pixels)
    for row in drawn.reshape(4, side, side).transpose(0, 1)[:: 1 + side // 28].tolist():
        marks = [[" .:+#"[min(4, int(5 * ink))] * (1 + 8 // side) for ink in r] for r in row]
        print("  ".join("".join(mark) for mark in marks))
    margin = 0.2 if args.quick else 2 if args.data is None else 60
    assert reached > blind + margin, "codes must tell something"
    assert closer > reached, "more samples must come closer"


if __name__ == "__main__":
    main()
