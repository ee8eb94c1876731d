"""Distances and similarities between vectors, and local response normalisation.

The gradient of a norm at 0 is 0 here.
"""

from __future__ import annotations

from ..amp import wide
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor, wrap_dim
from .distance_entries import distances, length, pair_distances, root
from .join import pad
from .matmul import matmul
from .pool import avg_pool2d
from .reduce import norm
from .ternary import where
from .views import broadcast_shapes

__all__ = [
    "cdist",
    "cosine_similarity",
    "local_response_norm",
    "normalize",
    "pairwise_distance",
    "pdist",
]

_MANY_ROWS = 25  # from here on torch computes Euclidean distances by a matrix product


def _floating(op: str, *tensors: Tensor) -> None:
    for x in tensors:
        if not x.dtype.is_floating_point:
            raise DTypeError(message(op, "floating tensors", x.dtype, "Cast with .float()."))


@wide
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The p-norm distances between all rows of x1 and all rows of x2.

    Args:
      x1 [..., P, M], x2 [..., R, M] floating; leading dimensions broadcast.
      p: 0 (the number of differing places) to inf.
      compute_mode: for p = 2, "use_mm_for_euclid_dist_if_necessary" (a matrix product above 25
        rows: faster, less accurate for near points), "use_mm_for_euclid_dist" or
        "donot_use_mm_for_euclid_dist".
    Returns:
      [..., P, R]; the gradient at distance 0 is 0.
    Raises:
      ShapeError: sizes do not fit. ValueError: p is negative, or an unknown mode.
    Example:
      >>> cdist(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0], [0.0, 1.0]]))
      tensor([[5., 1.]])
    """
    modes = (
        "use_mm_for_euclid_dist_if_necessary",
        "use_mm_for_euclid_dist",
        "donot_use_mm_for_euclid_dist",
    )
    _floating("cdist", x1, x2)
    if x1.ndim < 2 or x2.ndim < 2 or x1._shape[-1] != x2._shape[-1]:
        wanted = "x1 [..., P, M] and x2 [..., R, M]"
        raise ShapeError(message("cdist", wanted, f"{list(x1._shape)} and {list(x2._shape)}"))
    if not p >= 0:
        raise ValueError(message("cdist", "p of at least 0", p))
    if compute_mode is not None and compute_mode not in modes:
        wanted = "compute_mode " + ", ".join(f'"{m}"' for m in modes)
        raise ValueError(message("cdist", wanted, repr(compute_mode)))
    many = max(x1._shape[-2], x2._shape[-2]) > _MANY_ROWS
    if p == 2 and (compute_mode == modes[1] or (many and compute_mode in (None, modes[0]))):
        shift = x1.detach().mean(tuple(range(x1.ndim - 1))) if x1.numel() else 0.0
        x1, x2 = x1 - shift, x2 - shift  # distances stay, cancellation shrinks
        squares = (x1 * x1).sum(-1).unsqueeze(-1) + (x2 * x2).sum(-1).unsqueeze(-2)
        return root(squares - 2 * matmul(x1, x2.mT), 2.0)
    if x1.dtype is x2.dtype:
        leading = broadcast_shapes(x1._shape[:-2], x2._shape[:-2])
        x1, x2 = (x.expand((*leading, *x._shape[-2:])) for x in (x1, x2))
        return distances(x1, x2, p=float(p))
    return length(x1.unsqueeze(-2) - x2.unsqueeze(-3), float(p))


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows: the upper triangle of cdist(input, input).

    Args:
      input [N, M] floating. p: 0 to inf.
    Returns:
      [N (N - 1) / 2], in the order (0, 1), (0, 2), ..., (1, 2), ...
    Example:
      >>> pdist(tensor([[0.0], [1.0], [3.0]]))
      tensor([1., 3., 2.])
    """
    _floating("pdist", input)
    if input.ndim != 2:
        raise ShapeError(message("pdist", "input [N, M]", list(input._shape)))
    if not p >= 0:
        raise ValueError(message("pdist", "p of at least 0", p))
    return pair_distances(input, p=float(p))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension.

    Args:
      x1, x2 [..., M] floating; they broadcast.
    Returns:
      [...], or [..., 1] with keepdim.
    Example:
      >>> pairwise_distance(tensor([3.0, 4.0]), zeros(2), eps=0.0)
      tensor(5.)
    """
    _floating("pairwise_distance", x1, x2)
    difference = x1 - x2 + eps
    if p == -float("inf"):
        return norm(difference, p, -1, keepdim)
    return length(difference, float(p), keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along dim; each norm is at least eps.

    Args:
      x1, x2 floating; they broadcast. dim: a dimension of the broadcast shape.
    Example:
      >>> cosine_similarity(tensor([1.0, 0.0]), tensor([1.0, 1.0]), dim=0)
      tensor(0.7071)
    """
    _floating("cosine_similarity", x1, x2)
    shape = broadcast_shapes(x1._shape, x2._shape)
    d = wrap_dim("cosine_similarity", dim, len(shape)) - len(shape)

    def unit(x: Tensor) -> Tensor:
        x = x if x.ndim >= -d else x.reshape((*[1] * (-d - x.ndim), *x._shape))
        if x._shape[d] != shape[d]:
            x = x.expand((*x._shape[:d], shape[d], *x._shape[d:][1:]))
        return x / _at_least(norm(x, 2, d, True), eps)

    return (unit(x1) * unit(x2)).sum(d)


def _at_least(x: Tensor, eps: float) -> Tensor:
    """max(x, eps), with gradient 0 below."""
    return where(x > eps, x, eps).to(x.dtype)


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """input divided by its p-norm along dim, at least eps.

    Args:
      input floating. dim: an int, or several.
    Example:
      >>> normalize(tensor([3.0, 4.0]), dim=0)
      tensor([0.6000, 0.8000])
    """
    _floating("normalize", input)
    result = input / _at_least(norm(input, p, dim, True), eps)
    return result if out is None else out.copy_(result)


@wide
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """input / (k + alpha * mean of squares over `size` neighbouring channels) ** beta.

    Args:
      input [N, C, ...] floating, 3 dimensions or more.
    Reference: Krizhevsky, Sutskever & Hinton 2012.
    Example:
      >>> local_response_norm(ones(1, 2, 1), 2, alpha=2.0, beta=1.0).flatten()
      tensor([0.5000, 0.3333])
    """
    _floating("local_response_norm", input)
    if input.ndim < 3 or size < 1:
        wanted = "input [N, C, ...] of 3 dimensions or more, and a size of at least 1"
        raise ShapeError(message("local_response_norm", wanted, f"{list(input._shape)} and {size}"))
    if not input.numel():
        return input
    shape = input._shape
    squares = (input * input).reshape((shape[0], shape[1], -1))
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    means = avg_pool2d(squares.unsqueeze(1), (size, 1), 1).reshape(shape)
    return input / (means * alpha + k) ** beta
