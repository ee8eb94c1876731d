"""Recurrent networks: tanh and relu RNN, LSTM, GRU; one step, and sequences of several layers.

The inputs of all steps are projected by one product. The steps are a Python loop, but for LSTM and
GRU layers over whole sequences, which are ops (recurrent_layers.py). In the loop rows of a
sequence are split in halves, recursively: the reverse of T separate slices of one tensor would
write T tensors of its size. Parameters are laid out as torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import lib

from ..amp import entered, lowered
from ..errors import ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import zeros
from .join import cat, stack
from .matmul import linear
from .random import dropout as drop
from .recurrent_layers import gru_layer, lstm_layer
from .ternary import where

__all__ = [
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
]

State = tuple[Tensor, ...]


# ---- parts of the last dimension, whose reverse is one cat ----


def _parts_impl(x: Tensor, *, sizes: tuple[int, ...]) -> Any:
    out, at = [], 0
    for size in sizes:
        out.append(lib.cb_index_basic(x._v, 2, (3, 0, 0, 0, 1, at, at + size, 1)))
        at += size
    return tuple(out)


def _parts_op(count: int) -> Op:
    def pull(ct: Any, _out: Any, x_spec: Any, *, sizes: tuple[int, ...]) -> tuple[Tensor]:
        pieces = [
            zeros((*x_spec.shape[:-1], n), dtype=x_spec.dtype, device=x_spec.device)
            if c is None
            else c
            for c, n in zip(ct, sizes, strict=True)
        ]
        return (cat(pieces, -1),)

    op = Op(
        f"parts{count}",
        _parts_impl,
        vjp=pull,
        jvp=lambda tangents, _out, _x, *, sizes: op(tangents[0], sizes=sizes),
        batch=lambda _size, _batched, x, *, sizes: op(x, sizes=sizes),
        nouts=count,
        family="recurrent",
    )
    sizes = (2, 1, 3, 1)[:count]
    sampled(
        op,
        lambda make: [
            call(make(3, sum(sizes)), sizes=sizes),
            call(make(0, sum(sizes)), sizes=sizes),
        ],
        kinds="float complex",
        oracle=lambda np, x, *, sizes: tuple(
            np.split(x, [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)], -1)
        ),
    )
    return op


_parts = {count: _parts_op(count) for count in (2, 4)}


# ---- steps: (projected input, state, recurrent parameters) to state; state[0] is the output ----


def _tanh_step(pre: Tensor, state: State, w: Sequence[Tensor | None]) -> State:
    return ((pre + linear(state[0], w[0], w[1])).tanh(),)  # type: ignore[arg-type]


def _relu_step(pre: Tensor, state: State, w: Sequence[Tensor | None]) -> State:
    return ((pre + linear(state[0], w[0], w[1])).relu(),)  # type: ignore[arg-type]


def _lstm_step(pre: Tensor, state: State, w: Sequence[Tensor | None]) -> State:
    h, c = state
    gates = pre + linear(h, w[0], w[1])  # type: ignore[arg-type]
    enter, forget, cell, out = _parts[4](gates, sizes=(c._shape[-1],) * 4)
    c = forget.sigmoid() * c + enter.sigmoid() * cell.tanh()
    h = out.sigmoid() * c.tanh()
    return (h if len(w) == 2 else linear(h, w[2]), c)  # type: ignore[arg-type]


def _gru_step(pre: Tensor, state: State, w: Sequence[Tensor | None]) -> State:
    h = state[0]
    n = h._shape[-1]
    pre_gates, pre_new = _parts[2](pre, sizes=(2 * n, n))
    gates, new = _parts[2](linear(h, w[0], w[1]), sizes=(2 * n, n))  # type: ignore[arg-type]
    reset, update = _parts[2]((pre_gates + gates).sigmoid(), sizes=(n, n))
    new = (pre_new + reset * new).tanh()
    return (new + update * (h - new),)


Step = Callable[[Tensor, State, Sequence[Tensor | None]], State]
_GATES: dict[Any, int] = {_tanh_step: 1, _relu_step: 1, _lstm_step: 4, _gru_step: 3}


# ---- sequences ----


def _rows(x: Tensor, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    """x split along dim by sizes, in halves."""
    if len(sizes) <= 1:
        return [x] if sizes else []
    half = len(sizes) // 2
    at, n = sum(sizes[:half]), x._shape[dim]
    first, second = x.narrow(dim, 0, at), x.narrow(dim, at, n - at)
    return _rows(first, sizes[:half], dim) + _rows(second, sizes[half:], dim)


def _run(
    step: Step,
    x: Tensor,
    state: State,
    w: Sequence[Tensor | None],
    backwards: bool,
    lengths: Tensor | None,
) -> tuple[Tensor, State]:
    """One direction of one layer over x [T, N, F]; past its length a row keeps its state."""
    if lengths is None and len(w) == 4 and _one_dtype(x, *state, *w):
        end = 0 if backwards else -1
        w_ih, b_ih, w_hh, b_hh = w
        if step is _lstm_step:
            both = b_ih if b_ih is None or b_hh is None else b_ih + b_hh
            pre = linear(x, w_ih, both)  # type: ignore[arg-type]
            hs, cs, _ = lstm_layer(pre, *state, w_hh, backwards=backwards)  # type: ignore[arg-type]
            return hs, (hs.select(0, end), cs.select(0, end))
        if step is _gru_step:
            pre = linear(x, w_ih, b_ih)  # type: ignore[arg-type]
            if b_hh is None:
                b_hh = zeros(pre._shape[-1:], dtype=pre.dtype, device=pre.device)
            hs, _, _ = gru_layer(pre, *state, w_hh, b_hh, backwards=backwards)  # type: ignore[arg-type]
            return hs, (hs.select(0, end),)
    pre = linear(x, w[0], w[1])  # type: ignore[arg-type]
    count = x._shape[0]
    steps = [row.squeeze(0) for row in _rows(pre, [1] * count)]
    out: list[Any] = [None] * count
    for t in range(count - 1, -1, -1) if backwards else range(count):
        new = step(steps[t], state, w[2:])
        if lengths is None:
            state = new
            out[t] = state[0]
        else:
            inside = (lengths > t).unsqueeze(1)
            state = tuple([where(inside, a, b) for a, b in zip(new, state, strict=True)])
            out[t] = where(inside, new[0], 0.0)
    return stack(out), state


def _one_dtype(x: Tensor, *others: Tensor | None) -> bool:
    return all(y is None or y.dtype is x.dtype for y in others)


def _run_packed(
    step: Step,
    x: Tensor,
    state: State,
    w: Sequence[Tensor | None],
    backwards: bool,
    sizes: Sequence[int],
) -> tuple[Tensor, State]:
    """The same over packed rows: sizes[t] of them at step t, a falling sequence."""
    steps = _rows(linear(x, w[0], w[1]), sizes)  # type: ignore[arg-type]
    out: list[Any] = [None] * len(sizes)
    start, ended = state, []
    order = range(len(sizes))
    if backwards:
        order, state = order[::-1], tuple([s.narrow(0, 0, 0) for s in start])
    for t in order:
        have, n = state[0]._shape[0], sizes[t]
        if n < have:
            ended.append([s.narrow(0, n, have - n) for s in state])
            state = tuple([s.narrow(0, 0, n) for s in state])
        elif n > have:
            fresh = [s.narrow(0, have, n - have) for s in start]
            state = (
                tuple([cat(pair) for pair in zip(state, fresh, strict=True)])
                if have
                else tuple(fresh)
            )
        state = step(steps[t], state, w[2:])
        out[t] = state[0]
    if ended:
        state = tuple([cat([s, *[e[i] for e in reversed(ended)]]) for i, s in enumerate(state)])
    return cat(out), state


def _layers(
    op: str,
    step: Step,
    input: Tensor,
    hx: State,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: Any,
    lengths: Tensor | None,
) -> tuple[Tensor, State]:
    directions = 2 if bidirectional else 1
    projected = len(hx) == 2 and hx[0]._shape[-1] != hx[1]._shape[-1]
    per = (4 if has_biases else 2) + projected
    if len(params) != per * num_layers * directions:
        wanted = f"{per * num_layers * directions} parameters ({per} a layer and direction)"
        raise ShapeError(message(op, wanted, len(params)))
    if input.ndim != (3 if batch_sizes is None else 2):
        wanted = "input [T, N, F]" if batch_sizes is None else "packed input [rows, F]"
        raise ShapeError(message(op, wanted, list(input._shape)))
    if batch_sizes is not None and lengths is not None:
        raise ValueError(message(op, "batch_sizes or lengths", "both"))
    if entered:
        input, *low = lowered(input, *hx, *params)
        hx, params = tuple(low[: len(hx)]), low[len(hx) :]
    x = input.transpose(0, 1) if batch_first and batch_sizes is None else input
    sizes = None if batch_sizes is None else _packed_sizes(op, batch_sizes, x._shape[0])
    rows = x._shape[1] if sizes is None else sizes[0]
    if not x._shape[0]:
        raise ShapeError(message(op, "at least one step", list(input._shape)))
    widths = (params[1]._shape[1], params[1]._shape[0] // _GATES[step])  # of h, and of c
    for s, width in zip(hx, widths, strict=False):
        shape = [num_layers * directions, rows, width]
        if list(s._shape) != shape:
            raise ShapeError(message(op, f"an initial state of shape {shape}", list(s._shape)))
    finals: list[State] = []
    for layer in range(num_layers):
        if layer and dropout and train:
            x = drop(x, dropout)
        outs = []
        for direction in range(directions):
            k = layer * directions + direction
            own = list(params[k * per : (k + 1) * per])
            w = _ordered(own, has_biases, x, op)
            state = tuple([s.select(0, k) for s in hx])
            if sizes is None:
                out, state = _run(step, x, state, w, bool(direction), lengths)
            else:
                out, state = _run_packed(step, x, state, w, bool(direction), sizes)
            outs.append(out)
            finals.append(state)
        x = outs[0] if len(outs) == 1 else cat(outs, -1)
    if batch_first and sizes is None:
        x = x.transpose(0, 1)
    return x, tuple([stack([f[i] for f in finals]) for i in range(len(hx))])


def _packed_sizes(op: str, batch_sizes: Any, rows: int) -> list[int]:
    sizes = batch_sizes.tolist() if isinstance(batch_sizes, Tensor) else list(batch_sizes)
    if not sizes or sum(sizes) != rows or sorted(sizes, reverse=True) != sizes:
        raise ShapeError(message(op, f"falling batch sizes that add up to {rows}", sizes))
    return sizes


def _ordered(own: list[Tensor], has_biases: bool, x: Tensor, op: str) -> list[Tensor | None]:
    """w_ih, b_ih, w_hh, b_hh and, if there is one, w_hr."""
    w_ih, w_hh = own[:2]
    if w_ih._shape[1] != x._shape[-1]:
        wanted = f"{w_ih._shape[1]} features, as w_ih {list(w_ih._shape)} takes"
        raise ShapeError(message(op, wanted, x._shape[-1]))
    b_ih, b_hh = own[2:4] if has_biases else (None, None)
    return [w_ih, b_ih, w_hh, b_hh, *own[4 if has_biases else 2 :]]


def rnn_tanh(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Any = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A recurrent network: h = tanh(w_ih x + b_ih + w_hh h + b_hh).

    Args:
      input [T, N, F] ([N, T, F] if batch_first), or with batch_sizes the packed rows [rows, F].
      hx [layers * directions, N, H]: the initial states.
      params: for each layer and direction w_ih [H, F], w_hh [H, H] and, with has_biases, b_ih [H],
        b_hh [H].
      dropout: the probability of dropping an output between layers, if train.
      batch_sizes: how many sequences there are at each step, falling: ints or a tensor.
      lengths [N] integer: of padded sequences; outputs behind the end are 0. Works under vmap.
    Returns:
      outputs [T, N, directions * H] (or packed), and final states shaped as hx.
    Raises:
      ShapeError: shapes do not fit.
    Reference: Elman 1990.
    """
    out, state = _layers(
        "rnn_tanh", _tanh_step, input, (hx,), params, has_biases, num_layers, dropout, train,
        bidirectional, batch_first, batch_sizes, lengths,
    )  # fmt: skip
    return out, state[0]


