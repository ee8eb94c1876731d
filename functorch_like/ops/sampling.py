"""Samplers that need more than one formula: gamma, Poisson, binomial, von Mises.

Each is an op of a key and its parameters, deterministic in both, that loops over rejection rounds
in its implementation: round r draws from fold_in(key, r) a value for every element, so an element's
result depends on its lane's key alone. Keys have leading dims as in ops/keys.py; parameters begin
with the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..dtypes import float64
from ..op import NONDIFF, Op, wrap
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import ones_like, tensor, zeros_like
from .keys import EXPONENTIAL, NORMAL, UNIFORM, _key, fold_in, keyed
from .reduce import all as all_of
from .special import digamma, lgamma
from .ternary import where
from .unary import exp, log
from .views import broadcast_shapes

_FAMILY = "random"
_ROUNDS = 200  # rejection ends far earlier; a bound for parameters that are nan


def _sampler(
    name: str,
    body: Callable[..., Tensor],
    samples: Callable[[Any], list[Any]],
    gradient: Callable[..., Tensor] | None = None,
) -> Op:
    """An op of a key and parameters of one shape.

    Args:
      body: `body(draw, *parameters) -> samples` on plain float64 tensors, where
        `draw(round, kind)` gives a number an element.
      gradient: of the sample by the only parameter, `gradient(parameter, sample)`.
    """

    def impl(key: Tensor, *parameters: Tensor) -> Any:
        plain = [wrap(lib.cb_retain(p._v)) for p in parameters]
        key = wrap(lib.cb_retain(key._v))
        shape = broadcast_shapes(*[p._shape for p in plain])
        dtype = plain[0].dtype
        if key.is_meta:
            return lib.cb_empty(dtype.code, key._v.device, len(shape), shape)
        own = shape[key.ndim - 1 :]

        def draw(number: int, kind: int) -> Tensor:
            return keyed(
                fold_in(key, number), kind=kind, code=float64.code, shape=own,
                a=1.0 if kind == EXPONENTIAL else 0.0, b=1.0,
            )  # fmt: skip

        out = body(draw, *[p.to(float64).expand(shape) for p in plain])
        result = out.to(dtype)  # kept by its name until its handle is
        return lib.cb_retain(result._v)

    def batch(size: int, batched: Sequence[bool], key: Tensor, *parameters: Tensor) -> Tensor:
        key = key if batched[0] else key.unsqueeze(0).expand((size, *key._shape))
        whole = [
            p if b else p.unsqueeze(0).expand((size, *p._shape))
            for p, b in zip(parameters, batched[1:], strict=True)
        ]
        return op(key, *whole)

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


def _gamma_body(draw: Any, a: Tensor) -> Tensor:
    """Marsaglia & Tsang 2000; below 1 a sample of a + 1 times uniform**(1 / a)."""
    small = a < 1
    d = where(small, a + 1, a) - 1.0 / 3
    c = 1 / (9 * d).sqrt()
    out, done = d, a != a
    for r in range(_ROUNDS):
        x, u = draw(2 * r, NORMAL), 1 - draw(2 * r + 1, UNIFORM)
        v = (1 + c * x) ** 3
        positive = v > 0
        good = positive & (log(u) < 0.5 * x * x + d - d * v + d * log(where(positive, v, 1.0)))
        out = where(good & ~done, d * v, out)
        done = done | good
        if bool(all_of(done)):
            break
    boost = (-draw(2 * _ROUNDS, EXPONENTIAL) / a).exp()
    return where(a != a, a, where(small, out * boost, out)).clamp(min=5e-324)


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
    at = tensor(_PLACES, dtype=float64).reshape((-1,) + (1,) * len(shape))
    weights = tensor(_WEIGHTS, dtype=float64).reshape((-1,) + (1,) * len(shape))
    v = scale * at
    # beyond any weight the exponent is cut off, where exp(v) would overflow first
    w = where(above, v.clamp(max=700.0), v)
    power = (s * x * w - z * (s * w).expm1()).clamp(min=-745.0)
    terms = (s * (log(z) - digamma(x)) + w) * exp(power) * (weights * scale)
    return (z * terms.sum(0, keepdim=True)).squeeze(0).to(sample.dtype)


standard_gamma_op = _sampler(
    "standard_gamma",
    _gamma_body,
    lambda make: [
        call(_key(make), make(4).abs() + 0.2),
        call(_key(make), make(2, 3).abs() * 5 + 1),
    ],
    standard_gamma_grad,
)

# ---- Poisson ----


def _log_factorial(k: Tensor) -> Tensor:
    return lgamma(k + 1)


def _poisson_body(draw: Any, rate: Tensor) -> Tensor:
    """Below 10 by multiplication of uniforms, above by transformed rejection (Hoermann 1993)."""
    broken = ~(rate >= 0)
    small = rate < 10
    floor = where(broken | ~small, 0.0, rate)
    limit, product, few = exp(-floor), ones_like(rate), zeros_like(rate) - 1
    for r in range(_ROUNDS):
        running = product > limit if r else ones_like(rate, dtype="bool")
        few = where(running, few + 1, few)
        product = where(running, product * draw(3 * r, UNIFORM), product)
        if r and not bool((product > limit).any()):
            break
    if bool(all_of(small | broken)):
        return where(broken, math.nan, few)
    big = where(small | broken, 10.0, rate)
    b = 0.931 + 2.53 * big.sqrt()
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    top = 0.9277 - 3.6224 / (b - 2)
    many, done = big.floor(), small | broken
    for r in range(_ROUNDS):
        u, v = draw(3 * r + 1, UNIFORM) - 0.5, draw(3 * r + 2, UNIFORM)
        us = 0.5 - u.abs()
        k = ((2 * a / us + b) * u + big + 0.43).floor()
        quick = (us >= 0.07) & (v <= top)
        ok = (k >= 0) & ~((us < 0.013) & (v > us))
        left = log(v * inverse / (a / (us * us) + b))
        k_ok = where(ok, k, 0.0)
        good = quick | (ok & (left <= k_ok * log(big) - big - _log_factorial(k_ok)))
        many = where(good & ~done, k, many)
        done = done | good
        if bool(all_of(done)):
            break
    return where(broken, math.nan, where(small, few, many))


poisson_op = _sampler(
    "poisson",
    _poisson_body,
    lambda make: [call(_key(make), make(5).abs() * 3), call(_key(make), make(2, 3).abs() * 5 + 12)],
)

# ---- binomial ----


def _stirling(k: Tensor) -> Tensor:
    """log k! less Stirling's formula."""
    return lgamma(k + 1) - ((k + 0.5) * log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi))


