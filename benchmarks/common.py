"""Shared by the benchmarks: how a call is timed, what setup keeps, how data are made, and the one
list of ops that no benchmark measures at size.

Timing keeps the garbage collector on, as it is in users' programs. Names that asv takes for
benchmarks (time_, track_, peakmem_) must not stand in this file: asv looks into every module.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import functorch_like as ft
from functorch_like.op import Op
from functorch_like.testing import Make, kinds_of

# Shortest timed block in seconds, and the number of blocks: tests set them to 0 and 1.
BLOCK, BLOCKS = 0.01, 7
# Elements of the copy that stands for the memory's bandwidth: more than any cache holds.
COPIED = 16_000_000

# Ops without a benchmark at size, by name or by family: the only such list. All of them stand in
# bench_dispatch, which measures what a call of every op costs.
UNMEASURED = {
    "view": "a family that moves no data: a call is all it costs",
    "getitem": "a view too",
    "detach": "moves no data",
    "linalg_bits": "a view of a factorization",
    "lu_permutation": "moves a few integers",
    "to_device": "there is one device; with two it is a benchmark of the link between them",
}


class Kept:
    """A benchmark whose data, made by make(), outlive one call.

    asv runs setup before every timed call and then times single calls; data are made at the first.
    """

    made_for: Any = None
    # call everything timed once before: `asv run --quick` times one call, not to be the first
    warm = True
    # at least 5 calls and at most 100, up to 2 seconds a process
    repeat = (5, 100, 2.0)

    def setup(self, *params: Any) -> None:
        if self.made_for != params:
            self.make(*params)
            self.made_for = params
            for name in dir(self) if self.warm else ():
                if name.startswith("time_"):
                    getattr(self, name)(*params)

    def make(self, *params: Any) -> None:
        raise NotImplementedError


def timer(call: Callable[[], Any] | str, names: dict[str, Any] | None = None) -> timeit.Timer:
    """A timer for a function, or for a statement over `names`, with the garbage collector on."""
    return timeit.Timer(call, "import gc; gc.enable()", globals=names)


def enough(clock: timeit.Timer, block: float) -> int:
    """How many calls last about `block` seconds. Warms up on the way."""
    number = 1
    while (elapsed := clock.timeit(number)) < block:
        number = max(number + 1, min(10 * number, int(1.2 * number * block / max(elapsed, 1e-9))))
    return number


def seconds(call: Callable[[], Any] | str, names: dict[str, Any] | None = None) -> float:
    """Seconds a call: the median of BLOCKS blocks of at least BLOCK seconds."""
    clock = timer(call, names)
    number = enough(clock, BLOCK)
    return statistics.median(clock.repeat(BLOCKS, number)) / number


def nbytes(*tensors: Any) -> int:
    """Bytes of elements in tensors."""
    return sum(x.numel() * x.dtype.itemsize for x in tensors)


def traffic(call: Callable[[], Any], *inputs: Any) -> float:
    """GB/s: bytes of the inputs and of the results, each counted once, over the time of a call."""
    out = call()
    outputs = out if isinstance(out, tuple) else (out,)
    return (nbytes(*inputs) + nbytes(*outputs)) / seconds(call) / 1e9


def share(call: Callable[[], Any], *inputs: Any) -> float:
    """Percent of the memory bandwidth that a large copy reaches, which is written past the caches.

    Over 100 for data that a cache holds.
    """
    x = normal(COPIED)
    return 100 * traffic(call, *inputs) / traffic(x.clone, x)


def normal(*shape: int, seed: int = 0) -> ft.Tensor:
    """Normal float32 numbers."""
    return ft.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def integers(high: int, *shape: int, seed: int = 0) -> ft.Tensor:
    """Integers in [0, high), int64."""
    return ft.from_numpy(np.random.default_rng(seed).integers(0, high, shape))


def dtype_for(op: Op) -> ft.dtype:
    """float32 where the op takes it, else the first of int32, complex64 and bool."""
    kinds = kinds_of(op)
    choices = {"float": ft.float32, "int": ft.int32, "complex": ft.complex64, "bool": ft.bool_}
    return next(dtype for kind, dtype in choices.items() if kind in kinds)


def operands(op: Op, n: int) -> tuple[ft.Tensor, ...]:
    """Operands of n elements for an elementwise op, in the range that its entry gives."""
    given: Any = op.samples
    make = Make(dtype_for(op), 0, given.get("low", -4.0), given.get("high", 4.0))
    masks = given.get("masks", ())
    arity = {"unary": 1, "binary": 2, "ternary": 3}[op.family]
    return tuple(make.mask(n) if i in masks else make(n) for i in range(arity))
