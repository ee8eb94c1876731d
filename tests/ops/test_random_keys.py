"""Keys and their samplers, torch's further random functions, the gradient of gamma samples."""

from __future__ import annotations

import numpy
import pytest
from scipy import stats

import functorch_like as ft
from functorch_like import random
from functorch_like.ops.sampling import standard_gamma_grad
from functorch_like.testing import assert_close, check_grads

N = 20000
KEY = random.key(11)
D = ft.float64

CONTINUOUS = [
    ("uniform", lambda k: random.uniform(k, (N,), D), stats.uniform()),
    ("uniform between", lambda k: random.uniform(k, (N,), D, -1.0, ft.tensor(3.0)),
     stats.uniform(-1, 4)),
    ("normal", lambda k: random.normal(k, (N,), D), stats.norm()),
    ("exponential", lambda k: random.exponential(k, (N,), D), stats.expon()),
    ("gumbel", lambda k: random.gumbel(k, (N,), D), stats.gumbel_r()),
    ("laplace", lambda k: random.laplace(k, (N,), D), stats.laplace()),
    ("logistic", lambda k: random.logistic(k, (N,), D), stats.logistic()),
    ("cauchy", lambda k: random.cauchy(k, (N,), D), stats.cauchy()),
    ("lognormal", lambda k: random.lognormal(k, 0.5, (N,), D), stats.lognorm(0.5)),
    ("truncated_normal", lambda k: random.truncated_normal(k, -0.5, 2.0, (N,), D),
     stats.truncnorm(-0.5, 2)),
    *[(f"gamma {a}", lambda k, a=a: random.gamma(k, a, (N,), D), stats.gamma(a))
      for a in (0.05, 0.7, 1.0, 3.0, 80.0)],
    ("loggamma", lambda k: random.loggamma(k, 0.3, (N,), D).exp(), stats.gamma(0.3)),
    ("beta", lambda k: random.beta(k, 0.5, 2.0, (N,), D), stats.beta(0.5, 2)),
    ("dirichlet", lambda k: random.dirichlet(k, ft.tensor([1.0, 2.0, 3.0]).double(), (N,))[:, 0],
     stats.beta(1, 5)),
    ("chisquare", lambda k: random.chisquare(k, 3.0, (N,), D), stats.chi2(3)),
    ("t", lambda k: random.t(k, 4.0, (N,), D), stats.t(4)),
    ("pareto", lambda k: random.pareto(k, 3.0, (N,), D), stats.pareto(3)),
    ("weibull", lambda k: random.weibull(k, 2.0, 1.5, (N,), D), stats.weibull_min(1.5, scale=2)),
    ("von_mises", lambda k: random.von_mises(k, 2.0, (N,), D), stats.vonmises(2)),
]  # fmt: skip
DISCRETE = [
    ("bernoulli", lambda k: random.bernoulli(k, 0.3, (N,)), stats.bernoulli(0.3)),
    ("bernoulli of a tensor", lambda k: random.bernoulli(k, ft.full((N,), 0.3)),
     stats.bernoulli(0.3)),
    ("randint", lambda k: random.randint(k, (N,), 3, 8), stats.randint(3, 8)),
    *[(f"poisson {r}", lambda k, r=r: random.poisson(k, r, (N,)), stats.poisson(r))
      for r in (0.3, 4.0, 11.0, 200.0)],
    *[(f"binomial {n} {p}", lambda k, n=n, p=p: random.binomial(k, n, p, (N,), D),
       stats.binom(n, p)) for n, p in ((5, 0.3), (40, 0.2), (100, 0.4), (60, 0.8), (9, 1.0))],
    ("geometric", lambda k: random.geometric(k, 0.2, (N,)), stats.geom(0.2)),
    ("categorical", lambda k: random.categorical(k, ft.tensor([0.1, 0.2, 0.7]).log(), shape=(N,)),
     stats.rv_discrete(values=([0, 1, 2], [0.1, 0.2, 0.7]))),
    ("choice", lambda k: random.choice(k, 3, (N,), p=ft.tensor([0.1, 0.2, 0.7])),
     stats.rv_discrete(values=([0, 1, 2], [0.1, 0.2, 0.7]))),
]  # fmt: skip


@pytest.mark.parametrize(("_name", "draw", "law"), CONTINUOUS, ids=[c[0] for c in CONTINUOUS])
def test_continuous_samples_follow_their_law(_name, draw, law):
    x = draw(KEY).numpy()
    assert x.shape == (N,)
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("_name", "draw", "law"), DISCRETE, ids=[c[0] for c in DISCRETE])
def test_discrete_samples_follow_their_law(_name, draw, law):
    x = draw(KEY).double().numpy()
    values, counts = numpy.unique(x, return_counts=True)
    expected = law.pmf(values) * N
    assert (expected > 0).all()
    common = expected > 5
    distance = ((counts[common] - expected[common]) ** 2 / expected[common]).sum()
    assert stats.chi2(max(common.sum(), 1)).sf(distance) > 1e-3
    assert expected[common].sum() > 0.98 * N


