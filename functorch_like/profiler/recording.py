"""profile() and record_function(): what happens while a profile is taken.

Kernels and instructions are noted by the core, wherever they are called from: eager code, the tape,
transforms, layers, compiled programs, other threads. Python's side of a call is the same with a
profiler and without.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from functools import wraps
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Any, TypeVar

from cbackend import ffi, lib

from ..errors import message
from .averages import Averages, average
from .events import Event, decode, nest

F = TypeVar("F", bound=Callable[..., Any])
_running: list[profile] = []


def _now() -> int:
    """The core's clock."""
    return clock_gettime_ns(CLOCK_MONOTONIC)


class profile:  # a context manager, lower-case as no_grad and torch's
    """Measures what happens inside the `with` block, on all threads.

    Each call of a kernel, each run of a compiled program and each of its instructions is an event
    with its time, shapes, floating-point operations, bytes moved and the memory in use after it.
    Profiles may be nested and may lie inside or outside of transforms and layers.

    Args:
      with_stack: note Python functions of this thread too, except the standard library's and this
        package's own: for flame graphs by function and by layer. Slows Python down several times.
    Attributes:
      wall_time: nanoseconds inside the block.
    Raises:
      RuntimeError: results are asked for before the block has ended.
    Reference: torch.profiler.profile
    Example:
      >>> from functorch_like.profiler import profile, record_function
      >>> x = ones(8, 8)
      >>> with profile() as prof:
      ...     with record_function("square"):
      ...         y = (x @ x).relu()
      >>> [(e.name, e.input_shapes, e.flops) for e in prof.events() if e.kind == "op"]
      [('matmul', ((8, 8), (8, 8)), 1024), ('relu', ((8, 8),), 64)]
      >>> [e.name for e in prof.roots()], [e.name for e in prof.roots()[0].children]
      (['square'], ['matmul', 'relu'])
    """

    def __init__(self, *, with_stack: bool = False):
        self.with_stack = with_stack
        self._events: list[Event] | None = None
        self._roots: list[Event] = []
        self._ranges: list[Event] = []
        self._started = False

    def __enter__(self) -> profile:
        if self._started:
            raise RuntimeError(
                message(
                    "profile",
                    "a profile that has not been used",
                    "a second `with`",
                    "Make another.",
                )
            )
        self._started = True
        self.thread = lib.cb_profile_thread()
        lib.cb_profile_start()
        self._from = self._counts()
        self._allocated = lib.cb_memory_allocated(lib.CB_CPU)
        _running.append(self)
        self._watch: _Functions | None = None
        self.begin = _now()
        if self.with_stack:
            self._watch = _Functions(self.thread)
            self._watch.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._watch is not None:
            self._ranges += self._watch.stop()
        self.end = _now()
        _running.remove(self)
        try:
            events = self._taken()
        finally:
            lib.cb_profile_stop()
        inside = [e for e in events if e.begin >= self.begin]
        self._events = inside + self._ranges
        self._roots = nest(self._events)

    @staticmethod
    def _counts() -> Any:
        counts = ffi.new("int64_t[2]")
        lib.cb_profile_count(counts)
        return counts

    def _taken(self) -> list[Event]:
        start, end = self._from, self._counts()
        n, n_details = end[0] - start[0], end[1] - start[1]
        if n <= 0:  # a forked process starts with nothing
            return []
        events = ffi.new("cb_event[]", n)
        details = ffi.new("int64_t[]", n_details)
        lib.cb_profile_copy(start, end, events, details)
        return decode(ffi.buffer(events), ffi.unpack(details, n_details))

    # ---- results ----

    @property
    def wall_time(self) -> int:
        return self.end - self.begin

    @property
    def kernel_time(self) -> int:
        """Nanoseconds that the thread of the `with` spent in the core; the rest is Python."""
        outer = [
            e for e in self.events() if e.kind in ("op", "program") and e.thread == self.thread
        ]
        return sum(e.time for e in outer)

    def events(self) -> list[Event]:
        """All events in the order they began; those around others come first."""
        if self._events is None:
            raise RuntimeError(
                message(
                    "profile", "a finished `with` block", "one not finished", "Ask after the block."
                )
            )
        return self._events

    def roots(self) -> list[Event]:
        """The outermost events; the others are their `children`."""
        self.events()
        return self._roots

    def key_averages(
        self, group_by_input_shape: bool = False, *, group_by_instruction: bool = False
    ) -> Averages:
        """Events by name; and by the shapes of their operands, or by their place in a program.

        Print it, or call its `table(sort_by=...)`.
        """
        return average(
            self.events(),
            self.wall_time,
            self.kernel_time,
            group_by_input_shape,
            group_by_instruction,
        )

    def memory_timeline(self) -> list[tuple[int, int]]:
        """(nanoseconds since the start, bytes in live tensors) at each change."""
        found = [(0, self._allocated)]
        for e in sorted(self.events(), key=lambda e: e.end):
            if e.allocated is not None and e.allocated != found[-1][1]:
                found.append((e.end - self.begin, e.allocated))
        return found

    def export_chrome_trace(self, path: Any) -> None:
        """Writes JSON for chrome://tracing or https://ui.perfetto.dev, with the memory timeline."""
        from .pictures import chrome_trace

        chrome_trace(path, self.events(), self.begin, self.memory_timeline())

    def export_flame_graph(self, path: Any) -> None:
        """Writes an SVG: each event as wide as its time, over the event it happened in."""
        from .pictures import flame_graph

        flame_graph(path, self.roots(), self.wall_time)


