"""All layers beside torch's, from one table: state dicts, outputs, gradients, modes, reprs; and
each under vmap(grad) through functional_call.
"""

import pytest

import functorch_like as ft
import nn
from functorch_like.testing import assert_close

SEQ, IMAGE, VOLUME = (2, 4, 9), (2, 4, 8, 7), (2, 4, 5, 6, 4)


def spatial(name, image_args, **kwargs):
    """Entries of a layer in its 1-, 2- and 3-dimensional form."""
    return [
        (f"{name}{n}d", image_args, kwargs, [shape])
        for n, shape in ((1, SEQ), (2, IMAGE), (3, VOLUME))
    ]


# name, constructor arguments, keyword arguments, shapes of the inputs
TABLE = [
    ("Hardshrink", (), {}, [(3, 4)]),
    ("Hardshrink", (0.1,), {}, [(3, 4)]),
    ("Softshrink", (), {}, [(3, 4)]),
    ("Softshrink", (0.1,), {}, [(3, 4)]),
    ("Tanhshrink", (), {}, [(3, 4)]),
    ("Softmax2d", (), {}, [IMAGE]),
    ("Softmax2d", (), {}, [IMAGE[1:]]),
    ("Hardsigmoid", (), {}, [(3, 4)]),
    ("PReLU", (4,), {}, [IMAGE]),
    ("Bilinear", (3, 4, 2), {"bias": False}, [(2, 5, 3), (2, 5, 4)]),
    *spatial("Conv", (4, 6, 3)),
    *spatial("Conv", (4, 6, 3), stride=2, padding=1, groups=2),
    *spatial("Conv", (4, 6, 2), padding="same", bias=False),
    *spatial("Conv", (4, 6, 3), padding=1, padding_mode="reflect"),
    *spatial("Conv", (4, 6, 3), padding=1, padding_mode="circular"),
    *spatial("Conv", (4, 2, 2), dilation=2, padding="valid"),
    ("Conv1d", (4, 6, 3), {}, [SEQ[1:]]),
    ("Conv3d", (4, 6, (1, 2, 3)), {"stride": (1, 2, 1)}, [VOLUME[1:]]),
    *spatial("ConvTranspose", (4, 6, 3)),
    *spatial("ConvTranspose", (4, 6, 3), stride=2, padding=1, output_padding=1, groups=2),
    *spatial("ConvTranspose", (4, 6, 2), dilation=2, bias=False),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 1)}, [IMAGE[1:]]),
    *spatial("MaxPool", (2,)),
    *spatial("MaxPool", (3,), stride=2, padding=1, ceil_mode=True),
    *spatial("MaxPool", (2,), dilation=2, return_indices=True),
    *spatial("AvgPool", (2,)),
    *spatial("AvgPool", (3,), stride=2, padding=1, count_include_pad=False),
    *spatial("AvgPool", (3,), stride=2, ceil_mode=True),
    ("AvgPool3d", (2,), {"divisor_override": 3}, [VOLUME]),
    *spatial("AdaptiveAvgPool", (3,)),
    *spatial("AdaptiveMaxPool", (3,)),
    *spatial("AdaptiveMaxPool", (1,), return_indices=True),
    ("AdaptiveAvgPool3d", ((2, None, 3),), {}, [VOLUME[1:]]),
    *spatial("LPPool", (2, 2), stride=1),
    *spatial("LPPool", (4, 2), ceil_mode=True),
    *spatial("ReflectionPad", (1,)),
    *spatial("ReplicationPad", (2,)),
    *spatial("CircularPad", (1,)),
    *spatial("ZeroPad", (2,)),
    *spatial("ConstantPad", (1, 2.5)),
    ("ReflectionPad1d", ((3, 1),), {}, [SEQ[1:]]),
    ("ReplicationPad2d", ((3, 1, 0, 2),), {}, [IMAGE[1:]]),
    ("CircularPad3d", ((3, 1, 0, 2, 1, 1),), {}, [VOLUME]),
    ("ZeroPad2d", ((3, -1, 0, 2),), {}, [IMAGE]),
    ("ConstantPad3d", ((3, 1, 0, 2, 1, 1), -1.0), {}, [VOLUME]),
    *spatial("BatchNorm", (4,)),
    *spatial("BatchNorm", (4,), momentum=None, affine=False),
    *spatial("BatchNorm", (4,), track_running_stats=False, bias=False),
    *spatial("InstanceNorm", (4,)),
    *spatial("InstanceNorm", (4,), affine=True, track_running_stats=True),
    *spatial("InstanceNorm", (4,), affine=True, bias=False, momentum=0.3),
    ("InstanceNorm2d", (4,), {"affine": True}, [IMAGE[1:]]),
    ("GroupNorm", (2, 4), {}, [IMAGE]),
    ("GroupNorm", (4, 4), {"affine": False, "eps": 0.1}, [SEQ]),
    ("GroupNorm", (1, 4), {"bias": False}, [(3, 4)]),
    ("RMSNorm", (7,), {}, [IMAGE]),
    ("RMSNorm", ((8, 7),), {"eps": 0.1, "elementwise_affine": False}, [IMAGE]),
    ("LocalResponseNorm", (2,), {"alpha": 0.1}, [IMAGE]),
    ("LocalResponseNorm", (3,), {"alpha": 0.1, "k": 2.0, "beta": 0.5}, [SEQ]),
    ("PixelShuffle", (2,), {}, [IMAGE]),
    ("PixelUnshuffle", (2,), {}, [(2, 3, 4, 6)]),
    ("ChannelShuffle", (2,), {}, [IMAGE]),
    ("Unfold", (3,), {"padding": 1, "stride": 2}, [IMAGE]),
    ("Fold", ((8, 7), (2, 3)), {"dilation": 2}, [(2, 24, 18)]),
    ("Upsample", (), {"scale_factor": 2}, [IMAGE]),
    ("Upsample", ((5, 9),), {"mode": "bilinear"}, [IMAGE]),
    ("Upsample", (12,), {"mode": "linear", "align_corners": True}, [SEQ]),
    ("Upsample", (), {"scale_factor": 1.5, "mode": "trilinear"}, [VOLUME]),
    ("Upsample", (), {"scale_factor": 1.5, "mode": "bicubic"}, [IMAGE]),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, [IMAGE]),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, [IMAGE]),
    ("CosineSimilarity", (), {}, [(3, 5), (3, 5)]),
    ("CosineSimilarity", (-2,), {"eps": 0.1}, [(3, 5, 2), (3, 5, 2)]),
    ("PairwiseDistance", (), {}, [(3, 5), (3, 5)]),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, [(3, 5), (3, 5)]),
    ("RNN", (5, 3), {}, [(4, 2, 5)]),
    ("RNN", (5, 3, 2, "relu"), {"bidirectional": True}, [(4, 2, 5)]),
    ("LSTM", (5, 3), {}, [(4, 2, 5)]),
    ("LSTM", (5, 3), {"num_layers": 2, "bidirectional": True, "batch_first": True}, [(2, 4, 5)]),
    ("LSTM", (5, 4), {"num_layers": 2, "proj_size": 3}, [(4, 2, 5)]),
    ("LSTM", (5, 3), {"bias": False}, [(4, 5)]),
    ("GRU", (5, 3), {}, [(4, 2, 5)]),
    ("GRU", (5, 3, 2), {"bidirectional": True, "bias": False}, [(4, 2, 5)]),
    ("RNNCell", (5, 3), {}, [(2, 5)]),
    ("RNNCell", (5, 3), {"nonlinearity": "relu", "bias": False}, [(2, 5), (2, 3)]),
    ("LSTMCell", (5, 3), {}, [(2, 5)]),
    ("GRUCell", (5, 3), {}, [(2, 5), (2, 3)]),
    ("GRUCell", (5, 3), {}, [(5,)]),
    ("MultiheadAttention", (6, 2), {}, [(4, 2, 6), (5, 2, 6), (5, 2, 6)]),
    ("MultiheadAttention", (6, 3), {"batch_first": True, "bias": False}, [(2, 4, 6)] * 3),
    (
        "MultiheadAttention",
        (6, 2),
        {"kdim": 3, "vdim": 5, "add_bias_kv": True, "add_zero_attn": True},
        [(4, 2, 6), (5, 2, 3), (5, 2, 5)],
    ),
    ("MultiheadAttention", (6, 2), {}, [(4, 6), (5, 6), (5, 6)]),
    ("TransformerEncoderLayer", (6, 2, 8), {"dropout": 0.0}, [(4, 2, 6)]),
    (
        "TransformerEncoderLayer",
        (6, 2, 8),
        {"dropout": 0.0, "norm_first": True, "activation": "gelu", "batch_first": True},
        [(2, 4, 6)],
    ),
    ("TransformerDecoderLayer", (6, 2, 8), {"dropout": 0.0}, [(4, 2, 6), (5, 2, 6)]),
    (
        "TransformerDecoderLayer",
        (6, 2, 8),
        {"dropout": 0.0, "norm_first": True, "bias": False},
        [(4, 2, 6), (5, 2, 6)],
    ),
    ("Transformer", (6, 2, 1, 1, 8), {"dropout": 0.0}, [(5, 2, 6), (4, 2, 6)]),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(TABLE)]
