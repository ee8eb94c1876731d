"""Cross entropy with classes in the middle, smoothing, weights and ignored labels."""

import itertools

import numpy as np
import pytest

import functorch_like as ft

RNG = np.random.default_rng(0)
SHAPES = [(6, 5), (5,), (2, 5, 3), (2, 5, 3, 4)]


def targets(shape, soft):
    if soft:
        return RNG.uniform(0, 1, shape)
    labels = RNG.integers(0, 5, () if len(shape) == 1 else (shape[0], *shape[2:]))
    labels.flat[:1] = labels.flat[:1] if labels.ndim == 0 else 2
    return np.asarray(labels)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_is_that_of_torch(against_torch, shape, weighted, soft):
    torch = pytest.importorskip("torch")

    w, t = RNG.uniform(0.5, 2, 5) if weighted else None, targets(shape, soft)

    def loss(cross_entropy, tensor, options):
        return lambda x: cross_entropy(x, tensor(t), None if w is None else tensor(w), **options)

    for smoothing, ignored, reduction in itertools.product(
        (0.0, 0.1), (False, True), ("mean", "sum", "none")
    ):
        if ignored and (soft or len(shape) == 1):
            continue
        options = {"reduction": reduction, "label_smoothing": smoothing}
        options |= {"ignore_index": 2} if ignored else {}
        ours = loss(ft.cross_entropy, ft.tensor, options)
        theirs = loss(torch.nn.functional.cross_entropy, torch.tensor, options)
        against_torch(ours, theirs, RNG.standard_normal(shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_under_transforms(transforms, shape, soft):
    t = ft.tensor(targets(shape, soft))
    x = ft.tensor(RNG.standard_normal(shape))
    transforms(lambda x: ft.cross_entropy(x, t, reduction="none"), x)
    transforms(lambda x: ft.cross_entropy(x, t, label_smoothing=0.1), x)


def test_wrong_labels_of_images_are_found():
    x, t = ft.zeros(2, 3, 4, 4), ft.zeros(2, 4, 4, dtype="int64")
    with pytest.raises(ft.errors.DimError):
        ft.cross_entropy(x, t + 3)
    with pytest.raises(ft.errors.DimError):
        ft.cross_entropy(x, t - 1)
    with pytest.raises(ft.errors.ShapeError):
        ft.cross_entropy(x, t.reshape(2, 16))


def test_ignored_labels_of_infinite_loss_count_for_nothing():
    x = ft.zeros(1, 2, 3)
    x[0, 1] = -float("inf")
    t = ft.tensor([[0, 1, 0]])
    assert ft.cross_entropy(x, t, ignore_index=1).item() == 0.0
    assert ft.cross_entropy(x, t).item() == float("inf")
