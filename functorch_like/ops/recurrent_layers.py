"""One direction of an LSTM or GRU layer as one op.

The LSTM has a kernel of its own, the GRU is a loop of C calls into results allocated once.

The reverse is one op as well, and the gradient of the recurrent weights one product over all steps.
Both have decompositions, which forward mode, higher orders and vmap use. The input comes projected;
an LSTM's with both biases added, a GRU's with its own.
"""

from __future__ import annotations

from typing import Any

from cbackend import ffi, lib

from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import zeros, zeros_like
from .join import cat, stack
from .matmul import linear, matmul
from .slopes import sigmoid_grad, tanh_grad

__all__: list[str] = []  # ops of recurrent.py, not public

_FAMILY = "recurrent"
_SIGMOID, _TANH = (lib.cb_op_code(b"unary", n) for n in (b"sigmoid", b"tanh"))
_ADD, _SUB, _MUL, _SIGMOID_GRAD, _TANH_GRAD = (
    lib.cb_op_code(b"binary", n) for n in (b"add", b"sub", b"mul", b"sigmoid_grad", b"tanh_grad")
)
_ADDCMUL, _LERP = (lib.cb_op_code(b"ternary", n) for n in (b"addcmul", b"lerp"))


def _row(x: Any, t: int) -> Any:
    return lib.cb_index_basic(x, 1, (0, t, 0, 0))


def _part(x: Any, start: int, stop: int) -> Any:
    return lib.cb_index_basic(x, 2, (3, 0, 0, 0, 1, start, stop, 1))


def _release(handles: Any) -> None:
    for h in handles:
        lib.cb_release(h)


def _order(count: int, backwards: bool) -> range:
    return range(count - 1, -1, -1) if backwards else range(count)


# ---- LSTM: pre [T, N, 4 H] to h [T, N, H], c [T, N, H] and the gates [T, N, 4 H] ----


def _lstm_impl(pre: Tensor, h0: Tensor, c0: Tensor, w: Tensor, *, backwards: bool) -> Any:
    out = ffi.new("cb_tensor *[3]")
    return () if lib.cb_lstm_layer(pre._v, h0._v, c0._v, w._v, backwards, out) else tuple(out)


def _lstm_meaning(pre: Tensor, h0: Tensor, c0: Tensor, w: Tensor, *, backwards: bool) -> Any:
    count, n = pre._shape[0], pre._shape[2] // 4
    h, c = h0, c0
    found: list[Any] = [None] * count
    for t in _order(count, backwards):
        gates = pre.select(0, t) + linear(h, w)
        enter, forget = gates[:, :n].sigmoid(), gates[:, n : 2 * n].sigmoid()
        cell, out = gates[:, 2 * n : 3 * n].tanh(), gates[:, 3 * n :].sigmoid()
        c = forget * c + enter * cell
        h = out * c.tanh()
        found[t] = h, c, cat([enter, forget, cell, out], -1)
    hs, cs, acts = zip(*found, strict=True)
    return stack(hs), stack(cs), stack(acts)


def _before(first: Tensor, rows: Tensor, backwards: bool) -> Tensor:
    """The state each step began with."""
    one, count = first.unsqueeze(0), rows._shape[0]
    kept = rows.narrow(0, int(backwards), count - 1)
    return cat([kept, one] if backwards else [one, kept])


def _lstm_vjp(
    ct: Any, out: Any, pre_spec: Any, h0: Tensor, c0: Tensor, w: Tensor, *, backwards: bool
) -> tuple[Any, ...]:
    hs, cs, acts = out
    nothing = zeros((1, 1, 1), dtype=w.dtype, device=w.device)
    cts = [nothing.expand(x._shape) if g is None else g for g, x in zip(ct, out, strict=True)]
    dpre, dh0, dc0 = _lstm_grad(
        *cts, hs, cs, acts, h0, c0, w, backwards=backwards, through_acts=ct[2] is not None
    )
    width, n = pre_spec.shape[2], w._shape[1]
    prior = _before(h0, hs, backwards).reshape((-1, n))
    return dpre, dh0, dc0, matmul(dpre.reshape((-1, width)).mT, prior)


