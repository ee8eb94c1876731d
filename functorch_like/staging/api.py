"""compile(): a function as a program of the C core, staged at its first call."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from time import perf_counter
from typing import Any

from .. import amp, tree
from ..dtypes import DTYPES, get_default_dtype
from ..errors import GradError, TraceError, message
from ..ops.creation import empty
from ..tensor import Tensor
from ..trace import active, state
from .backward import Differentiable
from .dynamic import Generic, NotGeneric, Pattern, between, declared
from .entry import Entry
from .graph import Graph
from .log import milliseconds, write
from .numbers import StagedFloat
from .passes import optimize
from .stage import current_stage, stage

MAX_PROGRAMS = 64  # for arguments of one kind; beyond, calls run without compiling
_PLAINLY = os.environ.get("FL_COMPILE") == "0"  # are functions called as they are?


class Compiled:
    """A compiled function: call it like the function.

    Attributes:
      explain: why each program was made, as text.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnums: tuple[int, ...] = (),
        donate: tuple[int, ...] = (),
        dynamic: bool | dict[Any, Any] = False,
    ):
        self._function = function
        self._static, self._donate = static_argnums, donate
        self._dynamic = dynamic
        self._generics: list[Generic] = []
        self._variants: dict[Any, None] = {}  # keys of programs made for sizes, oldest first
        self._refused: list[Pattern] = []
        self._specific: list[Any] = []  # the last keys staged
        self._programs: dict[Any, list[Any]] = {}
        self._fixed: set[Any] = set()  # definitions of arguments whose floats are fixed
        self._last: Any = None
        self._reasons: list[tuple[str, Any]] = []  # and the entry
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _PLAINLY or (active and state.trace is not None):
            return self._function(*args, **kwargs)
        last = self._last
        flattened = None
        if last is not None and not kwargs:
            entry, definition, kinds, context = last
            leaves: Any = args
            if definition.__class__ is int:  # of tensors and numbers that stand there by themselves
                same = len(args) == definition
            else:
                leaves, found = flattened = tree.flatten(args)
                same = found == definition
            if same and _context() == context:
                tensors, floats = [], []
                for a, kind in zip(leaves, kinds):  # noqa: B905 - hot
                    if a.__class__ is not kind:
                        break
                    if kind is float:
                        floats.append(a)
                    elif a._m is None:
                        tensors.append(a)
                    else:
                        break
                else:
                    if entry.free or entry.may_run(floats):
                        out = entry.run(tensors, floats)
                        if out is not None and out is not False:
                            return (
                                out[0]
                                if entry.definition is tree._LEAF
                                else tree.unflatten(entry.definition, out)
                            )
        return self._general(args, kwargs, flattened)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)

    def _general(self, args: tuple[Any, ...], kwargs: dict[str, Any], flattened: Any = None) -> Any:
        if flattened is None:
            flat, definition = tree.flatten_call(args, kwargs)
        else:
            flat, definition = flattened[0], (flattened[1],)
        static = {i for i in self._static if i < len(args)}
        if static:
            flat, definition = tree.flatten(
                (tuple(_Static(a) if i in static else a for i, a in enumerate(args)), kwargs)
            )
        call = _Call(flat, definition, fixed=definition in self._fixed)
        if self._donate:
            call.donate(args, self._donate)
        for t in call.tensors:
            t._current()
        recorded = tuple(t.requires_grad and state.grad for t in call.tensors)
        key = (definition, _context(), recorded, call.kinds())
        try:
            entries = self._programs.get(key)
        except TypeError as error:
            raise TypeError(
                message(
                    "compile",
                    "arguments that are tensors or can be hashed",
                    str(error),
                    "Pass a tensor, or a tuple instead of a list in an object of your own.",
                )
            ) from None
        if entries is None:
            entries = self._programs[key] = self._for_sizes(key) if self._generics else []
        for entry in entries:
            out = entry.call(call.tensors, call.floats)
            if out is not None and out is not False:
                if entry is not entries[0]:
                    entries.remove(entry)
                    entries.insert(0, entry)
                return tree.unflatten(entry.definition, out)
        return self._first(key, entries, call, args, kwargs)

    def _first(
        self,
        key: Any,
        entries: list[Any],
        call: _Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Stages a program for these arguments and runs it."""
        if len(entries) >= MAX_PROGRAMS:
            return self._function(*args, **kwargs)
        reason, started = self._reason(key, entries), perf_counter()
        name = getattr(self._function, "__qualname__", type(self._function).__name__)
        write(f"{name}: {reason}")
        try:
            entry = self._stage(call, key)
        except Exception:
            if not call.floats:
                raise
            # the function may want real floats: they become part of the program
            self._fixed.add(call.definition)
            return self._general(args, kwargs)
        took = milliseconds(started)
        write(f"{name}: {took} ms in all")
        if isinstance(entry, Entry):  # also where it holds for this call only, state being made
            out = entry.run(call.tensors, call.floats)
        else:
            out = entry.call(call.tensors, call.floats)
        if isinstance(entry, Entry) and not (self._donate or self._static or kwargs):
            kinds = tuple(map(type, call.flat))
            if set(kinds) <= {Tensor, float} and not (float in kinds and not call.floats):
                self._last = (entry, call.definition[0], kinds, key[1])
        self._reasons.append((f"{reason} ({took} ms)", entry))
        entries.insert(0, entry)
        if self._dynamic and out is not None and out is not False:
            self._generalize(key, call, entry)
        if out is None or out is False:
            raise TraceError(
                message(
                    "compile",
                    "a function that gives the same values when it runs again",
                    "another value where Python read one",
                    "Look for state that the function changes outside of tensors.",
                )
            )
        return tree.unflatten(entry.definition, out)

    def _stage(self, call: _Call, key: Any) -> Any:
        """A program for arguments like those of a call."""
        definition: Any = None

        def of_tensors(
            values: Sequence[Tensor], floats: Sequence[float] | None = None
        ) -> list[Tensor]:
            nonlocal definition
            a, k = call.filled(values, call.staged_floats() if floats is None else floats)
            a = tuple(x.value if isinstance(x, _Static) else x for x in a)
            out_leaves, definition = tree.flatten(self._function(*a, **k))
            for y in out_leaves:
                if not isinstance(y, Tensor):
                    raise TypeError(
                        message(
                            "compile",
                            "tensors in the function's result",
                            type(y).__name__,
                            "Return tensors only.",
                        )
                    )
            return out_leaves

        if state.grad:
            made = Differentiable.stage(of_tensors, call.tensors, key[2], self._function)
            if isinstance(made, Differentiable):
                if call.donated:
                    raise GradError(
                        message(
                            "compile",
                            "results without gradients where arguments are donated",
                            "one that requires grad",
                            "Return it detached, or call the function under no_grad.",
                        )
                    )
                made.definition = definition
                return made
        else:
            made = stage(of_tensors, call.tensors)
        return Entry(made, definition, self._function, given=call.donated)

    def _for_sizes(self, key: Any) -> list[Any]:
        """The entry for arguments that differ from known ones in sizes, if there is one."""
        for generic in self._generics:
            sizes = generic.pattern.sizes(key)
            entry = None if sizes is None else generic.entry(sizes)
            if entry is not None:
                self._variants[key] = None
                if len(self._variants) > MAX_PROGRAMS:
                    oldest = next(iter(self._variants))
                    del self._variants[oldest], self._programs[oldest]
                return [entry]
        return []

    def _generalize(self, key: Any, call: _Call, entry: Any) -> None:
        """After staging: are this program and an earlier one the same up to sizes?"""
        known: dict[Any, Any] = {}
        if isinstance(self._dynamic, dict):
            pattern = declared(key, call.dimensions(self._function, self._dynamic))
        else:
            pattern = None
            for old in self._specific:
                pattern = between(old, key)
                if pattern is not None and self._programs.get(old):
                    known[pattern.sizes(old)] = self._programs[old][0]
                    break
            self._specific = [key, *self._specific[:7]]
        tried = [*[g.pattern for g in self._generics], *self._refused]
        if pattern is None or any(p.sizes(key) is not None for p in tried):
            return
        known[pattern.sizes(key)] = entry
        started = perf_counter()
        try:
            generic = Generic(pattern, lambda k: self._stage(call.of_kinds(k[3]), k), known)
        except NotGeneric as why:
            self._refused.append(pattern)
            line = f"not one program for {pattern}: {why}"
        else:
            self._generics.append(generic)
            line = f"one program for {pattern}, from {generic.samples} sizes"
        line += f" ({milliseconds(started)} ms)"
        write(line)
        self._reasons.append((line, None))

    def _reason(self, key: Any, entries: list[Any]) -> str:
        if entries:
            return "a value that Python read, or state it depends on, was another"
        if len(self._programs) == 1:
            return "the first call"
        kinds = [
            f"{DTYPES[k[0]].name}{list(k[1])}" if isinstance(k[0], int) else repr(k[1])
            for k in key[3]
            if type(k) is tuple and len(k) > 1
        ]
        return "other arguments: " + ", ".join(kinds)

    def explain(self) -> str:
        """A line for each program that was made: its reason, and the milliseconds it took to make.

        For programs on CUDA also how they run: replayed as a CUDA graph, or why not.

        Example:
          >>> square = compile(lambda x: x * x)
          >>> _ = square(tensor([1.0, 2.0])), square(tensor([1.0]))
          >>> print(square.explain())
          1. the first call (... ms)
          2. other arguments: float32[1] (... ms)
        """
        lines = []
        for i, (reason, entry) in enumerate(self._reasons, 1):
            run = entry.forward if isinstance(entry, Differentiable) else entry
            how = run.program.replay() if isinstance(run, Entry) else ""
            lines.append(f"{i}. {reason}" + (f"; {how}" if how else ""))
        return "\n".join(lines)


class _Call:
    """The leaves of a call's arguments, by what a program makes of them.

    Attributes:
      tensors, floats: its inputs; everything else is part of it.
    """

    def __init__(self, flat: list[Any], definition: Any, fixed: bool = True):
        self.flat, self.definition = flat, definition
        self.tensors: list[Tensor] = [x for x in flat if isinstance(x, Tensor)]
        self._at = [] if fixed else [i for i, x in enumerate(flat) if type(x) is float]
        self.floats: list[float] = [flat[i] for i in self._at]
        self.donated: list[int] = []  # numbers of tensors

    def donate(self, args: tuple[Any, ...], positions: Sequence[int]) -> None:
        """The tensors in some of the arguments are to be used up."""
        gone = {
            id(x)
            for i in positions
            if -len(args) <= i < len(args)
            for x in tree.leaves(args[i])
            if isinstance(x, Tensor)
        }
        self.donated = [i for i, t in enumerate(self.tensors) if id(t) in gone]

    def kinds(self) -> tuple[Any, ...]:
        """What a program for these arguments depends on."""
        kinds = [_kind(x) for x in self.flat]
        for i in self._at:
            kinds[i] = (float,)
        return tuple(kinds)

    def of_kinds(self, kinds: Sequence[Any]) -> _Call:
        """A call with tensors without memory of these kinds."""
        made = copy.copy(self)
        made.tensors = [
            empty(k[1], dtype=DTYPES[k[0]], device="meta")
            for k, x in zip(kinds, self.flat, strict=True)
            if isinstance(x, Tensor)
        ]
        return made

    def dimensions(self, function: Any, dynamic: dict[Any, Any]) -> list[tuple[int, int]]:
        """(leaf, dimension) of what `dynamic` names: arguments by position or name."""
        args, kwargs = tree.unflatten(self.definition, list(range(len(self.flat))))
        names = list(inspect.signature(function).parameters) if dynamic else []
        found = []
        for which, dims in dynamic.items():
            if isinstance(which, str) and which not in kwargs and which in names:
                which = names.index(which)
            leaves: Any = ()
            if isinstance(which, str):
                leaves = kwargs.get(which, ())
            elif which < len(args):
                leaves = args[which]
            for leaf in tree.leaves(leaves):
                if isinstance(self.flat[leaf], Tensor):
                    found += [(leaf, d) for d in ((dims,) if isinstance(dims, int) else dims)]
        return found

    def staged_floats(self) -> list[Any]:
        """What stands for the floats in the function that is being staged."""
        trace = current_stage()
        if trace is None:
            return self.floats
        return [
            StagedFloat(trace, lambda floats, i=i: floats[i], now)
            for i, now in enumerate(self.floats)
        ]

    def filled(self, tensors: Sequence[Tensor], floats: Sequence[Any]) -> Any:
        """The arguments and keywords with other tensors and floats."""
        flat, at = list(self.flat), iter(tensors)
        for i, x in zip(self._at, floats, strict=True):
            flat[i] = x
        return tree.unflatten(
            self.definition, [next(at) if isinstance(x, Tensor) else x for x in flat]
        )


def _context() -> Any:
    """The modes that decide what a function's operations are."""
    return (state.grad, amp.current_dtype() if amp.entered else None, get_default_dtype())


class _Static:
    """An argument that is part of the program: compared by value."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


def _kind(x: Any) -> Any:
    """What a program depends on: dtype, shape, strides and device of tensors, values of others."""
    if isinstance(x, Tensor):
        v = x._memory("compile")
        strides = None if v.flags & 2 else tuple(v.strides[i] for i in range(v.ndim))
        return (v.dtype, x._shape, strides, v.device)
    return (type(x), x) if not isinstance(x, _Static) else x


def compile(
    function: Any = None,
    *,
    static_argnums: int | Sequence[int] = (),
    donate: int | Sequence[int] = (),
    dynamic: bool | dict[Any, Any] = False,
) -> Any:
    """A function that runs as one program of the C core: staged at its first call, then replayed.

    The program is made by running `function` once on tracers that have shapes and dtypes only,
    whatever is inside: transforms, backward(), in-place writes, optimizer steps. Calls with
    arguments of other shapes, dtypes or Python values stage again; floats are inputs, unless Python
    reads them (`if lr > 0`, `math.sqrt(lr)`). Under a transform
    (`grad(compile(f))`) the function itself is called, so everything composes.

    Tensors captured from outside are looked up at each run, and what the function writes to them,
    and the .grad it leaves, is written at each run. Where Python reads a number (`if x > 0`), the
    program checks that it comes out the same, and is staged again if not. Other effects, such as
    print, happen only while staging, and other Python values from outside (globals, attributes)
    stay what they were then: pass what changes as an argument. An argument that shares memory with
    something that the function writes is read as it was at the call.

    Args:
      static_argnums: positions of arguments that are part of the program and compared by ==.
      donate: positions of arguments whose tensors are used up: results may take their memory, and
        they cannot be read any more after the call. Results must not require grad.
      dynamic: make one program for all sizes of some dimensions. True: of those that differ between
        the first calls. A dict: of the dimensions it names, `{argument: dimension}`, the argument
        by position or name, the dimension an int or several; equal sizes vary together. Programs
        are staged at a few sizes and compared; where they are not the same up to numbers that
        follow from the sizes, each size is staged as without it, and explain() says why. Sizes 0
        and 1 always are. Python code that looks at sizes (`if len(x) > 100`) is noticed when the
        sizes that are compared, odd and even ones and those at both ends, take different ways.
    With the environment variable FL_COMPILE=0 functions run as they are: to see whether a program
    is at fault, or to step through the code.

    Returns:
      A callable with `explain()`; as a decorator works with and without arguments.
    Raises:
      TypeError: the function's result contains something else than tensors.
      ValueError: a donated tensor is also captured, or given twice.
      TraceError: an operation needs values that are not known while staging (the shape of
        `x[x > 0]`).
    Example:
      >>> @compile
      ... def f(x):
      ...     return (x * 2).tanh().sum()
      >>> f(tensor([0.0, 1.0]))
      tensor(0.9640)
    """
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    given = (donate,) if isinstance(donate, int) else tuple(donate)
    if function is None:
        return lambda f: Compiled(f, static, given, dynamic)
    if not callable(function):
        raise TypeError(message("compile", "a function", type(function).__name__))
    if not isinstance(dynamic, (bool, dict)):
        raise TypeError(
            message("compile", "dynamic=True or {argument: dimension}", f"dynamic={dynamic!r}")
        )
    return Compiled(function, static, given, dynamic)


def make_graph(function: Callable[..., Any]) -> Callable[..., Graph]:
    """The primitives that a call amounts to, as a typed listing.

    Returns:
      A function of the same arguments that gives the Graph; print it, or draw `to_dot()`.
    Example:
      >>> print(make_graph(grad(lambda x: x.sin()))(tensor(1.0)).listing(sites=False))
      graph(a: float32[]):
        b: float32[] = sin_grad(1.0, a)
        return b
    """

    def traced(*args: Any, **kwargs: Any) -> Graph:
        call = _Call(*tree.flatten_call(args, kwargs))

        def of_tensors(values: Sequence[Tensor]) -> list[Tensor]:
            a, k = call.filled(values, ())
            return [y for y in tree.leaves(function(*a, **k)) if isinstance(y, Tensor)]

        return optimize(stage(of_tensors, call.tensors).graph)

    return traced
