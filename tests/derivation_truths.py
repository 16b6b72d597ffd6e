# SPDX-License-Identifier: BSD-3-Clause
"""What the numbered formulas of docs/derivations/ have to be, by label.

A truth takes the parameters (`derivation_inputs`) and gives, by the name in the page's Python, the value
that `integrals` finds from the densities, or a tuple of that and gkl's own.
"""

import math

import numpy as np
from exact import MP
from integrals import (
    cross_entropy,
    cross_entropy_full,
    gradient,
    integral,
    kl,
    kl_full,
    log_densities,
    log_density,
    mean,
    mean_full,
    slope,
)

import gkl
from gkl import DiagNormal, FullNormal, LowRankNormal, vae

TRUTHS = {}


def truth(*labels):
    def enter(function):
        assert not TRUTHS.keys() & set(labels)
        TRUTHS.update(dict.fromkeys(labels, function))
        return function

    return enter


def pair(x):
    """p and q in one dimension as integrals take them, or in several."""
    scale = "S" if "S_p" in x else "v"
    return tuple((x[f"mu_{side}"], x[f"{scale}_{side}"]) for side in "pq")


def normal(x, side, kind="var"):
    """gkl's Gaussian of a side, which is of one dimension or more."""
    name = {"var": "v", "std": "s", "logvar": "l", "cov": "S", "tril": "L", "precision": "Lambda"}
    mu, scale = (np.atleast_1d(np.asarray(x[f"{n}_{side}"], float)) for n in ("mu", name[kind]))
    return (DiagNormal if scale.ndim == 1 else FullNormal)(mu, **{kind: scale})


def rounded(x, *sides):
    """The parameters as gkl is given them: numbers that double has."""
    return x


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


def each(x, f):
    """f(p, q) of every dimension."""
    sides = zip(x["mu_p"], x["v_p"], x["mu_q"], x["v_q"], strict=True)
    return np.array([f((a, v), (b, w)) for a, v, b, w in sides])


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


def low_rank(x, side):
    return LowRankNormal(x[f"mu_{side}"], factor=x[f"F_{side}"], var=x[f"v_{side}"])


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


# ---- gradients


def grads(x, kind):
    _, p, q = gkl.kl_and_grad(normal(x, "p", kind), normal(x, "q", kind))
    found = ((p.mean, getattr(p, kind)), (q.mean, getattr(q, kind)))
    return [[y[0] if y.shape == (1,) else y for y in side] for side in found]


@truth("grad-mean")
def grad_mean(x):
    (m, v), (n, w) = pair(x)
    (of_p, _), (of_q, _) = grads(x, "var")
    return {"d_mu_p": (slope(lambda t: kl((t, v), (n, w)), m), of_p),
            "d_mu_q": (slope(lambda t: kl((m, v), (t, w)), n), of_q)}  # fmt: skip


def grad_scale(letter, kind, variance):
    def found(x):
        (m, _), (n, _) = pair(x)
        v, w = x[f"{letter}_p"], x[f"{letter}_q"]
        (_, of_p), (_, of_q) = grads(x, kind)

        def value(a, b):
            return kl((m, variance(a)), (n, variance(b)))

        return {f"d_{letter}_p": (slope(lambda t: value(t, w), v), of_p),
                f"d_{letter}_q": (slope(lambda t: value(v, t), w), of_q)}  # fmt: skip

    return found


truth("grad-var")(grad_scale("v", "var", lambda v: v))
truth("grad-std")(grad_scale("s", "std", lambda s: s * s))
truth("grad-logvar")(grad_scale("l", "logvar", MP.exp))


@truth("u-from-others")
def u_from_others(x):
    return {"u": x["v_p"] / x["v_q"] - 1}


@truth("grad-mean-full")
def grad_mean_full(x):
    p, q = pair(x)
    (of_p, _), (of_q, _) = grads(x, "cov")
    return {"d_mu_p": (gradient(lambda m: kl_full((m, p[1]), q, p), p[0]), of_p),
            "d_mu_q": (gradient(lambda m: kl_full(p, (m, q[1])), q[0]), of_q)}  # fmt: skip


