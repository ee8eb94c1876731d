"""How ranks end together: what a rank that fails leaves behind, and what the others say of it.

`python -m nn.distributed.run` gives the ranks of a machine a folder in common (FL_JOB_FOLDER). Each
writes its process number there, and its traceback if it fails. mpiexec ends all ranks with SIGTERM
when one has ended; within the moment that is left, each rank finds out which one it was.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any


def job_folder() -> str | None:
    """The folder that ranks of this machine and the launcher share, if there is one."""
    folder = os.environ.get("FL_JOB_FOLDER")
    return folder if folder and os.path.isdir(folder) else None


def prepare(rank: int) -> None:
    """Has exceptions of this process end the job, and tells the others of this process."""

    def end_job(kind: Any, error: Any, trace: Any) -> None:
        import traceback

        text = "".join(traceback.format_exception(kind, error, trace))
        folder = job_folder()
        if folder is not None:
            _write(os.path.join(folder, f"failed-{rank}"), text)
        sys.stdout.flush()
        sys.stderr.write(f"rank {rank} failed:\n{text}")
        sys.stderr.flush()
        os._exit(1)  # not through MPI's finalize, which waits for the others

    sys.excepthook = end_job
    folder = job_folder()
    if folder is None or threading.current_thread() is not threading.main_thread():
        return
    _write(os.path.join(folder, f"pid-{rank}"), str(os.getpid()))
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    # C code writes the signal's number to the pipe at once, also while Python waits inside MPI
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reads, rank, folder), daemon=True).start()


def _watch(reads: int, rank: int, folder: str) -> None:
    while True:
        got = os.read(reads, 1)
        if got == bytes([signal.SIGTERM]):
            break
        if got == bytes([signal.SIGINT]):
            return
    reason = "; ".join(fate(folder)) or "the job was ended"
    sys.stderr.write(f"rank {rank} stops: {reason}\n")
    sys.stderr.flush()
    os._exit(143)


def fate(folder: str) -> list[str]:
    """What is known of the ranks that failed, the first one first."""
    failed = sorted(
        (n for n in os.listdir(folder) if n.startswith("failed-")),
        key=lambda n: os.stat(os.path.join(folder, n)).st_mtime_ns,
    )
    known = []
    for name in failed:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            lines = file.read().strip().splitlines()
        known.append(
            f"rank {name.partition('-')[2]} failed with {lines[-1] if lines else 'an error'}"
        )
    if known:
        return known
    for name in sorted(os.listdir(folder)):
        if name.startswith("pid-"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                pid = file.read()
            if pid.isdigit() and not _is_alive(int(pid)):
                known.append(f"rank {name.partition('-')[2]} (process {pid}) died")
    return known


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not os.path.isdir("/proc/self")


def _write(path: str, text: str) -> None:
    """The whole text or nothing: others read it at any time."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    with suppress(OSError):
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
