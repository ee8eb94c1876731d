"""Draws as functions of a key: the functional half of random numbers.

A key is a uint32 tensor [..., 2], the two words of a Philox seed; leading dims are lanes, each with
its own stream. So mapping over keys is adding a dim, and gives what a loop over them gives. Keys
are derived (split, fold_in) with cb_philox, which shares no counters with the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import ffi, lib

from ..dtypes import int64, uint32
from ..errors import DTypeError, ShapeError, message
from ..op import NONDIFF, Op, dispatch, wrap
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import tensor
from .family import align, operand
from .random import Generator, default_generator

UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, SIGNS, PERMUTATION = range(7)
_FAMILY = "random"


def _seeds(key: Any) -> list[int]:
    """The 64-bit seeds of all lanes, in row-major order."""
    words = wrap(lib.cb_retain(key._v))._flat_list()
    return [high << 32 | low for high, low in zip(words[::2], words[1::2], strict=True)]


def _filled(key: Tensor, code: int, shape: Sequence[int], draw: Callable[[int], Any]) -> Any:
    """The draws of all lanes, `draw(seed) -> handle [*shape]`, behind each other."""
    lead = key._shape[:-1]
    full = (*lead, *shape)
    if key.is_meta:
        return lib.cb_empty(code, key._v.device, len(full), full)
    seeds = _seeds(key)
    if len(seeds) == 1:
        one = draw(seeds[0])
        out = lib.cb_reshape(one, len(full), full) if one else one
        lib.cb_release(one)
        return out
    flat = lib.cb_empty(code, key._v.device, 1 + len(shape), (len(seeds), *shape))
    for i, seed in enumerate(seeds if flat else ()):
        one = draw(seed)
        if not one:
            return one
        row = lib.cb_index_basic(flat, 1, (0, i, 0, 0))
        lib.cb_copy_into(row, one, 0)
        lib.cb_release(row)
        lib.cb_release(one)
    out = lib.cb_reshape(flat, len(full), full)
    lib.cb_release(flat)
    return out


def _draw(key: Tensor, *, kind: int, code: int, shape: tuple[int, ...], a: Any, b: Any) -> Any:
    place, n = key._v.device, len(shape)
    if kind == INTEGERS:
        return _filled(
            key, code, shape, lambda s: lib.cb_random_int(code, place, n, shape, s, 0, a, b)
        )
    if kind == PERMUTATION:
        return _filled(key, code, shape, lambda s: lib.cb_random_perm(code, place, shape[0], s, 0))
    return _filled(
        key, code, shape, lambda s: lib.cb_random(kind, code, place, n, shape, s, 0, a, b)
    )


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


def _philox(seed: int, counter: int, first: int, words: Any) -> list[int]:
    lib.cb_philox(seed, counter & 0xFFFFFFFFFFFFFFFF, words)
    return [words[first], words[first + 1]]


def _of_words(key: Tensor, words: list[int], shape: Sequence[int]) -> Any:
    data = ffi.new("uint32_t[]", words or [0])
    h = lib.cb_from_bytes(data, uint32.code, len(shape), shape)
    return h if key._v.device == 0 else lib.cb_to_device(h, key._v.device)


def _split_impl(key: Tensor, *, num: int) -> Any:
    shape = (*key._shape[:-1], num, 2)
    if key.is_meta:
        return lib.cb_empty(uint32.code, key._v.device, len(shape), shape)
    out, words = ffi.new("uint32_t[4]"), []
    for seed in _seeds(key):
        for i in range(num):
            words += _philox(seed, i, 0, out)
    return _of_words(key, words, shape)


key_split = Op(
    "key_split",
    _split_impl,
    vjp=NONDIFF("random numbers"),
    batch=lambda _size, _batched, key, *, num: key_split(key, num=num),
    family=_FAMILY,
)
sampled(
    key_split,
    lambda make: [call(_key(make), num=3), call(_key(make, 2), num=1), call(_key(make), num=0)],
    kinds="int",
)


def _fold_impl(key: Tensor, data: Tensor) -> Any:
    from .views import broadcast_shapes

    key, data = wrap(lib.cb_retain(key._v)), wrap(lib.cb_retain(data._v))
    shape = broadcast_shapes(key._shape, data._shape)
    if key.is_meta:
        return lib.cb_empty(uint32.code, key._v.device, len(shape), shape)
    out, words = ffi.new("uint32_t[4]"), []
    numbers = data.to(int64).expand((*shape[:-1], 1))._flat_list()
    for seed, number in zip(_seeds(key.expand(shape)), numbers, strict=True):
        words += _philox(seed, number, 2, out)
    return _of_words(key, words, shape)


# data has a last dim of size 1, so that it broadcasts against the key
key_fold = Op(
    "key_fold",
    _fold_impl,
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
    from .random import _random_int

    params["generator"] = generator or default_generator
    return dispatch(_random_int, (), params).to(uint32)


__all__ = ["fold_in", "fresh", "key", "keyed", "split"]
