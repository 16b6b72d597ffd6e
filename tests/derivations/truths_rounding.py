# SPDX-License-Identifier: BSD-3-Clause
"""The truths of forms without cancellation; see truths.py."""

import numpy as np
from exact import MP

import gkl
from derivations.integrals import (
    kl_full,
    slope,
)
from derivations.truths import normal, pair, truth


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
