"""Parametrizations: a module's tensor as a function of other tensors, computed when it is read.

The module becomes one of a class made for it, in which the tensor's name is a property; the tensors
behind it stand under parametrizations.<name>.original (original0, original1, ... if there are
several). Inside `with cached():` each is computed once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import functorch_like as ft
from nn.layers.container import ModuleDict, ModuleList
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip

_cache: dict[tuple[int, str], Any] = {}
_cache_users = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within it, every parametrized tensor is computed once, at first use."""
    global _cache_users
    _cache_users += 1
    try:
        yield
    finally:
        _cache_users -= 1
        if not _cache_users:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and the tensors they start from; calling it gives the
    value.
    """

    def __init__(
        self, modules: list[Module], original: ft.Tensor | Parameter, unsafe: bool = False
    ) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        value: Any = original
        with ft.no_grad():
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        value = module.right_inverse(value)  # type: ignore[operator]
        self.is_tensor = isinstance(value, ft.Tensor)
        self.ntensors = 1 if self.is_tensor else len(value)
        values = [value] if self.is_tensor else list(value)
        for name, tensor in zip(self._names(), values, strict=True):
            if isinstance(original, Parameter):
                own = original if tensor is original else Parameter(tensor, original.requires_grad)
                self.register_parameter(name, own)
            else:
                self.register_buffer(name, tensor)
        result = self()
        if not unsafe and (
            not isinstance(result, ft.Tensor)
            or tuple(result.shape) != tuple(original.shape)
            or result.dtype != original.dtype
        ):
            got = (
                f"{list(result.shape)} {result.dtype}"
                if isinstance(result, ft.Tensor)
                else type(result).__name__
            )
            raise ValueError(
                "register_parametrization: expected a parametrization that gives "
                f"{list(original.shape)} {original.dtype}, got {got}. unsafe=True allows it."
            )

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def right_inverse(self, value: ft.Tensor) -> None:
        """Set the tensors behind so that the parametrizations give value."""
        with ft.no_grad():
            current: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"right_inverse: expected {type(module).__name__} to have it, got none. "
                        "Define it, or assign to the tensors behind."
                    )
                current = module.right_inverse(current)  # type: ignore[operator]
            values = [current] if self.is_tensor else list(current)
            for name, tensor in zip(self._names(), values, strict=True):
                getattr(self, name).copy_(tensor)

    def forward(self) -> ft.Tensor:
        """The parametrized tensor."""
        layers = list(self)
        value = layers[0](*[getattr(self, name) for name in self._names()])
        for layer in layers[1:]:
            value = layer(value)
        return value


def _chain(module: Module, name: str) -> ParametrizationList:
    return module.__dict__["parametrizations"][name]


def _reduced(module: Module, protocol: Any) -> Any:
    """For pickle and copy: they find the layer's own class, and make another of these from it."""
    del protocol
    names = [name for name, value in type(module).__dict__.items() if isinstance(value, property)]
    state = object.__reduce_ex__(module, 2)[2:]
    return _remade, (type(module).__bases__[0], names), *state


def _remade(cls: type[Module], names: list[str]) -> Module:
    module = cls.__new__(cls)
    for name in names:
        _with_property(module, name)
    return module


def _with_property(module: Module, name: str) -> None:
    """Give module a class of its own, if it has none yet, with a property for the tensor."""
    old = type(module)
    if "_parametrized" not in old.__dict__:
        own = {"_parametrized": True, "__reduce_ex__": _reduced}
        new = type(f"Parametrized{old.__name__}", (old,), own)
        new.__module__ = old.__module__
        module.__class__ = new

    def get(self: Module) -> ft.Tensor:
        if not _cache_users:
            return _chain(self, name)()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = _chain(self, name)()
        return _cache[key]

    def put(self: Module, value: ft.Tensor) -> None:
        _chain(self, name).right_inverse(value)

    setattr(type(module), name, property(get, put))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make module's parameter or buffer tensor_name the result of parametrization.

    Args:
      parametrization: its forward takes the original tensor. With a method right_inverse, which
        gives the original tensor (or several of them) for a value, the value now stays, and can
        be assigned later. More parametrizations of one tensor are applied in order.
      unsafe: shape and dtype may change.
    Returns:
      module.
    Raises:
      ValueError: no such tensor, or shape or dtype change.
    Example:
      >>> import functorch_like as ft, nn
      >>> class Symmetric(nn.Module):
      ...     def forward(self, x):
      ...         return x.triu() + x.triu(1).T
      >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
      >>> bool((layer.weight == layer.weight.T).all()), list(layer.state_dict())
      (True, ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain = _chain(module, tensor_name)
        value = getattr(module, tensor_name)
        result = parametrization(value)
        if not unsafe and (result.shape != value.shape or result.dtype != value.dtype):
            raise ValueError(
                f"register_parametrization: expected a parametrization that gives "
                f"{list(value.shape)} {value.dtype}, got {list(result.shape)} {result.dtype}. "
                "unsafe=True allows it."
            )
        if hasattr(parametrization, "right_inverse"):
            with ft.no_grad():
                before = parametrization.right_inverse(value)  # type: ignore[operator]
            chain.right_inverse(before)
        chain.append(parametrization)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        known = [*module._parameters, *module._buffers]
        raise ValueError(
            f"register_parametrization: expected a parameter or buffer of {type(module).__name__}, "
            f"got {tensor_name!r}. It has {', '.join(known) or 'none'}."
        )
    original = module.__dict__[tensor_name]
    chain = ParametrizationList([parametrization], original, unsafe)
    chain.train(module.training)
    delattr(module, tensor_name)
    if "parametrizations" not in module._kinds:
        module.add_module("parametrizations", ModuleDict())
    module.__dict__["parametrizations"][tensor_name] = chain
    _with_property(module, tensor_name)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Has module parametrized tensors, or this one?"""
    table = module.__dict__.get("parametrizations")
    if not isinstance(table, ModuleDict):
        return False
    return len(table) > 0 if tensor_name is None else tensor_name in table


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make tensor_name an ordinary tensor again.

    Args:
      leave_parametrized: it keeps its present value; else it becomes the original tensor again.
    Raises:
      ValueError: it is not parametrized, or there are several originals and the value should go.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"remove_parametrizations: expected a parametrized tensor of {type(module).__name__}, "
            f"got {tensor_name!r}."
        )
    chain = _chain(module, tensor_name)
    if not leave_parametrized and not chain.is_tensor:
        raise ValueError(
            "remove_parametrizations: expected leave_parametrized=True for a tensor computed from "
            f"{chain.ntensors} others, got False."
        )
    first = getattr(chain, chain._names()[0])
    value = first
    if leave_parametrized:
        with ft.no_grad():
            value = chain().detach().clone()
        if isinstance(first, Parameter):
            value = Parameter(value, first.requires_grad)
    delattr(type(module), tensor_name)
    table = module.__dict__["parametrizations"]
    del table[tensor_name]
    if isinstance(first, Parameter):
        module.register_parameter(tensor_name, value)
    else:
        module.register_buffer(tensor_name, value)
    if not len(table):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give to_module the parametrizations of from_module, and the values behind them."""
    table = from_module.__dict__.get("parametrizations") or {}
    for name in [tensor_name] if tensor_name is not None else list(table):
        chain = _chain(from_module, name)
        for layer in chain:
            register_parametrization(to_module, name, layer, unsafe=chain.unsafe)
        target = _chain(to_module, name)
        with ft.no_grad():
            for original in chain._names():
                getattr(target, original).copy_(getattr(chain, original))
    return to_module
