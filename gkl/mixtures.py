# SPDX-License-Identifier: BSD-3-Clause
"""The divergence between Gaussian mixtures, from that between their components or by samples."""

from __future__ import annotations

import math
from operator import index
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from gkl._core import Gaussian
from gkl.divergence import kl
from gkl.errors import refuse
from gkl.pairwise import bad_items, checked_pair, pairwise_kl

__all__ = ["gmm_kl"]

Method: TypeAlias = Literal["variational", "matched", "montecarlo"]
BLOCK = 1 << 20  # numbers that a block of samples takes, about


def gmm_kl(
    weights_p: ArrayLike,
    p: Gaussian,
    weights_q: ArrayLike,
    q: Gaussian,
    method: Method = "variational",
    *,
    samples: int = 100_000,
    seed: int | np.random.Generator | None = None,
    return_error: bool = False,
    threads: int | None = None,
) -> Any:
    r"""Kullback-Leibler divergence KL(f || g) between two Gaussian mixtures, in nats.

    There is no closed form for :math:`f = \sum_a w_a p_a` and :math:`g = \sum_b v_b q_b`.  The
    methods "variational" and "matched" approximate it by the divergences of the components,
    and "montecarlo" by the mean over samples x of f:

    .. math:: D_{var} = \sum_a w_a \log \frac{\sum_{a'} w_{a'} e^{-KL(p_a || p_{a'})}}
                                             {\sum_b v_b e^{-KL(p_a || q_b)}}

    .. math:: D_{match} = \sum_a w_a \min_b \left[KL(p_a || q_b) + \log \frac{w_a}{v_b}\right]

    .. math:: D_{MC} = \frac1n \sum_i \log \frac{f(x_i)}{g(x_i)}

    Parameters
    ----------
    weights_p, weights_q : array_like, shapes (A,) and (B,)
        w and v: finite, not negative, of sum 1 to within 1e-6; they are divided by their sum.
        A component of weight 0 is left out, and its Gaussian is not looked at.
    p, q : DiagNormal, FullNormal or LowRankNormal
        The components, of batch shapes (A,) and (B,).  Structures and parameterizations may
        differ.
    method : {"variational", "matched", "montecarlo"}
        The formula.
    samples : int
        n >= 2, of "montecarlo" alone.
    seed : int or numpy.random.Generator, optional
        What :func:`numpy.random.default_rng` takes, for "montecarlo" alone.  The same seed gives
        the same samples.
    return_error : bool
        Return the standard error too, which only "montecarlo" has.
    threads : int, optional
        Threads for the divergences of components instead of :func:`gkl.get_num_threads`.

    Returns
    -------
    float, or (float, float) with `return_error`
        The divergence, computed in float64, and its standard error: the standard deviation of
        log f/g over the samples, divided by sqrt(n).

    Raises
    ------
    InvalidGaussianError
        Some components of p, or else of q, are bad; `index` is that of these components.
    ValueError
        Weights that are no mixture's, batches that are not of one axis, dimensions that differ,
        an unknown method, fewer than two samples, `return_error` with another method.
    TypeError
        Arguments of other kinds; lazy parameters.

    Notes
    -----
    "variational", of J. R. Hershey and P. A. Olsen, "Approximating the Kullback Leibler divergence
    between Gaussian mixture models" (ICASSP 2007), is the difference of lower bounds of the means
    of log f and log g under f, so it is no bound itself, and may be negative.  It is exactly 0
    where weights and components are equal, in the same order; splitting a component in two equal
    ones leaves it as it is, but for rounding.

    "matched", of J. Goldberger, S. Gordon and H. Greenspan, "An efficient image similarity
    measure based on approximations of KL-divergence between two Gaussian mixtures" (ICCV 2003),
    suits components that overlap little.  It is an upper bound of KL(f || g) where no two
    components of p are matched with the same one of q; else it may be below, negative, and not 0
    for equal mixtures.

    KL(f || g) is at most H(w) above either, the entropy of the weights, which is at most log A.
    With one component in each mixture both are KL(p || q), to the bits of :func:`gkl.kl`.
    Otherwise the components' divergences are those of :func:`gkl.pairwise_kl`.

    "montecarlo" is unbiased, though it may be negative as well, and its error falls as 1/sqrt(n).
    Where g has light tails, rare samples carry much of the mean, and the standard error is too
    small until there are enough of them.  Memory does not grow with n.

    A divergence is inf only where every component of g is farther than float64 reaches from one
    of f, or from a sample.  Its standard error is inf as well.

    Examples
    --------
    >>> import gkl
    >>> p = gkl.DiagNormal([[-2.0], [2.0]], var=1.0)
    >>> q = gkl.DiagNormal([[-2.0], [3.0]], var=1.0)
    >>> round(gkl.gmm_kl([0.5, 0.5], p, [0.25, 0.75], q), 4)
    0.3941
    >>> round(gkl.gmm_kl([0.5, 0.5], p, [0.25, 0.75], q, "matched"), 4)
    0.3938
    >>> value, error = gkl.gmm_kl([0.5, 0.5], p, [0.25, 0.75], q, "montecarlo", seed=0,
    ...                           return_error=True)
    >>> abs(value - 0.37906) < 5 * error  # from the integral
    True
    """
    if method not in ("variational", "matched", "montecarlo"):
        raise ValueError(f"method= takes 'variational', 'matched' or 'montecarlo', not {method!r}")
    if return_error and method != "montecarlo":
        raise ValueError(f"return_error=True is for 'montecarlo'; {method!r} has no such error")
    checked_pair(p, q, "raise", threads)
    w, p = _mixture("p", weights_p, p)
    v, q = _mixture("q", weights_q, q)
    if method == "montecarlo":
        n = _checked_samples(samples)
        value, error = _montecarlo(w, p, v, q, n, np.random.default_rng(seed))
        return (value, error) if return_error else value
    if len(w) == len(v) == 1:
        return float(kl(p, q, threads=threads)[0])
    apart = pairwise_kl(p, q, threads=threads)
    if method == "matched":
        return float((w * (apart - np.log(v) + np.log(w)[:, np.newaxis]).min(axis=1)).sum())
    within = pairwise_kl(p, p, threads=threads)
    log_f, log_g = _log_sum_exp(np.log(w) - within), _log_sum_exp(np.log(v) - apart)
    return float((w * (log_f - log_g)).sum())


