# SPDX-License-Identifier: BSD-3-Clause
"""What to watch while a VAE trains: means of the terms of the KL in every dimension, over batches
of any size."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gkl import lazy
from gkl._core import Gaussian
from gkl.divergence import KLTerms, checked, kl, kl_terms
from gkl.vae.objective import batch_shape

__all__ = ["KLStatistics"]

CHUNK = 1 << 16  # numbers of one parameter at a time, which the caches hold
TERMS = ("mahalanobis", "trace", "logdet", "kl", "mean_part", "cov_part")
Array = NDArray[np.float64]


class KLStatistics:
    """Means over all items of the KL in every dimension and of its terms, batch by batch.

    Between diagonal Gaussians the terms are those of each dimension; between others there are no
    shares of dimensions, and one column holds the terms of the whole.

    Attributes
    ----------
    count : int
        Items so far.

    Notes
    -----
    Each batch takes one pass, in chunks, and nothing of its size is allocated: the sum over items
    of a term of one dimension is that term of a Gaussian whose dimensions are the items.  The
    result is the same to rounding, in the type of the parameters, whatever the batches are.

    Examples
    --------
    >>> import numpy as np
    >>> from gkl import DiagNormal, vae
    >>> statistics = vae.KLStatistics()
    >>> for mean in np.array([[1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 0.0]]):
    ...     statistics.update(DiagNormal(mean, var=np.array([0.5, 1.0])))
    >>> statistics.mean.mahalanobis, statistics.mean.trace
    (array([3.33333333, 0.        ]), array([0.5, 1. ]))
    >>> statistics.share["kl"]
    array([1., 0.])
    """

    def __init__(self) -> None:
        self.count = 0
        self._dim = 0  # of a column
        self._sums: Array | None = None  # terms by columns

    def update(
        self, p: Gaussian, q: Gaussian | None = None, *, threads: int | None = None
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        p, q, threads
            As in :func:`gkl.kl_terms`.

        Raises
        ------
        InvalidGaussianError
            Some items are bad.  Nothing of the batch has been added.
        ValueError
            Shapes that do not fit, or other dimensions than before.
        TypeError
            Arguments of other kinds; Dask arrays.
        """
        checked(p, q, "raise", threads)
        if lazy.wanted(p, q):
            raise TypeError("KLStatistics takes no Dask arrays: update with computed blocks")
        is_diag = p.structure == "diag" and (q is None or q.structure == "diag")
        d = lazy.dim(p, q)
        columns, dim = (d, 1) if is_diag else (1, d)
        self._check(columns, dim)
        sums = np.zeros((len(TERMS), columns))
        count = 0
        for p_part, q_part, shape in _chunks(p, q, max(1, CHUNK // max(columns, 1))):
            pair = (p_part, q_part)
            if is_diag:
                pair = (_across(p_part, shape, d), _across(q_part, shape, d))
            terms = kl_terms(*pair, on_error="nan", threads=threads)
            if np.isnan(terms.kl).any():
                kl(p, q, threads=threads)  # names the item of the batch
                raise ValueError("a parameter was changed during the call")
            count += prod(shape)
            for total, name in zip(sums, TERMS, strict=True):
                values = getattr(terms, name)
                total += values if is_diag else np.sum(values, dtype=np.float64)
        self._add(count, columns, dim, sums)

    def merge(self, other: KLStatistics) -> Self:
        """Add all that `other` has seen, such as that of another worker; gives itself."""
        if other._sums is not None:
            self._check(other._sums.shape[1], other._dim)
            self._add(other.count, other._sums.shape[1], other._dim, other._sums)
        return self

    @property
    def mean(self) -> KLTerms:
        """Means over the items: each attribute has shape (d,), and is of one dimension; of
        covariances that are not diagonal (1,), and of all."""
        return KLTerms(dim=self._dim, **dict(zip(TERMS, self._mean(), strict=True)))

    @property
    def share(self) -> dict[str, Array]:
        """The share of each dimension and term in the mean KL; 0 where that is 0.

        ``kl`` sums to 1 over the dimensions, and is, dimension by dimension, the sum of
        ``mean_part`` and ``cov_part`` as it is that of ``mahalanobis``, ``trace`` and ``logdet``,
        which are those of mahalanobis/2, (trace - dim)/2 and logdet/2 and may be negative.
        """
        means = dict(zip(TERMS, self._mean(), strict=True))
        total = float(means["kl"].sum())
        if not np.isfinite(total):
            raise ValueError(f"the mean KL is {total}: there are no shares of it")
        means["trace"] = means["trace"] - self._dim
        halves = ("mahalanobis", "trace", "logdet")
        return {k: x / (2 * total if k in halves else total) if total else 0 * x
                for k, x in means.items()}  # fmt: skip

    def _mean(self) -> Array:
        if self._sums is None or not self.count:
            raise ValueError("KLStatistics has seen no items yet")
        return self._sums / self.count

    def _check(self, columns: int, dim: int) -> None:
        if self._sums is not None and (self._sums.shape[1], self._dim) != (columns, dim):
            raise ValueError(
                f"{columns} columns of {dim} dimensions do not fit those before: "
                f"{self._sums.shape[1]} of {self._dim}"
            )

    def _add(self, count: int, columns: int, dim: int, sums: Array) -> None:
        if not count:
            return
        self.count += count
        self._dim = dim
        self._sums = sums + (0 if self._sums is None else self._sums)


def _across(x: Any, shape: tuple[int, ...], d: int) -> Any:
    """Of a batch of this shape, d items whose dimensions are those of the batch: views, where its
    items are evenly apart."""
    if x is None:
        return None
    turned = (prod(shape), d)
    return x.like(
        [
            y if isinstance(y, float) else np.broadcast_to(y, (*shape, d)).reshape(turned).T
            for y in x.parameters.values()
        ]
    )


def _chunks(
    p: Gaussian, q: Gaussian | None, rows: int
) -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
    """A batch in parts of at most so many items, with their shapes: by its first axis, and by the
    next where an item of that holds more."""
    shape = batch_shape(p, q)
    count = prod(shape)
    if count <= rows:
        yield p, q, shape
        return
    inner = count // shape[0]
    for start in range(0, shape[0], max(1, rows // inner)):
        cut = slice(start, start + rows // inner) if inner <= rows else start
        yield from _chunks(_part(p, len(shape), cut), _part(q, len(shape), cut), rows)


def _part(x: Any, ndim: int, cut: slice | int) -> Any:
    """A part of the first of `ndim` axes, along which x may be repeated."""
    if x is None or len(x.batch_shape) < ndim:
        return x
    if x.batch_shape[0] == 1:
        return x[0] if isinstance(cut, int) else x
    return x[cut]
