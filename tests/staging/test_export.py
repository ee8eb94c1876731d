"""Programs in files: values as in eager, also from C; errors for damaged files and refusals."""

import json
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import cbackend
import functorch_like as ft
import nn
import nn.functional as F
from functorch_like import tensor

CBACKEND = Path(cbackend.__file__).resolve().parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.safetensors"


def convolutional():
    ft.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(), nn.Linear(16, 10),
    ).eval()  # fmt: skip


def same(a, b):
    a, b = ft.tree.leaves(a), ft.tree.leaves(b)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.dtype is y.dtype and x.shape == y.shape
        assert ft.equal(x, y)


def indexing(x):
    i = tensor([0, 2])
    return (
        x[i], x.index_add(0, i, ft.ones(2, 4)), x.cumsum(0), *x.topk(2), x.roll(1, 0), x.repeat(2,
        2),
        ft.zeros(3, 4).scatter(0, i.unsqueeze(1).expand(2, 4), x), x.flip([0]), x.max(1)[1], x.T,
    )  # fmt: skip


def training_step(w, x, y):
    def loss(w):
        return F.cross_entropy(F.max_pool2d(x, 2).flatten(1) @ w, y)

    value, gradient = ft.value_and_grad(loss)(w)
    return {"w": w - 0.1 * gradient, "loss": value}


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: convolutional(), [(3, 1, 8, 8)]),
        (lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval(), [(2, 5, 16)]),
        (lambda: nn.LSTM(3, 4), [(5, 2, 3)]),
        (lambda: indexing, [(3, 4)]),
        (lambda: lambda x, y: ft.linalg.solve(x @ x.T + ft.eye(3), y.softmax(0)), [(3, 3), (3, 2)]),
        (lambda: ft.vmap(ft.grad(lambda x: (x.sin() * x).sum())), [(3, 4)]),
        (lambda: lambda x: ft.fft.rfft(x).abs().to(ft.float64).sum(), [(8,)]),
        (lambda: lambda x: x, [(3,)]),
    ],
)
def test_equals_eager(make, shapes, path):
    function = make()
    ft.manual_seed(1)
    arguments = tuple(ft.randn(shape) for shape in shapes)
    with ft.no_grad():
        ft.export(function, arguments, path)
        loaded = ft.load_program(path)
        others = tuple(ft.randn(shape) for shape in shapes)
        same(loaded(*others), function(*others))


def test_training_step_and_trees(path):
    ft.manual_seed(0)
    arguments = (ft.randn(16, 10), ft.randn(4, 1, 8, 8), tensor([1, 2, 3, 4]))
    ft.export(training_step, arguments, path)
    same(ft.load_program(path)(*arguments), training_step(*arguments))
    with pytest.raises(TypeError, match="arguments like those"):
        ft.load_program(path)(arguments)


def test_captured_values_are_those_at_export(path):
    w = ft.ones(2, 3).T  # not contiguous
    ft.export(lambda x: x * w, (ft.ones(3, 2),), path)
    w.mul_(5)
    same(ft.load_program(path)(ft.ones(3, 2)), ft.ones(3, 2))


def test_draws_stay_draws(path):
    ft.export(lambda x: F.dropout(x, 0.5, True), (ft.ones(100),), path)
    loaded = ft.load_program(path)
    ft.manual_seed(7)
    first, second = loaded(ft.ones(100)), loaded(ft.ones(100))
    assert not ft.equal(first, second)
    ft.manual_seed(7)
    same([first, second], [F.dropout(ft.ones(100), 0.5, True) for _ in range(2)])


