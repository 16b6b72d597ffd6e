# SPDX-License-Identifier: BSD-3-Clause
"""The exact oracle: what every function should give for the numbers as they are stored.

`item` is the oracle itself: mpmath with 60 digits beyond what cancels, straight from the closed
forms of the densities, one pair of univariate Gaussians at a time.

`Wide` gives the same for whole arrays, in the extended precision of ``np.longdouble`` (64 bits or
more, exponents far beyond those of double), where the difference of the parameters has to come
first; its error is below `WIDE_ERROR`, relatively, which test_accuracy.py
checks against `item`.
"""

import functools

import mpmath
import numpy as np

MP = mpmath.mp.clone()
MP.dps = 60
WIDE = np.longdouble
HAS_WIDE = np.finfo(WIDE).nmant >= 63
WIDE_ERROR = 2.0**-58


def variance(kind, x):
    return {"var": lambda: x, "std": lambda: x * x, "logvar": lambda: MP.exp(x)}[kind]()


def slope_of_variance(kind, x):
    return {"var": lambda: MP.mpf(1), "std": lambda: 2 * x, "logvar": lambda: MP.exp(x)}[kind]()


def divergence(mean_p, v_p, mean_q, v_q):
    """KL between two univariate Gaussians, to the digits of MP less those that cancel."""
    return (MP.log(v_q / v_p) + v_p / v_q - 1 + (mean_p - mean_q) ** 2 / v_q) / 2


def entropy(v):
    return MP.log(2 * MP.pi * MP.e * v) / 2


def log_variance(kind, x):
    return x if kind == "logvar" else MP.log(x) * (2 if kind == "std" else 1)


def whitened(kind, delta, x):
    """What is formed of delta on the way to delta^2 / v."""
    return delta / {"var": lambda: x, "std": lambda: x, "logvar": lambda: MP.exp(x / 2)}[kind]()


def cancels(kind_p, scale_p, kind_q, scale_q):
    """Digits that the closed form loses: KL is about y^2/4 near y = log v_p/v_q = 0."""
    y = log_variance(kind_p, scale_p) - log_variance(kind_q, scale_q)
    return 0 if y == 0 or abs(y) > 1 else int(2 - 2 * MP.log10(abs(y)))


def item(kind_p, mean_p, scale_p, kind_q=None, mean_q=0.0, scale_q=None):
    """All results for one dimension, as a dict of mpf. Without kind_q, q is N(0, 1)."""
    if kind_q is None:
        kind_q, scale_q = kind_p, kind_p != "logvar"
    mean_p, scale_p, mean_q, scale_q = (
        MP.mpf(float(x)) for x in (mean_p, scale_p, mean_q, scale_q)
    )
    with MP.workdps(MP.dps + cancels(kind_p, scale_p, kind_q, scale_q)):
        v_p, v_q = variance(kind_p, scale_p), variance(kind_q, scale_q)
        delta = mean_p - mean_q
        kl = divergence(mean_p, v_p, mean_q, v_q)
        d_v_p = (1 / v_q - 1 / v_p) / 2
        d_v_q = (1 - v_p / v_q - delta**2 / v_q) / v_q / 2
        return {
            "delta": delta,
            "whitened": whitened(kind_q, delta, scale_q),
            "whitened_p": whitened(kind_p, delta, scale_p),
            "kl": kl,
            "kl_per_dim": kl,
            "d_mean_p": delta / v_q,
            "d_scale_p": d_v_p * slope_of_variance(kind_p, scale_p),
            "d_mean_q": -delta / v_q,
            "d_scale_q": d_v_q * slope_of_variance(kind_q, scale_q),
            "mahalanobis": delta**2 / v_q,
            "trace": v_p / v_q,
            "logdet": MP.log(v_q / v_p),
            "mean_part": delta**2 / v_q / 2,
            "cov_part": divergence(MP.zero, v_p, MP.zero, v_q),
            "jeffreys": kl + divergence(mean_q, v_q, mean_p, v_p),
            "cross_entropy": (MP.log(2 * MP.pi * v_q) + (v_p + delta**2) / v_q) / 2,
            "entropy": entropy(v_p),
        }


def two_sum(a, b):
    """a + b exactly, as high and low (Knuth)."""
    high = a + b
    c = high - a
    return high, (a - (high - c)) + (b - c)


def square(s):
    """s^2 exactly, as high and low (Dekker), for s of no more than 53 bits."""
    c = s * (WIDE(2) ** 32 + 1)
    a = c - (c - s)
    b = s - a
    high = s * s
    return high, ((a * a - high) + 2 * a * b) + b * b


def phi(u):
    """u - log1p(u) in extended precision: its series near 0."""
    near = np.abs(u) < 0.1
    x, series = np.where(near, u, 0), WIDE(0)
    for k in range(24, 1, -1):  # sum of (-u)^k / k
        series = 1 / WIDE(k) - x * series
    return np.where(near, x * x * series, u - np.log1p(np.where(near, 0, u)))


