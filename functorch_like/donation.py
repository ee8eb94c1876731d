"""Tensors that were given away: compile(donate=...) lets a program use their memory for results.

What is left is a tensor without memory that says so whatever is asked of it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from cbackend import ffi

from .errors import TraceError, message
from .tensor import Tensor
from .trace import Trace, TracerValue, _user_site, line_of


class _Away(Trace):
    """Stands for where a donated tensor went."""

    name = "donation"

    def refused(self, what: str) -> TraceError:
        return TraceError(
            message(
                what,
                "a tensor with memory",
                f"one that was donated to a compiled function (at {line_of(self.site)})",
                "Use what the function returned, or do not donate it.",
            )
        )

    strayed = refused

    def read(self, t: Tensor, how: str) -> Any:
        raise self.refused(how)


class _Donated(TracerValue):
    """The meta of a donated tensor."""

    text = "tensor(donated)"

    def __init__(self) -> None:
        self.trace, self.seq = _Away(), 0
        self.trace.site = _user_site()
        self.trace.finished = True

    @property
    def shape(self) -> tuple[int, ...]:
        raise self.trace.refused("shape")

    def inner(self) -> Tensor:
        raise self.trace.refused("tensor")


def use_up(t: Tensor) -> None:
    """The core has taken over the tensor's memory."""
    t._v = ffi.NULL
    t._m = _Donated()
