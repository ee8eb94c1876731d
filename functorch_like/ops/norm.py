"""Layer and RMS norm with fused kernels.

The kernels also give their statistics, which the fused gradients take as operands: so these can be
differentiated again, by their decompositions. 16-bit floats compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi, lib

from ..amp import entered, widened
from ..dtypes import finfo, float32
from ..errors import DTypeError, ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import ones, zeros
from .family import align, fronted

__all__ = ["layer_norm", "rms_norm"]

_FAMILY = "norm"
_BOTH = 3  # has_affine of the C interface: a weight and a bias


def _last(x: Tensor, n: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - n, x.ndim))


def _wide(x: Tensor) -> Tensor:
    return x.to(float32) if x.dtype.itemsize == 2 else x


def _handles(count: int, function: Any) -> Any:
    out = ffi.new("cb_tensor *[]", count)
    return () if function(out) else tuple(out)


def _per_lane(x: Tensor, batched: bool, rank: int) -> Tensor:
    """A mapped parameter, to broadcast against lanes of a higher rank."""
    return align([batched, True], [x, _Lanes(rank + 1)])[0] if batched else x  # type: ignore[list-item]


class _Lanes:
    """Stands for an operand of some rank."""

    def __init__(self, ndim: int):
        self.ndim = ndim


# ---- layer norm ----


def _layer_meaning(x: Tensor, weight: Tensor, bias: Tensor, *, n: int, eps: float) -> Any:
    wide, dims = _wide(x), _last(x, n)
    mean = wide.mean(dims, keepdim=True)
    centred = wide - mean
    rstd = ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()
    return (centred * rstd * weight + bias).to(x.dtype), mean, rstd


def _layer_grad_meaning(
    ct: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, *, n: int
) -> Any:
    dims, lead = _last(x, n), tuple(range(x.ndim - n))
    wide = _wide(ct)
    scaled = (_wide(x) - mean) * rstd
    g = wide * weight
    inner = (g * scaled).mean(dims, keepdim=True)
    dx = rstd * (g - g.mean(dims, keepdim=True) - scaled * inner)
    dweight, dbias = wide * scaled, wide
    if lead:
        dweight, dbias = dweight.sum(lead), dbias.sum(lead)
    return dx.to(x.dtype), dweight.to(weight.dtype), dbias.to(weight.dtype)


def _through_statistics(ct: Any, out: Any, x: Tensor, n: int) -> Tensor | None:
    """What the cotangents of the mean (if there is one) and of rstd add to x's."""
    size, total = 1, None
    for d in _last(x, n):
        size *= x._shape[d]
    rstd = out[-1]
    centred = _wide(x) - out[1] if len(out) == 3 else _wide(x)
    if ct[-1] is not None:
        total = ct[-1] * (-rstd * rstd * rstd) * centred / size
    if len(out) == 3 and ct[1] is not None:
        more = (ct[1] / size).expand(x._shape)
        total = more if total is None else total + more
    return None if total is None else total.to(x.dtype)


def _layer_vjp(
    ct: Any, out: Any, x: Tensor, weight: Tensor, bias_spec: Any, *, n: int, eps: float
) -> tuple[Any, ...]:
    extra = _through_statistics(ct, out, x, n)
    if ct[0] is None:
        return extra, None, None
    dx, dweight, dbias = _layer_norm_grad(ct[0], x, out[1], out[2], weight, n=n)
    return dx if extra is None else dx + extra, dweight, dbias.to(bias_spec.dtype)


def _layer_batch(
    size: int, batched: Sequence[bool], x: Tensor, weight: Tensor, bias: Tensor, **params: Any
) -> Any:
    (x,) = fronted(size, batched[:1], (x,))
    if not any(batched[1:]):
        return _layer_norm(x, weight, bias, **params)
    plain = x._shape[x.ndim - params["n"] :]
    one, zero = (make(plain, dtype=weight.dtype, device=x.device) for make in (ones, zeros))
    y, mean, rstd = _layer_norm(_wide(x), one, zero, **params)
    weight, bias = (
        _per_lane(p, b, x.ndim - 1) for p, b in zip((weight, bias), batched[1:], strict=True)
    )
    return (y * weight + bias).to(x.dtype), mean, rstd


_layer_norm = Op(
    "layer_norm",
    lambda x, weight, bias, *, n, eps: _handles(
        3, lambda out: lib.cb_layer_norm(x._v, n, weight._v, bias._v, _BOTH, eps, out)
    ),
    vjp=_layer_vjp,
    batch=_layer_batch,
    decompose=_layer_meaning,
    nouts=3,
    family=_FAMILY,
)
_layer_norm_grad = Op(
    "layer_norm_grad",
    lambda ct, x, mean, rstd, weight, *, n: _handles(
        3,
        lambda out: lib.cb_layer_norm_grad(ct._v, x._v, mean._v, rstd._v, n, weight._v, _BOTH, out),
    ),
    decompose=_layer_grad_meaning,
    nouts=3,
    family=_FAMILY,
)

# shapes of x and of the parameters
_SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4), (4,)),
    ((2, 3, 4), (3, 4)),
    ((5,), (5,)),
    ((0, 3), (3,)),
]


def _statistics(shape: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[: len(shape) - len(part)], *[1] * len(part))


sampled(
    _layer_norm,
    lambda make: [
        call(make(*shape), make(*part), make(*part), n=len(part), eps=1e-3)
        for shape, part in _SHAPES
    ],
)
sampled(
    _layer_norm_grad,
    lambda make: [
        call(
            make(*shape),
            make(*shape),
            make(*_statistics(shape, part)),
            make(*_statistics(shape, part), low=0.5, high=1.5),
            make(*part),
            n=len(part),
        )
        for shape, part in _SHAPES
    ],
)


