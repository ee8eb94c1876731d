"""A profile for the eye: Chrome's trace format, and a flame graph as SVG."""

from __future__ import annotations

import json
import os
from html import escape
from typing import Any
from zlib import crc32

from .events import Event, TensorInfo


def chrome_trace(path: Any, events: list[Event], begin: int, memory: list[tuple[int, int]]) -> None:
    """Writes events as JSON, times in microseconds since the start of the profile."""
    process = os.getpid()
    records: list[dict[str, Any]] = []
    for e in events:
        arguments: dict[str, Any] = {}
        if e.kind in ("op", "instruction"):
            arguments = {
                "inputs": [_typed(t) for t in e.reads],
                "outputs": [_typed(t) for t in e.made],
                "flops": e.flops,
                "bytes": e.nbytes,
            }
        if e.kind == "instruction":
            arguments["instruction"] = e.instruction
        records.append(
            {
                "name": e.name,
                "cat": e.kind,
                "ph": "X",
                "ts": (e.begin - begin) / 1000,
                "dur": e.time / 1000,
                "pid": process,
                "tid": e.thread,
                "args": arguments,
            }
        )
    records += [
        {
            "name": "memory",
            "ph": "C",
            "ts": at / 1000,
            "pid": process,
            "args": {"allocated": allocated},
        }
        for at, allocated in memory
    ]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"traceEvents": records, "displayTimeUnit": "ms"}, file)


def _typed(t: TensorInfo) -> str:
    return f"{t.dtype}[{','.join(map(str, t.shape))}]"


class _Frame:
    """Events with one name under one parent, together."""

    def __init__(self, name: str, kind: str):
        self.name, self.kind = name, kind
        self.time = self.count = 0
        self.inside: dict[tuple[str, str], _Frame] = {}

    def add(self, events: list[Event]) -> None:
        for e in events:
            frame = self.inside.setdefault((e.name, e.kind), _Frame(e.name, e.kind))
            frame.time += e.time
            frame.count += 1
            frame.add(e.children)

    def depth(self) -> int:
        return 1 + max((f.depth() for f in self.inside.values()), default=0)


_WIDTH, _ROW, _TOP = 1200, 18, 34
# hues: Python warm, kernels cold
_HUES = {"range": 45, "function": 20, "op": 205, "instruction": 165, "program": 265}


def flame_graph(path: Any, roots: list[Event], wall: int) -> None:
    """Writes the SVG: time from left to right, the outermost events at the top.

    Events of the same name in the same place are one box; point at it for its numbers.
    """
    whole = _Frame("all", "range")
    whole.add(roots)
    # threads run beside each other: together they may take longer than the clock
    whole.time = max(wall, sum(f.time for f in whole.inside.values()), 1)
    whole.count = 1
    height = _TOP + whole.depth() * _ROW + 6
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="monospace" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="6" y="20" font-size="14">{wall / 1e6:.3f} ms</text>',
    ]
    _draw(whole, 0.0, 0, _WIDTH / whole.time, whole.time, lines)
    lines.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


def _draw(frame: _Frame, x: float, level: int, scale: float, total: int, lines: list[str]) -> None:
    width = frame.time * scale
    if width < 0.2:
        return
    y = _TOP + level * _ROW
    light = 68 + crc32(frame.name.encode()) % 14
    numbers = f"{frame.time / 1e6:.3f} ms, {100 * frame.time / total:.1f}%, {frame.count} calls"
    lines.append(
        f"<g><title>{escape(frame.name)} ({frame.kind}): {numbers}</title>"
        f'<rect x="{x:.2f}" y="{y}" width="{max(width - 0.3, 0.2):.2f}" height="{_ROW - 1}" '
        f'fill="hsl({_HUES[frame.kind]},65%,{light}%)"/>'
    )
    letters = int((width - 6) / 6.7)
    if letters >= 3:
        name = frame.name if len(frame.name) <= letters else frame.name[: letters - 1] + "…"
        lines.append(f'<text x="{x + 3:.2f}" y="{y + 12}">{escape(name)}</text>')
    lines.append("</g>")
    for inner in sorted(frame.inside.values(), key=lambda f: -f.time):
        _draw(inner, x, level + 1, scale, total, lines)
        x += inner.time * scale
