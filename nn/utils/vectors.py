"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

import functorch_like as ft
from functorch_like import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


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
