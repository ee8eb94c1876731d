"""Activations with kernels of their own, and the gradients that are one kernel too.

The rest are in unary.py (relu, gelu, silu, logsigmoid), or formulas of others (nn/activations.py).
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .family import binary, chain, operand, ternary, unary
from .slopes import hardsigmoid_grad, hardswish_grad, relu6_grad
from .ternary import clamp, where
from .unary import relu

__all__ = [
    "elu", "hardshrink", "hardsigmoid", "hardswish", "huber", "leaky_relu", "relu6", "softshrink",
]  # fmt: skip

_FLOAT = {"kinds": "float"}

relu6 = unary(
    "relu6",
    chain(lambda t, _x, out: relu6_grad(t, out)),
    "min(max(x, 0), 6). Its derivative at 0 and 6 is 0.",
    method=False,
    samples={**_FLOAT, "high": 8.0},
)
hardsigmoid = unary(
    "hardsigmoid",
    chain(lambda t, x, _out: hardsigmoid_grad(t, x)),
    "min(max(x + 3, 0), 6) / 6. Its derivative at -3 and 3 is 0.",
    method=False,
    samples=_FLOAT,
)
hardswish = unary(
    "hardswish",
    chain(lambda t, x, _out: hardswish_grad(t, x)),
    "x * hardsigmoid(x). Its derivative is 0 at -3 and 1 at 3.\n\nReference: Howard et al. 2019.",
    method=False,
    samples=_FLOAT,
)
leaky_relu = binary(
    "leaky_relu",
    (
        chain(lambda t, x, y, _out: leaky_relu_grad(t, x, y)),
        lambda x, _y, _out: where(x > 0, 0, x),
    ),
    "x where it is positive, y * x elsewhere.",
    method=False,
    samples=_FLOAT,
)
elu = binary(
    "elu",
    (
        chain(lambda t, x, y, _out: elu_grad(t, x, y)),
        lambda x, _y, _out: where(x > 0, 0, x).expm1(),
    ),
    "x where it is positive, y * (exp(x) - 1) elsewhere.\n\nReference: Clevert et al. 2015.",
    method=False,
    samples=_FLOAT,
)
_hardshrink = binary(
    "hardshrink",
    (
        chain(lambda t, x, y, _out: _shrink_grad(t, x, y)),
        chain(lambda t, _x, _y, _out: t * 0),
    ),
    "0 where |x| is at most y, x elsewhere.",
    method=False,
    samples=_FLOAT,
)
_softshrink = binary(
    "softshrink",
    (
        chain(lambda t, x, y, _out: _shrink_grad(t, x, y)),
        chain(lambda t, x, y, _out: _shrink_grad(where(x > y, -t, t), x, y)),
    ),
    "0 where |x| is at most y, x moved by y towards 0 elsewhere.",
    method=False,
    samples=_FLOAT,
)
# 0 where |y| is at most z, x elsewhere: a (co)tangent x through both
_shrink_grad = ternary(
    "shrink_grad",
    (
        chain(lambda t, _x, y, z, _out: _shrink_grad(t, y, z)),
        chain(lambda t, _x, _y, _z, _out: t * 0),
        chain(lambda t, _x, _y, _z, _out: t * 0),
    ),
    samples=_FLOAT,
)
huber = binary(
    "huber",
    (
        lambda x, y, _out: clamp(x, -y, y),
        lambda x, y, _out: relu(x.abs() - y),
    ),
    "x^2 / 2 where |x| is at most y, y * (|x| - y / 2) elsewhere.\n\nReference: Huber 1964.",
    method=False,
    samples={**_FLOAT, "low": 0.2},
)


def hardshrink(input: Any, lambd: Any = 0.5) -> Tensor:
    """input where |input| exceeds lambd, 0 elsewhere.

    Example:
      >>> hardshrink(tensor([-1.0, 0.25, 2.0]))
      tensor([-1.,  0.,  2.])
    """
    return _hardshrink(input, lambd)


def softshrink(input: Any, lambd: Any = 0.5) -> Tensor:
    """input moved by lambd towards 0, and 0 within -lambd..lambd.

    Example:
      >>> softshrink(tensor([-1.0, 0.25, 2.0]))
      tensor([-0.5000,  0.0000,  1.5000])
    """
    return _softshrink(input, lambd)


# x where y is positive, z * x elsewhere: a (co)tangent x through leaky_relu
_leaky_relu_grad = ternary(
    "leaky_relu_grad",
    (
        chain(lambda t, _x, y, z, _out: leaky_relu_grad(t, y, z)),
        chain(lambda t, _x, _y, _z, _out: t * 0),
        lambda x, y, _z, _out: where(y > 0, 0, x),
    ),
    samples=_FLOAT,
)
# x where y is positive, z * exp(y) * x elsewhere: a (co)tangent x through elu
_elu_grad = ternary(
    "elu_grad",
    (
        chain(lambda t, _x, y, z, _out: elu_grad(t, y, z)),
        lambda x, y, z, _out: where(y > 0, 0, elu_grad(x, y, z)),
        lambda x, y, _z, _out: where(y > 0, 0, x * where(y > 0, 0, y).exp()),
    ),
    samples=_FLOAT,
)


def leaky_relu_grad(t: Any, x: Any, slope: Any) -> Tensor:
    """A (co)tangent through leaky_relu."""
    return _leaky_relu_grad(*[operand("leaky_relu", a) for a in (t, x, slope)])


def elu_grad(t: Any, x: Any, alpha: Any) -> Tensor:
    """A (co)tangent through elu."""
    return _elu_grad(*[operand("elu", a) for a in (t, x, alpha)])
