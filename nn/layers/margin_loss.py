"""Losses with margins, likelihoods and alignments, as modules; losses/ has the formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import functorch_like as ft
from nn import functional as F
from nn.layers.distance import PairwiseDistance
from nn.layers.loss import _Loss, _WeightedLoss

__all__ = [
    "CTCLoss", "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "MarginRankingLoss",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss",
    "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


class GaussianNLLLoss(_Loss):
    """functional.gaussian_nll_loss: targets under normal distributions of given variances."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: ft.Tensor, target: ft.Tensor, var: ft.Tensor | float) -> ft.Tensor:
        """[...], [...] and [...] -> [] or [...]."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(_Loss):
    """functional.poisson_nll_loss: counts under Poisson distributions."""

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class _Margin(_Loss):
    """A loss with a margin."""

    def __init__(
        self,
        margin: float,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class HingeEmbeddingLoss(_Margin):
    """functional.hinge_embedding_loss of distances, with targets 1 and -1."""

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Margin):
    """functional.cosine_embedding_loss of two vectors, with targets 1 and -1."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input1: ft.Tensor, input2: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, d], [n, d] and [n] -> [] or [n]."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class MarginRankingLoss(_Margin):
    """functional.margin_ranking_loss: target 1 wants input1 above input2, -1 below."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input1: ft.Tensor, input2: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n], [n] and [n] -> [] or [n]."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """functional.soft_margin_loss: log(1 + exp(-target * input))."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[...] and [...] -> [] or [...]."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """functional.multi_margin_loss: the target class should lead every other one by a margin."""

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: ft.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: expected p 1 or 2, got {p}.")
        if weight is not None and weight.ndim != 1:
            raise ValueError(
                f"MultiMarginLoss: expected weight [classes], got {list(weight.shape)}."
            )
        self.p = p
        self.margin = margin

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c] and [n] -> [] or [n]."""
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """functional.multilabel_margin_loss: every label should lead every other class by 1."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c] and [n, c] -> [] or [n]."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """functional.multilabel_soft_margin_loss: binary cross-entropy of each class, averaged."""

    def forward(self, input: ft.Tensor, target: ft.Tensor) -> ft.Tensor:
        """[n, c] and [n, c] -> [] or [n]."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class TripletMarginLoss(_Margin):
    """functional.triplet_margin_loss: the positive should be nearer than the negative."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin > 0, got {margin}.")
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: ft.Tensor, positive: ft.Tensor, negative: ft.Tensor) -> ft.Tensor:
        """[n, d] three times -> [] or [n]."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Margin):
    """TripletMarginLoss with a distance of one's own; pairwise_distance by default."""

    def __init__(
        self,
        *,
        distance_function: Callable[[ft.Tensor, ft.Tensor], ft.Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, reduction=reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginWithDistanceLoss: expected margin > 0, got {margin}.")
        if distance_function is None:
            distance_function = PairwiseDistance()
        self.distance_function = distance_function
        self.swap = swap

    def forward(self, anchor: ft.Tensor, positive: ft.Tensor, negative: ft.Tensor) -> ft.Tensor:
        """[n, d] three times -> [] or [n]."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CTCLoss(_Loss):
    """functional.ctc_loss: label sequences without a given alignment to the frames.

    Args:
      blank: the class that stands for no label.
      reduction: "mean" divides each loss by its target length and averages; or "sum", "none".
      zero_infinity: 0 in place of infinity, for sequences that need more frames than there are.
    Example:
      >>> import functorch_like as ft, nn
      >>> frames = ft.log_softmax(ft.zeros(2, 1, 2), -1)
      >>> nn.CTCLoss()(frames, ft.tensor([[1]]), [2], [1])
      tensor(0.2877)
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: ft.Tensor,
        targets: ft.Tensor,
        input_lengths: ft.Tensor | Sequence[int] | int,
        target_lengths: ft.Tensor | Sequence[int] | int,
    ) -> ft.Tensor:
        """[t, n, c], [n, s], [n] and [n] -> [] or [n]."""
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
