"""Train a small convolutional network on real handwritten digits, then ask more than one gradient.

Which test images surprise the model most? Per-sample gradient norms, by vmap(grad). How sharp is
the minimum? The top eigenvalue of the Hessian, by jvp(grad). Writes demo.png and
digits.safetensors, and checks what it claims.
"""

import argparse
import gzip
import math
import time
from pathlib import Path

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like import tree
from nn.data import DataLoader, TensorDataset, load_digits, train_test_split


class DigitsNet(nn.Module):
    """Two convolutions, two linear layers: [n, 1, size, size] -> logits [n, 10]."""

    def __init__(self, size):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * (size // 4) ** 2, 128)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(self.dropout(F.relu(self.fc1(x.flatten(1)))))


def load(path):
    """(train, test), each (images [n, 1, size, size], labels [n]): the digits, or MNIST at path."""
    if path is None:
        images, labels = load_digits()
    else:
        import numpy as np

        with gzip.open(path, "rt") as file:
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
        images = ft.from_numpy((rows[:, :-1] / 255).astype(np.float32)).reshape(-1, 28, 28)
        labels = ft.from_numpy(rows[:, -1].astype(np.int64))
    return train_test_split(images.unsqueeze(1), labels, test_size=0.2)


def progress(batches, title):
    """The batches, behind a progress bar where there is a terminal and tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=title, leave=False, disable=None)


def accuracy(model, images, labels):
    """Share of images whose largest logit is at their label."""
    model.eval()
    with ft.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def train(model, train_set, test_set, args):
    """Fits the model; returns per epoch (mean loss, training accuracy, test accuracy)."""
    loader = DataLoader(TensorDataset(*train_set), batch_size=args.batch_size, shuffle=True)
    optimizer = nn.optim.Adam(model.parameters(), lr=args.lr)
    history = []
    for epoch in range(args.epochs):
        model.train()
        decay = 0.5 + 0.5 * math.cos(math.pi * epoch / args.epochs)
        optimizer.param_groups[0]["lr"] = args.lr * decay
        total, right, n = 0.0, 0, len(train_set[0])
        bar = progress(loader, f"epoch {epoch + 1:2d}/{args.epochs}")
        for images, labels in bar:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
            if hasattr(bar, "set_postfix_str"):
                bar.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
        history.append((total / n, right / n, accuracy(model, *test_set)))
        text = "epoch {:2d}   loss {:.4f}   train {:7.2%}   test {:7.2%}"
        print(text.format(epoch + 1, *history[-1]), flush=True)
    return history


def surprise(model, params, images, labels):
    """The norm of each image's own gradient [n]: how far it alone would move the weights."""

    def loss(params, image, label):
        logits = nn.functional_call(model, params, image.unsqueeze(0))
        return F.cross_entropy(logits, label.unsqueeze(0))

    per_sample = ft.vmap(ft.grad(loss), in_dims=(None, 0, 0))
    norms = []
    for start in range(0, len(images), 50):
        grads = per_sample(params, images[start : start + 50], labels[start : start + 50])
        norms.append(sum((g.flatten(1) ** 2).sum(1) for g in tree.leaves(grads)).sqrt())
    return ft.cat(norms)


def top_eigenvalue(model, params, images, labels, iterations=40):
    """(largest eigenvalue of the loss's Hessian, relative residual), by power iteration."""

    def loss(params):
        return F.cross_entropy(nn.functional_call(model, params, images), labels)

    def dot(a, b):
        return sum((x * y).sum() for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True))

    v = tree.map(ft.randn_like, params)
    for _ in range(iterations):
        norm = dot(v, v).sqrt()
        v = tree.map(lambda x, norm=norm: x / norm, v)
        _, hv = ft.jvp(ft.grad(loss), (params,), (v,))
        value = dot(v, hv)
        rest = tree.map(lambda h, x, value=value: h - value * x, hv, v)
        v = hv
    return value.item(), (dot(rest, rest).sqrt() / value.abs()).item()


def draw(path, history, images, labels, guesses, norms):
    """Learning curves above, the most surprising test images below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    losses, train_accuracy, test_accuracy = zip(*history, strict=True)
    left, right = above.subplots(1, 2)
    left.semilogy(range(1, len(history) + 1), losses)
    left.set(title="training loss", xlabel="epoch")
    for values, label in ((train_accuracy, "training"), (test_accuracy, "test")):
        right.plot(range(1, len(history) + 1), [100 * v for v in values], label=label)
    right.set(title="accuracy, %", xlabel="epoch")
    right.legend()
    below.suptitle("Most surprising test images: largest gradients of their own")
    axes = below.subplots(1, len(images))
    for axis, image, label, guess, norm in zip(axes, images, labels, guesses, norms, strict=True):
        axis.imshow(image[0].numpy(), cmap="gray_r")
        axis.set_title(f"{label.item()} read as {guess.item()}\n|g| = {norm:.2g}", size=9)
        axis.axis("off")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, help="default: 30, with --data 5")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3, help="at the start; falls to 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="MNIST as csv.gz: 784 pixels and the label in each row")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for what is written")
    args = parser.parse_args()
    goal = None if args.epochs else 0.97 if args.data is None else 0.96
    args.epochs = args.epochs or (30 if args.data is None else 5)
    args.out.mkdir(parents=True, exist_ok=True)
    picture, weights = args.out / "demo.png", args.out / "digits.safetensors"

    ft.manual_seed(args.seed)
    train_set, test_set = load(args.data)
    size = train_set[0].shape[-1]
    model = DigitsNet(size)
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(train_set[0])} + {len(test_set[0])} images of {size}x{size}; {count} weights")

    start = time.perf_counter()
    history = train(model, train_set, test_set, args)
    print(f"trained in {time.perf_counter() - start:.1f} s; test accuracy {history[-1][2]:.2%}")

    model.eval()
    params = {name: p.detach() for name, p in model.named_parameters()}
    norms = surprise(model, params, *test_set).tolist()
    order = sorted(range(len(norms)), key=norms.__getitem__, reverse=True)
    images, labels = (part[ft.tensor(order[:8])] for part in test_set)
    guesses = nn.functional_call(model, params, images).argmax(1)
    worst, median = [norms[i] for i in order[:8]], norms[order[len(order) // 2]]
    print(f"gradient norms: median {median:.2g}, largest {worst[0]:.2g}")
    print(f"most surprising: labels {labels.tolist()}, read as {guesses.tolist()}")

    sharpness, residual = top_eigenvalue(model, params, *(part[:512] for part in train_set))
    print(f"top Hessian eigenvalue {sharpness:.3g} (relative residual {residual:.1e})")
    assert residual < 0.05, "power iteration must have converged"

    draw(picture, history, images, labels, guesses, worst)
    nn.save(model, weights, metadata={"size": str(size)})
    restored = DigitsNet(size)
    restored.load_state_dict(nn.load(weights))
    assert accuracy(restored, *test_set) == history[-1][2], "loading must give the same accuracy"
    print(f"wrote {picture} and {weights}, which loads to the same accuracy")
    assert goal is None or history[-1][2] >= goal, f"expected {goal:.0%}, got {history[-1][2]:.2%}"


if __name__ == "__main__":
    main()
