"""Averaged weights, SWALR, update_bn; autocast and GradScaler: torch's numbers and plain cases."""

import threading

import pytest

import functorch_like as ft
import nn
from nn import optim
from nn.optim import GradScaler, swa_utils


def net(lib, layers):
    return layers.Sequential(layers.Linear(3, 4), layers.BatchNorm1d(4), layers.Linear(4, 2))


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["swa", "ema", "multi", "buffers"])
def test_averages_as_torch(bridge, kind):
    torch = bridge.torch
    theirs, ours = net(torch, torch.nn), net(ft, nn)
    ours.load_state_dict(bridge.state(theirs))

    def options(package):
        return {
            "swa": {},
            "ema": {"avg_fn": package.get_ema_avg_fn(0.9)},
            "multi": {"multi_avg_fn": package.get_ema_multi_avg_fn(0.9)},
            "buffers": {"multi_avg_fn": package.get_ema_multi_avg_fn(0.5), "use_buffers": True},
        }[kind]

    mine = swa_utils.AveragedModel(ours, **options(swa_utils))
    other = torch.optim.swa_utils.AveragedModel(theirs, **options(torch.optim.swa_utils))
    for step in range(4):
        x = ft.randn(8, 3)
        ours(x), theirs(bridge.theirs(x))
        with ft.no_grad():
            for p in ours.parameters():
                p.mul_(0.9 + 0.1 * step)
        with torch.no_grad():
            for p in theirs.parameters():
                p.mul_(0.9 + 0.1 * step)
        mine.update_parameters(ours), other.update_parameters(theirs)
    states = mine.state_dict(), other.state_dict()
    assert list(states[0]) == list(states[1]) or set(states[0]) == set(states[1])
    for name, value in states[1].items():
        bridge.close(states[0][name], value, 1e-5)
    batches = [ft.randn(8, 3) for _ in range(3)]
    swa_utils.update_bn([(b, None) for b in batches], mine)
    torch.optim.swa_utils.update_bn([bridge.theirs(b) for b in batches], other)
    bridge.close(mine.module[1].running_mean, other.module[1].running_mean, 1e-5)
    bridge.close(mine.module[1].running_var, other.module[1].running_var, 1e-5)
    assert mine.module[1].momentum == 0.1 and mine.training


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"anneal_epochs": 4, "anneal_strategy": "linear"},
                                     {"anneal_epochs": 0}])  # fmt: skip
def test_swalr_as_torch(bridge, options):
    torch = bridge.torch
    rates = []
    for lib, package in ((ft, optim), (torch, torch.optim)):
        optimizer = package.SGD([lib.ones(1).requires_grad_()], lr=0.5)
        scheduler = package.swa_utils.SWALR(optimizer, swa_lr=0.05, **options)
        rates.append([])
        for _ in range(15):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step(), scheduler.step()
    assert rates[0] == pytest.approx(rates[1], rel=1e-10)


