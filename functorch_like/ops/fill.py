"""In-place writes of whole tensors: copy_, fill_, zero_."""

from __future__ import annotations

from typing import Any

from cbackend import lib

from .. import mutation
from ..op import TABLE, fail
from ..tensor import Tensor
from ..trace import clock
from .creation import _scalar, full
from .family import operand
from .ternary import where


def copy_(x: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Overwrites the tensor with another one, broadcast and cast.

    Raises:
      ShapeError: the source does not broadcast to the tensor's shape.
    """
    source = operand("copy_", source)
    if mutation.writes_memory("copy_", x, (source,)):
        clock[0] += 1
        if lib.cb_copy_into(x._v, source._v, clock[0]):
            fail(TABLE["clone"], (x, source))
        return x
    value = source if source.dtype is x.dtype else source.to(x.dtype)
    mutation.rebind("copy_", x, value.expand(x._shape).clone())
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    """Overwrites all elements with a number (or a 0-d tensor)."""
    if isinstance(value, Tensor):
        return copy_(x, value)
    if mutation.writes_memory("fill_", x):
        clock[0] += 1
        if lib.cb_fill(x._v, _scalar(value), clock[0]):
            fail(TABLE["clone"], (x,))
        return x
    nowhere = full((), False, device=x.device)
    # still part of the graph, with gradient 0
    mutation.rebind("fill_", x, where(nowhere, x, value))
    return x


def zero_(x: Tensor) -> Tensor:
    """Overwrites all elements with 0."""
    return fill_(x, 0)


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place masked_fill()."""
    return copy_(x, x.masked_fill(mask, value))


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place clamp()."""
    return copy_(x, x.clamp(min, max))


def addcmul_(x: Tensor, y: Any, z: Any, *, value: Any = 1) -> Tensor:
    """In-place addcmul()."""
    return copy_(x, x.addcmul(y, z, value=value))


def addcdiv_(x: Tensor, y: Any, z: Any, *, value: Any = 1) -> Tensor:
    """In-place addcdiv()."""
    return copy_(x, x.addcdiv(y, z, value=value))


def lerp_(x: Tensor, end: Any, weight: Any) -> Tensor:
    """In-place lerp()."""
    return copy_(x, x.lerp(end, weight))


for _f in (copy_, fill_, zero_, masked_fill_, clamp_, addcmul_, addcdiv_, lerp_):
    setattr(Tensor, _f.__name__, _f)
