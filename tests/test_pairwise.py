# SPDX-License-Identifier: BSD-3-Clause
"""Every p against every q: accuracy on every instruction set, corners, errors, layouts."""

import helpers
import mpmath as mp
import numpy as np
import pytest

import gkl
from gkl import reference, ufuncs

KINDS = ("var", "std", "logvar")
METRICS = ("kl", "reverse_kl", "jeffreys", "wasserstein2", "renyi", "bhattacharyya", "hellinger")
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
FULL_TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}  # from the values of gkl.kl


def scale(kind, var):
    return var if kind == "var" else np.sqrt(var) if kind == "std" else np.log(var)


def batch(rng, kind, n, d, dtype=np.float64, spread=1.0):
    var = np.exp(spread * rng.normal(size=(n, d)))
    mean = rng.normal(size=(n, d))
    return gkl.DiagNormal(mean.astype(dtype), **{kind: scale(kind, var).astype(dtype)})


def near(rng, p, e):
    """p with every parameter moved by about e of its own scale."""
    kind = p.parameter
    x = p.parameters[kind].astype(float)
    spread = np.sqrt(x) if kind == "var" else x if kind == "std" else np.exp(x / 2)
    moved = np.clip(rng.normal(size=(2, *x.shape)), -1.5, 1.5)
    mean = p.mean + e * spread * moved[0]
    x = x + e * moved[1] if kind == "logvar" else x * (1 + e * moved[1])
    return gkl.DiagNormal(mean.astype(p.dtype), **{kind: x.astype(p.dtype)})


def variance(kind, x):
    x = mp.mpf(float(x))
    return x if kind == "var" else x * x if kind == "std" else mp.exp(x)


def exact_kl(kind, mean_p, scale_p, mean_q, scale_q):
    """With 60 digits."""
    with mp.workdps(60):
        total = mp.mpf(0)
        for a, b, c, d in zip(mean_p, scale_p, mean_q, scale_q, strict=True):
            v_p, v_q = variance(kind, b), variance(kind, d)
            delta = mp.mpf(float(a)) - mp.mpf(float(c))
            total += (delta**2 / v_q + v_p / v_q - 1 - mp.log(v_p / v_q)) / 2
        return total


def variances(x):
    """In extended precision."""
    scale = x.parameters[x.parameter].astype(np.longdouble)
    return {"var": scale, "std": scale * scale, "logvar": np.exp(scale)}[x.parameter]


def phi(u):
    """u - log1p(u); near 0 by its series."""
    small = np.abs(u) < 0.02
    x = np.where(small, u, 0)
    series = np.longdouble(0)
    for n in range(14, 1, -1):
        series = series * x + np.longdouble((-1) ** n) / n
    return np.where(small, series * x * x, u - np.log1p(u))


def psi(y):
    """expm1(y) - y; near 0 by its series."""
    small = np.abs(y) < 0.02
    x = np.where(small, y, 0)
    series = np.longdouble(0)
    for n in range(14, 1, -1):
        series = (series + 1) * x / (n + 1) if n < 14 else x / (n + 1)
    return np.where(small, (1 + series) * x * x / 2, np.expm1(y) - y)


def reference_kl(p, q):
    """KL of every p from every q in extended precision, to 1e-17 or so."""
    kind = p.parameter
    mean_p, x_p, mean_q, x_q = (
        x.astype(np.longdouble) for y in (p, q) for x in y.parameters.values()
    )
    delta, difference = mean_p[:, None] - mean_q, x_p[:, None] - x_q
    if kind == "logvar":
        return (delta**2 * np.exp(-x_q) + psi(difference)).sum(-1) / 2
    ratio = difference / x_q
    if kind == "var":
        return (delta**2 / x_q + phi(ratio)).sum(-1) / 2
    return ((delta / x_q) ** 2 + 2 * phi(ratio) + ratio**2).sum(-1) / 2


def worst_error(values, p, q):
    """The largest relative error."""
    right = reference_kl(p, q)
    assert (values[right == 0] == 0).all()
    right[right == 0] = 1
    values = np.where(right == 1, 1, values)
    return float(np.max(np.abs(values - right) / right))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("e", [1.0, 1e-1, 1e-2, 1e-3, 1e-5])
