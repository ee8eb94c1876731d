"""Linear algebra: against torch, derivatives of functions free of phases, vmap, edges, bad input.

CALLS and SMOOTH are expressions that read the same in both packages: `m` the package, `L` its
linalg. The operands are those of `operands`.
"""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like import linalg
from functorch_like.op import TABLE
from functorch_like.testing import assert_close, check_grads

# values and dtypes are torch's
CALLS = """
L.solve(a, b) ; L.solve(a, v) ; L.solve(c, b) ; L.solve(c, c[:, :, 0]) ; L.solve(a, r, left=False)
L.solve_ex(a, b) ; L.inv(c) ; L.inv_ex(a) ; L.det(c) ; L.det(z) ; L.slogdet(c)
m.logdet(s) ; m.inverse(a) ; m.det(a) ; a.det() ; a.inverse() ; c.slogdet() ; m.slogdet(a)
L.solve_triangular(a, b, upper=True) ; L.solve_triangular(c, b, upper=False, unitriangular=True)
L.solve_triangular(a, r, upper=False, left=False) ; m.triangular_solve(b, a)
m.triangular_solve(b, a, upper=False, transpose=True) ; m.triangular_solve(b, a, True, True, True)
L.lu(c) ; L.lu(t) ; L.lu(w) ; L.lu_factor(c) ; L.lu_factor(t) ; L.lu_factor_ex(w) ; m.lu(a)
m.lu(a, get_infos=True) ; m.lu_unpack(*m.lu(c)) ; m.lu_unpack(*m.lu(t))
L.lu_solve(*L.lu_factor(a), b) ; L.lu_solve(*L.lu_factor(c), b, adjoint=True)
L.lu_solve(*L.lu_factor(a), r, left=False) ; m.lu_solve(b, *m.lu(a))
L.lu_solve(*L.lu_factor(a), r, left=False, adjoint=True)
L.cholesky(s) ; L.cholesky(s, upper=True) ; L.cholesky_ex(s) ; m.cholesky(s) ; s.cholesky(True)
m.cholesky_solve(b, m.cholesky(s)) ; m.cholesky_solve(b, m.cholesky(s, True), upper=True)
m.cholesky_inverse(m.cholesky(s)) ; m.cholesky_inverse(m.cholesky(s, True), True)
L.qr(c) ; L.qr(t) ; L.qr(w) ; L.qr(t, mode='complete') ; L.qr(t, mode='r') ; m.qr(t)
m.qr(t, some=False) ; m.geqrf(t) ; m.geqrf(w) ; L.householder_product(*m.geqrf(t))
m.orgqr(*m.geqrf(a)) ; m.ormqr(*m.geqrf(a), b) ; m.ormqr(*m.geqrf(t), t, transpose=True)
m.ormqr(*m.geqrf(a), r, left=False) ; m.ormqr(*m.geqrf(a), r, False, True)
L.svdvals(t) ; L.svdvals(c) ; L.svdvals(w) ; L.eigvalsh(s) ; L.eigvalsh(a) ; L.eigvalsh(a, UPLO='U')
L.eigh(s).eigenvalues ; L.svd(t).S ; L.svd(t, full_matrices=False).S ; m.svd(w).S
m.svd(w, compute_uv=False)
L.pinv(t) ; L.pinv(w) ; L.pinv(z) ; L.pinv(s, hermitian=True) ; L.pinv(t, rcond=0.5)
L.pinv(t, atol=3.0) ; L.pinv(c, rtol=0.9, atol=0.1) ; m.pinverse(t) ; t.pinverse()
L.matrix_rank(z) ; L.matrix_rank(c) ; L.matrix_rank(t, atol=100.0)
L.matrix_rank(s, hermitian=True) ; L.matrix_rank(c, 3.0)
L.lstsq(t, t[:, :1]) ; L.lstsq(t, t[:, 0]) ; L.lstsq(t, t, driver='gels') ; L.lstsq(w, w)
L.lstsq(t, t[:, :1] + 1, driver='gelsd') ; L.lstsq(t, t + 1, driver='gelss')
L.lstsq(c, c[:, :, :2])
L.cond(a) ; L.cond(c, 'fro') ; L.cond(c, 1) ; L.cond(a, -2) ; L.cond(t)
L.cond(a, 'nuc') ; L.cond(a, float('inf')) ; L.cond(a, -1)
m.matrix_exp(c) ; L.matrix_exp(5 * a) ; L.matrix_exp(1e-3 * a) ; a.matrix_exp()
L.matrix_power(c, 5) ; L.matrix_power(a, -3) ; L.matrix_power(a, 0) ; m.matrix_power(a, 1)
L.multi_dot([r, t[:3], w, t]) ; L.multi_dot([v, a, v]) ; L.multi_dot([a, v]) ; L.multi_dot([v, a])
m.chain_matmul(r, a, b) ; L.tensorinv(e) ; L.tensorsolve(e, e[:, :, 0, 0])
L.tensorinv(e.reshape(4, 2, 2), ind=1)
L.vander(v) ; L.vander(c[:, 0], N=2) ; L.vecdot(c, c) ; L.vecdot(c, c, dim=1) ; L.cross(a, a + 1)
L.cross(c, c[:1] + 1, dim=1)
L.diagonal(c) ; L.diagonal(c, offset=1) ; L.diagonal(c, dim1=0, dim2=1) ; L.matmul(a, b)
L.norm(a) ; L.norm(v) ; L.norm(c) ; L.norm(a, 'nuc') ; L.norm(a, 2) ; L.norm(a, 1) ; L.norm(v, 3)
L.norm(c, dim=(0, 1)) ; L.norm(c, 'fro', (0, 1)) ; L.norm(c, 2, (0, 2), keepdim=True)
L.norm(c, 1, 1) ; L.norm(v, float('inf')) ; L.norm(c, -2, (1, 2)) ; L.norm(v, 0) ; L.norm(v, 0.5)
L.vector_norm(c) ; L.vector_norm(c, 3.5, dim=(0, 2), keepdim=True) ; L.vector_norm(v, -1)
L.vector_norm(c, 0, 1) ; L.vector_norm(c, -float('inf'), (0, 1)) ; L.vector_norm(c, 1, -1)
L.matrix_norm(c) ; L.matrix_norm(c, 'nuc') ; L.matrix_norm(c, 2) ; L.matrix_norm(c, -2, (0, 1))
L.matrix_norm(c, 1, keepdim=True) ; L.matrix_norm(c, -1) ; L.matrix_norm(c, float('inf'))
L.matrix_norm(c, -float('inf'), dim=(2, 0)) ; m.norm(a, 'nuc') ; m.norm(v, 3) ; m.norm(c, 'fro')
m.trace(a) ; L.ldl_factor(s).LD.tril() ; L.ldl_factor_ex(s).info
L.ldl_solve(*L.ldl_factor(s), b) ; L.ldl_solve(*L.ldl_factor(s, hermitian=True), b, hermitian=True)
"""

