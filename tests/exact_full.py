# SPDX-License-Identifier: BSD-3-Clause
"""The exact oracle of full covariances, for the numbers as they are stored.

`item` is the oracle itself: mpmath with 60 digits beyond what cancels, straight from the closed
form of the densities. `Wide` gives the same in ``np.longdouble`` (64 bits or more) for matrices of
any size, from E = Sp - Sq, which is formed first; its error is that of its type times the
condition numbers, which test_full_accuracy.py checks against `item`.
"""

import functools

import mpmath
import numpy as np
from exact import LOG_2PI, WIDE, phi

MP = mpmath.mp.clone()
MP.dps = 100
DIAGONAL = {"var": lambda x: x, "std": lambda x: x * x, "logvar": lambda x: type(x)(0) + exp(x)}
RESULTS = ["kl", "mahalanobis", "trace", "logdet", "mean_part", "cov_part", "jeffreys"]


def exp(x):
    return MP.exp(x) if isinstance(x, MP.mpf) else np.exp(x)


def symmetric(x):
    """From the lower triangle."""
    return np.tril(x) + np.tril(x, -1).T


def cholesky(s):
    """The lower factor, for numbers of any type."""
    n = len(s)
    root = np.zeros_like(s)
    for k in range(n):
        column = s[k:, k] - (root[k:, :k] @ root[k, :k] if k else 0)
        first = MP.sqrt(column[0]) if isinstance(column[0], MP.mpf) else np.sqrt(column[0])
        root[k:, k] = column / first
    return root


def solve_lower(root, b):
    x = np.zeros_like(b)
    for k in range(len(root)):
        x[k] = (b[k] - (root[k, :k] @ x[:k] if k else 0)) / root[k, k]
    return x


def inverse(s):
    one = np.zeros_like(s) + np.eye(len(s), dtype=int) * (s[:1, :1] * 0 + 1)
    root = solve_lower(cholesky(s), one)
    return root.T @ root


def covariance(kind, scale, d):
    """Of numbers of either type: object arrays of mpf, or wide ones."""
    if kind is None:
        return np.eye(d, dtype=int) * (scale * 0 + 1)
    if kind in DIAGONAL:
        return np.array([DIAGONAL[kind](x) for x in scale]) * np.eye(d, dtype=int)
    if kind == "tril":
        return np.tril(scale) @ np.tril(scale).T
    return symmetric(scale) if kind == "cov" else inverse(symmetric(scale))


def to_parameter(kind, scale, s, g):
    """The gradient in a parameter from that in the covariance, dKL = sum_ij g_ij dS_ij."""
    if kind in DIAGONAL:
        g = np.diagonal(g)
        return {"var": g, "std": 2 * g * scale, "logvar": g * np.diagonal(s)}[kind]
    return {"cov": lambda: g, "tril": lambda: np.tril(2 * g @ np.tril(scale)),
            "precision": lambda: -s @ g @ s}[kind]()  # fmt: skip


def as_mp(x):
    return np.vectorize(
        lambda y: y if isinstance(y, MP.mpf) else MP.mpf(float(y)), otypes=[object]
    )(np.asarray(x))


