# SPDX-License-Identifier: BSD-3-Clause
"""Divergences, entropies and gradients: names and errors around the core, no arithmetic."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from gkl import _core, lazy
from gkl._core import DiagNormal
from gkl.errors import InvalidGaussianError, first_reason
from gkl.threads import checked_threads

__all__ = [
    "KLTerms",
    "cross_entropy",
    "entropy",
    "jeffreys",
    "kl",
    "kl_and_grad",
    "kl_per_dim",
    "kl_terms",
]

OnError: TypeAlias = Literal["raise", "nan"]
Gradients: TypeAlias = tuple[Any, DiagNormal | None, DiagNormal | None]


def kl(
    p: DiagNormal,
    q: DiagNormal | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Kullback-Leibler divergence KL(p || q) of every pair of a batch, in nats.

    .. math:: KL = \frac12 \sum_j \left[\frac{(\mu_p - \mu_q)^2}{v_q}
                   + \frac{v_p}{v_q} - 1 - \log\frac{v_p}{v_q}\right]_j

    Parameters
    ----------
    p : DiagNormal
        The first argument of the divergence.
    q : DiagNormal, optional
        The second; None is the standard normal N(0, I).  Parameterizations may differ, batches
        broadcast.
    out : numpy.ndarray, optional
        Where the result goes; it has the batch's shape.
    on_error : {"raise", "nan"}
        What to do about items whose divergence is undefined: a variance or standard deviation
        that is not positive, a parameter that is NaN or infinite.  They are NaN in either case.
        Lazy (Dask) results always have NaN there.
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
    before anything else, and what is summed is never negative, so the result is accurate to 4
    units in the last place (4 eps) also where p is almost q, at least 0, and 0 where p equals q.
    Where one scale is a logvar and the other is not, the latter's logarithm is rounded once:
    near equality the bound per dimension is 4 eps (1 + 1/\|u\|), u = v_p/v_q - 1.

    The same item gives the same bits for any number of threads, any strides and any batch.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0, 1.0], [0.0, 0.0]]), std=1.0)
    >>> gkl.kl(p)
    array([0.5, 0. ])
    """
    return _batch_function("kl", "value", p, q, out, on_error, threads)