def grad_matrix(side, name, kind, covariance, **options):
    """The gradient in a matrix from which `covariance` makes that of the side."""

    def found(x):
        p, q = pair(x)
        at = x[{"cov": "S", "tril": "L", "precision": "Lambda"}[kind] + f"_{side}"]

        def value(m):
            if side == "p":
                return kl_full((p[0], covariance(m)), q, p)
            return kl_full(p, (q[0], covariance(m)))

        own = grads(x, kind)[side == "q"][1]
        return {name: (gradient(value, at, **options), own)}

    return found


truth("grad-cov-p")(grad_matrix("p", "G_p", "cov", lambda s: s, symmetric=True))
truth("grad-cov-q")(grad_matrix("q", "G_q", "cov", lambda s: s, symmetric=True))


@truth("grad-tril")
def grad_tril(x):
    make = {"covariance": lambda m: m @ m.T, "lower": True}
    return grad_matrix("p", "d_L_p", "tril", **make)(x) | grad_matrix(
        "q", "d_L_q", "tril", **make)(x)  # fmt: skip


@truth("grad-precision")
def grad_precision(x):
    make = {"covariance": np.linalg.inv, "symmetric": True}
    return grad_matrix("p", "d_Lambda_p", "precision", **make)(x) | grad_matrix(
        "q", "d_Lambda_q", "precision", **make)(x)  # fmt: skip


@truth("grad-low-rank")
def grad_low_rank(x):
    p, q = pair(x)
    _, *own = gkl.kl_and_grad(low_rank(x, "p"), low_rank(x, "q"))
    found = {}
    for side, g in zip("pq", own, strict=True):
        f, v = x[f"F_{side}"], x[f"v_{side}"]

        def value(factor, var, side=side):
            s = factor @ factor.T + np.diag(var)
            return kl_full((p[0], s), q, p) if side == "p" else kl_full(p, (q[0], s))

        found[f"d_F_{side}"] = gradient(lambda t, v=v, value=value: value(t, v), f), g.factor
        found[f"d_v_{side}"] = gradient(lambda t, f=f, value=value: value(f, t), v), g.var
    return found


@truth("grad-shared")
def grad_shared(x):
    def total(mu_q):
        items = zip(x["w"], x["mu_p"], x["v_p"], strict=True)
        return sum(w * kl((m, v), (mu_q, x["v_q"])) for w, m, v in items)

    p = DiagNormal(*(x[name].astype(float)[:, np.newaxis] for name in ("mu_p",)),
                   var=x["v_p"].astype(float)[:, np.newaxis])  # fmt: skip
    q = DiagNormal(np.array([float(x["mu_q"])]), var=float(x["v_q"]))
    _, _, own = gkl.kl_and_grad(p, q, weight=x["w"].astype(float))
    return {"d_mu_q": (slope(total, x["mu_q"]), own.mean[0])}


@truth("balance")
def balance(x):
    (m, v), (n, w) = pair(x)
    alpha = x["alpha"]
    found = {"d_mu_p": (1 - alpha) * slope(lambda t: kl((t, v), (n, w)), m),
             "d_mu_q": alpha * slope(lambda t: kl((m, v), (t, w)), n)}  # fmt: skip
    if alpha > 1:
        return found
    _, *own = vae.objective_and_grad(normal(x, "p"), normal(x, "q"), balance=float(alpha))
    return {k: (y, g.mean[0]) for (k, y), g in zip(found.items(), own, strict=True)}


# ---- every p against every q


def pairwise(x, metric, **options):
    p, q = (normal(x, side).reshape(1) for side in "pq")
    return gkl.pairwise_kl(p, q, metric, **options)[0, 0]


@truth("wasserstein2")
def wasserstein2(x):
    """In each dimension the mean of the squared difference of equal quantiles."""

    def quantile(u, mu, v):
        return mu + MP.sqrt(2 * v) * MP.erfinv(2 * u - 1)

    def of_one(p, q):
        with MP.workdps(20):
            return MP.quad(lambda u: (quantile(u, *p) - quantile(u, *q)) ** 2, [0, 0.5, 1])

    # to 14 digits: the integrand is infinite at both ends
    assert abs(each(x, of_one).sum() / (total := wasserstein2_by_samples(x)) - 1) < 1e-13
    return {"wasserstein2": (total, pairwise(x, "wasserstein2"))}


