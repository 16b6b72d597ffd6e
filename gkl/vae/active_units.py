# SPDX-License-Identifier: BSD-3-Clause
"""Which dimensions of a VAE are active, over batches of any size."""

from __future__ import annotations

from math import prod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gkl.vae.schemes import check

__all__ = ["ActiveUnits"]

CHUNK = 1 << 16  # numbers at a time, which the caches hold
Array = NDArray[np.float64]


class ActiveUnits:
    """Which dimensions are active: those whose posterior mean varies over the data.

    .. math:: \\mathrm{Var}_i \\, \\mu_{ij} > \\text{threshold}

    Burda et al., "Importance weighted autoencoders" (2016).

    Parameters
    ----------
    threshold : float
        Of the variance; a finite number of at least 0.

    Attributes
    ----------
    count : int
        Items so far.

    Notes
    -----
    The variances are those over all data in one batch, to rounding in float64, by the updates of
    Chan et al., "Algorithms for computing the sample variance" (1983).  One whose sum of squares
    is beyond float64 is inf.

    Examples
    --------
    >>> import numpy as np
    >>> from gkl import vae
    >>> units = vae.ActiveUnits()
    >>> for mean in np.array([[1.0, 0.01], [2.0, 0.0]]), np.array([[6.0, 0.02]]):
    ...     units.update(mean)
    >>> units.active, int(units.active.sum())
    (array([ True, False]), 1)
    """

    def __init__(self, threshold: float = 0.01) -> None:
        check("threshold", threshold)
        self.threshold = threshold
        self.count = 0
        self._origin: Array = np.zeros(0)  # an item: differences from it have lost no digits
        self._mean: Array = np.zeros(0)  # of these
        self._squares: Array = np.zeros(0)  # sums of squared distances from the mean

    def update(self, mean: ArrayLike) -> None:
        """Add the posterior means of a batch.

        Parameters
        ----------
        mean : array_like, shape (..., d)
            Finite numbers.

        Raises
        ------
        ValueError
            A number that is not finite, or another d than before.  Nothing has been added.
        TypeError
            Not real numbers.
        """
        array = np.asarray(mean)
        if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
            raise TypeError(f"mean has dtype {array.dtype}; real numbers are wanted")
        if not array.ndim:
            raise ValueError("mean is a single number, and shape (..., d) is wanted")
        d = array.shape[-1]
        self._check(d)
        rows = array.reshape(prod(array.shape[:-1]), d)
        found = ActiveUnits()
        step = max(1, CHUNK // max(d, 1))
        for start in range(0, len(rows), step):
            x = rows[start : start + step].astype(np.float64)
            if not np.isfinite(x).all():
                i, j = (int(k) for k in np.argwhere(~np.isfinite(x))[0])
                at = *map(int, np.unravel_index(start + i, array.shape[:-1])), j
                raise ValueError(f"mean[{', '.join(map(str, at))}] = {x[i, j]} is not finite")
            origin = x[0].copy()
            with np.errstate(over="ignore", invalid="ignore"):
                x -= origin
                center = x.mean(0)
                x -= center
                found._add(len(x), origin, center, np.einsum("ij,ij->j", x, x))
        self.merge(found)

    def merge(self, other: ActiveUnits) -> Self:
        """Add all that `other` has seen, such as that of another worker; gives itself."""
        if other.count:
            self._check(len(other._mean))
            self._add(other.count, other._origin, other._mean, other._squares)
        return self

    @property
    def var(self) -> Array:
        """The variance over the data of the posterior mean, shape (d,)."""
        if not self.count:
            raise ValueError("ActiveUnits has seen no items yet")
        var = self._squares / self.count
        var[np.isnan(var)] = np.inf  # all was finite, so infinities met
        return var

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which dimensions are active, shape (d,)."""
        return self.var > self.threshold

    def _check(self, d: int) -> None:
        if self.count and d != len(self._mean):
            raise ValueError(f"mean has {d} dimensions, those before {len(self._mean)}")

    def _add(self, count: int, origin: Array, mean: Array, squares: Array) -> None:
        if not self.count:
            self.count, self._origin, self._mean, self._squares = count, origin, mean, squares
            return
        total = self.count + count
        with np.errstate(over="ignore", invalid="ignore"):
            apart = (origin - self._origin) + (mean - self._mean)
            self._mean = self._mean + apart * (count / total)
            self._squares = self._squares + squares + apart * apart * (self.count / total * count)
        self.count = total
