# SPDX-License-Identifier: BSD-3-Clause
"""KL divergences between diagonal Gaussians as inner products, for indices that know no other."""

from __future__ import annotations

from typing import Any

import numpy as np

from gkl import lazy
from gkl._core import Gaussian
from gkl.errors import computed_in
from gkl.pairwise import bad_items, checked_pair, refuse_bad

__all__ = ["inner_product_vectors"]


def inner_product_vectors(p: Gaussian, q: Gaussian) -> tuple[Any, Any]:
    """Vectors whose inner product ranks q by -KL(p || q), for a maximum-inner-product index.

    Parameters
    ----------
    p, q : DiagNormal
        Of batch shapes (n,) and (m,).

    Returns
    -------
    queries : numpy.ndarray, shape (n, 2 d + 1)
    items : numpy.ndarray, shape (m, 2 d + 1)
        ``queries @ items.T`` is -KL(p || q) and a number for each p: in a row, the largest is the
        nearest.  float32 for float16, bfloat16 and float32 parameters, else float64.

    Raises
    ------
    InvalidGaussianError, ValueError, TypeError
        As :func:`pairwise_kl`.

    Notes
    -----
    Means are taken from their common center, and dimensions are put into the units of the
    geometric mean of q's variances, so that products of float32 vectors lose less; what they lose
    still matters where divergences are small, so that what an index returns is best ranked once
    more by :func:`pairs_kl`.  Items are of different lengths: indices that take only distances
    want one more coordinate, which makes all lengths equal.  With m and v of p and of q so
    transformed, the vectors are (v_p + m_p^2, m_p, 1) and
    (-1/v_q, 2 m_q/v_q, -sum(m_q^2/v_q + log v_q))/2.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0], [1.0], [5.0]]), var=1.0)
    >>> queries, items = gkl.inner_product_vectors(p[:1], p)
    >>> np.argsort(-(queries @ items.T))
    array([[0, 1, 2]])
    """
    checked_pair(p, q, "raise", None)
    if {p.structure, q.structure} != {"diag"}:
        raise TypeError("inner_product_vectors is for diagonal Gaussians")
    if lazy.wanted(p, q):
        raise TypeError("inner_product_vectors wants NumPy arrays, not lazy ones")
    dim = lazy.dim(p, q)
    refuse_bad(p, q, bad_items(p), bad_items(q), None, None)
    mean_p, var_p = _moments(p, dim)
    mean_q, var_q = _moments(q, dim)
    center = mean_q.mean(0) if len(q) else 0.0
    unit = np.exp(np.log(var_q).mean(0)) if len(q) else 1.0
    mean_p, mean_q = (mean_p - center) / np.sqrt(unit), (mean_q - center) / np.sqrt(unit)
    var_p, over_q = var_p / unit, unit / var_q
    last = (mean_q * mean_q * over_q - np.log(over_q)).sum(1, keepdims=True)
    queries = np.concatenate((var_p + mean_p * mean_p, mean_p, np.ones((len(p), 1))), axis=1)
    items = np.concatenate((-0.5 * over_q, mean_q * over_q, -0.5 * last), axis=1)
    dtype = computed_in((p, q))
    return queries.astype(dtype), items.astype(dtype)


def _moments(x: Gaussian, dim: int) -> tuple[Any, Any]:
    """Means and variances, float64, of every Gaussian and dimension."""
    scale = np.asarray(x.parameters[x.parameter], float)
    var = scale if x.parameter == "var" else np.exp(scale) if x.parameter == "logvar" else scale**2
    shape = (len(x), dim)
    return np.broadcast_to(np.asarray(x.mean, float), shape), np.broadcast_to(var, shape)
