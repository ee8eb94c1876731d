"""Windows and strided views: against torch, writing through views, under transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import ShapeError

RNG = np.random.default_rng(0)
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": (2, 3), "stride": (2, 1)},
    {"kernel_size": 3, "padding": (1, 2), "dilation": (1, 2)},
    {"kernel_size": (1, 2), "stride": 3, "padding": 1},
]


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_columns_and_back_against_torch(against_torch, options):
    import torch

    f = torch.nn.functional
    for shape in ((2, 3, 5, 6), (3, 5, 6)):
        x = normal(*shape)
        against_torch(lambda x: ft.im2col(x, **options), lambda x: f.unfold(x, **options), x)
        columns = f.unfold(torch.tensor(x), **options).numpy()
        against_torch(
            lambda x: ft.col2im(x, (5, 6), **options),
            lambda x: f.fold(x, (5, 6), **options),
            columns,
        )


def test_windows_of_a_dim_against_torch(against_torch):
    for dim, size, step in ((0, 2, 1), (-1, 3, 2), (1, 4, 4), (1, 1, 2)):
        against_torch(
            lambda x, a=(dim, size, step): x.unfold(*a),
            lambda x, a=(dim, size, step): x.unfold(*a),
            normal(4, 5, 6),
        )


def test_windows_are_a_view():
    x = ft.zeros(5)
    x.unfold(0, 2, 3)[1, 0] = 7.0
    assert x.tolist() == [0, 0, 0, 7, 0]
    y = x.clone().requires_grad_() * 1.0
    y.unfold(0, 2, 3)[0] = 2.0
    assert y.tolist() == [2, 2, 0, 7, 0]


def test_strided_views_against_torch(against_torch):
    import torch

    for size, stride, offset in (
        ((2, 3), (1, 2), None),
        ((3, 3), (1, 1), 2),
        ((), (), 4),
        ((4,), (0,), 1),
    ):
        against_torch(
            lambda x, a=(size, stride, offset): ft.as_strided(x, *a),
            lambda x, a=(size, stride, offset): torch.as_strided(x, *a),
            normal(3, 4),
        )
    for size, stride, offset in (((2, 3), (1, 2), 1), ((2, 2), (4, 1), 0)):
        against_torch(
            lambda x, y, a=(size, stride, offset): ft.as_strided_scatter(x, y, *a),
            lambda x, y, a=(size, stride, offset): torch.as_strided_scatter(x, y, *a),
            normal(3, 4),
            normal(*size),
            grad=False,  # torch gives the elements that are overwritten the gradient of the others
        )


def test_strided_views_share_memory():
    x = ft.arange(6)
    x.as_strided((2,), (3,), 1)[1] = 9
    assert x.tolist() == [0, 1, 2, 3, 9, 5]
    part = x[2:]
    assert part.as_strided((2,), (1,)).tolist() == [2, 3]
    assert part.as_strided((2,), (1,), 0).tolist() == [0, 1]
    y = x.double().requires_grad_() * 1.0
    y.as_strided((2,), (2,))[1] = 8.0
    assert y.tolist() == [0, 1, 8, 3, 9, 5]


def test_under_transforms(transforms):
    transforms(lambda x: ft.im2col(x, 2, 1, 1, 2), double(2, 3, 3))
    transforms(lambda x: ft.col2im(x, (3, 3), 2), double(4, 4))
    transforms(lambda x: x.unfold(1, 2, 1), double(2, 4))
    transforms(lambda x: ft.as_strided(x, (2, 3), (1, 2)), double(3, 3))
    transforms(lambda x, y: ft.as_strided_scatter(x, y, (2, 2), (4, 1)), double(3, 3), double(2, 2))


def test_bad_calls():
    x = ft.zeros(1, 2, 4, 4)
    with pytest.raises(ShapeError, match="im2col: expected an image"):
        ft.im2col(x, 5)
    with pytest.raises(ShapeError, match=r"im2col: expected input"):
        ft.im2col(x[0, 0], 2)
    with pytest.raises(ShapeError, match=r"col2im: expected input \[N, C \* 4, 9\]"):
        ft.col2im(ft.zeros(1, 8, 8), (4, 4), 2)
    with pytest.raises(ShapeError, match="unfold"):
        ft.unfold(x, 1, 3, 1)
    with pytest.raises(ValueError, match="step"):
        ft.unfold(x, 1, 2, 0)
    with pytest.raises(ShapeError, match="strides"):
        ft.as_strided(x, (2, 2), (1,))
    with pytest.raises(ShapeError, match="storage"):
        ft.as_strided(x, (40,), (1,))
    with pytest.raises(ShapeError, match="source"):
        ft.as_strided_scatter(x, ft.zeros(3), (2,), (1,))
