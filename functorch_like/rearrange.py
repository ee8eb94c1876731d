"""rearrange: transposing, splitting and merging dimensions by a pattern with names."""

from __future__ import annotations

from typing import Any

from .errors import ShapeError, message
from .ops.join import stack
from .tensor import Tensor

_REST = "..."
_BARE = " ... "  # outside parentheses: dimensions of their own


def _parsed(side: str, pattern: str) -> list[list[str]]:
    """Groups of names: one for each dimension."""
    groups: list[list[str]] = []
    open_group: list[str] | None = None
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            if open_group is not None:
                raise ValueError(
                    message("rearrange", "parentheses that do not nest", repr(pattern))
                )
            open_group = []
            groups.append(open_group)
        elif token == ")":
            if open_group is None:
                raise ValueError(message("rearrange", "parentheses that match", repr(pattern)))
            open_group = None
        elif token == _REST or token.isidentifier() or token == "1":
            if open_group is None:
                groups.append([] if token == "1" else [_BARE] if token == _REST else [token])
            elif token != "1":
                open_group.append(token)
        else:
            raise ValueError(message("rearrange", "names, 1, ... and parentheses", repr(token)))
    if open_group is not None:
        raise ValueError(message("rearrange", "parentheses that match", repr(pattern)))
    names = [n for g in groups for n in g]
    if len(set(names)) != len(names):
        raise ValueError(message("rearrange", "each name once a side", repr(pattern)))
    return groups


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Tensor:
    """The tensor with dimensions permuted, split and merged as the pattern says.

    Args:
      tensor: a tensor, or a sequence of them, which is stacked in dimension 0 first.
      pattern: `"b (h w) c -> b c h w"`; `...` stands for any number of dimensions, `1` or `()` for
        one of size 1.
      axes_lengths: sizes of names in parentheses on the left; one a group may be left out.
    Raises:
      ValueError: a pattern that cannot be read, or names that differ between the sides.
      ShapeError: sizes do not fit.
    Reference: Rogozhnikov 2022, Einops.
    Example:
      >>> rearrange(arange(6), "(a b) -> b a", a=2)
      tensor([[0, 3],
              [1, 4],
              [2, 5]])
    """
    x = tensor if isinstance(tensor, Tensor) else stack(list(tensor))
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError(message("rearrange", 'a pattern "left -> right"', repr(pattern)))
    left, right = (_parsed(side, pattern) for side in sides)
    if any(_REST in group for group in left):
        raise ValueError(message("rearrange", "... outside parentheses on the left", repr(pattern)))
    if {n.strip() for g in left for n in g} != {n.strip() for g in right for n in g}:
        raise ValueError(message("rearrange", "the same names on both sides", repr(pattern)))
    shape = list(x.shape)
    if [_BARE] in left:
        at = left.index([_BARE])
        extra = len(shape) - (len(left) - 1)
        rest = [f"{_REST}{i}" for i in range(max(extra, 0))]
        left[at : at + 1] = [[n] for n in rest]
        right = [[m for n in g for m in (rest if n == _REST else [n])] for g in right]
        right = [h for g in right for h in ([[n] for n in rest] if g == [_BARE] else [g])]
    if len(left) != len(shape):
        raise ShapeError(
            message("rearrange", f"{len(left)} dimensions for {pattern!r}", f"shape {shape}")
        )
    sizes: dict[str, int] = dict(axes_lengths)
    for group, size in zip(left, shape, strict=True):
        known = 1
        unknown = [n for n in group if n not in sizes]
        for n in group:
            known *= sizes.get(n, 1)
        if len(unknown) > 1:
            raise ValueError(message("rearrange", f"sizes of all but one of {group}", sizes))
        if unknown and known and size % known == 0:
            sizes[unknown[0]] = size // known
        elif unknown or known != size:
            raise ShapeError(
                message("rearrange", f"a dimension that ({' '.join(group)}) divides", size)
            )
    order = [n for g in left for n in g]
    target = [n for g in right for n in g]
    split = x.reshape(tuple([sizes[n] for n in order]))
    moved = split.permute(tuple([order.index(n) for n in target])) if order else split
    merged = []
    for group in right:
        size = 1
        for n in group:
            size *= sizes[n]
        merged.append(size)
    return moved.reshape(tuple(merged))


__all__ = ["rearrange"]
