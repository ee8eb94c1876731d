"""Python functions that the core calls: instructions of programs, by number.

An exception cannot travel through C. It is kept for the thread, the core stops with CB_ERR_HOST,
and `raise_error` raises it again as it was.
"""

import threading
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from cbackend._cffi import ffi, lib


class HostFunction:
    """A Python function that the core knows by its number, as long as this object lives.

    Args:
      function: `function(xs, out)` fills the handles in the list `out` from those in `xs`; all are
        lent.
      origin: what it was made from, for those who compare functions.
    """

    def __init__(self, function: Callable[[list[Any], list[Any]], None], origin: Any = None):
        self.function, self.origin = function, origin
        self.number = _next_number()
        _functions[self.number] = self


class _Raised(threading.local):
    error: BaseException | None = None


_functions: WeakValueDictionary[int, HostFunction] = WeakValueDictionary()
_next_number = count(1).__next__
_raised = _Raised()


@ffi.callback("int(int64_t, int, cb_tensor *const *, int, cb_tensor *const *)", error=1)
def _call(number: int, n: int, xs: Any, nout: int, out: Any) -> int:
    try:
        function = _functions.get(number)
        if function is None:
            raise RuntimeError("callback: expected a function that is still there, got none.")
        function.function(ffi.unpack(xs, n) if n else [], ffi.unpack(out, nout) if nout else [])
    except BaseException as error:  # also KeyboardInterrupt: it is raised again behind the core
        _raised.error = error
        return 1
    return 0


def function_of(number: int) -> HostFunction | None:
    """The function with a number, if it is still there."""
    return _functions.get(number)


def raise_host_error() -> None:
    """Raises what the calling thread's last function raised, if that has not happened yet."""
    error, _raised.error = _raised.error, None
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame


lib.cb_host_set(_call)
