# SPDX-License-Identifier: BSD-3-Clause
"""Full covariances against the exact result, on every ISA.

The promise, with kq and kp the condition numbers of the covariances scaled to unit diagonal, for
pairs of covariances and of Cholesky factors (of precisions, where Sp^-1 has the part of Sq, with
kp and kq exchanged):

* KL: within 4 eps (kq + kp / max(1, KL)), relatively; KL(p, p) = 0.
* Gradients: within 8 eps (kq + kp) in the Frobenius norm of coordinates scaled to unit diagonal.
  That of q's covariance, where p is far from q: of the sum of the norms of its two terms.
* Where the parameters differ, one is converted, and rounded once: 4 eps (kq + kp)
  (1 + 1/sqrt(KL)), gradients by the covariances' share of KL.
* Mahalanobis term: 4 eps (kq + kp); trace: that of trace + d; logdet: that of the sum of the
  logarithms' sizes. Jeffreys: 8 eps (kq + kp).
* Where eps d max(kp, kq) > 0.05, as for floats and condition numbers of 1e6, a matrix may have no
  Cholesky factor, and nothing is left to compare: a value is NaN or not negative.
"""

import itertools

import numpy as np
import pytest
from exact import HAS_WIDE, WIDE
from exact_full import MP, Wide, as_mp, item

from gkl import _core, ufuncs

FLOATS = (np.float32, np.float64)
BOUND, GRADIENT_BOUND, JEFFREYS_BOUND = 4, 8, 8  # units of what value_unit says
LOST = 0.05  # eps d times the condition number, beyond which nothing is compared
MATRICES = ("cov", "tril", "precision")
DIAGONALS = ("var", "std", "logvar")
# what of the gufuncs is tried here, by pair; gradients as _grad, which test_gufuncs.py takes apart
PAIRS = [f"full_{kind}" for kind in MATRICES]
PAIRS += [f"full_{p}_{q}" for p in MATRICES for q in MATRICES if p != q]
PAIRS += [f"unit_{kind}" for kind in MATRICES]
PAIRS += [f"full_diag_{p}_{q}" for p in MATRICES for q in DIAGONALS]
PAIRS += [f"diag_full_{p}_{q}" for p in DIAGONALS for q in MATRICES]
PAIRS += [f"{pair}_{kind}" for pair in ("full_low_rank", "low_rank_full") for kind in MATRICES]
pytestmark = [
    pytest.mark.skipif(not HAS_WIDE, reason="np.longdouble is no wider than double here"),
    pytest.mark.thread_unsafe,  # the instruction set is the process's
]


def rotation(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def spd(rng, d, cond=10.0):
    """Eigenvalues from 1 to cond, in random directions."""
    q = rotation(rng, d)
    return (q * np.exp(rng.uniform(0, np.log(cond), d))) @ q.T


def unrelated(rng, d, cond):
    return spd(rng, d, cond), spd(rng, d, cond), rng.normal(size=d)


def near(rng, d, cond):
    s = spd(rng, d, cond)
    e = 10.0 ** rng.uniform(-8, -1)
    root = np.linalg.cholesky(s)
    p = spd(rng, d) - spd(rng, d)
    p = root @ (p / np.linalg.norm(p)) @ root.T
    return s + e * p, s, e * root @ rng.normal(size=d)


def apart(rng, d, factor):
    """Sp smaller or larger than Sq by this factor, in one direction or in all."""
    q = spd(rng, d)
    if rng.random() < 0.5:
        return factor * spd(rng, d), q, rng.normal(size=d)
    v = rng.normal(size=d)
    v /= np.linalg.norm(v)
    if factor > 1:
        return q + factor * np.outer(v, v), q, rng.normal(size=d)
    p = np.eye(d) - (1 - factor**0.5) * np.outer(v, v)
    return p @ q @ p, q, rng.normal(size=d)


def rows_scaled(rng, d, _):
    p, q, delta = near(rng, d, 10.0) if rng.random() < 0.5 else (spd(rng, d), spd(rng, d), None)
    scale = 10.0 ** rng.uniform(-5, 5, d)
    delta = rng.normal(size=d) if delta is None else delta
    return p * scale * scale[:, None], q * scale * scale[:, None], delta * scale


def equal_pivots(rng, d, _):
    """Factors with the same diagonal."""
    l_p, l_q = (np.tril(rng.normal(size=(d, d)) / d**0.5, -1) for _ in range(2))
    diagonal = np.diag(np.exp(rng.normal(size=d) / 3))
    return (
        (l_p + diagonal) @ (l_p + diagonal).T,
        (l_q + diagonal) @ (l_q + diagonal).T,
        np.zeros(d),
    )


def equicorrelated(rng, d, _):
    def one(r):
        return r + (1 - r) * np.eye(d)

    return one(rng.uniform(0, 0.9)), one(rng.uniform(0, 0.9)), rng.normal(size=d)


def diagonal(rng, d, _):
    v = np.exp(rng.normal(size=d))
    return (
        np.diag(v * (1 + 10.0 ** rng.uniform(-8, 0) * rng.normal(size=d) / 4) ** 2),
        np.diag(v),
        (np.zeros(d)),
    )


FAMILIES = {
    "unrelated": (unrelated, 10),
    "ill conditioned": (unrelated, 1e6),
    "near": (near, 10),
    "near, condition 1e3": (near, 1e3),
    "near, condition 1e6": (near, 1e6),
    "much smaller": (apart, 1e-6),
    "much larger": (apart, 1e6),
    "rows scaled": (rows_scaled, 0),
    "equal pivots": (equal_pivots, 0),
    "equicorrelated": (equicorrelated, 0),
    "diagonal": (diagonal, 0),
}  # fmt: skip


def batch(family, n, d, seed=0):
    rng = np.random.default_rng([seed, d, *family.encode()])
    make, argument = FAMILIES[family]
    for i in range(n):
        p, q, delta = make(rng, d, argument)
        mean_q = rng.normal(size=d)
        yield mean_q + (delta if i % 3 else 0), p, mean_q, q


def parameter(kind, s, dtype):
    diag = np.diagonal(s)
    return {
        "cov": lambda: s,
        "tril": lambda: np.linalg.cholesky(s),
        "precision": lambda: np.linalg.inv(s),
        "var": lambda: diag,
        "std": lambda: np.sqrt(diag),
        "logvar": lambda: np.log(diag),
    }[kind]().astype(dtype)


def operands(kind_p, kind_q, items, dtype):
    """Of the gufunc: p and q by these kinds (None: the standard normal), one array each."""
    columns = []
    for mean_p, s_p, mean_q, s_q in items:
        row = [mean_p.astype(dtype), parameter(kind_p, s_p, dtype)]
        if kind_q is not None:
            row += [mean_q.astype(dtype), parameter(kind_q, s_q, dtype)]
        columns.append(row)
    return [np.array(x) for x in zip(*columns, strict=True)]


def pair_name(p, q):
    if q is None:
        return f"unit_{p}"
    if p == q:
        return f"full_{p}"
    family = "full" if p in MATRICES and q in MATRICES else (
        "full_diag" if p in MATRICES else "diag_full")  # fmt: skip
    return f"{family}_{p}_{q}"


def oracle(kind_p, kind_q, arrays, i):
    row = [x[i] for x in arrays]
    return Wide(kind_p, *row[:2], kind_q, *(row[2:] or (None, None)))


def every_isa():
    """And BLAS, in the end."""
    before = _core.isa()
    try:
        _core.set_way("lanes")
        for name in _core.isas():
            _core.use_isa(name)
            yield name
        _core.set_way("blas")
        yield "BLAS"
    finally:
        _core.set_way("rule")
        _core.use_isa(before)


def value_unit(exact, eps, same):
    """What the error of a value is measured by."""
    kp, kq = exact.conditions
    kl = float(exact.kl)
    if exact.precisions:  # Sp^-1 has the part of Sq
        kp, kq = kq, kp
    if same:
        return eps * (kq + kp / max(1, kl)) * kl
    return eps * (kq + kp) * (kl + kl**0.5)


def coordinates(kind, s):
    """What a gradient is multiplied by to be one in coordinates of unit variance."""
    root = np.sqrt(np.diagonal(np.asarray(s, float)))
    both = root * root[:, None]
    return {"cov": both, "tril": root[:, None], "precision": 1 / both, "mean": root}.get(kind, 1)


def gradient_error(found, exact, term, kind, s, unit):
    scale = coordinates(kind, s)
    error = (found.astype(np.longdouble) - exact) * scale
    size = np.linalg.norm((exact * scale).astype(float))
    size += np.linalg.norm(np.asarray(term * scale, float))
    return (
        np.linalg.norm(error.astype(float)) / (unit * size) if size else float(np.abs(error).max())
    )


def check_pair(kind_p, kind_q, arrays, message):
    """Value and gradients of a batch on every ISA."""
    eps = np.finfo(arrays[0].dtype).eps
    same = kind_p == kind_q or kind_q is None or kind_q in DIAGONALS or kind_p in DIAGONALS
    exact = [oracle(kind_p, kind_q, arrays, i) for i in range(len(arrays[0]))]
    name, checked = f"kl_{pair_name(kind_p, kind_q)}", 0
    for isa in every_isa():
        values, *gradients = getattr(ufuncs, f"{name}_grad")(*arrays)
        assert values.tobytes() == getattr(ufuncs, name)(*arrays).tobytes()
        for i, x in enumerate(exact):
            where = f"{message}, {name}, item {i}, {arrays[0].dtype}, d = {x.d}, {isa}"
            kp, kq = x.conditions
            assert not values[i] < 0, where
            if eps * max(kp, kq) * x.d > LOST:
                continue
            assert values[i] >= 0, where
            checked += 1
            unit = value_unit(x, eps, same)
            error = abs(np.longdouble(values[i]) - x.kl)
            assert error <= BOUND * unit, f"{where}: {float(error / unit):.2f} units"
            unit = eps * (kp + kq) * (1 if same else 1 + 1 / float(x.cov_part) ** 0.5)
            names = ("d_mean_p", "d_scale_p", "d_mean_q", "d_scale_q")
            kinds = ("mean", kind_p, "mean", kind_q)
            for g, what, kind in zip(gradients, names, kinds, strict=False):
                s = x.s[0 if what.endswith("p") else 1]
                two_terms = x.far and what == ("d_scale_p" if x.precisions else "d_scale_q")
                term = x.term_q if two_terms else 0
                error = gradient_error(g[i], x[what], term, kind, s, unit)
                assert error <= GRADIENT_BOUND, f"{where}, {what}: {error:.2f} units"
                if kind in ("cov", "precision"):
                    np.testing.assert_array_equal(g[i], g[i].T)
                if kind == "tril":
                    assert not np.triu(g[i], 1).any()
    return checked


SIZES = {1: 19, 2: 19, 3: 5, 4: 19, 5: 5, 7: 5, 8: 19, 9: 5, 12: 3, 16: 5, 17: 3, 31: 2, 33: 3}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_of_one_parameter(family, kind, dtype):
    checked = [
        check_pair(kind, kind, operands(kind, kind, batch(family, n, d), dtype), family)
        for d, n in SIZES.items()
    ]
    assert sum(checked) >= len(_core.isas()) * sum(SIZES.values()) / 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("family", ["unrelated", "near, condition 1e3"])
def test_large_matrices(family, dtype):
    for kind, d in (("cov", 64), ("cov", 100), ("tril", 67), ("precision", 67)):
        assert check_pair(kind, kind, operands(kind, kind, batch(family, 1, d), dtype), family)


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        *itertools.product(("unrelated", "near", "near, condition 1e3"), FLOATS),
        *((family, np.float64) for family in ("near, condition 1e6", "much smaller")),
    ],
)
def test_larger_matrices(family, dtype):
    assert check_pair("cov", "cov", operands("cov", "cov", batch(family, 1, 256), dtype), family)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pair", [(p, q) for p in MATRICES for q in MATRICES if p != q])
def test_pairs_of_different_parameters(pair, dtype):
    for family, d in itertools.product(("unrelated", "near", "rows scaled"), (1, 3, 8, 13)):
        check_pair(*pair, operands(*pair, batch(family, 7, d), dtype), family)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", MATRICES)
def test_against_diagonals(kind, dtype):
    """q or p diagonal, or the standard normal: near one another, and not."""
    for d in (1, 2, 5, 8, 17):
        rng = np.random.default_rng(d)
        items = []
        for i in range(7):
            v = np.exp(rng.normal(size=d))
            e = 10.0 ** -rng.uniform(0, 8)
            s = np.diag(v) + e * np.sqrt(v * v[:, None]) * (spd(rng, d) - spd(rng, d)) / 40
            items.append((rng.normal(size=d) * (i % 3), s, np.zeros(d), np.diag(v)))
        for other in DIAGONALS:
            arrays = operands(kind, other, items, dtype)
            rounded = kind == "cov" and other == "var"
            check_diagonal(kind, other, arrays, rounded)
            check_diagonal(other, kind, [*arrays[2:], *arrays[:2]], rounded)
        items = [(m, s / v[:1, :1], m * 0, np.eye(d)) for m, s, _, v in items]
        check_diagonal(kind, None, operands(kind, None, items, dtype), kind != "precision")


