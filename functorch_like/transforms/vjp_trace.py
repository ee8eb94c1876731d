"""The reverse-mode interpreter: records what a function does to its tracers, in the parent's terms.

The graph is tape.py's, saved tensors are values of the parent context, and rules run there. So the
backward pass of an inner grad is ordinary code of the outer one, which can differentiate it again,
and the perturbations of the two cannot be confused. A tracer knows its node, a node knows no
tracers: what no rule needs is freed with the tensor that stood for it.
"""

# a meta whose class was compared is a tracer's value
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi, fill_node, plain

from ..op import Op, Spec, dispatch, fail
from ..tape import Node, irregular, run_backward
from ..tensor import Tensor, known_regular, sync, wrap
from ..trace import Meta, Outside, PrimalValue, Trace, clock, next_sequence, state

_new = object.__new__
_NULL = ffi.NULL


class VjpNode(Node):
    """An operation that a VjpTrace recorded, or, without an op, one of its inputs."""

    requires_grad = False  # to the imperative tape

    def saved_out(self) -> Any:
        return self.out


class VjpOutput(Meta):
    """What leads to one output of an operation with several."""

    watched = True

    def __init__(self, node: VjpNode, index: int):
        self.node, self.index, self.op, self.seq = node, index, node.op, node.seq


class VjpValue(PrimalValue):
    """A value of a VjpTrace: its primal in the parent context, and where it stands in the graph."""

    node: Meta

    @property
    def seq(self) -> int:  # type: ignore[override]
        return self.node.seq


