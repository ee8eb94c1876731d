"""In-place operations.

They are written in memory where nobody can notice; elsewhere a new value is bound to the same name.

Plain tensors, and any tensor under no_grad, are written in memory. Under the tape or a transform a
write is functional: the tensor is rebound to the new value, a view writes through to its base, and
other views of the base notice by its meta and regenerate. So in-place code means the same in eager
mode and under every transform.

Plain views do not watch their base, for speed. When a plain base is about to be given a recorded or
traced value, its views are looked up (_claim) and made to watch.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from cbackend import lib

from . import op as op_module
from .dtypes import can_cast
from .errors import DTypeError, GradError, ShapeError, TraceError, message
from .tensor import Tensor, link_of, replace, sync
from .trace import _PACKAGE, Meta, Trace, Untraced, active, enable_grad, no_grad, state


def root_of(t: Tensor) -> Tensor:
    """The tensor that t is a view of, through all views between; t itself if it is none."""
    while (view := getattr(t, "_b", None)) is not None:
        t = view[0]
    return t


def _view_of(t: Tensor) -> Any:
    """What t is a view of, see link_of(), unless it is a detached alias."""
    link = link_of(t)
    return None if link is None or link[1].name == "detach" else link


def _attached(t: Tensor) -> Tensor:
    """As root_of(), up to a detached alias."""
    while (view := _view_of(t)) is not None:
        t = view[0]
    return t


def writes_memory(name: str, target: Tensor, args: Sequence[Tensor] = ()) -> bool:
    """May this write go to memory?

    Raises for a leaf that requires grad, and for a tensor captured by a transform.

    Args:
      args: the tensors the new value comes from; a traced or recorded one makes the target such a
        tensor too.
    """
    m = target._m
    trace = state.trace if active else None
    if trace is not None and trace.functional:
        return _writes_new_value(name, target, trace)
    if trace is not None and not (trace.owns(target) and trace.owns(root_of(target))):
        raise TraceError(
            message(
                name,
                f"a tensor made inside {trace.name}",
                f"{_named(target)}captured from outside, of shape {list(target._shape)} "
                f"and dtype {target.dtype}",
                "Pass it in as an argument and return the changed value, or clone() it inside.",
            )
        )
    if m is None and trace is not None and trace.is_staging():
        return False  # the program may have read it before
    if m is None and trace is None:
        return not any([a._m is not None and _is_recorded(a) for a in args])
    if m is not None and m.is_view:
        sync(target)
        m = target._m
    if m is not None and m.requires_grad and state.grad:
        _refuse_leaf(name, root_of(target))
        return False
    if m is not None and m.trace is not None:
        return False
    return not any([a is not target and a._m is not None and _is_recorded(a) for a in args])


def _writes_new_value(name: str, target: Tensor, trace: Trace) -> bool:
    """False, after what a staged write to a tensor from outside needs."""
    m = target._current()
    if m is not None and m.requires_grad and state.grad:
        _refuse_leaf(name, root_of(target))
    t: Tensor | None = target
    while t is not None:
        if not trace.owns(t):
            trace.capture_write(t)
        view = getattr(t, "_b", None)
        t = None if view is None else view[0]
    return False


def _named(target: Tensor) -> str:
    """The tensor's name in the code that writes to it: a variable or an attribute of one."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    while frame is not None:
        for name, value in (*frame.f_locals.items(), *frame.f_globals.items()):
            if value is target:
                return f"{name!r}, "
        for name, value in frame.f_locals.items():
            for attribute, inner in _attributes(value):
                if inner is target:
                    return f"'{name}.{attribute}', "
        if not frame.f_code.co_filename.startswith(os.path.dirname(_PACKAGE)):
            break  # not a module of nn: the user's own line
        frame = frame.f_back
    return "one "


def _attributes(value: Any) -> list[tuple[str, Any]]:
    found = list(getattr(value, "__dict__", {}).items())
    for group in ("_buffers", "_parameters"):
        found += list(getattr(value, "__dict__", {}).get(group, {}).items())
    return found


