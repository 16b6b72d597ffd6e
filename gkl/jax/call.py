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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive, primitives
from jax.interpreters import ad, batching, mlir

from gkl import _core
from gkl.jax.formula import kl as formula

__all__ = ["kl"]


def kl(p: str, q: str, *operands: Any) -> Any:
    """KL(p || q) of every item."""
    nothing = (False,) * len(operands)
    return _value_and_gradients(p, q, nothing, *_varying_alike(operands))[0]


def _varying_alike(operands: Sequence[Any]) -> Sequence[Any]:
    """Where shard_map marks what differs between devices: all marked, if not all are equal."""
    scalars = [jax.eval_shape(jnp.sum, x) for x in operands]
    if all(x == scalars[0] for x in scalars):
        return operands
    one = jnp.ones_like(sum(x[..., :0].sum() for x in operands))
    return [x * one for x in operands]


def _evaluate(p: str, q: str, wanted: tuple[bool, ...], *operands: Any) -> Any:
    """The value, and item by item the gradients in the operands that are wanted."""
    results = jax.eval_shape(partial(_like_results, wanted), *operands)
    bits = sum(1 << i for i, is_wanted in enumerate(wanted) if is_wanted)
    call = jax.ffi.ffi_call("gkl_kl", results, vmap_method="expand_dims")
    first, *rest = operands
    return call(_on_cpu.bind(first), *rest, p=p, q=q, gradients=np.int32(bits))


def _like_results(wanted: tuple[bool, ...], *operands: Any) -> list[Any]:
    """Arrays of their shapes, types and shardings."""
    ndim = operands[0].ndim - 1
    given = [x.astype(_result_type(operands)) for x in operands]
    value = sum(x.sum(range(ndim, x.ndim)) for x in given)
    gradients = zip(given, wanted, strict=True)
    return [value, *(_by_item(value, x) + x for x, is_wanted in gradients if is_wanted)]


def _derivative(
    p: str, q: str, wanted: tuple[bool, ...], operands: Any, tangents: Any
) -> tuple[Any, Any]:
    """Of the value by its gradients, which come with it; of these by the closed form."""
    moving = tuple(not isinstance(x, SymbolicZero) for x in tangents)
    every = tuple(map(max, wanted, moving))
    value, *found = _value_and_gradients(p, q, every, *operands)
    gradients = dict(zip(_places(every), found, strict=True))
    slope = jnp.zeros_like(value)
    for i in _places(moving):
        step = tangents[i].astype(value.dtype)
        change = _times.bind(gradients[i], jnp.broadcast_to(step, gradients[i].shape))
        slope += change.sum(range(value.ndim, change.ndim))
    slopes = _second(p, q, wanted, value, operands, tangents) if any(wanted) else []
    return [value, *(gradients[i] for i in _places(wanted))], [slope, *slopes]


def _second(
    p: str, q: str, wanted: tuple[bool, ...], value: Any, operands: Any, tangents: Any
) -> list[Any]:
    """The derivatives of the gradients, NaN for bad items: the closed form is taken elsewhere."""
    bad = jnp.isnan(value)
    own = [x.shape[value.ndim :] for x in operands]
    d = next((x[0] for x in own if x[0] != 1), 1)
    whole = [
        jnp.where(_by_item(bad, x), _good(x, s), x).astype(value.dtype)
        for x, s in zip(operands, own, strict=True)
    ]
    steps = [
        jnp.zeros_like(x) + (0 if isinstance(t, SymbolicZero) else t.astype(value.dtype))
        for x, t in zip(whole, tangents, strict=True)
    ]

    def total(*whole: Any) -> Any:
        shapes = [(*value.shape, d, *s[1:]) for s in own]
        return formula(list(map(jnp.broadcast_to, whole, shapes)), p, q).sum()

    _, slopes = jax.jvp(jax.grad(total, _places(wanted)), whole, steps)
    return [_times.bind(jnp.where(_by_item(bad, x), jnp.nan, jnp.ones_like(x)), x) for x in slopes]


def _good(x: Any, own: tuple[int, ...]) -> Any:
    """Something in place of a bad parameter x, where the closed form has derivatives."""
    good = jnp.eye(*own, dtype=x.dtype) if len(own) == 2 else jnp.ones(own, x.dtype)
    return good[(None,) * (x.ndim - len(own))]


jax.ffi.register_ffi_target("gkl_kl", _core.xla_call(), platform="cpu")
_value_and_gradients = jax.custom_jvp(_evaluate, nondiff_argnums=(0, 1, 2))
_value_and_gradients.defjvp(_derivative, symbolic_zeros=True)


def _places(chosen: tuple[bool, ...]) -> tuple[int, ...]:
    return tuple(i for i, x in enumerate(chosen) if x)


def _by_item(value: Any, x: Any) -> Any:
    """With axes of length 1 for what is x's own."""
    return value.reshape(value.shape + (1,) * (x.ndim - value.ndim))


def _result_type(operands: Sequence[Any]) -> Any:
    return jnp.float64 if operands[0].dtype == jnp.float64 else jnp.float32


def _product(gradient: Any, x: Any) -> Any:
    return jnp.where(x == 0, 0, gradient * x)


def _typed_as(aval: Any, x: Any) -> Any:
    return jax.lax.reshape(x, aval.shape, out_sharding=aval.sharding)


# a product with a step, or in reverse with a weight, of which 0 counts as 0 though the gradient be
# that of a bad item, NaN
_times = Primitive("gkl_times")
_times.def_impl(_product)
_times.def_abstract_eval(lambda *avals: primitives.mul_p.abstract_eval(*avals)[0])
ad.defbilinear(
    _times,
    lambda weight, gradient, x: _typed_as(gradient.aval, _times.bind(weight, x)),
    lambda weight, gradient, x: _typed_as(x.aval, _times.bind(gradient, weight)),
)
batching.defbroadcasting(_times)
mlir.register_lowering(_times, mlir.lower_fun(_product, multiple_results=False))


def _elsewhere(context: Any, x: Any) -> Any:
    platforms = " and ".join(context.module_context.platforms)
    raise NotImplementedError(
        f"gkl.jax computes on the CPU, and this program is for {platforms}: move its operands, "
        "jax.device_put(x, jax.devices('cpu')[0])"
    )


# the identity, in programs for the CPU; there are no others with it
_on_cpu = Primitive("gkl_on_cpu")
_on_cpu.def_impl(lambda x: x)
_on_cpu.def_abstract_eval(lambda x: x)
batching.primitive_batchers[_on_cpu] = lambda args, dims: (_on_cpu.bind(*args), *dims)
mlir.register_lowering(_on_cpu, lambda context, x: [x], platform="cpu")
mlir.register_lowering(_on_cpu, _elsewhere)
