"""A tour of derivatives: Jacobians both ways, Hessians, products with them, batches, sparse ones.

Every result is checked against a formula or another way to the same number.
"""

import time

from datasets import arguments

import functorch_like as ft
import nn.functional as F


def close(a, b, tolerance=1e-4):
    """Whether two tensors agree, relative to the larger one's largest entry."""
    return a.shape == b.shape and (a - b).abs().max() <= tolerance * (1e-6 + b.abs().max())


def milliseconds(f, *args, repeat=5):
    """The quickest of a few calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        f(*args)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main():
    args = arguments(__doc__, data=False)
    n = 16 if args.quick else 64

    def layer(weight, bias, x):
        return F.linear(x, weight, bias).tanh()

    weight, bias, x = ft.randn(n, n) / n**0.5, ft.randn(n), ft.randn(n)

    # the Jacobian by x is diag(1 - tanh^2) W: by rows (reverse), by columns (forward), by loop
    exact = (1 - layer(weight, bias, x) ** 2).unsqueeze(1) * weight
    rows = ft.jacrev(layer, argnums=2)(weight, bias, x)
    columns = ft.jacfwd(layer, argnums=2)(weight, bias, x)
    looped = ft.stack([ft.grad(lambda x, i=i: layer(weight, bias, x)[i])(x) for i in range(n)])
    assert close(rows, exact) and close(columns, exact) and close(looped, exact)
    assert close(ft.jacobian(layer, argnums=2)(weight, bias, x), exact)

    # several arguments at once; a pytree of results
    by_weight, by_bias = ft.jacrev(layer, argnums=(0, 1))(weight, bias, x)
    assert by_weight.shape == (n, n, n) and by_bias.shape == (n, n)
    assert close(by_weight, ft.einsum("ij,k->ijk", by_bias, x))

    # tall Jacobians are cheap forward, wide ones in reverse
    tall, wide = ft.randn(8 * n, n // 8) / n**0.5, ft.randn(n // 8, 8 * n) / n**0.5
    for name, matrix in (("tall", tall), ("wide", wide)):
        at = ft.randn(matrix.shape[1])
        ways = [jac(lambda x, m=matrix: (m @ x).sin()) for jac in (ft.jacfwd, ft.jacrev)]
        forward, reverse = (milliseconds(way, at) for way in ways)
        shape = "x".join(map(str, matrix.shape))
        print(f"{name} {shape} Jacobian: forward {forward:.2f} ms, reverse {reverse:.2f} ms")
        assert close(ways[0](at), ways[1](at))

    # Hessians: forward over reverse by default; any of the four nestings is right
    def energy(x):
        return (layer(weight, bias, x) ** 2).sum()

    hessian = ft.hessian(energy)(x)
    for outer in (ft.jacfwd, ft.jacrev):
        for inner in (ft.jacfwd, ft.jacrev):
            assert close(outer(inner(energy))(x), hessian)
    assert close(hessian, hessian.T)

    # Hessian-vector products need no Hessian
    v = ft.randn(n)
    assert close(ft.hvp(energy, (x,), (v,))[0], hessian @ v)
    assert close(ft.grad(lambda x: (ft.grad(energy)(x) * v).sum())(x), hessian @ v)
    assert close(ft.laplacian(energy)(x), hessian.trace())
    whole = milliseconds(ft.hessian(energy), x)
    product = milliseconds(lambda: ft.hvp(energy, (x,), (v,)))
    print(f"Hessian {n}x{n}: {whole:.2f} ms; times a vector: {product:.2f} ms")

    # batches: vmap around any of them; compile around that
    xs = ft.randn(10, n)
    many = ft.vmap(ft.jacrev(layer, argnums=2), in_dims=(None, None, 0))
    assert close(many(weight, bias, xs)[7], ft.jacfwd(layer, argnums=2)(weight, bias, xs[7]))
    hessians = ft.vmap(ft.hessian(energy))
    quick = ft.compile(hessians)
    assert close(quick(xs), hessians(xs)) and close(quick(xs)[3], ft.hessian(energy)(xs[3]))
    eager, compiled = milliseconds(hessians, xs), milliseconds(quick, xs)
    print(f"ten Hessians: {eager:.2f} ms, compiled {compiled:.2f} ms")

    # linearize once, push many vectors; a Jacobian times a matrix
    value, push = ft.linearize(lambda x: layer(weight, bias, x), x)
    assert close(value, layer(weight, bias, x)) and close(push(v), exact @ v)
    vectors = ft.randn(n, 5)
    assert close(ft.vmap(push, in_dims=1, out_dims=1)(vectors), exact @ vectors)

    # few entries: a chain whose terms touch neighbours has a Hessian of three diagonals
    def chain(x):
        return ((x[1:] - x[:-1]) ** 4).sum() + x.sin().sum()

    sparse = ft.sparse_hessian(chain)(x)
    dense = ft.hessian(chain)(x)
    band = ft.tril(ft.triu(dense, -1), 1)
    assert close(dense, band) and close(sparse.to_dense(), dense)
    print(f"sparse Hessian of {n} variables holds {3 * n - 2} numbers")

    # code written for one point, with branches, maps too
    def kinked(x):
        return (x**3 if x > 0 else -2 * x).sum()

    points = ft.tensor([-1.0, 2.0, -3.0])
    assert ft.vmap(ft.grad(kinked))(points).tolist() == [-2, 12, -2]


if __name__ == "__main__":
    main()
