"""Reverse mode: the graph of recorded operations and the pass back through it.

A Node is made for every operation with an input that requires grad, by the imperative tape and by
the vjp transform alike; the same pass serves both. A node is itself the meta of its (single)
output, so recording costs one object. Nodes keep what their op's rule names, nothing else; an
output is kept without its meta, so no reference cycles arise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from cbackend import Record, lib, output_of, prepare_records, record

from . import op as op_module
from .errors import GradError, ShapeError, message
from .op import Spec
from .parts import Parts
from .trace import Meta, clock, next_sequence, state

if TYPE_CHECKING:
    from .narrow import Narrowing
    from .tensor import Tensor


class Node(Record, Meta):
    """A recorded operation; the meta of its output when there is one output.

    Attributes of Record, whose members the core fills in (fill_node):
      op, seq, edges: what was done, when, and the metas of the inputs that want a gradient.
      args: of the inputs, what the reverse rule needs; None once freed.
      params: of the op, or of a view the arguments as its link has them.
      needs: which inputs want a gradient, where the rule asks for that.
      out: the output, or outputs, without their metas, where the rule names it.
      specs: of elementwise ops, where an input differs in shape or dtype from the result.
      clock: when it was made; -1 where nothing is saved.
    """

    def saved_out(self) -> Any:
        """The result as the reverse rule sees it: connected to the graph when the tape records."""
        out = self.out
        if out is None or not state.grad:
            return out
        if type(out) is tuple:
            return tuple(_reconnected(t, output_of(self, i, t)) for i, t in enumerate(out))
        return _reconnected(out, self)

    def name(self) -> str:
        """The name shown by printing, as in torch: `MulBackward0`."""
        return "".join(word.capitalize() for word in self.op.name.split("_")) + "Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes of the inputs, as in torch."""
        return tuple(
            (getattr(e, "node", e), e.index or 0) if e is not None else (None, 0)
            for e in self.edges
        )


class OutputMeta(Record, Meta):
    """The meta of one output of an operation with several, made by output_of()."""

    def name(self) -> str:
        return self.node.name()

    def __repr__(self) -> str:
        return repr(self.node)


def _reconnected(plain: Tensor, meta: Meta) -> Tensor:
    t = plain._alias()
    t._m = meta
    return t


def irregular(args: Sequence[Tensor], out: Tensor) -> bool:
    """Does an input differ in shape or dtype from the result?"""
    if out._v:
        return bool(out._v.flags & 8)
    if out._m.regular:
        return False
    shape, dtype = out._shape, out.dtype
    return any(a._shape != shape or a.dtype is not dtype for a in args)


prepare_records(Node, OutputMeta, Spec, next_sequence.__self__, clock, irregular)
op_module.record = record


def check_saved(node: Node) -> None:
    """Finds the saved inputs as they were when the node was made, or says that they are gone."""
    if node.args is None:
        raise GradError(
            message(
                "backward",
                "a graph that still has its saved tensors",
                f"one that was freed by an earlier pass (at {node.name()})",
                "Pass retain_graph=True to the first backward.",
            )
        )
    for i, a in enumerate(node.args):
        if a is None or type(a) is Spec or not hasattr(a, "_m"):
            continue
        saved = _as_saved(node, a, f"input {i}")
        if saved is not a:
            node.args = [*node.args[:i], saved, *node.args[i + 1 :]]
    if node.out is not None:
        if type(node.out) is tuple:
            node.out = tuple([_as_saved(node, t, "an output") for t in node.out])
        else:
            node.out = _as_saved(node, node.out, "the output")


def _as_saved(node: Node, t: Tensor, which: str) -> Tensor:
    """The value that a saved tensor had when the node was made."""
    m = t._m
    if m is not None:
        if m.is_view:
            op_module.sync(t)
            m = t._m
        entry = m.history
        while entry is not None and entry[0] > node.clock:
            t, entry = entry[1], entry[2]
    if t._v and lib.cb_last_write(t._v) > node.clock:
        raise GradError(
            message(
                "backward",
                f"{which} of {node.op.name} (shape {list(t._shape)}) as it was in the forward pass",
                "a tensor that an in-place operation has changed since",
                "Write to a clone(), or use the out-of-place form.",
            )
        )
    return t


