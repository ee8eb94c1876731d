"""pointwise(): the same values, gradients and errors as the function as written."""

import math

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.pointwise import Pointwise, Reduction


def _smooth(x, y, *, beta):
    difference = x - y
    distance = difference.abs()
    return ft.where(distance < beta, difference * difference * (0.5 / beta), distance - beta / 2)


def _bend(x, *, slope):
    return ft.where(x > 0, x.exp(), x * slope)


def _gate(x, y, z):
    return x.sigmoid() * y + z / (1 + y * y)


FUNCTIONS = [(_smooth, 2, {"beta": 0.7}), (_bend, 1, {"slope": 0.25}), (_gate, 3, {})]
SHAPES = [
    [(5,), (5,), (5,)],
    [(3, 4), (4,), (3, 1)],
    [(2, 1, 3), (2, 1), ()],
    [(), (), ()],
    [(), (3,), (2, 3)],
    [(0, 4), (4,), (0, 1)],
]


def _tensors(shapes, dtype=ft.float32):
    rng = np.random.default_rng(0)
    return [ft.tensor(rng.standard_normal(s)).to(dtype) for s in shapes]


def _same(a, b):
    np.testing.assert_array_equal(a.to(ft.float64).numpy(), b.to(ft.float64).numpy())
    assert a.dtype == b.dtype


@pytest.mark.parametrize(("function", "count", "params"), FUNCTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.float16, ft.bfloat16])
def test_values_are_those_of_the_function(function, count, params, shapes, dtype):
    tensors = _tensors(shapes[:count], dtype)
    _same(ft.pointwise(function)(*tensors, **params), function(*tensors, **params))


@pytest.mark.parametrize(("function", "count", "params"), FUNCTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_gradients_of_two_orders(function, count, params, shapes):
    fused = ft.pointwise(function)

    def gradients(f, *tensors):
        return ft.grad(lambda *xs: (f(*xs, **params) ** 2).sum(), argnums=tuple(range(count)))(
            *tensors
        )

    def second(f, *tensors):
        return ft.grad(
            lambda *xs: sum((g * g).sum() for g in gradients(f, *xs)), argnums=tuple(range(count))
        )(*tensors)

    tensors = _tensors(shapes[:count], ft.float64)
    for order in (gradients, second):
        for a, b in zip(order(fused, *tensors), order(function, *tensors), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)
            assert a.shape == b.shape


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, True)])
def test_the_tape_records_one_node(needs):
    tensors = [t.requires_grad_(need) for t, need in zip(_tensors(SHAPES[1]), needs, strict=True)]
    plain = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
    out = ft.pointwise(_gate)(*tensors)
    assert isinstance(out._m.op, Pointwise)
    out.sum().backward()
    _gate(*plain).sum().backward()
    for a, b in zip(tensors, plain, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6)


def test_transforms_around_it():
    fused = ft.pointwise(_gate)
    tensors = _tensors([(4,), (4,), (4,)], ft.float64)

    def loss(f):
        return lambda *xs: f(*xs).sum()

    for transform in (
        lambda f: ft.hessian(loss(f)),
        lambda f: ft.vmap(ft.grad(f), in_dims=(0, None, 0)),
        lambda f: ft.vmap(f, in_dims=(None, 0, 0)),
        lambda f: lambda *xs: ft.jvp(f, xs, xs),
        lambda f: ft.compile(ft.grad(loss(f), argnums=(0, 2))),
        lambda f: ft.jacfwd(ft.jacrev(f, argnums=1), argnums=1),
        lambda f: ft.vmap(ft.compile(f)),
    ):
        arguments = [*tensors]
        try:
            wanted = transform(_gate)(*arguments)
        except Exception:  # vmap(grad) wants a scalar for each lane
            arguments[1] = arguments[1][0]
            wanted = transform(_gate)(*arguments)
        found = transform(fused)(*arguments)
        for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_lanes_with_an_operand_that_is_not_mapped():
    fused = ft.pointwise(lambda x, w: x * w + w.sin())
    x, w = _tensors([(5, 3), (3,)], ft.float64)

    def gradient(f):
        return ft.vmap(ft.grad(lambda w, x: f(x, w).sum()), in_dims=(None, 0))(w, x)

    wanted = gradient(lambda x, w: x * w + w.sin())
    np.testing.assert_allclose(gradient(fused).numpy(), wanted.numpy(), rtol=1e-12)