def _lstm_grad_impl(
    ct_h: Tensor, ct_c: Tensor, ct_acts: Tensor, _hs: Tensor, cs: Tensor, acts: Tensor, _h0: Tensor,
    c0: Tensor, w: Tensor, *, backwards: bool, through_acts: bool,
) -> Any:  # fmt: skip
    out = ffi.new("cb_tensor *[3]")
    failed = lib.cb_lstm_layer_grad(
        ct_h._v, ct_c._v, ct_acts._v, cs._v, acts._v, c0._v, w._v, backwards, through_acts, out
    )
    return () if failed else tuple(out)


def _lstm_grad_meaning(
    ct_h: Tensor, ct_c: Tensor, ct_acts: Tensor, hs: Tensor, cs: Tensor, acts: Tensor, h0: Tensor,
    c0: Tensor, w: Tensor, *, backwards: bool, through_acts: bool,
) -> Any:  # fmt: skip
    count, n = acts._shape[0], acts._shape[2] // 4
    found: list[Any] = [None] * count
    dh, dc = zeros_like(h0), zeros_like(c0)
    order = list(_order(count, backwards))[::-1]
    for i, t in enumerate(order):
        act = acts.select(0, t)
        enter, forget, cell, out = (act[:, k * n : k * n + n] for k in range(4))
        prior = cs.select(0, order[i + 1]) if i + 1 < count else c0
        squashed = cs.select(0, t).tanh()
        dh = ct_h.select(0, t) + dh
        dc = ct_c.select(0, t) + dc + tanh_grad(dh * out, squashed)
        parts = [dc * cell, dc * prior, dc * enter, dh * squashed]
        if through_acts:
            g = ct_acts.select(0, t)
            parts = [p + g[:, k * n : k * n + n] for k, p in enumerate(parts)]
        d = cat(
            [
                tanh_grad(p, a) if k == 2 else sigmoid_grad(p, a)
                for k, (p, a) in enumerate(zip(parts, (enter, forget, cell, out), strict=True))
            ],
            -1,
        )
        found[t] = d
        dc = dc * forget
        dh = matmul(d, w)
    return stack(found), dh, dc


lstm_layer = Op(
    "lstm_layer", _lstm_impl, vjp=_lstm_vjp, decompose=_lstm_meaning, nouts=3, family=_FAMILY
)
_lstm_grad = Op(
    "lstm_layer_grad", _lstm_grad_impl, decompose=_lstm_grad_meaning, nouts=3, family=_FAMILY
)
sampled(
    lstm_layer,
    lambda make: [
        call(make(3, 2, 8), make(2, 2), make(2, 2), make(8, 2), backwards=backwards)
        for backwards in (False, True)
    ],
)
sampled(
    _lstm_grad,
    lambda make: [
        call(
            make(3, 2, 1), make(3, 2, 1), make(3, 2, 4), make(3, 2, 1), make(3, 2, 1),
            make(3, 2, 4), make(2, 1), make(2, 1), make(4, 1),
            backwards=backwards, through_acts=backwards,
        )
        for backwards in (False, True)
    ],
)  # fmt: skip


# ---- GRU: pre [T, N, 3 H] to h [T, N, H], the gates [T, N, 3 H] and what reset multiplies ----


def _gru_impl(pre: Tensor, h0: Tensor, w: Tensor, b: Tensor, *, backwards: bool) -> Any:
    if not (pre._v and h0._v and w._v and b._v):
        return ()
    count, rows, width = pre._shape
    n = width // 3
    dtype, device = pre._v.dtype, pre._v.device
    hs, news = (lib.cb_empty(dtype, device, 3, (count, rows, n)) for _ in range(2))
    acts = lib.cb_empty(dtype, device, 3, (count, rows, width))
    h, bad = h0._v, 0
    last: Any = ()
    for t in _order(count, backwards):
        pre_t, act, h_t, new_t = _row(pre._v, t), _row(acts, t), _row(hs, t), _row(news, t)
        hidden = lib.cb_linear(h, w._v, b._v, 1)
        gates, new = _part(act, 0, 2 * n), _part(act, 2 * n, width)
        reset, update = _part(act, 0, n), _part(act, n, 2 * n)
        pre_gates, pre_new = _part(pre_t, 0, 2 * n), _part(pre_t, 2 * n, width)
        hidden_gates, hidden_new = _part(hidden, 0, 2 * n), _part(hidden, 2 * n, width)
        bad |= lib.cb_binary_into(_ADD, pre_gates, hidden_gates, gates, 0)
        bad |= lib.cb_unary_into(_SIGMOID, gates, gates, 0)
        bad |= lib.cb_copy_into(new_t, hidden_new, 0)
        bad |= lib.cb_ternary_into(_ADDCMUL, pre_new, reset, new_t, new, 0)
        bad |= lib.cb_unary_into(_TANH, new, new, 0)
        bad |= lib.cb_ternary_into(_LERP, new, h, update, h_t, 0)
        _release((pre_t, act, new_t, hidden, gates, new, reset, update))
        _release((pre_gates, pre_new, hidden_gates, hidden_new, *last))
        h = h_t
        last = (h_t,)
    _release(last)
    if bad:
        _release((hs, acts, news))
        return ()
    return hs, acts, news


