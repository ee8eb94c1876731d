"""The imperative tape's entry points: backward(), autograd.grad() and the hooks of tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import ref

from cbackend import lib

from .dtypes import can_cast
from .errors import DTypeError, GradError, ShapeError, TraceError, message
from .narrow import narrowing
from .ops.creation import zeros_like
from .tape import run_backward
from .tensor import Tensor, ones_of
from .trace import Meta, enable_grad, no_grad, set_grad_enabled, state, switches, untaped

watched_leaves = [0]  # how many hooks of leaves were ever registered: none, and nobody looks


def _roots(
    op: str, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[tuple[Meta, Tensor]]:
    if len(tensors) != len(gradients):
        raise ValueError(message(op, f"one gradient an output ({len(tensors)})", len(gradients)))
    return [_root(op, t, g) for t, g in zip(tensors, gradients, strict=True)]


def _root(op: str, t: Tensor, g: Any) -> tuple[Meta, Tensor]:
    """Where a backward pass starts, and with what cotangent: g, or 1 for a real scalar."""
    m = t._m
    if m is not None and m.is_view:
        m = t._current()
    if m is None or not m.requires_grad:
        raise GradError(
            message(
                op,
                "a tensor that requires grad",
                "one that does not",
                "Call requires_grad_() on an input, "
                "and check that no no_grad() or detach() is in between.",
            )
        )
    if g is None:
        v = t._v
        if (v.numel if v else t.numel()) != 1:
            raise GradError(
                message(op, "a scalar", f"shape {list(t._shape)}", "Reduce it, or pass gradient=.")
            )
        if (v or t._concrete).dtype >= lib.CB_C64:
            raise GradError(
                message(
                    op,
                    "a real result",
                    f"dtype {t.dtype}",
                    "Reduce it to a real number, or pass gradient=.",
                )
            )
        return m, ones_of(t)
    if not isinstance(g, Tensor):
        raise TypeError(message(op, "a tensor as the gradient", type(g).__name__))
    if g._shape != t._shape:
        raise ShapeError(message(op, f"a gradient of shape {list(t._shape)}", list(g._shape)))
    if g.dtype is not t.dtype:
        if not can_cast(g.dtype, t.dtype):
            raise DTypeError(message(op, f"a gradient of dtype {t.dtype}", g.dtype))
        g = g.to(t.dtype)
    return m, g


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Adds the gradients of the tensors to the .grad of every leaf they depend on.

    See Tensor.backward.
    """
    if isinstance(tensors, Tensor):
        roots = [_root("backward", tensors, grad_tensors)]
    else:
        if grad_tensors is None:
            grad_tensors = [None] * len(tensors)
        roots = _roots("backward", tensors, grad_tensors)
    wanted = None
    if inputs is not None:
        sources = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if not sources:
            raise ValueError(message("backward", "at least one tensor in inputs", "none"))
        wanted = {m for t in sources if (m := t._current()) is not None}
    given: set[int] = {id(g) for _, g in roots}
    outer = _callbacks.queue
    _callbacks.queue = []
    saved, state.grad = state.grad, create_graph
    try:
        found = run_backward(
            roots,
            wanted=wanted,
            retain_graph=create_graph if retain_graph is None else retain_graph,
            complete=(lambda meta, g: _accumulate(meta, g, given, create_graph))
            if wanted is None and watched_leaves[0] and state.trace is None
            else None,
            within=None if wanted is None else narrowing(roots, wanted),
        )
        for meta, g in found.items():
            _accumulate(meta, g, given, create_graph)
        for callback in _callbacks.queue:
            callback()
    finally:
        state.grad = saved
        _callbacks.queue = outer


class _Callbacks(threading.local):
    queue: list[Callable[[], None]] | None = None


_callbacks = _Callbacks()


