"""Memory statistics, threads, fork: what the process around the tensors sees."""

import gc
import os
import threading

import numpy as np
import pytest

import functorch_like as ft


@pytest.fixture
def no_gc():
    """Reference counting alone must do: the collector is off."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_allocated_goes_up_and_back():
    start = ft.memory_allocated()
    x = ft.zeros(1000)
    assert start + 4000 <= ft.memory_allocated() <= start + 8192
    y = x[10:]
    del x
    assert ft.memory_allocated() > start
    del y
    assert ft.memory_allocated() == start


def test_peak():
    start = ft.memory_allocated()
    ft.reset_peak_memory()
    x = ft.zeros(1 << 20)
    del x
    assert ft.memory_allocated() == start
    assert ft.max_memory_allocated() >= start + (4 << 20)
    ft.reset_peak_memory()
    assert ft.max_memory_allocated() == start


def test_cache():
    x = ft.zeros(1 << 20)
    where = x.data_ptr()
    del x
    assert ft.memory_cached() >= 4 << 20
    assert ft.zeros(1 << 20).data_ptr() == where  # reused
    ft.empty_cache()
    assert ft.memory_cached() == 0


def test_alignment():
    kept = [ft.empty(n) for n in (1, 3, 17, 1000, 100_000)]
    assert all(x.data_ptr() % 64 == 0 for x in kept)


def _step(x, w):
    y = (x @ w).tanh()
    v = y[0]
    v *= 2
    y = ft.stack([y, y.exp()])
    a, _ = y.max(0)
    (a.sum() + y.var()).backward()
    return w.grad


@pytest.mark.parametrize(
    "kind", ["backward", "grad", "vmap", "double backward", "in place", "hooks", "error", "hessian"]
)
def test_no_leaks(no_gc, kind):
    """Allocated memory is the same after every iteration, without the collector: no cycles."""
    x, w = ft.randn(4, 3), ft.randn(3, 3, requires_grad=True)
    plain = w.detach()

    def once():
        if kind == "backward":
            w.grad = None
            _step(x, w)
            w.grad = None
        elif kind == "grad":
            ft.grad(lambda w: (x @ w).tanh().sum())(plain)
        elif kind == "vmap":
            ft.vmap(ft.grad(lambda w, x: (x @ w).tanh().sum()), (None, 0))(plain, x)
        elif kind == "double backward":
            (g,) = ft.autograd.grad((w**3).sum(), w, create_graph=True)
            ft.autograd.grad((g * g).sum(), w)
        elif kind == "in place":
            y = w * 1
            v = y.t()
            v.mul_(w)
            y[0] = 3.0
            b = ft.zeros(3)
            c = b[1:]
            c.copy_(v[0, 1:])
            (v.sum() + b.sum()).backward()
            w.grad = None
        elif kind == "hooks":
            y = w * 2
            y.retain_grad()
            y.register_hook(lambda g: g * 2)
            handle = w.register_hook(lambda g: g)
            after = w.register_post_accumulate_grad_hook(lambda t: None)
            y.sum().backward()
            handle.remove()
            after.remove()
            w.grad = None
        elif kind == "error":
            with pytest.raises(ft.ShapeError):
                ft.grad(lambda w: (x @ w).tanh())(plain)
        else:
            ft.hessian(lambda w: (x[0] @ w).tanh().sum())(plain)

    for _ in range(3):
        once()
    start = ft.memory_allocated()
    for _ in range(1000 if kind in ("backward", "grad") else 30):
        once()
    if kind == "error":
        gc.collect()  # the traceback of an exception holds its frames in a cycle
    assert ft.memory_allocated() == start


def test_graph_is_freed_with_its_results(no_gc):
    w = ft.randn(100, requires_grad=True)
    start = ft.memory_allocated()
    y = (w.exp() * w).sum()
    assert ft.memory_allocated() > start
    del y
    assert ft.memory_allocated() == start


def test_a_hook_on_a_leaf_does_not_keep_it(no_gc):
    start = ft.memory_allocated()
    w = ft.ones(1000, requires_grad=True)
    w.register_post_accumulate_grad_hook(lambda t: None)
    w.register_hook(lambda g: None)
    del w
    assert ft.memory_allocated() == start


def test_long_graphs_are_freed_without_recursion():
    w = ft.ones(1, requires_grad=True)
    y = w
    for _ in range(50_000):
        y = y + w
    y.backward()
    assert w.grad.item() == 50_001
    y = w
    for _ in range(50_000):
        y = y * 1.0
    del y


# ---- threads ----


def _work(n):
    rng = np.random.default_rng(0)
    a = ft.tensor(rng.standard_normal((n, n)).astype(np.float32))
    b = ft.tensor(rng.standard_normal((n, n)))
    return [
        a @ a,
        a.sum(),
        a.sum(0),
        a.sum(1),
        a.exp(),
        b.mean(),
        b.var(),
        a.softmax(1),
        b.cumsum(1),
        a.max(1)[0],
        (a * a + 1).sqrt(),
        b @ b[:, 0],
        a.argmax(),
        a.prod(1),
        ft.stack([a, a]).transpose(0, 1).contiguous(),
        a[a > 0],
        b.sort()[0] if hasattr(b, "sort") else b,
    ]


def test_results_do_not_depend_on_threads():
    one = []
    for threads in (1, 2, 3):
        ft.set_num_threads(threads)
        assert ft.get_num_threads() == threads
        results = [r.numpy().tobytes() for r in _work(700)]
        one = one or results
        assert results == one


def test_random_numbers_do_not_depend_on_threads():
    drawn = []
    for threads in (1, 2):
        ft.set_num_threads(threads)
        ft.manual_seed(3)
        drawn.append(
            [
                ft.randn(300_000).numpy().tobytes(),
                ft.rand(100_001).numpy().tobytes(),
                ft.randperm(1000).tolist(),
            ]
        )
    assert drawn[0] == drawn[1]


def test_bad_thread_counts():
    for bad in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            ft.set_num_threads(bad)


def test_fork():
    """After fork the child computes, in parallel too, and the parent goes on."""
    ft.set_num_threads(2)
    x = ft.arange(3_000_000, dtype=ft.float64)
    m = ft.eye(300) * 2
    total, product = x.sum().item(), (m @ m).sum().item()  # the pool has started
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            w = ft.ones(3, requires_grad=True)
            (w * w).sum().backward()
            right = (
                x.sum().item() == total
                and (m @ m).sum().item() == product
                and w.grad.tolist() == [2, 2, 2]
            )
            right = right and ft.vmap(ft.grad(lambda a: (a * a).sum()))(ft.ones(2, 2)).tolist() == [
                [2, 2],
                [2, 2],
            ]
            os.write(writer, b"right" if right else b"wrong")
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    answer = os.read(reader, 10)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0 and answer == b"right"
    assert x.sum().item() == total


def test_python_threads_do_not_see_each_other():
    """Ops, backward and transforms at once, in four threads."""
    failures = []
    barrier = threading.Barrier(4)

    def check(kind):
        rng = np.random.default_rng(kind)
        a = rng.standard_normal((20, 20))
        x = ft.tensor(a)
        barrier.wait()
        for i in range(60):
            if kind == 0:
                np.testing.assert_allclose((x @ x + i).numpy(), a @ a + i, rtol=1e-9)
                y = ft.zeros(3)
                y[0] = i
                assert y.tolist() == [i, 0, 0]
            elif kind == 1:
                w = ft.tensor(a, requires_grad=True)
                y = w * 1
                y[0] *= 2
                (y * y).sum().backward()
                expected = 2 * a
                expected[0] *= 4
                np.testing.assert_allclose(w.grad.numpy(), expected)
                with ft.no_grad():
                    assert not (w * 2).requires_grad
            elif kind == 2:
                g = ft.grad(lambda x: ft.vmap(lambda r: (r**3).sum())(x).sum())(x)
                np.testing.assert_allclose(g.numpy(), 3 * a**2)
            else:
                h = ft.hessian(lambda v: (v**3).sum())(x[0])
                np.testing.assert_allclose(h.numpy(), np.diag(6 * a[0]))
                try:
                    ft.vmap(lambda r: 1 / 0)(x)
                except ZeroDivisionError:
                    pass
            assert ft.is_grad_enabled()

    def run(kind):
        try:
            check(kind)
        except BaseException as error:
            failures.append((kind, error))
            barrier.abort()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_grad_mode_is_per_thread():
    seen = []
    with ft.no_grad():
        t = threading.Thread(target=lambda: seen.append(ft.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_errors_are_per_thread():
    messages = []

    def fail(n):
        for _ in range(200):
            try:
                ft.ones(n) + ft.ones(n + 5)
            except ft.ShapeError as error:
                if f"[{n}]" not in str(error):
                    messages.append(str(error))

    threads = [threading.Thread(target=fail, args=(n,)) for n in (2, 3, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not messages