# values are NumPy's, where L is numpy.linalg
NUMPY = """
L.solve(a, b) ; L.solve(c, c) ; L.inv(c) ; L.det(c) ; L.slogdet(c) ; L.cond(a) ; L.cond(c, 1)
L.cond(c, 'fro') ; L.matrix_rank(c) ; L.matrix_rank(z) ; L.pinv(t) ; L.pinv(w) ; L.cholesky(s)
L.matrix_power(a, -3) ; L.multi_dot([r, a, b]) ; L.tensorinv(e) ; L.tensorsolve(e, e[:, :, 0, 0])
L.norm(a, 'nuc') ; L.norm(a, -2) ; L.norm(v, 3) ; L.norm(v, -1) ; L.norm(v, 0) ; L.svdvals(t)
L.eigvalsh(s) ; L.matrix_norm(c) ; L.matrix_norm(c, ord=1) ; L.vector_norm(v, ord=2.5)
L.vecdot(c, c) ; L.lstsq(t, t[:, :1])[0] ; L.qr(t) ; L.eig(a)[0].sum() ; L.eigh(s)[0]
"""

# functions of one operand, x, that do not depend on phases: gradients are torch's
SMOOTH = {
    "a": """
L.solve(x, b) ; L.inv(x) ; L.det(x) ; L.slogdet(x)[1] ; m.logdet(x @ x.mH)
L.lu(x)[1] ; L.lu(x)[2] ; L.lu_factor(x)[0] ; L.solve(x, r, left=False)
L.solve_triangular(x, b, upper=True) ; L.lu_solve(*L.lu_factor(x), b)
L.cholesky(x @ x.mH) ; m.cholesky_inverse(L.cholesky(x @ x.mH)) ; L.qr(x).Q ; L.qr(x).R
L.cholesky(x @ x.mH, upper=True) ; L.matrix_exp(x) ; L.matrix_power(x, -2) ; L.pinv(x)
L.svdvals(x) ; L.eigvalsh(x + x.mH) ; L.eigvalsh(x + x.mH, UPLO='U') ; L.norm(x, 'nuc')
L.norm(x, 2) ; L.cond(x) ; L.eigh(x + x.mH)[1].abs() ; L.svd(x)[0].abs() ; L.svd(x)[2].abs()
(lambda v: v @ v.mH)(m.svd(x).V[:, :1]) ; L.eigvals(x).prod() ; L.eig(x)[1].abs()
(lambda d: d[0] @ d[2])(L.svd(x)) ; L.vector_norm(x, 3) ; L.vector_norm(x, 0.5, 0)
L.matrix_norm(x, 'fro') ; L.multi_dot([x, b, r]) ; L.vander(x) ; L.lstsq(x, b).solution
L.householder_product(x, x[0]) ; L.cross(x, x + 1)
""",
    "t": """
L.pinv(x) ; L.qr(x).Q ; L.qr(x).R ; L.svdvals(x) ; L.lu(x)[1] ; L.lu(x)[2] ; L.lstsq(x, f).solution
L.svd(x, full_matrices=False)[0].abs() ; L.svd(x, full_matrices=False)[2].abs() ; L.norm(x, 2)
""",
    "w": """
L.pinv(x) ; L.qr(x).Q ; L.qr(x).R ; L.lu(x)[1] ; L.lu(x)[2]
L.svd(x, full_matrices=False)[0].abs() ; L.svd(x, full_matrices=False)[2].abs()
""",
}

