# SPDX-License-Identifier: BSD-3-Clause
"""Divergences and entropies: names and errors around the core, no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from gkl import _core, lazy
from gkl._core import DiagNormal, FullNormal, Gaussian, LowRankNormal
from gkl.errors import by_name, raises, refuse, refuse_correlated
from gkl.threads import checked_threads

__all__ = [
    "KLTerms",
    "cross_entropy",
    "entropy",
    "jeffreys",
    "kl",
    "kl_per_dim",
    "kl_terms",
]

CLASSES = frozenset((DiagNormal, FullNormal, LowRankNormal))
OnError: TypeAlias = Literal["raise", "nan"]


def kl(
    p: Gaussian,
    q: Gaussian | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Kullback-Leibler divergence KL(p || q) of every pair of a batch, in nats.

    .. math:: KL = \frac12 \left[\operatorname{tr}(S_q^{-1} S_p) - d
                   - \log\det(S_q^{-1} S_p)
                   + (\mu_p - \mu_q)^T S_q^{-1} (\mu_p - \mu_q)\right]

    which for diagonal covariances is

    .. math:: KL = \frac12 \sum_j \left[\frac{v_p}{v_q} - 1 - \log\frac{v_p}{v_q}
                   + \frac{(\mu_p - \mu_q)^2}{v_q}\right]_j

    Parameters
    ----------
    p : DiagNormal, FullNormal or LowRankNormal
        The first argument of the divergence.
    q : DiagNormal, FullNormal or LowRankNormal, optional
        The second; None is the standard normal N(0, I).  Structures and parameterizations may
        differ, batches broadcast.
    out : numpy.ndarray, optional
        Where the result goes; it has the batch's shape, and a type that holds the result's or is
        another float, to which it is rounded.
    on_error : {"raise", "nan"}
        What to do about items whose divergence is undefined: a variance, standard deviation or
        diagonal element of a Cholesky factor that is not positive, a matrix that is not positive
        definite, a parameter that is NaN or infinite.  They are NaN in either case.  Lazy (Dask)
        results always have NaN there.
    threads : int, optional
        Threads of this call instead of :func:`get_num_threads`.

    Returns
    -------
    numpy.ndarray or scalar, the batch's shape
        float32 for float16, bfloat16 and float32 parameters, else float64.  A divergence beyond
        the type is inf.  A Dask array when a parameter is one.

    Raises
    ------
    InvalidGaussianError
        Some items are bad and `on_error` is "raise"; all others have been computed and stored.
    ValueError
        Shapes that do not fit.
    TypeError
        Arguments of other kinds.

    Notes
    -----
    Kullback and Leibler, "On information and sufficiency" (1951).  The parameters are subtracted
    before anything else, and what is summed is never negative, so the result is at least 0, 0
    where p equals q, and accurate also where p is almost q:

    * diagonal: to a relative error of 4 eps, eps = 2^-23 (float32) or 2^-52 (float64).  Where one
      scale is a logvar and the other is not, the latter's logarithm is rounded once: near equality
      the bound per dimension is 4 eps (1 + 1/\|u\|), u = v_p/v_q - 1.
    * full covariances: to 4 eps (kq + kp/max(1, KL)), relatively, where kp and kq are the
      condition numbers of the covariances scaled to unit diagonal.  Two precisions are not
      inverted: p's takes the part of Sq, and in the bound kp and kq change places.  Where the
      parameters of p and q are of different kinds, one is converted first, and the result is that
      of the rounded one: to 4 eps (kq + kp) (1 + 1/sqrt(KL)).  Where eps d max(kq, kp) is above
      0.05 nothing is promised.
    * low-rank covariances beside low-rank or diagonal ones: to the same bound, except where F_p is
      near F_q turned by a rotation.  There the error is within 4 eps (kq + kp) (KL + e^2),
      e = \|F_p - F_q\|/\|F_q\|.  Beyond condition numbers of 1/eps nothing is promised.

    With Lp and Lq the lower Cholesky factors and W = Lq^-1 Lp, the divergence of full covariances
    is half the sum of w_kk^2 - 1 - log w_kk^2 over the diagonal of W, of the squares of W below it
    and of those of Lq^-1 (mean_p - mean_q).  Low-rank ones take the same factors row by row,
    which costs O(d r^2) and no d x d matrix.  A full q that meets many batches is better prepared
    once, see :meth:`FullNormal.prepare`.

    The same item gives the same bits for any number of threads and any strides, and up to d = 63
    in any batch: larger matrices are done by LAPACK where they are few, and side by side where
    they are many.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0, 1.0], [0.0, 0.0]]), std=1.0)
    >>> gkl.kl(p)
    array([0.5, 0. ])
    >>> q = gkl.FullNormal(np.zeros(2), tril=np.array([[1.0, 0.0], [1.0, 1.0]]))
    >>> gkl.kl(p, q)
    array([1. , 0.5])
    """
    return _batch_function("kl", "value", p, q, out, on_error, threads)