class Wide:
    """The results for arrays of Gaussians, by dimension: ``Wide(...)["kl"]``.

    ``unit(name)`` is what the error of a result is measured by: the result itself except for
    d_scale_q and cross-entropies, which are sums of terms of both signs. Where a log-variance
    meets another parameter, one of the two is rounded once, which moves u by a multiple of eps:
    the unit is 1 + 1/|u| times that, and as much as eps moves it where u is less than eps.
    """

    def __init__(self, kind_p, mean_p, scale_p, kind_q=None, mean_q=0.0, scale_q=None):
        if kind_q is None:
            kind_q, scale_q = kind_p, kind_p != "logvar"
        self.kinds = kind_p, kind_q
        self.rounded = kind_p != kind_q and "logvar" in self.kinds
        self.found = {}
        self.eps = np.finfo(np.result_type(np.float32, mean_p)).eps
        wide = [np.asarray(x).astype(WIDE) for x in (mean_p, scale_p, mean_q, scale_q)]
        self.mean_p, self.scale_p, self.mean_q, self.scale_q = np.broadcast_arrays(*wide)

    def variance(self, kind, x):
        return {"var": lambda: x, "std": lambda: x * x, "logvar": lambda: np.exp(x)}[kind]()

    v_p = functools.cached_property(lambda self: self.variance(self.kinds[0], self.scale_p))
    v_q = functools.cached_property(lambda self: self.variance(self.kinds[1], self.scale_q))
    delta = functools.cached_property(lambda self: self.mean_p - self.mean_q)
    m = functools.cached_property(lambda self: self.delta * (self.delta / self.v_q))
    m_p = functools.cached_property(lambda self: self.delta * (self.delta / self.v_p))

    @functools.cached_property
    def r(self):
        """v_p / v_q."""
        if self.kinds == ("logvar", "logvar"):
            high, low = two_sum(self.scale_p, -self.scale_q)
            return np.exp(high) * (1 + low)
        return self.v_p / self.v_q

    @functools.cached_property
    def u(self):
        """v_p / v_q - 1, the difference of the parameters first."""
        p, q = self.scale_p, self.scale_q
        if self.kinds == ("var", "var"):
            return (p - q) / q
        if self.kinds == ("std", "std"):
            return ((p - q) / q) * ((p + q) / q)
        if self.kinds == ("var", "std"):
            high, low = square(q)
            return ((p - high) - low) / high
        if self.kinds == ("std", "var"):
            high, low = square(p)
            return ((high - q) + low) / q
        if self.kinds == ("logvar", "logvar"):
            high, low = two_sum(p, -q)
            return np.expm1(high) + np.exp(high) * low
        return self.r - 1

    @functools.cached_property
    def y(self):
        """log v_p / v_q."""
        if self.kinds == ("logvar", "logvar"):
            return self.scale_p - self.scale_q
        near = np.abs(self.u) < 0.5
        return np.where(near, np.log1p(np.where(near, self.u, 0)), np.log(self.r))

    @functools.cached_property
    def c(self):
        """The part of the variances."""
        near = np.abs(self.u) < 0.1
        return np.where(near, phi(np.where(near, self.u, 0)), self.u - self.y) / 2

    def log_variance(self, side):
        kind, x = self.kinds[side], (self.scale_p, self.scale_q)[side]
        return x if kind == "logvar" else np.log(x) * (2 if kind == "std" else 1)

    def by_scale(self, side, g):
        """g / (2 v) dv/dscale"""
        kind, x = self.kinds[side], (self.scale_p, self.scale_q)[side]
        return g / {"var": 2 * x, "std": x, "logvar": WIDE(2)}[kind]

    def __getitem__(self, name):
        return self.once(name, self.result)

    def unit(self, name):
        return self.once(("unit", name), lambda _: self.unit_of(name))

    def once(self, key, compute):
        if key not in self.found:
            with np.errstate(all="ignore"):  # out of range here is out of range in gkl, too
                self.found[key] = compute(key)
        return self.found[key]

    def result(self, name):
        return {
            "kl": lambda: self.m / 2 + self.c,
            "kl_per_dim": lambda: self.m / 2 + self.c,
            "d_mean_p": lambda: self.delta / self.v_q,
            "d_scale_p": lambda: self.by_scale(0, self.u),
            "d_mean_q": lambda: -self.delta / self.v_q,
            "d_scale_q": lambda: self.by_scale(1, -(self.u + self.m)),
            "mahalanobis": lambda: self.m,
            "trace": lambda: self.r,
            "logdet": lambda: -self.y,
            "mean_part": lambda: self.m / 2,
            "cov_part": lambda: self.c,
            "jeffreys": lambda: self.u * (self.u / self.r) / 2 + (self.m + self.m_p) / 2,
            "cross_entropy": lambda: (LOG_2PI + self.log_variance(1) + self.r + self.m) / 2,
            "entropy": lambda: (LOG_2PI + self.log_variance(0) + 1) / 2,
        }[name]()

    def unit_of(self, name):
        u, more = np.abs(self.u), float(self.rounded)
        c = self.c + more * (self.c / np.where(u == 0, 1, u) + self.eps)
        y = np.abs(self.y) + more
        j = u * (u / self.r) / 2
        j = j + more * (j / np.where(u == 0, 1, u) + self.eps)
        log_p, log_q = (np.abs(self.log_variance(side)) for side in (0, 1))
        return {
            "kl": lambda: self.m / 2 + c,
            "kl_per_dim": lambda: self.m / 2 + c,
            "cov_part": lambda: c,
            "d_scale_p": lambda: self.by_scale(0, u + more),
            "d_scale_q": lambda: self.by_scale(1, u + more + self.m),
            "logdet": lambda: y,
            "jeffreys": lambda: j + (self.m + self.m_p) / 2,
            "cross_entropy": lambda: (LOG_2PI + log_q + self.r + self.m) / 2,
            "entropy": lambda: (LOG_2PI + log_p + 1) / 2,
        }.get(name, lambda: np.abs(self[name]))()


def to_wide(x):
    """An mpf in extended precision; what is out of its range becomes 0 or inf."""
    mantissa, exponent = MP.frexp(x)
    if mantissa == 0 or abs(exponent) > 20000:
        return WIDE(0) if mantissa == 0 or exponent < 0 else WIDE(np.inf) * int(MP.sign(x))
    high = float(mantissa)
    return np.ldexp(WIDE(high) + WIDE(float(mantissa - high)), int(exponent))


LOG_2PI = to_wide(MP.log(2 * MP.pi))