def _binomial_body(draw: Any, count: Tensor, prob: Tensor) -> Tensor:
    """By sums of geometric gaps where the mean is below 10, else BTRS (Hoermann 1993)."""
    broken = ~((prob >= 0) & (prob <= 1) & (count >= 0))
    n, q = where(broken, 0.0, count), where(broken, 0.0, prob)
    flipped = q > 0.5
    p = where(flipped, 1 - q, q)
    small = n * p < 10
    rate = -(-where(small, p, 0.0).clamp(max=0.5)).log1p()  # gaps are geometric of p
    reached, few = zeros_like(n), zeros_like(n) - 1
    running = small
    for r in range(_ROUNDS):
        gap = (draw(3 * r, EXPONENTIAL) / where(rate > 0, rate, 1e-300)).ceil()
        reached = where(running, reached + gap, reached)
        few = where(running, few + 1, few)
        running = running & (reached <= n)
        if not bool(running.any()):
            break
    many = few
    if not bool(all_of(small)):
        m, w = where(small, 40.0, n), where(small, 0.4, p)
        spread = (m * w * (1 - w)).sqrt()
        b = 1.15 + 2.53 * spread
        a = -0.0873 + 0.0248 * b + 0.01 * w
        centre, top = m * w + 0.5, 0.92 - 4.2 / b
        odds, alpha = w / (1 - w), (2.83 + 5.1 / b) * spread
        mode = ((m + 1) * w).floor()
        many, done = mode, small
        for r in range(_ROUNDS):
            u, v = draw(3 * r + 1, UNIFORM) - 0.5, draw(3 * r + 2, UNIFORM)
            us = 0.5 - u.abs()
            k = ((2 * a / us + b) * u + centre).floor()
            inside = (k >= 0) & (k <= m)
            quick = inside & (us >= 0.07) & (v <= top)
            j = where(inside, k, mode)
            left = log(v * alpha / (a / (us * us) + b))
            right = (
                (mode + 0.5) * log((mode + 1) / (odds * (m - mode + 1)))
                + (m + 1) * log((m - mode + 1) / (m - j + 1))
                + (j + 0.5) * log(odds * (m - j + 1) / (j + 1))
                + _stirling(mode) + _stirling(m - mode) - _stirling(j) - _stirling(m - j)
            )  # fmt: skip
            good = quick | (inside & (left <= right))
            many = where(good & ~done, k, many)
            done = done | good
            if bool(all_of(done)):
                break
    out = where(small, few, many)
    return where(broken, math.nan, where(flipped, n - out, out))


binomial_op = _sampler(
    "binomial",
    _binomial_body,
    lambda make: [
        call(_key(make), make(4).abs().floor() + 6, make(4).abs() / 8 + 0.05),
        call(_key(make), make(2, 3).abs().floor() + 60, make(2, 3).abs() / 8 + 0.3),
    ],
)

# ---- von Mises ----


def _von_mises_body(draw: Any, concentration: Tensor) -> Tensor:
    """Angles around 0. Best & Fisher 1979, wrapped Cauchy envelope."""
    k = concentration.clamp(min=1e-7)
    tau = 1 + (1 + 4 * k * k).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * k)
    s = where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
    out, done = zeros_like(k), k != k
    for r in range(_ROUNDS):
        u1, u2, u3 = (draw(3 * r + i, UNIFORM) for i in range(3))
        z = (math.pi * u1).cos()
        f = ((1 + s * z) / (s + z)).clamp(-1, 1)
        c = k * (s - f)
        good = (c * (2 - c) > u2) | (log(c / u2) + 1 >= c)
        out = where(good & ~done, (u3 - 0.5).sign() * f.acos(), out)
        done = done | good
        if bool(all_of(done)):
            break
    return out


von_mises_op = _sampler(
    "von_mises", _von_mises_body, lambda make: [call(_key(make), make(5).abs() + 0.1)]
)

__all__ = ["standard_gamma_grad"]
