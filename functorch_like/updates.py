"""Updates in place: formulas of elementwise ops, run over many sets of tensors in one sweep.

The formula of an optimizer's step changes all parameters and their states alike. It is staged once
for the dtypes (on two elements: steps know of no sizes) and falls into two parts: a program of what
it computes from numbers, run once a step, and the steps of one sweep over all sets of tensors,
which writes results over operands.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import check, step_sets

from .ops.creation import empty
from .pointwise import item_of
from .steps import in_memory
from .tensor import Tensor
from .trace import clock

__all__ = ["Update", "put_all", "staged_update"]

Formula = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]
_MOST = 64  # updates that put_all keeps
_kept: dict[Any, Update | None] = {}


class Update:
    """A staged formula; see staged_update().

    Args:
      program: new numbers, then the numbers that the sweep reads, from the numbers.
      code: the steps of the sweep.
      operands: what they read: tensors by their place, behind these the numbers, or constants.
      targets: for each result of the sweep, the operand that it is written over.
    """

    __slots__ = ("_code", "_operands", "_program", "_targets")

    def __init__(self, program: Any, code: bytes, operands: list[Any], targets: tuple[int, ...]):
        self._program, self._code = program, code
        self._operands, self._targets = operands, targets

    def numbers(self, values: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """The formula's new numbers, then those that step() takes; None for other dtypes."""
        return self._program.run(list(values), 0, 0)

    def step(self, lists: Sequence[list[Tensor]], numbers: Sequence[Any]) -> bool:
        """Changes sets of tensors in place; says whether it did.

        It does not where they are not plain tensors on the CPU whose memory may be written, of one
        shape in each set and of the same dtypes in all.

        Args:
          lists: for each tensor of the formula, that of every set.
          numbers: for each of numbers(), a tensor for all sets or a list with that of every set.
        """
        given = [*lists, *numbers]
        operands = tuple([given[k] if type(k) is int else k for k in self._operands])
        clock[0] += 1
        status = step_sets(self._code, operands, self._targets, clock[0])
        if status is not None:
            check(status)
        return status is not None


def staged_update(
    formula: Formula, tensors: Sequence[Tensor], numbers: Sequence[Tensor], written: Sequence[int]
) -> Update | None:
    """The formula for the dtypes of these tensors; None where it is not one sweep.

    Args:
      formula: takes tensors of one shape and numbers []; gives tensors of that shape and numbers.
      written: for each tensor that it gives, the place of the one that it replaces.
    """
    from .staging.fuse import steps_of
    from .staging.graph import Graph
    from .staging.passes import optimize
    from .staging.program import Program
    from .staging.stage import stage

    count = len(tensors)

    def results(operands: list[Tensor]) -> list[Tensor]:
        new, counts = formula(operands[:count], operands[count:])
        return [*new, *counts]

    examples = [empty((2,), dtype=t.dtype, device="meta") for t in tensors]
    examples += [empty((), dtype=t.dtype, device="meta") for t in numbers]
    graph = optimize(stage(results, examples).graph)
    inputs, made = graph.inputs, graph.outputs[: len(written)]
    scalar = [e for e in graph.equations if not e.outputs[0].shape]
    wide = [e for e in graph.equations if e.outputs[0].shape]
    place = {y: i for i, y in enumerate(y for e in wide for y in e.outputs)}
    if any(x.shape for e in scalar for x in e.inputs) or not all(y in place for y in made):
        return None
    read = dict.fromkeys(x for e in wide for x in e.inputs if not x.shape and x.value is None)
    order = sorted(range(len(made)), key=lambda i: place[made[i]])
    steps = steps_of(Graph([*inputs[:count], *read], wide, [made[i] for i in order]))
    if steps is None or any(y.code != inputs[i].code for y, i in zip(made, written, strict=True)):
        return None
    given = {v: i for i, v in enumerate([*inputs[:count], *read])}
    operands = [given[v] if v in given else item_of(v.value) for v in steps.operands]
    targets = [inputs[written[i]] for i in order]
    if any(x is None for x in operands) or not all(v in steps.operands for v in targets):
        return None
    program = Program(Graph(inputs[count:], scalar, [*graph.outputs[len(written) :], *read]))
    return Update(program, steps.packed(), operands, tuple(map(steps.operands.index, targets)))


def put_all(formula: Callable[..., Tensor], lists: Sequence[list[Tensor]], *numbers: float) -> bool:
    """first[i] = formula(first[i], second[i], ..., *numbers) in place; says whether it did.

    Args:
      formula: made of elementwise ops, a function of a module: updates are kept by it, the numbers
        and the dtypes.
      lists: of tensors, those of a place alike.
    """
    if not in_memory() or not lists[0] or not all(isinstance(n, (float, int)) for n in numbers):
        return False
    example = [tensors[0] for tensors in lists]
    kind = (formula, *numbers, *[x.dtype for x in example])
    update: Any = _kept.get(kind, False)
    if update is False:
        update = staged_update(
            lambda tensors, _: ([formula(*tensors, *numbers)], []), example, [], [0]
        )
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[kind] = update
    return update is not None and update.step(lists, [])
