"""Whole models that are not in workloads.py, written once for us and for torch.

Each is a function of a Framework and a batch that gives (module, input). A training step is AdamW
on the mean square of the outputs, so that no loss is measured but the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .workloads import Framework

MODELS: dict[str, tuple[Callable[[Framework, int], tuple[Any, Any]], int]] = {}


def _model(batch: int) -> Callable[[Any], Any]:
    """Adds a model with its usual batch."""

    def added(function: Any) -> Any:
        MODELS[function.__name__] = function, batch
        return function

    return added


def _module(f: Framework, parts: dict[str, Any], forward: Callable[..., Any]) -> Any:
    """A module of these parts (modules, parameters, constants)."""

    class Model(f.nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, *inputs: Any) -> Any:
            return forward(self, *inputs)

    return Model()


def _indices(f: Framework, high: int, *shape: int, seed: int = 0) -> Any:
    return f.array(np.random.default_rng(seed).integers(0, high, shape))


@_model(16)
def mobilenet(f: Framework, batch: int) -> tuple[Any, Any]:
    """MobileNetV3's blocks: 5x5 depthwise, hardswish, squeeze and excitation."""
    nn, F = f.nn, f.F

    def squeeze(c: int) -> Any:
        parts = {"narrow": nn.Conv2d(c, c // 4, 1), "wide": nn.Conv2d(c // 4, c, 1)}

        def forward(s: Any, x: Any) -> Any:
            return x * F.hardsigmoid(s.wide(F.relu(s.narrow(F.adaptive_avg_pool2d(x, 1)))))

        return _module(f, parts, forward)

    def block(i: int, o: int, stride: int) -> Any:
        h = 4 * i
        body = nn.Sequential(
            *(nn.Conv2d(i, h, 1, bias=False), nn.BatchNorm2d(h), nn.Hardswish()),
            *(nn.Conv2d(h, h, 5, stride, 2, groups=h, bias=False), nn.BatchNorm2d(h)),
            *(squeeze(h), nn.Hardswish(), nn.Conv2d(h, o, 1, bias=False), nn.BatchNorm2d(o)),
        )
        if stride > 1:
            return body
        return _module(f, {"body": body}, lambda s, x: x + s.body(x))

    blocks = [block(16, 24, 2), block(24, 24, 1), block(24, 40, 2), block(40, 40, 1)]
    start = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10)]
    return nn.Sequential(*start, *blocks, *end), f.normal(batch, 3, 32, 32)


@_model(8)
def convnext(f: Framework, batch: int) -> tuple[Any, Any]:
    """ConvNeXt's blocks: 7x7 depthwise, layer norm over channels, a wide gelu."""
    nn = f.nn

    def block(c: int) -> Any:
        parts = {
            "deep": nn.Conv2d(c, c, 7, padding=3, groups=c),
            "inner": nn.Sequential(
                nn.LayerNorm(c), nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c)
            ),
            "scale": nn.Parameter(f.m.ones(c) * 0.1),
        }

        def forward(s: Any, x: Any) -> Any:
            return x + (s.inner(s.deep(x).permute(0, 2, 3, 1)) * s.scale).permute(0, 3, 1, 2)

        return _module(f, parts, forward)

    layers = [nn.Conv2d(3, 48, 4, 4), block(48), block(48), nn.Conv2d(48, 96, 2, 2), block(96)]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10)]
    return nn.Sequential(*layers, block(96), *end), f.normal(batch, 3, 64, 64)


@_model(32)
def dcgan(f: Framework, batch: int) -> tuple[Any, Any]:
    """A generator of transposed convolutions with batch norm."""
    nn, layers = f.nn, []
    for i, o, stride, padding in ((64, 128, 1, 0), (128, 64, 2, 1), (64, 32, 2, 1)):
        layers += [nn.ConvTranspose2d(i, o, 4, stride, padding, bias=False), nn.BatchNorm2d(o)]
        layers += [nn.ReLU()]
    layers += [nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()]
    return nn.Sequential(*layers), f.normal(batch, 64, 1, 1)


