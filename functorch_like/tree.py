"""Pytrees: nested tuples, lists, dicts, named tuples, registered classes; tensors are leaves.

The work is optree's; single tensors and flat tuples of tensors and numbers, the usual case, are
handled here without it, and without importing it. None is a tree without leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import message
from .tensor import Tensor

# The definition of a tree that is one leaf. Others of ours: n, of a tuple of n leaves, and (d,), of
# a call without keywords whose arguments have the definition d.
_LEAF = object()
_NUMBERS = (int, float, bool, complex)


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves in order, and a definition to rebuild the tree from.

    Example:
      >>> flatten({"a": 1, "b": (2, 3)})[0]
      [1, 2, 3]
    """
    if isinstance(tree, Tensor):
        return [tree], _LEAF
    if type(tree) is tuple:
        for item in tree:
            if not isinstance(item, Tensor) and type(item) not in _NUMBERS:
                break
        else:
            return list(tree), len(tree)
    import optree

    return optree.tree_flatten(tree)  # type: ignore[return-value]


def flatten_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """flatten((args, kwargs))."""
    if kwargs:
        return flatten((args, kwargs))
    flat, definition = flatten(args)
    return flat, (definition,)


def unflatten(definition: Any, leaves: Any) -> Any:
    """The tree with new leaves."""
    if definition is _LEAF:
        (leaf,) = leaves
        return leaf
    if type(definition) is int:
        return tuple(leaves)
    if type(definition) is tuple:
        return unflatten(definition[0], leaves), {}
    return definition.unflatten(leaves)


def leaves_as(definition: Any, tree: Any, op: str, what: str) -> list[Any]:
    """The leaves of a tree that has to be of the structure `definition`; `what` names it in errors.

    Raises:
      ValueError: it is of another structure.
    """
    found, given = flatten(tree)
    if given != definition and described(given) != described(definition):
        raise ValueError(message(op, f"{what}: {described(definition)}", described(given)))
    return found


def described(definition: Any) -> str:
    """A structure as it is shown in messages: `(*, {'a': *})`."""
    if definition is _LEAF:
        return "*"
    if type(definition) is int:
        return f"({', '.join(['*'] * definition)}{',' * (definition == 1)})"
    return str(definition).removeprefix("PyTreeSpec(").removesuffix(")")


def leaves(tree: Any) -> list[Any]:
    """The leaves in order."""
    return flatten(tree)[0]


def map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The tree of `function(leaf, *matching leaves of the other trees)`.

    Raises:
      ValueError: the trees differ in structure.
    Example:
      >>> map(lambda a, b: a + b, {"x": 1}, {"x": 2})
      {'x': 3}
    """
    if not rest:
        if isinstance(tree, Tensor):
            return function(tree)
        flat, definition = flatten(tree)
        return unflatten(definition, [function(leaf) for leaf in flat])
    import optree

    return optree.tree_map(function, tree, *rest)


def broadcast_prefix(prefix: Any, tree: Any, what: str) -> list[Any]:
    """One entry of `prefix` for each leaf of `tree`.

    A prefix may stop early and stand for a whole subtree. None counts as an entry. Raises
    ValueError naming `what` when the structures differ.
    """
    flat_tree, definition = flatten(tree)
    n = len(flat_tree)
    if prefix is None or isinstance(prefix, (int, float, str)):
        return [prefix] * n
    entries: Any = prefix
    if type(entries) is tuple and definition == len(entries):
        for entry in entries:
            if entry is not None and type(entry) not in _NUMBERS:
                break
        else:
            return list(entries)
    import optree

    try:
        spread = optree.tree_map(
            lambda entry, sub: [entry] * len(flatten(sub)[0]),
            prefix,
            tree,
            is_leaf=lambda x: x is None,
            none_is_leaf=True,
        )
    except ValueError:
        raise ValueError(
            f"{what}: expected one entry for each of {n} leaves, nested as they are or a prefix of "
            f"that, got {prefix!r}."
        ) from None
    flat: list[Any] = []
    for entry in optree.tree_leaves(
        spread,
        is_leaf=lambda x: isinstance(x, list) and all(not isinstance(i, list) for i in x),
        none_is_leaf=True,
    ):
        flat.extend(entry if isinstance(entry, list) else [])
    return flat


def register(
    cls: type,
    flatten_func: Callable[[Any], tuple[Any, Any]],
    unflatten_func: Callable[[Any, Any], Any],
) -> type:
    """Makes instances of a class trees.

    Args:
      flatten_func: `flatten_func(instance) -> (children, what else is needed)`; the latter is
        compared when structures are.
      unflatten_func: `unflatten_func(what else, children) -> instance`.
    Raises:
      ValueError: the class is registered already.
    """
    import optree

    optree.register_pytree_node(cls, flatten_func, unflatten_func, namespace=_everywhere())
    return cls


def register_dataclass(cls: Any = None, *, data_fields: Any = None, meta_fields: Any = ()) -> Any:
    """Makes instances of a dataclass trees. Usable as a decorator above @dataclass.

    Named tuples are trees without being registered.

    Args:
      data_fields: names of the children; all but the meta fields by default.
      meta_fields: names of what is part of the structure and not differentiated or mapped.
    Raises:
      TypeError: not a dataclass.
      ValueError: a field of no such name.
    Example:
      >>> from dataclasses import dataclass
      >>> @register_dataclass(meta_fields=("name",))
      ... @dataclass
      ... class Point:
      ...     x: float
      ...     y: float
      ...     name: str = "p"
      >>> map(lambda v: v * 2, Point(1, 2))
      Point(x=2, y=4, name='p')
    """
    if cls is None:
        return lambda cls: register_dataclass(cls, data_fields=data_fields, meta_fields=meta_fields)
    import dataclasses

    if not dataclasses.is_dataclass(cls):
        raise TypeError(
            f"register_dataclass: expected a dataclass, got {getattr(cls, '__name__', cls)!r}. "
            "Put @dataclass below."
        )
    kind: Any = cls
    names = [f.name for f in dataclasses.fields(kind)]
    meta = tuple(meta_fields)
    data = tuple(n for n in names if n not in meta) if data_fields is None else tuple(data_fields)
    unknown = [n for n in (*data, *meta) if n not in names]
    if unknown:
        raise ValueError(f"register_dataclass: expected fields among {names}, got {unknown}.")

    def flat(instance: Any) -> tuple[Any, Any]:
        return (
            tuple([getattr(instance, n) for n in data]),
            tuple([getattr(instance, n) for n in meta]),
        )

    def rebuilt(fixed: Any, children: Any) -> Any:
        instance = object.__new__(kind)  # no __init__: children may be placeholders
        for name, value in (*zip(data, children, strict=True), *zip(meta, fixed, strict=True)):
            object.__setattr__(instance, name, value)
        return instance

    return register(kind, flat, rebuilt)


def _everywhere() -> Any:
    from optree import registry

    return vars(registry)["__GLOBAL_NAMESPACE"]


__all__ = [
    "broadcast_prefix", "flatten", "flatten_call", "leaves", "map", "register",
    "register_dataclass", "unflatten",
]  # fmt: skip
