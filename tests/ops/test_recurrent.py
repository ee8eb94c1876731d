"""Recurrent networks: against torch, padded and packed sequences, and under transforms."""

from __future__ import annotations

import numpy as np
import pytest

import functorch_like as ft
from functorch_like.errors import ShapeError

RNG = np.random.default_rng(0)
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
FEATURES, HIDDEN = 3, 2


def normal(*shape):
    return RNG.standard_normal(shape)


def double(*shape):
    return ft.tensor(normal(*shape))


def parameters(name, layers, directions, biases, projection=0):
    gates = GATES[name] * HIDDEN
    out, features = [], FEATURES
    width = projection or HIDDEN
    for _ in range(layers):
        for _ in range(directions):
            out += [normal(gates, features), normal(gates, width)]
            out += [normal(gates), normal(gates)] if biases else []
            out += [normal(width, HIDDEN)] if projection else []
        features = width * directions
    return out


def states(name, layers, directions, rows, projection=0):
    h = normal(layers * directions, rows, projection or HIDDEN)
    return [h, normal(layers * directions, rows, HIDDEN)] if name == "lstm" else [h]


def caller(function, name, *options, **named):
    """function(input, *states, *parameters), gathered as lstm and the others take them."""

    def run(x, *rest):
        count = 2 if name == "lstm" else 1
        hx = rest[:count] if name == "lstm" else rest[0]
        return function(x, hx, list(rest[count:]), *options, **named)

    return run


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(
    "biases,layers,bidirectional,batch_first",
    [
        (True, 1, False, False),
        (False, 1, False, True),
        (True, 2, True, False),
        (False, 3, True, True),
    ],
)
def test_sequences_against_torch(against_torch, name, biases, layers, bidirectional, batch_first):
    import torch

    directions = 2 if bidirectional else 1
    x = normal(2, 5, FEATURES) if batch_first else normal(5, 2, FEATURES)
    options = (biases, layers, 0.0, False, bidirectional, batch_first)
    against_torch(
        caller(getattr(ft, name), name, *options),
        caller(getattr(torch, name), name, *options),
        x,
        *states(name, layers, directions, 2),
        *parameters(name, layers, directions, biases),
    )


@pytest.mark.parametrize("biases", [False, True])
def test_projections_against_torch(against_torch, biases):
    import torch

    options = (biases, 2, 0.0, False, True, False)
    against_torch(
        caller(ft.lstm, "lstm", *options),
        caller(torch.lstm, "lstm", *options),
        normal(4, 2, FEATURES),
        *states("lstm", 2, 2, 2, 1),
        *parameters("lstm", 2, 2, biases, 1),
    )


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_against_torch(against_torch, name, bidirectional):
    import torch

    directions, sizes = 2 if bidirectional else 1, [3, 3, 2, 1, 1]
    options = (True, 2, 0.0, False, bidirectional)

    def theirs(x, hx, params, *rest):
        return getattr(torch, name)(x, torch.tensor(sizes), hx, params, *rest)

    against_torch(
        caller(getattr(ft, name), name, *options, batch_sizes=sizes),
        caller(theirs, name, *options),
        normal(sum(sizes), FEATURES),
        *states(name, 2, directions, 3),
        *parameters(name, 2, directions, True),
    )


