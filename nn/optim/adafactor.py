"""Adafactor: Adam's scaling from row and column means instead of a whole matrix of squares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import Optimizer, State, cast, check_at_least, given, is_on
from nn.optim.elementwise import exact, mixed, uphill

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Steps relative to the parameters' size, scaled by factored running means of squares.

    Args:
      params: parameters or groups of them; real.
      lr: largest relative step; it falls as 1 / sqrt(step).
      beta2_decay: power of the step by which new squares lose weight; at most 0.
      eps: lowest scale of squares (the dtype's resolution if None), and of the parameters.
      d: limit of the root mean square of a step, before it is scaled.
      weight_decay: taken off the parameter, times lr.
      maximize: climb instead of descending.
      foreach: accepted as torch does.
    Raises:
      ValueError: an option out of range.   TypeError: a complex parameter.
    Notes: For a parameter [..., n, m] the state is [..., n, 1] and [..., 1, m].
    Reference: Shazeer & Stern 2018, in torch's form.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, given(locals()))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, d=1, weight_decay=0)
        decay, (eps1, eps2) = options["beta2_decay"], options["eps"]
        if not isinstance(decay, Tensor) and not decay <= 0:
            raise ValueError(f"Adafactor: expected beta2_decay <= 0, got {decay}.")
        for i, eps in enumerate((eps1, eps2)):
            if eps is not None and not isinstance(eps, Tensor) and not eps >= 0:
                raise ValueError(f"Adafactor: expected eps[{i}] >= 0, got {eps}.")

    @classmethod
    def state_shape(cls, name: str, param: Tensor) -> tuple[int, ...]:
        """Rows and columns of matrices; of vectors the whole."""
        shape = tuple(param.shape)
        if name == "row_var":
            return (*shape[:-1], 1)
        return (*shape[:-2], 1, shape[-1]) if name == "col_var" else shape

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The number of steps and the running means of squares."""
        if param.is_complex():
            raise TypeError(f"Adafactor: expected real parameters, got {param.dtype}.")
        names = ("row_var", "col_var") if param.ndim > 1 else ("variance",)
        zeros = {
            name: ft.zeros(cls.state_shape(name, param), dtype=param.dtype, device=param.device)
            for name in names
        }
        return {"step": ft.zeros(()), **zeros}

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One tensor's change: the scaled gradient, limited, relative to the parameter's size."""
        lr, (eps1, eps2) = options["lr"], options["eps"]
        eps1 = ft.finfo(param.dtype).eps if eps1 is None else eps1
        step = state["step"] + 1
        count = exact(step)
        grad = uphill(grad, options)
        share = cast(count ** options["beta2_decay"], param)
        slowing = 1 / ft.sqrt(count)
        rate = ft.minimum(ft.zeros_like(slowing) + cast(lr, slowing), slowing)
        size = ft.clamp(_root_mean_square(param), min=eps2)
        new: State = {"step": step}
        if grad.ndim > 1:
            square = grad * grad
            rows = new["row_var"] = mixed(state["row_var"], square.mean(-1, True), share)
            columns = new["col_var"] = mixed(state["col_var"], square.mean(-2, True), share)
            estimate = rows @ columns / ft.clamp(rows.mean(-2, True), min=eps1)
        else:
            estimate = new["variance"] = mixed(state["variance"], grad * grad, share)
        scaled = ft.rsqrt(ft.clamp(estimate, min=eps1 * eps1)) * grad
        limit = ft.clamp(_root_mean_square(scaled) / options["d"], min=1.0)
        change = scaled * (size * cast(-rate, param) / limit)
        if is_on(options["weight_decay"]):
            change = change - cast(lr * options["weight_decay"], param) * param
        return change, new


def _root_mean_square(x: Tensor) -> Tensor:
    """A differentiable one: at zero its slope is zero, not infinite."""
    total = (x * x).sum()
    some = total > 0
    root = ft.sqrt(ft.where(some, total, ft.ones_like(total)))
    return ft.where(some, root, ft.zeros_like(root)) / math.sqrt(max(x.numel(), 1))
