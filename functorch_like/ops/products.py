"""Products of several dimensions: einsum, tensordot, kron, cross and statistics made of them.

einsum contracts two operands at a time by one batched matmul each. With more than two, the order
comes from opt_einsum where that is installed, else the smallest intermediate result comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

from cbackend import lib

from ..amp import wide
from ..errors import DimError, DTypeError, ShapeError, message
from ..op import Op, Spec, wrap
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from .binary import maximum
from .family import align, operand, result_type, sum_to
from .join import stack
from .matmul import matmul
from .reduce import norm

__all__ = [
    "corrcoef",
    "cov",
    "cross",
    "dist",
    "einsum",
    "inner",
    "kron",
    "tensordot",
    "trace",
    "vecdot",
]

# ---- einsum: labels are integers; ellipsis dims are negative, the last one -1 ----
_Labels = tuple[int, ...]


def _wrong(expected: str, got: object) -> ValueError:
    return ValueError(message("einsum", expected, got))


def _term(text: str, ndim: int | None) -> _Labels:
    """The labels of one operand, or (ndim None) of the result with ... as 0."""
    before, dots, after = text.replace(" ", "").partition("...")
    for c in before + after:
        if not (c.isascii() and c.isalpha()):
            raise _wrong("letters, commas, -> and one ... a term", repr(c))
    head, tail = [tuple(map(ord, part)) for part in (before, after)]
    if ndim is None:
        return (*head, *((0,) if dots else ()), *tail)
    rest = ndim - len(head) - len(tail)
    if rest < 0 or (rest and not dots):
        raise ShapeError(message("einsum", f"as many dimensions as in {text.strip()!r}", ndim))
    return (*head, *range(-rest, 0), *tail)


def _parsed(equation: str, ndims: Sequence[int]) -> tuple[list[_Labels], _Labels]:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise _wrong(f"{len(terms)} operands for {equation!r}", len(ndims))
    labels = [_term(term, ndim) for term, ndim in zip(terms, ndims, strict=True)]
    used = [label for term in labels for label in term]
    dots = tuple(range(min([0, *used]), 0))
    if arrow:
        out: list[int] = []
        for label in _term(right, None):
            out += dots if label == 0 else (label,)
        if len(set(out)) < len(out) or not set(out) <= set(used):
            raise _wrong("every label of the result once, and in an operand", repr(right.strip()))
        return labels, tuple(out)
    return labels, (*dots, *sorted(c for c in set(used) if c > 0 and used.count(c) == 1))


# What is done to a tensor: names of methods and their arguments.
_Steps = tuple[tuple[Any, ...], ...]


def _done(x: Tensor, steps: _Steps) -> Tensor:
    for name, *arguments in steps:
        x = getattr(x, name)(*arguments)
    return x


def _plain(shape: Sequence[int], labels: _Labels, sizes: dict[int, int]) -> tuple[_Steps, _Labels]:
    """Has each label once, and none that the operand is only broadcast along."""
    steps: list[tuple[Any, ...]] = []
    shape = list(shape)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            steps.append(("diagonal", 0, a, b))  # its dim comes last
            size = min(shape[a], shape[b])
            shape = [*[n for i, n in enumerate(shape) if i not in (a, b)], size]
            labels = (*[k for i, k in enumerate(labels) if i not in (a, b)], label)
    for d in reversed(range(len(labels))):
        if shape[d] == 1 and sizes[labels[d]] != 1:
            steps.append(("squeeze", d))
            labels = (*labels[:d], *labels[d + 1 :])
    return tuple(steps), labels


def _summed(labels: _Labels, keep: set[int]) -> tuple[_Steps, _Labels]:
    gone = tuple(d for d, label in enumerate(labels) if label not in keep)
    steps = (("sum", gone),) if gone else ()
    return steps, tuple(label for label in labels if label in keep)


def _arranged(labels: _Labels, order: Sequence[int]) -> _Steps:
    dims = [labels.index(label) for label in order]
    return () if dims == list(range(len(dims))) else (("permute", dims),)


def _product(labels: Iterable[int], sizes: dict[int, int]) -> int:
    return prod([sizes[label] for label in labels])


def _pair(
    a: _Labels, b: _Labels, keep: set[int], sizes: dict[int, int]
) -> tuple[_Labels, tuple[_Steps, _Steps, bool, _Steps]]:
    """Two operands contracted over the labels that nobody else wants: the result's labels; what is
    done to either, is it a matmul, what is done to the result."""
    x, left = _summed(a, keep | set(b))
    y, right = _summed(b, keep | set(left))
    both = [label for label in left if label in right]
    batch = [label for label in both if label in keep]
    inner_ = [label for label in both if label not in keep]
    rows = [label for label in left if label not in both]
    columns = [label for label in right if label not in both]
    out = (*batch, *rows, *columns)

    def shaped(before: list[list[int]], after: list[list[int]]) -> _Steps:
        """A reshape of dims that are products of these labels to dims of those, if it is one."""
        old, new = [[_product(group, sizes) for group in groups] for groups in (before, after)]
        return () if old == new else (("reshape", new),)

    def single(labels: Iterable[int]) -> list[list[int]]:
        return [[label] for label in labels]

    lead = single(batch)
    x += _arranged(left, [*batch, *rows, *inner_])
    y += _arranged(right, [*batch, *inner_, *columns])
    old_x, old_y = single([*batch, *rows, *inner_]), single([*batch, *inner_, *columns])
    if inner_:
        x += shaped(old_x, [*lead, rows, inner_])
        y += shaped(old_y, [*lead, inner_, columns])
        return out, (x, y, True, shaped([*lead, rows, columns], single(out)))
    x += shaped(old_x, [*single([*batch, *rows]), *[[] for _ in columns]])
    y += shaped(old_y, [*lead, *[[] for _ in rows], *single(columns)])
    return out, (x, y, False, ())


def _next_pair(terms: Sequence[_Labels], out: set[int], sizes: dict[int, int]) -> tuple[int, int]:
    """The two operands whose product is smallest next to themselves."""

    def cost(i: int, j: int) -> tuple[int, int]:
        wanted = out.union(*[set(t) for k, t in enumerate(terms) if k not in (i, j)])
        both = set(terms[i]) | set(terms[j])
        return size(both & wanted) - size(terms[i]) - size(terms[j]), size(both)

    def size(labels: Iterable[int]) -> int:
        return _product(labels, sizes)

    n = len(terms)
    return min(((i, j) for i in range(n) for j in range(i + 1, n)), key=lambda pair: cost(*pair))


def _path(terms: Sequence[_Labels], out: _Labels, sizes: dict[int, int]) -> Any:
    """opt_einsum's order of contraction, or None where it is not installed."""
    if len(terms) <= 2:
        return None
    try:
        from opt_einsum.paths import auto  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return auto([frozenset(t) for t in terms], frozenset(out), sizes)


