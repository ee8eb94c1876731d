"""Distributions against torch.distributions, by samples, and under transforms."""

from __future__ import annotations

import numpy
import pytest

import functorch_like as ft
from functorch_like.testing import assert_close, check_grads

d = ft.distributions
P = numpy.array([0.4, 1.3, 2.6])
Q = numpy.array([0.7, 0.9, 3.1])
PROBS = numpy.array([0.2, 0.5, 0.9])
ROWS = numpy.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
REAL = numpy.array([-1.2, 0.3, 2.2])
POSITIVE = numpy.array([0.3, 1.1, 2.7])
UNIT = numpy.array([0.1, 0.5, 0.8])
COUNTS = numpy.array([0.0, 1.0, 3.0])

# name, parameters, a value
CASES = [
    ("Normal", (REAL, P), REAL + 0.3), ("LogNormal", (REAL, P), POSITIVE),
    ("Laplace", (REAL, P), REAL + 0.2), ("Cauchy", (REAL, P), REAL + 0.2),
    ("Gumbel", (REAL, P), REAL + 0.2), ("HalfNormal", (P,), POSITIVE),
    ("HalfCauchy", (P,), POSITIVE), ("Uniform", (-P, Q), UNIT * 0.5),
    ("Exponential", (P,), POSITIVE), ("Gamma", (P, Q), POSITIVE), ("Chi2", (P,), POSITIVE),
    ("InverseGamma", (P + 2, Q), POSITIVE), ("Beta", (P, Q), UNIT),
    ("Kumaraswamy", (P, Q), UNIT), ("StudentT", (P + 2, REAL, Q), REAL + 0.2),
    ("FisherSnedecor", (P + 4, Q + 4), POSITIVE), ("Pareto", (P, Q + 2), P + 0.5),
    ("Weibull", (P, Q), POSITIVE), ("VonMises", (REAL, P), REAL + 0.2),
    ("Dirichlet", (P,), ROWS[0]), ("Poisson", (P,), COUNTS), ("Bernoulli", (PROBS,), COUNTS > 0),
    ("Geometric", (PROBS,), COUNTS), ("Binomial", (4.0, PROBS), COUNTS),
    ("NegativeBinomial", (4.0, PROBS), COUNTS), ("Categorical", (ROWS,), numpy.array([1.0, 2.0])),
    ("OneHotCategorical", (ROWS,), numpy.eye(3)[:2]), ("ContinuousBernoulli", (PROBS,), UNIT),
    ("RelaxedBernoulli", (P, PROBS), UNIT), ("LogisticNormal", (REAL[:2], P[:2]), ROWS[0]),
    ("RelaxedOneHotCategorical", (numpy.array(0.7), ROWS), ROWS[::-1].copy()),
]  # fmt: skip
IDS = [c[0] for c in CASES]
# where torch gives nan, or of two ends the wrong one
NOT_TORCHS = {("Kumaraswamy", "mode"), ("Beta", "mode"), ("Weibull", "mode")}


def made(library, make, name, parameters):
    cls = getattr(library, name)
    values = [make(p) if isinstance(p, numpy.ndarray) else p for p in parameters]
    return cls(*values)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameters", "value"), CASES, ids=IDS)
def test_formulas_are_torchs(name, parameters, value):
    torch = pytest.importorskip("torch")
    value = value.astype(float)
    ours = made(d, ft.tensor, name, parameters)
    theirs = made(torch.distributions, torch.tensor, name, parameters)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    # torch's Bessel function is an approximation to single precision
    bound = 1e-7 if name == "VonMises" else 1e-9
    got, expected = ours.log_prob(ft.tensor(value)), theirs.log_prob(torch.tensor(value))
    assert_close(got, expected, bound, bound)
    for what in ("mean", "variance", "mode", "stddev"):
        try:
            expected = getattr(theirs, what)
        except NotImplementedError:
            continue
        if (name, what) in NOT_TORCHS:
            continue
        assert_close(getattr(ours, what), expected, 1e-6, 1e-6, equal_nan=True, check_dtype=False)
    for what, argument in (("entropy", None), ("cdf", value), ("icdf", UNIT)):
        try:
            call = getattr(theirs, what)
            expected = call() if argument is None else call(torch.tensor(argument))
        except (NotImplementedError, RuntimeError, ValueError):
            continue
        try:
            call = getattr(ours, what)
            got = call() if argument is None else call(ft.tensor(argument))
        except NotImplementedError:
            continue
        assert_close(got, expected, 1e-6, 1e-7, equal_nan=True)


