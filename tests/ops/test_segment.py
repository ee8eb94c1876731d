"""Segments and bags: against loops and torch, under transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import DTypeError, ShapeError, TraceError

RNG = np.random.default_rng(0)
IDS = [2, 0, 0, 3, -1, 2]


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


REDUCTIONS = {
    "sum": (lambda rows: rows.sum(0), 0.0),
    "mean": (lambda rows: rows.mean(0), 0.0),
    "max": (lambda rows: rows.max(0), -np.inf),
    "min": (lambda rows: rows.min(0), np.inf),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_loops(name):
    function, (reduce, empty) = getattr(ft, f"segment_{name}"), REDUCTIONS[name]
    x = normal(6, 2)
    expected = np.full((5, 2), empty)
    for segment in (0, 2, 3):
        expected[segment] = reduce(x[np.array(IDS) == segment])
    np.testing.assert_allclose(function(ft.tensor(x), ft.tensor(IDS), 5).numpy(), expected)
    np.testing.assert_allclose(function(ft.tensor(x), ft.tensor(IDS)).numpy(), expected[:4])
    moved = function(ft.tensor(x.T.copy()), ft.tensor(IDS), 5, dim=1)
    np.testing.assert_allclose(moved.numpy(), expected.T)


def test_softmax_is_a_loop():
    x = normal(6, 2)
    expected = np.zeros_like(x)
    for segment in (0, 2, 3):
        rows = np.array(IDS) == segment
        expected[rows] = np.exp(x[rows]) / np.exp(x[rows]).sum(0)
    np.testing.assert_allclose(
        ft.segment_softmax(ft.tensor(x), ft.tensor(IDS), 5).numpy(), expected
    )


@pytest.mark.parametrize("name", [*REDUCTIONS, "softmax"])
def test_segments_under_transforms(transforms, name):
    function, ids = getattr(ft, f"segment_{name}"), ft.tensor(IDS)

    def finite(x):
        y = function(x, ids, 5)
        return ft.where(y.isinf(), 0.0, y)

    transforms(finite, double(6, 2))


def test_segment_numbers_can_be_mapped():
    x, ids = double(6, 2), ft.tensor([IDS, IDS[::-1]])
    for name in (*REDUCTIONS, "softmax"):
        function = getattr(ft, f"segment_{name}")
        got = ft.vmap(lambda i, f=function: f(x, i, 5))(ids)
        for lane in range(2):
            np.testing.assert_allclose(got[lane].numpy(), function(x, ids[lane], 5).numpy())


def test_integers_and_no_rows():
    assert ft.segment_sum(ft.tensor([1, 2]), ft.tensor([1, 1])).tolist() == [0, 3]
    assert ft.segment_max(ft.tensor([1, 2]), ft.tensor([1, 1]), 2)[1] == 2
    assert ft.segment_sum(ft.zeros(0, 3), ft.zeros(0, dtype="int64")).shape == (0, 3)


def test_bad_segments():
    with pytest.raises(ShapeError, match="segment number"):
        ft.segment_sum(ft.zeros(3), ft.tensor([0, 1]))
    with pytest.raises(DTypeError, match="integer"):
        ft.segment_sum(ft.zeros(2), ft.zeros(2))
    with pytest.raises(DTypeError, match="floating"):
        ft.segment_mean(ft.tensor([1, 2]), ft.tensor([0, 0]))
    with pytest.raises(TraceError, match="one shape"):
        ft.vmap(lambda i: ft.segment_sum(ft.zeros(2), i))(ft.tensor([[0, 1], [0, 0]]))


BAGS = [
    {},
    {"mode": "sum"},
    {"mode": "max"},
    {"padding_idx": 1},
    {"mode": "sum", "padding_idx": -1},
    {"mode": "max", "padding_idx": 1},
]


@pytest.mark.parametrize("options", BAGS, ids=str)
def test_bags_against_torch(against_torch, options):
    import torch

    theirs = torch.nn.functional.embedding_bag
    weight = normal(5, 3)
    table, rows = np.array([[0, 1, 4], [1, 1, 2]]), np.array([0, 1, 4, 2, 1, 3])
    if options.get("mode") == "max":
        table[1] = [1, 3, 2]  # equal maxima are another matter
    against_torch(
        lambda w: ft.embedding_bag(ft.tensor(table), w, **options),
        lambda w: theirs(torch.tensor(table), w, **options),
        weight,
    )
    for offsets, more in (([0, 2, 2, 5], {}), ([0, 3, 6], {"include_last_offset": True})):
        against_torch(
            lambda w, o=offsets, m=more: ft.embedding_bag(
                ft.tensor(rows), w, ft.tensor(o), **options, **m
            ),
            lambda w, o=offsets, m=more: theirs(
                torch.tensor(rows), w, torch.tensor(o), **options, **m
            ),
            weight,
        )


def test_weighted_bags_against_torch(against_torch):
    import torch

    theirs = torch.nn.functional.embedding_bag
    rows = np.array([0, 1, 4, 2, 1])
    against_torch(
        lambda w, s: ft.embedding_bag(
            ft.tensor(rows), w, ft.tensor([0, 2]), mode="sum", per_sample_weights=s
        ),
        lambda w, s: theirs(
            torch.tensor(rows), w, torch.tensor([0, 2]), mode="sum", per_sample_weights=s
        ),
        normal(5, 3),
        normal(5),
    )


def test_long_rows_are_shortened_in_place():
    torch = pytest.importorskip("torch")
    weight = normal(5, 3) * 3
    ours, theirs = ft.tensor(weight), torch.tensor(weight)
    rows = np.array([[0, 1, 4]])
    a = ft.embedding_bag(ft.tensor(rows), ours, max_norm=1.0)
    b = torch.nn.functional.embedding_bag(torch.tensor(rows), theirs, max_norm=1.0)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_gradients_by_frequency():
    """Each row counts once, however often it is picked. (torch takes another row's frequency.)"""
    w = ft.ones(4, 1, requires_grad=True)
    rows = ft.tensor([0, 1, 2, 1, 1])
    y = ft.embedding_bag(rows, w, ft.tensor([0, 3]), mode="sum", scale_grad_by_freq=True)
    assert y.tolist() == [[3.0], [2.0]]
    y.sum().backward()
    np.testing.assert_allclose(w.grad.flatten().numpy(), [1, 1, 1, 0])


def test_bags_under_transforms(transforms):
    rows, offsets = ft.tensor([0, 1, 4, 2]), ft.tensor([0, 2])
    for mode in ("sum", "mean", "max"):
        transforms(lambda w, m=mode: ft.embedding_bag(rows, w, offsets, mode=m), double(5, 2))
    transforms(
        lambda w, s: ft.embedding_bag(rows, w, offsets, mode="sum", per_sample_weights=s),
        double(5, 2),
        double(4),
    )


def test_bad_bags():
    w, rows = ft.zeros(3, 2), ft.tensor([0, 1])
    with pytest.raises(ValueError, match="mode"):
        ft.embedding_bag(rows, w, ft.tensor([0]), mode="product")
    with pytest.raises(ValueError, match="offsets"):
        ft.embedding_bag(rows, w)
    with pytest.raises(ValueError, match="per_sample_weights"):
        ft.embedding_bag(rows, w, ft.tensor([0]), per_sample_weights=ft.ones(2))
    with pytest.raises(IndexError, match="expected"):
        ft.embedding_bag(ft.tensor([5]), w, ft.tensor([0]))
