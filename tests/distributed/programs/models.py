"""Models and data that training checks share; every rank computes the same ones."""

import sys
from pathlib import Path

import functorch_like as ft
import nn
import nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))


def cnn():
    """The sample CNN on 8x8 digits: (module, [(inputs, targets)], loss)."""
    from mnist import LeNet

    from nn.data import load_digits

    pixels, labels = load_digits()
    data = [(pixels[i : i + 24].unsqueeze(1), labels[i : i + 24]) for i in range(0, 144, 24)]
    ft.manual_seed(3)
    return LeNet(8), data, lambda m, x, y: F.cross_entropy(m(x), y)


def gpt():
    """A GPT of width 32."""
    from char_gpt import GPT

    ft.manual_seed(4)
    model = GPT(20, 16, 32, 2, 2)
    tokens = ft.randint(0, 20, (4, 12, 17))
    data = [(t[:, :-1], t[:, 1:]) for t in tokens]
    return model, data, lambda m, x, y: F.cross_entropy(m(x).flatten(0, 1), y.flatten())


def mlp(width=48, layers=4):
    ft.manual_seed(5)
    parts = [p for _ in range(layers) for p in (nn.Linear(width, width), nn.Tanh())]
    x, y = ft.randn(5, 24, width), ft.randn(5, 24, width)
    model = nn.Sequential(*parts)
    return model, list(zip(x, y, strict=True)), lambda m, x, y: ((m(x) - y) ** 2).mean()


def curve(model, data, loss_of, optimizer, rank=0, size=1, step=None):
    """The loss of each step; of a rank on its part of each batch."""
    losses = []
    for x, y in data:
        optimizer.zero_grad()
        loss = loss_of(model, x[rank::size], y[rank::size])
        loss.backward()
        if step is not None:
            step()
        optimizer.step()
        losses.append(ft.distributed.all_reduce(loss.detach(), "mean").item())
    return losses


def close(a, b, tolerance=2e-5):
    worst = max(abs(x - y) for x, y in zip(a, b, strict=True))
    assert worst <= tolerance, (worst, a, b)


def adam(params):
    return nn.optim.AdamW(params, lr=3e-3)


def sgd(params):
    return nn.optim.SGD(params, lr=0.05, momentum=0.9)
