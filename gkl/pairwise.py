# SPDX-License-Identifier: BSD-3-Clause
"""Every p against every q."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from gkl import _core, lazy, products
from gkl._core import Gaussian
from gkl.divergence import OnError, checked
from gkl.errors import refuse

__all__ = ["pairwise_kl"]

Metric: TypeAlias = Literal[
    "kl", "reverse_kl", "jeffreys", "wasserstein2", "renyi", "bhattacharyya", "hellinger"
]
METRICS = ("kl", "reverse_kl", "jeffreys", "wasserstein2", "renyi", "bhattacharyya", "hellinger")
LONGEST = 1 << 16
ROW_METRICS = METRICS[:3]  # those that have kernels of their own for one pair


def pairwise_kl(
    p: Gaussian,
    q: Gaussian,
    metric: Metric = "kl",
    *,
    order: float | None = None,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Divergence of every p from every q, as a matrix.

    Parameters
    ----------
    p, q : DiagNormal, FullNormal or LowRankNormal
        Of batch shapes (n,) and (m,).
    metric : str
        For any structures

        * ``"kl"``: KL(p || q);
        * ``"reverse_kl"``: KL(q || p);
        * ``"jeffreys"``: their sum;

        and for diagonal covariances, with standard deviations s and variances v,

        * ``"wasserstein2"``: the squared 2-Wasserstein distance, the sum of
          (mean_p - mean_q)^2 + (s_p - s_q)^2;
        * ``"renyi"``: the Rényi divergence of p from q of an `order` a,
          1/(a - 1) log of the integral of p^a q^(1 - a), inf where that diverges;
        * ``"bhattacharyya"``: the Bhattacharyya distance, half the Rényi divergence of order 1/2;
        * ``"hellinger"``: the Hellinger distance, sqrt(1 - exp(-Bhattacharyya)), from 0 to 1.
    order : float, optional
        Of ``"renyi"``: positive, and not 1, where it is ``"kl"``.
    out : numpy.ndarray, shape (n, m), optional
        Where the result goes.
    on_error : {"raise", "nan"}
        What to do about bad items, as in :func:`gkl.kl`: their rows and columns are NaN in either
        case.
    threads : int, optional
        Threads of this call instead of :func:`gkl.get_num_threads`.

    Returns
    -------
    numpy.ndarray, shape (n, m)
        In nats (``"wasserstein2"``: in squared units of the means; ``"hellinger"``: a number).
        float32 for float16, bfloat16 and float32 parameters, else float64.  A Dask array when a
        parameter is one.

    Raises
    ------
    InvalidGaussianError
        Some of p, or else some of q, are bad; all else has been computed and stored.  Its `index`
        is that of these Gaussians in their batch.
    ValueError
        Batches that are not of one axis, dimensions that differ, an unknown metric.
    TypeError
        Arguments of other kinds; a metric that these structures do not have.

    See Also
    --------
    nearest : the least of each row, without the matrix.

    Notes
    -----
    Memory beyond the result is bounded, whatever n and m, but for one more matrix of Jeffreys
    divergences that are not of diagonal Gaussians.  Lazy (Dask) results always have NaN for bad
    items, never an error.

    Sources: Kullback and Leibler (1951), Jeffreys (1946), as for :func:`gkl.kl`; A. Rényi, "On
    measures of entropy and information" (1961); A. Bhattacharyya, "On a measure of divergence
    between two multinomial populations" (1946), whose coefficient the Hellinger distance is made
    of; D. C. Dowson and B. V. Landau, "The Fréchet distance between multivariate normal
    distributions" (1982), for the 2-Wasserstein distance.

    Diagonal: every value is within 1e-5 of the exact one, relatively, for float32, and within
    1e-13 for float64, never negative, and 0 where p equals q.  Most are found from the differences
    of the parameters by

    .. math:: \frac12 \sum_j \frac{v_p - v_q + (\mu_p - \mu_q)^2}{v_q}
              - \frac12 \log\frac{\det S_p}{\det S_q}

    at four instructions a pair and dimension, and those in which that has lost digits once more
    without cancellation.  The value of a pair does not depend on the others.  Where the scales of
    p and q are of different kinds, p's are converted to q's, rounded once: near equality the bound
    is 1 + 1/\|u\| times that in each dimension, u = v_p/v_q - 1.  Rényi divergences of an order
    a > 1 grow beyond bounds as w = v_q + (1 - a) (v_p - v_q) goes to 0, beyond which they are inf;
    close to there they are within v_q/w times as much.

    Full covariances: by a matrix product of :math:`S_p + \mu_p \mu_p^T` and :math:`S_q^{-1}`, in
    float64, pairs that lose digits by :func:`gkl.kl`'s kernels: within 1e-5 or 1e-10 of its
    values.  All other structures, and rows of more than 65536 dimensions: by those kernels alone.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0, 0.0], [1.0, 0.0]]), var=1.0)
    >>> gkl.pairwise_kl(p, p)
    array([[0. , 0.5],
           [0.5, 0. ]])
    >>> gkl.pairwise_kl(p, p, "hellinger").round(3)
    array([[0.   , 0.343],
           [0.343, 0.   ]])
    """
    nthreads = checked_pair(p, q, on_error, threads)
    alpha = checked_metric(p, q, metric, order)
    if lazy.wanted(p, q):
        if out is not None:
            raise TypeError("out= cannot take lazy results")
        from gkl import distributed

        return distributed.pairwise_kl(p, q, metric, order)
    values, bad_p, bad_q = values_of(p, q, metric, alpha, out, nthreads)
    if on_error == "raise":
        refuse_bad(p, q, bad_p, bad_q, values, values)
    return values


