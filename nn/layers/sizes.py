"""Settings that are one number or one for each dimension, and the words for images of any rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["FORMS", "spread"]

# sizes of the dimensions behind the channels, by their number
FORMS = {1: "length", 2: "h, w", 3: "d, h, w"}


def spread(op: str, name: str, value: int | Sequence[int], count: int) -> tuple[Any, ...]:
    """value as a tuple of count integers; a single one serves all dimensions.

    Raises:
      ValueError: another number of them.
    """
    if isinstance(value, int):
        return (value,) * count
    if isinstance(value, (tuple, list)) and len(value) in (1, count):
        return tuple(value) * (count if len(value) == 1 else 1)
    wanted = "an integer" if count == 1 else f"one or {count} integers"
    raise ValueError(f"{op}: expected {name} as {wanted}, got {value!r}.")
