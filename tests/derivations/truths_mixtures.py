# SPDX-License-Identifier: BSD-3-Clause
"""The truths of mixtures; see truths.py."""

import itertools
import math

import numpy as np

import gkl
from derivations.integrals import (
    kl_full,
)
from derivations.truths import truth
from gkl import DiagNormal


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
