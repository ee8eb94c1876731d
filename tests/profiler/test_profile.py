"""profile(): which events there are, how they lie within each other, what they cost."""

from __future__ import annotations

import gc
import os
import threading

import numpy
import pytest

import functorch_like as ft
import nn
from functorch_like.profiler import profile, record_function


def ops(prof):
    return [e.name for e in prof.events() if e.kind == "op"]


def event(prof, name):
    (found,) = [e for e in prof.events() if e.name == name]
    return found


# ---- eager ----


def test_eager_ops_in_order():
    x = ft.ones(4, 6)
    with profile() as prof:
        y = (x @ ft.ones(6, 3)).relu()
        y.sum(dim=1).exp()
    assert [n for n in ops(prof) if n != "full"] == ["matmul", "relu", "sum", "exp"]
    e = event(prof, "matmul")
    assert e.input_shapes == ((4, 6), (6, 3)) and e.made[0].shape == (4, 3)
    assert e.reads[0].dtype == "float32" and e.function == "matmul" and e.end >= e.begin


def test_results_are_the_same():
    x = ft.randn(40, 40)
    expected = (x @ x).softmax(-1)
    with profile():
        actual = (x @ x).softmax(-1)
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def test_nothing_before_and_after():
    x = ft.ones(3)
    x.exp()
    with profile() as prof:
        x.sin()
    x.cos()
    assert ops(prof) == ["sin"]


def test_empty():
    with profile() as prof:
        pass
    assert prof.events() == [] and prof.kernel_time == 0 and prof.wall_time > 0
    assert "wall time" in prof.key_averages().table()


def test_tape():
    x = ft.ones(5, 5, requires_grad=True)
    with profile() as prof:
        (x @ x).sum().backward()
    assert ops(prof).count("matmul") == 3


def test_around_transforms():
    x = ft.ones(4, 3)
    with profile() as prof:
        ft.vmap(ft.grad(lambda v: v.tanh().sum()))(x)
    assert event(prof, "tanh").input_shapes == ((4, 3),)  # all lanes at once


def test_inside_a_transform():
    found = []

    def f(v):
        with profile() as prof:
            y = v.sin()
        found.extend(ops(prof))
        return y.sum()

    gradient = ft.grad(f)(ft.zeros(3))
    assert found == ["sin"]
    assert gradient.tolist() == [1.0, 1.0, 1.0]


def test_modules():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    with profile() as prof:
        model(ft.ones(4, 8))
    assert [n for n in ops(prof) if n in ("linear", "relu")] == ["linear", "relu", "linear"]


def test_error_inside_leaves_no_event_open():
    with pytest.raises(ValueError), profile() as prof:
        ft.ones(2) @ ft.ones(3)
    ft.ones(2).exp()
    assert all(not e.made for e in prof.events() if e.name == "matmul")
    with profile() as again:
        ft.ones(2).exp()
    assert "exp" in ops(again)


def test_other_threads():
    x = ft.ones(3)
    with profile() as prof:
        x.sin()
        thread = threading.Thread(target=lambda: [x.cos() for _ in range(50)])
        thread.start()
        thread.join()
    sin, cos = event(prof, "sin"), [e for e in prof.events() if e.name == "cos"]
    assert len(cos) == 50 and all(e.thread != sin.thread for e in cos)
    assert prof.kernel_time == sin.time


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_not_profiled():
    x = ft.ones(3)
    child = None
    with profile() as prof:
        x.sin()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                x.cos()
                prof.__exit__()
                with profile() as own:
                    x.exp()
                status = 0 if (ops(prof), ops(own)) == ([], ["exp"]) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    assert ops(prof) == ["sin"]


def test_nested_profiles():
    x = ft.ones(3)
    with profile() as outer:
        x.sin()
        with profile() as inner:
            x.cos()
        x.exp()
    assert ops(inner) == ["cos"]
    assert ops(outer) == ["sin", "cos", "exp"]


def test_once_only():
    prof = profile()
    with pytest.raises(RuntimeError, match="finished"):
        prof.events()
    with prof:
        pass
    with pytest.raises(RuntimeError, match="has not been used"), prof:
        pass


