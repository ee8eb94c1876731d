"""Shapes and dims as users give and get them."""

from __future__ import annotations

from typing import Any

from cbackend import Sizes

from .errors import DimError, message

__all__ = ["Size", "wrap_dim"]


class Size(Sizes):
    """A shape: a tuple of ints that also knows its product."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"Size({list(self)})"

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


def wrap_dim(op: str, dim: int, ndim: int) -> int:
    """A dim in [0, ndim), from one that may be negative. A 0-d tensor counts as 1-d.

    Raises:
      DimError: dim is out of range.
    """
    n = ndim or 1
    try:
        if -n <= dim < n:
            return dim + n if dim < 0 else dim
    except TypeError:
        raise TypeError(message(op, "a dim that is an integer", repr(dim))) from None
    raise DimError(
        message(op, f"a dim in [{-n}, {n - 1}]", dim, f"The tensor has {ndim} dimensions.")
    )
