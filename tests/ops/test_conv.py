"""Convolutions of the geometries that take ways of their own, with both gradients and per sample.

The reference takes windows of the padded input apart in NumPy, in float64.
"""

import numpy as np
import pytest

import functorch_like as fl
from functorch_like import grad, vmap
from functorch_like.ops.conv import _conv, _input_grad, _weight_grad

# input, weights, stride, padding, dilation, groups
GEOMETRIES = {
    "long kernel, wide stride": ((3, 1, 500), (40, 1, 48), (16,), (5,), (1,), 1),
    "the same in groups": ((2, 4, 400), (66, 2, 40), (17,), (3,), (1,), 2),
    "large patches that overlap": ((2, 3, 70, 76), (32, 3, 24, 20), (7, 9), (4, 2), (1, 1), 1),
    "planes a channel each, 4x4, stride 2": (
        (2, 6, 21, 40),
        (6, 1, 4, 4),
        (2, 2),
        (1, 2),
        (1, 1),
        6,
    ),
    "a long line a channel": ((2, 5, 300), (5, 1, 50), (1,), (20,), (1,), 5),
    "one tap of every second place": ((3, 20, 15, 14), (24, 20, 1, 1), (2, 3), (0, 0), (1, 1), 1),
    "one tap, in groups of lines": ((2, 8, 31), (6, 4, 1), (3,), (0,), (1,), 2),
    "stride 2 by pixels": ((2, 12, 17, 15), (40, 12, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    "volumes of few channels": (
        (2, 3, 9, 20, 22),
        (40, 3, 3, 3, 3),
        (2, 2, 2),
        (1, 1, 1),
        (1, 1, 1),
        1,
    ),
    "rows beyond the edges": ((2, 20, 12, 11), (20, 20, 3, 3), (1, 1), (5, 4), (5, 4), 1),
    "more windows than are held": ((1, 1, 70000), (32, 1, 64), (4,), (30,), (1,), 1),
    "lines cut between pixels": ((2, 192, 610), (32, 192, 2), (2,), (1,), (1,), 1),
    "columns only": ((2, 20, 9, 9), (20, 20, 7, 1), (1, 1), (3, 0), (1, 1), 1),
}


def windows(x, kernel, stride, padding, dilation):
    nd = len(kernel)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    w = np.lib.stride_tricks.sliding_window_view(x, span, tuple(range(2, nd + 2)))
    return w[
        (..., *[slice(None, None, s) for s in stride], *[slice(None, None, d) for d in dilation])
    ]


def reference(x, w, ct, stride, padding, dilation, groups):
    n, taps = x.shape[0], w.shape[2:]
    seen = windows(x, taps, stride, padding, dilation)
    out = seen.shape[2 : 2 + len(taps)]
    at = np.arange(x.size, dtype=np.float64).reshape(x.shape) + 1  # 0: padding
    places = windows(at, taps, stride, padding, dilation).astype(int)
    rows = [
        a.reshape(n, groups, -1, np.prod(out), np.prod(taps)) for a in (seen, places)
    ]  # [image, group, channel, position, tap]
    weights = w.reshape(groups, w.shape[0] // groups, -1, np.prod(taps))
    cts = ct.reshape(n, groups, weights.shape[1], -1)
    y = np.einsum("ngcpt,gfct->ngfp", rows[0], weights, optimize=True)
    dw = np.einsum("ngcpt,ngfp->gfct", rows[0], cts, optimize=True)
    parts = np.einsum("ngfp,gfct->ngcpt", cts, weights, optimize=True)
    dx = np.bincount(rows[1].ravel(), parts.ravel(), minlength=x.size + 1)[1:]
    return y.reshape(ct.shape), dx.reshape(x.shape), dw.reshape(w.shape)


def out_shape(x, w, stride, padding, dilation):
    sizes = zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    return (x[0], w[0], *[(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_results_and_gradients(name, dtype):
    xs, ws, stride, padding, dilation, groups = GEOMETRIES[name]
    rng = np.random.default_rng(0)
    x, w, ct = (
        rng.standard_normal(s).astype(dtype)
        for s in (xs, ws, out_shape(xs, ws, stride, padding, dilation))
    )
    p = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    want = reference(*(a.astype(np.float64) for a in (x, w, ct)), *p.values())
    x, w, ct = fl.tensor(x), fl.tensor(w), fl.tensor(ct)
    got = (
        _conv(x, w, **p),
        _input_grad(ct, w, input_size=xs[2:], **p),
        _weight_grad(ct, x, kernel_size=ws[2:], **p),
    )
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_per_sample(name):
    xs, ws, stride, padding, dilation, groups = GEOMETRIES[name]
    p = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = fl.randn(*xs, dtype=fl.float64), fl.randn(*ws, dtype=fl.float64)

    def loss(w, x):
        return _conv(x.unsqueeze(0), w, **p).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(w, x)
    for i in range(xs[0]):
        np.testing.assert_allclose(
            each[i].numpy(), grad(loss)(w, x[i]).numpy(), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_any_number_of_threads(name):
    xs, ws, stride, padding, dilation, groups = GEOMETRIES[name]
    p = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = fl.randn(*xs), fl.randn(*ws)
    ct = fl.randn(*out_shape(xs, ws, stride, padding, dilation))
    before, results = fl.get_num_threads(), []
    try:
        for threads in (1, 3):
            fl.set_num_threads(threads)
            results.append(
                [
                    _conv(x, w, **p).numpy(),
                    _input_grad(ct, w, input_size=xs[2:], **p).numpy(),
                    _weight_grad(ct, x, kernel_size=ws[2:], **p).numpy(),
                ]
            )
    finally:
        fl.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert (a == b).all()
