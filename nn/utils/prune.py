"""Pruning: zeros in a tensor by a mask that is kept as a buffer.

The tensor's own values move to the parameter <name>_orig, the mask to the buffer <name>_mask, and
before every forward the module's <name> is their product. Pruning again prunes what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import functorch_like as ft
from functorch_like import Tensor
from nn.module import Module

__all__ = [
    "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured",
    "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class _Pruner:
    """The hook that puts <name>_orig * <name>_mask in place before forward."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Module, _args: Any = None) -> None:
        value = getattr(module, f"{self.name}_orig") * getattr(module, f"{self.name}_mask")
        module.__dict__[self.name] = value


def _pruners(module: Module) -> dict[str, tuple[dict[int, Any], int]]:
    """The pruned names of a module, with the hook table and key of each."""
    table = (module._hooks or {}).get("forward_pre", {})
    return {
        hook.name: (table, key)
        for key, (hook, _options) in table.items()
        if isinstance(hook, _Pruner)
    }


def _apply_mask(module: Module, name: str, mask: Tensor) -> Module:
    if name in _pruners(module):
        module.register_buffer(f"{name}_mask", getattr(module, f"{name}_mask") * mask)
    else:
        original = module._parameters.get(name)
        if original is None:
            known = ", ".join(module._parameters) or "none"
            raise ValueError(
                f"prune: expected a parameter of {type(module).__name__}, got {name!r}. It has "
                f"{known}."
            )
        delattr(module, name)
        module.register_parameter(f"{name}_orig", original)
        module.register_buffer(f"{name}_mask", mask)
        module.register_forward_pre_hook(_Pruner(name))
    _Pruner(name)(module)
    return module


def _count(op: str, amount: float, left: int) -> int:
    """How many of those that are left to prune; amount is a number or a share of them."""
    if isinstance(amount, int) and not isinstance(amount, bool):
        if not 0 <= amount <= left:
            raise ValueError(f"{op}: expected an amount within 0..{left}, got {amount}.")
        return amount
    if not 0.0 <= amount <= 1.0:
        raise ValueError(f"{op}: expected a share within 0..1, got {amount}.")
    return round(amount * left)


def _present(module: Module, name: str) -> tuple[Tensor, Tensor]:
    """The tensor as it is now, and the mask so far."""
    value = module.__dict__.get(name)
    if not isinstance(value, Tensor):
        raise ValueError(f"prune: expected a tensor of {type(module).__name__}, got {name!r}.")
    mask = getattr(module, f"{name}_mask") if name in _pruners(module) else ft.ones_like(value)
    return value.detach(), mask.detach()


def _without(scores: Tensor, mask: Tensor, count: int) -> Tensor:
    """mask (of scores' shape) with zeros at the count lowest scores among its ones."""
    if not count:
        return mask
    lowest = ft.where(mask > 0, scores, float("inf")).flatten().argsort()[:count]
    flat = mask.flatten().index_fill(0, lowest, 0.0)
    return flat.reshape(mask.shape)


def identity(module: Module, name: str) -> Module:
    """Prune nothing: a mask of ones."""
    return _apply_mask(module, name, ft.ones_like(_present(module, name)[0]))


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune where mask is 0."""
    value, _ = _present(module, name)
    if list(mask.shape) != list(value.shape):
        raise ValueError(
            f"custom_from_mask: expected a mask {list(value.shape)}, got {list(mask.shape)}."
        )
    return _apply_mask(module, name, mask.to(value.dtype))


def _unstructured(
    op: str, module: Module, name: str, amount: float, scores: Callable[[Tensor], Tensor]
) -> Module:
    with ft.no_grad():
        value, mask = _present(module, name)
        count = _count(op, amount, int(mask.sum()))
        return _apply_mask(module, name, _without(scores(value), mask, count))


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements at random; amount is their number, or the share of those that are left."""
    return _unstructured("random_unstructured", module, name, amount, ft.rand_like)


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> Module:
    """Prune the elements of least absolute value, or of least score.

    Example:
      >>> import functorch_like as ft, nn
      >>> layer = nn.Linear(4, 1, bias=False)
      >>> layer.weight = nn.Parameter(ft.tensor([[1.0, -4.0, 2.0, 3.0]]))
      >>> l1_unstructured(layer, "weight", 0.5).weight.tolist()
      [[0.0, -4.0, 0.0, 3.0]]
    """
    given = importance_scores
    return _unstructured(
        "l1_unstructured",
        module,
        name,
        amount,
        lambda value: value.abs() if given is None else given,
    )


