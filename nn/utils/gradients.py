"""Clipping gradients."""

from __future__ import annotations

from collections.abc import Iterable

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.updates import put_all

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _with_grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors, taken as one vector.

    Args:
      norm_type: 2, another power, or infinity.
      error_if_nonfinite: raise RuntimeError when the norm is infinite or not a number.
      foreach: of no effect, here and below; torch chooses its kernels by it.
    Example:
      >>> import functorch_like as ft
      >>> get_total_norm([ft.tensor([3.0]), ft.tensor([4.0])])
      tensor(5.)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        return ft.tensor(0.0)
    if norm_type == float("inf"):
        total = ft.stack([t.abs().max() for t in tensors]).max()
    elif norm_type == 2.0:
        total = ft.stack([(t * t).sum() for t in tensors]).sum().sqrt()
    else:
        powers = [(t.abs() ** norm_type).sum() for t in tensors]
        total = ft.stack(powers).sum() ** (1.0 / norm_type)
    if error_if_nonfinite and not bool(ft.isfinite(total)):
        raise RuntimeError(f"get_total_norm: expected a finite norm, got {total.item()}.")
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale all gradients by max_norm / total_norm, unless that is above 1."""
    with ft.no_grad():
        scale = (max_norm / (total_norm + 1e-6)).clamp(max=1.0)
        for grad in _with_grads(parameters):
            grad.mul_(scale.to(grad.dtype))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm is at most max_norm; returns the norm before.

    Args:
      parameters: those without gradients are skipped.
      norm_type, error_if_nonfinite: as get_total_norm's.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with ft.no_grad():
        total = get_total_norm(_with_grads(parameters), norm_type)
        if error_if_nonfinite and not bool(ft.isfinite(total)):
            raise RuntimeError(
                f"clip_grad_norm_: expected finite gradients, got norm {total.item()}."
            )
        clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every element of all gradients to -clip_value..clip_value."""
    with ft.no_grad():
        grads = _with_grads(parameters)
        if not put_all(ft.clamp, [grads], -clip_value, clip_value):
            for grad in grads:
                grad.clamp_(-clip_value, clip_value)
