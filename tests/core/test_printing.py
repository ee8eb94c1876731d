"""Text of tensors: exactly torch's, but for `torch.` in front of dtypes."""

import numpy as np
import pytest

import functorch_like as ft

CASES = [
    (lambda: ft.tensor(1), "tensor(1)"),
    (lambda: ft.tensor(1.0), "tensor(1.)"),
    (lambda: ft.tensor(1.5), "tensor(1.5000)"),
    (lambda: ft.tensor(True), "tensor(True)"),
    (lambda: ft.tensor(1 - 2j), "tensor(1.-2.j)"),
    (lambda: ft.tensor([1, -20, 300]), "tensor([  1, -20, 300])"),
    (lambda: ft.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: ft.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: ft.tensor([0.1, -22.75]), "tensor([  0.1000, -22.7500])"),
    (
        lambda: ft.tensor([[1, 2], [3, 4]], dtype=ft.float32),
        "tensor([[1., 2.],\n        [3., 4.]])",
    ),
    (lambda: ft.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
    (lambda: ft.tensor([1e9, 1.0]), "tensor([1.0000e+09, 1.0000e+00])"),
    (lambda: ft.tensor([1e6, 1.0]), "tensor([1.0000e+06, 1.0000e+00])"),
    (lambda: ft.tensor([123456.0]), "tensor([123456.])"),
    (
        lambda: ft.tensor([1.0, float("nan"), float("inf"), -float("inf")]),
        "tensor([1., nan, inf, -inf])",
    ),
    (lambda: ft.tensor([0.5, float("nan")]), "tensor([0.5000,    nan])"),
    (lambda: ft.tensor([0.0, -0.0]), "tensor([0., -0.])"),
    (lambda: ft.tensor([True, False]), "tensor([ True, False])"),
    (lambda: ft.tensor([1 + 2j, -0.5 + 0j]), "tensor([ 1.0000+2.j, -0.5000+0.j])"),
    (lambda: ft.tensor([]), "tensor([])"),
    (lambda: ft.tensor([], dtype=ft.int64), "tensor([], dtype=int64)"),
    (lambda: ft.zeros(2, 0), "tensor([], size=(2, 0))"),
    (lambda: ft.zeros(0, 3, dtype=ft.bool_), "tensor([], size=(0, 3), dtype=bool)"),
    (lambda: ft.tensor([1.0], dtype=ft.float64), "tensor([1.], dtype=float64)"),
    (lambda: ft.tensor([1], dtype=ft.int32), "tensor([1], dtype=int32)"),
    (lambda: ft.tensor([1], dtype=ft.uint8), "tensor([1], dtype=uint8)"),
    (lambda: ft.tensor([1.5], dtype=ft.float16), "tensor([1.5000], dtype=float16)"),
    (lambda: ft.tensor([1.5], dtype=ft.bfloat16), "tensor([1.5000], dtype=bfloat16)"),
    (lambda: ft.tensor([1j], dtype=ft.complex128), "tensor([0.+1.j], dtype=complex128)"),
    (lambda: ft.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    (lambda: ft.tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward0>)"),
    (lambda: ft.tensor([1.0], requires_grad=True).sum(), "tensor(1., grad_fn=<SumBackward0>)"),
    (lambda: ft.ones(2, 1, 2), "tensor([[[1., 1.]],\n\n        [[1., 1.]]])"),
    (lambda: ft.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    (
        lambda: ft.zeros(1001, 7),
        "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        ...,\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
        "        [0., 0., 0.,  ..., 0., 0., 0.]])",
    ),
    (
        lambda: ft.arange(30),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])",
    ),
    (lambda: ft.empty(2, 3, device="meta"), "tensor(..., device='meta', size=(2, 3))"),
]


@pytest.mark.parametrize(("make", "text"), CASES, ids=range(len(CASES)))
def test_text(make, text):
    assert repr(make()) == text
    assert str(make()) == text


def _torch_text(t):
    """torch's text with our dtype names; a suffix moved to its own line is put back, as names are
    shorter."""
    return repr(t).replace("torch.", "").replace(",\n       dtype", ", dtype")


@pytest.mark.torch
@pytest.mark.parametrize(
    "shape",
    [(), (5,), (40,), (2, 3), (2, 3, 4), (1, 2, 1, 3), (1001,), (40, 40), (7, 3, 60), (1, 2000)],
)
def test_as_torch_prints(bridge, shape):
    rng = np.random.default_rng(0)
    n = int(np.prod(shape))
    normal = rng.standard_normal(n)
    for values in (
        normal,
        normal * 1e5,
        normal * 1e-3,
        np.round(normal * 3),
        np.round(normal * 3) * 1e7,
        np.exp(normal * 5),
        np.where(normal > 0.5, np.nan, normal),
        np.where(normal > 0.5, -np.inf, 1.0),
        np.zeros(n),
        np.full(n, np.nan),
    ):
        a = values.reshape(shape)
        for dtype in ("float32", "float64", "complex64") + (
            ("int32", "int64", "bool") if np.isfinite(a).all() else ()
        ):
            b = a.astype(dtype)
            assert repr(ft.tensor(b)).replace(",\n       dtype", ", dtype") == _torch_text(
                bridge.torch.tensor(b)
            )


def test_options():
    ft.set_printoptions(precision=2)
    try:
        assert repr(ft.tensor([1.234])) == "tensor([1.23])"
        ft.set_printoptions(profile="full")
        assert "..." not in repr(ft.zeros(1001))
        ft.set_printoptions(threshold=5, edgeitems=1)
        assert repr(ft.arange(10)) == "tensor([0,  ..., 9])"
        ft.set_printoptions(sci_mode=True, profile="default")
        assert repr(ft.tensor([1.0])) == "tensor([1.0000e+00])"
    finally:
        ft.set_printoptions(profile="default", sci_mode=None)
    assert repr(ft.tensor([1.0])) == "tensor([1.])"


def test_views_and_strides_print_their_own_values():
    x = ft.arange(6).reshape(2, 3)
    assert repr(x.t()) == "tensor([[0, 3],\n        [1, 4],\n        [2, 5]])"
    assert repr(x[:, 1]) == "tensor([1, 4])"


def test_tracers_show_value_and_transforms():
    seen = []

    def f(x):
        seen.append(repr(x))
        return x.sum()

    ft.vmap(ft.grad(f))(ft.ones(2, 3))
    assert "within grad of vmap" in seen[0] and "mapped" in seen[0]
    ft.grad(f)(ft.ones(2))
    assert seen[1] == "Traced(tensor([1., 1.]), within grad)"


def test_format():
    assert f"{ft.tensor(3.14159):.2f}" == "3.14"
    assert f"{ft.tensor(3):d}" == "3"
    assert f"{ft.tensor([1, 2])}" == "tensor([1, 2])"
    assert f"{ft.tensor(2.5)}" == "2.5"
    with pytest.raises(TypeError):
        f"{ft.tensor([1.0, 2.0]):.2f}"