@pytest.mark.parametrize(("name", "parameters", "value"), CASES, ids=IDS)
def test_log_prob_has_derivatives_and_maps(name, parameters, value):
    tensors = [ft.tensor(p) for p in parameters if isinstance(p, numpy.ndarray)]
    fixed = parameters[: len(parameters) - len(tensors)]

    def log_prob(*ps):
        return getattr(d, name)(*fixed, *ps).log_prob(ft.tensor(value.astype(float)))

    if name != "Uniform":
        check_grads(log_prob, tensors, order=2)
    lanes = [ft.stack([t, t * 0.9]) for t in tensors]
    loop = [log_prob(*[lane[i] for lane in lanes]) for i in range(2)]
    assert_close(ft.vmap(log_prob)(*lanes), ft.stack(loop), 1e-12, 1e-12)
    every = tuple(range(len(tensors)))
    got = ft.vmap(ft.grad(lambda *p: log_prob(*p).sum(), every))(*lanes)
    loop = [
        ft.grad(lambda *p: log_prob(*p).sum(), every)(*[lane[i] for lane in lanes])
        for i in range(2)
    ]
    assert_close(list(got), [ft.stack(list(g)) for g in zip(*loop, strict=True)], 1e-10, 1e-10)


@pytest.mark.parametrize(("name", "parameters", "value"), CASES, ids=IDS)
def test_samples_have_the_mean_and_variance(name, parameters, value):
    dist = made(d, ft.tensor, name, parameters)
    x = dist.sample((8000,), key=ft.random.key(5))
    assert tuple(x.shape) == (8000, *dist.batch_shape, *dist.event_shape)
    assert not x.requires_grad
    assert bool(dist.support.check(x).all())
    if name.startswith("Relaxed") or name == "LogisticNormal":
        return  # no mean in closed form
    variance = dist.variance
    if name in ("HalfCauchy", "Cauchy", "VonMises", "Categorical"):
        return
    spread = (variance / 8000).sqrt()
    assert bool(((x.double().mean(0) - dist.mean).abs() < 5 * spread + 1e-9).all())
    if name not in ("InverseGamma", "StudentT", "FisherSnedecor", "Pareto", "LogNormal"):
        assert_close(x.double().var(0), variance.double(), 0.15, 0.01)
    again = dist.sample((8000,), key=ft.random.key(5))
    assert ft.equal(x, again)
    few = ft.vmap(lambda k: dist.sample((3,), key=k))(ft.random.split(ft.random.key(1), 2))
    assert ft.equal(few[1], dist.sample((3,), key=ft.random.split(ft.random.key(1), 2)[1]))


REPARAMETERISED = [c for c in CASES if getattr(d, c[0]).has_rsample]


@pytest.mark.parametrize(
    ("name", "parameters", "_value"), REPARAMETERISED, ids=[c[0] for c in REPARAMETERISED]
)
def test_rsample_gradients_are_right(name, parameters, _value):
    key = ft.random.key(2)
    tensors = [ft.tensor(p) for p in parameters]

    def draw(*ps):
        return getattr(d, name)(*ps).rsample((3,), key=key)

    # at a fixed key gamma samples jump between rejection rounds, so the gradient is that of a
    # quantile, not of the draw: compare it through the distribution function's invariance
    if name in ("Gamma", "Chi2", "InverseGamma", "Beta", "Dirichlet", "StudentT", "FisherSnedecor"):
        every = tuple(range(len(tensors)))
        for g in ft.grad(lambda *p: draw(*p).sum(), every)(*tensors):
            assert bool(g.isfinite().all())
        return
    check_grads(draw, tensors, order=1)


def test_discrete_distributions_do_not_reparameterise():
    with pytest.raises(NotImplementedError, match=r"Poisson\.rsample: expected"):
        d.Poisson(1.0).rsample()


def test_mean_gradients_of_gamma_family():
    key = ft.random.key(9)

    def mean(a, b):
        return d.Beta(a, b).rsample((20000,), key=key).mean()

    a, b = ft.tensor(1.5).double(), ft.tensor(2.5).double()
    got = ft.grad(mean, (0, 1))(a, b)
    assert_close(list(got), [ft.tensor(2.5 / 16).double(), ft.tensor(-1.5 / 16).double()], 0, 5e-3)


# ---- made of others ----


