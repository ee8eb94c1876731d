"""vmap: what a mapped function's arguments and results mean, and how lanes are run.

All lanes run at once until Python looks at a value (`if x > 0`) on which they differ. Then the
function is run again for each group of lanes that agree, and the results are put back in order; the
groups may part again. So a mapped function may hold any Python control flow, and must be pure.
"""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .. import tree
from ..errors import TraceError, message
from ..ops.creation import tensor
from ..ops.join import cat
from ..tensor import Tensor
from .vmap_trace import LanesDiffer, VmapTrace

__all__ = ["vmap"]


def vmap(
    function: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "different",
    *,
    chunk_size: int | str | None = None,
    axis_name: Any = None,
    max_paths: int = 1024,
) -> Callable[..., Any]:
    """A function that maps over a dimension of its arguments, in one pass.

    Python control flow on mapped values works: where lanes take different ways, each group of lanes
    is computed in a pass of its own.

    Args:
      in_dims: the dimension to map over for each argument: an int, None (not mapped), or a pytree
        of them, also a prefix.
      out_dims: where the mapped dimension goes in each result.
      randomness: "different" draws for each lane, "same" draws once, "error" forbids random
        operations.
      chunk_size: how many lanes to compute at once; None: all; "auto": as many as a quarter of the
        free memory holds.
      axis_name: a name by which psum and its like find the lanes; not with chunk_size.
      max_paths: how many ways through the function lanes may take.
    Raises:
      ValueError: in_dims out of range or of another structure, no mapped argument, sizes that
        differ.
      TraceError: more paths than max_paths; lanes whose results differ in shape.
      Exceptions of the function raised on the way of some lanes have a note that lists them.
    Example:
      >>> vmap(lambda x: x.sum())(tensor([[1.0, 2.0], [3.0, 4.0]]))
      tensor([3., 7.])
      >>> vmap(lambda x: x if x > 0 else -10 * x)(tensor([1.0, -2.0, 3.0]))
      tensor([ 1., 20.,  3.])
    """
    if randomness not in ("different", "same", "error"):
        raise ValueError(
            message("vmap", 'randomness "different", "same" or "error"', repr(randomness))
        )
    if not (chunk_size is None or chunk_size == "auto") and (
        not isinstance(chunk_size, int) or chunk_size < 1
    ):
        raise ValueError(message("vmap", 'a chunk_size of at least 1, or "auto"', repr(chunk_size)))
    if axis_name is not None and chunk_size is not None:
        raise ValueError(message("vmap", "axis_name or chunk_size", "both"))

    plain = type(in_dims) is int and in_dims == 0 and type(out_dims) is int
    plain = plain and chunk_size is None and axis_name is None

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if plain and not kwargs:
            out = _of_tensors(function, args, randomness, max_paths, out_dims)
            if out is not None:
                return out
        flat, definition = tree.flatten(args)
        dims = _in_dims(in_dims, args, flat)
        size = _mapped_size(flat, dims)
        fronted = [
            x if d is None else x if d == 0 else x.movedim(d, 0)
            for x, d in zip(flat, dims, strict=True)
        ]
        run = _Run(function, definition, dims, kwargs, out_dims, randomness, axis_name, max_paths)
        chunk = size if chunk_size is None else chunk_size
        if isinstance(chunk, str):
            chunk = run.fitting(size, fronted)
        if chunk >= size:
            return run.finished(size, *run.lanes(size, fronted))
        pieces = []
        for start in range(0, size, chunk):
            stop = min(start + chunk, size)
            some = [x if d is None else x[start:stop] for x, d in zip(fronted, dims, strict=True)]
            with _Naming(run, range(start, stop)):
                pairs = run.lanes(stop - start, some, range(start, stop))
            pieces.append(run.finished(stop - start, *pairs))
        return _joined(pieces, out_dims)

    return wrapped


def over_lanes(
    function: Callable[..., Any],
    args: Sequence[Tensor],
    out_dim: int = 0,
    randomness: str = "different",
) -> Any:
    """vmap(function, 0, out_dim)(*args) for tensors of one size in front."""
    return _of_tensors(function, args, randomness, 1024, out_dim)