@lru_cache(maxsize=512)
def _plan(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, Any, _Steps]:
    """What is done to each operand; to each pair (the results count on from the operands); and to
    the last result."""
    labels, out = _parsed(equation, [len(shape) for shape in shapes])
    sizes: dict[int, int] = {}
    for shape, term in zip(shapes, labels, strict=True):
        for label, n in zip(term, shape, strict=True):
            known = sizes.get(label, 1)
            if n != 1 and known not in (1, n):
                name = chr(label) if label > 0 else "..."
                raise ShapeError(message("einsum", f"one size for {name!r}", f"{known} and {n}"))
            sizes[label] = known if n == 1 else n
    plain = [_plain(shape, term, sizes) for shape, term in zip(shapes, labels, strict=True)]
    terms = [(i, term) for i, (_, term) in enumerate(plain)]
    wanted = set(out)
    path = _path([t[1] for t in terms], out, sizes)
    pairs: list[Any] = []
    while len(terms) > 1:
        picked = tuple(path.pop(0)) if path else _next_pair([t[1] for t in terms], wanted, sizes)
        chosen = [terms.pop(i) for i in sorted(picked, reverse=True)][::-1]
        i, term = chosen[0]
        for k, (j, other) in enumerate(chosen[1:], 2):
            later = [t[1] for t in (*chosen[k:], *terms)]
            term, pair = _pair(term, other, wanted.union(*map(set, later)), sizes)
            pairs.append((i, j, *pair))
            i = len(plain) + len(pairs) - 1
        terms.append((i, term))
    last, term = _summed(terms[0][1], wanted)
    missing = [label for label in out if label not in term]  # of size 1 everywhere but broadcast
    if missing:
        kept = [sizes[label] for label in term]
        last += (
            ("reshape", [*kept, *[1] * len(missing)]),
            ("expand", [*kept, *[sizes[label] for label in missing]]),
        )
        term = (*term, *missing)
    return [steps for steps, _ in plain], pairs, last + _arranged(term, out)


