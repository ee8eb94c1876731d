"""Where an op is tested: each entry of the table carries samples, an oracle and a tolerance.

Samples are functions of a `make` (testing.Make), which gives random tensors, so that one list
serves all dtypes and as many
lanes of vmap as wanted. Nothing here runs unless tests ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .op import Op


class Samples:
    """The samples of an op that is not elementwise.

    Args:
      make: `make(make) -> [(tensors, params), ...]`: calls of the op.
      kinds: which dtypes it takes: words of "bool int float complex".
      unmapped: why vmap cannot map it (then it raises TraceError), or None.
      layout: why it works for some layouts of memory only, or None.
      implicit: why its derivative is not that of its values at fixed other inputs, so that
        difference quotients say nothing about it, or None. Such an op has tests of its own.
      data_dependent: does the shape of the result depend on values? Then it has no meaning on the
        meta device.
    """

    __slots__ = ("data_dependent", "implicit", "kinds", "layout", "make", "unmapped")

    def __init__(
        self,
        make: Callable[[Any], list[Any]],
        kinds: str,
        unmapped: str | None,
        layout: str | None,
        data_dependent: bool,
        implicit: str | None = None,
    ):
        self.make, self.kinds, self.unmapped, self.layout = make, kinds, unmapped, layout
        self.data_dependent, self.implicit = data_dependent, implicit

    def __call__(self, make: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return self.make(make)


def call(*tensors: Any, **params: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """One sample: the op's operands and params as they are passed to it."""
    return tensors, params


def sampled(
    op: Op,
    make: Callable[[Any], list[Any]],
    *,
    kinds: str = "float",
    oracle: Any = None,
    unmapped: str | None = None,
    layout: str | None = None,
    data_dependent: bool = False,
    implicit: str | None = None,
) -> Op:
    """Gives an op its samples.

    Args:
      oracle: `oracle(numpy, *arrays, **params)`, the expected result from NumPy.
    """
    op.samples = Samples(make, kinds, unmapped, layout, data_dependent, implicit)
    op.oracle = oracle
    return op


def tolerance(op: Any, reason: str, **bounds: tuple[float, float]) -> None:
    """Gives an op tolerances of its own: `tolerance(erfinv, "reason", float32=(rtol, atol))`."""
    getattr(op, "op", op).tolerance = {"reason": reason, **bounds}


__all__ = ["Samples", "call", "sampled", "tolerance"]
