"""Communication between the lanes of a vmap that has an axis_name: psum and its like.

A lane meets its neighbours only at the level of that vmap; transforms in between treat these
operations by their rules, as any others.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from .. import tree
from ..errors import message
from ..op import Op, dispatch
from ..ops.creation import arange, tensor, zeros
from ..tensor import Tensor
from ..trace import Outside, Trace, state
from .vmap_trace import VmapTrace


def _axis(op: str, axis_name: Any) -> VmapTrace:
    """The innermost running vmap of that name.

    Raises:
      NameError: there is none.
    """
    trace: Trace | None = state.trace
    names = []
    while trace is not None:
        if isinstance(trace, VmapTrace) and trace.axis_name is not None:
            if trace.axis_name == axis_name:
                return trace
            names.append(trace.axis_name)
        trace = trace.parent
    raise NameError(
        message(
            op,
            f"a running vmap with axis_name={axis_name!r}",
            f"those with {names}" if names else "none with a name",
            "Pass axis_name to vmap.",
        )
    )


def _is_mapped(x: Tensor, axis: VmapTrace) -> bool:
    while True:
        m = x._current()
        if m is None or m.trace is None:
            return False
        if m.trace is axis:
            return True
        x = (m.tracer or m).inner()  # type: ignore[union-attr]


def _mapped(x: Any, axis: VmapTrace) -> Tensor:
    """x as a value that may differ between the lanes."""
    x = x if isinstance(x, Tensor) else tensor(x)
    if _is_mapped(x, axis):
        return x
    return x + axis.leaf(zeros(axis.size, dtype=x.dtype, device=x.device))


def _sum_batch(_size: int, _batched: Any, x: Tensor, *, axis: VmapTrace) -> Tensor:
    if state.trace is not axis.parent:  # another vmap: its lanes stay apart
        return dispatch(_psum, (x,), {"axis": axis})
    return x.sum(0, keepdim=True).to(x.dtype).expand(x._shape)


_psum = Op(
    "psum",
    None,
    vjp=lambda ct, _out, _x, *, axis: (dispatch(_psum, (ct,), {"axis": axis}),),
    jvp=lambda tangents, _out, _x, *, axis: dispatch(_psum, (tangents[0],), {"axis": axis}),
    batch=_sum_batch,
    decompose=lambda x, *, axis: x,
    registered=False,
)


def _gather_batch(_size: int, _batched: Any, x: Tensor, *, axis: VmapTrace) -> Tensor:
    if state.trace is not axis.parent:
        return dispatch(_all_gather, (x,), {"axis": axis}).movedim(1, 0)
    return x.unsqueeze(0).expand((x._shape[0], *x._shape))


def _gather_vjp(ct: Tensor, _out: Tensor, _x: Tensor, *, axis: VmapTrace) -> tuple[Tensor]:
    whole = dispatch(_psum, (ct,), {"axis": axis})
    return (whole.index_select(0, _index_of(axis).reshape(1)).squeeze(0),)


_all_gather = Op(
    "all_gather",
    None,
    vjp=_gather_vjp,
    jvp=lambda tangents, _out, _x, *, axis: dispatch(_all_gather, (tangents[0],), {"axis": axis}),
    batch=_gather_batch,
    decompose=lambda x, *, axis: x,
    registered=False,
)


def _index_of(axis: VmapTrace) -> Tensor:
    with Outside(axis):
        return axis.leaf(arange(axis.size))


def axis_index(axis_name: Any) -> Tensor:
    """The number of the lane, in the vmap of that name: int64.

    Raises:
      NameError: no running vmap has the name; so in all functions here.
    Example:
      >>> vmap(lambda x: x * axis_index("i"), axis_name="i")(ones(3))
      tensor([0., 1., 2.])
    """
    return _index_of(_axis("axis_index", axis_name))


def axis_size(axis_name: Any) -> int:
    """How many lanes the vmap of that name has."""
    return _axis("axis_size", axis_name).size


def psum(x: Any, axis_name: Any) -> Any:
    """The sum over all lanes, in each lane; of each leaf of a pytree.

    Example:
      >>> vmap(lambda x: x / psum(x, "i"), axis_name="i")(tensor([1.0, 3.0]))
      tensor([0.2500, 0.7500])
    """
    axis = _axis("psum", axis_name)
    return tree.map(lambda t: dispatch(_psum, (_mapped(t, axis),), {"axis": axis}), x)


def pmean(x: Any, axis_name: Any) -> Any:
    """The mean over all lanes, in each lane."""
    size = axis_size(axis_name)
    return tree.map(lambda total: total / size, psum(x, axis_name))


def all_gather(x: Any, axis_name: Any) -> Any:
    """The values of all lanes, stacked in dimension 0, in each lane.

    Example:
      >>> vmap(lambda x: all_gather(x, "i").flip(0), axis_name="i")(tensor([1.0, 2.0]))
      tensor([[2., 1.],
              [2., 1.]])
    """
    axis = _axis("all_gather", axis_name)
    return tree.map(lambda t: dispatch(_all_gather, (_mapped(t, axis),), {"axis": axis}), x)


def pmax(x: Any, axis_name: Any) -> Any:
    """The maximum over all lanes, in each lane."""
    return tree.map(lambda lanes: lanes.amax(0), all_gather(x, axis_name))


def pmin(x: Any, axis_name: Any) -> Any:
    """The minimum over all lanes, in each lane."""
    return tree.map(lambda lanes: lanes.amin(0), all_gather(x, axis_name))


__all__ = ["all_gather", "axis_index", "axis_size", "pmax", "pmean", "pmin", "psum"]