def wasserstein2_by_samples(x):
    """The same over z, of which both are increasing functions."""
    unit = MP.mpf(0), MP.mpf(1)
    return each(x, lambda p, q: mean(
        lambda z: (p[0] + MP.sqrt(p[1]) * z - q[0] - MP.sqrt(q[1]) * z) ** 2, *unit)).sum()  # fmt: skip


@truth("wasserstein2-logvar")
def wasserstein2_logvar(x):
    return {"difference": (x["s_p"] - x["s_q"]) ** 2}


def overlap(x, order):
    p, q = pair(x)
    return integral(
        lambda t: MP.exp(order * log_density(t, *p) + (1 - order) * log_density(t, *q)),
        p, q, reach=40)  # fmt: skip


@truth("renyi-integral")
def renyi_integral(x):
    return {"integral": overlap(x, x["alpha"])}


@truth("renyi", "renyi-phi")
def renyi(x):
    alpha = x["alpha"]
    own = pairwise(x, "renyi", order=float(alpha))
    return {"renyi": (MP.log(overlap(x, alpha)) / (alpha - 1), own)}


@truth("bhattacharyya")
def bhattacharyya(x):
    own = pairwise(x, "bhattacharyya")
    return {"bhattacharyya": (-MP.log(overlap(x, MP.mpf(0.5))), own)}


@truth("hellinger")
def hellinger(x):
    p, q = pair(x)
    apart = integral(
        lambda t: (MP.exp(log_density(t, *p) / 2) - MP.exp(log_density(t, *q) / 2)) ** 2,
        p, q)  # fmt: skip
    return {"hellinger": (MP.sqrt(apart / 2), pairwise(x, "hellinger"))}


# ---- mixtures


def mixture_mean(x, f):
    """Of f(t) under the first mixture, in double."""
    t, dt = np.linspace(-60, 60, 60001, retstep=True)
    return (mixture(t, x["w"], x["f"]) * f(t)).sum() * dt


