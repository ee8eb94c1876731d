"""Train a small convolutional network on real handwritten digits, then ask questions that need more
than a gradient.

Which test images surprise the model most? Per-sample gradient norms, by vmap(grad). How sharp is
the minimum? The top
eigenvalue of the Hessian, by Hessian-vector products jvp(grad). Writes demo.png and
digits.safetensors, and checks
what it claims. Run: python examples/train_digits.py [--data mnist_5k.csv.gz]
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
        self.fc2 = nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(self.dropout(x))


def load(path):
    """(train, test), each images [n, 1, size, size], labels [n]: the digits, or MNIST from path."""
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
    for epoch in range(1, args.epochs + 1):
        model.train()
        optimizer.param_groups[0]["lr"] = args.lr * (
            0.5 + 0.5 * math.cos(math.pi * (epoch - 1) / args.epochs)
        )
        total, right, bar = 0.0, 0, progress(loader, f"epoch {epoch:2d}/{args.epochs}")
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
        n = len(train_set[0])
        history.append((total / n, right / n, accuracy(model, *test_set)))
        print(
            "epoch {:2d}   loss {:.4f}   train {:6.2%}   test {:6.2%}".format(epoch, *history[-1]),
            flush=True,
        )
    return history


def surprise(model, params, images, labels):
    """Norm of each image's own gradient [n]: how far it alone would move the weights."""

    def loss(params, image, label):
        return F.cross_entropy(
            nn.functional_call(model, params, image.unsqueeze(0)), label.unsqueeze(0)
        )

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
        v = tree.map(lambda x: x / norm, v)  # noqa: B023
        _, hv = ft.jvp(ft.grad(loss), (params,), (v,))
        value = dot(v, hv)
        rest = tree.map(lambda h, x: h - value * x, hv, v)  # noqa: B023
        v = hv
    return value.item(), (dot(rest, rest).sqrt() / value.abs()).item()


def draw(path, history, images, labels, guesses, norms):
    """Learning curves above, the most surprising test images below."""
    try:
        import matplotlib
    except ImportError:
        return print("no picture: matplotlib is not installed")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 6.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    epochs = range(1, len(history) + 1)
    left, right = above.subplots(1, 2)
    left.plot(epochs, [h[0] for h in history], color="tab:blue")
    left.set(title="training loss", xlabel="epoch", yscale="log")
    right.plot(epochs, [100 * h[1] for h in history], color="tab:blue", label="training")
    right.plot(epochs, [100 * h[2] for h in history], color="tab:orange", label="test")
    right.set(title="accuracy, %", xlabel="epoch")
    right.legend()
    below.suptitle("Most surprising test images: largest gradients of their own")
    for axis, image, label, guess, norm in zip(
        below.subplots(1, 8), images, labels, guesses, norms, strict=True
    ):
        axis.imshow(image[0].numpy(), cmap="gray_r")
        axis.set_title(
            f"{label.item()} read as {guess.item()}\n|g| = {norm.item():.2g}", fontsize=9
        )
        axis.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data",
        help="MNIST as csv.gz, 784 pixels and the label a row; the embedded digits by default",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("."), help="folder for demo.png and digits.safetensors"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    ft.manual_seed(args.seed)
    train_set, test_set = load(args.data)
    size = train_set[0].shape[-1]
    model = DigitsNet(size)
    weights = sum(p.numel() for p in model.parameters())
    print(f"{len(train_set[0])} + {len(test_set[0])} images of {size}x{size}; {weights} weights")

    start = time.perf_counter()
    history = train(model, train_set, test_set, args)
    print(f"trained in {time.perf_counter() - start:.1f} s; test accuracy {history[-1][2]:.2%}")

    model.eval()
    params = {name: p.detach() for name, p in model.named_parameters()}
    images, labels = test_set
    norms = surprise(model, params, images, labels)
    worst = norms.argsort(descending=True)[:8]
    with ft.no_grad():
        guesses = model(images[worst]).argmax(1)
    print(
        f"gradient norm per test image: median {norms.median().item():.2g}, largest "
        f"{norms.max().item():.2g}"
    )
    print(
        "most surprising: "
        + ", ".join(f"{a} read as {b}" for a, b in zip(labels[worst].tolist(), guesses.tolist()))
    )

    sharpness, residual = top_eigenvalue(model, params, train_set[0][:512], train_set[1][:512])
    print(f"top Hessian eigenvalue {sharpness:.3g} (relative residual {residual:.1e})")

    draw(args.out / "demo.png", history, images[worst], labels[worst], guesses, norms[worst])
    nn.save(model, args.out / "digits.safetensors", metadata={"size": str(size)})
    restored = DigitsNet(size)
    restored.load_state_dict(nn.load(args.out / "digits.safetensors"))
    assert accuracy(restored, *test_set) == history[-1][2], (
        "the saved model must be as good as the trained one"
    )
    print(
        f"wrote {args.out / 'demo.png'} and {args.out / 'digits.safetensors'}; the saved model "
        "loads to the same accuracy"
    )

    if args.epochs >= parser.get_default("epochs"):
        goal = 0.97 if args.data is None else 0.96
        assert history[-1][2] >= goal, (
            f"expected at least {goal:.0%} test accuracy, got {history[-1][2]:.2%}"
        )


if __name__ == "__main__":
    main()
