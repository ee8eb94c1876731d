"""Results of kernels in place, and in a caller's `out=`."""

from __future__ import annotations

from typing import Any

from .. import op as op_module
from ..mutation import rebind, writes_memory
from ..op import Op
from ..out import fit, store
from ..tensor import Tensor
from ..trace import clock


def assign(target: Tensor, op: Op, args: tuple[Tensor, ...], into: Any, code: int) -> Tensor:
    """target = op(*args), in place.

    In memory where nobody can notice, by rebinding where something records.

    Args:
      into: the kernel that writes to memory, called with the code, the handles of args and target,
        and the clock.
    """
    if writes_memory(op.name + "_", target, args):
        clock[0] += 1
        if into(code, *[a._v for a in args], target._v, clock[0]):
            op_module.fail(op, args)
        return target
    rebind(op.name + "_", target, op(*args))
    return target


def given(out: Any, op: Op, args: tuple[Tensor, ...], into: Any, code: int) -> Tensor:
    """out = op(*args), for a caller's `out=`; without a copy where the kernel can write there.

    Apart from the functions that call it: a closure over their operands would slow every call.
    """
    dtype = out.dtype if isinstance(out, Tensor) else None
    if dtype is None or not (
        op.differentiable and dtype.is_floating_point and all([a.dtype is dtype for a in args])
    ):
        return store(op.name, out, op(*args))
    shapes = [a._shape for a in args if a._shape]
    if not shapes or any([shape != out._shape for shape in shapes]):
        from .views import broadcast_shapes

        fit(op.name, out, broadcast_shapes(*shapes))
    return assign(out, op, args, into, code)
