# SPDX-License-Identifier: BSD-3-Clause
"""The call of the core from a compiled program, and its derivatives.

Gaussians are flattened: operands, first p's, then q's, in the order of the classes, and the kinds
of both, which are the name of the scale's parameter, ``"low_rank"``, or ``""`` for N(0, I).  All
operands have one type and as many batch axes as the others, of length 1 where they repeat
themselves, and so has an axis d of one number for all.  ``src_c/xla.c`` is the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from gkl import _core
from gkl.jax.formula import kl as formula

__all__ = ["kl"]


def _value(p: str, q: str, *operands: Any) -> Any:
    """KL(p || q) of every item."""
    return _value_and_gradients(p, q, (False,) * len(operands), *operands)[0]


@jax.tree_util.register_static
class _Operand(NamedTuple):
    """What the backward pass wants to know of an operand."""

    shape: tuple[int, ...]
    dtype: Any


def _forward(p: str, q: str, *operands: Any) -> Any:
    wanted = tuple(x.perturbed for x in operands)
    values = [x.value for x in operands]
    value, *gradients = _value_and_gradients(p, q, wanted, *values)
    # Always as many residuals: JAX may give _backward the structure of another forward pass of
    # the same program, in which other gradients were wanted.  A number stands for what is not.
    for i, is_wanted in enumerate(wanted):
        if not is_wanted:
            gradients.insert(i, jnp.zeros(()))
    return value, (gradients, [_Operand(x.shape, x.dtype) for x in values])


def _backward(p: str, q: str, residuals: Any, weight: Any) -> Any:
    gradients, operands = residuals
    if isinstance(weight, jax.custom_derivatives.SymbolicZero):
        return (None,) * len(operands)
    return tuple(
        _weighted(weight, gradient, operand) if gradient.ndim else None
        for gradient, operand in zip(gradients, operands, strict=True)
    )


def _weighted(weight: Any, gradient: Any, operand: _Operand) -> Any:
    """A gradient, item by item, times what comes from above, summed to the operand's shape."""
    weight = weight.reshape(weight.shape + (1,) * (gradient.ndim - weight.ndim))
    unwanted = (weight == 0) & ~jnp.isfinite(gradient)  # an item of weight 0 counts as 0
    repeated = [i for i, n in enumerate(operand.shape) if n != gradient.shape[i]]
    whole = weight * jnp.where(unwanted, 0, gradient)
    return whole.sum(repeated, keepdims=True).astype(operand.dtype)


def _evaluate(p: str, q: str, wanted: tuple[bool, ...], *operands: Any) -> Any:
    """The value, and item by item the gradients in the operands that are wanted."""
    batch, own = _shapes(operands)
    shapes = [batch, *(batch + x for x, is_wanted in zip(own, wanted, strict=True) if is_wanted)]
    results = [jax.ShapeDtypeStruct(shape, _result_type(operands)) for shape in shapes]
    bits = sum(1 << i for i, is_wanted in enumerate(wanted) if is_wanted)
    call = jax.ffi.ffi_call("gkl_kl", results, vmap_method="expand_dims")
    first, *rest = operands
    return call(_on_cpu.bind(first), *rest, p=p, q=q, gradients=np.int32(bits))


def _derivative(p: str, q: str, wanted: tuple[bool, ...], primals: Any, tangents: Any) -> Any:
    """Of gradients: that of the closed form."""
    _, slopes = jax.jvp(partial(_by_formula, p, q, wanted), primals, tangents)
    return _value_and_gradients(p, q, wanted, *primals), slopes


def _by_formula(p: str, q: str, wanted: tuple[bool, ...], *operands: Any) -> Any:
    batch, own = _shapes(operands)
    d = next((x[0] for x in own if x[0] != 1), 1)
    dtype = _result_type(operands)

    def total(*operands: Any) -> Any:
        whole = [
            jnp.broadcast_to(x, (*batch, d, *s[1:])) for x, s in zip(operands, own, strict=True)
        ]
        value = formula(whole, p, q)
        return value.sum(), value

    repeated = [
        jnp.broadcast_to(x, batch + s).astype(dtype) for x, s in zip(operands, own, strict=True)
    ]
    places = tuple(i for i, is_wanted in enumerate(wanted) if is_wanted)
    if not places:
        return [total(*repeated)[1]]
    gradients, value = jax.grad(total, places, has_aux=True)(*repeated)
    return [value, *gradients]


jax.ffi.register_ffi_target("gkl_kl", _core.xla_call(), platform="cpu")
kl = jax.custom_vjp(_value, nondiff_argnums=(0, 1))
kl.defvjp(_forward, _backward, symbolic_zeros=True)
_value_and_gradients = jax.custom_jvp(_evaluate, nondiff_argnums=(0, 1, 2))
_value_and_gradients.defjvp(_derivative)


def _shapes(operands: Sequence[Any]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The batch's shape, and each operand's own axes."""
    ndim = operands[0].ndim - 1
    batch = jnp.broadcast_shapes(*(x.shape[:ndim] for x in operands))
    return batch, [x.shape[ndim:] for x in operands]


def _result_type(operands: Sequence[Any]) -> Any:
    return jnp.promote_types(operands[0].dtype, jnp.float32)


def _elsewhere(context: Any, x: Any) -> Any:
    platforms = " and ".join(context.module_context.platforms)
    raise NotImplementedError(
        f"gkl.jax computes on the CPU, and this program is for {platforms}: move its operands, "
        "jax.device_put(x, jax.devices('cpu')[0])"
    )


# the identity, in programs for the CPU; there are no others with it
_on_cpu = Primitive("gkl_on_cpu")
_on_cpu.def_abstract_eval(lambda x: x)
_on_cpu.def_impl(jax.jit(_on_cpu.bind))
batching.primitive_batchers[_on_cpu] = lambda args, dims: (_on_cpu.bind(*args), *dims)
mlir.register_lowering(_on_cpu, lambda context, x: [x], platform="cpu")
mlir.register_lowering(_on_cpu, _elsewhere)
