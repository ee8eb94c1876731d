"""How numbers depend on sizes: found from a few samples, believed when another sample agrees.

Samples lie on a grid of two values a size, so that sums and products of different sizes are told
apart; the first sample that is not on the grid is the check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

Sizes = tuple[int, ...]
Formula = Callable[[Sizes], Any]


class Grid:
    """The points at which programs are staged.

    Attributes:
      corners: all combinations of two values a size.
      points: those and one that checks what was found.
    """

    def __init__(self, low: Sizes, high: Sizes, check: Sizes):
        self.low, self.high = low, high
        self.corners: list[Sizes] = list(product(*zip(low, high, strict=True)))
        self.points = [*self.corners, check]

    def integer(self, values: Sequence[int]) -> Formula | None:
        """The polynomial with integer coefficients, linear in each size, through all points."""
        if all(v == values[0] for v in values):
            constant = values[0]
            return lambda sizes: constant
        # differences along each size in turn: the coefficients in terms of (size - low)
        table = dict(zip(self.corners, values, strict=False))
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            for corner in self.corners:
                if corner[i] == high:
                    below = (*corner[:i], low, *corner[i + 1 :])
                    step, rest = divmod(table[corner] - table[below], high - low)
                    if rest:
                        return None
                    table[corner] = step
        terms = [(c, corner) for corner, c in table.items() if c]
        low = self.low

        def formula(sizes: Sizes) -> int:
            total = 0
            for c, corner in terms:
                for size, at, start in zip(sizes, corner, low, strict=True):
                    if at != start:
                        c *= size - start
                total += c
            return total

        return formula if self._fits(formula, values) else None

    def real(self, values: Sequence[float]) -> Formula | None:
        """A number made of an integer polynomial n: n, 1 / n, c / n, a root, one over that."""
        if all(v == values[0] for v in values):
            constant = values[0]
            return lambda sizes: constant
        for inverse, forward in _SHAPES:
            try:
                rounded = [round(inverse(v)) for v in values]
            except (ZeroDivisionError, OverflowError, ValueError):
                continue
            inner = self.integer(rounded)
            if inner is not None:
                found = _after(forward, inner)
                if self._fits(found, values):
                    return found
        everything = tuple(range(len(self.low)))
        for chosen in dict.fromkeys([*[(i,) for i in everything], everything]):
            for find in (_share, _corrected):
                counts = [math.prod(p[i] for i in chosen) for p in self.points]
                of_count = find(counts, values)
                if of_count is not None:
                    found = _of_product(of_count, chosen)
                    if self._fits(found, values):
                        return found
        return None

    def _fits(self, formula: Formula, values: Sequence[Any]) -> bool:
        try:
            return all(formula(p) == v for p, v in zip(self.points, values, strict=True))
        except (ZeroDivisionError, OverflowError, ValueError):
            return False


def _after(forward: Callable[[int], float], inner: Formula) -> Formula:
    return lambda sizes: forward(inner(sizes))


def _of_product(of_count: Callable[[int], float], chosen: Sequence[int]) -> Formula:
    return lambda sizes: of_count(math.prod(sizes[i] for i in chosen))


def _share(counts: Sequence[int], values: Sequence[float]) -> Callable[[int], float]:
    """c / n."""
    c = values[0] * counts[0]
    return lambda n: c / n


def _corrected(counts: Sequence[int], values: Sequence[float]) -> Callable[[int], float] | None:
    """c * (m / (m - 1)) with m a multiple of n: a share of an unbiased variance."""
    (n, *_, n2), (v, *_, v2) = counts, values
    if v == v2:
        return None
    k = round((v / n - v2 / n2) / (v - v2))
    if k < 1 or k * n < 2:
        return None
    c = float(f"{v * (k * n - 1) / (k * n):.12g}")
    return lambda n: c * (k * n / (k * n - 1))


_SHAPES: list[tuple[Callable[[float], float], Callable[[int], float]]] = [
    (lambda v: v, float),
    (lambda v: 1 / v, lambda n: 1.0 / n),
    (lambda v: -1 / v, lambda n: -1.0 / n),
    (lambda v: v * v, math.sqrt),
    (lambda v: 1 / (v * v), lambda n: 1 / math.sqrt(n)),
    (lambda v: 1 / (v * v), lambda n: n**-0.5),
]
