"""GradScaler: losses times a factor, so that float16 gradients neither vanish nor overflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, tree
from nn.optim.base import Optimizer

__all__ = ["GradScaler"]


class GradScaler:
    """Scales losses before backward and gradients back before the step; finds a good factor.

    scale(loss).backward(); step(optimizer); update(). A step whose gradients are not all finite is
    left out, and the factor falls; after growth_interval good steps it grows.

    Args:
      device: accepted as torch does.
      init_scale: the first factor.
      growth_factor, backoff_factor: by which it grows and falls.
      growth_interval: good steps before it grows.
      enabled: False makes every method do the plain thing.
    Raises:
      ValueError: growth_factor not above 1; backoff_factor not below 1.
    Reference: Micikevicius et al. 2018, section 3.2.
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import SGD, GradScaler
      >>> w = ft.ones(2, requires_grad=True)
      >>> optimizer, scaler = SGD([w], lr=0.5), GradScaler(init_scale=4.0)
      >>> scaler.scale((w * w).sum()).backward()
      >>> w.grad
      tensor([8., 8.])
      >>> scaler.step(optimizer); scaler.update()
      >>> w.detach()
      tensor([0., 0.])
    """

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if growth_factor <= 1.0 or not 0.0 < backoff_factor < 1.0:
            raise ValueError(
                "GradScaler: expected growth_factor above 1 and backoff_factor within 0..1, got "
                f"{growth_factor} and {backoff_factor}."
            )
        self.device = device
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._enabled = enabled
        self._finite: dict[int, bool] = {}  # optimizers whose gradients are scaled back

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """Losses (a tensor, or a tree of them) times the factor."""
        if not self._enabled:
            return outputs
        return tree.map(lambda x: x.float() * self._scale, outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the factor, before they are clipped, say; step() then does not.

        Raises:
          RuntimeError: a second time before update().
        """
        if not self._enabled:
            return
        if id(optimizer) in self._finite:
            raise RuntimeError(
                "GradScaler.unscale_: expected gradients that are scaled, got this optimizer's a "
                "second time. Call update() after each step."
            )
        grads: list[Tensor] = [
            param.grad
            for group in optimizer.param_groups
            for param in group["params"]
            if param.grad is not None
        ]
        finite = True
        with ft.autograd.untaped():
            for grad in grads:
                grad.mul_(1.0 / self._scale)
                finite = finite and bool(ft.isfinite(grad).all())
        self._finite[id(optimizer)] = finite

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step() if all gradients are finite; else nothing, and None."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if id(optimizer) not in self._finite:
            self.unscale_(optimizer)
        return optimizer.step(*args, **kwargs) if self._finite[id(optimizer)] else None

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the factor to the steps since the last call.

        Args:
          new_scale: the factor instead.
        """
        if not self._enabled:
            return
        finite, self._finite = all(self._finite.values()), {}
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not finite:
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0

    def state_dict(self) -> dict[str, Any]:
        """The factor and its options, as torch names them; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave; ours or torch's.

        Raises:
          ValueError: the empty state of one that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ValueError(
                "GradScaler.load_state_dict: expected the state of an enabled one, got an empty "
                "dict."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
