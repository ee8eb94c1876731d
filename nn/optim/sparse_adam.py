"""Adam for tables of which a step touches few rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, staging
from nn.optim.base import Optimizer, State, advance, cast, check_adam, given, two_means

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that leaves rows without a gradient alone: neither they nor their running means move.

    A row takes part in a step when its gradient has an element other than 0 (gradients are dense
    here). The eager step reads and writes the state of those rows only.

    Args:
      params: parameters [rows, ...] or groups of them, such as an Embedding's weight.
      lr: learning rate.
      betas: shares of the running means of gradient and square that are kept in each step.
      eps: added to the root of the mean square.
      maximize: climb instead of descending.
    Raises:
      ValueError: a negative option; a beta outside 0..1.
    Notes: the bias of the running means is corrected by the number of steps, not by how often a row
      took part, as in torch.
    Example:
      >>> import functorch_like as ft, nn
      >>> table = nn.Embedding(3, 1)
      >>> before = table.weight.detach().clone()
      >>> optimizer = nn.optim.SparseAdam(table.parameters(), lr=0.5)
      >>> table(ft.tensor([1])).sum().backward()
      >>> optimizer.step()
      >>> (table.weight - before).detach().flatten()
      tensor([ 0.0000, -0.5000,  0.0000])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_adam(cls, options)

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the running means."""
        return two_means(param)

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """(what to add to param, new state), without changing anything."""
        grad = -grad if options["maximize"] else grad
        touched = _touched(grad)
        step = state["step"] + 1
        old_mean, old_square = state["exp_avg"], state["exp_avg_sq"]
        change, mean, square = _change(grad, old_mean, old_square, step, options)
        return ft.where(touched, change, 0.0), {
            "step": step,
            "exp_avg": ft.where(touched, mean, old_mean),
            "exp_avg_sq": ft.where(touched, square, old_square),
        }

    def _step_group(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        if staging.current_stage() is not None or any(param.ndim == 0 for param in params):
            return super()._step_group(params, grads, states, group)
        advance(states)
        for param, grad, state in zip(params, grads, states, strict=True):
            rows = _touched(grad).reshape(-1).nonzero().squeeze(1)
            picked = grad.index_select(0, rows)
            mean, square = (state[name].index_select(0, rows) for name in ("exp_avg", "exp_avg_sq"))
            picked = -picked if group["maximize"] else picked
            change, mean, square = _change(picked, mean, square, state["step"], group)
            param.index_add_(0, rows, change)
            state["exp_avg"].index_copy_(0, rows, mean)
            state["exp_avg_sq"].index_copy_(0, rows, square)


def _touched(grad: Tensor) -> Tensor:
    """[rows, 1, ...]: which rows have a gradient."""
    dims = tuple(range(1, grad.ndim))
    return (grad != 0).any(dims, keepdim=True) if dims else grad != 0


def _change(
    grad: Tensor, mean: Tensor, square: Tensor, step: Tensor, options: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """The change of rows, and their new running means."""
    beta1, beta2 = options["betas"]
    mean = mean + cast(1 - beta1, grad) * (grad - mean)
    square = square + cast(1 - beta2, grad) * (grad * grad - square)
    count = step.to(ft.float64)
    rate = options["lr"] * (1 - beta2**count).sqrt() / (1 - beta1**count)
    return mean / (square.sqrt() + cast(options["eps"], grad)) * -cast(rate, grad), mean, square
