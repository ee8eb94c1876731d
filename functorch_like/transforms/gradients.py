"""grad and its like: gradients of scalar functions by one pass of reverse mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from .. import tree
from ..dtypes import DTYPES
from ..errors import DTypeError, GradError, ShapeError, message
from ..ops.creation import zeros_like
from ..tape import run_backward
from ..tensor import Tensor, ones_of
from .arguments import (
    Argnums,
    is_simple,
    lowered,
    recorded,
    selected,
    split_aux,
    tensors_of,
)
from .vjp_trace import VjpTrace

# codes of dtypes
_FLOATING = frozenset(code for code, d in enumerate(DTYPES) if d.is_floating_point)


def _scalar(value: Any) -> Tensor:
    """The value of a result, checked to be one that a gradient can start from."""
    if not isinstance(value, Tensor):
        raise GradError(
            message(
                "grad",
                "a function that returns a scalar tensor",
                type(value).__name__,
                "Return the loss itself; pass other results with has_aux=True.",
            )
        )
    v = value._v
    if v.ndim if v else value._shape:
        raise ShapeError(
            message(
                "grad",
                "a scalar result",
                f"shape {list(value._shape)}",
                "Reduce it, or use jacrev.",
            )
        )
    if (v or value._concrete).dtype not in _FLOATING:
        raise DTypeError(
            message("grad", "a real floating result", value.dtype, "For complex results use vjp.")
        )
    return value


def _by_one_tensor(
    function: Callable[..., Any], at: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Value and gradient by the tensor at one position: the usual case, without trees."""
    _, given, out, value = recorded("grad", function, at, args, kwargs)
    if value is None:
        return _scalar(out), zeros_like(args[at])
    primal, leaf = _scalar(value.primal), given.node
    found = run_backward([(value.node, ones_of(primal))], wanted={leaf})
    return primal, found[leaf] if leaf in found else zeros_like(given.primal)


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives `(value, gradient)` of a scalar function.

    With has_aux, it gives `((value, aux), gradient)`.

    Args:
      argnums: the argument, or the arguments, to differentiate; pytrees. A tuple of argnums gives a
        tuple of gradients.
      has_aux: the function returns (output, aux); aux is passed through.
    Raises:
      GradError, ShapeError: the output is not a scalar tensor.
      DTypeError: an input is not floating or complex.
    Example:
      >>> value_and_grad(lambda x: (x**2).sum())(tensor([1.0, 2.0]))
      (tensor(5.), tensor([2., 4.]))
    """
    simple = is_simple(argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > argnums and isinstance(args[argnums], Tensor):  # type: ignore[operator,index]
            return _by_one_tensor(function, argnums, args, kwargs)  # type: ignore[arg-type]
        positions = selected("grad", args, argnums)
        call = list(args)
        with VjpTrace() as trace:
            # the leaves themselves: the function may rebind the tensors it is given
            inputs: list[Any] = []
            slots = []
            for p in positions:
                leaves, definition = tree.flatten(args[p])
                tracers = [trace.leaf(x) for x in tensors_of("grad", leaves)]
                slots.append((len(tracers), definition))
                inputs += [x._m for x in tracers]
                call[p] = tree.unflatten(definition, tracers)
            out, aux = split_aux("grad", function(*call, **kwargs), has_aux)
        value = _scalar(trace.lower(out) if isinstance(out, Tensor) else out)
        flat = trace.pull_back([out], [ones_of(value)], [v.node for v in inputs], False)
        aux = lowered(trace, aux) if has_aux else None
        grads = []
        at = 0
        for count, definition in slots:
            some = [
                g if g is not None else zeros_like(x.primal)
                for g, x in zip(flat[at : at + count], inputs[at : at + count], strict=True)
            ]
            grads.append(tree.unflatten(definition, some))
            at += count
        result = grads[0] if isinstance(argnums, int) else tuple(grads)
        return ((value, aux) if has_aux else value), result

    return wrapped


_GRAD: Any = None  # the code of the functions that grad() makes


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of a scalar function; `(gradient, aux)` with has_aux.

    Arguments and errors as value_and_grad.

    Example:
      >>> grad(grad(lambda x: x**3))(tensor(2.0))
      tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)
    nest = _Nest(function, argnums) if is_simple(argnums, has_aux) else None
    at: Any = argnums

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if nest is not None and len(args) > at and isinstance(args[at], Tensor):
            if nest.order > 2 and not args[at].ndim:
                return nest.derivative(args, kwargs)
            return _by_one_tensor(function, at, args, kwargs)[1]
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    wrapped._nest = nest  # type: ignore[attr-defined]
    return wrapped


class _Nest:
    """grads of grads of one function by one argument: its derivative of some order.

    By a 0-d tensor it is computed in one pass of Taylor mode from the third order on, where that
    gives the same: nested passes cost more than twice as much an order.
    """

    __slots__ = ("at", "base", "nests", "order")

    def __init__(self, function: Callable[..., Any], at: Any):
        inner = None
        # wraps() copies attributes, also to decorators that are none of ours
        if getattr(function, "__code__", None) is _GRAD:
            inner = function._nest  # type: ignore[attr-defined]
            inner = inner if inner is not None and inner.at == at else None
        self.at = at
        self.base = function if inner is None else inner.base
        self.order = 1 if inner is None else inner.order + 1
        self.nests = False  # once it was seen to be necessary

    def derivative(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The derivative by the 0-d tensor at position `at`."""
        from .jet import NeedsNesting, nth_derivative

        if not self.nests:
            try:
                out = nth_derivative(self.base, self.order, self.at, args, kwargs)
            except NeedsNesting:
                out, self.nests = None, True
            if out is not None:
                return out
        function = self.base
        for _ in range(self.order - 1):
            function = partial(_gradient, function, self.at)
        return _gradient(function, self.at, *args, **kwargs)


def _gradient(function: Callable[..., Any], at: int, /, *args: Any, **kwargs: Any) -> Tensor:
    return _by_one_tensor(function, at, args, kwargs)[1]


_GRAD = grad(lambda x: x).__code__


def grad_and_value(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """value_and_grad with torch.func's order of results: `(gradient, value)`."""
    both = value_and_grad(function, argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return gradient, value

    return wrapped


__all__ = ["grad", "grad_and_value", "value_and_grad"]
