"""Reductions: sum, mean, prod, amax, all, any, norm and the like.

Params hold non-negative, sorted dims; an empty tuple of dims means none. `dim` may be an int, a
tuple or None (all); `axis` and `keepdims` are accepted for it and `keepdim`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cbackend import ffi, lib, plain

from ..amp import entered, widened
from ..dtypes import as_dtype
from ..errors import DTypeError, message
from ..op import NONDIFF, Op, dispatch, wrap
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import active, state
from .ternary import where
from .views import _reshape, expanded

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "logsumexp",
    "mean",
    "norm",
    "prod",
    "sum",
]


def _code(name: str, family: bytes = b"reduce") -> int:
    code = lib.cb_op_code(family, name.encode())
    if code < 0:
        raise ImportError(f"op {name}: expected a {family.decode()} kernel of that name, got none.")
    return code


def _dims(op: str, x: Tensor, dim: Any) -> tuple[int, ...]:
    """All reduced dims, non-negative and sorted."""
    n = x.ndim
    if dim is None or (type(dim) is not int and len(dim) == 0):
        return tuple(range(n))
    if type(dim) is int:
        return (wrap_dim(op, dim, n),) if n else (wrap_dim(op, dim, n),)[:0]
    dims = tuple(sorted([wrap_dim(op, d, n) for d in dim]))  # pyright: ignore[reportGeneralTypeIssues]
    if len(set(dims)) < len(dims):
        raise ValueError(message(op, "each dim once", dim))
    return dims if n else ()


def _kept_shape(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([1 if d in dims else s for d, s in enumerate(shape)])


def _spread(y: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced tensor expanded back over the reduced dims."""
    if not keepdim and len(dims) < len(shape):  # a full reduction's 0-d result expands as it is
        y = _reshape(y, shape=_kept_shape(shape, dims))
    return expanded(y, shape)


