"""callback(): Python code in the middle of tensors, eagerly, mapped and in compiled programs."""

from __future__ import annotations

import json
import struct
import threading
import traceback
from pathlib import Path

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close

CALLS = Path(__file__).parents[2] / "cbackend" / "calls.py"


def equal(actual, expected):
    assert numpy.array_equal(actual.numpy(), expected.numpy())


def both(f):
    return pytest.mark.parametrize("wrap", [lambda f: f, ft.compile], ids=["eager", "compiled"])(f)


def median(x, method="sequential", ordered=False):
    like = ft.zeros(x.shape[:-1], dtype=x.dtype)
    return ft.callback(
        lambda x: numpy.median(x.numpy(), -1), like, x, ordered=ordered, vmap_method=method
    )


@both
def test_values(wrap):
    f = wrap(lambda x: median(x * 2) + 1)
    for _ in range(3):
        x = ft.randn(4, 5)
        equal(f(x), ft.tensor(numpy.median(x.numpy() * 2, -1) + 1))


@both
def test_trees_keywords_and_constants(wrap):
    def split(pair, *, names, scale):
        return {"sum": pair[0] + pair[1], "count": len(names) * scale}

    @wrap
    def f(x, y):
        like = {"sum": ft.zeros(3), "count": ft.tensor(0)}
        return ft.callback(split, like, (x, y), names=["a", "b"], scale=3)

    out = f(ft.ones(3), ft.full((3,), 2.0))
    equal(out["sum"], ft.full((3,), 3.0))
    assert out["count"].item() == 6 and out["count"].dtype is ft.int64


def test_runs_once_a_call_in_order():
    seen = []

    def note(name):
        def fn(*xs):
            seen.append((name, [x.item() for x in xs]))

        return fn

    @ft.compile
    def f(x):
        ft.callback(note("start"), None)
        y = x.exp()
        ft.callback(note("y"), None, y.sum())
        unused = ft.callback(lambda: 1 / 0, ft.tensor(0.0), ordered=False)
        del unused
        ft.callback(note("x"), None, x.sum())
        return y

    f(ft.zeros(2))
    assert seen == [("start", []), ("y", [2.0]), ("x", [0.0])]
    f(ft.zeros(2))
    assert len(seen) == 6 and len(f.explain().splitlines()) == 1


def test_in_a_training_step():
    w = ft.ones(2, requires_grad=True)
    seen = []

    @ft.compile
    def step(x):
        w.grad = None
        loss = (w * x).sum()
        ft.callback(lambda loss: seen.append(loss.item()), None, loss)
        loss.backward()
        with ft.no_grad():
            w.sub_(w.grad)
        return loss.detach()

    assert [step(ft.ones(2)).item() for _ in range(3)] == [2.0, 0.0, -2.0] == seen


@both
def test_arguments_may_be_kept(wrap):
    kept = []

    @wrap
    def f(x):
        y = x * 2
        ft.callback(kept.append, None, y)
        return y.exp() + 1

    for k in range(3):
        f(ft.full((1000,), float(k)))
    assert [t[0].item() for t in kept] == [0.0, 2.0, 4.0]


@both
@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_vmap(wrap, method):
    shapes = []

    def add(x, y):
        shapes.append((tuple(x.shape), tuple(y.shape)))
        return x.numpy() + y.numpy()

    def one(x, y):
        return ft.callback(add, ft.zeros(3), x, y, vmap_method=method)

    x, y = ft.randn(2, 3), ft.randn(3)
    equal(wrap(ft.vmap(one, (0, None)))(x, y), x + y)
    expected = {
        "sequential": [((3,), (3,))] * 2,
        "expand_dims": [((2, 3), (1, 3))],
        "broadcast_all": [((2, 3), (2, 3))],
    }
    assert shapes == expected[method]
    nested = ft.vmap(ft.vmap(one, (0, None)), (None, 0))
    equal(wrap(nested)(x, ft.stack([y, y + 1])), ft.stack([x + y, x + (y + 1)]))
    equal(wrap(ft.vmap(lambda x: one(y, y) + x))(x), x + y + y)


