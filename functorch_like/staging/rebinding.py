"""Where a function finds the tensors it captured, so that another one put there is noticed.

The search starts at the function: its closure, its defaults, the globals it names, and goes on
through containers, objects' attributes and functions that are found. A tensor that lies somewhere
else, in a variable of C code or behind a property, is not watched.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ..tensor import Tensor

MOST = 50_000  # objects looked at
_OURS = ("functorch_like", "nn", "cbackend", "numpy", "builtins", "optree")
_NO_CONTAINERS = (str, bytes, int, float, complex, type(None), CodeType, BuiltinFunctionType)

_CELL = object()  # stands for the key in places that are variables of an outer function
Place = tuple[Any, Any]  # container and key


class Binding:
    """A captured tensor and where it was found; calling it gives the tensor, as sources of Vars do.

    Attributes:
      fixed: the program writes to it or leaves gradients in it, so that no other can take its
        place.
    """

    __slots__ = ("fixed", "places", "tensor")

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self.places: list[Place] = []
        self.fixed = False

    def __call__(self) -> Tensor:
        return self.tensor


class Watch:
    """The places of captured tensors, checked before each run."""

    def __init__(self, bindings: Iterable[Binding], function: Any):
        self._bindings = list(bindings)
        by_id = {id(b.tensor): b for b in self._bindings}
        if by_id:
            for place, tensor in _places(function, by_id):
                by_id[id(tensor)].places.append(place)
        self._note()

    def _note(self) -> None:
        found = [(*place, b.tensor) for b in self._bindings for place in b.places]
        self._items = [entry for entry in found if entry[1] is not _CELL]
        self._cells = [(cell, tensor) for cell, key, tensor in found if key is _CELL]

    def __len__(self) -> int:
        return len(self._items) + len(self._cells)

    def unchanged(self) -> bool:
        """Is every tensor where it was?"""
        try:
            for container, key, tensor in self._items:
                if container[key] is not tensor:
                    return False
            for cell, tensor in self._cells:
                if cell.cell_contents is not tensor:
                    return False
        except (KeyError, IndexError, ValueError):
            return False
        return True

    def follow(self) -> bool:
        """Takes the tensors that are there now, where that is all that has changed.

        They must be of the same kind, and found in all places where the old one was.
        """
        new: list[tuple[Binding, Tensor]] = []
        for b in self._bindings:
            try:
                now = [c.cell_contents if k is _CELL else c[k] for c, k in b.places]
            except (KeyError, IndexError, ValueError):
                return False
            if not now or all(t is b.tensor for t in now):
                continue
            t = now[0]
            if b.fixed or any(other is not t for other in now) or not _alike(t, b.tensor):
                return False
            new.append((b, t))
        for b, t in new:
            b.tensor = t
        self._note()
        return True


def _alike(new: Any, old: Tensor) -> bool:
    return (
        isinstance(new, Tensor)
        and new._m is None
        and old._m is None
        and bool(new._v)
        and new._v.dtype == old._v.dtype
        and new._shape == old._shape
        and new._strides() == old._strides()
    )


def _places(function: Any, wanted: dict[int, Any]) -> Iterator[tuple[Place, Tensor]]:
    """Every place from which the function may have taken one of the tensors."""
    seen: set[int] = set()
    queue: deque[Any] = deque([function])
    while queue and len(seen) < MOST:
        x = queue.popleft()
        if isinstance(x, _NO_CONTAINERS) or isinstance(x, Tensor) or id(x) in seen:
            continue
        seen.add(id(x))
        for container, key, item in _items(x):
            if isinstance(item, Tensor):
                if container is not None and id(item) in wanted:
                    yield (container, key), item
            else:
                queue.append(item)


def _items(x: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What lies in an object: container, key and item."""
    if isinstance(x, dict):
        for key in list(x):
            yield x, key, x[key]
    elif isinstance(x, (list, tuple, deque)):
        for i, item in enumerate(x):
            yield x, i, item
    elif isinstance(x, FunctionType):
        yield from _of_function(x)
    elif isinstance(x, MethodType):
        yield None, 0, x.__self__
        yield None, 0, x.__func__
    elif isinstance(x, partial):
        yield None, 0, x.func
        yield None, 0, x.args
        yield None, 0, x.keywords
    elif isinstance(x, (set, frozenset)):
        for item in x:
            yield None, 0, item
    elif not isinstance(x, (type, ModuleType)):
        attributes = getattr(x, "__dict__", None)
        if type(attributes) is dict:
            yield None, 0, attributes
        if not _is_ours(type(x).__module__):
            for kind in type(x).__mro__:
                if not _is_ours(kind.__module__):
                    for item in vars(kind).values():
                        if isinstance(item, FunctionType):
                            yield None, 0, item


def _of_function(f: FunctionType) -> Iterator[tuple[Any, Any, Any]]:
    for cell in f.__closure__ or ():
        try:
            yield cell, _CELL, cell.cell_contents
        except ValueError:  # not yet bound
            continue
    for defaults in (f.__defaults__, f.__kwdefaults__):
        if defaults:
            yield None, 0, defaults
    if f.__dict__:
        yield None, 0, f.__dict__
    if _is_ours(f.__module__):
        return
    names = dict.fromkeys(_names(f.__code__))
    scope = f.__globals__
    for name in names:
        if name not in scope:
            continue
        item = scope[name]
        if isinstance(item, ModuleType):
            if not _is_ours(item.__name__):
                inside = vars(item)
                for attribute in names:
                    if attribute in inside and not isinstance(inside[attribute], ModuleType):
                        yield inside, attribute, inside[attribute]
        else:
            yield scope, name, item


def _names(code: CodeType) -> Iterator[str]:
    """The globals and attributes that code and the functions in it name."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_ours(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _OURS