def test_refusals(path):
    with pytest.raises(ft.TraceError, match="reads a tensor's value"):
        ft.export(lambda x: x * 2 if x.sum() > 0 else x, (ft.ones(2),), path)
    with pytest.raises(ft.TraceError, match="eval"):
        ft.export(nn.BatchNorm1d(3), (ft.randn(4, 3),), path)
    with pytest.raises(TypeError, match="tuple of arguments"):
        ft.export(ft.sin, ft.ones(2), path)
    assert not path.exists()
    ft.export(ft.sin, (ft.ones(2),), path)
    with pytest.raises(TypeError, match="shapes and dtypes"):
        ft.load_program(path)(ft.ones(3))


def parts(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, rest):
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + rest


def test_names_and_structures_are_checked(path):
    ft.export(lambda x: x.exp(), (ft.ones(2),), path)
    header, rest = parts(path.read_bytes())
    for key, old, new, error in (
        ("program.names", "unary exp", "unary wxp", ft.KernelError),
        ("program.names", "cb_unary(int op", "cb_unary(int po", ft.KernelError),
        ("program.names", "float32", "float33", ft.KernelError),
        ("program.arguments", '["tuple", 0]', '["tuple", 1]', ValueError),
        ("program.result", "0", '["list", 7]', ValueError),
        ("program.drawn", "0", "many", ValueError),
    ):
        changed = json.loads(json.dumps(header))
        notes = changed["__metadata__"]
        assert old in notes[key]
        notes[key] = notes[key].replace(old, new)
        path.write_bytes(joined(changed, rest))
        with pytest.raises(error):
            ft.load_program(path)


def test_damaged_files_give_errors(path):
    ft.export(convolutional(), (ft.ones(1, 1, 8, 8),), path)
    data = path.read_bytes()
    draws = random.Random(0)
    length = struct.unpack("<Q", data[:8])[0]
    instructions = parts(data)[0]["program"]["data_offsets"]
    for _ in range(300):
        changed = bytearray(data)
        if draws.random() < 0.3:
            del changed[draws.randrange(len(changed)) :]
        elif draws.random() < 0.4:
            changed[draws.randrange(8 + length)] ^= 1 << draws.randrange(8)
        else:
            at = 8 + length + draws.randrange(*instructions)
            changed[at] ^= 1 << draws.randrange(8)
        path.write_bytes(changed)
        try:
            ft.load_program(path)(ft.ones(1, 1, 8, 8))
        except (ValueError, TypeError, IndexError, RuntimeError, MemoryError):
            pass


def test_import_is_lazy():
    code = "import functorch_like, sys; assert 'functorch_like.staging.export' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(not (CBACKEND / "examples").exists(), reason="needs the source tree")
def test_runs_without_python(path, tmp_path):
    """The example in C, linked against the core only, reads digits as Python does."""
    ft.manual_seed(0)
    images, _ = nn.data.load_digits()
    images = images[:50].unsqueeze(1)
    model = convolutional()
    ft.export(model, (images[:16],), path)
    (tmp_path / "images").write_bytes(images.numpy().tobytes())
    core = _core()
    program = tmp_path / "run_program"
    subprocess.run(
        ["cc", "-O1", "-I", CBACKEND / "include", CBACKEND / "examples" / "run_program.c", core,
         f"-Wl,-rpath,{core.parent}", "-o", program],
        check=True,
    )  # fmt: skip
    blas = cbackend._openblas_path()
    done = subprocess.run(
        [program, path, tmp_path / "images", *([blas] if blas else [])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    with ft.no_grad():
        expected = model(images).argmax(1).tolist()
    assert list(map(int, done.stdout.split())) == expected
    path.write_bytes(path.read_bytes()[:-1])
    refused = subprocess.run([program, path, tmp_path / "images"], capture_output=True, text=True)
    assert refused.returncode == 1 and "damaged" in refused.stderr


def _core():
    """Where the core's library lies: beside the extension module, or where that was built."""
    module = Path(cbackend._cffi.__file__)
    for folder in (module.parent, module.resolve().parent):
        for name in ("libcbackend.so", "libcbackend.dylib"):
            if (folder / name).exists():
                return folder / name
    pytest.skip("the core's library was not found")
