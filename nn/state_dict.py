"""State dicts of modules: taking them and loading them.

Loading compares everything first, then copies, so that an error changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import functorch_like as ft
from nn.hooks import RemovableHandle, add_hook, hooks_of
from nn.parameter import Parameter
from nn.registry import BUFFER, MODULE, PARAMETER

if TYPE_CHECKING:
    from nn.module import Module

__all__ = ["IncompatibleKeys", "Saved"]

EXTRA = "_extra_state"  # the name of what get_extra_state() gives


class IncompatibleKeys(NamedTuple):
    """What load_state_dict returns: names the state dict lacked, and names the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Saved:
    """What a Module is as far as state dicts go."""

    _kinds: dict[str, str]
    _hooks: dict[str, dict[int, Any]] | None = None

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Put this module's own tensors (not its children's) into destination."""
        values = self.__dict__
        for kind in (PARAMETER, BUFFER):
            for name, its_kind in self._kinds.items():
                if its_kind == kind and values[name] is not None:
                    destination[prefix + name] = (
                        values[name] if keep_vars else values[name].detach()
                    )

    def get_extra_state(self) -> Any:
        """What to keep in the state dict beside tensors, as a tensor or plain values; a subclass
        that defines it defines set_extra_state too.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: expected a method get_extra_state(), got "
            "set_extra_state() only."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take over what get_extra_state() gave."""
        raise NotImplementedError(
            f"{type(self).__name__}: expected a method set_extra_state(), got "
            "get_extra_state() only."
        )

    def state_dict(
        self,
        *,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Names and tensors of all parameters and persistent buffers; the tensors share memory with
        the module.

        Args:
          destination: a dict to fill; a new one by default.
          prefix: put before every name.
          keep_vars: give the Parameters themselves, not detached tensors.
        Example:
          >>> import nn
          >>> {name: list(t.shape) for name, t in nn.Linear(3, 2).state_dict().items()}
          {'weight': [2, 3], 'bias': [2]}
        """
        state: dict[str, Any] = {} if destination is None else destination
        for hook, _ in hooks_of(self, "state_dict_pre"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        if type(self).get_extra_state is not Saved.get_extra_state:
            state[prefix + EXTRA] = self.get_extra_state()
        for name, kind in self._kinds.items():
            if kind == MODULE and (module := self.__dict__[name]) is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook, _ in hooks_of(self, "state_dict"):
            changed = hook(self, state, prefix, {})
            state = state if changed is None else changed
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy tensors into the parameters and buffers of the same names.

        Args:
          state_dict: names to tensors (ours, torch's or NumPy arrays); values are cast to the
            module's dtypes.
          strict: names that are missing or unexpected are an error; shapes that differ always are.
          assign: put the given tensors in place of the module's instead of copying.
        Returns:
          IncompatibleKeys(missing_keys, unexpected_keys).
        Raises:
          RuntimeError: lists all missing, unexpected and misshaped names; the module is unchanged.
        """
        return load_into(self, state_dict, strict, assign)

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """hook(module, prefix, keep_vars) before this module's state_dict is taken."""
        return add_hook(self, "state_dict_pre", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """hook(module, state_dict, prefix, {}) after state_dict is taken; may change it."""
        return add_hook(self, "state_dict", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """hook(module, state, prefix, {}, strict, missing, unexpected, errors) before loading."""
        return add_hook(self, "load_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """hook(module, incompatible_keys) after loading; it may edit the two lists."""
        return add_hook(self, "load_post", hook)


def load_into(
    root: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool
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
    extra: list[tuple[Module, Any]] = []
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
        if type(module).set_extra_state is not Saved.set_extra_state:
            key = f"{path}.{EXTRA}" if path else EXTRA
            known.add(key)
            if key in state:
                extra.append((module, state[key]))
            else:
                missing.append(key)
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
    for module, value in extra:
        module.set_extra_state(value)
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
