"""Train a LeNet-like network and a multi-layer perceptron on handwritten digits.

The training step is an ordinary function (backward, optimizer and all) that `ft.compile` turns into
one program of the C core.
"""

import math
import time

from datasets import arguments, batches, images

import functorch_like as ft
import nn
import nn.functional as F


class LeNet(nn.Module):
    """Two convolutions, three linear layers: [n, 1, size, size] -> logits [n, 10]."""

    def __init__(self, size):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.fc1 = nn.Linear(16 * (size // 4) ** 2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def perceptron(size):
    """784-256-256-10 for MNIST."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(size * size, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def accuracy(model, x, y):
    """Share of images whose largest logit is at their label."""
    with ft.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def train(model, optimizer, epochs, train_set, test_set):
    """Test accuracy after training; the learning rate falls to 0 along a cosine."""
    schedule = nn.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    @ft.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    start = time.perf_counter()
    for epoch in range(epochs):
        losses = [step(x, y).item() for x, y in batches(64, *train_set)]
        schedule.step()
        if epoch % max(1, epochs // 5) == 0 or epoch == epochs - 1:
            print(f"  epoch {epoch + 1:2d}   loss {sum(losses) / len(losses):.4f}")
    result = accuracy(model, *test_set)
    print(f"  {time.perf_counter() - start:.1f} s, test accuracy {result:.2%}")
    assert math.isfinite(losses[-1])
    return result


def main():
    args = arguments(__doc__)
    train_set, test_set = images(args.data)
    size = train_set[0].shape[-1]
    epochs = 10 if args.quick else 20
    goals = (0.5, 0.8) if args.quick else (0.93, 0.93) if args.data is None else (0.96, 0.93)

    print(f"{len(train_set[0])} + {len(test_set[0])} images of {size}x{size}\nLeNet")
    model = LeNet(size)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    lenet = train(model, optimizer, epochs, train_set, test_set)

    print("perceptron")
    model = perceptron(size)
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-3)
    mlp = train(model, optimizer, epochs, train_set, test_set)

    assert lenet >= goals[0], f"expected {goals[0]:.0%} of the LeNet, got {lenet:.2%}"
    assert mlp >= goals[1], f"expected {goals[1]:.0%} of the perceptron, got {mlp:.2%}"


if __name__ == "__main__":
    main()
