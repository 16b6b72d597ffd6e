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


def kl(operands: Sequence[Array], p: str, q: str) -> Array:
    """Of operands and kinds as :mod:`gkl.jax.call` has them, each with the whole batch and d."""
    n = 3 if p == "low_rank" else 2
    own, other = list(operands[:n]), list(operands[n:])
    if not q:
        other, q = [jnp.zeros_like(own[0]), jnp.ones_like(own[0])], "var"
    delta = own[0] - other[0]
    if {p, q} <= {"var", "std", "logvar"}:
        var_p, var_q = _var(p, own[1]), _var(q, other[1])
        log_ratio = _logvar(p, own[1]) - _logvar(q, other[1])
        return 0.5 * (var_p / var_q - 1 - log_ratio + delta * delta / var_q).sum(-1)
    lower_p, lower_q = _cholesky(p, own[1:]), _cholesky(q, other[1:])
    w = solve_triangular(lower_q, lower_p, lower=True)
    y = solve_triangular(lower_q, delta[..., None], lower=True)
    logdet = _log_diagonal(lower_q) - _log_diagonal(lower_p)
    return 0.5 * ((w * w).sum((-2, -1)) - w.shape[-1] + (y * y).sum((-2, -1))) + logdet


def _var(kind: str, scale: Array) -> Array:
    return scale if kind == "var" else scale * scale if kind == "std" else jnp.exp(scale)


def _logvar(kind: str, scale: Array) -> Array:
    if kind == "logvar":
        return scale
    return jnp.log(scale) if kind == "var" else 2 * jnp.log(scale)


def _cholesky(kind: str, scales: Sequence[Array]) -> Array:
    """The lower factor of the covariance."""
    if kind == "tril":
        return jnp.tril(scales[0])
    if kind == "cov":
        return jnp.linalg.cholesky(_symmetric(scales[0]))
    if kind == "precision":
        return jnp.linalg.cholesky(jnp.linalg.inv(_symmetric(scales[0])))
    if kind == "low_rank":
        factor, var = scales
        return jnp.linalg.cholesky(factor @ factor.mT + _diagonal(var))
    return _diagonal(jnp.sqrt(_var(kind, scales[0])))


def _diagonal(x: Array) -> Array:
    return x[..., None] * jnp.eye(x.shape[-1], dtype=x.dtype)


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
