"""Batch, group and instance norm: values, derivatives, vmap, dtypes, statistics, bad inputs."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft

# [n, c, *inner] and groups (0: per channel over n): columns, short rows, blocks of long rows,
# groups larger and smaller than a block
CASES = [
    ((5, 3), 0), ((300, 130), 0), ((70, 6, 5), 0), ((3, 4, 9, 9), 0), ((20, 5, 300), 0),
    ((2, 3, 70, 80), 0), ((3, 6, 2), 2), ((2, 6, 40, 40), 3), ((4, 4, 7), 4), ((9, 16, 8, 8), 2),
    ((1, 2, 90, 60), 1),
]  # fmt: skip
DTYPES = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2e-2, "float16": 2e-3}
EPS = 1e-3


def draw(shape, dtype="float64"):
    """x, weight, bias, cotangent."""
    make = ft.Generator().manual_seed(3)
    x, ct = (ft.randn(*shape, generator=make, dtype=ft.float64) for _ in range(2))
    w, b = (ft.randn(shape[1], generator=make, dtype=ft.float64) for _ in range(2))
    return tuple(v.to(getattr(ft, dtype)) for v in (x * 2 + 3, w, b, ct))


def norm(x, w, b, groups):
    if groups:
        return ft.group_norm(x, groups, w, b, EPS)
    return ft.batch_norm(x, None, None, w, b, True, eps=EPS)


def by_numpy(x, w, b, ct, groups):
    """The result and the gradients of x, weight and bias, in double."""
    x, w, b, ct = (v.to(ft.float64).numpy() for v in (x, w, b, ct))
    n, c = x.shape[:2]
    rows = x.reshape(n, groups or c, c // (groups or c), -1)
    cts, w4, b4 = (v.reshape(rows.shape) for v in np.broadcast_arrays(
        ct, *(p.reshape(1, c, *[1] * (x.ndim - 2)) + 0 * x for p in (w, b))))  # fmt: skip
    axes = (2, 3) if groups else (0, 2, 3)
    rstd = 1 / np.sqrt(rows.var(axes, keepdims=True) + EPS)
    scaled = (rows - rows.mean(axes, keepdims=True)) * rstd
    g = cts * w4
    dx = g - g.mean(axes, keepdims=True) - scaled * (g * scaled).mean(axes, keepdims=True)
    sums = [(v.sum((0, 3))).reshape(c) for v in (cts * scaled, cts)]
    return [(scaled * w4 + b4).reshape(x.shape), (dx * rstd).reshape(x.shape), *sums]


def compare(got, expected, bound):
    for a, b in zip(got, expected, strict=True):
        a = a.detach().to(ft.float64).numpy()
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, groups", CASES)
def test_values_and_gradients(shape, groups, dtype):
    x, w, b, ct = draw(shape, dtype)
    y, pull = ft.vjp(lambda *v: norm(*v, groups), x, w, b)
    assert y.dtype == x.dtype
    compare((y, *pull(ct)), by_numpy(x, w, b, ct, groups), DTYPES[dtype])


@pytest.mark.parametrize("shape, groups", CASES)
def test_bits_do_not_depend_on_threads(shape, groups):
    x, w, b, ct = draw(shape, "float32")

    def run(threads):
        ft.set_num_threads(threads)
        y, pull = ft.vjp(lambda *v: norm(*v, groups), x, w, b)
        return [v.numpy().tobytes() for v in (y, *pull(ct))]

    threads = ft.get_num_threads()
    try:
        assert run(1) == run(3)
    finally:
        ft.set_num_threads(threads)


@pytest.mark.parametrize("shape", [(5, 3), (70, 6, 5), (3, 4, 9, 9), (2, 3, 70, 80)])
def test_given_statistics(shape):
    x, w, b, ct = draw(shape)
    mean, var = w + 1, w * w + 0.5
    plain = (1, -1, *[1] * (len(shape) - 2))

    def by_hand(x, mean, var, w, b):
        mean, var, w, b = (p.reshape(plain) for p in (mean, var, w, b))
        return (x - mean) / (var + EPS).sqrt() * w + b

    def ours(x, mean, var, w, b):
        return ft.batch_norm(x, mean, var, w, b, eps=EPS)

    args = (x, mean, var, w, b)
    for f in (ours, lambda *v: ft.batch_norm(v[0], mean, var, w, b, eps=EPS)):
        y, pull = ft.vjp(f, *args)
        hand, hands = ft.vjp(by_hand, *args)
        ft.testing.assert_close(y, hand)
        many = 5 if f is ours else 1
        for got, wanted in zip(pull(ct)[:many], hands(ct)[:many], strict=True):
            ft.testing.assert_close(got, wanted)


@pytest.mark.parametrize("shape, groups", [((5, 3), 0), ((2, 3, 9, 9), 0), ((3, 6, 4), 2)])
def test_second_order_and_forward_mode(shape, groups):
    x, w, b, ct = draw(shape)

    def loss(x, w, b):
        return (norm(x, w, b, groups) ** 2 * ct).sum()

    def plain(x, w, b):
        n, c = shape[:2]
        rows = x.reshape(n, groups or c, -1)
        dims = (2,) if groups else (0, 2)
        rows = rows - rows.mean(dims, keepdim=True)
        rows = rows / ((rows * rows).mean(dims, keepdim=True) + EPS).sqrt()
        by_channel = (c, *[1] * (len(shape) - 2))
        y = rows.reshape(shape) * w.reshape(by_channel) + b.reshape(by_channel)
        return (y**2 * ct).sum()

    tangents = tuple(v.flip(0) for v in (x, w, b))
    for f in (
        lambda g: ft.jvp(g, (x, w, b), tangents)[1],
        lambda g: ft.jvp(ft.grad(g, argnums=(0, 1, 2)), (x, w, b), tangents)[1],
        lambda g: ft.grad(lambda *v: (ft.grad(g)(*v) * ct).sum(), argnums=(0, 1, 2))(x, w, b),
    ):
        ft.testing.assert_close(f(loss), f(plain), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape, groups", [((4, 3), 0), ((2, 4, 9, 9), 0), ((3, 4, 5), 2)])
@pytest.mark.parametrize("mapped", [(0, None, None), (0, 0, None), (None, 0, 0)])
def test_lanes(shape, groups, mapped):
    x, w, b, ct = draw(shape)
    args = [
        ft.stack([v, v * 2 + 1, v.flip(0)]) if m == 0 else v
        for v, m in zip((x, w, b), mapped, strict=True)
    ]

    def value_and_gradients(x, w, b):
        y, pull = ft.vjp(lambda *v: norm(*v, groups), x, w, b)
        return (y, *pull(ct))

    got = ft.vmap(value_and_gradients, mapped)(*args)
    for i in range(3):
        lane = [a[i] if m == 0 else a for a, m in zip(args, mapped, strict=True)]
        for a, b in zip(got, value_and_gradients(*lane), strict=True):
            ft.testing.assert_close(a[i], b)


def test_compiled():
    x, w, b, ct = draw((3, 4, 9, 9), "float32")
    for groups in (0, 2):

        def f(x, w, b, groups=groups):
            return ft.grad(lambda *v: (norm(*v, groups) * ct).sum(), argnums=(0, 1, 2))(x, w, b)

        ft.testing.assert_close(ft.compile(f)(x, w, b), f(x, w, b))


def test_close_values_far_from_zero():
    """Deviations are squared about the mean: nothing cancels."""
    x = 1000 + 0.01 * draw((40, 3, 30))[0]
    for groups in (0, 3):
        got, wanted = (
            norm(x.float(), None, None, groups),
            norm(x.float().double(), None, None, groups),
        )
        ft.testing.assert_close(got, wanted.float(), rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 4, 0), (9, 0, 3)])
def test_empty(shape):
    x = ft.zeros(shape).requires_grad_()
    w = ft.ones(shape[1]).requires_grad_()
    y = ft.group_norm(x, 2, w)
    y.sum().backward()
    assert y.shape == x.shape and x.grad.shape == x.shape and w.grad.tolist() == [0.0] * shape[1]
    assert ft.batch_norm(x, w.detach(), w.detach(), w).shape == x.shape


def test_running_statistics_as_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype("float32")
    for name in ("batch_norm", "instance_norm"):
        stats = []
        for lib, f in ((ft, getattr(ft, name)), (torch, getattr(torch.nn.functional, name))):
            mean, var = lib.ones(3), lib.ones(3) * 2
            f(lib.tensor(x), mean, var, None, None, True, 0.3)
            stats.append((mean.numpy(), var.numpy()))
        np.testing.assert_allclose(*stats, rtol=1e-5)


def test_errors():
    x = ft.ones(2, 4, 3)
    with pytest.raises(ft.ShapeError, match="more than one value per channel when training"):
        ft.batch_norm(ft.ones(1, 4), None, None, training=True)
    with pytest.raises(ft.ShapeError, match=r"more than one value a channel, got \[2, 4, 1\]"):
        ft.instance_norm(ft.ones(2, 4, 1))
    with pytest.raises(ft.ShapeError, match="a multiple of 3"):
        ft.group_norm(x, 3)
    with pytest.raises(ft.ShapeError, match=r"channel_norm: expected 4 values, one a channel"):
        ft.group_norm(x, 2, ft.ones(2))
    with pytest.raises(ft.DTypeError, match="a floating tensor"):
        ft.batch_norm(x.long(), None, None, training=True)
