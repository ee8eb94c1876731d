"""grad(grad(grad(f))) by a number runs in one pass: it must be what nested passes give."""

import functools
from importlib import import_module

import pytest

import functorch_like as ft
from functorch_like.op import TABLE
from nn import functional as F

jets = import_module("functorch_like.transforms.jet")


def at(value):
    return ft.tensor(value, dtype=ft.float64)


def nested(f, order):
    """Grads that do not see each other."""
    for _ in range(order):
        f = functools.partial(lambda f, *args: ft.grad(f)(*args), f)
    return f


def direct(f, order):
    for _ in range(order):
        f = ft.grad(f)
    return f


@pytest.fixture
def passes(monkeypatch):
    """How many derivatives came from one pass."""
    counts = []
    original = jets.nth_derivative

    def counted(*args):
        out = original(*args)
        counts.append(out is not None)
        return out

    monkeypatch.setattr(jets, "nth_derivative", counted)
    return counts


def same(f, x, order, *rest):
    got, want = direct(f, order)(x, *rest), nested(f, order)(x, *rest)
    assert got.dtype is want.dtype and got.shape == want.shape
    assert ft.allclose(got, want, rtol=1e-9, atol=1e-9, equal_nan=True), (got, want)
    return got


def elementwise():
    for name, op in TABLE.items():
        if op.partials and len(op.partials) <= 2 and "float" in op.samples.get("kinds", "float"):
            yield pytest.param(op, id=name)


@pytest.mark.parametrize("op", list(elementwise()))
def test_every_elementwise_op(op):
    low, high = op.samples.get("low", -2.0), op.samples.get("high", 2.0)
    for share in (0.3, 0.5, 0.8):
        x = at(low + (high - low) * share)
        y = at(low + (high - low) * (1 - share) * 0.9)
        for order in (3, 4):
            if len(op.partials) == 1:
                same(lambda x: op(x) * x, x, order)
            else:
                same(lambda x, y: op(x, y) * x, x, order, y)
                same(lambda x, y: op(y, x) * x, x, order, y)


PROGRAMS = {
    "product": lambda x: x.tanh() * x.sin(),
    "quotient": lambda x: x.exp() / (1 + x * x),
    "power": lambda x: (x**3).log() + x**2.5 + 2**x,
    "roots": lambda x: ((x * x + 1).sqrt() + x).log1p() * (x + 2).rsqrt(),
    "where": lambda x: ft.where(x > 0.5, x.sin(), x.cos()) * x,
    "branch": lambda x: x.sin() * x if x > 0.5 else x.cos(),
    "loop": lambda x: functools.reduce(lambda y, _: (y * x).sin(), range(3), x),
    "constant": lambda x: at(3.0),
    "low degree": lambda x: x * x,
    "detached": lambda x: x.detach() * x.exp(),
    "vector": lambda x: (ft.stack([x, x * x, x.sin()]) @ ft.tensor([1.0, 2.0, 3.0]).double()).exp(),
    "softmax": lambda x: F.softmax(ft.stack([x, 2 * x, x * x]), 0)[1],
    "mlp": lambda x: (x * ft.arange(4.0, dtype=ft.float64)).tanh().sum(),
    "cumsum": lambda x: (ft.stack([x, x * x, x.exp()]).cumsum(0) ** 2).sum(),
    "inner grad": lambda x: ft.grad(lambda y: (y * x).sin())(x),
    "inner jvp": lambda x: ft.jvp(lambda y: (y * x).exp(), (x,), (x,))[1],
    "inner vmap": lambda x: ft.vmap(lambda y: (y * x).sin())(ft.arange(3.0).double()).sum(),
    "relu": lambda x: (x - 0.7).relu() * x,
    "integers": lambda x: x ** x.detach().round().long() * x.exp(),
    "checkpoint": lambda x: ft.checkpoint(lambda y: y.sin() * y)(x),
}


def written(x):
    y = x.sin().expand(3).clone()
    y[1] = y[0] * x
    y.mul_(x)
    part = y[1:]
    part += x * x
    return (y * y).sum()


def by_the_tape(x):
    y = (x * 1.0).requires_grad_()
    (g,) = ft.autograd.grad((y * y * x).sin(), y, create_graph=True)
    return g * x


