"""Programs written for torch run as written: only the import lines differ (see the README)."""

import pytest

import functorch_like as torch
import nn
import nn.functional as F
import nn.optim as optim
from functorch_like import tensor
from nn.data import DataLoader, TensorDataset


def test_first_gradient():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x**2).sum().backward()
    assert (
        torch.equal(x.grad, tensor([2.0, 4.0]))
        if hasattr(torch, "equal")
        else x.grad.tolist() == [2, 4]
    )


def test_cube():
    x = torch.tensor(2.0, requires_grad=True)
    y = x**3
    y.backward()
    assert x.grad == 12
    assert x.grad.item() == 12.0


def test_branch_on_a_tensor():
    def f(x):
        if x > 0:
            return x * 2
        else:
            return x * 3

    for value, slope in ((1.5, 2), (-1.5, 3)):
        x = torch.tensor(value, requires_grad=True)
        f(x).backward()
        assert x.grad.item() == slope


def test_printing(capsys):
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.float32)
    print(x)
    print(x.shape, x.dtype, x.device)
    print(x.sum(), x[0, 1].item())
    w = torch.ones(2, requires_grad=True)
    print(w * 2)
    assert capsys.readouterr().out == (
        "tensor([[1., 2.],\n        [3., 4.]])\n"
        "Size([2, 2]) float32 cpu\n"
        "tensor(10.) 2.0\n"
        "tensor([2., 2.], grad_fn=<MulBackward0>)\n"
    )


def test_reductions():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (
        x.sum().item() == 15
        and x.mean().item() == 3
        and x.max().item() == 5
        and x.argmax().item() == 4
    )
    assert (
        x.var().item() == 2.5 and torch.var(x).item() == 2.5 and x.var(unbiased=False).item() == 2
    )
    assert x.std().item() == pytest.approx(2.5**0.5)
    m = torch.tensor([[1.0, 5.0], [7.0, 2.0]])
    values, indices = m.max(dim=1)
    assert values.tolist() == [5, 7] and indices.tolist() == [1, 0]
    assert torch.sum(m, dim=0).tolist() == [8, 7] and m.sum(dim=1, keepdim=True).shape == (2, 1)
    assert torch.argmax(m, dim=0).tolist() == [1, 0] and m.mean(0).tolist() == [4, 3.5]


def test_shapes():
    x = torch.arange(6)
    assert x.reshape(2, 3).shape == torch.Size([2, 3]) and x.view(3, 2).size(0) == 3
    assert x.reshape(2, 3).transpose(0, 1).shape == (3, 2) and x.reshape(2, 3).T.tolist() == [
        [0, 3],
        [1, 4],
        [2, 5],
    ]
    assert x.reshape(1, 2, 3).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.flatten(x.reshape(1, 2, 3), 1).shape == (1, 6)
    assert torch.cat([x, x]).shape == (12,) and torch.stack([x, x]).shape == (2, 6)


def test_creation():
    assert torch.zeros(2, 3).sum() == 0 and torch.ones(2, 3).sum() == 6
    assert torch.arange(0, 10, 2).tolist() == [0, 2, 4, 6, 8]
    torch.manual_seed(0)
    a, b = torch.rand(1000), torch.randn(1000)
    assert 0 <= a.min() and a.max() < 1 and abs(a.mean() - 0.5) < 0.05
    assert abs(b.mean()) < 0.15 and abs(b.std() - 1) < 0.1
    torch.manual_seed(0)
    assert (torch.rand(1000) == a).all()


def test_linear_model_by_hand():
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    b = torch.tensor(0.5, requires_grad=True)
    y = w * 2 + b
    y.mean().backward()
    assert (
        torch.allclose(w.grad, torch.full((3,), 2 / 3))
        if hasattr(torch, "allclose")
        else w.grad[0].item() == pytest.approx(2 / 3)
    )
    assert b.grad.item() == pytest.approx(1)


def test_regression_loop():
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 50).unsqueeze(1)
    y = 3 * x + 0.5
    w = torch.zeros(1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(200):
        loss = ((x * w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.5 * w.grad
            b -= 0.5 * b.grad
        w.grad.zero_()
        b.grad = None
    assert w.item() == pytest.approx(3, abs=1e-3) and b.item() == pytest.approx(0.5, abs=1e-3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def test_module():
    net = Net()
    out = net(torch.randn(2, 4))
    assert out.shape == (2, 3)
    assert [name for name, _ in net.named_parameters()] == [
        "fc1.weight",
        "fc1.bias",
        "fc2.weight",
        "fc2.bias",
    ]
    F.cross_entropy(out, torch.tensor([0, 2])).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.01),
    ],
)
def test_training_loop(make):
    torch.manual_seed(0)
    x = torch.randn(90, 4)
    y = (x[:, :3]).argmax(dim=1)
    net = Net()
    optimizer = make(net.parameters())
    first = None
    for _ in range(120):
        optimizer.zero_grad()
        output = net(x)
        loss = F.cross_entropy(output, y)
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < first / 2
    assert (net(x).argmax(1) == y).float().mean().item() > 0.8


class MNISTNet(nn.Module):
    def __init__(self):
        super(MNISTNet, self).__init__()  # noqa: UP008 - as written
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = x.view(-1, 784)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x


def test_mnist_net():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    labels = torch.randint(0, 10, (640,))
    images = torch.randn(640, 1, 28, 28) * 0.3
    for i in range(640):  # a stripe where the digit says
        images[i, 0, int(labels[i]) * 2 + 4] += 1.0
    train_loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    model = MNISTNet().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(5):  # noqa: B007
        running_loss = 0.0
        for i, (inputs, targets) in enumerate(train_loader):  # noqa: B007
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    correct, total = 0, 0
    with torch.no_grad():
        for inputs, targets in train_loader:
            outputs = model(inputs.to(device))
            _, predicted = torch.max(outputs.data, 1)
            total += targets.size(0)
            correct += (predicted == targets).sum().item()
    assert epoch == 4 and i == 9 and total == 640 and correct / total > 0.97
