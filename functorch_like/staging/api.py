"""compile(): a function as a program of the C core, staged at its first call."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from time import perf_counter
from typing import Any

from cbackend import check, lib

from .. import amp, tree
from ..dtypes import DTYPES, get_default_dtype
from ..errors import TraceError, message
from ..op import wrap
from ..tensor import Tensor
from ..trace import active, clock, state
from .backward import Differentiable
from .graph import Graph
from .log import milliseconds, write
from .passes import optimize
from .program import Program
from .stage import Staged, stage

MAX_PROGRAMS = 64  # for arguments of one kind; beyond, calls run without compiling


class Entry:
    """A program for arguments of one kind, and what happens around its runs."""

    def __init__(self, staged: Staged, definition: Any, n_kept: int = 0):
        self.staged, self._n_kept = staged, n_kept
        # a guard that fails must find everything as it was
        into = None if staged.guards else staged.before
        self.program = Program(optimize(staged.graph), into)
        self.definition = definition  # of the result
        self.pure = not (
            staged.writes or staged.grads or staged.cleared or staged.guards or staged.watched
            or staged.accumulated or staged.generator is not None
        )  # fmt: skip
        n = staged.n_results
        self._slices = (n, n + len(staged.writes), n + len(staged.writes) + len(staged.grads))

    def may_run(self) -> bool:
        """Are the Python values it depends on as they were?"""
        staged = self.staged
        return all(read() == value for read, value in staged.watched) and all(
            (leaf.grad is None) == was_none for leaf, was_none in staged.accumulated
        )

    def run(self, handles: list[Any]) -> Any:
        """The results' handles; None for other shapes, False for other values in a guard."""
        staged = self.staged
        generator = staged.generator
        if generator is None:
            out = self.program.run(handles, 0, 0)
        else:
            out = self.program.run(handles, generator._seed, generator._offset)
        if out is None:
            return None
        if self.pure:
            return [wrap(h) for h in out]
        made = [wrap(h) for h in out]
        n, end_writes, end_grads = self._slices
        for value, t in zip(staged.guards, made[end_grads : len(made) - self._n_kept], strict=True):
            now = t.item()
            if now != value and not (now != now and value != value):  # nan is nan
                return False
        if staged.writes:
            clock[0] += 1
            for target, value in zip(staged.writes, made[n:end_writes], strict=True):
                handle = handles[target] if isinstance(target, int) else target._v
                check(lib.cb_copy_into(handle, value._v, clock[0]))  # of itself: only marks it
        for leaf, grad in zip(staged.grads, made[end_writes:end_grads], strict=True):
            leaf.grad = grad
        for leaf in staged.cleared:
            leaf.grad = None
        if generator is not None:
            generator._offset += staged.drawn
        return made[:n] + made[len(made) - self._n_kept :] if self._n_kept else made[:n]


