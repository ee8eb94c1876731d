"""Meetings: before data move, the ranks of a group tell each other what they are about to do.

MPI itself gives no answer where ranks disagree: messages of other sizes overwrite memory or are cut
short, and a rank that never comes is waited for without end. So every collective starts with a
meeting: each rank sends the first one of the group a line of text that says what it is about to do,
and that rank answers all of them alike: go on, or the sentence that all of them raise. It costs two
short messages a rank; a barrier is a meeting and nothing else.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ..errors import message

_TAG = 0  # the tags below _FIRST_USER_TAG are the meetings'
_VERDICT = 1
FIRST_USER_TAG = 8
_LINE = 512
_ANSWER = 4096


def mpi() -> Any:
    """mpi4py's MPI, which starts MPI when it is imported first."""
    from mpi4py import MPI  # pyright: ignore[reportMissingImports]

    return MPI


class CollectiveError(RuntimeError):
    """Ranks that called different collectives, or did not come in time; raised on all that came."""


def pause(turn: int) -> None:
    """Waits a little between two looks: first by yielding the processor, then by sleeping."""
    if turn < 100:
        os.sched_yield()
    else:
        time.sleep(5e-5 if turn < 2000 else 1e-3)


def wait_for(requests: list[Any], seconds: float) -> list[int]:
    """Waits for MPI requests; gives the places of those that are not done in time."""
    end = time.monotonic() + seconds
    turn = 0
    while not mpi().Request.Testall(requests):
        if time.monotonic() > end:
            return [i for i, r in enumerate(requests) if r and not r.Test()]
        pause(turn)
        turn += 1
    return []


def meet(comm: Any, ranks: tuple[int, ...], what: str, seconds: float) -> None:
    """Returns when all ranks of the communicator said the same.

    Args:
      ranks: their numbers in the world, for messages.
      what: what this rank is about to do: operation, dtype and shape.
    Raises:
      CollectiveError: some said other things, or did not come within `seconds`.
    """
    line = what.encode()[:_LINE].ljust(_LINE)
    if comm.rank == 0:
        lines = [bytearray(_LINE) for _ in range(comm.size - 1)]
        requests = [comm.Irecv(b, source=i + 1, tag=_TAG) for i, b in enumerate(lines)]
        missing = wait_for(requests, seconds)
        said = {ranks[0]: what}
        for i, one in enumerate(lines):
            if i not in missing:
                said[ranks[i + 1]] = bytes(one).rstrip().decode(errors="replace")
        answer = _verdict(said, [ranks[i + 1] for i in missing], what, seconds).encode()[:_ANSWER]
        sent = [comm.Isend(answer, dest=i, tag=_VERDICT) for i in range(1, comm.size)]
        if missing:  # those that come late still find the answer; nobody waits for them
            for i in missing:
                requests[i].Cancel()
        else:
            wait_for(sent, seconds)
    else:
        sent = comm.Isend(line, dest=0, tag=_TAG)
        buffer = bytearray(_ANSWER)
        received = comm.Irecv(buffer, source=0, tag=_VERDICT)
        # the first rank has until its own end to come, and to notice who is missing
        if wait_for([received], seconds + max(2.0, 0.1 * seconds)):
            received.Cancel()
            answer = _verdict({}, [ranks[0]], what, seconds).encode()
        else:
            answer = bytes(buffer).rstrip(b"\0")
        wait_for([sent], 1.0)
    if answer:
        raise CollectiveError(answer.decode(errors="replace"))


def _verdict(said: dict[int, str], missing: list[int], what: str, seconds: float) -> str:
    """Nothing if all agree, else the sentence that all raise."""
    if missing:
        return message(
            what.partition(" ")[0],
            f"all ranks at {what} within {seconds:g} s",
            f"no sign of {_listed(missing)}",
            "Did those ranks stop, or take another way through the program?",
        )
    kinds: dict[str, list[int]] = {}
    for rank, text in said.items():
        kinds.setdefault(text, []).append(rank)
    if len(kinds) == 1:
        return ""
    parts = [f"{text} on {_listed(who)}" for text, who in kinds.items()]
    if len(parts) > 8:
        parts = [*parts[:8], f"{len(parts) - 8} more kinds"]
    return message(
        what.partition(" ")[0],
        "the same collective, dtype and shape on all ranks",
        "; ".join(parts),
        "Ranks must call collectives in one order with tensors of one kind.",
    )


def _listed(ranks: list[int]) -> str:
    some = ", ".join(map(str, ranks[:16])) + (", ..." if len(ranks) > 16 else "")
    return f"rank{'s' if len(ranks) > 1 else ''} {some}"
