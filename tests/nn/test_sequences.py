"""Recurrent layers over packed sequences, their utilities, caches and positions, embedding bags."""

import pytest

import functorch_like as ft
import nn
from nn.utils import rnn

LENGTHS = [3, 5, 1]


@pytest.mark.torch
@pytest.mark.parametrize("batch_first", [False, True])
def test_packing_as_torch(bridge, batch_first):
    theirs = bridge.torch.nn.utils.rnn
    rows = [ft.randn(n, 2, requires_grad=True) for n in LENGTHS]
    others = [bridge.theirs(row).requires_grad_() for row in rows]
    a = rnn.pack_sequence(rows, enforce_sorted=False)
    b = theirs.pack_sequence(others, enforce_sorted=False)
    for x, y in zip(a, b, strict=True):
        assert x.tolist() == y.tolist()
    padded, lengths = rnn.pad_packed_sequence(a, batch_first, -1.0, total_length=6)
    padded_, lengths_ = theirs.pad_packed_sequence(b, batch_first, -1.0, total_length=6)
    assert padded.tolist() == padded_.tolist() and lengths.tolist() == lengths_.tolist() == LENGTHS
    (padded * padded).sum().backward(), (padded_ * padded_).sum().backward()
    for row, other in zip(rows, others, strict=True):
        bridge.close(row.grad, other.grad)
    for side in ("left", "right"):
        x = rnn.pad_sequence(rows, batch_first, 7.0, side)
        assert x.tolist() == theirs.pad_sequence(others, batch_first, 7.0, side).tolist()
    x = rnn.pad_sequence(rows, batch_first)
    for row, back in zip(rows, rnn.unpad_sequence(x, LENGTHS, batch_first), strict=True):
        assert row.tolist() == back.tolist()
    packed = rnn.pack_padded_sequence(x, ft.tensor(LENGTHS), batch_first, enforce_sorted=False)
    assert packed.data.tolist() == a.data.tolist()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("RNN", {}),
        ("GRU", {"bidirectional": True}),
        ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
        ("LSTM", {"proj_size": 2, "bidirectional": True}),
    ],
)
def test_recurrent_layers_over_packed_sequences(bridge, name, kwargs, given):
    ours = getattr(nn, name)(4, 3, **kwargs)
    theirs = getattr(bridge.torch.nn, name)(4, 3, **kwargs)
    ours.load_state_dict(bridge.state(theirs))
    rows = [ft.randn(n, 4) for n in LENGTHS]
    a = rnn.pack_sequence(rows, enforce_sorted=False)
    b = bridge.torch.nn.utils.rnn.pack_sequence(list(map(bridge.theirs, rows)), False)
    count = ours.num_layers * (2 if ours.bidirectional else 1)
    states = [ft.randn(count, 3, width) for width in (ours.proj_size or 3, 3)]
    hx, hx_ = None, None
    if given:
        hx, hx_ = tuple(states), tuple(map(bridge.theirs, states))
        hx, hx_ = (hx, hx_) if name == "LSTM" else (hx[0], hx_[0])
    (out, end), (out_, end_) = ours(a, hx), theirs(b, hx_)
    bridge.close(out.data, out_.data)
    ends = (end, end_) if name == "LSTM" else ((end,), (end_,))
    for x, y in zip(*ends, strict=True):
        bridge.close(x, y)
    (out.data**2).sum().backward(), (out_.data**2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        bridge.close(p.grad, q.grad, 1e-4)


def test_packed_equals_single_sequences():
    layer = nn.LSTM(4, 3, bidirectional=True)
    rows = [ft.randn(n, 4) for n in LENGTHS]
    out, (h, c) = layer(rnn.pack_sequence(rows, enforce_sorted=False))
    padded, _ = rnn.pad_packed_sequence(out)
    for i, row in enumerate(rows):
        alone, (h1, c1) = layer(row)
        assert ft.allclose(padded[: len(row), i], alone, atol=1e-6)
        assert ft.allclose(h[:, i], h1, atol=1e-6) and ft.allclose(c[:, i], c1, atol=1e-6)


def test_dropout_between_layers():
    layer = nn.GRU(4, 8, num_layers=2, dropout=0.5)
    x = ft.randn(5, 3, 4)
    assert layer(x)[0].tolist() != layer(x)[0].tolist()
    assert layer.eval()(x)[0].tolist() == layer(x)[0].tolist()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: rnn.pack_padded_sequence(ft.zeros(4, 2), [2, 3]), "expected lengths that fall"),
        (lambda: rnn.pack_padded_sequence(ft.zeros(4, 2), [5, 3]), "lengths within 1..4"),
        (lambda: rnn.pack_padded_sequence(ft.zeros(4, 2), [3]), "expected 2 lengths, got 1"),
        (lambda: rnn.pad_sequence([]), "at least one sequence"),
        (lambda: rnn.pad_sequence([ft.zeros(2, 3), ft.zeros(2, 4)]), "expected equal sizes"),
        (lambda: rnn.pad_sequence([ft.zeros(2)], padding_side="top"), "expected padding_side"),
        (
            lambda: rnn.pad_packed_sequence(rnn.pack_sequence([ft.zeros(3)]), total_length=2),
            "expected total_length >= 3",
        ),
        (
            lambda: nn.LSTM(4, 3)(rnn.pack_sequence([ft.zeros(3, 5)])),
            r"LSTM: expected packed data \[elements, 4\]",
        ),
    ],
)
def test_bad_sequences(call, match):
    with pytest.raises((ValueError, RuntimeError), match=match):
        call()


