"""Derivatives of functions under the names of torch.autograd.functional.

Each calls a transform (jacrev, vjp, jvp, grad), which is what new code should use. Inputs are a
tensor or a tuple of them, and results have the same form. Without create_graph they are constants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import autograd, tree
from .errors import GradError, ShapeError, message
from .tensor import Tensor, ones_of
from .trace import enable_grad
from .transforms.gradients import grad as grad_of
from .transforms.gradients import grad_and_value
from .transforms.jacobians import hessian as hessian_of
from .transforms.jacobians import jacfwd, jacrev
from .transforms.products import jvp as push
from .transforms.products import vjp as pull

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_MODES = ("reverse-mode", "forward-mode")


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function: for each output, its derivatives by each input.

    Args:
      func: of tensors; gives a tensor or a tuple of them.
      inputs: a tensor, or a tuple of them: one for each argument.
      create_graph: record the result, so that it can be differentiated by the inputs again.
      strict: an output that does not depend on an input is an error, not zeros; here and below.
      vectorize: accepted as torch does; rows are always computed together.
      strategy: "reverse-mode", or "forward-mode" for more outputs than inputs.
    Returns:
      [*output, *input]; a tuple over the outputs of tuples over the inputs where these are tuples.
    Raises:
      GradError: with strict, an output that does not depend on an input.
    Example:
      >>> jacobian(lambda x: x**2, tensor([1.0, 2.0]))
      tensor([[2., 0.],
              [0., 4.]])
    """
    if strategy not in _MODES:
        raise ValueError(message("jacobian", f"strategy {_MODES[0]!r} or {_MODES[1]!r}", strategy))
    given, places = _given("jacobian", func, inputs, create_graph, strict)
    transform = jacrev if strategy == _MODES[0] else jacfwd
    return _result(transform(func, places)(*given), create_graph)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function with one result: [*input, *input] for each two inputs.

    Args:
      func: of tensors; gives one number.
      vectorize, outer_jacobian_strategy: accepted as torch does; here it is forward over reverse.
    Example:
      >>> hessian(lambda x: (x**3).sum(), tensor([1.0, 2.0]))
      tensor([[ 6.,  0.],
              [ 0., 12.]])
    """
    given, places = _given("hessian", func, inputs, create_graph, strict, twice=True)
    return _result(hessian_of(_number("hessian", func), places)(*given), create_graph)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v times the Jacobian): what v gives pulled back from outputs to inputs.

    Args:
      v: as the outputs; may be left out for a single number.
    Example:
      >>> vjp(lambda x: x**2, tensor([1.0, 2.0]), ones(2))
      (tensor([1., 4.]), tensor([2., 4.]))
    """
    given, places = _given("vjp", func, inputs, create_graph, strict)
    value, back = pull(func, *given)
    if v is None:
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ShapeError(message("vjp", "v, or a function with one result", "neither"))
        v = ones_of(value)
    elif isinstance(v, list) and isinstance(value, tuple):
        v = tuple(v)
    pulled = back(v)
    return _result((value, pulled if isinstance(places, tuple) else pulled[0]), create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), the Jacobian times v): how the outputs change along v.

    Args:
      v: as the inputs; may be left out for a single number.
    Example:
      >>> jvp(lambda x: x**2, tensor([1.0, 2.0]), ones(2))
      (tensor([1., 4.]), tensor([2., 4.]))
    """
    given, _ = _given("jvp", func, inputs, create_graph, strict)
    return _result(push(func, given, _direction("jvp", given, v)), create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), its Hessian times v), by a derivative of the gradient along v.

    Args:
      func: of tensors; gives one number.
      v: as the inputs; may be left out for a single number.
    Example:
      >>> hvp(lambda x: (x**3).sum(), tensor([1.0, 2.0]), ones(2))
      (tensor(9.), tensor([ 6., 12.]))
    """
    given, places = _given("hvp", func, inputs, create_graph, strict, twice=True)
    gradient = grad_and_value(_number("hvp", func), places)
    (_, value), (along, _) = push(gradient, given, _direction("hvp", given, v))
    return _result((value, along), create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v times its Hessian), in reverse mode only.

    Args:
      func: of tensors; gives one number.
      v: as the inputs; may be left out for a single number.
    Example:
      >>> vhp(lambda x: (x**3).sum(), tensor([1.0, 2.0]), ones(2))
      (tensor(9.), tensor([ 6., 12.]))
    """
    given, places = _given("vhp", func, inputs, create_graph, strict, twice=True)
    gradient = grad_and_value(_number("vhp", func), tuple(range(len(given))))
    _, back, value = pull(gradient, *given, has_aux=True)
    pulled = back(_direction("vhp", given, v))
    return _result((value, pulled if isinstance(places, tuple) else pulled[0]), create_graph)


def _given(
    op: str,
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool,
    strict: bool,
    twice: bool = False,
) -> tuple[tuple[Tensor, ...], Any]:
    """The arguments of func, and which of them to differentiate by: all, or the only one."""
    alone = isinstance(inputs, Tensor)
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if not given or not all(isinstance(x, Tensor) for x in given):
        raise TypeError(message(op, "a tensor or a tuple of tensors as inputs", f"{inputs!r}"))
    if strict:
        every = tuple(range(len(given)))
        _check_connected(op, grad_of(_number(op, func), every) if twice else func, given)
    return given if create_graph else _constants(given), 0 if alone else tuple(range(len(given)))


def _check_connected(op: str, func: Callable[..., Any], given: tuple[Tensor, ...]) -> None:
    with enable_grad():
        leaves = [x.detach().requires_grad_() for x in given]
        for i, y in enumerate(tree.leaves(func(*leaves))):
            found = autograd.grad(y.sum(), leaves, allow_unused=True) if y.requires_grad else [None]
            if any(g is None for g in found):
                raise GradError(message(op, "outputs that depend on all inputs", f"output {i}"))


def _number(op: str, func: Callable[..., Any]) -> Callable[..., Tensor]:
    """The function, whose only result may have dimensions of size 1, as torch's may."""

    def scalar(*args: Any) -> Tensor:
        y = func(*args)
        y = y[0] if isinstance(y, tuple) and len(y) == 1 else y
        if not isinstance(y, Tensor) or y.numel() != 1:
            got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ShapeError(message(op, "a function with one number as its result", got))
        return y.reshape(())

    return scalar


def _direction(op: str, given: tuple[Tensor, ...], v: Any) -> tuple[Tensor, ...]:
    if v is None:
        if len(given) != 1 or given[0].numel() != 1:
            raise ShapeError(message(op, "v, or an input with one element", "neither"))
        return (ones_of(given[0]),)
    v = (v,) if isinstance(v, Tensor) else tuple(v)
    if [tuple(t.shape) for t in v] != [tuple(x.shape) for x in given]:
        shapes = [list(t.shape) for t in v]
        raise ShapeError(message(op, f"v as the inputs, {[list(x.shape) for x in given]}", shapes))
    return v


def _constants(values: Any) -> Any:
    return tree.map(lambda x: x.detach() if isinstance(x, Tensor) else x, values)


def _result(values: Any, create_graph: bool) -> Any:
    return values if create_graph else _constants(values)
