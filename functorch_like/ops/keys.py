"""Draws as functions of a key: the functional half of random numbers.

A key is a uint32 tensor [..., 2], the two words of a Philox seed; leading dims are lanes, each with
its own stream. So mapping over keys is adding a dim, and gives what a loop over them gives. Derived
keys (split, fold_in) share no counters with the draws.
"""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..dtypes import int64, uint32
from ..errors import DTypeError, ShapeError, message
from ..op import NONDIFF, Op, dispatch
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import tensor
from .family import align, operand
from .random import Generator, _random_int, default_generator

UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, SIGNS, PERMUTATION = range(7)
_FAMILY = "random"


def _draw(key: Tensor, *, kind: int, code: int, shape: tuple[int, ...], a: Any, b: Any) -> Any:
    low, high = (a, b) if kind == INTEGERS else (0, 1)
    a, b = (0.0, 1.0) if kind == INTEGERS else (a, b)
    return lib.cb_random_keyed(kind, key._v, code, len(shape), shape, a, b, low, high)


keyed = Op(
    "keyed",
    _draw,
    vjp=NONDIFF("random numbers"),
    batch=lambda _size, _batched, key, **params: keyed(key, **params),
    family=_FAMILY,
)


def _key(make: Any, *lead: int) -> Tensor:
    return make.index(1 << 16, *lead, 2).to(uint32)


sampled(
    keyed,
    lambda make: (
        [
            call(_key(make), kind=kind, code=lib.CB_F32, shape=shape, a=0.25, b=1.0)
            for kind in (UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL)
            for shape in ((5, 3), (), (0, 2))
        ]
        + [
            call(_key(make), kind=INTEGERS, code=int64.code, shape=(4,), a=-3, b=9),
            call(_key(make, 3), kind=PERMUTATION, code=int64.code, shape=(5,), a=0, b=0),
        ]
    ),
    kinds="int",
)


key_split = Op(
    "key_split",
    lambda key, *, num: lib.cb_key_split(key._v, num),
    vjp=NONDIFF("random numbers"),
    batch=lambda _size, _batched, key, *, num: key_split(key, num=num),
    family=_FAMILY,
)
sampled(
    key_split,
    lambda make: [call(_key(make), num=3), call(_key(make, 2), num=1), call(_key(make), num=0)],
    kinds="int",
)


# data has a last dim of size 1, so that it broadcasts against the key
key_fold = Op(
    "key_fold",
    lambda key, data: lib.cb_key_fold(key._v, data._v),
    vjp=NONDIFF("random numbers"),
    batch=lambda _size, batched, key, data: key_fold(*align(batched, (key, data))),
    family=_FAMILY,
)
sampled(
    key_fold,
    lambda make: [
        call(_key(make), make.index(9, 1)),
        call(_key(make, 3), make.index(9, 1)),
        call(_key(make), make.index(9, 3, 1)),
    ],
    kinds="int",
)

# ---- keys as the public functions take them ----


def key(seed: Any) -> Tensor:
    """A key, uint32 [2], from an integer taken modulo 2**64.

    Example:
      >>> random.key(7)
      tensor([0, 7], dtype=uint32)
    """
    seed = int(seed) % (1 << 64)
    return tensor([seed >> 32, seed & 0xFFFFFFFF], dtype=uint32)


def checked(op: str, key: Any) -> Tensor:
    """The key itself.

    Raises:
      DTypeError, ShapeError: it is not a uint32 tensor [..., 2].
    """
    if not isinstance(key, Tensor) or key.dtype is not uint32:
        got = key.dtype if isinstance(key, Tensor) else type(key).__name__
        raise DTypeError(message(op, "a key", got, "Make one with random.key(seed)."))
    if not key.ndim or key._shape[-1] != 2:
        raise ShapeError(message(op, "a key of shape [..., 2]", list(key._shape)))
    return key


def split(key: Tensor, num: int = 2) -> Tensor:
    """`num` new keys, uint32 [..., num, 2]; use the old one no more.

    Example:
      >>> a, b = random.split(random.key(0))
      >>> a.shape
      Size([2])
    """
    if num < 0:
        raise ValueError(message("split", "num of at least 0", num))
    return key_split(checked("split", key), num=int(num))


def fold_in(key: Tensor, data: Any) -> Tensor:
    """A new key from a key and an integer (a number, or a tensor of them: a key each)."""
    data = operand("fold_in", data)
    if data.dtype.is_inexact:
        raise DTypeError(message("fold_in", "integers", data.dtype))
    return key_fold(checked("fold_in", key), data.to(int64).unsqueeze(-1))


def fresh(generator: Generator | None = None) -> Tensor:
    """A key from a generator; under vmap one a lane or one for all, as `randomness` says."""
    params = {"code": int64.code, "place": 0, "shape": (2,), "low": 0, "high": 1 << 32}

    params["generator"] = generator or default_generator
    return dispatch(_random_int, (), params).to(uint32)


__all__ = ["fold_in", "fresh", "key", "keyed", "split"]