def mixture(t, weights, components):
    """The density, never quite 0."""
    densities = [np.exp(-((t - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v) for m, v in components]
    return sum(w * x for w, x in zip(weights, densities, strict=True)) + 1e-300


def mixture_kl(x):
    return mixture_mean(
        x, lambda t: np.log(mixture(t, x["w"], x["f"]) / mixture(t, x["v"], x["g"])))  # fmt: skip


def gmm(x, method, **options):
    (p, q) = (DiagNormal(*(np.array(c)[:, :1], ), var=np.array(c)[:, 1:]) for c in (x["f"], x["g"]))
    return gkl.gmm_kl(x["w"], p, x["v"], q, method, **options)


@truth("log-g-bound")
def log_g_bound(x):
    return {"log_g_bound": mixture_mean(x, lambda t: np.log(mixture(t, x["v"], x["g"])))}


@truth("gmm-variational")
def gmm_variational(x):
    return {"variational": gmm(x, "variational")}


@truth("gmm-matched")
def gmm_matched(x):
    return {"matched": gmm(x, "matched")}


@truth("gmm-upper")
def gmm_upper(x):
    return {"upper": mixture_kl(x)}


@truth("gmm-one-to-one")
def gmm_one_to_one(x):
    return {"one_to_one": mixture_kl(x)}


@truth("gmm-variational-bound", "gmm-matched-bound")
def gmm_bounds(x):
    value, error = gmm(x, "montecarlo", samples=20_000, seed=0, return_error=True)
    assert abs(value - mixture_kl(x)) < 5 * error
    return {"bound": mixture_kl(x)}


@truth("gmm-montecarlo")
def gmm_montecarlo(x):
    rho = x["rho"]
    return {"D_MC": rho.mean(), "error": rho.std(ddof=1) / math.sqrt(len(rho))}


# ---- autoencoders


@truth("mean-kl")
def mean_kl(x):
    own = gkl.kl(DiagNormal(x["mu"].astype(float)[:, np.newaxis],
                            var=x["v"].astype(float)[:, np.newaxis])).mean()  # fmt: skip
    items = zip(x["mu"], x["v"], strict=True)
    return {"mean_kl": (sum(kl(p, (MP.mpf(0), MP.mpf(1))) for p in items) / x["n"], own)}


@truth("aggregate")
def aggregate(x):
    items = [*zip(x["mu"], x["v"], strict=True)]
    return {"second_moment": integral(
        lambda t: t * t * sum(MP.exp(log_density(t, *p)) for p in items) / len(items),
        *items)}  # fmt: skip


@truth("beta")
def beta(x):
    return {"value": vae.beta(x["D"].astype(float).sum(1), float(x["beta"]))}


@truth("free-bits")
def free_bits(x):
    values = x["D"].astype(float)
    options = {"nats": float(x["tau"]), "beta": float(x["beta"])}
    return {
        f"{of}_{when}": vae.free_bits(
            values if of == "per_dim" else values.sum(1),
            per_dim=of == "per_dim", after_mean=when == "after", **options)
        for of in ("per_dim", "sum") for when in ("after", "before")
    }  # fmt: skip


@truth("capacity")
def capacity(x):
    values, c, gamma = x["D"].astype(float).sum(1), float(x["c"]), float(x["gamma"])
    return {when: vae.capacity(values, c, gamma=gamma, after_mean=when == "after")
            for when in ("after", "before")}  # fmt: skip


@truth("free-bits-weights")
def free_bits_weights(x):
    """The numerical derivative of the objectives."""

    def weights(after_mean):
        scheme = vae.FreeBits(float(x["tau"]), after_mean=after_mean, beta=float(x["beta"]))

        def value(divergences):
            n = x["n"]
            over = [sum(column) / n for column in divergences.T] if after_mean else [
                d / MP.mpf(n) for d in np.ravel(divergences)]  # fmt: skip
            tau = x["tau"] if after_mean else x["tau"] / n
            return x["beta"] * sum(max(d, tau) for d in over)

        found = np.zeros(x["D"].shape, object)
        for at in np.ndindex(found.shape):

            def moved(t, at=at):
                y = x["D"].copy()
                y[at] = t
                return value(y)

            found[at] = slope(moved, x["D"][at])
        own = scheme.weight(x["D"].astype(float))
        return found, np.broadcast_to(own, found.shape)

    return {"G": weights(True), "H": weights(False)}


# ---- without cancellation


@truth("phi-psi")
def phi_psi(x):
    u, y = x["v_p"] / x["v_q"] - 1, x["l_p"] - x["l_q"]
    return {"phi_over_square": MP.quad(lambda t: t / (1 + u * t), [0, 1]),
            "psi_over_square": MP.quad(lambda t: (1 - t) * MP.exp(t * y), [0, 1])}  # fmt: skip


def phi(u):
    return MP.quad(lambda s: s / (1 + s), [0, u])


def psi(y):
    return MP.quad(MP.expm1, [0, y])


@truth("phi-reduced")
def phi_reduced(x):
    return {"value": phi(x["v_p"] / x["v_q"] - 1)}


@truth("psi-reduced")
def psi_reduced(x):
    return {"value": psi(x["l_p"] - x["l_q"])}


@truth("conditions")
def conditions(x):
    u, y = x["v_p"] / x["v_q"] - 1, x["l_p"] - x["l_q"]
    return {"kappa_phi": u * slope(phi, u) / phi(u), "kappa_psi": y * slope(psi, y) / psi(y)}


@truth("far-pivots")
def far_pivots(x):
    """The least divergence of pairs just beyond the limits, in one direction."""
    found = []
    for ratio in (0.5, 2.0):
        p, q = np.eye(x["d"]), np.eye(x["d"])
        p[0, 0] = ratio * (1.001 if ratio > 1 else 0.999)
        found.append(kl_full((x["mu_q"], p), (x["mu_q"], q)))
    return {"least": min(found)}


@truth("kl-eigenvalues")
def kl_eigenvalues(x):
    (_, s), q = pair(x)
    own = gkl.kl_terms(normal(x, "p", "cov"), normal(x, "q", "cov")).cov_part
    return {"cov_part": (kl_full((q[0], s), q), own)}


@truth("far-norm")
def far_norm(x):
    (_, s), q = pair(x)
    return {"least": kl_full((q[0], s), q)}
