"""Where a newcomer from torch or NumPy may be surprised: what happens, and what to write instead.
All of it is meant."""

import copy

import numpy as np
import pytest

import functorch_like as ft


def test_the_branch_of_where_not_taken_has_no_gradient():
    """A zero cotangent stays zero through an infinite slope; torch and JAX give nan here."""
    x = ft.tensor([0.0, 4.0])
    for f, slope in ((ft.sqrt, 0.25), (ft.log, 0.25), (ft.reciprocal, -0.0625)):
        masked = lambda x, f=f: ft.where(x > 0, f(x), 0.0).sum()  # noqa: E731
        assert ft.grad(masked)(x).tolist() == [0, slope]
        assert ft.jacfwd(masked)(x).tolist() == [0, slope]
        assert ft.hessian(masked)(x)[0].tolist() == [0, 0]


def test_transformed_functions_do_not_write_to_their_arguments():
    """In place on an argument is a matter of the function; torch.func.vmap writes to the caller's
    tensor."""
    x = ft.ones(2)

    def f(x):
        x += 1
        return x.sum()

    assert ft.grad(f)(x).tolist() == [1, 1] and ft.vmap(f)(x).tolist() == [2, 2]
    assert x.tolist() == [1, 1]
    assert f(x).item() == 4 and x.tolist() == [2, 2]  # a plain call does write


def test_counters_outside_of_a_transform_cannot_be_written():
    """A tensor captured from outside is read-only under a transform: return the new value
    instead."""
    count = ft.zeros(())

    def f(x):
        count.add_(1)
        return x.sum()

    with pytest.raises(ft.TraceError, match="captured from outside"):
        ft.grad(f)(ft.ones(2))
    _, new_count = ft.grad(lambda x: (x.sum(), count + 1), has_aux=True)(ft.ones(2))
    assert new_count.item() == 1


def test_recorded_in_place_writes_make_a_new_value():
    """On the tape, writing binds the tensor to a new value. Names, views and gradients agree with
    torch; what torch calls
    an error (a saved tensor overwritten) just works; but an alias made by detach() or numpy()
    keeps the old value."""
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    alias, view = y.detach(), y[0]
    z = y * y
    y.mul_(10)
    assert y.tolist() == [10, 20] and view.item() == 10  # views follow
    assert alias.tolist() == [1, 2]  # detached aliases do not; take detach() after the write
    assert y.detach().tolist() == [10, 20]
    z.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_a_buffer_with_a_detached_alias_cannot_take_a_recorded_value():
    """The alias could not follow. Write to a clone, or make the alias later."""
    buffer, w = ft.zeros(2), ft.tensor(3.0, requires_grad=True)
    alias = buffer.detach()
    with pytest.raises(ft.GradError, match=r"clone\(\)"):
        buffer[0] = w
    assert alias.tolist() == [0, 0]
    mine = buffer.clone()
    mine[0] = w
    assert mine.requires_grad and buffer.tolist() == [0, 0]


def test_writes_under_no_grad_go_to_memory_and_are_noticed():
    """As in torch: what the backward pass needs was overwritten. Write to a clone."""
    x = ft.tensor(2.0, requires_grad=True)
    y = x * 1
    z = y * y
    with ft.no_grad():
        y.add_(1)
    with pytest.raises(ft.GradError, match="mul"):
        z.backward()


def test_data_is_watched_too():
    """Writes through .data count as writes (torch lets them pass, and the gradient is wrong
    there)."""
    x = ft.tensor(2.0, requires_grad=True)
    y = x * 1
    z = y * y
    y.data.add_(1)
    with pytest.raises(ft.GradError):
        z.backward()


def test_replacing_data_changes_what_was_saved():
    """As in torch, `p.data = other` is not a write but an exchange: an older graph sees the new
    numbers."""
    p = ft.tensor(2.0, requires_grad=True)
    y = p * p
    p.data = ft.tensor(10.0)
    y.backward()
    assert p.grad.item() == 20
    p = ft.tensor(2.0, requires_grad=True)
    y = p * p
    with ft.no_grad():
        p.copy_(ft.tensor(10.0))  # this one is noticed
    with pytest.raises(ft.GradError):
        y.backward()


def test_gradients_of_leaves_have_memory_of_their_own():
    a, b = ft.ones(2, requires_grad=True), ft.ones(2, requires_grad=True)
    (a + b).sum().backward()
    a.grad.mul_(100)
    assert b.grad.tolist() == [1, 1]


def test_gradients_from_functions_may_share_memory():
    """grad and autograd.grad hand over what they have: clone() before writing to one of several."""
    a, b = ft.ones(2), ft.ones(2)
    ga, gb = ft.grad(lambda a, b: (a + b).sum(), (0, 1))(a, b)
    ga = ga.clone()
    ga.mul_(100)
    assert gb.tolist() == [1, 1]


def test_results_may_be_the_arguments():
    """reshape, contiguous, to, float return the tensor itself where nothing has to change: clone()
    for a copy."""
    x = ft.ones(2)
    assert x.to(ft.float32) is x and x.contiguous() is x and x.float() is x
    x.reshape(2).add_(1)
    assert x.tolist() == [2, 2]
    x.clone().add_(1)
    assert x.tolist() == [2, 2]


