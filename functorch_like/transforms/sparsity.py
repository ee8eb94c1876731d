"""Sparse Jacobians and Hessians: which entries can be nonzero, and all of them in few passes.

The pattern is found by carrying, for every element of every value, which inputs it depends on.
Columns without a common row share a pass (Curtis, Powell & Reid 1974), so a banded Jacobian costs
as many passes as the band is wide.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

from ..errors import ShapeError, message
from ..op import Op, dispatch
from ..ops.creation import arange, eye, tensor, zeros, zeros_like
from ..ops.join import cat
from ..ops.random import Generator, rand
from ..ops.sort import searchsorted
from ..tensor import Size, Tensor, ones_of, traced
from ..trace import Outside, PrimalValue, Trace, next_sequence
from .arguments import settled, tensors_of
from .control_flow import _ground, _Plainly
from .derivatives import linearize
from .gradients import grad
from .products import vjp
from .vmap import vmap

# results are operands elsewhere: dependencies move along with the elements
_MOVES = {
    "clone", "contiguous", "to_device", "permute", "transpose", "reshape", "view", "expand",
    "unsqueeze", "squeeze", "alias", "diagonal", "diagonal_embed", "getitem", "index_embed",
    "index", "gather", "index_select", "cat", "stack", "flip", "roll", "repeat", "tri",
    "constant_pad", "edge_pad",
}  # fmt: skip
# the derivative is zero wherever there is one
_FLAT = {"sign", "sgn", "floor", "ceil", "trunc", "round"}
# linear with coefficients of one sign
_SUMS = {
    "sum", "mean", "cumsum", "index_add", "scatter_add", "index_put", "scatter", "index_write",
    "avg_pool", "avg_pool_grad", "edge_pad_grad",
}  # fmt: skip
_PRODUCTS = {"matmul", "convolution", "convolution_input_grad", "convolution_weight_grad"}
_CHUNK = 512  # inputs whose dependents are found in one run


class DependentValue(PrimalValue):
    """A primal, and for each of some inputs which elements depend on it: bool [inputs, *shape]."""

    def __init__(self, trace: DependenceTrace, primal: Tensor, depends: Tensor):
        self.trace, self.primal, self.depends = trace, primal, depends
        self.seq = next_sequence()


class DependenceTrace(Trace):
    """Finds out what depends on what."""

    name = "sparsity"
    knows_primals = True

    def leaf(self, primal: Tensor, depends: Tensor) -> Tensor:
        """A tracer."""
        return traced(DependentValue(self, primal, depends))

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Primal and dependences; None for a constant."""
        m = x._current()
        if m is None or m.trace is not self:
            return x, None
        value: Any = m.tracer or m
        return value.primal, value.depends

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            primal = self.unpack(t)[0]
            return bool(primal) if how == "bool" else primal.item()

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        pairs = [self.unpack(a) for a in args]
        primals = tuple([p for p, _ in pairs])
        depends = [d for _, d in pairs]
        if not op.differentiable or all(d is None for d in depends) or op.name in _FLAT:
            with Outside(self):
                return dispatch(op, primals, params)
        if op.jvp is None:
            return op.decompose(*args, **params)  # type: ignore[misc]
        with Outside(self):
            out = dispatch(op, primals, params)
            outs = out if type(out) is tuple else (out,)
            found = _dependences(op, primals, depends, outs, params)
        results = tuple(
            [
                self.leaf(y, d) if y.dtype.is_inexact and d is not None else y
                for y, d in zip(outs, found, strict=True)
            ]
        )
        return results if type(out) is tuple else results[0]


def _dependences(
    op: Op,
    primals: Sequence[Tensor],
    depends: Sequence[Tensor | None],
    outs: Sequence[Tensor],
    params: dict[str, Any],
) -> list[Tensor | None]:
    """For each output which elements depend on which input."""
    name = op.name
    at = [i for i, d in enumerate(depends) if d is not None]
    moving = [d for d in depends if d is not None]
    if op.partials or name in ("to_dtype", "mul_conj", "conj_physical"):
        return [_elementwise(moving, outs[0])]
    dtype = outs[0].dtype if outs[0].dtype.is_inexact else primals[at[0]].dtype

    def mapped(function: Callable[..., Any]) -> list[Tensor | None]:
        """The op on numbers in place of the dependences: an element that is not zero depends."""
        with _Plainly():
            result = vmap(function)(*[d.to(dtype) for d in moving])
            many = result if isinstance(result, tuple) else (result,)
            return [r != 0 for r in many]

    def filled(tangents: Sequence[Tensor], others: Callable[[Tensor], Tensor]) -> list[Tensor]:
        operands = [others(p) if p.dtype.is_inexact else _plain(p) for p in primals]
        for i, t in zip(at, tangents, strict=True):
            operands[i] = t
        return operands

    grounds = [_ground(p) for p in primals]
    known = [g is not None and not g.levels for g in grounds]
    places_known = all(k or p.dtype.is_inexact for k, p in zip(known, primals, strict=True))
    if places_known and (name in _MOVES or name in _SUMS):
        return mapped(lambda *ts: dispatch(op, tuple(filled(ts, zeros_like)), params))
    if name in _PRODUCTS:
        return [_of_product(op, primals, dict(zip(at, moving, strict=True)), known, dtype, params)]
    if not all(known):
        return _anything(moving, outs)
    # the derivative in random directions, at this point
    generator = Generator().manual_seed(0)
    plain = [_plain(p) for p in primals]
    scales = [
        rand(p._shape, dtype=p.dtype, generator=generator) + 0.5 if p.dtype.is_inexact else p
        for p in plain
    ]

    def pushed(*ts: Tensor) -> Any:
        tangents: list[Any] = [None] * len(plain)
        for i, t in zip(at, ts, strict=True):
            tangents[i] = t.to(plain[i].dtype) * scales[i]
        result = op.jvp(tangents, out, *plain, **params)  # type: ignore[misc]
        many = result if type(result) is tuple else (result,)
        return tuple([zeros_like(y) if t is None else t for y, t in zip(flat, many, strict=True)])

    with _Plainly():
        out = dispatch(op, tuple(plain), params)
        flat = out if type(out) is tuple else (out,)
    return mapped(pushed)


