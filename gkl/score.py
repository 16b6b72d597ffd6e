# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score``: divergences of files of Gaussians, by chunks, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from heapq import nlargest
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import formats
from gkl._core import Gaussian
from gkl.errors import by_name, computed_in, first_reason
from gkl.io import atomic_file
from gkl.stored import DataError, Gaussians, Rooms, batch_shape

__all__ = [
    "divergences",
    "for_a_person",
    "in_lines",
    "in_words",
    "progress",
    "rows_at_a_time",
    "score",
    "statistics",
]

CHUNK = 1 << 20  # numbers of parameters that are read at a time: two such stay in a cache
LONGEST = 8 * CHUNK  # of a chunk of a file, that it be read whole
LARGEST = 5  # items that the summary names
PIECE = 1 << 14  # divergences that are looked through at a time

Write = Callable[[NDArray[Any]], object]  # is given blocks of the result, in order


def score(
    p: Gaussians,
    q: Gaussians | None,
    output: str | None,
    on_error: str,
    threads: int | None,
    dask: str | None = None,
) -> dict[str, Any]:
    """KL(p || q), q None being N(0, I), written to `output` if it is given; what to say of it.

    Parameters
    ----------
    p, q : Gaussians
    output : str or None
        An npy file, or a Parquet file with a column ``kl`` where the name ends so.
    on_error : {"raise", "nan"}
    threads : int or None
        As in :func:`gkl.kl`.
    dask : str, optional
        The scheduler of a Dask cluster that computes it; "" is a cluster of this machine's own.

    Raises
    ------
    InvalidGaussianError
        Some Gaussians are invalid and `on_error` is "raise"; nothing is written.
    DataError
        p and q do not fit, a file is damaged, or the output cannot be written.
    ImportError
        A package is needed that is not installed.
    OSError
        There is no place for the output.
    """
    shape = batch_shape(p, q)
    with _written(output, shape, computed_in(by_name(p, q).values())) as write:
        if dask is None:
            values = divergences(p, q, threads, write)
        else:
            from gkl import cluster

            values = cluster.divergences(p, q, dask, write)
        bad = np.isnan(values)
        n_bad = int(np.count_nonzero(bad))
        if n_bad and on_error == "raise":
            index = np.argwhere(bad)
            one = [x and x.only(len(shape), int((*index[0], 0)[0])) for x in (p, q)]
            reason = first_reason(by_name(*one), tuple(index[0]))
            raise gkl.InvalidGaussianError(reason, index, values.size)
    largest = _largest(values)  # before the order of the values is lost
    return {
        "gkl": gkl.__version__,
        "source": p.source,
        "shape": list(values.shape),
        "count": values.size,
        "bad": n_bad,
        "dim": p.dim if p.shape or q is None else q.dim,
        "dtype": str(p.dtype),
        "structure": p.structure,
        "parameter": p.parameter,
        "prior": _prior(q),
        "kl": statistics(values[~bad] if n_bad else values.reshape(-1)),
        "largest": largest,
        "output": output,
    }


@contextmanager
def _written(
    output: str | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[Write | None]:
    """What writes blocks to the output, which is there at the end."""
    if output is None:
        yield None
        return
    writer = formats.output(output).writer
    with atomic_file(output) as file:
        try:
            with writer(file, shape, dtype) as write:
                yield write
        except OSError as error:
            raise DataError(f"{output}: cannot be written: {error}") from None


def rows_at_a_time(p: Gaussians, q: Gaussians | None, shape: tuple[int, ...]) -> int:
    """Steps along the first axis of a batch that are read together: whole chunks of the files."""
    both = [x for x in (p, q) if x is not None]
    numbers = max(x.numbers() for x in both)
    row = max(1, prod(shape[1:]) * numbers)
    rows = max(1, CHUNK // row)
    chunk = max(x.chunk for x in both)
    if chunk * row > LONGEST:  # better read in part, and again
        chunk = 1
    return max(chunk, rows // chunk * chunk)


def _is_read(p: Gaussians, q: Gaussians | None) -> bool:
    """Whether reading takes a core as long as computing does: diagonal Gaussians, out of files.

    OpenMP's threads wait for each other, so that one without a core would hold up all.
    """
    both = [x for x in (p, q) if x is not None]
    return all(x.structure == "diag" for x in both) and not all(x.in_memory for x in both)


def divergences(
    p: Gaussians,
    q: Gaussians | None,
    threads: int | None,
    write: Write | None = None,
    within: slice = slice(None),
) -> NDArray[Any]:
    """KL(p || q) by chunks of the first batch axis, NaN for invalid Gaussians.

    The next chunk is read by a thread while one is computed.  `within` is the part of that axis
    that is wanted.
    """
    shape = batch_shape(p, q)
    ndim = len(shape)
    if threads is None and _is_read(p, q):
        threads = max(1, gkl.get_num_threads() - 1)
    write = write or (lambda block: None)

    def parts(x: Gaussians | None) -> Callable[[int, int, Rooms], Gaussian | None]:
        if x is None:
            return lambda start, stop, rooms: None
        if x.is_shared(ndim):  # such as a prior: factored once, not once a chunk
            prepared = x.rows(ndim, 0, 0).prepare(on_error="nan")
            return lambda start, stop, rooms: prepared
        return lambda start, stop, rooms: x.rows(ndim, start, stop, rooms)

    p_part, q_part = parts(p), parts(q)
    rooms: list[tuple[Rooms, Rooms]] = [({}, {}), ({}, {})]  # of one chunk, and of the next

    def read(number: int) -> tuple[slice, Any]:
        begin = first + number * step
        rows = slice(begin, min(begin + step, last))
        own, other = rooms[number % 2]
        pair = p_part(rows.start, rows.stop, own), q_part(rows.start, rows.stop, other)
        return rows, pair

    def divergence(pair: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.asarray(gkl.kl(*pair, out=out, on_error="nan", threads=threads))

    if not shape:
        values = divergence((p_part(0, 0, {}), q_part(0, 0, {})))
        write(values)
        return values
    first, last, _ = within.indices(shape[0])
    values = np.empty((last - first, *shape[1:]), computed_in(by_name(p, q).values()))
    step = rows_at_a_time(p, q, shape)
    count = -(-(last - first) // step)
    with progress(last - first) as bar, ThreadPoolExecutor(1, "gkl-read") as pool:
        ahead = pool.submit(read, 0)
        for number in range(count):
            rows, pair = ahead.result()
            if number + 1 < count:
                ahead = pool.submit(read, number + 1)
            part = values[rows.start - first : rows.stop - first]
            divergence(pair, part)
            write(part)
            if bar is not None:
                bar.update(rows.stop - rows.start)
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


def _largest(values: NDArray[Any]) -> list[dict[str, Any]]:
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
