"""Samplers: the order in which a loader visits samples."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import functorch_like as ft
from functorch_like import Generator, Tensor

__all__ = [
    "BatchSampler",
    "DistributedSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


def _check_count(sampler: str, name: str, count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
        raise ValueError(f"{sampler}: expected {name} as an integer above 0, got {count!r}.")


class Sampler:
    """Base of samplers: define __iter__() over indices and __len__()."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: expected a method __iter__(), got none.")


_MOST = 1 << 20  # indices of a random order that are drawn at once


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
        if num_samples is not None:
            _check_count("RandomSampler", "num_samples", num_samples)
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    @property
    def at_once(self) -> bool:
        """Is the order drawn as a whole? One of more indices than anybody reads is not."""
        size = len(self.data_source)
        return not size or self.num_samples <= max(_MOST, size)

    def order(self) -> Tensor:
        """The indices of one pass [num_samples] int64, newly drawn."""
        return self._drawn(self.num_samples, self.generator)

    def _drawn(self, count: int, generator: Generator | None) -> Tensor:
        size = len(self.data_source)
        if size == 0:
            return ft.zeros(0, dtype=ft.int64)
        if self.replacement:
            return ft.randint(0, size, (count,), dtype=ft.int64, generator=generator)
        passes = -(-count // size)
        orders = [ft.randperm(size, generator=generator) for _ in range(passes)]
        return (orders[0] if passes == 1 else ft.cat(orders))[:count]

    def _in_pieces(self, seed: int) -> Iterator[int]:
        generator, size = ft.Generator().manual_seed(seed), len(self.data_source)
        piece = -(-_MOST // size) * size  # whole passes, where those have each index once
        for start in range(0, self.num_samples, piece):
            yield from self._drawn(min(piece, self.num_samples - start), generator).tolist()

    def __iter__(self) -> Iterator[int]:
        if self.at_once:
            return iter(self.order().tolist())
        seed = ft.randint(0, 1 << 62, (), dtype=ft.int64, generator=self.generator)
        return self._in_pieces(int(seed))

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Given indices in random order, each once."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = ft.randperm(len(self.indices), generator=self.generator).tolist()
        return iter([self.indices[i] for i in order])

    def __len__(self) -> int:
        return len(self.indices)


class DistributedSampler(Sampler):
    """The share of one of several processes that train together: all shares have one size.

    Args:
      dataset: the data set.
      num_replicas, rank: number of processes, and of this one; WORLD_SIZE and RANK of the
        environment by default.
      shuffle: a random order, the same in all processes; another after set_epoch().
      seed: of the order.
      drop_last: leave out samples that cannot be shared out; else some come twice.
    Raises:
      ValueError: rank outside 0..num_replicas - 1.
    Example:
      >>> [list(DistributedSampler(range(5), 2, rank, shuffle=False)) for rank in (0, 1)]
      [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"DistributedSampler: expected rank within 0..{num_replicas - 1}, got {rank}."
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last

    @property
    def num_samples(self) -> int:
        """How many indices each process gets."""
        size, count = len(self.dataset), self.num_replicas
        return size // count if self.drop_last else -(-size // count)

    def __iter__(self) -> Iterator[int]:
        size, total = len(self.dataset), self.num_samples * self.num_replicas
        order = list(range(size))
        if self.shuffle:
            generator = ft.Generator().manual_seed(self.seed + self.epoch)
            order = ft.randperm(size, generator=generator).tolist()
        order = list(itertools.islice(itertools.cycle(order), total)) if size else []
        return iter(order[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; call it before each pass, alike in all processes."""
        self.epoch = epoch


class WeightedRandomSampler(Sampler):
    """Indices drawn with probabilities proportional to weights.

    Args:
      weights [n]: finite, not negative, not all zero.
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
        if not isinstance(weights, Tensor):
            weights = ft.tensor([float(weight) for weight in weights], dtype=ft.float64)
        self.weights = weights.detach().to(ft.float64, copy=True)
        if self.weights.ndim != 1:
            raise ValueError(
                "WeightedRandomSampler: expected weights of one dimension, got shape "
                f"{list(self.weights.shape)}."
            )
        usable = int((self.weights > 0).sum())
        if not usable or not bool(((self.weights >= 0) & self.weights.isfinite()).all()):
            raise ValueError(
                "WeightedRandomSampler: expected finite weights >= 0 and one above 0, got others."
            )
        _check_count("WeightedRandomSampler", "num_samples", num_samples)
        if not replacement and num_samples > usable:
            raise ValueError(
                f"WeightedRandomSampler: expected num_samples within 1..{usable} (the positive "
                f"weights), got {num_samples}."
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = self.weights
        if self.replacement:
            upto = weights.cumsum(0)
            last = int((weights > 0).nonzero()[-1])  # rounding must not lead past it
            draws = ft.rand(self.num_samples, dtype=ft.float64, generator=self.generator)
            found = ft.searchsorted(upto, draws * upto[-1], right=True)
            return iter(found.clamp(max=last).tolist())
        draws = ft.rand(len(weights), dtype=ft.float64, generator=self.generator)
        keys = ft.where(weights > 0, ft.log1p(-draws) / weights, -math.inf)
        order = keys.argsort(descending=True, stable=True)
        return iter(order[: self.num_samples].tolist())

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
        _check_count("BatchSampler", "batch_size", batch_size)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        size = len(self.sampler)  # type: ignore[arg-type]
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)
