"""Compiled functions that read, leave and clear gradients outside, as they do eagerly."""

import pytest

import functorch_like as ft
import nn


def _both(make, calls):
    """What make() reports after each of its calls, eagerly and compiled."""
    reports = []
    for staged in (False, True):
        step, change, report = make()
        step = ft.compile(step) if staged else step
        reports.append([])
        for k in range(calls):
            step()
            reports[-1].append(report())
            change(k)
    assert reports[0] == reports[1]
    return reports[0]


def _listed(*tensors):
    return [None if t is None else [round(x, 4) for x in t.tolist()] for t in tensors]


def _pair(**options):
    w, v = ft.ones(2, requires_grad=True), ft.full((2,), 3.0, requires_grad=True)
    return w, v, nn.optim.SGD([w, v], lr=0.1, **options)


@pytest.mark.parametrize("ways", ["zero_grad", "assigned", "no_grad"])
def test_a_step_that_clears_its_gradients_at_the_end(ways):
    def make():
        w, v, optimizer = _pair(momentum=0.9)

        def step():
            (w * v * v).sum().backward()
            if ways == "no_grad":
                with ft.no_grad():
                    w.sub_(0.1 * w.grad)
                    w.grad = v.grad = None
            else:
                optimizer.step()
                if ways == "zero_grad":
                    optimizer.zero_grad()
                else:
                    w.grad = v.grad = None

        return step, lambda _: None, lambda: _listed(w, v, w.grad, v.grad)

    assert _both(make, 3)[-1][2:] == [None, None]


def test_gradients_of_a_tensor_that_was_written_before():
    def make():
        w = ft.ones(2, requires_grad=True)

        def step():
            with ft.no_grad():
                w.mul_(0.5)
            (w * w).sum().backward()

        return step, lambda _: None, lambda: _listed(w, w.grad)

    assert _both(make, 3)[-1] == [[0.125, 0.125], [1.75, 1.75]]


def test_gradients_that_come_from_outside():
    def make():
        w, v, optimizer = _pair()

        def change(k):
            optimizer.zero_grad()
            ((w * v if k % 2 else w) * (k + 1)).sum().backward()

        def step():
            nn.utils.clip_grad_norm_([w, v], 2.0)
            optimizer.step()

        return step, change, lambda: _listed(w, v, w.grad, v.grad)

    _both(make, 6)


def test_gradients_that_are_read_of_any_tensor():
    def make():
        plain, w = ft.ones(2), ft.ones(2, requires_grad=True)
        inner = w * 2
        inner.retain_grad()
        total = ft.zeros(2)

        def step():
            for t in (plain, inner):
                total.add_(t.grad if t.grad is not None else 100.0)

        def change(k):
            plain.grad = ft.full((2,), float(k)) if k % 3 else None
            inner.sum().backward(retain_graph=True)

        return step, change, lambda: _listed(total)

    _both(make, 5)


def test_freezing_and_unfreezing():
    def make():
        w, v, optimizer = _pair()

        def step():
            (w * v).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return step, lambda k: w.requires_grad_(k % 3 == 2), lambda: _listed(w, v, w.grad)

    values = _both(make, 7)
    assert values[0] != values[1] and values[1][0] == values[2][0] != values[3][0]


def test_a_frozen_tensor_with_a_gradient():
    def make():
        w, v, optimizer = _pair()
        (w * v).sum().backward()
        w.requires_grad_(False)

        def step():
            (w * v).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return step, lambda _: None, lambda: _listed(w, v, w.grad)

    values = _both(make, 3)
    assert values[0][0] == values[1][0] and values[0][2] is None


def test_programs_are_kept_for_both_ways():
    w, v = ft.ones(2, requires_grad=True), ft.ones(2, requires_grad=True)
    staged = []

    @ft.compile
    def step():
        staged.append(None)
        (w * v).sum().backward()

    for k in range(12):
        w.requires_grad_(k % 2 == 0)
        step()
    assert len(staged) < 6 and w.grad.tolist() == [6, 6] and v.grad.tolist() == [12, 12]


def test_hooks_that_come_and_go():
    def make():
        w, v, _ = _pair()
        handles = []

        def change(k):
            if k % 2:
                handles.pop().remove()
            else:
                handles.append(w.register_hook(lambda g: g * 10))

        return lambda: (w * v).sum().backward(), change, lambda: _listed(w.grad, v.grad)

    assert _both(make, 4)[-1] == [[66.0, 66.0], [4.0, 4.0]]


