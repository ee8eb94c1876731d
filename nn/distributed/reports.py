"""What a program on several ranks shows: one log, one progress bar, one trace."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from functorch_like import distributed

__all__ = ["get_logger", "merge_traces", "print_once", "profile_ranks", "progress"]


class _Ranked(logging.Filter):
    """Lets warnings of all ranks through, the rest of rank 0 only."""

    def filter(self, record: logging.LogRecord) -> bool:
        rank = record.__dict__["rank"] = distributed.rank()
        return rank == 0 or record.levelno >= logging.WARNING


def get_logger(name: str = "nn.distributed", level: int = logging.INFO) -> logging.Logger:
    """A logger that names the rank: what is below a warning comes from rank 0 only."""
    logger = logging.getLogger(name)
    if not any(isinstance(f, _Ranked) for f in logger.filters):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[rank %(rank)d] %(levelname)s %(message)s"))
        logger.addFilter(_Ranked())
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    return logger


def print_once(*values: Any, **options: Any) -> None:
    """print on rank 0."""
    if distributed.rank() == 0:
        print(*values, **{"flush": True, **options})


def progress(items: Iterable[Any], **options: Any) -> Iterable[Any]:
    """The items, with tqdm's progress bar on rank 0 where tqdm is installed."""
    if distributed.rank() != 0:
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, **options)


@contextmanager
def profile_ranks(path: str | os.PathLike[str], **options: Any) -> Iterator[Any]:
    """Profiles a block on all ranks; rank 0 writes one Chrome trace, a process for each rank.

    Collectives are ranges of their names, also those that run beside the main thread. The ranks
    meet at the start, and times count from there: so clocks of several machines need not agree.

    Args:
      path: of the JSON file.
      options: of functorch_like.profiler.profile.
    """
    from functorch_like.profiler import profile

    distributed.barrier()
    with profile(**options) as found:
        yield found
    folder = tempfile.mkdtemp(prefix="fl-trace-")
    try:
        own = os.path.join(folder, "trace.json")
        found.export_chrome_trace(own)
        with open(own, encoding="utf-8") as file:
            traces = distributed.all_gather_object(json.load(file))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if distributed.rank() == 0:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(merge_traces(traces), file)


def merge_traces(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """One Chrome trace of one for each rank."""
    events: list[dict[str, Any]] = []
    for rank, trace in enumerate(traces):
        label = {"name": "process_name", "ph": "M", "pid": rank, "args": {"name": f"rank {rank}"}}
        order = {"name": "process_sort_index", "ph": "M", "pid": rank, "args": {"sort_index": rank}}
        events += [label, order]
        events += [{**event, "pid": rank} for event in trace["traceEvents"]]
    return {"traceEvents": events, "displayTimeUnit": "ms"}
