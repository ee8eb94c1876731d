"""Methods beside the functions: in-place forms by copy_, other names, questions about a tensor.

Everything here follows from functions of other files; nothing computes.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from cbackend import check, lib

from ..dtypes import as_device, as_dtype, get_default_dtype
from ..errors import ShapeError, TraceError, message
from ..tensor import Tensor, recast, wrap
from . import binary, fill, join, matmul, numeric, scan, special, ternary, views
from .creation import arange, as_tensor, full

__all__ = [
    "adjoint", "asarray", "get_device", "is_complex", "is_conj", "is_floating_point",
    "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_tensor", "narrow_copy",
    "numel", "range", "resolve_neg", "scalar_tensor", "unsafe_chunk", "unsafe_split", "zero_",
]  # fmt: skip

# ---- in-place forms ----
for _f in (
    binary.eq, binary.ne, binary.lt, binary.le, binary.gt, binary.ge,
    ternary.clamp_min, ternary.clamp_max, scan.cumsum, scan.cumprod, special.rad2deg,
    special.deg2rad, special.float_power, special.heaviside, special.ldexp, special.logit,
    special.nan_to_num, special.sinc, matmul.addmm, matmul.addmv, matmul.baddbmm, numeric.addbmm,
    numeric.addr, numeric.renorm, numeric.index_reduce, join.tril, join.triu,
):  # fmt: skip
    setattr(Tensor, _f.__name__ + "_", fill.in_place(_f))


def mvlgamma_(x: Tensor, p: int) -> Tensor:
    """In-place mvlgamma()."""
    return fill.assign("mvlgamma_", x, special.mvlgamma(x, p))


def polygamma_(x: Tensor, n: int) -> Tensor:
    """In-place polygamma()."""
    return fill.assign("polygamma_", x, special.polygamma(n, x))


for _f in (mvlgamma_, polygamma_):
    setattr(Tensor, _f.__name__, _f)


def fill_diagonal_(x: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Overwrites the main diagonal; of tall matrices again below with wrap."""
    if x.ndim < 2:
        raise ShapeError(message("fill_diagonal_", "at least 2 dimensions", f"{x.ndim}"))
    if x.ndim > 2 and len(set(x._shape)) > 1:
        raise ShapeError(
            message("fill_diagonal_", "equal sizes beyond 2 dimensions", list(x._shape))
        )
    if x.ndim == 2 and wrap:
        rows, columns = x._shape
        places = arange(0, rows * columns, columns + 1, device=x.device)
        flat = x.reshape((-1,)).index_fill(0, places, fill_value)
        return x.copy_(flat.reshape(x._shape))
    at = arange(min(x._shape), device=x.device)
    x[(at,) * x.ndim] = fill_value
    return x


def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by callable(element): slow, for plain tensors in main memory."""
    if x.requires_grad:
        raise TraceError(message("apply_", "a tensor that does not require grad", "one that does"))
    new = [callable(v) for v in x._flat_list()]
    return fill.copy_(x, as_tensor(new, dtype=x.dtype).reshape(x._shape))


def map_(x: Tensor, other: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element a by callable(a, b), b from the broadcast other tensor: slow."""
    pairs = zip(x._flat_list(), other.expand(x._shape)._flat_list(), strict=True)
    return x.copy_(as_tensor([callable(a, b) for a, b in pairs], dtype=x.dtype).reshape(x._shape))