def test_plain_averages_and_errors():
    model = nn.Linear(1, 1, bias=False)
    mean = swa_utils.AveragedModel(model)
    for value in (1.0, 2.0, 6.0):
        with ft.no_grad():
            model.weight.fill_(value)
        mean.update_parameters(model)
    assert mean.module.weight.item() == 3.0 and mean.n_averaged.item() == 3
    assert mean(ft.ones(1, 1)).item() == 3.0
    with pytest.raises(ValueError, match="got both"):
        swa_utils.AveragedModel(model, avg_fn=max, multi_avg_fn=max)
    with pytest.raises(ValueError, match=r"decay within 0..1"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(ValueError, match="1 tensors, got 2"):
        mean.update_parameters(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="anneal_strategy 'cos' or 'linear'"):
        swa_utils.SWALR(optim.SGD(model.parameters()), 0.1, anneal_strategy="no")


# ---- autocast ----


@pytest.mark.parametrize("dtype", [ft.bfloat16, ft.float16])
def test_autocast_lowers_products_and_widens_the_rest(dtype):
    x, w, b = ft.randn(4, 6, 6), ft.randn(6, 6), ft.randn(6)
    image, kernel = ft.randn(1, 2, 5, 5), ft.randn(3, 2, 2, 2)
    with ft.autocast(dtype=dtype):
        low = [
            x @ w, ft.bmm(x, x), ft.mm(w, w), ft.mv(w, b), nn.functional.linear(x, w, b),
            nn.functional.conv2d(image, kernel, ft.randn(3)),
            ft.conv_transpose2d(image, kernel.transpose(0, 1)), ft.einsum("bij,jk->bik", x, w),
        ]  # fmt: skip
        assert [y.dtype for y in low] == [dtype] * len(low)
        wide = [
            ft.softmax(low[0], -1), ft.log_softmax(low[0], -1),
            nn.functional.layer_norm(low[0], (6,), b, b), ft.rms_norm(low[0], (6,), b),
            ft.cross_entropy(low[2], ft.zeros(6).long()),
        ]  # fmt: skip
        assert [y.dtype for y in wide] == [ft.float32] * len(wide)
        assert (x.double() @ w.double()).dtype == ft.float64
        assert (ft.ones(2, 2).long() @ ft.ones(2, 2).long()).dtype == ft.int64
        with ft.autocast(enabled=False):
            assert (x @ w).dtype == ft.float32 and not ft.is_autocast_enabled()
        assert ft.is_autocast_enabled()
    assert (x @ w).dtype == ft.float32 and not ft.amp.entered
    expected = x.to(dtype) @ w.to(dtype)
    assert low[0].tolist() == expected.tolist()


MORE_LOSSES = ["soft_margin_loss", "hinge_embedding_loss", "kl_div", "poisson_nll_loss"]
LOSSES = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy"]


@pytest.mark.parametrize("name", [*LOSSES, *MORE_LOSSES, "binary_cross_entropy_with_logits"])
def test_autocast_computes_losses_in_float32(name):
    loss = getattr(nn.functional, name)
    x, y = ft.rand(3, 3).bfloat16().requires_grad_(), ft.rand(3, 3).bfloat16()
    with ft.autocast():
        value = loss(x, target=y)
    value.backward()
    assert value.dtype == ft.float32 and x.grad.dtype == ft.bfloat16
    assert value.item() == loss(x.float(), y.float()).item()
    assert loss(x, y).dtype == ft.bfloat16


@pytest.mark.torch
def test_autocast_casts_as_torch(bridge):
    torch = bridge.torch

    def of(lib, functional, kind):
        def x(*shape):
            return lib.rand(*shape).to(getattr(lib, kind))

        def labels(*shape):
            return lib.zeros(*shape, dtype=lib.int64)

        a, v = x(3, 3), x(3)
        spd = (lib.eye(3) * 2 + 0.1).to(a.dtype)
        F, linalg = functional, lib.linalg
        batch = x(2, 3, 3)
        return {
            "addmm": lambda: lib.addmm(a, a, a),
            "baddbmm": lambda: lib.baddbmm(batch, batch, batch),
            "addbmm": lambda: lib.addbmm(a, batch, batch), "vecdot": lambda: linalg.vecdot(v, v),
            "prelu": lambda: F.prelu(a, lib.ones(1)), "cdist": lambda: lib.cdist(a, a),
            "prod": lambda: lib.prod(a), "trace": lambda: lib.trace(a),
            "quantile": lambda: lib.quantile(a, 0.5),
            "nanquantile": lambda: lib.nanquantile(a, 0.5),
            "grid_sample": lambda: F.grid_sample(
                x(1, 1, 4, 4), lib.rand(1, 2, 2, 2), align_corners=False
            ),
            "local_response_norm": lambda: F.local_response_norm(x(2, 4, 5, 5), 2),
            "nll_loss": lambda: F.nll_loss(a, labels(3)),
            "cross_entropy": lambda: F.cross_entropy(a, labels(3)),
            "multi_margin_loss": lambda: F.multi_margin_loss(a, labels(3)),
            "multilabel_margin_loss": lambda: F.multilabel_margin_loss(a, labels(3, 3)),
            "margin_ranking_loss": lambda: F.margin_ranking_loss(v, v, v),
            "cosine_embedding_loss": lambda: F.cosine_embedding_loss(a, a, lib.ones(3)),
            "triplet_margin_loss": lambda: F.triplet_margin_loss(a, a, a),
            "cholesky": lambda: linalg.cholesky(spd), "inv": lambda: linalg.inv(spd),
            "solve": lambda: linalg.solve(spd, a), "svdvals": lambda: linalg.svdvals(a),
            "pinv": lambda: lib.pinverse(spd), "eigvalsh": lambda: linalg.eigvalsh(spd),
            "lstsq": lambda: linalg.lstsq(spd, a)[0], "qr": lambda: linalg.qr(a)[0],
            "cholesky_solve": lambda: lib.cholesky_solve(a, spd),
            "fft": lambda: lib.fft.fft(a), "irfft": lambda: lib.fft.irfft(a),
            "gaussian_nll_loss": lambda: F.gaussian_nll_loss(a, a, a + 1),
            "group_norm": lambda: F.group_norm(batch, 3), "sum": lambda: a.sum(),
        }  # fmt: skip

    for kind in ("float32", "bfloat16"):
        theirs = of(torch, torch.nn.functional, kind)
        for name, ours in of(ft, nn.functional, kind).items():
            with torch.autocast("cpu", torch.bfloat16), ft.autocast():
                expected, got = theirs[name]().dtype, ours().dtype
            assert str(expected) == f"torch.{got.name}", (name, kind)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_autocast_of_recurrent_layers(kind):
    layer = getattr(nn, kind)(4, 5, num_layers=2, bidirectional=True)
    x = ft.rand(3, 2, 4)
    exact = layer(x)[0]
    with ft.autocast():
        out = layer(x)[0]
    out.float().sum().backward()
    assert out.dtype == ft.bfloat16 and (out.float() - exact).abs().max().item() < 0.05
    assert all(p.grad.dtype == ft.float32 for p in layer.parameters())


def test_autocast_gradients_and_transforms():
    w = ft.randn(3, 4)
    xs = ft.randn(5, 3)

    def loss(w, x):
        with ft.autocast():
            y = x @ w
        assert y.dtype == ft.bfloat16
        return (y.float() ** 2).sum()

    gradient = ft.grad(loss)(w, xs)
    assert gradient.dtype == ft.float32
    exact = ft.grad(lambda w: ((xs @ w) ** 2).sum())(w)
    assert ((gradient - exact).abs().max() / exact.abs().max()).item() < 0.03
    each = ft.vmap(ft.grad(loss), in_dims=(None, 0))(w, xs)
    assert each.dtype == ft.float32 and ((each.sum(0) - gradient).abs().max()).item() < 0.2
    leaf = w.clone().requires_grad_()
    with ft.autocast():
        out = loss(leaf, xs)
    out.backward()
    assert leaf.grad.dtype == ft.float32 and leaf.grad.tolist() == gradient.tolist()
    wrapped = ft.autocast(dtype=ft.float16)(lambda: xs @ w)
    assert wrapped().dtype == ft.float16


def test_autocast_is_of_one_thread_and_ends_with_errors():
    seen = []
    x = ft.ones(2, 2)
    with pytest.raises(ZeroDivisionError), ft.autocast():
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start(), thread.join()
        raise ZeroDivisionError
    assert seen == [ft.float32] and (x @ x).dtype == ft.float32
    with pytest.raises(ft.DTypeError, match="bfloat16 or float16"):
        ft.autocast(dtype=ft.float32)


def test_training_with_autocast_and_scaler():
    x = ft.randn(64, 4)
    y = (x[:, 0] > x[:, 1]).long()
    model = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.ReLU(), nn.BatchNorm1d(16),
                          nn.Linear(16, 2))  # fmt: skip
    optimizer, scaler = optim.Adam(model.parameters(), lr=0.02), GradScaler(init_scale=256.0)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        with ft.autocast(dtype=ft.float16):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(p.dtype == ft.float32 for p in model.parameters())


