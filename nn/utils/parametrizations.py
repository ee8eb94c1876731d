"""Parametrizations in use: weight norm, spectral norm, orthogonal matrices."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError
from nn.functional import normalize
from nn.module import Module
from nn.utils.parametrize import register_parametrization, remove_parametrizations

__all__ = [
    "orthogonal",
    "remove_spectral_norm",
    "remove_weight_norm",
    "spectral_norm",
    "weight_norm",
]


class _WeightNorm(Module):
    """v * g / |v|, the norm over all dimensions but dim."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def _norm(self, v: Tensor) -> Tensor:
        if self.dim is None or self.dim == -1:
            return (v * v).sum().sqrt()
        dims = [d for d in range(v.ndim) if d != self.dim % v.ndim]
        return (v * v).sum(dims, keepdim=True).sqrt() if dims else v.abs()

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self._norm(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a tensor's length and direction apart: g v / |v|.

    Args:
      dim: each slice along it has a length of its own; None takes one for all.
    Returns:
      module, with parametrizations.<name>.original0 (g) and original1 (v).
    Reference: Salimans & Kingma 2016.
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the tensor ordinary again, with its present value; also after spectral_norm."""
    return remove_parametrizations(module, name)


remove_spectral_norm = remove_weight_norm


class _SpectralNorm(Module):
    """weight / sigma, its largest singular value, estimated by power iteration."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise ValueError(
                f"spectral_norm: expected dim within {weight.ndim} dimensions, got {dim}."
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"spectral_norm: expected n_power_iterations above 0, got {n_power_iterations}."
            )
        self.dim = dim % weight.ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            with ft.no_grad():
                matrix = self._matrix(weight).detach()
                rows, columns = matrix.shape
                options = {"dtype": weight.dtype, "device": weight.device}
                u = normalize(ft.randn(rows, **options), dim=0, eps=eps)
                v = normalize(ft.randn(columns, **options), dim=0, eps=eps)
                self.register_buffer("_u", u)
                self.register_buffer("_v", v)
                self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Tensor, steps: int) -> None:
        """Moves u and v towards the first singular vectors; no gradient."""
        with ft.no_grad():
            matrix = matrix.detach()
            u, v = self._u, self._v
            for _ in range(steps):
                u = normalize(matrix @ v, dim=0, eps=self.eps)
                v = normalize(u @ matrix, dim=0, eps=self.eps)
            self._u, self._v = u, v

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:  # a vector's singular value is its norm
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        sigma = (self._u * (matrix @ self._v)).sum()
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a tensor by its largest singular value, so that the layer stretches nothing.

    Args:
      n_power_iterations: steps of power iteration a forward call in training.
      eps: smallest norm in the iteration.
      dim: the matrix's rows; 1 for ConvTranspose layers, else 0 by default.
    Returns:
      module, with parametrizations.<name>.original.
    Reference: Miyato et al. 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"spectral_norm: expected a tensor of {type(module).__name__}, got {name!r}."
        )
    if dim is None:
        dim = 1 if getattr(module, "transposed", False) else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


class _Orthogonal(Module):
    """A matrix with orthonormal columns (rows, if it is wide) from an unconstrained one."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        self.register_buffer("base", None)

    def forward(self, weight: Tensor) -> Tensor:
        linalg: Any = ft.linalg  # type: ignore[attr-defined]
        wide = weight.shape[-2] < weight.shape[-1]
        x = weight.mT if wide else weight
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            a = x.tril(-1)
            tau = 2.0 / (1.0 + (a * a).sum(-2))
            unit = a + ft.eye(n, k, dtype=x.dtype, device=x.device)
            q = linalg.householder_product(unit, tau)
            q = q * ft.diagonal(x, dim1=-2, dim2=-1).sign().unsqueeze(-2)
        else:
            lower = x.tril()
            if n != k:
                zeros = ft.zeros(*x.shape[:-1], n - k, dtype=x.dtype, device=x.device)
                lower = ft.cat([lower, zeros], -1)
            skew = lower - lower.mT
            if self.orthogonal_map == "matrix_exp":
                q = linalg.matrix_exp(skew)
            else:
                one = ft.eye(n, dtype=x.dtype, device=x.device)
                q = linalg.solve(one - 0.5 * skew, one + 0.5 * skew)
            q = q[..., :k]
        if self.base is not None:
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, value: Tensor) -> Tensor:
        """A point that maps to a matrix near value; exact for orthonormal values."""
        linalg: Any = ft.linalg  # type: ignore[attr-defined]
        wide = value.shape[-2] < value.shape[-1]
        x = value.mT if wide else value
        n, k = x.shape[-2:]
        # the orthogonal factor of value; value itself where that has orthonormal columns
        q, r = linalg.qr(x, mode="complete" if self.use_trivialization else "reduced")
        signs = ft.diagonal(r[..., :k, :], dim1=-2, dim2=-1).sign()
        signs = ft.where(signs == 0, 1.0, signs)
        if self.use_trivialization:
            rest = ft.ones(*signs.shape[:-1], n - k, dtype=x.dtype, device=x.device)
            self.base = q * ft.cat([signs, rest], -1).unsqueeze(-2)
            start = ft.zeros_like(x)
            if self.orthogonal_map == "householder":
                # without reflections each tau is 2: the signs undo that
                start = start - ft.eye(n, k, dtype=x.dtype, device=x.device)
            return start.mT if wide else start
        raise NotImplementedError(
            "orthogonal: expected use_trivialization=True to start from given values, got False."
        )


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix orthogonal: its columns orthonormal, or its rows if there are fewer of them.

    Args:
      orthogonal_map: "matrix_exp" (square matrices by default), "cayley" or "householder" (others
        by default).
      use_trivialization: work around the orthogonal factor of the present value, kept as a buffer
        (parametrizations.<name>.0.base); values can be assigned then.
    Returns:
      module, with parametrizations.<name>.original.
    Reference: Lezcano-Casado & Martinez-Rubio 2019.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        shape = list(weight.shape) if isinstance(weight, Tensor) else weight
        raise ShapeError(f"orthogonal: expected a matrix {name!r}, got {shape}.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            "orthogonal: expected orthogonal_map 'matrix_exp', 'cayley' or 'householder', got "
            f"{orthogonal_map!r}."
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