def queue_callback(callback: Callable[[], None]) -> None:
    """Calls a function at the end of the backward() that is running; for hooks of leaves.

    Raises:
      GradError: none is running in this thread.
    """
    if _callbacks.queue is None:
        raise GradError(
            message("queue_callback", "a running backward()", "none", "Call it from a hook.")
        )
    _callbacks.queue.append(callback)


def _accumulate(meta: Meta, g: Tensor, given: set[int], create_graph: bool) -> None:
    """meta.grad += g, where meta.grad shares no memory with anything else."""
    if not meta.requires_grad:  # no longer: it was switched off
        return
    trace = g._m.trace if g._m is not None else None
    if (
        trace is not None
        and meta.trace in (None, trace)
        and meta.op is None
        and meta.seq < trace.first
        and not trace.note_grad(meta, reads=True)
    ):
        raise TraceError(
            message(
                "backward",
                f"leaves made inside {trace.name}",
                "one captured from outside, whose .grad would outlive the values",
                "Use autograd.grad and return the result, or make the leaf inside by detach().requires_grad_().",  # noqa: E501
            )
        )
    earlier = meta.grad
    if earlier is None:
        # a hook may have kept g, a rule may have returned it twice
        shared = id(g) in given or getrefcount(g) > _OWN_REFERENCES
        if not shared and g._m is None:
            if getattr(g, "_b", None) is not None:
                g._b = None  # of a view that nobody else sees: its base may go
            shared = not lib.cb_is_sole_owner(g._v)
        given.add(id(g))
        meta.grad = g.clone() if shared else g
    elif create_graph or earlier._m is not None or g._m is not None or not earlier._v:
        meta.grad = earlier + g
    else:
        earlier.add_(g)
    if meta.after_hooks:
        for hook in list(meta.after_hooks):
            hook(meta)


def _own_references() -> int:
    """How many references _accumulate sees to a gradient that only backward() holds."""
    counts = []

    def inner(meta: Any, g: Any, given: Any, create_graph: bool) -> None:
        counts.append(getrefcount(g))

    found = {0: object()}
    for meta, g in found.items():
        inner(meta, g, None, False)
    return counts[0]


_OWN_REFERENCES = _own_references()


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the outputs with respect to the inputs, as a tuple; no .grad is touched.

    Args:
      create_graph: record this pass, for higher derivatives.
      allow_unused: give None for an input the outputs do not depend on, instead of an error.
      is_grads_batched: grad_outputs have one more dimension, the first, and so have the results.
      materialize_grads: give zeros instead of None.
    Raises:
      GradError: an input does not require grad, or is not used.
    Example:
      >>> x = tensor(3.0, requires_grad=True)
      >>> (g,) = autograd.grad(x**2, x, create_graph=True)
      >>> autograd.grad(g, x)
      (tensor(2.),)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if is_grads_batched:
        from .transforms.vmap import vmap

        cts = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
        return vmap(
            lambda cts: grad(
                outputs, inputs, cts, retain_graph, create_graph, allow_unused, False,
                materialize_grads,
            )
        )(cts)  # fmt: skip
    allow_unused = allow_unused or materialize_grads
    sources = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    for i, t in enumerate(sources):
        if not t.requires_grad:
            raise GradError(
                message(
                    "grad",
                    "inputs that require grad",
                    f"input {i} that does not",
                    "Call requires_grad_() before computing the outputs.",
                )
            )
    roots = _roots("grad", outputs, grad_outputs)
    metas = [t._current() for t in sources]
    wanted: set[Any] = set(metas)
    saved, state.grad = state.grad, create_graph
    try:
        found = run_backward(
            roots,
            wanted=wanted,
            within=narrowing(roots, wanted),
            retain_graph=create_graph if retain_graph is None else retain_graph,
        )
    finally:
        state.grad = saved
    results = []
    for i, (t, m) in enumerate(zip(sources, metas, strict=True)):
        g = found.get(m)  # type: ignore[arg-type]
        if g is None and materialize_grads:
            g = zeros_like(t)
        elif g is None and not allow_unused:
            raise GradError(
                message(
                    "grad",
                    "inputs that the outputs depend on",
                    f"input {i} that they do not",
                    "Pass allow_unused=True to get None for it.",
                )
            )
        results.append(g)
    return tuple(results)


