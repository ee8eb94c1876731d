"""Results of kernels that are called without the detour over dispatch.

On the imperative tape, in place, and in a caller's `out=`.
"""

from __future__ import annotations

from typing import Any

from cbackend import lib, plain, prepare_views

from .. import op as op_module
from ..mutation import rebind, writes_memory
from ..op import Op, Spec
from ..tape import Node
from ..tensor import Tensor
from ..trace import clock, next_sequence, state

_new = object.__new__
_retain = lib.cb_retain
# The same nodes as tape.record makes, with less said: what is not saved keeps the class's default,
# and a number stays a Python number.
_NONE, _NEITHER = (None,), (None, None)


def recorded_one(op: Op, h: Any, x: Tensor, m: Any) -> Tensor:
    """The result of a kernel call on an operand with memory and a meta, recorded if that asks."""
    t = plain(h)
    if not (m.requires_grad and op.differentiable and state.grad):
        return t
    t._m = node = _new(Node)
    node.requires_grad, node.is_view, node.watched, node.trace = True, False, False, None
    node.op = op
    node.seq = next_sequence()
    node.edges = (m,)
    saves, keep_x, _, keep_out = op.keeps[1] or op.kept(1, 1)
    node.args = (x,) if keep_x else _NONE
    node.clock = clock[0] if saves else -1
    if keep_out:
        node.out = plain(_retain(h))
    else:
        node.out = None
    node.specs = (Spec(x),) if op.changes_dtype and h.flags & 8 else None
    return t


def recorded_two(op: Op, h: Any, x: Any, y: Any, m: Any, n: Any) -> Tensor:
    """The result of a kernel call on two operands with memory, recorded if one of them asks."""
    t = plain(h)
    if m is not None and not m.requires_grad:
        m = None
    if n is not None and not n.requires_grad:
        n = None
    which = (m is not None) + 2 * (n is not None)
    if not (which and op.differentiable and state.grad):
        return t
    t._m = node = _new(Node)
    node.requires_grad, node.is_view, node.watched, node.trace = True, False, False, None
    node.op = op
    node.seq = next_sequence()
    node.edges = (m, n)
    saves, keep_x, keep_y, keep_out = op.keeps[which] or op.kept(2, which)
    if saves:
        node.clock = clock[0]
        node.args = (x if keep_x else None, y if keep_y else None)
    else:
        node.clock = -1
        node.args = _NEITHER
    if keep_out:
        node.out = plain(_retain(h))
    else:
        node.out = None
    node.specs = (
        (None if m is None else Spec(x), None if n is None else Spec(y)) if h.flags & 8 else None
    )
    return t


def recorded_view(op: Op, x: Tensor, m: Any, view: Tensor, arguments: Any, shares: bool) -> bool:
    """Puts a view that the core has made of a tensor with a meta on the tape: see views.c.

    Says whether it did; if not, the view has to be made the general way.

    Args:
      arguments: what op.unpack takes.
      shares: is it a view? A reshape may have copied.
    """
    if m.trace is not None or (m.is_view and m.clock != clock[0]):
        return False
    if shares:
        view._b = (x, op, arguments, m)
    if m.requires_grad and state.grad:
        view._m = node = _new(Node)
        node.requires_grad, node.is_view, node.watched, node.trace = True, shares, False, None
        node.op = op
        node.seq = next_sequence()
        node.edges = (m,)
        node.args = (Spec(x),) if (op.keeps[1] or op.kept(1, 1))[1] else _NONE
        node.params = arguments
        node.clock = clock[0]
        node.specs = node.out = None
    return True


prepare_views(recorded_view)


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
    from ..out import fit, store

    dtype = out.dtype if isinstance(out, Tensor) else None
    if dtype is None or not (
        op.differentiable and dtype.is_floating_point and all(a.dtype is dtype for a in args)
    ):
        return store(op.name, out, op(*args))
    from .views import broadcast_shapes

    fit(op.name, out, broadcast_shapes(*[a._shape for a in args]))
    return assign(out, op, args, into, code)