def checked_pair(p: Any, q: Any, on_error: str, threads: Any) -> int:
    """The arguments of all functions of two batches; gives the number of threads."""
    if q is None:
        raise TypeError("q is None: two batches are wanted; against N(0, I) there is gkl.kl(p)")
    nthreads = checked(p, q, on_error, threads)
    for name, x in (("p", p), ("q", q)):
        if len(x.batch_shape) != 1:
            raise ValueError(
                f"{name} has the batch shape {x.batch_shape}, and one axis is wanted; "
                f"{name}.reshape(-1) has one"
            )
    if p.dim != q.dim and not (p.scalar or q.scalar):
        raise ValueError(f"p and q differ in dimension: d = {p.dim} and d = {q.dim}")
    return nthreads


def checked_metric(p: Gaussian, q: Gaussian, metric: str, order: float | None) -> float:
    """Is there this metric for these structures? Gives the order."""
    if metric not in METRICS:
        raise ValueError(f"metric= takes {', '.join(METRICS)}, not {metric!r}")
    if metric not in ROW_METRICS and {p.structure, q.structure} != {"diag"}:
        raise TypeError(f"metric {metric!r} is for diagonal Gaussians only")
    if (order is not None) != (metric == "renyi"):
        raise TypeError("order= is wanted for metric 'renyi', and for no other")
    if order is None:
        return 0.5
    if not 1e-30 <= order <= 1e30 or order == 1:
        raise ValueError(
            f"order= takes a number from 1e-30 to 1e30 but 1, not {order!r}; 1 is metric 'kl'"
        )
    return float(order)


def values_of(
    p: Gaussian, q: Gaussian, metric: str, order: float, out: Any, nthreads: int
) -> tuple[Any, Any, Any]:
    """The matrix, and which of p and of q are bad."""
    found: tuple[Any, Any, Any] = (
        _core.pairwise(metric, order, p, q, out, nthreads)
        if is_tiled(p, q, metric)
        else products.pairwise(p, q, metric, out, nthreads)
    )
    return found


def is_tiled(p: Gaussian, q: Gaussian, metric: str) -> bool:
    """Are these for the kernel of tiles?  Rows so long that a tile of them is large are not."""
    is_diag = p.structure == q.structure == "diag"
    return is_diag and (metric not in ROW_METRICS or max(p.dim, q.dim) <= LONGEST)


def bad_items(x: Gaussian) -> Any:
    """Which Gaussians of a batch are bad."""
    return np.isnan(_core.evaluate("value", x, None, (0,), None, None, 0)[0][0])


def refuse_bad(p: Any, q: Any, bad_p: Any, bad_q: Any, values: Any, result: Any) -> None:
    """InvalidGaussianError if there are bad ones among p, or else among q."""
    for name, x, bad in (("p", p, bad_p), ("q", q, bad_q)):
        if bad.any():
            refuse({name: x}, bad, values, result)
