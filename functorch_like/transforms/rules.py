"""Functions of flat tuples with rules of their own, and their way through the contexts.

Each context a call passes through on its way to plain tensors takes the rule it has use for:
reverse mode and the tape `forward` and `backward`, forward mode `push`, vmap the batching rule, and
hands on the rest of the work, in which the function may occur again, to the context below. Rules
that were not given are derived from the others.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from cbackend import fill_node, lib, record

from .. import tree
from ..errors import GradError, ShapeError, message
from ..op import Op, Spec
from ..ops.creation import tensor, zeros, zeros_like
from ..ops.family import fronted, sum_to
from ..tensor import Tensor
from ..trace import Outside, Trace, clock, state, untaped
from .jvp_trace import JvpTrace
from .products import vjp
from .vjp_trace import VjpNode, VjpTrace
from .vmap_trace import VmapTrace

Tensors = tuple[Tensor, ...]


class Rules:
    """A function of tensors and its rules; all take and return flat tuples.

    Args:
      call: `call(*inputs) -> outputs`.
      forward, backward: `forward(*inputs) -> (outputs, residuals)` with a pytree of residuals, and
        `backward(residuals, cts) -> gradients`, None where there is none.
      push: `push(inputs, tangents) -> (outputs, tangents of the outputs)`; no tangent is None.
      batch: `batch(size, randomness, batched, *inputs) -> outputs`, mapped dimension in front.
      materialize: do backward and push get zeros for what is missing?
    """

    def __init__(
        self,
        name: str,
        call: Callable[..., Tensors],
        *,
        forward: Callable[..., Any] | None = None,
        backward: Callable[..., Any] | None = None,
        push: Callable[..., Any] | None = None,
        batch: Callable[..., Any] | None = None,
        materialize: bool = True,
    ):
        self.name, self.call, self.batch = name, call, batch
        self.forward, self.backward, self.push = forward, backward, push
        self.materialize = materialize
        self.needs: list[bool] = []  # which inputs have a gradient, while that is being decided

    @property
    def differentiable(self) -> bool:
        """Has it a rule for a derivative? Else it is differentiated through its operations."""
        return self.forward is not None or self.push is not None

    # ---- rules derived from one another ----

    def linearized_back(self, inputs: Tensors) -> tuple[Tensors, Callable[..., Any]]:
        """Outputs, and the map from cotangents to gradients."""
        if self.forward is not None:
            outs, residuals = self.forward(*inputs)
            backward = self.backward
            assert backward is not None
            now, saved = clock[0], [r for r in tree.leaves(residuals) if isinstance(r, Tensor)]

            def back(cts: Sequence[Tensor]) -> Any:
                _unwritten(self.name, saved, now)
                return backward(residuals, cts)

            return outs, back
        push = self.push
        assert push is not None
        at = [i for i, x in enumerate(inputs) if x.dtype.is_inexact]

        def along(tangents: tuple[Tensor, ...]) -> Any:
            given: list[Tensor | None] = [None] * len(inputs)
            for i, t in zip(at, tangents, strict=True):
                given[i] = t
            outs, pushed = push(inputs, given)
            return [
                zeros_like(y) if t is None else t for y, t in zip(outs, pushed, strict=True)
            ], outs

        _, back, outs = vjp(along, tuple([zeros_like(inputs[i]) for i in at]), has_aux=True)

        def pulled(cts: Sequence[Tensor]) -> list[Tensor | None]:
            gradients: list[Tensor | None] = [None] * len(inputs)
            for i, g in zip(at, back(list(cts))[0], strict=True):
                gradients[i] = g
            return gradients

        return tuple(outs), pulled

    def pushed(
        self, inputs: Tensors, tangents: Sequence[Tensor | None]
    ) -> tuple[Tensors, Sequence[Tensor | None]]:
        """Outputs and their tangents."""
        if self.push is not None:
            if self.materialize:
                tangents = _filled(tangents, inputs)
            return self.push(inputs, tangents)
        # backward is linear in the cotangents: its transpose maps tangents forward
        outs, back = self.linearized_back(inputs)
        at = [i for i, y in enumerate(outs) if y.dtype.is_inexact]
        moving = [i for i, t in enumerate(tangents) if t is not None]
        specs = [Spec(x) for x in inputs]

        def backward(cts: tuple[Tensor, ...]) -> Any:
            given = [zeros_like(y) for y in outs]
            for i, ct in zip(at, cts, strict=True):
                given[i] = ct
            gradients = _checked(self, back(tuple(given)), specs)
            return [zeros_like(inputs[i]) if gradients[i] is None else gradients[i] for i in moving]

        _, forward = vjp(backward, tuple([zeros_like(outs[i]) for i in at]))
        results: list[Tensor | None] = [None] * len(outs)
        for i, t in zip(at, forward([tangents[i] for i in moving])[0], strict=True):
            results[i] = t
        return outs, results

    def mapped(self, vmapped: VmapTrace, batched: Sequence[bool]) -> Rules:
        """The rules of the function mapped over a dimension in front of the batched inputs."""
        size, randomness = vmapped.size, vmapped.randomness
        run = partial(_mapped, vmapped)

        def call(*inputs: Tensor) -> Tensors:
            if self.batch is not None:
                return self.batch(size, randomness, batched, *inputs)
            return all_mapped(size, run(self.call, inputs, batched))

        def forward(*inputs: Tensor) -> Any:
            assert self.forward is not None
            outs, residuals = run(self.forward, inputs, batched, split=True)
            return all_mapped(size, outs), (residuals, [Spec(x) for x in inputs])

        def backward(saved: Any, cts: Sequence[Tensor]) -> list[Tensor | None]:
            (leaves, definition, flags), specs = saved
            count = len(leaves)

            def one(*values: Any) -> Any:
                residuals = tree.unflatten(definition, values[:count])
                assert self.backward is not None
                return self.backward(residuals, values[count:])

            pulled = run(one, (*leaves, *cts), [*flags, *[ct is not None for ct in cts]])
            gradients = []
            for (g, is_mapped), spec, was in zip(pulled, specs, batched, strict=True):
                if g is None:
                    gradients.append(None)
                    continue
                if was:
                    g = g if is_mapped else g.unsqueeze(0).expand((size, *g._shape))
                else:
                    g = g.sum(0) if is_mapped else g * size
                gradients.append(g if g._shape == spec.shape else g.reshape(spec.shape))
            return gradients

        def push(inputs: Tensors, tangents: Sequence[Tensor | None]) -> Any:
            n = len(inputs)
            given = [t for t in tangents if t is not None]
            has = [t is not None for t in tangents]

            def one(*values: Tensor) -> Any:
                rest = iter(values[n:])
                assert self.push is not None
                outs, pushed = self.push(values[:n], [next(rest) if h else None for h in has])
                return tuple(outs), tuple(pushed)

            flags = [*batched, *[b for b, h in zip(batched, has, strict=True) if h]]
            outs, pushed = run(one, (*inputs, *given), flags, pairs=True)
            return all_mapped(size, outs), [
                None if t is None else fronted(size, [b], [t])[0] for t, b in pushed
            ]

        rules = Rules(
            self.name,
            call,
            forward=forward if self.forward is not None else None,
            backward=backward if self.backward is not None else None,
            push=push if self.push is not None else None,
            materialize=self.materialize,
        )
        rules.needs = self.needs
        return rules


def _unwritten(name: str, saved: Sequence[Tensor], since: int) -> None:
    """Checks that saved tensors are as they were.

    Raises:
      GradError: one has been written to in memory.
    """
    for t in saved:
        if t._v and lib.cb_last_write(t._v) > since:
            raise GradError(
                message(
                    name,
                    f"a saved tensor (shape {list(t._shape)}) as it was in the forward pass",
                    "one that an in-place operation has changed since",
                    "Write to a clone(), or use the out-of-place form.",
                )
            )


def _filled(tangents: Sequence[Tensor | None], like: Sequence[Any]) -> list[Any]:
    return [
        zeros(x.shape, dtype=x.dtype, device=x.device) if t is None and x.dtype.is_inexact else t
        for t, x in zip(tangents, like, strict=True)
    ]


def _mapped(
    vmapped: VmapTrace,
    function: Callable[..., Any],
    inputs: Sequence[Any],
    batched: Sequence[bool],
    *,
    split: bool = False,
    pairs: bool = False,
) -> Any:
    """Runs a function of tensors with some inputs mapped; results as (tensor, is it mapped?).

    Args:
      split: the function returns outputs and residuals; the latter as leaves, definition and flags.
      pairs: it returns two tuples.
    """
    with VmapTrace(vmapped.size, vmapped.randomness, vmapped.axis_name) as trace:
        args = [trace.leaf(x) if b else x for x, b in zip(inputs, batched, strict=True)]
        out = function(*args)

        def unpack(y: Any) -> Any:
            if not isinstance(y, Tensor):
                return y, False
            y._current()
            return trace.unpack(y)

        if split:
            outs, residuals = out
            leaves, definition = tree.flatten(residuals)
            both = [unpack(leaf) for leaf in leaves]
            kept = [x for x, _ in both], definition, [b for _, b in both]
            return [unpack(y) for y in outs], kept
        if pairs:
            return [unpack(y) for y in out[0]], [unpack(y) for y in out[1]]
        return [unpack(y) for y in out]


def all_mapped(size: int, pairs: Sequence[tuple[Tensor, bool]]) -> Tensors:
    """All results with the mapped dimension in front."""
    return tuple(fronted(size, [b for _, b in pairs], [y for y, _ in pairs]))


# ---- the way through the contexts ----


class _Call(Op):
    """One call of a custom function as the op of a node: its rule is `back`."""

    __slots__ = ("back", "specs")

    def __init__(self, rules: Rules, outs: Sequence[Tensor], back: Callable[..., Any]):
        super().__init__(
            rules.name,
            None,
            decompose=rules.call,
            vjp=rules.call,
            nouts=len(outs),
            registered=False,
        )
        self.specs, self.back = [Spec(y) for y in outs], back
        self.pull = self._pulled

    def saved(self, needs: tuple[bool, ...]) -> tuple[tuple[int, ...], bool]:
        return (0,) * len(needs), False

    def _pulled(self, _node: Any, ct: Any) -> Any:
        cts = ct if isinstance(ct, (tuple, list)) else (ct,)
        return self.back(_filled(cts, self.specs))


def _traced_by(x: Tensor) -> Trace | None:
    m = x._current()
    return None if m is None else m.trace


def invoke(rules: Rules, inputs: Tensors) -> Tensors:
    """Evaluates a custom function in the current context."""
    recorded = state.grad and rules.differentiable and any(x.requires_grad for x in inputs)
    if recorded:
        return _on_tape(rules, inputs)
    trace = state.trace
    owners = {_traced_by(x) for x in inputs}
    if trace is None or owners <= {None}:
        return rules.call(*inputs)
    if trace not in owners:
        with Outside(trace):
            return invoke(rules, inputs)
    if isinstance(trace, VmapTrace):
        pairs = [trace.unpack(x) for x in inputs]
        batched = [b for _, b in pairs]
        with Outside(trace):
            mapped = rules.mapped(trace, batched)
            outs = invoke(mapped, tuple([x for x, _ in pairs]))
        return tuple([trace.leaf(y) for y in outs])
    if not rules.differentiable:
        return rules.call(*inputs)
    if isinstance(trace, VjpTrace):
        return _in_reverse(rules, trace, inputs)
    if isinstance(trace, JvpTrace):
        return _in_forward(rules, trace, inputs)
    trace.meet_custom()
    return rules.call(*inputs)


def _alone(outs: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensors:
    """Results without a place on the tape, and not the very shells that came in."""
    given = {id(x) for x in inputs}
    return tuple([y._alias() if id(y) in given or y.requires_grad else y for y in outs])


def _in_reverse(rules: Rules, trace: VjpTrace, inputs: Tensors) -> Tensors:
    """The outputs as values of a reverse-mode trace, whose node has `backward` for its rule."""
    values = [trace.value_of(x) for x in inputs]
    edges = tuple([None if v is None else v.node for v in values])
    primals = tuple([trace.lower(x) for x in inputs])
    rules.needs[:] = [e is not None for e in edges]
    specs = [Spec(x) for x in primals]
    with Outside(trace):
        outs, back = rules.linearized_back(primals)
    call = _Call(rules, outs, lambda cts: _checked(rules, back(cts), specs))
    node = VjpNode()
    fill_node(node, call, primals, {}, outs, edges)
    if len(outs) > 1:
        return trace.outputs(node, tuple(outs))
    return tuple([trace.tracer(y, node) if y.dtype.is_inexact else y for y in outs])


def _in_forward(rules: Rules, trace: JvpTrace, inputs: Tensors) -> Tensors:
    pairs = [trace.unpack(x) for x in inputs]
    primals = tuple([p for p, _ in pairs])
    with Outside(trace):
        outs, tangents = rules.pushed(primals, [t for _, t in pairs])
    return tuple(
        [
            y if t is None or not y.dtype.is_inexact else trace.leaf(y, _fitting(rules, t, y))
            for y, t in zip(outs, tangents, strict=True)
        ]
    )


def _on_tape(rules: Rules, inputs: Tensors) -> Tensors:
    """The outputs on the tape.

    Residuals are computed without recording. When the backward pass itself is recorded, the
    function is run again with recording, so that they are connected to the inputs.
    """
    rules.needs[:] = [x.requires_grad for x in inputs]
    plain = tuple([x._alias() for x in inputs])
    # under a transform the tape of a context below may record what happens
    with untaped() if state.trace is None else nullcontext():
        outs, back = rules.linearized_back(plain)
        outs = _alone(outs, plain)
    specs = [Spec(x) for x in inputs]
    kept = inputs  # with their place on the tape

    def pulled(cts: Sequence[Tensor]) -> Any:
        if state.grad:
            again = rules.linearized_back(kept)[1]
            return _checked(rules, again(cts), specs)
        return _checked(rules, back(cts), specs)

    if not any(y.dtype.is_inexact for y in outs):
        return outs
    call = _Call(rules, outs, pulled)
    (one, *rest) = outs
    out = record(call, inputs, {}, outs if rest else one)
    return out if type(out) is tuple else (out,)


def _checked(rules: Rules, gradients: Sequence[Any], specs: Sequence[Spec]) -> list[Any]:
    """Gradients as the graph wants them: one an input, of its shape and dtype."""
    if len(gradients) != len(specs):
        raise ValueError(
            message(
                rules.name,
                f"a backward rule that returns {len(specs)} gradients, one an input",
                len(gradients),
                "Return None for inputs without a gradient.",
            )
        )
    checked = []
    for i, (g, spec) in enumerate(zip(gradients, specs, strict=True)):
        if g is None or not spec.dtype.is_inexact:
            checked.append(None)
            continue
        if isinstance(g, (int, float, complex)):
            g = tensor(g, dtype=spec.dtype)
        if g._shape != spec.shape and _expands(spec.shape, g._shape):
            g = sum_to(g, spec)
        if g._shape != spec.shape:
            raise ShapeError(
                message(
                    rules.name,
                    f"a gradient of shape {list(spec.shape)} for input {i}",
                    list(g._shape),
                    "The backward rule returns gradients like the inputs.",
                )
            )
        checked.append(g if g.dtype is spec.dtype else g.to(spec.dtype))
    return checked


def _expands(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Does the shape broadcast to the other?"""
    return len(shape) <= len(to) and all(
        a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False)
    )


def _fitting(rules: Rules, t: Tensor, y: Tensor) -> Tensor:
    if t._shape != y._shape:
        raise ShapeError(
            message(
                rules.name,
                f"a tangent of the output's shape {list(y._shape)}",
                list(t._shape),
                "The jvp rule returns tangents like the outputs.",
            )
        )
    return t if t.dtype is y.dtype else t.to(y.dtype)


__all__ = ["Rules", "Tensors", "all_mapped", "invoke"]
