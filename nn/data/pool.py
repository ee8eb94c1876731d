"""Workers of a loader, as processes or threads, and the order in which their batches are given out.

A loader hands out tasks in turn and keeps prefetch_factor of them with each worker. Answers carry
the number of the pass, so that those of a pass that was left early are dropped.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nn.data import transport
from nn.data.fetch import Fetch
from nn.data.worker import Failure, Server, serve_process

__all__ = ["ProcessPool", "ThreadPool", "batches"]

_PATIENCE = 5.0  # seconds that a worker has to end by itself

Answer = tuple[int, int, int, str, Any]  # worker, pass, number, kind, value


class ProcessPool:
    """Worker processes, each with a connection of its own.

    Args:
      fetch: pickled to the workers, but for those that are forked.
      count: how many.
      init: called in each with its number.
      context: a multiprocessing context or the name of one.
      seed: of the first pass.
    Raises:
      TypeError: something that cannot be pickled.
    """

    def __init__(
        self,
        fetch: Fetch,
        count: int,
        init: Callable[[int], None] | None,
        context: Any,
        seed: int,
    ) -> None:
        import multiprocessing

        if context is None or isinstance(context, str):
            methods = multiprocessing.get_all_start_methods()
            default = "forkserver" if "forkserver" in methods else "spawn"
            context = multiprocessing.get_context(context or default)
        _import_ahead(context)
        self.turn = 0  # number of the present pass
        self.processes: list[Any] = []
        self.connections: list[Any] = []
        self._finalizer = weakref.finalize(self, _end, self.processes, self.connections)
        for worker in range(count):
            ours, theirs = context.Pipe(duplex=True)
            self.connections.append(ours)
            process = context.Process(
                target=serve_process,
                args=(theirs, fetch, worker, count, init, seed, self._inherited(context)),
                name=f"DataLoader worker {worker}",
                daemon=True,
            )
            try:
                process.start()
            except (TypeError, AttributeError, ValueError) as error:
                self.close()
                raise TypeError(
                    "DataLoader: expected a data set, collate_fn and worker_init_fn that can be "
                    f"pickled, got one that cannot ({error}). Define them at the top of a module, "
                    "or pass multiprocessing_context='fork' or 'thread'."
                ) from error
            except BaseException:
                self.close()
                raise
            finally:
                theirs.close()
            self.processes.append(process)

    def _inherited(self, context: Any) -> list[Any]:
        """Our ends, which a forked worker has too: it must close them, or none sees the others'
        end."""
        method = getattr(context, "get_start_method", lambda: None)()
        return list(self.connections) if method == "fork" else []

    def start_pass(self, turn: int, seed: int) -> None:
        """Begin a new pass in every worker."""
        for worker in range(len(self.processes)):
            self.give(worker, turn, None, seed)

    def give(self, worker: int, turn: int, number: int | None, task: Any) -> None:
        """Hand a task to a worker."""
        try:
            self.connections[worker].send((turn, number, task))
        except OSError:
            self._report(worker)

    def take(self, timeout: float | None) -> Answer | None:
        """The next answer; None after timeout seconds without one."""
        from multiprocessing.connection import wait

        sentinels = {process.sentinel: i for i, process in enumerate(self.processes)}
        open_ones = {connection: i for i, connection in enumerate(self.connections)}
        ready = wait([*open_ones, *sentinels], timeout)
        dead = []
        for thing in ready:
            worker = open_ones.get(thing)  # type: ignore[arg-type]
            if worker is None:
                dead.append(sentinels[thing])  # type: ignore[index]
                continue
            try:
                (turn, number, kind), value = transport.receive(thing)
            except (EOFError, OSError):
                dead.append(worker)
                continue
            return worker, turn, number, kind, value
        if dead:
            self._report(dead[0])
        return None

    def _report(self, worker: int) -> None:
        import signal

        process = self.processes[worker]
        process.join(_PATIENCE)
        code, number = process.exitcode, process.pid
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            hint = "The system kills a process that takes too much memory; use fewer workers."
        else:
            how = f"ended with exit code {code}"
            hint = (
                "Its own messages are above. A script that starts workers needs "
                'if __name__ == "__main__": around its main part.'
            )
        self.close()
        raise RuntimeError(
            f"DataLoader: expected worker {worker} (pid {number}) to go on, but it {how}. {hint}"
        )

    def close(self) -> None:
        """End the workers."""
        self._finalizer()


def _import_ahead(context: Any) -> None:
    """Let the server that forks workers import once what each of them needs: they start at once.

    A list of modules that the program has set stays; a server that runs already is as it is.
    """
    if context.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        server = getattr(forkserver, "_forkserver", None)
        if getattr(server, "_preload_modules", None) == ["__main__"]:
            context.set_forkserver_preload(["__main__", "nn.data.worker", "numpy"])


def _end(processes: list[Any], connections: list[Any]) -> None:
    """End processes: asked, after a while terminated, then killed."""
    for connection in connections:
        connection.close()  # a worker that waits or sends sees it at once
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        process.join(max(0.0, min(0.2, deadline - time.monotonic())))
    for process in processes:
        if process.is_alive():
            process.terminate()  # busy with a sample: the batch is not wanted any more
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
    processes.clear()
    connections.clear()


class ThreadPool:
    """Worker threads: nothing is copied or pickled; for samples that are made outside of Python."""

    def __init__(
        self, fetch: Fetch, count: int, init: Callable[[int], None] | None, seed: int
    ) -> None:
        self.turn = 0
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._tasks: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(count)]
        self._finalizer = weakref.finalize(self, _stop, self._tasks)
        for worker, tasks in enumerate(self._tasks):
            server = Server(fetch, worker, count, own_rng=False)
            threading.Thread(
                target=_serve_thread,
                args=(tasks, self._answers, server, init, seed),
                name=f"DataLoader worker {worker}",
                daemon=True,
            ).start()

    def start_pass(self, turn: int, seed: int) -> None:
        """Begin a new pass in every worker."""
        for worker in range(len(self._tasks)):
            self.give(worker, turn, None, seed)

    def give(self, worker: int, turn: int, number: int | None, task: Any) -> None:
        """Hand a task to a worker."""
        self._tasks[worker].put((turn, number, task))

    def take(self, timeout: float | None) -> Answer | None:
        """The next answer; None after timeout seconds without one."""
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the workers, each after the sample it is busy with."""
        self._finalizer()


