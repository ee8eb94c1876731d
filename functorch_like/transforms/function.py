"""autograd.Function: torch's class form of a function with rules of its own.

Both forms, `forward(ctx, *args)` and `forward(*args)` with `setup_context`, work on the tape and
under every transform and nesting; vmap needs no rule.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import GradError, message
from ..tensor import Tensor
from .rules import Rules, Tensors, all_mapped, invoke


class FunctionCtx:
    """What a Function's forward leaves for its backward: saved tensors and attributes."""

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._forward: tuple[Any, ...] | None = None
        self._flat: tuple[bool, ...] = ()
        self._materialize = True
        self._constant: set[int] = set()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Saves tensors (or None) for backward, where they are `ctx.saved_tensors`."""
        self._saved = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Saves tensors (or None) for jvp, where they are `ctx.saved_tensors`."""
        self._forward = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved."""
        return self._saved

    def set_materialize_grads(self, value: bool) -> None:
        """Does backward get zeros for outputs without a gradient, or None?"""
        self._materialize = value

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs have no gradient."""
        self._constant = {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Not supported.

        Raises:
          GradError: always.
        """
        raise GradError(
            message(
                "Function",
                "a forward that returns new tensors",
                "mark_dirty",
                "Write to a clone() and return it.",
            )
        )


_OWN = set(vars(FunctionCtx()))


class VmapInfo(NamedTuple):
    """What a Function's vmap rule is told about the mapping."""

    batch_size: int
    randomness: str


class Function:
    """A function with a gradient of its own; subclass it and call `apply`.

    Define static methods `forward(ctx, *args)` and `backward(ctx, *gradients)`; or
    `forward(*args)`, `setup_context(ctx, inputs, output)` and `backward`. Optional:
    `jvp(ctx, *tangents)` and `vmap(info, in_dims, *args)`; without them forward mode and vmap
    follow from the others.

    Example:
      >>> class Exp(Function):
      ...     @staticmethod
      ...     def forward(ctx, x):
      ...         y = x.exp()
      ...         ctx.save_for_backward(y)
      ...         return y
      ...     @staticmethod
      ...     def backward(ctx, gradient):
      ...         (y,) = ctx.saved_tensors
      ...         return gradient * y
      >>> grad(Exp.apply)(tensor(0.0))
      tensor(1.)
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The function."""
        raise NotImplementedError("Function: expected a forward, got a class without one.")

    setup_context: Any = None
    backward: Any = None
    jvp: Any = None
    vmap: Any = None

    @classmethod
    def vjp(cls, ctx: Any, *gradients: Any) -> Any:
        """backward, under its other name."""
        return cls.backward(ctx, *gradients)

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Calls the function.

        Raises:
          ValueError: backward returned another number of gradients than there are arguments.
        """
        call = _Call(cls, args)
        outs = invoke(call.rules, call.tensors)
        return call.rebuilt(outs)


class _Call:
    """One call of a Function: which arguments are tensors, and the rules in terms of those."""

    def __init__(self, cls: type[Function], args: tuple[Any, ...]):
        self.cls, self.args = cls, args
        self.at = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self.tensors: Tensors = tuple([args[i] for i in self.at])
        self.outputs: list[Any] = []  # of the result, None where a tensor stands
        self.one = True
        own = cls.backward is not None or cls.__dict__.get("vjp") is not None
        self.rules = Rules(
            cls.__name__,
            self.call,
            forward=self.forward if own else None,
            backward=self.backward if own else None,
            push=self.push if cls.jvp is not None else None,
            batch=self.batch if cls.vmap is not None else None,
        )

    def filled(self, tensors: Sequence[Any], rest: Sequence[Any] | None = None) -> list[Any]:
        args = list(self.args if rest is None else rest)
        for i, t in zip(self.at, tensors, strict=True):
            args[i] = t
        return args

    def flat(self, out: Any) -> Tensors:
        self.one = not isinstance(out, tuple)
        outs = (out,) if self.one else out
        self.outputs = [None if isinstance(y, Tensor) else y for y in outs]
        self.places = [i for i, y in enumerate(outs) if isinstance(y, Tensor)]
        return tuple([outs[i] for i in self.places])

    def rebuilt(self, tensors: Sequence[Tensor]) -> Any:
        outs = list(self.outputs)
        for i, t in zip(self.places, tensors, strict=True):
            outs[i] = t
        return outs[0] if self.one else tuple(outs)

    def call(self, *tensors: Tensor) -> Tensors:
        args = self.filled(tensors)
        if self.cls.setup_context is None:
            args.insert(0, FunctionCtx())
        return self.flat(self.cls.forward(*args))

    def forward(self, *tensors: Tensor) -> Any:
        args = self.filled(tensors)
        ctx = FunctionCtx()
        needs = dict(zip(self.at, self.rules.needs, strict=False))
        ctx.needs_input_grad = tuple([needs.get(i, False) for i in range(len(args))])
        if self.cls.setup_context is None:
            out = self.cls.forward(ctx, *args)
            outs = self.flat(out)
        else:  # the function again in the context below, so that it knows the rules too
            outs = invoke(self.rules, tensors)
            out = self.rebuilt(outs)
            self.cls.setup_context(ctx, tuple(args), out)
        constant = [id(y) in ctx._constant for y in outs]
        outs = tuple([y.detach() if c else y for y, c in zip(outs, constant, strict=True)])
        attributes = {k: v for k, v in vars(ctx).items() if k not in _OWN}
        static = _Static(ctx.needs_input_grad, ctx._materialize)
        return outs, (ctx._saved, ctx._forward, attributes, static)

    def context(self, residuals: Any, forward: bool) -> FunctionCtx:
        ctx = FunctionCtx()
        saved, for_forward, attributes, static = residuals
        ctx._saved = for_forward if forward and for_forward is not None else saved
        ctx.needs_input_grad = static.needs
        ctx._materialize = static.materialize
        vars(ctx).update(attributes)
        return ctx

    def backward(self, residuals: Any, cts: Sequence[Any]) -> list[Any]:
        ctx = self.context(residuals, False)
        given: list[Any] = [None] * len(self.outputs)
        for i, ct in zip(self.places, cts, strict=True):
            given[i] = ct
        gradients = self.cls.vjp(ctx, *given)
        if not isinstance(gradients, (tuple, list)):
            gradients = (gradients,)
        rest = gradients[len(self.args) :]
        if len(gradients) < len(self.args) or any(g is not None for g in rest):
            raise ValueError(
                message(
                    self.cls.__name__,
                    f"a backward that returns {len(self.args)} gradients, one an argument",
                    len(gradients),
                    "Return None for arguments without a gradient.",
                )
            )
        return [gradients[i] for i in self.at]

    def push(self, inputs: Tensors, tangents: Sequence[Any]) -> Any:
        outs, residuals = self.forward(*inputs)
        ctx = self.context(residuals, True)
        pushed = self.cls.jvp(ctx, *self.filled(tangents, [None] * len(self.args)))
        pushed = pushed if isinstance(pushed, tuple) else (pushed,)
        return outs, [pushed[i] for i in self.places]

    def batch(self, size: int, randomness: str, batched: Any, *tensors: Tensor) -> Tensors:
        in_dims = self.filled([0 if b else None for b in batched], [None] * len(self.args))
        out, out_dims = self.cls.vmap(
            VmapInfo(size, randomness), tuple(in_dims), *self.filled(tensors)
        )
        outs = self.flat(out)
        dims = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(self.outputs)
        pairs = [
            (y if d is None else y.movedim(d, 0), d is not None)
            for y, d in zip(outs, [dims[i] for i in self.places], strict=True)
        ]
        return all_mapped(size, pairs)


class _Static(NamedTuple):
    needs: tuple[bool, ...]
    materialize: bool


__all__ = ["Function", "FunctionCtx"]
