"""Losses: values by hand, torch's values and gradients, every reduction, transforms, bad input."""

import itertools
import math

import pytest

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like.testing import assert_close, gradcheck, gradgradcheck


def signs(*shape):
    return ft.where(ft.rand(*shape) < 0.5, -1, 1)


# name, inputs that get gradients, other inputs, settings
LOSSES = [
    ("mse_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3)), (), {}),
    ("l1_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3)), (), {}),
    ("smooth_l1_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3)), (), {"beta": 0.5}),
    ("huber_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3)), (), {"delta": 0.7}),
    (
        "gaussian_nll_loss",
        lambda: (ft.randn(4, 3), ft.randn(4, 3), ft.rand(4, 3) + 0.1),
        (),
        {"full": True},
    ),
    ("gaussian_nll_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3), ft.rand(4, 1) + 0.1), (), {}),
    ("gaussian_nll_loss", lambda: (ft.randn(4, 3), ft.randn(4, 3), ft.rand(4) - 0.1), (), {}),
    ("poisson_nll_loss", lambda: (ft.randn(4, 3), ft.rand(4, 3) * 5), (), {"full": True}),
    ("poisson_nll_loss", lambda: (ft.rand(4, 3), ft.rand(4, 3) * 5), (), {"log_input": False}),
    ("kl_div", lambda: (ft.randn(4, 3), ft.rand(4, 3)), (), {}),
    ("kl_div", lambda: (ft.randn(4, 3), ft.randn(4, 3)), (), {"log_target": True}),
    ("binary_cross_entropy", lambda: (ft.rand(4, 3), ft.rand(4, 3)), (), {}),
    ("binary_cross_entropy_with_logits", lambda: (ft.randn(4, 3), ft.rand(4, 3)), (), {}),
    ("hinge_embedding_loss", lambda: (ft.randn(4, 3),), lambda: (signs(4, 3),), {"margin": 0.5}),
    (
        "cosine_embedding_loss",
        lambda: (ft.randn(4, 3), ft.randn(4, 3)),
        lambda: (signs(4),),
        {"margin": -0.3},
    ),
    ("cosine_embedding_loss", lambda: (ft.randn(3), ft.randn(3)), lambda: (signs(),), {}),
    (
        "margin_ranking_loss",
        lambda: (ft.randn(6), ft.randn(6)),
        lambda: (signs(6),),
        {"margin": 0.4},
    ),
    ("soft_margin_loss", lambda: (ft.randn(4, 3) * 3,), lambda: (signs(4, 3),), {}),
    ("multi_margin_loss", lambda: (ft.randn(4, 3),), lambda: (ft.randint(0, 3, (4,)),), {}),
    (
        "multi_margin_loss",
        lambda: (ft.randn(4, 3),),
        lambda: (ft.randint(0, 3, (4,)),),
        {"p": 2, "margin": 0.7},
    ),
    ("multi_margin_loss", lambda: (ft.randn(3),), lambda: (ft.tensor(1),), {}),
    (
        "multilabel_margin_loss",
        lambda: (ft.randn(3, 4),),
        lambda: (ft.tensor([[3, 0, -1, 1], [-1, 0, 0, 0], [0, 1, 2, 3]]),),
        {},
    ),
    ("multilabel_margin_loss", lambda: (ft.randn(3),), lambda: (ft.tensor([2, -1, 0]),), {}),
    ("multilabel_soft_margin_loss", lambda: (ft.randn(4, 3), ft.rand(4, 3)), (), {}),
    ("triplet_margin_loss", lambda: tuple(ft.randn(4, 3) for _ in range(3)), (), {}),
    (
        "triplet_margin_loss",
        lambda: tuple(ft.randn(4, 3) for _ in range(3)),
        (),
        {"p": 1.0, "swap": True, "margin": 2.0},
    ),
    ("triplet_margin_with_distance_loss", lambda: tuple(ft.randn(4, 3) for _ in range(3)), (), {}),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(LOSSES)]


def draw(inputs, others):
    doubles = tuple(x.double() for x in inputs())
    return doubles, others() if callable(others) else others


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "inputs", "others", "settings"), LOSSES, ids=IDS)
def test_as_torch(bridge, name, inputs, others, settings, reduction):
    xs, fixed = draw(inputs, others)
    xs = [x.requires_grad_() for x in xs]
    ts = [bridge.theirs(x).requires_grad_() for x in xs]
    a = getattr(F, name)(*xs, *fixed, **settings, reduction=reduction)
    theirs = getattr(bridge.torch.nn.functional, name)
    b = theirs(*ts, *map(bridge.theirs, fixed), **settings, reduction=reduction)
    bridge.close(a, b, 1e-10)
    (a * a).sum().backward(), (b * b).sum().backward()
    for x, t in zip(xs, ts, strict=True):
        bridge.close(x.grad, t.grad, 1e-9)


@pytest.mark.parametrize(("name", "inputs", "others", "settings"), LOSSES, ids=IDS)
def test_derivatives_and_vmap(name, inputs, others, settings):
    xs, fixed = draw(inputs, others)

    def loss(*xs):
        return getattr(F, name)(*xs, *fixed, **settings)

    leaves = [x.requires_grad_() for x in xs]
    assert gradcheck(loss, leaves) and gradgradcheck(loss, leaves)
    rows = [ft.stack([x.detach(), x.detach() * 0.5]) for x in xs]
    mapped = ft.vmap(ft.grad(loss))(*rows)
    for i in range(2):
        assert_close(mapped[i], ft.grad(loss)(*[row[i] for row in rows]))


MODULES = [
    ("MSELoss", {}, 2),
    ("L1Loss", {}, 2),
    ("SmoothL1Loss", {"beta": 0.5}, 2),
    ("HuberLoss", {"delta": 0.5}, 2),
    ("KLDivLoss", {"log_target": True}, 2),
    ("BCEWithLogitsLoss", {"pos_weight": [1.0, 2.0, 3.0]}, 2),
    ("GaussianNLLLoss", {"full": True}, "positive"),
    ("PoissonNLLLoss", {"log_input": True}, 2),
    ("HingeEmbeddingLoss", {"margin": 0.3}, "signs"),
    ("SoftMarginLoss", {}, "signs"),
    ("MultiMarginLoss", {"p": 2, "weight": [1.0, 2.0, 3.0]}, "classes"),
    ("NLLLoss", {"weight": [1.0, 2.0, 3.0]}, "classes"),
    ("NLLLoss2d", {}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, "classes"),
    ("MultiLabelSoftMarginLoss", {"weight": [1.0, 2.0, 3.0]}, 2),
    ("TripletMarginLoss", {"swap": True}, 3),
    ("TripletMarginWithDistanceLoss", {"margin": 0.5}, 3),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "settings", "kind"), MODULES, ids=[m[0] for m in MODULES])
def test_modules_as_torch(bridge, name, settings, kind):
    ours = {k: ft.tensor(v) if isinstance(v, list) else v for k, v in settings.items()}
    theirs = {k: bridge.torch.tensor(v) if isinstance(v, list) else v for k, v in settings.items()}
    a, b = getattr(nn, name)(**ours), getattr(bridge.torch.nn, name)(**theirs)
    count = kind if isinstance(kind, int) else 1 if kind in ("signs", "classes") else 2
    xs = [ft.randn(4, 3) for _ in range(count)]
    xs += [signs(4, 3)] if kind == "signs" else []
    xs += [ft.randint(0, 3, (4,))] if kind == "classes" else []
    xs += [ft.rand(4, 3) + 0.1] if kind == "positive" else []
    bridge.close(a(*xs), b(*map(bridge.theirs, xs)), 1e-5)
    assert list(a.state_dict()) == list(b.state_dict()) and repr(a) == repr(b)


def test_values_by_hand():
    x, y = ft.tensor([1.0, 2.0]), ft.tensor([3.0, 2.0])
    assert F.gaussian_nll_loss(x, y, 4.0).item() == pytest.approx(math.log(4) / 2 + 0.25)
    assert F.poisson_nll_loss(x, y, log_input=False, reduction="sum").item() == pytest.approx(
        3 - 2 * math.log(2), abs=1e-6
    )
    assert F.soft_margin_loss(ft.tensor([0.0]), ft.tensor([1])).item() == pytest.approx(math.log(2))
    assert F.margin_ranking_loss(x, y, ft.tensor([1, 1]), margin=0.5).item() == 1.5
    scores = ft.tensor([0.1, 0.2, 0.4, 0.8])
    assert F.multi_margin_loss(scores, ft.tensor(3)).item() == pytest.approx(0.325)
    labels = ft.tensor([3, 0, -1, 1])
    assert F.multilabel_margin_loss(scores, labels).item() == pytest.approx(0.85)
    same = ft.tensor([[1.0, 0.0]])
    assert F.cosine_embedding_loss(same, same, ft.tensor([-1]), 0.25).item() == pytest.approx(0.75)
    far = F.triplet_margin_with_distance_loss(
        x, y, ft.zeros(2), distance_function=lambda a, b: (a - b).abs().sum(-1), margin=2.0
    )
    assert far.item() == 1.0
    for reduction, value in (("none", [4.0, 0.0]), ("sum", 4.0), ("mean", 2.0)):
        assert F.mse_loss(x, y, reduction=reduction).tolist() == value
    assert F.mse_loss(x, y, False).item() == 4.0
    assert F.mse_loss(x, y, reduce=False).tolist() == [4.0, 0.0]
    assert nn.L1Loss(False)(x, y).item() == 2.0 and nn.L1Loss(reduce=False).reduction == "none"
    weight = ft.tensor([3.0, 1.0])
    assert F.mse_loss(x, y, weight=weight).item() == 3.0


def paths_to(labels, frames, classes, blank):
    """All class sequences of length frames that collapse to labels."""
    for path in itertools.product(range(classes), repeat=frames):
        kept = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in kept if c != blank] == labels:
            yield path


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_all_paths(blank):
    classes = 3
    x = ft.log_softmax(ft.randn(4, 3, classes, dtype=ft.float64), -1)
    other = [c for c in range(classes) if c != blank]
    rows = [[other[0], other[0]], [other[1]], []]
    lengths = [4, 2, 3]
    targets = ft.tensor([[*row, *[other[1]] * (2 - len(row))] for row in rows])
    got = F.ctc_loss(x, targets, lengths, [len(row) for row in rows], blank, "none")
    for n, row in enumerate(rows):
        total = sum(
            math.exp(sum(x[t, n, c].item() for t, c in enumerate(path)))
            for path in paths_to(row, lengths[n], classes, blank)
        )
        assert got[n].item() == pytest.approx(-math.log(total))


@pytest.mark.torch
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_as_torch(bridge, reduction, joined):
    x = ft.randn(12, 3, 5, dtype=ft.float64, requires_grad=True)
    t = bridge.theirs(x).requires_grad_()
    targets = ft.randint(1, 5, (3, 4))
    lengths = ft.tensor([4, 2, 3])
    if joined:
        targets = ft.cat([row[: int(n)] for row, n in zip(targets, lengths, strict=True)])
    frames = ft.tensor([12, 9, 11])
    a = F.ctc_loss(ft.log_softmax(x, -1), targets, frames, lengths, reduction=reduction)
    b = bridge.torch.nn.functional.ctc_loss(
        t.log_softmax(-1),
        *map(bridge.theirs, (targets, frames, lengths)),
        reduction=reduction,
    )
    bridge.close(a, b, 1e-10)
    a.sum().backward(), b.sum().backward()
    bridge.close(x.grad, t.grad, 1e-9)


def test_ctc_under_transforms():
    x = ft.randn(5, 2, 3, dtype=ft.float64)
    targets, frames, lengths = ft.tensor([[1, 2], [1, 1]]), ft.tensor([5, 4]), ft.tensor([2, 1])

    def loss(x, targets=targets, frames=frames, lengths=lengths):
        return F.ctc_loss(ft.log_softmax(x, -1), targets, frames, lengths)

    assert gradcheck(loss, [x.clone().requires_grad_()])
    assert gradgradcheck(loss, [x.clone().requires_grad_()])
    batch = ft.stack([x, x * 2])
    mapped = ft.vmap(ft.grad(loss))(batch)
    for i in range(2):
        assert_close(mapped[i], ft.grad(loss)(batch[i]))
    single = ft.vmap(
        lambda x, t, n, m: F.ctc_loss(ft.log_softmax(x, -1), t, n, m, reduction="none"),
        in_dims=(1, 0, 0, 0),
    )(x, targets, frames, lengths)
    whole = F.ctc_loss(ft.log_softmax(x, -1), targets, frames, lengths, reduction="none")
    assert_close(single, whole)


def test_ctc_that_cannot_fit():
    x = ft.log_softmax(ft.randn(2, 1, 3), -1).requires_grad_()
    args = (ft.tensor([[1, 1]]), [2], [2])  # two equal labels need a blank between
    assert F.ctc_loss(x, *args).item() == math.inf
    loss = nn.CTCLoss(zero_infinity=True)(x, *args)
    loss.backward()
    assert loss.item() == 0.0 and x.grad.abs().sum().item() == 0.0
    single = F.ctc_loss(x.detach()[:, 0], ft.tensor([1]), 2, 1)
    assert single.shape == () and single.item() > 0
    with pytest.raises(ValueError, match=r"ctc_loss: expected input_lengths within 0..2, got 3..3"):
        F.ctc_loss(x, ft.tensor([[1]]), [3], [1])
    with pytest.raises(ValueError, match=r"blank within 0..2, got 3"):
        F.ctc_loss(x, ft.tensor([[1]]), [2], [1], blank=3)
    with pytest.raises(ValueError, match=r"expected 2 joined labels"):
        F.ctc_loss(ft.zeros(4, 2, 3), ft.tensor([1, 2, 1]), [4, 4], [1, 1])


@pytest.mark.torch
@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_log_softmax(bridge, bias):
    settings = dict(cutoffs=[3, 6], div_value=2.0, head_bias=bias)
    ours = nn.AdaptiveLogSoftmaxWithLoss(8, 12, **settings)
    theirs = bridge.torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict()) and repr(ours) == repr(theirs)
    ours.load_state_dict(bridge.state(theirs))
    x, y = ft.randn(9, 8), ft.tensor([0, 2, 3, 5, 6, 11, 7, 1, 4])
    a, b = ours(x, y), theirs(bridge.theirs(x), bridge.theirs(y))
    bridge.close(a.output, b.output), bridge.close(a.loss, b.loss)
    a.loss.backward(), b.loss.backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        bridge.close(p.grad, q.grad)
    bridge.close(ours.log_prob(x), theirs.log_prob(bridge.theirs(x)))
    assert ours.predict(x).tolist() == theirs.predict(bridge.theirs(x)).tolist()
    assert ft.allclose(ours.log_prob(x).exp().sum(1), ft.ones(9))
    assert ours(x[0], y[0]).output.item() == pytest.approx(a.output[0].item(), abs=1e-5)
    per_sample = ft.vmap(lambda x, y: ours(x, y).output)(x, y)
    assert ft.allclose(per_sample, a.output, atol=1e-5)
    with pytest.raises(ValueError, match=r"expected classes 0..11, got 0..12"):
        ours(x[:2], ft.tensor([0, 12]))
    with pytest.raises(ValueError, match="rising integers cutoffs"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs=[6, 3])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: F.mse_loss(x, x, reduction="avg"), "mse_loss: expected reduction 'mean'"),
        (lambda x: F.mse_loss(x, x, weight=x[0]), "mse_loss: expected weight"),
        (lambda x: F.huber_loss(x, x, delta=0.0), "huber_loss: expected delta > 0"),
        (lambda x: F.gaussian_nll_loss(x, x, x[:2]), "gaussian_nll_loss: expected var"),
        (lambda x: F.gaussian_nll_loss(x, x, -1.0), "gaussian_nll_loss: expected var >= 0"),
        (lambda x: F.cosine_embedding_loss(x, x, x), "cosine_embedding_loss: expected inputs"),
        (lambda x: F.margin_ranking_loss(x, x, x[0]), "margin_ranking_loss: expected three"),
        (lambda x: F.multi_margin_loss(x, ft.tensor([0])), "multi_margin_loss: expected input"),
        (lambda x: F.multi_margin_loss(x[0], ft.tensor(0), p=3), "expected p 1 or 2"),
        (lambda x: F.multilabel_margin_loss(x, x[0]), "multilabel_margin_loss: expected input"),
        (lambda x: F.triplet_margin_loss(x, x, x[0]), "triplet_margin_loss: expected three"),
        (lambda x: F.triplet_margin_loss(x, x, x, margin=0.0), "expected margin > 0"),
        (lambda x: F.ctc_loss(x[0], x, 1, 1), "ctc_loss: expected log_probs"),
        (lambda x: F.softshrink(x, -1.0), "softshrink: expected lambd >= 0"),
        (lambda x: F.rrelu(x, 0.5, 0.1), "rrelu: expected lower <= upper"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises((ValueError, RuntimeError), match=match):
        call(ft.rand(4, 3))


@pytest.mark.torch
@pytest.mark.parametrize("sizes", [(), (2,)])
def test_linear_cross_entropy(bridge, sizes):
    ours = nn.LinearCrossEntropyLoss(4, 3, out_features=sizes, bias=True, label_smoothing=0.1)
    theirs = bridge.torch.nn.LinearCrossEntropyLoss(
        4, 3, out_features=sizes, bias=True, label_smoothing=0.1
    )
    ours.load_state_dict(bridge.state(theirs))
    x, y = ft.randn(5, 4), ft.randint(0, 3, (5, *sizes))
    bridge.close(ours(x, y), theirs(bridge.theirs(x), bridge.theirs(y)))


@pytest.mark.parametrize("weight", [None, [1.0, 1.0, 2.0]])
def test_nll_loss_labels(weight):
    weight = None if weight is None else ft.tensor(weight)
    x = ft.tensor([[-math.inf, -1.0, -2.0], [-3.0, -4.0, -5.0]])
    for labels in ([0, -1], [-100, -1], [0, 3]):  # which gather() might count from the end
        with pytest.raises(IndexError, match="expected"):
            F.nll_loss(x, ft.tensor(labels), weight)
    labels = ft.tensor([-100, 1])
    assert F.nll_loss(x, labels, weight, reduction="none").tolist() == [0.0, 4.0]
    assert ft.compile(F.nll_loss)(x, labels, weight).item() == 4.0
    assert F.nll_loss(x, ft.tensor([-1, 1]), weight, ignore_index=-1).item() == 4.0
    assert F.nll_loss(x, ft.tensor([2, 1]), ignore_index=2).item() == 4.0
    assert F.nll_loss(x.to("meta"), labels.to("meta")).shape == ()
    assert F.cross_entropy(x.to("meta"), labels.to("meta")).shape == ()


def test_label_smoothing_is_a_share():
    x, labels = ft.zeros(2, 3), ft.tensor([0, 1])
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match="label_smoothing"):
            nn.functional.cross_entropy(x, labels, label_smoothing=share)
