"""The names that a Module registers, by kind, as live dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.module import Module

__all__ = [
    "BUFFER", "BUFFERS", "MODULE", "PARAMETER", "TRANSIENT", "BufferRegistry", "Registry",
    "check_free", "check_name", "children_of",
]  # fmt: skip

# kinds of registered names; a transient buffer is not persistent: state_dict leaves it out
PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"
BUFFERS = (BUFFER, TRANSIENT)


def check_name(module: Module, name: Any, kind: str) -> None:
    """Raises where a name cannot be registered: no string, empty, or a path."""
    owner = type(module).__name__
    if not isinstance(name, str):
        raise TypeError(
            f"{owner}: expected a string as the {kind}'s name, got {type(name).__name__}."
        )
    if not name or "." in name:
        raise KeyError(f"{owner}: expected a {kind} name without dots and not empty, got {name!r}.")


def check_free(module: Module, name: Any, kind: str) -> None:
    """Raises where a name is an attribute that is not of the kind."""
    if isinstance(name, str) and hasattr(module, name):
        if module.__dict__.get("_kinds", {}).get(name) != kind:
            raise KeyError(
                f"{type(module).__name__}: expected a free name for the {kind}, got {name!r}, "
                "which is taken."
            )


def children_of(module: Module) -> list[tuple[str, Module]]:
    """(name, module) of those directly below a module."""
    values = module.__dict__
    return [
        (name, child)
        for name, kind in module._kinds.items()
        if kind == MODULE and (child := values[name]) is not None
    ]


class Registry(MutableMapping[str, Any]):
    """A module's registered names of one kind with their values; live, as torch's _parameters."""

    def __init__(self, module: Module, kind: str) -> None:
        self._module, self._kind = module, kind

    def __getitem__(self, name: str) -> Any:
        if self._module._kinds.get(name) != self._kind:
            raise KeyError(name)
        return self._module.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._module._kinds[name] = self._kind
        self._module.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        self[name]
        del self._module._kinds[name], self._module.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, kind in self._module._kinds.items() if kind == self._kind])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class BufferRegistry(Registry):
    """The view of a module's buffers: persistent or not."""

    def __getitem__(self, name: str) -> Any:
        if self._module._kinds.get(name) not in BUFFERS:
            raise KeyError(name)
        return self._module.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._module._kinds.setdefault(name, BUFFER)
        self._module.__dict__[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, kind in self._module._kinds.items() if kind in BUFFERS])
