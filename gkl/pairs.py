# SPDX-License-Identifier: BSD-3-Clause
"""Chosen pairs of two batches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gkl import _core, lazy
from gkl._core import Gaussian
from gkl.divergence import OnError
from gkl.errors import InvalidGaussianError, first_reason
from gkl.pairwise import ROW_METRICS, bad_items, checked_pair

__all__ = ["pairs_kl"]


def pairs_kl(
    p: Gaussian,
    q: Gaussian,
    i: Any,
    j: Any,
    *,
    metric: Literal["kl", "reverse_kl", "jeffreys"] = "kl",
    out: Any = None,
    on_error: OnError = "raise",
    threads: int | None = None,
) -> Any:
    """Divergence of chosen pairs, KL(p[i] || q[j]), without a copy of their parameters.

    Parameters
    ----------
    p, q : DiagNormal, FullNormal or LowRankNormal
        Of batch shapes (n,) and (m,).
    i, j : array_like of int
        Which of p and which of q; they broadcast, and negative ones count from the end.
    metric : {"kl", "reverse_kl", "jeffreys"}
        As in :func:`pairwise_kl`.
    out : numpy.ndarray, optional
        Where the result goes; it has the common shape of `i` and `j`.
    on_error, threads
        As in :func:`gkl.kl`.

    Returns
    -------
    numpy.ndarray or scalar, the common shape of `i` and `j`
        The bits of :func:`gkl.kl` or :func:`gkl.jeffreys`, in nats.

    Raises
    ------
    InvalidGaussianError
        Some of the pairs have a bad item; all others have been computed and stored.
    IndexError
        An index that p or q does not have.
    ValueError, TypeError
        As :func:`pairwise_kl`.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.arange(4.0).reshape(4, 1), var=1.0)
    >>> gkl.pairs_kl(p, p, [0, 0, 3], [1, 2, -1])
    array([0.5, 2. , 0. ])
    """
    nthreads = checked_pair(p, q, on_error, threads)
    if metric not in ROW_METRICS:
        raise ValueError(f"metric= takes {', '.join(ROW_METRICS)} for pairs, not {metric!r}")
    if lazy.wanted(p, q):
        raise TypeError("pairs_kl wants NumPy arrays, not lazy ones")
    first, second = _indices("i", i, len(p)), _indices("j", j, len(q))
    try:
        first, second = np.broadcast_arrays(first, second)
    except ValueError:
        raise ValueError(f"i and j do not fit: shapes {np.shape(i)} and {np.shape(j)}") from None
    flat = None
    if out is not None:
        if getattr(out, "shape", None) != first.shape:
            raise ValueError(f"out has shape {np.shape(out)}, the result {first.shape}")
        flat = out.reshape(-1) if out.flags.c_contiguous else None
    value, bad = pair_values(p, q, first.ravel(), second.ravel(), metric, flat, nthreads)
    value = value.reshape(first.shape)
    if out is not None:
        if flat is None:
            np.copyto(out, value, casting="same_kind")
        value = out
    elif not first.shape:
        value = value[()]
    if bad and on_error == "raise":
        _refuse(p, q, first, second, np.isnan(value), value)
    return value


def _refuse(p: Any, q: Any, i: Any, j: Any, wrong: Any, value: Any) -> None:
    """InvalidGaussianError for the pairs that are wrong, `index` among the pairs."""
    index = np.argwhere(wrong)
    at = tuple(index[0])
    bad = bad_items(p), bad_items(q)
    if bad[0][i[at]]:
        reason = first_reason({"p": p}, (int(i[at]),))
    else:
        reason = first_reason({"q": q}, (int(j[at]),))
    raise InvalidGaussianError(reason, index, wrong.size, value, value)


def pair_values(
    p: Gaussian, q: Gaussian, i: Any, j: Any, metric: str, out: Any, nthreads: int
) -> tuple[Any, int]:
    """The exact values of pairs, and how many are bad."""
    if len(i) > len(p) + len(q):  # what is met more than once is factored once
        p, q = p.prepare(on_error="nan"), q.prepare(on_error="nan")
    if metric == "reverse_kl":
        p, q, i, j = q, p, j, i
    return _core.pairs("jeffreys" if metric == "jeffreys" else "value", p, q, i, j, out, nthreads)


def _indices(name: str, given: Any, n: int) -> Any:
    """Indices of n items, from 0 on."""
    index = np.asarray(given)
    if index.size == 0:
        return index.astype(np.intp)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {index.dtype}; integers are wanted")
    wrong = (index >= n) | (index < -n)
    if wrong.any():
        at = tuple(int(x) for x in np.argwhere(wrong)[0])
        where = f"{name}[{', '.join(map(str, at))}]" if at else name
        raise IndexError(f"{where} = {index[at]} is not an index of {n} Gaussians")
    index = index.astype(np.intp)
    return np.where(index < 0, index + n, index)
