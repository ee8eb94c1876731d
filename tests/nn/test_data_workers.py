"""DataLoader with workers: same batches, seeds, errors, death, no leaks, resuming."""

import gc
import importlib
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import functorch_like as ft
from nn import data
from nn.data import DataLoader

HERE = str(Path(__file__).parent)


def imported():
    """The samples' module, under the name by which the workers import it too."""
    sys.path.insert(0, HERE)
    try:
        return importlib.import_module("loader_samples")
    finally:
        sys.path.remove(HERE)


samples = imported()
KINDS = ["forkserver", "fork", "thread"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(HERE)


def loader(dataset, batch_size=3, workers=2, kind="fork", **options):
    return DataLoader(
        dataset, batch_size, num_workers=workers, multiprocessing_context=kind, **options
    )


def flat(batches):
    return [
        {k: v.tolist() if isinstance(v, ft.Tensor) else v for k, v in b.items()} for b in batches
    ]


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.mark.parametrize("kind", [*KINDS, "spawn"])
def test_same_batches_in_the_same_order(kind):
    dataset = samples.Rows(20)
    expected = flat(DataLoader(dataset, 3))
    batches = list(loader(dataset, kind=kind))
    assert flat(batches) == expected
    assert batches[1]["half"].dtype == ft.bfloat16 and batches[1]["array"].dtype == ft.int16
    batches[0]["x"].add_(1.0)  # writable, and its own memory
    assert batches[0]["x"][1, 0].item() == 2.0 and batches[1]["x"][0, 0].item() == 3.0


def test_shuffled_and_fast_path_with_workers():
    dataset = data.TensorDataset(ft.arange(50), ft.randn(50, 200))

    def run(workers):
        options = {"num_workers": workers} if workers else {}
        if workers:
            options["multiprocessing_context"] = "fork"
        g = ft.Generator().manual_seed(5)
        made = DataLoader(dataset, 7, sampler=data.RandomSampler(dataset, generator=g), **options)
        return [[x.tolist() for x in batch] for batch in made]

    assert run(0) == run(1) == run(3)


def test_random_numbers_do_not_hang_on_the_number_of_workers():
    def run(workers, kind="fork"):
        ft.manual_seed(11)
        made = loader(samples.Noise(), 4, workers, kind, collate_fn=list)
        return [list(made), list(made)]

    one, three = run(1), run(3)
    assert one == three == run(2, "forkserver")
    assert one[0] != one[1]  # another pass has other numbers
    values = [sample[1][0] for batch in one[0] for sample in batch]
    assert len(set(values)) == len(values)


def test_streams_are_shared_out():
    expected = sorted(range(20))
    for kind in KINDS:
        batches = [b.tolist() for b in loader(samples.Stream(20), 3, 2, kind)]
        assert sorted(i for batch in batches for i in batch) == expected
        assert batches[:2] == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("kind", KINDS)
def test_worker_info_init_and_persistence(kind):
    assert data.get_worker_info() is None
    made = loader(
        samples.Who(), 2, 2, kind, collate_fn=list, worker_init_fn=samples.mark,
        persistent_workers=True,
    )  # fmt: skip
    passes = [[x for batch in made for x in batch] for _ in range(2)]
    assert passes[0] == passes[1]
    assert {(x[0], x[1]) for x in passes[0]} == {(0, 2), (1, 2)}
    if kind != "thread":
        assert all(x[3] == x[0] + 100 and x[2] != os.getpid() for x in passes[0])
    short = loader(samples.Who(), 2, 2, kind, collate_fn=list, persistent_workers=True)
    for _ in short:
        break  # the answers of a pass left early are dropped
    assert len(list(short)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_class_and_traceback(kind):
    with pytest.raises(KeyError) as info:
        list(loader(samples.Trouble("raise"), kind=kind))
    text = str(info.value)
    assert "expected a batch from worker 1" in text and "no such row" in text
    assert "loader_samples.py" in text and "\n" in text
    with pytest.raises(RuntimeError, match="Odd"):
        list(loader(samples.Trouble("odd"), kind=kind))
    with pytest.raises(ValueError, match="bad init"):
        list(loader(samples.Who(), kind=kind, worker_init_fn=samples.broken_init))


@pytest.mark.parametrize("kind", ["forkserver", "fork"])
def test_death_is_noticed(kind):
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"worker 1 \(pid \d+\).*was killed by SIGKILL"):
        list(loader(samples.Trouble("kill"), kind=kind))
    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        list(loader(samples.Trouble("exit"), kind=kind))
    assert time.monotonic() - began < 10


def test_killed_from_outside_while_idle():
    iterator = iter(loader(samples.Rows(40), workers=2))
    next(iterator)
    children = [
        p for p in __import__("multiprocessing").active_children() if "DataLoader" in p.name
    ]
    assert len(children) == 2
    children[0].kill()
    with pytest.raises(RuntimeError, match="killed by SIGKILL"):
        list(iterator)


@pytest.mark.parametrize("kind", ["fork", "thread"])
def test_timeout(kind):
    with pytest.raises(RuntimeError, match=r"within timeout=0.3 seconds"):
        list(loader(samples.Trouble("sleep", 0 if kind == "fork" else 1), kind=kind, timeout=0.3))


def test_what_cannot_be_pickled():
    class Local(data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return i

    with pytest.raises(TypeError, match="top of a module, or pass multiprocessing_context='fork'"):
        list(loader(Local(), kind="spawn"))
    assert [b.tolist() for b in loader(Local(), 2, kind="fork")] == [[0, 1]]
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError), match="worker 0"):
        list(loader(Local(), 2, kind="fork", collate_fn=lambda x: lambda: 1))


