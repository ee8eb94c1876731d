"""torch.autograd.functional's names: values, forms of results, graphs and errors, as torch's."""

import pytest

import functorch_like as ft
from functorch_like.autograd import functional as AF


def numbers(lib):
    return lib.tensor([[0.5, -1.0], [2.0, 0.25]]), lib.tensor([1.5, -0.5])


def two(x, y):
    return (x * y).sum(1), (x.sin() @ y.exp()).sum()


def one(x, y):
    return (x**3 * y).sum()


def leaves(value):
    return (
        [leaf for v in value for leaf in leaves(v)] if isinstance(value, (tuple, list)) else [value]
    )


def form(value):
    if isinstance(value, (tuple, list)):
        return tuple(form(v) for v in value)
    return tuple(value.shape)


CALLS = {
    "jacobian": lambda F, lib, x, y, **k: F.jacobian(two, (x, y), **k),
    "jacobian_forward": lambda F, lib, x, y, **k: F.jacobian(
        two, (x, y), vectorize=True, strategy="forward-mode"
    ),
    "jacobian_alone": lambda F, lib, x, y, **k: F.jacobian(lambda x: x.sin(), x, **k),
    "jacobian_outputs": lambda F, lib, x, y, **k: F.jacobian(lambda x: two(x, y), x, **k),
    "hessian": lambda F, lib, x, y, **k: F.hessian(one, (x, y), **k),
    "hessian_alone": lambda F, lib, x, y, **k: F.hessian(lambda y: (y**3).sum(), y, **k),
    "hessian_of_row": lambda F, lib, x, y, **k: F.hessian(
        lambda y: (y**3).sum().reshape(1), y, **k
    ),
    "vjp": lambda F, lib, x, y, **k: F.vjp(two, (x, y), (y, lib.tensor(2.0)), **k),
    "vjp_alone": lambda F, lib, x, y, **k: F.vjp(lambda y: one(x, y), y, **k),
    "jvp": lambda F, lib, x, y, **k: F.jvp(two, (x, y), (x * 2, y), **k),
    "jvp_alone": lambda F, lib, x, y, **k: F.jvp(lambda y: x * y, y[:1], **k),
    "vhp": lambda F, lib, x, y, **k: F.vhp(one, (x, y), (x * 2, y), **k),
    "vhp_alone": lambda F, lib, x, y, **k: F.vhp(lambda x: one(x, y), x, x, **k),
    "hvp": lambda F, lib, x, y, **k: F.hvp(one, (x, y), (x * 2, y), **k),
    "hvp_alone": lambda F, lib, x, y, **k: F.hvp(lambda y: (y**3).sum(), y, y, **k),
}


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("graph", [False, True])
def test_as_torch(name, graph):
    torch = pytest.importorskip("torch")
    results = []
    for lib, F in ((torch, torch.autograd.functional), (ft, AF)):
        x, y = (t.requires_grad_() for t in numbers(lib))
        options = {"create_graph": True} if graph else {}
        results.append(CALLS[name](F, lib, x, y, **options))
    theirs, ours = results
    assert form(ours) == form(theirs)
    assert graph or not any(a.requires_grad for a in leaves(ours))
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert ft.allclose(a.detach(), ft.tensor(b.detach().numpy()), rtol=1e-5, atol=1e-6)


def test_results_are_differentiable_again():
    x = ft.tensor([1.0, 2.0], requires_grad=True)
    AF.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [6, 12]
    gradient, x.grad = x.grad, None
    AF.vjp(lambda x: x**3, x, ft.ones(2), create_graph=True)[1].sum().backward()
    assert x.grad.tolist() == gradient.tolist()
    x.grad = None
    AF.hvp(lambda x: (x**4).sum(), x, ft.ones(2), create_graph=True)[1].sum().backward()
    assert x.grad.tolist() == [24, 48]
    assert not AF.jacobian(lambda x: x**3, x).requires_grad


def test_under_transforms():
    xs = ft.tensor([[1.0, 2.0], [3.0, 4.0]])
    each = ft.vmap(lambda x: AF.hessian(lambda x: (x**3).sum(), x))(xs)
    assert each.tolist() == ft.diag_embed(6 * xs).tolist()
    loss = ft.grad(lambda x: AF.vhp(lambda x: (x**3).sum(), x, x, create_graph=True)[1].sum())
    assert loss(xs[0]).tolist() == (12 * xs[0]).tolist()


def test_errors():
    x, y = ft.ones(2), ft.ones(3)
    for name in ("jacobian", "vjp"):
        with pytest.raises(ft.GradError, match=f"{name}: expected outputs that depend"):
            getattr(AF, name)(lambda x, y: x.sum(), (x, y), strict=True)
    with pytest.raises(ft.GradError, match="hessian: expected outputs that depend"):
        AF.hessian(lambda x: x.sum(), x, strict=True)
    assert AF.jacobian(lambda x, y: x.sum(), (x, y))[1].tolist() == [0, 0, 0]
    with pytest.raises(ft.ShapeError, match="one number"):
        AF.hessian(lambda x: x * 2, x)
    with pytest.raises(ft.ShapeError, match="v, or an input"):
        AF.jvp(lambda x: x * 2, x)
    with pytest.raises(ft.ShapeError, match="v, or a function"):
        AF.vjp(lambda x: x * 2, x)
    with pytest.raises(ft.ShapeError, match="v as the inputs"):
        AF.hvp(lambda x: (x**2).sum(), x, y)
    with pytest.raises(ValueError, match="strategy"):
        AF.jacobian(lambda x: x, x, strategy="sideways")
    with pytest.raises(TypeError, match="tuple of tensors"):
        AF.jacobian(lambda x: x, 1.0)


def test_names_of_autograd():
    assert ft.autograd.gradcheck(lambda x: x.sin(), (ft.rand(3).double().requires_grad_(),))
    assert ft.autograd.detect_anomaly is ft.detect_anomaly
    assert ft.autograd.functional is AF


def test_cotangents_in_a_list():
    x, v = ft.tensor([1.0, 2.0]), ft.ones(2)
    value, pulled = AF.vjp(lambda x: (x * x, x), x, [v, v])
    assert isinstance(value, tuple) and pulled.tolist() == [3.0, 5.0]
