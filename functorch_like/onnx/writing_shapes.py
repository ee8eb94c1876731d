"""Rules for views, joins and indexing: see writing.py."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from ..staging.graph import Equation
from .common import missing
from .writing import _END, _NONE, RULES, Writer, rule


@rule("reshape", "view")
def _reshape(w: Writer, e: Equation) -> str:
    return w.add(
        "Reshape",
        w.value(e.inputs[0]),
        w.ints(e.outputs[0].shape),
        allowzero=int(0 in e.outputs[0].shape),
    )


@rule("squeeze", "unsqueeze")
def _squeeze(w: Writer, e: Equation) -> str:
    return w.add("Reshape", w.value(e.inputs[0]), w.ints(e.outputs[0].shape))


@rule("permute")
def _permute(w: Writer, e: Equation) -> str:
    return w.add("Transpose", w.value(e.inputs[0]), perm=list(e.params["dims"]))


@rule("transpose")
def _transpose(w: Writer, e: Equation) -> str:
    perm = list(range(len(e.outputs[0].shape)))
    a, b = e.params["a"], e.params["b"]
    perm[a], perm[b] = perm[b], perm[a]
    return w.add("Transpose", w.value(e.inputs[0]), perm=perm)


@rule("expand")
def _expand(w: Writer, e: Equation) -> str:
    return w.add("Expand", w.value(e.inputs[0]), w.ints(e.outputs[0].shape))


@rule("getitem")
def _getitem(w: Writer, e: Equation) -> str:
    """Slices, then the integers and new axes as a reshape: see cb_index_basic."""
    x, spec = e.inputs[0], e.params["spec"]
    items = [spec[i : i + 4] for i in range(0, len(spec), 4)]
    given = sum(item[0] < 2 for item in items)
    starts, ends, steps, axes, axis = [], [], [], [], 0
    for kind, first, second, step in items:
        if kind == 3:
            axis += len(x.shape) - given
        elif kind == 2:
            continue
        elif kind == 0:
            at = first % x.shape[axis]
            _extend(starts, ends, steps, axes, (at, at + 1, 1, axis))
            axis += 1
        else:
            start, end = first, second
            if start == _NONE:
                start = 0 if step > 0 else _END
            if end == _NONE:
                end = _END if step > 0 else _NONE
            if (start, end, step) != (0, _END, 1):
                _extend(starts, ends, steps, axes, (start, end, step, axis))
            axis += 1
    name = w.value(x)
    if axes:
        name = w.add("Slice", name, w.ints(starts), w.ints(ends), w.ints(axes), w.ints(steps))
    if any(item[0] in (0, 2) for item in items):
        name = w.add("Reshape", name, w.ints(e.outputs[0].shape))
    return name


def _extend(
    starts: list[int], ends: list[int], steps: list[int], axes: list[int], item: Any
) -> None:
    for values, value in zip((starts, ends, steps, axes), item, strict=True):
        values.append(value)


def _joined(e: Equation, w: Writer) -> list[str]:
    return [w.operand(x, e.outputs[0].code) for x in e.inputs]


@rule("cat")
def _cat(w: Writer, e: Equation) -> str:
    return w.add("Concat", *_joined(e, w), axis=e.params["dim"])


@rule("stack")
def _stack(w: Writer, e: Equation) -> str:
    dim = w.ints([e.params["dim"]])
    return w.add(
        "Concat", *[w.add("Unsqueeze", x, dim) for x in _joined(e, w)], axis=e.params["dim"]
    )


@rule("flip")
def _flip(w: Writer, e: Equation) -> str:
    dims = e.params["dims"]
    n = len(dims)
    if not n:
        return w.value(e.inputs[0])
    return w.add(
        "Slice",
        w.value(e.inputs[0]),
        w.ints([_END] * n),
        w.ints([_NONE] * n),
        w.ints(dims),
        w.ints([-1] * n),
    )


@rule("roll")
def _roll(w: Writer, e: Equation) -> str:
    x, shape, name = e.inputs[0], e.inputs[0].shape, w.value(e.inputs[0])
    dims = e.params["dims"]
    if not dims:
        name, shape, dims = w.add("Reshape", name, w.ints([-1])), (x.meta.numel(),), (0,)
    for dim, shift in zip(dims, e.params["shifts"], strict=True):
        cut = (-shift) % shape[dim] if shape[dim] else 0
        if cut:
            axis = w.ints([dim])
            head = w.add("Slice", name, w.ints([0]), w.ints([cut]), axis)
            name = w.add(
                "Concat", w.add("Slice", name, w.ints([cut]), w.ints([_END]), axis), head, axis=dim
            )
    return (
        w.add("Reshape", name, w.ints(e.outputs[0].shape)) if len(shape) != len(x.shape) else name
    )


@rule("repeat")
def _repeat(w: Writer, e: Equation) -> str:
    x, reps = e.inputs[0], e.params["reps"]
    name = w.value(x)
    if len(reps) > len(x.shape):
        name = w.add("Reshape", name, w.ints([1] * (len(reps) - len(x.shape)) + list(x.shape)))
    return w.add("Tile", name, w.ints(reps))


@rule("constant_pad", "edge_pad")
def _pad(w: Writer, e: Equation) -> str:
    x, pad = e.inputs[0], e.params["pad"]
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for i in range(len(pad) // 2):
        before[-1 - i], after[-1 - i] = pad[2 * i], pad[2 * i + 1]
    if "mode" not in e.params:
        return w.add("Pad", w.value(x), w.ints(before + after), w.number(e.params["value"], x.code))
    mode = {"reflect": "reflect", "replicate": "edge"}.get(e.params["mode"])
    if mode:
        return w.add("Pad", w.value(x), w.ints(before + after), mode=mode)
    name = w.value(x)  # opset 18 has no mode for it
    for d, n in enumerate(x.shape):
        if before[d] or after[d]:
            places = [i % n for i in range(-before[d], n + after[d])]
            name = w.add("Gather", name, w.ints(places), axis=d)
    return name


@rule("tri")
def _tri(w: Writer, e: Equation) -> str:
    return w.add(
        "Trilu", w.value(e.inputs[0]), w.ints([e.params["diagonal"]]), upper=int(e.params["upper"])
    )


@rule("index_select")
def _index_select(w: Writer, e: Equation) -> str:
    return w.add("Gather", w.value(e.inputs[0]), w.value(e.inputs[1]), axis=e.params["dim"])


@rule("index")
def _index(w: Writer, e: Equation) -> str:
    dims = e.params["dims"]
    if len(dims) != 1 or e.inputs[1].code not in (6, 8):
        raise missing(
            "onnx.export",
            "indexing with several tensors or a mask",
            RULES,
            "Index one dimension at a time.",
        )
    return w.add("Gather", w.value(e.inputs[0]), w.value(e.inputs[1]), axis=dims[0])


@rule("gather")
def _gather(w: Writer, e: Equation) -> str:
    x, index = e.inputs
    dim, name = e.params["dim"], w.value(x)
    cut = [d for d in range(len(x.shape)) if d != dim and x.shape[d] != index.shape[d]]
    if cut:  # ONNX wants the other sizes equal
        name = w.add(
            "Slice",
            name,
            w.ints([0] * len(cut)),
            w.ints([index.shape[d] for d in cut]),
            w.ints(cut),
        )
    return w.add("GatherElements", name, w.value(index), axis=dim)


@rule("scatter", "scatter_add")
def _scatter(w: Writer, e: Equation) -> str:
    how: Any = {"reduction": "add"} if e.op.name == "scatter_add" else {}
    return w.add("ScatterElements", *[w.value(x) for x in e.inputs], axis=e.params["dim"], **how)
