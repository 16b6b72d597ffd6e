# SPDX-License-Identifier: BSD-3-Clause
"""Matrices at the ends of the range, and weights, in the lanes and by BLAS alike."""

import math

import numpy as np
import pytest

import gkl
from gkl import DiagNormal, FullNormal, LowRankNormal, _core


@pytest.fixture(params=["lanes", "blas"], autouse=True)
def way(request):
    _core.set_way(request.param)
    yield
    _core.set_way("rule")


@pytest.fixture(params=[1, 3, 65])
def eye(request):
    return np.eye(request.param)


def zeros(eye, dtype=float):
    return np.zeros(len(eye), dtype)


def test_an_overflow_is_infinity(eye):
    def spread(mean, variance, dtype=float):
        return FullNormal(np.full(len(eye), mean, dtype), cov=(variance * eye).astype(dtype))

    assert gkl.kl(spread(0, 1e300), spread(0, 1e-300)) == np.inf
    assert gkl.kl(spread(1e200, 1e-250), spread(-1e200, 1e-250)) == np.inf
    assert gkl.kl(spread(1e25, 1e-30, np.float32), spread(-1e25, 1e-30, np.float32)) == np.inf
    terms = gkl.kl_terms(spread(1e200, 1e-250), spread(-1e200, 1e-250))
    assert (terms.mahalanobis, terms.kl, terms.cov_part) == (np.inf, np.inf, 0)
    with pytest.raises(gkl.InvalidGaussianError, match="leading minor 1"):
        gkl.kl(spread(1e200, -1e-250), spread(-1e200, 1e-250))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(s, np.float64) for s in (1e-300, 1e-160, 1e160, 1e300)]
    + [(s, np.float32) for s in (1e-36, 1e-23, 1e20, 1e36)],
)
def test_factors_whose_squares_are_out_of_range(scale, dtype, eye):
    d, root, eps = len(eye), (scale * eye).astype(dtype), float(np.finfo(dtype).eps)
    p = FullNormal(zeros(eye, dtype), tril=2 * root)
    q = FullNormal(zeros(eye, dtype), tril=root)
    logs = d * math.log(float(root[0, 0]))
    assert gkl.kl(p, q) == pytest.approx(d * (1.5 - math.log(2)), rel=4 * eps)
    assert gkl.jeffreys(p, q) == pytest.approx(d * 1.125, rel=4 * eps)
    entropy = logs + d * (math.log(2) + (1 + math.log(2 * math.pi)) / 2)
    assert gkl.entropy(p) == pytest.approx(entropy, rel=8 * eps)
    cross = logs + d * (math.log(2 * math.pi) + 4) / 2
    assert gkl.cross_entropy(p, q) == pytest.approx(cross, rel=8 * eps)
    terms = gkl.kl_terms(p, q)
    assert terms.trace == pytest.approx(4 * d, rel=4 * eps)
    assert terms.logdet == pytest.approx(-2 * d * math.log(2), rel=4 * eps)
    _, grad_p, grad_q = gkl.kl_and_grad(p, q)
    np.testing.assert_allclose(np.diagonal(grad_p.tril * root), 1.5, rtol=8 * eps)
    np.testing.assert_allclose(np.diagonal(grad_q.tril * root), -3, rtol=8 * eps)
    assert gkl.kl(p, p) == 0


@pytest.mark.parametrize("scale", [{"std": 1e-170}, {"logvar": -800.0}, {"std": 1e170}])
def test_scales_that_are_no_numbers_as_variances(scale, eye):
    p = DiagNormal(zeros(eye), **scale)
    assert gkl.kl(p, FullNormal(0.0, cov=eye)) == pytest.approx(gkl.kl(p), rel=1e-14)
    low_rank = LowRankNormal(zeros(eye), factor=eye[:, :1], var=1.0)
    with pytest.raises(gkl.InvalidGaussianError, match="is beyond float64 as a variance"):
        gkl.kl(p, low_rank)


@pytest.mark.parametrize("weight", [0.0, 1.0, np.nan])
def test_weights_of_bad_and_good_items(weight, eye):
    """No weight makes the gradients of a bad item 0, and one that is NaN is not 0."""
    cov, mean = np.stack([-eye, 2 * eye, 3 * eye]), np.zeros((3, len(eye)))
    p = FullNormal(mean, cov=cov)
    weights = np.array([weight, 1.0, weight])
    value, grad, _ = gkl.kl_and_grad(
        p, FullNormal(mean, cov=cov[[1, 1, 1]]), weight=weights, on_error="nan"
    )
    assert np.isnan(value).tolist() == [True, False, False]
    assert np.isnan(grad.cov).any(axis=(1, 2)).tolist() == [True, False, np.isnan(weight)]
    assert np.isnan(grad.mean).any(axis=1).tolist() == [True, False, np.isnan(weight)]
    shared = FullNormal(mean[0], cov=eye)
    _, _, grad = gkl.kl_and_grad(p, shared, weight=weights, on_error="nan")
    assert np.isnan(grad.cov).any()
    variances = np.where(np.arange(3) == 0, -1.0, 1.0)[:, np.newaxis] * np.ones((3, len(eye)))
    _, diag = gkl.kl_and_grad(DiagNormal(mean, var=variances), weight=weights, on_error="nan")[:2]
    assert np.isnan(diag.var).any(axis=1).tolist() == [True, False, np.isnan(weight)]


def test_a_prepared_matrix_stays_that_of_its_factor(eye):
    cov = eye.copy()
    prepared = FullNormal(0.0, cov=cov).prepare()
    before = gkl.kl(FullNormal(0.0, cov=2 * eye), prepared)
    cov[0, 0] = 9
    assert gkl.kl(FullNormal(0.0, cov=2 * eye), prepared) == before
    assert prepared != FullNormal(0.0, cov=cov)
    assert prepared == FullNormal(0.0, cov=eye)


def test_no_dimensions():
    assert FullNormal(np.zeros((3, 0)), cov=np.zeros((3, 0, 0))).prepare().dim == 0
