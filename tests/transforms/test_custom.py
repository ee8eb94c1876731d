"""Custom rules in all their forms, on the tape, under transforms and in nestings to depth 3."""

import itertools

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.autograd import Function
from functorch_like.trace import active, state

D = ft.float64


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def meaning(x, y):
    return x.sin() * y


def by_vjp():
    f = ft.custom_vjp(meaning)
    f.defvjp(
        lambda x, y: (f(x, y), (x.cos(), x.sin(), y)),
        lambda saved, ct: (saved[0] * ct * saved[2], saved[1] * ct),
    )
    return f


def by_jvp():
    f = ft.custom_jvp(meaning)
    f.defjvp(lambda p, t: (f(*p), p[0].cos() * p[1] * t[0] + p[0].sin() * t[1]))
    return f


def by_jvps():
    f = ft.custom_jvp(meaning)
    f.defjvps(lambda t, _, x, y: t * x.cos() * y, lambda t, _, x, y: x.sin() * t)
    return f


class Old(Function):
    @staticmethod
    def forward(ctx, x, y, factor):
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x.sin() * y * factor

    @staticmethod
    def backward(ctx, ct):
        x, y = ctx.saved_tensors
        return ct * x.cos() * y * ctx.factor, ct * x.sin() * ctx.factor, None


class New(Function):
    @staticmethod
    def forward(x, y):
        return x.sin() * y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, ct):
        x, y = ctx.saved_tensors
        return ct * x.cos() * y, ct * x.sin()


class Full(New):
    @staticmethod
    def jvp(ctx, tx, ty):
        x, y = ctx.saved_tensors
        first = 0 if tx is None else tx * x.cos() * y
        return first + (0 if ty is None else x.sin() * ty)

    @staticmethod
    def vmap(info, in_dims, x, y):
        x = x if in_dims[0] is None else x.movedim(in_dims[0], 0)
        y = y if in_dims[1] is None else y.movedim(in_dims[1], 0)
        if in_dims[1] is None and y.ndim >= x.ndim:
            x = x.reshape((info.batch_size, *[1] * (y.ndim - x.ndim + 1), *x.shape[1:]))
        if in_dims[1] is not None and y.ndim < x.ndim:
            y = y.reshape((info.batch_size, *[1] * (x.ndim - 1)))
        return Full.apply(x, y), 0


FORMS = {
    "custom_vjp": by_vjp(),
    "custom_jvp": by_jvp(),
    "defjvps": by_jvps(),
    "vjp=": ft.custom_function(
        meaning,
        vjp=(
            lambda x, y: (meaning(x, y), (x, y)),
            lambda s, ct: (ct * s[0].cos() * s[1], ct * s[0].sin()),
        ),
    ),
    "Function": lambda x, y: Old.apply(x, y, 1),
    "setup_context": New.apply,
    "all of Function": Full.apply,
}


def by_tape(f):
    def derivative(x):
        p = (x * 1).requires_grad_()
        return ft.autograd.grad(f(p).sum(), p, create_graph=True)[0]

    return derivative


TRANSFORMS = {
    "grad": lambda f: ft.grad(lambda x: f(x).sum()),
    "vjp": lambda f: lambda x: (lambda y, back: back(y)[0])(*ft.vjp(f, x)),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x * 0 + 1,))[1],
    "vmap": lambda f: ft.vmap(f),
    "vmap grad": lambda f: ft.vmap(ft.grad(lambda x: f(x).sum())),
    "tape": by_tape,
    "jacrev": lambda f: lambda x: ft.jacrev(f)(x).sum(-1),
    "jacfwd": lambda f: lambda x: ft.jacfwd(f)(x).sum(-1),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](x),
    "checkpoint": lambda f: ft.checkpoint(f),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("constant", [False, True])
def test_nestings_of_depth_3(form, constant):
    x = ft.tensor([0.3, 0.7, 1.2], dtype=D)
    two = ft.tensor([2.0], dtype=D)
    custom = FORMS[form]
    rest = ["grad", "jvp", "tape", "jacrev", "vmap grad", "checkpoint"]
    for names in [*itertools.product(TRANSFORMS, repeat=2), *itertools.product(rest, repeat=3)]:
        if sum("vmap" in n for n in names) > 1:
            continue
        f = (lambda x: custom(x, two)) if constant else (lambda x: custom(x, x * 2))
        g = (lambda x: meaning(x, two)) if constant else (lambda x: meaning(x, x * 2))
        for name in names:
            f, g = TRANSFORMS[name](f), TRANSFORMS[name](g)
        try:
            want = g(x)
        except (ft.GradError, ft.ShapeError, ft.DimError):
            continue  # no derivative left, or no dimension
        close(f(x), want)
    assert state.trace is None and not active


