"""Gradients of slices, collected until all of a tensor's have come and then written once.

Each slice's gradient is that of the whole with zeros elsewhere. Spread into zeros by itself and
added up, the two halves of a tensor cost three passes over the whole, and the steps of a sequence
one each; together they cost one. Only plain tensors are collected: where gradients are traced or
recorded themselves, the rules stay functions of tensors.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cbackend import lib, plain, raise_error

if TYPE_CHECKING:
    from .tensor import Tensor

_MISSING = -(1 << 63)  # a bound that a slice leaves out
_ADD = lib.cb_op_code(b"binary", b"add")
_MANY = 32  # so many parts are not compared with each other


class Parts:
    """A gradient that is a sum: of those of slices and, perhaps, of one of the whole tensor.

    Args:
      ct: a plain gradient of the slice `spec`, as cb_index_basic has it.
      shape: the whole tensor's.
    """

    __slots__ = ("parts", "rest", "shape")

    def __init__(self, ct: Tensor, shape: tuple[int, ...], spec: tuple[int, ...]):
        self.parts, self.shape = [(ct, spec)], shape
        self.rest: Tensor | None = None

    def __add__(self, other: Any) -> Parts:
        if other.__class__ is Parts:
            self.parts += other.parts
            other = other.rest
        if other is not None:
            self.rest = other if self.rest is None else self.rest + other
        return self

    __radd__ = __add__

    def whole(self) -> Tensor:
        """The sum."""
        from .ops.index_entries import _embed

        (ct, spec), rest, shape = self.parts[0], self.rest, self.shape
        if rest is None:
            if len(self.parts) == 1:
                return _embed(ct, shape=shape, spec=spec)
        elif not rest._v or rest._m is not None or rest.dtype is not ct.dtype:
            for ct, spec in self.parts:
                rest = rest + _embed(ct, shape=shape, spec=spec)
            return rest
        parts, places = self.parts, self._cover()
        if places is not None:
            if rest is None and (dim := _line(places, shape)) is not None:
                from .ops.join import cat

                order = sorted(range(len(parts)), key=lambda i: places[i][dim].start)
                blocks = [parts[i][0].reshape([len(r) for r in places[i]]) for i in order]
                return cat(blocks, dim)
            out = plain(lib.cb_empty(ct._v.dtype, ct._v.device, len(shape), shape))
        elif rest is None:
            out, parts = _embed(ct, shape=shape, spec=spec), parts[1:]
            rest = out
        else:
            rest = out = rest.clone()
        for ct, spec in parts:
            _write(out, rest, ct, spec)
        return out

    def _cover(self) -> list[list[range]] | None:
        """Where the slices lie, if they make up the whole without overlap.

        None also where that is hard to say.
        """
        filled = sum([ct._v.numel for ct, _ in self.parts])
        if filled != math.prod(self.shape) or len(self.parts) > _MANY:
            return None
        places = [_places(self.shape, spec) for _, spec in self.parts]
        return places if all(_disjoint(a, b) for a, b in combinations(places, 2)) else None


def _write(out: Tensor, rest: Tensor | None, ct: Tensor, spec: tuple[int, ...]) -> None:
    """out[spec] = rest[spec] + ct; `rest` may be `out`, or nothing."""
    n = len(spec) >> 2
    view = lib.cb_index_basic(out._v, n, spec)
    if rest is None:
        status = lib.cb_copy_into(view, ct._v, 0)
    else:
        before = view if rest is out else lib.cb_index_basic(rest._v, n, spec)
        status = lib.cb_binary_into(_ADD, before, ct._v, view, 0)
        if rest is not out:
            lib.cb_release(before)
    lib.cb_release(view)
    if status:
        raise_error()


def _places(shape: tuple[int, ...], spec: tuple[int, ...]) -> list[range]:
    """The places of each dim that a slice has."""
    kinds = spec[::4]
    found: list[range] = []
    for kind, start, stop, step in zip(kinds, spec[1::4], spec[2::4], spec[3::4], strict=True):
        if kind == 3:  # an ellipsis
            missing = len(shape) - kinds.count(0) - kinds.count(1)
            found += [range(n) for n in shape[len(found) : len(found) + missing]]
        elif kind != 2:  # no new dim
            n = shape[len(found)]
            if kind == 0:
                start, stop, step = start % n, start % n + 1, 1
            first, last = (None if bound == _MISSING else bound for bound in (start, stop))
            found.append(range(*slice(first, last, step).indices(n)))
    return found + [range(n) for n in shape[len(found) :]]


def _disjoint(a: list[range], b: list[range]) -> bool:
    """Is there a dim in which two slices share no place? Steps are positive."""
    return any(
        not r
        or not s
        or r[-1] < s[0]
        or s[-1] < r[0]
        or (r.step == s.step and (r[0] - s[0]) % r.step != 0)
        for r, s in zip(a, b, strict=True)
    )


def _line(places: list[list[range]], shape: tuple[int, ...]) -> int | None:
    """The dim along which blocks that make up the whole follow each other, if it is one."""
    dims = [d for d, n in enumerate(shape) if any(len(p[d]) != n for p in places)]
    if len(dims) != 1 or any(p[dims[0]].step != 1 for p in places):
        return None
    return dims[0]
