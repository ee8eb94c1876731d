"""The transforms under the names of torch.func.

`functional_call` and `stack_module_state` belong to nn and come from there when asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from . import tree
from .rearrange import rearrange
from .tensor import Tensor
from .transforms.collectives import all_gather, axis_index, axis_size, pmax, pmean, pmin, psum
from .transforms.derivatives import (
    ggnvp,
    hvp,
    jacobian,
    laplacian,
    linear_transpose,
    linearize,
    vhp,
)  # fmt: skip
from .transforms.gradients import grad, grad_and_value, value_and_grad
from .transforms.jacobians import hessian, jacfwd, jacrev
from .transforms.products import jvp, vjp
from .transforms.vmap import vmap


def functionalize(function: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """The function without effects on its arguments: in-place operations change copies.

    Under transforms in-place code is functional anyway; this is for looking at a function and for
    calling one that writes to its arguments without their being written to.

    Args:
      remove: "mutations" or "mutations_and_views"; both mean the same here.
    Example:
      >>> x = zeros(2)
      >>> functionalize(lambda x: x.add_(1))(x), x
      (tensor([1., 1.]), tensor([0., 0.]))
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise ValueError(
            f'functionalize: expected remove="mutations" or "mutations_and_views", got {remove!r}.'
        )

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        def copied(x: Any) -> Any:
            return x.clone() if isinstance(x, Tensor) else x

        return function(*tree.map(copied, args), **tree.map(copied, kwargs))

    return wrapped


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """The tensor under a tracer, to look at while debugging.

    Under vmap it has the mapped dimension in front.

    Args:
      recurse: down to the plain tensor, through all transforms; else through one.
    Example:
      >>> def f(x):
      ...     print(debug_unwrap(x))
      ...     return x
      >>> _ = vmap(f)(tensor([1.0, 2.0]))
      tensor([1., 2.])
    """
    while True:
        meta: Any = tensor._current()  # pyright: ignore[reportPrivateUsage]
        if meta is None or meta.trace is None:
            return tensor
        tensor = (meta.tracer or meta).inner()
        if not recurse:
            return tensor


_FROM_NN = ("functional_call", "replace_all_batch_norm_modules_", "stack_module_state")


def __getattr__(name: str) -> Any:
    if name in _FROM_NN:
        from importlib import import_module

        return getattr(import_module("nn"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "all_gather", "axis_index", "axis_size", "debug_unwrap", "functionalize", "ggnvp", "grad",
    "grad_and_value", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "laplacian",
    "linear_transpose", "linearize", "pmax", "pmean", "pmin", "psum", "rearrange",
    "value_and_grad", "vhp", "vjp", "vmap",
]  # fmt: skip
