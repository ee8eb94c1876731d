"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, steps
from nn.optim.base import Optimizer, State, check_at_least, given, keep, options_of

__all__ = ["SGD"]


class SGD(Optimizer):
    """param -= lr * grad, optionally with momentum.

    Args:
      params: parameters or groups of them.
      lr: learning rate.
      momentum: share of the last change that is kept.
      dampening: share of the gradient that momentum leaves out.
      weight_decay: L2 penalty, added to the gradient.
      nesterov: look ahead along the momentum.
      maximize: climb instead of descending.
      foreach, differentiable, fused: accepted as torch does; updates are made all at once anyway,
        and pure() is the differentiable form.
    Raises:
      ValueError: a negative option; nesterov without momentum or with dampening.
    Reference: Sutskever et al. 2013 (in torch's form: lr multiplies the momentum buffer).
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import SGD
      >>> w = ft.tensor([1.0], requires_grad=True)
      >>> optimizer = SGD([w], lr=0.5)
      >>> (w * w).sum().backward()
      >>> optimizer.step()
      >>> w.detach()
      tensor([0.])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, momentum=0, weight_decay=0)
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(
                "SGD: expected momentum > 0 and dampening = 0 with nesterov, got "
                f"momentum={momentum} and dampening={dampening}."
            )

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The momentum buffer, and the number of steps: the first takes the gradient undampened."""
        if not isinstance(options["momentum"], Tensor) and options["momentum"] == 0:
            return {}
        return {"step": ft.zeros(()), "momentum_buffer": ft.zeros_like(param)}

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: -lr times the gradient, or times the momentum buffer."""
        if options["maximize"]:
            grad = -grad
        decay = options["weight_decay"]
        if isinstance(decay, Tensor) or decay:
            grad = grad + decay * param
        if not state:
            return grad * -options["lr"], state
        momentum, step = options["momentum"], state["step"]
        share = ft.where(step == 0, ft.ones((), dtype=grad.dtype), 1.0 - options["dampening"])
        buffer = momentum * state["momentum_buffer"] + share * grad
        grad = grad + momentum * buffer if options["nesterov"] else buffer
        return grad * -options["lr"], {"step": step + 1, "momentum_buffer": buffer}

    def _start(self, params: list[Tensor], states: list[State], group: dict[str, Any]) -> None:
        """Nothing: as in torch, the class's state is the momentum buffer alone, made by step()."""

    def _step_group(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        """The rule: all parameters in one call where their memory may be written."""
        momentum = group["momentum"]
        held = [state.get("momentum_buffer") for state in states] if momentum else []
        buffers = [
            ft.empty_like(param) if buffer is None else buffer
            for param, buffer in zip(params, held, strict=False)
        ]
        numbers = not any(isinstance(value, Tensor) for value in group.values())
        lists = steps.handles(params, grads, buffers) if numbers else None
        if lists is None:
            self._step_by_rule(params, grads, states, group)
            return
        for first in {buffer is None for buffer in held} or {False}:
            # a new buffer takes the gradient as it is
            chosen = [i for i, buffer in enumerate(held) if (buffer is None) == first]
            some = lists if len(chosen) == len(held) else [[x[i] for i in chosen] for x in lists]
            steps.sgd_step(
                *some,
                lr=group["lr"],
                factor=momentum,
                dampening=group["dampening"],
                decay=group["weight_decay"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                first=first,
            )
            for i in chosen:
                states[i]["momentum_buffer"] = buffers[i]

    def _step_by_rule(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        group = options_of(group)
        for param, grad, state in zip(params, grads, states, strict=True):
            buffer = state.get("momentum_buffer")
            full = self.init_state(param.detach(), group)
            if full and buffer is not None:
                full = {"step": full["step"] + 1, "momentum_buffer": buffer}
            change, new = self.rule(grad, full, param, group)
            param.add_(change)
            if new:
                keep(state, "momentum_buffer", new["momentum_buffer"])
