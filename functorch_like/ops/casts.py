"""Copies and casts: between dtypes, layouts and devices, and off the graph."""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..dtypes import DTYPES, as_device, as_dtype, bool_, int64
from ..memory_format import laid_out
from ..op import NONDIFF, TABLE, Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import Meta, active, state

__all__ = ["clone", "contiguous", "detach", "to", "type_as"]


def _identity_batch(op_name: str) -> Any:
    def batch(_size: int, _batched: Any, x: Tensor, **params: Any) -> Tensor:
        return TABLE[op_name](x, **params)

    return batch


_cast = Op(
    "to_dtype",
    lambda x, *, code: lib.cb_cast(x._v, code),
    vjp=lambda ct, _out, x_spec, *, code: (_real_part(ct, x_spec),),
    jvp=lambda tangents, _out, _x, *, code: _cast(tangents[0], code=code),
    batch=_identity_batch("to_dtype"),
    family="cast",
)
sampled(
    _cast,
    lambda make: [
        call(make(2, 3), code=as_dtype("complex128").code),
        call(make(), code=as_dtype("complex128").code),
        call(make(0, 2), code=as_dtype("complex128").code),
    ],
    kinds="bool int float complex",
    oracle=lambda np, x, *, code: x.astype(DTYPES[code].name),
)


def _real_part(ct: Tensor, x_spec: Spec) -> Tensor:
    if ct.dtype.is_complex and not x_spec.dtype.is_complex:
        ct = ct.real
    return ct.to(x_spec.dtype)


_cast_flat = Op(
    "to_integer",
    lambda x, *, code: lib.cb_cast(x._v, code),
    vjp=NONDIFF("integer result"),
    batch=_identity_batch("to_integer"),
    family="cast",
)
sampled(
    _cast_flat,
    lambda make: [
        call(make(2, 3), code=int64.code),
        call(make(2), code=as_dtype("int8").code),
        call(make(), code=bool_.code),
    ],
    kinds="bool int float",
    oracle=lambda np, x, *, code: x.astype(DTYPES[code].name),
)


def _simple(make: Any) -> list[Any]:
    return [call(make(2, 3)), call(make()), call(make(0, 2)), call(make(2, 3).transpose(0, 1))]


def _same(np: Any, x: Any) -> Any:
    return x


_clone = Op(
    "clone",
    lambda x: lib.cb_clone(x._v),
    vjp=lambda ct, _out, _x: (ct,),
    jvp=lambda tangents, _out, _x: _clone(tangents[0]),
    batch=_identity_batch("clone"),
    family="copy",
)
sampled(_clone, _simple, kinds="bool int float complex", oracle=_same)
_contiguous = Op(
    "contiguous",
    lambda x: lib.cb_contiguous(x._v),
    vjp=lambda ct, _out, _x: (ct,),
    jvp=lambda tangents, _out, _x: _contiguous(tangents[0]),
    batch=_identity_batch("contiguous"),
    family="copy",
)
sampled(_contiguous, _simple, kinds="bool int float complex", oracle=_same)
_to_device = Op(
    "to_device",
    lambda x, *, code: lib.cb_to_device(x._v, code),
    vjp=lambda ct, _out, x_spec, *, code: (_to_device(ct, code=x_spec.device.code),),
    jvp=lambda tangents, _out, _x, *, code: _to_device(tangents[0], code=code),
    batch=_identity_batch("to_device"),
    family="copy",
)
sampled(
    _to_device,
    lambda make: [
        call(make(2, 3), code=as_device("cpu").code),
        call(make(), code=as_device("cpu").code),
    ],
    kinds="bool int float complex",
)
_detach = Op(
    "detach",
    lambda x: lib.cb_alias(x._v),
    vjp=NONDIFF("cuts the graph"),
    batch=_identity_batch("detach"),
    family="copy",
)
sampled(_detach, _simple, kinds="bool int float complex", oracle=_same)


def clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with its own memory; gradients pass through."""
    y = _clone(x)
    return y if memory_format is None else laid_out("clone", y, memory_format)


def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor in row-major order, or in a memory format's: itself if it is already."""
    if memory_format is not None:
        return laid_out("contiguous", x, memory_format)
    return x if x.is_contiguous() else _contiguous(x)


def detach(x: Tensor) -> Tensor:
    """The same memory, cut from the graph: no gradient flows through."""
    y = _detach(x)
    trace = state.trace if active else None
    if trace is None:
        return y
    if y._m is None:
        y._m = Meta()
        y._m.inside = trace  # a leaf of its own may be made of it
    elif trace.is_staging():  # no memory shows that it is the same
        y._m.is_view = True
        y._b = (x, _detach, {}, x._m)
        while (aliases := trace.aliases) is None:
            trace = trace.parent
            assert trace is not None
        aliases.append(y)
    return y


def _detach_(x: Tensor) -> Tensor:
    """Cuts the tensor itself from the graph."""
    m = x._m
    if m is not None:
        history = m.history
        x._m = None if m.trace is None else _detach(x)._m
        if history is not None:  # of values that recorded operations may have saved
            x._m = x._m or Meta()
            x._m.history = history
    return x


def to(
    x: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """The tensor with another dtype, device or memory format; itself when nothing changes.

    `x.to(float64)`, `x.to("cuda")`, `x.to(device, dtype)`, `x.to(other)` work as in torch.

    Raises:
      DeviceError: the device is not there.
    """
    for a in args:
        if isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif isinstance(a, _NAMES_A_DEVICE) and a not in _DTYPE_NAMES:
            device = a
        elif isinstance(a, bool):
            continue
        elif a is not None:
            dtype = a
    before = x
    if device is not None and (place := as_device(device)).code != x._place:
        x = _to_device(x, code=place.code)
    if dtype is not None and (d := as_dtype(dtype)) is not x.dtype:
        x = (_cast if d.is_inexact else _cast_flat)(x, code=d.code)
    if copy and x is before:
        x = _clone(x)
    return x if memory_format is None else laid_out("to", x, memory_format)


_DTYPE_NAMES = {d.name for d in DTYPES}
_NAMES_A_DEVICE = (str, as_device(None).__class__)


def _cast_method(name: str, target: Any) -> Any:
    def method(x: Tensor) -> Tensor:
        return to(x, dtype=target)

    method.__name__ = name
    method.__doc__ = f"The tensor as {target}."
    return method


for _name, _target in {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16",
    "long": "int64", "int": "int32", "short": "int16", "char": "int8", "byte": "uint8",
    "bool": "bool", "cfloat": "complex64", "cdouble": "complex128",
}.items():  # fmt: skip
    setattr(Tensor, _name, _cast_method(_name, as_dtype(_target)))


def _cpu(x: Tensor) -> Tensor:
    """The tensor in main memory."""
    return to(x, device="cpu")


def _cuda(x: Tensor, device: Any = "cuda") -> Tensor:
    """The tensor on a GPU."""
    return to(x, device=device if not isinstance(device, int) else f"cuda:{device}")


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """The tensor with the other's dtype."""
    return to(x, dtype=other.dtype)


for _name, _f in (("cpu", _cpu), ("cuda", _cuda), ("detach_", _detach_)):
    setattr(Tensor, _name, _f)
for _f in (clone, contiguous, detach, to, type_as):
    setattr(Tensor, _f.__name__, _f)
