"""Starts a program on several ranks and keeps it going: `python -m nn.distributed.run`.

    python -m nn.distributed.run --nproc 4 train.py --epochs 3
    python -m nn.distributed.run --nproc 8 --hosts a:4,b:4 --max-restarts 3 train.py

mpiexec starts the ranks (the one that pip installed, else the cluster's own) and ends them all when
one ends badly; that takes a second or so. With --max-restarts the program is then started again on
as many ranks as are left: it finds its last checkpoint by itself, and FL_RESTART_COUNT says how
often it was restarted. FL_RUN_FOLDER is a folder on this machine that lasts through all restarts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, Any

from functorch_like.distributed.ending import fate

# Each rank's process is the child of a shell that says which rank ended badly, and how, before
# mpiexec learns of it: not every mpiexec names the one that was the first. The job's folder is on
# the launcher's machine only; from others it is told on stderr. The shell outlives the SIGTERM that
# mpiexec sends to both.
_SHELL = """
trap : TERM INT
"$@"
status=$?
[ $status = 0 ] && exit
line="rank ${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-$PMIX_RANK}} ended with status $status"
(echo "$line" >>"$FL_JOB_FOLDER/ended") 2>/dev/null || echo "$line" >&2
exit $status
"""
_ENDED = re.compile(r"rank (\d+) ended with status (\d+)")
# what Open MPI's mpiexec says of a machine that does not answer any more
_LOST = re.compile(r"Remote daemon *: .* on node (\S+)")
_SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


def find_mpiexec() -> str | None:
    """The mpiexec of this Python's environment, else the one on the PATH."""
    name = os.path.join(sysconfig.get_path("scripts"), "mpiexec")
    return name if os.access(name, os.X_OK) else shutil.which("mpiexec")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nn.distributed.run",
        description="Starts a program on several ranks over mpiexec.",
    )
    parser.add_argument("--nproc", type=int, default=os.cpu_count() or 1, help="number of ranks")
    parser.add_argument("--hosts", help="machines and ranks on each: a:4,b:4; by default this one")
    parser.add_argument("--max-restarts", type=int, default=0, help="after failures; default 0")
    parser.add_argument("--min-nproc", type=int, default=1, help="fewest ranks to restart on")
    parser.add_argument("--threads", type=int, help="kernel threads of each rank")
    parser.add_argument("--tag", action="store_true", help="mark each line with its rank")
    parser.add_argument("--mpiexec", help="the mpiexec to use")
    parser.add_argument("-m", dest="module", action="store_true", help="program is a module")
    parser.add_argument("program")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    return parser.parse_args(given)


def command(mpiexec: str, options: argparse.Namespace, nproc: int) -> list[str]:
    """The command line that starts nproc ranks."""
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True).stdout
    words = [mpiexec]
    if "HYDRA" in version:
        words += ["-n", str(nproc)]
        words += ["-hosts", options.hosts] if options.hosts else []
        words += ["-prepend-rank"] if options.tag else []
    else:
        words += ["--oversubscribe", "--bind-to", "none", "-n", str(nproc)]
        words += ["--output", "tag"] if options.tag else []
        if options.hosts:
            words += ["--host", options.hosts]
            for name in os.environ:
                if name.startswith("FL_") or name in ("PYTHONPATH", "OMP_NUM_THREADS"):
                    words += ["-x", name]
    words += ["/bin/sh", "-c", _SHELL, "sh", sys.executable, "-u"]
    words += ["-m", options.program] if options.module else [options.program]
    return words + options.args