def jeffreys(
    p: Gaussian,
    q: Gaussian | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Jeffreys divergence KL(p || q) + KL(q || p) of every pair of a batch, in nats.

    The logarithms cancel, so it is computed without them:

    .. math:: J = \frac12 \left[\lVert L_q^{-1} (S_p - S_q) L_p^{-T} \rVert_F^2
                  + (\mu_p - \mu_q)^T (S_p^{-1} + S_q^{-1}) (\mu_p - \mu_q)\right]

    with the lower Cholesky factors L of the covariances S; for diagonal ones

    .. math:: J = \frac12 \sum_j \left[\frac{(v_p - v_q)^2}{v_p v_q}
                  + (\mu_p - \mu_q)^2 \left(\frac1{v_p} + \frac1{v_q}\right)\right]_j

    Parameters, results and errors are those of :func:`kl`; the formula is that of H. Jeffreys,
    "An invariant form for the prior probability in estimation problems" (1946).  The relative
    error is at most 6 eps for diagonal covariances, 8 eps (kq + kp) for full and 4 eps (kq + kp)
    for low-rank ones, kp and kq as in :func:`kl`.

    Examples
    --------
    >>> import gkl
    >>> float(gkl.jeffreys(gkl.DiagNormal(1.0, var=1.0), gkl.DiagNormal(0.0, var=2.0)))
    1.0
    """
    return _batch_function("jeffreys", "jeffreys", p, q, out, on_error, threads)


def cross_entropy(
    p: Gaussian,
    q: Gaussian | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of q relative to p, the mean of -log q under p, in nats.

    .. math:: H(p, q) = \frac12 \left[d \log 2\pi + \log\det S_q + \operatorname{tr}(S_q^{-1} S_p)
                        + (\mu_p - \mu_q)^T S_q^{-1} (\mu_p - \mu_q)\right]

    Source: Cover and Thomas, "Elements of Information Theory" (2nd edition), chapter 8.
    Parameters, results and errors are those of :func:`kl`.  The error is relative to the sum of
    the absolute summands; :func:`kl` is not computed as a difference of entropies.

    Examples
    --------
    >>> import gkl
    >>> round(float(gkl.cross_entropy(gkl.DiagNormal(0.0, var=1.0))), 12)
    1.418938533205
    """
    return _batch_function("cross_entropy", "cross_entropy", p, q, out, on_error, threads)


def entropy(
    p: Gaussian, *, out: Any = None, on_error: OnError = "raise", threads: int | None = None
) -> Any:
    r"""Differential entropy of every Gaussian of a batch, in nats.

    .. math:: H(p) = \frac12 \left[d \, (1 + \log 2\pi) + \log\det S_p\right]

    Source: Cover and Thomas, "Elements of Information Theory" (2nd edition), theorem 8.4.1.
    Parameters, results and errors are those of :func:`kl`; the mean is not looked at.

    Examples
    --------
    >>> import gkl
    >>> round(float(gkl.entropy(gkl.DiagNormal(0.0, std=1.0))), 12)
    1.418938533205
    """
    return _batch_function("entropy", "entropy", p, None, out, on_error, threads)


def kl_per_dim(
    p: DiagNormal,
    q: DiagNormal | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    """KL(p || q) of every dimension, in nats: the sum over the last axis is :func:`kl`.

    Parameters, errors and accuracy are those of :func:`kl`, but p and q are of DiagNormal: with
    correlated dimensions the divergence has no share of each (TypeError).

    Returns
    -------
    numpy.ndarray, the batch's shape and (d,)
        An item that is bad has NaN in the dimensions that make it so.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> gkl.kl_per_dim(gkl.DiagNormal(np.array([1.0, 2.0]), logvar=0.0))
    array([0.5, 2. ])
    """
    refuse_correlated(p, q)
    return _batch_function("kl", "per_dim", p, q, out, on_error, threads, "_per_dim")


@dataclass(frozen=True)
class KLTerms:
    """The terms of a divergence, each of the batch's shape.

    Attributes
    ----------
    mahalanobis, trace, logdet : numpy.ndarray
        The textbook terms (mean_p - mean_q)^T Sq^-1 (mean_p - mean_q), tr(Sq^-1 Sp) and
        log det Sq - log det Sp: KL = (mahalanobis + trace + logdet - dim)/2.
    dim : int
        d.
    kl, mean_part, cov_part : numpy.ndarray
        The divergence, the share of the means (mahalanobis/2) and that of the covariances
        (trace + logdet - dim)/2, each accurate in itself and not a sum of the terms above.
    """

    mahalanobis: Any
    trace: Any
    logdet: Any
    dim: int
    kl: Any
    mean_part: Any
    cov_part: Any


def kl_terms(
    p: Gaussian,
    q: Gaussian | None = None,
    *,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> KLTerms:
    """Terms of KL(p || q), in one pass.

    Parameters and errors are those of :func:`kl`.

    Returns
    -------
    KLTerms

    Examples
    --------
    >>> import gkl
    >>> terms = gkl.kl_terms(gkl.DiagNormal(1.0, var=2.0), gkl.DiagNormal(0.0, var=1.0))
    >>> float(terms.mahalanobis), float(terms.trace), float(terms.mean_part)
    (1.0, 2.0, 0.5)
    """
    nthreads = checked(p, q, on_error, threads)
    bad = 0
    if lazy.wanted(p, q):
        values = [*lazy.call("kl", p, q, "_terms"), *lazy.call("kl", p, q, "_parts")]
    else:
        arrays, bad, shape = _core.evaluate("terms", p, q, range(6), None, None, nthreads)
        values = [x if shape else x[()] for x in arrays]
    mahalanobis, trace, logdet, value, mean_part, cov_part = values
    terms = KLTerms(mahalanobis, trace, logdet, lazy.dim(p, q), value, mean_part, cov_part)
    if bad and on_error == "raise":
        refuse_nan(p, q, terms.kl, terms)
    return terms


def _batch_function(
    prefix: str,
    output: str,
    p: Gaussian,
    q: Gaussian | None,
    out: Any,
    on_error: str,
    threads: int | None,
    suffix: str = "",
) -> Any:
    """One array for each item, or for each item and dimension."""
    nthreads = checked(p, q, on_error, threads)
    if lazy.wanted(p, q):
        if out is not None:
            raise TypeError("out= cannot take lazy results")
        return lazy.call(prefix, p, q, suffix)[0]
    given = None if out is None else (out,)
    (value,), bad, shape = _core.evaluate(output, p, q, (0,), given, None, nthreads)
    if not shape and out is None:
        value = value[()]
    if bad and on_error == "raise":
        refuse_nan(p, q, value, value, scale_only=output == "entropy")
    return value


def checked(p: Any, q: Any, on_error: str, threads: Any) -> int:
    """The arguments that all functions have; gives the number of threads, 0 for the default."""
    if type(p) not in CLASSES or (q is not None and type(q) not in CLASSES):
        name, x = ("p", p) if type(p) not in CLASSES else ("q", q)
        raise TypeError(f"{name} is a {type(x).__name__}, not a gkl distribution")
    if on_error != "raise":
        raises(on_error)
    return 0 if threads is None else checked_threads(threads)


def refuse_nan(p: Any, q: Any, value: Any, result: Any, scale_only: bool = False) -> None:
    """The bad items are where the value is NaN."""
    owners = by_name(p, q)
    bad = np.isnan(value)
    if bad.ndim > len(np.broadcast_shapes(*(x.batch_shape for x in owners.values()))):
        bad = bad.any(axis=-1)  # of each dimension
    refuse(owners, bad, value, result, scale_only)