def test_independent_and_expand():
    base = d.Normal(ft.zeros(2, 3), ft.ones(3))
    whole = d.Independent(base, 1)
    assert tuple(whole.batch_shape) == (2,) and tuple(whole.event_shape) == (3,)
    x = whole.sample((4,))
    assert_close(whole.log_prob(x), base.log_prob(x).sum(-1))
    assert tuple(base.expand((5, 2, 3)).sample().shape) == (5, 2, 3)
    assert tuple(d.Categorical(ft.ones(4)).expand((2,)).sample().shape) == (2,)
    with pytest.raises(ValueError, match=r"^Independent: expected"):
        d.Independent(base, 3)


@pytest.mark.torch
def test_mixture_is_torchs():
    torch = pytest.importorskip("torch")

    def mixture(lib, make):
        return lib.MixtureSameFamily(
            lib.Categorical(make(ROWS)), lib.Normal(make(ROWS * 4), make(ROWS + 1))
        )

    ours, theirs = mixture(d, ft.tensor), mixture(torch.distributions, torch.tensor)
    x = numpy.array([0.3, 1.7])
    for what in ("log_prob", "cdf"):
        assert_close(
            getattr(ours, what)(ft.tensor(x)), getattr(theirs, what)(torch.tensor(x)), 1e-9, 1e-9
        )
    assert_close(ours.mean, theirs.mean, 1e-9, 1e-9)
    assert_close(ours.variance, theirs.variance, 1e-9, 1e-9)
    drawn = ours.sample((20000,), key=ft.random.key(3))
    assert_close(drawn.mean(0), ours.mean, 0, 0.05)


TRANSFORMS = [
    ("ExpTransform", ()), ("SigmoidTransform", ()), ("TanhTransform", ()),
    ("SoftplusTransform", ()), ("AffineTransform", (1.5, -2.0)), ("StickBreakingTransform", ()),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("name", "arguments"), TRANSFORMS, ids=[n for n, _ in TRANSFORMS])
def test_transforms_are_torchs(name, arguments):
    torch = pytest.importorskip("torch")
    ours = getattr(d, name)(*arguments)
    theirs = getattr(torch.distributions, name)(*arguments)
    x = ft.tensor(REAL)
    y, expected = ours(x), theirs(torch.tensor(REAL))
    assert_close(y, expected, 1e-12, 1e-12)
    assert_close(ours.inv(y), x, 1e-8, 1e-8)
    assert_close(
        ours.log_abs_det_jacobian(x, y),
        theirs.log_abs_det_jacobian(torch.tensor(REAL), expected),
        1e-9,
        1e-9,
    )


@pytest.mark.torch
def test_transformed_distributions_are_torchs():
    torch = pytest.importorskip("torch")

    def make(lib, tensor):
        return lib.TransformedDistribution(
            lib.Normal(tensor(REAL), tensor(P)),
            [lib.AffineTransform(0.5, -2.0), lib.ExpTransform()],
        )

    ours, theirs = make(d, ft.tensor), make(torch.distributions, torch.tensor)
    for what, at in (("log_prob", POSITIVE), ("cdf", POSITIVE), ("icdf", UNIT)):
        assert_close(
            getattr(ours, what)(ft.tensor(at)), getattr(theirs, what)(torch.tensor(at)), 1e-6, 1e-6
        )
    simplex = d.TransformedDistribution(
        d.Normal(ft.zeros(3), ft.ones(3)), d.StickBreakingTransform()
    )
    x = simplex.sample((5,))
    assert tuple(x.shape) == (5, 4) and tuple(simplex.log_prob(x).shape) == (5,)


PAIRS = [
    ("Normal", (REAL, P), (REAL + 1, Q)), ("Gamma", (P, Q), (Q, P)), ("Beta", (P, Q), (Q, P)),
    ("Dirichlet", (P,), (Q,)), ("Bernoulli", (PROBS,), (UNIT,)), ("Poisson", (P,), (Q,)),
    ("Categorical", (ROWS,), (ROWS[::-1].copy(),)), ("Exponential", (P,), (Q,)),
    ("Laplace", (REAL, P), (REAL + 1, Q)), ("Cauchy", (REAL, P), (REAL + 1, Q)),
    ("Gumbel", (REAL, P), (REAL + 1, Q)), ("Geometric", (PROBS,), (UNIT,)),
    ("Uniform", (-P, P), (-P - 1, P + 1)), ("HalfNormal", (P,), (Q,)),
    ("Pareto", (P + 1, Q), (P, P)), ("Binomial", (4.0, PROBS), (4.0, UNIT)),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=[p[0] for p in PAIRS])
