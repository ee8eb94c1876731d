"""Making one batch of a list of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = ["default_collate"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples of equal structure as one: tensors and arrays stacked, numbers in a tensor,
    containers entry by entry.

    Args:
      batch: at least one sample; strings and bytes stay a list.
    Returns:
      The structure of one sample; a tuple of samples' fields becomes a list.
    Raises:
      ShapeError: samples whose tensors differ in shape.   ValueError: containers differ in length.
      TypeError: a type that has no batch form; give the loader a collate_fn.
    Example:
      >>> default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
      {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        try:
            return ft.stack(list(batch))
        except ShapeError:
            i, other = next((i, t) for i, t in enumerate(batch) if t.shape != first.shape)
            raise ShapeError(
                f"default_collate: expected samples of one shape, got {list(first.shape)} for the "
                f"first and {list(other.shape)} for number {i} of the batch. Pad them, or give a "
                "collate_fn."
            ) from None
    if isinstance(first, bool):
        return ft.tensor(list(batch))
    if isinstance(first, int):
        return ft.tensor(list(batch), dtype=ft.int64)
    if isinstance(first, float):
        return ft.tensor(list(batch), dtype=ft.float64)
    if hasattr(first, "__array_interface__"):  # a NumPy array or number
        make = ft.from_numpy if hasattr(first, "flags") and first.ndim else ft.tensor
        return default_collate([make(sample) for sample in batch])
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return _same_type(
            first, {key: default_collate([sample[key] for sample in batch]) for key in first}
        )
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError(
                "default_collate: expected samples of equal length, got several. Give a collate_fn."
            )
        fields = [default_collate(list(field)) for field in zip(*batch, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        "default_collate: expected tensors, arrays, numbers, strings, dicts or lists, got "
        f"{type(first).__name__}. Give a collate_fn."
    )


def _same_type(like: Any, values: dict[Any, Any]) -> Any:
    make: Callable[[dict[Any, Any]], Any] = type(like)
    try:
        return make(values)
    except TypeError:
        return values
