"""DataLoader: batches of a data set, in order or shuffled, made here or by workers.

For a data set with get_batch (TensorDataset, and Subsets of one) and the default collate, each
tensor is indexed once per batch. Otherwise samples are fetched one by one and collated.

A loader can be stopped within a pass and go on later: it keeps the random state from which the
order of the pass was drawn, and the number of batches given out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Generator, Tensor, tree
from functorch_like.ops.random import default_generator
from nn.data.collate import default_collate, default_convert
from nn.data.dataset import IterableDataset, batch_getter
from nn.data.fetch import Fetch
from nn.data.sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]

# what others have been made of
_FIXED = frozenset({"dataset", "batch_size", "sampler", "batch_sampler", "drop_last"})


class DataLoader:
    """Iterates over a data set in batches.

    Args:
      dataset: with __getitem__ and __len__, or an IterableDataset.
      batch_size: samples in a batch; None gives samples as they are.
      shuffle: a new random order in each pass.
      sampler: gives the order; excludes shuffle.
      batch_sampler: gives lists of indices; excludes batch_size, shuffle, sampler and drop_last.
      num_workers: processes (or threads) that make the batches; 0 makes them here.
      collate_fn: makes a batch of a list of samples; default_collate by default.
      pin_memory: put batches into page-locked memory, which moves to a GPU without waiting
        (`.to("cuda")`); of no effect without a GPU.
      pin_memory_device: accepted as torch does.
      drop_last: leave out a last batch that is smaller.
      timeout: most seconds to wait for a batch of a worker; 0 for no limit.
      worker_init_fn: called in each worker with its number.
      multiprocessing_context: how workers start: "forkserver" (the default), "spawn", "fork", a
        context of multiprocessing; or "thread".
      generator: of the random order, and of the workers' seeds.
      prefetch_factor: batches that each worker makes ahead; 2 by default.
      persistent_workers: keep the workers between passes.
      in_order: give batches out in order; without, as they come.
    Raises:
      ValueError, TypeError: options that exclude each other or are out of range.
      RuntimeError: while iterating, a worker that died or took too long; an exception in a worker
        is raised here as its own class, with the worker's traceback.
    Notes: In worker processes the random generators (ours, Python's, NumPy's) are seeded anew for
      each batch, from the pass's seed and the batch's number: the batches are the same for any
      number of workers. Streams have one seed for each worker instead. Threads share the generators
      of the process.
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
        _check_workers(num_workers, prefetch_factor, persistent_workers, timeout)
        _check_context(multiprocessing_context, num_workers)
        self._streamed = isinstance(dataset, IterableDataset)
        _check_order(self._streamed, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
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
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.generator = generator
        self.collate_fn = (
            collate_fn
            if collate_fn is not None
            else default_collate
            if self._batched
            else default_convert
        )
        self._get_batch = batch_getter(dataset) if self.collate_fn is default_collate else None
        if not self._batched:
            self._get_batch = None
        self._pool: Any = None
        self._pass: dict[str, Any] = {"batches": 0, "rng": None}
        self._resume: dict[str, Any] | None = None

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

    # ---- passes ----

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        source = self._source()
        state = source.get_state().tolist() if resume is None else resume["rng"]
        position = self._pass = {"batches": resume["batches"] if resume else 0, "rng": state}
        if resume is None:
            return self._counted(self._begin(0), position)
        after = source.get_state()
        source.set_state(ft.tensor(state, dtype=ft.int64))
        try:  # the order is drawn with the first batch that is asked for
            return self._counted(self._begin(position["batches"]), position)
        finally:
            source.set_state(after)

    def _begin(self, skip: int) -> Iterator[Any]:
        """A pass from its batch number `skip` on; random numbers are drawn here, not later."""
        if self.num_workers:
            return self._work(skip)
        if self._streamed:
            return itertools.islice(self._fetch().stream(), skip, None)
        if self._get_batch is not None:
            return self._gather(self._get_batch, skip)
        tasks = _started(self._tasks(), skip)
        batch = self._fetch().batch
        return (batch(task) for task in tasks)  # with map, a sample's StopIteration ends the pass

    def _counted(self, iterator: Iterator[Any], position: dict[str, Any]) -> Iterator[Any]:
        pinned = self.pin_memory and ft.cuda.is_available()
        for batch in iterator:
            position["batches"] += 1
            yield tree.map(_pinned, batch) if pinned else batch
        position.update(batches=0, rng=None)

    def _tasks(self) -> Iterable[Any]:
        return self.sampler if not self._batched else self.batch_sampler  # type: ignore[return-value]

    def _fetch(self) -> Fetch:
        return Fetch(
            self.dataset,
            self.collate_fn,
            self._batched,
            self.batch_size,
            self.drop_last,
            self._get_batch is not None,
        )

    def _work(self, skip: int) -> Iterator[Any]:
        """A pass whose batches come from workers."""
        seed = int(ft.randint(0, 1 << 62, (), dtype=ft.int64, generator=self.generator).item())
        tasks = itertools.repeat(None) if self._streamed else _started(self._tasks(), skip)
        iterator = self._from_workers(seed, tasks, 0 if self._streamed else skip)
        return itertools.islice(iterator, skip if self._streamed else 0, None)

    def _from_workers(self, seed: int, tasks: Iterable[Any], first: int) -> Iterator[Any]:
        from nn.data.pool import ProcessPool, ThreadPool, batches, next_turn

        pool, self._pool = self._pool, None
        if pool is not None:
            pool.turn = next_turn()
            pool.start_pass(pool.turn, seed)
        else:
            init, count = self.worker_init_fn, self.num_workers
            if self.multiprocessing_context == "thread":
                pool = ThreadPool(self._fetch(), count, init, seed)
            else:
                context = self.multiprocessing_context
                pool = ProcessPool(self._fetch(), count, init, context, seed)
            pool.turn = next_turn()
        failed = True
        try:
            yield from batches(
                pool,
                self.num_workers,
                tasks,
                first,
                self.prefetch_factor or 2,
                self.timeout,
                self.in_order,
            )
            failed = False
        except GeneratorExit:  # left early: the workers are as good as before
            failed = False
            raise
        finally:
            if self.persistent_workers and not failed and self._pool is None:
                self._pool = pool
            else:
                pool.close()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and name in self.__dict__:
            raise ValueError(
                f"DataLoader: expected {name} to stay as it was made, got a new one. Make another "
                "DataLoader."
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    # ---- stopping and going on ----

    def _source(self) -> Generator:
        """The generator that the order of a pass is drawn from."""
        inner = getattr(self.batch_sampler, "sampler", self.batch_sampler)
        for owner in (self, self.sampler, inner):
            generator = getattr(owner, "generator", None)
            if generator is not None:
                return generator
        return default_generator

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: plain numbers and lists.

        Returns:
          batches: given out in the present pass, 0 between passes.
          rng: state from which the pass's order was drawn; None between passes.
          generator: state of the loader's or sampler's own generator; None for the global one,
            whose state is ft.get_rng_state().
        """
        source = self._source()
        own = None if source is default_generator else source.get_state().tolist()
        current = self._resume or self._pass
        return {"batches": current["batches"], "rng": current["rng"], "generator": own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from state_dict(): the next pass gives the rest of that one, in its order.

        Batches are made anew only from there on; a stream is read from its start and its first
        batches dropped. Samplers must draw their order when iteration starts, as all of ours do.
        """
        if state_dict["generator"] is not None:
            self._source().set_state(ft.tensor(state_dict["generator"], dtype=ft.int64))
        self._resume = None
        if state_dict["rng"] is not None:
            self._resume = {"batches": state_dict["batches"], "rng": state_dict["rng"]}

    def _gather(self, get_batch: Callable[[Any], Any], skip: int) -> Iterator[Any]:
        """Whole batches: slices of the data in order, or rows picked by a random order."""
        batches = self.batch_sampler
        inner = batches.sampler if type(batches) is BatchSampler else None
        drawn = type(inner) is RandomSampler and inner.at_once
        if not drawn and type(inner) is not SequentialSampler:
            tasks = _started(batches, skip)  # type: ignore[arg-type]
            return (get_batch(ft.tensor([int(i) for i in one], dtype=ft.int64)) for one in tasks)
        assert isinstance(batches, BatchSampler)
        order = inner.order() if drawn else None  # type: ignore[union-attr]
        size, step = len(inner), batches.batch_size  # type: ignore[arg-type]
        starts = range(skip * step, size - step + 1 if batches.drop_last else size, step)
        rows = (slice(start, min(start + step, size)) for start in starts)
        return (get_batch(some if order is None else order[some]) for some in rows)


def _started(tasks: Iterable[Any], skip: int) -> Iterator[Any]:
    """The tasks behind the first ones; one is taken at once, so that the order is drawn now."""
    iterator = itertools.islice(iter(tasks), skip, None)
    return itertools.chain(list(itertools.islice(iterator, 1)), iterator)


def _pinned(value: Any) -> Any:
    return value.pin_memory() if isinstance(value, Tensor) else value


def _check_order(
    streamed: bool, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if streamed and (shuffle or sampler is not None or batch_sampler is not None):
        raise ValueError(
            "DataLoader: expected no shuffle, sampler or batch_sampler with an IterableDataset, "
            "got one. Shuffle in its __iter__."
        )
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: expected sampler or shuffle, got both.")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "DataLoader: expected batch_sampler alone, got batch_size, shuffle, sampler or "
                "drop_last too."
            )
    elif batch_size is None:
        if drop_last:
            raise ValueError("DataLoader: expected batch_size with drop_last, got None.")
    elif isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0:
        raise ValueError(
            f"DataLoader: expected batch_size as an integer above 0 or None, got {batch_size!r}."
        )


def _check_workers(count: int, prefetch: int | None, persistent: bool, timeout: float) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"DataLoader: expected num_workers as an integer >= 0, got {count!r}.")
    if prefetch is not None and (count == 0 or prefetch < 1):
        raise ValueError(
            f"DataLoader: expected prefetch_factor above 0 and with workers, got {prefetch} and "
            f"num_workers={count}."
        )
    if persistent and count == 0:
        raise ValueError("DataLoader: expected persistent_workers with num_workers above 0, got 0.")
    if timeout < 0:
        raise ValueError(f"DataLoader: expected timeout >= 0, got {timeout}.")


def _check_context(context: Any, count: int) -> None:
    if context is None:
        return
    if count == 0:
        raise ValueError(
            "DataLoader: expected multiprocessing_context with num_workers above 0, got 0."
        )
    if isinstance(context, str) and context != "thread":
        import multiprocessing

        known = [*multiprocessing.get_all_start_methods(), "thread"]
        if context not in known:
            raise ValueError(
                f"DataLoader: expected multiprocessing_context as one of {', '.join(known)}, got "
                f"{context!r}."
            )
