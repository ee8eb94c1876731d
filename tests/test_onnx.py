"""ONNX models: the same values in onnxruntime, and again when loaded here."""

import subprocess
import sys

import numpy as np
import pytest

import functorch_like as ft
import nn
import nn.functional as F
from functorch_like import tensor

pytestmark = pytest.mark.filterwarnings("ignore")  # of the onnx packages


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("onnx")
    return tmp_path / "model.onnx"


def check(function, args, path, tolerance=1e-4):
    with ft.no_grad():
        ft.onnx.export(function, args, path)
        expected = ft.tree.leaves(function(*args))
        leaves = ft.tree.leaves(args)
        same(ft.tree.leaves(ft.onnx.load(path)(*leaves)), expected, tolerance)
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {i.name: x.numpy() for i, x in zip(session.get_inputs(), leaves, strict=True)}
    same(session.run(None, inputs), expected, tolerance)


def same(found, expected, tolerance):
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        x = x.numpy() if isinstance(x, ft.Tensor) else x
        y = y.numpy()
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


ROWS = tensor([0, 2])
FUNCTIONS = {
    "arithmetic": lambda x: (x + 1, 2 - x, x / 3, x.abs() ** 0.5, x // 2, x % 3, ft.fmod(x, 2), -x),
    "integers": lambda x: (x.to(ft.int64) + 1.5, x.to(ft.int64) // 2, x.to(ft.int64) % 3),
    "comparisons": lambda x: ((x > 0) & (x < 1), x != 0, ~(x >= 0.5), x.isnan(), x.isfinite()),
    "functions": lambda x: (x.sin(), x.exp().log1p(), x.exp().rsqrt(), x.tanh(), x.erf(),
    x.expm1(), x.round()),
    "activations": lambda x: (
        F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.leaky_relu(x), F.softplus(x),
        F.elu(x),
        F.hardswish(x), F.relu6(x), F.softmin(x, 1), x.sigmoid(), F.logsigmoid(x), F.mish(x),
        F.selu(x), F.hardshrink(x), F.softshrink(x), F.huber_loss(x, 2 * x, reduction="none"),
        (x / 0).nan_to_num(1.0, 5.0), (0 / x.relu()).nan_to_num(), F.mse_loss(x, 2 * x),
    ),
    "reductions": lambda x: (
        x.sum(), x.mean(1), x.var(0), x.std(), x.amax(0), x.amin(1), x.prod(1), x.norm(),
        x.logsumexp(1),
        (x > 0).any(1), (x > 0).all(), x.argmax(1), x.argmin(0), x.max(1)[0], x.min(1)[1],
        x.argmax(), (x / x.relu()).nansum(0),
    ),
    "scans and sorts": lambda x: (x.cumsum(1), x.topk(2)[0], x.sort(1)[1], x.sort(0,
    descending=True)[0]),
    "indexing": lambda x: (
        x[ROWS], x[:, tensor([1, -1])], x[1:, ::2], x[None, ..., 0], x[-1], x.gather(1,
        ROWS[None].expand(3, 2)),
        F.embedding(ROWS, x), x.split(2, 1)[1], x.select(0, 1),
    ),
    "shapes": lambda x: (
        x.T, x.reshape(2, 6), x[:, 1:3].reshape(6), ft.stack([x, x]), ft.cat([x, x], 1),
        x.flip([0]),
        x.repeat(2, 1), x.roll(1, 0), x.roll(5), F.pad(x, (1, 1)), x.tril(), x.triu(1),
        F.pad(x, (1, 2), "reflect"), F.pad(x, (2, 1), "replicate"), F.pad(x, (5, 1), "circular"),
        x.expand(2, 3, 4),
        x.unsqueeze(1).squeeze(1),
    ),
    "selection": lambda x: (ft.where(x > 0, x, 0.0), x.clamp(0, 1), x.clip(min=0.5),
    x.masked_fill(x > 0, 1.0)),
    "products": lambda x: (x @ x.T, F.linear(x[None], ft.ones(2, 4)), ft.einsum("ij,kj->ik", x,
    x), x[0].outer(x[1]), ft.cross(x[:3, :3], x[:3, 1:])),
    "norms": lambda x: (
        F.layer_norm(x, (4,)), F.rms_norm(x, (4,)), F.group_norm(x[None], 3), F.normalize(x),
        F.batch_norm(x, ft.zeros(4), ft.ones(4)), F.instance_norm(x[None]),
    ),
    "softmax": lambda x: (x.softmax(-1), x.log_softmax(0)),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None],
    is_causal=True),
    "images": lambda x: (
        F.interpolate(x[None, None], scale_factor=2), F.avg_pool1d(x, 2), F.max_pool1d(x[None], 2),
        F.conv_transpose2d(x[None, None], ft.ones(1, 1, 2, 2), stride=2, output_padding=1),
        F.conv2d(x[None, None], ft.ones(2, 1, 2, 2), ft.ones(2), stride=(1, 2), padding=1,
        dilation=1),
    ),
    "constants": lambda x: (ft.arange(5.0), x),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, path):
    ft.manual_seed(0)
    check(FUNCTIONS[name], (ft.randn(3, 4),), path)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