ORPHANS = """
import multiprocessing, sys, time
import loader_samples
from nn.data import DataLoader
loader = DataLoader(loader_samples.Rows(99), 4, num_workers=2, multiprocessing_context="fork")
iterator = iter(loader)
next(iterator)
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_workers_end_with_a_killed_main_process():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
    command = [sys.executable, "-c", ORPHANS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as main:
        pids = main.stdout.readline().split()
        main.kill()

    def running(pid):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    deadline = time.monotonic() + 10
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(running, pids))


def test_nothing_is_left_behind():
    def use():
        for kind in ("fork", "thread"):
            list(loader(samples.Rows(12), kind=kind))
            for _ in loader(samples.Rows(40), kind=kind):
                break
            kept = loader(samples.Rows(12), kind=kind, persistent_workers=True)
            list(kept), list(kept)
        del kept
        gc.collect()

    use()
    time.sleep(0.3)
    before, threads = descriptors(), threading.active_count()
    use()
    gc.collect()
    time.sleep(0.5)
    assert descriptors() <= before and threading.active_count() <= threads
    names = [p.name for p in __import__("multiprocessing").active_children()]
    assert not [name for name in names if "DataLoader" in name]


def test_out_of_order_gives_every_batch():
    batches = [b["x"][0, 0].item() for b in loader(samples.Rows(20), in_order=False, workers=3)]
    assert sorted(batches) == [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("general", [True, False])
def test_resume_within_a_pass(workers, own, general):
    class Plain(data.Dataset):
        def __len__(self):
            return 23

        def __getitem__(self, i):
            return ft.tensor(i)

    def make():
        dataset = Plain() if general else data.TensorDataset(ft.arange(23))
        options = {"generator": ft.Generator().manual_seed(9)} if own else {}
        if workers:
            options.update(num_workers=workers, multiprocessing_context="fork")
        return DataLoader(dataset, 4, shuffle=True, **options)

    def values(batches):
        return [(b if general else b[0]).tolist() for b in batches]

    ft.manual_seed(3)
    first = make()
    list(first)
    iterator = iter(first)
    for _ in range(3):
        next(iterator)
    state, rng = first.state_dict(), ft.get_rng_state()
    rest = values(iterator) + values(first)
    assert state["batches"] == 3
    second = make()
    second.load_state_dict(state)
    assert second.state_dict() == state
    ft.set_rng_state(rng)
    assert values(second) + values(second) == rest
    again = make()
    again.load_state_dict(first.state_dict())  # between passes
    assert again.state_dict()["rng"] is None


def test_resume_a_stream():
    made = DataLoader(samples.Stream(10), 3)
    iterator = iter(made)
    next(iterator)
    state = made.state_dict()
    other = DataLoader(samples.Stream(10), 3)
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == [[3, 4, 5], [6, 7, 8], [9]]


def test_more_data_sets_and_samplers():
    both = data.StackDataset(data.TensorDataset(ft.arange(3)), [10, 20, 30])
    assert len(both) == 3 and both[1][1] == 20
    assert list(samples.Stream(2) + samples.Stream(3)) == [0, 1, 0, 1, 2]
    for make in (
        lambda: data.StackDataset([1], [1, 2]),
        lambda: data.StackDataset(),
        lambda: data.DistributedSampler(range(4), 2, 2),
    ):
        with pytest.raises(ValueError, match="expected"):
            make()
    with pytest.raises(TypeError, match="expected IterableDatasets, got list"):
        list(data.ChainDataset([[1]]))
    parts = [data.DistributedSampler(range(10), 3, rank, drop_last=True) for rank in range(3)]
    drawn = [list(part) for part in parts]
    assert [len(p) for p in drawn] == [3, 3, 3]
    assert len({index for part in drawn for index in part}) == 9
    parts[0].set_epoch(1)
    assert list(parts[0]) != drawn[0]
    subset = data.SubsetRandomSampler([5, 7, 9])
    assert sorted(subset) == [5, 7, 9] and len(subset) == 3
