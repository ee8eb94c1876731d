"""Training states as JSON and tensors: nested dicts, lists and tuples of tensors and plain values.

The tree goes into JSON text with a name in place of each tensor. What JSON cannot say (tuples,
keys that are no strings, infinite numbers) is wrapped in a dict with one key that starts with "$".
Reading makes nothing but those types: no code is run.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from ..tensor import Tensor

__all__ = ["VERSION", "decode", "encode"]

VERSION = 1
_MAX_DEPTH = 200


def encode(tree: Any) -> tuple[str, dict[str, Tensor]]:
    """(JSON text, tensors by name); a tensor that occurs twice is kept once.

    Raises:
      TypeError: a value of another type; the message names its place.
    Example:
      >>> encode({"step": 3, "betas": (0.9, 0.99)})
      ('{"version": 1, "tree": {"step": 3, "betas": {"$tuple": [0.9, 0.99]}}}', {})
    """
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    written = _write(tree, (), tensors, names)
    return json.dumps({"version": VERSION, "tree": written}), tensors


def _write(
    value: Any, path: tuple[str, ...], tensors: dict[str, Tensor], names: dict[int, str]
) -> Any:
    if isinstance(value, Tensor):
        name = names.get(id(value))
        if name is None:
            name = names[id(value)] = "/".join(path) or "value"
            tensors[name] = value
        return {"$tensor": name}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, complex):
        return {"$complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        pairs = [
            (key, _write(item, (*path, str(key)), tensors, names)) for key, item in value.items()
        ]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [[_write(key, path, tensors, names), item] for key, item in pairs]}
    if isinstance(value, (list, tuple)):
        items = [_write(item, (*path, str(i)), tensors, names) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    raise TypeError(
        f"save: expected tensors, numbers, strings, None, and dicts, lists and tuples of them, got "
        f"{type(value).__name__} at {'/'.join(path) or 'the top'}. Convert it first."
    )


def decode(text: str, tensors: Mapping[str, Tensor]) -> Any:
    """The tree of encode().

    Raises:
      ValueError: text that encode() did not write, a newer version, or a missing tensor.
    """
    try:
        content = json.loads(text)
        version = content["version"]
        tree = content["tree"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its state is no valid JSON ({error})") from error
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(
            f"its state has version {version!r}; this release reads up to {VERSION}, upgrade"
        )
    return _read(tree, tensors, 0)


def _read(value: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"its state is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, list):
        return [_read(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inner),) = value.items()
        if kind.startswith("$"):
            try:
                return _special(kind, inner, tensors, depth)
            except (TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"its state has a bad {kind} ({error})") from error
    return {key: _read(item, tensors, depth + 1) for key, item in value.items()}


def _special(kind: str, inner: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if kind == "$tensor":
        if inner not in tensors:
            raise ValueError(f"tensor {inner!r} of its state is missing")
        return tensors[inner]
    if kind == "$tuple":
        return tuple(_read(item, tensors, depth + 1) for item in inner)
    if kind == "$dict":
        return {
            _read(key, tensors, depth + 1): _read(item, tensors, depth + 1) for key, item in inner
        }
    if kind == "$float":
        return float(inner)
    if kind == "$complex":
        return complex(float(inner[0]), float(inner[1]))
    if kind == "$bytes":
        return base64.b64decode(inner, validate=True)
    raise ValueError(f"its state has an unknown entry {kind!r}")