def test_a_leaf_stays_the_one_that_graphs_lead_to():
    w = ft.ones(2, requires_grad=True)
    y = (w * 3).sum()
    w.requires_grad_(False)
    y.backward(retain_graph=True)
    assert w.grad is None
    w.requires_grad_(True)
    y.backward()
    assert w.grad.tolist() == [3, 3]


def test_a_number_read_of_a_tensor_that_was_written():
    def make():
        layer, x = nn.BatchNorm1d(2, momentum=None), ft.arange(6.0).reshape(3, 2)
        return (
            lambda: layer(x),
            lambda _: x.mul_(2),
            lambda: _listed(layer.running_mean, layer.running_var),
        )

    _both(make, 3)


def test_second_derivatives_where_an_argument_comes_from_a_captured_tensor():
    w = ft.full((3,), 5.0, requires_grad=True)
    product = ft.compile(lambda x: (x * w * w).sum())
    for x in (w * 1, w, ft.full((3,), 5.0, requires_grad=True)):
        (g,) = ft.autograd.grad(product(x), [w], create_graph=True)
        (h,) = ft.autograd.grad(g.sum(), [w])
        apart = x.is_leaf and x is not w
        assert g.tolist() == [50.0 if apart else 75.0] * 3
        assert h.tolist() == [10.0 if apart else 30.0] * 3
        if apart:
            (g,) = ft.autograd.grad(product(x), [w], create_graph=True)
            assert ft.autograd.grad(g.sum(), [x])[0].tolist() == [10.0] * 3


def test_a_captured_result_of_recorded_operations():
    def make():
        w, v, _ = _pair()
        held = {"y": w * 2}
        return (
            lambda: (held["y"] * v).sum().backward(),
            lambda k: held.update(y=w * (k + 3)),
            lambda: _listed(w.grad, v.grad),
        )

    _both(make, 4)
    w, v, _ = _pair()
    y = w * 2
    product = ft.compile(lambda x: (x * y * v).sum())
    product(ft.ones(2)).backward()
    assert _listed(w.grad, v.grad) == [[6.0, 6.0], [2.0, 2.0]]
    y = w * 5
    assert product(ft.ones(2)).item() == 30.0


def test_gradients_that_meet_a_captured_result_and_what_it_was_made_of():
    def gradients(staged):
        w = ft.tensor([1.0, 2.0], requires_grad=True)
        y, (a, b) = w * 2, (w * w).unbind(0)

        def f(x):
            return (x * y * w * y + a * b * b * w).sum()

        f = ft.compile(f) if staged else f
        (g,) = ft.autograd.grad(f(ft.ones(2)), [w], create_graph=True)
        (again,) = ft.autograd.grad(f(ft.ones(2)), [w], retain_graph=True)
        return _listed(g, again, *ft.autograd.grad((g * g).sum(), [w]))

    assert gradients(True) == gradients(False)


@pytest.mark.parametrize("what", ["result", "of a result", "view", "argument"])
def test_recorded_writes_to_tensors_from_outside_are_refused(what):
    w = ft.ones(2, requires_grad=True)
    y, t = w * 2, ft.zeros(2)

    def step(x):
        if what == "result":
            y.mul_(3.0)
        elif what == "of a result":
            t.copy_(w * 3)
        elif what == "view":
            y[:1].zero_()
        else:
            x.mul_(w)
        return (w * y * t * x).sum()

    with pytest.raises(ft.GradError, match=r"expected writes that are not recorded.*no_grad\(\)"):
        ft.compile(step)(ft.ones(2))
    assert _listed(y, t) == [[2.0, 2.0], [0.0, 0.0]]
    assert y.grad_fn is not None and not t.requires_grad


def test_writes_under_no_grad_keep_the_place_in_the_graph():
    def make():
        w = ft.ones(2, requires_grad=True)
        outer = w * 3

        def step():
            y = w * 2
            v = y.view(-1)
            with ft.no_grad():
                v.mul_(3.0)
                outer.add_(1.0)
            (y * y * v).sum().backward()
            (outer * outer).sum().backward(retain_graph=True)

        return step, lambda _: None, lambda: _listed(w, w.grad, outer)

    _both(make, 3)


def test_recorded_writes_leave_detached_aliases_behind():
    def make():
        w = ft.ones(2, requires_grad=True)

        def step():
            h = w * 2
            whole, part = h.detach(), h[1:].detach()
            with ft.no_grad():
                h.add_(1.0)
            h.mul_(w * 3)
            (h * h).sum().backward()
            with ft.no_grad():
                h.zero_()
            w.data.sub_(whole + part)

        return step, lambda _: None, lambda: _listed(w, w.grad)

    _both(make, 3)
