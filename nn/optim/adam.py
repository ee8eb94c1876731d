"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, staging, steps
from nn.optim.base import Optimizer, State, advance, check_adam, given, options_of, two_means

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps of about lr, scaled by running means of the gradient and of its square.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      betas: shares of the running means that are kept in each step.
      eps: added to the denominator.
      weight_decay: L2 penalty, added to the gradient; with decoupled_weight_decay taken off the
        parameter instead.
      amsgrad: divide by the largest running mean of the square so far.
      maximize: climb instead of descending.
      foreach, capturable, differentiable, fused: accepted as torch does; updates are made all at
        once anyway, and pure() is the differentiable form.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Reference: Kingma & Ba 2015; amsgrad: Reddi, Kale & Kumar 2018; decoupled: Loshchilov & Hutter
      2019.
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import Adam
      >>> w = ft.tensor([1.0], requires_grad=True)
      >>> optimizer = Adam([w], lr=0.5)
      >>> (w * w).sum().backward()
      >>> optimizer.step()
      >>> w.detach()
      tensor([0.5000])
    """

    _decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_adam(cls, options)

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the running means."""
        state = two_means(param)
        if options["amsgrad"]:
            state["max_exp_avg_sq"] = ft.zeros_like(param)
        return state

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the mean gradient, by the root of the mean square."""
        lr, (beta1, beta2), decay = options["lr"], options["betas"], options["weight_decay"]
        decoupled = options.get("decoupled_weight_decay", cls._decoupled)
        step = state["step"] + 1
        if options["maximize"]:
            grad = -grad
        decays = isinstance(decay, Tensor) or decay != 0
        if decays and not decoupled:
            grad = grad + decay * param
        mean = beta1 * state["exp_avg"] + (1 - beta1) * grad
        square = beta2 * state["exp_avg_sq"] + (1 - beta2) * (grad * grad)
        new = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
        if options["amsgrad"]:
            square = new["max_exp_avg_sq"] = ft.maximum(state["max_exp_avg_sq"], square)
        count = step.to(param.dtype) if param.dtype == ft.float64 else step
        root = ft.sqrt(square / _correction(beta2, count).to(square.dtype))
        change = mean / (root + options["eps"]) * (-lr / _correction(beta1, count)).to(mean.dtype)
        return change - lr * decay * param if decays and decoupled else change, new

    def _step_group(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        """The rule: all parameters in one call where memory may be written, and in programs."""
        options = options_of(group)
        names = ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if options["amsgrad"] else []))
        lists: list[Any] = [params, grads, *([state[name] for state in states] for name in names)]
        numbers = (*options["betas"], options["eps"], options["weight_decay"])
        take: Any = None
        if any(isinstance(value, Tensor) for value in numbers):
            pass
        elif staging.current_stage() is not None:
            if not any(p.is_complex() or p.device.type != "cpu" for p in params):
                take = steps.adam_program
        elif not isinstance(options["lr"], Tensor) and (handles := steps.handles(*lists)):
            take, lists = steps.adam_step, handles
        if take is None:
            super()._step_group(params, grads, states, group)
            return
        rounds: dict[Any, list[int]] = {}  # parameters that have made as many steps
        last = made = None
        for i, state in enumerate(states):
            if state["step"] is not last:
                last = state["step"]
                made = last.item() if take is steps.adam_step else id(last)
            rounds.setdefault(made, []).append(i)
        for chosen in rounds.values():
            take(
                *(lists if len(rounds) == 1 else [[x[i] for i in chosen] for x in lists]),
                *(() if options["amsgrad"] else (None,)),
                lr=options["lr"],
                betas=options["betas"],
                eps=options["eps"],
                decay=options["weight_decay"],
                decoupled=options.get("decoupled_weight_decay", self._decoupled),
                maximize=options["maximize"],
                steps=states[chosen[0]]["step"],
            )
        advance(states)


class AdamW(Adam):
    """Adam with weight decay taken off the parameters, not added to the gradient; arguments as
    Adam's.

    Reference: Loshchilov & Hutter 2019.
    """

    _decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )


def _correction(beta: Any, count: Tensor) -> Tensor:
    """1 - beta ** count, without cancellation: after one step with beta 0.999 it is 0.001."""
    if isinstance(beta, Tensor):
        return -ft.expm1(count * ft.log(beta))
    return ft.ones_like(count) if beta == 0 else -ft.expm1(count * math.log(beta))