@pytest.mark.parametrize("name", GATES)
def test_padded_sequences_are_the_packed_ones(name):
    sizes, lengths = [3, 3, 2, 1, 1], [5, 3, 2]
    x = normal(5, 3, FEATURES)
    packed = np.concatenate([x[t, :n] for t, n in enumerate(sizes)])
    rest = [ft.tensor(a) for a in (*states(name, 2, 2, 3), *parameters(name, 2, 2, True))]
    options = (True, 2, 0.0, False, True)
    function = getattr(ft, name)
    out, *final = caller(function, name, *options, lengths=ft.tensor(lengths))(ft.tensor(x), *rest)
    expected, *ends = caller(function, name, *options, batch_sizes=ft.tensor(sizes))(
        ft.tensor(packed), *rest
    )
    rows = ft.cat([out[t, :n] for t, n in enumerate(sizes)])
    np.testing.assert_allclose(rows.numpy(), expected.numpy())
    assert not bool(out[3:, 1].any())
    for a, b in zip(final, ends, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", GATES)
def test_cells_against_torch(against_torch, name):
    import torch

    n = GATES[name] * HIDDEN
    state = [normal(2, HIDDEN)] * (2 if name == "lstm" else 1)
    weights = [normal(n, FEATURES), normal(n, HIDDEN)]

    def call(f):
        def run(x, *rest):
            count = len(state)
            hx = rest[:count] if count == 2 else rest[0]
            return getattr(f, name + "_cell")(x, hx, *rest[count:])

        return run

    x = normal(2, FEATURES)
    against_torch(call(ft), call(torch), x, *state, *weights)
    against_torch(call(ft), call(torch), x, *state, *weights, normal(n), normal(n))


@pytest.mark.parametrize("name", GATES)
def test_under_transforms(transforms, name):
    rest = [ft.tensor(a) for a in (*states(name, 1, 2, 1), *parameters(name, 1, 2, True))]
    options = (True, 1, 0.0, False, True)
    function = getattr(ft, name)
    transforms(caller(function, name, *options), double(3, 1, FEATURES), *rest)


def test_packed_and_padded_under_transforms(transforms):
    rest = [ft.tensor(a) for a in (*states("gru", 1, 2, 2), *parameters("gru", 1, 2, False))]
    options = (False, 1, 0.0, False, True)
    transforms(caller(ft.gru, "gru", *options, batch_sizes=[2, 1]), double(3, FEATURES), *rest)
    lengths = ft.tensor([2, 1])
    transforms(caller(ft.gru, "gru", *options, lengths=lengths), double(2, 2, FEATURES), *rest)


def test_lengths_can_be_mapped():
    rest = [ft.tensor(a) for a in (*states("gru", 1, 2, 2), *parameters("gru", 1, 2, False))]
    x, lengths = double(3, 2, FEATURES), ft.tensor([[3, 1], [2, 2]])

    def run(n):
        return caller(ft.gru, "gru", False, 1, 0.0, False, True, lengths=n)(x, *rest)

    out, final = ft.vmap(run)(lengths)
    for lane in range(2):
        one = run(lengths[lane])
        np.testing.assert_allclose(out[lane].numpy(), one[0].numpy())
        np.testing.assert_allclose(final[lane].numpy(), one[1].numpy())


def test_dropout_between_layers():
    rest = [ft.tensor(a) for a in (*states("gru", 2, 1, 2), *parameters("gru", 2, 1, False))]
    x = double(3, 2, FEATURES)
    plain = caller(ft.gru, "gru", False, 2, 0.9, False)(x, *rest)[0]
    dropped = caller(ft.gru, "gru", False, 2, 0.9, True)(x, *rest)[0]
    assert bool((plain != dropped).any())


def test_bad_shapes():
    params = [ft.tensor(a) for a in parameters("gru", 1, 1, False)]
    state = ft.zeros(1, 2, HIDDEN, dtype="float64")
    x = double(3, 2, FEATURES)
    with pytest.raises(ShapeError, match="parameters"):
        ft.gru(x, state, params)
    with pytest.raises(ShapeError, match="initial state"):
        ft.gru(x, state[:, :1], params, False)
    with pytest.raises(ShapeError, match="3 features"):
        ft.gru(x[..., :2], state, params, False)
    with pytest.raises(ShapeError, match=r"\[T, N, F\]"):
        ft.gru(x[0], state, params, False)
    with pytest.raises(ShapeError, match="at least one step"):
        ft.gru(x[:0], state, params, False)
    with pytest.raises(ShapeError, match="falling"):
        ft.gru(x[0], state, params, False, batch_sizes=[1, 2])
    with pytest.raises(ShapeError, match="gru_cell"):
        ft.gru_cell(x[0], state[0], params[1], params[0])