def _gru_meaning(pre: Tensor, h0: Tensor, w: Tensor, b: Tensor, *, backwards: bool) -> Any:
    count, n = pre._shape[0], pre._shape[2] // 3
    h = h0
    found: list[Any] = [None] * count
    for t in _order(count, backwards):
        row, hidden = pre.select(0, t), linear(h, w, b)
        gates = (row[:, : 2 * n] + hidden[:, : 2 * n]).sigmoid()
        new = (row[:, 2 * n :] + gates[:, :n] * hidden[:, 2 * n :]).tanh()
        h = new + gates[:, n:] * (h - new)
        found[t] = h, cat([gates, new], -1), hidden[:, 2 * n :]
    hs, acts, news = zip(*found, strict=True)
    return stack(hs), stack(acts), stack(news)


def _gru_vjp(
    ct: Any, out: Any, pre_spec: Any, h0: Tensor, w: Tensor, b_spec: Any, *, backwards: bool
) -> tuple[Any, ...]:
    hs, acts, news = out
    nothing = zeros((1, 1, 1), dtype=w.dtype, device=w.device)
    cts = [nothing.expand(x._shape) if g is None else g for g, x in zip(ct, out, strict=True)]
    more = ct[1] is not None or ct[2] is not None
    dpre, dhidden, dh0 = _gru_grad(
        *cts, hs, acts, news, h0, w, backwards=backwards, through_acts=more
    )
    width, n = pre_spec.shape[2], w._shape[1]
    rows = dhidden.reshape((-1, width))
    prior = _before(h0, hs, backwards).reshape((-1, n))
    return dpre, dh0, matmul(rows.mT, prior), rows.sum(0)


def _gru_grad_impl(
    ct_h: Tensor, ct_acts: Tensor, ct_news: Tensor, hs: Tensor, acts: Tensor, news: Tensor,
    h0: Tensor, w: Tensor, *, backwards: bool, through_acts: bool,
) -> Any:  # fmt: skip
    if not all(x._v for x in (ct_h, ct_acts, ct_news, hs, acts, news, h0, w)):
        return ()
    count, rows, width = acts._shape
    n = width // 3
    dtype, device = acts._v.dtype, acts._v.device
    dpre, dhidden = (lib.cb_empty(dtype, device, 3, (count, rows, width)) for _ in range(2))
    dh, bad = lib.cb_empty(dtype, device, 2, (rows, n)), 0
    back: Any = None
    order = list(_order(count, backwards))[::-1]
    for i, t in enumerate(order):
        g_h, act, d, e = (_row(x, t) for x in (ct_h._v, acts._v, dpre, dhidden))
        old_new = _row(news._v, t)
        prior = _row(hs._v, order[i + 1]) if i + 1 < count else lib.cb_alias(h0._v)
        reset, update, new = (_part(act, k * n, k * n + n) for k in range(3))
        d_reset, d_update, d_new = (_part(d, k * n, k * n + n) for k in range(3))
        d_gates, e_gates, e_new = _part(d, 0, 2 * n), _part(e, 0, 2 * n), _part(e, 2 * n, width)
        if back is None:
            bad |= lib.cb_copy_into(dh, g_h, 0)
        else:
            bad |= lib.cb_binary_into(_ADD, dh, back, dh, 0)
            bad |= lib.cb_binary_into(_ADD, dh, g_h, dh, 0)
            lib.cb_release(back)
        bad |= lib.cb_binary_into(_SUB, prior, new, d_update, 0)
        bad |= lib.cb_binary_into(_MUL, d_update, dh, d_update, 0)
        bad |= lib.cb_binary_into(_MUL, dh, update, e_new, 0)
        bad |= lib.cb_binary_into(_SUB, dh, e_new, d_new, 0)
        bad |= lib.cb_copy_into(dh, e_new, 0)  # the part that skips the new gate
        if through_acts:
            g_act = _row(ct_acts._v, t)
            g_reset, g_update, g_new = (_part(g_act, k * n, k * n + n) for k in range(3))
            bad |= lib.cb_binary_into(_ADD, d_update, g_update, d_update, 0)
            bad |= lib.cb_binary_into(_ADD, d_new, g_new, d_new, 0)
            _release((g_act, g_update, g_new))
        bad |= lib.cb_binary_into(_TANH_GRAD, d_new, new, d_new, 0)
        bad |= lib.cb_binary_into(_MUL, d_new, old_new, d_reset, 0)
        bad |= lib.cb_binary_into(_MUL, d_new, reset, e_new, 0)
        if through_acts:
            g_old = _row(ct_news._v, t)
            bad |= lib.cb_binary_into(_ADD, d_reset, g_reset, d_reset, 0)
            bad |= lib.cb_binary_into(_ADD, e_new, g_old, e_new, 0)
            _release((g_reset, g_old))
        gates = _part(act, 0, 2 * n)
        bad |= lib.cb_binary_into(_SIGMOID_GRAD, d_gates, gates, d_gates, 0)
        bad |= lib.cb_copy_into(e_gates, d_gates, 0)
        back = lib.cb_matmul(e, w._v)
        _release((g_h, act, d, e, old_new, prior, reset, update, new))
        _release((d_reset, d_update, d_new, d_gates, e_gates, e_new, gates))
    bad |= lib.cb_binary_into(_ADD, dh, back, dh, 0)
    _release((back,))
    if bad:
        _release((dpre, dhidden, dh))
        return ()
    return dpre, dhidden, dh


