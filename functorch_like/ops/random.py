"""Random numbers by counter-based Philox.

A draw depends on seed and position only, not on threads or strides.

A Generator is a seed and a running offset; functions without one use the global generator. Under
vmap a draw is one op (`random=True` in its entry): vmap's `randomness` decides whether lanes share
it.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

from cbackend import drawn, lib

from .. import mutation
from ..dtypes import as_device, as_dtype, get_default_dtype
from ..errors import message
from ..op import NONDIFF, Op, dispatch, fail
from ..out import store
from ..samples import call, sampled
from ..tensor import Tensor, wrap
from ..trace import active, clock, state
from .creation import finished, sizes, tensor
from .views import broadcast_shapes

__all__ = [
    "Generator",
    "bernoulli",
    "dropout",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

_UNIFORM, _NORMAL, _BERNOULLI, _EXPONENTIAL, _INTEGERS, _SIGNS, _PERMUTATION = range(7)
_FAMILY = "random"


class Generator:
    """A stream of random numbers: a seed and how far it has been used.

    Example:
      >>> a, b = Generator().manual_seed(1), Generator().manual_seed(1)
      >>> (rand(3, generator=a) == rand(3, generator=b)).all()
      tensor(True)
    """

    def __init__(self, device: Any = None):
        self.device = as_device(device)
        self._seed, self._offset = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of a seed, an int taken modulo 2**64."""
        self._seed, self._offset = int(seed) % (1 << 64), 0
        return self

    def seed(self) -> int:
        """Starts the stream of a seed from the operating system, and returns it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed."""
        return self._seed

    def get_state(self) -> Tensor:
        """Seed and offset as a tensor, for set_state."""
        return tensor(
            [
                self._seed >> 32,
                self._seed & 0xFFFFFFFF,
                self._offset >> 32,
                self._offset & 0xFFFFFFFF,
            ]
        )

    def set_state(self, new_state: Tensor) -> Generator:
        """Goes back to where get_state() was called."""
        high, low, offset_high, offset_low = new_state.tolist()
        self._seed, self._offset = high << 32 | low, offset_high << 32 | offset_low
        return self

    def clone_state(self) -> Generator:
        """Another generator that goes on from here."""
        return Generator(self.device).set_state(self.get_state())

    def get_offset(self) -> int:
        """How far the stream has been used."""
        return self._offset

    def set_offset(self, offset: int) -> None:
        """Goes to a place of the stream that get_offset() gave."""
        self._offset = int(offset)

    def take(self, kind: int, code: int, numel: int) -> tuple[int, int]:
        """Seed and offset for a draw, and moves on behind it."""
        at = self._offset
        self._offset += lib.cb_random_counters(kind, code, numel)
        return self._seed, at


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Starts the global generator's stream of a seed."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Starts the global generator with a seed from the operating system."""
    return default_generator.seed()


def initial_seed() -> int:
    """The global generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The global generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Sets the global generator's state."""
    default_generator.set_state(new_state)


# of each vmap around a draw: its size, and how many counters lie from lane to lane
Lanes = tuple[tuple[int, int], ...]


def _laned(
    kind: int,
    code: int,
    place: int,
    shape: tuple[int, ...],
    lanes: Lanes,
    seed: int,
    offset: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    low: int = 0,
    high: int = 1,
) -> Any:
    """One draw a lane, each as a loop over the lanes would make it."""
    counts, strides = [n for n, _ in lanes], [s for _, s in lanes]
    return lib.cb_random_lanes(
        kind, code, place, len(lanes), counts, strides, len(shape), shape, seed, offset, *bounds,
        low, high,
    )  # fmt: skip


def _draw(
    *,
    kind: int,
    code: int,
    place: int,
    shape: tuple[int, ...],
    a: float,
    b: float,
    generator: Generator,
    lanes: Lanes = (),
) -> Any:
    seed, offset = generator.take(kind, code, prod(shape))
    if lanes:
        return _laned(kind, code, place, shape, lanes, seed, offset, bounds=(a, b))
    return lib.cb_random(kind, code, place, len(shape), shape, seed, offset, a, b)


def _draw_integers(
    *,
    code: int,
    place: int,
    shape: tuple[int, ...],
    low: int,
    high: int,
    generator: Generator,
    lanes: Lanes = (),
) -> Any:
    seed, offset = generator.take(_INTEGERS, code, prod(shape))
    if lanes:
        return _laned(_INTEGERS, code, place, shape, lanes, seed, offset, low=low, high=high)
    return lib.cb_random_int(code, place, len(shape), shape, seed, offset, low, high)