def test_divergences_are_torchs(name, first, second):
    torch = pytest.importorskip("torch")
    ours = d.kl_divergence(*[made(d, ft.tensor, name, p) for p in (first, second)])
    theirs = torch.distributions.kl_divergence(
        *[made(torch.distributions, torch.tensor, name, p) for p in (first, second)]
    )
    assert_close(ours, theirs, 1e-6, 1e-7)


# torch takes the supports the wrong way round
TORCHS_ARE_WRONG = {("ContinuousBernoulli", "Uniform"), ("Uniform", "ContinuousBernoulli")}
# in and across the supports of the others
FAMILIES = {
    "Beta": [(P, Q)], "ContinuousBernoulli": [(PROBS,)], "Exponential": [(P,)], "Gamma": [(P, Q)],
    "Gumbel": [(REAL, P)], "Laplace": [(REAL, P)], "Normal": [(REAL, P)],
    "Pareto": [(P, Q), (P / 100, Q + 2)], "Uniform": [(-P, Q), (P / 4, P), (P * 0, P / P)],
    "Bernoulli": [(PROBS,)], "Binomial": [(4.0, PROBS)], "Poisson": [(P,)],
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAMILIES)
def test_divergences_between_families_are_torchs(name):
    torch = pytest.importorskip("torch")
    theirs = torch.distributions
    known = torch.distributions.kl._KL_REGISTRY
    for other in FAMILIES:
        pair = getattr(theirs, name), getattr(theirs, other)
        if pair not in known or (name, other) in TORCHS_ARE_WRONG:
            continue
        for first in FAMILIES[name]:
            for second in FAMILIES[other]:
                expected = theirs.kl_divergence(
                    made(theirs, torch.tensor, name, first),
                    made(theirs, torch.tensor, other, second),
                )
                p, q = made(d, ft.tensor, name, first), made(d, ft.tensor, other, second)
                assert_close(d.kl_divergence(p, q), expected, 1e-6, 1e-7)


def test_relaxed_samples_are_as_likely_as_their_density_says():
    key = ft.random.key(2)
    for temperature in (0.3, 2.0):
        x = d.RelaxedBernoulli(temperature, probs=ft.tensor(0.3)).sample((100_000,), key=key)
        inside = ft.linspace(0.005, 0.995, 100)
        mass = d.RelaxedBernoulli(temperature, probs=ft.tensor(0.3)).log_prob(inside).exp() * 0.01
        counted = ((x > 0.2) & (x < 0.6)).float().mean()
        assert_close(mass[20:60].sum(), counted, 0.02, 0.005)
        y = d.RelaxedOneHotCategorical(temperature, probs=ft.tensor([0.7, 0.3]))
        share = (y.sample((100_000,), key=key)[:, 1] > 0.5).float().mean()
        assert_close(share, ft.tensor(0.3), 0.02, 0.005)
    wide = d.RelaxedOneHotCategorical(0.5, probs=ft.tensor([0.7, 0.3])).expand((4,))
    assert list(wide.sample(key=key).shape) == [4, 2]


def test_divergences_between_families_are_means_of_log_ratios():
    key = ft.random.key(0)
    for p, q in [
        (d.Normal(0.4, 1.2), d.Laplace(-0.5, 0.7)), (d.Beta(2.0, 3.0), d.Gamma(2.0, 3.0)),
        (d.Uniform(0.1, 0.9), d.Beta(2.0, 1.5)), (d.Gamma(2.0, 3.0), d.Gumbel(0.3, 1.4)),
        (d.Uniform(0.5, 2.0), d.Pareto(0.2, 1.5)), (d.Pareto(1.0, 5.0), d.Exponential(0.6)),
        (d.Beta(2.0, 3.0), d.ContinuousBernoulli(0.3)),
        (d.Uniform(0.1, 0.9), d.ContinuousBernoulli(0.3)),
        (d.ContinuousBernoulli(0.3), d.Uniform(-0.5, 1.0)),
    ]:  # fmt: skip
        x = p.sample((200_000,), key=key)
        sampled = (p.log_prob(x) - q.log_prob(x)).mean()
        assert_close(d.kl_divergence(p, q), sampled, 2e-2, 1e-2)
    assert d.kl_divergence(d.ContinuousBernoulli(0.3), d.Uniform(0.1, 1.0)).item() == float("inf")
    assert d.kl_divergence(d.Uniform(0.5, 1.1), d.ContinuousBernoulli(0.3)).item() == float("inf")
    slope = ft.grad(lambda low: d.kl_divergence(d.Uniform(low, 0.9), d.Beta(2.0, 1.5)))
    assert ft.isfinite(slope(ft.tensor(0.2))) and slope(ft.tensor(-0.2)).item() == 0


