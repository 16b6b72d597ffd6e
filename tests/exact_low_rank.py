# SPDX-License-Identifier: BSD-3-Clause
"""The exact oracle of Gaussians with covariance F F^T + diag(v), and pairs of them to try.

The determinant and inversion lemmas, with so many digits that what cancels does not matter; a
diagonal Gaussian is one of rank 0. `test_low_rank.py` checks it against whole matrices.
"""

import functools

import numpy as np
from exact import MP, slope_of_variance, variance

DIGITS = 150
NOTHING = 1e-100  # what is less has come from 0


class LowRank:
    """One Gaussian: numbers as they are stored; ``kind`` is that of ``scale``."""

    def __init__(self, mean, scale, factor=None, kind="var"):
        self.kind, self.dim = kind, len(scale)
        factor = np.empty((self.dim, 0)) if factor is None else factor
        self.stored = [np.asarray(x, float) for x in (mean, scale, factor)]
        self.rank = self.stored[2].shape[1]
        self.mean, self.scale = ([MP.mpf(x) for x in y.tolist()] for y in self.stored[:2])
        self.factor = [[MP.mpf(x) for x in row] for row in self.stored[2].tolist()]

    @functools.cached_property
    def var(self):
        return [variance(self.kind, x) for x in self.scale]

    @functools.cached_property
    def inner(self):
        """The inverse Cholesky factor of I + F^T diag(1/v) F, and its log det."""
        gram = MP.eye(self.rank)
        for row, v in zip(self.factor, self.var, strict=True):
            for i in range(self.rank):
                for j in range(self.rank):
                    gram[i, j] += row[i] * row[j] / v
        root = MP.cholesky(gram) if self.rank else gram
        log_det = 2 * MP.fsum(MP.log(root[i, i]) for i in range(self.rank))
        return root**-1 if self.rank else root, log_det

    @functools.cached_property
    def log_det(self):
        return self.inner[1] + MP.fsum(MP.log(v) for v in self.var)

    @functools.cached_property
    def roots(self):
        """Z with S^-1 = diag(1/v) - Z Z^T, row by row."""
        inverse = self.inner[0]
        return [
            [dot(inverse[i, : i + 1], row[: i + 1]) / v for i in range(self.rank)]
            for row, v in zip(self.factor, self.var, strict=True)
        ]

    def solve(self, rows):
        """S^-1 X for an X that is given by its rows."""
        across = product(self.roots, rows)
        return [
            [x / v - dot(z, column) for x, column in zip(row, across, strict=True)]
            for row, v, z in zip(rows, self.var, self.roots, strict=True)
        ]

    def inverse_diagonal(self):
        return [1 / v - dot(z, z) for v, z in zip(self.var, self.roots, strict=True)]

    def squared_diagonal(self, var):
        """diag(S^-1 diag(var) S^-1)"""
        image = [[a * x for x in z] for a, z in zip(var, self.roots, strict=True)]
        inner = product(self.roots, image)
        return [
            a / v**2 - 2 * a * dot(z, z) / v + dot(z, [dot(row, z) for row in inner])
            for a, v, z in zip(var, self.var, self.roots, strict=True)
        ]

    def condition(self):
        """Of the covariance scaled to unit diagonal, and the standard deviations."""
        var = [float(v) for v in self.var]
        s = self.stored[2] @ self.stored[2].T + np.diag(var)
        std = np.sqrt(np.diag(s))
        return np.linalg.cond(s / std / std[:, None]), std


def dot(x, y):
    return MP.fdot(list(x), list(y))


def product(x, y):
    """X^T Y as a list of its columns, X and Y given by their rows."""
    width = len(x[0]) if x else 0
    return [
        [dot((row[i] for row in x), (row[j] for row in y)) for i in range(width)]
        for j in range(len(y[0]) if y else 0)
    ]


def standard(d):
    return LowRank(np.zeros(d), np.ones(d))


def low_rank_item(p, q):
    """All results for one pair, as numbers and arrays of MP."""
    with MP.workdps(DIGITS):
        found = pair(p, q)
        found["jeffreys"] = found["kl"] + pair(q, p)["kl"]
        log_2pi = MP.log(2 * MP.pi)
        found["cross_entropy"] = (
            p.dim * log_2pi + q.log_det + found["trace"] + found["mahalanobis"]
        ) / 2
        found["entropy"] = (p.dim * (log_2pi + 1) + p.log_det) / 2
        return found


def pair(p, q):
    delta = [[x - y] for x, y in zip(p.mean, q.mean, strict=True)]
    z = q.solve(delta)
    solved = q.solve(p.factor)
    mahalanobis = MP.fsum(x[0] * y[0] for x, y in zip(delta, z, strict=True))
    trace = MP.fsum(dot(x, y) for x, y in zip(solved, p.factor, strict=True))
    trace += MP.fsum(a * x for a, x in zip(p.var, q.inverse_diagonal(), strict=True))
    logdet = q.log_det - p.log_det
    cov = (trace + logdet - p.dim) / 2
    return {
        "kl": mahalanobis / 2 + cov,
        "mahalanobis": mahalanobis,
        "trace": trace,
        "logdet": logdet,
        "mean_part": mahalanobis / 2,
        "cov_part": cov,
    }


