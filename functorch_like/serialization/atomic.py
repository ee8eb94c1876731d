"""What reading and writing files share: the error for bad ones, and writes that replace whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["FileFormatError", "explained", "replacing"]

# what reading a damaged archive, or a hostile one, may raise; and the errors of zip and zlib
_DAMAGED = (
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
)


class FileFormatError(ValueError):
    """A file that is not whole or not valid; the message says which, where and why."""


@contextmanager
def explained(message: Callable[[str], str]) -> Iterator[None]:
    """Turns what reading a damaged file raises into a FileFormatError; message(reason) words it."""
    import struct
    import zipfile
    import zlib

    damaged = (*_DAMAGED, zipfile.BadZipFile, zlib.error, struct.error)
    try:
        yield
    except FileFormatError:
        raise
    except (*damaged, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # the system's trouble; EINVAL is a place before the file's start
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(message(why or type(error).__name__)) from error


@contextmanager
def replacing(path: str, op: str) -> Iterator[str]:
    """Gives a name to write to; the file takes path's place when the block ends without error.

    Raises:
      OSError: the file cannot be written; an existing one is unchanged.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not (os.path.isfile(target) or os.path.isdir(target)):
        raise OSError(
            f"{op}: expected a path of a file, got {path} (a device, pipe or socket). Write to a "
            "file."
        )
    draft = f"{target}.{os.getpid()}.tmp"
    try:
        yield draft
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(draft)
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            text = f"{op}: expected a file that can be written, got {path} ({why}). "
            text += "An existing file is unchanged"
            if error.errno is None:
                raise OSError(f"{text}.") from error
            raise type(error)(error.errno, text) from error
        raise