def _is_recorded(t: Tensor) -> bool:
    """Is its value, which a view takes up from its base first, traced or about to be recorded?"""
    m = t._current()
    return m is not None and (m.trace is not None or (m.requires_grad and state.grad))


def _refuse_leaf(name: str, root: Tensor) -> None:
    if root.requires_grad and root.is_leaf:
        raise GradError(
            message(
                name,
                "a tensor that is not a leaf requiring grad (or a view of one)",
                "such a leaf",
                "Wrap the write in no_grad(), or use the out-of-place form.",
            )
        )


def require_cast(name: str, source: Any, target: Any) -> None:
    """Raises where a result of one dtype cannot be stored as another."""
    if not can_cast(source, target):
        raise DTypeError(
            message(
                name,
                f"a result that can be stored as {target}",
                source,
                "Use the out-of-place form, or cast.",
            )
        )


def rebind(name: str, target: Tensor, new: Tensor, uniform: bool = False) -> None:
    """Gives a tensor a new value; everything that saved or views the old one still works.

    Args:
      uniform: all elements are alike, so that it does not matter which showing of one is written.
    """
    shape, dtype = target._shape, target.dtype
    if new._shape != shape:
        raise ShapeError(
            message(
                name,
                f"a result of the tensor's shape {list(shape)}",
                list(new._shape),
                "Use the out-of-place form.",
            )
        )
    if new.dtype is not dtype:
        require_cast(name, new.dtype, dtype)
        new = new.to(dtype)
    trace = state.trace if active else None
    carry = (lambda _old, new: new) if trace is None else partial(_carry, trace)
    links = []  # the views from the target up to, not including, the root
    t = target
    while (view := _view_of(t)) is not None:
        links.append((t, view))
        if view[1].name not in VIEW_WRITES and view[1].name not in _REPEATING:
            raise ShapeError(
                message(
                    name,
                    "a view that can be written through",
                    f"one made by {view[1].name}",
                    "Write to a clone().",
                )
            )
        t = view[0]
    root, link = t, link_of(t)
    if link is not None and new.requires_grad and state.grad:
        raise _aliased(name)
    if trace is not None and state.grad and (new.requires_grad or root.requires_grad):
        _leave_aliases(trace, root)
    if not links:
        _claim(name, root)
        replace(root, _laid_out(root, carry(root, new)))
        _write_through(name, root, link)
        return
    repeating = [i for i, (_, view) in enumerate(links) if view[1].name in _REPEATING]
    below = links[: repeating[-1] + 1] if repeating else []
    if below:
        new = _written_at_places(name, target, below, new, uniform)
    _claim(name, target if target._v else root)
    if below and len(below) == len(links):
        new = _laid_out(root, new)
    for t, (base, op, params, _) in links[len(below) :]:
        replace(t, carry(t, new))
        new = VIEW_WRITES[op.name](base, t, **params)
        if base is root:
            new = _laid_out(root, new)
    replace(root, carry(root, new))
    for t, (base, op, params, _) in links[len(below) :]:
        t._m.is_view = True  # type: ignore[union-attr]
        t._b = (base, op, params, _STALE)
    _write_through(name, root, link)


def _write_through(name: str, target: Tensor, link: Any) -> None:
    """What was written to a detached alias stands in its tensor too, unseen by that one's graph."""
    if link is None:
        return
    base, op, params, _ = link
    with no_grad():
        rebind(name, base, target._alias())
    target._m.is_view = True  # type: ignore[union-attr]
    target._b = (base, op, params, base._m)


def _leave_aliases(trace: Trace | None, root: Tensor) -> None:
    """A recorded write is a new value: detached aliases keep the one they show."""
    while trace is not None:
        for t in trace.aliases or ():
            link = link_of(t)
            if link is not None and _attached(link[0]) is root:
                t._current()
                t._m.is_view, t._b = False, None  # type: ignore[union-attr]
        trace = trace.parent