# what torch does not differentiate
OURS = {
    "a": """
L.cond(x, 1) ; L.slogdet(x)[0] ; m.geqrf(x)[0] ; m.geqrf(x)[1] ; m.lu(x)[0]
m.lobpcg(x @ x.mH, 2)[0]
m.ormqr(x, x[0], b) ; m.ormqr(x, x[0], r, False, True) ; L.tensorinv(x.reshape(3, 3, 1), ind=1)
""",
    "t": "L.qr(x, mode='complete').R",
}


def expressions(text):
    return [e.strip() for line in text.strip().splitlines() for e in line.split(";") if e.strip()]


def operands(dtype):
    """By name: a, c well-conditioned, s positive-definite, z singular, t tall, w wide."""
    rng = numpy.random.default_rng(5)

    def random(*shape):
        x = rng.uniform(-1, 1, shape)
        return (x + 1j * rng.uniform(-1, 1, shape) if "complex" in dtype else x).astype(dtype)

    eye = numpy.eye(4)
    a, c = random(3, 3) + 2 * numpy.eye(3), random(2, 3, 3) + 2 * numpy.eye(3)
    g = random(3, 3)
    z = random(3, 3)
    z[2] = z[0]
    e = (random(4, 4) + 2 * eye).reshape(2, 2, 2, 2)
    found = {
        "a": a,
        "b": random(3, 2),
        "c": c,
        "e": e,
        "f": random(4, 1),
        "r": random(2, 3),
        "s": g @ g.conj().T + numpy.eye(3),
        "t": random(4, 2) + eye[:, :2],
        "v": random(3),
        "w": random(2, 4) + eye[:2],
        "z": z,
    }
    return {k: x.astype(dtype) for k, x in found.items()}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("text", expressions(NUMPY))
