"""Sparse Jacobians and Hessians against dense ones; numbers of passes; nestings."""

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state
from functorch_like.transforms.sparsity import _colours

D = ft.float64


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def written(x):
    y = x * 1
    y[0:2] = x[2:4] ** 2
    return y


# name: (function of 12 numbers, nonzero entries of the pattern)
FUNCTIONS = {
    "band": (lambda x: x[1:] * x[:-1] + x[1:].sin(), 22),
    "diagonal": (lambda x: x.exp() / 3, 12),
    "second differences": (
        lambda x: ft.cat([x[:1], x[2:] - 2 * x[1:-1] + x[:-2], x[-1:]]) ** 2, 32,
    ),
    "dense": (lambda x: x.softmax(0), 144),
    "one row": (lambda x: (x * x).sum().reshape(1), 12),
    "arrow": (lambda x: x * x[0], 23),
    "product": (lambda x: ft.ones(12, 12, dtype=D).tril().triu(-1) @ x.sin(), 23),
    "blocks": (lambda x: x.reshape(3, 4).softmax(1).reshape(-1), 48),
    "both factors": (lambda x: (x.reshape(3, 4) @ x.reshape(3, 4).T).reshape(-1), 9 * 8 - 3 * 4),
    "scan": (lambda x: x.reshape(3, 4).cumsum(1).flip(0).reshape(-1), 30),
    "maximum": (lambda x: x.reshape(3, 4).max(1).values, 3),
    "constant": (lambda x: ft.ones(3, dtype=D), 0),
    "written to": (written, 12),
    "where": (lambda x: ft.where(x > 0, x, x.flip(0)), 24),
    "sorted": (lambda x: x.sort().values, 12),
    "norms": (lambda x: x.reshape(3, 4).norm(dim=1), 12),
    "layer norm": (lambda x: ft.layer_norm(x.reshape(3, 4), (4,)).reshape(-1), 48),
    "floor": (lambda x: x.floor() + x[:1], 12),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_dense(name):
    f, entries = FUNCTIONS[name]
    x = ft.randn(12, dtype=D)
    assert int(ft.jacobian_sparsity(f, x).sum()) == entries
    dense = ft.jacrev(f)(x)
    for mode in (None, "forward", "reverse"):
        sparse = ft.sparse_jacobian(f, mode=mode)(x)
        assert sparse.values.shape == (entries,)
        close(sparse.to_dense(), dense)
        close(sparse.matvec(x), dense @ x)

    def g(x):
        return f(x).sin().sum()

    close(ft.sparse_hessian(g)(x).to_dense(), ft.hessian(g)(x))


def test_layout_is_scipys():
    scipy = pytest.importorskip("scipy.sparse")
    x = ft.randn(12, dtype=D)
    f = FUNCTIONS["second differences"][0]
    m = ft.sparse_jacobian(f)(x)
    theirs = scipy.csr_matrix((m.values.numpy(), m.columns.numpy(), m.rows.numpy()), m.shape)
    np.testing.assert_allclose(theirs.toarray(), ft.jacrev(f)(x).numpy())


def test_a_band_costs_its_width():
    """However long the vector; and an arrow is cheap in one of the modes."""
    columns = [[r for r in (c - 1, c, c + 1) if 0 <= r < 100] for c in range(100)]
    assert max(_colours(columns, 100)) + 1 <= 4
    rows = [[0], *[[0, i] for i in range(1, 50)]]
    assert max(_colours(rows, 50)) + 1 == 50


def test_pattern_given_and_higher_order():
    x = ft.randn(12, dtype=D)
    f = FUNCTIONS["band"][0]
    pattern = ft.jacobian_sparsity(f, x)
    calls = []

    def counted(x):
        calls.append(1)
        return f(x)

    ft.sparse_jacobian(counted, pattern=pattern)(x)
    assert len(calls) <= 2
    with pytest.raises(ft.ShapeError, match="a pattern of shape"):
        ft.sparse_jacobian(f, pattern=pattern[:, :3])(x)
    close(
        ft.grad(lambda x: ft.sparse_jacobian(f)(x).values.sum())(x),
        ft.grad(lambda x: ft.jacrev(f)(x).sum())(x),
    )
    xs = ft.stack([x, x * 2])
    close(
        ft.vmap(lambda x: ft.sparse_jacobian(f)(x).values)(xs)[1],
        ft.sparse_jacobian(f)(x * 2).values,
    )


def test_many_inputs():
    x = ft.randn(1500, dtype=D)
    f = FUNCTIONS["second differences"][0]
    m = ft.sparse_jacobian(f)(x)
    assert m.values.shape == (2 + 3 * 1498,)
    close(m.matvec(x), ft.jvp(f, (x,), (x,))[1])


def test_exceptions_leave_nothing_behind():
    for run in (ft.sparse_jacobian, ft.sparse_hessian):
        with pytest.raises(ZeroDivisionError):
            run(lambda x: x * (1 // 0))(ft.ones(3))
        assert state.trace is None and not active and state.grad
    with pytest.raises(ValueError, match='mode "forward" or "reverse"'):
        ft.sparse_jacobian(lambda x: x, mode="both")
