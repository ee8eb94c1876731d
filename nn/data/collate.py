"""Making one batch of a list of samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples of equal structure as one: tensors and arrays stacked, numbers in a tensor,
    containers entry by entry.

    Args:
      batch: at least one sample; strings and bytes stay a list.
    Returns:
      The structure of one sample, of its classes; a tuple of samples' fields becomes a list.
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
    if isinstance(first, float):
        return ft.tensor(list(batch), dtype=ft.float64)
    if isinstance(first, int):  # bools too; floats among them make it a tensor of floats
        return ft.tensor(list(batch))
    if isinstance(first, (str, bytes)):  # NumPy's too, which have an array's interface
        return list(batch)
    if hasattr(first, "__array_interface__"):  # a NumPy array or number
        make = ft.from_numpy if hasattr(first, "flags") and first.ndim else ft.tensor
        return default_collate([make(sample) for sample in batch])
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([one[key] for one in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError(
                "default_collate: expected samples of equal length, got several. Give a collate_fn."
            )
        fields = [default_collate(list(field)) for field in zip(*batch, strict=True)]
        return _like(first, fields)
    raise TypeError(
        "default_collate: expected tensors, arrays, numbers, strings, dicts or lists, got "
        f"{type(first).__name__}. Give a collate_fn."
    )


def default_convert(data: Any) -> Any:
    """A sample with its NumPy arrays and numbers as tensors, what a loader without batches gives.

    Args:
      data: of any structure; arrays of strings or objects and all else stay as they are.
    Returns:
      The structure of data, of its classes; a tuple becomes a list.
    Example:
      >>> import numpy
      >>> default_convert({"x": numpy.ones(2), "name": "a"})
      {'x': tensor([1., 1.], dtype=float64), 'name': 'a'}
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if hasattr(data, "__array_interface__"):
        return data if data.dtype.kind not in "biufc" else ft.tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence):
        return _like(data, [default_convert(one) for one in data])
    return data


def _like(first: Any, values: Any) -> Any:
    """A dict or list of values as a container of first's class, where one can be made."""
    if hasattr(first, "_fields"):
        return type(first)(*values)
    if type(first) in (dict, list) or isinstance(first, tuple):
        return values
    try:
        if isinstance(first, (MutableMapping, MutableSequence)):  # keeps what else it holds
            result: Any = copy.copy(first)
            for key, value in values.items() if isinstance(values, dict) else enumerate(values):
                result[key] = value
            return result
        make: Callable[[Any], Any] = type(first)
        return make(values)
    except TypeError:
        return values
