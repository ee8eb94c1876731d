"""Elementwise ops of three operands: where, clamp, lerp, addcmul, addcdiv."""

from __future__ import annotations

from typing import Any

from ..errors import message
from ..tensor import Tensor
from .binary import maximum, minimum
from .family import chain, operand, ternary

__all__ = [
    "addcdiv", "addcmul", "clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "lerp",
    "masked_fill", "where",
]  # fmt: skip

_where = ternary(
    "where",
    (
        0,
        chain(lambda t, c, _x, _y, _out: _where(c, t, 0)),
        chain(lambda t, c, _x, _y, _out: _where(c, 0, t)),
    ),
    samples={"kinds": "bool int float complex", "masks": (0,)},
)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, y elsewhere; all three broadcast.

    With the condition alone: its nonzero indices.

    Gradients flow to the chosen side only, also where the other one's slope is infinite:
    `where(x > 0, sqrt(x), 0)` has gradient 0 at 0, where torch gives nan.

    Raises:
      DTypeError: the condition is not bool.
    Example:
      >>> where(tensor([True, False]), 1.0, 0.0)
      tensor([1., 0.])
    """
    if x is None and y is None:
        return condition.nonzero(as_tuple=True)
    if x is None or y is None:
        raise TypeError(message("where", "both x and y, or neither", "one of them"))
    return _where(condition, x, y)


def _inside(t: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return where((x >= low) & (x <= high), t, 0)


_of_bounds = (
    chain(lambda t, x, y, z, _out: where((x < y) & (y < z), t, 0)),
    chain(lambda t, x, y, z, _out: where((x > z) | (y >= z), t, 0)),
)
_clamp = ternary(
    "clamp",
    (chain(lambda t, x, y, z, _out: _inside(t, x, y, z)), *_of_bounds),
    samples={"kinds": "int float"},
)
_hardtanh = ternary(
    "hardtanh",
    (chain(lambda t, x, y, z, _out: where((x > y) & (x < z), t, 0)), *_of_bounds),
    samples={"kinds": "int float"},
)
_addcmul = ternary(
    "addcmul",
    (1, lambda _x, _y, z, _out: z, lambda _x, y, _z, _out: y),
    samples={"kinds": "int float complex"},
)
_addcdiv = ternary(
    "addcdiv",
    (1, lambda _x, _y, z, _out: 1 / z, lambda _x, y, z, _out: -y / (z * z)),
    samples={"kinds": "float complex", "low": 0.5, "high": 3.0},
)
_lerp = ternary(
    "lerp",
    (lambda _x, _y, z, _out: 1 - z, lambda _x, _y, z, _out: z, lambda x, y, _z, _out: y - x),
    samples={"kinds": "float complex"},
)


def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:  # torch's names
    """x limited to [min, max]; either bound may be missing, numbers or tensors.

    The gradient at a bound is 1.

    Example:
      >>> clamp(tensor([-1.0, 0.5, 2.0]), 0, 1)
      tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ValueError(message("clamp", "at least one of min and max", "neither"))
    x = operand("clamp", x)
    if min is None or max is None:
        bound = max if min is None else min
        if isinstance(bound, Tensor):
            return minimum(x, bound) if min is None else maximum(x, bound)
        if x.dtype.is_inexact:
            limit = float("inf")
            min, max = (-limit, max) if min is None else (min, limit)
        else:
            return minimum(x, max) if min is None else maximum(x, min)
    return _clamp(x, min, max)


clip = clamp


def hardtanh(x: Any, min_val: Any = -1.0, max_val: Any = 1.0) -> Tensor:
    """clamp(), with gradient 0 at a bound: as relu's at 0.

    Example:
      >>> hardtanh(tensor([-2.0, 0.5, 2.0]))
      tensor([-1.0000,  0.5000,  1.0000])
    """
    return _hardtanh(x, min_val, max_val)


def clamp_min(x: Any, min: Any) -> Tensor:
    """x, or min where x is less."""
    return clamp(x, min=min)


def clamp_max(x: Any, max: Any) -> Tensor:
    """x, or max where x is greater."""
    return clamp(x, max=max)


def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2, elementwise with broadcasting."""
    return _addcmul(x, tensor1 if value == 1 else tensor1 * value, tensor2)


def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2, elementwise with broadcasting."""
    return _addcdiv(x, tensor1 if value == 1 else tensor1 * value, tensor2)


def lerp(x: Any, end: Any, weight: Any) -> Tensor:
    """Linear interpolation: x + weight * (end - x).

    Example:
      >>> lerp(tensor([0.0]), tensor([10.0]), 0.25)
      tensor([2.5000])
    """
    return _lerp(x, end, weight)


def _where_method(x: Tensor, condition: Any, y: Any) -> Tensor:
    """x where the condition holds, y elsewhere."""
    return where(condition, x, y)


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x with `value` where the mask holds.

    Example:
      >>> masked_fill(tensor([1.0, 2.0]), tensor([True, False]), 0.0)
      tensor([0., 2.])
    """
    filled = where(mask, value, x)
    return filled if filled.dtype is x.dtype else filled.to(x.dtype)


Tensor.where = _where_method  # type: ignore[attr-defined]
for _f in (clamp, clip, clamp_min, clamp_max, addcmul, addcdiv, lerp, masked_fill):
    setattr(Tensor, _f.__name__, _f)
Tensor.clip = clamp  # type: ignore[attr-defined]