def _kept(y: Tensor, x: Any, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced tensor with its reduced dims as size 1: it broadcasts against x."""
    return y if keepdim else _reshape(y, shape=_kept_shape(x.shape, dims))


def _size(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= shape[d]
    return n


def _up(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([d + 1 for d in dims])


def _reduction(name: str, *, vjp: Any, jvp: Any = None) -> Op:
    code = _code(name)
    call = lib.cb_reduce
    op = Op(
        name,
        lambda x, *, dims, keepdim: call(code, x._v, len(dims), dims, keepdim, -1),
        vjp=vjp,
        jvp=jvp,
        batch=lambda _size, _batched, x, *, dims, keepdim: op(x, dims=_up(dims), keepdim=keepdim),
        family="reduce",
    )
    _CODES[op] = code
    return op


_CODES: dict[Op, int] = {}
_ALL = [tuple(range(n)) for n in range(65)]  # all dims, by rank
_call, _NULL = lib.cb_reduce, ffi.NULL


def _reduced(
    op: Op,
    x: Tensor,
    dim: Any = None,
    keepdim: Any = False,
    dtype: Any = None,
    options: dict[str, Any] | None = None,
) -> Tensor:
    """A reduction as users ask for it; of a plain tensor over one dim or all in one call."""
    if dtype is None and not options:
        keepdim = True if keepdim else False
        plainly = x._m is None and (not active or state.trace is None)
        if dim is None:
            if plainly:
                return wrap(_call(_CODES[op], x._v, -1, _NULL, keepdim, -1))
            return dispatch(op, (x,), {"dims": _ALL[x.ndim], "keepdim": keepdim})
        if plainly and dim.__class__ is int:
            h = _call(_CODES[op], x._v, 1, (dim,), keepdim, -1)
            if h:
                return plain(h)
    x, dims, keepdim = _public(op.name, x, dim, keepdim, dtype, options or {})
    return op(x, dims=dims, keepdim=keepdim)


def _linear_jvp(get: Callable[[], Op]) -> Callable[..., Tensor]:
    return lambda tangents, _out, _x, **params: get()(tangents[0], **params)


def _public(
    op_name: str, x: Tensor, dim: Any, keepdim: bool, dtype: Any, options: dict[str, Any]
) -> tuple[Tensor, tuple[int, ...], bool]:
    if type(dim) is int and dtype is None and not options and -(n := x.ndim) <= dim < n:
        return x, (dim if dim >= 0 else dim + n,), bool(keepdim)  # the usual case
    if options:
        dim, keepdim = options.pop("axis", dim), options.pop("keepdims", keepdim)
        if options.get("out", 0) is None:  # numpy.sum(tensor) says so
            del options["out"]
        if options:
            raise TypeError(message(op_name, "dim, keepdim and dtype", ", ".join(options)))
    if dtype is not None and (d := as_dtype(dtype)) is not x.dtype:
        x = x.to(d)
    return x, _dims(op_name, x, dim), bool(keepdim)


def _holed(make: Any, *shape: int) -> Tensor:
    """A sample with zeros in it."""
    return make(*shape).masked_fill(make.mask(*shape), 0)


def _samples(make: Any) -> list[Any]:
    """What every reduction with an identity is tested on."""
    return [
        *_nonempty(make),
        call(_holed(make, 4, 3), dims=(1,), keepdim=True),
        call(make(0, 3), dims=(0,), keepdim=False),
        call(make(2, 0, 3), dims=(0, 1), keepdim=True),
    ]


def _nonempty(make: Any) -> list[Any]:
    return [
        call(make(3, 4), dims=(0,), keepdim=False),
        call(make(2, 3, 4), dims=(0, 2), keepdim=True),
        call(make(2, 3), dims=(0, 1), keepdim=False),
        call(make(), dims=(), keepdim=False),
        call(make(0, 3), dims=(1,), keepdim=False),
    ]


# ---- sum, mean ----
_sum = _reduction(
    "sum",
    vjp=lambda ct, _out, x_spec, *, dims, keepdim: (_spread(ct, x_spec.shape, dims, keepdim),),
    jvp=_linear_jvp(lambda: _sum),
)


def _pull_sum(node: Any, ct: Tensor) -> tuple[Tensor]:
    (x,), params = node.args, node.params
    return (_spread(ct, x.shape, params["dims"], params["keepdim"]),)


_sum.pull = _pull_sum  # what its vjp does, without passing params on as keywords
sampled(
    _sum,
    _samples,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dims, keepdim: np.sum(x, axis=dims, keepdims=keepdim),
)
_mean = _reduction(
    "mean",
    vjp=lambda ct, _out, x_spec, *, dims, keepdim: (
        _spread(ct / (_size(x_spec.shape, dims) or 1), x_spec.shape, dims, keepdim),
    ),
    jvp=_linear_jvp(lambda: _mean),
)
sampled(
    _mean,
    _nonempty,
    kinds="float complex",
    oracle=lambda np, x, *, dims, keepdim: np.mean(x, axis=dims, keepdims=keepdim),
)


def sum(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any
) -> Tensor:
    """The sum over dims; integers and bools are summed in int64.

    Args:
      x [...]: any dtype.
      dim: a dim, several, or None for all.
      keepdim: keep reduced dims with size 1.
    Notes: floats are summed pairwise; the result does not depend on the number of threads.
    Example:
      >>> sum(tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
      tensor([4., 6.])
    """
    return _reduced(_sum, x, dim, keepdim, dtype, options)


def mean(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any
) -> Tensor:
    """The mean over dims, of floating or complex tensors.

    Raises:
      DTypeError: integers: cast, or pass dtype.
    Example:
      >>> mean(tensor([1.0, 2.0, 6.0]))
      tensor(3.)
    """
    return _reduced(_mean, x, dim, keepdim, dtype, options)


# ---- prod ----
_prod = _reduction(
    "prod",
    vjp=lambda ct, _out, x, *, dims, keepdim: (
        _spread(ct, x._shape, dims, keepdim) * _product_of_others(x, dims).conj(),
    ),
    jvp=lambda tangents, _out, x, *, dims, keepdim: _sum(
        tangents[0] * _product_of_others(x, dims), dims=dims, keepdim=keepdim
    ),
)
sampled(
    _prod,
    _samples,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dims, keepdim: np.prod(x, axis=dims, keepdims=keepdim),
)


_LONG, _FEW_ROWS, _COLUMNS = 2048, 8, 256


def _product_of_others(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """For each element the product of all others along dims, exact also where some are zero."""
    from .creation import ones
    from .join import _pad
    from .scan import _recurrence, _shifted, cumprod

    shape = x._shape
    if 0 in shape:
        return x
    if len(dims) != 1:  # as one dim, the last
        kept = [d for d in range(len(shape)) if d not in dims]
        order = (*kept, *dims)
        flat = x.permute(order).reshape((*[shape[d] for d in kept], -1))
        others = _product_of_others(flat, (len(kept),)).reshape([shape[d] for d in order])
        return others.permute([order.index(d) for d in range(len(shape))])
    (dim,) = dims
    n = shape[dim]
    if dim == len(shape) - 1 and n >= _LONG and x.numel() < _FEW_ROWS * n:
        # as columns, which advance together: products of others within one times those of others
        height = -(-n // _COLUMNS)
        wide = _pad(x, pad=(0, height * _COLUMNS - n), value=1)
        wide = wide.reshape((*shape[:dim], height, _COLUMNS))
        columns = _product_of_others(_prod(wide, dims=(dim,), keepdim=False), (dim,))
        others = _product_of_others(wide, (dim,)) * columns.unsqueeze(dim)
        return others.reshape((*shape[:dim], height * _COLUMNS)).narrow(dim, 0, n)
    before = _shifted(cumprod(x, dim), dim, -1, 1)
    edge = [1 if d == dim else n for d, n in enumerate(shape)]
    amounts = [0] * (2 * (len(shape) - dim))
    amounts[-2] = shape[dim] - 1
    end = _pad(ones(*edge, dtype=x.dtype, device=x.device), pad=tuple(amounts), value=0)
    return before * _recurrence(x, end, dim=dim, transposed=True)


def prod(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any
) -> Tensor:
    """The product over dims; integers and bools are multiplied in int64."""
    if entered:
        (x,) = widened(x)
    return _reduced(_prod, x, dim, keepdim, dtype, options)


# ---- amax, amin, all, any, count ----


def _extreme_vjp(
    ct: Tensor, out: Tensor, x: Tensor, *, dims: tuple[int, ...], keepdim: bool
) -> tuple[Tensor]:
    mask, share = _ties(out, x, dims, keepdim)
    return (where(mask, _kept(ct, x, dims, keepdim) / share, 0),)


def _extreme_jvp(
    tangents: Any, out: Tensor, x: Tensor, *, dims: tuple[int, ...], keepdim: bool
) -> Tensor:
    mask, share = _ties(out, x, dims, keepdim)
    return _sum(where(mask, tangents[0] / share, 0), dims=dims, keepdim=keepdim)


def _ties(out: Tensor, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> tuple[Tensor, Tensor]:
    """Where x attains the extreme, and how many elements do."""
    extreme = _kept(out, x, dims, keepdim)
    mask = (x == extreme) | ((x != x) & (extreme != extreme))
    return mask, _sum(mask, dims=dims, keepdim=True).to(x.dtype)


_amax = _reduction("amax", vjp=_extreme_vjp, jvp=_extreme_jvp)
sampled(
    _amax,
    _nonempty,
    kinds="bool int float",
    oracle=lambda np, x, *, dims, keepdim: np.amax(x, axis=dims, keepdims=keepdim),
)
_amin = _reduction("amin", vjp=_extreme_vjp, jvp=_extreme_jvp)
sampled(
    _amin,
    _nonempty,
    kinds="bool int float",
    oracle=lambda np, x, *, dims, keepdim: np.amin(x, axis=dims, keepdims=keepdim),
)
_all = _reduction("all", vjp=NONDIFF("boolean result"))
sampled(
    _all,
    _samples,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dims, keepdim: np.all(x, axis=dims, keepdims=keepdim),
)
_any = _reduction("any", vjp=NONDIFF("boolean result"))
sampled(
    _any,
    _samples,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dims, keepdim: np.any(x, axis=dims, keepdims=keepdim),
)
_count_nonzero = _reduction("count_nonzero", vjp=NONDIFF("integer result"))
sampled(
    _count_nonzero,
    _samples,
    kinds="bool int float complex",
    oracle=lambda np, x, *, dims, keepdim: np.sum(x != 0, axis=dims, keepdims=keepdim),
)


def amax(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """The largest element over dims; nan if there is one. On ties the gradient is split evenly."""
    return _reduced(_amax, x, dim, keepdim, None, options)


def amin(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """The smallest element over dims; nan if there is one. On ties the gradient is split evenly."""
    return _reduced(_amin, x, dim, keepdim, None, options)


def all(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """Are all elements over dims nonzero? True for none."""
    return _reduced(_all, x, dim, keepdim, None, options)


def any(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """Is any element over dims nonzero? False for none."""
    return _reduced(_any, x, dim, keepdim, None, options)


def count_nonzero(x: Tensor, dim: Any = None, **options: Any) -> Tensor:
    """How many elements over dims are nonzero."""
    x, dims, _ = _public("count_nonzero", x, dim, False, None, options)
    return _count_nonzero(x, dims=dims, keepdim=False)


# ---- logsumexp, norms ----
_logsumexp = _reduction(
    "logsumexp",
    vjp=lambda ct, out, x, *, dims, keepdim: (
        _kept(ct, x, dims, keepdim) * _share(x, out, dims, keepdim),
    ),
    jvp=lambda tangents, out, x, *, dims, keepdim: _sum(
        tangents[0] * _share(x, out, dims, keepdim), dims=dims, keepdim=keepdim
    ),
)
sampled(
    _logsumexp,
    _nonempty,
    oracle=lambda np, x, *, dims, keepdim: np.log(np.sum(np.exp(x), axis=dims, keepdims=keepdim)),
)


def _share(x: Tensor, out: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """softmax: exp(x - logsumexp), and 0 in rows of -inf only."""
    total = _kept(out, x, dims, keepdim)
    return (x - where(total == -float("inf"), 0, total)).exp()


def logsumexp(x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """log(sum(exp(x))) over dims, without overflow."""
    if not x.dtype.is_inexact:
        x = x.float()
    return _reduced(_logsumexp, x, dim, keepdim, None, options)


_norm2 = _reduction(
    "norm2",
    vjp=lambda ct, out, x, *, dims, keepdim: (
        x * _safe_ratio(_kept(ct, x, dims, keepdim), _kept(out, x, dims, keepdim)),
    ),
    jvp=lambda tangents, out, x, *, dims, keepdim: _safe_ratio(
        _sum(_real(x.conj() * tangents[0]), dims=dims, keepdim=keepdim), out
    ),
)
sampled(
    _norm2,
    lambda make: [*_nonempty(make), call(make(0, 3), dims=(0,), keepdim=False)],
    kinds="float complex",
    oracle=lambda np, x, *, dims, keepdim: np.sqrt(
        np.sum(np.abs(x) ** 2, axis=dims, keepdims=keepdim)
    ),
)


def _real(x: Tensor) -> Tensor:
    return x.real if x.dtype.is_complex else x


def _safe_ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0: the subgradient a norm has there."""
    zero = b == 0
    return where(zero, 0, a / where(zero, 1, b))


# ---- norms ----


def norm(
    x: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    **options: Any,
) -> Tensor:
    """The p-norm over dims of the elements as one vector: p a number, inf, -inf or "fro" (2).

    p "nuc" is the sum of the singular values of matrices.
    The gradient where the norm is 0 is 0.

    Raises:
      DTypeError: integers: cast first.
    """
    x, dims, keepdim = _public("norm", x, dim, keepdim, dtype, options)
    if not x.dtype.is_inexact:
        raise DTypeError(
            message("norm", "a floating or complex tensor", x.dtype, "Cast with .float().")
        )
    if p == "nuc":
        from .linalg.norms import matrix_norm

        return matrix_norm(x, p, dims, keepdim)
    if p in ("fro", 2, 2.0, None):
        return _norm2(x, dims=dims, keepdim=keepdim)
    size = x.abs()
    if p == float("inf"):
        return _amax(size, dims=dims, keepdim=keepdim)
    if p == -float("inf"):
        return _amin(size, dims=dims, keepdim=keepdim)
    if p == 0:
        return _sum((size != 0).to(size.dtype), dims=dims, keepdim=keepdim)
    if p == 1:
        return _sum(size, dims=dims, keepdim=keepdim)
    from .linalg.norms import power_sum

    return power_sum(size, float(p), dims, keepdim)


for _f in (sum, mean, prod, amax, amin, all, any, count_nonzero, logsumexp, norm):
    setattr(Tensor, _f.__name__, _f)