@_model(8)
def wavenet(f: Framework, batch: int) -> tuple[Any, Any]:
    """Gated causal convolutions of dilations 1 to 128."""
    nn, m, c, dilations = f.nn, f.m, 32, [2**k for k in range(8)]

    def forward(s: Any, x: Any) -> Any:
        x, skip = s.start(x), 0
        for d, both, out in zip(dilations, s.gates, s.outs, strict=True):
            a, b = both(f.F.pad(x, (d, 0))).chunk(2, 1)
            y = out(m.tanh(a) * m.sigmoid(b))
            x, skip = x + y, skip + y
        return s.end(f.F.relu(skip).mean(2))

    parts = {
        "start": nn.Conv1d(1, c, 1),
        "gates": nn.ModuleList([nn.Conv1d(c, 2 * c, 2, dilation=d) for d in dilations]),
        "outs": nn.ModuleList([nn.Conv1d(c, c, 1) for _ in dilations]),
        "end": nn.Linear(c, 10),
    }
    return _module(f, parts, forward), f.normal(batch, 1, 1024)


@_model(8)
def decoder(f: Framework, batch: int) -> tuple[Any, Any]:
    """A transformer decoder: causal mask and attention to a memory."""
    nn, d = f.nn, 128
    layer = nn.TransformerDecoderLayer(d, 4, 2 * d, 0.1, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(64)
    parts = {"layers": nn.TransformerDecoder(layer, 3), "end": nn.Linear(d, 10)}

    def forward(s: Any, x: Any) -> Any:
        return s.end(s.layers(x[:, :64], x[:, 64:], tgt_mask=mask, tgt_is_causal=True))

    return _module(f, parts, forward), f.normal(batch, 128, d)


@_model(16)
def language_model(f: Framework, batch: int) -> tuple[Any, Any]:
    """An LSTM over tokens, its output tied to the embedding."""
    nn, d = f.nn, 128
    embedding, end = nn.Embedding(1000, d), nn.Linear(d, 1000)
    end.weight = embedding.weight
    parts = {"embedding": embedding, "end": end, "lstm": nn.LSTM(d, d, 2, batch_first=True)}
    module = _module(f, parts, lambda s, x: s.end(s.lstm(s.embedding(x))[0]))
    return module, _indices(f, 1000, batch, 35)


@_model(2000)
def graph(f: Framework, batch: int) -> tuple[Any, Any]:
    """Two graph convolutions by index_add; batch is the number of nodes, five edges a node."""
    nn = f.nn
    start, end = (_indices(f, batch, 5 * batch, seed=k) for k in (1, 2))

    def gathered(x: Any) -> Any:
        return f.m.zeros(batch, x.shape[1]).index_add(0, end, x[start])

    parts = {"one": nn.Linear(64, 64), "two": nn.Linear(64, 10)}
    module = _module(f, parts, lambda s, x: s.two(gathered(f.F.relu(s.one(gathered(x))))))
    return module, f.normal(batch, 64)


@_model(16)
def pointnet(f: Framework, batch: int) -> tuple[Any, Any]:
    """A network of every point, and the largest of its outputs over the points."""
    nn = f.nn
    points = [nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 128, 1)]
    points += [nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)]
    parts = {"points": nn.Sequential(*points), "end": nn.Linear(256, 10)}
    module = _module(f, parts, lambda s, x: s.end(s.points(x).max(2)[0]))
    return module, f.normal(batch, 3, 512)


