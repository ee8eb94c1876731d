"""Distances between vectors as layers."""

from __future__ import annotations

import functorch_like as ft
from nn import functional as F
from nn.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """Cosine of the angle between x1 and x2 along dim; each norm is taken to be at least eps."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: ft.Tensor, x2: ft.Tensor) -> ft.Tensor:
        """[..., d, ...] twice -> [..., ...]."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """p-norm of x1 - x2 + eps along the last dimension."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: ft.Tensor, x2: ft.Tensor) -> ft.Tensor:
        """[..., d] twice -> [...]."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