def run_backward(
    roots: Sequence[tuple[Meta, Tensor]],
    *,
    wanted: set[Meta] | None = None,
    retain_graph: bool = False,
    complete: Callable[[Meta, Tensor], None] | None = None,
    within: Narrowing | None = None,
) -> dict[Meta, Tensor]:
    """Carries cotangents from the roots to the leaves; returns those of leaves, or of `wanted`.

    Nodes are visited newest first: by then every use of their output has contributed.

    Args:
      complete: called with a leaf that has after_hooks and its cotangent as soon as every use has
        contributed, while the pass goes on; such leaves are not returned.
      within: the part of the graph to visit, where `wanted` does not take all of it.
    """
    if state.trace is not None:
        state.trace.settle()
    uses = _uses_of_watched_leaves(roots) if complete is not None else None
    cts: dict[Meta, Any] = {}
    found: dict[Meta, Tensor] = {}
    outputs: dict[Node, list[Any]] = {}
    heap: list[tuple[int, int, Any]] = []
    # the one node due and its cotangent, while there is one: chains touch neither heap nor cts
    only: Any = None
    only_ct: Any = None
    # leaves stay in cts; what else is wanted has to be caught when it comes by
    inner: set[Meta] | None = None
    if wanted is not None:
        for meta in wanted:
            if meta.op is not None:
                inner = inner or set()
                inner.add(meta)

    for meta, ct in roots:
        if meta in cts:
            cts[meta] = cts[meta] + ct
            continue
        if len(roots) == 1 and meta.op is not None:
            only, only_ct = meta, ct
            break
        cts[meta] = ct
        if meta.op is not None:
            heappush(heap, (-meta.seq, id(meta), meta))
    while heap or only is not None:
        if only is None:
            meta = heappop(heap)[2]
            ct = cts.pop(meta, None)
        else:
            meta, ct, only, only_ct = only, only_ct, None, None
        if ct.__class__ is Parts:
            ct = ct.whole()
        if not meta.watched:
            node = meta
            if inner is not None and meta in inner:
                found[meta] = ct
        elif type(meta) is _Due:
            node = meta.node
            ct = tuple(outputs.pop(node))
        else:
            if meta.hooks is not None:
                ct = run_hooks(meta, ct)
            if inner is not None and meta in inner:
                found[meta] = ct
            if meta.retains_grad:
                accumulate(meta, ct)
            # gather the cotangents of all outputs: they have one seq, all are due now
            if meta.index is not None:
                node = meta.node
                if node not in outputs:
                    outputs[node] = [None] * node.op.nouts
                    heappush(heap, (-node.seq, id(node) + (1 << 64), _Due(node)))
                outputs[node][meta.index] = ct
                continue
            node = meta
        if within is not None and within.leaves_out(node):
            continue
        if node.clock >= 0 and (clock[0] != node.clock or node.args is None):
            check_saved(node)
        i = 0
        part, edges = (node, node.edges) if within is None else within.part_of(node)
        for g in part.op.pull(part, ct):
            edge = edges[i]
            i += 1
            if g is None or edge is None:
                continue
            if edge is only:
                only_ct = only_ct + g
            elif edge in cts:
                cts[edge] = cts[edge] + g
            elif edge.op is None:
                cts[edge] = g
            elif only is None and not heap:
                only, only_ct = edge, g
            else:
                if only is not None:
                    cts[only] = only_ct
                    heappush(heap, (-only.seq, id(only), only))
                    only = only_ct = None
                cts[edge] = g
                heappush(heap, (-edge.seq, id(edge), edge))
        if not retain_graph and node.clock >= 0 and not node.op.view:
            node.args = node.out = None
        if uses:
            ct = g = None  # a gradient that nothing else refers to need not be cloned
            for leaf in _completed(uses, node):
                if leaf not in cts:
                    continue
                if cts[leaf].__class__ is Parts:
                    cts[leaf] = cts[leaf].whole()
                if leaf.hooks is not None:
                    cts[leaf] = run_hooks(leaf, cts[leaf])
                complete(leaf, cts.pop(leaf))  # type: ignore[misc]
    for meta, ct in cts.items():
        if ct.__class__ is Parts:
            cts[meta] = ct.whole()
    for meta in cts:
        if meta.successor is not None:
            cts = _moved_on(cts)
            break
    for meta, ct in cts.items():
        if meta.hooks is not None:
            ct = run_hooks(meta, ct)
        if wanted is None or meta in wanted:
            found[meta] = ct
    return found


