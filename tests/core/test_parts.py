"""Gradients of slices, collected and written once: values beside those of the rule by itself."""

import pytest

import functorch_like as ft
from functorch_like import parts
from functorch_like.ops import index_entries

CASES = {
    "halves": lambda x: (lambda a, b: a * b.sigmoid())(*x.chunk(2, 1)),
    "three by unbind": lambda x: (lambda a, b, c: a * b + c)(*x.reshape(16, 4, 3, 6).unbind(2)),
    "uneven": lambda x: (lambda a, b, c: a.sum() * b.sum() * c)(*x.split([3, 5, 10], 2)),
    "one left out": lambda x: (lambda a, _, c: a * c)(*x.chunk(3, 2)),
    "overlapping": lambda x: (x[:, 1:] - x[:, :-1]) ** 2,
    "overlapping thrice": lambda x: x[:, 2:] * x[:, 1:-1] * x[:, :-2],
    "interleaved": lambda x: x[..., 0::2] * x[..., 1::2],
    "quarters": lambda x: x[:, :2, :9] * x[:, 2:, 9:] + x[:, :2, 9:] * x[:, 2:, :9],
    "with the whole": lambda x: x[:, :2].sum() * x[:, 2:].exp().sum() + x * x.mean(),
    "part with the whole": lambda x: x * x[:, 1:2],
    "one item": lambda x: x[3, 1, 2] * 2,
    "rows": lambda x: sum(row.sin() * (i + 1) for i, row in enumerate(x)),
    "new dims and ellipses": lambda x: x[None, ..., :9] * x[..., None, 9:].movedim(-2, 0),
    "transposed": lambda x: (lambda a, b: (a.T @ b).sum())(*x.reshape(32, 36).chunk(2, 0)),
}


def gradients(f, x, **options):
    x = x.clone().requires_grad_()
    y = f(x)
    (g,) = ft.autograd.grad((y * y).sum(), x, **options)
    return g


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(index_entries, "_COLLECTED", 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_slices_by_themselves(case, dtype, monkeypatch):
    f = CASES[case]
    x = ft.randn(16, 4, 18, generator=ft.Generator().manual_seed(0)).to(dtype)
    got = gradients(f, x)
    other = ft.grad(lambda x: (f(x) ** 2).sum())(x)
    monkeypatch.setattr(index_entries, "_COLLECTED", 1 << 60)
    expected = gradients(f, x)
    tolerance = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 5e-2}[dtype]
    for g in (got, other):
        assert g.dtype is expected.dtype
        ft.testing.assert_close(g, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_second_order_and_graphs_of_gradients(case):
    f, x = CASES[case], ft.randn(16, 4, 18).double()
    plain, recorded = gradients(f, x), gradients(f, x, create_graph=True)
    ft.testing.assert_close(plain, recorded.detach(), rtol=1e-12, atol=1e-12)
    v = ft.randn(16, 4, 18).double()
    both = x.clone().requires_grad_()
    (g,) = ft.autograd.grad((f(both) ** 2).sum(), both, create_graph=True)
    (second,) = ft.autograd.grad((g * v).sum(), both)
    _, expected = ft.jvp(ft.grad(lambda x: (f(x) ** 2).sum()), (x,), (v,))
    ft.testing.assert_close(second, expected, rtol=1e-9, atol=1e-9)


def test_halves_are_written_once(monkeypatch):
    covered = []
    cover = parts.Parts._cover

    def watched(self):
        places = cover(self)
        covered.append(places is not None)
        return places

    monkeypatch.setattr(parts.Parts, "_cover", watched)
    for case in ("halves", "three by unbind", "uneven", "interleaved", "quarters", "rows"):
        gradients(CASES[case], ft.randn(16, 4, 18))
    assert covered == [True] * 6
    gradients(CASES["overlapping"], ft.randn(16, 4, 18))
    assert covered[-1] is False


def test_leaves_hooks_and_accumulated_gradients():
    x = ft.randn(16, 4, 18).requires_grad_()
    seen = []
    x.register_hook(lambda g: seen.append(g.clone()) or g * 2)
    y = x * 1
    y.retain_grad()
    a, b = x.chunk(2, 2)
    c, d = y.chunk(2, 2)
    for _ in range(2):
        (a * 3 + b.detach() + c * d).sum().backward(retain_graph=True)
    expected = ft.cat([d + 3, c], 2).detach()
    ft.testing.assert_close(seen[0], expected)
    ft.testing.assert_close(x.grad, expected * 4)
    ft.testing.assert_close(y.grad, ft.cat([d, c], 2).detach() * 2)


def test_transforms_and_compiled_programs():
    f = lambda x: (CASES["with the whole"](x) + CASES["overlapping thrice"](x).sum()).sum()  # noqa: E731
    x = ft.randn(3, 16, 4, 18).double()
    each = ft.stack([ft.grad(f)(one) for one in x])
    ft.testing.assert_close(ft.vmap(ft.grad(f))(x), each, rtol=1e-9, atol=1e-9)
    ft.testing.assert_close(ft.compile(ft.grad(f))(x[0]), each[0], rtol=1e-9, atol=1e-9)


def test_a_gradient_through_a_view_is_the_leafs_own():
    x, y = ft.zeros(6, 4).requires_grad_(), ft.zeros(4, 6).requires_grad_()
    seen = []
    z = x.reshape(4, 6)
    z.register_hook(seen.append)
    (z + y).sum().backward()
    x.grad += 1
    assert (y.grad == 1).all().item()
    assert (seen[0] == 1).all().item()
    x.grad = None
    (x.reshape(24) * 3).sum().backward()
    assert (x.grad == 3).all().item()
    assert x.grad.shape == (6, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8", "complex64"])
def test_cat_of_rows_of_any_layout(dtype):
    x = ft.arange(24 * 40 * 6).reshape(24, 40, 6).to(dtype)
    wide = ft.arange(24 * 90 * 6).reshape(24, 90, 6).to(dtype)
    row = ft.arange(40 * 6).reshape(40, 6).to(dtype)
    operands = {
        "contiguous": x,
        "slice": wide[:, 20:65],
        "of every other row": wide.reshape(12, 2, 90, 6)[:, 1].repeat(2, 1, 1),
        "expanded rows": row.expand(24, 40, 6),
        "transposed": x.transpose(0, 2).contiguous().transpose(0, 2),
        "expanded items": x[:, :, :1].expand(24, 40, 6),
    }
    for a in operands.values():
        for b in operands.values():
            expected = ft.zeros(24, a.shape[1] + b.shape[1], 6).to(dtype)
            expected[:, : a.shape[1]], expected[:, a.shape[1] :] = a, b
            assert ft.equal(ft.cat([a, b], 1), expected)
    parts_of = ft.cat(
        [x.reshape(4, 6, 40, 6)[:, :1].expand(4, 6, 40, 6), x.reshape(4, 6, 40, 6)], 2
    )
    assert ft.equal(parts_of[:, 3, :40], x.reshape(4, 6, 40, 6)[:, 0])
    uneven = ft.cat([row.expand(4, 6, 40, 6), x.reshape(4, 6, 40, 6)], 2)
    assert ft.equal(uneven[2, 5, :40], row)
    shared = x.reshape(4, 6, 40, 6)[:, 2:3].expand(4, 6, 40, 6)
    assert ft.equal(ft.cat([shared, shared], 2)[3, 4, 40:], x.reshape(4, 6, 40, 6)[3, 2])
