"""How many lanes of a mapped function fit into memory: vmap's chunk_size="auto"."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TraceError
from ..tensor import Tensor
from ..trace import active, state
from .graph import Graph
from .stage import stage

SHARE = 0.25  # of the memory that is free
SLACK = 2.0  # eager execution holds more than a program: what Python still names


def peak_bytes(graph: Graph) -> int:
    """The most that results of equations take up at one time, if each is freed after its last use.

    Example:
      >>> from functorch_like import make_graph, ones
      >>> peak_bytes(make_graph(lambda x: (x + 1).exp().sum())(ones(100)))
      800
    """
    last = {x: i for i, e in enumerate(graph.equations) for x in e.inputs}
    last.update(dict.fromkeys(graph.outputs, len(graph.equations)))
    dying: dict[int, list[Any]] = {}
    now = peak = 0
    for i, e in enumerate(graph.equations):
        if not e.op.view:
            for y in e.outputs:
                now += y.meta._v.numel * y.meta._v.itemsize
                dying.setdefault(last.get(y, i), []).append(y)
        peak = max(peak, now)
        now -= sum(y.meta._v.numel * y.meta._v.itemsize for y in dying.pop(i, ()))
    return peak


def free_bytes() -> int:
    """Memory that can be had without swapping; 0 where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0


def lanes_that_fit(
    run: Callable[[int, list[Any]], list[Tensor]],
    leaves: Sequence[Any],
    mapped: Sequence[bool],
    size: int,
) -> int:
    """How many lanes to compute at once, from the graphs of one lane and of two.

    Args:
      run: `run(lanes, leaves)` computes so many lanes.
    Returns:
      size itself under another transform, where free memory is unknown, and for functions that
      cannot be staged.
    """
    budget = free_bytes() * SHARE
    if size <= 2 or not budget or (active and state.trace is not None):
        return size

    def peak(lanes: int) -> int:
        some = [x[:lanes] if m else x for x, m in zip(leaves, mapped, strict=True)]
        at = [i for i, x in enumerate(some) if isinstance(x, Tensor)]

        def function(values: list[Tensor]) -> list[Tensor]:
            call = list(some)
            for i, value in zip(at, values, strict=True):
                call[i] = value
            return run(lanes, call)

        return peak_bytes(stage(function, [some[i] for i in at]).graph)

    try:
        one, two = peak(1), peak(2)
    except TraceError:
        return size
    each = max(two - one, 1) * SLACK
    return max(1, min(size, int((budget - max(one * SLACK - each, 0)) / each)))
