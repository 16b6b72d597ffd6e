# SPDX-License-Identifier: BSD-3-Clause
"""Divergences of JAX arrays: names, types, shapes and errors around the call."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import GetAttrKey, register_pytree_with_keys

from gkl import _core
from gkl.errors import by_name, raises, refuse_correlated
from gkl.jax import call
from gkl.tensors import DiagNormal, FullNormal, Gaussian, LowRankNormal, cores

__all__ = ["kl", "kl_per_dim"]

# by class: that of the same Gaussians in NumPy, which knows the shapes that fit
VIEWS: dict[type, Any] = {
    DiagNormal: _core.DiagNormal,
    FullNormal: _core.FullNormal,
    LowRankNormal: _core.LowRankNormal,
}
TYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)


def kl(p: Gaussian, q: Gaussian | None = None, *, on_error: Literal["nan"] = "nan") -> Array:
    """Kullback-Leibler divergence KL(p || q) of every pair of a batch, in nats.

    Parameters
    ----------
    p : DiagNormal, FullNormal or LowRankNormal
        Of :mod:`gkl.jax`: their parameters are arrays of JAX or NumPy, or numbers.  They are
        pytrees, and may be what a transformed function takes and returns.
    q : DiagNormal, FullNormal or LowRankNormal, optional
        None is the standard normal N(0, I).  Structures and parameterizations may differ,
        batches broadcast.
    on_error : {"nan"}
        Items whose divergence is undefined, such as those of a variance that is not positive,
        are NaN: a compiled program cannot raise.  :func:`gkl.kl` of the same arrays says what is
        wrong with them.

    Returns
    -------
    Array, the batch's shape
        float32 for float16, bfloat16 and float32 parameters; float64 for float64, and for
        integers where JAX has it (``jax_enable_x64``).  Numbers have no say.

    Raises
    ------
    ValueError
        Shapes that do not fit; `on_error` is "raise".
    TypeError
        Arguments of other kinds.
    NotImplementedError
        The program is compiled for something else than the CPU.

    Notes
    -----
    Formula, accuracy and bits are those of :func:`gkl.kl`, whose core the compiled program calls
    without Python, on XLA's own buffers; what a batch or ``vmap`` shares is not repeated in
    memory, and parameters of different types are converted to a common one.  ``jit``, ``vmap``
    and reverse-mode derivatives (``grad``, ``vjp``, ``jacrev``) compose; forward-mode ones
    (``jvp``, ``jacfwd``) of a divergence itself are JAX's error.

    Where a gradient is wanted, it comes from the same pass over the data as the value, for the
    parameters that have one, and is kept, item by item, for the backward pass, which sums those
    of a parameter that the batch shares.  Gradients have the conventions of
    :func:`gkl.kl_and_grad`: that of a covariance or precision is symmetric.  They are of their
    parameter's type, and an item of weight 0, such as a bad one that ``jnp.where`` leaves out,
    counts as 0.  Their own derivatives, such as ``jax.hessian``, are those of the closed form in
    JAX's operations, with d x d matrices for low ranks and without :func:`gkl.kl`'s accuracy near
    P = Q.

    The number of threads is :func:`gkl.set_num_threads`'s, not XLA's; :func:`gkl.num_threads`,
    which is of the calling thread, need not reach the threads of XLA.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import gkl.jax
    >>> p = gkl.jax.DiagNormal(jnp.ones((3, 2)), logvar=0.0)
    >>> q = gkl.jax.FullNormal(jnp.zeros(2), tril=jnp.eye(2))
    >>> jax.jit(gkl.jax.kl)(p, q)
    Array([1., 1., 1.], dtype=float32)
    """
    return _checked(p, q, on_error, False)


def kl_per_dim(
    p: DiagNormal, q: DiagNormal | None = None, *, on_error: Literal["nan"] = "nan"
) -> Array:
    """KL(p || q) of every dimension, in nats: the sum over the last axis is :func:`kl`.

    Parameters, errors and derivatives are those of :func:`kl`, but p and q are of DiagNormal.

    Returns
    -------
    Array, the batch's shape and (d,)
        An item that is bad has NaN in the dimensions that make it so.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import gkl.jax
    >>> gkl.jax.kl_per_dim(gkl.jax.DiagNormal(jnp.array([1.0, 2.0]), logvar=0.0))
    Array([0.5, 2. ], dtype=float32)
    """
    refuse_correlated(p, q)
    return _checked(p, q, on_error, True)


def _checked(p: Any, q: Any, on_error: str, per_dim: bool) -> Any:
    """What can be said before a trace."""
    if raises(on_error):
        raise ValueError("on_error= takes 'nan': a compiled program cannot raise")
    for owner, x in by_name(p, q).items():
        if type(x) not in VIEWS:
            raise TypeError(f"{owner} is a {type(x).__name__}, not a Gaussian of gkl.jax")
        for name, value in x.parameters.items():
            if not isinstance(value, Array | np.ndarray | np.generic | float | int):
                raise TypeError(
                    f"{owner}.{name} is a {type(value).__name__}; an array or a number is wanted"
                )
    return _compiled(p, q, per_dim)


def _traced(p: Gaussian, q: Gaussian | None, per_dim: bool) -> Any:
    views = [_view(owner, x) for owner, x in by_name(p, q).items()]
    shape, _ = _core.batch_and_dim(*views)
    kinds = p.kind, "" if q is None else q.kind
    named = {
        f"{owner}.{name}": value
        for owner, x in by_name(p, q).items()
        for name, value in x.parameters.items()
    }
    dtype = _common_type(named)
    own = cores(*kinds)
    operands = [
        _aligned(x, n, len(shape)).astype(dtype) for x, n in zip(named.values(), own, strict=True)
    ]
    if per_dim:  # every dimension is an item
        operands = [x[..., None] for x in operands]
    return call.kl(*kinds, *operands)


_compiled = jax.jit(_traced, static_argnums=2, inline=True)


def _view(owner: str, x: Gaussian) -> Any:
    """Gaussians of these shapes in NumPy, or an error."""
    shapes = {
        name: np.broadcast_to(np.float32(0), value.shape) for name, value in x.parameters.items()
    }
    try:
        return VIEWS[type(x)](**shapes)
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from None


def _common_type(named: dict[str, Any]) -> Any:
    """What is computed in, by the rules of gkl: integers are float64, numbers have no say."""
    default = jnp.result_type(float)
    types = []
    for name, x in named.items():
        is_integer = x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer)
        if not is_integer and x.dtype not in TYPES:
            raise TypeError(f"{name} has dtype {x.dtype}; real numbers up to float64 are wanted")
        if not x.weak_type:
            types.append(default if is_integer else x.dtype)
    return jnp.result_type(*types) if types else default


def _aligned(x: Any, own: int, ndim: int) -> Any:
    """With `ndim` axes before its own."""
    return x.reshape((1,) * (ndim + own - x.ndim) + x.shape)


def _flatten(x: Gaussian) -> Any:
    return tuple(x.parameters.values()), x.names


def _flatten_with_keys(x: Gaussian) -> Any:
    values, names = _flatten(x)
    return [(GetAttrKey(name), value) for name, value in zip(names, values, strict=True)], names


def _unflatten(structure: Any, names: Any, values: Any) -> Any:
    """Without a look at the values, which may be anything in a pytree."""
    made = structure.__new__(structure)
    if structure is not LowRankNormal:
        made.kind = names[1]
    made.names = names
    vars(made).update(zip(names, values, strict=True))
    return made


for _structure in VIEWS:
    register_pytree_with_keys(
        _structure, _flatten_with_keys, partial(_unflatten, _structure), _flatten
    )