# torch builds these with a class of its own inside, or prints what is a setting of ours too
OTHER_REPR = {"MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer"}
OTHER_REPR |= {"Transformer"}


def tensors(value):
    if isinstance(value, (tuple, list)):
        return [t for item in value for t in tensors(item)]
    return [] if value is None else [value]


def total(values):
    """A scalar in which every element of every floating result has another weight."""
    result = 0.0
    for value in tensors(values):
        if value.is_floating_point():
            flat = value.reshape(-1)
            n = flat.shape[0]
            result = result + (flat * flat * weights(n, flat)).sum()
    return result


def weights(n, like):
    values = [1.0 + 0.1 * (i % 7) for i in range(n)]
    if isinstance(like, ft.Tensor):
        return ft.tensor(values, dtype=like.dtype)
    return like.new_tensor(values)


DROPOUTS = [f"Dropout{n}" for n in ("", "1d", "2d", "3d")]
DROPOUTS += ["AlphaDropout", "FeatureAlphaDropout"]


def make(name, args, kwargs, module=nn):
    return getattr(module, name)(*args, **kwargs)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), TABLE, ids=IDS)
def test_as_torch(bridge, name, args, kwargs, shapes):
    torch = bridge.torch
    ours = make(name, args, kwargs).double()
    theirs = make(name, args, kwargs, torch.nn).double()
    if name not in OTHER_REPR:
        assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(bridge.state(theirs))
    theirs.load_state_dict({k: bridge.theirs(v) for k, v in ours.state_dict().items()})
    inputs = [ft.randn(*shape, dtype=ft.float64, requires_grad=True) for shape in shapes]
    others = [bridge.theirs(x).requires_grad_() for x in inputs]
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        for x in (*inputs, *others, *ours.parameters(), *theirs.parameters()):
            x.grad = None
        a, b = ours(*inputs), theirs(*others)
        assert len(tensors(a)) == len(tensors(b))
        for x, y in zip(tensors(a), tensors(b), strict=True):
            bridge.close(x, y, 1e-8)
        total(a).backward(), total(b).backward()
        for x, y in zip(inputs, others, strict=True):
            bridge.close(x.grad, y.grad, 1e-7)
        for (n, p), (m, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert n == m
            bridge.close(p.grad, q.grad, 1e-7)
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            bridge.close(p, q, 1e-8)


@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), TABLE, ids=IDS)
def test_per_sample_gradients(name, args, kwargs, shapes):
    """vmap(grad) over a batch of whole inputs is the loop over them."""
    layer = make(name, args, kwargs).double()
    params = {n: p.detach() for n, p in layer.named_parameters()}
    buffers = {n: b.clone() for n, b in layer.named_buffers()}
    batches = [ft.randn(3, *shape, dtype=ft.float64) for shape in shapes]

    def loss(params, *inputs):
        out, _ = nn.functional_call(layer, [params, buffers], inputs, return_buffers=True)
        return total(out)

    both = ft.grad(loss, argnums=(0, 1))
    mapped = ft.vmap(both, in_dims=(None, *[0] * len(shapes)))(params, *batches)
    for i in range(3):
        single = both(params, *[batch[i] for batch in batches])
        for n, value in single[0].items():
            assert_close(mapped[0][n][i], value, rtol=1e-8, atol=1e-8)
        assert_close(mapped[1][i], single[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropouts(name):
    layer = getattr(nn, name)(0.3)
    shape = {"Dropout1d": (40, 50, 3), "Dropout3d": (40, 50, 2, 2, 2)}.get(name, (40, 50, 3, 2))
    x = ft.randn(*shape)
    assert layer.eval()(x).tolist() == x.tolist() and repr(layer) == f"{name}(p=0.3, inplace=False)"
    out = layer.train()(x)
    if name == "Dropout":
        dropped, kept = out == 0, x / 0.7
    elif "Alpha" in name:
        floor = -1.7580993408473766
        scale = (0.7 * (1 + 0.3 * floor**2)) ** -0.5
        kept = (x - floor * 0.3) * scale
        dropped = (out - (floor - floor * 0.3) * scale).abs() < 1e-5
        assert out.mean().item() == pytest.approx(0.0, abs=0.1)
        assert out.var().item() == pytest.approx(1.0, abs=0.2)
    else:
        dropped, kept = out == 0, x / 0.7
    assert ft.where(dropped, 0.0, out - kept).abs().max().item() < 1e-5
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.05)
    whole = dropped.reshape(2000, -1).float().mean(1)
    by_channel = name not in ("Dropout", "AlphaDropout")
    assert bool(((whole == 0) | (whole == 1)).all()) == by_channel
    y = x.clone()
    assert getattr(nn, name)(0.3, inplace=True)(y) is y
    assert layer(ft.zeros(0, *shape[1:])).shape[0] == 0
    with pytest.raises(ValueError, match=f"{name}: expected p within"):
        getattr(nn, name)(-0.1)


def test_dropout_under_vmap():
    layer = nn.Dropout2d(0.5)
    x = ft.ones(6, 4, 8, 3, 3)
    out = ft.vmap(layer, randomness="different")(x)
    assert len({str(lane.tolist()) for lane in out}) > 1
    out = ft.vmap(layer, randomness="same")(x)
    assert len({str(lane.tolist()) for lane in out}) == 1
    assert bool(((out.mean((-1, -2)) == 0) | (out.mean((-1, -2)) == 2)).all())


def test_rrelu():
    layer = nn.RReLU(0.1, 0.3)
    x = ft.full((1000,), -1.0, requires_grad=True)
    out = layer(x)
    assert -0.3 <= out.min().item() < -0.28 and -0.12 < out.max().item() <= -0.1
    out.sum().backward()
    assert ft.allclose(x.grad, -out.detach())
    assert layer.eval()(x).tolist() == pytest.approx([-0.2] * 1000)
    assert repr(layer) == "RReLU(lower=0.1, upper=0.3)" and layer(ft.ones(2)).tolist() == [1, 1]


def test_gumbel_softmax():
    import nn.functional as F

    logits = ft.log(ft.tensor([0.2, 0.3, 0.5])).expand(4000, 3)
    soft = F.gumbel_softmax(logits, tau=0.5)
    assert ft.allclose(soft.sum(-1), ft.ones(4000))
    hard = F.gumbel_softmax(logits, hard=True)
    assert hard.mean(0).tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.04)
    assert bool(((hard == 0) | ((hard - 1).abs() < 1e-6)).all())
    x = ft.zeros(5, 3, requires_grad=True)
    (F.gumbel_softmax(x, hard=True, dim=0) * ft.arange(15.0).reshape(5, 3)).sum().backward()
    assert x.grad.abs().sum().item() > 0


