"""Relatives of Adam: Adamax, NAdam, RAdam, LAMB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import State, cast, check_adam, check_at_least, given, is_on, two_means
from nn.optim.elementwise import Elementwise, exact, mixed, penalized, uphill

__all__ = ["LAMB", "Adamax", "NAdam", "RAdam"]


class _TwoMeans(Elementwise):
    """What these share: the options of Adam, and running means of the gradient and its square."""

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_adam(cls, options)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the running means."""
        return two_means(param)

    @staticmethod
    def means(grad: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The running means with one more gradient."""
        beta1, beta2 = options["betas"]
        mean = mixed(state["exp_avg"], grad, 1 - beta1)
        return mean, mixed(state["exp_avg_sq"], grad * grad, 1 - beta2)

    @staticmethod
    def decayed(grad: Tensor, param: Tensor, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The gradient to descend, and the parameter after its decay if that is decoupled."""
        if not options["decoupled_weight_decay"]:
            return penalized(grad, param, options), param
        grad, decay = uphill(grad, options), options["weight_decay"]
        return grad, param * cast(1 - options["lr"] * decay, param) if is_on(decay) else param


class Adamax(Elementwise):
    """Adam with a running maximum of the gradient's size in place of the root of its mean square.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      betas: shares of the running mean and of the running maximum that are kept in each step.
      eps: added to the gradient's size.
      weight_decay: L2 penalty, added to the gradient.
      maximize: climb instead of descending.
      foreach, differentiable, capturable: accepted as torch does.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Reference: Kingma & Ba 2015, section 7.1.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_adam(cls, options)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps, the running mean and the running maximum."""
        return {
            "step": ft.zeros(()),
            "exp_avg": ft.zeros_like(param),
            "exp_inf": ft.zeros_like(param),
        }

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the mean gradient, by the largest one."""
        beta1, beta2 = options["betas"]
        step = state["step"] + 1
        grad = penalized(grad, param, options)
        mean = mixed(state["exp_avg"], grad, 1 - beta1)
        size = grad.abs() + cast(options["eps"], param)
        largest = ft.maximum(cast(beta2, param) * state["exp_inf"], size)
        rate = options["lr"] / (1 - beta1 ** exact(step))
        return mean / largest * -cast(rate, param), {
            "step": step,
            "exp_avg": mean,
            "exp_inf": largest,
        }


class NAdam(_TwoMeans):
    """Adam with Nesterov momentum, which warms up.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      betas: shares of the running means that are kept in each step.
      eps: added to the denominator.
      weight_decay: L2 penalty, added to the gradient; with decoupled_weight_decay taken off the
        parameter instead.
      momentum_decay: how fast the momentum reaches betas[0].
      maximize: climb instead of descending.
      foreach, capturable, differentiable: accepted as torch does.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Reference: Dozat 2016.
    """

    counters: ClassVar[tuple[str, ...]] = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        super().check(options)
        check_at_least(cls, options, momentum_decay=0)

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps, the product of momenta so far and the running means."""
        return {**super().start(param, options), "mu_product": ft.ones(())}

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: the gradient's part and the mean's, both by the root mean square."""
        lr, (beta1, beta2), decay = options["lr"], options["betas"], options["momentum_decay"]
        step = state["step"] + 1
        count = exact(step)
        grad, rest = cls.decayed(grad, param, options)
        mean, square = cls.means(grad, state, options)
        momentum = beta1 * (1.0 - 0.5 * 0.96 ** (count * decay))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((count + 1) * decay))
        product = state["mu_product"] * momentum.to(ft.float32)
        root = ft.sqrt(square / cast(1 - beta2**count, param)) + cast(options["eps"], param)
        now = -lr * (1.0 - momentum) / (1.0 - exact(product))
        ahead = -lr * following / (1.0 - exact(product) * following)
        change = grad / root * cast(now, param) + mean / root * cast(ahead, param)
        new = {"step": step, "mu_product": product, "exp_avg": mean, "exp_avg_sq": square}
        return change + (rest - param) if rest is not param else change, new


class RAdam(_TwoMeans):
    """Adam that starts as momentum, until the running mean of squares is worth using.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      betas: shares of the running means that are kept in each step.
      eps: added to the denominator.
      weight_decay: L2 penalty, added to the gradient; with decoupled_weight_decay taken off the
        parameter instead.
      maximize: climb instead of descending.
      foreach, capturable, differentiable: accepted as torch does.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Reference: Liu et al. 2020.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the mean, scaled once the length of its window is 5."""
        lr, (beta1, beta2) = options["lr"], options["betas"]
        step = state["step"] + 1
        count = exact(step)
        grad, rest = cls.decayed(grad, param, options)
        mean, square = cls.means(grad, state, options)
        correction = 1 - beta2**count
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * beta2**count / correction
        scaled = length > 5.0
        safe = ft.where(scaled, length, ft.full_like(length, 6.0))  # no root of a negative number
        ratio = (safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)
        factor = cast(ft.sqrt(ratio * correction), param)
        adapted = factor / (ft.sqrt(square) + cast(options["eps"], param))
        change = mean * -cast(lr / (1 - beta1**count), param)
        change = change * ft.where(scaled, adapted, ft.ones_like(adapted))
        new = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
        return change + (rest - param) if rest is not param else change, new


class LAMB(_TwoMeans):
    """Adam's direction, with steps in proportion to the size of each parameter tensor.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      betas: shares of the running means that are kept in each step.
      eps: added to the denominator.
      weight_decay: added to the direction, times the parameter.
      maximize: climb instead of descending.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Notes: A tensor of zeros, or a direction of zeros, takes the plain step.
    Reference: You et al. 2020, algorithm 2, with the bias corrections.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the direction, at the tensor's norm."""
        beta1, beta2 = options["betas"]
        step = state["step"] + 1
        count = exact(step)
        mean, square = cls.means(uphill(grad, options), state, options)
        root = ft.sqrt(square / cast(1 - beta2**count, param)) + cast(options["eps"], param)
        direction = mean / cast(1 - beta1**count, param) / root
        if is_on(options["weight_decay"]):
            direction = direction + cast(options["weight_decay"], param) * param
        size, length = (param * param).sum(), (direction * direction).sum()
        both = ft.logical_and(size > 0, length > 0)
        one = ft.ones_like(size)  # where either is zero, also for the derivative of the root
        trust = ft.sqrt(ft.where(both, size, one) / ft.where(both, length, one))
        change = direction * (trust * -cast(options["lr"], param))
        return change, {"step": step, "exp_avg": mean, "exp_avg_sq": square}
