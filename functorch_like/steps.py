"""Optimizer steps: whole lists of tensors changed in memory by one call of the C core.

For tensors whose memory may be written without anybody noticing. `handles` says whether that holds
for all of them; where it does not (under a transform, while the tape records), the caller applies
its rule with ordinary operations instead. In a program being compiled Adam is one operation on all
parameters, `adam_sets`, by the same kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from cbackend import check, ffi, lib

from . import mutation
from .dtypes import float64
from .op import Op
from .ops.binary import maximum
from .ops.creation import full
from .ops.unary import sqrt
from .tensor import Tensor
from .trace import active, clock, state

__all__ = ["adam_program", "adam_step", "handles", "in_memory", "sgd_step"]

Handles = Sequence[Any]


def in_memory() -> bool:
    """May steps write memory, since neither the tape nor a transform watches?"""
    return not state.grad and not (active and state.trace is not None)


def handles(*lists: Sequence[Tensor]) -> list[Handles] | None:
    """The C handles of lists of tensors; None if something records or one is traced."""
    if not in_memory():
        return None
    result = []
    for tensors in lists:
        found = []
        for t in tensors:
            m = t._m
            if m is not None and (m.trace is not None or m.is_view):
                return None
            found.append(t._v)
        result.append(found)
    return result


def sgd_step(
    params: Handles,
    grads: Handles,
    momentum: Handles,
    *,
    lr: float,
    factor: float,
    dampening: float,
    decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of stochastic gradient descent, in torch's form.

    Args:
      momentum: the buffers; not looked at when the factor is 0.
      first: the buffers take the gradients as they are.
    Raises:
      ShapeError, DTypeError, DeviceError, ValueError: tensors that do not belong together or cannot
        be written; nothing is changed.
    """
    clock[0] += 1
    check(
        lib.cb_sgd_step(
            len(params),
            params,
            grads,
            momentum or ffi.NULL,
            lr,
            factor,
            dampening,
            decay,
            nesterov,
            maximize,
            first,
            clock[0],
        )
    )


def adam_step(
    params: Handles,
    grads: Handles,
    means: Handles,
    squares: Handles,
    largest: Handles | None,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
    decoupled: bool,
    maximize: bool,
    steps: Tensor,
) -> None:
    """One step of Adam; of AdamW where the decay is decoupled.

    Args:
      means, squares: running means of the gradients and of their squares.
      largest: the largest squares so far, for amsgrad; else None.
      steps: how many were made before this one, a 0-d tensor; not changed.
    Raises:
      as sgd_step().
    """
    clock[0] += 1
    amsgrad = largest is not None
    check(
        lib.cb_adam_step(
            len(params),
            params,
            grads,
            means,
            squares,
            largest if amsgrad else ffi.NULL,
            lr,
            *betas,
            eps,
            decay,
            decoupled,
            amsgrad,
            maximize,
            int(steps.item()) + 1,
            clock[0],
        )
    )


def adam_program(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    largest: Sequence[Tensor] | None,
    *,
    lr: float | Tensor,
    betas: tuple[float, float],
    eps: float,
    decay: float,
    decoupled: bool,
    maximize: bool,
    steps: Tensor,
) -> None:
    """adam_step() in a program that is being compiled, on real tensors on the CPU themselves."""
    count = steps.to(float64) + 1
    lr = lr.to(float64) if isinstance(lr, Tensor) else lr
    keep: Any = 1 - lr * decay if decoupled else 1.0
    numbers = (
        -lr / (1 - betas[0] ** count),
        keep if isinstance(keep, Tensor) else full((), keep, dtype=float64),
        1 / sqrt(1 - betas[1] ** count),
    )
    lists = [params, grads, means, squares, *([] if largest is None else [largest])]
    sets = list(zip(*lists, strict=True))
    options = (-1.0 if maximize else 1.0, 0.0 if decoupled else decay, *betas, eps)
    operands = [x for s in sets for x in (*s, *numbers)]
    made = iter(_adam_sets(*operands, options=options, n=len(sets)))
    for old in sets:
        for x in (old[0], *old[2:]):
            mutation.put("adam", x, next(made))


def _adam_handles(*xs: Tensor, options: tuple[float, ...], n: int) -> Any:
    code = struct.unpack("5q", struct.pack("5d", *options))
    count = len(xs) - 4 * n  # all but the gradients and the three numbers
    out, nothing = ffi.new("cb_tensor *[]", count), [0] * n
    status = lib.cb_adam_sets(
        len(xs), [x._v for x in xs], len(code), code, count, out, n, nothing, nothing
    )
    return ffi.NULL if status else tuple(out)


def _adam_formula(*xs: Tensor, options: tuple[float, ...], n: int) -> tuple[Tensor, ...]:
    sign, decay, kept, square_kept, eps = options
    made: list[Tensor] = []
    for i in range(0, len(xs), len(xs) // n):
        p, g, mean, square, *largest, rate, keep, scale = xs[i : i + len(xs) // n]
        rate, keep, scale = (number.to(p.dtype) for number in (rate, keep, scale))
        g = sign * g + decay * p if decay else sign * g
        mean = mean + (1 - kept) * (g - mean)
        square = square_kept * square + (1 - square_kept) * g * g
        top = maximum(largest[0], square) if largest else square
        new = keep * p + rate * mean / (sqrt(top) * scale + eps)
        made += [new, *[x.clone() for x in (mean, square, *([top] if largest else []))]]  # fresh
    return tuple(made)


_adam_sets = Op("adam_sets", _adam_handles, decompose=_adam_formula, registered=False)
