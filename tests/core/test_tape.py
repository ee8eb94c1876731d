"""The imperative tape: backward, accumulation, graphs of graphs, hooks, grad modes, in-place
operations."""

import threading

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import autograd


def leaf(*values, dtype=ft.float64):
    return ft.tensor(list(values), dtype=dtype, requires_grad=True)


# ---- requires_grad ----


def test_requires_grad_spreads():
    x, y = leaf(1.0), ft.ones(1)
    assert x.is_leaf and x.grad_fn is None and y.is_leaf and not y.requires_grad
    z = x * y
    assert z.requires_grad and not z.is_leaf and not (y * y).requires_grad
    assert repr(z.grad_fn) == "<MulBackward0>" and z.grad_fn.name() == "MulBackward0"
    assert z.grad_fn.next_functions[1][0] is None
    assert not (x > 0).requires_grad and not x.argmax().requires_grad and not x.long().requires_grad


def test_requires_grad_in_place():
    x = ft.ones(2)
    assert x.requires_grad_() is x and x.requires_grad
    x.requires_grad = False
    assert not x.requires_grad
    x.requires_grad_(False)
    y = leaf(1.0) * 2
    y.requires_grad_()  # it does already
    with pytest.raises(ft.GradError, match="detach"):
        y.requires_grad_(False)
    for bad in (ft.tensor([1]), ft.tensor([True])):
        with pytest.raises(ft.DTypeError, match="floating"):
            bad.requires_grad_()
    x.requires_grad_()
    (x * 2).sum().backward()
    x.requires_grad_(False)
    assert x.grad.tolist() == [2, 2]


# ---- backward ----


def test_simple():
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    (x**2).sum().backward()
    assert x.grad.tolist() == [2, 4] and x.grad.dtype is ft.float32 and not x.grad.requires_grad


def test_accumulation():
    x = leaf(1.0, 2.0)
    for n in range(1, 4):
        (x * 3).sum().backward()
        assert x.grad.tolist() == [3 * n, 3 * n]
    x.grad.zero_()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    x.grad = None
    assert x.grad is None


def test_accumulates_into_the_same_memory():
    x = leaf(1.0)
    (x * 1).backward()
    g = x.grad
    (x * 1).backward()
    assert x.grad is g and g.tolist() == [2]


def test_diamonds_and_reuse():
    x = leaf(3.0)
    y = x * x
    z = y * y + y
    (z + z * x).sum().backward()
    v = 3.0  # d/dx (x^4 + x^2)(1 + x)
    assert x.grad.item() == pytest.approx((4 * v**3 + 2 * v) * (1 + v) + v**4 + v**2)


def test_gradient_argument():
    x = leaf(1.0, 2.0)
    (x * x).backward(ft.tensor([10.0, 1.0], dtype=ft.float64))
    assert x.grad.tolist() == [20, 4]
    x.grad = None
    (x * x).backward(gradient=ft.ones(2, dtype=ft.float64))
    assert x.grad.tolist() == [2, 4]
    ft.ones(1, requires_grad=True).backward()  # one element counts as a scalar


def test_bad_backward():
    x = leaf(1.0, 2.0)
    with pytest.raises(ft.GradError, match="gradient="):
        (x * 2).backward()
    with pytest.raises(ft.ShapeError, match=r"\[2\]"):
        (x * 2).backward(ft.ones(3))
    with pytest.raises(TypeError):
        (x * 2).backward(3)
    with pytest.raises(ft.GradError, match="requires grad"):
        ft.ones(()).backward()
    with pytest.raises(ft.GradError, match="requires grad"):
        x.detach().sum().backward()
    with pytest.raises(ft.GradError, match="real"):
        (x * 1j).sum().backward()
    assert x.grad is None


def test_freed_graphs():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(ft.GradError, match="retain_graph=True"):
        y.backward()
    assert x.grad.item() == 4
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12


def test_shared_part_of_freed_graph():
    x = leaf(2.0)
    y = x * x
    y.sum().backward()
    with pytest.raises(ft.GradError, match="freed"):
        (y * 3).sum().backward()


