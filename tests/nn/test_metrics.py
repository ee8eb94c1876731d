"""Metrics: hand-made values, a plain reference for AUROC, sums over batches, bad shapes."""

import itertools

import pytest

import functorch_like as ft
from nn import metrics as m


def test_classes():
    scores = ft.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1]])
    targets = ft.tensor([1, 0, 1, 2])
    assert m.accuracy(scores, targets).item() == 0.5
    assert m.accuracy(scores.argmax(1), targets).item() == 0.5
    assert m.top_k_accuracy(scores, targets, k=2).item() == 0.75
    assert m.top_k_accuracy(scores, targets, k=3).item() == 1.0
    assert m.confusion_matrix(scores, targets).tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert m.confusion_matrix(ft.tensor([0]), ft.tensor([2])).tolist() == [[0] * 3] * 2 + [
        [1, 0, 0]
    ]
    assert m.precision(scores, targets, None).tolist() == [1.0, 0.5, 0.0]
    assert m.recall(scores, targets, None).tolist() == [1.0, 0.5, 0.0]
    assert m.f1_score(scores, targets).item() == pytest.approx(0.5)
    assert m.f1_score(scores, targets, "micro").item() == 0.5
    assert m.recall(scores, targets, "weighted").item() == pytest.approx(0.5)
    binary = m.precision(ft.tensor([1, 1, 0]), ft.tensor([1, 0, 0]), "binary")
    assert binary.item() == 0.5
    assert m.f1_score(ft.tensor([0, 0]), ft.tensor([0, 1]), None).tolist() == pytest.approx(
        [2 / 3, 0.0]
    )


def test_auroc_counts_pairs():
    scores, targets = ft.randn(40), ft.arange(40) % 3
    scores = (scores * 2).round() / 2  # ties
    positive = targets == 1

    def pairs(s, p):
        wins = [
            (a > b) + 0.5 * (a == b)
            for (a, x), (b, y) in itertools.product(zip(s, p, strict=True), repeat=2)
            if x and not y
        ]
        return sum(wins) / len(wins)

    expected = pairs(scores.tolist(), positive.tolist())
    assert m.auroc(scores, positive).item() == pytest.approx(expected)
    many = ft.randn(30, 3)
    labels = ft.arange(30) % 3
    each = [pairs(many[:, c].tolist(), (labels == c).tolist()) for c in range(3)]
    assert m.auroc(many, labels).item() == pytest.approx(sum(each) / 3)
    assert ft.isnan(m.auroc(ft.ones(3), ft.ones(3))).item()


def test_regression():
    a, b = ft.tensor([1.0, 2.0, 4.0]), ft.tensor([1.0, 3.0, 5.0])
    assert m.mean_squared_error(a, b).item() == pytest.approx(2 / 3)
    assert m.mean_absolute_error(a, b).item() == pytest.approx(2 / 3)
    assert m.r2_score(a, b).item() == pytest.approx(1 - 2 / 8)


@pytest.mark.parametrize("metric", [m.Mean(m.accuracy), m.Collect(m.f1_score)])
def test_batches_add_up(metric):
    metric.reset()
    assert metric.compute() != metric.compute()  # nan
    outputs, targets = ft.randn(10, 3), ft.arange(10) % 3
    function = metric._function
    for part in (slice(0, 4), slice(4, 10)):
        metric.update(outputs[part], targets[part])
    assert metric.compute() == pytest.approx(function(outputs, targets).item())
    other = type(metric)(function)
    other.load_state_dict(metric.state_dict())
    assert other.compute() == metric.compute()


def test_bad_input():
    with pytest.raises(ValueError, match=r"accuracy: expected outputs that fit the targets, got"):
        m.accuracy(ft.zeros(3), ft.zeros(4))
    with pytest.raises(ValueError, match=r"k within 1..classes"):
        m.top_k_accuracy(ft.zeros(3, 2), ft.zeros(3).long(), k=3)
    with pytest.raises(ValueError, match="expected average"):
        m.recall(ft.zeros(3).long(), ft.zeros(3).long(), "mean")