def test_the_rule_is_what_counts():
    """Not the derivative of the function: at every level that asks."""
    f = ft.custom_vjp(lambda x: x * 1)
    f.defvjp(lambda x: (x * 1, None), lambda _, ct: (ct * 10,))
    one = ft.tensor(1.0)
    assert float(ft.grad(f)(one)) == 10
    assert float(ft.jvp(f, (one,), (one,))[1]) == 10
    assert ft.vmap(ft.grad(f))(ft.ones(2)).tolist() == [10, 10]
    assert ft.grad(lambda x: ft.vmap(f)(x).sum())(ft.ones(2)).tolist() == [10, 10]
    assert ft.vmap(lambda x: ft.jvp(f, (x,), (x,))[1])(ft.ones(2)).tolist() == [10, 10]
    x = ft.ones(2, requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == [10, 10]


def test_unmapped_arguments_gather_all_lanes():
    f = FORMS["custom_vjp"]
    x, y = ft.randn(5, 3, dtype=D), ft.randn(3, dtype=D)
    close(
        ft.grad(lambda y: ft.vmap(f, (0, None))(x, y).sum())(y),
        ft.grad(lambda y: ft.vmap(meaning, (0, None))(x, y).sum())(y),
    )


def test_transpose_rule():
    f = ft.custom_function(lambda x: x * 3, transpose=lambda ct, x: (ct * 3,))
    one = ft.tensor(1.0)
    assert float(ft.grad(f)(one)) == 3
    assert float(ft.jvp(f, (one,), (one * 2,))[1]) == 6
    assert ft.vmap(ft.grad(f))(ft.ones(2)).tolist() == [3, 3]
    assert float(ft.linear_transpose(f, one)(one)[0]) == 3


def test_vmap_rule():
    f = ft.custom_function(lambda x: x.sin(), vmap=lambda n, batched, x: (x.cos(), True))
    x = ft.randn(3)
    close(f(x), x.sin())
    close(ft.vmap(f)(x), x.cos())
    close(ft.grad(lambda x: ft.vmap(f)(x).sum())(x), -x.sin(), 1e-6)
    g = ft.custom_function(lambda x, y: x + y)

    @g.def_vmap
    def _(size, batched, x, y):
        assert (size, batched) == (3, [True, False])
        return x + y, True

    close(ft.vmap(g, (0, None))(x, ft.ones(())), x + 1)


def test_arguments_that_are_not_differentiated():
    f = ft.custom_vjp(lambda g, x: g(x), nondiff_argnums=(0,))
    f.defvjp(lambda g, x: (g(x), x), lambda g, x, ct: (ct * 100,))
    assert float(ft.grad(lambda x: f(ft.sin, x))(ft.tensor(0.0))) == 100
    h = ft.custom_jvp(lambda n, x: x**n, nondiff_argnums=(0,))
    h.defjvp(lambda n, p, t: (p[0] ** n, t[0] * n * 100))
    assert float(ft.grad(lambda x: h(3, x))(ft.tensor(1.0))) == 300


def test_trees_defaults_and_keywords():
    f = ft.custom_vjp(lambda d, n=3: {"o": d["a"] * n, "p": (d["b"],)})
    f.defvjp(
        lambda d, n: ({"o": d["a"] * n, "p": (d["b"] * 1,)}, n),
        lambda n, ct: ({"a": ct["o"] * n, "b": None}, None),
    )

    def loss(d):
        out = f(d, n=5)
        return out["o"] + out["p"][0]

    got = ft.grad(loss)({"a": ft.tensor(1.0), "b": ft.tensor(2.0)})
    assert float(got["a"]) == 5 and float(got["b"]) == 0


def test_closures_over_outer_transforms():
    def outer(scale, x):
        g = ft.custom_function(
            lambda x: x.sin() * scale,
            jvp=lambda p, t: (p[0].sin() * scale, t[0] * p[0].cos() * scale),
        )
        return ft.hessian(lambda x: g(x).sum())(x).sum()

    x = ft.tensor([0.1, 0.2])
    scales = ft.tensor([1.0, 2.0])
    close(ft.vmap(outer, (0, None))(scales, x), -scales * x.sin().sum(), 1e-6)
    close(ft.grad(outer)(scales[0], x), -x.sin().sum(), 1e-6)


def test_a_captured_tracer_of_the_same_transform_is_explained():
    def bad(x):
        g = ft.custom_function(lambda y: y * x, jvp=lambda p, t: (p[0] * x, t[0] * x))
        return g(x * 2)

    with pytest.raises(ft.TraceError, match="Pass it as an argument"):
        ft.grad(bad)(ft.tensor(2.0))


def test_rules_that_do_not_fit():
    x = ft.ones(3)
    f = ft.custom_vjp(lambda x: x * 1)
    f.defvjp(lambda x: x, lambda _, ct: (ct,))
    with pytest.raises(TypeError, match=r"expected a forward rule that returns \(result"):
        ft.vjp(f, x)
    f.defvjp(lambda x: (x * 1, None), lambda _, ct: (ct[:2],))
    with pytest.raises(ft.ShapeError, match=r"a gradient of shape \[3\] for input 0, got \[2\]"):
        ft.grad(lambda x: f(x).sum())(x)
    g = ft.custom_jvp(lambda x: x * 1)
    g.defjvp(lambda p, t: (p[0] * 1, t[0][:2]))
    with pytest.raises(ft.ShapeError, match="a tangent of the output's shape"):
        ft.jvp(g, (x,), (x,))

    class Short(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, ct):
            return ct

    with pytest.raises(ValueError, match="a backward that returns 2 gradients"):
        ft.grad(lambda x: Short.apply(x, x).sum())(x)
    with pytest.raises(ft.GradError, match="mark_dirty"):
        Function.__dict__  # noqa: B018
        from functorch_like.transforms.function import FunctionCtx

        FunctionCtx().mark_dirty(x)


class Mixed(Function):
    @staticmethod
    def forward(ctx, x, scale):
        at = x.argmax()
        ctx.mark_non_differentiable(at)
        ctx.shape = x.shape
        ctx.scale = scale
        ctx.needed = ctx.needs_input_grad
        return x * scale, at, "text"

    @staticmethod
    def backward(ctx, ct, _at, _text):
        assert ctx.needed == (True, False)
        assert ct.shape == ctx.shape
        return ct * ctx.scale, None


def test_outputs_of_other_kinds():
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    y, at, text = Mixed.apply(x, 3)
    assert y.requires_grad and not at.requires_grad and text == "text"
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]
    lanes = ft.vmap(ft.grad(lambda x: Mixed.apply(x, 3)[0].sum()))(x.detach().reshape(2, 1))
    assert lanes.tolist() == [[3], [3]]


