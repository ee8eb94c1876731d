"""DataLoader: batches of a data set, in order or shuffled.

For a data set with get_batch (TensorDataset, and Subsets of one) and the default collate, each
tensor is indexed once per batch. Otherwise samples are fetched one by one and collated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import functorch_like as ft
from functorch_like import Generator
from nn.data.collate import default_collate
from nn.data.dataset import IterableDataset, batch_getter
from nn.data.sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]


class DataLoader:
    """Iterates over a data set in batches.

    Args:
      dataset: with __getitem__ and __len__, or an IterableDataset.
      batch_size: samples in a batch; None gives samples as they are.
      shuffle: a new random order in each pass.
      sampler: gives the order; excludes shuffle.
      batch_sampler: gives lists of indices; excludes batch_size, shuffle, sampler and drop_last.
      num_workers: 0; worker processes are not supported yet.
      collate_fn: makes a batch of a list of samples; default_collate by default.
      pin_memory, timeout, worker_init_fn, prefetch_factor, persistent_workers, in_order,
        multiprocessing_context, pin_memory_device: as in torch; no effect without workers.
      drop_last: leave out a last batch that is smaller.
      generator: of the random order.
    Example:
      >>> import functorch_like as ft
      >>> from nn.data import DataLoader, TensorDataset
      >>> data = TensorDataset(ft.arange(5), ft.arange(5) * 10)
      >>> for x, y in DataLoader(data, batch_size=2):
      ...     print(x, y)
      tensor([0, 1]) tensor([ 0, 10])
      tensor([2, 3]) tensor([20, 30])
      tensor([4]) tensor([40])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers != 0:
            raise NotImplementedError(
                f"DataLoader: expected num_workers=0, got {num_workers}. Worker processes are not "
                "supported yet; "
                "samples are loaded in this process."
            )
        self._streamed = isinstance(dataset, IterableDataset)
        if self._streamed and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "DataLoader: expected no shuffle, sampler or batch_sampler with an "
                "IterableDataset, got one. "
                "Shuffle in its __iter__."
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: expected sampler or shuffle, got both.")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader: expected batch_sampler alone, got batch_size, shuffle, sampler or "
                "drop_last too."
            )
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("DataLoader: expected batch_size with drop_last, got None.")
        elif batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0
        ):
            raise ValueError(
                "DataLoader: expected batch_size as an integer above 0 or None, got "
                f"{batch_size!r}."
            )
        if not self._streamed and batch_sampler is None and sampler is None:
            if not hasattr(dataset, "__len__"):
                raise TypeError(
                    f"DataLoader: expected a data set with __len__, got {type(dataset).__name__}. "
                    "Define it, or derive from IterableDataset."
                )
            sampler = (
                RandomSampler(dataset, generator=generator)
                if shuffle
                else SequentialSampler(dataset)
            )
        if batch_size is not None and not self._streamed and batch_sampler is None:
            assert sampler is not None
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.generator = generator
        self.collate_fn = (
            collate_fn
            if collate_fn is not None
            else default_collate
            if self._batched
            else _unchanged
        )
        self._get_batch = batch_getter(dataset) if self.collate_fn is default_collate else None

    @property
    def _batched(self) -> bool:
        return self.batch_size is not None or self.batch_sampler is not None

    def __len__(self) -> int:
        if self._streamed:
            size = len(self.dataset)
            if self.batch_size is None:
                return size
            return size // self.batch_size if self.drop_last else -(-size // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if self._streamed:
            return self._stream()
        if not self._batched:
            return (self.collate_fn(self.dataset[index]) for index in self.sampler)  # type: ignore[union-attr]
        if self._get_batch is not None:
            return self._gather(self._get_batch)
        return self._collect()

    def _stream(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn, self.dataset)
            return
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)

    def _collect(self) -> Iterator[Any]:
        """Samples one by one, or many at once from a data set that has torch's __getitems__."""
        fetch = getattr(self.dataset, "__getitems__", None)
        for indices in self.batch_sampler:  # type: ignore[union-attr]
            yield self.collate_fn(
                fetch(indices) if fetch else [self.dataset[index] for index in indices]
            )

    def _gather(self, get_batch: Callable[[Any], Any]) -> Iterator[Any]:
        """Whole batches: slices of the data in order, or rows picked by a random order."""
        batches = self.batch_sampler
        inner = batches.sampler if type(batches) is BatchSampler else None
        if type(inner) not in (SequentialSampler, RandomSampler):
            for indices in batches:  # type: ignore[union-attr]
                yield get_batch(ft.tensor([int(index) for index in indices], dtype=ft.int64))
            return
        assert isinstance(batches, BatchSampler)
        order = inner.order() if isinstance(inner, RandomSampler) else None
        size, step = len(inner), batches.batch_size  # type: ignore[arg-type]
        for start in range(0, size - step + 1 if batches.drop_last else size, step):
            rows = slice(start, min(start + step, size))
            yield get_batch(rows if order is None else order[rows])


def _unchanged(sample: Any) -> Any:
    """collate_fn of a loader without batches: NumPy arrays become tensors, the rest stays."""
    return ft.tensor(sample) if hasattr(sample, "__array_interface__") else sample
