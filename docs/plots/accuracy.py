# SPDX-License-Identifier: BSD-3-Clause
"""Error against distance: gkl, and the usual formulas as the peers of gkl bench write them.

The exact values are those that the tests measure against (tests/exact.py, tests/exact_full.py).

python docs/plots/accuracy.py    writes accuracy-*.svg and accuracy-*.md to docs/_generated
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import _core, peers, peers_full

sys.path.append(str(Path(__file__).parents[2] / "tests"))
import exact
import exact_full

Array = NDArray[Any]
Errors = dict[str, list[Array]]  # of each formula, by distance
Pairs = Iterator[tuple[Array, dict[str, Array]]]  # exact values, and those of each formula

DISTANCES = {np.float32: 10.0 ** np.arange(-6.5, 0.6, 0.5),
             np.float64: 10.0 ** np.arange(-15, 0.6, 0.75)}  # fmt: skip
ITEMS, DIM = 400, 8
MATRICES, MATRIX_DIM = 40, 8
SHOWN = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # in the tables
FLOOR = 1e-18  # where an error of 0 is drawn


def moved(rng: np.random.Generator, x: Array, distance: float) -> Array:
    """Each number times e^(distance z), z standard normal."""
    return np.asarray(x * np.exp(distance * rng.normal(size=x.shape)), x.dtype)


def relative(found: Array, wanted: Array) -> Array:
    """|found/wanted - 1|."""
    wide = np.abs(found.astype(np.longdouble) / wanted - 1)
    return np.asarray(wide, float)


def diagonal(kind: str, dtype: Any) -> Pairs:
    """At each distance the exact values and those of gkl and of the formula."""
    for distance in DISTANCES[dtype]:
        rng = np.random.default_rng(0)
        mean_q, scale_q = rng.normal(size=(ITEMS, DIM)), rng.uniform(0.5, 2, (ITEMS, DIM))
        mean_q, var_q = mean_q.astype(dtype), scale_q.astype(dtype)
        var_p, mean_p = moved(rng, var_q, distance), moved(rng, mean_q, distance)
        if kind == "logvar":
            var_p, var_q = np.log(var_p), np.log(var_q)
        arrays = [mean_p, var_p, mean_q, var_q]
        p, q = (gkl.DiagNormal(m, **{kind: x}) for m, x in (arrays[:2], arrays[2:]))
        wanted = exact.Wide(kind, mean_p, var_p, kind, mean_q, var_q)["kl"].sum(-1)
        (usual,) = peers.formula(f"pair-{kind}", arrays, np)
        yield wanted, {"gkl": gkl.kl(p, q), "usual": usual}


def full(dtype: Any) -> Pairs:
    """The same of full covariances, with the two forms that libraries have."""
    for distance in DISTANCES[dtype]:
        rng = np.random.default_rng(1)
        root = rng.normal(size=(MATRICES, MATRIX_DIM, 2 * MATRIX_DIM)) / 4
        mean_q = rng.normal(size=(MATRICES, MATRIX_DIM)).astype(dtype)
        cov_q = (root @ root.swapaxes(1, 2)).astype(dtype)
        scale = moved(rng, np.ones((MATRICES, MATRIX_DIM)), distance)
        turned = root * scale[..., None]
        cov_p = (turned @ turned.swapaxes(1, 2)).astype(dtype)
        mean_p = moved(rng, mean_q, distance)
        arrays = [mean_p, cov_p, mean_q, cov_q]
        pairs = zip(*arrays, strict=True)
        wanted = [exact_full.Wide("cov", m, s, "cov", n, t)["kl"] for m, s, n, t in pairs]
        p, q = gkl.FullNormal(mean_p, cov=cov_p), gkl.FullNormal(mean_q, cov=cov_q)
        (cholesky,) = peers_full.FULL["NumPy"]("pair-cov", arrays)()
        usual = trace_and_logdet(*arrays)
        yield np.array(wanted), {"gkl": gkl.kl(p, q), "usual": usual, "other": cholesky}


def trace_and_logdet(mean_p: Array, cov_p: Array, mean_q: Array, cov_q: Array) -> Array:
    """As the formula stands in textbooks."""
    inverse, delta = np.linalg.inv(cov_q), mean_p - mean_q
    trace = np.trace(inverse @ cov_p, axis1=1, axis2=2)
    square = np.einsum("ni,nij,nj->n", delta, inverse, delta)
    logdet = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return np.asarray(0.5 * (trace + square - cov_p.shape[-1] + logdet))


def measured(pairs: Pairs) -> tuple[Errors, Errors]:
    """Relative errors, and which values are below 0, of each formula at each distance."""
    errors: Errors = {}
    below: Errors = {}
    for wanted, values in pairs:
        for name, found in values.items():
            errors.setdefault(name, []).append(relative(found, wanted))
            below.setdefault(name, []).append(found < 0)
    return errors, below


WORDS = {"gkl": "gkl", "usual": "usual formula"}
FULL_WORDS = {"gkl": "gkl", "usual": "trace, log det", "other": "Cholesky form"}


def paint(figure: Any, dtype: Any, errors: Errors, words: dict[str, str]) -> None:
    """Medians as lines, up to the worst as bands."""
    axes, x, eps = figure.subplots(), DISTANCES[dtype], np.finfo(dtype).eps
    for name, word in words.items():
        median, worst = (
            np.maximum([f(e) for e in errors[name]], FLOOR) for f in (np.median, np.max)
        )
        color = figures.COLORS[name]
        axes.fill_between(x, median, worst, color=color, alpha=0.2, linewidth=0)
        axes.loglog(x, median, color=color, label=word)
    axes.axhline(4 * eps, color=figures.COLORS["roof"], linestyle=":", label="4 eps")
    axes.axhline(1, color=figures.COLORS["roof"], linewidth=0.8)
    axes.set(xlabel="distance of the parameters", ylabel="relative error of KL")
    axes.set_ylim(eps / 200, 1e4)
    axes.legend(loc="upper right")


def row(label: str, errors: list[Array], below: list[Array], x: Array) -> list[str]:
    """A line of the table: median errors, and how often the value is negative."""
    cells = []
    for distance in SHOWN:
        i = int(np.argmin(np.abs(np.log(x / distance))))
        share = f" ({100 * np.mean(below[i]):.0f} % < 0)" if np.any(below[i]) else ""
        mantissa, _, exponent = f"{np.median(errors[i]):.0e}".partition("e")
        cells.append(f"{mantissa}e{int(exponent)}{share}")
    return [label, *cells]


def main() -> None:
    lines: list[list[str]] = []
    for title, kind in (("variances", "var"), ("log-variances", "logvar"), ("full", "full")):
        words = FULL_WORDS if kind == "full" else WORDS
        for dtype in (np.float32, np.float64):
            pairs = full(dtype) if kind == "full" else diagonal(kind, dtype)
            errors, below = measured(pairs)
            name = f"accuracy-{kind}-{np.dtype(dtype).name}"
            figures.draw(name, partial(paint, dtype=dtype, errors=errors, words=words), (4, 3))
            if dtype is np.float32:
                lines += [row(f"{title}, {word}", errors[x], below[x], DISTANCES[dtype])
                          for x, word in words.items()]  # fmt: skip
    made = f"Figures and table: NumPy {np.__version__}; gkl {gkl.__version__} on {_core.isa()}."
    figures.table("accuracy", ["distance", *(f"{x:g}" for x in SHOWN)], lines, made)


if __name__ == "__main__":
    main()
