"""Adaptive, fractional and power pooling, unpooling: against torch, and under transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 6), 3: (1, 2, 4, 5, 6)}


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_against_torch(against_torch, kind, nd):
    import torch

    name = f"adaptive_{kind}_pool{nd}d"
    ours, theirs = getattr(ft, name), getattr(torch.nn.functional, name)
    sizes = [1, 2, 3, 8, (3, 2, 6)[:nd]] + ([(None, 4, 2)[:nd]] if nd > 1 else [])
    for size in sizes:
        options = {"return_indices": True} if kind == "max" else {}
        for shape in (SHAPES[nd], SHAPES[nd][1:]):
            against_torch(
                lambda x, s=size, o=options: ours(x, s, **o),
                lambda x, s=size, o=options: theirs(x, s, **o),
                normal(*shape),
            )


def test_the_first_of_equal_maxima_wins(against_torch):
    import torch

    for shape, size in (((1, 5, 7), (3, 4)), ((1, 4, 4), (2, 2))):
        against_torch(
            lambda x, s=size: ft.adaptive_max_pool2d(x, s, return_indices=True),
            lambda x, s=size: torch.nn.functional.adaptive_max_pool2d(x, s, return_indices=True),
            RNG.integers(0, 2, shape).astype("float64"),
        )


@pytest.mark.parametrize("nd", [2, 3])
def test_fractional_against_torch(against_torch, nd):
    import torch

    name = f"fractional_max_pool{nd}d"
    ours, theirs = getattr(ft, name), getattr(torch.nn.functional, name)
    samples = RNG.uniform(0, 1, (2, 3, nd))
    x = normal(2, 3, *(7, 8, 6)[:nd])
    for options in (
        {"kernel_size": 2, "output_size": (4, 3, 2)[:nd]},
        {"kernel_size": (2, 3, 1)[:nd], "output_ratio": (0.5, 0.7, 0.4)[:nd]},
        {"kernel_size": 3, "output_size": 1},
    ):
        against_torch(
            lambda x, o=options: ours(
                x, **o, return_indices=True, _random_samples=ft.tensor(samples)
            ),
            lambda x, o=options: theirs(
                x, **o, return_indices=True, _random_samples=torch.tensor(samples)
            ),
            x,
        )


def test_fractional_windows_are_drawn():
    x = ft.arange(64.0).reshape(1, 8, 8)
    got = ft.fractional_max_pool2d(x, 2, output_size=4)
    assert got.shape == (1, 4, 4)
    assert got[0, -1, -1] == 63


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_power_means_against_torch(against_torch, nd, p):
    import torch

    ours, theirs = getattr(ft, f"lp_pool{nd}d"), getattr(torch.nn.functional, f"lp_pool{nd}d")
    x = RNG.uniform(0.2, 2, SHAPES[nd])
    for options in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}):
        against_torch(
            lambda x, o=options: ours(x, p, **o), lambda x, o=options: theirs(x, p, **o), x
        )


def test_a_window_of_zeros_has_no_gradient():
    x = ft.zeros(1, 2, 2, requires_grad=True)
    ft.lp_pool2d(x, 2, 2).sum().backward()
    assert x.grad.tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_unpooling_against_torch(against_torch, nd):
    import torch

    def both(m, f):
        pool, unpool = getattr(f, f"max_pool{nd}d"), getattr(f, f"max_unpool{nd}d")

        def run(x):
            values, indices = pool(x, 2, return_indices=True)
            return unpool(values, indices, 2, output_size=x.shape[-nd:])

        return run

    for shape in (SHAPES[nd], SHAPES[nd][1:], (2, 1, *(4, 6, 2)[:nd])):
        against_torch(both(ft, ft), both(torch, torch.nn.functional), normal(*shape))


def test_pooling_without_gradient_is_the_same(against_torch):
    x = double(2, 3, 6, 7)
    plain = ft.max_pool2d(x, 3, 2, 1)
    recorded = ft.max_pool2d(x.clone().requires_grad_(), 3, 2, 1)
    mapped = ft.vmap(lambda a: ft.max_pool2d(a, 3, 2, 1))(x)
    assert plain.tolist() == recorded.detach().tolist() == mapped.tolist()


def test_under_transforms(transforms):
    x = double(1, 4, 5)
    transforms(lambda x: ft.adaptive_avg_pool2d(x, (3, 2)), x)
    transforms(lambda x: ft.adaptive_max_pool2d(x, (3, 2)), x)
    transforms(lambda x: ft.adaptive_max_pool2d(x, (2, 5)), x)
    transforms(lambda x: ft.lp_pool2d(x, 2.0, 2), x.abs() + 0.1)
    samples = ft.tensor(RNG.uniform(0, 1, (1, 1, 2)).astype("float32"))
    transforms(
        lambda x: ft.fractional_max_pool2d(x, 2, 2, None, False, samples.double().detach()), x
    )

    def there_and_back(x):
        return ft.max_unpool2d(*ft.max_pool2d(x, 2, return_indices=True), 2, output_size=(4, 5))

    transforms(there_and_back, x)
    even = ft.max_pool2d(x[:, :4, :4], 2, return_indices=True)
    assert ft.max_unpool2d(*even, 2).shape == (1, 4, 4)


def test_bad_calls():
    x = ft.zeros(1, 1, 4, 4)
    with pytest.raises(ShapeError, match="adaptive_avg_pool1d: expected input"):
        ft.adaptive_avg_pool1d(x, 2)
    with pytest.raises(ValueError, match="output size"):
        ft.adaptive_max_pool2d(x, (1, 2, 3))
    with pytest.raises(DTypeError, match="floating"):
        ft.adaptive_avg_pool2d(x.long(), 2)
    with pytest.raises(ValueError, match="output_size or output_ratio"):
        ft.fractional_max_pool2d(x, 2)
    with pytest.raises(ShapeError, match="fit the input"):
        ft.fractional_max_pool2d(x, 2, output_size=4)
    with pytest.raises(ShapeError, match="stride away"):
        ft.max_unpool2d(x, x.long(), 2, output_size=(3, 3))
    with pytest.raises(ShapeError, match="indices of shape"):
        ft.max_unpool2d(x, x.long()[0], 2)
