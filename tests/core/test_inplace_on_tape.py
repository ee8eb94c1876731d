"""In-place writes on the tape: programs against torch and finite differences, saved values."""

import numpy as np
import pytest

import functorch_like as ft


def leaf(*values, dtype=ft.float64):
    return ft.tensor(list(values), dtype=dtype, requires_grad=True)


IN_PLACE = {
    "add": lambda x, w: x.add_(w),
    "mul": lambda x, w: x.mul_(w),
    "mul number": lambda x, w: x.mul_(3),
    "self": lambda x, w: x.mul_(x),
    "chain": lambda x, w: x.mul_(w).add_(1).div_(w + 3).sub_(x),
    "exp": lambda x, w: x.exp_(),
    "tanh": lambda x, w: x.tanh_(),
    "operators": "x += w; x *= x; x -= 1; x /= w + 5; x **= 2",
    "item": "x[0] = w[1] * 2",
    "slice": "x[1:] = w[:-1] * x[0]",
    "slice in place": "x[1:] *= w[1:]",
    "column": "x[:, 0] = x[:, 1] * w[0, 0]",
    "mask": "x[x > 0] = 0.0",
    "mask with tensor": "x[x > 0] = w.sum()",
    "index list": "x[[0, 2]] = w[:2]",
    "index add": "x.index_put_((lib.tensor([0, 0]),), w[:1].clone(), accumulate=True)",
    "row view": "r = x[1]; r.mul_(w[0]); r += r.sum()",
    "view of view": "r = x[1:]; s = r[0]; s.copy_(w[2]); r.add_(x[0])",
    "transposed": "t = x.t(); t[0] = w[0]; t.mul_(2)",
    "two views": "a = x[0]; b = x[1]; a.mul_(b.clone()); b.mul_(a.clone())",
    "overlapping views": "a = x[:2]; b = x[1:]; a.mul_(w[:2]); b.mul_(w[1:]); a.add_(1)",
    "view read after base": "a = x[0]; x.mul_(w); y = a * a; x.add_(y)",
    "fill": "x[0].fill_(2.0); x[1].zero_()",
    "copy": "x.copy_(w)",
    "copy broadcast": "x.copy_(w[0])",
    "masked_fill": "x.masked_fill_(x > 0, 1.5)",
    "clamp": "x.clamp_(-0.5, 0.5)",
    "relu": "x.relu_()",
    "addcmul": "x.addcmul_(w, w, value=2)",
    "saved then changed": "y = x * 2; x.add_(1); x.mul_(y)",
    "buffer": "b = lib.zeros(3, 3, dtype=x.dtype); b[0] = x[0]; b[1:] = w[1:] * b[0]; x.add_(b)",
    "buffer rows": "b = lib.zeros(3, 3, dtype=x.dtype)\nfor i in range(3): b[i] = x[i] * w[i]\nx.mul_(b)",  # noqa: E501
    "running": "h = x[0] * 0\nfor i in range(3):\n h = (h + x[i]).tanh()\n x[i] = h * w[i]",
    "detached": "d = x.detach().clone(); d.mul_(3); x.mul_(d)",
    "no_grad": "\nwith lib.no_grad(): s = x * 2\nx.mul_(s)",
    "flat view": "f = x.view(9); f[::2] = 0.0; f[1::2] *= w.view(9)[1::2]",
    "diagonal": "x.diagonal().mul_(w.diagonal())",
    "unsqueezed": "x.unsqueeze(0)[0, 1] = w[1]",
    "swap": "x[0], x[1] = x[1].clone(), x[0].clone()",
}


