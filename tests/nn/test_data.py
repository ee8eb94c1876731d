"""nn.data: data sets, samplers, loader (fast and general way), collate, the digits."""

import itertools
from collections import defaultdict
from typing import NamedTuple

import pytest

import functorch_like as ft
import nn
from nn import data
from nn.data import DataLoader, TensorDataset


def numbers(n=10):
    return TensorDataset(ft.arange(n), ft.arange(n) * 10.0)


class Squares(data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"x": ft.tensor([float(i)]), "square": i * i, "name": str(i)}


def test_tensor_dataset():
    assert len(numbers()) == 10 and [t.item() for t in numbers()[3]] == [3, 30.0]
    with pytest.raises(ValueError, match=r"equal first sizes, got \[2\], \[3\]"):
        TensorDataset(ft.zeros(2), ft.zeros(3))
    with pytest.raises(ValueError, match="got none"):
        TensorDataset()
    joined = numbers(3) + numbers(2)
    assert len(joined) == 5 and joined[3][0].item() == 0 and joined[-1][0].item() == 1
    with pytest.raises(IndexError, match="within 5 samples, got 5"):
        joined[5]


def test_loader_in_order():
    loader = DataLoader(numbers(), batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3 and [x.tolist() for x, _ in batches] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert isinstance(batches[0], list) and batches[0][1].dtype == ft.float32
    assert [len(x) for x, _ in DataLoader(numbers(), 4, drop_last=True)] == [4, 4]
    assert len(DataLoader(numbers(), 4, drop_last=True)) == 2
    batches[0][0].fill_(-1)
    assert loader.dataset[0][0].item() == 0  # a batch is a copy


def test_loader_shuffles_and_repeats():
    loader = DataLoader(numbers(100), 7, shuffle=True, generator=ft.Generator().manual_seed(3))
    first, second = ([i for x, _ in loader for i in x.tolist()] for _ in range(2))
    assert sorted(first) == list(range(100)) == sorted(second) and first != second != list(
        range(100)
    )
    again = DataLoader(numbers(100), 7, shuffle=True, generator=ft.Generator().manual_seed(3))
    assert [i for x, _ in again for i in x.tolist()] == first
    for x, y in loader:
        assert (x * 10.0).tolist() == y.tolist()


def test_fast_and_general_way_agree():
    class Plain(data.Dataset):
        def __init__(self, inner):
            self.inner = inner

        def __len__(self):
            return len(self.inner)

        def __getitem__(self, i):
            return self.inner[i]

    def run(dataset, **kwargs):
        loader = DataLoader(dataset, 3, generator=ft.Generator().manual_seed(1), **kwargs)
        return [[part.tolist() for part in batch] for batch in loader]

    for kwargs in ({}, {"shuffle": True}, {"sampler": [3, 1, 1, 9]}):
        assert run(numbers(), **kwargs) == run(Plain(numbers()), **kwargs)
    part, rest = data.random_split(numbers(), [7, 3], ft.Generator().manual_seed(0))
    assert DataLoader(part)._get_batch is not None
    assert run(part, shuffle=True) == run(Plain(part), shuffle=True)
    assert sorted([*part.indices, *rest.indices]) == list(range(10))
    batches = [[0, 1], [5]]
    assert [x.tolist() for x, _ in DataLoader(numbers(), batch_sampler=batches)] == batches


def test_overridden_getitem_is_respected():
    class Noisy(TensorDataset):
        def __getitem__(self, i):
            return tuple(t + 100 for t in super().__getitem__(i))

    assert next(iter(DataLoader(Noisy(ft.arange(4)), 2)))[0].tolist() == [100, 101]
    assert next(iter(DataLoader(data.Subset(Noisy(ft.arange(4)), [3]), 2)))[0].tolist() == [103]


def test_collate():
    class Pair(NamedTuple):
        a: int
        b: float

    batch = next(iter(DataLoader(Squares(5), 3)))
    assert batch["x"].tolist() == [[0.0], [1.0], [2.0]] and batch["name"] == ["0", "1", "2"]
    assert batch["square"].tolist() == [0, 1, 4] and batch["square"].dtype == ft.int64
    pair = data.default_collate([Pair(1, 2.0), Pair(3, 4.0)])
    assert isinstance(pair, Pair) and pair.a.tolist() == [1, 3] and pair.b.dtype == ft.float64
    assert data.default_collate([(1, "a"), (2, "b")])[1] == ["a", "b"]
    assert data.default_collate([True, False]).dtype == ft.bool
    with pytest.raises(
        ValueError, match=r"one shape, got \[2\] for the first and \[3\] for number 1"
    ):
        data.default_collate([ft.zeros(2), ft.zeros(3)])
    with pytest.raises(ValueError, match="samples of equal length"):
        data.default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match=r"got object. Give a collate_fn"):
        data.default_collate([object()])
    assert list(DataLoader(Squares(4), 2, collate_fn=len)) == [2, 2]


