# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of the KL of VAEs: against NumPy over all data, however it was cut and merged."""

import functools
import itertools
import pickle

import numpy as np
import pytest
from gaussians import gaussian, terms
from helpers import FLOATS, in_layout

import gkl
from gkl import DiagNormal, InvalidGaussianError, vae
from gkl.vae import statistics

HALVES = ("mahalanobis", "trace", "logdet")


def posteriors(n=300, d=5, dtype=np.float64, seed=0, kind="logvar"):
    return gaussian(kind, (n,), d, dtype, seed)


def over(*batches):
    """Statistics of pairs (p, q)."""
    found = vae.KLStatistics()
    for p, q in batches:
        found.update(p, q)
    return found


def expected(p, q):
    """Means over the items of every term of every dimension, in float64."""

    def moments(x):
        if x is None:
            return 0.0, 1.0
        scale = np.asarray(getattr(x, x.parameter), float)
        var = {"var": scale, "std": scale**2, "logvar": np.exp(scale)}[x.parameter]
        return np.asarray(x.mean, float), var

    (mean_p, var_p), (mean_q, var_q) = moments(p), moments(q)
    m, r = (mean_p - mean_q) ** 2 / var_q, var_p / var_q
    d = p.dim if q is None else max(p.dim, q.dim)
    cov = (r - 1 - np.log(r)) / 2
    named = {"mahalanobis": m, "trace": r, "logdet": -np.log(r), "mean_part": m / 2,
             "cov_part": cov, "kl": m / 2 + cov}  # fmt: skip
    shape = np.broadcast_shapes(cov.shape, m.shape, (d,))
    return {k: np.broadcast_to(x, shape).reshape(-1, d).mean(0) for k, x in named.items()}


def close(found, wanted, rtol=1e-12):
    for name, y in wanted.items():
        np.testing.assert_allclose(getattr(found, name), y, rtol, rtol, err_msg=name)


SHAPES = {
    "alike": [(40, 5)] * 4,
    "one prior": [(40, 5), (40, 5), (5,), (5,)],
    "isotropic": [(40, 5), (40, 1), (5,), (1,)],
    "one posterior": [(5,), (1,), (40, 5), (40, 1)],
    "each with each": [(6, 1, 5), (6, 1, 5), (1, 7, 5), (5,)],
    "more axes": [(2, 3, 7, 5), (3, 1, 5), (7, 5), (2, 1, 1, 5)],
    "one item": [(5,)] * 4,
    "one dimension": [(40, 1)] * 4,
}


