"""The benchmarks: every one runs, every op has one, every hand-written equivalent is one.

Nothing is timed here: sizes are lowered and every call is made once.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import tree
from functorch_like.op import TABLE

ROOT = Path(__file__).resolve().parent.parent
PREFIXES = ("time_", "track_", "peakmem_")


def _load():
    sys.path.insert(0, str(ROOT))
    try:
        names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    finally:
        sys.path.remove(str(ROOT))
    return modules


MODULES = _load()
common = MODULES["common"]


def _is_benchmark(value):
    return isinstance(value, type) and any(name.startswith(PREFIXES) for name in dir(value))


CLASSES = [
    value
    for name, module in MODULES.items()
    if name.startswith("bench_")
    for value in vars(module).values()
    if _is_benchmark(value)
]


def _parameters(cls):
    """The lists of a benchmark's parameters by name; asv takes one list for one parameter."""
    params = getattr(cls, "params", [])
    if params and not isinstance(params[0], list):
        params = [params]
    return dict(zip(getattr(cls, "param_names", []), params, strict=True))


def _cases():
    """(class, parameters): all ops and models, the smallest (first) of everything else."""
    for cls in CLASSES:
        first = {name: values[0] for name, values in _parameters(cls).items()}
        varied = [name for name in first if name in ("op", "entry", "model")]
        for value in _parameters(cls)[varied[0]] if varied else [None]:
            case = first | ({varied[0]: value} if varied else {})
            yield pytest.param(cls, tuple(case.values()), id=f"{cls.__name__}-{value or 'all'}")


def _covered():
    """op: the benchmarks that measure it at size."""
    covered = {}
    for cls in CLASSES:
        for op in [*_parameters(cls).get("op", []), *getattr(cls, "ops", [])]:
            covered.setdefault(op, []).append(cls)
    return covered


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    """One call a timing, one import."""
    monkeypatch.setattr(common, "BLOCK", 0.0)
    monkeypatch.setattr(common, "BLOCKS", 1)
    monkeypatch.setattr(common, "COPIED", 16)
    package = MODULES["package"]
    monkeypatch.setattr(package, "import_seconds", lambda names, runs: package.import_once(names))


def _made(cls, params):
    benchmark = cls()
    for name, value in getattr(cls, "small", {}).items():
        setattr(benchmark, name, value)
    if hasattr(benchmark, "setup"):
        benchmark.setup(*params)
    return benchmark


@pytest.mark.parametrize("cls, params", list(_cases()))
def test_runs(cls, params):
    benchmark = _made(cls, params)
    for name in dir(cls):
        if name.startswith(PREFIXES):
            out = getattr(benchmark, name)(*params)
            if name.startswith("track_"):
                assert out >= 0 and np.isfinite(out)
                assert hasattr(getattr(cls, name), "unit"), f"{name} has no unit"


@pytest.mark.parametrize("cls", [c for c in CLASSES if hasattr(c, "time_by_hand")])
def test_by_hand_computes_the_same(cls):
    params = tuple(values[0] for values in _parameters(cls).values())
    benchmark = _made(cls, params)
    got, expected = benchmark.time_transform(*params), benchmark.time_by_hand(*params)
    (ours, structure), (by_hand, same) = tree.flatten(got), tree.flatten(expected)
    assert structure == same
    for a, b in zip(ours, by_hand, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-3, atol=2e-5)


def test_every_op_has_a_benchmark():
    covered, excused = _covered(), common.UNMEASURED
    missing = [
        op.name
        for op in TABLE.values()
        if op.name not in covered and op.name not in excused and op.family not in excused
    ]
    assert not missing, f"give these a benchmark, or a reason in common.UNMEASURED: {missing}"


def test_excuses_and_parameters_are_not_stale():
    covered = _covered()
    families = {op.family for op in TABLE.values()}
    assert not [name for name in common.UNMEASURED if name not in TABLE and name not in families]
    assert not [name for name in common.UNMEASURED if name in covered]
    assert not [name for name in covered if name not in TABLE]


def _calls():
    return [
        pytest.param(cls, op, id=f"{cls.__name__}-{op}")
        for op, classes in _covered().items()
        for cls in classes
        if TABLE[op].family not in ("unary", "binary", "ternary")
    ]


@pytest.mark.parametrize("cls, op", _calls())
def test_a_benchmark_calls_the_op_it_names(cls, op, monkeypatch):
    called = []
    impl = TABLE[op].impl

    def recorded(*args, **params):
        called.append(op)
        return impl(*args, **params)

    monkeypatch.setattr(TABLE[op], "impl", recorded)
    for values in _every(_parameters(cls), op):
        benchmark = _made(cls, values)
        for name in dir(cls):
            if name.startswith("time_"):
                getattr(benchmark, name)(*values)
                if not called:  # a fast path calls the core itself, but not within a transform
                    _within_vmap(benchmark, name, values)
    assert called, f"{cls.__name__} names {op} and does not call it"


def _within_vmap(benchmark, name, values):
    def lane(x):
        getattr(benchmark, name)(*values)
        return x

    ft.vmap(lane)(ft.ones(1))


def _every(parameters, op):
    """The parameters of one op; all kinds, the smallest of the rest."""
    if "op" in parameters:
        yield tuple(op if name == "op" else values[0] for name, values in parameters.items())
    elif "kind" in parameters:
        for kind in parameters["kind"]:
            yield tuple(kind if n == "kind" else v[0] for n, v in parameters.items())
    else:
        yield tuple(values[0] for values in parameters.values())


def test_compare_runs_and_checks(capsys, tmp_path):
    pytest.importorskip("torch")
    compare, out = MODULES["compare"], tmp_path / "out.json"
    threads = ft.get_num_threads()
    argv = ["--only", "add of two", "--rounds", "1", "--block", "0", "--json", str(out)]
    assert compare.main(argv) == 0
    assert "add of two 4-element tensors" in capsys.readouterr().out
    assert '"ratio"' in out.read_text()
    ft.set_num_threads(threads)


def test_compare_lists_its_figures(capsys):
    assert MODULES["compare"].main(["--list"]) == 0
    assert "sgemm" in capsys.readouterr().out
