"""Base of optimizers whose formula works element by element.

Complex parameters are taken as pairs of real numbers, as torch does: a rule written for real
tensors then serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.optim.base import Optimizer, State, cast, is_on

__all__ = ["Elementwise"]


class Elementwise(Optimizer):
    """A subclass gives `start` and `change` for real tensors; step counts are in `counters`."""

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """init_state of a real parameter."""
        raise NotImplementedError

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """The rule for a real parameter."""
        raise NotImplementedError

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The state of one parameter before the first step."""
        if not param.is_complex():
            return cls.start(param, options)
        state = cls.start(ft.view_as_real(param), options)
        return {n: v if n in cls.counters else ft.view_as_complex(v) for n, v in state.items()}

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """(what to add to param, new state), without changing anything."""
        if not param.is_complex():
            return cls.change(grad, state, param, options)
        parts = {n: v if n in cls.counters else ft.view_as_real(v) for n, v in state.items()}
        change, new = cls.change(ft.view_as_real(grad), parts, ft.view_as_real(param), options)
        whole = {n: v if n in cls.counters else ft.view_as_complex(v) for n, v in new.items()}
        return ft.view_as_complex(change), whole


def uphill(grad: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The gradient to descend: negated with maximize."""
    return -grad if options["maximize"] else grad


def penalized(grad: Tensor, param: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The gradient to descend, with the L2 penalty's added."""
    grad, decay = uphill(grad, options), options["weight_decay"]
    return grad + cast(decay, param) * param if is_on(decay) else grad


def exact(count: Tensor) -> Tensor:
    """A step count in float64: powers of betas close to 1 need the digits."""
    return count.to(ft.float64)


def mixed(old: Tensor, new: Tensor, share: Any) -> Tensor:
    """old moved towards new by a share."""
    return old + cast(share, old) * (new - old)
