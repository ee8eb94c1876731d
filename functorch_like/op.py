"""The Op record, the table of all ops, and the one way from a call to its evaluation.

An op is one entry: the C kernel behind it and its rules. `Op.vjp` gives reverse mode, `Op.jvp`
forward mode, `Op.batch` vmap; an entry without one of them must have `decompose`, its meaning as a
function of other ops, which is used instead. Rules are written with public functions, so that they
can be differentiated, mapped and staged again.

Naming says what a reverse rule keeps alive: an argument `x` of the rule is the saved input,
`x_spec` its shape and dtype only, `_x` nothing at all. `out` is the result.
"""

# `_v`, `_m` and `_b` are the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cbackend import Entry, Form, lib, raise_error, wrap

from .dtypes import DTYPES, device, device_from_code, dtype
from .trace import active, state

if TYPE_CHECKING:
    from .tensor import Tensor

TABLE: dict[str, Op] = {}


class NotDifferentiable:
    """Stands where a derivative rule would: `NONDIFF("integer result")`."""

    def __init__(self, reason: str):
        self.reason = reason


NONDIFF = NotDifferentiable


class Spec(Form):
    """Shape, dtype and device of a tensor, without its data."""

    __slots__ = ()

    @property
    def dtype(self) -> dtype:
        return DTYPES[self._dtype]

    @property
    def device(self) -> device:
        return device_from_code(self._device)

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Op(Entry):
    """One entry of the table.

    Called, it evaluates the op on tensors, whatever they are and whatever is going on: outside of
    transforms its impl, then recorded if that is asked for; else dispatch(). Numbers and arrays
    may stand for tensors.

    Args:
      name: the public name; unique.
      impl: C call on tensors with memory: `impl(*tensors, **params) -> handle`, or a tuple of
        handles.
      vjp: `vjp(ct, out, *inputs, **params) -> gradients, one an input` (see the naming rule above;
        a rule with a keyword `needs` is told which inputs want one). For several outputs ct and out
        are tuples.
      jvp: `jvp(tangents, out, *inputs, **params) -> tangent of out`; None stands for a zero
        tangent.
      batch: `batch(size, batched, *inputs, **params) -> out`, inputs and outputs with the mapped
        dimension in front where `batched` says so; outputs all batched.
      decompose: the op as a function of other ops.
      product: is it linear in each of its first two inputs? Then the reverse rule sees the value of
        one only where the other wants a gradient, and its Spec elsewhere.
      view: does the result share memory with the first input?
      random: does it draw random numbers? Then vmap decides how.
      decides: `decides(*inputs)`: the values that the shape of the result depends on; lanes of vmap
        run together while they agree on them. Instead of batch.
      inlined: does a program take the ops that it is made of, though it has a kernel?
      unpack: of a view, what makes its params of the arguments that views made by views.c keep.
      registered: is it in the table? Ops made while a program runs, from users' rules, are not.
    """

    __slots__ = (  # beside the members of Entry
        "batch", "changes_dtype", "decides", "decompose", "doc", "errors", "family", "inlined",
        "jvp", "keeps", "name", "nouts", "oracle", "ordered", "product", "random", "samples",
        "tolerance", "unpack", "vjp",
    )  # fmt: skip

    vjp: Any

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any] | None,
        *,
        vjp: Callable[..., Any] | NotDifferentiable | None = None,
        jvp: Callable[..., Any] | None = None,
        batch: Callable[..., Any] | None = None,
        decompose: Callable[..., Any] | None = None,
        pull: Callable[..., Any] | None = None,
        partials: Sequence[Any] = (),
        nouts: int = 1,
        product: bool = False,
        view: bool = False,
        random: bool = False,
        decides: Callable[..., Any] | None = None,
        inlined: bool = False,
        unpack: Callable[[Any], dict[str, Any]] | None = None,
        family: str = "",
        registered: bool = True,
    ):
        if registered and name in TABLE:
            raise ValueError(f"op {name}: expected a new name, got one that is taken.")
        self.differentiable = not isinstance(vjp, NotDifferentiable)
        if impl is None and decompose is None:
            raise ValueError(f"op {name}: expected an impl or a decomposition, got neither.")
        missing = (
            [rule for rule, given in (("vjp or pull", vjp or pull), ("jvp", jvp)) if not given]
            if self.differentiable
            else []
        )
        missing += [] if batch or decides else ["batch"]
        if missing and decompose is None:
            raise ValueError(
                f"op {name}: expected a rule or a decomposition for {', '.join(missing)}, "
                "got neither."
            )
        self.name, self.impl, self.vjp, self.jvp, self.batch = name, impl, vjp, jvp, batch
        self.decompose, self.partials, self.nouts = decompose, partials, nouts
        self.view, self.random, self.decides, self.unpack = view, random, decides, unpack
        self.product, self.inlined = product, inlined
        self.family = family
        # for ops with effects outside of tensors: the same op with a token as first operand and
        # first output, by which a graph keeps their order
        self.ordered: Op | None = None
        self.changes_dtype = True
        self.keeps: list[Any] = [None] * 4  # saved() by which of two inputs want a gradient
        self._masks: dict[tuple[bool, ...], tuple[tuple[int, ...], bool]] = {}
        self.takes_needs = False
        self.pull = pull
        if pull is None and vjp is not None and not isinstance(vjp, NotDifferentiable):
            code = vjp.__code__
            self.takes_needs = (
                "needs" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            )
            if unpack is not None:
                self.pull = self._pull_view
            else:
                self.pull = self._pull_with_needs if self.takes_needs else self._pull
        if registered:
            TABLE[name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def saved(self, needs: tuple[bool, ...]) -> tuple[tuple[int, ...], bool]:
        """What the reverse rule keeps when the inputs in `needs` want gradients.

        For each input 0 nothing, 1 its Spec, 2 the tensor itself; and whether it keeps the output.
        """
        masks = self._masks.get(needs)
        if masks is None:
            n = len(needs)
            if self.partials:
                rules = [
                    p for p, need in zip(self.partials, needs, strict=True) if need and callable(p)
                ]
                names = [
                    rule.__code__.co_varnames[1 if getattr(rule, "chained", False) else 0 :][
                        : n + 1
                    ]
                    for rule in rules
                ]
                keep = [max((_keeps(one[i]) for one in names), default=0) for i in range(n)]
                out = any(_keeps(one[n]) for one in names)
            else:
                code = self.vjp.__code__
                names = list(code.co_varnames[: code.co_argcount])
                if len(names) < n + 2:  # vjp(ct, out, *inputs)
                    variadic = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
                    names += [variadic.removesuffix("s")] * (n + 2 - len(names))
                keep = [_keeps(name) for name in names[2 : n + 2]]
                if self.product:
                    keep[:2] = [2 if need else 1 for need in (needs[1], needs[0])]
                out = bool(_keeps(names[1]))
            masks = self._masks[needs] = (tuple(keep), out)
        return masks

    def kept(self, arity: int, which: int) -> tuple[bool, bool, bool, bool]:
        """What an elementwise op saves: anything at all, x, y, the output.

        `which` counts the inputs that want gradients, 1 for x and 2 for y.
        """
        kept, out = self.saved((bool(which & 1), bool(which & 2))[:arity])
        flags = [bool(k) for k in kept] + [False]
        found = self.keeps[which] = (any(flags) or out, flags[0], flags[1], out)
        return found

    def _pull(self, node: Any, ct: Any) -> Sequence[Tensor | None]:
        out = node.out
        if out is not None:
            out = node.saved_out()
        return self.vjp(ct, out, *node.args, **node.params)

    def _pull_view(self, node: Any, ct: Any) -> Sequence[Tensor | None]:
        params = node.params  # or the arguments, as a view's link has them
        if type(params) is not dict:
            params = self.unpack(params)  # type: ignore[misc]
        return self.vjp(ct, None, *node.args, **params)

    def _pull_with_needs(self, node: Any, ct: Any) -> Sequence[Tensor | None]:
        return self.vjp(ct, node.saved_out(), *node.args, needs=node.needs, **node.params)


class concretely:  # a context manager, lower-case as no_grad
    """For kernels in Python: computes constants (from params) also while the kernel is staged.

    `with concretely() as staged` tells whether it is: operands are meta tensors then.
    """

    def __enter__(self) -> bool:
        self.depth = lib.cb_staging_pause()
        return self.depth > 0

    def __exit__(self, *exc: object) -> None:
        lib.cb_staging_resume(self.depth)


def _keeps(name: str) -> int:
    return 1 if name.endswith("_spec") else 0 if name.startswith("_") else 2


if TYPE_CHECKING:  # set by tensor.py and tape.py, which import this module

    def record(op: Op, args: tuple[Tensor, ...], params: dict[str, Any], out: Any) -> Any: ...
    def sync(t: Tensor) -> None: ...


def dispatch(op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
    """Evaluates an op in the current context and puts it on the tape if an input requires grad."""
    recorded = False
    for a in args:
        m = a._m
        if m is not None:
            if m.is_view:
                sync(a)
                m = a._m
            if m.requires_grad:
                recorded = True
    trace = state.trace if active else None
    if recorded:
        recorded = op.differentiable and state.grad
    if (recorded and op.pull is None) or (op.impl is None and trace is None):
        return op.decompose(*args, **params)  # type: ignore[misc]
    if trace is not None:
        out = trace.process(op, args, params)
    else:
        handles = op.impl(*args, **params)  # type: ignore[misc]
        if not handles:
            fail(op, args)
        out = wrap(handles)
    if recorded:
        out = record(op, args, params, out)
    if op.view:
        base = args[0]
        if op.name != "reshape" or _shares(out, base):  # a reshape may have copied
            if out._m is not None:
                out._m.is_view = True
            out._b = (base, op, params, base._m)
    return out


def _shares(shaped: Tensor, base: Tensor) -> bool:
    """Is the result of reshape() a view?"""
    if base._v and not shaped._v:  # staged, of a tensor from outside
        shape = shaped._shape
        view = lib.cb_view(base._v, len(shape), shape)
        if view:
            lib.cb_release(view)
        return bool(view)
    return lib.cb_storage_id(shaped._concrete) == lib.cb_storage_id(base._concrete)


def fail(op: Op, args: tuple[Tensor, ...]) -> None:
    """Raises for a C call that gave NULL: the C error, or that a tracer outlived its trace."""
    if lib.cb_error_code() == lib.CB_ERR_NULL:
        for a in args:
            trace = a._m.trace if a._m is not None else None
            if trace is not None:
                raise trace.strayed(op.name)
    raise_error()
