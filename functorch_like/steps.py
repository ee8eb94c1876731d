"""Optimizer steps: whole lists of tensors changed in memory by one call of the C core.

For tensors whose memory may be written without anybody noticing. `handles` says whether that holds
for all of them; where it does not (under a transform, while the tape records), the caller applies
its rule with ordinary operations instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import check, ffi, lib

from .tensor import Tensor
from .trace import active, clock, state

__all__ = ["adam_step", "handles", "sgd_step"]

Handles = Sequence[Any]


def handles(*lists: Sequence[Tensor]) -> list[Handles] | None:
    """The C handles of lists of tensors; None if something records or one is traced."""
    if state.grad or (active and state.trace is not None):
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
    step: int,
) -> None:
    """One step of Adam; of AdamW where the decay is decoupled.

    Args:
      means, squares: running means of the gradients and of their squares.
      largest: the largest squares so far, for amsgrad; else None.
      step: the number of this step, from 1.
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
            step,
            clock[0],
        )
    )
