"""Functions with derivatives and batching rules of their own.

`custom_function` takes any of the rules vjp, jvp, vmap and transpose and derives the others;
`custom_vjp` and `custom_jvp` are its two usual forms, as in JAX; function.py has torch's class
form.

Each context a call passes through on its way to plain tensors takes the rule it has use for:
reverse mode and the tape `forward` and `backward`, forward mode `push`, vmap the batching rule, and
hands on the rest of the work, in which the function may occur again, to the context below.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial, update_wrapper
from typing import Any

from cbackend import lib

from . import tree
from .errors import GradError, ShapeError, TraceError, message
from .jvp import JvpTrace
from .op import Op, Spec
from .ops.family import sum_to
from .tape import fill_node, record
from .tensor import Tensor, traced
from .trace import Outside, Trace, clock, no_grad, state
from .transforms import _zeros_like, vjp
from .vjp import VjpOutput, VjpTrace, VjpValue
from .vmap import VmapTrace

_new = object.__new__
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
                _zeros_like(y) if t is None else t for y, t in zip(outs, pushed, strict=True)
            ], outs

        _, back, outs = vjp(along, tuple([_zeros_like(inputs[i]) for i in at]), has_aux=True)

        def pulled(cts: Sequence[Tensor]) -> list[Tensor | None]:
            gradients: list[Tensor | None] = [None] * len(inputs)
            for i, g in zip(at, back(list(cts)), strict=True):
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
            given = [_zeros_like(y) for y in outs]
            for i, ct in zip(at, cts, strict=True):
                given[i] = ct
            gradients = _checked(self, back(tuple(given)), specs)
            return [
                _zeros_like(inputs[i]) if gradients[i] is None else gradients[i] for i in moving
            ]

        _, forward = vjp(backward, tuple([_zeros_like(outs[i]) for i in at]))
        results: list[Tensor | None] = [None] * len(outs)
        for i, t in zip(at, forward([tangents[i] for i in moving]), strict=True):
            results[i] = t
        return outs, results

    def mapped(self, vmapped: VmapTrace, batched: Sequence[bool]) -> Rules:
        """The rules of the function mapped over a dimension in front of the batched inputs."""
        size, randomness = vmapped.size, vmapped.randomness
        run = partial(_mapped, vmapped)

        def call(*inputs: Tensor) -> Tensors:
            if self.batch is not None:
                return self.batch(size, randomness, batched, *inputs)
            return _fronted(size, run(self.call, inputs, batched))

        def forward(*inputs: Tensor) -> Any:
            assert self.forward is not None
            outs, residuals = run(self.forward, inputs, batched, split=True)
            return _fronted(size, outs), (residuals, [Spec(x) for x in inputs])

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
            return _fronted(size, outs), [
                None if t is None else _fronted(size, [(t, b)])[0] for t, b in pushed
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
        _zeros_of(x) if t is None and x.dtype.is_inexact else t
        for t, x in zip(tangents, like, strict=True)
    ]


def _zeros_of(x: Any) -> Tensor:
    from .ops.creation import zeros

    return zeros(x.shape, dtype=x.dtype, device=x.device)


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


def _fronted(size: int, pairs: Sequence[tuple[Tensor, bool]]) -> Tensors:
    """All results with the mapped dimension in front."""
    return tuple([y if b else y.unsqueeze(0).expand((size, *y._shape)) for y, b in pairs])


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
    return rules.call(*inputs)


def _alone(outs: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensors:
    """Results without a place on the tape, and not the very shells that came in."""
    given = {id(x) for x in inputs}
    return tuple([y._alias() if id(y) in given or y.requires_grad else y for y in outs])


def _in_reverse(rules: Rules, trace: VjpTrace, inputs: Tensors) -> Tensors:
    """The outputs as values of a reverse-mode trace, whose node has `backward` for its rule."""
    edges = tuple([trace.value_of(x) for x in inputs])
    primals = tuple([trace.lower(x) for x in inputs])
    rules.needs[:] = [e is not None for e in edges]
    specs = [Spec(x) for x in primals]
    with Outside(trace):
        outs, back = rules.linearized_back(primals)
    call = _Call(rules, outs, lambda cts: _checked(rules, back(cts), specs))
    node = _new(VjpValue)
    fill_node(node, call, primals, {}, outs, edges)
    node.trace = trace
    if len(outs) == 1:
        if not outs[0].dtype.is_inexact:
            return outs
        node.primal = outs[0]
        return (traced(node),)
    return tuple(
        [
            traced(VjpOutput(trace, node, i, y)) if y.dtype.is_inexact else y
            for i, y in enumerate(outs)
        ]
    )


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
    with no_grad() if state.trace is None else nullcontext():
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
            from .ops.creation import tensor

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


# ---- pytrees to flat tuples ----


class _Layout:
    """How the arguments of a call are made of tensors and of what is fixed."""

    def __init__(self, args: tuple[Any, ...]):
        leaves, self.definition = tree.flatten(args)
        self.shape = args
        self.at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.tensors: Tensors = tuple([leaves[i] for i in self.at])

    def filled(self, tensors: Sequence[Any], otherwise: Any = None) -> Any:
        """The arguments with other tensors."""
        leaves = list(self.fixed) if otherwise is None else [otherwise] * len(self.fixed)
        for i, t in zip(self.at, tensors, strict=True):
            leaves[i] = t
        return tree.unflatten(self.definition, leaves)

    def picked(self, op: str, what: str, args: Any) -> list[Any]:
        """Of a structure like the arguments, what stands at the tensors."""
        try:
            leaves = tree.broadcast_prefix(args, self.shape, f"{op}: {what}")
        except ValueError as error:
            raise ValueError(
                message(op, f"{what} of the arguments' structure", repr(args), str(error))
            ) from None
        return [leaves[i] for i in self.at]


class _Outputs:
    """The structure of a function's result, known once it has been called."""

    definition: Any = None

    def flat(self, op: str, out: Any) -> Tensors:
        leaves, self.definition = tree.flatten(out)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise TypeError(
                    message(op, "tensors in the function's result", type(leaf).__name__)
                )
        return tuple(leaves)


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