def _elementwise(moving: Sequence[Tensor], out: Tensor) -> Tensor:
    """Each element depends on what the elements of the operands at its place depend on."""
    shape, total = out._shape, None
    for d in moving:
        lead = (1,) * (len(shape) - (d.ndim - 1))
        d = d.reshape((d._shape[0], *lead, *d._shape[1:])).expand((d._shape[0], *shape))
        total = d if total is None else total | d
    assert total is not None
    return total


def _of_product(
    op: Op,
    primals: Sequence[Tensor],
    depends: dict[int, Tensor],
    known: Sequence[bool],
    dtype: Any,
    params: dict[str, Any],
) -> Tensor:
    """What a product depends on: factors that are known to be zero stop a dependence."""
    total = None
    for i, d in depends.items():
        operands = [
            _is_nonzero(p) if k not in depends and known[k] else ones_of(p)
            for k, p in enumerate(primals)
        ]

        def one(t: Tensor, i: int = i, operands: Any = operands) -> Tensor:
            return dispatch(op, (*operands[:i], t, *operands[i + 1 :]), params)

        with _Plainly():
            part = vmap(one)(d.to(dtype)) != 0
        total = part if total is None else total | part
    assert total is not None
    return total


def _plain(p: Tensor) -> Tensor:
    ground = _ground(p)
    assert ground is not None
    with _Plainly():
        return ground.plain.detach()


def _is_nonzero(p: Tensor) -> Tensor:
    with _Plainly():
        x = _plain(p)
        return (x != 0).to(x.dtype)


def _anything(moving: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Tensor | None]:
    """Every element depends on whatever an operand depends on."""
    some = None
    for d in moving:
        one = d.reshape((d._shape[0], -1)).any(1)
        some = one if some is None else some | one
    assert some is not None
    return [some.reshape((-1, *[1] * y.ndim)).expand((some._shape[0], *y._shape)) for y in outs]


class CSR(NamedTuple):
    """A sparse matrix by rows, in the layout of SciPy's csr_matrix((values, columns, rows))."""

    rows: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]

    def to_dense(self) -> Tensor:
        """The matrix with its zeros."""
        m, n = self.shape
        flat = zeros(m * n, dtype=self.values.dtype, device=self.values.device)
        return flat.index_add(0, self._row_of_each() * n + self.columns, self.values).reshape(
            (m, n)
        )

    def _row_of_each(self) -> Tensor:
        return searchsorted(self.rows[1:], arange(self.columns._shape[0]), right=True)

    def matvec(self, x: Tensor) -> Tensor:
        """The product with a vector [n]."""
        products = self.values * x[self.columns]
        out = zeros(self.shape[0], dtype=products.dtype, device=products.device)
        return out.index_add(0, self._row_of_each(), products)