def test_divergence_without_formula():
    with pytest.raises(NotImplementedError, match=r"^kl_divergence: expected"):
        d.kl_divergence(d.Normal(0.0, 1.0), d.Poisson(1.0))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"^Normal: expected scale to be greater_than\(0\)"):
        d.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match=r"^Gamma: expected a value in"):
        d.Gamma(1.0, 1.0).log_prob(ft.tensor(-1.0))
    for count in (-1.0, 1.5, numpy.nan):
        with pytest.raises(ValueError, match=r"^Binomial: expected total_count to be"):
            d.Binomial(ft.tensor(count), 0.5)
    with pytest.raises(ValueError, match=r"^NegativeBinomial: expected total_count to be"):
        d.NegativeBinomial(ft.tensor(-1.0), 0.5)
    with pytest.raises(ft.ShapeError, match=r"^Normal: expected"):
        d.Normal(ft.zeros(3), 1.0).log_prob(ft.zeros(4))
    assert d.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0
    with pytest.raises(ValueError, match=r"^Bernoulli: expected one of"):
        d.Bernoulli()


@pytest.mark.skipif(not hasattr(ft, "linalg"), reason="MultivariateNormal needs linalg")
def test_multivariate_normal():
    torch = pytest.importorskip("torch")
    root = numpy.array([[1.0, 0.0], [0.5, 2.0]])
    for name, matrix in (
        ("scale_tril", root),
        ("covariance_matrix", root @ root.T),
        ("precision_matrix", numpy.linalg.inv(root @ root.T)),
    ):
        ours = d.MultivariateNormal(ft.tensor(REAL[:2]), **{name: ft.tensor(matrix)})
        theirs = torch.distributions.MultivariateNormal(
            torch.tensor(REAL[:2]), **{name: torch.tensor(matrix)}
        )
        x = numpy.array([[0.3, 0.1], [1.0, -1.0]])
        assert_close(ours.log_prob(ft.tensor(x)), theirs.log_prob(torch.tensor(x)), 1e-9, 1e-9)
        assert_close(ours.entropy(), theirs.entropy(), 1e-9, 1e-9)
        assert tuple(ours.rsample((4,)).shape) == (4, 2)


def test_low_rank_normal():
    torch = pytest.importorskip("torch")
    loc, factor, spread = numpy.zeros((2, 1)) + REAL, numpy.stack([P, Q], 1), POSITIVE
    ours = d.LowRankMultivariateNormal(*map(ft.tensor, (loc, factor, spread)))
    theirs = torch.distributions.LowRankMultivariateNormal(
        *map(torch.tensor, (loc, factor, spread))
    )
    assert tuple(ours.batch_shape) == (2,) and tuple(ours.event_shape) == (3,)
    x = numpy.array([[[0.3, 0.1, 1.0]], [[1.0, -1.0, 2.0]]])
    assert_close(ours.log_prob(ft.tensor(x)), theirs.log_prob(torch.tensor(x)), 1e-9, 1e-9)
    for name in ("variance", "mean", "covariance_matrix", "precision_matrix", "scale_tril"):
        assert_close(getattr(ours, name), getattr(theirs, name), 1e-9, 1e-9)
    assert_close(ours.entropy(), theirs.entropy(), 1e-9, 1e-9)
    full = d.MultivariateNormal(ft.tensor(P), scale_tril=ft.eye(3).double() * 1.5)
    other = torch.distributions.MultivariateNormal(
        torch.tensor(P), scale_tril=torch.eye(3).double() * 1.5
    )
    low, lower = ours.expand((4, 2)), theirs.expand((4, 2))
    kl, expected = d.kl_divergence, torch.distributions.kl_divergence
    for p, q, r, s in [
        (low, full, lower, other),
        (full, low, other, lower),
        (low, low, lower, lower),
    ]:
        assert_close(kl(p, q), expected(r, s), 1e-6, 1e-9)
    x = ours.sample((20_000,), key=ft.random.key(0))
    assert_close(ft.cov(x[:, 0].T), ours.covariance_matrix[0], 0.1, 0.1)
    slope = ft.grad(
        lambda w: d.LowRankMultivariateNormal(ours.loc, w, ours.cov_diag).entropy().sum()
    )
    check_grads(slope, (ours.cov_factor[0],), order=1)
    with pytest.raises(ft.ShapeError, match="LowRankMultivariateNormal: expected cov_factor"):
        d.LowRankMultivariateNormal(ft.zeros(3), ft.zeros(2, 1), ft.ones(3))
