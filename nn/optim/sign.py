"""Optimizers that take the sign of the gradient, or of its mean: Rprop and Lion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import State, cast, check_at_least, check_betas, given, is_on
from nn.optim.elementwise import Elementwise, mixed, uphill

__all__ = ["Lion", "Rprop"]


class Rprop(Elementwise):
    """Steps of a size of its own for each element, which grows while the gradient keeps its sign.

    Args:
      params: parameters or groups of them.
      lr: the step sizes of the start.
      etas: factors of a step size after a change of sign, and after none.
      step_sizes: smallest and largest step size.
      maximize: climb instead of descending.
      capturable, foreach, differentiable: accepted as torch does.
    Raises:
      ValueError: a negative learning rate; factors that are not below and above 1.
    Reference: Riedmiller & Braun 1993. For whole data sets, not for batches.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0)
        less, more = options["etas"]
        if not any(isinstance(eta, Tensor) for eta in (less, more)) and not 0 < less < 1 < more:
            raise ValueError(f"Rprop: expected etas with 0 < less < 1 < more, got {less}, {more}.")

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps, the last gradient and the step sizes."""
        return {
            "step": ft.zeros(()),
            "prev": ft.zeros_like(param),
            "step_size": ft.zeros_like(param) + cast(options["lr"], param),
        }

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: its step sizes, against the signs; none where the sign changed."""
        (less, more), (smallest, largest) = options["etas"], options["step_sizes"]
        grad = uphill(grad, options)
        agreement = grad * state["prev"]
        one = ft.ones_like(grad)
        factor = ft.where(agreement > 0, one * cast(more, grad), one)
        factor = ft.where(agreement < 0, one * cast(less, grad), factor)
        size = ft.clamp(state["step_size"] * factor, smallest, largest)
        kept = ft.where(agreement < 0, ft.zeros_like(grad), grad)
        return -ft.sign(kept) * size, {
            "step": state["step"] + 1,
            "prev": kept,
            "step_size": size,
        }


class Lion(Elementwise):
    """param -= lr * sign of a mean of gradients: one state tensor, all steps of one size.

    Args:
      params: parameters or groups of them.
      lr: learning rate, a third to a tenth of Adam's.
      betas: share of the running mean in the direction, and what is kept of it in each step.
      weight_decay: taken off the parameter, times lr; three to ten times AdamW's.
      maximize: climb instead of descending.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Reference: Chen et al. 2023, algorithm 2.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, weight_decay=0)
        check_betas(cls, options)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The running mean of gradients."""
        return {"exp_avg": ft.zeros_like(param)}

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the sign."""
        beta1, beta2 = options["betas"]
        grad = uphill(grad, options)
        direction = ft.sign(mixed(state["exp_avg"], grad, 1 - beta1))
        if is_on(options["weight_decay"]):
            direction = direction + cast(options["weight_decay"], param) * param
        mean = mixed(state["exp_avg"], grad, 1 - beta2)
        return direction * -cast(options["lr"], param), {"exp_avg": mean}
