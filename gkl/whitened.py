# SPDX-License-Identifier: BSD-3-Clause
"""Samples and log densities of Gaussians, from factors of their covariances.

Distances are sums of squares, never differences of them, and samples are given as steps from the
centers that they were drawn around, so that far means do not cost digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gkl._core import FullNormal, Gaussian, LowRankNormal

__all__ = ["Whitened"]


class Whitened:
    """A batch (k,) of valid Gaussians of any structure, in float64.

    Attributes
    ----------
    mean : numpy.ndarray, shape (k, d)
    """

    def __init__(self, x: Gaussian) -> None:
        n, d = len(x), x.dim
        given = {name: np.asarray(y, np.float64) for name, y in x.parameters.items()}
        scale: Any = given[x.parameter]
        self.mean = np.broadcast_to(given["mean"], (n, d))
        self._structure, self._given = x.structure, x.parameter
        if isinstance(x, FullNormal):
            scale = scale if x.parameter == "tril" else x.prepare().cholesky
            self._factor = np.broadcast_to(np.tril(scale), (n, d, d))
            logs = np.log(np.diagonal(self._factor, axis1=1, axis2=2)).sum(axis=1)
            self._half_logdet = -logs if x.parameter == "precision" else logs
            return
        scale = np.broadcast_to(scale, (n, d))
        if x.parameter == "logvar":
            self._std, logs = np.exp(scale / 2), scale / 2
        else:
            self._std = scale if x.parameter == "std" else np.sqrt(scale)
            logs = np.log(self._std)
        self._half_logdet = logs.sum(axis=1)
        if isinstance(x, LowRankNormal):
            self._factor = np.broadcast_to(given["factor"], (n, d, x.rank))
            # F F^T + D^2 = D (U s^2 U^T + I) D
            self._axes, s, _ = np.linalg.svd(
                self._factor / self._std[..., np.newaxis], full_matrices=False
            )
            self._stretch = np.hypot(1.0, s)
            self._half_logdet = self._half_logdet + np.log(self._stretch).sum(axis=1)

    def draw(self, counts: Any, rng: np.random.Generator) -> Any:
        """So many samples of each Gaussian, one after another, less their means."""
        n = int(counts.sum())
        z = rng.standard_normal((n, self.mean.shape[1]))
        if self._structure == "full":
            for i, own in _groups(counts):
                z[own] = self._colored(i, z[own])
            return z
        z *= np.repeat(self._std, counts, axis=0)
        if self._structure == "low_rank":
            t = rng.standard_normal((n, self._factor.shape[2]))
            for i, own in _groups(counts):
                z[own] += t[own] @ self._factor[i].T
        return z

    def log_densities(self, centers: Any, steps: Any) -> Any:
        """Of every Gaussian at centers + steps, up to d/2 log 2 pi, which is the same for all."""
        found = np.empty((len(steps), len(self.mean)))
        for i, mean in enumerate(self.mean):
            white = self._white(i, (centers - mean) + steps)
            found[:, i] = np.einsum("ij,ij->i", white, white)
        found[np.isnan(found)] = np.inf  # inf - inf, of a distance beyond float64
        return -0.5 * found - self._half_logdet

    def _colored(self, i: int, z: Any) -> Any:
        """Rows of N(0, S), of rows of N(0, I)."""
        from scipy.linalg import solve_triangular

        factor = self._factor[i]
        if self._given != "precision":
            return z @ factor.T
        return solve_triangular(factor, z.T, lower=True, trans="T", check_finite=False).T

    def _white(self, i: int, x: Any) -> Any:
        """Rows of N(0, I), of rows of N(0, S)."""
        from scipy.linalg import solve_triangular

        if self._structure == "full":
            factor = self._factor[i]
            if self._given == "precision":
                return x @ factor
            return solve_triangular(factor, x.T, lower=True, check_finite=False).T
        white = x / self._std[i]
        if self._structure == "diag":
            return white
        along = white @ self._axes[i]
        return np.hstack([white - along @ self._axes[i].T, along / self._stretch[i]])


def _groups(counts: Any) -> Iterator[tuple[int, slice]]:
    """Where the samples of each Gaussian are, of those that have some."""
    ends = np.cumsum(counts)
    for i in np.flatnonzero(counts):
        yield int(i), slice(int(ends[i] - counts[i]), int(ends[i]))
