"""Every differentiable op of the table under the transforms beyond grad, jvp and vmap.

Checkpoints replay it, linearize repeats it, jet and laplacian carry higher orders through it, the
sparsity pattern covers its Jacobian, and a custom function of it has its derivatives.
"""

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.op import TABLE
from functorch_like.testing import kinds_of, samples_of
from functorch_like.transforms.collapsed import second_derivatives

D = ft.float64
OPS = [
    n
    for n in sorted(TABLE)
    if TABLE[n].differentiable and not TABLE[n].random and "float" in kinds_of(TABLE[n])
]


def cases(name):
    """Scalar-argument forms of the op's first samples: a function of one vector, and the vector."""
    op = TABLE[name]
    for args, params in samples_of(op, D)[:3]:
        at = [i for i, a in enumerate(args) if a.dtype is D]
        sizes = [args[i].numel() for i in at]
        if not at or not sum(sizes) or sum(sizes) > 60:
            continue

        def function(x, args=args, params=params, at=at, sizes=sizes):
            call, start = list(args), 0
            for i, size in zip(at, sizes, strict=True):
                call[i] = x[start : start + size].reshape(args[i].shape)
                start += size
            out = op(*call, **params)
            outs = [y for y in (out if isinstance(out, tuple) else (out,)) if y.dtype.is_inexact]
            outs = [ft.view_as_real(y) if y.dtype.is_complex else y for y in outs]
            return ft.cat([y.reshape(-1) for y in outs])

        if function(ft.cat([args[i].reshape(-1) for i in at])).numel():
            yield function, ft.cat([args[i].reshape(-1) for i in at])


def close(a, b, what, tol=1e-7):
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol, err_msg=what
    )


@pytest.mark.parametrize("name", OPS)
def test_first_order(name):
    for f, x in cases(name):
        weights = ft.randn(f(x).shape, dtype=D)

        def loss(x, f=f, weights=weights):
            return (f(x * 1.0) * weights).sum()

        want = ft.grad(loss)(x)
        close(ft.grad(ft.checkpoint(loss))(x), want, "checkpoint")
        p = x.clone().requires_grad_()
        ft.checkpoint(loss)(p).backward()
        close(p.grad, want, "checkpoint on the tape")
        v = ft.randn(x.shape, dtype=D)
        pushed = ft.jvp(f, (x,), (v,))[1]
        close(ft.linearize(f, x)[1](v), pushed, "linearize")
        jacobian = ft.jacrev(f)(x)
        pattern = ft.jacobian_sparsity(f, x)
        missed = (jacobian.abs() > 1e-12) & ~pattern  # rounding is no dependence
        assert not bool(missed.any()), "sparsity"
        close(ft.sparse_jacobian(f)(x).to_dense(), jacobian, "sparse Jacobian")


@pytest.mark.parametrize("name", OPS)
def test_second_order(name):
    for f, x in cases(name):
        v = ft.randn(x.shape, dtype=D)

        def along(f, v=v):
            return lambda x: ft.jvp(f, (x,), (v,))[1]  # noqa: B023

        pushed = along(f)

        def summed(x, pushed=pushed):
            return pushed(x).sum()

        value, (first, second) = ft.jet(f, (x,), ([v, v * 0],))
        close(value, f(x), "jet, value")
        close(first, along(f)(x), "jet, first")
        want = along(along(f))(x)
        close(second, want, "jet, second")
        several = ft.stack([v, v.flip(0)])
        _, firsts, seconds = second_derivatives(f, x, several)
        close(firsts[0], first, "collapsed, first")
        other = v.flip(0)
        close(seconds, want + along(along(f, other), other)(x), "collapsed, second")
        close(
            ft.grad(ft.checkpoint(summed))(x),
            ft.grad(summed)(x),
            "checkpoint of jvp",
        )
