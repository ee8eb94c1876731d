"""Checkpoints: forward values that are dropped and computed again by the backward pass.

While a checkpointed function runs, recorders (replay.py) note its operations, one above each
reverse-mode transform it runs under and one for the imperative tape. The graph is made as always,
but without the saved tensors; the first rule that needs one has the recording replayed. So
closures, modules, random numbers, in-place code and hooks behave as without a checkpoint, and side
effects happen once.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial, wraps
from typing import Any

from cbackend import lib

from ..errors import message
from ..op import Op, dispatch
from ..tape import Node
from ..tensor import Tensor
from ..trace import Context, Trace, clock, state
from .replay import Place, Recorded, Recorder, Step, replay
from .vjp_trace import VjpNode, VjpTrace

Policy = Callable[[Op, dict[str, Any]], bool]

_MATMULS = {"matmul", "linear", "convolution", "convolution_input_grad", "convolution_weight_grad"}

# marks a value; costs a shell
_named = Op(
    "checkpoint_name",
    lambda x, label: lib.cb_retain(x._v),
    vjp=lambda ct, _out, _x, label: (ct,),
    jvp=lambda tangents, _out, _x, label: tangents[0],
    batch=lambda _size, _batched, x, label: dispatch(_named, (x,), {"label": label}),
    registered=False,
)


def checkpoint_name(x: Tensor, name: str) -> Tensor:
    """x, under a name by which a checkpoint's policy can tell that it is to be kept.

    Example:
      >>> policy = ["hidden"]
      >>> f = checkpoint(lambda x: checkpoint_name(x.exp(), "hidden").sin(), policy=policy)
      >>> grad(f)(tensor(0.0))
      tensor(0.5403)
    """
    return dispatch(_named, (x,), {"label": name})


def _as_policy(policy: Any) -> Policy | None:
    """What to keep, as a function of an op and its params; None: nothing."""
    if policy is None or policy == "nothing":
        return None
    if policy == "everything":
        return lambda op, params: True
    if policy == "matmuls":
        return lambda op, params: op.name in _MATMULS
    if callable(policy):
        return policy  # type: ignore[return-value]
    if isinstance(policy, Collection) and not isinstance(policy, str):
        names = set(policy)
        return lambda op, params: op is _named and params["label"] in names
    raise ValueError(
        message(
            "checkpoint",
            'policy "nothing", "everything", "matmuls", a collection of names or a predicate',
            repr(policy),
        )
    )


class _Region:
    """What one recorder saw of a checkpointed call, and the nodes that lack their saved tensors."""

    def __init__(self, parent: Trace | None, policy: Policy | None):
        self.trace = parent if isinstance(parent, VjpTrace) else None
        self.policy = policy
        self.recorder = Recorder(self.strip)
        self.recorder.slip_over(parent)
        self.nodes: list[tuple[Node, list[Any], tuple[Place, ...] | None]] = []
        self.values: list[tuple[Node, list[Any], tuple[Place, ...] | None]] = []

    @property
    def steps(self) -> list[Step]:
        return self.recorder.steps

    def strip(self, index: int, outs: tuple[Tensor, ...]) -> None:
        """Takes the saved tensors from the nodes that an operation has just made."""
        step = self.steps[index]
        if self.policy is not None and self.policy(step.op, step.params):
            step.kept = tuple([t._alias() for t in outs])
        first = outs[0]._m
        if first is not None and first.requires_grad:
            node = getattr(first, "node", first)
            if isinstance(node, Node) and not isinstance(node, VjpNode):
                self._empty(node, index, step, self.nodes, self.restore_tape)
        if self.trace is None:
            return
        for t in outs:
            value = self.trace.value_of(t)
            if value is not None:
                node: Any = getattr(value.node, "node", value.node)
                self._empty(node, index, step, self.values, self.restore_trace)

    def _empty(
        self,
        node: Node,
        index: int,
        step: Step,
        into: list[Any],
        restore: Callable[[], None],
    ) -> None:
        if node.op is not step.op or node.args is None or node.clock < 0:
            return
        args = [
            s if type(s) is tuple and isinstance(a, Tensor) else a
            for a, s in zip(node.args, step.sources, strict=True)
        ]
        out = None
        if node.out is not None:
            count = len(node.out) if type(node.out) is tuple else 1
            out = tuple([(index, i) for i in range(count)])
        if out is None and all(type(a) is not tuple for a in args):
            return
        into.append((node, args, out))
        node.args, node.out, node.clock = [], None, -1
        node.op = Recorded(step.op, restore)  # type: ignore[assignment]

    def restore_tape(self) -> None:
        """Gives the tape's nodes their saved tensors back."""
        saved = state.grad
        state.grad = saved and self.recorder.parent is not None  # a context below may record
        try:
            with Context(self.recorder.parent):
                self._fill(self.nodes, lambda t: t)
        finally:
            state.grad = saved

    def restore_trace(self) -> None:
        """Gives the nodes of the reverse-mode transform their saved tensors back."""
        assert self.trace is not None
        with Context(self.trace.parent):
            self._fill(self.values, self.trace.lower)

    def _fill(self, nodes: list[Any], lower: Callable[[Tensor], Tensor]) -> None:
        entries = list(nodes)
        nodes.clear()
        wanted = {a for _, args, _ in entries for a in args if type(a) is tuple}
        wanted |= {place for _, _, out in entries for place in out or ()}
        found = replay(self.steps, wanted, lower=lower)
        for node, args, out in entries:
            on_tape = not isinstance(node, VjpNode)
            node.args = [
                a if type(a) is not tuple else _connected(found[a], edge if on_tape else None)
                for a, edge in zip(args, node.edges, strict=True)
            ]
            if out is not None:
                several = node.op.nouts > 1
                node.out = tuple([found[p] for p in out]) if several else found[out[0]]
            node.op, node.clock = node.op.op, clock[0]
        if self.recorder.finished and not self.nodes and not self.values:
            self.recorder.steps = []  # lets go of the inputs


