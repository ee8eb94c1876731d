"""Where does a script spend its time? `python -m functorch_like.bottleneck script.py [args]`.

Runs the script twice: under the profiler, for kernels and for how much time is Python's, and under
cProfile, for which Python. With `--once` (before the script's name) in one run, in which cProfile's
own cost counts as Python's. The script's exit or exception ends a run.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import runpy
import sys
import traceback
from contextlib import contextmanager
from typing import Any

from .memory import get_num_threads
from .profiler import Averages, profile

_COPIES = {"clone", "contiguous", "cast", "copy_into", "to_device", "reshape"}
_SMALL = 3.0  # microseconds: below, a call from Python costs more than the kernel


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m functorch_like.bottleneck",
        description="Where does a script spend its time?",
    )
    parser.add_argument("--once", action="store_true", help="run the script once instead of twice")
    parser.add_argument("--rows", type=int, default=15, help="rows of each table")
    parser.add_argument("--trace", metavar="FILE", help="write a Chrome trace")
    parser.add_argument("--flame", metavar="FILE", help="write a flame graph (SVG)")
    parser.add_argument("script")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="for the script")
    options = parser.parse_args(arguments)
    if not os.path.isfile(options.script):
        parser.error(f"expected a script, found no file {options.script}.")
    python = cProfile.Profile()
    with profile() as prof:
        status = _run(options.script, options.args, python if options.once else None)
    if not options.once and not status:
        status = _run(options.script, options.args, python)
    print(summary(prof, python, options.rows))
    if options.trace:
        prof.export_chrome_trace(options.trace)
    if options.flame:
        prof.export_flame_graph(options.flame)
    return status


def _run(script: str, args: list[str], python: cProfile.Profile | None) -> int:
    """Runs the script as __main__; gives its exit status."""
    with _as_main(script, args):
        if python is not None:
            python.enable()
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            if stop.code is None or isinstance(stop.code, int):
                return stop.code or 0
            print(stop.code, file=sys.stderr)
            return 1
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            if python is not None:
                python.disable()
    return 0


@contextmanager
def _as_main(script: str, args: list[str]) -> Any:
    argv, path = sys.argv, sys.path[:]
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


def summary(prof: profile, python: cProfile.Profile, rows: int = 15) -> str:
    """The report: kernels by time, Python functions by time, advice."""
    averages = prof.key_averages()
    text = io.StringIO()
    text.write("\nKernels\n")
    text.write(prof.key_averages(group_by_input_shape=True).table(row_limit=rows))
    peak = max((allocated for _, allocated in prof.memory_timeline()), default=0)
    text.write(f"\npeak of live tensors {peak / 2**20:.2f} MiB\n")
    functions = io.StringIO()
    try:
        stats = pstats.Stats(python, stream=functions)
    except TypeError:  # nothing ran
        pass
    else:
        stats.strip_dirs().sort_stats("tottime").print_stats(rows)
        text.write("\nPython functions, by time of their own\n")
        text.write(functions.getvalue().strip() + "\n")
    text.write("\nAdvice\n")
    for line in advice(prof, averages):
        text.write(f"- {line}\n")
    return text.getvalue()


def advice(prof: profile, averages: Averages) -> list[str]:
    """What the numbers suggest."""
    wall, kernels = prof.wall_time / 1000, prof.kernel_time / 1000
    calls = [e for e in prof.events() if e.kind == "op"]
    if not wall or not prof.events():
        return ["No operation of functorch_like ran."]
    said = []
    share = 1 - kernels / wall
    if share > 0.5:
        small = sum(e.time < _SMALL * 1000 for e in calls)
        said.append(
            f"{100 * share:.0f}% of the time is outside kernels (imports included), around "
            f"{len(calls)} calls from Python, {small} of them shorter than {_SMALL:.0f} us. "
            "compile() runs a whole function as one call; larger batches or vmap make calls fewer."
        )
    copied = sum(r.self_cpu_time_total for r in averages if r.key in _COPIES)
    if kernels and copied > 0.15 * kernels:
        said.append(
            f"{100 * copied / kernels:.0f}% of kernel time copies or casts. "
            "Look for contiguous(), clone() and mixed dtypes inside loops."
        )
    ops = [r for r in averages if r.count and (r.flops or r.nbytes)]
    if ops and kernels and ops[0].self_cpu_time_total > 0.3 * kernels:
        top = ops[0]
        speed = f"{top.flops_per_second / 1e9:.1f} GFLOP/s, {top.bytes_per_second / 1e9:.1f} GB/s"
        part = 100 * top.self_cpu_time_total / kernels
        said.append(f"{top.key} takes {part:.0f}% of kernel time ({speed}).")
    doubles = sum(
        e.time for e in prof.events() if e.made and e.made[0].dtype in ("float64", "complex128")
    )
    if kernels and doubles / 1000 > 0.3 * kernels:
        said.append("Much is computed in double precision; float32 is about twice as fast.")
    available = os.cpu_count() or 1
    if get_num_threads() < available and kernels > 0.5 * wall:
        said.append(
            f"{get_num_threads()} of {available} processors are used; see set_num_threads()."
        )
    return said or ["Nothing stands out: kernels dominate, and none of them dominates the others."]


if __name__ == "__main__":
    raise SystemExit(main())
