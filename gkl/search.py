# SPDX-License-Identifier: BSD-3-Clause
"""``gkl nearest``: for every Gaussian of a file the nearest of another, by blocks, resumably."""

from __future__ import annotations

import os
import sys
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl.errors import refuse
from gkl.io import atomic_file, refuse_irregular
from gkl.pairwise import METRICS
from gkl.report import in_lines, in_words, statistics
from gkl.score import divergences, progress
from gkl.stored import DataError, Gaussians
from gkl.workfolder import WorkFolder

__all__ = ["SEARCH_METRICS", "for_a_person", "search", "state_of"]

SEARCH_METRICS = tuple(name for name in METRICS if name != "renyi")  # which wants an order
FORMAT = 1  # of the folder
WORK = {True: 1 << 34, False: 1 << 29}  # pairs times numbers of a block: diagonal, and others
ROWS = 256, 1 << 16  # of a block; with less, what is done once for all of q would dominate
NUMBERS = 1 << 25  # of parameters of p in a block: 256 MB of float64

State = dict[str, dict[str, Any]]


def state_of(files: dict[str, str]) -> State:
    """What tells whether files are the same as before, by what the files are for."""
    found = {}
    for name, path in files.items():
        status = os.stat(path)
        found[name] = {
            "path": os.path.abspath(path),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    return found


def search(
    p: Gaussians,
    q: Gaussians | None,
    inputs: State,
    output: str,
    k: int,
    metric: Any = "kl",
    exclude_self: bool = False,
    on_error: str = "raise",
    threads: int | None = None,
) -> dict[str, Any]:
    """The k of q nearest to each p, q None being p, written to `output`; what to say of it.

    What is done is kept in the folder `output`.part, and a call with the same arguments goes on
    from there.  Invalid Gaussians are found before the search.

    Parameters
    ----------
    p, q : Gaussians
        Of batch shapes (n,) and (m,).
    inputs : dict
        The state of their files before they were read.  Those that have a hyphen in the name are
        mapped, and must be the same at the end.
    output : str
        An npz for ``divergence`` and ``index`` as :func:`gkl.nearest` returns them.
    k, metric, exclude_self, on_error, threads
        As in :func:`gkl.nearest`; `threads` and `on_error` may change between two calls.

    Raises
    ------
    InvalidGaussianError
        Some Gaussians are invalid and `on_error` is "raise".
    DataError
        p and q do not fit; the folder is of other arguments, damaged or in use; the output cannot
        be written.
    OSError
        There is no place for the folder or the output.
    """
    other = p if q is None else q
    dtype = _result_type(p, other, metric)
    n, m = p.shape[0], other.shape[0]
    step = _block(p, other)
    job = {"format": FORMAT, **inputs, "k": k, "metric": metric, "exclude-self": exclude_self}
    job |= {"p of shape": list(p.shape), "q of shape": list(other.shape), "rows of a block": step}
    arrays = {"divergence": ((n, k), dtype), "index": ((n, k), np.dtype(np.intp))}
    refuse_irregular(output)
    place = os.path.realpath(output) if os.path.islink(output) else output
    with WorkFolder(f"{place}.part") as folder:
        begin = folder.open(job, arrays)
        bad = [_count_bad(name, x, on_error, threads) for name, x in (("p", p), ("q", q)) if x]
        if begin:
            print(f"gkl: {folder.path}: goes on from row {begin:,} of {n:,}", file=sys.stderr)
        whole = other.rows(1, 0, m).prepare(on_error="nan")  # factored once
        with progress(n, begin) as bar:
            for start in range(begin, n, step):
                stop = min(start + step, n)
                value, index = gkl.nearest(
                    p.rows(1, start, stop),
                    whole,
                    k + exclude_self,
                    metric=metric,
                    on_error="nan",
                    threads=threads,
                )
                if exclude_self:
                    value, index = _without_self(value, index, start)
                folder.arrays["divergence"][start:stop] = value
                folder.arrays["index"][start:stop] = index
                folder.record(stop)
                if bar is not None:
                    bar.update(stop - start)
        for name, state in inputs.items():
            if "-" in name and state_of({name: state["path"]})[name] != state:
                raise DataError(f"{state['path']}: changed while it was read{folder.anew}")
        _write(output, folder)
        first, index = (np.array(x[:, 0]) for x in folder.arrays.values())
        folder.remove()
    return {
        "gkl": gkl.__version__,
        "source": p.source,
        "other": None if q is None else q.source,
        "count": n,
        "candidates": m,
        "bad": bad[0],
        "bad_candidates": bad[-1],
        "dim": p.dim,
        "dtype": str(dtype),
        "parameters": [f"mean, {x.parameter}  ({x.dtype})" for x in (p, other)],
        "metric": metric,
        "k": k,
        "exclude_self": exclude_self,
        "nearest": statistics(first[index >= 0]),
        "resumed_at": begin,
        "output": output,
    }


def _result_type(p: Gaussians, q: Gaussians, metric: Any) -> np.dtype[Any]:
    """The type of divergences of p from q; a DataError where there are none."""
    for x in (p, q):
        if len(x.shape) != 2:
            shape = x.shape[:-1]
            raise DataError(f"{x.source}: has the batch shape {shape}, and one axis is wanted")
    if p.dim != q.dim:
        raise DataError(f"{q.source}: has d = {q.dim}, and {p.source} d = {p.dim}")
    try:
        none = p.rows(1, 0, 0)[:0], q.rows(1, 0, 0)[:0]
        value: NDArray[Any] = gkl.nearest(*none, 1, metric=metric)[0]
    except TypeError as error:  # such as a metric for other structures
        raise DataError(f"{p.source}: {error}") from None
    return value.dtype


def _block(p: Gaussians, q: Gaussians) -> int:
    """Rows of p between two records: seconds of work, and bounded memory."""
    numbers = max(p.numbers(), q.numbers(), 1)
    rows = WORK[p.structure == q.structure == "diag"] // max(q.shape[0] * numbers, 1)
    return max(1, min(max(rows, ROWS[0]), ROWS[1], NUMBERS // numbers))


def _count_bad(name: str, x: Gaussians, on_error: str, threads: int | None) -> int:
    """How many Gaussians are invalid, or an error that names the first."""
    bad = np.isnan(divergences(x, None, threads))
    if on_error == "raise" and bad.any():
        refuse({name: x}, bad, None, None)
    return int(np.count_nonzero(bad))


def _without_self(value: Any, index: Any, start: int) -> tuple[Any, Any]:
    """Of one more than wanted all but a row's own number, or the last where that is not there."""
    drop = index == np.arange(start, start + len(index))[:, np.newaxis]
    drop[~drop.any(1), -1] = True
    shape = (len(index), index.shape[1] - 1)
    return value[~drop].reshape(shape), index[~drop].reshape(shape)


def _write(output: str, folder: WorkFolder) -> None:
    """The output from the arrays, whole or not at all."""
    try:
        # np.savez of NumPy 2.0 leaves the archive open when the disk is full
        with atomic_file(output, folder.path) as file, ZipFile(file, "w") as archive:
            for name, x in folder.arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, x, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror or error}") from None


def for_a_person(report: dict[str, Any]) -> str:
    """The report of :func:`search` and the time it took, in lines."""
    n, m, own = report["count"], report["candidates"], report["other"] is None
    bad = f"{report['bad']:,}" if own else f"{report['bad']:,} and {report['bad_candidates']:,}"
    invalid = f"  ({bad} invalid, NaN)" if report["bad"] or report["bad_candidates"] else ""
    itself = ", without itself" if report["exclude_self"] else ""
    rate = f"{report['pairs_per_second']:,.0f}"
    resumed = f", from row {report['resumed_at']:,}" if report["resumed_at"] else ""
    lines = {
        "source": report["source"],
        "nearest of": ("the same" if own else report["other"]) + itself,
        "Gaussians": f"{n:,} x {m:,}{invalid}",
        "dimensions": f"{report['dim']}",
        "parameters": " and ".join(dict.fromkeys(report["parameters"])),
        "metric": report["metric"],
        "k": f"{report['k']:,}",
        "nearest": in_words(report["nearest"]),
        "elapsed": f"{report['seconds']:.3g} s, {rate} pairs/s{resumed}",
        "written": report["output"],
    }
    return in_lines(lines)