@pytest.mark.parametrize("chunk", [1, 16, 100, 1 << 16])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_means_are_those_of_plain_formulas(shapes, chunk, monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=shape) for shape in shapes]
    for kinds in (("logvar", "var"), ("std", "std"), ("var", None)):
        given = [(m, k, s if k == "logvar" else np.exp(s))
                 for m, k, s in zip(x[::2], kinds, x[1::2], strict=True) if k]  # fmt: skip
        p, q = [*(DiagNormal(m, **{k: s}) for m, k, s in given), None][:2]
        found = over((p, q))
        wanted = expected(p, q)
        assert found.count == gkl.kl(p, q).size
        assert found.mean.dim == 1
        close(found.mean, wanted)
        np.testing.assert_allclose(found.mean.kl.sum(), gkl.kl(p, q).mean(), 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("how", ["C", "F", "backwards", "every third"])
def test_types_and_layouts(dtype, how):
    p = posteriors(dtype=dtype)
    views = DiagNormal(in_layout(p.mean, how), logvar=in_layout(p.logvar, how))
    close(over((views, None)).mean, expected(p, None), 1e-12 if dtype == np.float64 else 4e-7)
    for name, x in vars(over((views, None)).mean).items():
        assert name == "dim" or (x.dtype, x.shape) == (np.float64, (5,))


def test_halves_of_a_chunked_tensor_are_read_in_place():
    both = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    mean, logvar = np.split(both, 2, axis=1)
    p = DiagNormal(mean, logvar=logvar)
    close(over((p, None)).mean, expected(p, None), 4e-7)


def test_numbers():
    number, p = DiagNormal(0.5, var=2.0), posteriors()
    for a, b in ((number, None), (number, number), (p, number), (number, p)):
        close(over((a, b)).mean, expected(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_streaming_and_merging_give_the_whole(dtype):
    p, q = posteriors(dtype=dtype), posteriors(dtype=dtype, seed=1)
    whole = over((p, q))
    cuts = [(0, 10), (10, 10), (10, 11), (11, 200), (200, 300)]
    batches = [(p[i:j], q[i:j]) for i, j in cuts]
    rtol = 1e-13 if dtype == np.float64 else 4e-7
    close(over(*batches).mean, vars(whole.mean), rtol)
    for order in itertools.permutations(range(5)):
        workers = [over(batches[k]) for k in order]
        merged = functools.reduce(vae.KLStatistics.merge, workers, vae.KLStatistics())
        assert merged.count == 300
        close(merged.mean, vars(whole.mean), rtol)
    left, right = over(*batches[:2]), pickle.loads(pickle.dumps(over(*batches[2:])))
    close(left.merge(right).mean, vars(whole.mean), rtol)
    assert right.count == 290  # is left as it is


@pytest.mark.parametrize("kinds", [("cov", None), ("low_rank", "var"), ("logvar", "tril")])
@pytest.mark.parametrize("chunk", [1, 16, 1 << 16])
def test_other_structures_have_one_column(kinds, chunk, monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    p, q = gaussian(kinds[0], (3, 20)), kinds[1] and gaussian(kinds[1], (), seed=1)
    found = over((p[:2], q), (p[2], q))
    wanted = {k: [x.mean()] for k, x in zip(HALVES, terms(p, q), strict=True)}
    wanted["kl"] = [gkl.kl(p, q).mean()]
    close(found.mean, wanted, 1e-11)
    assert (found.count, found.mean.dim) == (60, 4)
    share = found.share
    assert share["kl"] == [1]
    assert sum(share[k] for k in HALVES) == pytest.approx([1])
    assert share["trace"] == pytest.approx((found.mean.trace - 4) / 2 / found.mean.kl)


def test_shares():
    p = posteriors()
    found = over((p, None))
    share, mean = found.share, found.mean
    total = gkl.kl(p).mean()
    np.testing.assert_allclose(share["kl"], mean.kl / total, 1e-13)
    np.testing.assert_allclose(share["mean_part"] + share["cov_part"], share["kl"], 1e-13)
    np.testing.assert_allclose(sum(share[k] for k in HALVES), share["kl"], 1e-11)
    np.testing.assert_allclose(share["mahalanobis"], mean.mahalanobis / 2 / total, 1e-13)
    np.testing.assert_allclose(share["trace"], (mean.trace - 1) / 2 / total, 1e-13)
    for x in over((DiagNormal(np.zeros((4, 3)), var=1.0), None)).share.values():
        assert x.tolist() == [0, 0, 0]


def test_collapsed_dimensions_keep_their_digits():
    p = posteriors(dtype=np.float32)
    p.mean[:, 2] *= np.float32(1e-4)
    p.logvar[:, 2] *= np.float32(1e-4)
    close(over((p, None)).mean, {"kl": gkl.kl_per_dim(p).mean(0, dtype=float)}, 4e-7)
    m, v = p.mean[:, 2].astype(float), p.logvar[:, 2].astype(np.longdouble)
    mean = over((p, None)).mean
    np.testing.assert_allclose(mean.cov_part[2], float((np.expm1(v) - v).mean()) / 2, 4e-7)
    np.testing.assert_allclose(mean.mean_part[2], (m * m).mean() / 2, 4e-7)


def test_a_bad_item_is_named_and_nothing_of_its_batch_is_added(monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", 64)
    p = posteriors(kind="var")
    found = over((p, None))
    before = found.mean.kl.tolist()
    p.var[217, 3] = -1
    with pytest.raises(InvalidGaussianError, match=r"1 of 300 .* p\.var\[217, 3\] = -1\.0 is not"):
        found.update(p)
    assert (found.count, found.mean.kl.tolist()) == (300, before)


def test_errors_of_statistics():
    p = posteriors()
    with pytest.raises(ValueError, match="has seen no items"):
        _ = vae.KLStatistics().mean
    with pytest.raises(ValueError, match="has seen no items"):
        _ = over((p[:0], None)).share
    found = over((p, None), (p[:0], None))
    assert found.count == 300
    with pytest.raises(ValueError, match=r"3 columns of 1 dimensions do not fit .* 5 of 1"):
        found.update(posteriors(d=3)[:0])
    assert over((posteriors(d=3)[:0], None), (p, None)).count == 300  # fixes no dimensions
    with pytest.raises(ValueError, match=r"3 columns of 1 dimensions do not fit .* 5 of 1"):
        found.update(posteriors(d=3))
    with pytest.raises(ValueError, match="1 columns of 5 dimensions do not fit"):
        found.merge(over((gaussian("cov", (3,), 5), None)))
    with pytest.raises(ValueError, match="p and q"):
        vae.KLStatistics().update(p, DiagNormal(np.zeros(4), var=1.0))
    with pytest.raises(ValueError, match="p and q"):
        vae.KLStatistics().update(p, p[:20])
    with pytest.raises(ValueError, match="p and q"):
        vae.KLStatistics().update(p, DiagNormal(np.zeros(1), var=1.0))
    with pytest.raises(TypeError, match="p is a list, not"):
        vae.KLStatistics().update([1.0])
    with pytest.raises(ValueError, match="the mean KL is inf"):
        _ = over((DiagNormal(np.full((2, 3), 1e200), var=1e-100), None)).share
    array = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match="no Dask arrays"):
        vae.KLStatistics().update(DiagNormal(array.zeros((3, 2)), var=1.0))


# --- active units


def units(*batches, threshold=0.01):
    found = vae.ActiveUnits(threshold)
    for mean in batches:
        found.update(mean)
    return found


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("chunk", [1, 60, 1 << 16])
def test_variances_are_those_of_numpy(dtype, offset, chunk, monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    mean = (offset + rng.normal(size=(60, 6)) * 10.0 ** np.arange(-4, 2)).astype(dtype)
    wanted = mean.astype(float).var(0)
    rtol = 1e-13
    cuts = np.split(mean, [1, 7, 7, 40])
    for found in (units(mean), units(*cuts), units(mean.reshape(5, 12, 6)), units(mean[::-1])):
        assert found.count == 60
        np.testing.assert_allclose(found.var, wanted, rtol, 1e-30)
        assert found.active.tolist() == (wanted > 0.01).tolist()
    for order in itertools.permutations(range(5)):
        merged = functools.reduce(vae.ActiveUnits.merge, [units(cuts[k]) for k in order])
        np.testing.assert_allclose(merged.var, wanted, rtol, 1e-30)


def test_a_constant_mean_is_not_active():
    found = units(np.full((1000, 2), 1e8 / 3), np.full((10, 2), 1e8 / 3), threshold=0.0)
    assert found.var.tolist() == [0, 0]
    assert not found.active.any()
    assert units([[1.0, 2.0]]).var.tolist() == [0, 0]


@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_variances_beyond_float64_are_infinite(chunk, monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    far, near = [[1.7e308, 0.0], [-1.7e308, 2.0]], [[0.0, 1.0]]
    merged = units(far).merge(units(far))
    for found in (units(far), units(near, far, near), units(far, far), merged):
        assert found.var[0] == np.inf
        assert np.isfinite(found.var[1])
        assert found.active.all()
    assert units([[1e200], [-1e200]]).var.tolist() == [np.inf]


def test_workers_can_be_sent_and_stay_as_they_are():
    a, b = units([[1.0], [2.0]]), pickle.loads(pickle.dumps(units([[4.0]])))
    assert a.merge(b) is a
    assert (a.count, b.count) == (3, 1)
    assert a.var.tolist() == [pytest.approx(14 / 9)]
    assert units().merge(b).var.tolist() == [0]
    assert b.merge(units()).count == 1


def test_errors_of_active_units():
    with pytest.raises(ValueError, match="has seen no items"):
        _ = units().active
    found = units(np.zeros((4, 3)))
    mean = np.zeros((2, 5, 3))
    mean[1, 2, 0] = np.nan
    for wrong, error, words in (
        (np.zeros((4, 2)), ValueError, "mean has 2 dimensions, those before 3"),
        (np.zeros((0, 2)), ValueError, "mean has 2 dimensions, those before 3"),
        (mean, ValueError, r"mean\[1, 2, 0\] = nan is not finite"),
        (np.array([0, np.inf, 0]), ValueError, r"mean\[1\] = inf is not finite"),
        (1.0, ValueError, "mean is a single number"),
        ([1j, 0, 0], TypeError, "mean has dtype complex128"),
    ):
        with pytest.raises(error, match=words):
            found.update(wrong)
    with pytest.raises(ValueError, match="mean has 2 dimensions, those before 3"):
        found.merge(units(np.zeros((4, 2))))
    assert found.count == 4
    for threshold in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match=f"threshold is {threshold}, and has to be a finite"):
            vae.ActiveUnits(threshold)
    assert units(np.zeros((0, 3)), np.zeros((0, 2))).count == 0