_random = Op(
    "random",
    _draw,
    vjp=NONDIFF("random numbers"),
    batch=lambda *_: None,
    random=True,
    family=_FAMILY,
)
_random_int = Op(
    "random_int",
    _draw_integers,
    vjp=NONDIFF("random numbers"),
    batch=lambda *_: None,
    random=True,
    family=_FAMILY,
)
sampled(
    _random,
    lambda make: [
        call(
            kind=kind,
            code=make.dtype.code,
            place=0,
            shape=shape,
            a=0.25,
            b=1.0,
            generator=Generator().manual_seed(1),
        )
        for kind in (_UNIFORM, _NORMAL, _BERNOULLI, _EXPONENTIAL)
        for shape in ((5, 3), (), (0, 2))
    ],
)
sampled(
    _random_int,
    lambda make: [
        call(
            code=make.dtype.code,
            place=0,
            shape=shape,
            low=-3,
            high=9,
            generator=Generator().manual_seed(1),
        )
        for shape in ((5, 3), (), (0, 2))
    ],
    kinds="int",
)


def _permuted(
    *, code: int, place: int, shape: tuple[int, ...], generator: Generator, lanes: Lanes = ()
) -> Any:
    seed, offset = generator.take(_INTEGERS, code, shape[0])
    if lanes:
        return _laned(_PERMUTATION, code, place, shape, lanes, seed, offset)
    return lib.cb_random_perm(code, place, shape[0], seed, offset)


_random_perm = Op(
    "random_perm",
    _permuted,
    vjp=NONDIFF("random numbers"),
    batch=lambda *_: None,
    random=True,
    family=_FAMILY,
)
sampled(
    _random_perm,
    lambda make: [
        call(code=make.dtype.code, place=0, shape=(n,), generator=Generator().manual_seed(1))
        for n in (7, 1, 0)
    ],
    kinds="int",
)


def _drawn(
    kind: int,
    shape: tuple[int, ...],
    dtype: Any,
    device: Any,
    a: float,
    b: float,
    generator: Generator | None,
    requires_grad: bool = False,
) -> Tensor:
    code = (get_default_dtype() if dtype is None else as_dtype(dtype)).code
    place = 0 if device is None else as_device(device).code
    generator = generator or default_generator
    if not active or state.trace is None:
        small = drawn(kind, shape, code, place, generator._seed, generator._offset, a, b)
        if small is not None:
            t, used = small
            generator._offset += used
        else:
            seed, offset = generator.take(kind, code, prod(shape))
            t = wrap(lib.cb_random(kind, code, place, len(shape), shape, seed, offset, a, b))
    else:
        t = dispatch(
            _random,
            (),
            {
                "kind": kind,
                "code": code,
                "place": place,
                "shape": shape,
                "a": a,
                "b": b,
                "generator": generator,
            },
        )
    return t.requires_grad_() if requires_grad else t