def map2_(x: Tensor, y: Tensor, z: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """map_() with two other tensors."""
    rows = [a.expand(x._shape)._flat_list() for a in (x, y, z)]
    new = [callable(*v) for v in zip(*rows, strict=True)]
    return fill.copy_(x, as_tensor(new, dtype=x.dtype).reshape(x._shape))


# ---- other names ----
for _alias, _name in {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin",
    "arcsinh": "asinh", "arctan": "atan", "arctanh": "atanh", "arctan2": "atan2", "fix": "trunc",
    "divide": "div", "true_divide": "div", "multiply": "mul", "subtract": "sub",
    "negative": "neg", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "not_equal": "ne", "clip": "clamp",
}.items():  # fmt: skip
    for _end in ("", "_"):
        if not hasattr(Tensor, _alias + _end):
            setattr(Tensor, _alias + _end, getattr(Tensor, _name + _end))
Tensor.unsafe_chunk, Tensor.unsafe_split = Tensor.chunk, Tensor.split  # type: ignore[attr-defined]
Tensor.unsafe_split_with_sizes = Tensor.split_with_sizes  # type: ignore[attr-defined]
unsafe_chunk, unsafe_split = join.chunk, join.split


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions swapped and conjugated."""
    return views.transpose(input, -2, -1).conj()


def narrow_copy(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A copy of narrow()."""
    return join.narrow(x, dim, start, length).clone()


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: there are no lazily negated ones."""
    return input


def zero_(x: Tensor) -> Tensor:
    """Overwrites all elements with 0."""
    return x.zero_()


# ---- questions ----


def is_tensor(obj: Any) -> bool:
    """Is it a Tensor?"""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Is the dtype float16, bfloat16, float32 or float64?"""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Is the dtype complex?"""
    return input.dtype.is_complex


def is_signed(x: Tensor) -> bool:
    """Can the dtype hold negative numbers?"""
    return x.dtype.is_signed


def is_nonzero(input: Tensor) -> bool:
    """Is the only element not zero?

    Raises:
      ShapeError: there is not exactly one element.
    """
    if input.numel() != 1:
        raise ShapeError(message("is_nonzero", "one element", f"shape {list(input._shape)}"))
    return bool(input.reshape(()) != 0)


def is_same_size(x: Tensor, other: Tensor) -> bool:
    """Are the shapes equal?"""
    return x._shape == other._shape


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def get_device(x: Tensor) -> int:
    """The number of the CUDA device, -1 for main memory."""
    return x.device.index or 0 if x.is_cuda else -1


def _retains_grad(x: Tensor) -> bool:
    m = x._current()
    return m is not None and m.op is not None and m.retains_grad


# ---- creation under other names ----


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of the data: sharing memory where possible, a copy with copy=True.

    Raises:
      ValueError: copy=False where a copy is needed.
    Example:
      >>> asarray([1, 2])
      tensor([1, 2])
    """
    x = as_tensor(obj, dtype=dtype, device=device)
    shares = x is obj or (hasattr(obj, "__array_interface__") and as_dtype(obj.dtype) is x.dtype)
    if copy and shares:
        x = x.clone()
    elif copy is False and not shares:
        raise ValueError(
            message("asarray", "data whose memory can be shared", type(obj).__name__, "Copy it.")
        )
    if requires_grad and not x.requires_grad:
        x = x.detach().requires_grad_()
    return x


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A 0-d tensor of the default floating dtype."""
    return full((), s, dtype=get_default_dtype() if dtype is None else dtype, device=device)


def range(start: float = 0, end: float = 0, step: float = 1, **options: Any) -> Tensor:
    """The numbers start, start + step, ... up to and including end; arange() leaves out the end."""
    options.setdefault("dtype", get_default_dtype())
    steps = int((end - start) / step)
    return arange(steps + 1, **options) * step + start


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The array API standard's functions, as a module.

    Raises:
      ValueError: a version that the module does not serve.
    """
    from .. import array_api

    versions = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
    if api_version is not None and api_version not in versions:
        raise ValueError(message("__array_namespace__", f"one of {versions}", repr(api_version)))
    return array_api


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device."""
    return self.to(as_device(device))


Tensor.__array_namespace__ = _array_namespace  # type: ignore[attr-defined]
Tensor.to_device = _to_device  # type: ignore[attr-defined]
for _f in (
    fill_diagonal_, apply_, map_, map2_, adjoint, narrow_copy, resolve_neg, is_nonzero,
    is_same_size, get_device,
):  # fmt: skip
    setattr(Tensor, _f.__name__, _f)
Tensor.retains_grad = property(_retains_grad, doc="Was retain_grad() called?")  # type: ignore[attr-defined]


def _never(name: str, what: str) -> Callable[[Tensor], bool]:
    def method(x: Tensor) -> bool:
        return False

    method.__name__, method.__doc__ = name, f"False: there are no {what} tensors."
    setattr(Tensor, name, method)
    return method


is_conj = _never("is_conj", "lazily conjugated")
is_neg = _never("is_neg", "lazily negated")
is_inference = _never("is_inference", "inference")
for _name in ("is_sparse", "is_quantized", "is_nested", "is_mkldnn", "is_mps", "is_xpu"):
    setattr(Tensor, _name, property(lambda self: False, doc="False: tensors are dense arrays."))


def _unchanged(name: str, doc: str) -> None:
    def method(self: Tensor, *args: Any) -> Tensor:
        return self

    method.__name__, method.__doc__ = name, doc
    setattr(Tensor, name, method)


def pin_memory(x: Tensor) -> Tensor:
    """A copy in page-locked memory, which moves to a GPU without waiting; itself without a GPU."""
    from .. import cuda

    if not cuda.is_available():
        return x
    near = x.detach().cpu()
    return wrap(lib.cb_pin_memory(near._memory("pin_memory")))


def is_pinned(x: Tensor) -> bool:
    """Does the tensor lie in page-locked memory?"""
    return bool(lib.cb_is_pinned(x._memory("is_pinned")))


def record_stream(x: Tensor, stream: Any) -> None:
    """Says that work on a stream uses the tensor's memory.

    When the tensor is freed, its memory is handed out again only after what is queued on that
    stream by then.

    Args:
      stream: a cuda.Stream, not the one the tensor was made on.
    Raises:
      DeviceError: the tensor is not on a GPU.
    """
    check(lib.cb_cuda_record_stream(x._memory("record_stream"), stream._handle))


Tensor.record_stream = record_stream  # type: ignore[attr-defined]
Tensor.pin_memory = pin_memory  # type: ignore[attr-defined]
Tensor.is_pinned = is_pinned  # type: ignore[attr-defined]
_unchanged("to_dense", "The tensor itself.")


def _share_memory_(x: Tensor) -> Tensor:
    """Move the elements, in place, into memory that other processes can have too.

    functorch_like.multiprocessing says how.
    """
    from ..multiprocessing import share_memory

    return share_memory(x)


def _is_shared(x: Tensor) -> bool:
    """Does the tensor lie in memory that other processes can have too?"""
    from ..multiprocessing import is_shared

    return is_shared(x)


Tensor.share_memory_, Tensor.is_shared = _share_memory_, _is_shared  # type: ignore[attr-defined]
Tensor.const_data_ptr = Tensor.data_ptr  # type: ignore[attr-defined]


def is_set_to(x: Tensor, other: Tensor) -> bool:
    """Do both see the same memory in the same way?"""
    same = x._shape == other._shape and x.stride() == other.stride()
    return same and x.data_ptr() == other.data_ptr()


def as_subclass(x: Tensor, cls: type) -> Any:
    """A view of the whole of x as a tensor of a subclass, or of Tensor itself."""
    return recast(cls, x.view_as(x))


def dim_order(x: Tensor) -> tuple[int, ...]:
    """The dims from the outermost in memory to the innermost."""
    return tuple(sorted(builtins.range(x.ndim), key=lambda d: (-x.stride(d), d)))


for _f in (is_set_to, as_subclass, dim_order):
    setattr(Tensor, _f.__name__, _f)