def test_inputs():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    (z * y).sum().backward(inputs=[x])
    assert x.grad.item() == 9 and y.grad is None
    z = x * y
    (z * y).sum().backward(inputs=z)
    assert z.grad.item() == 3 and y.grad is None
    with pytest.raises(ValueError, match="inputs"):
        (x * y).sum().backward(inputs=[])


def test_backward_of_several():
    x = leaf(2.0)
    autograd.backward([(x * 2).sum(), (x * x).sum()])
    assert x.grad.item() == 6
    x.grad = None
    y = x * 3
    autograd.backward(
        [y, y * 2], [ft.tensor([1.0], dtype=ft.float64), ft.tensor([10.0], dtype=ft.float64)]
    )
    assert x.grad.item() == 63
    with pytest.raises(ValueError):
        autograd.backward([x * 1, x * 2], [ft.ones(1)])


def test_a_leaf_as_root():
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1
    g = ft.tensor([5.0], dtype=ft.float64)
    y = leaf(2.0)
    y.backward(g)
    y.grad.zero_()
    assert g.item() == 5


def test_broadcasting_and_dtypes():
    x, y = ft.ones(2, 1, requires_grad=True), ft.ones(3, dtype=ft.float64, requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.tolist() == [[3], [3]] and x.grad.dtype is ft.float32
    assert y.grad.tolist() == [2, 2, 2] and y.grad.dtype is ft.float64


def test_complex():
    z = ft.tensor([1 + 2j], requires_grad=True)
    (z * z.conj()).real.sum().backward()
    assert z.grad.tolist() == [2 + 4j]
    x = ft.tensor([1.0], requires_grad=True)
    (x * (1 + 1j)).imag.sum().backward()
    assert x.grad.dtype is ft.float32 and x.grad.item() == 1


# ---- higher order ----


def test_create_graph():
    x = leaf(2.0)
    (g,) = autograd.grad((x**3).sum(), x, create_graph=True)
    assert g.item() == 12 and g.requires_grad
    (h,) = autograd.grad(g.sum(), x, create_graph=True)
    (k,) = autograd.grad(h.sum(), x)
    assert (h.item(), k.item()) == (12, 6) and not k.requires_grad


def test_create_graph_in_backward():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    x.grad = None
    g.sum().backward()
    assert x.grad.item() == 12
    x.grad = None
    (x**3).sum().backward(create_graph=True)
    (x**3).sum().backward(create_graph=True)
    (h,) = autograd.grad(x.grad.sum(), x)
    assert x.grad.item() == 24 and h.item() == 24


def test_gradient_penalty():
    w = leaf(0.5, -1.5)
    x = leaf(1.0, 2.0)
    (g,) = autograd.grad((w * x**2).sum().tanh(), x, create_graph=True)
    (g**2).sum().backward()

    def penalty(w, x):
        return (ft.grad(lambda x: (w * x**2).sum().tanh())(x) ** 2).sum()

    np.testing.assert_allclose(w.grad.numpy(), ft.grad(penalty)(w.detach(), x.detach()).numpy())


# ---- autograd.grad ----


def test_grad_leaves_grad_alone():
    x, y = leaf(2.0), leaf(3.0)
    gx, gy = autograd.grad((x * y).sum(), (x, y))
    assert (gx.item(), gy.item(), x.grad, y.grad) == (3, 2, None, None)


def test_grad_of_intermediates():
    x = leaf(2.0)
    y = x * x
    z = (y * y).sum()
    gy, gx = autograd.grad(z, (y, x))
    assert (gy.item(), gx.item()) == (8, 32)


def test_grad_with_grad_outputs():
    x = leaf(1.0, 2.0)
    (g,) = autograd.grad(x * x, x, ft.tensor([1.0, 10.0], dtype=ft.float64))
    assert g.tolist() == [2, 40]
    (g,) = autograd.grad(
        [x * x, x], [x], [ft.ones(2, dtype=ft.float64), ft.ones(2, dtype=ft.float64)]
    )
    assert g.tolist() == [3, 5]


def test_grad_unused():
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(ft.GradError, match="allow_unused=True"):
        autograd.grad((x * 2).sum(), (x, y))
    gx, gy = autograd.grad((x * 2).sum(), (x, y), allow_unused=True)
    assert gx.item() == 2 and gy is None
    gx, gy = autograd.grad((x * 2).sum(), (x, y), materialize_grads=True)
    assert gy.tolist() == [0] and gy.dtype is ft.float64


def test_grad_errors():
    x = leaf(2.0)
    with pytest.raises(ft.GradError, match="input 1"):
        autograd.grad((x * 2).sum(), (x, ft.ones(1)))
    with pytest.raises(ft.GradError, match="scalar"):
        autograd.grad(leaf(1.0, 2.0) * 1, x)
    y = (x * x).sum()
    autograd.grad(y, x)
    with pytest.raises(ft.GradError, match="retain_graph"):
        autograd.grad(y, x)


# ---- hooks ----


def test_hooks_on_leaves_and_results():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1, 1]] and x.grad.tolist() == [21, 21]