class custom_function:  # reads as a decorator
    """A function with rules of its own; those not given are derived.

    Usable as a decorator: `@custom_function` and then `f.defvjp(forward, backward)` and so on, or
    with the rules as arguments.

    Args:
      vjp: `(forward, backward)`: forward takes the function's arguments and returns (result,
        residuals); backward(residuals, ct) returns one gradient an argument (None: no gradient).
      jvp: `jvp(primals, tangents) -> (result, tangent of the result)`, linear in the tangents.
      vmap: `vmap(size, in_batched, *args) -> (result, out_batched)`, mapped dimensions in front;
        in_batched and out_batched are pytrees of bools.
      transpose: for a function that is linear in its arguments:
        `transpose(ct, *args) -> one cotangent an argument`.
      nondiff_argnums: arguments that are passed as they are in front of the others to backward and
        jvp, and have no gradient.
    Raises:
      ShapeError, ValueError: where a rule returns something that does not fit.
      TraceError: the function or a rule uses a value of a transform that is not an argument of it.
    Example:
      >>> f = custom_function(lambda x: x.sin(), jvp=lambda p, t: (p[0].sin(), t[0] * 10))
      >>> grad(f)(tensor(0.0))
      tensor(10.)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        vjp: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
        jvp: Callable[..., Any] | None = None,
        vmap: Callable[..., Any] | None = None,
        transpose: Callable[..., Any] | None = None,
        nondiff_argnums: Sequence[int] = (),
    ):
        self.function = function
        self.nondiff = tuple(nondiff_argnums)
        self.rule_vjp, self.rule_jvp, self.rule_vmap = vjp, jvp, vmap
        self.rule_transpose = transpose
        update_wrapper(self, function)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Gives the reverse rule; see the class."""
        self.rule_vjp = (forward, backward)

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the forward rule; see the class. Usable as a decorator."""
        self.rule_jvp = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Gives the forward rule as one function an argument: `(tangent, result, *primals)`."""

        def rule(primals: Any, tangents: Any) -> Any:
            out = self.function(*primals)
            terms = [
                f(t, out, *primals)
                for f, t in zip(jvps, tangents, strict=True)
                if f is not None and t is not None
            ]
            total = terms[0] if terms else tree.map(_zeros_like, out)
            for term in terms[1:]:
                total = tree.map(lambda a, b: a + b, total, term)
            return out, total

        self.rule_jvp = rule

    def def_vmap(self, vmap: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the batching rule; see the class. Usable as a decorator."""
        self.rule_vmap = vmap
        return vmap

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:  # the rules take arguments by position
            bound = inspect.signature(self.function).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
            if kwargs:
                raise TypeError(
                    message(
                        _name_of(self.function),
                        "arguments that can be given by position",
                        f"keyword-only {', '.join(kwargs)}",
                        "Close over them with a lambda.",
                    )
                )
        layout, outputs = _Layout(args), _Outputs()
        outs = invoke(self._rules(layout, outputs, len(args)), layout.tensors)
        return tree.unflatten(outputs.definition, list(outs))

    def _rules(self, layout: _Layout, outputs: _Outputs, count: int) -> Rules:
        name = _name_of(self.function)
        nondiff = {p % count for p in self.nondiff} if count else set()

        def call(*tensors: Tensor) -> Tensors:
            return outputs.flat(name, _explained(name, self.function, *layout.filled(tensors)))

        def separated(args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            fixed = [a for i, a in enumerate(args) if i in nondiff]
            return fixed, [a for i, a in enumerate(args) if i not in nondiff]

        def joined(gradients: Sequence[Any]) -> tuple[Any, ...]:
            rest = iter(gradients)
            return tuple([None if i in nondiff else next(rest) for i in range(count)])

        def gradients_of(gradients: Any) -> list[Any]:
            if not isinstance(gradients, (tuple, list)) or len(gradients) != count - len(nondiff):
                if count - len(nondiff) == 1:
                    gradients = (gradients,)
                else:
                    raise ValueError(
                        message(
                            name,
                            f"a backward rule that returns a tuple of {count - len(nondiff)} "
                            "gradients, one an argument",
                            repr(gradients)
                            if not isinstance(gradients, (tuple, list))
                            else len(gradients),
                        )
                    )
            return layout.picked(name, "gradients", joined(gradients))

        rules = Rules(name, call)
        if self.rule_vjp is not None:
            forward, backward = self.rule_vjp

            def run_forward(*tensors: Tensor) -> Any:
                args = layout.filled(tensors)
                result = _explained(name, forward, *args)
                if not isinstance(result, tuple) or len(result) != 2:
                    raise TypeError(
                        message(
                            name,
                            "a forward rule that returns (result, residuals)",
                            type(result).__name__,
                        )
                    )
                out, residuals = result
                return outputs.flat(name, out), (residuals, separated(args)[0])

            def run_backward(saved: Any, cts: Sequence[Tensor]) -> list[Any]:
                residuals, fixed = saved
                ct = tree.unflatten(outputs.definition, list(cts))
                return gradients_of(_explained(name, backward, *fixed, residuals, ct))

            rules.forward, rules.backward = run_forward, run_backward
        elif self.rule_transpose is not None:
            transpose = self.rule_transpose

            def run_transpose(args: Any, cts: Sequence[Tensor]) -> list[Any]:
                return gradients_of(transpose(tree.unflatten(outputs.definition, list(cts)), *args))

            rules.forward = lambda *tensors: (call(*tensors), layout.filled(tensors))
            rules.backward = run_transpose
        if self.rule_jvp is not None:
            rule = self.rule_jvp

            def run_push(tensors: Tensors, tangents: Sequence[Tensor | None]) -> Any:
                fixed, primals = separated(layout.filled(tensors))
                _, directions = separated(layout.filled(tangents, _NOTHING))
                directions = tree.map(lambda t: None if t is _NOTHING else t, directions)
                out, pushed = _explained(name, rule, *fixed, tuple(primals), tuple(directions))
                outs = outputs.flat(name, out)
                flat = tree.leaves(pushed)
                if len(flat) != len(outs):
                    raise ValueError(
                        message(name, f"a jvp rule that gives {len(outs)} tangents", len(flat))
                    )
                return outs, flat

            rules.push = run_push
        elif self.rule_transpose is not None:
            rules.push = lambda tensors, tangents: (call(*tensors), call(*tangents))
        if self.rule_vmap is not None:
            batch_rule = self.rule_vmap

            def run_batch(size: int, _randomness: str, batched: Any, *tensors: Tensor) -> Tensors:
                flags = layout.filled(batched, False)
                out, out_batched = batch_rule(size, list(flags), *layout.filled(tensors))
                outs = outputs.flat(name, out)
                places = tree.broadcast_prefix(out_batched, out, f"{name}: out_batched")
                return _fronted(size, list(zip(outs, places, strict=True)))

            rules.batch = run_batch
        return rules


class _Nothing:
    def __repr__(self) -> str:
        return "no tangent"


_NOTHING = _Nothing()


def _explained(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a user's function; a captured tracer's error says what to do about it."""
    try:
        return function(*args)
    except TraceError as error:
        if "got a tracer of a" not in str(error):
            raise
        raise TraceError(
            message(
                name,
                "a function and rules that use values of transforms only if they are arguments",
                "one that captures such a value",
                "Pass it as an argument. " + str(error),
            )
        ) from error


def custom_vjp(
    function: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()
) -> Any:
    """A function with a reverse rule of its own, given by defvjp(forward, backward). As in JAX.

    Forward mode, vmap and their nestings follow from the rule.

    Args:
      nondiff_argnums: arguments without a gradient; backward gets them in front.
    Example:
      >>> @custom_vjp
      ... def clip_gradient(x):
      ...     return x * 1
      >>> clip_gradient.defvjp(lambda x: (x * 1, None), lambda _, ct: (ct.clamp(-1, 1),))
      >>> grad(lambda x: clip_gradient(x) * 5)(tensor(2.0))
      tensor(1.)
    """
    if function is None:
        return partial(custom_vjp, nondiff_argnums=nondiff_argnums)
    return custom_function(function, nondiff_argnums=nondiff_argnums)


def custom_jvp(
    function: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()
) -> Any:
    """A function with a forward rule of its own, given by defjvp(rule) or defjvps. As in JAX.

    Reverse mode is the rule's transpose; the rule must be linear in the tangents.

    Example:
      >>> @custom_jvp
      ... def log1pexp(x):
      ...     return (1 + x.exp()).log()
      >>> @log1pexp.defjvp
      ... def _(primals, tangents):
      ...     (x,), (t,) = primals, tangents
      ...     return log1pexp(x), t * x.sigmoid()
      >>> grad(log1pexp)(tensor(100.0))
      tensor(1.)
    """
    if function is None:
        return partial(custom_jvp, nondiff_argnums=nondiff_argnums)
    return custom_function(function, nondiff_argnums=nondiff_argnums)


__all__ = ["custom_function", "custom_jvp", "custom_vjp"]
