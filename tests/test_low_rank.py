# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians with covariance F F^T + diag(v), against each other, diagonal ones and N(0, I).

With kp and kq the condition numbers of the covariances scaled to unit diagonal: the value is
within 4 eps (kq + kp/max(1, KL)), relatively. Of each gradient in the Frobenius norm with the rows
scaled to unit variance 8 eps (kq + kp) is promised relatively to that of the covariance, times F;
here it is kept relatively to the gradient itself. Where F_p is F_q but for a rotation, which is no
difference of the Gaussians, errors are by what dF F_p^T + F_q dF^T is summed from.
"""

import itertools
import tracemalloc

import numpy as np
import pytest
from exact import MP, WIDE, Wide
from exact_low_rank import NOTHING, LowRank, families, low_rank_gradients, low_rank_item, standard
from test_accuracy import every_isa

import gkl
from gkl import ufuncs

pytestmark = pytest.mark.thread_unsafe  # the instruction set is the process's

DTYPES = (np.float32, np.float64)
KINDS = ("var", "std", "logvar")
BOUND, GRADIENT_BOUND = 4, 8
# d, rank of p, rank of q
SIZES = [(1, 1, 1), (2, 1, 1), (2, 5, 5), (3, 2, 2), (8, 2, 1), (8, 1, 4), (8, 0, 3), (8, 3, 0)]
SIZES += [(4, 0, 0), (20, 5, 5), (6, 9, 9), (100, 2, 2)]
GRADIENTS = ["d_mean_p", "d_factor_p", "d_scale_p", "d_mean_q", "d_factor_q", "d_scale_q"]
BATCH = 19  # whole vectors of any width and some left over


def gaussians(rng, kind, d, rank, dtype, n=BATCH):
    """The parameters of n Gaussians as the gufuncs want them, and one `LowRank` for each."""
    mean, scale = rng.normal(size=(2, n, d)).astype(dtype)
    scale = scale if kind == "logvar" else np.exp(scale)
    if kind == "unit":
        return (), [standard(d) for _ in range(n)]
    if kind != "low_rank":
        return (mean, scale), [LowRank(m, s, kind=kind) for m, s in zip(mean, scale, strict=True)]
    factor = rng.normal(size=(n, d, rank)).astype(dtype)
    parts = zip(mean, scale, factor, strict=True)
    return (mean, factor, scale), [LowRank(*item) for item in parts]


def pair_name(p, q):
    if q == "unit":
        return "unit_low_rank"
    if p == q:
        return "low_rank"
    return f"low_rank_diag_{q}" if p == "low_rank" else f"diag_low_rank_{p}"


PAIRS = [("low_rank", q) for q in ("low_rank", *KINDS, "unit")]
PAIRS += [(p, "low_rank") for p in KINDS]  # test_full_accuracy.py has those with matrices


def gradient_names(p, q):
    mine = [
        [f"d_mean_{side}", f"d_factor_{side}", f"d_scale_{side}"]
        if kind == "low_rank"
        else [f"d_mean_{side}", f"d_scale_{side}"]
        for side, kind in (("p", p), ("q", q))
        if kind != "unit"
    ]
    return list(itertools.chain(*mine))


def units(p, q, kl):
    """What the relative errors of the value and of the gradients are measured by, and how rows of
    the gradients are scaled to unit variance."""
    (kp, std_p), (kq, std_q) = p.condition(), q.condition()
    scale = {
        "d_mean_p": std_q,
        "d_mean_q": std_q,
        "d_factor_p": std_p[:, None],
        "d_factor_q": std_q[:, None],
        "d_scale_p": std_p**2,
        "d_scale_q": std_q**2,
    }
    return kq + kp / max(1, float(kl)), kq + kp, scale


def check_gradient(found, exact, scale, bound, message):
    found = np.asarray(found, float)
    error, size = (np.linalg.norm(scale * x) for x in (found - exact, exact))
    assert error <= bound * size, f"{message}: {error / size if size else error}"


def test_the_oracle():
    """By the lemmas against whole matrices, which lose digits in double."""
    rng = np.random.default_rng(1)
    (p,), (q,) = (gaussians(rng, "low_rank", 4, rank, np.float64, 1)[1] for rank in (2, 3))
    (mean_p, var_p, f), (mean_q, var_q, g) = p.stored, q.stored
    s_p, s_q, delta = f @ f.T + np.diag(var_p), g @ g.T + np.diag(var_q), mean_p - mean_q
    inverse = np.linalg.inv(s_q)
    z, trace = inverse @ delta, np.trace(inverse @ s_p)
    logdet = np.linalg.slogdet(s_q)[1] - np.linalg.slogdet(s_p)[1]
    d_p = (inverse - np.linalg.inv(s_p)) / 2
    d_q = (inverse - inverse @ s_p @ inverse - np.outer(z, z)) / 2
    found = low_rank_item(p, q)
    np.testing.assert_allclose(float(found["kl"]), (delta @ z + trace - 4 + logdet) / 2)
    np.testing.assert_allclose(float(found["trace"]), trace)
    np.testing.assert_allclose(float(found["logdet"]), logdet)
    expected = (z, 2 * d_p @ f, np.diag(d_p), -z, 2 * d_q @ g, np.diag(d_q))
    slopes = low_rank_gradients(p, q)
    for name, x in zip(GRADIENTS, expected, strict=True):
        np.testing.assert_allclose(slopes[name], x, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(("d", "r", "s"), SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_within_the_bounds(d, r, s, dtype):
    eps = np.finfo(dtype).eps
    names, found = zip(*families(np.random.default_rng(100 * d + r), d, r, s), strict=True)
    operands = [np.stack(x).astype(dtype) for x in zip(*found, strict=True)]
    pairs = [
        (LowRank(mp, vp, fp), LowRank(mq, vq, fq))
        for mp, fp, vp, mq, fq, vq in zip(*operands, strict=True)
    ]
    keep = range(0, len(pairs), 1 + d * max(r, s) // 50)  # the oracle is slow
    exact = {i: (low_rank_item(*pairs[i])["kl"], low_rank_gradients(*pairs[i])) for i in keep}
    for isa in every_isa():
        value = ufuncs.kl_low_rank(*operands)
        kl, *gradients = ufuncs.kl_low_rank_grad(*operands)
        np.testing.assert_array_equal(kl, value)
        assert np.all(value >= 0)
        for i, (expected, expected_gradients) in exact.items():
            where = f"{isa} {names[i]}"
            of_value, of_gradients, scale = units(*pairs[i], expected)
            if expected > max(4 * np.finfo(dtype).tiny, NOTHING):
                error = abs(MP.mpf(float(value[i])) - expected) / expected
                assert error <= BOUND * eps * of_value, where
            for name, gradient in zip(GRADIENTS, gradients, strict=True):
                check_gradient(
                    gradient[i],
                    expected_gradients[name],
                    scale[name],
                    GRADIENT_BOUND * eps * of_gradients,
                    f"{where} {name}",
                )


@pytest.mark.parametrize(("p", "q"), PAIRS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pair_and_output(p, q, dtype):
    """Unrelated pairs, d <= rank too; the same bits alone, together and from every output."""
    eps, rng, name = np.finfo(dtype).eps, np.random.default_rng(3), pair_name(p, q)
    for d, r, s in [(1, 1, 2), (3, 2, 2), (7, 1, 4), (5, 3, 0), (6, 9, 5)]:
        own, of_p = gaussians(rng, p, d, r, dtype)
        other, of_q = gaussians(rng, q, d, s, dtype)
        operands = (*own, *other)
        wanted = range(0, BATCH, 9)
        exact = {i: low_rank_item(of_p[i], of_q[i]) for i in wanted}
        slopes = {i: low_rank_gradients(of_p[i], of_q[i]) for i in wanted}
        unit = {i: units(of_p[i], of_q[i], exact[i]["kl"]) for i in wanted}
        for isa in every_isa():
            value, *gradients = getattr(ufuncs, f"kl_{name}_grad")(*operands)
            alone = getattr(ufuncs, f"kl_{name}")(*(x[4] for x in operands))
            kl, mean_part, cov_part = getattr(ufuncs, f"kl_{name}_parts")(*operands)
            terms = getattr(ufuncs, f"kl_{name}_terms")(*operands)
            jeffreys = getattr(ufuncs, f"jeffreys_{name}")(*operands)
            cross = getattr(ufuncs, f"cross_entropy_{name}")(*operands)
            assert alone == value[4]
            np.testing.assert_array_equal(value, getattr(ufuncs, f"kl_{name}")(*operands))
            np.testing.assert_array_equal(value, kl)
            found = dict(zip(("mahalanobis", "trace", "logdet"), terms, strict=True))
            found |= {"kl": value, "mean_part": mean_part, "cov_part": cov_part}
            found |= {"jeffreys": jeffreys, "cross_entropy": cross}
            if q == "unit":
                found["entropy"] = ufuncs.entropy_low_rank(*own[1:])
            for i, (_, both, scale) in unit.items():
                for result, x in found.items():
                    e, where = float(exact[i][result]), f"{isa} {d} {r} {s} {result}"
                    least = d if result in ("logdet", "cross_entropy", "entropy") else 0
                    assert abs(x[i] - e) <= BOUND * eps * both * max(abs(e), least), where
                for result, x in zip(gradient_names(p, q), gradients, strict=True):
                    bound = GRADIENT_BOUND * eps * both
                    check_gradient(
                        x[i], slopes[i][result], scale[result], bound, f"{isa} {result}"
                    )


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_parts_of_the_gradient(p, q):
    """_grad_p, _grad_q and _vjp are _grad's."""
    rng, name = np.random.default_rng(2), pair_name(p, q)
    own, other = (gaussians(rng, kind, 5, 3, np.float64)[0] for kind in (p, q))
    weight = rng.normal(size=BATCH)
    kl, *gradients = getattr(ufuncs, f"kl_{name}_grad")(*own, *other)
    sides = [("p", gradients[: len(own)]), ("q", gradients[len(own) :])]
    for side, mine in sides if other else []:
        found = getattr(ufuncs, f"kl_{name}_grad_{side}")(*own, *other)
        for x, y in zip(found, (kl, *mine), strict=True):
            np.testing.assert_array_equal(x, y)
    found = getattr(ufuncs, f"kl_{name}_vjp")(*own, *other, weight)
    for x, y in zip(found, gradients, strict=True):
        np.testing.assert_allclose(x, y * np.reshape(weight, (BATCH, *[1] * (y.ndim - 1))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [0, 1, 2, 7])
def test_equal_is_exactly_zero(rank, dtype):
    own, _ = gaussians(np.random.default_rng(rank), "low_rank", 5, rank, dtype)
    for _ in every_isa():
        for x in ufuncs.kl_low_rank_grad(*own, *own):
            assert not np.any(x)
        assert not np.any(ufuncs.jeffreys_low_rank(*own, *own))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rank_zero_is_diagonal(dtype):
    """To 4 eps, which the diagonal path promises, also far out in the range."""
    rng = np.random.default_rng(8)
    mean_p, mean_q = rng.normal(size=(2, 40, 9)).astype(dtype)
    var_p, var_q = np.exp(rng.normal(size=(2, 40, 9))).astype(dtype)
    empty = np.empty((9, 0), dtype)
    far = np.asarray(2.0 ** (600 if dtype == np.float64 else 60), dtype)
    for c in (dtype(1), far, 1 / far):
        p, q = (mean_p * np.sqrt(c), var_p * c), (mean_q * np.sqrt(c), var_q * c)
        wide = Wide("var", *p, "var", *q)["kl"].sum(axis=-1)
        for _ in every_isa():
            found = ufuncs.kl_low_rank(p[0], empty, p[1], q[0], empty, q[1])
            assert np.all(abs(found - wide) <= 4 * np.finfo(dtype).eps * wide)


def test_rotations_of_the_factor():
    """F Q is the same Gaussian as F: what is left is the rounding of F Q."""
    rng = np.random.default_rng(4)
    mean, factor, var = rng.normal(size=8), rng.normal(size=(8, 3)), np.exp(rng.normal(size=8))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn = rng.normal(size=(3, 3))
    others = [(factor @ rotation, 1)]
    others += [(factor @ (np.eye(3) + e * (turn - turn.T)), e) for e in 10.0 ** -np.arange(1, 9)]
    for other, e in others:
        p, q = LowRank(mean, var, other), LowRank(mean, var, factor)
        exact = low_rank_item(p, q)["kl"]
        both = units(p, q, exact)[1]
        for isa in every_isa():
            found = ufuncs.kl_low_rank(mean, other, var, mean, factor, var)
            error = float(abs(MP.mpf(float(found)) - exact))
            assert error <= BOUND * np.finfo(float).eps * both * (float(exact) + e * e), (isa, e)


def test_noise_far_below_the_factor():
    """Where matrices of d x d are singular to rounding there are digits left."""
    rng = np.random.default_rng(5)
    mean = np.zeros(30)
    factor, other = rng.normal(size=(2, 30, 4))
    var, other_var = np.exp(rng.normal(size=(2, 30)))
    for t in (1e-8, 1e-12, 1e-16, 1e-20, 1e-24):
        for f, v in ((other, other_var), (factor * (1 + 1e-3 * other), var * 1.001)):
            exact = low_rank_item(LowRank(mean, v * t, f), LowRank(mean, var * t, factor))["kl"]
            for isa in every_isa():
                found = ufuncs.kl_low_rank(mean, f, v * t, mean, factor, var * t)
                assert abs(float(found / exact) - 1) < 1e-3, (isa, t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bad_items(dtype):
    own, _ = gaussians(np.random.default_rng(6), "low_rank", 4, 2, dtype)
    other, _ = gaussians(np.random.default_rng(7), "low_rank", 4, 2, dtype)
    good = ufuncs.kl_low_rank_grad(*own, *other)
    for place, bad in itertools.product(range(6), (np.nan, np.inf, -1, 0)):
        if bad in (-1, 0) and place not in (2, 5):
            continue
        operands = [np.array(x) for x in (*own, *other)]
        operands[place][3].flat[2] = bad
        for _ in every_isa():
            for x, y in zip(ufuncs.kl_low_rank_grad(*operands), good, strict=True):
                assert np.all(np.isnan(x[3])), (place, bad)
                np.testing.assert_allclose(np.delete(x, 3, 0), np.delete(y, 3, 0), rtol=1e-4)


def test_too_large_is_infinite():
    factor, var = np.ones((3, 1)), np.ones(3)
    mean = np.array([1e200, 0, -1e200])
    for _ in every_isa():
        assert ufuncs.kl_low_rank(mean, factor, var, 0 * mean, factor, var) == np.inf
        assert ufuncs.kl_unit_low_rank(mean, factor, var) == np.inf


def test_the_face():
    """LowRankNormal in kl and its relatives is what the gufuncs give."""
    rng = np.random.default_rng(9)
    mean_p, factor_p, var_p = gaussians(rng, "low_rank", 6, 2, np.float64, 3)[0]
    mean_q, factor_q, var_q = gaussians(rng, "low_rank", 6, 4, np.float64, 3)[0]
    p = gkl.LowRankNormal(mean_p, factor=factor_p, var=var_p)
    q = gkl.LowRankNormal(mean_q, factor=factor_q, var=var_q)
    operands = (mean_p, factor_p, var_p, mean_q, factor_q, var_q)
    np.testing.assert_array_equal(gkl.kl(p, q), ufuncs.kl_low_rank(*operands))
    np.testing.assert_array_equal(gkl.kl(p), ufuncs.kl_unit_low_rank(*operands[:3]))
    np.testing.assert_array_equal(gkl.jeffreys(p, q), ufuncs.jeffreys_low_rank(*operands))
    np.testing.assert_array_equal(gkl.entropy(p), ufuncs.entropy_low_rank(factor_p, var_p))
    np.testing.assert_array_equal(
        gkl.cross_entropy(p, q), ufuncs.cross_entropy_low_rank(*operands)
    )
    diagonal = gkl.DiagNormal(mean_q, std=var_q)
    np.testing.assert_array_equal(
        gkl.kl(p, diagonal), ufuncs.kl_low_rank_diag_std(*operands[:4], var_q)
    )
    np.testing.assert_array_equal(
        gkl.kl(diagonal, p), ufuncs.kl_diag_low_rank_std(mean_q, var_q, *operands[:3])
    )
    kl, grad_p, grad_q = gkl.kl_and_grad(p, q)
    expected = ufuncs.kl_low_rank_grad(*operands)
    found = (kl, grad_p.mean, grad_p.factor, grad_p.var, grad_q.mean, grad_q.factor, grad_q.var)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)
    terms = gkl.kl_terms(p, q)
    np.testing.assert_allclose(
        (terms.mahalanobis + terms.trace + terms.logdet - terms.dim) / 2, kl, rtol=1e-12
    )


def test_large_without_a_square_array():
    """d = 100000: a matrix of d x d would be 80 GB."""
    d, rank = 100_000, 10
    rng = np.random.default_rng(10)
    mean, other = rng.normal(size=(2, d))
    factor, var = rng.normal(size=(d, rank)), np.exp(rng.normal(size=d))
    near, near_var = factor * (1 + 1e-6 * rng.normal(size=(d, rank))), var * (1 + 1e-6)
    tracemalloc.start()
    found = ufuncs.kl_low_rank(mean, near, near_var, mean, factor, var)
    far = ufuncs.kl_unit_low_rank(other, factor, var)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    gram = (factor / np.sqrt(var)[:, None]).T @ (factor / np.sqrt(var)[:, None])
    log_det = np.log(var.astype(WIDE)).sum() + np.linalg.slogdet(np.eye(rank) + gram)[1]
    trace = (factor.astype(WIDE) ** 2).sum() + var.astype(WIDE).sum()
    expected = (trace - d - log_det + (other.astype(WIDE) ** 2).sum()) / 2
    assert abs(far / expected - 1) < 1e-14
    # to second order, up to rank/d: what dF has outside the span of F, and dv
    expected = ((near - factor) ** 2 / var[:, None]).sum() / 2 + d * 1e-12 / 4
    assert abs(found / expected - 1) < 1e-3