def _stop(tasks: list[Any]) -> None:
    for one in tasks:
        while not one.empty():
            try:
                one.get_nowait()
            except queue.Empty:
                break
        one.put(None)


def _serve_thread(
    tasks: Any, answers: Any, server: Server, init: Callable[[int], None] | None, seed: int
) -> None:
    server.start_pass(seed)
    failed: Failure | None = None
    if init is not None:
        try:
            init(server.worker)
        except Exception as error:
            failed = Failure.of(error, keep=True)
    while (message := tasks.get()) is not None:
        turn, number, task = message
        if number is None:
            server.start_pass(task)
            continue
        kind, value = ("error", failed) if failed else server.answer(number, task)
        answers.put((server.worker, turn, number, kind, value))


_turns = itertools.count(1)


def batches(
    pool: Any,
    count: int,
    tasks: Iterable[Any],
    first: int,
    prefetch: int,
    timeout: float,
    in_order: bool,
) -> Iterator[Any]:
    """The batches of one pass.

    Args:
      pool: whose start_pass is done here with the number that its answers carry.
      count: number of workers.
      tasks: lists of indices; for streams, anything as long as batches are wanted.
      first: the number of the first task in its pass.
      prefetch: tasks that each worker may have.
      timeout: most seconds to wait for a batch; 0 for no limit.
      in_order: give batches out in the order of the tasks.
    Raises:
      RuntimeError: a worker died, or took too long; or the exception that a worker raised.
    """
    turn = pool.turn
    source = enumerate(tasks, first)
    waiting = [0] * count  # tasks that each worker has
    ended = [False] * count  # streams that are used up
    order: list[int] = []  # numbers of tasks whose answers have not been given out
    found: dict[int, tuple[int, str, Any]] = {}
    following = itertools.cycle(range(count))
    used_up = False

    def hand_out() -> None:
        nonlocal used_up
        idle = 0
        while not used_up and idle < count:
            worker = next(following)
            # in order, the turns of workers are fixed: none is passed over for being slow
            if ended[worker] or waiting[worker] >= prefetch:
                idle += 1
                if in_order and not ended[worker]:
                    for _ in range(count - 1):
                        next(following)
                    return
                continue
            idle = 0
            item = next(source, None)
            if item is None:
                used_up = True
                return
            number, task = item
            pool.give(worker, turn, number, task)
            waiting[worker] += 1
            order.append(number)

    hand_out()
    while order:
        ready = order[0] if in_order else next((n for n in order if n in found), None)
        if ready is None or ready not in found:
            answer = pool.take(timeout or None)
            if answer is None:
                if timeout:
                    pool.close()
                    raise RuntimeError(
                        f"DataLoader: expected a batch within timeout={timeout:g} seconds, got "
                        "none. Raise timeout, or look for a lock in the data set."
                    )
                continue
            worker, its_turn, number, kind, value = answer
            if its_turn == turn:
                found[number] = (worker, kind, value)
                waiting[worker] -= 1
                if kind == "end":
                    ended[worker] = True
            continue
        order.remove(ready)
        worker, kind, value = found.pop(ready)
        hand_out()
        if kind == "error":
            value.reraise(worker)
        if kind == "batch":
            yield value


def next_turn() -> int:
    """The number of a new pass, unlike that of any other."""
    return next(_turns)