def test_values_are_numpys(text, dtype):
    given = operands(dtype)
    got = eval(text, {"L": linalg, **{k: ft.tensor(x) for k, x in given.items()}})
    expected = eval(text, {"L": numpy.linalg, **given})
    expected = [numpy.asarray(e) for e in listed(expected)]
    assert_close(listed(got), expected, 1e-9, 1e-9, check_dtype=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 0.6, 1.5, 4.0, 40.0])
def test_matrix_exp_of_all_degrees(dtype, scale):
    expm = pytest.importorskip("scipy.linalg").expm
    x = operands(dtype)["c"]
    x = x * scale / numpy.abs(x).sum(-2).max()
    wide = "complex128" if "complex" in dtype else "float64"
    expected = expm(x.astype(wide)).astype(dtype)
    near = 1e-5 if dtype in ("float32", "complex64") else 1e-12
    size = numpy.abs(expected).max()
    assert_close(ft.matrix_exp(ft.tensor(x)), expected, near, float(near * size))


def listed(value):
    return list(value) if isinstance(value, tuple) else [value]


TOLERANCE = {"float32": (2e-4, 2e-4), "float64": (1e-9, 1e-9), "complex128": (1e-9, 1e-9)}
TOLERANCE["complex64"] = TOLERANCE["float32"]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("text", expressions(CALLS))
def test_values_are_torchs(text, dtype):
    torch = pytest.importorskip("torch")
    given = operands(dtype)
    ours = {"m": ft, "L": linalg, **{k: ft.tensor(x) for k, x in given.items()}}
    theirs = {"m": torch, "L": torch.linalg, **{k: torch.from_numpy(x) for k, x in given.items()}}
    got = listed(eval(text, ours))
    expected = listed(eval(text, theirs))
    assert_close(got, expected, *TOLERANCE[dtype])


