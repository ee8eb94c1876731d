"""The tape: what it records, backward(), autograd.grad and gradients of any order."""

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


def test_batches_of_cotangents():
    """As a call for each, in one pass."""
    x, unused = ft.arange(3.0).requires_grad_(), ft.ones(2, requires_grad=True)
    y, cts = x**3, ft.arange(6.0).reshape(2, 3)
    each = [autograd.grad(y, x, ct, retain_graph=True)[0].tolist() for ct in cts]
    gx, none = autograd.grad(y, (x, unused), cts, True, True, True, is_grads_batched=True)
    assert gx.tolist() == each and none is None
    (second,) = autograd.grad(gx.sum(), x)
    assert second.tolist() == (6 * x.detach() * cts.sum(0)).tolist()


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