def _from_sublists(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    """The equation and operands of einsum(x, [0, 1], y, [1, 2], [0, 2])."""
    operands, lists = list(arguments[0::2]), list(arguments[1::2])
    out = operands.pop() if len(arguments) % 2 else None

    def term(labels: Sequence[Any]) -> str:
        for label in labels:
            if label is not Ellipsis and not (isinstance(label, int) and 0 <= label < 52):
                raise _wrong("labels from 0 to 51, or ... , in sublists", repr(label))
        return "".join("..." if n is Ellipsis else chr(n + (65 if n < 26 else 71)) for n in labels)

    equation = ",".join(map(term, lists))
    return equation if out is None else f"{equation}->{term(out)}", operands


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products by Einstein's convention.

    Labels that the result lacks are summed over.

    Args:
      equation: "ij,jk->ik"; without -> the labels that occur once, in alphabetical order; `...`
        stands for dimensions that broadcast; a label twice in one term takes the diagonal. Or
        operands and lists of numbers in turns: `einsum(x, [0, 1], y, [1, 2], [0, 2])`.
      operands: tensors, or one sequence of them.
    Raises:
      ValueError: the equation is malformed. ShapeError: sizes differ.
    Notes: with opt_einsum installed, three operands and more are contracted in its order.
    Example:
      >>> einsum("ij,ij->i", tensor([[1, 2], [3, 4]]), tensor([[1, 1], [1, 1]]))
      tensor([3, 7])
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))  # type: ignore[assignment]
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    xs = [operand("einsum", x) for x in operands]
    if not xs:
        raise _wrong("at least one operand", "none")
    prepared, pairs, last = _plan(equation, tuple([tuple(x._shape) for x in xs]))
    values = [_done(x, steps) for x, steps in zip(xs, prepared, strict=True)]
    for i, j, left, right, contracts, after in pairs:
        x, y = _done(values[i], left), _done(values[j], right)
        if contracts and x.dtype is not y.dtype:  # sums of small integers are int64
            dtype = result_type(x, y)
            x, y = x.to(dtype), y.to(dtype)
        values.append(_done(matmul(x, y) if contracts else x * y, after))
    return _done(values[-1], last)


# ---- products ----