def scalar(y, weights, like):
    """A real number from a result, by fixed weights of its own shape."""
    shape = tuple(y.shape)
    values = numpy.cos(numpy.arange(numpy.prod(shape, dtype=int)) + weights).reshape(shape)
    total = (y * like(values)).sum()
    return total.real if "complex" in str(y.dtype) else total


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("text", [(k, e) for k in SMOOTH for e in expressions(SMOOTH[k])], ids=str)
def test_gradients_are_torchs(text, dtype):
    torch = pytest.importorskip("torch")
    name, text = text
    given = operands(dtype)
    ours = {"m": ft, "L": linalg, **{k: ft.tensor(x) for k, x in given.items()}}
    theirs = {"m": torch, "L": torch.linalg, **{k: torch.from_numpy(x) for k, x in given.items()}}

    def loss(x):
        return scalar(eval(text, {**ours, "x": x}), 1.0, ft.tensor)

    x = theirs[name].requires_grad_()
    scalar(eval(text, {**theirs, "x": x}), 1.0, torch.from_numpy).backward()
    got = ft.grad(loss)(ours[name])
    assert_close(got, x.grad, 1e-8, 1e-8)
    lanes = ft.stack([ours[name], ours[name] * 1.25])
    mapped = ft.vmap(ft.grad(loss))(lanes)
    assert_close(mapped[0], got, 1e-8, 1e-8)
    assert_close(mapped[1], ft.grad(loss)(lanes[1]), 1e-8, 1e-8)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(
    "text",
    [(k, e) for group in (SMOOTH, OURS) for k in group for e in expressions(group[k])],
    ids=str,
)
def test_derivatives_are_difference_quotients(text, dtype):
    """Both modes and their combinations of second order."""
    name, text = text
    given = {"m": ft, "L": linalg, **{k: ft.tensor(x) for k, x in operands(dtype).items()}}
    check_grads(lambda x: eval(text, {**given, "x": x}), (given[name],), order=2, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_vectors_with_their_phases_removed(dtype):
    """Projectors on single eigenspaces and singular subspaces, and full complements."""
    given = {k: ft.tensor(x) for k, x in operands(dtype).items()}

    def projector(vectors):
        return vectors @ vectors.mH

    check_grads(lambda x: projector(linalg.eigh(x + x.mH)[1][:, 1:]), (given["a"],))
    check_grads(lambda x: projector(linalg.svd(x)[0][:, :1]), (given["a"],))
    check_grads(lambda x: projector(linalg.svd(x)[0][:, 2:]), (given["t"],))
    check_grads(lambda x: projector(linalg.svd(x)[2].mH[:, 1:]), (given["w"],))

    def spectral(x):  # the exponential through the eigenvectors
        w, v = linalg.eig(x)
        return v @ (w.exp().unsqueeze(-1) * linalg.inv(v))

    check_grads(spectral, (given["a"],))
    assert_close(spectral(given["a"]).real, ft.matrix_exp(given["a"]).real, 1e-8, 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_factorizations_multiply_to_the_matrix(dtype):
    given = {k: ft.tensor(x) for k, x in operands(dtype).items()}
    near = TOLERANCE[dtype]
    for name in "actw":
        x = given[name]
        u, s, vh = linalg.svd(x, full_matrices=False)
        assert_close((u * s.unsqueeze(-2)) @ vh, x, *near)
        u, s, v = ft.svd(x, some=False)
        k = s.shape[-1]
        assert_close((u[..., :k] * s.unsqueeze(-2)) @ v[..., :k].mH, x, *near)
        assert_close(
            u.mH @ u,
            ft.eye(u.shape[-1], dtype=x.dtype).expand(u.mT.shape[:-2] + u.shape[-1:] * 2),
            *near,
        )
        assert_close(linalg.qr(x).Q @ linalg.qr(x).R, x, *near)
        p, lower, upper = linalg.lu(x)
        assert_close(p @ lower @ upper, x, *near)
    x = given["c"] + given["c"].mH
    w, v = linalg.eigh(x)
    assert_close((v * w.unsqueeze(-2)) @ v.mH, x, *near)
    w, v = linalg.eig(given["c"])
    assert_close(v * w.unsqueeze(-2), given["c"].to(v.dtype) @ v, *near)
    w, v = ft.lobpcg(x, 2)
    assert_close(x @ v, v * w.unsqueeze(-2), *near)
    assert bool((w[:, 0] > w[:, 1]).all())
    w, v = ft.lobpcg(x[0], 1, B=given["s"], largest=False)
    assert_close(x[0] @ v, given["s"] @ v * w, *near)


def test_low_rank():
    ft.manual_seed(0)
    x = ft.randn(2, 20, 3, dtype=ft.float64) @ ft.randn(2, 3, 12, dtype=ft.float64)
    for y in (x, x.mT):
        u, s, v = ft.svd_lowrank(y, q=4)
        assert_close((u * s.unsqueeze(-2)) @ v.mT, y, 1e-8, 1e-8)
        assert tuple(s.shape) == (2, 4)
    u, s, v = ft.pca_lowrank(x, q=3)
    centred = x - x.mean(-2, keepdim=True)
    assert_close((u * s.unsqueeze(-2)) @ v.mT, centred, 1e-8, 1e-8)


# ---- edges ----


def test_determinant_of_singular_matrices():
    """The gradient is the adjugate, also where the inverse does not exist."""
    x = ft.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 5.0]], dtype=ft.float64)
    cofactors = [[14.0, -10.0, 2.0], [-7.0, 5.0, -1.0], [0.0, 0.0, 0.0]]
    assert_close(ft.grad(linalg.det)(x), numpy.array(cofactors), 1e-9, 1e-9)
    assert_close(ft.grad(linalg.det)(ft.zeros(1, 1)), ft.ones(1, 1))
    assert_close(ft.grad(linalg.det)(ft.zeros(3, 3)), ft.zeros(3, 3))
    assert_close(linalg.slogdet(ft.zeros(2, 2)).logabsdet, -float("inf"))


