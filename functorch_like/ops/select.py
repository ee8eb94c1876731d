"""Elements picked into a new shape: by their places in the flattened tensor, or by a mask."""

from __future__ import annotations

from collections.abc import Sequence

from cbackend import lib, plain

from ..errors import DTypeError, message
from ..op import Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor
from ..trace import active, state
from .creation import arange, zeros
from .gather import _index_select
from .index import _refuse
from .index_entries import _gather, _put
from .scatter import masked_scatter
from .views import broadcast_tensors

__all__ = ["masked_select", "take"]

_FAMILY = "index"
_ANY = "bool int float complex"


def _put_back(ct: Tensor, spec: Spec, index: Tensor) -> Tensor:
    count = 1
    for n in spec.shape:
        count *= n
    flat = zeros((count,), dtype=ct.dtype, device=ct.device)
    return _put(flat, ct, index, dims=(0,), accumulate=True).reshape(spec.shape)


def _take_batch(size: int, batched: Sequence[bool], x: Tensor, index: Tensor) -> Tensor:
    if not batched[0]:
        return _take(x, index)
    count = x.numel() // size if size else 0
    flat = x.reshape((size, count))
    if not batched[1]:
        picked = _index_select(flat, index.reshape((-1,)), dim=1)
        return picked.reshape((size, *index._shape))
    lane = arange(size, device=x.device).reshape((size, *[1] * (index.ndim - 1)))
    return _gather(flat, lane, index, dims=(0, 1))


_take = Op(
    "take",
    lambda x, index: lib.cb_take(x._v, index._v),
    vjp=lambda ct, _out, x_spec, index: (_put_back(ct, x_spec, index), None),
    jvp=lambda tangents, _out, _x, index: _take(tangents[0], index),
    batch=_take_batch,
    family=_FAMILY,
)
sampled(
    _take,
    lambda make: [
        call(make(3, 4), make.index(12, 5)),
        call(make(5), make.index(5, 2, 3)),
        call(make(2, 3), make.index(6)),
        call(make(2, 3), make.index(6, 0)),
        call(make(2, 3), make.index(6, 4) - 6),
    ],
    kinds=_ANY,
    oracle=lambda np, x, index: np.take(x, index),
)


def _masked_put(ct: Tensor, spec: Spec, mask: Tensor) -> Tensor:
    return masked_scatter(zeros(spec.shape, dtype=ct.dtype, device=ct.device), mask, ct)


def _masked_batch(size: int, batched: Sequence[bool], x: Tensor, mask: Tensor) -> Tensor:
    if batched[1]:
        return _refuse("masked_select")
    places = mask.reshape((-1,)).nonzero().squeeze(1)
    return _index_select(x.reshape((size, mask.numel())), places, dim=1)


# both operands have one shape here
_masked_select = Op(
    "masked_select",
    lambda x, mask: lib.cb_masked_select(x._v, mask._v),
    vjp=lambda ct, _out, x_spec, mask: (_masked_put(ct, x_spec, mask), None),
    jvp=lambda tangents, _out, _x, mask: _masked_select(tangents[0], mask),
    batch=_masked_batch,
    family=_FAMILY,
)
sampled(
    _masked_select,
    lambda make: [
        call(make(3, 4), make.mask(3, 4)),
        call(make(5), make.mask(5)),
        call(make(), make.mask()),
        call(make(0, 2), make.mask(0, 2)),
    ],
    kinds=_ANY,
    oracle=lambda np, x, mask: x[mask].reshape(-1),
    unmapped="the number of elements depends on the values",
    data_dependent=True,
)


def take(x: Tensor, index: Tensor) -> Tensor:
    """The elements at places of the flattened tensor: [same as index].

    Raises:
      DimError: a place out of range.
    Example:
      >>> take(tensor([[1, 2], [3, 4]]), tensor([0, 3]))
      tensor([1, 4])
    """
    if x._m is None and index._m is None and (not active or state.trace is None):
        h = lib.cb_take(x._v, index._v)
        if h:
            return plain(h)
    return _take(x, index)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one dimension; both broadcast.

    Raises:
      DTypeError: mask is not bool. TraceError: the mask is mapped by vmap.
    Example:
      >>> masked_select(tensor([1, 2, 3]), tensor([True, False, True]))
      tensor([1, 3])
    """
    if mask.dtype.name != "bool":
        raise DTypeError(message("masked_select", "a bool mask", mask.dtype, "Compare first."))
    if x._shape != mask._shape:
        x, mask = broadcast_tensors(x, mask)
    return _masked_select(x, mask)


Tensor.take, Tensor.masked_select = take, masked_select  # type: ignore[attr-defined]