def _moved_on(cts: dict[Meta, Any]) -> dict[Meta, Any]:
    """Cotangents of leaves that were written without being recorded go to what they are now."""
    moved: dict[Meta, Any] = {}
    for meta, ct in cts.items():
        meta = meta.last()
        moved[meta] = moved[meta] + ct if meta in moved else ct
    return moved


def _uses_of_watched_leaves(roots: Sequence[tuple[Meta, Tensor]]) -> dict[Meta, int]:
    """How often the graph below the roots uses each leaf that has after_hooks."""
    uses: dict[Meta, int] = {}
    recorded, _ = below([meta for meta, _ in roots])
    for node in {meta if meta.index is None else meta.node for meta in recorded}:
        for edge in node.edges:
            if edge is None or edge.op is not None or not edge.after_hooks:
                continue
            if getattr(edge, "successor", None) is None:
                uses[edge] = uses.get(edge, 0) + 1
    return uses


def _completed(uses: dict[Meta, int], node: Node) -> list[Meta]:
    """The leaves that no other node will contribute to, now that this one has."""
    found = []
    for edge in node.edges:
        if edge in uses:
            uses[edge] -= 1
            if not uses[edge]:
                del uses[edge]
                found.append(edge)
    return found


def used_leaves(tensors: Sequence[Tensor]) -> set[Meta]:
    """The metas of all leaves that tensors were computed from."""
    return below([m for t in tensors if (m := t._current()) is not None and m.requires_grad])[1]


def below(metas: Sequence[Meta]) -> tuple[list[Any], set[Any]]:
    """What leads to metas, themselves included: those that were recorded, and the leaves."""
    recorded: list[Any] = []
    leaves: set[Any] = set()
    seen: set[Any] = {None}
    stack: list[Any] = list(metas)
    while stack:
        meta = stack.pop()
        if meta in seen:
            continue
        seen.add(meta)
        if meta.op is None:
            leaves.add(meta)
        else:
            recorded.append(meta)
            stack += meta.edges if meta.index is None else meta.node.edges
    return recorded, leaves


class _Due:
    """Marks on the heap that all outputs of a node have been gathered."""

    __slots__ = ("node",)
    watched = True

    def __init__(self, node: Node):
        self.node = node


def run_hooks(meta: Meta, ct: Tensor) -> Tensor:
    """A hook may return a replacement for the gradient."""
    for hook in list(meta.hooks or ()):
        replacement = hook(ct)
        if replacement is None:
            continue
        if not hasattr(replacement, "_m"):
            raise TypeError(
                message(
                    "register_hook",
                    "a hook that returns a tensor or None",
                    type(replacement).__name__,
                )
            )
        if replacement._shape != ct._shape:
            raise ShapeError(
                message(
                    "register_hook",
                    f"a hook that returns shape {list(ct._shape)}",
                    list(replacement._shape),
                )
            )
        ct = replacement
    return ct


def accumulate(meta: Meta, ct: Tensor) -> None:
    """grad += ct, without sharing memory with anything else."""
    if meta.grad is None:
        meta.grad = ct.clone()
    else:
        meta.grad = meta.grad + ct
