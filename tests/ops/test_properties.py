"""Random shapes, indices and chains of views against NumPy."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import functorch_like as ft
from functorch_like.testing import assert_close

settings.register_profile(
    "fast",
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fast")

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbered(shape, dtype="float64"):
    """Different numbers in every place."""
    n = int(numpy.prod(shape))
    return ((numpy.arange(n) * 7919) % 1000 / 100 - 5).astype(dtype).reshape(shape)


def same(ours, theirs):
    assert_close(ours, numpy.asarray(theirs), 1e-12, 1e-12, equal_nan=True)


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4), st.data()
)
def test_binary_ops_broadcast_as_numpy(shapes, data):
    x, y = (numbered(s) for s in shapes.input_shapes)
    if x.ndim and data.draw(st.booleans()):
        x = x[..., ::-1]
    if y.ndim > 1 and data.draw(st.booleans()):
        y = y.swapaxes(0, 1).copy().swapaxes(0, 1)
    a, b = ft.from_numpy(x), ft.from_numpy(y)
    same(a + b, x + y)
    same(a * b - a, x * y - x)
    same(a < b, x < y)
    same(ft.maximum(a, b), numpy.maximum(x, y))
    same(ft.where(a < b, a, b), numpy.where(x < y, x, y))
    x1, y1 = numpy.broadcast_arrays(x, y)
    g = ft.grad(lambda p, q: (p * q * 2).sum(), (0, 1))(a, b)
    same(g[0], _summed_to(2 * y1, x.shape))
    same(g[1], _summed_to(2 * x1, y.shape))


def _summed_to(full, shape):
    full = full.sum(tuple(range(full.ndim - len(shape))))
    return full.sum(
        tuple(d for d, n in enumerate(shape) if n == 1 and full.shape[d] != 1), keepdims=True
    )


@given(st.lists(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), min_size=2, max_size=2))
def test_shapes_that_do_not_broadcast_are_refused(shapes):
    try:
        numpy.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ft.ShapeError, match=r"^add: expected shapes that broadcast, got"):
            ft.zeros(shapes[0]) + ft.zeros(shapes[1])


@given(SHAPES, st.data())
def test_reductions_over_any_dims(shape, data):
    x = numbered(shape)
    dims = tuple(data.draw(st.sets(st.integers(0, max(len(shape) - 1, 0)), max_size=len(shape))))
    signed = tuple(d - len(shape) if data.draw(st.booleans()) else d for d in dims)
    keep = data.draw(st.booleans())
    axis = dims or None
    a = ft.from_numpy(x)
    a = (
        a.transpose(0, -1).contiguous().transpose(0, -1)
        if x.ndim > 1 and data.draw(st.booleans())
        else a
    )
    same(a.sum(signed or None, keep), x.sum(axis, keepdims=keep))
    same(a.prod(signed or None, keepdim=keep), x.prod(axis, keepdims=keep))
    same((a > 0).any(axis=signed or None, keepdims=keep), (x > 0).any(axis, keepdims=keep))
    same((a > 0).all(signed or None, keep), (x > 0).all(axis, keepdims=keep))
    reduced = [shape[d] for d in (dims or range(len(shape)))]
    if 0 not in reduced:
        same(a.amax(signed or None, keep), x.max(axis, keepdims=keep))
        same(a.mean(signed or None, keep), x.mean(axis, keepdims=keep))
        same(a.var(signed or None, keepdim=keep, correction=0), x.var(axis, keepdims=keep))
        if len(dims) == 1:
            same(a.argmin(signed[0], keep), x.argmin(dims[0], keepdims=keep))
            values, places = a.max(signed[0], keep)
            same(values, x.max(dims[0], keepdims=keep))
            same(places, x.argmax(dims[0], keepdims=keep))
    if len(dims) == 1:
        same(a.cumsum(signed[0]), x.cumsum(dims[0]))
        same(a.flip(signed[0]), numpy.flip(x, dims[0]))
        same(a.argmax() if x.size else ft.tensor(0), x.argmax() if x.size else numpy.asarray(0))


# ---- indexing ----


@st.composite
def indices(draw, shape, advanced):
    """An index that fits the shape, without ints beside arrays: NumPy counts them as arrays."""
    kinds = ["full", "slice"] + (["array", "mask"] if advanced else ["int"])
    items, dim = [], 0
    used = draw(st.integers(0, len(shape)))
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    ellipsis = draw(st.integers(-1, used))
    while dim < used:
        if dim == ellipsis and used == len(shape):
            items.append(Ellipsis)
        if draw(st.integers(0, 5)) == 0:
            items.append(None)
        n = shape[dim]
        kind = draw(st.sampled_from(kinds))
        if kind == "int" and n:
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            items.append(draw(st.slices(n).filter(lambda s: abs(s.step or 1) < 1 << 62)))
        elif kind == "array" and n:
            lead = draw(st.integers(0, len(common)))
            items.append(draw(hnp.arrays("int64", common[lead:], elements=st.integers(-n, n - 1))))
        elif kind == "mask" and not any(isinstance(i, numpy.ndarray) for i in items):
            mask = draw(hnp.arrays("bool", (n,)))
            common = (int(mask.sum()),)
            items.append(mask)
        else:
            items.append(slice(None))
        dim += 1
    return tuple(items)


def ours(index):
    return tuple(ft.tensor(i) if isinstance(i, numpy.ndarray) else i for i in index)


@pytest.mark.parametrize("advanced", [False, True], ids=["basic", "advanced"])
@given(shape=SHAPES, data=st.data())
@settings(max_examples=120)
def test_indexing_and_assignment(shape, data, advanced):
    x = numbered(shape)
    index = data.draw(indices(shape, advanced))
    try:
        expected = x[index]
    except IndexError:
        assume(False)
    a = ft.from_numpy(x.copy())
    got = a[ours(index)]
    same(got, expected)
    # assignment: a broadcast value; repeated places keep one of the values, so write one number
    y = x.copy()
    y[index] = 99.0
    b = a.clone()
    b[ours(index)] = 99.0
    same(b, y)
    if not any(isinstance(i, numpy.ndarray) for i in index) and expected.size:
        value = numbered(expected.shape) + 100
        y = x.copy()
        y[index] = value[..., :1] if value.ndim else value
        b = a.clone()
        b[ours(index)] = ft.tensor(value)[..., :1] if value.ndim else ft.tensor(value)
        same(b, y)
    # the gradient counts how often each place was read
    counts = numpy.zeros(shape)
    numpy.add.at(counts, index, 1.0)
    same(ft.grad(lambda t: t[ours(index)].sum())(a), counts)
    # and the same under a transform: lanes of vmap
    if not any(isinstance(i, numpy.ndarray) and i.dtype == bool for i in index):
        same(
            ft.vmap(lambda t: t[ours(index)])(ft.stack([a, a + 1])),
            numpy.stack([expected, expected + 1]),
        )

    def written(t):
        t = t * 1
        t[ours(index)] = t.sum() * 0 + 99.0
        return t

    y = x.copy()
    y[index] = 99.0
    same(ft.jvp(written, (a,), (a,))[0], y)
    same(ft.vmap(written)(ft.stack([a, a])), numpy.stack([y, y]))


# ---- chains of views ----


@st.composite
def steps(draw, shape):
    """One view operation that fits the shape: (on our tensor, on an array)."""
    n = len(shape)
    kind = draw(
        st.sampled_from(
            [
                "permute",
                "slice",
                "unsqueeze",
                "reshape",
                "diagonal",
                "select",
                "squeeze",
                "transpose",
            ]
        )
    )
    if kind == "permute":
        order = tuple(draw(st.permutations(range(n))))
        return lambda t: t.permute(order), lambda x: x.transpose(order)
    if kind == "transpose" and n:
        a, b = draw(st.integers(-n, n - 1)), draw(st.integers(-n, n - 1))
        return lambda t: t.transpose(a, b), lambda x: x.swapaxes(a, b)
    if kind == "slice" and n:
        d = draw(st.integers(0, n - 1))
        index = (slice(None),) * d + (
            draw(st.slices(shape[d]).filter(lambda s: s.step is None or s.step > 0)),
        )
        return lambda t: t[index], lambda x: x[index]
    if kind == "select" and n and 0 not in shape:
        d = draw(st.integers(0, n - 1))
        i = draw(st.integers(0, shape[d] - 1))
        return lambda t: t.select(d, i), lambda x: x[(slice(None),) * d + (i, ...)]
    if kind == "diagonal" and n >= 2:
        k = draw(st.integers(-1, 1))
        return lambda t: t.diagonal(k), lambda x: _array_diagonal(x, k)
    if kind == "reshape" and n and 0 not in shape:
        size = int(numpy.prod(shape))
        rows = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        return lambda t: t.view(rows, -1), lambda x: _array_view(x, (rows, size // rows))
    if kind == "squeeze":
        return lambda t: t.squeeze(), lambda x: x.squeeze()
    d = draw(st.integers(0, n))
    return lambda t: t.unsqueeze(d), lambda x: numpy.expand_dims(x, d)


def _array_diagonal(x, k):
    """numpy.diagonal, but writable."""
    y = x[max(-k, 0) :, max(k, 0) :]
    n = min(y.shape[:2])
    strides = (*y.strides[2:], y.strides[0] + y.strides[1])
    return numpy.lib.stride_tricks.as_strided(y, (*y.shape[2:], n), strides)


def _array_view(x, shape):
    """A reshape that is a view, or no step at all."""
    y = x.view()
    try:
        y.shape = shape
    except AttributeError:
        return None
    return y


@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.data())
@settings(max_examples=100)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_writes_through_chains_of_views(shape, data):
    """A write through a view of a view changes the base: in memory, on the tape, in transforms."""
    base = numbered(shape)
    x = base.copy()
    views, chain = [x], []
    for _ in range(data.draw(st.integers(1, 4))):
        mine, theirs = data.draw(steps(views[-1].shape))
        y = theirs(views[-1])
        if y is None:
            continue
        views.append(y)
        chain.append(mine)

    def viewed(t):
        for step in chain:
            t = step(t)
        return t

    same(viewed(ft.from_numpy(base)), views[-1])
    if views[-1].size:
        views[-1][...] = views[-1] * 3 + 1

    def written(t):
        t = t * 1
        v = viewed(t)
        v.mul_(3).add_(1)
        return t

    a = ft.from_numpy(base)
    same(written(a), x)
    weights = ft.from_numpy(base)
    leaf = a.clone().requires_grad_()
    recorded = written(leaf)
    same(recorded.detach(), x)
    mask = numpy.zeros(shape)
    touched = viewed(ft.from_numpy(mask))
    touched.fill_(1.0)
    expected = base * (1 + 2 * mask)
    (recorded * weights).sum().backward()
    same(leaf.grad, expected)
    same(ft.grad(lambda t: (written(t) * weights).sum())(a), expected)
    same(ft.jvp(written, (a,), (a,))[1], expected)
    same(ft.vmap(written)(ft.stack([a, a])), numpy.stack([x, x]))


@given(SHAPES, st.data())
def test_reshape_and_permute(shape, data):
    x = numbered(shape)
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    y = x.transpose(order)
    t = ft.from_numpy(x).permute(order)
    same(t, y)
    same(t.contiguous(), y)
    same(t.flatten(), y.ravel())
    if x.size:
        size = x.size
        rows = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        same(t.reshape(rows, -1), y.reshape(rows, -1))
        same(
            ft.vmap(lambda u: u.reshape(-1, rows))(ft.stack([t, t])),
            numpy.stack([y.reshape(-1, rows)] * 2),
        )
    assert t.tolist() == y.tolist()
    assert t.numpy().strides == y.strides or x.size == 0 or 1 in shape


@given(st.lists(SHAPES.filter(bool), min_size=1, max_size=3), st.integers(0, 3))
def test_joining_and_splitting(shapes, dim):
    shape = shapes[0]
    dim %= len(shape)
    sizes = [s[0] for s in shapes]
    arrays = [numbered((*shape[:dim], n, *shape[dim + 1 :])) for n in sizes]
    joined = ft.cat([ft.from_numpy(a) for a in arrays], dim)
    same(joined, numpy.concatenate(arrays, dim))
    for piece, array in zip(joined.split(sizes, dim), arrays, strict=True):
        same(piece, array)
    same(ft.stack([ft.from_numpy(arrays[0])] * 2, dim), numpy.stack([arrays[0]] * 2, dim))
