# SPDX-License-Identifier: BSD-3-Clause
"""``gkl score``: divergences of files of Gaussians, by chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl import formats, report
from gkl._core import Gaussian
from gkl.errors import by_name, computed_in, first_reason
from gkl.io import atomic_file
from gkl.stored import DataError, Gaussians, Rooms, batch_shape

__all__ = ["divergences", "progress", "rows_at_a_time", "score"]

CHUNK = 1 << 20  # numbers of parameters that are read at a time: two such stay in a cache
LONGEST = 8 * CHUNK  # of a chunk of a file, that it be read whole

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
    largest = report.largest(values)  # before the order of the values is lost
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
        "prior": report.prior(q),
        "kl": report.statistics(values[~bad] if n_bad else values.reshape(-1)),
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
