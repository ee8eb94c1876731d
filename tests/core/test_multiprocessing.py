"""Tensors in memory that several processes have."""

from __future__ import annotations

import gc
import os

import pytest

import functorch_like as ft
import nn
from functorch_like import multiprocessing


def change(x, inbox, outbox):
    x += 1
    view = inbox.get()
    view.mul_(2)
    outbox.put((view, ft.arange(3.0).to(ft.bfloat16)))
    outbox.put(x[1:])
    inbox.get()  # stay until the other side has taken all


def train(model, steps):
    for parameter in model.parameters():
        parameter.detach().sub_(steps)


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_share_what_they_write(method):
    import warnings

    context = multiprocessing.get_context(method)
    inbox, outbox = context.Queue(), context.Queue()
    x, y = ft.zeros(3), ft.arange(6.0).reshape(2, 3).T
    if method == "fork":
        x.share_memory_()  # arguments are not sent: the child is a copy
    process = context.Process(target=change, args=(x, inbox, outbox))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        process.start()
    inbox.put(y)
    z, half = outbox.get(timeout=60)
    assert x.tolist() == [1, 1, 1]
    assert y.tolist() == z.tolist() == [[0, 6], [2, 8], [4, 10]]
    assert half.dtype is ft.bfloat16 and half.tolist() == [0, 1, 2]
    z.zero_()
    assert y.sum().item() == 0
    tail = outbox.get(timeout=60)
    tail.fill_(7)
    assert x.tolist() == [1, 7, 7]
    inbox.put(None)
    process.join(60)
    assert process.exitcode == 0


def test_a_model_trained_by_another_process():
    context = multiprocessing.get_context("spawn")
    model = nn.Linear(2, 2).share_memory()
    before = model.weight.detach().clone()
    process = context.Process(target=train, args=(model, 3))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (model.weight == before - 3).all()
    assert model.weight.requires_grad and model.weight.is_shared()


def test_memory_is_given_back():
    gc.collect()
    before = descriptors()
    x = [ft.ones(1000).share_memory_() for _ in range(20)]
    assert all(one.is_shared() for one in x) and x[0][10:].is_shared()
    del x
    gc.collect()
    assert descriptors() == before


def test_gradients_of_shared_tensors():
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    x.share_memory_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_what_cannot_be_shared():
    with pytest.raises(ft.errors.DeviceError, match="share_memory_"):
        ft.empty(3, device="meta").share_memory_()
    with pytest.raises(ft.errors.TraceError, match="share_memory_"):
        ft.vmap(lambda x: x.share_memory_())(ft.ones(2, 3))
    assert ft.empty(0).share_memory_().is_shared()