def check_diagonal(kind_p, kind_q, arrays, strict):
    if strict:
        check_pair(kind_p, kind_q, arrays, "diagonal")
        return
    eps = np.finfo(arrays[0].dtype).eps
    name = f"kl_{pair_name(kind_p, kind_q)}"
    for isa in every_isa():
        values = getattr(ufuncs, name)(*arrays)
        for i in range(len(values)):
            x = oracle(kind_p, kind_q, arrays, i)
            assert abs(values[i] - x.kl) <= BOUND * value_unit(x, eps, False), (name, isa, i)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", MATRICES)
def test_against_low_rank(kind, dtype):
    """F F^T + diag(v), near the matrix and not, is rounded once to be a matrix, too."""
    eps, n = np.finfo(dtype).eps, 8
    for d, rank in ((1, 2), (4, 2), (9, 3), (17, 1)):
        rng = np.random.default_rng(d)
        factor = rng.normal(size=(n, d, rank)).astype(dtype)
        var = np.exp(rng.normal(size=(n, d))).astype(dtype)
        mean_p, mean_q = rng.normal(size=(2, n, d)).astype(dtype)
        expanded = [f @ f.T + np.diag(v) for f, v in zip(factor.astype(WIDE), var, strict=True)]
        moved = [s.astype(float) + 10.0**-i * spd(rng, d) for i, s in enumerate(expanded)]
        scale = np.array([parameter(kind, s, dtype) for s in moved])
        full, thin = (mean_p, scale), (mean_q, factor, var)
        exact = [
            (Wide(*p, *q), Wide(*q, *p))
            for i in range(n)
            for p, q in [((kind, mean_p[i], scale[i]), ("cov", mean_q[i], expanded[i]))]
        ]
        for isa in every_isa():
            values = (
                getattr(ufuncs, f"kl_full_low_rank_{kind}")(*full, *thin),
                getattr(ufuncs, f"kl_low_rank_full_{kind}")(*thin, *full),
            )
            for i, order in itertools.product(range(n), range(2)):
                x = exact[i][order]
                error = abs(np.longdouble(values[order][i]) - x.kl)
                assert error <= BOUND * value_unit(x, eps, False), (isa, d, i, order)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", MATRICES)
def test_other_outputs(kind, dtype):
    eps = np.finfo(dtype).eps
    for family, d in itertools.product(("unrelated", "near", "much smaller"), (1, 4, 9, 20)):
        arrays = operands(kind, kind, batch(family, 6, d), dtype)
        exact = [oracle(kind, kind, arrays, i) for i in range(6)]
        for isa in every_isa():
            names = ("mahalanobis", "trace", "logdet", "kl", "mean_part", "cov_part")
            terms = getattr(ufuncs, f"kl_full_{kind}_terms")(*arrays)
            parts = getattr(ufuncs, f"kl_full_{kind}_parts")(*arrays)
            found = dict(zip(names, terms + parts, strict=True))
            for name in ("jeffreys", "cross_entropy"):
                found[name] = getattr(ufuncs, f"{name}_full_{kind}")(*arrays)
            found["entropy"] = getattr(ufuncs, f"entropy_full_{kind}")(arrays[1])
            for name, values in found.items():
                for i, x in enumerate(exact):
                    kp, kq = x.conditions
                    logs = [d + np.abs(logs).sum() for logs in x.log_diagonals]
                    size = {
                        "logdet": x.logdet_size,
                        "trace": x.trace + d,
                        "entropy": logs[0],
                        "cross_entropy": logs[1] + (x.trace + x.mahalanobis) / 2,
                    }.get(name, abs(x[name]))
                    bound = JEFFREYS_BOUND if name == "jeffreys" else BOUND
                    bound *= eps * (kq + kp) * size
                    error = abs(np.longdouble(values[i]) - x[name])
                    assert error <= bound, (name, family, d, isa, i, float(error / bound))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", MATRICES)
