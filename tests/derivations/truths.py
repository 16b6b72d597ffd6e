# SPDX-License-Identifier: BSD-3-Clause
"""What the numbered formulas of docs/derivations/ have to be, by label.

A truth takes the parameters (`derivations.inputs`) and gives, by the name in the page's Python,
the value that `integrals` finds from the densities, or one found without the formula in another
way, or a tuple of that and gkl's own.
"""

import numpy as np

from gkl import DiagNormal, FullNormal, LowRankNormal

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


def low_rank(x, side):
    return LowRankNormal(x[f"mu_{side}"], factor=x[f"F_{side}"], var=x[f"v_{side}"])


def each(x, f):
    """f(p, q) of every dimension."""
    sides = zip(x["mu_p"], x["v_p"], x["mu_q"], x["v_q"], strict=True)
    return np.array([f((a, v), (b, w)) for a, v, b, w in sides])
