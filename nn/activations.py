"""Activations as pure functions; nn.functional re-exports them.

`inplace=True` writes the result into the input; the formula is the same, and so is the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import functorch_like as ft
from functorch_like import Tensor, log_softmax, sigmoid, softmax, tanh
from functorch_like.amp import entered, lowered
from functorch_like.errors import DTypeError, ShapeError, message

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


def _given(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    if not inplace:
        return result
    if not ft.can_cast(result.dtype, input.dtype):
        wanted = f"a floating tensor to write {result.dtype} into"
        raise DTypeError(message("inplace", wanted, input.dtype, "Use the out-of-place form."))
    return input.copy_(result)


def _fitting(input: Tensor, first: float, second: float) -> tuple[float, float]:
    """The numbers as they go with input: integers with integers."""
    return (first, second) if input.dtype.is_inexact else (int(first), int(second))


def _applied(
    input: Tensor, inplace: bool, function: Callable[..., Tensor], *numbers: float
) -> Tensor:
    """function(input, *numbers); in place without a copy, by a function that takes `out`."""
    if inplace and input.dtype.is_floating_point:
        return function(input, *numbers, out=input)
    return _given(input, function(input, *numbers), inplace)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise.

    Example:
      >>> relu(ft.tensor([-1.0, 2.0]))
      tensor([0., 2.])
    """
    return _applied(input, inplace, ft.relu)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6), elementwise."""
    return _applied(input, inplace, ft.relu6)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input limited to min_val..max_val; at the limits the slope is 0, as relu's at 0.

    Integers stay integers, within limits rounded towards 0.
    """
    min_val, max_val = _fitting(input, min_val, max_val)
    return _given(input, ft.hardtanh(input, min_val, max_val), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, negative_slope * input elsewhere.

    Example:
      >>> leaky_relu(ft.tensor([-1.0, 2.0]), 0.1)
      tensor([-0.1000,  2.0000])
    """
    return _applied(input, inplace, ft.leaky_relu, negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight * input elsewhere; weight [1] or [c] for input [n, c, ...]."""
    if weight.numel() > 1:
        weight = weight.reshape([-1] + [1] * (input.ndim - 2)) if input.ndim > 1 else weight
    if entered:
        input, weight = lowered(input, weight)
    return ft.leaky_relu(input, weight)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input) - 1) elsewhere. Reference: Clevert et al. 2015."""
    return _applied(input, inplace, ft.elu, alpha)


@ft.pointwise
def _celu(input: Tensor, *, alpha: float) -> Tensor:
    positive = input > 0
    return ft.where(positive, input, ft.expm1(ft.where(positive, 0.0, input) / alpha) * alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere. Reference: Barron 2017."""
    return _given(input, _celu(input, alpha=alpha), inplace)