class VjpTrace(Trace):
    """Records operations on tracers for a pass back."""

    name = "grad"

    def leaf(self, x: Tensor) -> Tensor:
        """A tracer for an input."""
        node = VjpNode()
        node.seq = next_sequence()
        return self.tracer(x, node)

    def tracer(self, primal: Tensor, node: Meta) -> Tensor:
        """A tracer of a value that stands somewhere in the graph."""
        value = _new(VjpValue)
        value.trace, value.primal, value.node = self, primal, node
        value.requires_grad, value.is_view, value.tracer = False, False, None
        t = plain(_NULL)
        t._m = value
        return t

    def heeds_no_grad(self) -> bool:
        return True

    def value_of(self, x: Any) -> VjpValue | None:
        """This trace's value behind a tensor, if there is one."""
        m = x._m
        return (m.tracer or m) if m is not None and m.trace is self else None

    def lower(self, x: Tensor) -> Tensor:
        """A tensor of the parent context for a tracer; other tensors are that already."""
        value = self.value_of(x)
        return x if value is None else value.primal

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            primal = self.lower(t)
            return bool(primal) if how == "bool" else primal.item()

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        if len(args) == 1 and self.parent is None and op.impl is not None and op.pull is not None:
            m: Any = args[0]._m  # the usual case: a tracer of a plain tensor, and a kernel for it
            if m.__class__ is VjpValue and m.trace is self and (x := m.primal)._m is None:
                return self._alone(op, x, params, m.node)
        primals: list[Tensor] = []
        edges: list[Meta | None] = []
        records = False
        parent = self.parent
        direct = parent is None and op.impl is not None  # may the kernel be called directly?
        for a in args:
            m = a._m
            edge = None
            if m is not None:
                if m.trace is self:
                    value = m.tracer or m
                    a = value.primal
                    edge = value.node
                    records = True
                if a._m is not None:
                    direct = False
            edges.append(edge)
            primals.append(a)
        if records:
            records = op.differentiable
            if records and op.pull is None:
                return op.decompose(*args, **params)  # type: ignore[misc]
        state.trace = parent
        try:
            if direct:
                handles = op.impl(*primals, **params)  # type: ignore[misc]
                if not handles:
                    fail(op, args)
                out = wrap(handles)
            else:
                out = dispatch(op, tuple(primals), params)
            if not records:
                return out
            node = VjpNode()
            fill_node(node, op, primals, params, out, tuple(edges))
        finally:
            state.trace = self
        return self.outputs(node, out) if type(out) is tuple else self.tracer(out, node)

    def _alone(self, op: Op, x: Tensor, params: dict[str, Any], edge: Meta) -> Any:
        """process() for one tracer whose primal is a plain tensor, in no other trace."""
        state.trace = None
        try:
            handles = op.impl(x, **params)  # type: ignore[misc]
        finally:
            state.trace = self
        if not handles:
            fail(op, (x,))
        out = wrap(handles)
        if not op.differentiable:
            return out
        node = VjpNode()
        fill_node(node, op, (x,), params, out, (edge,))
        return self.outputs(node, out) if type(out) is tuple else self.tracer(out, node)

    def outputs(self, node: VjpNode, out: Any) -> Any:
        """Tracers of the results of an operation with several."""
        return tuple(
            [
                self.tracer(t, VjpOutput(node, i)) if t.dtype.is_inexact else t
                for i, t in enumerate(out)
            ]
        )

    def one(self, op: Op, function: Any, x: Tensor) -> Tensor | None:
        m: Any = x._m
        if m is not None and m.is_view:
            sync(x)
            m = x._m
        if m.__class__ is not VjpValue or m.trace is not self:
            return None
        x = m.primal
        if self.parent is None and x._m is None and (handle := op.impl(x)):  # type: ignore[misc]
            out = plain(handle)
        else:
            state.trace = self.parent
            try:
                out = function(x)
            finally:
                state.trace = self
        if not op.differentiable:
            return out
        node = VjpNode()
        node.op = op
        node.seq = next_sequence()
        node.edges = (m.node,)
        saves, keep_x, _, keep_out = op.keeps[1] or op.kept(1, 1)
        node.args = (x if keep_x else None,)
        node.clock = clock[0] if saves else -1
        node.out = out if keep_out else None
        t = self.tracer(out, node)
        t._m.regular = known_regular(out)
        node.specs = (Spec(x),) if op.changes_dtype and irregular((x,), out) else None
        return t

    def two(self, op: Op, function: Any, x: Any, y: Any) -> Tensor | None:
        m: Any = None
        n: Any = None
        direct = self.parent is None  # may the kernel be called without asking anyone?
        if x.__class__ is Tensor:
            m = x._m
            if m is not None:
                if m.is_view:
                    sync(x)
                    m = x._m
                if m.__class__ is not VjpValue or m.trace is not self:
                    return None
                x = m.primal
                m = m.node
            direct = direct and x._m is None
        elif x.__class__ is float or x.__class__ is int:
            direct = False
        else:
            return None
        if y.__class__ is Tensor:
            n = y._m
            if n is not None:
                if n.is_view:
                    sync(y)
                    n = y._m
                if n.__class__ is not VjpValue or n.trace is not self:
                    return None
                y = n.primal
                n = n.node
            direct = direct and y._m is None
        elif y.__class__ is float or y.__class__ is int:
            direct = False
        else:
            return None
        if m is None and n is None:
            return None
        if direct and (handle := op.impl(x, y)):  # type: ignore[misc]
            out = plain(handle)
        else:
            state.trace = self.parent
            try:
                out = function(x, y)
            finally:
                state.trace = self
        if not op.differentiable:
            return out
        node = VjpNode()
        node.op = op
        node.seq = next_sequence()
        node.edges = (m, n)
        which = (m is not None) + 2 * (n is not None)
        saves, keep_x, keep_y, keep_out = op.keeps[which] or op.kept(2, which)
        node.args = (x if keep_x else None, y if keep_y else None)
        node.clock = clock[0] if saves else -1
        node.out = out if keep_out else None
        t = self.tracer(out, node)
        if known_regular(out):
            t._m.regular = True
        elif irregular([a for a in (x, y) if a.__class__ is Tensor], out):
            node.specs = (None if m is None else Spec(x), None if n is None else Spec(y))
        return t

    def pull_back(
        self,
        outputs: Sequence[Tensor],
        cts: Sequence[Tensor | None],
        leaves: Sequence[Meta],
        retain_graph: bool,
    ) -> list[Tensor | None]:
        """Gradients for the leaves (nodes of inputs), from cotangents of the outputs.

        Called after the trace has been left.
        """
        roots = []
        for out, ct in zip(outputs, cts, strict=True):
            value = self.value_of(out)
            if value is not None and ct is not None:
                roots.append((value.node, ct))
        found = run_backward(roots, wanted=set(leaves), retain_graph=retain_graph)
        return [found.get(leaf) for leaf in leaves]
