# SPDX-License-Identifier: BSD-3-Clause
"""The truths of closed forms of divergences and entropies; see truths.py."""

import numpy as np
from exact import MP

import gkl
from derivations.integrals import (
    cross_entropy,
    cross_entropy_full,
    kl,
    kl_full,
    log_densities,
    log_density,
    mean,
    mean_full,
)
from derivations.truths import each, low_rank, normal, pair, truth

# ---- one dimension


@truth("density")
def density(x):
    p, _ = pair(x)
    assert abs(mean(lambda _: 1, *p) - 1) < 1e-30
    assert abs(mean(lambda t: t, *p) - p[0]) < 1e-30
    assert abs(mean(lambda t: (t - p[0]) ** 2, *p) - p[1]) < 1e-30
    return {"p": MP.exp(log_density(x["x"], *p))}


@truth("second-moment")
def second_moment(x):
    p, q = pair(x)
    return {"second_moment": mean(lambda t: (t - q[0]) ** 2, *p)}


@truth("cross-entropy-var")
def cross_entropy_var(x):
    found = gkl.cross_entropy(normal(x, "p"), normal(x, "q"))
    return {"cross_entropy": (cross_entropy(*pair(x)), found)}


@truth("entropy-var")
def entropy_var(x):
    p, _ = pair(x)
    return {"entropy": (cross_entropy(p, p), gkl.entropy(normal(x, "p")))}


def kl_of(kind):
    def found(x):
        return {"kl": (kl(*pair(x)), gkl.kl(normal(x, "p", kind), normal(x, "q", kind)))}

    return found


for kind, labels in {"var": ("kl-var", "kl-phi"), "std": ("kl-std", "kl-phi-std"),
                     "logvar": ("kl-logvar", "kl-psi")}.items():  # fmt: skip
    truth(*labels)(kl_of(kind))


@truth("kl-unit")
def kl_unit(x):
    p, _ = pair(x)
    found = [gkl.kl(normal(x, "p", kind)) for kind in ("var", "std", "logvar")]
    return {"kl": (kl(p, (MP.mpf(0), MP.mpf(1))), *found)}


def jeffreys_of(kind):
    def found(x):
        p, q = pair(x)
        other = gkl.jeffreys(normal(x, "p", kind), normal(x, "q", kind))
        return {"jeffreys": (kl(p, q) + kl(q, p), other)}

    return found


truth("jeffreys-var", "jeffreys-u")(jeffreys_of("var"))
truth("jeffreys-logvar")(jeffreys_of("logvar"))


@truth("u-residual")
def u_residual(x):
    return {"u": x["v_p"] / x["v_q"] - 1}


# ---- diagonal


@truth("kl-diag", "kl-product")
def kl_diag(x):
    p, q = normal(x, "p"), normal(x, "q")
    apart = gkl.pairwise_kl(p.reshape(1), q.reshape(1))[0, 0]
    assert np.isclose(gkl.kl_per_dim(p, q).sum(), apart, rtol=1e-13)
    return {"kl": (each(x, kl).sum(), gkl.kl(p, q), apart)}


@truth("terms-diag")
def terms_diag(x):
    """The terms are the means of those of log p/q."""
    found = gkl.kl_terms(normal(x, "p"), normal(x, "q"))

    def mahalanobis(p, q):
        return (mean(lambda t: t - q[0], *p)) ** 2 / q[1]

    def trace(p, q):
        return mean(lambda t: (t - p[0]) ** 2, *p) / q[1]

    def logdet(p, q):
        return 2 * (cross_entropy(q, q) - cross_entropy(p, p))

    terms = {f.__name__: (each(x, f).sum(), getattr(found, f.__name__))
             for f in (mahalanobis, trace, logdet)}  # fmt: skip
    return terms | {"kl": each(x, kl).sum()}


@truth("parts-diag")
def parts_diag(x):
    found = gkl.kl_terms(normal(x, "p"), normal(x, "q"))
    cov_part = each(x, lambda p, q: kl((q[0], p[1]), q)).sum()  # p moved to where q is
    return {"cov_part": (cov_part, found.cov_part),
            "mean_part": (each(x, kl).sum() - cov_part, found.mean_part)}  # fmt: skip


@truth("entropies-diag")
def entropies_diag(x):
    p, q = normal(x, "p"), normal(x, "q")
    return {
        "cross_entropy": (each(x, cross_entropy).sum(), gkl.cross_entropy(p, q)),
        "entropy": (each(x, lambda p, _: cross_entropy(p, p)).sum(), gkl.entropy(p)),
    }


# ---- full covariances


@truth("density-full")
def density_full(x):
    p, _ = pair(x)
    assert abs(mean_full(lambda _: 1, *p) - 1) < 1e-13
    return {"p": np.exp(log_densities(x["x"][np.newaxis], *p))[0]}