def environment(folder: str, nproc: int, restarts: int, threads: int | None) -> dict[str, str]:
    """The variables that the ranks get."""
    found = dict(os.environ)
    found |= {
        "FL_JOB_FOLDER": folder,
        "FL_RESTART_COUNT": str(restarts),
        # containers run as root; ranks may be more than processors, and then must not spin
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    # seconds between SIGTERM and SIGKILL, for the other ranks to say why they stop
    found.setdefault("PRTE_MCA_odls_base_sigkill_timeout", "5")
    if nproc >= (os.cpu_count() or 1):
        found.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    return found


class _Copied:
    """Passes a stream on as it comes and keeps its end."""

    def __init__(self, stream: IO[bytes], into: Any):
        self.end = b""
        self.stream, self.into = stream, getattr(into, "buffer", None)
        self.thread = threading.Thread(target=self._copy, daemon=True)
        self.thread.start()

    def _copy(self) -> None:
        while some := os.read(self.stream.fileno(), 1 << 16):
            self.end = (self.end + some)[-(1 << 16) :]
            if self.into is not None:
                self.into.write(some)
                self.into.flush()

    def text(self) -> str:
        """What came last, once the stream is closed."""
        self.thread.join(timeout=5.0)
        return self.end.decode(errors="replace")


def died(folder: str, text: str) -> str | None:
    """The first rank that ended badly, and how; None if nobody knows.

    Ranks that a signal ended come before those that MPI ended because of them.

    Args:
      folder: the job's, where the ranks of this machine are written down.
      text: what mpiexec and the ranks said.
    """
    try:
        with open(os.path.join(folder, "ended"), encoding="utf-8") as file:
            text = file.read() + text
    except OSError:
        pass
    ended = [(rank, int(status)) for rank, status in _ENDED.findall(text)]
    for rank, status in ended:
        number = status - 128  # as shells tell of signals
        if number > 0 and number != signal.SIGTERM:
            name = _SIGNALS.get(number, "unnamed")
            return f"rank {rank} was ended by signal {number} ({name})"
    if host := lost(text):
        return f"host {host} was lost"
    return f"rank {ended[0][0]} ended with exit code {ended[0][1]}" if ended else None


def lost(text: str) -> str | None:
    """The machine that mpiexec lost, from what it says."""
    match = _LOST.search(text)
    return match[1] if match else None


def without(hosts: str, host: str) -> tuple[str, int]:
    """The hosts but one, as of --hosts, and how many ranks they take."""
    left = [entry for entry in hosts.split(",") if entry.partition(":")[0] != host]
    return ",".join(left), sum(int(entry.partition(":")[2] or 1) for entry in left)


def _failure(folder: str, text: str) -> str:
    """Which rank failed and how, with its traceback."""
    known = fate(folder)
    failed = [reason for reason in known if "failed with" in reason]
    if failed:
        rank = failed[0].split()[1]
        with open(os.path.join(folder, f"failed-{rank}"), encoding="utf-8") as file:
            return f"{failed[0]}\n{file.read().rstrip()}"
    return died(folder, text) or "a rank ended; see above"


def run(options: argparse.Namespace) -> int:
    """Runs the program, again after failures as often as allowed; gives its exit status."""
    mpiexec = options.mpiexec or find_mpiexec()
    if mpiexec is None:
        print(
            "nn.distributed.run: expected mpiexec, got none. "
            'pip install "functorch-like[mpi]", or load your cluster\'s MPI.',
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="fl-run-") as folder:
        return _run_in(folder, mpiexec, options)


def _run_in(run_folder: str, mpiexec: str, options: argparse.Namespace) -> int:
    nproc, status = options.nproc, 0
    for restarts in range(options.max_restarts + 1):
        with tempfile.TemporaryDirectory(prefix="fl-job-") as folder:
            process = subprocess.Popen(
                command(mpiexec, options, nproc),
                env={
                    **environment(folder, nproc, restarts, options.threads),
                    "FL_RUN_FOLDER": run_folder,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            shown = _Copied(process.stdout, sys.stdout)  # type: ignore[arg-type]
            errors = _Copied(process.stderr, sys.stderr)  # type: ignore[arg-type]
            try:
                status = process.wait()
            except KeyboardInterrupt:
                process.terminate()
                process.wait()
                return 130
            said = errors.text() + shown.text()
            gone = lost(said)  # mpiexec may end with 0 then
            if status == 0 and not gone:
                return 0
            failure = _failure(folder, said)
        left = nproc - 1
        if options.hosts and gone:
            options.hosts, room = without(options.hosts, gone)
            left = min(left, room)
        print(f"nn.distributed.run: {failure}", file=sys.stderr)
        if restarts == options.max_restarts:
            break
        if left < max(1, options.min_nproc):
            print(f"nn.distributed.run: {left} ranks are left, too few.", file=sys.stderr)
            break
        nproc = left
        which = f"{restarts + 1} of {options.max_restarts}"
        print(
            f"nn.distributed.run: restart {which} on {nproc} ranks",
            file=sys.stderr,
            flush=True,
        )
    return status if 0 < status < 256 else 1


def main(given: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _arguments(given)
    if options.nproc < 1:
        print("nn.distributed.run: expected --nproc of at least 1.", file=sys.stderr)
        return 2
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