def test_vmap_without_lanes():
    assert ft.vmap(median)(ft.ones(0, 5)).shape == (0,)


@both
def test_gradients(wrap):
    x = ft.randn(5)
    with pytest.raises(ft.GradError, match=r"callback: expected a derivative rule.*custom_vjp"):
        wrap(ft.grad(median))(x)
    with pytest.raises(ft.GradError, match="none for <lambda>"):
        wrap(lambda x: ft.jvp(median, (x,), (x,)))(x)
    leaf = x.clone().requires_grad_()
    out = wrap(median)(leaf)  # nobody needs the gradient
    with pytest.raises(ft.GradError, match="callback"):
        out.backward()
    equal(wrap(ft.grad(lambda x: median(x.detach()) * x.sum()))(x), median(x).expand(5))

    @ft.custom_vjp
    def sine(x):
        return ft.callback(lambda x: numpy.sin(x.numpy()), x, x)

    def forward(x):
        return sine(x), x

    def backward(x, ct):
        return (ct * ft.callback(lambda x: numpy.cos(x.numpy()), x, x),)

    sine.defvjp(forward, backward)
    assert_close(wrap(ft.vmap(ft.grad(sine)))(x), x.cos())
    out = wrap(sine)(leaf).sum()
    out.backward()
    assert_close(leaf.grad, x.cos())


def test_effects_of_the_backward_pass():
    seen = []

    @ft.custom_vjp
    def watched(x):
        return x * 2

    def backward(_, ct):
        ft.callback(lambda ct: seen.append(ct.sum().item()), None, ct)
        return (ct * 2,)

    watched.defvjp(lambda x: (watched(x), None), backward)
    x = ft.ones(3, requires_grad=True)
    f = ft.compile(lambda x: watched(x).sum())
    for k in range(1, 3):
        f(x).backward()
        assert seen == [3.0] * k
        equal(x.grad, ft.full((3,), 2.0 * k))


@both
def test_exceptions_come_out_as_they_were(wrap):
    w = ft.zeros(2)

    class Stop(Exception):
        pass

    def stop(x):
        if x.sum().item() > 0:
            raise Stop("here", 3)
        return x

    @wrap
    def f(x):
        y = ft.callback(stop, x, x * 1.5)
        w.add_(y)
        return y

    f(ft.zeros(2))
    with pytest.raises(Stop) as caught:
        f(ft.ones(2))
    assert caught.value.args == ("here", 3)
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names[-1] == "stop" and names[0].startswith("test_")
    equal(w, ft.zeros(2))
    equal(f(ft.full((2,), -1.0)), ft.full((2,), -1.5))


def test_interrupts_come_out():
    def interrupt():
        raise KeyboardInterrupt

    f = ft.compile(lambda x: (ft.callback(interrupt, None), x + 1)[1])
    with pytest.raises(KeyboardInterrupt):
        f(ft.ones(2))


@both
def test_bad_results(wrap):
    x = ft.ones(3)

    def f(made, like):
        return wrap(lambda x: ft.callback(lambda x: made, like, x))(x)

    with pytest.raises(ft.ShapeError, match=r"a result of shape \[3\].*got \[2\]"):
        f(ft.ones(2), x)
    with pytest.raises(ft.DTypeError, match="a result of dtype int64, got float32"):
        f(ft.ones(3), ft.ones(3, dtype=ft.int64))
    with pytest.raises(ValueError, match="structure"):
        f((x, x), x)
    with pytest.raises(ValueError, match="structure"):
        f(None, x)
    equal(f(numpy.ones(3), x), x)  # float64 is brought to float32


def test_bad_arguments():
    with pytest.raises(ValueError, match="a vmap_method out of"):
        ft.callback(print, None, vmap_method="all")
    with pytest.raises(TypeError, match="result_like"):
        ft.callback(print, "text")


