# SPDX-License-Identifier: BSD-3-Clause
"""The truths of autoencoders; see truths.py."""

import itertools

import numpy as np
from exact import MP

import gkl
from derivations.integrals import (
    integral,
    kl,
    log_density,
    slope,
)
from derivations.truths import truth
from gkl import DiagNormal, vae


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
