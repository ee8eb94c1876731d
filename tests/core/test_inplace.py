"""In-place forms with a factor, of three operands, and of operands that are views out of date."""

import pytest

import functorch_like as ft

FORMS = {
    "add_": lambda x, y: x.add_(y, alpha=0.5),
    "sub_": lambda x, y: x.sub_(y, alpha=0.5),
    "mul_": lambda x, y: x.mul_(y),
    "lerp_": lambda x, y: x.lerp_(y, 0.25),
    "lerp_ by tensor": lambda x, y: x.lerp_(y, y),
    "addcmul_": lambda x, y: x.addcmul_(y, y),
    "addcdiv_": lambda x, y: x.addcdiv_(y, y + 3.0),
    "addcmul_ by value": lambda x, y: x.addcmul_(y, y, value=-2.0),
    "addcdiv_ by value": lambda x, y: x.addcdiv_(y, y + 3.0, value=-2.0),
}
WANTED = {
    "add_": lambda x, y: x + y * 0.5,
    "sub_": lambda x, y: x - y * 0.5,
    "mul_": lambda x, y: x * y,
    "lerp_": lambda x, y: x + 0.25 * (y - x),
    "lerp_ by tensor": lambda x, y: x + y * (y - x),
    "addcmul_": lambda x, y: x + y * y,
    "addcdiv_": lambda x, y: x + y / (y + 3.0),
    "addcmul_ by value": lambda x, y: x - 2.0 * y * y,
    "addcdiv_ by value": lambda x, y: x - 2.0 * y / (y + 3.0),
}


@pytest.mark.parametrize("name", FORMS)
def test_value_gradient_and_lanes(name):
    form, wanted = FORMS[name], WANTED[name]
    x, y = ft.linspace(-1.0, 2.0, 6, dtype=ft.float64).reshape(2, 3), ft.rand(3, dtype=ft.float64)
    target = x.clone()
    assert form(target, y) is target and (target - wanted(x, y)).abs().max().item() < 1e-12
    view = ft.zeros(3, 2, dtype=ft.float64).T
    form(view.copy_(x), y)
    assert (view - target).abs().max().item() == 0
    recorded = ft.grad(lambda x, y: (form(x * 1.0, y) ** 2).sum(), (0, 1))(x, y)
    plain = ft.grad(lambda x, y: (wanted(x, y) ** 2).sum(), (0, 1))(x, y)
    assert all((a - b).abs().max().item() < 1e-10 for a, b in zip(recorded, plain, strict=True))
    lanes = ft.vmap(lambda x: form(x.clone(), y))(x)
    assert (lanes - wanted(x, y)).abs().max().item() < 1e-12


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "lerp_", "addcmul_"])
def test_no_temporaries(name):
    x, y = ft.ones(1 << 16), ft.ones(1 << 16)
    before = ft.memory_allocated()
    ft.reset_peak_memory()
    FORMS[name](x, y)
    assert ft.max_memory_allocated() - before <= 256  # a wrapped number


def test_integers():
    x = ft.tensor([5, 6], dtype=ft.uint8)
    assert x.clone().add_(x, alpha=3).tolist() == [20, 24]
    assert x.clone().sub_(1, alpha=3).tolist() == [2, 3]
    assert x.clone().addcmul_(x, x, value=2).tolist() == [55, 78]
    for wrong in (
        lambda x: x.add_(x, alpha=0.5),
        lambda x: x.addcdiv_(x, x),
        lambda x: x.lerp_(x, 0.5),
    ):
        with pytest.raises(ft.DTypeError, match="stored as uint8, got float32"):
            wrong(x)
    assert x.tolist() == [5, 6]


