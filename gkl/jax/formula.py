# SPDX-License-Identifier: BSD-3-Clause
"""KL(p || q) in JAX's own operations: where second and higher derivatives come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

__all__ = ["kl"]

DIAG = ("var", "std", "logvar")


def kl(operands: Sequence[Array], p: str, q: str) -> Array:
    """Of operands and kinds as :mod:`gkl.jax.call` has them, each with the whole batch and d."""
    n = 3 if p == "low_rank" else 2
    own, other = list(operands[:n]), list(operands[n:])
    if not q:
        other, q = [jnp.zeros_like(own[0]), jnp.ones_like(own[0])], "std"
    delta = own[0] - other[0]
    if p in DIAG and q in DIAG:
        ratio, log_ratio = _ratio(p, own[1], q, other[1])
        distance = delta / _std(q, other[1])
        return 0.5 * (ratio - 1 - log_ratio + distance * distance).sum(-1)
    root, log_p = _root(p, own[1:])
    both = jnp.concatenate([root, delta[..., None]], -1)
    whitened, log_q = _whitened(q, other[1:], both)
    return 0.5 * ((whitened * whitened).sum((-2, -1)) - delta.shape[-1]) - log_p + log_q


def _ratio(p: str, own: Array, q: str, other: Array) -> tuple[Array, Array]:
    """Of the variances, and its logarithm; in range also where the variances are not."""
    if p == q == "logvar":
        return jnp.exp(own - other), own - other
    if p == q == "var":
        return own / other, jnp.log(own) - jnp.log(other)
    root = _std(p, own) / _std(q, other)
    return root * root, _logvar(p, own) - _logvar(q, other)


def _std(kind: str, scale: Array) -> Array:
    return jnp.sqrt(scale) if kind == "var" else scale if kind == "std" else jnp.exp(scale / 2)


def _logvar(kind: str, scale: Array) -> Array:
    return jnp.log(scale) if kind == "var" else 2 * jnp.log(scale) if kind == "std" else scale


def _root(kind: str, scales: Sequence[Array]) -> tuple[Array, Array]:
    """A with A A^T the covariance, and log det A."""
    if kind in DIAG:
        return _diagonal(_std(kind, scales[0])), _logvar(kind, scales[0]).sum(-1) / 2
    lower = _cholesky(kind, scales)
    if kind != "precision":
        return lower, _log_diagonal(lower)
    one = _diagonal(jnp.ones_like(lower[..., 0]))
    return solve_triangular(lower.mT, one), -_log_diagonal(lower)


def _whitened(kind: str, scales: Sequence[Array], x: Array) -> tuple[Array, Array]:
    """B x with B^T B the inverse of the covariance, and -log det B."""
    if kind in DIAG:
        return x / _std(kind, scales[0])[..., None], _logvar(kind, scales[0]).sum(-1) / 2
    lower = _cholesky(kind, scales)
    if kind == "precision":
        return lower.mT @ x, -_log_diagonal(lower)
    return solve_triangular(lower, x, lower=True), _log_diagonal(lower)


def _cholesky(kind: str, scales: Sequence[Array]) -> Array:
    """The lower factor, of what stands in the lower triangle; NaN where there is none."""
    if kind == "tril":
        return jnp.tril(scales[0])
    if kind == "low_rank":
        factor, var = scales
        return jnp.linalg.cholesky(factor @ factor.mT + _diagonal(var))
    return jnp.linalg.cholesky(_symmetric(scales[0]))


def _diagonal(x: Array) -> Array:
    one = jnp.eye(x.shape[-1], dtype=x.dtype)
    return x[..., None] * jnp.broadcast_to(one, (*x.shape, x.shape[-1]))


def _log_diagonal(lower: Array) -> Array:
    return jnp.log(jnp.diagonal(lower, axis1=-2, axis2=-1)).sum(-1)


def _mirrored(x: Array) -> Array:
    """The matrix of this lower triangle; in its derivative both triangles count alike."""
    return jnp.tril(x) + jnp.tril(x, -1).mT


def _derivative(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return _symmetric(x), (dx + dx.mT) / 2


_symmetric = jax.custom_jvp(_mirrored)
_symmetric.defjvp(_derivative)
