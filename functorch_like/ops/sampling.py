"""Samplers that need more than one formula: gamma, Poisson, binomial, von Mises.

Each is an op of a key and its parameters, deterministic in both: an element's result depends on its
lane's key, its place in the lane and its parameters. The rejection loops are the core's
(cbackend/src/samplers.h). Keys have leading dims as in ops/keys.py; parameters begin with the same
ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..dtypes import float64
from ..op import NONDIFF, Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import tensor
from .family import fronted
from .keys import _key
from .special import digamma
from .ternary import where
from .unary import exp, log

_FAMILY = "random"


def _sampler(
    name: str,
    kernel: Callable[..., Any],
    samples: Callable[[Any], list[Any]],
    gradient: Callable[..., Tensor] | None = None,
) -> Op:
    """An op of a key and parameters of one shape.

    Args:
      kernel: the core's function of their handles.
      gradient: of the sample by the only parameter, `gradient(parameter, sample)`.
    """

    def impl(key: Tensor, *parameters: Tensor) -> Any:
        return kernel(key._v, *[p._v for p in parameters])

    def batch(size: int, batched: Sequence[bool], key: Tensor, *parameters: Tensor) -> Tensor:
        return op(*fronted(size, batched, (key, *parameters)))

    if gradient is None:
        op = Op(name, impl, vjp=NONDIFF("discrete or not reparameterised"), batch=batch,
                family=_FAMILY)  # fmt: skip
    else:
        op = Op(
            name,
            impl,
            vjp=lambda ct, out, _key, x: (None, ct * gradient(x, out)),
            jvp=lambda tangents, out, _key, x: tangents[1] * gradient(x, out),
            batch=batch,
            family=_FAMILY,
        )
    implicit = gradient and "the derivative follows a quantile; a draw may jump to another"
    return sampled(op, samples, kinds="float", implicit=implicit or None)


# ---- gamma ----


def _nodes(count: int, low: float, high: float) -> tuple[list[float], list[float]]:
    """Nodes and weights of the double-exponential rule on (0, inf), x = exp(t - exp(-t))."""
    step = (high - low) / (count - 1)
    places, weights = [], []
    for i in range(count):
        t = low + i * step
        x = math.exp(t - math.exp(-t))
        places.append(x)
        weights.append(step * x * (1 + math.exp(-t)))
    return places, weights


_PLACES, _WEIGHTS = _nodes(80, -3.6, 6.0)


def standard_gamma_grad(a: Tensor, sample: Tensor) -> Tensor:
    """The derivative of a standard gamma sample by its shape parameter, at a fixed quantile.

    With F the distribution function and p the density, dz/da = -(dF/da) / p. Writing dF/da as an
    integral over the tail that does not hold the mean (both tails' integrals add up to 0) leaves
    an integrand of one sign, z * (s * (log z - digamma(a)) + v) * exp(s a v + z (1 - exp(s v)))
    over v > 0 with s = 1 above the mean and -1 below, which a double-exponential rule of 80 points
    gives to about 1e-10. It is a composite, so it has derivatives of all orders.

    Args:
      a, sample floating, of one shape.
    Reference: Figurnov, Mohamed & Mnih 2018; Takahasi & Mori 1974.
    """
    shape = sample._shape
    x, z = (v.to(float64).unsqueeze(0) for v in (a, sample))
    z = z.clamp(min=1e-300)
    above = (z > x).detach()
    s = where(above, 1.0, -1.0)
    gap = (z - x).detach().abs()
    scale = 2 / (gap + (gap * gap + 2 * z.detach()).sqrt())
    # below 1 the exponential of v, not its square, ends the upper tail
    scale = where(above & (z < 1), scale.minimum((2 / z.detach()).log1p()), scale)
    at = tensor(_PLACES, dtype=float64, device=x.device).reshape((-1,) + (1,) * len(shape))
    weights = tensor(_WEIGHTS, dtype=float64, device=x.device).reshape((-1,) + (1,) * len(shape))
    v = scale * at
    # beyond any weight the exponent is cut off, where exp(v) would overflow first
    w = where(above, v.clamp(max=700.0), v)
    power = (s * x * w - z * (s * w).expm1()).clamp(min=-745.0)
    terms = (s * (log(z) - digamma(x)) + w) * exp(power) * (weights * scale)
    return (z * terms.sum(0, keepdim=True)).squeeze(0).to(sample.dtype)


standard_gamma_op = _sampler(
    "standard_gamma",
    lib.cb_random_gamma,
    lambda make: [
        call(_key(make), make(4).abs() + 0.2),
        call(_key(make), make(2, 3).abs() * 5 + 1),
    ],
    standard_gamma_grad,
)

# ---- without gradients ----

poisson_op = _sampler(
    "poisson",
    lib.cb_random_poisson,
    lambda make: [call(_key(make), make(5).abs() * 3), call(_key(make), make(2, 3).abs() * 5 + 12)],
)

binomial_op = _sampler(
    "binomial",
    lib.cb_random_binomial,
    lambda make: [
        call(_key(make), make(4).abs().floor() + 6, make(4).abs() / 8 + 0.05),
        call(_key(make), make(2, 3).abs().floor() + 60, make(2, 3).abs() / 8 + 0.3),
    ],
)

von_mises_op = _sampler(
    "von_mises",
    lib.cb_random_von_mises,
    lambda make: [call(_key(make), make(5).abs() + 0.1)],
)

__all__ = ["standard_gamma_grad"]
