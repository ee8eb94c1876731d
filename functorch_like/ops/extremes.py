"""Extremes with their places: argmax, max and min of a dim, and what their gradients share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cbackend import ffi, lib

from ..op import NONDIFF, Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .binary import maximum, minimum
from .creation import zeros
from .reduce import _amax, _amin, _code, _reduced, amax, amin

__all__ = [
    "aminmax", "argmax", "argmin", "max", "min",
]  # fmt: skip


_FLAT = -(1 << 63)


def _arg_reduction(name: str) -> Op:
    code = _code(name, b"argreduce")

    def batch(_size: int, _batched: Any, x: Tensor, *, dim: int, keepdim: bool) -> Tensor:
        if x.ndim == 1:  # a 0-d tensor a lane
            return zeros(x._shape, dtype="int64", device=x.device)
        if dim == _FLAT:
            flat = op(x.reshape((x._shape[0], -1)), dim=1, keepdim=False)
            return flat.reshape((x._shape[0], *[1] * (x.ndim - 1))) if keepdim else flat
        return op(x, dim=dim + 1, keepdim=keepdim)

    op = Op(
        name,
        lambda x, *, dim, keepdim: lib.cb_argreduce(code, x._v, dim, keepdim),
        vjp=NONDIFF("integer result"),
        batch=batch,
        family="reduce",
    )
    return op


_argmax, _argmin = _arg_reduction("argmax"), _arg_reduction("argmin")


def _places(make: Any) -> list[Any]:
    return [
        call(make(3, 4), dim=1, keepdim=False),
        call(make(2, 3, 4), dim=0, keepdim=True),
        call(make(), dim=0, keepdim=False),
        call(make(0, 3), dim=1, keepdim=True),
    ]


def _places_or_flat(make: Any) -> list[Any]:
    return [
        *_places(make),
        call(make(3, 4), dim=_FLAT, keepdim=False),
        call(make(2, 3), dim=_FLAT, keepdim=True),
        call(make(), dim=_FLAT, keepdim=False),
    ]


def _place_oracle(name: str) -> Any:
    return lambda np, x, *, dim, keepdim: getattr(np, name)(
        x, axis=None if dim == _FLAT or not x.ndim else dim, keepdims=keepdim
    )


sampled(_argmax, _places_or_flat, kinds="int float", oracle=_place_oracle("argmax"))
sampled(_argmin, _places_or_flat, kinds="int float", oracle=_place_oracle("argmin"))


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False, **options: Any) -> Tensor:
    """The place of the largest element along dim, or in the flattened tensor; on ties the first.

    Example:
      >>> argmax(tensor([[1, 5], [7, 2]]), dim=1)
      tensor([1, 0])
    """
    dim, keepdim = options.get("axis", dim), options.get("keepdims", keepdim)
    return _argmax(
        x, dim=_FLAT if dim is None else wrap_dim("argmax", dim, x.ndim), keepdim=keepdim
    )


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False, **options: Any) -> Tensor:
    """The place of the smallest element along dim, or in the flattened tensor. See argmax()."""
    dim, keepdim = options.get("axis", dim), options.get("keepdims", keepdim)
    return _argmin(
        x, dim=_FLAT if dim is None else wrap_dim("argmin", dim, x.ndim), keepdim=keepdim
    )


def _two(function: Callable[..., int], *args: Any) -> tuple[Any, ...]:
    """The two handles that a C function gives."""
    out = ffi.new("cb_tensor *[2]")
    return () if function(*args, out) else tuple(out)


def _picked(x: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The elements of x at the places found along dim."""
    if x.ndim == 0:
        return x
    at = indices if keepdim else indices.unsqueeze(dim)
    y = x.gather(dim, at)
    return y if keepdim else y.squeeze(dim)


def _indexed_vjp(ct: Any, out: Any, x_spec: Spec, *, dim: int, keepdim: bool) -> tuple[Tensor]:
    g, indices = ct[0], out[1]
    if not x_spec.shape:
        return (g,)
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)

    return (zeros(x_spec.shape, dtype=g.dtype, device=g.device).scatter(dim, indices, g),)


def _with_index(name: str, arg: str) -> Op:
    code = _code(arg, b"argreduce")
    call = lib.cb_reduce_with_index
    op = Op(
        name,
        lambda x, *, dim, keepdim: _two(call, code, x._v, dim, keepdim),
        vjp=_indexed_vjp,
        jvp=lambda tangents, out, _x, *, dim, keepdim: (
            _picked(tangents[0], out[1], dim, keepdim),
            None,
        ),
        batch=lambda _size, _batched, x, *, dim, keepdim: _batched_with_index(op, x, dim, keepdim),
        nouts=2,
        family="reduce",
    )
    return op


def _batched_with_index(op: Op, x: Tensor, dim: int, keepdim: bool) -> Any:
    if x.ndim == 1:  # a 0-d tensor a lane
        return x, zeros(x._shape, dtype="int64", device=x.device)
    return op(x, dim=dim + 1, keepdim=keepdim)


_max_dim, _min_dim = _with_index("max_dim", "argmax"), _with_index("min_dim", "argmin")
sampled(
    _max_dim,
    _places,
    kinds="bool int float",
    oracle=lambda np, x, **p: (
        _place_oracle("max")(np, x, **p),
        _place_oracle("argmax")(np, x, **p),
    ),
)
sampled(
    _min_dim,
    _places,
    kinds="bool int float",
    oracle=lambda np, x, **p: (
        _place_oracle("min")(np, x, **p),
        _place_oracle("argmin")(np, x, **p),
    ),
)


class _Pair(tuple):
    """Values and indices, by position and by name."""

    __slots__ = ()
    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])

    def __repr__(self) -> str:
        return f"(values={self[0]!r}, indices={self[1]!r})"


def pair(values: Tensor, indices: Tensor) -> Any:
    """The result of reductions that also tell the place."""
    return _Pair((values, indices))


def max(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """The largest element.

    With dim, (values, indices) along it; with another tensor, the elementwise maximum.

    Example:
      >>> max(tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).values
      tensor([5., 7.])
    """
    if isinstance(dim, Tensor):
        return maximum(x, dim)
    dim, keepdim = options.get("axis", dim), options.get("keepdims", keepdim)
    if dim is None:
        return _reduced(_amax, x, None, keepdim)
    return pair(*_max_dim(x, dim=wrap_dim("max", dim, x.ndim), keepdim=keepdim))


def min(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """The smallest element.

    With dim, (values, indices) along it; with another tensor, the elementwise minimum.
    """
    if isinstance(dim, Tensor):
        return minimum(x, dim)
    dim, keepdim = options.get("axis", dim), options.get("keepdims", keepdim)
    if dim is None:
        return _reduced(_amin, x, None, keepdim)
    return pair(*_min_dim(x, dim=wrap_dim("min", dim, x.ndim), keepdim=keepdim))


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest and the largest element."""
    return amin(x, dim, keepdim), amax(x, dim, keepdim)


for _f in (argmax, argmin, max, min, aminmax):
    setattr(Tensor, _f.__name__, _f)
