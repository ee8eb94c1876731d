"""Names of a package whose modules are imported at first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping
from importlib import import_module
from typing import Any

__all__ = ["later"]


def later(
    package: str, modules: Container[str], homes: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """A package's `__getattr__`: imports these modules of it, and names from where they are.

    Args:
      homes: names, each with the module that has it.
    """
    homes = homes or {}

    def __getattr__(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