EVERY = [(n, f) for n, f, _ in [*CONTINUOUS, *DISCRETE]]


@pytest.mark.parametrize(("_name", "draw"), EVERY, ids=[n for n, _ in EVERY])
def test_vmap_over_keys_is_a_loop(_name, draw, monkeypatch):
    monkeypatch.setitem(draw.__globals__, "N", 7)
    keys = random.split(KEY, 4)
    loop = ft.stack([draw(k) for k in keys.unbind()])
    assert ft.equal(ft.vmap(draw)(keys), loop)
    twice = ft.vmap(ft.vmap(draw))(keys.reshape(2, 2, 2))
    assert ft.equal(twice.reshape(loop.shape), loop)
    assert not ft.equal(loop[0], loop[1]) or _name.startswith("binomial 9")


def test_keys():
    assert random.key(-1).tolist() == [0xFFFFFFFF, 0xFFFFFFFF]
    keys = random.split(KEY, 50)
    assert keys.dtype is ft.uint32 and tuple(keys.shape) == (50, 2)
    folded = ft.stack([random.fold_in(KEY, i) for i in range(50)])
    seen = {tuple(k) for k in keys.tolist() + folded.tolist()}
    assert len(seen) == 100
    assert ft.equal(ft.vmap(lambda i: random.fold_in(KEY, i))(ft.arange(50)), folded)
    assert ft.equal(random.fold_in(KEY, ft.arange(50)), folded)
    lanes = ft.vmap(lambda k, i: random.split(random.fold_in(k, i), 3))(keys, ft.arange(50))
    assert ft.equal(lanes[7], random.split(random.fold_in(keys[7], 7), 3))


def test_a_key_gives_the_same_numbers():
    assert ft.equal(random.normal(KEY, (5,)), random.normal(random.key(11), (5,)))
    ft.manual_seed(3)
    a = ft.poisson(ft.full((5,), 4.0))
    ft.manual_seed(3)
    assert ft.equal(a, ft.poisson(ft.full((5,), 4.0)))


def test_permutation():
    order = random.permutation(KEY, 20)
    assert sorted(order.tolist()) == list(range(20))
    x = ft.arange(40).reshape(2, 20)
    assert ft.equal(random.permutation(KEY, x, 1), x[:, order])
    drawn = random.choice(KEY, ft.arange(10), (10,), replace=False, p=ft.arange(10) + 1.0)
    assert sorted(drawn.tolist()) == list(range(10))


@pytest.mark.parametrize(
    "call",
    [
        lambda: random.normal(ft.tensor([1, 2]), (3,)),
        lambda: random.normal(3, (3,)),
        lambda: random.normal(ft.tensor([1], dtype=ft.uint32), (3,)),
        lambda: random.gamma(random.split(KEY), 1.0, (3,)),
        lambda: random.gamma(KEY, ft.ones(4), (3,)),
        lambda: random.randint(KEY, (3,), 5, 5),
        lambda: random.choice(KEY, 3, (4,), replace=False),
        lambda: random.uniform(KEY, (3,), ft.int64),
        lambda: random.split(KEY, -1),
        lambda: random.fold_in(KEY, 1.5),
        lambda: ft.multinomial(ft.ones(3), 4),
        lambda: ft.multinomial(ft.ones(2, 2, 2), 1),
        lambda: ft.poisson(ft.tensor([1])),
    ],
)
def test_bad_inputs(call):
    with pytest.raises((ValueError, TypeError, ft.ShapeError), match="expected"):
        call()


@pytest.mark.parametrize(
    "draw",
    [
        lambda a: random.gamma(KEY, a),
        lambda a: random.poisson(KEY, a),
        lambda a: random.binomial(KEY, a, 0.5),
        lambda a: random.binomial(KEY, 4.0, a + 2),
        lambda a: random.von_mises(KEY, a),
    ],
)
def test_parameters_outside_the_domain_give_nan(draw):
    assert draw(ft.tensor([numpy.nan, -4.5])).isnan().tolist() == [True, True]


def test_gamma_samples_are_above_0():
    assert float(random.gamma(KEY, 1e-6, (1000,)).min()) == 2.0**-126
    assert float(random.gamma(KEY, 1e-6, (1000,), D).min()) == 2.0**-1022


