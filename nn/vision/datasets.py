"""The usual data sets of images, from their own files on disk.

MNIST's and CIFAR's files are read whole into one uint8 tensor: without transforms, DataLoader
makes a batch of it by one gather.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.data.collate import default_collate
from nn.data.dataset import Dataset
from nn.data.download import download as fetch
from nn.vision.files import read_idx, read_image

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "ImageFolder"]

_Transform = Callable[[Any], Any]


class _Images(Dataset[tuple[Any, Any]]):
    """Images [n, c, h, w] uint8 and labels [n] int64 in memory.

    A sample is (image [c, h, w], label), each after its transform.
    """

    classes: Sequence[str]

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        transform: _Transform | None,
        target_transform: _Transform | None,
    ) -> None:
        if len(images) != len(labels):
            raise ValueError(
                f"{type(self).__name__}: expected as many labels as images, "
                f"got {len(labels)} and {len(images)}."
            )
        self.data, self.targets = images, labels
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        image, label = self.data[index], self.targets[index]
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )

    def get_batch(self, indices: Any) -> Any:
        """[images, labels] at indices; with transforms, each sample through them."""
        if self.transform is None and self.target_transform is None:
            return [self.data[indices], self.targets[indices]]
        if isinstance(indices, slice):
            indices = ft.arange(len(self))[indices]
        return default_collate([self[i] for i in indices.tolist()])


def _found(op: str, folder: str, names: Sequence[str]) -> str:
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(
        f"{op}: expected {' or '.join(names)} in {folder}, found none. "
        "Put the files there, or pass download=True where there is a network."
    )


class MNIST(_Images):
    """70,000 handwritten digits, 28x28, from their IDX files.

    Args:
      root: the folder of the four files (with or without .gz), or one with them in MNIST/raw.
      train: the 60,000 for training; False: the 10,000 for testing.
      transform, target_transform: applied to image [1, 28, 28] uint8 and label, a 0-d int64.
      download: fetch what is missing.
    Raises:
      FileNotFoundError: files are missing. ValueError: a file is damaged.
    Reference: LeCun, Bottou, Bengio, Haffner 1998.
    """

    mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    classes: Sequence[str] = tuple("0123456789")

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
        download: bool = False,
    ) -> None:
        name = type(self).__name__
        folder = os.fspath(root)
        nested = os.path.join(folder, name, "raw")
        folder = nested if os.path.isdir(nested) else folder
        tensors = []
        for kind in ("images-idx3", "labels-idx1"):
            file = f"{'train' if train else 't10k'}-{kind}-ubyte"
            if download and not os.path.exists(os.path.join(folder, file)):
                fetch(f"{self.mirror}{file}.gz", os.path.join(folder, file + ".gz"))
            tensors.append(read_idx(_found(name, folder, (file, file + ".gz"))))
        images, labels = tensors
        if images.ndim != 3 or labels.ndim != 1:
            raise ValueError(
                f"{name}: expected images [n, h, w] and labels [n] in {folder}, "
                f"got {list(images.shape)} and {list(labels.shape)}."
            )
        super().__init__(images.unsqueeze(1), labels.to(ft.int64), transform, target_transform)


class FashionMNIST(MNIST):
    """70,000 pictures of clothes, 28x28, laid out as MNIST.

    Reference: Xiao, Rasul, Vollgraf 2017.
    """

    mirror = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    classes: Sequence[str] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class CIFAR10(_Images):
    """60,000 colour pictures, 32x32, of 10 kinds, from the binary version of the files.

    Args:
      root: the folder of data_batch_1.bin ... test_batch.bin, or one with it in
        cifar-10-batches-bin.
      train: the 50,000 for training; False: the 10,000 for testing.
      transform, target_transform: applied to image [3, 32, 32] uint8 and label, a 0-d int64.
      download: fetch and unpack what is missing.
    Raises:
      FileNotFoundError: files are missing. ValueError: a file is damaged.
    Reference: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """

    classes: Sequence[str] = (
        "airplane", "automobile", "bird", "cat", "deer",
        "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    _archive = "cifar-10-binary.tar.gz"
    _folder = "cifar-10-batches-bin"
    _train = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    _test = ("test_batch.bin",)
    _labels = 1  # bytes of labels before an image; the last counts

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
        download: bool = False,
    ) -> None:
        folder = os.path.join(os.fspath(root), self._folder)
        if download and not os.path.isdir(folder):
            _unpack(
                fetch(
                    f"https://www.cs.toronto.edu/~kriz/{self._archive}",
                    os.path.join(os.fspath(root), self._archive),
                ),
                os.fspath(root),
            )
        folder = folder if os.path.isdir(folder) else os.fspath(root)
        rows = [self._rows(folder, file) for file in (self._train if train else self._test)]
        table = rows[0] if len(rows) == 1 else ft.cat(rows)
        super().__init__(
            table[:, self._labels :].reshape((-1, 3, 32, 32)).contiguous(),
            table[:, self._labels - 1].to(ft.int64),
            transform,
            target_transform,
        )

    def _rows(self, folder: str, file: str) -> Tensor:
        import numpy as np

        path = _found(type(self).__name__, folder, (file,))
        data, width = np.fromfile(path, np.uint8), 3072 + self._labels
        if data.size == 0 or data.size % width:
            raise ValueError(
                f"{type(self).__name__}: expected rows of {width} bytes in {path}, "
                f"got {data.size} bytes. Fetch it again."
            )
        return ft.tensor(data.reshape(-1, width))


class CIFAR100(CIFAR10):
    """60,000 colour pictures, 32x32, of 100 kinds (the fine labels); see CIFAR10."""

    classes: Sequence[str] = ()
    _archive = "cifar-100-binary.tar.gz"
    _folder = "cifar-100-binary"
    _train = ("train.bin",)
    _test = ("test.bin",)
    _labels = 2


def _unpack(archive: str, folder: str) -> None:
    import tarfile

    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
            return
        for member in tar.getmembers():  # an interpreter from before filters
            inside = os.path.realpath(os.path.join(folder, member.name))
            if member.isfile() and inside.startswith(os.path.realpath(folder) + os.sep):
                tar.extract(member, folder)


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in folders named after their classes: root/class/picture.png.

    Args:
      root: the folder of folders; classes are numbered in the order of their names.
      transform: applied to the image, uint8 [3, height, width].
      target_transform: applied to the label, an int.
      loader: reads a file; read_image (through Pillow) by default.
      extensions: of the files that count, in lower case.
    Raises:
      FileNotFoundError: no folder, or none with such a file.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
        loader: Callable[[str], Any] = read_image,
        extensions: Sequence[str] = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm"),
    ) -> None:
        top = os.fspath(root)
        self.classes = sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
        self.class_to_idx = {name: k for k, name in enumerate(self.classes)}
        self.samples = [
            (os.path.join(folder, file), label)
            for name, label in self.class_to_idx.items()
            for folder, _, files in sorted(os.walk(os.path.join(top, name)))
            for file in sorted(files)
            if file.lower().endswith(tuple(extensions))
        ]
        if not self.samples:
            raise FileNotFoundError(
                f"ImageFolder: expected files {', '.join(extensions)} in folders of {top}, "
                "found none. Make a folder for each class."
            )
        self.transform, self.target_transform, self.loader = transform, target_transform, loader

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        path, label = self.samples[int(index)]
        image = self.loader(path)
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )
