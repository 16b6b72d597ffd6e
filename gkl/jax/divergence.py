# SPDX-License-Identifier: BSD-3-Clause
"""Divergences of JAX arrays: names, types, shapes and errors around the call."""

from __future__ import annotations

from collections.abc import Sequence
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
TYPES = frozenset(map(jnp.dtype, (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)))


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
    memory, and parameters of different types are converted to a common one.  ``jit``, ``vmap``,
    derivatives forward and in reverse (``jvp``, ``linearize``, ``grad``, ``jacfwd``, ``jacrev``,
    ``hessian``) and ``checkpoint`` compose, in loops, too.

    Where a gradient is wanted, it comes from the same pass over the data as the value, for the
    parameters that have one, and is kept, item by item, for the backward pass, which sums those
    of a parameter that the batch shares.  Gradients have the conventions of
    :func:`gkl.kl_and_grad`: that of a covariance or precision is symmetric.  They are of their
    parameter's type, and an item of weight 0, such as a bad one that ``jnp.where`` leaves out,
    counts as 0.  Their own derivatives, such as ``jax.hessian``, are those of the closed form in
    JAX's operations, with d x d matrices for low ranks and without :func:`gkl.kl`'s accuracy near
    P = Q.

    On several devices call it within ``jax.shard_map``, or ``jax.pmap``, where each does its part;
    under ``jit`` alone XLA gathers operands that are sharded, and every device does all.
    ``jax.export`` wants to be told that the program may call gkl
    (``DisabledSafetyCheck.custom_call("gkl_kl")``) and shapes of numbers, and its programs want
    ``gkl.jax`` to be imported where they run.

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
    p, q = (x and _readable(owner, x) for owner, x in (("p", p), ("q", q)))
    return _compiled(p, q, per_dim)


def _readable(owner: str, x: Gaussian) -> Any:
    """The same Gaussians of what JAX computes with."""
    values = [_parameter(f"{owner}.{name}", getattr(x, name)) for name in x.names]
    return _unflatten(type(x), x.names, values)


def _parameter(name: str, x: Any) -> Any:
    """An array as it is, a Python number as a float; or an error."""
    if isinstance(x, int | float) and not isinstance(x, np.generic):
        try:
            return float(x)
        except OverflowError:
            raise ValueError(f"{name} is an integer beyond float64") from None
    if not isinstance(x, Array | np.ndarray | np.generic):
        raise TypeError(f"{name} is a {type(x).__name__}; an array or a number is wanted")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, and gkl would not see its mask")
    if x.dtype not in TYPES and not _is_integer(x):
        raise TypeError(f"{name} has dtype {x.dtype}; real numbers up to float64 are wanted")
    return x


def _is_integer(x: Any) -> bool:
    return bool(x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer))


def _traced(p: Gaussian, q: Gaussian | None, per_dim: bool) -> Any:
    p, q = jax.tree.map(jnp.asarray, (p, q))  # or they are as given, under jax.disable_jit
    views = [_view(owner, x) for owner, x in by_name(p, q).items()]
    shape, _ = _core.batch_and_dim(*views)
    kinds = p.kind, "" if q is None else q.kind
    values = jax.tree.leaves((p, q))
    dtype = _common_type(values)
    own = cores(*kinds)
    operands = [_aligned(x, n, len(shape)).astype(dtype) for x, n in zip(values, own, strict=True)]
    if per_dim:  # every dimension is an item
        operands = [x[..., None] for x in operands]
    return call.kl(*kinds, *operands)


_compiled = jax.jit(_traced, static_argnums=2, inline=True)


def _view(owner: str, x: Gaussian) -> Any:
    """Gaussians of these shapes in NumPy, or an error."""
    shapes = {name: value.shape for name, value in x.parameters.items()}
    for name, shape in shapes.items():
        if not all(isinstance(n, int) for n in shape):
            raise NotImplementedError(
                f"{owner}.{name} has shape {shape}; gkl.jax wants numbers in it"
            )
    try:
        return VIEWS[type(x)](**{k: np.broadcast_to(np.float32(0), n) for k, n in shapes.items()})
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from None


def _common_type(values: Sequence[Any]) -> Any:
    """What is computed in, by the rules of gkl: integers are float64, numbers have no say."""
    default = jnp.result_type(float)
    types = [default if _is_integer(x) else x.dtype for x in values if not x.weak_type]
    common = jnp.result_type(*types) if types else default
    # a number need not be one of float16 or bfloat16
    return jnp.float32 if common.itemsize == 2 and len(types) < len(values) else common


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