class Compiled:
    """A compiled function: call it like the function.

    Attributes:
      explain: why each program was made, as text.
    """

    def __init__(self, function: Callable[..., Any], static_argnums: tuple[int, ...]):
        self._function = function
        self._static = static_argnums
        self._programs: dict[Any, list[Any]] = {}
        self._last: Any = None
        self._reasons: list[str] = []
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if active and state.trace is not None:
            return self._function(*args, **kwargs)
        last = self._last
        if last is not None and not kwargs and len(args) == last[1] and _context() == last[2]:
            handles = []
            for a in args:
                if a.__class__ is not Tensor or a._m is not None:
                    break
                handles.append(a._v)
            else:
                entry = last[0]
                out = entry.run(handles)
                if out:
                    return (
                        out[0]
                        if entry.definition is tree._LEAF
                        else tree.unflatten(entry.definition, out)
                    )
        return self._general(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)

    def _general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        flat, definition = tree.flatten((args, kwargs))
        static = {i for i in self._static if i < len(args)}
        if static:
            flat, definition = tree.flatten(
                (tuple(_Static(a) if i in static else a for i, a in enumerate(args)), kwargs)
            )
        tensors = [x for x in flat if isinstance(x, Tensor)]
        for t in tensors:
            t._current()
        recorded = tuple(t.requires_grad and state.grad for t in tensors)
        key = (definition, _context(), recorded, tuple(map(_kind, flat)))
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
            entries = self._programs[key] = []
        handles = [t._v for t in tensors]
        for entry in entries:
            out = (
                entry.call(tensors)
                if isinstance(entry, Differentiable)
                else (entry.run(handles) if entry.may_run() else False)
            )
            if out is not None and out is not False:
                if entry is not entries[0]:
                    entries.remove(entry)
                    entries.insert(0, entry)
                return tree.unflatten(entry.definition, out)
        return self._first(key, entries, flat, definition, tensors, args, kwargs)

    def _first(
        self,
        key: Any,
        entries: list[Any],
        flat: list[Any],
        definition: Any,
        tensors: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Stages a program for these arguments and runs it."""
        if len(entries) >= MAX_PROGRAMS:
            return self._function(*args, **kwargs)
        result_definition: list[Any] = [None]

        def of_tensors(values: Sequence[Tensor]) -> list[Tensor]:
            a, k = _with_tensors(flat, definition, values)
            a = tuple(x.value if isinstance(x, _Static) else x for x in a)
            out_leaves, result_definition[0] = tree.flatten(self._function(*a, **k))
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

        reason, started = self._reason(key, entries), perf_counter()
        name = getattr(self._function, "__qualname__", type(self._function).__name__)
        write(f"{name}: {reason}")
        entry: Any = (
            Differentiable.stage(of_tensors, tensors, key[2])
            if state.grad
            else stage(of_tensors, tensors)
        )
        if not isinstance(entry, Differentiable):
            entry = Entry(entry, result_definition[0])
        took = milliseconds(started)
        write(f"{name}: {took} ms in all")
        if isinstance(entry, Differentiable):
            entry.definition = result_definition[0]
            out = entry.call(tensors)
        else:
            out = entry.run([t._v for t in tensors])
            if entry.pure and len(flat) == len(tensors) == len(args) and not kwargs:
                self._last = (entry, len(args), key[1])
        self._reasons.append(f"{reason} ({took} ms)")
        entries.insert(0, entry)
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

    def _reason(self, key: Any, entries: list[Any]) -> str:
        if entries:
            return "a value that Python read, or state it depends on, was another"
        if len(self._programs) == 1:
            return "the first call"
        kinds = [
            f"{DTYPES[k[0]].name}{list(k[1])}" if isinstance(k[0], int) else repr(k[1])
            for k in key[3]
            if type(k) is tuple
        ]
        return "other arguments: " + ", ".join(kinds)

    def explain(self) -> str:
        """A line for each program that was made: its reason, and the milliseconds it took to make.

        Example:
          >>> square = compile(lambda x: x * x)
          >>> _ = square(tensor([1.0, 2.0])), square(tensor([1.0]))
          >>> print(square.explain())
          1. the first call (... ms)
          2. other arguments: float32[1] (... ms)
        """
        return "\n".join(f"{i}. {reason}" for i, reason in enumerate(self._reasons, 1))


def _with_tensors(flat: list[Any], definition: Any, values: Sequence[Tensor]) -> Any:
    """The arguments and keywords of a call with other tensors in place of its own."""
    at = iter(values)
    return tree.unflatten(definition, [next(at) if isinstance(x, Tensor) else x for x in flat])


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
    """What a program depends on: of tensors dtype, shape and strides, of other things the value."""
    if isinstance(x, Tensor):
        v = x._memory("compile")
        strides = None if v.flags & 2 else tuple(v.strides[i] for i in range(v.ndim))
        return (v.dtype, x._shape, strides)
    return (type(x), x) if not isinstance(x, _Static) else x


def compile(function: Any = None, *, static_argnums: int | Sequence[int] = ()) -> Any:
    """A function that runs as one program of the C core: staged at its first call, then replayed.

    The program is made by running `function` once on tracers that have shapes and dtypes only,
    whatever is inside: transforms, backward(), in-place writes, optimizer steps. Calls with
    arguments of other shapes, dtypes or Python values stage again. Under a transform
    (`grad(compile(f))`) the function itself is called, so everything composes.

    Tensors captured from outside are looked up at each run, and what the function writes to them,
    and the .grad it leaves, is written at each run. Where Python reads a number (`if x > 0`), the
    program checks that it comes out the same, and is staged again if not. Other effects, such as
    print, happen only while staging.

    Args:
      static_argnums: positions of arguments that are part of the program and compared by ==.
    Returns:
      A callable with `explain()`; as a decorator works with and without arguments.
    Raises:
      TypeError: the function's result contains something else than tensors.
      TraceError: an operation needs values that are not known while staging (the shape of
        `x[x > 0]`).
    Example:
      >>> @compile
      ... def f(x):
      ...     return (x * 2).tanh().sum()
      >>> f(tensor([0.0, 1.0]))
      tensor(0.9640)
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    if function is None:
        return lambda f: Compiled(f, numbers)
    if not callable(function):
        raise TypeError(message("compile", "a function", type(function).__name__))
    return Compiled(function, numbers)


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
        flat, definition = tree.flatten((args, kwargs))
        tensors = [x for x in flat if isinstance(x, Tensor)]

        def of_tensors(values: Sequence[Tensor]) -> list[Tensor]:
            a, k = _with_tensors(flat, definition, values)
            return [y for y in tree.leaves(function(*a, **k)) if isinstance(y, Tensor)]

        return optimize(stage(of_tensors, tensors).graph)

    return traced
