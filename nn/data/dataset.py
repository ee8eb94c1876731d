"""Sets of samples: indexed ones, iterable ones, and views of them.

A data set may define get_batch(indices), which returns what the default collate would make of those
samples, but in one go. DataLoader uses it when nothing else is asked for; here it gathers rows of
whole tensors.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import functorch_like as ft
from functorch_like import Generator, Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset",
    "TensorDataset", "random_split", "train_test_split",
]  # fmt: skip

Sample = TypeVar("Sample", covariant=True)


class Dataset(Generic[Sample]):
    """Base of data sets with numbered samples: define __getitem__(index) and __len__()."""

    def __getitem__(self, index: Any) -> Sample:
        raise NotImplementedError(
            f"{type(self).__name__}: expected a method __getitem__(index), got none."
        )

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Sample]):
    """Base of data sets that are streams: define __iter__()."""

    def __iter__(self) -> Iterator[Sample]:
        raise NotImplementedError(f"{type(self).__name__}: expected a method __iter__(), got none.")

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples that are rows of tensors of equal length.

    Args:
      *tensors [n, ...]: sample i is (tensors[0][i], tensors[1][i], ...).
    Raises:
      ShapeError: no tensor, or different lengths.
    Example:
      >>> import functorch_like as ft
      >>> TensorDataset(ft.tensor([1, 2, 3]), ft.tensor([4, 5, 6]))[1]
      (tensor(2), tensor(5))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or any(
            tensor.ndim == 0 or len(tensor) != len(tensors[0]) for tensor in tensors
        ):
            shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors) or "none"
            raise ShapeError(
                f"TensorDataset: expected tensors with equal first sizes, got {shapes}."
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def get_batch(self, indices: Tensor | slice) -> list[Tensor]:
        """The rows at indices of every tensor, as copies."""
        if isinstance(indices, slice):
            return [tensor[indices].clone() for tensor in self.tensors]
        return [tensor[indices] for tensor in self.tensors]


class Subset(Dataset[Sample]):
    """The samples of a data set at some indices."""

    def __init__(self, dataset: Dataset[Sample], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Sample:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    def get_batch(self, indices: Tensor | slice) -> Any:
        """As the data set's own get_batch."""
        chosen = self.__dict__.get("_chosen")
        if chosen is None:
            chosen = self._chosen = ft.tensor([int(i) for i in self.indices], dtype=ft.int64)
        return self.dataset.get_batch(chosen[indices])  # type: ignore[attr-defined]


def batch_getter(dataset: Any) -> Callable[[Any], Any] | None:
    """The data set's get_batch; None where a subclass has changed __getitem__ alone."""
    getter = getattr(dataset, "get_batch", None)
    if getter is None:
        return None
    if isinstance(dataset, Subset) and batch_getter(dataset.dataset) is None:
        return None
    for cls in type(dataset).__mro__:
        if "get_batch" in vars(cls):
            return getter
        if "__getitem__" in vars(cls) or "__getitems__" in vars(cls):
            return None
    return getter


class ConcatDataset(Dataset[Any]):
    """The samples of several data sets, one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one data set, got none.")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise TypeError(
                "ConcatDataset: expected data sets with indices, got an IterableDataset."
            )
        sizes: Any = self.datasets
        self.cumulative_sizes = list(itertools.accumulate(map(len, sizes)))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(
                f"ConcatDataset: expected an index within {size} samples, got {index}."
            )
        index %= size
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class StackDataset(Dataset[Any]):
    """Sample i of several data sets together: a tuple, or a dict where they have names.

    Raises:
      ValueError: no data set, or different lengths.
    Example:
      >>> StackDataset(image=[1, 2], text=["a", "b"])[1]
      {'image': 2, 'text': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset: expected data sets either in order or with names, got "
                f"{len(args)} and {len(kwargs)}."
            )
        self.datasets: Any = args or kwargs
        sizes = {len(dataset) for dataset in (args or kwargs.values())}
        if len(sizes) > 1:
            raise ValueError(
                f"StackDataset: expected data sets of one length, got {sorted(sizes)}."
            )
        (self._length,) = sizes

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ChainDataset(IterableDataset[Any]):
    """The samples of several streams, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(
                    f"ChainDataset: expected IterableDatasets, got {type(dataset).__name__}. Use "
                    "ConcatDataset."
                )
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


def random_split(
    dataset: Dataset[Sample], lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[Sample]]:
    """Subsets that share out a data set at random.

    Args:
      lengths: numbers of samples that sum to the data set's, or shares that sum to 1 (what rounding
        leaves over goes to the first subsets, one each).
      generator: of the random order.
    Raises:
      ValueError: lengths do not sum to the data set's size.
    Example:
      >>> import functorch_like as ft
      >>> [len(part) for part in random_split(TensorDataset(ft.arange(10)), [0.75, 0.25])]
      [8, 2]
    """
    size = len(dataset)  # type: ignore[arg-type]
    if abs(sum(lengths) - 1.0) < 1e-6 and all(0 <= share <= 1 for share in lengths):
        counts = [int(size * share) for share in lengths]
        for i in range(size - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(count) for count in lengths if count == int(count) >= 0]
    if sum(counts) != size or len(counts) != len(lengths):
        raise ValueError(
            f"random_split: expected lengths that sum to {size}, or to 1, got {list(lengths)}."
        )
    order = ft.randperm(size, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [
        Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)
    ]


def train_test_split(*tensors: Tensor, test_size: float = 0.2, seed: int = 0) -> tuple[Any, Any]:
    """(train, test) tuples of tensors, split at random along the first dimension; the same for the
    same seed.

    Args:
      *tensors [n, ...]: split alike.
      test_size: share of the samples that go to test, between 0 and 1.
      seed: of the order; nothing else influences it.
    Raises:
      ValueError: different lengths, or a share that leaves one side empty.
    Example:
      >>> import functorch_like as ft
      >>> (train,), (test,) = train_test_split(ft.arange(10), test_size=0.3)
      >>> len(train), len(test)
      (7, 3)
    """
    size = len(TensorDataset(*tensors))
    test = round(size * test_size)
    if not 0 < test < size:
        raise ValueError(
            f"train_test_split: expected test_size that leaves both sides samples, got {test_size}."
        )
    order = ft.randperm(size, generator=ft.Generator().manual_seed(seed))
    rows = order[test:], order[:test]
    return tuple(t[rows[0]] for t in tensors), tuple(t[rows[1]] for t in tensors)