def test_equal_gaussians(kind, dtype):
    for d in (*SIZES, 64, 100):
        mean, s, *_ = operands(kind, kind, batch("ill conditioned", 3, d), dtype)
        for isa in every_isa():
            values, *gradients = getattr(ufuncs, f"kl_full_{kind}_grad")(mean, s, mean, s)
            assert not values.any(), (d, isa)
            assert not any(g.any() for g in gradients), (d, isa)
            assert not getattr(ufuncs, f"jeffreys_full_{kind}")(mean, s, mean, s).any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_all_sorts_of_items_in_one_vector(dtype):
    for d in (3, 8, 21):
        items = [x for family in FAMILIES for x in batch(family, 3, d)]
        items = [items[i] for i in np.random.default_rng(d).permutation(len(items))]
        arrays = operands("cov", "cov", items, dtype)
        arrays[3][5] = arrays[1][5]
        check_pair("cov", "cov", arrays, "mixed")


EXACT = [
    *((k, k) for k in MATRICES),
    ("cov", "var"),
    ("var", "cov"),
    ("cov", None),
    ("tril", None),
]


CONVERTED = [("cov", "tril"), ("precision", "cov"), ("logvar", "tril"), ("tril", "std"),
             ("precision", None)]  # fmt: skip


@pytest.mark.parametrize("kinds", EXACT + CONVERTED)
def test_the_wide_oracle(kinds):
    """Against mpmath, for float64 operands; converted parameters may lose what rounding takes."""
    for family, d in (
        ("unrelated", 4),
        ("near", 3),
        ("near, condition 1e3", 5),
        ("much smaller", 3),
    ):
        arrays = operands(*kinds, batch(family, 2, d), np.float64)
        for i in range(2):
            wide = oracle(*kinds, arrays, i)
            exact = item(kinds[0], arrays[0][i], arrays[1][i], kinds[1],
                         *((x[i] for x in arrays[2:]) if kinds[1] else (None, None)))  # fmt: skip
            unit = 2.0**-55 * sum(wide.conditions)
            for name in ("kl", "mahalanobis", "trace", "cov_part", "jeffreys"):
                error, size = distance(exact[name], wide[name])
                assert error <= unit * (size if kinds in EXACT else size + size**0.5), (
                    name,
                    family,
                )
            for name in ("d_mean_p", "d_scale_p", *(["d_scale_q"] if kinds[1] else [])):
                error, size = distance(exact[name], wide[name])
                assert error <= unit * (size if kinds in EXACT else size + 1), (name, family)


def distance(exact, wide):
    """Between numbers of mpmath and wide ones, and how large they are."""
    exact, wide = np.ravel(exact), np.ravel(wide)
    error = [float(x - wide_to_mp(y)) for x, y in zip(exact, wide, strict=True)]
    return np.linalg.norm(error), np.linalg.norm([float(x) for x in exact])


def wide_to_mp(x):
    high = float(x)
    return MP.mpf(high) + MP.mpf(float(x - high))


def test_oracle_by_central_differences():
    rng = np.random.default_rng(0)
    d, h = 3, MP.mpf(10) ** -25
    mean_p, mean_q = rng.normal(size=(2, d))
    for kind_p, kind_q in itertools.product(
        ("cov", "tril", "precision", "std", "logvar"), repeat=2
    ):
        arrays = [mean_p, parameter(kind_p, spd(rng, d), float), mean_q,
                  parameter(kind_q, spd(rng, d), float)]  # fmt: skip
        exact = item(kind_p, *arrays[:2], kind_q, *arrays[2:])
        for place, name, kind in ((1, "d_scale_p", kind_p), (3, "d_scale_q", kind_q)):
            stored = as_mp(arrays[place])
            for where in [(2,), (1,)] if stored.ndim == 1 else [(2, 1), (1, 1)]:
                found = []
                for sign in (1, -1):
                    moved = [as_mp(x) for x in arrays]
                    moved[place][where] += sign * h
                    found.append(item(kind_p, *moved[:2], kind_q, *moved[2:])["kl"])
                slope = (found[0] - found[1]) / (2 * h)
                both = kind in ("cov", "precision") and where == (2, 1)
                assert abs(slope - exact[name][where] * (2 if both else 1)) < 1e-30
