"""vjp and jvp: a function's value with its derivative, as a map back or along a direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import tree
from ..errors import message
from ..ops.creation import zeros_like
from ..tensor import Tensor
from .arguments import lowered, matching, results_of, split_aux, tensors_of
from .jvp_trace import JvpTrace
from .vjp_trace import VjpTrace


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The function's value at the primals, and the function that carries cotangents back.

    Returns:
      (output, vjp_fn), and aux with has_aux. vjp_fn may be called any number of times; it returns
      a tuple of cotangents, one a primal.
    Example:
      >>> y, back = vjp(lambda x: x * x, tensor([1.0, 3.0]))
      >>> back(tensor([1.0, 1.0]))
      (tensor([2., 6.]),)
    """
    flat, definition = tree.flatten(primals)
    with VjpTrace() as trace:
        tracers = [trace.leaf(x) for x in tensors_of("vjp", flat)]
        inputs: list[Any] = [x._m for x in tracers]
        out, aux = split_aux("vjp", function(*tree.unflatten(definition, tracers)), has_aux)
        aux = lowered(trace, aux) if has_aux else None
    value, vjp_fn = pull_function(trace, inputs, definition, out)
    return (value, vjp_fn, aux) if has_aux else (value, vjp_fn)


def pull_function(
    trace: VjpTrace, inputs: list[Any], definition: Any, out: Any
) -> tuple[Any, Callable[..., Any]]:
    """The value of a recorded result, and the function that carries cotangents back."""
    out_leaves, out_definition = results_of("vjp", out)
    values = [trace.lower(x) for x in out_leaves]

    def vjp_fn(ct: Any, retain_graph: bool = True) -> Any:
        """Pulls a cotangent, of the structure of the function's value, back to the primals."""
        cts = tree.leaves_as(out_definition, ct, "vjp", "a cotangent of the value's structure")
        cts = [matching("vjp", "cotangent", c, v) for c, v in zip(cts, values, strict=True)]
        grads = trace.pull_back(out_leaves, cts, [v.node for v in inputs], retain_graph)
        filled = [
            g if g is not None else zeros_like(x.primal) for g, x in zip(grads, inputs, strict=True)
        ]
        return tree.unflatten(definition, filled)

    return tree.unflatten(out_definition, values), vjp_fn


def jvp(
    function: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    has_aux: bool = False,
) -> Any:
    """The function's value at the primals and its derivative along the tangents, in one pass.

    Returns:
      (output, tangent), and aux with has_aux.
    Raises:
      ShapeError: a tangent differs in shape from its primal.
    Example:
      >>> jvp(lambda x: x * x, (tensor(3.0),), (tensor(1.0),))
      (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            message(
                "jvp",
                "tuples of primals and tangents",
                f"{type(primals).__name__} and {type(tangents).__name__}",
                "Write (x,) for one argument.",
            )
        )
    flat, definition = tree.flatten(tuple(primals))
    directions = tree.leaves_as(
        definition, tuple(tangents), "jvp", "tangents of the primals' structure"
    )
    with JvpTrace() as trace:
        inputs = []
        for x, t in zip(tensors_of("jvp", flat), directions, strict=True):
            inputs.append(trace.leaf(x, matching("jvp", "tangent", t, x)))
        out, aux = split_aux("jvp", function(*tree.unflatten(definition, inputs)), has_aux)
        out_leaves, out_definition = results_of("jvp", out)
        pairs = [trace.unpack(y) for y in out_leaves]
        if has_aux:
            aux = tree.map(lambda x: trace.unpack(x)[0] if isinstance(x, Tensor) else x, aux)
    value = tree.unflatten(out_definition, [p for p, _ in pairs])
    tangent = tree.unflatten(
        out_definition, [t if t is not None else zeros_like(p) for p, t in pairs]
    )
    return (value, tangent, aux) if has_aux else (value, tangent)


__all__ = ["jvp", "vjp"]
