"""What cannot be written down as a program says where it stands and what to do instead."""

from __future__ import annotations

import importlib
import pickle
import sys

import numpy
import pytest

import functorch_like as ft
import nn
from cbackend import lib
from functorch_like.testing import assert_close

UNWRITABLE = {
    "print": lambda x: print(x),
    "text": lambda x: str(x.sum()),
    "f-string": lambda x: f"{x}",
    "format": lambda x: f"{x.sum():.3f}",
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: numpy.asarray(x),
    "ufunc": lambda x: numpy.sin(x),
    "tolist": lambda x: x.tolist(),
    "address": lambda x: x.data_ptr(),
    "dlpack": lambda x: x.__dlpack__(),
    "pickle": lambda x: pickle.dumps(x),
}


@pytest.mark.parametrize("name", UNWRITABLE)
@pytest.mark.parametrize(
    "transform", [lambda f: f, ft.vmap, ft.grad], ids=["plain", "vmap", "grad"]
)
def test_names_the_line_and_the_way_out(name, transform):
    read = UNWRITABLE[name]

    def f(x):
        read(x * 2)
        return x.sum()

    line = read.__code__.co_firstlineno
    with pytest.raises(ft.TraceError, match=rf"test_effects.py:{line}\).*callback\(") as caught:
        ft.compile(transform(f))(ft.ones(3) if transform is not ft.vmap else ft.ones(2, 3))
    assert "being compiled" in str(caught.value)


def test_shapes_from_values_name_the_line():
    def f(x):
        return x[x > 0]

    line = f.__code__.co_firstlineno + 1
    with pytest.raises(ft.TraceError, match=rf"nonzero.*test_effects.py:{line}"):
        ft.compile(f)(ft.ones(3))


def test_outside_of_compile_tracers_can_be_looked_at(capsys):
    ft.vmap(lambda x: (print(x), x)[1])(ft.ones(2))
    assert "Traced(tensor([1., 1.]), mapped over dim 0" in capsys.readouterr().out
    seen = []
    ft.compile(lambda x: (seen.append(repr(x)), x)[1])(ft.ones(2))  # for debuggers
    assert seen == ["Traced(shape=[2], within compile)"]


def test_leaked_tracers_can_be_printed():
    kept = []
    ft.compile(lambda x: (kept.append(x * 2), x)[1])(ft.ones(2))
    assert "Traced" in str(kept[0])
    with pytest.raises(ft.TraceError, match="finished compile"):
        kept[0] + 1


def test_counting_lanes_does_not_mind(capsys):
    f = ft.vmap(lambda x: (print(x), x * 2)[1], chunk_size="auto")
    assert f(ft.ones(5)).shape == (5,)
    assert "mapped over dim 0" in capsys.readouterr().out


def test_learning_rates_that_the_function_changes():
    """A rate is read before a run: one that changes during the run would be the last one always."""
    model = nn.Linear(2, 1)
    optimizer = nn.optim.SGD(model.parameters(), lr=1.0)

    @ft.compile
    def two_steps(x):
        for lr in (1.0, 0.5):
            optimizer.param_groups[0]["lr"] = lr
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

    with pytest.raises(ft.TraceError, match=r"changed from 1\.0 to 0\.5"):
        two_steps(ft.ones(3, 2))

    @ft.compile
    def of_its_own(w):
        w = w.clone().requires_grad_()
        inner = nn.optim.Adam([w], lr=1.0)
        for lr in (1.0, 0.25):
            inner.param_groups[0]["lr"] = lr
            inner.zero_grad()
            w.sum().backward()
            inner.step()
        return w.detach()

    assert_close(of_its_own(ft.zeros(2)), ft.full((2,), -1.25))
    assert_close(of_its_own(ft.zeros(2)), ft.full((2,), -1.25))


@pytest.mark.parametrize("module", ["stage", "rewriting"])
def test_interrupts_while_staging(module, monkeypatch):
    """Ctrl-C may come right after a call: what it has begun is ended, and tensors have memory."""
    library = importlib.import_module("functorch_like.staging." + module)

    class Interrupted:
        def __getattr__(self, name):
            return getattr(lib, name)

        def cb_staging_begin(self):
            lib.cb_staging_begin()
            raise KeyboardInterrupt

    def f(x):
        return ft.cat([(x * 2)[:2], (x * 2)[2:]]).reshape(4).reshape(2, 2) + 0

    with monkeypatch.context() as patch:
        patch.setattr(library, "lib", Interrupted())
        try:
            ft.compile(ft.hessian(lambda x: (f(x) ** 3).sum()))(ft.ones(4))
        except KeyboardInterrupt:
            pass
        else:
            assert module == "rewriting"
    assert ft.ones(2).tolist() == [1, 1]
    assert ft.compile(f)(ft.ones(4)).tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("call", ["cb_program_constant", "cb_program_end"])
def test_interrupts_while_a_program_is_made(call, monkeypatch):
    """The thread stops recording, though the traceback keeps the program alive."""
    library = importlib.import_module("functorch_like.staging.program")

    class Interrupted:
        def __getattr__(self, name):
            if name == call:
                raise KeyboardInterrupt
            return getattr(lib, name)

    f = ft.compile(lambda x: x @ ft.ones(2, 2))
    with monkeypatch.context() as patch:
        patch.setattr(library, "lib", Interrupted())
        try:
            f(ft.ones(2))
        except KeyboardInterrupt as error:
            kept = error
    assert kept.__traceback__ is not None
    assert ft.ones(2).tolist() == [1, 1]
    assert f(ft.ones(2)).tolist() == [2, 2]


def test_interrupts_at_any_instruction_that_makes_a_program():
    """The first instructions of a program's frame, one after the other."""
    program = importlib.import_module("functorch_like.staging.program").Program
    code, count, at = program.__init__.__code__, 0, 0

    def interrupt(frame, event, _arg):
        nonlocal count
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        if event == "opcode" and count == at:
            raise KeyboardInterrupt
        return interrupt

    before = sys.gettrace()
    for at in range(1, 400, 3):
        f, count = ft.compile(lambda x: x @ ft.ones(2, 2)), 0
        sys.settrace(interrupt)
        try:
            f(ft.ones(2))
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert ft.ones(2).tolist() == [1, 1], at
        assert f(ft.ones(2)).tolist() == [2, 2], at