def _of_tensors(
    function: Callable[..., Any],
    args: Sequence[Any],
    randomness: str,
    max_paths: int,
    out_dim: int,
) -> Any:
    """The usual call without its generality: tensors, mapped in front, one place for all results.

    None before anything has run if this is another.
    """
    size = -1
    for x in args:
        if not isinstance(x, Tensor):
            return None
        shape = x._shape
        if not shape or (size >= 0 and shape[0] != size):
            return None
        size = shape[0]
    if size < 0:
        return None
    trace = VmapTrace(size, randomness)
    trace.run_one_lane = lambda: function(*[x[0] for x in args])
    completed = False
    try:
        with trace:
            out = function(*[trace.leaf(x) for x in args])
            completed = True
            m: Any = out._current() if isinstance(out, Tensor) else None
            if m is not None and m.trace is trace:
                y, definition = (m.tracer or m).physical, None
            else:
                pairs, definition = _unpacked(trace, out)
    except LanesDiffer as parting:
        if parting.trace is not trace:
            raise
        groups = parting.groups
    else:
        if definition is None:
            return y if out_dim == 0 else _placed(y, True, out_dim, size)
        return tree.unflatten(definition, [_placed(y, b, out_dim, size) for y, b in pairs])
    finally:
        if trace.streams:
            trace.finish_streams(completed)
    run = _Run(function, len(args), [0] * len(args), {}, out_dim, randomness, None, max_paths)
    return run.finished(size, *run._groups(groups, list(args), range(size)))


def _unpacked(trace: VmapTrace, out: Any) -> tuple[list[Any], Any]:
    """(results, each with whether its dimension 0 is mapped; their tree).

    To be called while the trace is current.
    """
    flat, definition = tree.flatten(out)
    for y in flat:
        if isinstance(y, Tensor):
            y._current()  # a view takes up what was written to its base
    pairs = [trace.unpack(y) if isinstance(y, Tensor) else (y, None) for y in flat]
    return pairs, definition


