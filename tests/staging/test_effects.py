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


def _aliases():
    """Programs about tensors that share memory: what they read and write, and how they do it."""
    w = ft.arange(6.0).requires_grad_()
    y, t = w * 2, ft.arange(6.0)
    d, e, o, view, late = w.data, y.detach(), t.detach(), t[::2], t.detach()[1:]

    def by_data():
        w.data.mul_(2.0)
        w.data[1:3] = w.data[2:4]
        return (w * w).detach()

    def made_inside():
        z = t * 2
        a = z.detach()
        b = a[1:]
        a.add_(1.0)
        z.mul_(2.0)
        b.sub_(1.0)
        return z + a

    def captured_data():
        before = d + 0
        d.mul_(2.0)
        with ft.no_grad():
            w.add_(1.0)
        d[0] = 7.0
        return before + w.detach() + d

    def of_a_result():
        inside = y[1:]
        e.add_(1.0)
        with ft.no_grad():
            y.mul_(2.0)
        return (y.sum() + e.sum() + inside.sum()).detach()

    def through_a_view_of_a_result():
        inside = y[::2]
        e.mul_(2.0)
        with ft.no_grad():
            inside.add_(inside.sum())
        return (y + e).detach()

    def views_of_aliases():
        inside = late[1:]
        view.add_(1.0)
        o.mul_(2.0)
        return late[:2] + o[1:3] + t[0] + inside[0]

    def strided_view():
        t[0] = view.sum()
        return view + 0

    steps = [
        by_data,
        made_inside,
        captured_data,
        of_a_result,
        through_a_view_of_a_result,
        views_of_aliases,
        strided_view,
    ]
    return steps, (w, y, t, d, e, o, view, late)


@pytest.mark.parametrize("which", range(7))
def test_tensors_that_share_memory(which):
    reports = []
    for staged in (False, True):
        steps, tensors = _aliases()
        step = ft.compile(steps[which]) if staged else steps[which]
        reports.append([[x.tolist() for x in (step(), *tensors)] for _ in range(3)])
    assert reports[0] == reports[1]


def test_another_tensor_in_the_place_of_an_alias():
    t = ft.ones(2)
    held = {"d": t.detach()}
    f = ft.compile(lambda: t.mul_(2.0) + held["d"])
    assert f().tolist() == [4.0, 4.0]
    held["d"] = ft.ones(2)
    assert f().tolist() == [5.0, 5.0]


def test_aliases_that_show_other_elements_are_refused():
    t = ft.ones(4)
    part = t[1:].detach()

    def step():
        t.mul_(2.0)
        return part + 0

    with pytest.raises(ft.TraceError, match="share memory to be views of one"):
        ft.compile(step)()
    assert t.tolist() == [1.0] * 4
