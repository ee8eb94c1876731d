"""Hooks of a Module: their storage, their removal, and the calls around forward and backward.

A module without hooks has no table at all, so that calling it costs one attribute check. Backward
hooks are tensor hooks on copies of the inputs and outputs, so that they see the gradients of this
one call only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import functorch_like as ft

if TYPE_CHECKING:
    from nn.module import Module

__all__ = ["RemovableHandle", "add_hook", "call_with_hooks", "hooks_of"]

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: remove() takes the hook away; also a context manager."""

    def __init__(self, table: dict[int, Any]) -> None:
        self.id = next(_ids)
        self._table = table

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(
    owner: Any, kind: str, hook: Callable[..., Any], prepend: bool = False, **options: Any
) -> RemovableHandle:
    """Store a hook in the table of a module or an optimizer and return its handle."""
    if not callable(hook):
        raise TypeError(
            f"{type(owner).__name__}: expected a callable hook, got {type(hook).__name__}."
        )
    tables = owner.__dict__.get("_hooks")
    if tables is None:
        tables = owner.__dict__["_hooks"] = {}
    table = tables.setdefault(kind, {})
    handle = RemovableHandle(table)
    if prepend:
        rest = dict(table)
        table.clear()
        table[handle.id] = (hook, options)
        table.update(rest)
    else:
        table[handle.id] = (hook, options)
    return handle


def hooks_of(owner: Any, kind: str) -> list[tuple[Callable[..., Any], dict[str, Any]]]:
    """Its hooks of one kind, in order; a copy, so that a hook may remove itself."""
    tables = owner._hooks
    return list(tables[kind].values()) if tables and kind in tables else []


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """forward with the module's hooks around it, in torch's order."""
    for hook, options in hooks_of(module, "forward_pre"):
        if options["with_kwargs"]:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise TypeError(
                        "forward_pre_hook: expected None or a pair (args, kwargs), got "
                        f"{type(changed).__name__}."
                    )
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)

    backward = _BackwardHooks(module)
    if backward.active:
        args = backward.watch_inputs(args)
    try:
        result = module.forward(*args, **kwargs)
    except BaseException:
        for hook, options in hooks_of(module, "forward"):
            if options["always_call"]:
                hook(module, args, kwargs, None) if options["with_kwargs"] else hook(
                    module, args, None
                )
        raise
    for hook, options in hooks_of(module, "forward"):
        changed = (
            hook(module, args, kwargs, result)
            if options["with_kwargs"]
            else hook(module, args, result)
        )
        if changed is not None:
            result = changed
    return backward.watch_outputs(result) if backward.active else result


class _BackwardHooks:
    """The full backward hooks of one call: collects the gradients of outputs and inputs, then runs
    the hooks.

    The hooks run once all gradients have come. A gradient that a hook returns replaces the one that
    came last; the others are on their way already, so replacing is meant for modules with one input
    and one output.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.pre = [hook for hook, _ in hooks_of(module, "backward_pre")]
        self.post = [hook for hook, _ in hooks_of(module, "backward")]
        self.active = bool(self.pre or self.post)
        self.grads: dict[str, list[Any]] = {"input": [], "output": []}
        self.watched = {"input": 0, "output": 0}
        self.arrived = {"input": 0, "output": 0}

    def _watch(self, side: str, values: list[Any]) -> list[Any]:
        self.grads[side] = [None] * len(values)
        for i, value in enumerate(values):
            if isinstance(value, ft.Tensor) and value.requires_grad and ft.is_grad_enabled():
                values[i] = value.clone()
                values[i].register_hook(lambda grad, i=i: self._arrive(side, i, grad))
                self.watched[side] += 1
        return values

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._watch("input", list(args)))

    def watch_outputs(self, result: Any) -> Any:
        if not isinstance(result, (tuple, list)):
            return self._watch("output", [result])[0]
        outputs = self._watch("output", list(result))
        return type(result)(*outputs) if hasattr(result, "_fields") else type(result)(outputs)

    def _arrive(self, side: str, i: int, grad: ft.Tensor) -> ft.Tensor | None:
        self.grads[side][i] = grad
        self.arrived[side] += 1
        if self.arrived[side] < self.watched[side]:
            return None
        self.arrived[side] = 0
        changed = False
        if side == "output":
            for hook in self.pre:
                changed |= self._replace(side, hook(self.module, tuple(self.grads["output"])))
        if side == "input" or not self.watched["input"]:
            for hook in self.post:
                grads = hook(self.module, tuple(self.grads["input"]), tuple(self.grads["output"]))
                changed |= self._replace("input", grads) and side == "input"
        return self.grads[side][i] if changed else None

    def _replace(self, side: str, grads: Any) -> bool:
        if grads is None:
            return False
        self.grads[side] = list(grads) if isinstance(grads, (tuple, list)) else [grads]
        return True
