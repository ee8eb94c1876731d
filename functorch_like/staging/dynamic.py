"""compile(dynamic=...): one program for all sizes of some dimensions.

A program is a list of calls, and what differs between the programs for two sizes is numbers. So it
is staged at a few sizes; the lists must be the same, and every number that differs must follow a
formula in the sizes, which one more staging checks. For another size a variant is made: the same
instructions with other numbers. Sizes 0 and 1 always have programs of their own, as they broadcast
and vanish. A variant is used between sizes that have been staged and found right; a size beyond
widens that range, by staging far out, or is staged by itself.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

from cbackend import ffi, lib, raise_error
from cbackend.host import function_of

from ..op import wrap
from ..ops.creation import arange, full
from ..ops.family import number
from ..tensor import Tensor
from .backward import Differentiable
from .entry import Entry
from .formulas import Formula, Grid, Sizes
from .program import Program

MOST_SIZES = 2  # that vary independently
FAR = 4  # how far beyond a new largest size is looked
_ODD = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89)
_EVEN = (10, 14, 22, 26, 34, 38, 46, 58, 62, 74, 82, 86, 94, 106, 118, 122, 134, 142, 146, 158)


# of cb_program_words: counts in front, numbers an instruction; its function stands first, the place
# of its arguments at 6
_COUNTS, _CODE = 12, 8
_HOST_CALL = b"cb_host_call"


class NotGeneric(Exception):
    """Says why programs for different sizes cannot be one."""


class Pattern:
    """Kinds of arguments in which some sizes may vary.

    Attributes:
      places: (leaf, dimension, number of the size) for each that varies.
    """

    def __init__(self, key: Any, places: Sequence[tuple[int, int, int]]):
        self.places = tuple(places)
        self.count = len({k for *_, k in places})
        self._rest = self._without_sizes(key)
        self._key = key

    def _without_sizes(self, key: Any) -> Any:
        kinds = list(key[3])
        for leaf, dim, k in self.places:
            dtype, shape, *rest = kinds[leaf]
            kinds[leaf] = (dtype, (*shape[:dim], ("size", k), *shape[dim + 1 :]), *rest)
        return (*key[:3], tuple(kinds))

    def sizes(self, key: Any) -> Sizes | None:
        """The sizes of a call; None if it is of another kind, or one of them is 0 or 1."""
        kinds, found = key[3], {}
        if len(kinds) != len(self._key[3]):
            return None
        for leaf, dim, k in self.places:
            kind = kinds[leaf]
            if not (_is_tensor(kind) and dim < len(kind[1]) and kind[2] is None):
                return None
            size = kind[1][dim]
            if size < 2 or found.setdefault(k, size) != size:
                return None
        if self._without_sizes(key) != self._rest:
            return None
        return tuple(found[k] for k in range(self.count))

    def key(self, sizes: Sizes) -> Any:
        """The key of calls with such sizes."""
        kinds = list(self._key[3])
        for leaf, dim, k in self.places:
            dtype, shape, *rest = kinds[leaf]
            kinds[leaf] = (dtype, (*shape[:dim], sizes[k], *shape[dim + 1 :]), *rest)
        return (*self._key[:3], tuple(kinds))

    def fixed(self) -> set[int]:
        """All sizes that do not vary."""
        moving = {(leaf, dim) for leaf, dim, _ in self.places}
        return {
            size
            for leaf, kind in enumerate(self._key[3])
            if _is_tensor(kind)
            for dim, size in enumerate(kind[1])
            if (leaf, dim) not in moving
        }

    def __str__(self) -> str:
        return ", ".join(f"dimension {dim} of tensor {leaf}" for leaf, dim, _ in self.places)


def _is_tensor(kind: Any) -> bool:
    return type(kind) is tuple and len(kind) == 4 and type(kind[0]) is int


def between(old: Any, new: Any) -> Pattern | None:
    """The pattern of two calls that differ in sizes only."""
    if old[:3] != new[:3] or len(old[3]) != len(new[3]):
        return None
    places, numbers = [], {}
    for leaf, (a, b) in enumerate(zip(old[3], new[3], strict=True)):
        if a == b:
            continue
        if not (_is_tensor(a) and _is_tensor(b)) or len(a[1]) != len(b[1]):
            return None
        if a[0] != b[0] or a[3] != b[3]:  # dtype, device
            return None
        if a[2] is not None or b[2] is not None:  # in row-major order only
            return None
        for dim, pair in enumerate(zip(a[1], b[1], strict=True)):
            if pair[0] != pair[1]:
                if min(pair) < 2:
                    return None
                places.append((leaf, dim, numbers.setdefault(pair, len(numbers))))
    return Pattern(new, places) if places else None


def declared(key: Any, dims: Sequence[tuple[int, int]]) -> Pattern | None:
    """The pattern where these (leaf, dimension) vary: equal sizes are one size."""
    places, numbers = [], {}
    for leaf, dim in dims:
        kind = key[3][leaf]
        if not _is_tensor(kind) or kind[2] is not None or not kind[1]:
            return None
        dim %= len(kind[1])
        if kind[1][dim] < 2:
            return None
        places.append((leaf, dim, numbers.setdefault(kind[1][dim], len(numbers))))
    return Pattern(key, places) if places else None


class Generic:
    """A program for all sizes of a pattern.

    Args:
      stage: `stage(key) -> entry` for arguments of that kind, without running it.
      known: sizes of calls, with the entries that were made for them.
    Raises:
      NotGeneric: there is none.
    """

    def __init__(self, pattern: Pattern, stage: Callable[[Any], Any], known: dict[Sizes, Any]):
        if pattern.count > MOST_SIZES:
            raise NotGeneric(f"{pattern.count} sizes vary independently")
        self.pattern = pattern
        self._staged = dict(known)
        self._stage = stage
        self._base: Any = None
        error: NotGeneric | None = None
        for grid in self._grids(list(known)):
            try:
                self._fit(grid)
            except NotGeneric as why:
                error = error or why
            else:
                break
        else:
            raise error or NotGeneric("there are no sizes to compare")
        self.low = tuple(map(min, zip(*grid.points, strict=True)))
        self.high = tuple(map(max, zip(*grid.points, strict=True)))
        self.samples = len(self._staged)
        self._staged.clear()

    def _grids(self, known: list[Sizes]) -> list[Grid]:
        """Which sizes to compare: those of calls, and if they happen to equal others, odd ones."""
        grids = []
        if len(known) > 1 and all(a != b for a, b in zip(known[0], known[1], strict=True)):
            a, b = known[:2]
            far = tuple(
                FAR * max(pair) + 3 + 2 * i for i, pair in enumerate(zip(a, b, strict=True))
            )
            grids.append(Grid(a, b, far))
        fixed, n = self.pattern.fixed(), self.pattern.count
        odd = tuple([p for p in _ODD if p not in fixed][:n])
        even = tuple([p for p in _EVEN if p not in fixed][:n])
        if len(odd) == len(even) == n:
            largest = [max(sizes[k] for sizes in (odd, even, *known)) for k in range(n)]
            far = tuple(FAR * size + 3 + 2 * k for k, size in enumerate(largest))
            grids.append(Grid(odd, even, far))
        return grids

    def _at(self, sizes: Sizes) -> Any:
        """The entry staged for sizes."""
        if sizes not in self._staged:
            try:
                self._staged[sizes] = self._stage(self.pattern.key(sizes))
            except Exception as error:
                raise NotGeneric(f"it cannot be staged for sizes {sizes}: {error}") from error
        return self._staged[sizes]

    def _fit(self, grid: Grid) -> None:
        entries = [self._at(point) for point in grid.points]
        first = entries[0]
        for other in entries[1:]:
            _check_alike(first, other)
        draws = _Draws(grid, [_staged(e).draws for e in entries])
        programs = [_programs(e) for e in entries]
        self._variants = [_Variant(grid, list(same), draws) for same in zip(*programs, strict=True)]
        if isinstance(first, Differentiable):
            self._like = [
                _shape_formula(grid, [tuple(e.like[i]._shape) for e in entries], "a gradient")
                for i in range(len(first.like))
            ]
        self._base, self._draws = first, draws

    def entry(self, sizes: Sizes) -> Any:
        """An entry for sizes; None if it is not known to be right for them."""
        if not self._reaches(sizes):
            return None
        return self._made(sizes)

    def _made(self, sizes: Sizes) -> Any:
        made = copy.copy(self._base)
        programs = [variant.at(sizes) for variant in self._variants]
        drawn = self._draws.at(sizes, None)
        if isinstance(made, Differentiable):
            made.forward = _entry_with(made.forward, programs[:-1], drawn)
            made.backward = programs[-1]
            made.like = [
                wrap(lib.cb_empty(x._v.dtype, lib.CB_META, len(shape), shape))
                for x, shape in zip(made.like, [f(sizes) for f in self._like], strict=True)
            ]
            return made
        return _entry_with(made, programs, drawn)

    def _reaches(self, sizes: Sizes) -> bool:
        """Are the sizes between those that were compared? Goes further out if need be."""
        low = tuple(2 if s < a else a for s, a in zip(sizes, self.low, strict=True))
        high = tuple(b if s <= b else FAR * s + 3 for s, b in zip(sizes, self.high, strict=True))
        if (low, high) == (self.low, self.high):
            return True
        # also the size itself: it may be even where the ends are odd
        for end in dict.fromkeys([sizes, low, high]):
            if end in (self.low, self.high):
                continue
            try:
                if not self._agrees(end):
                    return False
            except NotGeneric:
                return False
        self.low, self.high = low, high
        return True

    def _agrees(self, sizes: Sizes) -> bool:
        """Is what staging gives for these sizes what the formulas say?"""
        try:
            entry = self._at(sizes)
            _check_alike(self._base, entry)
        finally:
            self._staged.clear()
        made = self._made(sizes)
        if _staged(entry).drawn != _staged(made).drawn:
            return False
        pairs = zip(_programs(entry), _programs(made), strict=True)
        return all(_same_words(a, b) and _same_constants(a, b) for a, b in pairs)


# ---- what an entry is made of ----


def _staged(entry: Any) -> Any:
    return (entry.forward if isinstance(entry, Differentiable) else entry).staged


def _programs(entry: Any) -> list[Program]:
    inner: Entry = entry.forward if isinstance(entry, Differentiable) else entry
    found = [p for p in (inner.program, inner._guards_first) if p is not None]
    return [*found, entry.backward] if isinstance(entry, Differentiable) else found


def _entry_with(entry: Entry, programs: list[Program], drawn: int) -> Entry:
    made = copy.copy(entry)
    made.program = programs[0]
    if made._guards_first is not None:
        made._guards_first = programs[1]
    made.staged = copy.copy(entry.staged)
    made.staged.drawn = drawn
    return made


def _check_alike(a: Any, b: Any) -> None:
    """Do two entries do the same around their programs?"""
    if type(a) is not type(b) or str(a.definition) != str(b.definition):
        raise NotGeneric("the result has another structure")
    if isinstance(a, Differentiable):
        edges = [[_mark(e) for e in x.edges] for x in (a, b)]
        same = a.smooth == b.smooth and edges[0] == edges[1] and a.n_kept == b.n_kept
        if not same:
            raise NotGeneric("other results have gradients")
    s, t = _staged(a), _staged(b)
    marks = [
        ([_mark(x) for x in u.writes], [id(x) for x in u.grads], [id(x) for x in u.cleared],
         u.guards, len(u.numbers), [v for _, v in u.number_guards], len(u.watched),
         len(u.read_grads), id(u.generator), u.n_results)
        for u in (s, t)
    ]  # fmt: skip
    if marks[0] != marks[1]:
        raise NotGeneric("it reads or writes other things outside")


def _mark(x: Any) -> Any:
    return x if isinstance(x, int) else id(x)


def _words(p: Program) -> list[int]:
    n = lib.cb_program_words(p._p, ffi.NULL)
    out = ffi.new("int64_t[]", n)
    lib.cb_program_words(p._p, out)
    return ffi.unpack(out, n)


def _same_words(a: Program, b: Program) -> bool:
    x, y = _words(a), _words(b)
    if x == y:
        return True
    if len(x) != len(y) or x[: x[0]] != y[: x[0]]:
        return False
    differ = [i for i in range(len(x)) if x[i] != y[i]]
    hosts = _host_words(x, x[0])
    return all(i in hosts and _same_host(x[i], y[i]) for i in differ)


def _constants(p: Program) -> list[Tensor]:
    count = lib.cb_program_constant_count(p._p)
    return [wrap(lib.cb_program_constant_value(p._p, i)) for i in range(count)]


def _equal(a: Tensor, b: Tensor) -> bool:
    if a is b or lib.cb_storage_id(a._v) == lib.cb_storage_id(b._v):
        return a._shape == b._shape and a._v.dtype == b._v.dtype
    same = a._shape == b._shape and a._v.dtype == b._v.dtype
    return same and (not a.numel() or bool(((a == b) | ((a != a) & (b != b))).all()))


def _same_constants(a: Program, b: Program) -> bool:
    return all(map(_equal, _constants(a), _constants(b)))


class _Draws:
    """How far the random numbers of each draw lie from the start of a run."""

    def __init__(self, grid: Grid, draws: list[list[tuple[int, int, int]]]):
        if len({len(d) for d in draws}) != 1:
            raise NotGeneric("it draws random numbers another number of times")
        self._draws: list[tuple[int, int, Formula]] = []
        for column in zip(*draws, strict=True):
            numel = grid.integer([n for *_, n in column])
            if numel is None or len({(kind, code) for kind, code, _ in column}) != 1:
                raise NotGeneric("it draws other random numbers")
            self._draws.append((*column[0][:2], numel))
        self._grid = grid

    def at(self, sizes: Sizes, count: int | None) -> int:
        """What the first `count` draws consume."""
        return sum(
            lib.cb_random_counters(kind, code, numel(sizes))
            for kind, code, numel in self._draws[:count]
        )

    def distance(self, values: Sequence[int]) -> Formula | None:
        """The distance that has these values at the points of the grid."""
        for i in range(len(self._draws)):
            if all(self.at(p, i) == v for p, v in zip(self._grid.points, values, strict=True)):
                return lambda sizes: self.at(sizes, i)
        return None


class _Variant:
    """One program as a function of sizes."""

    def __init__(self, grid: Grid, programs: list[Program], draws: _Draws):
        self._base = programs[0]
        for p in programs[1:]:
            if [_origin(v) for v in p.captured] != [_origin(v) for v in self._base.captured]:
                raise NotGeneric("it captures other tensors")
        words = [_words(p) for p in programs]
        data = words[0][0]
        if any(len(w) != len(words[0]) or w[:data] != words[0][:data] for w in words[1:]):
            raise NotGeneric("the instructions differ")
        self._words, self._patches = words[0], []
        hosts = _host_words(words[0], data)
        for at, column in enumerate(zip(*words, strict=True)):
            if column.count(column[0]) == len(column):
                continue
            if at in hosts:
                if not all(_same_host(column[0], other) for other in column[1:]):
                    raise NotGeneric("it calls other Python functions")
                continue
            formula = grid.integer(column) or draws.distance(column) or _real_word(grid, column)
            if formula is None:
                raise NotGeneric("a number in an instruction follows no formula in the sizes")
            self._patches.append((at, formula))
        self._constants = [
            _constant_formula(grid, list(column))
            for column in zip(*[_constants(p) for p in programs], strict=True)
        ]

    def at(self, sizes: Sizes) -> Program:
        words = ffi.new("int64_t[]", self._words)
        for at, formula in self._patches:
            words[at] = formula(sizes)
        constants = [make(sizes) for make in self._constants]
        p = lib.cb_program_variant(self._base._p, words, len(constants), [t._v for t in constants])
        if not p:
            raise_error()
        return self._base.like(p)


def _host_words(words: Sequence[int], data: int) -> set[int]:
    """Where the numbers of Python functions stand: the first arguments of cb_host_call."""
    found = set()
    for k in range(words[3]):
        at = _COUNTS + _CODE * k
        if ffi.string(lib.cb_call_name(words[at])) == _HOST_CALL:
            found.add(data + words[at + 6])
    return found


def _same_host(a: int, b: int) -> bool:
    """Do two Python functions do the same, as far as can be seen?"""
    f, g = function_of(a), function_of(b)
    return f is not None and g is not None and _same_origin(f.origin, g.origin)


def _same_origin(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, FunctionType):
        cells = [[c.cell_contents for c in f.__closure__ or ()] for f in (a, b)]
        return a.__code__ is b.__code__ and all(
            _same_origin(x, y)
            for x, y in zip(
                [*cells[0], a.__defaults__, a.__kwdefaults__],
                [*cells[1], b.__defaults__, b.__kwdefaults__],
                strict=True,
            )
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same_origin, a, b))
    if isinstance(a, (bool, int, float, complex, str, bytes)):
        return a == b
    if isinstance(a, MethodType):
        return a.__func__ is b.__func__ and a.__self__ is b.__self__
    return type(a).__module__.startswith("optree") and a == b


def _origin(v: Any) -> Any:
    """What a captured value is read from, to be compared."""
    tensor = getattr(v.source, "tensor", None)
    return id(tensor) if tensor is not None else None


def _real_word(grid: Grid, column: Sequence[int]) -> Formula | None:
    """Words that hold floating-point numbers."""
    bits = ffi.new("int64_t *")
    as_double = ffi.cast("double *", bits)

    def double(word: int) -> float:
        bits[0] = word
        return as_double[0]

    formula = grid.real([double(word) for word in column])
    if formula is None:
        return None

    def word(sizes: Sizes) -> int:
        value = ffi.new("double *", formula(sizes))
        return ffi.cast("int64_t *", value)[0]

    return word


def _shape_formula(grid: Grid, shapes: list[tuple[int, ...]], what: str) -> Formula:
    if len({len(shape) for shape in shapes}) == 1:
        dims = [grid.integer(column) for column in zip(*shapes, strict=True)]
        if None not in dims:
            return lambda sizes: tuple([f(sizes) for f in dims])  # type: ignore[misc]
    raise NotGeneric(f"the shape of {what} follows no formula in the sizes")


def _constant_formula(grid: Grid, values: list[Tensor]) -> Callable[[Sizes], Tensor]:
    """A constant as a function of sizes: the same, a number, full of one, or a range."""
    first = values[0]
    if all(_equal(first, t) for t in values[1:]):
        return lambda sizes: first
    if len({t._v.dtype for t in values}) != 1:
        raise NotGeneric("a constant has another dtype")
    shape = _shape_formula(grid, [tuple(t._shape) for t in values], "a constant")
    dtype, weak = first.dtype, bool(first._v.flags & lib.CB_FLAG_WEAK)
    if all(t.numel() and bool((t == t.reshape(-1)[0]).all()) for t in values):
        find = grid.real if dtype.is_floating_point else grid.integer
        value = find([t.reshape(-1)[0].item() for t in values])
        if value is not None:
            if weak:
                return lambda sizes: number(value(sizes))
            return lambda sizes: full(shape(sizes), value(sizes), dtype=dtype)
    elif first.ndim == 1 and all(t.numel() > 1 for t in values):
        start, step = first[0].item(), first[1].item() - first[0].item()
        if all(_equal(t, arange(t.numel(), dtype=dtype) * step + start) for t in values):
            return lambda sizes: arange(shape(sizes)[0], dtype=dtype) * step + start
    raise NotGeneric(f"a constant of shape {list(first._shape)} follows no formula in the sizes")
