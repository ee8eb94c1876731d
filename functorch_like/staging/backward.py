"""Compiled functions on the tape: a program forward, and one for the backward pass.

Both come from one graph of the function and its gradients. What the backward part reads of the
forward part is kept from the one run to the other.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import output_of

from .. import autograd
from ..dtypes import device_from_code
from ..ops.creation import zeros
from ..tape import Node
from ..tensor import Tensor
from ..trace import next_sequence, state
from .aliases import on_tape
from .entry import Entry
from .graph import Equation, Graph, Var
from .passes import optimize
from .program import Program
from .stage import Staged, StageTrace


class Differentiable:
    """A compiled function whose results require grad."""

    definition: Any = None

    def __init__(
        self,
        forward: Entry,
        backward: Program,
        smooth: list[int],
        edges: list[Tensor | int],
        like: list[Tensor],
        n_kept: int,
        function: Callable[..., Any],
    ):
        self.forward, self.backward, self.smooth = forward, backward, smooth
        self.edges, self.like, self.n_kept, self.function = edges, like, n_kept, function
        self.name, self.nouts = "compiled", len(smooth)

    def __repr__(self) -> str:
        return "<op compiled>"

    @classmethod
    def stage(
        cls,
        function: Callable[..., list[Tensor]],
        leaves: list[Tensor],
        recorded: Sequence[bool],
        owner: Any,
    ) -> Differentiable | Staged:
        """Stages the function, with its gradients if a result requires grad.

        Args:
          function: of the tensors, and of the floats of the call when nothing is staged.
          owner: the user's function.
        """
        with StageTrace() as trace:
            try:
                inputs = [trace.input(x) for x in leaves]
                sources: list[tuple[Tensor, Tensor | int]] = []  # a leaf inside, and what it is
                for i, (t, wanted) in enumerate(zip(inputs, recorded, strict=True)):
                    if wanted:
                        t.requires_grad_()
                        sources.append((t, i))
                results = function(inputs)
                for t in results:
                    t._current()
                smooth = [i for i, t in enumerate(results) if on_tape(t)]
                staged = Staged(trace, results)
                if not smooth:
                    return staged
                sources += [(b.tensor, b.tensor) for b, asked in trace.asked if asked]
                cts = [trace.cotangent(results[i]) for i in smooth]
                inside = [t for t, _ in sources]
                with _Ends(inside):
                    gradients = autograd.grad(
                        [results[i] for i in smooth], inside, cts, allow_unused=True
                    )
                used = [i for i, g in enumerate(gradients) if g is not None]
                if not used:
                    return staged
                wanted_vars = [trace.var_of(gradients[i]) for i in used]  # type: ignore[arg-type]
                if trace.token is not staged.token:  # the backward pass has effects of its own
                    wanted_vars.append(trace.token)  # type: ignore[arg-type]
            finally:
                trace.restore()
        staged.settle(trace)
        arguments = trace.inputs[: len(leaves)] + [var for var, _ in trace.numbers]
        ct_vars = trace.inputs[len(leaves) :]
        outputs = staged.graph.outputs
        whole = optimize(Graph(arguments + ct_vars, trace.equations, outputs + wanted_vars))
        staged.graph, backward, n_kept = _divided(whole, len(arguments), len(outputs))
        forward = Entry(staged, None, owner, n_kept)
        edges = [sources[i][1] for i in used]
        like = [v.meta for v in ct_vars]
        return cls(forward, Program(backward), smooth, edges, like, n_kept, function)

    def call(self, tensors: list[Tensor], floats: Sequence[float]) -> Any:
        """The results, on the tape; None or False as Entry.call."""
        out = self.forward.call(tensors, floats)
        if not out:
            return out
        results, kept = out[: len(out) - self.n_kept], out[len(out) - self.n_kept :]
        node = Node()
        node.op = self  # type: ignore[assignment]
        node.seq = next_sequence()
        leaves = [tensors[e] if isinstance(e, int) else e for e in self.edges]
        node.edges = tuple([t._m for t in leaves])
        node.needs = (True,) * len(leaves)
        node.args = kept
        node.params = {"tensors": tensors, "floats": list(floats)}
        for index, i in enumerate(self.smooth):
            results[i]._m = output_of(node, index, results[i])
        return results

    def pull(self, node: Any, ct: Any) -> Sequence[Tensor | None]:
        """The reverse rule: runs the backward program."""
        if state.grad:  # the gradients are to be differentiated again: by the function itself
            # of copies, which for now lead nowhere: what the function captured may be behind them
            tensors = [t.clone() if t.requires_grad else t for t in node.params["tensors"]]
            results = self.function(tensors, node.params["floats"])
            chosen = [
                (results[i], c) for i, c in zip(self.smooth, ct, strict=True) if c is not None
            ]
            sources = [tensors[e] if isinstance(e, int) else e for e in self.edges]
            with _Ends([*[t for t in tensors if t.requires_grad], *sources]):
                return autograd.grad(
                    [y for y, _ in chosen],
                    sources,
                    [c for _, c in chosen],
                    create_graph=True,
                    allow_unused=True,
                )
        inputs = [
            _zeros(meta) if c is None else c.contiguous()
            for c, meta in zip(ct, self.like, strict=True)
        ]
        inputs += node.args
        out = self.backward.run(inputs, 0, 0)
        assert out is not None, "the backward program takes what the forward one gives"
        return out[: len(self.edges)]


class _Ends:
    """Gradients go no further than these tensors: what is behind one gets its share from there."""

    def __init__(self, tensors: Sequence[Tensor]):
        metas = [t._m for t in tensors]
        nodes = [m if isinstance(m, Node) else m.node for m in metas if m and m.op is not None]
        self.edges = {node: node.edges for node in nodes}

    def __enter__(self) -> None:
        for node, edges in self.edges.items():
            node.edges = (None,) * len(edges)

    def __exit__(self, *exc: object) -> None:
        for node, edges in self.edges.items():
            node.edges = edges


def _zeros(meta: Tensor) -> Tensor:
    """Zeros where the tensor is that a staged value stands for."""
    place = device_from_code(meta._v.device >> 8)
    return zeros(meta._shape, dtype=meta.dtype, device=place)


def _divided(whole: Graph, n_arguments: int, n_results: int) -> tuple[Graph, Graph, int]:
    """What does not depend on cotangents, the rest, and how many values the rest reads of it.

    The former's outputs are the results, then these values, which the latter's last inputs are.

    Args:
      whole: its inputs are arguments, then cotangents; its outputs results, then gradients.
    """
    arguments, cts = whole.inputs[:n_arguments], whole.inputs[n_arguments:]
    results, gradients = whole.outputs[:n_results], whole.outputs[n_results:]
    later = _depending(whole, cts)
    before = [e for e in whole.equations if e not in later]
    behind = [e for e in whole.equations if e in later]
    made = {y for e in before for y in e.outputs} | set(arguments)
    read = [x for e in behind for x in e.inputs] + gradients
    kept = list(dict.fromkeys([x for x in read if x in made]))
    rest = _replaced(Graph(cts, behind, gradients), {v: Var(v.meta) for v in kept})
    return Graph(arguments, before, results + kept), rest, len(kept)


def _depending(graph: Graph, sources: Sequence[Var]) -> set[Any]:
    """The equations whose values depend on the sources."""
    reached = set(sources)
    found = set()
    for e in graph.equations:
        if any(x in reached for x in e.inputs):
            found.add(e)
            reached.update(e.outputs)
    return found


def _replaced(graph: Graph, inner: dict[Var, Var]) -> Graph:
    """The graph with values from elsewhere as further inputs."""
    equations = [
        Equation(e.op, [inner.get(x, x) for x in e.inputs], e.params, e.outputs, e.site)
        for e in graph.equations
    ]
    return Graph(
        [*graph.inputs, *inner.values()], equations, [inner.get(v, v) for v in graph.outputs]
    )
