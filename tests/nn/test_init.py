"""nn.init: moments and bounds of every initialiser, generators, gains, errors."""

import math

import pytest

import functorch_like as ft
import nn
from nn import init


def near(a, b, atol=1e-5):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


def moments(x):
    return x.mean().item(), x.std().item()


def test_constants():
    x = nn.Parameter(ft.empty(2, 3))
    assert init.constant_(x, 2.5) is x and x.tolist() == [[2.5] * 3] * 2
    assert init.zeros_(x).sum().item() == 0.0 and init.ones_(x).sum().item() == 6.0
    assert init.eye_(x).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert x.is_leaf and x.requires_grad


def test_distributions():
    x = ft.empty(300, 200)
    mean, std = moments(init.uniform_(x, -1.0, 3.0))
    assert mean == pytest.approx(1.0, abs=0.02) and std == pytest.approx(
        4 / math.sqrt(12), rel=0.02
    )
    assert -1.0 <= x.min().item() and x.max().item() <= 3.0
    assert moments(init.normal_(x, 2.0, 0.5)) == (
        pytest.approx(2.0, abs=0.01),
        pytest.approx(0.5, rel=0.02),
    )
    init.trunc_normal_(x, 1.0, 2.0, 0.0, 3.0)
    assert (
        0.0 <= x.min().item()
        and x.max().item() <= 3.0
        and x.mean().item() == pytest.approx(1.4134, abs=0.02)
    )
    for fill, std in [
        (lambda: init.xavier_uniform_(x, gain=2.0), 2.0 * math.sqrt(2 / 500)),
        (lambda: init.xavier_normal_(x), math.sqrt(2 / 500)),
        (lambda: init.kaiming_uniform_(x, nonlinearity="relu"), math.sqrt(2 / 200)),
        (lambda: init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 300)),
        (lambda: init.kaiming_uniform_(x, a=math.sqrt(5)), math.sqrt(1 / 600)),
    ]:
        assert moments(fill()) == (pytest.approx(0.0, abs=0.01), pytest.approx(std, rel=0.03))
    w = ft.empty(40, 10, 3, 3)
    assert init.kaiming_normal_(w, nonlinearity="linear").std().item() == pytest.approx(
        math.sqrt(1 / 90), rel=0.05
    )


def test_generators():
    fills = [
        init.uniform_,
        init.normal_,
        init.trunc_normal_,
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
    ]
    for fill in fills:
        a, b = (
            fill(ft.empty(3, 4), generator=ft.Generator().manual_seed(7)).tolist() for _ in range(2)
        )
        assert a == b != fill(ft.empty(3, 4)).tolist()


def test_structured():
    w = init.dirac_(ft.empty(4, 2, 3, 3), groups=2)
    x = ft.rand(1, 4, 5, 5)
    assert near(ft.conv2d(x, w, None, 1, 1, 1, 2), x)
    x = init.sparse_(ft.empty(10, 6), 0.25)
    assert (x == 0).sum(0).tolist() == [3] * 6


def test_orthogonal():
    if not hasattr(ft, "linalg"):
        pytest.skip("needs linalg.qr")
    for shape in ((5, 3), (3, 5), (3, 2, 2)):
        w = init.orthogonal_(ft.empty(*shape), gain=2.0).reshape(shape[0], -1)
        gram = w.T @ w if w.shape[0] > w.shape[1] else w @ w.T
        assert near(gram, 4.0 * ft.eye(min(w.shape)), atol=1e-5)


def test_gains_and_errors():
    assert (
        init.calculate_gain("relu") == math.sqrt(2)
        and init.calculate_gain("leaky_relu", 1.0) == 1.0
    )
    with pytest.raises(ValueError, match="expected one of linear"):
        init.calculate_gain("rely")
    with pytest.raises(ValueError, match="number as leaky_relu's slope"):
        init.calculate_gain("leaky_relu", "x")
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        init.xavier_uniform_(ft.empty(3))
    with pytest.raises(ValueError, match="mode 'fan_in' or 'fan_out'"):
        init.kaiming_uniform_(ft.empty(3, 3), mode="fan")
    for fill, shape in ((init.eye_, (3,)), (init.dirac_, (2, 2)), (init.orthogonal_, (2,))):
        with pytest.raises(ValueError, match=f"{fill.__name__}: expected"):
            fill(ft.empty(*shape))
