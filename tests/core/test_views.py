"""Views share memory: writes through chains of them, in memory, on the tape and under
transforms."""

import numpy as np
import pytest

import functorch_like as ft

# name, shape of the base, how to view it
VIEWS = [
    ("index", (3, 4), lambda x: x[1]),
    ("slice", (5,), lambda x: x[1:4]),
    ("strided slice", (5,), lambda x: x[::2]),
    ("none", (3,), lambda x: x[:, None]),
    ("transpose", (3, 4), lambda x: x.t()),
    ("T", (2, 3, 4), lambda x: x.T),
    ("permute", (2, 3, 4), lambda x: x.permute(2, 0, 1)),
    ("movedim", (2, 3, 4), lambda x: x.movedim(0, 2)),
    ("view", (3, 4), lambda x: x.view(2, 6)),
    ("reshape", (3, 4), lambda x: x.reshape(12)),
    ("flatten", (3, 4), lambda x: x.flatten()),
    ("unflatten", (6,), lambda x: x.unflatten(0, (2, 3))),
    ("unsqueeze", (3,), lambda x: x.unsqueeze(0)),
    ("squeeze", (3, 1), lambda x: x.squeeze(1)),
    ("diagonal", (3, 4), lambda x: x.diagonal(1)),
    ("narrow", (5, 2), lambda x: x.narrow(0, 1, 2)),
    ("select", (5, 2), lambda x: x.select(1, 0)),
    ("unbind", (3, 2), lambda x: x.unbind(0)[1]),
    ("split", (5, 2), lambda x: x.split(2)[1]),
    ("chunk", (6,), lambda x: x.chunk(3)[2]),
    ("chain", (3, 4), lambda x: x.t()[1:3].reshape(2, 3)[:, 1]),
    ("chain of views", (2, 3, 4), lambda x: x[1].t().unsqueeze(0)[0, 2]),
]
parametrized = pytest.mark.parametrize(
    ("shape", "view"), [v[1:] for v in VIEWS], ids=[v[0] for v in VIEWS]
)


def base(shape):
    return ft.arange(1.0, 1 + float(np.prod(shape)), dtype=ft.float64).reshape(shape).clone()


def mask_of(shape, view):
    """1 where the view looks."""
    m = ft.zeros(shape, dtype=ft.float64)
    view(m).fill_(1)
    return m


@parametrized
def test_writes_go_both_ways(shape, view):
    x = base(shape)
    v = view(x)
    assert np.shares_memory(v.numpy(), x.numpy())
    before = x.clone()
    v += 100
    m = mask_of(shape, view)
    assert 0 < m.sum().item() == v.numel()
    assert x.tolist() == (before + 100 * m).tolist()
    x.zero_()
    assert v.abs().sum().item() == 0


