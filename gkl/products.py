# SPDX-License-Identifier: BSD-3-Clause
"""Every p against every q where one of them is not diagonal.

Two full covariances by matrix products, with S the covariance, P the inverse of S_q, and means
taken from a common center::

    2 KL = tr(P (S_p + m_p m_p^T)) - 2 m_p^T P m_q + m_q^T P m_q + log det S_q - log det S_p - d

which is one product of packed symmetric matrices for all pairs.  Where its rounding errors may
show, and for other structures, the kernels of single pairs do the work.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gkl import _core
from gkl._core import Gaussian
from gkl.errors import computed_in

__all__ = ["TOLERANCE", "pairwise"]

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}
EPS = float(np.finfo(np.float64).eps)
BLOCK_BYTES = 1 << 24  # of the factors of a product, and of values


def pairwise(
    p: Gaussian, q: Gaussian, metric: str, out: Any, nthreads: int, tolerance: float | None = None
) -> Any:
    """(values, bad p, bad q); values go to `out` if that is given.  They are within `tolerance`,
    relatively, or what is usual for their type."""
    dtype = computed_in((p, q))
    shape = (len(p), len(q))
    if out is None:
        out = np.empty(shape, dtype)
    elif not isinstance(out, np.ndarray) or out.shape != shape:
        raise ValueError(f"out has shape {np.shape(out)}, the result {shape}")
    elif not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"out has dtype {out.dtype}, which cannot hold {dtype}")
    bad = tuple(
        np.isnan(_core.evaluate("value", x, None, (0,), None, None, nthreads)[0][0])
        for x in (p, q)
    )
    p, q = p.prepare(on_error="nan"), q.prepare(on_error="nan")
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    if metric == "reverse_kl":
        values = _kl(q, p, dtype, limit, nthreads).T
    else:
        values = _kl(p, q, dtype, limit, nthreads)
    if metric == "jeffreys":
        values += _kl(q, p, dtype, limit, nthreads).T
    values[bad[0]] = np.nan
    values[:, bad[1]] = np.nan
    np.copyto(out, values, casting="same_kind")
    return out, *bad


def _kl(p: Gaussian, q: Gaussian, dtype: Any, tolerance: float, nthreads: int) -> Any:
    values = np.empty((len(p), len(q)), dtype)
    if p.structure == q.structure == "full":
        _by_products(p, q, values, tolerance, nthreads)
        return values
    step = max(BLOCK_BYTES // max(8 * len(q), 1), 1)
    for start in range(0, len(p), step):
        part = p[start : start + step].reshape(-1, 1)
        target = values[start : start + step]
        _core.evaluate("value", part, q.reshape(1, -1), (0,), (target,), None, nthreads)
    return values


class _Batch(NamedTuple):
    """Full covariances in float64: means, S, its inverse and log det; of bad ones those of I."""

    mean: Any
    cov: Any
    precision: Any
    logdet: Any
    is_inverse: bool  # S is, and has the errors of one


def _float64(x: Gaussian) -> _Batch:
    factor: Any
    own: Any
    full: Any = x
    factor = np.tril(np.asarray(full.tril if x.parameter == "tril" else full.cholesky, np.float64))
    pivots = np.diagonal(factor, axis1=-2, axis2=-1)
    good = np.isfinite(factor).all((-2, -1)) & (pivots > 0).all(-1)
    factor = np.where(good[..., np.newaxis, np.newaxis], factor, np.eye(x.dim))
    own = factor @ factor.swapaxes(-1, -2)
    inverse = np.linalg.inv(factor)
    inverse = inverse.swapaxes(-1, -2) @ inverse
    logdet = 2 * np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
    mean = np.asarray(x.mean, float)
    mean = np.broadcast_to(np.where(np.isfinite(mean), mean, 0), (len(x), x.dim))
    if x.parameter == "precision":
        own, inverse, logdet = inverse, own, -logdet
    matrix = (len(x), x.dim, x.dim)
    return _Batch(mean, np.broadcast_to(own, matrix), np.broadcast_to(inverse, matrix),
                  np.broadcast_to(logdet, len(x)), x.parameter == "precision")  # fmt: skip


def _condition(x: _Batch, scale: Any) -> Any:
    """Condition numbers, of covariances in the units of `scale`."""
    squares = scale * scale[:, np.newaxis]
    size = [np.linalg.norm(a, axis=(1, 2)) for a in (x.precision * squares, x.cov / squares)]
    return size[0] * size[1]


@np.errstate(all="ignore")
def _by_products(p: Gaussian, q: Gaussian, values: Any, tolerance: float, nthreads: int) -> None:
    """Blocks of values by products, and by the kernel of pairs where these may be wrong."""
    d = q.dim
    most = max(BLOCK_BYTES // (4 * (d + 1) * (d + 2)), 1)
    width = min(most, int(math.sqrt(BLOCK_BYTES / 8)))
    step = min(most, max(BLOCK_BYTES // (8 * width), 1))
    for j in range(0, len(q), width):
        right = _float64(q[j : j + width])
        center = right.mean.mean(0)
        scale = np.sqrt(np.diagonal(right.cov, axis1=1, axis2=2).mean(0))
        factors_q, size_q, rest_q = _of_second(right, center, scale)
        for i in range(0, len(p), step):
            factors_p, size_p, rest_p = _of_first(_float64(p[i : i + step]), center, scale)
            found = factors_p @ factors_q.T
            found += rest_q
            found -= rest_p[:, np.newaxis] + d
            found /= 2
            error = size_p[:, np.newaxis] * size_q
            error += EPS * (np.abs(rest_q) + np.abs(rest_p)[:, np.newaxis] + d)
            again = np.nonzero(~(found * tolerance >= error))
            target = values[i : i + step, j : j + width]
            np.copyto(target, found, casting="same_kind")
            if len(again[0]):
                one, other = again[0] + i, again[1] + j
                target[again] = _core.pairs("value", p, q, one, other, None, nthreads)[0]


def _of_first(x: _Batch, center: Any, scale: Any) -> tuple[Any, Any, Any]:
    """Rows of the left factor, their sizes, and log det S."""
    mean = (x.mean - center) / scale
    moment = x.cov / (scale * scale[:, np.newaxis]) + mean[:, :, np.newaxis] * mean[:, np.newaxis]
    rows, columns = np.tril_indices(mean.shape[1])
    packed = moment[:, rows, columns] * np.where(rows == columns, 1, 2)
    factors = np.concatenate((packed, -2 * mean, np.ones((len(mean), 1))), axis=1)
    size = np.linalg.norm(factors, axis=1)
    if x.is_inverse:
        size *= 1 + _condition(x, scale)
    return factors, size, x.logdet


def _of_second(x: _Batch, center: Any, scale: Any) -> tuple[Any, Any, Any]:
    """Rows of the right factor, the errors per size of a left one, and log det S."""
    mean = (x.mean - center) / scale
    precision = x.precision * (scale * scale[:, np.newaxis])
    rows, columns = np.tril_indices(mean.shape[1])
    image = (precision @ mean[:, :, np.newaxis])[..., 0]
    square = (image * mean).sum(1, keepdims=True)
    factors = np.concatenate((precision[:, rows, columns], image, square), axis=1)
    condition = _condition(x, scale)
    return factors, EPS * (4 + condition) * np.linalg.norm(factors, axis=1), x.logdet