class _Run:
    """One call of a mapped function."""

    def __init__(
        self,
        function: Callable[..., Any],
        definition: Any,
        dims: list[int | None],
        kwargs: dict[str, Any],
        out_dims: Any,
        randomness: str,
        axis_name: Any,
        max_paths: int,
    ):
        self.function, self.definition, self.dims = function, definition, dims
        self.kwargs, self.out_dims, self.randomness = kwargs, out_dims, randomness
        self.axis_name, self.max_paths = axis_name, max_paths
        self.paths = 1
        self.named: Exception | None = None  # the exception whose lanes have been told

    def lanes(
        self, size: int, leaves: list[Any], numbers: Sequence[int] | None = None
    ) -> tuple[list[Any], Any]:
        """(results, each with whether its dimension 0 is mapped; the tree they stand in).

        Args:
          numbers: which lanes of the whole these are.
        """
        trace = VmapTrace(size, self.randomness, self.axis_name)
        trace.run_one_lane = lambda: self._one_lane(leaves)
        completed = False
        try:
            with trace:
                inputs = [
                    x if d is None else trace.leaf(x)
                    for x, d in zip(leaves, self.dims, strict=True)
                ]
                out = self.function(*tree.unflatten(self.definition, inputs), **self.kwargs)
                pairs, definition = _unpacked(trace, out)
        except LanesDiffer as parting:
            if parting.trace is not trace:
                raise
            groups = parting.groups
        else:
            completed = True
            return pairs, definition
        finally:
            if trace.streams:
                trace.finish_streams(completed)
        return self._groups(groups, leaves, range(size) if numbers is None else numbers)

    def _one_lane(self, leaves: list[Any]) -> None:
        inputs = [x if d is None else x[0] for x, d in zip(leaves, self.dims, strict=True)]
        self.function(*tree.unflatten(self.definition, inputs), **self.kwargs)

    def fitting(self, size: int, leaves: list[Any]) -> int:
        """How many lanes memory holds at once."""
        from ..staging.budget import lanes_that_fit

        def run(lanes: int, some: list[Any]) -> list[Tensor]:
            return [y for y, _ in self.lanes(lanes, some)[0] if isinstance(y, Tensor)]

        return lanes_that_fit(run, leaves, [d is not None for d in self.dims], size)

    def _groups(
        self, groups: list[list[int]], leaves: list[Any], numbers: Sequence[int]
    ) -> tuple[list[Any], Any]:
        """Runs lanes that agree together, and puts the results back in order."""
        if self.axis_name is not None:
            raise TraceError(
                message(
                    "vmap",
                    "lanes that take one way where axis_name is given",
                    f"{len(groups)} ways",
                    "Use where() or cond() instead of if.",
                )
            )
        self.paths += len(groups) - 1
        if self.paths > self.max_paths:
            raise TraceError(
                message(
                    "vmap",
                    f"at most max_paths={self.max_paths} ways through the function",
                    f"lanes that take at least {self.paths}",
                    "Use where() or cond() instead of if, or raise max_paths.",
                )
            )
        ran = []
        for lanes in groups:
            at = tensor(lanes)
            some = [
                x if d is None else x.index_select(0, at)
                for x, d in zip(leaves, self.dims, strict=True)
            ]
            whose = [numbers[lane] for lane in lanes]
            with _Naming(self, whose):
                ran.append(self.lanes(len(lanes), some, whose))
        definition = ran[0][1]
        order = [lane for lanes in groups for lane in lanes]
        back = tensor(sorted(range(len(order)), key=order.__getitem__))
        joined: list[Any] = []
        for i, (first, mapped) in enumerate(ran[0][0]):
            if mapped is None:
                joined.append((first, None))
                continue
            pieces = []
            for lanes, (pairs, other) in zip(groups, ran, strict=True):
                if other != definition or len(pairs) != len(ran[0][0]):
                    raise TraceError(
                        message(
                            "vmap",
                            "results of one structure from all lanes",
                            f"{definition} from lane {groups[0][0]}, {other} from lane {lanes[0]}",
                        )
                    )
                y, batched = pairs[i]
                pieces.append(y if batched else y.unsqueeze(0).expand((len(lanes), *y._shape)))
            shapes = {y._shape[1:]: lanes[0] for y, lanes in zip(pieces, groups, strict=True)}
            if len(shapes) > 1:
                listed = ", ".join(f"{list(s)} from lane {lane}" for s, lane in shapes.items())
                raise TraceError(
                    message("vmap", "results of one shape from all lanes", listed, "Pad them.")
                )
            joined.append((cat(pieces, 0).index_select(0, back), True))
        return joined, definition

    def finished(self, size: int, pairs: list[Any], definition: Any) -> Any:
        """The results with their mapped dimensions where out_dims wants them."""
        out = tree.unflatten(definition, [y for y, _ in pairs])
        where_to = _out_dims(self.out_dims, out)
        return tree.unflatten(
            definition,
            [_placed(y, batched, d, size) for (y, batched), d in zip(pairs, where_to, strict=True)],
        )


class _Naming:
    """Adds to an exception in which lanes of a run it was raised."""

    def __init__(self, run: _Run, lanes: Sequence[int]):
        self.run, self.lanes = run, lanes

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _traceback: Any) -> None:
        if not isinstance(error, Exception) or self.run.named is error:
            return  # none, a parting of lanes, or named by a smaller group
        self.run.named = error
        shown = [str(lane) for lane in self.lanes[:10]]
        if len(self.lanes) > 10:
            shown += ["...", str(self.lanes[-1])]
        note = f"in lane{'s' if len(shown) > 1 else ''} {', '.join(shown)} of vmap"
        if hasattr(error, "add_note"):
            error.add_note(note)
        elif error.args and isinstance(error.args[0], str):  # Python 3.10
            error.args = (f"{error.args[0]} ({note})", *error.args[1:])