def test_residuals_of_inputs_do_not_need_a_second_run():
    runs = []

    class Counted(Function):
        @staticmethod
        def forward(ctx, x):
            runs.append(1)
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, ct):
            return 2 * ct * ctx.saved_tensors[0]

    x = ft.tensor(3.0, requires_grad=True)
    Counted.apply(x).backward()
    assert len(runs) == 1 and float(x.grad) == 6


def test_a_saved_tensor_that_was_written_to_is_an_error():
    w = ft.ones(2)
    f = ft.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (x * w, w), lambda w, ct: (ct * w,))
    x = ft.ones(2, requires_grad=True)
    y = f(x).sum()
    w.add_(1)
    with pytest.raises(ft.GradError, match=r"a saved tensor \(shape \[2\]\) as it was"):
        y.backward()


def test_lanes_meet_inside():
    f = ft.custom_jvp(lambda x: x / ft.psum(x, "i"))
    f.defjvp(lambda p, t: (f(*p), t[0] * 7))
    assert ft.vmap(f, axis_name="i")(ft.tensor([1.0, 3.0])).tolist() == [0.25, 0.75]
    assert ft.vmap(ft.grad(f), axis_name="i")(ft.tensor([1.0, 3.0])).tolist() == [7, 7]


def test_exceptions_leave_nothing_behind():
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    x = ft.ones(2)
    f = ft.custom_function(lambda x: x.sum(), vjp=(lambda x: (x.sum(), None), stop))
    g = ft.custom_function(lambda x: x.sum(), vjp=(stop, stop))
    h = ft.custom_function(stop, jvp=stop)
    for broken in (f, g, h):
        for run in (ft.grad(broken), ft.vmap(ft.grad(broken)), ft.hessian(broken)):
            with pytest.raises(Stop):
                run(x.reshape(1, 2)) if run is not None else None
            assert state.trace is None and not active
            assert state.grad
    p = ft.ones(2, requires_grad=True)
    with pytest.raises(Stop):
        g(p)
    assert state.grad