# ---- methods ----


class HookHandle:
    """Returned by the functions that register hooks."""

    def __init__(self, owner: Any, attribute: str, hook: Any):
        self._owner, self._attribute, self._hook = owner, attribute, hook

    def remove(self) -> None:
        """Takes the hook out again."""
        hooks = getattr(self._owner, self._attribute)
        if hooks and self._hook in hooks:
            hooks.remove(self._hook)
            switches[0] += 1


def retain_grad(self: Tensor) -> None:
    """Keeps the gradient of this intermediate result in .grad after backward()."""
    if not self.requires_grad:
        raise GradError(message("retain_grad", "a tensor that requires grad", "one that does not"))
    if self._m.op is not None:
        self._m.retains_grad = self._m.watched = True


def register_hook(self: Tensor, hook: Any) -> Any:
    """Calls `hook(grad)` when the gradient of this tensor is complete.

    A tensor that it returns replaces the gradient.

    Returns:
      A handle with remove().
    """
    if not self.requires_grad:
        raise GradError(
            message(
                "register_hook",
                "a tensor that requires grad",
                "one that does not",
                "Call requires_grad_() first.",
            )
        )
    m = self._m
    m.watched = True
    m.hooks = m.hooks or []
    m.hooks.append(hook)
    switches[0] += 1
    return HookHandle(m, "hooks", hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> Any:
    """Calls `hook(tensor)` when backward() has added to this leaf's .grad.

    That is while the pass still runs, as soon as every use of the leaf has contributed.
    """
    if not self.requires_grad or not self.is_leaf:
        raise GradError(
            message(
                "register_post_accumulate_grad_hook",
                "a leaf that requires grad",
                "another tensor",
            )
        )
    m = self._m
    m.after_hooks = m.after_hooks or []
    owner = ref(self)  # the meta must not keep its tensor alive

    def with_tensor(_meta: Any) -> None:
        t = owner()
        if t is not None:
            hook(t)

    m.after_hooks.append(with_tensor)
    switches[0] += 1
    watched_leaves[0] += 1
    return HookHandle(m, "after_hooks", with_tensor)


def _backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Adds the gradient of this tensor with respect to every leaf to that leaf's .grad.

    Args:
      gradient: the cotangent to start from; may be left out for a tensor with one element.
      retain_graph: keep what was saved, for another backward. Default: create_graph.
      create_graph: record the backward pass itself, for higher derivatives.
      inputs: tensors to restrict to.
    Raises:
      GradError: nothing here requires grad; not a scalar; the graph was freed; a saved tensor
        was overwritten.
    Example:
      >>> x = tensor([1.0, 2.0], requires_grad=True)
      >>> (x**2).sum().backward()
      >>> x.grad
      tensor([2., 4.])
    """
    backward(self, gradient, retain_graph, create_graph, inputs)


_backward.__name__ = "backward"
for _f in (retain_grad, register_hook, register_post_accumulate_grad_hook, _backward):
    setattr(Tensor, _f.__name__, _f)


if TYPE_CHECKING:
    from . import autograd_functional as functional
    from .anomaly import detect_anomaly, set_detect_anomaly
    from .testing.derivatives import gradcheck, gradgradcheck
    from .transforms.function import Function

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "no_grad",
    "queue_callback",
    "set_detect_anomaly",
    "set_grad_enabled",
    "untaped",
]

# where names are that need the transforms, which import this module
_LATER = {
    "Function": "transforms.function",
    "detect_anomaly": "anomaly",
    "functional": "autograd_functional",
    "gradcheck": "testing.derivatives",
    "gradgradcheck": "testing.derivatives",
    "set_detect_anomaly": "anomaly",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        home = import_module(f"{__package__}.{_LATER[name]}")
        return home if name == "functional" else getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
