"""Optimizers that divide by the root of running squares: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import State, cast, check_at_least, given, is_on
from nn.optim.elementwise import Elementwise, exact, mixed, penalized

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Elementwise):
    """param -= lr * grad / root of the sum of all squared gradients.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      lr_decay: the learning rate in step t is lr / (1 + (t - 1) * lr_decay).
      weight_decay: L2 penalty, added to the gradient.
      initial_accumulator_value: what the sums start with.
      eps: added to the root.
      maximize: climb instead of descending.
      foreach, differentiable, fused: accepted as torch does.
    Raises:
      ValueError: a negative option.
    Reference: Duchi, Hazan & Singer 2011.
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import Adagrad
      >>> w = ft.tensor([1.0], requires_grad=True)
      >>> optimizer = Adagrad([w], lr=0.5)
      >>> (w * w).sum().backward()
      >>> optimizer.step()
      >>> w.detach()
      tensor([0.5000])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(
            cls, options, lr=0, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=0
        )

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the sum of squares."""
        first = cast(options["initial_accumulator_value"], param)
        return {"step": ft.zeros(()), "sum": ft.zeros_like(param) + first}

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the gradient, by the root of the sum of squares."""
        step = state["step"] + 1
        grad = penalized(grad, param, options)
        total = state["sum"] + grad * grad
        rate: Any = options["lr"]
        if is_on(options["lr_decay"]):
            rate = rate / (1 + (exact(step) - 1) * options["lr_decay"])
        change = grad / (ft.sqrt(total) + cast(options["eps"], param)) * -cast(rate, param)
        return change, {"step": step, "sum": total}


class Adadelta(Elementwise):
    """Steps in proportion to the root of earlier squared steps by that of squared gradients.

    Args:
      params: parameters or groups of them.
      lr: factor of the step.
      rho: share of the running means that is kept in each step.
      eps: added under both roots.
      weight_decay: L2 penalty, added to the gradient.
      maximize: climb instead of descending.
      foreach, capturable, differentiable: accepted as torch does.
    Raises:
      ValueError: a negative option; rho outside 0..1.
    Reference: Zeiler 2012.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, rho=0, eps=0, weight_decay=0)
        if not isinstance(options["rho"], Tensor) and options["rho"] > 1:
            raise ValueError(f"Adadelta: expected rho within 0..1, got {options['rho']}.")

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps, the mean square of gradients, and that of steps."""
        return {
            "step": ft.zeros(()),
            "square_avg": ft.zeros_like(param),
            "acc_delta": ft.zeros_like(param),
        }

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the gradient in units of earlier steps."""
        eps, kept = cast(options["eps"], param), 1 - options["rho"]
        grad = penalized(grad, param, options)
        square = mixed(state["square_avg"], grad * grad, kept)
        delta = ft.sqrt(state["acc_delta"] + eps) / ft.sqrt(square + eps) * grad
        new = {
            "step": state["step"] + 1,
            "square_avg": square,
            "acc_delta": mixed(state["acc_delta"], delta * delta, kept),
        }
        return delta * -cast(options["lr"], param), new


class RMSprop(Elementwise):
    """param -= lr * grad / root of the running mean of squared gradients.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      alpha: share of the running means that is kept in each step.
      eps: added to the root.
      weight_decay: L2 penalty, added to the gradient.
      momentum: share of the last change that is kept.
      centered: divide by an estimate of the standard deviation instead.
      maximize: climb instead of descending.
      capturable, foreach, differentiable: accepted as torch does.
    Raises:
      ValueError: a negative option.
    Reference: Tieleman & Hinton 2012; centered: Graves 2013.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, alpha=0, eps=0, weight_decay=0, momentum=0)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the running means that the options need."""
        names = ["square_avg"]
        names += ["momentum_buffer"] if is_on(options["momentum"]) else []
        names += ["grad_avg"] if options["centered"] else []
        return {"step": ft.zeros(()), **{name: ft.zeros_like(param) for name in names}}

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the scaled gradient, or times its momentum."""
        kept, lr = 1 - options["alpha"], cast(options["lr"], param)
        grad = penalized(grad, param, options)
        square = mixed(state["square_avg"], grad * grad, kept)
        new: State = {"step": state["step"] + 1, "square_avg": square}
        if options["centered"]:
            mean = new["grad_avg"] = mixed(state["grad_avg"], grad, kept)
            square = square - mean * mean
        scaled = grad / (ft.sqrt(square) + cast(options["eps"], param))
        if is_on(options["momentum"]):
            scaled = cast(options["momentum"], param) * state["momentum_buffer"] + scaled
            new["momentum_buffer"] = scaled
        return scaled * -lr, new
