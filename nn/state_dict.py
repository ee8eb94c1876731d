"""Loading a state dict: compare everything first, then copy, so that an error changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import functorch_like as ft
from nn.hooks import hooks_of
from nn.parameter import Parameter

if TYPE_CHECKING:
    from nn.module import Module

__all__ = ["IncompatibleKeys", "load_into"]


class IncompatibleKeys(NamedTuple):
    """What load_state_dict returns: names the state dict lacked, and names the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(
    root: Module, state_dict: Mapping[str, Any], strict: bool, assign: bool
) -> IncompatibleKeys:
    """Module.load_state_dict; described there."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict: expected a dict of tensors, got {type(state_dict).__name__}. Pass "
            "model.state_dict()."
        )
    state = dict(state_dict)
    missing: list[str] = []
    unexpected: list[str] = []
    wrong: list[str] = []
    members = list(root.named_modules(remove_duplicate=False))
    for path, module in members:
        for hook, _ in hooks_of(module, "load_pre"):
            hook(module, state, f"{path}." if path else "", {}, strict, missing, unexpected, wrong)

    plan: list[tuple[dict[str, Any], str, ft.Tensor]] = []
    known: set[str] = set()
    for path, module in members:
        for name in [
            *module._parameters,
            *(n for n in module._buffers if module._kinds[n] == "buffer"),
        ]:
            current = module.__dict__[name]
            if current is None:
                continue
            key = f"{path}.{name}" if path else name
            known.add(key)
            if key not in state:
                missing.append(key)
                continue
            try:
                value = as_tensor(state[key])
            except Exception as error:
                wrong.append(f"{key}: expected a tensor, got {type(state[key]).__name__} ({error})")
                continue
            if tuple(value.shape) != tuple(current.shape):
                wrong.append(f"{key}: expected {list(current.shape)}, got {list(value.shape)}")
            else:
                plan.append((module.__dict__, name, value))
    unexpected += [key for key in state if key not in known]
    if wrong or (strict and (missing or unexpected)):
        lines = [
            f"load_state_dict: expected the {len(known)} tensors of {type(root).__name__}, got "
            "other ones."
        ]
        lines += [f"  missing: {', '.join(missing)}"] if missing else []
        lines += [f"  unexpected: {', '.join(unexpected)}"] if unexpected else []
        lines += [f"  wrong shape: {line}" for line in wrong]
        lines += [
            "Nothing was loaded. strict=False skips missing and unexpected names; shapes must "
            "always fit."
        ]
        raise RuntimeError("\n".join(lines))

    if not assign:  # a cast that fails must do so before the first copy
        plan = [(values, name, value.to(values[name].dtype)) for values, name, value in plan]
    with ft.autograd.untaped():
        for values, name, value in plan:
            current = values[name]
            if not assign:
                current.copy_(value)
            elif isinstance(current, Parameter) and not isinstance(value, Parameter):
                values[name] = Parameter(value, requires_grad=current.requires_grad)
            else:
                values[name] = value
    result = IncompatibleKeys(missing, unexpected)
    for _, module in members:
        for hook, _ in hooks_of(module, "load_post"):
            hook(module, result)
    return result


def as_tensor(value: Any) -> ft.Tensor:
    """A tensor of ours from a tensor of ours, a NumPy array or another library's tensor."""
    if isinstance(value, ft.Tensor):
        return value
    if hasattr(value, "__array_interface__"):
        return ft.tensor(value)
    if hasattr(value, "__dlpack__"):
        return ft.from_dlpack(value.detach() if hasattr(value, "detach") else value)
    raise TypeError("neither a Tensor nor an array")
