"""Joining and splitting, and the ops that move elements.

cat, stack, split, pad, flip, roll, repeat, tril, triu and the like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import lib, plain

from ..errors import DimError, ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import active, state
from .creation import _scalar, sizes, zeros_like
from .family import fronted, operand
from .index import selected, sliced

__all__ = [
    "cat", "chunk", "concat", "concatenate", "flip", "fliplr", "flipud", "narrow", "pad", "repeat",
    "roll", "select", "split", "split_with_sizes", "stack", "tile", "tril", "triu", "unbind",
]  # fmt: skip

_FAMILY = "join"
_ANY = "bool int float complex"


def _handles(xs: Sequence[Tensor]) -> Any:
    return [x._v for x in xs]


def _proper(xs: list[Tensor]) -> list[Tensor]:
    """Without those of logical shape [0], which go with any others."""
    return (
        [x for x in xs if x.ndim != 2 or x._shape[1]] or xs if any(x.ndim != 2 for x in xs) else xs
    )


def _cat_vjp(ct: Tensor, _out: Tensor, *_specs: Any, dim: int) -> list[Tensor]:
    pieces, at = [], 0
    for spec in _specs:
        n = spec.shape[dim] if spec.shape != (0,) or ct.ndim == 1 else 0
        piece = ct.narrow(dim, at, n)
        if spec.shape == (0,) and ct.ndim != 1:
            piece = piece.reshape((0,))
        pieces.append(piece if piece.dtype is spec.dtype else piece.to(spec.dtype))
        at += n
    return pieces


def _stack_tangents(op: Any) -> Any:
    def jvp(tangents: Sequence[Tensor | None], _out: Tensor, *xs: Tensor, dim: int) -> Tensor:
        return op()(
            *[zeros_like(x) if t is None else t for t, x in zip(tangents, xs, strict=True)], dim=dim
        )

    return jvp


_cat = Op(
    "cat",
    lambda *xs, dim: lib.cb_cat(len(xs), _handles(xs), dim),
    vjp=_cat_vjp,
    jvp=_stack_tangents(lambda: _cat),
    batch=lambda size, batched, *xs, dim: _cat(*_proper(fronted(size, batched, xs)), dim=dim + 1),
    family=_FAMILY,
)
sampled(
    _cat,
    lambda make: [
        call(make(2, 3), make(1, 3), dim=0),
        call(make(2, 3), make(2, 0), make(2, 1), dim=1),
        call(make(3), dim=0),
        call(make(0), make(2, 3), dim=1),
        call(make(2, 3), make(3, 2).transpose(0, 1), dim=1),
    ],
    kinds=_ANY,
    oracle=lambda np, *xs, dim: np.concatenate([x for x in xs if x.shape != (0,)], dim),
)
_stack = Op(
    "stack",
    lambda *xs, dim: lib.cb_stack(len(xs), _handles(xs), dim),
    vjp=lambda ct, _out, *_specs, dim: [
        g if g.dtype is s.dtype else g.to(s.dtype)
        for g, s in zip([ct.select(dim, i) for i in range(len(_specs))], _specs, strict=True)
    ],
    jvp=_stack_tangents(lambda: _stack),
    batch=lambda size, batched, *xs, dim: _stack(*fronted(size, batched, xs), dim=dim + 1),
    family=_FAMILY,
)
sampled(
    _stack,
    lambda make: [
        call(make(2, 3), make(2, 3), dim=1),
        call(make(), make(), make(), dim=0),
        call(make(2), dim=1),
        call(make(0, 2), make(0, 2), dim=2),
    ],
    kinds=_ANY,
    oracle=lambda np, *xs, dim: np.stack(xs, dim),
)


def _list(op: str, tensors: Any) -> list[Tensor]:
    xs = [x if x.__class__ is Tensor else operand(op, x) for x in tensors]
    if not xs:
        raise ValueError(message(op, "at least one tensor", "none"))
    return xs


def _joined(call: Any, tensors: Any, dim: Any) -> Tensor | None:
    """The result for plain tensors outside of traces; None where that takes the general way."""
    if type(dim) is not int or (active and state.trace is not None):
        return None
    handles = []
    for x in tensors if type(tensors) in (list, tuple) else ():
        if x.__class__ is not Tensor or x._m is not None:
            return None
        handles.append(x._v)
    h = call(len(handles), handles, dim) if handles else None
    return plain(h) if h else None


def cat(tensors: Any, dim: int = 0, **options: Any) -> Tensor:
    """The tensors one after the other along a dim; other sizes must agree.

    Raises:
      ShapeError: sizes differ. ValueError: no tensors.
    Example:
      >>> cat([tensor([1, 2]), tensor([3])])
      tensor([1, 2, 3])
    """
    joined = _joined(lib.cb_cat, tensors, options.get("axis", dim))
    if joined is not None:
        return joined
    xs = _list("cat", tensors)
    rank = max([x.ndim for x in xs])
    if rank == 0:
        raise ShapeError(
            message("cat", "tensors with at least one dimension", "0-d tensors", "Use stack.")
        )
    return _cat(*xs, dim=wrap_dim("cat", options.get("axis", dim), rank))


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0, **options: Any) -> Tensor:
    """The tensors, of one shape, along a new dim.

    Example:
      >>> stack([tensor([1, 2]), tensor([3, 4])])
      tensor([[1, 2],
              [3, 4]])
    """
    joined = _joined(lib.cb_stack, tensors, options.get("axis", dim))
    if joined is not None:
        return joined
    xs = _list("stack", tensors)
    return _stack(*xs, dim=wrap_dim("stack", options.get("axis", dim), xs[0].ndim + 1))


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of a size (the last one may be smaller), or of the given sizes, along a dim; views.

    Raises:
      ShapeError: the sizes do not add up.
    """
    d = wrap_dim("split", dim, tensor.ndim)
    n = tensor._shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0 and n:
            raise ValueError(message("split", "a size above 0", size))
        return tuple([sliced(tensor, d, at, at + size) for at in range(0, max(n, 1), max(size, 1))])
    lengths = list(split_size_or_sections)
    if sum(lengths) != n or min(lengths, default=0) < 0:
        raise ShapeError(message("split", f"sizes that add up to {n}", lengths))
    pieces, at = [], 0
    for length in lengths:
        pieces.append(sliced(tensor, d, at, at + length))
        at += length
    return tuple(pieces)