def rnn_relu(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Any = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A recurrent network: h = relu(w_ih x + b_ih + w_hh h + b_hh). Arguments as rnn_tanh."""
    out, state = _layers(
        "rnn_relu", _relu_step, input, (hx,), params, has_biases, num_layers, dropout, train,
        bidirectional, batch_first, batch_sizes, lengths,
    )  # fmt: skip
    return out, state[0]


def gru(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Any = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A gated recurrent network; the gates reset, update and new stand in this order.

    Arguments as rnn_tanh, with w_ih [3 H, F], w_hh [3 H, H], b_ih and b_hh [3 H].

    Reference: Cho et al. 2014, with the reset gate behind the product as in cuDNN and torch.
    """
    out, state = _layers(
        "gru", _gru_step, input, (hx,), params, has_biases, num_layers, dropout, train,
        bidirectional, batch_first, batch_sizes, lengths,
    )  # fmt: skip
    return out, state[0]


def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Any = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory; the gates input, forget, cell and output stand in this order.

    Arguments as rnn_tanh, with hx = (h [layers * directions, N, P], c [layers * directions, N, H]),
    w_ih [4 H, F], w_hh [4 H, P], b_ih and b_hh [4 H]. Where P differs from H a projection w_hr
    [P, H] follows the other parameters of each layer and direction.

    Returns:
      outputs [T, N, directions * P], final h and final c.
    Reference: Hochreiter & Schmidhuber 1997; projections: Sak, Senior & Beaufays 2014.
    """
    out, state = _layers(
        "lstm", _lstm_step, input, tuple(hx), params, has_biases, num_layers, dropout, train,
        bidirectional, batch_first, batch_sizes, lengths,
    )  # fmt: skip
    return out, state[0], state[1]


# ---- single steps ----


def _cell(
    op: str,
    step: Step,
    input: Tensor,
    hx: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> State:
    if w_hh._shape[0] != w_hh._shape[1] * _GATES[step] or w_ih._shape[0] != w_hh._shape[0]:
        wanted = f"w_ih [{_GATES[step]} H, F] and w_hh [{_GATES[step]} H, H]"
        raise ShapeError(message(op, wanted, f"{list(w_ih._shape)} and {list(w_hh._shape)}"))
    for s in hx:
        if s._shape != (*input._shape[:-1], w_hh._shape[1]):
            wanted = f"a state of shape {[*input._shape[:-1], w_hh._shape[1]]}"
            raise ShapeError(message(op, wanted, list(s._shape)))
    return step(linear(input, w_ih, b_ih), hx, (w_hh, b_hh))


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of rnn_tanh: input [..., F] and state [..., H] to the next state.

    Example:
      >>> rnn_tanh_cell(ones(1), zeros(1), ones(1, 1), ones(1, 1))
      tensor([0.7616])
    """
    return _cell("rnn_tanh_cell", _tanh_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of rnn_relu: input [..., F] and state [..., H] to the next state."""
    return _cell("rnn_relu_cell", _relu_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of gru: input [..., F] and state [..., H] to the next state."""
    return _cell("gru_cell", _gru_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of lstm: input [..., F] and states h and c [..., H] to the next two."""
    h, c = _cell("lstm_cell", _lstm_step, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c