def test_the_reference_itself(kind, e):
    rng = np.random.default_rng(0)
    q = batch(rng, kind, 4, 5)
    p = batch(rng, kind, 4, 5) if e == 1.0 else near(rng, q, e)
    found = reference_kl(p, q)
    for i in range(4):
        rows = [x[i] for y in (p, q) for x in y.parameters.values()]
        right = exact_kl(kind, *rows)
        assert abs(mp.mpf(repr(found[i, i])[len("np.longdouble('") : -2]) / right - 1) < 1e-15


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 5, 16, 67, 600])
def test_far_and_near_pairs_within_the_tolerance(isa, kind, d, dtype):
    rng = np.random.default_rng(d)
    q = batch(rng, kind, 37, d, dtype)
    cases = [batch(rng, kind, 13, d, dtype), batch(rng, kind, 13, d, dtype, spread=5.0)]
    cases += [near(rng, q[:13], e) for e in (0.5, 0.2, 1e-1, 1e-2, 1e-3, 1e-5)]
    for p in cases:
        found = gkl.pairwise_kl(p, q)
        assert found.dtype == dtype
        assert (found >= 0).all()
        assert worst_error(found, p, q) <= TOLERANCE[dtype]
        assert gkl.pairwise_kl(q, p, "reverse_kl").T.tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_where_one_dimension_differs_or_all_alike(isa, kind, dtype):
    """What the product form would lose: few dimensions apart; errors that add up."""
    rng = np.random.default_rng(0)
    for d, apart in ((64, 1), (64, 64), (1000, 3)):
        q = batch(rng, kind, 20, d, dtype)
        for factor in (1.05, 1.3, 3.0, 30.0):
            x = np.array(q.parameters[kind])
            part = x[:, :apart]
            x[:, :apart] = part + np.log(factor) if kind == "logvar" else part * factor
            p = gkl.DiagNormal(q.mean, **{kind: x.astype(dtype)})
            found = gkl.pairwise_kl(p, q)
            assert worst_error(found, p, q) <= TOLERANCE[dtype]
        flat = [np.full((9, d), a, dtype) for a in (1.37, 1.91)]
        p, q = (gkl.DiagNormal(np.full((9, d), 0.3, dtype), **{kind: x}) for x in flat)
        assert worst_error(gkl.pairwise_kl(p, q), p, q) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_adversarial_data(isa, dtype):
    """Equal points, tight clusters far from the origin, variances over ten decades."""
    rng = np.random.default_rng(1)
    n, d = 24, 64
    center = 100.0 + 3.0 * rng.integers(0, 2, size=(n, 1))
    clusters = [center + 1e-3 * rng.normal(size=(n, d)), 1 + 1e-4 * rng.normal(size=(n, d))]
    decades = [rng.normal(size=(n, d)), 10.0 ** rng.uniform(-5, 5, size=(n, d))]
    for mean, var in (clusters, decades):
        p = gkl.DiagNormal(mean.astype(dtype), var=var.astype(dtype))
        found = gkl.pairwise_kl(p, p)
        assert worst_error(found, p, p) <= TOLERANCE[dtype]
        assert (np.diagonal(found) == 0).all()
    equal = gkl.DiagNormal(np.full((n, d), 100.25, dtype), var=np.full((n, d), 0.7, dtype))
    assert not gkl.pairwise_kl(equal, equal).any()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_metrics_against_twins_near_and_far(isa, kind, dtype, metric):
    """In float64 the twins are a reference for float32; for float64 one with 60 digits follows."""
    rng = np.random.default_rng(3)
    order = 1.7 if metric == "renyi" else None
    q = batch(rng, kind, 21, 7, dtype, spread=0.3)
    for p in (batch(rng, kind, 10, 7, dtype, spread=0.3), near(rng, q[:10], 1e-2)):
        found = gkl.pairwise_kl(p, q, metric, order=order)
        operands = [x.astype(float) for y in (p, q) for x in y.parameters.values()]
        twin = reference.twin(f"pairwise_{metric}_diag_{kind}")
        expected = twin(*operands, *([order] if order else []))
        rtol = 2e-5 if dtype == np.float32 else 1e-9
        if order:  # where the divergence grows beyond bounds digits are lost
            ratio = p.parameters[kind].astype(float)[:, None], q.parameters[kind].astype(float)
            u = np.expm1(ratio[0] - ratio[1]) if kind == "logvar" else ratio[0] / ratio[1] - 1
            u = u * (2 + u) if kind == "std" else u
            left = (1 + (1 - order) * u).min(-1)
            kept = left > 0.01
            found, expected, rtol = found[kept], expected[kept], rtol / np.minimum(left[kept], 1)
        assert (np.abs(found - expected) <= rtol * np.abs(expected) + 1e-12).all()


