"""Operations and bytes, from shapes; where torch counts too, the same as torch."""

from __future__ import annotations

import pytest

import functorch_like as ft
from functorch_like.profiler import profile


def last(f, *tensors):
    """The last event of f."""
    with profile() as prof:
        f(*tensors)
    return prof.events()[-1]


@pytest.mark.parametrize(
    ("f", "shapes", "flops", "nbytes"),
    [
        (lambda x, y: x @ y, [(3, 4), (4, 5)], 2 * 3 * 4 * 5, 4 * (12 + 20 + 15)),
        (lambda x, y: x @ y, [(7, 3, 4), (4, 5)], 7 * 2 * 3 * 4 * 5, 4 * (84 + 20 + 105)),
        (lambda x, y: x @ y, [(4,), (4,)], 8, 4 * 9),
        (lambda x, y: x + y, [(3, 4), (4,)], 12, 4 * (12 + 4 + 12)),
        (lambda x: x.exp(), [(6,)], 6, 48),
        (lambda x: x.sum(), [(6, 2)], 12, 4 * 13),
        (lambda x: x.cumsum(0), [(6,)], 6, 48),
        (lambda x: x.softmax(-1), [(2, 5)], 40, 80),
        (lambda x: x.clone(), [(2, 5)], 0, 80),
        (lambda x: x.t(), [(2, 5)], 0, 0),
        (lambda x: x[0], [(2, 5)], 0, 0),
        (lambda x: x.reshape(10), [(2, 5)], 0, 0),
        (lambda x: x.expand(100, 5).clone(), [(5,)], 0, 4 * (5 + 500)),
    ],
)
def test_costs(f, shapes, flops, nbytes):
    e = last(f, *[ft.ones(s) for s in shapes])
    assert (e.flops, e.nbytes) == (flops, nbytes)


def test_costs_of_rows_that_are_looked_up():
    table, rows = ft.ones(1000, 8), ft.tensor([3, 5])
    e = last(lambda: table.index_select(0, rows))
    assert e.nbytes == 2 * 8 * 4 * 2 + 2 * 8


def test_complex_products_count_four():
    x = ft.ones(3, 3, dtype=ft.complex64)
    assert last(lambda: x @ x).flops == 4 * 2 * 27


def test_linear_algebra():
    a = ft.eye(6, dtype=ft.float64) * 2
    with profile() as prof:
        ft.linalg.cholesky(a)
        ft.fft.fft(ft.ones(4, 8, dtype=ft.complex64))
    counts = {e.name: e.flops for e in prof.events()}
    assert counts["cholesky"] == 72
    assert counts["fft_c2c"] == 5 * 32 * 3


@pytest.mark.torch
def test_convolution_as_torch():
    torch = pytest.importorskip("torch")
    counter = pytest.importorskip("torch.utils.flop_counter")

    def count(library):
        x = library.ones(2, 4, 9, 9, requires_grad=True)
        w = library.ones(6, 4, 3, 3, requires_grad=True)
        conv = torch.nn.functional.conv2d if library is torch else ft.conv2d
        conv(x, w, stride=2, padding=1).sum().backward()

    with counter.FlopCounterMode(display=False) as mode:
        count(torch)
    with profile() as prof:
        count(ft)
    ours = sum(e.flops for e in prof.events() if e.function.startswith("conv"))
    assert ours == mode.get_total_flops()


def test_groups_divide_the_work():
    def backward(groups):
        x = ft.ones(2, 4, 9, 9, requires_grad=True)
        w = ft.ones(6, 4 // groups, 3, 3, requires_grad=True)
        with profile() as prof:
            ft.conv2d(x, w, groups=groups).sum().backward()
        return [e.flops for e in prof.events() if e.function.startswith("conv")]

    assert backward(1) == [2 * f for f in backward(2)] == [2 * (2 * 6 * 49) * 36] * 3
