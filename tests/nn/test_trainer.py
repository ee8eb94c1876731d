"""Trainer: learns, goes on bit by bit, callbacks, Ctrl-C, losses that are not finite."""

import io
import os
import signal
import sys

import pytest

import functorch_like as ft
import nn
from nn import optim, training
from nn.data import DataLoader, TensorDataset
from nn.metrics import Collect, accuracy, auroc
from nn.optim import lr_scheduler


def problem(n=60, batch_size=8, **options):
    x = ft.randn(n, 4, generator=ft.Generator().manual_seed(1))
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).long()
    return DataLoader(TensorDataset(x, y), batch_size, shuffle=True, **options)


def make(callbacks=(), optimizer="Adam", **options):
    ft.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(16),
                          nn.Linear(16, 2))  # fmt: skip
    chosen = getattr(optim, optimizer)(model.parameters(), lr=0.02)
    schedule = lr_scheduler.OneCycleLR(chosen, 0.05, total_steps=200)
    return training.Trainer(
        model, chosen, nn.CrossEntropyLoss(), scheduler=schedule, scheduler_every="batch",
        metrics={"accuracy": accuracy}, callbacks=callbacks, **options,
    )  # fmt: skip


def weights(trainer):
    return {name: t.tolist() for name, t in trainer.model.state_dict().items()}


class StopAt(training.Callback):
    def __init__(self, steps, press=False):
        self.steps, self.press = steps, press

    def on_batch_end(self, trainer):
        if trainer.epoch * 8 + trainer.batch == self.steps:
            if self.press:
                os.kill(os.getpid(), signal.SIGINT)
            trainer.should_stop = True


def test_learns_validates_and_predicts():
    trainer = make()
    history = trainer.fit(problem(), epochs=12, validation=problem())
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "lr"} <= history[0].keys()
    assert history[-1]["val_loss"] < history[0]["val_loss"] and history[-1]["val_accuracy"] > 0.8
    scores = trainer.validate(problem())
    assert scores["accuracy"] == history[-1]["val_accuracy"] and trainer.model.training
    inputs = ft.randn(10, 4)
    predicted = trainer.predict([inputs[:6], (inputs[6:], None)])
    trainer.model.eval()
    assert predicted.tolist() == trainer.model(inputs).tolist()


@pytest.mark.parametrize("stop", [3, 8, 13, 16])
@pytest.mark.parametrize(
    ("optimizer", "accumulate", "precision"),
    [("Adam", 1, None), ("Adam", 3, None), ("RAdam", 1, "bf16"), ("AdamW", 3, "fp16")],
)
def test_goes_on_bit_by_bit(tmp_path, stop, optimizer, accumulate, precision):
    options = {"optimizer": optimizer, "accumulate": accumulate, "precision": precision}
    options["clip_norm"] = 1.0
    path = tmp_path / "state"
    whole = make(**options)
    whole.fit(problem(), epochs=4, validation=problem())
    first = make([StopAt(stop)], **options)
    loader = problem()

    class Save(training.Callback):
        def on_batch_end(self, trainer):
            if trainer.should_stop:
                trainer.save(path)

    first.callbacks.append(Save())
    first.fit(loader, epochs=4, validation=problem())
    ft.manual_seed(99), ft.rand(3)
    second = make([training.Callback(), training.Callback()], **options)
    history = second.fit(problem(), epochs=4, validation=problem(), resume=path)
    assert weights(second) == weights(whole) and history == whole.history
    assert second.steps == whole.steps


def test_goes_on_in_the_same_process_and_with_workers(tmp_path):
    options = {"num_workers": 2, "multiprocessing_context": "fork"}
    whole = make()
    whole.fit(problem(**options), epochs=3)
    trainer = make([StopAt(11)])
    loader = problem(**options)
    trainer.fit(loader, epochs=3)
    assert trainer.batch == 3 and len(trainer.history) == 1
    trainer.callbacks.clear()
    trainer.fit(loader, epochs=3)
    assert weights(trainer) == weights(whole)


