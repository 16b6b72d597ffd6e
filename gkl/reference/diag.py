# SPDX-License-Identifier: BSD-3-Clause
"""The twins of diagonal Gaussians.

For p = N(mean_p, v_p) and q = N(mean_q, v_q), in every dimension::

    delta = mean_p - mean_q      m = delta^2 / v_q
    u = v_p / v_q - 1            y = log(v_p / v_q)
    KL(p || q) = m/2 + (u - y)/2

Whatever parameter carries the scale, u and y come from the difference of the parameters. The
compiled kernels go one step further: there u - y is a function of its own, so that nothing
cancels when p is close to q; here it is a subtraction.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gkl.reference.parts import (
    ENTROPY,
    KULLBACK,
    LOG_2PI,
    PARAMETERS,
    Array,
    Function,
    Result,
    gradient_of,
)


class Kind(NamedTuple):
    """A parameter that carries the scale; in its texts, {p}, {q} and {x} are such parameters."""

    unit: int  # its value in N(0, I)
    mahalanobis: tuple[Callable[[Array, Array], tuple[Array, Array]], str]  # delta, x; m, delta/v
    relate: tuple[Callable[[Array, Array], tuple[Array, Array]], str]  # x_p, x_q; u, y
    per_scale: tuple[Callable[[Array, Array], Array], str]  # g, x; g / (2 v) dv/dx


def _m_var(delta: Array, v: Array) -> tuple[Array, Array]:
    slope = delta / v
    return delta * slope, slope


def _m_std(delta: Array, s: Array) -> tuple[Array, Array]:
    z = delta / s
    return z * z, z / s


def _m_logvar(delta: Array, logvar: Array) -> tuple[Array, Array]:
    w = np.exp(-logvar / 2)
    z = delta * w
    return z * z, z * w


def _relate_var(p: Array, q: Array) -> tuple[Array, Array]:
    u = (p - q) / q
    # far from 1 the ratio may be out of range, or u = -1; its logarithm is neither
    return u, np.where(np.abs(u) < 0.5, np.log1p(u), np.log(p) - np.log(q))


def _relate_std(p: Array, q: Array) -> tuple[Array, Array]:
    t, y = _relate_var(p, q)
    return t * (2 + t), 2 * y


def _relate_logvar(p: Array, q: Array) -> tuple[Array, Array]:
    y = p - q
    return np.expm1(y), y


KINDS = {
    "var": Kind(
        1,
        (_m_var, "delta^2 / {x}"),
        (_relate_var, "u = ({p} - {q}) / {q},  y = log1p(u)"),
        (lambda g, v: g / (2 * v), "{g} / (2 {x})"),
    ),
    "std": Kind(
        1,
        (_m_std, "(delta / {x})^2"),
        (_relate_std, "t = ({p} - {q}) / {q},  u = t (2 + t),  y = 2 log1p(t)"),
        (lambda g, s: g / s, "{g} / {x}"),
    ),
    "logvar": Kind(
        0,
        (_m_logvar, "(delta exp(-{x} / 2))^2"),
        (_relate_logvar, "y = {p} - {q},  u = expm1(y)"),
        (lambda g, logvar: g / 2, "{g} / 2"),
    ),
}
PAIRS: dict[str, tuple[str, str | None]] = {
    f"diag_{p}" if p == q else f"diag_{p}_{q}": (p, q) for p, q in itertools.product(KINDS, KINDS)
}
PAIRS |= {f"unit_{p}": (p, None) for p in KINDS}
SINGLES = {f"diag_{p}": p for p in KINDS}

CONVERSIONS: dict[tuple[str, str], tuple[Callable[[Array], Array], str]] = {
    ("std", "var"): (np.square, "{x}^2"),
    ("var", "logvar"): (np.log, "log({x})"),
    ("std", "logvar"): (lambda s: 2 * np.log(s), "2 log({x})"),
}


def _common(*kinds: str) -> str:
    """The kind in which two parameters are compared."""
    return kinds[0] if len(set(kinds)) == 1 else "logvar" if "logvar" in kinds else "var"


class Item:
    """p and q in every dimension; what is not asked for is not computed."""

    def __init__(self, kinds: tuple[str, str], *four: Array) -> None:
        mean_p, scale_p, mean_q, scale_q = four
        self.kinds, self.scales, self.delta = kinds, (scale_p, scale_q), mean_p - mean_q

    def as_kind(self, side: int, to: str) -> Array:
        kind, x = self.kinds[side], self.scales[side]
        return x if kind == to else CONVERSIONS[kind, to][0](x)

    def mahalanobis(self, side: int) -> tuple[Array, Array]:
        return KINDS[self.kinds[side]].mahalanobis[0](self.delta, self.scales[side])

    def per_scale(self, side: int, g: Array) -> Array:
        return KINDS[self.kinds[side]].per_scale[0](g, self.scales[side])

    @functools.cached_property
    def relation(self) -> tuple[Array, Array]:
        to = _common(*self.kinds)
        return KINDS[to].relate[0](self.as_kind(0, to), self.as_kind(1, to))

    @functools.cached_property
    def mahalanobis_q(self) -> tuple[Array, Array]:
        return self.mahalanobis(1)

    @property
    def u(self) -> Array:
        return self.relation[0]

    @property
    def y(self) -> Array:
        return self.relation[1]

    @property
    def m(self) -> Array:
        return self.mahalanobis_q[0]

    @property
    def slope(self) -> Array:
        return self.mahalanobis_q[1]


RESULTS = {
    "kl": Result(lambda i: (i.m + (i.u - i.y)) / 2, "(m + u - y) / 2", "KL(p || q), in nats"),
    "kl_per_dim": Result(lambda i: (i.m + (i.u - i.y)) / 2, "(m + u - y) / 2",
                         "KL(p || q) of each dimension, in nats"),
    "mahalanobis": Result(lambda i: i.m, "m", "Sum of delta^2 / v_q, a pure number"),
    "trace": Result(lambda i: 1 + i.u, "(1 + u)", "Sum of v_p / v_q, a pure number"),
    "logdet": Result(lambda i: -i.y, "-y", "Sum of log(v_q / v_p), in nats"),
    "mean_part": Result(lambda i: i.m / 2, "m / 2", "Share of the means, in nats"),
    "cov_part": Result(lambda i: (i.u - i.y) / 2, "(u - y) / 2", "Share of the scales, in nats"),
    "jeffreys": Result(
        lambda i: 2 * np.sinh(i.y / 2) ** 2 + (i.m + i.mahalanobis(0)[0]) / 2,
        "2 sinh(y / 2)^2 + (m + delta^2 / v_p) / 2", "KL(p || q) + KL(q || p), in nats",
    ),
    "cross_entropy": Result(
        lambda i: (LOG_2PI + i.as_kind(1, "logvar") + (1 + i.u) + i.m) / 2,
        "(log(2 pi) + log(v_q) + 1 + u + m) / 2", "Mean of -log q under p, in nats",
    ),
    "entropy": Result(
        lambda i: (LOG_2PI + i.as_kind(0, "logvar") + 1) / 2,
        "(log(2 pi) + log(v_p) + 1) / 2", "Mean of -log p under p, in nats",
    ),
}  # fmt: skip

# of a mean, and of a scale as Kind.per_scale takes it
GRADIENTS: dict[tuple[bool, str], tuple[Callable[[Item], Array], str]] = {
    (True, "p"): (lambda i: i.slope, "delta / v_q"),
    (True, "q"): (lambda i: -i.slope, "-delta / v_q"),
    (False, "p"): (lambda i: i.u, "u"),
    (False, "q"): (lambda i: -(i.u + i.m), "-(u + m)"),
}

_RELATIVE = "Within 4 eps of the exact result, relatively, also where p is close to q."
ACCURACY = {
    "relative": _RELATIVE,
    "gradients": f"{_RELATIVE} The derivative by q's scale: relatively to |u| + m in place of "
    "|u + m|.",
    "summands": "Within 4 eps of the exact result, relatively to the sum of the absolute "
    "summands.",
    "jeffreys": "Within 6 eps of the exact result, relatively, also where p is close to q.",
}
_MIXED = """ \
One parameter is converted to be compared with the other, and rounded: in each dimension the bound
is 1 + 1/|u| times that, which matters where p is close to q; where u is less than eps, what a
change of the log-variance by eps makes."""
_2014 = "D. P. Kingma and M. Welling, Auto-encoding variational Bayes, 2014, appendix B"
INTRODUCTION = "In every dimension, with the variances v_p and v_q; sums go over dimensions::"


def compute(function: Function, arrays: Sequence[Array]) -> list[Array]:
    """The results; NaN where they are undefined."""
    arrays = np.broadcast_arrays(*arrays)
    dtype = arrays[0].dtype
    kinds = function.p, function.q or function.p
    zero, one = dtype.type(0), dtype.type(KINDS[kinds[1]].unit)
    four = (zero, arrays[0]) if function.output is ENTROPY else tuple(arrays)
    item = Item(kinds, *(*four, zero, one)[:4])
    bad = np.zeros(arrays[0].shape, bool)
    for name, x in zip(function.parameters, arrays, strict=True):
        bad |= ~np.isfinite(x) | ((x <= 0) & PARAMETERS[name[:-2]].positive)

    found = []
    for name in function.results:
        gradient = gradient_of(name)
        if gradient:
            is_mean, side = gradient[0] == "mean", gradient[1]
            x = GRADIENTS[is_mean, side][0](item)
            x = x if is_mean else item.per_scale("pq".index(side), x)
        else:
            x = RESULTS[name].compute(item)
        if gradient or name == "kl_per_dim":  # there only the bad dimensions are lost
            at = bad if name == "kl_per_dim" else bad.any(axis=-1, keepdims=True)
            found.append(np.where(at, dtype.type(np.nan), x))
        else:
            found.append(np.where(bad.any(axis=-1), dtype.type(np.nan), x.sum(axis=-1)))
    return found


def formulas(function: Function) -> list[str]:
    """A line of text for everything that is computed."""
    p, q = function.p, function.q or function.p
    to, lines = _common(p, q), []
    if function.output is not ENTROPY:
        if function.q is None:
            lines += [f"mean_q = 0,  {q}_q = {KINDS[q].unit}"]
        lines += ["delta = mean_p - mean_q,  m = " + KINDS[q].mahalanobis[1].format(x=f"{q}_q")]
        lines += [f"{to}_{side} = " + CONVERSIONS[kind, to][1].format(x=f"{kind}_{side}")
                  for kind, side in ((p, "p"), (q, "q")) if kind != to]  # fmt: skip
        lines += [KINDS[to].relate[1].format(p=f"{to}_p", q=f"{to}_q")]
    for result in function.results:
        gradient = gradient_of(result)
        if gradient:
            kind, side = gradient
            formula = GRADIENTS[kind == "mean", side][1]
            if kind != "mean":
                formula = KINDS[kind].per_scale[1].format(g=formula, x=result[2:])
        else:
            formula = "sum " * (result != "kl_per_dim") + RESULTS[result].formula
        lines += [f"{result} = {formula}"]
    return lines


def subject(function: Function) -> str:
    """Whose divergence it is."""
    by = f"p by {function.p}, q by {function.q}" if function.mixed else f"by {function.p}"
    return f"diagonal Gaussians, {by}"


def source(function: Function) -> str:
    """Who found it."""
    unit = function.q is None and function.output.source is KULLBACK
    return _2014 if unit else function.output.source


def accuracy(function: Function) -> str:
    """What is promised of the gufunc."""
    logs = "logvar" in (function.p, function.q)
    return ACCURACY[function.output.accuracy] + _MIXED * (function.mixed and logs)


def bad(function: Function) -> str:
    """What makes an item undefined, besides NaN and infinity."""
    positive = {function.p, function.q or function.p} != {"logvar"}
    return ", or with a scale that is not positive," * positive
