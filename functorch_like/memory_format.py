"""Memory formats: in which order the elements of a tensor lie, under torch's names.

Any order is a matter of strides, which all functions take. `channels_last` is for tensors that come
from, or go to, where pixels have their channels side by side.
"""

from __future__ import annotations

from typing import Any

from .errors import ShapeError, message

__all__ = [
    "channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format",
]  # fmt: skip


class memory_format:  # torch's name
    """An order of dims in memory, outermost first; without one, the tensor's own or row-major."""

    __slots__ = ("name", "order")

    def __init__(self, name: str, order: tuple[int, ...] = ()):
        self.name, self.order = name, order

    def __repr__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", (0, 2, 3, 1))
channels_last_3d = memory_format("channels_last_3d", (0, 2, 3, 4, 1))


def in_order(op: str, x: Any, format: Any) -> Any:
    """The tensor seen with its dims in the format's order."""
    if not isinstance(format, memory_format):
        got = type(format).__name__
        raise TypeError(message(op, "a memory format, such as channels_last", got))
    if not format.order:
        return x
    if x.ndim != len(format.order):
        expected = f"a tensor of {len(format.order)} dims for {format}"
        raise ShapeError(message(op, expected, f"shape {list(x._shape)}"))
    return x.permute(format.order)


def laid_out(op: str, x: Any, format: Any) -> Any:
    """The tensor with its elements in the format's order: itself if they lie so already.

    Raises:
      ShapeError: a tensor of another rank than the format is for.
    Example:
      >>> zeros(2, 3, 4, 5).contiguous(memory_format=channels_last).stride()
      (60, 1, 15, 3)
    """
    seen = in_order(op, x, format)
    if format is preserve_format or seen.is_contiguous():
        return x
    made = seen.contiguous()
    if not format.order:
        return made
    return made.permute([format.order.index(d) for d in range(x.ndim)])