class Language(nn.Module):
    """A small GPT: tokens [n, t] -> logits [n, t, 11]."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 16), nn.Embedding(6, 16)
        self.block = nn.TransformerEncoderLayer(
            16, 2, 32, batch_first=True, activation="gelu", norm_first=True
        )
        self.head = nn.Linear(16, 11)

    def forward(self, x):
        n = x.shape[1]
        mask = ft.full((n, n), -float("inf")).triu(1)
        y = self.tokens(x) + self.places(ft.arange(n))
        return self.head(self.block(y, src_mask=mask))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)), (3,
    3, 4)),
    "mnist": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(),
            nn.Linear(72, 10)
        ),
        (2, 1, 8, 8),
    ),
    "residual": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), Residual(),
        nn.AdaptiveAvgPool2d(1)),
        (2, 3, 16, 16),
    ),
    "encoder": (lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (2, 5, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models(name, path):
    ft.manual_seed(0)
    make, shape = MODELS[name]
    check(make().eval(), (ft.randn(shape),), path)


def test_language_model(path):
    ft.manual_seed(0)
    check(Language().eval(), (ft.randint(0, 11, (2, 6)),), path)


def test_loaded_models_differentiate_and_compile(path):
    ft.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).eval()
    x = ft.randn(2, 4)
    ft.onnx.export(model, (x,), path, input_names=["x"], output_names=["y"])
    loaded = ft.onnx.load(path)
    assert (loaded.inputs, loaded.outputs) == (["x"], ["y"])
    expected = ft.grad(lambda x: model(x).sum())(x)
    assert ft.allclose(ft.grad(lambda x: loaded(x=x).sum())(x), expected, atol=1e-6)
    assert ft.allclose(ft.compile(loaded)(x), model(x), atol=1e-6)
    with pytest.raises(TypeError, match="inputs x"):
        loaded()


def test_refusals(path):
    with pytest.raises(ft.KernelError, match="lgamma"):
        ft.onnx.export(lambda x: x.lgamma(), (ft.ones(2),), path)
    with pytest.raises(ft.KernelError, match="random"):
        ft.onnx.export(lambda x: x + ft.rand(2), (ft.ones(2),), path)
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="valid ONNX model"):
        ft.onnx.load(path)


def test_missing_package(tmp_path):
    code = (
        "import sys; sys.modules['onnx'] = None\nimport functorch_like as ft\n"
        f"ft.onnx.export(ft.sin, (ft.ones(2),), {str(tmp_path / 'x.onnx')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'functorch-like[onnx]'" in done.stderr