def test_ctrl_c_saves_and_exits_cleanly(tmp_path, capsys):
    whole = make()
    whole.fit(problem(), epochs=3)
    keeper = training.ModelCheckpoint(tmp_path, monitor=None)
    trainer = make([StopAt(11, press=True), keeper])
    trainer.callbacks[0].steps = 11
    before = signal.getsignal(signal.SIGINT)
    history = trainer.fit(problem(), epochs=3)
    assert trainer.interrupted and len(history) == 1
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopping after this batch" in capsys.readouterr().err
    again = make([training.Callback(), training.ModelCheckpoint(tmp_path, monitor=None)])
    again.fit(problem(), epochs=3, resume=keeper.last_path)
    assert weights(again) == weights(whole)


def test_checkpoints_keep_the_best(tmp_path):
    class Score(training.Callback):
        def on_epoch_end(self, trainer):
            trainer.history[-1]["score"] = [0.3, 0.9, 0.1, 0.8, float("nan")][trainer.epoch - 1]

    keeper = training.ModelCheckpoint(tmp_path / "a", "score", "max", keep=2, every_batches=3)
    trainer = make([Score(), keeper])
    trainer.fit(problem(), epochs=5)
    names = sorted(os.listdir(tmp_path / "a"))
    assert names == ["epoch-0002.safetensors", "epoch-0004.safetensors", "last.safetensors"]
    assert keeper.best_path.endswith("epoch-0002.safetensors")
    assert nn.load(keeper.best_path)["epoch"] == 2
    resumed = training.ModelCheckpoint(tmp_path / "a", "score", "max", keep=2)
    make([Score(), resumed]).fit(problem(), epochs=5, resume=keeper.last_path)
    assert resumed.kept == keeper.kept


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    trainer = make()
    path = tmp_path / "state"
    trainer.save(path)
    content = path.read_bytes()
    from functorch_like.serialization import state

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "serialize_file", full)
    with pytest.raises(OSError, match=r"No space left on device.*existing file is unchanged"):
        trainer.save(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["state"]


def test_early_stopping():
    stopper = training.EarlyStopping("loss", patience=2, min_delta=100.0)
    trainer = make([stopper])
    assert len(trainer.fit(problem(), epochs=20)) == 4
    with pytest.raises(KeyError, match="expected val_loss among epoch, loss"):
        make([training.EarlyStopping()]).fit(problem())


def test_loss_that_is_not_finite():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.second(ft.log(self.first(x) * 0.0 - 1.0))

    model = Broken()
    trainer = training.Trainer(
        model, optim.SGD(model.parameters()), nn.CrossEntropyLoss(), callbacks=[training.Callback()]
    )
    with pytest.raises(training.NonFiniteLossError, match=r"got nan in epoch 1, batch 1") as info:
        trainer.fit(problem())
    assert "first layer whose output holds nan is second (Linear)" in str(info.value)
    with ft.no_grad():
        model.first.weight[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"Parameter first.weight holds infinity"):
        trainer.fit(problem())
    bad = DataLoader(TensorDataset(ft.full((4, 4), float("nan")), ft.zeros(4).long()), 2)
    with pytest.raises(FloatingPointError, match="inputs hold nan already"):
        make().fit(bad)


def test_reports(tmp_path):
    text = io.StringIO()
    trainer = make([training.Progress(file=text), training.CSVLogger(tmp_path / "log.csv")])
    trainer.fit(problem(), epochs=2, validation=problem())
    lines = text.getvalue().splitlines()
    assert (
        len(lines) == 2 and lines[1].startswith("epoch 2/2: loss ") and "val_accuracy" in lines[1]
    )
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,accuracy,val_loss,val_accuracy,lr" and len(rows) == 3


def test_progress_bar():
    pytest.importorskip("tqdm")
    text = io.StringIO()
    make([training.Progress(bar=True, file=text)]).fit(problem(), epochs=1)
    assert "epoch 1/1" in text.getvalue()


def test_learning_curve_and_rate_search(tmp_path):
    pytest.importorskip("matplotlib")
    trainer = make([training.LearningCurve(tmp_path / "curve.png", log_scale=True)])
    trainer.fit(problem(), epochs=2, validation=problem())
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    before, rng = weights(trainer), ft.get_rng_state().tolist()
    found = training.find_lr(trainer, problem(), start=1e-5, end=10.0, steps=60)
    assert weights(trainer) == before and ft.get_rng_state().tolist() == rng
    assert found.suggestion is not None and 1e-5 < found.suggestion < 10.0
    found.plot(str(tmp_path / "rates.png"))
    assert (tmp_path / "rates.png").stat().st_size > 1000


def test_tensorboard_is_loaded_lazily(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"functorch-like\[tensorboard\]"):
        make([training.TensorBoardLogger(tmp_path)]).fit(problem())
    written = []

    class Writer:
        def __init__(self, directory):
            written.append(directory)

        def add_scalar(self, name, value, step):
            written.append(name)

        def add_histogram(self, name, values, step):
            written.append(values.shape)

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", type(sys)("tensorboardX"))
    sys.modules["tensorboardX"].SummaryWriter = Writer
    make([training.TensorBoardLogger(tmp_path, 4, histograms=True)]).fit(problem())
    assert {"batch/loss", "epoch/loss", "epoch/accuracy", (16, 4), "closed"} <= set(written)


def test_tensorboard_files_with_pictures_and_graph(tmp_path):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("onnx")
    logger = training.TensorBoardLogger(
        tmp_path,
        histograms=True,
        images=lambda trainer: {"one": ft.rand(3, 4, 5), "many": ft.rand(2, 1, 4, 5)},
        graph=ft.zeros(1, 4),
    )
    trainer = make([logger])
    trainer.fit(problem())
    assert trainer.model.training
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for name in (b"epoch/loss", b"one", b"many", b"Gemm"):
        assert name in data or (name == b"Gemm" and b"MatMul" in data), name


def test_own_step_and_schedulers():
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(model, batch):
        out = model(batch["x"]).squeeze(1)
        return ((out - batch["y"]) ** 2).mean(), out, batch["y"]

    batches = [{"x": ft.randn(5, 4), "y": ft.arange(5).float() % 2} for _ in range(3)]
    trainer = training.Trainer(
        model, optimizer, step=step, metrics={"auroc": auroc, "again": Collect(auroc)},
        scheduler=lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=100.0),
    )  # fmt: skip
    row = trainer.fit(batches, epochs=3)[-1]
    assert row["auroc"] == row["again"] and row["lr"] < 0.1


