"""Making batches of a data set from indices: the part of a loader that may run in workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import functorch_like as ft
from nn.data.dataset import IterableDataset

__all__ = ["Fetch"]


class Fetch:
    """What a worker needs to make batches.

    Args:
      dataset: with indices, or an IterableDataset.
      collate_fn: makes a batch of a list of samples; without batches, changes a sample.
      batched: whether indices come as lists.
      batch_size, drop_last: of the batches of a stream; None for samples as they are.
      get_batch: whether the data set's own get_batch makes the batches.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[Any], Any],
        batched: bool,
        batch_size: int | None,
        drop_last: bool,
        get_batch: bool,
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batched = batched
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.get_batch = get_batch

    @property
    def streamed(self) -> bool:
        """Whether the data set is a stream."""
        return isinstance(self.dataset, IterableDataset)

    def batch(self, indices: Any) -> Any:
        """The batch of a list of indices; one sample where there are no batches."""
        if self.get_batch:
            return self.dataset.get_batch(ft.tensor([int(i) for i in indices], dtype=ft.int64))
        if not self.batched:
            return self.collate_fn(self.dataset[indices])
        many = getattr(self.dataset, "__getitems__", None)
        return self.collate_fn(
            many(indices) if many else [self.dataset[index] for index in indices]
        )

    def stream(self) -> Iterator[Any]:
        """The batches of a stream."""
        if self.batch_size is None:
            for sample in self.dataset:
                yield self.collate_fn(sample)
            return
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)