def test_norms_at_zero():
    zero = ft.zeros(2, 3)
    for order in (2, 1, 3, 0.5, 1.5, float("inf")):
        gradient = ft.grad(lambda x, p=order: linalg.vector_norm(x, p))(zero)
        assert_close(gradient, zero)
        assert_close(ft.grad(lambda x, p=order: ft.norm(x, p))(zero), zero)
    assert_close(ft.grad(lambda x: linalg.matrix_norm(x))(zero), zero)
    row = ft.tensor([0.0, 3.0, 4.0])
    assert_close(ft.grad(lambda x: linalg.vector_norm(x, 1.5))(row)[0], 0.0)


def test_repeated_values():
    """Symmetric functions of eigenvalues have gradients where eigenvalues coincide."""
    eye = ft.eye(3, dtype=ft.float64)
    assert_close(ft.grad(lambda x: linalg.eigvalsh(x).sum())(eye), eye, 1e-12, 1e-12)
    assert_close(ft.grad(lambda x: linalg.svdvals(x).sum())(eye), eye, 1e-12, 1e-12)
    check_grads(linalg.pinv, (eye,))
    check_grads(linalg.matrix_exp, (eye,))
    check_grads(linalg.det, (eye,))


def test_empty():
    for shape in ((0, 0), (2, 0, 0), (0, 3, 3)):
        x = ft.zeros(*shape)
        assert linalg.inv(x).shape == x.shape
        assert linalg.solve(x, x).shape == x.shape
        assert_close(linalg.det(x), ft.ones(*shape[:-2]))
        assert linalg.eigh(x).eigenvalues.shape == x.shape[:-1]
        assert linalg.eig(x).eigenvectors.shape == x.shape
        assert linalg.cholesky(x).shape == ft.matrix_exp(x).shape == x.shape
    u, s, vh = linalg.svd(ft.zeros(3, 0))
    assert_close(u, ft.eye(3))
    assert s.shape == (0,) and vh.shape == (0, 0)
    assert linalg.qr(ft.zeros(3, 0), mode="complete").Q.shape == (3, 3)
    assert linalg.pinv(ft.zeros(0, 3)).shape == (3, 0)
    assert_close(linalg.matrix_rank(ft.zeros(2, 0, 3)), ft.zeros(2, dtype=ft.int64))
    assert linalg.lstsq(ft.zeros(0, 2), ft.zeros(0, 1)).solution.shape == (2, 1)


def test_large_batches_and_threads():
    """The same bits for any number of threads."""
    x = ft.tensor(numpy.random.default_rng(0).standard_normal((300, 12, 12))) + 4 * ft.eye(12)
    results = []
    for threads in (1, 2):
        ft.set_num_threads(threads)
        results.append([linalg.inv(x), linalg.svd(x).S, linalg.det(x), ft.matrix_exp(x / 4)])
    assert_close(results[0], results[1], 0, 0)
    assert_close(results[0][0], numpy.linalg.inv(x.numpy()), 1e-9, 1e-9)


def test_only_one_triangle_is_read():
    x = ft.tensor([[4.0, float("nan")], [2.0, 5.0]])
    assert_close(linalg.cholesky(x) @ linalg.cholesky(x).mT, ft.tensor([[4.0, 2.0], [2.0, 5.0]]))
    full = linalg.eigvalsh(ft.tensor([[4.0, 2.0], [2.0, 5.0]]))
    assert_close(linalg.eigvalsh(x), full)
    assert_close(linalg.eigvalsh(x.mT, "U"), full)
    y = linalg.solve_triangular(x, ft.ones(2, 1), upper=False)
    assert_close(y, ft.tensor([[0.25], [0.1]]))


# ---- bad input ----


