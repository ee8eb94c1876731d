"""detect_anomaly: which line made a nan, in the forward or the backward pass."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import Any

from .errors import GradError, message
from .op import Op
from .tape import run_backward
from .tensor import Tensor
from .trace import _user_site, next_sequence
from .transforms.control_flow import _ground, _Plainly
from .transforms.replay import Transparent, decomposes


class detect_anomaly(Transparent):
    """Raises where an operation makes a nan from operands without one.

    A context manager around forward and backward pass, on the tape and around transforms. In a
    backward pass the error names the forward line whose derivative was being taken. Slow: every
    result is looked at.

    Raises:
      GradError: a nan was made.
    Example:
      >>> with detect_anomaly():
      ...     grad(lambda x: (x * 0).sqrt())(tensor(0.0))
      Traceback (most recent call last):
      GradError: ...
    """

    def __init__(self, check_nan: bool = True):
        super().__init__()
        self.check_nan = check_nan
        self.numbers: list[int] = []
        self.sites: list[Any] = []

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        if op.decompose is not None and decomposes(self.parent, op, args):
            return op.decompose(*args, **params)
        node = _node_being_pulled()
        if node is None:
            self.numbers.append(next_sequence())
            self.sites.append(_user_site())
        out = self.below(op, args, params)
        if self.check_nan:
            outs = out if type(out) is tuple else (out,)
            if any(_has_nan(y) for y in outs) and not any(_has_nan(a) for a in args):
                raise GradError(self._explained(op, node))
        return out

    def _explained(self, op: Op, node: Any) -> str:
        if node is None:
            return message(
                "detect_anomaly",
                f"no nan from {op.name}",
                f"one at {_line_of(self.sites[-1])}",
            )
        at = bisect_right(self.numbers, node.seq) - 1
        line = _line_of(self.sites[at]) if at >= 0 else "a line before detect_anomaly()"
        return message(
            "detect_anomaly",
            f"no nan in the derivative of {node.op.name}",
            f"one from {op.name}; the forward operation is at {line}",
        )


def _has_nan(t: Tensor) -> bool:
    if not t.dtype.is_inexact:
        return False
    ground = _ground(t)
    if ground is None:
        return False
    with _Plainly():
        return bool(ground.plain.detach().isnan().any())


def _node_being_pulled() -> Any:
    """The node whose rule is running in this thread, if a backward pass is."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code is run_backward.__code__:
            return frame.f_locals.get("node")
        frame = frame.f_back
    return None


def _line_of(site: Any) -> str:
    if site is None:
        return "an unknown line"
    code, instruction = site
    line = next((n for start, end, n in code.co_lines() if start <= instruction < end), None)
    return f"{code.co_filename}:{line}"


class set_detect_anomaly(detect_anomaly):
    """detect_anomaly where the mode is True, else nothing; a context manager."""

    def __init__(self, mode: bool, check_nan: bool = True):
        super().__init__(check_nan and mode)


__all__ = ["detect_anomaly", "set_detect_anomaly"]