def _mixture(name: str, weights: Any, x: Gaussian) -> tuple[Any, Gaussian]:
    """Weights that sum to 1 and float64 Gaussians, without those of weight 0."""
    if x.foreign:
        raise TypeError(f"{name} has lazy parameters, and gmm_kl wants NumPy arrays")
    w = _checked_weights(f"weights_{name}", weights, name, len(x))
    if x.dtype != np.float64:
        given = x.parameters.values()
        x = x.like([a if isinstance(a, float) else np.asarray(a, np.float64) for a in given])
    there = np.flatnonzero(w)
    kept = x if len(there) == len(w) else x[there]
    bad = np.zeros(len(w), bool)
    bad[there] = bad_items(kept)
    if bad.any():
        refuse({name: x}, bad, None, None)
    return w[there], kept


def _checked_weights(name: str, weights: Any, owner: str, n: int) -> Any:
    """As float64, of sum 1."""
    if isinstance(weights, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would not be seen")
    try:
        w = np.asarray(weights)
    except ValueError as error:
        raise ValueError(f"{name} is not an array of numbers: {error}") from None
    if w.dtype.kind not in "fiub" and w.dtype.name != "bfloat16":
        raise TypeError(f"{name} has dtype {w.dtype}; real numbers are wanted")
    if w.shape != (n,):
        raise ValueError(f"{name} has shape {w.shape}, and {owner} has {n} components")
    w = w.astype(np.float64)
    for good, words in ((np.isfinite(w), "is not finite"), (w >= 0, "is negative")):
        if not good.all():
            i = int(np.argmin(good))
            raise ValueError(f"{name}[{i}] = {float(w[i])!r} {words}")
    with np.errstate(over="ignore"):
        total = float(w.sum())
    if not abs(total - 1) <= 1e-6:
        raise ValueError(f"{name} sum to {total:.10g}, not 1")
    return w / total


def _checked_samples(n: Any) -> int:
    try:
        n = index(n)
    except TypeError:
        raise TypeError(f"samples= takes an integer, not {n!r}") from None
    if n < 2:
        raise ValueError(f"samples= takes at least 2, not {n}")
    return int(n)


def _log_sum_exp(x: Any) -> Any:
    """log sum exp over the last axis; -inf where all are."""
    top = x.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]


def _montecarlo(
    w: Any, p: Gaussian, v: Any, q: Gaussian, samples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Mean of log f/g over samples of f, and its standard error."""
    from gkl.whitened import Whitened

    f, g = Whitened(p), Whitened(q)
    step = max(BLOCK // (len(w) + len(v) + 4 * p.dim + 1), 16)
    count, mean, squares = 0, 0.0, 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        while count < samples:
            n = min(step, samples - count)
            counts = rng.multinomial(n, w)
            steps = f.draw(counts, rng)
            centers = np.repeat(f.mean, counts, axis=0)
            ratio = _log_sum_exp(np.log(w) + f.log_densities(centers, steps))
            ratio -= _log_sum_exp(np.log(v) + g.log_densities(centers, steps))
            # those before and these, merged
            own = float(ratio.mean())
            apart = own - mean
            share = n / (count + n)
            squares += float(np.square(ratio - own).sum()) + apart * apart * count * share
            mean += apart * share
            count += n
    if not math.isfinite(mean):
        return math.inf, math.inf
    return mean, math.sqrt(squares / (samples - 1) / samples)