@pytest.mark.torch
def test_scaler_as_torch(bridge):
    torch = bridge.torch
    options = dict(init_scale=8.0, growth_interval=2)
    mine, other = GradScaler(**options), torch.amp.GradScaler("cpu", **options)
    p, q = ft.ones(2).requires_grad_(), torch.ones(2).requires_grad_()
    ours, theirs = optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    for factor in (1.0, 1.0, float("inf"), 1.0, float("nan"), 1.0, 1.0, 1.0):
        ours.zero_grad(), theirs.zero_grad()
        mine.scale((p * p).sum() * factor).backward()
        other.scale((q * q).sum() * factor).backward()
        mine.step(ours), mine.update()
        other.step(theirs), other.update()
        assert mine.get_scale() == other.get_scale()
    bridge.close(p, q, 1e-6)
    assert mine.state_dict() == other.state_dict()
    again = GradScaler()
    again.load_state_dict(other.state_dict())
    assert again.state_dict() == mine.state_dict()


def test_scaler_errors_and_disabled():
    with pytest.raises(ValueError, match="growth_factor above 1"):
        GradScaler(growth_factor=1.0)
    scaler = GradScaler(enabled=False)
    w = ft.ones(1).requires_grad_()
    loss = (w * 2).sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    on = GradScaler()
    optimizer = optim.SGD([w])
    w.grad = ft.ones(1)
    on.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="second time"):
        on.unscale_(optimizer)
    with pytest.raises(ValueError, match="got an empty dict"):
        on.load_state_dict({})
