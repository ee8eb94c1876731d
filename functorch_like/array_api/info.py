"""What the namespace can do: devices, dtypes, capabilities."""

from __future__ import annotations

from typing import Any

from .. import cuda
from ..dtypes import DTYPES, device, get_default_dtype, int64
from .dtype_rules import isdtype


class _Info:
    """Inspection functions of the array API standard."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing, shapes that depend on data, the largest number of dims."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 32,
        }

    def default_device(self) -> device:
        """Where tensors are made."""
        return device("cpu")

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of results made from Python numbers."""
        real = get_default_dtype()
        return {
            "real floating": real,
            "complex floating": real.to_complex(),
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes of a kind, by name."""
        return {
            d.name: d
            for d in DTYPES
            if d.name not in ("float16", "bfloat16") and (kind is None or isdtype(d, kind))
        }

    def devices(self) -> tuple[device, ...]:
        """The devices that can be used."""
        here = (device("cpu"),)
        return (*here, device("cuda")) if cuda.is_available() else here


def __array_namespace_info__() -> _Info:
    """The inspection functions."""
    return _Info()
