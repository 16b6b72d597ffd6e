# SPDX-License-Identifier: BSD-3-Clause
"""The parameters that a page of docs/derivations/ begins with, by the name of the inputs.

In one dimension and for diagonal covariances numbers are mpmath's, for matrices NumPy's.  Each
gives the names that formulas and Python use, the functions among them, and the `tolerance`
within which results are to agree; `sizes` is how far an index goes, "" for all others.
"""

import math

import numpy as np
from exact import MP

# ---- functions under the same names


def of_mpmath(name):
    return np.frompyfunc(getattr(MP, name), 1, 1)


EXACT = {x: of_mpmath(x) for x in ("log", "exp", "sqrt", "sinh", "cosh", "expm1", "floor")}
EXACT |= {
    "pi": +MP.pi,
    "number": MP.mpf,
    "mpf": MP.mpf,
    "sum": np.sum,
    "min": min,
    "max": max,
    "float32": lambda x: MP.mpf(float(np.float32(float(x)))),
    "phi": np.frompyfunc(lambda u: u - MP.log(1 + u), 1, 1),
    "psi": np.frompyfunc(lambda y: MP.expm1(y) - y, 1, 1),
    "theta": np.frompyfunc(lambda x: MP.mpf(x >= 0), 1, 1),
    "maximum": np.maximum,
    "abs": abs,
    "ones": np.ones,
}
OF_NUMPY = ("log", "exp", "sqrt", "trace", "diag", "tril", "outer", "zeros", "eye", "array",
            "concatenate", "sum", "pi")  # fmt: skip
DOUBLE = {x: getattr(np, x) for x in OF_NUMPY}
DOUBLE |= {x: getattr(np.linalg, x) for x in ("inv", "det", "solve", "norm", "eigvalsh")}
DOUBLE |= {
    "tr": np.trace,
    "min": min,
    "max": max,
    "phi": lambda u: u - np.log1p(u),
    "psi": lambda y: np.expm1(y) - y,
}

# ---- inputs


def exact(x):
    return np.frompyfunc(lambda y: MP.mpf(float(y)), 1, 1)(x)


def scales(v):
    """By side: variance, standard deviation and log-variance."""
    sqrt, log = EXACT["sqrt"], EXACT["log"]
    return {f"{name}_{x}": value for x, of in v.items()
            for name, value in (("v", of), ("s", sqrt(of)), ("l", log(of)), ("ell", log(of)))
            }  # fmt: skip


def one_dimension(rng):
    v = {x: exact(rng.gamma(3) / 2) for x in "pq"}
    mu = {f"mu_{x}": exact(rng.normal()) for x in "pq"}
    alpha = exact(rng.choice([0.3, 0.8, 1.25]))
    if v["q"] + (1 - alpha) * (v["p"] - v["q"]) <= 0:
        alpha = 1 / alpha
    return EXACT | scales(v) | mu | {"alpha": alpha, "x": exact(rng.normal()), "sizes": {"": 1},
                                     "d": 1, "tolerance": 1e-25}  # fmt: skip


def dimensions(rng, d=3):
    v = {x: exact(rng.gamma(3, size=d) / 2) for x in "pq"}
    mu = {f"mu_{x}": exact(rng.normal(size=d)) for x in "pq"}
    return EXACT | scales(v) | mu | {"d": d, "sizes": {"": d}, "tolerance": 1e-25}


def covariance(rng, d):
    x = rng.normal(size=(d, d + 2))
    return x @ x.T / d + np.eye(d) / 4


def matrices(rng):
    d = int(rng.integers(2, 4))
    found = {"d": d, "sizes": {"": d}, "I": np.eye(d), "x": rng.normal(size=d)}
    for x in "pq":
        s = covariance(rng, d)
        inverse = np.linalg.inv(s)
        found |= {f"mu_{x}": rng.normal(size=d), f"S_{x}": s, f"L_{x}": np.linalg.cholesky(s),
                  f"Lambda_{x}": inverse, f"K_{x}": np.linalg.cholesky(inverse),
                  f"v_{x}": rng.gamma(3, size=d) / 2}  # fmt: skip
    return DOUBLE | found | {"tolerance": 1e-11, "triangular": True}


def low_rank(rng, d=3):
    found = {"d": d, "sizes": {"": d}, "tolerance": 1e-11}
    for x, rank in (("p", 2), ("q", 2)):
        found |= {f"mu_{x}": rng.normal(size=d), f"F_{x}": rng.normal(size=(d, rank)),
                  f"v_{x}": rng.gamma(3, size=d) / 3}  # fmt: skip
        f, v = found[f"F_{x}"], found[f"v_{x}"]
        found[f"S_{x}"] = f @ f.T + np.diag(v)
    found |= {"I": np.eye(found["F_q"].shape[1]), "delta": found["mu_p"] - found["mu_q"]}
    return DOUBLE | found


def batch(rng, n=4):
    """Items with one q in one dimension, and weights."""
    of_p = {"mu_p": exact(rng.normal(size=n)), "v_p": exact(rng.gamma(3, size=n))}
    of_q = {"mu_q": exact(rng.normal()), "v_q": exact(rng.gamma(3))}
    return EXACT | of_p | of_q | {"w": exact(rng.normal(size=n)), "n": n, "sizes": {"": n},
                                  "tolerance": 1e-25}  # fmt: skip


def closed_kl(mu_p, v_p, mu_q, v_q):
    return (math.log(v_q / v_p) + v_p / v_q - 1 + (mu_p - mu_q) ** 2 / v_q) / 2


def mixtures(rng):
    """Mixtures in one dimension of 2 and 3 components, and what their components give."""
    means, spreads = rng.normal(size=5) * 2, rng.gamma(3, size=5)
    components = [*zip(means, spreads, strict=True)]
    f, g = components[:2], components[2:]
    c, big_d = ([[closed_kl(*p, *q) for q in of] for p in f] for of in (f, g))
    return DOUBLE | {
        "w": rng.dirichlet([2] * 2), "v": rng.dirichlet([2] * 3), "f": f, "g": g,
        "C": np.array(c), "D": np.array(big_d),
        "H": np.array([math.log(2 * math.pi * math.e * s) / 2 for _, s in f]),
        "sizes": {"a": 2, "c": 2, "b": 3, "": 0}, "tolerance": 1e-12,
    }  # fmt: skip


def samples(rng, n=7):
    return DOUBLE | {"rho": rng.normal(size=n), "n": n, "sizes": {"": n}, "tolerance": 1e-12}


def posteriors(rng, n=4):
    return EXACT | {"mu": exact(rng.normal(size=n)), "v": exact(rng.gamma(2, size=n)), "n": n,
                    "sizes": {"": n}, "tolerance": 1e-25}  # fmt: skip


def batch_of_divergences(rng, n=4, d=3):
    found = {name: exact(rng.gamma(3)) for name in ("beta", "gamma")}
    divergences = rng.gamma(1, size=(n, d))
    found |= {"tau": exact(divergences.mean() * 0.9), "c": exact(divergences.sum() / n * 0.9)}
    return EXACT | found | {"D": exact(divergences), "n": n, "d": d,
                            "sizes": {"": n, "j": d}, "tolerance": 1e-25}  # fmt: skip


INPUTS = {
    "one dimension": one_dimension,
    "dimensions": dimensions,
    "matrices": matrices,
    "low rank": low_rank,
    "batch": batch,
    "mixtures": mixtures,
    "samples": samples,
    "posteriors": posteriors,
    "batch of divergences": batch_of_divergences,
}