@ft.pointwise
def _selu(input: Tensor) -> Tensor:
    return ft.elu(input, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Self-normalising elu: scale * elu(input, alpha). Reference: Klambauer et al. 2017."""
    return _given(input, _selu(input), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), Phi the normal distribution function; "tanh" for its tanh form."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}.")
    return ft.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input), elementwise."""
    return _applied(input, inplace, ft.silu)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input)). Reference: Misra 2019."""
    return _given(input, _mish(input), inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6, elementwise."""
    return _applied(input, inplace, ft.hardsigmoid)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input), elementwise. Reference: Howard et al. 2019."""
    return _applied(input, inplace, ft.hardswish)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow."""
    return ft.logsigmoid(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input exceeds threshold.

    Example:
      >>> softplus(ft.tensor([0.0, 30.0]))
      tensor([ 0.6931, 30.0000])
    """
    return ft.softplus(input, beta, threshold)


@ft.pointwise
def _mish(input: Tensor) -> Tensor:
    return input * ft.tanh(ft.softplus(input))


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|), elementwise."""
    return _softsign(input)


@ft.pointwise
def _softsign(input: Tensor) -> Tensor:
    return input / (1.0 + input.abs())


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """value where input is at most threshold, input elsewhere; both rounded towards 0 for integers.

    Example:
      >>> threshold(ft.tensor([0.0, 2.0]), 1.0, -5.0)
      tensor([-5.,  2.])
    """
    threshold, value = _fitting(input, threshold, value)
    return _given(input, _threshold(input, threshold=threshold, value=value), inplace)


@ft.pointwise
def _threshold(input: Tensor, *, threshold: float, value: float) -> Tensor:
    return ft.where(input <= threshold, value, input)


def softmin(input: Tensor, dim: int) -> Tensor:
    """softmax(-input) along dim."""
    return ft.softmax(-input, dim)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half of dim times sigmoid of the second half.

    Example:
      >>> glu(ft.tensor([1.0, 2.0, 0.0, 0.0]))
      tensor([0.5000, 1.0000])
    """
    size = input.shape[dim]
    if size % 2:
        raise ShapeError(
            f"glu: expected an even size along dim {dim}, got {size} of shape {list(input.shape)}."
        )
    return _gated(input.narrow(dim, 0, size // 2), input.narrow(dim, size // 2, size // 2))


@ft.pointwise
def _gated(values: Tensor, gates: Tensor) -> Tensor:
    return values * ft.sigmoid(gates)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where |input| exceeds lambd, 0 elsewhere."""
    return ft.hardshrink(input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved by lambd towards 0, and 0 within -lambd..lambd.

    Raises:
      ValueError: lambd is negative.
    Example:
      >>> softshrink(ft.tensor([-1.0, 0.25, 2.0]))
      tensor([-0.5000,  0.0000,  1.5000])
    """
    if lambd < 0:
        raise ValueError(f"softshrink: expected lambd >= 0, got {lambd}.")
    return ft.softshrink(input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input), elementwise.

    Example:
      >>> tanhshrink(ft.tensor([0.0, 2.0]))
      tensor([0.0000, 1.0360])
    """
    return _tanhshrink(input)


@ft.pointwise
def _tanhshrink(input: Tensor) -> Tensor:
    return input - ft.tanh(input)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """input where positive, slope * input elsewhere.

    Args:
      lower, upper: in training each element's slope is drawn evenly from lower..upper; else it is
        their mean.
    Reference: Xu et al. 2015.
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: expected lower <= upper, got {lower} and {upper}.")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = ft.rand_like(input) * (upper - lower) + lower
    return _given(input, ft.leaky_relu(input, slope), inplace)


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Samples from the categorical distributions with these logits, relaxed to be differentiable.

    Args:
      tau: temperature; the smaller, the closer to one-hot.
      hard: one-hot results, with the relaxed ones' gradient.
      eps: of no effect, as in torch.
    Reference: Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017.
    """
    tiny = ft.finfo(logits.dtype).tiny
    noise = -ft.log(-ft.log(ft.rand_like(logits).clamp(min=tiny)))
    soft = ft.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = soft.argmax(dim, keepdim=True)
    places = ft.arange(soft.shape[dim], device=soft.device)
    places = places.reshape([-1] + [1] * ((-dim - 1) if dim < 0 else soft.ndim - dim - 1))
    one_hot = (places == chosen).to(soft.dtype)
    return one_hot - soft.detach() + soft


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """celu, written into input."""
    return celu(input, alpha, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """elu, written into input."""
    return elu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """hardtanh, written into input."""
    return hardtanh(input, min_val, max_val, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """leaky_relu, written into input."""
    return leaky_relu(input, negative_slope, inplace=True)


def relu_(input: Tensor) -> Tensor:
    """relu, written into input."""
    return relu(input, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """selu, written into input."""
    return selu(input, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """threshold, written into input."""
    threshold, value = _fitting(input, threshold, value)
    return input.copy_(_threshold(input, threshold=threshold, value=value))


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """rrelu, written into input."""
    return rrelu(input, lower, upper, training, inplace=True)