@parametrized
@pytest.mark.parametrize("where", ["tape", "grad", "jvp", "vmap", "vmap(grad)", "plain base"])
def test_recorded_writes_equal_the_out_of_place_program(shape, view, where):
    """v *= w; the base, the view and another view made before see it, and gradients are right."""
    m = mask_of(shape, view)

    def in_place(x, w):
        x = x * 1
        early = view(x)
        v = view(x)
        v *= w
        v += 1
        return (x * x).sum() + (early * early * early).sum() + v.sum()

    def out_of_place(x, w):
        x = x * (m * w + (1 - m)) + m
        return (x * x).sum() + 2 * 0 + (m * x * x * x).sum() + (m * x).sum()

    x, w = base(shape), ft.tensor(1.5, dtype=ft.float64)
    want = [ft.grad(out_of_place, 0)(x, w), ft.grad(out_of_place, 1)(x, w)]
    if where == "tape":
        x.requires_grad_()
        w.requires_grad_()
        y = in_place(x, w)
        y.backward()
        assert y.item() == pytest.approx(out_of_place(x.detach(), w.detach()).item())
        got = [x.grad, w.grad]
    elif where == "grad":
        got = ft.grad(in_place, (0, 1))(x, w)
    elif where == "jvp":
        t = base(shape).sin()
        _, tangent = ft.jvp(in_place, (x, w), (t, ft.ones_like(w)))
        assert tangent.item() == pytest.approx(((want[0] * t).sum() + want[1]).item())
        return
    elif where == "vmap":
        xs, ws = ft.stack([x, 2 * x, -x]), ft.tensor([1.5, 0.5, 2.0], dtype=ft.float64)
        got = ft.vmap(in_place)(xs, ws)
        np.testing.assert_allclose(
            got.tolist(), [in_place(a, b).item() for a, b in zip(xs, ws, strict=True)]
        )
        np.testing.assert_allclose(
            ft.vmap(in_place, (None, 0))(x, ws).tolist(), [in_place(x, b).item() for b in ws]
        )
        return
    elif where == "vmap(grad)":
        xs = ft.stack([x, 2 * x])
        got = ft.vmap(ft.grad(in_place, (0, 1)), (0, None))(xs, w)
        one = [ft.grad(out_of_place, (0, 1))(a, w) for a in xs]
        for i in range(2):
            np.testing.assert_allclose(got[i].numpy(), ft.stack([o[i] for o in one]).numpy())
        return
    else:  # a plain base, viewed before, gets a recorded value
        w.requires_grad_()
        x0 = base(shape)
        early, v = view(x0), view(x0)
        v.copy_(v * w)
        np.testing.assert_allclose(early.tolist(), v.tolist())
        (x0 * x0).sum().backward()
        assert w.grad.item() == pytest.approx((2 * 1.5 * (m * base(shape) ** 2)).sum().item())
        return
    for g, e in zip(got, want, strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy())


@parametrized
@pytest.mark.torch
def test_against_torch(bridge, shape, view):
    def program(lib, x, w):
        y = x * w
        v, early = view(y), view(y)
        v.mul_(y.sum() / 7)
        y.add_(w)
        early.sub_(0.5)
        v[...] = v.clone() * early.clone()
        return (y * y).sum() + (v * w).sum()

    if {"T", "unbind", "split", "chunk"} & set(view.__code__.co_names):
        pytest.skip("deprecated in torch for three dimensions, or refused in place")
    x, w = base(shape).requires_grad_(), ft.tensor(0.7, dtype=ft.float64, requires_grad=True)
    u, z = bridge.theirs(x), bridge.theirs(w)
    for lib, a, b in ((ft, x, w), (bridge.torch, u, z)):
        program(lib, a, b).backward()
    bridge.same(x.grad, u.grad, 1e-9)
    bridge.same(w.grad, z.grad, 1e-9)


def test_setitem_chains():
    x = ft.zeros(2, 3)
    x[0][1] = 5
    x[1][0:2][1] = 6
    assert x.tolist() == [[0, 5, 0], [0, 6, 0]]
    w = ft.tensor(2.0, requires_grad=True)
    x = ft.zeros(2, 3)
    x[0][1] = w * 3
    x[0][0:2] *= w
    assert x.tolist() == [[0, 12, 0], [0, 0, 0]]
    x.sum().backward()
    assert w.grad.item() == 12


def test_chain_of_plain_views_of_a_tensor_that_gets_recorded():
    w = ft.tensor([1.0, 2.0], requires_grad=True)
    x = ft.zeros(2, 2, 2)
    a = x[0]
    b, c = a[1], a.t()
    other = x[1]
    b.copy_(w)
    assert c.tolist() == [[0, 1], [0, 2]] and a.tolist() == [[0, 0], [1, 2]]
    assert c.requires_grad and x.requires_grad and other.tolist() == [[0, 0], [0, 0]]
    c.sum().backward()
    assert w.grad.tolist() == [1, 1]