def test_numbers_and_dtypes_are_told_apart():
    fused = ft.pointwise(lambda x, *, a: ft.where(x > 0, x, a))
    x = ft.tensor([-1, 2])
    assert fused(x, a=1).dtype == ft.int64
    assert fused(x, a=1.0).dtype == ft.float32
    assert math.copysign(1, fused(ft.tensor([-1.0]), a=0.0).item()) == 1
    assert math.copysign(1, fused(ft.tensor([-1.0]), a=-0.0).item()) == -1
    assert fused(x.to(ft.float64), a=1).dtype == ft.float64
    for a in range(200):  # more than are kept
        assert fused(x, a=a)[0].item() == a


def test_what_does_not_fit_a_sweep_runs_as_written():
    rows = ft.pointwise(lambda x: x - x.mean())  # not elementwise
    x = ft.tensor([1.0, 3.0], requires_grad=True)
    (rows(x) ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [-2.0, 2.0])
    assert ft.pointwise(lambda x: x)(x) is x
    constant = ft.pointwise(lambda x, y: y * 2)  # does not read x, whose shape the result has not
    assert constant(ft.ones(3, 2), ft.ones(2)).shape == (2,)
    assert constant(ft.ones(3), 2.0) == 4.0


def test_operands_overwritten_before_the_backward_pass_are_noticed():
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    out = ft.pointwise(_bend)(y, slope=0.5)
    y.mul_(2)
    kept = x.detach().requires_grad_()
    z = kept * 1
    expected = _bend(z, slope=0.5)
    z.mul_(2)
    outcomes = []
    for result, leaf in ((out, x), (expected, kept)):
        try:
            result.sum().backward()
            outcomes.append(leaf.grad.numpy())
        except RuntimeError as error:
            outcomes.append(type(error))
    np.testing.assert_array_equal(*outcomes)


def test_errors_are_the_functions_own():
    fused = ft.pointwise(_gate)
    with pytest.raises(ValueError, match="expected shapes that broadcast"):
        fused(ft.ones(3), ft.ones(2), ft.ones(1))

    @ft.pointwise
    def broken(x):
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            broken(ft.ones(2))
    assert (fused(*_tensors(SHAPES[0])) == _gate(*_tensors(SHAPES[0]))).all()


def test_a_gradient_that_is_constant_has_the_shape_of_the_cotangent():
    """As of a sign, whose sweep would read no operand; the dtypes' casts keep it from vanishing."""
    distance = ft.pointwise(lambda x, y: (x - y).abs())
    x = ft.tensor([1.0, 2.0, -3.0], requires_grad=True)
    (g,) = ft.autograd.grad(distance(x, ft.zeros(3).double()).sum(), x, create_graph=True)
    (g * g).sum().backward()
    assert g.tolist() == [1, 1, -1] and x.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("function", [lambda x, y: x.clamp(-1, 1), lambda x, y: y.sin()])
def test_an_operand_that_is_not_read_gives_no_shape(function):
    fused, (x, y, z) = ft.pointwise(function), _tensors([(1,), (3,), (3, 3)])
    for other in (y, z):
        assert ft.vmap(fused, (None, 0))(x, z).shape == ft.vmap(function, (None, 0))(x, z).shape
        assert ft.vmap(fused)(other, z).shape == ft.vmap(function)(other, z).shape
        for number in range(2):
            of_written, of_fused = (
                ft.grad(lambda *a, f=f: f(*a).sum(), argnums=number)(x, other)
                for f in (function, fused)
            )
            assert (of_written == of_fused).all() and of_written.shape == of_fused.shape


def test_a_mask_requires_no_gradient():
    positive = ft.pointwise(lambda x: x > 0)
    x = ft.tensor([2.0, -1.0], requires_grad=True)
    assert not positive(x).requires_grad
    (positive(x) * x).sum().backward()
    assert x.grad.tolist() == [1, 0]
    assert ft.grad(lambda x: (positive(x) * x).sum())(x.detach()).tolist() == [1, 0]