@_model(8)
def diffusion(f: Framework, batch: int) -> tuple[Any, Any]:
    """Blocks of a diffusion UNet: group norm, silu, a time embedding, attention over pixels."""
    nn, F, m, c = f.nn, f.F, f.m, 64
    angles = m.arange(batch)[:, None] * m.exp(m.arange(32) * (-math.log(1e4) / 32))
    time = m.cat([angles.sin(), angles.cos()], 1)

    def forward(s: Any, x: Any) -> Any:
        y = s.conv1(F.silu(s.norm1(x))) + s.time(time)[:, :, None, None]
        x = x + s.conv2(F.silu(s.norm2(y)))
        n, _, h, w = x.shape
        qkv = s.qkv(s.norm3(x)).reshape(n, 3, 4, c // 4, h * w).transpose(3, 4).unbind(1)
        return x + s.out(F.scaled_dot_product_attention(*qkv).transpose(2, 3).reshape(n, c, h, w))

    def block() -> Any:
        parts: dict[str, Any] = {f"norm{k}": nn.GroupNorm(8, c) for k in (1, 2, 3)}
        parts |= {f"conv{k}": nn.Conv2d(c, c, 3, padding=1) for k in (1, 2)}
        parts |= {"qkv": nn.Conv2d(c, 3 * c, 1), "out": nn.Conv2d(c, c, 1)}
        return _module(f, parts | {"time": nn.Linear(64, c)}, forward)

    layers = [nn.Conv2d(3, c, 3, padding=1), block(), block(), nn.Conv2d(c, 3, 3, padding=1)]
    return nn.Sequential(*layers), f.normal(batch, 3, 16, 16)


@_model(256)
def dlrm(f: Framework, batch: int) -> tuple[Any, Any]:
    """Recommendation: bags of embeddings, their products, dense layers before and after."""
    nn, m = f.nn, f.m
    bags = [_indices(f, 5000, batch, 4, seed=k) for k in range(6)]
    parts = {
        "tables": nn.ModuleList([nn.EmbeddingBag(5000, 32, mode="sum") for _ in bags]),
        "dense": nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        "top": nn.Sequential(nn.Linear(32 + 49, 64), nn.ReLU(), nn.Linear(64, 1)),
    }

    def forward(s: Any, x: Any) -> Any:
        dense = s.dense(x)
        z = m.stack([dense, *[t(i) for t, i in zip(s.tables, bags, strict=True)]], 1)
        return s.top(m.cat([dense, m.bmm(z, z.transpose(1, 2)).flatten(1)], 1))

    return _module(f, parts, forward), f.normal(batch, 13)


@_model(300)
def gaussian_process(f: Framework, batch: int) -> tuple[Any, Any]:
    """The marginal likelihood of a Gaussian process by a Cholesky factor; batch points."""
    m, y = f.m, f.normal(batch, 1, seed=1)
    parts = {name: f.nn.Parameter(f.m.zeros(1)) for name in ("length", "scale", "noise")}

    def forward(s: Any, x: Any) -> Any:
        z = x / s.length.exp()
        d = m.cdist(z, z)
        kernel = s.scale.exp() * (-0.5 * d * d).exp() + s.noise.exp() * m.eye(batch)
        factor = m.linalg.cholesky(kernel)
        half = m.linalg.solve_triangular(factor, y, upper=False)
        return 0.5 * (half * half).sum() + factor.diagonal().log().sum()

    return _module(f, parts, forward), f.normal(batch, 4)


@_model(64)
def neural_ode(f: Framework, batch: int) -> tuple[Any, Any]:
    """Five Runge-Kutta steps of a small network."""
    nn, h = f.nn, 0.1
    field = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16))

    def forward(s: Any, x: Any) -> Any:
        for _ in range(5):
            a = s.field(x)
            b = s.field(x + 0.5 * h * a)
            c = s.field(x + 0.5 * h * b)
            x = x + (h / 6) * (a + 2 * b + 2 * c + s.field(x + h * c))
        return x

    return _module(f, {"field": field}, forward), f.normal(batch, 16)


def calls(f: Framework, name: str, batch: int | None = None) -> dict[str, Callable[[], Any]]:
    """mode -> call: a training step, the same compiled, and inference in eval mode."""
    function, usual = MODELS[name]

    def made(mode: str) -> Callable[[], Any]:
        model, x = function(f, usual if batch is None else batch)
        optimizer = f.optim.AdamW(model.parameters(), lr=1e-3)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        def inference(x: Any) -> Any:
            with f.m.no_grad():
                return model(x)

        if mode == "inference":
            model.eval()
            return lambda: inference(x)
        run = f.m.compile(step) if mode == "compiled" else step
        return lambda: run(x)

    return {mode: made(mode) for mode in ("eager", "compiled", "inference")}
