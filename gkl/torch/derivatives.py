# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives and shapes of the divergence, of flattened Gaussians (see ``operator.py``).

The gradients that come with a value are kept item by item.  Their own derivatives come from the
closed form in torch's operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gkl.tensors import cores
from gkl.torch.formula import kl

__all__ = [
    "batch_shape",
    "is_plain",
    "keep",
    "kept",
    "mapped",
    "pulled",
    "pushed",
    "result_type",
    "weighted",
    "whole",
    "whole_shapes",
]


def batch_shape(shapes: Sequence[Sequence[int]], p: str, q: str) -> tuple[int, ...]:
    """The batch's shape, of the parameters' shapes."""
    own = (s[: len(s) - n] for s, n in zip(shapes, cores(p, q), strict=True))
    return tuple(torch.broadcast_shapes(*own))


def whole_shapes(shapes: Sequence[Sequence[int]], p: str, q: str) -> list[tuple[int, ...]]:
    """Each parameter's shape, repeated over the whole batch."""
    batch = batch_shape(shapes, p, q)
    return [(*batch, *s[len(s) - n :]) for s, n in zip(shapes, cores(p, q), strict=True)]


def whole(parameters: Sequence[Tensor], p: str, q: str) -> list[Tensor]:
    """The parameters repeated over the whole batch, in the type of the results."""
    shapes = whole_shapes([x.shape for x in parameters], p, q)
    dtype = result_type(parameters)
    return [x.expand(s).to(dtype) for x, s in zip(parameters, shapes, strict=True)]


def result_type(parameters: Sequence[Tensor]) -> torch.dtype:
    """What the core gives for parameters of these types."""
    double = any(x.dtype == torch.float64 for x in parameters)
    return torch.float64 if double else torch.float32


def is_plain(*tensors: Tensor) -> bool:
    """Do these hold numbers, and are no stand-ins of a compiler?"""
    return all(type(x) in (Tensor, torch.nn.Parameter) and x.is_cpu for x in tensors)


def mapped(parameters: Sequence[Tensor], dims: Any, p: str, q: str) -> list[Tensor]:
    """With the axes that vmap maps over as the first of the batch."""
    axes = cores(p, q)
    ndim = max(
        x.ndim - n - (dim is not None) for x, dim, n in zip(parameters, dims, axes, strict=True)
    )

    def moved(x: Tensor, dim: int | None, n: int) -> Tensor:
        if dim is None:
            return x
        x = x.movedim(dim, 0)
        return x.reshape(x.shape[0], *(1,) * (ndim - (x.ndim - 1 - n)), *x.shape[1:])

    return [moved(*x) for x in zip(parameters, dims, axes, strict=True)]


class Kept(NamedTuple):
    """What derivatives take: parameters, and the gradients that are wanted, item by item."""

    p: str
    q: str
    wanted: Sequence[bool]
    parameters: Sequence[Tensor]
    gradients: Sequence[Tensor]


def keep(
    ctx: Any, p: str, q: str, wanted: list[bool], parameters: Sequence[Tensor], gradients: Any
) -> None:
    """Give autograd these to keep."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*parameters, *gradients)
    ctx.kinds = p, q, wanted


def kept(ctx: Any) -> Kept:
    """To be called once: what is kept may have to be fetched, or computed again."""
    saved, n = ctx.saved_tensors, len(ctx.kinds[2])
    p, q, wanted = ctx.kinds
    return Kept(p, q, wanted, saved[:n], saved[n:])


def weighted(k: Kept, weight: Tensor, careful: bool) -> list[Tensor | None]:
    """The gradients of sum(weight * value) in each parameter, None where none is wanted."""
    left = iter(k.gradients)
    return [
        _summed(_times(weight, next(left), careful), x) if is_wanted else None
        for x, is_wanted in zip(k.parameters, k.wanted, strict=True)
    ]


def pulled(k: Kept, weights: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of sum(weight * output) over value and gradients, in each parameter."""
    found: list[Tensor | None] = [None] * len(k.parameters)
    if weights[0] is not None:
        found = weighted(k, weights[0], True)
    if any(x is not None for x in weights[1:]):
        given = [
            torch.zeros_like(g) if w is None else w
            for w, g in zip(weights[1:], k.gradients, strict=True)
        ]
        second = map(_summed, _second(k, given), k.parameters)
        found = [s if f is None else f + s for f, s in zip(found, second, strict=True)]
    return found


def pushed(k: Kept, tangents: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The derivatives of value and gradients along a tangent; all gradients are there."""
    along = [
        torch.zeros_like(g) if t is None else t.expand(g.shape).to(g.dtype)
        for g, t in zip(k.gradients, tangents, strict=True)
    ]
    slopes = zip(k.gradients, along, cores(k.p, k.q), strict=True)
    value = sum((g * t).sum(tuple(range(-n, 0))) for g, t, n in slopes)
    return value, *_second(k, along)  # the Hessian is symmetric


def _second(k: Kept, along: Sequence[Tensor]) -> Sequence[Tensor]:
    """The Hessian of every item times vectors, by the closed form."""

    def total(*parameters: Tensor) -> Tensor:
        return kl(parameters, k.p, k.q).sum()

    wrt = tuple(i for i, x in enumerate(k.wanted) if x)
    with torch.autocast("cpu", enabled=False):
        _, pull = torch.func.vjp(torch.func.grad(total, wrt), *whole(k.parameters, k.p, k.q))[:2]
        return pull(tuple(along))


def _times(weight: Tensor, gradient: Tensor, careful: bool) -> Tensor:
    """With care, an item of weight 0 counts as 0 though its gradient be NaN: a bad one."""
    weight = weight.reshape(weight.shape + (1,) * (gradient.ndim - weight.ndim))
    if careful:
        gradient = torch.where((weight == 0) & ~gradient.isfinite(), 0.0, gradient)
    return weight * gradient


def _summed(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Over the items that share the parameter, in its type."""
    return gradient.sum_to_size(parameter.shape).to(parameter.dtype)
