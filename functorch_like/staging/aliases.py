"""Captured tensors that share memory, and what writes to them may leave behind.

Detached aliases do not know of each other. While a function is staged, the first one that is
written has the value of all of them: others are read from it, and written through to it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cbackend import ffi, lib

from ..errors import GradError, TraceError, message
from ..op import dispatch
from ..tape import Node
from ..tensor import Tensor, link_of
from ..trace import Meta, _user_site, line_of, state

if TYPE_CHECKING:
    from .stage import StageTrace


def written_with(trace: StageTrace, t: Tensor) -> Tensor | None:
    """The tensor that was written instead of t, or of what t is a view of: it has its memory."""
    v = t._v
    if not v:
        m = t._m
        if m is None or not m.is_view:
            return None
        while not v and (link := getattr(t, "_b", None)) is not None:
            t = link[0]
            v = t._v
        if not v:
            return None
    elif _is_old(trace, t):
        return None
    writer = trace.writers.get(lib.cb_storage_id(v))
    return None if writer is None or writer._v else writer


def _is_old(trace: StageTrace, t: Tensor) -> bool:
    """Is it an earlier value of a captured tensor, kept by what read it before it was written?"""
    known = trace.captured.get(int(ffi.cast("uintptr_t", t._v)))
    source = None if known is None else known[1].source
    return source is not None and source() is not t


def shown(trace: StageTrace, t: Tensor, writer: Tensor) -> Tensor:
    """What a captured tensor shows of another one that has its memory and was written."""
    links = []
    value = t
    while value is not writer and (view := link_of(value)) is not None:
        links.append(view)
        value = view[0]
    if t._v:
        trace.captured_var(t)  # so that another one in its place is noticed
    if value is not writer and value._v:
        check_same_elements(trace, value, writer)
        value = writer
    trace.shared.add(id(t))
    before = state.grad, state.trace
    state.grad, state.trace = False, trace
    try:
        for _, op, params, _ in reversed(links):
            value = dispatch(op, (value,), params)
        value._current()
        return value
    finally:
        state.grad, state.trace = before


def check_same_elements(trace: StageTrace, t: Tensor, writer: Tensor) -> None:
    """Raises where a tensor shows the memory of another in another way than that one does."""
    a, b = t._v, trace.written[id(writer)][1]
    trace.shared |= {id(t), id(writer)}
    if (a.data, a.dtype, t._shape) != (b.data, b.dtype, writer._shape) or ffi.unpack(
        a.strides, a.ndim
    ) != ffi.unpack(b.strides, b.ndim):
        raise TraceError(
            message(
                "compile",
                "captured tensors that share memory to be views of one, or to show the same of it",
                f"one of shape {list(t._shape)} beside a written one of shape "
                f"{list(writer._shape)} (at {line_of(_user_site())})",
                "Take it inside of the function as a view of the one that is written.",
            )
        )


def check_written(t: Tensor, before: Meta | None) -> None:
    """Raises where a write leaves a tensor from outside at another place in the tape's graph.

    Args:
      before: its meta before the function wrote to it.
    """
    if before is not None and before.requires_grad and before.op is not None:
        m: Any = t._m
        while m is not before and m is not None and m.op is not None and m.op.name == "carried":
            m = m.edges[0]
        moved = m is not before
    else:
        moved = on_tape(t)
    if moved:
        raise GradError(
            message(
                "compile",
                "writes that are not recorded, to tensors from outside of the function",
                f"one to a tensor of shape {list(t._shape)} whose gradient would lead through "
                "the function",
                "Return the new value, or write under no_grad().",
            )
        )


def on_tape(t: Tensor) -> bool:
    """Does the result require grad, with a graph that has not been used up by backward()?"""
    m = t._m
    if m is None or not m.requires_grad or m.op is None:
        return False
    seen, todo = set(), [m]
    while todo:
        m = todo.pop()
        node = m if isinstance(m, Node) or m.op is None else m.node
        if m.op is None or node in seen:
            continue
        seen.add(node)
        if node.args is None:
            return False
        # one that saves nothing bears no trace of having been used up: those behind it tell
        if node.clock < 0 or node.op.view:
            todo += [edge for edge in node.edges if edge is not None]
    return True