# ---- compiled ----


def test_instructions_of_a_program():
    f = ft.compile(lambda x, w: ((x @ w) * 2 + 1).tanh().sum())
    x, w = ft.ones(6, 4), ft.ones(4, 5)
    f(x, w)
    with profile() as prof:
        expected = f(x, w)
    assert prof.key_averages()  # nothing is computed lazily from freed memory
    (root,) = prof.roots()
    assert root.kind == "program"
    assert [e.function for e in root.children] == ["matmul", "fused", "reduce"]
    matmul, fused, _ = root.children
    assert [e.instruction for e in root.children] == [0, 1, 2]
    assert all(e.program == root.program for e in root.children)
    assert matmul.input_shapes == ((6, 4), (4, 5)) and matmul.flops == 2 * 6 * 4 * 5
    assert fused.flops == 3 * 30
    assert expected.item() == pytest.approx(30 * numpy.tanh(9.0))


def test_staging_makes_no_events():
    f = ft.compile(lambda x: x.sin().exp())
    with profile() as prof:
        f(ft.ones(3))
    (program,) = [e for e in prof.events() if e.kind == "program"]
    assert [e.function for e in program.children] == ["fused"]
    assert not [e for e in prof.events() if e.kind == "op" and e.name in ("sin", "exp")]


def test_compiled_backward():
    f = ft.compile(lambda x: (x @ x).sum())
    x = ft.ones(3, 3, requires_grad=True)
    f(x)
    with profile() as prof:
        f(x).backward()
    assert len([e for e in prof.events() if e.kind == "program"]) == 2
    assert [e.name for e in prof.events() if e.kind == "instruction"].count("matmul") == 3


# ---- ranges and functions ----


def test_ranges_nest():
    x = ft.ones(3)

    @record_function("decorated")
    def f():
        return x.cos()

    with profile() as prof, record_function("outer"):
        with record_function("inner"):
            x.sin()
        f()
    (outer,) = prof.roots()
    assert [e.name for e in outer.children] == ["inner", "decorated"]
    assert [[c.name for c in e.children] for e in outer.children] == [["sin"], ["cos"]]
    assert outer.self_time <= outer.time and outer.children[0].parent is outer


def test_ranges_of_nested_calls_and_errors():
    mark = record_function("mark")

    def f(n):
        with mark:
            if n == 0:
                raise KeyError
            f(n - 1)

    with profile() as prof, pytest.raises(KeyError):
        f(2)
    assert [e.name for e in prof.events()] == ["mark"] * 3
    assert prof.roots()[0].children[0].children[0].children == []


def test_range_without_a_profiler():
    with record_function("alone"):
        ft.ones(2)


def test_range_that_began_before():
    x = ft.ones(2)
    with record_function("before"), profile() as prof:
        x.sin()
    assert [e.name for e in prof.events()] == ["sin"]


class Halver(nn.Module):
    def forward(self, x):
        return x.mul(0.5)


def test_functions():
    def helper(x):
        return x.sin()

    model = Halver()
    with profile(with_stack=True) as prof:
        helper(ft.ones(2))
        model(ft.ones(2))
    functions = {e.name for e in prof.events() if e.kind == "function"}
    assert {"helper", "Halver.forward"} <= functions
    assert not {"_cffi", "mul", "dispatch"} & functions
    assert event(prof, "sin").parent is event(prof, "helper")


# ---- memory ----


def test_memory_timeline():
    with profile() as prof:
        x = ft.ones(1000)
        y = x.exp()
        del y
        z = x.sin()
    start = prof.memory_timeline()[0][1]
    times, allocated = zip(*prof.memory_timeline(), strict=True)
    assert list(times) == sorted(times)
    assert max(allocated) - start == 2 * 4096  # the allocator's sizes; y was gone before z
    assert event(prof, "exp").new_bytes == 4000
    assert z.numel() == 1000


def test_events_keep_nothing_alive():
    gc.collect()  # what earlier tests left must not go in between
    before = ft.memory_allocated()
    with profile() as prof:
        ft.ones(1000).exp()
    assert ft.memory_allocated() == before and prof.events()
