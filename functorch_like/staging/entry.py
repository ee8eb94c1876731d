"""A staged function as something to run: its program, and what happens around a run."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import check, write_all

from ..errors import message
from ..ops.family import number
from ..tensor import Tensor
from ..trace import asked_of, clock, switches
from .graph import Graph
from .numbers import same
from .passes import optimize
from .program import Program
from .rebinding import Watch
from .stage import GradOf, Staged


class Entry:
    """A program for arguments of one kind, and what happens around its runs.

    Args:
      function: where captured tensors are looked for.
      n_kept: the last outputs, which are kept for the backward pass.
      given: numbers of the arguments' tensors that a run uses up.
    """

    def __init__(
        self,
        staged: Staged,
        definition: Any,
        function: Any,
        n_kept: int = 0,
        given: Sequence[int] = (),
    ):
        self.staged, self._n_kept, self._given = staged, n_kept, given
        # a guard that fails must find everything as it was
        into = None if staged.guards else staged.before
        self.program = Program(optimize(staged.graph), into, given)
        # and before it is known to hold, nothing may be used up or have an effect outside
        self._guards_first = None
        if staged.guards and (staged.token is not None or given):
            graph, n = staged.graph, len(staged.guards)
            end = len(graph.outputs) - n_kept - (staged.token is not None)
            alone = Graph(graph.inputs, graph.equations, graph.outputs[end - n : end])
            self._guards_first = Program(optimize(alone))
        self.definition = definition  # of the result
        self.watch = Watch(staged.bindings, function)
        self._conditional = bool(staged.watched or staged.read_grads or staged.number_guards)
        self._switches = -1  # as of when the same was last asked of the captured tensors
        self.free = not (self._conditional or len(self.watch) or staged.asked)  # may always run
        self.pure = not (
            staged.writes or staged.grads or staged.cleared or staged.guards
            or staged.generator is not None or staged.token is not None
        )  # fmt: skip
        # gradients that the program does not read make room for the new ones
        self._drops = not staged.guards and all(was_none for _, was_none in staged.read_grads)
        n = staged.n_results
        self._slices = (n, n + len(staged.writes), n + len(staged.writes) + len(staged.grads))
        # outputs and where to; what is used up is not written
        self._writes: list[tuple[int, Any]] = [
            (i, target)
            for i, target in enumerate(staged.writes, n)
            if not (isinstance(target, int) and target in given)
        ]

    def may_run(self, floats: Sequence[float]) -> bool:
        """Are the tensors it captured and the Python values it depends on as they were?"""
        watch = self.watch
        if not (watch.unchanged() or watch.follow()):
            return False
        staged = self.staged
        if self._switches != switches[0]:
            if any(asked_of(b.tensor._m) != before for b, before in staged.asked):
                return False
            self._switches = switches[0]
        if not self._conditional:
            return True
        try:
            return (
                all(same(recipe(floats), value) for recipe, value in staged.number_guards)
                and all(read() == value for read, value in staged.watched)
                and all((now() is None) == was_none for now, was_none in staged.read_grads)
            )
        except ArithmeticError:  # of numbers that cannot be computed with now
            return False

    def call(self, tensors: list[Tensor], floats: Sequence[float]) -> Any:
        """As run, or False where it may not run."""
        return self.run(tensors, floats) if self.may_run(floats) else False

    def _check_donors(self, tensors: list[Tensor], donors: list[Tensor]) -> None:
        others = {id(b.tensor) for b in self.staged.bindings}
        for t in donors:
            if id(t) in others or sum(other is t for other in tensors) > 1:
                raise ValueError(
                    message(
                        "compile",
                        "a donated tensor that the function gets once",
                        "one that is also captured, or another argument",
                        "Donate a clone.",
                    )
                )

    def _hold(self, values: Sequence[Tensor]) -> bool:
        """Are the guards' values those at staging?"""
        for value, t in zip(self.staged.guards, values, strict=True):
            now = t.item()
            if now != value and not (now != now and value != value):  # nan is nan
                return False
        return True

    def run(self, tensors: list[Tensor], floats: Sequence[float]) -> Any:
        """The results, and what is kept; None for other shapes, False for other guards' values."""
        staged = self.staged
        donors = [tensors[i] for i in self._given] if self._given else ()
        if donors:
            self._check_donors(tensors, donors)
        if staged.numbers:
            tensors = tensors + [number(recipe(floats)) for _, recipe in staged.numbers]
        generator = staged.generator
        start = (0, 0) if generator is None else (generator._seed, generator._offset)
        if self._guards_first is not None:
            values = self._guards_first.run(tensors, *start)
            if values is None:
                return None
            if not self._hold(values):
                return False
        if self._drops:
            for leaf in staged.grads:
                (leaf if leaf.successor is None else leaf.last()).grad = None
        made = self.program.run(tensors, *start, donors)
        if made is None or self.pure:
            return made
        n, end_writes, end_grads = self._slices
        if not self._hold(made[end_grads : end_grads + len(staged.guards)]):
            return False
        if staged.writes:
            clock[0] += 1
            targets = [
                tensors[t] if t.__class__ is int else t() if t.__class__ is GradOf else t
                for _, t in self._writes
            ]
            # of themselves: only marks them
            check(write_all(targets, [made[i] for i, _ in self._writes], clock[0]))
        for leaf, grad in zip(staged.grads, made[end_writes:end_grads], strict=True):
            (leaf if leaf.successor is None else leaf.last()).grad = grad
        for leaf in staged.cleared:
            (leaf if leaf.successor is None else leaf.last()).grad = None
        if generator is not None:
            generator._offset += staged.drawn
        return made[:n] + made[len(made) - self._n_kept :] if self._n_kept else made[:n]
