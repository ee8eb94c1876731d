"""View ops: no data move, memory is shared; reshape copies only where no view exists.

Params hold non-negative dims, so a batching rule is a shift by one. A view's transpose writes a
cotangent back.
"""

from __future__ import annotations

import math
from typing import Any

from cbackend import lib

from ..dtypes import as_dtype
from ..errors import ShapeError, message
from ..mutation import VIEW_WRITES
from ..op import Op, Spec, dispatch
from ..samples import call, sampled
from ..tensor import Size, Tensor, wrap, wrap_dim
from .creation import sizes
from .family import sum_to

__all__ = [
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "expand",
    "expand_as",
    "flatten",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "reshape_as",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
    "view",
    "view_as",
    "view_as_complex",
    "view_as_real",
]

_FAMILY = "view"


def _shift(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *[d + 1 for d in dims])


def _resolved(op: str, numel: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with its -1 replaced."""
    if -1 not in shape:
        return shape
    known = 1
    for s in shape:
        known *= s if s != -1 else 1
    if shape.count(-1) > 1 or known == 0 or numel % known:
        raise ShapeError(
            message(op, f"one -1 and sizes whose product divides {numel}", list(shape))
        )
    return tuple(numel // known if s == -1 else s for s in shape)


_ANY = "bool int float complex"

# ---- permute, transpose ----
_permute = Op(
    "permute",
    lambda x, *, dims: lib.cb_permute(x._v, len(dims), dims),
    vjp=lambda ct, _out, _x, *, dims: (_permute(ct, dims=_inverse(dims)),),
    jvp=lambda tangents, _out, _x, *, dims: _permute(tangents[0], dims=dims),
    batch=lambda _size, _batched, x, *, dims: _permute(x, dims=_shift(dims)),
    unpack=lambda dims: {"dims": dims},
    view=True,
    family=_FAMILY,
)
sampled(
    _permute,
    lambda make: [
        call(make(2, 3, 4), dims=(2, 0, 1)),
        call(make(), dims=()),
        call(make(0, 2), dims=(1, 0)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, dims: np.transpose(x, dims),
)
_transpose = Op(
    "transpose",
    lambda x, *, a, b: lib.cb_transpose(x._v, a, b),
    vjp=lambda ct, _out, _x, *, a, b: (_transpose(ct, a=a, b=b),),
    jvp=lambda tangents, _out, _x, *, a, b: _transpose(tangents[0], a=a, b=b),
    batch=lambda _size, _batched, x, *, a, b: _transpose(x, a=a + 1, b=b + 1),
    unpack=lambda dims: {"a": dims[0], "b": dims[1]},
    view=True,
    family=_FAMILY,
)
sampled(
    _transpose,
    lambda make: [
        call(make(2, 3, 4), a=0, b=2),
        call(make(3, 2), a=1, b=0),
        call(make(0, 2), a=0, b=1),
        call(make(2), a=0, b=0),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, a, b: np.swapaxes(x, a, b),
)


def _inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return tuple(inverse)


def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """The dimensions in another order, given as numbers or a tuple; a view.

    Raises:
      DimError: dims do not name every dimension once.
    Example:
      >>> permute(zeros(2, 3, 4), 2, 0, 1).shape
      Size([4, 2, 3])
    """
    if dims is not None:
        order = (dims,)
    view = input._try_permute(_permute, order)
    if view is not None:
        return view
    n = input.ndim
    return _permute(input, dims=tuple([wrap_dim("permute", d, n) for d in sizes("permute", order)]))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped; a view."""
    view = input._try_transpose(_transpose, dim0, dim1)
    if view is not None:
        return view
    n = input.ndim
    a, b = wrap_dim("transpose", dim0, n), wrap_dim("transpose", dim1, n)
    return _transpose(input, a=a, b=b) if n else _alias(input)


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and 0-d tensors as they are."""
    if input.ndim > 2:
        raise ShapeError(
            message("t", "at most 2 dimensions", f"{input.ndim}", "Use transpose() or permute().")
        )
    return _transpose(input, a=0, b=1) if input.ndim == 2 else _alias(input)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other positions, the rest in order; a view.

    Example:
      >>> movedim(zeros(2, 3, 4), 0, -1).shape
      Size([3, 4, 2])
    """
    n = input.ndim
    if n and type(source) is int and type(destination) is int:
        order = [*range(n)]
        order.insert(wrap_dim("movedim", destination, n), order.pop(wrap_dim("movedim", source, n)))
        return _permute(input, dims=tuple(order))
    sources = [
        wrap_dim("movedim", d, n) for d in ((source,) if isinstance(source, int) else source)
    ]
    targets = [
        wrap_dim("movedim", d, n)
        for d in ((destination,) if isinstance(destination, int) else destination)
    ]
    if (
        len(sources) != len(targets)
        or len(set(sources)) < len(sources)
        or len(set(targets)) < len(targets)
    ):
        raise ValueError(
            message(
                "movedim", "as many distinct sources as destinations", f"{source} and {destination}"
            )
        )
    order = [d for d in range(n) if d not in sources]
    for to, d in sorted(zip(targets, sources, strict=True)):
        order.insert(to, d)
    return _permute(input, dims=tuple(order))


moveaxis = movedim

# ---- reshape, view ----


def _reshape_write(base: Tensor, value: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    return _reshape(value, shape=base._shape)


_reshape = Op(
    "reshape",
    lambda x, *, shape: lib.cb_reshape(x._v, len(shape), shape),
    vjp=lambda ct, _out, x_spec, *, shape: (_reshape(ct, shape=x_spec.shape),),
    jvp=lambda tangents, _out, _x, *, shape: _reshape(tangents[0], shape=shape),
    batch=lambda size, _batched, x, *, shape: _reshape(x, shape=(size, *shape)),
    unpack=lambda shape: {"shape": shape},
    view=True,
    family=_FAMILY,
)
sampled(
    _reshape,
    lambda make: [
        call(make(3, 4), shape=(2, 6)),
        call(make(3, 4).transpose(0, 1), shape=(12,)),
        call(make(2, 2, 3), shape=(2, 6)),
        call(make(), shape=(1, 1)),
        call(make(0, 3), shape=(3, 0, 2)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, shape: np.reshape(x, shape),
)
_view = Op(
    "view",
    lambda x, *, shape: lib.cb_view(x._v, len(shape), shape),
    vjp=lambda ct, _out, x_spec, *, shape: (_reshape(ct, shape=x_spec.shape),),
    jvp=lambda tangents, _out, _x, *, shape: _reshape(tangents[0], shape=shape),
    batch=lambda size, _batched, x, *, shape: _reshape(x, shape=(size, *shape)),
    unpack=lambda shape: {"shape": shape},
    view=True,
    family=_FAMILY,
)
sampled(
    _view,
    lambda make: [
        call(make(3, 4), shape=(2, 6)),
        call(make(2, 6).transpose(0, 1), shape=(2, 3, 2)),
        call(make(), shape=(1,)),
        call(make(0, 3), shape=(3, 0)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, shape: np.reshape(x, shape),
    layout="a view exists for some layouts only",
)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where possible, else a copy.

    Raises:
      ShapeError: the product of the sizes differs from the number of elements.
    Example:
      >>> reshape(arange(6), 2, -1)
      tensor([[0, 1, 2],
              [3, 4, 5]])
    """
    view = input._try_reshape(_reshape, shape)
    if view is not None:
        return view
    shape = sizes("reshape", shape)
    return _reshape(
        input, shape=_resolved("reshape", input.numel(), shape) if -1 in shape else shape
    )


def view(x: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape, or (given a dtype) its bytes read as another dtype.

    Raises:
      ShapeError: no such view exists: use reshape.
    """
    view = x._try_view(_view, shape)
    if view is not None:
        return view
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)):
        return _view_dtype(x, as_dtype(shape[0]))
    shape = sizes("view", shape)
    return _view(x, shape=_resolved("view", x.numel(), shape) if -1 in shape else shape)


def _view_dtype(x: Tensor, dtype: Any) -> Tensor:
    return wrap(lib.cb_view_dtype(x._memory("view"), dtype.code))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim merged into one.

    Example:
      >>> flatten(zeros(2, 3, 4), 1).shape
      Size([2, 12])
    """
    if start_dim == 0 and end_dim == -1:
        return reshape(input, -1)
    shape = input._shape
    n = len(shape)
    a, b = wrap_dim("flatten", start_dim, n), wrap_dim("flatten", end_dim, n)
    if a > b:
        raise ValueError(
            message("flatten", "start_dim at most end_dim", f"{start_dim} and {end_dim}")
        )
    return reshape(input, *shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :])


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input, -1)


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension split into several; one size may be -1."""
    shape = input._shape
    d = wrap_dim("unflatten", dim, len(shape))
    return _reshape(
        input, shape=(*shape[:d], *_resolved("unflatten", shape[d], tuple(sizes)), *shape[d + 1 :])
    )


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """A view of the other's shape."""
    return view(x, other._shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """The elements in the other's shape."""
    return reshape(x, other._shape)


# ---- expand, squeeze ----
_expand = Op(
    "expand",
    lambda x, *, shape: lib.cb_expand(x._v, len(shape), shape),
    vjp=lambda ct, _out, x_spec, *, shape: (_unexpand(ct, x_spec),),
    jvp=lambda tangents, _out, _x, *, shape: _expand(tangents[0], shape=shape),
    batch=lambda size, _batched, x, *, shape: _expand(
        _with_ones(x, 1, len(shape) + 1), shape=(size, *shape)
    ),
    unpack=lambda shape: {"shape": shape},
    view=True,
    family=_FAMILY,
)
sampled(
    _expand,
    lambda make: [
        call(make(3, 1), shape=(3, 4)),
        call(make(4), shape=(2, 3, 4)),
        call(make(), shape=(2, 2)),
        call(make(1, 3), shape=(0, 3)),
        call(make(2, 1, 3), shape=(2, 2, 2, 3)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, shape: np.broadcast_to(x, shape),
)


def expanded(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """expand() to a full shape, for rules."""
    view = x._try_expand(_expand, shape)
    return dispatch(_expand, (x,), {"shape": shape}) if view is None else view


def _with_ones(x: Tensor, at: int, ndim: int) -> Tensor:
    """Size-1 dimensions inserted at position `at` until there are ndim."""
    shape = x._shape
    missing = ndim - len(shape)
    return _reshape(x, shape=(*shape[:at], *[1] * missing, *shape[at:])) if missing else x


def _unexpand(ct: Tensor, spec: Spec) -> Tensor:
    return sum_to(ct, spec)


def expand(x: Tensor, *size: Any) -> Tensor:
    """Size-1 dimensions repeated, and new ones added in front, without copying; -1 keeps a size.

    Raises:
      ShapeError: a dimension of another size than 1 would have to change.
    Example:
      >>> expand(tensor([[1], [2]]), 2, 3)
      tensor([[1, 1, 1],
              [2, 2, 2]])
    """
    view = x._try_expand(_expand, size)
    if view is not None:
        return view
    shape = sizes("expand", size)
    own = x._shape
    lead = len(shape) - len(own)
    if -1 in shape:
        shape = tuple([own[i - lead] if s == -1 and i >= lead else s for i, s in enumerate(shape)])
    return x if shape == own else _expand(x, shape=shape)


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """Expanded to the other's shape."""
    return expand(x, other._shape)


def broadcast_to(input: Tensor, shape: Any) -> Tensor:
    """Expanded to a shape."""
    return expand(input, shape)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that these broadcast to.

    Raises:
      ShapeError: they do not broadcast.
    """
    result: list[int] = []
    for shape in shapes:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        result = [1] * (len(shape) - len(result)) + result
        for i in range(1, len(shape) + 1):
            if shape[-i] != 1:
                if result[-i] not in (1, shape[-i]):
                    raise ShapeError(
                        message("broadcast_shapes", "shapes that broadcast", list(shapes))
                    )
                result[-i] = shape[-i]
    return Size(result)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape."""
    shape = broadcast_shapes(*[x._shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)


_unsqueeze = Op(
    "unsqueeze",
    lambda x, *, dim: lib.cb_unsqueeze(x._v, dim),
    vjp=lambda ct, _out, _x, *, dim: (_squeeze(ct, dims=(dim,)),),
    jvp=lambda tangents, _out, _x, *, dim: _unsqueeze(tangents[0], dim=dim),
    batch=lambda _size, _batched, x, *, dim: _unsqueeze(x, dim=dim + 1),
    unpack=lambda dim: {"dim": dim},
    view=True,
    family=_FAMILY,
)
sampled(
    _unsqueeze,
    lambda make: [
        call(make(2, 3), dim=1),
        call(make(2, 3), dim=2),
        call(make(), dim=0),
        call(make(0, 2), dim=0),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, dim: np.expand_dims(x, dim),
)
_squeeze = Op(
    "squeeze",
    lambda x, *, dims: lib.cb_squeeze(x._v, len(dims), dims),
    vjp=lambda ct, _out, x_spec, *, dims: (_reshape(ct, shape=x_spec.shape),),
    jvp=lambda tangents, _out, _x, *, dims: _squeeze(tangents[0], dims=dims),
    batch=lambda _size, _batched, x, *, dims: _squeeze(x, dims=tuple([d + 1 for d in dims])),
    unpack=lambda dims: {"dims": dims},
    view=True,
    family=_FAMILY,
)
sampled(
    _squeeze,
    lambda make: [
        call(make(2, 1, 3, 1), dims=(1, 3)),
        call(make(1, 2), dims=(0,)),
        call(make(2, 1), dims=()),
        call(make(0, 1), dims=(1,)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, *, dims: np.squeeze(x, dims),
)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size 1 at position dim."""
    view = input._try_unsqueeze(_unsqueeze, dim)
    if view is not None:
        return view
    return _unsqueeze(input, dim=wrap_dim("unsqueeze", dim, input.ndim + 1))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Dimensions of size 1 removed: all of them, or those named that have size 1."""
    view = input._try_squeeze(_squeeze, dim)
    if view is not None:
        return view
    shape = input._shape
    if dim is None:
        dims = tuple([d for d, s in enumerate(shape) if s == 1])
    else:
        named = [
            wrap_dim("squeeze", d, len(shape)) for d in ((dim,) if isinstance(dim, int) else dim)
        ]
        dims = tuple([d for d in named if d < len(shape) and shape[d] == 1])
    return _squeeze(input, dims=dims)


# ---- alias ----
_alias = Op(
    "alias",
    lambda x: lib.cb_alias(x._v),
    vjp=lambda ct, _out, _x: (ct,),
    jvp=lambda tangents, _out, _x: _alias(tangents[0]),
    batch=lambda _size, _batched, x: _alias(x),
    view=True,
    family=_FAMILY,
)
sampled(
    _alias,
    lambda make: [call(make(2, 3)), call(make()), call(make(0))],
    kinds=_ANY,
    oracle=lambda np, x: x,
)
# ---- complex views ----
_as_real = Op(
    "view_as_real",
    lambda x: lib.cb_view_as_real(x._v),
    vjp=lambda ct, _out, _x: (_as_complex(ct.contiguous()),),
    jvp=lambda tangents, _out, _x: _as_real(tangents[0]),
    batch=lambda _size, _batched, x: _as_real(x),
    view=True,
    family=_FAMILY,
)
sampled(
    _as_real,
    lambda make: [call(make(2, 3)), call(make()), call(make(0, 2))],
    kinds="complex",
    oracle=lambda np, x: np.stack([x.real, x.imag], -1),
)
_as_complex = Op(
    "view_as_complex",
    lambda x: lib.cb_view_as_complex(x._v),
    vjp=lambda ct, _out, _x: (_as_real(ct),),
    jvp=lambda tangents, _out, _x: _as_complex(tangents[0].contiguous()),
    batch=lambda _size, _batched, x: _as_complex(x.contiguous()),
    view=True,
    family=_FAMILY,
)
sampled(
    _as_complex,
    lambda make: [call(make(2, 3, 2)), call(make(2)), call(make(0, 2))],
    oracle=lambda np, x: x[..., 0] + 1j * x[..., 1],
    layout="the two parts must be neighbours",
)


def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor's memory as real numbers, with a last dimension of size 2."""
    return _as_real(input)


def view_as_complex(input: Tensor) -> Tensor:
    """Pairs along a last dimension of size 2, read as complex numbers."""
    return _as_complex(input)


# ---- writing through views: base and the value written to the view of it -> the new base ----
VIEW_WRITES.update(
    permute=lambda base, value, *, dims: _permute(value, dims=_inverse(dims)),
    transpose=lambda base, value, *, a, b: _transpose(value, a=a, b=b),
    reshape=_reshape_write,
    view=_reshape_write,
    unsqueeze=lambda base, value, *, dim: _squeeze(value, dims=(dim,)),
    squeeze=lambda base, value, *, dims: _reshape(value, shape=base._shape),
    alias=lambda base, value: _alias(value),
    view_as_real=lambda base, value: _as_complex(value.contiguous()),
    view_as_complex=lambda base, value: _as_real(value),
)


def _reversed(x: Tensor) -> Tensor:
    view = x._try_permute(_permute, None)
    return permute(x, tuple(range(x.ndim - 1, -1, -1))) if view is None else view


Tensor.T = property(_reversed, doc="All dimensions reversed.")  # type: ignore[attr-defined]
Tensor.mT = property(lambda x: transpose(x, -2, -1), doc="The last two dimensions swapped.")  # type: ignore[attr-defined]
Tensor.mH = property(  # type: ignore[attr-defined]
    lambda x: transpose(x, -2, -1).conj(), doc="The last two dimensions swapped and conjugated."
)
Tensor.H = Tensor.mH  # type: ignore[attr-defined]
for _f in (
    permute, transpose, t, movedim, reshape, view, flatten, ravel, unflatten, view_as, reshape_as,
    expand, expand_as, broadcast_to, unsqueeze, squeeze,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
Tensor.swapaxes = Tensor.swapdims = transpose  # type: ignore[attr-defined]
Tensor.moveaxis = movedim  # type: ignore[attr-defined]
