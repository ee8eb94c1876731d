"""Activations as layers; functional.py has the formulas."""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import functional as F
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SiLU",
    "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh",
    "Tanhshrink", "Threshold",
]  # fmt: skip


class _InPlace(Module):
    """Base of activations whose only setting is inplace: write the result into the input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(x, 0).

    Example:
      >>> import functorch_like as ft, nn
      >>> nn.ReLU()(ft.tensor([-1.0, 2.0]))
      tensor([0., 2.])
    """

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.relu(input, True) if self.inplace else ft.relu(input)


class ReLU6(_InPlace):
    """min(max(x, 0), 6)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.relu6(input, self.inplace)


class SELU(_InPlace):
    """Self-normalising ELU."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.selu(input, self.inplace)


class SiLU(_InPlace):
    """x * sigmoid(x)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """x * tanh(softplus(x))."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.mish(input, self.inplace)


class Hardsigmoid(_InPlace):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.hardsigmoid(input, self.inplace)


class Hardswish(_InPlace):
    """x * hardsigmoid(x)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.hardswish(input, self.inplace)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return ft.sigmoid(input)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return ft.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(x))."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.tanhshrink(input)


class _Shrink(Module):
    """Base of the shrinking activations: keeps lambd."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """x where |x| exceeds lambd, 0 elsewhere."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """x moved by lambd towards 0, and 0 within -lambd..lambd."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.softshrink(input, self.lambd)


class RReLU(Module):
    """x where it is positive, slope * x elsewhere; in training the slopes are drawn from
    lower..upper, else their mean is taken.
    """

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" * self.inplace)


class GELU(Module):
    """x * Phi(x); approximate="tanh" for its tanh form."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"approximate={self.approximate!r}"


class LeakyReLU(Module):
    """x where it is positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where it is positive, weight * x elsewhere, with one learned weight or one per channel."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(
            ft.full((num_parameters,), init, device=device, dtype=dtype or ft.get_default_dtype())
        )

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, ...] -> [n, c, ...]."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(ELU):
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.celu(input, self.alpha, self.inplace)


class Hardtanh(Module):
    """x limited to min_val..max_val."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not max_val > min_val:
            raise ValueError(
                f"Hardtanh: expected max_val above min_val, got {max_val} and {min_val}."
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + (
            ", inplace=True" if self.inplace else ""
        )


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta; x itself where beta * x exceeds threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Threshold(Module):
    """x where it exceeds threshold, value elsewhere."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"threshold={self.threshold}, value={self.value}" + (
            ", inplace=True" if self.inplace else ""
        )


class _AlongDim(Module):
    """Base of activations along one dimension; dim must be given."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is None:
            raise ValueError(
                f"{type(self).__name__}: expected dim, got None. Classes usually lie along dim=1 "
                "or -1."
            )
        self.dim = dim

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x) / sum(exp(x)) along dim."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return ft.softmax(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of images, for every pixel."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[n, c, h, w] or [c, h, w] -> [same]."""
        if input.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: expected input [n, c, h, w] or [c, h, w], got {list(input.shape)}."
            )
        return ft.softmax(input, -3)


class LogSoftmax(_AlongDim):
    """log(softmax(x)) along dim."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return ft.log_softmax(input, self.dim)


class Softmin(_AlongDim):
    """softmax(-x) along dim."""

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[...] -> [...]."""
        return F.softmin(input, self.dim)


class GLU(Module):
    """First half of dim times sigmoid of the second half."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: ft.Tensor) -> ft.Tensor:
        """[..., 2 n, ...] -> [..., n, ...]."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Settings for repr."""
        return f"dim={self.dim}"
