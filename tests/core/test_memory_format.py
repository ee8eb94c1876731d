"""Memory formats: strides, values, gradients, transforms."""

import pytest

import functorch_like as ft
import nn
from functorch_like.errors import ShapeError


def test_channels_last():
    x = ft.randn(2, 3, 4, 5)
    y = x.contiguous(memory_format=ft.channels_last)
    assert y.stride() == (60, 1, 15, 3) and (x == y).all()
    assert y.is_contiguous(memory_format=ft.channels_last) and not y.is_contiguous()
    assert y.contiguous(memory_format=ft.channels_last) is y and x.contiguous() is x
    assert x.to(ft.float64, memory_format=ft.channels_last).stride() == (60, 1, 15, 3)
    assert y.clone(memory_format=ft.contiguous_format).is_contiguous()
    assert x.clone(memory_format=ft.channels_last).stride() == (60, 1, 15, 3)
    z = ft.randn(2, 3, 4, 5, 6).contiguous(memory_format=ft.channels_last_3d)
    assert z.stride() == (360, 1, 90, 18, 3)


@pytest.mark.parametrize("make", [ft.empty_like, ft.zeros_like, ft.ones_like, ft.rand_like])
def test_tensors_like_others(make):
    x = ft.ones(2, 3, 4, 5)
    assert make(x, memory_format=ft.preserve_format).stride() == x.stride()
    y = make(x, memory_format=ft.channels_last, requires_grad=True)
    assert y.stride() == (60, 1, 15, 3) and y.requires_grad and y.is_leaf
    assert ft.empty(2, 3, 4, 5, memory_format=ft.channels_last).stride() == (60, 1, 15, 3)
    assert ft.full_like(x, 2.0, memory_format=ft.channels_last).sum() == 240


def test_transforms_and_modules():
    x = ft.randn(2, 3, 4, 4)

    def f(x):
        return (x.contiguous(memory_format=ft.channels_last) ** 2).sum()

    assert (ft.grad(f)(x) == 2 * x).all() and ft.compile(f)(x) == f(x)
    assert (ft.vmap(ft.grad(f))(x.unsqueeze(1)) == 2 * x.unsqueeze(1)).all()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    expected = model(x)
    model.to(memory_format=ft.channels_last)
    assert model[0].weight.is_contiguous(memory_format=ft.channels_last)
    ft.testing.assert_close(model(x.to(memory_format=ft.channels_last)), expected)


def test_bad_formats():
    with pytest.raises(ShapeError, match="4 dims for channels_last"):
        ft.ones(2).contiguous(memory_format=ft.channels_last)
    with pytest.raises(TypeError, match="a memory format, such as channels_last, got str"):
        ft.ones(2).clone(memory_format="channels_last")