def tensordot(x: Tensor, y: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over dims of both.

    Args:
      dims: how many: the last ones of x and the first ones of y; or two lists of dims.
    Example:
      >>> tensordot(tensor([1, 2]), tensor([3, 4]), 1)
      tensor(11)
    """
    if isinstance(dims, int):
        if dims < 0 or dims > min(x.ndim, y.ndim):
            wanted = f"dims in [0, {min(x.ndim, y.ndim)}]"
            raise ValueError(message("tensordot", wanted, dims))
        dims = (range(x.ndim - dims, x.ndim), range(dims))
    elif isinstance(dims, Tensor):
        dims = dims.tolist()
    one, two = ([d] if isinstance(d, int) else list(d) for d in dims)
    one = [wrap_dim("tensordot", d, x.ndim) for d in one]
    two = [wrap_dim("tensordot", d, y.ndim) for d in two]
    sizes = [x._shape[d] for d in one]
    if len(one) != len(two) or sizes != [y._shape[d] for d in two]:
        got = f"{sizes} and {[y._shape[d] for d in two]}"
        raise ShapeError(message("tensordot", "dims of the same sizes", got))
    rows = [d for d in range(x.ndim) if d not in one]
    columns = [d for d in range(y.ndim) if d not in two]
    shape = [*[x._shape[d] for d in rows], *[y._shape[d] for d in columns]]
    n = 1
    for size in sizes:
        n *= size
    m = 1
    for d in rows:
        m *= x._shape[d]
    k = 1
    for d in columns:
        k *= y._shape[d]
    if not shape:  # a product of vectors has gradients that are not products of matrices
        return matmul(x.permute(one).reshape((n,)), y.permute(two).reshape((n,)))
    left = x.permute([*rows, *one]).reshape((m, n))
    right = y.permute([*two, *columns]).reshape((n, k))
    return matmul(left, right).reshape(shape)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """The sums of products over the last dimensions of both."""
    if not x.ndim or not y.ndim:
        return x * y
    return tensordot(x, y, ([-1], [-1]))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of conj(x) * y along a dim, with broadcasting.

    Example:
      >>> vecdot(tensor([[1, 2], [3, 4]]), tensor([1, 1]))
      tensor([3, 7])
    """
    product = (x.conj() if x.dtype.is_complex else x) * y
    return product.sum(wrap_dim("vecdot", dim, product.ndim), dtype=product.dtype)


def kron(x: Tensor, y: Tensor) -> Tensor:
    """The Kronecker product: y times every element of x, as blocks.

    Example:
      >>> kron(tensor([1, 2]), tensor([1, 10]))
      tensor([ 1, 10,  2, 20])
    """
    n = max(x.ndim, y.ndim)
    a = [1] * (n - x.ndim) + list(x._shape)
    b = [1] * (n - y.ndim) + list(y._shape)
    blocks = x.reshape([s for size in a for s in (size, 1)])
    product = blocks * y.reshape([s for size in b for s in (1, size)])
    return product.reshape([p * q for p, q in zip(a, b, strict=True)])


def cross(x: Tensor, y: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of size 3 along a dim; None is the first one of size 3.

    Example:
      >>> cross(tensor([1, 0, 0]), tensor([0, 1, 0]))
      tensor([0, 0, 1])
    """
    if dim is None:
        places = [d for d, n in enumerate(x._shape) if n == 3]
        if not places:
            raise DimError(message("cross", "a dimension of size 3", f"shape {list(x._shape)}"))
        dim = places[0] - x.ndim if x.ndim == y.ndim else -1
    rank = max(x.ndim, y.ndim)
    d = wrap_dim("cross", dim, rank) - rank
    if x._shape[d] != 3 or y._shape[d] != 3:
        got = f"{x._shape[d]} and {y._shape[d]}"
        raise ShapeError(message("cross", "size 3 along the dim", got))
    return _cross(x, y, dim=d)


def _cross_impl(x: Tensor, y: Tensor, *, dim: int) -> Any:
    x, y = (wrap(lib.cb_retain(t._v)) for t in (x, y))
    (a, b, c), (u, v, w) = x.unbind(dim), y.unbind(dim)
    out = stack([b * w - c * v, c * u - a * w, a * v - b * u], dim)
    return lib.cb_retain(out._v)


def _cross_vjp(
    ct: Tensor, _out: Any, x: Tensor, y: Tensor, *, dim: int, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    return (
        sum_to(_cross(y.conj(), ct, dim=dim), Spec(x)) if needs[0] else None,
        sum_to(_cross(ct, x.conj(), dim=dim), Spec(y)) if needs[1] else None,
    )


def _cross_jvp(tangents: Any, out: Tensor, x: Tensor, y: Tensor, *, dim: int) -> Tensor:
    dx, dy = tangents
    terms = [_cross(dx, y, dim=dim)] if dx is not None else []
    terms += [_cross(x, dy, dim=dim)] if dy is not None else []
    return (terms[0] if len(terms) == 1 else terms[0] + terms[1]).to(out.dtype)


_cross = Op(
    "cross",
    _cross_impl,
    vjp=_cross_vjp,
    jvp=_cross_jvp,
    batch=lambda _size, batched, x, y, *, dim: _cross(*align(batched, (x, y)), dim=dim),
    family="products",
)
sampled(
    _cross,
    lambda make: [
        call(make(4, 3), make(4, 3), dim=-1),
        call(make(3, 5), make(3, 1), dim=-2),
        call(make(3), make(2, 3), dim=-1),
        call(make(0, 3), make(0, 3), dim=-1),
    ],
    kinds="int float complex",
    oracle=lambda np, x, y, *, dim: np.cross(x, y, axisa=dim, axisb=dim, axisc=dim),
)


@wide
def trace(x: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if x.ndim != 2:
        raise ShapeError(message("trace", "a matrix", f"shape {list(x._shape)}"))
    return x.diagonal().sum()


def dist(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of x - y; its gradient where they are equal is 0."""
    return norm(x - y, p)


# ---- covariance ----


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance of variables (rows) over observations (columns).

    Args:
      correction: the divisor is the number of observations less this.
      fweights, aweights [observations]: how often each counts, and how much.
    Example:
      >>> cov(tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
      tensor([[ 1., -1.],
              [-1.,  1.]])
    """
    if input.ndim > 2:
        raise ShapeError(message("cov", "at most 2 dimensions", f"shape {list(input._shape)}"))
    rows = input.reshape((1, input.numel())) if input.ndim < 2 else input
    rows = rows if rows.dtype.is_inexact else rows.float()
    if fweights is not None and fweights.dtype.is_inexact:
        raise DTypeError(message("cov", "integers for fweights", fweights.dtype))
    weights = None
    for w in (fweights, aweights):
        if w is not None:
            if w._shape != rows._shape[1:]:
                wanted = f"weights of shape {list(rows._shape[1:])}"
                raise ShapeError(message("cov", wanted, list(w._shape)))
            weights = w if weights is None else weights * w
    if weights is None:
        total: Any = rows._shape[1]
        mean = rows.mean(1, keepdim=True)
        divisor = max(total - correction, 0)
    else:
        weights = weights.to(result_type(weights, rows.real if rows.dtype.is_complex else rows))
        total = weights.sum()
        mean = (rows * weights).sum(1, keepdim=True) / total
        lost: Any = correction
        if aweights is not None and correction:
            lost = correction * (weights * aweights).sum() / total
        divisor = maximum(total - lost, 0.0)
    centred = rows - mean
    weighted = centred if weights is None else centred * weights
    other = centred.conj() if centred.dtype.is_complex else centred
    out = matmul(weighted, other.t()) / divisor
    return out.reshape(()) if out.numel() == 1 else out


def corrcoef(input: Tensor) -> Tensor:
    """The correlation of variables (rows) over observations (columns)."""
    c = cov(input)
    if not c.ndim:
        return c / c
    scale = c.diagonal()
    scale = (scale.real if scale.dtype.is_complex else scale).sqrt()
    out = c / scale.unsqueeze(1) / scale
    return out if out.dtype.is_complex else out.clamp(-1, 1)


for _f in (tensordot, inner, kron, cross, trace, dist, cov, corrcoef):
    setattr(Tensor, _f.__name__, _f)