def test_errors():
    good, singular = ft.eye(2), ft.zeros(2, 2)
    batch = ft.stack([good, singular])
    raises = pytest.raises
    with raises(ft.LinAlgError, match=r"^linalg\.solve: .* batch element 1 .*info: 1"):
        linalg.solve(batch, batch)
    with raises(ft.LinAlgError, match=r"^linalg\.inv: "):
        linalg.inv(singular)
    with raises(ft.LinAlgError, match=r"^linalg\.cholesky: expected positive-definite"):
        linalg.cholesky(-good)
    with raises(ft.LinAlgError, match="inf or nan"):
        linalg.svd(good * float("nan"))
    with raises(ft.LinAlgError, match=r"^linalg\.eigh"):
        linalg.eigh(good * float("inf"))
    with raises(ft.LinAlgError, match=r"^linalg\.eig:"):
        linalg.eig(good * float("inf"))
    with raises(ft.LinAlgError, match=r"^linalg\.inv_ex"):
        linalg.inv_ex(singular, check_errors=True)
    with raises(ft.LinAlgError):
        ft.vmap(linalg.inv)(batch)
    assert linalg.cholesky_ex(-good).info.item() == 1
    assert linalg.solve_ex(batch, batch).info.tolist() == [0, 1]
    for function in (linalg.inv, linalg.det, linalg.eigh, linalg.cholesky, ft.matrix_exp):
        with raises(ft.ShapeError, match="square"):
            function(ft.ones(2, 3))
        with raises(ft.ShapeError, match="square|matrices"):
            function(ft.ones(3))
        with raises(ft.DTypeError, match=r"\.float\(\)"):
            function(ft.eye(2).half())
        with raises(ft.DTypeError):
            function(ft.eye(2).long())
    with raises(ft.ShapeError, match="B with 2 rows"):
        linalg.solve(good, ft.ones(3, 1))
    with raises(ft.ShapeError, match="broadcast"):
        linalg.solve(good.expand(2, 2, 2), ft.ones(3, 2, 1))
    with raises(ft.DTypeError, match="one dtype"):
        linalg.solve(good, good.double())
    with raises(ft.ShapeError):
        linalg.solve_triangular(good, ft.ones(3, 1), upper=True)
    with raises(ValueError, match="mode"):
        linalg.qr(good, "full")
    with raises(ValueError, match="UPLO"):
        linalg.eigh(good, "X")
    with raises(ValueError, match="driver"):
        linalg.lstsq(good, good, driver="x")
    with raises(ValueError, match="ord"):
        linalg.matrix_norm(good, 3)
    with raises(ft.DTypeError):
        linalg.vector_norm(ft.ones(2).long())
    with raises(ft.ShapeError):
        linalg.norm(ft.ones(2, 2, 2), 2)
    with raises(ValueError, match="pivots from 1"):
        linalg.lu_solve(good, ft.tensor([5, 1]).int(), good)
    with raises(ft.ShapeError):
        linalg.multi_dot([good, ft.ones(3, 2)])
    with raises(NotImplementedError):
        linalg.lu_factor(good, pivot=False)


def test_vmap_shares_one_factorization():
    """One matrix for all lanes is factored once; results follow the lanes."""
    a, b = ft.randn(3, 3, dtype=ft.float64) + 3 * ft.eye(3), ft.randn(5, 3, dtype=ft.float64)
    got = ft.vmap(linalg.solve, in_dims=(None, 0))(a, b)
    assert_close(got, ft.stack([linalg.solve(a, b[i]) for i in range(5)]), 1e-10, 1e-10)
    hessian = ft.hessian(lambda x: linalg.slogdet(x)[1])(a)
    inverse = linalg.inv(a)
    assert_close(hessian, -ft.einsum("li,jk->ijkl", inverse, inverse), 1e-8, 1e-8)


def test_entries_raise_what_the_core_says():
    """Also those whose kernels give several results or none, called without the public function."""
    half = ft.ones(3, 3, dtype=ft.float16)
    for name in ("linalg_eigvals", "linalg_eig"):
        with pytest.raises(ft.DTypeError, match="expected float32, float64 or complex"):
            TABLE[name](half, check=None)
