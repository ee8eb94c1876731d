"""FL_COMPILE_LOG: what staging and each pass did, a line each.

The variable is read whenever something is compiled: `1` writes to stderr, anything else is
a file to append to; empty or `0` writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import perf_counter

from .graph import Graph


def write(text: str) -> None:
    """Writes a line, if somebody wants to know."""
    where = os.environ.get("FL_COMPILE_LOG", "")
    if where in ("", "0"):
        return
    line = f"compile: {text}\n"
    if where == "1":
        sys.stderr.write(line)
        return
    with open(where, "a", encoding="utf-8") as file:
        file.write(line)


def passed(rewrite: Callable[[Graph], Graph], graph: Graph) -> Graph:
    """rewrite(graph), with a line of what it did."""
    started = perf_counter()
    made = rewrite(graph)
    write(
        f"{rewrite.__name__}: {len(graph.equations)} -> {len(made.equations)} equations, "
        f"{milliseconds(started)} ms"
    )
    return made


def milliseconds(started: float) -> str:
    """Since a perf_counter() reading, as text."""
    return f"{(perf_counter() - started) * 1000:.2f}"