def low_rank_gradients(p, q):
    """d_mean_p, d_factor_p, d_scale_p and those of q, as float64 arrays."""
    with MP.workdps(DIGITS):
        delta = [[x - y] for x, y in zip(p.mean, q.mean, strict=True)]
        z, h_q, solved = q.solve(delta), q.solve(q.factor), q.solve(p.factor)
        d_factor_p = subtract(q.solve(p.factor), p.solve(p.factor))
        d_var_p = [
            (x - y) / 2 for x, y in zip(q.inverse_diagonal(), p.inverse_diagonal(), strict=True)
        ]
        # H = Sq^-1 (Sp + delta delta^T) Sq^-1 - Sq^-1: d/dSq = -H/2
        image = [[a * x for x in row] for a, row in zip(p.var, h_q, strict=True)]
        inner = product(p.factor, h_q)
        image = [
            [x + dot(row, column) for x, column in zip(other, inner, strict=True)]
            for row, other in zip(p.factor, image, strict=True)
        ]
        along = product(z, q.factor)
        d_factor_q = [
            [y - x - u[0] * c[0] for x, y, c in zip(row, own, along, strict=True)]
            for row, own, u in zip(q.solve(image), h_q, z, strict=True)
        ]
        d_var_q = [
            -(x + dot(row, row) + u[0] ** 2 - y) / 2
            for x, row, u, y in zip(
                q.squared_diagonal(p.var), solved, z, q.inverse_diagonal(), strict=True
            )
        ]
        by_scale = [
            [g * slope_of_variance(one.kind, x) for g, x in zip(grad, one.scale, strict=True)]
            for one, grad in ((p, d_var_p), (q, d_var_q))
        ]
    z = to_array(z)[:, 0]
    return {
        "d_mean_p": z,
        "d_factor_p": to_array(d_factor_p).reshape(p.dim, p.rank),
        "d_scale_p": to_array([by_scale[0]])[0],
        "d_mean_q": -z,
        "d_factor_q": to_array(d_factor_q).reshape(p.dim, q.rank),
        "d_scale_q": to_array([by_scale[1]])[0],
    }


def subtract(x, y):
    return [[a - b for a, b in zip(s, t, strict=True)] for s, t in zip(x, y, strict=True)]


def to_array(rows):
    return np.array([[float(x) if abs(x) > NOTHING else 0.0 for x in row] for row in rows])


def families(rng, d, r, s):
    """Names and pairs (mean_p, factor_p, var_p, mean_q, factor_q, var_q) to try."""
    mean, far = rng.normal(size=(2, d))
    v, w = np.exp(rng.normal(size=(2, d)))
    f, g = rng.normal(size=(d, r)), rng.normal(size=(d, s))
    same = np.zeros((d, r))  # g as a factor of rank r
    same[:, : min(r, s)] = g[:, : min(r, s)]
    c = np.exp(rng.uniform(-11.5, 11.5, size=d))
    mixed = np.exp(rng.uniform(-14, 0, size=d))
    yield "unrelated", (far, f, v, mean, g, w)
    yield "small v", (far, f, v * 1e-4, mean, g, w * 1e-4)
    yield "p << q", (mean, f * 1e-3, v * 1e-6, mean, g, w)
    yield "p >> q", (mean, f * 1e3, v * 1e6, mean, g, w)
    yield "p = q/1e6", (mean, same * 1e-3, w * 1e-6, mean, g, w)
    yield "scaled rows", (far * c, f * c[:, None], v * c * c, mean * c, g * c[:, None], w * c * c)
    for e in 10.0 ** -np.arange(1, 9):
        near_f = same * (1 + e * rng.normal(size=(d, r)))
        near_w = w * (1 + e * rng.normal(size=d))
        near_m = mean * (1 + e * rng.normal(size=d))
        yield f"near {e:.0e}", (near_m, near_f, near_w, mean, g, w)
        yield f"F near {e:.0e}", (mean, near_f, w, mean, g, w)
        yield f"v near {e:.0e}", (mean, same, near_w, mean, g, w)
        yield f"near, small v {e:.0e}", (mean, near_f, near_w * 1e-4, mean, g, w * 1e-4)
        yield f"v near, small {e:.0e}", (mean, same, near_w * 1e-4, mean, g, w * 1e-4)
        yield f"near, mixed v {e:.0e}", (mean, near_f, near_w * mixed, mean, g, w * mixed)
        yield f"near, small F {e:.0e}", (mean, near_f * 1e-5, near_w, mean, g * 1e-5, w)
        scaled = (near_f * c[:, None], near_w * c * c, mean * c, g * c[:, None], w * c * c)
        yield f"near, scaled rows {e:.0e}", (mean * c, *scaled)
