"""Random numbers as functions of keys, in the manner of jax.random.

A key is an ordinary uint32 tensor, `random.key(seed)`; `split` and `fold_in` derive new ones. The
same key gives the same numbers always, also under vmap over keys. For a generator with a state
there are the functions of torch: rand, randn, poisson and so on. Nothing here looks at values, so
every sampler works under every transform, and those with parameters are differentiable by them.
"""

from __future__ import annotations

import math
from typing import Any

from .dtypes import as_dtype, get_default_dtype, int64
from .errors import DTypeError, ShapeError, message
from .linalg import cholesky
from .ops.creation import sizes
from .ops.family import operand, result_type
from .ops.keys import (
    BERNOULLI,
    EXPONENTIAL,
    INTEGERS,
    NORMAL,
    PERMUTATION,
    SIGNS,
    UNIFORM,
    checked,
    fold_in,
    key,
    keyed,
    split,
)  # fmt: skip
from .ops.sampling import binomial_op, poisson_op, standard_gamma_op, von_mises_op
from .ops.sort import searchsorted, topk
from .ops.ternary import where
from .ops.views import broadcast_shapes
from .tensor import Tensor, wrap_dim

__all__ = [
    "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare", "choice",
    "dirichlet", "exponential", "fold_in", "gamma", "geometric", "gumbel", "key", "laplace",
    "loggamma", "logistic", "lognormal", "multivariate_normal", "normal", "pareto", "permutation",
    "poisson", "rademacher", "randint", "split", "t", "truncated_normal", "uniform", "von_mises",
    "weibull",
]  # fmt: skip


def _float(dtype: Any) -> Any:
    d = get_default_dtype() if dtype is None else as_dtype(dtype)
    if not d.is_inexact:
        raise DTypeError(message("random", "a floating dtype", d))
    return d


def _draw(op: str, kind: int, key: Any, shape: Any, dtype: Any, a: float, b: float) -> Tensor:
    shape = sizes(op, (shape,))
    return keyed(checked(op, key), kind=kind, code=_float(dtype).code, shape=shape, a=a, b=b)


def _parameters(
    op: str, key: Any, shape: Any, dtype: Any, *values: Any
) -> tuple[tuple[int, ...], Any, list[Tensor]]:
    """The shape of the draw, its dtype, and the parameters as tensors of both."""
    tensors = [operand(op, v) for v in values]
    if dtype is None:
        found = result_type(*[v for v in values])
        dtype = found if found.is_floating_point else None
    d = _float(dtype)
    common = broadcast_shapes(*[v._shape for v in tensors])
    lead = tuple(checked(op, key)._shape[:-1])
    full_shape = common if shape is None else sizes(op, (shape,))
    if broadcast_shapes(common, full_shape) != tuple(full_shape):
        raise ShapeError(
            message(op, f"a shape that parameters of {list(common)} broadcast to", list(full_shape))
        )
    if lead:
        raise ShapeError(message(op, "one key [2]", list(key._shape), "Map over keys with vmap."))
    return tuple(full_shape), d, [v.to(d).expand(full_shape) for v in tensors]


# ---- draws of the core ----


def bits(key: Tensor, shape: Any = ()) -> Tensor:
    """Random 32-bit words, as int64 in [0, 2**32)."""
    return keyed(
        checked("bits", key), kind=INTEGERS, code=int64.code, shape=sizes("bits", (shape,)),
        a=0, b=1 << 32,
    )  # fmt: skip


def uniform(
    key: Tensor, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0
) -> Tensor:
    """Uniform numbers in [minval, maxval), which may be tensors.

    Example:
      >>> x = random.uniform(random.key(0), (3,))
      >>> (x >= 0).all() & (x < 1).all()
      tensor(True)
    """
    if isinstance(minval, (int, float)) and isinstance(maxval, (int, float)):
        return _draw("uniform", UNIFORM, key, shape, dtype, float(minval), float(maxval))
    u = _draw("uniform", UNIFORM, key, shape, dtype, 0.0, 1.0)
    return minval + u * (maxval - minval)


