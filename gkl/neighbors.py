# SPDX-License-Identifier: BSD-3-Clause
"""What of q is nearest to each p, without the matrix of all divergences.

Candidates are found by values that are within a tolerance, and ranked by the exact ones, those of
:func:`gkl.kl`.  Rows in which the tolerance could have hidden a nearer one are searched again, for
all within the divergence of their last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gkl import _core, lazy, products
from gkl._core import Gaussian
from gkl.divergence import OnError
from gkl.errors import computed_in
from gkl.pairs import pair_values
from gkl.pairwise import (
    ROW_METRICS,
    Metric,
    checked_metric,
    checked_pair,
    is_tiled,
    refuse_bad,
)

__all__ = ["Neighbors", "nearest"]

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}
ROUGH = 1e-5  # of values by matrix products, which are ranked again
BLOCK_VALUES, BLOCK_SIDE = 1 << 20, 4096  # of a matrix that is looked through at a time
NOWHERE = np.iinfo(np.intp).max


class Neighbors(NamedTuple):
    """All within a bound: those of p[i] are at indptr[i] to indptr[i + 1] of the other two."""

    indptr: Any
    index: Any
    divergence: Any


def nearest(
    p: Gaussian,
    q: Gaussian,
    k: int | None = None,
    *,
    radius: float | None = None,
    metric: Metric = "kl",
    order: float | None = None,
    exclude_self: bool = False,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    """The k of q from which each p diverges least, or all within a radius.

    Parameters
    ----------
    p, q : DiagNormal, FullNormal or LowRankNormal
        Of batch shapes (n,) and (m,).
    k : int, optional
        How many; either this or `radius`.
    radius : float, optional
        All whose divergence is at most this.
    metric, order
        As in :func:`pairwise_kl`.
    exclude_self : bool
        Not q[i] for p[i]: for p and q that are the same.
    on_error : {"raise", "nan"}
        What to do about bad Gaussians.  A bad q is never near; a bad p has no neighbors.
    threads : int, optional
        Threads of this call instead of :func:`gkl.get_num_threads`.

    Returns
    -------
    divergence : numpy.ndarray, shape (n, k)
        Ascending, in the units of the metric; equal ones in the order of their indices.  With
        fewer than k candidates the last are NaN.
    index : numpy.ndarray of int, shape (n, k)
        Their places in q; -1 where there is none.
    Neighbors
        With `radius`, in the place of both: ``indptr``, ``index`` and ``divergence``, the same by
        rows one after the other, as in :class:`scipy.sparse.csr_array`.

    Raises
    ------
    InvalidGaussianError
        Some of p, or else some of q, are bad and `on_error` is "raise"; its `result` is what the
        call would have returned.
    ValueError, TypeError
        Not exactly one of `k` and `radius`; and as :func:`pairwise_kl`.

    Notes
    -----
    The result is exactly that of sorting all values of :func:`gkl.kl` (or :func:`gkl.jeffreys`),
    by value and then by index; of the other metrics, those of :func:`pairwise_kl`.  Memory does
    not grow with n m.  Memory maps of diagonal Gaussians of one type are read in place, a part at
    a time.  Scales of different kinds are compared by :func:`gkl.kl`'s own kernels, which takes
    many times longer.  For Dask arrays bad items are never an error.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0], [1.0], [5.0]]), var=1.0)
    >>> gkl.nearest(p, p, 1, exclude_self=True)
    (array([[0.5],
           [0.5],
           [8. ]]), array([[1],
           [0],
           [1]]))
    >>> gkl.nearest(p, p, radius=0.5).indptr
    array([0, 2, 4, 5])
    """
    nthreads = checked_pair(p, q, on_error, threads)
    alpha = checked_metric(p, q, metric, order)
    if (k is None) == (radius is None):
        raise ValueError("exactly one of k= and radius= is wanted")
    if k is not None:
        k = _checked_k(k)
    if radius is not None and not radius >= 0:
        raise ValueError(f"radius= takes a number that is not negative, not {radius!r}")
    if exclude_self and len(p) != len(q):
        raise ValueError(f"exclude_self=True wants p and q alike: {len(p)} and {len(q)} Gaussians")
    own = 0 if exclude_self else None
    if lazy.wanted(p, q):
        from gkl import distributed

        return distributed.nearest(p, q, k, radius, metric, order, exclude_self)
    search = _Search(p, q, metric, alpha, own, nthreads)
    result: Any = search.nearest(k) if k is not None else search.within(radius or 0.0)
    if on_error == "raise":
        refuse_bad(p, q, search.bad[0], search.bad[1], None, result)
    return result


def _checked_k(k: Any) -> int:
    try:
        found = k.__index__()
    except AttributeError:
        raise TypeError(f"k= takes an integer, not {k!r}") from None
    if found < 1:
        raise ValueError(f"k= takes a number from 1 up, not {k!r}")
    return int(found)


class _Search:
    """The candidates of a metric, and their exact values."""

    def __init__(
        self, p: Gaussian, q: Gaussian, metric: str, order: float, own: int | None, nthreads: int
    ) -> None:
        self.p, self.q, self.metric, self.order = p, q, metric, order
        self.own, self.nthreads = own, nthreads
        self.ranks_again = metric in ROW_METRICS
        # parameters that are converted first are further off than the tolerance
        alike = p.parameter == q.parameter or not self.ranks_again
        self.is_tiled = alike and is_tiled(p, q, metric)
        self.bad = [np.zeros(len(p), bool), np.zeros(len(q), bool)]
        self.dtype = computed_in((p, q))
        self.tolerance = TOLERANCE[self.dtype] if self.is_tiled else ROUGH
        self.slack = max(p.dim, q.dim) * float(np.finfo(self.dtype).tiny)  # of subnormal values
        if not self.is_tiled:
            self.p, self.q = p.prepare(on_error="nan"), q.prepare(on_error="nan")

    def nearest(self, k: int) -> tuple[Any, Any]:
        """Values and indices of the k nearest."""
        m = len(self.q)
        some = min(k + 4 if self.ranks_again else k, max(m, 1))
        value, index = self._candidates(some)
        last = value[:, -1].copy()
        if self.ranks_again:
            there = index >= 0
            value[there] = self._exact(np.nonzero(there)[0], index[there])
        value, index = ranked(value, index, min(k, some))
        if self.ranks_again and some < m:
            self._search_again(value, index, last)
        missing = ((0, 0), (0, k - value.shape[1]))
        return (
            np.pad(value, missing, constant_values=np.nan),
            np.pad(index, missing, constant_values=-1),
        )

    def _search_again(self, value: Any, index: Any, last: Any) -> None:
        """Rows whose k-th may not be less than all that are no candidates."""
        worst = value[:, -1]
        doubtful = (worst > last * (1 - 2 * self.tolerance) - self.slack) & (worst > 0)
        every = np.nonzero(doubtful)[0]
        step = max(BLOCK_VALUES // max(len(self.q), 1), 1)  # all of q may be as near
        for start in range(0, len(every), step):
            rows = every[start : start + step]
            indptr, found, exact = self._within(rows, worst[rows].astype(float))
            first = indptr[:-1, np.newaxis] + np.arange(value.shape[1])
            value[rows], index[rows] = exact[first], found[first]

    def within(self, radius: float) -> Neighbors:
        rows = np.arange(len(self.p))
        return Neighbors(*self._within(rows, np.full(len(rows), float(radius))))

    def _within(self, rows: Any, bounds: Any) -> tuple[Any, Any, Any]:
        """Of these rows of p all with exact values up to their bound, in ascending order."""
        loose = bounds * (1 + 2 * self.tolerance) + self.slack if self.ranks_again else bounds
        row, index, value = self._within_rough(rows, loose)
        if self.own is not None:
            keep = index != rows[row] + self.own
            row, index, value = row[keep], index[keep], value[keep]
        if self.ranks_again:
            value = self._exact(rows[row], index)
            keep = value <= bounds[row]
            row, index, value = row[keep], index[keep], value[keep]
        best = np.lexsort((index, value, row))
        indptr = np.zeros(len(rows) + 1, np.intp)
        np.cumsum(np.bincount(row, minlength=len(rows)), out=indptr[1:])
        return indptr, index[best], value[best].astype(self.dtype)

    def _exact(self, i: Any, j: Any) -> Any:
        return pair_values(self.p, self.q, i, j, self.metric, None, self.nthreads)[0]

    # what follows is one way for diagonal Gaussians, in the core, and one for all others

    def _candidates(self, k: int) -> tuple[Any, Any]:
        """The k of q that are nearest to each p by values within the tolerance."""
        given = self.metric, self.order, self.p, self.q
        if self.is_tiled:
            value, index, *self.bad = _core.nearest(*given, k, self.own, self.nthreads)
            return value, index
        n = len(self.p)
        value, index = np.full((n, k), np.nan, self.dtype), np.full((n, k), -1, np.intp)
        for rows, columns, found in self._blocks():
            place = np.broadcast_to(np.arange(columns.start, columns.stop), found.shape)
            value[rows], index[rows] = ranked(
                np.concatenate((value[rows], found), axis=1),
                np.concatenate((index[rows], np.where(np.isnan(found), -1, place)), axis=1),
                k,
            )
        return value, index

    def _within_rough(self, rows: Any, bounds: Any) -> tuple[Any, Any, Any]:
        """Rows, columns and values within bounds, by values within the tolerance."""
        if self.is_tiled:
            p = self.p if len(rows) == len(self.p) else self.p[rows]
            indptr, index, value, *bad = _core.within(
                self.metric, self.order, p, self.q, bounds, None, self.nthreads
            )
            if p is self.p:
                self.bad = bad
            return np.repeat(np.arange(len(rows)), np.diff(indptr)), index, value
        limit = np.full(len(self.p), -np.inf)
        limit[rows] = bounds
        parts = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
        for block_rows, columns, found in self._blocks():
            row, column = np.nonzero(found <= limit[block_rows, np.newaxis])
            value = found[row, column].astype(float)
            parts.append((row + block_rows.start, column + columns.start, value))
        row, index, value = (np.concatenate(x) for x in zip(*parts, strict=True))
        return np.searchsorted(rows, row), index, value

    def _blocks(self) -> Iterator[tuple[slice, slice, Any]]:
        """The matrix by blocks, without what a row must not have."""
        n, m = len(self.p), len(self.q)
        bad_p, bad_q = np.zeros(n, bool), np.zeros(m, bool)
        width = min(max(m, 1), BLOCK_SIDE)
        height = max(BLOCK_VALUES // width, 1)
        for i in range(0, n, height):
            rows = slice(i, min(i + height, n))
            for j in range(0, m, width):
                columns = slice(j, min(j + width, m))
                found, bad_p[rows], bad_q[columns] = products.pairwise(
                    self.p[rows], self.q[columns], self.metric, None, self.nthreads, ROUGH
                )
                if self.own is not None:
                    both = np.arange(max(i, j), max(min(rows.stop, columns.stop), i, j))
                    found[both - i, both - j] = np.nan
                yield rows, columns, found
        self.bad = [bad_p, bad_q]


def ranked(value: Any, index: Any, k: int) -> tuple[Any, Any]:
    """The first k of each row by value, then by index, those of index -1 last."""
    order = np.lexsort((np.where(index < 0, NOWHERE, index), value), axis=-1)[:, :k]
    return np.take_along_axis(value, order, 1), np.take_along_axis(index, order, 1)
