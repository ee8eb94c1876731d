"""nn.functional: losses, padding, one_hot and friends; values by hand, and torch's."""

import warnings

import pytest

import functorch_like as ft
import nn
import nn.functional as F


def near(a, b, atol=1e-5):
    return a.shape == b.shape and (a - b).abs().max().item() <= atol


def test_mse_loss_broadcasts_without_warning(recwarn):
    assert F.mse_loss(ft.zeros(2, 3), ft.ones(3)).item() == 1.0
    assert len(recwarn) == 0


def test_reductions():
    x, y = ft.tensor([1.0, 2.0]), ft.tensor([1.0, 4.0])
    assert F.mse_loss(x, y).item() == 2.0 and F.mse_loss(x, y, reduction="sum").item() == 4.0
    assert F.mse_loss(x, y, reduction="none").tolist() == [0.0, 4.0]
    with pytest.raises(
        ValueError, match="l1_loss: expected reduction 'mean', 'sum' or 'none', got 'max'"
    ):
        F.l1_loss(x, y, reduction="max")


def test_saturated_probabilities():
    p = ft.tensor([0.0, 1.0, 1.0, 0.0], requires_grad=True)
    loss = F.binary_cross_entropy(p, ft.tensor([0.0, 1.0, 0.0, 1.0]), reduction="none")
    assert loss.tolist() == [0.0, 0.0, 100.0, 100.0]
    loss.sum().backward()
    assert bool(ft.isfinite(p.grad).all())
    z = ft.tensor([200.0, -200.0, 0.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(z, ft.tensor([0.0, 1.0, 0.5]), reduction="none")
    assert loss.tolist() == pytest.approx([200.0, 200.0, 0.6931472])
    loss.sum().backward()
    assert z.grad.tolist() == pytest.approx([1.0, -1.0, 0.0])


def test_one_hot():
    assert F.one_hot(ft.tensor([[2], [0]]), 3).tolist() == [[[0, 0, 1]], [[1, 0, 0]]]
    assert F.one_hot(ft.tensor([1, 0])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(TypeError, match="expected integers"):
        F.one_hot(ft.zeros(2))
    with pytest.raises(IndexError, match=r"expected integers in \[0, 2\], got -1"):
        F.one_hot(ft.tensor([-1, 1]), 3)
    with pytest.raises(ValueError, match="num_classes for an empty tensor"):
        F.one_hot(ft.zeros(0, dtype=ft.int64))


def test_pad():
    x = ft.arange(6.0).reshape(2, 3)
    assert F.pad(x, (1, 0), value=9.0).tolist() == [[9.0, 0.0, 1.0, 2.0], [9.0, 3.0, 4.0, 5.0]]
    assert F.pad(x, (-1, 0, 0, 1)).tolist() == [[1.0, 2.0], [4.0, 5.0], [0.0, 0.0]]
    assert F.pad(x, (2, 1), mode="reflect").tolist()[0] == [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
    assert F.pad(x, (2, 1), mode="replicate").tolist()[0] == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    assert F.pad(x, (2, 1), mode="circular").tolist()[0] == [1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="pairs for at most 2 dimensions"):
        F.pad(x, (1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="reflections shorter than the dimension"):
        F.pad(x, (3, 0), mode="reflect")


def test_second_order_through_losses():
    def loss(x):
        return (
            F.binary_cross_entropy_with_logits(x, ft.tensor([1.0, 0.0]))
            + F.softplus(x).sum()
            + F.elu(x).sum()
        )

    h = ft.hessian(loss)(ft.tensor([0.3, -0.7]))
    s = ft.sigmoid(ft.tensor([0.3, -0.7]))
    expected = 1.5 * s * (1 - s) + ft.tensor([0.0, 0.4965853])
    assert near(ft.diagonal(h), expected, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.5}),
        ("binary_cross_entropy", {}),
        ("binary_cross_entropy_with_logits", {}),
        ("kl_div", {}),
        ("kl_div", {"log_target": True}),
    ],
)
def test_losses_as_torch(bridge, name, kwargs, reduction):
    x, y = ft.rand(4, 3).requires_grad_(), ft.rand(4, 3)
    other = bridge.theirs(x).requires_grad_()
    a = getattr(F, name)(x, y, reduction=reduction, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about kl_div's mean
        b = getattr(bridge.torch.nn.functional, name)(
            other, bridge.theirs(y), reduction=reduction, **kwargs
        )
    bridge.close(a, b)
    a.sum().backward(), b.sum().backward()
    bridge.close(x.grad, other.grad)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"ignore_index": 1}, {"label_smoothing": 0.1}, {"weight": True}]
)
def test_cross_entropy_as_torch(bridge, kwargs, reduction):
    x, y = ft.randn(6, 3).requires_grad_(), ft.tensor([0, 1, 2, 1, 0, 2])
    other = bridge.theirs(x).requires_grad_()
    theirs = dict(kwargs)
    if "weight" in kwargs:
        kwargs = {"weight": ft.tensor([1.0, 2.0, 0.5])}
        theirs = {"weight": bridge.theirs(kwargs["weight"])}
    a = nn.CrossEntropyLoss(reduction=reduction, **kwargs)(x, y)
    b = bridge.torch.nn.CrossEntropyLoss(reduction=reduction, **theirs)(other, bridge.theirs(y))
    bridge.close(a, b)
    a.sum().backward(), b.sum().backward()
    bridge.close(x.grad, other.grad)
    log = ft.log_softmax(x.detach(), 1)
    kwargs.pop("label_smoothing", None), theirs.pop("label_smoothing", None)
    bridge.close(
        nn.NLLLoss(reduction=reduction, **kwargs)(log, y),
        bridge.torch.nn.NLLLoss(reduction=reduction, **theirs)(
            bridge.theirs(log), bridge.theirs(y)
        ),
    )


