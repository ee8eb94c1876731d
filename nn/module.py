"""Module: a mutable tree of tensors with a forward function.

Parameters, buffers and child modules are ordinary attributes: their values lie in the instance's
__dict__, where reading them costs nothing extra, and _kinds remembers, in order, which names they
are. functional.py holds what layers compute, stateless.py the bridge to the functional core
(functional_call).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

import functorch_like as ft
from functorch_like.staging import depends_on
from functorch_like.trace import active
from nn.errors import locate
from nn.hooks import RemovableHandle, add_hook, call_with_hooks
from nn.parameter import Buffer, Parameter, converted, zero_grads
from nn.registry import (
    BUFFER,
    BUFFERS,
    MODULE,
    PARAMETER,
    TRANSIENT,
    BufferRegistry,
    Registry,
    check_free,
    check_name,
    children_of,
)  # fmt: skip
from nn.state_dict import Saved

__all__ = ["Module"]

_Self = TypeVar("_Self", bound="Module")


class Module(Saved):
    """Base class of all layers and models: assign Parameters and Modules in __init__, compute in
    forward.

    Example:
      >>> import functorch_like as ft, nn
      >>> class Net(nn.Module):
      ...     def __init__(self):
      ...         super().__init__()
      ...         self.hidden = nn.Linear(4, 8)
      ...         self.out = nn.Linear(8, 2)
      ...     def forward(self, x):
      ...         return self.out(self.hidden(x).relu())
      >>> net = Net()
      >>> list(net(ft.zeros(3, 4)).shape)
      [3, 2]
      >>> [name for name, _ in net.named_parameters()]
      ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training: bool = True

    def __init__(self) -> None:
        self.__dict__["_kinds"] = {}

    # ---- calling ----

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's function; every subclass defines it."""
        raise NotImplementedError(
            f"{type(self).__name__}: expected a method forward(self, ...), got none. Define what "
            "the module computes."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if active:
            depends_on(lambda: self.training)
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return call_with_hooks(self, args, kwargs)
        except Exception as error:
            located = locate(self, args, error)
            if located is error:
                raise
            raise located from error

    def _input_error(self, *args: Any) -> str | None:
        """The rule of this layer that args break, as a message. Asked only after a failure."""
        return None

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._register(name, PARAMETER, value)
        elif isinstance(value, Module):
            self._register(name, MODULE, value)
        elif isinstance(value, Buffer):
            self._register(name, BUFFER if value.persistent else TRANSIENT, value)
        else:
            kind = self.__dict__.get("_kinds", {}).get(name)
            if kind is None:
                object.__setattr__(self, name, value)
                return
            if value is not None and not (kind in BUFFERS and isinstance(value, ft.Tensor)):
                expected = {PARAMETER: "a Parameter", MODULE: "a Module"}.get(kind, "a Tensor")
                raise TypeError(
                    f"{type(self).__name__}.{name}: expected {expected} or None, got "
                    f"{type(value).__name__}. "
                    + (
                        "Wrap it in nn.Parameter(...), or delete the attribute first."
                        if kind == PARAMETER and isinstance(value, ft.Tensor)
                        else "Delete the attribute first."
                    )
                )
            self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        if self.__dict__.get("_kinds", {}).pop(name, None) is None:
            object.__delattr__(self, name)
        else:
            del self.__dict__[name]

    def __dir__(self) -> list[str]:
        return sorted(name for name in object.__dir__(self) if name.isidentifier())

    def _register(self, name: str, kind: str, value: Any) -> None:
        try:
            kinds = self.__dict__["_kinds"]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__}: expected super().__init__() before the {kind} {name!r} is "
                "assigned, got none. Call it first in __init__."
            ) from None
        check_name(self, name, kind)
        if kinds.get(name) != kind:
            if hasattr(Module, name):
                raise KeyError(
                    f"{type(self).__name__}: expected a free {kind} name, got {name!r}, which "
                    "Module uses."
                )
            kinds.pop(name, None)  # a name that changes its kind moves to the end, as in torch
            kinds[name] = kind
        self.__dict__[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None keeps the place free (a layer without bias)."""
        check_free(self, name, PARAMETER)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: expected a Parameter or None for {name!r}, got "
                f"{type(param).__name__}. Wrap it in nn.Parameter(...)."
            )
        self._register(name, PARAMETER, param)

    def register_buffer(self, name: str, tensor: ft.Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is saved and moved with the module but not trained."""
        if self.__dict__.get("_kinds", {}).get(name) not in BUFFERS:
            check_free(self, name, BUFFER)
        if tensor is not None and not isinstance(tensor, ft.Tensor):
            raise TypeError(
                f"register_buffer: expected a Tensor or None for {name!r}, got "
                f"{type(tensor).__name__}."
            )
        self._register(name, BUFFER if persistent else TRANSIENT, tensor)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under a name."""
        check_free(self, name, MODULE)
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"add_module: expected a Module or None for {name!r}, got {type(module).__name__}."
            )
        self._register(name, MODULE, module)

    register_module = add_module

    @property
    def _parameters(self) -> Registry:
        return Registry(self, PARAMETER)

    @property
    def _buffers(self) -> MutableMapping[str, Any]:
        return BufferRegistry(self, BUFFER)

    @property
    def _modules(self) -> Registry:
        return Registry(self, MODULE)

    # ---- walking the tree ----

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(name, module) of this module (prefix) and all below it, parents first; each once."""
        seen = set() if memo is None else memo
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate:
                if id(module) in seen:
                    continue
                seen.add(id(module))
            yield path, module
            kinds = module._kinds
            if MODULE in kinds.values():
                values, dot = module.__dict__, path + "." if path else ""
                below = [
                    (dot + name, child)
                    for name, kind in kinds.items()
                    if kind == MODULE and (child := values[name]) is not None
                ]
                below.reverse()
                stack += below

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below this one; shared ones once."""
        seen = set()
        for name, module in children_of(self):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one; shared ones once."""
        return iter({id(module): module for _, module in children_of(self)}.values())

    def _named_tensors(
        self, kinds: tuple[str, ...], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        own = [(prefix, self)]
        for path, module in self.named_modules(None, prefix, remove_duplicate) if recurse else own:
            if not module._kinds:
                continue
            values, dot = module.__dict__, path + "." if path else ""
            for name, kind in list(module._kinds.items()):
                if kind in kinds:
                    value = values[name]
                    if value is None or (remove_duplicate and id(value) in seen):
                        continue
                    seen.add(id(value))
                    yield dot + name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of all parameters in order; tied ones once, under their first name."""
        return self._named_tensors((PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters in order; tied ones once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, ft.Tensor]]:
        """(name, buffer) of all buffers in order."""
        return self._named_tensors(BUFFERS, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[ft.Tensor]:
        """All buffers in order."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path below this one; "" is the module itself."""
        module: Module = self
        if target:
            walked = type(self).__name__
            for name in target.split("."):
                if module._kinds.get(name) != MODULE or module.__dict__[name] is None:
                    names = [key for key, kind in module._kinds.items() if kind == MODULE]
                    raise AttributeError(
                        f"get_submodule: expected a module at {target!r}, got no {name!r} in "
                        f"{walked}. It has {', '.join(names) or 'no modules'}."
                    )
                module = module.__dict__[name]
                walked += "." + name
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted path, in place of the one there or (not strict) as a new one."""
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if not isinstance(module, Module):
            raise TypeError(
                f"set_submodule: expected a Module for {target!r}, got {type(module).__name__}."
            )
        if strict or parent._kinds.get(name) == MODULE:
            self.get_submodule(target)  # raises where there is none
            setattr(parent, name, module)
        else:
            parent.add_module(name, module)

    def _get_tensor(self, target: str, op: str, kinds: tuple[str, ...]) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._kinds.get(name) not in kinds:
            names = [key for key, kind in module._kinds.items() if kind in kinds]
            raise AttributeError(
                f"{op}: expected a {kinds[0]} at {target!r}, got no {name!r} in "
                f"{path or type(self).__name__}. It has {', '.join(names) or 'none'}."
            )
        return module.__dict__[name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        return self._get_tensor(target, "get_parameter", (PARAMETER,))

    def get_buffer(self, target: str) -> ft.Tensor:
        """The buffer at a dotted path."""
        return self._get_tensor(target, "get_buffer", BUFFERS)

    def apply(self: _Self, fn: Callable[[Module], None]) -> _Self:
        """Call fn on every module below this one, children first, then on itself."""
        if MODULE in self._kinds.values():
            for module in self.children():
                module.apply(fn)
        fn(self)
        return self

    # ---- modes ----

    def train(self: _Self, mode: bool = True) -> _Self:
        """Training mode on or off: Dropout drops, BatchNorm uses the batch; below too."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: expected True or False, got {mode!r}.")
        object.__setattr__(self, "training", mode)
        if MODULE in self._kinds.values():
            for module in self.children():
                module.train(mode)
        return self

    def eval(self: _Self) -> _Self:
        """Switch to evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self: _Self, requires_grad: bool = True) -> _Self:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        zero_grads(self.parameters(), set_to_none)

    # ---- dtype and device ----

    def _apply(self: _Self, fn: Callable[[ft.Tensor], ft.Tensor]) -> _Self:
        """Put fn(tensor) for parameters' data and gradients and buffers; tied ones stay tied."""
        done: dict[int, Any] = {}
        for module in self.modules():
            values = module.__dict__
            for name, kind in module._kinds.items():
                value = values[name]
                if kind == MODULE or value is None:
                    continue
                if id(value) not in done:
                    done[id(value)] = (
                        converted(value, fn) if kind == PARAMETER else fn(value),
                        value,
                    )
                values[name] = done[id(value)][0]
        return self

    def to(self: _Self, *args: Any, **kwargs: Any) -> _Self:
        """Move parameters and buffers in place: to(device), to(dtype), to(device, dtype),
        to(tensor) or to(memory_format=...).

        dtype changes floating and complex ones only, a memory format those of its rank. Parameters
        stay the same objects, so an optimizer made before still works.
        """
        device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        layout = kwargs.pop("memory_format", None)
        for name in ("non_blocking", "copy"):
            kwargs.pop(name, None)
        if kwargs:
            raise TypeError(f"to: expected device and dtype, got {', '.join(kwargs)}.")
        for arg in args:
            if isinstance(arg, type(ft.float32)):
                dtype = arg
            elif isinstance(arg, ft.Tensor):
                device, dtype = arg.device, arg.dtype
            elif arg is not None and not isinstance(arg, bool):
                device = arg
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"to: expected a floating or complex dtype, got {dtype}. Integer buffers keep "
                "their dtype."
            )
        device = None if device is None else ft.device(device)

        def convert(tensor: ft.Tensor) -> ft.Tensor:
            if layout is not None and tensor.ndim == len(layout.order):
                tensor = tensor.contiguous(memory_format=layout)
            if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
                return tensor.to(dtype) if device is None else tensor.to(device, dtype)
            return tensor if device is None else tensor.to(device)

        return self._apply(convert)

    def to_empty(self: _Self, *, device: Any) -> _Self:
        """Give parameters and buffers memory on device, which holds anything: what comes after
        building a model on device="meta", before its values are loaded.
        """
        return self._apply(lambda tensor: ft.empty_like(tensor, device=device))

    def _to_float(self: _Self, dtype: Any) -> _Self:
        return self._apply(
            lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor
        )

    def float(self: _Self) -> _Self:
        """Cast floating parameters and buffers to float32."""
        return self._to_float(ft.float32)

    def double(self: _Self) -> _Self:
        """Cast floating parameters and buffers to float64."""
        return self._to_float(ft.float64)

    def half(self: _Self) -> _Self:
        """Cast floating parameters and buffers to float16."""
        return self._to_float(ft.float16)

    def bfloat16(self: _Self) -> _Self:
        """Cast floating parameters and buffers to bfloat16."""
        return self._to_float(ft.bfloat16)

    def cpu(self: _Self) -> _Self:
        """Move parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self: _Self, device: int | str | None = None) -> _Self:
        """Move parameters and buffers to a GPU."""
        return self.to(
            "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
        )

    def share_memory(self: _Self) -> _Self:
        """Move parameters and buffers, in place, into memory that other processes can have too.

        A module sent to processes afterwards is one model for all of them
        (functorch_like.multiprocessing).
        """
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor.share_memory_()
        return self

    # ---- hooks ----

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """hook(module, args[, kwargs]) before forward; may return replacements."""
        return add_hook(self, "forward_pre", hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """hook(module, args[, kwargs], output) after forward; may return another output."""
        return add_hook(
            self, "forward", hook, prepend, with_kwargs=with_kwargs, always_call=always_call
        )

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(module, grad_output) before the module's backward; may return replacements."""
        return add_hook(self, "backward_pre", hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(module, grad_input, grad_output) after it; may return another grad_input."""
        return add_hook(self, "backward", hook, prepend)

    # ---- printing ----

    def summary(
        self, *args: Any, depth: int | None = None, picture: str | None = None, **kwargs: Any
    ) -> str:
        """A table of the layers: output shapes, parameters, floating-point operations, memory.

        Args:
          args, kwargs: an input as forward takes it; a tuple of integers stands for zeros of that
            shape. Without any, only parameters are counted.
          depth: how far down to list modules; all the way by default.
          picture: a file to draw the same into, as bars (needs matplotlib).
        Example:
          >>> import nn
          >>> print(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).summary((5, 3)))
          Layer        Output  Parameters  FLOPs  Memory
          ----------------------------------------------
          Sequential   [5, 2]           8     60    80 B
            0: Linear  [5, 2]           8     60    40 B
            1: ReLU    [5, 2]           0      0    40 B
          ----------------------------------------------
          8 parameters (32 B), 8 trainable; 60 FLOPs; 80 B of outputs
        """
        from nn.summary import summarize

        return summarize(self, args, kwargs, depth, picture)

    def extra_repr(self) -> str:
        """What stands in the parentheses of this module's repr; layers give their settings."""
        return ""

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): " + _indent(repr(module)) for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        if not lines and not children:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"

    def _get_name(self) -> str:
        return type(self).__name__


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
