"""Text of tensors, as torch prints them; traced tensors show their value where they have one, and their transforms."""

from __future__ import annotations

from typing import Any

from .dtypes import bool_, complex64, complex128, get_default_dtype, int64

_options: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print: digits, the size above which they are summarised, items shown at each edge, line width."""
    if profile is not None:
        presets = {"default": (4, 1000, 3), "short": (2, 1000, 2), "full": (4, 1 << 62, 3)}
        _options["precision"], _options["threshold"], _options["edgeitems"] = presets[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({k: v for k, v in given.items() if v is not None})
    _options["sci_mode"] = sci_mode


class _RealFormat:
    """One format for all numbers of a tensor, chosen as torch does: integers with a dot, fixed, or scientific."""

    def __init__(self, values: list[float]):
        precision = _options["precision"]
        finite = [v for v in values if v == v and abs(v) != float("inf")]
        nonzero = [abs(v) for v in finite if v != 0]
        self.whole = all(v == int(v) for v in finite)
        self.precision = precision
        self.scientific = False
        if nonzero:
            largest, smallest = max(nonzero), min(nonzero)
            if self.whole:
                self.scientific = largest / smallest > 1000.0 and largest > 1e8 or largest > 1e8
            else:
                self.scientific = largest / smallest > 1000.0 or largest > 1e8 or smallest < 1e-4
        if _options["sci_mode"] is not None:
            self.scientific = _options["sci_mode"]
        self.width = 0
        self.width = max((len(self(v)) for v in values), default=0)

    def __call__(self, v: float) -> str:
        if v != v:
            text = "nan"
        elif abs(v) == float("inf"):
            text = "inf" if v > 0 else "-inf"
        elif self.scientific:
            text = f"{v:.{self.precision}e}"
        elif self.whole:
            text = f"{v:.0f}."
        else:
            text = f"{v:.{self.precision}f}"
        return text.rjust(self.width)


class _ComplexFormat:
    def __init__(self, values: list[complex]):
        self.real = _RealFormat([v.real for v in values])
        self.imag = _RealFormat([abs(v.imag) if v.imag == v.imag else v.imag for v in values])
        self.width = max((len(self(v)) for v in values), default=0)

    def __call__(self, v: complex) -> str:
        sign = "-" if str(v.imag).startswith("-") else "+"
        return f"{self.real(v.real)}{sign}{self.imag(abs(v.imag)).lstrip() if v.imag == v.imag else 'nan'}j"


class _PlainFormat:
    def __init__(self, values: list[Any]):
        self.width = max((len(str(v)) for v in values), default=0)

    def __call__(self, v: Any) -> str:
        return str(v).rjust(self.width)


def _body(x: Any, indent: int, summarise: bool, show: Any) -> str:
    shape = x._shape
    if len(shape) == 0:
        return show(x.item())
    edge = _options["edgeitems"]
    if len(shape) == 1:
        n = shape[0]
        if summarise and n > 2 * edge:
            items = [show(v) for v in x[:edge].tolist()] + [" ..."] + [show(v) for v in x[n - edge :].tolist()]
        else:
            items = [show(v) for v in x.tolist()]
        per_line = max(1, (_options["linewidth"] - indent) // (max(show.width, 1) + 2))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)] or [""]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    n = shape[0]
    if summarise and n > 2 * edge:
        rows = [_body(x[i], indent + 1, True, show) for i in range(edge)] + ["..."]
        rows += [_body(x[i], indent + 1, True, show) for i in range(n - edge, n)]
    else:
        rows = [_body(x[i], indent + 1, summarise, show) for i in range(n)]
    return "[" + (",\n" * (len(shape) - 1) + " " * (indent + 1)).join(rows) + "]"


def _shown_values(x: Any, summarise: bool) -> list[Any]:
    """The values that will appear, flat: they decide the format."""
    edge = _options["edgeitems"]
    if not summarise:
        flat = x.tolist()
        while flat and isinstance(flat[0] if isinstance(flat, list) else flat, list):
            flat = [v for row in flat for v in row]
        return flat if isinstance(flat, list) else [flat]
    if x.ndim == 1:
        return x.tolist() if x._shape[0] <= 2 * edge else x[:edge].tolist() + x[-edge:].tolist()
    n = x._shape[0]
    rows = range(n) if n <= 2 * edge else [*range(edge), *range(n - edge, n)]
    return [v for i in rows for v in _shown_values(x[i], True)]


def tensor_text(x: Any, name: str = "tensor") -> str:
    """The repr of a tensor."""
    m = x._m
    if not x._v:
        value = m.tracer or m
        inner = getattr(value, "primal", None) or getattr(value, "physical", None)
        tail = f", within {value.trace.within()}"
        kind = "mapped over dim 0" if hasattr(value, "physical") else ""
        return f"Traced({repr(inner) if inner is not None else f'shape={list(value.shape)}'}{', ' + kind if kind else ''}{tail})"
    d = x.dtype
    suffixes = []
    if x.is_meta:
        body = "..."
        suffixes.append(f"device='meta', size={tuple(x._shape)}")
    else:
        plain = x._alias()
        if x.device.type != "cpu":
            suffixes.append(f"device='{x.device}'")
            plain = plain.cpu()
        if x.numel() == 0:
            body = "[]"
            if len(x._shape) != 1:
                suffixes.append(f"size={tuple(x._shape)}")
        else:
            summarise = x.numel() > _options["threshold"]
            values = _shown_values(plain, summarise)
            show: Any = (_ComplexFormat if d.is_complex else _RealFormat if d.is_floating_point else _PlainFormat)(values)
            body = _body(plain, len(name) + 1, summarise, show)
    if d not in (get_default_dtype(), int64, bool_, complex64 if get_default_dtype().itemsize <= 4 else complex128) or (x.numel() == 0 and d is int64):
        suffixes.append(f"dtype={d}")
    if m is not None and m.op is not None:
        suffixes.append(f"grad_fn={m!r}")
    elif m is not None and m.requires_grad:
        suffixes.append("requires_grad=True")
    return f"{name}({', '.join([body, *suffixes])})"
