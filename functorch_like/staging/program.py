"""From a graph to a C program and its runs."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from time import perf_counter
from typing import Any

from cbackend import ffi, lib, raise_error

from ..op import wrap
from ..tensor import Tensor
from .fuse import Group, Sets, fuse
from .graph import Equation, Graph, Var
from .log import milliseconds, passed, write
from .remat import rematerialize


class Program:
    """A graph as instructions of the C core.

    Its inputs are the graph's, then the captured tensors.

    Args:
      into: for outputs that will be copied into a captured tensor, that tensor's value before.
    """

    def __init__(self, graph: Graph, into: dict[int, Var] | None = None):
        started = perf_counter()
        graph = passed(rematerialize, graph)
        self.captured = [v for v in graph.outside() if v.source is not None]
        self.fused = 0
        self._graph = graph
        self._apart: Program | None = None  # writes over nothing, for inputs that share memory
        inputs = [*graph.inputs, *self.captured]
        metas = {v: wrap(lib.cb_as_meta(v.meta._v)) for v in inputs}
        self._p = lib.cb_program_begin(len(inputs), [metas[v]._v for v in inputs])
        if not self._p:
            raise_error()
        try:
            for v in graph.outside():
                if v.value is not None:
                    metas[v] = wrap(lib.cb_as_meta(v.meta._v))
                    if lib.cb_program_constant(self._p, metas[v]._v, v.value._v):
                        raise_error()
            for item in fuse(graph):
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
        except BaseException:
            lib.cb_program_free(self._p)
            self._p = ffi.NULL
            raise
        place = {v: i for i, v in enumerate(inputs)}
        targets = ffi.NULL
        if into:
            targets = [place.get(into.get(i), -1) for i in range(len(results))]  # type: ignore[arg-type]
        if lib.cb_program_end(self._p, len(results), [t._v for t in results], targets):
            raise_error()
        self._n_in, self._n_out = len(inputs), len(results)
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

    def run(self, arguments: list[Any], seed: int, offset: int) -> Any:
        """The results' handles; None if the arguments are of other shapes or dtypes."""
        captured = [v.source() for v in self.captured]  # type: ignore[misc]
        handles = [*arguments, *[t._v for t in captured]]
        out = ffi.new("cb_tensor *[]", self._n_out)
        status = lib.cb_program_run(self._p, self._n_in, handles, seed, offset, out)
        if status:
            if status == lib.CB_PROGRAM_OTHER_INPUTS:
                return None
            if status == lib.CB_PROGRAM_SHARED_INPUTS:
                if self._apart is None:
                    self._apart = Program(self._graph)
                return self._apart.run(arguments, seed, offset)
            raise_error()
        return out


def _apply(e: Equation, metas: dict[Var, Tensor]) -> None:
    made = e.op.impl(*[metas[x] for x in e.inputs], **e.params)  # type: ignore[misc]
    if not made:
        raise_error()
    results = wrap(made)
    if type(results) is not tuple:
        metas[e.outputs[0]] = results
    else:
        metas.update(zip(e.outputs, results, strict=True))