def item(kind_p, mean_p, scale_p, kind_q, mean_q, scale_q):
    """All results for one pair, of mpf; kind_q None: N(0, I)."""
    mean_p, scale_p = as_mp(mean_p), as_mp(scale_p)
    d, zero = len(mean_p), MP.mpf(0)
    mean_q = mean_p * 0 if kind_q is None else as_mp(mean_q)
    scale_q = zero if kind_q is None else as_mp(scale_q)
    s_p, s_q = covariance(kind_p, scale_p, d), covariance(kind_q, scale_q, d)
    inverse_p, inverse_q = inverse(s_p), inverse(s_q)
    log_p, log_q = (2 * sum(MP.log(x) for x in np.diagonal(cholesky(s))) for s in (s_p, s_q))
    delta = mean_p - mean_q
    z = inverse_q @ delta
    found = {
        "mahalanobis": delta @ z,
        "trace": np.trace(inverse_q @ s_p),
        "logdet": log_q - log_p,
    }
    found["mean_part"] = found["mahalanobis"] / 2
    found["cov_part"] = (found["trace"] + found["logdet"] - d) / 2
    found["kl"] = found["mean_part"] + found["cov_part"]
    back = np.trace(inverse_p @ s_q) - d + delta @ inverse_p @ delta - found["logdet"]
    found["jeffreys"] = found["kl"] + back / 2
    constant = d * MP.log(2 * MP.pi)
    found["entropy"] = (constant + d + log_p) / 2
    found["cross_entropy"] = found["kl"] + found["entropy"]
    g_q = (inverse_q - inverse_q @ (s_p + np.outer(delta, delta)) @ inverse_q) / 2
    found["d_mean_p"], found["d_mean_q"] = z, -z
    found["d_scale_p"] = to_parameter(kind_p, scale_p, s_p, (inverse_q - inverse_p) / 2)
    if kind_q is not None:
        found["d_scale_q"] = to_parameter(kind_q, scale_q, s_q, g_q)
    return found