def normal(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Standard normal numbers.

    Example:
      >>> equal(random.normal(random.key(0), (2,)), random.normal(random.key(0), (2,)))
      True
    """
    return _draw("normal", NORMAL, key, shape, dtype, 0.0, 1.0)


def exponential(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Exponential numbers of rate 1."""
    return _draw("exponential", EXPONENTIAL, key, shape, dtype, 1.0, 0.0)


def rademacher(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """-1 or 1, each with probability 1/2."""
    return _draw("rademacher", SIGNS, key, shape, dtype, 0.0, 0.0)


def bernoulli(key: Tensor, p: Any = 0.5, shape: Any = None) -> Tensor:
    """True with probability p."""
    if isinstance(p, (int, float)):
        drawn = _draw("bernoulli", BERNOULLI, key, shape or (), None, float(p), 0.0)
        return drawn != 0
    full_shape, d, (p,) = _parameters("bernoulli", key, shape, None, p)
    return uniform(key, full_shape, d) < p


def randint(key: Tensor, shape: Any, minval: int, maxval: int, dtype: Any = None) -> Tensor:
    """Integers in [minval, maxval).

    Raises:
      ValueError: the range is empty.
    """
    if maxval <= minval:
        raise ValueError(message("randint", "minval below maxval", f"{minval} and {maxval}"))
    code = as_dtype("int64" if dtype is None else dtype).code
    return keyed(
        checked("randint", key), kind=INTEGERS, code=code, shape=sizes("randint", (shape,)),
        a=int(minval), b=int(maxval),
    )  # fmt: skip


def permutation(key: Tensor, x: Any, axis: int = 0) -> Tensor:
    """The numbers 0 to x - 1, or a tensor's slices along an axis, in random order."""
    n = x if isinstance(x, int) else x._shape[wrap_dim("permutation", axis, x.ndim)]
    order = keyed(
        checked("permutation", key), kind=PERMUTATION, code=int64.code, shape=(n,), a=0, b=0
    )
    return order if isinstance(x, int) else x.index_select(axis, order)


# ---- discrete ----


def categorical(key: Tensor, logits: Tensor, axis: int = -1, shape: Any = None) -> Tensor:
    """Indices with probabilities softmax(logits) along an axis.

    Args:
      shape: of the result, to which the other dims of logits broadcast.
    Reference: Gumbel 1954: the argmax of logits and Gumbel noise.
    """
    rows = logits.movedim(axis, -1)
    shape = tuple(rows._shape[:-1]) if shape is None else sizes("categorical", (shape,))
    d = rows.dtype if rows.dtype.is_floating_point else None
    noise = gumbel(key, (*shape, rows._shape[-1]), d)
    return (noise + rows).argmax(-1)


def choice(
    key: Tensor, a: Any, shape: Any = (), replace: bool = True, p: Tensor | None = None
) -> Tensor:
    """Elements of a vector (or numbers below an integer), with probabilities p.

    Raises:
      ValueError: more elements than there are, without replacement.
    """
    n = a if isinstance(a, int) else a._shape[0]
    shape = sizes("choice", (shape,))
    count = math.prod(shape)
    if not replace and count > n:
        raise ValueError(message("choice", f"at most {n} elements", count, "Pass replace=True."))
    if p is None:
        at = randint(key, (count,), 0, n) if replace else permutation(key, n)[:count]
    elif replace:
        total = p.cumsum(0)
        at = searchsorted(total, uniform(key, (count,), p.dtype) * total[-1], right=True)
        at = at.clamp(max=n - 1)
    else:
        at = topk(gumbel(key, (n,), p.dtype) + p.log(), count)[1]
    return at.reshape(shape) if isinstance(a, int) else a[at].reshape((*shape, *a._shape[1:]))


def poisson(key: Tensor, lam: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Counts with mean lam, in a floating dtype; no gradient.

    Reference: Hoermann 1993, "The transformed rejection method for generating Poisson variables".
    """
    _, _, (lam,) = _parameters("poisson", key, shape, dtype, lam)
    return poisson_op(key, lam)


def binomial(key: Tensor, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """The number of successes of n trials of probability p, in a floating dtype; no gradient.

    Reference: Hoermann 1993, "The generation of binomial random variates".
    """
    _, _, (n, p) = _parameters("binomial", key, shape, dtype, n, p)
    return binomial_op(key, n, p)


def geometric(key: Tensor, p: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """The number of the first success of trials of probability p, from 1 on; no gradient."""
    full_shape, d, (p,) = _parameters("geometric", key, shape, dtype, p)
    rate = -(-p.detach()).log1p()
    return (exponential(key, full_shape, d) / rate).ceil().clamp(min=1)


# ---- continuous, differentiable by their parameters ----


def _unit(key: Tensor, shape: Any, dtype: Any) -> Tensor:
    """Uniform numbers in (0, 1): the middle of the core's steps, never an end."""
    d = _float(dtype)
    return uniform(key, shape, d).clamp(min=1e-10 if d.itemsize > 2 else 1e-4)


def gumbel(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Gumbel numbers: -log of exponential ones."""
    return -exponential(key, shape, dtype).log()


def laplace(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Laplace numbers of scale 1: the difference of two exponential ones."""
    a, b = split(key).unbind()
    return exponential(a, shape, dtype) - exponential(b, shape, dtype)


def logistic(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Logistic numbers of scale 1."""
    u = _unit(key, shape, dtype)
    return u.log() - (-u).log1p()


def cauchy(key: Tensor, shape: Any = (), dtype: Any = None) -> Tensor:
    """Cauchy numbers of scale 1."""
    return (math.pi * (uniform(key, shape, dtype) - 0.5)).tan()


def lognormal(key: Tensor, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Tensor:
    """exp of normal numbers with standard deviation sigma."""
    full_shape, d, (sigma,) = _parameters("lognormal", key, shape, dtype, sigma)
    return (normal(key, full_shape, d) * sigma).exp()


def truncated_normal(
    key: Tensor, lower: Any, upper: Any, shape: Any = None, dtype: Any = None
) -> Tensor:
    """Standard normal numbers within [lower, upper]."""
    full_shape, d, (low, high) = _parameters("truncated_normal", key, shape, dtype, lower, upper)
    root = math.sqrt(0.5)
    a, b = (low * root).erf(), (high * root).erf()
    y = (a + uniform(key, full_shape, d) * (b - a)).erfinv() / root
    return y.maximum(low).minimum(high)


def gamma(key: Tensor, a: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Gamma numbers of shape a and rate 1; the gradient by a holds the quantile fixed.

    Reference: Marsaglia & Tsang 2000; gradient as in Figurnov, Mohamed & Mnih 2018.
    """
    _, _, (a,) = _parameters("gamma", key, shape, dtype, a)
    return standard_gamma_op(key, a)


def loggamma(key: Tensor, a: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """The logarithm of gamma numbers, exact also where these would round to 0."""
    full_shape, d, (a,) = _parameters("loggamma", key, shape, dtype, a)
    small = a < 1
    one, two = split(key).unbind()
    base = standard_gamma_op(one, where(small, a + 1, a)).log()
    boost = -exponential(two, full_shape, d) / where(small, a, 1.0)
    return where(small, base + boost, base)


def beta(key: Tensor, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Beta numbers, from two gamma ones."""
    full_shape, d, (a, b) = _parameters("beta", key, shape, dtype, a, b)
    one, two = split(key).unbind()
    return (loggamma(one, a, full_shape, d) - loggamma(two, b, full_shape, d)).sigmoid()


def dirichlet(key: Tensor, alpha: Tensor, shape: Any = None, dtype: Any = None) -> Tensor:
    """Points of the simplex: alpha [..., k] gives [*shape, k]."""
    k = alpha._shape[-1]
    whole = None if shape is None else (*sizes("dirichlet", (shape,)), k)
    return loggamma(key, alpha, whole, dtype).softmax(-1)


def chisquare(key: Tensor, df: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Chi-square numbers with df degrees of freedom."""
    _, _, (df,) = _parameters("chisquare", key, shape, dtype, df)
    return 2 * standard_gamma_op(key, df / 2)


def t(key: Tensor, df: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Student's t numbers with df degrees of freedom."""
    full_shape, d, (df,) = _parameters("t", key, shape, dtype, df)
    one, two = split(key).unbind()
    half = df / 2
    return normal(one, full_shape, d) * (half / standard_gamma_op(two, half)).sqrt()


def pareto(key: Tensor, b: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Pareto numbers of shape b, from 1 on."""
    full_shape, d, (b,) = _parameters("pareto", key, shape, dtype, b)
    return (exponential(key, full_shape, d) / b).exp()


def weibull(
    key: Tensor, scale: Any, concentration: Any, shape: Any = None, dtype: Any = None
) -> Tensor:
    """Weibull numbers."""
    full_shape, d, (scale, c) = _parameters("weibull", key, shape, dtype, scale, concentration)
    return scale * exponential(key, full_shape, d) ** (1 / c)


def von_mises(key: Tensor, concentration: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Angles around 0 in (-pi, pi], in radians; no gradient.

    Reference: Best & Fisher 1979.
    """
    _, _, (concentration,) = _parameters("von_mises", key, shape, dtype, concentration)
    return von_mises_op(key, concentration)


def multivariate_normal(
    key: Tensor, mean: Tensor, cov: Tensor, shape: Any = None, dtype: Any = None
) -> Tensor:
    """Normal vectors with a mean [..., n] and a covariance [..., n, n]: [*shape, n]."""
    n = mean._shape[-1]
    lead = broadcast_shapes(mean._shape[:-1], cov._shape[:-2])
    shape = lead if shape is None else sizes("multivariate_normal", (shape,))
    noise = normal(key, (*shape, n), dtype or mean.dtype)
    return mean + (cholesky(cov) @ noise.unsqueeze(-1)).squeeze(-1)
