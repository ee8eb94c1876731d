"""no_grad inside transforms: torch.func's meaning, in every composition."""

import random
from contextlib import nullcontext

import pytest

import functorch_like as ft
from functorch_like.func import grad, hessian, jvp, vjp, vmap

X = [2.0, 3.0]


def target(s, lib=ft):
    with lib.no_grad():
        c = s * s
    return (s * c).sum()


def difference(s, lib=ft):
    with lib.no_grad():
        c = s * s
    return (s - c).sum()


def written(s, lib=ft):
    w = s * 1.0
    with lib.no_grad():
        w -= 0.1 * s * s
    return (w * w).sum()


def one_element(s, lib=ft):
    y = s * s
    with lib.no_grad():
        y[0] = s[1] * 5
    return (y * y).sum()


def enabled_inside(s, lib=ft):
    with lib.no_grad():
        v = s * 2
        with lib.enable_grad():
            y = s * s
    return (v * y).sum()


def gradient_inside(s, lib=ft):
    derivative = grad if lib is ft else lib.func.grad
    with lib.no_grad():
        g = derivative(lambda t: (t**3).sum())(s)
    return (g * s).sum()


def decorated(s, lib=ft):
    return (s * lib.no_grad()(lambda t: t * t)(s)).sum()


# the gradients are torch 2.13's
CASES = [
    (target, [4.0, 9.0]),
    (difference, [1.0, 1.0]),
    (written, [3.2, 4.2]),
    (one_element, [120.0, 108.0]),
    (enabled_inside, [16.0, 36.0]),
    (gradient_inside, [12.0, 27.0]),
    (decorated, [4.0, 9.0]),
]
f64 = {"dtype": ft.float64}


@pytest.mark.parametrize(("f", "expected"), CASES)
def test_gradient_is_that_of_torch(f, expected):
    x = ft.tensor(X, **f64)
    close = lambda a: ft.testing.assert_close(a, ft.tensor(expected, **f64))  # noqa: E731
    close(grad(f)(x))
    with ft.no_grad():  # the one outside is not the transform's
        close(grad(f)(x))
    close(vmap(grad(f))(x.expand(3, 2))[1])
    close(grad(lambda s: ft.checkpoint(f, s))(x))
    close(ft.compile(grad(f))(x))
    close(grad(ft.compile(f))(x))
    close(grad(lambda s: vmap(f)(s.unsqueeze(0)).sum())(x))
    close(vjp(f, x)[1](ft.ones((), **f64))[0])


@pytest.mark.parametrize(("f", "expected"), CASES)
def test_the_same_with_torch(f, expected):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.float64)
    assert torch.func.grad(lambda s: f(s, torch))(x).tolist() == pytest.approx(expected)


def test_forward_mode_goes_on():
    x = ft.tensor(X, **f64)
    assert jvp(difference, (x,), (ft.ones_like(x),))[1].item() == 1 - 4 + 1 - 6
    # forward over reverse: what the inner reverse pass saw as constant stays so
    assert hessian(lambda s: (s**3).sum() + difference(s))(x).tolist() == [[12, 0], [0, 18]]


def test_all_reverse_levels_heed_it():
    x = ft.tensor(X, **f64)
    assert grad(lambda s: grad(target)(s).sum())(x).tolist() == [0, 0]
    y = ft.tensor(2.0, **f64)
    # three levels deep, where grads of a number go by Taylor mode if they can
    assert grad(grad(grad(lambda s: target(s) + s**4)))(y).item() == 48


def test_the_tape_inside_a_transform_heeds_it():
    def f(x):
        w = x.clone().requires_grad_()
        target(w).backward()
        return w.grad.sum()  # x * x

    assert grad(f)(ft.tensor(X, **f64)).tolist() == [0, 0]


def test_a_mode_switched_by_a_call_ends_with_the_transform():
    def f(x):
        saved = ft.set_grad_enabled(False)
        c = x * x
        ft.set_grad_enabled(True)
        return (x * c).sum(), saved.enabled

    g, enabled = grad(f, has_aux=True)(ft.tensor(X))
    assert g.tolist() == [4, 9] and not enabled and ft.is_grad_enabled()


def test_mapped_values_written_into_an_unmapped_tensor():
    """Of the outer gradient: w = s, whatever was written, so the sum of 2 w over the lanes."""

    def lane(s, x):
        w = s * 1.0
        with ft.no_grad():
            w.copy_(x * 3)
        return (w * w).sum()

    s, xs = ft.tensor(X, **f64), ft.arange(1.0, 7.0, **f64).reshape(3, 2)
    mapped = grad(lambda s: vmap(lambda x: lane(s, x))(xs).sum())(s)
    assert mapped.tolist() == grad(lambda s: sum(lane(s, x) for x in xs))(s).tolist() == [54, 72]


def program(seed, lib):
    """A random program with views and writes, some of its steps under no_grad."""
    choose = random.Random(seed)
    steps = [(choose.randint(0, 7), choose.random() < 0.4, choose.randint(0, 3)) for _ in range(6)]

    def written(b, at, value):
        c = b * 1.0
        c[at] = value
        return c

    def step(kind, a, b):
        return [
            lambda: a * b,
            lambda: a.sin(),
            lambda: a + b,
            lambda: (a * 0.5).exp(),
            lambda: b.flip(0),
            lambda: a * a.sum(),
            lambda: written(b, 0, a[1]),
            lambda: written(b, slice(1, None), (b * 1.0)[1:].mul_(a[:2])),
        ][kind]()

    def f(x):
        values = [x, x * 1.0]
        for kind, hidden, which in steps:
            with lib.no_grad() if hidden else nullcontext():
                values.append(step(kind, values[which % len(values)], values[-1]))
            if which == 2:
                values.append(values[1] * 1.0)
                with lib.no_grad():
                    values[-1].add_(values[-2] * 0.1)
        return sum((v * v).sum() for v in values)

    return f


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_beside_torch(seed):
    torch = pytest.importorskip("torch")
    x = [0.3, -0.7, 1.1]
    expected = torch.func.grad(program(seed, torch))(torch.tensor(x, dtype=torch.float64)).tolist()
    ours = grad(program(seed, ft))
    assert ours(ft.tensor(x, **f64)).tolist() == pytest.approx(expected)
    assert vmap(ours)(ft.tensor([x, x], **f64))[1].tolist() == pytest.approx(expected)
