"""Composites of views and joins: stacking, splitting, repeating, grids and index patterns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import int64
from ..errors import DimError, DTypeError, ShapeError, TraceError, message
from ..tensor import Tensor, wrap_dim
from ..trace import active, state
from .creation import arange, empty, sizes, tensor, zeros
from .family import operand
from .index import _refuse, nonzero
from .join import cat, flip, pad, stack
from .scan import cumsum
from .sort import searchsorted

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "cartesian_prod", "column_stack",
    "combinations", "dsplit", "dstack", "hsplit", "hstack", "meshgrid", "one_hot",
    "repeat_interleave", "rot90", "row_stack", "tensor_split", "tril_indices", "triu_indices",
    "unravel_index", "vander", "vsplit", "vstack",
]  # fmt: skip


def _listed(op: str, tensors: tuple[Any, ...]) -> list[Tensor]:
    """Tensors given one by one, or as one sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    return [operand(op, x) for x in tensors]


def _each(name: str, change: Callable[[Tensor], Tensor], tensors: tuple[Any, ...]) -> Any:
    changed = tuple([change(x) for x in _listed(name, tensors)])
    single = len(tensors) == 1 and not isinstance(tensors[0], (list, tuple))
    return changed[0] if single else changed


# ---- at least so many dimensions ----


def _row(x: Tensor) -> Tensor:
    return x if x.ndim else x.reshape((1,))


def _matrix(x: Tensor) -> Tensor:
    return x if x.ndim > 1 else _row(x).unsqueeze(0)


def _block(x: Tensor) -> Tensor:
    return x if x.ndim > 2 else _matrix(x).unsqueeze(-1)