PROGRAMS |= {"in place": written, "tape": by_the_tape}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    for value in (0.7, 0.3):
        for order in (3, 4, 5):
            same(PROGRAMS[name], at(value), order)


def test_one_pass_is_used(passes):
    same(PROGRAMS["product"], at(0.7), 5)
    assert passes == [True]


def test_second_argument_and_constants(passes):
    f = lambda a, x: (a * x).sin() * x  # noqa: E731
    got = ft.grad(ft.grad(ft.grad(f, 1), 1), 1)(at(2.0), at(0.3))
    want = nested(lambda x: f(at(2.0), x), 3)(at(0.3))
    assert ft.allclose(got, want) and passes == [True]
    mixed = ft.grad(ft.grad(ft.grad(f, 1), 0), 1)(at(2.0), at(0.3))
    assert len(passes) == 1 and ft.isfinite(mixed)


def test_composes_further():
    f = PROGRAMS["product"]
    third, reference = direct(f, 3), nested(f, 3)
    x = at(0.7)
    xs = ft.linspace(-1, 1, 5, dtype=ft.float64)
    for g, h in (
        (ft.vmap(third), ft.vmap(reference)),
        (lambda x: ft.vmap(ft.grad(third))(x), lambda x: ft.vmap(ft.grad(reference))(x)),
        (lambda x: ft.jacfwd(ft.vmap(third))(x), lambda x: ft.jacfwd(ft.vmap(reference))(x)),
    ):
        assert ft.allclose(g(xs), h(xs))
    assert ft.allclose(
        ft.grad(lambda a: direct(lambda x: (a * x).sin(), 3)(x))(at(0.4)),
        ft.grad(lambda a: nested(lambda x: (a * x).sin(), 3)(x))(at(0.4)),
    )
    leaf, other = at(0.7).requires_grad_(), at(0.7).requires_grad_()
    third(leaf).backward()
    reference(other).backward()
    assert ft.allclose(leaf.grad, other.grad)
    assert ft.allclose(ft.compile(third)(x), reference(x))


def test_infinities_as_in_backward_passes():
    """0 times an infinite slope is 0 in a backward pass."""
    for f in (lambda x: x * x * x * x.sqrt(), lambda x: ft.where(x > 0, x.log(), x**4)):
        same(f, at(0.0), 3)


def test_custom_functions_keep_their_rules(passes):
    @ft.custom_vjp
    def clipped(x):
        return x * x * x

    clipped.defvjp(lambda x: (x * x * x, x), lambda x, ct: (ct * x.sin(),))
    f = lambda x: clipped(x) * x.exp()  # noqa: E731
    third = direct(f, 3)
    for _ in range(2):
        assert ft.allclose(third(at(0.6)), nested(f, 3)(at(0.6)))
    assert passes == []  # refused, and not tried again


def test_random_numbers_are_drawn_once():
    f = lambda x: (x * ft.rand((), dtype=ft.float64)).sin() * x  # noqa: E731
    ft.manual_seed(3)
    got, after = direct(f, 3)(at(0.6)), ft.rand(())
    ft.manual_seed(3)
    want, expected = nested(f, 3)(at(0.6)), ft.rand(())
    assert ft.allclose(got, want) and after.item() == expected.item()


def test_errors_are_those_of_grad():
    with pytest.raises(ft.ShapeError, match="grad: expected a scalar result, got shape"):
        direct(lambda x: x.expand(3), 3)(at(1.0))
    with pytest.raises(ft.GradError, match="a function that returns a scalar tensor"):
        direct(lambda x: 3.0, 3)(at(1.0))
    with pytest.raises(ft.DTypeError):
        direct(lambda x: x, 3)(ft.tensor(1))
    with pytest.raises(ZeroDivisionError):
        direct(lambda x: x / (1 // 0), 3)(at(1.0))
    assert ft.allclose(direct(lambda x: x**3, 3)(at(1.0)), at(6.0))


def test_a_wrapped_gradient_is_a_function_of_its_own():
    inner = direct(lambda x: x**5, 3)

    @functools.wraps(inner)
    def doubled(x):
        return 2 * inner(x)

    assert ft.grad(ft.grad(doubled))(at(1.0)).item() == 240
