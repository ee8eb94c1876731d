"""Muon: momentum whose matrices are made orthogonal before the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import Optimizer, State, cast, check_at_least, given, is_on
from nn.optim.elementwise import mixed

__all__ = ["Muon", "orthogonalized"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """param -= lr * the momentum matrix with its singular values brought close to 1.

    Args:
      params [n, m]: weights of hidden layers; optimize biases and embeddings with AdamW.
      lr: learning rate.
      weight_decay: taken off the parameter, times lr.
      momentum: share of the running mean of gradients that is kept.
      nesterov: look ahead along the momentum.
      ns_coefficients: of the polynomial a x + b x^3 + c x^5 that is applied to singular values.
      eps: lowest norm that the matrix is divided by.
      ns_steps: how often the polynomial is applied; below 100.
      adjust_lr_fn: lr times sqrt(max(1, n / m)) with "original" or None, times
        0.2 * sqrt(max(n, m)) with "match_rms_adamw".
    Raises:
      ValueError: a parameter that is no matrix; an option out of range.
    Reference: Jordan et al. 2024; match_rms_adamw: Liu et al. 2025.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = _COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(params, given(locals()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add matrices, with options of their own."""
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.ndim != 2 or param.is_complex():
                del self.param_groups[-1]
                raise ValueError(
                    f"Muon: expected real matrices, got a parameter of shape {list(param.shape)} "
                    f"and {param.dtype}. Optimize it with AdamW."
                )

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, weight_decay=0, momentum=0)
        if options["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                "Muon: expected adjust_lr_fn 'original', 'match_rms_adamw' or None, got "
                f"{options['adjust_lr_fn']!r}."
            )
        if len(options["ns_coefficients"]) != 3:
            raise ValueError(
                f"Muon: expected three ns_coefficients, got {options['ns_coefficients']}."
            )
        if not 0 <= options["ns_steps"] < 100:
            raise ValueError(f"Muon: expected ns_steps within 0..99, got {options['ns_steps']}.")

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The running mean of gradients."""
        return {"momentum_buffer": ft.zeros_like(param)}

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """One matrix's change: -lr times the orthogonal matrix near its momentum."""
        if param.ndim != 2:
            raise ValueError(
                f"Muon: expected matrices, got a parameter of shape {list(param.shape)}. Optimize "
                "it with AdamW."
            )
        lr, momentum = options["lr"], options["momentum"]
        buffer = mixed(state["momentum_buffer"], grad, 1 - momentum)
        update = mixed(grad, buffer, momentum) if options["nesterov"] else buffer
        update = orthogonalized(
            update, options["ns_coefficients"], options["ns_steps"], options["eps"]
        )
        rows, columns = param.shape
        if options["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / max(columns, 1)))
        change = update.to(param.dtype) * -cast(lr * ratio, param)
        if is_on(options["weight_decay"]):
            change = change - cast(lr * options["weight_decay"], param) * param
        return change, {"momentum_buffer": buffer}


def orthogonalized(
    matrix: Tensor,
    coefficients: tuple[float, float, float] = _COEFFICIENTS,
    steps: int = 5,
    eps: float = 1e-7,
) -> Tensor:
    """About U V^T of the matrix's singular value decomposition U S V^T, in bfloat16.

    Args:
      matrix [n, m] floating.
    Returns:
      [n, m] bfloat16, with singular values of about 0.7 to 1.2 after five steps.
    Reference: Jordan et al. 2024: a quintic Newton-Schulz iteration with steep slope at zero.
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(ft.bfloat16)
    x = x.mT if tall else x
    x = x / ft.clamp(ft.sqrt((x.float() * x.float()).sum()), min=eps).to(ft.bfloat16)
    for _ in range(steps):
        gram = x @ x.mT
        x = ft.addmm(x, ft.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
