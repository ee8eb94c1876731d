"""Staging: running a function on tracers that have shapes and dtypes only, to get its graph.

Whatever the function does with transforms, the tape and in-place writes has happened in Python when
the graph is done. What reaches outside is kept beside the graph, to be done at each run:

- tensors captured from outside are inputs that are looked up again;
- writes to them are outputs that are copied into their memory;
- gradients of captured leaves are outputs that are put where .grad was;
- numbers that Python read from tensors (`if x > 0`) are outputs that must come out the same.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cbackend import ffi, lib

from ..dtypes import float64, uint8
from ..errors import TraceError, message
from ..op import TABLE, Op, fail, wrap
from ..ops.creation import full
from ..ops.family import number
from ..ops.random import Generator
from ..tensor import Tensor, traced
from ..trace import (
    Leaf,
    Trace,
    TracerValue,
    Untraced,
    _user_site,
    active,
    asked_of,
    line_of,
    next_sequence,
    state,
)
from .aliases import check_same_elements, check_written, shown, written_with
from .graph import Equation, Graph, Var
from .numbers import Recipe, StagedFloat, same
from .rebinding import Binding

_address = "uintptr_t"


class StageValue(TracerValue):
    """A value of a StageTrace."""

    def __init__(self, trace: StageTrace, var: Var):
        self.trace, self.var = trace, var
        self.place = var.meta._v.device >> 8  # kept there by the core: cb_meta_for
        self.seq = next_sequence()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.var.meta._shape

    def inner(self) -> Tensor:
        return self.var.meta


class StagedDraw:
    """Stands for a generator in a graph: a draw at a fixed distance from where a run starts.

    `base` is the state to draw from when a part of the graph is evaluated while staging.
    """

    def __init__(self, generator: Generator, distance: int, base: tuple[int, int]):
        self.generator, self.distance, self.base = generator, distance, base
        self.evaluating = False

    def take(self, kind: int, code: int, numel: int) -> tuple[int, int]:
        """Seed and offset: relative ones for programs."""
        del kind, code, numel
        if self.evaluating:
            return self.base[0], self.base[1] + self.distance
        return 0, self.distance

    def __repr__(self) -> str:
        return f"draw+{self.distance}"


class _Meter(Generator):
    """Counts what a draw consumes."""

    def __init__(self) -> None:
        super().__init__()
        self._seed = 0
        self.taken: list[tuple[int, int, int]] = []

    def take(self, kind: int, code: int, numel: int) -> tuple[int, int]:
        self.taken.append((kind, code, numel))
        return super().take(kind, code, numel)


class GradOf:
    """The .grad of a leaf or another tensor from outside, as the source of a Var."""

    __slots__ = ("owner",)

    def __init__(self, owner: Tensor | Leaf):
        self.owner = owner

    def __call__(self) -> Any:
        return self.owner.last().grad if isinstance(self.owner, Leaf) else self.owner.grad


class StageTrace(Trace):
    """Writes down every operation; computes shapes only."""

    name = "compile"
    functional = True  # writes never go to memory

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Var] = []
        self.arguments: list[tuple[Tensor, Var]] = []  # the tracers given out, and what they were
        self.equations: list[Equation] = []
        self.captured: dict[int, tuple[Tensor, Var]] = {}  # by the handle's address
        # those among them that are found again: tensor, its memory, _m and _b
        self.looked_up: list[tuple[Tensor, Tensor, Any, Any]] = []
        self.asked: list[tuple[Binding, Any]] = []  # asked_of() what was captured
        self.written: dict[int, tuple[Tensor, Any, Any, Any]] = {}  # tensor, its _v, _m, _b before
        self.before: dict[int, Var] = {}  # their values before
        self.writers: dict[int, Tensor] = {}  # by storage: the first one written, of several
        self.aliases = []
        self.shared: set[int] = set()  # ids of captured tensors that must go on sharing memory
        self.leaves: dict[Leaf, Tensor | None] = {}  # whose .grad changed, with what it was
        self.origins: dict[Leaf, Leaf] = {}  # of leaves, also of tensors that were written since
        self.read_grads: dict[int, tuple[GradOf, bool]] = {}  # what of .grad was read: was it None?
        self.guards: list[tuple[Var, Any]] = []
        self.numbers: list[tuple[Var, Recipe]] = []  # inputs made of the arguments' floats
        self.number_guards: list[tuple[Recipe, Any]] = []  # what Python read of them
        self.watched: list[tuple[Callable[[], Any], Any]] = []  # Python values and what they were
        self.read_each_run: list[tuple[Callable[[], Any], Any]] = []  # numbers and what they were
        self.made: set[int] = set()  # ids of objects with options that the function makes itself
        self.made_eagerly: list[range] = []  # numbers of storages that belong to the outside
        self.generator: Generator | None = None
        self.drawn = 0
        self.draws: list[tuple[int, int, int]] = []  # kind, dtype and number of what was drawn
        self.values: dict[Var, Tensor] = {}  # what was evaluated for Python to read
        self.token: Var | None = None  # made by the last operation with effects

    def is_staging(self) -> bool:
        return True

    # ---- values ----

    def input(self, x: Tensor) -> Tensor:
        """A tracer for an argument."""
        var = Var(wrap(lib.cb_as_meta(x._concrete)))
        self.inputs.append(var)
        if not x.is_meta:  # which stands for arguments of another shape
            self.values[var] = x
        self.arguments.append((traced(StageValue(self, var)), var))
        return self.arguments[-1][0]

    def cotangent(self, like: Tensor) -> Tensor:
        """A tracer for a gradient that the backward pass will bring, contiguous."""
        shape = like._shape
        place = lib.CB_META | like._place << 8
        meta = wrap(lib.cb_empty(like._concrete.dtype, place, len(shape), shape))
        self.inputs.append(Var(meta))
        return traced(StageValue(self, self.inputs[-1]))

    def host(self, read: Callable[[], Any]) -> Tensor:
        """A 0-d tracer for a Python number that is read again at each run."""
        now = _scalar(read())
        var = Var(wrap(lib.cb_as_meta(now._v)), source=lambda: _scalar(read()))
        self.values[var] = now
        return traced(StageValue(self, var))

    def check_numbers(self) -> None:
        """Raises where the function changed a number that the program reads before each run."""
        for read, value in self.read_each_run:
            if not same(now := read(), value):
                raise TraceError(
                    message(
                        "compile",
                        "learning rates (and what else is read at each run) that the function "
                        "leaves alone",
                        f"one that it changed from {value} to {now} after using it",
                        "Change it outside of the compiled function.",
                    )
                )

    def number(self, x: StagedFloat) -> Tensor:
        """A 0-d tracer for a float among the arguments, promoted as numbers are."""
        if x._var is None:
            now = number(x._now)
            x._var = Var(wrap(lib.cb_as_meta(now._v)))
            self.numbers.append((x._var, x._recipe))
            self.values[x._var] = now
        return traced(StageValue(self, x._var))

    def var_of(self, t: Tensor) -> Var:
        """The value behind any tensor."""
        if self.writers and (writer := written_with(self, t)) is not None:
            t = shown(self, t, writer)
        m = t._m
        if m is not None and m.trace is self:
            return (m.tracer or m).var
        if not t._v:
            assert m is not None and m.trace is not None
            raise m.trace.strayed("compile")
        return self.captured_var(t)

    def captured_var(self, t: Tensor) -> Var:
        """What is in the memory of a tensor when a run starts."""
        m = t._m
        address = int(ffi.cast(_address, t._v))
        known = self.captured.get(address)
        if known is None:
            meta = wrap(lib.cb_as_meta(t._v))
            kept = t._alias()  # t itself may be given another value
            if self.owns(t):  # numbers, literals
                var = Var(meta, value=kept)
            else:
                if m is None or m.trace is None:
                    self.looked_up.append((t, kept, m, getattr(t, "_b", None)))
                    binding = Binding(t)
                else:
                    binding = Binding(kept)
                var = Var(meta, source=binding)
                if binding.tensor is t and t.dtype.is_inexact:
                    self.asked.append((binding, asked_of(m)))
            self.values[var] = kept
            known = self.captured[address] = (kept, var)
        return known[1]

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        if op.impl is None or op.inlined:
            return op.decompose(*args, **params)  # type: ignore[misc]
        if op.decides is not None:
            raise TraceError(
                message(
                    "compile",
                    "results whose shapes follow from the shapes of the operands",
                    f"{op.name}, whose result's shape depends on values (at "
                    f"{line_of(_user_site())})",
                    "Use where(), or compute it outside of the compiled function.",
                )
            )
        inputs = [self.var_of(a) for a in args]
        if op.random:
            params = {**params, "generator": self._draw(op, inputs, params)}
        ordered = op.ordered is not None
        if ordered:
            inputs = [self.token or self._first_token(), *inputs]
            op = op.ordered  # type: ignore[assignment]
        impl: Any = op.impl
        metas = [v.meta for v in inputs]
        state.trace = None  # kernels written in Python call public functions
        try:
            lib.cb_staging_begin()
            made = impl(*metas, **params)
        finally:
            lib.cb_staging_end()
            state.trace = self
        if not made:
            fail(op, args)
        results = wrap(made)
        if type(results) is not tuple:
            var = Var(results)
            self.equations.append(Equation(op, inputs, params, (var,), _user_site()))
            return traced(StageValue(self, var))
        outputs = [Var(y) for y in results]
        self.equations.append(Equation(op, inputs, params, outputs, _user_site()))
        if ordered:
            self.token, *outputs = outputs
            if len(outputs) == 1:
                return traced(StageValue(self, outputs[0]))
        return tuple([traced(StageValue(self, v)) for v in outputs])

    def _first_token(self) -> Var:
        nothing = full((0,), 0, dtype=uint8)
        var = Var(wrap(lib.cb_as_meta(nothing._v)), value=nothing)
        self.captured[int(ffi.cast(_address, nothing._v))] = (nothing, var)
        self.values[var] = nothing
        return var

    def _draw(self, op: Op, inputs: list[Var], params: dict[str, Any]) -> StagedDraw:
        generator = params["generator"]
        if self.generator is None:
            self.generator = generator
        if generator is not self.generator:
            raise TraceError(
                message(
                    "compile",
                    "random numbers from one generator",
                    f"a second Generator (at {line_of(_user_site())})",
                    "Use one generator in a compiled function.",
                )
            )
        meter = _Meter()
        try:
            lib.cb_staging_begin()
            op.impl(*[v.meta for v in inputs], **{**params, "generator": meter})  # type: ignore[misc]
        finally:
            lib.cb_staging_end()
        draw = StagedDraw(generator, self.drawn, (generator._seed, generator._offset))
        self.drawn += meter._offset
        self.draws += meter.taken
        return draw

    # ---- what Python reads ----

    def read(self, t: Tensor, how: str) -> Any:
        var = self.var_of(t)
        value = self.evaluate(var)
        result = bool(value) if how == "bool" else value.item()
        if var.value is None:
            self.guards.append((var, value.item()))
        return result

    def evaluate(self, wanted: Var) -> Tensor:
        """The value of a part of the graph for the arguments of this call."""
        with Untraced():
            needed = _needed(wanted, self.values)
            read = [wanted, *[x for e in needed for x in e.inputs]]
            if any(x.equation is None and x not in self.values for x in read):
                raise TraceError(
                    message(
                        "compile",
                        "numbers for Python that do not depend on arguments without memory",
                        f"one that does (at {line_of(_user_site())})",
                        "Use where() instead of `if`.",
                    )
                )
            for e in needed:
                if e.op.ordered is not None:
                    raise TraceError(
                        message(
                            "compile",
                            "numbers for Python that do not depend on ordered callbacks",
                            f"one that needs a result of {e.op.name} (at {line_of(_user_site())})",
                            "Pass ordered=False if calling it twice does no harm, or use where().",
                        )
                    )
                params = e.params
                draw = params.get("generator")
                if isinstance(draw, StagedDraw):
                    draw.evaluating = True
                try:
                    made = wrap(e.op.impl(*[self.values[x] for x in e.inputs], **params))  # type: ignore[misc]
                finally:
                    if isinstance(draw, StagedDraw):
                        draw.evaluating = False
                self.values.update(
                    zip(e.outputs, made if type(made) is tuple else (made,), strict=True)
                )
        return self.values[wanted]

    # ---- what reaches outside ----

    def owns(self, t: Tensor) -> bool:
        if not t._v:
            return super().owns(t)
        born = lib.cb_storage_born(t._v)
        return born >= self.first_storage and not any(born in made for made in self.made_eagerly)

    def capture_write(self, t: Tensor) -> None:
        """A write to a tensor from outside: it is undone here and done at each run."""
        if id(t) not in self.written and t._v:
            self.before[id(t)] = self.captured_var(t)
            link = getattr(t, "_b", None)
            self.written[id(t)] = (t, lib.cb_retain(t._v), t._m, link)
            if link is None:
                writer = self.writers.setdefault(lib.cb_storage_id(t._v), t)
                if writer is not t:
                    check_same_elements(self, t, writer)
                    t._b = (writer, TABLE["detach"], {}, writer._m)

    def note_grad(self, meta: Any, reads: bool) -> bool:
        if type(meta) is not Leaf or meta.seq >= self.first:
            return True
        leaf = self._origin(meta)
        if leaf not in self.leaves:
            if reads:
                self._depend_on_grad(leaf)
            self.leaves[leaf] = leaf.grad
        return True

    def read_grad(self, t: Tensor) -> None:
        m = t._m
        if type(m) is Leaf and m.seq < self.first:
            self._depend_on_grad(self._origin(m))
        elif (m is None or m.trace is None) and not self.owns(t):
            self._depend_on_grad(t)

    def _depend_on_grad(self, owner: Any) -> None:
        """Of a leaf or another tensor, as it is before this changes it."""
        m = owner._m if isinstance(owner, Tensor) else owner
        if m in self.leaves or id(owner) in self.read_grads:
            return
        kept, source = None if m is None else m.grad, GradOf(owner)
        self.read_grads[id(owner)] = (source, kept is None)
        if kept is not None and kept._v:  # another tensor at each run, found through its owner
            var = Var(wrap(lib.cb_as_meta(kept._v)), source=source)
            self.values[var] = kept
            self.captured[int(ffi.cast(_address, kept._v))] = (kept, var)

    def _origin(self, leaf: Leaf) -> Leaf:
        """The leaf outside: a tensor that is written here without recording it has another."""
        if leaf not in self.origins:
            for _, _, before, _ in self.written.values():
                if type(before) is Leaf:
                    self.origins[before.last()] = before
            self.origins.setdefault(leaf, leaf)
        return self.origins[leaf]

    def restore(self) -> None:
        """Undoes what staging did to tensors from outside."""
        for t, handle, meta, base in self.written.values():
            lib.cb_release(t._v)
            t._v, t._m, t._b = handle, meta, base
            if type(meta) is Leaf:
                meta.successor = None
        for t, kept, meta, base in self.looked_up:
            if not t._v:  # a view that took up what was written to its base
                t._v, t._m, t._b = lib.cb_retain(kept._v), meta, base
        for leaf, grad in self.leaves.items():
            leaf.grad = grad


def _scalar(value: Any) -> Tensor:
    """A 0-d tensor with all digits of a number; what it meets decides the dtype of results."""
    return full((), value, dtype=float64) if isinstance(value, float) else number(value)


def _needed(wanted: Var, known: dict[Var, Any]) -> list[Equation]:
    """The equations to run for a value, in order."""
    order: dict[Equation, None] = {}
    stack: list[tuple[Var, bool]] = [(wanted, False)]
    while stack:
        var, ready = stack.pop()
        e = var.equation
        if var in known or e is None or e in order:
            continue
        if ready:
            order[e] = None
        else:
            stack.append((var, True))
            stack += [(x, False) for x in e.inputs]
    return list(order)


class Staged:
    """A graph and what to do around a run of it.

    Attributes:
      graph: its outputs are the results, then new values for `writes`, then gradients for
        `grads`, then guards, then the `token` of effects if there is one; its inputs are the
        arguments, then `numbers`, made of the arguments' floats.
      writes: the tensors, or numbers of arguments, that the next outputs are copied into, some
        found as the gradient of another;
        `before`, by output, what they held.
      grads: the leaves whose .grad the next outputs become; `cleared`: whose .grad becomes None.
    """

    def __init__(self, trace: StageTrace, results: list[Tensor]):
        trace.check_numbers()
        outputs = [trace.var_of(t) for t in results]
        self.n_results = len(outputs)
        self.writes: list[Tensor | GradOf | int] = []
        self.before: dict[int, Var] = {}  # by output: the value that a write replaces
        for t, _, meta, link in trace.written.values():
            t._current()
            if link is None:
                check_written(t, meta)
            before = trace.before[id(t)]
            self.writes.append(before.source if isinstance(before.source, GradOf) else t)
            self.before[len(outputs)] = before
            outputs.append(trace.var_of(t))
        for i, (t, var) in enumerate(trace.arguments):
            t._current()
            if trace.var_of(t) is not var:
                check_written(t, None)
                self.writes.append(i)
                self.before[len(outputs)] = var
                outputs.append(trace.var_of(t))
        self.grads: list[Leaf] = []
        self.cleared: list[Leaf] = []
        for leaf in trace.leaves:
            (self.cleared if leaf.last().grad is None else self.grads).append(leaf)
        outputs += [trace.var_of(leaf.last().grad) for leaf in self.grads]  # type: ignore[arg-type]
        self.guards = [value for _, value in trace.guards]
        outputs += [var for var, _ in trace.guards]
        self.token = trace.token
        outputs += [trace.token] if trace.token is not None else []
        self.numbers, self.number_guards = trace.numbers, trace.number_guards
        inputs = trace.inputs + [var for var, _ in trace.numbers]
        self.graph = Graph(inputs, trace.equations, outputs)
        self.bindings: list[Binding] = []
        self.settle(trace)

    def settle(self, trace: StageTrace) -> None:
        """Takes up what the trace has captured by now."""
        written = {id(t) for t in self.writes} | trace.shared
        sources = [var.source for _, var in trace.captured.values()]
        self.bindings = [b for b in sources if isinstance(b, Binding)]
        for b in self.bindings:
            b.fixed = id(b.tensor) in written
        self.generator, self.drawn, self.draws = trace.generator, trace.drawn, trace.draws
        self.read_grads, self.watched = list(trace.read_grads.values()), trace.watched
        self.asked = trace.asked


def stage(function: Callable[[list[Tensor]], list[Tensor]], leaves: list[Tensor]) -> Staged:
    """Runs `function` on tracers for the leaves; gives its graph and effects."""
    with StageTrace() as trace:
        try:
            results = function([trace.input(x) for x in leaves])
            for t in results:
                t._current()
            return Staged(trace, results)
        finally:
            trace.restore()


def current_stage() -> StageTrace | None:
    """The staging trace that the calling thread is in, under whatever other transforms."""
    trace = state.trace if active else None
    while trace is not None and type(trace) is not StageTrace:
        trace = trace.parent
    return trace


class eagerly:  # a context manager, lower-case as no_grad
    """Runs a block as if nothing were staged, for state that a compiled function starts with.

    Under other transforms nothing changes.
    """

    def __enter__(self) -> None:
        trace = state.trace
        self.trace = trace if type(trace) is StageTrace else None
        if self.trace is not None:
            state.trace = None
            self.first = lib.cb_storage_serial()

    def __exit__(self, *exc: object) -> None:
        if self.trace is not None:
            state.trace = self.trace
            self.trace.made_eagerly.append(range(self.first, lib.cb_storage_serial()))


def at_each_run(read: Callable[[], Any]) -> Any:
    """read(): under compile a number that is read again at each run of the program.

    Example:
      >>> options = {"lr": 1.0}
      >>> f = compile(lambda x: x * at_each_run(lambda: options["lr"]))
      >>> options["lr"] = f(tensor([2.0])).item()
      >>> f(tensor([2.0]))
      tensor([4.])
    """
    trace = current_stage()
    value = read()
    if trace is None or not isinstance(value, (int, float)):
        return value
    trace.read_each_run.append((read, value))
    return trace.host(read)


def note_made(thing: Any) -> None:
    """Remembers that an object was made; see was_made()."""
    trace = current_stage()
    if trace is not None:
        trace.made.add(id(thing))


def was_made(thing: Any) -> bool:
    """Was the object made by the function that is being staged?

    Then what Python does to it happens at each run, as part of the program.
    """
    trace = current_stage()
    return trace is not None and id(thing) in trace.made


def depends_on(read: Callable[[], Any]) -> None:
    """Says that what is being staged is valid only while read() gives what it gives now.

    Example:
      >>> options = {"double": True}
      >>> def f(x):
      ...     depends_on(lambda: options["double"])
      ...     return x * 2 if options["double"] else x
      >>> g = compile(f)
      >>> options["double"] = g(tensor(1.0)).item() == 0
      >>> g(tensor(1.0))
      tensor(1.)
    """
    trace = current_stage()
    if trace is not None:
        trace.watched.append((read, read()))
