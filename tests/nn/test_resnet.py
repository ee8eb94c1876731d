"""ResNet-18 in the form for CIFAR, written once for nn and for torch.nn: equal forward, backward,
training and state dict with the same weights.
"""

import numpy as np
import pytest

import functorch_like as ft
import nn
import nn.functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def resnet18(nn, F, width, classes=10):
    """The model from the modules of either library."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            return F.relu(y + self.shortcut(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            blocks, inputs = [], width
            for factor, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
                for s in (stride, 1):
                    blocks.append(Block(inputs, factor * width, s))
                    inputs = factor * width
            self.blocks = nn.Sequential(*blocks)
            self.linear = nn.Linear(inputs, classes)

        def forward(self, x):
            x = self.blocks(F.relu(self.bn1(self.conv1(x))))
            return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))

    return ResNet()


def pair(width, dtype):
    """(ours, torch's) with the same weights, by load_state_dict."""
    torch.manual_seed(0)
    theirs = resnet18(torch.nn, torch.nn.functional, width).to(getattr(torch, dtype))
    ours = resnet18(nn, F, width).to(getattr(ft, dtype))
    ours.load_state_dict({name: ft.tensor(t.numpy()) for name, t in theirs.state_dict().items()})
    return ours, theirs


def data(size, dtype):
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, 3, 32, 32)).astype(dtype), rng.integers(0, 10, size)


def worst(ours, theirs):
    """The largest difference, relative to the largest entry."""
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape
    return np.abs(a - b).max() / (np.abs(b).max() + 1e-12)


@pytest.mark.parametrize("width", [16, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_forward_backward_and_statistics_equal_torch(width, dtype, tolerance):
    ours, theirs = pair(width, dtype)
    x, y = data(8, dtype)
    logits, reference = ours(ft.tensor(x)), theirs(torch.tensor(x))
    assert worst(logits, reference) < tolerance
    F.cross_entropy(logits, ft.tensor(y)).backward()
    torch.nn.functional.cross_entropy(reference, torch.tensor(y)).backward()
    named = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(named)
    if dtype == "float64":  # in float32 one input of a ReLU near 0 may change its sign
        for name, p in ours.named_parameters():
            assert worst(p.grad, named[name].grad) < tolerance, name
    state = theirs.state_dict()
    for name, t in ours.state_dict().items():
        assert worst(t, state[name]) < tolerance, name
    ours.eval()
    theirs.eval()
    assert worst(ours(ft.tensor(x)), theirs(torch.tensor(x))) < tolerance


def test_compiled_training_equals_torch():
    ours, theirs = pair(8, "float64")
    x, y = data(8, "float64")
    options = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    optimizer = nn.optim.SGD(ours.parameters(), **options)
    other = torch.optim.SGD(theirs.parameters(), **options)

    @ft.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(ours(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        loss = step(ft.tensor(x), ft.tensor(y))
        other.zero_grad()
        reference = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        reference.backward()
        other.step()
        assert worst(loss, reference) < 1e-7
    state = theirs.state_dict()
    for name, t in ours.state_dict().items():
        assert worst(t, state[name]) < 1e-7, name
