# SPDX-License-Identifier: BSD-3-Clause
"""Batches of matrices, with np.linalg; what has no result is NaN, where np.linalg would raise."""

import numpy as np

from gkl.reference.parts import Array


def transpose(x: Array) -> Array:
    """The transposed matrices."""
    return np.swapaxes(x, -1, -2)


def diagonal(x: Array) -> Array:
    """Their diagonals."""
    return np.diagonal(x, axis1=-2, axis2=-1)


def diag(x: Array) -> Array:
    """Diagonal matrices."""
    return np.asarray(x[..., None] * np.eye(x.shape[-1], dtype=x.dtype))


def symmetric(x: Array) -> Array:
    """The matrix with this lower triangle."""
    return np.tril(x) + transpose(np.tril(x, -1))


def square(x: Array, axes: int = 1) -> Array:
    """|x|^2 of vectors, or of matrices (axes = 2)."""
    return np.asarray((x * x).sum(axis=tuple(range(-axes, 0))))


def solve(a: Array, b: Array) -> Array:
    """a^-1 b for vectors b."""
    return np.asarray(np.linalg.solve(a, b[..., None])[..., 0])


def cholesky(s: Array) -> Array:
    """Lower factors; NaN where there is none."""
    try:
        return np.linalg.cholesky(s)
    except np.linalg.LinAlgError:
        if s.ndim == 2:
            return np.full_like(s, np.nan)
        return np.stack([cholesky(x) for x in s])


def inverse(s: Array) -> Array:
    """Inverses of what is positive definite, NaN of the rest."""
    lower = cholesky(s)
    x = np.linalg.solve(lower, np.broadcast_to(np.eye(s.shape[-1], dtype=s.dtype), s.shape))
    return np.asarray(transpose(x) @ x)
