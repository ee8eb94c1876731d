"""Softmax over many classes: frequent ones in a head, rare ones in clusters behind projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import functorch_like as ft
from functorch_like.errors import ShapeError
from functorch_like.trace import active
from nn.layers.container import ModuleList, Sequential
from nn.layers.linear import Linear
from nn.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class ASMoutput(NamedTuple):
    """Log-probabilities of the targets, and the loss: their negative mean."""

    output: ft.Tensor
    loss: ft.Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes that are sorted by falling frequency, and their loss.

    Args:
      in_features: size of the input's last dimension.
      n_classes: classes in all.
      cutoffs: rising; the first cutoff classes share the head, each further range is a cluster.
      div_value: cluster i works in in_features / div_value ^ (i + 1) dimensions.
      head_bias: the head has a bias.
    Shapes: input [n, in_features] and target [n] (or [in_features] and []); output [n], loss [].
    Notes: Every cluster is computed for every row, so that the layer works under all transforms;
      log_prob has the same cost.
    Reference: Grave et al. 2017.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        rising = all(a < b for a, b in zip([0, *cutoffs], [*cutoffs, n_classes], strict=True))
        if not cutoffs or not rising or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: expected rising integers cutoffs within "
                f"1..{n_classes - 1}, got {cutoffs}."
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            inner = int(in_features // (div_value ** (i + 1)))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, inner, bias=False, **options),
                    Linear(inner, classes, bias=False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input_: ft.Tensor, target_: ft.Tensor) -> ASMoutput:
        """[n, in_features] and [n] -> (output [n], loss [])."""
        if target_.ndim > 1 or list(input_.shape) != [*target_.shape, self.in_features]:
            raise ShapeError(
                f"AdaptiveLogSoftmaxWithLoss: expected input [n, {self.in_features}] and target "
                f"[n], got {list(input_.shape)} and {list(target_.shape)}."
            )
        if not active and target_.numel():
            low, high = int(target_.min()), int(target_.max())
            if low < 0 or high >= self.n_classes:
                raise ValueError(
                    "AdaptiveLogSoftmaxWithLoss: expected classes "
                    f"0..{self.n_classes - 1}, got {low}..{high}."
                )
        head = ft.log_softmax(self.head(input_), -1)
        place = target_.unsqueeze(-1)
        result = head.gather(-1, place.clamp(max=self.shortlist_size - 1))
        for i, tail in enumerate(self.tail):
            first, end = self.cutoffs[i], self.cutoffs[i + 1]
            inside = (place >= first) & (place < end)
            local = ft.log_softmax(tail(input_), -1)
            cluster = head[..., self.shortlist_size + i].unsqueeze(-1)
            chosen = local.gather(-1, (place - first).clamp(0, end - first - 1)) + cluster
            result = ft.where(inside, chosen, result)
        result = result.squeeze(-1)
        return ASMoutput(result, -result.mean())

    def log_prob(self, input: ft.Tensor) -> ft.Tensor:
        """[n, in_features] -> [n, n_classes]: the log-probabilities of all classes."""
        head = ft.log_softmax(self.head(input), -1)
        parts = [head[..., : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[..., self.shortlist_size + i].unsqueeze(-1)
            parts.append(ft.log_softmax(tail(input), -1) + cluster)
        return ft.cat(parts, -1)

    def predict(self, input: ft.Tensor) -> ft.Tensor:
        """[n, in_features] -> [n]: the likeliest class."""
        return self.log_prob(input).argmax(-1)