def _connected(t: Tensor, meta: Any) -> Tensor:
    """The tensor at its place on the tape, for backward passes that are recorded themselves."""
    if meta is None:
        return t
    t = t._alias()
    t._m = meta
    return t


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    policy: Any = "nothing",
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Runs a function without keeping its intermediate values for the backward pass.

    They are computed again when the backward pass gets there: memory for time. With arguments the
    function is called, as torch.utils.checkpoint does; without, a checkpointed function is
    returned, as jax.checkpoint does. Works on the tape and under every transform; random
    operations give the same numbers again.

    Args:
      policy: what to keep nevertheless: "nothing", "everything", "matmuls" (results of matrix
        products and convolutions), a collection of names given by checkpoint_name, or a predicate
        `policy(op, params) -> bool`.
      use_reentrant, preserve_rng_state: accepted for torch's sake; there is one kind, and random
        numbers are always the same.
    Raises:
      GradError: in the backward pass, when an input was overwritten in memory in between.
    Reference: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
    Example:
      >>> f = checkpoint(lambda x: x.sin().exp())
      >>> grad(f)(tensor(0.0))
      tensor(1.)
    """
    chosen = _as_policy(policy)

    @wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return _run(function, args, kwargs, chosen)

    return checkpointed(*args, **kwargs) if args or kwargs else checkpointed


remat = checkpoint


def _run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    policy: Policy | None,
) -> Any:
    """Calls the function with a recorder above each reverse-mode trace and one at either end."""
    traces: list[Trace] = []
    top = trace = state.trace
    while trace is not None:
        traces.append(trace)
        trace = trace.parent
    above: list[Trace | None] = [
        t for i, t in enumerate(traces) if i == 0 or isinstance(t, VjpTrace)
    ]
    above.append(None)
    regions: list[_Region] = []
    moved: list[tuple[Trace, Trace | None]] = []
    try:
        for parent in above:
            regions.append(_Region(parent, policy))
        for upper, lower in zip(traces, [*traces[1:], None], strict=False):
            for region in regions[1:]:
                if region.recorder.parent is lower:
                    moved.append((upper, lower))
                    upper.parent = region.recorder
        state.trace = regions[0].recorder
        return function(*args, **kwargs)
    finally:
        state.trace = top
        for trace in traces:  # an outer checkpoint is responsible for what is in an inner one too
            if isinstance(trace, Recorder):
                trace.settle()
        for upper, lower in moved:
            upper.parent = lower
        for region in regions:
            region.recorder.lift()
            if not region.nodes and not region.values:  # lets go of the inputs
                region.recorder.steps = []


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Applies functions one after the other, in `segments` checkpoints.

    Args:
      functions: callables, or a module that iterates over its parts, each of one argument.
      segments: how many; the last one is not checkpointed, since its values are needed at once.
        Later ones are shorter: more inputs of segments are alive while their values are.
    Example:
      >>> x = tensor(0.5, requires_grad=True)
      >>> checkpoint_sequential([sin, exp, cos], 2, x).backward()
    """
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= max(1, len(parts)):
        raise ValueError(
            message("checkpoint_sequential", f"segments in [1, {len(parts)}]", segments)
        )
    sizes = [1] * segments
    for _ in range(len(parts) - segments):  # one more where that makes the smallest peak
        sizes[min(range(segments), key=lambda i: i + sizes[i])] += 1

    def apply(some: Sequence[Callable[..., Any]], x: Any) -> Any:
        for part in some:
            x = part(x)
        return x

    at = 0
    for size in sizes[:-1]:
        input = checkpoint(partial(apply, parts[at : at + size]), input, **kwargs)
        at += size
    return apply(parts[at:], input)


__all__ = ["checkpoint", "checkpoint_name", "checkpoint_sequential", "remat"]
