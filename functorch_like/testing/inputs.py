"""Random tensors, and the sample calls of the op table's entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import as_dtype, float64, get_default_dtype
from ..errors import message
from ..op import TABLE, Op
from ..ops.random import Generator, rand, randint
from ..tensor import Tensor
from .comparison import TOLERANCES

__all__ = ["TABLE", "Make", "kinds_of", "make_tensor", "samples_of", "tolerance_of"]


def make_tensor(
    shape: Sequence[int] | int,
    dtype: Any = None,
    low: float | None = None,
    high: float | None = None,
    generator: Generator | None = None,
    *,
    device: Any = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
) -> Tensor:
    """A tensor of random numbers, uniform in [low, high): for tests.

    Args:
      low, high: default -9 and 9 (0 and 10 for unsigned integers); for complex dtypes they bound
        both parts.
      noncontiguous: with gaps between the elements along the last dimension.
    Example:
      >>> x = make_tensor((2, 3), float64, low=0, high=1)
      >>> x.shape, x.dtype
      (Size([2, 3]), float64)
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    d = get_default_dtype() if dtype is None else as_dtype(dtype)
    if noncontiguous and shape:
        wide = make_tensor((*shape[:-1], 2 * shape[-1]), d, low, high, generator, device=device)
        x = wide[..., ::2]
        return x.requires_grad_() if requires_grad else x
    if d.name == "bool":
        x = randint(0, 2, shape, generator=generator).to(d)
    elif d.is_complex:
        parts = [make_tensor(shape, float64, low, high, generator) for _ in range(2)]
        from ..ops.complex import complex as make_complex

        x = make_complex(*parts).to(d)
    elif d.is_integer:
        least = 0 if not d.is_signed else -9
        a = least if low is None else max(int(low), 0 if not d.is_signed else int(low))
        b = max(a + 1, 10 if high is None else int(high))
        x = randint(a, b, shape, generator=generator).to(d)
    else:
        a, b = -9.0 if low is None else low, 9.0 if high is None else high
        x = (rand(shape, dtype=float64, generator=generator) * (b - a) + a).to(d)
    x = x if device is None else x.to(device)
    return x.requires_grad_() if requires_grad else x


class Make:
    """Makes the tensors of an op's samples: `make(2, 3)` is random, [2, 3], of `make.dtype`.

    Args:
      seed: makers of one seed give the same tensors.
    Example:
      >>> make = Make(float32, seed=1)
      >>> make(2, 3).shape, make.index(5, 4).dtype
      (Size([2, 3]), int64)
    """

    def __init__(self, dtype: Any = float64, seed: int = 0, low: float = -2.0, high: float = 2.0):
        self.dtype, self.low, self.high = as_dtype(dtype), low, high
        self.generator = Generator().manual_seed(seed + 1)

    def __call__(self, *shape: int, low: float | None = None, high: float | None = None) -> Tensor:
        low, high = self.low if low is None else low, self.high if high is None else high
        return make_tensor(shape, self.dtype, low, high, self.generator)

    def index(self, size: int, *shape: int) -> Tensor:
        """Places in a dimension of some size: int64 in [0, size)."""
        return randint(0, size, shape, generator=self.generator)

    def places(self, size: int, count: int) -> Tensor:
        """`count` different places in a dimension of some size."""
        from ..ops.random import randperm

        return randperm(size, generator=self.generator)[:count]

    def mask(self, *shape: int) -> Tensor:
        """Random truth values."""
        return make_tensor(shape, "bool", generator=self.generator)


_SHAPES: dict[str, list[tuple[tuple[int, ...], ...]]] = {
    "unary": [((3, 4),), ((),), ((0, 2),), ((2, 1, 3),)],
    "binary": [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((2, 3), ()), ((2, 0), (1,))],
    "ternary": [
        ((2, 3), (2, 3), (2, 3)),
        ((3, 1), (4,), ()),
        ((), (2, 3), (3,)),
        ((0, 2), (0, 2), (2,)),
    ],
}


def samples_of(
    op: Op, dtype: Any = float64, seed: int = 0
) -> list[tuple[tuple[Tensor, ...], dict[str, Any]]]:
    """The sample calls of an entry of the op table, as (operands, params).

    Raises:
      ValueError: the entry has no samples.
    Example:
      >>> [x.shape for (x,), _ in samples_of(TABLE["exp"])][:2]
      [Size([3, 4]), Size([])]
    """
    given = getattr(op, "samples", None)
    if given is None:
        raise ValueError(
            message(
                op.name,
                "an entry with samples",
                "none",
                "Add them with sampled() beside the entry.",
            )
        )
    if not isinstance(given, dict):
        return given(Make(dtype, seed))
    make = Make(dtype, seed, given.get("low", -4.0), given.get("high", 4.0))
    masks = given.get("masks", ())
    return [
        (tuple(make.mask(*s) if i in masks else make(*s) for i, s in enumerate(shapes)), {})
        for shapes in _SHAPES[op.family]
    ]


def kinds_of(op: Op) -> tuple[str, ...]:
    """The kinds of dtypes an op takes: some of "bool", "int", "float", "complex"."""
    given = op.samples
    words = given.get("kinds", "float") if isinstance(given, dict) else given.kinds
    return tuple(words.split())


def tolerance_of(op: Op, dtype: Any, scale: float = 1.0) -> tuple[float, float]:
    """rtol and atol for an op's results, `scale` times looser."""
    name = as_dtype(dtype).name
    bounds = getattr(op, "tolerance", None) or {}
    rtol, atol = bounds.get(name, TOLERANCES.get(name, (0.0, 0.0)))
    return rtol * scale, atol * scale