def test_guards_hold_before_effects_happen():
    seen = []
    total = ft.zeros(())

    @ft.compile
    def f(x):
        ft.callback(lambda: seen.append("start"), None)
        total.add_(1.0)
        if x.sum() > 0:
            ft.callback(lambda: seen.append("positive"), None)
            return x
        return -x

    for k, x in enumerate([ft.ones(2), -ft.ones(2), ft.ones(2), -ft.ones(2)], 1):
        equal(f(x), ft.ones(2))
        assert total.item() == k
    assert seen == ["start", "positive", "start", "start", "positive", "start"]
    assert len(f.explain().splitlines()) == 2


def test_python_reads_results_of_pure_callbacks_only():
    def f(x, ordered):
        if ft.callback(lambda x: x.sum(), ft.tensor(0.0), x, ordered=ordered) > 0:
            return x
        return -x

    pure = ft.compile(lambda x: f(x, False))
    equal(pure(ft.ones(2)), ft.ones(2))
    equal(pure(-ft.ones(2)), ft.ones(2))
    with pytest.raises(ft.TraceError, match="do not depend on ordered callbacks"):
        ft.compile(lambda x: f(x, True))(ft.ones(2))


def test_random_state_and_transforms_inside():
    def inner(x):
        return ft.grad(lambda x: (x**2).sum())(x) + ft.rand(2)

    f = ft.compile(lambda x: ft.callback(inner, x, x))
    ft.manual_seed(3)
    actual = f(ft.ones(2))
    ft.manual_seed(3)
    equal(actual, inner(ft.ones(2)))


def test_compiled_functions_inside():
    inner = ft.compile(lambda x: ft.callback(lambda x: x * 2, x, x) + 1)
    f = ft.compile(lambda x: ft.callback(inner, x, x))
    equal(f(ft.ones(2)), ft.full((2,), 3.0))


def test_threads():
    f = ft.compile(lambda x: ft.callback(lambda x: x + threading.get_ident() % 97, x, x))
    f(ft.zeros(2))
    wrong = []

    def run():
        for _ in range(50):
            if f(ft.zeros(2))[0].item() != threading.get_ident() % 97:
                wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_not_in_files(tmp_path):
    with pytest.raises(ft.TraceError, match="callback median, which is Python code"):
        ft.export(
            lambda x: ft.callback(numpy.median, ft.tensor(0.0), x),
            (ft.ones(3),),
            tmp_path / "f.safetensors",
        )


@pytest.mark.skipif(not CALLS.exists(), reason="needs the source tree")
def test_files_cannot_call_python(tmp_path):
    """A function of the host is refused, however the file came to name one."""
    source = (CALLS).read_text(encoding="utf-8")
    calls = {"__name__": "calls", "__file__": str(CALLS)}
    exec(compile(source, "calls.py", "exec"), calls)
    declared = calls["functions"](calls["HEADER"].read_text(encoding="utf-8"))
    (host,) = [f for f in declared if f.name == "cb_host_call"]
    text = ", ".join(f"{p.type} {p.name}" for p in host.parameters)
    path = tmp_path / "f.safetensors"
    ft.export(lambda x: x.exp(), (ft.ones(2),), path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    notes = header["__metadata__"]
    functions, rest_of_names = notes["program.names"].split("|", 1)
    assert functions.startswith("cb_unary(")
    notes["program.names"] = f"{host.name}({text}) -> {host.results}|{rest_of_names}"
    changed = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])
    with pytest.raises(ft.KernelError, match="the function cb_host_call"):
        ft.load_program(path)


def test_dtypes_and_layouts():
    for dtype in (ft.bfloat16, ft.float16, ft.int8, ft.bool, ft.complex64):
        x = ft.ones(3, 4).to(dtype).t()
        equal(ft.compile(lambda x: ft.callback(lambda x: x, x, x))(x).float(), x.float())
    assert ft.callback(print, ft.ones(2), ft.empty(3, device="meta")).is_meta


def test_the_graph_shows_it():
    text = str(ft.make_graph(lambda x: ft.callback(lambda x: x, x, x) + 1)(ft.ones(2)))
    assert "callback <lambda>(" in text
