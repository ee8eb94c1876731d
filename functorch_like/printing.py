"""Text of tensors, as torch prints them.

Traced tensors show their value where they have one, and their transforms.
"""

from __future__ import annotations

from typing import Any

from .dtypes import bool_, complex64, complex128, get_default_dtype, int64

_options: dict[str, Any] = {
    "precision": 4,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 80,
    "sci_mode": None,
}


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print.

    Digits, the size above which they are summarised, items shown at each edge, line width.
    """
    if profile is not None:
        presets = {"default": (4, 1000, 3), "short": (2, 1000, 2), "full": (4, 1 << 62, 3)}
        _options["precision"], _options["threshold"], _options["edgeitems"] = presets[profile]
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    _options.update({k: v for k, v in given.items() if v is not None})
    _options["sci_mode"] = sci_mode


class _Format:
    """One format for all numbers of a tensor, chosen as torch does.

    Integers with a dot, fixed, or scientific.
    """

    def __init__(self, values: list[Any], floating: bool):
        self.floating, self.whole, self.scientific, self.width = floating, True, False, 1
        self.precision = _options["precision"]
        if not floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        shown = [v for v in values if v == v and v != 0 and abs(v) != float("inf")]
        if not shown:
            return
        largest, smallest = max(map(abs, shown)), min(map(abs, shown))
        self.whole = all(v == int(v) for v in shown)
        forced = _options["sci_mode"]
        self.scientific = (
            (largest / smallest > 1000.0 or largest > 1e8 or smallest < 1e-4)
            if forced is None
            else forced
        )
        if self.scientific:
            self.width = max(len(f"{v:.{self.precision}e}") for v in shown)
        elif self.whole:
            self.width = max(len(f"{v:.0f}") + 1 for v in shown)
        else:
            self.width = max(len(f"{v:.{self.precision}f}") for v in shown)

    def __call__(self, v: Any) -> str:
        if not self.floating:
            text = str(v)
        elif self.scientific:
            text = f"{v:.{self.precision}e}"
        elif self.whole:
            text = f"{v:.0f}"
            if v == v and abs(v) != float("inf"):
                text += "."
        else:
            text = f"{v:.{self.precision}f}"
        return text.rjust(self.width)


class _ComplexFormat:
    def __init__(self, values: list[complex]):
        self.real, self.imag = (
            _Format([v.real for v in values], True),
            _Format([v.imag for v in values], True),
        )
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, v: complex) -> str:
        imag = self.imag(v.imag).lstrip() + "j"
        return self.real(v.real) + ("" if imag[0] in "+-" else "+") + imag


def _values(x: Any, summarise: bool) -> Any:
    """Nested lists of the values that will appear, with a string where some are left out."""
    edge = _options["edgeitems"]
    shape = x._shape
    if not shape:
        return x.item()
    n = shape[0]
    if not summarise:
        return x.tolist()
    if len(shape) == 1:
        if n <= 2 * edge:
            return x.tolist()
        return [*x[:edge].tolist(), " ...", *x[n - edge :].tolist()]
    if n > 2 * edge:
        return (
            [_values(x[i], True) for i in range(edge)]
            + ["..."]
            + [_values(x[i], True) for i in range(n - edge, n)]
        )
    return [_values(x[i], True) for i in range(n)]


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list):
        return [v for item in values for v in _flat(item)]
    return [] if isinstance(values, str) else [values]


def _body(values: Any, ndim: int, indent: int, show: Any) -> str:
    if ndim == 0:
        return show(values)
    items = [v if isinstance(v, str) else _body(v, ndim - 1, indent + 1, show) for v in values]
    if ndim > 1:
        return "[" + ("," + "\n" * (ndim - 1) + " " * (indent + 1)).join(items) + "]"
    per_line = max(1, (_options["linewidth"] - indent) // (show.width + 2))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def tensor_text(x: Any, name: str = "tensor") -> str:
    """The repr of a tensor."""
    m = x._current()
    if not x._v:
        value = m.tracer or m
        if hasattr(value, "text"):
            return value.text
        inner = getattr(value, "primal", getattr(value, "physical", None))
        tail = f", within {value.trace.within()}"
        kind = "mapped over dim 0" if hasattr(value, "physical") else ""
        shown = repr(inner) if inner is not None else f"shape={list(value.shape)}"
        return f"Traced({shown}{', ' + kind if kind else ''}{tail})"
    d, indent = x.dtype, len(name) + 1
    plain_dtypes: tuple[Any, ...] = (
        get_default_dtype(),
        complex128 if get_default_dtype().itemsize == 8 else complex64,
        int64,
        bool_,
    )
    suffixes = []
    if x.device.type != "cpu":
        suffixes.append(f"device='{x.device}'")
    if x.is_meta:
        body = "..."
        suffixes.append(f"size={tuple(x._shape)}")
        plain_dtypes = (get_default_dtype(),)
    elif x.numel() == 0:
        body = "[]"
        if len(x._shape) != 1:
            suffixes.append(f"size={tuple(x._shape)}")
        plain_dtypes = (get_default_dtype(),)  # there are no elements to infer it from
    else:
        plain = x._alias().cpu()
        values = _values(plain, x.numel() > _options["threshold"])
        flat = _flat(values)
        body = _body(
            values,
            len(x._shape),
            indent,
            _ComplexFormat(flat) if d.is_complex else _Format(flat, d.is_floating_point),
        )
    if d not in plain_dtypes:
        suffixes.append(f"dtype={d}")
    if m is not None and m.op is not None:
        suffixes.append(f"grad_fn={m!r}")
    elif m is not None and m.requires_grad:
        suffixes.append("requires_grad=True")
    text = f"{name}({body}"
    at = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if at + len(suffix) + 2 > _options["linewidth"]:
            text += ",\n" + " " * indent + suffix
            at = indent + len(suffix)
        else:
            text += ", " + suffix
            at += len(suffix) + 2
    return text + ")"