class record_function:  # lower-case as torch's
    """Names a block, or a decorated function, in profiles. Without a profiler it does nothing.

    Reference: torch.profiler.record_function
    """

    def __init__(self, name: str):
        self.name = name
        self._begun: list[int] = []

    def __enter__(self) -> record_function:
        self._begun.append(_now() if _running else -1)
        return self

    def __exit__(self, *exc: object) -> None:
        begin = self._begun.pop()
        if begin < 0 or not _running:
            return
        end = _now()
        for p in _running:
            if begin >= p.begin:
                p._ranges.append(Event(self.name, "range", begin, end, lib.cb_profile_thread()))

    def __call__(self, function: F) -> F:
        @wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return named  # type: ignore[return-value]


class _Functions:
    """Notes the Python functions that a thread calls."""

    def __init__(self, thread: int):
        self.thread = thread
        self.stack: list[tuple[Any, str, int]] = []  # frame, name, begin
        self.found: list[Event] = []
        self.wanted: dict[Any, bool] = {}  # by code

    def start(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self._event)

    def stop(self) -> list[Event]:
        sys.setprofile(self.before)
        now = _now()
        for _, name, begin in self.stack:
            self.found.append(Event(name, "function", begin, now, self.thread))
        self.stack.clear()
        return self.found

    def _event(self, frame: Any, what: str, argument: object) -> None:
        del argument
        if what == "call":
            code = frame.f_code
            wanted = self.wanted.get(code)
            if wanted is None:
                wanted = self.wanted[code] = _is_users(frame)
            if wanted:
                self.stack.append((frame, _named(frame), _now()))
        elif what == "return" and self.stack and self.stack[-1][0] is frame:
            _, name, begin = self.stack.pop()
            self.found.append(Event(name, "function", begin, _now(), self.thread))


_LIBRARY = sysconfig.get_paths()["stdlib"]
_PACKAGE = __name__.partition(".")[0]


def _is_users(frame: Any) -> bool:
    file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
    if file.startswith("<frozen") or module.partition(".")[0] in (_PACKAGE, "cbackend"):
        return False
    return not file.startswith(_LIBRARY) or "site-packages" in file


def _named(frame: Any) -> str:
    """The function's name; of a method with the class of the object."""
    code = frame.f_code
    if code.co_argcount and code.co_varnames[0] == "self" and "self" in frame.f_locals:
        return f"{type(frame.f_locals['self']).__name__}.{code.co_name}"
    return code.co_name
