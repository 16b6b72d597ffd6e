# SPDX-License-Identifier: BSD-3-Clause
"""Divergence and gradients: names and errors around the core, no arithmetic."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gkl import _core, lazy
from gkl._core import Gaussian
from gkl.divergence import OnError, checked, refuse_nan

__all__ = ["kl_and_grad"]

P = TypeVar("P", bound=Gaussian)
Q = TypeVar("Q", bound=Gaussian)

# where the core puts the gradients, in the order of the parameters
PLACES_P = {"diag": (1, 2), "full": (1, 2), "low_rank": (1, 5, 2)}
PLACES_Q = {"diag": (3, 4), "full": (3, 4), "low_rank": (3, 6, 4)}


def kl_and_grad(
    p: P,
    q: Q | None = None,
    *,
    weight: ArrayLike | None = None,
    wrt: Collection[str] = ("p", "q"),
    out: tuple[Any, P | None, Q | None] | None = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> tuple[Any, P | None, Q | None]:
    """KL(p || q) and the gradients of sum(weight * KL) with respect to the parameters of p and q.

    Parameters
    ----------
    p, q, on_error, threads
        As in :func:`kl`.
    weight : array_like, optional
        What multiplies the gradients, item by item; it broadcasts to the batch.
    wrt : sequence of {"p", "q"}
        Whose gradients are wanted.
    out : tuple (kl, grad_p, grad_q), optional
        Where results go: an array for the value; for each gradient a Gaussian of the class and
        parameters of p or q, of arrays with their shapes; None for a new one.

    Returns
    -------
    kl : numpy.ndarray or scalar
        The same bits as :func:`kl`; not weighted.
    grad_p, grad_q : DiagNormal, FullNormal or LowRankNormal; or None
        Gradients by the names of the parameters, in an object of p's or q's own class, each in
        the shape of its own parameter: summed over the axes along which that parameter was
        broadcast.  None for what is not in `wrt` and for ``q=None``.  The sums are compensated
        (for float32: in double), in fixed blocks.

    Raises
    ------
    InvalidGaussianError
        As :func:`kl`.  The gradients of a bad item, and sums that contain it, are NaN.
    ValueError
        Shapes that do not fit; a `wrt` of other names; an `out` that is not such a tuple.
    TypeError
        Arguments of other kinds.

    Notes
    -----
    With delta = mean_p - mean_q, diagonal covariances have, per dimension, with
    u = v_p/v_q - 1 and m = delta^2/v_q::

        d/dmean_p = delta/v_q = -d/dmean_q
        d/dv_p = u/(2 v_p)        d/ds_p = u/s_p           d/dlogvar_p = u/2
        d/dv_q = -(u + m)/(2 v_q) d/ds_q = -(u + m)/s_q    d/dlogvar_q = -(u + m)/2

    and others, with the lower Cholesky factors L and W = Lq^-1 Lp = I + X, y = Lq^-1 delta::

        d/dmean_p = Sq^-1 delta = -d/dmean_q
        Gp = d/dSp = 1/2 Lp^-T (X + X^T + X^T X) Lp^-1
        Gq = d/dSq = -1/2 Lq^-T (X + X^T + X X^T + y y^T) Lq^-1
        d/dL = 2 tril(G L)        d/dS^-1 = -S G S
        S = F F^T + diag(v): d/dF = 2 G F, d/dv = diag(G)

    The gradient of a covariance or precision is symmetric, both triangles written, and means
    dKL = sum_ij G_ij dS_ij over all i and j, although only the lower triangle of the parameter
    is read; that of a Cholesky factor is lower triangular, with zeros above.

    Each is accurate to 4 eps for diagonal covariances (those in q's scale relative to abs(u) + m);
    for full ones to 8 eps (kq + kp), relative to its Frobenius norm in coordinates of unit
    variance, kp and kq as in :func:`kl`, times 1 + 1/sqrt(cov part of the divergence) where the
    parameters of p and q are of different kinds; the one in q's covariance, where p is far from q,
    relative to the sum of the norms of its terms, 1/2 Sq^-1 and
    -1/2 Sq^-1 (Sp + delta delta^T) Sq^-1 (of two precisions the one in p's, likewise).  Where a
    divergence is inf, its gradients have no such accuracy and may be NaN or 0.
    They are derived from the formula of :func:`kl`.  Where an item's gradient overflows, a sum
    that contains it does, and may be NaN when infinities of both signs meet; an item of weight 0
    counts as 0.  Parameters that are summed over different axes of the batch take one pass over
    the data for each set of axes.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.array([[0.0, 1.0]]), logvar=np.zeros((1, 2)))
    >>> value, grad_p, grad_q = gkl.kl_and_grad(p)
    >>> value, grad_p.mean
    (array([0.5]), array([[0., 1.]]))
    >>> q = gkl.FullNormal(np.array([1.0, 0.0]), cov=np.eye(2))
    >>> value, grad_p, grad_q = gkl.kl_and_grad(p, q)
    >>> grad_q.cov
    array([[-0.5,  0.5],
           [ 0.5, -0.5]])
    """
    nthreads = checked(p, q, on_error, threads)
    if wrt is None or not set(wrt) <= {"p", "q"}:
        raise ValueError(f"wrt= takes 'p' and 'q', not {wrt!r}")
    if out is not None and (not isinstance(out, tuple | list) or len(out) != 3):
        raise ValueError("out= takes three: the value, the gradients of p and those of q")
    if weight is not None:
        weight = _checked_weight(weight)
    if lazy.wanted(p, q, weight):
        if out is not None:
            raise TypeError("out= cannot take lazy results")
        return lazy.kl_and_grad(p, q, weight, wrt)
    places_p = PLACES_P[p.structure] if "p" in wrt else ()
    places_q = PLACES_Q[q.structure] if "q" in wrt and q is not None else ()
    targets = None if out is None else _targets(out, p, q, bool(places_p), bool(places_q))
    arrays, bad, shape = _core.evaluate(
        "grad", p, q, (0, *places_p, *places_q), targets, weight, nthreads
    )
    value = arrays[0] if shape or (out and out[0] is not None) else arrays[0][()]
    n = len(places_p) + 1
    grad_p = p.like(arrays[1:n]) if places_p else None
    grad_q = q.like(arrays[n:]) if q is not None and places_q else None
    result = (value, grad_p, grad_q)
    if bad and on_error == "raise":
        refuse_nan(p, q, value, result)
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


def _targets(out: Any, p: Any, q: Any, with_p: bool, with_q: bool) -> list[Any]:
    """out= as one array or None for each output."""
    targets = [out[0]]
    for name, x, given, is_wanted in (("p", p, out[1], with_p), ("q", q, out[2], with_q)):
        if not is_wanted:
            if given is not None:
                raise ValueError(f"out= has a gradient of {name}, which is not asked for")
        elif given is None:
            targets += [None] * len(x.parameters)
        elif type(given) is not type(x) or given.parameter != x.parameter:
            raise TypeError(
                f"out= wants a {type(x).__name__} with {x.parameter}= for the gradient of {name}"
            )
        else:
            targets += given.parameters.values()
    return targets
