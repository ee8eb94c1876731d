"""Grad modes: as context managers, decorators and functions, nested and in threads."""

import threading

import pytest

import functorch_like as ft


def leaf(*values, dtype=ft.float64):
    return ft.tensor(list(values), dtype=dtype, requires_grad=True)


def test_no_grad():
    x = leaf(1.0)
    with ft.no_grad():
        assert not (x * 2).requires_grad and not ft.is_grad_enabled()
        with ft.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with ft.inference_mode():
        assert not (x * 2).requires_grad
    with ft.inference_mode(False):
        assert (x * 2).requires_grad


def test_modes_are_restored_after_exceptions():
    for mode in (ft.no_grad, ft.inference_mode, lambda: ft.set_grad_enabled(False)):
        with pytest.raises(KeyError), mode():
            raise KeyError
        assert ft.is_grad_enabled()


def test_modes_as_decorators():
    @ft.no_grad()
    def f(x):
        return ft.is_grad_enabled(), x

    @ft.no_grad
    def g():
        return ft.is_grad_enabled()

    @ft.enable_grad()
    def h():
        return ft.is_grad_enabled()

    @ft.set_grad_enabled(False)
    def k():
        return ft.is_grad_enabled()

    assert ft.is_grad_enabled() and f.__name__ == "f"
    assert f(3) == (False, 3) and g() is False and k() is False
    with ft.no_grad():
        assert h() is True and f(1)[0] is False
    assert ft.is_grad_enabled()


def test_modes_as_decorators_recursive_and_failing():
    @ft.no_grad()
    def f(n):
        if n == 0:
            raise KeyError
        f(n - 1)

    with pytest.raises(KeyError):
        f(3)
    assert ft.is_grad_enabled()


def test_generators_switch_the_mode_only_while_they_run():
    @ft.no_grad()
    def f():
        sent = yield ft.is_grad_enabled()
        yield sent, ft.is_grad_enabled()
        return "end"

    it = f()
    assert next(it) is False and ft.is_grad_enabled()
    assert it.send(5) == (5, False) and ft.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(it)
    assert list(f())[-1] == (None, False)


def test_modes_can_be_reentered():
    mode = ft.no_grad()
    with mode:
        with mode:
            assert not ft.is_grad_enabled()
        assert not ft.is_grad_enabled()
    assert ft.is_grad_enabled()


def test_decorated_functions_in_several_threads():
    inside = threading.Barrier(2)
    left = threading.Event()

    @ft.no_grad()
    def f(name):
        inside.wait(10)
        if name == "slow":  # ends after the other one, which was entered from another mode
            left.wait(10)

    def run(name, enabled, seen):
        ft.set_grad_enabled(enabled)
        f(name)
        left.set()
        seen[name] = ft.is_grad_enabled()

    seen = {}
    threads = [
        threading.Thread(target=run, args=a) for a in (("fast", True, seen), ("slow", False, seen))
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert seen == {"fast": True, "slow": False}


def test_set_grad_enabled_can_be_used_again():
    mode = ft.set_grad_enabled(False)
    for _ in range(2):
        with mode:
            assert not ft.is_grad_enabled()
            with mode:
                assert not ft.is_grad_enabled()
            assert not ft.is_grad_enabled()
        assert ft.is_grad_enabled()


def test_set_grad_enabled_as_a_function():
    ft.set_grad_enabled(False)
    assert not ft.is_grad_enabled()
    ft.set_grad_enabled(True)
    assert ft.is_grad_enabled()
    with ft.set_grad_enabled(False):
        assert not ft.is_grad_enabled()
    assert ft.is_grad_enabled()


def test_views_of_leaves_can_be_written_under_no_grad():
    x = leaf(1.0, 2.0)
    with ft.no_grad():
        x[0] = 5.0
        x.mul_(2)
        x[1:] += 1
    assert x.tolist() == [10, 5] and x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [20, 10]