class Wide:
    """The results for one pair in extended precision: ``Wide(...)["kl"]``."""

    def __init__(self, kind_p, mean_p, scale_p, kind_q, mean_q, scale_q):
        self.kinds = kind_p, kind_q
        mean_p, scale_p = (np.asarray(x).astype(WIDE) for x in (mean_p, scale_p))
        self.d = len(mean_p)
        if kind_q is None:
            mean_q, scale_q = np.zeros(self.d), WIDE(0)
        self.scales = scale_p, np.asarray(scale_q).astype(WIDE)
        self.delta = mean_p - np.asarray(mean_q).astype(WIDE)
        self.s = [covariance(k, x, self.d) for k, x in zip(self.kinds, self.scales, strict=True)]
        self.precisions = self.kinds == ("precision", "precision")

    @functools.cached_property
    def inverse(self):
        return [
            symmetric(x) if kind == "precision" else inverse(s)
            for kind, x, s in zip(self.kinds, self.scales, self.s, strict=True)
        ]

    @functools.cached_property
    def e(self):
        """Sp - Sq, from the difference of what is stored where that is the same parameter."""
        if self.kinds in (("tril", "tril"), ("tril", None)):
            l_p = np.tril(self.scales[0])
            l_q = np.tril(self.scales[1]) if self.kinds[1] else np.eye(self.d)
            half = (l_p - l_q) @ (l_p + l_q).T / 2
            return half + half.T
        if self.precisions:
            return self.s[0] @ (symmetric(self.scales[1]) - symmetric(self.scales[0])) @ self.s[1]
        return self.s[0] - self.s[1]

    @functools.cached_property
    def pivots(self):
        """u_k = w_kk^2 - 1 of W = Lq^-1 Lp, w_kk^2, and the sum of the squares below it: from E
        where that is small against Sq, as the elimination of E fails for Sp << Sq."""
        a, b, e = self.s[0], self.s[1], self.e
        if self.kinds == ("tril", "tril"):
            l_p, l_q = (np.tril(x) for x in self.scales)
            x = solve_lower(l_q, l_p - l_q)
            u = np.diagonal(x) * (2 + np.diagonal(x))
            return u, (np.diagonal(l_p) / np.diagonal(l_q)) ** 2, (np.tril(x, -1) ** 2).sum()
        if self.precisions:  # the same function of (Sq^-1, Sp^-1)
            a, b = self.inverse[1], self.inverse[0]
            e = symmetric(self.scales[1]) - symmetric(self.scales[0])
        root = cholesky(b)
        m = solve_lower(root, solve_lower(root, e).T)
        if np.abs(m).max() > 0.3:
            w = solve_lower(root, cholesky(a))
            ratio = np.diagonal(w) ** 2
            return ratio - 1, ratio, (np.tril(w, -1) ** 2).sum()
        v, u = np.zeros_like(m), np.zeros_like(m)
        for k in range(self.d):
            v[k:, k] = m[k:, k] - (v[k:, :k] @ u[k, :k] if k else 0)
            u[k + 1 :, k] = v[k + 1 :, k] / (1 + v[k, k])
        pivots = np.diagonal(v)
        return pivots, 1 + pivots, (np.tril(v, -1) * u).sum()

    def __getitem__(self, name):
        return getattr(self, name)

    @functools.cached_property
    def z(self):
        return self.inverse[1] @ self.delta

    @functools.cached_property
    def logs(self):
        u, ratio, _ = self.pivots
        return np.where(np.abs(u) < 0.5, np.log1p(np.maximum(u, -0.5)), np.log(ratio))

    @functools.cached_property
    def cov_part(self):
        u, _, rest = self.pivots
        phis = np.where(np.abs(u) < 0.1, phi(np.maximum(u, -0.5)), u - self.logs)
        return (phis.sum() + rest) / 2

    mahalanobis = functools.cached_property(lambda self: self.delta @ self.z)
    trace = functools.cached_property(lambda self: self.pivots[1].sum() + self.pivots[2])
    logdet = functools.cached_property(lambda self: -self.logs.sum())
    logdet_size = functools.cached_property(lambda self: np.abs(self.logs).sum())
    mean_part = functools.cached_property(lambda self: self.mahalanobis / 2)
    kl = functools.cached_property(lambda self: self.mean_part + self.cov_part)
    d_mean_p = functools.cached_property(lambda self: self.z)
    d_mean_q = functools.cached_property(lambda self: -self.z)

    @functools.cached_property
    def jeffreys(self):
        back = self.delta @ self.inverse[0] @ self.delta
        product = self.inverse[1] @ self.e @ self.inverse[0]
        return ((product * self.e).sum() + self.mahalanobis + back) / 2

    @functools.cached_property
    def log_diagonals(self):
        """Of p's and q's Cholesky factors."""
        return [np.log(np.diagonal(cholesky(s))) for s in self.s]

    @functools.cached_property
    def entropy(self):
        return self.d * (1 + LOG_2PI) / 2 + self.log_diagonals[0].sum()

    @functools.cached_property
    def cross_entropy(self):
        squares = (self.trace + self.mahalanobis) / 2
        return self.d * LOG_2PI / 2 + self.log_diagonals[1].sum() + squares

    # in the covariance Sq^-1 E Sp^-1 / 2 and -Sq^-1 (E + delta delta^T) Sq^-1 / 2, times what
    # belongs to the parameter: multiplying by the inverse and then by the matrix would lose digits
    @functools.cached_property
    def d_scale_p(self):
        return self.by_parameter(0, self.inverse[1] @ self.e, self.inverse[0])

    @functools.cached_property
    def d_scale_q(self):
        inside = -self.e - np.outer(self.delta, self.delta)
        if self.kinds[1] == "precision":
            return -inside / 2
        return self.by_parameter(1, self.inverse[1] @ inside, self.inverse[1])

    @functools.cached_property
    def term_q(self):
        """The first of the two terms of d_scale_q (of d_scale_p for precisions), Sq^-1 / 2."""
        if self.precisions:
            return self.s[0] / 2
        if self.kinds[1] == "tril":
            return solve_lower(np.tril(self.scales[1]), np.eye(self.d, dtype=WIDE)).T
        return to_parameter(self.kinds[1], self.scales[1], self.s[1], self.inverse[1] / 2)

    @functools.cached_property
    def far(self):
        return np.abs(self.inverse[1] * np.abs(self.e)).max() > 0.05

    def by_parameter(self, side, left, right):
        kind, scale, s = self.kinds[side], self.scales[side], self.s[side]
        if kind == "tril":
            root = np.tril(scale)
            return np.tril(left @ solve_lower(root, np.eye(self.d, dtype=WIDE)).T)
        g = -s @ left if kind == "precision" else left @ right
        g = (g + g.T) / 4
        return g if kind == "precision" else to_parameter(kind, scale, s, g)

    @functools.cached_property
    def conditions(self):
        """kp, kq: of the covariances scaled to unit diagonal."""
        return [condition(s) for s in self.s]


def condition(s):
    s = np.asarray(s, float)
    root = np.sqrt(np.diagonal(s))
    return np.linalg.cond(s / root / root[:, None])
