"""Shared by the tests of composites: comparison with torch, and a check under all transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like import tree
from functorch_like.testing import check_grads


def _leaves(result):
    return [y for y in tree.flatten(result)[0] if isinstance(y, ft.Tensor)]


@pytest.fixture
def against_torch():
    """`check(ours, theirs, *operands)`: equal values, dtypes and gradients of floating operands.

    Operands are NumPy arrays; floating ones are differentiated by both.
    """
    torch = pytest.importorskip("torch")

    def flat(result):
        if isinstance(result, torch.Tensor):
            return [result]
        return [y for part in result if part is not None for y in flat(part)]

    def check(ours, theirs, *operands, tol=1e-9, grad=True):
        a = [ft.tensor(x) for x in operands]
        b = [torch.tensor(x) for x in operands]
        floating = [i for i, x in enumerate(operands) if grad and x.dtype.kind == "f"]
        for i in floating:
            a[i].requires_grad_()
            b[i].requires_grad_()
        got, expected = _leaves(ours(*a)), flat(theirs(*b))
        assert len(got) == len(expected)
        for y, z in zip(got, expected, strict=True):
            assert tuple(y.shape) == tuple(z.shape)
            assert str(z.dtype) == f"torch.{y.dtype}"
            np.testing.assert_allclose(
                y.detach().numpy(), z.detach().numpy(), rtol=tol, atol=tol, err_msg="value"
            )
        if not floating:
            return
        rng = np.random.default_rng(1)
        total, total_torch = 0, 0
        for y, z in zip(got, expected, strict=True):
            if z.dtype.is_floating_point and z.requires_grad:
                ct = rng.standard_normal(tuple(z.shape))
                total = total + (y * ft.tensor(ct)).sum()
                total_torch = total_torch + (z * torch.tensor(ct)).sum()
        total.backward()
        total_torch.backward()
        for i in floating:
            g, h = a[i].grad, b[i].grad
            zero = np.zeros(operands[i].shape)  # no gradient, and one of zeros, are the same
            g, h = (zero if x is None else x.numpy() for x in (g, h))
            np.testing.assert_allclose(g, h, rtol=tol, atol=tol, err_msg=f"gradient of operand {i}")

    return check


@pytest.fixture
def transforms():
    """`check(fn, *tensors)`: derivatives of two orders, vmap against a loop, vmap of grad.

    Floating tensors are float64 and differentiated and mapped; others stay as they are.
    """

    def scalar(result):
        return sum((y * y).sum() + y.sum() for y in _leaves(result) if y.dtype.is_inexact)

    def check(fn, *tensors, order=2, rtol=1e-5, atol=1e-6):
        check_grads(fn, tensors, order, rtol=rtol, atol=atol)
        chosen = tuple(i for i, x in enumerate(tensors) if x.dtype.is_inexact)
        lanes = [
            ft.stack([x, x * 0.7 + 0.05, x * 0.3]) if i in chosen else x
            for i, x in enumerate(tensors)
        ]
        dims = tuple(0 if i in chosen else None for i in range(len(tensors)))

        def compare(mapped):
            got = _leaves(ft.vmap(mapped, in_dims=dims)(*lanes))
            for lane in range(3):
                one = [x[lane] if i in chosen else x for i, x in enumerate(lanes)]
                for y, z in zip(got, _leaves(mapped(*one)), strict=True):
                    np.testing.assert_allclose(
                        y[lane].numpy(), z.numpy(), rtol=1e-8, atol=1e-9, err_msg=f"lane {lane}"
                    )

        compare(fn)
        compare(ft.grad(lambda *args: scalar(fn(*args)), argnums=chosen))

    return check