split_with_sizes = split


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size (the last one may be smaller) along a dim; views.

    A dim of size 0 gives `chunks` pieces.
    """
    d = wrap_dim("chunk", dim, input.ndim)
    if chunks <= 0:
        raise ValueError(message("chunk", "at least 1 chunk", chunks))
    n = input._shape[d]
    return split(input, -(-n // chunks) if n else [0] * chunks, d)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dim, without it; views.

    Raises:
      ShapeError: a tensor without dimensions.
    """
    d = wrap_dim("unbind", dim, input.ndim)
    if not input.ndim:
        raise ShapeError(message("unbind", "at least one dimension", "a 0-d tensor"))
    return tuple([selected(input, d, i) for i in range(input._shape[d])])


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` places of a dim from `start` on; a view.

    Raises:
      DimError: they are not all inside.
    """
    shape = input._shape
    d = wrap_dim("narrow", dim, len(shape))
    n = shape[d]
    start = start + n if start < 0 else start
    if not (0 <= start and length >= 0 and start + length <= n):
        raise DimError(
            message(
                "narrow",
                f"start and length inside a dimension of size {n}",
                f"start {start} and length {length}",
            )
        )
    return sliced(input, d, start, start + length)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at a place of a dim, without it; a view."""
    return selected(input, wrap_dim("select", dim, input.ndim), index)


# ---- movers: linear ops with a C kernel ----
_flip = Op(
    "flip",
    lambda x, *, dims: lib.cb_flip(x._v, len(dims), dims),
    vjp=lambda ct, _out, _x, *, dims: (_flip(ct, dims=dims),),
    jvp=lambda tangents, _out, _x, *, dims: _flip(tangents[0], dims=dims),
    batch=lambda _size, _batched, x, *, dims: _flip(x, dims=tuple([d + 1 for d in dims])),
    family=_FAMILY,
)
sampled(
    _flip,
    lambda make: [
        call(make(3, 4), dims=(0,)),
        call(make(2, 3, 4), dims=(0, 2)),
        call(make(), dims=()),
        call(make(0, 2), dims=(0,)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, dims: np.flip(x, dims),
)
_roll = Op(
    "roll",
    lambda x, *, shifts, dims: lib.cb_roll(x._v, len(dims), shifts, dims),
    vjp=lambda ct, _out, _x, *, shifts, dims: (
        _roll(ct, shifts=tuple([-s for s in shifts]), dims=dims),
    ),
    jvp=lambda tangents, _out, _x, **p: _roll(tangents[0], **p),
    batch=lambda _size, _batched, x, *, shifts, dims: _roll(
        x, shifts=shifts, dims=tuple([d + 1 for d in dims])
    ),
    family=_FAMILY,
)
sampled(
    _roll,
    lambda make: [
        call(make(5), shifts=(2,), dims=(0,)),
        call(make(3, 4), shifts=(-1, 6), dims=(0, 1)),
        call(make(3, 4), shifts=(1, 1), dims=(1, 1)),
        call(make(0, 2), shifts=(1,), dims=(0,)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, shifts, dims: np.roll(x, shifts, dims),
)
_repeat = Op(
    "repeat",
    lambda x, *, reps: lib.cb_repeat(x._v, len(reps), reps),
    vjp=lambda ct, _out, x_spec, *, reps: (_unrepeat(ct, x_spec.shape, reps),),
    jvp=lambda tangents, _out, _x, *, reps: _repeat(tangents[0], reps=reps),
    batch=lambda _size, _batched, x, *, reps: _repeat(
        x.reshape((x._shape[0], *[1] * (len(reps) + 1 - x.ndim), *x._shape[1:])), reps=(1, *reps)
    ),
    family=_FAMILY,
)
sampled(
    _repeat,
    lambda make: [
        call(make(2, 3), reps=(2, 2)),
        call(make(3), reps=(2, 1, 3)),
        call(make(), reps=(2,)),
        call(make(2), reps=(0,)),
        call(make(), reps=()),
        call(make(0, 2), reps=(2, 2)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, reps: np.tile(x, reps),
)
_tri = Op(
    "tri",
    lambda x, *, diagonal, upper: lib.cb_tri(x._v, diagonal, upper),
    vjp=lambda ct, _out, _x, **p: (_tri(ct, **p),),
    jvp=lambda tangents, _out, _x, **p: _tri(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _tri(x, **p),
    family=_FAMILY,
)
sampled(
    _tri,
    lambda make: [
        call(make(3, 4), diagonal=0, upper=False),
        call(make(2, 3, 3), diagonal=-1, upper=False),
        call(make(4, 3), diagonal=1, upper=True),
        call(make(2, 0), diagonal=0, upper=True),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, diagonal, upper: (np.triu if upper else np.tril)(x, diagonal),
)
_pad = Op(
    "constant_pad",
    lambda x, *, pad, value: lib.cb_pad(x._v, len(pad), pad, _scalar(value)),
    vjp=lambda ct, _out, _x, *, pad, value: (_pad(ct, pad=tuple([-p for p in pad]), value=0),),
    jvp=lambda tangents, _out, _x, *, pad, value: _pad(tangents[0], pad=pad, value=0),
    batch=lambda _size, _batched, x, *, pad, value: _pad(x, pad=pad, value=value),
    family=_FAMILY,
)
sampled(
    _pad,
    lambda make: [
        call(make(3), pad=(1, 2), value=0),
        call(make(2, 3), pad=(1, 0, 0, 2), value=1),
        call(make(2, 4), pad=(-1, 2), value=0),
        call(make(2, 4), pad=(-1, -2, 1, -1), value=0),
        call(make(0, 2), pad=(1, 1), value=0),
    ],
    kinds=_ANY,
)

_EDGE_MODES = ("reflect", "replicate", "circular")
_pad_edges = Op(
    "edge_pad",
    lambda x, *, pad, mode: lib.cb_pad_edges(x._v, len(pad), pad, _EDGE_MODES.index(mode)),
    vjp=lambda ct, _out, _x, **p: (_pad_edges_grad(ct, **p),),
    jvp=lambda tangents, _out, _x, **p: _pad_edges(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _pad_edges(x, **p),
    family=_FAMILY,
)
_pad_edges_grad = Op(
    "edge_pad_grad",
    lambda ct, *, pad, mode: lib.cb_pad_edges_grad(ct._v, len(pad), pad, _EDGE_MODES.index(mode)),
    vjp=lambda ct, _out, _x, **p: (_pad_edges(ct, **p),),
    jvp=lambda tangents, _out, _x, **p: _pad_edges_grad(tangents[0], **p),
    batch=lambda _size, _batched, x, **p: _pad_edges_grad(x, **p),
    family=_FAMILY,
)
_EDGES: list[tuple[tuple[int, ...], tuple[int, ...], str]] = [
    ((4,), (2, 3), "reflect"),
    ((2, 3, 4), (1, 0, 2, 1), "reflect"),
    ((2, 3), (4, 5, 0, 2), "replicate"),
    ((3, 2, 2), (0, 0, 1, 1), "replicate"),
    ((2, 4), (5, -1), "circular"),
    ((3, 2), (-1, 0, 2, 4), "circular"),
    ((0, 2), (1, 1), "reflect"),
]


def _edge_oracle(np: Any, x: Any, *, pad: tuple[int, ...], mode: str) -> Any:
    modes: Any = dict(zip(_EDGE_MODES, ("reflect", "edge", "wrap"), strict=True))
    for k in range(len(pad) // 2):
        d, (before, after) = x.ndim - 1 - k, pad[2 * k : 2 * k + 2]
        widths = [(0, 0)] * x.ndim
        widths[d] = max(before, 0), max(after, 0)
        n = x.shape[d]
        x = np.pad(x, widths, mode=modes[mode])
        x = x.take(range(max(-before, 0), x.shape[d] + min(after, 0)), d) if n else x
    return x


sampled(
    _pad_edges,
    lambda make: [call(make(*shape), pad=pad, mode=mode) for shape, pad, mode in _EDGES],
    kinds=_ANY,
    oracle=_edge_oracle,
)
sampled(
    _pad_edges_grad,
    lambda make: [
        call(make(*_pad_edges(make(*shape), pad=pad, mode=mode)._shape), pad=pad, mode=mode)
        for shape, pad, mode in _EDGES
    ],
    kinds="float complex",
)


def _unrepeat(ct: Tensor, shape: tuple[int, ...], reps: tuple[int, ...]) -> Tensor:
    """Sums the copies that repeat() made."""
    full = (1,) * (len(reps) - len(shape)) + shape
    split_shape = tuple([part for r, s in zip(reps, full, strict=True) for part in (r, s)])
    return ct.reshape(split_shape).sum(tuple(range(0, 2 * len(reps), 2))).reshape(shape)


def flip(x: Tensor, *along: Any, dims: Any = ()) -> Tensor:
    """The elements in reverse order along dims, given as numbers or a tuple; a copy."""
    dims = sizes("flip", along or (dims,))
    return _flip(x, dims=tuple([wrap_dim("flip", d, x.ndim) for d in dims]))


def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    return flip(input, 0)


def roll(x: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements shifted around along dims; without dims, in the flattened tensor.

    Example:
      >>> roll(tensor([1, 2, 3]), 1)
      tensor([3, 1, 2])
    """
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None:
        return _roll(x.reshape((-1,)), shifts=shifts, dims=(0,)).reshape(x._shape)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(dims) != len(shifts):
        raise ValueError(message("roll", "as many shifts as dims", f"{shifts} and {dims}"))
    return _roll(x, shifts=shifts, dims=tuple([wrap_dim("roll", d, x.ndim) for d in dims]))


def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """The tensor repeated along each dimension, and new ones in front.

    Example:
      >>> repeat(tensor([1, 2]), 2, 2)
      tensor([[1, 2, 1, 2],
              [1, 2, 1, 2]])
    """
    reps = sizes("repeat", repeats)
    if len(reps) < x.ndim:
        raise ShapeError(message("repeat", f"at least {x.ndim} repeats", list(reps)))
    return _repeat(x, reps=reps)


def tile(input: Tensor, *dims: Any) -> Tensor:
    """repeat() that counts from the last dimension."""
    reps = sizes("tile", dims)
    return _repeat(input, reps=(1,) * (input.ndim - len(reps)) + reps)


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dimensions, zeros elsewhere."""
    return _tri(x, diagonal=diagonal, upper=False)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dimensions, zeros elsewhere."""
    return _tri(x, diagonal=diagonal, upper=True)


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Padding by pairs (before, after) from the last dimension on; negative amounts crop.

    Args:
      mode: "constant" (with value, 0 by default), "reflect", "replicate" or "circular".
    Example:
      >>> pad(tensor([1, 2]), (1, 0))
      tensor([0, 1, 2])
    """
    x = input
    amounts = sizes("pad", (tuple(pad),))
    if len(amounts) % 2 or len(amounts) > 2 * x.ndim:
        raise ShapeError(message("pad", f"pairs for at most {x.ndim} dimensions", list(amounts)))
    if mode == "constant":
        return _pad(x, pad=amounts, value=0 if value is None else value)
    if mode not in _EDGE_MODES:
        wanted = 'mode "constant", "reflect", "replicate" or "circular"'
        raise ValueError(message("pad", wanted, repr(mode)))
    return _pad_edges(x, pad=amounts, mode=mode)


for _f in (
    split,
    chunk,
    unbind,
    narrow,
    select,
    flip,
    fliplr,
    flipud,
    roll,
    repeat,
    tile,
    tril,
    triu,
):
    setattr(Tensor, _f.__name__, _f)
Tensor.split_with_sizes = split  # type: ignore[attr-defined]
