"""Derivatives with a kernel of their own: slopes of elementwise ops, applied to a (co)tangent x.

All are linear in x. Tangents and cotangents that are 0 stay 0 through infinite slopes, at every
order: the kernels are products and quotients that look at their first operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .family import binary, chain, mul_conj, ternary

__all__ = [
    "cos_grad", "div_grad", "gelu_grad", "gelu_tanh_grad", "hardsigmoid_grad", "hardswish_grad",
    "log_grad", "relu6_grad", "relu_grad", "sigmoid_grad", "silu_grad", "sin_grad", "sqrt_grad",
    "square_grad", "tanh_grad",
]  # fmt: skip

_POSITIVE = {"low": 0.2, "high": 4.0}


def _slope(name: str, by_y: Any, doc: str, **samples: Any) -> Callable[..., Tensor]:
    """An op of x and y, linear in x, with its derivative by y."""
    by_x = chain(lambda t, _x, y, _out: op(t, y))
    op = binary(name, (by_x, by_y), doc, method=False, samples={**samples, "kinds": "float"})
    return op


_NONE = chain(lambda t, _x, _y, _out: t * 0)

relu_grad = _slope("relu_grad", _NONE, "x where y is positive, else 0.")
relu6_grad = _slope("relu6_grad", _NONE, "x where y is between 0 and 6, else 0.", high=8.0)
hardsigmoid_grad = _slope("hardsigmoid_grad", _NONE, "x / 6 where y is between -3 and 3, else 0.")
hardswish_grad = _slope(
    "hardswish_grad",
    lambda x, y, _out: hardsigmoid_grad(x + x, y),
    "x times the slope of hardswish at y: 0 up to -3, y / 3 + 1/2, 1 from 3 on.",
)
sigmoid_grad = _slope(
    "sigmoid_grad",
    lambda x, y, _out: x * (1 - 2 * y),
    "x * y * (1 - y): a (co)tangent through sigmoid with result y.",
)
tanh_grad = _slope(
    "tanh_grad",
    lambda x, y, _out: -2 * x * y,
    "x * (1 - y^2): a (co)tangent through tanh with result y.",
)
square_grad = _slope(
    "square_grad",
    chain(lambda t, x, _y, _out: square_grad(x, t)),
    "2 * x * y: a (co)tangent x through the square of y.",
)
sin_grad = _slope(
    "sin_grad",
    chain(lambda t, x, y, _out: cos_grad(mul_conj(x, t), y)),
    "x * cos(y): a (co)tangent x through sin(y).",
)
cos_grad = _slope(
    "cos_grad",
    chain(lambda t, x, y, _out: -sin_grad(mul_conj(x, t), y)),
    "-x * sin(y): a (co)tangent x through cos(y).",
)
log_grad = _slope(
    "log_grad",
    chain(lambda t, x, y, _out: -log_grad(log_grad(mul_conj(x, t), y), y)),
    "x / y, and 0 where x is 0: a (co)tangent x through log(y).",
    **_POSITIVE,
)
sqrt_grad = _slope(
    "sqrt_grad",
    chain(lambda t, x, y, _out: -sqrt_grad(log_grad(mul_conj(x, t), y), y)),
    "x / (2 y), and 0 where x is 0: a (co)tangent x through sqrt with result y.",
    **_POSITIVE,
)
# -x * y / z, and 0 where x is 0: a (co)tangent x through the divisor z of a quotient y
div_grad = ternary(
    "div_grad",
    (
        chain(lambda t, _x, y, z, _out: div_grad(t, y, z)),
        chain(lambda t, x, _y, z, _out: -log_grad(mul_conj(x, t), z)),
        chain(lambda t, x, y, z, _out: -log_grad(div_grad(mul_conj(x, t), y, z), z)),
    ),
    samples={**_POSITIVE, "kinds": "float"},
)
gelu_grad = _slope(
    "gelu_grad", lambda x, y, _out: x * _gelu_bend(y), "x times the slope of gelu at y."
)
gelu_tanh_grad = _slope(
    "gelu_tanh_grad",
    lambda x, y, _out: x * _gelu_tanh_bend(y),
    "x times the slope at y of gelu by its tanh approximation.",
)
silu_grad = _slope(
    "silu_grad", lambda x, y, _out: x * _silu_bend(y), "x times the slope of silu at y."
)


def _silu_bend(y: Tensor) -> Tensor:
    s = y.sigmoid()
    return s * (1 - s) * (2 + y * (1 - 2 * s))


def _gelu_bend(y: Tensor) -> Tensor:
    return (y * y * -0.5).exp() * (2 - y * y) * (1 / math.sqrt(2 * math.pi))


def _gelu_tanh_bend(y: Tensor) -> Tensor:
    """With t = tanh(u): (1 - t^2) (u' + y (u'' / 2 - t u'^2))."""
    k, c = math.sqrt(2 / math.pi), 0.044715
    square = y * y
    t = (k * y * (1 + c * square)).tanh()
    first = k * (1 + 3 * c * square)
    return (1 - t * t) * (first + y * (3 * k * c * y - t * first * first))