@pytest.mark.torch
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_as_torch(bridge, name):
    program = IN_PLACE[name]
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    results = []
    for lib in (ft, bridge.torch):
        x0, w = lib.tensor(a, requires_grad=True), lib.tensor(b, requires_grad=True)
        x = x0 * 1.5
        if callable(program):
            program(x, w)
        else:
            scope = {"x": x, "w": w, "lib": lib}
            exec(program, scope)
            x = scope["x"]
        assert x.requires_grad
        out = (x * x * w).sum() if name not in ("tanh", "exp") else (x * 2).sum()
        try:
            out.backward()
        except RuntimeError as error:
            assert lib is not ft and "inplace" in str(error)
            pytest.skip("torch refuses it")
        grads = [np.zeros((3, 3)) if t.grad is None else t.grad.numpy() for t in (x0, w)]
        results.append((x.detach().numpy(), *grads))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_as_finite_differences(name):
    """The same programs, also through grad, jvp and vmap."""
    program = IN_PLACE[name]
    rng = np.random.default_rng(1)
    a, b = ft.tensor(rng.standard_normal((3, 3))), ft.tensor(rng.standard_normal((3, 3)))

    def f(x0, w):
        x = x0 * 1.5
        if callable(program):
            program(x, w)
        else:
            scope = {"x": x, "w": w, "lib": ft}
            exec(program, scope)
            x = scope["x"]
        return (x * x * w).sum()

    if name in ("detached", "no_grad"):
        return  # the derivative is not that of the value
    d, e, step = (
        ft.tensor(rng.standard_normal((3, 3))),
        ft.tensor(rng.standard_normal((3, 3))),
        1e-6,
    )
    slope = (f(a + step * d, b + step * e) - f(a - step * d, b - step * e)).item() / (2 * step)
    g, h = ft.grad(f, (0, 1))(a, b)
    assert ((g * d).sum() + (h * e).sum()).item() == pytest.approx(slope, rel=1e-5, abs=1e-6)
    value, tangent = ft.jvp(f, (a, b), (d, e))
    assert tangent.item() == pytest.approx(
        slope, rel=1e-5, abs=1e-6
    ) and value.item() == pytest.approx(f(a, b).item())
    if "mask" not in name:
        values = ft.vmap(f)(ft.stack([a, d]), ft.stack([b, e]))
        np.testing.assert_allclose(values.tolist(), [f(a, b).item(), f(d, e).item()])
        np.testing.assert_allclose(
            ft.vmap(ft.grad(f), (None, 0))(a, ft.stack([b, e]))[1].numpy(),
            ft.grad(f)(a, e).numpy(),
            atol=1e-12,
        )


def test_in_place_on_a_leaf():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    for write in (
        lambda: x.add_(1),
        lambda: x[0].mul_(2),
        lambda: x.view(2, 2)[0][1].fill_(3),
        lambda: x.__setitem__(0, 5.0),
        lambda: x.view(2, 2).t()[0].zero_(),
        lambda: x.copy_(ft.ones(4)),
        lambda: x.zero_(),
    ):
        with pytest.raises(ft.GradError, match="no_grad"):
            write()
    assert x.tolist() == [1, 2, 3, 4]


def test_in_place_on_a_saved_tensor():
    """Written in memory (no tape watches): an error that names the operation which saved it."""
    x = leaf(1.0, 2.0)
    for save, name in (
        (lambda y: y * y, "mul"),
        (lambda y: y.exp(), "exp"),
        (lambda y: y.sin(), "sin"),
    ):
        y = x * 1
        z = save(y)
        with ft.no_grad():
            (z if name == "exp" else y).add_(1)
        with pytest.raises(ft.GradError, match=f"of {name} "):
            z.sum().backward()
    b = ft.ones(2, dtype=ft.float64)
    z = x * b
    b.add_(1)
    with pytest.raises(ft.GradError, match="mul"):
        z.sum().backward()
    b = ft.ones(2, dtype=ft.float64)
    z = x * b
    b[0] = 5.0
    with pytest.raises(ft.GradError, match="changed"):
        z.sum().backward()
    assert x.grad is None


def test_in_place_on_a_tensor_that_is_not_needed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y + y  # saves nothing
    with ft.no_grad():
        y.zero_()
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_recorded_in_place_keeps_saved_values():
    """torch refuses this program; here the saved value is the one of that time."""
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    (z + y).sum().backward()
    assert x.grad.tolist() == [3, 5]


def test_saved_outputs_survive_recorded_in_place():
    x = leaf(1.0)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()
    assert x.grad.item() == pytest.approx(2 * np.e)


def test_detached_in_place_keeps_history():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    y.detach_()
    z.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_data_write_to_a_saved_tensor_is_noticed():
    x = leaf(1.0)
    y = x * 1
    z = y * y
    y.data.add_(1)
    with pytest.raises(ft.GradError):
        z.sum().backward()


def test_long_in_place_loops():
    x = leaf(1.0)
    y = x * 1
    for _ in range(3000):
        y += x
        y *= 1.0
    y.sum().backward()
    assert x.grad.item() == 3001
