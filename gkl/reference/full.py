# SPDX-License-Identifier: BSD-3-Clause
"""The twins of all pairs with a full or a low-rank covariance: through d x d matrices.

With the covariances S_p and S_q and their lower Cholesky factors L_p and L_q::

    delta = mean_p - mean_q      W = L_q^-1 L_p      y = L_q^-1 delta
    KL(p || q) = sum_k (w_kk^2 - 1 - log(w_kk^2)) / 2 + sum_{i>k} w_ik^2 / 2 + |y|^2 / 2

No trace is subtracted from d, and every summand is at least 0.  The compiled kernels go further:
near p = q they carry W - I; a low rank never becomes a d x d matrix; precisions are not inverted.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from gkl.reference.matrices import (
    cholesky,
    diag,
    diagonal,
    inverse,
    solve,
    square,
    symmetric,
    transpose,
)
from gkl.reference.parts import (
    ENTROPY,
    KINDS,
    KULLBACK,
    LOG_2PI,
    PARAMETERS,
    Array,
    Function,
    Result,
    core_ndim,
    gradient_of,
)

_DIAGONAL, _FULL = ("var", "std", "logvar"), ("cov", "tril", "precision")
PAIRS: dict[str, tuple[str, str | None]] = {
    f"full_{p}" if p == q else f"full_{p}_{q}": (p, q) for p, q in itertools.product(_FULL, _FULL)
}
PAIRS |= {f"unit_{p}": (p, None) for p in _FULL}
PAIRS |= {f"diag_full_{p}_{q}": (p, q) for p, q in itertools.product(_DIAGONAL, _FULL)}
PAIRS |= {f"full_diag_{p}_{q}": (p, q) for p, q in itertools.product(_FULL, _DIAGONAL)}
PAIRS |= {"low_rank": ("low_rank", "low_rank"), "unit_low_rank": ("low_rank", None)}
for _name, _others in (("diag", _DIAGONAL), ("full", _FULL)):
    PAIRS |= {f"low_rank_{_name}_{q}": ("low_rank", q) for q in _others}
    PAIRS |= {f"{_name}_low_rank_{p}": (p, "low_rank") for p in _others}
SINGLES = {f"full_{p}": p for p in _FULL} | {"low_rank": "low_rank"}


# By kind: the covariance from the parameters, and how that is spelled for a side {x}
COVARIANCES: dict[str, tuple[Callable[..., Array], str]] = {
    "var": (diag, "diag(var_{x})"),
    "std": (lambda s: diag(s * s), "diag(std_{x}^2)"),
    "logvar": (lambda logvar: diag(np.exp(logvar)), "diag(exp(logvar_{x}))"),
    "cov": (lambda s: s, "cov_{x}"),
    "tril": (lambda lower: lower @ transpose(lower), "tril_{x} tril_{x}^T"),
    "precision": (inverse, "precision_{x}^-1"),
    "low_rank": (
        lambda factor, var: factor @ transpose(factor) + diag(var),
        "factor_{x} factor_{x}^T + diag(var_{x})",
    ),
}

# By parameter: its gradient from G, S and the parameter, where dKL = sum_ij G_ij dS_ij
CHAIN: dict[str, tuple[Callable[[Array, Array, Array], Array], str]] = {
    "var": (lambda g, s, var: diagonal(g), "diag(G_{x})"),
    "std": (lambda g, s, std: 2 * std * diagonal(g), "2 std_{x} diag(G_{x})"),
    "logvar": (
        lambda g, s, logvar: np.exp(logvar) * diagonal(g),
        "exp(logvar_{x}) diag(G_{x})",
    ),
    "cov": (lambda g, s, cov: g, "G_{x}"),
    "tril": (lambda g, s, lower: 2 * np.tril(g @ lower), "2 tril(G_{x} tril_{x})"),
    "precision": (lambda g, s, precision: -s @ g @ s, "-S_{x} G_{x} S_{x}"),
    "factor": (lambda g, s, factor: 2 * g @ factor, "2 G_{x} factor_{x}"),
}


class Gaussian:
    """One side of a pair, its covariance a matrix; where it is bad it is made N(0, I)."""

    def __init__(self, mean: Array, kind: str, parameters: Sequence[Array]) -> None:
        self.parameters = {}
        bad: Array = np.asarray(~np.isfinite(mean).all(axis=-1))
        for name, x in zip(KINDS[kind], parameters, strict=True):
            core = tuple(range(-core_ndim(name), 0))
            x = np.tril(x) if name == "tril" else symmetric(x) if name in _FULL else x
            bad = bad | ~np.isfinite(x).all(axis=core)
            if PARAMETERS[name].positive or name == "tril":
                bad = bad | ((diagonal(x) if name == "tril" else x) <= 0).any(axis=-1)
            self.parameters[name] = x
        for name, x in self.parameters.items():
            one = np.eye(x.shape[-1]) if name in _FULL else PARAMETERS[name].positive
            at = bad.reshape(bad.shape + (1,) * (x.ndim - bad.ndim))
            self.parameters[name] = np.where(at, np.asarray(one, x.dtype), x)
        cov = COVARIANCES[kind][0](*self.parameters.values())
        lower = cholesky(cov)
        self.bad: Array = np.asarray(bad | np.isnan(lower).any(axis=(-1, -2)))
        unit = np.eye(cov.shape[-1], dtype=cov.dtype)
        self.cov, self.lower = (np.where(self.bad[..., None, None], unit, x) for x in (cov, lower))
        self.mean = np.where(self.bad[..., None], mean.dtype.type(0), mean)

    @functools.cached_property
    def logdet(self) -> Array:
        return np.asarray(2 * np.log(diagonal(self.lower)).sum(axis=-1))


class Item:
    """A pair; what is not asked for is not computed."""

    def __init__(self, p: Gaussian, q: Gaussian) -> None:
        self.p, self.q, self.delta, self.d = p, q, p.mean - q.mean, p.mean.shape[-1]

    @functools.cached_property
    def w(self) -> Array:
        return np.linalg.solve(self.q.lower, self.p.lower)

    @functools.cached_property
    def mahalanobis(self) -> Array:
        return square(solve(self.q.lower, self.delta))

    @functools.cached_property
    def cov_part(self) -> Array:
        pivot = diagonal(self.w) ** 2
        return np.asarray(
            ((pivot - 1 - np.log(pivot)).sum(axis=-1) + square(np.tril(self.w, -1), 2)) / 2
        )

    @functools.cached_property
    def slope(self) -> Array:
        return solve(self.q.cov, self.delta)

    @functools.cached_property
    def jeffreys(self) -> Array:
        half = np.linalg.solve(self.q.lower, self.p.cov - self.q.cov)
        both = np.linalg.solve(self.p.lower, transpose(half))
        back = square(solve(self.p.lower, self.delta))
        return np.asarray((square(both, 2) + self.mahalanobis + back) / 2)

    def g(self, side: str) -> Array:
        """The gradient with respect to a covariance."""
        inverse_q = inverse(self.q.cov)
        if side == "p":
            return (inverse_q - inverse(self.p.cov)) / 2
        moment = self.p.cov + self.delta[..., None] * self.delta[..., None, :]
        return np.asarray((inverse_q - inverse_q @ moment @ inverse_q) / 2)


G = {"p": "G_p = (S_q^-1 - S_p^-1) / 2",
     "q": "G_q = (S_q^-1 - S_q^-1 (S_p + delta delta^T) S_q^-1) / 2"}  # fmt: skip
MEAN_GRADIENTS: dict[str, tuple[Callable[[Item], Array], str]] = {
    "p": (lambda i: i.slope, "S_q^-1 delta"),
    "q": (lambda i: -i.slope, "-S_q^-1 delta"),
}
_COV_PART = "sum_k (w_kk^2 - 1 - log(w_kk^2)) / 2 + sum_{i>k} w_ik^2 / 2"
RESULTS = {
    "kl": Result(lambda i: i.cov_part + i.mahalanobis / 2, f"{_COV_PART} + |y|^2 / 2",
                 "KL(p || q), in nats"),
    "mahalanobis": Result(lambda i: i.mahalanobis, "|y|^2",
                          "delta^T S_q^-1 delta, a pure number"),
    "trace": Result(lambda i: square(i.w, 2), "|W|^2", "Trace of S_q^-1 S_p, a pure number"),
    "logdet": Result(lambda i: i.q.logdet - i.p.logdet, "log det S_q - log det S_p",
                     "Logarithm of det S_q / det S_p, in nats"),
    "mean_part": Result(lambda i: i.mahalanobis / 2, "|y|^2 / 2", "Share of the means, in nats"),
    "cov_part": Result(lambda i: i.cov_part, _COV_PART, "Share of the covariances, in nats"),
    "jeffreys": Result(
        lambda i: i.jeffreys,
        "|L_q^-1 (S_p - S_q) L_p^-T|^2 / 2 + (|y|^2 + |L_p^-1 delta|^2) / 2",
        "KL(p || q) + KL(q || p), in nats",
    ),
    "cross_entropy": Result(
        lambda i: (LOG_2PI * i.d + i.q.logdet + square(i.w, 2) + i.mahalanobis) / 2,
        "(d log(2 pi) + log det S_q + |W|^2 + |y|^2) / 2", "Mean of -log q under p, in nats",
    ),
    "entropy": Result(
        lambda i: ((LOG_2PI + 1) * i.d + i.p.logdet) / 2,
        "(d log(2 pi) + d + log det S_p) / 2", "Mean of -log p under p, in nats",
    ),
}  # fmt: skip
INTRODUCTION = "With L for lower Cholesky factors, and |.|^2 for the sum of all squares::"


def compute(function: Function, arrays: Sequence[Array]) -> list[Array]:
    """The results; NaN where they are undefined."""
    cores = [core_ndim(name[:-2]) for name in function.parameters]
    shapes = [x.shape[: x.ndim - n] for x, n in zip(arrays, cores, strict=True)]
    batch = np.broadcast_shapes(*shapes)
    given = {
        name: np.broadcast_to(x, batch + x.shape[x.ndim - n :])
        for name, x, n in zip(function.parameters, arrays, cores, strict=True)
    }
    zero = np.zeros_like(arrays[0], shape=(*batch, arrays[0].shape[-cores[0]]))
    sides = {"q": Gaussian(zero, "logvar", [zero])}  # N(0, I), unless there is another q
    for side, kind in function.sides:
        own = [given[f"{name}_{side}"] for name in KINDS[kind]]
        sides[side] = Gaussian(given.get(f"mean_{side}", zero), kind, own)
    item = Item(sides["p"], sides["q"])
    bad = item.p.bad | item.q.bad

    found = []
    for name in function.results:
        gradient = gradient_of(name)
        if not gradient:
            x = RESULTS[name].compute(item)
        elif gradient[0] == "mean":
            x = MEAN_GRADIENTS[gradient[1]][0](item)
        else:
            parameter, side = gradient
            own_side = sides[side]
            x = CHAIN[parameter][0](item.g(side), own_side.cov, own_side.parameters[parameter])
        at = bad.reshape(bad.shape + (1,) * (x.ndim - bad.ndim))
        x = np.where(at, x.dtype.type(np.nan), x)
        found.append(np.tril(x) if name.startswith("d_tril") else x)
    return found


def formulas(function: Function) -> list[str]:
    """A line of text for everything that is computed."""
    pair = function.output is not ENTROPY
    lines = ["mean_q = 0,  S_q = L_q = I"] * (pair and function.q is None)
    for side, kind in function.sides:
        cov = COVARIANCES[kind][1].format(x=side)
        lower = f"tril_{side}" if kind == "tril" else f"cholesky(S_{side})"
        lines += [f"S_{side} = {cov},  L_{side} = {lower}"]
    if pair:
        lines += ["delta = mean_p - mean_q,  W = L_q^-1 L_p,  y = L_q^-1 delta"]
    for result in function.results:
        gradient = gradient_of(result)
        if not gradient:
            formula = RESULTS[result].formula
        elif gradient[0] == "mean":
            formula = MEAN_GRADIENTS[gradient[1]][1]
        else:
            parameter, side = gradient
            lines += [] if G[side] in lines else [G[side]]
            formula = CHAIN[parameter][1].format(x=side)
        lines += [f"{result} = {formula}"]
    return lines


_RELATIVE = """\
Within 4 eps ({kq} + kp / max(1, KL)) of the exact result, relatively, also where p is close to
q."""
ACCURACY = {
    "relative": _RELATIVE,
    "gradients": f"{_RELATIVE} Gradients: within 8 eps ({{kq}} + kp), in the Frobenius norm and "
    "in coordinates of unit variance.",
    "summands": "Within 4 eps ({kq} + kp) of the exact result, relatively to the sum of the "
    "absolute summands.",
    "jeffreys": "Within 8 eps ({kq} + kp) of the exact result, relatively, also where p is close "
    "to q.",
}
_PAIR = " kp and kq are the condition numbers of the two covariances, scaled to a unit diagonal."
_PRECISIONS = """ \
kp is the condition number of q's covariance, scaled to a unit diagonal, and kq that of p's."""
_ONE = " kp is the condition number of p's covariance, scaled to a unit diagonal."
_MIXED = """ \
Where p is close to q, this is for the parameters after one of them is converted to be compared
with the other, and rounded."""
_1959 = "S. Kullback, Information theory and statistics, 1959, chapter 9"
_1950 = "M. A. Woodbury, Inverting modified matrices, 1950"


def subject(function: Function) -> str:
    """Whose divergence it is."""
    by = {side: " and ".join(KINDS[kind]) for side, kind in function.sides}
    if function.mixed:
        return f"Gaussians, p by {by['p']}, q by {by['q']}"
    return f"Gaussians, by {by['p']}"


def source(function: Function) -> str:
    """Who found it."""
    found = _1959 if function.output.source is KULLBACK else function.output.source
    return f"{found}; {_1950}" if "low_rank" in (function.p, function.q) else found


def accuracy(function: Function) -> str:
    """What is promised of the gufunc."""
    precisions = function.p == function.q == "precision"
    condition = _PRECISIONS if precisions else _PAIR if function.q else _ONE
    bound = ACCURACY[function.output.accuracy].format(kq="kq" if function.q else "1")
    return bound + condition + _MIXED * function.mixed


_UNDEFINED = {
    "cov": "a covariance that is not positive definite",
    "tril": "a factor whose diagonal is not positive",
    "precision": "a precision that is not positive definite",
    "var": "a variance that is not positive",
    "std": "a standard deviation that is not positive",
}


def bad(function: Function) -> str:
    """What makes an item undefined, besides NaN and infinity."""
    parameters = dict.fromkeys(name for _, kind in function.sides for name in KINDS[kind])
    texts = [_UNDEFINED[name] for name in parameters if name in _UNDEFINED]
    return f", or with {' or '.join(texts)}," if texts else ""
