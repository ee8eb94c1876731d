"""Diagonals: views of them, and matrices made of them."""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..mutation import VIEW_WRITES
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .creation import _ZERO, ones
from .ternary import where

__all__ = ["diag", "diag_embed", "diagonal"]

_ANY, _FAMILY = "bool int float complex", "view"
_diagonal = Op(
    "diagonal",
    lambda x, *, offset, a, b: lib.cb_diagonal(x._v, offset, a, b),
    vjp=lambda ct, _out, x_spec, *, offset, a, b: (
        _diagonal_embed(ct, shape=x_spec.shape, offset=offset, a=a, b=b),
    ),
    jvp=lambda tangents, _out, _x, *, offset, a, b: _diagonal(tangents[0], offset=offset, a=a, b=b),
    batch=lambda _size, _batched, x, *, offset, a, b: _diagonal(x, offset=offset, a=a + 1, b=b + 1),
    view=True,
    family=_FAMILY,
)
sampled(
    _diagonal,
    lambda make: [
        call(make(3, 4), offset=0, a=0, b=1),
        call(make(2, 3, 4), offset=1, a=0, b=2),
        call(make(4, 2, 3), offset=-2, a=0, b=1),
        call(make(3, 3), offset=3, a=1, b=0),
        call(make(0, 3), offset=0, a=0, b=1),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, offset, a, b: np.diagonal(x, offset, a, b),
)


def _embed_diagonal(x: Tensor, *, shape: tuple[int, ...], offset: int, a: int, b: int) -> Any:
    from cbackend import raise_error

    base = lib.cb_full(x._v.dtype, x._v.device, len(shape), shape, _ZERO)
    if not base:
        raise_error()
    target = lib.cb_diagonal(base, offset, a, b)
    status = lib.cb_copy_into(target, x._v, 0) if target else 1
    lib.cb_release(target)
    if status:
        lib.cb_release(base)
        raise_error()
    return base


_diagonal_embed = Op(
    "diagonal_embed",
    lambda x, **p: _embed_diagonal(x, **p),
    vjp=lambda ct, _out, _x, *, shape, offset, a, b: (_diagonal(ct, offset=offset, a=a, b=b),),
    jvp=lambda tangents, _out, _x, **p: _diagonal_embed(tangents[0], **p),
    batch=lambda size, _batched, x, *, shape, offset, a, b: _diagonal_embed(
        x, shape=(size, *shape), offset=offset, a=a + 1, b=b + 1
    ),
    family=_FAMILY,
)
sampled(
    _diagonal_embed,
    lambda make: [
        call(make(3), shape=(3, 4), offset=0, a=0, b=1),
        call(make(3, 2), shape=(2, 3, 4), offset=1, a=0, b=2),
        call(make(3, 2), shape=(4, 2, 3), offset=-2, a=0, b=1),
        call(make(0), shape=(0, 3), offset=0, a=0, b=1),
    ],
    kinds=_ANY,
)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal over two dimensions, as a last dimension; a view.

    Example:
      >>> diagonal(tensor([[1, 2], [3, 4]]))
      tensor([1, 4])
    """
    n = input.ndim
    return _diagonal(
        input, offset=offset, a=wrap_dim("diagonal", dim1, n), b=wrap_dim("diagonal", dim2, n)
    )


def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension as the diagonal over two dimensions of a new tensor of zeros."""
    n = x.ndim + 1
    a, b = wrap_dim("diag_embed", dim1, n), wrap_dim("diag_embed", dim2, n)
    length = x._shape[-1] + abs(offset)
    shape = list(x._shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, length)
    return _diagonal_embed(x, shape=tuple(shape), offset=offset, a=a, b=b)


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix."""
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    return _diagonal(x, offset=diagonal, a=0, b=1)


def _diagonal_write(base: Tensor, value: Tensor, *, offset: int, a: int, b: int) -> Tensor:
    mask = _diagonal_embed(
        ones(value._shape, dtype="bool", device=base.device),
        shape=base._shape,
        offset=offset,
        a=a,
        b=b,
    )
    return where(mask, _diagonal_embed(value, shape=base._shape, offset=offset, a=a, b=b), base)


VIEW_WRITES["diagonal"] = _diagonal_write
for _f in (diagonal, diag_embed, diag):
    setattr(Tensor, _f.__name__, _f)
