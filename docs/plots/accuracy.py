# SPDX-License-Identifier: BSD-3-Clause
"""Error against distance: gkl, and the usual formulas as the peers of gkl bench write them.

The exact values are those that the tests measure against (tests/exact.py, tests/exact_full.py).

python docs/plots/accuracy.py    writes accuracy-*.svg and accuracy-*.md to docs/_generated
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import peers, peers_full

sys.path.append(str(Path(__file__).parents[2] / "tests"))
import exact
import exact_full

Array = NDArray[Any]
Errors = dict[str, list[Array]]  # of each formula, by distance

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


def diagonal(kind: str, dtype: Any) -> Iterator[tuple[Array, dict[str, Array]]]:
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


def full(dtype: Any) -> Iterator[tuple[Array, dict[str, Array]]]:
    """The same of full covariances, with the two forms that libraries have."""
    for distance in DISTANCES[dtype]:
        rng = np.random.default_rng(1)
        root = rng.normal(size=(MATRICES, MATRIX_DIM, 2 * MATRIX_DIM)) / 4
        mean_q = rng.normal(size=(MATRICES, MATRIX_DIM)).astype(dtype)
        cov_q = (root @ root.swapaxes(1, 2)).astype(dtype)
        scale = moved(rng, np.ones((MATRICES, MATRIX_DIM)), distance)
        turned = root * scale[..., None]
        cov_p, mean_p = (turned @ turned.swapaxes(1, 2)).astype(dtype), moved(rng, mean_q, distance)
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


def measured(make: Callable[[], Any]) -> tuple[Errors, Errors]:
    """Relative errors, and which values are below 0, of each formula at each distance."""
    errors: Errors = {}
    below: Errors = {}
    for wanted, values in make():
        for name, found in values.items():
            errors.setdefault(name, []).append(relative(found, wanted))
            below.setdefault(name, []).append(found < 0)
    return errors, below


WORDS = {"gkl": "gkl", "usual": "usual formula", "other": "by Cholesky factors"}
FULL_WORDS = {**WORDS, "usual": "trace and log-determinants"}


def paint(figure: Any, panels: dict[str, tuple[Any, Errors]], words: dict[str, str]) -> None:
    """Medians as lines, up to the worst as bands."""
    for axes, (title, (dtype, errors)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        x = DISTANCES[dtype]
        for name, by_distance in errors.items():
            median, worst = (
                np.maximum([f(e) for e in by_distance], FLOOR) for f in (np.median, np.max)
            )
            color = figures.COLORS[name]
            axes.fill_between(x, median, worst, color=color, alpha=0.2, linewidth=0)
            axes.loglog(x, median, color=color, label=words[name])
        eps = np.finfo(dtype).eps
        axes.axhline(4 * eps, color=figures.COLORS["roof"], linestyle=":", label="4 eps")
        axes.set(title=title, xlabel="relative distance of the parameters")
        axes.set_ylim(eps / 200, 1e4)
        axes.axhline(1, color=figures.COLORS["roof"], linewidth=0.8)
    figure.axes[0].set_ylabel("relative error of KL")
    figure.axes[0].legend(loc="upper right")


def rows(label: str, dtype: Any, errors: Errors, below: Errors, words: dict[str, str]) -> Any:
    """Lines of a table: median errors, and how often the value is negative."""
    for name, by_distance in errors.items():
        cells = []
        for distance in SHOWN:
            i = int(np.argmin(np.abs(np.log(DISTANCES[dtype] / distance))))
            share = np.mean(below[name][i])
            negative = f", {100 * share:.0f} % below 0" if share else ""
            cells.append(f"{np.median(by_distance[i]):.0e}{negative}")
        yield [f"{label}, {words[name]}", *cells]


def main() -> None:
    columns = ["median relative error at the distance", *(f"{x:g}" for x in SHOWN)]
    lines: list[list[str]] = []
    by_kind = {"var": "variances", "logvar": "log-variances"}
    for dtype in (np.float32, np.float64):
        name, panels = np.dtype(dtype).name, {}
        for kind, title in by_kind.items():
            errors, below = measured(lambda kind=kind, dtype=dtype: diagonal(kind, dtype))
            panels[f"{title}, {name}"] = dtype, errors
            if dtype is np.float32:
                lines += rows(title, dtype, errors, below, WORDS)
        figures.draw(f"accuracy-{name}", lambda f, x=panels: paint(f, x, WORDS), (7.6, 3.2))
    panels = {}
    for dtype in (np.float32, np.float64):
        errors, below = measured(lambda dtype=dtype: full(dtype))
        panels[f"full covariances, {np.dtype(dtype).name}"] = dtype, errors
        if dtype is np.float32:
            lines += rows("full", dtype, errors, below, FULL_WORDS)
    figures.draw("accuracy-full", lambda f: paint(f, panels, FULL_WORDS), (7.6, 3.2))
    figures.table("accuracy", columns, lines)


if __name__ == "__main__":
    main()
