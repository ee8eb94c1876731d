"""Programs written for torch that run as they are, with the import lines changed."""

import functorch_like as torch
import nn
import nn.functional as F
import nn.optim as optim
from nn.data import DataLoader, TensorDataset


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 20)
        self.fc2 = nn.Linear(20, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def test_two_layers():
    model = TwoLayers()
    out = model(torch.randn(5, 10))
    assert out.shape == (5, 3) and sum(p.numel() for p in model.parameters()) == 283
    assert str(model).startswith("TwoLayers(\n  (fc1): Linear(in_features=10")


def test_loops():
    x, y = torch.randn(60, 10), torch.randint(0, 3, (60,))
    for make in (
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
        lambda params: optim.Adam(params, lr=0.01),
    ):
        model = TwoLayers()
        optimizer = make(model.parameters())
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            output = model(x)
            loss = F.cross_entropy(output, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]


class MNISTNet(nn.Module):
    def __init__(self):
        super(MNISTNet, self).__init__()  # noqa: UP008
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        return self.fc2(x)


def test_mnist_net():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # stand-ins for digits: each class lights a column of its own, under noise
    labels = torch.randint(0, 10, (512,))
    columns = F.one_hot(labels, 28).float().unsqueeze(1)
    images = (columns + 0.3 * torch.randn(512, 28, 28)).unsqueeze(1)
    train_loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)

    model = MNISTNet().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    for _ in range(5):
        model.train()
        running_loss = 0.0
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in train_loader:
            _, predicted = torch.max(model(images.to(device)), 1)
            total += labels.size(0)
            correct += (predicted == labels.to(device)).sum().item()
    assert total == 512 and correct / total > 0.95
