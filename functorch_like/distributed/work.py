"""Work: a collective under way, and the thread that carries such collectives out in order.

MPI makes progress on a non-blocking collective only inside of calls, so it would stand still while
this process computes. A thread that makes the blocking call instead lets it advance; it works off
its queue in order, so ranks that ask for collectives in one order meet in that order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from ..errors import message


class Work:
    """What a collective with async_op=True returns.

    Example:
      >>> from functorch_like import distributed
      >>> work = distributed.all_reduce(ones(2), async_op=True)
      >>> work.wait()
      tensor([1., 1.])
    """

    def __init__(self, what: str):
        self.what = what
        self._done = threading.Event()
        self._value: Any = None
        self._finish: list[Callable[[Any], Any]] = []
        self._error: BaseException | None = None

    def run(self, function: Callable[[], Any]) -> Work:
        """Computes the result; an error is kept for wait()."""
        try:
            self._value = function()
        except BaseException as error:
            self._error = error
        self._done.set()
        return self

    def then(self, finish: Callable[[Any], Any]) -> Work:
        """Has the first wait() give finish(result), computed in the thread that waits."""
        self._finish.append(finish)
        return self

    def is_completed(self) -> bool:
        """Is the result there, or an error?"""
        return self._done.is_set()

    def exception(self) -> BaseException | None:
        """The error that ended it, or None; does not wait."""
        return self._error

    def wait(self, timeout: float | None = None) -> Any:
        """The result, once it is there.

        Raises:
          TimeoutError: it took longer than timeout seconds. CollectiveError: it failed.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(message(self.what, f"a result within {timeout} s", "none yet"))
        if self._error is not None:
            raise self._error
        while self._finish:
            self._value = self._finish[0](self._value)
            self._finish.pop(0)
        return self._value

    result = wait


class Courier:
    """A thread that runs functions in the order they were handed in."""

    def __init__(self, name: str):
        self._name = name
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, what: str, function: Callable[[], Any]) -> Work:
        """Has a function run; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()
        work = Work(what)
        self._queue.put((work, function))
        return work

    def stop(self) -> None:
        """Lets the thread end after what is in the queue."""
        if self._thread is not None and self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout=5.0)
        self._thread = None

    def _loop(self) -> None:
        while (item := self._queue.get()) is not None:
            work, function = item
            work.run(function)
            del item, work, function  # not kept alive until the next one comes
