# SPDX-License-Identifier: BSD-3-Clause
"""gkl for JAX: KL divergences that ``jit``, ``grad`` and ``vmap`` know, on the CPU.

>>> import jax
>>> import jax.numpy as jnp
>>> import gkl.jax
>>> p = gkl.jax.DiagNormal(jnp.array([[0.0, 1.0]]), logvar=jnp.zeros((1, 2)))
>>> gradient = jax.jit(jax.grad(lambda p: gkl.jax.kl(p).sum()))(p)
>>> gradient.mean
Array([[0., 1.]], dtype=float32)
"""

from __future__ import annotations

try:
    import jax.ffi as _ffi  # noqa: F401
except ImportError as error:
    raise ImportError("gkl.jax wants JAX: pip install 'gkl[jax]'") from error

from gkl.jax.divergence import kl, kl_per_dim
from gkl.tensors import DiagNormal, FullNormal, LowRankNormal

__all__ = ["DiagNormal", "FullNormal", "LowRankNormal", "kl", "kl_per_dim"]
