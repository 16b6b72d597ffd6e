# SPDX-License-Identifier: BSD-3-Clause
"""Divergences between mixtures: against loops, integrals and what is known of them."""

import doctest
import math

import numpy as np
import pytest
from gaussians import EVERY, dense, gaussian
from scipy import integrate, stats

import gkl
from gkl import DiagNormal, FullNormal, InvalidGaussianError, LowRankNormal, mixtures
from gkl.mixtures import gmm_kl

array = pytest.importorskip("dask.array")
METHODS = ("variational", "matched", "montecarlo")
KINDS = [(x, x) for x in EVERY] + [("cov", "std"), ("low_rank", "precision"), ("logvar", "tril")]
P, HALF = DiagNormal(np.zeros((2, 3)), var=1.0), [0.5, 0.5]


def mixture(kind, n, seed=0, **more):
    weights = np.random.default_rng(seed + 100).dirichlet(np.ones(n))
    return weights, gaussian(kind, (n,), seed=seed, **more)


def by_loops(w, p, v, q, method):
    total, f, g = 0.0, list(zip(w, p, strict=True)), list(zip(v, q, strict=True))
    for c, x in f:
        if method == "matched":
            total += c * min(gkl.kl(x, y) + np.log(c / e) for e, y in g)
        else:
            own, other = (sum(e * np.exp(-gkl.kl(x, y)) for e, y in mixed) for mixed in (f, g))
            total += c * np.log(own / other)
    return total


def sampled(*mixtures, **options):
    return gmm_kl(*mixtures, "montecarlo", return_error=True, **options)


def log_density(w, p, x):
    means, covs = (np.broadcast_to(y, (len(w), *y.shape[1:])) for y in dense(p, p.dim))
    each = [np.log(c) + stats.multivariate_normal.logpdf(x, m, s)
            for c, m, s in zip(w, means, covs, strict=True)]  # fmt: skip
    return np.logaddexp.reduce(each, axis=0)


def integral(w, p, v, q):
    def integrand(x):
        log_f = log_density(w, p, x)
        return np.exp(log_f) * (log_f - log_density(v, q, x))

    return integrate.quad(integrand, -40, 40, points=p.mean, limit=500, epsabs=1e-9)[0]


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("method", METHODS[:2])
def test_the_formulas_by_loops(kinds, method):
    (w, p), (v, q) = mixture(kinds[0], 5), mixture(kinds[1], 3, seed=1)
    found = gmm_kl(w, p, v, q, method)
    assert type(found) is float
    assert found == pytest.approx(by_loops(w, p, v, q, method), rel=1e-9)
    assert gmm_kl(w * (1 + 9e-7), p, v, q, method, threads=1) == pytest.approx(found, rel=1e-12)
    a, b = np.array([3, 1, 4, 0, 2]), np.array([2, 0, 1])
    assert gmm_kl(w[a], p[a], v[b], q[b], method) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_single_components_and_equal_mixtures(kinds):
    p, q = gaussian(kinds[0], (1,)), gaussian(kinds[1], (1,), seed=1)
    assert {gmm_kl([1 + 5e-7], p, [1], q, x) for x in METHODS[:2]} == {gkl.kl(p, q)[0]}
    w, p = mixture(kinds[0], 6, d=70)
    again = type(p)(**{name: x.copy() for name, x in p.parameters.items()})
    assert gmm_kl(w, p, w.copy(), again) == 0
    assert gmm_kl(w, p, w, again, "montecarlo", samples=500) == 0


