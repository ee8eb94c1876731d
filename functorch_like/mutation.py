"""In-place operations: written in memory where nobody can notice, a new value bound to the same name elsewhere.

Plain tensors, and any tensor under no_grad, are written in memory. Under the tape or a transform a write is functional:
the tensor is rebound to the new value, a view writes through to its base, and other views of the base notice by its
meta and regenerate. So in-place code means the same in eager mode and under every transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi, lib

from . import op as op_module
from .errors import GradError, ShapeError, TraceError, message
from .tensor import Tensor, sync
from .trace import Meta, active, clock, state


def writes_memory(name: str, target: Tensor, args: Sequence[Tensor] = ()) -> bool:
    """May this write go to memory? Raises for a leaf that requires grad.

    Args:
      args: the tensors the new value comes from; a traced or recorded one makes the target such a tensor too.
    """
    m = target._m
    trace = state.trace if active else None
    if trace is not None and not trace.owns(target):
        raise TraceError(
            message(
                name,
                f"a tensor made inside {trace.name}",
                f"one captured from outside, of shape {list(target._shape)} and dtype {target.dtype}",
                "Pass it in as an argument and return the changed value, or clone() it inside.",
            )
        )
    if m is None and trace is None:
        for a in args:
            if a._m is not None and (a._m.trace is not None or (a._m.requires_grad and state.grad)):
                return False
        return True
    if m is not None and m.is_view:
        sync(target)
        m = target._m
    if m is not None and m.requires_grad and state.grad:
        base = target._b[0] if m.is_view else target
        if base.requires_grad and base.is_leaf:
            raise GradError(
                message(name, "a tensor that is not a leaf requiring grad (or a view of one)", "such a leaf", "Wrap the write in no_grad(), or use the out-of-place form.")
            )
        return False
    if m is not None and m.trace is not None:
        return False
    for a in args:
        if a is not target and a._m is not None and (a._m.trace is not None or (a._m.requires_grad and state.grad)):
            return False
    return True


def rebind(name: str, target: Tensor, new: Tensor) -> None:
    """Gives a tensor a new value; everything that saved or views the old one still works."""
    shape = target._shape
    if new._shape != shape:
        raise ShapeError(message(name, f"a result of the tensor's shape {list(shape)}", list(new._shape), "Use the out-of-place form."))
    if new.dtype is not target.dtype:
        new = new.to(target.dtype)
    view = getattr(target, "_b", None)
    if target._m is None and lib.cb_storage_users(target._v) > (1 if view is None else 2):
        raise GradError(
            message(name, "a tensor that no other view shares memory with, before a recorded or traced value is written into it", "one that is viewed elsewhere", "Make the views after the write, or clone() first.")
        )
    _swap(target, new)
    if view is not None:
        base, op, params, _ = view
        scattered = op_module.dispatch(VIEW_WRITES[op.name], (base, target), params)
        rebind(name, base, scattered)
        target._m.is_view = True
        target._b = (base, op, params, base._m)


def _swap(target: Tensor, new: Tensor) -> None:
    """Moves the value of `new` into `target`; the old value goes to the target's history."""
    clock[0] += 1
    old = op_module.wrap(lib.cb_retain(target._v)) if target._v else _traced_shell(target)
    old._m = target._m
    history = [*((target._m.history or []) if target._m is not None else []), (clock[0], old)]
    target._v, new._v = new._v, target._v
    target._m = new._m or Meta()
    target._m.history = history


def _traced_shell(t: Tensor) -> Tensor:
    s = object.__new__(Tensor)
    s._v, s._m = ffi.NULL, t._m
    return s


# view op -> the op that writes a value through it: `write(base, value, **params)`
VIEW_WRITES: dict[str, Any] = {}
