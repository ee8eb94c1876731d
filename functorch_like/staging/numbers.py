"""Python floats among the arguments of a compiled function: inputs, not parts of the program.

While the function is staged a StagedFloat stands for one. Arithmetic with numbers is written down
and done again by Python at each run, so its digits are Python's; where it meets a tensor it becomes
a 0-d input of the program that is promoted as a number is. Whatever else is asked of it (`if lr >
0`, `math.sqrt(lr)`) is answered from the value of this call and becomes a guard.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partialmethod
from typing import Any

from ..tensor import Tensor
from ..trace import state

Recipe = Callable[[Sequence[float]], Any]  # from the floats of a call


class StagedFloat:
    """A float that is another one at the next call. It passes for a float in isinstance()."""

    __slots__ = ("_now", "_recipe", "_trace", "_var")
    __class__ = property(lambda self: float)  # type: ignore[assignment]

    def __init__(self, trace: Any, recipe: Recipe, now: float):
        self._trace, self._recipe, self._now = trace, recipe, now
        self._var: Any = None

    def _read(self, how: Callable[[float], Any] = lambda x: x) -> Any:
        """how(value), which must come out the same at each run."""
        found = how(self._now)
        if not self._trace.finished:
            recipe = self._recipe
            self._trace.number_guards.append((lambda floats: how(recipe(floats)), found))
        return found

    def tensor(self) -> Tensor | None:
        """The 0-d input of the program; None where nothing is staged."""
        trace = state.trace
        while trace is not None and trace is not self._trace:
            trace = trace.parent
        return None if trace is None else self._trace.number(self)

    def __float__(self) -> float:
        return self._read()

    def __int__(self) -> int:
        return self._read(int)

    def __bool__(self) -> bool:
        return self._read(bool)

    def __hash__(self) -> int:
        return hash(self._read())

    def __repr__(self) -> str:
        return repr(self._read())

    def __format__(self, spec: str) -> str:
        return format(self._read(), spec)

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return float, (self._read(),)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        import numpy

        return numpy.asarray(self._read(), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read(), name)


def _combined(operation: Callable[..., Any], *operands: Any) -> Any:
    """The operation on numbers of which some are staged."""
    values = [x._now if type(x) is StagedFloat else x for x in operands]
    now = operation(*values)
    staged = next(x for x in operands if type(x) is StagedFloat)
    trace = staged._trace
    if trace.finished:
        return now
    recipes = [x._recipe if type(x) is StagedFloat else None for x in operands]

    def recipe(floats: Sequence[float]) -> Any:
        return operation(
            *[x if r is None else r(floats) for x, r in zip(values, recipes, strict=True)]
        )

    if type(now) is float:
        return StagedFloat(trace, recipe, now)
    trace.number_guards.append((recipe, now))
    return now


def _method(operation: Callable[..., Any], reflected: bool = False) -> Any:
    def method(self: StagedFloat, other: Any) -> Any:
        if type(other) not in (float, int, bool, StagedFloat):
            return NotImplemented
        return _combined(operation, other, self) if reflected else _combined(operation, self, other)

    return method


def _with_one(self: StagedFloat, operation: Callable[..., Any]) -> Any:
    return _combined(operation, self)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StagedFloat, f"__{_name}__", _method(getattr(operator, _name)))
    setattr(StagedFloat, f"__r{_name}__", _method(getattr(operator, _name), reflected=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(StagedFloat, f"__{_name}__", _method(getattr(operator, _name)))
for _name in ("neg", "pos", "abs"):
    setattr(StagedFloat, f"__{_name}__", partialmethod(_with_one, getattr(operator, _name)))


def same(a: Any, b: Any) -> bool:
    """Is it the same value? nan is nan, and 0.0 is not -0.0."""
    return (a == b and (a != 0 or str(a) == str(b))) or (a != a and b != b)