def test_what_the_approximations_promise():
    far = DiagNormal(np.array([[-50.0], [50.0]]), var=1.0)
    near = DiagNormal(far.mean + np.array([[1.0], [2.0]]), var=1.0)
    both, entropy = ([0.25, 0.75], far, HALF, near), math.log(2) - stats.entropy([0.25, 0.75])
    for method in METHODS[:2]:  # no overlap: exact
        assert gmm_kl(*both, method) == pytest.approx(0.5 * 0.25 + 2 * 0.75 + entropy, rel=1e-12)
    p = DiagNormal([[-1.0], [1.0]], var=1.0)
    assert gmm_kl(HALF, p, [1.0], DiagNormal([[0.0]], var=2.0)) < 0
    assert gmm_kl([0.01, 0.99], p, [0.01, 0.99], p, "matched") < 0
    rng = np.random.default_rng(0)
    for seed in range(10):
        w, v = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4))
        (_, p), (_, q) = (mixture("var", n, seed=seed + n, d=1) for n in (3, 4))
        found = [gmm_kl(w, p, v, q, method) for method in METHODS[:2]]
        assert integral(w, p, v, q) <= min(found) + stats.entropy(w)
        half = np.concatenate([w[:1] / 2, w[:1] / 2, w[1:]])
        assert gmm_kl(half, p[[0, 0, 1, 2]], v, q) == pytest.approx(found[0])


@pytest.mark.parametrize("kind", EVERY)
def test_samples_against_the_integral(kind):
    both = (*mixture(kind, 3, d=1), *mixture(kind, 2, seed=1, d=1))
    found, truth = [sampled(*both, samples=n, seed=3) for n in (5_000, 500_000)], integral(*both)
    assert all(abs(value - truth) < 5 * error for value, error in found)
    assert 7 < found[0][1] / found[1][1] < 14


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_samples_in_more_dimensions(kinds):
    """Against SciPy's samples and densities."""
    (w, p), (v, q) = mixture(kinds[0], 3, d=5), mixture(kinds[1], 4, seed=1, d=5)
    rng = np.random.default_rng(0)
    drawn = zip(*dense(p, 5), rng.multinomial(50_000, w), strict=True)
    x = np.concatenate([rng.multivariate_normal(*each) for each in drawn])
    ratio = log_density(w, p, x) - log_density(v, q, x)
    value, error = sampled(w, p, v, q, samples=50_000, seed=1)
    assert abs(value - ratio.mean()) < 5 * math.sqrt(2) * error
    assert error == pytest.approx(ratio.std() / math.sqrt(len(x)), rel=0.1)


