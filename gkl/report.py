# SPDX-License-Identifier: BSD-3-Clause
"""What ``gkl score`` and ``gkl nearest`` say of their results: figures, and lines of text."""

from __future__ import annotations

from heapq import nlargest
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkl.stored import Gaussians

__all__ = [
    "for_a_person",
    "in_lines",
    "in_words",
    "largest",
    "prior",
    "statistics",
]

LARGEST = 5  # items that the summary names
PIECE = 1 << 14  # divergences that are looked through at a time


def _number(x: Any) -> float | str | None:
    """A number as JSON has it: infinity, which it lacks, is the string "inf"."""
    return "inf" if np.isinf(x) else float(x)


def statistics(values: NDArray[Any]) -> dict[str, float | str | None]:
    """Figures of values that are numbers, whose order is lost; None of none."""
    if not values.size:
        return dict.fromkeys(("mean", "median", "min", "max", "total"))
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
        low, high = values.min(), values.max()
        half = values.size // 2
        values.partition(half)
        middle = values[half]
        if values.size % 2 == 0:
            middle = np.mean([values[:half].max(), middle], dtype=values.dtype)
    figures = (total / values.size, middle, low, high, total)
    return dict(zip(("mean", "median", "min", "max", "total"), map(_number, figures), strict=True))


def largest(values: NDArray[Any]) -> list[dict[str, Any]]:
    """The largest of all values, of which some may be NaN, and where they are."""
    flat = values.reshape(-1)
    best: list[tuple[Any, int]] = []  # value, minus the place: of equals the first comes first
    for start in range(0, flat.size, PIECE):
        part = flat[start : start + PIECE]
        if len(best) == LARGEST and not np.fmax.reduce(part) > best[-1][0]:
            continue
        part = np.where(np.isnan(part), -1, part)
        k = min(LARGEST, part.size)
        top = np.argpartition(part, -k)[-k:]
        best = nlargest(LARGEST, best + [(part[i], -start - int(i)) for i in top if part[i] >= 0])
    places = [[int(k) for k in np.unravel_index(-i, values.shape)] for _, i in best]
    return [
        {"index": at[0] if len(at) == 1 else at, "kl": _number(x)}
        for (x, _), at in zip(best, places, strict=True)
    ]


def prior(q: Gaussians | None) -> dict[str, Any]:
    """What q is."""
    if q is None:
        return {"kind": "standard normal"}
    kind = "one for each item" if len(q.shape) > 1 and prod(q.shape[:-1]) != 1 else "shared"
    return {
        "kind": kind,
        "structure": q.structure,
        "parameter": q.parameter,
        "shape": list(q.shape),
        "dtype": str(q.dtype),
    }


def for_a_person(report: dict[str, Any]) -> str:
    """The report of :func:`gkl.score.score` and the time it took, in lines."""
    q, figures = report["prior"], report["kl"]
    largest = [f"{_show(x['kl'])} at {x['index']}" for x in report["largest"]]
    prior_words = "N(0, I)"
    if "shape" in q:
        prior_words = f"{q['kind']}, {q['parameter']}, {tuple(q['shape'])}"
    bad = f"  ({report['bad']:,} invalid, NaN)" if report["bad"] else ""
    shape = f"  {tuple(report['shape'])}" if len(report["shape"]) != 1 else ""
    lines = {
        "source": report["source"],
        "Gaussians": f"{report['count']:,}{shape}{bad}",
        "dimensions": f"{report['dim']}",
        "parameters": f"mean, {report['parameter']}  ({report['dtype']})",
        "prior": prior_words,
        "KL, nats": in_words(figures),
        "total": _show(figures["total"]),
        "largest": ", ".join(largest) or "-",
        "elapsed": f"{report['seconds']:.3g} s, {report['rows_per_second']:,.0f} rows/s",
        "written": report["output"],
    }
    return in_lines(lines)


def _show(x: float | str | None) -> str:
    """A figure of a report."""
    return "-" if x is None else f"{float(x):.6g}"


def in_words(figures: dict[str, float | str | None]) -> str:
    """Those of :func:`statistics`, in one line."""
    return "  ".join(f"{name} {_show(figures[name])}" for name in ("mean", "median", "min", "max"))


def in_lines(lines: dict[str, str | None]) -> str:
    """Names and texts below each other, without those that are None."""
    return "\n".join(f"{name:<11} {text}" for name, text in lines.items() if text is not None)
