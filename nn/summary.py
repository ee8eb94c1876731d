"""Module.summary: what a model is made of, measured on one call.

Floating-point operations count a multiplication and an addition as two, for the layers whose work
is products (linear, convolution, recurrent, attention); the others count as nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import functorch_like as ft
from nn.layers.conv import _Convolution
from nn.layers.linear import Bilinear, Linear
from nn.module import Module

__all__ = ["summarize"]


class _Row(NamedTuple):
    name: str
    depth: int
    output: str
    parameters: int
    flops: int
    memory: int


class _Call(NamedTuple):
    output: Any
    flops: int


def _tensors(value: Any) -> list[ft.Tensor]:
    if isinstance(value, ft.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _flops(module: Module, args: tuple[Any, ...], output: Any) -> int:
    """Operations of this module's own products; those of its children are counted there."""
    made = sum(tensor.numel() for tensor in _tensors(output))
    if isinstance(module, Linear):
        return 2 * made * module.in_features
    if isinstance(module, Bilinear):
        return 2 * made * module.in1_features * (module.in2_features + 1)
    if isinstance(module, _Convolution):
        weight = module.weight.numel()
        places = (
            math.prod(args[0].shape) // module.in_channels
            if module.transposed
            else made // module.out_channels
        )
        return 2 * weight * places
    kind = {cls.__name__ for cls in type(module).__mro__}
    if "RNNBase" in kind or "RNNCellBase" in kind:
        data = _tensors(args[0])[0]
        steps = data.numel() // data.shape[-1]
        matrices = [p.numel() for p in module.parameters() if p.ndim == 2]
        return 2 * steps * sum(matrices)
    if "MultiheadAttention" in kind:
        return _attention_flops(module, args)
    return 0


def _attention_flops(module: Any, args: tuple[Any, ...]) -> int:
    """Projections in front and behind (which does not run as a module), scores and their use."""
    query, key, value = args[:3]
    width = module.embed_dim
    rows, columns = query.numel() // width, key.numel() // module.kdim
    batch_dim = 0 if module.batch_first else 1
    batch = query.shape[batch_dim] if query.ndim == 3 else 1
    projections = 2 * width * (2 * rows * width + key.numel() + value.numel())
    return projections + 4 * rows * (columns // max(batch, 1)) * width


def _amount(count: int, unit: str = "") -> str:
    """1234567 as "1.23 M", and as a plain number below 10000."""
    if count < 10000:
        return f"{count} {unit}".strip()
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {prefix}{unit}"
    return str(count)


def summarize(
    module: Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    depth: int | None,
    picture: str | None = None,
) -> str:
    """Module.summary; described there."""
    calls: dict[int, _Call] = {}
    if args or kwargs:
        inputs = tuple(_example(arg) for arg in args)
        calls = _measure(module, inputs, kwargs)
    rows = []
    paths = [("", 0, type(module).__name__, module)]
    while paths:
        path, level, label, part = paths.pop()
        rows.append(_row(label, level, part, calls))
        if depth is None or level < depth:
            children = [
                (f"{path}.{name}", level + 1, f"{name}: {type(child).__name__}", child)
                for name, child in part.named_children()
            ]
            paths += reversed(children)
    if picture is not None:
        _draw(rows, picture)
    return _table(module, rows, calls)


def _draw(rows: list[_Row], path: str) -> None:
    """A bar for each layer's parameters, floating-point operations and memory."""
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "summary: expected matplotlib, which draws the picture. "
            'Install it: pip install "functorch-like[train]"'
        ) from error
    figure = Figure(figsize=(12, 1.2 + 0.25 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for place, (title, unit) in zip(
        axes, {"parameters": "", "flops": "FLOPs", "memory": "bytes"}.items(), strict=True
    ):
        place.barh(range(len(rows)), [getattr(row, title) for row in rows])
        place.set_title(f"{title}, {unit}" if unit and unit != "FLOPs" else unit or title)
    axes[0].set_yticks(range(len(rows)), [f"{row.name}  {row.output}" for row in rows])
    axes[0].invert_yaxis()
    figure.savefig(path)


def _example(arg: Any) -> Any:
    is_shape = isinstance(arg, (tuple, list)) and all(type(size) is int for size in arg)
    return ft.zeros(*arg) if is_shape and arg else arg


def _measure(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, _Call]:
    """One call in evaluation mode, watched by hooks; modes and hooks are put back."""
    calls: dict[int, _Call] = {}

    def watch(part: Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        before = calls[id(part)].flops if id(part) in calls else 0
        values = (*given, *named.values())
        calls[id(part)] = _Call(output, before + _flops(part, values, output))

    modes = [(part, part.training) for part in module.modules()]
    handles = []
    try:
        for part, _ in modes:
            handles.append(part.register_forward_hook(watch, with_kwargs=True))
        module.eval()
        with ft.no_grad():
            module(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for part, mode in modes:
            part.training = mode
            if part._hooks is not None and not any(part._hooks.values()):
                del part.__dict__["_hooks"]  # calls without a table are faster
    return calls


def _row(label: str, level: int, part: Module, calls: dict[int, _Call]) -> _Row:
    below = [calls[id(inner)] for inner in part.modules() if id(inner) in calls]
    leaves = [
        calls[id(inner)]
        for inner in part.modules()
        if id(inner) in calls and not any(True for _ in inner.children())
    ]
    own = calls.get(id(part))
    shapes = [str(list(tensor.shape)) for tensor in _tensors(own.output)] if own else []
    return _Row(
        "  " * level + label,
        level,
        ", ".join(shapes) or "-",
        sum(parameter.numel() for parameter in part.parameters()),
        sum(call.flops for call in below),
        sum(tensor.nbytes for call in leaves for tensor in _tensors(call.output)),
    )


def _table(module: Module, rows: list[_Row], calls: dict[int, _Call]) -> str:
    columns = [["Layer", *[row.name for row in rows]]]
    if calls:
        columns.append(["Output", *[row.output for row in rows]])
    columns.append(["Parameters", *[f"{row.parameters:,}" for row in rows]])
    if calls:
        columns.append(["FLOPs", *[_amount(row.flops) for row in rows]])
        columns.append(["Memory", *[_amount(row.memory, "B") for row in rows]])
    words = 2 if calls else 1  # columns of words stand left, those of numbers right
    texts = []
    for place, column in enumerate(columns):
        width = max(len(cell) for cell in column)
        texts.append([cell.ljust(width) if place < words else cell.rjust(width) for cell in column])
    lines = ["  ".join(cells).rstrip() for cells in zip(*texts, strict=True)]
    rule = "-" * max(len(line) for line in lines)
    parameters = list(module.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    size = sum(parameter.nbytes for parameter in parameters)
    last = f"{total:,} parameters ({_amount(size, 'B')}), {trained:,} trainable"
    if calls:
        last += f"; {_amount(rows[0].flops)} FLOPs; {_amount(rows[0].memory, 'B')} of outputs"
    return "\n".join([lines[0], rule, *lines[1:], rule, last])
