"""Who computes what: batches that stay the same for any number of ranks, and seeds of each rank."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group
from nn.data.sampler import DistributedSampler

__all__ = ["DistributedSampler", "GlobalBatches", "manual_seed", "rank_generator", "rank_key"]


class GlobalBatches:
    """Batches of the whole job, of each of which a rank gets its share; resumes at any step.

    The order and the batches do not depend on the number of ranks. So a job that goes on with fewer
    of them takes the same steps, and no learning rate has to change: that is the rule when the
    number of ranks changes. (Where each rank's share is fixed instead, the whole batch shrinks with
    the ranks; scale the rate of SGD by the same factor then, Goyal et al. 2017.)

    Args:
      dataset: anything with a length.
      batch_size: of the whole job; a multiple of the number of ranks.
      seed: of the order, another in each epoch; None for no shuffling.
      group: by default all ranks.
    Raises:
      ValueError: the batch cannot be shared out evenly.
    Example:
      >>> from nn.distributed import GlobalBatches
      >>> batches = GlobalBatches(range(5), 2, seed=None)
      >>> [indices for step, indices in batches.steps(1, 4)]
      [[2, 3], [0, 1], [2, 3]]
    """

    def __init__(
        self, dataset: Sized, batch_size: int, seed: int | None = 0, group: Group | None = None
    ):
        self.group = distributed.world(group)
        if batch_size % self.group.size or not 0 < batch_size <= len(dataset):
            raise ValueError(
                f"GlobalBatches: expected batch_size as a multiple of {self.group.size}, the "
                f"number of ranks, within 1..{len(dataset)}, got {batch_size}."
            )
        self.length, self.batch_size, self.seed = len(dataset), batch_size, seed
        self.per_epoch = len(dataset) // batch_size  # what is left over is left out

    def __len__(self) -> int:
        return self.per_epoch

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, list[int]]]:
        """(step, indices for this rank) of steps start to stop - 1, through all epochs."""
        epoch, order = -1, []
        for step in range(start, stop):
            now, place = divmod(step, self.per_epoch)
            if now != epoch:
                epoch, order = now, self._order(now)
            batch = order[place * self.batch_size : (place + 1) * self.batch_size]
            yield step, batch[self.group.rank :: self.group.size]

    def _order(self, epoch: int) -> list[int]:
        if self.seed is None:
            return list(range(self.length))
        generator = ft.Generator().manual_seed(self.seed + epoch)
        return ft.randperm(self.length, generator=generator).tolist()


def rank_key(seed: int, group: Group | None = None) -> Tensor:
    """A key for ft.random that is another one on each rank."""
    return ft.random.fold_in(ft.random.key(seed), distributed.rank(group))


def rank_generator(seed: int, group: Group | None = None) -> Any:
    """A generator with a stream of its own on each rank."""
    high, low = rank_key(seed, group).tolist()
    return ft.Generator().manual_seed(high << 32 | low)


def manual_seed(seed: int, group: Group | None = None) -> None:
    """Seeds the default generator, so that dropout and noise differ between ranks.

    Example:
      >>> from nn import distributed
      >>> distributed.manual_seed(0)
    """
    ft.manual_seed(rank_generator(seed, group).initial_seed())