def jacobian_sparsity(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Which entries of the Jacobian can be nonzero: bool [outputs, inputs].

    Of functions with data-dependent selections (max, sort) the pattern at this point.

    Example:
      >>> jacobian_sparsity(lambda x: x[1:] * x[:-1], ones(3))
      tensor([[ True,  True, False],
              [False,  True,  True]])
    """
    tensors_of("jacobian_sparsity", [x])
    n = x.numel()
    blocks = []
    for at in range(0, max(n, 1), _CHUNK):
        count = min(_CHUNK, n - at)
        with _Plainly():
            units = eye(n, dtype="bool")[at : at + count].reshape((count, *x._shape))
        with DependenceTrace() as trace:
            out = function(trace.leaf(x, units))
            settled(out)
            if not isinstance(out, Tensor):
                raise TypeError(
                    message(
                        "jacobian_sparsity", "a function that returns a tensor", type(out).__name__
                    )
                )
            primal, depends = trace.unpack(out)
        m = primal.numel()
        with _Plainly():
            if depends is None:
                depends = zeros(count, m, dtype="bool")
            blocks.append(depends.reshape((count, m)).t())
    with _Plainly():
        return blocks[0].contiguous() if len(blocks) == 1 else cat(blocks, 1)


def _colours(members: Sequence[Sequence[int]], count: int) -> list[int]:
    """A colour for each column such that no two columns with a common row have the same.

    Greedily, columns with many rows first.

    Args:
      members: the rows of each column.
      count: how many rows there are.
    """
    taken: list[set[int]] = [set() for _ in range(count)]
    colours = [0] * len(members)
    for column in sorted(range(len(members)), key=lambda c: -len(members[c])):
        forbidden: set[int] = set().union(*[taken[r] for r in members[column]])
        colour = 0
        while colour in forbidden:
            colour += 1
        colours[column] = colour
        for r in members[column]:
            taken[r].add(colour)
    return colours


def sparse_jacobian(
    function: Callable[..., Any], *, pattern: Tensor | None = None, mode: str | None = None
) -> Callable[..., CSR]:
    """A function that gives the Jacobian as a CSR matrix [outputs, inputs].

    Args:
      function: of a tensor (and other arguments), to a tensor.
      pattern: bool [outputs, inputs], from jacobian_sparsity; found at each call by default.
      mode: "forward" or "reverse"; by default the one that takes fewer passes.
    Raises:
      ShapeError: a pattern of another shape.
    Reference: Gebremedhin, Manne & Pothen 2005, What Color Is Your Jacobian?
    Example:
      >>> sparse_jacobian(lambda x: x * x)(tensor([1.0, 2.0])).values
      tensor([2., 4.])
    """
    if mode not in (None, "forward", "reverse"):
        raise ValueError(message("sparse_jacobian", 'mode "forward" or "reverse"', repr(mode)))

    @wraps(function)
    def wrapped(x: Tensor, *rest: Any, **kwargs: Any) -> CSR:
        def of_first(x: Tensor) -> Tensor:
            return function(x, *rest, **kwargs)

        return _compressed(of_first, x, pattern, mode)

    return wrapped


def _compressed(
    function: Callable[[Tensor], Tensor], x: Tensor, pattern: Tensor | None, mode: str | None
) -> CSR:
    pattern = jacobian_sparsity(function, x) if pattern is None else pattern
    n = x.numel()
    if pattern.ndim != 2 or pattern._shape[1] != n:
        raise ShapeError(
            message("sparse_jacobian", f"a pattern of shape [outputs, {n}]", list(pattern._shape))
        )
    m = pattern._shape[0]
    with _Plainly():
        places = pattern.nonzero()
        i, j = places[:, 0], places[:, 1]
        by_column: list[list[int]] = [[] for _ in range(n)]
        by_row: list[list[int]] = [[] for _ in range(m)]
        for r, c in places.tolist():
            by_column[c].append(r)
            by_row[r].append(c)
        starts = [0]
        for row in by_row:
            starts.append(starts[-1] + len(row))
    forward = _colours(by_column, m) if mode != "reverse" else None
    reverse = _colours(by_row, n) if mode != "forward" else None
    if forward is not None and (
        reverse is None or max(forward, default=0) <= max(reverse, default=0)
    ):
        colours = forward
        y, push = linearize(function, x)
        shape, size, run = x._shape, n, push
        of_entry = (j, i)
    else:
        assert reverse is not None
        colours = reverse
        y, pull = vjp(function, x)
        run = lambda ct: pull(ct)[0]  # noqa: E731
        shape, size = y._shape, m
        of_entry = (i, j)
    if Size(y._shape).numel() != m:
        raise ShapeError(
            message("sparse_jacobian", f"a pattern of {y.numel()} rows, one an output", m)
        )
    passes = max(colours, default=0) + 1
    with _Plainly():
        number = tensor(colours, dtype="int64")
        seeds = zeros(passes, size, dtype=y.dtype, device=x.device)
        if size:
            ones = zeros(1, size, dtype=y.dtype, device=x.device) + 1
            seeds = seeds.scatter(0, number.unsqueeze(0), ones)
        seeds = seeds.reshape((passes, *shape))
    rows = vmap(run)(seeds).reshape((passes, -1))
    values = rows[number[of_entry[0]], of_entry[1]]
    return CSR(tensor(starts, dtype="int64"), j, values, (m, n))


def sparse_hessian(
    function: Callable[..., Any], *, pattern: Tensor | None = None
) -> Callable[..., CSR]:
    """A function that gives the Hessian of a scalar function as a CSR matrix [n, n].

    Args:
      pattern: bool [n, n]; found at each call by default.
    Example:
      >>> sparse_hessian(lambda x: (x[1:] * x[:-1]).sum())(ones(3)).to_dense()
      tensor([[0., 1., 0.],
              [1., 0., 1.],
              [0., 1., 0.]])
    """

    @wraps(function)
    def wrapped(x: Tensor, *rest: Any, **kwargs: Any) -> CSR:
        def gradient(x: Tensor) -> Tensor:
            return grad(lambda x: function(x, *rest, **kwargs))(x).reshape((-1,))

        return _compressed(gradient, x, pattern, "forward")

    return wrapped


__all__ = ["CSR", "jacobian_sparsity", "sparse_hessian", "sparse_jacobian"]