def test_reading_a_view_of_a_rebound_base():
    """Every way to look at a view sees what was written to its base."""
    w = ft.tensor([1.0, 2.0], requires_grad=True)

    def fresh():
        x = w * 1
        v = x[1]
        x.mul_(10)
        return v

    assert fresh().item() == 20 and float(fresh()) == 20 and fresh().tolist() == 20
    assert (
        fresh().detach().numpy() == 20
        and bool(fresh() == 20)
        and repr(fresh()).startswith("tensor(20.")
    )
    assert f"{fresh():.0f}" == "20" and fresh().data.item() == 20
    assert (fresh() + 1).item() == 21 and ft.stack([fresh(), fresh()]).tolist() == [20, 20]
    fresh().backward()
    assert w.grad.tolist() == [0, 10]
    (g,) = ft.autograd.grad(fresh(), w)
    assert g.tolist() == [0, 10]


def test_no_grad_does_not_cut_a_view():
    w = ft.tensor([1.0, 2.0], requires_grad=True)
    x = w * 1
    v = x[0]
    x.mul_(10)
    with ft.no_grad():
        assert v.item() == 10
    v.backward()
    assert w.grad.tolist() == [10, 0]


def test_memory_is_shared_again_after_recorded_writes():
    w = ft.tensor([1.0, 2.0], requires_grad=True)
    x = w * 1
    v = x[0:1]
    v *= 3
    with ft.no_grad():
        x.zero_()
        assert v.item() == 0
        v.fill_(7)
    assert x.tolist() == [7, 0]


def test_saved_views_keep_the_value_they_had():
    w = ft.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = w * 1
    v = x[:2]
    y = (v * v).sum()
    x.mul_(10)
    z = (v * v).sum()
    (y + z).backward()
    assert w.grad.tolist() == [2 + 200, 4 + 400, 0]


def test_results_of_transforms_are_up_to_date():
    def f(x):
        x = x.clone()
        v = x[0]
        x.mul_(3)
        return v

    x = ft.tensor([2.0, 5.0])
    assert ft.grad(f)(x).tolist() == [3, 0]
    y, back = ft.vjp(f, x)
    assert y.item() == 6 and back(ft.tensor(1.0))[0].tolist() == [3, 0]
    assert [t.item() for t in ft.jvp(f, (x,), (ft.ones(2),))] == [6, 3]
    assert ft.vmap(f)(ft.tensor([[2.0, 5.0], [1.0, 1.0]])).tolist() == [6, 3]
    assert ft.jacrev(f)(x).tolist() == ft.jacfwd(f)(x).tolist() == [3, 0]
    _, aux = ft.grad(lambda x: (f(x), f(x)), has_aux=True)(x)
    assert aux.item() == 6


def test_reshape_that_copies_is_not_a_view():
    def f(x):
        x = x.clone()
        y = x.t().reshape(-1)
        y.mul_(2)
        return x.sum() + 0 * y.sum()

    x = ft.ones(2, 3)
    assert f(x).item() == 6
    assert ft.grad(f)(x).tolist() == [[1, 1, 1]] * 2
    assert ft.vmap(f)(ft.ones(2, 2, 3)).tolist() == [6, 6]


def test_contiguous_means_the_same_under_transforms():
    def same(x):
        y = x.clone()
        z = y.contiguous()
        z.mul_(2)
        return y.sum()

    def copied(x):
        y = x.clone()
        z = y.t().contiguous()
        z.mul_(2)
        return y.sum()

    x = ft.ones(2, 3)
    assert same(x).item() == 12 and copied(x).item() == 6
    assert ft.grad(same)(x).sum().item() == 12 and ft.grad(copied)(x).sum().item() == 6
    assert ft.vmap(same)(ft.ones(2, 2, 3)).tolist() == [12, 12]
    assert ft.vmap(copied)(ft.ones(2, 2, 3)).tolist() == [6, 6]


def test_expanded_tensors_refuse_writes():
    for x in (ft.zeros(1).expand(3), (ft.zeros(1, requires_grad=True) * 1).expand(3)):
        for write in (lambda x: x.add_(1), lambda x: x.copy_(ft.ones(3))):
            with pytest.raises((ValueError, RuntimeError), match="clone"):
                write(x)
        with pytest.raises((ValueError, RuntimeError), match="clone"):
            x[:] = 1.0


