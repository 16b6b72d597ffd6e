# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives and shapes of the divergence, of flattened Gaussians (see ``operator.py``).

The gradients that come with a value are kept item by item.  Their own derivatives come from the
closed form in torch's operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    "weighted",
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


def keep(
    ctx: Any, p: str, q: str, wanted: list[bool], parameters: Sequence[Tensor], gradients: Any
) -> None:
    """Keep what derivatives take."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*parameters, *gradients)
    ctx.kinds = p, q, wanted


def kept(ctx: Any) -> tuple[Any, Any]:
    """Parameters and gradients."""
    n = len(ctx.kinds[2])
    return ctx.saved_tensors[:n], ctx.saved_tensors[n:]


def weighted(ctx: Any, weight: Tensor, gradients: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of sum(weight * value) in each parameter, None where none is wanted."""
    left = iter(gradients)
    found: list[Tensor | None] = []
    for parameter, is_wanted in zip(kept(ctx)[0], ctx.kinds[2], strict=True):
        if is_wanted:
            found.append(_summed(_times(weight, next(left)), parameter))
        else:
            found.append(None)
    return found


def pulled(ctx: Any, weights: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of sum(weight * output) over value and gradients, in each parameter."""
    parameters, gradients = kept(ctx)
    found: list[Tensor | None] = [None] * len(parameters)
    if weights[0] is not None:
        found = weighted(ctx, weights[0], gradients)
    if any(x is not None for x in weights[1:]):
        _, pull = torch.func.vjp(_gradients(ctx), *_whole(ctx))[:2]
        given = (
            torch.zeros_like(g) if w is None else w
            for w, g in zip(weights[1:], gradients, strict=True)
        )
        second = map(_summed, pull(tuple(given)), parameters)
        found = [s if f is None else f + s for f, s in zip(found, second, strict=True)]
    return found


def pushed(ctx: Any, tangents: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The derivatives of value and gradients along a tangent; all gradients are there."""
    _, gradients = kept(ctx)
    whole = _whole(ctx)
    along = tuple(
        torch.zeros_like(x) if t is None else t.expand(x.shape).to(x.dtype)
        for x, t in zip(whole, tangents, strict=True)
    )
    slopes = zip(gradients, along, cores(*ctx.kinds[:2]), strict=True)
    value = sum((g * t).flatten(-n).sum(-1) for g, t, n in slopes)
    _, second = torch.func.jvp(_gradients(ctx), tuple(whole), along)[:2]
    return value, *second


def _whole(ctx: Any) -> list[Tensor]:
    """The parameters of every item, in the type of the results."""
    p, q, _ = ctx.kinds
    parameters, gradients = kept(ctx)
    shapes = whole_shapes([x.shape for x in parameters], p, q)
    return [x.expand(s).to(gradients[0].dtype) for x, s in zip(parameters, shapes, strict=True)]


def _gradients(ctx: Any) -> Any:
    """The function that gives the gradients of the closed form."""
    p, q, wanted = ctx.kinds

    def total(*parameters: Tensor) -> Tensor:
        return kl(parameters, p, q).sum()

    return torch.func.grad(total, argnums=tuple(i for i, x in enumerate(wanted) if x))


def _times(weight: Tensor, gradient: Tensor) -> Tensor:
    """An item of weight 0 counts as 0, whatever its gradient: it may be one that is bad."""
    whole = weight.reshape(weight.shape + (1,) * (gradient.ndim - weight.ndim))
    seen = is_plain(weight) and not torch._C._are_functorch_transforms_active()
    if seen and bool(weight.all()):
        return whole * gradient
    return torch.where(whole == 0, 0.0, whole * gradient)


def _summed(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Over the items that share the parameter, in its type."""
    return gradient.sum_to_size(parameter.shape).to(parameter.dtype)