def atleast_1d(*tensors: Any) -> Any:
    """0-d tensors as [1], others as they are; several, or a sequence, give a tuple."""
    return _each("atleast_1d", _row, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Vectors as [1, n] and 0-d tensors as [1, 1]; several, or a sequence, give a tuple.

    Example:
      >>> atleast_2d(tensor([1, 2])).shape
      Size([1, 2])
    """
    return _each("atleast_2d", _matrix, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Matrices as [m, n, 1], vectors as [1, n, 1]; several, or a sequence, give a tuple."""
    return _each("atleast_3d", _block, tensors)


# ---- stacking ----


def hstack(tensors: Any) -> Tensor:
    """The tensors side by side: joined along dim 1, vectors along dim 0.

    Example:
      >>> hstack((tensor([1, 2]), tensor([3])))
      tensor([1, 2, 3])
    """
    xs = [_row(x) for x in _listed("hstack", (list(tensors),))]
    return cat(xs, 0 if xs and xs[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Tensor:
    """The tensors on top of each other: joined along dim 0, vectors as rows.

    Example:
      >>> vstack((tensor([1, 2]), tensor([3, 4])))
      tensor([[1, 2],
              [3, 4]])
    """
    return cat([_matrix(x) for x in _listed("vstack", (list(tensors),))], 0)


row_stack = vstack


def dstack(tensors: Any) -> Tensor:
    """The tensors behind each other: joined along dim 2."""
    return cat([_block(x) for x in _listed("dstack", (list(tensors),))], 2)


def column_stack(tensors: Any) -> Tensor:
    """The tensors side by side, vectors as columns."""
    xs = _listed("column_stack", (list(tensors),))
    return cat([x if x.ndim > 1 else x.reshape((-1, 1)) for x in xs], 1)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices along the diagonal, zeros elsewhere; vectors count as rows.

    Example:
      >>> block_diag(tensor([[1, 2]]), tensor([3]))
      tensor([[1, 2, 0],
              [0, 0, 3]])
    """
    xs = [_matrix(x) for x in _listed("block_diag", tensors)]
    if not xs:
        return empty(1, 0)
    for x in xs:
        if x.ndim > 2:
            shape = list(x._shape)
            raise ShapeError(message("block_diag", "tensors of at most 2 dimensions", shape))
    width, before, rows = sum(x._shape[1] for x in xs), 0, []
    for x in xs:
        rows.append(pad(x, (before, width - before - x._shape[1])))
        before += x._shape[1]
    return cat(rows, 0)


# ---- splitting ----


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of nearly equal size, larger ones first, or the parts between indices; views.

    Example:
      >>> tensor_split(arange(5), 2)
      (tensor([0, 1, 2]), tensor([3, 4]))
    """
    d = wrap_dim("tensor_split", dim, input.ndim)
    if not input.ndim:
        raise ShapeError(message("tensor_split", "at least one dimension", "a 0-d tensor"))
    n = input._shape[d]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        if k <= 0:
            raise ValueError(message("tensor_split", "at least 1 section", k))
        bounds = [i * (n // k) + min(i, n % k) for i in range(k + 1)]
        return tuple([input.narrow(d, a, b - a) for a, b in itertools.pairwise(bounds)])
    cuts = [None, *indices_or_sections, None]
    lead = (slice(None),) * d
    return tuple([input[(*lead, slice(a, b))] for a, b in itertools.pairwise(cuts)])


def _split_along(op: str, x: Tensor, by: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise ShapeError(message(op, f"at least {least} dimensions", list(x._shape)))
    if isinstance(by, int) and (by <= 0 or x._shape[dim] % by):
        raise ValueError(message(op, f"a divisor of the size {x._shape[dim]}", by))
    return tensor_split(x, by, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split() along dim 1 (vectors: dim 0), into parts of equal size."""
    return _split_along("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split() along dim 0, into parts of equal size."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """tensor_split() along dim 2, into parts of equal size."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


# ---- repeating, turning ----


def repeat_interleave(
    x: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice along dim) repeated in place.

    Args:
      repeats: a number, or integers [n], one a place. Alone, it gives the places themselves.
      output_size: the sum of the repeats, where it is known: then vmap can map them.
    Example:
      >>> repeat_interleave(tensor([7, 8]), tensor([1, 3]))
      tensor([7, 8, 8, 8])
    """
    if repeats is None:
        return _repeated_places(x, output_size)
    if dim is None:
        x, dim = x.reshape((-1,)), 0
    d = wrap_dim("repeat_interleave", dim, x.ndim)
    if isinstance(repeats, Tensor) and repeats.numel() == 1 and repeats._v:
        repeats = repeats.item()
    if isinstance(repeats, int):
        if repeats < 0:
            raise ValueError(message("repeat_interleave", "repeats of at least 0", repeats))
        shape = x._shape
        wide = x.unsqueeze(d + 1).expand((*shape[: d + 1], repeats, *shape[d + 1 :]))
        return wide.reshape((*shape[:d], shape[d] * repeats, *shape[d + 1 :]))
    repeats = operand("repeat_interleave", repeats)
    if repeats.ndim and repeats._shape[0] == 1:
        repeats = repeats.expand((x._shape[d],))
    if repeats._shape != (x._shape[d],):
        wanted = f"repeats of shape [{x._shape[d]}]"
        raise ShapeError(message("repeat_interleave", wanted, list(repeats._shape)))
    return x.index_select(d, _repeated_places(repeats, output_size))


def _repeated_places(repeats: Tensor, output_size: int | None) -> Tensor:
    if repeats.ndim != 1 or repeats.dtype.is_inexact:
        got = f"{repeats.dtype} of shape {list(repeats._shape)}"
        raise DTypeError(message("repeat_interleave", "a vector of integers", got))
    ends = cumsum(repeats, 0)
    if output_size is None:
        try:
            output_size = int(ends[-1]) if ends.numel() else 0
        except TraceError:
            _refuse("repeat_interleave")
    return searchsorted(ends, arange(output_size, device=repeats.device), right=True)


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees, from the first of dims towards the second.

    Example:
      >>> rot90(tensor([[1, 2], [3, 4]]))
      tensor([[2, 4],
              [1, 3]])
    """
    a, b = (wrap_dim("rot90", d, x.ndim) for d in dims)
    if a == b:
        raise DimError(message("rot90", "two different dims", list(dims)))
    k %= 4
    if k == 2:
        return flip(x, (a, b))
    if k == 0:
        return x.clone()
    return flip(x, b).transpose(a, b) if k == 1 else flip(x, a).transpose(a, b)


# ---- grids ----


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: each vector along its own dim and repeated along the others.

    Args:
      indexing: "ij", or "xy" for the first two dims swapped, as in NumPy.
    Example:
      >>> meshgrid(tensor([1, 2]), tensor([3, 4, 5]))[0]
      tensor([[1, 1, 1],
              [2, 2, 2]])
    """
    xs = [_row(x) for x in _listed("meshgrid", tensors)]
    if indexing not in ("ij", "xy"):
        raise ValueError(message("meshgrid", 'indexing "ij" or "xy"', repr(indexing)))
    for x in xs:
        if x.ndim > 1:
            raise ShapeError(message("meshgrid", "vectors", list(x._shape)))
    swapped = indexing == "xy" and len(xs) > 1
    if swapped:
        xs[0], xs[1] = xs[1], xs[0]
    shape = [x._shape[0] for x in xs]
    grids = [
        x.reshape([-1 if k == d else 1 for k in range(len(xs))] if x.numel() else _alone(d, xs))
        .expand(shape)
        for d, x in enumerate(xs)
    ]  # fmt: skip
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def _alone(d: int, xs: Sequence[Tensor]) -> list[int]:
    return [xs[k]._shape[0] if k == d else 1 for k in range(len(xs))]


def cartesian_prod(*tensors: Any) -> Tensor:
    """All tuples of elements, one of each vector: [count, number of vectors].

    Example:
      >>> cartesian_prod(tensor([1, 2]), tensor([4, 5]))
      tensor([[1, 4],
              [1, 5],
              [2, 4],
              [2, 5]])
    """
    xs = _listed("cartesian_prod", tensors)
    if len(xs) == 1:
        return xs[0]
    return stack([g.reshape((g.numel(),)) for g in meshgrid(*xs)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of r elements of a vector, in order: [count, r]."""
    if input.ndim != 1:
        raise ShapeError(message("combinations", "a vector", list(input._shape)))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._shape[0]), r))
    if not rows or not r:
        return empty(0, r, dtype=input.dtype, device=input.device) if r else input[:0]
    return input[tensor(rows, device=input.device)]


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements as columns, decreasing unless `increasing`: [n, N]."""
    powers = arange(x._shape[-1] if N is None else N, device=x.device)
    return x.unsqueeze(-1) ** (powers if increasing else powers.flip(0))


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None
) -> Tensor:
    """The places of the lower triangle of a [row, col] matrix, in row-major order: [2, count]."""
    ends = [max(0, min(col, r + offset + 1)) for r in range(row)]
    return _places([range(end) for end in ends], col, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None
) -> Tensor:
    """The places of the upper triangle of a [row, col] matrix, in row-major order: [2, count].

    Example:
      >>> triu_indices(2, 2)
      tensor([[0, 0, 1],
              [0, 1, 1]])
    """
    starts = [max(0, min(col, r + offset)) for r in range(row)]
    return _places([range(start, col) for start in starts], col, dtype, device)


def _places(kept: Sequence[range], col: int, dtype: Any, device: Any) -> Tensor:
    """The places of a matrix whose rows keep some columns, in row-major order: [2, count]."""
    if active and state.trace is not None:  # a constant there; nonzero() is refused by compile
        rows = [r for r, columns in enumerate(kept) for _ in columns]
        columns = [c for columns in kept for c in columns]
        return tensor([rows, columns], dtype=dtype, device=device).reshape(2, len(rows))
    places = arange(col, device=device)
    starts, ends = ([getattr(r, end) for r in kept] for end in ("start", "stop"))
    inside = (places >= tensor(starts, dtype=int64, device=device).unsqueeze(1)) & (
        places < tensor(ends, dtype=int64, device=device).unsqueeze(1)
    )
    return nonzero(inside).t().to(dtype)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates of places in the flattened tensor of a shape, one tensor a dim."""
    out = []
    for n in reversed(sizes("unravel_index", (shape,))):
        out.append(indices % n)
        indices = indices // n
    return tuple(reversed(out))


def one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the place that each integer names, 0 elsewhere: [..., num_classes], int64.

    Args:
      num_classes: -1 for one more than the largest.
    Raises:
      DimError: an integer is outside [0, num_classes).
    Example:
      >>> one_hot(tensor([0, 2]))
      tensor([[1, 0, 0],
              [0, 0, 1]])
    """
    if x.dtype.is_inexact or x.dtype.name == "bool":
        raise DTypeError(message("one_hot", "integers", x.dtype, "Cast with .long()."))
    if num_classes == -1:
        if not x.numel():
            raise ValueError(message("one_hot", "num_classes for an empty tensor", num_classes))
        try:
            num_classes = int(x.amax()) + 1
        except TraceError:
            _refuse("one_hot")
    if x._v and x.numel() and not x.is_meta:
        low, high = int(x.amin()), int(x.amax())
        if low < 0 or high >= num_classes:
            wanted = f"integers in [0, {num_classes - 1}]"
            raise DimError(message("one_hot", wanted, low if low < 0 else high))
        if state.trace is None:
            n = x.numel()
            none = zeros((), dtype=int64, device=x.device)
            one = none + 1
            out = none.expand(n, num_classes).scatter(1, x.reshape((n, 1)), one.expand(n, 1))
            return out.reshape((*x._shape, num_classes))
    return (x.unsqueeze(-1) == arange(num_classes, device=x.device)).to(int64)


for _f in (hsplit, vsplit, dsplit, tensor_split, repeat_interleave, rot90):
    setattr(Tensor, _f.__name__, _f)
