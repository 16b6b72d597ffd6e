# SPDX-License-Identifier: BSD-3-Clause
"""The truths of metrics, mixtures, autoencoders and forms without cancellation; see truths.py."""

import itertools
import math

import numpy as np
from exact import MP

import gkl
from derivations.integrals import (
    integral,
    kl,
    kl_full,
    log_density,
    mean,
    slope,
)
from derivations.truths import each, normal, pair, truth
from gkl import DiagNormal, vae

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
    total = wasserstein2_of_one_normal(x)
    assert abs(each(x, of_one).sum() / total - 1) < 1e-13
    return {"wasserstein2": (total, pairwise(x, "wasserstein2"))}


def wasserstein2_of_one_normal(x):
    """The same over z, of which both quantiles are increasing functions."""

    def of_one(p, q):
        def apart(z):
            return p[0] + MP.sqrt(p[1]) * z - q[0] - MP.sqrt(q[1]) * z

        return mean(lambda z: apart(z) ** 2, MP.mpf(0), MP.mpf(1))

    return each(x, of_one).sum()


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
    p, q = (DiagNormal(c[:, :1], var=c[:, 1:]) for c in (np.array(x["f"]), np.array(x["g"])))
    return gkl.gmm_kl(x["w"], p, x["v"], q, method, **options)


@truth("log-g-bound")
def log_g_bound(x):
    return {"log_g_bound": mixture_mean(x, lambda t: np.log(mixture(t, x["v"], x["g"])))}


def component_kl(p, q):
    """The integral, in double."""
    return kl_full(*((np.array([m]), np.array([[v]])) for m, v in (p, q)))


@truth("gmm-variational")
def gmm_variational(x):
    """Of every component of f, by integrals, how near the components of f are and those of g."""

    def near(p, weights, components):
        pairs = zip(weights, components, strict=True)
        return sum(weight * math.exp(-component_kl(p, q)) for weight, q in pairs)

    terms = [w * math.log(near(p, x["w"], x["f"]) / near(p, x["v"], x["g"]))
             for w, p in zip(x["w"], x["f"], strict=True)]  # fmt: skip
    return {"variational": (sum(terms), gmm(x, "variational"))}


@truth("gmm-matched")
def gmm_matched(x):
    """The least of all ways to give each component of f one of g, with integrals."""
    f, g = ([*zip(x[w], x[c], strict=True)] for w, c in ("wf", "vg"))
    totals = [
        sum(w * (component_kl(p, q) + math.log(w / v))
            for (w, p), (v, q) in zip(f, chosen, strict=True))
        for chosen in itertools.product(g, repeat=len(f))
    ]  # fmt: skip
    return {"matched": (min(totals), gmm(x, "matched"))}


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


def averages(x, per_dim, after_mean):
    """What an objective is a function of, number by number: divergences of dimensions or items,
    each as it is or averaged over the batch; and how many items each number stands for."""
    items = [[*row] if per_dim else [MP.fsum(row)] for row in x["D"]]
    if after_mean:
        return [MP.fsum(column) / len(items) for column in zip(*items, strict=True)], 1
    return [value for item in items for value in item], len(items)


@truth("beta")
def beta(x):
    [mean_kl], _ = averages(x, per_dim=False, after_mean=True)
    own = vae.beta(x["D"].astype(float).sum(1), float(x["beta"]))
    return {"value": (x["beta"] * mean_kl, own)}


@truth("free-bits")
def free_bits(x):
    """Every number costs tau, and what it is beyond that."""
    values = x["D"].astype(float)
    options = {"nats": float(x["tau"]), "beta": float(x["beta"])}
    found = {}
    for of, when in itertools.product(("per_dim", "sum"), ("after", "before")):
        how = {"per_dim": of == "per_dim", "after_mean": when == "after"}
        numbers, n = averages(x, **how)
        cost = MP.fsum(x["tau"] + (y - x["tau"] if y > x["tau"] else 0) for y in numbers) / n
        own = vae.free_bits(values if of == "per_dim" else values.sum(1), **how, **options)
        found[f"{of}_{when}"] = x["beta"] * cost, own
    return found


@truth("capacity")
def capacity(x):
    values, c, gamma = x["D"].astype(float).sum(1), float(x["c"]), float(x["gamma"])
    found = {}
    for when in ("after", "before"):
        numbers, n = averages(x, per_dim=False, after_mean=when == "after")
        cost = MP.fsum(y - x["c"] if y > x["c"] else x["c"] - y for y in numbers) / n
        own = vae.capacity(values, c, gamma=gamma, after_mean=when == "after")
        found[when] = x["gamma"] * cost, own
    return found


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