def exact_renyi(order, mean_p, v_p, mean_q, v_q):
    mixed = order * v_q + (1 - order) * v_p
    if mixed <= 0:
        return mp.inf
    logs = mp.log(v_q / v_p) + mp.log(v_q / mixed) / (order - 1)
    return (logs + order * (mean_p - mean_q) ** 2 / mixed) / 2


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("e", [1.0, 1e-2, 1e-5])
def test_other_metrics_with_sixty_digits(isa, kind, e, dtype):
    rng = np.random.default_rng(5)
    q = batch(rng, kind, 3, 4, dtype)
    p = batch(rng, kind, 3, 4, dtype) if e == 1.0 else near(rng, q, e)
    orders = [0.05, 0.5, 0.95, 1.2, 4.0]
    found = {a: gkl.pairwise_kl(p, q, "renyi", order=a) for a in orders}
    wasserstein = gkl.pairwise_kl(p, q, "wasserstein2")
    hellinger = gkl.pairwise_kl(p, q, "hellinger")
    half = gkl.pairwise_kl(p, q, "bhattacharyya")
    with mp.workdps(60):
        for i in range(3):
            cells = [
                (mp.mpf(float(a)), variance(kind, b), mp.mpf(float(c)), variance(kind, f))
                for a, b, c, f in zip(p.mean[i], p.parameters[kind][i], q.mean[i],
                                      q.parameters[kind][i], strict=True)
            ]  # fmt: skip
            right = {a: sum(exact_renyi(mp.mpf(a), *x) for x in cells) for a in orders}
            checks = [(found[a][i, i], right[a]) for a in orders]
            square = sum((a - c) ** 2 + (mp.sqrt(b) - mp.sqrt(f)) ** 2 for a, b, c, f in cells)
            checks += [(wasserstein[i, i], square), (half[i, i], right[0.5] / 2)]
            checks += [(hellinger[i, i], mp.sqrt(-mp.expm1(-right[0.5] / 2)))]
            for value, expected in checks:
                if mp.isinf(expected):
                    assert value == np.inf
                else:
                    assert abs(mp.mpf(float(value)) / expected - 1) <= TOLERANCE[dtype]


def test_orders_of_renyi_meet_kl():
    rng = np.random.default_rng(0)
    p, q = batch(rng, "var", 5, 3), batch(rng, "var", 4, 3)
    close = gkl.pairwise_kl(p, q, "renyi", order=1 - 1e-9)
    np.testing.assert_allclose(close, gkl.pairwise_kl(p, q), rtol=1e-7)
    operands = [*p.parameters.values(), *q.parameters.values()]
    assert (ufuncs.pairwise_renyi_diag_var(*operands, 1.0) == gkl.pairwise_kl(p, q)).all()
    assert np.isnan(ufuncs.pairwise_renyi_diag_var(*operands, [-1.0, 0.0, np.nan])).all()


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("order", [1e-30, 1e-9, 0.999, 1 - 1e-5, 1 - 1e-12, 1 + 1e-9, 50.0, 1e30])
def test_orders_close_to_the_ends(order, dtype):
    """1 - order is small, and must not be that of an order rounded to float32."""
    mean = np.array([[0.0], [1.0], [0.1]], dtype)
    p = gkl.DiagNormal(mean, var=np.array([[1e6], [1.0], [1.001]], dtype))
    q = gkl.DiagNormal(np.array([[0.5]], dtype), var=np.array([[1.0]], dtype))
    found = gkl.pairwise_kl(p, q, "renyi", order=order)[:, 0]
    with mp.workdps(60):
        for i in range(3):
            numbers = (p.mean[i, 0], p.var[i, 0], q.mean[0, 0], q.var[0, 0])
            right = exact_renyi(mp.mpf(order), *(mp.mpf(float(x)) for x in numbers))
            if mp.isinf(right):
                assert found[i] == np.inf
            else:
                assert abs(mp.mpf(float(found[i])) / right - 1) <= TOLERANCE[dtype], i
    assert (np.diagonal(gkl.pairwise_kl(p, p, "renyi", order=order)) == 0).all()