def _structured(
    op: str,
    module: Module,
    name: str,
    amount: float,
    dim: int,
    scores: Callable[[Tensor], Tensor],
) -> Module:
    with ft.no_grad():
        value, mask = _present(module, name)
        dim = dim % value.ndim
        rows = value.movedim(dim, 0).flatten(1)
        alive = (mask.movedim(dim, 0).flatten(1) != 0).any(1).to(value.dtype)
        count = _count(op, amount, int(alive.sum()))
        kept = _without(scores(rows), alive, count)
        shape = [-1 if d == dim else 1 for d in range(value.ndim)]
        return _apply_mask(module, name, mask * kept.reshape(shape))


def ln_structured(
    module: Module,
    name: str,
    amount: float,
    n: float,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Prune whole slices along dim, those of least n-norm."""

    def norms(rows: Tensor) -> Tensor:
        if importance_scores is not None:
            rows = importance_scores.movedim(dim, 0).flatten(1)
        return ft.norm(rows, n, dim=1)

    return _structured("ln_structured", module, name, amount, dim, norms)


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune whole slices along dim at random."""
    return _structured(
        "random_structured",
        module,
        name,
        amount,
        dim,
        lambda rows: ft.rand(rows.shape[0], dtype=rows.dtype),
    )


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: Callable[..., Any] = l1_unstructured,
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    *,
    amount: float,
) -> None:
    """Prune over several tensors together, so that each keeps what counts most among all.

    Args:
      parameters: (module, name) of each.
      pruning_method: l1_unstructured or random_unstructured.
      amount: the number of elements, or their share of those that are left.
    """
    if pruning_method not in (l1_unstructured, random_unstructured):
        raise ValueError(
            "global_unstructured: expected pruning_method l1_unstructured or random_unstructured, "
            f"got {pruning_method!r}."
        )
    pairs = list(parameters)
    given = importance_scores or {}
    with ft.no_grad():
        scores, masks = [], []
        for module, name in pairs:
            value, mask = _present(module, name)
            if pruning_method is random_unstructured:
                score = ft.rand_like(value)
            else:
                score = given[module, name] if (module, name) in given else value.abs()
            scores.append(score.flatten())
            masks.append(mask)
        joined = ft.cat([mask.flatten() for mask in masks])
        count = _count("global_unstructured", amount, int(joined.sum()))
        kept = _without(ft.cat(scores), joined, count)
        parts = kept.split([mask.numel() for mask in masks])
        for (module, name), mask, part in zip(pairs, masks, parts, strict=True):
            _apply_mask(module, name, part.reshape(mask.shape))


def is_pruned(module: Module) -> bool:
    """Is any tensor in module or below it pruned?"""
    return any(_pruners(part) for part in module.modules())


def remove(module: Module, name: str) -> Module:
    """Make the pruned tensor an ordinary parameter again, zeros included."""
    pruners = _pruners(module)
    if name not in pruners:
        raise ValueError(
            f"remove: expected a pruned tensor of {type(module).__name__}, got {name!r}."
        )
    table, key = pruners[name]
    del table[key]
    _Pruner(name)(module)
    value = module.__dict__.pop(name).detach()
    original = getattr(module, f"{name}_orig")
    with ft.no_grad():
        original.copy_(value)
    delattr(module, f"{name}_orig")
    delattr(module, f"{name}_mask")
    module.register_parameter(name, original)
    return module