def test_detached_alias_of_a_buffer_blocks_a_recorded_write():
    x = ft.zeros(2)
    d = x.detach()
    with pytest.raises(ft.GradError, match=r"clone\(\)"):
        x[0] = ft.tensor(1.0, requires_grad=True) * 2
    assert x.tolist() == d.tolist() == [0, 0]


def test_view_of_another_dtype():
    x = ft.tensor([1.0])
    assert x.view(ft.int32).item() == 0x3F800000
    x.view(ft.int32)[0] = 0x40000000
    assert x.item() == 2


def test_complex_parts_are_views():
    z = ft.tensor([1 + 2j, 3 + 4j])
    z.real.zero_()
    z.imag[1] = 9
    assert z.tolist() == [2j, 9j]
    ft.view_as_real(z)[0, 0] = 7
    assert z[0].item() == 7 + 2j


def test_sizes_and_strides():
    x = ft.zeros(2, 3, 4)
    assert x.stride() == (12, 4, 1) and x.stride(-1) == 1 and x.t is not None
    y = x.transpose(0, 2)
    assert y.stride() == (1, 4, 12) and not y.is_contiguous() and y.contiguous().is_contiguous()
    assert x[1, 1:].storage_offset() == 16 and x[1, 1:].data_ptr() == x.data_ptr() + 16 * 4
    with pytest.raises(ft.ShapeError, match="reshape"):
        y.view(24)
    assert x.contiguous() is x
    for bad in (
        lambda: x.view(5),
        lambda: x.reshape(5, -1),
        lambda: x.reshape(-1, -1),
        lambda: x.expand(2, 3, 5),
    ):
        with pytest.raises(ft.ShapeError):
            bad()
    for bad in (
        lambda: x.transpose(0, 3),
        lambda: x.permute(0, 1),
        lambda: x.permute(0, 0, 1),
        lambda: x.unsqueeze(5),
        lambda: x.size(3),
    ):
        with pytest.raises((ft.DimError, ft.ShapeError, ValueError)):
            bad()


def test_long_chains_of_views_and_writes():
    x = ft.zeros(2000)
    y = x
    for _ in range(1500):
        y = y[1:]
    y[0] = 1
    assert x[1500].item() == 1
    w = ft.tensor(1.0, requires_grad=True)
    total = w * 0
    for _ in range(2000):
        total += w
    total.backward()
    assert w.grad.item() == 2000


def test_layout_after_recorded_writes():
    """A view is strided as before, also after a recorded write gave it a value of its own for a
    moment."""
    x = ft.ones(3, 3, requires_grad=True) * 1
    v = x[:, ::2]
    v[0] = 5.0
    assert not v.is_contiguous() and v.stride() == (3, 2) and v.reshape(6).shape == (6,)
    with pytest.raises(ft.ShapeError):
        v.view(6)


