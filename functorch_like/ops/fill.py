"""In-place writes beside those of one kernel with one or two operands: copy_, fill_, addcmul_."""

from __future__ import annotations

from typing import Any

from cbackend import fill, lib

from .. import mutation
from ..op import TABLE, Op, fail
from ..tensor import Tensor
from ..trace import clock
from .creation import _scalar, full
from .family import operand
from .ternary import _addcdiv, _addcmul, _lerp, where


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


def assign(name: str, x: Tensor, result: Tensor) -> Tensor:
    """Overwrites x with the result of an in-place op, whose dtype x has to be able to store."""
    mutation.require_cast(name, result.dtype, x.dtype)
    return copy_(x, result)


def in_place(function: Any) -> Any:
    """The in-place form of a function: its result goes into its first argument."""
    name = function.__name__ + "_"

    def assigned(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return assign(name, x, function(x, *args, **options))

    assigned.__name__ = name
    assigned.__doc__ = f"In-place {function.__name__}()."
    return assigned


def fill_(x: Tensor, value: Any) -> Tensor:
    """Overwrites all elements with a number (or a 0-d tensor).

    Example:
      >>> x = zeros(2)
      >>> x.expand(3, 2).fill_(1.0), x
      (tensor([[1., 1.],
               [1., 1.],
               [1., 1.]]), tensor([1., 1.]))
    """
    if isinstance(value, Tensor):
        return copy_(x, value)
    if mutation.writes_memory("fill_", x):
        clock[0] += 1
        if not fill(x, value, clock[0]) and lib.cb_fill(x._v, _scalar(value), clock[0]):
            once = _shown_once(x)
            if once is x or lib.cb_fill(once._v, _scalar(value), clock[0]):
                fail(TABLE["clone"], (x,))
        return x
    nowhere = full((), False, device=x.device)
    # still part of the graph, with gradient 0
    mutation.rebind("fill_", x, where(nowhere, x, value), uniform=True)
    return x


def _shown_once(x: Tensor) -> Tensor:
    """One showing of each element that the tensor, expanded from others, shows many times."""
    for d, (n, step) in enumerate(zip(x._shape, x.stride(), strict=True)):
        if n > 1 and step == 0:
            x = x.detach().narrow(d, 0, 1)
    return x


def zero_(x: Tensor) -> Tensor:
    """Overwrites all elements with 0."""
    return fill_(x, 0)


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place masked_fill()."""
    return copy_(x, x.masked_fill(mask, value))


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place clamp()."""
    return assign("clamp_", x, x.clamp(min, max))


_CODES = {op: lib.cb_op_code(b"ternary", op.name.encode()) for op in (_addcmul, _addcdiv, _lerp)}


def _ternary(name: str, op: Op, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """x = op(x, y, z), in memory where nobody can notice."""
    args = (x, y, z)
    if mutation.writes_memory(name, x, args):
        clock[0] += 1
        if lib.cb_ternary_into(_CODES[op], x._v, y._v, z._v, x._v, clock[0]):
            fail(op, args)
        return x
    mutation.rebind(name, x, op(*args))
    return x


def addcmul_(x: Tensor, y: Any, z: Any, *, value: Any = 1) -> Tensor:
    """In-place addcmul()."""
    y, z = operand("addcmul_", y), operand("addcmul_", z)
    return _ternary("addcmul_", _addcmul, x, y if value == 1 else y * value, z)


def addcdiv_(x: Tensor, y: Any, z: Any, *, value: Any = 1) -> Tensor:
    """In-place addcdiv()."""
    y, z = operand("addcdiv_", y), operand("addcdiv_", z)
    return _ternary("addcdiv_", _addcdiv, x, y if value == 1 else y * value, z)


def lerp_(x: Tensor, end: Any, weight: Any) -> Tensor:
    """In-place lerp()."""
    return _ternary("lerp_", _lerp, x, operand("lerp_", end), operand("lerp_", weight))


_plain_add_, _plain_sub_ = Tensor.add_, Tensor.sub_  # type: ignore[attr-defined]


def add_(x: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """In-place add()."""
    if alpha == 1:
        return _plain_add_(x, other)
    return _ternary("add_", _addcmul, x, operand("add_", other), operand("add_", alpha))


def sub_(x: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """In-place sub()."""
    if alpha == 1:
        return _plain_sub_(x, other)
    return _ternary("sub_", _addcmul, x, operand("sub_", other), operand("sub_", -alpha))


for _f in (copy_, fill_, zero_, masked_fill_, clamp_, addcmul_, addcdiv_, lerp_, add_, sub_):
    setattr(Tensor, _f.__name__, _f)