def test_an_operand_that_is_a_view_of_a_tensor_written_since():
    base = ft.zeros(3)
    view = base[:2]
    base.add_(ft.ones(3, requires_grad=True))
    with ft.no_grad():
        for write in (
            lambda x: x.add_(view),
            lambda x: x.copy_(view),
            lambda x: x.add_(view, alpha=2.0).mul_(0.5),
            lambda x: x.addcmul_(view, view),
        ):
            assert write(ft.zeros(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.expand(3, 5)[1, 1:3],
        lambda x: x[None].expand(2, 5)[1].view(5, 1)[2],
        lambda x: x.unfold(0, 3, 1)[0],
        lambda x: x.unfold(0, 3, 1).unfold(0, 2, 1)[1, 1],
        lambda x: x[1:].unfold(0, 2, 1)[1].expand(2, 2)[1:2],
        lambda x: x.as_strided((2, 2), (1, 1))[0],
    ],
)
def test_writes_to_one_of_several_showings_of_an_element(view):
    """What is written is seen in all of them, also where a write makes a new value."""

    def f(x):
        part = view(x)
        part.fill_(5.0)
        part.mul_(x[-1] + 2)
        return x

    base = ft.arange(5.0)
    expected = f(base.clone()).tolist()
    assert expected != base.tolist()
    assert f(base.clone().requires_grad_() * 1).tolist() == expected
    assert ft.vmap(f)(ft.stack([base, base])).tolist() == [expected, expected]
    assert ft.compile(f)(base.clone()).tolist() == expected
    slopes = ft.jacrev(lambda x: f(x * 1))(base)
    assert slopes.tolist() == ft.jacfwd(lambda x: f(x * 1))(base).tolist()


@pytest.mark.parametrize("views", [0, 1, 2])
def test_fill_of_expanded_tensors(views):
    def write(x):
        y = x * 1
        z = y.expand(4, 3) if views < 2 else y.unsqueeze(0).expand(2, 3)[0].expand(2, 3)
        z = z[1:] if views else z
        z.fill_(2.0)
        return (y * x).sum() + z.sum()

    x = ft.tensor([1.0, 2.0, 3.0])
    rows = 3 if views == 1 else 4 if not views else 1
    assert write(x).item() == 12.0 + 6 * rows
    assert ft.grad(write)(x).tolist() == [2, 2, 2]
    assert ft.vmap(write)(ft.stack([x, x + 1])).tolist() == [12.0 + 6 * rows, 18.0 + 6 * rows]
    assert ft.vmap(ft.grad(write))(ft.stack([x, x])).tolist() == [[2, 2, 2]] * 2
    assert ft.jvp(write, (x,), (x,))[1].item() == 12.0
    leaf = x.clone().requires_grad_()
    write(leaf).backward()
    assert leaf.grad.tolist() == [2, 2, 2]
    base = ft.zeros(3)
    base.expand(2, 3).zero_().fill_(7)
    assert base.tolist() == [7, 7, 7]
    with pytest.raises(ValueError, match="one memory location"):
        base.expand(2, 3).copy_(ft.ones(2, 3))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("clamp_", (1.5,)), ("clamp_min_", (1.5,)), ("clamp_max_", (0.5,)), ("ldexp_", (1.5,)),
        ("float_power_", (2,)), ("igamma_", (2,)), ("rad2deg_", ()), ("sinc_", ()), ("logit_", ()),
        ("polygamma_", (1,)), ("addmm_", (ft.ones(2, 2), ft.ones(2, 2))),
    ],
)  # fmt: skip
def test_integers_refuse_results_with_fractions(name, args):
    x = ft.ones((2, 2), dtype=ft.int64)
    with pytest.raises(TypeError, match=f"^{name}: expected a result that can be stored as"):
        getattr(x, name)(*args)
    assert x.tolist() == [[1, 1], [1, 1]]


def test_rounded_quotients_are_stored_as_their_category():
    x = ft.tensor([7, -7])
    with pytest.raises(TypeError, match=r"^div_: expected a result that can be stored as"):
        x.div_(ft.tensor([2.0, 2.0]), rounding_mode="trunc")
    assert x.div_(2, rounding_mode="trunc").tolist() == [3, -3]
