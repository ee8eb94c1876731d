"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import State, cast, check_at_least, given
from nn.optim.elementwise import Elementwise, exact, penalized

__all__ = ["ASGD"]


class ASGD(Elementwise):
    """Gradient descent with falling steps, and the mean of the parameters beside them.

    Args:
      params: parameters or groups of them.
      lr: learning rate at the start.
      lambd: decay of the parameters and of the learning rate.
      alpha: power by which the learning rate falls.
      t0: step at which the mean starts; it is in state[param]["ax"].
      weight_decay: L2 penalty, added to the gradient.
      maximize: climb instead of descending.
      foreach, differentiable, capturable: accepted as torch does.
    Raises:
      ValueError: a negative learning rate or weight decay.
    Reference: Polyak & Juditsky 1992; Bottou 2012.
    """

    counters: ClassVar[tuple[str, ...]] = ("step", "eta", "mu")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, weight_decay=0)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps, the learning rate, the share of the mean and the mean."""
        return {
            "step": ft.zeros(()),
            "eta": ft.zeros(()) + cast(options["lr"], ft.zeros(())),
            "mu": ft.ones(()),
            "ax": ft.zeros_like(param),
        }

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: decay and gradient, both times the present learning rate."""
        lr, lambd = options["lr"], options["lambd"]
        step, eta, mu = state["step"] + 1, cast(state["eta"], param), cast(state["mu"], param)
        count = exact(step)
        grad = penalized(grad, param, options)
        change = -eta * (cast(lambd, param) * param + grad)
        after = param + change
        mean = ft.where(mu == 1, after, state["ax"] + (after - state["ax"]) * mu)
        rate = lr / (1 + lambd * lr * count) ** options["alpha"]
        share = 1 / ft.clamp(count - options["t0"], min=1.0)
        new = {"step": step, "eta": rate.to(ft.float32), "mu": share.to(ft.float32), "ax": mean}
        return change, new
