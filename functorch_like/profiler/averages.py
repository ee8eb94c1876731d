"""Events by name, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..errors import message
from .events import Event

_COLUMNS = {
    "self_cpu_time_total": "Self us",
    "cpu_time_total": "Total us",
    "cpu_time": "us/call",
    "count": "Calls",
    "flops": "GFLOP/s",
    "nbytes": "GB/s",
    "allocated": "Made KiB",
}


class Average:
    """Events of one name (and shapes, or place in a program), added up. Times are microseconds.

    Attributes:
      cpu_time_total: from begin to end; self_cpu_time_total: without events inside.
      flops, nbytes: of all calls together.
      allocated: bytes of results with memory of their own.
    """

    def __init__(self, key: str, shapes: tuple[tuple[int, ...], ...] | None, place: str):
        self.key, self.input_shapes, self.place = key, shapes, place
        self.count = self.flops = self.nbytes = self.allocated = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0

    @property
    def cpu_time(self) -> float:
        """Microseconds a call."""
        return self.cpu_time_total / self.count

    @property
    def flops_per_second(self) -> float:
        return self.flops / (self.self_cpu_time_total * 1e-6) if self.self_cpu_time_total else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.nbytes / (self.self_cpu_time_total * 1e-6) if self.self_cpu_time_total else 0.0

    def __repr__(self) -> str:
        return f"<{self.key}: {self.count} calls, {self.cpu_time_total:.1f} us>"


class Averages(Sequence[Average]):
    """Rows in the order of their self time; print it for a table."""

    def __init__(self, rows: Iterable[Average], wall: float, kernels: float):
        self._rows = sorted(rows, key=lambda r: -r.self_cpu_time_total)
        self.wall, self.kernels = wall, kernels  # microseconds

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        return self._rows[i]

    def __iter__(self) -> Iterator[Average]:
        return iter(self._rows)

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 55,
    ) -> str:
        """The rows as text.

        Args:
          sort_by: "self_cpu_time_total" (also without it), "cpu_time_total", "cpu_time", "count",
            "flops", "nbytes" or "allocated"; the largest first.
          row_limit: how many rows; -1 for all.
          max_name_column_width: longer names are cut.
        Raises:
          ValueError: an unknown sort_by.
        """
        column = "self_cpu_time_total" if sort_by is None else sort_by
        if column not in _COLUMNS:
            raise ValueError(
                message("table", f"sort_by to be one of {', '.join(_COLUMNS)}", repr(sort_by))
            )
        rows = sorted(self._rows, key=lambda r: -getattr(r, column))
        shown = rows if row_limit < 0 else rows[:row_limit]
        with_places = any(r.place for r in shown)
        with_shapes = any(r.input_shapes is not None for r in shown)
        head = [
            "Name",
            "Self us",
            "Self %",
            "Total us",
            "Calls",
            "us/call",
            "GFLOP/s",
            "GB/s",
            "Made KiB",
        ]
        head = (["Place"] if with_places else []) + head + (["Input shapes"] if with_shapes else [])
        lines = [head]
        for r in shown:
            line = [
                _cut(r.key, max_name_column_width),
                f"{r.self_cpu_time_total:.1f}",
                f"{100 * r.self_cpu_time_total / self.wall:.1f}" if self.wall else "-",
                f"{r.cpu_time_total:.1f}",
                str(r.count),
                f"{r.cpu_time:.1f}",
                f"{r.flops_per_second / 1e9:.2f}" if r.flops else "-",
                f"{r.bytes_per_second / 1e9:.2f}" if r.nbytes else "-",
                f"{r.allocated / 1024:.1f}",
            ]
            line = ([r.place] if with_places else []) + line
            lines.append(line + ([_shapes(r)] if with_shapes else []))
        text = _aligned(lines, left={"Place", "Name", "Input shapes"})
        inside = 100 * self.kernels / self.wall if self.wall else 0.0
        text += (
            f"\nwall time {self.wall / 1000:.3f} ms, in kernels {self.kernels / 1000:.3f} ms "
            f"({inside:.0f}%), in Python {(self.wall - self.kernels) / 1000:.3f} ms"
        )
        if len(shown) < len(rows):
            text += f"\n{len(rows) - len(shown)} more rows"
        return text

    def __str__(self) -> str:
        return self.table()


def average(
    events: Iterable[Event], wall: int, kernels: int, by_shape: bool, by_instruction: bool
) -> Averages:
    """Adds up events; wall and kernels are nanoseconds."""
    rows: dict[Any, Average] = {}
    programs: dict[int, int] = {}  # numbered in the order they ran
    for e in sorted(events, key=lambda e: e.end):
        if e.kind == "function":
            continue
        shapes = e.input_shapes if by_shape else None
        place = ""
        if by_instruction and e.kind in ("instruction", "program"):
            number = programs.setdefault(e.program, len(programs) + 1)
            place = f"{number}" if e.kind == "program" else f"{number}:{e.instruction:03d}"
        key = (e.name, e.kind == "range", shapes, place)
        row = rows.get(key)
        if row is None:
            row = rows[key] = Average(e.name, shapes, place)
        row.count += 1
        row.cpu_time_total += e.time / 1000
        row.self_cpu_time_total += e.self_time / 1000
        row.flops += e.flops
        row.nbytes += e.nbytes
        row.allocated += e.new_bytes
    return Averages(rows.values(), wall / 1000, kernels / 1000)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 3] + "..."


def _shapes(row: Average) -> str:
    return " ".join(str(list(s)).replace(" ", "") for s in row.input_shapes or ())


def _aligned(lines: list[list[str]], left: set[str]) -> str:
    head = lines[0]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    made = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, made))
    return "\n".join([made[0], rule, *made[1:], rule])
