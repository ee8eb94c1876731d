"""Control flow as functions: cond, switch, while_loop, fori_loop, scan, associative_scan, map.

They mean the same eagerly, mapped and differentiated in either mode. Where a predicate differs
between the lanes of a vmap, the lanes that do not take a branch (or are done with a loop) run along
on the operands of a lane that does, and their results are not used: so nothing they compute can
spoil a gradient. A branch that no lane takes is not run.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cbackend import lib

from .. import tree
from ..errors import DTypeError, ShapeError, message
from ..op import Op, dispatch
from ..ops.creation import tensor, zeros
from ..ops.join import cat, flip, stack
from ..ops.ternary import where
from ..tensor import Tensor
from ..trace import Trace, Untraced, untaped
from .jvp_trace import JvpTrace
from .vjp_trace import VjpTrace
from .vmap_trace import VmapTrace

# ---- what is known about a predicate ----


class _Ground:
    """The plain tensor under all tracers: [levels of vmap from the outermost in, *shape]."""

    def __init__(self, plain: Tensor, levels: list[Trace]):
        self.plain, self.levels = plain, levels


def _ground(x: Tensor) -> _Ground | None:
    """The values of a tensor in all lanes; None where they are not known (a staged value)."""
    levels: list[Trace] = []
    while True:
        m = x._current()
        trace = None if m is None else m.trace
        if m is None or trace is None:
            return None if x.device.type == "meta" else _Ground(x, levels)
        value: Any = m.tracer or m
        if isinstance(trace, VmapTrace):
            levels.insert(0, trace)
            x = value.physical
        elif isinstance(trace, (VjpTrace, JvpTrace)) or getattr(trace, "knows_primals", False):
            x = value.inner()
        else:
            return None


class _Plainly(Untraced):
    """Runs a block outside of all transforms and without the tape."""

    __slots__ = ("mode",)

    def __enter__(self) -> None:
        super().__enter__()
        self.mode = untaped()
        self.mode.__enter__()

    def __exit__(self, *exc: object) -> None:
        self.mode.__exit__(*exc)
        super().__exit__(*exc)


class _Choice:
    """Which lanes a predicate holds in: all, none, some, or unknown."""

    def __init__(self, op: str, pred: Any):
        if not isinstance(pred, Tensor):
            self.every = self.some = bool(pred)
            self.known, self.mapped = True, False
            return
        if pred.numel() != 1:
            raise ShapeError(
                message(
                    op,
                    "a predicate of one element",
                    f"shape {list(pred._shape)}",
                    "Reduce it with all() or any(), or use where().",
                )
            )
        self.pred = pred = pred.reshape(()) if pred.ndim else pred
        ground = _ground(pred)
        self.known = ground is not None
        if ground is None:
            self.mapped, self.every, self.some = True, False, True
            return
        self.levels = ground.levels
        self.mapped = bool(ground.levels)
        with _Plainly():
            self.lanes = ground.plain.detach() != 0
            self.every = bool(self.lanes.all())
            self.some = self.every or bool(self.lanes.any())
        if not self.lanes.numel():
            self.every = self.some = True

    def guarded(self, operands: Any) -> Any:
        """The operands; in lanes where the predicate does not hold, those of one where it does."""
        if not self.known:
            return operands
        with _Plainly():
            at = int(self.lanes.reshape(-1).to("uint8").argmax())
        place: dict[Trace, int] = {}
        for level, size in zip(reversed(self.levels), reversed(self.lanes._shape), strict=True):
            place[level] = at % size
            at //= size

        def guard(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.dtype.is_inexact:
                return x
            ground = _ground(x)
            if ground is None or not ground.levels:
                return x
            with _Plainly():
                index = tuple([place.get(level, 0) for level in ground.levels])
                fill = ground.plain.detach()[index]
            return _where(self.pred, x, fill)

        return tree.map(guard, operands)


def _where(pred: Tensor, a: Any, b: Any) -> Any:
    return where(pred != 0, a, b)


def selected(op: str, pred: Tensor, a: Any, b: Any, names: tuple[str, str]) -> Any:
    """Leaf by leaf a where the predicate holds, else b."""
    _matching(op, a, b, names)
    flat_a, definition = tree.flatten(a)
    flat_b = tree.leaves(b)
    return tree.unflatten(
        definition, [_where(pred, x, y) for x, y in zip(flat_a, flat_b, strict=True)]
    )


def _matching(op: str, a: Any, b: Any, names: tuple[str, str]) -> None:
    """Checks that two results have one structure, and their leaves one shape and dtype."""
    flat_a, definition_a = tree.flatten(a)
    flat_b, definition_b = tree.flatten(b)
    if len(flat_a) != len(flat_b) or str(definition_a) != str(definition_b):
        raise ValueError(
            message(
                op,
                f"results of one structure from {names[0]} and {names[1]}",
                f"{_described(a)} and {_described(b)}",
            )
        )
    for i, (x, y) in enumerate(zip(flat_a, flat_b, strict=True)):
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            continue
        where = f" (leaf {i})" if len(flat_a) > 1 else ""
        if x._shape != y._shape:
            raise ShapeError(
                message(
                    op,
                    f"one shape from {names[0]} and {names[1]}{where}",
                    f"{list(x._shape)} and {list(y._shape)}",
                )
            )
        if x.dtype is not y.dtype:
            raise DTypeError(
                message(
                    op,
                    f"one dtype from {names[0]} and {names[1]}{where}",
                    f"{x.dtype} and {y.dtype}",
                    "Cast one of them with .to().",
                )
            )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value._shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict with {list(value)}"
    return type(value).__name__


def _as_operands(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        return tuple(operands[0])
    return operands


# ---- branches ----


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any
) -> Any:
    """true_fn(*operands) where the predicate holds, else false_fn(*operands).

    Args:
      pred: a bool, or a tensor of one element; under vmap it may differ between lanes.
      operands: pytrees; or one tuple of them, as in torch.cond.
    Raises:
      ShapeError: a predicate of several elements, or branches whose results differ in shape where
        lanes take both.
    Example:
      >>> f = lambda x: cond(x > 0, lambda x: x.log(), lambda x: x * 0, x)
      >>> vmap(grad(f))(tensor([2.0, -1.0]))
      tensor([0.5000, 0.0000])
    """
    operands = _as_operands(operands)
    choice = _Choice("cond", pred)
    if choice.every:
        return true_fn(*operands)
    if not choice.some:
        return false_fn(*operands)
    taken = true_fn(*choice.guarded(operands))
    other = false_fn(*_Choice("cond", choice.pred == 0).guarded(operands))
    return selected("cond", choice.pred, taken, other, ("true_fn", "false_fn"))


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """branches[index](*operands); an index out of range is brought to the nearest end.

    Args:
      index: an int, or an integer tensor of one element; under vmap it may differ between lanes.
    Raises:
      ValueError: there are no branches.
      DTypeError: the index is not an integer.
    Example:
      >>> vmap(lambda i, x: switch(i, [sin, exp], x))(tensor([0, 1]), zeros(2))
      tensor([0., 1.])
    """
    if not branches:
        raise ValueError(message("switch", "at least one branch", "none"))
    operands = _as_operands(operands)
    last = len(branches) - 1
    if not isinstance(index, Tensor):
        return branches[min(max(int(index), 0), last)](*operands)
    if index.dtype.is_inexact:
        raise DTypeError(message("switch", "an integer index", index.dtype, "Cast with .long()."))
    index = index.clamp(0, last)
    result: Any = None
    for k, branch in enumerate(branches):
        choice = _Choice("switch", index == k)
        if choice.every and choice.known:
            return branch(*operands)
        if not choice.some:
            continue
        out = branch(*choice.guarded(operands))
        if result is None:
            result, first = out, k
        else:
            result = selected(
                "switch", choice.pred, out, result, (f"branch {k}", f"branch {first}")
            )
    return result


# ---- loops ----


def _as_carry(init: Any) -> Any:
    return tree.map(lambda x: tensor(x) if isinstance(x, (bool, int, float, complex)) else x, init)


def while_loop(cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], init_val: Any) -> Any:
    """Applies body_fn to a value while cond_fn holds for it; the value when it no longer does.

    Under vmap the loop runs until all lanes are done. Reverse mode works too.

    Args:
      init_val: a pytree; numbers become tensors. The body returns one of the same structure, shapes
        and dtypes.
    Raises:
      ValueError, ShapeError, DTypeError: the body returns something of another kind.
    Example:
      >>> while_loop(lambda x: x < 100, lambda x: x * 2, tensor(3.0))
      tensor(192.)
    """
    carry = _as_carry(init_val)
    while True:
        choice = _Choice("while_loop", cond_fn(carry))
        if not choice.known:
            bool(choice.pred)  # the staging context says what to do
        if not choice.some:
            return carry
        if choice.every:
            new = _as_carry(body_fn(carry))
            _matching("while_loop", new, carry, ("body_fn", "its argument"))
            carry = new
        else:
            new = _as_carry(body_fn(choice.guarded(carry)))
            carry = selected("while_loop", choice.pred, new, carry, ("body_fn", "its argument"))


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """Applies `value = body_fun(i, value)` for i from lower to upper - 1.

    Args:
      lower, upper: ints, or integer tensors of one element, which may differ between lanes of vmap.
    Raises:
      as while_loop().
    Example:
      >>> fori_loop(0, 4, lambda i, x: x + i, tensor(0.0))
      tensor(6.)
    """
    carry = _as_carry(init_val)
    first, end = _known_int(lower), _known_int(upper)
    if first is None or end is None:
        done = while_loop(
            lambda both: both[0] < upper,
            lambda both: (both[0] + 1, body_fun(both[0], both[1])),
            (lower, carry),
        )
        return done[1]
    for i in range(first, end):
        new = _as_carry(body_fun(i, carry))
        _matching("fori_loop", new, carry, ("body_fun", "its argument"))
        carry = new
    return carry


def _known_int(x: Any) -> int | None:
    if not isinstance(x, Tensor):
        return int(x)
    ground = _ground(x)
    if ground is None or ground.levels:
        return None
    return int(ground.plain.detach())


# ---- scans ----


@lru_cache
def _unbind(n: int) -> Op:
    """Splits dimension 0 into n copies of its slices, whose gradient is one stack."""

    def impl(x: Tensor) -> Any:
        slices = []
        for i in range(n):
            view = lib.cb_index_basic(x._v, 1, (0, i, 0, 0))
            slices.append(lib.cb_clone(view))
            lib.cb_release(view)
        return tuple(slices)

    def vjp(cts: Any, _out: Any, x_spec: Any) -> Any:
        missing = zeros(x_spec.shape[1:], dtype=x_spec.dtype, device=x_spec.device)
        return (stack([missing if ct is None else ct for ct in cts]),)

    def batch(_size: int, _batched: Any, x: Tensor) -> Any:
        return dispatch(op, (x.movedim(1, 0),), {})

    op = Op(
        "unbind",
        impl,
        vjp=vjp,
        jvp=lambda tangents, _out, _x: dispatch(op, (tangents[0],), {}),
        batch=batch,
        nouts=n,
        registered=False,
    )
    return op


def _slices(x: Tensor, n: int) -> Any:
    if n == 0:
        return ()
    if n == 1:
        return (x[0],)
    return dispatch(_unbind(n), (x,), {})


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    checkpoint: bool | int = False,
) -> tuple[Any, Any]:
    """Carries a value along dimension 0 of xs: `carry, y = f(carry, x)`.

    Args:
      init: the first carry, a pytree; f returns one of the same structure, shapes and dtypes.
      xs: a pytree of tensors [n, ...]; None for `length` steps without inputs.
      reverse: from the last slice to the first; ys stand in the order of xs nevertheless.
      unroll: accepted for JAX's sake.
      checkpoint: do not keep what a step computes for the backward pass but compute it again; an
        int says for how many steps at a time.
    Returns:
      The last carry, and the ys stacked [n, ...].
    Raises:
      ValueError, ShapeError, DTypeError: lengths differ, or f changes the kind of the carry.
    Example:
      >>> scan(lambda total, x: (total + x, total), tensor(0.0), tensor([1.0, 2.0, 3.0]))
      (tensor(6.), tensor([0., 1., 3.]))
    """
    leaves, definition = tree.flatten(xs)
    n = _length("scan", leaves, length)
    columns = [_slices(x, n) for x in leaves]
    carry = _as_carry(init)

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        result = f(carry, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                message("scan", "a function that returns (carry, y)", type(result).__name__)
            )
        new = _as_carry(result[0])
        _matching("scan", new, carry, ("the function's carry", "the one it was given"))
        return new, result[1]

    def run(carry: Any, order: Sequence[int], slices: Any) -> Any:
        outs = []
        for i in order:
            carry, y = step(carry, tree.unflatten(definition, [s[i] for s in slices]))
            outs.append(y)
        return carry, outs

    order = list(range(n))[:: -1 if reverse else 1]
    if checkpoint:
        from .checkpointing import checkpoint as checkpointed

        size = 1 if checkpoint is True else int(checkpoint)
        outs = []
        for at in range(0, n, size):
            carry, some = checkpointed(run, carry, order[at : at + size], columns)
            outs += some
    else:
        carry, outs = run(carry, order, columns)
    if reverse:
        outs.reverse()
    if not outs:
        return carry, None
    flats = [tree.flatten(y) for y in outs]
    ys = [stack(list(column)) for column in zip(*[flat for flat, _ in flats], strict=True)]
    return carry, tree.unflatten(flats[0][1], ys)


def _length(op: str, leaves: Sequence[Any], length: int | None) -> int:
    for x in leaves:
        if not isinstance(x, Tensor) or not x.ndim:
            raise ShapeError(message(op, "tensors with a dimension 0 in xs", _described(x)))
    lengths = {x._shape[0] for x in leaves} | ({length} if length is not None else set())
    if len(lengths) != 1:
        raise ValueError(
            message(op, "one length", sorted(lengths) if lengths else "neither xs nor length")
        )
    return lengths.pop()


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """f of each slice of dimension 0, one after the other; results stacked.

    Unlike vmap it holds the intermediate values of one slice at a time.

    Args:
      batch_size: how many slices to compute at once, by vmap.
    Example:
      >>> map(lambda x: x.sum(), tensor([[1.0, 2.0], [3.0, 4.0]]))
      tensor([3., 7.])
    """
    if batch_size is not None:
        from .vmap import vmap

        return vmap(f, chunk_size=batch_size)(xs)
    return scan(lambda _, x: ((), f(x)), (), xs)[1]


def associative_scan(
    combine_fn: Callable[[Any, Any], Any], xs: Any, dim: int = 0, reverse: bool = False
) -> Any:
    """All running combinations along a dimension, by an associative function.

    In about log2(n) rounds, each a call on whole stretches of the dimension.

    Args:
      combine_fn: of two pytrees like xs; elementwise along dim.
    Raises:
      ValueError: sizes along dim differ.
    Reference: Blelloch 1990, Prefix Sums and Their Applications.
    Example:
      >>> associative_scan(lambda a, b: a * b, tensor([1.0, 2.0, 3.0, 4.0]))
      tensor([ 1.,  2.,  6., 24.])
    """
    leaves, definition = tree.flatten(xs)
    if not leaves:
        return xs
    dims = [dim % x.ndim if x.ndim else 0 for x in leaves]
    fronted = [x if d == 0 else x.movedim(d, 0) for x, d in zip(leaves, dims, strict=True)]
    _length("associative_scan", fronted, None)
    if reverse:
        fronted = [flip(x, (0,)) for x in fronted]

    def combine(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        out = combine_fn(tree.unflatten(definition, a), tree.unflatten(definition, b))
        _matching(
            "associative_scan",
            out,
            tree.unflatten(definition, a),
            ("combine_fn", "its arguments"),
        )
        return tree.leaves(out)

    def run(elements: list[Tensor]) -> list[Tensor]:
        n = elements[0]._shape[0]
        if n < 2:
            return elements
        pairs = combine([x[: n - n % 2 : 2] for x in elements], [x[1::2] for x in elements])
        odd = run(pairs)
        if n == 2:
            even = [x[:1] for x in elements]
        else:
            rest = [x[2::2] for x in elements]
            before = [x[: rest[0]._shape[0]] for x in odd]
            even = [cat([x[:1], y]) for x, y in zip(elements, combine(before, rest), strict=True)]
        woven = []
        for e, o in zip(even, odd, strict=True):
            count = o._shape[0]
            both = stack([e[:count], o], 1).reshape((2 * count, *o._shape[1:]))
            woven.append(both if n % 2 == 0 else cat([both, e[count:]]))
        return woven

    out = run(fronted)
    if reverse:
        out = [flip(x, (0,)) for x in out]
    out = [x if d == 0 else x.movedim(0, d) for x, d in zip(out, dims, strict=True)]
    return tree.unflatten(definition, out)


__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "while_loop"]
