"""Models, data and functions that the benchmarks time, written once for us and for torch.

A Framework holds the parts that both have under other names; a workload is a function of it.
Inputs come from NumPy with fixed seeds, so that both compute the same.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64
MLP = (784, 256, 256, 10)


@dataclass(frozen=True)
class Framework:
    """One array library: m the package, F the functions of nn, func the transforms."""

    name: str
    m: ModuleType
    nn: ModuleType
    F: ModuleType
    func: ModuleType
    optim: ModuleType
    data: ModuleType

    def array(self, a: Any) -> Any:
        """A tensor from a NumPy array, or a dict of them."""
        if isinstance(a, dict):
            return {key: self.array(value) for key, value in a.items()}
        return self.m.from_numpy(np.array(a))

    def normal(self, *shape: int, seed: int = 0, scale: float = 1.0) -> Any:
        """Normal float32 numbers, the same in every framework."""
        return self.array(_normal(shape, seed, scale))


def framework(name: str) -> Framework:
    """Ours ("ours") or torch ("torch"), imported now."""
    names = {
        "ours": ("functorch_like", "nn", "nn.functional", "functorch_like", "nn.optim", "nn.data"),
        "torch": (
            "torch",
            "torch.nn",
            "torch.nn.functional",
            "torch.func",
            "torch.optim",
            "torch.utils.data",
        ),
    }
    return Framework(name, *(importlib.import_module(part) for part in names[name]))


def _normal(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Any:
    numbers = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return numbers * np.float32(scale)


# ---- small tensors ----


def chain16(a: Any, b: Any) -> Any:
    """Sixteen ops on tensors of four elements, the last one a sum."""
    t = a + b
    t = t * a
    t = t - b
    t = t.tanh()
    t = t.exp()
    t = t / a
    t = t.sqrt()
    t = -t
    t = t.maximum(b)
    t = t * b
    t = t + 1.0
    t = t.sigmoid()
    t = t * 2.0
    t = t.sin()
    t = t * t
    return t.sum()


def chain_inputs(f: Framework) -> tuple[Any, Any]:
    """The variable and the constant of chain16: every op is away from its kinks and poles."""
    return f.array(np.float32([0.5, 0.7, 0.9, 1.0])), f.array(np.float32([-3, -2.6, -2.3, -2]))


def chain_gradient(a: Any, b: Any) -> Any:
    """Forward and backward of chain16 by the tape; a requires grad."""
    a.grad = None
    chain16(a, b).backward()
    return a.grad


# ---- models as functions of a dict of parameters ----


def mlp_params(f: Framework, sizes: tuple[int, ...] = MLP) -> dict[str, Any]:
    """Weights [out, in] and biases [out] of a multi-layer perceptron: w1, b1, w2, ..."""
    params = {}
    for i, (n, k) in enumerate(pairwise(sizes), 1):
        params[f"w{i}"] = _normal((k, n), 2 * i, n**-0.5)
        params[f"b{i}"] = _normal((k,), 2 * i + 1, 0.1)
    return f.array(params)


def mlp(f: Framework, p: dict[str, Any], x: Any) -> Any:
    """784-256-256-10 with relu: [n, 784] -> logits [n, 10]."""
    x = f.F.relu(f.F.linear(x, p["w1"], p["b1"]))
    x = f.F.relu(f.F.linear(x, p["w2"], p["b2"]))
    return f.F.linear(x, p["w3"], p["b3"])


def lenet_params(f: Framework) -> dict[str, Any]:
    """Parameters of a LeNet-5 for 28x28 images."""
    shapes = {
        "cw1": (6, 1, 5, 5),
        "cb1": (6,),
        "cw2": (16, 6, 5, 5),
        "cb2": (16,),
        "w1": (120, 400),
        "b1": (120,),
        "w2": (84, 120),
        "b2": (84,),
        "w3": (10, 84),
        "b3": (10,),
    }
    scales = {name: float(np.prod(shape[1:])) ** -0.5 for name, shape in shapes.items()}
    return f.array(
        {name: _normal(shape, i, scales[name]) for i, (name, shape) in enumerate(shapes.items())}
    )


def lenet(f: Framework, p: dict[str, Any], x: Any) -> Any:
    """LeNet-5 with relu and max pooling: [n, 1, 28, 28] -> logits [n, 10]."""
    x = f.F.max_pool2d(f.F.relu(f.F.conv2d(x, p["cw1"], p["cb1"], padding=2)), 2)
    x = f.F.max_pool2d(f.F.relu(f.F.conv2d(x, p["cw2"], p["cb2"])), 2)
    x = f.F.relu(f.F.linear(x.flatten(1), p["w1"], p["b1"]))
    x = f.F.relu(f.F.linear(x, p["w2"], p["b2"]))
    return f.F.linear(x, p["w3"], p["b3"])


def images(f: Framework, *shape: int, batch: int = BATCH) -> tuple[Any, Any]:
    """(random inputs [batch, *shape], random labels [batch] of ten classes).

    With this seed no relu and no pooling window of the models is within 1e-5 of its kink, where
    rounding would decide which gradient is right.
    """
    labels = np.random.default_rng(2).integers(0, 10, batch)
    return f.normal(batch, *shape, seed=2), f.array(labels)


# ---- transforms ----


def square_sum(x: Any) -> Any:
    """A function of two ops."""
    return (x * x).sum()


def cubic(x: Any) -> Any:
    """A cubic of a vector; its Hessian is diag(6 x)."""
    return (x**3).sum()


def product(x: Any) -> Any:
    """tanh(x) sin(x), to be differentiated many times."""
    return x.tanh() * x.sin()


def nested_grad(f: Framework, order: int) -> Callable[[Any], Any]:
    """The derivative of `product` of some order, by as many nested grads."""
    function: Callable[[Any], Any] = product
    for _ in range(order):
        function = f.func.grad(function)
    return function


def sample_loss(f: Framework, model: Callable[..., Any]) -> Callable[..., Any]:
    """loss(params, x, y) of one sample, as per-sample gradients need it."""
    return lambda p, x, y: f.F.cross_entropy(model(f, p, x[None]), y[None])


def per_sample(f: Framework, model: Callable[..., Any]) -> Callable[..., Any]:
    """vmap(grad(loss)): one gradient a sample."""
    return f.func.vmap(f.func.grad(sample_loss(f, model)), in_dims=(None, 0, 0))


def tanh_layers(f: Framework) -> tuple[Callable[[Any], Any], Any]:
    """(f(x) = W2 tanh(W1 x + b1) + b2 of sizes 64-128-64, a point)."""
    p = mlp_params(f, (64, 128, 64))
    linear = f.F.linear
    return (
        lambda x: linear(linear(x, p["w1"], p["b1"]).tanh(), p["w2"], p["b2"]),
        f.normal(64, seed=9),
    )


def tanh_scalar(f: Framework) -> tuple[Callable[[Any], Any], Any]:
    """(f(x) = w2 . tanh(W1 x + b1), x [100] through 64 units, a point)."""
    w1, b1 = f.normal(64, 100, seed=1, scale=0.1), f.normal(64, seed=2)
    w2 = f.normal(64, seed=3)
    return lambda x: w2 @ (w1 @ x + b1).tanh(), f.normal(100, seed=4)


def hvp(f: Framework) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """(params, direction -> Hessian-vector product of the MLP's loss, params, direction)."""
    p, (x, y) = mlp_params(f), images(f, 784)
    v = f.array(
        {name: _normal(tuple(a.shape), 20 + i, 0.1) for i, (name, a) in enumerate(p.items())}
    )

    def loss(p: Any) -> Any:
        return f.F.cross_entropy(mlp(f, p, x), y)

    return lambda p, v: f.func.jvp(f.func.grad(loss), (p,), (v,))[1], p, v


# ---- training ----


def mlp_module(f: Framework) -> Any:
    """The MLP as a module."""
    nn = f.nn
    layers = [layer for n, k in pairwise(MLP) for layer in (nn.Linear(n, k), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def lenet_module(f: Framework) -> Any:
    """LeNet-5 as a module."""
    nn = f.nn
    features = (nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    features += (nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    head = (nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return nn.Sequential(*features, *head)


def training_step(f: Framework, model: Any, optimizer: Any, x: Any, y: Any) -> Callable[[], Any]:
    """A step as users write it: gradients away, forward, backward, update."""

    def step() -> Any:
        optimizer.zero_grad()
        loss = f.F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def steps(f: Framework, model: str) -> Callable[[], Any]:
    """The training step of the MLP with Adam, or of LeNet with SGD and momentum."""
    if model == "mlp":
        net, (x, y) = mlp_module(f), images(f, 784)
        return training_step(f, net, f.optim.Adam(net.parameters()), x, y)
    net, (x, y) = lenet_module(f), images(f, 1, 28, 28)
    return training_step(f, net, f.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), x, y)


def fused_chain(a: Any, b: Any, c: Any) -> Any:
    """Five elementwise ops."""
    return (a * b + c).tanh().exp() * 0.5


def compiled(f: Framework, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled, where that is ours; torch stays eager."""
    return f.m.compile(function) if f.name == "ours" else function


def digits_net(f: Framework) -> Any:
    """The model of examples/train_digits.py: the class as it stands there, with f's nn."""
    path = ROOT / "examples" / "train_digits.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    (body,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "DigitsNet"]
    names = {"nn": f.nn, "F": f.F, "__name__": __name__}
    exec(compile(ast.Module([body], []), str(path), "exec"), names)
    return names["DigitsNet"](8)


def digits(f: Framework, count: int | None = None) -> tuple[Any, Any]:
    """The training images [n, 1, 8, 8] and labels [n] of the example; `count` of them."""
    from nn.data import load_digits, train_test_split

    pictures, labels = load_digits()
    (x, y), _ = train_test_split(pictures.unsqueeze(1), labels, test_size=0.2)
    return f.array(x.numpy()[:count]), f.array(y.numpy()[:count])


def digits_epoch(
    f: Framework, count: int | None = None, ready: bool = False
) -> Callable[[], float]:
    """A function that trains for one epoch as examples/train_digits.py does and gives the loss.

    Args:
      count: of images; default all 1437.
      ready: with the batches cut beforehand, without the framework's DataLoader.
    """
    x, y = digits(f, count)
    if ready:
        loader = [(x[i : i + 32], y[i : i + 32]) for i in range(0, len(x), 32)]
    else:
        loader = f.data.DataLoader(f.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    model = digits_net(f)
    optimizer = f.optim.Adam(model.parameters(), lr=3e-3)

    def epoch() -> float:
        model.train()
        total, right = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            logits = model(inputs)
            loss = f.F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
        return total / len(x)

    return epoch
