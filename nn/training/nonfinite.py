"""Why a loss is not finite: the first place in the model where infinite numbers or nan appear."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like import Tensor, tree
from nn.module import Module

__all__ = ["NonFiniteLossError", "explain"]


class NonFiniteLossError(FloatingPointError):
    """A loss that is nan or infinite; the message names where it came from."""


def explain(model: Module, inputs: Any, targets: Any) -> str:
    """One sentence on where numbers that are not finite come from.

    Looks at the inputs and targets, at the parameters, and, in a forward pass of its own, at what
    each layer gives.
    """
    for what, value in (("inputs", inputs), ("targets", targets)):
        if _bad(value):
            return f"The batch's {what} hold {_kind(value)} already; look at the data."
    for name, parameter in model.named_parameters():
        if _bad(parameter):
            return (
                f"Parameter {name} holds {_kind(parameter)}: an earlier step was too large. Lower "
                "the learning rate, or limit gradients with clip_norm=."
            )
    first: list[str] = []

    def watch(path: str) -> Any:
        def hook(module: Module, args: Any, output: Any) -> None:
            if not first and _bad(output):
                name = f"{path or 'the model'} ({type(module).__name__})"
                first.append(f"The first layer whose output holds {_kind(output)} is {name}.")

        return hook

    handles = [m.register_forward_hook(watch(path)) for path, m in model.named_modules()]
    try:
        with ft.no_grad():
            model(inputs)
    except Exception as error:
        return f"Another forward pass, to look for the place, raised {type(error).__name__}."
    finally:
        for handle in handles:
            handle.remove()
    if first:
        return first[0]
    return "All layers give finite outputs; the loss function itself does not (log of zero?)."


def _floats(value: Any) -> list[Tensor]:
    return [
        leaf
        for leaf in tree.leaves(value)
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()
    ]


def _bad(value: Any) -> bool:
    return any(not bool(ft.isfinite(leaf.detach()).all()) for leaf in _floats(value))


def _kind(value: Any) -> str:
    nan = any(bool(ft.isnan(leaf.detach()).any()) for leaf in _floats(value))
    return "nan" if nan else "infinity"
