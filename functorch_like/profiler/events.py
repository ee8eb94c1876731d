"""Events: what the core noted of a call, with its name, and how events lie within each other."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cbackend import ffi, lib

from ..dtypes import DTYPES
from .costs import bytes_moved, flops

# functions of the core whose first number is the code of an op
_FAMILIES = {
    "unary": "unary", "unary_into": "unary",
    "binary": "binary", "binary_int": "binary", "binary_float": "binary", "binary_into": "binary",
    "ternary": "ternary", "ternary_into": "ternary",
    "reduce": "reduce", "argreduce": "argreduce", "reduce_with_index": "argreduce",
    "scan": "scan", "scan_with_index": "scan",
}  # fmt: skip
_DRAWS = ("uniform", "normal", "bernoulli", "exponential", "integers", "rademacher")


class TensorInfo(NamedTuple):
    """A tensor that a call read or made."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int  # of its distinct elements
    storage: int  # equal for views of the same memory


@dataclass(eq=False)
class Event:
    """Something that took time. Times are nanoseconds of the monotonic clock.

    Attributes:
      kind: "op" a call from Python, "instruction" one inside a compiled program, "program" a run of
        one, "range" a record_function block, "function" a Python function.
      function: of ops and instructions, the C function behind them.
      instruction: of instructions, the place in the program; `program` says which program.
      allocated: bytes in live tensors at the end; None for ranges and functions.
      children: the events inside, in order.
    """

    name: str
    kind: str
    begin: int
    end: int
    thread: int
    function: str = ""
    reads: tuple[TensorInfo, ...] = ()
    made: tuple[TensorInfo, ...] = ()
    numbers: tuple[int, ...] = ()
    allocated: int | None = None
    instruction: int = -1
    program: int = 0
    flops: int = 0
    nbytes: int = 0
    parent: Event | None = field(default=None, repr=False)
    children: list[Event] = field(default_factory=list, repr=False)

    @property
    def time(self) -> int:
        """Nanoseconds from begin to end."""
        return self.end - self.begin

    @property
    def self_time(self) -> int:
        """Nanoseconds outside of events inside."""
        return self.time - sum(e.time for e in self.children)

    @property
    def new_bytes(self) -> int:
        """Bytes of results that have memory of their own."""
        sources = {t.storage for t in self.reads}
        return sum(t.nbytes for t in self.made if t.storage not in sources)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(t.shape for t in self.reads)


class _Call(NamedTuple):
    """What events of the same call with the same operands share."""

    name: str
    function: str
    reads: tuple[TensorInfo, ...]
    made: tuple[TensorInfo, ...]
    numbers: tuple[int, ...]
    flops: int
    nbytes: int


_RECORD = "4q3i4x"  # cb_event


def decode(events: Any, details: Sequence[int]) -> list[Event]:
    """The core's cb_event array, as a buffer, and its details as Events."""
    raw = list(struct.iter_unpack(_RECORD, events))
    found: list[Event] = []
    first = raw[0][3]
    ends = [*(record[3] for record in raw[1:]), first + len(details)]
    known: dict[Any, _Call] = {}
    pending: dict[int, list[Event]] = {}  # instructions of programs that have not ended, by thread
    for record, detail_end in zip(raw, ends, strict=True):
        begin, end, allocated, detail, call, instruction, thread = record
        key = (call, tuple(details[detail - first : detail_end - first]))
        same = known.get(key)
        if same is None:
            same = known[key] = _called(*key)
        kind = "program" if call < 0 else "op" if instruction < 0 else "instruction"
        event = Event(
            same.name, kind, begin, end, thread, same.function, same.reads, same.made, same.numbers
        )
        event.flops, event.nbytes = same.flops, same.nbytes
        event.allocated, event.instruction = allocated, instruction
        if kind == "instruction":
            pending.setdefault(thread, []).append(event)
        elif kind == "program":
            event.program = same.numbers[0]
            for inside in pending.pop(thread, ()):
                inside.program = event.program
        found.append(event)
    return found


def _called(call: int, items: Sequence[int]) -> _Call:
    numbers, reads, made = _described(items)
    if call < 0:
        return _Call("program", "", reads, made, numbers, 0, 0)
    function = ffi.string(lib.cb_call_name(call)).decode().removeprefix("cb_")  # type: ignore[union-attr]
    operations = flops(function, reads, made, numbers)
    nbytes = bytes_moved(function, reads, made, numbers)
    return _Call(_name(function, numbers), function, reads, made, numbers, operations, nbytes)


def _described(
    items: Sequence[int],
) -> tuple[tuple[int, ...], tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    numbers: list[int] = []
    tensors: dict[int, list[TensorInfo]] = {ord("r"): [], ord("m"): []}
    at = 0
    while at < len(items):
        if items[at] == ord("n"):
            numbers.append(items[at + 1])
            at += 2
            continue
        role, code, nbytes, storage, ndim = items[at : at + 5]
        shape = tuple(items[at + 5 : at + 5 + ndim])
        tensors[role].append(TensorInfo(DTYPES[code].name, shape, nbytes, storage))
        at += 5 + ndim
    return tuple(numbers), tuple(tensors[ord("r")]), tuple(tensors[ord("m")])


def _name(function: str, numbers: tuple[int, ...]) -> str:
    family = _FAMILIES.get(function)
    if family is not None and numbers:
        found = lib.cb_op_name(family.encode(), numbers[0])
        return ffi.string(found).decode() if found else function
    if function in ("random", "random_into") and numbers and 0 <= numbers[0] < len(_DRAWS):
        return _DRAWS[numbers[0]]
    return function


def nest(events: list[Event]) -> list[Event]:
    """Sets parents and children, thread by thread; gives the outermost events in order."""
    events.sort(key=lambda e: (e.begin, -e.end))
    roots: list[Event] = []
    open_: dict[int, list[Event]] = {}
    for e in events:
        stack = open_.setdefault(e.thread, [])
        while stack and stack[-1].end < e.end:
            stack.pop()
        e.parent = stack[-1] if stack else None
        (e.parent.children if e.parent is not None else roots).append(e)
        stack.append(e)
    return roots