def test_hooks_see_the_complete_gradient_once():
    x = leaf(1.0)
    y = x * 1
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y + y * y + y * 3).sum().backward()
    assert seen == [6]


def test_removed_hooks():
    x = leaf(1.0)
    first = x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g * 3)
    first.remove()
    first.remove()
    (x * 1).sum().backward()
    assert x.grad.item() == 3


def test_hook_on_one_of_several_outputs():
    x = ft.tensor([[1.0, 5.0], [7.0, 2.0]], requires_grad=True)
    values, _ = x.max(1)
    values.register_hook(lambda g: g * 2)
    values.sum().backward()
    assert x.grad.tolist() == [[0, 2], [2, 0]]


def test_hooks_work_with_autograd_grad():
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    assert autograd.grad(y.sum(), x)[0].item() == 10


def test_failing_hook():
    x = leaf(1.0)
    y = x * 2

    def fail(g):
        raise KeyError("mine")

    y.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    assert ft.is_grad_enabled() and x.grad is None


def test_post_accumulate_hooks_receive_the_tensor():
    x = leaf(1.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    assert seen == [(True, 2), (True, 4)] and x.grad.item() == 6
    with pytest.raises(ft.GradError, match="leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_optimizer_in_the_hook():
    x = leaf(1.0)

    def step(t):
        with ft.no_grad():
            t -= 0.1 * t.grad
        t.grad = None

    x.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.item() == pytest.approx(0.8**3) and x.grad is None


def test_hook_on_a_tensor_without_grad():
    with pytest.raises(ft.GradError, match="requires_grad_"):
        ft.ones(1).register_hook(print)


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * x
    y.retain_grad()
    z = y * 3
    z.sum().backward()
    assert y.grad.tolist() == [3, 3] and z.grad is None
    x.retain_grad()  # nothing to do for a leaf
    with pytest.raises(ft.GradError):
        ft.ones(1).retain_grad()


# ---- grad modes ----


def test_no_grad():
    x = leaf(1.0)
    with ft.no_grad():
        assert not (x * 2).requires_grad and not ft.is_grad_enabled()
        with ft.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with ft.inference_mode():
        assert not (x * 2).requires_grad
    with ft.inference_mode(False):
        assert (x * 2).requires_grad


def test_modes_are_restored_after_exceptions():
    for mode in (ft.no_grad, ft.inference_mode, lambda: ft.set_grad_enabled(False)):
        with pytest.raises(KeyError), mode():
            raise KeyError
        assert ft.is_grad_enabled()


def test_modes_as_decorators():
    @ft.no_grad()
    def f(x):
        return ft.is_grad_enabled(), x

    @ft.no_grad
    def g():
        return ft.is_grad_enabled()

    @ft.enable_grad()
    def h():
        return ft.is_grad_enabled()

    @ft.set_grad_enabled(False)
    def k():
        return ft.is_grad_enabled()

    assert ft.is_grad_enabled() and f.__name__ == "f"
    assert f(3) == (False, 3) and g() is False and k() is False
    with ft.no_grad():
        assert h() is True and f(1)[0] is False
    assert ft.is_grad_enabled()


def test_modes_as_decorators_recursive_and_failing():
    @ft.no_grad()
    def f(n):
        if n == 0:
            raise KeyError
        f(n - 1)

    with pytest.raises(KeyError):
        f(3)
    assert ft.is_grad_enabled()


def test_generators_switch_the_mode_only_while_they_run():
    @ft.no_grad()
    def f():
        sent = yield ft.is_grad_enabled()
        yield sent, ft.is_grad_enabled()
        return "end"

    it = f()
    assert next(it) is False and ft.is_grad_enabled()
    assert it.send(5) == (5, False) and ft.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(it)
    assert list(f())[-1] == (None, False)


def test_modes_can_be_reentered():
    mode = ft.no_grad()
    with mode:
        with mode:
            assert not ft.is_grad_enabled()
        assert not ft.is_grad_enabled()
    assert ft.is_grad_enabled()


def test_decorated_functions_in_several_threads():
    inside = threading.Barrier(2)
    left = threading.Event()

    @ft.no_grad()
    def f(name):
        inside.wait(10)
        if name == "slow":  # ends after the other one, which was entered from another mode
            left.wait(10)

    def run(name, enabled, seen):
        ft.set_grad_enabled(enabled)
        f(name)
        left.set()
        seen[name] = ft.is_grad_enabled()

    seen = {}
    threads = [
        threading.Thread(target=run, args=a) for a in (("fast", True, seen), ("slow", False, seen))
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert seen == {"fast": True, "slow": False}


def test_set_grad_enabled_can_be_used_again():
    mode = ft.set_grad_enabled(False)
    for _ in range(2):
        with mode:
            assert not ft.is_grad_enabled()
            with mode:
                assert not ft.is_grad_enabled()
            assert not ft.is_grad_enabled()
        assert ft.is_grad_enabled()


def test_set_grad_enabled_as_a_function():
    ft.set_grad_enabled(False)
    assert not ft.is_grad_enabled()
    ft.set_grad_enabled(True)
    assert ft.is_grad_enabled()
    with ft.set_grad_enabled(False):
        assert not ft.is_grad_enabled()
    assert ft.is_grad_enabled()


def test_views_of_leaves_can_be_written_under_no_grad():
    x = leaf(1.0, 2.0)
    with ft.no_grad():
        x[0] = 5.0
        x.mul_(2)
        x[1:] += 1
    assert x.tolist() == [10, 5] and x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [20, 10]


# ---- detach, data, .grad ----


def test_detach():
    x = leaf(3.0)
    ((x * 2).detach() * x).sum().backward()
    assert x.grad.item() == 6


def test_data():
    x = leaf(1.0, 2.0)
    x.data.mul_(10)
    assert x.tolist() == [10, 20] and x.requires_grad
    x.data = ft.tensor([5.0, 6.0], dtype=ft.float64)
    assert x.tolist() == [5, 6] and x.requires_grad and x.is_leaf
    (x * x).sum().backward()
    assert x.grad.tolist() == [10, 12]


def test_grad_assignment():
    x = leaf(1.0, 2.0)
    x.grad = ft.ones(2, dtype=ft.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3, 3]
    for bad, error in (
        (ft.ones(3, dtype=ft.float64), ft.ShapeError),
        (ft.ones(2), ft.DTypeError),
        ([1, 2], TypeError),
        (x, ft.GradError),
    ):
        with pytest.raises(error):
            x.grad = bad
    assert x.grad.tolist() == [3, 3]
    y = ft.ones(2)
    y.grad = ft.zeros(2)
    assert y.grad.tolist() == [0, 0] and not y.requires_grad and (y + 1).tolist() == [2, 2]


# ---- no aliases ----


def test_leaf_grads_share_nothing():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    x.grad.mul_(100)
    assert y.grad.tolist() == [1, 1]
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    g = ft.ones(2, dtype=ft.float64)
    (x + y).backward(g)
    x.grad.add_(5)
    y.grad.add_(7)
    assert (g.tolist(), x.grad.tolist(), y.grad.tolist()) == ([1, 1], [6, 6], [8, 8])


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: (a + b).sum(),
        lambda a, b: (a.t() + b).sum(),
        lambda a, b: (a.reshape(4) + b.view(4)).sum(),
        lambda a, b: ft.stack([a, b]).sum(),
        lambda a, b: (a.expand(2, 2) - -b).sum(),
        lambda a, b: (a[:] + b.unsqueeze(0)).sum(),
    ],
)
def test_leaf_grads_share_nothing_through_views(f):
    a, b = ft.ones(2, 2, requires_grad=True), ft.ones(2, 2, requires_grad=True)
    f(a, b).backward()
    before = b.grad.tolist()
    a.grad.fill_(7)
    assert b.grad.tolist() == before
    b.grad.fill_(8)
    assert a.grad.tolist() == [[7, 7], [7, 7]]


def test_retained_grads_and_hooks_keep_what_they_saw():
    x = leaf(1.0, 2.0)
    y = x + 1
    y.retain_grad()
    seen = []
    x.register_hook(seen.append)
    y.sum().backward()
    (x * 2).sum().backward()
    assert seen[0].tolist() == [1, 1] and y.grad.tolist() == [1, 1] and x.grad.tolist() == [3, 3]


# ---- several outputs ----


def test_several_outputs():
    x = ft.tensor([[1.0, 5.0], [7.0, 2.0]], requires_grad=True)
    values, where = x.max(dim=1)
    assert where.tolist() == [1, 0] and not where.requires_grad
    (values * ft.tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [[0, 1], [10, 0]]
    x.grad = None
    a, b = x.unbind(1)
    (a * b * 2).sum().backward()
    assert x.grad.tolist() == [[10, 2], [4, 14]]
    x.grad = None
    _, last = x.split(1)
    last.sum().backward()
    assert x.grad.tolist() == [[0, 0], [1, 1]]


def test_second_order_through_several_outputs():
    x = ft.tensor([1.0, 5.0, 3.0], requires_grad=True)
    values, _ = (x**3).max(0)
    (g,) = autograd.grad(values, x, create_graph=True)
    (h,) = autograd.grad(g.sum(), x)
    assert g.tolist() == [0, 75, 0] and h.tolist() == [0, 30, 0]


# ---- in place ----

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


# ---- inside transforms ----


def test_backward_inside_vmap_and_grad():
    def f(x):
        p = x.detach().requires_grad_()
        (p**3).sum().backward()
        return p.grad

    assert ft.vmap(f)(ft.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[3, 12], [27, 48]]

    def g(x):
        p = (x * 1).requires_grad_()
        (q,) = autograd.grad((p**3).sum(), p, create_graph=True)
        return q.sum()

    assert ft.grad(g)(ft.tensor([1.0, 2.0])).tolist() == [6, 12]
    assert ft.vmap(ft.grad(g))(ft.tensor([[1.0, 2.0]])).tolist() == [[6, 12]]
    assert ft.jvp(g, (ft.tensor([1.0, 2.0]),), (ft.ones(2),))[1].item() == 18


def test_tape_outside_transforms():
    """A leaf captured by a transformed function gets its gradient through it."""
    w = leaf(2.0, 3.0)
    g = ft.grad(lambda x: (w * x**2).sum())(ft.ones(2, dtype=ft.float64))
    g.sum().backward()
    assert w.grad.tolist() == [2, 2]
    w.grad = None
    ft.vmap(lambda x: (w * x).sum())(ft.ones(3, 2, dtype=ft.float64)).sum().backward()
    assert w.grad.tolist() == [3, 3]


def test_backward_into_a_leaf_from_outside_of_a_transform():
    """Its .grad would be a value of the transform that outlives it: an error, and nothing is left
    behind."""
    p = ft.ones(2, requires_grad=True)

    def f(x):
        (p * x).sum().backward()
        return x

    for transform in (ft.vmap, lambda f: ft.grad(lambda x: f(x).sum())):
        with pytest.raises(ft.TraceError, match="captured from outside"):
            transform(f)(ft.ones(3, 2))
        assert p.grad is None
    q = ft.ones(2)
    with pytest.raises(ft.TraceError, match="captured from outside"):
        ft.vmap(lambda x: (q.requires_grad_() * x).sum())(ft.ones(3, 2))
    g = ft.vmap(lambda x: ft.autograd.grad((p * x).sum(), p)[0])(
        ft.tensor([[1.0, 2.0], [3.0, 4.0]])
    )
    assert g.tolist() == [[1, 2], [3, 4]] and p.grad is None


def test_hooks_that_return_nonsense():
    for bad, error in ((ft.ones(3), ft.ShapeError), (3, TypeError)):
        x = ft.ones(2, requires_grad=True)
        x.register_hook(lambda g, bad=bad: bad)
        with pytest.raises(error, match="hook"):
            (x * 1).sum().backward()
        assert x.grad is None


def test_retained_grad_of_a_tensor_written_later():
    w = leaf(1.0, 1.0)
    x = w * 1
    x.retain_grad()
    x.mul_(3)
    x.sum().backward()
    assert x.grad.tolist() == [1, 1] and w.grad.tolist() == [3, 3]


def test_post_accumulate_hooks_run_while_backward_does():
    seen = []
    first, second, shared = leaf(2.0), leaf(3.0), leaf(5.0)
    for name, x in (("first", first), ("second", second), ("shared", shared)):
        x.register_post_accumulate_grad_hook(lambda t, n=name: seen.append((n, t.grad.item())))
    hidden = (first * shared).exp()
    hidden.register_hook(lambda g: seen.append("hidden"))
    (hidden * second * shared).sum().backward()
    e = float(np.exp(10.0))
    assert [s if isinstance(s, str) else s[0] for s in seen] == [
        "second",
        "hidden",
        "first",
        "shared",
    ]
    assert seen[0][1] == pytest.approx(5 * e) and seen[2][1] == pytest.approx(75 * e)
    assert seen[3][1] == pytest.approx(3 * e + 15 * 2 * e)


def test_early_hooks_see_all_that_a_leaf_gets():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(lambda g: g * 10)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    a, b = (x * 3).split(1)
    (a * b + x.sum() + x[:1]).sum().backward()
    assert seen == [[200.0, 100.0]] and x.grad.tolist() == [200.0, 100.0]
    (x * x.detach()).sum().backward()
    assert seen[1] == [210.0, 120.0]
    x.backward(ft.ones(2, dtype=ft.float64))
    assert seen[2] == [220.0, 130.0]


def test_callbacks_at_the_end_of_backward():
    seen = []
    x, y = leaf(1.0), leaf(1.0)

    def hook(t):
        autograd.queue_callback(lambda: seen.append("end"))
        seen.append("hook")

    x.register_post_accumulate_grad_hook(hook)
    (x * y).sum().backward()
    assert seen == ["hook", "end"] and y.grad.item() == 1.0
    with pytest.raises(autograd.GradError, match="running backward"):
        autograd.queue_callback(print)
    ft.compile(lambda: (x * y).sum().backward())()
    assert seen == ["hook", "end"] * 2


def test_batches_of_cotangents():
    """As a call for each, in one pass."""
    x, unused = ft.arange(3.0).requires_grad_(), ft.ones(2, requires_grad=True)
    y, cts = x**3, ft.arange(6.0).reshape(2, 3)
    each = [autograd.grad(y, x, ct, retain_graph=True)[0].tolist() for ct in cts]
    gx, none = autograd.grad(y, (x, unused), cts, True, True, True, is_grads_batched=True)
    assert gx.tolist() == each and none is None
    (second,) = autograd.grad(gx.sum(), x)
    assert second.tolist() == (6 * x.detach() * cts.sum(0)).tolist()


@pytest.mark.parametrize("share", [lambda x: x.t(), lambda x: x[1:], lambda x: x.reshape(6)])
def test_views_and_sums_of_several_passes(share):
    """Only what saves tensors is used up by a pass."""
    x = ft.ones(2, 3, requires_grad=True)
    z = share(x)
    one, other, total = (z * 2).sum(), (z * 3).sum(), x.sum()
    for loss in (one, other, total, total):
        loss.backward()
    seen = ft.grad(lambda x: share(x).sum())(ft.zeros(2, 3))
    assert x.grad.tolist() == (2 + 5 * seen).tolist()
    product = z.exp().sum()
    product.backward()
    with pytest.raises(ft.GradError, match="retain_graph"):
        product.backward()
