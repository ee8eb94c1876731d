"""Parameter and Buffer: tensors that a Module registers when they are assigned to it.

Both are plain subclasses of Tensor that share memory with the tensor they are made from. Operations
on them return Tensors. Unlike Tensor they carry a __dict__, so that training code may tag them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import functorch_like as ft

__all__ = ["Buffer", "Parameter", "converted", "zero_grads"]


def _data_of(name: str, data: Any) -> ft.Tensor:
    if data is None:
        return ft.empty(0)
    if not isinstance(data, ft.Tensor):
        raise TypeError(
            f"{name}: expected a Tensor, got {type(data).__name__}. Wrap it in tensor(...) first."
        )
    return data


class Parameter(ft.Tensor):
    """A tensor that is a parameter of the Module it is assigned to; shares memory with data.

    Args:
      data [...]: initial value; None gives an empty tensor. Floating or complex when requires_grad.
      requires_grad: record operations on it for backward.
    Returns:
      Parameter [...], same dtype and device as data.
    Raises:
      TypeError: data is no Tensor.
    Example:
      >>> import functorch_like as ft
      >>> from nn import Parameter
      >>> Parameter(ft.tensor([1.0, 2.0]))
      Parameter containing:
      tensor([1., 2.], requires_grad=True)
    """

    def __new__(cls, data: ft.Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return ft.Tensor._make_subclass(cls, _data_of("Parameter", data), requires_grad)

    def __init__(self, data: ft.Tensor | None = None, requires_grad: bool = True) -> None:
        pass  # all is done in __new__; Tensor's own initialiser does not apply

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = _rebuild(
                type(self), self.detach().clone(), self.requires_grad, self.__dict__
            )
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.detach(), self.requires_grad, dict(self.__dict__))


class Buffer(ft.Tensor):
    """A tensor that is a buffer (state that is not trained) of the Module it is assigned to.

    Args:
      data [...]: initial value; None gives an empty tensor.
      persistent: whether state_dict holds it.
    Returns:
      Buffer [...], same dtype and device as data.
    Raises:
      TypeError: data is no Tensor.
    Example:
      >>> import functorch_like as ft, nn
      >>> class Counter(nn.Module):
      ...     def __init__(self):
      ...         super().__init__()
      ...         self.steps = nn.Buffer(ft.tensor(0))
      >>> Counter().state_dict()
      {'steps': tensor(0)}
    """

    persistent: bool

    def __new__(cls, data: ft.Tensor | None = None, *, persistent: bool = True) -> Buffer:
        buffer = ft.Tensor._make_subclass(cls, _data_of("Buffer", data), False)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: ft.Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = _rebuild(type(self), self.detach().clone(), False, self.__dict__)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.detach(), False, dict(self.__dict__))


def _rebuild(cls: type, data: ft.Tensor, requires_grad: bool, attributes: dict[str, Any]) -> Any:
    """What copies and pickles of both classes call: the subclass around data, tags restored."""
    tensor = ft.Tensor._make_subclass(cls, data, requires_grad)
    tensor.__dict__.update(attributes)
    return tensor


def converted(parameter: Parameter, fn: Callable[[ft.Tensor], ft.Tensor]) -> Parameter:
    """The parameter itself, its value and gradient replaced by fn of them."""
    with ft.no_grad():
        parameter.data = fn(parameter.data)
        if parameter.grad is not None:
            parameter.grad = fn(parameter.grad)
    return parameter


def zero_grads(parameters: Iterable[ft.Tensor], set_to_none: bool) -> None:
    """Drop the gradients, or fill them with zeros where they lie."""
    if set_to_none:
        for parameter in parameters:
            parameter.grad = None
        return
    for parameter in parameters:
        grad = parameter.grad
        if grad is not None:
            if grad.requires_grad:  # of create_graph=True
                parameter.grad = grad = grad.detach()
            grad.zero_()