def test_bad_options_and_states(tmp_path):
    trainer = make()
    trainer.save(tmp_path / "a")
    with pytest.raises(TypeError, match="expected an optimizer, and a loss or a step"):
        training.Trainer(nn.Linear(1, 1)).fit([])
    with pytest.raises(TypeError, match=r"expected batches .inputs, targets., got Tensor"):
        trainer.fit([ft.ones(3)])
    with pytest.raises(ValueError, match="scheduler_every 'epoch' or 'batch'"):
        make().__class__(trainer.model, scheduler_every="day")
    with pytest.raises(ValueError, match="precision 'bf16', 'fp16' or None"):
        make(precision="half")
    with pytest.raises(ValueError, match="accumulate of at least 1"):
        make(accumulate=0)
    with pytest.raises(ValueError, match="expected 1 callbacks, got a state of 0"):
        make([training.Callback()]).load(tmp_path / "a")
    other = make()
    other.scheduler = None
    with pytest.raises(ValueError, match="scheduler to fit the state's, got one in the state"):
        other.load(tmp_path / "a")
    nn.save({"w": ft.ones(2)}, tmp_path / "b")
    with pytest.raises(ValueError, match="expected the state of a Trainer"):
        make().load(tmp_path / "b")
    with pytest.raises(ValueError, match="at least one batch"):
        trainer.predict([])
    with pytest.raises(ValueError, match="0 < start < end"):
        training.find_lr(trainer, problem(), start=1.0, end=0.1)
    with pytest.raises(ValueError, match="mode 'min' or 'max'"):
        training.EarlyStopping(mode="up")
    with pytest.raises(ValueError, match="keep >= 0"):
        training.ModelCheckpoint(tmp_path, keep=-1)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns(precision):
    trainer = make(precision=precision)
    history = trainer.fit(problem(), epochs=10)
    assert history[-1]["accuracy"] > 0.75 and trainer.model[0].weight.dtype == ft.float32
    assert trainer.scaler.is_enabled() == (precision == "fp16")