# ---- RMS norm ----


def _rms_meaning(x: Tensor, weight: Tensor, *, n: int, eps: float) -> Any:
    wide = _wide(x)
    rstd = ((wide * wide).mean(_last(x, n), keepdim=True) + eps).rsqrt()
    return (wide * rstd * weight).to(x.dtype), rstd


def _rms_grad_meaning(ct: Tensor, x: Tensor, rstd: Tensor, weight: Tensor, *, n: int) -> Any:
    wide = _wide(ct)
    scaled = _wide(x) * rstd
    g = wide * weight
    dx = rstd * (g - scaled * (g * scaled).mean(_last(x, n), keepdim=True))
    lead = tuple(range(x.ndim - n))
    dweight = (wide * scaled).sum(lead) if lead else wide * scaled
    return dx.to(x.dtype), dweight.to(weight.dtype)


def _rms_vjp(
    ct: Any, out: Any, x: Tensor, weight: Tensor, *, n: int, eps: float
) -> tuple[Any, ...]:
    extra = _through_statistics(ct, out, x, n)
    if ct[0] is None:
        return extra, None
    dx, dweight = _rms_norm_grad(ct[0], x, out[1], weight, n=n)
    return dx if extra is None else dx + extra, dweight


def _rms_batch(size: int, batched: Sequence[bool], x: Tensor, weight: Tensor, **params: Any) -> Any:
    (x,) = fronted(size, batched[:1], (x,))
    if not batched[1]:
        return _rms_norm(x, weight, **params)
    one = ones(x._shape[x.ndim - params["n"] :], dtype=weight.dtype, device=x.device)
    y, rstd = _rms_norm(_wide(x), one, **params)
    return (y * _per_lane(weight, True, x.ndim - 1)).to(x.dtype), rstd


_rms_norm = Op(
    "rms_norm",
    lambda x, weight, *, n, eps: _handles(
        2, lambda out: lib.cb_rms_norm(x._v, n, weight._v, 1, eps, out)
    ),
    vjp=_rms_vjp,
    batch=_rms_batch,
    decompose=_rms_meaning,
    nouts=2,
    family=_FAMILY,
)
_rms_norm_grad = Op(
    "rms_norm_grad",
    lambda ct, x, rstd, weight, *, n: _handles(
        2, lambda out: lib.cb_rms_norm_grad(ct._v, x._v, rstd._v, n, weight._v, 1, out)
    ),
    decompose=_rms_grad_meaning,
    nouts=2,
    family=_FAMILY,
)
sampled(
    _rms_norm,
    lambda make: [
        call(make(*shape), make(*part), n=len(part), eps=1e-3) for shape, part in _SHAPES
    ],
)
sampled(
    _rms_norm_grad,
    lambda make: [
        call(
            make(*shape),
            make(*shape),
            make(*_statistics(shape, part), low=0.5, high=1.5),
            make(*part),
            n=len(part),
        )
        for shape, part in _SHAPES
    ],
)


# ---- public functions ----


def _floating(op: str, x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", x.dtype, "Cast with .float()."))


def _sizes(op: str, x: Tensor, normalized_shape: Any) -> tuple[int, ...]:
    single = isinstance(normalized_shape, int)
    shape = (normalized_shape,) if single else tuple(normalized_shape)
    _floating(op, x)
    if not shape or x._shape[max(x.ndim - len(shape), 0) :] != shape:
        wanted = f"input [..., {', '.join(map(str, shape))}]"
        hint = "normalized_shape holds the sizes of the last dimensions."
        raise ShapeError(message(op, wanted, list(x._shape), hint))
    return shape


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int] | int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """input with mean 0 and variance 1 over its last dimensions, times weight plus bias.

    Args:
      input [..., *normalized_shape] floating.
      normalized_shape: sizes of the last dimensions.
      weight, bias [*normalized_shape].
      eps: added to the variance.
    Reference: Ba, Kiros & Hinton 2016.
    Example:
      >>> layer_norm(tensor([[1.0, 3.0]]), (2,))
      tensor([[-1.0000,  1.0000]])
    """
    if entered:
        input, weight, bias = widened(input, weight, bias)
    shape = _sizes("layer_norm", input, normalized_shape)
    dtype = input.dtype if weight is None else weight.dtype
    if weight is None:
        weight = ones(shape, dtype=dtype, device=input.device)
    if bias is None:
        bias = zeros(shape, dtype=dtype, device=input.device)
    return _layer_norm(input, weight, bias, n=len(shape), eps=float(eps))[0]


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int] | int,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """input divided by its root mean square over its last dimensions, times weight.

    Args:
      input [..., *normalized_shape] floating. weight [*normalized_shape].
      eps: added to the mean square; the machine epsilon by default.
    Reference: Zhang & Sennrich 2019.
    Example:
      >>> rms_norm(tensor([[3.0, 4.0]]), (2,))
      tensor([[0.8485, 1.1314]])
    """
    if entered:
        input, weight = widened(input, weight)
    shape = _sizes("rms_norm", input, normalized_shape)
    if eps is None:
        eps = finfo(_wide(input.detach()).dtype).eps
    if weight is None:
        weight = ones(shape, dtype=input.dtype, device=input.device)
    return _rms_norm(input, weight, n=len(shape), eps=float(eps))[0]
