"""functional_call and stack_module_state: modules as pure functions of their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import functorch_like as ft
from nn.module import MODULE, Module

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
    return_buffers: bool = False,
) -> Any:
    """What module(*args, **kwargs) gives with the named tensors in place of its own.

    Args:
      module: called once; its own tensors are back afterwards, also after an exception.
      parameter_and_buffer_dicts: names to tensors, as from named_parameters; or several such dicts.
      args: positional arguments; a single one need not be in a tuple.
      kwargs: keyword arguments.
      tie_weights: a tensor given for one name of a tied weight serves its other names too.
      strict: every parameter and buffer must be given.
      return_buffers: give (output, buffers), with all buffers as forward left them, and leave the
        given ones alone. By default a buffer that forward replaces is replaced in the given dict,
        as in torch.
    Returns:
      forward's result.
    Raises:
      RuntimeError: a name that the module lacks; with strict also names not given.
    Example:
      >>> import functorch_like as ft, nn
      >>> layer = nn.Linear(2, 1)
      >>> params = {"weight": ft.ones(1, 2), "bias": ft.zeros(1)}
      >>> nn.functional_call(layer, params, ft.tensor([3.0, 4.0]))
      tensor([7.])
      >>> loss = lambda params, x: nn.functional_call(layer, params, x).sum()
      >>> ft.grad(loss)(params, ft.tensor([3.0, 4.0]))["weight"]
      tensor([[3., 4.]])
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        dicts: Sequence[Mapping[str, Any]] = (parameter_and_buffer_dicts,)
    else:
        dicts = tuple(parameter_and_buffer_dicts)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    kwargs = {} if kwargs is None else kwargs

    given = _merged(dicts)
    cells = _cells(module)
    own = {name: id(values[key]) for name, (values, key, _) in cells.items()}
    if strict or not own.keys() >= given.keys():
        _check_names(module, given, own, tie_weights, strict)
    swaps = dict(given)
    if tie_weights:
        owner: dict[int, Any] = {}
        for name, value in given.items():
            if owner.setdefault(own[name], value) is not value:
                raise ValueError(
                    f"functional_call: expected one value for each tied weight, got another one "
                    f"for {name!r}. Give one name only, or pass tie_weights=False."
                )
        for name, tensor in own.items():
            if name not in swaps and tensor in owner:
                swaps[name] = owner[tensor]
    if return_buffers:
        copies: dict[int, Any] = {}
        for name, (values, key, kind) in cells.items():
            if kind != "parameter":
                value = swaps.get(name, values[key])
                swaps[name] = copies.setdefault(id(value), value.clone())

    saved = [(values, key, values[key]) for values, key, _ in (cells[name] for name in swaps)]
    try:
        for name, value in swaps.items():
            cells[name][0][cells[name][1]] = value
        result = module(*args, **kwargs)
        if return_buffers:
            return result, {
                name: values[key]
                for name, (values, key, kind) in cells.items()
                if kind != "parameter"
            }
        for values in dicts:
            for name in values:
                now = cells[name][0].get(cells[name][1])
                if now is not values[name] and isinstance(values, dict):
                    values[name] = now
        return result
    finally:
        for values, key, value in saved:
            values[key] = value


def _merged(dicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for values in dicts:
        for name, value in values.items():
            if name in given:
                raise ValueError(
                    f"functional_call: expected every name once, got {name!r} in two dicts."
                )
            if not isinstance(value, ft.Tensor):
                raise TypeError(
                    f"functional_call: expected a tensor for {name!r}, got {type(value).__name__}."
                )
            given[name] = value
    return given


def _check_names(
    module: Module, given: dict[str, Any], own: dict[str, int], tie_weights: bool, strict: bool
) -> None:
    """Raise RuntimeError for names that the module lacks and, with strict, for names not given.

    Args:
      own: the module's names, and the identities of its tensors, which tied names share.
    """
    unknown = [name for name in given if name not in own]
    missing = [name for name in own if name not in given] if strict else []
    if tie_weights and missing:
        served = {own[name] for name in given if name in own}
        missing = [name for name in missing if own[name] not in served]
    if unknown or missing:
        parts = [f"unknown: {', '.join(unknown)}"] if unknown else []
        parts += [f"not given: {', '.join(missing)}"] if missing else []
        raise RuntimeError(
            f"functional_call: expected names of parameters and buffers of {module._get_name()}, "
            f"got {'; '.join(parts)}. named_parameters() and named_buffers() list them."
        )


def _cells(root: Module) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Every parameter's and buffer's full name -> (the __dict__ that holds it, key there, kind)."""
    cells = {}
    for path, module in root.named_modules(remove_duplicate=False):
        values = module.__dict__
        for name, kind in module._kinds.items():
            if kind != MODULE and values[name] is not None:
                cells[f"{path}.{name}" if path else name] = (values, name, kind)
    return cells


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of equal models, stacked along a new first dimension: an ensemble for
    vmap.

    Args:
      models: at least one; all of one class, with the same names and shapes.
    Returns:
      (params, buffers): names to tensors [len(models), ...]; params are leaves that require grad.
    Raises:
      RuntimeError: no model, different classes or names, or some in training mode and some not.
    Example:
      >>> import functorch_like as ft, nn
      >>> models = [nn.Linear(3, 2) for _ in range(4)]
      >>> params, buffers = nn.stack_module_state(models)
      >>> call = lambda p, x: nn.functional_call(models[0], p, x)
      >>> list(ft.vmap(call, in_dims=(0, None))(params, ft.zeros(5, 3)).shape)
      [4, 5, 2]
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: expected at least one model, got none.")
    if len({type(model) for model in models}) > 1:
        names = ", ".join(sorted({type(model).__name__ for model in models}))
        raise RuntimeError(f"stack_module_state: expected models of one class, got {names}.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError(
            "stack_module_state: expected all models in the same mode, got some in training and "
            "some in evaluation. Call train() or eval() on each."
        )

    def stacked(trees: list[dict[str, Any]]) -> dict[str, Any]:
        if any(tree.keys() != trees[0].keys() for tree in trees):
            raise RuntimeError(
                "stack_module_state: expected the same names in all models, got different ones."
            )
        return {name: ft.stack([tree[name].detach() for tree in trees]) for name in trees[0]}

    params = stacked([dict(model.named_parameters()) for model in models])
    for name, value in params.items():
        params[name] = value.requires_grad_(models[0].get_parameter(name).requires_grad)
    return params, stacked([dict(model.named_buffers()) for model in models])


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Makes all batch norms in a module do without running statistics, in place; returns it.

    They normalise by the batch's own statistics then, and vmap may map over them.

    Example:
      >>> import nn
      >>> nn.replace_all_batch_norm_modules_(nn.Sequential(nn.BatchNorm1d(3)))[0].running_mean
    """
    for module in root.modules():
        if hasattr(module, "track_running_stats"):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
