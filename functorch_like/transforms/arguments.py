"""What the transforms ask of arguments, results, tangents and cotangents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..dtypes import DTYPES, can_cast
from ..errors import DTypeError, ShapeError, message
from ..ops.creation import tensor
from ..tensor import Tensor
from .vjp_trace import VjpTrace, VjpValue

Argnums = int | Sequence[int]

# codes of dtypes
INEXACT = frozenset(code for code, d in enumerate(DTYPES) if d.is_inexact)


def selected(op: str, args: Sequence[Any], argnums: Argnums) -> tuple[int, ...]:
    """The argument positions, checked and made non-negative."""
    positions: Any = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    n = len(args)
    if not positions or not all(isinstance(p, int) for p in positions):
        kind = TypeError if positions else ValueError
        raise kind(message(op, "argnums that is an int or a tuple of at least one", repr(argnums)))
    for p in positions:
        if not -n <= p < n:
            raise ValueError(
                message(
                    op,
                    f"argnums in [{-n}, {n - 1}]",
                    p,
                    f"The function was called with {n} positional arguments.",
                )
            )
    chosen = tuple(p % n for p in positions)
    if len(set(chosen)) < len(chosen):
        raise ValueError(message(op, "argnums that name each argument once", argnums))
    return chosen


def tensors_of(op: str, leaves: Sequence[Any]) -> list[Tensor]:
    """The leaves to differentiate: tensors, or Python floats made tensors."""
    out = []
    for leaf in leaves:
        if isinstance(leaf, (float, complex)):
            leaf = tensor(leaf)
        if not isinstance(leaf, Tensor):
            raise TypeError(
                message(
                    op,
                    "tensors at the leaves of the arguments to differentiate",
                    type(leaf).__name__,
                    "Choose others with argnums.",
                )
            )
        if not leaf.dtype.is_inexact:
            raise DTypeError(
                message(op, "floating or complex inputs", leaf.dtype, "Cast with .float().")
            )
        out.append(leaf)
    return out


def matching(op: str, what: str, t: Any, x: Tensor) -> Tensor:
    """A tangent or cotangent: it must have the shape of x and a dtype that can be cast to x's."""
    if isinstance(t, (float, complex)):
        t = tensors_of(op, [t])[0]
    if not isinstance(t, Tensor):
        raise TypeError(message(op, f"a tensor as the {what}", type(t).__name__))
    if t._shape != x._shape:
        raise ShapeError(message(op, f"a {what} of shape {list(x._shape)}", list(t._shape)))
    if t.dtype is not x.dtype:
        if not can_cast(t.dtype, x.dtype):
            raise DTypeError(message(op, f"a {what} of dtype {x.dtype}", t.dtype))
        t = t.to(x.dtype)
    return t


def _current(x: Any) -> Any:
    """What a result carries, after a view has taken up what was written to its base."""
    return x._current() if isinstance(x, Tensor) else None


def settled(out: Any) -> None:
    """Views among the results of a transformed function take up what was written to their bases.

    To be called while its trace is current.
    """
    for x in (out,) if isinstance(out, Tensor) else tree.flatten(out)[0]:
        _current(x)


def results_of(op: str, out: Any) -> tuple[list[Tensor], Any]:
    """The leaves of a transformed function's result, and its tree.

    Raises:
      TypeError: a leaf is no tensor.
    """
    leaves, definition = tree.flatten(out)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(message(op, "tensors in the function's result", type(leaf).__name__))
    return leaves, definition


def split_aux(op: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    settled(out)
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(
            message(
                op, "a function that returns (output, aux), since has_aux=True", type(out).__name__
            )
        )
    return out


def lowered(trace: Any, aux: Any) -> Any:
    return tree.map(lambda x: trace.lower(x) if isinstance(x, Tensor) else x, aux)


def is_simple(argnums: Argnums, has_aux: bool) -> bool:
    """May _by_one_tensor serve, if a tensor stands at that position?"""
    return type(argnums) is int and argnums >= 0 and not has_aux


def recorded(
    op: str, function: Callable[..., Any], at: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[VjpTrace, VjpValue, Any, VjpValue | None]:
    """A call of the function with its argument `at`, a tensor, traced.

    Gives the trace, the argument's value in it, the result, and its value if it is a tensor that
    depends on the argument.
    """
    x = args[at]
    if (x._v or x._concrete).dtype not in INEXACT:
        tensors_of(op, (x,))
    with VjpTrace() as trace:
        tracer = trace.leaf(x)
        given: Any = tracer._m  # the function may rebind the tensor it is given
        if len(args) == 1:
            out = function(tracer, **kwargs)
        else:
            out = function(*args[:at], tracer, *args[at + 1 :], **kwargs)
        m: Any = out._m if out.__class__ is Tensor else _current(out)
        if m is not None and m.is_view:
            m = _current(out)
    return trace, given, out, None if m is None or m.trace is not trace else m.tracer or m
