"""The class behind Tensor that owns the handle: what happens when tensors end."""

import gc
import weakref

import numpy as np
import pytest

import functorch_like as ft
from cbackend import Handle


def in_use():
    gc.collect()
    return ft.memory_allocated()


def test_memory_goes_with_the_tensor():
    before = in_use()
    x = ft.ones(1000)
    y = x[10:20]
    assert in_use() == before + 4096
    del x
    assert in_use() == before + 4096  # the view holds it
    del y
    assert in_use() == before


def test_tensors_in_a_cycle():
    before = in_use()
    x = ft.ones(1000, requires_grad=True)
    x.register_hook(lambda g, x=x: g)
    gone = weakref.ref(x)
    del x
    assert in_use() == before and gone() is None


def test_subclasses_and_tensors_without_a_handle():
    class Named(ft.Tensor):
        pass

    before = in_use()
    t = Named(ft.ones(1000))
    t.name = "weights"
    assert isinstance(t, Handle) and t.shape == (1000,)
    del t
    assert in_use() == before
    empty = object.__new__(ft.Tensor)
    with pytest.raises(AttributeError):
        _ = empty.shape
    del empty


def test_foreign_memory_is_given_back_while_an_exception_is_on_its_way():
    given_back = []

    class Array(np.ndarray):
        def __del__(self):
            given_back.append(True)

    def fails():
        x = ft.from_numpy(np.ones(1000, np.float32).view(Array))
        raise KeyError(f"the exception, not {x.shape}")

    with pytest.raises(KeyError, match="the exception"):
        fails()
    gc.collect()
    assert given_back


def test_shape_of_tracers_and_of_all_ranks():
    for rank in range(7):
        shape = tuple(range(1, rank + 1))
        assert ft.zeros(shape)._shape == shape
    seen = []
    ft.vmap(lambda x: seen.append(x._shape) or x)(ft.zeros(5, 2, 3))
    assert seen == [(2, 3)]