def _in_dims(in_dims: Any, args: tuple[Any, ...], flat: list[Any]) -> list[int | None]:
    """One checked, non-negative dim (or None) a leaf."""
    if isinstance(in_dims, list):
        in_dims = tuple(in_dims)
    if isinstance(in_dims, tuple) and len(in_dims) != len(args):
        raise ValueError(
            message(
                "vmap",
                f"one entry of in_dims an argument ({len(args)})",
                f"{len(in_dims)}: {in_dims}",
            )
        )
    dims = tree.broadcast_prefix(in_dims, args, "vmap: in_dims")
    checked: list[int | None] = []
    for i, (x, d) in enumerate(zip(flat, dims, strict=True)):
        if d is not None and not isinstance(d, int):
            raise TypeError(message("vmap", "ints and None in in_dims", repr(d)))
        if not isinstance(x, Tensor):
            if d is not None and in_dims != 0:
                raise ValueError(
                    message("vmap", f"None in in_dims for leaf {i}, which is not a tensor", d)
                )
            checked.append(None)
            continue
        if d is not None and not -x.ndim <= d < x.ndim:
            hint = "Use None for arguments that are not mapped."
            if not x.ndim:
                raise ValueError(
                    message("vmap", "None in in_dims for 0-d tensors", f"{d} for leaf {i}", hint)
                )
            rule = f"in_dims in [{-x.ndim}, {x.ndim - 1}] for leaf {i} of shape {list(x._shape)}"
            raise ValueError(message("vmap", rule, d, hint))
        checked.append(None if d is None else d % x.ndim)
    return checked


def _mapped_size(flat: list[Any], dims: list[int | None]) -> int:
    sizes = {x._shape[d] for x, d in zip(flat, dims, strict=True) if d is not None}
    if not sizes:
        raise ValueError(
            message("vmap", "at least one mapped tensor argument", "none", "Check in_dims.")
        )
    if len(sizes) > 1:
        listed = [(list(x._shape), d) for x, d in zip(flat, dims, strict=True) if d is not None]
        raise ValueError(
            message(
                "vmap",
                "mapped dimensions of one size",
                f"sizes {sorted(sizes)} (shapes and in_dims: {listed})",
            )
        )
    return sizes.pop()


def _placed(y: Any, batched: bool | None, dim: int | None, size: int) -> Any:
    """A result with its mapped dimension where out_dims wants it."""
    if dim is None:
        if batched:
            raise ValueError(
                message("vmap", "an unmapped result where out_dims is None", "a mapped one")
            )
        return y
    if not isinstance(y, Tensor):
        raise TypeError(
            message(
                "vmap", "tensors in the function's result", type(y).__name__, "Return tensors only."
            )
        )
    if not batched:
        y = y.unsqueeze(0).expand((size, *y._shape))
    n = y.ndim
    if not -n <= dim < n:
        raise ValueError(message("vmap", f"out_dims in [{-n}, {n - 1}]", dim))
    if dim == 0 or dim == -n:
        return y
    return y.transpose(0, 1) if n == 2 else y.movedim(0, dim)


def _out_dims(out_dims: Any, out: Any) -> list[int | None]:
    """One entry of out_dims for each leaf of a result; of one tensor it may be a tuple of one."""
    if isinstance(out, Tensor) and isinstance(out_dims, (tuple, list)) and len(out_dims) == 1:
        out_dims = out_dims[0]
    places = tree.broadcast_prefix(out_dims, out, "vmap: out_dims")
    for d in places:
        if d is not None and not isinstance(d, int):
            raise TypeError(message("vmap", "ints and None in out_dims", repr(d)))
    return places


def _joined(pieces: list[Any], out_dims: Any) -> Any:
    where_to = _out_dims(out_dims, pieces[0])
    flats = [tree.flatten(p) for p in pieces]
    definition = flats[0][1]
    joined = [
        f[0] if d is None else cat(f, d)
        for d, *f in zip(where_to, *[leaves for leaves, _ in flats], strict=True)
    ]
    return tree.unflatten(definition, joined)