def test_samples_are_those_of_the_seed(monkeypatch):
    two, rng = (*mixture("cov", 3), *mixture("low_rank", 2)), np.random.default_rng(7)
    first, *same, other = (sampled(*two, samples=99, seed=seed) for seed in (7, 7, rng, 8))
    assert same == [first, first] != [other, other]
    one = (*mixture("var", 1), *mixture("cov", 2, seed=1))
    expected = sampled(*one, samples=1000, seed=7)
    monkeypatch.setattr(mixtures, "BLOCK", 1)  # the same samples in 63 blocks
    assert sampled(*one, samples=1000, seed=7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_far_means_cost_no_digits(method):
    p, q = (np.array([[0.0], [x]]) * 2**-12 for x in (1, 3))
    near, far = ([DiagNormal(x + y, std=2**-14) for x in (p, q)] for y in (0, 2.0**40))
    found = [gmm_kl(np.float32(HALF), x, HALF, y, method, seed=0) for x, y in (near, far)]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_parameters_that_stand_for_all_and_other_types():
    shared = LowRankNormal(np.zeros((3, 4), np.float32), factor=np.ones((4, 2), "f"), var=0.5)
    full = FullNormal(0.0, cov=np.repeat(np.full((1, 4, 4), 2) + np.eye(4) / 2, 3, axis=0))
    for method in METHODS:
        assert abs(gmm_kl([1 / 3] * 3, shared, [1 / 3] * 3, full, method)) < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_components_of_weight_0_are_left_out(method):
    (w, p), (v, q) = mixture("cov", 3), mixture("var", 2, seed=1)
    expected = gmm_kl(w, p, v, q, method, seed=0)
    p = FullNormal(p.mean[[0, 0, 1, 2]], cov=np.insert(p.cov, 1, np.nan, axis=0))
    q = DiagNormal(q.mean[[0, 1, 1]], var=np.concatenate([q.var, [[-1.0] * 4]]))
    w, v = np.insert(w, 1, 0), np.append(v, 0)
    assert gmm_kl(w, p, v, q, method, seed=0) == expected
    with pytest.raises(InvalidGaussianError, match=r"^1 of 4 Gaussians.* first: p\.cov\[1"):
        gmm_kl(np.full(4, 0.25), p, v, q, method)
    with pytest.raises(InvalidGaussianError, match=r"q\.var\[2, 0\] = -1\.0 is not pos") as caught:
        gmm_kl(w, p, [0, 0.5, 0.5], q, method)
    assert (caught.value.index.tolist(), caught.value.total) == ([[2]], 3)


@pytest.mark.parametrize("method", METHODS)
def test_infinity_only_where_it_is_right(method):
    p = DiagNormal([[0.0], [1e200]], var=1.0)
    assert gmm_kl(HALF, p, [1.0, 0.0], p, method) == math.inf
    assert gmm_kl([1.0, 0.0], p, HALF, p, method) == pytest.approx(math.log(2))
    assert gmm_kl(HALF, p, HALF, p, method) == 0
    full = FullNormal([[1e300], [-1e300]], tril=np.tri(3) - np.diag([1 - 1e-10, 0, 0]))
    assert gmm_kl([1, 0], full, [0, 1], full, method) == math.inf
    assert gmm_kl([1, 0], full, HALF, full, method) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("change", "error", "words"), [
    ({"weights_p": [1.1, -0.1]}, ValueError, r"^weights_p\[1\] = -0\.1 is negative$"),
    ({"weights_q": [np.nan, 1]}, ValueError, r"^weights_q\[0\] = nan is not finite$"),
    ({"weights_q": [0.3, 0.6]}, ValueError, r"^weights_q sum to 0\.9, not 1$"),
    ({"weights_q": [1e308, 1e308]}, ValueError, r"^weights_q sum to inf, not 1$"),
    ({"weights_p": [1]}, ValueError, r"^weights_p has shape \(1,\), and p has 2 components$"),
    ({"weights_q": [[1, 0]]}, ValueError, r"^weights_q has shape \(1, 2\), and q has 2 comp"),
    ({"weights_q": [[1], 0]}, ValueError, "^weights_q is not an array of numbers"),
    ({"weights_p": ["1", "0"]}, TypeError, "^weights_p has dtype <U1; real numbers"),
    ({"weights_p": np.ma.masked_array(HALF, [0, 1])}, TypeError, "^weights_p is a masked array"),
    ({"p": P[:0], "weights_p": []}, ValueError, "^weights_p sum to 0, not 1"),
    ({"p": P[0]}, ValueError, r"^p has .*shape \(\), "),
    ({"q": P.reshape(2, 1)}, ValueError, r"^q has .*shape \(2, 1\), "),
    ({"q": DiagNormal(np.zeros((2, 4)), var=1.0)}, ValueError, "d = 3 and d = 4"),
    ({"p": 3}, TypeError, "^p is a int, not a gkl distribution"),
    ({"q": None}, TypeError, "^q is None"),
    ({"method": "exact"}, ValueError, "^method= takes 'variational', .* not 'exact'"),
    ({"return_error": True}, ValueError, "^return_error=True is for 'montecarlo'; 'variational'"),
    ({"method": "montecarlo", "samples": 1}, ValueError, "^samples= takes at least 2, not 1"),
    ({"method": "montecarlo", "samples": 1.5}, TypeError, "^samples= takes an integer, not 1.5"),
    ({"q": DiagNormal(array.zeros((2, 3)), var=1.0)}, TypeError, "^q has lazy parameters"),
    ({"threads": 0}, ValueError, "between 1 and 4096, not 0"),
])  # fmt: skip
def test_errors_name_the_argument_the_item_and_the_reason(change, error, words):
    with pytest.raises(error, match=words):
        gmm_kl(**{"weights_p": HALF, "p": P, "weights_q": HALF, "q": P, **change})


@pytest.mark.thread_unsafe  # a doctest takes the process's stdout
def test_docstring_runs():
    assert doctest.testmod(mixtures) == (0, 7)