def rand(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Uniform random numbers in [0, 1).

    Reference: Philox4x32-10, Salmon et al. 2011.
    """
    shape = sizes("rand", shape, size)
    t = _drawn(_UNIFORM, shape, dtype, device, 0.0, 1.0, generator, requires_grad)
    return t if out is None else store("rand", out, t)


def randn(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Random numbers from the standard normal distribution."""
    shape = sizes("randn", shape, size)
    t = _drawn(_NORMAL, shape, dtype, device, 0.0, 1.0, generator, requires_grad)
    return t if out is None else store("randn", out, t)


def randint(
    low: Any = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random integers in [low, high), or in [0, low) without high.

    `randint(10, (3,))`, `randint(3, 10, (3,))`.

    Raises:
      ValueError: the range is empty. TypeError: no size.
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if size is None:
        raise TypeError(message("randint", "a size", "none", "Write randint(10, (3,))."))
    if high <= low:
        raise ValueError(message("randint", "low below high", f"{low} and {high}"))
    shape = sizes("randint", (size,))
    code = as_dtype("int64" if dtype is None else dtype).code
    return dispatch(
        _random_int,
        (),
        {
            "code": code,
            "place": as_device(device).code,
            "shape": shape,
            "low": low,
            "high": high,
            "generator": generator or default_generator,
        },
    )


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    if n < 0:
        raise ValueError(message("randperm", "n of at least 0", n))
    code = as_dtype("int64" if dtype is None else dtype).code
    return dispatch(
        _random_perm,
        (),
        {
            "code": code,
            "place": as_device(device).code,
            "shape": (n,),
            "generator": generator or default_generator,
        },
    )


def rand_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform random numbers in [0, 1), of the same shape."""
    dtype, device = dtype or x.dtype, device or x.device
    t = rand(x._shape, generator=generator, dtype=dtype, device=device)
    return finished("rand_like", t, requires_grad, memory_format)


def randn_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Standard normal random numbers of the same shape."""
    dtype, device = dtype or x.dtype, device or x.device
    t = randn(x._shape, generator=generator, dtype=dtype, device=device)
    return finished("randn_like", t, requires_grad, memory_format)


def randint_like(
    x: Tensor,
    low: int = 0,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Random integers of the same shape."""
    dtype, device = dtype or x.dtype, device or x.device
    t = randint(low, high, x._shape, generator=generator, dtype=dtype, device=device)
    return finished("randint_like", t, False, memory_format)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None
) -> Tensor:
    """Normal random numbers; mean and std may be tensors, whose shapes broadcast."""
    if size is None:
        size = broadcast_shapes(*[v._shape for v in (mean, std) if isinstance(v, Tensor)])
    return randn(size, generator=generator) * std + mean


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability in each element, or with p for all, else 0; no gradient."""
    drawn = rand(input._shape, generator=generator, dtype=input.dtype, device=input.device)
    return (drawn < (input if p is None else p)).to(input.dtype)


def _in_place(name: str, kind: int, check: Any, doc: str, defaults: tuple[float, float]) -> Any:
    def method(
        x: Tensor,
        a: float = defaults[0],
        b: float = defaults[1],
        *,
        generator: Generator | None = None,
        **named: Any,
    ) -> Tensor:
        values = list(named.values())
        if values:
            names = {
                "from": 0,
                "low": 0,
                "mean": 0,
                "p": 0,
                "lambd": 0,
                "to": 1,
                "high": 1,
                "std": 1,
            }
            pair = [a, b]
            for key, value in named.items():
                pair[names[key]] = value
            a, b = pair
        check(a, b)
        generator = generator or default_generator
        if mutation.writes_memory(name, x):
            clock[0] += 1
            seed, offset = generator.take(kind, x._v.dtype, x.numel())
            if lib.cb_random_into(kind, x._v, seed, offset, float(a), float(b), clock[0]):
                fail(_random, (x,))
        else:
            mutation.rebind(
                name, x, _drawn(kind, x._shape, x.dtype, x.device, float(a), float(b), generator)
            )
        return x

    method.__name__ = name
    method.__doc__ = doc
    return method


def _ordered(a: float, b: float) -> None:
    if not a <= b:
        raise ValueError(message("uniform_", "bounds in order", f"{a} and {b}"))


def _positive_std(_a: float, b: float) -> None:
    if b < 0:
        raise ValueError(message("normal_", "std of at least 0", b))


def _probability(a: float, _b: float) -> None:
    if not 0 <= a <= 1:
        raise ValueError(message("bernoulli_", "a probability in [0, 1]", a))


Tensor.uniform_ = _in_place(  # type: ignore[attr-defined]
    "uniform_", _UNIFORM, _ordered, "Fills with uniform numbers in [from, to).", (0.0, 1.0)
)
Tensor.normal_ = _in_place(  # type: ignore[attr-defined]
    "normal_", _NORMAL, _positive_std, "Fills with normal numbers of a mean and std.", (0.0, 1.0)
)
Tensor.bernoulli_ = _in_place(  # type: ignore[attr-defined]
    "bernoulli_", _BERNOULLI, _probability, "Fills with 1 with probability p, else 0.", (0.5, 0.0)
)
Tensor.exponential_ = _in_place(  # type: ignore[attr-defined]
    "exponential_",
    _EXPONENTIAL,
    lambda *_: None,
    "Fills with exponential numbers of rate lambd.",
    (1.0, 0.0),
)
Tensor.bernoulli = bernoulli  # type: ignore[attr-defined]


def dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Zeros each element with probability p and scales the rest by 1 / (1 - p), while training.

    Raises:
      ValueError: p outside [0, 1].
    Reference: Srivastava et al. 2014.
    """
    if not 0 <= p <= 1:
        raise ValueError(message("dropout", "a probability in [0, 1]", p))
    if not training or p == 0:
        return x
    if p == 1:
        y = x * 0.0
    else:
        keep = _drawn(_BERNOULLI, x._shape, x.dtype, x.device, 1.0 - p, 0.0, generator)
        y = x * (keep * (1.0 / (1.0 - p)))
    return x.copy_(y) if inplace else y
