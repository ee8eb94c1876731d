"""Statistics of the caching allocator, memory for several processes, the number of threads."""

from __future__ import annotations

from typing import Any

from cbackend import lib

from .dtypes import as_device
from .errors import message


def memory_allocated(device: Any = None) -> int:
    """Bytes in live tensors."""
    return lib.cb_memory_allocated(as_device(device).code)


def max_memory_allocated(device: Any = None) -> int:
    """The largest memory_allocated() since the start or reset_peak_memory()."""
    return lib.cb_max_memory_allocated(as_device(device).code)


def reset_peak_memory(device: Any = None) -> None:
    """Starts max_memory_allocated() anew."""
    lib.cb_reset_peak_memory(as_device(device).code)


def memory_cached(device: Any = None) -> int:
    """Bytes of freed memory kept for reuse."""
    return lib.cb_memory_cached(as_device(device).code)


def empty_cache() -> None:
    """Gives freed memory back to the system."""
    lib.cb_empty_cache()


def set_num_threads(n: int) -> None:
    """How many threads an operation may use. Results do not depend on it."""
    if n < 1:
        raise ValueError(message("set_num_threads", "at least 1", n))
    lib.cb_set_num_threads(n)


def get_num_threads() -> int:
    """How many threads an operation may use."""
    return lib.cb_get_num_threads()


def unnamed_memory(label: str) -> int:
    """A descriptor of memory, or of a file, that no name leads to: gone with its last holder."""
    import os
    import tempfile

    create = getattr(os, "memfd_create", None)
    if create is not None:
        return create(label)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
