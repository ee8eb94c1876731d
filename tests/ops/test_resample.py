"""Resizing and warping: against torch, and under transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 7), 3: (1, 2, 3, 4, 5)}


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


def targets(nd):
    yield {"size": (3, 9, 4)[:nd]}
    yield {"size": (10, 14, 2)[:nd]}
    yield {"size": 1}
    yield {"scale_factor": 2}
    yield {"scale_factor": (0.6, 1.7, 1.3)[:nd]}
    yield {"scale_factor": 1.3, "recompute_scale_factor": True}


def cases():
    for mode, ranks in (
        ("nearest", (1, 2, 3)),
        ("nearest-exact", (1, 2, 3)),
        ("area", (1, 2, 3)),
        ("linear", (1,)),
        ("bilinear", (2,)),
        ("bicubic", (2,)),
        ("trilinear", (3,)),
    ):
        for nd in ranks:
            for target in targets(nd):
                yield nd, {"mode": mode, **target}
                if mode.endswith(("linear", "cubic")):
                    yield nd, {"mode": mode, "align_corners": True, **target}
                if mode in ("bilinear", "bicubic"):
                    yield nd, {"mode": mode, "antialias": True, **target}


@pytest.mark.parametrize("nd,options", list(cases()), ids=str)
def test_interpolate_against_torch(against_torch, nd, options):
    import torch

    against_torch(
        lambda x: ft.interpolate(x, **options),
        lambda x: torch.nn.functional.interpolate(x, **options),
        normal(*SHAPES[nd]),
        tol=1e-6,  # torch's step is a float32 for some modes
    )


@pytest.mark.parametrize("size", [(3, 1100), (1030, 5), (700, 1)], ids=str)
def test_large_images_are_gathered(against_torch, size):
    import torch

    for mode in ("bilinear", "bicubic", "nearest", "area"):
        against_torch(
            lambda x, m=mode: ft.interpolate(x, (5, 9), mode=m),
            lambda x, m=mode: torch.nn.functional.interpolate(x, (5, 9), mode=m),
            normal(1, 2, *size),
            tol=1e-6,
        )


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_interpolate_under_transforms(transforms, mode):
    transforms(lambda x: ft.interpolate(x, (2, 5), mode=mode), double(1, 2, 3, 3))


def test_interpolate_takes_integers_and_half():
    x = ft.arange(4).reshape(1, 1, 4)
    assert ft.interpolate(x, 8).tolist() == [[[0, 0, 1, 1, 2, 2, 3, 3]]]
    for mode in ("bilinear", "bicubic", "area"):
        half = ft.interpolate(ft.arange(4.0).reshape(1, 1, 2, 2).half(), 3, mode=mode)
        assert half.shape == (1, 1, 3, 3)
        assert half.dtype is ft.float16


def test_bad_interpolations():
    x = ft.zeros(1, 1, 4, 4)
    for options, error, text in (
        ({}, ValueError, "size or scale_factor"),
        ({"size": 2, "scale_factor": 2}, ValueError, "size or scale_factor"),
        ({"size": 2, "mode": "sharp"}, ValueError, "mode"),
        ({"size": 2, "mode": "linear"}, ShapeError, "dimensions"),
        ({"size": (2, 2, 2)}, ValueError, "size as one number"),
        ({"size": 0}, ShapeError, "at least 1"),
        ({"size": 2, "align_corners": True}, ValueError, "align_corners"),
        ({"size": 2, "antialias": True}, ValueError, "antialias"),
    ):
        with pytest.raises(error, match=text):
            ft.interpolate(x, **options)
    with pytest.raises(DTypeError, match="floating"):
        ft.interpolate(x.long(), 2, mode="bilinear")


GRIDS = [
    (nd, mode, padding, corners)
    for nd in (2, 3)
    for mode in ("bilinear", "nearest", "bicubic")[: 3 if nd == 2 else 2]
    for padding in ("zeros", "border", "reflection")
    for corners in (False, True)
]


@pytest.mark.parametrize("nd,mode,padding,corners", GRIDS)
def test_grid_sample_against_torch(against_torch, nd, mode, padding, corners):
    import torch

    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    grid = RNG.uniform(-2.2, 2.2, (2, *(4, 3, 2)[:nd], nd))
    against_torch(
        lambda *x: ft.grid_sample(*x, **options),
        lambda *x: torch.nn.functional.grid_sample(*x, **options),
        normal(2, 3, *(4, 5, 3)[:nd]),
        grid,
    )


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_many_channels_are_picked_as_rows(against_torch, transforms, padding):
    import torch

    grid = RNG.uniform(-1.5, 1.5, (2, 3, 2, 2))
    for mode in ("bilinear", "nearest", "bicubic"):
        options = {"mode": mode, "padding_mode": padding, "align_corners": False}
        against_torch(
            lambda *x, o=options: ft.grid_sample(*x, **o),
            lambda *x, o=options: torch.nn.functional.grid_sample(*x, **o),
            normal(2, 9, 3, 4),
            grid,
        )
    inner = ft.tensor(RNG.uniform(-0.9, 0.9, (1, 1, 2, 2)))
    transforms(lambda x, g: ft.grid_sample(x, g, padding_mode=padding), double(1, 9, 3, 3), inner)


def test_grid_sample_under_transforms(transforms):
    grid = ft.tensor(RNG.uniform(-0.9, 0.9, (1, 2, 2, 2)))
    for mode in ("bilinear", "bicubic"):
        transforms(lambda x, g, m=mode: ft.grid_sample(x, g, m), double(1, 2, 3, 3), grid)


@pytest.mark.parametrize("size", [3, 4, 7, 12])
def test_nearest_rounds_as_torch_halfway_between_elements(size):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x = RNG.normal(size=(1, 1, 8, 8)).astype(np.float32)
    for corners in (False, True):
        grid = f.affine_grid(torch.eye(2, 3)[None], (1, 1, size, size), align_corners=corners)
        for padding in ("zeros", "border", "reflection"):
            ours = ft.grid_sample(
                ft.tensor(x), ft.tensor(grid.numpy()), "nearest", padding, corners
            )
            theirs = f.grid_sample(torch.from_numpy(x), grid, "nearest", padding, corners)
            assert np.array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample_of_16_bits_computes_in_32(mode):
    x, grid = ft.tensor(normal(2, 3, 4, 5)), ft.tensor(RNG.uniform(-1.2, 1.2, (2, 3, 2, 2)))
    x, grid = x.to("bfloat16"), grid.to("bfloat16")
    wanted = ft.grid_sample(x.to("float32"), grid.to("float32"), mode).to("bfloat16")
    got = ft.grid_sample(x, grid, mode)
    assert got.dtype is wanted.dtype and bool((got == wanted).all())


def test_a_nan_coordinate_counts_as_minus_one():
    x = ft.arange(4.0).reshape(1, 1, 2, 2)
    grid = ft.tensor([[[[float("nan"), float("nan")]]]])
    assert ft.grid_sample(x, grid, align_corners=True).item() == 0.0


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")  # torch, sizes of 1
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 3, 1, 5), (1, 1, 2, 3, 4)], ids=str)
def test_affine_grid_against_torch(against_torch, transforms, size, corners):
    import torch

    nd = len(size) - 2
    theta = normal(size[0], nd, nd + 1)
    against_torch(
        lambda t: ft.affine_grid(t, size, corners),
        lambda t: torch.nn.functional.affine_grid(t, size, corners),
        theta,
    )
    transforms(lambda t: ft.affine_grid(t, size, corners), ft.tensor(theta))


def test_shuffles_against_torch(against_torch):
    import torch

    f = torch.nn.functional
    against_torch(
        lambda x: ft.pixel_shuffle(x, 2), lambda x: f.pixel_shuffle(x, 2), normal(2, 8, 3, 2)
    )
    against_torch(
        lambda x: ft.pixel_unshuffle(x, 3), lambda x: f.pixel_unshuffle(x, 3), normal(2, 6, 3)
    )
    against_torch(
        lambda x: ft.channel_shuffle(x, 3), lambda x: f.channel_shuffle(x, 3), normal(2, 6, 3, 2)
    )
    x = double(3, 4, 2, 5)
    assert bool((ft.pixel_unshuffle(ft.pixel_shuffle(x, 2), 2) == x).all())


def test_bad_shapes():
    x = ft.zeros(1, 3, 4, 4)
    with pytest.raises(ShapeError, match="grid_sample"):
        ft.grid_sample(x, ft.zeros(2, 4, 4, 2))
    with pytest.raises(ValueError, match="padding_mode"):
        ft.grid_sample(x, ft.zeros(1, 4, 4, 2), padding_mode="wrap")
    with pytest.raises(DTypeError, match="one floating dtype"):
        ft.grid_sample(x, ft.zeros(1, 4, 4, 2, dtype="float64"))
    with pytest.raises(ShapeError, match="affine_grid"):
        ft.affine_grid(ft.zeros(1, 2, 2), (1, 1, 2, 2))
    for f in (ft.pixel_shuffle, ft.channel_shuffle):
        with pytest.raises(ShapeError, match="multiple"):
            f(x, 2)
    with pytest.raises(ShapeError, match="multiples of 3"):
        ft.pixel_unshuffle(x, 3)