def _gru_grad_meaning(
    ct_h: Tensor, ct_acts: Tensor, ct_news: Tensor, hs: Tensor, acts: Tensor, news: Tensor,
    h0: Tensor, w: Tensor, *, backwards: bool, through_acts: bool,
) -> Any:  # fmt: skip
    count, n = acts._shape[0], acts._shape[2] // 3
    found: list[Any] = [None] * count
    dh = zeros_like(h0)
    order = list(_order(count, backwards))[::-1]
    for i, t in enumerate(order):
        act, old_new = acts.select(0, t), news.select(0, t)
        prior = hs.select(0, order[i + 1]) if i + 1 < count else h0
        reset, update, new = (act[:, k * n : k * n + n] for k in range(3))
        dh = dh + ct_h.select(0, t)
        d_update, d_new = dh * (prior - new), dh - dh * update
        g = ct_acts.select(0, t)
        if through_acts:
            d_update, d_new = d_update + g[:, n : 2 * n], d_new + g[:, 2 * n :]
        d_new = tanh_grad(d_new, new)
        d_reset, e_new = d_new * old_new, d_new * reset
        if through_acts:
            d_reset, e_new = d_reset + g[:, :n], e_new + ct_news.select(0, t)
        d_reset, d_update = sigmoid_grad(d_reset, reset), sigmoid_grad(d_update, update)
        e = cat([d_reset, d_update, e_new], -1)
        found[t] = cat([d_reset, d_update, d_new], -1), e
        dh = dh * update + matmul(e, w)
    dpre, dhidden = zip(*found, strict=True)
    return stack(dpre), stack(dhidden), dh


gru_layer = Op(
    "gru_layer", _gru_impl, vjp=_gru_vjp, decompose=_gru_meaning, nouts=3, family=_FAMILY
)
_gru_grad = Op(
    "gru_layer_grad", _gru_grad_impl, decompose=_gru_grad_meaning, nouts=3, family=_FAMILY
)
sampled(
    gru_layer,
    lambda make: [
        call(make(3, 2, 6), make(2, 2), make(6, 2), make(6), backwards=backwards)
        for backwards in (False, True)
    ],
)
sampled(
    _gru_grad,
    lambda make: [
        call(
            make(3, 2, 1), make(3, 2, 3), make(3, 2, 1), make(3, 2, 1), make(3, 2, 3),
            make(3, 2, 1), make(2, 1), make(3, 1),
            backwards=backwards, through_acts=backwards,
        )
        for backwards in (False, True)
    ],
)  # fmt: skip