def test_very_long_rows_take_little_memory():
    x = np.broadcast_to(np.float32(1), (2, 10**6))
    assert not gkl.pairwise_kl(gkl.DiagNormal(x, var=x), gkl.DiagNormal(x, var=x)).any()


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS if a != b])
def test_mixed_kinds(isa, kinds, dtype):
    rng = np.random.default_rng(2)
    p, q = batch(rng, kinds[0], 9, 6, dtype), batch(rng, kinds[1], 30, 6, dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(gkl.pairwise_kl(p, q), gkl.kl(p.reshape(-1, 1), q), rtol=rtol)


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS if a != b])
def test_mixed_kinds_near_equality(isa, kinds, dtype):
    """p's scale is converted and rounded once, which counts 1/|u| times."""
    rng = np.random.default_rng(8)
    q = batch(rng, kinds[1], 30, 6, dtype)
    for e in (1e-1, 1e-3, 1e-5):
        p = near(rng, q, e)
        of_p = np.asarray(scale(kinds[0], variances(p)), dtype)
        p = gkl.DiagNormal(p.mean, **{kinds[0]: of_p})
        v_p, v_q = variances(p)[:, None], variances(q)
        u, delta = (v_p - v_q) / v_q, p.mean.astype(np.longdouble)[:, None] - q.mean
        cov, mean = phi(u), delta**2 / v_q
        bound = TOLERANCE[dtype] * (cov + cov / np.abs(u) + mean).sum(-1) / 2
        assert (np.abs(gkl.pairwise_kl(p, q) - (cov + mean).sum(-1) / 2) <= bound).all()


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("metric", METRICS)
def test_extreme_scales_and_overflow(isa, metric, dtype):
    """Scales near the ends of the range, beside ordinary ones; no NaN, no warning."""
    tiny, huge = (1e-35, 1e35) if dtype == np.float32 else (1e-300, 1e300)
    var = np.array([[tiny, 1.0], [huge, 1.0], [1.0, 1.0], [tiny, huge]], dtype)
    p = gkl.DiagNormal(np.zeros((4, 2), dtype), var=var)
    q = gkl.DiagNormal(np.array([[0, 1], [0, 1], [3, 0], [0, 0]], dtype), var=var)
    order = 0.3 if metric == "renyi" else None
    found = gkl.pairwise_kl(p, q, metric, order=order)
    assert not np.isnan(found).any()
    assert (found >= 0).all()
    if metric in METRICS[:2]:
        expected = gkl.kl(p.reshape(-1, 1), q) if metric == "kl" else gkl.kl(q, p.reshape(-1, 1))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_same_bits_anywhere(isa, dtype):
    """Threads, position, layout, storage: a pair's value depends on nothing but the pair."""
    rng = np.random.default_rng(4)
    p, q = batch(rng, "var", 101, 19, dtype), batch(rng, "var", 203, 19, dtype)
    q.var[:7] = p.var[:7]
    q.mean[:7] = p.mean[:7] + 1e-3
    found = gkl.pairwise_kl(p, q)
    for n in (2, 3):
        assert gkl.pairwise_kl(p, q, threads=n).tobytes() == found.tobytes()
    assert gkl.pairwise_kl(p[40:41], q[77:78])[0, 0] == found[40, 77]
    assert gkl.pairwise_kl(p[::-2], q[5::3]).tobytes() == found[::-2, 5::3].tobytes()
    for order in "CF":
        views = [np.asarray(x, order=order) for x in (q.mean, q.var)]
        again = gkl.DiagNormal(views[0], var=views[1])
        out = np.full((203, 101), np.nan, dtype).T if order == "C" else np.empty((101, 406), dtype)
        target = out if order == "C" else out[:, ::2]
        assert gkl.pairwise_kl(p, again, out=target) is target
        assert target.tobytes() == found.tobytes()


def test_half_precision_and_broadcast_parameters():
    rng = np.random.default_rng(4)
    mean, var = rng.normal(size=(5, 3)), np.exp(rng.normal(size=(5, 3)))
    half = gkl.DiagNormal(mean.astype(np.float16), var=var.astype(np.float16))
    single = gkl.DiagNormal(half.mean.astype(np.float32), var=half.var.astype(np.float32))
    assert gkl.pairwise_kl(half, half).tobytes() == gkl.pairwise_kl(single, single).tobytes()
    shared = gkl.DiagNormal(mean, var=2.0)
    whole = gkl.DiagNormal(mean, var=np.full((5, 3), 2.0))
    assert gkl.pairwise_kl(shared, shared).tobytes() == gkl.pairwise_kl(whole, whole).tobytes()


