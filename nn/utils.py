"""Helpers around parameters: clipping gradients, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

import functorch_like as ft
from functorch_like import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def _with_grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm is at most max_norm; returns the norm before.

    Args:
      parameters: those without gradients are skipped.
      norm_type: 2, another power, or infinity.
      error_if_nonfinite: raise RuntimeError when the norm is infinite or not a number.
    """
    grads = _with_grads(parameters)
    if not grads:
        return ft.tensor(0.0)
    with ft.no_grad():
        if norm_type == float("inf"):
            total = ft.stack([grad.abs().max() for grad in grads]).max()
        elif norm_type == 2.0:
            total = ft.stack([(grad * grad).sum() for grad in grads]).sum().sqrt()
        else:
            total = ft.stack([(grad.abs() ** norm_type).sum() for grad in grads]).sum() ** (
                1.0 / norm_type
            )
        if error_if_nonfinite and not bool(ft.isfinite(total)):
            raise RuntimeError(
                f"clip_grad_norm_: expected finite gradients, got norm {total.item()}."
            )
        scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(scale.to(grad.dtype))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of all gradients to -clip_value..clip_value."""
    with ft.no_grad():
        for grad in _with_grads(parameters):
            grad.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened and joined."""
    return ft.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy a vector back into the parameters, in order."""
    parameters = list(parameters)
    total = sum(parameter.numel() for parameter in parameters)
    if list(vec.shape) != [total]:
        raise ValueError(
            f"vector_to_parameters: expected a vector of {total} elements, got {list(vec.shape)}."
        )
    start = 0
    with ft.no_grad():
        for parameter in parameters:
            parameter.copy_(vec[start : start + parameter.numel()].reshape(parameter.shape))
            start += parameter.numel()
