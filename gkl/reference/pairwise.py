# SPDX-License-Identifier: BSD-3-Clause
"""The twins of every p against every q: diagonal Gaussians, broadcast to (n, m, d).

In every dimension, with variances v and standard deviations s::

    delta = mean_p - mean_q      u = v_p / v_q - 1      w = v_q + (1 - a) (v_p - v_q)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gkl.reference import diag
from gkl.reference.parts import KULLBACK, PARAMETERS, Array

__all__ = ["compute", "docstring", "names", "split"]

_1946 = "A. Bhattacharyya, On a measure of divergence between two multinomial populations, 1946"
_1961 = "A. Rényi, On measures of entropy and information, 1961"
_1982 = "D. C. Dowson and B. V. Landau, The Frechet distance between normals, 1982"
_RENYI = "1/2 sum [log1p((1 - a) u)/(1 - a) - log1p(u) + a delta^2 / w], a = {order}"


class Metric(NamedTuple):
    """A divergence; `compute` takes delta, v_p, v_q and the order."""

    subject: str
    compute: Callable[..., Any]
    formula: str
    text: str
    source: str
    ordered: bool = False


def _kl(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    u = (v_p - v_q) / v_q
    return (delta**2 / v_q + u - np.log1p(u)).sum(-1) / 2


def _jeffreys(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    return _kl(delta, v_p, v_q, order) + _kl(delta, v_q, v_p, order)


def _wasserstein(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    return (delta**2 + ((v_p - v_q) / (np.sqrt(v_p) + np.sqrt(v_q))) ** 2).sum(-1)


def _renyi(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    u = (v_p - v_q) / v_q
    inside = 1 + (1 - order) * u
    terms = np.log(np.maximum(inside, 0)) / (1 - order) - np.log1p(u)
    terms = terms + order * delta**2 / (v_q * inside)
    return np.where((inside > 0).all(-1), terms.sum(-1) / 2, np.inf)


def _bhattacharyya(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    return _renyi(delta, v_p, v_q, 0.5) / 2


def _hellinger(delta: Array, v_p: Array, v_q: Array, order: Any) -> Any:
    return np.sqrt(-np.expm1(-_bhattacharyya(delta, v_p, v_q, order)))


METRICS = {
    "kl": Metric(
        "KL divergence", _kl, "1/2 sum [delta^2 / v_q + u - log1p(u)]",
        "KL(p || q), in nats", KULLBACK,
    ),
    "reverse_kl": Metric(
        "KL divergence of q from p", lambda delta, v_p, v_q, order: _kl(delta, v_q, v_p, order),
        "1/2 sum [delta^2 / v_p + log1p(u) - u / (1 + u)]", "KL(q || p), in nats", KULLBACK,
    ),
    "jeffreys": Metric(
        "Jeffreys divergence", _jeffreys,
        "1/2 sum [(v_p - v_q)^2 / (v_p v_q) + delta^2 (1 / v_p + 1 / v_q)]",
        "KL(p || q) + KL(q || p), in nats", KULLBACK,
    ),
    "wasserstein2": Metric(
        "Squared 2-Wasserstein distance", _wasserstein, "sum [delta^2 + (s_p - s_q)^2]",
        "Squared distances, in squared units of the means", _1982,
    ),
    "renyi": Metric(
        "Rényi divergence", _renyi, _RENYI.format(order="order"), "D(p || q), in nats", _1961, True
    ),
    "bhattacharyya": Metric(
        "Bhattacharyya distance", _bhattacharyya,
        "half of the Rényi divergence, " + _RENYI.format(order="1/2"), "Distances, in nats", _1946,
    ),
    "hellinger": Metric(
        "Hellinger distance", _hellinger, "sqrt(1 - exp(-b)), b the Bhattacharyya distance",
        "Distances, from 0 to 1", _1946,
    ),
}  # fmt: skip


def names() -> list[str]:
    """The gufuncs of this family, in the order of ``src_c/kernels.def``."""
    pairs = [pair for pair, (_, q) in diag.PAIRS.items() if q]
    return [f"pairwise_{metric}_{pair}" for metric in METRICS for pair in pairs]


def split(name: str) -> tuple[Metric, str, str]:
    """The metric and the kinds of p and q of a gufunc."""
    metric, pair = name.removeprefix("pairwise_").split("_diag_")
    p, q = diag.PAIRS[f"diag_{pair}"]
    assert q
    return METRICS[metric], p, q


def _variances(scale: Array, kind: str) -> Array:
    return scale if kind == "var" else scale**2 if kind == "std" else np.exp(scale)


def _bad(mean: Array, scale: Array, kind: str) -> Any:
    good = np.isfinite(mean) & np.isfinite(scale) & ((scale > 0) | (kind == "logvar"))
    return ~good.all(-1)


@np.errstate(all="ignore")
def compute(name: str, *operands: Any) -> Array:
    """The twin of the gufunc of this name, in float64 inside."""
    metric, p, q = split(name)
    dtype = np.result_type(np.float32, *map(np.asarray, operands[:4]))
    mean_p, scale_p, mean_q, scale_q = (np.asarray(x, dtype).astype(float) for x in operands[:4])
    order = np.asarray(operands[4], float)[..., None, None, None] if metric.ordered else None
    v_p, v_q = _variances(scale_p, p), _variances(scale_q, q)
    bad_p, bad_q = _bad(mean_p, scale_p, p), _bad(mean_q, scale_q, q)
    delta = mean_p[..., :, None, :] - mean_q[..., None, :, :]
    found = metric.compute(delta, v_p[..., :, None, :], v_q[..., None, :, :], order)
    return np.where(bad_p[..., :, None] | bad_q[..., None, :], np.nan, found).astype(dtype)


_NOTES = """\
Within 1e-5 of the exact value, relatively, for float32 and 1e-13 for float64, also where p is
close to q (Rényi, order a > 1: v_q/w times that); where the scales are of different kinds, p's
are converted to q's, rounded once. An item that is NaN or infinite, or with a scale that is not
positive, gives NaN, without exception or warning. The inner dimensions do not broadcast; float16
and bfloat16 are read as stored, results are float32."""


def docstring(name: str) -> str:
    """The documentation of the gufunc of this name, in numpydoc's form."""
    metric, p, q = split(name)
    lines = [f"{metric.subject} of every p and every q, diagonal Gaussians by {p} and {q}.", ""]
    lines += ["Parameters", "----------"]
    for side, count, kind in (("p", "n", p), ("q", "m", q)):
        for parameter in ("mean", kind):
            lines += [f"{parameter}_{side} : array_like, shape (..., {count}, d)"]
            lines += [f"    {PARAMETERS[parameter].text.format(x=side)}."]
    if metric.ordered:
        lines += ["order : array_like, shape (...)", "    Positive; 1 gives KL(p || q)."]
    lines += ["", "Returns", "-------", "divergence : ndarray, shape (..., n, m)"]
    lines += [f"    {metric.text}.", "", "Notes", "-----"]
    lines += ["In every dimension, with delta = mean_p - mean_q, u = v_p / v_q - 1, standard"]
    lines += ["deviations s and w = v_q + (1 - a) (v_p - v_q); sums go over dimensions::", ""]
    lines += [f"    divergence = {metric.formula}", ""]
    lines += [f"Source: {metric.source}.", "", _NOTES, ""]
    return "\n".join([*lines, "Examples", "--------", *_example(name)]) + "\n"


def _example(name: str) -> list[str]:
    """A call whose result is that of the twin: running it compares the two."""
    metric, p, q = split(name)
    values: dict[str, Any] = {
        f"{parameter}_{side}": [PARAMETERS[parameter].examples[side]] * (2 if side == "p" else 1)
        for side, kind in (("p", p), ("q", q))
        for parameter in ("mean", kind)
    }
    if metric.ordered:
        values["order"] = 0.3
    lines = [">>> import numpy as np", ">>> from gkl import ufuncs"]
    lines += [f">>> {operand} = {value}" for operand, value in values.items()]
    lines += [f">>> found = ufuncs.{name}(", f"...     {', '.join(values)})"]
    found = np.round(compute(name, *values.values()), 4).tolist()
    return [*lines, ">>> np.round(found, 4).tolist()", str(found)]