def test_reshape_copies_when_there_is_no_view():
    """view() says so instead."""
    x = ft.zeros(2, 3)
    x.t().reshape(6).add_(1)
    assert x.sum().item() == 0
    with pytest.raises(ft.ShapeError, match="reshape"):
        x.t().view(6)


def test_equality_of_tensors_is_elementwise_and_hash_is_identity():
    x, y = ft.ones(2), ft.ones(2)
    assert (x == y).tolist() == [True, True] and len({x, y}) == 2
    with pytest.raises(ValueError, match=r"\.all\(\)"):
        bool(x == y)
    assert (x == y).all()


def test_integers_divide_to_floats_and_floor_towards_minus_infinity():
    assert (ft.tensor(7) / 2).item() == 3.5 and (ft.tensor(-7) // 2).item() == -4
    assert (ft.tensor(-7) % 3).item() == 2 and ft.fmod(ft.tensor(-7), ft.tensor(3)).item() == -1


def test_python_numbers_do_not_widen():
    """A Python float leaves float32 alone; a NumPy number does as well; a float64 tensor of one
    dimension widens."""
    x = ft.ones(2)
    assert (x * 2.0).dtype is ft.float32 and (x * np.float64(2)).dtype is ft.float32
    assert (x * ft.tensor(2.0, dtype=ft.float64)).dtype is ft.float32  # 0-d: weak, as in torch
    assert (x * ft.ones(2, dtype=ft.float64)).dtype is ft.float64


def test_var_and_std_are_unbiased():
    """As in torch, not as in NumPy."""
    x = ft.tensor([1.0, 2.0, 3.0])
    assert x.var().item() == 1 and x.var(correction=0).item() == pytest.approx(2 / 3)
    assert np.var([1.0, 2.0, 3.0]) == pytest.approx(2 / 3)


def test_sizes_print_without_torch():
    assert repr(ft.zeros(2, 3).shape) == "Size([2, 3])" and ft.zeros(2, 3).shape == (2, 3)
    assert repr(ft.zeros(1, dtype=ft.float64)) == "tensor([0.], dtype=float64)"


def test_vmap_draws_a_number_for_each_lane():
    """By default (torch refuses by default): dropout inside vmap(grad) just works."""
    y = ft.vmap(lambda x: x + ft.rand(()))(ft.zeros(50))
    assert len(set(y.tolist())) > 40
    same = ft.vmap(lambda x: x + ft.rand(()), randomness="same")(ft.zeros(50))
    assert len(set(same.tolist())) == 1


def test_lanes_that_disagree_are_run_apart():
    """`if` on a mapped value runs the function once for each group of lanes that agree: it must be
    pure, and its results of one shape."""
    calls = []

    def f(x):
        calls.append(None)
        return x if x > 0 else -x

    assert ft.vmap(f)(ft.tensor([1.0, -1.0, 2.0])).tolist() == [1, 1, 2]
    assert len(calls) == 3
    with pytest.raises(ft.TraceError, match="one shape"):
        ft.vmap(lambda x: ft.zeros(2) if x > 0 else ft.zeros(3))(ft.tensor([1.0, -1.0]))


def test_tracers_are_of_their_call():
    """Storing one outside is an error at its next use, which names the line of the transform.
    Return it instead."""
    kept = []

    def f(x):
        kept.append(x * 2)
        return x.sum()

    ft.grad(f)(ft.ones(2))
    with pytest.raises(ft.TraceError, match=r"test_surprises\.py:\d+"):
        kept[0] + 1
    _, doubled = ft.grad(lambda x: (x.sum(), x * 2), has_aux=True)(ft.ones(2))
    assert (doubled + 1).tolist() == [3, 3]


def test_numpy_functions_take_tensors_but_leave_the_graph():
    """np.sin(x) is a NumPy result; ft.sin(x) one that can be differentiated. With requires_grad
    NumPy is refused."""
    assert isinstance(np.sin(ft.ones(2)), np.ndarray) and isinstance(
        np.ones(2) * ft.ones(2), ft.Tensor
    )
    with pytest.raises(ft.GradError, match="detach"):
        np.sin(ft.ones(2, requires_grad=True))


def test_copies():
    """copy.copy shares memory, deepcopy and clone do not; only clone is recorded."""
    x = ft.ones(2, requires_grad=True)
    assert copy.copy(x).data_ptr() == x.data_ptr() != copy.deepcopy(x).data_ptr()
    assert x.clone().grad_fn is not None and copy.deepcopy(x).is_leaf


def test_repeated_indices_are_written_once():
    """x[i] += 1 reads, adds and writes: a place named twice gets 1. index_add_ adds every time."""
    x, i = ft.zeros(2), ft.tensor([0, 0])
    x[i] += 1
    assert x.tolist() == [1, 0]
    x.index_add_(0, i, ft.ones(2))
    assert x.tolist() == [3, 0]


def test_gather_counts_negative_indices_from_the_end():
    """As indexing does; torch refuses them here."""
    assert ft.tensor([1, 2, 3]).gather(0, ft.tensor([-1])).tolist() == [3]