def _carry(trace: Trace, old: Tensor, new: Tensor) -> Tensor:
    """The new value of a tensor; one that is written under no_grad keeps its place in graphs."""
    m = old._m
    if state.grad or m is None or not m.requires_grad or m.op is None:
        return trace.carry(old, new)
    from .transforms.replay import another_shell
    from .transforms.unrecorded import carried

    with enable_grad():
        return carried(another_shell(old), new)


def _written_at_places(
    name: str, target: Tensor, links: list[Any], new: Tensor, uniform: bool
) -> Tensor:
    """The new value of the last link's base, through views that show an element several times.

    Which of an element's showings was written, a value of the view does not tell. So each place of
    the target is followed to the base.
    """
    from .ops.creation import arange
    from .ops.index import index_put

    base = links[-1][1][0]
    with Untraced():  # the places are known now, whatever is traced
        places = arange(base.numel()).reshape(base._shape)
        for _, (_, op, params, _) in reversed(links):
            places = op_module.dispatch(op, (places,), params)
    sizes = zip(target._shape, places.stride(), strict=True)
    if not uniform and any(n > 1 and step == 0 for n, step in sizes):
        raise ShapeError(
            message(
                name,
                "a tensor with one memory location an element",
                f"an expanded tensor of shape {list(target._shape)}",
                "Write to a clone().",
            )
        )
    places = places.to(base.device)
    return index_put(base.reshape((base.numel(),)), (places,), new).reshape(base._shape)


def _laid_out(target: Tensor, new: Tensor) -> Tensor:
    """The new value, contiguous if its target is: what view() can do with it must not change."""
    return new.contiguous() if target.is_contiguous() else new


_STALE = Meta()  # no base has it: the view is made anew at its next use


def put(name: str, target: Tensor, new: Tensor) -> None:
    """The target becomes `new`, of its shape and dtype, which nobody else holds."""
    if writes_memory(name, target, (new,)):
        target.copy_(new)
    else:
        rebind(name, target, new)


def _claim(name: str, target: Tensor) -> None:
    """Makes all views of a plain tensor's memory watch their base: it is about to leave it."""
    if target._m is not None or not target._v:
        return
    family = [target]
    while (view := _view_of(family[-1])) is not None:
        family.append(view[0])
    root = family[-1]
    _refuse_leaf(name, root)
    if root._m is not None and root is not target:
        raise GradError(
            message(
                name,
                "a view made while the tape records",
                "one made under no_grad()",
                "Make the view outside no_grad(), or clone() it.",
            )
        )
    users = lib.cb_storage_users(root._v)
    if users > len(family):
        family = _views_of(root, users)
    if users != len(family) and not (active and state.trace is not None and state.trace.functional):
        raise _aliased(name)  # a functional trace knows aliases by their storage
    for t in family:
        if t is not root:
            t._m = t._m or Meta()
            t._m.is_view = True


def _aliased(name: str) -> GradError:
    return GradError(
        message(
            name,
            "a tensor that shares its memory with views of it only, "
            "before a recorded or traced value is written into it",
            "one that also has a detached alias",
            "Write to a clone().",
        )
    )


def _views_of(root: Tensor, count: int) -> list[Tensor]:
    """The tensor and its views, found through the collector, youngest objects first.

    Stops when there are `count`.
    """
    family = [root]
    for generation in (0, 1, 2):
        family += [
            t
            for t in gc.get_objects(generation)
            if issubclass(type(t), Tensor) and t is not root and t._v and _attached(t) is root
        ]
        if len(family) == count:
            break
    return family


# view op -> how a value is written through it:
# `write(base, value, **params)` gives the base's new value
VIEW_WRITES: dict[str, Any] = {}
# view ops that may show an element several times
_REPEATING = {"expand", "unfold", "as_strided"}
