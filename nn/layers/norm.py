"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "LayerNorm"]


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last dimensions, times weight plus bias.

    Args:
      normalized_shape: size of the last dimension, or sizes of the last ones.
      eps: added to the variance.
      elementwise_affine: have weight and bias; bias=False drops the bias only.
      device, dtype: of the parameters.
    Shapes: input and output [..., *normalized_shape]; weight (1) and bias (0) [*normalized_shape].
    Example:
      >>> import functorch_like as ft, nn
      >>> nn.LayerNorm(2, eps=0.0)(ft.tensor([1.0, 3.0])).tolist()
      [-1.0, 1.0]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            value = (
                Parameter(ft.empty(self.normalized_shape, device=device, dtype=dtype))
                if wanted
                else None
            )
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial values again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., *normalized_shape] -> [same]."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share: everything but the ranks of input they take."""

    ranks: tuple[int, ...] = ()
    expected = ""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: ft.Tensor | None
    running_var: ft.Tensor | None
    num_batches_tracked: ft.Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = (
                Parameter(ft.empty(num_features, device=device, dtype=dtype)) if wanted else None
            )
            self.register_parameter(name, value)
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", ft.zeros(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "running_var", ft.ones(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "num_batches_tracked", ft.tensor(0, dtype=ft.int64, device=device) if tracked else None
        )
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        for name, value in (
            ("running_mean", 0.0),
            ("running_var", 1.0),
            ("num_batches_tracked", 0),
        ):
            buffer = getattr(self, name)
            if buffer is not None:
                buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Set the initial values again."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, ...]."""
        if input.ndim not in self.ranks or input.shape[1] != self.num_features:
            expected = self.expected.replace("c", str(self.num_features))
            raise ShapeError(
                f"{type(self).__name__}: expected input {expected}, got {list(input.shape)}. "
                f"num_features={self.num_features} must equal the input's size along dim 1."
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # a plain average over all batches
                momentum = 1.0 / float(self.num_batches_tracked)
        use_batch = self.training or self.running_mean is None
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            use_batch,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Mean 0 and variance 1 per channel over the batch (and length), times weight plus bias.

    Args:
      num_features: channels, c.
      eps: added to the variance.
      momentum: share by which running statistics move towards each batch's; None averages all
        batches.
      affine: have weight (1) and bias (0) [c]; bias=False drops the bias only.
      track_running_stats: keep running_mean, running_var [c] and num_batches_tracked [] for eval().
    Shapes: input and output [n, c] or [n, c, length].
    """

    ranks = (2, 3)
    expected = "[n, c] or [n, c, length]"


class BatchNorm2d(_BatchNorm):
    """Mean 0 and variance 1 per channel over the batch and the pixels; arguments as BatchNorm1d's.

    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.BatchNorm2d(3)(ft.rand(4, 3, 5, 5)).shape)
      [4, 3, 5, 5]
    """

    ranks = (4,)
    expected = "[n, c, h, w]"