@pytest.mark.parametrize(("n", "m", "d"), [(0, 3, 2), (3, 0, 2), (0, 0, 1), (2, 3, 0)])
def test_nothing(n, m, d):
    p, q = (gkl.DiagNormal(np.zeros((x, d)), var=np.ones((x, d))) for x in (n, m))
    assert gkl.pairwise_kl(p, q).tolist() == np.zeros((n, m)).tolist()
    assert gkl.pairs_kl(p, q, [], []).shape == (0,)


def test_bad_items_by_name_and_nothing_lost():
    rng = np.random.default_rng(4)
    p, q = batch(rng, "var", 40, 3), batch(rng, "var", 50, 3)
    good = gkl.pairwise_kl(p, q)
    q.var[17, 2] = -1.0
    with pytest.raises(gkl.InvalidGaussianError, match=r"1 of 50 .* q\.var\[17, 2\] = -1\.0") as e:
        gkl.pairwise_kl(p, q)
    assert e.value.index.tolist() == [[17]]
    left = np.arange(50) != 17
    assert (e.value.kl[:, left] == good[:, left]).all()
    assert np.isnan(e.value.kl[:, 17]).all()
    p.mean[3, 0] = np.inf
    with pytest.raises(gkl.InvalidGaussianError, match=r"p\.mean\[3, 0\] = inf is not finite"):
        gkl.pairwise_kl(p, q)
    silent = gkl.pairwise_kl(p, q, on_error="nan")
    assert np.isnan(silent).sum() == 50 + 40 - 1
    with pytest.raises(gkl.InvalidGaussianError, match=r"1 of 2 .* q\.var\[17, 2\]") as e:
        gkl.pairs_kl(p, q, [0, 1], [17, 1])
    assert e.value.index.tolist() == [[0]]
    assert e.value.kl[1] == good[1, 1]


def test_arguments_are_checked():
    p, other = gkl.DiagNormal(np.zeros((3, 2)), var=1.0), gkl.DiagNormal(np.zeros((3, 4)), var=1.0)
    full = gkl.FullNormal(np.zeros((3, 2)), cov=np.eye(2))
    for error, words, call in (
        (ValueError, "d = 2 and d = 4", lambda: gkl.pairwise_kl(p, other)),
        (ValueError, r"q has the batch shape \(\)", lambda: gkl.pairwise_kl(p, p[0])),
        (TypeError, "q is None", lambda: gkl.pairwise_kl(p, None)),
        (ValueError, "metric= takes kl, ", lambda: gkl.pairwise_kl(p, p, "l2")),
        (TypeError, "order= is wanted", lambda: gkl.pairwise_kl(p, p, "renyi")),
        (TypeError, "order= is wanted", lambda: gkl.pairwise_kl(p, p, order=2.0)),
        (ValueError, "1e30 but 1, not 1.0", lambda: gkl.pairwise_kl(p, p, "renyi", order=1.0)),
        (ValueError, "not 1e-40", lambda: gkl.pairwise_kl(p, p, "renyi", order=1e-40)),
        (TypeError, "diagonal Gaussians only", lambda: gkl.pairwise_kl(p, full, "hellinger")),
        (ValueError, r"has shape \(2, 3\)", lambda: gkl.pairwise_kl(p, p, out=np.ones((2, 3)))),
        (IndexError, r"j\[1\] = 3 is not an index", lambda: gkl.pairs_kl(p, p, [0, 0], [1, 3])),
        (TypeError, "i has dtype float64", lambda: gkl.pairs_kl(p, p, [0.5], [1])),
        (ValueError, "i and j do not fit", lambda: gkl.pairs_kl(p, p, [0, 1], [1, 1, 1])),
        (ValueError, "metric= takes", lambda: gkl.pairs_kl(p, p, 0, 1, metric="hellinger")),
    ):
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("metric", ["kl", "reverse_kl", "jeffreys"])
@pytest.mark.parametrize("structure", ["full", "low_rank", "diag", "mixed"])
def test_pairs_have_the_bits_of_kl(structure, metric):
    rng = np.random.default_rng(6)
    for d in (3, 20, 70):
        full = [make_full(rng, n, d) for n in (6, 9)]
        p, q = {
            "full": full,
            "low_rank": [make_low_rank(rng, n, d) for n in (6, 9)],
            "diag": [batch(rng, "logvar", n, d) for n in (6, 9)],
            "mixed": [full[0], batch(rng, "std", 9, d)],
        }[structure]
        i, j = rng.integers(-6, 6, size=(4, 11)), rng.integers(9, size=(1, 11))
        found = gkl.pairs_kl(p, q, i, j, metric=metric)
        a, b = p[i], q[np.broadcast_to(j, i.shape)]
        expected = of_pairs(a, b, metric)
        assert found.tobytes() == expected.tobytes()


