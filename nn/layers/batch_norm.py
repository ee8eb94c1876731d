"""Normalisation with running statistics: per channel over the batch, or over each instance."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from functorch_like.trace import state
from nn import functional as F
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "SyncBatchNorm",
]


class _ChannelNorm(Module):
    """What batch and instance normalisation share: settings, parameters, running statistics."""

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

    def _check(self, input: ft.Tensor, rank_fits: bool, dim: int) -> None:
        if not rank_fits or input.shape[dim] != self.num_features:
            expected = self.expected.replace("c", str(self.num_features))
            raise ShapeError(
                f"{type(self).__name__}: expected input {expected}, got {list(input.shape)}. "
                f"num_features={self.num_features} must equal the input's size along dim {dim}."
            )

    def extra_repr(self) -> str:
        """Settings for repr."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    """Batch normalisation; the ranks of input are the subclass's."""

    def _input_error(self, *args: Any) -> str | None:
        trace, mean = state.trace, self.running_mean
        if not self.training or mean is None or trace is None:
            return None
        if trace.functional or trace.owns(mean):
            return None
        self._check(args[0], args[0].ndim in self.ranks, 1)
        return (
            f"{type(self).__name__}: expected running statistics made inside {trace.name}, got "
            "ones from outside, into which every lane would write. Call eval(), make it with "
            "track_running_stats=False, pass the model to nn.replace_all_batch_norm_modules_(), or "
            "give functional_call buffers of each lane (stack_module_state)."
        )

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, ...]."""
        self._check(input, input.ndim in self.ranks, 1)
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


class BatchNorm3d(_BatchNorm):
    """Mean 0 and variance 1 per channel over the batch and volumes; arguments as BatchNorm1d's."""

    ranks = (5,)
    expected = "[n, c, d, h, w]"


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of input [n, c, ...] of any rank; arguments as BatchNorm1d's.

    Args:
      process_group: the processes to share statistics with. There is one process only, so that
        only None is taken, and the results are BatchNorm's.
    """

    expected = "[n, c, ...]"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        if process_group is not None:
            raise NotImplementedError(
                f"SyncBatchNorm: expected process_group=None, got {process_group!r}. Statistics "
                "are shared within one process only."
            )
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check(self, input: ft.Tensor, rank_fits: bool, dim: int) -> None:
        super()._check(input, input.ndim >= 2, dim)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """module with every BatchNorm in it replaced by a SyncBatchNorm with the same tensors."""
        result = module
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
            result = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            for name in module._kinds:
                result.__dict__[name] = module.__dict__[name]
            result.training = module.training
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result


class _InstanceNorm(_ChannelNorm):
    """Instance normalisation; without affine and running statistics by default."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] or [c, ...] -> [same]."""
        rank = self.ranks[-1]
        batched = input.ndim == rank
        self._check(input, input.ndim in self.ranks, 1 if batched else 0)
        result = F.instance_norm(
            input if batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result if batched else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Mean 0 and variance 1 for each channel of each sequence, times weight plus bias.

    Args:
      num_features, eps, momentum: as BatchNorm1d's.
      affine: have weight (1) and bias (0) [c]; not by default.
      track_running_stats: keep running statistics for eval(); not by default.
    Shapes: input and output [n, c, length] or [c, length].
    Reference: Ulyanov, Vedaldi & Lempitsky 2016.
    """

    ranks = (2, 3)
    expected = "[n, c, length] or [c, length]"


class InstanceNorm2d(_InstanceNorm):
    """Mean 0 and variance 1 for each channel of each image; arguments as InstanceNorm1d's."""

    ranks = (3, 4)
    expected = "[n, c, h, w] or [c, h, w]"


class InstanceNorm3d(_InstanceNorm):
    """Mean 0 and variance 1 for each channel of each volume; arguments as InstanceNorm1d's."""

    ranks = (4, 5)
    expected = "[n, c, d, h, w] or [c, d, h, w]"