@pytest.mark.parametrize(
    ("layer", "shapes", "match"),
    [
        (nn.Conv1d(3, 2, 3), [(1, 2, 9)], r"Conv1d: expected input \[n, 3, length\]"),
        (nn.Conv3d(3, 2, 3), [(1, 3, 2, 8, 8)], r"Conv3d: expected inputs at least as large"),
        (nn.ConvTranspose2d(3, 2, 3), [(1, 2, 9, 9)], r"ConvTranspose2d: expected input \[n, 3"),
        (nn.MaxPool1d(4), [(1, 1, 2)], r"MaxPool1d: expected inputs at least as large"),
        (nn.AvgPool3d(2), [(4,)], r"AvgPool3d: expected input \[n, c, d, h, w\]"),
        (nn.ReflectionPad2d(3), [(1, 3, 3)], r"ReflectionPad2d: expected padding smaller than"),
        (nn.CircularPad1d(1), [(3,)], r"CircularPad1d: expected input \[n, c, length\]"),
        (nn.BatchNorm3d(3), [(2, 3, 4, 4)], r"BatchNorm3d: expected input \[n, 3, d, h, w\]"),
        (nn.InstanceNorm2d(3), [(2, 4, 4, 4)], r"InstanceNorm2d: expected input \[n, 3, h, w\]"),
        (nn.GroupNorm(2, 4), [(2, 6, 4)], r"GroupNorm: expected input \[n, 4, \.\.\.\]"),
        (nn.RMSNorm(3), [(2, 4)], r"rms_norm: expected input \[\.\.\., 3\]"),
        (nn.Dropout3d(), [(2, 3)], r"dropout3d: expected input \[n, c, d, h, w\]"),
        (nn.Softmax2d(), [(2, 3)], r"Softmax2d: expected input \[n, c, h, w\]"),
        (nn.LSTM(3, 4), [(5, 2, 4)], r"LSTM: expected input \[length, n, 3\]"),
        (nn.GRU(3, 4), [(5, 2, 3), (1, 3, 4)], r"GRU: expected hx \[1, 2, 4\], got \[1, 3, 4\]"),
        (nn.GRUCell(3, 4), [(2, 4)], r"GRUCell: expected input \[n, 3\]"),
        (nn.RNNCell(3, 4), [(2, 3), (3, 4)], r"RNNCell: expected hx \[2, 4\]"),
        (
            nn.MultiheadAttention(4, 2),
            [(5, 2, 4), (5, 2, 3), (5, 2, 4)],
            r"MultiheadAttention: expected key \[length, n, 4\]",
        ),
        (nn.Transformer(4, 2, 1, 1, 4), [(5, 2, 4), (5, 3, 4)], r"Transformer: expected src and"),
    ],
)
def test_wrong_shapes_name_the_layer(layer, shapes, match):
    with pytest.raises((ValueError, RuntimeError, IndexError, TypeError), match=match) as caught:
        layer(*[ft.zeros(*shape) for shape in shapes])
    assert type(layer).__name__ in "\n".join([str(caught.value), *caught.value.__notes__])


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: expected num_channels divisible"),
        (lambda: nn.ConvTranspose1d(2, 2, 3, padding_mode="reflect"), "ConvTranspose1d: expected"),
        (lambda: nn.Conv1d(2, 2, (3, 3)), "Conv1d: expected kernel_size as an integer"),
        (lambda: nn.ZeroPad2d((1, 2)), "ZeroPad2d: expected padding as one or 4 integers"),
        (lambda: nn.MultiheadAttention(5, 2), "MultiheadAttention: expected embed_dim a multiple"),
        (lambda: nn.GRU(3, 0), "GRU: expected hidden_size and num_layers above 0"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "LSTM: expected proj_size"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "RNN: expected nonlinearity"),
        (lambda: nn.EmbeddingBag(3, 4, mode="min"), "EmbeddingBag: expected mode"),
        (lambda: nn.FractionalMaxPool2d(2), "FractionalMaxPool2d: expected either"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="sin"), "expected activation"),
    ],
)
def test_wrong_settings(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.torch
@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_as_torch(bridge, n):
    torch = bridge.torch
    x = ft.randn(2, 3, *[6] * n)
    pools = [getattr(m, f"MaxPool{n}d")(2, return_indices=True) for m in (nn, torch.nn)]
    backs = [getattr(m, f"MaxUnpool{n}d")(2) for m in (nn, torch.nn)]
    assert repr(backs[0]) == repr(backs[1])
    (a, i), (b, j) = pools[0](x), pools[1](bridge.theirs(x))
    assert i.tolist() == j.tolist()
    bridge.close(backs[0](a, i), backs[1](b, j))
    bridge.close(backs[0](a, i, output_size=x.shape), backs[1](b, j, output_size=tuple(x.shape)))
    batch = ft.stack([a, a * 2])
    assert_close(ft.vmap(backs[0], in_dims=(0, None))(batch, i)[1], backs[0](a * 2, i))


@pytest.mark.torch
@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pooling_as_torch(bridge, n):
    x, samples = ft.randn(2, 3, *[9] * n), ft.rand(2, 3, n)
    name = f"FractionalMaxPool{n}d"
    ours = getattr(nn, name)(2, output_ratio=0.5, return_indices=True, _random_samples=samples)
    theirs = getattr(bridge.torch.nn, name)(
        2, output_ratio=0.5, return_indices=True, _random_samples=bridge.theirs(samples)
    )
    (a, i), (b, j) = ours(x), theirs(bridge.theirs(x))
    bridge.close(a, b)
    assert i.tolist() == j.tolist() and repr(ours) == repr(theirs)
    assert list(getattr(nn, name)(2, output_size=4)(x).shape) == [2, 3, *[4] * n]


@pytest.mark.torch
def test_embedding_settings_as_torch(bridge):
    settings = {"max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True, "padding_idx": 3}
    theirs = bridge.torch.nn.Embedding(6, 4, **settings)
    ours = nn.Embedding(6, 4, **settings)
    ours.load_state_dict(bridge.state(theirs))
    rows = ft.tensor([[1, 2, 1], [1, 3, 5]])
    a, b = ours(rows), theirs(bridge.theirs(rows))
    bridge.close(a, b), bridge.close(ours.weight, theirs.weight)
    (a * a).sum().backward(), (b * b).sum().backward()
    bridge.close(ours.weight.grad, theirs.weight.grad)
    assert repr(ours) == repr(theirs)


def test_meta_construction():
    net = nn.Transformer(64, 4, 1, 1, 128, device="meta")
    assert all(p.device.type == "meta" for p in net.parameters())
    out = net(ft.zeros(5, 2, 64, device="meta"), ft.zeros(3, 2, 64, device="meta"))
    assert list(out.shape) == [3, 2, 64]


def test_transposed_output_size():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = ft.randn(1, 2, 4, 4)
    assert list(layer(x).shape) == [1, 3, 7, 7]
    assert list(layer(x, output_size=[8, 7]).shape) == [1, 3, 8, 7]
    assert list(layer(x, output_size=[1, 3, 8, 8]).shape) == [1, 3, 8, 8]
    with pytest.raises(ValueError, match=r"output_size from \[7, 7\] to \[8, 8\]"):
        layer(x, output_size=[9, 7])


def test_in_place_activations():
    import nn.functional as F

    for name in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "selu", "rrelu", "threshold"):
        x = ft.randn(20)
        args = (0.1, -2.0) if name == "threshold" else ()
        wanted, written = getattr(F, name)(x, *args), x.clone()
        assert getattr(F, f"{name}_")(written, *args) is written
        assert written.tolist() == wanted.tolist(), name


def test_sequential_calls_its_modules_only():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x = ft.ones(1, 2)
    want = model(x)
    model.register_parameter("scale", nn.Parameter(ft.ones(1)))
    assert ft.equal(model(x), want) and len(model) == 2


@pytest.mark.parametrize("shape", [(0, 4), (2, 4, 0)])
def test_batch_norm_of_an_empty_batch(shape):
    """Nothing is learned from it, but that it was seen."""
    layer = nn.BatchNorm1d(4)
    out = layer(ft.zeros(*shape))
    out.sum().backward()
    assert out.shape == shape and layer.weight.grad.tolist() == [0] * 4
    assert layer.running_mean.tolist() == [0] * 4 and layer.running_var.tolist() == [1] * 4
    assert layer.num_batches_tracked.item() == 1


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_transposed_convolution_with_output_padding_from_the_stride_up(padding, extra):
    """A dilation above it allows that: rows of the full result, then zeros."""
    ft.manual_seed(0)
    layer = nn.ConvTranspose1d(2, 3, 3, 1, padding, extra, dilation=3)
    x = ft.randn(2, 2, 6)
    full = nn.functional.conv_transpose1d(x, layer.weight, None, dilation=3)
    full = nn.functional.pad(full, (0, 3))[..., padding : 12 - padding + extra]
    assert_close(layer(x), full + layer.bias[:, None])
    with pytest.raises(ValueError, match="output_padding"):
        nn.ConvTranspose1d(2, 3, 3, 2, output_padding=3)(x)
    with pytest.raises(ValueError, match="divisor_override"):
        nn.functional.avg_pool2d(ft.ones(1, 1, 2, 2), 2, divisor_override=0)
