"""Attention and positions: against torch, a plain formula, and under transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
SDPA = ft.scaled_dot_product_attention


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


MASK = np.array(
    [[True, False, True], [False, True, True], [True, True, True], [True, False, False]]
)
EMPTY_ROW = MASK & np.array([[True], [False], [True], [True]])


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"is_causal": True, "scale": 2.0}],
    ids=str,
)
def test_attention_against_torch(against_torch, options):
    import torch

    theirs = torch.nn.functional.scaled_dot_product_attention
    for q, k, v in (
        ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)),
        ((4, 5), (6, 5), (6, 3)),
        ((2, 4, 5), (2, 2, 5), (2, 2, 5)),
    ):
        against_torch(
            lambda *x: SDPA(*x, **options),
            lambda *x: theirs(*x, **options),
            normal(*q),
            normal(*k),
            normal(*v),
        )


def test_masks_against_torch(against_torch):
    import torch

    theirs = torch.nn.functional.scaled_dot_product_attention
    q, k, v = normal(2, 2, 4, 5), normal(2, 2, 3, 5), normal(2, 2, 3, 2)
    for mask in (MASK, EMPTY_ROW, np.stack([MASK, ~MASK])[:, None]):
        against_torch(SDPA, theirs, q, k, v, mask)
        bias = np.where(mask, normal(4, 3), -np.inf)
        against_torch(SDPA, theirs, q, k, v, bias)
    against_torch(SDPA, theirs, q, k, v, normal(4, 3))


def test_grouped_queries_against_torch(against_torch):
    import torch

    theirs = torch.nn.functional.scaled_dot_product_attention
    q, k, v = normal(2, 6, 4, 5), normal(2, 2, 3, 5), normal(2, 2, 3, 4)
    for options in ({}, {"is_causal": True}):
        against_torch(
            lambda *x, o=options: SDPA(*x, enable_gqa=True, **o),
            lambda *x, o=options: theirs(*x, enable_gqa=True, **o),
            q,
            k,
            v,
        )
    against_torch(
        lambda *x: SDPA(*x, enable_gqa=True), lambda *x: theirs(*x, enable_gqa=True), q, k, v, MASK
    )


def test_long_attention_against_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.scaled_dot_product_attention
    for options in ({}, {"is_causal": True}):
        arrays = [normal(1, 2, 300, 8).astype("float32") for _ in range(4)]
        x = [ft.tensor(a).requires_grad_() for a in arrays[:3]]
        y = [torch.tensor(a, requires_grad=True) for a in arrays[:3]]
        mine, other = SDPA(*x, **options), theirs(*y, **options)
        mine.backward(ft.tensor(arrays[3]))
        other.backward(torch.tensor(arrays[3]))
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), atol=1e-5)
        for a, b in zip(x, y, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=3e-5)


def test_attention_of_16_bits():
    q, k, v = (ft.tensor(normal(2, 9, 4)).bfloat16() for _ in range(3))
    got = SDPA(q, k, v, is_causal=True)
    assert got.dtype == ft.bfloat16
    wide = SDPA(q.double(), k.double(), v.double(), is_causal=True)
    np.testing.assert_allclose(got.double().numpy(), wide.numpy(), atol=2e-2)


def test_attention_is_its_formula():
    q, k, v = normal(3, 4), normal(5, 4), normal(5, 2)
    scores = np.exp(q @ k.T / math.sqrt(4))
    expected = scores / scores.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(SDPA(ft.tensor(q), ft.tensor(k), ft.tensor(v)).numpy(), expected)


def test_attention_under_transforms(transforms):
    transforms(SDPA, double(2, 3), double(3, 3), double(3, 2))
    transforms(
        lambda *x: SDPA(*x, is_causal=True), double(2, 3, 2), double(2, 3, 2), double(2, 3, 2)
    )
    mask = ft.tensor(EMPTY_ROW)
    transforms(lambda *x: SDPA(*x, mask), double(4, 2), double(3, 2), double(3, 2))
    transforms(SDPA, double(4, 2), double(3, 2), double(3, 2), double(4, 3))


def test_a_mask_can_be_mapped():
    q, k, v = double(4, 2), double(3, 2), double(3, 2)
    masks = ft.tensor(np.stack([MASK, EMPTY_ROW]))
    got = ft.vmap(lambda m: SDPA(q, k, v, m))(masks)
    for lane in range(2):
        np.testing.assert_allclose(got[lane].numpy(), SDPA(q, k, v, masks[lane]).numpy())


def test_dropout_of_weights():
    q, k, v = double(4, 2), double(3, 2), ft.ones(3, 1, dtype="float64")
    got = SDPA(q, k, v, dropout_p=0.5)
    assert got.shape == (4, 1)
    assert not bool((got == 1).all())


def test_bad_calls():
    x = ft.zeros(2, 3)
    with pytest.raises(ShapeError, match="scaled_dot_product_attention: expected query"):
        SDPA(x, ft.zeros(2, 4), x)
    with pytest.raises(ValueError, match="is_causal"):
        SDPA(x, x, x, ft.zeros(2, 2), is_causal=True)
    with pytest.raises(DTypeError, match="floating"):
        SDPA(x.long(), x.long(), x.long())
    with pytest.raises(DTypeError, match="mask"):
        SDPA(x, x, x, ft.zeros(2, 2, dtype="int64"))
    with pytest.raises(ShapeError, match="heads"):
        SDPA(ft.zeros(3, 2, 4), ft.zeros(2, 2, 4), ft.zeros(2, 2, 4), enable_gqa=True)
    with pytest.raises(ShapeError, match="rope"):
        ft.rope(ft.zeros(2, 3))


HEADS = [
    {},
    {"attn_mask": "bool"},
    {"attn_mask": "float3"},
    {"key_padding_mask": True},
    {"attn_mask": "bool", "key_padding_mask": True},
    {"add_zero_attn": True, "bias": True, "key_padding_mask": True, "attn_mask": "bool"},
    {"separate": True},
    {"average_attn_weights": False},
    {"need_weights": False},
    {"unbatched": True, "key_padding_mask": True},
    {"self": True},
]


@pytest.mark.parametrize("case", HEADS, ids=str)
def test_multi_head_attention_against_torch(against_torch, case):
    import torch

    rows, columns, batch, width, heads = 3, 4, 2, 6, 2
    case = dict(case)
    if case.pop("self", False):
        columns = rows
        sequences = [normal(rows, batch, width)]
    else:
        sequences = [normal(rows, batch, width), normal(columns, batch, width)]
        sequences.append(normal(columns, batch, width))
    unbatched = case.pop("unbatched", False)
    if unbatched:
        sequences = [x[:, 0] for x in sequences]
    if case.pop("separate", False):
        sequences = [
            normal(rows, batch, width),
            normal(columns, batch, 3),
            normal(columns, batch, 5),
        ]
        weights = [normal(width, width), normal(width, 3), normal(width, 5)]
    else:
        weights = [normal(3 * width, width)]
    biases = [normal(1, 1, width), normal(1, 1, width)] if case.pop("bias", False) else []
    mask = {
        None: [],
        "bool": [np.triu(np.ones((rows, columns), bool), 2)],
        "float3": [normal(batch * heads, rows, columns)],
    }[case.pop("attn_mask", None)]
    padding = np.zeros((batch, columns), bool)
    padding[0, -1] = True
    padding = padding[0] if unbatched else padding
    pads = [padding] if case.pop("key_padding_mask", False) else []
    zero = case.pop("add_zero_attn", False)

    def call(function):
        def run(*x):
            x = list(x)

            def take(n):
                taken, x[:] = x[:n], x[n:]
                return taken

            seqs, w = take(len(sequences)), take(len(weights))
            q, k, v = seqs * 3 if len(seqs) == 1 else seqs
            in_bias, out_w, out_b = take(3)
            bk, bv = take(2) if biases else (None, None)
            options = dict(case)
            if mask:
                options["attn_mask"] = take(1)[0]
            if pads:
                options["key_padding_mask"] = take(1)[0]
            if len(w) == 3:
                options.update(
                    use_separate_proj_weight=True,
                    q_proj_weight=w[0],
                    k_proj_weight=w[1],
                    v_proj_weight=w[2],
                )
            return function(
                q, k, v, width, heads, None if len(w) == 3 else w[0], in_bias, bk, bv, zero, 0.0,
                out_w, out_b, **options,
            )  # fmt: skip

        return run

    against_torch(
        call(ft.multi_head_attention_forward),
        call(torch.nn.functional.multi_head_attention_forward),
        *sequences,
        *weights,
        normal(3 * width),
        normal(width, width),
        normal(width),
        *biases,
        *mask,
        *pads,
    )


def test_multi_head_attention_under_transforms(transforms):
    def attention(x, w, b):
        return ft.multi_head_attention_forward(
            x, x, x, 4, 2, w, b, None, None, False, 0.0, ft.eye(4, dtype="float64"), None
        )

    transforms(attention, double(3, 1, 4), double(12, 4), double(12))


def test_rope_turns_by_the_position(transforms):
    x = normal(2, 5, 6)
    freqs = 10000.0 ** (-np.arange(0, 6, 2) / 6)
    angles = np.arange(5)[:, None] * freqs
    z = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * angles)
    np.testing.assert_allclose(
        ft.rope(ft.tensor(x)).numpy(), np.concatenate([z.real, z.imag], -1), atol=1e-6
    )
    z = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    expected = np.stack([z.real, z.imag], -1).reshape(x.shape)
    np.testing.assert_allclose(ft.rope(ft.tensor(x), interleaved=True).numpy(), expected, atol=1e-6)
    part = ft.rope(ft.tensor(x), 2)
    assert bool((part[..., 2:] == ft.tensor(x)[..., 2:]).all())
    transforms(ft.rope, double(3, 4))


def test_rope_of_a_product_depends_on_the_distance():
    q, k = ft.tensor(normal(1, 4)), ft.tensor(normal(1, 4))
    near = (ft.rope(q, offset=3) * ft.rope(k, offset=1)).sum()
    far = (ft.rope(q, offset=12) * ft.rope(k, positions=ft.tensor([10]))).sum()
    assert abs(float(near - far)) < 1e-6


def test_alibi_slopes_of_other_numbers_than_powers_of_two():
    np.testing.assert_allclose(
        ft.alibi_slopes(3, "float64").numpy(), [2.0**-4, 2.0**-8, 2.0**-2], rtol=1e-15
    )
    bias = ft.alibi_bias(2, 2, 3, "float64")
    np.testing.assert_allclose(bias[0].numpy(), -(2.0**-4) * np.array([[1, 0, 1], [2, 1, 0]]))
