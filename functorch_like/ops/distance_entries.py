"""Distances between rows with kernels that keep no differences in memory, and their gradients.

In the entries operands have the same leading dimensions. The gradient at distance 0 is 0; all items
that have the largest difference get its whole gradient, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import untaped
from .creation import zeros
from .family import fronted
from .reduce import norm
from .shape import triu_indices
from .ternary import where

_INF = float("inf")


def root(x: Tensor, p: float) -> Tensor:
    """x ** (1 / p), with gradient 0 at 0: the power sees 1 there, and the result is masked."""
    positive = x > 0
    safe = where(positive, x, 1.0)
    return where(positive, safe.sqrt() if p == 2 else safe ** (1.0 / p), 0.0)


def length(x: Tensor, p: float, keepdim: bool = False) -> Tensor:
    """The p-norm over the last dim, with gradient 0 at 0."""
    if p in (1.0, 2.0, _INF) or not x._shape[-1]:
        return norm(x, p if x._shape[-1] else 2.0, -1, keepdim)
    size = x.abs()
    positive = size > 0
    if p == 0:
        return where(positive, 1.0, size).sum(-1, keepdim=keepdim)
    powers = where(positive, where(positive, size, 1.0) ** p, 0.0)
    return root(powers.sum(-1, keepdim=keepdim), p)


def _meaning(x: Tensor, y: Tensor, *, p: float) -> Tensor:
    return length(x.unsqueeze(-2) - y.unsqueeze(-3), p)


def _grad_meaning(ct: Tensor, x: Tensor, y: Tensor, out: Tensor, *, p: float) -> Tensor:
    d = x.unsqueeze(-2) - y.unsqueeze(-3)
    ct, out = ct.unsqueeze(-1), out.unsqueeze(-1)
    if p == 0:
        terms = d * 0
    elif p == 1:
        terms = ct * d.sgn()
    elif p == _INF:
        terms = where(d.abs() == out, ct * d.sgn(), 0.0)
    else:
        apart, size = out > 0, d.abs()
        share = ct / where(apart, out, 1.0) ** (p - 1)
        slope = d if p == 2 else where(size > 0, size, 1.0) ** (p - 1) * d.sgn()
        terms = where(apart, share * slope, 0.0)
    return terms.sum(-2)


def _vjp(
    ct: Tensor, out: Tensor, x: Tensor, y: Tensor, *, p: float, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    return (
        _distances_grad(ct, x, y, out, p=p) if needs[0] else None,
        _distances_grad(ct.mT, y, x, out.mT, p=p) if needs[1] else None,
    )


def _kernel(call: Callable[..., Any], meaning: Callable[..., Tensor]) -> Callable[..., Any]:
    """The C function; of CUDA tensors, which have none, the formula."""

    def impl(*args: Tensor, p: float) -> Any:
        if args[0].device.type != "cuda":
            return call(*[x._v for x in args], p)
        with untaped():
            out = meaning(*args, p=p)
            return lib.cb_retain(out._v)

    return impl


def _batch(op: Op, size: int, batched: Sequence[bool], *args: Tensor, p: float) -> Tensor:
    return op(*fronted(size, batched, args), p=p)


distances = Op(
    "distances",
    _kernel(lib.cb_distances, _meaning),
    vjp=_vjp,
    batch=lambda *args, p: _batch(distances, *args, p=p),
    decompose=_meaning,
    family="distance",
)
_distances_grad = Op(
    "distances_grad",
    _kernel(lib.cb_distances_grad, _grad_meaning),
    batch=lambda *args, p: _batch(_distances_grad, *args, p=p),
    decompose=_grad_meaning,
    family="distance",
)


# ---- between all pairs of rows ----


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the two rows of each pair."""
    n = x._shape[-2]
    first, second = triu_indices(n, n, 1, device=x.device).unbind()
    return first, second


def _pairs_meaning(x: Tensor, *, p: float) -> Tensor:
    first, second = _pairs(x)
    return length(x.index_select(-2, first) - x.index_select(-2, second), p)


def _pairs_grad_meaning(ct: Tensor, x: Tensor, out: Tensor, *, p: float) -> Tensor:
    n, (first, second) = x._shape[-2], _pairs(x)

    def square(pairs: Tensor) -> Tensor:
        whole = zeros(*pairs._shape[:-1], n * n, dtype=pairs.dtype, device=pairs.device)
        whole = whole.index_add(-1, first * n + second, pairs)
        return whole.index_add(-1, second * n + first, pairs).unflatten(-1, (n, n))

    return _grad_meaning(square(ct), x, x, square(out), p=p)


pair_distances = Op(
    "pair_distances",
    _kernel(lib.cb_pair_distances, _pairs_meaning),
    vjp=lambda ct, out, x, *, p: (_pair_distances_grad(ct, x, out, p=p),),
    batch=lambda *args, p: _batch(pair_distances, *args, p=p),
    decompose=_pairs_meaning,
    family="distance",
)
_pair_distances_grad = Op(
    "pair_distances_grad",
    _kernel(lib.cb_pair_distances_grad, _pairs_grad_meaning),
    batch=lambda *args, p: _batch(_pair_distances_grad, *args, p=p),
    decompose=_pairs_grad_meaning,
    family="distance",
)


# ---- samples ----

_POWERS = (0.0, 1.0, 2.0, 3.5, _INF)


def _oracle(np: Any, x: Any, y: Any, *, p: float) -> Any:
    d = np.abs(x[..., :, None, :] - y[..., None, :, :])
    if p == 0:
        return (d != 0).sum(-1).astype(d.dtype)
    return d.max(-1, initial=0) if p == _INF else (d**p).sum(-1) ** (1 / p)


def _pairs_oracle(np: Any, x: Any, *, p: float) -> Any:
    first, second = np.triu_indices(x.shape[-2], 1)
    return _oracle(np, x, x, p=p)[..., first, second]


def _between(make: Any, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """A cotangent, operands, and positive numbers in the distances' place.

    Not for p = inf, where it matters which difference a distance equals.
    """
    n, last = len(shapes[0]), shapes[-1][-2]
    shape = (*shapes[0][: n - 1], last) if len(shapes) > 1 else (last * (last - 1) // 2,)
    return make(*shape), *(make(*s) for s in shapes), make(*shape, low=0.5, high=1.5)


sampled(
    distances,
    lambda make: [
        *(call(make(3, 4), make(5, 4), p=p) for p in _POWERS),
        call(make(2, 2, 3), make(2, 4, 3), p=2.0),
        call(make(0, 3), make(2, 3), p=1.0),
        call(make(2, 0), make(2, 0), p=1.0),
    ],
    oracle=_oracle,
)
sampled(
    _distances_grad,
    lambda make: [
        *(call(*_between(make, (3, 4), (5, 4)), p=p) for p in _POWERS[:-1]),
        call(*_between(make, (2, 2, 3), (2, 4, 3)), p=2.0),
        call(*_between(make, (2, 3), (0, 3)), p=1.0),
    ],
)
sampled(
    pair_distances,
    lambda make: [
        *(call(make(5, 4), p=p) for p in _POWERS),
        call(make(2, 3, 2), p=2.0),
        call(make(1, 2), p=1.0),
    ],
    oracle=_pairs_oracle,
)
sampled(
    _pair_distances_grad,
    lambda make: [call(*_between(make, (5, 4)), p=p) for p in _POWERS[:-1]],
)