def test_numpy_samples():
    np = pytest.importorskip("numpy")
    batch = data.default_collate(
        [(np.ones(2, np.float32), np.int64(3)), (np.zeros(2, np.float32), np.int64(4))]
    )
    assert (
        batch[0].tolist() == [[1.0, 1.0], [0.0, 0.0]]
        and batch[0].dtype == ft.float32
        and batch[1].tolist() == [3, 4]
    )


def test_collate_keeps_classes_and_fractions():
    class Tagged(dict):
        def __init__(self, *args, tag):
            super().__init__(*args)
            self.tag = tag

    class Names(list):
        pass

    assert data.default_collate([1, 2.5]).tolist() == [1.0, 2.5]
    assert data.default_collate([1, True]).dtype == ft.int64
    tagged = data.default_collate([Tagged({"a": 1}, tag="t"), Tagged({"a": 2}, tag="u")])
    assert type(tagged) is Tagged and tagged.tag == "t" and tagged["a"].tolist() == [1, 2]
    counts = data.default_collate([defaultdict(int, a=1), defaultdict(int, a=2)])
    assert type(counts) is defaultdict and counts["other"] == 0 and counts["a"].tolist() == [1, 2]
    names = data.default_collate([Names(["a", 1]), Names(["b", 2])])
    assert type(names) is Names and names[0] == ["a", "b"] and names[1].tolist() == [1, 2]