def jeffreys(
    p: DiagNormal,
    q: DiagNormal | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Jeffreys divergence KL(p || q) + KL(q || p) of every pair of a batch, in nats.

    The logarithms cancel, so it is computed without them:

    .. math:: J = \frac12 \sum_j \left[\frac{(v_p - v_q)^2}{v_p v_q}
                  + (\mu_p - \mu_q)^2 \left(\frac1{v_p} + \frac1{v_q}\right)\right]_j

    Parameters, results and errors are those of :func:`kl`; the formula is that of H. Jeffreys,
    "An invariant form for the prior probability in estimation problems" (1946).

    Examples
    --------
    >>> import gkl
    >>> float(gkl.jeffreys(gkl.DiagNormal(1.0, var=1.0), gkl.DiagNormal(0.0, var=2.0)))
    1.0
    """
    return _batch_function("jeffreys", "jeffreys", p, q, out, on_error, threads)


def cross_entropy(
    p: DiagNormal,
    q: DiagNormal | None = None,
    *,
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of q relative to p, the mean of -log q under p, in nats.

    .. math:: H(p, q) = \frac12 \sum_j \left[\log 2\pi + \log v_q
                        + \frac{v_p + (\mu_p - \mu_q)^2}{v_q}\right]_j

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
    p: DiagNormal, *, out: Any = None, on_error: OnError = "raise", threads: int | None = None
) -> Any:
    r"""Differential entropy of every Gaussian of a batch, in nats.

    .. math:: H(p) = \frac12 \sum_j \left[1 + \log 2\pi + \log v_p\right]_j

    Source: Cover and Thomas, "Elements of Information Theory" (2nd edition), theorem 8.4.1.
    Parameters, results and errors are those of :func:`kl`; only the scale is looked at.

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

    Parameters, errors and accuracy are those of :func:`kl`.

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
    return _batch_function("kl", "per_dim", p, q, out, on_error, threads, "_per_dim")


@dataclass(frozen=True)
class KLTerms:
    """The terms of a divergence, each of the batch's shape.

    Attributes
    ----------
    mahalanobis, trace, logdet : numpy.ndarray
        The textbook terms, sum of (mean_p - mean_q)^2/v_q, of v_p/v_q and of log(v_q/v_p):
        KL = (mahalanobis + trace + logdet - dim)/2.
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
    p: DiagNormal,
    q: DiagNormal | None = None,
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
    nthreads = _check(p, q, on_error, threads)
    bad = 0
    if lazy.wanted(p, q):
        values = [*lazy.call("kl", p, q, "_terms"), *lazy.call("kl", p, q, "_parts")]
    else:
        arrays, bad, shape = _core.evaluate("terms", p, q, range(6), None, None, nthreads)
        values = [x if shape else x[()] for x in arrays]
    mahalanobis, trace, logdet, value, mean_part, cov_part = values
    terms = KLTerms(mahalanobis, trace, logdet, lazy.dim(p, q), value, mean_part, cov_part)
    if bad and on_error == "raise":
        _raise(p, q, terms.kl, terms)
    return terms


def kl_and_grad(
    p: DiagNormal,
    q: DiagNormal | None = None,
    *,
    weight: ArrayLike | None = None,
    wrt: Collection[str] = ("p", "q"),
    out: Gradients | None = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Gradients:
    """KL(p || q) and the gradients of sum(weight * KL) in the parameters of p and q.

    Parameters
    ----------
    p, q, on_error, threads
        As in :func:`kl`.
    weight : array_like, optional
        What multiplies the gradients, item by item; it broadcasts to the batch.
    wrt : sequence of {"p", "q"}
        Whose gradients are wanted.
    out : tuple (kl, grad_p, grad_q), optional
        Where results go: an array for the value, a DiagNormal of arrays with the parameters' own
        shapes for each gradient; None for a new one.

    Returns
    -------
    kl : numpy.ndarray or scalar
        The same bits as :func:`kl`; not weighted.
    grad_p, grad_q : DiagNormal or None
        Gradients by the names of the parameters, each in the shape of its own parameter: summed
        over the axes along which that parameter was broadcast.  None for what is not in `wrt` and
        for ``q=None``.  The sums are compensated (for float32: in double), in fixed blocks.

    Raises
    ------
    InvalidGaussianError
        As :func:`kl`.  The gradients of a bad item, and sums that contain it, are NaN.

    Notes
    -----
    With delta = mean_p - mean_q, u = v_p/v_q - 1 and m = delta^2/v_q, per dimension::

        d/dmean_p = delta/v_q = -d/dmean_q
        d/dv_p = u/(2 v_p)        d/ds_p = u/s_p           d/dlogvar_p = u/2
        d/dv_q = -(u + m)/(2 v_q) d/ds_q = -(u + m)/s_q    d/dlogvar_q = -(u + m)/2

    Each is accurate to 4 eps, those in q's scale relative to abs(u) + m; derived from the formula
    of :func:`kl`.  Where an item's gradient overflows, a sum that contains it does, and may be NaN
    when infinities of both signs meet; an item of weight 0 counts as 0.  Parameters that are
    summed over different axes of the batch take one pass over the data for each set of axes.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0, 1.0]]), logvar=np.zeros((1, 2)))
    >>> value, grad_p, grad_q = gkl.kl_and_grad(p)
    >>> value, grad_p.mean
    (array([0.5]), array([[0., 1.]]))
    """
    nthreads = _check(p, q, on_error, threads)
    if not set(wrt) <= {"p", "q"}:
        raise ValueError(f"wrt= takes 'p' and 'q', not {wrt!r}")
    if out is not None and len(out) != 3:
        raise ValueError("out= takes three: the value, the gradients of p and those of q")
    if weight is not None:
        weight = _checked_weight(weight)
    if lazy.wanted(p, q, weight):
        if out is not None:
            raise TypeError("out= cannot take lazy results")
        return lazy.kl_and_grad(p, q, weight, wrt)
    with_p, with_q = "p" in wrt, "q" in wrt and q is not None
    places = (0,) + (1, 2) * with_p + (3, 4) * with_q
    targets = None if out is None else _targets(out, p, q, with_p, with_q)
    arrays, bad, shape = _core.evaluate("grad", p, q, places, targets, weight, nthreads)
    value = arrays[0] if shape or (out and out[0] is not None) else arrays[0][()]
    grad_p = _gradient(p, *arrays[1:3]) if with_p else None
    grad_q = _gradient(q, *arrays[-2:]) if with_q else None
    result = (value, grad_p, grad_q)
    if bad and on_error == "raise":
        _raise(p, q, value, result)
    return result


def _checked_weight(weight: Any) -> Any:
    """An array of real numbers, or a foreign one as it is."""
    if isinstance(weight, np.ma.MaskedArray):
        raise TypeError("weight is a masked array, and gkl would not see its mask")
    if lazy.is_foreign(weight):
        return weight
    weight = np.asarray(weight)
    if weight.dtype.kind not in "fiub" and weight.dtype.name != "bfloat16":
        raise TypeError(f"weight has dtype {weight.dtype}; real numbers are wanted")
    return weight


def _gradient(x: Any, mean: Any, scale: Any) -> DiagNormal:
    return DiagNormal(mean, **{x.parameter: scale})


def _targets(out: Any, p: Any, q: Any, with_p: bool, with_q: bool) -> list[Any]:
    """out= of kl_and_grad as one array or None for each output."""
    arrays = [out[0]]
    for name, x, given, is_wanted in (("p", p, out[1], with_p), ("q", q, out[2], with_q)):
        if not is_wanted:
            if given is not None:
                raise ValueError(f"out= has a gradient of {name}, which is not asked for")
        elif given is None:
            arrays += [None, None]
        elif not isinstance(given, DiagNormal) or given.parameter != x.parameter:
            raise TypeError(
                f"out= wants a DiagNormal with {x.parameter}= for the gradient of {name}"
            )
        else:
            arrays += [given.mean, getattr(given, given.parameter)]
    return arrays


def _batch_function(
    prefix: str,
    output: str,
    p: DiagNormal,
    q: DiagNormal | None,
    out: Any,
    on_error: str,
    threads: int | None,
    suffix: str = "",
) -> Any:
    """One array for each item, or for each item and dimension."""
    nthreads = _check(p, q, on_error, threads)
    if lazy.wanted(p, q):
        if out is not None:
            raise TypeError("out= cannot take lazy results")
        return lazy.call(prefix, p, q, suffix)[0]
    given = None if out is None else (out,)
    (value,), bad, shape = _core.evaluate(output, p, q, (0,), given, None, nthreads)
    if not shape and out is None:
        value = value[()]
    if bad and on_error == "raise":
        _raise(p, q, value, value, scale_only=output == "entropy")
    return value


def _check(p: Any, q: Any, on_error: str, threads: Any) -> int:
    """The arguments that all functions have; gives the number of threads, 0 for the default."""
    if type(p) is not DiagNormal or (q is not None and type(q) is not DiagNormal):
        name, x = ("p", p) if type(p) is not DiagNormal else ("q", q)
        raise TypeError(f"{name} is a {type(x).__name__}, not a gkl distribution")
    if on_error not in ("raise", "nan"):
        raise ValueError(f"on_error= takes 'raise' or 'nan', not {on_error!r}")
    return 0 if threads is None else checked_threads(threads)


def _raise(p: Any, q: Any, value: Any, result: Any, scale_only: bool = False) -> NoReturn:
    """The bad items are where the value is NaN: say how many, which, and why the first."""
    items = np.isnan(value)
    if items.ndim > len(np.broadcast_shapes(p.batch_shape, () if q is None else q.batch_shape)):
        items = items.any(axis=-1)  # of each dimension
    index = np.argwhere(items)
    reason = first_reason(p, q, tuple(index[0]), scale_only)
    raise InvalidGaussianError(reason, index, items.size, value, result)
