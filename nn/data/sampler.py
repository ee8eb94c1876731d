"""Samplers: the order in which a loader visits samples."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import functorch_like as ft
from functorch_like import Generator, Tensor

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "WeightedRandomSampler"]


class Sampler:
    """Base of samplers: define __iter__() over indices and __len__()."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: expected a method __iter__(), got none.")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Indices in random order, each once; or drawn with replacement.

    Args:
      data_source: the data set.
      replacement: draw every index from all of them.
      num_samples: how many; the data set's size by default.
      generator: of the random order; the global one by default.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and num_samples <= 0:
            raise ValueError(f"RandomSampler: expected num_samples > 0, got {num_samples}.")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def order(self) -> Tensor:
        """The indices of one pass [num_samples] int64, newly drawn."""
        size, count = len(self.data_source), self.num_samples
        if size == 0:
            return ft.zeros(0, dtype=ft.int64)
        if self.replacement:
            return ft.randint(0, size, (count,), dtype=ft.int64, generator=self.generator)
        passes = -(-count // size)
        orders = [ft.randperm(size, generator=self.generator) for _ in range(passes)]
        return (orders[0] if passes == 1 else ft.cat(orders))[:count]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples


class WeightedRandomSampler(Sampler):
    """Indices drawn with probabilities proportional to weights.

    Args:
      weights [n]: not negative, not all zero.
      num_samples: how many indices one pass gives.
      replacement: draw every index from all of them; without, at most n.
      generator: of the random numbers.
    Notes: Without replacement: the largest of log(uniform) / weight (Efraimidis & Spirakis 2006).
    """

    def __init__(
        self,
        weights: Sequence[float] | Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        weights = weights.tolist() if isinstance(weights, Tensor) else weights
        self.weights = ft.tensor([float(weight) for weight in weights], dtype=ft.float64)
        usable = sum(weight > 0 for weight in self.weights.tolist())
        if any(not weight >= 0 for weight in self.weights.tolist()) or not usable:
            raise ValueError(
                "WeightedRandomSampler: expected weights >= 0 and one above 0, got others."
            )
        if num_samples <= 0 or (not replacement and num_samples > usable):
            raise ValueError(
                f"WeightedRandomSampler: expected num_samples within 1..{usable} (the positive "
                f"weights), got {num_samples}."
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = self.weights.tolist()
        if self.replacement:
            cumulative = list(itertools.accumulate(weights))
            last = max(
                i for i, weight in enumerate(weights) if weight > 0
            )  # rounding must not lead past it
            draws = ft.rand(self.num_samples, dtype=ft.float64, generator=self.generator).tolist()
            return iter(
                [
                    min(bisect.bisect_right(cumulative, draw * cumulative[-1]), last)
                    for draw in draws
                ]
            )
        draws = ft.rand(len(weights), dtype=ft.float64, generator=self.generator).tolist()
        keys = [
            math.log(1.0 - draw) / weight if weight > 0 else -math.inf
            for draw, weight in zip(draws, weights, strict=True)
        ]
        return iter(
            sorted(range(len(keys)), key=keys.__getitem__, reverse=True)[: self.num_samples]
        )

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of batch_size indices from another sampler; a shorter last one is left out with
    drop_last.

    Example:
      >>> list(BatchSampler(SequentialSampler(range(5)), 2, drop_last=False))
      [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(
                f"BatchSampler: expected batch_size as an integer above 0, got {batch_size!r}."
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        size = len(self.sampler)  # type: ignore[arg-type]
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)
