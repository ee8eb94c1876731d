"""From a graph to a C program and its runs."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from cbackend import ffi, lib, raise_error, run_program

from ..donation import use_up
from ..op import wrap
from ..tensor import Tensor
from .fuse import Group, Sets, fuse
from .graph import Equation, Graph, Var
from .log import milliseconds, passed, write
from .pairs import pair
from .rebinding import Binding
from .remat import rematerialize


class Program:
    """A graph as instructions of the C core.

    Its inputs are the graph's, then the captured tensors.

    Args:
      into: for outputs that will be copied into a captured tensor, that tensor's value before.
      given: numbers of inputs that a run uses up.
    """

    def __init__(self, graph: Graph, into: dict[int, Var] | None = None, given: Sequence[int] = ()):
        started = perf_counter()
        graph = passed(rematerialize, graph)
        self.captured = [v for v in graph.outside() if v.source is not None]
        self.fused = 0
        self._graph: Graph | None = graph
        self._given = given
        self._apart: Program | None = None  # writes over nothing, for inputs that share memory
        inputs = [*graph.inputs, *self.captured]
        metas = {v: wrap(lib.cb_as_meta(v.meta._v)) for v in inputs}
        begun: list[Any] = []
        try:
            # one call: an interrupt between it and an assignment would lose the program
            begun.extend(map(lib.cb_program_begin, [len(inputs)], [[metas[v]._v for v in inputs]]))
            self._p = begun[0]
            if not self._p:
                raise_error()
            for v in graph.outside():
                if v.value is not None:
                    metas[v] = wrap(lib.cb_as_meta(v.meta._v))
                    if lib.cb_program_constant(self._p, metas[v]._v, v.value._v):
                        raise_error()
            for item in pair(fuse(graph)):
                if isinstance(item, Group):
                    self._fused(item, metas)
                elif isinstance(item, Sets):
                    self._fused_sets(item, metas)
                else:
                    _apply(item, metas)
            results = [metas[v] for v in graph.outputs]
            # what came from outside is given back as it is; a constant is not lent out
            for i, v in enumerate(graph.outputs):
                if v.value is not None:
                    results[i] = wrap(lib.cb_clone(results[i]._v))
            if given and lib.cb_program_give(self._p, len(given), list(given)):
                raise_error()
            place = {v: i for i, v in enumerate(inputs)}
            targets = ffi.NULL
            if into:
                from_outputs = range(len(results))
                targets = [place.get(into.get(i), -1) for i in from_outputs]  # type: ignore[arg-type]
            if lib.cb_program_end(self._p, len(results), [t._v for t in results], targets):
                raise_error()
        except BaseException:  # also an interrupt: the thread must not go on recording
            self._p = ffi.NULL
            if begun:
                lib.cb_program_free(begun[0])
            raise
        self._undecided = any(t._v.device >> 8 & 255 == lib.CB_CUDA for t in metas.values())
        self._sources: list[Any] = [v.source for v in self.captured]
        self._origin: Program | None = None  # keeps what its instructions need alive
        write(
            f"program: {len(graph.equations)} equations, {self.fused} groups fused, {len(self)} "
            f"instructions, {len(inputs)} inputs ({len(self.captured)} captured), "
            f"{milliseconds(started)} ms"
        )

    def __del__(self) -> None:
        if getattr(self, "_p", None):
            lib.cb_program_free(self._p)

    def __len__(self) -> int:
        return lib.cb_program_length(self._p)

    def instructions(self) -> list[str]:
        """The C functions it calls, in order."""
        return [ffi.string(lib.cb_program_call(self._p, i)).decode() for i in range(len(self))]

    def pairs(self) -> int:
        """How many sweeps may run together with the reduction or softmax behind them."""
        return lib.cb_program_pairs(self._p)

    def _fused(self, group: Group, metas: dict[Var, Tensor]) -> None:
        steps = group.steps
        if steps is None:
            for e in group.equations:
                _apply(e, metas)
            return
        out = ffi.new("cb_tensor *[]", len(group.outputs))
        operands = [metas[v]._v for v in steps.operands]
        if lib.cb_fused(
            len(operands), operands, len(steps.code), steps.code, len(group.outputs), out, 0, 0
        ):
            raise_error()
        self.fused += 1
        for v, handle in zip(group.outputs, out, strict=True):
            metas[v] = wrap(handle)

    def _fused_sets(self, sets: Sets, metas: dict[Var, Tensor]) -> None:
        n, code = len(sets.groups), sets.code
        out = ffi.new("cb_tensor *[]", len(sets.outputs))
        operands = [metas[v]._v for v in sets.operands]
        words = [0] * n
        if lib.cb_fused_sets(
            len(operands), operands, len(code), code, len(out), out, n, words, words
        ):
            raise_error()
        self.fused += n
        for v, handle in zip(sets.outputs, out, strict=True):
            metas[v] = wrap(handle)

    def run(
        self, arguments: list[Tensor], seed: int, offset: int, donors: Sequence[Tensor] = ()
    ) -> tuple[Tensor, ...] | None:
        """The results; None if the arguments are of other shapes or dtypes.

        The donors are inputs that are used up.
        """
        inputs = arguments
        if self._sources:
            found = [s.tensor if s.__class__ is Binding else s() for s in self._sources]
            inputs = arguments + found
        made = run_program(self._p, inputs, seed, offset)
        if made.__class__ is int:
            if made == lib.CB_PROGRAM_OTHER_INPUTS:
                return None
            if made == lib.CB_PROGRAM_SHARED_INPUTS:
                if self._graph is None:
                    return None
                if self._apart is None:
                    self._apart = Program(self._graph, given=self._given)
                return self._apart.run(arguments, seed, offset, donors)
        for t in donors:
            use_up(t)
        if made.__class__ is int:
            raise_error()
        if self._undecided and self.replay():
            self._undecided = False
            write(f"program: {self.replay()}")
        return made

    def replay(self) -> str:
        """How it runs on CUDA, in words; "" while that is open (the first run), and on the CPU."""
        text = lib.cb_program_replay(self._p)
        return ffi.string(text).decode() if text else ""

    def like(self, handle: Any) -> Program:
        """The program around another one of the core, of the same inputs and results."""
        made = copy.copy(self)
        made._p, made._apart, made._origin = handle, None, self
        made._graph = None  # which is for other sizes
        return made


def _apply(e: Equation, metas: dict[Var, Tensor]) -> None:
    made = e.op.impl(*[metas[x] for x in e.inputs], **e.params)  # type: ignore[misc]
    if not made:
        raise_error()
    results = wrap(made)
    if type(results) is not tuple:
        metas[e.outputs[0]] = results
    else:
        metas.update(zip(e.outputs, results, strict=True))
