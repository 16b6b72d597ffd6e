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
    """Of one type also where shard_map knows which differ between devices: as if all did."""
    scalars = [jax.eval_shape(jnp.sum, x) for x in operands]
    if all(x == scalars[0] for x in scalars):
        return operands
    one = jnp.ones_like(sum(x[..., :0].sum() for x in operands))
    return [x * one for x in operands]


def _evaluate(p: str, q: str, wanted: tuple[bool, ...], *operands: Any) -> Any:
    """The value, and item by item the gradients in the operands that are wanted."""
    results = jax.eval_shape(partial(_zeros, wanted), *operands)
    bits = sum(1 << i for i, is_wanted in enumerate(wanted) if is_wanted)
    call = jax.ffi.ffi_call("gkl_kl", results, vmap_method="expand_dims")
    first, *rest = operands
    return call(_on_cpu.bind(first), *rest, p=p, q=q, gradients=np.int32(bits))


def _zeros(wanted: tuple[bool, ...], *operands: Any) -> list[Any]:
    """Like the results, wherever these are sharded."""
    axes = range(operands[0].ndim - 1)
    whole = [0 * x.astype(_result_type(operands)) for x in operands]
    value = sum(x.sum(range(len(axes), x.ndim)) for x in whole)
    gradients = zip(whole, wanted, strict=True)
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
    values = [value, *(gradients[i] for i in _places(wanted))]
    if not any(wanted):
        return values, [slope]

    def by_formula(*moved: Any) -> Any:
        all_operands = list(operands)
        for i, x in zip(_places(moving), moved, strict=True):
            all_operands[i] = x
        return _gradients_by_formula(p, q, wanted, value, all_operands)

    steps = [(operands[i], tangents[i]) for i in _places(moving)]
    _, slopes = jax.jvp(by_formula, *zip(*steps, strict=True))
    return values, [slope, *slopes]


def _gradients_by_formula(
    p: str, q: str, wanted: tuple[bool, ...], value: Any, operands: Sequence[Any]
) -> Any:
    own = [x.shape[value.ndim :] for x in operands]
    d = next((x[0] for x in own if x[0] != 1), 1)
    bad = jnp.isnan(value)

    def without_bad(x: Any, own: tuple[int, ...]) -> Any:
        """The whole batch, with parameters of N(0, I) or so for items that are NaN in the end."""
        any_good = jnp.eye(*own) if len(own) == 2 else jnp.ones(own)
        any_good = any_good[(None,) * value.ndim].astype(value.dtype)
        return jnp.where(_by_item(bad, x), any_good, x.astype(value.dtype))

    def total(*repeated: Any) -> Any:
        shapes = [(*value.shape, d, *s[1:]) for s in own]
        return formula(list(map(jnp.broadcast_to, repeated, shapes)), p, q).sum()

    found = jax.grad(total, _places(wanted))(*map(without_bad, operands, own))
    return [_times.bind(jnp.where(_by_item(bad, x), jnp.nan, jnp.ones_like(x)), x) for x in found]


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
