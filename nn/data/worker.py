"""What runs in a worker of a loader: processes get their tasks over a connection, threads from a
queue."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import functorch_like as ft
from nn.data.fetch import Fetch

__all__ = ["Failure", "WorkerInfo", "get_worker_info", "mixed_seed", "serve_process"]

_local = threading.local()
_CHECK_SECONDS = 2.0  # how often a waiting worker looks whether the loader's process lives


class WorkerInfo(NamedTuple):
    """id, num_workers, seed and dataset of the worker that asks."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in; None in the main process.

    An IterableDataset shares out its samples by it:

    Example:
      >>> get_worker_info() is None
      True
    """
    return getattr(_local, "info", None)


class Failure(NamedTuple):
    """An exception in a worker: its class, its text with the traceback, and itself from threads."""

    kind: Any
    text: str
    error: BaseException | None

    @classmethod
    def of(cls, error: BaseException, keep: bool = False) -> Failure:
        """The exception as it is sent."""
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return cls(type(error), text, error if keep else None)

    def reraise(self, worker: int) -> None:
        """Raise the exception in the loader; RuntimeError where its class takes no message."""
        text = (
            f"DataLoader: expected a batch from worker {worker}, got {self.kind.__name__}. "
            f"The worker's traceback:\n{self.text}"
        )
        if issubclass(self.kind, KeyError):
            text = _Verbatim(text)
        try:
            error = self.kind(text)
        except Exception:
            error = RuntimeError(text)
        raise error from self.error


class _Verbatim(str):
    """KeyError shows the repr of its argument, which would put the traceback on one line."""

    def __repr__(self) -> str:
        return str(self)


class Server:
    """Answers the tasks of one worker, in order; the same for processes and threads."""

    def __init__(self, fetch: Fetch, worker: int, count: int, own_rng: bool) -> None:
        self.fetch, self.worker, self.count = fetch, worker, count
        self.own_rng = own_rng  # threads share the generators of the process
        self.stream: Iterator[Any] | None = None
        self.seed = 0

    def start_pass(self, seed: int) -> None:
        """A new pass over the data."""
        self.seed = seed
        _local.info = WorkerInfo(self.worker, self.count, seed + self.worker, self.fetch.dataset)
        if self.own_rng:
            _seed_all(seed + self.worker)
        self.stream = self.fetch.stream() if self.fetch.streamed else None

    def answer(self, number: int, indices: Any) -> tuple[str, Any]:
        """("batch", value), ("end", None) or ("error", Failure)."""
        try:
            if self.stream is not None:
                try:
                    return "batch", next(self.stream)
                except StopIteration:
                    return "end", None
            if self.own_rng:  # random numbers of a batch do not hang on who makes it
                _seed_all(mixed_seed(self.seed, number))
            return "batch", self.fetch.batch(indices)
        except Exception as error:
            return "error", Failure.of(error, keep=not self.own_rng)


def serve_process(
    connection: Any,
    fetch: Fetch,
    worker: int,
    count: int,
    init: Callable[[int], None] | None,
    seed: int,
    inherited: list[Any],
) -> None:
    """The main function of a worker process."""
    import signal
    from contextlib import suppress

    from nn.data import transport

    for other in inherited:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    ft.set_num_threads(1)
    server = Server(fetch, worker, count, own_rng=True)
    server.start_pass(seed)
    failed: Failure | None = None
    if init is not None:
        try:
            init(worker)
        except Exception as error:
            failed = Failure.of(error)
    with suppress(EOFError, OSError):  # the loader is gone
        while _waits(connection):
            message = connection.recv()
            if message is None:
                return
            turn, number, task = message
            if number is None:
                server.start_pass(task)
                continue
            kind, value = ("error", failed) if failed else server.answer(number, task)
            try:
                transport.send(connection, (turn, number, kind), value)
            except OSError:
                raise
            except Exception as error:  # a batch or an exception class that cannot be pickled
                if kind == "error":
                    value = Failure(RuntimeError, value.text, None)  # type: ignore[union-attr]
                else:
                    value = Failure.of(error)
                transport.send(connection, (turn, number, "error"), value)


def _waits(connection: Any) -> bool:
    """Wait for a message; False when the loader's process has ended."""
    import multiprocessing

    parent, above = multiprocessing.parent_process(), os.getppid()
    while not connection.poll(_CHECK_SECONDS):
        if (parent is not None and not parent.is_alive()) or os.getppid() != above:
            return False
    return True


def _seed_all(seed: int) -> None:
    """Seed every generator that samples may be drawn with."""
    ft.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % (1 << 32))


def mixed_seed(seed: int, number: int) -> int:
    """A seed for a batch of a pass (SplitMix64, Steele, Lea & Flood 2014)."""
    mask = (1 << 64) - 1
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