@pytest.mark.torch
def test_more_losses_as_torch(bridge):
    x, y, w = ft.randn(4, 3), ft.rand(4, 3), ft.tensor([1.0, 2.0, 3.0])
    tx, ty, tw = (bridge.theirs(t) for t in (x, y, w))
    bridge.close(
        nn.BCEWithLogitsLoss(weight=w, pos_weight=w)(x, y),
        bridge.torch.nn.BCEWithLogitsLoss(weight=tw, pos_weight=tw)(tx, ty),
    )
    bridge.close(
        nn.BCELoss(weight=w)(ft.sigmoid(x), y),
        bridge.torch.nn.BCELoss(weight=tw)(bridge.torch.sigmoid(tx), ty),
    )
    bridge.close(
        F.cross_entropy(x, ft.softmax(y, 1)),
        bridge.torch.nn.functional.cross_entropy(tx, ty.softmax(1)),
    )
    bridge.close(F.normalize(x), bridge.torch.nn.functional.normalize(tx))
    bridge.close(
        F.normalize(x, p=1.0, dim=0), bridge.torch.nn.functional.normalize(tx, p=1.0, dim=0)
    )
    bridge.close(F.cosine_similarity(x, y), bridge.torch.nn.functional.cosine_similarity(tx, ty))
    bridge.close(
        F.kl_div(x, y, reduction="batchmean"),
        bridge.torch.nn.functional.kl_div(tx, ty, reduction="batchmean"),
    )
    bridge.close(F.gelu(x, "tanh"), bridge.torch.nn.functional.gelu(tx, approximate="tanh"))
    bridge.close(F.threshold(x, 0.1, 20.0), bridge.torch.nn.functional.threshold(tx, 0.1, 20.0))
    bridge.close(F.softplus(x, 2.0, 0.5), bridge.torch.nn.functional.softplus(tx, 2.0, 0.5))
    bridge.close(F.prelu(x, w), bridge.torch.nn.functional.prelu(tx, tw))


def test_functions_of_the_core_are_served():
    assert F.unfold is ft.im2col
    assert F.fold is ft.col2im
    for name in ("interpolate", "grid_sample", "scaled_dot_product_attention", "embedding_bag"):
        assert name in F.__all__
        assert getattr(F, name) is getattr(ft, name)


def test_threshold_keeps_nan():
    x = ft.tensor([float("nan"), 1.0, 2.0])
    assert str(F.threshold(x, 1.0, -5.0).tolist()) == "[nan, -5.0, 2.0]"


def test_activations_in_place_do_not_cut_off_fractions():
    x = ft.tensor([1, -2])
    for activation in (F.silu, F.elu, F.leaky_relu):
        with pytest.raises(ft.DTypeError, match="inplace"):
            activation(x, inplace=True)
    assert F.relu(x, inplace=True) is x and x.tolist() == [1, 0]


def test_limits_of_integers_are_integers():
    x = ft.tensor([-3, 1, 5])
    for got, expected in (
        (F.hardtanh(x), [-1, 1, 1]),
        (F.hardtanh(x, -1.5, 2.5), [-1, 1, 2]),
        (F.threshold(x, 0.5, 1.7), [1, 1, 5]),
        (F.threshold_(x.clone(), 0.5, 1.7), [1, 1, 5]),
        (nn.Hardtanh()(x.to(ft.uint8)), [1, 1, 1]),
    ):
        assert not got.dtype.is_inexact and got.tolist() == expected
