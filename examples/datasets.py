"""What the examples learn from: files given with --data, or small data that come with the package.

Files: MNIST as csv.gz, 784 pixels and the label in each row; any text, plain or gzipped. The small
text, genesis.txt.gz, is a part of Genesis from the King James Bible (1611), in the public domain.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

import functorch_like as ft
from nn.data import load_digits, train_test_split


def arguments(doc, data=True):
    """The options that the examples share, of an example with this docstring."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, lower expectations")
    parser.add_argument("--seed", type=int, default=0)
    if data:
        parser.add_argument("--data", help="file to learn from, instead of the data in the package")
    args = parser.parse_args()
    ft.manual_seed(args.seed)
    return args


def images(path=None):
    """(train, test), each (images [n, 1, size, size] float32 in 0..1, labels [n] int64).

    MNIST at path, size 28; or the 1797 digits of the package, size 8. A fifth is for the test.
    """
    if path is None:
        pixels, labels = load_digits()
    else:
        with gzip.open(path, "rt") as file:
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
        pixels = ft.from_numpy((rows[:, :-1] / 255).astype(np.float32)).reshape(-1, 28, 28)
        labels = ft.from_numpy(rows[:, -1].astype(np.int64))
    return train_test_split(pixels.unsqueeze(1), labels, test_size=0.2)


def batches(size, *tensors):
    """An epoch: the tensors' rows in random order, `size` at a time; the rest is left out."""
    order = ft.randperm(len(tensors[0]))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield tuple(t[chosen] for t in tensors)


class Text:
    """Characters as numbers: `train` and `test` int64 (the last tenth), `alphabet` sorted."""

    def __init__(self, path=None):
        path = Path(__file__).with_name("genesis.txt.gz") if path is None else Path(path)
        with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
            text = file.read()
        self.alphabet = "".join(sorted(set(text)))
        place = {c: i for i, c in enumerate(self.alphabet)}
        numbers = ft.tensor(np.array([place[c] for c in text]))
        cut = len(text) * 9 // 10
        self.train, self.test = numbers[:cut], numbers[cut:]

    def decode(self, numbers):
        """The string of a 1-dimensional tensor of numbers."""
        return "".join(self.alphabet[i] for i in numbers.tolist())


def windows(numbers, count, length):
    """(x, y) [count, length]: random passages, and in y for every character the one after it."""
    starts = ft.randint(0, len(numbers) - length, (count, 1))
    passages = numbers[starts + ft.arange(length + 1)]
    return passages[:, :-1], passages[:, 1:]