@pytest.mark.parametrize(("function", "count", "params"), FUNCTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", [ft.float32, ft.float64, ft.bfloat16])
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_reductions_are_those_of_the_values(function, count, params, shapes, dtype, kind):
    tensors = _tensors(shapes[:count], dtype)
    fused = ft.pointwise(function)
    values = function(*tensors, **params)
    for dim in (None, *range(-values.ndim, values.ndim), tuple(range(values.ndim))):
        for keepdim in (False, True):
            found = getattr(fused, kind)(*tensors, dim=dim, keepdim=keepdim, **params)
            wanted = getattr(ft, kind)(values, dim, keepdim)
            _same(found, wanted)
            assert found.shape == wanted.shape


@pytest.mark.parametrize("shape", [(300, 300), (70000,), (3, 70000), (70000, 3), (20, 40, 60)])
def test_reductions_of_large_tensors(shape):
    x, y = _tensors([shape, shape])
    fused = ft.pointwise(_smooth)
    for dim in (None, 0, -1):
        _same(fused.sum(x, y, dim=dim, beta=0.5), _smooth(x, y, beta=0.5).sum(dim))
    _same(fused.sum(x.T, y.T, beta=0.5), _smooth(x.T, y.T, beta=0.5).sum())


@pytest.mark.parametrize(("function", "count", "params"), FUNCTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_gradients_of_reductions(function, count, params, shapes, kind):
    fused = getattr(ft.pointwise(function), kind)

    def reduced(f, *tensors):
        return (f(*tensors) ** 2).sum()

    def plainly(*tensors):
        return getattr(ft, kind)(function(*tensors, **params), dims)

    rank, places = max(len(s) for s in shapes[:count]), tuple(range(count))
    tensors = _tensors(shapes[:count], ft.float64)
    if kind == "mean" and 0 in (shapes[0] or (1,)):
        return
    for dims in (None, *range(rank)):
        inner = lambda *xs: fused(*xs, dim=dims, **params)  # noqa: B023, E731
        for order in (
            lambda f, *xs: ft.grad(lambda *ys: reduced(f, *ys), argnums=places)(*xs),
            lambda f, *xs: ft.grad(
                lambda *ys: sum(
                    (g * g).sum() for g in ft.grad(lambda *zs: reduced(f, *zs), argnums=places)(*ys)
                ),
                argnums=places,
            )(*xs),
        ):
            for a, b in zip(order(inner, *tensors), order(plainly, *tensors), strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-13)
                assert a.shape == b.shape


def test_a_reduction_is_one_node_on_the_tape():
    x, y = [t.requires_grad_() for t in _tensors([(3, 4), (4,)])]
    out = ft.pointwise(_smooth).mean(x, y, beta=0.5)
    assert isinstance(out._m.op, Reduction)
    (a, b) = ft.autograd.grad(out, (x, y), create_graph=True)
    (c,) = ft.autograd.grad((a * a).sum() + (b * b).sum(), x)
    plain = _smooth(x, y, beta=0.5).mean()
    (d, e) = ft.autograd.grad(plain, (x, y), create_graph=True)
    (f,) = ft.autograd.grad((d * d).sum() + (e * e).sum(), x)
    for found, wanted in ((a, d), (b, e), (c, f)):
        np.testing.assert_allclose(
            found.detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-7
        )


def test_transforms_around_reductions():
    mean = ft.pointwise(_smooth).mean
    x, y = _tensors([(5, 3), (5, 3)], ft.float64)

    def plainly(x, y):
        return _smooth(x, y, beta=0.5).mean()

    def swept(x, y):
        return mean(x, y, beta=0.5)

    for transform in (
        ft.vmap,
        lambda f: ft.vmap(ft.grad(f)),
        lambda f: ft.compile(ft.grad(f)),
        ft.hessian,
        lambda f: lambda x, y: ft.jvp(f, (x, y), (y, x)),
    ):
        found, wanted = transform(swept)(x, y), transform(plainly)(x, y)
        for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_reductions_of_integers_and_bools():
    count = ft.pointwise(lambda x: x == x).sum
    x = ft.tensor([[1.0, math.nan], [2.0, 3.0]])
    _same(count(x, dim=0), ft.tensor([2, 1]))
    assert count(x).dtype == ft.int64
