"""Initial values for parameters: torch.nn.init's functions, each filling a tensor in place and
returning it.

Nothing here is recorded for backward. Every random function takes a generator; without one the
global one counts on.
"""

from __future__ import annotations

import math

import functorch_like as ft
from functorch_like import Generator, Tensor
from functorch_like.errors import ShapeError

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_",
    "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's weights are scaled; param is leaky_relu's slope (0.01 by
    default).

    Raises:
      ValueError: an unknown nonlinearity.
    Example:
      >>> calculate_gain("tanh")
      1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(
                f"calculate_gain: expected a number as leaky_relu's slope, got {param!r}."
            )
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"calculate_gain: expected one of {', '.join([*_GAINS, 'leaky_relu'])}, got "
            f"{nonlinearity!r}."
        )
    return _GAINS[nonlinearity]


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers drawn evenly from a..b."""
    with ft.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normally distributed numbers."""
    with ft.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normally distributed numbers, those outside a..b drawn again.

    Notes: By inverting the distribution function on the part of it that lies between a and b.
    """

    def below(x: float) -> float:
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    with ft.no_grad():
        tensor.uniform_(2 * below(a) - 1, 2 * below(b) - 1, generator=generator)
        return tensor.copy_((ft.erfinv(tensor) * (std * math.sqrt(2.0)) + mean).clamp(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    with ft.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Example:
      >>> eye_(ft.empty(2, 3))
      tensor([[1., 0., 0.],
              [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: expected a matrix, got shape {list(tensor.shape)}.")
    with ft.no_grad():
        return tensor.copy_(ft.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that each group passes its input channels on unchanged."""
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(
            f"dirac_: expected a tensor of 3, 4 or 5 dimensions, got shape {list(tensor.shape)}."
        )
    out, inner = tensor.shape[:2]
    if out % groups:
        raise ValueError(f"dirac_: expected dimension 0 divisible by groups={groups}, got {out}.")
    centre = tuple(size // 2 for size in tensor.shape[2:])
    per_group = out // groups
    with ft.no_grad():
        tensor.fill_(0.0)
        for group in range(groups):
            for channel in range(min(per_group, inner)):
                tensor[(group * per_group + channel, channel, *centre)] = 1.0
    return tensor


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """(inputs of an output, outputs of an input) of a linear layer's or convolution's weight."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"{op}: expected a weight of at least 2 dimensions, got shape {list(tensor.shape)}."
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill evenly up to gain sqrt(6 / (fan_in + fan_out)). Reference: Glorot & Bengio 2010."""
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally, std = gain sqrt(2 / (fan_in + fan_out)). Reference: Glorot & Bengio 2010."""
    return normal_(
        tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor))), generator
    )


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: expected mode 'fan_in' or 'fan_out', got {mode!r}.")
    fan = _fans(op, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill evenly up to gain sqrt(3 / fan); a: leaky_relu's slope. Reference: He et al. 2015."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill normally, std = gain / sqrt(fan); a is leaky_relu's slope. Reference: He et al. 2015."""
    if 0 in tensor.shape:
        return tensor
    return normal_(
        tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator
    )


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a matrix (dimensions after the first taken as one) with orthonormal rows or columns,
    times gain.

    Reference: Saxe, McClelland & Ganguli 2014.
    """
    if tensor.ndim < 2:
        raise ShapeError(
            f"orthogonal_: expected at least 2 dimensions, got shape {list(tensor.shape)}."
        )
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with ft.no_grad():
        noise = normal_(
            ft.empty(max(rows, columns), min(rows, columns), dtype=tensor.dtype),
            generator=generator,
        )
        q, r = ft.linalg.qr(noise)  # type: ignore[attr-defined]
        q = q * ft.diagonal(r).sign()  # makes the distribution uniform over orthogonal matrices
        q = q if rows >= columns else q.T
        return tensor.copy_((q * gain).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix normally, with a share of zeros in each column. Reference: Martens 2010."""
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: expected a matrix, got shape {list(tensor.shape)}.")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with ft.no_grad():
        tensor.normal_(0.0, std, generator=generator)
        for column in range(columns):
            tensor[ft.randperm(rows, generator=generator)[:zeros], column] = 0.0
    return tensor
