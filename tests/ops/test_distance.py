"""Distances and similarities: against torch and SciPy, at coincident points, under transforms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance

import functorch_like as ft
from functorch_like.errors import DTypeError, ShapeError
from functorch_like.ops import distance_entries

RNG = np.random.default_rng(0)
POWERS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("inf")]


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


@pytest.mark.parametrize("p", POWERS)
def test_cdist_against_torch(against_torch, p):
    import torch

    for a, b in (
        ((3, 4), (5, 4)),
        ((2, 3, 4), (5, 4)),
        ((2, 1, 3, 2), (4, 5, 2)),
        ((0, 4), (5, 4)),
    ):
        against_torch(
            lambda *x: ft.cdist(*x, p=p), lambda *x: torch.cdist(*x, p=p), normal(*a), normal(*b)
        )
    if p:
        x = RNG.integers(0, 2, (4, 2)).astype("float64")
        against_torch(
            lambda *x: ft.cdist(*x, p=p), lambda *x: torch.cdist(*x, p=p), x, x[::-1].copy()
        )


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("shape", [(3, 1, 200), (140, 70, 5), (6, 70, 140)])
def test_rows_and_items_beyond_a_panel(p, shape):
    """Several chunks of rows, panels and runs of items; halves and strided operands too."""
    n, r, m = shape
    x, y, ct = normal(m, n).T, normal(r, m), normal(n, r)
    for dtype in ("float64", "float32", "bfloat16"):
        a, b, c = (ft.tensor(t).to(dtype) for t in (x.T, y, ct))
        got, back = ft.func.vjp(
            lambda a, b: ft.cdist(a, b, p, "donot_use_mm_for_euclid_dist"), a.mT, b
        )
        u, v, g = (ft.tensor(t.double().numpy()) for t in (a.mT, b, c))
        wanted = distance_entries._meaning(u, v, p=p)
        slopes = (
            distance_entries._grad_meaning(g, u, v, wanted, p=p),
            distance_entries._grad_meaning(g.mT, v, u, wanted.mT, p=p),
        )
        bound = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 1e-2}[dtype]
        np.testing.assert_allclose(got.double().numpy(), wanted.numpy(), rtol=bound)
        for g, w in zip(back(c), slopes, strict=True):
            w, scale = w.numpy(), bound * max(1.0, abs(w.numpy()).max())
            np.testing.assert_allclose(g.double().numpy(), w, rtol=bound, atol=scale)
        pairs = ft.pdist(b, p)
        near = ft.cdist(b, b, p, "donot_use_mm_for_euclid_dist")
        first, second = np.triu_indices(r, 1)
        np.testing.assert_array_equal(pairs.float().numpy(), near.float().numpy()[first, second])


def test_any_number_of_threads_gives_the_same_bits():
    x, y = (ft.tensor(normal(300, 90)).float() for _ in range(2))
    found = []
    threads = ft.get_num_threads()
    try:
        for n in (1, 2):
            ft.set_num_threads(n)
            found.append([t.numpy() for t in (ft.cdist(x, y, 1.0), ft.pdist(x, 3.0))])
    finally:
        ft.set_num_threads(threads)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"])
def test_compute_modes_agree(against_torch, mode):
    import torch

    x, y = normal(30, 4), normal(28, 4)
    for m in (mode, "use_mm_for_euclid_dist_if_necessary"):
        against_torch(
            lambda *x, m=m: ft.cdist(*x, compute_mode=mode),
            lambda *x, m=m: torch.cdist(*x, compute_mode=m),
            x,
            y,
            tol=1e-7,
        )


def test_cdist_is_scipys():
    x, y = normal(4, 3), normal(5, 3)
    got = ft.cdist(ft.tensor(x), ft.tensor(y))
    np.testing.assert_allclose(got.numpy(), scipy.spatial.distance.cdist(x, y))
    got = ft.pdist(ft.tensor(x), 1.0)
    np.testing.assert_allclose(got.numpy(), scipy.spatial.distance.pdist(x, "cityblock"))


def test_coincident_points_have_gradient_0():
    for p in POWERS:
        for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
            x = ft.ones(2, 3, dtype="float64", requires_grad=True)
            y = ft.ones(2, 3, dtype="float64", requires_grad=True)
            d = ft.cdist(x, y, p, mode)
            if d.requires_grad:
                d.sum().backward()
                assert not bool(x.grad.any()), p


@pytest.mark.parametrize("p", POWERS)
def test_pairs_against_torch(against_torch, p):
    import torch

    against_torch(lambda x: ft.pdist(x, p), lambda x: torch.pdist(x, p), normal(5, 3))
    for keepdim in (False, True):
        against_torch(
            lambda *x, k=keepdim: ft.pairwise_distance(*x, p=p, keepdim=k),
            lambda *x, k=keepdim: torch.pairwise_distance(*x, p=p, keepdim=k),
            normal(4, 3),
            normal(1, 3),
        )


def test_cosine_and_normalize_against_torch(against_torch):
    import torch

    f = torch.nn.functional
    for a, b, dim in (
        ((3, 4), (3, 4), 1),
        ((2, 3, 4), (1, 4), -1),
        ((4,), (3, 4), 0),
        ((5,), (5,), 0),
    ):
        against_torch(
            lambda *x, d=dim: ft.cosine_similarity(*x, dim=d),
            lambda *x, d=dim: f.cosine_similarity(*x, dim=d),
            normal(*a),
            normal(*b),
        )
    for p in (1.0, 2.0, 3.0, float("inf")):
        for dim in (0, -1, (0, 1)):
            if dim == (0, 1) and p == 3.0:
                continue
            against_torch(
                lambda x, p=p, d=dim: ft.normalize(x, p, d),
                lambda x, p=p, d=dim: f.normalize(x, p, d),
                normal(3, 4),
            )


def test_zero_vectors():
    x = ft.zeros(1, 3, dtype="float64", requires_grad=True)
    y = ft.ones(1, 3, dtype="float64")
    (ft.cosine_similarity(x, y).sum() + ft.normalize(x).sum()).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_local_response_norm_against_torch(against_torch):
    import torch

    for shape in ((2, 5, 3), (2, 4, 3, 2), (1, 6, 2, 2, 3)):
        for size in (1, 2, 3, 5):
            against_torch(
                lambda x, n=size: ft.local_response_norm(x, n, 0.3, 0.6, 1.5),
                lambda x, n=size: torch.nn.functional.local_response_norm(x, n, 0.3, 0.6, 1.5),
                normal(*shape),
            )


def test_under_transforms(transforms):
    x, y = double(2, 3), double(3, 3)
    for p in (1.5, 2.0, 3.0):
        transforms(lambda *x, p=p: ft.cdist(*x, p=p), x, y)
    transforms(lambda *x: ft.cdist(*x, compute_mode="use_mm_for_euclid_dist"), x, y)
    transforms(ft.pdist, y)
    transforms(ft.pairwise_distance, x, double(2, 3))
    transforms(ft.cosine_similarity, x, double(2, 3))
    transforms(ft.normalize, x)
    transforms(lambda x: ft.local_response_norm(x, 2, 0.3), double(1, 3, 2))


def test_bad_calls():
    with pytest.raises(ShapeError, match="cdist"):
        ft.cdist(ft.zeros(2, 3), ft.zeros(2, 4))
    with pytest.raises(ValueError, match="at least 0"):
        ft.cdist(ft.zeros(2, 3), ft.zeros(2, 3), -1.0)
    with pytest.raises(ValueError, match="compute_mode"):
        ft.cdist(ft.zeros(2, 3), ft.zeros(2, 3), compute_mode="fast")
    with pytest.raises(ShapeError, match="pdist"):
        ft.pdist(ft.zeros(3))
    with pytest.raises(DTypeError, match="floating"):
        ft.normalize(ft.ones(2, 3).long())
    with pytest.raises(ShapeError, match="local_response_norm"):
        ft.local_response_norm(ft.zeros(2, 3), 2)


@pytest.mark.parametrize("shape", [(3, 4, 0), (4, 3, -2), (0, 3, 0), (3, 0, 1), (5, 5, 7)])
def test_places_of_triangles_under_compile(shape):
    for places in (ft.triu_indices, ft.tril_indices):
        compiled = ft.compile(lambda x, places=places: places(*shape) + x)
        assert compiled(ft.tensor(0)).tolist() == places(*shape).tolist()
        assert places(*shape).shape == (2, compiled(ft.tensor(0)).shape[1])
