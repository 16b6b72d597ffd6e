# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score``: divergences of files of Gaussians, by chunks, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from heapq import nlargest
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl._core import Gaussian
from gkl.errors import by_name, first_reason
from gkl.io import atomic_file
from gkl.stored import DataError, Gaussians, batch_shape

__all__ = [
    "divergences",
    "for_a_person",
    "in_lines",
    "in_words",
    "progress",
    "score",
    "statistics",
]

CHUNK = 1 << 21  # numbers of parameters between two steps of the progress bar: 16 MB of float64
LARGEST = 5  # items that the summary names


def score(
    p: Gaussians, q: Gaussians | None, output: str | None, on_error: str, threads: int | None
) -> dict[str, Any]:
    """KL(p || q), q None being N(0, I), written to `output` if it is given; what to say of it.

    Raises
    ------
    InvalidGaussianError
        Some Gaussians are invalid and `on_error` is "raise"; nothing is written.
    DataError
        p and q do not fit, or the output cannot be written.
    OSError
        There is no place for the output.
    """
    count = prod(batch_shape(p, q))
    with atomic_file(output) if output else nullcontext() as file:
        values = divergences(p, q, threads)
        bad = np.isnan(values)
        n_bad = int(np.count_nonzero(bad))
        if n_bad and on_error == "raise":
            index = np.argwhere(bad)
            reason = first_reason(by_name(p, q), tuple(index[0]))
            raise gkl.InvalidGaussianError(reason, index, count)
        if file is not None:
            try:
                np.save(file, values, allow_pickle=False)
            except OSError as error:
                raise DataError(f"{output}: cannot be written: {error}") from None
    return {
        "gkl": gkl.__version__,
        "source": p.source,
        "shape": list(values.shape),
        "count": count,
        "bad": n_bad,
        "dim": p.dim if p.shape or q is None else q.dim,
        "dtype": str(p.dtype),
        "structure": p.structure,
        "parameter": p.parameter,
        "prior": _prior(q),
        "kl": statistics(values[~bad] if n_bad else values.reshape(-1)),
        "largest": _largest(values),
        "output": output,
    }


def divergences(p: Gaussians, q: Gaussians | None, threads: int | None) -> NDArray[Any]:
    """KL(p || q) by chunks of the first batch axis, NaN for invalid Gaussians."""
    shape = batch_shape(p, q)
    ndim = len(shape)

    def parts(x: Gaussians | None) -> Callable[[int, int], Gaussian | None]:
        if x is None:
            return lambda start, stop: None
        if x.is_shared(ndim):  # such as a prior: factored once, not once a chunk
            prepared = x.rows(ndim, 0, 0).prepare(on_error="nan")
            return lambda start, stop: prepared
        return lambda start, stop: x.rows(ndim, start, stop)

    p_part, q_part = parts(p), parts(q)

    def divergence(start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        pair: Any = p_part(start, stop), q_part(start, stop)
        return np.asarray(gkl.kl(*pair, out=out, on_error="nan", threads=threads))

    if not shape:
        return divergence(0, 0)
    values = np.empty(shape, divergence(0, 0).dtype)
    numbers = max(x.numbers() for x in (p, q) if x is not None)
    step = max(1, CHUNK // max(1, prod(shape[1:]) * numbers))
    with progress(shape[0]) as bar:
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            divergence(start, stop, values[start:stop])
            if bar is not None:
                bar.update(stop - start)
    return values


def progress(rows: int, done: int = 0) -> Any:
    """A progress bar, where there are a terminal and tqdm to show it; some rows may be done."""
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            from tqdm import tqdm

            return tqdm(total=rows, initial=done, unit=" rows", unit_scale=True, leave=False)
        except ImportError:
            pass
    return nullcontext()


def _number(x: Any) -> float | str | None:
    """A number as JSON has it: infinity, which it lacks, is the string "inf"."""
    return "inf" if np.isinf(x) else float(x)


def statistics(values: NDArray[Any]) -> dict[str, float | str | None]:
    """Figures of values that are numbers; None of none."""
    if not values.size:
        return dict.fromkeys(("mean", "median", "min", "max", "total"))
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
        middle = np.median(values)
    figures = (total / values.size, middle, values.min(), values.max(), total)
    return dict(zip(("mean", "median", "min", "max", "total"), map(_number, figures), strict=True))


def _largest(values: NDArray[Any]) -> list[dict[str, Any]]:
    flat = values.reshape(-1)
    best: list[tuple[Any, int]] = []  # value, minus the place: of equals the first comes first
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        part = np.where(np.isnan(part), -1, part)
        k = min(LARGEST, part.size)
        top = np.argpartition(part, -k)[-k:]
        best = nlargest(LARGEST, best + [(part[i], -start - int(i)) for i in top if part[i] >= 0])
    places = [[int(k) for k in np.unravel_index(-i, values.shape)] for _, i in best]
    return [
        {"index": at[0] if len(at) == 1 else at, "kl": _number(x)}
        for (x, _), at in zip(best, places, strict=True)
    ]


def _prior(q: Gaussians | None) -> dict[str, Any]:
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
    """The report of :func:`score` and the time it took, in lines."""
    prior, figures = report["prior"], report["kl"]
    prior_words = "N(0, I)"
    if "shape" in prior:
        prior_words = f"{prior['kind']}, {prior['parameter']}, {tuple(prior['shape'])}"
    bad = f"  ({report['bad']:,} invalid, NaN)" if report["bad"] else ""
    shape = f"  {tuple(report['shape'])}" if len(report["shape"]) != 1 else ""
    lines = {
        "source": report["source"],
        "Gaussians": f"{report['count']:,}{shape}{bad}",
        "dimensions": f"{report['dim']}",
        "parameters": f"mean, {report['parameter']}  ({report['dtype']})",
        "prior": prior_words,
        "KL, nats": in_words(figures),
        "total": show(figures["total"]),
        "largest": ", ".join(f"{show(x['kl'])} at {x['index']}" for x in report["largest"]) or "-",
        "elapsed": f"{report['seconds']:.3g} s, {report['rows_per_second']:,.0f} rows/s",
        "written": report["output"],
    }
    return in_lines(lines)


def show(x: float | str | None) -> str:
    """A figure of a report."""
    return "-" if x is None else f"{float(x):.6g}"


def in_words(figures: dict[str, float | str | None]) -> str:
    """Those of :func:`statistics`, in one line."""
    return "  ".join(f"{name} {show(figures[name])}" for name in ("mean", "median", "min", "max"))


def in_lines(lines: dict[str, str | None]) -> str:
    """Names and texts below each other, without those that are None."""
    return "\n".join(f"{name:<11} {text}" for name, text in lines.items() if text is not None)