def test_random_programs():
    """Views of views, writes and buffers in random order: in memory, on the tape and under
    transforms the same, and the
    gradients are the finite differences."""
    import random

    views = [
        lambda x: x.t() if x.ndim == 2 else x[:],
        lambda x: x[0] if x.ndim else x[None],
        lambda x: x.view(-1) if x.is_contiguous() else x[:],
        lambda x: x[..., ::2] if x.ndim else x[None],
        lambda x: x.unsqueeze(0),
        lambda x: x.diagonal() if x.ndim == 2 else x[...],
    ]

    def program(seed, x, w):
        rng = random.Random(seed)
        known = [x]
        for _ in range(rng.randint(3, 9)):
            kind, a, b = rng.randrange(9), rng.choice(known), rng.choice(known)
            if kind < 4:
                known.append(rng.choice(views)(a))
            elif kind == 4:
                a.mul_(w)
            elif kind == 5:
                a.add_(0.25)
            elif kind == 6 and a.ndim:
                a[0] = b.sum().tanh()
            elif kind == 7:
                a.mul_(b.sum().sin())
            elif kind == 8:
                buffer = ft.zeros(a.shape, dtype=ft.float64)
                buffer[...].copy_(a)
                known.append(buffer)
        return ft.stack([(v**2).mean() * (i + 1) for i, v in enumerate(known)]).sum()

    w, step = ft.tensor(0.8, dtype=ft.float64), 1e-6
    for seed in range(60):
        ft.manual_seed(seed)
        a, d = ft.randn(3, 3, dtype=ft.float64), ft.randn(3, 3, dtype=ft.float64)
        plain = lambda x, w, seed=seed: program(seed, x.clone(), w)  # noqa: E731
        f = lambda x, w, seed=seed: program(seed, x * 1, w)  # noqa: E731
        value, slope = (
            plain(a, w).item(),
            (plain(a + step * d, w + step) - plain(a - step * d, w - step)).item() / (2 * step),
        )
        x, u = a.clone().requires_grad_(), w.clone().requires_grad_()
        f(x, u).backward()
        one = pytest.approx(slope, rel=1e-4, abs=1e-4)
        assert ((x.grad * d).sum() + (0 if u.grad is None else u.grad)).item() == one, seed
        g, h = ft.grad(f, (0, 1))(a, w)
        assert ((g * d).sum() + h).item() == one, seed
        y, tangent = ft.jvp(f, (a, w), (d, ft.ones_like(w)))
        assert y.item() == pytest.approx(value) and tangent.item() == one, seed
        g, h = ft.vmap(ft.grad(f, (0, 1)), (0, None))(ft.stack([d, a]), w)
        assert ((g[1] * d).sum() + h[1]).item() == one, seed
        assert ft.vmap(f, (0, None))(ft.stack([d, a]), w)[1].item() == pytest.approx(value), seed


def test_views_of_views_to_any_depth():
    x = ft.ones(4, requires_grad=True)
    y = x * 1
    z = y
    for _ in range(600):
        z = z.reshape(2, 2).reshape(4)
    y.mul_(3.0)
    assert z.tolist() == [3.0] * 4
    z.sum().backward()
    assert x.grad.tolist() == [3.0] * 4


@parametrized
def test_views_follow_a_base_that_is_recorded_later(shape, view):
    x, w = base(shape), ft.tensor(2.0, dtype=ft.float64, requires_grad=True)
    v = view(x)  # plain when it was made: what made it has to be known all the same
    expected = v.clone() * 2
    x.mul_(w)
    assert v.requires_grad and ft.equal(v.detach(), expected)
    v.sum().backward()
    assert w.grad.item() == pytest.approx(expected.sum().item() / 2)


def test_views_of_wrong_arguments():
    x = ft.zeros(2, 3)
    for wrong, error in (
        (lambda: x.reshape(4), ft.ShapeError),
        (lambda: x.view(-1, -1), ft.ShapeError),
        (lambda: x.permute(0, 0), ft.DimError),
        (lambda: x.transpose(0, 2), ft.DimError),
        (lambda: x.unsqueeze(4), ft.DimError),
        (lambda: x.squeeze(2), ft.DimError),
        (lambda: x.expand(4, 3), ft.ShapeError),
        (lambda: x[2], ft.DimError),
        (lambda: x[0, 0, 0], ft.DimError),
        (lambda: x[0, :, None, 5], ft.DimError),
        (lambda: x[::0], ValueError),
        (lambda: x.reshape(1 << 70), (ft.ShapeError, OverflowError)),
        (lambda: x.reshape("ab"), TypeError),
    ):
        with pytest.raises(error):
            wrong()
    assert x[-(1 << 70) : 1 << 70].shape == (2, 3) and x[np.int64(1) :].shape == (1, 3)
    assert x.reshape(np.int64(3), 2).shape == x.reshape([3, 2]).shape == (3, 2)
    assert x.expand(-1, 3) is not None and x.expand(2, -1, 3).shape == (2, 2, 3)


