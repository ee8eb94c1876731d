"""Functions with derivatives and batching rules of their own.

`custom_function` takes any of the rules vjp, jvp, vmap and transpose and derives the others;
`custom_vjp` and `custom_jvp` are its two usual forms, as in JAX; function.py has torch's class
form. What the rules do in each context is in rules.py.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

from .. import tree
from ..errors import TraceError, message
from ..ops.creation import zeros_like
from ..tensor import Tensor
from .arguments import results_of
from .rules import Rules, Tensors, all_mapped, invoke

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
        leaves, self.definition = results_of(op, out)
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
            total = terms[0] if terms else tree.map(zeros_like, out)
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
        call = _Call(self, args)
        outs = invoke(call.rules(), call.layout.tensors)
        return tree.unflatten(call.outputs.definition, list(outs))


class _Call:
    """One call of a custom_function: its rules as invoke() takes them, of flat tuples."""

    def __init__(self, custom: custom_function, args: tuple[Any, ...]):
        self.custom, self.name = custom, _name_of(custom.function)
        self.layout, self.outputs = _Layout(args), _Outputs()
        self.count = len(args)
        self.nondiff = {p % self.count for p in custom.nondiff} if args else set()

    def rules(self) -> Rules:
        """The rules that were given."""
        custom = self.custom
        rules = Rules(self.name, self.evaluate)
        if custom.rule_vjp is not None:
            rules.forward, rules.backward = self.forward, self.backward
        elif custom.rule_transpose is not None:
            rules.forward, rules.backward = self.linear_forward, self.transpose
        if custom.rule_jvp is not None:
            rules.push = self.push
        elif custom.rule_transpose is not None:
            rules.push = lambda tensors, tangents: (
                self.evaluate(*tensors),
                self.evaluate(*tangents),
            )
        if custom.rule_vmap is not None:
            rules.batch = self.batch
        return rules

    def evaluate(self, *tensors: Tensor) -> Tensors:
        out = _explained(self.name, self.custom.function, *self.layout.filled(tensors))
        return self.outputs.flat(self.name, out)

    def forward(self, *tensors: Tensor) -> Any:
        assert self.custom.rule_vjp is not None
        args = self.layout.filled(tensors)
        result = _explained(self.name, self.custom.rule_vjp[0], *args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                message(
                    self.name,
                    "a forward rule that returns (result, residuals)",
                    type(result).__name__,
                )
            )
        out, residuals = result
        return self.outputs.flat(self.name, out), (residuals, self._separated(args)[0])

    def backward(self, saved: Any, cts: Sequence[Tensor]) -> list[Any]:
        assert self.custom.rule_vjp is not None
        residuals, fixed = saved
        rule, ct = self.custom.rule_vjp[1], self._result(cts)
        return self._gradients(_explained(self.name, rule, *fixed, residuals, ct))

    def linear_forward(self, *tensors: Tensor) -> Any:
        return self.evaluate(*tensors), self.layout.filled(tensors)

    def transpose(self, args: Any, cts: Sequence[Tensor]) -> list[Any]:
        assert self.custom.rule_transpose is not None
        return self._gradients(self.custom.rule_transpose(self._result(cts), *args))

    def push(self, tensors: Tensors, tangents: Sequence[Tensor | None]) -> Any:
        assert self.custom.rule_jvp is not None
        fixed, primals = self._separated(self.layout.filled(tensors))
        _, directions = self._separated(self.layout.filled(tangents, _NOTHING))
        directions = tree.map(lambda t: None if t is _NOTHING else t, directions)
        out, pushed = _explained(
            self.name, self.custom.rule_jvp, *fixed, tuple(primals), tuple(directions)
        )
        outs = self.outputs.flat(self.name, out)
        flat = tree.leaves(pushed)
        if len(flat) != len(outs):
            raise ValueError(
                message(self.name, f"a jvp rule that gives {len(outs)} tangents", len(flat))
            )
        return outs, flat

    def batch(self, size: int, _randomness: str, batched: Any, *tensors: Tensor) -> Tensors:
        assert self.custom.rule_vmap is not None
        flags = self.layout.filled(batched, False)
        out, out_batched = self.custom.rule_vmap(size, list(flags), *self.layout.filled(tensors))
        outs = self.outputs.flat(self.name, out)
        places = tree.broadcast_prefix(out_batched, out, f"{self.name}: out_batched")
        return all_mapped(size, list(zip(outs, places, strict=True)))

    def _result(self, leaves: Sequence[Tensor]) -> Any:
        """Leaves in the structure of the function's result."""
        return tree.unflatten(self.outputs.definition, list(leaves))

    def _separated(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The arguments named by nondiff_argnums, and the others."""
        fixed = [a for i, a in enumerate(args) if i in self.nondiff]
        return fixed, [a for i, a in enumerate(args) if i not in self.nondiff]

    def _gradients(self, gradients: Any) -> list[Any]:
        """What a reverse rule returned, by tensors: None for arguments without a gradient."""
        count = self.count - len(self.nondiff)
        if not isinstance(gradients, (tuple, list)) or len(gradients) != count:
            if count != 1:
                raise ValueError(
                    message(
                        self.name,
                        f"a backward rule that returns a tuple of {count} gradients, one an "
                        "argument",
                        len(gradients) if isinstance(gradients, (tuple, list)) else repr(gradients),
                    )
                )
            gradients = (gradients,)
        rest = iter(gradients)
        every = tuple([None if i in self.nondiff else next(rest) for i in range(self.count)])
        return self.layout.picked(self.name, "gradients", every)


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
