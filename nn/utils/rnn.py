"""Sequences of different lengths: padded into one tensor, or packed without the padding.

A packed batch holds the rows of the first step of all sequences, then of the second, and so on,
the longest sequence first; batch_sizes says how many sequences still run at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """Sequences without padding, as pack_padded_sequence gives them and RNNs take them.

    Fields:
      data [elements, ...]: all steps. batch_sizes [length] int64: sequences running at each step.
      sorted_indices, unsorted_indices [n]: the order by falling length, and the way back; None if
        the sequences were sorted.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """data as Tensor.to gives it, the rest as it is."""
        return self._replace(data=self.data.to(*args, **kwargs))


def _lengths(op: str, lengths: Tensor | Sequence[int], n: int, most: int) -> list[int]:
    sizes = [int(size) for size in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    if len(sizes) != n:
        raise ShapeError(f"{op}: expected {n} lengths, got {len(sizes)}.")
    if n and (min(sizes) <= 0 or max(sizes) > most):
        raise ValueError(f"{op}: expected lengths within 1..{most}, got {sizes}.")
    return sizes


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Padded sequences without their padding.

    Args:
      input [length, n, ...]: or [n, length, ...] with batch_first.
      lengths [n]: of the sequences.
      enforce_sorted: the sequences come by falling length; else they are sorted here.
    Raises:
      ValueError: enforce_sorted, and they do not.
    Example:
      >>> import functorch_like as ft
      >>> x = ft.tensor([[1, 2, 3], [4, 5, 0]])
      >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
      >>> packed.data, packed.batch_sizes
      (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """
    op = "pack_padded_sequence"
    if input.ndim < 2:
        raise ShapeError(f"{op}: expected input [length, n, ...], got {list(input.shape)}.")
    x = input.transpose(0, 1) if batch_first else input
    most, n = x.shape[:2]
    sizes = _lengths(op, lengths, n, most)
    if not sizes:
        raise ShapeError(f"{op}: expected at least one sequence, got none.")
    order = sorted(range(n), key=lambda row: -sizes[row])
    falling = [sizes[row] for row in order]
    if enforce_sorted:
        if sizes != falling:
            raise ValueError(
                f"{op}: expected lengths that fall, got {sizes}. Pass enforce_sorted=False."
            )
        order = list(range(n))
    running = [sum(size > step for size in falling) for step in range(falling[0])]
    places = [step * n + row for step, count in enumerate(running) for row in order[:count]]
    data = x.flatten(0, 1).index_select(0, ft.tensor(places, device=x.device))
    batch_sizes = ft.tensor(running)
    if enforce_sorted:
        return PackedSequence(data, batch_sizes)
    back = sorted(range(n), key=lambda place: order[place])
    device = input.device
    return PackedSequence(
        data, batch_sizes, ft.tensor(order, device=device), ft.tensor(back, device=device)
    )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The inverse of pack_padded_sequence: (padded sequences [length, n, ...], lengths [n]).

    Args:
      total_length: pad to this length; by default to the longest sequence.
    """
    running = [int(size) for size in sequence.batch_sizes.tolist()]
    length, n = len(running), running[0]
    if total_length is not None:
        if total_length < length:
            raise ValueError(
                f"pad_packed_sequence: expected total_length >= {length}, the longest sequence, "
                f"got {total_length}."
            )
        running += [0] * (total_length - length)
    rows = list(range(n))
    if sequence.unsorted_indices is not None:
        rows = [int(row) for row in sequence.unsorted_indices.tolist()]
    places, inside, start = [], [], 0
    for count in running:
        places += [start + row if row < count else 0 for row in rows]
        inside += [row < count for row in rows]
        start += count
    data = sequence.data
    shape = (len(running), n, *[1] * (data.ndim - 1))
    picked = data.index_select(0, ft.tensor(places, device=data.device))
    padded = picked.reshape(len(running), n, *data.shape[1:])
    mask = ft.tensor(inside, device=data.device).reshape(shape)
    padded = ft.where(mask, padded, padding_value).to(data.dtype)
    lengths = ft.tensor([sum(row < count for count in running) for row in rows])
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences [length_i, ...] as one tensor [length, n, ...], the shorter ones padded.

    Args:
      batch_first: give [n, length, ...].
      padding_side: "right" or "left".
    Example:
      >>> import functorch_like as ft
      >>> pad_sequence([ft.tensor([1, 2]), ft.tensor([3])], batch_first=True)
      tensor([[1, 2],
              [3, 0]])
    """
    if padding_side not in ("left", "right"):
        raise ValueError(
            f"pad_sequence: expected padding_side 'left' or 'right', got {padding_side!r}."
        )
    rows = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not rows:
        raise ValueError("pad_sequence: expected at least one sequence, got none.")
    tails = {tuple(row.shape[1:]) for row in rows}
    if len(tails) > 1 or not rows[0].ndim:
        shapes = ", ".join(str(list(row.shape)) for row in rows)
        raise ShapeError(f"pad_sequence: expected equal sizes behind the first, got {shapes}.")
    most = max(row.shape[0] for row in rows)
    padded = []
    for row in rows:
        missing = most - row.shape[0]
        sides = (0, missing) if padding_side == "right" else (missing, 0)
        edges = [0, 0] * (row.ndim - 1) + list(sides)
        padded.append(ft.pad(row, edges, "constant", padding_value) if missing else row)
    return ft.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded tensor [length, n, ...], each as long as lengths says."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    sizes = _lengths("unpad_sequence", lengths, x.shape[0], x.shape[1])
    return [x[row, :size] for row, size in enumerate(sizes)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one, in the order in which they were packed."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """pack_padded_sequence of sequences [length_i, ...] that are not padded."""
    lengths = [int(sequence.shape[0]) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)