def test_masks_of_attention():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = ft.randn(2, 5, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    out, weights = layer(x, x, x, attn_mask=mask, is_causal=True)
    assert bool((weights.triu(1) == 0).all())
    first, _ = layer(x[:, :1], x[:, :1], x[:, :1])
    assert ft.allclose(out[:, :1], first, atol=1e-6)
    padding = ft.tensor([[False] * 5, [False, False, False, True, True]])
    out, weights = layer(x, x, x, key_padding_mask=padding, average_attn_weights=False)
    assert list(weights.shape) == [2, 2, 5, 5] and bool((weights[1, :, :, 3:] == 0).all())
    alone, none = layer(x[1:, :3], x[1:, :3], x[1:, :3], need_weights=False)
    assert none is None and ft.allclose(out[1, :3], alone[0], atol=1e-6)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_transformer_masks_as_torch(bridge):
    kwargs = {"dropout": 0.0, "batch_first": True, "activation": "gelu"}
    ours = nn.Transformer(4, 2, 2, 2, 8, **kwargs)
    theirs = bridge.torch.nn.Transformer(4, 2, 2, 2, 8, **kwargs)
    ours.load_state_dict(bridge.state(theirs))
    src, tgt = ft.randn(2, 5, 4), ft.randn(2, 3, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    padding = ft.tensor([[False] * 5, [False, False, False, True, True]])
    a = ours(src, tgt, tgt_mask=mask, src_key_padding_mask=padding, tgt_is_causal=True)
    b = theirs(
        bridge.theirs(src),
        bridge.theirs(tgt),
        tgt_mask=bridge.theirs(mask),
        src_key_padding_mask=bridge.theirs(padding),
        tgt_is_causal=True,
    )
    bridge.close(a, b, 1e-5)


def test_kv_cache_gives_the_same_attention():
    x = ft.randn(1, 2, 6, 4)
    whole = ft.scaled_dot_product_attention(x, x, x, is_causal=True)
    cache = nn.KVCache(1, 2, 6, 4)
    parts = []
    for i in range(6):
        keys, values = cache.update(x[:, :, i : i + 1], x[:, :, i : i + 1])
        parts.append(ft.scaled_dot_product_attention(x[:, :, i : i + 1], keys, values))
    assert ft.allclose(ft.cat(parts, 2), whole, atol=1e-6) and len(cache) == 6
    assert cache.state_dict() == {}
    with pytest.raises(ValueError, match="KVCache: expected at most 0 more tokens, got 1"):
        cache.update(x[:, :, :1], x[:, :, :1])
    with pytest.raises(ValueError, match=r"KVCache: expected key \[1, 2, 1, 4\]"):
        cache.update(x[:, :1, :1], x[:, :, :1])
    cache.reset()
    assert len(cache) == 0


def test_rotary_embedding_depends_on_distance_only():
    layer = nn.RotaryEmbedding(4)
    q, k = ft.randn(4, dtype=ft.float64), ft.randn(4, dtype=ft.float64)
    turned = [
        (layer(q.reshape(1, 4), offset=i) * layer(k.reshape(1, 4), offset=i + 3)).sum().item()
        for i in range(4)
    ]
    assert turned == pytest.approx([turned[0]] * 4)
    with pytest.raises(ValueError, match="RotaryEmbedding: expected an even dim"):
        nn.RotaryEmbedding(3)


def test_alibi():
    bias = nn.ALiBi(2)(3)
    assert bias[0].tolist() == [
        [0.0, -float("inf"), -float("inf")],
        [-0.0625, 0.0, -float("inf")],
        [-0.125, -0.0625, 0.0],
    ]
    assert nn.ALiBi(2, causal=False)(3)[0, 0].tolist() == [0.0, -0.0625, -0.125]


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_as_torch(bridge, mode):
    settings = {"mode": mode, "padding_idx": 2}
    ours, theirs = nn.EmbeddingBag(7, 3, **settings), bridge.torch.nn.EmbeddingBag(7, 3, **settings)
    ours.load_state_dict(bridge.state(theirs))
    assert repr(ours) == repr(theirs)
    rows, joined, starts = (
        ft.tensor([[1, 2, 0], [2, 6, 6]]),
        ft.tensor([1, 2, 4, 5, 4]),
        ft.tensor([0, 3, 3]),
    )
    for args in ((rows,), (joined, starts)):
        ours.weight.grad = theirs.weight.grad = None
        a, b = ours(*args), theirs(*map(bridge.theirs, args))
        bridge.close(a, b)
        (a * a).sum().backward(), (b * b).sum().backward()
        bridge.close(ours.weight.grad, theirs.weight.grad)
    with pytest.raises(
        (IndexError, ValueError, RuntimeError), match=r"EmbeddingBag: expected row numbers 0..6"
    ):
        ours(ft.tensor([[7]]))
    table = nn.EmbeddingBag.from_pretrained(ft.ones(3, 2), mode="sum")
    assert table(ft.tensor([[0, 1]])).tolist() == [[2, 2]] and not table.weight.requires_grad


def test_unpack_sequence_gives_what_was_packed():
    rows = [ft.arange(2.0), ft.arange(3.0), ft.ones(1)]
    packed = nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)
    assert [t.tolist() for t in nn.utils.rnn.unpack_sequence(packed)] == [t.tolist() for t in rows]
