"""functorch_like.masked: against torch.masked, gradients of what is masked out, transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import masked
from functorch_like.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, False, True, True], [True, True, False, False], [False, True, True, True]])
EMPTY = MASK & np.array([[True], [False], [True]])
REDUCTIONS = ["amax", "amin", "logsumexp", "mean", "median", "prod", "std", "sum", "var"]
ALONG = ["cumprod", "cumsum", "log_softmax", "softmax", "softmin"]


def normal(*shape):
    return RNG.standard_normal(shape)


def test_all_names_are_there():
    assert len(masked.__all__) == 19


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_against_torch(against_torch, name):
    import torch.masked

    ours, theirs = getattr(masked, name), getattr(torch.masked, name)
    x = normal(3, 4)
    for dim in (0, -1) if name == "median" else (0, -1, (0, 1), None):
        for keepdim in (False, True):
            for mask in (MASK, MASK[:, :1] | True, MASK[1]):
                against_torch(
                    lambda x, m, d=dim, k=keepdim: ours(x, d, keepdim=k, mask=m),
                    lambda x, m, d=dim, k=keepdim: theirs(x, d, keepdim=k, mask=m),
                    x,
                    mask,
                    grad=not (mask.shape == (4,) and name in ("std", "var", "mean", "median")),
                )
    dim = -1 if name == "median" else None
    against_torch(lambda x: ours(x, dim), lambda x: theirs(x, dim), x)


@pytest.mark.parametrize("name", ["amax", "amin", "mean", "median", "prod", "std", "sum", "var"])
def test_rows_without_elements_against_torch(against_torch, name):
    import torch.masked

    against_torch(
        lambda x, m: getattr(masked, name)(x, 1, mask=m),
        lambda x, m: getattr(torch.masked, name)(x, 1, mask=m),
        normal(3, 4),
        EMPTY,
        grad=False,
    )


@pytest.mark.parametrize("name", ALONG)
def test_along_a_dim_against_torch(against_torch, name):
    import torch.masked

    for dim in (0, 1):
        against_torch(
            lambda x, m, d=dim: getattr(masked, name)(x, d, mask=m).masked_fill(~m, 0),
            lambda x, m, d=dim: getattr(torch.masked, name)(x, d, mask=m).masked_fill(~m, 0),
            normal(3, 4),
            MASK,
        )


@pytest.mark.parametrize("ord", [1.0, 2.0, 3.0, 0.0, float("inf"), -float("inf")])
def test_norms_against_torch(against_torch, ord):
    import torch.masked

    for dim in (0, 1):
        against_torch(
            lambda x, m, d=dim: masked.norm(x, ord, d, mask=m),
            lambda x, m, d=dim: torch.masked.norm(x, ord, d, mask=m),
            normal(3, 4),
            MASK,
            grad=ord != 0,
        )
        if ord > 0:
            against_torch(
                lambda x, m, d=dim: masked.normalize(x, ord, d, mask=m),
                lambda x, m, d=dim: torch.masked.normalize(x, ord, d, mask=m),
                normal(3, 4),
                MASK,
            )


def test_variance_options_against_torch(against_torch):
    import torch.masked

    for options in ({"unbiased": False}, {"correction": 0}, {"correction": 2}, {"unbiased": True}):
        for name in ("var", "std"):
            against_torch(
                lambda x, m, n=name, o=options: getattr(masked, n)(x, 0, **o, mask=m),
                lambda x, m, n=name, o=options: getattr(torch.masked, n)(x, 0, **o, mask=m),
                normal(6, 2),
                np.array([[True], [False], [True], [True], [True], [True]]),
            )


def test_logaddexp_against_torch(against_torch):
    import torch.masked

    against_torch(
        lambda x, y, m, n: masked.logaddexp(x, y, input_mask=m, other_mask=n),
        lambda x, y, m, n: torch.masked.logaddexp(x, y, input_mask=m, other_mask=n),
        normal(3, 4),
        normal(3, 4),
        MASK,
        MASK[:, ::-1].copy(),
        grad=False,
    )


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places(name):
    x = normal(3, 4)
    sign = 1 if name == "argmax" else -1
    filled = np.where(MASK, x * sign, -np.inf)
    got = getattr(masked, name)(ft.tensor(x), 1, mask=ft.tensor(MASK))
    assert got.tolist() == filled.argmax(1).tolist()
    assert int(getattr(masked, name)(ft.tensor(x), mask=ft.tensor(MASK))) == filled.argmax()


def test_integers():
    x, mask = (
        ft.tensor([[1, 2, 3], [4, 5, 6]]),
        ft.tensor([[True, False, True], [False, True, True]]),
    )
    assert masked.sum(x, 1, mask=mask).tolist() == [4, 11]
    assert masked.prod(x, mask=mask).item() == 90
    assert masked.amax(x, 0, mask=mask).tolist() == [1, 5, 6]
    assert masked.median(x, 1, mask=mask).tolist() == [1, 5]
    assert masked.var(x, 1, mask=mask).tolist() == [2, 0.5]
    assert masked.sum(x, dtype="float64").dtype is ft.float64
    with pytest.raises(DTypeError, match="floating"):
        masked.mean(x, mask=mask)


NAMES = [
    n for n in masked.__all__ if n not in ("argmax", "argmin", "logaddexp", "norm", "normalize")
]


@pytest.mark.parametrize("name", NAMES)
def test_masked_out_values_do_not_matter(name):
    """Not even nan and inf: value and gradient are those of other numbers there."""
    function, mask = getattr(masked, name), ft.tensor(EMPTY)
    for bad in (float("nan"), float("inf")):
        x = ft.where(mask, ft.tensor(normal(3, 4)), bad).requires_grad_()
        y = function(x, 1, mask=mask)
        good = mask if y.ndim == 2 else mask.any(1)
        ft.where(good, y, 0.0).sum().backward()
        assert np.isfinite(ft.where(good, y, 0.0).detach().numpy()).all()
        assert np.isfinite(x.grad.numpy()).all(), (bad, x.grad)
        assert not bool(x.grad[~mask].any())


@pytest.mark.parametrize("name", [*REDUCTIONS, *ALONG])
def test_under_transforms(transforms, name):
    function, mask = getattr(masked, name), ft.tensor(MASK)

    def finite(x):
        y = function(x, 1, mask=mask)
        return ft.where(mask, y, 0.0) if y.ndim == 2 else y

    transforms(finite, ft.tensor(normal(3, 4)))


def test_more_under_transforms(transforms):
    mask, x, y = ft.tensor(MASK), ft.tensor(normal(3, 4)), ft.tensor(normal(3, 4))
    transforms(lambda x: masked.norm(x, 2.0, 1, mask=mask), x)
    transforms(lambda x: masked.normalize(x, 2.0, 1, mask=mask), x)

    def added(x, y):
        out = masked.logaddexp(x, y, input_mask=mask, other_mask=mask.flip(1))
        return ft.where(out.isinf(), 0.0, out)

    transforms(added, x, y)


def test_a_mask_can_be_mapped():
    x, masks = ft.tensor(normal(3, 4)), ft.tensor(np.stack([MASK, EMPTY]))
    got = ft.vmap(lambda m: masked.softmax(x, 1, mask=m))(masks)
    for lane in range(2):
        expected = masked.softmax(x, 1, mask=masks[lane])
        np.testing.assert_allclose(got[lane].numpy(), expected.numpy())


def test_bad_masks():
    with pytest.raises(DTypeError, match="bool mask"):
        masked.sum(ft.ones(2), mask=ft.ones(2))
    with pytest.raises(ShapeError, match="broadcasts"):
        masked.sum(ft.ones(2), mask=ft.ones(3, dtype="bool"))
    with pytest.raises(ValueError, match="unbiased or correction"):
        masked.var(ft.ones(2), None, True, correction=1)
