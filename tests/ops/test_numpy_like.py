"""The functions that come from NumPy: values, derivatives, vmap, bad input."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close, check_grads


def random(*shape, kind="float64", seed=0):
    generator = numpy.random.default_rng(seed + sum(shape))
    x = generator.standard_normal(shape) * 3
    if kind.startswith("complex"):
        x = x + 1j * generator.standard_normal(shape)
    return x.astype(kind)


def same(got, expected, rtol=1e-12, atol=1e-12):
    numpy.testing.assert_allclose(got.numpy(), expected, rtol=rtol, atol=atol)
    assert got.shape == expected.shape


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("kind", ["float64", "complex128", "int64", "float32"])
def test_convolutions_are_numpys(name, mode, kind):
    ours, theirs = getattr(ft, name), getattr(numpy, name)
    tolerance = 1e-5 if kind == "float32" else 1e-12
    for n, m in ((1, 1), (7, 3), (7, 4), (3, 7), (4, 7), (5, 5), (6, 6), (1, 4)):
        a, v = random(n, kind=kind), random(m, kind=kind, seed=1)
        same(ours(ft.tensor(a), ft.tensor(v), mode), theirs(a, v, mode), tolerance, tolerance)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_derivatives_of_convolutions(name, mode):
    def function(a, v):
        return getattr(ft, name)(a, v, mode)

    for kind in ("float64", "complex128"):
        a, v = ft.tensor(random(6, kind=kind)), ft.tensor(random(3, kind=kind))
        check_grads(function, (a, v), order=2)
    a, v = ft.tensor(random(4, 6)), ft.tensor(random(4, 3))
    loop = ft.stack([function(x, y) for x, y in zip(a, v, strict=True)])
    assert_close(ft.vmap(function)(a, v), loop, 1e-12, 1e-12)


def test_interp_is_numpys():
    xp, fp = numpy.sort(random(6)), random(6, seed=1)
    x = numpy.concatenate([random(3, 4).ravel(), xp, [numpy.nan, -100.0, 100.0]])
    for options in ({}, {"left": -1.0}, {"left": 1.0, "right": 2.0}, {"period": 2.5}):
        got = ft.interp(ft.tensor(x), ft.tensor(xp), ft.tensor(fp), **options)
        same(got, numpy.interp(x, xp, fp, **options))
    shaped = x[:12].reshape(3, 4)
    z = random(6, kind="complex128")
    same(ft.interp(ft.tensor(shaped), ft.tensor(xp), ft.tensor(z)), numpy.interp(shaped, xp, z))
    same(ft.interp(ft.tensor(x[:4]), ft.tensor(xp[:1]), ft.tensor(fp[:1])), numpy.full(4, fp[0]))
    unsorted = random(6, seed=3)
    got = ft.interp(ft.tensor(x), ft.tensor(unsorted), ft.tensor(fp), period=3.0)
    same(got, numpy.interp(x, unsorted, fp, period=3.0))


def test_interp_has_derivatives():
    xp, fp = ft.tensor(numpy.sort(random(6))), ft.tensor(random(6, seed=1))
    x = ft.tensor(numpy.array([-50.0, -0.3, 0.4, 1.1, 50.0]))
    check_grads(ft.interp, (x, xp, fp), order=2)
    slope = ft.grad(lambda x: ft.interp(x, xp, fp).sum())(x)
    assert slope[0].item() == 0 and slope[-1].item() == 0
    xs, fps = ft.tensor(random(3, 5)), ft.tensor(random(3, 6))
    loop = ft.stack([ft.interp(x, xp, f) for x, f in zip(xs, fps, strict=True)])
    assert_close(ft.vmap(ft.interp, (0, None, 0))(xs, xp, fps), loop, 1e-12, 1e-12)
    assert bool(ft.grad(lambda f: ft.interp(x, xp * 0, f).sum())(fp).isfinite().all())


@pytest.mark.parametrize("right", [False, True])
def test_digitize_is_numpys(right):
    x = numpy.array([[0.0, 1.0, 0.5], [2.0, -3.0, 9.0]])
    for bins in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0], [0.0, 0.0, 1.0]):
        got = ft.digitize(ft.tensor(x), ft.tensor(bins), right)
        same(got, numpy.digitize(x, bins, right))
        assert got.dtype is ft.int64
    bins = ft.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, -1.0]])
    got = ft.vmap(ft.digitize)(ft.tensor(x), bins.to(ft.float64))
    same(got, numpy.stack([numpy.digitize(a, b) for a, b in zip(x, bins.numpy(), strict=True)]))


def test_ediff1d_is_numpys():
    for kind in ("float64", "int64"):
        x = random(2, 3, kind=kind)
        for options in ({}, {"to_end": 5}, {"to_begin": [1, 2]}, {"to_end": [7], "to_begin": 0}):
            given = {k: numpy.array(v) for k, v in options.items()}
            same(ft.ediff1d(ft.tensor(x), **given), numpy.ediff1d(x, **options))
    assert ft.ediff1d(ft.zeros(1)).shape == (0,)
    assert ft.ediff1d(ft.zeros(0)).shape == (0,)
    check_grads(ft.ediff1d, (ft.tensor(random(5)),), order=2)


def test_piecewise_is_numpys():
    x = random(3, 4)
    t = ft.tensor(x)
    functions = [lambda x: -x, lambda x: x * x]
    same(
        ft.piecewise(t, [t < 0, t >= 0], functions), numpy.piecewise(x, [x < 0, x >= 0], functions)
    )
    same(ft.piecewise(t, [t < -1], [2.0]), numpy.piecewise(x, [x < -1], [2.0]))
    more = [*functions, 7.0]
    same(ft.piecewise(t, [t < -1, t > 1], more), numpy.piecewise(x, [x < -1, x > 1], more))
    scaled = ft.piecewise(t, t > 0, [lambda x, k: x * k, 0], 3)
    same(scaled, numpy.where(x > 0, 3 * x, 0))
    check_grads(lambda x: ft.piecewise(x, [x < 0], functions), (t,), order=2)
    got = ft.vmap(lambda x: ft.piecewise(x, [x < 0], functions))(t)
    assert_close(got, ft.piecewise(t, [t < 0], functions), 0, 0)


def test_polyval_is_numpys():
    p, x = random(4), random(2, 3)
    same(ft.polyval(ft.tensor(p), ft.tensor(x)), numpy.polyval(p, x))
    same(ft.polyval(ft.tensor([2, 3]), ft.tensor([1, 4])), numpy.array([5, 11]))
    same(ft.polyval(ft.tensor(p[:0]), ft.tensor(x)), numpy.zeros((2, 3)))
    check_grads(ft.polyval, (ft.tensor(p), ft.tensor(x)), order=2)
    assert_close(
        ft.vmap(ft.polyval, (None, 0))(ft.tensor(p), ft.tensor(x)),
        ft.polyval(ft.tensor(p), ft.tensor(x)),
        1e-12,
        1e-12,
    )


def test_apply_along_axis_is_numpys():
    x = random(2, 3, 4)
    t = ft.tensor(x)
    for axis in (0, 1, -1):
        for ours, theirs in (
            (lambda v: v.sum(), lambda v: v.sum()),
            (lambda v: v.cumsum(0), lambda v: v.cumsum()),
            (lambda v: v.unsqueeze(1) * ft.ones(1, 2), lambda v: v[:, None] * numpy.ones((1, 2))),
        ):
            expected = numpy.apply_along_axis(theirs, axis, x)
            same(ft.apply_along_axis(ours, axis, t), expected)
    same(ft.apply_along_axis(lambda v, k, b=0: v[0] * k + b, 1, t, 2, b=1), x[:, 0] * 2 + 1)
    check_grads(lambda t: ft.apply_along_axis(lambda v: v.prod(), 1, t), (t,), order=1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ft.convolve(ft.ones(2, 2), ft.ones(2)), ft.ShapeError, "convolve: expected a sig"),
        (lambda: ft.convolve(ft.ones(0), ft.ones(2)), ft.ShapeError, "n >= 1"),
        (lambda: ft.correlate(ft.ones(3), ft.ones(2), "all"), ValueError, "correlate: expected mo"),
        (lambda: ft.interp(1.0, ft.ones(3), ft.ones(2)), ft.ShapeError, "fp of xp's shape"),
        (lambda: ft.interp(1.0, ft.ones(3), ft.ones(3), period=0), ValueError, "a period"),
        (lambda: ft.piecewise(ft.ones(2), [ft.ones(2) > 0], []), ValueError, "1 or 2 functions"),
        (lambda: ft.polyval(ft.ones(2, 2), 1.0), ft.ShapeError, "coefficients of shape"),
        (lambda: ft.apply_along_axis(lambda v: v, 3, ft.ones(2)), ft.DimError, "a dim in"),
        (lambda: ft.digitize(1.0, ft.ones(2, 2)), ft.ShapeError, "bins of shape"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_splitting_dims_of_size_0():
    x = ft.zeros(0, 3)
    for pieces, count in (
        (x.chunk(4), 4), (x.split(2), 1), (x.split(0), 1), (x.split([0, 0]), 2),
        (x.tensor_split(3), 3), (x.tensor_split((0, 1)), 3), (x.unbind(0), 0), (x.vsplit(3), 3),
        (ft.vmap(lambda x: x.chunk(2))(ft.zeros(5, 0, 3)), 2),
    ):  # fmt: skip
        assert len(pieces) == count and all(0 in p.shape for p in pieces)
    assert [t.shape for t in ft.zeros(3, 0).unbind(0)] == [(0,)] * 3
    assert [t.shape for t in ft.zeros(2, 0).chunk(3)] == [(1, 0), (1, 0)]
    with pytest.raises(ft.ShapeError, match="unbind"):
        ft.zeros(()).unbind()


def test_dims_by_name_and_dims_that_are_no_numbers():
    x = ft.arange(6).reshape(2, 3)
    assert ft.equal(ft.flip(x, dims=(0, 1)), x.flip(0, 1)) and ft.equal(x.flip(dims=1), x.flip(1))
    assert ft.equal(ft.permute(x, dims=(1, 0)), x.t()) and x.permute(dims=[1, 0]).shape == (3, 2)
    for call in (lambda: x.sum(dim="x"), lambda: x.flip("x")):
        with pytest.raises(TypeError, match="expected"):
            call()


def test_powers_of_two_keep_halves():
    half = ft.ones(1, dtype=ft.float16)
    assert ft.ldexp(half, ft.tensor([3])).dtype is ft.float16
    assert ft.ldexp(ft.tensor([1]), ft.tensor([3])).tolist() == [8.0]


@pytest.mark.parametrize("values", [[1.0, numpy.inf], [1.0, 2.0, -numpy.inf], [numpy.inf, 1.0]])
def test_infinite_numbers_have_no_variance(values):
    """Along any dim, whichever comes last."""
    x = ft.tensor(values)
    for one in (x.var(), x[:, None].var(0)[0], x[:, None].expand(-1, 3).contiguous().var(0)[1]):
        assert numpy.isnan(one.item())


@pytest.mark.parametrize("name", ["var", "std"])
def test_a_spread_beside_the_mean(name):
    """Also where `unbiased` is the only argument, as torch takes it."""
    x = ft.tensor([[1.0, 2.0], [3.0, 6.0]])
    spread, both = getattr(ft, name), getattr(ft, f"{name}_mean")
    for got, wanted in ((both(x, False), spread(x, False)), (both(x, 0), spread(x, 0))):
        assert got[0].tolist() == wanted.tolist()
    assert both(x, False)[1].item() == 3.0 and both(x, 0)[1].tolist() == [2.0, 4.0]