def test_compiled_programs_take_keys():
    def function(key, x):
        a, b, c = random.split(key, 3).unbind()
        rate = random.gamma(a, x.exp())
        return random.poisson(b, rate.detach() * 5) * rate + random.normal(c, x.shape)

    keys, x = random.split(KEY, 5), ft.linspace(-1, 2, 6)
    mapped = ft.vmap(function, in_dims=(0, None))
    program = ft.compile(mapped)
    assert ft.equal(program(keys, x), mapped(keys, x))
    assert ft.equal(program(keys + 1, x), mapped(keys + 1, x))  # keys are inputs, not constants
    slope = ft.grad(lambda x: mapped(keys, x).sum())
    assert_close(ft.compile(slope)(x), slope(x))


# ---- gradients ----


@pytest.mark.parametrize("quantile", [1e-3, 0.2, 0.5, 0.9, 1 - 1e-6])
def test_gamma_gradient_is_that_of_the_quantile(quantile):
    a = numpy.array([0.1, 0.5, 0.99, 1.0, 2.5, 8.0, 30.0, 1e3, 1e5])
    z, h = stats.gamma(a).ppf(quantile), 1e-3 * a
    points = [stats.gamma(a + s * h).ppf(quantile) for s in (-2, -1, 1, 2)]
    slope = (points[0] - 8 * points[1] + 8 * points[2] - points[3]) / (12 * h)
    assert_close(standard_gamma_grad(ft.tensor(a), ft.tensor(z)), slope, 1e-6, 1e-10)


def test_gamma_gradient_has_derivatives():
    a = ft.tensor([0.3, 1.2, 5.0]).double()
    z = ft.tensor([0.1, 2.0, 4.0]).double()
    check_grads(standard_gamma_grad, (a, z), order=2)


def test_gradients_reach_parameters():
    def mean(a):
        return random.gamma(KEY, a, (4000,)).mean()

    a = ft.tensor(2.5).double()
    assert abs(float(ft.grad(mean)(a)) - 1) < 0.05  # the mean is a
    assert abs(float(ft.jvp(mean, (a,), (ft.ones_like(a),))[1]) - float(ft.grad(mean)(a))) < 1e-9
    both = ft.stack([a, a * 2])
    each = ft.vmap(ft.grad(mean))(both)
    assert_close(each, ft.stack([ft.grad(mean)(x) for x in both]))
    g = ft.grad(lambda p: random.beta(KEY, p, 2.0, (4000,), D).mean())(a)
    assert abs(float(g) - 2 / 4.5**2) < 0.01


@pytest.mark.torch
def test_gamma_gradient_is_torchs():
    torch = pytest.importorskip("torch")
    a = numpy.array([0.2, 0.9, 1.5, 4.0, 12.0])
    z = stats.gamma(a).ppf(0.6)
    expected = torch._standard_gamma_grad(torch.tensor(a), torch.tensor(z))
    assert_close(standard_gamma_grad(ft.tensor(a), ft.tensor(z)), expected, 1e-3, 1e-4)


# ---- torch's functions ----


def test_multinomial():
    p = ft.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
    x = ft.multinomial(p, 4000, replacement=True)
    assert tuple(x.shape) == (2, 4000)
    assert abs(float((x[0] == 2).double().mean()) - 0.75) < 0.03
    assert bool((x[1] == 0).all())
    y = ft.tensor([0.2, 0.3, 0.5]).multinomial(3)
    assert sorted(y.tolist()) == [0, 1, 2]


def test_draws_under_vmap_follow_randomness():
    x = ft.full((3, 50), 5.0)
    different = ft.vmap(ft.poisson, randomness="different")(x)
    assert not ft.equal(different[0], different[1])
    same = ft.vmap(ft.poisson, randomness="same")(x)
    assert ft.equal(same[0], same[1])
    with pytest.raises(ft.TraceError, match="randomness"):
        ft.vmap(ft.poisson, randomness="error")(x)


@pytest.mark.parametrize(
    ("name", "arguments", "law"),
    [
        ("cauchy_", (1.0, 2.0), stats.cauchy(1, 2)),
        ("log_normal_", (0.5, 0.25), stats.lognorm(0.25, scale=numpy.exp(0.5))),
        ("exponential_", (2.0,), stats.expon(scale=0.5)),
    ],
)
def test_in_place(name, arguments, law):
    x = ft.empty(N, dtype=D)
    assert getattr(x, name)(*arguments) is x
    assert stats.kstest(x.numpy(), law.cdf).pvalue > 1e-3


def test_in_place_integers():
    x = ft.empty(N).geometric_(0.25)
    assert abs(float(x.mean()) - 4) < 0.15 and float(x.min()) == 1
    y = ft.empty(N, dtype=ft.int64).random_(3, 6)
    assert sorted(set(y.tolist())) == [3, 4, 5]
    assert set(ft.empty(50, dtype=ft.bool_).random_().tolist()) == {True, False}
    assert float(ft.empty(5).random_().max()) <= 2**24