@truth("expected-square")
def expected_square(x):
    p, (mu, s) = pair(x)
    inverse = np.linalg.inv(s)
    return {"expected_square": mean_full(
        lambda t: np.einsum("ni,ij,nj->n", t - mu, inverse, t - mu), *p)}  # fmt: skip


@truth("cross-entropy-cov")
def cross_entropy_cov(x):
    found = gkl.cross_entropy(normal(x, "p", "cov"), normal(x, "q", "cov"))
    return {"cross_entropy": (cross_entropy_full(*pair(x)), found)}


@truth("entropy-cov")
def entropy_cov(x):
    p, _ = pair(x)
    return {"entropy": (cross_entropy_full(p, p), gkl.entropy(normal(x, "p", "cov")))}


def kl_of_matrices(*kinds):
    def found(x):
        others = [gkl.kl(normal(x, "p", kind), normal(x, "q", kind)) for kind in kinds]
        return {"kl": (kl_full(*pair(x)), *others)}

    return found


truth("kl-cov", "kl-cholesky")(kl_of_matrices("cov", "tril"))
truth("kl-precision", "kl-precision-cholesky")(kl_of_matrices("precision"))


@truth("kl-product-full")
def kl_product_full(x):
    p, q = (normal(x, side, "cov").reshape(1) for side in "pq")
    return {"kl": (kl_full(*pair(x)), gkl.pairwise_kl(p, q)[0, 0])}


@truth("kl-unit-cov")
def kl_unit_cov(x):
    p, _ = pair(x)
    return {"kl": (kl_full(p, (0 * p[0], np.eye(len(p[0])))), gkl.kl(normal(x, "p", "cov")))}


@truth("w-from-x")
def w_from_x(x):
    w = np.linalg.solve(x["L_q"], x["L_p"])
    return {"W": w, "excess": np.diag(w) ** 2 - 1}


@truth("e-from-delta")
def e_from_delta(x):
    return {"E": x["S_p"] - x["S_q"]}


@truth("delta-recursion")
def delta_recursion(x):
    return {"Delta": x["L_p"] - x["L_q"]}


@truth("pivot-difference")
def pivot_difference(x):
    return {"pivot_difference": np.diag(x["L_p"]) ** 2 - x["v_q"]}


@truth("kl-diag-full")
def kl_diag_full(x):
    p, q = (x["mu_p"], np.diag(x["v_p"])), (x["mu_q"], x["S_q"])
    return {"kl": (kl_full(p, q), gkl.kl(normal(x, "p"), normal(x, "q", "cov")))}


@truth("kl-full-diag")
def kl_full_diag(x):
    p, q = (x["mu_p"], x["S_p"]), (x["mu_q"], np.diag(x["v_q"]))
    return {"kl": (kl_full(p, q), gkl.kl(normal(x, "p", "cov"), normal(x, "q")))}


@truth("jeffreys-cov", "jeffreys-difference")
def jeffreys_cov(x):
    p, q = pair(x)
    found = gkl.jeffreys(normal(x, "p", "cov"), normal(x, "q", "cov"))
    return {"jeffreys": (kl_full(p, q) + kl_full(q, p), found)}


# ---- low rank


@truth("lemmas")
def lemmas(x):
    _, q = pair(x)
    return {"inverse": np.linalg.inv(q[1]), "log_det": np.linalg.slogdet(q[1])[1]}


@truth("filter")
def filter_of_q(x):
    """D is the variance of each component, given those before it: by the entropies of both."""
    _, (_, s) = pair(x)
    sizes = range(1, len(s) + 1)
    joint = [cross_entropy_full((p := (np.zeros(n), s[:n, :n])), p) for n in sizes]
    own = np.diff([0, *joint])
    return {"D": np.exp(2 * own - 1) / (2 * np.pi)}


@truth("filter-log-det")
def filter_log_det(x):
    return {"log_det": np.linalg.slogdet(x["S_q"])[1]}


@truth("kl-low-rank")
def kl_low_rank(x):
    return {"kl": (kl_full(*pair(x)), gkl.kl(low_rank(x, "p"), low_rank(x, "q")))}


@truth("entropies-low-rank")
def entropies_low_rank(x):
    p, q = pair(x)
    found = gkl.cross_entropy(low_rank(x, "p"), low_rank(x, "q"))
    return {"entropy_q": (cross_entropy_full(q, q), gkl.entropy(low_rank(x, "q"))),
            "cross_entropy": (cross_entropy_full(p, q), found)}  # fmt: skip


@truth("e-low-rank")
def e_low_rank(x):
    return {"E": x["S_p"] - x["S_q"]}
