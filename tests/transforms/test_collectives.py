"""Communication between lanes; where a nan came from; registered trees; torch.func's names."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.trace import active, state

D = ft.float64


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def by_lanes(x):
    def lane(v):
        gathered = ft.all_gather(v, "i")
        centred = (v - ft.pmean(v, "i")) * ft.axis_index("i")
        return centred / ft.pmax(v * v, "i") + gathered.sin().sum() * ft.pmin(v, "i")

    return ft.vmap(lane, axis_name="i")(x)


def at_once(x):
    n = ft.arange(x.shape[0])
    return (x - x.mean()) * n / (x * x).max() + x.sin().sum() * x.min()


def test_lanes_meet_under_all_derivatives():
    x = ft.randn(4, dtype=D)
    close(by_lanes(x), at_once(x))
    close(ft.jacrev(by_lanes)(x), ft.jacrev(at_once)(x))
    close(ft.jacfwd(by_lanes)(x), ft.jacfwd(at_once)(x))
    close(ft.hessian(lambda x: by_lanes(x).sum())(x), ft.hessian(lambda x: at_once(x).sum())(x))
    xs = ft.stack([x, x * 2])
    close(ft.vmap(by_lanes)(xs)[1], at_once(x * 2))
    close(
        ft.grad(lambda x: ft.checkpoint(by_lanes)(x).sum())(x),
        ft.grad(lambda x: at_once(x).sum())(x),
    )


def test_derivatives_inside_lanes():
    x = ft.randn(4, dtype=D)
    got = ft.vmap(lambda v: ft.jvp(lambda v: ft.psum(v * v, "i"), (v,), (v,))[1], axis_name="i")(x)
    close(got, 2 * (x * x).sum().expand(4))
    # the cotangents of a sum that all lanes see come from all lanes
    got = ft.vmap(ft.grad(lambda v: ft.psum(v * v, "i") * v), axis_name="i")(x)
    close(got, 2 * x * x.sum() + (x * x).sum())


def test_axes_are_told_apart():
    x = ft.rand(2, 3, dtype=D) + 1

    def row(r):
        return ft.vmap(lambda v: v / ft.psum(v, "j") * ft.psum(v, "i"), axis_name="j")(r)

    close(ft.vmap(row, axis_name="i")(x), x / x.sum(1, keepdim=True) * x.sum(0))
    sizes = ft.vmap(lambda v: v * 0 + ft.psum(1, "i") + ft.axis_size("i"), axis_name="i")(x[:, 0])
    close(sizes, ft.tensor([4.0, 4.0], dtype=D))


def test_names_that_are_missing():
    with pytest.raises(NameError, match="psum: expected a running vmap with axis_name='k'"):
        ft.psum(ft.ones(2), "k")
    with pytest.raises(NameError, match=r"those with \['i'\]"):
        ft.vmap(lambda v: ft.psum(v, "k"), axis_name="i")(ft.ones(2))
    with pytest.raises(ValueError, match="axis_name or chunk_size"):
        ft.vmap(lambda v: v, axis_name="i", chunk_size=1)
    assert state.trace is None and not active


def broken(x):
    y = (x * 0).sqrt()  # the line to be named
    return y.sum()


LINE = broken.__code__.co_firstlineno + 1


@pytest.mark.parametrize("way", ["tape", "grad", "vmap grad", "hessian"])
def test_a_nan_is_traced_to_its_forward_line(way):
    x = ft.zeros(2)

    def run():
        if way == "tape":
            broken(x.requires_grad_()).backward()
        elif way == "grad":
            ft.grad(broken)(x)
        elif way == "vmap grad":
            ft.vmap(ft.grad(broken))(x)
        else:
            ft.hessian(broken)(x)

    with (
        pytest.raises(ft.GradError, match=rf"expected no nan .*test_collectives.py:{LINE}"),
        ft.detect_anomaly(),
    ):
        run()
    assert state.trace is None and not active
    with ft.set_detect_anomaly(False):
        run()


def test_a_nan_of_the_forward_pass():
    with pytest.raises(ft.GradError, match=r"no nan from log, got one at .*test_collectives"):
        with ft.detect_anomaly():
            ft.vmap(lambda x: x.log())(ft.tensor([-1.0, 1.0]))
    with ft.detect_anomaly():  # one that was there before is nobody's fault
        ft.tensor([float("nan")]).exp()


Pair = namedtuple("Pair", ["a", "b"])


@ft.tree.register_dataclass(meta_fields=("name",))
@dataclass
class Point:
    x: object
    y: object
    name: str = "p"


def test_named_tuples_and_dataclasses_are_trees():
    got = ft.grad(lambda p: (p.a * p.b.x * p.b.y).sum())(
        Pair(ft.tensor([2.0]), Point(ft.tensor([3.0]), ft.tensor([5.0]), "q"))
    )
    assert type(got) is Pair and type(got.b) is Point and got.b.name == "q"
    assert [float(v) for v in (got.a, got.b.x, got.b.y)] == [15, 10, 6]
    moved = ft.vmap(lambda p: Point(p.x + p.y, p.x, p.name))(Point(ft.ones(3), ft.zeros(3)))
    assert moved.x.shape == (3,) and moved.name == "p"
    with pytest.raises(TypeError, match="register_dataclass: expected a dataclass"):
        ft.tree.register_dataclass(Pair)
    with pytest.raises(ValueError, match="expected fields among"):
        ft.tree.register_dataclass(dataclass(type("Q", (), {})), meta_fields=("z",))


def test_func_has_torchs_names():
    torch_func = pytest.importorskip("torch.func")
    missing = [
        n
        for n in dir(torch_func)
        if not n.startswith("_") and callable(getattr(torch_func, n)) and not hasattr(ft.func, n)
    ]
    assert missing == []
    x = ft.zeros(2)
    assert ft.func.functionalize(lambda x: x.add_(1))(x).tolist() == [1, 1]
    assert x.tolist() == [0, 0]


def test_a_captured_tensor_that_is_written_to_is_named():
    total = ft.zeros(3)

    class Model:
        def __init__(self):
            self.mean = ft.zeros(3)

        def __call__(self, x):
            self.mean.add_(x)
            return x.sum()

    def f(x):
        total.add_(x)
        return x.sum()

    with pytest.raises(ft.TraceError, match="got 'total', captured from outside"):
        ft.grad(f)(ft.ones(3))
    with pytest.raises(ft.TraceError, match=r"got 'self\.mean', captured from outside"):
        ft.grad(Model())(ft.ones(3))


def test_rearrange():
    einsum = np.arange(24).reshape(2, 3, 4)
    x = ft.tensor(einsum)
    for pattern, sizes, want in [
        ("a b c -> c a b", {}, einsum.transpose(2, 0, 1)),
        ("a b c -> (a b) c", {}, einsum.reshape(6, 4)),
        ("a b (c d) -> a d b c", {"c": 2}, einsum.reshape(2, 3, 2, 2).transpose(0, 3, 1, 2)),
        ("a ... -> ... a", {}, einsum.transpose(1, 2, 0)),
        ("a ... -> a (...)", {}, einsum.reshape(2, 12)),
        ("a b c -> a 1 (b c)", {}, einsum.reshape(2, 1, 12)),
    ]:
        np.testing.assert_array_equal(ft.func.rearrange(x, pattern, **sizes).numpy(), want)
    np.testing.assert_array_equal(
        ft.func.rearrange([x, x], "n a b c -> a (n b) c").shape, (2, 6, 4)
    )
    with pytest.raises(ValueError, match="the same names on both sides"):
        ft.func.rearrange(x, "a b c -> a b")
    with pytest.raises(ft.ShapeError, match="rearrange: expected 2 dimensions"):
        ft.func.rearrange(x, "a b -> b a")
    with pytest.raises(ft.ShapeError, match="divides, got 4"):
        ft.func.rearrange(x, "a b (c d) -> a b c d", c=3)
    with pytest.raises(ValueError, match="parentheses"):
        ft.func.rearrange(x, "a (b c -> a b c")
