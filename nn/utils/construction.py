"""Modules without initial values, for those that get theirs from a file."""

from __future__ import annotations

from typing import Any, TypeVar

from nn.module import Module

__all__ = ["skip_init"]

_Layer = TypeVar("_Layer", bound=Module)


def skip_init(module_cls: type[_Layer], *args: Any, **kwargs: Any) -> _Layer:
    """module_cls(*args, **kwargs), with memory for its tensors but no values drawn.

    Args:
      module_cls: a layer whose constructor takes device, and only initialises its tensors.
      kwargs: device is where the tensors are in the end; the CPU by default.
    Example:
      >>> import nn
      >>> list(skip_init(nn.Linear, 3, 2).weight.shape)
      [2, 3]
    """
    device = kwargs.pop("device", "cpu")
    kwargs["device"] = "meta"
    return module_cls(*args, **kwargs).to_empty(device=device)
