"""NCCL, opened at run time: its functions, and its errors in words.

Searched in this order: FL_NCCL_LIBRARY, the wheel nvidia-nccl-cu12 or -cu13 (nvidia/nccl/lib), and
libnccl.so.2 where the system's loader finds it. Nothing of NCCL is needed to build or to install.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

from ..errors import message
from .meeting import CollectiveError

__all__ = ["TYPES", "Communicator", "ffi", "library", "new_id", "why_unavailable"]

_DECLARATIONS = """
    typedef struct { char internal[128]; } ncclUniqueId;
    typedef struct ncclComm *ncclComm_t;
    int ncclGetVersion(int *version);
    int ncclGetUniqueId(ncclUniqueId *id);
    const char *ncclGetErrorString(int result);
    const char *ncclGetLastError(ncclComm_t comm);
    int ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank);
    int ncclCommGetAsyncError(ncclComm_t comm, int *error);
    int ncclCommAbort(ncclComm_t comm);
    int ncclAllReduce(const void *send, void *recv, size_t count, int type, int op,
                      ncclComm_t comm, void *stream);
    int ncclAllGather(const void *send, void *recv, size_t count, int type,
                      ncclComm_t comm, void *stream);
    int ncclReduceScatter(const void *send, void *recv, size_t count, int type, int op,
                          ncclComm_t comm, void *stream);
    int ncclBroadcast(const void *send, void *recv, size_t count, int type, int root,
                      ncclComm_t comm, void *stream);
    int ncclReduce(const void *send, void *recv, size_t count, int type, int op, int root,
                   ncclComm_t comm, void *stream);
    int ncclSend(const void *send, size_t count, int type, int peer,
                 ncclComm_t comm, void *stream);
    int ncclRecv(void *recv, size_t count, int type, int peer, ncclComm_t comm, void *stream);
    int ncclGroupStart(void);
    int ncclGroupEnd(void);
"""
_OLDEST = 21300  # 2.13 has ncclGetLastError; bfloat16 and the average came before
_IN_PROGRESS = 7

# ncclDataType_t, as of NCCL 2
TYPES = {
    "int8": 0, "uint8": 1, "int32": 2, "uint32": 3, "int64": 4, "uint64": 5, "float16": 6,
    "float32": 7, "float64": 8, "bfloat16": 9,
}  # fmt: skip


@cache
def ffi() -> Any:
    """cffi, with NCCL's declarations."""
    from cffi import FFI

    made = FFI()
    made.cdef(_DECLARATIONS)
    return made


def _paths() -> list[str]:
    given = os.environ.get("FL_NCCL_LIBRARY")
    if given:
        return [given]
    found = []
    try:
        wheel = find_spec("nvidia.nccl")
    except ModuleNotFoundError:  # there is no package nvidia
        wheel = None
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        path = os.path.join(folder, "lib", "libnccl.so.2")
        if os.path.exists(path):
            found.append(path)
    return [*found, "libnccl.so.2"]


@cache
def _opened() -> tuple[Any, str]:
    """The library and why there is none."""
    reason = ""
    for path in _paths():
        try:
            # stays to the end of the process: threads may be inside then
            opened = ffi().dlopen(path, os.RTLD_NOW | os.RTLD_NODELETE)
            version = ffi().new("int *")
            opened.ncclGetVersion(version)
        except (OSError, AttributeError) as error:
            reason = str(error).partition(".  Additionally")[0]  # cffi also tells what it guessed
            continue
        if version[0] >= _OLDEST:
            return opened, ""
        reason = f"{path} is of version {version[0]}, older than {_OLDEST}"
    return None, reason


def library() -> Any:
    """NCCL's functions, or None."""
    return _opened()[0]


def why_unavailable() -> str:
    """Why there is no NCCL, in words; "" where there is one."""
    return _opened()[1]


def _words(status: int) -> str:
    found = library()
    text = ffi().string(found.ncclGetErrorString(status)).decode(errors="replace")
    last = found.ncclGetLastError(ffi().NULL)
    detail = ffi().string(last).decode(errors="replace").strip() if last != ffi().NULL else ""
    return f"{text} ({detail})" if detail else text


def _check(what: str, status: int) -> None:
    if status and status != _IN_PROGRESS:
        raise CollectiveError(
            message(
                what,
                "NCCL to carry it out",
                _words(status),
                "NCCL_DEBUG=INFO shows what NCCL does.",
            )
        )


def new_id() -> bytes:
    """What one rank makes and all ranks of a communicator need."""
    made = ffi().new("ncclUniqueId *")
    _check("distributed", library().ncclGetUniqueId(made))
    return bytes(ffi().buffer(made))


class Communicator:
    """One of this process's devices, together with those of the other ranks.

    Its calls return when the work is queued on the stream; the calling thread's device must be the
    communicator's.
    """

    def __init__(self, id: bytes, size: int, rank: int):
        given, made = ffi().new("ncclUniqueId *"), ffi().new("ncclComm_t *")
        ffi().buffer(given)[:] = id
        _check("distributed", library().ncclCommInitRank(made, size, given[0], rank))
        self._comm = made[0]

    def call(self, what: str, function: str, *arguments: Any) -> None:
        """One of NCCL's functions, which take communicator and stream last."""
        *given, stream = arguments
        _check(what, getattr(library(), function)(*given, self._comm, stream))

    def group(self, what: str, calls: list[tuple[Any, ...]]) -> None:
        """Several calls at once, as (function, *arguments)."""
        _check(what, library().ncclGroupStart())
        try:
            for function, *arguments in calls:
                self.call(what, function, *arguments)
        finally:
            status = library().ncclGroupEnd()
        _check(what, status)

    def error(self) -> str:
        """What went wrong since the last call, in words; "" if nothing did."""
        status = ffi().new("int *")
        library().ncclCommGetAsyncError(self._comm, status)
        if status[0] in (0, _IN_PROGRESS):
            return ""
        return _words(status[0])

    def abort(self) -> None:
        """Ends what is under way, on this rank, and the communicator."""
        library().ncclCommAbort(self._comm)