def of_pairs(p, q, metric):
    """By the kernels of single pairs."""
    if metric == "jeffreys":
        return gkl.jeffreys(p, q)
    return gkl.kl(q, p) if metric == "reverse_kl" else gkl.kl(p, q)


def make_full(rng, n, d, dtype=np.float64, parameter="cov"):
    factors = helpers.lower_factors(rng, (n,), d)
    x = factors if parameter == "tril" else factors @ factors.swapaxes(1, 2)
    return gkl.FullNormal(rng.normal(size=(n, d)).astype(dtype), **{parameter: x.astype(dtype)})


def make_low_rank(rng, n, d):
    return gkl.LowRankNormal(rng.normal(size=(n, d)), factor=rng.normal(size=(n, d, 2)),
                             var=np.exp(rng.normal(size=(n, d))))  # fmt: skip


@pytest.mark.parametrize("metric", ["kl", "reverse_kl", "jeffreys"])
@pytest.mark.parametrize(
    "parameters", [("cov", "cov"), ("tril", "precision"), ("precision", "cov")]
)
@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_full_covariances_by_products(dtype, parameters, metric, monkeypatch):
    """Against the kernels of single pairs, with pairs that are near, and several blocks."""
    from gkl import products

    monkeypatch.setattr(products, "BLOCK_BYTES", 4096)
    rng = np.random.default_rng(7)
    p = make_full(rng, 23, 6, dtype, parameters[0])
    q = make_full(rng, 31, 6, dtype, parameters[1])
    if parameters[0] == parameters[1]:
        q.mean[:9], q.cov[:9] = p.mean[:9] * 1.001, p.cov[:9]
    found = gkl.pairwise_kl(p, q, metric)
    a = p.reshape(-1, 1)
    expected = of_pairs(a, q, metric)
    np.testing.assert_allclose(found, expected, rtol=FULL_TOLERANCE[dtype])
    assert found.dtype == dtype
    assert (found >= 0).all()


def test_equal_full_covariances_and_bad_ones():
    rng = np.random.default_rng(8)
    p = make_full(rng, 12, 5)
    assert (np.diagonal(gkl.pairwise_kl(p, p)) == 0).all()
    q = gkl.FullNormal(p.mean.copy(), cov=p.cov.copy())
    q.cov[4, 1, 1] = -1.0
    with pytest.raises(gkl.InvalidGaussianError, match=r"q\.cov\[4\] is not positive def") as e:
        gkl.pairwise_kl(p, q)
    left = np.arange(12) != 4
    assert np.isfinite(e.value.kl[:, left]).all()
    assert np.isnan(e.value.kl[:, 4]).all()


@pytest.mark.thread_unsafe  # a doctest takes the process's stdout
@pytest.mark.parametrize("name", reference.names("pairwise"))
def test_gufuncs(name):
    gufunc = getattr(ufuncs, name)
    _, p, q = reference.pairwise.split(name)
    rng = np.random.default_rng(0)
    operands = []
    for kind, n in ((p, 4), (q, 6)):
        var = np.exp(rng.normal(size=(2, n, 3)) / 4)
        operands += [rng.normal(size=(2, n, 3)), scale(kind, var)]
    operands += [np.array([0.4, 1.1])] * (gufunc.nin == 5)
    found = gufunc(*operands)
    assert found.shape == (2, 4, 6)
    np.testing.assert_allclose(found, reference.twin(name)(*operands), rtol=1e-9)
    operands[1][0, 2, 1] = np.nan
    again, twin = gufunc(*operands), reference.twin(name)(*operands)
    assert (np.isnan(again) == np.isnan(twin)).all()
    assert np.isnan(again).sum() == 6


def test_gufunc_out_that_is_an_input():
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=(6, 6)), np.exp(rng.normal(size=(6, 6)))
    expected = ufuncs.pairwise_kl_diag_var(mean, var, mean, var)
    assert (ufuncs.pairwise_kl_diag_var(mean, var, mean, var, out=mean) == expected).all()