def test_numpy_strings_and_samples_without_batches():
    np = pytest.importorskip("numpy")
    assert data.default_collate([np.str_("a"), np.str_("b")]) == ["a", "b"]
    words = np.array(["a", "b"])
    sample = {"x": np.ones(2), "pair": (np.float32(1), "b"), "words": words}
    (batch,) = DataLoader([sample], batch_size=None)
    assert isinstance(batch["x"], ft.Tensor) and batch["x"].tolist() == [1.0, 1.0]
    assert isinstance(batch["pair"][0], ft.Tensor) and batch["pair"][1] == "b"
    assert batch["words"] is words


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_samples_stop_iteration_does_not_end_the_pass(batch_size):
    class Stops(Squares):
        def __getitem__(self, i):
            return next(iter([] if i == 2 else [i]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(DataLoader(Stops(6), batch_size))


def test_no_batches_and_streams():
    assert [x.item() for x, _ in DataLoader(numbers(3), batch_size=None)] == [0, 1, 2]

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(), None)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no shuffle, sampler"):
        DataLoader(Stream(), shuffle=True)


def test_samplers():
    assert list(data.SequentialSampler(range(3))) == [0, 1, 2]
    draws = list(data.RandomSampler(range(3), replacement=True, num_samples=50))
    assert len(draws) == 50 and set(draws) == {0, 1, 2}
    more = list(data.RandomSampler(range(3), num_samples=7))
    assert sorted(more[:3]) == sorted(more[3:6]) == [0, 1, 2] and len(more) == 7
    assert list(data.BatchSampler(range(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    weighted = data.WeightedRandomSampler(
        [0.0, 1.0, 3.0, 0.0], 4000, generator=ft.Generator().manual_seed(0)
    )
    drawn = list(weighted)
    assert set(drawn) == {1, 2} and drawn.count(2) / 4000 == pytest.approx(0.75, abs=0.03)
    assert sorted(data.WeightedRandomSampler([0.0, 1.0, 3.0], 2, replacement=False)) == [1, 2]
    for make in (
        lambda: data.WeightedRandomSampler([-1.0, 2.0], 1),
        lambda: data.WeightedRandomSampler([1.0, 0.0], 2, replacement=False),
        lambda: data.BatchSampler(range(3), 0, False),
        lambda: data.RandomSampler(range(3), num_samples=0),
        lambda: data.RandomSampler(range(3), num_samples=1.5),
        lambda: data.WeightedRandomSampler([1.0, float("inf")], 2),
        lambda: data.WeightedRandomSampler([1.0, 1.0], 1.5),
        lambda: data.WeightedRandomSampler(ft.ones(2, 2), 1),
    ):
        with pytest.raises(ValueError, match="expected"):
            make()


def test_loader_errors():
    for kwargs, match in [
        ({"batch_size": 0}, "batch_size as an integer above 0"),
        ({"sampler": [0], "shuffle": True}, "sampler or shuffle, got both"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler alone"),
        ({"batch_size": None, "drop_last": True}, "expected batch_size with drop_last"),
    ]:
        with pytest.raises(ValueError, match=match):
            DataLoader(numbers(), **kwargs)
    for kwargs, match in [
        ({"num_workers": -1}, "num_workers as an integer >= 0"),
        ({"prefetch_factor": 2}, "prefetch_factor above 0 and with workers"),
        ({"persistent_workers": True}, "persistent_workers with num_workers above 0"),
        ({"timeout": -1}, "timeout >= 0"),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context with num_workers above 0"),
        ({"num_workers": 1, "multiprocessing_context": "frok"}, "as one of .*thread, got 'frok'"),
    ]:
        with pytest.raises(ValueError, match=match):
            DataLoader(numbers(), **kwargs)
    with pytest.raises(TypeError, match="data set with __len__"):
        DataLoader(iter([1]))
    with pytest.raises(NotImplementedError, match="__getitem__"):
        data.Dataset()[0]
    with pytest.raises(ValueError, match="lengths that sum to 10"):
        data.random_split(numbers(), [5, 6])
    with pytest.raises(ValueError, match="lengths that sum to 10"):
        data.random_split(numbers(), [5.9, 5.9])
    loader = DataLoader(numbers(), 2)
    loader.collate_fn = list
    with pytest.raises(ValueError, match="expected batch_size to stay as it was made"):
        loader.batch_size = 3


def test_digits():
    images, labels = data.load_digits()
    assert (
        list(images.shape) == [1797, 8, 8]
        and images.dtype == ft.float32
        and labels.dtype == ft.int64
    )
    assert images.min().item() == 0.0 and images.max().item() == 1.0
    assert nn.functional.one_hot(labels).sum(0).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert (images[0] * 16).tolist()[0] == [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]
    (train, _), (test, test_labels) = data.train_test_split(images, labels)
    assert len(train) == 1438 and len(test) == len(test_labels) == 359
    again = data.train_test_split(images, labels)
    assert again[1][1].tolist() == test_labels.tolist()
    assert data.train_test_split(images, labels, seed=1)[1][1].tolist() != test_labels.tolist()
    with pytest.raises(ValueError, match="leaves both sides samples"):
        data.train_test_split(labels, test_size=0.0)


@pytest.mark.parametrize("replacement", [True, False])
def test_a_random_order_without_an_end_in_sight(replacement):
    dataset = data.TensorDataset(ft.arange(6))
    make = lambda: data.RandomSampler(dataset, replacement, 10**10, ft.Generator().manual_seed(1))  # noqa: E731
    some = list(itertools.islice(make(), 60))
    assert set(some) == set(range(6)) and some == list(itertools.islice(make(), 60))
    if not replacement:
        assert all(sorted(some[i : i + 6]) == list(range(6)) for i in range(0, 60, 6))
    loader = data.DataLoader(dataset, 4, sampler=make())
    assert len(loader) == 25 * 10**8
    assert ft.cat([b for (b,) in itertools.islice(loader, 15)]).tolist() == some
    assert len(list(data.RandomSampler(range(3), replacement, (1 << 20) + 5))) == (1 << 20) + 5
