"""Composites and methods that complete torch's surface: values, derivatives, vmap, bad inputs."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
import nn
from functorch_like.testing import assert_close, check_grads

RNG = numpy.random.default_rng(0)


def draw(*shape):
    return RNG.uniform(-1.0, 1.0, shape)


# name, function of (library, *tensors), operands: the same code in torch and here
CASES = [
    ("sum_to_size", lambda f, x: x.sum_to_size(3, 1), [draw(2, 3, 4)]),
    ("diagflat", lambda f, x: f.diagflat(x, 1), [draw(2, 2)]),
    (
        "addbmm",
        lambda f, x, a, b: f.addbmm(x, a, b, beta=2, alpha=3),
        [draw(2, 4), draw(3, 2, 3), draw(3, 3, 4)],
    ),
    ("addr", lambda f, x, a, b: x.addr(a, b, beta=0.5), [draw(2, 3), draw(2), draw(3)]),
    ("renorm", lambda f, x: f.renorm(x, 2, 0, 0.7), [draw(3, 4)]),
    ("renorm p=1", lambda f, x: f.renorm(x, 1, 1, 1.0), [draw(3, 4)]),
    ("gradient", lambda f, x: f.gradient(x), [draw(4, 5)]),
    ("gradient spacing", lambda f, x: f.gradient(x, spacing=2.0, dim=1, edge_order=2),
     [draw(4, 5)]),
    (
        "gradient coordinates",
        lambda f, x: f.gradient(x, spacing=(f.tensor([0.0, 1.0, 3.0, 4.0], dtype=f.float64),),
                                dim=0),
        [draw(4, 3)],
    ),
    (
        "gradient coordinates, second order",
        lambda f, x: f.gradient(
            x, spacing=(f.tensor([0.0, 1.0, 3.0, 4.0], dtype=f.float64),), dim=0, edge_order=2
        ),
        [draw(4, 3)],
    ),
    ("index_reduce", lambda f, x, y: f.index_reduce(x, 0, f.tensor([0, 2, 0]), y, "prod"),
     [draw(3, 2), draw(3, 2)]),
    ("index_reduce mean",
     lambda f, x, y: x.index_reduce(1, f.tensor([0, 0]), y, "mean", include_self=False),
     [draw(3, 2), draw(3, 2)]),
    ("frexp mantissa", lambda f, x: f.frexp(x).mantissa, [draw(7) * 100]),
    ("fill", lambda f, x: f.fill(x, 2.0) * x, [draw(3)]),
]  # fmt: skip
IDS = [c[0] for c in CASES]


def outputs(y):
    return list(y) if isinstance(y, tuple) else [y]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=IDS)
def test_values_and_gradients_are_torchs(name, function, arrays):
    torch = pytest.importorskip("torch")
    ours = [ft.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    got, expected = outputs(function(ft, *ours)), outputs(function(torch, *theirs))
    assert_close([g.detach() for g in got], [e.detach() for e in expected], 1e-12, 1e-12)
    sum((g * g).sum() for g in got).backward()
    sum((e * e).sum() for e in expected).backward()
    assert_close([x.grad for x in ours], [x.grad for x in theirs], 1e-10, 1e-10)


@pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=IDS)
def test_derivatives_of_both_modes_and_orders(name, function, arrays):
    check_grads(
        lambda *x: tuple(outputs(function(ft, *x))), [ft.tensor(a) for a in arrays], order=2
    )


@pytest.mark.parametrize(("_name", "function", "arrays"), CASES, ids=IDS)
def test_vmap_and_vmap_of_grad_are_a_loop(_name, function, arrays):
    lanes = [ft.tensor(numpy.stack([a, a[::-1], 2 * a])) for a in arrays]
    mapped = outputs(ft.vmap(lambda *x: function(ft, *x))(*lanes))
    loop = [outputs(function(ft, *[x[i].clone() for x in lanes])) for i in range(3)]
    assert_close(mapped, [ft.stack(list(y)) for y in zip(*loop, strict=True)], 1e-12, 1e-12)

    def loss(*x):
        return sum((y * y).sum() for y in outputs(function(ft, *x)))

    everything = tuple(range(len(lanes)))
    got = ft.vmap(ft.grad(loss, everything))(*lanes)
    each = [ft.grad(loss, everything)(*[x[i].clone() for x in lanes]) for i in range(3)]
    assert_close(list(got), [ft.stack(list(g)) for g in zip(*each, strict=True)], 1e-11, 1e-11)


# ---- without gradients ----


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_frexp_is_numpys(dtype):
    x = numpy.array(
        [0.0, -0.0, 1.0, 0.5, -0.75, 8.0, 1e-7, 6e-8, 65504.0, numpy.inf, -numpy.inf, numpy.nan,
         *(2.0 ** numpy.arange(-14, 15)), *numpy.nextafter(2.0 ** numpy.arange(-9, 10), 0)],
        dtype,
    )  # fmt: skip
    if dtype != "float16":
        x = numpy.concatenate([x, numpy.array([1e-38, 1e-45, 3e38], dtype)])
    if dtype == "float64":
        x = numpy.concatenate([x, numpy.array([5e-324, 1e-310, 1.7e308])])
    mantissa, exponent = ft.frexp(ft.tensor(x))
    expected = numpy.frexp(x)
    finite = numpy.isfinite(x)
    assert_close(mantissa, expected[0], 0, 0, equal_nan=True)
    assert_close(exponent.numpy()[finite], expected[1][finite], 0, 0, check_dtype=False)


def test_histograms_are_numpys():
    x, w = draw(50), draw(50)
    for options in ({}, {"range": (-0.5, 0.7)}):
        for density in (False, True):
            ours = ft.histogram(ft.tensor(x), 7, weight=ft.tensor(w), density=density, **options)
            theirs = numpy.histogram(x, 7, weights=w, density=density, **options)
            assert_close(list(ours), list(theirs), 1e-10, 1e-10)
    edges = numpy.array([-1.0, 0.0, 0.2, 1.0])
    assert_close(
        ft.histogram(ft.tensor(x), ft.tensor(edges)).hist,
        numpy.histogram(x, edges)[0].astype(float),
    )
    points = draw(40, 2)
    ours = ft.histogramdd(ft.tensor(points), [3, 4])
    theirs = numpy.histogramdd(points, [3, 4])
    assert_close(ours.hist, theirs[0], 1e-12, 1e-12)
    assert_close(list(ours.bin_edges), list(theirs[1]), 1e-12, 1e-12)


def test_histogram_under_vmap():
    x = ft.tensor(draw(3, 20))
    got = ft.vmap(lambda r: ft.histogram(r, 5, range=(-1.0, 1.0)).hist)(x)
    assert_close(got, ft.stack([ft.histogram(r, 5, range=(-1.0, 1.0)).hist for r in x]))


def test_infinities():
    x = ft.tensor([float("inf"), -float("inf"), 1.0])
    assert ft.isposinf(x).tolist() == [True, False, False]
    assert ft.isneginf(x).tolist() == [False, True, False]
    assert ft.isneginf(ft.tensor([1])).tolist() == [False]


# ---- methods that change a tensor's own view ----


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.t_(),
        lambda x: x.transpose_(0, 1),
        lambda x: x.swapaxes_(0, -1),
        lambda x: x.unsqueeze_(1),
        lambda x: x.unsqueeze_(0).squeeze_(0),
        pytest.param(
            lambda x: x.as_strided_((2, 2), (1, 2)),
            marks=pytest.mark.skipif(
                not hasattr(ft, "as_strided"), reason="as_strided is not in this build"
            ),
        ),
    ],
)
def test_in_place_views(change):
    torch = pytest.importorskip("torch")
    a = draw(2, 3)
    x, y = ft.tensor(a), torch.tensor(a)
    row = x[0]  # a view made before keeps its meaning
    assert change(x) is x
    change(y)
    assert_close(x, y, 0, 0)
    x.mul_(2)
    y.mul_(2)
    assert_close(x, y, 0, 0)
    assert_close(row, torch.tensor(a[0] * 2), 0, 0)
    # recorded: the gradient flows through
    w, v = ft.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    z, u = w * 3, v * 3
    change(z)
    change(u)
    (z * z).sum().backward()
    (u * u).sum().backward()
    assert_close(w.grad, v.grad)
    with pytest.raises(ft.GradError, match="leaf"):
        change(ft.tensor(a, requires_grad=True))
    # under vmap
    lanes = ft.tensor(numpy.stack([a, 2 * a]))
    got = ft.vmap(lambda x: change(x * 1.0))(lanes)
    assert_close(got, ft.stack([change(lane * 1.0) for lane in lanes]))


def test_a_saved_tensor_may_change_its_view():
    w = ft.tensor(draw(2, 3), requires_grad=True)
    x = ft.tensor(draw(2, 3))
    kept = x.clone()
    y = (w * x).sum()
    x.t_()
    y.backward()
    assert_close(w.grad, kept)


def test_resize():
    x = ft.arange(6)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert x.resize_(6).tolist() == [0, 1, 2, 3, 4, 5]
    assert x.resize_(3, 3)[:2].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ft.TraceError, match=r"^resize_: expected"):
        ft.ones(2, requires_grad=True).resize_(3)


# ---- in-place forms of functions ----

IN_PLACE = [
    ("eq_", (1.0,)), ("ne_", (1.0,)), ("lt_", (0.5,)), ("le_", (0.5,)), ("gt_", (0.5,)),
    ("ge_", (0.5,)), ("clamp_min_", (0.2,)), ("clamp_max_", (0.2,)), ("cumsum_", (0,)),
    ("cumprod_", (1,)), ("rad2deg_", ()), ("deg2rad_", ()), ("float_power_", (2.0,)),
    ("nan_to_num_", ()), ("sinc_", ()), ("tril_", ()), ("triu_", (1,)), ("renorm_", (2, 0, 0.5)),
    ("logit_", (0.1,)), ("polygamma_", (1,)), ("mvlgamma_", (1,)), ("absolute_", ()),
    ("arctan_", ()), ("divide_", (2.0,)), ("multiply_", (2.0,)), ("negative_", ()), ("fix_", ()),
    ("less_", (0.5,)), ("clip_", (0.1, 0.4)), ("fill_diagonal_", (3.0,)),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("name", "arguments"), IN_PLACE, ids=[n for n, _ in IN_PLACE])
def test_in_place_methods_are_torchs(name, arguments):
    torch = pytest.importorskip("torch")
    a = numpy.abs(draw(3, 3)) + 0.1
    x, y = ft.tensor(a), torch.tensor(a)
    assert getattr(x, name)(*arguments) is x
    getattr(y, name)(*arguments)
    assert_close(x, y, 1e-9, 1e-9)


def test_element_functions():
    x = ft.tensor([1.0, 2.0])
    assert x.apply_(lambda v: v + 1).tolist() == [2.0, 3.0]
    assert x.map_(ft.tensor([10.0]), lambda a, b: a * b).tolist() == [20.0, 30.0]


def test_questions():
    x = ft.zeros(2, 3)
    assert ft.is_tensor(x) and not ft.is_tensor(1)
    assert x.type() == "functorch_like.FloatTensor"
    assert x.type("torch.LongTensor").dtype is ft.int64
    assert x.t().dim_order() == (1, 0)
    assert ft.numel(x) == 6 and not ft.is_nonzero(x.sum())
    assert x.is_set_to(x.view(2, 3)) and not x.is_set_to(x.t())
    assert ft.range(1, 4).tolist() == [1.0, 2.0, 3.0, 4.0]
    a = numpy.zeros(2)
    assert ft.asarray(a).data_ptr() == a.ctypes.data
    assert ft.asarray(a, copy=True).data_ptr() != a.ctypes.data


# ---- polynomials ----


@pytest.mark.skipif(not hasattr(ft, "linalg"), reason="polyfit needs linalg")
def test_polyfit_is_numpys():
    x, y, w = draw(9), draw(9), numpy.abs(draw(9)) + 0.1
    got = ft.polyfit(ft.tensor(x), ft.tensor(y), 3, w=ft.tensor(w))
    assert_close(got, numpy.polyfit(x, y, 3, w=w), 1e-8, 1e-8)


# ---- bad inputs ----


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ft.ones(2, 3).sum_to_size(2, 2), ft.ShapeError),
        (lambda: ft.renorm(ft.ones(2, 2), 0, 0, 1.0), ValueError),
        (lambda: ft.gradient(ft.ones(1)), ft.ShapeError),
        (lambda: ft.gradient(ft.ones(4), edge_order=3), ValueError),
        (lambda: ft.frexp(ft.tensor([1])), ft.DTypeError),
        (lambda: ft.positive(ft.tensor([True])), ft.DTypeError),
        (lambda: ft.histogram(ft.tensor([1]), 3), ft.DTypeError),
        (lambda: ft.index_reduce(ft.ones(2), 0, ft.tensor([0]), ft.ones(1), "sum"), ValueError),
    ],
)
def test_bad_inputs(call, error):
    with pytest.raises(error, match="expected"):
        call()


def test_einsum_of_sublists():
    a, b = ft.randn(2, 3, 4), ft.randn(2, 4, 5)
    assert_close(ft.einsum(a, [..., 0, 1], b, [..., 1, 2], [..., 0, 2]), a @ b)
    assert_close(ft.einsum(a[0], [0, 1], b[0], [1, 2]), a[0] @ b[0])
    with pytest.raises(ValueError, match="labels from 0 to 51"):
        ft.einsum(a, [60, 1, 2])


def test_constants():
    assert ft.inf > ft.pi > ft.e and ft.nan != ft.nan
    assert ft.ones(2)[:, ft.newaxis].shape == (2, 1)


def test_in_place_methods_as_functions():
    x = ft.tensor([-1.0, 4.0])
    assert ft.relu_(x) is x and ft.sqrt_(x).tolist() == [0.0, 2.0] == x.tolist()
    assert not ft.is_conj(x) and not ft.is_neg(x) and not ft.is_inference(x)
    with pytest.raises(AttributeError):
        ft.no_such_function_  # noqa: B018


def test_torchs_names_of_keywords():
    x, image = ft.tensor([[1.0, 4.0]]), ft.ones(1, 2, 4, 4)
    for text in (
        "ft.add(x, other=x)", "ft.div(input=x, other=x)", "x.mul(other=2)", "x.sub_(other=0)",
        "ft.eq(input=x, other=x)", "ft.exp(input=x)", "ft.sum(input=x, dim=1)",
        "ft.clamp(input=x, min=0)", "ft.where(x > 2, input=x, other=x)",
        "ft.cumsum(input=x, dim=0)",
        "F.softmax(input=x, dim=1)", "F.log_softmax(input=x, dim=1)", "F.pad(input=x, pad=(1, 1))",
        "F.linear(input=x, weight=x)", "F.conv2d(input=image, weight=image)",
        "F.max_pool2d(input=image, kernel_size=2)", "F.avg_pool1d(input=x, kernel_size=2)",
        "ft.matmul(x, other=x.T)", "F.sigmoid(input=x)",
    ):  # fmt: skip
        assert isinstance(
            eval(text, {"ft": ft, "x": x, "image": image, "F": nn.functional}), ft.Tensor
        )


def test_alpha_has_no_part_in_the_dtype():
    bools, halves = ft.tensor([True, False]), ft.ones(2, dtype=ft.float16)
    assert ft.add(bools, bools, alpha=2).dtype == ft.bool
    total = ft.add(halves, bools, alpha=1.5)
    assert total.dtype == ft.float16 and total.tolist() == [2.5, 1.0]
    integers = ft.tensor([1, 2])
    for function in (ft.add, ft.sub):
        with pytest.raises(TypeError, match=r"expected alpha that int64 holds, got 1.5"):
            function(integers, integers, alpha=1.5)
        with pytest.raises(TypeError, match=r"expected alpha that float16 holds, got 1j"):
            function(halves, halves, alpha=1j)
