# SPDX-License-Identifier: BSD-3-Clause
"""The truths of metrics of every p against every q; see truths.py."""

from exact import MP

import gkl
from derivations.integrals import (
    integral,
    log_density,
    mean,
)
from derivations.truths import each, normal, pair, truth


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
