"""Constructor of special functions with an integer order or degree.

Kernels of two or three operands of which the last, or all but the first, are no variables: an order
is a Python number, a degree a tensor through which no gradient flows. Derivatives come by formulas
that raise or lower the order, so that all orders of differentiation follow from one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..op import Op, Spec
from ..samples import sampled
from ..tensor import Tensor
from .creation import zeros_like
from .family import align, as_in_lanes, number, sum_to, times_slope

_CALLS: dict[int, tuple[bytes, Any]] = {
    2: (b"binary", lib.cb_binary),
    3: (b"ternary", lib.cb_ternary),
}


def ordered(
    name: str,
    partials: Sequence[Callable[..., Tensor] | None],
    samples: Callable[[Any], list[Any]],
    *,
    oracle: Callable[..., Any],
    orders: int = 1,
) -> Op:
    """An op with the C kernel of the same name: `op(*tensors, order=n)`, or without an order.

    Args:
      partials: the derivative by each tensor, as a function of the tensors (and the order); None
        where it is 0: the function is constant between the integers.
      samples, oracle: as in samples.sampled().
      orders: how many of the kernel's operands are orders: 0 or 1, the last one.
    """
    family, call = _CALLS[len(partials) + orders]
    code = lib.cb_op_code(family, name.encode())
    if code < 0:
        raise ImportError(f"op {name}: expected a kernel of that name in ops.def, got none.")

    def impl(*xs: Tensor, **order: Any) -> Any:
        operands = [*xs, *map(number, order.values())]  # kept: a handle lives as long as its tensor
        return call(code, *[x._v for x in operands])

    def vjp(
        ct: Tensor, _out: Tensor, *xs: Tensor, needs: tuple[bool, ...], **order: Any
    ) -> list[Tensor | None]:
        grads: list[Tensor | None] = []
        for x, partial, need in zip(xs, partials, needs, strict=True):
            if not need:
                grads.append(None)
            elif partial is None:
                grads.append(zeros_like(x))
            else:
                grads.append(sum_to(times_slope(ct, partial(*xs, **order)), Spec(x)))
        return grads

    def jvp(tangents: Sequence[Tensor | None], out: Tensor, *xs: Tensor, **order: Any) -> Tensor:
        total = zeros_like(out)
        for t, partial in zip(tangents, partials, strict=True):
            if t is not None and partial is not None:
                total = total + times_slope(t, partial(*xs, **order))
        return total if total.dtype is out.dtype else total.to(out.dtype)

    op = Op(
        name,
        impl,
        vjp=vjp,
        jvp=jvp,
        batch=lambda _size, batched, *xs, **order: op(
            *align(batched, as_in_lanes(batched, xs)), **order
        ),
        family="special",
    )
    return sampled(op, samples, oracle=oracle)


def scipy_special(name: str) -> Any:
    """A function of SciPy, imported when a test asks for it."""
    from importlib import import_module

    return getattr(import_module("scipy.special"), name)