def test_a_reshape_that_copies_is_no_view():
    x, w = ft.arange(6.0).reshape(2, 3).clone(), ft.tensor(2.0, requires_grad=True)
    for size in (6, (1, 6), (-1,)):
        copy = x.t().reshape(size)
        assert copy.flatten().tolist() == [0, 3, 1, 4, 2, 5]
    x.mul_(w)
    assert not copy.requires_grad and copy.tolist() == [0, 3, 1, 4, 2, 5]
    large = ft.arange(6400.0).reshape(80, 80)
    assert ft.equal(large.t().reshape(-1), large.t().contiguous().flatten())


_ASKED = {
    "shape": lambda v: tuple(v.shape),
    "ndim": lambda v: v.ndim,
    "dtype": lambda v: v.dtype,
    "device": lambda v: v.device,
    "stride": lambda v: v.stride(),
    "contiguous": lambda v: v.is_contiguous(),
    "numel": lambda v: v.numel(),
    "size": lambda v: v.size(-1),
    "len": len,
    "repr": repr,
    "str": str,
    "format": lambda v: f"{v}",
    "item": lambda v: v[0].item(),
    "bool": lambda v: bool(v[0] > 0),
    "tolist": lambda v: v.tolist(),
    "sum": lambda v: v.sum().item(),
    "reshape": lambda v: v.reshape(1, 2).tolist(),
    "index": lambda v: v[1].tolist(),
    "iter": lambda v: [t.item() for t in v],
    "add": lambda v: (v + 1).tolist(),
    "write": lambda v: v.add_(1).tolist(),
    "numpy": lambda v: v.numpy().tolist(),
    "requires_grad": lambda v: v.requires_grad,
}


@pytest.mark.parametrize("name", _ASKED)
def test_a_view_of_a_tracer_that_was_given_plain_values(name):
    """The view had no memory and has some now, whatever is asked of it first."""

    def f(x):
        y = x * 2
        view = y[0]
        y.copy_(ft.ones(2, 2))
        found.append(_ASKED[name](view))
        return x.sum()

    found = []
    for transform in (ft.grad, ft.jacfwd, ft.vmap):
        transform(f)(ft.zeros(1, 2, 2) if transform is ft.vmap else ft.zeros(2, 2))
        assert found.pop() == _ASKED[name](ft.ones(2))


FORMS = [
    lambda x: x.T, lambda x: x[1], lambda x: x[:, 1:3], lambda x: x[None, ..., 0],
    lambda x: x[-1:], lambda x: x.reshape(2, 6), lambda x: x.view(-1), lambda x: x.T.reshape(-1),
    lambda x: x[0].expand(5, 4), lambda x: x.unsqueeze(1), lambda x: x[:1].squeeze(),
    lambda x: x.transpose(0, -1), lambda x: x.permute(1, 0),
]  # fmt: skip


@pytest.mark.parametrize("view", FORMS)
def test_views_on_the_tape(view):
    a = np.arange(12.0).reshape(3, 4)
    weights = ft.asarray(np.cos(np.arange(60.0)))

    def f(x):
        y = view(x * 1.5)
        return (y * y * weights[: y.numel()].reshape(y.shape)).sum()

    expected = ft.grad(f)(ft.asarray(a)).tolist()
    x = ft.asarray(a).requires_grad_()
    f(x).backward()
    assert x.grad.tolist() == expected
    (g,) = ft.autograd.grad(f(x), x, create_graph=True)
    assert (
        ft.autograd.grad(g.sum(), x)[0].tolist()
        == ft.grad(lambda x: ft.grad(f)(x).sum())(ft.asarray(a)).tolist()
    )
    y = view(x)
    assert y.requires_grad and y.grad_fn is not None and y.tolist() == view(ft.asarray(a)).tolist()
    with ft.no_grad():
        assert not view(x).requires_grad
    with pytest.raises(ft.errors.GradError, match="freed"):
        z = f(x)
        z.backward()
        z.backward()


def test_a_recorded_view_of_a_base_that_was_written_since():
    x = ft.ones(3, requires_grad=True) * 2
    rows = x.unsqueeze(1)
    x.mul_(5)
    assert rows.T.tolist() == [[10.0, 10.0, 10.0]] and rows[0].tolist() == [10.0]
